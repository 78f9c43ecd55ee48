"""The self-check says when a quadrature misses, and is silent when it does not."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from sgdlimit.codegen import emit
from sgdlimit.codegen.refined import emit_refined
from sgdlimit.derive import L2Adversary, Labels, Limit, Loss, Model, Teacher, derive
from sgdlimit.runtime import SelfCheck, SelfCheckWarning, load_kernel, self_check
from sgdlimit.runtime import rule_check as module
from sgdlimit.runtime.compiler import Compiler, find_compiler
from sgdlimit.runtime.kernel import Kernel, kernel_from_text
from sgdlimit.runtime.rule_check import Difference, states
from sgdlimit.runtime.spec import catalogue, load_equations

LOGISTIC = Model(Loss("log(1 + exp(-y*r))"), Labels(), L2Adversary())
KINKED = Model(Loss("log(1 + exp(-y*r)) + Max(0, r - 1/3)"), Labels())
FAST = ("adversarial-logistic-mixture", "hinge-logistic-labels", "logistic-labels", "poisson")

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")


def changed(limit: Limit, name: str, value: str) -> Kernel:
    """A kernel whose source has another number in place of one of the rule's."""
    compiler = find_compiler()
    assert isinstance(compiler, Compiler)
    source, count = re.subn(
        rf"(?m)^#define {name} .*$", f"#define {name} {value}", emit(limit, "c", parts=["equations"])
    )
    assert count == 1
    return kernel_from_text(source, "c", compiler)


@needs_compiler
@pytest.mark.parametrize("name", [n if n in FAST else pytest.param(n, marks=pytest.mark.long) for n in catalogue()])
def test_every_catalogue_model_passes(name: str) -> None:
    model = load_equations(name).model
    found = self_check(derive(model), load_kernel(model, backend="c"))
    assert found.passed, str(found)
    assert found.states in (0, 20)


