"""What an expression must be before anything is derived from it: real, with expectations, and of a size."""

from __future__ import annotations

import doctest
import importlib
import math
import time
from datetime import timedelta

import numpy as np
import pytest
import sympy as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgdlimit.derive import (
    Expectation,
    Formula,
    L2Adversary,
    Labels,
    Loss,
    Model,
    RandomLabels,
    Schedule,
    Teacher,
    derive,
)
from sgdlimit.derive.convert import convert
from sgdlimit.derive.domain import check_defined, check_depends, check_domains, check_probability, check_slope
from sgdlimit.derive.errors import DerivationError, ExpressionError, InputError, ModelError
from sgdlimit.derive.expression import parse, value_at
from sgdlimit.derive.growth import check_growth
from sgdlimit.derive.signs import bounds, is_nonnegative, is_positive
from sgdlimit.derive.size import check_size
from sgdlimit.runtime.evaluate import evaluate
from sgdlimit.runtime.spec import catalogue, load_equations

NOISY = Teacher("r_star + sigma*xi")


@pytest.mark.parametrize("module", ["domain", "growth", "signs", "size", "limit", "convert"])
def test_docstrings_run(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"sgdlimit.derive.{module}")).failed == 0


# ── Where it is defined ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("log(r)", "for r <= 0"),
        ("log(-r)", "for r >= 0"),
        ("sqrt(r)", "for r < 0"),
        ("sqrt(r - y)", "for r < y"),
        ("sqrt(y - 2*r)", "for r > y/2"),
        ("log(r - y + 2*c)", r"for r <= -2\*c \+ y"),
        ("1/r", "divides by zero for r = 0"),
        ("1/(r - y)", "divides by zero for r = y"),
        ("(r - y)**-3", "is infinite for r = y"),
        ("r**(1/3)", "is complex for r < 0"),
        ("r**p", "for r <= 0"),
        ("log(r**2 - 4)", "for -2 <= r <= 2"),
        ("sqrt(4 - r**2)", "for r < -2 or r > 2"),
        ("log(r**2)", "for r = 0"),
        ("log(Abs(r))", r"where Abs\(r\) <= 0, for example at r = 0"),
        ("log(exp(r) - 1)", "for r <= 0"),
        ("log(2 - exp(-r))", r"for r <= -log\(2\)"),
        ("log(tanh(r))", "for r <= 0"),
        ("atan(1/r)", "divides by zero for r = 0"),
        ("log(1 + y*exp(r))", r"where 1 \+ y\*exp\(r\) <= 0, for example at r = 0, y = -1"),
        ("log(-1 - (r - y)**2)", "for example at r = 0"),
        ("tan(r)", "where r is an odd multiple of pi/2"),
        ("1/(c - tanh(r))", r"divides by zero where c - tanh\(r\) = 0"),
        ("1/(1 - cos(r))", "for example at r = 0"),
        ("r + 1/(a - a)", "divides by zero everywhere"),
        ("r + sqrt(-1 - a**2)", "is complex everywhere"),
        ("sqrt(r)**2", r"sqrt\(r\) is complex for r < 0, in sqrt\(r\)\*\*2"),
        ("0*log(r) + r", r"log\(r\) is complex or undefined for r <= 0"),
        ("Piecewise((log(r), r > -1), (r - 1, True))", "where r <= 0, for example at r = 0"),
        ("Piecewise((0, r > 0), (sqrt(r + 1), True))", "where r [+] 1 < 0"),
    ],
)
def test_an_expression_that_is_not_real_everywhere_is_refused_with_the_place(text: str, place: str) -> None:
    with pytest.raises(DerivationError, match=place):
        check_defined(text, "loss", NOISY)


