"""The documents of a limit: what they say, that they are well formed, and that they are the same every time."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import sympy as sp
from models import HUBER

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
    limit_from_json,
    model_from_json,
)
from sgdlimit.derive import symbols as sym
from sgdlimit.derive.document import Equation, Items, Text, integrals, sections, texts
from sgdlimit.derive.errors import InputError
from sgdlimit.derive.functions import (
    BivariateTail,
    Branch,
    Hazard,
    HazardExcess,
    Log1p,
    LogCosh,
    LogNormalCdf,
    NormalCdf,
    Notated,
    ScaledTailMoment,
    Side,
    Sigmoid,
    Softplus,
    Stable,
    TailMoment,
    Tanh,
)
from sgdlimit.derive.interchange import as_dict, statistics_from_json
from sgdlimit.derive.known_limits import known_limits
from sgdlimit.derive.limit import Limit
from sgdlimit.derive.mathml import mathml, parse, width
from sgdlimit.derive.notation import LINE, lines, tex
from sgdlimit.derive.quadrature import Definition, Integrand, Quadrature
from sgdlimit.runtime import cli
from sgdlimit.runtime.spec import catalogue, load_equations

NOISY = Teacher("r_star + sigma*xi")
OWN = {
    "absolute": Model(Loss("Abs(r - y)"), NOISY, L2Adversary()),
    "pinball": Model(Loss("Max(q*(r - y), (q - 1)*(r - y))"), NOISY, L2Adversary()),
    "epsilon-insensitive": Model(Loss("Max(0, Abs(r - y) - width)"), NOISY, L2Adversary()),
    "log-cosh": Model(Loss("log(cosh(r - y))"), NOISY, L2Adversary()),
    "ramp": Model(Loss("Min(1, Max(0, 1 - y*r))"), Labels(), L2Adversary()),
    "probit": Model(Loss("-log(Phi(y*r))"), RandomLabels("Phi(r_star)"), L2Adversary()),
    "hinge, sign teacher": Model(Loss("Max(0, 1 - y*r)"), Teacher("sign(r_star + sigma*xi)"), L2Adversary()),
}
STATISTICS = {"margin": Expectation("Max(0, r - y)"), "gap": Formula("Max(0, adversarial_risk - clean_risk)")}


# Of two linear forms: their nested integrals are compared as expressions only, and their long lines are not broken.
TWO_FORMS = (
    "adversarial-erf-regression",
    "adversarial-phase-retrieval",
    "erf-regression",
    "hinge-logistic-labels",
    "logistic-labels",
    "poisson",
    "relu-regression",
    "tanh-regression",
)


@pytest.fixture(scope="module")
def limits() -> dict[str, Limit]:
    found = {name: derive(model) for name, model in OWN.items()}
    for name in catalogue():
        if name in TWO_FORMS:
            continue
        equations = load_equations(name)
        found[name] = derive(equations.model, equations.statistics)
    return found


@pytest.fixture(scope="module")
def huber() -> Limit:
    return derive(Model(Loss(HUBER), NOISY, L2Adversary()), STATISTICS)


@pytest.mark.parametrize(
    "module", ["mathml", "notation", "document", "writers", "page", "interchange", "known_limits", "values", "wording"]
)
def test_docstrings_run(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"sgdlimit.derive.{module}")).failed == 0


# ── Content ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_format_says_model_assumptions_coefficients_rules_equations_and_known_limits(huber: Limit) -> None:
    for text in (huber.markdown(), huber.latex(), huber.html()):
        for part in ("Model", "Assumptions", "Adversarial loss", "Law of the score", "Coefficients of one class"):
            assert part in text
        for part in (
            "Mode equations",
            "Statistics",
            "Known limits",
            "Gaussian mixture",
            "quasi-convex",
            "All of it agrees",
        ):
            assert part in text
        assert text.count("piecewise moments") == 7  # R A B F I, clean risk and the user's own
    assert huber.json() != huber.html() != huber.latex()


def test_assumed_signs_of_parameters_are_said(huber: Limit) -> None:
    assumed = next(s for s in sections(huber) if s.title == "Assumptions").content[0]
    assert isinstance(assumed, Items)
    assert any(r"$\delta > 0$" in text for text in assumed.items)
    plain = next(s for s in sections(derive(Model(Loss("(r - y)**2/2"), NOISY))) if s.title == "Assumptions").content[0]
    assert isinstance(plain, Items)
    assert not any("needs" in text or "supremum" in text for text in plain.items)


def test_a_maximum_in_a_formula_of_the_users_stays(huber: Limit) -> None:
    """Only the engine's own guards against a zero variance are left out."""
    shown = next(e for s in sections(huber) for e in s.content if isinstance(e, Equation) and "gap" in e.left)
    assert r"\max" in shown.right[0]
    assert "1e-300" not in huber.markdown()
    assert "10^{-300}" in huber.markdown()


