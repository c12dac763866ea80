"""Targets as data; objects for machines that this one is not; what they want from outside."""

from __future__ import annotations

import subprocess
import sys

import pytest
from elf_symbols import imported_functions, undefined_symbols
from kernel_runner import elementwise, parse
from xdsl.dialects.builtin import Float32Type, Float64Type, IndexType, IntegerType, f16

from tfc.codegen.cpu.formulas import SINGLE
from tfc.codegen.cpu.objects import compile_llvm, llvm_assembly
from tfc.codegen.cpu.targets import CPUS, ISAS, Target, host_features, host_triple
from tfc.codegen.cpu.translate import translate
from tfc.dialects.kernel import NEVER_POSITIVE
from tfc.errors import InternalError, OptionError

TARGETS = [
    ("x86_64-unknown-linux-gnu", "x86-64"),
    ("x86_64-unknown-linux-gnu", "x86-64-v2"),
    ("x86_64-unknown-linux-gnu", "x86-64-v3"),
    ("x86_64-unknown-linux-gnu", "x86-64-v4"),
    ("x86_64-unknown-linux-gnu", "skylake-avx512"),
    ("aarch64-unknown-linux-gnu", "neoverse-n1"),
    ("aarch64-unknown-linux-gnu", "cortex-a72"),
    ("riscv64-unknown-linux-gnu", "rv64gcv"),
]

LIBM = {"sin", "cos", "tan", "pow", "erf", "log", "exp", "tanh", "atan2"}
LIBC = {"memset", "memcpy"}

def written(formula: str) -> str:
    """The operation on ``%v`` that is computed by a formula of this name."""
    name, of, _ = formula.partition("_of_never_positive")
    return f"{name} %v {{{NEVER_POSITIVE}}}" if of else f"{name} %v"


EVERYTHING = "\n".join(
    [
        "kernel.func @k(%x: memref<?xf32>, %d: memref<?xf64>, %h: memref<?xf16>, %b: memref<?xbf16>,",
        "  %i: memref<?xi32>, %t: memref<?xi1>, %n: index)",
        '  attributes {dims = ["n"], grid = "n", grain = 1} {',
        "  %c0 = arith.constant 0 : index",
        "  %m = kernel.mask %n : vector<16xi1>",
        "  %v = kernel.load %x[%c0] mask %m : vector<16xi1> : memref<?xf32>, vector<16xf32>",
        "  %e = kernel.load %d[%c0] : memref<?xf64>, vector<8xf64>",
        "  %hv = kernel.load %h[%c0] mask %m : vector<16xi1> : memref<?xf16>, vector<16xf16>",
        "  %bv = kernel.load %b[%c0] : memref<?xbf16>, vector<16xbf16>",
        '  %hw = kernel.cast "extf", %hv : vector<16xf16> -> vector<16xf32>',
        '  %bw = kernel.cast "extf", %bv : vector<16xbf16> -> vector<16xf32>',
        '  %hn = kernel.cast "truncf", %v : vector<16xf32> -> vector<16xf16>',
        '  %bn = kernel.cast "truncf", %v : vector<16xf32> -> vector<16xbf16>',
        '  %hd = kernel.cast "truncf", %e : vector<8xf64> -> vector<8xf16>',
        '  %iv = kernel.cast "fptosi", %v : vector<16xf32> -> vector<16xi32>',
        '  %iw = kernel.cast "fptosi", %e : vector<8xf64> -> vector<8xi64>',
        '  %fw = kernel.cast "sitofp", %iw : vector<8xi64> -> vector<8xf64>',
        "  %iq = arith.divsi %iv, %iv : vector<16xi32>",
        "  %ip = math.ipowi %iv, %iq : vector<16xi32>",
        "  %mx = arith.maximumf %hw, %bw : vector<16xf32>",
        "  %rs = math.roundeven %mx : vector<16xf32>",
        "  %rf = math.floor %e : vector<8xf64>",
        "  %ro = math.round %rs : vector<16xf32>",
        '  %tv = kernel.compare "olt", %v, %ro : vector<16xf32>, vector<16xf32> -> vector<16xi1>',
        '  %s = kernel.reduce_lanes "max", %ro : vector<16xf32> -> f32',
        "  %sv = kernel.splat %s : f32 -> vector<2x16xf32>",
        "  %r0 = kernel.row %sv[0 : i64] : vector<2x16xf32> -> vector<16xf32>",
        '  kernel.check %tv, "no" : vector<16xi1>',
        *(f"  %u{k} = math.{written(name)} : vector<16xf32>" for k, name in enumerate(SINGLE) if name not in ("atan2", "powf")),
        *(f"  %w{k} = math.{name} %v, %r0 : vector<16xf32>" for k, name in enumerate(("atan2", "powf"))),
        *(f"  %g{k} = math.{name} %e : vector<8xf64>" for k, name in enumerate(("exp", "log", "tanh", "sin"))),
        *(f"  kernel.store %u{k}, %x[%c0] mask %m : vector<16xi1> : vector<16xf32>, memref<?xf32>" for k, name in enumerate(SINGLE) if name not in ("atan2", "powf")),
        "  kernel.store %w0, %x[%c0] : vector<16xf32>, memref<?xf32>",
        "  kernel.store %w1, %x[%c0] : vector<16xf32>, memref<?xf32>",
        *(f"  kernel.store %g{k}, %d[%c0] : vector<8xf64>, memref<?xf64>" for k in range(4)),
        "  kernel.store %rf, %d[%c0] : vector<8xf64>, memref<?xf64>",
        "  kernel.store %fw, %d[%c0] : vector<8xf64>, memref<?xf64>",
        "  kernel.store %hn, %h[%c0] mask %m : vector<16xi1> : vector<16xf16>, memref<?xf16>",
        "  kernel.store %hd, %h[%c0] : vector<8xf16>, memref<?xf16>",
        "  kernel.store %bn, %b[%c0] : vector<16xbf16>, memref<?xbf16>",
        "  kernel.store %ip, %i[%c0] : vector<16xi32>, memref<?xi32>",
        "  kernel.store %tv, %t[%c0] mask %m : vector<16xi1> : vector<16xi1>, memref<?xi1>",
        "}",
    ]
)
"""A kernel with nearly every operation that a target might lack."""


