"""Rest points of constant learning rates, against linear algebra, long solves and solves that diverge."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

import sgdlimit as sl
from sgdlimit.runtime import rest
from sgdlimit.runtime.kernel import load_kernel
from sgdlimit.runtime.problem import build_problem
from sgdlimit.runtime.rest import RestPoint, rest_point

LEAST_SQUARES = sl.Model(sl.Loss("(r - y)**2/2"), sl.Teacher("r_star + sigma*xi"), sl.L2Adversary())
LOGISTIC = sl.Model(sl.Loss("log(1 + exp(-y*r))"), sl.Labels(), sl.L2Adversary())
POWER_LAW = sl.Instance.power_law(40, exponent=0.25)


def at_rest(model: sl.Model, instance: sl.Instance, gamma: float, **parameters: float) -> RestPoint:
    return rest_point(model, instance, sl.Constant(gamma), parameters, backend="numpy")


def test_docstrings_run() -> None:
    assert doctest.testmod(rest).failed == 0


@pytest.mark.parametrize(
    ("epsilon", "sigma", "tau"), [(0.3, 0.5, 0.0), (0.3, 0.5, 0.2), (2.0, 0.5, 0.0), (0.05, 0.0, 0.0)]
)
@pytest.mark.parametrize("gamma", [0.01, 1.5])
def test_the_limiting_iterate_is_the_ridge_solution_at_the_limiting_ridge(
    epsilon: float, sigma: float, tau: float, gamma: float
) -> None:
    """Dense linear algebra in a rotated basis; also where the optimum is 0, or the teacher."""
    found = at_rest(LEAST_SQUARES, POWER_LAW, gamma, epsilon=epsilon, sigma=sigma, tau=tau)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 40)))[0]
    C = rotation * POWER_LAW.eigenvalues[0] @ rotation.T
    ridge = np.linalg.solve(C + found.effective_ridge * np.eye(40), C @ (rotation @ POWER_LAW.teacher))
    np.testing.assert_allclose(rotation @ found.mean, ridge, atol=1e-13)
    # and the ridge, the risk and the variance fit together (docs/theory.md §6)
    lam, x, v = POWER_LAW.eigenvalues[0], found.mean, found.variance
    a, n = math.sqrt(2 / math.pi), math.sqrt(float((x**2 + v).sum()))
    s, kappa = math.sqrt(float(lam @ ((x - POWER_LAW.teacher) ** 2 + v)) + sigma**2), epsilon * n
    B, F = 1 + a * kappa / s, epsilon * (a * s + kappa)
    assert found.effective_ridge == pytest.approx((F / n + tau) / B, rel=1e-10)
    assert found.adversarial_risk == pytest.approx(s**2 / 2 + a * kappa * s + kappa**2 / 2, rel=1e-10)
    np.testing.assert_allclose(
        v, gamma * lam / 40 * 2 * found.adversarial_risk / (2 * B * (lam + found.effective_ridge)), rtol=1e-9
    )
    assert found.residual < 1e-11


REST = {
    "least squares": (LEAST_SQUARES, sl.Instance.isotropic(20), 0.8, {"epsilon": 0.3, "sigma": 0.5}),
    "logistic, two classes": (LOGISTIC, sl.Instance.isotropic(20, mean_norm=1.0, labels=[1.0, -1.0]), 1.0, {"epsilon": 0.3}),
    "Huber": (sl.Model(sl.Loss("Piecewise(((r - y)**2/2, Abs(r - y) <= 1), (Abs(r - y) - 1/2, True))"), sl.Teacher("r_star + sigma*xi")), sl.Instance.isotropic(20), 0.7, {"sigma": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize("name", REST)
def test_a_long_solve_ends_there(name: str) -> None:
    model, instance, gamma, parameters = REST[name]
    kernel = load_kernel(model, backend="numpy")
    found = rest_point(model, instance, sl.Constant(gamma), parameters, kernel=kernel)
    curve = sl.solve(model, instance, sl.Constant(gamma), parameters, times=[300.0], rtol=1e-9, kernel=kernel)
    np.testing.assert_allclose(curve.final.mean, found.mean, atol=1e-7)
    np.testing.assert_allclose(curve.final.variance, found.variance, rtol=1e-6)
    assert curve["adversarial_risk"][-1] == pytest.approx(found.adversarial_risk, rel=1e-7)
    assert curve["effective_ridge"][-1] == pytest.approx(found.effective_ridge, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("loss", "target", "parameters"), [
    ("Max(0, 1 - y*r)**2", sl.Labels(), {"epsilon": 0.2}),
    ("log(1 + exp(-y*r))", sl.Teacher("sign(r_star)"), {"epsilon": 0.3, "tau": 0.1}),
    ("exp(-y*r)", sl.Labels(), {"epsilon": 0.1}),
])  # fmt: skip
def test_nothing_moves_at_rest(loss: str, target: object, parameters: dict[str, float]) -> None:
    """By the emitted right-hand side, for two classes with covariances of their own."""
    model = sl.Model(sl.Loss(loss), target, sl.L2Adversary())  # type: ignore[arg-type]
    lam = np.linspace(0.5, 1.5, 10)
    instance = sl.Instance(
        probabilities=[0.3, 0.7], eigenvalues=[lam, lam[::-1]], means=[np.full(10, 0.2), np.linspace(-0.4, 0.1, 10)],
        labels=[1.0, -1.0], teacher=np.full(10, 0.3), start=np.zeros(10),
    )  # fmt: skip
    kernel = load_kernel(model, backend="numpy")
    found = rest_point(model, instance, sl.Constant(0.3), parameters, kernel=kernel)
    problem = build_problem(
        kernel, model, instance, sl.Constant(0.3), parameters, np.ones(1), start_mean=instance.start
    )
    dx, dv = kernel.rhs(problem, 0, 0.0, found.mean, found.variance)
    assert np.linalg.norm(dx) < 1e-10
    assert np.linalg.norm(dv) < 1e-10 * np.linalg.norm(found.variance)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_isotropic_adversarial_least_squares_is_stable_below_two_over_lambda_whatever_the_radius(
    epsilon: float, sigma: float
) -> None:
    instance = sl.Instance.isotropic(30, eigenvalue=0.8)
    found = at_rest(LEAST_SQUARES, instance, 1.0, epsilon=epsilon, sigma=sigma)
    assert found.largest_stable_gamma == pytest.approx(2 / 0.8, rel=1e-10)


@pytest.mark.parametrize(("model", "instance", "parameters"), [
    (LEAST_SQUARES, POWER_LAW, {"epsilon": 0.4, "sigma": 0.3, "tau": 0.2}),
    (sl.Model(sl.Loss("Max(0, 1 - y*r)**2"), sl.Labels()), sl.Instance.isotropic(12, mean_norm=0.5, labels=[1.0, -1.0]), {}),
])  # fmt: skip
def test_solves_converge_below_the_largest_stable_rate_and_diverge_above(
    model: sl.Model, instance: sl.Instance, parameters: dict[str, float]
) -> None:
    kernel = load_kernel(model, backend="numpy")
    largest = rest_point(model, instance, sl.Constant(0.1), parameters, kernel=kernel).largest_stable_gamma
    below = rest_point(model, instance, sl.Constant(0.95 * largest), parameters, kernel=kernel)
    start = sl.State(0.0, below.mean * 0.9, below.variance * 1.1)
    curve = sl.solve(
        model, instance, sl.Constant(0.95 * largest), parameters, 300.0, rtol=1e-5, start=start, kernel=kernel
    )
    assert curve["adversarial_risk"][-1] == pytest.approx(below.adversarial_risk, rel=1e-2)
    with pytest.raises(sl.Diverged):
        sl.solve(
            model, instance, sl.Constant(1.05 * largest), parameters, 2000.0, rtol=1e-5, start=start, kernel=kernel
        )


def test_an_exponential_loss_has_a_largest_rate_where_the_branch_turns_back() -> None:
    model = sl.Model(sl.Loss("exp(-y*r)"), sl.Labels())
    instance = sl.Instance.isotropic(12, mean_norm=0.5, labels=[1.0, -1.0])
    kernel = load_kernel(model, backend="numpy")
    largest = rest_point(model, instance, sl.Constant(0.1), {}, kernel=kernel).largest_stable_gamma
    rest_point(model, instance, sl.Constant(largest * (1 - 1e-6)), {}, kernel=kernel)
    with pytest.raises(sl.ParameterError, match="nothing rests"):
        rest_point(model, instance, sl.Constant(largest * (1 + 1e-6)), {}, kernel=kernel)
    below = rest_point(model, instance, sl.Constant(0.9 * largest), {}, kernel=kernel)
    curve = sl.solve(model, instance, sl.Constant(0.9 * largest), {}, 300.0, rtol=1e-5, kernel=kernel)
    assert curve["adversarial_risk"][-1] == pytest.approx(below.adversarial_risk, rel=1e-3)
    # above, an end in finite time: the integrator's steps may shrink to nothing first
    with pytest.raises((sl.Diverged, sl.BackendError)):
        sl.solve(model, instance, sl.Constant(1.03 * largest), {}, 300.0, rtol=1e-5, kernel=kernel)


def test_bounded_gradients_hold_every_rate() -> None:
    instance = sl.Instance.isotropic(12, mean_norm=0.5, labels=[1.0, -1.0])
    found = at_rest(sl.Model(sl.Loss("Max(0, 1 - y*r)"), sl.Labels()), instance, 0.5)
    assert found.largest_stable_gamma == math.inf


def test_without_noise_it_rests_at_the_teacher_below_two_over_the_mean_eigenvalue() -> None:
    found = at_rest(LEAST_SQUARES, POWER_LAW, 1.0, epsilon=0.0, sigma=0.0)
    np.testing.assert_allclose(found.mean, POWER_LAW.teacher, atol=1e-15)
    assert not found.variance.any()
    assert found.largest_stable_gamma == pytest.approx(2 / POWER_LAW.eigenvalues.mean(), rel=1e-12)
    with pytest.raises(sl.ParameterError, match=r"nothing rests.*largest stable learning rate is 4\.6"):
        at_rest(LEAST_SQUARES, POWER_LAW, 5.0, epsilon=0.0, sigma=0.0)


def test_a_small_rate_rests_near_the_optimum() -> None:
    for epsilon, sigma in ((0.3, 0.5), (2.0, 0.5), (0.01, 0.0)):
        parameters = {"epsilon": epsilon, "sigma": sigma}
        best = sl.optimum(LEAST_SQUARES, POWER_LAW, parameters, backend="numpy")
        found = at_rest(LEAST_SQUARES, POWER_LAW, 1e-6, **parameters)
        assert np.linalg.norm(found.mean - best.x) < 1e-5
        assert found.adversarial_risk == pytest.approx(best.adversarial_risk, rel=1e-5)
        assert found.adversarial_risk > best.adversarial_risk


def test_a_block_of_infinite_dimension_rests_as_its_finite_instances_do() -> None:
    instance = sl.Instance.zero_one(24, fraction=0.5, teacher_norm=1.0)
    risks = [
        at_rest(LEAST_SQUARES, instance.at_dimension(d), 0.7, epsilon=0.3, sigma=0.4).adversarial_risk
        for d in (24, 240, math.inf)
    ]
    assert risks[1:] == pytest.approx(risks[:1] * 2, rel=1e-10)


def test_bad_input_is_told() -> None:
    with pytest.raises(sl.InputError, match=r"nothing rests; give Constant"):
        rest_point(LEAST_SQUARES, POWER_LAW, sl.Schedule("1/(1 + t)"), {"epsilon": 0.1, "sigma": 0.1}, backend="numpy")
    with pytest.raises(sl.ParameterError, match="sigma: it has no value"):
        at_rest(LEAST_SQUARES, POWER_LAW, 0.1, epsilon=0.1)
    with pytest.raises(sl.ParameterError, match=r"gamma: at 4 nothing rests.*largest stable learning rate is 2"):
        at_rest(LEAST_SQUARES, sl.Instance.isotropic(20), 4.0, epsilon=0.1, sigma=0.1)
    separable = sl.Instance.zero_one(20, fraction=0.5, mean_norm=1.0, labels=[1.0, -1.0])
    with pytest.raises(sl.NoMinimiser):
        at_rest(LOGISTIC, separable, 0.1, epsilon=0.1)


def test_public_names() -> None:
    assert sl.rest_point is rest_point
    assert "γ = 0.5" in repr(at_rest(LEAST_SQUARES, POWER_LAW, 0.5, epsilon=0.1, sigma=0.1))
