"""The derivation: adversarial losses, coefficients and mode equations against what is known on paper."""

from __future__ import annotations

import doctest
import importlib

import pytest
import sympy as sp

from sgdlimit.codegen import emit
from sgdlimit.derive import (
    Expectation,
    Formula,
    L2Adversary,
    Labels,
    Loss,
    Model,
    RandomLabels,
    Teacher,
    derive,
)
from sgdlimit.derive import symbols as sym
from sgdlimit.derive.dynamics import mode_equations, update
from sgdlimit.derive.errors import DerivationError, ModelError
from sgdlimit.derive.kinks import jumps

NOISY = Teacher("r_star + sigma*xi")
SQUARE = Loss("(r - y)**2/2")
LOGISTIC = Loss("log(1 + exp(-y*r))")
HUBER = Loss("Piecewise(((r - y)**2/2, Abs(r - y) <= delta), (delta*(Abs(r - y) - delta/2), True))")

m_u, s, n, eps = sym.mean, sym.s, sym.n, sym.epsilon
kappa = eps * n
a = sp.sqrt(2 / sp.pi)
E1 = a * s * sp.exp(-(m_u**2) / (2 * s**2)) + m_u * sp.erf(m_u / (s * sp.sqrt(2)))


@pytest.mark.parametrize(
    "module",
    ["adversary", "convert", "dynamics", "expectation", "functions", "laws", "limit", "document", "errors"],
)
def test_docstrings_run(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"sgdlimit.derive.{module}")).failed == 0


def test_adversarial_least_squares_has_the_closed_forms_of_the_theory() -> None:
    """Section 6: compared as expressions."""
    c = derive(Model(SQUARE, NOISY, L2Adversary())).coefficients
    expected = {
        "R": (s**2 + m_u**2) / 2 + kappa * E1 + kappa**2 / 2,
        "A": m_u + kappa * sp.erf(m_u / (s * sp.sqrt(2))),
        "B": 1 + a * kappa / s * sp.exp(-(m_u**2) / (2 * s**2)),
        "F": eps * (E1 + kappa),
    }
    expected["D"], expected["I"] = -expected["B"], 2 * expected["R"]
    for name, formula in expected.items():
        assert sp.expand(c[name] - formula) == 0, name


def test_price_identities_hold_between_closed_forms() -> None:
    """A = ∂R/∂m, B = 2 ∂R/∂Q, F = ∂R/∂n (Stein, Price)."""
    c = derive(Model(SQUARE, NOISY, L2Adversary())).coefficients
    assert sp.simplify(c["R"].diff(m_u) - c["A"]) == 0
    assert sp.simplify(c["R"].diff(s) / s - c["B"]) == 0
    assert sp.simplify(c["R"].diff(n) - c["F"]) == 0


def test_without_an_adversary_least_squares_is_standard() -> None:
    limit = derive(Model(SQUARE, NOISY))
    assert limit.coefficients == {
        "R": (m_u**2 + s**2) / 2,
        "A": m_u,
        "B": 1,
        "D": -1,
        "F": 0,
        "I": m_u**2 + s**2,
    }
    assert limit.parameters == ("tau", "sigma")


def test_the_radius_zero_is_standard_training() -> None:
    attacked, plain = derive(Model(SQUARE, NOISY, L2Adversary())), derive(Model(SQUARE, NOISY))
    for name, value in attacked.coefficients.items():
        assert sp.expand(value.subs(eps, 0) - plain.coefficients[name]) == 0


def test_a_loss_of_the_residual_under_a_linear_teacher_has_B_plus_D_exactly_zero() -> None:
    for loss in (SQUARE, HUBER):
        assert derive(Model(loss, NOISY, L2Adversary())).sum_BD == 0


def test_a_teacher_of_another_slope_and_offset_enters_mean_variance_and_D() -> None:
    limit = derive(Model(SQUARE, Teacher("2*r_star + 3*xi - 1")))
    law = {str(d.symbol): d.expression for d in limit.definitions}
    assert sp.expand(law["mean"] - (sym.m - 2 * sym.m_star + 1)) == 0
    assert sp.expand(law["s"] ** 2 - (sym.Q_perp + (sym.beta - 2) ** 2 * sym.Q_star + 9)) == 0
    assert limit.coefficients["D"] == -2


def test_class_labels_leave_no_cross_coefficient() -> None:
    assert derive(Model(LOGISTIC, Labels(), L2Adversary())).coefficients["D"] == 0


