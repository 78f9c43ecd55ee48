"""``simulate``: streaming SGD itself, in high dimension, many independent runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.codegen.library.problem import SUMMARY, Problem, Status, Trouble
from sgdlimit.derive.errors import BackendError, Diverged, InputError, InstanceError, NoLearningRate
from sgdlimit.derive.model import Model, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.dense_simulation import simulate_dense
from sgdlimit.runtime.ensemble import Ensemble
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import PRECISIONS, Kernel, Statistics, load_kernel
from sgdlimit.runtime.minimiser import Optimum, excess_risk
from sgdlimit.runtime.problem import build_problem, check_counts, output_times
from sgdlimit.runtime.solver import followed, optimum_for
from sgdlimit.runtime.step_sizes import Parameters

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

DEFAULT_TIMES = 51
DEFAULT_DRAWS = 1024
_LOOK_EVERY = 0.1  # seconds between reports of progress


def simulate(
    model: Model,
    instance: Instance | DenseInstance,
    schedule: StepSize,
    parameters: Parameters | None = None,
    horizon: float | None = None,
    times: ArrayLike | None = None,
    *,
    runs: int = 32,
    seed: int = 0,
    backend: str = "auto",
    precision: str = "float64",
    threads: int | None = None,
    statistics: Statistics | None = None,
    kernel: Kernel | None = None,
    progress: Progress | None = None,
    first_run: int = 0,
    draws: int = DEFAULT_DRAWS,
    reference: Optimum | None = None,
) -> Ensemble:
    """Run streaming SGD with batch 1 and fresh samples, ``X ← X − (γ/d) ∇``, in the eigenbasis (``docs/theory.md`` §1).

    Parameters
    ----------
    model : Model
    instance : Instance or DenseInstance
        Of finite dimension, one mode a coordinate: ``instance.at_dimension(d)`` makes it so. SGD on a dense one runs in
        NumPy and BLAS; ``threads`` are then those of the fresh scores.
    schedule, parameters, horizon, times, backend, statistics, kernel, reference
        As in :func:`sgdlimit.runtime.solver.solve`. A step size that depends on the state has a ``source``: the limit's
        ``γ(t)``, or each iterate's own statistics. Times are rounded to whole steps; the ensemble has the exact ones.
        51 output times unless given.
    runs : int
        Independent runs, from the instance's start.
    seed : int
        A run is a function of (seed, its index, precision, backend) alone: the same bits for any number of threads.
    precision : {"float64", "float32"}
        Of samples and iterates. Scores, norms and statistics are summed in float64 in both; ``docs/numerics.md`` says
        what single precision costs. It is about twice as fast.
    threads : int, optional
        As many as there are cores unless given.
    progress : callable, optional
        Called with (steps done, steps in all) now and then.
    first_run : int
        Index of the first run, to continue an ensemble.
    draws : int
        Fresh scores for each run, time and class behind a risk or an error rate.

    Returns
    -------
    Ensemble

    Raises
    ------
    InstanceError
        For an instance that is not one mode a coordinate.
    ParameterError, InputError
        For input that cannot be.
    Diverged
        When a run leaves every bound: knows the time.
    NoLearningRate
        When a run has no greedy learning rate: knows the time.
    NoMinimiser
        For Polyak's learning rate where there is no finite optimum.

    Examples
    --------
    >>> from sgdlimit.derive import Constant, Loss, Model, Teacher
    >>> from sgdlimit.runtime.instance import Instance
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"))
    >>> instance = Instance.isotropic(50)
    >>> ensemble = simulate(model, instance, Constant(0.5), {"sigma": 0.5}, times=[2, 4], runs=8, backend="numpy")
    >>> ensemble["adversarial_risk"].shape
    (8, 2)
    """
    if precision not in PRECISIONS:
        raise InputError("precision", f"there is none called {precision!r}", f"they are {', '.join(PRECISIONS)}")
    if isinstance(instance, DenseInstance):
        if precision != "float64":
            raise InputError("precision", f"SGD on a dense instance does not run in {precision}", "it is float64")
        check_counts(seed, runs=runs, threads=threads, draws=draws)
        return simulate_dense(
            model,
            instance,
            schedule,
            dict(parameters or {}),
            output_times(horizon, times, DEFAULT_TIMES),
            runs=runs,
            first_run=first_run,
            seed=int(seed),
            backend=backend,
            threads=threads or os.cpu_count() or 1,
            statistics=statistics,
            kernel=kernel,
            progress=progress,
            draws=draws,
            reference=reference,
        )
    check_ensemble(instance, seed, runs=runs, threads=threads, draws=draws)
    if kernel is None:
        kernel = load_kernel(model, statistics=statistics, schedule=schedule, backend=backend)
    steps = np.floor(output_times(horizon, times, DEFAULT_TIMES) * instance.modes + 0.5)
    ensemble = ensemble_of(
        partial(kernel.simulate, precision=precision),
        "sgd",
        kernel,
        model,
        instance,
        schedule,
        dict(parameters or {}),
        np.unique(steps) / instance.modes,
        runs=runs,
        seed=seed,
        threads=threads,
        statistics=statistics,
        progress=progress,
        first_run=first_run,
        draws=draws,
        reference=reference,
    )
    return replace(ensemble, precision=precision)


def check_ensemble(instance: Instance, seed: int, **counts: int | None) -> None:
    """An instance of one mode a coordinate, a seed, and counts.

    Raises
    ------
    InstanceError, InputError
    """
    check_counts(seed, **counts)
    if not isinstance(instance, Instance):
        raise InstanceError("instance", f"{instance!r} has no modes", "give an Instance whose covariances commute")
    if instance.dimension != instance.modes:
        raise InstanceError(
            "dimension",
            f"the instance has {instance.modes} modes at dimension {instance.dimension}, "
            "and a simulation needs one mode a coordinate",
            "use instance.at_dimension(d)",
        )


def ensemble_of(
    verb: Callable[[Problem], Array],
    dynamics: str,
    kernel: Kernel,
    model: Model,
    instance: Instance,
    schedule: StepSize,
    parameters: Parameters,
    times: Array,
    *,
    runs: int,
    seed: int,
    threads: int | None,
    statistics: Statistics | None,
    progress: Progress | None,
    first_run: int,
    draws: int,
    reference: Optimum | None,
    together: int = 1,
) -> Ensemble:
    """An ensemble of what ``verb`` makes of a problem: learning rate, runs, statistics."""
    from sgdlimit.runtime.scores import score_statistics

    workers = threads or os.cpu_count() or 1
    best = optimum_for(model, instance, schedule, parameters, kernel) if reference is None else reference
    pace = followed(model, instance, schedule, parameters, float(times[-1]), kernel=kernel, reference=best)
    point = None if best is None else best.x
    problem = build_problem(kernel, model, instance, pace, parameters, times, reference=point)
    summaries = run_all(verb, replace(problem, seed=int(seed)), first_run, runs, workers, progress, together)
    values = score_statistics(
        model,
        instance,
        summaries[:, 0],
        parameters,
        statistics=statistics,
        draws=draws,
        seed=int(seed),
        first_run=first_run,
        threads=workers,
    )
    values["learning_rate"] = summaries[:, 0, :, SUMMARY.index("learning_rate")]
    if best is not None:
        values["optimum_distance2"] = summaries[:, 0, :, SUMMARY.index("reference_distance2")]
        values["excess_risk"] = excess_risk(values, parameters, best)
    return Ensemble(times, values, int(seed), model, instance, schedule, parameters, kernel.backend, dynamics)


def run_all(
    verb: Callable[[Problem], Array],
    problem: Problem,
    first_run: int,
    runs: int,
    threads: int,
    progress: Progress | None = None,
    together: int = 1,
) -> Array:
    """Summaries ``[runs, M, T, summary_size(K)]`` of all runs, in chunks on threads; the chunks do not change a bit.

    ``verb`` is ``kernel.simulate``, or what else makes runs from a problem; ``together`` cost it as much as one.

    Raises
    ------
    Diverged
        Of the earliest run in trouble.
    """
    # a few chunks a thread even out runs of unequal speed; one chunk is at least the runs that go together
    size = together * -(-runs // (4 * threads * together))
    starts = range(first_run, first_run + runs, size)
    cancel = np.zeros(1, dtype=np.int32)
    counters = [np.zeros(1, dtype=np.int64) for _ in starts]
    parts = [
        replace(
            problem,
            first_run=start,
            runs=min(size, first_run + runs - start),
            cancel=cancel,
            progress=counter,
        )
        for start, counter in zip(starts, counters, strict=True)
    ]
    total = round(float(problem.times[-1]) * problem.dimension) * runs
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(verb, part) for part in parts]
        try:
            pending = set(jobs)
            while pending:
                finished, pending = wait_for(pending, timeout=_LOOK_EVERY if progress else None)
                if progress:
                    progress(int(sum(int(c[0]) for c in counters)), total)
                if any(job.exception() is not None for job in finished):
                    break
        finally:
            if any(not job.done() for job in jobs):
                cancel[0] = 1  # after an interrupt or the first trouble
                for job in jobs:
                    job.cancel()
    for job in jobs:
        trouble = None if job.cancelled() else job.exception()
        if trouble is not None and not (isinstance(trouble, Trouble) and trouble.status == Status.CANCELLED):
            _refuse(trouble)
    return np.concatenate([job.result() for job in jobs])


def _refuse(trouble: BaseException) -> None:
    if isinstance(trouble, Trouble) and trouble.status == Status.DIVERGED:
        raise Diverged(
            trouble.time, f"run {trouble.run} left every bound; try a smaller learning rate", trouble.curve
        ) from None
    if isinstance(trouble, Trouble) and trouble.status == Status.NO_STEP:
        raise NoLearningRate(trouble.time, f"run {trouble.run}", trouble.curve) from None
    if isinstance(trouble, Trouble):
        raise BackendError(f"the simulation stopped: {trouble}") from None
    raise trouble
