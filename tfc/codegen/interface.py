"""What the parts of a model's C interface share: codes of errors, slots of a handle, text of functions, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfc.codegen.artifact.manifest import ErrorMessage, Manifest
from tfc.codegen.cpu.ir import Code, Module
from tfc.codegen.cpu.targets import Target
from tfc.dims import Atom, Dim, Expr

NULL_POINTER, NO_MEMORY, BAD_THREADS, NO_THREADS = -1, -3, -4, -5
MISSING_FEATURE, BAD_DIM, BAD_EXTENT = -100, -200, -1000
"""Codes of the interface itself; code ``BAD_DIM - k`` is about dim ``k``, and so on.

Positive codes are those of ``kernel.check``.
"""

HUGE_PAGE = 1 << 21
HUGE = 2 * HUGE_PAGE
"""From how many bytes on memory is asked for in huge pages."""

LARGEST_DIM = (1 << 31) - 1
ALIGNMENT = 64
THREADS, ARENA, CAPACITY, WEIGHTS, OWNED, MESSAGE, PARALLEL, POOL, GPU, VARIABLES = range(10)
"""What stands where in a handle."""


def memory_functions(triple: str) -> str:
    """``tfc_allocate(place, bytes)``, which is 0 where it succeeds, and ``tfc_huge(start, bytes)``: whole pages
    of that stretch become huge ones where the system has such, so that fewer addresses are looked up."""
    advice = "call i32 @madvise(ptr %from, i64 %whole, i32 14)" if "linux" in triple else "add i32 0, 0"
    return f"""
declare i32 @posix_memalign(ptr, i64, i64) nounwind
{"declare i32 @madvise(ptr, i64, i32) nounwind" if "linux" in triple else ""}
define internal i32 @tfc_allocate(ptr %place, i64 %bytes) nounwind {{
entry:
  %large = icmp sge i64 %bytes, {HUGE}
  %alignment = select i1 %large, i64 {HUGE_PAGE}, i64 {ALIGNMENT}
  %failed = call i32 @posix_memalign(ptr %place, i64 %alignment, i64 %bytes)
  %bad = icmp ne i32 %failed, 0
  br i1 %bad, label %none, label %made
none:
  store ptr null, ptr %place, align 8
  ret i32 1
made:
  %memory = load ptr, ptr %place, align 8
  call void @tfc_huge(ptr %memory, i64 %bytes)
  ret i32 0
}}

define internal void @tfc_huge(ptr %start, i64 %bytes) nounwind {{
entry:
  %large = icmp sge i64 %bytes, {HUGE}
  br i1 %large, label %ask, label %exit
ask:
  %address = ptrtoint ptr %start to i64
  %end = add i64 %address, %bytes
  %up = add i64 %address, {HUGE_PAGE - 1}
  %first = and i64 %up, {-HUGE_PAGE}
  %last = and i64 %end, {-HUGE_PAGE}
  %whole = sub i64 %last, %first
  %from = inttoptr i64 %first to ptr
  %ignored = {advice}
  br label %exit
exit:
  ret void
}}
"""


def new_code() -> Code:
    return Code(Module(Target.parse("x86_64", "x86-64")))  # only its text is used


def function_text(head: str, code: Code, attributes: str = "") -> str:
    body = "\n".join([*code.entry, *code.lines])
    return f"define {head} nounwind {attributes}{{\nentry:\n{body}\n}}\n"


_SHOWN = [chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in range(256)]
"""Each byte in a string of LLVM's text."""


def string_text(symbol: str, text: str, linkage: str = "") -> str:
    data = text.encode() + b"\0"
    return f'@{symbol} = {linkage} constant [{len(data)} x i8] c"{escaped(data)}"\n'


def escaped(data: bytes) -> str:
    """Bytes as they stand in a string of LLVM's text."""
    return "".join(map(_SHOWN.__getitem__, data))


def place_of(code: Code, index: int) -> str:
    return code.at("i64", "%model", str(index))


def leave_if(code: Code, condition: str, result: str) -> None:
    """Return ``result`` where ``condition`` holds."""
    out, on = code.fresh("leave"), code.fresh("on")
    code.branch(condition, out, on)
    code.start(out)
    code.do(f"ret {result}")
    code.start(on)


