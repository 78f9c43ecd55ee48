"""Gaussian integrals: composite 16-point Gauss–Legendre on graded panels.

The same nodes as ``quadrature.h``, by the same arithmetic; that file says why panels are cut as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

WINDOW = 13.0
LONGEST_PANEL = WINDOW / 3
CLEARANCE = 2.0
NARROWEST_LAYER = 1e-12  # below it a layer is a breakpoint: to the integrand it is a jump
SAME_BREAKPOINT = 1e-14  # kinks this close are one: what differs is rounding
POINTS = 16

_HALF_NODES = np.array(
    [
        0.98940093499164993, 0.94457502307323258, 0.86563120238783174, 0.75540440835500303,
        0.61787624440264375, 0.45801677765722739, 0.28160355077925891, 0.095012509837637440,
    ]
)  # fmt: skip
_HALF_WEIGHTS = np.array(
    [
        0.027152459411754095, 0.062253523938647893, 0.095158511682492785, 0.12462897125553387,
        0.14959598881657673, 0.16915651939500254, 0.18260341504492359, 0.18945061045506850,
    ]
)  # fmt: skip


def panels(
    breakpoints: Iterable[float], locations: Iterable[float] = (), widths: Iterable[float] = ()
) -> NDArray[np.float64]:
    """Cut the window ``[-13, 13]`` into panels, from left to right, each as long as it may be.

    Parameters
    ----------
    breakpoints : iterable of float
        Where the integrand has a kink, in any order. One outside the window, infinite or NaN (the 0/0 of a
        vanishing variance) is none.
    locations, widths : iterable of float
        The integrand has poles at ``location ± i·width``. A pole that is not finite is none.

    Returns
    -------
    array [panels + 1]
        Ends of the panels, increasing.

    Examples
    --------
    The logistic function of ``m + s z`` has poles where ``m + s z = ±iπ``.

    >>> m, s = 0.5, 100.0
    >>> z, weights = nodes(panels([], [-m / s], [math.pi / s]))
    >>> len(z)
    240
    >>> round(float(weights @ (0.5 + 0.5 * np.tanh((m + s * z) / 2))), 9)
    0.501994375
    """
    kinks = [float(b) for b in breakpoints]
    layers = []
    for location, width in zip(locations, widths, strict=True):
        if width < NARROWEST_LAYER:
            kinks.append(float(location))
        else:
            layers.append((float(location), float(width)))
    edges = [-WINDOW]
    while edges[-1] < WINDOW:
        a = edges[-1]
        end, length = WINDOW, LONGEST_PANEL
        for kink in kinks:
            if a + SAME_BREAKPOINT < kink < end:
                end = kink
        for location, width in layers:
            ahead = location - a
            distance = math.sqrt(ahead * ahead + width * width)
            longest = 2 * (CLEARANCE * distance - ahead) / (CLEARANCE * CLEARANCE - 1)
            if longest < length:
                length = longest
        edges.append(end if end - a <= length * (1 + 1e-9) else a + length)
    return np.array(edges)


def nodes(edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes of all panels, and their weights with the standard normal density in them.

    Parameters
    ----------
    edges : array [panels + 1]
        Ends of the panels.

    Returns
    -------
    z, weights : array [16 · panels]
        ``weights @ g(z)`` is the mean of ``g`` under a standard normal.

    Examples
    --------
    >>> z, weights = nodes(panels([0.0]))
    >>> round(float(weights @ np.abs(z)), 12) == round(math.sqrt(2 / math.pi), 12)
    True
    """
    middle = (edges[:-1] + edges[1:])[:, np.newaxis] / 2
    half = (edges[1:] - edges[:-1])[:, np.newaxis] / 2
    left, right = middle - half * _HALF_NODES, middle + half * _HALF_NODES[::-1]
    weights = half * np.concatenate([_HALF_WEIGHTS, _HALF_WEIGHTS[::-1]])
    z = np.concatenate([left, right], axis=1).ravel()
    return z, weights.ravel() * (0.3989422804014327 * np.exp(-z * z / 2))


def erf_breakpoints(location: float, width: float) -> list[float]:
    """Breakpoints of a steep ``Φ((z − location)/width)``.

    Three widths are a short panel of a function that is entire; nine widths away it is constant to rounding.

    Examples
    --------
    >>> erf_breakpoints(1.0, 0.5)
    [-3.5, -2.0, -0.5, 1.0, 2.5, 4.0, 5.5]
    """
    return [location + offset * width for offset in (-9, -6, -3, 0, 3, 6, 9)]
