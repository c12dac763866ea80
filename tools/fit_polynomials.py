"""Fit the polynomials of `tfc.codegen.cpu.formulas` and print them.

    python tools/fit_polynomials.py            (needs mpmath; a minute)

Each is the best one of its degree: Remez' exchange in 60 digits, against the relative error of the
whole function. Coefficients are rounded to the precision they are used in one by one, from
the lowest power on, and the rest is fitted again each time. Pieces are fitted by least squares.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import mpmath as mp

mp.mp.dps = 60
Function = Callable[[mp.mpf], mp.mpf]


def remez(f: Function, weight: Function, powers: Sequence[int], low: float, high: float):
    """Coefficients of ``powers`` with the least greatest ``|weight * (p - f)|``, and that."""
    size = len(powers) + 1
    grid = [(mp.mpf(low) + high) / 2 - (mp.mpf(high) - low) / 2 * mp.cos(mp.pi * (i + 0.5) / 1200) for i in range(1200)]
    values = [(x, f(x), weight(x)) for x in grid]
    nodes = [values[int((0.5 - 0.5 * mp.cos(mp.pi * i / (size - 1))) * 1199)] for i in range(size)]
    for _ in range(12):
        rows = mp.matrix(size, size)
        right = mp.matrix(size, 1)
        for i, (x, y, w) in enumerate(nodes):
            for k, power in enumerate(powers):
                rows[i, k] = x**power
            rows[i, size - 1] = (-1) ** i / w
            right[i] = y
        solution = mp.lu_solve(rows, right)
        found = list(solution)[:-1]
        errors = [w * (sum(c * x**p for c, p in zip(found, powers, strict=True)) - y) for x, y, w in values]
        best: list[int] = []
        for i, e in enumerate(errors):
            if best and (errors[best[-1]] > 0) == (e > 0):
                if abs(e) > abs(errors[best[-1]]):
                    best[-1] = i
            else:
                best.append(i)
        while len(best) > size:
            best.pop(0 if abs(errors[best[0]]) < abs(errors[best[-1]]) else -1)
        worst = max(abs(e) for e in errors)
        if len(best) < size or worst < abs(solution[size - 1]) * 1.001:
            break
        nodes = [values[i] for i in best]
    return found, worst


def rounded(value: mp.mpf, single: bool) -> float:
    number = float(value)
    return struct.unpack("<f", struct.pack("<f", number))[0] if single else number


def fit(name: str, f: Function, weight: Function, powers: Sequence[int], low: float, high: float, *, single: bool) -> None:
    """Print the coefficients; those of doubles are precise enough to be rounded all at once."""
    found, worst = remez(f, weight, powers, low, high)
    kept = [] if single else [float(c) for c in found]
    for k in range(len(kept), len(powers)):
        def rest(x, k=k):
            return f(x) - sum(c * x**p for c, p in zip(kept, powers[:k], strict=True))
        found, worst = remez(rest, weight, powers[k:], low, high)
        kept.append(rounded(found[0], single))
    print(f"{name} = (  # 2**{float(mp.log(worst, 2)):.1f}")
    for c in kept:
        print(f"    {c!r},")
    print(")", flush=True)


def fit_pieces(name: str, f: Function, spacing: float, count: int) -> None:
    """Print polynomials of degree 5 of an odd function around the multiples of ``spacing``, a row for each power.

    That around 0 begins with the nearest f32 to the derivative there; what that lacks is added in all pieces.
    """
    largest = mp.findroot(lambda x: 1 - f(x) - mp.mpf(2) ** -25, spacing * (count - 1))
    slope = mp.diff(f, 0)
    lack = rounded(slope - rounded(slope, single=True), single=True)
    pieces: list[list[float]] = []
    for k in range(count):
        center, half = mp.mpf(spacing) * k, mp.mpf(spacing) / 2 * mp.mpf("1.001")
        kept = [0.0, rounded(slope, single=True)] if k == 0 else []
        nodes = [half * mp.cos(mp.pi * (i + 0.5) / 56) for i in range(28 if k == 0 else 56)]
        values = [f(center + t) for t in nodes]
        for power in range(len(kept), 6):
            terms = [[t**p / y for p in range(power, 6)] for t, y in zip(nodes, values, strict=True)]
            known = [lack * t + sum(c * t**p for p, c in enumerate(kept)) for t in nodes]
            left = [1 - z / y for z, y in zip(known, values, strict=True)]
            kept.append(rounded(mp.lu_solve(mp.matrix(terms), mp.matrix(left))[0], single=True))
        pieces.append(kept)
    print(f"{name} = Pieces({spacing!r}, {float(largest) + 1e-5:.6g}, {lack:.9g}, (")
    for row in zip(*pieces, strict=True):
        print(f"    ({', '.join(f'{c:.9g}' for c in row)}),")
    print("))", flush=True)


HALF_LN2 = 0.3468
ROOT = float(mp.sqrt(2))


def series(f: Function, at_zero: float) -> Function:
    """``f``, with its limit where it is 0/0."""
    return lambda x: f(x) if abs(x) > mp.mpf(10) ** -25 else mp.mpf(at_zero)


def main() -> None:
    exp = series(lambda r: (mp.expm1(r) - r) / r**2, 0.5)
    fit("exponential.SINGLE.tail", exp, lambda r: r * r / mp.exp(r), range(6), -HALF_LN2, HALF_LN2, single=True)
    fit("exponential.DOUBLE.tail", exp, lambda _: mp.mpf(1), range(10), -0.999 * HALF_LN2, HALF_LN2, single=False)

    log = series(lambda z: (mp.log1p(z) - z + z * z / 2) / z**3, 1 / mp.mpf(3))
    relative = lambda z: abs(z**3 / (mp.log1p(z) if z else 1))  # noqa: E731
    fit("logarithm.TAIL", log, relative, range(9), ROOT / 2 - 1, ROOT - 1, single=True)
    # log((1 + s) / (1 - s)) = 2*s + s * z * P(z), z = s*s
    odd = series(lambda z: (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z, mp.mpf(2) / 3)
    fit("logarithm.TAIL_DOUBLE", odd, lambda z: z, range(7), 0, 0.02946, single=False)

    quarter = (mp.pi / 4 + 1e-3) ** 2
    sin = series(lambda s: (mp.sin(mp.sqrt(s)) / mp.sqrt(s) - 1) / s, -mp.mpf(1) / 6)
    cos = series(lambda s: (mp.cos(mp.sqrt(s)) - 1 + s / 2) / s**2, mp.mpf(1) / 24)
    for terms, single in ((3, True), (5, False)):
        fit("trigonometry.SIN", sin, lambda s: s, range(terms), 0, quarter, single=single)
        fit("trigonometry.COS", cos, lambda s: s * s, range(terms), 0, quarter, single=single)
    atan = series(lambda s: (mp.atan(mp.sqrt(s)) / mp.sqrt(s) - 1) / s, -mp.mpf(1) / 3)
    fit("trigonometry.ATAN", atan, lambda s: s, range(11), 0, 1, single=False)

    erf = series(lambda s: mp.erf(mp.sqrt(s)) / mp.sqrt(s) - 1, 2 / mp.sqrt(mp.pi) - 1)
    fit("error_function.NEAR", erf, lambda _: mp.mpf(1), range(6), 0, 0.85**2, single=True)
    weight = lambda x: mp.erfc(x) / mp.erf(x)  # noqa: E731
    fit("error_function.FAR", lambda x: mp.log(mp.erfc(x)), weight, range(8), 0.85, 3.95, single=True)

    fit_pieces("pieces.ERF", mp.erf, 67 / 256, 16)
    fit_pieces("pieces.TANH", mp.tanh, 149 / 512, 32)


if __name__ == "__main__":
    main()
