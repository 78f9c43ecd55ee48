"""``solve`` for covariances that do not commute: the matrix equations, step by step (``docs/theory.md`` §3.9).

The method is that of the diagonal solver (``codegen/library/integrate.py``; ``docs/numerics.md`` says why): the pair
of Dormand and Prince in the clock ``s = √(t − t₀)``, with errors controlled relative to the norms and the class
variances of ``e = x − X*`` and ``V``. Tables are SciPy's. Memory is two dozen matrices, whatever the horizon.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.errors import BackendError, Diverged, InputError
from sgdlimit.derive.model import Model, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.dense_dynamics import DenseDynamics, LearningRate, Summary
from sgdlimit.runtime.kernel import Kernel, Statistics, load_kernel
from sgdlimit.runtime.problem import check_parameters, check_rtol, check_start, check_target, check_values
from sgdlimit.runtime.step_sizes import Parameters, at_times, follows_state, step_arguments
from sgdlimit.runtime.trajectory import State, Trajectory, available

Array = NDArray[np.float64]

MAX_STEPS = 1_000_000
_PATIENCE = 1000  # steps that look hopeless before the solver says so
_EPSILON = float(np.finfo(np.float64).eps)
_SMALLEST = float(np.finfo(np.float64).tiny)


def solve_dense(
    model: Model,
    instance: DenseInstance,
    schedule: StepSize,
    parameters: Parameters,
    times: Array,
    *,
    rtol: float,
    backend: str,
    statistics: Statistics | None,
    start: State | None,
    modes: bool,
    kernel: Kernel | None,
) -> Trajectory:
    """What :func:`sgdlimit.runtime.solver.solve` does with a dense instance; arguments and errors are its."""
    if kernel is None:
        kernel = load_kernel(model, statistics=statistics, schedule=schedule, backend=backend)
    check_target(model, instance)
    values = check_parameters(kernel, model, instance.classes, parameters)
    check_values(model, instance, parameters)
    check_rtol(rtol)
    if start is None:
        check_start(model, instance, parameters)
    step_arguments(kernel.descents, schedule, parameters, float(times[-1]))
    dynamics = DenseDynamics.of(kernel, instance, values)
    start_time, e, V = _start(dynamics, start)
    integration = Integration(dynamics, learning_rate(schedule, parameters), start_time, rtol)
    curves: list[Array] = []
    kept: tuple[list[Array], list[Array]] = ([], [])
    final = State(float(times[-1]), instance.start, np.zeros((0, 0)))

    def trajectory() -> Trajectory:
        reached = len(curves)
        found = np.array(curves).reshape(reached, len(kernel.statistics))
        return Trajectory(
            times=times[:reached],
            values={name: found[:, k] for k, name in available(kernel.statistics, instance)},
            final=final,
            model=model,
            instance=instance,
            schedule=schedule,
            parameters=parameters,
            rtol=rtol,
            backend=kernel.backend,
            steps=integration.accepted,
            modes=(np.array(kept[0]), np.array(kept[1])) if modes else None,
        )

    judged = kernel.statistics.index("learning_rate")  # those after it may be large without a divergence
    bound: Array | None = None
    try:
        with np.errstate(all="ignore"):  # a step that overflows is no accident: it is rejected
            bound = 1e6 * np.maximum(integration.describe(start_time, e, V)[:judged], 1)
            for time, e_now, V_now in integration.states(times, e, V):
                curve = integration.describe(time, e_now, V_now)
                if np.any(~np.isnan(bound) & ~(np.isfinite(curve[:judged]) & (curve[:judged] <= bound))):
                    raise _Stopped(diverged=True, time=time)
                curves.append(curve)
                if modes:
                    kept[0].append(dynamics.teacher + e_now)
                    kept[1].append(np.maximum(np.diagonal(V_now), 0))
                final = State(time, dynamics.teacher + e_now, V_now.copy())
    except _Stopped as stopped:
        if stopped.diverged:
            why = "the limit left every bound; try a smaller learning rate"
            raise Diverged(stopped.time, why, trajectory()) from None
        raise BackendError(
            f"the integrator stopped at t = {stopped.time:.6g} of {times[-1]:g} after {integration.accepted} steps: "
            f"the next are so short that more than {MAX_STEPS} would be needed, or the equations are not finite there; "
            "lower the learning rate, the ridge or the horizon"
        ) from None
    return trajectory()


def learning_rate(schedule: StepSize, parameters: Parameters) -> LearningRate:
    """γ as a function of the time and the flow.

    Examples
    --------
    >>> from sgdlimit.derive.model import Schedule
    >>> learning_rate(Schedule("eta/(1 + t)"), {"eta": 0.5})(1.0, lambda: None)
    0.25
    """
    if follows_state(schedule):
        raise InputError("schedule", f"{schedule!r} is not known to dense instances", "give Constant or Schedule")
    return lambda t, flow: float(at_times(schedule, parameters, t))


def _start(dynamics: DenseDynamics, start: State | None) -> tuple[float, Array, Array]:
    """Time, ``e`` and ``V`` at the start."""
    d = dynamics.instance.dimension
    if start is None:
        return 0.0, dynamics.instance.start - dynamics.teacher, np.zeros((d, d))
    mean, variance = np.asarray(start.mean, dtype=float), np.asarray(start.variance, dtype=float)
    if mean.shape != (d,) or variance.shape != (d, d):
        raise InputError(
            "start",
            f"its mean and variance have shapes {mean.shape} and {variance.shape}",
            f"a dense instance of dimension {d} needs a mean [{d}] and a covariance matrix [{d}, {d}]",
        )
    return start.time, mean - dynamics.teacher, (variance + variance.T) / 2


class _Stopped(Exception):
    """The integration cannot go on."""

    def __init__(self, *, diverged: bool, time: float) -> None:
        self.diverged, self.time = diverged, time


@dataclass
class Integration:
    """One solve on its way. A state is one vector ``[d + d²]``: ``e``, then ``V``."""

    dynamics: DenseDynamics
    rule: LearningRate
    start_time: float
    rtol: float
    accepted: int = 0
    rejected: int = 0
    evaluations: int = 0
    weights: list[Array] = field(init=False)  # of each stage; the last one's are the step itself
    error_weights: Array = field(init=False)
    interpolation: Array = field(init=False)
    teacher2: Array = field(init=False)  # [1 + K]: X*'W X* for the identity, then each covariance

    def __post_init__(self) -> None:
        from scipy.integrate import RK45  # Dormand and Prince, 5(4)

        self.weights = [*(row[:stage] for stage, row in enumerate(RK45.A)), RK45.B]
        self.error_weights, self.interpolation = RK45.E, RK45.P
        d = self.dynamics
        self.teacher2 = np.append(d.teacher @ d.teacher, d.instance.teacher_variances)

    def _split(self, y: Array) -> tuple[Array, Array]:
        d = self.dynamics.instance.dimension
        return y[:d], y[d:].reshape(d, d)

    def describe(self, time: float, e: Array, V: Array) -> Array:
        """The statistics."""
        summary = self.dynamics.summary(e, V)
        gamma = self.rule(time, lambda: self.dynamics.flow(e, V))
        return self.dynamics.statistics(time, summary, gamma)

    def judge(self, y: Array) -> tuple[Array, float]:
        """What errors at a state are relative to, for the identity and each covariance; and n²."""
        e, V = self._split(y)
        summary: Summary = self.dynamics.summary(e, V)
        images = np.array([e @ (C @ e) for C in self.dynamics.instance.covariances])
        squares = np.append(e @ e, np.maximum(images, 0))
        spreads = np.append(summary.trace, self.dynamics.traces(V))
        if summary.norm2 < squares[0] + spreads[0]:
            squares[0], spreads[0] = summary.norm2 - summary.trace, summary.trace
        unresolved = _EPSILON * np.sqrt(squares * self.teacher2)
        return squares + spreads + unresolved / self.rtol + _SMALLEST, summary.norm2

    def differentiate(self, s: float, y: Array, out: Array) -> None:
        """``dy/ds`` at a state, with ``dt = 2 s ds``."""
        self.evaluations += 1
        e, V = self._split(y)
        flow = self.dynamics.flow(e, V)
        gamma = self.rule(self.start_time + s * s, lambda: flow)
        de, dV = self._split(out)
        np.multiply(flow.drift, -2 * s * gamma, out=de)
        # exactly symmetric, as V is
        np.add(flow.product, flow.product.T, out=dV)
        dV *= -2 * s * gamma
        dV += (2 * s * gamma**2 / len(e)) * flow.noise

    def errors(self, error: Array, scale: Array) -> float:
        """The largest error of a step, relative to ``scale``, in units of what it may be.

        Of ``e'We + tr(WV)``, to first order: a square errs twice as much as its root. The error of the trace is bounded
        by the sum of absolute values, so that entries do not cancel.
        """
        de, dV = self._split(error)
        instance = self.dynamics.instance
        absolute = np.abs(dV)
        squares = [de @ de, *(de @ (C @ de) for C in instance.covariances)]
        spreads = [np.trace(absolute), *(np.abs(np.vdot(np.abs(C), absolute)) for C in instance.covariances)]
        relative = 2 * np.sqrt(np.maximum(squares, 0) / scale) + np.array(spreads) / scale
        return float(np.max(relative)) / (0.5 * self.rtol)  # steps add up

    def first_step(self, y: Array, horizon: float) -> float:
        """It lasts rtol times the fastest mode's time, or less."""
        flow = self.dynamics.flow(*self._split(y))
        gamma = self.rule(self.start_time, lambda: flow)
        fastest = abs(gamma) * float(np.abs(flow.hessian).sum(axis=1).max())
        return math.sqrt(self.rtol * (1 / fastest if fastest * horizon > 1 else horizon))

    def states(self, times: Array, e: Array, V: Array) -> Iterator[tuple[float, Array, Array]]:
        """Time, ``e`` and ``V`` at each output time; the arrays are the integration's own."""
        clocks = np.sqrt(times - self.start_time)
        finish = float(clocks[-1])
        state = np.concatenate([e, V.ravel()])
        slopes = np.zeros((7, len(state)))  # dy/ds = 0 at s = 0
        scale, norm2 = self.judge(state)
        norm2_bound = 1e6 * max(norm2, 1.0)
        s, h, last_error, growth, output, hopeless = 0.0, self.first_step(state, finish**2), 1.0, 10.0, 0, 0
        while output < len(clocks) and clocks[output] <= 0:
            yield float(times[output]), *self._split(state)
            output += 1
        while s < finish:
            time = self.start_time + s * s
            end = finish if s + 1.01 * h >= finish else s + h  # no sliver at the end
            left = MAX_STEPS - (self.accepted + self.rejected)
            hopeless = hopeless + 1 if (finish - s) * (finish + s) > left * (end - s) * (s + end) else 0
            if not end > s or left < 1 or hopeless > _PATIENCE:
                raise _Stopped(diverged=False, time=time)
            h = end - s
            trial = self._attempt(s, h, state, slopes)
            trial_scale, norm2 = self.judge(trial)
            error = self.errors(h * (self.error_weights @ slopes), np.maximum(scale, trial_scale))
            if not error <= 1 or not math.isfinite(norm2):
                kept = max(0.1, 0.95 * error**-0.2) if math.isfinite(error) else 0.1
            else:
                kept = 1.0 if self._is_covariance(trial) else 0.5
            if kept < 1:
                self.rejected += 1
                h, growth = h * kept, 1.0
                continue
            while output < len(clocks) and clocks[output] <= end:
                theta = (clocks[output] - s) / h
                y = trial
                if theta < 1:
                    y = state + h * ((self.interpolation @ theta ** np.arange(1, 5)) @ slopes)
                yield float(times[output]), *self._split(y)
                output += 1
            self.accepted += 1
            s = end
            if norm2 > norm2_bound:
                raise _Stopped(diverged=True, time=self.start_time + s * s)
            state, scale = trial, trial_scale
            slopes[0] = slopes[6]
            grown = 0.95 * error**-0.17 * last_error**0.04 if error > 0 else growth
            h *= min(growth, max(0.2, grown))
            last_error, growth = max(error, 1e-4), 10.0

    def _attempt(self, s: float, h: float, state: Array, slopes: Array) -> Array:
        """The state a step of length ``h`` on; fills ``slopes`` but for the first."""
        positions = (0.2, 0.3, 0.8, 8 / 9, 1.0, 1.0)
        trial = state
        for stage, position in enumerate(positions, start=1):
            trial = state + h * (self.weights[stage] @ slopes[:stage])
            self.differentiate(s + position * h, trial, slopes[stage])
        return trial

    def _is_covariance(self, y: Array) -> bool:
        """Whether no variance of a coordinate is negative, beyond what the tolerance leaves open."""
        variances = np.diagonal(self._split(y)[1])
        return bool(np.min(variances) >= -self.rtol * abs(np.mean(variances)))
