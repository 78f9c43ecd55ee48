"""Gaussian expectations in two variables: known results as expressions, and every rule against brute force."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erf, erfc, ndtr

from sgdlimit.codegen import emit
from sgdlimit.codegen.library.bivariate import bivariate_tail
from sgdlimit.codegen.library.tails import tail_moments
from sgdlimit.derive import L2Adversary, Limit, Loss, Model, Teacher, derive
from sgdlimit.derive.convert import Switched, switched
from sgdlimit.derive.functions import BivariateTail, Branch, NormalCdf, TailMoment, textbook
from sgdlimit.derive.joint import JointForms, JointLaw
from sgdlimit.derive.quadrature import Definition
from sgdlimit.derive.symbols import Parameter, Q, Q_perp, Q_star, beta, beta1, dm, epsilon, m, m_star, n
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.kernel import _import_numpy, emitted, load_source

Array = NDArray[np.float64]
State = dict[str, float]

r, ell = sp.symbols("r ell", real=True)
LAW = JointLaw(r, ell, m, m_star, beta, Q_perp, Q_star, dm, beta1)
SYMBOLS = (m, m_star, dm, beta, beta1, Q_perp, Q_star)
root2 = sp.sqrt(2)

PHASE = (r**2 - ell**2) ** 2 / 4
ERF = (sp.erf(r / root2) - sp.erf(ell / root2)) ** 2 / 2
ERF_SLOPE = (sp.erf(r / root2) - sp.erf(ell / root2)) * sp.sqrt(2 / sp.pi) * sp.exp(-(r**2) / 2)
RELU = (sp.Max(0, r) - sp.Max(0, ell)) ** 2 / 2
RELU_SLOPE = (sp.Max(0, r) - sp.Max(0, ell)) * sp.Heaviside(r)


def in_both(expression: sp.Expr) -> Switched:
    """Kinks in r, then in ell."""
    first = switched(expression, r, prefix="a")
    second = switched(first.expression, ell, prefix="b")
    return Switched(second.expression, (*first.switches, *second.switches))


def expect(expression: sp.Expr, law: JointLaw = LAW) -> tuple[JointForms, sp.Expr]:
    forms = JointForms()
    found = forms.expect(in_both(expression), law)
    assert found is not None
    return forms, found[1]


def away_from_coincidence(forms: JointForms, value: sp.Expr) -> tuple[JointForms, sp.Expr]:
    """The form that holds where ``r`` and ``ℓ`` are not close."""
    assert isinstance(value, Branch)
    return forms, value.args[2]


def expect_slope(expression: sp.Expr, variable: sp.Symbol, law: JointLaw = LAW) -> tuple[JointForms, sp.Expr]:
    forms = JointForms()
    found = forms.expect_derivative(in_both(expression), variable, law)
    assert found is not None
    return forms, found[1]


# --- known results, as expressions ----------------------------------------------------------------------------------

c = sp.Symbol("c", real=True)
V, V_star = sp.symbols("V V_star", positive=True)
CENTRED = JointLaw(
    r, ell, sp.S.Zero, sp.S.Zero, c / V_star, V - c**2 / V_star, V_star, sp.S.Zero, (c - V_star) / V_star
)


def written_out(forms: JointForms, value: sp.Expr) -> sp.Expr:
    """Without definitions, and without the floor under variances."""
    for definition in reversed(forms.definitions):
        value = value.xreplace({definition.symbol: definition.expression})
    return textbook(value).replace(sp.Max, lambda *e: next(a for a in e if not a.is_number))


def same(left: sp.Expr, right: sp.Expr) -> bool:
    """Equal to 40 digits at rational points."""
    points = [(3, 2, 1), (sp.Rational(1, 3), 5, -1), (2, sp.Rational(7, 5), sp.Rational(-3, 2))]
    return all(abs((left - right).subs({V: a, V_star: b, c: d}).evalf(50)) < 1e-40 for a, b, d in points)


def test_the_risk_of_erf_regression_is_the_arcsine_law() -> None:
    known = sp.asin(V / (1 + V)) + sp.asin(V_star / (1 + V_star)) - 2 * sp.asin(c / sp.sqrt((1 + V) * (1 + V_star)))
    found = written_out(*away_from_coincidence(*expect(ERF, CENTRED)))
    assert sp.simplify(found - known / sp.pi) == 0


def test_slopes_of_erf_regression_are_those_of_saad_and_solla() -> None:
    """Drift and noise integrals I_3 and I_4 of Saad & Solla (1995), one unit."""
    area = (1 + V) * (1 + V_star) - c**2
    shrunk = (1 + 2 * V) * (1 + V_star) - 2 * c**2
    noise = (
        sp.asin(V / (1 + 3 * V))
        + sp.asin(((1 + 2 * V) * V_star - 2 * c**2) / shrunk)
        - 2 * sp.asin(c / sp.sqrt((1 + 3 * V) * shrunk))
    )
    assert same(written_out(*expect(ERF_SLOPE**2, CENTRED)), 4 / sp.pi**2 / sp.sqrt(1 + 2 * V) * noise)
    assert same(written_out(*expect(ERF_SLOPE, CENTRED)), sp.S.Zero)
    assert same(written_out(*expect_slope(ERF_SLOPE, ell, CENTRED)), -2 / sp.pi / sp.sqrt(area))
    B = 2 / sp.pi * ((1 + 2 * V) ** sp.Rational(-1, 2) * (1 - V / (1 + V)) + c / (1 + V) / sp.sqrt(area))
    # E[r ∂_r f] = V B + c D, with I_3 = 2/π (c (1 + V) − V c)/((1 + V) √area) and 2/π V/((1 + V) √(1 + 2V))
    mean_product = 2 / sp.pi * (V / ((1 + V) * sp.sqrt(1 + 2 * V)) - c / ((1 + V) * sp.sqrt(area)))
    found_B = written_out(*expect_slope(ERF_SLOPE, r, CENTRED))
    assert same(V * found_B - c * 2 / sp.pi / sp.sqrt(area), mean_product)
    assert same(found_B, B)


def test_the_risk_of_relu_regression_is_the_arc_cosine_kernel() -> None:
    rho = c / sp.sqrt(V * V_star)
    kernel = sp.sqrt(V * V_star) / (2 * sp.pi) * (sp.sqrt(1 - rho**2) + rho * (sp.pi - sp.acos(rho)))
    assert same(written_out(*expect(RELU, CENTRED)), V / 4 + V_star / 4 - kernel)


def test_phase_retrieval_has_its_polynomials() -> None:
    assert (
        sp.expand(written_out(*expect(PHASE, CENTRED)) - (3 * V**2 + 3 * V_star**2 - 2 * V * V_star - 4 * c**2) / 4)
        == 0
    )
    slope = PHASE.diff(r)
    assert sp.expand(written_out(*expect_slope(slope, r, CENTRED)) - (3 * V - V_star)) == 0
    assert sp.expand(written_out(*expect_slope(slope, ell, CENTRED)) + 2 * c) == 0


def in_the_state(limit: Limit, value: sp.Expr) -> sp.Expr:
    """In the summary statistics ``m, m*, Q, c, Q*, n``, without the floor under variances."""
    for definition in reversed(limit.definitions):
        value = value.xreplace({definition.symbol: definition.expression})
    value = value.replace(sp.Max, lambda *e: next(a for a in e if not a.is_number))
    value = value.xreplace({dm: m - m_star, beta1: beta - 1})
    return value.xreplace({Q_perp: Q - c**2 / Q_star, beta: c / Q_star})


sigma = Parameter("sigma")


def test_least_squares_is_that_of_the_high_line() -> None:
    """arXiv 2405.19585: ``h = ½(B₁₁ − 2B₁₂ + B₂₂ + σ²)``, ``∇h = (1, −1)/2`` in ``(B₁₁, B₁₂)``, ``I = E f'² = 2h``."""
    limit = derive(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi")))
    twice = Q - 2 * c + Q_star + sigma**2 + (m - m_star) ** 2
    known = {"R": twice / 2, "A": m - m_star, "B": sp.S.One, "D": -sp.S.One, "F": sp.S.Zero, "I": twice}
    for name, expected in known.items():
        assert sp.expand(in_the_state(limit, limit.coefficients[name]) - expected) == 0, name


def test_adversarial_least_squares_is_that_of_the_theory_in_the_state() -> None:
    """docs/theory.md §6, with ``m_u = m − m*`` and ``s² = Q − 2c + Q* + σ²`` written out."""
    limit = derive(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary()))
    centre, spread = m - m_star, sp.sqrt(Q - 2 * c + Q_star + sigma**2)
    kappa, a = epsilon * n, sp.sqrt(2 / sp.pi)
    density, tail = sp.exp(-(centre**2) / (2 * spread**2)), sp.erf(centre / (spread * sp.sqrt(2)))
    E1 = a * spread * density + centre * tail
    known = {
        "R": (spread**2 + centre**2) / 2 + kappa * E1 + kappa**2 / 2,
        "A": centre + kappa * tail,
        "B": 1 + a * kappa / spread * density,
        "D": -1 - a * kappa / spread * density,
        "F": epsilon * (E1 + kappa),
        "I": spread**2 + centre**2 + 2 * kappa * E1 + kappa**2,
    }
    # one name for the variance: what is under a root is multiplied out first, and then equal as it stands
    variance = sp.Symbol("variance", positive=True)

    def named(e: sp.Expr) -> sp.Expr:
        inside = sp.expand(spread**2)
        e = e.replace(lambda part: sp.expand(part) == inside, lambda part: variance)
        return e.xreplace({Q: variance + 2 * c - Q_star - sigma**2})

    for name, expected in known.items():
        assert sp.expand(named(in_the_state(limit, limit.coefficients[name])) - named(expected)) == 0, name
    assert sp.expand(limit.sum_BD) == 0


