"""Covariances that do not commute: the instance, the matrix equations, and SGD itself."""

from __future__ import annotations

import doctest
import importlib
import math
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import CASES
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

import reference
from sgdlimit.derive import Constant, Expectation, Formula, Schedule
from sgdlimit.derive.errors import BackendError, Diverged, InputError, InstanceError
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.dense_dynamics import DenseDynamics
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import load_kernel
from sgdlimit.runtime.simulator import simulate
from sgdlimit.runtime.solver import solve
from sgdlimit.runtime.spec import load_spec
from sgdlimit.runtime.trajectory import State
from sgdlimit.runtime.verification import verify

Array = NDArray[np.float64]

LEAST_SQUARES = CASES["least squares"].model
ADVERSARIAL = CASES["adversarial least squares"].model
LOGISTIC = CASES["adversarial logistic, labels"].model
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")


@pytest.mark.parametrize("module", ["dense", "dense_dynamics", "dense_simulation", "dense_steps"])
def test_docstrings_run(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"sgdlimit.runtime.{module}")).failed == 0


def rotation(d: int, seed: int) -> Array:
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0])


def covariance(d: int, exponent: float, seed: int) -> Array:
    """Eigenvalues ∝ j^-exponent of mean 1, eigenvectors of its own."""
    values, vectors = np.arange(1, d + 1) ** -exponent, rotation(d, seed)
    return np.asarray((vectors * (values / values.mean())) @ vectors.T)


def two_classes(d: int = 40, start_norm: float = 0.0) -> DenseInstance:
    """Means, a teacher and covariances that have nothing to do with one another."""
    random = np.random.default_rng(7)
    vectors = random.standard_normal((4, d)) / math.sqrt(d)
    return DenseInstance(
        probabilities=[0.4, 0.6],
        covariances=[1.6 * covariance(d, 0.5, seed=1), 0.4 * covariance(d, 0.9, seed=2)],
        means=vectors[:2],
        labels=[-1, 1],
        teacher=vectors[2],
        start=start_norm * vectors[3],
    )


def commuting(d: int = 24) -> tuple[Instance, DenseInstance]:
    """One mixture in its eigenbasis, and as matrices in another basis."""
    random, R = np.random.default_rng(3), rotation(d, seed=4)
    vectors = random.standard_normal((3, d)) / math.sqrt(d)
    values = np.array([np.linspace(0.2, 1.8, d), np.linspace(1.4, 0.1, d)])
    diagonal = Instance(
        probabilities=[0.3, 0.7],
        eigenvalues=values,
        means=vectors[:2],
        labels=[-1, 1],
        teacher=vectors[2],
        start=np.zeros(d),
    )
    dense = DenseInstance(
        probabilities=[0.3, 0.7],
        covariances=[(R * row) @ R.T for row in values],
        means=vectors[:2] @ R.T,
        labels=[-1, 1],
        teacher=R @ vectors[2],
    )
    return diagonal, dense


# ── The instance ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_instance_is_a_value() -> None:
    instance = two_classes(6)
    assert instance == two_classes(6)
    assert hash(instance) == hash(two_classes(6))
    assert instance != replace(instance, start=np.ones(6))
    again = pickle.loads(pickle.dumps(instance))
    assert again == instance
    assert not again.covariances.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        instance.covariances[0, 0, 0] = 2.0
    assert (instance.classes, instance.dimension, instance.modes, instance.is_finite) == (2, 6, 6, True)
    C, teacher = instance.covariances, instance.teacher
    assert teacher is not None
    assert instance.teacher_variances == pytest.approx([teacher @ C[0] @ teacher, teacher @ C[1] @ teacher])


