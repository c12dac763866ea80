"""Asynchronous copies to shared memory: ``cp.async`` and its groups.

A copy is made as late as the program allows: when the thread waits for its group. Until then nobody may touch
the place that it goes to, which the checks see to; without them, a wait that is missing shows as old bytes.
"""

from __future__ import annotations

from tfc.emulator.memory import BEGINS, place
from tfc.emulator.syntax import Instruction
from tfc.emulator.translate import Rule, Translator


def copy(t: Translator, op: Instruction) -> None:
    if op.modifiers[0] != "async" or "bulk" in op.modifiers:
        raise t.unknown()
    if "commit_group" in op.modifiers:
        group = t.set(f"add i32 {t.field('group')}, 1")
        t.put_field("group", group)
    elif "wait_all" in op.modifiers or "wait_group" in op.modifiers:
        wait(t, op)
    elif "mbarrier" in op.modifiers:
        raise t.unknown()
    else:
        _issue(t, op)


def _issue(t: Translator, op: Instruction) -> None:
    """``cp.async.ca.shared.global [to], [from], bytes {, bytes of the source}``; the rest becomes zeros."""
    total = int(str(op.operands[2]))
    if total not in (4, 8, 16) or ("cg" in op.modifiers and total != 16):
        raise t.fail(f"'{op.text}' copies 4, 8 or 16 bytes, with 'cg' 16, got {total}")
    if any("cache_hint" in m for m in op.modifiers) and len(op.operands) == 4:
        given = str(total)
    else:
        given = t.read(op.operands[3], 32) if len(op.operands) > 3 else str(total)
    to, source = t.address(op.operands[0]), t.address(op.operands[1])
    place(t, Instruction("cp", ("shared",), ()), to, total, 4, BEGINS)
    if t.checked:
        t.global_grain = min(t.global_grain, 4)
        wide = t.set(f"zext i32 {given} to i64")
        some, over = t.fresh("some"), t.fresh("none")
        t.do(f"br i1 {t.set(f'icmp ne i64 {wide}, 0')}, label %{some}, label %{over}")
        t.start(some)
        arguments = f"ptr %context, ptr %frame, i64 {source}, i64 {total}, i64 {wide}, i64 {t.site()}"
        t.require(t.set(f"call i1 @check.source({arguments})"))
        t.do(f"br label %{over}")
        t.start(over)
    words = f"i64 {to}, i64 {source}, i32 {given}, i32 {total}, i64 {t.site()}"
    t.require(t.set(f"call i1 @async.copy(ptr %context, ptr %frame, {words})"))


def wait(t: Translator, op: Instruction) -> None:
    keep = "-1" if "wait_all" in op.modifiers else str(op.operands[0])
    checks = "true" if t.checked else "false"
    t.require(t.set(f"call i1 @async.wait(ptr %context, ptr %frame, i32 {keep}, i64 {t.site()}, i1 {checks})"))


RULES: dict[str, Rule] = {"cp": copy}
