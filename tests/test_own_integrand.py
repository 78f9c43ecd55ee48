"""A closed form is accepted only where the quadrature of its own integrand confirms it."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp

from sgdlimit.derive import L2Adversary, Labels, Loss, Model, Teacher, closed_forms, derive, own_integrand
from sgdlimit.derive.closed_forms import Kinks, closed_form
from sgdlimit.derive.convert import Switch, Switched
from sgdlimit.derive.functions import Branch
from sgdlimit.derive.own_integrand import agrees
from sgdlimit.derive.quadrature import ScoreLaw

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