def test_one_covariance_and_one_mean_are_taken_for_every_class() -> None:
    instance = DenseInstance(probabilities=[0.5, 0.5], covariances=np.eye(2), means=[1, 2], start=[3, 4])
    assert instance.covariances.tolist() == [[[1, 0], [0, 1]]] * 2
    assert instance.means.tolist() == [[1, 2]] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": [0.5, 0.6]}, "probabilities: they sum to 1.1, not to 1"),
        ({"probabilities": [1.0, 0.0]}, "probabilities: entry [1] is 0; each is above 0"),
        ({"probabilities": 1.0}, "probabilities: shape () is not one number a class"),
        (
            {"covariances": [[[1, 2], [0, 1]], np.eye(2)]},
            "covariances[0]: is not symmetric, by up to 2; a covariance equals its transpose",
        ),
        (
            {"covariances": [np.eye(2), [[1, 2], [2, 1]]]},
            "covariances[1]: the eigenvalue -1 is negative; a covariance is positive semidefinite",
        ),
        ({"covariances": np.ones((2, 2, 3))}, "covariances: shape (2, 2, 3) is not one square matrix a class"),
        ({"covariances": [np.eye(2)] * 3}, "covariances: shape (3, 2, 2) does not fit probabilities of shape (2,)"),
        ({"covariances": [[[1, np.nan], [np.nan, 1]]] * 2}, "covariances: entry [0, 0, 1] is nan, not a finite number"),
        ({"means": [1, 2, 3]}, "means: shape (3,) does not fit 2 dimensions; give shape (2, 2)"),
        ({"means": 1.0}, "means: shape () does not fit 2 dimensions; give shape (2, 2)"),
        ({"labels": [1, 2, 3]}, "labels: shape (3,) does not fit one number a class; give shape (2,)"),
        ({"labels": 0}, "labels: shape () does not fit one number a class; give shape (2,)"),
        ({"teacher": [1.0]}, "teacher: shape (1,) does not fit 2 dimensions; give shape (2,)"),
        ({"start": "x"}, "start: is not an array of real numbers"),
    ],
)
def test_arrays_that_will_not_do_get_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InstanceError) as caught:
        DenseInstance(**{"probabilities": [0.5, 0.5], "covariances": [np.eye(2), np.diag([1, 2])], **change})
    assert str(caught.value) == message


def test_rounding_is_not_taken_for_a_negative_eigenvalue() -> None:
    factor = np.random.default_rng(0).standard_normal((60, 7))
    DenseInstance(probabilities=[1], covariances=factor @ factor.T)
    zero = DenseInstance(probabilities=[1], covariances=np.zeros((3, 3)))
    assert zero.modes == 3


def test_covariances_that_do_not_commute_make_a_dense_instance_in_their_own_basis() -> None:
    given = two_classes(12)
    built = Instance.from_covariances(
        given.covariances, given.means, probabilities=given.probabilities, labels=given.labels, teacher=given.teacher
    )
    assert built == given
    with pytest.raises(InstanceError, match="start: shape"):
        Instance.from_covariances(given.covariances, given.means, start=np.ones(3))
    # a pair that a common eigenvector of the first two coordinates does not make commute
    nearly = np.array([np.eye(12), np.eye(12)])
    nearly[0, 10:, 10:] = [[2, 0], [0, 1]]
    nearly[1, 10:, 10:] = [[1, 1e-3], [1e-3, 1]]
    assert isinstance(Instance.from_covariances(nearly, 0), DenseInstance)


def test_classes_with_their_own_covariances_make_a_dense_instance() -> None:
    random = np.random.default_rng(0)
    X = np.vstack([random.standard_normal((50, 3)) @ random.standard_normal((3, 3)) + i for i in range(2)])
    y = np.repeat([-1.0, 1.0], 50)
    built = Instance.from_data(X, y, pooled=False)
    assert isinstance(built, DenseInstance)
    pooled = Instance.from_data(X, y)
    assert isinstance(pooled, Instance)
    average = np.tensordot(built.probabilities, built.covariances, 1)
    assert average == pytest.approx(np.diag(pooled.eigenvalues[0]), abs=1e-12)
    assert built.means == pytest.approx(pooled.means)