@pytest.mark.parametrize(
    ("text", "assumed"),
    [
        ("r**2/(1 + r**2)", ""),
        ("sqrt(1 + (r - y)**2)", ""),
        ("log(cosh(r - y))", ""),
        ("Abs(r - y)**3", ""),
        ("Max(0, r)**(3/2)", ""),
        ("1/(r**2 - r*y + y**2 + 1)", ""),
        ("log(r**4 + r + 1)", ""),
        ("-log(Phi(y*r))", ""),
        ("log(sigmoid(r))", ""),
        ("log(1 - tanh(r)**2)", ""),
        ("log(erfc(r))", ""),
        ("exp(r)/(1 + exp(r))", ""),
        ("tan(1/(1 + r**2))", ""),
        ("sqrt(a**2 + b**2)*r", ""),
        ("Piecewise((log(r), r > 1), (r - 1, True))", ""),
        ("Piecewise((0, r < 0), (sqrt(r), True))", ""),
        ("Piecewise((sqrt(1 - r**2), Abs(r) < 1), (0, True))", ""),
        ("Piecewise((log(r - y), (r > y) & (y > 0)), (0, True))", ""),
        ("log(c + r**2)", "c > 0"),
        ("(r - y)**2/c", "Abs(c) > 0"),
        ("log(1 + (r - y)**2/nu)", "nu > 0"),
        ("r*log(c)", "c > 0"),
        ("Abs(r - y)**p", "p - 1/2 > 0"),
        ("r/(a + b)", "Abs(a + b) > 0"),
    ],
)
def test_an_expression_that_is_real_everywhere_is_accepted_with_what_it_assumes(text: str, assumed: str) -> None:
    assert ", ".join(map(str, check_defined(text, "loss", NOISY))) == assumed


def test_what_the_target_can_be_decides_about_the_label() -> None:
    for target in (RandomLabels("Phi(r_star)"), Teacher("exp(r_star)")):
        check_defined("r**2/y", "loss", target)
    check_defined("y*log(y) - y*r", "loss", Teacher("1 + r_star**2"))
    with pytest.raises(DerivationError, match="for y <= 0"):
        check_defined("log(y)*r", "loss", NOISY)
    with pytest.raises(DerivationError, match="teacher: it is complex or undefined for r_star <= 0"):
        derive(Model(Loss("(r - y)**2"), Teacher("log(r_star)")))
    with pytest.raises(DerivationError, match="statistic bad"):
        derive(Model(Loss("(r - y)**2"), NOISY), {"bad": Expectation("log(r - y)")})


def test_assumptions_reach_the_limit_its_document_and_the_kernel() -> None:
    from sgdlimit.codegen import emit

    limit = derive(Model(Loss("log(1 + (r - y)**2/c)"), NOISY))
    assert [str(a) for a in limit.assumptions] == ["c > 0"]
    assert "It is assumed that $c > 0$" in limit.markdown()
    assert "POSITIVE = ('c',)" in emit(limit, "numpy")


def test_a_root_of_what_vanishes_has_no_square_integrable_slope() -> None:
    for text, place in (("sqrt(Max(0, r))", "r = 0"), ("Abs(r - y)**(1/2)", "r = y"), ("Abs(2*r - y)**0.3", "r = y/2")):
        with pytest.raises(DerivationError, match=f"not square integrable at {place}"):
            check_slope(text)
    for text in ("Abs(r - y)**(3/2)", "Max(0, r)**(2/3)", "sqrt((r - y)**2)", "r*sqrt(Abs(r))", "sqrt(1 + r**2)"):
        check_slope(text)


@pytest.mark.parametrize("text", ["r - r + y", "0*r", "(r + 1)**2 - r**2 - 2*r", "sin(r)**2 + cos(r)**2 + y", "r**0"])
def test_a_loss_that_only_seems_to_depend_on_r_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="does not depend on r"):
        check_depends(text)


@pytest.mark.parametrize("text", ["1e-9*r", "Max(0, r - 100)", "tanh(r)", "y*r", "log(1 + exp(a*r))"])
def test_a_loss_that_depends_on_r_is_accepted(text: str) -> None:
    check_depends(text)


