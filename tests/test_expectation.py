"""Gaussian expectations of one linear form: closed forms and quadratures against brute force."""

from __future__ import annotations

import math
from collections.abc import Iterator

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr

from sgdlimit.codegen.library.tails import tail_moments
from sgdlimit.derive import L2Adversary, Labels, Loss, Model, Teacher, derive
from sgdlimit.derive.closed_forms import Kinks, closed_form
from sgdlimit.derive.convert import Switch, Switched
from sgdlimit.derive.expression import parse
from sgdlimit.derive.functions import Branch, textbook
from sgdlimit.derive.quadrature import ScoreLaw
from sgdlimit.derive.symbols import mean, s
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.evaluate import evaluate
from sgdlimit.runtime.kernel import Kernel, load_kernel

Array = NDArray[np.float64]
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
BACKENDS = [pytest.param("c", marks=needs_compiler), "numpy"]

HUBER = "Piecewise(((r - y)**2/2, Abs(r - y) <= delta), (delta*(Abs(r - y) - delta/2), True))"
SMOOTHED_HINGE = "Piecewise((0, y*r >= 1), ((1 - y*r)**2/2, y*r > 0), (1/2 - y*r, True))"
RESIDUAL = {
    "absolute": "Abs(r - y)",
    "epsilon-insensitive": "Max(0, Abs(r - y) - width)",
    "pinball": "Max(q*(r - y), (q - 1)*(r - y))",
    "Huber": HUBER,
    "log cosh": "log(cosh(r - y))",
    "Cauchy": "log(1 + (r - y)**2)",
    "pseudo-Huber": "sqrt(1 + (r - y)**2) - 1",
}
MARGIN = {
    "hinge": "Max(0, 1 - y*r)",
    "squared hinge": "Max(0, 1 - y*r)**2",
    "smoothed hinge": SMOOTHED_HINGE,
    "exponential": "exp(-y*r)",
    "probit": "-log(Phi(y*r))",
    "logistic": "log(1 + exp(-y*r))",
    "sigmoid": "1/(1 + exp(y*r))",
    "ramp": "Min(1, Max(0, 1 - y*r))",
}
SIGN = {name: MARGIN[name] for name in ("hinge", "smoothed hinge", "probit", "sigmoid", "ramp")} | {
    "least squares": "(r - y)**2/2",
    "Huber": HUBER,
}
MODELS = {
    **{
        f"{k}, linear teacher": Model(Loss(e), Teacher("r_star + sigma*xi"), L2Adversary()) for k, e in RESIDUAL.items()
    },
    **{f"{k}, labels": Model(Loss(e), Labels(), L2Adversary()) for k, e in {**MARGIN, "Huber": HUBER}.items()},
    **{f"{k}, sign teacher": Model(Loss(e), Teacher("sign(r_star)"), L2Adversary()) for k, e in SIGN.items()},
}
CLOSED = [
    name
    for name in MODELS
    if name.split(",")[0] in ("absolute", "epsilon-insensitive", "pinball", "Huber", "exponential", "ramp")
    or name.split(",")[0].endswith("hinge")
    if "sign" not in name
]
VALUES = {"epsilon": 0.3, "tau": 0.0, "sigma": 0.5, "delta": 1.0, "width": 0.4, "q": 0.3}


# --- a definition of R that knows only the loss's text --------------------------------------------------------------


def brute_force_risk(
    model: Model, m: float, Q: float, c: float, n: float, m_star: float, Q_star: float, y: float
) -> float:
    """``E max(f(r + κ), f(r − κ))`` by panels cut at every kink that these losses can have."""
    loss, kappa = parse(model.loss.text), VALUES["epsilon"] * n

    def expectation(
        centre: float, deviation: float, label: float, weight: Array | None = None, slope: float = 0.0
    ) -> float:
        own = np.array([0, 1, -1, VALUES["width"], -VALUES["width"], VALUES["delta"], -VALUES["delta"]])
        kinks = np.concatenate([own + shift * kappa for shift in (-1, 0, 1)])
        kinks = np.concatenate([kinks, label + kinks, label - kinks, [kappa * (1 - 2 * VALUES["q"])]])
        z, w = panels((kinks - centre) / deviation)
        r = centre + deviation * z
        worst = np.maximum(*(evaluate(loss, {**VALUES, "r": r + shift, "y": label}) for shift in (kappa, -kappa)))
        chance = 1.0 if weight is None else ndtr(weight[0] + weight[1] * z)
        return float(np.sum(w * chance * worst))

    if isinstance(model.target, Labels):
        return expectation(m, math.sqrt(Q), y)
    if "sign" in model.target.text:  # type: ignore[union-attr]
        spread = math.sqrt(Q_star - c**2 / Q)
        line = np.array([m_star, c / math.sqrt(Q)]) / spread
        return sum(expectation(m, math.sqrt(Q), label, label * line) for label in (1.0, -1.0))
    return expectation(m - m_star, math.sqrt(Q - 2 * c + Q_star + VALUES["sigma"] ** 2), 0.0)


