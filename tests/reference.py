"""An independent reference for the deterministic limit of (l2-adversarial) streaming SGD.

Written from ``theory.md`` sections 1 to 3 and the definitions alone; it imports NumPy, SciPy and mpmath,
never ``sgdlimit``, so that it can judge the solvers the project emits. Nothing here is derived: each loss
comes with its derivative and its kinks by hand, each coefficient is the Gaussian integral that defines it.

- `ReferenceModel` and its builders (`least_squares`, `logistic`, `logistic_sign_teacher`, `huber`, and
  `hinge`, `expectile` to exercise kinks and asymmetry);
- `ScoreLaw`, the law of ``(r, r*)`` in the coordinates that do not cancel;
- `coefficients` and `coefficients_of`: composite Gauss-Legendre in double precision;
- `coefficients_slow`: the same by mpmath, with ``B`` and ``D`` literally from ``Cov^-1``;
- `mode_terms`, `solve_modes`, `solve_reference`: the mode equations, by `scipy.integrate.solve_ivp`.

The integral over the scores is one-dimensional: over ``r`` for labels; over ``u = r - y`` for the linear
teacher (so its losses must be functions of ``r - y``); over ``r`` with ``P(y | r)`` for the sign teacher.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any, Literal, Protocol

import mpmath
import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import expit, ndtr

Array = NDArray[np.float64]
Target = Literal["labels", "linear", "sign"]
Method = Literal["DOP853", "LSODA", "Radau"]
SecondOrder = Literal["masses", "stein"]

FULL_REACH = 39  # standard deviations: beyond, the Gaussian density underflows
SOLVER_REACH = 12  # enough for 1e-15 of E|integrand| with integrands of polynomial growth
SLOW_REACH = 16  # leaves 1e-57 of E|integrand|
START_TIME = 1e-12
_ORDER = 20
_EPS = float(np.finfo(float).eps)


# --------------------------------------------------------------------------------------------- models


@dataclass(frozen=True)
class ReferenceModel:
    """A loss, its target and its adversary, everything by hand.

    ``loss``, ``derivative``, ``curvature``: ``f``, ``f'`` and ``f''`` off the kinks, as functions of
    ``(r, y)``, vectorised in ``r``. ``loss`` must be quasi-convex in ``r``. ``kinks(y)``: where ``f'`` or
    ``f''`` jumps. ``centres(y)``: where a smooth ``f`` bends on a scale of 1. ``switches(kappa, y)``: where
    ``f(r + kappa)`` and ``f(r - kappa)`` tie; None finds the root. ``mp_loss``, ``mp_derivative``: for
    `coefficients_slow`.
    """

    name: str
    loss: Callable[[Array, float], Array]
    derivative: Callable[[Array, float], Array]
    curvature: Callable[[Array, float], Array]
    mp_loss: Callable[[Any, Any], Any]
    mp_derivative: Callable[[Any, Any], Any]
    target: Target
    kinks: Callable[[float], tuple[float, ...]] = lambda y: ()
    centres: Callable[[float], tuple[float, ...]] = lambda y: ()
    switches: Callable[[float, float], tuple[float, ...]] | None = None
    sigma: float = 0.0
    epsilon: float = 0.0
    tau: float = 0.0

    def __post_init__(self) -> None:
        if min(self.sigma, self.epsilon, self.tau) < 0:
            raise ValueError(f"{self.name}: sigma, epsilon and tau must not be negative")
        if self.target == "linear":
            r = np.array([-2.5, -0.5, 0.25, 3.0])
            if not np.allclose(self.loss(r + 1.5, 1.5), self.loss(r, 0.0), rtol=1e-13, atol=1e-13):
                raise ValueError(f"{self.name}: a linear teacher needs a loss of r - y alone")


def _mp_clip(u: Any, bound: float) -> Any:
    return max(-mpmath.mpf(bound), min(mpmath.mpf(bound), u))


def least_squares(sigma: float = 0.0, epsilon: float = 0.0, tau: float = 0.0) -> ReferenceModel:
    """``(r - y)^2 / 2`` with ``y = r* + sigma xi``."""
    return ReferenceModel(
        name="least squares",
        loss=lambda r, y: 0.5 * (r - y) ** 2,
        derivative=lambda r, y: r - y,
        curvature=lambda r, y: np.ones_like(r),
        mp_loss=lambda r, y: (r - y) ** 2 / 2,
        mp_derivative=lambda r, y: r - y,
        switches=lambda kappa, y: (y,),
        target="linear",
        sigma=sigma,
        epsilon=epsilon,
        tau=tau,
    )


def huber(delta: float, sigma: float = 0.0, epsilon: float = 0.0, tau: float = 0.0) -> ReferenceModel:
    """``u^2 / 2`` up to ``|u| = delta``, then ``delta |u| - delta^2 / 2``, with ``u = r - r* - sigma xi``."""

    def loss(r: Array, y: float) -> Array:
        size = np.abs(r - y)
        inner = np.minimum(size, delta)
        return 0.5 * inner**2 + delta * (size - inner)

    def mp_loss(r: Any, y: Any) -> Any:
        size = abs(r - y)
        return size**2 / 2 if size <= delta else delta * size - mpmath.mpf(delta) ** 2 / 2

    return ReferenceModel(
        name="huber",
        loss=loss,
        derivative=lambda r, y: np.clip(r - y, -delta, delta),
        curvature=lambda r, y: (np.abs(r - y) <= delta).astype(float),
        mp_loss=mp_loss,
        mp_derivative=lambda r, y: _mp_clip(r - y, delta),
        kinks=lambda y: (y - delta, y + delta),
        switches=lambda kappa, y: (y,),
        target="linear",
        sigma=sigma,
        epsilon=epsilon,
        tau=tau,
    )


def expectile(ratio: float, sigma: float = 0.0, epsilon: float = 0.0, tau: float = 0.0) -> ReferenceModel:
    """``u^2 / 2`` above 0 and ``ratio u^2 / 2`` below: not symmetric, its switch is left to root finding."""

    def slope(r: Array, y: float) -> Array:
        return np.where(r > y, 1.0, ratio)

    def mp_slope(r: Any, y: Any) -> Any:
        return mpmath.mpf(1 if r > y else ratio)

    return ReferenceModel(
        name="expectile",
        loss=lambda r, y: 0.5 * slope(r, y) * (r - y) ** 2,
        derivative=lambda r, y: slope(r, y) * (r - y),
        curvature=slope,
        mp_loss=lambda r, y: mp_slope(r, y) * (r - y) ** 2 / 2,
        mp_derivative=lambda r, y: mp_slope(r, y) * (r - y),
        kinks=lambda y: (y,),
        target="linear",
        sigma=sigma,
        epsilon=epsilon,
        tau=tau,
    )


def logistic(epsilon: float = 0.0, tau: float = 0.0, target: Target = "labels") -> ReferenceModel:
    """``log(1 + exp(-y r))`` with class labels."""
    return ReferenceModel(
        name="logistic" if target == "labels" else f"logistic, {target} teacher",
        loss=lambda r, y: np.logaddexp(0.0, -y * r),
        derivative=lambda r, y: -y * expit(-y * r),
        curvature=lambda r, y: y * y * expit(r * y) * expit(-y * r),
        mp_loss=lambda r, y: mpmath.log(1 + mpmath.exp(-y * r)),
        mp_derivative=lambda r, y: -y / (1 + mpmath.exp(y * r)),
        centres=lambda y: (0.0,),
        switches=lambda kappa, y: (),
        target=target,
        epsilon=epsilon,
        tau=tau,
    )


def logistic_sign_teacher(epsilon: float = 0.0, tau: float = 0.0) -> ReferenceModel:
    """``log(1 + exp(-y r))`` with ``y = sign(r*)``."""
    return logistic(epsilon, tau, target="sign")


def hinge(epsilon: float = 0.0, tau: float = 0.0, target: Target = "labels") -> ReferenceModel:
    """``max(0, 1 - y r)``: a kink of the loss itself, hence a point mass in ``B``."""
    return ReferenceModel(
        name="hinge" if target == "labels" else f"hinge, {target} teacher",
        loss=lambda r, y: np.maximum(0.0, 1.0 - y * r),
        derivative=lambda r, y: np.where(y * r < 1.0, -y, 0.0),
        curvature=lambda r, y: np.zeros_like(r),
        mp_loss=lambda r, y: max(mpmath.mpf(0), 1 - y * r),
        mp_derivative=lambda r, y: -y if y * r < 1 else mpmath.mpf(0),
        kinks=lambda y: (1.0 / y,),
        switches=lambda kappa, y: (),
        target=target,
        epsilon=epsilon,
        tau=tau,
    )


# ------------------------------------------------------------------------------------ law of the scores


@dataclass(frozen=True)
class ScoreLaw:
    """``(r, r*)`` as ``r = m + beta (r* - m*) + sqrt(Q_perp) z``; see "Coordinates" in theory.md section 2.

    ``gap`` holds terms that sum to ``m - m*``.
    """

    m: float
    m_star: float
    Q_star: float
    beta: float
    beta_minus_one: float
    Q_perp: float
    gap: tuple[float, ...]

    @classmethod
    def from_moments(cls, m: float, Q: float, c: float, m_star: float, Q_star: float) -> ScoreLaw:
        """The law at exactly the given doubles: the two differences are taken in rational arithmetic."""
        if Q < 0 or Q_star < 0:
            raise ValueError(f"a variance is negative: Q = {Q}, Q_star = {Q_star}")
        if Q_star == 0:
            if c != 0:
                raise ValueError(f"Q_star = 0 leaves no covariance, but c = {c}")
            return cls(m, m_star, 0.0, 0.0, -1.0, Q, (m, -m_star))
        exact_c, exact_star = Fraction(c), Fraction(Q_star)
        perp = float(Fraction(Q) - exact_c**2 / exact_star)
        if perp < -8 * _EPS * Q:
            raise ValueError(f"the covariance is not positive: Q Q_star = {Q * Q_star} < c^2 = {c * c}")
        beta_minus_one = float((exact_c - exact_star) / exact_star)
        return cls(m, m_star, Q_star, c / Q_star, beta_minus_one, max(perp, 0.0), (m, -m_star))

    @classmethod
    def from_modes(
        cls,
        eigenvalues: Array,
        mean: Array,
        x: Array,
        v: Array,
        teacher: Array,
        deviation: Array | None = None,
    ) -> ScoreLaw:
        """The law given one class from the modes; ``deviation = x - teacher`` where that is known better."""
        gap = x - teacher if deviation is None else deviation
        Q_star = float(eigenvalues @ teacher**2)
        m, m_star = float(mean @ x), float(mean @ teacher)
        if Q_star == 0:
            Q = float(eigenvalues @ (x**2 + v))
            return cls(m, m_star, 0.0, 0.0, -1.0, Q, (float(mean @ gap),))
        beta = float((eigenvalues * teacher) @ x) / Q_star
        beta_minus_one = float((eigenvalues * teacher) @ gap) / Q_star
        residual = gap - beta_minus_one * teacher if abs(beta_minus_one) < 0.5 else x - beta * teacher
        Q_perp = float(eigenvalues @ (residual**2 + v))
        return cls(m, m_star, Q_star, beta, beta_minus_one, Q_perp, (float(mean @ gap),))

    @property
    def Q(self) -> float:
        return self.Q_perp + self.beta**2 * self.Q_star

    @property
    def c(self) -> float:
        return self.beta * self.Q_star

    def gap_variance(self, sigma: float) -> float:
        """``s^2 = Q - 2 c + Q* + sigma^2``, summed without cancellation."""
        return self.Q_perp + self.beta_minus_one**2 * self.Q_star + sigma**2


# --------------------------------------------------------------------------------- the sup and its kinks


def maximiser_sign(model: ReferenceModel, r: Array, y: float, kappa: float) -> Array:
    """The sign of the maximiser ``s``: the endpoint of ``r +- kappa`` that loses more."""
    up, down = model.loss(r + kappa, y), model.loss(r - kappa, y)
    difference = up - down
    decided = np.abs(difference) > 4 * _EPS * (np.abs(up) + np.abs(down))
    sign = np.where(decided, difference, model.derivative(r, y))
    return np.where(sign < 0, -1.0, 1.0)


@lru_cache(maxsize=4096)
def switch_points(model: ReferenceModel, y: float, kappa: float) -> tuple[float, ...]:
    """Where the maximiser jumps from one endpoint to the other (at most once: the loss is quasi-convex)."""
    if kappa == 0:
        return ()
    if model.switches is not None:
        return model.switches(kappa, y)

    def excess(r: float) -> float:
        up, down = model.loss(np.array([r + kappa, r - kappa]), y)
        return float(up - down)

    reach = 1.0 + abs(y) + kappa
    for _ in range(40):
        if excess(y - reach) < 0 < excess(y + reach):
            return (float(brentq(excess, y - reach, y + reach, xtol=1e-300, rtol=4 * _EPS)),)
        reach *= 2
    return ()


@dataclass(frozen=True)
class _Break:
    """A point where ``f_adv`` is not smooth: the terms that sum to it, and the jump of ``d f_adv / dr``."""

    terms: tuple[float, ...]
    jump: float

    @property
    def at(self) -> float:
        return math.fsum(self.terms)


@lru_cache(maxsize=4096)
def _breaks(model: ReferenceModel, y: float, kappa: float) -> tuple[_Break, ...]:
    signs = (1.0, -1.0) if kappa > 0 else (1.0,)
    shifted = [(k, s) for k in model.kinks(y) for s in signs]
    candidates: list[tuple[tuple[float, ...], tuple[float, float] | None]] = [
        ((k, -s * kappa), (k, s)) for k, s in shifted
    ] + [((r0,), None) for r0 in switch_points(model, y, kappa)]
    candidates.sort(key=lambda item: math.fsum(item[0]))
    groups: list[list[tuple[tuple[float, ...], tuple[float, float] | None]]] = []
    for item in candidates:
        at = math.fsum(item[0])
        if groups and at - math.fsum(groups[-1][0][0]) <= 4 * _EPS * (abs(at) + kappa):
            groups[-1].append(item)
        else:
            groups.append([item])
    points = [math.fsum(group[0][0]) for group in groups]
    found = []
    for i, group in enumerate(groups):
        left = points[i - 1] if i else points[i] - 2 * (1 + kappa)
        right = points[i + 1] if i + 1 < len(points) else points[i] + 2 * (1 + kappa)

        def one_sided(neighbour: float, i: int = i, group: Any = group) -> float:
            """The limit of ``d f_adv / dr`` at the point from the neighbour's side."""
            middle = np.array([0.5 * (points[i] + neighbour)])
            sign = float(maximiser_sign(model, middle, y, kappa)[0]) if kappa > 0 else 1.0
            argument = points[i] + sign * kappa
            for _, kink in group:
                if kink is not None and kink[1] == sign:
                    side = 1.0 if neighbour > points[i] else -1.0
                    argument = kink[0] + side * 16 * _EPS * max(1.0, abs(kink[0]))
            return float(model.derivative(np.array([argument]), y)[0])

        jump = one_sided(right) - one_sided(left)
        found.append(_Break(group[0][0], jump if abs(jump) > 1e-14 else 0.0))
    return tuple(found)


