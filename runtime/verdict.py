"""From means at three dimensions to a verdict: the statistics of a verification, as pure functions.

A mean over runs at dimension ``d`` is the limit plus terms in ``1/d, 1/d², …`` (``docs/theory.md`` §3), so the limit
is read off a straight line in ``1/d``. The interval around it has three parts, all of which are stated:

- sampling: the critical value times the standard error. The critical value is Student's, at ``(1 - level)`` shared
  out evenly over all comparisons of the verification (Bonferroni: whatever their correlations, the equations being
  right, at most a share ``1 - level`` of the verifications says "failed");
- finite size: what a ``1/d²`` term could shift the intercept by. It is allowed to be as large, at the smallest
  dimension, as the largest ``1/d`` term there along the trajectory, or as measured where it is measured larger;
- arithmetic: the tolerance of the solver.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

MIDDLE_SHARE = 0.12
"""Of the budget, for the dimensions between the smallest and the largest: they tell a line from a parabola."""
FEWEST_RUNS = 32
SIGNIFICANT = 4.0
"""Standard errors beyond which a curvature in 1/d counts as measured."""


# ── The fit in 1/d ──────────────────────────────────────────────────────────────────────────────────────────


def allot(dimensions: Sequence[int], horizon: float, budget: float) -> tuple[int, ...]:
    """Runs at each dimension that make the intercept most precise for a number of coordinate-steps.

    A run to time ``T`` costs ``d² T`` coordinate-steps, and its statistics fluctuate with a variance in ``1/d``. With
    ``w`` the weights of the extrapolation from the outer two dimensions, ``R ∝ |w| d^{-3/2}`` is then best; the
    dimensions between them get a fixed share of the budget.

    Examples
    --------
    >>> allot((100, 200, 400), horizon=10.0, budget=1e10)
    (9777, 3000, 4888)
    """
    d = np.asarray(dimensions, dtype=np.float64)
    outer = np.array([d[0], d[-1]])
    weights = np.array([d[0], d[-1]]) / (d[-1] - d[0])
    pull = weights * outer**-1.5
    per_unit = (1 - MIDDLE_SHARE) * budget / (horizon * np.sum(pull * outer**2))
    runs = np.full(len(d), MIDDLE_SHARE * budget / (len(d) - 2) / horizon) / d**2
    runs[0], runs[-1] = pull * per_unit
    return tuple(max(FEWEST_RUNS, math.floor(count)) for count in runs)


@dataclass(frozen=True)
class Extrapolation:
    """A straight line in ``1/d`` through means, and what it leaves out.

    Parameters
    ----------
    value, error, degrees : array [...]
        Intercept, its standard error and degrees of freedom (Welch–Satterthwaite).
    slope, slope_error : array [...]
        Coefficient of ``1/d``.
    curvature, curvature_error : array [...]
        Coefficient of ``1/d²`` in the parabola.
    leak : float
        What a coefficient 1 of ``1/d²`` shifts the intercept by.
    smallest : float
        The smallest dimension.
    """

    value: Array
    error: Array
    degrees: Array
    slope: Array
    slope_error: Array
    curvature: Array
    curvature_error: Array
    leak: float
    smallest: float


def extrapolate(
    dimensions: Sequence[int],
    means: Array,
    variances: Array,
    runs: Sequence[int],
    *,
    shared_variance: ArrayLike = 0.0,
    shared_degrees: float = math.inf,
) -> Extrapolation:
    """Extrapolate means over runs to ``1/d = 0``.

    The weights are those of variances in ``1/d``, the same for every statistic and time: the intercept is a fixed
    linear combination of independent means, and its standard error is exact.

    Parameters
    ----------
    dimensions : sequence of D ints
        Increasing, three or more.
    means, variances : array [D, ...]
        Mean and variance over the runs.
    runs : sequence of D ints
    shared_variance : array_like [...]
        Of an error that the means at all dimensions have in common.
    shared_degrees : float
        Its degrees of freedom.

    Examples
    --------
    >>> d = np.array([100.0, 200.0, 400.0])
    >>> fit = extrapolate((100, 200, 400), 2 + 3 / d, 1 / d, (400, 100, 100))
    >>> round(float(fit.value), 12), round(float(fit.slope), 9), round(float(fit.error), 4)
    (2.0, 3.0, 0.0064)
    """
    u = 1 / np.asarray(dimensions, dtype=np.float64)
    count = np.asarray(runs, dtype=np.float64)
    line = _least_squares(np.stack([np.ones_like(u), u], axis=1), count / u)
    parabola = _least_squares(np.stack([np.ones_like(u), u, u**2], axis=1), count / u)
    per_mean = variances / count.reshape(-1, *[1] * (variances.ndim - 1))

    def combined(weights: Array) -> tuple[Array, Array]:
        return np.tensordot(weights, means, axes=1), np.sqrt(np.tensordot(weights**2, per_mean, axes=1))

    shared = np.broadcast_to(np.asarray(shared_variance, dtype=np.float64), means.shape[1:])
    (value, error), (slope, slope_error), (curvature, curvature_error) = (
        combined(w) for w in (line[0], line[1], parabola[2])
    )
    parts = np.tensordot(line[0] ** 4 / (count - 1), per_mean**2, axes=1) + shared**2 / shared_degrees
    total = error**2 + shared
    degrees = np.divide(total**2, parts, out=np.full(np.shape(total), np.inf), where=parts > 0)
    return Extrapolation(
        value=np.asarray(value),
        error=np.sqrt(total),
        degrees=degrees,
        slope=np.asarray(slope),
        slope_error=slope_error,
        curvature=np.asarray(curvature),
        curvature_error=curvature_error,
        leak=abs(float(line[0] @ u**2)),
        smallest=float(1 / u.max()),
    )


def _least_squares(design: Array, precisions: Array) -> Array:
    """Rows of weights: the coefficients of weighted least squares are these combinations of the data."""
    scale = np.abs(design).max(axis=0)
    weighted = (design / scale).T * precisions
    return np.asarray(np.linalg.solve(weighted @ (design / scale), weighted) / scale[:, np.newaxis])


def finite_size_allowance(fit: Extrapolation) -> Array:
    """What a ``1/d²`` term may shift the intercept by; times are along the last axis.

    At the smallest dimension the term is taken to be at most the largest ``1/d`` term there along the trajectory (one
    standard error included); where a larger one is measured, significantly, at most what is measured.

    Examples
    --------
    >>> d = np.array([100.0, 200.0, 400.0])
    >>> means = np.stack([2 + 3 / d, 2 + 1 / d], axis=-1)
    >>> fit = extrapolate((100, 200, 400), means, np.zeros_like(means), (400, 100, 100))
    >>> bool(np.allclose(finite_size_allowance(fit), fit.leak * 3 * 100))
    True
    """
    return _shift(fit, np.abs(fit.slope) + fit.slope_error, np.abs(fit.curvature))


def firm_allowance(fit: Extrapolation) -> Array:
    """The part of :func:`finite_size_allowance` that no number of runs would reduce."""
    return _shift(
        fit,
        np.maximum(np.abs(fit.slope) - 2 * fit.slope_error, 0),
        np.maximum(np.abs(fit.curvature) - SIGNIFICANT * fit.curvature_error, 0),
    )


def _shift(fit: Extrapolation, slope: Array, curvature: Array) -> Array:
    expected = slope.max(axis=-1, keepdims=True) * fit.smallest
    significant = np.abs(fit.curvature) > SIGNIFICANT * fit.curvature_error
    measured = np.where(significant, curvature, 0.0).max(axis=-1, keepdims=True)
    return np.asarray(np.broadcast_to(fit.leak * np.maximum(expected, measured), np.shape(fit.value)))


# ── The verdict ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Comparison:
    """One number of the equations against one number of the evidence.

    Parameters
    ----------
    part : str
        ``"trajectory"`` or ``"one step"``.
    name : str
        The statistic, or the moment of a step.
    place : str
        Where: time, class, state.
    expected, measured : float
        What the equations say, and the evidence.
    error, degrees : float
        Standard error of ``measured`` and its degrees of freedom.
    allowance : float
        Half-width that does not come from sampling: finite size and arithmetic.
    scale : float
        What the resolution is a fraction of.
    time : float
        Time of the comparison.
    firm : float
        The part of ``allowance`` that more runs would not reduce.
    """

    part: str
    name: str
    place: str
    expected: float
    measured: float
    error: float
    degrees: float
    allowance: float
    scale: float
    time: float = math.nan
    firm: float = 0.0

    @property
    def deviation(self) -> float:
        """Measured minus expected."""
        return self.measured - self.expected

    @property
    def standardised(self) -> float:
        """Deviation in standard errors."""
        if self.error > 0:
            return self.deviation / self.error
        return math.copysign(math.inf, self.deviation) if abs(self.deviation) > self.allowance else 0.0


def critical_value(level: float, comparisons: int, degrees: ArrayLike) -> Array:
    """Student's critical value for simultaneous intervals at a family-wise level (Bonferroni).

    Examples
    --------
    >>> critical_value(0.99, 150, [np.inf, 30.0]).round(2).tolist()
    [3.99, 4.63]
    """
    from scipy.special import ndtri, stdtrit

    tail = (1 - level) / (2 * comparisons)
    given = np.asarray(degrees, dtype=np.float64)
    finite = np.isfinite(given) & (given < 1e6)
    # stdtrit is used in the lower tail, where its argument keeps its digits
    return np.where(finite, -stdtrit(np.where(finite, given, 1e6), tail), -ndtri(tail))


@dataclass(frozen=True)
class Judgement:
    """A comparison with its interval.

    Parameters
    ----------
    comparison : Comparison
    critical : float
        Critical value at its degrees of freedom.
    resolution : float
        Half-width asked for, absolute.
    """

    comparison: Comparison
    critical: float
    resolution: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval around the deviation."""
        return self.critical * self.comparison.error + self.comparison.allowance

    @property
    def excludes_zero(self) -> bool:
        """Whether evidence and equations differ."""
        return not abs(self.comparison.deviation) <= self.half_width

    @property
    def resolved(self) -> bool:
        """Whether the interval is as narrow as was asked for."""
        return self.half_width <= self.resolution

    @property
    def factor(self) -> float:
        """How many times the runs (or samples) would give the resolution; inf if none would."""
        if self.resolved:
            return 1.0
        room = self.resolution - self.comparison.firm
        return ((self.half_width - self.comparison.firm) / room) ** 2 if room > 0 else math.inf

    @property
    def severity(self) -> float:
        """Deviation over half-width: above 1 the interval excludes 0."""
        if self.half_width > 0:
            return abs(self.comparison.deviation) / self.half_width
        return math.inf if self.comparison.deviation else 0.0