def located(code: int, message: str) -> ErrorMessage:
    """A message ``model.py:7: 'tfc.gather': ...`` with its place apart."""
    where, mark, rest = message.partition(": 'tfc.")
    return ErrorMessage(code, f"'tfc.{rest}", where) if mark else ErrorMessage(code, message)


class Expressions:
    """Dims and sizes as LLVM values: ``%dims`` holds the named ones."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.code = new_code()
        self.known: dict[Dim | Atom, str] = {}

    def read_dims(self, result: Mapping[int, str]) -> None:
        """Load the named dims; return ``result[k]`` where dim ``k`` is out of range."""
        code = self.code
        if not self.manifest.dims:
            return
        leave_if(code, code.op("icmp eq ptr %dims, null"), result[-1])
        for k, dim in enumerate(self.manifest.dims):
            value = code.op(f"load i64, ptr {code.at('i64', '%dims', str(k))}, align 8")
            below = code.op(f"sub i64 {value}, 1")
            leave_if(code, code.op(f"icmp uge i64 {below}, {LARGEST_DIM}"), result[k])
            self.known[Atom("name", (dim.name,))] = value

    def value(self, dim: Dim) -> str:
        """An extent or size as an ``i64``."""
        if isinstance(dim, int):
            return str(dim)
        if (found := self.known.get(dim)) is None:
            terms = [self._term([self._atom(a) for a in m], c) for m, c in dim.terms]
            found = terms[0]
            for term in terms[1:]:
                found = self.code.op(f"add i64 {found}, {term}")
            self.known[dim] = found
        return found

    def _term(self, factors: Sequence[str], coefficient: int) -> str:
        parts = [*factors, str(coefficient)] if coefficient != 1 or not factors else [*factors]
        product = parts[0]
        for part in parts[1:]:
            product = self.code.op(f"mul i64 {product}, {part}")
        return product

    def _atom(self, atom: Atom) -> str:
        if (found := self.known.get(atom)) is None:
            x, y = (self.value(a) for a in atom.args if not isinstance(a, str))
            found = self.known[atom] = getattr(self, f"_{atom.function}")(x, y)
        return found

    def _max(self, x: str, y: str) -> str:
        larger = self.code.op(f"icmp sgt i64 {x}, {y}")
        return self.code.op(f"select i1 {larger}, i64 {x}, i64 {y}")

    def _mod(self, x: str, y: str) -> str:
        """The remainder with the sign of the divisor, as Python has it."""
        rest = self.code.op(f"srem i64 {x}, {y}")
        mixed = self.code.op(f"xor i64 {rest}, {y}")
        other = self.code.op(f"icmp slt i64 {mixed}, 0")
        nonzero = self.code.op(f"icmp ne i64 {rest}, 0")
        adjust = self.code.op(f"and i1 {other}, {nonzero}")
        return self.code.op(f"add i64 {rest}, {self.code.op(f'select i1 {adjust}, i64 {y}, i64 0')}")

    def _floordiv(self, x: str, y: str) -> str:
        whole = self.code.op(f"sub i64 {x}, {self._mod(x, y)}")
        return self.code.op(f"sdiv i64 {whole}, {y}")

    def too_large(self, size: Dim) -> str:
        """Whether ``size``, a sum of products, is beyond memory: computed in doubles."""
        limit = "0x43D0000000000000"  # 2 to the 62
        return self.code.op(f"fcmp ogt double {self._real(size)}, {limit}")

    def _real(self, size: Dim) -> str:
        total = "0.0"
        for monomial, coefficient in size.terms if isinstance(size, Expr) else ():
            product = f"{abs(coefficient)}.0"
            for atom in monomial:
                factor = self.code.op(f"sitofp i64 {self._atom(atom)} to double")
                product = self.code.op(f"fmul double {product}, {factor}")
            total = self.code.op(f"fadd double {total}, {product}")
        return total

    def size_function(self) -> str:
        """``NAME_arena_size``: bytes, or -1 where the dims are out of range."""
        size = self.manifest.arena_size
        if isinstance(size, Expr):
            self.read_dims(dict.fromkeys(range(-1, len(self.manifest.dims)), "i64 -1"))
            leave_if(self.code, self.too_large(size), "i64 -1")
        self.code.do(f"ret i64 {self.value(size)}")
        return function_text(f"i64 @{self.manifest.name}_arena_size(ptr %dims)", self.code)
