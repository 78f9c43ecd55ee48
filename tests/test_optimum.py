"""The adversarial optimum, against minimisation of the risk by brute force, closed forms and conditions of its own."""

from __future__ import annotations

import doctest
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, minimize_scalar

import sgdlimit as sl
from sgdlimit.derive import convexity as derived_convexity
from sgdlimit.runtime import convexity as kept_convexity
from sgdlimit.runtime import minimiser as optimum_module
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.kernel import load_kernel
from sgdlimit.runtime.minimiser import Optimum, optimum, risk_of
from sgdlimit.runtime.problem import build_problem

Array = NDArray[np.float64]

LEAST_SQUARES = sl.Model(sl.Loss("(r - y)**2/2"), sl.Teacher("r_star + sigma*xi"), sl.L2Adversary())
LOGISTIC = sl.Model(sl.Loss("log(1 + exp(-y*r))"), sl.Labels(), sl.L2Adversary())
SIGN_TEACHER = sl.Model(sl.Loss("log(1 + exp(-y*r))"), sl.Teacher("sign(r_star)"), sl.L2Adversary())
HUBER = "Piecewise(((r - y)**2/2, Abs(r - y) <= delta), (delta*Abs(r - y) - delta**2/2, True))"


def best_of(model: sl.Model, instance: sl.Instance, **parameters: float) -> Optimum:
    return optimum(model, instance, parameters, backend="numpy")


@pytest.mark.parametrize("module", [optimum_module, derived_convexity, kept_convexity])
def test_docstrings_run(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


# ── Against brute force ─────────────────────────────────────────────────────────────────────────────────────


def sup(f: Callable[[Array], Array], r: Array, kappa: float) -> Array:
    """The largest loss over the interval, by looking."""
    return np.max([f(r + s) for s in np.linspace(-kappa, kappa, 21)], axis=0)


def gaussian_mean(f: Callable[[Array], Array], mean: float, variance: float) -> float:
    z = np.linspace(-9, 9, 6001)
    weights = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    return float(weights @ f(mean + math.sqrt(variance) * z))


def brute_risk(
    instance: sl.Instance, f: Callable[[Array, float], Array], x: Array, epsilon: float, tau: float, sigma: float | None
) -> float:
    """The risk by its definition: ``sigma`` None means labels, else a loss of the residual and a linear teacher."""
    total, kappa = 0.5 * tau * float(x @ x), epsilon * float(np.linalg.norm(x))
    for i, p in enumerate(instance.probabilities):
        lam, mu = instance.eigenvalues[i], instance.means[i]
        if sigma is None:
            assert instance.labels is not None
            y = float(instance.labels[i])
            mean, variance = float(mu @ x), float(lam @ x**2)
        else:
            assert instance.teacher is not None
            y, e = 0.0, x - instance.teacher
            mean, variance = float(mu @ e), float(lam @ e**2) + sigma**2
        total += p * gaussian_mean(lambda r, y=y: sup(lambda s: f(s, y), r, kappa), mean, variance)  # type: ignore[misc]
    return total


BRUTE = {
    "logistic": (LOGISTIC, lambda r, y: np.logaddexp(0, -y * r), {"epsilon": 0.4, "tau": 0.0}, None),
    "squared hinge": (sl.Model(sl.Loss("Max(0, 1 - y*r)**2"), sl.Labels(), sl.L2Adversary()), lambda r, y: np.maximum(0, 1 - y * r) ** 2, {"epsilon": 0.2, "tau": 0.1}, None),
    "least squares": (LEAST_SQUARES, lambda u, y: 0.5 * u**2, {"epsilon": 0.3, "tau": 0.05, "sigma": 0.4}, 0.4),
    "Huber": (sl.Model(sl.Loss(HUBER), sl.Teacher("r_star + sigma*xi"), sl.L2Adversary()), lambda u, y: np.where(abs(u) < 0.7, u**2 / 2, 0.7 * abs(u) - 0.245), {"epsilon": 0.3, "tau": 0.0, "sigma": 0.4, "delta": 0.7}, 0.4),
}  # fmt: skip


@pytest.mark.parametrize("name", BRUTE)
def test_the_minimiser_is_that_of_the_risk_by_brute_force(name: str) -> None:
    model, f, parameters, sigma = BRUTE[name]
    instance = sl.Instance(
        probabilities=[0.4, 0.6],
        eigenvalues=[[1.5, 0.8, 0.3], [0.9, 1.1, 0.5]],
        means=[[0.6, -0.2, 0.3], [-0.5, 0.4, 0.1]],
        labels=[1.0, -1.0],
        teacher=[0.7, 0.5, -0.6],
        start=[0.0, 0.0, 0.0],
    )
    found = best_of(model, instance, **parameters)

    def risk(x: Array) -> float:
        return brute_risk(instance, f, x, parameters["epsilon"], parameters["tau"], sigma)

    brute = minimize(risk, found.x + 0.1, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-13})
    assert found.kind == "minimiser"
    assert found.is_global
    assert found.objective == pytest.approx(brute.fun, rel=2e-6)  # the trapezoid rule over kinks
    np.testing.assert_allclose(found.x, brute.x, atol=2e-3)
    assert found.objective == pytest.approx(risk(found.x), rel=2e-6)
    assert found.adversarial_risk == pytest.approx(
        found.objective - 0.5 * parameters["tau"] * float(found.x @ found.x), rel=1e-12
    )


