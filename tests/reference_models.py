"""The catalogue for `quadrature_reference`: each model's loss, derivatives, kinks and target by hand; boxes and states.

`MODELS` maps the catalogue's names (``digits`` is defined as ``adversarial-logistic-mixture`` is) to a `Reference`;
`states` draws deterministic states in its box, corners first.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field, replace

import numpy as np
from quadrature_reference import (
    Array,
    Definition,
    Feature,
    Function,
    NoisyLink,
    OneForm,
    RandomLabels,
    ScalarLoss,
    State,
    TeacherLoss,
)
from scipy.special import erf, erfc, erfcx, expit, log_ndtr, ndtr

Parameters = dict[str, float]


# ------------------------------------------------------------------------------------------ functions to full accuracy


def log_cosh(x: Array) -> Array:
    size = np.abs(x)
    near = np.minimum(size, 20.0)
    return np.where(size < 20, np.log1p(2 * np.sinh(0.5 * near) ** 2), size - math.log(2) + np.log1p(np.exp(-2 * size)))


def sech2(x: Array) -> Array:
    """``1 / cosh(x)^2``."""
    return 4 * expit(2 * x) * expit(-2 * x)


def hazard(x: Array) -> Array:
    """``Phi'(x) / Phi(x)``."""
    with np.errstate(over="ignore"):
        return math.sqrt(2 / math.pi) / erfcx(-x / math.sqrt(2))


def hazard_slope(x: Array) -> Array:
    """``-(log Phi)''(x) = hazard (hazard + x)``; beyond -20 by the asymptotic series of both factors."""
    s = 1 / np.maximum(x, 20.0) ** 2 if x.ndim == 0 else 1 / np.minimum(x, -20.0) ** 2
    series = np.zeros_like(s)  # 1 - S = s - 3 s^2 + 15 s^3 - ...
    factor = 1.0
    for k in range(1, 14):
        factor *= 2 * k - 1
        series += factor * (-1) ** (k + 1) * s**k
    far = series / s / (1 - series) ** 2
    return np.where(x < -20, far, hazard(x) * (hazard(x) + np.maximum(x, -20.0)))


def expm1_less_linear(x: Array) -> Array:
    """``exp(x) - 1 - x``."""
    small = np.where(np.abs(x) < 0.4, x, 0.0)
    series = np.zeros_like(small)
    for k in range(18, 1, -1):
        series = (series + 1.0) * small / k
    # series = x/2 (1 + x/3 (1 + ...)); one factor x is left
    return np.where(np.abs(x) < 0.4, series * small, np.expm1(x) - x)


def erf_difference(a: Array, b: Array, gap: Array) -> Array:
    """``erf(a/sqrt 2) - erf(b/sqrt 2)`` with ``gap = a - b``."""
    root = math.sqrt(0.5)
    low, high = np.minimum(np.abs(a), np.abs(b)) * root, np.maximum(np.abs(a), np.abs(b)) * root
    outward = np.where(np.abs(a) >= np.abs(b), 1.0, -1.0) * np.where(a + b >= 0, 1.0, -1.0)
    found = np.where(a * b > 0, outward * (erfc(low) - erfc(high)), erf(a * root) - erf(b * root))
    close = np.abs(gap) < 0.25
    if close.any():
        nodes, weights = np.polynomial.legendre.leggauss(12)
        centre, half = 0.5 * (a[close] + b[close]), 0.5 * gap[close]
        total = np.zeros_like(half)
        for node, weight in zip(nodes, weights, strict=True):
            total += weight * np.exp(-0.5 * (centre + half * node) ** 2)
        found[close] = math.sqrt(2 / math.pi) * half * total
    return found


def tanh_difference(a: Array, b: Array, gap: Array) -> Array:
    """``tanh(a) - tanh(b)`` with ``gap = a - b``."""
    up = gap > 0
    high, low = np.where(up, a, b), np.where(up, b, a)
    return np.where(up, 2.0, -2.0) * expit(2 * high) * expit(-2 * low) * -np.expm1(-2 * np.abs(gap))


# ------------------------------------------------------------------------------------------------ losses of r - y


def _zero(x: Array) -> Array:
    return np.zeros_like(x)


def _least_squares(p: Parameters, y: float) -> ScalarLoss:
    return ScalarLoss(lambda x: 0.5 * (x - y) ** 2, lambda x: x - y, np.ones_like)