# --- numbers --------------------------------------------------------------------------------------------------------

_MODULES = [
    {
        "BivariateTail": lambda j, k, *rest: bivariate_tail(int(j), int(k), *map(float, rest)),
        "TailMoment": lambda k, h: tail_moments(min(float(h), 1e100), int(k))[int(k)],
        "Side": lambda x: 1.0 if x > 0 else -1.0,
        "Branch": lambda switch, plus, minus: plus if switch > 0 else minus,
        "NormalCdf": ndtr,
        "Max": max,
    },
    "math",
]


def compiled(definitions: tuple[Definition, ...], value: sp.Expr) -> Callable[[State], float]:
    known = list(SYMBOLS)
    steps = []
    for definition in definitions:
        steps.append(sp.lambdify(known, definition.expression, _MODULES))
        known.append(definition.symbol)
    last = sp.lambdify(known, value, _MODULES)

    def evaluate(state: State) -> float:
        values = [state[str(e)] for e in SYMBOLS]
        for step in steps:
            values.append(float(step(*values)))
        return float(last(*values))

    return evaluate


_NODE, _WEIGHT = np.polynomial.legendre.leggauss(12)
_REACH = 38


def rule(edges: Array) -> tuple[Array, Array]:
    """Gauss–Legendre between edges in each row, with the normal density in the weights."""
    edges = np.sort(np.clip(edges, -_REACH, _REACH), axis=-1)
    half, middle = np.diff(edges)[..., None] / 2, (edges[..., 1:] + edges[..., :-1])[..., None] / 2
    z = (middle + half * _NODE).reshape(*edges.shape[:-1], -1)
    return z, (half * _WEIGHT).reshape(z.shape) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