@pytest.mark.parametrize(("triple", "cpu"), TARGETS)
def test_objects_want_libm_only(triple: str, cpu: str) -> None:
    target = Target.parse(triple, cpu)
    data = compile_llvm(translate(parse(EVERYTHING), target), target)
    assert undefined_symbols(data) <= LIBM | LIBC


def test_wasm_objects_want_libm_only() -> None:
    target = Target.parse("wasm32-unknown-unknown")
    data = compile_llvm(translate(parse(EVERYTHING), target), target)
    assert imported_functions(data) <= LIBM | LIBC


@pytest.mark.parametrize(("cpu", "register"), [("x86-64-v4", "zmm"), ("x86-64-v3", "ymm"), ("x86-64", "xmm")])
def test_full_width_registers(cpu: str, register: str) -> None:
    for name in (cpu, "skylake-avx512" if cpu == "x86-64-v4" else cpu):
        target = Target.parse("x86_64-unknown-linux-gnu", name)
        text = translate(parse(elementwise("math.exp", 64, "f32")), target)
        assert f"mulps\t%{register}" in llvm_assembly(text, target).replace("vmulps", "mulps")


def test_same_bytes_for_a_named_cpu() -> None:
    target = Target.parse("x86_64-unknown-linux-gnu", "znver4")
    text = translate(parse(EVERYTHING), target)
    assert compile_llvm(text, target) == compile_llvm(translate(parse(EVERYTHING), target), target)


def test_native_is_the_best_that_this_machine_has() -> None:
    target = Target.parse()
    assert target.triple == host_triple()
    assert set(target.required_features) <= (host_features() or set())
    if target.arch == "x86_64":
        better = [i for i in ISAS.values() if i.arch == "x86_64" and i.vector_bits > target.vector_bits]
        assert not any(set(i.needs) <= host_features() for i in better)


def test_a_cpu_says_which_machine() -> None:
    assert Target.parse(cpu="neoverse-n1").triple.startswith("aarch64")
    assert Target.parse("aarch64-apple-darwin").cpu == "armv8"
    assert Target.parse("amd64-unknown-linux-gnu", "haswell").arch == "x86_64"


def test_lanes() -> None:
    wide, narrow = Target.parse(cpu="x86-64-v4"), Target.parse(cpu="cortex-a72")
    kinds = [Float32Type(), Float64Type(), f16, IntegerType(8), IntegerType(1), IndexType()]
    assert [wide.lanes(k) for k in kinds] == [16, 8, 32, 64, 64, 8]
    assert [narrow.lanes(k) for k in kinds] == [4, 2, 8, 16, 16, 2]


def test_what_an_artifact_checks() -> None:
    assert Target.parse(cpu="x86-64").required_features == ()
    assert {"avx2", "fma", "f16c"} <= set(Target.parse(cpu="haswell").required_features)
    needs = Target.parse(cpu="znver4").required_features
    assert {"avx512f", "avx512vl", "avx512vnni"} <= set(needs)


@pytest.mark.parametrize(
    ("triple", "cpu", "message", "help"),
    [
        (None, "x86-64-v5", "unknown cpu 'x86-64-v5'", "x86-64-v"),
        (None, "haswel", "unknown cpu 'haswel'", "'haswell'"),
        ("aarch64-linux-gnu", "haswell", "cpu 'haswell' is of x86_64", "--target"),
        ("x86-64-linux", None, "unknown architecture 'x86'", "x86_64"),
        ("sparc-sun-solaris", None, "unknown architecture 'sparc'", "known: x86_64"),
        ("riscv64-linux-gnu", "native", "cpu 'native' is this machine", "name a cpu"),
    ],
)
def test_errors(triple: str | None, cpu: str | None, message: str, help: str) -> None:
    with pytest.raises(OptionError) as caught:
        Target.parse(triple, cpu)
    assert message in caught.value.message
    assert help in caught.value.help


def test_every_cpu_is_known_to_llvm(capfd: pytest.CaptureFixture[str]) -> None:
    for cpu in CPUS:
        target = Target.parse(cpu=cpu)
        compile_llvm(translate(parse(elementwise("arith.addf", 4, "f32", 2)), target), target)
    assert "not a recognized" not in capfd.readouterr().err


def test_bad_ir_is_our_bug() -> None:
    with pytest.raises(InternalError, match="bug in tfc"):
        compile_llvm("define void @f() { ret i32 0 }", Target.parse())


def test_importing_targets_is_cheap() -> None:
    code = "import sys, tfc.codegen.cpu.targets; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