def _huber(p: Parameters, y: float) -> ScalarLoss:
    d = p["delta"]

    def loss(u: Array) -> Array:
        size = np.abs(u)
        return np.where(size <= d, 0.5 * u**2, d * (size - 0.5 * d))

    return ScalarLoss(
        loss, lambda u: np.clip(u, -d, d), lambda u: (np.abs(u) <= d).astype(float), ((-d, -d, -d), (d, d, d))
    )


def _absolute(p: Parameters, y: float) -> ScalarLoss:
    return ScalarLoss(np.abs, np.sign, _zero, ((0.0, -1.0, 1.0),))


def _pinball(p: Parameters, y: float) -> ScalarLoss:
    q = p["q"]
    return ScalarLoss(
        lambda u: np.maximum(q * u, (q - 1) * u), lambda u: np.where(u > 0, q, q - 1), _zero, ((0.0, q - 1, q),)
    )


def _insensitive(p: Parameters, y: float) -> ScalarLoss:
    w = p["width"]
    return ScalarLoss(
        lambda u: np.maximum(0.0, np.abs(u) - w),
        lambda u: np.where(np.abs(u) > w, np.sign(u), 0.0),
        _zero,
        ((-w, -1.0, 0.0), (w, 0.0, 1.0)),
    )


def _log_cosh(p: Parameters, y: float) -> ScalarLoss:
    return ScalarLoss(log_cosh, np.tanh, sech2, marks=(0.0,))


def _cauchy(p: Parameters, y: float) -> ScalarLoss:
    return ScalarLoss(
        lambda u: np.log1p(u**2),
        lambda u: 2 * u / (1 + u**2),
        lambda u: 2 * (1 - u) * (1 + u) / (1 + u**2) ** 2,
        marks=(0.0,),
    )


# ----------------------------------------------------------------------------------------- losses of the margin y r


def _of_margin(
    loss: Function,
    slope: Function,
    curvature: Function,
    y: float,
    kinks: tuple[tuple[float, float, float], ...] = (),
    marks: tuple[float, ...] = (),
) -> ScalarLoss:
    """A decreasing loss of ``y r``, ``y = 1`` or ``-1``."""
    if y not in (-1.0, 1.0):
        raise ValueError(f"a margin needs a label 1 or -1, not {y}")
    turned = [(k, left, right) if y > 0 else (-k, -right, -left) for k, left, right in kinks]
    return ScalarLoss(
        lambda r: loss(y * r),
        lambda r: y * slope(y * r),
        lambda r: curvature(y * r),
        tuple(turned),
        tuple(y * mark for mark in marks),
        direction=-int(y),
    )


def _logistic(p: Parameters, y: float) -> ScalarLoss:
    return _of_margin(
        lambda x: np.logaddexp(0.0, -x), lambda x: -expit(-x), lambda x: expit(x) * expit(-x), y, marks=(0.0,)
    )


def _hinge(p: Parameters, y: float) -> ScalarLoss:
    return _of_margin(
        lambda x: np.maximum(0.0, 1 - x), lambda x: np.where(x < 1, -1.0, 0.0), _zero, y, ((1.0, -1.0, 0.0),)
    )


def _squared_hinge(p: Parameters, y: float) -> ScalarLoss:
    return _of_margin(
        lambda x: np.maximum(0.0, 1 - x) ** 2,
        lambda x: -2 * np.maximum(0.0, 1 - x),
        lambda x: np.where(x < 1, 2.0, 0.0),
        y,
        ((1.0, 0.0, 0.0),),
    )


def _smoothed_hinge(p: Parameters, y: float) -> ScalarLoss:
    return _of_margin(
        lambda x: np.where(x > 1, 0.0, np.where(x > 0, 0.5 * (1 - x) ** 2, 0.5 - x)),
        lambda x: np.where(x > 1, 0.0, np.where(x > 0, x - 1, -1.0)),
        lambda x: np.where((x > 0) & (x < 1), 1.0, 0.0),
        y,
        ((0.0, -1.0, -1.0), (1.0, 0.0, 0.0)),
    )


def _exponential(p: Parameters, y: float) -> ScalarLoss:
    return _of_margin(lambda x: np.exp(-x), lambda x: -np.exp(-x), lambda x: np.exp(-x), y)


def _probit(p: Parameters, y: float) -> ScalarLoss:
    return _of_margin(lambda x: -log_ndtr(x), lambda x: -hazard(x), hazard_slope, y, marks=(0.0,))


