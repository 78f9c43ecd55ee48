"""``solve``: closed forms of the theory, long decays, restarts, divergence, and what bad input gets."""

from __future__ import annotations

import doctest
import importlib
import math
import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pytest
from models import CASES
from scipy.special import erf

from sgdlimit.derive import Constant, Expectation, Formula, L2Adversary, Labels, Loss, Model, Schedule, Teacher, derive
from sgdlimit.derive.errors import (
    BackendError,
    Diverged,
    InputError,
    InstanceError,
    ModelError,
    ParameterError,
)
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import load_kernel
from sgdlimit.runtime.solver import solve
from sgdlimit.runtime.spec import load_spec

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
BACKENDS = [pytest.param("c", marks=needs_compiler), "numpy"]

LEAST_SQUARES = CASES["least squares"].model
ADVERSARIAL = CASES["adversarial least squares"].model
LOGISTIC = CASES["adversarial logistic, labels"].model


@pytest.mark.parametrize("module", ["evaluate", "kernel", "solver", "simulator", "trajectory", "ensemble", "compiler"])
def test_docstrings_run(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"sgdlimit.runtime.{module}")).failed == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_jump_of_the_learning_rate_costs_no_accuracy(backend: str) -> None:
    """``dD/dt = −γ(2 − γ) D + γ² σ²`` for ``D = ‖X − X*‖²``, isotropic, γ = 0.8 until t = 1 and 0.2 from there."""
    sigma, times, distance2 = 0.7, np.linspace(0, 4, 81), [1.0]
    for step in np.diff(times):
        gamma = 0.8 if len(distance2) < 21 else 0.2
        rest = gamma * sigma**2 / (2 - gamma)
        distance2.append(rest + (distance2[-1] - rest) * math.exp(-gamma * (2 - gamma) * step))
    schedule = Schedule("Piecewise((0.8, t < 1), (0.2, True))")
    found = solve(LEAST_SQUARES, Instance.isotropic(20), schedule, {"sigma": sigma}, times=times, backend=backend)
    assert np.allclose(found["distance2"], distance2, rtol=1e-7, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("gamma", [0.2, 0.9])
def test_the_noise_floor_of_isotropic_least_squares_is_known(gamma: float, backend: str) -> None:
    """R(∞) − σ²/2 = γ λ̄ σ²/(2(2 − γ λ̄)) (section 6)."""
    eigenvalue, sigma = 1.5, 0.7
    instance = Instance.isotropic(20, eigenvalue=eigenvalue)
    trajectory = solve(LEAST_SQUARES, instance, Constant(gamma), {"sigma": sigma}, horizon=200, backend=backend)
    g = gamma * eigenvalue
    floor = g * sigma**2 / (2 * (2 - g))
    assert trajectory["adversarial_risk"][-1] - sigma**2 / 2 == pytest.approx(floor, rel=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_risk_diverges_just_beyond_two_over_the_mean_eigenvalue(backend: str) -> None:
    instance = Instance.power_law(30, exponent=0.2)
    critical = 2 / instance.eigenvalues.mean()
    quiet = solve(LEAST_SQUARES, instance, Constant(0.9 * critical), {"sigma": 0.5}, horizon=300, backend=backend)
    assert quiet["adversarial_risk"][-1] < 10
    with pytest.raises(Diverged) as caught:
        solve(LEAST_SQUARES, instance, Constant(1.2 * critical), {"sigma": 0.5}, horizon=3000, backend=backend)
    error = caught.value
    assert 0 < error.time < 3000
    partial = error.partial["adversarial_risk"]
    assert np.isfinite(partial).all()
    assert len(partial) == np.sum(np.linspace(0, 3000, 201) < error.time)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_noiseless_decay_over_fifteen_decades_keeps_its_relative_accuracy(backend: str) -> None:
    """Isotropic, σ = ε = 0: the risk is ½‖X − X*‖², which decays at the rate 2γ − γ² exactly."""
    gamma, rtol = 0.7, 1e-8
    rate = 2 * gamma - gamma**2
    horizon = math.log(1e15) / rate
    instance = Instance.isotropic(10)
    trajectory = solve(LEAST_SQUARES, instance, Constant(gamma), {"sigma": 0.0}, horizon, rtol=rtol, backend=backend)
    exact = 0.5 * np.exp(-rate * trajectory.times)
    assert exact[-1] < 1e-15
    assert np.max(np.abs(trajectory["adversarial_risk"] / exact - 1)) < 10 * rtol


@pytest.mark.parametrize("backend", BACKENDS)
def test_anisotropic_noiseless_decay_agrees_with_a_matrix_exponential(backend: str) -> None:
    """δ_j = (x_j − X*_j)² + v_j obeys a linear system; its exponential at 60 digits."""
    import mpmath

    N, gamma = 6, 0.8
    eigenvalues = np.linspace(0.3, 1.7, N)
    instance = Instance(
        probabilities=[1], eigenvalues=eigenvalues, means=0, teacher=np.full(N, N**-0.5), start=np.zeros(N)
    )
    times = np.array([1.0, 10.0, 40.0, 80.0])
    trajectory = solve(LEAST_SQUARES, instance, Constant(gamma), {"sigma": 0.0}, times=times, backend=backend)
    with mpmath.workdps(60):
        lam = [mpmath.mpf(float(e)) for e in eigenvalues]
        g = mpmath.mpf(gamma)
        matrix = mpmath.matrix(N, N)
        for j in range(N):
            for k in range(N):
                matrix[j, k] = g**2 * lam[j] * lam[k] / N - (2 * g * lam[j] if j == k else 0)
        for t, got in zip(times, trajectory["adversarial_risk"], strict=True):
            delta = mpmath.expm(matrix * t) * mpmath.matrix([mpmath.mpf(1) / N] * N)
            exact = sum(e * x for e, x in zip(lam, delta, strict=True)) / 2
            assert abs(got / float(exact) - 1) < 1e-7


def test_a_solve_restarts_from_its_final_state() -> None:
    instance = Instance.power_law(40, exponent=0.3, mean_norm=0.5)
    values = {"epsilon": 0.4, "sigma": 0.5}
    whole = solve(ADVERSARIAL, instance, Constant(0.6), values, times=[2.0, 5.0])
    first = solve(ADVERSARIAL, instance, Constant(0.6), values, times=[2.0])
    second = solve(ADVERSARIAL, instance, Constant(0.6), values, times=[5.0], start=first.final)
    for name in whole.names:
        assert second[name][-1] == pytest.approx(whole[name][-1], rel=1e-7)


def test_modes_are_kept_when_asked_for() -> None:
    instance = Instance.isotropic(8)
    trajectory = solve(LEAST_SQUARES, instance, Constant(0.5), {"sigma": 0.5}, times=[0.0, 1.0], modes=True)
    assert trajectory.modes is not None
    x, v = trajectory.modes
    assert x.shape == v.shape == (2, 8)
    assert np.array_equal(x[0], instance.start)
    assert trajectory["norm2"][1] == pytest.approx(float(np.sum(x[1] ** 2 + v[1])))


def test_the_limit_does_not_depend_on_how_a_block_is_split() -> None:
    instance = Instance.zero_one(12, fraction=0.5, mean_norm=0.7, mean_overlap=0.3)
    values = {"epsilon": 0.4, "sigma": 0.5}
    small, large, infinite = (
        solve(ADVERSARIAL, e, Constant(0.8), values, horizon=5)
        for e in (instance, instance.at_dimension(96), instance.at_dimension(math.inf))
    )
    for name in ("adversarial_risk", "norm2", "overlap"):
        assert np.allclose(small[name], large[name], rtol=1e-7, atol=1e-12)
        assert np.allclose(small[name], infinite[name], rtol=1e-7, atol=1e-12)


def test_statistics_of_the_users_are_solved_with_the_others() -> None:
    statistics = {"fourth": Expectation("(r - y)**4"), "ratio": Formula("fourth/clean_risk**2")}
    trajectory = solve(
        LEAST_SQUARES, Instance.isotropic(8), Constant(0.5), {"sigma": 0.5}, horizon=3, statistics=statistics
    )
    assert np.allclose(trajectory["ratio"], 12)  # E u⁴/(E u²/2)² of a centred Gaussian


@needs_compiler
def test_a_nested_kernel_takes_a_parameter_of_each_class() -> None:
    """Noise ``σ_i`` of class ``i`` under a tanh link: risk and growth of the variances, each class by itself.

    ``f_adv = ½(|y − c| + h)²`` with ``c, h`` the mean and half the difference of the link at the endpoints, averaged
    over the noise in closed form and over the scores by Gauss–Hermite.
    """
    model = Model(Loss("(tanh(r) - y)**2/2"), Teacher("tanh(r_star) + sigma*xi"), L2Adversary())
    p, sigma, radius, step = np.array([0.3, 0.7]), np.array([0.2, 0.9]), 0.4, 1e-5
    eigenvalues, means = np.array([[1.0, 0.5], [0.4, 1.5]]), np.array([[0.3, -0.2], [-0.5, 0.4]])
    teacher, start = np.array([0.8, -0.5]), np.array([0.3, 0.6])
    instance = Instance(probabilities=p, eigenvalues=eigenvalues, means=means, teacher=teacher, start=start)
    values = {"epsilon": radius, "sigma": sigma}
    trajectory = solve(model, instance, Constant(0.7), values, times=[0.0, step], rtol=1e-8, backend="c")

    node, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / np.sqrt(2 * np.pi)
    reach, risks, noises = radius * np.linalg.norm(start), [], []
    for lam, mu, spread in zip(eigenvalues, means, sigma, strict=True):
        Q_star, slope = lam @ teacher**2, lam @ (start * teacher) / (lam @ teacher**2)
        left = np.sqrt(Q_star) * node[:, None]
        r = mu @ start + slope * left + np.sqrt(lam @ start**2 - slope**2 * Q_star) * node
        centre = (np.tanh(r + reach) + np.tanh(r - reach)) / 2
        half = (np.tanh(r + reach) - np.tanh(r - reach)) / 2
        gap = np.tanh(mu @ teacher + left) - centre
        size = spread * np.sqrt(2 / np.pi) * np.exp(-((gap / spread) ** 2) / 2) + gap * erf(gap / spread / np.sqrt(2))
        square = gap**2 + spread**2
        share = weight[:, None] * weight
        risks.append(np.sum(share * (square + 2 * half * size + half**2)) / 2)
        # a label above the centre is lost most at the lower endpoint, and one below at the upper
        above = (1 + erf(gap / spread / np.sqrt(2))) / 2
        density = spread * np.exp(-((gap / spread) ** 2) / 2) / np.sqrt(2 * np.pi)
        noise = 0.0
        for side, chance, first in ((-1, above, density), (1, 1 - above, density)):
            # E[(|y − c| + h)²; this side], and the link's slope at that endpoint
            part = -side * gap * chance + first
            second = square * chance - side * gap * first
            noise += np.sum(share * (second + 2 * half * part + half**2 * chance) / np.cosh(r + side * reach) ** 4)
        noises.append(noise)
    assert trajectory["adversarial_risk"][0] == pytest.approx(p @ risks, rel=1e-8)
    # dv_j/dt = γ² ω_j Σ_i p_i λ_ij I_i where v = 0
    assert trajectory.final.variance == pytest.approx(0.49 * step * (p * noises) @ eigenvalues / 2, rel=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_start_at_zero_leaves_it_smoothly(backend: str) -> None:
    """From X = 0 the norm grows like √t: early values follow dn² = γ² Σ_j G_j dt."""
    instance = Instance.isotropic(50)
    times = np.array([0.0, 1e-8, 1e-6])
    trajectory = solve(
        ADVERSARIAL, instance, Constant(0.5), {"epsilon": 0.5, "sigma": 0.3}, times=times, backend=backend
    )
    rate = 0.25 * (1 + 0.3**2)  # γ² E α², α = r* + σξ at X = 0
    assert trajectory["norm2"][0] == 0
    assert np.allclose(trajectory["norm2"][1:] / (rate * times[1:]), 1, rtol=5e-3)


def test_no_radius_is_standard_training() -> None:
    instance = Instance.power_law(20, exponent=0.3, mean_norm=0.5)
    attacked = solve(ADVERSARIAL, instance, Constant(0.5), {"epsilon": 0.0, "sigma": 0.5}, horizon=4)
    plain = solve(LEAST_SQUARES, instance, Constant(0.5), {"sigma": 0.5}, horizon=4)
    for name in plain.names:
        assert np.allclose(attacked[name], plain[name], rtol=1e-7, equal_nan=True)


# --- bad input ------------------------------------------------------------------------------------------------------

ISOTROPIC = Instance.isotropic(6)
TWO_CLASSES = Instance.isotropic(6, probabilities=[0.5, 0.5], labels=[-1, 1], mean_norm=1.0)


@pytest.mark.parametrize(
    ("arguments", "kind", "fragment"),
    [
        ((LEAST_SQUARES, ISOTROPIC, Constant(0.5), {}, 1.0), ParameterError, "parameter sigma: it has no value"),
        ((LEAST_SQUARES, ISOTROPIC, Constant(0.5), {"sgima": 1}, 1.0), ParameterError, "did you mean sigma"),
        ((LEAST_SQUARES, ISOTROPIC, Constant(0.5), {"sigma": 1, "epsilon": 1}, 1.0), ParameterError, "no adversary"),
        ((LEAST_SQUARES, ISOTROPIC, Constant(0.5), {"sigma": math.nan}, 1.0), ParameterError, "not finite"),
        ((LEAST_SQUARES, ISOTROPIC, Constant(0.5), {"sigma": "big"}, 1.0), ParameterError, "not a number"),
        ((LEAST_SQUARES, ISOTROPIC, Constant(0.5), {"sigma": [1, 2]}, 1.0), ParameterError, r"shape \(2,\)"),
        ((ADVERSARIAL, ISOTROPIC, Constant(0.5), {"sigma": 1, "epsilon": -1}, 1.0), ParameterError, "negative"),
        (
            (ADVERSARIAL, TWO_CLASSES, Constant(0.5), {"sigma": 1, "epsilon": [1, 2]}, 1.0),
            ParameterError,
            "same for every",
        ),
        ((LOGISTIC, ISOTROPIC, Constant(0.5), {"epsilon": 0.1}, 1.0), InstanceError, "labels"),
        (
            (LEAST_SQUARES, Instance.isotropic(6, teacher=None), Constant(0.5), {"sigma": 1}, 1.0),
            InstanceError,
            "teacher",
        ),
        ((LEAST_SQUARES, ISOTROPIC, 0.5, {"sigma": 1}, 1.0), InputError, "not a step size"),
        ((LEAST_SQUARES, ISOTROPIC, Schedule("1 - t"), {"sigma": 1}, 2.0), ParameterError, "t = 1.002"),
        ((LEAST_SQUARES, ISOTROPIC, Schedule("eta/t"), {"sigma": 1, "eta": 1}, 2.0), ParameterError, "inf at t = 0"),
        ((LEAST_SQUARES, ISOTROPIC, Schedule("eta/(1 + t)"), {"sigma": 1}, 2.0), ParameterError, "parameter eta"),
        ((LEAST_SQUARES, ISOTROPIC, Constant(0.5), {"sigma": 1}), InputError, "neither a horizon nor times"),
        ((LEAST_SQUARES, ISOTROPIC, Constant(0.5), {"sigma": 1}, -1.0), InputError, "horizon"),
        ((LEAST_SQUARES, ISOTROPIC, Constant(0.5), {"sigma": 1}, 1.0, [0.5, 0.2]), InputError, "do not increase"),
        ((LEAST_SQUARES, ISOTROPIC, Constant(0.5), {"sigma": 1}, 1.0, [0.5, 2]), InputError, "beyond the horizon"),
    ],
)
def test_input_that_cannot_be_is_told_in_one_sentence(
    arguments: tuple[object, ...], kind: type[Exception], fragment: str
) -> None:
    with pytest.raises(kind, match=fragment) as caught:
        solve(*arguments, backend="numpy")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_large_effective_ridge_is_no_divergence() -> None:
    """Hinge from a small start: B is next to nothing, and F/(nB) beyond every bound."""
    model = CASES["adversarial hinge, labels"].model
    instance = Instance.isotropic(10, probabilities=[0.5, 0.5], labels=[-1, 1], mean_norm=0.5, start_norm=0.02)
    curve = solve(model, instance, Constant(0.5), {"epsilon": 0.3}, horizon=3.0, backend="numpy")
    assert np.isfinite(curve["adversarial_risk"]).all()


def test_a_kink_where_the_start_is_leaves_no_direction() -> None:
    model = Model(Loss("relu(-y*r)"), Labels())
    instance = Instance.isotropic(10, probabilities=[0.5, 0.5], labels=[-1, 1], mean_norm=0.5)
    with pytest.raises(InstanceError, match="start"):
        solve(model, instance, Constant(0.5), {}, horizon=3.0, backend="numpy")


def test_a_parameter_that_the_derivation_took_positive_is_held_to_it() -> None:
    case = CASES["adversarial Huber"]
    with pytest.raises(ParameterError, match="delta"):
        solve(case.model, ISOTROPIC, Constant(0.5), {"epsilon": 0.1, "sigma": 1, "delta": -1.0}, 1.0, backend="numpy")


def test_an_unknown_statistic_is_answered_with_those_there_are() -> None:
    trajectory = solve(LEAST_SQUARES, ISOTROPIC, Constant(0.5), {"sigma": 1}, 1.0, backend="numpy")
    with pytest.raises(InputError, match="adversarial_risk"):
        trajectory["risk"]


def test_parameters_may_differ_between_classes() -> None:
    """Noise of each class its own: the risk at X = X* is the mean of σ_i²/2."""
    teacher = np.ones(4) / 2
    instance = Instance(
        probabilities=[0.25, 0.75], eigenvalues=np.ones((2, 4)), means=0, teacher=teacher, start=teacher
    )
    trajectory = solve(LEAST_SQUARES, instance, Constant(0.1), {"sigma": [2.0, 1.0]}, times=[0.0, 1.0])
    assert trajectory["adversarial_risk"][0] == pytest.approx((0.25 * 4 + 0.75) / 2)


def test_a_model_with_another_name_for_everything_solves() -> None:
    model = Model(Loss("beta*(r - y)**2/2"), Teacher("r_star + Q*xi"))
    plain = solve(LEAST_SQUARES, ISOTROPIC, Constant(1.0), {"sigma": 0.5}, 3.0)
    other = solve(model, ISOTROPIC, Constant(0.5), {"beta": 2.0, "Q": 0.5}, 3.0)
    assert np.allclose(other["norm2"], plain["norm2"], rtol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_statistic_may_have_any_name_of_its_own(backend: str) -> None:
    """Names that mean something in the equations (p) or in C and Python (double, np, for) change nothing."""
    names = ("plain", "p", "double", "np", "for", "mu")
    trajectory = solve(
        LEAST_SQUARES,
        Instance.isotropic(10),
        Constant(0.5),
        {"sigma": 0.5},
        horizon=1,
        backend=backend,
        statistics={**{name: Expectation("Abs(r - y)") for name in names}, "twice": Formula("2*p")},
    )
    for name in names:
        assert np.array_equal(trajectory[name], trajectory["plain"]), name
    assert np.allclose(trajectory["twice"], 2 * trajectory["plain"], rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_class_labelled_zero_errs_as_ties_do(backend: str) -> None:
    """``sign(0) r = 0``: a tie for the clean error, always within reach of the adversary for the robust one."""
    model = Model(Loss("(r - y)**2/2"), Labels(), L2Adversary())
    instance = Instance(probabilities=[1], eigenvalues=[[1.0, 0.5]], means=[[0.3, 0.1]], labels=[0], start=[0.4, 0.0])
    curve = solve(model, instance, Constant(0.3), {"epsilon": 0.2}, times=[0.0, 1.0], backend=backend)
    assert curve["clean_error"].tolist() == [0.5, 0.5]
    assert curve["robust_error"].tolist() == [1.0, 1.0]


def test_a_statistic_is_not_called_like_a_reserved_symbol() -> None:
    for name in ("pi", "tau", "r", "D_plus"):
        with pytest.raises(ModelError, match=name):
            derive(LEAST_SQUARES, {name: Expectation("Abs(r - y)")})


def test_a_loss_is_a_number_at_every_label() -> None:
    model = Model(Loss("log(1 + exp(-y*r)) + r*log(y)"), Labels())
    instance = Instance.isotropic(10, probabilities=[0.5, 0.5], labels=[-1, 1], start_norm=1, mean_norm=1)
    with pytest.raises(InstanceError, match="is no number at the label -1"):
        solve(model, instance, Constant(0.1), horizon=1, backend="numpy")


def test_a_dimension_beyond_memory_is_refused() -> None:
    with pytest.raises(InstanceError, match="a limit that large is that of dimension=inf"):
        Instance.isotropic(10**9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_solve_that_cannot_reach_its_end_says_so_soon(backend: str) -> None:
    with pytest.raises(BackendError, match=r"stopped at t = .* of 5 after .* steps"):
        solve(LEAST_SQUARES, Instance.isotropic(10), Constant(0.5), {"sigma": 0.5, "tau": 1e200}, 5, backend=backend)


@pytest.mark.parametrize("name", ["erf-regression", "relu-regression"])
def test_a_noiseless_risk_that_cancels_ends_at_its_rounding(name: str) -> None:
    """``R`` is a difference of closed forms, right to 1e-16: where it has vanished the solver goes on, in few steps."""
    spec = load_spec(name)
    found = solve(**{**spec.arguments, "horizon": 2000.0, "times": None})
    assert abs(found["adversarial_risk"][-1]) < 1e-14
    assert found.steps < 10_000


@pytest.mark.parametrize("name", ["phase-retrieval", "adversarial-phase-retrieval"])
def test_a_point_of_rest_is_stood_on(name: str) -> None:
    """Phase retrieval does not leave ``X = 0``: the limit stays for ever (docs/theory.md §3.8)."""
    spec = load_spec(name)
    start = np.zeros(spec.instance.modes)
    found = solve(**{**spec.arguments, "instance": replace(spec.instance, start=start), "times": None, "horizon": 5.0})
    assert np.max(found["norm2"]) < 1e-25
    assert found["adversarial_risk"][-1] == pytest.approx(found["adversarial_risk"][0], rel=1e-12)


@pytest.mark.skipif(not hasattr(os, "fork") or find_compiler() is None, reason="no fork, or no compiler")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # what another library says of its threads
def test_a_kernel_that_has_solved_solves_in_a_forked_process_too() -> None:
    model, instance = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi")), Instance.isotropic(20)
    kernel = load_kernel(model, backend="c")

    def risk() -> float:
        found = solve(model, instance, Constant(0.5), {"sigma": 0.5}, horizon=1.0, kernel=kernel)
        return float(found["adversarial_risk"][-1])

    here = risk()
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    child = fork.Process(target=lambda: answers.put(risk()))
    child.start()
    child.join(30)
    ended = child.exitcode
    child.kill()
    assert ended == 0
    assert answers.get() == here
