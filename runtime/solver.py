"""``solve``: the deterministic limit of streaming SGD on an instance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sgdlimit.codegen.library.problem import Status
from sgdlimit.derive.errors import BackendError, Diverged
from sgdlimit.derive.model import Model, Schedule
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.dense_solver import solve_dense
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, Statistics, load_kernel
from sgdlimit.runtime.problem import Parameters, StepSize, build_problem, output_times
from sgdlimit.runtime.trajectory import State, Trajectory, available

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
    backend: str = "auto",
    statistics: Statistics | None = None,
    start: State | None = None,
    modes: bool = False,
    kernel: Kernel | None = None,
) -> Trajectory:
    """Solve the mode equations (``docs/theory.md`` §3).

    Parameters
    ----------
    model : Model
    instance : Instance or DenseInstance
        Of any dimension, infinite too. A dense one is integrated by NumPy and BLAS, a product of matrices for each
        right-hand side; ``backend`` says who evaluates the coefficients.
    schedule : Constant or Schedule
        The learning rate γ; the step of SGD is ``γ/d``.
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
    backend : {"auto", "c", "numpy"}
    statistics : mapping of str to Expectation or Formula, optional
        Further statistics.
    start : State, optional
        Where to start (``trajectory.final`` of another solve) instead of at the instance's start at time 0.
    modes : bool
        Keep ``x_j`` and ``v_j`` at all times (of a dense instance: mean and variance of every coordinate).
    kernel : Kernel, optional
        One already loaded.

    Returns
    -------
    Trajectory

    Raises
    ------
    ParameterError, InstanceError, InputError
        For input that cannot be.
    Diverged
        When the dynamics leave every bound: knows the time and the curve until then.
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
        return solve_dense(
            model,
            instance,
            schedule,
            given,
            output_times(horizon, times, DEFAULT_TIMES, 0.0 if start is None else start.time),
            rtol=rtol,
            backend=backend,
            statistics=statistics,
            start=start,
            modes=modes,
            kernel=kernel,
        )
    if kernel is None:
        kernel = load_kernel(
            model,
            statistics=statistics,
            schedule=schedule if isinstance(schedule, Schedule) else None,
            backend=backend,
        )
    start_time = 0.0 if start is None else start.time
    chosen = output_times(horizon, times, DEFAULT_TIMES, start_time)
    problem = build_problem(
        kernel,
        model,
        instance,
        schedule,
        given,
        chosen,
        rtol=rtol,
        start_time=start_time,
        start_mean=None if start is None else start.mean,
        start_variance=None if start is None else start.variance,
    )
    solution = kernel.solve(problem, modes=modes)
    outcome = solution.outcome
    reached = len(chosen) if outcome.status == Status.OK else int(np.sum(chosen < outcome.time))
    values = {name: solution.statistics[0, :reached, k] for k, name in available(kernel.statistics, instance)}
    trajectory = Trajectory(
        times=chosen[:reached],
        values=values,
        final=State(float(chosen[-1]), solution.final_mean[0], solution.final_variance[0]),
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
    if outcome.status == Status.NO_PROGRESS:
        raise BackendError(
            f"the integrator stopped at t = {outcome.time:.6g} of {chosen[-1]:g} after {outcome.accepted} steps: "
            f"the next are so short that more than {problem.max_steps} would be needed, or the equations are not "
            "finite there; lower the learning rate, the ridge or the horizon"
        )
    if outcome.status != Status.OK:
        raise BackendError(
            f"the integrator stopped at t = {outcome.time:.6g} ({outcome.status.name.lower().replace('_', ' ')}) "
            f"after {outcome.accepted} steps; try a looser rtol"
        )
    return trajectory