def test_another_dimension_and_a_verification_are_refused() -> None:
    instance = two_classes(6)
    assert instance.at_dimension(6) is instance
    with pytest.raises(InstanceError, match="12 is not 6, and covariances that do not commute have no equivalent"):
        instance.at_dimension(12)
    with pytest.raises(InstanceError, match="compare solve and simulate"):
        verify(LEAST_SQUARES, instance, Constant(0.5), {"sigma": 0.5}, horizon=1.0)


def test_a_spec_file_may_describe_one(tmp_path: Path) -> None:
    text = """
        model = {loss = "log(1 + exp(-y*r))", target = "labels", adversary = "l2"}
        parameters = {epsilon = 0.1}
        schedule = {gamma = 0.5}
        run = {horizon = 1.0}
        [instance]
        builder = "from_covariances"
        covariances = [[[2, 0], [0, 1]], [[1, 0.5], [0.5, 1]]]
        means = [[1, 0], [0, 1]]
        labels = [-1, 1]
    """
    (tmp_path / "two.toml").write_text(text, encoding="utf-8")
    spec = load_spec(str(tmp_path / "two.toml"))
    assert isinstance(spec.instance, DenseInstance)
    assert solve(**spec.arguments)["adversarial_risk"][0] == pytest.approx(math.log(2))


# ── The limit ───────────────────────────────────────────────────────────────────────────────────────────────

SETTINGS = {
    "least squares": (LEAST_SQUARES, Schedule("eta/(1 + t)**0.5"), {"sigma": 0.4, "eta": 0.8}),
    "adversarial, ridge": (ADVERSARIAL, Constant(0.6), {"epsilon": 0.3, "sigma": 0.5, "tau": 0.1}),
    "logistic": (LOGISTIC, Constant(0.8), {"epsilon": 0.3}),
    "sign teacher": (CASES["adversarial logistic, sign teacher"].model, Constant(0.5), {"epsilon": 0.2}),
}


