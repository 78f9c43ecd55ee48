"""``rest_point``: where the dynamics end at a constant learning rate, without integration (docs/theory.md §3 and §6).

At rest ``x_j = −h_j/H_j`` and ``v_j = γ G_j/(2 H_j)``. Given the scores' laws, ``3K + 1`` numbers, the right-hand sides
are known, and have laws of their own: a fixed point in these numbers. Rest points form a branch that begins at the
optimum with ``v = 0``; it is followed in the total variance ``V = Σ v_j``, of which ``γ`` is a function:
``γ = V/Σ_j G_j/(2 H_j)``. Its supremum is the largest stable learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.errors import BackendError, InputError, InstanceError, ParameterError
from sgdlimit.derive.model import Constant, Model, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, load_kernel
from sgdlimit.runtime.minimiser import find_optimum, is_convex, risk_of
from sgdlimit.runtime.risk import Coefficients, Point, Risk, Score, dot, mixed, norm
from sgdlimit.runtime.step_sizes import Parameters

Array = NDArray[np.float64]

_STEP = 1e-6  # of finite differences
_ROUNDS = 60
_TINY, _MOST = 1e-20, 1e14  # total variances, in units of a typical ‖X‖², between which a branch is followed
_DECADE = 10.0


@dataclass(frozen=True, eq=False)
class RestPoint:
    """The limit of the mode equations at a constant learning rate, as ``t → ∞`` (``docs/theory.md`` §3, §6).

    Parameters
    ----------
    gamma : float
        The learning rate.
    mean, variance : array [N]
        ``x_j`` and ``v_j``.
    adversarial_risk : float
        ``Σ p_i R_i`` there.
    effective_ridge : float
        ``(F/n + τ)/B``: for adversarial least squares the mean is the ridge solution ``λ_j X*_j/(λ_j + δ)`` with it.
    residual : float
        ``‖(h + H x, 2 H v − γ G)‖`` relative to its terms.
    """

    gamma: float
    mean: Array = field(repr=False)
    variance: Array = field(repr=False)
    adversarial_risk: float
    effective_ridge: float
    residual: float
    _branch: _Branch = field(repr=False)

    @cached_property
    def largest_stable_gamma(self) -> float:
        """The supremum of the learning rates that have a rest point on the branch that begins at the optimum; may be
        infinite. Found when it is first asked for, or pickled."""
        return self._branch.largest()

    def __getstate__(self) -> dict[str, Any]:
        # the branch holds a compiled kernel; what it is kept for is one number
        return {**self.__dict__, "largest_stable_gamma": self.largest_stable_gamma, "_branch": None}

    def __repr__(self) -> str:
        size = float((self.mean**2).sum()), float(self.variance.sum())
        return (
            f"RestPoint(γ = {self.gamma:g}; adversarial risk {self.adversarial_risk:.6g}; ‖x‖² = {size[0]:.6g}, "
            f"Σ v = {size[1]:.6g}; effective ridge {self.effective_ridge:.4g}; residual {self.residual:.1g})"
        )


def rest_point(
    model: Model,
    instance: Instance | DenseInstance,
    schedule: StepSize,
    parameters: Parameters | None = None,
    *,
    backend: str = "auto",
    kernel: Kernel | None = None,
) -> RestPoint:
    """The rest point of the mode equations at a constant learning rate, as a fixed point.

    Parameters
    ----------
    model : Model
    instance : Instance
        Of any dimension; its start does not matter.
    schedule : Constant
        The learning rate.
    parameters : mapping of str to float or sequence of K floats
        Values of the model's parameters; ``tau`` is 0 unless given.
    backend : {"auto", "c", "numpy"}
    kernel : Kernel, optional
        One already loaded.

    Returns
    -------
    RestPoint
        On the branch that begins at the optimum (for a loss that is not convex: at the lowest stationary point).

    Raises
    ------
    ParameterError
        At this learning rate nothing rests; says up to which it does.
    NoMinimiser
        The risk has no minimiser for the branch to begin at.
    InstanceError, InputError
        For input that cannot be, a learning rate that changes, say.
    BackendError
        When the fixed point is not found, or the kernel cannot be built.

    Examples
    --------
    >>> from sgdlimit.derive import Loss, Teacher
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"))
    >>> rest = rest_point(model, Instance.isotropic(100), Constant(0.5), {"sigma": 0.5}, backend="numpy")
    >>> round(rest.adversarial_risk - 0.5**2 / 2, 6)  # γσ²/(2(2 − γ))
    0.041667
    >>> round(rest.largest_stable_gamma, 6)
    2.0
    """
    if isinstance(instance, DenseInstance):
        raise InstanceError(
            "instance",
            "a rest point is found mode by mode, and covariances that do not commute have no common modes",
            "solve to a long horizon",
        )
    if not isinstance(schedule, Constant):
        raise InputError("schedule", f"{schedule!r} changes, and nothing rests", "give Constant(γ)")
    given = dict(parameters or {})
    if kernel is None:
        kernel = load_kernel(model, backend=backend)
    risk = risk_of(kernel, model, instance, given)
    branch = _Branch(risk, find_optimum(risk, is_convex(model, given)).x[risk.active])
    return branch.at(schedule.gamma)


# ── The fixed point ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Modes:
    """What given coefficients put to rest, and at which learning rate its total variance is ``V``."""

    point: Point
    variance: Array
    gamma: float


class _Stuck(Exception):
    """The fixed point was not found."""


Laws = tuple[Score, ...]


class _FixedPoint:
    """Rest at a given total variance."""

    def __init__(self, risk: Risk) -> None:
        self.risk = risk

    def coefficients(self, laws: Laws) -> list[Coefficients]:
        return [self.risk.coefficients(s, i) for i, s in enumerate(laws)]

    def modes(self, coefficients: list[Coefficients], n: float, V: float) -> _Modes:
        """``x = −h/H`` and ``v ∝ G/(2H)``."""
        risk = self.risk
        A, B, D, BD, F, I = (
            risk.p * np.array([getattr(c, name) for c in coefficients]) for name in ("A", "B", "D", "BD", "F", "I")
        )
        ridge = risk.tau + float(F.sum()) / n
        H = mixed(B, risk.lam) + ridge
        if not (np.isfinite(H).all() and (H > 0).all()):
            raise _Stuck
        force = mixed(A, risk.mu)
        x = -(force + mixed(D, risk.lam_teacher)) / H
        e = -(force + mixed(BD, risk.lam_teacher) + ridge * risk.teacher) / H if risk.has_teacher else x
        share = risk.omega * mixed(I, risk.lam) / (2 * H)
        total = float(share.sum())
        if not 0 < total < math.inf:
            raise _Stuck
        return _Modes(Point(x, e), V / total * share, V / total)

    def image(self, laws: Laws, V: float) -> Laws:
        """The laws of what the coefficients at given laws put to rest."""
        modes = self.modes(self.coefficients(laws), laws[0].n, V)
        return self.risk.scores(modes.point, modes.variance)

    def solve(self, laws: Laws, V: float) -> tuple[Laws, _Modes]:
        """Newton's method, damped, from given laws."""
        here, size = laws, math.inf
        for _ in range(_ROUNDS):
            variables = _Variables(self.risk, here)
            gap = variables.difference(self.image(here, V), here)
            size = float(np.max(np.abs(gap)))
            if size < 1e-13:
                break
            columns = []
            for k in range(variables.count):
                step = np.zeros(variables.count)
                step[k] = _STEP
                there = variables.moved(here, step)
                columns.append((variables.difference(self.image(there, V), there) - gap) / _STEP)
            direction = np.asarray(np.linalg.lstsq(np.array(columns).T, -gap, rcond=None)[0], dtype=np.float64)
            moved = self._damped(variables, here, direction, V, size)
            if moved is None:
                break
            here = moved
        if not size < 1e-8:
            raise _Stuck
        return here, self.modes(self.coefficients(here), here[0].n, V)

    def _damped(self, variables: _Variables, here: Laws, direction: Array, V: float, size: float) -> Laws | None:
        length = min(1.0, 2.0 / (float(np.max(np.abs(direction))) or 1.0))
        for _ in range(30):
            there = variables.moved(here, length * direction)
            try:
                gap = variables.difference(self.image(there, V), there)
            except _Stuck:
                gap = np.array([math.inf])
            if np.max(np.abs(gap)) < size * (1 - 0.1 * length):
                return there
            length *= 0.5
        return None


