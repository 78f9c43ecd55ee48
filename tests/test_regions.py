"""Piecewise polynomials of score and label: regions of their plane, against what is written from the loss alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from sgdlimit.derive import L2Adversary, Loss, Model, Teacher, derive
from sgdlimit.derive.regions import RULE, sorting_network
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.kernel import Kernel, load_kernel
from sgdlimit.runtime.rule_check import self_check

Array = NDArray[np.float64]

PLAIN = Model(Loss("(r**2 - y**2)**2/4"), Teacher("r_star"), L2Adversary())
NOISY = Model(Loss("(r**2 - y**2)**2/4"), Teacher("r_star + 0.5*xi"), L2Adversary())
PARABOLA = Model(Loss("(r**2 - y)**2/2"), Teacher("0.5*r_star + 1"), L2Adversary())
CORNER = Model(Loss("(r - y)**2/2 + 0.3*Abs(r)"), Teacher("r_star + 0.5*xi"), L2Adversary())

# score and label given what a state says: (label's slope, constant, noise), and the loss's stationary point between ends
CASES: dict[str, tuple[Model, Callable[[Array, Array], Array], tuple[float, float, float], bool]] = {
    "quartic": (PLAIN, lambda r, y: (r**2 - y**2) ** 2 / 4, (1.0, 0.0, 0.0), True),
    "quartic, noise": (NOISY, lambda r, y: (r**2 - y**2) ** 2 / 4, (1.0, 0.0, 0.5), True),
    "parabola": (PARABOLA, lambda r, y: (r**2 - y) ** 2 / 2, (0.5, 1.0, 0.0), True),
    "corner": (CORNER, lambda r, y: (r - y) ** 2 / 2 + 0.3 * np.abs(r), (1.0, 0.0, 0.5), False),
}
STATE = {"m": 0.4, "m_star": -0.3, "Q_star": 1.3, "beta": 0.7, "Q_perp": 0.5, "n": 1.1, "epsilon": 0.6}


def coefficients(kernel: Kernel, changed: dict[str, float]) -> dict[str, float]:
    """By name, at the state with some numbers changed."""
    state = {**STATE, "tau": 0.0, **changed}
    state["dm"], state["beta1"] = state["m"] - state["m_star"], state["beta"] - 1
    state["Q"] = state["Q_perp"] + state["beta"] ** 2 * state["Q_star"]
    score = np.array([state[name] for name in kernel.score])
    given = np.array([state[name] for name in kernel.parameters])
    found = kernel.evaluate_coefficients(score, 0.0, given)
    return dict(zip(kernel.coefficients, map(float, found), strict=True))


def risk_by_a_grid(name: str) -> float:
    """``E sup f`` over a fine grid of both variables; the supremum over both ends and the stationary point 0."""
    _, f, (slope, constant, noise), has_top = CASES[name]
    s = STATE
    grid, step = np.linspace(-8.5, 8.5, 2401, retstep=True)
    z, w = grid[:, None], grid[None, :]
    spread = math.sqrt(slope**2 * s["Q_star"] + noise**2)
    y = slope * s["m_star"] + constant + spread * z
    # of r on y
    rate = s["beta"] * s["Q_star"] * slope / spread**2
    rest = math.sqrt(s["Q_perp"] + s["beta"] ** 2 * s["Q_star"] - rate**2 * spread**2)
    r = s["m"] + rate * spread * z + rest * w
    reach = s["epsilon"] * s["n"]
    worst = np.maximum(f(r + reach, y), f(r - reach, y))
    if has_top:
        worst = np.where(np.abs(r) < reach, np.maximum(worst, f(0 * r, y)), worst)
    return float((worst * np.exp(-(z**2 + w**2) / 2)).sum() * step**2 / (2 * math.pi))


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("quartic", "c"),
        ("quartic", "numpy"),
        *(
            pytest.param(name, backend, marks=pytest.mark.long)
            for backend in ("c", "numpy")
            for name in CASES
            if name != "quartic"
        ),
    ],
)
def test_values_are_those_of_a_grid_and_slopes_those_of_values(name: str, backend: str) -> None:
    if backend == "c" and find_compiler() is None:
        pytest.skip("no C compiler")
    model = CASES[name][0]
    assert RULE in derive(model).rules["B"]
    kernel = load_kernel(model, backend=backend)
    found = coefficients(kernel, {})
    assert found["R"] == pytest.approx(risk_by_a_grid(name), rel=3e-6)
    h = 1e-4

    def slope(**step: float) -> float:
        ends = [coefficients(kernel, {k: STATE[k] + sign * e for k, e in step.items()})["R"] for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * h)

    assert found["A"] == pytest.approx(slope(m=h), rel=1e-6)
    assert found["F"] == pytest.approx(slope(n=h), rel=1e-6)
    assert found["B"] == pytest.approx(2 * slope(Q_perp=h), rel=1e-6)
    # c moves beta and, with Q fixed, Q_perp
    c, Q_star, beta = STATE["beta"] * STATE["Q_star"], STATE["Q_star"], STATE["beta"]
    ends = []
    for sign in (1, -1):
        moved = (c + sign * h) / Q_star
        Q_perp = STATE["Q_perp"] + (beta**2 - moved**2) * Q_star
        ends.append(coefficients(kernel, {"beta": moved, "Q_perp": Q_perp})["R"])
    assert found["D"] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
@pytest.mark.parametrize(
    "name", [name if name == "quartic" else pytest.param(name, marks=pytest.mark.long) for name in CASES]
)
def test_a_finer_rule_agrees_to_1e10(name: str) -> None:
    model = CASES[name][0]
    check = self_check(derive(model), load_kernel(model, backend="c"))
    assert check.states == 20
    assert max(d.relative for d in check.differences) < 1e-10


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
def test_without_reach_f_of_a_corner_is_the_mean_size_of_the_slope() -> None:
    """At ``n = 0`` both ends are one, and ``∂_n f_adv`` is ``ε |f'(r)|``: a tie that the ends' limit decides."""
    found = coefficients(load_kernel(CORNER, backend="c"), {"n": 0.0})
    s = STATE
    grid, step = np.linspace(-9, 9, 400_001, retstep=True)
    spread = math.sqrt(s["Q_perp"] + s["beta"] ** 2 * s["Q_star"])
    r = s["m"] + spread * grid
    back = s["beta"] * s["Q_star"] / spread**2
    rest = math.sqrt(s["Q_star"] - back**2 * spread**2 + 0.25)
    mean = r - (s["m_star"] + back * (r - s["m"])) + 0.3 * np.sign(r)
    t = mean / rest
    size = rest * math.sqrt(2 / math.pi) * np.exp(-(t**2) / 2) + mean * np.array(
        [math.erf(e / math.sqrt(2)) for e in t]
    )
    expected = s["epsilon"] * float((size * np.exp(-(grid**2) / 2)).sum() * step / math.sqrt(2 * math.pi))
    # the jump of the slope at r = 0 is worth 1e-6 on this grid
    assert found["F"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", range(1, 13))
def test_the_network_sorts(count: int) -> None:
    """What sorts all zeros and ones sorts everything."""
    pairs = list(sorting_network(count))
    for bits in range(2**count):
        values = [bits >> k & 1 for k in range(count)]
        for low, high in pairs:
            values[low], values[high] = min(values[low], values[high]), max(values[low], values[high])
        assert values == sorted(values)