def _sigmoid(p: Parameters, y: float) -> ScalarLoss:
    return _of_margin(
        lambda x: expit(-x),
        lambda x: -expit(x) * expit(-x),
        lambda x: expit(x) * expit(-x) * np.tanh(0.5 * x),
        y,
        marks=(0.0,),
    )


def _ramp(p: Parameters, y: float) -> ScalarLoss:
    return _of_margin(
        lambda x: np.clip(1 - x, 0.0, 1.0),
        lambda x: np.where((x > 0) & (x < 1), -1.0, 0.0),
        _zero,
        y,
        ((0.0, 0.0, -1.0), (1.0, -1.0, 0.0)),
    )


# ------------------------------------------------------------------------------------------------- targets phi(r*)


def _erf_slope(x: Array) -> Array:
    return math.sqrt(2 / math.pi) * np.exp(-0.5 * x * x)


_GRADES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0)
_BOTH = tuple(sorted({s * g for g in _GRADES for s in (1, -1)}))

ERF_REGRESSION = TeacherLoss(
    loss=lambda r, L, gap: 0.5 * erf_difference(r, L, gap) ** 2,
    slope=lambda r, L, gap: erf_difference(r, L, gap) * _erf_slope(r),
    curvature=lambda r, L, gap: _erf_slope(r) ** 2 - erf_difference(r, L, gap) * r * _erf_slope(r),
    by_target=lambda r, L, gap: -erf_difference(r, L, gap) * _erf_slope(L),
    mixed=lambda r, L, gap: -_erf_slope(r) * _erf_slope(L),
    excess=lambda r, L, gap: np.abs(erf_difference(r, L, gap)),
    r_marks=lambda kappa: _BOTH,
    L_marks=lambda kappa: _BOTH,
)


def _relu_gap(r: Array, L: Array, gap: Array) -> Array:
    return np.where((r > 0) & (L > 0), gap, np.maximum(r, 0.0) - np.maximum(L, 0.0))


RELU_REGRESSION = TeacherLoss(
    loss=lambda r, L, gap: 0.5 * _relu_gap(r, L, gap) ** 2,
    slope=lambda r, L, gap: np.where(r > 0, _relu_gap(r, L, gap), 0.0),
    curvature=lambda r, L, gap: (r > 0).astype(float),
    by_target=lambda r, L, gap: np.where(L > 0, -_relu_gap(r, L, gap), 0.0),
    mixed=lambda r, L, gap: -((r > 0) & (L > 0)).astype(float),
    excess=lambda r, L, gap: np.abs(_relu_gap(r, L, gap)),
    features=lambda kappa: (Feature(lambda r, gap, L: r, lambda L: (-np.maximum(L, 0.0), np.zeros_like(L))),),
    L_marks=lambda kappa: (0.0,),
)


def _poisson_switch(kappa: float) -> float:
    """``r - r*`` where both ends lose the same, by bisection; at ``kappa = 0`` where ``f' = 0``."""

    def higher(d: float) -> bool:
        up, down = expm1_less_linear(np.array([d + kappa, d - kappa]))
        return bool(up > down if kappa > 0 else d > 0)

    low, high = -kappa - 1.0, kappa + 1.0
    for _ in range(1100):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (low, middle) if higher(middle) else (middle, high)
    return 0.5 * (low + high)


def _poisson_features(kappa: float) -> tuple[Feature, ...]:
    at = _poisson_switch(kappa)
    if kappa == 0:
        return (Feature(lambda r, gap, L: gap - at),)
    rise = math.exp(at) * 2 * math.sinh(kappa)

    def jump(L: Array) -> tuple[Array, Array]:
        return np.exp(L) * rise, -2 * kappa * np.exp(L)

    return (Feature(lambda r, gap, L: gap - at, jump),)


POISSON = TeacherLoss(
    loss=lambda r, L, gap: np.exp(r) - np.exp(L) * r,
    slope=lambda r, L, gap: np.exp(L) * np.expm1(gap),
    curvature=lambda r, L, gap: np.exp(r),
    by_target=lambda r, L, gap: -np.exp(L) * r,
    mixed=lambda r, L, gap: -np.exp(L),
    excess=lambda r, L, gap: expm1_less_linear(gap),
    features=_poisson_features,
    reach=28.0,
)


def _square_gap(r: Array, L: Array, gap: Array) -> Array:
    """``r^2 - L^2``."""
    return gap * (r + L)