def test_another_update_rule_is_said() -> None:
    from sgdlimit.derive.dynamics import update

    model = Model(Loss("(r - y)**2/2"), NOISY)
    assert "another update rule" in derive(model, update=update().subs(sym.tau, 0)).markdown()
    assert "another update rule" not in derive(model).markdown()


def test_long_sums_are_broken_into_lines_that_fit(limits: dict[str, Limit]) -> None:
    count = 0
    for name, limit in limits.items():
        if name in ("erf-regression", "relu-regression") or any(q.inner for q in limit.quadratures):
            continue  # what stands within one root or one Max is not broken
        for section in sections(limit):
            for item in section.content:
                if isinstance(item, Equation) and not item.left.startswith("inner"):
                    count += len(item.right) > 1
                    assert all(width(line) <= LINE + 25 for line in item.right), item
    assert count > 10


def test_lines_of_a_sum_are_the_sum() -> None:
    a, b, c, x = sp.symbols("a b c x", real=True)
    expression = x * (a + b - c) ** 2 - sp.exp(-a) * (a + b + c) + 1
    for room in (200, 25, 10, 1):
        broken = lines(expression, room)
        assert all(line.lstrip()[0] in "+-" for line in broken[1:])
        assert all(width(line) <= room for line in broken) or room <= 25
    assert len(lines(expression, 200)) == 1
    assert len(lines(expression, 10)) > 3
    assert " ".join(lines(x * (a + b - c), 1)) == "a x + b x - c x"


def test_the_names_of_parameters_are_not_those_of_the_theory() -> None:
    limit = derive(Model(Loss("(r - y)**2/2 + m*r**2 + beta*r**2"), Labels()))
    (loss,) = (e for s in sections(limit) for e in s.content if isinstance(e, Equation) and e.left == "f(r; y)")
    assert r"\mathtt{m}" in loss.right[0]
    assert r"\mathtt{beta}" in loss.right[0]
    assert tex(sym.parameter("width")) == r"\mathrm{width}"
    assert tex(sym.parameter("sigma1")) == r"\mathtt{sigma1}"
    assert tex(sym.parameter("delta")) == r"\delta"


# ── Quadratures ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_quadrature_within_a_quadrature_is_written_where_it_is_taken() -> None:
    inner_variable, inner, outer = sp.Symbol("zeta", real=True), sp.Symbol("J_inner"), sp.Symbol("J_outer")
    within = Quadrature(
        (Definition(sym.r, sym.m + inner_variable),),
        (sym.m,),
        (Integrand(inner, sp.tanh(sym.r)),),
        inner_variable,
    )
    nested = Quadrature((Definition(sym.y, sym.z),), (), (Integrand(outer, inner * sym.y),), inner=(within,))
    found = list(integrals(nested))
    assert [e.left for e in found if isinstance(e, Equation)] == [
        "y",
        "r",
        r"J_{\mathrm{inner}}",
        r"J_{\mathrm{outer}}",
    ]
    assert [e.text for e in found if isinstance(e, Text)][:2] == ["At each $z$:", r"Inside of that, at each $\zeta$:"]


