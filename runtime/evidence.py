"""The evidence of a verification: ensembles of streaming SGD at three dimensions, and single steps.

Nothing here knows the equations: the simulator takes one emitted function, the gradient of the adversarial loss, and
the statistics come from fresh scores (:mod:`sgdlimit.runtime.scores`). So one body of evidence judges any number of
solvers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.codegen.library.problem import LANES, Problem
from sgdlimit.derive.errors import Diverged, InputError, InstanceError
from sgdlimit.derive.expression import parse
from sgdlimit.derive.model import Formula, Model, StepSize
from sgdlimit.runtime.diffusion import DEFAULT_STEP
from sgdlimit.runtime.evaluate import evaluate
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, Statistics, load_kernel
from sgdlimit.runtime.one_step import OneStep, observe_steps
from sgdlimit.runtime.problem import build_problem, check_counts, output_times
from sgdlimit.runtime.scores import (
    DRAWS,
    ScoreProblem,
    averaged_over_scores,
    iterate_statistics,
    refuse_nonfinite,
    score_averages,
    score_statistics,
    with_ingredients,
)
from sgdlimit.runtime.simulator import run_all
from sgdlimit.runtime.solver import followed, idealised, optimum_for
from sgdlimit.runtime.spectra import rational_shares
from sgdlimit.runtime.step_sizes import Pace, Parameters, depends_on_state
from sgdlimit.runtime.verdict import allot

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]
Verb = Callable[[Problem], Array]

DEFAULT_BUDGET: Mapping[str, float] = {"c": 1e10, "numpy": 5e9}
"""Coordinate-steps, by backend."""
DEFAULT_TIMES = 12
SMALLEST_DIMENSION = 100
NAMES = {"sgd": "SGD", "homogenised": "homogenised SGD"}
"""Of what can be simulated."""
DYNAMICS = tuple(NAMES)
RATIOS = (1, 2, 4)

MOST_DIMENSIONS = 1_000_000
"""Of the ensemble in lumps: there the 1/d term is nothing, and a step still moves every statistic by many roundings."""
LUMPED_RUNS = 32

_LUMPED_SHARE = 0.25  # of the budget, beside it
_MODE_STEP = 3.0  # coordinate-steps that a step of a mode in lumps takes as long as
_FARTHER = 20  # times the largest dimension of the fit, or more
_SHARPER = 2  # times the precision of the fit, or more
_PILOT_RUNS = 64
_SCORE_SHARE = 0.15  # of a statistic's variance over runs may come from its draws
_MOST_DRAWS = 512
_REFERENCE_SHIFTS = 64


@dataclass(frozen=True)
class LumpedEnsemble:
    """SGD at a dimension where the limit can be read off without a fit, in lumps (``docs/theory.md`` §8).

    Parameters
    ----------
    dimension, runs : int
    means, variances : array [S, T]
        Over the runs.
    shared_variance : array [S, T]
        Of the error that the runs have in common: that of the averages over scores.
    """

    dimension: int
    runs: int
    means: Array
    variances: Array
    shared_variance: Array


@dataclass(frozen=True)
class Evidence:
    """What was observed of streaming SGD.

    Parameters
    ----------
    model, instance, schedule, parameters, statistics
        Of what. ``statistics`` are the user's own.
    times : array [T]
        Multiples of the inverse of every dimension; 0 is not among them.
    names : tuple of S str
        Statistics.
    dimensions, runs : tuple of D ints
    means, variances : array [D, S, T]
        Over the runs.
    shared_variance : array [S, T]
        Of the error that the means at all dimensions have in common (see :func:`gather`).
    steps : tuple of OneStep
        Single steps from fixed iterates.
    path : StepSize or Table
        The learning rate of those.
    budget : float
        Coordinate-steps that were to be spent.
    seed : int
    backend : str
        That simulated.
    dynamics : str
        Of the ensembles: ``"sgd"`` or ``"homogenised"``. Single steps are SGD's.
    lumped : LumpedEnsemble, optional
        SGD at a far larger dimension, where a quarter of the budget affords it.
    """

    model: Model
    instance: Instance
    schedule: StepSize
    parameters: Parameters
    statistics: Statistics
    times: Array
    names: tuple[str, ...]
    dimensions: tuple[int, ...]
    runs: tuple[int, ...]
    means: Array
    variances: Array
    shared_variance: Array
    steps: tuple[OneStep, ...]
    path: Pace
    budget: float
    seed: int
    backend: str
    dynamics: str = "sgd"
    lumped: LumpedEnsemble | None = None

    @property
    def coordinate_steps(self) -> float:
        """Coordinates updated, over all runs."""
        return float(sum(r * d**2 * self.times[-1] for r, d in zip(self.runs, self.dimensions, strict=True)))

    @property
    def shared_degrees(self) -> int:
        """Degrees of freedom behind ``shared_variance``."""
        return _REFERENCE_SHIFTS - 1

    @property
    def simulated(self) -> str:
        """What the ensembles are of, in words."""
        return NAMES[self.dynamics]

    def __repr__(self) -> str:
        of = "" if self.dynamics == "sgd" else f"{self.simulated}: "
        ensembles = of + ", ".join(f"{r} runs at d = {d}" for r, d in zip(self.runs, self.dimensions, strict=True))
        if self.lumped is not None:
            ensembles += f", {self.lumped.runs} in lumps at d = {self.lumped.dimension}"
        return (
            f"Evidence({ensembles}; {len(self.names)} statistics at {len(self.times)} times up to {self.times[-1]:g}, "
            f"single steps from {len(self.steps)} iterates; {self.backend}, seed {self.seed})"
        )


def gather(
    model: Model,
    instance: Instance,
    schedule: StepSize,
    parameters: Parameters | None = None,
    horizon: float | None = None,
    *,
    times: ArrayLike | None = None,
    dimensions: Sequence[int] | None = None,
    budget: float | None = None,
    seed: int = 0,
    backend: str = "auto",
    threads: int | None = None,
    statistics: Statistics | None = None,
    progress: Progress | None = None,
    kernel: Kernel | None = None,
    dynamics: str = "sgd",
) -> Evidence:
    """Simulate streaming SGD at three dimensions with exactly the limit of the instance, and observe single steps.

    The averages over scores are taken as differences to those of one reference iterate with the same draws, whose own
    average is taken once, with many: unbiased, and the draws of a run hardly add to its variance. What is left of
    the error of the reference is common to all runs, and kept as ``shared_variance``.

    Where blocks of equal eigenvalues are so few that a quarter of the budget, on top of it, affords 32 runs in lumps
    (:func:`~sgdlimit.runtime.lumped.simulate_lumped`) at a dimension, up to a million, that leaves nothing to
    extrapolate and tells more than the fit does, they are made too: in C, and for learning rates that are not each
    iterate's own.

    Parameters
    ----------
    model, instance, schedule, parameters, horizon, backend, statistics, kernel
        As in :func:`sgdlimit.runtime.solver.solve`.
    times : array_like, optional
        Rounded to multiples of the inverse of the smallest dimension; 12 of them evenly up to the horizon unless given.
    dimensions : sequence of int, optional
        Three or more, increasing, multiples of the first; the smallest admissible one from 100 on, its double and its
        quadruple unless given.
    budget : float, optional
        Coordinate-steps to spend on ensembles: 1e10 with C, 5e9 with NumPy, unless given.
    seed : int
    threads : int, optional
        As many as there are cores unless given; the result does not depend on it.
    progress : callable, optional
        Called with (coordinate-steps done, in all) now and then.
    dynamics : {"sgd", "homogenised"}
        Of the ensembles. Homogenised SGD takes its coefficients from the kernel: such ensembles show that its means
        have the limit, where SGD's show that the equations are right. It gets as many runs as SGD would.

    Raises
    ------
    InstanceError
        For an instance without finite dimensions of the same limit, or inadmissible ``dimensions``.
    Diverged
        When a run leaves every bound: knows the time.
    ParameterError, InputError
        For input that cannot be.
    """
    given, own = dict(parameters or {}), dict(statistics or {})
    if kernel is None:
        kernel = load_kernel(model, statistics=own, schedule=schedule, backend=backend)
    if dynamics not in DYNAMICS:
        raise InputError("dynamics", f"there are none called {dynamics!r}", f"they are {', '.join(DYNAMICS)}")
    verb: Verb = kernel.simulate if dynamics == "sgd" else partial(kernel.diffuse, longest=DEFAULT_STEP)
    chosen = _dimensions(instance, dimensions)
    instances = [instance.at_dimension(d) for d in chosen]
    grid = _times(horizon, times, chosen[0])
    spend = DEFAULT_BUDGET[kernel.backend] if budget is None else float(budget)
    if not (math.isfinite(spend) and spend > 0):
        raise InputError("budget", f"{budget!r} is not a positive number of coordinate-steps", "give 1e10, say")
    check_counts(seed, threads=threads)
    runs = allot(chosen, float(grid[-1]), spend)
    workers = threads or os.cpu_count() or 1
    best = [optimum_for(model, at, schedule, given, kernel) for at in instances]
    # a single step is judged at any learning rate; where it takes one from the state, the limit's leads to the iterates
    path = (
        idealised(model, instances[0], schedule, given, float(grid[-1]), kernel=kernel, reference=best[0])
        if depends_on_state(schedule)
        else schedule
    )
    steps = observe_steps(model, instances[0], path, given, float(grid[-1]), statistics=own, seed=seed)

    summaries = []
    costs = [r * d**2 * float(grid[-1]) for r, d in zip(runs, chosen, strict=True)]
    plans = [(at, count, verb, 1) for at, count in zip(instances, runs, strict=True)]
    if dynamics == "sgd" and kernel.backend == "c" and not _of_each_iterate(schedule):
        few = _in_lumps(instance, chosen, runs, float(grid[-1]), spend)
        if few is not None:
            plans.append((few, LUMPED_RUNS, kernel.simulate_lumped, LANES))
            best.append(optimum_for(model, few, schedule, given, kernel))
            costs.append(_lumped_cost(few, float(grid[-1])))
    for k, (at, count, run, together) in enumerate(plans):
        pace = followed(model, at, schedule, given, float(grid[-1]), kernel=kernel, reference=best[k])
        reference_point = None if (found_best := best[k]) is None else found_best.x
        problem = build_problem(kernel, model, at, pace, given, grid, reference=reference_point)
        problem = replace(problem, seed=_stream(seed, int(at.dimension)))
        try:
            found = run_all(run, problem, 0, count, workers, _part_of(progress, costs, k), together)
        except Diverged as trouble:
            raise Diverged(trouble.time, f"{trouble.what} (at d = {at.dimension})", trouble.partial) from None
        summaries.append(found[:, 0])

    names = iterate_statistics(model, own)
    names += ("learning_rate",) if _of_each_iterate(schedule) else ()
    names += () if best[0] is None else ("optimum_distance2",)
    wanted = with_ingredients(names, own)
    averaged = averaged_over_scores(model, wanted, own)

    def centred(plan: int) -> _Reference:
        return _Reference.of(model, instance, given, averaged, summaries[plan].mean(axis=0), seed, workers)

    centre = centred(len(chosen) - 1)
    means, variances, shared = [], [], []
    for k, ((at, *_), found) in enumerate(zip(plans, summaries, strict=True)):
        if k == len(chosen):
            # in lumps all runs are beside another dimension's mean by more than they are apart, and what their common
            # draws make of that is in no variance: beside their own mean it is nothing
            centre = centred(k)
        stream = _stream(seed, int(at.dimension))
        # the closer the runs, the rarer a draw that tells them apart
        most = _MOST_DRAWS if k < len(chosen) else DRAWS[-1]
        values = _values(model, at, found, given, wanted, own, centre, stream, grid, workers, most)
        replicates = {name: centre.replicates.get(name, np.zeros((_REFERENCE_SHIFTS, len(grid)))) for name in values}
        for name in wanted:
            if isinstance(formula := own.get(name), Formula):
                values[name], replicates[name] = _linearised(formula, name, values, replicates, given)
                refuse_nonfinite(name, values[name], grid)
        means.append([values[name].mean(axis=0) for name in names])
        variances.append([values[name].var(axis=0, ddof=1) for name in names])
        shared.append([replicates[name].var(axis=0, ddof=1) / _REFERENCE_SHIFTS for name in names])
    return Evidence(
        model=model,
        instance=instance,
        schedule=schedule,
        parameters=given,
        statistics=own,
        times=grid,
        names=names,
        dimensions=chosen,
        runs=runs,
        means=np.array(means[: len(chosen)]),
        variances=np.array(variances[: len(chosen)]),
        shared_variance=np.array(shared[len(chosen) - 1]),
        steps=steps,
        path=path,
        budget=spend,
        seed=seed,
        backend=kernel.backend,
        dynamics=dynamics,
        lumped=LumpedEnsemble(
            int(plans[-1][0].dimension),
            LUMPED_RUNS,
            np.array(means[-1]),
            np.array(variances[-1]),
            np.array(shared[-1]),
        )
        if len(plans) > len(chosen)
        else None,
    )


# ── What is simulated ───────────────────────────────────────────────────────────────────────────────────────


def _dimensions(instance: Instance, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is not None:
        chosen = tuple(given)
        whole = all(isinstance(d, int | np.integer) and d > 0 for d in chosen)
        if not whole or len(chosen) < 3 or any(d % chosen[0] for d in chosen) or sorted(set(chosen)) != list(chosen):
            raise InputError(
                "dimensions",
                f"{given!r} are not three or more increasing multiples of the first",
                "give (100, 200, 400), say",
            )
        return tuple(int(d) for d in chosen)
    shares = rational_shares(instance.weights, 10**6)
    if shares is None:
        instance.at_dimension(SMALLEST_DIMENSION)  # raises, and says why there is no finite dimension
        raise InstanceError("weights", "they are not rational", "give dimensions=(…)")
    groups: dict[bytes, Fraction] = {}
    for column, share in zip(np.ascontiguousarray(instance.eigenvalues.T), shares, strict=True):
        groups[column.tobytes()] = groups.get(column.tobytes(), Fraction(0)) + share
    unit = math.lcm(*(total.denominator for total in groups.values()))
    first = unit * math.ceil(SMALLEST_DIMENSION / unit)
    for d in range(first, first + 1000 * unit, unit):  # a group may need more coordinates than its share of the first
        try:
            instance.at_dimension(d)
        except InstanceError as error:
            refused = error
            continue
        return tuple(d * ratio for ratio in RATIOS)
    raise refused


def _in_lumps(
    instance: Instance, dimensions: Sequence[int], runs: Sequence[int], horizon: float, budget: float
) -> Instance | None:
    """The instance at the largest multiple of the dimensions that may be simulated in lumps, if that is worthwhile."""
    d, R = np.array([dimensions[0], dimensions[-1]], dtype=float), np.array([runs[0], runs[-1]], dtype=float)
    precision = 1 / np.sum((d / (d[1] - d[0])) ** 2 / (R * d))  # of the fit, where a variance is 1/d: runs times d
    worthwhile = max(_FARTHER * dimensions[-1], _SHARPER * precision / LUMPED_RUNS)
    few = instance.lumped(dimensions[0])
    for _ in range(2):  # a block of more coordinates may need one more mode
        cost = _lumped_cost(few, horizon) / few.dimension
        affordable = int(min(MOST_DIMENSIONS, _LUMPED_SHARE * budget / cost)) // dimensions[0] * dimensions[0]
        if affordable < worthwhile:
            return None
        few = instance.lumped(affordable)
    return few


def _lumped_cost(few: Instance, horizon: float) -> float:
    """In coordinate-steps; a step costs two modes whatever there is."""
    return LUMPED_RUNS * horizon * few.dimension * _MODE_STEP * (few.modes + 2)


def _of_each_iterate(schedule: StepSize) -> bool:
    """Whether the learning rate depends on the state, and that is the iterate's own."""
    return depends_on_state(schedule) and schedule.source == "iterate"