def judge_all(comparisons: Sequence[Comparison], *, level: float, resolution: float) -> tuple[Judgement, ...]:
    """Simultaneous intervals for all comparisons.

    Examples
    --------
    >>> exact = Comparison("trajectory", "norm2", "t = 1", 1.0, 1.001, 0.0005, 1e3, 0.0, 1.0)
    >>> [j.excludes_zero for j in judge_all([exact], level=0.99, resolution=0.01)]
    [False]
    """
    critical = critical_value(level, max(1, len(comparisons)), [c.degrees for c in comparisons])
    return tuple(Judgement(c, float(k), resolution * c.scale) for c, k in zip(comparisons, critical, strict=True))


def decide(judgements: Sequence[Judgement]) -> str:
    """``failed`` if an interval excludes 0, ``passed`` if all are resolved too, else ``inconclusive``.

    Examples
    --------
    >>> def verdict(deviation, error):
    ...     found = Comparison("trajectory", "norm2", "t = 1", 1.0, 1.0 + deviation, error, np.inf, 0.0, 1.0)
    ...     return decide(judge_all([found], level=0.99, resolution=0.01))
    >>> verdict(0.001, 0.002), verdict(0.001, 0.02), verdict(0.1, 0.02)
    ('passed', 'inconclusive', 'failed')
    """
    if any(j.excludes_zero for j in judgements):
        return "failed"
    return "passed" if all(j.resolved for j in judgements) else "inconclusive"