def test_kinks_and_layers_of_a_quadrature_are_named(limits: dict[str, Limit]) -> None:
    text = limits["hinge, sign teacher"].markdown()
    assert "Kinks and jumps at $z$ = " in text
    assert "a step of width" in text
    assert "singularities at the distance" in limits["log-cosh"].markdown()


# ── Known limits ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_model_without_its_adversary_is_the_standard_one(limits: dict[str, Limit]) -> None:
    for name, limit in limits.items():
        begun = time.process_time()
        found = known_limits(limit)
        assert time.process_time() - begun < 2, name
        assert found.hold, (name, found)
        if limit.model.adversary:
            assert {"f_adv", *limit.coefficients} <= {c.name for c in found.comparisons}, name
            assert ("robust_error" in limit.expectations) == ("robust_error" in found.named("expressions", "points"))
        else:
            assert found.comparisons == ()


def test_an_inner_variable_of_the_same_name_is_another_one() -> None:
    """``E_z[z E_z z] = 0``, and not ``E z² = 1``."""
    limit = derive(Model(Loss("(r - y)**2/2"), NOISY, L2Adversary()))
    inner, J = sp.Symbol("J_inner"), sp.Symbol("J_A")
    within = Quadrature((), (), (Integrand(inner, sym.z),))
    for factor in (1, sym.epsilon):
        integrand = Integrand(J, sym.mean - factor + factor * sym.z * inner)
        quadrature = Quadrature((), (), (integrand,), inner=(within,))
        changed = replace(limit, coefficients={**limit.coefficients, "A": J}, quadratures=(quadrature,))
        (comparison,) = (c for c in known_limits(changed).comparisons if c.name == "A")
        assert comparison.how == ("expressions" if factor == sym.epsilon else "unequal")


def test_how_a_coefficient_was_compared_is_said(limits: dict[str, Limit]) -> None:
    least_squares = known_limits(limits["adversarial-least-squares"])
    assert set(least_squares.named("expressions")) >= {"R", "A", "B", "D", "F", "I", "clean_risk"}
    log_cosh = {c.name: c for c in known_limits(limits["log-cosh"]).comparisons}
    assert (log_cosh["R"].how, log_cosh["R"].integrands) == ("points", True)
    assert (log_cosh["F"].how, log_cosh["F"].difference) == ("expressions", 0.0)


def test_a_wrong_coefficient_fails_and_the_document_says_so(limits: dict[str, Limit]) -> None:
    for name in ("adversarial-huber", "log-cosh", "adversarial-logistic-teacher"):
        wrong = limits[name].scale("B", 1.01)
        found = known_limits(wrong)
        assert not found.hold
        assert found.named("unequal") == ("B",), name
        (comparison,) = (c for c in found.comparisons if c.name == "B")
        assert comparison.difference == pytest.approx(1 - 1 / 1.01)
    for text in (wrong.markdown(), wrong.latex(), wrong.html()):
        assert "DOES NOT AGREE" in text
        assert "NOT equal" in text


def test_a_coefficient_that_is_wrong_at_some_scores_only_fails() -> None:
    """The points lie on both sides of what a coefficient distinguishes."""
    limit = derive(Model(Loss("(r - y)**2/2"), NOISY, L2Adversary()))
    off = sp.Max(0, sym.dm)
    for sign in (1, -1):
        changed = {**limit.coefficients, "A": limit.coefficients["A"] + off.subs(sym.dm, sign * sym.mean)}
        assert known_limits(replace(limit, coefficients=changed)).named("unequal") == ("A",)


