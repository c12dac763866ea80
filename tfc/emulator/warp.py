"""What the threads of a warp or block do together: barriers, exchanges, votes.

A thread writes what it shows to the others into its frame and waits. When all have arrived, the scheduler
copies what each has shown to a second place, where they read it: a fast thread may then go on and show the next.
"""

from __future__ import annotations

from tfc.emulator.frame import BLOCK, FIELDS, WARP, WORDS
from tfc.emulator.syntax import Instruction
from tfc.emulator.translate import Rule, Translator


def show(t: Translator, mask: str, words: list[str], fence: bool = False) -> None:
    """Wait for the threads in ``mask``, showing them words of 32 bits."""
    assert len(words) <= WORDS, "a frame has room for what is shown"
    for k, word in enumerate(words):
        t.put_field("given", word, offset=4 * k)
    t.put_field("mask", mask)
    t.put_field("count", "1" if fence else "0")
    t.wait(WARP)


def lane(t: Translator) -> str:
    return t.set(f"and i32 {t.field('thread')}, 31")


def seen(t: Translator, lane: str, word: int = 0) -> str:
    """What the thread of the warp with number ``lane`` has shown."""
    return t.set(f"load i32, ptr {seen_place(t, lane, word)}")


def seen_place(t: Translator, lane: str, word: int = 0) -> str:
    own = t.set(f"and i32 {t.field('thread')}, 31")
    distance = t.set(f"sext i32 {t.set(f'sub i32 {lane}, {own}')} to i64")
    offset = t.set(f"mul i64 {distance}, {t.slot('frame_size')}")
    frame = t.set(f"getelementptr i8, ptr %frame, i64 {offset}")
    return t.set(f"getelementptr i8, ptr {frame}, i64 {FIELDS['seen'] + 4 * word}")


def barrier(t: Translator, op: Instruction) -> None:
    """``bar.sync``, ``bar.arrive``, ``bar.red`` and ``bar.warp.sync``, also under the name ``barrier``."""
    modifiers = set(op.modifiers)
    if "warp" in modifiers:
        show(t, t.read(op.operands[0], 32), [], fence=True)
        return
    if "cluster" in modifiers:
        raise t.unknown()
    reduces = "red" in modifiers
    operands = list(op.operands[1:] if reduces else op.operands)
    predicate = operands.pop() if reduces else None
    number = t.read(operands[0], 32)
    count = t.read(operands[1], 32) if len(operands) > 1 else "0"
    if "arrive" in modifiers:
        t.do(f"call void @arrive(ptr %context, i32 {number})")
        return
    if predicate is not None:
        t.put_field("given", t.resize(t.read(predicate, 1), 1, 32, False))
    t.put_field("mask", number)
    t.put_field("count", count)
    t.wait(BLOCK)
    if predicate is not None:
        found = t.field("result")
        if "popc" in modifiers:
            t.write(op.operands[0], found, 32)
            return
        needed = t.field("seen")
        test = f"icmp eq i32 {found}, {needed}" if "and" in modifiers else f"icmp ne i32 {found}, 0"
        t.write(op.operands[0], t.set(test), 1)


def shuffle(t: Translator, op: Instruction) -> None:
    """``shfl.sync.mode.b32 d|p, a, b, c, mask``.

    ``c`` holds the bound of the lane in its low bits and the mask of segments from bit 8 on.
    """
    mode = op.modifiers[1]
    if op.modifiers[0] != "sync":
        raise t.unknown()
    show(t, t.read(op.operands[4], 32), [t.read(op.operands[1], 32)])
    own = lane(t)
    by = t.set(f"and i32 {t.read(op.operands[2], 32)}, 31")
    clamp = t.read(op.operands[3], 32)
    bound, segments = t.set(f"and i32 {clamp}, 31"), t.set(f"and i32 {t.set(f'lshr i32 {clamp}, 8')}, 31")
    inverse = t.set(f"xor i32 {segments}, 31")
    kept = t.set(f"and i32 {own}, {segments}")
    most = t.set(f"or i32 {kept}, {t.set(f'and i32 {bound}, {inverse}')}")
    if mode == "up":
        source = t.set(f"sub i32 {own}, {by}")
        inside = t.set(f"icmp sge i32 {source}, {most}")
    elif mode == "down":
        source = t.set(f"add i32 {own}, {by}")
        inside = t.set(f"icmp sle i32 {source}, {most}")
    elif mode == "bfly":
        source = t.set(f"xor i32 {own}, {by}")
        inside = t.set(f"icmp sle i32 {source}, {most}")
    elif mode == "idx":
        source = t.set(f"or i32 {kept}, {t.set(f'and i32 {by}, {inverse}')}")
        inside = t.set(f"icmp sle i32 {source}, {most}")
    else:
        raise t.unknown()
    found = seen(t, t.set(f"select i1 {inside}, i32 {source}, i32 {own}"))
    target = op.operands[0]
    if isinstance(target, tuple):
        t.write(target[0], found, 32)
        t.write(target[1], inside, 1)
    else:
        t.write(target, found, 32)


def ballot(t: Translator, mask: str, word: int = 0) -> str:
    """Lanes of ``mask`` whose word is not 0, as bits."""
    t.define("ballot", BALLOT)
    first = seen_place(t, "0", word)
    return t.set(f"call i32 @ballot(ptr {first}, i64 {t.slot('frame_size')}, i32 {mask})")