class _Variables:
    """The numbers that laws of scores consist of, in units of their own: widths of scores, and logarithms."""

    def __init__(self, risk: Risk, laws: Laws) -> None:
        self.risk = risk
        self.widths = [math.sqrt(s.spread) + 1e-8 * math.sqrt(risk.scale) for s in laws]
        self.moving = [bool(np.any(mu)) for mu in risk.mu]
        self.count = 1 + sum(1 + self.moving[i] + (s.Q_star > 0) for i, s in enumerate(laws))

    def difference(self, there: Laws, here: Laws) -> Array:
        """``there − here``."""
        found = [math.log(there[0].n / here[0].n)]
        for i, (a, b) in enumerate(zip(there, here, strict=True)):
            found.append(math.log(a.Q_perp / b.Q_perp))
            if self.moving[i]:
                found.append((a.dm - b.dm) / self.widths[i])
            if a.Q_star > 0:
                found.append((a.beta1 - b.beta1) * math.sqrt(a.Q_star) / self.widths[i])
        return np.array(found)

    def moved(self, laws: Laws, step: Array) -> Laws:
        """``laws + step``."""
        values = iter(step.tolist())
        n = laws[0].n * math.exp(next(values))
        found = []
        for i, s in enumerate(laws):
            Q_perp = s.Q_perp * math.exp(next(values))
            dm = self.widths[i] * next(values) if self.moving[i] else 0.0
            beta = self.widths[i] * next(values) / math.sqrt(s.Q_star) if s.Q_star > 0 else 0.0
            found.append(
                replace(s, n=n, m=s.m + dm, dm=s.dm + dm, beta=s.beta + beta, beta1=s.beta1 + beta, Q_perp=Q_perp)
            )
        return tuple(found)