# ------------------------------------------------------------------------------------- Gaussian integrals


@dataclass(frozen=True)
class _Piece:
    """``r = mean + sd z`` with ``y`` fixed and weighted by ``share(z) = P(y | r)``."""

    y: float
    mean_terms: tuple[float, ...]
    sd: float
    share: Callable[[Array], Array]
    breaks: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        return math.fsum(self.mean_terms)

    def standardised(self, *terms: float) -> float:
        return math.fsum((*terms, *(-t for t in self.mean_terms))) / self.sd


class _Layer:
    """``P(y | r)`` of the sign teacher: ``Phi(y (t0 + t1 z))``, or its step when ``sharp``."""

    def __init__(self, y: float, t0: float, t1: float, sharp: bool = False) -> None:
        self.y, self.t0, self.t1, self.sharp = y, t0, t1, sharp

    def __call__(self, z: Array) -> Array:
        t = self.y * (self.t0 + self.t1 * z)
        return np.asarray((t > 0) if self.sharp else ndtr(t), dtype=float)


def _whole(z: Array) -> Array:
    return np.ones_like(z)


def _density(z: Array) -> Array:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


@lru_cache(maxsize=1)
def _rule() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(_ORDER)
    return nodes, weights


def _panels(breaks: Sequence[float], reach: float) -> tuple[Array, Array]:
    """Nodes and weights (Gaussian density included) in ``z``, split at ``breaks`` and every unit."""
    edges = np.concatenate([np.arange(-reach, reach + 1), np.asarray(breaks, dtype=float)])
    edges = np.unique(edges[np.abs(edges) <= reach])
    nodes, weights = _rule()
    half = 0.5 * np.diff(edges)
    middle = 0.5 * (edges[1:] + edges[:-1])
    z = (middle[:, None] + half[:, None] * nodes).ravel()
    return z, (half[:, None] * weights).ravel() * _density(z)


