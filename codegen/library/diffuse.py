"""Homogenised SGD, run by run.

The mathematics is that of `diffuse.h`; the random numbers are NumPy's, so the two agree in law, not in bits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sgdlimit.codegen.library.integrate import Constants, Rates
from sgdlimit.codegen.library.problem import Array, Problem, Status, Trouble, summary_size
from sgdlimit.codegen.library.simulate import can_be_simulated, steps_until, summarise
from sgdlimit.codegen.library.steps import LearningRate, Point, depends_on_state


class Diffusion(NamedTuple):
    """What homogenised SGD is made of on one model: as in ``integrate.py`` and ``steps.py``.

    Parameters
    ----------
    constants, rates, learning_rate : callable
    """

    constants: Constants
    rates: Rates
    learning_rate: LearningRate


class Stopped(Exception):
    """A step that cannot be taken, with its status."""


def diffuse(problem: Problem, diffusion: Diffusion, longest: float) -> Array:
    """The runs ``first_run .. first_run + runs - 1``, each a function of (seed, run) alone.

    ``dX_j = γ (offset_j + slope_j (X_j − X*_j)) dt + γ √noise_j dW_j``, the rates at the random X itself.

    Parameters
    ----------
    problem : Problem
        The problem; ``dimension`` must be the number of modes, since a mode is a coordinate here.
    diffusion : Diffusion
        The model.
    longest : float
        Length of the longest step, in units of ``1/(γ max|slope|)``.

    Returns
    -------
    array [runs, M, T, summary_size(K)]
        As ``simulate`` returns it.

    Raises
    ------
    Trouble
        The first trouble in the order of runs.

    Examples
    --------
    Least squares without noise or adversary, in one dimension, started at the teacher: it stays there.

    >>> problem = Problem(
    ...     dimension=1, weights=np.ones(1), probabilities=np.ones(1), eigenvalues=np.ones((1, 1)),
    ...     means=np.zeros((1, 1)), labels=np.zeros(1), teacher=np.ones(1), parameters=np.empty((1, 0, 1)),
    ...     start_mean=np.ones((1, 1)), start_variance=np.zeros((1, 1)), step_arguments=np.array([[0.5]]),
    ...     times=np.array([2.0]),
    ... )
    >>> diffusion = Diffusion(
    ...     constants=lambda problem: np.empty(0),
    ...     rates=lambda problem, k, iterate, x, e, v: (0 * x, -1 + 0 * x, e**2 + v),
    ...     learning_rate=lambda problem, k, iterate, t, point: 0.5,
    ... )
    >>> diffuse(problem, diffusion, 0.1)[0, 0, 0, :3].tolist()
    [1.0, 1.0, 0.0]
    """
    ok = can_be_simulated(problem) and problem.max_steps >= 1 and 0 < longest < math.inf
    if not ok:
        raise Trouble(Status.BAD_PROBLEM, iterate=0, run=problem.first_run, time=problem.start_time)
    M, T, K = problem.iterates, problem.times_count, problem.classes
    summaries = np.full((problem.runs, M, T, summary_size(K)), np.nan)
    k = diffusion.constants(problem)
    with np.errstate(all="ignore"):  # what is not finite is reported as divergence
        for run, m in np.ndindex(problem.runs, M):
            diffuse_run(problem, k, diffusion, longest, run, m, summaries)
    return summaries


def diffuse_run(
    problem: Problem, k: Array, diffusion: Diffusion, longest: float, run: int, iterate: int, summaries: Array
) -> None:
    """One iterate's run, the summaries of which it writes."""
    seed = np.random.SeedSequence([problem.seed, problem.first_run + run]).spawn(3)[2]  # SGD has the first two
    generator = np.random.default_rng(seed)
    X = problem.start_mean[iterate].copy()
    bound = 1e6 * max(float(np.sum(X**2)), 1.0)
    accumulated = 0.0 if problem.start_auxiliary is None else float(problem.start_auxiliary[iterate])
    t, steps, M = problem.start_time, 0, problem.iterates

    def trouble(status: Status) -> Trouble:
        return Trouble(status, iterate=iterate, run=problem.first_run + run, time=float(t), curve=summaries)

    for output, stop in enumerate(problem.times):
        while t < stop:
            if problem.cancel is not None and problem.cancel[0]:
                raise trouble(Status.CANCELLED)
            if steps >= problem.max_steps:
                raise trouble(Status.NO_PROGRESS)
            try:
                X, grown, h = diffusion_step(
                    problem, k, diffusion, iterate, X, accumulated, t, stop - t, longest, generator
                )
            except Stopped as stopped:
                raise trouble(stopped.args[0]) from None
            accumulated += grown
            t = t + h if h < stop - t else stop
            steps += 1
            if not float(np.sum(X**2)) <= bound:
                raise trouble(Status.DIVERGED)
            if problem.progress is not None:
                whole, part = steps_until(problem, problem.times[-1]), steps_until(problem, t)
                problem.progress[0] = (run * M + iterate) * whole // M + part // M
        gamma = diffusion.learning_rate(problem, k, iterate, t, state(problem, k, diffusion, iterate, X, accumulated))
        summary = summarise(problem, X[np.newaxis, np.newaxis], np.array([[gamma]]))
        summaries[run, iterate, output] = summary[0, 0]


