"""``simulate_lumped``: streaming SGD at any dimension, in a few numbers a block of equal eigenvalues."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from sgdlimit.codegen.library.problem import LANES
from sgdlimit.derive.errors import InstanceError
from sgdlimit.derive.model import Model, StepSize
from sgdlimit.runtime.ensemble import Ensemble
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, Statistics, load_kernel
from sgdlimit.runtime.minimiser import Optimum
from sgdlimit.runtime.problem import check_counts, output_times
from sgdlimit.runtime.simulator import DEFAULT_DRAWS, DEFAULT_TIMES, Progress, ensemble_of
from sgdlimit.runtime.solver import optimum_for
from sgdlimit.runtime.step_sizes import Parameters


def simulate_lumped(
    model: Model,
    instance: Instance,
    schedule: StepSize,
    parameters: Parameters | None = None,
    horizon: float | None = None,
    times: ArrayLike | None = None,
    *,
    runs: int = 32,
    seed: int = 0,
    backend: str = "auto",
    threads: int | None = None,
    statistics: Statistics | None = None,
    kernel: Kernel | None = None,
    progress: Progress | None = None,
    first_run: int = 0,
    draws: int = DEFAULT_DRAWS,
    reference: Optimum | None = None,
) -> Ensemble:
    """Run streaming SGD, exactly in law, at a cost that does not grow with the dimension (``docs/theory.md`` §8).

    Of the iterate in a block of equal eigenvalues, its components along teacher and means and the norm of the rest are
    followed: every statistic of an :class:`~sgdlimit.runtime.ensemble.Ensemble` is a function of them. A step costs
    some nanoseconds a block; there are ``d`` of them in a unit of time. Where all eigenvalues differ there is nothing
    to lump, and this is :func:`~sgdlimit.runtime.simulator.simulate` with other random numbers.

    Parameters
    ----------
    model : Model
    instance : Instance
        Of finite dimension: ``instance.lumped(10**6)`` has that one and the same limit, in a few modes.
    schedule, parameters, horizon, times, backend, statistics, kernel, progress, first_run, draws
        As in :func:`~sgdlimit.runtime.simulator.simulate`.
    runs : int
        Independent runs, from the instance's start; in C eight of them advance together.
    seed : int
        A run is a function of (seed, its index, backend) alone: the same bits for any number of runs and threads.
    threads : int, optional
        As many as there are cores unless given.
    reference : Optimum, optional
        Of this instance; as in :func:`~sgdlimit.runtime.solver.solve`.

    Returns
    -------
    Ensemble

    Raises
    ------
    InstanceError
        For an infinite dimension, or weights that are no whole numbers of coordinates.
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
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"))
    >>> instance = Instance.isotropic(50).lumped(2000)
    >>> simulate_lumped(model, instance, Constant(0.5), {"sigma": 0.5}, times=[0.5, 1], runs=8, backend="numpy")
    Ensemble(8 runs in lumps at d = 2000, 7 statistics at 2 times, t = 0.5 … 1; numpy)
    """
    check_counts(seed, runs=runs, threads=threads, draws=draws)
    if not isinstance(instance, Instance):
        raise InstanceError("instance", f"{instance!r} has no modes", "give an Instance whose covariances commute")
    given = dict(parameters or {})
    few = instance if reference is not None else instance.lumped()
    if kernel is None:
        kernel = load_kernel(model, statistics=statistics, schedule=schedule, backend=backend)
    best = optimum_for(model, few, schedule, given, kernel) if reference is None else reference
    if best is not None:
        few, point = few.lumped_beside(point=best.x)
        best = replace(best, x=point)
    steps = np.floor(output_times(horizon, times, DEFAULT_TIMES) * few.dimension + 0.5)
    return ensemble_of(
        kernel.simulate_lumped,
        "lumped",
        kernel,
        model,
        few,
        schedule,
        given,
        np.unique(steps) / few.dimension,
        runs=runs,
        seed=seed,
        threads=threads,
        statistics=statistics,
        progress=progress,
        first_run=first_run,
        draws=draws,
        reference=best,
        together=LANES,
    )
