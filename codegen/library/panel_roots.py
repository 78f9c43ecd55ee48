"""Sign changes of functions that may jump where panels end; ``panel_roots.h`` says how."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sgdlimit.codegen.library.quadrature import MOST_ROOTS, roots

INSIDE = 1e-12  # share of a panel


def panel_roots(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], edges: NDArray[np.float64]
) -> list[float]:
    """Sign changes inside the panels, each looked at by itself, from a little inside its ends.

    Parameters
    ----------
    function : callable
        Of an array.
    edges : array [panels + 1]
        Ends of the panels.

    Returns
    -------
    list of float
        At most 8, from left to right.

    Examples
    --------
    The jump at 0 is the end of a panel, and no sign change inside one.

    >>> panel_roots(lambda z: np.where(z > 0, z - 0.5, 1.0), np.array([-1.0, 0.0, 1.0]))
    [0.5]
    """
    found: list[float] = []
    for a, b in pairwise(edges):
        inset = INSIDE * (b - a)
        found += roots(function, np.array([a + inset, (a + b) / 2, b - inset]))
    return found[:MOST_ROOTS]
