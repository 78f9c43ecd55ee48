"""Panels that end at branch points: the same as ``branch.h``, by the same arithmetic; that file says why."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sgdlimit.codegen.library.quadrature import CLEARANCE, SAME_BREAKPOINT, nodes

SAME_BRANCH = 4 * SAME_BREAKPOINT


def branch_panels(coarse: NDArray[np.float64], branches: Iterable[float]) -> NDArray[np.float64]:
    """Cut panels again, so that each keeps clear of the branch points that are not its ends.

    Parameters
    ----------
    coarse : array [panels + 1]
        Ends of panels, the branch points among them.
    branches : iterable of float
        Those that are not finite are none.

    Returns
    -------
    array [panels + 1]
    """
    places = [float(b) for b in branches]
    edges = [float(coarse[0])]
    for stop in coarse[1:]:
        while edges[-1] < stop:
            a = edges[-1]
            length = stop - a
            for place in places:
                if place < a - SAME_BRANCH:
                    length = min(length, 2 * (a - place) / (CLEARANCE - 1))
                elif place > stop + SAME_BRANCH:
                    length = min(length, 2 * (place - a) / (CLEARANCE + 1))
            if length < stop - a and any(abs(place - stop) <= SAME_BRANCH for place in places):
                length = min(length, 2 * (stop - a) / (CLEARANCE + 1))
            edges.append(float(stop) if stop - a <= length * (1 + 1e-9) else a + length)
    return np.array(edges)


def branch_nodes(
    edges: NDArray[np.float64], branches: Iterable[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes of all panels, crowded where a panel ends at a branch point, and their weights with the density in them.

    Parameters
    ----------
    edges : array [panels + 1]
        Ends of the panels.
    branches : iterable of float

    Returns
    -------
    z, weights : array [16 · panels]

    Examples
    --------
    >>> from sgdlimit.codegen.library.quadrature import panels
    >>> z, weights = branch_nodes(branch_panels(panels([0.0]), [0.0]), [0.0])
    >>> round(float(weights @ (1 / np.sqrt(np.abs(z)))), 10)  # Γ(1/4) 2^(-1/4)/√π
    1.7200799746
    """
    z, weights = nodes(edges)
    t, share = nodes(np.array([0.0, 1.0]))
    share = share * np.exp(t * t / 2)  # without the density, but for its factor
    places = [float(b) for b in branches]
    for q, (a, b) in enumerate(pairwise(edges)):
        left, right = (any(abs(place - end) <= SAME_BRANCH for place in places) for end in (a, b))
        if not left and not right:
            continue
        panel = slice(len(t) * q, len(t) * (q + 1))
        near, far = t, t[::-1]  # far = 1 − near
        if left and right:
            z[panel], slope = a + (b - a) * near * near * (3 - 2 * near), 6 * near * far
        elif left:
            z[panel], slope = a + (b - a) * near * near, 2 * near
        else:
            z[panel], slope = b - (b - a) * far * far, 2 * far
        weights[panel] = (b - a) * slope * share * np.exp(-z[panel] * z[panel] / 2)
    return z, weights
