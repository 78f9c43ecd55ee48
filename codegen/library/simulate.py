"""Streaming SGD in the eigenbasis, vectorised over runs and iterates.

The mathematics is that of `simulate.h`; the random numbers are NumPy's, so the two agree in law, not in bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sgdlimit.codegen.library.integrate import Constants, Rates
from sgdlimit.codegen.library.problem import (
    CLASS_SUMMARY,
    SUMMARY,
    Array,
    Problem,
    Status,
    StepKind,
    Trouble,
    summary_size,
)
from sgdlimit.codegen.library.steps import LearningRate, Point, depends_on_state

Gradient = Callable[[Array, Array, Array, Array], tuple[Array, Array]]
Target = Callable[[Array, Array, Array, Array, Array], Array]
Ridge = Callable[[Array], Array]
Real = np.dtype[Any]

# Coordinates of the iterates that advance together: enough to hide the interpreter, few enough for the cache.
COORDINATES_TOGETHER = 1 << 15
# Runs that do, however few their coordinates: each has numbers in store.
RUNS_TOGETHER = 1 << 11
# Normals that a run draws at once, to amortise the call; drawn in sequence, they are the same for any number.
NORMALS_AT_ONCE = 1 << 10
# Steps whose class, label noise and label's chance a run draws at once: a part of the stream's definition.
CHANCES_AT_ONCE = 1 << 8


class Sgd(NamedTuple):
    """What streaming SGD is made of on one model.

    The loss's functions act elementwise on arrays ``[run, iterate]`` (or with 1 in place of either); ``parameters`` are
    ``[P, run, iterate]``, of the class that each run has drawn.

    Parameters
    ----------
    gradient : callable
        ``gradient(r, n, y, parameters)`` returns the adversarial loss's derivatives in r and in n.
    target : callable
        ``target(label, r_star, xi, uniform, parameters)`` returns y.
    ridge : callable
        ``ridge(parameters)`` returns τ.
    learning_rate : callable
        ``learning_rate(problem, k, iterate, t, point)``, as in ``steps.py``.
    constants, rates : callable
        As in ``integrate.py``; for learning rates that follow the iterate.
    """

    gradient: Gradient
    target: Target
    ridge: Ridge
    learning_rate: LearningRate
    constants: Constants
    rates: Rates


def simulate(problem: Problem, sgd: Sgd, precision: str = "float64") -> Array:
    """Simulate the runs ``first_run .. first_run + runs - 1``, each a function of (seed, run, precision) alone.

    Parameters
    ----------
    problem : Problem
        The problem; ``dimension`` must be the number of modes, since a mode is a coordinate here.
    sgd : Sgd
        The model.
    precision : {"float64", "float32"}
        Of samples and iterates; scores, norms and statistics are summed in float64.

    Returns
    -------
    array [runs, M, T, summary_size(K)]
        At each time `SUMMARY`, then `CLASS_SUMMARY` of each class.

    Raises
    ------
    Trouble
        The first trouble in the order of steps, then runs, of the runs that advance together.

    Examples
    --------
    Least squares without noise or adversary, in one dimension, started at the teacher: it stays there.

    >>> import numpy as np
    >>> one = np.ones((1, 1))
    >>> problem = Problem(
    ...     dimension=1, weights=one[0], probabilities=one[0], eigenvalues=one, means=0 * one, labels=one[0],
    ...     teacher=one[0], parameters=np.empty((1, 0, 1)), start_mean=one, start_variance=0 * one,
    ...     step_arguments=0.5 * one, times=np.array([10.0]),
    ... )
    >>> sgd = Sgd(
    ...     gradient=lambda r, n, y, parameters: (r - y, 0 * n),
    ...     target=lambda label, r_star, xi, uniform, parameters: r_star,
    ...     ridge=lambda parameters: 0,
    ...     learning_rate=lambda problem, k, iterate, t, point: 0.5,
    ...     constants=lambda problem: np.empty(0),
    ...     rates=lambda problem, k, iterate, x, e, v: (0 * x, -1 + 0 * x, 0 * x),
    ... )
    >>> simulate(problem, sgd).tolist()
    [[[[1.0, 1.0, 0.0, nan, 0.5, 0.0, 1.0, 1.0]]]]
    """
    if not can_be_simulated(problem):
        raise Trouble(Status.BAD_PROBLEM, iterate=0, run=problem.first_run, time=problem.start_time)
    return simulate_all(problem, sgd, np.ones(problem.modes), precision)


def simulate_all(problem: Problem, sgd: Sgd, multiplicities: Array, precision: str = "float64") -> Array:
    """Of a checked problem, whose modes are a coordinate each, or as many as told (``lumped.py``)."""
    M, T, K = problem.iterates, problem.times_count, problem.classes
    summaries = np.full((problem.runs, M, T, summary_size(K)), np.nan)
    together = min(RUNS_TOGETHER, max(1, COORDINATES_TOGETHER // (M * problem.modes)))
    if problem.progress is not None:
        problem.progress[0] = 0
    try:
        # What is not finite in an iterate is reported as divergence; elsewhere a loss has not taken it.
        with np.errstate(all="ignore"):
            for begin in range(0, problem.runs, together):
                chunk = summaries[begin : begin + together]
                simulate_together(problem, problem.first_run + begin, chunk, sgd, multiplicities, np.dtype(precision))
    except Trouble as trouble:
        trouble.curve = summaries
        raise
    return summaries


def can_be_simulated(problem: Problem) -> bool:
    """Whether a mode is a coordinate, and counts and times can be."""
    return problem.dimension == problem.modes and has_counts_and_times(problem)


def has_counts_and_times(problem: Problem) -> bool:
    """Whether times run forward from 0 or later, and no count is too small."""
    times = np.concatenate([[0.0, problem.start_time], problem.times])
    return bool(
        (np.diff(times) >= 0).all()
        and (problem.eigenvalues >= 0).all()
        and min(problem.first_run, problem.runs, problem.times_count - 1, problem.iterates - 1) >= 0
    )


def learning_rates(problem: Problem, k: Array, sgd: Sgd, iterates: Array, gradient2: Array, t: float) -> Array:
    """γ of each iterate, ``[run, M]``.

    Where it depends on the state, that is the iterate's own: its score law is exact, so ``x = X`` and ``v = 0``.
    """
    M = problem.iterates
    if not depends_on_state(problem):
        return np.broadcast_to([sgd.learning_rate(problem, k, m, t, None) for m in range(M)], iterates.shape[:2])
    found = np.empty(iterates.shape[:2])
    for run, m in np.ndindex(found.shape):
        x, none = iterates[run, m].astype(float), np.zeros(problem.modes)
        e = x - problem.teacher
        own = problem.step_kind == StepKind.ADAGRAD_NORM  # needs no rates
        rates = (none, none, none) if own else sgd.rates(problem, k, m, x, e, none)
        at = Point(x, e, none, *rates, float(gradient2[run, m]))
        found[run, m] = sgd.learning_rate(problem, k, m, t, at)
    return found


def simulate_together(
    problem: Problem, first_run: int, summaries: Array, sgd: Sgd, multiplicities: Array, real: Real
) -> None:
    """Advance the runs from ``first_run`` on, one for each row of ``summaries``, and fill it.

    A mode of more than one coordinate is a lump: x_j is the norm of the iterate's part in it (``docs/theory.md`` §8).
    """
    M, N, d = problem.iterates, problem.modes, problem.dimension
    runs = len(summaries)
    lumps = np.flatnonzero(multiplicities > 1)
    # coordinates, chances, squares in lumps; the two precisions begin apart
    spawned = [np.random.SeedSequence([problem.seed, first_run + run]).spawn(5) for run in range(runs)]
    seeds = [own[3:] if real == np.float32 else own[:3] for own in spawned]
    coordinates = [np.random.default_rng(seed[0]) for seed in seeds]
    chances = [np.random.default_rng(seed[1]) for seed in seeds]
    squares = [np.random.default_rng(seed[2]) for seed in seeds] if lumps.size else []

    roots, cumulated = np.sqrt(problem.eigenvalues).astype(real), np.cumsum(problem.probabilities)[:-1]
    means, teacher = problem.means.astype(real), problem.teacher.astype(real)
    parameters = np.ascontiguousarray(problem.parameters.transpose(1, 2, 0))  # [P, K, M]
    iterates = np.repeat(problem.start_mean.astype(real)[np.newaxis], runs, axis=0)  # [run, M, N]
    norm2_bound = 1e6 * np.maximum(np.sum(problem.start_mean**2, axis=1), 1)
    change, own = np.empty_like(iterates), np.empty_like(iterates)
    x, mean = np.empty((runs, N), real), np.empty((runs, N), real)
    z = np.empty((runs, max(1, NORMALS_AT_ONCE // N), N), real)
    # squared lengths of what is neither along the iterate nor along a coordinate
    chi2 = np.empty((runs, max(1, NORMALS_AT_ONCE // N), len(lumps)))
    drawn = np.empty((3, runs, CHANCES_AT_ONCE))
    k = sgd.constants(problem)
    # the sum of ‖g‖²/d² over the steps so far, g the whole stochastic gradient
    gradient2 = np.zeros((runs, M)) + (0.0 if problem.start_auxiliary is None else problem.start_auxiliary)

    first_step = done = steps_until(problem, problem.start_time)
    for output, time in enumerate(problem.times):
        stop = steps_until(problem, time)
        for step in range(done, stop):
            if problem.cancel is not None and problem.cancel[0]:
                raise Trouble(Status.CANCELLED, iterate=0, run=first_run, time=step / d)
            block = (step - first_step) % z.shape[1]
            chance = (step - first_step) % CHANCES_AT_ONCE
            if block == 0:
                for run, generator in enumerate(coordinates):
                    generator.standard_normal(out=z[run], dtype=real)
                for run, generator in enumerate(squares):
                    chi2[run] = generator.chisquare(multiplicities[lumps] - 1, size=chi2.shape[1:])
            if chance == 0:
                for run, generator in enumerate(chances):
                    generator.random(out=drawn[0, run])
                    generator.standard_normal(out=drawn[1, run])
                    generator.random(out=drawn[2, run])

            class_ = np.searchsorted(cumulated, drawn[0, :, chance], side="right")
            np.take(roots, class_, axis=0, out=x, mode="clip")
            np.take(means, class_, axis=0, out=mean, mode="clip")
            x *= z[:, block]
            x += mean
            # Sums by einsum, whose order does not depend on how many runs there are; that of BLAS may.
            r = np.einsum("rmn,rn->rm", iterates, x, dtype=float)
            r_star = np.einsum("rn,n->r", x, teacher, dtype=float)[:, np.newaxis]
            beside = problem.eigenvalues[class_][:, lumps] * chi2[:, block] if lumps.size else chi2[:, block]
            norm2 = np.einsum("rmn,rmn->rm", iterates, iterates, dtype=float)
            refuse_divergence(norm2, norm2_bound, first_run, step / d)

            of_class = parameters[:, class_]  # [P, run, M]
            label, xi, uniform = problem.labels[class_], drawn[1, :, chance], drawn[2, :, chance]
            y = sgd.target(label[:, np.newaxis], r_star, xi[:, np.newaxis], uniform[:, np.newaxis], of_class)
            n = np.sqrt(norm2)
            dr, dn = sgd.gradient(r, n, y, of_class)
            shrinkage = np.divide(dn, n, out=np.zeros_like(n), where=n > 0) + sgd.ridge(of_class)
            if problem.step_kind == StepKind.ADAGRAD_NORM:  # g = dr x + shrinkage X
                x2 = (np.einsum("rn,rn->r", x, x, dtype=float) + np.einsum("rn->r", beside))[:, np.newaxis]
                gradient2 += (dr**2 * x2 + 2 * dr * shrinkage * r + shrinkage**2 * norm2) / d**2
            pace = learning_rates(problem, k, sgd, iterates, gradient2, step / d) / d
            refuse_missing(pace, first_run, step / d)
            # the change first: a factor 1 - pace shrinkage would lose in single precision what is below 6e-8 of it
            np.multiply((pace * dr).astype(real)[:, :, np.newaxis], x[:, np.newaxis], out=change)
            np.multiply((pace * shrinkage).astype(real)[:, :, np.newaxis], iterates, out=own)
            change += own
            iterates -= change
            if lumps.size:
                rest2 = (pace * dr)[:, :, np.newaxis] ** 2 * beside[:, np.newaxis]
                iterates[:, :, lumps] = np.sqrt(iterates[:, :, lumps] ** 2 + rest2)
            if problem.progress is not None:
                problem.progress[0] += runs
        done = stop
        rates = learning_rates(problem, k, sgd, iterates, gradient2, done / d)
        summaries[:, :, output] = summarise(problem, iterates, rates)
        refuse_divergence(summaries[:, :, output, 0], norm2_bound, first_run, done / d)


def steps_until(problem: Problem, time: float) -> int:
    """Steps that have been done at a time."""
    return math.floor(time * problem.dimension + 0.5)


def refuse_divergence(norm2: Array, bound: Array, first_run: int, time: float) -> None:
    """Raise for the first run, then iterate, whose squared norm is not finite or beyond its bound."""
    diverged = ~(np.isfinite(norm2) & (norm2 <= bound))
    if diverged.any():
        run, iterate = np.argwhere(diverged)[0].tolist()
        raise Trouble(Status.DIVERGED, iterate=iterate, run=first_run + run, time=time)


def refuse_missing(pace: Array, first_run: int, time: float) -> None:
    """Raise for the first run, then iterate, without a learning rate."""
    missing = np.isnan(pace)
    if missing.any():
        run, iterate = np.argwhere(missing)[0].tolist()
        raise Trouble(Status.NO_STEP, iterate=iterate, run=first_run + run, time=time)


def summarise(problem: Problem, iterates: Array, learning_rates: Array) -> Array:
    """Summaries ``[run, M, summary_size(K)]`` of iterates ``[run, M, N]``, in float64 whatever those are in."""
    iterates = iterates.astype(float)
    summary = np.full((*iterates.shape[:2], summary_size(problem.classes)), np.nan)
    summary[..., 0] = np.sum(iterates**2, axis=-1)
    summary[..., 1] = np.sum(iterates * problem.teacher, axis=-1)
    summary[..., 2] = np.sum((iterates - problem.teacher) ** 2, axis=-1)
    if problem.reference is not None:
        summary[..., 3] = np.sum((iterates - problem.reference) ** 2, axis=-1)
    summary[..., 4] = learning_rates
    for class_, (mean, eigenvalue) in enumerate(zip(problem.means, problem.eigenvalues, strict=True)):
        first = len(SUMMARY) + len(CLASS_SUMMARY) * class_
        summary[..., first] = np.sum(mean * iterates, axis=-1)
        summary[..., first + 1] = np.sum(eigenvalue * iterates * problem.teacher, axis=-1)
        summary[..., first + 2] = np.sum(eigenvalue * iterates**2, axis=-1)
    return summary
