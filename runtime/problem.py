"""From what a user hands over to what a kernel reads, with every check on the way."""

from __future__ import annotations

import difflib
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.codegen.library.problem import Method, Problem
from sgdlimit.derive.errors import InputError, InstanceError, ParameterError
from sgdlimit.derive.expression import names, parse
from sgdlimit.derive.model import Labels, Model, RandomLabels, Teacher
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.evaluate import evaluate
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel
from sgdlimit.runtime.step_sizes import Pace, Parameters, step_arguments

Array = NDArray[np.float64]


def build_problem(
    kernel: Kernel,
    model: Model,
    instance: Instance,
    schedule: Pace,
    parameters: Parameters,
    times: Array,
    *,
    rtol: float = 1e-8,
    start_time: float = 0.0,
    start_mean: Array | None = None,
    start_variance: Array | None = None,
    start_accumulated: float = 0.0,
    reference: Array | None = None,
    max_steps: int = 10_000_000,
    method: str = "auto",
    cancel: NDArray[np.int32] | None = None,
) -> Problem:
    """The problem of one iterate, checked.

    Raises
    ------
    ParameterError
        For a missing, unknown or inadmissible parameter, or a schedule that is negative or undefined somewhere.
    InstanceError
        For labels or a teacher that the target needs and the instance lacks.
    InputError
        For times, a tolerance or a method that cannot be.
    """
    check_target(model, instance)
    values = check_parameters(kernel, model, instance.classes, parameters)
    check_values(model, instance, parameters)
    check_rtol(rtol)
    if start_mean is None:
        check_start(model, instance, parameters)
    kind, arguments = step_arguments(kernel.descents, schedule, parameters, float(times[-1]))
    mean = instance.start if start_mean is None else start_mean
    variance = np.zeros(instance.modes) if start_variance is None else start_variance
    zeros = np.zeros(instance.modes)
    return Problem(
        dimension=float(instance.dimension),
        weights=instance.weights,
        probabilities=instance.probabilities,
        eigenvalues=instance.eigenvalues,
        means=instance.means,
        labels=np.zeros(instance.classes) if instance.labels is None else instance.labels,
        teacher=zeros if instance.teacher is None else instance.teacher,
        parameters=values[np.newaxis],
        start_mean=np.ascontiguousarray(mean)[np.newaxis],
        start_variance=np.ascontiguousarray(variance)[np.newaxis],
        start_auxiliary=np.array([start_accumulated]),
        reference=None if reference is None else np.ascontiguousarray(reference),
        step_kind=int(kind),
        step_arguments=arguments[np.newaxis],
        start_time=start_time,
        times=times,
        rtol=rtol,
        max_steps=max_steps,
        method=check_method(method),
        cancel=cancel,
    )


def check_method(method: str) -> Method:
    """The integrator's method by its name.

    Raises
    ------
    InputError
        With the names.
    """
    if method.upper() not in Method.__members__:
        known = ", ".join(name.lower() for name in Method.__members__)
        raise InputError("method", f"there is none called {method!r}", f"they are {known}")
    return Method[method.upper()]


def check_rtol(rtol: float) -> None:
    """A relative tolerance that doubles can meet.

    Raises
    ------
    InputError
        With the range.
    """
    if not (math.isfinite(rtol) and 1e-13 <= rtol <= 1e-2):
        raise InputError("rtol", f"{rtol:g} is not between 1e-13 and 1e-2", "the default is 1e-8")


def check_target(model: Model, instance: Instance | DenseInstance) -> None:
    """The instance has what the target is made of."""
    if isinstance(model.target, Labels):
        if instance.labels is None:
            raise InstanceError(
                "labels",
                "the target Labels() needs one label per class and the instance has none",
                "give labels=[…]",
            )
    elif instance.teacher is None:
        raise InstanceError(
            "teacher",
            f"the target {model.target!r} needs a teacher direction and the instance has none",
            "give teacher=[…]",
        )


