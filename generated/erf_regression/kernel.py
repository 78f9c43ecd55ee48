"""The high-dimensional limit of streaming SGD on one model, its statistics, and the SGD itself.

    loss       (erf(r/sqrt(2)) - y)**2/2
    target     Teacher('erf(r_star/sqrt(2))')
    adversary  none

Written by sgdlimit, generator format 24. To write it again: sgdlimit generate SPEC --out DIRECTORY
The mathematics is arXiv 2607.00207, in the notation of docs/theory.md.
"""


from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Callable, Sequence
from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import dataclass, field, replace
from enum import IntEnum
from scipy.special import erfc
from scipy.special import erfcx
from typing import Any, NamedTuple
from typing import NamedTuple
import numpy as np
from numpy.typing import ArrayLike, NDArray
from numpy.typing import NDArray
from scipy.special import erf


PARAMETERS = ('tau',)
SCHEDULE_PARAMETERS = ()
STATISTICS = ('adversarial_risk', 'clean_risk', 'norm2', 'overlap', 'cosine', 'distance2', 'optimum_distance2', 'learning_rate', 'effective_ridge')
DESCENTS = ('polyak', 'line_search')
COEFFICIENTS = ('R', 'A', 'B', 'D', 'F', 'I')
SCORE = ('m_star', 'Q_star', 'm', 'dm', 'beta', 'beta1', 'Q_perp')
POSITIVE = ()


# ---- The problem ------------------------------------------------------------------------------------------------


Array = NDArray[np.float64]


class Status(IntEnum):
    """How a call ended; the numbers are those of the C interface.

    Examples
    --------
    >>> Status(1).name
    'DIVERGED'
    """

    OK = 0
    DIVERGED = 1
    CANCELLED = 2
    NO_PROGRESS = 3  # step size underflow or max_steps
    BAD_PROBLEM = 4
    OUT_OF_MEMORY = 5
    NO_STEP = 6  # a greedy learning rate does not exist


class StepKind(IntEnum):
    """How ``step_arguments`` are read; the numbers are those of the C interface."""

    CONSTANT = 0
    SCHEDULE = 1
    TABLE = 2  # the horizon, then γ at equal steps of √t up to it
    LINE_SEARCH = 3  # from here on γ depends on the state: of the limit in a solve, of the iterate in a simulation
    POLYAK = 4
    GREEDY = 5  # the statistic is the kernel's
    ADAGRAD_NORM = 6


class Method(IntEnum):
    """How a solve steps; the numbers are those of the C interface.

    Examples
    --------
    >>> Method["EXPONENTIAL"].value
    2
    """

    AUTO = 0  # explicit, and exponential where the fastest mode would limit the steps of that
    EXPLICIT = 1
    EXPONENTIAL = 2  # but for the first steps


LANES = 8
"""Runs of a simulation in lumps that advance together in C: one costs as much as so many."""
SUMMARY = ("norm2", "overlap", "distance2", "reference_distance2", "learning_rate")
CLASS_SUMMARY = ("m", "c", "Q")


def summary_size(classes: int) -> int:
    """How many numbers a simulation tells of an iterate: `SUMMARY`, then `CLASS_SUMMARY` of each class.

    Examples
    --------
    >>> summary_size(2)
    11
    """
    return len(SUMMARY) + len(CLASS_SUMMARY) * classes