_GRADES = np.concatenate([[0.0], 2.0 ** np.arange(0, 13)])


def _piece_breaks(model: ReferenceModel, piece: _Piece, kappa: float) -> list[float]:
    breaks = [piece.standardised(*b.terms) for b in _breaks(model, piece.y, kappa)]
    for centre in model.centres(piece.y):
        for shift in (kappa, -kappa) if kappa > 0 else (0.0,):
            at = piece.standardised(centre, shift)
            breaks.extend((at + _GRADES / piece.sd).tolist())
            breaks.extend((at - _GRADES / piece.sd).tolist())
    if kappa == 0 and model.switches is not None:
        # F at n = 0 is epsilon E|f'|: its kink is where the switch would be
        breaks.extend(piece.standardised(r0) for r0 in model.switches(0.0, piece.y))
    return breaks + list(piece.breaks)


_SUMS = ("R", "A", "F", "I", "B", "a_r", "abs_A")


def _piece_sums(model: ReferenceModel, piece: _Piece, kappa: float, reach: float) -> dict[str, float]:
    """Over one piece: R, A, F, I; B with its point masses; ``a_r = E[alpha z]`` for Stein's identity."""
    y = piece.y
    if piece.sd == 0:
        return _point_sums(model, piece, kappa)
    z, weight = _panels(_piece_breaks(model, piece, kappa), reach)
    weight = weight * piece.share(z)
    r = piece.mean + piece.sd * z
    sign = maximiser_sign(model, r, y, kappa) if kappa > 0 else np.zeros_like(r)
    worst = r + sign * kappa
    alpha = model.derivative(worst, y)
    outward = sign * alpha if kappa > 0 else np.abs(alpha)
    B = float(weight @ model.curvature(worst, y))
    for point in _breaks(model, y, kappa):
        if point.jump != 0:
            at = np.array([piece.standardised(*point.terms)])
            B += point.jump * float((_density(at) * piece.share(at))[0]) / piece.sd
    return {
        "R": float(weight @ model.loss(worst, y)),
        "A": float(weight @ alpha),
        "F": model.epsilon * float(weight @ outward),
        "I": float(weight @ alpha**2),
        "B": B,
        "a_r": float(weight @ (alpha * z)),
        "abs_A": float(weight @ np.abs(alpha)),
    }