@pytest.mark.parametrize("name", FAST[:2])
def test_numpy_is_checked_by_the_same_rule_where_there_is_no_compiler(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_compiler", lambda: None)
    model = load_equations(name).model
    found = self_check(derive(model), load_kernel(model, backend="numpy"))
    assert found.passed, str(found)
    assert found.states == 20


@needs_compiler
@pytest.mark.parametrize(
    ("macro", "value"),
    [
        ("SGDLIMIT_CLEARANCE", "1.1"),  # panels too long beside a pole
        ("SGDLIMIT_WINDOW", "4.0"),  # a tail cut off
    ],
)
def test_a_rule_that_does_not_resolve_is_caught(macro: str, value: str) -> None:
    limit = derive(LOGISTIC)
    assert self_check(limit, load_kernel(LOGISTIC, backend="c")).passed
    found = self_check(limit, changed(limit, macro, value))
    assert not found.passed
    worst = found.misses[0]
    assert (
        f"self-check MISSED: quadratures differ from a finer rule by more than 1e-08 of E|integrand|: {worst}"
        in str(found)
    )
    assert worst.relative == max(d.relative for d in found.differences)
    assert set(worst.state) == {"n", "m", "Q", "y", "epsilon"}


@needs_compiler
def test_a_kink_that_the_rule_is_not_told_about_is_caught_although_the_finer_rule_misses_it_too() -> None:
    limit = derive(KINKED)
    quadratures = tuple(replace(q, breakpoints=()) for q in limit.quadratures)
    assert quadratures != limit.quadratures
    blind = replace(limit, quadratures=quadratures)
    for told, passed in ((limit, True), (blind, False)):
        found = self_check(told, kernel_from_text(emit(told, "c", parts=["equations"]), "c", find_compiler()))
        assert found.passed is passed, str(found)


@needs_compiler
def test_a_number_that_is_not_finite_is_a_miss() -> None:
    limit = derive(LOGISTIC)
    source = emit(limit, "c", parts=["equations"]).replace("double J_R = 0,", "double J_R = NAN,")
    found = self_check(limit, kernel_from_text(source, "c", find_compiler()))
    assert [d.coefficient for d in found.misses] == ["R"]
    assert math.isinf(found.misses[0].relative)
    assert found.json()["differences"][0]["relative"] is None


@needs_compiler
def test_three_in_a_hundred_million_is_a_miss_and_the_rounding_of_a_zero_is_none() -> None:
    limit = derive(LOGISTIC)
    source = emit(limit, "c", parts=["equations"])
    assert source.count("*out_F = J_F;") == 1
    off = source.replace("*out_F = J_F;", "*out_F = J_F * (1 + 3e-8);")
    found = self_check(limit, kernel_from_text(off, "c", find_compiler()))
    assert [d.coefficient for d in found.misses] == ["F"]
    off = source.replace("*out_F = J_F;", "*out_F = J_F + 1e-17 * J_R;")
    assert self_check(limit, kernel_from_text(off, "c", find_compiler())).passed


def test_a_sum_of_squares_of_exponentials_has_a_window_for_its_square() -> None:
    """The gradient noise of a Poisson loss holds ``e^{2 r*}``, whose mass lies at twice the tilt."""
    model = load_equations("poisson").model
    kernel = load_kernel(model, backend="numpy")
    found = self_check(derive(model), kernel)
    assert {d.coefficient: d.relative < 1e-10 for d in found.differences}["I"]


def test_closed_forms_have_nothing_to_check() -> None:
    limit = derive(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi")))
    found = self_check(limit, load_kernel(limit.model, backend="numpy"))
    assert found == SelfCheck(0, ())
    assert found.passed
    assert str(found) == "self-check: closed forms only, no quadrature to check"
    assert emit_refined(limit, "c") is emit_refined(limit, "numpy") is None


def test_states_are_twenty_fixed_ones_within_the_box_with_its_corners() -> None:
    kernel = load_kernel(load_equations("adversarial-logistic-teacher").model, backend="numpy")
    first, second = (list(states(kernel, labels=False)) for _ in range(2))
    assert [s[3] for s in first] == [s[3] for s in second]
    assert len(first) == 20
    laws = [s[3] for s in first]
    Q = [s["Q_perp"] + s["beta"] ** 2 * s["Q_star"] for s in laws]
    reach = [s["epsilon"] * s["n"] for s in laws]
    for values, low, high in (
        ([s["m"] for s in laws], -10, 10),
        ([s["m_star"] for s in laws], -10, 10),
        (Q, 1e-12, 1e4),
        ([s["Q_star"] for s in laws], 1e-2, 1e2),
        (reach, 0, 10),
    ):
        assert min(values) == pytest.approx(low)
        assert max(values) == pytest.approx(high)
    assert min(s["Q_perp"] for s in laws) == 0


def test_parameters_are_where_the_equations_hold() -> None:
    kernel = load_kernel(load_equations("pinball").model, backend="numpy")
    assert kernel.positive == ("q", "1 - q")
    assert all(0 < state["q"] < 1 for *_, state in states(kernel, labels=False))


def test_a_model_that_misses_is_warned_of_when_it_is_derived_and_from_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missed = SelfCheck(20, (Difference("B", 1e-3, {"m": 1.0}),))
    monkeypatch.setattr(module, "self_check", lambda limit, kernel: missed)
    model = Model(Loss("log(1 + exp(1/7 - y*r))"), Labels())
    with pytest.warns(SelfCheckWarning, match=r"B by 1\.0e-03 of E\|integrand\| at m = 1"):
        load_kernel(model, backend="numpy")
    monkeypatch.setattr(module, "self_check", None)  # what was found is remembered
    with pytest.warns(SelfCheckWarning, match=r"B by 1\.0e-03 of E\|integrand\| at m = 1"):
        load_kernel(model, backend="numpy")


def test_generate_tells_what_the_self_check_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from sgdlimit.runtime.cli import app

    command = ["generate", "adversarial-logistic-mixture", "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, command)
    assert "self-check: quadratures agree with a finer rule at 20 states, to " in shown.stdout
    checked = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["self_check"]
    assert checked["passed"] is True
    assert [d["coefficient"] for d in checked["differences"]] == ["R", "A", "B", "D", "F", "I"]

    monkeypatch.setattr(module, "self_check", lambda *_: SelfCheck(20, (Difference("B", 1e-3, {"m": 1.0}),)))
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0
    assert "warning: self-check MISSED" in shown.stderr
    assert (tmp_path / "out" / "limit.c").is_file()


@needs_compiler
@pytest.mark.parametrize(
    ("loss", "target"),
    [
        pytest.param(
            "Max(0, 1 - y*r)",
            "r_star + sigma*xi",
            marks=pytest.mark.long,
            id="a kink of the label that is at infinity for one score",
        ),
        pytest.param(
            "(Max(0, r) - y)**2/2",
            "Max(0, r_star) + sigma*xi",
            marks=pytest.mark.long,
            id="a step that passes a kink of the score",
        ),
    ],
)
def test_steps_over_noise_of_the_label_are_resolved(loss: str, target: str) -> None:
    model = Model(Loss(loss), Teacher(target), L2Adversary())
    found = self_check(derive(model), load_kernel(model, backend="c"))
    assert found.passed, str(found)


@needs_compiler
@pytest.mark.parametrize(
    ("loss", "target", "adversary"),
    [
        ("log(1 + (1 - y*r)**2)", "r_star", None),
        pytest.param("atan(1 - y*r)", "tanh(r_star)", L2Adversary(), marks=pytest.mark.long),
        pytest.param("Phi(-y*r)", "erf(r_star)", L2Adversary(), marks=pytest.mark.long),
        pytest.param("log(1 + exp(-y*r))", "tanh(r_star)", L2Adversary(), marks=pytest.mark.long),
    ],
)
def test_a_margin_of_labels_that_pass_through_zero_is_resolved(
    loss: str, target: str, adversary: L2Adversary | None
) -> None:
    """There a pole of the score leaves for infinity, and comes back from the other end."""
    model = Model(Loss(loss), Teacher(target), adversary)
    found = self_check(derive(model), load_kernel(model, backend="c"))
    assert found.passed, str(found)
