"""The claims of notebooks/04-step-sizes.ipynb, with numbers (docs/theory.md §4 and §6)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq

import sgdlimit as sl
from sgdlimit.runtime.compiler import find_compiler

Array = NDArray[np.float64]

ADVERSARIAL = sl.Model(sl.Loss("(r - y)**2/2"), sl.Teacher("r_star + sigma*xi"), sl.L2Adversary())
STANDARD = sl.Model(sl.Loss("(r - y)**2/2"), sl.Teacher("r_star + sigma*xi"))
A = math.sqrt(2 / math.pi)
ISOTROPIC = -math.inf  # as an exponent of a power law on (0, 1]: all of it at 1

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler: would take minutes")


# ── Noiseless standard least squares ────────────────────────────────────────────────────────────────────────


def limiting_line_search(low: float, high: float) -> float:
    """Where the squared deviations of both eigenvalues decay at one rate: for their quotient ``q`` a quadratic equation,
    not that for a share of the risk which docs/theory.md and the notebook solve."""
    middle = (high - low) * (low**2 - low * high + high**2)
    q = (-middle + math.sqrt(middle**2 + 4 * low**3 * high**3)) / (2 * low * high**2)
    return (low**2 + high**2 * q) / ((low**2 + high**2) / 2 * (low + high * q))


@pytest.mark.parametrize("low", [0.02, 0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("high", [1.0, 3.0])
def test_line_search_ends_at_a_closed_limit_and_polyak_stays_at_the_inverse_mean(low: float, high: float) -> None:
    """arXiv 2405.19585: above ``λ_min/mean(λ²)`` always, in the end below Polyak's ``1/λ̄``."""
    low *= high
    two = sl.Instance(
        probabilities=[1], eigenvalues=[[low, high]], means=0, teacher=[0.8, 0.6], start=[0, 0], dimension=math.inf
    )
    times = np.geomspace(0.05, 60 / low, 60)
    search = sl.solve(STANDARD, two, sl.LineSearch(), {"sigma": 0.0}, times=times)["learning_rate"]
    polyak = sl.solve(STANDARD, two, sl.Polyak(), {"sigma": 0.0}, times=times)["learning_rate"]
    np.testing.assert_allclose(polyak, 2 / (low + high), rtol=1e-9)
    assert search[-1] == pytest.approx(limiting_line_search(low, high), rel=1e-6)
    assert (search >= low / ((low**2 + high**2) / 2)).all()
    assert search[-1] < polyak[-1]


# ── Isotropic covariance ────────────────────────────────────────────────────────────────────────────────────

MODES = 6
UNIFORM = sl.Instance(
    probabilities=[1], eigenvalues=[np.ones(MODES)], means=0, teacher=np.linspace(-0.3, 0.9, MODES),
    start=np.full(MODES, 0.1), dimension=math.inf,
)  # fmt: skip


@cache
def minimiser(epsilon: float, sigma: float) -> sl.Optimum:
    return sl.optimum(ADVERSARIAL, UNIFORM, {"epsilon": epsilon, "sigma": sigma})


def both_rates(x: Array, V: float, epsilon: float, sigma: float) -> tuple[float, float]:
    """Line search's and Polyak's learning rates at a state."""
    state, values = sl.State(0.0, x, np.full(MODES, V / MODES)), {"epsilon": epsilon, "sigma": sigma}
    search, polyak = (
        sl.solve(
            ADVERSARIAL, UNIFORM, rule, values, times=[0.0], start=state, reference=minimiser(epsilon, sigma)
        )["learning_rate"][0]
        for rule in (sl.LineSearch(), sl.Polyak())
    )  # fmt: skip
    return float(search), float(polyak)


def ridge_at(x: Array, V: float, epsilon: float, sigma: float) -> float:
    """δ by the formulas of §6."""
    assert UNIFORM.teacher is not None
    s, n = math.sqrt(float(((x - UNIFORM.teacher) ** 2).sum()) + V + sigma**2), math.sqrt(float((x**2).sum()) + V)
    return epsilon * (A * s + epsilon * n) / n / (1 + A * epsilon * n / s)