def test_the_maximiser_of_a_margin_loss_is_against_the_label() -> None:
    attacked = derive(Model(LOGISTIC, Labels(), L2Adversary())).adversarial_loss
    assert attacked.case == "margin"
    assert attacked.perturbation == -kappa * sp.sign(sym.y)
    reversed_ = derive(Model(Loss("log(1 + exp(y*r))"), Labels(), L2Adversary())).adversarial_loss
    assert reversed_.perturbation == kappa * sp.sign(sym.y)


def test_the_maximiser_of_an_even_loss_is_away_from_the_label() -> None:
    attacked = derive(Model(HUBER, NOISY, L2Adversary())).adversarial_loss
    assert attacked.case == "even"
    assert [str(e) for e in attacked.assumptions] == ["delta > 0"]


def test_hubers_kinks_leave_a_point_mass_only_where_the_adversary_changes_sides() -> None:
    """∂_r f_adv jumps by 2 min(εn, δ) at u = 0 and is continuous at the thresholds."""
    attacked = derive(Model(HUBER, NOISY, L2Adversary())).adversarial_loss
    u = sp.Symbol("u", real=True)
    slope = attacked.derivative_r.substitute(sym.r, u + sym.y)
    (jump,) = jumps(slope, u)
    delta = sym.parameter("delta")
    assert jump.point == 0
    for radius, threshold in ((sp.Rational(1, 5), 1), (2, 1)):
        assert jump.size.subs({n: 1, eps: radius, delta: threshold}) == 2 * min(radius, threshold)


def test_probit_labels_are_signs_of_a_noisy_form() -> None:
    """P(y = +1 | r*) = Φ(r*) is the sign of r* + ξ."""
    probit = derive(Model(LOGISTIC, RandomLabels("Phi(r_star)"), L2Adversary()))
    signs = derive(Model(LOGISTIC, Teacher("sign(r_star + xi)"), L2Adversary()))
    assert probit.coefficients == signs.coefficients
    assert probit.quadratures == signs.quadratures


# --- the update rule ------------------------------------------------------------------------------------------------


def test_the_mode_equations_are_those_of_the_theory() -> None:
    """Section 3: dx = −γ (h + H x), dv = −2γ H v + γ² G, term by term for two classes."""
    equations = mode_equations()
    i, j, K = sym.i, sym.j, sym.K

    def total(summand: sp.Expr) -> sp.Expr:
        return sp.Sum(sym.p * summand, (i, 1, K))

    F = total(sym.F)
    h = total(sym.mu * sym.A + sym.lam * sym.D * sym.x_star)
    H = total(sym.lam * sym.B) + F / sym.n + sym.tau
    G = sym.omega * total(sym.lam * sym.I)
    two = {K: 2}
    drift = (equations.mean + sym.gamma * (h + H * sym.x)).subs(two).doit()
    spread = (equations.variance - (-2 * sym.gamma * H * sym.v + sym.gamma**2 * G)).subs(two).doit()
    assert sp.expand(drift) == 0
    assert sp.expand(spread) == 0
    centred = equations.offset + equations.slope * (sym.x - sym.x_star)
    BD = sp.IndexedBase("BD")
    difference = (sym.gamma * centred - equations.mean).subs(two).doit()
    difference = difference.subs({BD[k]: sp.IndexedBase("B")[k] + sp.IndexedBase("D")[k] for k in (1, 2)})
    assert sp.expand(difference) == 0
    assert j in equations.slope.atoms(sp.Symbol)


def test_without_the_ridge_tau_is_gone_everywhere() -> None:
    model = Model(SQUARE, NOISY, L2Adversary())
    limit = derive(model, update=update().subs(sym.tau, 0))
    assert not limit.equations.slope.has(sym.tau)
    assert r"\tau" not in limit.latex().split("Mode equations")[1].split("Statistics")[0]
    for target, start, end in (
        ("c", "static void rate_scalars(", "static void statistics("),
        ("numpy", "def rates(", "def statistics("),
    ):
        with_ridge, without = (emit(e, target).split(start)[1].split(end)[0] for e in (derive(model), limit))
        assert "tau" in with_ridge
        assert "tau" not in without


def test_a_doubled_step_doubles_the_drift_and_quadruples_the_noise() -> None:
    doubled, plain = mode_equations(sym.X + 2 * (update() - sym.X)), mode_equations()
    two = {sym.K: 2}
    for name, factor in (("offset", 2), ("slope", 2), ("noise", 4)):
        difference = (getattr(doubled, name) - factor * getattr(plain, name)).subs(two).doit()
        assert sp.expand(difference) == 0, name


