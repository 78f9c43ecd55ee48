"""Tail moments of the bivariate normal distribution; ``bivariate.h`` says how and why."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

from sgdlimit.codegen.library.tails import tail_moments

TAIL_NODES, TAIL_WEIGHTS = np.polynomial.legendre.leggauss(16)


def bivariate_tail(j: int, k: int, h1: float, h2: float, rho: float, rho_perp: float) -> float:
    """``E[(x − h1)_+^j (y − h2)_+^k]`` for standard normal ``x, y`` with correlation ``rho``.

    Parameters
    ----------
    j, k : int
        Powers; 0 is the indicator.
    h1, h2 : float
        At least 0.
    rho, rho_perp : float
        The correlation and ``sqrt(1 − rho²)``, in any common unit; both 0 are taken as independence.

    Returns
    -------
    float
        To about 1e-12 relative, in the far tail too.

    Examples
    --------
    >>> f"{bivariate_tail(0, 0, 0.0, 0.0, 0.5, math.sqrt(0.75)):.6g}"
    '0.333333'
    >>> f"{bivariate_tail(1, 1, 20.0, 20.0, 1.0, 0.0):.6g}"
    '1.35991e-91'
    """
    if j < k:
        return bivariate_tail(k, j, h2, h1, rho, rho_perp)
    if not (h1 < 40 and h2 < 40):
        return 0.0 if h1 == h1 and h2 == h2 else math.nan
    size = math.hypot(rho, rho_perp)
    end, end_sign = (rho_perp / (size + abs(rho)) if size > 0 else 1.0), (1 if rho > 0 else -1)
    n = j - k
    value = _tail_half((h1, h2, n, k, -1), 0.0, 1.0 if rho > 0 else end, end, end_sign)
    if rho > 0:
        value += _tail_half((h1, h2, n, k, 1), end, 1.0, end, end_sign)
    value *= math.factorial(j) / math.factorial(n)
    return value / math.pi if n == 0 else math.sqrt(2 / math.pi) * n * math.exp(-0.5 * h2 * h2) * value


def _tail_fall(p: tuple[float, float, int, int, int], t: float) -> float:
    h1, h2, n, _, sign = p
    apart = h1 - sign * h2
    if n > 0:
        v = h1 * t if apart == 0 else (apart + (h1 + sign * h2) * t * t) / (2 * t) if t > 0 else apart * math.inf
        return max(3 * v, -27.0) if v < 0 else 0.5 * v * v
    first = 0.0 if apart == 0 else apart * (1 + t * t) / t if t > 0 else math.inf
    return 0.125 * first * first + 0.5 * sign * h1 * h2 * (1 + t * t)


def _tail_march(
    p: tuple[float, float, int, int, int], start: float, to: float, least: float
) -> list[tuple[float, float]]:
    h1, h2, _, k, sign = p
    here, height = start, _tail_fall(p, start)
    panels: list[tuple[float, float]] = []
    while here != to and len(panels) < 400:
        following = to
        if h1 != sign * h2 and height > -27:
            following = max(following, here / 3)
            if here > 0:
                following = min(following, 3 * here)
        limit = 6 + 0.6 * max(height - least - 8 * k, 0)
        while abs((fall := _tail_fall(p, following)) - height) > limit:
            middle = 0.5 * (here + following)
            if middle in (here, following):
                break
            following = middle
        panels.append((min(here, following), max(here, following)))
        here, height = following, fall
        if height > least + 34 + 8 * (k + 1):
            break
    return panels


def _tail_half(p: tuple[float, float, int, int, int], start: float, to: float, end: float, end_sign: int) -> float:
    h1, h2, n, k, sign = p
    peak = to if sign < 0 or h1 + h2 == 0 else math.sqrt(abs(h1 - h2) / (h1 + h2))
    peak = min(max(peak, start), to)
    least = max(_tail_fall(p, peak if peak > 0 or h1 == sign * h2 else to), 0.0)
    panels = np.array(_tail_march(p, peak, to, least) + _tail_march(p, peak, start, least)).reshape(-1, 2)
    half, middle = (panels[:, 1] - panels[:, 0]) / 2, (panels[:, 1] + panels[:, 0]) / 2
    t = middle[:, None] + half[:, None] * TAIL_NODES
    t2, apart = t * t, h1 - sign * h2
    if n == 0:
        value = np.exp(-0.125 * np.square(apart * (1 + t2) / t) - 0.5 * sign * h1 * h2 * (1 + t2))
    else:
        value = _signed_tail_moment(n - 1, (apart + (h1 + sign * h2) * t2) / (2 * t)) * (2 * t / (1 + t2)) ** n
    if end_sign == sign:
        step = -sign * 2 * (end - t) * (end + t) / ((1 + t2) * (1 + end * end))
    else:
        step = (1 - t2) / (1 + t2) + (1 - end * end) / (1 + end * end)
    return float(np.sum(half[:, None] * TAIL_WEIGHTS * value * step**k / (1 + t2)))


def _signed_tail_moment(n: int, v: NDArray[np.float64]) -> NDArray[np.float64]:
    """``M_n(v)``, ``v`` of either sign."""
    below: NDArray[np.float64] = 0.5 * erfc(v / math.sqrt(2))
    if n == 0:
        return below
    if n == 1:
        tail = h = np.maximum(v, 6)
        for k in range(24, 1, -1):
            tail = h + k / tail
        density = np.exp(-0.5 * v * v) / math.sqrt(2 * math.pi)
        return np.where(v < 6, density - v * below, density / (h * tail + 1))
    here = np.exp(-0.5 * v * v) / math.sqrt(2 * math.pi) - v * below
    for k in range(1, n):
        below, here = here, k * below - v * here
    far = v >= 0
    here[far] = [tail_moments(float(h), n)[n] for h in v[far]]
    return here