def test_integrals_of_different_functions_are_compared_as_numbers() -> None:
    limit = derive(Model(Loss("(r - y)**2/2"), NOISY, L2Adversary()))
    J, u = sp.Symbol("J_R", real=True), sp.Symbol("u", real=True)
    for factor, how in ((1, "integrals"), (sp.Rational(1001, 1000), "unequal")):
        quadrature = Quadrature(
            (Definition(u, sym.mean + sym.s * sym.z),), (), (Integrand(J, factor * (u**2 / 2 + sym.epsilon * u)),)
        )
        changed = replace(limit, coefficients={**limit.coefficients, "R": J}, quadratures=(quadrature,))
        (comparison,) = (c for c in known_limits(changed).comparisons if c.name == "R")
        assert (comparison.how, comparison.integrands) == (how, True)


def test_nested_integrals_are_compared_as_numbers_at_stated_states() -> None:
    limit = derive(Model(Loss("(sigmoid(r) - y)**2"), Teacher("sigmoid(r_star) + sigma*xi"), L2Adversary()))
    found = known_limits(limit)
    assert found.hold
    assert "B" in found.named("numbers")
    assert all(c.difference < 1e-10 for c in found.comparisons if c.how == "numbers")
    assert "equal at two states, relative difference below 1e-10" in limit.markdown()
    assert known_limits(limit.scale("B", 1.001)).named("unequal") == ("B",)


@pytest.mark.parametrize(
    ("inner_integrand", "outer", "how"),
    [
        (sp.S.One, sym.mean, "expressions"),
        (sp.S.One, sp.Symbol("u", real=True), "integrals"),
        (sp.S.One, 2 * sp.Symbol("u", real=True), "unequal"),
        (sp.Symbol("zeta", real=True) ** 2, sp.Symbol("u", real=True), "numbers"),
        (2 * sp.Symbol("zeta", real=True) ** 2, sp.Symbol("u", real=True), "unequal"),
        (sp.S.One, sp.Symbol("u", real=True) * sp.Symbol("J_inner"), "numbers"),
        # the square of a mean is not the mean of a square
        (1 + sp.Symbol("zeta", real=True), sp.Symbol("u", real=True) * sp.Symbol("J_inner"), "numbers"),
        (sp.log(1 + sp.Symbol("zeta", real=True) ** 2), sp.loggamma(sp.Symbol("u", real=True) ** 2), "undecided"),
    ],
)
def test_inner_quadratures_are_opened_too(inner_integrand: sp.Expr, outer: sp.Expr, how: str) -> None:
    """``A = E u``, written as ``E[u E_ζ …]``."""
    limit = derive(Model(Loss("(r - y)**2/2"), NOISY, L2Adversary()))
    inner, J, u = sp.Symbol("J_inner"), sp.Symbol("J_A"), sp.Symbol("u", real=True)
    within = Quadrature((), (), (Integrand(inner, inner_integrand),), sp.Symbol("zeta", real=True))
    definition = Definition(u, sym.mean + sym.s * sym.z)
    quadrature = Quadrature((definition,), (), (Integrand(J, outer * inner),), inner=(within,))
    changed = replace(limit, coefficients={**limit.coefficients, "A": J}, quadratures=(quadrature,))
    (comparison,) = (c for c in known_limits(changed).comparisons if c.name == "A")
    assert comparison.how == how
    assert ("Not decided: $A$" in changed.markdown()) == (how == "undecided")
    assert ("All of it agrees" in changed.markdown()) == comparison.equal


# ── Notation and MathML ─────────────────────────────────────────────────────────────────────────────────────

