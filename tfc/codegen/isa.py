"""Does this CPU have what the code needs? Checked by the compiled code itself, before it runs.

The two instructions that tell it stand as bytes in the prologues of small functions: inline
assembly would need LLVM's assembly parser of the target, which is not at hand on every host.

`missing_llvm` gives ``@tfc_missing``, which returns 0, or the 1-based position of the first
feature that the CPU (or its operating system, for the wide registers) lacks.
"""

from __future__ import annotations

from collections.abc import Sequence

EAX, EBX, ECX, EDX = range(4)

_AVX, _AVX512 = 0x6, 0xE6
"""Bits of XCR0: the operating system saves the registers of AVX, of AVX-512."""

CPUID: dict[str, tuple[int, int, int, int, int]] = {
    "sse3": (1, 0, ECX, 0, 0),
    "ssse3": (1, 0, ECX, 9, 0),
    "fma": (1, 0, ECX, 12, _AVX),
    "cx16": (1, 0, ECX, 13, 0),
    "sse4.1": (1, 0, ECX, 19, 0),
    "sse4.2": (1, 0, ECX, 20, 0),
    "movbe": (1, 0, ECX, 22, 0),
    "popcnt": (1, 0, ECX, 23, 0),
    "avx": (1, 0, ECX, 28, _AVX),
    "f16c": (1, 0, ECX, 29, _AVX),
    "bmi": (7, 0, EBX, 3, 0),
    "avx2": (7, 0, EBX, 5, _AVX),
    "bmi2": (7, 0, EBX, 8, 0),
    "avx512f": (7, 0, EBX, 16, _AVX512),
    "avx512dq": (7, 0, EBX, 17, _AVX512),
    "avx512ifma": (7, 0, EBX, 21, _AVX512),
    "avx512cd": (7, 0, EBX, 28, _AVX512),
    "avx512bw": (7, 0, EBX, 30, _AVX512),
    "avx512vl": (7, 0, EBX, 31, _AVX512),
    "avx512vbmi": (7, 0, ECX, 1, _AVX512),
    "avx512vbmi2": (7, 0, ECX, 6, _AVX512),
    "avx512vnni": (7, 0, ECX, 11, _AVX512),
    "avx512bitalg": (7, 0, ECX, 12, _AVX512),
    "avx512vpopcntdq": (7, 0, ECX, 14, _AVX512),
    "avx512fp16": (7, 0, EDX, 23, _AVX512),
    "avxvnni": (7, 1, EAX, 4, _AVX),
    "avx512bf16": (7, 1, EAX, 5, _AVX512),
    "sahf": (0x80000001, 0, ECX, 0, 0),
    "lzcnt": (0x80000001, 0, ECX, 5, 0),
}
"""Where cpuid tells a feature: leaf, subleaf, register, bit; and the bits of XCR0 it needs.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID.
"""

_CPUID_CODE = "89f889f14989d0530fa241890041895804418948084189500c5bc3"
"""mov eax, edi; mov ecx, esi; mov r8, rdx; push rbx; cpuid; mov [r8], eax; mov [r8+4], ebx;
mov [r8+8], ecx; mov [r8+12], edx; pop rbx; ret"""

_XGETBV_CODE = "31c90f01d0c3"
"""xor ecx, ecx; xgetbv; ret"""

BASELINE = '"target-cpu"="x86-64" "target-features"=""'
"""Function attributes of code that runs before the check."""


def checked(triple: str, features: Sequence[str]) -> list[str]:
    """Those of ``features`` that can be checked on a machine of ``triple``."""
    return [f for f in features if f in CPUID] if triple.startswith("x86_64") else []


def missing_llvm(features: Sequence[str]) -> str:
    """The function ``@tfc_missing`` for these names of `CPUID`."""
    if not features:
        return "define internal i32 @tfc_missing() nounwind {\n  ret i32 0\n}\n"
    lines = [
        _thunk("void @tfc_cpuid(i32, i32, ptr)", _CPUID_CODE, "void"),
        _thunk("i32 @tfc_xgetbv()", _XGETBV_CODE, "i32 0"),
        f"define internal i32 @tfc_missing() nounwind {BASELINE} {{",
        "entry:",
        "  %out = alloca [4 x i32], align 16",
        *_cpuid("one", 1, 0, (ECX,)),
        f"  %os_bit = and i32 %one_{ECX}, {1 << 27}",
        "  %os = icmp ne i32 %os_bit, 0",
        "  br i1 %os, label %wide, label %ask",
        "wide:",
        "  %state = call i32 @tfc_xgetbv()",
        "  br label %ask",
        "ask:",
        "  %saved = phi i32 [ 0, %entry ], [ %state, %wide ]",
        *_cpuid("last", 0, 0, (EAX,)),
        *_cpuid("last_ext", 1 << 31, 0, (EAX,)),
    ]
    used = {(leaf, sub): list[int]() for leaf, sub, *_ in (CPUID[f] for f in features)}
    for feature in features:
        leaf, sub, register, *_ = CPUID[feature]
        used[leaf, sub].append(register)
    for (leaf, sub), registers in used.items():
        lines += _cpuid(f"l{leaf}_{sub}", leaf, sub, sorted(set(registers)))
    result = "0"
    for k in reversed(range(len(features))):  # the first missing one wins
        leaf, sub, register, bit, state = CPUID[features[k]]
        limit = "last_ext" if leaf >> 31 else "last"
        lines += [
            f"  %b{k} = and i32 %l{leaf}_{sub}_{register}, {1 << bit}",
            f"  %has{k} = icmp ne i32 %b{k}, 0",
            f"  %leaf{k} = icmp uge i32 %{limit}_{EAX}, {leaf}",
            f"  %s{k} = and i32 %saved, {state}",
            f"  %kept{k} = icmp eq i32 %s{k}, {state}",
            f"  %x{k} = and i1 %has{k}, %leaf{k}",
            f"  %y{k} = and i1 %x{k}, %kept{k}",
            f"  %m{k} = select i1 %y{k}, i32 {result}, i32 {k + 1}",
        ]
        result = f"%m{k}"
    return "\n".join([*lines, f"  ret i32 {result}", "}\n"])


def _thunk(head: str, code: str, result: str) -> str:
    data = bytes.fromhex(code)
    text = "".join(f"\\{b:02X}" for b in data)
    attributes = f"noinline optnone nounwind {BASELINE}"
    return f'define internal {head} {attributes} prologue [{len(data)} x i8] c"{text}" {{\n  ret {result}\n}}\n'


def _cpuid(name: str, leaf: int, sub: int, registers: Sequence[int]) -> list[str]:
    """Ask, and load these registers as ``%NAME_REGISTER``."""
    lines = [f"  call void @tfc_cpuid(i32 {leaf}, i32 {sub}, ptr %out)"]
    for r in registers:
        lines.append(f"  %{name}_p{r} = getelementptr i32, ptr %out, i64 {r}")
        lines.append(f"  %{name}_{r} = load i32, ptr %{name}_p{r}, align 4")
    return lines
