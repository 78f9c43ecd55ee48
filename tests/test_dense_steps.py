"""Covariances that do not commute: learning rates that follow the state, and the optimum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from test_dense import (
    ADVERSARIAL,
    LEAST_SQUARES,
    LOGISTIC,
    commuting,
    covariance,
    rotation,
    two_classes,
)

import reference
from sgdlimit.derive import (
    AdaGradNorm,
    Constant,
    Expectation,
    Formula,
    Greedy,
    Labels,
    LineSearch,
    Loss,
    Model,
    Polyak,
    Schedule,
)
from sgdlimit.derive.errors import InputError, InstanceError, NoLearningRate, NoMinimiser, ParameterError
from sgdlimit.derive.model import StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.dense_dynamics import DenseDynamics
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import load_kernel
from sgdlimit.runtime.minimiser import optimum, risk_of
from sgdlimit.runtime.rest import rest_point
from sgdlimit.runtime.simulator import simulate
from sgdlimit.runtime.solver import StandsStillWarning, solve

Array = NDArray[np.float64]

SETTINGS: dict[str, tuple[Model, dict[str, float]]] = {
    "least squares": (ADVERSARIAL, {"epsilon": 0.3, "sigma": 0.5, "tau": 0.05}),
    "logistic": (LOGISTIC, {"epsilon": 0.2, "tau": 0.1}),
}
RULES: tuple[StepSize, ...] = (
    Constant(0.6),
    Schedule("1/(1 + t)"),
    LineSearch(),
    Polyak(),
    AdaGradNorm(0.8, 1.2),
    Greedy("norm2"),
    Greedy("distance2"),
)


def pair(start_norm: float = 0.5, d: int = 24) -> tuple[Instance, DenseInstance, Array]:
    """One mixture as modes and as matrices, started away from 0; and the rotation between the two."""
    diagonal, dense = commuting(d)
    R = rotation(d, seed=4)
    start = np.random.default_rng(8).standard_normal(d)
    start *= start_norm / np.linalg.norm(start)
    return replace(diagonal, start=start), replace(dense, start=R @ start), R


def relative_to(names: tuple[str, ...], curves: Any, teacher2: float) -> dict[str, Array]:
    """Sizes of the statistics; of those that may cancel, the size of what cancels."""
    sizes = {name: np.abs(curves[name]) for name in names}
    sizes["overlap"] = np.sqrt(curves["norm2"] * teacher2)
    sizes["cosine"] = np.ones_like(sizes["overlap"])
    if "excess_risk" in names:
        sizes["excess_risk"] = np.abs(curves["adversarial_risk"])
    return sizes


# ── The limit ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("schedule", RULES, ids=repr)
@pytest.mark.parametrize("setting", SETTINGS)
def test_matrices_that_commute_have_the_diagonal_limit_to_1e8(setting: str, schedule: StepSize) -> None:
    model, parameters = SETTINGS[setting]
    diagonal_instance, dense_instance, _ = pair()
    times = [0.0, 0.01, 1.0, 4.0]
    diagonal, dense = (
        solve(model, instance, schedule, parameters, times=times, rtol=1e-10, backend="numpy")
        for instance in (diagonal_instance, dense_instance)
    )
    assert dense.names == diagonal.names
    assert ("excess_risk" in dense.names) == isinstance(schedule, Polyak)
    assert diagonal_instance.teacher is not None
    for name, size in relative_to(dense.names, diagonal, float(np.sum(diagonal_instance.teacher**2))).items():
        assert np.all(np.abs(dense[name] - diagonal[name]) <= 1e-8 * size), name
    assert dense.final.accumulated == pytest.approx(
        diagonal.final.accumulated if isinstance(schedule, AdaGradNorm) else dense.final.accumulated, rel=1e-8
    )


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_risk_falls_as_the_identity_says(setting: str) -> None:
    """``dℛ/dt = −γS + γ²W = −S²/(4W)`` along a line search, ridge included: an eighth-order difference to 1e-7."""
    model, parameters = SETTINGS[setting]
    instance = two_classes(24, start_norm=0.7)
    h, weights = 0.02, np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
    times = 1.0 + h * np.arange(-4, 5)
    state = solve(model, instance, LineSearch(), parameters, times=[1.0], rtol=1e-11).final
    found = solve(model, instance, LineSearch(), parameters, times=times, rtol=1e-11)
    slope = weights @ (found["adversarial_risk"] + parameters["tau"] / 2 * found["norm2"]) / h
    kernel = load_kernel(model)
    values = np.array([[parameters[name]] * 2 for name in kernel.parameters])
    dynamics = DenseDynamics.of(kernel, instance, values)
    flow = dynamics.flow(state.mean - dynamics.teacher, state.variance)
    gamma = found["learning_rate"][4]
    assert gamma == pytest.approx(flow.risk_descent / (2 * flow.risk_noise), rel=1e-8)
    assert slope == pytest.approx(-gamma * flow.risk_descent + gamma**2 * flow.risk_noise, rel=1e-7)


@pytest.mark.parametrize("schedule", [LineSearch(), Polyak(), Greedy("norm2"), Greedy("distance2")], ids=repr)
def test_no_other_learning_rate_gives_a_steeper_descent(schedule: StepSize) -> None:
    """Where covariances do not commute: a short flow with γ 3 % larger or smaller ends higher, by the same amount."""
    model, parameters = SETTINGS["least squares"]
    instance = two_classes(20, start_norm=1.5)
    best = optimum(model, instance, parameters)
    state = solve(model, instance, schedule, parameters, 0.4, reference=best).final
    setting: Any = (model, instance)
    here = solve(*setting, schedule, parameters, times=[0.4], reference=best, start=state)
    gamma = float(here["learning_rate"][0])
    assert gamma > 0

    def fall(scale: float) -> float:
        curve = solve(
            *setting, Constant(scale * gamma), parameters, times=[0.4, 0.4001], rtol=1e-12, reference=best, start=state
        )
        names = {LineSearch: "excess_risk", Polyak: "optimum_distance2"}
        return float(np.diff(curve[names.get(type(schedule), getattr(schedule, "statistic", ""))])[0])

    down, at, up = fall(0.97), fall(1.0), fall(1.03)
    assert at < min(up, down)
    assert abs(up - down) < 0.1 * (up + down - 2 * at)


def test_polyak_and_greedy_of_the_distance_to_the_optimum_are_one() -> None:
    model, parameters = SETTINGS["logistic"]
    instance = two_classes(16, start_norm=0.5)
    one, other = (
        solve(model, instance, rule, parameters, 2.0, backend="numpy")
        for rule in (Polyak(), Greedy("optimum_distance2"))
    )
    assert np.array_equal(one["learning_rate"], other["learning_rate"])
    assert np.array_equal(one["excess_risk"], other["excess_risk"])


def test_noiseless_polyak_keeps_its_rate_over_twenty_decades() -> None:
    """arXiv 2405.19585: ``γ = 1/λ̄``, for one class, whatever the basis."""
    C = covariance(8, 0.6, seed=1)
    instance = DenseInstance(probabilities=[1], covariances=[C], teacher=np.full(8, 8**-0.5))
    found = solve(LEAST_SQUARES, instance, Polyak(), {"sigma": 0.0}, times=np.linspace(0, 120, 20))
    assert found["adversarial_risk"][-1] < 1e-20
    assert found["learning_rate"] == pytest.approx(np.full(20, 8 / np.trace(C)), rel=1e-9)
    assert found["optimum_distance2"] == pytest.approx(found["distance2"], rel=1e-12)


def test_adagrad_norm_restarts_where_it_ended() -> None:
    model, parameters = SETTINGS["least squares"]
    instance, rule = two_classes(16), AdaGradNorm(0.8, 1.2)
    whole = solve(model, instance, rule, parameters, times=[2.0, 5.0])
    first = solve(model, instance, rule, parameters, times=[2.0])
    rest = solve(model, instance, rule, parameters, times=[5.0], start=first.final)
    assert first.final.accumulated > 0
    for name in whole.names:
        assert rest[name][-1] == pytest.approx(whole[name][-1], rel=1e-7), name
    assert whole["learning_rate"][-1] == pytest.approx(0.8 / math.sqrt(1.2**2 + rest.final.accumulated), rel=1e-7)


def test_formulas_of_the_users_know_the_optimum() -> None:
    model, parameters = SETTINGS["least squares"]
    own = {"half": Formula("optimum_distance2/2"), "squared": Expectation("(r - y)**2")}
    found = solve(model, two_classes(12), Polyak(), parameters, 1.0, statistics=own)
    assert found["half"] == pytest.approx(found["optimum_distance2"] / 2, rel=1e-14)
    assert found["squared"] == pytest.approx(2 * found["clean_risk"], rel=1e-12)


def test_what_cannot_be_followed_gets_one_sentence() -> None:
    model, parameters = SETTINGS["least squares"]
    instance = two_classes(8, start_norm=0.5)
    for run in (solve, simulate):
        with pytest.raises(InputError) as caught:
            run(model, instance, Greedy("clean_risk"), parameters, 1.0)  # type: ignore[operator]
        assert str(caught.value) == (
            "schedule: Greedy(statistic='clean_risk', source='limit') follows a statistic whose slopes are known mode by "
            "mode alone, not for a dense instance; give LineSearch(), Polyak(), AdaGradNorm(η, b), or Greedy of norm2, "
            "distance2 or optimum_distance2"
        )
        with pytest.raises(InputError, match=r"0\.5 is not a step size"):
            run(model, instance, 0.5, parameters, 1.0)  # type: ignore[operator]
        with pytest.raises(ParameterError, match="it has no value"):
            run(model, instance, Schedule("eta/(1 + t)"), parameters, 1.0)  # type: ignore[operator]
    with pytest.raises(InstanceError, match="no common modes; solve to a long horizon"):
        rest_point(model, instance, Constant(0.5), parameters)


def test_a_line_search_from_zero_says_that_it_stands_still() -> None:
    with pytest.warns(StandsStillWarning, match="cannot leave X = 0"):
        found = solve(ADVERSARIAL, two_classes(8), LineSearch(), {"epsilon": 0.3, "sigma": 0.5}, 1.0)
    assert (found["norm2"] == 0).all()
    assert (found["learning_rate"] == 0).all()


def test_a_risk_that_falls_ever_faster_is_an_error_with_the_time() -> None:
    """A concave loss: ``W < 0``, and no learning rate is the best."""
    model = Model(Loss("-r**2/2 + y*r"), Labels())
    instance = two_classes(8, start_norm=1.0)
    with pytest.raises(NoLearningRate, match="no learning rate is the best") as caught:
        solve(model, instance, LineSearch(), {}, 1.0, backend="numpy")
    assert caught.value.time == 0
    with pytest.raises(NoLearningRate, match="run 0"):
        simulate(model, instance, LineSearch("iterate"), {}, 1.0, runs=2)


# ── The optimum ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("setting", "change"),
    [
        ("least squares", {}),
        ("least squares", {"sigma": 0.0, "tau": 0.0}),
        ("least squares", {"epsilon": 5.0}),
        ("logistic", {}),
        ("logistic", {"epsilon": 3.0}),
    ],
)
def test_the_optimum_is_the_diagonal_one_where_covariances_commute(setting: str, change: dict[str, float]) -> None:
    model, parameters = SETTINGS[setting]
    diagonal_instance, dense_instance, R = pair()
    diagonal, dense = (
        optimum(model, instance, {**parameters, **change}, backend="numpy")
        for instance in (diagonal_instance, dense_instance)
    )
    assert (dense.kind, dense.collapsed) == (diagonal.kind, diagonal.collapsed)
    assert dense.objective == pytest.approx(diagonal.objective, rel=1e-9)
    assert dense.effective_ridge == pytest.approx(diagonal.effective_ridge, rel=1e-7)
    assert dense.critical_epsilon == pytest.approx(diagonal.critical_epsilon, rel=1e-9)
    assert dense.x == pytest.approx(R @ diagonal.x, abs=1e-7 * (1 + float(np.linalg.norm(diagonal.x))))


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_newton_step_is_the_diagonal_one_where_covariances_commute(setting: str) -> None:
    """A wrong curvature would still converge, in more steps."""
    model, parameters = SETTINGS[setting]
    *instances, R = pair()
    kernel = load_kernel(model, backend="numpy")
    diagonal, dense = (risk_of(kernel, model, instance, parameters) for instance in instances)
    start = instances[0].start
    one, other = diagonal.evaluate(diagonal.at(start)), dense.evaluate(dense.at(R @ start))
    assert other.gradient == pytest.approx(R @ one.gradient, abs=1e-12)
    step, positive = diagonal.newton(one)
    assert dense.newton(other)[0] == pytest.approx(R @ step, abs=1e-7 * float(np.linalg.norm(step)))
    assert positive
    assert dense.newton(other)[1]


def test_the_optimum_of_covariances_that_do_not_commute_is_that_of_brute_force() -> None:
    """BFGS on the risk with brute-force coefficients, and no gradient but differences."""
    instance, epsilon = two_classes(5), 0.2
    own = reference.logistic(epsilon)
    assert instance.labels is not None

    def risk(x: Array) -> float:
        n, total = float(np.linalg.norm(x)), 0.0
        for p, mu, C, y in zip(
            instance.probabilities, instance.means, instance.covariances, instance.labels, strict=True
        ):
            total += p * reference.coefficients(own, mu @ x, x @ C @ x, 0.0, n, 0.0, 0.0, float(y))["R"]
        return float(total)

    found = optimum(LOGISTIC, instance, {"epsilon": epsilon})
    assert found.kind == "minimiser"
    assert found.residual < 1e-10
    expected = minimize(risk, np.full(5, 0.1), method="BFGS", options={"gtol": 1e-7})
    assert found.adversarial_risk == pytest.approx(expected.fun, rel=1e-9)
    assert found.x == pytest.approx(expected.x, abs=1e-4)


def test_the_optimum_is_zero_in_directions_without_data() -> None:
    """The teacher's part in them is lost, not the finite rest."""
    basis = rotation(9, seed=2)
    spectra = np.array([[1.0, 0.5, 0.2, 0.1, 0, 0, 0, 0, 0], [0.3, 1.0, 0.4, 0.2, 0, 0, 0, 0, 0]])
    mix = np.eye(9)
    mix[:4, :4] = rotation(4, seed=3)
    first, second = (basis * spectra[0]) @ basis.T, (basis @ mix * spectra[1]) @ (basis @ mix).T
    instance = DenseInstance(probabilities=[0.5, 0.5], covariances=[first, second], teacher=np.ones(9))
    found = optimum(LEAST_SQUARES, instance, {"sigma": 0.5})
    seen = basis[:, :4]
    assert found.x == pytest.approx(seen @ (seen.T @ np.ones(9)), rel=1e-9)
    assert found.adversarial_risk == pytest.approx(0.125, rel=1e-12)