a, b = sp.symbols("a b", real=True)
i, j, K = sym.i, sym.j, sym.K
NOTATED = {
    Softplus(a): ("log", "+", "e"),
    Sigmoid(a) ** 2: ("sigmoid", "2"),
    NormalCdf(-a): ("Φ", "−"),
    Tanh(a) ** 2: ("tanh",),
    LogCosh(a): ("log", "cosh"),
    LogNormalCdf(a): ("log", "Φ"),
    Hazard(a) ** 2: ("φ", "Φ"),
    HazardExcess(a): ("φ", "Φ", "+"),
    TailMoment(2, a) ** 3: ("M", "2", "3"),
    ScaledTailMoment(2, a) ** 3: ("M", "2", "φ", "3"),
    Log1p(a): ("log", "1", "+"),
    BivariateTail(1, 0, a, b, a, b): ("M", "1", "0"),
    Branch(a, b, 2 * b): ("=", "otherwise"),
    Branch(Side(a - b), 1, 0) ** 2: ("1", "{", ">", "0", "}"),
    Branch(Side(a), Branch(Side(b), a, b), 0): (">", "≤"),
    Side(a - b): ("sign",),
    sym.lam * sym.x_star**2: ("λ", "∗"),
    sp.Sum(sym.p * sp.IndexedBase("clean_risk")[i], (i, 1, K)): ("∑", "K", "clean\u00a0risk"),
    sp.Piecewise((a, a < b), (b, True)): ("<", "otherwise"),
    sp.Max(0, a) - sp.Min(a, b): ("max", "min"),
    sp.Abs(a - b) * sp.Heaviside(a): ("|", ">"),
    sp.sign(a) * sp.erf(a / sp.sqrt(2)) + sp.erfc(b): ("sign", "erf", "erfc"),
    sp.cbrt(a**2 + 1) * sp.atan(a) * sp.pi: ("3", "atan", "π"),
}


@pytest.mark.parametrize("expression", list(NOTATED), ids=str)
def test_every_function_has_a_notation_in_tex_and_mathml(expression: sp.Expr) -> None:
    element = ElementTree.fromstring(mathml(tex(expression)))
    leaves = [e.text for e in element.iter() if e.text]
    for part in NOTATED[expression]:
        assert part in leaves
    assert "Branch" not in "".join(leaves)


def test_no_function_of_the_engine_is_without_a_notation() -> None:
    functions = importlib.import_module("sgdlimit.derive.functions")
    named = {e for e in vars(functions).values() if isinstance(e, type) and issubclass(e, sp.Function)}
    shown = {type(e) for expression in NOTATED for e in expression.atoms(sp.Function)}
    assert named - {Notated, Stable} <= shown


def test_brackets_stand_where_a_product_would_be_misread() -> None:
    assert tex(a * Branch(Side(b), a, b)).count(r"\left(") == 1
    assert tex((a + b) * Branch(Side(b), 1, 0)) == r"\left(a + b\right) \mathbf{1}_{\left\{b > 0\right\}}"
    assert tex(sym.m_star**2) == r"\left(m^\ast\right)^{2}"
    assert tex(sym.x_star**2) == r"{X^\ast_{j}}^{2}"
    assert tex(HazardExcess(a) ** 2) == r"\left(a + \frac{\varphi}{\Phi}\left(a\right)\right)^{2}"