def panels(kinks: Array) -> tuple[Array, Array]:
    """20-point Gauss–Legendre on ±12, cut at the kinks; weights with φ in them."""
    edges = np.unique(np.clip(np.concatenate([np.linspace(-12, 12, 161), kinks]), -12, 12))
    node, weight = np.polynomial.legendre.leggauss(20)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    z = (middle + half * node).ravel()
    return z, (half * weight).ravel() * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def states(seed: int, count: int) -> Iterator[dict[str, float]]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        Q, Q_star = rng.uniform(0.3, 3), rng.uniform(0.5, 2)
        yield {
            "m": rng.uniform(-2, 2),
            "Q": Q,
            "c": rng.uniform(-0.8, 0.8) * math.sqrt(Q * Q_star),
            "n": rng.uniform(0.3, 4),
            "m_star": rng.uniform(-1, 1),
            "Q_star": Q_star,
        }


def emitted(kernel: Kernel, state: dict[str, float], y: float) -> dict[str, float]:
    beta = state["c"] / state["Q_star"]
    derived = {
        "dm": state["m"] - state["m_star"],
        "beta": beta,
        "beta1": beta - 1,
        "Q_perp": state["Q"] - beta**2 * state["Q_star"],
    }
    score = np.array([{**state, **derived}[name] for name in kernel.score])
    values = kernel.evaluate_coefficients(score, y, np.array([VALUES[p] for p in kernel.parameters]))
    return dict(zip(kernel.coefficients, values, strict=True))


# C is compared with NumPy and with references elsewhere too: here in a long run, but for some.
COMPILED = ("hinge, labels", "Huber, linear teacher", "sigmoid, labels")


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        *((name, "numpy") for name in MODELS),
        *(pytest.param(name, "c", marks=needs_compiler) for name in COMPILED),
        *(pytest.param(name, "c", marks=[needs_compiler, pytest.mark.long]) for name in MODELS if name not in COMPILED),
    ],
)
def test_coefficients_are_the_derivatives_of_a_brute_force_risk(name: str, backend: str) -> None:
    """Price: A = ∂R/∂m, B = 2 ∂R/∂Q, D = ∂R/∂c, F = ∂R/∂n, by fourth-order differences of R from the definition."""
    model, h = MODELS[name], 1e-4
    kernel = load_kernel(model, backend=backend)
    y = -1.0 if isinstance(model.target, Labels) else 0.0
    for state in states(seed=len(name), count=3):

        def risk(key: str = "m", shift: float = 0.0, state: dict[str, float] = state) -> float:
            return brute_force_risk(model, **{**state, key: state[key] + shift}, y=y)

        def derivative(key: str) -> float:
            return (8 * (risk(key, h) - risk(key, -h)) - (risk(key, 2 * h) - risk(key, -2 * h))) / (12 * h)

        got = emitted(kernel, state, y)
        wanted = {"R": risk(), "A": derivative("m"), "B": 2 * derivative("Q"), "F": derivative("n")}
        wanted["D"] = 0.0 if isinstance(model.target, Labels) else derivative("c")
        for coefficient, value in wanted.items():
            tolerance = 1e-13 if coefficient == "R" else 1e-10
            assert abs(got[coefficient] - value) <= tolerance * (1 + abs(value)), (coefficient, state)


@pytest.mark.parametrize("name", CLOSED)
def test_piecewise_polynomial_and_exponential_losses_of_one_linear_form_are_closed(name: str) -> None:
    limit = derive(MODELS[name])
    assert limit.quadratures == ()


# --- tails ----------------------------------------------------------------------------------------------------------