def _point_sums(model: ReferenceModel, piece: _Piece, kappa: float) -> dict[str, float]:
    """``r`` is certain; at a kink each quantity is the mean of its two sides, ``B`` infinite."""
    y, share = piece.y, float(piece.share(np.zeros(1))[0])
    nudge = 16 * _EPS * (1 + abs(piece.mean) + kappa)
    breaks = [b for b in _breaks(model, y, kappa) if abs(math.fsum((*b.terms, -piece.mean))) <= nudge]
    sides = [piece.mean - 2 * nudge, piece.mean + 2 * nudge] if breaks else [piece.mean]
    r = np.array(sides)
    sign = maximiser_sign(model, r, y, kappa) if kappa > 0 else np.zeros_like(r)
    worst = r + sign * kappa
    alpha = model.derivative(worst, y)
    outward = sign * alpha if kappa > 0 else np.abs(alpha)
    jump = math.fsum(b.jump for b in breaks)
    B = math.copysign(math.inf, jump) if jump else float(np.mean(model.curvature(worst, y)))
    return {
        "R": share * float(np.mean(model.loss(worst, y))),
        "A": share * float(np.mean(alpha)),
        "F": share * model.epsilon * float(np.mean(outward)),
        "I": share * float(np.mean(alpha**2)),
        "B": share * B if share else 0.0,
        "a_r": 0.0,
        "abs_A": share * float(np.mean(np.abs(alpha))),
    }