def _phase_switch(L: Array, kappa: float) -> Array:
    """``r - |L|`` at the ``r > 0`` where the outer end and the smallest ``|r + s|`` lose the same; NaN: none."""
    a = np.abs(L)

    def outer_wins(d: Array) -> Array:
        far = (d + kappa) * (2 * a + d + kappa)  # (r + kappa)^2 - L^2
        inside = a + d < kappa
        near = np.where(inside, a**2, (kappa - d) * (2 * a + d - kappa))  # L^2 - max(0, r - kappa)^2
        return far > near

    low, high = -a, np.zeros_like(a)
    exists = ~outer_wins(low)
    for _ in range(90):
        middle = 0.5 * (low + high)
        wins = outer_wins(middle)
        low, high = np.where(wins, low, middle), np.where(wins, middle, high)
    return np.where(exists, 0.5 * (low + high), np.nan)


def _phase_features(kappa: float) -> tuple[Feature, ...]:
    if kappa == 0:  # f' = 0 there
        return (
            Feature(lambda r, gap, L: r),
            Feature(lambda r, gap, L: gap),
            Feature(lambda r, gap, L: r + L),
        )

    def plus(r: Array, gap: Array, L: Array) -> Array:
        d = _phase_switch(L, kappa)
        return np.where(L >= 0, gap - d, r - (np.abs(L) + d))

    def minus(r: Array, gap: Array, L: Array) -> Array:
        d = _phase_switch(L, kappa)
        return np.where(L < 0, gap + d, r + (np.abs(L) + d))

    def jumps(L: Array) -> tuple[Array, Array]:
        """At the positive switch: the far end's derivatives less the near point's."""
        d, a = _phase_switch(L, kappa), np.abs(L)
        r = a + d
        far, near = r + kappa, np.maximum(r - kappa, 0.0)
        far_square = (d + kappa) * (far + a)
        near_square = np.where(r > kappa, (d - kappa) * (near + a), -(a**2))
        return far * far_square - near * near_square, -L * (far_square - near_square)

    def jump_plus(L: Array) -> tuple[Array, Array]:
        return jumps(L)

    def jump_minus(L: Array) -> tuple[Array, Array]:
        by_r, by_target = jumps(L)
        return by_r, -by_target

    def jump_zero(L: Array) -> tuple[Array, Array]:
        """At 0 the far end changes sides, if it loses more than the top in the middle."""
        return np.where(kappa**2 > 2 * L**2, 2 * kappa * (kappa**2 - L**2), 0.0), np.zeros_like(L)

    return (
        Feature(plus, jump_plus),
        Feature(minus, jump_minus),
        Feature(lambda r, gap, L: r, jump_zero),
        Feature(lambda r, gap, L: r - kappa),
        Feature(lambda r, gap, L: r + kappa),
    )


PHASE_RETRIEVAL = TeacherLoss(
    loss=lambda r, L, gap: 0.25 * _square_gap(r, L, gap) ** 2,
    slope=lambda r, L, gap: r * _square_gap(r, L, gap),
    curvature=lambda r, L, gap: 2 * r**2 + _square_gap(r, L, gap),
    by_target=lambda r, L, gap: -L * _square_gap(r, L, gap),
    mixed=lambda r, L, gap: -2 * r * L,
    excess=lambda r, L, gap: np.abs(_square_gap(r, L, gap)),
    interior=True,
    features=_phase_features,
    L_marks=lambda kappa: (0.0, *(s * c * kappa for c in (math.sqrt(0.5), math.sqrt(2)) for s in (1, -1))),
)

ERF_LINK = NoisyLink(erf_difference, _erf_slope, lambda r: -r * _erf_slope(r))
TANH_LINK = NoisyLink(tanh_difference, sech2, lambda r: -2 * np.tanh(r) * sech2(r))


# ------------------------------------------------------------------------------------------------------- the catalogue


@dataclass(frozen=True)
class Reference:
    """A definition, the ranges of its parameters, its labels and the box of its states."""

    definition: Definition
    parameters: dict[str, tuple[float, float]] = field(default_factory=dict)
    labels: tuple[float, ...] = ()
    adversary: bool = True
    Q: tuple[float, float] = (1e-12, 1e4)
    Q_star: tuple[float, float] = (1e-2, 1e2)
    mean: float = 10.0
    kappa: float = 10.0

    @property
    def two_dimensional(self) -> bool:
        return not isinstance(self.definition, OneForm)


_BINARY = (-1.0, 1.0)
_SIGMA = (0.0, 2.0)


