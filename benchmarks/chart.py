"""A chart of results as SVG: each peer's time over tfc's, one panel for each number of threads.

Right of the line at 1 tfc is faster. A grey tick tells where the machine's roofline is. The scale is
logarithmic, so that twice as fast and half as fast are equally far from the line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

LABELS, PANEL, GAP, ROW, TOP, BOTTOM = 340, 330, 56, 30, 104, 46
LEAST, MOST = 0.125, 16.0
COLOURS = {
    "numpy": "#999999",
    "torch": "#e69f00",
    "torch frozen": "#a0430a",
    "jax": "#009e73",
    "onnxruntime": "#0072b2",
    "openvino": "#56b4e9",
    "iree": "#cc79a7",
}


@dataclass(frozen=True)
class Row:
    """One workload in one panel.

    Attributes:
        ratios: a peer's time over tfc's.
        bound: the roofline's time over tfc's; None where it says nothing.
    """

    title: str
    ratios: dict[str, float]
    bound: float | None


def chart(title: str, panels: dict[str, Sequence[Row]]) -> str:
    """The SVG text; ``panels`` are rows by the name of the panel."""
    peers = list(dict.fromkeys(p for rows in panels.values() for r in rows for p in r.ratios))
    colours = {p: COLOURS.get(p, "#d40000") for p in [*COLOURS, *peers] if p in peers}
    titles = list(dict.fromkeys(r.title for rows in panels.values() for r in rows))
    width = LABELS + len(panels) * (PANEL + GAP)
    height = TOP + ROW * len(titles) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(16, 26, title, "font-size='17' font-weight='bold'"),
        *_legend(colours),
    ]
    for k, name in enumerate(titles):
        y = TOP + ROW * (k + 0.5)
        parts.append(_text(LABELS - 14, y + 5, name, "text-anchor='end'"))
    for k, (name, rows) in enumerate(panels.items()):
        x = LABELS + k * (PANEL + GAP)
        parts += _panel(x, name, {r.title: r for r in rows}, titles, colours)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(colours: dict[str, str]) -> list[str]:
    parts, x = list[str](), 24.0
    for peer, colour in colours.items():
        parts.append(f'<circle cx="{x}" cy="52" r="5.5" fill="{colour}"/>')
        parts.append(_text(x + 10, 57, peer))
        x += 34 + 7.2 * len(peer)
    parts.append(f'<line x1="{x}" x2="{x}" y1="44" y2="60" stroke="#555" stroke-width="3"/>')
    parts.append(_text(x + 9, 57, "roofline"))
    return parts


def _panel(
    left: float, name: str, rows: dict[str, Row], titles: list[str], colours: dict[str, str]
) -> list[str]:
    bottom = TOP + ROW * len(titles)
    parts = [_text(left, TOP - 14, name, "font-weight='bold'")]
    parts += [
        f'<rect x="{left}" y="{TOP + ROW * k}" width="{PANEL}" height="{ROW}" fill="#f4f4f4"/>'
        for k in range(0, len(titles), 2)
    ]
    step = LEAST
    while step <= MOST:
        x, one = left + _place(step), step == 1
        stroke = 'stroke="#222" stroke-width="1.5"' if one else 'stroke="#d8d8d8"'
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" {stroke}/>')
        label = f"{step:g}" if step >= 1 else f"1/{1 / step:g}"
        parts.append(_text(x, bottom + 17, label, "text-anchor='middle' fill='#444'"))
        step *= 2
    middle = "text-anchor='middle' fill='#444'"
    parts.append(
        _text(
            left + PANEL / 2, bottom + 36, "peer's time / tfc's: right of 1 tfc is faster", middle
        )
    )
    for k, title in enumerate(titles):
        if title in rows:
            parts += _marks(left, TOP + ROW * (k + 0.5), rows[title], colours)
    return parts


def _marks(left: float, y: float, row: Row, colours: dict[str, str]) -> list[str]:
    parts = list[str]()
    if row.bound is not None and row.bound >= LEAST:
        x = left + _place(row.bound)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 9}" y2="{y + 9}" stroke="#555" stroke-width="3"/>'
        )
    for peer, ratio in sorted(row.ratios.items(), key=lambda item: -item[1]):
        x, colour = left + _place(ratio), colours[peer]
        if LEAST <= ratio <= MOST:
            mark = f'<circle cx="{x:.1f}" cy="{y}" r="5.5" fill="{colour}" fill-opacity="0.9"'
        else:
            turn = 1 if ratio > MOST else -1
            mark = (
                f'<path d="M{x:.1f} {y} l{-8 * turn} -6 v12 z" fill="{colour}" fill-opacity="0.9"'
            )
        parts.append(
            f'{mark} stroke="white"><title>{peer} {ratio:.2f}</title></{mark[1:].split()[0]}>'
        )
    return parts


def _place(ratio: float) -> float:
    """Where a ratio is in a panel; those outside are at its edge."""
    ratio = min(max(ratio, LEAST), MOST)
    return PANEL * math.log(ratio / LEAST) / math.log(MOST / LEAST)


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>'
