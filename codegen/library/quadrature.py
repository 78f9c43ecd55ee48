"""Gaussian integrals: composite 16-point Gauss–Legendre on graded panels.

The same nodes as ``quadrature.h``, by the same arithmetic; that file says why panels are cut as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

WINDOW = 13.0
LONGEST_PANEL = WINDOW / 3
CLEARANCE = 1.8
NARROWEST_LAYER = 1e-12  # below it a layer is a breakpoint: to the integrand it is a jump
SAME_BREAKPOINT = 1e-14  # kinks this close are one: what differs is rounding
STEP_REACH = 8.0  # an entire step is constant to 1e-15 eight widths away,
STEP_PANEL = 3.0  # and smooth on three, whatever is made of it,
STEP_GROWTH = 2.0  # or on so many times what a panel is away from its middle
FARTHEST_TILT = 40.0  # e^(40 z) moves the mass to where phi is e^-800: no sum meets it
POINTS = 16
ROOT_SAMPLES = 4  # of each panel
MOST_ROOTS = 8

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
    kinks: Iterable[float],
    poles: Iterable[tuple[float, float]] = (),
    steps: Iterable[tuple[float, float]] = (),
    tilts: Iterable[float] = (),
) -> NDArray[np.float64]:
    """Cut the window ``[-13, 13]`` into panels, from left to right, each as long as it may be.

    Parameters
    ----------
    kinks : iterable of float
        Where the integrand has a kink, in any order. One outside the window, infinite or NaN (the 0/0 of a
        vanishing variance) is none.
    poles : iterable of (location, width)
        The integrand has poles at ``location ± i·width``. A pole that is not finite is none.
    steps : iterable of (location, width)
        The integrand is entire with a step (or bump) of that width there.
    tilts : iterable of float
        The integrand has a factor ``e^(rate z)``: the window follows the mass that it moves.

    Returns
    -------
    array [panels + 1]
        Ends of the panels, increasing.

    Examples
    --------
    The logistic function of ``m + s z`` has poles where ``m + s z = ±iπ``.

    >>> m, s = 0.5, 100.0
    >>> z, weights = nodes(panels([], [(-m / s, math.pi / s)]))
    >>> len(z)
    208
    >>> round(float(weights @ (0.5 + 0.5 * np.tanh((m + s * z) / 2))), 9)
    0.501994375
    """
    ends = [float(b) for b in kinks]
    layers = [(float(location), float(width)) for location, width in poles]
    bumps = [(float(location), float(width)) for location, width in steps]
    ends += [location for location, width in (*layers, *bumps) if width < NARROWEST_LAYER]
    layers = [(location, width) for location, width in layers if not width < NARROWEST_LAYER]
    bumps = [(location, width) for location, width in bumps if not width < NARROWEST_LAYER]
    rates = [min(max(float(rate), -FARTHEST_TILT), FARTHEST_TILT) for rate in tilts]
    edges, upper = [-WINDOW + min([0.0, *rates])], WINDOW + max([0.0, *rates])
    while edges[-1] < upper:
        a = edges[-1]
        end, length = upper, LONGEST_PANEL
        for kink in ends:
            if a + SAME_BREAKPOINT < kink < end:
                end = kink
        for location, width in layers:
            ahead = location - a
            distance = math.sqrt(ahead * ahead + width * width)
            longest = 2 * (CLEARANCE * distance - ahead) / (CLEARANCE * CLEARANCE - 1)
            if longest < length:
                length = longest
        for location, width in bumps:
            if a < location + STEP_REACH * width:
                # up to where it begins, or into it by no more than it allows: steps that begin together share an edge;
                # the distance is that of the panel's nearer end, which lies ahead if the middle does
                ahead = location - a
                far = ahead / (1 + STEP_GROWTH) if ahead > 0 else -ahead
                length = min(length, max(STEP_PANEL * width, ahead - STEP_REACH * width, STEP_GROWTH * far))
        edges.append(end if end - a <= length * (1 + 1e-13) + SAME_BREAKPOINT else a + length)
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


def roots(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], edges: NDArray[np.float64]) -> list[float]:
    """Sign changes of a continuous function on the panels, each looked at in a few places.

    Parameters
    ----------
    function : callable
        Of an array.
    edges : array [panels + 1]
        Ends of the panels.

    Returns
    -------
    list of float
        At most 8, from left to right, as close as doubles come.

    Examples
    --------
    >>> [round(x, 12) for x in roots(lambda z: np.tanh(z) - 0.5, panels([]))]
    [0.549306144334]
    """
    parts = np.arange(ROOT_SAMPLES) / ROOT_SAMPLES
    places = np.append((edges[:-1, np.newaxis] + np.diff(edges)[:, np.newaxis] * parts).ravel(), edges[-1])
    side = np.sign(np.broadcast_to(function(places), places.shape))
    places, side = places[side != 0], side[side != 0]
    changes = np.flatnonzero(side[:-1] * side[1:] < 0)[:MOST_ROOTS]
    return [_bisect(function, float(places[k]), float(places[k + 1]), float(side[k])) for k in changes]


def _bisect(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], left: float, right: float, side: float
) -> float:
    while left < (middle := (left + right) / 2) < right:
        here = float(np.sign(np.broadcast_to(function(np.array([middle])), (1,))[0]))
        if here == 0:
            return float(middle)
        left, right = (middle, right) if here == side else (left, middle)
    return float(middle)
