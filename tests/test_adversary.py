"""The located supremum over the adversary's shifts is the supremum, for non-convex losses drawn at random."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from sgdlimit.derive.adversary import adversarial
from sgdlimit.derive.convert import Switched, to_sympy
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.functions import textbook

POINTS = 4001


def tenths(low: float, high: float) -> st.SearchStrategy[str]:
    """Numbers with one decimal, as they are written."""
    return st.integers(round(10 * low), round(10 * high)).map(lambda k: f"({k / 10})")


@st.composite
def bowl_and_bump(draw: st.DrawFn) -> str:
    a, b, c = draw(tenths(0.1, 1)), draw(tenths(0.5, 2)), draw(tenths(-1, 1))
    return f"{a}*(r - y)**2 + {b}*exp(-(r - y - {c})**2)"


@st.composite
def two_bumps(draw: st.DrawFn) -> str:
    a, b, c, d = draw(tenths(0.5, 2)), draw(tenths(-2, 2)), draw(tenths(-2, 0)), draw(tenths(0.1, 2))
    return f"{a}*exp(-(r - y - {c})**2) + {b}*exp(-(r - y - {d})**2)"


@st.composite
def quartic(draw: st.DrawFn) -> str:
    a, b, c, d = draw(tenths(0.1, 1)), draw(tenths(-1, 1)), draw(tenths(-2, 1)), draw(tenths(-1, 1))
    return f"{a}*(r - y)**4 + {b}*(r - y)**3 + {c}*(r - y)**2 + {d}*(r - y)"


def value_of(switched: Switched, values: dict[str, float]) -> float:
    """The function at a point: its switches are resolved in order, a later one may use an earlier one."""
    point: dict[sp.Expr, sp.Expr] = {}
    expressions = [w.argument for w in switched.switches] + [switched.expression]
    for symbol in sorted(set().union(*(e.free_symbols for e in expressions)), key=str):
        if str(symbol) in values:
            point[symbol] = sp.Float(values[str(symbol)])
    for switch in switched.switches:
        argument = sp.N(textbook(switch.argument.xreplace(point)))
        point[switch.symbol] = sp.Integer(1 if argument >= 0 else -1)
    return float(sp.N(textbook(switched.expression.xreplace(point))))


def largest(f: Callable[[Any], Any], low: float, high: float) -> float:
    """The maximum on a grid, and on a grid of the same size between the neighbours of the best point."""
    for _ in range(2):
        grid = np.linspace(low, high, POINTS)
        values = f(grid)
        best = int(np.argmax(values))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, POINTS - 1)]
    return float(np.max(values))


@settings(max_examples=12, deadline=None)
@given(
    text=st.one_of(bowl_and_bump(), two_bumps(), quartic()),
    residuals=st.lists(st.floats(-3, 3, allow_subnormal=False), min_size=3, max_size=3),
    reach=st.floats(0.01, 2.5),
)
def test_the_located_supremum_is_the_largest_value_within_reach(
    text: str, residuals: list[float], reach: float
) -> None:
    loss = to_sympy(text, "loss")
    try:
        located = adversarial(loss)
    except DerivationError as refusal:
        pytest.fail(f"{text}: {refusal}")
    r, y = (next(s for s in loss.free_symbols if str(s) == name) for name in ("r", "y"))
    of_residual = sp.lambdify(r, textbook(loss).subs(y, 0), "numpy")
    for u in residuals:
        got = value_of(located.function, {"r": u + 0.3, "y": 0.3, "epsilon": reach / 0.8, "n": 0.8})
        wanted = largest(of_residual, u - reach, u + reach)
        assert abs(got - wanted) < 1e-9 * (1 + abs(wanted)), (text, u, reach, got, wanted)


@pytest.mark.parametrize("loss", ["sqrt(1 + (1 - y*r)**2)", "2*sqrt(1 + (1 - y*r)**2) - 1"])
def test_ends_are_compared_by_what_an_increasing_function_is_taken_of(loss: str) -> None:
    """A margin: no root or logarithm is in the comparison, and the larger end is found."""
    located = adversarial(to_sympy(loss, "loss"))
    assert located.case == "endpoints"
    (side,) = located.function.switches
    assert not side.argument.atoms(sp.log) | {e for e in side.argument.atoms(sp.Pow) if e.exp == sp.S.Half}
    f = sp.lambdify(sp.symbols("r y", real=True), textbook(to_sympy(loss, "loss")), "numpy")
    for r in np.linspace(-3, 3, 25):
        for y in (-1.5, 0.7):
            got = value_of(located.function, {"r": r, "y": y, "epsilon": 0.5, "n": 0.8})
            assert got == pytest.approx(max(f(r - 0.4, y), f(r + 0.4, y)), rel=1e-12)


@pytest.mark.parametrize("loss", ["tanh(r - y)**2", "tanh(r - y)**2*(1 + (r - y)**2)", "(r - y)*tanh(r - y)"])
def test_an_even_loss_that_saturates_is_no_oscillation(loss: str) -> None:
    assert adversarial(to_sympy(loss, "loss")).case == "even"


def test_rounding_on_a_plateau_is_no_local_maximum() -> None:
    located = adversarial(to_sympy("tanh(r - y)**2*(3/2 - exp(-(r - y - 2)**2))", "loss"))
    (place,) = re.findall(r"r = y \+ ([\d.]+)", located.statement)
    best = minimize_scalar(
        lambda u: -(np.tanh(u) ** 2) * (1.5 - np.exp(-((u - 2) ** 2))), bounds=(0.5, 1.9), options={"xatol": 1e-9}
    )
    assert float(place) == pytest.approx(best.x, abs=1e-7)
