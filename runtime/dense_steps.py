"""Learning rates of dense instances, in the limit and of an iterate (``docs/theory.md`` §4).

What ``γ`` follows is a few numbers of a state: how fast the risk and squared distances fall. The limit has them from
its matrices (:class:`~sgdlimit.runtime.dense_dynamics.Flow`), an iterate from products with vectors
(:class:`~sgdlimit.runtime.dense_dynamics.Slope`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sgdlimit.codegen.library.steps import steepest
from sgdlimit.derive.errors import InputError
from sgdlimit.derive.model import AdaGradNorm, Greedy, LineSearch, Polyak
from sgdlimit.runtime.step_sizes import Pace, Parameters, at_times, step_arguments

Array = NDArray[np.float64]


class Steepness(Protocol):
    """How fast things fall at a state: ``dφ/dt = −γ φ₁ + γ² φ₂``."""

    @property
    def risk_descent(self) -> float:
        """``S``, φ₁ of ℛ."""
        ...

    @property
    def risk_noise(self) -> float:
        """``W``, φ₂ of ℛ."""
        ...

    @property
    def noise_rate(self) -> float:
        """``Σ_j G_j``, φ₂ of a squared distance."""
        ...

    def distance_descent(self, displacement: Array) -> float:
        """Half of φ₁ of the squared distance from where ``x`` is displaced so."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a learning rate is asked for.

    Parameters
    ----------
    e : array [d]
        ``x − X*``.
    accumulated : float
        ``∫₀ᵗ Σ_j G_j ds``.
    steepness : callable
        Computes how fast things fall there; a constant or a schedule does not ask.
    """

    e: Array
    accumulated: float
    steepness: Callable[[], Steepness]


LearningRate = Callable[[float, Place], float]
"""γ at a time and a place; NaN where none is the best."""

_CENTRES = "norm2", "distance2", "optimum_distance2"


def learning_rate(
    schedule: Pace, parameters: Parameters, teacher: Array, reference: Array | None, horizon: float
) -> LearningRate:
    """γ as a function of the time and the place.

    Parameters
    ----------
    schedule : StepSize or Table
    parameters : mapping of str to float
        The schedule's among them.
    teacher : array [d]
        ``X*``, zeros without one.
    reference : array [d] or None
        ``X°``, for Polyak's.
    horizon : float
        Of the run: a schedule is checked up to it.

    Raises
    ------
    InputError
        For what is not a step size, and for a greedy statistic that is no squared norm or distance.
    ParameterError
        For a schedule without a value for its parameter, or that is negative or undefined somewhere.

    Examples
    --------
    >>> from sgdlimit.derive.model import Schedule
    >>> rate = learning_rate(Schedule("eta/(1 + t)"), {"eta": 0.5}, np.zeros(2), None, 1.0)
    >>> rate(1.0, Place(np.zeros(2), 0.0, lambda: None))
    0.25
    """
    if isinstance(schedule, AdaGradNorm):
        eta, b = schedule.eta, schedule.b
        return lambda t, at: eta / math.sqrt(b**2 + at.accumulated)
    if isinstance(schedule, LineSearch):
        return lambda t, at: _steepest_risk(at.steepness())
    if isinstance(schedule, Polyak | Greedy):
        # x − c = e + (X* − c): exact at the teacher, where c is
        offset = teacher - _centre(_statistic(schedule), teacher, reference)
        return lambda t, at: _steepest_distance(at.steepness(), at.e + offset)
    step_arguments((), schedule, parameters, horizon)
    return lambda t, at: float(at_times(schedule, parameters, t))


def _steepest_risk(here: Steepness) -> float:
    return steepest(here.risk_descent, here.risk_noise)


def _steepest_distance(here: Steepness, displacement: Array) -> float:
    return steepest(2 * here.distance_descent(displacement), here.noise_rate)


def check_followed(schedule: Pace) -> None:
    """A dense instance has what the learning rate follows.

    Raises
    ------
    InputError
        For a greedy statistic that is no squared norm or distance.
    """
    if isinstance(schedule, Greedy) and schedule.statistic not in _CENTRES:
        raise InputError(
            "schedule",
            f"{schedule!r} follows a statistic whose slopes are known mode by mode alone, not for a dense instance",
            "give LineSearch(), Polyak(), AdaGradNorm(η, b), or Greedy of norm2, distance2 or optimum_distance2",
        )


def _statistic(schedule: Polyak | Greedy) -> str:
    check_followed(schedule)
    return "optimum_distance2" if isinstance(schedule, Polyak) else schedule.statistic


def _centre(statistic: str, teacher: Array, reference: Array | None) -> Array:
    """The point whose squared distance is to fall fastest."""
    if statistic == "optimum_distance2":
        assert reference is not None  # solve and simulate find it
        return reference
    return teacher if statistic == "distance2" else np.zeros_like(teacher)
