"""Tail moments of the normal distribution; ``tails.h`` says how and why."""

from __future__ import annotations

import math


def tail_moments(h: float, order: int) -> list[float]:
    """``M_k(h) = ∫_h^∞ (z − h)^k φ(z) dz`` for ``k = 0 … max(order, 1)`` and ``h ≥ 0``.

    Parameters
    ----------
    h : float
        Distance of a kink from the mean, in standard deviations.
    order : int
        Largest order wanted, at most 8.

    Returns
    -------
    list of float
        To about 1e-12 relative, in the far tail too.

    Examples
    --------
    >>> [f"{m:.6g}" for m in tail_moments(0.0, 2)]
    ['0.5', '0.398942', '0.5']
    >>> f"{tail_moments(20.0, 1)[1]:.6g}"
    '1.35896e-90'
    """
    density = math.exp(-0.5 * h * h) / math.sqrt(2 * math.pi)
    size = max(order, 1) + 1
    if not density > 0:
        return [0.0] * size
    if h < 3:
        moments = [0.5 * math.erfc(h / math.sqrt(2))]
        moments.append(density - h * moments[0])
        for k in range(1, order):
            moments.append(k * moments[k - 1] - h * moments[k])
        return moments
    moments = [0.0] * size
    root = math.sqrt(order) + 21 / h
    above, here = 0.0, 1.0
    for k in range(int(root * root) + 10, 0, -1):
        above, here = here, (above + h * here) / k
        if k < size:
            moments[k] = above
        if k - 1 < size:
            moments[k - 1] = here
    scale = density / (above + h * here)
    return [m * scale for m in moments]