def random_states(seed: int, count: int) -> list[tuple[Array, float]]:
    """Near 0, near the teacher and far; aligned with it and not; with and without variance."""
    rng = np.random.default_rng(seed)
    teacher = UNIFORM.teacher
    assert teacher is not None
    return [
        (
            rng.choice([0.05, 0.5, 1.0, 2.0]) * teacher + rng.choice([0.0, 0.05, 0.5]) * rng.standard_normal(MODES),
            float(rng.choice([0.0, 0.05, 0.5, 2.0])),
        )
        for _ in range(count)
    ]


def test_without_an_adversary_an_isotropic_line_search_is_polyak_at_every_state() -> None:
    for x, V in random_states(0, 40):
        search, polyak = both_rates(x, V, 0.0, 0.3)
        assert search == pytest.approx(polyak, rel=1e-12)


@pytest.mark.parametrize(("epsilon", "sigma"), [(0.3, 0.5), (0.6, 0.3), (0.8, 0.2)])
def test_isotropic_line_search_is_polyak_at_every_state_of_the_minimisers_ridge(epsilon: float, sigma: float) -> None:
    wanted = minimiser(epsilon, sigma).effective_ridge
    found = 0
    for x, _ in random_states(1, 150):

        def gap(V: float, at: Array = x) -> float:
            return ridge_at(at, V, epsilon, sigma) - wanted

        if gap(0.0) * gap(3.0) < 0:
            V = brentq(gap, 0.0, 3.0, xtol=1e-15)
            search, polyak = both_rates(x, V, epsilon, sigma)
            assert search == pytest.approx(polyak, rel=1e-9)
            found += 1
    assert found >= 10


@pytest.mark.parametrize(("epsilon", "sigma"), [(0.3, 0.5), (0.6, 0.3), (0.8, 0.2)])
def test_isotropic_line_search_takes_the_shorter_step_exactly_where_the_ridges_say(
    epsilon: float, sigma: float
) -> None:
    """``g·(x − X*/(1+δ)) > 0`` with ``g = X*(1/(1+δ) − 1/(1+δ°))``: both signs occur, from small starts only one."""
    teacher, wanted = UNIFORM.teacher, minimiser(epsilon, sigma).effective_ridge
    assert teacher is not None
    longer = 0
    for x, V in random_states(2, 120):
        delta = ridge_at(x, V, epsilon, sigma)
        shorter = float(teacher @ (x - teacher / (1 + delta))) * (1 / (1 + delta) - 1 / (1 + wanted))
        search, polyak = both_rates(x, V, epsilon, sigma)
        if abs(shorter) > 1e-9:
            assert (search < polyak) == (shorter > 0)
        longer += search > polyak
    assert longer >= 5
    for direction in np.random.default_rng(3).standard_normal((10, MODES)):
        search, polyak = both_rates(1e-2 * direction, 0.0, epsilon, sigma)
        assert search < 0.5 * polyak


# ── The map over (exponent, ε) ──────────────────────────────────────────────────────────────────────────────

EXPONENTS = (ISOTROPIC, -8.0, -1.0, 0.0, 0.7, 0.85)
RADII = (0.0, 0.1, 0.3, 0.6)
TIMES = np.concatenate([[0], np.geomspace(1e-2, 1e4, 300)])


@dataclass(frozen=True)
class Cell:
    """Line search against Polyak from one start: step at one state, time to 1 % of the excess risk, largest lead."""

    step: float
    time: float
    lead: float


def time_to(curve: sl.Trajectory, share: float) -> float:
    excess = curve["excess_risk"] / curve["excess_risk"][0]
    i = int(np.argmax(excess <= share))
    assert i > 0
    return float(
        np.exp(np.interp(-math.log(share), -np.log(excess[i - 1 : i + 1]), np.log(curve.times[i - 1 : i + 1])))
    )