def state(
    problem: Problem, k: Array, diffusion: Diffusion, iterate: int, X: Array, accumulated: float, v: Array | None = None
) -> Point:
    """An iterate, or a Gaussian law of one with variance ``v``, and the rates at it."""
    e, variance = X - problem.teacher, np.zeros_like(X) if v is None else v
    return Point(X, e, variance, *diffusion.rates(problem, k, iterate, X, e, variance), accumulated)


def relax(slope: Array, gamma: float, h: float) -> tuple[Array, Array]:
    """``∫₀ʰ exp(γ slope s) ds`` of each mode, and the same with twice the slope.

    Examples
    --------
    >>> [time.round(4).tolist() for time in relax(np.array([0.0, -2.0]), 0.5, 1.0)]
    [[1.0, 0.6321], [1.0, 0.4323]]
    """
    exponent = gamma * slope * h
    change = np.expm1(exponent)
    mean = h * np.divide(change, exponent, out=np.ones_like(change), where=exponent != 0)
    return mean, mean * (1 + 0.5 * change)


def diffusion_step(
    problem: Problem,
    k: Array,
    diffusion: Diffusion,
    iterate: int,
    X: Array,
    accumulated: float,
    t: float,
    left: float,
    longest: float,
    generator: np.random.Generator,
) -> tuple[Array, float, float]:
    """The iterate after a step from time ``t``, what ``Σ noise dt`` grew by, and the step's length, at most ``left``.

    Raises
    ------
    Stopped
        With the status.
    """

    def rate(at: Point, time: float) -> float:
        gamma = float(diffusion.learning_rate(problem, k, iterate, time, at))
        if math.isnan(gamma) and depends_on_state(problem):
            raise Stopped(Status.NO_STEP)
        return gamma

    here = state(problem, k, diffusion, iterate, X, accumulated)
    gamma, fastest = rate(here, t), float(np.abs(here.slope).max())
    needed = left * abs(gamma) * fastest / longest
    if not math.isfinite(needed):
        raise Stopped(Status.DIVERGED)
    h = left / max(math.ceil(needed), 1)
    if not t + h > t:
        raise Stopped(Status.NO_PROGRESS)

    # Predictor: the law of X half a step on, with the scalars of now.
    mean, noise = relax(here.slope, gamma, 0.5 * h)
    middle = X + gamma * (here.offset + here.slope * here.e) * mean
    spread = gamma**2 * here.noise * noise
    later = accumulated + 0.5 * h * float(np.sum(here.noise))
    halfway = state(problem, k, diffusion, iterate, middle, later, spread)
    gamma = rate(halfway, t + 0.5 * h)

    # Corrector: Ornstein-Uhlenbeck processes with the scalars of halfway.
    mean, noise = relax(halfway.slope, gamma, h)
    z = generator.standard_normal(len(X))
    drift = gamma * (halfway.offset + halfway.slope * here.e) * mean
    moved = X + drift + gamma * np.sqrt(halfway.noise * noise) * z
    return moved, h * float(np.sum(halfway.noise)), h