CONVEX = [
    ("log(cosh(r - y))", sl.Teacher("r_star + sigma*xi"), {"sigma": 0.3}),
    ("Max(0, 1 - y*r)", sl.RandomLabels("sigmoid(r_star)"), {}),
    ("log(1 + exp(-y*r))", sl.Teacher("sign(r_star)"), {}),
    ("Max(q*(r - y), (q - 1)*(r - y))", sl.Teacher("r_star + sigma*xi"), {"sigma": 0.5, "q": 0.7}),
    ("exp(-y*r)", sl.Labels(), {}),
]


@pytest.mark.parametrize(("loss", "target", "parameters"), CONVEX)
@pytest.mark.parametrize("epsilon", [0.0, 0.15])
def test_the_mode_equations_rest_at_the_optimum(
    loss: str, target: object, parameters: dict[str, float], epsilon: float
) -> None:
    """S = 0, by the emitted right-hand side; and no point around it is lower."""
    model = sl.Model(sl.Loss(loss), target, sl.L2Adversary())  # type: ignore[arg-type]
    instance = sl.Instance.power_law(
        8, exponent=0.25, labels=[1.0, -1.0], mean_norm=0.8, mean_overlap=0.3, teacher_norm=1.2
    )
    kernel = load_kernel(model, backend="numpy")
    given = {**parameters, "epsilon": epsilon, "tau": 0.02}
    found = optimum(model, instance, given, kernel=kernel)
    assert found.residual < 1e-13
    problem = build_problem(kernel, model, instance, sl.Constant(1.0), given, np.ones(1), start_mean=instance.start)
    drift, _ = kernel.rhs(problem, 0, 0.0, found.x, np.zeros(instance.modes))
    assert np.linalg.norm(drift) < 1e-11
    risk, random = risk_of(kernel, model, instance, given), np.random.default_rng(1)
    for _ in range(10):
        step = random.standard_normal(instance.modes)
        assert risk.value(risk.at(found.x + 0.01 * step)) > found.objective


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
def test_both_backends_have_one_optimum() -> None:
    instance = sl.Instance.power_law(20, exponent=0.25)
    c, numpy = (optimum(LEAST_SQUARES, instance, {"epsilon": 0.3, "sigma": 0.5}, backend=b) for b in ("c", "numpy"))
    np.testing.assert_allclose(c.x, numpy.x, rtol=1e-13)


# ── Adversarial least squares ───────────────────────────────────────────────────────────────────────────────

A = math.sqrt(2 / math.pi)
POWER_LAW = sl.Instance.power_law(50, exponent=0.25)
LAM, TEACHER = POWER_LAW.eigenvalues[0], POWER_LAW.teacher
assert TEACHER is not None


