"""Learning rates as a kernel reads them: which kind, with which arguments, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.codegen.library.problem import StepKind
from sgdlimit.derive.errors import InputError, ParameterError
from sgdlimit.derive.expression import parse
from sgdlimit.derive.model import (
    AdaGradNorm,
    Constant,
    Greedy,
    LineSearch,
    Polyak,
    Schedule,
    StepSize,
)
from sgdlimit.runtime.evaluate import evaluate

Array = NDArray[np.float64]
Parameters = Mapping[str, float | Sequence[float]]

TABLE_SIZE = 4097
"""Values of an idealised learning rate, at equal steps of ``√t``: linear between them, right to about 1e-7."""

DENSE_TABLE_SIZE = 513
"""Of a dense instance, where each value takes a product of matrices: right to about 1e-5."""


@dataclass(frozen=True, eq=False)
class Table:
    """A learning rate ``γ(t)`` by its values at equal steps of ``√t`` from 0 to a horizon.

    Parameters
    ----------
    horizon : float
    values : array
    """

    horizon: float
    values: Array


Pace: TypeAlias = StepSize | Table
"""What a simulation can follow."""


StateDependent: TypeAlias = LineSearch | Polyak | Greedy | AdaGradNorm
"""Of the step sizes, those that have a source."""


def depends_on_state(schedule: Pace) -> TypeGuard[StateDependent]:
    """Whether the learning rate depends on the state.

    Examples
    --------
    >>> depends_on_state(Polyak()), depends_on_state(Constant(0.5))
    (True, False)
    """
    return isinstance(schedule, StateDependent)


def at_times(schedule: Pace, parameters: Parameters, times: ArrayLike) -> Array:
    """``γ`` at times, straight from the user's text; of a learning rate that depends on the time alone.

    Examples
    --------
    >>> at_times(Schedule("g/(1 + t)"), {"g": 2.0}, [0.0, 1.0]).tolist()
    [2.0, 1.0]
    """
    t = np.asarray(times, dtype=float)
    if isinstance(schedule, Constant):
        return np.full(t.shape, schedule.gamma)
    if isinstance(schedule, Table):
        places = np.linspace(0.0, 1.0, len(schedule.values))
        return np.asarray(np.interp(np.sqrt(t / schedule.horizon), places, schedule.values))
    if not isinstance(schedule, Schedule):
        raise InputError("schedule", f"{schedule!r} is not a function of the time", "solve the limit first")
    own = {name: parameters.get(name, 0.0) for name in schedule.parameters}
    value = evaluate(parse(schedule.text, where="schedule"), {"t": t, **own})
    return np.asarray(np.broadcast_to(value, t.shape))


def step_arguments(
    descents: Sequence[str], schedule: Pace, parameters: Parameters, horizon: float
) -> tuple[StepKind, Array]:
    """Kind and arguments of the learning rate.

    Parameters
    ----------
    descents : sequence of str
        What learning rates can follow in the kernel at hand.
    schedule : StepSize or Table
    parameters : mapping of str to float
        The schedule's among them.
    horizon : float
        Of the run: a schedule is checked to be finite and at least 0 up to it.

    Raises
    ------
    InputError
        For what is not a step size.
    ParameterError
        For a schedule without a value for its parameter, or that is negative or undefined somewhere.
    """
    if isinstance(schedule, Constant):
        return StepKind.CONSTANT, np.array([schedule.gamma])
    if isinstance(schedule, Schedule):
        return StepKind.SCHEDULE, _schedule_arguments(schedule, parameters, horizon)
    if isinstance(schedule, Table):
        return StepKind.TABLE, np.concatenate([[schedule.horizon], schedule.values])
    if isinstance(schedule, AdaGradNorm):
        return StepKind.ADAGRAD_NORM, np.array([schedule.eta, schedule.b])
    kinds = {LineSearch: StepKind.LINE_SEARCH, Polyak: StepKind.POLYAK, Greedy: StepKind.GREEDY}
    kind = kinds.get(type(schedule))
    if kind is None:
        raise InputError(
            "schedule",
            f"{schedule!r} is not a step size",
            "give Constant(γ), Schedule('expression in t'), LineSearch(), Polyak(), Greedy('statistic') or "
            "AdaGradNorm(η, b)",
        )
    if kind.name.lower() not in descents:
        why = f"the kernel was made without what {schedule!r} follows"
        raise InputError("schedule", why, "load it with load_kernel(model, schedule=…)")
    return kind, np.zeros(1)


def _schedule_arguments(schedule: Schedule, parameters: Parameters, horizon: float) -> Array:
    own = {}
    for name in schedule.parameters:
        value = parameters.get(name, 0.0 if name == "tau" else None)
        if value is None:
            why = f"the schedule {schedule.text} uses it and it has no value"
            raise ParameterError(f"parameter {name}", why, "give it a value")
        own[name] = _number(name, value)
    t = np.linspace(0.0, horizon, 1001)
    gamma = at_times(schedule, own, t)
    bad = ~(np.isfinite(gamma) & (gamma >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        raise ParameterError(
            "schedule",
            f"{schedule.text} is {gamma[at]:g} at t = {t[at]:g}",
            "a learning rate is finite and at least 0 over the whole run",
        )
    return np.array(list(own.values()) or [0.0])


def _number(name: str, given: object) -> float:
    value = np.asarray(given, dtype=object).reshape(-1)
    try:
        number = float(value[0]) if value.size == 1 else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ParameterError(f"parameter {name}", f"{given!r} is not a finite number", "give one number")
    return number
