"""A closed form is accepted only where the quadrature of its own integrand confirms it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sgdlimit.derive import (
    L2Adversary,
    Labels,
    Loss,
    Model,
    Teacher,
    closed_forms,
    derive,
    expectation,
    joint,
    own_integrand,
    own_plane,
)
from sgdlimit.derive.closed_forms import Kinks, closed_form
from sgdlimit.derive.convert import Switch, Switched
from sgdlimit.derive.functions import Branch
from sgdlimit.derive.own_integrand import agrees
from sgdlimit.derive.quadrature import ScoreLaw
from sgdlimit.runtime.kernel import load_kernel

w, m, a = sp.symbols("w m a", real=True)
s = sp.Symbol("s", positive=True)
LAW = ScoreLaw(w, m, s)
SIDE = Switch(sp.Symbol("side", real=True), w - a)
BEYOND = Switched(Branch(SIDE.symbol, (w - a) * sp.exp(w / 3), sp.S.Zero), (SIDE,))
"""``(w − a)_+ e^{w/3}``."""


def test_a_tilted_tail_is_confirmed() -> None:
    kinks = Kinks()
    found = closed_form(BEYOND, LAW, kinks)
    assert found is not None
    assert agrees(BEYOND, LAW, kinks.definitions, found[1])


@pytest.mark.parametrize("change", [lambda e: -e, lambda e: e + sp.Float("1e-6"), lambda e: e * sp.Float("1.000001")])
def test_a_value_that_is_a_little_off_is_not(change: Any) -> None:
    kinks = Kinks()
    found = closed_form(BEYOND, LAW, kinks)
    assert found is not None
    assert not agrees(BEYOND, LAW, kinks.definitions, change(found[1]))


def test_kinks_are_found_by_the_check_itself() -> None:
    """Nothing says where the function jumps: the mass beyond the kink is right all the same."""
    jump = Switched(Branch(SIDE.symbol, sp.S.One, sp.S.Zero), (SIDE,))
    assert agrees(jump, LAW, (), (1 + sp.erf((m - a) / (s * sp.sqrt(2)))) / 2)


def test_a_rule_that_is_wrong_leaves_the_coefficient_to_a_quadrature(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(Loss("Max(0, 1 - y*r)"), Labels(), L2Adversary())
    assert derive(model).quadratures == ()
    name, rule = "piecewise moments", closed_forms.piecewise_moments
    assert rule in closed_forms._RULES.values()

    def wrong(function: Switched, law: ScoreLaw, kinks: Kinks) -> sp.Expr | None:
        value = rule(function, law, kinks)
        return None if value is None else value + law.deviation / 7

    rules = {key: wrong if known is rule else known for key, known in closed_forms._RULES.items()}
    monkeypatch.setattr(closed_forms, "_RULES", rules)
    limit = derive(model)
    assert limit.quadratures
    assert "quadrature" in limit.rules["R"], name


@pytest.mark.parametrize(
    "model",
    [
        Model(Loss("Max(0, 1 - y*r)**2"), Labels(), L2Adversary()),
        Model(Loss("Abs(r - y)**3 + (r - y)**2"), Teacher("r_star + sigma*xi"), L2Adversary()),
    ],
)
def test_every_closed_form_of_a_derivation_is_compared(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def recorded(*arguments: Any) -> bool:
        asked.append(own_integrand.agrees(*arguments))
        return asked[-1]

    monkeypatch.setattr(closed_forms, "agrees", recorded)
    derive(model)
    assert len(asked) >= 5
    assert all(asked)


RELU = Model(Loss("(Max(0, r) - y)**2/2"), Teacher("Max(0, r_star)"))


def test_every_closed_form_in_two_variables_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def recorded(*arguments: Any) -> bool:
        asked.append(own_plane.agrees_in_the_plane(*arguments))
        return asked[-1]

    monkeypatch.setattr(joint, "agrees_in_the_plane", recorded)
    assert derive(RELU).quadratures == ()
    assert len(asked) >= 5
    assert all(asked)


@pytest.mark.parametrize("change", [lambda e: -e, lambda e: e + sp.Float("1e-4"), lambda e: e * sp.Float("1.0001")])
def test_a_value_in_two_variables_that_is_a_little_off_leaves_a_quadrature(
    change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = joint.JointForms._expect

    def wrong(self: joint.JointForms, function: Switched, law: joint.JointLaw) -> tuple[str, sp.Expr]:
        name, value = rule(self, function, law)
        return name, change(value) if law.r in function.expression.free_symbols and law.perp != 0 else value

    monkeypatch.setattr(joint.JointForms, "_expect", wrong)
    assert "quadrature" in derive(RELU).rules["R"]


@pytest.mark.parametrize(
    "model",
    [
        Model(Loss("Max(0, 1 - y*r)"), Labels(), L2Adversary()),
        Model(Loss("Abs(r - y) + (r - y)**2"), Labels()),
    ],
)
def test_a_point_mass_that_is_wrong_is_taken_from_panels_instead(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    right = derive(model)
    jumps = expectation.jumps

    def doubled(*arguments: Any, **keywords: Any) -> list[Any]:
        return [replace(jump, size=2 * jump.size) for jump in jumps(*arguments, **keywords)]

    monkeypatch.setattr(expectation, "jumps", doubled)
    limit = derive(model)
    assert not right.quadratures
    assert limit.quadratures
    kernels = [load_kernel(model, limit=found, backend="numpy") for found in (right, limit)]
    score = np.array([{"n": 0.8, "m": 0.4, "Q": 1.3}[name] for name in kernels[0].score])
    values = [k.evaluate_coefficients(score, -1.0, np.array([0.3] * len(k.parameters))) for k in kernels]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-12)