def _phi_slope(x: Array) -> Array:
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _expit_slope(x: Array) -> Array:
    return expit(x) * expit(-x)


def _residual(make: object, **ranges: tuple[float, float]) -> Reference:
    return Reference(OneForm(make, residual=True), {**ranges, "sigma": _SIGMA})  # type: ignore[arg-type]


def _labels(make: object, labels: tuple[float, ...] = _BINARY) -> Reference:
    return Reference(OneForm(make), labels=labels)  # type: ignore[arg-type]


MODELS: dict[str, Reference] = {
    "least-squares": replace(_residual(_least_squares), adversary=False),
    "adversarial-least-squares": _residual(_least_squares),
    "adversarial-huber": _residual(_huber, delta=(0.1, 3.0)),
    "adversarial-logistic-mixture": _labels(_logistic),
    "adversarial-logistic-teacher": Reference(RandomLabels(_logistic, None)),
    "absolute": _residual(_absolute),
    "pinball": _residual(_pinball, q=(0.05, 0.95)),
    "epsilon-insensitive": _residual(_insensitive, width=(0.05, 3.0)),
    "log-cosh": _residual(_log_cosh),
    "cauchy": _residual(_cauchy),
    "hinge": _labels(_hinge),
    "squared-hinge": _labels(_squared_hinge),
    "smoothed-hinge": _labels(_smoothed_hinge),
    "exponential": replace(_labels(_exponential), Q=(1e-12, 25.0)),
    "probit": Reference(RandomLabels(_probit, ndtr, _phi_slope)),
    "sigmoid": _labels(_sigmoid),
    "ramp": _labels(_ramp),
    "erf-regression": Reference(ERF_REGRESSION, adversary=False),
    "adversarial-erf-regression": Reference(ERF_LINK, {"sigma": (0.05, 2.0)}),  # type: ignore[arg-type]
    "relu-regression": Reference(RELU_REGRESSION, adversary=False),
    "tanh-regression": Reference(TANH_LINK, {"sigma": (0.05, 2.0)}),
    "phase-retrieval": Reference(PHASE_RETRIEVAL, adversary=False),
    "adversarial-phase-retrieval": Reference(PHASE_RETRIEVAL),
    "poisson": Reference(POISSON, Q=(1e-12, 25.0), Q_star=(1e-2, 4.0)),
    "hinge-logistic-labels": Reference(RandomLabels(_hinge, expit, _expit_slope)),
    "logistic-labels": Reference(RandomLabels(_logistic, expit, _expit_slope)),
    "three-classes": _labels(_least_squares, (-1.0, 0.0, 2.0)),
}
"""By catalogue name; ``digits`` is ``adversarial-logistic-mixture``."""


# -------------------------------------------------------------------------------------------------------------- states


def _rounded(value: float) -> float:
    """Six significant digits: states stay short in the data."""
    return float(f"{value:.5e}")


def _law(
    m_star: float, dm: float, Q_star: float, Q_perp: float, beta: float = 1.0, beta1: float | None = None
) -> State:
    """A state without norm and radius; near the teacher ``beta1`` is given, elsewhere ``beta``."""
    m_star, dm = _rounded(m_star), _rounded(dm)
    if beta1 is None:
        beta = _rounded(beta)
        beta1 = beta - 1
    else:
        beta1 = _rounded(beta1)
        beta = 1 + beta1
    return State(m_star + dm, dm, m_star, beta, beta1, _rounded(Q_perp), _rounded(Q_star), 0.0)


def _parallel(Q: float, share: float, Q_star: float, sign: float) -> tuple[float, float]:
    """``Q_perp`` and ``beta`` of a variance ``Q`` of which ``share`` is ``Q_perp``."""
    return Q * share, sign * math.sqrt(Q * (1 - share) / Q_star)


