"""The claims of notebooks/03-adversarial-least-squares.ipynb, with numbers (docs/theory.md §6)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

import sgdlimit as sl
from sgdlimit.runtime.compiler import find_compiler

Array = NDArray[np.float64]

ADVERSARIAL = sl.Model(sl.Loss("(r - y)**2/2"), sl.Teacher("r_star + sigma*xi"), sl.L2Adversary())
STANDARD = sl.Model(sl.Loss("(r - y)**2/2"), sl.Teacher("r_star + sigma*xi"))
A = math.sqrt(2 / math.pi)
LAM = np.linspace(0.2, 1.8, 40)
TEACHER = np.full(40, 40**-0.5)
THRESHOLD = 2 * LAM[0] / (LAM**2).mean()

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler: would take minutes")


def started(start: Array) -> sl.Instance:
    return sl.Instance(probabilities=[1], eigenvalues=[LAM], means=0, teacher=TEACHER, start=start, dimension=math.inf)


# ── Monotone descent ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("epsilon", "sigma"), [(0.5, 0.3), (0.0, 0.3), (1.0, 0.0), (0.05, 0.1)])
def test_every_constant_learning_rate_climbs_from_the_minimiser(epsilon: float, sigma: float) -> None:
    """``dℛ/dt = γ² W > 0`` at ``X°``, with ``W`` from the formulas of §6, and the risk stays above the minimum."""
    values = {"epsilon": epsilon, "sigma": sigma}
    best = sl.optimum(ADVERSARIAL, started(0 * TEACHER), values)
    assert best.adversarial_risk > 0
    s, n = math.sqrt(LAM @ (best.x - TEACHER) ** 2 + sigma**2), float(np.linalg.norm(best.x))
    H = LAM * (1 + A * epsilon * n / s) + epsilon * (A * s + epsilon * n) / n
    W = float(H @ (LAM * 2 * best.adversarial_risk / 40)) / 2
    for gamma in (1e-3, 0.1, 1.0):
        short = 1e-4 / max(gamma, 0.01)
        curve = sl.solve(
            ADVERSARIAL, started(best.x), sl.Constant(gamma), values, times=[0, short, 0.1, 3.0], reference=best
        )
        climbed = curve["excess_risk"][1] - curve["excess_risk"][0]
        assert climbed == pytest.approx(gamma**2 * W * short, rel=0.02)
        assert (curve["excess_risk"][1:] > 0).all()


@pytest.mark.parametrize("gamma", [0.02, 0.3, 1.0])
def test_a_descent_at_a_constant_learning_rate_ends_above_the_minimum(gamma: float) -> None:
    values = {"epsilon": 0.5, "sigma": 0.3}
    best = sl.optimum(ADVERSARIAL, started(0 * TEACHER), values)
    curve = sl.solve(
        ADVERSARIAL, started(2 * TEACHER), sl.Constant(gamma), values, times=[0, 200 / gamma], reference=best
    )
    rest = sl.rest_point(ADVERSARIAL, started(0 * TEACHER), sl.Constant(gamma), values)
    assert curve["excess_risk"][-1] == pytest.approx(rest.adversarial_risk - best.adversarial_risk, rel=1e-5)
    assert curve["excess_risk"][-1] > 1e-3 * gamma


def random_starts(count: int) -> list[Array]:
    """Of all kinds: along single eigenvectors and across all of them, near and far."""
    rng = np.random.default_rng(1)
    directions = [*np.eye(40)[[0, 1, 20, 39]], *rng.standard_normal((count, 40))]
    return [TEACHER + direction * 10 ** rng.uniform(-3, 1) for direction in directions]


@pytest.mark.parametrize("fraction", [0.1, 0.9, 0.999, 1.001, 1.5])
def test_without_noise_the_distance_falls_exactly_below_two_over_the_mean_eigenvalue(fraction: float) -> None:
    """From every start: ``d‖X − X*‖²/dt = −2γ(2 − γλ̄) ℛ``."""
    gamma = fraction * 2 / LAM.mean()
    for start in random_starts(4):
        curve = sl.solve(STANDARD, started(start), sl.Constant(gamma), {"sigma": 0.0}, times=np.linspace(0, 3, 121))
        distance, risk = curve["distance2"], curve["adversarial_risk"]
        assert (np.diff(distance) < 0).all() == (fraction < 1)
        assert (np.diff(distance) > 0).all() == (fraction > 1)
        fallen = -2 * gamma * (2 - gamma * LAM.mean()) * CubicSpline(curve.times, risk).integrate(0, 3)
        assert distance[-1] - distance[0] == pytest.approx(fallen, rel=1e-3)


def test_without_noise_the_risk_tends_to_zero_below_two_over_the_mean_eigenvalue() -> None:
    gamma = 0.9 * 2 / LAM.mean()
    for start in random_starts(2):
        curve = sl.solve(STANDARD, started(start), sl.Constant(gamma), {"sigma": 0.0}, times=[0, 150.0])
        assert curve["adversarial_risk"][1] < 1e-8 * curve["adversarial_risk"][0]


def test_without_noise_the_risk_falls_from_every_start_exactly_at_small_learning_rates() -> None:
    """``γ ≤ 2 λ_min/mean(λ²)``; above, it rises first from a start along the eigenvector of ``λ_min``."""
    times = np.linspace(0, 3, 301)

    def rises(start: Array, fraction: float) -> bool:
        rate = sl.Constant(fraction * THRESHOLD)
        risk = sl.solve(STANDARD, started(start), rate, {"sigma": 0.0}, times=times, rtol=1e-10)["adversarial_risk"]
        assert risk[-1] < risk.max()
        return bool((np.diff(risk) > 1e-12 * risk[0]).any())

    assert 2 / LAM.mean() > THRESHOLD * 4
    for start in random_starts(6):
        assert not rises(start, 0.99)
    worst = TEACHER + np.eye(40)[0]
    assert rises(worst, 1.2)
    assert rises(worst, 4.0)
    # any other eigenvector tolerates more
    assert not rises(TEACHER + np.eye(40)[5], 1.2)


# ── The equivalent standard problem ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("epsilon", "sigma"), [(0.02, 0.0), (0.1, 0.0), (0.4, 0.1), (1.0, 0.5)])
def test_it_is_standard_least_squares_with_an_adaptive_learning_rate_and_ridge(epsilon: float, sigma: float) -> None:
    """Modes of ridge least squares, integrated by SciPy at ``γB(t)`` and ``δ(t)``, are those of the adversarial flow;
    its noise ``2ℛ`` is between 1 and π/2 times that of the standard problem."""
    gamma, times = 0.2, np.linspace(0, 400, 4001)
    values = {"epsilon": epsilon, "sigma": sigma}
    start = started(0.7 * TEACHER[::-1] * np.where(np.arange(40) % 3, 1, -1))
    curve = sl.solve(ADVERSARIAL, start, sl.Constant(gamma), values, times=times, modes=True)
    s, n = np.sqrt(2 * curve["clean_risk"]), np.sqrt(curve["norm2"])
    B = 1 + A * epsilon * n / s
    delta = epsilon * (A * s + epsilon * n) / n / B
    np.testing.assert_allclose(curve["effective_ridge"], delta, rtol=1e-9)
    ratio = 2 * curve["adversarial_risk"] / (B * s) ** 2
    z = epsilon * n / s
    np.testing.assert_allclose(ratio, (1 + 2 * A * z + z**2) / (1 + A * z) ** 2, rtol=1e-9)
    assert (ratio >= 1).all()
    assert (ratio < math.pi / 2).all()
    if sigma == 0 and epsilon < 0.2:
        assert ratio.max() > 1.4  # the bound is no empty one

    assert curve.modes is not None
    x, v = curve.modes
    rate, ridge, excess = (CubicSpline(times, y) for y in (gamma * B, delta, ratio))

    def standard(t: float, state: Array) -> Array:
        mean, variance = state.reshape(2, 40)
        s2 = LAM @ ((mean - TEACHER) ** 2 + variance) + sigma**2
        noise = rate(t) ** 2 * LAM / 40 * excess(t) * s2
        return np.concatenate(
            [
                -rate(t) * (LAM * (mean - TEACHER) + ridge(t) * mean),
                -2 * rate(t) * (LAM + ridge(t)) * variance + noise,
            ]
        )

    end = 40.0
    found = solve_ivp(standard, (0, end), np.concatenate([x[0], v[0]]), rtol=1e-8, atol=1e-10).y[:, -1]
    at = int(np.searchsorted(times, end))
    np.testing.assert_allclose(found[:40], x[at], atol=2e-6)
    np.testing.assert_allclose(found[40:], v[at], atol=2e-6)


def test_the_noise_ratio_is_between_one_and_half_pi_for_every_residual() -> None:
    z = np.geomspace(1e-6, 1e6, 1001)
    ratio = (1 + 2 * A * z + z**2) / (1 + A * z) ** 2
    assert (ratio >= 1).all()
    assert (np.diff(ratio) >= 0).all()
    assert ratio[-1] < math.pi / 2
    assert ratio[-1] == pytest.approx(math.pi / 2, rel=1e-5)


# ── At rest ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("epsilon", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("exponent", [-1.0, 0.5])
def test_the_limiting_iterate_is_a_ridge_solution(epsilon: float, exponent: float) -> None:
    """From a long solve, from the fixed point, and from a linear system with the limiting ridge."""
    instance = sl.Instance.power_law(100, exponent=exponent)
    values = {"epsilon": epsilon, "sigma": 0.3}
    rest = sl.rest_point(ADVERSARIAL, instance, sl.Constant(0.5), values)
    curve = sl.solve(ADVERSARIAL, instance, sl.Constant(0.5), values, times=[1000.0, 3000.0])
    assert instance.teacher is not None
    C = np.diag(instance.eigenvalues[0])
    for mean, delta in ((rest.mean, rest.effective_ridge), (curve.final.mean, curve["effective_ridge"][-1])):
        ridge = np.linalg.solve(C + delta * np.eye(100), C @ instance.teacher)
        np.testing.assert_allclose(mean, ridge, atol=1e-9)
    assert curve["effective_ridge"][-1] == pytest.approx(rest.effective_ridge, rel=1e-7)
    assert curve["adversarial_risk"][-1] == pytest.approx(rest.adversarial_risk, rel=1e-7)


def test_the_risk_at_rest_grows_with_the_learning_rate_and_the_radius_from_the_minimum() -> None:
    risks = np.empty((4, 6))
    for i, epsilon in enumerate((0.0, 0.2, 0.5, 1.0)):
        values = {"epsilon": epsilon, "sigma": 0.5}
        best = sl.optimum(ADVERSARIAL, started(0 * TEACHER), values)
        for j, gamma in enumerate((1e-5, 0.1, 0.3, 0.6, 1.0, 1.4)):
            rest = sl.rest_point(ADVERSARIAL, started(0 * TEACHER), sl.Constant(gamma), values)
            risks[i, j] = rest.adversarial_risk
        assert risks[i, 0] == pytest.approx(best.adversarial_risk, rel=1e-4)
        assert risks[i, 0] > best.adversarial_risk
    assert (np.diff(risks, axis=0) > 0).all()
    assert (np.diff(risks, axis=1) > 0).all()


def sgd_at_rest(gamma: float, epsilon: float, d: int, runs: int, times: Array) -> list[tuple[float, float, float]]:
    """Mean over late times and runs, its standard error over runs, and the fixed point: of the risk and the overlap."""
    instance = sl.Instance(
        probabilities=[1], eigenvalues=[np.linspace(0.5, 1.5, d)], means=0,
        teacher=np.full(d, d**-0.5), start=np.full(d, d**-0.5),
    )  # fmt: skip
    values = {"epsilon": epsilon, "sigma": 0.5}
    ensemble = sl.simulate(ADVERSARIAL, instance, sl.Constant(gamma), values, times=times, runs=runs, seed=3)
    rest = sl.rest_point(ADVERSARIAL, instance, sl.Constant(gamma), values)
    assert instance.teacher is not None
    limits = {"adversarial_risk": rest.adversarial_risk, "overlap": float(rest.mean @ instance.teacher)}
    found = []
    for name, limit in limits.items():
        by_run = ensemble[name].mean(axis=1)
        found.append((float(by_run.mean()), float(by_run.std(ddof=1) / math.sqrt(runs)), limit))
    return found


@needs_compiler
def test_streaming_sgd_rests_where_the_fixed_point_says() -> None:
    """Within 5 standard errors and the ``O(1/d)`` bias, 4/d. False alarms: below 1e-4 (16 runs: Student's t)."""
    for mean, error, limit in sgd_at_rest(0.6, 0.5, 200, 16, np.arange(30.0, 51.0, 4)):
        assert error < 0.01 * limit
        assert abs(mean - limit) < 6.5 * error + 4 / 200 * limit


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("gamma", [0.2, 0.6, 1.0, 1.4])
@pytest.mark.parametrize("epsilon", [0.0, 0.2, 0.5, 1.0])
def test_streaming_sgd_rests_on_the_curves_of_the_fixed_point(gamma: float, epsilon: float) -> None:
    """At d = 800. False alarms: below 1e-4 in all (32 runs)."""
    for mean, error, limit in sgd_at_rest(gamma, epsilon, 800, 32, np.arange(40.0, 81.0, 4)):
        assert error < 0.01 * limit
        assert abs(mean - limit) < 6 * error + 4 / 800 * limit