@dataclass(eq=False)
class Trouble(Exception):
    """A kernel stopped before its end.

    Parameters
    ----------
    status : Status
        Why.
    iterate, run : int
        Where it was met first; ``run`` is 0 in a solve.
    time : float
        When it was met, ``t = k/d``.
    curve : array, optional
        What had been computed until then, shaped as the whole answer, NaN where nothing had.

    Examples
    --------
    >>> str(Trouble(Status.DIVERGED, iterate=0, run=3, time=1.5))
    'DIVERGED at t = 1.5 (iterate 0, run 3)'
    """

    status: Status
    iterate: int
    run: int
    time: float
    curve: Array | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.status.name} at t = {self.time:.6g} (iterate {self.iterate}, run {self.run})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What a verb reads: the fields of the C struct ``sgdlimit_problem`` under the same names.

    The counts M (``iterates``), K (``classes``), N (``modes``) and T (``times_count``) are read off the
    arrays' shapes. What a verb computes it returns: those fields of the struct are not here.

    Parameters
    ----------
    dimension : float
        The dimension d; ``inf`` is allowed in a solve.
    weights : array [N]
        Share of the dimension of each mode, ω.
    probabilities : array [K]
        Class probabilities.
    eigenvalues, means : array [K, N]
        Covariance eigenvalues and mean of each class in the common eigenbasis.
    labels : array [K]
        Labels of the classes; zeros when the target is not `Labels`.
    teacher : array [N]
        Teacher direction X*; zeros when absent.
    reference : array [N], optional
        The point X° of Polyak's learning rate and of ``optimum_distance2``, which is NaN without one.
    parameters : array [M, P, K]
        The loss's parameters, in the order of the kernel's parameter names.
    start_mean, start_variance : array [M, N]
        Mean and variance of each iterate's modes at ``start_time``; a simulation reads the mean alone.
    start_auxiliary : array [M], optional
        The integral of ``Σ_j G_j`` up to ``start_time``; zeros unless given.
    step_kind : int
        How ``step_arguments`` are read, a `StepKind`.
    step_arguments : array [M, count]
        Arguments of the learning rate.
    start_time : float
        Time at the start.
    times : array [T]
        Output times: increasing, none before ``start_time``.
    rtol : float
        Relative tolerance of a solve.
    max_steps : int
        Bound on the number of steps of a solve.
    method : int
        How a solve steps, a `Method`.
    first_run, runs : int
        A simulation makes the runs ``first_run .. first_run + runs - 1``.
    seed : int
        Seed of a simulation.
    cancel : int32 array [1], optional
        A nonzero value, written by another thread, asks the verb to stop.
    progress : int64 array [1], optional
        Written by the verb: output times done (solve), steps done over all runs (simulate).
    """

    dimension: float
    weights: Array
    probabilities: Array
    eigenvalues: Array
    means: Array
    labels: Array
    teacher: Array
    parameters: Array
    start_mean: Array
    start_variance: Array
    step_arguments: Array
    times: Array
    reference: Array | None = None
    start_auxiliary: Array | None = None
    step_kind: int = StepKind.CONSTANT
    start_time: float = 0.0
    rtol: float = 1e-8
    max_steps: int = 1_000_000
    method: int = Method.AUTO
    first_run: int = 0
    runs: int = 1
    seed: int = 0
    cancel: NDArray[np.int32] | None = None
    progress: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        # A wrong shape would be broadcast into a wrong answer by NumPy, and read past its end by C.
        M, K, N = self.iterates, self.classes, self.modes
        shapes = {
            "weights": (N,),
            "probabilities": (K,),
            "eigenvalues": (K, N),
            "means": (K, N),
            "labels": (K,),
            "teacher": (N,),
            "reference": (N,),
            "parameters": (M, self.parameters.shape[1], K),
            "start_mean": (M, N),
            "start_variance": (M, N),
            "start_auxiliary": (M,),
            "step_arguments": (M, self.step_arguments_count),
            "times": (self.times_count,),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name}: has shape {array.shape}; give {shape}")

    @property
    def iterates(self) -> int:
        """M, the number of iterates."""
        return len(self.parameters)

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return len(self.probabilities)

    @property
    def modes(self) -> int:
        """N, the number of modes."""
        return len(self.weights)

    @property
    def times_count(self) -> int:
        """T, the number of output times."""
        return len(self.times)

    @property
    def step_arguments_count(self) -> int:
        """Number of arguments of the learning rate."""
        return int(self.step_arguments.shape[1])


# ---- Learning rates ---------------------------------------------------------------------------------------------


class Point(NamedTuple):
    """A state, and the rates at it.

    Parameters
    ----------
    x, e, v : array [N]
        ``e = x − X*``.
    offset, slope, noise : array [N]
        As ``rates`` returns them.
    accumulated : float
        The integral of ``Σ_j noise_j`` so far.
    """

    x: Array
    e: Array
    v: Array
    offset: Array
    slope: Array
    noise: Array
    accumulated: float = 0.0


LearningRate = Callable[[Problem, Array, int, float, Point | None], float]
"""``learning_rate(problem, k, iterate, t, point) -> γ``; the point is None where γ depends on the time alone."""


def depends_on_state(problem: Problem) -> bool:
    """Whether γ follows the state: of the limit in a solve, of the iterate in a simulation.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> depends_on_state(SimpleNamespace(step_kind=StepKind.POLYAK)), depends_on_state(SimpleNamespace(step_kind=0))
    (True, False)
    """
    return problem.step_kind >= StepKind.LINE_SEARCH


def steepest(first: float, second: float) -> float:
    """The γ that makes ``−γ first + γ² second`` least; NaN where it falls ever faster with γ.

    At rest any γ would do, and 0 is one.

    Examples
    --------
    >>> steepest(1.0, 2.0), steepest(-1.0, 2.0), steepest(0.0, 0.0), steepest(1.0, 0.0)
    (0.25, 0.0, 0.0, nan)
    """
    if second > 0:
        return float(first / (2 * second)) if first > 0 else 0.0
    return 0.0 if second == 0 and first <= 0 else math.nan


def from_table(arguments: Array, t: float) -> float:
    """γ at ``t`` from ``(horizon, γ_0, γ_1, …)``, which are at equal steps of ``√t`` up to the horizon.

    Examples
    --------
    >>> from_table(np.array([4.0, 1.0, 3.0]), 1.0)
    2.0
    """
    places = np.linspace(0, 1, len(arguments) - 1)
    return float(np.interp(math.sqrt(t / arguments[0]), places, arguments[1:]))


# ---- Tail moments -----------------------------------------------------------------------------------------------


def scaled_tail_moments(h: ArrayLike, order: int) -> NDArray[np.float64]:
    """``M_k(h)/φ(h)``, ``M_k(h) = ∫_h^∞ (z − h)^k φ(z) dz``, for ``k = 0 … max(order, 1)`` and ``h ≥ 0``.

    Parameters
    ----------
    h : array
        Distances of kinks from the mean, in standard deviations.
    order : int
        Largest order wanted, at most 8.

    Returns
    -------
    array [max(order, 1) + 1, *h.shape]
        To about 1e-12 relative.

    Examples
    --------
    >>> [f"{m:.6g}" for m in scaled_tail_moments(30.0, 2)]
    ['0.0332964', '0.00110743', '7.35559e-05']
    """
    h = np.asarray(h, dtype=float)
    count = max(order, 1)
    near = np.minimum(h, 3.0)
    forward = [math.sqrt(math.pi / 2) * erfcx(near / math.sqrt(2))]
    forward.append(1 - near * forward[0])
    for k in range(1, count):
        forward.append(k * forward[k - 1] - near * forward[k])
    backward = [np.zeros_like(h)] * (count + 1)
    far = np.clip(h, 3.0, 1e9)
    above, here = np.zeros_like(h), np.ones_like(h)
    for k in range(int((math.sqrt(order) + 7) ** 2) + 10 if np.any(h < 10) else order + 31, 0, -1):
        # of any size: the values are scaled in the end
        size = np.maximum(here, 1.0)
        backward = [m / size for m in backward]
        above, here = here / size, (above / size + far * here / size) / k
        if k <= count:
            backward[k] = above
        if k - 1 <= count:
            backward[k - 1] = here
    scale = 1 / (above + far * here)
    asymptotic = [1 / np.maximum(h, 1e9)]
    for k in range(count):
        asymptotic.append((k + 1) * asymptotic[k] / np.maximum(h, 1e9))
    return np.where(h < 3, forward, np.where(h > 1e9, asymptotic, np.array(backward) * scale))


def tail_moments(h: ArrayLike, order: int) -> NDArray[np.float64]:
    """``M_k(h) = ∫_h^∞ (z − h)^k φ(z) dz`` for ``k = 0 … max(order, 1)`` and ``h ≥ 0``.

    Parameters
    ----------
    h : array
        Distances of kinks from the mean, in standard deviations.
    order : int
        Largest order wanted, at most 8.

    Returns
    -------
    array [max(order, 1) + 1, *h.shape]
        To about 1e-12 relative, in the far tail too.

    Examples
    --------
    >>> [f"{m:.6g}" for m in tail_moments(0.0, 2)]
    ['0.5', '0.398942', '0.5']
    >>> f"{tail_moments(20.0, 1)[1]:.6g}"
    '1.35896e-90'
    """
    density = np.exp(-0.5 * np.square(h)) / math.sqrt(2 * math.pi)
    return scaled_tail_moments(h, order) * density


TAIL_NODES, TAIL_WEIGHTS = np.polynomial.legendre.leggauss(16)


def bivariate_tail(j: int, k: int, h1: float, h2: float, rho: float, rho_perp: float) -> float:
    """``E[(x − h1)_+^j (y − h2)_+^k]`` for standard normal ``x, y`` with correlation ``rho``.

    Parameters
    ----------
    j, k : int
        Powers; 0 is the indicator.
    h1, h2 : float
        At least 0.
    rho, rho_perp : float
        The correlation and ``sqrt(1 − rho²)``, in any common unit; both 0 are taken as independence.

    Returns
    -------
    float
        To about 1e-12 relative, in the far tail too.

    Examples
    --------
    >>> f"{bivariate_tail(0, 0, 0.0, 0.0, 0.5, math.sqrt(0.75)):.6g}"
    '0.333333'
    >>> f"{bivariate_tail(1, 1, 20.0, 20.0, 1.0, 0.0):.6g}"
    '1.35991e-91'
    """
    if j < k:
        return bivariate_tail(k, j, h2, h1, rho, rho_perp)
    if not (h1 < 40 and h2 < 40):
        return 0.0 if h1 == h1 and h2 == h2 else math.nan
    size = math.hypot(rho, rho_perp)
    end, end_sign = (rho_perp / (size + abs(rho)) if size > 0 else 1.0), (1 if rho > 0 else -1)
    n = j - k
    value = _tail_half((h1, h2, n, k, -1), 0.0, 1.0 if rho > 0 else end, end, end_sign)
    if rho > 0:
        value += _tail_half((h1, h2, n, k, 1), end, 1.0, end, end_sign)
    value *= math.factorial(j) / math.factorial(n)
    return value / math.pi if n == 0 else math.sqrt(2 / math.pi) * n * math.exp(-0.5 * h2 * h2) * value


def _tail_fall(p: tuple[float, float, int, int, int], t: float) -> float:
    h1, h2, n, _, sign = p
    apart = h1 - sign * h2
    if n > 0:
        v = h1 * t if apart == 0 else (apart + (h1 + sign * h2) * t * t) / (2 * t) if t > 0 else apart * math.inf
        return max(3 * v, -27.0) if v < 0 else 0.5 * v * v
    first = 0.0 if apart == 0 else apart * (1 + t * t) / t if t > 0 else math.inf
    return 0.125 * first * first + 0.5 * sign * h1 * h2 * (1 + t * t)


def _tail_march(
    p: tuple[float, float, int, int, int], start: float, to: float, least: float
) -> list[tuple[float, float]]:
    h1, h2, _, k, sign = p
    here, height = start, _tail_fall(p, start)
    panels: list[tuple[float, float]] = []
    while here != to and len(panels) < 400:
        following = to
        if h1 != sign * h2 and height > -27:
            following = max(following, here / 3)
            if here > 0:
                following = min(following, 3 * here)
        limit = 6 + 0.6 * max(height - least - 8 * k, 0)
        while abs((fall := _tail_fall(p, following)) - height) > limit:
            middle = 0.5 * (here + following)
            if middle in (here, following):
                break
            following = middle
        panels.append((min(here, following), max(here, following)))
        here, height = following, fall
        if height > least + 34 + 8 * (k + 1):
            break
    return panels


def _tail_half(p: tuple[float, float, int, int, int], start: float, to: float, end: float, end_sign: int) -> float:
    h1, h2, n, k, sign = p
    peak = to if sign < 0 or h1 + h2 == 0 else math.sqrt(abs(h1 - h2) / (h1 + h2))
    peak = min(max(peak, start), to)
    least = max(_tail_fall(p, peak if peak > 0 or h1 == sign * h2 else to), 0.0)
    panels = np.array(_tail_march(p, peak, to, least) + _tail_march(p, peak, start, least)).reshape(-1, 2)
    half, middle = (panels[:, 1] - panels[:, 0]) / 2, (panels[:, 1] + panels[:, 0]) / 2
    t = middle[:, None] + half[:, None] * TAIL_NODES
    t2, apart = t * t, h1 - sign * h2
    if n == 0:
        value = np.exp(-0.125 * np.square(apart * (1 + t2) / t) - 0.5 * sign * h1 * h2 * (1 + t2))
    else:
        value = _signed_tail_moment(n - 1, (apart + (h1 + sign * h2) * t2) / (2 * t)) * (2 * t / (1 + t2)) ** n
    if end_sign == sign:
        step = -sign * 2 * (end - t) * (end + t) / ((1 + t2) * (1 + end * end))
    else:
        step = (1 - t2) / (1 + t2) + (1 - end * end) / (1 + end * end)
    return float(np.sum(half[:, None] * TAIL_WEIGHTS * value * step**k / (1 + t2)))


def _signed_tail_moment(n: int, v: NDArray[np.float64]) -> NDArray[np.float64]:
    """``M_n(v)``, ``v`` of either sign."""
    below: NDArray[np.float64] = 0.5 * erfc(v / math.sqrt(2))
    if n == 0:
        return below
    if n == 1:
        tail = h = np.maximum(v, 6)
        for k in range(24, 1, -1):
            tail = h + k / tail
        density = np.exp(-0.5 * v * v) / math.sqrt(2 * math.pi)
        return np.where(v < 6, density - v * below, density / (h * tail + 1))
    here = np.exp(-0.5 * v * v) / math.sqrt(2 * math.pi) - v * below
    for k in range(1, n):
        below, here = here, k * below - v * here
    far = v >= 0
    here[far] = [tail_moments(float(h), n)[n] for h in v[far]]
    return here


# ---- This model -------------------------------------------------------------------------------------------------


def constants(problem):
    """What depends on the instance alone: m*, Q* of each class, ..."""
    x_star = problem.teacher
    teacher_norm2 = np.sum(x_star*x_star)
    k = [teacher_norm2]
    for i in range(problem.classes):
        lam = problem.eigenvalues[i]
        mu = problem.means[i]
        m_star = np.sum(mu*x_star)
        Q_star = np.sum(lam*(x_star*x_star))
        k += [m_star, Q_star]
    return np.array(k)


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def class_score(problem, k, i, x, e, v, n):
    """What the coefficients of class i are functions of, from the state."""
    lam = problem.eigenvalues[i]
    mu = problem.means[i]
    x_star = problem.teacher
    m_star = k[1 + 2 * i + 0]
    Q_star = k[1 + 2 * i + 1]
    m = np.sum(mu*x)
    dm = np.sum(e*mu)
    sum_beta = np.sum(lam*x*x_star)
    sum_beta1 = np.sum(e*lam*x_star)
    beta = np.where(Q_star > 0.0, sum_beta/Q_star, 0.0)
    beta1 = np.where(Q_star > 0.0, sum_beta1/Q_star, -1.0)
    Q_perp = np.sum((np.square(-beta1*x_star + e) + v)*lam)
    return m_star, Q_star, m, dm, beta, beta1, Q_perp


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def rate_coefficients(score, y, par):
    """What the mode equations need of one class."""
    m_star = score[0]
    Q_star = score[1]
    m = score[2]
    dm = score[3]
    beta = score[4]
    beta1 = score[5]
    Q_perp = score[6]
    area_1 = 2.0*Q_star + 1.0
    residual_9 = Q_star/area_1
    area_2 = Q_perp*Q_star + Q_perp + Q_star*(beta*beta) + Q_star + 1.0
    area_3 = 2.0*Q_perp + 2.0*Q_star*(beta*beta) + 1.0
    tilted_mean_2 = m_star/area_1
    tilted_mean_3 = -2.0*beta1*m_star*residual_9 + dm
    moment_1 = Q_perp + (beta1*beta1)*residual_9
    moment_2 = beta1*residual_9
    moment_3 = moment_1 + tilted_mean_3*tilted_mean_3
    moment_4 = moment_2 + tilted_mean_2*tilted_mean_3
    moment_5 = moment_1*tilted_mean_2 + moment_2*tilted_mean_3 + moment_4*tilted_mean_3
    moment_6 = 2.0*moment_1*moment_4 + moment_2*moment_3 + moment_5*tilted_mean_3
    moment_7 = 2.0*moment_1*tilted_mean_3 + moment_3*tilted_mean_3
    moment_8 = 3.0*moment_1*moment_3 + moment_7*tilted_mean_3
    moment_9 = residual_9 + tilted_mean_2*tilted_mean_2
    moment_10 = 2.0*moment_2*tilted_mean_2 + moment_9*tilted_mean_3
    moment_11 = moment_1*moment_9 + moment_10*tilted_mean_3 + 2.0*moment_2*moment_4
    moment_12 = 2.0*moment_1*moment_10 + moment_11*tilted_mean_3 + 2.0*moment_2*moment_5
    moment_13 = 3.0*moment_1*moment_11 + moment_12*tilted_mean_3 + 2.0*moment_2*moment_6
    moment_14 = 3.0*moment_1*moment_5 + moment_2*moment_7 + moment_6*tilted_mean_3
    moment_15 = 4.0*moment_1*moment_6 + moment_14*tilted_mean_3 + moment_2*moment_8
    moment_16 = moment_9*tilted_mean_2 + 2.0*residual_9*tilted_mean_2
    moment_17 = moment_16*tilted_mean_3 + 3.0*moment_2*moment_9
    moment_18 = moment_1*moment_16 + 3.0*moment_10*moment_2 + moment_17*tilted_mean_3
    moment_19 = 2.0*moment_1*moment_17 + 3.0*moment_11*moment_2 + moment_18*tilted_mean_3
    moment_20 = 3.0*moment_1*moment_18 + 3.0*moment_12*moment_2 + moment_19*tilted_mean_3
    moment_21 = 4.0*moment_1*moment_19 + 3.0*moment_13*moment_2 + moment_20*tilted_mean_3
    moment_22 = 4.0*moment_1*moment_7 + moment_8*tilted_mean_3
    moment_23 = 5.0*moment_1*moment_8 + moment_22*tilted_mean_3
    moment_24 = 4.0*moment_1*moment_12 + moment_13*tilted_mean_3 + 2.0*moment_14*moment_2
    moment_25 = 5.0*moment_1*moment_13 + 2.0*moment_15*moment_2 + moment_24*tilted_mean_3
    moment_26 = moment_16*tilted_mean_2 + 3.0*moment_9*residual_9
    moment_27 = 4.0*moment_16*moment_2 + moment_26*tilted_mean_3
    moment_28 = moment_1*moment_26 + 4.0*moment_17*moment_2 + moment_27*tilted_mean_3
    moment_29 = 2.0*moment_1*moment_27 + 4.0*moment_18*moment_2 + moment_28*tilted_mean_3
    moment_30 = 3.0*moment_1*moment_28 + 4.0*moment_19*moment_2 + moment_29*tilted_mean_3
    moment_31 = 4.0*moment_1*moment_29 + 4.0*moment_2*moment_20 + moment_30*tilted_mean_3
    moment_32 = 5.0*moment_1*moment_30 + 4.0*moment_2*moment_21 + moment_31*tilted_mean_3
    moment_33 = 5.0*moment_1*moment_14 + moment_15*tilted_mean_3 + moment_2*moment_22
    moment_35 = 5.0*moment_1*moment_20 + 3.0*moment_2*moment_24 + moment_21*tilted_mean_3
    moment_37 = 4.0*moment_16*residual_9 + moment_26*tilted_mean_2
    moment_38 = 5.0*moment_2*moment_26 + moment_37*tilted_mean_3
    moment_39 = moment_1*moment_37 + 5.0*moment_2*moment_27 + moment_38*tilted_mean_3
    moment_40 = 2.0*moment_1*moment_38 + 5.0*moment_2*moment_28 + moment_39*tilted_mean_3
    moment_41 = 3.0*moment_1*moment_39 + 5.0*moment_2*moment_29 + moment_40*tilted_mean_3
    moment_42 = 4.0*moment_1*moment_40 + 5.0*moment_2*moment_30 + moment_41*tilted_mean_3
    moment_43 = 5.0*moment_1*moment_41 + 5.0*moment_2*moment_31 + moment_42*tilted_mean_3
    near_1 = np.exp(-(m_star*m_star)/area_1)/np.sqrt(area_1)
    tilt_1 = Q_perp + Q_star*(beta*beta) + 1.0
    tilted_mean_4 = m/tilt_1
    tilted_mean_5 = (-Q_star*beta*m + m_star*(Q_perp + Q_star*(beta*beta) + 1.0))/tilt_1
    tilted_beta_1 = beta/(Q_perp + 1.0)
    tilted_variance_1 = Q_perp/(Q_perp + 1.0)
    tilted_variance_2 = Q_star*(Q_perp + 1.0)/tilt_1
    side_3 = np.where(tilted_mean_5 > 0, 1.0, -1.0)
    side_4 = np.where(tilted_mean_4 > 0, 1.0, -1.0)
    spread_3 = np.sqrt(tilted_variance_2 + 1.0)
    gap_3 = np.abs(tilted_mean_5)/spread_3
    residual_17 = tilted_beta_1*tilted_variance_2/(spread_3*spread_3)
    spread_4 = np.sqrt((tilted_beta_1*tilted_beta_1)*tilted_variance_2 + tilted_variance_1 + 1.0)
    gap_4 = np.abs(tilted_mean_4)/spread_4
    residual_19 = ((tilted_beta_1*tilted_beta_1)*tilted_variance_2 + tilted_variance_1)/(spread_4*spread_4)
    moment_45 = 6.0*moment_1*moment_22 + moment_23*tilted_mean_3
    moment_46 = 6.0*moment_1*moment_24 + 2.0*moment_2*moment_33 + moment_25*tilted_mean_3
    moment_47 = 6.0*moment_1*moment_31 + 4.0*moment_2*moment_35 + moment_32*tilted_mean_3
    moment_48 = 5.0*moment_26*residual_9 + moment_37*tilted_mean_2
    moment_49 = 6.0*moment_2*moment_37 + moment_48*tilted_mean_3
    moment_50 = moment_1*moment_48 + 6.0*moment_2*moment_38 + moment_49*tilted_mean_3
    moment_51 = 2.0*moment_1*moment_49 + 6.0*moment_2*moment_39 + moment_50*tilted_mean_3
    moment_52 = 3.0*moment_1*moment_50 + 6.0*moment_2*moment_40 + moment_51*tilted_mean_3
    moment_53 = 4.0*moment_1*moment_51 + 6.0*moment_2*moment_41 + moment_52*tilted_mean_3
    moment_54 = 5.0*moment_1*moment_52 + 6.0*moment_2*moment_42 + moment_53*tilted_mean_3
    moment_55 = 6.0*moment_1*moment_53 + 6.0*moment_2*moment_43 + moment_54*tilted_mean_3
    tilted_mean_7 = m/area_3
    tilted_mean_8 = (-2.0*Q_star*beta*m + m_star*(2.0*Q_perp + 2.0*Q_star*(beta*beta) + 1.0))/area_3
    tilted_beta_3 = beta/(2.0*Q_perp + 1.0)
    tilted_variance_3 = Q_perp/(2.0*Q_perp + 1.0)
    tilted_variance_4 = Q_star*(2.0*Q_perp + 1.0)/area_3
    given_1 = -residual_17*tilted_mean_5 + tilted_mean_4
    given_2 = -residual_19*tilted_mean_4 + tilted_mean_4
    side_5 = np.where(tilted_mean_8 > 0, 1.0, -1.0)
    side_6 = np.where(tilted_mean_7 > 0, 1.0, -1.0)
    spread_5 = np.sqrt(tilted_variance_4 + 1.0)
    gap_5 = np.abs(tilted_mean_8)/spread_5
    spread_6 = np.sqrt((tilted_beta_3*tilted_beta_3)*tilted_variance_4 + tilted_variance_3 + 1.0)
    gap_6 = np.abs(tilted_mean_7)/spread_6
    rho_4 = (side_5*side_5)*tilted_variance_4/(spread_5*spread_5)
    rho_perp_4 = np.sqrt(2.0*tilted_variance_4 + 1.0)/(spread_5*spread_5)
    rho_5 = side_5*side_6*tilted_beta_3*tilted_variance_4/(spread_5*spread_6)
    rho_perp_5 = np.sqrt((tilted_beta_3*tilted_beta_3)*tilted_variance_4 + tilted_variance_3*tilted_variance_4 + tilted_variance_3 + tilted_variance_4 + 1.0)/(spread_5*spread_6)
    rho_6 = (side_6*side_6)*((tilted_beta_3*tilted_beta_3)*tilted_variance_4 + tilted_variance_3)/(spread_6*spread_6)
    rho_perp_6 = np.sqrt(2.0*(tilted_beta_3*tilted_beta_3)*tilted_variance_4 + 2.0*tilted_variance_3 + 1.0)/(spread_6*spread_6)
    tilt_2 = 4.0*Q_star + 1.0
    tilted_mean_11 = m_star/tilt_2
    tilted_variance_5 = Q_star/tilt_2
    tilted_mean_12 = -4.0*beta1*m_star*tilted_variance_5 + dm
    moment_56 = Q_perp + (beta1*beta1)*tilted_variance_5
    moment_57 = beta1*tilted_variance_5
    moment_58 = moment_56 + tilted_mean_12*tilted_mean_12
    moment_59 = moment_57 + tilted_mean_11*tilted_mean_12
    moment_60 = moment_56*tilted_mean_11 + moment_57*tilted_mean_12 + moment_59*tilted_mean_12
    moment_61 = 2.0*moment_56*moment_59 + moment_57*moment_58 + moment_60*tilted_mean_12
    moment_62 = 2.0*moment_56*tilted_mean_12 + moment_58*tilted_mean_12
    moment_63 = 3.0*moment_56*moment_58 + moment_62*tilted_mean_12
    moment_64 = tilted_mean_11*tilted_mean_11 + tilted_variance_5
    moment_65 = 2.0*moment_57*tilted_mean_11 + moment_64*tilted_mean_12
    moment_66 = moment_56*moment_64 + 2.0*moment_57*moment_59 + moment_65*tilted_mean_12
    moment_67 = 2.0*moment_56*moment_65 + 2.0*moment_57*moment_60 + moment_66*tilted_mean_12
    moment_68 = 3.0*moment_56*moment_66 + 2.0*moment_57*moment_61 + moment_67*tilted_mean_12
    moment_69 = 3.0*moment_56*moment_60 + moment_57*moment_62 + moment_61*tilted_mean_12
    moment_70 = 4.0*moment_56*moment_61 + moment_57*moment_63 + moment_69*tilted_mean_12
    moment_71 = moment_64*tilted_mean_11 + 2.0*tilted_mean_11*tilted_variance_5
    moment_72 = 3.0*moment_57*moment_64 + moment_71*tilted_mean_12
    moment_73 = moment_56*moment_71 + 3.0*moment_57*moment_65 + moment_72*tilted_mean_12
    moment_74 = 2.0*moment_56*moment_72 + 3.0*moment_57*moment_66 + moment_73*tilted_mean_12
    moment_75 = 3.0*moment_56*moment_73 + 3.0*moment_57*moment_67 + moment_74*tilted_mean_12
    moment_76 = 4.0*moment_56*moment_74 + 3.0*moment_57*moment_68 + moment_75*tilted_mean_12
    moment_77 = 4.0*moment_56*moment_62 + moment_63*tilted_mean_12
    moment_78 = 5.0*moment_56*moment_63 + moment_77*tilted_mean_12
    moment_79 = 4.0*moment_56*moment_67 + 2.0*moment_57*moment_69 + moment_68*tilted_mean_12
    moment_80 = 5.0*moment_56*moment_68 + 2.0*moment_57*moment_70 + moment_79*tilted_mean_12
    moment_81 = 3.0*moment_64*tilted_variance_5 + moment_71*tilted_mean_11
    moment_82 = 4.0*moment_57*moment_71 + moment_81*tilted_mean_12
    moment_83 = moment_56*moment_81 + 4.0*moment_57*moment_72 + moment_82*tilted_mean_12
    moment_84 = 2.0*moment_56*moment_82 + 4.0*moment_57*moment_73 + moment_83*tilted_mean_12
    moment_85 = 3.0*moment_56*moment_83 + 4.0*moment_57*moment_74 + moment_84*tilted_mean_12
    moment_86 = 4.0*moment_56*moment_84 + 4.0*moment_57*moment_75 + moment_85*tilted_mean_12
    moment_87 = 5.0*moment_56*moment_85 + 4.0*moment_57*moment_76 + moment_86*tilted_mean_12
    moment_88 = 5.0*moment_56*moment_69 + moment_57*moment_77 + moment_70*tilted_mean_12
    moment_89 = 6.0*moment_56*moment_70 + moment_57*moment_78 + moment_88*tilted_mean_12
    moment_90 = 5.0*moment_56*moment_75 + 3.0*moment_57*moment_79 + moment_76*tilted_mean_12
    moment_91 = 6.0*moment_56*moment_76 + 3.0*moment_57*moment_80 + moment_90*tilted_mean_12
    moment_92 = 4.0*moment_71*tilted_variance_5 + moment_81*tilted_mean_11
    moment_93 = 5.0*moment_57*moment_81 + moment_92*tilted_mean_12
    moment_94 = moment_56*moment_92 + 5.0*moment_57*moment_82 + moment_93*tilted_mean_12
    moment_95 = 2.0*moment_56*moment_93 + 5.0*moment_57*moment_83 + moment_94*tilted_mean_12
    moment_96 = 3.0*moment_56*moment_94 + 5.0*moment_57*moment_84 + moment_95*tilted_mean_12
    moment_97 = 4.0*moment_56*moment_95 + 5.0*moment_57*moment_85 + moment_96*tilted_mean_12
    moment_98 = 5.0*moment_56*moment_96 + 5.0*moment_57*moment_86 + moment_97*tilted_mean_12
    moment_99 = 6.0*moment_56*moment_97 + 5.0*moment_57*moment_87 + moment_98*tilted_mean_12
    near_2 = np.exp(-2.0*(m_star*m_star)/tilt_2)/np.sqrt(tilt_2)
    tails_M0_1 = tail_moments(gap_3, 1)
    M0_1 = tails_M0_1[0]
    M1_1 = tails_M0_1[1]
    tails_M0_2 = tail_moments(gap_4, 1)
    M0_2 = tails_M0_2[0]
    M1_2 = tails_M0_2[1]
    tails_M0_3 = tail_moments(gap_5, 0)
    M0_3 = tails_M0_3[0]
    tails_M0_4 = tail_moments(gap_6, 0)
    M0_4 = tails_M0_4[0]
    c1 = beta1*beta1
    c2 = 1.5957691216057308*M0_1
    c3 = 1.5957691216057308*M0_2
    c4 = m*m
    c5 = np.exp(-0.5*c4/tilt_1)/np.sqrt(tilt_1)
    c6 = np.exp(-c4/area_3)/np.sqrt(area_3)
    c7 = c5*(side_3*(1.5957691216057308*M1_1*residual_17*side_3*spread_3 - c2*given_1) + side_4*(-1.5957691216057308*M1_2*residual_19*side_4*spread_4 + c3*given_2) - 0.7978845608028654*tilted_mean_4*(-side_3 + side_4)) + 0.6366197723675814*c6
    c8 = side_5*side_6
    c9 = 2.5464790894703255 - 2.5464790894703255*c8
    return np.where(np.where((-1.4142135623730951*(np.sqrt(Q_perp + c1*residual_9) + np.abs(tilted_mean_3))*(0.282842712474619*np.abs(tilted_mean_2) + 1.0) + 0.02) > 0, 1.0, -1.0) > 0, near_1*(0.7427230677621782*moment_12 + 0.6631455962162306*moment_14 - 0.3978873577297383*moment_20 + 0.14854461355243564*moment_22 - 0.5358216417427143*moment_24 + 0.16446010786162518*moment_31 - 0.24138499702270794*moment_33 + 0.2970892271048713*moment_35 - 0.05570423008216337*moment_43 - 0.03637827270671894*moment_45 + 0.2019752015904291*moment_46 - 0.12656607379212628*moment_47 - 0.954929658551372*moment_5 + 0.016041807756087864*moment_55 - 0.4244131815783876*moment_7 + 0.6366197723675814*tilted_mean_3), c5*(c2*side_3 - c3*side_4 - 0.7978845608028654*side_3 + 0.7978845608028654*side_4)), c7, 0.0, np.maximum(0.0, np.where(np.where((-(2.0*np.sqrt(Q_perp + c1*tilted_variance_5) + 2.0*np.abs(tilted_mean_12))*(0.4*np.abs(tilted_mean_11) + 1.0) + 0.02) > 0, 1.0, -1.0) > 0, near_2*(0.4052847345693511*moment_58 - 1.2158542037080533*moment_61 - 0.5403796460924681*moment_63 + 1.8575550334428592*moment_68 + 1.6549126661581837*moment_70 - 1.9251024892044177*moment_76 + 0.3692594248298532*moment_78 - 2.579187019162176*moment_80 + 1.5209435455644258*moment_87 - 1.1539357025932913*moment_89 + 2.7244140490495266*moment_91 - 0.9760607357545206*moment_99), c6*(-M0_3*c9 - M0_4*c9 - 5.092958178940651*c8*bivariate_tail(0, 0, gap_5, gap_6, rho_5, rho_perp_5) - 1.2732395447351628*c8 + 2.5464790894703255*bivariate_tail(0, 0, gap_5, gap_5, rho_4, rho_perp_4) + 2.5464790894703255*bivariate_tail(0, 0, gap_6, gap_6, rho_6, rho_perp_6) + 1.2732395447351628))), c7 - 0.6366197723675814*np.exp(-0.5*(-2.0*Q_star*beta*m*m_star + c4*(Q_star + 1.0) + (m_star*m_star)*(Q_perp + Q_star*(beta*beta) + 1.0))/area_2)/np.sqrt(area_2)


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def statistic_coefficients(score, y, par):
    """What the statistics need of one class."""
    m_star = score[0]
    Q_star = score[1]
    m = score[2]
    dm = score[3]
    beta = score[4]
    beta1 = score[5]
    Q_perp = score[6]
    side_1 = np.where(m_star > 0, 1.0, -1.0)
    side_2 = np.where(m > 0, 1.0, -1.0)
    spread_1 = np.sqrt(Q_star + 1.0)
    gap_1 = np.abs(m_star)/spread_1
    spread_2 = np.sqrt(Q_perp + Q_star*(beta*beta) + 1.0)
    gap_2 = np.abs(m)/spread_2
    area_1 = 2.0*Q_star + 1.0
    rho_1 = Q_star*(side_1*side_1)/(spread_1*spread_1)
    rho_perp_1 = np.sqrt(2.0*Q_star + 1.0)/(spread_1*spread_1)
    residual_9 = Q_star/area_1
    rho_2 = Q_star*beta*side_1*side_2/(spread_1*spread_2)
    rho_perp_2 = np.sqrt(Q_perp*Q_star + Q_perp + Q_star*(beta*beta) + Q_star + 1.0)/(spread_1*spread_2)
    area_3 = 2.0*Q_perp + 2.0*Q_star*(beta*beta) + 1.0
    rho_3 = (side_2*side_2)*(Q_perp + Q_star*(beta*beta))/(spread_2*spread_2)
    rho_perp_3 = np.sqrt(2.0*Q_perp + 2.0*Q_star*(beta*beta) + 1.0)/(spread_2*spread_2)
    tilted_mean_2 = m_star/area_1
    tilted_mean_3 = -2.0*beta1*m_star*residual_9 + dm
    moment_1 = Q_perp + (beta1*beta1)*residual_9
    moment_2 = beta1*residual_9
    moment_3 = moment_1 + tilted_mean_3*tilted_mean_3
    moment_4 = moment_2 + tilted_mean_2*tilted_mean_3
    moment_5 = moment_1*tilted_mean_2 + moment_2*tilted_mean_3 + moment_4*tilted_mean_3
    moment_6 = 2.0*moment_1*moment_4 + moment_2*moment_3 + moment_5*tilted_mean_3
    moment_7 = 2.0*moment_1*tilted_mean_3 + moment_3*tilted_mean_3
    moment_8 = 3.0*moment_1*moment_3 + moment_7*tilted_mean_3
    moment_9 = residual_9 + tilted_mean_2*tilted_mean_2
    moment_10 = 2.0*moment_2*tilted_mean_2 + moment_9*tilted_mean_3
    moment_11 = moment_1*moment_9 + moment_10*tilted_mean_3 + 2.0*moment_2*moment_4
    moment_12 = 2.0*moment_1*moment_10 + moment_11*tilted_mean_3 + 2.0*moment_2*moment_5
    moment_13 = 3.0*moment_1*moment_11 + moment_12*tilted_mean_3 + 2.0*moment_2*moment_6
    moment_14 = 3.0*moment_1*moment_5 + moment_2*moment_7 + moment_6*tilted_mean_3
    moment_15 = 4.0*moment_1*moment_6 + moment_14*tilted_mean_3 + moment_2*moment_8
    moment_16 = moment_9*tilted_mean_2 + 2.0*residual_9*tilted_mean_2
    moment_17 = moment_16*tilted_mean_3 + 3.0*moment_2*moment_9
    moment_18 = moment_1*moment_16 + 3.0*moment_10*moment_2 + moment_17*tilted_mean_3
    moment_19 = 2.0*moment_1*moment_17 + 3.0*moment_11*moment_2 + moment_18*tilted_mean_3
    moment_20 = 3.0*moment_1*moment_18 + 3.0*moment_12*moment_2 + moment_19*tilted_mean_3
    moment_21 = 4.0*moment_1*moment_19 + 3.0*moment_13*moment_2 + moment_20*tilted_mean_3
    moment_22 = 4.0*moment_1*moment_7 + moment_8*tilted_mean_3
    moment_23 = 5.0*moment_1*moment_8 + moment_22*tilted_mean_3
    moment_24 = 4.0*moment_1*moment_12 + moment_13*tilted_mean_3 + 2.0*moment_14*moment_2
    moment_25 = 5.0*moment_1*moment_13 + 2.0*moment_15*moment_2 + moment_24*tilted_mean_3
    moment_26 = moment_16*tilted_mean_2 + 3.0*moment_9*residual_9
    moment_27 = 4.0*moment_16*moment_2 + moment_26*tilted_mean_3
    moment_28 = moment_1*moment_26 + 4.0*moment_17*moment_2 + moment_27*tilted_mean_3
    moment_29 = 2.0*moment_1*moment_27 + 4.0*moment_18*moment_2 + moment_28*tilted_mean_3
    moment_30 = 3.0*moment_1*moment_28 + 4.0*moment_19*moment_2 + moment_29*tilted_mean_3
    moment_31 = 4.0*moment_1*moment_29 + 4.0*moment_2*moment_20 + moment_30*tilted_mean_3
    moment_32 = 5.0*moment_1*moment_30 + 4.0*moment_2*moment_21 + moment_31*tilted_mean_3
    moment_33 = 5.0*moment_1*moment_14 + moment_15*tilted_mean_3 + moment_2*moment_22
    moment_34 = 6.0*moment_1*moment_15 + moment_2*moment_23 + moment_33*tilted_mean_3
    moment_35 = 5.0*moment_1*moment_20 + 3.0*moment_2*moment_24 + moment_21*tilted_mean_3
    moment_36 = 6.0*moment_1*moment_21 + 3.0*moment_2*moment_25 + moment_35*tilted_mean_3
    moment_37 = 4.0*moment_16*residual_9 + moment_26*tilted_mean_2
    moment_38 = 5.0*moment_2*moment_26 + moment_37*tilted_mean_3
    moment_39 = moment_1*moment_37 + 5.0*moment_2*moment_27 + moment_38*tilted_mean_3
    moment_40 = 2.0*moment_1*moment_38 + 5.0*moment_2*moment_28 + moment_39*tilted_mean_3
    moment_41 = 3.0*moment_1*moment_39 + 5.0*moment_2*moment_29 + moment_40*tilted_mean_3
    moment_42 = 4.0*moment_1*moment_40 + 5.0*moment_2*moment_30 + moment_41*tilted_mean_3
    moment_43 = 5.0*moment_1*moment_41 + 5.0*moment_2*moment_31 + moment_42*tilted_mean_3
    moment_44 = 6.0*moment_1*moment_42 + 5.0*moment_2*moment_32 + moment_43*tilted_mean_3
    near_1 = np.exp(-(m_star*m_star)/area_1)/np.sqrt(area_1)
    tilt_1 = Q_perp + Q_star*(beta*beta) + 1.0
    tilted_mean_4 = m/tilt_1
    tilted_mean_5 = (-Q_star*beta*m + m_star*(Q_perp + Q_star*(beta*beta) + 1.0))/tilt_1
    tilted_beta_1 = beta/(Q_perp + 1.0)
    tilted_variance_1 = Q_perp/(Q_perp + 1.0)
    tilted_variance_2 = Q_star*(Q_perp + 1.0)/tilt_1
    side_3 = np.where(tilted_mean_5 > 0, 1.0, -1.0)
    side_4 = np.where(tilted_mean_4 > 0, 1.0, -1.0)
    spread_3 = np.sqrt(tilted_variance_2 + 1.0)
    gap_3 = np.abs(tilted_mean_5)/spread_3
    residual_17 = tilted_beta_1*tilted_variance_2/(spread_3*spread_3)
    spread_4 = np.sqrt((tilted_beta_1*tilted_beta_1)*tilted_variance_2 + tilted_variance_1 + 1.0)
    gap_4 = np.abs(tilted_mean_4)/spread_4
    residual_19 = ((tilted_beta_1*tilted_beta_1)*tilted_variance_2 + tilted_variance_1)/(spread_4*spread_4)
    given_1 = -residual_17*tilted_mean_5 + tilted_mean_4
    given_2 = -residual_19*tilted_mean_4 + tilted_mean_4
    tails_M0_1 = tail_moments(gap_1, 0)
    M0_1 = tails_M0_1[0]
    tails_M0_2 = tail_moments(gap_2, 0)
    M0_2 = tails_M0_2[0]
    tails_M0_3 = tail_moments(gap_3, 1)
    M0_3 = tails_M0_3[0]
    M1_3 = tails_M0_3[1]
    tails_M0_4 = tail_moments(gap_4, 1)
    M0_4 = tails_M0_4[0]
    M1_4 = tails_M0_4[1]
    c1 = side_1*side_2
    c2 = 2.0 - 2.0*c1
    c3 = np.where(np.where((-1.4142135623730951*(np.sqrt(Q_perp + (beta1*beta1)*residual_9) + np.abs(tilted_mean_3))*(0.282842712474619*np.abs(tilted_mean_2) + 1.0) + 0.02) > 0, 1.0, -1.0) > 0, near_1*(0.18568076694054456*moment_13 + 0.1326291192432461*moment_15 - 0.07957747154594767*moment_21 + 0.024757435592072607*moment_23 - 0.08930360695711904*moment_25 + 0.3183098861837907*moment_3 + 0.02741001797693753*moment_32 - 0.034483571003243986*moment_34 + 0.042441318157838755*moment_36 - 0.007957747154594767*moment_44 - 0.3183098861837907*moment_6 - 0.1061032953945969*moment_8), -M0_1*c2 - M0_2*c2 - 4.0*c1*bivariate_tail(0, 0, gap_1, gap_2, rho_2, rho_perp_2) + 2.0*bivariate_tail(0, 0, gap_1, gap_1, rho_1, rho_perp_1) + 2.0*bivariate_tail(0, 0, gap_2, gap_2, rho_3, rho_perp_3) + np.where(side_1 > 0, np.where(side_2 > 0, 0.0, 2.0), np.where(side_2 > 0, 2.0, 0.0)))
    c4 = m*m
    return c3, (side_3*(-1.5957691216057308*M0_3*given_1 + 1.5957691216057308*M1_3*residual_17*side_3*spread_3) + side_4*(1.5957691216057308*M0_4*given_2 - 1.5957691216057308*M1_4*residual_19*side_4*spread_4) - 0.7978845608028654*tilted_mean_4*(-side_3 + side_4))*np.exp(-0.5*c4/tilt_1)/np.sqrt(tilt_1) + 0.6366197723675814*np.exp(-c4/area_3)/np.sqrt(area_3), 0.0, c3


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def all_coefficients(score, y, par):
    """R, A, B, D, F, I of one class."""
    m_star = score[0]
    Q_star = score[1]
    m = score[2]
    dm = score[3]
    beta = score[4]
    beta1 = score[5]
    Q_perp = score[6]
    side_1 = np.where(m_star > 0, 1.0, -1.0)
    side_2 = np.where(m > 0, 1.0, -1.0)
    spread_1 = np.sqrt(Q_star + 1.0)
    gap_1 = np.abs(m_star)/spread_1
    spread_2 = np.sqrt(Q_perp + Q_star*(beta*beta) + 1.0)
    gap_2 = np.abs(m)/spread_2
    area_1 = 2.0*Q_star + 1.0
    rho_1 = Q_star*(side_1*side_1)/(spread_1*spread_1)
    rho_perp_1 = np.sqrt(2.0*Q_star + 1.0)/(spread_1*spread_1)
    residual_9 = Q_star/area_1
    area_2 = Q_perp*Q_star + Q_perp + Q_star*(beta*beta) + Q_star + 1.0
    rho_2 = Q_star*beta*side_1*side_2/(spread_1*spread_2)
    rho_perp_2 = np.sqrt(Q_perp*Q_star + Q_perp + Q_star*(beta*beta) + Q_star + 1.0)/(spread_1*spread_2)
    area_3 = 2.0*Q_perp + 2.0*Q_star*(beta*beta) + 1.0
    rho_3 = (side_2*side_2)*(Q_perp + Q_star*(beta*beta))/(spread_2*spread_2)
    rho_perp_3 = np.sqrt(2.0*Q_perp + 2.0*Q_star*(beta*beta) + 1.0)/(spread_2*spread_2)
    tilted_mean_2 = m_star/area_1
    tilted_mean_3 = -2.0*beta1*m_star*residual_9 + dm
    moment_1 = Q_perp + (beta1*beta1)*residual_9
    moment_2 = beta1*residual_9
    moment_3 = moment_1 + tilted_mean_3*tilted_mean_3
    moment_4 = moment_2 + tilted_mean_2*tilted_mean_3
    moment_5 = moment_1*tilted_mean_2 + moment_2*tilted_mean_3 + moment_4*tilted_mean_3
    moment_6 = 2.0*moment_1*moment_4 + moment_2*moment_3 + moment_5*tilted_mean_3
    moment_7 = 2.0*moment_1*tilted_mean_3 + moment_3*tilted_mean_3
    moment_8 = 3.0*moment_1*moment_3 + moment_7*tilted_mean_3
    moment_9 = residual_9 + tilted_mean_2*tilted_mean_2
    moment_10 = 2.0*moment_2*tilted_mean_2 + moment_9*tilted_mean_3
    moment_11 = moment_1*moment_9 + moment_10*tilted_mean_3 + 2.0*moment_2*moment_4
    moment_12 = 2.0*moment_1*moment_10 + moment_11*tilted_mean_3 + 2.0*moment_2*moment_5
    moment_13 = 3.0*moment_1*moment_11 + moment_12*tilted_mean_3 + 2.0*moment_2*moment_6
    moment_14 = 3.0*moment_1*moment_5 + moment_2*moment_7 + moment_6*tilted_mean_3
    moment_15 = 4.0*moment_1*moment_6 + moment_14*tilted_mean_3 + moment_2*moment_8
    moment_16 = moment_9*tilted_mean_2 + 2.0*residual_9*tilted_mean_2
    moment_17 = moment_16*tilted_mean_3 + 3.0*moment_2*moment_9
    moment_18 = moment_1*moment_16 + 3.0*moment_10*moment_2 + moment_17*tilted_mean_3
    moment_19 = 2.0*moment_1*moment_17 + 3.0*moment_11*moment_2 + moment_18*tilted_mean_3
    moment_20 = 3.0*moment_1*moment_18 + 3.0*moment_12*moment_2 + moment_19*tilted_mean_3
    moment_21 = 4.0*moment_1*moment_19 + 3.0*moment_13*moment_2 + moment_20*tilted_mean_3
    moment_22 = 4.0*moment_1*moment_7 + moment_8*tilted_mean_3
    moment_23 = 5.0*moment_1*moment_8 + moment_22*tilted_mean_3
    moment_24 = 4.0*moment_1*moment_12 + moment_13*tilted_mean_3 + 2.0*moment_14*moment_2
    moment_25 = 5.0*moment_1*moment_13 + 2.0*moment_15*moment_2 + moment_24*tilted_mean_3
    moment_26 = moment_16*tilted_mean_2 + 3.0*moment_9*residual_9
    moment_27 = 4.0*moment_16*moment_2 + moment_26*tilted_mean_3
    moment_28 = moment_1*moment_26 + 4.0*moment_17*moment_2 + moment_27*tilted_mean_3
    moment_29 = 2.0*moment_1*moment_27 + 4.0*moment_18*moment_2 + moment_28*tilted_mean_3
    moment_30 = 3.0*moment_1*moment_28 + 4.0*moment_19*moment_2 + moment_29*tilted_mean_3
    moment_31 = 4.0*moment_1*moment_29 + 4.0*moment_2*moment_20 + moment_30*tilted_mean_3
    moment_32 = 5.0*moment_1*moment_30 + 4.0*moment_2*moment_21 + moment_31*tilted_mean_3
    moment_33 = 5.0*moment_1*moment_14 + moment_15*tilted_mean_3 + moment_2*moment_22
    moment_34 = 6.0*moment_1*moment_15 + moment_2*moment_23 + moment_33*tilted_mean_3
    moment_35 = 5.0*moment_1*moment_20 + 3.0*moment_2*moment_24 + moment_21*tilted_mean_3
    moment_36 = 6.0*moment_1*moment_21 + 3.0*moment_2*moment_25 + moment_35*tilted_mean_3
    moment_37 = 4.0*moment_16*residual_9 + moment_26*tilted_mean_2
    moment_38 = 5.0*moment_2*moment_26 + moment_37*tilted_mean_3
    moment_39 = moment_1*moment_37 + 5.0*moment_2*moment_27 + moment_38*tilted_mean_3
    moment_40 = 2.0*moment_1*moment_38 + 5.0*moment_2*moment_28 + moment_39*tilted_mean_3
    moment_41 = 3.0*moment_1*moment_39 + 5.0*moment_2*moment_29 + moment_40*tilted_mean_3
    moment_42 = 4.0*moment_1*moment_40 + 5.0*moment_2*moment_30 + moment_41*tilted_mean_3
    moment_43 = 5.0*moment_1*moment_41 + 5.0*moment_2*moment_31 + moment_42*tilted_mean_3
    moment_44 = 6.0*moment_1*moment_42 + 5.0*moment_2*moment_32 + moment_43*tilted_mean_3
    near_1 = np.exp(-(m_star*m_star)/area_1)/np.sqrt(area_1)
    tilt_1 = Q_perp + Q_star*(beta*beta) + 1.0
    tilted_mean_4 = m/tilt_1
    tilted_mean_5 = (-Q_star*beta*m + m_star*(Q_perp + Q_star*(beta*beta) + 1.0))/tilt_1
    tilted_beta_1 = beta/(Q_perp + 1.0)
    tilted_variance_1 = Q_perp/(Q_perp + 1.0)
    tilted_variance_2 = Q_star*(Q_perp + 1.0)/tilt_1
    side_3 = np.where(tilted_mean_5 > 0, 1.0, -1.0)
    side_4 = np.where(tilted_mean_4 > 0, 1.0, -1.0)
    spread_3 = np.sqrt(tilted_variance_2 + 1.0)
    gap_3 = np.abs(tilted_mean_5)/spread_3
    residual_17 = tilted_beta_1*tilted_variance_2/(spread_3*spread_3)
    spread_4 = np.sqrt((tilted_beta_1*tilted_beta_1)*tilted_variance_2 + tilted_variance_1 + 1.0)
    gap_4 = np.abs(tilted_mean_4)/spread_4
    residual_19 = ((tilted_beta_1*tilted_beta_1)*tilted_variance_2 + tilted_variance_1)/(spread_4*spread_4)
    moment_45 = 6.0*moment_1*moment_22 + moment_23*tilted_mean_3
    moment_46 = 6.0*moment_1*moment_24 + 2.0*moment_2*moment_33 + moment_25*tilted_mean_3
    moment_47 = 6.0*moment_1*moment_31 + 4.0*moment_2*moment_35 + moment_32*tilted_mean_3
    moment_48 = 5.0*moment_26*residual_9 + moment_37*tilted_mean_2
    moment_49 = 6.0*moment_2*moment_37 + moment_48*tilted_mean_3
    moment_50 = moment_1*moment_48 + 6.0*moment_2*moment_38 + moment_49*tilted_mean_3
    moment_51 = 2.0*moment_1*moment_49 + 6.0*moment_2*moment_39 + moment_50*tilted_mean_3
    moment_52 = 3.0*moment_1*moment_50 + 6.0*moment_2*moment_40 + moment_51*tilted_mean_3
    moment_53 = 4.0*moment_1*moment_51 + 6.0*moment_2*moment_41 + moment_52*tilted_mean_3
    moment_54 = 5.0*moment_1*moment_52 + 6.0*moment_2*moment_42 + moment_53*tilted_mean_3
    moment_55 = 6.0*moment_1*moment_53 + 6.0*moment_2*moment_43 + moment_54*tilted_mean_3
    tilted_mean_7 = m/area_3
    tilted_mean_8 = (-2.0*Q_star*beta*m + m_star*(2.0*Q_perp + 2.0*Q_star*(beta*beta) + 1.0))/area_3
    tilted_beta_3 = beta/(2.0*Q_perp + 1.0)
    tilted_variance_3 = Q_perp/(2.0*Q_perp + 1.0)
    tilted_variance_4 = Q_star*(2.0*Q_perp + 1.0)/area_3
    given_1 = -residual_17*tilted_mean_5 + tilted_mean_4
    given_2 = -residual_19*tilted_mean_4 + tilted_mean_4
    side_5 = np.where(tilted_mean_8 > 0, 1.0, -1.0)
    side_6 = np.where(tilted_mean_7 > 0, 1.0, -1.0)
    spread_5 = np.sqrt(tilted_variance_4 + 1.0)
    gap_5 = np.abs(tilted_mean_8)/spread_5
    spread_6 = np.sqrt((tilted_beta_3*tilted_beta_3)*tilted_variance_4 + tilted_variance_3 + 1.0)
    gap_6 = np.abs(tilted_mean_7)/spread_6
    rho_4 = (side_5*side_5)*tilted_variance_4/(spread_5*spread_5)
    rho_perp_4 = np.sqrt(2.0*tilted_variance_4 + 1.0)/(spread_5*spread_5)
    rho_5 = side_5*side_6*tilted_beta_3*tilted_variance_4/(spread_5*spread_6)
    rho_perp_5 = np.sqrt((tilted_beta_3*tilted_beta_3)*tilted_variance_4 + tilted_variance_3*tilted_variance_4 + tilted_variance_3 + tilted_variance_4 + 1.0)/(spread_5*spread_6)
    rho_6 = (side_6*side_6)*((tilted_beta_3*tilted_beta_3)*tilted_variance_4 + tilted_variance_3)/(spread_6*spread_6)
    rho_perp_6 = np.sqrt(2.0*(tilted_beta_3*tilted_beta_3)*tilted_variance_4 + 2.0*tilted_variance_3 + 1.0)/(spread_6*spread_6)
    tilt_2 = 4.0*Q_star + 1.0
    tilted_mean_11 = m_star/tilt_2
    tilted_variance_5 = Q_star/tilt_2
    tilted_mean_12 = -4.0*beta1*m_star*tilted_variance_5 + dm
    moment_56 = Q_perp + (beta1*beta1)*tilted_variance_5
    moment_57 = beta1*tilted_variance_5
    moment_58 = moment_56 + tilted_mean_12*tilted_mean_12
    moment_59 = moment_57 + tilted_mean_11*tilted_mean_12
    moment_60 = moment_56*tilted_mean_11 + moment_57*tilted_mean_12 + moment_59*tilted_mean_12
    moment_61 = 2.0*moment_56*moment_59 + moment_57*moment_58 + moment_60*tilted_mean_12
    moment_62 = 2.0*moment_56*tilted_mean_12 + moment_58*tilted_mean_12
    moment_63 = 3.0*moment_56*moment_58 + moment_62*tilted_mean_12
    moment_64 = tilted_mean_11*tilted_mean_11 + tilted_variance_5
    moment_65 = 2.0*moment_57*tilted_mean_11 + moment_64*tilted_mean_12
    moment_66 = moment_56*moment_64 + 2.0*moment_57*moment_59 + moment_65*tilted_mean_12
    moment_67 = 2.0*moment_56*moment_65 + 2.0*moment_57*moment_60 + moment_66*tilted_mean_12
    moment_68 = 3.0*moment_56*moment_66 + 2.0*moment_57*moment_61 + moment_67*tilted_mean_12
    moment_69 = 3.0*moment_56*moment_60 + moment_57*moment_62 + moment_61*tilted_mean_12
    moment_70 = 4.0*moment_56*moment_61 + moment_57*moment_63 + moment_69*tilted_mean_12
    moment_71 = moment_64*tilted_mean_11 + 2.0*tilted_mean_11*tilted_variance_5
    moment_72 = 3.0*moment_57*moment_64 + moment_71*tilted_mean_12
    moment_73 = moment_56*moment_71 + 3.0*moment_57*moment_65 + moment_72*tilted_mean_12
    moment_74 = 2.0*moment_56*moment_72 + 3.0*moment_57*moment_66 + moment_73*tilted_mean_12
    moment_75 = 3.0*moment_56*moment_73 + 3.0*moment_57*moment_67 + moment_74*tilted_mean_12
    moment_76 = 4.0*moment_56*moment_74 + 3.0*moment_57*moment_68 + moment_75*tilted_mean_12
    moment_77 = 4.0*moment_56*moment_62 + moment_63*tilted_mean_12
    moment_78 = 5.0*moment_56*moment_63 + moment_77*tilted_mean_12
    moment_79 = 4.0*moment_56*moment_67 + 2.0*moment_57*moment_69 + moment_68*tilted_mean_12
    moment_80 = 5.0*moment_56*moment_68 + 2.0*moment_57*moment_70 + moment_79*tilted_mean_12
    moment_81 = 3.0*moment_64*tilted_variance_5 + moment_71*tilted_mean_11
    moment_82 = 4.0*moment_57*moment_71 + moment_81*tilted_mean_12
    moment_83 = moment_56*moment_81 + 4.0*moment_57*moment_72 + moment_82*tilted_mean_12
    moment_84 = 2.0*moment_56*moment_82 + 4.0*moment_57*moment_73 + moment_83*tilted_mean_12
    moment_85 = 3.0*moment_56*moment_83 + 4.0*moment_57*moment_74 + moment_84*tilted_mean_12
    moment_86 = 4.0*moment_56*moment_84 + 4.0*moment_57*moment_75 + moment_85*tilted_mean_12
    moment_87 = 5.0*moment_56*moment_85 + 4.0*moment_57*moment_76 + moment_86*tilted_mean_12
    moment_88 = 5.0*moment_56*moment_69 + moment_57*moment_77 + moment_70*tilted_mean_12
    moment_89 = 6.0*moment_56*moment_70 + moment_57*moment_78 + moment_88*tilted_mean_12
    moment_90 = 5.0*moment_56*moment_75 + 3.0*moment_57*moment_79 + moment_76*tilted_mean_12
    moment_91 = 6.0*moment_56*moment_76 + 3.0*moment_57*moment_80 + moment_90*tilted_mean_12
    moment_92 = 4.0*moment_71*tilted_variance_5 + moment_81*tilted_mean_11
    moment_93 = 5.0*moment_57*moment_81 + moment_92*tilted_mean_12
    moment_94 = moment_56*moment_92 + 5.0*moment_57*moment_82 + moment_93*tilted_mean_12
    moment_95 = 2.0*moment_56*moment_93 + 5.0*moment_57*moment_83 + moment_94*tilted_mean_12
    moment_96 = 3.0*moment_56*moment_94 + 5.0*moment_57*moment_84 + moment_95*tilted_mean_12
    moment_97 = 4.0*moment_56*moment_95 + 5.0*moment_57*moment_85 + moment_96*tilted_mean_12
    moment_98 = 5.0*moment_56*moment_96 + 5.0*moment_57*moment_86 + moment_97*tilted_mean_12
    moment_99 = 6.0*moment_56*moment_97 + 5.0*moment_57*moment_87 + moment_98*tilted_mean_12
    near_2 = np.exp(-2.0*(m_star*m_star)/tilt_2)/np.sqrt(tilt_2)
    tails_M0_1 = tail_moments(gap_1, 0)
    M0_1 = tails_M0_1[0]
    tails_M0_2 = tail_moments(gap_2, 0)
    M0_2 = tails_M0_2[0]
    tails_M0_3 = tail_moments(gap_3, 1)
    M0_3 = tails_M0_3[0]
    M1_3 = tails_M0_3[1]
    tails_M0_4 = tail_moments(gap_4, 1)
    M0_4 = tails_M0_4[0]
    M1_4 = tails_M0_4[1]
    tails_M0_5 = tail_moments(gap_5, 0)
    M0_5 = tails_M0_5[0]
    tails_M0_6 = tail_moments(gap_6, 0)
    M0_6 = tails_M0_6[0]
    c1 = beta1*beta1
    c2 = np.where((-1.4142135623730951*(np.sqrt(Q_perp + c1*residual_9) + np.abs(tilted_mean_3))*(0.282842712474619*np.abs(tilted_mean_2) + 1.0) + 0.02) > 0, 1.0, -1.0)
    c3 = side_1*side_2
    c4 = 2.0 - 2.0*c3
    c5 = 1.5957691216057308*M0_3
    c6 = 1.5957691216057308*M0_4
    c7 = m*m
    c8 = np.exp(-0.5*c7/tilt_1)/np.sqrt(tilt_1)
    c9 = np.exp(-c7/area_3)/np.sqrt(area_3)
    c10 = side_5*side_6
    c11 = 2.5464790894703255 - 2.5464790894703255*c10
    return np.where(c2 > 0, near_1*(0.18568076694054456*moment_13 + 0.1326291192432461*moment_15 - 0.07957747154594767*moment_21 + 0.024757435592072607*moment_23 - 0.08930360695711904*moment_25 + 0.3183098861837907*moment_3 + 0.02741001797693753*moment_32 - 0.034483571003243986*moment_34 + 0.042441318157838755*moment_36 - 0.007957747154594767*moment_44 - 0.3183098861837907*moment_6 - 0.1061032953945969*moment_8), -M0_1*c4 - M0_2*c4 - 4.0*c3*bivariate_tail(0, 0, gap_1, gap_2, rho_2, rho_perp_2) + 2.0*bivariate_tail(0, 0, gap_1, gap_1, rho_1, rho_perp_1) + 2.0*bivariate_tail(0, 0, gap_2, gap_2, rho_3, rho_perp_3) + np.where(side_1 > 0, np.where(side_2 > 0, 0.0, 2.0), np.where(side_2 > 0, 2.0, 0.0))), np.where(c2 > 0, near_1*(0.7427230677621782*moment_12 + 0.6631455962162306*moment_14 - 0.3978873577297383*moment_20 + 0.14854461355243564*moment_22 - 0.5358216417427143*moment_24 + 0.16446010786162518*moment_31 - 0.24138499702270794*moment_33 + 0.2970892271048713*moment_35 - 0.05570423008216337*moment_43 - 0.03637827270671894*moment_45 + 0.2019752015904291*moment_46 - 0.12656607379212628*moment_47 - 0.954929658551372*moment_5 + 0.016041807756087864*moment_55 - 0.4244131815783876*moment_7 + 0.6366197723675814*tilted_mean_3), c8*(c5*side_3 - c6*side_4 - 0.7978845608028654*side_3 + 0.7978845608028654*side_4)), c8*(side_3*(1.5957691216057308*M1_3*residual_17*side_3*spread_3 - c5*given_1) + side_4*(-1.5957691216057308*M1_4*residual_19*side_4*spread_4 + c6*given_2) - 0.7978845608028654*tilted_mean_4*(-side_3 + side_4)) + 0.6366197723675814*c9, -0.6366197723675814*np.exp(-0.5*(-2.0*Q_star*beta*m*m_star + c7*(Q_star + 1.0) + (m_star*m_star)*(Q_perp + Q_star*(beta*beta) + 1.0))/area_2)/np.sqrt(area_2), 0.0, np.maximum(0.0, np.where(np.where((-(2.0*np.sqrt(Q_perp + c1*tilted_variance_5) + 2.0*np.abs(tilted_mean_12))*(0.4*np.abs(tilted_mean_11) + 1.0) + 0.02) > 0, 1.0, -1.0) > 0, near_2*(0.4052847345693511*moment_58 - 1.2158542037080533*moment_61 - 0.5403796460924681*moment_63 + 1.8575550334428592*moment_68 + 1.6549126661581837*moment_70 - 1.9251024892044177*moment_76 + 0.3692594248298532*moment_78 - 2.579187019162176*moment_80 + 1.5209435455644258*moment_87 - 1.1539357025932913*moment_89 + 2.7244140490495266*moment_91 - 0.9760607357545206*moment_99), c9*(-M0_5*c11 - M0_6*c11 - 5.092958178940651*c10*bivariate_tail(0, 0, gap_5, gap_6, rho_5, rho_perp_5) - 1.2732395447351628*c10 + 2.5464790894703255*bivariate_tail(0, 0, gap_5, gap_5, rho_4, rho_perp_4) + 2.5464790894703255*bivariate_tail(0, 0, gap_6, gap_6, rho_6, rho_perp_6) + 1.2732395447351628)))


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def rates(problem, k, iterate, x, e, v):
    """dx_j/dt = gamma (offset_j + slope_j (x_j - x_star_j)), dv_j/dt = 2 gamma slope_j v_j + gamma^2 noise_j."""
    x_star = problem.teacher
    omega = problem.weights
    p_tau = problem.parameters[iterate, 0, 0]
    offset, slope, noise = np.zeros((3, problem.modes))
    norm2 = np.sum(v + x*x)
    n = np.sqrt(norm2)
    inverse_norm = np.where(n > 0.0, 1.0/n, 0.0)
    mean_F = 0.0
    for i in range(problem.classes):
        lam = problem.eigenvalues[i]
        mu = problem.means[i]
        par = problem.parameters[iterate, :, i]
        score = class_score(problem, k, i, x, e, v, n)
        probability = problem.probabilities[i]
        A, B, F, I, BD = rate_coefficients(score, problem.labels[i], par)
        w1 = BD*probability
        w2 = A*probability
        w3 = B*probability
        w4 = I*probability
        offset += -w1*lam*x_star - w2*mu
        slope += -w3*lam
        noise += w4*lam*omega
        mean_F += F*probability
    s1 = -p_tau
    s2 = -inverse_norm*mean_F
    offset[:] = s1*x_star + s2*x_star + offset
    slope[:] = s1 + s2 + slope
    return offset, slope, noise


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def statistics(problem, k, iterate, gamma, x, e, v):
    """The statistics, in the order of STATISTICS."""
    x_star = problem.teacher
    x_optimum = problem.reference
    teacher_norm2 = k[0]
    p_tau = problem.parameters[iterate, 0, 0]
    norm2 = np.sum(v + x*x)
    sum_overlap = np.sum(x*x_star)
    sum_distance2 = np.sum(e*e + v)
    sum_optimum_distance2 = np.sum((e + (x_star - x_optimum))*(e + (x_star - x_optimum)) + v)
    n = np.sqrt(norm2)
    inverse_norm = np.where(n > 0.0, 1.0/n, 0.0)
    mean_B = 0.0
    mean_F = 0.0
    mean_R = 0.0
    mean_clean_risk = 0.0
    for i in range(problem.classes):
        par = problem.parameters[iterate, :, i]
        score = class_score(problem, k, i, x, e, v, n)
        probability = problem.probabilities[i]
        R, B, F, clean_risk = statistic_coefficients(score, problem.labels[i], par)
        mean_B += B*probability
        mean_F += F*probability
        mean_R += R*probability
        mean_clean_risk += clean_risk*probability
    return np.array([
        mean_R,  # adversarial_risk
        mean_clean_risk,  # clean_risk
        norm2,  # norm2
        sum_overlap,  # overlap
        np.where(norm2*teacher_norm2 > 0.0, sum_overlap/(np.sqrt(norm2)*np.sqrt(teacher_norm2)), 0.0),  # cosine
        sum_distance2,  # distance2
        sum_optimum_distance2,  # optimum_distance2
        gamma,  # learning_rate
        np.where(mean_B*n > 0.0, (inverse_norm*mean_F + p_tau)/mean_B, np.nan),  # effective_ridge
    ])


def rate_at_time(problem, iterate, t):
    """A learning rate that depends on the time alone."""
    return problem.step_arguments[iterate, 0]


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def polyak_descent(problem, k, iterate, at):
    """How fast the statistic falls: dphi/dt = -gamma first + gamma^2 second."""
    x_star = problem.teacher
    x_optimum = problem.reference
    e = at.e
    v = at.v
    offset = at.offset
    slope = at.slope
    noise = at.noise
    first = np.sum(-2.0*(e*slope + offset)*(e + (x_star - x_optimum)) - 2.0*slope*v)
    second = np.sum(noise)
    return first, second


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def line_search_descent(problem, k, iterate, at):
    """How fast the statistic falls: dphi/dt = -gamma first + gamma^2 second."""
    e = at.e
    v = at.v
    offset = at.offset
    slope = at.slope
    noise = at.noise
    first = np.sum(np.square(e*slope + offset) + (slope*slope)*v)
    second = np.sum(-0.5*noise*slope)
    return first, second


def learning_rate(problem, k, iterate, t, at):
    """gamma at a time and a point of the state; the step of SGD is gamma/d."""
    arguments = problem.step_arguments[iterate]
    if problem.step_kind == StepKind.POLYAK:
        return steepest(*polyak_descent(problem, k, iterate, at))
    if problem.step_kind == StepKind.LINE_SEARCH:
        return steepest(*line_search_descent(problem, k, iterate, at))
    if problem.step_kind == StepKind.ADAGRAD_NORM:
        return arguments[0] / np.sqrt(arguments[1] ** 2 + at.accumulated)
    if problem.step_kind == StepKind.TABLE:
        return from_table(arguments, t)
    return rate_at_time(problem, iterate, t)


def gradient(r, n, y, par):
    """d f_adv/dr and d f_adv/dn at samples."""
    return 0.7978845608028654*(-y + erf(0.7071067811865476*r))*np.exp(-0.5*(r*r)), 0.0


def target(y, r_star, xi, uniform, par):
    """Labels of samples."""
    return erf(0.7071067811865476*r_star)


def ridge(par):
    """tau."""
    p_tau = par[0]
    return p_tau


# ---- The solver and the simulation ------------------------------------------------------------------------------


NODES = 4
_SERIES = [1 / ((k + 5) * math.factorial(k)) for k in range(18)]


class Node(NamedTuple):
    """The equation's coefficients at one place, where a polynomial goes through.

    Parameters
    ----------
    clock : float
        The place: t, from the start.
    decay, drive, spread : array [N]
        The coefficients.
    total : float
        Sum of the noise.
    fastest : float
        The largest ``|decay|``.
    """

    clock: float
    decay: Array
    drive: Array
    spread: Array
    total: float
    fastest: float


def interpolation_weights(nodes: list[Node], start: float, end: float) -> Array:
    """Coefficients ``[NODES, nodes]`` of ``(end − start) l_i(u)``, ``u = (end − t)/(end − start)``, in powers of u.

    ``l_i`` is 1 at node i and 0 at the others.

    Examples
    --------
    >>> nothing = np.empty(0)
    >>> nodes = [Node(t, nothing, nothing, nothing, 0.0, 0.0) for t in (2.0, 1.0)]
    >>> interpolation_weights(nodes, 1.0, 2.0).tolist()
    [[1.0, 0.0], [-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    """
    places = [(end - node.clock) / (end - start) for node in nodes]
    weights = np.zeros((NODES, len(nodes)))
    for i, place in enumerate(places):
        others = [other for k, other in enumerate(places) if k != i]
        polynomial = np.atleast_1d(np.poly(others))[::-1] / np.prod([place - other for other in others])
        weights[: len(nodes), i] = (end - start) * polynomial
    return weights


def integral(cubic: Array) -> Array:
    """Of polynomials over u from 0 to 1; their coefficients are the rows.

    Examples
    --------
    >>> float(integral(np.array([1.0, 2.0, 3.0, 4.0])))
    4.0
    """
    total: Array = 1 / np.arange(1, NODES + 1) @ cubic
    return total


def moments(z: Array, exp_z: Array) -> Array:
    """``g_k = ∫ u^k exp(z u) du`` over u from 0 to 1, for k from 0 to 4: ``[5, …]``.

    Examples
    --------
    >>> z = np.array([-1e3, 0.0])
    >>> moments(z, np.exp(z))[:2].tolist()
    [[0.001, 1.0], [1e-06, 0.5]]
    """
    far, near = np.empty((2, 5, *z.shape))
    with np.errstate(all="ignore"):
        far[0] = (exp_z - 1) / z
        for k in range(1, 5):
            far[k] = (exp_z - k * far[k - 1]) / z
        near[4] = np.polynomial.polynomial.polyval(z, _SERIES)
        for k in range(4, 0, -1):
            near[k - 1] = (exp_z - z * near[k]) / k
    found: Array = np.where(np.abs(z) > 1, far, near)
    return found


def doubled(g: Array, exp_z: Array) -> Array:
    """The moments of ``exp(2 z u)``, from the two halves of the step.

    Examples
    --------
    >>> z = np.array([-3.0])
    >>> bool(np.allclose(doubled(moments(z, np.exp(z)), np.exp(z)), moments(2 * z, np.exp(2 * z)), rtol=1e-13))
    True
    """
    binomial = np.array([[math.comb(k, l) for l in range(5)] for k in range(5)])
    halves: Array = (g + exp_z * (binomial @ g)) / 2.0 ** np.arange(1, 6)[:, np.newaxis]
    return halves


def driven(f: Array, x: Sequence[Array], g: Array, *, with_fourth: bool) -> Array:
    """``∫ f(u) (1 + x_1 u + x_2 u² + …) exp(z u) du`` over u from 0 to 1, with the terms in ``u⁴`` or without.

    Examples
    --------
    >>> one, none = np.ones(1), np.zeros(1)
    >>> f = np.array([one, none, none, none])
    >>> float(driven(f, [one, none, none, none], moments(none, one), with_fourth=True)[0])  # ∫ 1 + u
    1.5
    """
    total: Array = f[0] * g[0] + (f[1] + f[0] * x[0]) * g[1] + (f[2] + f[1] * x[0] + f[0] * x[1]) * g[2]
    total += (f[3] + f[2] * x[0] + f[1] * x[1] + f[0] * x[2]) * g[3]
    if with_fourth:
        total += (f[3] * x[0] + f[2] * x[1] + f[1] * x[2] + f[0] * x[3]) * g[4]
    return total


def propagate(
    nodes: list[Node], start: float, end: float, e: Array, v: Array, *, with_fourth: bool = True
) -> tuple[Array, Array]:
    """The state at the time ``end`` from that at ``start``.

    Parameters
    ----------
    nodes : list of Node
        One to four.
    start, end : float
        Times.
    e, v : array [N]
        The state at ``start``.
    with_fourth : bool
        With terms in ``u⁴``.

    Examples
    --------
    >>> node = Node(0.0, np.array([-1.0]), np.array([2.0]), np.array([1.0]), 0.0, 1.0)
    >>> e, v = propagate([node], 0.0, 50.0, np.zeros(1), np.zeros(1))  # to rest
    >>> bool(abs(e[0] - 2) < 1e-14 and abs(v[0] - 0.5) < 1e-14)
    True
    """
    weights = interpolation_weights(nodes, start, end)
    l, p, m = (weights @ np.array([node[k] for node in nodes]) for k in (1, 2, 3))
    z = integral(l)
    kept = np.exp(z)
    d1, d2, d3, d4 = l[0] - z, l[1] / 2, l[2] / 3, l[3] / 4
    half2 = d1 * d1 / 2
    x1, x2, x3 = d1, d2 + half2, d3 + d1 * (d2 + half2 / 3)
    x4 = d4 + d1 * d3 + d2 * (d2 / 2 + half2) + half2 * half2 / 6
    y1, y2, y3, y4 = 2 * x1, 2 * x2 + x1 * x1, 2 * (x3 + x1 * x2), 2 * (x4 + x1 * x3) + x2 * x2
    g = moments(z, kept)
    variance = kept * kept * v + driven(m, (y1, y2, y3, y4), doubled(g, kept), with_fourth=with_fourth)
    mean = kept * e + driven(p, (x1, x2, x3, x4), g, with_fourth=with_fourth)
    return mean, np.where(variance < 0, 0.0, variance)


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


def simulate_lumped(problem: Problem, sgd: Sgd) -> Array:
    """Simulate runs at a cost that does not grow with the dimension, exactly in law (``docs/theory.md`` §8).

    Parameters
    ----------
    problem : Problem
        Of one iterate; ``weights`` times ``dimension`` are the modes' numbers of coordinates. Where that is more than
        one, means, teacher and reference are 0, and ``start_mean`` is the norm of the start's part there.
    sgd : Sgd
        The model.

    Returns
    -------
    array [runs, 1, T, summary_size(K)]
        As `simulate` returns it.

    Raises
    ------
    Trouble
        As `simulate`.

    Examples
    --------
    Least squares without noise, half a billion coordinates, started at the teacher: it stays there.

    >>> import numpy as np
    >>> two, d = np.array([[1.0, 0.0]]), 5e8
    >>> problem = Problem(
    ...     dimension=d, weights=np.array([1 / d, 1 - 1 / d]), probabilities=np.ones(1), eigenvalues=np.ones((1, 2)),
    ...     means=0 * two, labels=np.ones(1), teacher=two[0], parameters=np.empty((1, 0, 1)), start_mean=two,
    ...     start_variance=0 * two, step_arguments=np.array([[0.5]]), times=np.array([10 / d]),
    ... )
    >>> sgd = Sgd(
    ...     gradient=lambda r, n, y, parameters: (r - y, 0 * n),
    ...     target=lambda label, r_star, xi, uniform, parameters: r_star,
    ...     ridge=lambda parameters: 0,
    ...     learning_rate=lambda problem, k, iterate, t, point: 0.5,
    ...     constants=lambda problem: np.empty(0),
    ...     rates=lambda problem, k, iterate, x, e, v: (0 * x, -1 + 0 * x, 0 * x),
    ... )
    >>> simulate_lumped(problem, sgd).tolist()
    [[[[1.0, 1.0, 0.0, nan, 0.5, 0.0, 1.0, 1.0]]]]
    """
    if not can_be_lumped(problem):
        raise Trouble(Status.BAD_PROBLEM, iterate=0, run=problem.first_run, time=problem.start_time)
    return simulate_all(problem, sgd, multiplicities(problem))


def multiplicities(problem: Problem) -> Array:
    """Coordinates of each mode; 0 where its weight times the dimension is no whole number."""
    given = problem.weights * problem.dimension
    whole = np.floor(given + 0.5)
    return np.where(np.abs(given - whole) <= 1e-9 + 1e-12 * given, whole, 0.0)


def can_be_lumped(problem: Problem) -> bool:
    """Whether there is one iterate, and every mode a coordinate or a lump that bears no fixed vector."""
    if not has_counts_and_times(problem) or problem.iterates != 1 or not problem.dimension < 2.0**53:
        return False
    counts = multiplicities(problem)
    lumps = counts > 1
    fixed = [problem.means[:, lumps], problem.teacher[lumps]]
    if problem.reference is not None:
        fixed.append(problem.reference[lumps])
    return bool((counts >= 1).all() and not any(vectors.any() for vectors in fixed))


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


def solve_problem(problem, modes=False):
    """Solve the mode equations of a Problem; see `solve`."""
    return solve(problem, constants, rates, learning_rate, statistics, len(STATISTICS), 7,
                 resolution=2.220446049250313e-16, modes=modes)


def simulate_problem(problem, precision="float64"):
    """Run streaming SGD on a Problem; see `simulate`."""
    return simulate(problem, Sgd(gradient, target, ridge, learning_rate, constants, rates), precision)


def simulate_lumped_problem(problem):
    """Run streaming SGD in lumps on a Problem; see `simulate_lumped`."""
    return simulate_lumped(problem, Sgd(gradient, target, ridge, learning_rate, constants, rates))


def diffuse_problem(problem, longest):
    """Run homogenised SGD on a Problem; see `diffuse`."""
    return diffuse(problem, Diffusion(constants, rates, learning_rate), longest)
