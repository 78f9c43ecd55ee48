"""Losses with corners under an adversary: coefficients against high precision, and against each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from corner_reference import NAMES, Pieces, label_coefficients
from mpmath import mp, mpf
from numpy.typing import NDArray

from sgdlimit.derive import L2Adversary, Labels, Loss, Model, RandomLabels, Teacher, derive
from sgdlimit.derive.errors import DerivationError
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.kernel import Kernel, load_kernel

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")

WEIGHT = 0.3
HALF = mpf(1) / 2
NOISY = Teacher("r_star + sigma*xi")
PENALISED = "(r - y)**2/2 + lam*Abs(r)"


def penalised(y: float) -> Pieces:
    return Pieces((mpf(0),), tuple((HALF, -mpf(y) + side * mpf(WEIGHT), mpf(y) ** 2 / 2) for side in (-1, 1)))


def absolute_and_hinge(y: float) -> Pieces:
    return Pieces((mpf(y), mpf(y) + 1), ((0, -1, mpf(y)), (0, 1, -mpf(y)), (0, 2, -2 * mpf(y) - 1)))


def two_hinges(y: float) -> Pieces:
    return Pieces((mpf(y) - 1, mpf(y)), ((0, -2, 2 * (mpf(y) - 1)), (0, 0, 0), (0, 1, -mpf(y))))


def amplitude(y: float) -> Pieces:
    return Pieces((mpf(0),), tuple((HALF, side * mpf(y), mpf(y) ** 2 / 2) for side in (1, -1)))


def clipped(y: float) -> Pieces:
    low, high = mpf(y) ** 2 / 2, (1 - mpf(y)) ** 2 / 2
    return Pieces((mpf(0), mpf(1)), ((0, 0, low), (HALF, -mpf(y), low), (0, 0, high)))


def capped(y: float) -> Pieces:
    with mp.workdps(60):
        ends = tuple(mpf(y) - mpf(1) / 4 + side * mp.sqrt(mpf(17) / 16) for side in (-1, 1))
        return Pieces(ends, ((0, 0, 1), (1, HALF - 2 * mpf(y), mpf(y) ** 2 - mpf(y) / 2), (0, 0, 1)))


def square_or_line(y: float) -> Pieces:
    square = (1, -2 * mpf(y), mpf(y) ** 2)
    return Pieces((mpf(y), mpf(y) + 1), (square, (0, 1, -mpf(y)), square))


LOSSES: dict[str, Callable[[float], Pieces]] = {
    PENALISED: penalised,
    "Abs(r - y) + Max(0, r - y - 1)": absolute_and_hinge,
    "Max(0, r - y) + 2*Max(0, y - r - 1)": two_hinges,
    "(Abs(r) - y)**2/2": amplitude,
    "(Min(1, Max(0, r)) - y)**2/2": clipped,
    "Min(1, (r - y)**2 + (r - y)/2)": capped,
    "Max((r - y)**2, r - y)": square_or_line,
}

# epsilon, n, Q, m, y: ordinary; a corner that meets the tie between the endpoints; no radius, by either factor; a tiny
# one; kinks within a deviation at a small variance; a large variance, a large radius; the mean on a corner, and far out.
STATES = (
    (0.4, 1.1, 0.3, 0.37, 0.5),
    (0.25, 2.0, 4.0, 0.5, 1.0),
    (0.0, 1.0, 0.3, -0.2, 1.0),
    (0.7, 0.0, 4.0, 0.37, 1.0),
    (1e-9, 1.0, 0.3, 0.1, -1.0),
    (0.5, 1.0, 1e-6, 0.5007, 0.25),
    (0.3, 1.0, 1e4, 9.7, -1.0),
    (5.0, 2.0, 4.0, -1.3, 0.2),
    (0.4, 1.0, 1.0, 0.0, 0.0),
    (0.4, 1.0, 0.25, 4.0, 1.0),
)


@cache
def kernel_of(loss: str, target: Labels | Teacher, backend: str = "c") -> Kernel:
    return load_kernel(Model(Loss(loss), target, L2Adversary()), backend=backend)


def evaluate(kernel: Kernel, state: dict[str, float], y: float = 0.0, **parameters: float) -> NDArray[np.float64]:
    given = {"tau": 0.0, "lam": WEIGHT, **parameters}
    score = np.array([state[name] for name in kernel.score])
    return kernel.evaluate_coefficients(score, y, np.array([given[p] for p in kernel.parameters]))


def errors_under_labels(loss: str, backend: str, states: tuple[tuple[float, ...], ...]) -> dict[str, float]:
    """The largest ``|error|/E|integrand|`` of each coefficient."""
    kernel, largest = kernel_of(loss, Labels(), backend), dict.fromkeys(NAMES, 0.0)
    for epsilon, n, Q, m, y in states:
        got = evaluate(kernel, {"n": n, "m": m, "Q": Q}, y, epsilon=epsilon)
        value, size = label_coefficients(LOSSES[loss](y), m, Q, n, epsilon)
        for name, number in zip(kernel.coefficients, got, strict=True):
            error = abs(mpf(float(number)) - value[name]) if np.isfinite(number) else mpf("inf")
            share = error / size[name] if size[name] > 1e-28 else (mpf(0) if error < 1e-28 else mpf("inf"))
            largest[name] = max(largest[name], float(share))
    return largest


SLOW = ("Max((r - y)**2, r - y)", "Max(0, r - y) + 2*Max(0, y - r - 1)", "Min(1, (r - y)**2 + (r - y)/2)")


@pytest.mark.parametrize("loss", [pytest.param(e, marks=pytest.mark.long) if e in SLOW else e for e in LOSSES])
def test_coefficients_under_labels_hold_1e10_of_the_mean_absolute_integrand(loss: str) -> None:
    found = errors_under_labels(loss, "c", STATES)
    assert max(found.values()) < 1e-10, found


def test_numpy_takes_the_same_jumps() -> None:
    found = errors_under_labels(PENALISED, "numpy", STATES[::3])
    assert max(found.values()) < 1e-10, found


TEACHER_STATES = (
    {"n": 1.1, "m_star": 0.2, "Q_star": 0.9, "m": -0.3, "beta": 0.4, "Q_perp": 0.5},
    {"n": 0.8, "m_star": -0.4, "Q_star": 0.6, "m": 0.5, "beta": -0.3, "Q_perp": 0.9},
    {"n": 0.0, "m_star": -0.4, "Q_star": 0.6, "m": 0.5, "beta": -0.3, "Q_perp": 0.9},
)


def summary(state: dict[str, float]) -> dict[str, float]:
    return {**state, "dm": state["m"] - state["m_star"], "beta1": state["beta"] - 1}


@pytest.mark.filterwarnings("ignore:self-check MISSED")  # near n = 0 and X* (docs/numerics.md)
@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (PENALISED, NOISY),
        pytest.param(PENALISED, Teacher("tanh(r_star)"), marks=pytest.mark.long),
        pytest.param("(Min(1, Max(0, r)) - y)**2/2", NOISY, marks=pytest.mark.long),
        pytest.param("(Abs(r) - y)**2/2", NOISY, marks=pytest.mark.long),
    ],
)
def test_price_identities_hold_under_a_teacher(loss: str, target: Teacher) -> None:
    """`docs/theory.md` §2.2, by differences of ``R`` alone, of fourth order."""
    step, kernel = 4e-3, kernel_of(loss, target)
    for state in TEACHER_STATES:

        def rate(key: str, state: dict[str, float] = state) -> float:
            near, far = (
                np.subtract(*(evaluate(kernel, summary({**state, key: state[key] + h}), epsilon=0.4, sigma=0.5)[0]
                              for h in (width, -width)))
                for width in (step, 2 * step)
            )  # fmt: skip
            return float(8 * near - far) / (12 * step)

        _, A, B, D, *_ = evaluate(kernel, summary(state), epsilon=0.4, sigma=0.5)
        by_variance = rate("Q_perp")
        expected = [rate("m"), 2 * by_variance, rate("beta") / state["Q_star"] - 2 * state["beta"] * by_variance]
        np.testing.assert_allclose([A, B, D], expected, rtol=2e-9, atol=2e-9)


@pytest.mark.filterwarnings("ignore:self-check MISSED")  # near n = 0 and X* (docs/numerics.md)
@pytest.mark.parametrize("sigma", [0.5, 0.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.4])
def test_an_iterate_parallel_to_the_teacher_is_the_limit_of_those_that_are_nearly(sigma: float, epsilon: float) -> None:
    kernel = kernel_of(PENALISED, NOISY)
    parallel, nearly, less = (
        evaluate(kernel, summary({**TEACHER_STATES[0], "Q_perp": variance}), epsilon=epsilon, sigma=sigma)
        for variance in (0.0, 1e-16, 1e-6)
    )
    np.testing.assert_allclose(nearly, parallel, rtol=1e-10)
    np.testing.assert_allclose(less, parallel, rtol=1e-4)
    assert (less != parallel).any()


@pytest.mark.filterwarnings("ignore:self-check MISSED")  # near n = 0 and X* (docs/numerics.md)
def test_without_a_radius_the_adversary_is_none() -> None:
    standard = load_kernel(Model(Loss(PENALISED), NOISY), backend="c")
    for state in TEACHER_STATES:
        score = np.array([summary(state)[name] for name in standard.score])
        given = {"tau": 0.0, "lam": WEIGHT, "sigma": 0.5}
        expected = standard.evaluate_coefficients(score, 0.0, np.array([given[p] for p in standard.parameters]))
        got = evaluate(kernel_of(PENALISED, NOISY), summary(state), epsilon=0.0, sigma=0.5)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-14)


WELLS = "(r**2 - y)**2/4"


@pytest.mark.parametrize("y", [1.0, -1.0])
def test_maxima_at_roots_that_may_vanish_compete(y: float) -> None:
    """By a sum over a fine grid with the supremum from every candidate, and by differences of the risk."""
    epsilon, n, m, Q, step = 0.6, 1.0, 0.2, 0.4, 4e-3
    kernel = kernel_of(WELLS, Labels())

    def f(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return (r**2 - y) ** 2 / 4

    def at(m: float = m, Q: float = Q, n: float = n) -> NDArray[np.float64]:
        return evaluate(kernel, {"m": m, "Q": Q, "n": n}, y, epsilon=epsilon)

    z = np.linspace(-12, 12, 2_400_001)
    r = m + np.sqrt(Q) * z
    worst = np.maximum(f(r + epsilon * n), f(r - epsilon * n))
    worst = np.where(np.abs(r) < epsilon * n, np.maximum(worst, f(0 * r)), worst)
    risk = np.sum(worst * np.exp(-(z**2) / 2)) * (z[1] - z[0]) / np.sqrt(2 * np.pi)

    def rate(name: str, value: float) -> float:
        near, far = (at(**{name: value + h})[0] - at(**{name: value - h})[0] for h in (step, 2 * step))
        return float(8 * near - far) / (12 * step)

    R, A, B, _, F, _ = at()
    np.testing.assert_allclose(R, risk, rtol=1e-9)
    np.testing.assert_allclose([A, B, F], [rate("m", m), 2 * rate("Q", Q), rate("n", n)], rtol=1e-7)


def test_maxima_that_come_and_go_with_a_label_that_varies_are_refused() -> None:
    with pytest.raises(DerivationError, match="roots of an expression in y"):
        derive(Model(Loss("r**4/4 - r**3*y/3 + r**2/2"), NOISY, L2Adversary()))


def test_more_kinks_than_can_be_told_apart_under_every_label_are_refused() -> None:
    for loss, target in (
        ("Max(0, r**2 - y)**2", RandomLabels("sigmoid(r_star)")),
        ("Abs(r**2 - y)", Teacher("sign(r_star + sigma*xi)")),
        ("Max(0, Max(0, r) - y)**2 + 0.3*Max(0, y*r)**2", NOISY),
    ):
        with pytest.raises(DerivationError, match=r"the loss has (10|14) kinks, and the most is 7 where the label"):
            derive(Model(Loss(loss), target, L2Adversary()))


def test_noise_added_to_a_nonlinear_teacher_is_refused() -> None:
    with pytest.raises(DerivationError, match="adds noise to a nonlinear function") as caught:
        derive(Model(Loss(PENALISED), Teacher("tanh(r_star) + sigma*xi"), L2Adversary()))
    assert caught.value.where == "teacher"
    assert caught.value.remedy


def test_the_document_tells_of_the_jumps() -> None:
    text = derive(Model(Loss("Abs(r - y) + Max(0, r - y - 1)"), Labels(), L2Adversary())).markdown()
    assert "a point mass wherever the slope jumps" in text


# ── Kinks that coincide, to the last bit ────────────────────────────────────────────────────────────────────────────

TIED = (
    ("Max(0, Abs(r - y) - a)", NOISY, L2Adversary()),
    ("Max(0, Abs(r - y) - a)", RandomLabels("0.9*sigmoid(2*r_star) + 0.05"), L2Adversary()),
    ("Max(0, r - y - a)*Max(0, r - y - b)", NOISY, None),
    ("Max(0, r - y - a)**2 - Max(0, r - y - b)", NOISY, None),
    ("Max(0, Min(r - y - a, 2*(r - y - b)))", NOISY, None),
    ("Max(a - y*r, 2*(b - y*r), 0)", Labels(), L2Adversary()),
    ("Max(0, r - a)*Max(0, r - b)*exp(-r) + y*r", Labels(), None),
)


@pytest.mark.parametrize(("loss", "target", "adversary"), TIED)
def test_where_kinks_coincide_coefficients_are_the_limit_of_those_where_they_do_not(
    loss: str, target: Teacher | RandomLabels | Labels, adversary: L2Adversary | None
) -> None:
    kernel = load_kernel(Model(Loss(loss), target, adversary), backend="numpy")
    beta = 0.6

    def evaluate(kappa: float, a: float, b: float) -> NDArray[np.float64]:
        score = {"n": kappa, "m": 0.2, "m_star": -0.1, "Q": 0.86, "Q_star": 1.0, "Q_perp": 0.5}
        score |= {"beta": beta, "beta1": beta - 1, "dm": score["m"] - score["m_star"]}
        values = {"epsilon": 1.0, "tau": 0.0, "sigma": 0.3, "a": a, "b": b}
        parameters = np.array([values[p] for p in kernel.parameters])
        return kernel.evaluate_coefficients(np.array([score[s] for s in kernel.score]), 1.0, parameters)

    at_once = evaluate(0.5, 0.5, 0.5)
    assert np.max(np.abs(at_once)) > 0.1
    for side in (-1, 1):
        np.testing.assert_allclose(at_once, evaluate(0.5, 0.5, 0.5 + side * 1e-9), rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(at_once, evaluate(0.5 + side * 1e-9, 0.5, 0.5), rtol=1e-7, atol=1e-8)