@pytest.mark.parametrize("backend", [pytest.param("c", marks=needs_compiler), "numpy"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_matrices_that_commute_have_the_diagonal_limit_to_1e8(setting: str, backend: str) -> None:
    model, schedule, parameters = SETTINGS[setting]
    if backend == "numpy" and setting == "sign teacher":
        pytest.skip("nested quadratures take long in NumPy")
    times = [0.0, 1e-6, 0.01, 1.0, 4.0]
    diagonal, dense = (
        solve(model, instance, schedule, parameters, times=times, rtol=1e-10, backend=backend)
        for instance in commuting()
    )
    assert dense.names == diagonal.names
    # what may cancel, on the scale of what cancels
    sizes = {"overlap": np.sqrt(diagonal["norm2"] * np.sum(commuting()[0].teacher ** 2)), "cosine": np.ones(len(times))}
    for name in diagonal.names:
        size = sizes.get(name, np.abs(diagonal[name]))
        assert np.array_equal(np.isnan(dense[name]), np.isnan(diagonal[name])), name
        assert not np.any(np.abs(dense[name] - diagonal[name]) > 1e-8 * size), name


def reference_curve(instance: DenseInstance, epsilon: float, gamma: float, times: list[float]) -> dict[str, Array]:
    """Logistic loss: the matrix equations as theory.md §3.9 writes them, by SciPy, with brute-force coefficients."""
    model, d = reference.logistic(epsilon), instance.dimension
    assert instance.labels is not None
    assert instance.teacher is not None

    def classes(x: Array, V: Array) -> list[dict[str, float]]:
        n = math.sqrt(x @ x + np.trace(V))
        return [
            reference.coefficients(model, float(mu @ x), float(x @ C @ x + np.trace(C @ V)), 0.0, n, 0.0, 0.0, float(y))
            for mu, C, y in zip(instance.means, instance.covariances, instance.labels, strict=True)
        ]

    def derivative(t: float, state: Array) -> Array:
        x, V = state[:d], state[d:].reshape(d, d)
        found = classes(x, V)
        H = np.zeros((d, d))
        h, noise = np.zeros(d), np.zeros((d, d))
        for p, mu, C, of in zip(instance.probabilities, instance.means, instance.covariances, found, strict=True):
            H += p * (of["B"] * C + of["F"] / math.sqrt(x @ x + np.trace(V)) * np.eye(d))
            h += p * of["A"] * mu
            noise += p * of["I"] * C
        dV = -gamma * (H @ V + V @ H) + gamma**2 / d * noise
        return np.concatenate([-gamma * (h + H @ x), dV.ravel()])

    start = np.concatenate([instance.start, np.zeros(d * d)])
    solution = solve_ivp(derivative, (0.0, times[-1]), start, t_eval=times, method="DOP853", rtol=1e-9, atol=1e-13)
    rows = []
    for state in solution.y.T:
        x, V = state[:d], state[d:].reshape(d, d)
        found = classes(x, V)
        row = {
            name: float(sum(p * of[key] for p, of in zip(instance.probabilities, found, strict=True)))
            for name, key in [("adversarial_risk", "R"), ("clean_risk", "clean_risk"), ("robust_error", "robust_error")]
        }
        row |= {"norm2": x @ x + np.trace(V), "overlap": float(x @ instance.teacher)}
        rows.append({**row, "distance2": float(np.sum((x - instance.teacher) ** 2) + np.trace(V))})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_two_classes_that_do_not_commute_agree_with_an_independent_integration() -> None:
    instance, times = two_classes(40, start_norm=0.5), [0.5, 2.0]
    expected = reference_curve(instance, 0.3, 0.7, times)
    found = solve(LOGISTIC, instance, Constant(0.7), {"epsilon": 0.3}, times=times, rtol=1e-9)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=2e-8, abs=2e-9), name


def test_two_classes_that_do_not_commute_agree_with_sgd() -> None:
    """Within four standard errors (false alarms: 1e-3 over the 15 numbers) and a bias of 1/d of each statistic."""
    instance, times = two_classes(40, start_norm=1.0), [1.0, 4.0, 8.0]
    setting: Any = (Constant(0.7), {"epsilon": 0.3})
    limit = solve(LOGISTIC, instance, *setting, times=times)
    ensemble = simulate(LOGISTIC, instance, *setting, times=times, runs=400, seed=5)
    assert ensemble.times.tolist() == times

    def agrees(trajectory: Any, name: str) -> bool:
        allowed = 4 * ensemble.standard_error(name) + np.abs(trajectory[name]) / instance.dimension
        return bool(np.all(np.abs(ensemble.mean(name) - trajectory[name]) <= allowed))

    assert all(agrees(limit, name) for name in ensemble.names)
    # and the same would not do for one covariance in place of the two
    pooled = np.tensordot(instance.probabilities, instance.covariances, 1)
    approximate = solve(LOGISTIC, replace(instance, covariances=pooled), *setting, times=times)
    assert not all(agrees(approximate, name) for name in ensemble.names)


def integration_of(instance: DenseInstance, model: Any, parameters: dict[str, float]) -> DenseDynamics:
    kernel = load_kernel(model, backend="numpy")
    values = np.array([[parameters.get(name, 0.0)] * instance.classes for name in kernel.parameters])
    return DenseDynamics.of(kernel, instance, values)


@pytest.mark.parametrize("setting", ["adversarial, ridge", "logistic"])
def test_the_risk_changes_along_the_flow_as_theory_says(setting: str) -> None:
    """The integral of −γS + γ²W, by Gauss–Legendre, is the change of ℛ, the ridge included (§3.7)."""
    model, _, values = SETTINGS[setting]
    instance, gamma = two_classes(20, start_norm=0.7), 0.6
    dynamics = integration_of(instance, model, values)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    times = np.concatenate([[1.0], 1.5 + nodes / 2, [2.0]])
    slopes, risks, state = [], [], None
    for time in times:
        found = solve(model, instance, Constant(gamma), values, times=[time], rtol=1e-11, start=state, backend="numpy")
        state = found.final
        flow = dynamics.flow(state.mean - dynamics.teacher, state.variance)
        slopes.append(-gamma * flow.risk_descent + gamma**2 * flow.risk_noise)
        risks.append(found["adversarial_risk"][0] + values.get("tau", 0.0) / 2 * found["norm2"][0])
    assert risks[-1] - risks[0] == pytest.approx(weights @ slopes[1:-1] / 2, rel=1e-8)


def test_a_flow_knows_the_steepest_step() -> None:
    """S, W and their likes of the distance are the derivatives of risk and distance along a step of the equations."""
    model, _, parameters = SETTINGS["adversarial, ridge"]
    instance = two_classes(15, start_norm=0.8)
    dynamics = integration_of(instance, model, parameters)
    d = instance.dimension
    e, V = instance.start - dynamics.teacher, covariance(d, 0.7, seed=9) / d
    flow = dynamics.flow(e, V)
    optimum = np.linspace(-0.2, 0.2, d)

    def at(gamma: float, h: float) -> tuple[float, float]:
        dV = -gamma * (flow.product + flow.product.T) + gamma**2 / d * flow.noise
        summary = dynamics.summary(e - h * gamma * flow.drift, V + h * dV)
        risk = instance.probabilities @ dynamics.coefficients(summary)["R"] + dynamics.tau / 2 * summary.norm2
        x = dynamics.teacher + e - h * gamma * flow.drift
        return float(risk), float(np.sum((x - optimum) ** 2) + np.trace(V + h * dV))

    for gamma in (0.3, 1.1):
        h = 1e-4
        risk, distance = (np.array(at(gamma, h)) - np.array(at(gamma, -h))) / (2 * h)
        assert risk == pytest.approx(-gamma * flow.risk_descent + gamma**2 * flow.risk_noise, rel=1e-6)
        descent = flow.distance_descent(dynamics.teacher + e - optimum)
        assert distance == pytest.approx(-2 * gamma * descent + gamma**2 * flow.noise_rate, rel=1e-6)


def test_the_variance_stays_a_covariance_and_modes_are_its_diagonal() -> None:
    instance = two_classes(30)
    found = solve(ADVERSARIAL, instance, Constant(0.8), {"epsilon": 0.3, "sigma": 0.5}, times=[1.0, 6.0], modes=True)
    V = found.final.variance
    assert np.array_equal(V, V.T)
    assert np.linalg.eigvalsh(V)[0] > 0
    assert found.modes is not None
    means, variances = found.modes
    assert means.shape == variances.shape == (2, 30)
    assert variances[-1] == pytest.approx(np.diagonal(V))
    assert found["norm2"][-1] == pytest.approx(means[-1] @ means[-1] + variances[-1].sum())


def test_a_singular_covariance_leaves_no_negative_variance() -> None:
    """Directions that neither class sees keep the start and no variance."""
    factors = np.random.default_rng(0).standard_normal((2, 12, 4))
    instance = DenseInstance(
        probabilities=[0.5, 0.5],
        covariances=factors @ factors.swapaxes(1, 2),
        labels=[-1, 1],
        means=factors[:, :, 0],
        start=np.ones(12),
    )
    found = solve(LOGISTIC, instance, Constant(0.3), {"epsilon": 0.0}, horizon=10.0)
    blind = np.linalg.svd(np.hstack(list(factors)))[0][:, 8:]
    assert np.linalg.eigvalsh(found.final.variance)[0] > -1e-8 * np.trace(found.final.variance)
    assert blind.T @ found.final.mean == pytest.approx(blind.T @ np.ones(12), abs=1e-12)
    assert np.abs(blind.T @ found.final.variance).max() < 1e-14


def test_a_noiseless_decay_over_twelve_decades_keeps_its_relative_accuracy() -> None:
    """Σ = E of (x − X*)(x − X*)' obeys a linear equation, whose exponential is known."""
    d, gamma, horizon = 6, 0.8, 40.0
    C = np.array([covariance(d, 0.4, seed=1), covariance(d, 0.6, seed=2)])
    instance = DenseInstance(probabilities=[0.5, 0.5], covariances=C, teacher=np.full(d, d**-0.5))
    found = solve(LEAST_SQUARES, instance, Constant(gamma), {"sigma": 0.0}, times=[horizon / 2, horizon])
    mean = C.mean(axis=0)
    identity = np.eye(d)
    operator = -gamma * (np.kron(mean, identity) + np.kron(identity, mean))
    operator += gamma**2 / d * sum(0.5 * np.outer(c.ravel(), c.ravel()) for c in C)
    rates, basis = np.linalg.eigh(operator)
    risk = (basis.T @ mean.ravel()) @ (np.exp(rates * horizon) * (basis.T @ np.full(d * d, 1 / d))) / 2
    assert risk < 1e-12  # slow modes are left, and eigenvalues are known to 1e-15
    assert found["adversarial_risk"][-1] == pytest.approx(risk, rel=1e-7)


def test_a_solve_restarts_from_its_final_state() -> None:
    instance, values = two_classes(16), {"epsilon": 0.3, "sigma": 0.5}
    whole = solve(ADVERSARIAL, instance, Constant(0.6), values, times=[2.0, 5.0])
    first = solve(ADVERSARIAL, instance, Constant(0.6), values, times=[2.0])
    second = solve(ADVERSARIAL, instance, Constant(0.6), values, times=[5.0], start=first.final)
    for name in whole.names:
        assert second[name][-1] == pytest.approx(whole[name][-1], rel=1e-7)
    diagonal = State(2.0, np.zeros(16), np.zeros(16))
    with pytest.raises(InputError, match=r"needs a mean \[16\] and a covariance matrix \[16, 16\]"):
        solve(ADVERSARIAL, instance, Constant(0.6), values, times=[5.0], start=diagonal)


def test_statistics_of_the_users_are_solved_and_simulated_with_the_others() -> None:
    statistics = {"margin": Expectation("y*r"), "ratio": Formula("margin/norm2**0.5")}
    instance = two_classes(20, start_norm=0.5)
    arguments: Any = (LOGISTIC, instance, Constant(0.5), {"epsilon": 0.2})
    found = solve(*arguments, times=[2.0], statistics=statistics, modes=True, backend="numpy")
    assert found.modes is not None
    assert instance.labels is not None
    margin = float((instance.probabilities * instance.labels) @ instance.means @ found.modes[0][-1])
    assert found["margin"][-1] == pytest.approx(margin, rel=1e-12)
    assert found["ratio"][-1] == pytest.approx(margin / math.sqrt(found["norm2"][-1]), rel=1e-12)
    assert simulate(*arguments, times=[2.0], statistics=statistics, runs=4)["ratio"].shape == (4, 1)


def test_divergence_tells_the_time_and_keeps_the_curve() -> None:
    instance = two_classes(20)
    with pytest.raises(Diverged) as caught:
        solve(LEAST_SQUARES, instance, Constant(4.0), {"sigma": 0.5}, horizon=60)
    assert 0 < caught.value.time < 60
    partial = caught.value.partial["adversarial_risk"]
    assert len(partial) == np.sum(np.linspace(0, 60, 201) < caught.value.time)
    assert np.isfinite(partial).all()
    with pytest.raises(Diverged, match=r"run \d left every bound"):
        simulate(LEAST_SQUARES, instance, Constant(8.0), {"sigma": 0.5}, horizon=60, runs=2)


def test_memory_is_a_number_of_matrices_whatever_the_horizon() -> None:
    """At d = 784 with two classes: less than forty matrices of d², the instance's own two not counted."""
    d = 784
    values = np.linspace(0.5, 1.5, d)
    mixed = np.diag(values)
    mixed[:2, :2] = [[1.0, 0.3], [0.3, 0.7]]
    instance = DenseInstance(
        probabilities=[0.5, 0.5], covariances=[np.diag(values), mixed], means=np.eye(2, d), labels=[-1, 1]
    )
    kernel = load_kernel(LOGISTIC)
    tracemalloc.start()
    try:
        solve(LOGISTIC, instance, Constant(0.5), {"epsilon": 0.1}, times=[1e-4, 2e-4], rtol=1e-3, kernel=kernel)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * 8 * d * d


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "labels: the target Labels() needs one label per class"),
        ({"parameters": {}}, "parameter epsilon: it has no value"),
        ({"parameters": {"epsilon": -1.0}}, "parameter epsilon: -1 is negative"),
        ({"schedule": Schedule("1 - t")}, "schedule: 1 - t is"),
        ({"rtol": 1.0}, "rtol: 1 is not between"),
        ({"horizon": None}, "horizon: neither a horizon nor times were given"),
    ],
)
def test_input_that_cannot_be_gets_the_same_sentences_as_elsewhere(change: dict[str, Any], message: str) -> None:
    instance = two_classes(6)
    if "labels" in change:
        instance = replace(instance, labels=None)
    arguments: dict[str, Any] = {"schedule": Constant(0.5), "parameters": {"epsilon": 0.1}, "horizon": 4.0}
    arguments["backend"] = "numpy"
    arguments |= {name: value for name, value in change.items() if name != "labels"}
    with pytest.raises(InputError) as caught:
        solve(LOGISTIC, instance, **arguments)
    assert str(caught.value).startswith(message)
    if "rtol" not in change:
        with pytest.raises(InputError) as caught:
            simulate(LOGISTIC, instance, **arguments)
        assert str(caught.value).startswith(message)