@pytest.mark.parametrize(
    ("formula", "complaint"),
    [
        ("x^2^3", "second superscript"),
        ("x_1_2", "second subscript"),
        ("{x", "'}' should be"),
        ("x}", "unexpected"),
        (r"\left(x", "the end"),
        (r"\nonsense", "no meaning"),
        (r"\begin{cases} x", "the end"),
        (r"\begin{matrix} x \end{matrix}", "environment"),
        (r"\begin{cases} x \end{aligned}", "another end"),
        (r"\frac{1}", "the end"),
        ("x^", "the end"),
        ("é", "no meaning"),
    ],
)
def test_what_is_not_a_formula_is_refused(formula: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse(formula)


def test_all_formulas_of_all_documents_are_well_formed(limits: dict[str, Limit]) -> None:
    """Braces, environments, scripts: the reader of MathML refuses what TeX would."""
    for name, limit in limits.items():
        for section in sections(limit):
            for formula in texts(section.content):
                assert parse(formula), name


# ── HTML ────────────────────────────────────────────────────────────────────────────────────────────────────


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_pages_are_well_formed_and_stand_alone(limits: dict[str, Limit]) -> None:
    for name, limit in limits.items():
        text = limit.html()
        ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
        page = _Page()
        page.feed(text)
        page.close()
        assert page.open == [], name
        tags = {tag for tag, _ in page.seen}
        assert not tags & {"script", "link", "img", "iframe", "merror"}
        assert "http" not in text
        assert "@import" not in text
        targets = {attributes["href"] for tag, attributes in page.seen if tag == "a"}
        assert targets == {f"#{attributes['id']}" for tag, attributes in page.seen if tag == "section"}
        assert not any("\\" in words or "$" in words for words in page.words), name


def test_a_loss_with_a_smaller_sign_is_escaped() -> None:
    page = derive(Model(Loss("Piecewise((q*(y - r), r < y), ((1 - q)*(r - y), True))"), NOISY, L2Adversary())).html()
    assert "<title>Limit of streaming SGD: Piecewise((q*(y - r), r &lt; y)" in page
    ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


# ── LaTeX and Markdown ──────────────────────────────────────────────────────────────────────────────────────


def test_latex_is_ascii_and_its_environments_are_closed(limits: dict[str, Limit]) -> None:
    for name, limit in limits.items():
        text = limit.latex()
        assert text.isascii(), (name, {c for c in text if not c.isascii()})
        stack: list[str] = []
        for kind, environment in re.findall(r"\\(begin|end)\{([a-z*]+)\}", text):
            if kind == "begin":
                stack.append(environment)
            else:
                assert stack.pop() == environment
        assert not stack
        bare = re.sub(r"\\[{}]", "", text)
        depth = 0
        for character in bare:
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth >= 0
        assert depth == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("name", ["adversarial-huber", "hinge, sign teacher"])
def test_latex_compiles_and_no_line_is_too_long(name: str, limits: dict[str, Limit], tmp_path: Path) -> None:
    (tmp_path / "limit.tex").write_text(limits[name].latex(), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "limit.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\hbox" not in done.stdout


def test_a_bar_does_not_end_a_cell_of_a_markdown_table(limits: dict[str, Limit]) -> None:
    for limit in limits.values():
        for table in re.findall(r"(?:^\|.*\n)+", limit.markdown(), flags=re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_limit_is_derived_again_from_its_json(limits: dict[str, Limit]) -> None:
    for name, limit in limits.items():
        text = limit.json()
        assert model_from_json(text) == limit.model, name
        assert derive(model_from_json(text), statistics_from_json(text)) == limit, name


def test_the_statistics_of_a_user_are_kept(huber: Limit) -> None:
    text = huber.json()
    assert statistics_from_json(text) == STATISTICS
    assert limit_from_json(text) == huber


def test_json_holds_the_results_in_print(huber: Limit) -> None:
    document = json.loads(huber.json())
    assert document == as_dict(huber)
    assert document["format"] == 1
    for name, expression in huber.coefficients.items():
        printed = document["coefficients"][name]
        assert printed == {"text": str(expression), "latex": tex(expression), "rule": huber.rules[name]}
    assert list(document["results"]) == list(huber.statistics)
    probit = json.loads(derive(OWN["log-cosh"]).json())["quadratures"][0]
    assert probit["definitions"][0]["symbol"] == "u"
    assert {layer["kind"] for e in probit["integrands"] for layer in e["layers"]} == {"pole"}
    assert all(e["equal"] for e in document["known_limits"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 2}, "format is 2"),
        ({"model": None}, "no model"),
        ({"model": {"loss": "(r - y)**2", "target": "labels", "adversary": "l7"}}, "'l7'"),
        ({"model": {"loss": "(r - y)**2", "target": {"oracle": "y"}, "adversary": "l2"}}, "oracle"),
        ({"model": {"loss": 3, "target": "labels", "adversary": "l2"}}, "no loss"),
        ({"model": {"loss": "__import__('os')", "target": "labels", "adversary": "l2"}}, "loss"),
        ({"statistics": {"a": {"code": "1"}}}, "'code'"),
    ],
)
def test_a_document_that_is_none_is_refused(change: dict[str, Any], complaint: str) -> None:
    document = {**as_dict(derive(OWN["absolute"])), **change}
    with pytest.raises(InputError, match=re.escape(complaint)):
        limit_from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000])