BALLOT = """define internal i32 @ballot(ptr %first, i64 %step, i32 %mask) {
entry:
  br label %loop
loop:
  %lane = phi i32 [ 0, %entry ], [ %next, %latch ]
  %bits = phi i32 [ 0, %entry ], [ %more, %latch ]
  %bit = shl i32 1, %lane
  %in = and i32 %bit, %mask
  %asked = icmp ne i32 %in, 0
  br i1 %asked, label %look, label %latch
look:
  %wide = zext i32 %lane to i64
  %offset = mul i64 %wide, %step
  %place = getelementptr i8, ptr %first, i64 %offset
  %word = load i32, ptr %place
  %set = icmp ne i32 %word, 0
  %one = select i1 %set, i32 %bit, i32 0
  br label %latch
latch:
  %found = phi i32 [ 0, %loop ], [ %one, %look ]
  %more = or i32 %bits, %found
  %next = add i32 %lane, 1
  %again = icmp ult i32 %next, 32
  br i1 %again, label %loop, label %done
done:
  ret i32 %more
}
"""


def members(t: Translator, mask: str) -> str:
    """``mask`` without lanes that the block does not have."""
    t.helpers["members"] = ""
    return t.set(f"call i32 @members(ptr %context, ptr %frame, i32 {mask})")


def vote(t: Translator, op: Instruction) -> None:
    """``vote.sync.mode.type d, {!}p, mask``."""
    if op.modifiers[0] != "sync":
        raise t.unknown()
    mode = op.modifiers[1]
    predicate = t.resize(t.read(op.operands[1], 1), 1, 32, False)
    show(t, t.read(op.operands[2], 32), [predicate])
    mask = members(t, t.read(op.operands[2], 32))
    bits = ballot(t, mask)
    if mode == "ballot":
        t.write(op.operands[0], bits, 32)
        return
    every, none = t.set(f"icmp eq i32 {bits}, {mask}"), t.set(f"icmp eq i32 {bits}, 0")
    found = {
        "all": lambda: every,
        "any": lambda: t.set(f"xor i1 {none}, true"),
        "uni": lambda: t.set(f"or i1 {every}, {none}"),
    }
    t.write(op.operands[0], found[mode](), 1)


def match(t: Translator, op: Instruction) -> None:
    """``match.any.sync`` and ``match.all.sync``: which lanes show the same value."""
    width = t.width(op.type)
    value = t.read(op.operands[1], width)
    words = [t.resize(t.set(f"lshr i{width} {value}, {k}"), width, 32, False) for k in range(0, width, 32)]
    show(t, t.read(op.operands[2], 32), words)
    mask = members(t, t.read(op.operands[2], 32))
    same = "0"
    own = lane(t)
    mine = [seen(t, own, k) for k in range(len(words))]
    for other in range(32):
        bit = t.set(f"and i32 {mask}, {1 << other}")
        asked = t.set(f"icmp ne i32 {bit}, 0")
        where = t.set(f"select i1 {asked}, i32 {other}, i32 {own}")
        equal = asked
        for k, word in enumerate(mine):
            equal = t.set(f"and i1 {equal}, {t.set(f'icmp eq i32 {word}, {seen(t, where, k)}')}")
        same = t.set(f"or i32 {same}, {t.set(f'select i1 {equal}, i32 {1 << other}, i32 0')}")
    target = op.operands[0]
    if op.modifiers[0] == "any":
        t.write(target, same, 32)
        return
    every = t.set(f"icmp eq i32 {same}, {mask}")
    found = t.set(f"select i1 {every}, i32 {mask}, i32 0")
    if isinstance(target, tuple):
        t.write(target[0], found, 32)
        t.write(target[1], every, 1)
    else:
        t.write(target, found, 32)


_REDUCTIONS = {"add": ("add", "0"), "and": ("and", "-1"), "or": ("or", "0"), "xor": ("xor", "0")}


def reduce(t: Translator, op: Instruction) -> None:
    """``redux.sync.op.type d, a, mask``."""
    how = op.modifiers[1]
    show(t, t.read(op.operands[2], 32), [t.read(op.operands[1], 32)])
    mask = members(t, t.read(op.operands[2], 32))
    own = lane(t)
    total = _REDUCTIONS[how][1] if how in _REDUCTIONS else seen(t, own)
    for other in range(32):
        asked = t.set(f"icmp ne i32 {t.set(f'and i32 {mask}, {1 << other}')}, 0")
        value = seen(t, t.set(f"select i1 {asked}, i32 {other}, i32 {own}"))
        if how in _REDUCTIONS:
            more = t.set(f"{_REDUCTIONS[how][0]} i32 {total}, {value}")
        elif op.type == "f32":
            raise t.unknown()
        else:
            more = t.call(f"llvm.{op.type[0]}{how}.i32", "i32", [total, value])
        total = t.set(f"select i1 {asked}, i32 {more}, i32 {total}")
    t.write(op.operands[0], total, 32)


def elect(t: Translator, op: Instruction) -> None:
    """``elect.sync d|p, mask``: the first lane of the mask leads."""
    show(t, t.read(op.operands[1], 32), [])
    mask = members(t, t.read(op.operands[1], 32))
    t.define("llvm.cttz.i32", "declare i32 @llvm.cttz.i32(i32, i1)")
    leader = t.set(f"call i32 @llvm.cttz.i32(i32 {mask}, i1 false)")
    target = op.operands[0]
    assert isinstance(target, tuple), "a pair"
    t.write(target[0], leader, 32)
    t.write(target[1], t.set(f"icmp eq i32 {leader}, {lane(t)}"), 1)


RULES: dict[str, Rule] = {
    "bar": barrier,
    "barrier": barrier,
    "shfl": shuffle,
    "vote": vote,
    "match": match,
    "redux": reduce,
    "elect": elect,
}
