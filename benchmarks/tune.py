"""Search for blockings of contractions: ``python benchmarks/tune.py [PATTERN ...] [--write]``.

For each case of ``contractions.py`` the kernel is compiled with blockings around that of the rule, and all run in
turn on this machine. One that is faster by more than `GAIN` twice over goes to the store that the
compiler reads (``tfc/codegen/schedule/tuned.txt``). ``--cpu`` tunes for a lesser cpu than this machine's own.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
from collections.abc import Iterator
from dataclasses import replace

from contractions import Case, Peer, cases, measure, tfc_

from tfc.codegen.schedule import blocking, contraction, tuned
from tfc.codegen.schedule.blocking import Problem
from tfc.codegen.schedule.tuned import STORE, Blocking

GAIN = 1.06
"""How much faster a blocking has to be than what the compiler does now."""


def problems(case: Case, cpu: str | None) -> list[Problem]:
    """The contractions that are met when ``case`` is compiled."""
    seen: list[Problem] = []
    chosen = blocking.choose

    def noting(problem: Problem) -> Blocking:
        seen.append(problem)
        return chosen(problem)

    contraction.choose = noting
    try:
        tfc_(case, cpu)
    finally:
        contraction.choose = chosen
    return seen


def candidates(problem: Problem) -> Iterator[Blocking]:
    """Blockings around the present one: first all sizes, then what is copied."""
    now = blocking.choose(problem)
    users = problem.users
    for rows in {now.rows, 2 * problem.height, 48, 96, 192, 384, users}:
        if rows <= 2 * users:
            yield replace(now, rows=rows)
    for panels in {1, 2, 4, 8}:
        if panels <= blocking.guess(problem.panels):
            yield replace(now, panels=panels)
    for chunk in {64, 128, 256, 512, 1024, 4096}:
        if chunk // 2 <= problem.depth and not (now.copies_w and chunk > 512):
            yield replace(now, chunk=chunk)
    if not problem.must_copy:
        yield replace(now, copies_w=not now.copies_w, chunk=min(now.chunk, 256))


def search(case: Case, cpu: str | None, rounds: int) -> tuple[str, Blocking, float] | None:
    """The best blocking of the contraction in ``case``, if it gains enough: class, blocking, gain."""
    found = problems(case, cpu)
    if len(found) != 1:
        return None
    (problem,) = found
    kind, now = str(problem), blocking.choose(problem)
    runs: dict[Blocking, Peer] = {}
    for each in dict.fromkeys([now, *candidates(problem)]):
        with tuned.trying(kind, each):
            runs[each] = tfc_(case, cpu)
    best = now
    for _ in range(2):  # what is good along one axis is tried together with the others
        times = measure({str(b): run for b, run in runs.items()}, rounds, 0.01)
        order = sorted(runs, key=lambda b: times[str(b)])
        best = order[0]
        mixed = replace(best, rows=order[1].rows, panels=order[1].panels)
        runs = {b: runs[b] for b in {now, *order[:3]}}
        if mixed not in runs:
            with tuned.trying(kind, mixed):
                runs[mixed] = tfc_(case, cpu)
    times = measure({str(b): runs[b] for b in {now, best}}, 2 * rounds, 0.02)
    gain = times[str(now)] / times[str(best)]
    return (kind, best, gain) if gain > GAIN else None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("patterns", nargs="*", help="names of cases, with * and ?")
    parser.add_argument("--cpu", help="tune for this cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put what was found into the store")
    options = parser.parse_args()
    os.environ["TFC_CACHE"] = "0"  # a kernel that is known is not cut anew
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    lines = STORE.read_text().splitlines()
    for case in cases():
        if options.patterns and not any(fnmatch.fnmatch(case.name, p) for p in options.patterns):
            continue
        found = search(case, options.cpu, options.rounds)
        case.operands.clear()
        if found is None:
            print(f"{case.name:<28} the rule is as good", flush=True)
            continue
        kind, best, gain = found
        print(f"{case.name:<28} {gain:.2f} times as fast: {kind} : {best}", flush=True)
        if options.write:
            lines = [line for line in lines if not line.startswith(f"{kind} : ")]
            lines.append(f"{kind} : {best}  # {gain:.2f} for {case.name}")
            head, *rest = lines
            STORE.write_text("\n".join([head, *sorted(rest)]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