def test_separable_data_have_no_optimum_and_polyak_says_so() -> None:
    instance = DenseInstance(probabilities=[0.5, 0.5], covariances=np.zeros((2, 3, 3)), means=[[1, 0, 0], [-1, 0, 0]],
                             labels=[1, -1])  # fmt: skip
    with pytest.raises(NoMinimiser, match="falls for ever"):
        solve(LOGISTIC, instance, Polyak(), {"epsilon": 0.0}, 1.0)


# ── Simulation ──────────────────────────────────────────────────────────────────────────────────────────────


def adagrad_norm(source: str) -> StepSize:
    return AdaGradNorm(0.8, 1.2, source)


@pytest.mark.parametrize(
    ("make", "source"),
    [
        pytest.param(LineSearch, "limit", marks=pytest.mark.long),
        pytest.param(Polyak, "limit", marks=pytest.mark.long),
        (adagrad_norm, "limit"),
        (LineSearch, "iterate"),
        (Polyak, "iterate"),
        (adagrad_norm, "iterate"),
    ],
)
def test_streaming_sgd_follows_the_limit(make: Callable[..., StepSize], source: str) -> None:
    """Means of 40 runs at d = 120 within 5 standard errors and 3 %: the bias is O(1/d). False alarms: 1e-4 in all."""
    instance, times = two_classes(120, start_norm=1.0), [0.5, 1.5]
    parameters = {"epsilon": 0.3, "sigma": 0.5}
    schedule = make(source=source)
    limit = solve(ADVERSARIAL, instance, schedule, parameters, times=times, rtol=1e-6)
    ensemble = simulate(ADVERSARIAL, instance, schedule, parameters, times=times, runs=40, seed=5)
    assert set(limit.names) - set(ensemble.names) == {"effective_ridge"}
    for name in ("adversarial_risk", "norm2", "distance2", "learning_rate", "optimum_distance2"):
        if name in limit.names:
            allowed = 5 * ensemble.standard_error(name) + 0.03 * np.abs(limit[name])
            assert (np.abs(ensemble.mean(name) - limit[name]) < allowed).all(), name
    assert (np.ptp(ensemble["learning_rate"], axis=0) == 0).all() == (source == "limit")