def exact_tail_moments(h: float, order: int) -> list[mpmath.mpf]:
    with mpmath.workdps(150):
        x = mpmath.mpf(h)
        values = [mpmath.erfc(x / mpmath.sqrt(2)) / 2]
        values.append(mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi) - x * values[0])
        for k in range(1, order):
            values.append(k * values[k - 1] - x * values[k])
        return values


@pytest.mark.parametrize("h", [0.0, 1e-9, 0.3, 1.0, 2.0, 2.999, 3.0, 3.3, 4.5, 7.0, 10.0, 20.0, 30.0, 37.0])
def test_tail_moments_keep_eleven_digits_however_far_out(h: float) -> None:
    for got, wanted in zip(tail_moments(h, 6), exact_tail_moments(h, 6), strict=True):
        assert abs(got / wanted - 1) < 1e-11


def test_tail_moments_vanish_where_the_density_does() -> None:
    assert np.array_equal(tail_moments(50.0, 3), np.zeros(4))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hinge_ten_to_thirty_deviations_out_keeps_its_digits(backend: str) -> None:
    """R = s M_1(h) at the margin's distance h: a difference of distribution functions has no digit left there."""
    kernel = load_kernel(MODELS["hinge, labels"], backend=backend)
    for h in (10.0, 20.0, 30.0):
        state = {"m": 1 + h * 0.25, "Q": 0.0625, "c": 0.0, "n": 0.0, "m_star": 0.0, "Q_star": 1.0}
        got = emitted(kernel, state, 1.0)
        tails = exact_tail_moments(h, 2)
        assert abs(got["R"] / float(0.25 * tails[1]) - 1) < 1e-11
        assert abs(got["A"] / float(-tails[0]) - 1) < 1e-11
        assert abs(got["I"] / float(tails[0]) - 1) < 1e-11


# --- random piecewise functions --------------------------------------------------------------------------------------

W = sp.Symbol("u", real=True)
coefficients = st.integers(-3, 3)
polynomials = st.lists(coefficients, min_size=1, max_size=4).map(lambda c: sum(a * W**k for k, a in enumerate(c)))


@settings(max_examples=40, deadline=None)
@given(
    pieces=st.lists(polynomials, min_size=3, max_size=3),
    kinks=st.lists(st.integers(-4, 4), min_size=2, max_size=2, unique=True).map(sorted),
    rate=st.sampled_from([0, 1, -2]),
    centre=st.floats(-6, 6),
    deviation=st.floats(0.05, 3),
)
def test_random_piecewise_exponential_polynomials_agree_with_quadrature(
    pieces: list[sp.Expr], kinks: list[int], rate: int, centre: float, deviation: float
) -> None:
    """Three pieces, two kinks that need not be continuous, an exponential factor."""
    first, second = (Switch(sp.Symbol(f"sigma{k}", real=True), W - kink) for k, kink in enumerate(kinks))
    factor = sp.exp(rate * W)
    below, between, above = (e * factor for e in pieces)
    function = Switched(Branch(first.symbol, Branch(second.symbol, above, between), below), (first, second))
    law = ScoreLaw(W, mean, s)
    kinks_seen = Kinks()
    found = closed_form(function, law, kinks_seen)
    assert found is not None
    _, value = found
    at = {mean: centre, s: deviation}
    defined: dict[sp.Symbol, sp.Expr] = {}
    for d in kinks_seen.definitions:
        defined[d.symbol] = d.expression.subs(at).subs(defined)
    got = float(textbook(value.subs(at).subs(defined)).evalf(40))
    z, w = panels((np.array(kinks, dtype=float) - centre - rate * deviation**2) / deviation)
    u = centre + rate * deviation**2 + deviation * z
    callables = [sp.lambdify(W, sp.sympify(e), "numpy") for e in pieces]
    values = [np.broadcast_to(f(u), u.shape) for f in callables]
    integrand = np.where(u > kinks[1], values[2], np.where(u > kinks[0], values[1], values[0]))
    scale = math.exp(rate * centre + rate**2 * deviation**2 / 2)
    wanted, size = (scale * float(np.sum(w * e)) for e in (integrand, np.abs(integrand)))
    assert abs(got - wanted) <= 1e-10 * size + 1e-30 * scale  # the panels end at 12 deviations
