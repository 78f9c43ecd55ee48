"""A linear equation over a step: ``de/dt = decay e + drive``, ``dv/dt = 2 decay v + spread``, in every mode.

The same formulas as ``exponential.h``, which says where they come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sgdlimit.codegen.library.problem import Array

NODES = 4
_SERIES = [1 / ((k + 5) * math.factorial(k)) for k in range(18)]


class Node(NamedTuple):
    """The equation's coefficients at one place, where a polynomial goes through.

    Parameters
    ----------
    clock : float
        The place: t, from the start.
    decay, drive, spread : array [N]
        The coefficients.
    total : float
        Sum of the noise.
    fastest : float
        The largest ``|decay|``.
    """

    clock: float
    decay: Array
    drive: Array
    spread: Array
    total: float
    fastest: float


def interpolation_weights(nodes: list[Node], start: float, end: float) -> Array:
    """Coefficients ``[NODES, nodes]`` of ``(end − start) l_i(u)``, ``u = (end − t)/(end − start)``, in powers of u.

    ``l_i`` is 1 at node i and 0 at the others.

    Examples
    --------
    >>> nothing = np.empty(0)
    >>> nodes = [Node(t, nothing, nothing, nothing, 0.0, 0.0) for t in (2.0, 1.0)]
    >>> interpolation_weights(nodes, 1.0, 2.0).tolist()
    [[1.0, 0.0], [-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    """
    places = [(end - node.clock) / (end - start) for node in nodes]
    weights = np.zeros((NODES, len(nodes)))
    for i, place in enumerate(places):
        others = [other for k, other in enumerate(places) if k != i]
        polynomial = np.atleast_1d(np.poly(others))[::-1] / np.prod([place - other for other in others])
        weights[: len(nodes), i] = (end - start) * polynomial
    return weights


def integral(cubic: Array) -> Array:
    """Of polynomials over u from 0 to 1; their coefficients are the rows.

    Examples
    --------
    >>> float(integral(np.array([1.0, 2.0, 3.0, 4.0])))
    4.0
    """
    total: Array = 1 / np.arange(1, NODES + 1) @ cubic
    return total


def moments(z: Array, exp_z: Array) -> Array:
    """``g_k = ∫ u^k exp(z u) du`` over u from 0 to 1, for k from 0 to 4: ``[5, …]``.

    Examples
    --------
    >>> z = np.array([-1e3, 0.0])
    >>> moments(z, np.exp(z))[:2].tolist()
    [[0.001, 1.0], [1e-06, 0.5]]
    """
    far, near = np.empty((2, 5, *z.shape))
    with np.errstate(all="ignore"):
        far[0] = (exp_z - 1) / z
        for k in range(1, 5):
            far[k] = (exp_z - k * far[k - 1]) / z
        near[4] = np.polynomial.polynomial.polyval(z, _SERIES)
        for k in range(4, 0, -1):
            near[k - 1] = (exp_z - z * near[k]) / k
    found: Array = np.where(np.abs(z) > 1, far, near)
    return found


def doubled(g: Array, exp_z: Array) -> Array:
    """The moments of ``exp(2 z u)``, from the two halves of the step.

    Examples
    --------
    >>> z = np.array([-3.0])
    >>> bool(np.allclose(doubled(moments(z, np.exp(z)), np.exp(z)), moments(2 * z, np.exp(2 * z)), rtol=1e-13))
    True
    """
    binomial = np.array([[math.comb(k, l) for l in range(5)] for k in range(5)])
    halves: Array = (g + exp_z * (binomial @ g)) / 2.0 ** np.arange(1, 6)[:, np.newaxis]
    return halves


def driven(f: Array, x: Sequence[Array], g: Array, *, with_fourth: bool) -> Array:
    """``∫ f(u) (1 + x_1 u + x_2 u² + …) exp(z u) du`` over u from 0 to 1, with the terms in ``u⁴`` or without.

    Examples
    --------
    >>> one, none = np.ones(1), np.zeros(1)
    >>> f = np.array([one, none, none, none])
    >>> float(driven(f, [one, none, none, none], moments(none, one), with_fourth=True)[0])  # ∫ 1 + u
    1.5
    """
    total: Array = f[0] * g[0] + (f[1] + f[0] * x[0]) * g[1] + (f[2] + f[1] * x[0] + f[0] * x[1]) * g[2]
    total += (f[3] + f[2] * x[0] + f[1] * x[1] + f[0] * x[2]) * g[3]
    if with_fourth:
        total += (f[3] * x[0] + f[2] * x[1] + f[1] * x[2] + f[0] * x[3]) * g[4]
    return total


def propagate(
    nodes: list[Node], start: float, end: float, e: Array, v: Array, *, with_fourth: bool = True
) -> tuple[Array, Array]:
    """The state at the time ``end`` from that at ``start``.

    Parameters
    ----------
    nodes : list of Node
        One to four.
    start, end : float
        Times.
    e, v : array [N]
        The state at ``start``.
    with_fourth : bool
        With terms in ``u⁴``.

    Examples
    --------
    >>> node = Node(0.0, np.array([-1.0]), np.array([2.0]), np.array([1.0]), 0.0, 1.0)
    >>> e, v = propagate([node], 0.0, 50.0, np.zeros(1), np.zeros(1))  # to rest
    >>> bool(abs(e[0] - 2) < 1e-14 and abs(v[0] - 0.5) < 1e-14)
    True
    """
    weights = interpolation_weights(nodes, start, end)
    l, p, m = (weights @ np.array([node[k] for node in nodes]) for k in (1, 2, 3))
    z = integral(l)
    kept = np.exp(z)
    d1, d2, d3, d4 = l[0] - z, l[1] / 2, l[2] / 3, l[3] / 4
    half2 = d1 * d1 / 2
    x1, x2, x3 = d1, d2 + half2, d3 + d1 * (d2 + half2 / 3)
    x4 = d4 + d1 * d3 + d2 * (d2 / 2 + half2) + half2 * half2 / 6
    y1, y2, y3, y4 = 2 * x1, 2 * x2 + x1 * x1, 2 * (x3 + x1 * x2), 2 * (x4 + x1 * x3) + x2 * x2
    g = moments(z, kept)
    variance = kept * kept * v + driven(m, (y1, y2, y3, y4), doubled(g, kept), with_fourth=with_fourth)
    mean = kept * e + driven(p, (x1, x2, x3, x4), g, with_fourth=with_fourth)
    return mean, np.where(variance < 0, 0.0, variance)