def test_an_update_that_needs_an_unknown_moment_is_refused() -> None:
    with pytest.raises(DerivationError, match="moment"):
        mode_equations(sym.X - sym.gamma / sym.d * sym.d_n**2 * sym.X)
    with pytest.raises(DerivationError, match="affine"):
        mode_equations(sym.X - sym.gamma / sym.d * sym.X**2)
    with pytest.raises(DerivationError, match="scale"):
        mode_equations(sym.X - sym.d_r * sym.a)


# --- what cannot be derived yet is said -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "fragment"),
    [
        (Model(Loss("cos(r - y)"), NOISY, L2Adversary()), "local maxima at r - y = -37.7"),
        (Model(Loss("sin(y*r)"), Labels(), L2Adversary()), "cannot be shown to be quasi-convex"),
        (Model(SQUARE, Teacher("tanh(r_star + xi) + xi")), "neither a function of one linear form"),
        (Model(Loss("exp(tanh(r - y))"), NOISY), "no quadrature rule"),
        (Model(Loss("log(cosh(tanh(r) - y))"), Teacher("tanh(r_star) + xi")), "three-dimensional"),
        (Model(Loss("Heaviside(y*r - 1)"), Labels(), L2Adversary()), "jumps by sign.y."),
        (Model(Loss("sign(r - y)"), NOISY), "jumps by 2"),
        (
            Model(Loss("Piecewise(((r - y)**2, Abs(r - y) < 1), ((r - y)**2/9, True))"), NOISY, L2Adversary()),
            "a loss must be continuous",
        ),
        (Model(Loss("Piecewise((5 + y - r, r - y < 0), (r - y, True))"), NOISY, L2Adversary()), "jumps by -5"),
    ],
)
def test_a_model_beyond_the_rules_is_a_typed_error(model: Model, fragment: str) -> None:
    with pytest.raises(DerivationError, match=fragment.replace("*", r"\*")):
        derive(model)


# --- statistics -----------------------------------------------------------------------------------------------------


def test_an_expectation_of_the_users_rides_along() -> None:
    limit = derive(Model(SQUARE, NOISY), {"fourth": Expectation("(r - y)**4"), "twice": Formula("2*fourth + norm2")})
    assert sp.expand(limit.expectations["fourth"] - (m_u**4 + 6 * m_u**2 * s**2 + 3 * s**4)) == 0
    assert "twice" in limit.statistics


def test_names_of_the_engine_are_free_for_parameters() -> None:
    """A parameter called like one of the engine's symbols stays the user's."""
    limit = derive(Model(Loss("s*(r - y)**2/2"), Teacher("r_star + m*xi")))
    assert limit.parameters == ("tau", "m", "s")
    scale, noise = sym.parameter("s"), sym.parameter("m")
    assert sp.expand(limit.coefficients["R"] - scale * (m_u**2 + s**2) / 2) == 0
    assert limit.definitions[1].expression.has(noise)
    assert "const double p_s = par[2 * stride];" in emit(limit, "c")


def test_a_formula_of_an_unknown_name_is_refused() -> None:
    with pytest.raises(ModelError, match="nonsense"):
        derive(Model(SQUARE, NOISY), {"f": Formula("nonsense + norm2")})


# --- documents ------------------------------------------------------------------------------------------------------


def test_documents_show_loss_coefficients_and_equations() -> None:
    limit = derive(Model(SQUARE, NOISY, L2Adversary()))
    for text in (limit.latex(), limit.markdown()):
        for part in (
            r"f_{\mathrm{adv}}",
            r"\operatorname{erf}",
            r"\frac{\mathrm{d}x_j}{\mathrm{d}t}",
            r"\varepsilon",
        ):
            assert part in text
    assert limit._repr_markdown_() == limit.markdown()


@pytest.mark.parametrize("name", ["norm2", "R", "two words", "a,b", "ε"])
def test_a_statistic_needs_a_plain_new_name(name: str) -> None:
    with pytest.raises(ModelError, match="statistics"):
        derive(Model(SQUARE, NOISY), {name: Expectation("(r - y)**2")})


def test_a_condition_may_be_written_either_way_around() -> None:
    """``r < y`` depends on r − y alone."""
    models = [
        Model(Loss(f"Piecewise((q*(y - r), {condition}), ((1 - q)*(r - y), True))"), NOISY, L2Adversary())
        for condition in ("r < y", "r - y < 0")
    ]
    first, second = (derive(model) for model in models)
    assert first.coefficients == second.coefficients
