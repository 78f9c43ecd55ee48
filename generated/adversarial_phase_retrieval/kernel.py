"""The high-dimensional limit of streaming SGD on one model, its statistics, and the SGD itself.

    loss       (r**2 - y**2)**2/4
    target     Teacher('r_star')
    adversary  l2 ball of radius epsilon

Written by sgdlimit, generator format 24. To write it again: sgdlimit generate SPEC --out DIRECTORY
The mathematics is arXiv 2607.00207, in the notation of docs/theory.md.
"""


from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Callable, Iterable
from collections.abc import Callable, Sequence
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import dataclass, field, replace
from enum import IntEnum
from itertools import pairwise
from typing import Any, NamedTuple
from typing import NamedTuple
import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc


PARAMETERS = ('epsilon', 'tau')
SCHEDULE_PARAMETERS = ()
STATISTICS = ('adversarial_risk', 'clean_risk', 'norm2', 'overlap', 'cosine', 'distance2', 'optimum_distance2', 'learning_rate', 'effective_ridge')
DESCENTS = ('polyak', 'line_search')
COEFFICIENTS = ('R', 'A', 'B', 'D', 'F', 'I')
SCORE = ('n', 'm_star', 'Q_star', 'm', 'dm', 'beta', 'beta1', 'Q_perp')
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


# ---- Quadrature -------------------------------------------------------------------------------------------------


WINDOW = 13.0
LONGEST_PANEL = WINDOW / 3
CLEARANCE = 1.8
NARROWEST_LAYER = 1e-12  # below it a layer is a breakpoint: to the integrand it is a jump
SAME_BREAKPOINT = 1e-14  # kinks this close are one: what differs is rounding
STEP_REACH = 8.0  # an entire step is constant to 1e-15 eight widths away,
STEP_PANEL = 3.0  # and smooth on three, whatever is made of it,
STEP_GROWTH = 2.0  # or on so many times what a panel is away from its middle
FARTHEST_TILT = 40.0  # e^(40 z) moves the mass to where phi is e^-800: no sum meets it
POINTS = 16
ROOT_SAMPLES = 4  # of each panel
MOST_ROOTS = 8

_HALF_NODES = np.array(
    [
        0.98940093499164993, 0.94457502307323258, 0.86563120238783174, 0.75540440835500303,
        0.61787624440264375, 0.45801677765722739, 0.28160355077925891, 0.095012509837637440,
    ]
)  # fmt: skip
_HALF_WEIGHTS = np.array(
    [
        0.027152459411754095, 0.062253523938647893, 0.095158511682492785, 0.12462897125553387,
        0.14959598881657673, 0.16915651939500254, 0.18260341504492359, 0.18945061045506850,
    ]
)  # fmt: skip


def panels(
    kinks: Iterable[float],
    poles: Iterable[tuple[float, float]] = (),
    steps: Iterable[tuple[float, float]] = (),
    tilts: Iterable[float] = (),
) -> NDArray[np.float64]:
    """Cut the window ``[-13, 13]`` into panels, from left to right, each as long as it may be.

    Parameters
    ----------
    kinks : iterable of float
        Where the integrand has a kink, in any order. One outside the window, infinite or NaN (the 0/0 of a
        vanishing variance) is none.
    poles : iterable of (location, width)
        The integrand has poles at ``location ± i·width``. A pole that is not finite is none.
    steps : iterable of (location, width)
        The integrand is entire with a step (or bump) of that width there.
    tilts : iterable of float
        The integrand has a factor ``e^(rate z)``: the window follows the mass that it moves.

    Returns
    -------
    array [panels + 1]
        Ends of the panels, increasing.

    Examples
    --------
    The logistic function of ``m + s z`` has poles where ``m + s z = ±iπ``.

    >>> m, s = 0.5, 100.0
    >>> z, weights = nodes(panels([], [(-m / s, math.pi / s)]))
    >>> len(z)
    208
    >>> round(float(weights @ (0.5 + 0.5 * np.tanh((m + s * z) / 2))), 9)
    0.501994375
    """
    ends = [float(b) for b in kinks]
    layers = [(float(location), float(width)) for location, width in poles]
    bumps = [(float(location), float(width)) for location, width in steps]
    ends += [location for location, width in (*layers, *bumps) if width < NARROWEST_LAYER]
    layers = [(location, width) for location, width in layers if not width < NARROWEST_LAYER]
    bumps = [(location, width) for location, width in bumps if not width < NARROWEST_LAYER]
    rates = [min(max(float(rate), -FARTHEST_TILT), FARTHEST_TILT) for rate in tilts]
    edges, upper = [-WINDOW + min([0.0, *rates])], WINDOW + max([0.0, *rates])
    while edges[-1] < upper:
        a = edges[-1]
        end, length = upper, LONGEST_PANEL
        for kink in ends:
            if a + SAME_BREAKPOINT < kink < end:
                end = kink
        for location, width in layers:
            ahead = location - a
            distance = math.sqrt(ahead * ahead + width * width)
            longest = 2 * (CLEARANCE * distance - ahead) / (CLEARANCE * CLEARANCE - 1)
            if longest < length:
                length = longest
        for location, width in bumps:
            if a < location + STEP_REACH * width:
                # up to where it begins, or into it by no more than it allows: steps that begin together share an edge;
                # the distance is that of the panel's nearer end, which lies ahead if the middle does
                ahead = location - a
                far = ahead / (1 + STEP_GROWTH) if ahead > 0 else -ahead
                length = min(length, max(STEP_PANEL * width, ahead - STEP_REACH * width, STEP_GROWTH * far))
        edges.append(end if end - a <= length * (1 + 1e-13) + SAME_BREAKPOINT else a + length)
    return np.array(edges)