def test_a_probability_is_between_0_and_1() -> None:
    for text in ("Phi(r_star)", "1/(1 + exp(-r_star))", "(1 + tanh(r_star))/2", "a*Phi(r_star)", "exp(-r_star**2)"):
        check_probability(text)
    for text, place in (
        ("r_star", "-0.1 at r_star = -0.1"),
        ("2*Phi(r_star)", "r_star = 0.1"),
        ("3", "3 at r_star = 0"),
    ):
        with pytest.raises(ModelError, match=f"the probability .* {place}"):
            check_probability(text)


# ── How it grows ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "risk", "noise"),
    [
        ("exp(r**2/8)", "4", "2"),
        ("cosh(r**2)", "1/2", "1/4"),
        ("exp(r*r - y)", "1/2", "1/4"),
        ("exp(c*r**2)", r"1/\(2\*c\)", r"1/\(4\*c\)"),
        ("exp((r - y)**2/8)", "4", "2"),
        ("1/Phi(r)", "1", "1/2"),
        ("r**4*exp(Max(0, r)**2/4)", "2", "1"),
        ("2**(r**2)", r"1/\(2\*log\(2\)\)", r"1/\(4\*log\(2\)\)"),
        ("exp(sqrt(1 + r**4))", "1/2", "1/4"),
        ("Piecewise((exp(r**2), r < 1), (0, True))", "1/2", "1/4"),
    ],
)
def test_a_loss_that_grows_like_a_gaussian_says_at_which_variance_it_diverges(text: str, risk: str, noise: str) -> None:
    match = f"its risk diverges for Q >= {risk} and its gradient noise for Q >= {noise}, Q the variance of r"
    with pytest.raises(DerivationError, match=match):
        check_growth(text, target=NOISY)
    with pytest.raises(DerivationError, match="diverges"):
        derive(Model(Loss(text), Labels()))


def test_the_stated_variance_is_where_the_expectation_ends() -> None:
    """E exp(r²/8) = (1 − Q/4)^(-1/2), and E f'² is finite up to Q = 2 alone."""
    r, Q = sp.symbols("r Q", positive=True)
    density = sp.exp(-(r**2) / (2 * Q)) / sp.sqrt(2 * sp.pi * Q)
    f = sp.exp(r**2 / 8)
    for integrand, end in ((f, 4), (f.diff(r) ** 2, 2)):
        exponent = sp.expand(sp.log(integrand * density).expand(force=True)).coeff(r, 2)
        assert sp.solve(exponent, Q) == [end]


@pytest.mark.parametrize("text", ["exp(r**3)", "exp(-r**3)", "exp(exp(r))", "exp(exp(-r))", "sinh(r**4)"])
def test_faster_growth_diverges_at_every_variance(text: str) -> None:
    with pytest.raises(DerivationError, match="diverges at every variance"):
        check_growth(text, target=NOISY)


@pytest.mark.parametrize(
    ("text", "assumed"),
    [
        ("exp(-r**2)", ""),
        ("1 - exp(-(r - y)**2/(2*c**2))", ""),
        ("exp(-exp(r))", ""),
        ("exp(a*r)", ""),
        ("exp(Abs(r)**(3/2))", ""),
        ("log(cosh(r**2))", ""),
        ("log(1 + exp(exp(r)))", ""),
        ("Min(exp(r**2), 5)", ""),
        ("exp(r**2)*exp(-r**4)", ""),
        ("exp(r**2/(1 + r**2))", ""),
        ("Piecewise((exp(r**2), Abs(r) < 1), (exp(1)*Abs(r), True))", ""),
        ("-log(Phi(y*r))", ""),
        ("(r**2 - y**2)**2/4", ""),
        ("(r - y)**2*exp(-(r - y)**2)", ""),
        ("exp(-c*r**2)", "c > 0"),
        ("exp((a - b)*r**2)", "-a + b > 0"),
        ("exp(Abs(r)**p)", "2 - p > 0"),
    ],
)
def test_what_grows_more_slowly_is_accepted(text: str, assumed: str) -> None:
    assert ", ".join(map(str, check_growth(text, target=NOISY))) == assumed