def check_values(model: Model, instance: Instance | DenseInstance, parameters: Parameters) -> None:
    """With numbers in place: the loss is a number at every label, and a probability between 0 and 1.

    Raises
    ------
    InstanceError
        Names the label.
    ParameterError
        Names the probability and where it is none.
    """
    near = np.linspace(-3.0, 3.0, 13)
    values: dict[str, Array] = {"tau": np.zeros(1)}
    values |= {name: np.asarray(value, dtype=float).reshape(-1) for name, value in parameters.items()}
    target = model.target
    if isinstance(target, Labels) and instance.labels is not None:
        for index, label in enumerate(instance.labels):
            of_class: dict[str, ArrayLike] = {name: v[index] if v.size > 1 else v for name, v in values.items()}
            found = evaluate(parse(model.loss.text), {**of_class, "r": near, "y": label})
            if np.isnan(found).any() or np.isinf(found[len(near) // 2]):
                raise InstanceError(
                    "labels", f"the loss {model.loss.text} is no number at the label {label:g}", "give other labels"
                )
    if isinstance(target, RandomLabels):
        r_star = 3 * near[:, np.newaxis]
        found = np.broadcast_to(
            evaluate(parse(target.text), {**values, "r_star": r_star}), (len(near), instance.classes)
        )
        outside = ~((found >= -1e-12) & (found <= 1 + 1e-12)).all(axis=1)
        if outside.any():
            at = int(np.argmax(outside))
            raise ParameterError(
                "random labels",
                f"the probability {target.text} is {found[at].max():g} at r_star = {r_star[at, 0]:g}",
                "choose parameters with which it is between 0 and 1",
            )


def check_start(model: Model, instance: Instance | DenseInstance, parameters: Parameters) -> None:
    """Refuse ``X = 0`` where the loss has a kink at ``r = 0``: every score is there, and no gradient is defined.

    Raises
    ------
    InstanceError
        Says where to start instead.
    """
    if np.any(instance.start) or (isinstance(model.target, Teacher) and "sign" not in model.target.text):
        return
    given = instance.labels if isinstance(model.target, Labels) else None
    labels = np.array([-1.0, 1.0]) if given is None else given
    values = {name: np.asarray(value, dtype=float).max() for name, value in parameters.items()}
    loss, step = parse(model.loss.text), 1e-6
    at = [evaluate(loss, {"tau": 0.0, **values, "r": r, "y": labels}) for r in (-step, 0.0, step)]
    turn = np.abs(at[0] - 2 * at[1] + at[2]) / step  # the jump of the slope at a kink, of order 1e-6 without one
    if np.any(turn > 1e-3 * (1 + np.abs(at[2] - at[0]) / step)):
        raise InstanceError(
            "start",
            f"at X = 0 every score is 0, where the loss {model.loss.text} has a kink and no gradient",
            "start a little away from 0",
        )


def check_counts(seed: int, **counts: int | None) -> None:
    """A seed is a whole number of 64 bits; a count, where given, a positive whole number.

    Raises
    ------
    InputError
        Names the argument.
    """
    for name, count in counts.items():
        if count is not None and (not isinstance(count, (int, np.integer)) or count < 1):
            raise InputError(name, f"{count!r} is not a positive whole number", "give one")
    if not (isinstance(seed, (int, np.integer)) and 0 <= seed < 2**64):
        raise InputError("seed", f"{seed!r} is not a whole number between 0 and 2^64", "give one")


def check_parameters(kernel: Kernel, model: Model, classes: int, parameters: Parameters) -> Array:
    """Parameters as an array ``[P, K]`` in the kernel's order; ``tau`` is 0 unless given.

    Raises
    ------
    ParameterError
        Names the parameter, and lists those known.
    """
    known = (
        *kernel.parameters,
        *(name for name in kernel.schedule_parameters if name not in kernel.parameters),
    )
    for name in parameters:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            why = (
                "the model has no adversary, hence no epsilon"
                if name == "epsilon"
                else "the model has no such parameter"
            )
            raise ParameterError(
                f"parameter {name}",
                why,
                f"did you mean {near[0]}? They are {', '.join(known)}" if near else f"they are {', '.join(known)}",
            )
    values = np.zeros((len(kernel.parameters), classes))
    for index, name in enumerate(kernel.parameters):
        if name not in parameters:
            if name == "tau":
                continue
            raise ParameterError(f"parameter {name}", "it has no value", f"the parameters are {', '.join(known)}")
        values[index] = _value(name, parameters[name], classes)
    named = dict(zip(kernel.parameters, values, strict=True))
    for text in kernel.positive:
        found = evaluate(parse(text), named)
        if not (found > 0).all():
            raise ParameterError(
                f"parameter {names(parse(text))[0]}",
                f"{text} is {found.min():g}, and the equations were derived for {text} > 0",
                f"choose parameters with {text} > 0",
            )
    return values


def _value(name: str, given: ArrayLike, classes: int) -> Array:
    try:
        value = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        raise ParameterError(
            f"parameter {name}", f"{given!r} is not a number", "give a number, or one per class"
        ) from None
    if value.ndim > 1 or (value.ndim == 1 and value.shape != (classes,)):
        raise ParameterError(
            f"parameter {name}",
            f"it has shape {value.shape} and there are {classes} classes",
            "give a number, or one per class",
        )
    if not np.isfinite(value).all():
        raise ParameterError(f"parameter {name}", f"{given!r} is not finite", "give a finite number")
    if name in ("epsilon", "tau"):
        if value.ndim:
            raise ParameterError(f"parameter {name}", "it is the same for every class", "give one number")
        if value < 0:
            raise ParameterError(f"parameter {name}", f"{value:g} is negative", "give 0 or a positive number")
    return np.broadcast_to(value, (classes,))


def output_times(horizon: float | None, times: ArrayLike | None, count: int, start: float = 0.0) -> Array:
    """The output times: as given, or ``count`` of them evenly from the start to the horizon.

    Raises
    ------
    InputError
        When neither or nonsense is given.
    """
    if times is None:
        if horizon is None:
            raise InputError("horizon", "neither a horizon nor times were given", "give horizon=… or times=[…]")
        if not (math.isfinite(horizon) and horizon > start):
            raise InputError("horizon", f"{horizon:g} is not a time after {start:g}", "give a larger one")
        return np.linspace(start, horizon, count)
    try:
        chosen = np.atleast_1d(np.asarray(times, dtype=float))
    except (TypeError, ValueError):
        raise InputError("times", f"{times!r} are not numbers", "give increasing times") from None
    if chosen.ndim != 1 or chosen.size == 0 or not np.isfinite(chosen).all():
        raise InputError("times", "they are not a list of finite numbers", "give increasing times")
    if chosen[0] < start or (np.diff(chosen) <= 0).any():
        raise InputError("times", f"they do not increase from {start:g} on", "sort them, without repetition")
    if horizon is not None and chosen[-1] > horizon:
        raise InputError("times", f"the last, {chosen[-1]:g}, is beyond the horizon {horizon:g}", "drop one of the two")
    return chosen