def _sign_pieces(law: ScoreLaw, thresholds: tuple[float, ...]) -> tuple[_Piece, ...]:
    """``y = sign(r*)``: with ``z`` the standardised ``r``, ``P(y = 1 | r) = Phi(t0 + t1 z)``."""
    Q, sd = law.Q, math.sqrt(law.Q)

    def piece(y: float, share: Callable[[Array], Array], layer: tuple[float, ...]) -> _Piece:
        marks = tuple((t - law.m) / sd for t in thresholds) if sd > 0 else ()
        return _Piece(y, (law.m,), sd, share, layer + marks)

    if law.Q_star == 0:
        if law.m_star == 0:
            raise ValueError("r* = 0 for certain: its sign is not a label")
        return (piece(math.copysign(1.0, law.m_star), _whole, ()),)
    ratio = law.m_star / math.sqrt(law.Q_star)
    both = (1.0, -1.0)
    if Q == 0:
        return tuple(piece(y, _Layer(y, ratio, 0.0), ()) for y in both)
    if law.Q_perp == 0:  # r* is a function of r: a step where r* = 0
        direction = math.copysign(1.0, law.beta)
        return tuple(piece(y, _Layer(y, ratio, direction, sharp=True), (-direction * ratio,)) for y in both)
    t0 = ratio * sd / math.sqrt(law.Q_perp)
    t1 = law.beta * math.sqrt(law.Q_star / law.Q_perp)
    layer: tuple[float, ...] = ()
    if t1 != 0:
        offsets = np.array([*range(-10, 11), -14, 14, -20, 20, -40, 40])
        layer = tuple(((offsets - t0) / t1).tolist())
    return tuple(piece(y, _Layer(y, t0, t1), layer) for y in both)


def _pieces(model: ReferenceModel, law: ScoreLaw, y: float | None, kappa: float) -> tuple[_Piece, ...]:
    if model.target == "labels":
        if y is None:
            raise ValueError("labels: give y")
        return (_Piece(float(y), (law.m,), math.sqrt(law.Q), _whole),)
    if model.target == "linear":
        return (_Piece(0.0, law.gap, math.sqrt(law.gap_variance(model.sigma)), _whole),)
    return _sign_pieces(law, (0.0, kappa, -kappa))


def _total(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: math.fsum(part[name] for part in parts) for name in _SUMS}


def _dirac_D(model: ReferenceModel, law: ScoreLaw, kappa: float, reach: float) -> float:
    """Sign teacher: ``D = density of r* at 0 times E[alpha(r; +1) - alpha(r; -1) | r* = 0]``."""
    if law.Q_star == 0:
        return 0.0
    sd_star = math.sqrt(law.Q_star)
    density = float(_density(np.array(law.m_star / sd_star))) / sd_star
    mean = (law.m, -law.beta * law.m_star)
    plus, minus = (
        _piece_sums(model, _Piece(y, mean, math.sqrt(law.Q_perp), _whole), kappa, reach)["A"] for y in (1.0, -1.0)
    )
    return density * (plus - minus)


def _stein(
    model: ReferenceModel, law: ScoreLaw, pieces: Sequence[_Piece], kappa: float, reach: float
) -> tuple[float, float]:
    """``(B, D) = Cov^-1 (E[alpha (r - m)], E[alpha (r* - m*)])``: loses digits near a singular covariance."""
    if pieces[0].sd == 0 or (model.target == "sign" and law.Q_perp * law.Q_star == 0):
        raise ZeroDivisionError("Stein's identity at a singular covariance")
    if model.target != "sign":
        B = _piece_sums(model, pieces[0], kappa, reach)["a_r"] / pieces[0].sd
        return (B, 0.0) if model.target == "labels" else (B, -B)
    a_r = a_star = 0.0
    spread = math.sqrt(law.Q_star * law.Q_perp / law.Q)
    for piece in pieces:
        z, weight = _panels(_piece_breaks(model, piece, kappa), reach)
        r = law.m + piece.sd * z
        sign = maximiser_sign(model, r, piece.y, kappa) if kappa > 0 else np.zeros_like(r)
        alpha = model.derivative(r + sign * kappa, piece.y)
        mean = law.c / law.Q * (r - law.m)
        first = mean * piece.share(z) + piece.y * spread * _density((law.m_star + mean) / spread)
        a_r += float(weight @ (alpha * piece.share(z) * (r - law.m)))
        a_star += float(weight @ (alpha * first))
    determinant = law.Q_star * law.Q_perp
    return (law.Q_star * a_r - law.c * a_star) / determinant, (law.Q * a_star - law.c * a_r) / determinant


def coefficients(
    model: ReferenceModel,
    m: float,
    Q: float,
    c: float,
    n: float,
    m_star: float,
    Q_star: float,
    y: float | None = None,
    *,
    second: SecondOrder = "masses",
    reach: float = FULL_REACH,
) -> dict[str, float]:
    """R, A, B, D, F, I and clean_risk of one class; with labels or a sign teacher clean_error, robust_error.

    ``second="masses"``: ``B = E f''`` off the kinks plus the point masses of the kinks, ``D`` by its
    definition; good at singular covariances and in the tails. ``second="stein"``: both by ``Cov^-1``, for
    checking. ``abs_A = E|d f_adv / dr|`` comes with them, a scale for the errors of A and F.
    """
    law = ScoreLaw.from_moments(m, Q, c, m_star, Q_star)
    return coefficients_of(model, law, n, y, second=second, reach=reach)