def test_growth_through_the_target_counts() -> None:
    check_growth("exp(r) - y*r", target=Teacher("exp(r_star)"))
    check_growth("exp(-y*r)", target=Teacher("sign(r_star + xi)"))
    with pytest.raises(DerivationError, match="where r and y grow together"):
        check_growth("exp(-y*r)", target=NOISY)
    with pytest.raises(DerivationError, match=r"diverges for Q\* >= 1/4"):
        check_growth("(r - y)**2", target=Teacher("exp(r_star**2)"))


# ── How large it is ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("((r - y)**8)**8", "degree 64"),
        ("((r - y)**64)**64", "degree 4096"),
        ("exp((r - y)**20)", "degree 20"),
        ("Max(0, 1 - y*r)**9", "degree 9, and the largest is 8 with a kink"),
        ("(r - y + a + b + c)**12", "1820 terms"),
        ("*".join(["(r - y + a + b)"] * 12), "terms"),
        ("+".join(f"Abs(r - {k})" for k in range(16)), "16 kinks"),
        ("Max(" + ",".join(f"{k}*r" for k in range(40)) + ")", "39 kinks"),
        ("Abs(" * 30 + "r" + " - 1)" * 30, "30 kinks"),
        ("tanh(" * 9 + "r" + ")" * 9, "9 functions stand inside one another"),
        ("Piecewise(" + ",".join(f"({k}, r < {k})" for k in range(9)) + ", (9, True))", "9 kinks"),
    ],
)
def test_an_expression_that_would_take_too_long_says_what_there_is_too_much_of(text: str, message: str) -> None:
    with pytest.raises(DerivationError, match=message):
        check_size(text, "loss")


def test_a_kink_that_no_formula_places_is_left_to_the_rule() -> None:
    limit = derive(Model(Loss("Max(r, sigmoid(r))"), Labels()))
    assert all(integrand.crossings for quadrature in limit.quadratures for integrand in quadrature.integrands)


def test_the_same_kink_twice_counts_once() -> None:
    check_size("+".join(["Abs(r - y)"] * 20), "loss")


@pytest.mark.parametrize(
    "text",
    [
        "(r - y)**64",
        "((1.0000001**64)**64)**64*(r - y)**2",
        "(((1.0000001**64)**64)**64)**64*(r - y)**2",
        "Max(0, sin(1)**2 + cos(1)**2 - 1) + (r - y)**2",
        "Max(0, 1/(r - r))",
        "Abs(" * 40 + "r - y" + ")" * 40,
        "+".join(f"Max(0, r - y - {k})" for k in range(90)),
        "*".join(["(r - y + a + b + c + d1)"] * 60),
        "exp(" * 30 + "r" + ")" * 30,
        "tanh(" * 45 + "r - y" + ")" * 45,
        "log(2 + " * 40 + "(r - y)**2" + ")" * 40,
        "/".join(["(1 + (r - y)**2)"] * 40),
    ],
    ids=lambda text: text[:24],
)
def test_a_large_or_mistaken_loss_ends_in_an_error_within_a_second(text: str) -> None:
    for adversary in (None, L2Adversary()):
        start = time.perf_counter()
        with pytest.raises(InputError):
            derive(Model(Loss(text), NOISY, adversary))
        assert time.perf_counter() - start < 2.5  # a second on a machine that does nothing else


def test_constants_that_are_no_numbers_are_refused_wherever_they_stand() -> None:
    with pytest.raises(ExpressionError, match="is not a finite real number"):
        derive(Model(Loss("(r - y)**2"), NOISY), {"bad": Formula("1/(norm2 - norm2)")})
    with pytest.raises(ExpressionError, match="too many digits"):
        convert(parse("(1.0000001**64)**64"))


# ── Signs ───────────────────────────────────────────────────────────────────────────────────────────────────

