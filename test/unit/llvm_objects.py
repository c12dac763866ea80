"""Objects for the tests of the linker and the loader, from LLVM text written by hand."""

from __future__ import annotations

import llvmlite.binding as llvm

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
