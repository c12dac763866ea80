"""Layouts that emulated code and its surroundings agree on: a thread's frame, and a launch's context.

Everything is 8-byte slots but for the head of a frame, which has fields of 4 bytes as well.
"""

from __future__ import annotations

CONTEXT = (
    "params",  # the kernel's arguments, laid out as PTX says
    "shared",  # the block's shared memory
    "shared_size",  # in bytes
    "globals",  # variables of the module
    "frames",
    "frame_size",
    "locals",  # local memory of all threads
    "local_size",
    "queues",  # copies that have been asked for and not yet made, per thread
    "threads",  # in a block
    "ntid_x", "ntid_y", "ntid_z",
    "nctaid_x", "nctaid_y", "nctaid_z",
    "ctaid_x", "ctaid_y", "ctaid_z",
    "arrivals",  # 16 words: arrivals at named barriers
    "table", "table_size",  # allocations: start, end, shadow
    "hit",  # the entry of the table that was used last
    "shared_shadow",
    "granule",  # logarithm of the bytes that one cell of a shadow stands for
    "time", "launch_time", "block_time",
    "error", "error_site", "error_thread", "error_address", "error_other",
    "dynamic_size",
)  # fmt: skip
"""Slots of the context of a launch."""

SLOT = {name: number for number, name in enumerate(CONTEXT)}

FIELDS = {
    "pc": 0, "state": 4, "mask": 8, "count": 12, "result": 16, "thread": 20, "tid_x": 24, "tid_y": 28, "tid_z": 32,
    "flags": 36, "block_time": 40, "warp_time": 48, "fenced": 56, "given": 64, "seen": 96, "queued": 128, "group": 132,
    "registers": 144,
}  # fmt: skip
"""Bytes from the start of a frame; ``given`` is what a thread shows to its warp, ``seen`` what was shown."""

WORDS = 8
"""How many words of 4 bytes a thread can show to others at once."""

RUNS, WARP, BLOCK, DONE = range(4)
"""States of a thread: it runs, waits for its warp, waits at a barrier, or has left the kernel."""

QUEUE = 256
"""Asynchronous copies of a thread that can be under way."""

QUEUED = 32
"""Bytes of an entry of a queue: target, source, bytes to copy, bytes in all, group."""

(
    OK, OUTSIDE, MISALIGNED, UNINITIALISED, READ_AFTER_WRITE, WRITE_AFTER_READ, WRITE_AFTER_WRITE,
    OUTSIDE_SHARED, WARP_DIVERGED, BARRIER_DIVERGED, QUEUE_FULL, TRAP, OUTSIDE_LOCAL, ON_ITS_WAY,
) = range(14)  # fmt: skip
"""What a launch can fail with."""