@cache
def cell(exponent: float, epsilon: float) -> Cell:
    instance = (
        sl.Instance.isotropic(math.inf, start_norm=0.5)
        if exponent == ISOTROPIC
        else sl.Instance.power_law(math.inf, exponent=exponent, nodes=60, start_norm=0.5)
    )
    values = {"epsilon": epsilon, "sigma": 0.3}
    best = sl.optimum(ADVERSARIAL, instance, values)
    assert not best.collapsed
    search, polyak = (
        sl.solve(ADVERSARIAL, instance, rule, values, times=TIMES, reference=best)
        for rule in (sl.LineSearch(), sl.Polyak())
    )
    state = sl.solve(
        ADVERSARIAL, instance, sl.Polyak(), values, times=[time_to(polyak, 0.1)], reference=best
    ).final  # fmt: skip
    step = [
        float(
            sl.solve(ADVERSARIAL, instance, rule, values, times=[state.time], start=state, reference=best)[
                "learning_rate"
            ][0]
        )
        for rule in (sl.LineSearch(), sl.Polyak())
    ]
    lead = 1 - float(np.min(search["excess_risk"] / polyak["excess_risk"]))
    return Cell(step[0] / step[1], time_to(search, 0.01) / time_to(polyak, 0.01), lead)


def test_isotropic_and_without_an_adversary_they_are_one() -> None:
    corner = cell(ISOTROPIC, 0.0)
    assert corner.step == pytest.approx(1, abs=1e-10)
    assert corner.time == pytest.approx(1, abs=1e-6)
    assert corner.lead == pytest.approx(0, abs=1e-6)


def test_anisotropy_alone_parts_them() -> None:
    """ε = 0: the more uneven the spectrum, the shorter line search's step and the later it arrives."""
    row = [cell(exponent, 0.0) for exponent in EXPONENTS]
    assert (np.diff([c.step for c in row]) < 0).all()
    assert (np.diff([c.time for c in row]) > 0).all()
    assert row[-1].step < 0.65
    assert row[-1].time > 4.5


def test_the_ridge_mismatch_alone_parts_them() -> None:
    """Isotropic: the stronger the adversary, the shorter line search's step, the later it arrives, the more it led."""
    column = [cell(ISOTROPIC, epsilon) for epsilon in RADII]
    assert (np.diff([c.step for c in column]) < 0).all()
    assert (np.diff([c.time for c in column]) > 0).all()
    assert (np.diff([c.lead for c in column]) > 0).all()
    assert column[-1].time == pytest.approx(1.18, abs=0.01)
    assert column[-1].lead == pytest.approx(0.028, abs=0.001)


def test_line_search_leads_at_first_and_loses_later_all_over_the_map() -> None:
    for exponent in EXPONENTS:
        for epsilon in RADII:
            if (exponent, epsilon) == (ISOTROPIC, 0.0):
                continue
            found = cell(exponent, epsilon)
            assert found.lead > 0
            assert found.step < 1
            assert found.time > 1


def test_a_strong_adversarys_ridge_evens_out_the_spectrum() -> None:
    """The two effects do not add up."""
    assert cell(0.85, 0.6).time < 1.1 < cell(ISOTROPIC, 0.6).time < cell(0.85, 0.0).time / 4


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize(("exponent", "epsilon"), [(0.7, 0.2), (-8.0, 0.6), (0.7, 0.0)])
def test_streaming_sgd_has_the_same_quotient_of_excess_risks(exponent: float, epsilon: float) -> None:
    """Line search over Polyak at d = 1000, 48 runs each, learning rates of the iterate; within 5 standard errors and
    10/d. False alarms: 1e-5 in all."""
    d, times = 1000, np.array([5.0, 20.0])
    instance = sl.Instance.power_law(d, exponent=exponent, start_norm=0.5)
    values = {"epsilon": epsilon, "sigma": 0.3}
    best = sl.optimum(ADVERSARIAL, instance, values)
    means, errors, limits = [], [], []
    for rule in (sl.LineSearch("iterate"), sl.Polyak("iterate")):
        limits.append(sl.solve(ADVERSARIAL, instance, rule, values, times=times, reference=best)["excess_risk"])
        ensemble = sl.simulate(ADVERSARIAL, instance, rule, values, times=times, runs=48, seed=2)
        means.append(ensemble.mean("adversarial_risk") - best.adversarial_risk)
        errors.append(ensemble.standard_error("adversarial_risk") / means[-1])
    quotient, limit = means[0] / means[1], limits[0] / limits[1]
    error = quotient * np.hypot(*errors)
    assert (error < 0.05).all()
    assert (np.abs(quotient - limit) < 5 * error + 10 / d).all()
    assert (quotient[-1] - 1) > 3 * error[-1]


