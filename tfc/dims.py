"""Symbolic extents: integers, named dims, and arithmetic over them.

    parse("2*batch + 1")            a polynomial over the named dim ``batch``
    parse("2*batch + 1") - 1        prints as ``2*batch``

A ``Dim`` is an ``int`` where the value is known and an ``Expr`` where it is a function of
named dims. Both support ``+ - * // %``, so shape rules are written once and serve both.
An ``Expr`` is kept in a normal form (a polynomial with integer coefficients over atoms),
so two equal sums compare equal. Named dims are at least 1 unless a range says otherwise.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

Dim: TypeAlias = "int | Expr"
Monomial: TypeAlias = tuple["Atom", ...]
"""A product of atoms, sorted by their text; the empty tuple is the constant 1."""


@dataclass(frozen=True)
class Atom:
    """What a polynomial is built over: a name, or a function that has no polynomial form."""

    function: str
    """``name``, ``floordiv``, ``mod`` or ``max``."""
    args: tuple[str] | tuple[Dim, Dim]

    def __str__(self) -> str:
        if self.function == "name":
            return str(self.args[0])
        x, y = (a for a in self.args if not isinstance(a, str))
        if self.function == "max":
            return f"max({x}, {y})"
        sign = "//" if self.function == "floordiv" else "%"
        return f"({_operand(x)}{sign}{_operand(y)})"  # in parentheses: 2*(n//2) is not 2*n//2

    def evaluate(self, env: Mapping[str, int]) -> int:
        if self.function == "name":
            return env[str(self.args[0])]
        x, y = (evaluate(a, env) for a in self.args if not isinstance(a, str))
        return max(x, y) if self.function == "max" else x // y if self.function == "floordiv" else x % y


@dataclass(frozen=True)
class Expr:
    """A polynomial: ``sum(coefficient * product(atoms))``. Build it with `symbol` or `parse`."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Dim) -> Dim:
        return _sum([self, other])

    def __mul__(self, other: Dim) -> Dim:
        pairs = ((a, b) for a in _terms(self) for b in _terms(other))
        return _normal((_product(m, n), x * y) for (m, x), (n, y) in pairs)

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return _divide(self, other)[0]

    def __mod__(self, other: Dim) -> Dim:
        return _divide(self, other)[1]

    def __rfloordiv__(self, other: Dim) -> Dim:
        return _divide(other, self)[0]

    def __rmod__(self, other: Dim) -> Dim:
        return _divide(other, self)[1]

    def __str__(self) -> str:
        text = "".join(_term_text(m, c) for m, c in self.terms)
        return text[1:] if text.startswith("+") else text

    __repr__ = __str__


def symbol(name: str) -> Expr:
    """The named dim ``name``."""
    return Expr((((Atom("name", (name,)),), 1),))


def maximum(x: Dim, y: Dim) -> Dim:
    """The larger of two dims; a `max` atom where neither is provably larger."""
    if isinstance(x, int) and isinstance(y, int):
        return max(x, y)
    if at_least(x, y):
        return x
    if at_least(y, x):
        return y
    return Expr((((Atom("max", (x, y)),), 1),))


def parse(text: str | int) -> Dim:
    """Read a dim from its text: an integer, a name, or arithmetic over them.

    Raises:
        ValueError: the text is none of these.
    """
    if isinstance(text, int):
        return text
    try:
        return _read(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, TypeError) as error:
        raise ValueError(f"not a dim: {text!r}") from error


def evaluate(dim: Dim, env: Mapping[str, int]) -> int:
    """The value of ``dim`` where the named dims are ``env``."""
    if isinstance(dim, int):
        return dim
    return sum(
        c * reduce(lambda p, a: p * a.evaluate(env), m, 1) for m, c in dim.terms
    )


def substitute(dim: Dim, env: Mapping[str, Dim]) -> Dim:
    """``dim`` with some of its names replaced."""
    if isinstance(dim, int):
        return dim
    return _sum(
        reduce(lambda p, a: p * _substitute_atom(a, env), m, c) for m, c in dim.terms
    )


def names(dim: Dim) -> set[str]:
    """The named dims that ``dim`` depends on."""
    if isinstance(dim, int):
        return set()
    found: set[str] = set()
    for monomial, _ in dim.terms:
        for atom in monomial:
            for arg in atom.args:
                found |= {arg} if isinstance(arg, str) else names(arg)
    return found


def at_least(x: Dim, y: Dim) -> bool:
    """Whether ``x >= y`` for all named dims >= 1; False where it cannot be proved."""
    difference = x - y
    if isinstance(difference, int):
        return difference >= 0
    # A name is >= 1, a function >= 0: `3*n*m` pays for `-3*n`, if what is left of the product
    # are names alone. What no negative term needs is at least 0.
    funds = {m: c for m, c in difference.terms if c > 0}
    for owed, c in difference.terms:
        debt = -c
        for monomial in funds:
            rest = _cancel(monomial, owed) if debt > 0 else None
            if rest is not None and all(a.function == "name" for a in rest):
                payment = min(debt, funds[monomial])
                funds[monomial] -= payment
                debt -= payment
        if debt > 0:
            return False
    return True