# ── SGD ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_a_function_of_seed_and_index_alone() -> None:
    instance = two_classes(20)
    arguments: Any = (ADVERSARIAL, instance, Constant(0.6), {"epsilon": 0.3, "sigma": 0.5})
    whole = simulate(*arguments, times=[1.0, 20.0], runs=5, seed=3)
    part = simulate(*arguments, times=[20.0], runs=2, seed=3, first_run=2)
    assert np.array_equal(whole["norm2"][2:4, 1], part["norm2"][:, 0])
    assert not np.array_equal(whole["norm2"], simulate(*arguments, times=[1.0, 20.0], runs=5, seed=4)["norm2"])


def test_dense_sgd_is_diagonal_sgd_in_law() -> None:
    """Means over 400 runs agree within five standard errors (false alarms: 1e-5 over the 12 numbers)."""
    diagonal, dense = (
        simulate(ADVERSARIAL, e, Constant(0.8), {"epsilon": 0.3, "sigma": 0.5}, times=[1.0, 5.0], runs=400)
        for e in commuting()
    )
    assert dense.names == diagonal.names
    for name in dense.names:
        error = np.hypot(dense.standard_error(name), diagonal.standard_error(name))
        assert np.all(np.abs(dense.mean(name) - diagonal.mean(name)) < 5 * error), name


def test_progress_is_told_and_other_backends_are_refused() -> None:
    told: list[tuple[int, int]] = []
    instance = two_classes(10)
    arguments: Any = (LEAST_SQUARES, instance, Constant(0.5), {"sigma": 0.5})
    ensemble = simulate(*arguments, horizon=2.0, runs=3, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (60, 60)
    assert (ensemble.backend, ensemble.dimension) == ("numpy", 10)
    with pytest.raises(InputError, match="there is no C for them"):
        simulate(*arguments, horizon=2.0, runs=3, backend="c")


def test_an_integration_that_cannot_go_on_says_so() -> None:
    instance = two_classes(4)
    with pytest.raises(BackendError, match="the integrator stopped at t = "):
        solve(LEAST_SQUARES, instance, Constant(0.5), {"sigma": 0.5, "tau": 1e9}, horizon=1e3, backend="numpy")
