"""Tail moments of the normal distribution; ``tails.h`` says how and why."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx


def scaled_tail_moments(h: ArrayLike, order: int) -> NDArray[np.float64]:
    """``M_k(h)/φ(h)``, ``M_k(h) = ∫_h^∞ (z − h)^k φ(z) dz``, for ``k = 0 … max(order, 1)`` and ``h ≥ 0``.

    Parameters
    ----------
    h : array
        Distances of kinks from the mean, in standard deviations.
    order : int
        Largest order wanted, at most 8.

    Returns
    -------
    array [max(order, 1) + 1, *h.shape]
        To about 1e-12 relative.

    Examples
    --------
    >>> [f"{m:.6g}" for m in scaled_tail_moments(30.0, 2)]
    ['0.0332964', '0.00110743', '7.35559e-05']
    """
    h = np.asarray(h, dtype=float)
    count = max(order, 1)
    near = np.minimum(h, 3.0)
    forward = [math.sqrt(math.pi / 2) * erfcx(near / math.sqrt(2))]
    forward.append(1 - near * forward[0])
    for k in range(1, count):
        forward.append(k * forward[k - 1] - near * forward[k])
    backward = [np.zeros_like(h)] * (count + 1)
    far = np.clip(h, 3.0, 1e9)
    above, here = np.zeros_like(h), np.ones_like(h)
    for k in range(int((math.sqrt(order) + 7) ** 2) + 10 if np.any(h < 10) else order + 31, 0, -1):
        # of any size: the values are scaled in the end
        size = np.maximum(here, 1.0)
        backward = [m / size for m in backward]
        above, here = here / size, (above / size + far * here / size) / k
        if k <= count:
            backward[k] = above
        if k - 1 <= count:
            backward[k - 1] = here
    scale = 1 / (above + far * here)
    asymptotic = [1 / np.maximum(h, 1e9)]
    for k in range(count):
        asymptotic.append((k + 1) * asymptotic[k] / np.maximum(h, 1e9))
    return np.where(h < 3, forward, np.where(h > 1e9, asymptotic, np.array(backward) * scale))


def tail_moments(h: ArrayLike, order: int) -> NDArray[np.float64]:
    """``M_k(h) = ∫_h^∞ (z − h)^k φ(z) dz`` for ``k = 0 … max(order, 1)`` and ``h ≥ 0``.

    Parameters
    ----------
    h : array
        Distances of kinks from the mean, in standard deviations.
    order : int
        Largest order wanted, at most 8.

    Returns
    -------
    array [max(order, 1) + 1, *h.shape]
        To about 1e-12 relative, in the far tail too.

    Examples
    --------
    >>> [f"{m:.6g}" for m in tail_moments(0.0, 2)]
    ['0.5', '0.398942', '0.5']
    >>> f"{tail_moments(20.0, 1)[1]:.6g}"
    '1.35896e-90'
    """
    density = np.exp(-0.5 * np.square(h)) / math.sqrt(2 * math.pi)
    return scaled_tail_moments(h, order) * density
