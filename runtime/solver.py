"""``solve``: the deterministic limit of streaming SGD on an instance."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.codegen.library.problem import Method, Problem, Status
from sgdlimit.derive.errors import BackendError, Diverged, InputError, NoLearningRate
from sgdlimit.derive.model import Greedy, LineSearch, Model, Polyak, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.dense_solver import solve_dense
from sgdlimit.runtime.dense_steps import check_followed
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, Statistics, load_kernel
from sgdlimit.runtime.minimiser import Optimum, excess_risk, optimum
from sgdlimit.runtime.problem import build_problem, check_method, output_times
from sgdlimit.runtime.step_sizes import DENSE_TABLE_SIZE, TABLE_SIZE, Pace, Parameters, Table, depends_on_state
from sgdlimit.runtime.trajectory import State, Trajectory, available

Array = NDArray[np.float64]

DEFAULT_TIMES = 201


def solve(
    model: Model,
    instance: Instance | DenseInstance,
    schedule: StepSize,
    parameters: Parameters | None = None,
    horizon: float | None = None,
    times: ArrayLike | None = None,
    *,
    rtol: float = 1e-8,
    method: str = "auto",
    backend: str = "auto",
    statistics: Statistics | None = None,
    start: State | None = None,
    modes: bool = False,
    kernel: Kernel | None = None,
    reference: Optimum | None = None,
) -> Trajectory:
    """Solve the mode equations (``docs/theory.md`` §3).

    Parameters
    ----------
    model : Model
    instance : Instance or DenseInstance
        Of any dimension, infinite too. A dense one is integrated by NumPy and BLAS, a product of matrices for each
        right-hand side; ``backend`` says who evaluates the coefficients.
    schedule : StepSize
        The learning rate γ; the step of SGD is ``γ/d``. One that depends on the state follows the limit's.
    parameters : mapping of str to float or sequence of K floats
        Values of the model's parameters (``epsilon`` and ``tau`` included; ``tau`` is 0 unless given) and the
        schedule's.
    horizon : float
        Last time, ``t = k/d``.
    times : array_like, optional
        Output times; 201 of them evenly up to the horizon unless given.
    rtol : float
        Relative tolerance. Errors are controlled relatively: a risk that falls by fifteen orders of magnitude stays
        right to about ``10 rtol``.
    method : {"auto", "explicit", "exponential"}
        Of integration (``docs/numerics.md``). Steps of the explicit one are no longer than the fastest mode's time
        ``1/(γ λ)``; those of the exponential one are as long as the statistics are smooth. ``auto`` takes in each
        stretch what is cheaper. A dense instance has the explicit one.
    backend : {"auto", "c", "numpy"}
    statistics : mapping of str to Expectation or Formula, optional
        Further statistics.
    start : State, optional
        Where to start (``trajectory.final`` of another solve) instead of at the instance's start at time 0.
    modes : bool
        Keep ``x_j`` and ``v_j`` at all times (of a dense instance: mean and variance of every coordinate).
    kernel : Kernel, optional
        One already loaded.
    reference : Optimum, optional
        The optimum ``X°`` (:func:`sgdlimit.runtime.minimiser.optimum`) that ``optimum_distance2`` and ``excess_risk``
        refer to; Polyak's learning rate computes it unless given.

    Returns
    -------
    Trajectory

    Raises
    ------
    ParameterError, InstanceError, InputError
        For input that cannot be.
    Diverged
        When the dynamics leave every bound: knows the time and the curve until then.
    NoLearningRate
        When a greedy learning rate ceases to exist: knows the time and the curve until then.
    NoMinimiser
        For Polyak's learning rate where there is no finite optimum.
    BackendError
        When the integrator cannot go on, or the kernel cannot be built.

    Examples
    --------
    >>> from sgdlimit.derive import Constant, Loss, Model, Teacher
    >>> from sgdlimit.runtime.instance import Instance
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"))
    >>> trajectory = solve(model, Instance.isotropic(100), Constant(0.5), {"sigma": 0.5}, horizon=40, backend="numpy")
    >>> round(float(trajectory["adversarial_risk"][-1]) - 0.5**2 / 2, 6)  # γσ²/(2(2 − γ))
    0.041667
    """
    given = dict(parameters or {})
    if isinstance(instance, DenseInstance):
        check_followed(schedule)
        if check_method(method) == Method.EXPONENTIAL:
            raise InputError("method", "a dense instance has no exponential one", "give 'auto' or 'explicit'")
    start_time = 0.0 if start is None else start.time
    chosen = output_times(horizon, times, DEFAULT_TIMES, start_time)
    if kernel is None:
        kernel = load_kernel(model, statistics=statistics, schedule=schedule, backend=backend)
    best = optimum_for(model, instance, schedule, given, kernel) if reference is None else reference
    pace = at_rest(float(chosen[-1])) if start is None and stands_still(instance, schedule, given) else schedule
    if isinstance(instance, DenseInstance):
        return solve_dense(
            model,
            instance,
            schedule,
            given,
            chosen,
            rtol=rtol,
            start=start,
            modes=modes,
            kernel=kernel,
            pace=pace,
            reference=best,
        )
    problem = build_problem(
        kernel,
        model,
        instance,
        pace,
        given,
        chosen,
        rtol=rtol,
        method=method,
        start_time=start_time,
        start_mean=None if start is None else start.mean,
        start_variance=None if start is None else start.variance,
        start_accumulated=0.0 if start is None else start.accumulated,
        reference=None if best is None else best.x,
    )
    solution = kernel.solve(problem, modes=modes)
    outcome = solution.outcome
    reached = len(chosen) if outcome.status == Status.OK else int(np.sum(chosen < outcome.time))
    listed = available(kernel.statistics, instance, has_optimum=best is not None)
    values = {name: solution.statistics[0, :reached, k] for k, name in listed}
    if best is not None:
        values["excess_risk"] = excess_risk(values, given, best)
    trajectory = Trajectory(
        times=chosen[:reached],
        values=values,
        final=State(
            float(chosen[-1]), solution.final_mean[0], solution.final_variance[0], float(solution.final_auxiliary[0])
        ),
        model=model,
        instance=instance,
        schedule=schedule,
        parameters=given,
        rtol=rtol,
        backend=kernel.backend,
        steps=outcome.accepted,
        modes=None
        if solution.mean is None or solution.variance is None
        else (solution.mean[0, :reached], solution.variance[0, :reached]),
    )
    if outcome.status == Status.DIVERGED:
        raise Diverged(outcome.time, "the limit left every bound; try a smaller learning rate", trajectory)
    if outcome.status == Status.NO_STEP:
        raise NoLearningRate(outcome.time, repr(schedule), trajectory)
    if outcome.status != Status.OK:
        raise BackendError(why_stopped(outcome.status, outcome.time, problem, outcome.accepted))
    return trajectory


def why_stopped(status: Status, time: float, problem: Problem, steps: int) -> str:
    """Why an integrator could not go on from ``time``, and what would do."""
    at = f"the integrator stopped at t = {time:.6g} of {problem.times[-1]:g}"
    if status == Status.NO_PROGRESS:
        return (
            f"{at} after {steps} steps: the next are so short that more than {problem.max_steps} would be needed, or "
            "the equations are not finite there; lower the learning rate, the ridge or the horizon"
        )
    return f"{at} ({status.name.lower().replace('_', ' ')}) after {steps} steps; try a looser rtol"


class StandsStillWarning(UserWarning):
    """The learning rate is 0 from the start: nothing moves."""


def stands_still(instance: Instance | DenseInstance, schedule: Pace, parameters: Parameters) -> bool:
    """Whether nothing will ever move, and then a warning that says so.

    Line search with an adversary cannot leave ``X = 0``: its ``γ`` tends to 0 with the norm (``docs/theory.md`` §4).
    """
    searches = isinstance(schedule, LineSearch) or (
        isinstance(schedule, Greedy) and schedule.statistic == "adversarial_risk"
    )
    attacked = bool(np.any(np.asarray(parameters.get("epsilon", 0.0)) > 0))
    if not (searches and attacked and not np.any(instance.start)):
        return False
    warnings.warn(
        f"{schedule!r} with epsilon > 0 cannot leave X = 0, where its learning rate is 0; start away from 0",
        StandsStillWarning,
        stacklevel=3,
    )
    return True


def at_rest(horizon: float) -> Table:
    """The learning rate 0."""
    return Table(horizon, np.zeros(2))


def optimum_for(
    model: Model, instance: Instance | DenseInstance, schedule: Pace, parameters: Parameters, kernel: Kernel
) -> Optimum | None:
    """The optimum where the step size or its statistic is about it.

    Raises
    ------
    NoMinimiser
        Where there is none.
    """
    if isinstance(schedule, Polyak) or (isinstance(schedule, Greedy) and schedule.statistic == "optimum_distance2"):
        return optimum(model, instance, parameters, kernel=kernel)
    return None


def idealised(
    model: Model,
    instance: Instance | DenseInstance,
    schedule: StepSize,
    parameters: Parameters,
    horizon: float,
    *,
    kernel: Kernel,
    reference: Optimum | None = None,
    rtol: float = 1e-8,
) -> Table:
    """The limit's ``γ(t)`` of a step size that depends on the state, as a table that a simulation can follow.

    Raises
    ------
    Diverged, NoLearningRate, NoMinimiser, BackendError
        As :func:`solve`.
    """
    size = DENSE_TABLE_SIZE if isinstance(instance, DenseInstance) else TABLE_SIZE
    times = horizon * np.linspace(0.0, 1.0, size) ** 2
    found = solve(model, instance, schedule, parameters, times=times, kernel=kernel, reference=reference, rtol=rtol)
    return Table(horizon, found["learning_rate"])


def followed(
    model: Model,
    instance: Instance | DenseInstance,
    schedule: StepSize,
    parameters: Parameters,
    horizon: float,
    *,
    kernel: Kernel,
    reference: Optimum | None = None,
) -> Pace:
    """What a simulation follows: the limit's ``γ(t)`` where that is the source, else the step size itself."""
    if stands_still(instance, schedule, parameters):
        return at_rest(horizon)
    if depends_on_state(schedule) and schedule.source == "limit":
        return idealised(model, instance, schedule, parameters, horizon, kernel=kernel, reference=reference)
    return schedule