def coefficients_of(
    model: ReferenceModel,
    law: ScoreLaw,
    n: float,
    y: float | None = None,
    *,
    second: SecondOrder = "masses",
    reach: float = FULL_REACH,
) -> dict[str, float]:
    """`coefficients` at a `ScoreLaw`."""
    kappa = model.epsilon * n
    pieces = _pieces(model, law, y, kappa)
    sums = _total([_piece_sums(model, piece, kappa, reach) for piece in pieces])
    del sums["a_r"]
    if second == "stein":
        sums["B"], sums["D"] = _stein(model, law, pieces, kappa, reach)
    elif model.target == "labels":
        sums["D"] = 0.0
    elif model.target == "linear":
        sums["D"] = -sums["B"]
    else:
        sums["D"] = _dirac_D(model, law, kappa, reach)
    plain = sums["R"] if kappa == 0 else _total([_piece_sums(model, p, 0.0, reach) for p in pieces])["R"]
    sums["clean_risk"] = plain
    if model.target != "linear":
        sums["clean_error"] = math.fsum(_error(piece, 0.0, reach) for piece in pieces)
        sums["robust_error"] = math.fsum(_error(piece, kappa, reach) for piece in pieces)
    return sums


def _error(piece: _Piece, threshold: float, reach: float) -> float:
    """``P(sign(y) r < threshold)``, strictly."""
    side = math.copysign(1.0, piece.y)
    if piece.sd == 0:
        return float(piece.share(np.zeros(1))[0]) * (side * piece.mean < threshold)
    bound = piece.standardised(side * threshold)
    if piece.share is _whole:
        return float(ndtr(side * bound))
    z, weight = _panels([bound, *piece.breaks], reach)
    return float((weight * piece.share(z)) @ (side * (z - bound) < 0))


# ---------------------------------------------------------------------------------------- the slow version


def coefficients_slow(
    model: ReferenceModel,
    m: float,
    Q: float,
    c: float,
    n: float,
    m_star: float,
    Q_star: float,
    y: float | None = None,
    *,
    digits: int = 30,
) -> dict[str, float]:
    """`coefficients` by `mpmath.quad`, with ``B`` and ``D`` from Stein's identity in many digits.

    It shares with the fast version the hand-written kinks only. The covariance must not be singular.
    """
    with mpmath.workdps(digits):
        mpf = mpmath.mpf
        return _slow(model, mpf(m), mpf(Q), mpf(c), mpf(m_star), mpf(Q_star), n, y)


def _slow(
    model: ReferenceModel, m: Any, Q: Any, c: Any, m_star: Any, Q_star: Any, n: float, y: float | None
) -> dict[str, float]:
    mp = mpmath
    determinant = Q * Q_star - c * c
    kappa = mp.mpf(model.epsilon * n)
    slope = spread = mp.mpf(0)
    if model.target == "labels":
        assert y is not None
        labels, mean, variance = [float(y)], m, Q
    elif model.target == "linear":
        labels, mean, variance = [0.0], m - m_star, Q - 2 * c + Q_star + mp.mpf(model.sigma) ** 2
    else:
        labels, mean, variance = [1.0, -1.0], m, Q
        slope, spread = c / Q, mp.sqrt(determinant / Q)
    sd = mp.sqrt(variance)

    def phi(t: Any) -> Any:
        return mp.exp(-t * t / 2) / mp.sqrt(2 * mp.pi)

    def points(label: float, kappa: Any) -> list[Any]:
        marks = [k + s * kappa for k in (*model.kinks(label), *model.centres(label)) for s in (1, -1)]
        for r0 in switch_points(model, label, float(kappa)):
            marks.append(
                mp.findroot(lambda r: model.mp_loss(r + kappa, label) - model.mp_loss(r - kappa, label), r0)
                if model.switches is None
                else mp.mpf(r0)
            )
        for centre in model.centres(label):
            marks += [centre + s * kappa + t * g for s in (1, -1) for t in (1, -1) for g in (2, 5, 12, 30, 80)]
        edges = {(mark - mean) / sd for mark in [*marks, 0, kappa, -kappa]}
        if spread > 0 and slope != 0:
            edges |= {((k * spread - m_star) / slope) / sd for k in (-12, -6, -3, 0, 3, 6, 12)}
        edges |= {mp.mpf(k) for k in range(-SLOW_REACH, SLOW_REACH + 1, 2)}
        return sorted(edge for edge in edges if abs(edge) <= SLOW_REACH)

    totals = dict.fromkeys(("R", "A", "F", "I", "a_r", "a_star", "clean_risk", "clean", "robust"), mp.mpf(0))
    for label in labels:
        tag = mp.mpf(label)

        @cache
        def at(z: Any, tag: Any = tag, label: float = label) -> dict[str, Any]:
            r = mean + sd * z
            up, down = model.mp_loss(r + kappa, tag), model.mp_loss(r - kappa, tag)
            if kappa > 0:
                sign = 1 if up > down else -1
                alpha = model.mp_derivative(r + sign * kappa, tag)
                outward = sign * alpha
            else:
                alpha = model.mp_derivative(r, tag)
                outward = abs(alpha)
            weight = phi(z)
            partial = weight * 0
            if model.target == "sign":
                centre = slope * (r - m)
                t = (m_star + centre) / spread
                share = mp.ncdf(label * t)
                partial = weight * (centre * share + label * spread * phi(t))
                weight = weight * share
            return {
                "R": weight * max(up, down),
                "A": weight * alpha,
                "F": weight * outward * model.epsilon,
                "I": weight * alpha**2,
                "a_r": weight * alpha * (r - m if model.target != "linear" else r - mean),
                "a_star": partial * alpha,
                "clean": weight * (r * math.copysign(1, label) < 0),
                "robust": weight * (r * math.copysign(1, label) < kappa),
                "clean_risk": weight * model.mp_loss(r, tag),
            }

        edges = points(label, kappa)
        plain_edges = points(label, mp.mpf(0))
        for name in totals:
            use = plain_edges if name == "clean_risk" else edges
            totals[name] += mp.quad(lambda z, name=name: at(z)[name], use, method="gauss-legendre")

    found = {name: totals[name] for name in ("R", "A", "F", "I", "clean_risk")}
    if model.target == "sign":
        found["B"] = (Q_star * totals["a_r"] - c * totals["a_star"]) / determinant
        found["D"] = (Q * totals["a_star"] - c * totals["a_r"]) / determinant
    else:
        found["B"] = totals["a_r"] / variance
        found["D"] = mp.mpf(0) if model.target == "labels" else -found["B"]
    if model.target != "linear":
        found["clean_error"], found["robust_error"] = totals["clean"], totals["robust"]
    return {name: float(value) for name, value in found.items()}


