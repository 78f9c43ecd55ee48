"""The mode equations, solved: by an explicit Runge–Kutta method or an exponential one, in ``s = √(t − start_time)``.

The same steps as ``integrate.h``, by the same formulas; that file says why they are taken as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from sgdlimit.codegen.library.exponential import NODES, Node, integral, interpolation_weights, propagate
from sgdlimit.codegen.library.problem import Array, Method, Problem, Status, StepKind
from sgdlimit.codegen.library.steps import LearningRate, Point, depends_on_state

Constants = Callable[[Problem], Array]
Rates = Callable[[Problem, Array, int, Array, Array, Array], tuple[Array, Array, Array]]
Statistics = Callable[[Problem, Array, int, float, Array, Array, Array], Array]

# Dormand and Prince 5(4); the last row of the stages' weights is the step itself.
_POSITIONS = np.array([0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1])
_WEIGHTS = (
    np.array([]),
    np.array([1 / 5]),
    np.array([3 / 40, 9 / 40]),
    np.array([44 / 45, -56 / 15, 32 / 9]),
    np.array([19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729]),
    np.array([9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656]),
    np.array([35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84]),
)
_ERROR = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
_DENSE = np.array(
    [
        -12715105075 / 11282082432,
        0,
        87487479700 / 32700410799,
        -10690763975 / 1880347072,
        701980252875 / 199316789632,
        -1453857185 / 822651844,
        69997945 / 29380423,
    ]
)
_PATIENCE = 1000
_STIFF_STEPS = 15  # steps longer than the fastest mode's time, less those shorter, that change the method
_JITTER = 12  # of the estimate of an error, in units of what the slopes are known to, at the longest steps
_CAUTION = 5  # after a rejection: of a jump of the learning rate the estimate sees a part
_DEEPEST = 40  # fall, as a logarithm, that errors are held tighter for
_EPSILON = float(np.finfo(np.float64).eps)
_SMALLEST = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Outcome:
    """How a solve ended: the fields of the C struct ``sgdlimit_outcome``.

    Parameters
    ----------
    status : Status
        ``Status.OK``, or why it stopped before its end.
    iterate, run : int
        The iterate it stopped in; ``run`` is 0 in a solve.
    time : float
        The last output time, or the time of the trouble.
    accepted, rejected, evaluations : int
        Steps and right-hand sides, over all iterates.

    Examples
    --------
    >>> Outcome(Status.DIVERGED, 0, 0, 1.5, accepted=12, rejected=1, evaluations=79).status.name
    'DIVERGED'
    """

    status: Status
    iterate: int
    run: int
    time: float
    accepted: int
    rejected: int
    evaluations: int


class Solution(NamedTuple):
    """What `solve` computed; NaN where trouble kept it from computing.

    Parameters
    ----------
    statistics : array [M, T, S]
    mean, variance : array [M, T, N], or None when not asked for
    final_mean, final_variance : array [M, N]
    final_auxiliary : array [M]
        The integral of ``Σ_j G_j`` up to the last time.
    outcome : Outcome
    """

    statistics: Array
    mean: Array | None
    variance: Array | None
    final_mean: Array
    final_variance: Array
    final_auxiliary: Array
    outcome: Outcome


class _Stopped(Exception):
    """A status on its way to the outcome."""

    def __init__(self, status: Status) -> None:
        self.status = status


class _Start(NamedTuple):
    """Where a step began: what dense output takes of it."""

    s: float
    state: Array
    slope: Array


class _Attempt(NamedTuple):
    state: Array
    scale: Array
    norm2: float
    error: float  # in units of what it may be
    node: Node  # at its end


@dataclass
class _Integration:
    """One iterate on its way.

    States are arrays ``[2N + 1]``: ``e = x − X*``, ``v``, and the integral of ``Σ_j noise_j``.
    """

    problem: Problem
    constants: Array
    rates: Rates
    learning_rate: LearningRate
    statistics: Statistics
    iterate: int
    judged: int
    resolution: float
    weightings: Array  # [1 + K, N]: 1, then the eigenvalues of each class
    teacher2: Array  # [1 + K]: sums of W X*²
    values: Array  # out, [T, S]
    mean: Array | None  # out, [T, N]
    variance: Array | None  # out, [T, N]
    time: float = 0.0
    accepted: int = 0
    rejected: int = 0
    evaluations: int = 0
    missing: bool = False  # a learning rate that was asked for does not exist
    nodes: list[Node] = field(default_factory=list)  # the last steps' ends, newest first, at most three
    used: int = 0  # how many of them a prediction takes
    missed: list[float] = field(default_factory=lambda: [0.0] * NODES)  # how far predictions from so many missed
    exponential: bool = False  # which method the next step is of
    stiff_steps: int = 0  # 0 to _STIFF_STEPS
    peak: Array = field(default_factory=lambda: np.zeros(0))  # [1 + K] the largest of what errors are relative to
    before: _Start | None = None  # of the step before

    def parts(self, y: Array) -> tuple[Array, Array, float]:
        """``e``, ``v`` and the integral."""
        N = self.problem.modes
        return y[:N], y[N : 2 * N], float(y[2 * N])

    def judge(self, y: Array) -> tuple[Array, Array, float]:
        """What errors at the state ``y`` are relative to, for each weighting; what of e cannot be resolved; and n²."""
        e, v, _ = self.parts(y)
        x = self.problem.teacher + e
        norm2 = float(x @ x + np.abs(v).sum())
        squares, absolutes = self.weightings @ (e * e), self.weightings @ np.abs(v)
        of_e, of_v = np.full((2, len(squares)), self.resolution)
        if norm2 < squares[0] + absolutes[0]:
            squares[0], absolutes[0] = x @ x, np.abs(v).sum()
            of_e[0], of_v[0] = max(self.resolution, _EPSILON), 0.0
        unresolved = (_JITTER * of_e / self.problem.rtol) ** 2 * self.teacher2
        blurred = of_v / self.problem.rtol * self.teacher2
        return squares + absolutes + blurred + _SMALLEST, unresolved, norm2

    def evaluate(self, t: float, y: Array) -> tuple[float, Array, Array, Array]:
        """The learning rate, and the rates."""
        p = self.problem
        self.evaluations += 1
        e, v, accumulated = self.parts(y)
        x = p.teacher + e
        offset, slope, noise = self.rates(p, self.constants, self.iterate, x, e, v)
        at = Point(x, e, v, offset, slope, noise, accumulated)
        gamma = self.learning_rate(p, self.constants, self.iterate, t, at)
        self.missing |= depends_on_state(p) and math.isnan(gamma)
        return gamma, offset, slope, noise

    def node(self, s: float, y: Array) -> Node:
        """What the state ``y`` at ``s`` makes the equations."""
        gamma, offset, slope, noise = self.evaluate(self.problem.start_time + s * s, y)
        return Node(
            s * s,
            gamma * slope,
            gamma * offset,
            gamma * gamma * noise,
            float(np.sum(noise)),
            float(np.max(np.abs(gamma * slope))),
        )

    def differentiate(self, s: float, node: Node, y: Array) -> Array:
        """``dy/ds`` at the state ``y``; ``dt = 2 s ds``."""
        e, v, _ = self.parts(y)
        of_e, of_v = node.decay * e + node.drive, 2 * node.decay * v + node.spread
        return 2 * s * np.concatenate([of_e, of_v, [node.total]])

    def step_explicitly(self, s: float, h: float, state: Array, slopes: Array) -> tuple[Array, Array, Node]:
        """The step's end, its error, and what it makes the equations; fills ``slopes`` but for the first."""
        trial, node = state, None
        for stage in range(1, 7):
            trial = state + np.tensordot(h * _WEIGHTS[stage], slopes[:stage], 1)
            place = s + _POSITIONS[stage] * h
            node = self.node(place, trial)
            slopes[stage] = self.differentiate(place, node, trial)
        assert node is not None
        return trial, np.tensordot(h * _ERROR, slopes, 1), node

    def follow(self, nodes: list[Node], start: float, end: float, y: Array, *, with_end: bool = True) -> Array:
        """The state at the clock ``end`` from that at ``start``, exactly, where the rates go through the nodes."""
        e, v, accumulated = self.parts(y)
        totals = np.array([node.total for node in nodes])
        accumulated += float(integral(interpolation_weights(nodes, start**2, end**2)) @ totals)
        mean, variance = propagate(nodes, start**2, end**2, e, v, with_fourth=with_end)
        return np.concatenate([mean, variance, [accumulated]])

    def step_exponentially(self, s: float, h: float, state: Array) -> tuple[Array, Array, Node]:
        """The step's end, its error, and what its prediction makes the equations."""
        nodes = self.nodes[: self.used]
        predicted = self.follow(nodes, s, s + h, state, with_end=False)
        node = self.node(s + h, predicted)
        corrected = self.follow([node, *nodes], s, s + h, state)
        return corrected, corrected - predicted, node

    def attempt(self, s: float, h: float, state: Array, slopes: Array, scale: Array) -> _Attempt:
        """A step of length ``h``; fills ``slopes`` but for the first."""
        self.missing = False
        if self.exponential:
            trial, error, node = self.step_exponentially(s, h, state)
        else:
            trial, error, node = self.step_explicitly(s, h, state, slopes)
        of_mean, of_variance, of_integral = self.parts(error)
        trial_scale, unresolved, norm2 = self.judge(trial)
        # In an exponential step what errors are relative to may fall by orders of magnitude.
        scale = trial_scale if self.exponential else np.maximum(scale, trial_scale)
        # Of Σ W (e² + v), to first order: a square errs twice as much as its root.
        relative = 2 * np.sqrt(self.weightings @ (of_mean * of_mean) / (scale + unresolved))
        relative += self.weightings @ np.abs(of_variance) / scale
        # Errors of steps add up where what they are relative to falls, and fade where it stands.
        relative *= 1 + np.clip(np.log(self.peak / trial_scale), 0, _DEEPEST) / 4
        allowed = (1.0 if self.exponential else 2.5) * self.problem.rtol
        worst = float(np.max(relative))
        if self.problem.step_kind == StepKind.ADAGRAD_NORM:
            b = self.problem.step_arguments[self.iterate, 1]
            worst = max(worst, abs(of_integral) / (b * b + self.parts(trial)[2]))
        return _Attempt(trial, trial_scale, norm2, worst / allowed if math.isfinite(norm2) else math.nan, node)

    def interpolate(self, s: float, h: float, theta: float, state: Array, slopes: Array, trial: _Attempt) -> Array:
        """The state at the fraction ``theta`` of an attempted step."""
        if self.exponential:
            return self.follow([trial.node, *self.nodes[: self.used]], s, s + theta * h, state)
        before = self.before
        if before is not None and s - before.s > h / 2:
            ends = (before.state, state, trial.state), (before.slope, slopes[0], slopes[6])
            y = _dense_of_two(s - before.s, h, theta, *ends)
        else:  # a step that grows may follow a jump of the learning rate
            y = _dense_of_one(h, theta, state, slopes)
        N = self.problem.modes
        y[N:] = np.maximum(y[N:], 0)  # the polynomial may dip below, where the truth never is: 0 is nearer
        return y

    def best_count(self, end: Node) -> int:
        """How many steps' ends the next prediction takes: as many as would have predicted the last one's sums best."""
        best = 1
        for count in range(1, len(self.nodes) + 1):
            nodes = self.nodes[:count]
            shares = interpolation_weights(nodes, nodes[0].clock, end.clock)[0] / (end.clock - nodes[0].clock)
            total = shares @ np.array([node.total for node in nodes])
            fastest = shares @ np.array([node.fastest for node in nodes])
            with np.errstate(all="ignore"):
                miss = np.fmax(abs(total / np.float64(end.total) - 1), abs(fastest / np.float64(end.fastest) - 1))
            # no single lucky one, and no choice by rounding
            self.missed[count] = max(float(np.fmax(miss, 0.01 * self.problem.rtol)), self.missed[count] / 2)
            if self.missed[count] <= self.missed[best]:
                best = count
        return best

    def move_on(self, start: float, s: float, trial: _Attempt, slopes: Array) -> None:
        """After a step from ``start`` to ``s``: its end becomes a node, and the next step's method is chosen."""
        method = self.problem.method
        end = trial.node
        slopes[0] = slopes[6]
        if self.exponential:
            end = self.node(s, trial.state)
            slopes[0] = self.differentiate(s, end, trial.state)
        has_node = method == Method.EXPONENTIAL or (method == Method.AUTO and self.stiff_steps > 0)
        stiff = (s - start) * (s + start) * end.fastest > 1
        self.stiff_steps = min(self.stiff_steps + 1, _STIFF_STEPS) if stiff else max(self.stiff_steps - 1, 0)
        if has_node:
            self.used = len(self.nodes) + 1 if len(self.nodes) < NODES - 1 else self.best_count(end)
            self.nodes = [end, *self.nodes[: NODES - 2]]
        else:
            self.nodes = []
        if len(self.nodes) < NODES - 1:
            self.exponential = False
        elif method == Method.EXPONENTIAL or self.stiff_steps == _STIFF_STEPS:
            self.exponential = True
        elif self.stiff_steps == 0:
            self.exponential = False

    def first_step(self, state: Array) -> float:
        """It lasts rtol times the fastest mode's time."""
        p = self.problem
        gamma, _, slope, _ = self.evaluate(p.start_time, state)
        fastest = abs(gamma) * float(np.max(np.abs(slope)))
        horizon = float(p.times[-1]) - p.start_time
        return math.sqrt(p.rtol * (1 / fastest if fastest * horizon > 1 else horizon))

    def describe(self, t: float, y: Array) -> Array:
        """The statistics."""
        p, (e, v, _) = self.problem, self.parts(y)
        gamma = (
            self.evaluate(t, y)[0]
            if depends_on_state(p)
            else self.learning_rate(p, self.constants, self.iterate, t, None)
        )
        return self.statistics(p, self.constants, self.iterate, gamma, p.teacher + e, e, v)

    def record(self, output: int, y: Array, bound: Array) -> None:
        """Output number ``output`` from the state at it."""
        p = self.problem
        self.time = float(p.times[output])
        if self.mean is not None and self.variance is not None:
            e, self.variance[output], _ = self.parts(y)
            self.mean[output] = p.teacher + e
        found = self.values[output] = self.describe(self.time, y)
        if np.any(~np.isnan(bound) & ~(np.isfinite(found) & (found <= bound))):
            raise _Stopped(Status.DIVERGED)
        if p.progress is not None:
            p.progress[0] = self.iterate * p.times_count + output + 1

    def run(self) -> Array:
        """The state at the last output time; `_Stopped` on trouble."""
        p = self.problem
        clocks = np.sqrt(p.times - p.start_time)
        finish = float(clocks[-1])
        begun = 0.0 if p.start_auxiliary is None else p.start_auxiliary[self.iterate]
        state = np.concatenate([p.start_mean[self.iterate] - p.teacher, p.start_variance[self.iterate], [begun]])
        slopes = np.zeros((7, len(state)))  # dy/ds = 0 at s = 0
        self.time = p.start_time
        scale, _, norm2 = self.judge(state)
        self.peak = scale
        if not math.isfinite(norm2):
            raise _Stopped(Status.DIVERGED)
        norm2_bound = 1e6 * max(norm2, 1.0)
        first = self.first_step(state)
        if self.missing:
            raise _Stopped(Status.NO_STEP)
        bound = 1e6 * np.maximum(self.describe(p.start_time, state), 1)  # NaN stays
        bound[self.judged :] = np.nan

        s, h, last_error, growth, output = 0.0, first, 1.0, 10.0, 0
        hopeless, length_before = 0, 0.0
        while output < len(clocks) and clocks[output] <= 0:
            self.record(output, state, bound)
            output += 1
        while s < finish:
            self.time = p.start_time + s * s
            if p.cancel is not None and p.cancel[0]:
                raise _Stopped(Status.CANCELLED)
            end = finish if s + 1.01 * h >= finish else s + h  # no sliver at the end
            left = p.max_steps - (self.accepted + self.rejected)
            if not end > s or left < 1:
                raise _Stopped(Status.NO_STEP if self.missing else Status.NO_PROGRESS)
            h = end - s
            # steps of this length in time that are needed, against those left
            length = h * (s + end)
            length_before = length if hopeless == 0 else length_before
            hopeless = hopeless + 1 if (finish - s) * (finish + s) > left * length else 0
            if hopeless > _PATIENCE and length > 2 * length_before:
                hopeless = 0
            if hopeless > _PATIENCE:
                raise _Stopped(Status.NO_STEP if self.missing else Status.NO_PROGRESS)

            trial = self.attempt(s, h, state, slopes, scale)
            if growth == 1:
                trial = trial._replace(error=_CAUTION * trial.error)
            power = 1 / (self.used + 1) if self.exponential else 0.2
            if not trial.error <= 1:
                kept = max(0.1, 0.95 * trial.error**-power) if math.isfinite(trial.error) else 0.1
            else:
                kept = 0.5 if np.any(self.parts(trial.state)[1] < 0) else 1.0
            if kept < 1:
                self.rejected += 1
                h *= kept
                growth = 1.0
                continue
            while output < len(clocks) and clocks[output] <= end:
                theta = (clocks[output] - s) / h
                y = self.interpolate(s, h, theta, state, slopes, trial) if theta < 1 else trial.state
                self.record(output, y, bound)
                output += 1

            self.accepted += 1
            start, s = s, end
            self.time = p.start_time + s * s
            if trial.norm2 > norm2_bound:
                raise _Stopped(Status.DIVERGED)
            longer, limit = growth, growth
            if self.exponential:
                limit = min(growth, 2.0)
                longer = 0.95 * trial.error**-power if trial.error > 0 else limit
            elif trial.error > 0:
                longer = 0.95 * trial.error**-0.17 * last_error**0.04
            self.before = _Start(start, state, slopes[0].copy())
            self.move_on(start, s, trial, slopes)
            state, scale = trial.state, trial.scale
            self.peak = np.maximum(self.peak, scale)
            h *= min(limit, max(0.2, longer))
            last_error = max(trial.error, 1e-4)
            growth = 10.0
        self.time = float(p.times[-1])
        return state


