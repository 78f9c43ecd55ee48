"""Single steps of streaming SGD from fixed iterates, against the equations (``docs/theory.md`` §1–3).

Given the iterate ``X`` and the class, ``(r, r*, ⟨x,u⟩)`` is Gaussian with a covariance that is known exactly, so a step
``ΔX`` projected on fixed directions ``u`` needs a handful of normals whatever the dimension. Two things hold at every
dimension, without a limit:

- ``d E⟨ΔX, u⟩`` is the drift of the mode equations at ``x = X, v = 0``, for any ``u`` (Stein's identity);
- ``d E⟨ΔX, u⟩²`` is their noise, for a ``u`` orthogonal to ``X, X*, μ, CX, CX*``, on which ``⟨x,u⟩`` is independent
  of the scores and of mean 0.

Gradients come from the searched supremum and a central difference of the user's loss, classes one by one. The iterates
themselves are those of a plain SGD with that gradient: nothing emitted takes part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.errors import Diverged
from sgdlimit.derive.model import Model, RandomLabels
from sgdlimit.runtime.evaluate import evaluate
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, Statistics
from sgdlimit.runtime.problem import build_problem
from sgdlimit.runtime.scores import (
    ScoreProblem,
    averaged_over_scores,
    brute_gradient,
    iterate_statistics,
    refuse_nonfinite,
    score_averages,
)
from sgdlimit.runtime.step_sizes import Pace, Parameters, at_times
from sgdlimit.runtime.verdict import Comparison

Array = NDArray[np.float64]

# Many shifts of a smaller lattice rather than few of a larger one: averages over a lattice are skewed, and the spread
# of few of them is too often too small.
_SHIFTS = 128
_MOST_SHIFTS = 16 * _SHIFTS  # doubled up to these while the noise is known less precisely than
_NOISE_ERROR = 0.0018  # of itself: four and a bit standard errors are three quarters of a per cent
_POINTS = 1 << 12
_STATISTIC_SHIFTS = 256
_STATISTIC_DRAWS = 1024
_MOST_STEPS = 5000  # of the plain SGD
_MIDWAY = 0.15  # of its time
_LEAST_VARIANCE = 1e-20  # of a direction, over the largest: below, rounding of what is orthogonal to it is seen instead
# Of a rank-1 lattice of that many points, found component by component for the figure of merit P2 with weights 0.1.
_GENERATOR = (1, 1731, 961, 419, 2973, 1157, 2105, 1231)


@dataclass(frozen=True)
class Moment:
    """A moment of a step from a fixed iterate, given the class.

    Parameters
    ----------
    kind : {"drift", "noise"}
        ``d E⟨ΔX, u⟩`` or ``d E⟨ΔX, u⟩²``.
    label : str
        The direction ``u``, in words.
    class_ : int
    direction : array [d]
        ``u``, of norm 1.
    mean, error : float
        Observed mean and its standard error.
    """

    kind: str
    label: str
    class_: int
    direction: Array
    mean: float
    error: float


@dataclass(frozen=True)
class OneStep:
    """What was observed at one iterate.

    Parameters
    ----------
    instance : Instance
        Of finite dimension, a coordinate a mode.
    time : float
    iterate : array [d]
    moments : tuple of Moment
    statistics : mapping of str to (float, float)
        Averages over fresh scores with standard errors.
    """

    instance: Instance
    time: float
    iterate: Array
    moments: tuple[Moment, ...]
    statistics: dict[str, tuple[float, float]]


# ── Observation ─────────────────────────────────────────────────────────────────────────────────────────────


def observe_steps(
    model: Model,
    instance: Instance,
    schedule: Pace,
    parameters: Parameters,
    horizon: float,
    *,
    statistics: Statistics | None = None,
    seed: int = 0,
) -> tuple[OneStep, ...]:
    """Observe single steps from the start, and from iterates on the way and at the end of a plain SGD.

    Parameters
    ----------
    model, instance, schedule, parameters, statistics
        As in :func:`sgdlimit.runtime.evidence.gather`; the instance has a coordinate a mode.
    horizon : float
        The plain SGD ends there, or after 5000 steps.
    seed : int
    """
    d = instance.modes
    problem = ScoreProblem.of(model, instance, parameters, _STATISTIC_DRAWS, seed)
    last = max(1, min(_MOST_STEPS, math.floor(horizon * d)))
    at = sorted({0, max(1, round(_MIDWAY * last)), last})
    wanted = iterate_statistics(model, statistics)
    averaged = averaged_over_scores(model, wanted, statistics or {})
    observed = []
    for index, (step, X) in enumerate(plain_sgd(problem, schedule, parameters, at, seed).items()):
        time = step / d
        gamma = float(at_times(schedule, parameters, time))
        moments = [
            moment
            for i in range(instance.classes)
            for moment in _moments(problem, i, X, gamma, np.random.default_rng([seed, 1, index, i]))
        ]
        cells = np.tile(summary_of(instance, X), (_STATISTIC_SHIFTS, 1))
        found = score_averages(problem, cells, averaged, first_cell=index * _STATISTIC_SHIFTS)
        for name, values in zip(averaged, found, strict=True):
            refuse_nonfinite(name, values[:, np.newaxis], [time])
        averages = {
            name: (float(v.mean()), _error(v, _STATISTIC_DRAWS, 1.0 if "error" in name else 2 * abs(float(v.mean()))))
            for name, v in zip(averaged, found, strict=True)
        }
        observed.append(OneStep(instance, time, X, tuple(moments), averages))
    return tuple(observed)


def summary_of(instance: Instance, X: Array) -> Array:
    """The summary ``[summary_size(K)]`` of an iterate, its learning rate and distance to the optimum left out."""
    teacher = np.zeros_like(X) if instance.teacher is None else instance.teacher
    values = [X @ X, X @ teacher, np.sum((X - teacher) ** 2), np.nan, np.nan]
    for mean, eigenvalues in zip(instance.means, instance.eigenvalues, strict=True):
        values += [mean @ X, (eigenvalues * X) @ teacher, (eigenvalues * X) @ X]
    return np.array(values)


def plain_sgd(
    problem: ScoreProblem, schedule: Pace, parameters: Parameters, steps: list[int], seed: int
) -> dict[int, Array]:
    """Iterates after given numbers of steps of one run, with brute-force gradients."""
    instance, d = _mixture(problem), problem.instance.modes
    rng = np.random.default_rng([seed, 0])
    teacher = np.zeros(d) if instance.teacher is None else instance.teacher
    X, kept = np.array(instance.start), {}
    gammas = at_times(schedule, parameters, np.arange(max(steps)) / d)
    bound = 1e6 * max(1.0, float(X @ X))
    for step in range(max(steps) + 1):
        if step in steps:
            kept[step] = X.copy()
        if step == max(steps):
            break
        i = int(rng.choice(instance.classes, p=instance.probabilities))
        x = instance.means[i] + np.sqrt(instance.eigenvalues[i]) * rng.standard_normal(d)
        r, r_star, xi, chance = x @ X, np.array(x @ teacher), np.array(rng.standard_normal()), rng.random()
        labels = list(problem.labels(i, r_star, xi))
        y = labels[0][0]
        if isinstance(problem.model.target, RandomLabels):
            (y, positive), (other, _) = labels
            y = y if positive is not None and chance < positive else other
        n = np.sqrt(X @ X)
        d_r, d_n = brute_gradient(_loss(problem, i, y), r, n, problem.epsilon)
        pull = (float(d_n) / n if n > 0 else 0.0) + float(problem.parameters["tau"][i])
        X = X - gammas[step] / d * (float(d_r) * x + pull * X)
        norm2 = float(X @ X)
        if not norm2 <= bound:
            raise Diverged(step / d, f"a plain SGD left every bound at d = {d}; try a smaller learning rate")
    return kept


def _mixture(problem: ScoreProblem) -> Instance:
    """The instance, of modes: a verification takes no other."""
    assert isinstance(problem.instance, Instance)
    return problem.instance


def _loss(problem: ScoreProblem, i: int, y: Array) -> Callable[[Array], Array]:
    environment = problem.of_class(i)
    return lambda score: evaluate(problem.loss, {**environment, "r": score, "y": y})


def _directions(problem: ScoreProblem, i: int, X: Array, rng: np.random.Generator) -> list[tuple[str, str, Array]]:
    """Directions as (kind, label, u): where the drift is, and where the noise is alone."""
    instance = _mixture(problem)
    teacher = instance.teacher if problem.model.has_teacher else None
    mean, eigenvalues = instance.means[i], instance.eigenvalues[i]
    chosen: list[tuple[str, str, Array]] = []
    for label, vector in (("X", X), ("X*", teacher), ("the mean", mean)):
        if vector is None or not vector.any():
            continue
        unit = vector / np.linalg.norm(vector)
        if all(abs(unit @ other) < 0.999 for _, _, other in chosen):
            chosen.append(("drift", label, unit))
    fixed = [X, mean, eigenvalues * X] + ([] if teacher is None else [teacher, eigenvalues * teacher])
    halves = np.array_split(np.argsort(-eigenvalues, kind="stable"), 2)
    for label, support in zip(("large eigenvalues", "small eigenvalues"), halves, strict=True):
        vector = np.zeros_like(X)
        vector[support] = rng.standard_normal(len(support))
        inside = np.array([np.where(np.isin(np.arange(len(X)), support), f, 0.0) for f in fixed])
        free = vector - inside.T @ np.linalg.lstsq(inside.T, vector, rcond=None)[0]
        if len(support) <= len(fixed) or np.linalg.norm(free) <= 0.1 * np.linalg.norm(vector):
            continue
        unit = free / np.linalg.norm(free)
        if unit**2 @ eigenvalues > _LEAST_VARIANCE * eigenvalues.max():
            chosen.append(("noise", label, unit))
    return chosen


def _moments(problem: ScoreProblem, i: int, X: Array, gamma: float, rng: np.random.Generator) -> list[Moment]:
    """Moments of a step given class ``i``, each the mean over lattices with independent shifts."""
    from scipy.special import ndtri

    instance, d = _mixture(problem), len(X)
    teacher = np.zeros(d) if instance.teacher is None else instance.teacher
    directions = _directions(problem, i, X, rng)
    forms = np.stack([X, teacher, *(u for _, _, u in directions)], axis=1)
    # ⟨x, form⟩ = ⟨μ, form⟩ + (R'z): QR needs no independence of the forms, and forms no difference
    R = np.asarray(np.linalg.qr(np.sqrt(instance.eigenvalues[i])[:, np.newaxis] * forms, mode="r"))
    centre = instance.means[i] @ forms
    n, tau, along = np.sqrt(X @ X), float(problem.parameters["tau"][i]), X @ forms[:, 2:]
    count = len(R) + 1  # and ξ
    points = np.outer(_GENERATOR[:count], np.arange(_POINTS)) % _POINTS / _POINTS
    averages: list[Array] = []
    squares = np.zeros(len(directions))
    while True:
        for _ in range(max(_SHIFTS, len(averages))):
            uniform = points + rng.random((count, 1))
            z = ndtri(np.clip(uniform - np.floor(uniform), 2.0**-54, 1 - 2.0**-53))
            projected = centre[:, np.newaxis] + R.T @ z[:-1]
            r, r_star, x_u = projected[0], projected[1], projected[2:]
            total = np.zeros(len(directions))
            for y, probability in problem.labels(i, r_star, z[-1]):
                d_r, d_n = brute_gradient(_loss(problem, i, y), r, n, problem.epsilon)
                pull = (d_n / n if n > 0 else 0.0) + tau
                step = -gamma * (d_r * x_u + pull * along[:, np.newaxis])
                for k, (kind, _, _) in enumerate(directions):
                    value = step[k] if kind == "drift" else step[k] ** 2 / d
                    value = value if probability is None else probability * value
                    total[k] += np.mean(value)
                    squares[k] += np.mean(value**2)
            averages.append(total)
        moments = [
            Moment(kind, label, i, u, float(values.mean()), _error(values, _POINTS, 2 * math.sqrt(square)))
            for (kind, label, u), values, square in zip(
                directions, np.array(averages).T, squares / len(averages), strict=True
            )
        ]
        precise = all(m.error <= _NOISE_ERROR * m.mean for m in moments if m.kind == "noise")
        if precise or len(averages) >= _MOST_SHIFTS:
            return moments


def _error(values: Array, points: int, jump: float) -> float:
    """Standard error of the mean of lattice averages.

    The averages of a function with a jump in one coordinate take two values, a jump over ``points`` apart; if all of
    them happen to be the same, their spread says nothing. Half of that step is the most their deviation can be.
    """
    deviation = max(float(values.std(ddof=1)), 0.5 * jump / points)
    return deviation / math.sqrt(len(values))


# ── Comparison ──────────────────────────────────────────────────────────────────────────────────────────────


def compare_steps(
    steps: tuple[OneStep, ...],
    kernel: Kernel,
    model: Model,
    schedule: Pace,
    parameters: Parameters,
    *,
    rounding: float,
) -> list[Comparison]:
    """Observed steps and statistics against the emitted right-hand side and statistics at the same iterates.

    The resolution is a fraction of the largest drift observed, of the noise itself (of the largest one observed where
    there is none at all: a gradient that is 0), and of the largest value of a statistic.
    """
    compared: list[Comparison] = []
    drifts = [abs(m.mean) for s in steps for m in s.moments if m.kind == "drift"]
    noises = [m.mean for s in steps for m in s.moments if m.kind == "noise"]
    sizes = {name: max(abs(s.statistics[name][0]) for s in steps) for name in steps[0].statistics} if steps else {}
    for s in steps:
        problem = build_problem(
            kernel, model, s.instance, schedule, parameters, np.array([s.time]), start_time=s.time, start_mean=s.iterate
        )
        zero = np.zeros_like(s.iterate)
        classes = np.eye(s.instance.classes)
        rates = [kernel.rhs(replace(problem, probabilities=e), 0, s.time, s.iterate, zero) for e in classes]
        for m in s.moments:
            drift, noise = rates[m.class_]
            expected = float(m.direction @ drift) if m.kind == "drift" else float(m.direction**2 @ noise)
            name = f"drift along {m.label}" if m.kind == "drift" else f"noise, {m.label}"
            scale = max(drifts) if m.kind == "drift" else m.mean or max(noises)
            compared.append(_compared(name, s.time, m.class_, expected, m.mean, m.error, scale, rounding))
        emitted = kernel.solve(problem).statistics[0, 0]
        for name, (mean, error) in s.statistics.items():
            if name in kernel.statistics:
                expected = float(emitted[kernel.statistics.index(name)])
                compared.append(_compared(name, s.time, None, expected, mean, error, sizes[name], rounding))
    return compared


def _compared(
    name: str,
    time: float,
    class_: int | None,
    expected: float,
    mean: float,
    error: float,
    scale: float,
    rounding: float,
) -> Comparison:
    return Comparison(
        part="one step",
        name=name,
        place=f"iterate at t = {time:.4g}" + ("" if class_ is None else f", class {class_ + 1}"),
        expected=expected,
        measured=mean,
        error=error,
        degrees=(_STATISTIC_SHIFTS if class_ is None else _SHIFTS) - 1,
        allowance=rounding * (abs(expected) + scale),
        scale=scale,
        time=time,
    )
