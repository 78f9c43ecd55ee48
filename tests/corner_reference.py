"""Coefficients of piecewise quadratic losses under an adversary, in high precision, from the definitions alone.

The supremum is the largest of the endpoints, the loss's own breakpoints and the vertices of its concave pieces that lie
within reach. Which of them it is, and on which pieces, changes at places that are bracketed on a grid and bisected; in
between ``f_adv`` is a quadratic, whose Gaussian moments are exact. Imports mpmath alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mpmath import mp, mpf

DIGITS = 60
REACH = 40  # standard deviations
SMALLEST = mpf(10) ** -45  # interval left between two winners
NAMES = ("R", "A", "B", "D", "F", "I")


@dataclass(frozen=True)
class Pieces:
    """``ends`` of the pieces in increasing order; ``(a, b, c)`` of ``a r² + b r + c`` on each, one more than ends."""

    ends: tuple[Any, ...]
    quadratics: tuple[tuple[Any, Any, Any], ...]

    def index(self, r: Any) -> int:
        return sum(r > e for e in self.ends)

    def value(self, r: Any, k: int | None = None) -> Any:
        a, b, c = self.quadratics[self.index(r) if k is None else k]
        return (a * r + b) * r + c

    @property
    def tops(self) -> tuple[Any, ...]:
        """Every place where there may be a local maximum."""
        vertices = []
        for k, (a, b, _) in enumerate(self.quadratics):
            if a < 0:
                vertex = -b / (2 * a)
                if (k == 0 or vertex > self.ends[k - 1]) and (k == len(self.ends) or vertex < self.ends[k]):
                    vertices.append(vertex)
        return (*self.ends, *vertices)


Pattern = tuple[int, int]  # who wins: +1, -1 (endpoints) or 0 (inside); the piece, or the number of the place


def winner(f: Pieces, r: Any, kappa: Any) -> Pattern:
    right, left = f.index(r + kappa), f.index(r - kappa)
    best, who = f.value(r + kappa, right), (1, right)
    if (value := f.value(r - kappa, left)) > best:
        best, who = value, (-1, left)
    for number, top in enumerate(f.tops):
        if abs(r - top) < kappa and (value := f.value(top)) > best:
            best, who = value, (0, number)
    return who


def quadratic(f: Pieces, who: Pattern, kappa: Any) -> tuple[Any, Any, Any]:
    """``f_adv`` where that one wins."""
    side, k = who
    if side == 0:
        return mpf(0), mpf(0), f.value(f.tops[k])
    a, b, c = f.quadratics[k]
    shift = side * kappa
    return a, b + 2 * a * shift, (a * shift + b) * shift + c


def segments(f: Pieces, kappa: Any, low: Any, high: Any) -> list[tuple[Any, Any, Pattern]]:
    """Intervals on each of which one wins, from left to right.

    The grid has every place that is special for the loss, and cells between them; ties are at ends of cells.
    """
    marks = {p + k for p in f.tops for k in (-kappa, mpf(0), kappa)}
    marks = sorted({p for p in marks if low < p < high} | {low + (high - low) * k / 64 for k in range(65)})
    grid = [a + (b - a) * k / 12 for a, b in pairwise(marks) for k in range(12)] + [high]
    cuts: list[tuple[Any, Any, Pattern]] = []

    def cut(a: Any, b: Any, who: Pattern) -> None:
        if cuts and cuts[-1][2] == who:
            cuts[-1] = (cuts[-1][0], b, who)
        else:
            cuts.append((a, b, who))

    def resolve(a: Any, b: Any) -> None:
        near_a, near_b = (winner(f, e, kappa) for e in (a + (b - a) / 2**40, b - (b - a) / 2**40))
        if near_a == near_b == winner(f, (a + b) / 2, kappa):
            cut(a, b, near_a)
        elif b - a > SMALLEST:
            resolve(a, (a + b) / 2)
            resolve((a + b) / 2, b)

    for a, b in pairwise(grid):
        resolve(a, b)
    return cuts


def label_coefficients(f: Pieces, m: Any, Q: Any, n: Any, epsilon: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """``R, A, B, D, F, I`` at given doubles, and the means of the integrands' absolute values."""
    with mp.workdps(DIGITS):
        m, n, epsilon = mpf(m), mpf(n), mpf(epsilon)
        s, kappa = mp.sqrt(mpf(Q)), mpf(n) * mpf(epsilon)
        low, high = m - REACH * s, m + REACH * s
        value = dict.fromkeys(NAMES, mpf(0))
        size = dict.fromkeys(NAMES, mpf(0))
        slope_before = None
        for a, b, who in segments(f, kappa, low, high):
            q = quadratic(f, who, kappa)
            zero = -q[1] / (2 * q[0]) if q[0] != 0 else a
            halves = [(a, zero), (zero, b)] if a < zero < b else [(a, b)]
            for left, right in halves:
                moments = interval_moments((left - m) / s, (right - m) / s, m, s)
                risk = q[0] * moments[2] + q[1] * moments[1] + q[2] * moments[0]
                slope = 2 * q[0] * moments[1] + q[1] * moments[0]
                square = 4 * q[0] ** 2 * moments[2] + 4 * q[0] * q[1] * moments[1] + q[1] ** 2 * moments[0]
                # without a radius the norm's derivative is that of the first bit of radius
                by_norm = epsilon * (who[0] * slope if kappa > 0 else abs(slope))
                for name, e in (("R", risk), ("A", slope), ("F", by_norm), ("I", square)):
                    value[name] += e
                    size[name] += abs(e)
                value["B"] += 2 * q[0] * moments[0]
                size["B"] += abs(2 * q[0] * moments[0])
            if slope_before is not None:
                jump = 2 * q[0] * a + q[1] - slope_before
                mass = jump * mp.npdf((a - m) / s) / s
                value["B"] += mass
                size["B"] += abs(mass)
            slope_before = 2 * q[0] * b + q[1]
        return value, size


def interval_moments(a: Any, b: Any, m: Any, s: Any) -> tuple[Any, Any, Any]:
    """``E[r^k 1(a < z < b)]``, ``r = m + s z``, ``k = 0, 1, 2``."""
    phi = mp.npdf
    zeroth = (mp.erfc(a / mp.sqrt(2)) - mp.erfc(b / mp.sqrt(2))) / 2 if a > 0 else mp.ncdf(b) - mp.ncdf(a)
    first = phi(a) - phi(b)
    second = zeroth + a * phi(a) - b * phi(b)
    return zeroth, m * zeroth + s * first, m**2 * zeroth + 2 * m * s * first + s**2 * second
