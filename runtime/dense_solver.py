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

from sgdlimit.codegen.library.problem import Status
from sgdlimit.derive.errors import BackendError, Diverged, InputError, NoLearningRate
from sgdlimit.derive.model import AdaGradNorm, Model, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.dense_dynamics import DenseDynamics, Summary
from sgdlimit.runtime.dense_steps import LearningRate, Place, learning_rate
from sgdlimit.runtime.kernel import Kernel
from sgdlimit.runtime.minimiser import Optimum, excess_risk
from sgdlimit.runtime.problem import check_parameters, check_rtol, check_start, check_target, check_values
from sgdlimit.runtime.step_sizes import Pace, Parameters
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
    start: State | None,
    modes: bool,
    kernel: Kernel,
    pace: Pace,
    reference: Optimum | None,
) -> Trajectory:
    """What :func:`sgdlimit.runtime.solver.solve` does with a dense instance; arguments and errors are its.

    ``pace`` is what the learning rate follows: the schedule, unless nothing moves.
    """
    check_target(model, instance)
    values = check_parameters(kernel, model, instance.classes, parameters)
    check_values(model, instance, parameters)
    check_rtol(rtol)
    if start is None:
        check_start(model, instance, parameters)
    dynamics = DenseDynamics.of(kernel, instance, values)
    optimum = None if reference is None else reference.x
    rule = learning_rate(pace, parameters, dynamics.teacher, optimum, float(times[-1]))
    start_time, state = _start(dynamics, start)
    offset = None if optimum is None else dynamics.teacher - optimum
    integral_floor = schedule.b**2 if isinstance(schedule, AdaGradNorm) else math.inf
    integration = Integration(dynamics, rule, start_time, rtol, offset, integral_floor)
    curves: list[Array] = []
    kept: tuple[list[Array], list[Array]] = ([], [])
    final = State(float(times[-1]), instance.start, np.zeros((0, 0)))

    def trajectory() -> Trajectory:
        reached = len(curves)
        found = np.array(curves).reshape(reached, len(kernel.statistics))
        listed = available(kernel.statistics, instance, has_optimum=reference is not None)
        curve_of = {name: found[:, k] for k, name in listed}
        if reference is not None:
            curve_of["excess_risk"] = excess_risk(curve_of, parameters, reference)
        return Trajectory(
            times=times[:reached],
            values=curve_of,
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
            bound = 1e6 * np.maximum(integration.describe(start_time, state)[:judged], 1)
            if integration.missing:
                raise _Stopped(Status.NO_STEP, start_time)
            for time, now in integration.states(times, state):
                curve = integration.describe(time, now)
                if np.any(~np.isnan(bound) & ~(np.isfinite(curve[:judged]) & (curve[:judged] <= bound))):
                    raise _Stopped(Status.DIVERGED, time)
                curves.append(curve)
                e, V, accumulated = integration.split(now)
                if modes:
                    kept[0].append(dynamics.teacher + e)
                    kept[1].append(np.maximum(np.diagonal(V), 0))
                # a stage's sum is BLAS's, whose rounding depends on where an entry stands
                final = State(time, dynamics.teacher + e, (V + V.T) / 2, accumulated)
    except _Stopped as stopped:
        if stopped.status == Status.DIVERGED:
            why = "the limit left every bound; try a smaller learning rate"
            raise Diverged(stopped.time, why, trajectory()) from None
        if stopped.status == Status.NO_STEP:
            raise NoLearningRate(stopped.time, repr(schedule), trajectory()) from None
        raise BackendError(
            f"the integrator stopped at t = {stopped.time:.6g} of {times[-1]:g} after {integration.accepted} steps: "
            f"the next are so short that more than {MAX_STEPS} would be needed, or the equations are not finite there; "
            "lower the learning rate, the ridge or the horizon"
        ) from None
    return trajectory()


def _start(dynamics: DenseDynamics, start: State | None) -> tuple[float, Array]:
    """Time and state at the start."""
    d = dynamics.instance.dimension
    if start is None:
        return 0.0, np.concatenate([dynamics.instance.start - dynamics.teacher, np.zeros(d * d + 1)])
    mean, variance = np.asarray(start.mean, dtype=float), np.asarray(start.variance, dtype=float)
    if mean.shape != (d,) or variance.shape != (d, d):
        raise InputError(
            "start",
            f"its mean and variance have shapes {mean.shape} and {variance.shape}",
            f"a dense instance of dimension {d} needs a mean [{d}] and a covariance matrix [{d}, {d}]",
        )
    symmetric = (variance + variance.T) / 2
    return start.time, np.concatenate([mean - dynamics.teacher, symmetric.ravel(), [start.accumulated]])


class _Stopped(Exception):
    """The integration cannot go on."""

    def __init__(self, status: Status, time: float) -> None:
        self.status, self.time = status, time


@dataclass
class Integration:
    """One solve on its way. A state is one vector ``[d + d² + 1]``: ``e``, then ``V``, then ``∫₀ᵗ Σ_j G_j ds``.

    The error of the integral is judged beside ``integral_floor``, which is infinite where nothing follows it.
    """

    dynamics: DenseDynamics
    rule: LearningRate
    start_time: float
    rtol: float
    optimum_offset: Array | None  # X* − X°
    integral_floor: float
    missing: bool = False  # a learning rate, since the last attempt began
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

    def split(self, y: Array) -> tuple[Array, Array, float]:
        """``e``, ``V`` and the integral; the arrays are views."""
        d = self.dynamics.instance.dimension
        return y[:d], y[d:-1].reshape(d, d), float(y[-1])

    def learning_rate(self, time: float, y: Array) -> float:
        """γ at a state."""
        e, V, accumulated = self.split(y)
        return self._rate(time, Place(e, accumulated, lambda: self.dynamics.flow(e, V)))

    def _rate(self, time: float, place: Place) -> float:
        gamma = self.rule(time, place)
        self.missing |= math.isnan(gamma)
        return gamma

    def describe(self, time: float, y: Array) -> Array:
        """The statistics."""
        e, V, _ = self.split(y)
        offset = self.optimum_offset
        distance = None if offset is None else float(np.linalg.norm(e + offset))
        return self.dynamics.statistics(time, self.dynamics.summary(e, V), self.learning_rate(time, y), distance)

    def judge(self, y: Array) -> tuple[Array, float]:
        """What errors at a state are relative to, for the identity and each covariance; and n²."""
        e, V, _ = self.split(y)
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
        e, V, accumulated = self.split(y)
        flow = self.dynamics.flow(e, V)
        gamma = self._rate(self.start_time + s * s, Place(e, accumulated, lambda: flow))
        de, dV, _ = self.split(out)
        np.multiply(flow.drift, -2 * s * gamma, out=de)
        # exactly symmetric, as V is
        np.add(flow.product, flow.product.T, out=dV)
        dV *= -2 * s * gamma
        dV += (2 * s * gamma**2 / len(e)) * flow.noise
        out[-1] = 2 * s * flow.noise_rate

    def errors(self, error: Array, scale: Array, accumulated: float) -> float:
        """The largest error of a step, relative to ``scale`` and to the integral, in units of what it may be.

        Of ``e'We + tr(WV)``, to first order: a square errs twice as much as its root. The error of the trace is bounded
        by the sum of absolute values, so that entries do not cancel.
        """
        de, dV, of_integral = self.split(error)
        instance = self.dynamics.instance
        absolute = np.abs(dV)
        squares = [de @ de, *(de @ (C @ de) for C in instance.covariances)]
        spreads = [np.trace(absolute), *(np.abs(np.vdot(np.abs(C), absolute)) for C in instance.covariances)]
        relative = 2 * np.sqrt(np.maximum(squares, 0) / scale) + np.array(spreads) / scale
        worst = max(float(np.max(relative)), abs(of_integral) / (self.integral_floor + accumulated))
        return worst / (0.5 * self.rtol)  # steps add up

    def first_step(self, y: Array, horizon: float) -> float:
        """It lasts rtol times the fastest mode's time, or less."""
        e, V, accumulated = self.split(y)
        flow = self.dynamics.flow(e, V)
        gamma = self._rate(self.start_time, Place(e, accumulated, lambda: flow))
        fastest = abs(gamma) * float(np.abs(flow.hessian).sum(axis=1).max())
        return math.sqrt(self.rtol * (1 / fastest if fastest * horizon > 1 else horizon))

    def states(self, times: Array, state: Array) -> Iterator[tuple[float, Array]]:
        """Time and state at each output time; the arrays are the integration's own."""
        clocks = np.sqrt(times - self.start_time)
        finish = float(clocks[-1])
        slopes = np.zeros((7, len(state)))  # dy/ds = 0 at s = 0
        scale, norm2 = self.judge(state)
        norm2_bound = 1e6 * max(norm2, 1.0)
        s, h, last_error, growth, output, hopeless = 0.0, self.first_step(state, finish**2), 1.0, 10.0, 0, 0
        while output < len(clocks) and clocks[output] <= 0:
            yield float(times[output]), state
            output += 1
        while s < finish:
            time = self.start_time + s * s
            end = finish if s + 1.01 * h >= finish else s + h  # no sliver at the end
            left = MAX_STEPS - (self.accepted + self.rejected)
            hopeless = hopeless + 1 if (finish - s) * (finish + s) > left * (end - s) * (s + end) else 0
            if not end > s or left < 1 or hopeless > _PATIENCE:
                raise _Stopped(Status.NO_STEP if self.missing else Status.NO_PROGRESS, time)
            h = end - s
            trial = self._attempt(s, h, state, slopes)
            trial_scale, norm2 = self.judge(trial)
            error = self.errors(h * (self.error_weights @ slopes), np.maximum(scale, trial_scale), trial[-1])
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
                yield float(times[output]), y
                output += 1
            self.accepted += 1
            s = end
            if norm2 > norm2_bound:
                raise _Stopped(Status.DIVERGED, self.start_time + s * s)
            state, scale = trial, trial_scale
            slopes[0] = slopes[6]
            grown = 0.95 * error**-0.17 * last_error**0.04 if error > 0 else growth
            h *= min(growth, max(0.2, grown))
            last_error, growth = max(error, 1e-4), 10.0

    def _attempt(self, s: float, h: float, state: Array, slopes: Array) -> Array:
        """The state a step of length ``h`` on; fills ``slopes`` but for the first."""
        positions = (0.2, 0.3, 0.8, 8 / 9, 1.0, 1.0)
        trial = state
        self.missing = False
        for stage, position in enumerate(positions, start=1):
            trial = state + h * (self.weights[stage] @ slopes[:stage])
            self.differentiate(s + position * h, trial, slopes[stage])
        return trial

    def _is_covariance(self, y: Array) -> bool:
        """Whether no variance of a coordinate is negative, beyond what the tolerance leaves open."""
        variances = np.diagonal(self.split(y)[1])
        return bool(np.min(variances) >= -self.rtol * abs(np.mean(variances)))
