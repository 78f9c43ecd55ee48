"""Coefficients of every catalogue model against references made from the definitions alone."""

from __future__ import annotations

import accuracy
import pytest

from sgdlimit.derive import derive
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.kernel import load_kernel
from sgdlimit.runtime.spec import catalogue, load_equations

NAMES = tuple(catalogue())
NESTED = (
    "adversarial-erf-regression",
    "adversarial-phase-retrieval",
    "hinge-logistic-labels",
    "logistic-labels",
    "poisson",
    "tanh-regression",
)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("name", NAMES)
def test_coefficients_in_c_hold_1e10_of_the_mean_absolute_integrand(name: str) -> None:
    found = accuracy.errors(name, load_kernel(load_equations(name).model, backend="c"))
    beyond = [e for e in found if not e.within]
    assert len(found) >= 40 * 5
    assert beyond == []


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long) if n in NESTED else n for n in NAMES])
def test_coefficients_in_numpy_hold_1e10_of_the_mean_absolute_integrand(name: str) -> None:
    every = 20
    found = accuracy.errors(name, load_kernel(load_equations(name).model, backend="numpy"), every)
    assert [e for e in found if not e.within] == []


@pytest.mark.parametrize(
    "name",
    [
        *("absolute", "pinball", "epsilon-insensitive", "adversarial-huber", "adversarial-least-squares"),
        *("hinge", "squared-hinge", "smoothed-hinge", "ramp", "exponential", "least-squares", "three-classes"),
        *("erf-regression", "relu-regression", "phase-retrieval"),
    ],
)
def test_what_has_a_closed_form_gets_it(name: str) -> None:
    """Piecewise polynomials and exponentials of one linear form; erf, ReLU–ReLU and phase retrieval without adversary."""
    assert derive(load_equations(name).model).quadratures == ()