# ── The branch ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Rest:
    """A point of the branch."""

    V: float
    laws: Laws
    modes: _Modes

    @property
    def gamma(self) -> float:
        return self.modes.gamma


class _Branch:
    """Rest points from the optimum on, by their total variance."""

    def __init__(self, risk: Risk, best: Array) -> None:
        self.risk, self.fixed = risk, _FixedPoint(risk)
        self.best = risk.at(best)
        if np.array_equal(best, risk.teacher):
            self.best = risk.at_teacher()
        self.unit = dot(best, best) or dot(risk.teacher, risk.teacher) or 1 / float(np.max(risk.lam))
        # without noise at the optimum nothing moves there, at any stable learning rate
        noise, typical = (
            float(risk.p @ [c.I for c in risk.evaluate(p).coefficients]) for p in (self.best, risk.origin())
        )
        self.silent = noise <= 1e-24 * typical
        self.first = self._begin()

    def _begin(self) -> _Rest:
        """A point of the branch near the optimum: from a guess at some variance, and then down."""
        share = self.risk.omega * mixed(self.risk.p, self.risk.lam)
        share = share / share.sum()
        for size in (1e-4, 1e-2, 1e-6, 1.0, 1e-8):
            V = size * self.unit
            laws = self.risk.scores(self.best, V * share)
            for calm in (0, 20):  # Picard's iteration first where Newton's method starts too far
                try:
                    for _ in range(calm):
                        laws = self.fixed.image(laws, V)
                    return _Rest(V, *self.fixed.solve(laws, V))
                except (_Stuck, ValueError, OverflowError, ZeroDivisionError):
                    continue
        raise BackendError("no rest point was found near the optimum")

    def step(self, known: _Rest, V: float) -> _Rest:
        """The rest point at another variance, from one nearby; in several steps where one is too far."""
        factor = math.log(V / known.V)
        for parts in (1, 4, 16):
            here = known
            try:
                for k in range(1, parts + 1):
                    there = known.V * math.exp(factor * k / parts)
                    # scores scale like the spread of the iterate where that dominates
                    here = _Rest(there, *self.fixed.solve(self._scaled(here, there), there))
                return here
            except (_Stuck, ValueError, OverflowError, ZeroDivisionError):
                continue
        raise _Stuck

    def _scaled(self, known: _Rest, V: float) -> Laws:
        """Laws at another variance of the same shape."""
        return self.risk.scores(known.modes.point, V / known.V * known.modes.variance)

    def at(self, gamma: float) -> RestPoint:
        """The rest point at a learning rate."""
        if self.silent:
            if gamma >= self.largest():
                raise self._too_large(gamma)
            still = np.zeros_like(self.best.x)
            return self._told(gamma, self.best, still)
        low, high = self._bracket(gamma)
        found = self._between(low, high, lambda rest: math.log(rest.gamma / gamma))
        return self._told(gamma, found.modes.point, found.modes.variance * (gamma / found.gamma))

    def _bracket(self, gamma: float) -> tuple[_Rest, _Rest]:
        """Neighbours on the branch with a smaller and a larger learning rate."""
        here = self.first
        while here.gamma > gamma:
            above = here
            if _TINY * self.unit > here.V:
                raise BackendError(f"the rest point at γ = {gamma:g} cannot be told from the optimum")
            here = self._next(here, here.V / _DECADE, gamma)
            if here.gamma <= gamma:
                return here, above
        while True:
            below = here
            if _MOST * self.unit < here.V:
                raise self._too_large(gamma)
            here = self._next(here, here.V * _DECADE, gamma)
            if here.gamma >= gamma:
                return below, here
            if here.gamma < below.gamma:
                top = self._top(below, here)
                if top.gamma >= gamma:
                    return below, top
                raise self._too_large(gamma)

    def _next(self, known: _Rest, V: float, gamma: float) -> _Rest:
        try:
            return self.step(known, V)
        except _Stuck:
            raise self._too_large(gamma) from None

    def _between(self, low: _Rest, high: _Rest, function: Callable[[_Rest], float]) -> _Rest:
        """Where an increasing function vanishes, by false position in ``log V`` (Illinois)."""
        f_low, f_high = function(low), function(high)
        here = low
        side = 0
        for _ in range(100):
            a, b = math.log(low.V), math.log(high.V)
            V = math.exp((a * f_high - b * f_low) / (f_high - f_low))
            try:
                here = self.step(low, V)
            except _Stuck:
                raise BackendError("the rest point was not found") from None
            f = function(here)
            if abs(f) < 1e-14 or abs(b - a) < 1e-15:
                break
            if f < 0:
                low, f_low = here, f
                f_high *= 0.5 if side == -1 else 1.0
                side = -1
            else:
                high, f_high = here, f
                f_low *= 0.5 if side == 1 else 1.0
                side = 1
            if min(abs(f_low), abs(f_high)) == 0:
                break
        return here

    def largest(self) -> float:
        """The supremum of ``γ`` on the branch."""
        rests = [self.first]
        if self.silent:  # the branch begins at a learning rate of its own, with V = 0
            rests = [self.step(self.first, _TINY * self.unit)]
        while _MOST * self.unit > rests[-1].V:
            try:
                rests.append(self.step(rests[-1], rests[-1].V * _DECADE))
            except _Stuck:
                break
            if rests[-1].gamma < rests[-2].gamma * (1 - 1e-6):
                return self._top(rests[max(len(rests) - 3, 0)], rests[-1]).gamma
        a, b = rests[-2:] if len(rests) > 1 else (rests[0], rests[0])
        rate = math.log(b.gamma / a.gamma) / math.log(b.V / a.V) if b is not a else 0.0
        # proportional to a power of V to the end: bounded gradients hold every learning rate
        return math.inf if rate > 0.05 else b.gamma

    def _top(self, low: _Rest, high: _Rest) -> _Rest:
        """Where ``γ`` is largest between two points of the branch; beyond it the branch turns back."""
        from scipy.optimize import minimize_scalar

        def falling(log_V: float) -> float:
            try:
                return -self.step(low, math.exp(log_V)).gamma
            except _Stuck:
                return 0.0

        bounds = (math.log(low.V), math.log(high.V))
        found = minimize_scalar(falling, bounds=bounds, method="bounded", options={"xatol": 1e-9})
        return self.step(low, math.exp(float(found.x)))

    def _too_large(self, gamma: float) -> ParameterError:
        return ParameterError(
            "gamma",
            f"at {gamma:g} nothing rests: the dynamics leave every bound",
            f"the largest stable learning rate is {self.largest():.6g}",
        )

    def _told(self, gamma: float, point: Point, variance: Array) -> RestPoint:
        risk = self.risk
        laws = risk.scores(point, variance)
        coefficients = self.fixed.coefficients(laws)
        p, n = risk.p, laws[0].n
        A, B, D, BD, F, I = (
            p * np.array([getattr(c, name) for c in coefficients]) for name in ("A", "B", "D", "BD", "F", "I")
        )
        ridge = risk.tau + (float(F.sum()) / n if n > 0 else 0.0)
        H = mixed(B, risk.lam) + ridge
        if variance.any():
            drift = mixed(A, risk.mu) + mixed(B, risk.lam) * point.e + mixed(BD, risk.lam_teacher) + ridge * point.x
            G = risk.omega * mixed(I, risk.lam)
            terms = norm(mixed(A, risk.mu)) + norm(mixed(D, risk.lam_teacher)) + norm(H * point.x)
            residual = norm(drift) / terms if terms > 0 else 0.0
            residual += norm(2 * H * variance - gamma * G) / (norm(gamma * G) or 1.0)
        else:
            residual = risk.evaluate(point).residual
        return RestPoint(
            gamma=gamma,
            mean=risk.whole(point.x),
            variance=risk.whole(variance),
            adversarial_risk=float(p @ [c.R for c in coefficients]),
            effective_ridge=ridge / float(B.sum()) if B.sum() > 0 else math.nan,
            residual=residual,
            _branch=self,
        )