def _dense_of_one(h: float, theta: float, state: Array, slopes: Array) -> Array:
    """The state at the fraction ``theta`` of an explicit step, to order 4."""
    total = np.append(_WEIGHTS[6], 0.0)
    first, last = np.eye(7)[[0, 6]]
    rest = 1 - theta
    inner = 2 * total - first - last + rest * _DENSE
    weights = h * theta * (total + rest * (first - total + theta * inner))
    y: Array = state + np.tensordot(weights, slopes, 1)
    return y


def _dense_of_two(before: float, h: float, theta: float, states: Sequence[Array], slopes: Sequence[Array]) -> Array:
    """The same to order 5, by Hermite's polynomial through the ends of this step and of the one before."""
    places = [-before / h, 0.0, 1.0]
    y = np.zeros_like(states[0])
    for i, here in enumerate(places):
        a, b = places[(i + 1) % 3], places[(i + 2) % 3]
        of_a, of_b = 1 / (here - a), 1 / (here - b)
        lagrange = (theta - a) * of_a * (theta - b) * of_b
        y += (1 - 2 * (of_a + of_b) * (theta - here)) * lagrange * lagrange * states[i]
        y += h * (theta - here) * lagrange * lagrange * slopes[i]
    return y


def _can_be_solved(p: Problem) -> bool:
    times = np.concatenate([[p.start_time], p.times])
    return bool(
        min(p.iterates, p.classes, p.modes, p.times_count, p.max_steps) >= 1
        and 0 < p.rtol < 1
        and (p.step_kind != StepKind.POLYAK or p.reference is not None)
        and np.all(np.isfinite(times))
        and np.all(np.diff(times) >= 0)
        and np.all(p.eigenvalues >= 0)
        and np.all(p.start_variance >= 0)
    )