# ── AdaGrad-norm on power-law spectra ───────────────────────────────────────────────────────────────────────


def power_law_modes(beta: float, alignment: float, decades: int = 16) -> sl.Instance:
    """Density ``∝ λ^{-β}`` on (0, 1], ``(X₀ − X*)²_λ ∝ λ^{-alignment}``, Gauss–Legendre panels in ``log λ``."""
    points, weights = np.polynomial.legendre.leggauss(6)
    width = math.log(10) / 2
    middles = -width * (np.arange(2 * decades) + 0.5)
    eigenvalues = np.exp((middles[:, None] + width / 2 * points).ravel())
    shares = eigenvalues ** (1 - beta) * np.tile(weights, len(middles))
    shares /= shares.sum()
    return sl.Instance(
        probabilities=[1], eigenvalues=[eigenvalues], means=0, weights=shares, dimension=math.inf,
        teacher=np.sqrt(shares * eigenvalues**-alignment), start=0 * shares,
    )  # fmt: skip


def adagrad(instance: sl.Instance, times: Array, eta: float, b: float, rtol: float = 1e-7) -> sl.Trajectory:
    return sl.solve(STANDARD, instance, sl.AdaGradNorm(eta, b), {"sigma": 0.0}, times=times, rtol=rtol)


def rates(p: float) -> tuple[float, float]:
    """Exponents of the risk and of the learning rate in time, ``p = β + alignment ≠ 1``."""
    return (p - 2, 0.0) if p < 1 else (1 - 2 / p, 1 / p - 1)


def last_slopes(curve: sl.Trajectory) -> tuple[float, float]:
    """Of the risk and the learning rate in logarithms, over the last decade."""
    late = curve.times >= curve.times[-1] / 10
    risk, rate = (
        float(np.polyfit(np.log(curve.times[late]), np.log(curve[name][late]), 1)[0])
        for name in ("adversarial_risk", "learning_rate")
    )
    return risk, rate


# β, alignment, horizon, η, b
POWER_LAWS = [
    (0.2, 0.0, 2e4, 1.0, 0.5),
    (0.5, -0.3, 2e4, 1.0, 0.5),
    (0.2, 0.5, 2e4, 1.0, 0.5),
    (0.5, 0.75, 3e6, 0.3, 0.3),
    (0.5, 0.9, 3e6, 0.3, 0.3),
    (0.2, 1.4, 3e6, 0.3, 0.3),
    (0.5, 1.25, 3e6, 0.3, 0.3),
]


@needs_compiler
@pytest.mark.parametrize(("beta", "alignment", "horizon", "eta", "b"), POWER_LAWS)
def test_adagrad_norm_has_the_rates_of_power_laws(
    beta: float, alignment: float, horizon: float, eta: float, b: float
) -> None:
    """Measured slopes within 0.03 of the exponents (arXiv 2405.19585, §4; derived in the notebook)."""
    found = last_slopes(adagrad(power_law_modes(beta, alignment), np.geomspace(1, horizon, 61), eta, b))
    assert found == pytest.approx(rates(beta + alignment), abs=0.03)


