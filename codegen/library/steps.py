"""Learning rates: those of the time alone, and those that follow the state.

A greedy one makes a statistic φ fall fastest: where ``dφ/dt = −γ first + γ² second``, that is ``γ = first/(2 second)``.
AdaGrad-norm's is ``η/√(b² + ∫ Σ_j G_j dt)``. The same formulas as ``steps.h``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sgdlimit.codegen.library.problem import Array, Problem, StepKind


class Point(NamedTuple):
    """A state, and the rates at it.

    Parameters
    ----------
    x, e, v : array [N]
        ``e = x − X*``.
    offset, slope, noise : array [N]
        As ``rates`` returns them.
    accumulated : float
        The integral of ``Σ_j noise_j`` so far.
    """

    x: Array
    e: Array
    v: Array
    offset: Array
    slope: Array
    noise: Array
    accumulated: float = 0.0


LearningRate = Callable[[Problem, Array, int, float, Point | None], float]
"""``learning_rate(problem, k, iterate, t, point) -> γ``; the point is None where γ depends on the time alone."""


def depends_on_state(problem: Problem) -> bool:
    """Whether γ follows the state: of the limit in a solve, of the iterate in a simulation.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> depends_on_state(SimpleNamespace(step_kind=StepKind.POLYAK)), depends_on_state(SimpleNamespace(step_kind=0))
    (True, False)
    """
    return problem.step_kind >= StepKind.LINE_SEARCH


def steepest(first: float, second: float) -> float:
    """The γ that makes ``−γ first + γ² second`` least; NaN where it falls ever faster with γ.

    At rest any γ would do, and 0 is one.

    Examples
    --------
    >>> steepest(1.0, 2.0), steepest(-1.0, 2.0), steepest(0.0, 0.0), steepest(1.0, 0.0)
    (0.25, 0.0, 0.0, nan)
    """
    if second > 0:
        return float(first / (2 * second)) if first > 0 else 0.0
    return 0.0 if second == 0 and first <= 0 else math.nan


def from_table(arguments: Array, t: float) -> float:
    """γ at ``t`` from ``(horizon, γ_0, γ_1, …)``, which are at equal steps of ``√t`` up to the horizon.

    Examples
    --------
    >>> from_table(np.array([4.0, 1.0, 3.0]), 1.0)
    2.0
    """
    places = np.linspace(0, 1, len(arguments) - 1)
    return float(np.interp(math.sqrt(t / arguments[0]), places, arguments[1:]))