def closed_ridge(epsilon: float, sigma: float, tau: float = 0.0) -> float:
    """``δ`` of the fixed point of docs/theory.md §6, by bisection."""

    def excess(delta: float) -> float:
        x = LAM * TEACHER / (LAM + delta)
        n, s = float(np.linalg.norm(x)), math.sqrt(sigma**2 + float(LAM @ (x - TEACHER) ** 2))
        kappa = epsilon * n
        return delta * (1 + A * kappa / s) - epsilon * (A * s + kappa) / n - tau

    return float(brentq(excess, 1e-14, 1e3, xtol=1e-18, rtol=1e-14))


@pytest.mark.parametrize(
    ("epsilon", "sigma", "tau"), [(0.3, 0.5, 0.0), (0.05, 0.1, 0.2), (0.9, 0.3, 0.0), (0.2, 0.0, 0.1)]
)
def test_adversarial_least_squares_has_its_closed_fixed_point(epsilon: float, sigma: float, tau: float) -> None:
    found = best_of(LEAST_SQUARES, POWER_LAW, epsilon=epsilon, sigma=sigma, tau=tau)
    delta = closed_ridge(epsilon, sigma, tau)
    assert found.effective_ridge == pytest.approx(delta, rel=1e-11)
    np.testing.assert_allclose(found.x, LAM * TEACHER / (LAM + delta), rtol=1e-11)


def test_it_collapses_from_the_critical_radius_on() -> None:
    critical = best_of(LEAST_SQUARES, POWER_LAW, epsilon=0.1, sigma=0.5).critical_epsilon
    assert critical is not None
    Q_star = float(LAM @ TEACHER**2)
    assert critical == pytest.approx(np.linalg.norm(LAM * TEACHER) / (A * math.sqrt(Q_star + 0.25)), rel=1e-13)
    above = best_of(LEAST_SQUARES, POWER_LAW, epsilon=critical * (1 + 1e-9), sigma=0.5, tau=0.3)
    assert above.collapsed
    assert not above.x.any()
    assert above.effective_ridge == math.inf
    assert above.adversarial_risk == pytest.approx((Q_star + 0.25) / 2, rel=1e-14)
    norms = [
        np.linalg.norm(best_of(LEAST_SQUARES, POWER_LAW, epsilon=critical * (1 - gap), sigma=0.5).x)
        for gap in (1e-3, 1e-6)
    ]
    assert norms[1] > 0
    assert norms[1] / norms[0] == pytest.approx(1e-3, rel=1e-2)  # of first order in the gap


THRESHOLD = A * float(np.linalg.norm(TEACHER) / np.linalg.norm(TEACHER / np.sqrt(LAM)))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.9999, 1 - 1e-7])
def test_a_noiseless_teacher_is_the_optimum_below_a_threshold(share: float) -> None:
    found = best_of(LEAST_SQUARES, POWER_LAW, epsilon=share * THRESHOLD, sigma=0.0)
    np.testing.assert_array_equal(found.x, TEACHER)
    assert found.effective_ridge == 0
    assert found.residual < 1e-13
    assert found.adversarial_risk == pytest.approx((share * THRESHOLD) ** 2 * float(TEACHER @ TEACHER) / 2, rel=1e-13)


@pytest.mark.parametrize("gap", [1e-7, 1e-3, 0.5])
def test_just_above_the_threshold_it_is_a_ridge_solution_near_the_teacher(gap: float) -> None:
    epsilon = (1 + gap) * THRESHOLD
    found = best_of(LEAST_SQUARES, POWER_LAW, epsilon=epsilon, sigma=0.0)

    def excess(delta: float) -> float:  # the fixed point, divided by s, which vanishes with δ
        e = TEACHER / (LAM + delta)  # (X* − x)/δ
        n, s = float(np.linalg.norm(TEACHER - delta * e)), math.sqrt(float(LAM @ e**2))
        return A * epsilon * n + delta * s - epsilon / n * (A * delta * s + epsilon * n) * s

    assert found.effective_ridge == pytest.approx(brentq(excess, 1e-14, 10, xtol=1e-24, rtol=1e-13), rel=1e-6)
    np.testing.assert_allclose(found.x, LAM * TEACHER / (LAM + found.effective_ridge), rtol=1e-12)
    assert found.residual < 1e-13