# -------------------------------------------------------------------------------------- the mode equations


class InstanceLike(Protocol):
    """What the solver reads of an instance: ``K`` classes, ``N`` modes. A `types.SimpleNamespace` will do."""

    probabilities: Any  # [K]
    eigenvalues: Any  # [K, N]
    means: Any  # [K, N]
    labels: Any  # [K] or None
    teacher: Any  # [N] or None
    start: Any  # [N]
    weights: Any  # [N] or None for 1/N


@dataclass(frozen=True)
class Modes:
    """An instance as float64 arrays of checked shape."""

    probabilities: Array
    eigenvalues: Array
    means: Array
    labels: tuple[float | None, ...]
    teacher: Array
    start: Array
    weights: Array
    has_teacher: bool

    @classmethod
    def of(cls, model: ReferenceModel, instance: InstanceLike) -> Modes:
        p = np.asarray(instance.probabilities, dtype=float)
        eigenvalues = np.asarray(instance.eigenvalues, dtype=float)
        K, N = eigenvalues.shape
        has_teacher = instance.teacher is not None
        if model.target != "labels" and not has_teacher:
            raise ValueError(f"{model.name} needs a teacher")
        if model.target == "labels":
            if instance.labels is None:
                raise ValueError(f"{model.name} needs labels")
            labels: tuple[float | None, ...] = tuple(float(y) for y in instance.labels)
        else:
            labels = (None,) * K
        weights = np.full(N, 1 / N) if instance.weights is None else np.asarray(instance.weights, dtype=float)
        teacher = np.asarray(instance.teacher, dtype=float) if has_teacher else np.zeros(N)
        start = np.asarray(instance.start, dtype=float)
        means = np.asarray(instance.means, dtype=float)
        shapes = [p.shape, means.shape, weights.shape, teacher.shape, start.shape, (len(labels),)]
        if shapes != [(K,), (K, N), (N,), (N,), (N,), (K,)]:
            raise ValueError(f"shapes do not fit K = {K}, N = {N}: {shapes}")
        if abs(p.sum() - 1) > 1e-12 or abs(weights.sum() - 1) > 1e-12:
            raise ValueError("probabilities and weights must sum to 1")
        return cls(p, eigenvalues, means, labels, teacher, start, weights, has_teacher)


@dataclass(frozen=True)
class ModeTerms:
    """The right-hand side before the step size: ``dx = -gamma drift``, ``dv = -2 gamma H v + gamma^2 G``."""

    classes: tuple[dict[str, float], ...]
    drift: Array  # h + H x
    H: Array
    G: Array
    v: Array

    @property
    def S(self) -> float:
        return float(self.drift @ self.drift + self.H**2 @ self.v)

    @property
    def W(self) -> float:
        return 0.5 * float(self.H @ self.G)


def mode_terms(
    model: ReferenceModel,
    instance: InstanceLike | Modes,
    x: Array,
    v: Array,
    *,
    deviation: Array | None = None,
    reach: float = SOLVER_REACH,
) -> ModeTerms:
    """``h + H x``, ``H``, ``G`` of theory.md section 3; ``deviation = x - X*`` where that is known better."""
    modes = instance if isinstance(instance, Modes) else Modes.of(model, instance)
    gap = x - modes.teacher if deviation is None else deviation
    n = math.sqrt(float(np.sum(x**2 + v)))
    drift, H, G = np.zeros_like(x), np.full_like(x, model.tau), np.zeros_like(x)
    classes = []
    for i, p in enumerate(modes.probabilities):
        lam, mu = modes.eigenvalues[i], modes.means[i]
        law = ScoreLaw.from_modes(lam, mu, x, v, modes.teacher, gap)
        found = coefficients_of(model, law, n, modes.labels[i], reach=reach)
        classes.append(found)
        A, B, D = found["A"], found["B"], found["D"]
        # lam (B x + D X*), written so that nothing cancels near X* where D = -B
        tracked = B * gap + (B + D) * modes.teacher if model.target == "linear" else B * x + D * modes.teacher
        drift += p * (mu * A + lam * tracked)
        H += p * lam * B
        G += p * lam * found["I"]
        if n > 0:
            H += p * found["F"] / n
            drift += p * found["F"] / n * x
    drift += model.tau * x
    return ModeTerms(tuple(classes), drift, H, modes.weights * G, v)


