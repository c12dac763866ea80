"""Objects for the tests of the linker and the loader, from LLVM text written by hand."""

from __future__ import annotations

import llvmlite.binding as llvm

from tfc import dims
from tfc.codegen.artifact.manifest import Manifest, TargetSpec, named_dims, ports

X86 = "x86_64-unknown-linux-gnu"
AARCH64 = "aarch64-unknown-linux-gnu"

MODEL = r"""
@m_weights = external hidden constant [0 x i8], align 64
@message = private constant [6 x i8] c"hello\00"
@table = internal constant [2 x ptr] [ptr @message, ptr @m_exp]
@library_function = internal constant ptr @strcmp
@count = internal global i32 7, align 64
@zeroed = internal global [100000 x i8] zeroinitializer, align 64

declare double @exp(double)
declare i32 @strcmp(ptr, ptr)

define hidden double @kernel(double %x) nounwind {
  %y = call double @exp(double %x)
  ret double %y
}
define double @m_exp(double %x) nounwind {
  %y = call double @kernel(double %x)
  ret double %y
}
define ptr @m_weight(i64 %i) nounwind {
  %p = getelementptr i8, ptr @m_weights, i64 %i
  ret ptr %p
}
define ptr @m_text(i64 %i) nounwind {
  %p = getelementptr ptr, ptr @table, i64 %i
  %q = load ptr, ptr %p
  ret ptr %q
}
define i32 @m_count() nounwind {
  %c = load i32, ptr @count
  %d = add i32 %c, 1
  store i32 %d, ptr @count
  %z = load i8, ptr getelementptr (i8, ptr @zeroed, i64 99999)
  %w = zext i8 %z to i32
  %e = add i32 %d, %w
  ret i32 %e
}
define i32 @m_compare(ptr %a, ptr %b) nounwind {
  %f = load volatile ptr, ptr @library_function
  %r = call i32 %f(ptr %a, ptr %b)
  ret i32 %r
}
"""
"""Calls into libm, a pointer to a libc function, data with addresses, zeroed data, weights."""


def compiled(text: str, triple: str = X86) -> bytes:
    """The object that LLVM makes of ``text``."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(text)
    module.triple = triple
    target = llvm.Target.from_triple(triple)
    machine = target.create_target_machine(reloc="pic", codemodel="small", opt=1)
    return machine.emit_object(module)


SCALE = r"""
declare ptr @calloc(i64, i64)
declare void @free(ptr)
@NAME_weights = external hidden constant float, align 64
@NAME_manifest = constant [LENGTH x i8] c"TEXT\00"
@no = private constant [4 x i8] c"bad\00"
define i32 @NAME_abi() { ret i32 1 }
define ptr @NAME_error(i32 %code) { ret ptr @no }
define i64 @NAME_arena_size(ptr %dims) { ret i64 0 }
define ptr @NAME_variable(ptr %model, i32 %i) { ret ptr %model }
define i32 @NAME_create(ptr %out, i32 %threads) {
  %model = call ptr @calloc(i64 1, i64 4)
  store ptr %model, ptr %out
  ret i32 0
}
define void @NAME_destroy(ptr %model) {
  call void @free(ptr %model)
  ret void
}
define i32 @NAME_run(ptr %model, ptr %inputs, ptr %outputs, ptr %dims) {
  %n = load i64, ptr %dims
  %x = load ptr, ptr %inputs
  %y = load ptr, ptr %outputs
  %w = load float, ptr @NAME_weights
  %runs = load i32, ptr %model
  %more = add i32 %runs, 1
  store i32 %more, ptr %model
  br label %loop
loop:
  %i = phi i64 [0, %0], [%next, %loop]
  %px = getelementptr float, ptr %x, i64 %i
  %vx = load float, ptr %px
  %vy = fmul float %vx, %w
  %py = getelementptr float, ptr %y, i64 %i
  store float %vy, ptr %py
  %next = add i64 %i, 1
  %done = icmp eq i64 %next, %n
  br i1 %done, label %end, label %loop
end:
  ret i32 0
}
"""
"""A model y = w * x of n elements, which counts its runs in a variable."""


def scale_model(name: str = "scale", manifest: Manifest | None = None) -> bytes:
    """The object of a whole model; its one weight is the float at ``NAME_weights``."""
    return compiled(scale_llvm(manifest or scale_manifest(name)))


def scale_llvm(manifest: Manifest) -> str:
    text = manifest.to_json()
    quoted = "".join(c if c not in '"\\' else f"\\{ord(c):02X}" for c in text)
    ir = SCALE.replace("NAME", manifest.name).replace("LENGTH", str(len(text) + 1))
    return ir.replace("TEXT", quoted)


def scale_manifest(name: str) -> Manifest:
    n = dims.symbol("n")
    inputs = ports([("x", "float32", (n,))])
    return Manifest(
        name,
        TargetSpec(X86, "x86-64"),
        inputs,
        ports([("y", "float32", (n,))]),
        ports([("runs", "int32", ())]),
        named_dims(inputs),
        weights_size=4,
    )