@pytest.mark.parametrize(
    ("low", "radii"), [(0.2, (0.7, 1.0, 1.06, 1.2, 1.34, 1.38)), (0.5, (0.8, 0.96, 1.1, 1.22, 1.28, 1.305))]
)
def test_without_noise_it_is_found_at_radii_up_to_the_collapse(low: float, radii: tuple[float, ...]) -> None:
    """A wide blur collapses the risk before the risk itself does: the answer is the best of all ridge solutions."""
    lam, teacher = np.linspace(low, 2 - low, 40), np.full(40, 40**-0.5)
    instance = sl.Instance(probabilities=[1], eigenvalues=[lam], means=0, teacher=teacher, start=0 * teacher)
    kernel = load_kernel(LEAST_SQUARES, backend="numpy")
    for epsilon in radii:
        found = sl.optimum(LEAST_SQUARES, instance, {"epsilon": epsilon, "sigma": 0.0}, kernel=kernel)
        assert not found.collapsed

        def risk(log_ridge: float, radius: float = epsilon) -> float:
            x = lam * teacher / (lam + math.exp(log_ridge))
            s, n = math.sqrt(float(lam @ (x - teacher) ** 2)), float(np.linalg.norm(x))
            return s**2 / 2 + A * radius * n * s + (radius * n) ** 2 / 2

        least = minimize_scalar(risk, bounds=(-20, 20), method="bounded", options={"xatol": 1e-10})
        assert found.adversarial_risk == pytest.approx(least.fun, rel=1e-10)
        assert found.residual < 1e-12


def test_modes_that_no_score_sees_are_left_at_zero_and_carry_no_threshold() -> None:
    instance = sl.Instance.zero_one(12, fraction=0.5)
    assert instance.teacher is not None
    seen = instance.eigenvalues[0] > 0
    found = best_of(LEAST_SQUARES, instance, epsilon=0.3, sigma=0.0)
    np.testing.assert_array_equal(found.x, np.where(seen, instance.teacher, 0.0))


def test_a_small_radius_is_a_small_change() -> None:
    """To ridge regression, with and without noise, and to the teacher."""
    for tau, sigma in ((0.1, 0.5), (0.0, 0.5), (0.1, 0.0), (0.0, 0.0)):
        ridge = LAM * TEACHER / (LAM + tau)
        for epsilon in (0.0, 1e-12, 1e-8, 1e-4):
            found = best_of(LEAST_SQUARES, POWER_LAW, epsilon=epsilon, sigma=sigma, tau=tau)
            assert np.linalg.norm(found.x - ridge) <= 100 * epsilon + 1e-13


def test_a_kink_of_the_loss_makes_the_noiseless_teacher_the_optimum_without_an_adversary_too() -> None:
    model = sl.Model(sl.Loss("Abs(r - y)"), sl.Teacher("r_star"), sl.L2Adversary())
    # Σ p E|⟨x, e⟩| + ε(‖X* + e‖ − ‖X*‖): the same threshold, without the factor ‖X*‖
    threshold = A / float(np.linalg.norm(TEACHER / np.sqrt(LAM))) * float(np.linalg.norm(TEACHER))
    for epsilon in (0.0, 0.99 * threshold):
        np.testing.assert_array_equal(best_of(model, POWER_LAW, epsilon=epsilon).x, TEACHER)
    assert np.linalg.norm(best_of(model, POWER_LAW, epsilon=1.01 * threshold).x - TEACHER) > 1e-3


def test_a_risk_that_is_flat_at_the_teacher_is_minimal_there() -> None:
    model = sl.Model(sl.Loss("(r - y)**4/4"), sl.Teacher("r_star"))
    np.testing.assert_array_equal(best_of(model, POWER_LAW).x, TEACHER)


