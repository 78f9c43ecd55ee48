"""Newton's method on the adversarial risk: damped, and for a convex risk led by its gradient alone.

Near a minimum values of ℛ differ by less than their rounding long before gradients do, so a convex line search looks
for a small slope along the line. A risk that is not convex must decrease.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgdlimit.runtime.risk import Evaluation, Point, Risk, dot, norm

Array = NDArray[np.float64]

MOST_STEPS = 200
ENOUGH = 2e-16  # residual: rounding
CONVERGED = 1e-8  # residual at which a stop is an answer: of coefficients known to 1e-10
_DOUBLINGS = 60
_BASIN = 1e-3  # of a known point: relative distance
_BOUNDED = 1e5  # standard deviation of the score, in units of the teacher's, beyond which a descent ends
_STRICTLY = 1.5**8
_RAY = (*(1.5**k for k in range(1, 9)), *(10.0**k for k in range(2, 9)))


class RunsAway(Exception):
    """The risk falls for ever along a direction."""

    def __init__(self, direction: Array) -> None:
        super().__init__("the risk has no finite minimiser")
        self.direction = direction


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the iteration stopped.

    Parameters
    ----------
    at : Evaluation
    curved : bool
        Every curvature there is positive: a local minimum.
    steps : int
        Newton steps.
    """

    at: Evaluation
    curved: bool
    steps: int


def minimise(
    risk: Risk, start: Point, *, convex: bool, blur: float = 0.0, enough: float = ENOUGH, known: Sequence[Point] = ()
) -> Minimum | None:
    """Follow Newton's method down from a point until rounding stops it; None where it comes to a known point.

    Parameters
    ----------
    risk : Risk
    start : Point
    convex : bool
        Whether ℛ is.
    blur : float
        Variance added to the scores.
    enough : float
        Residual at which to stop.
    known : sequence of Point
        Whose basins need no other visit.

    Raises
    ------
    RunsAway
        When the iterate grows and the risk falls for ever in its direction.
    """
    here = risk.evaluate(start, blur)
    best, idle, steps = here, 0, 0
    for steps in range(1, MOST_STEPS + 1):
        if here.residual <= enough or idle >= 3:
            break
        direction, _ = risk.newton(here)
        moved = _line_search(risk, here, direction, convex, blur)
        if moved is None:
            break
        here = moved
        idle = 0 if here.residual < 0.5 * best.residual or here.residual > CONVERGED else idle + 1
        if here.residual < best.residual or here.residual > CONVERGED:
            best = here
        if any(norm(here.point.x - k.x) < _BASIN * norm(k.x) for k in known):
            return None
        if steps % 8 == 0 and falls_for_ever(risk, here.point.x, blur):
            raise RunsAway(_unit(here.point.x))
        if not convex and max(s.Q for s in here.scores) > _BOUNDED**2 * (1 + max(s.Q_star for s in here.scores)):
            raise RunsAway(_unit(here.point.x))
    return Minimum(best, convex or risk.newton(best)[1], steps)


def _line_search(risk: Risk, here: Evaluation, direction: Array, convex: bool, blur: float) -> Evaluation | None:
    """A point along a direction of descent; None where rounding leaves none."""
    slope = dot(here.gradient, direction)
    if not slope < 0:
        return None
    return (_by_slope if convex else _by_value)(risk, here, direction, slope, blur)


def _by_slope(risk: Risk, here: Evaluation, direction: Array, slope: float, blur: float) -> Evaluation | None:
    """Where the slope along the line is at most half of what it was: it increases, so it can be bracketed."""
    low, high, length = 0.0, math.inf, 1.0
    at_low, at_high = slope, math.inf
    found: Evaluation | None = None
    for _ in range(_DOUBLINGS):
        trial = risk.evaluate(here.point.moved(direction, length), blur)
        there = dot(trial.gradient, direction) if math.isfinite(trial.objective) else math.inf
        if math.isnan(there):
            there = math.inf
        if there != math.inf:
            found = trial
        if abs(there) <= 0.5 * abs(slope):
            return trial
        if there < 0:
            low, at_low = length, there
        else:
            high, at_high = length, there
        if high == math.inf:
            length *= 4
        elif at_high == math.inf:
            length = low + 0.1 * (high - low)
        else:  # false position, kept inside
            share = at_low / (at_low - at_high)
            length = low + min(max(share, 0.05), 0.95) * (high - low)
    # at the end of a kink, or of the numbers: what there is
    return found if found is not None and found.residual < here.residual else None


def _by_value(risk: Risk, here: Evaluation, direction: Array, slope: float, blur: float) -> Evaluation | None:
    """A sufficient decrease, up to rounding."""
    # a negative curvature says nothing about how far to go
    longest = 10 * (norm(here.point.x) + norm(risk.teacher) + 1.0)
    length = min(1.0, longest / norm(direction))
    slack = 1e-13 * abs(here.objective)
    for _ in range(_DOUBLINGS):
        trial = risk.evaluate(here.point.moved(direction, length), blur)
        if trial.objective <= here.objective + 1e-4 * length * slope + slack and (
            trial.objective < here.objective - slack or trial.residual < here.residual
        ):
            return trial
        length *= 0.4
    return None


def falls_for_ever(risk: Risk, x: Array, blur: float = 0.0) -> bool:
    """Whether ℛ decreases along the ray through ``x``, strictly at first and nowhere rising up to ``10⁸ x``.

    A convex function that does so has no minimiser there.
    """
    if not np.any(x):
        return False
    value = risk.value(risk.at(x), blur)
    for factor in _RAY:
        following = risk.value(risk.at(factor * x), blur)
        # an exponential tail ends in zeros, a bounded loss in a constant
        if not (following < value or (factor > _STRICTLY and following <= value + 1e-12 * abs(value))):
            return False
        value = following
    return True


def _unit(v: Array) -> Array:
    return v / norm(v)