def solve_modes(
    model: ReferenceModel,
    instance: InstanceLike,
    gamma: Callable[[float], float],
    times: Sequence[float] | Array,
    *,
    start_time: float = START_TIME,
    method: Method = "DOP853",
    rtol: float = 1e-11,
    atol: float = 1e-30,
    reach: float = SOLVER_REACH,
) -> tuple[Array, Array, Array]:
    """``(x, v, x - X*)`` at the times, each ``[T, N]`` (X* = 0 without a teacher).

    With a noiseless linear teacher ``x - X*`` is the integrated variable, else ``x``: so ``x - X*`` keeps its
    relative accuracy in a long noiseless decay. From X = 0 one Euler step is taken to ``start_time``, and
    time runs as ``t = s^2``: there ``n`` is smooth at 0.
    """
    modes = Modes.of(model, instance)
    wanted = np.asarray(times, dtype=float)
    if wanted.ndim != 1 or np.any(wanted < 0) or np.any(np.diff(wanted) < 0):
        raise ValueError("times must be sorted and not negative")
    N = modes.start.size
    noiseless = model.target == "linear" and model.sigma == 0
    origin = modes.teacher if noiseless else np.zeros(N)

    def derivative(t: float, state: Array) -> Array:
        e, v = state[:N], state[N:]
        gap = e if noiseless else None
        terms = mode_terms(model, modes, e + origin, v, deviation=gap, reach=reach)
        g = gamma(t)
        return np.concatenate([-g * terms.drift, -2 * g * terms.H * v + g * g * terms.G])

    first = np.concatenate([modes.start - origin, np.zeros(N)])
    states = np.empty((wanted.size, 2 * N))
    at_origin = not np.any(modes.start)
    t0 = start_time if at_origin else 0.0
    early = wanted <= t0
    initial_slope = derivative(0.0, first) if at_origin else np.zeros(2 * N)
    states[early] = first + np.outer(wanted[early], initial_slope)
    late = wanted[~early]
    if late.size:

        def in_root(s: float, state: Array) -> Array:
            return 2 * s * derivative(s * s, state)

        begin, clock = (math.sqrt(t0), np.sqrt(late)) if at_origin else (0.0, late)
        solution = solve_ivp(
            in_root if at_origin else derivative,
            (begin, float(clock[-1])),
            first + t0 * initial_slope,
            method=method,
            t_eval=clock,
            rtol=rtol,
            atol=atol,
        )
        if not solution.success:
            raise RuntimeError(f"{model.name}: {solution.message}")
        states[~early] = solution.y.T
    e, v = states[:, :N], states[:, N:]
    return e + origin, v, e if noiseless else e - modes.teacher


def statistics_of(
    model: ReferenceModel,
    instance: InstanceLike,
    x: Array,
    v: Array,
    *,
    deviation: Array | None = None,
    reach: float = FULL_REACH,
) -> dict[str, float]:
    """The statistics at one state of the modes. The adversarial risk is without the ridge."""
    modes = Modes.of(model, instance)
    gap = x - modes.teacher if deviation is None else deviation
    found = mode_terms(model, modes, x, v, deviation=gap, reach=reach).classes

    def mean(name: str) -> float:
        return math.fsum(p * f[name] for p, f in zip(modes.probabilities, found, strict=True))

    values = {
        "adversarial_risk": mean("R"),
        "clean_risk": mean("clean_risk"),
        "norm2": float(np.sum(x**2 + v)),
    }
    if modes.has_teacher:
        values["overlap"] = float(x @ modes.teacher)
        values["distance2"] = float(np.sum(gap**2 + v))
    if model.target != "linear":
        values["clean_error"], values["robust_error"] = mean("clean_error"), mean("robust_error")
    return values


def solve_reference(
    model: ReferenceModel,
    instance: InstanceLike,
    gamma: Callable[[float], float],
    times: Sequence[float] | Array,
    *,
    start_time: float = START_TIME,
    method: Method = "DOP853",
    rtol: float = 1e-11,
    atol: float = 1e-30,
    reach: float = SOLVER_REACH,
) -> dict[str, Array]:
    """The statistics of the deterministic limit at the times, each ``[T]``; options as for `solve_modes`."""
    x, v, deviation = solve_modes(
        model, instance, gamma, times, start_time=start_time, method=method, rtol=rtol, atol=atol, reach=reach
    )
    rows = [
        statistics_of(model, instance, x[k], v[k], deviation=deviation[k], reach=max(reach, FULL_REACH))
        for k in range(len(x))
    ]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}
