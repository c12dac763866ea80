"""Lanes that are left to libm, one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tfc.codegen.cpu.ir import Kind
from tfc.codegen.cpu.number import Number


def patched(x: Number, result: Number, needs: Number, name: str) -> Number:
    """``result``, replaced by libm's ``name`` in lanes where ``needs`` holds (seldom, that is)."""
    code, kind = x.code, x.kind
    some = needs.text
    if kind.lanes:
        some = code.intrinsic("vector.reduce.or", needs.kind, [some], result=Kind("i1"))
    slow, done, before = code.fresh("slow"), code.fresh("done"), code.block
    code.branch(some, slow, done, ", !prof !0")
    code.start(slow)
    replaced = needs.where(_lanes_of(name, [x]), result)
    end = code.block
    code.jump(done)
    code.start(done)
    text = code.op(
        f"phi {result.kind.text} [ {result.text}, %{before} ], [ {replaced.text}, %{end} ]"
    )
    return result.new(text)


def lane_by_lane(name: str) -> Callable[..., Number]:
    """The formula that calls libm's function of double for each lane."""
    return lambda *args: _lanes_of(name, args)


def _lanes_of(name: str, args: Sequence[Number]) -> Number:
    code, kind = args[0].code, args[0].kind
    code.module.declare(name, "double", ["double"] * len(args))
    if not kind.lanes:
        return args[0].new(_call(args, name, [a.text for a in args]))
    # A loop over copies in memory: a call would have all vector registers saved anyway.
    places = [code.stack(kind, 1) for _ in args]
    for arg, place in zip(args, places, strict=True):
        code.do(f"store {kind.text} {arg.text}, ptr {place}, align 64")
    head, done, before = code.fresh("lane"), code.fresh("done"), code.block
    code.jump(head)
    code.start(head)
    lane, following = f"%{code.fresh('i')}", f"%{code.fresh('i')}"
    code.do(f"{lane} = phi i64 [ 0, %{before} ], [ {following}, %{head} ]")
    addresses = [code.at(kind.element, place, lane) for place in places]
    values = [code.op(f"load {kind.element}, ptr {a}, align {kind.width // 8}") for a in addresses]
    result = _call(args, name, values)
    code.do(f"store {kind.element} {result}, ptr {addresses[0]}, align {kind.width // 8}")
    code.do(f"{following} = add nuw nsw i64 {lane}, 1")
    code.branch(code.op(f"icmp ult i64 {following}, {kind.lanes}"), head, done)
    code.start(done)
    return args[0].new(code.op(f"load {kind.text}, ptr {places[0]}, align 64"))


def _call(args: Sequence[Number], name: str, values: Sequence[str]) -> str:
    code, scalar, double = args[0].code, args[0].kind.scalar, Kind("double")
    wide = [v if scalar == double else code.cast("fpext", scalar, v, double) for v in values]
    result = code.call(name, double, [(double, v) for v in wide])
    return result if scalar == double else code.cast("fptrunc", double, result, scalar)