def product(dims: Iterable[Dim]) -> Dim:
    """The number of elements of a shape."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def _terms(dim: Dim) -> Iterable[tuple[Monomial, int]]:
    return ((((), dim),) if dim else ()) if isinstance(dim, int) else dim.terms


def _product(x: Monomial, y: Monomial) -> Monomial:
    return tuple(sorted(x + y, key=str))


def _sum(dims: Iterable[Dim]) -> Dim:
    return _normal(t for d in dims for t in _terms(d))


def _normal(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    merged: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        merged[monomial] = merged.get(monomial, 0) + coefficient
    kept = {m: c for m, c in merged.items() if c}
    for monomial in [m for m in kept if any(a.function == "mod" for a in m)]:
        _rejoin(kept, monomial)
    if not any(kept.keys()):
        return kept.get((), 0)
    # Higher degree first, the constant last: as people write polynomials.
    order = sorted(kept.items(), key=lambda t: (-len(t[0]), [str(a) for a in t[0]]))
    return Expr(tuple(order))


def _rejoin(terms: dict[Monomial, int], monomial: Monomial) -> None:
    """(x // y) * y + x % y -> x, in place, where ``monomial`` holds the remainder.

    An index that was taken apart by a reshape and put together again is itself.
    """
    remainder = next(a for a in monomial if a.function == "mod")
    x, y = (d for d in remainder.args if not isinstance(d, str))
    rest = _cancel(monomial, (remainder,)) or ()
    quotient = Atom("floordiv", (x, y))
    scale = terms.get(monomial, 0)
    parts = {_product(_product(rest, (quotient,)), m): c * scale for m, c in _terms(y)}
    if not scale or any(terms.get(m) != c for m, c in parts.items()):
        return
    for used in (monomial, *parts):
        del terms[used]
    whole = _normal([*terms.items(), *((_product(rest, m), c * scale) for m, c in _terms(x))])
    terms.clear()
    terms.update(_terms(whole))


def _divide(x: Dim, y: Dim) -> tuple[Dim, Dim]:
    """Quotient and remainder; exact division of polynomials is carried out."""
    if y == 1:
        return x, 0
    if x == y:
        return 1, 0
    if isinstance(y, int):
        exact = [(m, c) for m, c in _terms(x) if c % y == 0]
        rest = _normal((m, c) for m, c in _terms(x) if c % y)
        whole = _normal((m, c // y) for m, c in exact)
        if isinstance(rest, int):
            return whole + rest // y, rest % y
        if exact:
            q, r = _divide(rest, y)
            return whole + q, r
    elif len(y.terms) == 1:
        ((divisor, scale),) = y.terms
        quotient: list[tuple[Monomial, int]] = []
        for monomial, coefficient in _terms(x):
            left = _cancel(monomial, divisor)
            if left is None or coefficient % scale:
                break
            quotient.append((left, coefficient // scale))
        else:
            return _normal(quotient), 0
    return Expr((((Atom("floordiv", (x, y)),), 1),)), Expr((((Atom("mod", (x, y)),), 1),))


def _cancel(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in divisor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def _substitute_atom(atom: Atom, env: Mapping[str, Dim]) -> Dim:
    if atom.function == "name":
        return env.get(str(atom.args[0]), Expr((((atom,), 1),)))
    x, y = (substitute(a, env) for a in atom.args if not isinstance(a, str))
    return maximum(x, y) if atom.function == "max" else x // y if atom.function == "floordiv" else x % y


def _operand(dim: Dim) -> str:
    """The text of a dim beside an operator that binds stronger than a sum."""
    if isinstance(dim, int):
        return str(dim)
    is_atom = len(dim.terms) == 1 and dim.terms[0][1] == len(dim.terms[0][0]) == 1
    return str(dim) if is_atom else f"({dim})"


def _term_text(monomial: Monomial, coefficient: int) -> str:
    sign = "+" if coefficient > 0 else "-"
    size = abs(coefficient)
    factors = [str(a) for a in monomial]
    if size != 1 or not factors:
        factors.insert(0, str(size))
    return sign + "*".join(factors)


def _read(node: ast.expr) -> Dim:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=x):
            return -_read(x)
        case ast.BinOp(left=x, op=ast.Add(), right=y):
            return _read(x) + _read(y)
        case ast.BinOp(left=x, op=ast.Sub(), right=y):
            return _read(x) - _read(y)
        case ast.BinOp(left=x, op=ast.Mult(), right=y):
            return _read(x) * _read(y)
        case ast.BinOp(left=x, op=ast.FloorDiv(), right=y):
            return _read(x) // _read(y)
        case ast.BinOp(left=x, op=ast.Mod(), right=y):
            return _read(x) % _read(y)
        case ast.Call(func=ast.Name(id="max"), args=[x, y]):
            return maximum(_read(x), _read(y))
        case _:
            raise SyntaxError(f"{ast.unparse(node)} is no arithmetic over names and integers")