@needs_compiler
@pytest.mark.parametrize(("beta", "alignment"), [(0.2, 0.0), (0.2, 0.5), (0.5, 0.9)])
def test_adagrad_norm_keeps_a_balance_of_distance_and_learning_rate(beta: float, alignment: float) -> None:
    """``‖X₀ − X*‖² − ‖X − X*‖² = (4η²/λ̄)(1/γ − b/η) + 2η² log(bγ/η)`` at all times; for p < 1 its end is the limit of γ."""
    instance, eta, b = power_law_modes(beta, alignment), 1.0, 0.5
    curve = adagrad(instance, np.geomspace(1, 1e4, 21), eta, b, rtol=1e-9)
    assert instance.teacher is not None
    assert instance.weights is not None
    mean, gamma = float(instance.weights @ instance.eigenvalues[0]), curve["learning_rate"]
    lost = float(instance.teacher @ instance.teacher) - curve["distance2"]
    balance = 4 * eta**2 / mean * (1 / gamma - b / eta) + 2 * eta**2 * np.log(gamma * b / eta)
    np.testing.assert_allclose(balance, lost, rtol=1e-6)


@needs_compiler
@pytest.mark.parametrize(("beta", "alignment"), [(0.2, 0.5), (0.5, 0.5), (0.2, 0.8), (0.5, 0.9)])
def test_the_risk_is_a_power_of_accumulated_learning_rate_with_a_known_factor(beta: float, alignment: float) -> None:
    """``ℛ ≈ ½(1−β) Γ(2−p) (2τ)^{p−2}/(1 − γλ̄/2)``, ``τ = ∫γ``; on the boundary p = 1 it makes ``1/γ`` grow by
    ``(λ̄/η²) τℛ`` a unit of ``log τ``."""
    instance, eta = power_law_modes(beta, alignment), 0.5
    times = np.concatenate([[0], np.geomspace(1e-3, 2e5, 1200)])
    curve = adagrad(instance, times, eta, 0.5)
    gamma, risk, p = curve["learning_rate"], curve["adversarial_risk"], beta + alignment
    tau = np.concatenate([[0], np.cumsum(np.diff(times) * (gamma[1:] + gamma[:-1]) / 2)])
    assert instance.weights is not None
    mean = float(instance.weights @ instance.eigenvalues[0])
    late = times > 2e4
    factor = (1 - beta) / 2 * math.gamma(2 - p) / (1 - gamma * mean / 2)
    np.testing.assert_allclose(risk[late], factor[late] * (2 * tau[late]) ** (p - 2), rtol=0.01)
    growth = np.diff(1 / gamma[late]) / np.diff(np.log(tau[late]))
    np.testing.assert_allclose(growth, (mean / eta**2 * tau * risk)[late][1:], rtol=0.02)
    if p == 1:
        assert np.ptp(growth) < 0.01 * growth.mean()


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize(("beta", "alignment", "horizon", "eta", "b"), POWER_LAWS)
def test_adagrad_norms_slopes_tend_to_the_exponents(
    beta: float, alignment: float, horizon: float, eta: float, b: float
) -> None:
    """At a horizon ten times as far the slopes are nearer, within 0.008."""
    found = last_slopes(adagrad(power_law_modes(beta, alignment), np.geomspace(1, 10 * horizon, 61), eta, b))
    assert found == pytest.approx(rates(beta + alignment), abs=0.008)


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("beta", [-1.0, 0.0, 0.5])
def test_the_builders_power_laws_have_the_same_rates(beta: float) -> None:
    """``Instance.power_law`` spreads its teacher evenly (alignment 0): at d = ∞, and at a finite d for times well below
    the inverse of the least eigenvalue, ``(2d)^{-1/(1-β)}``: long enough at 20000 dimensions only for β ≥ 0."""
    horizon = 2e3
    finite = sl.Instance.power_law(20000, exponent=beta)
    assert (finite.eigenvalues.min() * horizon < 0.1) == (beta >= 0)
    instances = [sl.Instance.power_law(math.inf, exponent=beta, nodes=500), *([finite] if beta >= 0 else [])]
    for instance in instances:
        found = last_slopes(adagrad(instance, np.geomspace(1, horizon, 61), 1.0, 0.5))
        assert found == pytest.approx(rates(beta), abs=0.03)