def solve(
    problem: Problem,
    constants: Constants,
    rates: Rates,
    learning_rate: LearningRate,
    statistics: Statistics,
    n_statistics: int,
    n_judged: int | None = None,
    *,
    resolution: float = 0.0,
    modes: bool = False,
) -> Solution:
    """Solve the mode equations of each iterate from ``start_time`` to the last output time.

    At the first trouble it stops: what was computed until then stays, the rest is NaN, and the outcome tells
    the status, the iterate and the time.

    Parameters
    ----------
    problem : Problem
        ``start_mean`` and ``start_variance`` hold the state at ``start_time``.
    constants, rates, learning_rate, statistics : callable
        What depends on the loss: ``constants(problem) -> k``;
        ``rates(problem, k, iterate, x, e, v) -> (offset, slope, noise)``, of
        ``dx/dt = γ (offset + slope (x − X*))`` and ``dv/dt = 2 γ slope v + γ² noise``;
        ``learning_rate(problem, k, iterate, t, point) -> γ``, as in ``steps.py``;
        ``statistics(problem, k, iterate, gamma, x, e, v) -> array [S]``; ``e = x − X*``.
    n_statistics : int
        S, how many numbers ``statistics`` returns.
    n_judged : int, optional
        How many of them, from the first, tell a divergence (a learning rate or a ridge may be large without one); all
        unless given.
    resolution : float
        How well the rates know ``e = x − X*``, in units of ``X*``; 0 where they are exact at the teacher.
    modes : bool
        Whether to keep ``x`` and ``v`` at all output times.

    Returns
    -------
    Solution
        A failed solve returns too: look at ``outcome.status``.

    Examples
    --------
    One isotropic class and noiseless labels, ``f = (r − y)²/2``: the risk decays at the rate ``2γ − γ²``.

    >>> problem = Problem(
    ...     dimension=np.inf,
    ...     weights=np.ones(1),
    ...     probabilities=np.ones(1),
    ...     eigenvalues=np.ones((1, 1)),
    ...     means=np.zeros((1, 1)),
    ...     labels=np.zeros(1),
    ...     teacher=np.ones(1),
    ...     parameters=np.empty((1, 0, 1)),
    ...     start_mean=np.zeros((1, 1)),
    ...     start_variance=np.zeros((1, 1)),
    ...     step_arguments=np.full((1, 1), 0.5),
    ...     times=np.array([0.0, 40.0]),
    ... )
    >>> def risk(e, v):
    ...     return e**2 + v
    >>> solution = solve(
    ...     problem,
    ...     constants=lambda p: np.empty(0),
    ...     rates=lambda p, k, m, x, e, v: (0 * x, -np.ones(1), risk(e, v)),
    ...     learning_rate=lambda p, k, m, t, at: p.step_arguments[m, 0],
    ...     statistics=lambda p, k, m, gamma, x, e, v: risk(e, v),
    ...     n_statistics=1,
    ... )
    >>> bool(abs(solution.statistics[0, 1, 0] / np.exp(-0.75 * 40) - 1) < 1e-7)
    True
    """
    M, N, T = problem.iterates, problem.modes, problem.times_count
    values = np.full((M, T, n_statistics), np.nan)
    mean, variance = (np.full((M, T, N), np.nan) if modes else None for _ in range(2))
    final_mean, final_variance = np.full((M, N), np.nan), np.full((M, N), np.nan)
    final_auxiliary = np.full(M, np.nan)
    outcome = Outcome(Status.BAD_PROBLEM, 0, 0, 0.0, accepted=0, rejected=0, evaluations=0)
    if not _can_be_solved(problem):
        return Solution(values, mean, variance, final_mean, final_variance, final_auxiliary, outcome)

    if problem.reference is None:
        problem = replace(problem, reference=np.full(N, np.nan))
    k = constants(problem)
    weightings = np.concatenate([np.ones((1, N)), problem.eigenvalues])
    for m in range(M):
        here = _Integration(
            problem=problem,
            constants=k,
            rates=rates,
            learning_rate=learning_rate,
            statistics=statistics,
            iterate=m,
            judged=n_statistics if n_judged is None else n_judged,
            resolution=resolution,
            weightings=weightings,
            teacher2=weightings @ problem.teacher**2,
            values=values[m],
            mean=None if mean is None else mean[m],
            variance=None if variance is None else variance[m],
        )
        status = Status.OK
        try:
            with np.errstate(all="ignore"):  # a step that overflows is no accident: it is rejected
                e, final_variance[m], final_auxiliary[m] = here.parts(here.run())
            final_mean[m] = problem.teacher + e
        except _Stopped as stopped:
            status = stopped.status
        outcome = Outcome(
            status,
            iterate=m,
            run=0,
            time=here.time,
            accepted=outcome.accepted + here.accepted,
            rejected=outcome.rejected + here.rejected,
            evaluations=outcome.evaluations + here.evaluations,
        )
        if status != Status.OK:
            break
    return Solution(values, mean, variance, final_mean, final_variance, final_auxiliary, outcome)
