"""The exponential method: ``codegen/library/exponential.h``, ``exponential.py``, and ``solve(…, method=…)``."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import CASES
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from test_integrate_library import (
    DISTANCE2,
    NORM2,
    POWER_LAW,
    RISK,
    Compiled,
    build,
    noiseless_risk,
    problem,
    relative,
    right_hand_side,
    solve_numpy,
    two_labelled_classes,
)

from sgdlimit.codegen.library import exponential
from sgdlimit.codegen.library.exponential import Node, doubled, moments, propagate
from sgdlimit.codegen.library.integrate import Solution
from sgdlimit.codegen.library.problem import Method, Problem, Status, StepKind
from sgdlimit.derive import AdaGradNorm, Constant, LineSearch, Polyak, Schedule
from sgdlimit.derive.errors import InputError
from sgdlimit.derive.model import StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.rest import rest_point
from sgdlimit.runtime.solver import solve as solve_model
from sgdlimit.runtime.spec import load_spec

Array = NDArray[np.float64]
Solve = Callable[..., Solution]

JUDGED = [RISK, NORM2, DISTANCE2]
DECAYING = np.arange(1, 101) ** -1.2
DECAYING /= DECAYING.mean()


def test_docstrings_run() -> None:
    assert doctest.testmod(exponential).failed == 0


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return build(tmp_path_factory.mktemp("exponential"), "gcc", ["-O2"])


@pytest.fixture(params=["c", "numpy"])
def solve(request: pytest.FixtureRequest, in_c: Compiled) -> Solve:
    return in_c if request.param == "c" else solve_numpy


def stiff(modes: int = 100, **others: Any) -> Problem:
    """``λ_j ∝ j^-1.2`` of mean 1, outputs over many decades."""
    given: dict[str, Any] = {"epsilon": 0.3, "gamma": 0.8, "rtol": 1e-6, "times": np.logspace(-2, 4, 25)}
    return problem(DECAYING[:modes], **(given | others))


def tight(p: Problem) -> Problem:
    return replace(p, method=Method.EXPLICIT, rtol=1e-11, max_steps=10_000_000)


# --------------------------------------------------------------------------------- the linear equation


def test_moments_are_right_to_the_last_digits_at_every_size() -> None:
    z = np.concatenate([-np.logspace(-8, 6, 71), [0.0], np.logspace(-8, 1, 40)])
    found = moments(z, np.exp(z))
    with mpmath.workdps(60):
        for k in range(5):
            exact = [float(mpmath.hyp1f1(k + 1, k + 2, mpmath.mpf(value)) / (k + 1)) for value in z]
            np.testing.assert_allclose(found[k], exact, rtol=1e-13)
            twice = [float(mpmath.hyp1f1(k + 1, k + 2, 2 * mpmath.mpf(value)) / (k + 1)) for value in z]
            np.testing.assert_allclose(doubled(found, np.exp(z))[k], twice, rtol=1e-13)


def equation(stiffness: float) -> tuple[Callable[[float], float], ...]:
    """decay, drive and spread, and their solution by SciPy."""
    return (
        lambda t: -stiffness * (1 + 0.3 * np.sin(t)),
        lambda t: stiffness * np.cos(2 * t),
        lambda t: stiffness * (1.5 + np.cos(t)),
    )


def error_of_a_step(stiffness: float, h: float) -> float:
    """Of ``(e, v)`` after one step from ``t = 1``, through four nodes."""
    functions = equation(stiffness)
    nodes = [Node(t, *(np.array([f(t)]) for f in functions), 0.0, 0.0) for t in 1 + h * np.array([1, 0, -1, -2])]
    e, v = propagate(nodes, 1.0, 1 + h, np.ones(1), np.ones(1))
    decay, drive, spread = functions
    exact = solve_ivp(
        lambda t, y: [decay(t) * y[0] + drive(t), 2 * decay(t) * y[1] + spread(t)],
        (1, 1 + h),
        [1, 1],
        "DOP853" if stiffness < 1e3 else "Radau",
        rtol=1e-13,
        atol=1e-14,
    ).y[:, -1]
    return float(max(abs(e[0] - exact[0]), abs(v[0] - exact[1])))


@pytest.mark.parametrize("stiffness", [0.3, 3.0])
def test_a_step_is_of_fifth_order(stiffness: float) -> None:
    order = np.log2(error_of_a_step(stiffness, 0.1) / error_of_a_step(stiffness, 0.05))
    assert 4.5 < order < 6


def test_a_step_of_a_thousand_relaxation_times_is_right() -> None:
    """However stiff: what counts is how much the rates change over the step."""
    for stiffness in (30.0, 1e3, 1e5):
        assert error_of_a_step(stiffness, 0.05) < 2e-6


@pytest.mark.parametrize("z", [-1e-9, -0.5, -30.0, -1e12, 0.7])
def test_constant_rates_are_solved_exactly(z: float) -> None:
    node = Node(0.0, np.array([z]), np.array([0.4]), np.array([0.3]), 0.0, 0.0)
    others = [node._replace(clock=t) for t in (-0.5, -0.7, -2.0)]
    e, v = propagate([node, *others], 0.0, 1.0, np.array([1.5]), np.array([0.2]))
    with mpmath.workdps(40):
        kept = mpmath.exp(mpmath.mpf(z))
        mean = float(1.5 * kept + mpmath.mpf(0.4) * (kept - 1) / mpmath.mpf(z))
        variance = float(0.2 * kept**2 + mpmath.mpf(0.3) * (kept**2 - 1) / (2 * mpmath.mpf(z)))
    np.testing.assert_allclose([e[0], v[0]], [mean, variance], rtol=1e-14)


# --------------------------------------------------------------------------------- the same curves


@pytest.mark.parametrize(
    "p",
    [
        problem(3 * POWER_LAW, epsilon=0.3),
        problem(3 * POWER_LAW, epsilon=0.3, start_mean=np.full((1, 10), 0.2), rtol=1e-8),
        two_labelled_classes(),
        problem(epsilon=0.3, step_kind=StepKind.SCHEDULE, gamma=1.5),
        problem(step_kind=StepKind.ADAGRAD_NORM, step_arguments=np.array([[1.0, 0.5]])),
        problem(step_kind=StepKind.LINE_SEARCH, epsilon=0.3, start_mean=np.full((1, 12), 0.2)),
        stiff(times=np.logspace(-4, 2, 41)),
    ],
    ids=["from 0", "tight", "labels", "schedule", "adagrad", "line search", "stiff"],
)
def test_both_methods_give_the_same_curves(p: Problem, solve: Solve, in_c: Compiled) -> None:
    p = replace(p, rtol=min(p.rtol, 1e-6), method=Method.EXPONENTIAL)
    if p.rtol < 1e-6 and solve is solve_numpy:
        p = replace(p, rtol=1e-6)
    found, exact = solve(p), in_c(tight(p))
    assert found.outcome.status == exact.outcome.status == Status.OK
    assert relative(found.statistics[0, 1:, JUDGED], exact.statistics[0, 1:, JUDGED]) <= p.rtol
    np.testing.assert_allclose(found.final_auxiliary, exact.final_auxiliary, rtol=p.rtol)


@pytest.mark.parametrize("p", [stiff(), two_labelled_classes(rtol=1e-6)], ids=["stiff", "labels"])
@pytest.mark.parametrize("method", [Method.AUTO, Method.EXPONENTIAL])
def test_c_and_numpy_agree(p: Problem, method: Method, in_c: Compiled) -> None:
    p = replace(p, method=method)
    c, python = in_c(p, modes=True), solve_numpy(p, modes=True)
    np.testing.assert_allclose(c.statistics, python.statistics, rtol=0.1 * p.rtol)
    assert abs(c.outcome.evaluations - python.outcome.evaluations) <= 0.02 * python.outcome.evaluations
    for found, expected in zip(c[1:-1], python[1:-1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=p.rtol, atol=0.1 * p.rtol)


@pytest.mark.parametrize("rtol", [1e-5, 1e-8])
@pytest.mark.parametrize(
    ("eigenvalues", "horizon"),
    [([1.0], 45.0), (0.25 + POWER_LAW, 125.0), ([0.5, 50.0], 80.0)],
    ids=["one mode", "power law", "two scales"],
)
def test_noiseless_risk_is_right_to_rtol_over_fifteen_orders(
    eigenvalues: Any, horizon: float, rtol: float, in_c: Compiled
) -> None:
    weights = np.ones(len(eigenvalues)) / (50 if len(eigenvalues) == 2 else len(eigenvalues))
    p = problem(eigenvalues, sigma=0.0, rtol=rtol, weights=weights, times=np.linspace(0, horizon, 31))
    p = replace(p, method=Method.EXPONENTIAL)
    exact = noiseless_risk(p)
    assert exact[-1] < 1e-13 * exact[0]
    assert relative(in_c(p).statistics[0, :, RISK], exact) <= 10 * rtol


def test_noiseless_line_search_keeps_its_digits(in_c: Compiled) -> None:
    p = problem(0.25 + POWER_LAW, sigma=0.0, step_kind=StepKind.LINE_SEARCH, times=np.linspace(0, 100, 41))
    p = replace(p, start_mean=np.full((1, 10), 0.1), method=Method.EXPONENTIAL)
    found, exact = in_c(p).statistics[0, :, RISK], in_c(tight(p)).statistics[0, :, RISK]
    assert exact[-1] < 1e-15 * exact[0]
    assert relative(found, exact) <= 10 * p.rtol


@pytest.mark.parametrize("p", [problem(epsilon=0.3), two_labelled_classes()], ids=["teacher", "labels"])
def test_leaving_zero_is_right_from_the_first_moment(p: Problem, in_c: Compiled) -> None:
    times = np.array([0, 1e-16, 1e-13, 1e-10, 1e-7, 1e-4, 1e-2])
    found = in_c(replace(p, times=times, method=Method.EXPONENTIAL)).statistics[0, 1:, NORM2]
    assert relative(found, in_c(replace(tight(p), times=times)).statistics[0, 1:, NORM2]) <= 1e-7


# --------------------------------------------------------------------------------- stiffness


def test_stiff_modes_agree_with_scipy(solve: Solve) -> None:
    p = stiff(modes=40, times=np.array([0.01, 1.0, 30.0]), start_mean=np.full((1, 40), 0.1))
    found = solve(p, modes=True)
    start = np.concatenate([p.start_mean[0], p.start_variance[0]])
    exact = solve_ivp(right_hand_side(p), (0, 30), start, "LSODA", p.times, rtol=1e-11, atol=1e-14).y
    assert found.mean is not None
    assert found.variance is not None
    np.testing.assert_allclose(found.mean[0].T, exact[: p.modes], rtol=0, atol=2e-6)
    np.testing.assert_allclose(found.variance[0].T, exact[p.modes :], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("gamma", [0.3, 0.8, 1.5])
def test_a_hundred_million_time_units_cost_little_more_than_ten_thousand(gamma: float, in_c: Compiled) -> None:
    to_1e4, to_1e8 = (in_c(stiff(gamma=gamma, times=np.array([T]))) for T in (1e4, 1e8))
    assert to_1e8.outcome.status == Status.OK
    assert to_1e8.outcome.evaluations < 1.1 * to_1e4.outcome.evaluations < 1100
    np.testing.assert_allclose(to_1e8.statistics, to_1e4.statistics, rtol=5e-6)


def test_where_nothing_is_stiff_auto_is_the_explicit_method(solve: Solve) -> None:
    p = problem(epsilon=0.3)
    auto, explicit = solve(p), solve(replace(p, method=Method.EXPLICIT))
    assert auto.outcome == explicit.outcome
    np.testing.assert_array_equal(auto.statistics, explicit.statistics)


def test_outputs_within_long_steps_are_right_and_cost_nothing(in_c: Compiled) -> None:
    few, many = (in_c(stiff(times=np.linspace(0, 50, T)), modes=True) for T in (2, 501))
    assert few.outcome.evaluations == many.outcome.evaluations
    assert many.outcome.accepted < 250
    exact = in_c(tight(stiff(times=np.linspace(0, 50, 501))))
    assert relative(many.statistics[0, 1:, JUDGED], exact.statistics[0, 1:, JUDGED]) <= 1e-6


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), gamma=st.floats(1e-3, 1.5), decades=st.floats(0, 6), noisy=st.booleans())
def test_variances_are_never_negative(in_c: Compiled, seed: int, gamma: float, decades: float, noisy: bool) -> None:
    random = np.random.default_rng(seed)
    lam = 10 ** (-decades * random.random(10))
    p = problem(
        lam / lam.mean(),
        sigma=0.5 if noisy else 0.0,
        epsilon=random.choice([0.0, 0.5]),
        gamma=gamma,
        start_variance=random.random((1, 10)) * (random.random(10) < 0.7),
        start_mean=random.standard_normal((1, 10)),
        times=np.concatenate([[0, 1e-6], np.logspace(-2, 4, 60)]),
        rtol=random.choice([1e-2, 1e-6]),
        method=Method.EXPONENTIAL,
    )
    found = in_c(p, modes=True)
    assert found.outcome.status == Status.OK
    assert found.variance is not None
    assert np.all(found.variance >= 0)
    assert np.all(np.isfinite(found.variance))


# --------------------------------------------------------------------------------- through solve


def test_the_state_at_rest_is_the_fixed_point() -> None:
    model = CASES["adversarial least squares"].model
    instance = Instance.decaying(200, exponent=1.2)
    values = {"epsilon": 0.5, "sigma": 0.5}
    found = solve_model(model, instance, Constant(0.8), values, times=[1e3, 1e8], rtol=1e-8)
    rest = rest_point(model, instance, Constant(0.8), values)
    np.testing.assert_allclose(found["adversarial_risk"], rest.adversarial_risk, rtol=1e-7)
    np.testing.assert_allclose(found.final.mean, rest.mean, atol=1e-7)


@pytest.mark.parametrize("name", ["least-squares", "adversarial-least-squares", "adversarial-huber", "hinge", "probit"])
def test_both_methods_agree_on_the_catalogue(name: str) -> None:
    spec = load_spec(name)
    curves = [
        solve_model(**{**spec.arguments, "rtol": 1e-6, "method": method}) for method in ("explicit", "exponential")
    ]
    for statistic in ("adversarial_risk", "norm2"):
        explicit, other = (curve[statistic][1:] for curve in curves)
        assert relative(other, explicit) <= 1e-5


@pytest.mark.parametrize(
    "schedule",
    [Schedule("1.5/(1 + t)"), AdaGradNorm(1.0, 0.5), LineSearch(), Polyak()],
    ids=lambda schedule: type(schedule).__name__,
)
def test_both_methods_agree_for_every_step_size(schedule: StepSize) -> None:
    spec = load_spec("adversarial-logistic-mixture")
    instance = replace(spec.instance, start=np.full(spec.instance.modes, 0.2))
    given = {**spec.arguments, "instance": instance, "schedule": schedule, "rtol": 1e-5, "times": [0.1, 1.0, 5.0]}
    curves = [solve_model(**{**given, "horizon": None, "method": m}) for m in ("explicit", "exponential")]
    for statistic in ("adversarial_risk", "norm2", "learning_rate"):
        explicit, other = (curve[statistic] for curve in curves)
        assert relative(other, explicit) <= 1e-4


def test_a_method_that_is_not_there_is_told_with_those_that_are() -> None:
    model = CASES["least squares"].model
    with pytest.raises(InputError, match="auto, explicit, exponential"):
        solve_model(model, Instance.isotropic(5), Constant(0.5), {"sigma": 0.5}, 1, method="implicit")
    dense = DenseInstance(
        probabilities=[1.0], covariances=[np.eye(3)], means=np.zeros((1, 3)), teacher=np.ones(3), start=np.zeros(3)
    )
    with pytest.raises(InputError, match="a dense instance has no exponential one"):
        solve_model(model, dense, Constant(0.5), {"sigma": 0.5}, 1, method="exponential")