def test_many_modes_are_no_obstacle() -> None:
    instance = sl.Instance.power_law(20_000, exponent=0.25)
    found = best_of(LEAST_SQUARES, instance, epsilon=0.3, sigma=0.5)
    assert found.residual < 1e-14
    assert instance.teacher is not None
    lam = instance.eigenvalues[0]
    np.testing.assert_allclose(found.x, lam * instance.teacher / (lam + found.effective_ridge), rtol=1e-11)


# ── No minimiser ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_separable_classes_have_no_minimiser_and_the_error_knows_a_separating_direction(epsilon: float) -> None:
    instance = sl.Instance.zero_one(20, fraction=0.5, mean_norm=1.0, labels=[1.0, -1.0])
    with pytest.raises(sl.NoMinimiser, match=r"falls for ever along a direction.*from 0\.6931 at 0.*ridge") as raised:
        best_of(LOGISTIC, instance, epsilon=epsilon)
    u = raised.value.direction
    assert u.shape == (20,)
    assert np.linalg.norm(u) == pytest.approx(1)
    assert instance.labels is not None
    margins = instance.labels * (instance.means @ u)
    assert (margins - epsilon > 3 * np.sqrt(instance.eigenvalues @ u**2)).all()


def test_a_ridge_or_a_large_radius_gives_separable_classes_a_minimiser() -> None:
    instance = sl.Instance.zero_one(20, fraction=0.5, mean_norm=1.0, labels=[1.0, -1.0])
    assert best_of(LOGISTIC, instance, epsilon=0.3, tau=1e-3).residual < 1e-13
    # the means' part without variance has norm √½
    assert best_of(LOGISTIC, instance, epsilon=0.71).residual < 1e-13


def test_a_sign_teacher_is_separable_along_itself_but_not_with_a_margin() -> None:
    with pytest.raises(sl.NoMinimiser, match="cosine with the teacher is 1") as raised:
        best_of(SIGN_TEACHER, POWER_LAW, epsilon=0.0)
    np.testing.assert_allclose(raised.value.direction, TEACHER / np.linalg.norm(TEACHER), rtol=1e-12)
    assert best_of(SIGN_TEACHER, POWER_LAW, epsilon=0.01).residual < 1e-12


def test_a_risk_without_bound_has_no_minimiser() -> None:
    instance = sl.Instance.isotropic(10, mean_norm=1.0, labels=[1.0, -1.0])
    model = sl.Model(sl.Loss("-y*r"), sl.Labels())
    with pytest.raises(sl.NoMinimiser):
        best_of(model, instance)
    found = best_of(model, instance, tau=0.5)
    np.testing.assert_allclose(
        found.x, instance.probabilities @ (instance.labels[:, np.newaxis] * instance.means) / 0.5
    )  # type: ignore[index]


# ── Not convex ──────────────────────────────────────────────────────────────────────────────────────────────


def test_phase_retrieval_has_two_local_minima_of_one_risk() -> None:
    instance = sl.Instance.isotropic(12, eigenvalue=0.8)
    found = best_of(sl.Model(sl.Loss("(r**2 - y**2)**2/4"), sl.Teacher("r_star")), instance)
    assert found.kind == "local minimum"
    assert not found.is_global
    points = [found, *found.others]
    minima = [p for p in points if p.kind == "local minimum"]
    assert len(minima) == 2
    assert all(p.objective < 1e-25 for p in minima)
    assert sorted(float(p.x @ instance.teacher) for p in minima) == pytest.approx([-1, 1])
    assert [p.objective for p in points] == sorted(p.objective for p in points)
    assert found.critical_epsilon is None
    assert "2 others" in repr(found)  # one of them X = 0