_LEAVES = st.sampled_from(["r", "y", "2", "0.5", "1", "3"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    unary = st.sampled_from(
        ["exp", "tanh", "Abs", "cosh", "sin", "sigmoid", "softplus", "Phi", "erf", "atan", "sign", "sinh"]
    )
    return st.one_of(
        st.builds("{}({})".format, unary, inner),
        st.builds("(({}) {} ({}))".format, inner, st.sampled_from("+-*"), inner),
        st.builds("({})**{}".format, inner, st.sampled_from(["2", "3", "4"])),
        st.builds("Max({}, {})".format, inner, inner),
        st.builds("Min({}, {})".format, inner, inner),
        st.builds("1/(1 + ({})**2)".format, inner),
    )


_TEXTS = st.recursive(_LEAVES, _grown, max_leaves=6)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(_TEXTS, st.integers(0, 2**32 - 1))
def test_what_is_shown_of_a_sign_holds_at_every_point(text: str, seed: int) -> None:
    try:
        tree = parse(text)
        e = convert(tree)
    except ExpressionError:
        return
    found = bounds(e)
    positive, nonnegative = is_positive(e), is_nonnegative(e)
    draw = np.random.default_rng(seed)
    r, y = (np.concatenate([[0.0, 1.0, -1.0], scale * draw.standard_normal(40)]) for scale in (1.0, 2.0))
    values = np.broadcast_to(evaluate(tree, {"r": r, "y": y}), r.shape)
    values = values[np.isfinite(values)]
    room = 1e-9 * (1 + np.abs(values))
    assert (values >= float(found.low) - room).all()
    assert (values <= float(found.high) + room).all()
    if positive or nonnegative:
        assert (values >= -room).all()


def test_a_double_root_is_no_sign_change() -> None:
    r, y = sp.symbols("r y", real=True)
    assert is_nonnegative(r**2 - 2 * r + 1)
    assert not is_positive(r**2 - 2 * r + 1)
    assert is_nonnegative(r**2 - 2 * r * y + y**2)
    assert not is_nonnegative(r**2 - 3 * r * y + y**2)
    assert not is_nonnegative(r**3)


# ── Any text ────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=timedelta(seconds=8), max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(st.sampled_from(["r", "(r - y)", "y*r", "y", "a", "2", "0.5"]), _grown, max_leaves=5), st.booleans()
)
def test_any_loss_is_derived_or_refused(text: str, attacked: bool) -> None:
    """Nothing but sgdlimit's own errors, and no hang."""
    for target in (NOISY, Labels()):
        try:
            limit = derive(Model(Loss(text), target, L2Adversary() if attacked else None))
        except InputError:
            continue
        assert not any(e.has(sp.zoo, sp.nan, sp.oo, sp.I) for e in limit.coefficients.values())


@settings(deadline=timedelta(seconds=2), max_examples=200)
@given(st.text(alphabet="ry12.e+-*/()<>&|, ^xpPiecwsloghMaTru_", max_size=60))
def test_any_text_is_checked_or_refused(text: str) -> None:
    for kind in (Loss, Teacher, RandomLabels, Expectation, Formula, Schedule):
        try:
            given_text = kind(text).text
            check_size(given_text, "text")
            check_defined(given_text, "text")
            check_growth(given_text, "text")
        except InputError:
            continue


def test_values_at_a_point_are_those_of_the_arrays() -> None:
    for text in (
        "log(1 + exp(-y*r))",
        "Piecewise((r, (r > 0) & (y < 0)), (-r**2, True))",
        "Max(r, y, 2) - Heaviside(r)",
    ):
        for r, y in ((0.3, -1.0), (-2.0, 1.0), (0.0, 0.0)):
            expected = float(evaluate(parse(text), {"r": r, "y": y}))
            assert math.isclose(value_at(parse(text), {"r": r, "y": y}), expected, rel_tol=1e-14)


def test_the_checks_of_every_catalogue_model_are_quick_and_assume_nothing_new() -> None:
    for name in catalogue():
        model = load_equations(name).model
        start = time.perf_counter()
        assert check_domains(model) == ()
        assert check_growth(model.loss.text, "loss", model.target) == ()
        assert time.perf_counter() - start < 1  # 0.1 alone
