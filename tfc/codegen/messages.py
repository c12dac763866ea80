"""What a run says in words: the LLVM IR that puts together texts and values.

    text = emit_text(code, texts, values)      a place with the bytes of "i = 3, y = [2 4 ... 8]"

`messages.ll` holds the functions; it stands behind the C interface of a model that says something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from tfc.codegen.cpu.ir import Code

KINDS = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "bfloat16",
    "float32", "float64",
)  # fmt: skip
"""The dtypes of shown values; a bool is shown as the byte that it is."""


@dataclass(frozen=True)
class Shown:
    """A tensor in words: its address, dtype, extents (as ``i64``) and the elements shown at each end."""

    address: str
    dtype: str
    itemsize: int
    extents: Sequence[str]
    few: int


def messages_llvm() -> str:
    """The functions that `emit_text` and `PRINT` call."""
    return files("tfc.codegen").joinpath("messages.ll").read_text("utf-8")


def emit_text(code: Code, texts: Sequence[tuple[str, int]], values: Sequence[Shown]) -> str:
    """Put together a text: one of ``texts`` (symbol and bytes), a value, the next text, and so on."""
    text = f"%{code.fresh('text')}"
    code.entry.append(f"  {text} = alloca [3 x i64], align 8")
    code.do(f"store [3 x i64] zeroinitializer, ptr {text}, align 8")
    for k, (symbol, size) in enumerate(texts):
        code.do(f"call void @tfc_text_add(ptr {text}, ptr @{symbol}, i64 {size})")
        if k < len(values):
            _add_value(code, text, values[k])
    return text


def _add_value(code: Code, text: str, value: Shown) -> None:
    dims = f"%{code.fresh('extents')}"
    rank = len(value.extents)
    code.entry.append(f"  {dims} = alloca [{max(rank, 1)} x i64], align 8")
    for k, extent in enumerate(value.extents):
        code.do(f"store i64 {extent}, ptr {code.at('i64', dims, str(k))}, align 8")
    kind = 0 if value.dtype == "bool" else KINDS.index(value.dtype)
    about = f"i32 {kind}, i64 {value.itemsize}, i64 {rank}, ptr {dims}, i64 {value.few}"
    code.do(f"call void @tfc_text_tensor(ptr {text}, ptr {value.address}, {about})")