def test_a_text_that_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="JSON document"):
        model_from_json(text)


def test_results_that_are_not_those_of_the_model_are_refused(huber: Limit) -> None:
    with pytest.raises(InputError, match="coefficients"):
        limit_from_json(huber.scale("B", 2.0).json())
    document = {**json.loads(huber.json()), "parameters": ["epsilon"]}
    with pytest.raises(InputError, match="parameters"):
        limit_from_json(json.dumps(document))


# ── The same every time ─────────────────────────────────────────────────────────────────────────────────────


def test_documents_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from sgdlimit.derive import *\n"
        "import hashlib\n"
        "m = Model(Loss('Max(0, 1 - y*r)'), Teacher('sign(r_star + sigma*xi)'), L2Adversary())\n"
        "l = derive(m, {'a': Expectation('alpha*r*y'), 'b': Formula('norm2*a + epsilon')})\n"
        "text = ''.join(f() for f in (l.latex, l.markdown, l.html, l.json))\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    seen = set()
    for seed in ("0", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        seen.add(done.stdout)
    assert len(seen) == 1


# ── The command ─────────────────────────────────────────────────────────────────────────────────────────────


def _run(*arguments: str) -> tuple[int, str, str]:
    from typer.testing import CliRunner

    result = CliRunner().invoke(cli.app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("form", "ending"), [("markdown", ".md"), ("latex", ".tex"), ("html", ".html"), ("json", ".json")]
)
def test_the_command_prints_or_writes_each_format(form: str, ending: str, tmp_path: Path) -> None:
    code, printed, _ = _run("derive", "least-squares", "--format", form)
    assert code == 0
    path = tmp_path / f"limit{ending}"
    code, told, _ = _run("derive", "least-squares", "--format", form, "--out", str(path))
    assert (code, told.strip()) == (0, str(path))
    written = path.read_text(encoding="utf-8")
    assert written.rstrip("\n") == printed.rstrip("\n")
    equations = load_equations("least-squares")
    assert written == getattr(derive(equations.model, equations.statistics), form)()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_unknown_format_lists_the_known_ones() -> None:
    code, _, complaint = _run("derive", "least-squares", "--format", "pdf")
    assert code == 2
    for known in ("markdown", "latex", "html", "json"):
        assert known in complaint


def test_output_that_cannot_be_written_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    kept = tmp_path / "limit.html"
    kept.write_text("mine", encoding="utf-8")
    wrong = [tmp_path / "limit.tex", tmp_path / "nowhere" / "limit.html", tmp_path]
    for path in wrong:
        code, out, complaint = _run("derive", "least-squares", "--format", "html", "--out", str(path))
        assert code == 2
        assert out == ""
        assert complaint.startswith(f"error: {path}: ")
    # a model that cannot be derived leaves the file that was there
    spec = tmp_path / "bad.toml"
    spec.write_text('[model]\nloss = "sin(r) - y*r**3"\ntarget = "labels"\nadversary = "l2"', encoding="utf-8")
    assert _run("derive", str(spec), "--format", "html", "--out", str(kept))[0] == 2
    assert kept.read_text(encoding="utf-8") == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.toml", "limit.html"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "limit.html"
    kept.write_text("mine", encoding="utf-8")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    code, _, complaint = _run("derive", "least-squares", "--format", "html", "--out", str(kept))
    assert code == 2
    assert "No space left" in complaint
    assert kept.read_text(encoding="utf-8") == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["limit.html"]