def _corners(of: Reference) -> list[tuple[State, float]]:
    """States with ``kappa``: the box's corners and the limits."""
    (low, high), (star_low, star_high), big = of.Q, of.Q_star, of.mean
    middle = math.sqrt(star_low * star_high)
    far = min(high, 4.0)

    def at(
        m: float, m_star: float, Q_star: float, Q: float, share: float, sign: float, kappa: float
    ) -> tuple[State, float]:
        return _law(m_star, m - m_star, Q_star, *_parallel(Q, share, Q_star, sign)), min(kappa, of.kappa)

    return [
        at(0.0, 0.0, middle, low, 0.5, 1, 1e-6),
        at(1.0, 0.5, middle, low, 0.0, 1, 0.3),
        at(-0.7, 0.4, middle, low, 1e-16, -1, 0.3),
        at(0.5, -0.5, middle, high, 0.5, 1, 1.0),
        at(big, 1.0, middle, high, 0.0, 1, 10.0),
        at(-1.0, 2.0, middle, high, 1e-16, 1, 0.5),
        at(0.3, 0.2, middle, 1.0, 0.6, 1, 0.0),
        at(0.3, 0.2, 1.5, 2.0, 0.0, 1, 0.5),
        at(0.4, -0.6, 1.5, 2.0, 0.0, -1, 0.5),
        at(0.4, -0.6, 1.5, 2.0, 1e-16, 1, 0.5),
        at(0.4, -0.6, 1.5, 2.0, 1e-8, -1, 0.5),
        at(big, -big, 1.0, far, 0.5, 1, 0.5),
        at(-big, big, 1.0, far, 0.5, -1, 0.5),
        at(big, big, 1.0, far, 0.5, 1, 0.5),
        at(-big, -big, 1.0, far, 0.1, 1, 2.0),
        at(0.1, 0.3, star_low, 1.0, 0.5, 1, 10.0),
        at(-0.2, 0.3, star_high, 1.0, 0.5, 1, 1.0),
        at(0.2, -0.3, star_high, high, 1.0, 1, 0.2),
        (_law(0.3, 1e-4, 1.0, 1e-8, beta1=1e-4), 0.3),
        (_law(-0.2, -1e-6, 2.0, 1e-12, beta1=1e-7), 1e-3),
        (_law(0.4, 1e-5, 1.0, 1e-16, beta1=-1e-3), 0.0),
    ]


def _random_state(rng: np.random.Generator, of: Reference) -> tuple[State, float]:
    def log_uniform(low: float, high: float) -> float:
        return float(10 ** rng.uniform(math.log10(low), math.log10(high)))

    def mean() -> float:
        kind = rng.uniform()
        return 0.0 if kind < 0.1 else float(rng.normal() if kind < 0.6 else rng.uniform(-of.mean, of.mean))

    kind = rng.uniform()
    kappa = 0.0 if kind < 0.1 else log_uniform(1e-6, of.kappa) if kind < 0.5 else float(rng.uniform(0, 2))
    Q_star = log_uniform(*of.Q_star) if rng.uniform() < 0.5 else float(rng.uniform(0.2, 3))
    if rng.uniform() < 0.15:  # near the teacher
        size = log_uniform(1e-8, 1e-1)
        dm, beta1, Q_perp = size * rng.normal(), size * rng.normal(), size**2 * rng.uniform(0, 2)
        return _law(mean(), dm, Q_star, Q_perp, beta1=beta1), kappa
    Q = log_uniform(*of.Q) if rng.uniform() < 0.6 else float(rng.uniform(0.1, 5))
    kind = rng.uniform()
    share = 0.0 if kind < 0.12 else 10 ** float(rng.uniform(-16, 0)) if kind < 0.5 else float(rng.uniform(0, 1))
    Q_perp, beta = _parallel(Q, share, Q_star, 1.0 if rng.uniform() < 0.6 else -1.0)
    m_star = mean()
    return _law(m_star, mean() - m_star, Q_star, Q_perp, beta), kappa


def states(name: str, count: int) -> list[tuple[State, Parameters]]:
    """The first ``count`` states of a model, with its parameters: corners, then random ones of a fixed seed."""
    of = MODELS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    corners = _corners(of)
    found = []
    for i in range(count):
        law, kappa = corners[i] if i < len(corners) else _random_state(rng, of)
        parameters = {p: _rounded(float(rng.uniform(*r))) for p, r in of.parameters.items()}
        if of.parameters.get("sigma", (1.0, 1.0))[0] == 0 and i % 4 == 0:
            parameters["sigma"] = 0.0
        epsilon = _rounded(float(rng.uniform(0.05, 1.5))) if of.adversary else 0.0
        n = _rounded(kappa / epsilon) if of.adversary else _rounded(math.sqrt(law.Q))
        law = replace(law, n=n, epsilon=epsilon)
        if of.labels:
            label = of.labels[i % len(of.labels)]
            Q = _rounded(law.Q)
            law = State(law.m, law.m, 0.0, 0.0, -1.0, Q, 0.0, n, epsilon, label)
        found.append((law, parameters))
    return found