Line = tuple[float, float, float]


def brute_force(
    g: Callable[[Array, Array, Array], Array], state: State, lines: tuple[Line, ...] = ()
) -> tuple[Array, float]:
    """``E g, E g (r − m), E g (ℓ − m*)`` and ``E |g|``, of ``g(r, ℓ, u)``, cut at ``a r + b ℓ + c = 0`` and layers at 0."""
    s_ell, s = math.sqrt(state["Q_star"]), math.sqrt(state["Q_perp"])
    layer = np.array([0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8])
    layer = np.concatenate([-layer[1:], layer])
    base = np.linspace(-_REACH, _REACH, 115)
    centre, slope = state["m"] - state["beta"] * state["m_star"], state["beta"]
    outer = [base, (layer - state["m_star"]) / s_ell]
    for k, (a, b, constant) in enumerate(lines):
        if a * slope + b != 0:  # where the mean of r given ℓ crosses the line
            crossing = -(a * centre + constant) / (a * slope + b)
            outer.append((crossing + s * layer / abs(slope + (b / a if a else 1)) - state["m_star"]) / s_ell)
        for other_a, other_b, other_constant in lines[:k]:
            if (area := a * other_b - other_a * b) != 0:
                outer.append(np.array([((constant * other_a - other_constant * a) / area - state["m_star"]) / s_ell]))
    if slope != 0:
        for width in (1.0, s):
            outer.append(((width * layer - centre) / slope - state["m_star"]) / s_ell)
    z, w = rule(np.concatenate(outer))
    total, size = np.zeros(3), 0.0
    for block in np.array_split(np.arange(len(z)), max(1, len(z) // 200)):
        x, left = z[block], s_ell * z[block]
        latent, score = state["m_star"] + left, state["m"] + slope * left
        gap = state["dm"] + state["beta1"] * left
        if s > 0:
            rows = [np.broadcast_to(base, (len(x), len(base))), (layer - score[:, None]) / s]
            rows += [(-(b * latent + k) / a - score)[:, None] / s for a, b, k in lines if a != 0]
            inner, weight = rule(np.concatenate(rows, axis=1))
        else:
            inner, weight = np.zeros((len(x), 1)), np.ones((len(x), 1))
        value = g(score[:, None] + s * inner, latent[:, None] + 0 * inner, gap[:, None] + s * inner)
        weighted = value * weight * w[block, None]
        moved = slope * left[:, None] + s * inner
        total += [weighted.sum(), (weighted * moved).sum(), (weighted * left[:, None]).sum()]
        size += float(np.abs(weighted).sum())
    return total, size


def state_of(mean: float, latent_mean: float, variance: float, latent: float, share: float, sign: int) -> State:
    slope = sign * math.sqrt(variance * (1 - share) / latent)
    return {
        "m": mean,
        "m_star": latent_mean,
        "dm": mean - latent_mean,
        "beta": slope,
        "beta1": slope - 1,
        "Q_perp": variance * share,
        "Q_star": latent,
    }


def ordinary_states(seed: int, count: int) -> Iterator[State]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        means, variances = rng.uniform(-2, 2, 2), rng.uniform(0.2, 3, 2)
        yield state_of(*means, *variances, rng.uniform(0.05, 1), rng.choice([-1, 1]))


def states_of_the_box(seed: int, count: int) -> Iterator[State]:
    """Means to ±10, variances of the score from 1e-12, ``Q⊥/Q`` of 0 and from 1e-16."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        means = rng.choice([-10, -3, -0.1, 0, 0.5, 2, 6, 10], 2) * rng.uniform(0.8, 1, 2)
        if k % 3 == 0:
            means[1] = means[0] * rng.uniform(0.9, 1.1)
        variance = 10 ** rng.uniform(-12, 2 if k % 2 else 4)
        share = rng.choice([0, 1e-16, 1e-8, 1e-3, 0.1, 0.5, 1])
        yield state_of(*means, variance, 10 ** rng.uniform(-2, 2), share, rng.choice([-1, 1]))


def erf_difference(x: Array, y: Array) -> Array:
    same_side = np.sign(x) * (erfc(abs(y) / math.sqrt(2)) - erfc(abs(x) / math.sqrt(2)))
    return np.where(x * y > 0, same_side, erf(x / math.sqrt(2)) - erf(y / math.sqrt(2)))


def relu_difference(x: Array, y: Array, gap: Array) -> Array:
    return np.where((x > 0) & (y > 0), gap, np.maximum(x, 0) - np.maximum(y, 0))


def erf_slope(x: Array, y: Array, gap: Array) -> Array:
    return erf_difference(x, y) * math.sqrt(2 / math.pi) * np.exp(-x * x / 2)


IN_THE_BOX: dict[str, tuple[sp.Expr, Callable[[Array, Array, Array], Array]]] = {
    "phase retrieval": (PHASE, lambda x, y, gap: (gap * (x + y)) ** 2 / 4),
    "its squared slope": (PHASE.diff(r) ** 2, lambda x, y, gap: (x * gap * (x + y)) ** 2),
    "Gaussian": (r * sp.exp(-(r**2)), lambda x, y, gap: x * np.exp(-x * x)),
    "erf": (ERF, lambda x, y, gap: erf_difference(x, y) ** 2 / 2),
    "erf slope": (ERF_SLOPE, erf_slope),
    "erf squared slope": (ERF_SLOPE**2, lambda x, y, gap: erf_slope(x, y, gap) ** 2),
    "ReLU": (RELU, lambda x, y, gap: relu_difference(x, y, gap) ** 2 / 2),
    "ReLU slope": (RELU_SLOPE, lambda x, y, gap: np.where(x > 0, relu_difference(x, y, gap), 0)),
    "ReLU squared slope": (RELU_SLOPE**2, lambda x, y, gap: np.where(x > 0, relu_difference(x, y, gap) ** 2, 0)),
    "absolute values": (sp.Abs(r) * sp.Abs(ell), lambda x, y, gap: abs(x * y)),
}


@pytest.mark.parametrize("name", IN_THE_BOX)
def test_the_accuracy_holds_over_the_box(name: str) -> None:
    """1e-10 E|integrand|, in the tails too, as far out as doubles can hold the reference's own weights."""
    expression, g = IN_THE_BOX[name]
    forms, value = expect(expression)
    evaluate = compiled(forms.definitions, value)
    judged = 0
    for state in states_of_the_box(len(name), 12):
        (wanted, _, _), size = brute_force(g, state, ((1, 0, 0), (0, 1, 0)))
        if size > 1e-150:
            assert abs(evaluate(state) - wanted) <= 1e-10 * size, state
            judged += 1
    assert judged >= 6


def test_a_small_risk_far_out_keeps_its_digits() -> None:
    forms, value = expect(ERF)
    evaluate = compiled(forms.definitions, value)
    state = state_of(10.0, 10.0, 0.01, 0.02, 0.5, 1)
    (wanted, _, _), _ = brute_force(lambda x, y, gap: erf_difference(x, y) ** 2 / 2, state)
    assert wanted < 1e-40
    assert evaluate(state) == pytest.approx(wanted, rel=1e-11, abs=0)


@pytest.mark.parametrize("size", [1e-2, 1e-5, 1e-8])
def test_phase_retrieval_keeps_its_digits_as_the_teacher_is_reached(size: float) -> None:
    """Against raw moments at 60 digits."""
    forms, value = expect(PHASE)
    gap, shrink, variance, mean, latent = -0.7 * size, 0.4 * size, 0.3 * size**2, 0.6, 1.3
    state = dict(zip(map(str, SYMBOLS), (mean + gap, mean, gap, 1 + shrink, shrink, variance, latent), strict=True))
    with mp.workdps(60):
        g, b, q, a, v = map(mp.mpf, (gap, shrink, variance, mean, latent))
        centre, cov = a + g, (1 + b) * v
        own = q + (1 + b) * cov
        fourth = centre**4 + 6 * centre**2 * own + 3 * own**2 + a**4 + 6 * a**2 * v + 3 * v**2
        mixed = centre**2 * (a**2 + v) + own * (a**2 + v) + 4 * centre * a * cov + 2 * cov**2
        exact = float((fourth - 2 * mixed) / 4)
    assert compiled(forms.definitions, value)(state) == pytest.approx(exact, rel=1e-13, abs=0)


def test_the_derivative_of_the_erf_slope_holds_over_the_box() -> None:
    forms, value = expect_slope(ERF_SLOPE, r)
    evaluate = compiled(forms.definitions, value)

    def g(x: Array, y: Array, gap: Array) -> Array:
        return 2 / math.pi * np.exp(-x * x) - x * erf_slope(x, y, gap)

    for state in states_of_the_box(3, 12):
        (wanted, _, _), size = brute_force(g, state)
        if size > 1e-150:
            assert abs(evaluate(state) - wanted) <= 1e-10 * size, state


def test_the_point_mass_of_the_relu_slope_holds_over_the_box() -> None:
    """``P(r > 0)`` less the density of ``r`` at 0 times ``E[max(0, ℓ) | r = 0]``, from one-dimensional tails at 60 digits."""
    forms, value = expect_slope(RELU_SLOPE, r)
    evaluate = compiled(forms.definitions, value)
    judged = 0
    for state in states_of_the_box(4, 40):
        with mp.workdps(60):
            mean, latent, slope, perp, v = (mp.mpf(float(state[str(e)])) for e in (m, m_star, beta, Q_perp, Q_star))
            own = perp + slope**2 * v
            given, spread = latent - slope * v / own * mean, mp.sqrt(perp * v / own)
            above = max(given, 0) if spread == 0 else given * mp.ncdf(given / spread) + spread * mp.npdf(given / spread)
            mass = mp.npdf(mean / mp.sqrt(own)) / mp.sqrt(own) * above
            chance = mp.erfc(-mean / mp.sqrt(2 * own)) / 2
        if chance + mass > 1e-250:
            assert abs(evaluate(state) - float(chance - mass)) <= 1e-10 * float(chance + mass), state
            judged += 1
    assert judged >= 20


SLOPES: dict[str, tuple[sp.Expr, tuple[Line, ...]]] = {
    "erf": (ERF_SLOPE, ()),
    "ReLU": (RELU_SLOPE, ((1, 0, 0), (0, 1, 0))),
    "two signs": (sp.sign(r) * sp.sign(ell), ((1, 0, 0), (0, 1, 0))),
    "a kink at coincidence": (sp.Abs(r - ell) * ell**2, ((1, -1, 0),)),
    "with one in r": (sp.Abs(r - ell) * sp.Heaviside(r) * (ell + 2), ((1, -1, 0), (1, 0, 0))),
    "two kinks in each": (
        sp.Min(1, sp.Max(0, 1 - r)) * sp.Max(0, sp.Abs(ell - 1) - sp.Rational(1, 2)),
        ((1, 0, -1), (1, 0, 0), (0, 1, -1), (0, 1, -1.5), (0, 1, -0.5)),
    ),
    "kink, erf, exponential": (sp.Max(0, r) * sp.erf(ell) * sp.exp(r - ell**2 / 2) * ell * r, ((1, 0, 0),)),
    "erf, Phi, Gaussian": (sp.erf(r) * NormalCdf(1 - 2 * r + ell) * r**2 * ell * sp.exp(-((r - ell) ** 2)), ()),
    "kink and erf of one form": (sp.Heaviside(r) * sp.erf(r) * (r - 1) * ell, ((1, 0, 0),)),
    "a jump at a slanted kink": (sp.sign(2 * r - 3 * ell + 1) * (r + ell**2), ((2, -3, 1),)),
    "a crossed Gaussian at coincidence": ((r - ell) ** 2 * (r + 1) * sp.exp(-((r - ell / 2) ** 2)), ()),
    "waves": (sp.sin(r - 2 * ell + 1) * r * ell * sp.exp(-(r**2) / 2 + ell / 3) * sp.cos(r), ()),
    "nested switches": (sp.Max(r, ell, 1) * r, ((1, -1, 0), (1, 0, -1), (0, 1, -1))),
    "hyperbolic": (sp.cosh(r) * sp.sinh(ell / 2) ** 2 * sp.erfc(r - ell), ()),
    "Poisson": (sp.exp(r) - sp.exp(ell), ()),
}


def numeric(expression: sp.Expr) -> Callable[[Array, Array, Array], Array]:
    plain = textbook(expression).replace(sp.Heaviside, lambda x, *_: (1 + sp.sign(x)) / 2)
    g = sp.lambdify((r, ell), plain, [{"erf": erf, "erfc": erfc}, "numpy"])
    return lambda x, y, gap: g(x, y)


@pytest.mark.parametrize("name", SLOPES)
def test_expectations_and_derivatives_are_those_of_brute_force(name: str) -> None:
    """Stein: ``E g (r − m) = Var r E ∂_r g + Cov E ∂_ℓ g``, point masses included, and the same with ``ℓ``."""
    expression, lines = SLOPES[name]
    found = [expect(expression), expect_slope(expression, r), expect_slope(expression, ell)]
    evaluate = [compiled(forms.definitions, value) for forms, value in found]
    for state in ordinary_states(len(name), 2):
        (wanted, with_r, with_ell), size = brute_force(numeric(expression), state, lines)
        value, B, D = (f(state) for f in evaluate)
        covariance = state["beta"] * state["Q_star"]
        variance = state["Q_perp"] + state["beta"] * covariance
        assert abs(value - wanted) <= 1e-11 * size
        assert abs(variance * B + covariance * D - with_r) <= 1e-10 * size
        assert abs(covariance * B + state["Q_star"] * D - with_ell) <= 1e-10 * size


kinks_in_r = st.sampled_from([sp.S.One, sp.Max(0, r), sp.Heaviside(1 - r), sp.Abs(r + 1), sp.Min(r, 1) ** 2])
kinks_in_ell = st.sampled_from([sp.S.One, sp.Max(0, -ell), sp.Heaviside(ell), sp.sign(ell - 1), NormalCdf(ell)])
smooth = st.sampled_from([sp.S.One, r - ell, r * ell, sp.exp(r / 2), sp.exp(-(r**2) - ell), (r - 1) ** 2])


@given(kinks_in_r, kinks_in_ell, smooth, smooth, st.integers(0, 10**6))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_products_of_kinks_and_smooth_factors_are_right(
    a: sp.Expr, b: sp.Expr, s1: sp.Expr, s2: sp.Expr, seed: int
) -> None:
    expression = a * b * s1 * s2
    forms, value = expect(expression)
    evaluate = compiled(forms.definitions, value)
    lines = ((1.0, 0.0, 0.0), (1.0, 0.0, -1.0), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 1.0, -1.0))
    (state,) = ordinary_states(seed, 1)
    (wanted, _, _), size = brute_force(numeric(expression), state, lines)
    assert abs(evaluate(state) - wanted) <= 1e-11 * size


halves = st.integers(-4, 4).map(lambda k: sp.Rational(k, 2))
linear_forms = st.tuples(halves, halves, halves).filter(lambda e: e[0] != 0 or e[1] != 0)
monomials = st.tuples(halves, st.integers(0, 2), st.integers(0, 2))


@given(
    st.lists(monomials, min_size=1, max_size=2), st.lists(linear_forms, min_size=1, max_size=2), st.integers(0, 10**6)
)
@settings(max_examples=5)
def test_polynomials_times_error_functions_of_linear_forms_are_right(
    polynomial: list[tuple[sp.Expr, int, int]], arguments: list[tuple[sp.Expr, sp.Expr, sp.Expr]], seed: int
) -> None:
    """The expectation, and both derivatives by Stein's identity."""
    expression = sum((a * r**j * ell**k for a, j, k in polynomial), sp.S.Zero)
    for a, b, constant in arguments:
        expression *= sp.erf(a * r + b * ell + constant)
    assume(expression != 0)
    (state,) = ordinary_states(seed, 1)
    wanted, size = brute_force(numeric(expression), state)
    found = [expect(expression), expect_slope(expression, r), expect_slope(expression, ell)]
    value, B, D = (compiled(forms.definitions, e)(state) for forms, e in found)
    covariance = state["beta"] * state["Q_star"]
    variance = state["Q_perp"] + state["beta"] * covariance
    assert abs(value - wanted[0]) <= 1e-11 * size
    assert abs(variance * B + covariance * D - wanted[1]) <= 1e-10 * size
    assert abs(covariance * B + state["Q_star"] * D - wanted[2]) <= 1e-10 * size


@pytest.mark.parametrize(
    "expression", [sp.tanh(r) * ell, sp.exp(r**2), sp.log(1 + r**2), sp.erf(r) ** 2 * sp.erf(ell) * sp.erf(r - ell)]
)
def test_what_has_no_closed_form_here_is_left_alone(expression: sp.Expr) -> None:
    forms = JointForms()
    assert forms.expect(in_both(expression), LAW) is None
    assert forms.expect_derivative(in_both(expression), r, LAW) is None
    assert forms.definitions == ()


# --- the special function -------------------------------------------------------------------------------------------


def tail_by_regression(j: int, k: int, h1: float, h2: float, angle: float) -> mp.mpf:
    """``∫ (x − h1)^j φ(x) E[(y − h2)_+^k | x] dx``, panels over which the integrand's logarithm changes by at most 2."""
    with mp.workdps(30):
        node = [(mp.mpf(x), mp.mpf(w)) for x, w in zip(*np.polynomial.legendre.leggauss(16), strict=True)]
        rho, perp, start, other = mp.cos(angle), mp.sin(angle), mp.mpf(h1), mp.mpf(h2)

        def beyond(v: mp.mpf) -> mp.mpf:
            values = [mp.erfc(v / mp.sqrt(2)) / 2]
            values.append(mp.npdf(v) - v * values[0])
            for i in range(1, k):
                values.append(i * values[i - 1] - v * values[i])
            return values[k]

        def rest(x: mp.mpf) -> mp.mpf:
            return mp.npdf(x) * perp**k * beyond((other - rho * x) / perp)

        x, total, largest = start, mp.mpf(0), mp.mpf(0)
        step = mp.mpf(1) / 2
        while True:
            end = x + 2 * step
            while abs(mp.log(rest(end) / rest(x))) > 2 or abs(rho) * (end - x) > perp:
                end = (x + end) / 2
            half, middle = (end - x) / 2, (end + x) / 2
            part = half * sum(w * (middle + half * t - start) ** j * rest(middle + half * t) for t, w in node)
            total, largest = total + part, max(largest, part)
            step, x = end - x, end
            if part < largest * mp.mpf("1e-17"):
                return total


@pytest.mark.parametrize(("j", "k"), [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize(
    ("h1", "h2", "angle"),
    [(0.5, 1.2, 1.0), (1.2, 1.2, math.pi / 2), (4.0, 4.0, 0.2), (8.0, 2.0, 2.0), (0.0, 12.0, 0.9), (15.0, 14.0, 0.3)],
)
def test_bivariate_tails_are_relatively_accurate(j: int, k: int, h1: float, h2: float, angle: float) -> None:
    got = bivariate_tail(j, k, h1, h2, math.cos(angle), math.sin(angle))
    assert got == pytest.approx(float(tail_by_regression(j, k, h1, h2, angle)), rel=1e-12, abs=0)


@pytest.mark.parametrize("h", [0.0, 0.7, 9.0, 30.0])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_bivariate_tails_of_one_variable_and_of_independent_ones(order: int, h: float) -> None:
    one = tail_moments(h, order)[order]
    assert bivariate_tail(order, 0, h, h, 1.0, 0.0) == pytest.approx(one, rel=1e-11, abs=0)
    assert bivariate_tail(order, 0, h, 0.0, 1.0, 0.0) == pytest.approx(one, rel=1e-11, abs=0)
    assert bivariate_tail(order, 0, h, 0.3, -1.0, 0.0) == 0
    product = one * tail_moments(1.5, 1)[1]
    assert bivariate_tail(order, 1, h, 1.5, 0.0, 1.0) == pytest.approx(product, rel=1e-11, abs=0)
    assert bivariate_tail(order, 1, h, 1.5, 0.0, 0.0) == pytest.approx(product, rel=1e-11, abs=0)


@pytest.mark.parametrize(("j", "k"), [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 2)])
def test_bivariate_tails_at_the_means_are_elementary(j: int, k: int) -> None:
    rho = sp.Rational(-3, 5)
    value = float(BivariateTail(j, k, 0, 0, rho, sp.sqrt(1 - rho**2)).evalf())
    assert bivariate_tail(j, k, 0.0, 0.0, -0.6, 0.8) == pytest.approx(value, rel=1e-13, abs=0)


def test_derivatives_of_a_bivariate_tail() -> None:
    h1, h2, rho, perp = sp.symbols("h1 h2 rho rho_perp")
    tail = BivariateTail(2, 1, h1, h2, rho, perp)
    assert tail.diff(h1) == -2 * BivariateTail(1, 1, h1, h2, rho, perp)
    assert tail.diff(h2) == -BivariateTail(2, 0, h1, h2, rho, perp)
    assert BivariateTail(0, 0, h1, h2, rho, perp).diff(h1) == -sp.exp(-(h1**2) / 2) / sp.sqrt(2 * sp.pi) * TailMoment(
        0, (h2 - h1 * rho) / perp
    )
    assert float(textbook(BivariateTail(1, 1, 1, 2, sp.Rational(3, 5), sp.Rational(4, 5))).evalf()) == pytest.approx(
        bivariate_tail(1, 1, 1.0, 2.0, 0.6, 0.8), rel=1e-12, abs=0
    )


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
def test_emitted_kernels_hold_the_special_function_in_both_languages() -> None:
    limit = derive(Model(Loss("(r - y)**2/2"), Teacher("r_star")))
    gap = sp.Abs(m)
    tails = {
        name: BivariateTail(j, k, gap, Q, beta, sp.sqrt(1 - beta**2))
        for name, (j, k) in zip("RABDFI", [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)], strict=True)
    }
    limit = replace(limit, coefficients=tails)
    in_c = load_source(emitted(limit))
    in_numpy = _import_numpy(emit(limit, target="numpy"))
    for mean, variance, slope in [(0.3, 1.0, 0.5), (-8.0, 3.0, -0.2), (12.0, 11.0, 1.0), (0.0, 0.0, 0.7)]:
        values = {"m": mean, "Q": variance, "beta": slope}
        score = np.array([values.get(name, 1.0) for name in in_c.score])
        expected = [
            bivariate_tail(j, k, abs(mean), variance, slope, math.sqrt(1 - slope**2))
            for j, k in [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)]
        ]
        for kernel in (in_c, in_numpy):
            assert kernel.evaluate_coefficients(score, 0.0, np.array([])) == pytest.approx(expected, rel=1e-12, abs=0)
