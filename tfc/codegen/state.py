"""The functions of a model with variables: initial values, and checkpoints from C.

    NAME_init(model)              every variable has its initial value again
    NAME_save(model, path)        a checkpoint that `tf.train.Saver` reads, written atomically
    NAME_restore(model, path)     one of just these variables, from here or from a Saver: all or nothing

`state.ll` says how it works. Variables on a GPU have a mirror in the host's memory for this, which is copied there
afterwards, or from there before. Hidden variables (the places of random streams) are no part of checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from tfc.checkpoint.bundle import DTYPES, HEADER_KEY, Entry, header
from tfc.checkpoint.crc import tables
from tfc.checkpoint.table import table_of
from tfc.codegen.artifact.manifest import ErrorMessage, Manifest, Port
from tfc.dims import evaluate

FILE_ERROR, OTHER_VARIABLES, DAMAGED = -10, -11, -12
"""Codes of ``NAME_save`` and ``NAME_restore``."""

ERRORS = (
    ErrorMessage(FILE_ERROR, "a file of the checkpoint cannot be opened, read or written"),
    ErrorMessage(OTHER_VARIABLES, "the checkpoint is of other variables, or its index is damaged"),
    ErrorMessage(DAMAGED, "the data of the checkpoint are damaged or cut off"),
)

_DECLARED = {
    "strlen": "i64 @strlen(ptr)", "malloc": "ptr @malloc(i64)", "free": "void @free(ptr)",
    "snprintf": "i32 @snprintf(ptr, i64, ptr, ...)", "strrchr": "ptr @strrchr(ptr, i32)",
    "fopen": "ptr @fopen(ptr, ptr)", "fclose": "i32 @fclose(ptr)", "fflush": "i32 @fflush(ptr)",
    "fileno": "i32 @fileno(ptr)", "fsync": "i32 @fsync(i32)", "open": "i32 @open(ptr, i32, ...)",
    "close": "i32 @close(i32)", "fread": "i64 @fread(ptr, i64, i64, ptr)",
    "fwrite": "i64 @fwrite(ptr, i64, i64, ptr)", "rename": "i32 @rename(ptr, ptr)",
    "remove": "i32 @remove(ptr)", "memcpy": "ptr @memcpy(ptr, ptr, i64)",
    "memset": "ptr @memset(ptr, i32, i64)", "memcmp": "i32 @memcmp(ptr, ptr, i64)",
}  # fmt: skip

FUNCTIONS = tuple(_DECLARED)
"""What it needs of the C library."""


def state_llvm(
    manifest: Manifest, initial: Mapping[str, int | None] | None, null_pointer: int, no_memory: int
) -> str:
    """LLVM IR of these functions, a module of its own.

    Args:
        initial: where in the weights the initial values of variables are, by name; None for zeros. A
            variable that is not named is hidden. Where all is left out, all are zeros, and none hidden.
    """
    name, ports = manifest.name, manifest.variables
    shown = [k for k, p in enumerate(ports) if initial is None or p.name in initial]
    order = sorted(shown, key=lambda k: ports[k].name.encode())
    sizes = [_size(ports[k]) for k in order]
    offsets = [sum(sizes[:k]) for k in range(len(sizes))]
    entries = {
        ports[k].name.encode(): _entry(ports[k], offset, size).to_bytes()
        for k, offset, size in zip(order, offsets, sizes, strict=True)
    }
    table = table_of({HEADER_KEY: header(1), **entries})
    places = [(initial or {}).get(p.name) for p in ports]
    declared = [f"declare {text} nounwind" for text in _DECLARED.values()]
    mirrored = [k for k, p in enumerate(ports) if p.memory]
    storage = "mirror" if mirrored else "variable"
    declared.append(f"declare ptr @{name}_{storage}(ptr, i32) nounwind")
    weights = "null"
    if any(p is not None for p in places):
        weights = f"@{name}_weights"
        declared.append(f"{weights} = external hidden constant i8, align 64")
    text = files("tfc.codegen").joinpath("state.ll").read_text("utf-8")
    total = sum(sizes)
    return _mirrored(name, mirrored, null_pointer) + Template(text).substitute(
        name=name,
        storage=storage,
        linkage="internal " if mirrored else "",
        suffix="_here" if mirrored else "",
        declarations="\n".join(declared),
        weights=weights,
        length=len(table.data),
        length_1=len(table.data) + 1,
        template="".join(f"\\{b:02X}" for b in table.data),
        crc=crc32c_llvm(manifest.target.features, "internal"),
        count=len(order),
        variables=_array("i32", order),
        sizes=_array("i64", sizes),
        holes=_array("i64", [table.ends[k] - 4 for k in entries]),
        block_count=len(table.blocks),
        blocks=_array("[2 x i64]", [_array("i64", b) for b in table.blocks]),
        initial_count=len(ports),
        places=_array("i64", [-1 if p is None else p for p in places]),
        extents=_array("i64", map(_size, ports)),
        total=total,
        total_1=total + 1,
        null_pointer=null_pointer,
        no_memory=no_memory,
        file_error=FILE_ERROR,
        other=OTHER_VARIABLES,
        damaged=DAMAGED,
    )


def _mirrored(name: str, mirrored: Sequence[int], null_pointer: int) -> str:
    """The functions of a model with variables on a GPU, around those on the host."""
    if not mirrored:
        return ""
    text = [f"declare i32 @{name}_{way}(ptr, i32, ptr) nounwind\n" for way in ("read", "write")]
    for function, way in (("pull", "read"), ("push", "write")):
        text.append(f"define internal i32 @{name}_{function}(ptr %model) nounwind {{\nentry:\n")
        for k in mirrored:
            text.append(
                f"  %m{k} = call ptr @{name}_mirror(ptr %model, i32 {k})\n"
                f"  %r{k} = call i32 @{name}_{way}(ptr %model, i32 {k}, ptr %m{k})\n"
                f"  %b{k} = icmp ne i32 %r{k}, 0\n  br i1 %b{k}, label %out{k}, label %on{k}\n"
                f"out{k}:\n  ret i32 %r{k}\non{k}:\n"
            )
        text.append("  ret i32 0\n}\n")
    # A restored checkpoint lacks hidden variables, so their mirrors are filled first.
    for function, more, first, last in (("init", "", "", "push"), ("save", "path", "pull", ""), ("restore", "path", "pull", "push")):
        given = "ptr %model" + (f", ptr %{more}" if more else "")
        steps = [s for s in (first, f"{function}_here", last) if s]
        text.append(f"define i32 @{name}_{function}({given}) nounwind {{\nentry:\n")
        text.append("  %null = icmp eq ptr %model, null\n  br i1 %null, label %refuse, label %s0\ns0:\n")
        for k, step in enumerate(steps):
            arguments = given if step.endswith("_here") else "ptr %model"
            text.append(
                f"  %r{k} = call i32 @{name}_{step}({arguments})\n  %b{k} = icmp ne i32 %r{k}, 0\n"
                f"  br i1 %b{k}, label %out{k}, label %s{k + 1}\nout{k}:\n  ret i32 %r{k}\ns{k + 1}:\n"
            )
        text.append(f"  ret i32 0\nrefuse:\n  ret i32 {null_pointer}\n}}\n")
    return "".join(text)


@cache
def crc32c_llvm(features: Sequence[str] = (), linkage: str = "") -> str:
    """LLVM IR of ``tfc_crc32c(data, size)``: the checksum of bytes as files hold it (masked).

    Args:
        features: what the processor has, in LLVM's spelling.
    """
    text = files("tfc.codegen").joinpath("crc32c.ll").read_text("utf-8")
    rows = [_array("i32", _signed(t.tolist())) for t in tables(8)]
    native = "sse4.2" in features
    return Template(text).substitute(
        linkage=linkage,
        declarations="declare i64 @llvm.x86.sse42.crc32.64.64(i64, i64)\n" if native else "",
        tables=_array("[256 x i32]", rows),
        steps=_INSTRUCTION if native else _steps(),
    )


_INSTRUCTION = """\
  %c64 = call i64 @llvm.x86.sse42.crc32.64.64(i64 %wide, i64 %both)
  %c8 = trunc i64 %c64 to i32"""


def _size(port: Port) -> int:
    return evaluate(port.bytes, {})  # variables have static shapes


def _entry(port: Port, offset: int, size: int) -> Entry:
    shape = tuple(evaluate(d, {}) for d in port.shape)
    return Entry(DTYPES[port.dtype], shape, 0, offset, size)


def _array(kind: str, values: Any) -> str:
    rows = [f"{kind} {v}" for v in values]
    return f"[{', '.join(rows)}]" if rows else "zeroinitializer"


def _signed(words: Sequence[int]) -> list[int]:
    return [w - (1 << 32) if w >> 31 else w for w in words]


def _steps() -> str:
    """What eight bytes do to a checksum, each by a table of its own."""
    lines = ["  %x = xor i64 %both, %wide"]
    for k in range(8):
        lines += [
            f"  %x{k} = lshr i64 %x, {8 * k}",
            f"  %i{k} = and i64 %x{k}, 255",
            f"  %p{k} = getelementptr [8 x [256 x i32]], ptr @tfc_crc32c_tables, i64 0, i64 {7 - k}, i64 %i{k}",
            f"  %t{k} = load i32, ptr %p{k}, align 4",
        ]
        if k:
            result, sum_ = ("%c8" if k == 7 else f"%s{k}"), ("%t0" if k == 1 else f"%s{k - 1}")
            lines.append(f"  {result} = xor i32 {sum_}, %t{k}")
    return "\n".join(lines)