def nodes(edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes of all panels, and their weights with the standard normal density in them.

    Parameters
    ----------
    edges : array [panels + 1]
        Ends of the panels.

    Returns
    -------
    z, weights : array [16 · panels]
        ``weights @ g(z)`` is the mean of ``g`` under a standard normal.

    Examples
    --------
    >>> z, weights = nodes(panels([0.0]))
    >>> round(float(weights @ np.abs(z)), 12) == round(math.sqrt(2 / math.pi), 12)
    True
    """
    middle = (edges[:-1] + edges[1:])[:, np.newaxis] / 2
    half = (edges[1:] - edges[:-1])[:, np.newaxis] / 2
    left, right = middle - half * _HALF_NODES, middle + half * _HALF_NODES[::-1]
    weights = half * np.concatenate([_HALF_WEIGHTS, _HALF_WEIGHTS[::-1]])
    z = np.concatenate([left, right], axis=1).ravel()
    return z, weights.ravel() * (0.3989422804014327 * np.exp(-z * z / 2))


def roots(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], edges: NDArray[np.float64]) -> list[float]:
    """Sign changes of a continuous function on the panels, each looked at in a few places.

    Parameters
    ----------
    function : callable
        Of an array.
    edges : array [panels + 1]
        Ends of the panels.

    Returns
    -------
    list of float
        At most 8, from left to right, as close as doubles come.

    Examples
    --------
    >>> [round(x, 12) for x in roots(lambda z: np.tanh(z) - 0.5, panels([]))]
    [0.549306144334]
    """
    parts = np.arange(ROOT_SAMPLES) / ROOT_SAMPLES
    places = np.append((edges[:-1, np.newaxis] + np.diff(edges)[:, np.newaxis] * parts).ravel(), edges[-1])
    side = np.sign(np.broadcast_to(function(places), places.shape))
    places, side = places[side != 0], side[side != 0]
    changes = np.flatnonzero(side[:-1] * side[1:] < 0)[:MOST_ROOTS]
    return [_bisect(function, float(places[k]), float(places[k + 1]), float(side[k])) for k in changes]


def _bisect(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], left: float, right: float, side: float
) -> float:
    while left < (middle := (left + right) / 2) < right:
        here = float(np.sign(np.broadcast_to(function(np.array([middle])), (1,))[0]))
        if here == 0:
            return float(middle)
        left, right = (middle, right) if here == side else (left, middle)
    return float(middle)


SAME_BRANCH = 4 * SAME_BREAKPOINT


def branch_panels(coarse: NDArray[np.float64], branches: Iterable[float]) -> NDArray[np.float64]:
    """Cut panels again, so that each keeps clear of the branch points that are not its ends.

    Parameters
    ----------
    coarse : array [panels + 1]
        Ends of panels, the branch points among them.
    branches : iterable of float
        Those that are not finite are none.

    Returns
    -------
    array [panels + 1]
    """
    places = [float(b) for b in branches]
    edges = [float(coarse[0])]
    for stop in coarse[1:]:
        while edges[-1] < stop:
            a = edges[-1]
            length = stop - a
            for place in places:
                if place < a - SAME_BRANCH:
                    length = min(length, 2 * (a - place) / (CLEARANCE - 1))
                elif place > stop + SAME_BRANCH:
                    length = min(length, 2 * (place - a) / (CLEARANCE + 1))
            if length < stop - a and any(abs(place - stop) <= SAME_BRANCH for place in places):
                length = min(length, 2 * (stop - a) / (CLEARANCE + 1))
            edges.append(float(stop) if stop - a <= length * (1 + 1e-9) else a + length)
    return np.array(edges)


def branch_nodes(
    edges: NDArray[np.float64], branches: Iterable[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes of all panels, crowded where a panel ends at a branch point, and their weights with the density in them.

    Parameters
    ----------
    edges : array [panels + 1]
        Ends of the panels.
    branches : iterable of float

    Returns
    -------
    z, weights : array [16 · panels]

    Examples
    --------
    >>> from sgdlimit.codegen.library.quadrature import panels
    >>> z, weights = branch_nodes(branch_panels(panels([0.0]), [0.0]), [0.0])
    >>> round(float(weights @ (1 / np.sqrt(np.abs(z)))), 10)  # Γ(1/4) 2^(-1/4)/√π
    1.7200799746
    """
    z, weights = nodes(edges)
    t, share = nodes(np.array([0.0, 1.0]))
    share = share * np.exp(t * t / 2)  # without the density, but for its factor
    places = [float(b) for b in branches]
    for q, (a, b) in enumerate(pairwise(edges)):
        left, right = (any(abs(place - end) <= SAME_BRANCH for place in places) for end in (a, b))
        if not left and not right:
            continue
        panel = slice(len(t) * q, len(t) * (q + 1))
        near, far = t, t[::-1]  # far = 1 − near
        if left and right:
            z[panel], slope = a + (b - a) * near * near * (3 - 2 * near), 6 * near * far
        elif left:
            z[panel], slope = a + (b - a) * near * near, 2 * near
        else:
            z[panel], slope = b - (b - a) * far * far, 2 * far
        weights[panel] = (b - a) * slope * share * np.exp(-z[panel] * z[panel] / 2)
    return z, weights


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
    return n, m_star, Q_star, m, dm, beta, beta1, Q_perp


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def rate_coefficients(score, y, par):
    """What the mode equations need of one class."""
    n = score[0]
    m_star = score[1]
    Q_star = score[2]
    m = score[3]
    dm = score[4]
    beta = score[5]
    beta1 = score[6]
    Q_perp = score[7]
    p_epsilon = par[0]
    mean_ell = m_star
    s_ell = np.sqrt(np.maximum(1e-300, Q_star))
    s_given = np.sqrt(np.maximum(1e-300, Q_perp))
    reach = p_epsilon*n
    turn = np.where(beta > 0, 1.0, -1.0)
    score_along = turn*(0.764842187284489*s_ell*np.abs(beta) + 0.644217687237691*s_given)
    score_across = turn*(-0.644217687237691*s_ell*np.abs(beta) + 0.764842187284489*s_given)
    label_along = 0.764842187284489*s_ell
    label_across = -0.644217687237691*s_ell
    gap_along = 0.764842187284489*beta1*s_ell + 0.644217687237691*s_given*turn
    gap_across = -0.644217687237691*beta1*s_ell + 0.764842187284489*s_given*turn
    plane_slope1 = np.where(np.where((np.abs(score_along) - 1e-300) > 0, 1.0, -1.0) > 0, score_along, 1e-300)
    plane_p1 = dm*(m + mean_ell) + reach*reach
    plane_p2 = dm*(label_along + score_along) + gap_along*(m + mean_ell)
    plane_p3 = dm*(label_across + score_across) + gap_across*(m + mean_ell)
    plane_p4 = gap_along*(label_along + score_along)
    plane_p5 = gap_across*(label_along + score_along) + gap_along*(label_across + score_across)
    plane_p6 = gap_across*(label_across + score_across)
    plane_slope2 = np.where(np.where((np.abs(plane_p4) - 1e-300) > 0, 1.0, -1.0) > 0, plane_p4, 1e-300)
    plane_p7 = m - reach
    plane_p8 = m + reach
    plane_p9 = 2.0*m - 2.8284271247461903*mean_ell + 2.0*reach
    plane_p10 = -2.8284271247461903*label_along + 2.0*score_along
    plane_p11 = -2.8284271247461903*label_across + 2.0*score_across
    plane_slope3 = np.where(np.where((np.abs(plane_p10) - 1e-300) > 0, 1.0, -1.0) > 0, plane_p10, 1e-300)
    plane_p12 = 2.0*m + 2.8284271247461903*mean_ell + 2.0*reach
    plane_p13 = 2.8284271247461903*label_along + 2.0*score_along
    plane_p14 = 2.8284271247461903*label_across + 2.0*score_across
    plane_slope4 = np.where(np.where((np.abs(plane_p13) - 1e-300) > 0, 1.0, -1.0) > 0, plane_p13, 1e-300)
    plane_p15 = 2.0*m - 2.8284271247461903*mean_ell - 2.0*reach
    plane_p16 = 2.0*m + 2.8284271247461903*mean_ell - 2.0*reach
    plane_vertex1 = (-label_along*m - score_along*(-mean_ell + 0.7071067811865476*reach))/(s_ell*s_given*turn)
    plane_vertex2 = (-label_along*m - score_along*(-mean_ell - 0.7071067811865476*reach))/(s_ell*s_given*turn)
    plane_vertex3 = (label_along*(-m + reach) - score_along*(-mean_ell + 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_vertex4 = (label_along*(-m + reach) - score_along*(-mean_ell - 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_vertex5 = (label_along*(-m - reach) - score_along*(-mean_ell + 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_vertex6 = (label_along*(-m - reach) - score_along*(-mean_ell - 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_zero1 = -m/score_across
    plane_half1 = -0.5*plane_p3 - 0.5*np.sqrt(-4.0*plane_p1*plane_p6 + plane_p3*plane_p3)*np.where(plane_p3 > 0, 1.0, -1.0)
    plane_zero2 = plane_half1/plane_p6
    plane_zero3 = plane_p1/plane_half1
    plane_d1 = -4.0*plane_p1*plane_p4 + plane_p2*plane_p2
    plane_d2 = 2.0*plane_p2*plane_p5 - 4.0*plane_p3*plane_p4
    plane_d3 = 4.0*(s_ell*s_ell)*(s_given*s_given)*(turn*turn)
    plane_half2 = -0.5*plane_d2 - 0.5*np.sqrt(-4.0*plane_d1*plane_d3 + plane_d2*plane_d2)*np.where(plane_d2 > 0, 1.0, -1.0)
    plane_zero4 = plane_half2/plane_d3
    plane_zero5 = plane_d1/plane_half2
    plane_zero6 = -plane_p7/score_across
    plane_zero7 = -plane_p8/score_across
    plane_zero8 = -plane_p9/plane_p11
    plane_zero9 = -plane_p12/plane_p14
    plane_zero10 = -plane_p15/plane_p11
    plane_zero11 = -plane_p16/plane_p14
    h1 = 2.0*plane_p6
    h2 = h1*plane_zero2 + plane_p3
    h3 = 1.0/h2
    h4 = h1*h3*(plane_zero2*plane_zero2) + h3*plane_p3*plane_zero2
    h5 = h1*plane_zero3 + plane_p3
    h6 = 1.0/h5
    h7 = h1*h6*(plane_zero3*plane_zero3) + h6*plane_p3*plane_zero3
    h8 = 1.0/plane_d3
    h9 = np.abs(score_along)/np.abs(score_across)
    h10 = np.abs(plane_p10)/np.abs(plane_p11)
    h11 = np.abs(plane_p13)/np.abs(plane_p14)
    branches_z_across = [plane_zero4, plane_zero5]
    z_across, weights_z_across = branch_nodes(branch_panels(panels([plane_vertex1, plane_vertex2, plane_vertex3, plane_vertex4, plane_vertex5, plane_vertex6, plane_zero4, plane_zero5], [(-0.5*h8*plane_d2, np.sqrt(h8*plane_d1 - 0.25*(plane_d2*plane_d2)/(plane_d3*plane_d3)))], [(plane_zero1, h9), (h4, np.abs(h4*plane_p5 + plane_p2)/np.abs(h2)), (h7, np.abs(h7*plane_p5 + plane_p2)/np.abs(h5)), (plane_zero6, h9), (plane_zero7, h9), (plane_zero8, h10), (plane_zero9, h11), (plane_zero10, h10), (plane_zero11, h11)]), branches_z_across), branches_z_across)
    line_c15 = label_along + score_along
    line_c18 = gap_along*line_c15
    line_c36 = line_c18*score_along
    line_c43 = -(label_along*label_along) + 3.0*(score_along*score_along)
    line_c52 = line_c36*line_c36
    line_c65 = label_along + 3.0*score_along
    line_c68 = gap_along*line_c65
    g11 = 1.0/plane_slope1
    line_rate1 = g11
    g14 = 1.0/plane_slope3
    line_rate4 = 2.0*g14
    line_rate142 = -0.8284271247461901*g14
    g16 = 1.0/plane_slope4
    line_rate5 = 2.0*g16
    line_rate143 = 4.82842712474619*g16
    g56 = p_epsilon*n
    g99 = 6.0*g56*score_along
    g110 = 2.0*score_along
    g114 = 2.0*line_c36
    g116 = 3.0*g56
    g119 = 2.0*gap_along
    line_centre2 = label_across*z_across + mean_ell
    line_h1 = plane_p1 + z_across*(plane_p3 + plane_p6*z_across)
    line_h2 = plane_p2 + plane_p5*z_across
    line_square1 = -4.0*line_h1*plane_p4 + line_h2*line_h2
    line_root1 = np.sqrt(np.maximum(1e-300, line_square1))
    line_side1 = np.where(line_h2 > 0, 1.0, -1.0)
    line_half1 = -0.5*line_h2 - 0.5*line_root1*line_side1
    line_centre3 = dm + gap_across*z_across
    g10 = score_across*z_across
    line_centre1 = g10 + m
    line_h3 = g10 + plane_p7
    line_h4 = g10 + plane_p8
    line_cross1 = np.maximum(-40.0, np.minimum(40.0, -g11*line_centre1))
    line_cross4 = np.maximum(-40.0, np.minimum(40.0, -g11*line_h3))
    line_cross5 = np.maximum(-40.0, np.minimum(40.0, -g11*line_h4))
    g12 = np.where(line_square1 > 0, 1.0, -1.0)
    line_cross2 = np.where(g12 > 0, np.maximum(-40.0, np.minimum(40.0, line_half1/plane_slope2)), 40.0)
    line_cross3 = np.where(g12 > 0, np.maximum(-40.0, np.minimum(40.0, line_h1/np.where(np.where((np.abs(line_half1) - 1e-300) > 0, 1.0, -1.0) > 0, line_half1, 1e-300))), 40.0)
    line_turned1 = np.where((line_cross1 - line_cross2) > 0, 1.0, -1.0)
    line_low1 = np.where(line_turned1 > 0, line_cross2, line_cross1)
    line_high1 = np.where(line_turned1 > 0, line_cross1, line_cross2)
    line_turned2 = np.where((line_cross3 - line_cross4) > 0, 1.0, -1.0)
    line_low2 = np.where(line_turned2 > 0, line_cross4, line_cross3)
    line_high2 = np.where(line_turned2 > 0, line_cross3, line_cross4)
    line_turned5 = np.where((line_low1 - line_low2) > 0, 1.0, -1.0)
    line_low5 = np.where(line_turned5 > 0, line_low2, line_low1)
    line_high5 = np.where(line_turned5 > 0, line_low1, line_low2)
    line_turned6 = np.where((line_high1 - line_high2) > 0, 1.0, -1.0)
    line_low6 = np.where(line_turned6 > 0, line_high2, line_high1)
    line_high6 = np.where(line_turned6 > 0, line_high1, line_high2)
    line_turned9 = np.where((-line_high5 + line_low6) > 0, 1.0, -1.0)
    line_low9 = np.where(line_turned9 > 0, line_high5, line_low6)
    line_high9 = np.where(line_turned9 > 0, line_low6, line_high5)
    g13 = plane_p11*z_across
    line_h5 = g13 + plane_p9
    line_h7 = g13 + plane_p15
    line_cross6 = np.maximum(-40.0, np.minimum(40.0, -g14*line_h5))
    line_cross8 = np.maximum(-40.0, np.minimum(40.0, -g14*line_h7))
    line_turned3 = np.where((line_cross5 - line_cross6) > 0, 1.0, -1.0)
    line_low3 = np.where(line_turned3 > 0, line_cross6, line_cross5)
    line_high3 = np.where(line_turned3 > 0, line_cross5, line_cross6)
    line_rate10 = np.where(line_turned3 > 0, line_rate4, line_rate1)
    line_rate11 = np.where(line_turned3 > 0, line_rate1, line_rate4)
    line_rate148 = np.where(line_turned3 > 0, line_rate142, line_rate1)
    line_rate149 = np.where(line_turned3 > 0, line_rate1, line_rate142)
    g15 = plane_p14*z_across
    line_h6 = g15 + plane_p12
    line_h8 = g15 + plane_p16
    line_cross7 = np.maximum(-40.0, np.minimum(40.0, -g16*line_h6))
    line_cross9 = np.maximum(-40.0, np.minimum(40.0, -g16*line_h8))
    line_turned4 = np.where((line_cross7 - line_cross8) > 0, 1.0, -1.0)
    line_low4 = np.where(line_turned4 > 0, line_cross8, line_cross7)
    line_high4 = np.where(line_turned4 > 0, line_cross7, line_cross8)
    line_turned7 = np.where((line_low3 - line_low4) > 0, 1.0, -1.0)
    line_low7 = np.where(line_turned7 > 0, line_low4, line_low3)
    line_high7 = np.where(line_turned7 > 0, line_low3, line_low4)
    line_turned8 = np.where((line_high3 - line_high4) > 0, 1.0, -1.0)
    line_low8 = np.where(line_turned8 > 0, line_high4, line_high3)
    line_high8 = np.where(line_turned8 > 0, line_high3, line_high4)
    line_turned10 = np.where((-line_high7 + line_low8) > 0, 1.0, -1.0)
    line_low10 = np.where(line_turned10 > 0, line_high7, line_low8)
    line_high10 = np.where(line_turned10 > 0, line_low8, line_high7)
    line_turned11 = np.where((line_low5 - line_low7) > 0, 1.0, -1.0)
    line_low11 = np.where(line_turned11 > 0, line_low7, line_low5)
    line_high11 = np.where(line_turned11 > 0, line_low5, line_low7)
    line_turned12 = np.where((-line_low10 + line_low9) > 0, 1.0, -1.0)
    line_low12 = np.where(line_turned12 > 0, line_low10, line_low9)
    line_high12 = np.where(line_turned12 > 0, line_low9, line_low10)
    line_turned13 = np.where((-line_high10 + line_high9) > 0, 1.0, -1.0)
    line_low13 = np.where(line_turned13 > 0, line_high10, line_high9)
    line_high13 = np.where(line_turned13 > 0, line_high9, line_high10)
    line_turned14 = np.where((line_high6 - line_high8) > 0, 1.0, -1.0)
    line_low14 = np.where(line_turned14 > 0, line_high8, line_high6)
    line_high14 = np.where(line_turned14 > 0, line_high6, line_high8)
    line_turned15 = np.where((-line_high11 + line_low13) > 0, 1.0, -1.0)
    line_low15 = np.where(line_turned15 > 0, line_high11, line_low13)
    line_high15 = np.where(line_turned15 > 0, line_low13, line_high11)
    line_turned16 = np.where((-line_high12 + line_low14) > 0, 1.0, -1.0)
    line_low16 = np.where(line_turned16 > 0, line_high12, line_low14)
    line_high16 = np.where(line_turned16 > 0, line_low14, line_high12)
    line_turned17 = np.where((line_low12 - line_low15) > 0, 1.0, -1.0)
    line_low17 = np.where(line_turned17 > 0, line_low15, line_low12)
    line_high17 = np.where(line_turned17 > 0, line_low12, line_low15)
    line_turned18 = np.where((-line_high15 + line_low16) > 0, 1.0, -1.0)
    line_low18 = np.where(line_turned18 > 0, line_high15, line_low16)
    line_high18 = np.where(line_turned18 > 0, line_low16, line_high15)
    line_turned19 = np.where((-line_high13 + line_high16) > 0, 1.0, -1.0)
    line_low19 = np.where(line_turned19 > 0, line_high13, line_high16)
    line_high19 = np.where(line_turned19 > 0, line_high16, line_high13)
    line_turned20 = np.where((-line_cross9 + line_low11) > 0, 1.0, -1.0)
    line_low20 = np.where(line_turned20 > 0, line_cross9, line_low11)
    line_high20 = np.where(line_turned20 > 0, line_low11, line_cross9)
    line_turned21 = np.where((line_high18 - line_high20) > 0, 1.0, -1.0)
    line_low21 = np.where(line_turned21 > 0, line_high20, line_high18)
    line_high21 = np.where(line_turned21 > 0, line_high18, line_high20)
    line_turned22 = np.where((line_high17 - line_low21) > 0, 1.0, -1.0)
    line_low22 = np.where(line_turned22 > 0, line_low21, line_high17)
    line_high22 = np.where(line_turned22 > 0, line_high17, line_low21)
    line_turned23 = np.where((line_low18 - line_low19) > 0, 1.0, -1.0)
    line_low23 = np.where(line_turned23 > 0, line_low19, line_low18)
    line_high23 = np.where(line_turned23 > 0, line_low18, line_low19)
    line_turned24 = np.where((line_high19 - line_high21) > 0, 1.0, -1.0)
    line_low24 = np.where(line_turned24 > 0, line_high21, line_high19)
    line_high24 = np.where(line_turned24 > 0, line_high19, line_high21)
    line_turned25 = np.where((line_low17 - line_low22) > 0, 1.0, -1.0)
    line_low25 = np.where(line_turned25 > 0, line_low22, line_low17)
    line_high25 = np.where(line_turned25 > 0, line_low17, line_low22)
    line_turned26 = np.where((-line_high22 + line_low23) > 0, 1.0, -1.0)
    line_low26 = np.where(line_turned26 > 0, line_high22, line_low23)
    line_high26 = np.where(line_turned26 > 0, line_low23, line_high22)
    line_turned27 = np.where((line_high23 - line_low24) > 0, 1.0, -1.0)
    line_low27 = np.where(line_turned27 > 0, line_low24, line_high23)
    line_high27 = np.where(line_turned27 > 0, line_high23, line_low24)
    line_turned28 = np.where((line_high14 - line_high24) > 0, 1.0, -1.0)
    line_low28 = np.where(line_turned28 > 0, line_high24, line_high14)
    line_high28 = np.where(line_turned28 > 0, line_high14, line_high24)
    line_gap1 = np.abs(line_low20)
    line_away1 = np.where(line_low20 > 0, 1.0, -1.0)
    line_gap2 = np.abs(line_low25)
    line_away2 = np.where(line_low25 > 0, 1.0, -1.0)
    line_gap3 = np.abs(line_high25)
    line_away3 = np.where(line_high25 > 0, 1.0, -1.0)
    line_gap4 = np.abs(line_low26)
    line_away4 = np.where(line_low26 > 0, 1.0, -1.0)
    line_gap5 = np.abs(line_high26)
    line_away5 = np.where(line_high26 > 0, 1.0, -1.0)
    line_gap6 = np.abs(line_low27)
    line_away6 = np.where(line_low27 > 0, 1.0, -1.0)
    line_gap7 = np.abs(line_high27)
    line_away7 = np.where(line_high27 > 0, 1.0, -1.0)
    line_gap8 = np.abs(line_low28)
    line_away8 = np.where(line_low28 > 0, 1.0, -1.0)
    line_gap9 = np.abs(line_high28)
    line_away9 = np.where(line_high28 > 0, 1.0, -1.0)
    line_beyond1 = 0.5*erfc(0.7071067811865476*line_gap1)
    line_beyond2 = 0.5*erfc(0.7071067811865476*line_gap2)
    line_beyond3 = 0.5*erfc(0.7071067811865476*line_gap3)
    line_beyond4 = 0.5*erfc(0.7071067811865476*line_gap4)
    line_beyond5 = 0.5*erfc(0.7071067811865476*line_gap5)
    line_beyond6 = 0.5*erfc(0.7071067811865476*line_gap6)
    line_beyond7 = 0.5*erfc(0.7071067811865476*line_gap7)
    line_beyond8 = 0.5*erfc(0.7071067811865476*line_gap8)
    line_beyond9 = 0.5*erfc(0.7071067811865476*line_gap9)
    line_rate12 = np.where(line_turned4 > 0, line_rate4, line_rate5)
    line_rate13 = np.where(line_turned4 > 0, line_rate5, line_rate4)
    line_rate18 = np.where(line_turned7 > 0, line_rate12, line_rate10)
    line_rate19 = np.where(line_turned7 > 0, line_rate10, line_rate12)
    line_rate20 = np.where(line_turned8 > 0, line_rate13, line_rate11)
    line_rate21 = np.where(line_turned8 > 0, line_rate11, line_rate13)
    line_rate24 = np.where(line_turned10 > 0, line_rate19, line_rate20)
    line_rate25 = np.where(line_turned10 > 0, line_rate20, line_rate19)
    line_rate150 = np.where(line_turned4 > 0, line_rate142, line_rate143)
    line_rate151 = np.where(line_turned4 > 0, line_rate143, line_rate142)
    line_rate156 = np.where(line_turned7 > 0, line_rate150, line_rate148)
    line_rate157 = np.where(line_turned7 > 0, line_rate148, line_rate150)
    line_rate158 = np.where(line_turned8 > 0, line_rate151, line_rate149)
    line_rate159 = np.where(line_turned8 > 0, line_rate149, line_rate151)
    line_rate162 = np.where(line_turned10 > 0, line_rate157, line_rate158)
    line_rate163 = np.where(line_turned10 > 0, line_rate158, line_rate157)
    g17 = 0.5*line_low20
    line_middle1 = g17 - 20.0
    line_side3 = np.where((line_h1 + line_middle1*(line_h2 + line_middle1*plane_p4)) > 0, 1.0, -1.0)
    g18 = line_middle1*score_along
    line_side2 = np.where((g18 + line_centre1) > 0, 1.0, -1.0)
    line_switch1 = line_side2*line_side3
    line_side4 = np.where((g18 + line_h3) > 0, 1.0, -1.0)
    line_side5 = np.where((g18 + line_h4) > 0, 1.0, -1.0)
    line_switch2 = -line_side4*line_side5
    g19 = line_middle1*plane_p10
    line_side6 = np.where((g19 + line_h5) > 0, 1.0, -1.0)
    line_side8 = np.where((g19 + line_h7) > 0, 1.0, -1.0)
    g20 = line_middle1*plane_p13
    line_side7 = np.where((g20 + line_h6) > 0, 1.0, -1.0)
    line_side9 = np.where((g20 + line_h8) > 0, 1.0, -1.0)
    line_switch3 = np.where(line_switch1 > 0, -line_side6*line_side7, -line_side8*line_side9)
    g21 = 0.5*line_low25
    line_middle2 = g17 + g21
    line_side11 = np.where((line_h1 + line_middle2*(line_h2 + line_middle2*plane_p4)) > 0, 1.0, -1.0)
    g22 = line_middle2*score_along
    line_side10 = np.where((g22 + line_centre1) > 0, 1.0, -1.0)
    line_switch4 = line_side10*line_side11
    line_side12 = np.where((g22 + line_h3) > 0, 1.0, -1.0)
    line_side13 = np.where((g22 + line_h4) > 0, 1.0, -1.0)
    line_switch5 = -line_side12*line_side13
    g23 = line_middle2*plane_p10
    line_side14 = np.where((g23 + line_h5) > 0, 1.0, -1.0)
    line_side16 = np.where((g23 + line_h7) > 0, 1.0, -1.0)
    g24 = line_middle2*plane_p13
    line_side15 = np.where((g24 + line_h6) > 0, 1.0, -1.0)
    line_side17 = np.where((g24 + line_h8) > 0, 1.0, -1.0)
    line_switch6 = np.where(line_switch4 > 0, -line_side14*line_side15, -line_side16*line_side17)
    g25 = 0.5*line_high25
    line_middle3 = g21 + g25
    line_side19 = np.where((line_h1 + line_middle3*(line_h2 + line_middle3*plane_p4)) > 0, 1.0, -1.0)
    g26 = line_middle3*score_along
    line_side18 = np.where((g26 + line_centre1) > 0, 1.0, -1.0)
    line_switch7 = line_side18*line_side19
    line_side20 = np.where((g26 + line_h3) > 0, 1.0, -1.0)
    line_side21 = np.where((g26 + line_h4) > 0, 1.0, -1.0)
    line_switch8 = -line_side20*line_side21
    g27 = line_middle3*plane_p10
    line_side22 = np.where((g27 + line_h5) > 0, 1.0, -1.0)
    line_side24 = np.where((g27 + line_h7) > 0, 1.0, -1.0)
    g28 = line_middle3*plane_p13
    line_side23 = np.where((g28 + line_h6) > 0, 1.0, -1.0)
    line_side25 = np.where((g28 + line_h8) > 0, 1.0, -1.0)
    line_switch9 = np.where(line_switch7 > 0, -line_side22*line_side23, -line_side24*line_side25)
    g29 = 0.5*line_low26
    line_middle4 = g25 + g29
    line_side27 = np.where((line_h1 + line_middle4*(line_h2 + line_middle4*plane_p4)) > 0, 1.0, -1.0)
    g30 = line_middle4*score_along
    line_side26 = np.where((g30 + line_centre1) > 0, 1.0, -1.0)
    line_switch10 = line_side26*line_side27
    line_side28 = np.where((g30 + line_h3) > 0, 1.0, -1.0)
    line_side29 = np.where((g30 + line_h4) > 0, 1.0, -1.0)
    line_switch11 = -line_side28*line_side29
    g31 = line_middle4*plane_p10
    line_side30 = np.where((g31 + line_h5) > 0, 1.0, -1.0)
    line_side32 = np.where((g31 + line_h7) > 0, 1.0, -1.0)
    g32 = line_middle4*plane_p13
    line_side31 = np.where((g32 + line_h6) > 0, 1.0, -1.0)
    line_side33 = np.where((g32 + line_h8) > 0, 1.0, -1.0)
    line_switch12 = np.where(line_switch10 > 0, -line_side30*line_side31, -line_side32*line_side33)
    g33 = 0.5*line_high26
    line_middle5 = g29 + g33
    line_side35 = np.where((line_h1 + line_middle5*(line_h2 + line_middle5*plane_p4)) > 0, 1.0, -1.0)
    g34 = line_middle5*score_along
    line_side34 = np.where((g34 + line_centre1) > 0, 1.0, -1.0)
    line_switch13 = line_side34*line_side35
    line_side36 = np.where((g34 + line_h3) > 0, 1.0, -1.0)
    line_side37 = np.where((g34 + line_h4) > 0, 1.0, -1.0)
    line_switch14 = -line_side36*line_side37
    g35 = line_middle5*plane_p10
    line_side38 = np.where((g35 + line_h5) > 0, 1.0, -1.0)
    line_side40 = np.where((g35 + line_h7) > 0, 1.0, -1.0)
    g36 = line_middle5*plane_p13
    line_side39 = np.where((g36 + line_h6) > 0, 1.0, -1.0)
    line_side41 = np.where((g36 + line_h8) > 0, 1.0, -1.0)
    line_switch15 = np.where(line_switch13 > 0, -line_side38*line_side39, -line_side40*line_side41)
    g37 = 0.5*line_low27
    line_middle6 = g33 + g37
    line_side43 = np.where((line_h1 + line_middle6*(line_h2 + line_middle6*plane_p4)) > 0, 1.0, -1.0)
    g38 = line_middle6*score_along
    line_side42 = np.where((g38 + line_centre1) > 0, 1.0, -1.0)
    line_switch16 = line_side42*line_side43
    line_side44 = np.where((g38 + line_h3) > 0, 1.0, -1.0)
    line_side45 = np.where((g38 + line_h4) > 0, 1.0, -1.0)
    line_switch17 = -line_side44*line_side45
    g39 = line_middle6*plane_p10
    line_side46 = np.where((g39 + line_h5) > 0, 1.0, -1.0)
    line_side48 = np.where((g39 + line_h7) > 0, 1.0, -1.0)
    g40 = line_middle6*plane_p13
    line_side47 = np.where((g40 + line_h6) > 0, 1.0, -1.0)
    line_side49 = np.where((g40 + line_h8) > 0, 1.0, -1.0)
    line_switch18 = np.where(line_switch16 > 0, -line_side46*line_side47, -line_side48*line_side49)
    g41 = 0.5*line_high27
    line_middle7 = g37 + g41
    line_side51 = np.where((line_h1 + line_middle7*(line_h2 + line_middle7*plane_p4)) > 0, 1.0, -1.0)
    g42 = line_middle7*score_along
    line_side50 = np.where((g42 + line_centre1) > 0, 1.0, -1.0)
    line_switch19 = line_side50*line_side51
    line_side52 = np.where((g42 + line_h3) > 0, 1.0, -1.0)
    line_side53 = np.where((g42 + line_h4) > 0, 1.0, -1.0)
    line_switch20 = -line_side52*line_side53
    g43 = line_middle7*plane_p10
    line_side54 = np.where((g43 + line_h5) > 0, 1.0, -1.0)
    line_side56 = np.where((g43 + line_h7) > 0, 1.0, -1.0)
    g44 = line_middle7*plane_p13
    line_side55 = np.where((g44 + line_h6) > 0, 1.0, -1.0)
    line_side57 = np.where((g44 + line_h8) > 0, 1.0, -1.0)
    line_switch21 = np.where(line_switch19 > 0, -line_side54*line_side55, -line_side56*line_side57)
    g45 = 0.5*line_low28
    line_middle8 = g41 + g45
    line_side59 = np.where((line_h1 + line_middle8*(line_h2 + line_middle8*plane_p4)) > 0, 1.0, -1.0)
    g46 = line_middle8*score_along
    line_side58 = np.where((g46 + line_centre1) > 0, 1.0, -1.0)
    line_switch22 = line_side58*line_side59
    line_side60 = np.where((g46 + line_h3) > 0, 1.0, -1.0)
    line_side61 = np.where((g46 + line_h4) > 0, 1.0, -1.0)
    line_switch23 = -line_side60*line_side61
    g47 = line_middle8*plane_p10
    line_side62 = np.where((g47 + line_h5) > 0, 1.0, -1.0)
    line_side64 = np.where((g47 + line_h7) > 0, 1.0, -1.0)
    g48 = line_middle8*plane_p13
    line_side63 = np.where((g48 + line_h6) > 0, 1.0, -1.0)
    line_side65 = np.where((g48 + line_h8) > 0, 1.0, -1.0)
    line_switch24 = np.where(line_switch22 > 0, -line_side62*line_side63, -line_side64*line_side65)
    g49 = 0.5*line_high28
    line_middle9 = g45 + g49
    line_side67 = np.where((line_h1 + line_middle9*(line_h2 + line_middle9*plane_p4)) > 0, 1.0, -1.0)
    line_middle10 = g49 + 20.0
    line_side75 = np.where((line_h1 + line_middle10*(line_h2 + line_middle10*plane_p4)) > 0, 1.0, -1.0)
    g50 = line_middle9*score_along
    line_side66 = np.where((g50 + line_centre1) > 0, 1.0, -1.0)
    line_switch25 = line_side66*line_side67
    line_side68 = np.where((g50 + line_h3) > 0, 1.0, -1.0)
    line_side69 = np.where((g50 + line_h4) > 0, 1.0, -1.0)
    line_switch26 = -line_side68*line_side69
    g51 = line_middle9*plane_p10
    line_side70 = np.where((g51 + line_h5) > 0, 1.0, -1.0)
    line_side72 = np.where((g51 + line_h7) > 0, 1.0, -1.0)
    g52 = line_middle9*plane_p13
    line_side71 = np.where((g52 + line_h6) > 0, 1.0, -1.0)
    line_side73 = np.where((g52 + line_h8) > 0, 1.0, -1.0)
    line_switch27 = np.where(line_switch25 > 0, -line_side70*line_side71, -line_side72*line_side73)
    g53 = line_middle10*score_along
    line_side74 = np.where((g53 + line_centre1) > 0, 1.0, -1.0)
    line_switch28 = line_side74*line_side75
    line_side76 = np.where((g53 + line_h3) > 0, 1.0, -1.0)
    line_side77 = np.where((g53 + line_h4) > 0, 1.0, -1.0)
    line_switch29 = -line_side76*line_side77
    g54 = line_middle10*plane_p10
    line_side78 = np.where((g54 + line_h5) > 0, 1.0, -1.0)
    line_side80 = np.where((g54 + line_h7) > 0, 1.0, -1.0)
    g55 = line_middle10*plane_p13
    line_side79 = np.where((g55 + line_h6) > 0, 1.0, -1.0)
    line_side81 = np.where((g55 + line_h8) > 0, 1.0, -1.0)
    line_switch30 = np.where(line_switch28 > 0, -line_side78*line_side79, -line_side80*line_side81)
    line_c13 = g56 + line_centre3
    line_c24 = -g56 + line_centre3
    line_c25 = -g56 + line_centre1 + line_centre2
    line_c26 = line_c24*line_c25
    line_c27 = gap_along*line_c25 + line_c15*line_c24
    line_c37 = -g56 + line_centre1
    line_c38 = line_c26*line_c37
    line_c39 = line_c26*score_along + line_c27*line_c37
    line_c40 = line_c18*line_c37 + line_c27*score_along
    line_c53 = line_c38*line_c38
    g57 = g56 + line_centre1
    line_c14 = g57 + line_centre2
    line_c16 = line_c13*line_c14
    line_c17 = gap_along*line_c14 + line_c13*line_c15
    line_c32 = g57
    line_c33 = line_c16*line_c32
    line_c34 = line_c16*score_along + line_c17*line_c32
    line_c35 = line_c17*score_along + line_c18*line_c32
    line_c46 = line_c33*line_c33
    g58 = np.where(line_switch2 > 0, np.where(line_switch3 > 0, 0.0, 1.0), 1.0)
    line_inside11 = np.where(line_switch1 > 0, g58, 0.0)
    line_inside21 = np.where(line_switch1 > 0, 0.0, g58)
    g59 = np.where(line_switch5 > 0, np.where(line_switch6 > 0, 0.0, 1.0), 1.0)
    line_inside12 = np.where(line_switch4 > 0, g59, 0.0)
    line_change10 = -line_inside11 + line_inside12
    line_outward10 = line_away1*line_change10
    line_inside22 = np.where(line_switch4 > 0, 0.0, g59)
    line_change19 = -line_inside21 + line_inside22
    line_outward19 = line_away1*line_change19
    g60 = np.where(line_switch8 > 0, np.where(line_switch9 > 0, 0.0, 1.0), 1.0)
    line_inside13 = np.where(line_switch7 > 0, g60, 0.0)
    line_change11 = -line_inside12 + line_inside13
    line_outward11 = line_away2*line_change11
    line_inside23 = np.where(line_switch7 > 0, 0.0, g60)
    line_change20 = -line_inside22 + line_inside23
    line_outward20 = line_away2*line_change20
    g61 = np.where(line_switch11 > 0, np.where(line_switch12 > 0, 0.0, 1.0), 1.0)
    line_inside14 = np.where(line_switch10 > 0, g61, 0.0)
    line_change12 = -line_inside13 + line_inside14
    line_outward12 = line_away3*line_change12
    line_inside24 = np.where(line_switch10 > 0, 0.0, g61)
    line_change21 = -line_inside23 + line_inside24
    line_outward21 = line_away3*line_change21
    g62 = np.where(line_switch14 > 0, np.where(line_switch15 > 0, 0.0, 1.0), 1.0)
    line_inside15 = np.where(line_switch13 > 0, g62, 0.0)
    line_change13 = -line_inside14 + line_inside15
    line_outward13 = line_away4*line_change13
    line_inside25 = np.where(line_switch13 > 0, 0.0, g62)
    line_change22 = -line_inside24 + line_inside25
    line_outward22 = line_away4*line_change22
    g63 = np.where(line_switch17 > 0, np.where(line_switch18 > 0, 0.0, 1.0), 1.0)
    line_inside16 = np.where(line_switch16 > 0, g63, 0.0)
    line_change14 = -line_inside15 + line_inside16
    line_outward14 = line_away5*line_change14
    line_inside26 = np.where(line_switch16 > 0, 0.0, g63)
    line_change23 = -line_inside25 + line_inside26
    line_outward23 = line_away5*line_change23
    g64 = np.where(line_switch20 > 0, np.where(line_switch21 > 0, 0.0, 1.0), 1.0)
    line_inside17 = np.where(line_switch19 > 0, g64, 0.0)
    line_change15 = -line_inside16 + line_inside17
    line_outward15 = line_away6*line_change15
    line_inside27 = np.where(line_switch19 > 0, 0.0, g64)
    line_change24 = -line_inside26 + line_inside27
    line_outward24 = line_away6*line_change24
    g65 = np.where(line_switch23 > 0, np.where(line_switch24 > 0, 0.0, 1.0), 1.0)
    line_inside18 = np.where(line_switch22 > 0, g65, 0.0)
    line_change16 = -line_inside17 + line_inside18
    line_outward16 = line_away7*line_change16
    line_inside28 = np.where(line_switch22 > 0, 0.0, g65)
    line_change25 = -line_inside27 + line_inside28
    line_outward25 = line_away7*line_change25
    g66 = np.where(line_switch26 > 0, np.where(line_switch27 > 0, 0.0, 1.0), 1.0)
    line_inside19 = np.where(line_switch25 > 0, g66, 0.0)
    line_change17 = -line_inside18 + line_inside19
    line_outward17 = line_away8*line_change17
    line_inside29 = np.where(line_switch25 > 0, 0.0, g66)
    line_change26 = -line_inside28 + line_inside29
    line_outward26 = line_away8*line_change26
    g67 = np.where(line_switch29 > 0, np.where(line_switch30 > 0, 0.0, 1.0), 1.0)
    line_inside20 = np.where(line_switch28 > 0, g67, 0.0)
    line_change18 = -line_inside19 + line_inside20
    line_outward18 = line_away9*line_change18
    line_inside30 = np.where(line_switch28 > 0, 0.0, g67)
    line_change27 = -line_inside29 + line_inside30
    line_outward27 = line_away9*line_change27
    g68 = 0.5 - 0.5*line_away1
    g69 = 0.5 - 0.5*line_away2
    g70 = 0.5 - 0.5*line_away3
    g71 = 0.5 - 0.5*line_away4
    g72 = 0.5 - 0.5*line_away5
    g73 = 0.5 - 0.5*line_away6
    g74 = 0.5 - 0.5*line_away7
    g75 = 0.5 - 0.5*line_away8
    g76 = 0.5 - 0.5*line_away9
    line_central2 = g68*line_change10 + g69*line_change11 + g70*line_change12 + g71*line_change13 + g72*line_change14 + g73*line_change15 + g74*line_change16 + g75*line_change17 + g76*line_change18 + line_inside11
    line_moment6 = line_beyond1*line_outward10 + line_beyond2*line_outward11 + line_beyond3*line_outward12 + line_beyond4*line_outward13 + line_beyond5*line_outward14 + line_beyond6*line_outward15 + line_beyond7*line_outward16 + line_beyond8*line_outward17 + line_beyond9*line_outward18 + line_central2
    line_central3 = g68*line_change19 + g69*line_change20 + g70*line_change21 + g71*line_change22 + g72*line_change23 + g73*line_change24 + g74*line_change25 + g75*line_change26 + g76*line_change27 + line_inside21
    line_moment11 = line_beyond1*line_outward19 + line_beyond2*line_outward20 + line_beyond3*line_outward21 + line_beyond4*line_outward22 + line_beyond5*line_outward23 + line_beyond6*line_outward24 + line_beyond7*line_outward25 + line_beyond8*line_outward26 + line_beyond9*line_outward27 + line_central3
    g77 = line_away1*line_outward10
    g78 = line_away2*line_outward11
    g79 = line_away3*line_outward12
    g80 = line_away4*line_outward13
    g81 = line_away5*line_outward14
    g82 = line_away6*line_outward15
    g83 = line_away7*line_outward16
    g84 = line_away8*line_outward17
    g85 = line_away9*line_outward18
    g86 = line_away1*line_outward19
    g87 = line_away2*line_outward20
    g88 = line_away3*line_outward21
    g89 = line_away4*line_outward22
    g90 = line_away5*line_outward23
    g91 = line_away6*line_outward24
    g92 = line_away7*line_outward25
    g93 = line_away8*line_outward26
    g94 = line_away9*line_outward27
    g95 = 6.0*line_centre1
    g96 = g56*g95
    g97 = 3.0*(p_epsilon*p_epsilon)*(n*n) + 3.0*(line_centre1*line_centre1) - (line_centre2*line_centre2)
    line_c41 = g96 + g97
    line_c44 = -g96 + g97
    g98 = 2.0*label_along*line_centre2
    line_c42 = g95*score_along - g98 + g99
    line_c45 = -g98 - g99 + 6.0*line_centre1*score_along
    g100 = line_c36*line_low20
    line_value1 = line_c33 + line_low20*(line_c34 + line_low20*(g100 + line_c35))
    line_value2 = line_c38 + line_low20*(line_c39 + line_low20*(g100 + line_c40))
    line_jump1 = line_change10*line_value1 + line_change19*line_value2
    g101 = line_c36*line_low25
    line_value3 = line_c33 + line_low25*(line_c34 + line_low25*(g101 + line_c35))
    line_value4 = line_c38 + line_low25*(line_c39 + line_low25*(g101 + line_c40))
    line_jump2 = line_change11*line_value3 + line_change20*line_value4
    g102 = line_c36*line_high25
    line_value5 = line_c33 + line_high25*(line_c34 + line_high25*(g102 + line_c35))
    line_value6 = line_c38 + line_high25*(line_c39 + line_high25*(g102 + line_c40))
    line_jump3 = line_change12*line_value5 + line_change21*line_value6
    g103 = line_c36*line_low26
    line_value7 = line_c33 + line_low26*(line_c34 + line_low26*(g103 + line_c35))
    line_value8 = line_c38 + line_low26*(line_c39 + line_low26*(g103 + line_c40))
    line_jump4 = line_change13*line_value7 + line_change22*line_value8
    g104 = line_c36*line_high26
    line_value9 = line_c33 + line_high26*(line_c34 + line_high26*(g104 + line_c35))
    line_value10 = line_c38 + line_high26*(line_c39 + line_high26*(g104 + line_c40))
    line_jump5 = line_change14*line_value9 + line_change23*line_value10
    g105 = line_c36*line_low27
    line_value11 = line_c33 + line_low27*(line_c34 + line_low27*(g105 + line_c35))
    line_value12 = line_c38 + line_low27*(line_c39 + line_low27*(g105 + line_c40))
    line_jump6 = line_change15*line_value11 + line_change24*line_value12
    g106 = line_c36*line_high27
    line_value13 = line_c33 + line_high27*(line_c34 + line_high27*(g106 + line_c35))
    line_value14 = line_c38 + line_high27*(line_c39 + line_high27*(g106 + line_c40))
    line_jump7 = line_change16*line_value13 + line_change25*line_value14
    g107 = line_c36*line_low28
    line_value15 = line_c33 + line_low28*(line_c34 + line_low28*(g107 + line_c35))
    line_value16 = line_c38 + line_low28*(line_c39 + line_low28*(g107 + line_c40))
    line_jump8 = line_change17*line_value15 + line_change26*line_value16
    g108 = line_c36*line_high28
    line_value17 = line_c33 + line_high28*(line_c34 + line_high28*(g108 + line_c35))
    line_value18 = line_c38 + line_high28*(line_c39 + line_high28*(g108 + line_c40))
    line_jump9 = line_change18*line_value17 + line_change27*line_value18
    g109 = 2.0*line_centre1
    g111 = 1.0/(line_root1*line_side1)
    line_rate2 = -g111*(g109 + g110*line_cross2)
    line_rate3 = g111*(g109 + g110*line_cross3)
    line_rate6 = np.where(line_turned1 > 0, line_rate2, line_rate1)
    line_rate7 = np.where(line_turned1 > 0, line_rate1, line_rate2)
    line_rate8 = np.where(line_turned2 > 0, line_rate1, line_rate3)
    line_rate9 = np.where(line_turned2 > 0, line_rate3, line_rate1)
    line_rate14 = np.where(line_turned5 > 0, line_rate8, line_rate6)
    line_rate15 = np.where(line_turned5 > 0, line_rate6, line_rate8)
    line_rate16 = np.where(line_turned6 > 0, line_rate9, line_rate7)
    line_rate17 = np.where(line_turned6 > 0, line_rate7, line_rate9)
    line_rate22 = np.where(line_turned9 > 0, line_rate15, line_rate16)
    line_rate23 = np.where(line_turned9 > 0, line_rate16, line_rate15)
    line_rate26 = np.where(line_turned11 > 0, line_rate18, line_rate14)
    line_rate27 = np.where(line_turned11 > 0, line_rate14, line_rate18)
    line_rate28 = np.where(line_turned12 > 0, line_rate24, line_rate22)
    line_rate29 = np.where(line_turned12 > 0, line_rate22, line_rate24)
    line_rate30 = np.where(line_turned13 > 0, line_rate25, line_rate23)
    line_rate31 = np.where(line_turned13 > 0, line_rate23, line_rate25)
    line_rate32 = np.where(line_turned14 > 0, line_rate21, line_rate17)
    line_rate33 = np.where(line_turned14 > 0, line_rate17, line_rate21)
    line_rate34 = np.where(line_turned15 > 0, line_rate27, line_rate30)
    line_rate35 = np.where(line_turned15 > 0, line_rate30, line_rate27)
    line_rate36 = np.where(line_turned16 > 0, line_rate29, line_rate32)
    line_rate37 = np.where(line_turned16 > 0, line_rate32, line_rate29)
    line_rate38 = np.where(line_turned17 > 0, line_rate34, line_rate28)
    line_rate39 = np.where(line_turned17 > 0, line_rate28, line_rate34)
    line_rate40 = np.where(line_turned18 > 0, line_rate35, line_rate36)
    line_rate41 = np.where(line_turned18 > 0, line_rate36, line_rate35)
    line_rate42 = np.where(line_turned19 > 0, line_rate31, line_rate37)
    line_rate43 = np.where(line_turned19 > 0, line_rate37, line_rate31)
    line_rate44 = np.where(line_turned20 > 0, line_rate5, line_rate26)
    line_rate45 = np.where(line_turned20 > 0, line_rate26, line_rate5)
    line_rate46 = np.where(line_turned21 > 0, line_rate45, line_rate41)
    line_rate47 = np.where(line_turned21 > 0, line_rate41, line_rate45)
    line_rate48 = np.where(line_turned22 > 0, line_rate46, line_rate39)
    line_rate49 = np.where(line_turned22 > 0, line_rate39, line_rate46)
    line_rate50 = np.where(line_turned23 > 0, line_rate42, line_rate40)
    line_rate51 = np.where(line_turned23 > 0, line_rate40, line_rate42)
    line_rate52 = np.where(line_turned24 > 0, line_rate47, line_rate43)
    line_rate53 = np.where(line_turned24 > 0, line_rate43, line_rate47)
    line_rate54 = np.where(line_turned25 > 0, line_rate48, line_rate38)
    line_rate55 = np.where(line_turned25 > 0, line_rate38, line_rate48)
    line_rate56 = np.where(line_turned26 > 0, line_rate49, line_rate50)
    line_rate57 = np.where(line_turned26 > 0, line_rate50, line_rate49)
    line_rate58 = np.where(line_turned27 > 0, line_rate52, line_rate51)
    line_rate59 = np.where(line_turned27 > 0, line_rate51, line_rate52)
    line_rate60 = np.where(line_turned28 > 0, line_rate53, line_rate33)
    line_rate61 = np.where(line_turned28 > 0, line_rate33, line_rate53)
    g112 = 2.0*line_c33
    line_c47 = g112*line_c34
    line_c48 = g112*line_c35 + line_c34*line_c34
    g113 = 2.0*line_c34
    line_c49 = g112*line_c36 + g113*line_c35
    line_c50 = g113*line_c36 + line_c35*line_c35
    line_c51 = g114*line_c35
    line_c56 = g114*line_c38 + 2.0*line_c39*line_c40
    line_c57 = g114*line_c39 + line_c40*line_c40
    line_c58 = g114*line_c40
    g115 = 2.0*line_c38
    line_c54 = g115*line_c39
    line_c55 = g115*line_c40 + line_c39*line_c39
    g117 = 3.0*line_centre1 + line_centre2
    line_c64 = g116 + g117
    line_c66 = line_c13*line_c64
    line_c67 = gap_along*line_c64 + line_c13*line_c65
    line_c69 = -g116 + g117
    line_c70 = line_c24*line_c69
    line_c71 = gap_along*line_c69 + line_c24*line_c65
    g118 = 2.0*line_centre3
    line_rate140 = -g111*(g118 + g119*line_cross2)
    line_rate141 = g111*(g118 + g119*line_cross3)
    line_rate144 = np.where(line_turned1 > 0, line_rate140, line_rate1)
    line_rate145 = np.where(line_turned1 > 0, line_rate1, line_rate140)
    line_rate146 = np.where(line_turned2 > 0, line_rate1, line_rate141)
    line_rate147 = np.where(line_turned2 > 0, line_rate141, line_rate1)
    line_rate152 = np.where(line_turned5 > 0, line_rate146, line_rate144)
    line_rate153 = np.where(line_turned5 > 0, line_rate144, line_rate146)
    line_rate154 = np.where(line_turned6 > 0, line_rate147, line_rate145)
    line_rate155 = np.where(line_turned6 > 0, line_rate145, line_rate147)
    line_rate160 = np.where(line_turned9 > 0, line_rate153, line_rate154)
    line_rate161 = np.where(line_turned9 > 0, line_rate154, line_rate153)
    line_rate164 = np.where(line_turned11 > 0, line_rate156, line_rate152)
    line_rate165 = np.where(line_turned11 > 0, line_rate152, line_rate156)
    line_rate166 = np.where(line_turned12 > 0, line_rate162, line_rate160)
    line_rate167 = np.where(line_turned12 > 0, line_rate160, line_rate162)
    line_rate168 = np.where(line_turned13 > 0, line_rate163, line_rate161)
    line_rate169 = np.where(line_turned13 > 0, line_rate161, line_rate163)
    line_rate170 = np.where(line_turned14 > 0, line_rate159, line_rate155)
    line_rate171 = np.where(line_turned14 > 0, line_rate155, line_rate159)
    line_rate172 = np.where(line_turned15 > 0, line_rate165, line_rate168)
    line_rate173 = np.where(line_turned15 > 0, line_rate168, line_rate165)
    line_rate174 = np.where(line_turned16 > 0, line_rate167, line_rate170)
    line_rate175 = np.where(line_turned16 > 0, line_rate170, line_rate167)
    line_rate176 = np.where(line_turned17 > 0, line_rate172, line_rate166)
    line_rate177 = np.where(line_turned17 > 0, line_rate166, line_rate172)
    line_rate178 = np.where(line_turned18 > 0, line_rate173, line_rate174)
    line_rate179 = np.where(line_turned18 > 0, line_rate174, line_rate173)
    line_rate180 = np.where(line_turned19 > 0, line_rate169, line_rate175)
    line_rate181 = np.where(line_turned19 > 0, line_rate175, line_rate169)
    line_rate182 = np.where(line_turned20 > 0, line_rate143, line_rate164)
    line_rate183 = np.where(line_turned20 > 0, line_rate164, line_rate143)
    line_rate184 = np.where(line_turned21 > 0, line_rate183, line_rate179)
    line_rate185 = np.where(line_turned21 > 0, line_rate179, line_rate183)
    line_rate186 = np.where(line_turned22 > 0, line_rate184, line_rate177)
    line_rate187 = np.where(line_turned22 > 0, line_rate177, line_rate184)
    line_rate188 = np.where(line_turned23 > 0, line_rate180, line_rate178)
    line_rate189 = np.where(line_turned23 > 0, line_rate178, line_rate180)
    line_rate190 = np.where(line_turned24 > 0, line_rate185, line_rate181)
    line_rate191 = np.where(line_turned24 > 0, line_rate181, line_rate185)
    line_rate192 = np.where(line_turned25 > 0, line_rate186, line_rate176)
    line_rate193 = np.where(line_turned25 > 0, line_rate176, line_rate186)
    line_rate194 = np.where(line_turned26 > 0, line_rate187, line_rate188)
    line_rate195 = np.where(line_turned26 > 0, line_rate188, line_rate187)
    line_rate196 = np.where(line_turned27 > 0, line_rate190, line_rate189)
    line_rate197 = np.where(line_turned27 > 0, line_rate189, line_rate190)
    line_rate198 = np.where(line_turned28 > 0, line_rate191, line_rate171)
    line_rate199 = np.where(line_turned28 > 0, line_rate171, line_rate191)
    g120 = line_c33*line_moment6
    g125 = line_c38*line_moment11
    g1 = np.exp(-0.5*(line_gap1*line_gap1))
    line_density1 = 0.3989422804014327*g1
    line_edge1 = line_density1*line_gap1
    line_beyond10 = line_beyond1 + line_edge1
    line_edge10 = line_edge1*line_gap1
    line_beyond19 = 2.0*line_density1 + line_edge10
    line_edge19 = line_edge10*line_gap1
    line_beyond28 = 3.0*line_beyond10 + line_edge19
    line_rate62 = line_density1*line_rate44
    line_edge28 = line_edge19*line_gap1
    line_beyond37 = 4.0*line_beyond19 + line_edge28
    line_edge37 = line_edge28*line_gap1
    line_beyond46 = 5.0*line_beyond28 + line_edge37
    line_rate200 = line_density1*line_rate182
    g2 = np.exp(-0.5*(line_gap2*line_gap2))
    line_density2 = 0.3989422804014327*g2
    line_edge2 = line_density2*line_gap2
    line_beyond11 = line_beyond2 + line_edge2
    line_edge11 = line_edge2*line_gap2
    line_beyond20 = 2.0*line_density2 + line_edge11
    line_edge20 = line_edge11*line_gap2
    line_beyond29 = 3.0*line_beyond11 + line_edge20
    line_rate63 = line_density2*line_rate54
    line_edge29 = line_edge20*line_gap2
    line_beyond38 = 4.0*line_beyond20 + line_edge29
    line_edge38 = line_edge29*line_gap2
    line_beyond47 = 5.0*line_beyond29 + line_edge38
    line_rate201 = line_density2*line_rate192
    g3 = np.exp(-0.5*(line_gap3*line_gap3))
    line_density3 = 0.3989422804014327*g3
    line_edge3 = line_density3*line_gap3
    line_beyond12 = line_beyond3 + line_edge3
    line_edge12 = line_edge3*line_gap3
    line_beyond21 = 2.0*line_density3 + line_edge12
    line_edge21 = line_edge12*line_gap3
    line_beyond30 = 3.0*line_beyond12 + line_edge21
    line_rate64 = line_density3*line_rate55
    line_edge30 = line_edge21*line_gap3
    line_beyond39 = 4.0*line_beyond21 + line_edge30
    line_edge39 = line_edge30*line_gap3
    line_beyond48 = 5.0*line_beyond30 + line_edge39
    line_rate202 = line_density3*line_rate193
    g4 = np.exp(-0.5*(line_gap4*line_gap4))
    line_density4 = 0.3989422804014327*g4
    line_edge4 = line_density4*line_gap4
    line_beyond13 = line_beyond4 + line_edge4
    line_edge13 = line_edge4*line_gap4
    line_beyond22 = 2.0*line_density4 + line_edge13
    line_edge22 = line_edge13*line_gap4
    line_beyond31 = 3.0*line_beyond13 + line_edge22
    line_rate65 = line_density4*line_rate56
    line_edge31 = line_edge22*line_gap4
    line_beyond40 = 4.0*line_beyond22 + line_edge31
    line_edge40 = line_edge31*line_gap4
    line_beyond49 = 5.0*line_beyond31 + line_edge40
    line_rate203 = line_density4*line_rate194
    g5 = np.exp(-0.5*(line_gap5*line_gap5))
    line_density5 = 0.3989422804014327*g5
    line_edge5 = line_density5*line_gap5
    line_beyond14 = line_beyond5 + line_edge5
    line_edge14 = line_edge5*line_gap5
    line_beyond23 = 2.0*line_density5 + line_edge14
    line_edge23 = line_edge14*line_gap5
    line_beyond32 = 3.0*line_beyond14 + line_edge23
    line_rate66 = line_density5*line_rate57
    line_edge32 = line_edge23*line_gap5
    line_beyond41 = 4.0*line_beyond23 + line_edge32
    line_edge41 = line_edge32*line_gap5
    line_beyond50 = 5.0*line_beyond32 + line_edge41
    line_rate204 = line_density5*line_rate195
    g6 = np.exp(-0.5*(line_gap6*line_gap6))
    line_density6 = 0.3989422804014327*g6
    line_edge6 = line_density6*line_gap6
    line_beyond15 = line_beyond6 + line_edge6
    line_edge15 = line_edge6*line_gap6
    line_beyond24 = 2.0*line_density6 + line_edge15
    line_edge24 = line_edge15*line_gap6
    line_beyond33 = 3.0*line_beyond15 + line_edge24
    line_rate67 = line_density6*line_rate58
    line_edge33 = line_edge24*line_gap6
    line_beyond42 = 4.0*line_beyond24 + line_edge33
    line_edge42 = line_edge33*line_gap6
    line_beyond51 = 5.0*line_beyond33 + line_edge42
    line_rate205 = line_density6*line_rate196
    g7 = np.exp(-0.5*(line_gap7*line_gap7))
    line_density7 = 0.3989422804014327*g7
    line_edge7 = line_density7*line_gap7
    line_beyond16 = line_beyond7 + line_edge7
    line_edge16 = line_edge7*line_gap7
    line_beyond25 = 2.0*line_density7 + line_edge16
    line_edge25 = line_edge16*line_gap7
    line_beyond34 = 3.0*line_beyond16 + line_edge25
    line_rate68 = line_density7*line_rate59
    line_edge34 = line_edge25*line_gap7
    line_beyond43 = 4.0*line_beyond25 + line_edge34
    line_edge43 = line_edge34*line_gap7
    line_beyond52 = 5.0*line_beyond34 + line_edge43
    line_rate206 = line_density7*line_rate197
    g8 = np.exp(-0.5*(line_gap8*line_gap8))
    line_density8 = 0.3989422804014327*g8
    line_edge8 = line_density8*line_gap8
    line_beyond17 = line_beyond8 + line_edge8
    line_edge17 = line_edge8*line_gap8
    line_beyond26 = 2.0*line_density8 + line_edge17
    line_edge26 = line_edge17*line_gap8
    line_beyond35 = 3.0*line_beyond17 + line_edge26
    line_rate69 = line_density8*line_rate60
    line_edge35 = line_edge26*line_gap8
    line_beyond44 = 4.0*line_beyond26 + line_edge35
    line_edge44 = line_edge35*line_gap8
    line_beyond53 = 5.0*line_beyond35 + line_edge44
    line_rate207 = line_density8*line_rate198
    g9 = np.exp(-0.5*(line_gap9*line_gap9))
    line_density9 = 0.3989422804014327*g9
    line_edge9 = line_density9*line_gap9
    line_beyond18 = line_beyond9 + line_edge9
    line_edge18 = line_edge9*line_gap9
    line_beyond27 = 2.0*line_density9 + line_edge18
    line_edge27 = line_edge18*line_gap9
    line_beyond36 = 3.0*line_beyond18 + line_edge27
    line_moment7 = g77*line_density1 + g78*line_density2 + g79*line_density3 + g80*line_density4 + g81*line_density5 + g82*line_density6 + g83*line_density7 + g84*line_density8 + g85*line_density9
    line_moment8 = line_beyond10*line_outward10 + line_beyond11*line_outward11 + line_beyond12*line_outward12 + line_beyond13*line_outward13 + line_beyond14*line_outward14 + line_beyond15*line_outward15 + line_beyond16*line_outward16 + line_beyond17*line_outward17 + line_beyond18*line_outward18 + line_central2
    line_moment9 = g77*line_beyond19 + g78*line_beyond20 + g79*line_beyond21 + g80*line_beyond22 + g81*line_beyond23 + g82*line_beyond24 + g83*line_beyond25 + g84*line_beyond26 + g85*line_beyond27
    line_moment10 = line_beyond28*line_outward10 + line_beyond29*line_outward11 + line_beyond30*line_outward12 + line_beyond31*line_outward13 + line_beyond32*line_outward14 + line_beyond33*line_outward15 + line_beyond34*line_outward16 + line_beyond35*line_outward17 + line_beyond36*line_outward18 + 3.0*line_central2
    line_moment12 = g86*line_density1 + g87*line_density2 + g88*line_density3 + g89*line_density4 + g90*line_density5 + g91*line_density6 + g92*line_density7 + g93*line_density8 + g94*line_density9
    line_moment13 = line_beyond10*line_outward19 + line_beyond11*line_outward20 + line_beyond12*line_outward21 + line_beyond13*line_outward22 + line_beyond14*line_outward23 + line_beyond15*line_outward24 + line_beyond16*line_outward25 + line_beyond17*line_outward26 + line_beyond18*line_outward27 + line_central3
    line_moment14 = g86*line_beyond19 + g87*line_beyond20 + g88*line_beyond21 + g89*line_beyond22 + g90*line_beyond23 + g91*line_beyond24 + g92*line_beyond25 + g93*line_beyond26 + g94*line_beyond27
    line_moment15 = line_beyond28*line_outward19 + line_beyond29*line_outward20 + line_beyond30*line_outward21 + line_beyond31*line_outward22 + line_beyond32*line_outward23 + line_beyond33*line_outward24 + line_beyond34*line_outward25 + line_beyond35*line_outward26 + line_beyond36*line_outward27 + 3.0*line_central3
    line_rate70 = line_density9*line_rate61
    line_edge36 = line_edge27*line_gap9
    line_beyond45 = 4.0*line_beyond27 + line_edge36
    line_moment16 = g77*line_beyond37 + g78*line_beyond38 + g79*line_beyond39 + g80*line_beyond40 + g81*line_beyond41 + g82*line_beyond42 + g83*line_beyond43 + g84*line_beyond44 + g85*line_beyond45
    line_edge45 = line_edge36*line_gap9
    line_beyond54 = 5.0*line_beyond36 + line_edge45
    line_moment17 = line_beyond46*line_outward10 + line_beyond47*line_outward11 + line_beyond48*line_outward12 + line_beyond49*line_outward13 + line_beyond50*line_outward14 + line_beyond51*line_outward15 + line_beyond52*line_outward16 + line_beyond53*line_outward17 + line_beyond54*line_outward18 + 15.0*line_central2
    line_moment18 = g86*line_beyond37 + g87*line_beyond38 + g88*line_beyond39 + g89*line_beyond40 + g90*line_beyond41 + g91*line_beyond42 + g92*line_beyond43 + g93*line_beyond44 + g94*line_beyond45
    line_moment19 = line_beyond46*line_outward19 + line_beyond47*line_outward20 + line_beyond48*line_outward21 + line_beyond49*line_outward22 + line_beyond50*line_outward23 + line_beyond51*line_outward24 + line_beyond52*line_outward25 + line_beyond53*line_outward26 + line_beyond54*line_outward27 + 15.0*line_central3
    line_rate208 = line_density9*line_rate199
    g121 = line_c34*line_moment7
    g122 = line_c35*line_moment8
    g123 = line_c36*line_moment14
    g124 = line_c36*line_moment9
    g126 = line_c39*line_moment12
    g127 = line_c40*line_moment13
    J_A = np.sum(weights_z_across * (g120 + g121 + g122 + g123 + g124 + g125 + g126 + g127))
    J_B = np.sum(weights_z_across * (line_c41*line_moment6 + line_c42*line_moment7 + line_c43*line_moment13 + line_c43*line_moment8 + line_c44*line_moment11 + line_c45*line_moment12 + line_jump1*line_rate62 + line_jump2*line_rate63 + line_jump3*line_rate64 + line_jump4*line_rate65 + line_jump5*line_rate66 + line_jump6*line_rate67 + line_jump7*line_rate68 + line_jump8*line_rate69 + line_jump9*line_rate70))
    J_F = np.sum(weights_z_across * (p_epsilon*g120 + p_epsilon*g121 + p_epsilon*g122 - p_epsilon*g123 + p_epsilon*g124 - p_epsilon*g125 - p_epsilon*g126 - p_epsilon*g127))
    J_I = np.sum(weights_z_across * (line_c46*line_moment6 + line_c47*line_moment7 + line_c48*line_moment8 + line_c49*line_moment9 + line_c50*line_moment10 + line_c51*line_moment16 + line_c52*line_moment17 + line_c52*line_moment19 + line_c53*line_moment11 + line_c54*line_moment12 + line_c55*line_moment13 + line_c56*line_moment14 + line_c57*line_moment15 + line_c58*line_moment18))
    J_BD = np.sum(weights_z_across * (line_c66*line_moment6 + line_c67*line_moment7 + line_c68*line_moment13 + line_c68*line_moment8 + line_c70*line_moment11 + line_c71*line_moment12 + line_jump1*line_rate200 + line_jump2*line_rate201 + line_jump3*line_rate202 + line_jump4*line_rate203 + line_jump5*line_rate204 + line_jump6*line_rate205 + line_jump7*line_rate206 + line_jump8*line_rate207 + line_jump9*line_rate208))
    return J_A, J_B, J_F, J_I, J_BD


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def statistic_coefficients(score, y, par):
    """What the statistics need of one class."""
    n = score[0]
    m_star = score[1]
    Q_star = score[2]
    m = score[3]
    dm = score[4]
    beta = score[5]
    beta1 = score[6]
    Q_perp = score[7]
    p_epsilon = par[0]
    mean_ell = m_star
    s_ell = np.sqrt(np.maximum(1e-300, Q_star))
    s_given = np.sqrt(np.maximum(1e-300, Q_perp))
    reach = p_epsilon*n
    turn = np.where(beta > 0, 1.0, -1.0)
    score_along = turn*(0.764842187284489*s_ell*np.abs(beta) + 0.644217687237691*s_given)
    score_across = turn*(-0.644217687237691*s_ell*np.abs(beta) + 0.764842187284489*s_given)
    label_along = 0.764842187284489*s_ell
    label_across = -0.644217687237691*s_ell
    gap_along = 0.764842187284489*beta1*s_ell + 0.644217687237691*s_given*turn
    gap_across = -0.644217687237691*beta1*s_ell + 0.764842187284489*s_given*turn
    plane_slope1 = np.where(np.where((np.abs(score_along) - 1e-300) > 0, 1.0, -1.0) > 0, score_along, 1e-300)
    plane_p1 = dm*(m + mean_ell) + reach*reach
    plane_p2 = dm*(label_along + score_along) + gap_along*(m + mean_ell)
    plane_p3 = dm*(label_across + score_across) + gap_across*(m + mean_ell)
    plane_p4 = gap_along*(label_along + score_along)
    plane_p5 = gap_across*(label_along + score_along) + gap_along*(label_across + score_across)
    plane_p6 = gap_across*(label_across + score_across)
    plane_slope2 = np.where(np.where((np.abs(plane_p4) - 1e-300) > 0, 1.0, -1.0) > 0, plane_p4, 1e-300)
    plane_p7 = m - reach
    plane_p8 = m + reach
    plane_p9 = 2.0*m - 2.8284271247461903*mean_ell + 2.0*reach
    plane_p10 = -2.8284271247461903*label_along + 2.0*score_along
    plane_p11 = -2.8284271247461903*label_across + 2.0*score_across
    plane_slope3 = np.where(np.where((np.abs(plane_p10) - 1e-300) > 0, 1.0, -1.0) > 0, plane_p10, 1e-300)
    plane_p12 = 2.0*m + 2.8284271247461903*mean_ell + 2.0*reach
    plane_p13 = 2.8284271247461903*label_along + 2.0*score_along
    plane_p14 = 2.8284271247461903*label_across + 2.0*score_across
    plane_slope4 = np.where(np.where((np.abs(plane_p13) - 1e-300) > 0, 1.0, -1.0) > 0, plane_p13, 1e-300)
    plane_p15 = 2.0*m - 2.8284271247461903*mean_ell - 2.0*reach
    plane_p16 = 2.0*m + 2.8284271247461903*mean_ell - 2.0*reach
    plane_vertex1 = (-label_along*m - score_along*(-mean_ell + 0.7071067811865476*reach))/(s_ell*s_given*turn)
    plane_vertex2 = (-label_along*m - score_along*(-mean_ell - 0.7071067811865476*reach))/(s_ell*s_given*turn)
    plane_vertex3 = (label_along*(-m + reach) - score_along*(-mean_ell + 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_vertex4 = (label_along*(-m + reach) - score_along*(-mean_ell - 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_vertex5 = (label_along*(-m - reach) - score_along*(-mean_ell + 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_vertex6 = (label_along*(-m - reach) - score_along*(-mean_ell - 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_zero1 = -m/score_across
    plane_half1 = -0.5*plane_p3 - 0.5*np.sqrt(-4.0*plane_p1*plane_p6 + plane_p3*plane_p3)*np.where(plane_p3 > 0, 1.0, -1.0)
    plane_zero2 = plane_half1/plane_p6
    plane_zero3 = plane_p1/plane_half1
    plane_d1 = -4.0*plane_p1*plane_p4 + plane_p2*plane_p2
    plane_d2 = 2.0*plane_p2*plane_p5 - 4.0*plane_p3*plane_p4
    plane_d3 = 4.0*(s_ell*s_ell)*(s_given*s_given)*(turn*turn)
    plane_half2 = -0.5*plane_d2 - 0.5*np.sqrt(-4.0*plane_d1*plane_d3 + plane_d2*plane_d2)*np.where(plane_d2 > 0, 1.0, -1.0)
    plane_zero4 = plane_half2/plane_d3
    plane_zero5 = plane_d1/plane_half2
    plane_zero6 = -plane_p7/score_across
    plane_zero7 = -plane_p8/score_across
    plane_zero8 = -plane_p9/plane_p11
    plane_zero9 = -plane_p12/plane_p14
    plane_zero10 = -plane_p15/plane_p11
    plane_zero11 = -plane_p16/plane_p14
    h1 = 2.0*plane_p6
    h2 = h1*plane_zero2 + plane_p3
    h3 = 1.0/h2
    h4 = h1*h3*(plane_zero2*plane_zero2) + h3*plane_p3*plane_zero2
    h5 = h1*plane_zero3 + plane_p3
    h6 = 1.0/h5
    h7 = h1*h6*(plane_zero3*plane_zero3) + h6*plane_p3*plane_zero3
    h8 = 1.0/plane_d3
    h9 = np.abs(score_along)/np.abs(score_across)
    h10 = np.abs(plane_p10)/np.abs(plane_p11)
    h11 = np.abs(plane_p13)/np.abs(plane_p14)
    branches_z_across = [plane_zero4, plane_zero5]
    z_across, weights_z_across = branch_nodes(branch_panels(panels([plane_vertex1, plane_vertex2, plane_vertex3, plane_vertex4, plane_vertex5, plane_vertex6, plane_zero4, plane_zero5], [(-0.5*h8*plane_d2, np.sqrt(h8*plane_d1 - 0.25*(plane_d2*plane_d2)/(plane_d3*plane_d3)))], [(plane_zero1, h9), (h4, np.abs(h4*plane_p5 + plane_p2)/np.abs(h2)), (h7, np.abs(h7*plane_p5 + plane_p2)/np.abs(h5)), (plane_zero6, h9), (plane_zero7, h9), (plane_zero8, h10), (plane_zero9, h11), (plane_zero10, h10), (plane_zero11, h11)]), branches_z_across), branches_z_across)
    line_c15 = label_along + score_along
    line_c18 = gap_along*line_c15
    line_c23 = line_c18*line_c18
    line_c36 = line_c18*score_along
    g13 = label_along*label_along
    line_c3 = g13
    line_c7 = label_along*line_c3
    line_c12 = label_along*line_c7
    line_c43 = -g13 + 3.0*(score_along*score_along)
    g14 = 1.0/plane_slope1
    line_rate1 = g14
    g17 = 1.0/plane_slope3
    line_rate4 = 2.0*g17
    g19 = 1.0/plane_slope4
    line_rate5 = 2.0*g19
    g78 = p_epsilon*n
    g81 = 2.0*line_c18
    g113 = 6.0*g78*score_along
    g124 = 2.0*score_along
    g126 = 0.25*line_c23
    g127 = p_epsilon*line_c36
    line_centre2 = label_across*z_across + mean_ell
    line_h1 = plane_p1 + z_across*(plane_p3 + plane_p6*z_across)
    line_h2 = plane_p2 + plane_p5*z_across
    line_square1 = -4.0*line_h1*plane_p4 + line_h2*line_h2
    line_root1 = np.sqrt(np.maximum(1e-300, line_square1))
    line_side1 = np.where(line_h2 > 0, 1.0, -1.0)
    line_half1 = -0.5*line_h2 - 0.5*line_root1*line_side1
    line_centre3 = dm + gap_across*z_across
    g10 = score_across*z_across
    line_centre1 = g10 + m
    line_h3 = g10 + plane_p7
    line_h4 = g10 + plane_p8
    g11 = line_centre2*line_centre2
    line_c1 = g11
    line_c4 = line_c1*line_centre2
    line_c8 = line_c4*line_centre2
    g12 = 2.0*label_along*line_centre2
    line_c2 = g12
    line_c5 = label_along*line_c1 + line_c2*line_centre2
    line_c9 = label_along*line_c4 + line_c5*line_centre2
    line_c6 = label_along*line_c2 + line_c3*line_centre2
    line_c10 = label_along*line_c5 + line_c6*line_centre2
    line_c11 = label_along*line_c6 + line_c7*line_centre2
    line_cross1 = np.maximum(-40.0, np.minimum(40.0, -g14*line_centre1))
    line_cross4 = np.maximum(-40.0, np.minimum(40.0, -g14*line_h3))
    line_cross5 = np.maximum(-40.0, np.minimum(40.0, -g14*line_h4))
    g15 = np.where(line_square1 > 0, 1.0, -1.0)
    line_cross2 = np.where(g15 > 0, np.maximum(-40.0, np.minimum(40.0, line_half1/plane_slope2)), 40.0)
    line_cross3 = np.where(g15 > 0, np.maximum(-40.0, np.minimum(40.0, line_h1/np.where(np.where((np.abs(line_half1) - 1e-300) > 0, 1.0, -1.0) > 0, line_half1, 1e-300))), 40.0)
    line_turned1 = np.where((line_cross1 - line_cross2) > 0, 1.0, -1.0)
    line_low1 = np.where(line_turned1 > 0, line_cross2, line_cross1)
    line_high1 = np.where(line_turned1 > 0, line_cross1, line_cross2)
    line_turned2 = np.where((line_cross3 - line_cross4) > 0, 1.0, -1.0)
    line_low2 = np.where(line_turned2 > 0, line_cross4, line_cross3)
    line_high2 = np.where(line_turned2 > 0, line_cross3, line_cross4)
    line_turned5 = np.where((line_low1 - line_low2) > 0, 1.0, -1.0)
    line_low5 = np.where(line_turned5 > 0, line_low2, line_low1)
    line_high5 = np.where(line_turned5 > 0, line_low1, line_low2)
    line_turned6 = np.where((line_high1 - line_high2) > 0, 1.0, -1.0)
    line_low6 = np.where(line_turned6 > 0, line_high2, line_high1)
    line_high6 = np.where(line_turned6 > 0, line_high1, line_high2)
    line_turned9 = np.where((-line_high5 + line_low6) > 0, 1.0, -1.0)
    line_low9 = np.where(line_turned9 > 0, line_high5, line_low6)
    line_high9 = np.where(line_turned9 > 0, line_low6, line_high5)
    g16 = plane_p11*z_across
    line_h5 = g16 + plane_p9
    line_h7 = g16 + plane_p15
    line_cross6 = np.maximum(-40.0, np.minimum(40.0, -g17*line_h5))
    line_cross8 = np.maximum(-40.0, np.minimum(40.0, -g17*line_h7))
    line_turned3 = np.where((line_cross5 - line_cross6) > 0, 1.0, -1.0)
    line_low3 = np.where(line_turned3 > 0, line_cross6, line_cross5)
    line_high3 = np.where(line_turned3 > 0, line_cross5, line_cross6)
    line_rate10 = np.where(line_turned3 > 0, line_rate4, line_rate1)
    line_rate11 = np.where(line_turned3 > 0, line_rate1, line_rate4)
    g18 = plane_p14*z_across
    line_h6 = g18 + plane_p12
    line_h8 = g18 + plane_p16
    line_cross7 = np.maximum(-40.0, np.minimum(40.0, -g19*line_h6))
    line_cross9 = np.maximum(-40.0, np.minimum(40.0, -g19*line_h8))
    line_turned4 = np.where((line_cross7 - line_cross8) > 0, 1.0, -1.0)
    line_low4 = np.where(line_turned4 > 0, line_cross8, line_cross7)
    line_high4 = np.where(line_turned4 > 0, line_cross7, line_cross8)
    line_turned7 = np.where((line_low3 - line_low4) > 0, 1.0, -1.0)
    line_low7 = np.where(line_turned7 > 0, line_low4, line_low3)
    line_high7 = np.where(line_turned7 > 0, line_low3, line_low4)
    line_turned8 = np.where((line_high3 - line_high4) > 0, 1.0, -1.0)
    line_low8 = np.where(line_turned8 > 0, line_high4, line_high3)
    line_high8 = np.where(line_turned8 > 0, line_high3, line_high4)
    line_turned10 = np.where((-line_high7 + line_low8) > 0, 1.0, -1.0)
    line_low10 = np.where(line_turned10 > 0, line_high7, line_low8)
    line_high10 = np.where(line_turned10 > 0, line_low8, line_high7)
    line_turned11 = np.where((line_low5 - line_low7) > 0, 1.0, -1.0)
    line_low11 = np.where(line_turned11 > 0, line_low7, line_low5)
    line_high11 = np.where(line_turned11 > 0, line_low5, line_low7)
    line_turned12 = np.where((-line_low10 + line_low9) > 0, 1.0, -1.0)
    line_low12 = np.where(line_turned12 > 0, line_low10, line_low9)
    line_high12 = np.where(line_turned12 > 0, line_low9, line_low10)
    line_turned13 = np.where((-line_high10 + line_high9) > 0, 1.0, -1.0)
    line_low13 = np.where(line_turned13 > 0, line_high10, line_high9)
    line_high13 = np.where(line_turned13 > 0, line_high9, line_high10)
    line_turned14 = np.where((line_high6 - line_high8) > 0, 1.0, -1.0)
    line_low14 = np.where(line_turned14 > 0, line_high8, line_high6)
    line_high14 = np.where(line_turned14 > 0, line_high6, line_high8)
    line_turned15 = np.where((-line_high11 + line_low13) > 0, 1.0, -1.0)
    line_low15 = np.where(line_turned15 > 0, line_high11, line_low13)
    line_high15 = np.where(line_turned15 > 0, line_low13, line_high11)
    line_turned16 = np.where((-line_high12 + line_low14) > 0, 1.0, -1.0)
    line_low16 = np.where(line_turned16 > 0, line_high12, line_low14)
    line_high16 = np.where(line_turned16 > 0, line_low14, line_high12)
    line_turned17 = np.where((line_low12 - line_low15) > 0, 1.0, -1.0)
    line_low17 = np.where(line_turned17 > 0, line_low15, line_low12)
    line_high17 = np.where(line_turned17 > 0, line_low12, line_low15)
    line_turned18 = np.where((-line_high15 + line_low16) > 0, 1.0, -1.0)
    line_low18 = np.where(line_turned18 > 0, line_high15, line_low16)
    line_high18 = np.where(line_turned18 > 0, line_low16, line_high15)
    line_turned19 = np.where((-line_high13 + line_high16) > 0, 1.0, -1.0)
    line_low19 = np.where(line_turned19 > 0, line_high13, line_high16)
    line_high19 = np.where(line_turned19 > 0, line_high16, line_high13)
    line_turned20 = np.where((-line_cross9 + line_low11) > 0, 1.0, -1.0)
    line_low20 = np.where(line_turned20 > 0, line_cross9, line_low11)
    line_high20 = np.where(line_turned20 > 0, line_low11, line_cross9)
    line_turned21 = np.where((line_high18 - line_high20) > 0, 1.0, -1.0)
    line_low21 = np.where(line_turned21 > 0, line_high20, line_high18)
    line_high21 = np.where(line_turned21 > 0, line_high18, line_high20)
    line_turned22 = np.where((line_high17 - line_low21) > 0, 1.0, -1.0)
    line_low22 = np.where(line_turned22 > 0, line_low21, line_high17)
    line_high22 = np.where(line_turned22 > 0, line_high17, line_low21)
    line_turned23 = np.where((line_low18 - line_low19) > 0, 1.0, -1.0)
    line_low23 = np.where(line_turned23 > 0, line_low19, line_low18)
    line_high23 = np.where(line_turned23 > 0, line_low18, line_low19)
    line_turned24 = np.where((line_high19 - line_high21) > 0, 1.0, -1.0)
    line_low24 = np.where(line_turned24 > 0, line_high21, line_high19)
    line_high24 = np.where(line_turned24 > 0, line_high19, line_high21)
    line_turned25 = np.where((line_low17 - line_low22) > 0, 1.0, -1.0)
    line_low25 = np.where(line_turned25 > 0, line_low22, line_low17)
    line_high25 = np.where(line_turned25 > 0, line_low17, line_low22)
    line_turned26 = np.where((-line_high22 + line_low23) > 0, 1.0, -1.0)
    line_low26 = np.where(line_turned26 > 0, line_high22, line_low23)
    line_high26 = np.where(line_turned26 > 0, line_low23, line_high22)
    line_turned27 = np.where((line_high23 - line_low24) > 0, 1.0, -1.0)
    line_low27 = np.where(line_turned27 > 0, line_low24, line_high23)
    line_high27 = np.where(line_turned27 > 0, line_high23, line_low24)
    line_turned28 = np.where((line_high14 - line_high24) > 0, 1.0, -1.0)
    line_low28 = np.where(line_turned28 > 0, line_high24, line_high14)
    line_high28 = np.where(line_turned28 > 0, line_high14, line_high24)
    line_gap1 = np.abs(line_low20)
    line_away1 = np.where(line_low20 > 0, 1.0, -1.0)
    line_gap2 = np.abs(line_low25)
    line_away2 = np.where(line_low25 > 0, 1.0, -1.0)
    line_gap3 = np.abs(line_high25)
    line_away3 = np.where(line_high25 > 0, 1.0, -1.0)
    line_gap4 = np.abs(line_low26)
    line_away4 = np.where(line_low26 > 0, 1.0, -1.0)
    line_gap5 = np.abs(line_high26)
    line_away5 = np.where(line_high26 > 0, 1.0, -1.0)
    line_gap6 = np.abs(line_low27)
    line_away6 = np.where(line_low27 > 0, 1.0, -1.0)
    line_gap7 = np.abs(line_high27)
    line_away7 = np.where(line_high27 > 0, 1.0, -1.0)
    line_gap8 = np.abs(line_low28)
    line_away8 = np.where(line_low28 > 0, 1.0, -1.0)
    line_gap9 = np.abs(line_high28)
    line_away9 = np.where(line_high28 > 0, 1.0, -1.0)
    line_beyond1 = 0.5*erfc(0.7071067811865476*line_gap1)
    line_beyond2 = 0.5*erfc(0.7071067811865476*line_gap2)
    line_beyond3 = 0.5*erfc(0.7071067811865476*line_gap3)
    line_beyond4 = 0.5*erfc(0.7071067811865476*line_gap4)
    line_beyond5 = 0.5*erfc(0.7071067811865476*line_gap5)
    line_beyond6 = 0.5*erfc(0.7071067811865476*line_gap6)
    line_beyond7 = 0.5*erfc(0.7071067811865476*line_gap7)
    line_beyond8 = 0.5*erfc(0.7071067811865476*line_gap8)
    line_beyond9 = 0.5*erfc(0.7071067811865476*line_gap9)
    line_rate12 = np.where(line_turned4 > 0, line_rate4, line_rate5)
    line_rate13 = np.where(line_turned4 > 0, line_rate5, line_rate4)
    line_rate18 = np.where(line_turned7 > 0, line_rate12, line_rate10)
    line_rate19 = np.where(line_turned7 > 0, line_rate10, line_rate12)
    line_rate20 = np.where(line_turned8 > 0, line_rate13, line_rate11)
    line_rate21 = np.where(line_turned8 > 0, line_rate11, line_rate13)
    line_rate24 = np.where(line_turned10 > 0, line_rate19, line_rate20)
    line_rate25 = np.where(line_turned10 > 0, line_rate20, line_rate19)
    g20 = 0.5*line_low20
    line_middle1 = g20 - 20.0
    line_side3 = np.where((line_h1 + line_middle1*(line_h2 + line_middle1*plane_p4)) > 0, 1.0, -1.0)
    g21 = line_middle1*score_along
    line_side2 = np.where((g21 + line_centre1) > 0, 1.0, -1.0)
    line_switch1 = line_side2*line_side3
    line_side4 = np.where((g21 + line_h3) > 0, 1.0, -1.0)
    line_side5 = np.where((g21 + line_h4) > 0, 1.0, -1.0)
    line_switch2 = -line_side4*line_side5
    g22 = line_middle1*plane_p10
    line_side6 = np.where((g22 + line_h5) > 0, 1.0, -1.0)
    line_side8 = np.where((g22 + line_h7) > 0, 1.0, -1.0)
    g23 = line_middle1*plane_p13
    line_side7 = np.where((g23 + line_h6) > 0, 1.0, -1.0)
    line_side9 = np.where((g23 + line_h8) > 0, 1.0, -1.0)
    line_switch3 = np.where(line_switch1 > 0, -line_side6*line_side7, -line_side8*line_side9)
    line_inside1 = np.where(line_switch2 > 0, np.where(line_switch3 > 0, 1.0, 0.0), 0.0)
    g24 = 0.5*line_low25
    line_middle2 = g20 + g24
    line_side11 = np.where((line_h1 + line_middle2*(line_h2 + line_middle2*plane_p4)) > 0, 1.0, -1.0)
    g25 = line_middle2*score_along
    line_side10 = np.where((g25 + line_centre1) > 0, 1.0, -1.0)
    line_switch4 = line_side10*line_side11
    line_side12 = np.where((g25 + line_h3) > 0, 1.0, -1.0)
    line_side13 = np.where((g25 + line_h4) > 0, 1.0, -1.0)
    line_switch5 = -line_side12*line_side13
    g26 = line_middle2*plane_p10
    line_side14 = np.where((g26 + line_h5) > 0, 1.0, -1.0)
    line_side16 = np.where((g26 + line_h7) > 0, 1.0, -1.0)
    g27 = line_middle2*plane_p13
    line_side15 = np.where((g27 + line_h6) > 0, 1.0, -1.0)
    line_side17 = np.where((g27 + line_h8) > 0, 1.0, -1.0)
    line_switch6 = np.where(line_switch4 > 0, -line_side14*line_side15, -line_side16*line_side17)
    line_inside2 = np.where(line_switch5 > 0, np.where(line_switch6 > 0, 1.0, 0.0), 0.0)
    line_change1 = -line_inside1 + line_inside2
    line_outward1 = line_away1*line_change1
    g28 = 0.5*line_high25
    line_middle3 = g24 + g28
    line_side19 = np.where((line_h1 + line_middle3*(line_h2 + line_middle3*plane_p4)) > 0, 1.0, -1.0)
    g29 = line_middle3*score_along
    line_side18 = np.where((g29 + line_centre1) > 0, 1.0, -1.0)
    line_switch7 = line_side18*line_side19
    line_side20 = np.where((g29 + line_h3) > 0, 1.0, -1.0)
    line_side21 = np.where((g29 + line_h4) > 0, 1.0, -1.0)
    line_switch8 = -line_side20*line_side21
    g30 = line_middle3*plane_p10
    line_side22 = np.where((g30 + line_h5) > 0, 1.0, -1.0)
    line_side24 = np.where((g30 + line_h7) > 0, 1.0, -1.0)
    g31 = line_middle3*plane_p13
    line_side23 = np.where((g31 + line_h6) > 0, 1.0, -1.0)
    line_side25 = np.where((g31 + line_h8) > 0, 1.0, -1.0)
    line_switch9 = np.where(line_switch7 > 0, -line_side22*line_side23, -line_side24*line_side25)
    line_inside3 = np.where(line_switch8 > 0, np.where(line_switch9 > 0, 1.0, 0.0), 0.0)
    line_change2 = -line_inside2 + line_inside3
    line_outward2 = line_away2*line_change2
    g32 = 0.5*line_low26
    line_middle4 = g28 + g32
    line_side27 = np.where((line_h1 + line_middle4*(line_h2 + line_middle4*plane_p4)) > 0, 1.0, -1.0)
    g33 = line_middle4*score_along
    line_side26 = np.where((g33 + line_centre1) > 0, 1.0, -1.0)
    line_switch10 = line_side26*line_side27
    line_side28 = np.where((g33 + line_h3) > 0, 1.0, -1.0)
    line_side29 = np.where((g33 + line_h4) > 0, 1.0, -1.0)
    line_switch11 = -line_side28*line_side29
    g34 = line_middle4*plane_p10
    line_side30 = np.where((g34 + line_h5) > 0, 1.0, -1.0)
    line_side32 = np.where((g34 + line_h7) > 0, 1.0, -1.0)
    g35 = line_middle4*plane_p13
    line_side31 = np.where((g35 + line_h6) > 0, 1.0, -1.0)
    line_side33 = np.where((g35 + line_h8) > 0, 1.0, -1.0)
    line_switch12 = np.where(line_switch10 > 0, -line_side30*line_side31, -line_side32*line_side33)
    line_inside4 = np.where(line_switch11 > 0, np.where(line_switch12 > 0, 1.0, 0.0), 0.0)
    line_change3 = -line_inside3 + line_inside4
    line_outward3 = line_away3*line_change3
    g36 = 0.5*line_high26
    line_middle5 = g32 + g36
    line_side35 = np.where((line_h1 + line_middle5*(line_h2 + line_middle5*plane_p4)) > 0, 1.0, -1.0)
    g37 = line_middle5*score_along
    line_side34 = np.where((g37 + line_centre1) > 0, 1.0, -1.0)
    line_switch13 = line_side34*line_side35
    line_side36 = np.where((g37 + line_h3) > 0, 1.0, -1.0)
    line_side37 = np.where((g37 + line_h4) > 0, 1.0, -1.0)
    line_switch14 = -line_side36*line_side37
    g38 = line_middle5*plane_p10
    line_side38 = np.where((g38 + line_h5) > 0, 1.0, -1.0)
    line_side40 = np.where((g38 + line_h7) > 0, 1.0, -1.0)
    g39 = line_middle5*plane_p13
    line_side39 = np.where((g39 + line_h6) > 0, 1.0, -1.0)
    line_side41 = np.where((g39 + line_h8) > 0, 1.0, -1.0)
    line_switch15 = np.where(line_switch13 > 0, -line_side38*line_side39, -line_side40*line_side41)
    line_inside5 = np.where(line_switch14 > 0, np.where(line_switch15 > 0, 1.0, 0.0), 0.0)
    line_change4 = -line_inside4 + line_inside5
    line_outward4 = line_away4*line_change4
    g40 = 0.5*line_low27
    line_middle6 = g36 + g40
    line_side43 = np.where((line_h1 + line_middle6*(line_h2 + line_middle6*plane_p4)) > 0, 1.0, -1.0)
    g41 = line_middle6*score_along
    line_side42 = np.where((g41 + line_centre1) > 0, 1.0, -1.0)
    line_switch16 = line_side42*line_side43
    line_side44 = np.where((g41 + line_h3) > 0, 1.0, -1.0)
    line_side45 = np.where((g41 + line_h4) > 0, 1.0, -1.0)
    line_switch17 = -line_side44*line_side45
    g42 = line_middle6*plane_p10
    line_side46 = np.where((g42 + line_h5) > 0, 1.0, -1.0)
    line_side48 = np.where((g42 + line_h7) > 0, 1.0, -1.0)
    g43 = line_middle6*plane_p13
    line_side47 = np.where((g43 + line_h6) > 0, 1.0, -1.0)
    line_side49 = np.where((g43 + line_h8) > 0, 1.0, -1.0)
    line_switch18 = np.where(line_switch16 > 0, -line_side46*line_side47, -line_side48*line_side49)
    line_inside6 = np.where(line_switch17 > 0, np.where(line_switch18 > 0, 1.0, 0.0), 0.0)
    line_change5 = -line_inside5 + line_inside6
    line_outward5 = line_away5*line_change5
    g44 = 0.5*line_high27
    line_middle7 = g40 + g44
    line_side51 = np.where((line_h1 + line_middle7*(line_h2 + line_middle7*plane_p4)) > 0, 1.0, -1.0)
    g45 = line_middle7*score_along
    line_side50 = np.where((g45 + line_centre1) > 0, 1.0, -1.0)
    line_switch19 = line_side50*line_side51
    line_side52 = np.where((g45 + line_h3) > 0, 1.0, -1.0)
    line_side53 = np.where((g45 + line_h4) > 0, 1.0, -1.0)
    line_switch20 = -line_side52*line_side53
    g46 = line_middle7*plane_p10
    line_side54 = np.where((g46 + line_h5) > 0, 1.0, -1.0)
    line_side56 = np.where((g46 + line_h7) > 0, 1.0, -1.0)
    g47 = line_middle7*plane_p13
    line_side55 = np.where((g47 + line_h6) > 0, 1.0, -1.0)
    line_side57 = np.where((g47 + line_h8) > 0, 1.0, -1.0)
    line_switch21 = np.where(line_switch19 > 0, -line_side54*line_side55, -line_side56*line_side57)
    line_inside7 = np.where(line_switch20 > 0, np.where(line_switch21 > 0, 1.0, 0.0), 0.0)
    line_change6 = -line_inside6 + line_inside7
    line_outward6 = line_away6*line_change6
    g48 = 0.5*line_low28
    line_middle8 = g44 + g48
    line_side59 = np.where((line_h1 + line_middle8*(line_h2 + line_middle8*plane_p4)) > 0, 1.0, -1.0)
    g49 = line_middle8*score_along
    line_side58 = np.where((g49 + line_centre1) > 0, 1.0, -1.0)
    line_switch22 = line_side58*line_side59
    line_side60 = np.where((g49 + line_h3) > 0, 1.0, -1.0)
    line_side61 = np.where((g49 + line_h4) > 0, 1.0, -1.0)
    line_switch23 = -line_side60*line_side61
    g50 = line_middle8*plane_p10
    line_side62 = np.where((g50 + line_h5) > 0, 1.0, -1.0)
    line_side64 = np.where((g50 + line_h7) > 0, 1.0, -1.0)
    g51 = line_middle8*plane_p13
    line_side63 = np.where((g51 + line_h6) > 0, 1.0, -1.0)
    line_side65 = np.where((g51 + line_h8) > 0, 1.0, -1.0)
    line_switch24 = np.where(line_switch22 > 0, -line_side62*line_side63, -line_side64*line_side65)
    line_inside8 = np.where(line_switch23 > 0, np.where(line_switch24 > 0, 1.0, 0.0), 0.0)
    line_change7 = -line_inside7 + line_inside8
    line_outward7 = line_away7*line_change7
    g52 = 0.5*line_high28
    line_middle9 = g48 + g52
    line_side67 = np.where((line_h1 + line_middle9*(line_h2 + line_middle9*plane_p4)) > 0, 1.0, -1.0)
    line_middle10 = g52 + 20.0
    line_side75 = np.where((line_h1 + line_middle10*(line_h2 + line_middle10*plane_p4)) > 0, 1.0, -1.0)
    g53 = line_middle9*score_along
    line_side66 = np.where((g53 + line_centre1) > 0, 1.0, -1.0)
    line_switch25 = line_side66*line_side67
    line_side68 = np.where((g53 + line_h3) > 0, 1.0, -1.0)
    line_side69 = np.where((g53 + line_h4) > 0, 1.0, -1.0)
    line_switch26 = -line_side68*line_side69
    g54 = line_middle9*plane_p10
    line_side70 = np.where((g54 + line_h5) > 0, 1.0, -1.0)
    line_side72 = np.where((g54 + line_h7) > 0, 1.0, -1.0)
    g55 = line_middle9*plane_p13
    line_side71 = np.where((g55 + line_h6) > 0, 1.0, -1.0)
    line_side73 = np.where((g55 + line_h8) > 0, 1.0, -1.0)
    line_switch27 = np.where(line_switch25 > 0, -line_side70*line_side71, -line_side72*line_side73)
    line_inside9 = np.where(line_switch26 > 0, np.where(line_switch27 > 0, 1.0, 0.0), 0.0)
    g56 = line_middle10*score_along
    line_side74 = np.where((g56 + line_centre1) > 0, 1.0, -1.0)
    line_switch28 = line_side74*line_side75
    line_side76 = np.where((g56 + line_h3) > 0, 1.0, -1.0)
    line_side77 = np.where((g56 + line_h4) > 0, 1.0, -1.0)
    line_switch29 = -line_side76*line_side77
    g57 = line_middle10*plane_p10
    line_side78 = np.where((g57 + line_h5) > 0, 1.0, -1.0)
    line_side80 = np.where((g57 + line_h7) > 0, 1.0, -1.0)
    g58 = line_middle10*plane_p13
    line_side79 = np.where((g58 + line_h6) > 0, 1.0, -1.0)
    line_side81 = np.where((g58 + line_h8) > 0, 1.0, -1.0)
    line_switch30 = np.where(line_switch28 > 0, -line_side78*line_side79, -line_side80*line_side81)
    line_inside10 = np.where(line_switch29 > 0, np.where(line_switch30 > 0, 1.0, 0.0), 0.0)
    g59 = -line_inside9
    line_change8 = -g59 - line_inside8
    line_change9 = g59 + line_inside10
    line_outward8 = line_away8*line_change8
    line_outward9 = line_away9*line_change9
    g60 = 0.5 - 0.5*line_away1
    g61 = 0.5 - 0.5*line_away2
    g62 = 0.5 - 0.5*line_away3
    g63 = 0.5 - 0.5*line_away4
    g64 = 0.5 - 0.5*line_away5
    g65 = 0.5 - 0.5*line_away6
    g66 = 0.5 - 0.5*line_away7
    g67 = 0.5 - 0.5*line_away8
    g68 = 0.5 - 0.5*line_away9
    line_central1 = g60*line_change1 + g61*line_change2 + g62*line_change3 + g63*line_change4 + g64*line_change5 + g65*line_change6 + g66*line_change7 + g67*line_change8 + g68*line_change9 + line_inside1
    line_moment1 = line_beyond1*line_outward1 + line_beyond2*line_outward2 + line_beyond3*line_outward3 + line_beyond4*line_outward4 + line_beyond5*line_outward5 + line_beyond6*line_outward6 + line_beyond7*line_outward7 + line_beyond8*line_outward8 + line_beyond9*line_outward9 + line_central1
    g69 = line_away1*line_outward1
    g70 = line_away2*line_outward2
    g71 = line_away3*line_outward3
    g72 = line_away4*line_outward4
    g73 = line_away5*line_outward5
    g74 = line_away6*line_outward6
    g75 = line_away7*line_outward7
    g76 = line_away8*line_outward8
    g77 = line_away9*line_outward9
    line_c13 = g78 + line_centre3
    line_c24 = -g78 + line_centre3
    line_c25 = -g78 + line_centre1 + line_centre2
    line_c26 = line_c24*line_c25
    line_c27 = gap_along*line_c25 + line_c15*line_c24
    line_c28 = line_c26*line_c26
    line_c29 = 2.0*line_c26*line_c27
    line_c37 = -g78 + line_centre1
    line_c38 = line_c26*line_c37
    line_c39 = line_c26*score_along + line_c27*line_c37
    line_c40 = line_c18*line_c37 + line_c27*score_along
    g79 = g78 + line_centre1
    line_c14 = g79 + line_centre2
    line_c16 = line_c13*line_c14
    line_c17 = gap_along*line_c14 + line_c13*line_c15
    line_c19 = line_c16*line_c16
    line_c32 = g79
    line_c33 = line_c16*line_c32
    line_c34 = line_c16*score_along + line_c17*line_c32
    line_c35 = line_c17*score_along + line_c18*line_c32
    g80 = 2.0*line_c16
    line_c20 = g80*line_c17
    line_c21 = g80*line_c18 + line_c17*line_c17
    line_c22 = g81*line_c17
    line_c30 = g81*line_c26 + line_c27*line_c27
    line_c31 = g81*line_c27
    g82 = np.where(line_switch2 > 0, np.where(line_switch3 > 0, 0.0, 1.0), 1.0)
    line_inside11 = np.where(line_switch1 > 0, g82, 0.0)
    line_inside21 = np.where(line_switch1 > 0, 0.0, g82)
    g83 = np.where(line_switch5 > 0, np.where(line_switch6 > 0, 0.0, 1.0), 1.0)
    line_inside12 = np.where(line_switch4 > 0, g83, 0.0)
    line_change10 = -line_inside11 + line_inside12
    line_outward10 = line_away1*line_change10
    line_inside22 = np.where(line_switch4 > 0, 0.0, g83)
    line_change19 = -line_inside21 + line_inside22
    line_outward19 = line_away1*line_change19
    g84 = np.where(line_switch8 > 0, np.where(line_switch9 > 0, 0.0, 1.0), 1.0)
    line_inside13 = np.where(line_switch7 > 0, g84, 0.0)
    line_change11 = -line_inside12 + line_inside13
    line_outward11 = line_away2*line_change11
    line_inside23 = np.where(line_switch7 > 0, 0.0, g84)
    line_change20 = -line_inside22 + line_inside23
    line_outward20 = line_away2*line_change20
    g85 = np.where(line_switch11 > 0, np.where(line_switch12 > 0, 0.0, 1.0), 1.0)
    line_inside14 = np.where(line_switch10 > 0, g85, 0.0)
    line_change12 = -line_inside13 + line_inside14
    line_outward12 = line_away3*line_change12
    line_inside24 = np.where(line_switch10 > 0, 0.0, g85)
    line_change21 = -line_inside23 + line_inside24
    line_outward21 = line_away3*line_change21
    g86 = np.where(line_switch14 > 0, np.where(line_switch15 > 0, 0.0, 1.0), 1.0)
    line_inside15 = np.where(line_switch13 > 0, g86, 0.0)
    line_change13 = -line_inside14 + line_inside15
    line_outward13 = line_away4*line_change13
    line_inside25 = np.where(line_switch13 > 0, 0.0, g86)
    line_change22 = -line_inside24 + line_inside25
    line_outward22 = line_away4*line_change22
    g87 = np.where(line_switch17 > 0, np.where(line_switch18 > 0, 0.0, 1.0), 1.0)
    line_inside16 = np.where(line_switch16 > 0, g87, 0.0)
    line_change14 = -line_inside15 + line_inside16
    line_outward14 = line_away5*line_change14
    line_inside26 = np.where(line_switch16 > 0, 0.0, g87)
    line_change23 = -line_inside25 + line_inside26
    line_outward23 = line_away5*line_change23
    g88 = np.where(line_switch20 > 0, np.where(line_switch21 > 0, 0.0, 1.0), 1.0)
    line_inside17 = np.where(line_switch19 > 0, g88, 0.0)
    line_change15 = -line_inside16 + line_inside17
    line_outward15 = line_away6*line_change15
    line_inside27 = np.where(line_switch19 > 0, 0.0, g88)
    line_change24 = -line_inside26 + line_inside27
    line_outward24 = line_away6*line_change24
    g89 = np.where(line_switch23 > 0, np.where(line_switch24 > 0, 0.0, 1.0), 1.0)
    line_inside18 = np.where(line_switch22 > 0, g89, 0.0)
    line_change16 = -line_inside17 + line_inside18
    line_outward16 = line_away7*line_change16
    line_inside28 = np.where(line_switch22 > 0, 0.0, g89)
    line_change25 = -line_inside27 + line_inside28
    line_outward25 = line_away7*line_change25
    g90 = np.where(line_switch26 > 0, np.where(line_switch27 > 0, 0.0, 1.0), 1.0)
    line_inside19 = np.where(line_switch25 > 0, g90, 0.0)
    line_change17 = -line_inside18 + line_inside19
    line_outward17 = line_away8*line_change17
    line_inside29 = np.where(line_switch25 > 0, 0.0, g90)
    line_change26 = -line_inside28 + line_inside29
    line_outward26 = line_away8*line_change26
    g91 = np.where(line_switch29 > 0, np.where(line_switch30 > 0, 0.0, 1.0), 1.0)
    line_inside20 = np.where(line_switch28 > 0, g91, 0.0)
    line_change18 = -line_inside19 + line_inside20
    line_central2 = g60*line_change10 + g61*line_change11 + g62*line_change12 + g63*line_change13 + g64*line_change14 + g65*line_change15 + g66*line_change16 + g67*line_change17 + g68*line_change18 + line_inside11
    line_outward18 = line_away9*line_change18
    line_moment6 = line_beyond1*line_outward10 + line_beyond2*line_outward11 + line_beyond3*line_outward12 + line_beyond4*line_outward13 + line_beyond5*line_outward14 + line_beyond6*line_outward15 + line_beyond7*line_outward16 + line_beyond8*line_outward17 + line_beyond9*line_outward18 + line_central2
    line_inside30 = np.where(line_switch28 > 0, 0.0, g91)
    line_change27 = -line_inside29 + line_inside30
    line_central3 = g60*line_change19 + g61*line_change20 + g62*line_change21 + g63*line_change22 + g64*line_change23 + g65*line_change24 + g66*line_change25 + g67*line_change26 + g68*line_change27 + line_inside21
    line_outward27 = line_away9*line_change27
    line_moment11 = line_beyond1*line_outward19 + line_beyond2*line_outward20 + line_beyond3*line_outward21 + line_beyond4*line_outward22 + line_beyond5*line_outward23 + line_beyond6*line_outward24 + line_beyond7*line_outward25 + line_beyond8*line_outward26 + line_beyond9*line_outward27 + line_central3
    g92 = line_away1*line_outward10
    g93 = line_away2*line_outward11
    g94 = line_away3*line_outward12
    g95 = line_away4*line_outward13
    g96 = line_away5*line_outward14
    g97 = line_away6*line_outward15
    g98 = line_away7*line_outward16
    g99 = line_away8*line_outward17
    g100 = line_away9*line_outward18
    g101 = line_away1*line_outward19
    g102 = line_away2*line_outward20
    g103 = line_away3*line_outward21
    g104 = line_away4*line_outward22
    g105 = line_away5*line_outward23
    g106 = line_away6*line_outward24
    g107 = line_away7*line_outward25
    g108 = line_away8*line_outward26
    g109 = line_away9*line_outward27
    g110 = 6.0*line_centre1
    g111 = g110*g78
    g112 = 3.0*(p_epsilon*p_epsilon)*(n*n) - g11 + 3.0*(line_centre1*line_centre1)
    line_c41 = g111 + g112
    line_c44 = -g111 + g112
    line_c42 = g110*score_along + g113 - g12
    line_c45 = -g113 - g12 + 6.0*line_centre1*score_along
    g114 = line_c36*line_low20
    line_value1 = line_c33 + line_low20*(line_c34 + line_low20*(g114 + line_c35))
    line_value2 = line_c38 + line_low20*(line_c39 + line_low20*(g114 + line_c40))
    line_jump1 = line_change10*line_value1 + line_change19*line_value2
    g115 = line_c36*line_low25
    line_value3 = line_c33 + line_low25*(line_c34 + line_low25*(g115 + line_c35))
    line_value4 = line_c38 + line_low25*(line_c39 + line_low25*(g115 + line_c40))
    line_jump2 = line_change11*line_value3 + line_change20*line_value4
    g116 = line_c36*line_high25
    line_value5 = line_c33 + line_high25*(line_c34 + line_high25*(g116 + line_c35))
    line_value6 = line_c38 + line_high25*(line_c39 + line_high25*(g116 + line_c40))
    line_jump3 = line_change12*line_value5 + line_change21*line_value6
    g117 = line_c36*line_low26
    line_value7 = line_c33 + line_low26*(line_c34 + line_low26*(g117 + line_c35))
    line_value8 = line_c38 + line_low26*(line_c39 + line_low26*(g117 + line_c40))
    line_jump4 = line_change13*line_value7 + line_change22*line_value8
    g118 = line_c36*line_high26
    line_value9 = line_c33 + line_high26*(line_c34 + line_high26*(g118 + line_c35))
    line_value10 = line_c38 + line_high26*(line_c39 + line_high26*(g118 + line_c40))
    line_jump5 = line_change14*line_value9 + line_change23*line_value10
    g119 = line_c36*line_low27
    line_value11 = line_c33 + line_low27*(line_c34 + line_low27*(g119 + line_c35))
    line_value12 = line_c38 + line_low27*(line_c39 + line_low27*(g119 + line_c40))
    line_jump6 = line_change15*line_value11 + line_change24*line_value12
    g120 = line_c36*line_high27
    line_value13 = line_c33 + line_high27*(line_c34 + line_high27*(g120 + line_c35))
    line_value14 = line_c38 + line_high27*(line_c39 + line_high27*(g120 + line_c40))
    line_jump7 = line_change16*line_value13 + line_change25*line_value14
    g121 = line_c36*line_low28
    line_value15 = line_c33 + line_low28*(line_c34 + line_low28*(g121 + line_c35))
    line_value16 = line_c38 + line_low28*(line_c39 + line_low28*(g121 + line_c40))
    line_jump8 = line_change17*line_value15 + line_change26*line_value16
    g122 = line_c36*line_high28
    line_value17 = line_c33 + line_high28*(line_c34 + line_high28*(g122 + line_c35))
    line_value18 = line_c38 + line_high28*(line_c39 + line_high28*(g122 + line_c40))
    line_jump9 = line_change18*line_value17 + line_change27*line_value18
    g123 = 2.0*line_centre1
    g125 = 1.0/(line_root1*line_side1)
    line_rate2 = -g125*(g123 + g124*line_cross2)
    line_rate3 = g125*(g123 + g124*line_cross3)
    line_rate6 = np.where(line_turned1 > 0, line_rate2, line_rate1)
    line_rate7 = np.where(line_turned1 > 0, line_rate1, line_rate2)
    line_rate8 = np.where(line_turned2 > 0, line_rate1, line_rate3)
    line_rate9 = np.where(line_turned2 > 0, line_rate3, line_rate1)
    line_rate14 = np.where(line_turned5 > 0, line_rate8, line_rate6)
    line_rate15 = np.where(line_turned5 > 0, line_rate6, line_rate8)
    line_rate16 = np.where(line_turned6 > 0, line_rate9, line_rate7)
    line_rate17 = np.where(line_turned6 > 0, line_rate7, line_rate9)
    line_rate22 = np.where(line_turned9 > 0, line_rate15, line_rate16)
    line_rate23 = np.where(line_turned9 > 0, line_rate16, line_rate15)
    line_rate26 = np.where(line_turned11 > 0, line_rate18, line_rate14)
    line_rate27 = np.where(line_turned11 > 0, line_rate14, line_rate18)
    line_rate28 = np.where(line_turned12 > 0, line_rate24, line_rate22)
    line_rate29 = np.where(line_turned12 > 0, line_rate22, line_rate24)
    line_rate30 = np.where(line_turned13 > 0, line_rate25, line_rate23)
    line_rate31 = np.where(line_turned13 > 0, line_rate23, line_rate25)
    line_rate32 = np.where(line_turned14 > 0, line_rate21, line_rate17)
    line_rate33 = np.where(line_turned14 > 0, line_rate17, line_rate21)
    line_rate34 = np.where(line_turned15 > 0, line_rate27, line_rate30)
    line_rate35 = np.where(line_turned15 > 0, line_rate30, line_rate27)
    line_rate36 = np.where(line_turned16 > 0, line_rate29, line_rate32)
    line_rate37 = np.where(line_turned16 > 0, line_rate32, line_rate29)
    line_rate38 = np.where(line_turned17 > 0, line_rate34, line_rate28)
    line_rate39 = np.where(line_turned17 > 0, line_rate28, line_rate34)
    line_rate40 = np.where(line_turned18 > 0, line_rate35, line_rate36)
    line_rate41 = np.where(line_turned18 > 0, line_rate36, line_rate35)
    line_rate42 = np.where(line_turned19 > 0, line_rate31, line_rate37)
    line_rate43 = np.where(line_turned19 > 0, line_rate37, line_rate31)
    line_rate44 = np.where(line_turned20 > 0, line_rate5, line_rate26)
    line_rate45 = np.where(line_turned20 > 0, line_rate26, line_rate5)
    line_rate46 = np.where(line_turned21 > 0, line_rate45, line_rate41)
    line_rate47 = np.where(line_turned21 > 0, line_rate41, line_rate45)
    line_rate48 = np.where(line_turned22 > 0, line_rate46, line_rate39)
    line_rate49 = np.where(line_turned22 > 0, line_rate39, line_rate46)
    line_rate50 = np.where(line_turned23 > 0, line_rate42, line_rate40)
    line_rate51 = np.where(line_turned23 > 0, line_rate40, line_rate42)
    line_rate52 = np.where(line_turned24 > 0, line_rate47, line_rate43)
    line_rate53 = np.where(line_turned24 > 0, line_rate43, line_rate47)
    line_rate54 = np.where(line_turned25 > 0, line_rate48, line_rate38)
    line_rate55 = np.where(line_turned25 > 0, line_rate38, line_rate48)
    line_rate56 = np.where(line_turned26 > 0, line_rate49, line_rate50)
    line_rate57 = np.where(line_turned26 > 0, line_rate50, line_rate49)
    line_rate58 = np.where(line_turned27 > 0, line_rate52, line_rate51)
    line_rate59 = np.where(line_turned27 > 0, line_rate51, line_rate52)
    line_rate60 = np.where(line_turned28 > 0, line_rate53, line_rate33)
    line_rate61 = np.where(line_turned28 > 0, line_rate33, line_rate53)
    g1 = np.exp(-0.5*(line_gap1*line_gap1))
    line_density1 = 0.3989422804014327*g1
    line_edge1 = line_density1*line_gap1
    line_beyond10 = line_beyond1 + line_edge1
    line_edge10 = line_edge1*line_gap1
    line_beyond19 = 2.0*line_density1 + line_edge10
    line_edge19 = line_edge10*line_gap1
    line_beyond28 = 3.0*line_beyond10 + line_edge19
    line_rate62 = line_density1*line_rate44
    g2 = np.exp(-0.5*(line_gap2*line_gap2))
    line_density2 = 0.3989422804014327*g2
    line_edge2 = line_density2*line_gap2
    line_beyond11 = line_beyond2 + line_edge2
    line_edge11 = line_edge2*line_gap2
    line_beyond20 = 2.0*line_density2 + line_edge11
    line_edge20 = line_edge11*line_gap2
    line_beyond29 = 3.0*line_beyond11 + line_edge20
    line_rate63 = line_density2*line_rate54
    g3 = np.exp(-0.5*(line_gap3*line_gap3))
    line_density3 = 0.3989422804014327*g3
    line_edge3 = line_density3*line_gap3
    line_beyond12 = line_beyond3 + line_edge3
    line_edge12 = line_edge3*line_gap3
    line_beyond21 = 2.0*line_density3 + line_edge12
    line_edge21 = line_edge12*line_gap3
    line_beyond30 = 3.0*line_beyond12 + line_edge21
    line_rate64 = line_density3*line_rate55
    g4 = np.exp(-0.5*(line_gap4*line_gap4))
    line_density4 = 0.3989422804014327*g4
    line_edge4 = line_density4*line_gap4
    line_beyond13 = line_beyond4 + line_edge4
    line_edge13 = line_edge4*line_gap4
    line_beyond22 = 2.0*line_density4 + line_edge13
    line_edge22 = line_edge13*line_gap4
    line_beyond31 = 3.0*line_beyond13 + line_edge22
    line_rate65 = line_density4*line_rate56
    g5 = np.exp(-0.5*(line_gap5*line_gap5))
    line_density5 = 0.3989422804014327*g5
    line_edge5 = line_density5*line_gap5
    line_beyond14 = line_beyond5 + line_edge5
    line_edge14 = line_edge5*line_gap5
    line_beyond23 = 2.0*line_density5 + line_edge14
    line_edge23 = line_edge14*line_gap5
    line_beyond32 = 3.0*line_beyond14 + line_edge23
    line_rate66 = line_density5*line_rate57
    g6 = np.exp(-0.5*(line_gap6*line_gap6))
    line_density6 = 0.3989422804014327*g6
    line_edge6 = line_density6*line_gap6
    line_beyond15 = line_beyond6 + line_edge6
    line_edge15 = line_edge6*line_gap6
    line_beyond24 = 2.0*line_density6 + line_edge15
    line_edge24 = line_edge15*line_gap6
    line_beyond33 = 3.0*line_beyond15 + line_edge24
    line_rate67 = line_density6*line_rate58
    g7 = np.exp(-0.5*(line_gap7*line_gap7))
    line_density7 = 0.3989422804014327*g7
    line_edge7 = line_density7*line_gap7
    line_beyond16 = line_beyond7 + line_edge7
    line_edge16 = line_edge7*line_gap7
    line_beyond25 = 2.0*line_density7 + line_edge16
    line_edge25 = line_edge16*line_gap7
    line_beyond34 = 3.0*line_beyond16 + line_edge25
    line_rate68 = line_density7*line_rate59
    g8 = np.exp(-0.5*(line_gap8*line_gap8))
    line_density8 = 0.3989422804014327*g8
    line_edge8 = line_density8*line_gap8
    line_beyond17 = line_beyond8 + line_edge8
    line_edge17 = line_edge8*line_gap8
    line_beyond26 = 2.0*line_density8 + line_edge17
    line_edge26 = line_edge17*line_gap8
    line_beyond35 = 3.0*line_beyond17 + line_edge26
    line_rate69 = line_density8*line_rate60
    g9 = np.exp(-0.5*(line_gap9*line_gap9))
    line_density9 = 0.3989422804014327*g9
    line_moment2 = g69*line_density1 + g70*line_density2 + g71*line_density3 + g72*line_density4 + g73*line_density5 + g74*line_density6 + g75*line_density7 + g76*line_density8 + g77*line_density9
    line_edge9 = line_density9*line_gap9
    line_beyond18 = line_beyond9 + line_edge9
    line_moment3 = line_beyond10*line_outward1 + line_beyond11*line_outward2 + line_beyond12*line_outward3 + line_beyond13*line_outward4 + line_beyond14*line_outward5 + line_beyond15*line_outward6 + line_beyond16*line_outward7 + line_beyond17*line_outward8 + line_beyond18*line_outward9 + line_central1
    line_edge18 = line_edge9*line_gap9
    line_beyond27 = 2.0*line_density9 + line_edge18
    line_moment4 = g69*line_beyond19 + g70*line_beyond20 + g71*line_beyond21 + g72*line_beyond22 + g73*line_beyond23 + g74*line_beyond24 + g75*line_beyond25 + g76*line_beyond26 + g77*line_beyond27
    line_edge27 = line_edge18*line_gap9
    line_beyond36 = 3.0*line_beyond18 + line_edge27
    line_moment5 = line_beyond28*line_outward1 + line_beyond29*line_outward2 + line_beyond30*line_outward3 + line_beyond31*line_outward4 + line_beyond32*line_outward5 + line_beyond33*line_outward6 + line_beyond34*line_outward7 + line_beyond35*line_outward8 + line_beyond36*line_outward9 + 3.0*line_central1
    line_moment7 = g100*line_density9 + g92*line_density1 + g93*line_density2 + g94*line_density3 + g95*line_density4 + g96*line_density5 + g97*line_density6 + g98*line_density7 + g99*line_density8
    line_moment8 = line_beyond10*line_outward10 + line_beyond11*line_outward11 + line_beyond12*line_outward12 + line_beyond13*line_outward13 + line_beyond14*line_outward14 + line_beyond15*line_outward15 + line_beyond16*line_outward16 + line_beyond17*line_outward17 + line_beyond18*line_outward18 + line_central2
    line_moment9 = g100*line_beyond27 + g92*line_beyond19 + g93*line_beyond20 + g94*line_beyond21 + g95*line_beyond22 + g96*line_beyond23 + g97*line_beyond24 + g98*line_beyond25 + g99*line_beyond26
    line_moment10 = line_beyond28*line_outward10 + line_beyond29*line_outward11 + line_beyond30*line_outward12 + line_beyond31*line_outward13 + line_beyond32*line_outward14 + line_beyond33*line_outward15 + line_beyond34*line_outward16 + line_beyond35*line_outward17 + line_beyond36*line_outward18 + 3.0*line_central2
    line_moment12 = g101*line_density1 + g102*line_density2 + g103*line_density3 + g104*line_density4 + g105*line_density5 + g106*line_density6 + g107*line_density7 + g108*line_density8 + g109*line_density9
    line_moment13 = line_beyond10*line_outward19 + line_beyond11*line_outward20 + line_beyond12*line_outward21 + line_beyond13*line_outward22 + line_beyond14*line_outward23 + line_beyond15*line_outward24 + line_beyond16*line_outward25 + line_beyond17*line_outward26 + line_beyond18*line_outward27 + line_central3
    line_moment14 = g101*line_beyond19 + g102*line_beyond20 + g103*line_beyond21 + g104*line_beyond22 + g105*line_beyond23 + g106*line_beyond24 + g107*line_beyond25 + g108*line_beyond26 + g109*line_beyond27
    line_moment15 = line_beyond28*line_outward19 + line_beyond29*line_outward20 + line_beyond30*line_outward21 + line_beyond31*line_outward22 + line_beyond32*line_outward23 + line_beyond33*line_outward24 + line_beyond34*line_outward25 + line_beyond35*line_outward26 + line_beyond36*line_outward27 + 3.0*line_central3
    line_rate70 = line_density9*line_rate61
    J_R = np.sum(weights_z_across * (g126*line_moment10 + g126*line_moment15 + 0.25*line_c10*line_moment3 + 0.25*line_c11*line_moment4 + 0.25*line_c12*line_moment5 + 0.25*line_c19*line_moment6 + 0.25*line_c20*line_moment7 + 0.25*line_c21*line_moment8 + 0.25*line_c22*line_moment9 + 0.25*line_c28*line_moment11 + 0.25*line_c29*line_moment12 + 0.25*line_c30*line_moment13 + 0.25*line_c31*line_moment14 + 0.25*line_c8*line_moment1 + 0.25*line_c9*line_moment2))
    J_B = np.sum(weights_z_across * (line_c41*line_moment6 + line_c42*line_moment7 + line_c43*line_moment13 + line_c43*line_moment8 + line_c44*line_moment11 + line_c45*line_moment12 + line_jump1*line_rate62 + line_jump2*line_rate63 + line_jump3*line_rate64 + line_jump4*line_rate65 + line_jump5*line_rate66 + line_jump6*line_rate67 + line_jump7*line_rate68 + line_jump8*line_rate69 + line_jump9*line_rate70))
    J_F = np.sum(weights_z_across * (p_epsilon*line_c33*line_moment6 + p_epsilon*line_c34*line_moment7 + p_epsilon*line_c35*line_moment8 - p_epsilon*line_c38*line_moment11 - p_epsilon*line_c39*line_moment12 - p_epsilon*line_c40*line_moment13 - g127*line_moment14 + g127*line_moment9))
    c1 = m + m_star
    c2 = beta + 1.0
    c3 = Q_perp + Q_star*(c2*c2) + c1*c1
    c4 = Q_star*beta1*c2
    c5 = 2.0*Q_perp + 2.0*c4
    return J_R, J_B, J_F, 0.25*c3*(Q_perp + Q_star*(beta1*beta1)) + 0.25*c5*(Q_perp + c1*dm + c4) + 0.25*dm*(c1*c5 + c3*dm)


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def all_coefficients(score, y, par):
    """R, A, B, D, F, I of one class."""
    n = score[0]
    m_star = score[1]
    Q_star = score[2]
    m = score[3]
    dm = score[4]
    beta = score[5]
    beta1 = score[6]
    Q_perp = score[7]
    p_epsilon = par[0]
    mean_ell = m_star
    s_ell = np.sqrt(np.maximum(1e-300, Q_star))
    s_given = np.sqrt(np.maximum(1e-300, Q_perp))
    reach = p_epsilon*n
    turn = np.where(beta > 0, 1.0, -1.0)
    score_along = turn*(0.764842187284489*s_ell*np.abs(beta) + 0.644217687237691*s_given)
    score_across = turn*(-0.644217687237691*s_ell*np.abs(beta) + 0.764842187284489*s_given)
    label_along = 0.764842187284489*s_ell
    label_across = -0.644217687237691*s_ell
    gap_along = 0.764842187284489*beta1*s_ell + 0.644217687237691*s_given*turn
    gap_across = -0.644217687237691*beta1*s_ell + 0.764842187284489*s_given*turn
    plane_slope1 = np.where(np.where((np.abs(score_along) - 1e-300) > 0, 1.0, -1.0) > 0, score_along, 1e-300)
    plane_p1 = dm*(m + mean_ell) + reach*reach
    plane_p2 = dm*(label_along + score_along) + gap_along*(m + mean_ell)
    plane_p3 = dm*(label_across + score_across) + gap_across*(m + mean_ell)
    plane_p4 = gap_along*(label_along + score_along)
    plane_p5 = gap_across*(label_along + score_along) + gap_along*(label_across + score_across)
    plane_p6 = gap_across*(label_across + score_across)
    plane_slope2 = np.where(np.where((np.abs(plane_p4) - 1e-300) > 0, 1.0, -1.0) > 0, plane_p4, 1e-300)
    plane_p7 = m - reach
    plane_p8 = m + reach
    plane_p9 = 2.0*m - 2.8284271247461903*mean_ell + 2.0*reach
    plane_p10 = -2.8284271247461903*label_along + 2.0*score_along
    plane_p11 = -2.8284271247461903*label_across + 2.0*score_across
    plane_slope3 = np.where(np.where((np.abs(plane_p10) - 1e-300) > 0, 1.0, -1.0) > 0, plane_p10, 1e-300)
    plane_p12 = 2.0*m + 2.8284271247461903*mean_ell + 2.0*reach
    plane_p13 = 2.8284271247461903*label_along + 2.0*score_along
    plane_p14 = 2.8284271247461903*label_across + 2.0*score_across
    plane_slope4 = np.where(np.where((np.abs(plane_p13) - 1e-300) > 0, 1.0, -1.0) > 0, plane_p13, 1e-300)
    plane_p15 = 2.0*m - 2.8284271247461903*mean_ell - 2.0*reach
    plane_p16 = 2.0*m + 2.8284271247461903*mean_ell - 2.0*reach
    plane_vertex1 = (-label_along*m - score_along*(-mean_ell + 0.7071067811865476*reach))/(s_ell*s_given*turn)
    plane_vertex2 = (-label_along*m - score_along*(-mean_ell - 0.7071067811865476*reach))/(s_ell*s_given*turn)
    plane_vertex3 = (label_along*(-m + reach) - score_along*(-mean_ell + 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_vertex4 = (label_along*(-m + reach) - score_along*(-mean_ell - 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_vertex5 = (label_along*(-m - reach) - score_along*(-mean_ell + 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_vertex6 = (label_along*(-m - reach) - score_along*(-mean_ell - 1.4142135623730951*reach))/(s_ell*s_given*turn)
    plane_zero1 = -m/score_across
    plane_half1 = -0.5*plane_p3 - 0.5*np.sqrt(-4.0*plane_p1*plane_p6 + plane_p3*plane_p3)*np.where(plane_p3 > 0, 1.0, -1.0)
    plane_zero2 = plane_half1/plane_p6
    plane_zero3 = plane_p1/plane_half1
    plane_d1 = -4.0*plane_p1*plane_p4 + plane_p2*plane_p2
    plane_d2 = 2.0*plane_p2*plane_p5 - 4.0*plane_p3*plane_p4
    plane_d3 = 4.0*(s_ell*s_ell)*(s_given*s_given)*(turn*turn)
    plane_half2 = -0.5*plane_d2 - 0.5*np.sqrt(-4.0*plane_d1*plane_d3 + plane_d2*plane_d2)*np.where(plane_d2 > 0, 1.0, -1.0)
    plane_zero4 = plane_half2/plane_d3
    plane_zero5 = plane_d1/plane_half2
    plane_zero6 = -plane_p7/score_across
    plane_zero7 = -plane_p8/score_across
    plane_zero8 = -plane_p9/plane_p11
    plane_zero9 = -plane_p12/plane_p14
    plane_zero10 = -plane_p15/plane_p11
    plane_zero11 = -plane_p16/plane_p14
    h1 = 2.0*plane_p6
    h2 = h1*plane_zero2 + plane_p3
    h3 = 1.0/h2
    h4 = h1*h3*(plane_zero2*plane_zero2) + h3*plane_p3*plane_zero2
    h5 = h1*plane_zero3 + plane_p3
    h6 = 1.0/h5
    h7 = h1*h6*(plane_zero3*plane_zero3) + h6*plane_p3*plane_zero3
    h8 = 1.0/plane_d3
    h9 = np.abs(score_along)/np.abs(score_across)
    h10 = np.abs(plane_p10)/np.abs(plane_p11)
    h11 = np.abs(plane_p13)/np.abs(plane_p14)
    branches_z_across = [plane_zero4, plane_zero5]
    z_across, weights_z_across = branch_nodes(branch_panels(panels([plane_vertex1, plane_vertex2, plane_vertex3, plane_vertex4, plane_vertex5, plane_vertex6, plane_zero4, plane_zero5], [(-0.5*h8*plane_d2, np.sqrt(h8*plane_d1 - 0.25*(plane_d2*plane_d2)/(plane_d3*plane_d3)))], [(plane_zero1, h9), (h4, np.abs(h4*plane_p5 + plane_p2)/np.abs(h2)), (h7, np.abs(h7*plane_p5 + plane_p2)/np.abs(h5)), (plane_zero6, h9), (plane_zero7, h9), (plane_zero8, h10), (plane_zero9, h11), (plane_zero10, h10), (plane_zero11, h11)]), branches_z_across), branches_z_across)
    line_c15 = label_along + score_along
    line_c18 = gap_along*line_c15
    line_c23 = line_c18*line_c18
    line_c36 = line_c18*score_along
    line_c52 = line_c36*line_c36
    line_c61 = label_along*score_along
    g14 = label_along*label_along
    line_c3 = g14
    line_c7 = label_along*line_c3
    line_c12 = label_along*line_c7
    line_c43 = -g14 + 3.0*(score_along*score_along)
    g15 = 1.0/plane_slope1
    line_rate1 = g15
    g18 = 1.0/plane_slope3
    line_rate4 = 2.0*g18
    line_rate73 = -2.8284271247461903*g18
    g20 = 1.0/plane_slope4
    line_rate5 = 2.0*g20
    line_rate74 = 2.8284271247461903*g20
    g79 = p_epsilon*n
    g82 = 2.0*line_c18
    g114 = 6.0*g79*score_along
    g125 = 2.0*score_along
    g129 = 2.0*line_c36
    g132 = 2.0*label_along
    g133 = 0.25*line_c23
    g142 = 2.0*line_c61
    line_centre2 = label_across*z_across + mean_ell
    line_h1 = plane_p1 + z_across*(plane_p3 + plane_p6*z_across)
    line_h2 = plane_p2 + plane_p5*z_across
    line_square1 = -4.0*line_h1*plane_p4 + line_h2*line_h2
    line_root1 = np.sqrt(np.maximum(1e-300, line_square1))
    line_side1 = np.where(line_h2 > 0, 1.0, -1.0)
    line_half1 = -0.5*line_h2 - 0.5*line_root1*line_side1
    line_centre3 = dm + gap_across*z_across
    g10 = score_across*z_across
    line_centre1 = g10 + m
    line_h3 = g10 + plane_p7
    line_h4 = g10 + plane_p8
    g11 = line_centre2*line_centre2
    line_c1 = g11
    line_c4 = line_c1*line_centre2
    line_c8 = line_c4*line_centre2
    g12 = 2.0*line_centre2
    g13 = g12*label_along
    line_c2 = g13
    line_c5 = label_along*line_c1 + line_c2*line_centre2
    line_c9 = label_along*line_c4 + line_c5*line_centre2
    line_c6 = label_along*line_c2 + line_c3*line_centre2
    line_c10 = label_along*line_c5 + line_c6*line_centre2
    line_c11 = label_along*line_c6 + line_c7*line_centre2
    line_cross1 = np.maximum(-40.0, np.minimum(40.0, -g15*line_centre1))
    line_cross4 = np.maximum(-40.0, np.minimum(40.0, -g15*line_h3))
    line_cross5 = np.maximum(-40.0, np.minimum(40.0, -g15*line_h4))
    g16 = np.where(line_square1 > 0, 1.0, -1.0)
    line_cross2 = np.where(g16 > 0, np.maximum(-40.0, np.minimum(40.0, line_half1/plane_slope2)), 40.0)
    line_cross3 = np.where(g16 > 0, np.maximum(-40.0, np.minimum(40.0, line_h1/np.where(np.where((np.abs(line_half1) - 1e-300) > 0, 1.0, -1.0) > 0, line_half1, 1e-300))), 40.0)
    line_turned1 = np.where((line_cross1 - line_cross2) > 0, 1.0, -1.0)
    line_low1 = np.where(line_turned1 > 0, line_cross2, line_cross1)
    line_high1 = np.where(line_turned1 > 0, line_cross1, line_cross2)
    line_turned2 = np.where((line_cross3 - line_cross4) > 0, 1.0, -1.0)
    line_low2 = np.where(line_turned2 > 0, line_cross4, line_cross3)
    line_high2 = np.where(line_turned2 > 0, line_cross3, line_cross4)
    line_turned5 = np.where((line_low1 - line_low2) > 0, 1.0, -1.0)
    line_low5 = np.where(line_turned5 > 0, line_low2, line_low1)
    line_high5 = np.where(line_turned5 > 0, line_low1, line_low2)
    line_turned6 = np.where((line_high1 - line_high2) > 0, 1.0, -1.0)
    line_low6 = np.where(line_turned6 > 0, line_high2, line_high1)
    line_high6 = np.where(line_turned6 > 0, line_high1, line_high2)
    line_turned9 = np.where((-line_high5 + line_low6) > 0, 1.0, -1.0)
    line_low9 = np.where(line_turned9 > 0, line_high5, line_low6)
    line_high9 = np.where(line_turned9 > 0, line_low6, line_high5)
    g17 = plane_p11*z_across
    line_h5 = g17 + plane_p9
    line_h7 = g17 + plane_p15
    line_cross6 = np.maximum(-40.0, np.minimum(40.0, -g18*line_h5))
    line_cross8 = np.maximum(-40.0, np.minimum(40.0, -g18*line_h7))
    line_turned3 = np.where((line_cross5 - line_cross6) > 0, 1.0, -1.0)
    line_low3 = np.where(line_turned3 > 0, line_cross6, line_cross5)
    line_high3 = np.where(line_turned3 > 0, line_cross5, line_cross6)
    line_rate10 = np.where(line_turned3 > 0, line_rate4, line_rate1)
    line_rate11 = np.where(line_turned3 > 0, line_rate1, line_rate4)
    line_rate79 = np.where(line_turned3 > 0, line_rate73, 0.0)
    line_rate80 = np.where(line_turned3 > 0, 0.0, line_rate73)
    g19 = plane_p14*z_across
    line_h6 = g19 + plane_p12
    line_h8 = g19 + plane_p16
    line_cross7 = np.maximum(-40.0, np.minimum(40.0, -g20*line_h6))
    line_cross9 = np.maximum(-40.0, np.minimum(40.0, -g20*line_h8))
    line_turned4 = np.where((line_cross7 - line_cross8) > 0, 1.0, -1.0)
    line_low4 = np.where(line_turned4 > 0, line_cross8, line_cross7)
    line_high4 = np.where(line_turned4 > 0, line_cross7, line_cross8)
    line_turned7 = np.where((line_low3 - line_low4) > 0, 1.0, -1.0)
    line_low7 = np.where(line_turned7 > 0, line_low4, line_low3)
    line_high7 = np.where(line_turned7 > 0, line_low3, line_low4)
    line_turned8 = np.where((line_high3 - line_high4) > 0, 1.0, -1.0)
    line_low8 = np.where(line_turned8 > 0, line_high4, line_high3)
    line_high8 = np.where(line_turned8 > 0, line_high3, line_high4)
    line_turned10 = np.where((-line_high7 + line_low8) > 0, 1.0, -1.0)
    line_low10 = np.where(line_turned10 > 0, line_high7, line_low8)
    line_high10 = np.where(line_turned10 > 0, line_low8, line_high7)
    line_turned11 = np.where((line_low5 - line_low7) > 0, 1.0, -1.0)
    line_low11 = np.where(line_turned11 > 0, line_low7, line_low5)
    line_high11 = np.where(line_turned11 > 0, line_low5, line_low7)
    line_turned12 = np.where((-line_low10 + line_low9) > 0, 1.0, -1.0)
    line_low12 = np.where(line_turned12 > 0, line_low10, line_low9)
    line_high12 = np.where(line_turned12 > 0, line_low9, line_low10)
    line_turned13 = np.where((-line_high10 + line_high9) > 0, 1.0, -1.0)
    line_low13 = np.where(line_turned13 > 0, line_high10, line_high9)
    line_high13 = np.where(line_turned13 > 0, line_high9, line_high10)
    line_turned14 = np.where((line_high6 - line_high8) > 0, 1.0, -1.0)
    line_low14 = np.where(line_turned14 > 0, line_high8, line_high6)
    line_high14 = np.where(line_turned14 > 0, line_high6, line_high8)
    line_turned15 = np.where((-line_high11 + line_low13) > 0, 1.0, -1.0)
    line_low15 = np.where(line_turned15 > 0, line_high11, line_low13)
    line_high15 = np.where(line_turned15 > 0, line_low13, line_high11)
    line_turned16 = np.where((-line_high12 + line_low14) > 0, 1.0, -1.0)
    line_low16 = np.where(line_turned16 > 0, line_high12, line_low14)
    line_high16 = np.where(line_turned16 > 0, line_low14, line_high12)
    line_turned17 = np.where((line_low12 - line_low15) > 0, 1.0, -1.0)
    line_low17 = np.where(line_turned17 > 0, line_low15, line_low12)
    line_high17 = np.where(line_turned17 > 0, line_low12, line_low15)
    line_turned18 = np.where((-line_high15 + line_low16) > 0, 1.0, -1.0)
    line_low18 = np.where(line_turned18 > 0, line_high15, line_low16)
    line_high18 = np.where(line_turned18 > 0, line_low16, line_high15)
    line_turned19 = np.where((-line_high13 + line_high16) > 0, 1.0, -1.0)
    line_low19 = np.where(line_turned19 > 0, line_high13, line_high16)
    line_high19 = np.where(line_turned19 > 0, line_high16, line_high13)
    line_turned20 = np.where((-line_cross9 + line_low11) > 0, 1.0, -1.0)
    line_low20 = np.where(line_turned20 > 0, line_cross9, line_low11)
    line_high20 = np.where(line_turned20 > 0, line_low11, line_cross9)
    line_turned21 = np.where((line_high18 - line_high20) > 0, 1.0, -1.0)
    line_low21 = np.where(line_turned21 > 0, line_high20, line_high18)
    line_high21 = np.where(line_turned21 > 0, line_high18, line_high20)
    line_turned22 = np.where((line_high17 - line_low21) > 0, 1.0, -1.0)
    line_low22 = np.where(line_turned22 > 0, line_low21, line_high17)
    line_high22 = np.where(line_turned22 > 0, line_high17, line_low21)
    line_turned23 = np.where((line_low18 - line_low19) > 0, 1.0, -1.0)
    line_low23 = np.where(line_turned23 > 0, line_low19, line_low18)
    line_high23 = np.where(line_turned23 > 0, line_low18, line_low19)
    line_turned24 = np.where((line_high19 - line_high21) > 0, 1.0, -1.0)
    line_low24 = np.where(line_turned24 > 0, line_high21, line_high19)
    line_high24 = np.where(line_turned24 > 0, line_high19, line_high21)
    line_turned25 = np.where((line_low17 - line_low22) > 0, 1.0, -1.0)
    line_low25 = np.where(line_turned25 > 0, line_low22, line_low17)
    line_high25 = np.where(line_turned25 > 0, line_low17, line_low22)
    line_turned26 = np.where((-line_high22 + line_low23) > 0, 1.0, -1.0)
    line_low26 = np.where(line_turned26 > 0, line_high22, line_low23)
    line_high26 = np.where(line_turned26 > 0, line_low23, line_high22)
    line_turned27 = np.where((line_high23 - line_low24) > 0, 1.0, -1.0)
    line_low27 = np.where(line_turned27 > 0, line_low24, line_high23)
    line_high27 = np.where(line_turned27 > 0, line_high23, line_low24)
    line_turned28 = np.where((line_high14 - line_high24) > 0, 1.0, -1.0)
    line_low28 = np.where(line_turned28 > 0, line_high24, line_high14)
    line_high28 = np.where(line_turned28 > 0, line_high14, line_high24)
    line_gap1 = np.abs(line_low20)
    line_away1 = np.where(line_low20 > 0, 1.0, -1.0)
    line_gap2 = np.abs(line_low25)
    line_away2 = np.where(line_low25 > 0, 1.0, -1.0)
    line_gap3 = np.abs(line_high25)
    line_away3 = np.where(line_high25 > 0, 1.0, -1.0)
    line_gap4 = np.abs(line_low26)
    line_away4 = np.where(line_low26 > 0, 1.0, -1.0)
    line_gap5 = np.abs(line_high26)
    line_away5 = np.where(line_high26 > 0, 1.0, -1.0)
    line_gap6 = np.abs(line_low27)
    line_away6 = np.where(line_low27 > 0, 1.0, -1.0)
    line_gap7 = np.abs(line_high27)
    line_away7 = np.where(line_high27 > 0, 1.0, -1.0)
    line_gap8 = np.abs(line_low28)
    line_away8 = np.where(line_low28 > 0, 1.0, -1.0)
    line_gap9 = np.abs(line_high28)
    line_away9 = np.where(line_high28 > 0, 1.0, -1.0)
    line_beyond1 = 0.5*erfc(0.7071067811865476*line_gap1)
    line_beyond2 = 0.5*erfc(0.7071067811865476*line_gap2)
    line_beyond3 = 0.5*erfc(0.7071067811865476*line_gap3)
    line_beyond4 = 0.5*erfc(0.7071067811865476*line_gap4)
    line_beyond5 = 0.5*erfc(0.7071067811865476*line_gap5)
    line_beyond6 = 0.5*erfc(0.7071067811865476*line_gap6)
    line_beyond7 = 0.5*erfc(0.7071067811865476*line_gap7)
    line_beyond8 = 0.5*erfc(0.7071067811865476*line_gap8)
    line_beyond9 = 0.5*erfc(0.7071067811865476*line_gap9)
    line_rate12 = np.where(line_turned4 > 0, line_rate4, line_rate5)
    line_rate13 = np.where(line_turned4 > 0, line_rate5, line_rate4)
    line_rate18 = np.where(line_turned7 > 0, line_rate12, line_rate10)
    line_rate19 = np.where(line_turned7 > 0, line_rate10, line_rate12)
    line_rate20 = np.where(line_turned8 > 0, line_rate13, line_rate11)
    line_rate21 = np.where(line_turned8 > 0, line_rate11, line_rate13)
    line_rate24 = np.where(line_turned10 > 0, line_rate19, line_rate20)
    line_rate25 = np.where(line_turned10 > 0, line_rate20, line_rate19)
    line_rate81 = np.where(line_turned4 > 0, line_rate73, line_rate74)
    line_rate82 = np.where(line_turned4 > 0, line_rate74, line_rate73)
    line_rate87 = np.where(line_turned7 > 0, line_rate81, line_rate79)
    line_rate88 = np.where(line_turned7 > 0, line_rate79, line_rate81)
    line_rate89 = np.where(line_turned8 > 0, line_rate82, line_rate80)
    line_rate90 = np.where(line_turned8 > 0, line_rate80, line_rate82)
    line_rate93 = np.where(line_turned10 > 0, line_rate88, line_rate89)
    line_rate94 = np.where(line_turned10 > 0, line_rate89, line_rate88)
    g21 = 0.5*line_low20
    line_middle1 = g21 - 20.0
    line_side3 = np.where((line_h1 + line_middle1*(line_h2 + line_middle1*plane_p4)) > 0, 1.0, -1.0)
    g22 = line_middle1*score_along
    line_side2 = np.where((g22 + line_centre1) > 0, 1.0, -1.0)
    line_switch1 = line_side2*line_side3
    line_side4 = np.where((g22 + line_h3) > 0, 1.0, -1.0)
    line_side5 = np.where((g22 + line_h4) > 0, 1.0, -1.0)
    line_switch2 = -line_side4*line_side5
    g23 = line_middle1*plane_p10
    line_side6 = np.where((g23 + line_h5) > 0, 1.0, -1.0)
    line_side8 = np.where((g23 + line_h7) > 0, 1.0, -1.0)
    g24 = line_middle1*plane_p13
    line_side7 = np.where((g24 + line_h6) > 0, 1.0, -1.0)
    line_side9 = np.where((g24 + line_h8) > 0, 1.0, -1.0)
    line_switch3 = np.where(line_switch1 > 0, -line_side6*line_side7, -line_side8*line_side9)
    line_inside1 = np.where(line_switch2 > 0, np.where(line_switch3 > 0, 1.0, 0.0), 0.0)
    g25 = 0.5*line_low25
    line_middle2 = g21 + g25
    line_side11 = np.where((line_h1 + line_middle2*(line_h2 + line_middle2*plane_p4)) > 0, 1.0, -1.0)
    g26 = line_middle2*score_along
    line_side10 = np.where((g26 + line_centre1) > 0, 1.0, -1.0)
    line_switch4 = line_side10*line_side11
    line_side12 = np.where((g26 + line_h3) > 0, 1.0, -1.0)
    line_side13 = np.where((g26 + line_h4) > 0, 1.0, -1.0)
    line_switch5 = -line_side12*line_side13
    g27 = line_middle2*plane_p10
    line_side14 = np.where((g27 + line_h5) > 0, 1.0, -1.0)
    line_side16 = np.where((g27 + line_h7) > 0, 1.0, -1.0)
    g28 = line_middle2*plane_p13
    line_side15 = np.where((g28 + line_h6) > 0, 1.0, -1.0)
    line_side17 = np.where((g28 + line_h8) > 0, 1.0, -1.0)
    line_switch6 = np.where(line_switch4 > 0, -line_side14*line_side15, -line_side16*line_side17)
    line_inside2 = np.where(line_switch5 > 0, np.where(line_switch6 > 0, 1.0, 0.0), 0.0)
    line_change1 = -line_inside1 + line_inside2
    line_outward1 = line_away1*line_change1
    g29 = 0.5*line_high25
    line_middle3 = g25 + g29
    line_side19 = np.where((line_h1 + line_middle3*(line_h2 + line_middle3*plane_p4)) > 0, 1.0, -1.0)
    g30 = line_middle3*score_along
    line_side18 = np.where((g30 + line_centre1) > 0, 1.0, -1.0)
    line_switch7 = line_side18*line_side19
    line_side20 = np.where((g30 + line_h3) > 0, 1.0, -1.0)
    line_side21 = np.where((g30 + line_h4) > 0, 1.0, -1.0)
    line_switch8 = -line_side20*line_side21
    g31 = line_middle3*plane_p10
    line_side22 = np.where((g31 + line_h5) > 0, 1.0, -1.0)
    line_side24 = np.where((g31 + line_h7) > 0, 1.0, -1.0)
    g32 = line_middle3*plane_p13
    line_side23 = np.where((g32 + line_h6) > 0, 1.0, -1.0)
    line_side25 = np.where((g32 + line_h8) > 0, 1.0, -1.0)
    line_switch9 = np.where(line_switch7 > 0, -line_side22*line_side23, -line_side24*line_side25)
    line_inside3 = np.where(line_switch8 > 0, np.where(line_switch9 > 0, 1.0, 0.0), 0.0)
    line_change2 = -line_inside2 + line_inside3
    line_outward2 = line_away2*line_change2
    g33 = 0.5*line_low26
    line_middle4 = g29 + g33
    line_side27 = np.where((line_h1 + line_middle4*(line_h2 + line_middle4*plane_p4)) > 0, 1.0, -1.0)
    g34 = line_middle4*score_along
    line_side26 = np.where((g34 + line_centre1) > 0, 1.0, -1.0)
    line_switch10 = line_side26*line_side27
    line_side28 = np.where((g34 + line_h3) > 0, 1.0, -1.0)
    line_side29 = np.where((g34 + line_h4) > 0, 1.0, -1.0)
    line_switch11 = -line_side28*line_side29
    g35 = line_middle4*plane_p10
    line_side30 = np.where((g35 + line_h5) > 0, 1.0, -1.0)
    line_side32 = np.where((g35 + line_h7) > 0, 1.0, -1.0)
    g36 = line_middle4*plane_p13
    line_side31 = np.where((g36 + line_h6) > 0, 1.0, -1.0)
    line_side33 = np.where((g36 + line_h8) > 0, 1.0, -1.0)
    line_switch12 = np.where(line_switch10 > 0, -line_side30*line_side31, -line_side32*line_side33)
    line_inside4 = np.where(line_switch11 > 0, np.where(line_switch12 > 0, 1.0, 0.0), 0.0)
    line_change3 = -line_inside3 + line_inside4
    line_outward3 = line_away3*line_change3
    g37 = 0.5*line_high26
    line_middle5 = g33 + g37
    line_side35 = np.where((line_h1 + line_middle5*(line_h2 + line_middle5*plane_p4)) > 0, 1.0, -1.0)
    g38 = line_middle5*score_along
    line_side34 = np.where((g38 + line_centre1) > 0, 1.0, -1.0)
    line_switch13 = line_side34*line_side35
    line_side36 = np.where((g38 + line_h3) > 0, 1.0, -1.0)
    line_side37 = np.where((g38 + line_h4) > 0, 1.0, -1.0)
    line_switch14 = -line_side36*line_side37
    g39 = line_middle5*plane_p10
    line_side38 = np.where((g39 + line_h5) > 0, 1.0, -1.0)
    line_side40 = np.where((g39 + line_h7) > 0, 1.0, -1.0)
    g40 = line_middle5*plane_p13
    line_side39 = np.where((g40 + line_h6) > 0, 1.0, -1.0)
    line_side41 = np.where((g40 + line_h8) > 0, 1.0, -1.0)
    line_switch15 = np.where(line_switch13 > 0, -line_side38*line_side39, -line_side40*line_side41)
    line_inside5 = np.where(line_switch14 > 0, np.where(line_switch15 > 0, 1.0, 0.0), 0.0)
    line_change4 = -line_inside4 + line_inside5
    line_outward4 = line_away4*line_change4
    g41 = 0.5*line_low27
    line_middle6 = g37 + g41
    line_side43 = np.where((line_h1 + line_middle6*(line_h2 + line_middle6*plane_p4)) > 0, 1.0, -1.0)
    g42 = line_middle6*score_along
    line_side42 = np.where((g42 + line_centre1) > 0, 1.0, -1.0)
    line_switch16 = line_side42*line_side43
    line_side44 = np.where((g42 + line_h3) > 0, 1.0, -1.0)
    line_side45 = np.where((g42 + line_h4) > 0, 1.0, -1.0)
    line_switch17 = -line_side44*line_side45
    g43 = line_middle6*plane_p10
    line_side46 = np.where((g43 + line_h5) > 0, 1.0, -1.0)
    line_side48 = np.where((g43 + line_h7) > 0, 1.0, -1.0)
    g44 = line_middle6*plane_p13
    line_side47 = np.where((g44 + line_h6) > 0, 1.0, -1.0)
    line_side49 = np.where((g44 + line_h8) > 0, 1.0, -1.0)
    line_switch18 = np.where(line_switch16 > 0, -line_side46*line_side47, -line_side48*line_side49)
    line_inside6 = np.where(line_switch17 > 0, np.where(line_switch18 > 0, 1.0, 0.0), 0.0)
    line_change5 = -line_inside5 + line_inside6
    line_outward5 = line_away5*line_change5
    g45 = 0.5*line_high27
    line_middle7 = g41 + g45
    line_side51 = np.where((line_h1 + line_middle7*(line_h2 + line_middle7*plane_p4)) > 0, 1.0, -1.0)
    g46 = line_middle7*score_along
    line_side50 = np.where((g46 + line_centre1) > 0, 1.0, -1.0)
    line_switch19 = line_side50*line_side51
    line_side52 = np.where((g46 + line_h3) > 0, 1.0, -1.0)
    line_side53 = np.where((g46 + line_h4) > 0, 1.0, -1.0)
    line_switch20 = -line_side52*line_side53
    g47 = line_middle7*plane_p10
    line_side54 = np.where((g47 + line_h5) > 0, 1.0, -1.0)
    line_side56 = np.where((g47 + line_h7) > 0, 1.0, -1.0)
    g48 = line_middle7*plane_p13
    line_side55 = np.where((g48 + line_h6) > 0, 1.0, -1.0)
    line_side57 = np.where((g48 + line_h8) > 0, 1.0, -1.0)
    line_switch21 = np.where(line_switch19 > 0, -line_side54*line_side55, -line_side56*line_side57)
    line_inside7 = np.where(line_switch20 > 0, np.where(line_switch21 > 0, 1.0, 0.0), 0.0)
    line_change6 = -line_inside6 + line_inside7
    line_outward6 = line_away6*line_change6
    g49 = 0.5*line_low28
    line_middle8 = g45 + g49
    line_side59 = np.where((line_h1 + line_middle8*(line_h2 + line_middle8*plane_p4)) > 0, 1.0, -1.0)
    g50 = line_middle8*score_along
    line_side58 = np.where((g50 + line_centre1) > 0, 1.0, -1.0)
    line_switch22 = line_side58*line_side59
    line_side60 = np.where((g50 + line_h3) > 0, 1.0, -1.0)
    line_side61 = np.where((g50 + line_h4) > 0, 1.0, -1.0)
    line_switch23 = -line_side60*line_side61
    g51 = line_middle8*plane_p10
    line_side62 = np.where((g51 + line_h5) > 0, 1.0, -1.0)
    line_side64 = np.where((g51 + line_h7) > 0, 1.0, -1.0)
    g52 = line_middle8*plane_p13
    line_side63 = np.where((g52 + line_h6) > 0, 1.0, -1.0)
    line_side65 = np.where((g52 + line_h8) > 0, 1.0, -1.0)
    line_switch24 = np.where(line_switch22 > 0, -line_side62*line_side63, -line_side64*line_side65)
    line_inside8 = np.where(line_switch23 > 0, np.where(line_switch24 > 0, 1.0, 0.0), 0.0)
    line_change7 = -line_inside7 + line_inside8
    line_outward7 = line_away7*line_change7
    g53 = 0.5*line_high28
    line_middle9 = g49 + g53
    line_side67 = np.where((line_h1 + line_middle9*(line_h2 + line_middle9*plane_p4)) > 0, 1.0, -1.0)
    line_middle10 = g53 + 20.0
    line_side75 = np.where((line_h1 + line_middle10*(line_h2 + line_middle10*plane_p4)) > 0, 1.0, -1.0)
    g54 = line_middle9*score_along
    line_side66 = np.where((g54 + line_centre1) > 0, 1.0, -1.0)
    line_switch25 = line_side66*line_side67
    line_side68 = np.where((g54 + line_h3) > 0, 1.0, -1.0)
    line_side69 = np.where((g54 + line_h4) > 0, 1.0, -1.0)
    line_switch26 = -line_side68*line_side69
    g55 = line_middle9*plane_p10
    line_side70 = np.where((g55 + line_h5) > 0, 1.0, -1.0)
    line_side72 = np.where((g55 + line_h7) > 0, 1.0, -1.0)
    g56 = line_middle9*plane_p13
    line_side71 = np.where((g56 + line_h6) > 0, 1.0, -1.0)
    line_side73 = np.where((g56 + line_h8) > 0, 1.0, -1.0)
    line_switch27 = np.where(line_switch25 > 0, -line_side70*line_side71, -line_side72*line_side73)
    line_inside9 = np.where(line_switch26 > 0, np.where(line_switch27 > 0, 1.0, 0.0), 0.0)
    g57 = line_middle10*score_along
    line_side74 = np.where((g57 + line_centre1) > 0, 1.0, -1.0)
    line_switch28 = line_side74*line_side75
    line_side76 = np.where((g57 + line_h3) > 0, 1.0, -1.0)
    line_side77 = np.where((g57 + line_h4) > 0, 1.0, -1.0)
    line_switch29 = -line_side76*line_side77
    g58 = line_middle10*plane_p10
    line_side78 = np.where((g58 + line_h5) > 0, 1.0, -1.0)
    line_side80 = np.where((g58 + line_h7) > 0, 1.0, -1.0)
    g59 = line_middle10*plane_p13
    line_side79 = np.where((g59 + line_h6) > 0, 1.0, -1.0)
    line_side81 = np.where((g59 + line_h8) > 0, 1.0, -1.0)
    line_switch30 = np.where(line_switch28 > 0, -line_side78*line_side79, -line_side80*line_side81)
    line_inside10 = np.where(line_switch29 > 0, np.where(line_switch30 > 0, 1.0, 0.0), 0.0)
    g60 = -line_inside9
    line_change8 = -g60 - line_inside8
    line_change9 = g60 + line_inside10
    line_outward8 = line_away8*line_change8
    line_outward9 = line_away9*line_change9
    g61 = 0.5 - 0.5*line_away1
    g62 = 0.5 - 0.5*line_away2
    g63 = 0.5 - 0.5*line_away3
    g64 = 0.5 - 0.5*line_away4
    g65 = 0.5 - 0.5*line_away5
    g66 = 0.5 - 0.5*line_away6
    g67 = 0.5 - 0.5*line_away7
    g68 = 0.5 - 0.5*line_away8
    g69 = 0.5 - 0.5*line_away9
    line_central1 = g61*line_change1 + g62*line_change2 + g63*line_change3 + g64*line_change4 + g65*line_change5 + g66*line_change6 + g67*line_change7 + g68*line_change8 + g69*line_change9 + line_inside1
    line_moment1 = line_beyond1*line_outward1 + line_beyond2*line_outward2 + line_beyond3*line_outward3 + line_beyond4*line_outward4 + line_beyond5*line_outward5 + line_beyond6*line_outward6 + line_beyond7*line_outward7 + line_beyond8*line_outward8 + line_beyond9*line_outward9 + line_central1
    g70 = line_away1*line_outward1
    g71 = line_away2*line_outward2
    g72 = line_away3*line_outward3
    g73 = line_away4*line_outward4
    g74 = line_away5*line_outward5
    g75 = line_away6*line_outward6
    g76 = line_away7*line_outward7
    g77 = line_away8*line_outward8
    g78 = line_away9*line_outward9
    line_c13 = g79 + line_centre3
    line_c24 = -g79 + line_centre3
    line_c25 = -g79 + line_centre1 + line_centre2
    line_c26 = line_c24*line_c25
    line_c27 = gap_along*line_c25 + line_c15*line_c24
    line_c28 = line_c26*line_c26
    line_c29 = 2.0*line_c26*line_c27
    line_c37 = -g79 + line_centre1
    line_c38 = line_c26*line_c37
    line_c39 = line_c26*score_along + line_c27*line_c37
    line_c40 = line_c18*line_c37 + line_c27*score_along
    line_c53 = line_c38*line_c38
    line_c62 = line_c37*line_centre2
    g80 = g79 + line_centre1
    line_c14 = g80 + line_centre2
    line_c16 = line_c13*line_c14
    line_c17 = gap_along*line_c14 + line_c13*line_c15
    line_c19 = line_c16*line_c16
    line_c32 = g80
    line_c33 = line_c16*line_c32
    line_c34 = line_c16*score_along + line_c17*line_c32
    line_c35 = line_c17*score_along + line_c18*line_c32
    line_c46 = line_c33*line_c33
    line_c59 = line_c32*line_centre2
    g81 = 2.0*line_c16
    line_c20 = g81*line_c17
    line_c21 = g81*line_c18 + line_c17*line_c17
    line_c22 = g82*line_c17
    line_c30 = g82*line_c26 + line_c27*line_c27
    line_c31 = g82*line_c27
    g83 = np.where(line_switch2 > 0, np.where(line_switch3 > 0, 0.0, 1.0), 1.0)
    line_inside11 = np.where(line_switch1 > 0, g83, 0.0)
    line_inside21 = np.where(line_switch1 > 0, 0.0, g83)
    g84 = np.where(line_switch5 > 0, np.where(line_switch6 > 0, 0.0, 1.0), 1.0)
    line_inside12 = np.where(line_switch4 > 0, g84, 0.0)
    line_change10 = -line_inside11 + line_inside12
    line_outward10 = line_away1*line_change10
    line_inside22 = np.where(line_switch4 > 0, 0.0, g84)
    line_change19 = -line_inside21 + line_inside22
    line_outward19 = line_away1*line_change19
    g85 = np.where(line_switch8 > 0, np.where(line_switch9 > 0, 0.0, 1.0), 1.0)
    line_inside13 = np.where(line_switch7 > 0, g85, 0.0)
    line_change11 = -line_inside12 + line_inside13
    line_outward11 = line_away2*line_change11
    line_inside23 = np.where(line_switch7 > 0, 0.0, g85)
    line_change20 = -line_inside22 + line_inside23
    line_outward20 = line_away2*line_change20
    g86 = np.where(line_switch11 > 0, np.where(line_switch12 > 0, 0.0, 1.0), 1.0)
    line_inside14 = np.where(line_switch10 > 0, g86, 0.0)
    line_change12 = -line_inside13 + line_inside14
    line_outward12 = line_away3*line_change12
    line_inside24 = np.where(line_switch10 > 0, 0.0, g86)
    line_change21 = -line_inside23 + line_inside24
    line_outward21 = line_away3*line_change21
    g87 = np.where(line_switch14 > 0, np.where(line_switch15 > 0, 0.0, 1.0), 1.0)
    line_inside15 = np.where(line_switch13 > 0, g87, 0.0)
    line_change13 = -line_inside14 + line_inside15
    line_outward13 = line_away4*line_change13
    line_inside25 = np.where(line_switch13 > 0, 0.0, g87)
    line_change22 = -line_inside24 + line_inside25
    line_outward22 = line_away4*line_change22
    g88 = np.where(line_switch17 > 0, np.where(line_switch18 > 0, 0.0, 1.0), 1.0)
    line_inside16 = np.where(line_switch16 > 0, g88, 0.0)
    line_change14 = -line_inside15 + line_inside16
    line_outward14 = line_away5*line_change14
    line_inside26 = np.where(line_switch16 > 0, 0.0, g88)
    line_change23 = -line_inside25 + line_inside26
    line_outward23 = line_away5*line_change23
    g89 = np.where(line_switch20 > 0, np.where(line_switch21 > 0, 0.0, 1.0), 1.0)
    line_inside17 = np.where(line_switch19 > 0, g89, 0.0)
    line_change15 = -line_inside16 + line_inside17
    line_outward15 = line_away6*line_change15
    line_inside27 = np.where(line_switch19 > 0, 0.0, g89)
    line_change24 = -line_inside26 + line_inside27
    line_outward24 = line_away6*line_change24
    g90 = np.where(line_switch23 > 0, np.where(line_switch24 > 0, 0.0, 1.0), 1.0)
    line_inside18 = np.where(line_switch22 > 0, g90, 0.0)
    line_change16 = -line_inside17 + line_inside18
    line_outward16 = line_away7*line_change16
    line_inside28 = np.where(line_switch22 > 0, 0.0, g90)
    line_change25 = -line_inside27 + line_inside28
    line_outward25 = line_away7*line_change25
    g91 = np.where(line_switch26 > 0, np.where(line_switch27 > 0, 0.0, 1.0), 1.0)
    line_inside19 = np.where(line_switch25 > 0, g91, 0.0)
    line_change17 = -line_inside18 + line_inside19
    line_outward17 = line_away8*line_change17
    line_inside29 = np.where(line_switch25 > 0, 0.0, g91)
    line_change26 = -line_inside28 + line_inside29
    line_outward26 = line_away8*line_change26
    g92 = np.where(line_switch29 > 0, np.where(line_switch30 > 0, 0.0, 1.0), 1.0)
    line_inside20 = np.where(line_switch28 > 0, g92, 0.0)
    line_change18 = -line_inside19 + line_inside20
    line_central2 = g61*line_change10 + g62*line_change11 + g63*line_change12 + g64*line_change13 + g65*line_change14 + g66*line_change15 + g67*line_change16 + g68*line_change17 + g69*line_change18 + line_inside11
    line_outward18 = line_away9*line_change18
    line_moment6 = line_beyond1*line_outward10 + line_beyond2*line_outward11 + line_beyond3*line_outward12 + line_beyond4*line_outward13 + line_beyond5*line_outward14 + line_beyond6*line_outward15 + line_beyond7*line_outward16 + line_beyond8*line_outward17 + line_beyond9*line_outward18 + line_central2
    line_inside30 = np.where(line_switch28 > 0, 0.0, g92)
    line_change27 = -line_inside29 + line_inside30
    line_central3 = g61*line_change19 + g62*line_change20 + g63*line_change21 + g64*line_change22 + g65*line_change23 + g66*line_change24 + g67*line_change25 + g68*line_change26 + g69*line_change27 + line_inside21
    line_outward27 = line_away9*line_change27
    line_moment11 = line_beyond1*line_outward19 + line_beyond2*line_outward20 + line_beyond3*line_outward21 + line_beyond4*line_outward22 + line_beyond5*line_outward23 + line_beyond6*line_outward24 + line_beyond7*line_outward25 + line_beyond8*line_outward26 + line_beyond9*line_outward27 + line_central3
    g93 = line_away1*line_outward10
    g94 = line_away2*line_outward11
    g95 = line_away3*line_outward12
    g96 = line_away4*line_outward13
    g97 = line_away5*line_outward14
    g98 = line_away6*line_outward15
    g99 = line_away7*line_outward16
    g100 = line_away8*line_outward17
    g101 = line_away9*line_outward18
    g102 = line_away1*line_outward19
    g103 = line_away2*line_outward20
    g104 = line_away3*line_outward21
    g105 = line_away4*line_outward22
    g106 = line_away5*line_outward23
    g107 = line_away6*line_outward24
    g108 = line_away7*line_outward25
    g109 = line_away8*line_outward26
    g110 = line_away9*line_outward27
    g111 = 6.0*line_centre1
    g112 = g111*g79
    g113 = 3.0*(p_epsilon*p_epsilon)*(n*n) - g11 + 3.0*(line_centre1*line_centre1)
    line_c41 = g112 + g113
    line_c44 = -g112 + g113
    line_c42 = g111*score_along + g114 - g13
    line_c45 = -g114 - g13 + 6.0*line_centre1*score_along
    g115 = line_c36*line_low20
    line_value1 = line_c33 + line_low20*(line_c34 + line_low20*(g115 + line_c35))
    line_value2 = line_c38 + line_low20*(line_c39 + line_low20*(g115 + line_c40))
    line_jump1 = line_change10*line_value1 + line_change19*line_value2
    g116 = line_c36*line_low25
    line_value3 = line_c33 + line_low25*(line_c34 + line_low25*(g116 + line_c35))
    line_value4 = line_c38 + line_low25*(line_c39 + line_low25*(g116 + line_c40))
    line_jump2 = line_change11*line_value3 + line_change20*line_value4
    g117 = line_c36*line_high25
    line_value5 = line_c33 + line_high25*(line_c34 + line_high25*(g117 + line_c35))
    line_value6 = line_c38 + line_high25*(line_c39 + line_high25*(g117 + line_c40))
    line_jump3 = line_change12*line_value5 + line_change21*line_value6
    g118 = line_c36*line_low26
    line_value7 = line_c33 + line_low26*(line_c34 + line_low26*(g118 + line_c35))
    line_value8 = line_c38 + line_low26*(line_c39 + line_low26*(g118 + line_c40))
    line_jump4 = line_change13*line_value7 + line_change22*line_value8
    g119 = line_c36*line_high26
    line_value9 = line_c33 + line_high26*(line_c34 + line_high26*(g119 + line_c35))
    line_value10 = line_c38 + line_high26*(line_c39 + line_high26*(g119 + line_c40))
    line_jump5 = line_change14*line_value9 + line_change23*line_value10
    g120 = line_c36*line_low27
    line_value11 = line_c33 + line_low27*(line_c34 + line_low27*(g120 + line_c35))
    line_value12 = line_c38 + line_low27*(line_c39 + line_low27*(g120 + line_c40))
    line_jump6 = line_change15*line_value11 + line_change24*line_value12
    g121 = line_c36*line_high27
    line_value13 = line_c33 + line_high27*(line_c34 + line_high27*(g121 + line_c35))
    line_value14 = line_c38 + line_high27*(line_c39 + line_high27*(g121 + line_c40))
    line_jump7 = line_change16*line_value13 + line_change25*line_value14
    g122 = line_c36*line_low28
    line_value15 = line_c33 + line_low28*(line_c34 + line_low28*(g122 + line_c35))
    line_value16 = line_c38 + line_low28*(line_c39 + line_low28*(g122 + line_c40))
    line_jump8 = line_change17*line_value15 + line_change26*line_value16
    g123 = line_c36*line_high28
    line_value17 = line_c33 + line_high28*(line_c34 + line_high28*(g123 + line_c35))
    line_value18 = line_c38 + line_high28*(line_c39 + line_high28*(g123 + line_c40))
    line_jump9 = line_change18*line_value17 + line_change27*line_value18
    g124 = 2.0*line_centre1
    g126 = 1.0/(line_root1*line_side1)
    line_rate2 = -g126*(g124 + g125*line_cross2)
    line_rate3 = g126*(g124 + g125*line_cross3)
    line_rate6 = np.where(line_turned1 > 0, line_rate2, line_rate1)
    line_rate7 = np.where(line_turned1 > 0, line_rate1, line_rate2)
    line_rate8 = np.where(line_turned2 > 0, line_rate1, line_rate3)
    line_rate9 = np.where(line_turned2 > 0, line_rate3, line_rate1)
    line_rate14 = np.where(line_turned5 > 0, line_rate8, line_rate6)
    line_rate15 = np.where(line_turned5 > 0, line_rate6, line_rate8)
    line_rate16 = np.where(line_turned6 > 0, line_rate9, line_rate7)
    line_rate17 = np.where(line_turned6 > 0, line_rate7, line_rate9)
    line_rate22 = np.where(line_turned9 > 0, line_rate15, line_rate16)
    line_rate23 = np.where(line_turned9 > 0, line_rate16, line_rate15)
    line_rate26 = np.where(line_turned11 > 0, line_rate18, line_rate14)
    line_rate27 = np.where(line_turned11 > 0, line_rate14, line_rate18)
    line_rate28 = np.where(line_turned12 > 0, line_rate24, line_rate22)
    line_rate29 = np.where(line_turned12 > 0, line_rate22, line_rate24)
    line_rate30 = np.where(line_turned13 > 0, line_rate25, line_rate23)
    line_rate31 = np.where(line_turned13 > 0, line_rate23, line_rate25)
    line_rate32 = np.where(line_turned14 > 0, line_rate21, line_rate17)
    line_rate33 = np.where(line_turned14 > 0, line_rate17, line_rate21)
    line_rate34 = np.where(line_turned15 > 0, line_rate27, line_rate30)
    line_rate35 = np.where(line_turned15 > 0, line_rate30, line_rate27)
    line_rate36 = np.where(line_turned16 > 0, line_rate29, line_rate32)
    line_rate37 = np.where(line_turned16 > 0, line_rate32, line_rate29)
    line_rate38 = np.where(line_turned17 > 0, line_rate34, line_rate28)
    line_rate39 = np.where(line_turned17 > 0, line_rate28, line_rate34)
    line_rate40 = np.where(line_turned18 > 0, line_rate35, line_rate36)
    line_rate41 = np.where(line_turned18 > 0, line_rate36, line_rate35)
    line_rate42 = np.where(line_turned19 > 0, line_rate31, line_rate37)
    line_rate43 = np.where(line_turned19 > 0, line_rate37, line_rate31)
    line_rate44 = np.where(line_turned20 > 0, line_rate5, line_rate26)
    line_rate45 = np.where(line_turned20 > 0, line_rate26, line_rate5)
    line_rate46 = np.where(line_turned21 > 0, line_rate45, line_rate41)
    line_rate47 = np.where(line_turned21 > 0, line_rate41, line_rate45)
    line_rate48 = np.where(line_turned22 > 0, line_rate46, line_rate39)
    line_rate49 = np.where(line_turned22 > 0, line_rate39, line_rate46)
    line_rate50 = np.where(line_turned23 > 0, line_rate42, line_rate40)
    line_rate51 = np.where(line_turned23 > 0, line_rate40, line_rate42)
    line_rate52 = np.where(line_turned24 > 0, line_rate47, line_rate43)
    line_rate53 = np.where(line_turned24 > 0, line_rate43, line_rate47)
    line_rate54 = np.where(line_turned25 > 0, line_rate48, line_rate38)
    line_rate55 = np.where(line_turned25 > 0, line_rate38, line_rate48)
    line_rate56 = np.where(line_turned26 > 0, line_rate49, line_rate50)
    line_rate57 = np.where(line_turned26 > 0, line_rate50, line_rate49)
    line_rate58 = np.where(line_turned27 > 0, line_rate52, line_rate51)
    line_rate59 = np.where(line_turned27 > 0, line_rate51, line_rate52)
    line_rate60 = np.where(line_turned28 > 0, line_rate53, line_rate33)
    line_rate61 = np.where(line_turned28 > 0, line_rate33, line_rate53)
    g127 = 2.0*line_c33
    line_c47 = g127*line_c34
    line_c48 = g127*line_c35 + line_c34*line_c34
    g128 = 2.0*line_c34
    line_c49 = g127*line_c36 + g128*line_c35
    line_c50 = g128*line_c36 + line_c35*line_c35
    line_c51 = g129*line_c35
    line_c56 = g129*line_c38 + 2.0*line_c39*line_c40
    line_c57 = g129*line_c39 + line_c40*line_c40
    line_c58 = g129*line_c40
    g130 = 2.0*line_c38
    line_c54 = g130*line_c39
    line_c55 = g130*line_c40 + line_c39*line_c39
    g131 = line_centre2*score_along
    line_c60 = g131 + label_along*line_c32
    line_c63 = g131 + label_along*line_c37
    line_rate71 = -g126*(-g12 - g132*line_cross2)
    line_rate72 = g126*(-g12 - g132*line_cross3)
    line_rate75 = np.where(line_turned1 > 0, line_rate71, 0.0)
    line_rate76 = np.where(line_turned1 > 0, 0.0, line_rate71)
    line_rate77 = np.where(line_turned2 > 0, 0.0, line_rate72)
    line_rate78 = np.where(line_turned2 > 0, line_rate72, 0.0)
    line_rate83 = np.where(line_turned5 > 0, line_rate77, line_rate75)
    line_rate84 = np.where(line_turned5 > 0, line_rate75, line_rate77)
    line_rate85 = np.where(line_turned6 > 0, line_rate78, line_rate76)
    line_rate86 = np.where(line_turned6 > 0, line_rate76, line_rate78)
    line_rate91 = np.where(line_turned9 > 0, line_rate84, line_rate85)
    line_rate92 = np.where(line_turned9 > 0, line_rate85, line_rate84)
    line_rate95 = np.where(line_turned11 > 0, line_rate87, line_rate83)
    line_rate96 = np.where(line_turned11 > 0, line_rate83, line_rate87)
    line_rate97 = np.where(line_turned12 > 0, line_rate93, line_rate91)
    line_rate98 = np.where(line_turned12 > 0, line_rate91, line_rate93)
    line_rate99 = np.where(line_turned13 > 0, line_rate94, line_rate92)
    line_rate100 = np.where(line_turned13 > 0, line_rate92, line_rate94)
    line_rate101 = np.where(line_turned14 > 0, line_rate90, line_rate86)
    line_rate102 = np.where(line_turned14 > 0, line_rate86, line_rate90)
    line_rate103 = np.where(line_turned15 > 0, line_rate96, line_rate99)
    line_rate104 = np.where(line_turned15 > 0, line_rate99, line_rate96)
    line_rate105 = np.where(line_turned16 > 0, line_rate98, line_rate101)
    line_rate106 = np.where(line_turned16 > 0, line_rate101, line_rate98)
    line_rate107 = np.where(line_turned17 > 0, line_rate103, line_rate97)
    line_rate108 = np.where(line_turned17 > 0, line_rate97, line_rate103)
    line_rate109 = np.where(line_turned18 > 0, line_rate104, line_rate105)
    line_rate110 = np.where(line_turned18 > 0, line_rate105, line_rate104)
    line_rate111 = np.where(line_turned19 > 0, line_rate100, line_rate106)
    line_rate112 = np.where(line_turned19 > 0, line_rate106, line_rate100)
    line_rate113 = np.where(line_turned20 > 0, line_rate74, line_rate95)
    line_rate114 = np.where(line_turned20 > 0, line_rate95, line_rate74)
    line_rate115 = np.where(line_turned21 > 0, line_rate114, line_rate110)
    line_rate116 = np.where(line_turned21 > 0, line_rate110, line_rate114)
    line_rate117 = np.where(line_turned22 > 0, line_rate115, line_rate108)
    line_rate118 = np.where(line_turned22 > 0, line_rate108, line_rate115)
    line_rate119 = np.where(line_turned23 > 0, line_rate111, line_rate109)
    line_rate120 = np.where(line_turned23 > 0, line_rate109, line_rate111)
    line_rate121 = np.where(line_turned24 > 0, line_rate116, line_rate112)
    line_rate122 = np.where(line_turned24 > 0, line_rate112, line_rate116)
    line_rate123 = np.where(line_turned25 > 0, line_rate117, line_rate107)
    line_rate124 = np.where(line_turned25 > 0, line_rate107, line_rate117)
    line_rate125 = np.where(line_turned26 > 0, line_rate118, line_rate119)
    line_rate126 = np.where(line_turned26 > 0, line_rate119, line_rate118)
    line_rate127 = np.where(line_turned27 > 0, line_rate121, line_rate120)
    line_rate128 = np.where(line_turned27 > 0, line_rate120, line_rate121)
    line_rate129 = np.where(line_turned28 > 0, line_rate122, line_rate102)
    line_rate130 = np.where(line_turned28 > 0, line_rate102, line_rate122)
    g134 = line_c33*line_moment6
    g139 = line_c38*line_moment11
    g1 = np.exp(-0.5*(line_gap1*line_gap1))
    line_density1 = 0.3989422804014327*g1
    line_edge1 = line_density1*line_gap1
    line_beyond10 = line_beyond1 + line_edge1
    line_edge10 = line_edge1*line_gap1
    line_beyond19 = 2.0*line_density1 + line_edge10
    line_edge19 = line_edge10*line_gap1
    line_beyond28 = 3.0*line_beyond10 + line_edge19
    line_rate62 = line_density1*line_rate44
    line_edge28 = line_edge19*line_gap1
    line_beyond37 = 4.0*line_beyond19 + line_edge28
    line_edge37 = line_edge28*line_gap1
    line_beyond46 = 5.0*line_beyond28 + line_edge37
    line_rate131 = line_density1*line_rate113
    g2 = np.exp(-0.5*(line_gap2*line_gap2))
    line_density2 = 0.3989422804014327*g2
    line_edge2 = line_density2*line_gap2
    line_beyond11 = line_beyond2 + line_edge2
    line_edge11 = line_edge2*line_gap2
    line_beyond20 = 2.0*line_density2 + line_edge11
    line_edge20 = line_edge11*line_gap2
    line_beyond29 = 3.0*line_beyond11 + line_edge20
    line_rate63 = line_density2*line_rate54
    line_edge29 = line_edge20*line_gap2
    line_beyond38 = 4.0*line_beyond20 + line_edge29
    line_edge38 = line_edge29*line_gap2
    line_beyond47 = 5.0*line_beyond29 + line_edge38
    line_rate132 = line_density2*line_rate123
    g3 = np.exp(-0.5*(line_gap3*line_gap3))
    line_density3 = 0.3989422804014327*g3
    line_edge3 = line_density3*line_gap3
    line_beyond12 = line_beyond3 + line_edge3
    line_edge12 = line_edge3*line_gap3
    line_beyond21 = 2.0*line_density3 + line_edge12
    line_edge21 = line_edge12*line_gap3
    line_beyond30 = 3.0*line_beyond12 + line_edge21
    line_rate64 = line_density3*line_rate55
    line_edge30 = line_edge21*line_gap3
    line_beyond39 = 4.0*line_beyond21 + line_edge30
    line_edge39 = line_edge30*line_gap3
    line_beyond48 = 5.0*line_beyond30 + line_edge39
    line_rate133 = line_density3*line_rate124
    g4 = np.exp(-0.5*(line_gap4*line_gap4))
    line_density4 = 0.3989422804014327*g4
    line_edge4 = line_density4*line_gap4
    line_beyond13 = line_beyond4 + line_edge4
    line_edge13 = line_edge4*line_gap4
    line_beyond22 = 2.0*line_density4 + line_edge13
    line_edge22 = line_edge13*line_gap4
    line_beyond31 = 3.0*line_beyond13 + line_edge22
    line_rate65 = line_density4*line_rate56
    line_edge31 = line_edge22*line_gap4
    line_beyond40 = 4.0*line_beyond22 + line_edge31
    line_edge40 = line_edge31*line_gap4
    line_beyond49 = 5.0*line_beyond31 + line_edge40
    line_rate134 = line_density4*line_rate125
    g5 = np.exp(-0.5*(line_gap5*line_gap5))
    line_density5 = 0.3989422804014327*g5
    line_edge5 = line_density5*line_gap5
    line_beyond14 = line_beyond5 + line_edge5
    line_edge14 = line_edge5*line_gap5
    line_beyond23 = 2.0*line_density5 + line_edge14
    line_edge23 = line_edge14*line_gap5
    line_beyond32 = 3.0*line_beyond14 + line_edge23
    line_rate66 = line_density5*line_rate57
    line_edge32 = line_edge23*line_gap5
    line_beyond41 = 4.0*line_beyond23 + line_edge32
    line_edge41 = line_edge32*line_gap5
    line_beyond50 = 5.0*line_beyond32 + line_edge41
    line_rate135 = line_density5*line_rate126
    g6 = np.exp(-0.5*(line_gap6*line_gap6))
    line_density6 = 0.3989422804014327*g6
    line_edge6 = line_density6*line_gap6
    line_beyond15 = line_beyond6 + line_edge6
    line_edge15 = line_edge6*line_gap6
    line_beyond24 = 2.0*line_density6 + line_edge15
    line_edge24 = line_edge15*line_gap6
    line_beyond33 = 3.0*line_beyond15 + line_edge24
    line_rate67 = line_density6*line_rate58
    line_edge33 = line_edge24*line_gap6
    line_beyond42 = 4.0*line_beyond24 + line_edge33
    line_edge42 = line_edge33*line_gap6
    line_beyond51 = 5.0*line_beyond33 + line_edge42
    line_rate136 = line_density6*line_rate127
    g7 = np.exp(-0.5*(line_gap7*line_gap7))
    line_density7 = 0.3989422804014327*g7
    line_edge7 = line_density7*line_gap7
    line_beyond16 = line_beyond7 + line_edge7
    line_edge16 = line_edge7*line_gap7
    line_beyond25 = 2.0*line_density7 + line_edge16
    line_edge25 = line_edge16*line_gap7
    line_beyond34 = 3.0*line_beyond16 + line_edge25
    line_rate68 = line_density7*line_rate59
    line_edge34 = line_edge25*line_gap7
    line_beyond43 = 4.0*line_beyond25 + line_edge34
    line_edge43 = line_edge34*line_gap7
    line_beyond52 = 5.0*line_beyond34 + line_edge43
    line_rate137 = line_density7*line_rate128
    g8 = np.exp(-0.5*(line_gap8*line_gap8))
    line_density8 = 0.3989422804014327*g8
    line_edge8 = line_density8*line_gap8
    line_beyond17 = line_beyond8 + line_edge8
    line_edge17 = line_edge8*line_gap8
    line_beyond26 = 2.0*line_density8 + line_edge17
    line_edge26 = line_edge17*line_gap8
    line_beyond35 = 3.0*line_beyond17 + line_edge26
    line_rate69 = line_density8*line_rate60
    line_edge35 = line_edge26*line_gap8
    line_beyond44 = 4.0*line_beyond26 + line_edge35
    line_edge44 = line_edge35*line_gap8
    line_beyond53 = 5.0*line_beyond35 + line_edge44
    line_rate138 = line_density8*line_rate129
    g9 = np.exp(-0.5*(line_gap9*line_gap9))
    line_density9 = 0.3989422804014327*g9
    line_moment2 = g70*line_density1 + g71*line_density2 + g72*line_density3 + g73*line_density4 + g74*line_density5 + g75*line_density6 + g76*line_density7 + g77*line_density8 + g78*line_density9
    line_edge9 = line_density9*line_gap9
    line_beyond18 = line_beyond9 + line_edge9
    line_moment3 = line_beyond10*line_outward1 + line_beyond11*line_outward2 + line_beyond12*line_outward3 + line_beyond13*line_outward4 + line_beyond14*line_outward5 + line_beyond15*line_outward6 + line_beyond16*line_outward7 + line_beyond17*line_outward8 + line_beyond18*line_outward9 + line_central1
    line_edge18 = line_edge9*line_gap9
    line_beyond27 = 2.0*line_density9 + line_edge18
    line_moment4 = g70*line_beyond19 + g71*line_beyond20 + g72*line_beyond21 + g73*line_beyond22 + g74*line_beyond23 + g75*line_beyond24 + g76*line_beyond25 + g77*line_beyond26 + g78*line_beyond27
    line_edge27 = line_edge18*line_gap9
    line_beyond36 = 3.0*line_beyond18 + line_edge27
    line_moment5 = line_beyond28*line_outward1 + line_beyond29*line_outward2 + line_beyond30*line_outward3 + line_beyond31*line_outward4 + line_beyond32*line_outward5 + line_beyond33*line_outward6 + line_beyond34*line_outward7 + line_beyond35*line_outward8 + line_beyond36*line_outward9 + 3.0*line_central1
    line_moment7 = g100*line_density8 + g101*line_density9 + g93*line_density1 + g94*line_density2 + g95*line_density3 + g96*line_density4 + g97*line_density5 + g98*line_density6 + g99*line_density7
    line_moment8 = line_beyond10*line_outward10 + line_beyond11*line_outward11 + line_beyond12*line_outward12 + line_beyond13*line_outward13 + line_beyond14*line_outward14 + line_beyond15*line_outward15 + line_beyond16*line_outward16 + line_beyond17*line_outward17 + line_beyond18*line_outward18 + line_central2
    line_moment9 = g100*line_beyond26 + g101*line_beyond27 + g93*line_beyond19 + g94*line_beyond20 + g95*line_beyond21 + g96*line_beyond22 + g97*line_beyond23 + g98*line_beyond24 + g99*line_beyond25
    line_moment10 = line_beyond28*line_outward10 + line_beyond29*line_outward11 + line_beyond30*line_outward12 + line_beyond31*line_outward13 + line_beyond32*line_outward14 + line_beyond33*line_outward15 + line_beyond34*line_outward16 + line_beyond35*line_outward17 + line_beyond36*line_outward18 + 3.0*line_central2
    line_moment12 = g102*line_density1 + g103*line_density2 + g104*line_density3 + g105*line_density4 + g106*line_density5 + g107*line_density6 + g108*line_density7 + g109*line_density8 + g110*line_density9
    line_moment13 = line_beyond10*line_outward19 + line_beyond11*line_outward20 + line_beyond12*line_outward21 + line_beyond13*line_outward22 + line_beyond14*line_outward23 + line_beyond15*line_outward24 + line_beyond16*line_outward25 + line_beyond17*line_outward26 + line_beyond18*line_outward27 + line_central3
    line_moment14 = g102*line_beyond19 + g103*line_beyond20 + g104*line_beyond21 + g105*line_beyond22 + g106*line_beyond23 + g107*line_beyond24 + g108*line_beyond25 + g109*line_beyond26 + g110*line_beyond27
    line_moment15 = line_beyond28*line_outward19 + line_beyond29*line_outward20 + line_beyond30*line_outward21 + line_beyond31*line_outward22 + line_beyond32*line_outward23 + line_beyond33*line_outward24 + line_beyond34*line_outward25 + line_beyond35*line_outward26 + line_beyond36*line_outward27 + 3.0*line_central3
    line_rate70 = line_density9*line_rate61
    line_edge36 = line_edge27*line_gap9
    line_beyond45 = 4.0*line_beyond27 + line_edge36
    line_moment16 = g100*line_beyond44 + g101*line_beyond45 + g93*line_beyond37 + g94*line_beyond38 + g95*line_beyond39 + g96*line_beyond40 + g97*line_beyond41 + g98*line_beyond42 + g99*line_beyond43
    line_edge45 = line_edge36*line_gap9
    line_beyond54 = 5.0*line_beyond36 + line_edge45
    line_moment17 = line_beyond46*line_outward10 + line_beyond47*line_outward11 + line_beyond48*line_outward12 + line_beyond49*line_outward13 + line_beyond50*line_outward14 + line_beyond51*line_outward15 + line_beyond52*line_outward16 + line_beyond53*line_outward17 + line_beyond54*line_outward18 + 15.0*line_central2
    line_moment18 = g102*line_beyond37 + g103*line_beyond38 + g104*line_beyond39 + g105*line_beyond40 + g106*line_beyond41 + g107*line_beyond42 + g108*line_beyond43 + g109*line_beyond44 + g110*line_beyond45
    line_moment19 = line_beyond46*line_outward19 + line_beyond47*line_outward20 + line_beyond48*line_outward21 + line_beyond49*line_outward22 + line_beyond50*line_outward23 + line_beyond51*line_outward24 + line_beyond52*line_outward25 + line_beyond53*line_outward26 + line_beyond54*line_outward27 + 15.0*line_central3
    line_rate139 = line_density9*line_rate130
    g135 = line_c34*line_moment7
    g136 = line_c35*line_moment8
    g137 = line_c36*line_moment14
    g138 = line_c36*line_moment9
    g140 = line_c39*line_moment12
    g141 = line_c40*line_moment13
    J_R = np.sum(weights_z_across * (g133*line_moment10 + g133*line_moment15 + 0.25*line_c10*line_moment3 + 0.25*line_c11*line_moment4 + 0.25*line_c12*line_moment5 + 0.25*line_c19*line_moment6 + 0.25*line_c20*line_moment7 + 0.25*line_c21*line_moment8 + 0.25*line_c22*line_moment9 + 0.25*line_c28*line_moment11 + 0.25*line_c29*line_moment12 + 0.25*line_c30*line_moment13 + 0.25*line_c31*line_moment14 + 0.25*line_c8*line_moment1 + 0.25*line_c9*line_moment2))
    J_A = np.sum(weights_z_across * (g134 + g135 + g136 + g137 + g138 + g139 + g140 + g141))
    J_B = np.sum(weights_z_across * (line_c41*line_moment6 + line_c42*line_moment7 + line_c43*line_moment13 + line_c43*line_moment8 + line_c44*line_moment11 + line_c45*line_moment12 + line_jump1*line_rate62 + line_jump2*line_rate63 + line_jump3*line_rate64 + line_jump4*line_rate65 + line_jump5*line_rate66 + line_jump6*line_rate67 + line_jump7*line_rate68 + line_jump8*line_rate69 + line_jump9*line_rate70))
    J_F = np.sum(weights_z_across * (p_epsilon*g134 + p_epsilon*g135 + p_epsilon*g136 - p_epsilon*g137 + p_epsilon*g138 - p_epsilon*g139 - p_epsilon*g140 - p_epsilon*g141))
    J_I = np.sum(weights_z_across * (line_c46*line_moment6 + line_c47*line_moment7 + line_c48*line_moment8 + line_c49*line_moment9 + line_c50*line_moment10 + line_c51*line_moment16 + line_c52*line_moment17 + line_c52*line_moment19 + line_c53*line_moment11 + line_c54*line_moment12 + line_c55*line_moment13 + line_c56*line_moment14 + line_c57*line_moment15 + line_c58*line_moment18))
    J_D = np.sum(weights_z_across * (-g142*line_moment13 - g142*line_moment8 - 2.0*line_c59*line_moment6 - 2.0*line_c60*line_moment7 - 2.0*line_c62*line_moment11 - 2.0*line_c63*line_moment12 + line_jump1*line_rate131 + line_jump2*line_rate132 + line_jump3*line_rate133 + line_jump4*line_rate134 + line_jump5*line_rate135 + line_jump6*line_rate136 + line_jump7*line_rate137 + line_jump8*line_rate138 + line_jump9*line_rate139))
    return J_R, J_A, J_B, J_D, J_F, J_I


@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def rates(problem, k, iterate, x, e, v):
    """dx_j/dt = gamma (offset_j + slope_j (x_j - x_star_j)), dv_j/dt = 2 gamma slope_j v_j + gamma^2 noise_j."""
    x_star = problem.teacher
    omega = problem.weights
    p_tau = problem.parameters[iterate, 1, 0]
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
    p_tau = problem.parameters[iterate, 1, 0]
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
    p_epsilon = par[0]
    sigma0 = np.where(-r*(-(r*r) + y*y - np.square(np.maximum(1e-05, p_epsilon*n))) > 0, 1.0, -1.0)
    inside0 = np.where(((p_epsilon*p_epsilon)*(n*n) - (r*r)) > 0, 1.0, -1.0)
    better0 = np.where((-(p_epsilon*p_epsilon)*(n*n)*(sigma0*sigma0) - 2.0*p_epsilon*n*r*sigma0 - (r*r) + 2.0*(y*y)) > 0, 1.0, -1.0)
    c1 = p_epsilon*sigma0
    c2 = c1*n
    c3 = c2 + r
    c4 = c3*c3 - (y*y)
    c5 = 0.25*c4*(4.0*c2 + 4.0*r)
    c6 = c1*c3*c4
    return np.where(inside0 > 0, np.where(better0 > 0, 0.0, c5), c5), np.where(inside0 > 0, np.where(better0 > 0, 0.0, c6), c6)


def target(y, r_star, xi, uniform, par):
    """Labels of samples."""
    return r_star


def ridge(par):
    """tau."""
    p_tau = par[1]
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
                 resolution=2e-14, modes=modes)


def simulate_problem(problem, precision="float64"):
    """Run streaming SGD on a Problem; see `simulate`."""
    return simulate(problem, Sgd(gradient, target, ridge, learning_rate, constants, rates), precision)


def simulate_lumped_problem(problem):
    """Run streaming SGD in lumps on a Problem; see `simulate_lumped`."""
    return simulate_lumped(problem, Sgd(gradient, target, ridge, learning_rate, constants, rates))


def diffuse_problem(problem, longest):
    """Run homogenised SGD on a Problem; see `diffuse`."""
    return diffuse(problem, Diffusion(constants, rates, learning_rate), longest)