def _times(horizon: float | None, times: ArrayLike | None, smallest: int) -> Array:
    """Output times as multiples of 1/d for every d, without 0, where nothing has happened yet."""
    asked = output_times(horizon, times, DEFAULT_TIMES + 1)
    steps = np.unique(np.floor(asked * smallest + 0.5))
    steps = steps[steps > 0]
    if not steps.size:
        raise InputError("horizon", f"nothing happens before one step, 1/{smallest}", "give a later time")
    return np.asarray(steps / smallest)


def _stream(seed: int, d: int) -> int:
    """A seed for the ensemble at a dimension."""
    return int(np.random.SeedSequence([seed, d]).generate_state(1, np.uint64)[0])


def _part_of(progress: Progress | None, costs: Sequence[float], k: int) -> Progress | None:
    if progress is None:
        return None
    before, total = sum(costs[:k]), sum(costs)

    def report(done: int, of: int) -> None:
        progress(round(before + costs[k] * done / max(1, of)), round(total))

    return report


# ── Its statistics ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Reference:
    """One iterate at each time, near those of all runs, and its averages over scores, precisely."""

    averaged: Mapping[str, str]
    summaries: Array  # [T, summary_size(K)]
    replicates: Mapping[str, Array]  # [shifts, T]

    @classmethod
    def of(
        cls,
        model: Model,
        instance: Instance,
        parameters: Parameters,
        averaged: Mapping[str, str],
        summaries: Array,
        seed: int,
        threads: int,
    ) -> _Reference:
        problem = ScoreProblem.of(model, instance, parameters, DRAWS[-1], _stream(seed, 0))
        cells = np.tile(summaries, (_REFERENCE_SHIFTS, 1))
        found = score_averages(problem, cells, averaged, threads=threads)
        shape = (_REFERENCE_SHIFTS, len(summaries))
        return cls(averaged, summaries, {n: v.reshape(shape) for n, v in zip(averaged, found, strict=True)})


