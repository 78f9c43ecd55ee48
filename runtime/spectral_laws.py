"""Limiting spectral laws: deterministic quantiles for a finite dimension, Gauss quadrature for the infinite one.

The quantiles of ``d`` eigenvalues are those at the levels ``(j + 1/2)/d``, the midpoint rule in the level: averages
over them are off by ``O(1/d²)`` where the eigenvalue is a smooth function of the level, by ``O(1/d^{1+a})`` where it
approaches an edge like a power ``a < 1`` of the level (``a = 2/3`` at a square-root edge of the density). A Gauss rule
of ``n`` nodes is exact for polynomials of degree below ``2n``, whatever the edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sgdlimit.runtime.spectra import FloatArray

DEFAULT_NODES = 200
"""Quadrature nodes of a law at infinite dimension."""

# Where the distribution function of Marchenko and Pastur is taken from its series: below, its closed form cancels.
_SMALL_ROOT = 0.1
_SERIES_TERMS = 18


def midpoint_levels(count: int) -> FloatArray:
    """``(j + 1/2)/count``, increasing.

    Examples
    --------
    >>> midpoint_levels(4)
    array([0.125, 0.375, 0.625, 0.875])
    """
    return (np.arange(count) + 0.5) / count


def power_law_quantiles(modes: int, exponent: float) -> FloatArray:
    """Midpoint quantiles of the spectral density ∝ λ^{-exponent} on (0, 1], the largest first.

    Examples
    --------
    >>> power_law_quantiles(4, 0.0)
    array([0.875, 0.625, 0.375, 0.125])
    """
    return np.asarray(midpoint_levels(modes)[::-1] ** (1 / (1 - exponent)), dtype=np.float64)


def power_law_quadrature(nodes: int, exponent: float) -> tuple[FloatArray, FloatArray]:
    """Gauss–Jacobi rule for the density ∝ λ^{-exponent} on (0, 1]: eigenvalues (largest first), weights.

    Exact for the moments ``∫ λ^k dμ = (1 - exponent)/(1 - exponent + k)`` with ``k < 2 nodes``.

    Examples
    --------
    >>> eigenvalues, weights = power_law_quadrature(5, 0.5)
    >>> bool(abs(weights @ eigenvalues**9 - 0.5 / 9.5) < 1e-15)
    True
    """
    from scipy.linalg import eigh_tridiagonal

    # Jacobi polynomials for the weight (1 + x)^b on (-1, 1), x = 2λ - 1 (Gautschi, Orthogonal Polynomials, 2004, §1.5).
    b, n = -exponent, np.arange(1, nodes)
    centres = np.append(b / (b + 2), b**2 / ((2 * n + b) * (2 * n + b + 2)))
    couplings = 2 * n * (n + b) / ((2 * n + b) * np.sqrt((2 * n + b + 1) * (2 * n + b - 1)))
    values, vectors = eigh_tridiagonal((1 + centres) / 2, couplings / 2)
    weights = vectors[0] ** 2
    return np.asarray(np.clip(values[::-1], 0.0, 1.0)), np.asarray(weights[::-1] / weights.sum())


def marchenko_pastur_quantiles(modes: int, ratio: float) -> FloatArray:
    """Midpoint quantiles of the law of Marchenko and Pastur with mean 1, the largest first.

    For ``ratio > 1`` about a share ``1 - 1/ratio`` of them is 0.

    Examples
    --------
    >>> marchenko_pastur_quantiles(4, 2.0).round(6)
    array([2.971843, 0.796508, 0.      , 0.      ])
    """
    # Of ratio > 1, the nonzero part is that of 1/ratio, stretched.
    levels, bulk = midpoint_levels(modes), min(1.0, 1 / ratio)
    angles = _marchenko_pastur_angles(levels[levels < bulk] / bulk, math.sqrt(min(ratio, 1 / ratio)))
    quantiles = np.zeros(modes)
    quantiles[: len(angles)] = max(1.0, ratio) * _marchenko_pastur_eigenvalue(angles, math.sqrt(min(ratio, 1 / ratio)))
    return quantiles


def marchenko_pastur_quadrature(nodes: int, ratio: float) -> tuple[FloatArray, FloatArray]:
    """Gauss rule for the law of Marchenko and Pastur with mean 1: eigenvalues (largest first), weights.

    For ``ratio > 1`` the atom at 0 is a node besides.

    The orthogonal polynomials of the law have constant recurrence coefficients; the Jacobi matrix is ``B B'`` with ones
    on the diagonal of ``B`` and ``√ratio`` below. Its eigenvalues are squared singular values, positive and relatively
    accurate.

    Examples
    --------
    >>> eigenvalues, weights = marchenko_pastur_quadrature(5, 0.5)
    >>> [round(float(weights @ eigenvalues**k), 12) for k in (0, 1, 2, 3)]  # the last: 1 + 3/2 + 1/4
    [1.0, 1.0, 1.5, 2.75]
    """
    bulk = min(1.0, 1 / ratio)
    root = math.sqrt(min(ratio, 1 / ratio))
    left, singular, _ = np.linalg.svd(np.eye(nodes) + np.diag(np.full(nodes - 1, root), -1))
    eigenvalues, weights = max(1.0, ratio) * singular**2, bulk * left[0] ** 2 / np.sum(left[0] ** 2)
    if bulk < 1:
        eigenvalues, weights = np.append(eigenvalues, 0.0), np.append(weights, 1 - bulk)
    return np.asarray(eigenvalues, dtype=np.float64), np.asarray(weights, dtype=np.float64)


def _marchenko_pastur_eigenvalue(angle: FloatArray, root: float) -> FloatArray:
    """``1 + r² + 2 r cos θ``, ``r = √ratio <= 1``: the upper edge at ``θ = 0``, the lower one at ``π``."""
    return (1 - root) ** 2 + 4 * root * np.cos(angle / 2) ** 2


def _marchenko_pastur_angles(levels: FloatArray, root: float) -> FloatArray:
    """The angles above whose eigenvalues the law has the masses ``levels``; ``root`` is at most 1.

    In the angle the density is ``(2/π) sin²θ / (1 + r² + 2 r cos θ)``, the distribution function
    ``(1/π) [θ - r sin θ - (1 - r²) Σ_{k>=2} (-r)^{k-2} sin(kθ)/k]``.
    """

    def mass_above(angle: FloatArray) -> FloatArray:
        sine = root * np.sin(angle)
        if root < _SMALL_ROOT:
            series = np.zeros_like(angle)
            for k in range(_SERIES_TERMS, 1, -1):
                series = np.sin(k * angle) / k - root * series
        else:
            # Σ_{k>=1} (-r)^k sin(kθ)/k = -atan(r sin θ/(1 + r cos θ))
            turned = np.arctan2(sine, (1 - root) + 2 * root * np.cos(angle / 2) ** 2)
            series = (sine - turned) / root**2
        return np.asarray((angle - sine - (1 - root**2) * series) / math.pi, dtype=np.float64)

    def density(angle: FloatArray) -> FloatArray:
        return np.asarray(2 / math.pi * np.sin(angle) ** 2 / _marchenko_pastur_eigenvalue(angle, root))

    return monotone_inverse(mass_above, density, levels, np.zeros_like(levels), np.full_like(levels, math.pi))


def monotone_inverse(
    function: Callable[[FloatArray], FloatArray],
    derivative: Callable[[FloatArray], FloatArray],
    values: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> FloatArray:
    """Where an increasing function takes its values (of order 1), between ``low`` and ``high``; elementwise.

    Newton's steps, and bisection where one leaves the bracket.

    Examples
    --------
    >>> monotone_inverse(lambda x: x**3, lambda x: 3 * x**2, np.array([0.008, 0.5]), np.zeros(2), np.ones(2)).round(6)
    array([0.2     , 0.793701])
    """
    rounding = np.finfo(np.float64).eps
    x = (low + high) / 2
    for _ in range(100):
        excess = function(x) - values
        high, low = np.where(excess > 0, x, high), np.where(excess > 0, low, x)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = x - excess / derivative(x)
        # A step too small to move x is in the bracket too, one of whose ends is x.
        moved = np.where((step >= low) & (step <= high), step, (low + high) / 2)
        settled = (np.abs(excess) <= 4 * rounding) | (np.abs(moved - x) <= 4 * rounding * np.abs(x))
        x = np.where(np.abs(excess) <= rounding, x, moved)
        if np.all(settled):
            break
    return x