@pytest.mark.parametrize("schedule", [LineSearch("iterate"), Polyak("iterate"), AdaGradNorm(0.8, 1.2, "iterate")])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_first_step_of_an_iterate_is_that_of_the_limits_formula(setting: str, schedule: StepSize) -> None:
    """From vectors alone what the limit has from matrices."""
    model, parameters = SETTINGS[setting]
    instance = two_classes(15, start_norm=1.0)
    limit = solve(model, instance, schedule, parameters, times=[0.0])
    found = simulate(model, instance, schedule, parameters, times=[0.0], runs=1)
    for name in ("learning_rate", "norm2", *(["optimum_distance2"] if isinstance(schedule, Polyak) else [])):
        assert found[name][0, 0] == pytest.approx(limit[name][0], rel=1e-10), name


def test_a_run_with_its_own_learning_rate_is_a_function_of_seed_and_index_alone() -> None:
    instance = two_classes(20, start_norm=0.5)
    arguments: Any = (ADVERSARIAL, instance, AdaGradNorm(0.8, 1.2, "iterate"), {"epsilon": 0.3, "sigma": 0.5})
    whole = simulate(*arguments, times=[1.0, 20.0], runs=5, seed=3)
    part = simulate(*arguments, times=[20.0], runs=2, seed=3, first_run=2)
    assert np.array_equal(whole["learning_rate"][2:4, 1], part["learning_rate"][:, 0])