def _values(
    model: Model,
    instance: Instance,
    summaries: Array,
    parameters: Parameters,
    names: Sequence[str],
    statistics: Statistics,
    centre: _Reference,
    seed: int,
    times: Array,
    threads: int,
    most_draws: int,
) -> dict[str, Array]:
    """Every statistic but the formulas, ``[runs, T]``."""
    direct = [n for n in names if n not in centre.averaged and not isinstance(statistics.get(n), Formula)]
    values = score_statistics(model, instance, summaries, parameters, direct, times=times)
    if not centre.averaged:
        return values

    def differences(names: Iterable[str], part: Array, draws: int, stream: int) -> Array:
        """From the reference ``[names, runs, T]``."""
        problem = ScoreProblem.of(model, instance, parameters, draws, stream)
        beside = np.broadcast_to(centre.summaries, part.shape)
        cells, texts = part.reshape(-1, part.shape[-1]), {name: centre.averaged[name] for name in names}
        found = score_averages(problem, cells, texts, beside=beside.reshape(cells.shape), threads=threads)
        return found.reshape(-1, *part.shape[:2])

    # Of the averages, risks need few draws beside a reference, indicators of errors many.
    enough: dict[int, list[str]] = {}
    undecided, pilot = list(centre.averaged), summaries[:_PILOT_RUNS]
    for draws in (n for n in DRAWS if n <= most_draws):
        one, other = (differences(undecided, pilot, draws, seed ^ k) for k in (1, 2))
        from_draws = ((one - other) ** 2).mean(axis=(1, 2)) / 2
        settled = (from_draws <= _SCORE_SHARE * one.var(axis=1).mean(axis=1)) | (draws == most_draws)
        enough[draws] = [name for name, done in zip(undecided, settled, strict=True) if done]
        undecided = [name for name in undecided if name not in enough[draws]]
        if not undecided:
            break
    for draws, group in enough.items():
        for name, found in zip(group, differences(group, summaries, draws, seed), strict=True):
            values[name] = found + centre.replicates[name].mean(axis=0)
            refuse_nonfinite(name, values[name], times)
    return values


def _linearised(
    formula: Formula,
    name: str,
    values: Mapping[str, Array],
    replicates: Mapping[str, Array],
    environment: Mapping[str, ArrayLike],
) -> tuple[Array, Array]:
    """A formula of the means over runs, with what each run (and each replicate of the reference) adds to it.

    Its value at the mean has the same limit as its mean, and no bias from the draws behind its ingredients.
    """
    tree = parse(formula.text, where=f"statistic {name}")
    means = {k: v.mean(axis=0) for k, v in values.items() if k in formula.names}
    base = {"tau": 0.0, **environment, **means}
    value = evaluate(tree, base)
    per_run, per_replicate = np.zeros_like(values["norm2"]), np.zeros_like(replicates["norm2"])
    for k, mean in means.items():
        step = 1e-3 * values[k].std(axis=0) + 1e-7 * np.abs(mean) + 1e-12
        slope = (evaluate(tree, {**base, k: mean + step}) - evaluate(tree, {**base, k: mean - step})) / (2 * step)
        per_run = per_run + slope * (values[k] - mean)
        per_replicate = per_replicate + slope * (replicates[k] - replicates[k].mean(axis=0))
    return value + per_run, value + per_replicate
