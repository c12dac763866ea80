"""Results as a page: ``python benchmarks/report.py results*.json > docs/benchmarks.md``.

Files of several runs are joined; where two measured the same, the later named one counts. The chart
goes to ``docs/benchmarks.svg``, or where ``--chart`` says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from chart import Row, chart

from tfc.runtime.rates import Rates


@dataclass(frozen=True)
class Result:
    """One workload with one number of threads."""

    data: dict[str, Any]
    rates: Rates

    @property
    def ours(self) -> dict[str, Any]:
        return self.data["peers"].get("tfc", {})

    @property
    def peers(self) -> dict[str, dict[str, Any]]:
        """The figures of the others that ran."""
        every = self.data["peers"].items()
        return {p: f for p, f in every if p != "tfc" and "median" in f}

    @property
    def best(self) -> str | None:
        """The fastest of the others."""
        return min(self.peers, key=lambda p: self.peers[p]["median"], default=None)

    @property
    def bound(self) -> float:
        """Least seconds on this machine."""
        return self.rates.bound(self.data["flops"], self.data["moved"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="report.py", description=__doc__.split("\n")[0])
    parser.add_argument("results", nargs="+", type=Path, help="what --json wrote")
    default = Path(__file__).parents[1] / "docs" / "benchmarks.svg"
    parser.add_argument("--chart", type=Path, default=default, help=f"default {default}")
    options = parser.parse_args()
    documents = [json.loads(path.read_text()) for path in options.results]
    results = joined(documents)
    print(page(documents, results, options.chart.name), end="")
    options.chart.write_text(drawing(documents[0]["machine"]["cpu"], results))
    return 0


def joined(documents: Iterable[dict[str, Any]]) -> dict[int, list[Result]]:
    """The results by the number of threads."""
    found: dict[int, dict[str, Result]] = {}
    for document in sorted(documents, key=lambda d: d["threads"]):
        bandwidth = {int(k): v for k, v in document["rates"]["bandwidth"].items()}
        rates = Rates(document["rates"]["flops"], bandwidth)
        for data in document["results"]:
            found.setdefault(document["threads"], {})[data["name"]] = Result(data, rates)
    return {threads: list(rows.values()) for threads, rows in found.items()}


def page(documents: list[dict[str, Any]], results: dict[int, list[Result]], picture: str) -> str:
    machine, versions = documents[0]["machine"], dict[str, str]()
    for document in documents:
        versions |= document["versions"]
    parts = [
        "# Benchmarks",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ". All in f32.",
        "Each library stands ready in a process of its own; they run in turn, round after round, so that "
        "what else the machine does meets all alike. A figure is the median of "
        f"{min(d['rounds'] for d in documents)} rounds, in brackets the middle half of them; ratios are of "
        "medians, in brackets what the middle halves allow. Results are held against numpy's in float64 "
        "first. With one thread everything is confined to one core. The roofline is the least time in which "
        "the machine could do the operations and move the bytes once, at rates measured in the same run.",
        f"![each peer's time over tfc's]({picture})",
    ]
    for threads, rows in results.items():
        parts += section(threads, rows)
    parts.append(
        "This page is generated: `python benchmarks --threads 1 --json results1.json`, the same with 2, then "
        "`python benchmarks/report.py results*.json > docs/benchmarks.md`."
    )
    return "\n\n".join(parts) + "\n"


def section(threads: int, rows: list[Result]) -> list[str]:
    rates = rows[0].rates
    peers = list(dict.fromkeys(p for r in rows for p in r.data["peers"]))
    sizes = ", ".join(f"{_bytes(k)} {v / 1e9:.0f}" for k, v in rates.bandwidth.items())
    parts = [
        f"## {threads} thread{'s' if threads > 1 else ''}",
        f"Peak {rates.flops / 1e9:.0f} GFLOP/s; GB/s for sets of {sizes}.{presence(threads, rows)}",
        table(
            ["", "tfc, ms", "best peer, ms", "ratio", "GFLOP/s", "GB/s", "of roofline"],
            map(_line, rows),
        ),
        *(processor(rows) if threads == 1 else []),
        "Medians in ms:",
        table(["", *peers], ([r.data["title"], *(_cell(r, p) for p in peers)] for r in rows)),
        *(beside(rows, peers) if any("beside" in f for r in rows for f in r.data["peers"].values()) else []),
        "Seconds to the first result from the model file or the weights, the library being imported; for "
        "tfc also with its cache filled (warm), and the size of its shared library, weights included:",
        table(
            ["", "tfc", "warm", "artifact", *(p for p in peers if p != "tfc")],
            ([r.data["title"], *_preparing(r, peers)] for r in rows),
        ),
        "Peak memory of the process, preparing and running, MB:",
        table(
            ["", *peers],
            (
                [r.data["title"], *(_of(r, p, "memory", 1e-6, "{:.0f}") for p in peers)]
                for r in rows
            ),
        ),
    ]
    if failed := _failures(rows):
        parts += ["Did not run, or remarks:", failed]
    return parts


def beside(rows: list[Result], peers: Sequence[str]) -> list[str]:
    """What is left of the speed where other programs want the cores too."""

    def cell(figures: dict[str, Any]) -> str:
        if not {"beside", "median"} <= figures.keys():
            return "-"
        return f"{figures['beside'] * 1e3:.4g} ({figures['beside'] / figures['median']:.2f})"

    lines = ([r.data["title"], *(cell(r.data["peers"].get(p, {})) for p in peers)] for r in rows)
    return ["Medians in ms beside busy processes, in brackets over the quiet ones:", table(["", *peers], lines)]


def processor(rows: list[Result]) -> list[str]:
    """The same by the time that the processor worked, which other programs disturb less."""
    lines = list[list[str]]()
    for r in rows:
        spent = {p: f["processor"] for p, f in r.peers.items()}
        if spent and "median" in r.ours:
            peer, ours = min(spent, key=lambda p: spent[p]), r.ours["processor"]
            cells = (
                f"{ours * 1e3:.4g}",
                f"{peer} {spent[peer] * 1e3:.4g}",
                f"{spent[peer] / ours:.2f}",
            )
            lines.append([r.data["title"], *cells, f"{100 * r.bound / ours:.0f} %"])
    head = ["", "tfc, ms", "least of the peers, ms", "ratio", "of roofline"]
    return ["Processor time, which other programs on the machine disturb less:", table(head, lines)]


def presence(threads: int, rows: list[Result]) -> str:
    """How much of the core processes had while they were measured: the rest went to other work."""
    if threads > 1:
        return ""
    figures = [f for r in rows for f in r.data["peers"].values() if "median" in f]
    share = median(f["processor"] / f["median"] for f in figures)
    return f" What was measured had the core {100 * min(1, share):.0f} % of its time."


def _line(r: Result) -> list[str]:
    ours, best = r.ours, r.best
    cells = [r.data["title"]]
    cells.append(_spread(ours) if "median" in ours else "-")
    cells.append(f"{best} {_spread(r.peers[best])}" if best else "-")
    if "median" not in ours:
        return [*cells, "-", "-", "-", "-"]
    if best:
        theirs = r.peers[best]
        ratio = theirs["median"] / ours["median"]
        low, high = theirs["low"] / ours["high"], theirs["high"] / ours["low"]
        text = f"{ratio:.2f} ({low:.2f} to {high:.2f})"
        cells.append(f"**{text}**" if ratio >= 1 else text)
    else:
        cells.append("-")
    cells.append(f"{r.data['flops'] / ours['median'] / 1e9:.3g}")
    cells.append(f"{r.data['moved'] / ours['median'] / 1e9:.3g}")
    return [*cells, f"{100 * r.bound / ours['median']:.0f} %"]


def _preparing(r: Result, peers: Sequence[str]) -> list[str]:
    size = r.ours.get("artifact")
    first = [_of(r, "tfc", key, 1, "{:.2f}") for key in ("prepare", "warm")]
    others = [_of(r, p, "prepare", 1, "{:.2f}") for p in peers if p != "tfc"]
    return [*first, _bytes(size) if size else "-", *others]


def _failures(rows: list[Result]) -> str:
    lines = [
        f"* {r.data['title']}, {peer}: {f.get('error', f.get('note'))}"
        for r in rows
        for peer, f in r.data["peers"].items()
        if "error" in f or "note" in f
    ]
    return "\n".join(lines)


def _cell(r: Result, peer: str) -> str:
    text = _of(r, peer, "median", 1e3, "{:.4g}")
    ran = {p: f["median"] for p, f in r.data["peers"].items() if "median" in f}
    return f"**{text}**" if ran and peer == min(ran, key=lambda p: ran[p]) else text


def _of(r: Result, peer: str, key: str, scale: float, form: str) -> str:
    figures = r.data["peers"].get(peer, {})
    return form.format(figures[key] * scale) if key in figures else "-"


def _spread(f: dict[str, Any]) -> str:
    return f"{f['median'] * 1e3:.4g} ({f['low'] * 1e3:.4g} to {f['high'] * 1e3:.4g})"


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 1024:
            return f"{n:.3g} {unit}"
        n /= 1024
    return f"{n:.3g} GB"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all but the first column stand to the right."""
    rules = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rules, *rows])


def drawing(cpu: str, results: dict[int, list[Result]]) -> str:
    panels = {
        f"{threads} thread{'s' if threads > 1 else ''}": [
            Row(
                r.data["title"],
                {p: f["median"] / r.ours["median"] for p, f in r.peers.items()},
                r.bound / r.ours["median"],
            )
            for r in rows
            if "median" in r.ours
        ]
        for threads, rows in results.items()
    }
    return chart(f"Time of other libraries over tfc's, {cpu}", panels)


if __name__ == "__main__":
    raise SystemExit(main())