def test_stationary_points_of_a_sigmoid_loss_are_stationary() -> None:
    instance = sl.Instance.isotropic(12, mean_norm=1.0, labels=[1.0, -1.0])
    model = sl.Model(sl.Loss("sigmoid(-y*r)"), sl.Labels(), sl.L2Adversary())
    kernel = load_kernel(model, backend="numpy")
    given = {"epsilon": 0.2, "tau": 0.02}
    found = optimum(model, instance, given, kernel=kernel)
    assert found.kind == "local minimum"
    problem = build_problem(kernel, model, instance, sl.Constant(1.0), given, np.ones(1), start_mean=instance.start)
    for point in (found, *found.others):
        if not point.collapsed:
            drift, _ = kernel.rhs(problem, 0, 0.0, point.x, np.zeros(12))
            assert np.linalg.norm(drift) < 1e-9
    # along the means, by brute force
    lengths = np.linspace(0, 8, 161)
    u = instance.means[0] / np.linalg.norm(instance.means[0])
    risks = [brute_risk(instance, lambda r, y: 1 / (1 + np.exp(y * r)), t * u, 0.2, 0.02, None) for t in lengths]
    assert found.objective <= min(risks) + 1e-9


def test_a_bounded_loss_without_a_ridge_may_have_no_stationary_point() -> None:
    instance = sl.Instance.isotropic(12, mean_norm=1.0, labels=[1.0, -1.0])
    with pytest.raises(sl.NoMinimiser):
        best_of(sl.Model(sl.Loss("sigmoid(-y*r)"), sl.Labels(), sl.L2Adversary()), instance, epsilon=0.0)


# ── Convexity ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    ["Abs(r - y)", "log(cosh(r - y))", "Max(0, 1 - y*r)", "exp(r) - y*r", "-log(Phi(y*r))", "sqrt(1 + (r - y)**2)"],
)
def test_convex_losses_are_shown_to_be(text: str) -> None:
    assert derived_convexity.convexity(sl.Loss(text)) == ()


@pytest.mark.parametrize(
    "text",
    [
        "log(1 + (r - y)**2)",
        "(r**2 - y**2)**2",
        "Min(1, Max(0, 1 - y*r))",
        "(tanh(r) - y)**2",
        "-(r - y)**2",
        "sin(r - y)",
    ],
)
def test_losses_that_are_not_convex_are_not(text: str) -> None:
    assert derived_convexity.convexity(sl.Loss(text)) is None


def test_a_loss_convex_at_some_parameters_is_so_only_there() -> None:
    model = sl.Model(sl.Loss("c*(r - y)**2 + (r - y)**4"), sl.Teacher("r_star + sigma*xi"))
    assert best_of(model, POWER_LAW, c=1.0, sigma=0.3).kind == "minimiser"
    assert best_of(model, POWER_LAW, c=-0.1, sigma=0.3).kind != "minimiser"


def test_a_known_loss_is_judged_without_sympy(tmp_path: Path) -> None:
    code = (
        "import sys; from sgdlimit.runtime.convexity import convexity; from sgdlimit.derive.model import Loss;"
        "print(convexity(Loss('Max(0, 1 - y*r)')), convexity(Loss('sigmoid(y*r)')), 'sympy' in sys.modules)"
    )
    environment = {**os.environ, "SGDLIMIT_CACHE": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert said == [["()", "None", "True"], ["()", "None", "False"]]
    for path in (tmp_path / "convexity").iterdir():
        path.write_text("{damaged")
    again = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    ).stdout
    assert again.split() == ["()", "None", "True"]


# ── Input ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_bad_input_is_told() -> None:
    with pytest.raises(sl.ParameterError, match="sigma: it has no value"):
        best_of(LEAST_SQUARES, POWER_LAW, epsilon=0.1)
    with pytest.raises(sl.ParameterError, match="no such parameter"):
        best_of(LEAST_SQUARES, POWER_LAW, epsilon=0.1, sigma=0.1, gamma=0.3)
    with pytest.raises(sl.InstanceError, match="needs one label"):
        best_of(LOGISTIC, POWER_LAW, epsilon=0.1)
    with pytest.raises(sl.InputError, match="none called 'fortran'"):
        optimum(LEAST_SQUARES, POWER_LAW, {"epsilon": 0.1, "sigma": 0.1}, backend="fortran")


def test_public_names() -> None:
    assert sl.optimum is optimum
    assert issubclass(sl.NoMinimiser, sl.InputError)
