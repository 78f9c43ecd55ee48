"""``simulate``: reproducible runs, divergence with its time, and agreement with the limit."""

from __future__ import annotations

import numpy as np
import pytest
from models import CASES

from sgdlimit.derive import Constant, Expectation, LineSearch, Schedule
from sgdlimit.derive.errors import Diverged, InputError, InstanceError
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.simulator import simulate
from sgdlimit.runtime.solver import solve

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
BACKENDS = [pytest.param("c", marks=needs_compiler), "numpy"]
MODEL = CASES["adversarial least squares"].model
VALUES = {"epsilon": 0.4, "sigma": 0.5}
INSTANCE = Instance.power_law(40, exponent=0.3, mean_norm=0.5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_is_a_function_of_seed_and_index_alone(backend: str) -> None:
    """Any number of threads, any chunking: the same bits."""
    one, two = (
        simulate(MODEL, INSTANCE, Constant(0.5), VALUES, times=[0.5, 1.0], runs=9, threads=k, backend=backend)
        for k in (1, 2)
    )
    later = simulate(
        MODEL, INSTANCE, Constant(0.5), VALUES, times=[0.5, 1.0], runs=4, first_run=5, threads=1, backend=backend
    )
    other = simulate(MODEL, INSTANCE, Constant(0.5), VALUES, times=[0.5, 1.0], runs=9, seed=1, backend=backend)
    for name in one.names:
        assert np.array_equal(one[name], two[name])
        assert np.array_equal(one[name][5:], later[name])
        assert np.array_equal(one[name], other[name]) == (name == "learning_rate")


@needs_compiler
def test_rows_of_zeros_and_rows_that_classes_share_are_read_as_any_other() -> None:
    """1,300 coordinates: two whole chunks and a part of one, over which passes go to and fro.

    A mean of 1e-300 a coordinate is not 0, and a second class whose first eigenvalue is one digit off has rows of its
    own; either moves a run by rounding only.
    """
    d = 1300
    one = Instance.power_law(d, exponent=0.3)
    eigenvalues, means = np.vstack([one.eigenvalues] * 2), np.zeros((2, d))
    own = eigenvalues.copy()
    own[1, 0] = np.nextafter(own[1, 0], 0)

    def run(eigenvalues: np.ndarray, means: np.ndarray, teacher: np.ndarray) -> dict[str, np.ndarray]:
        instance = Instance(
            probabilities=[0.4, 0.6], eigenvalues=eigenvalues, means=means, teacher=teacher, start=one.teacher / 2
        )
        found = simulate(MODEL, instance, Constant(0.5), VALUES, times=[0.1, 0.3], runs=3, backend="c")
        return {name: found[name] for name in found.names}

    rows = run(eigenvalues, means, one.teacher)
    for other in (run(own, means, one.teacher), run(eigenvalues, means + 1e-300, one.teacher)):
        for name, found in other.items():
            np.testing.assert_allclose(found, rows[name], rtol=1e-9, err_msg=name)
    for name, found in run(eigenvalues, means, np.full(d, 1e-300)).items():
        np.testing.assert_allclose(found, run(eigenvalues, means, np.zeros(d))[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_diverges_is_reported_with_its_time(backend: str) -> None:
    with pytest.raises(Diverged) as caught:
        simulate(MODEL, INSTANCE, Constant(20.0), VALUES, horizon=50.0, runs=6, backend=backend)
    assert 0 < caught.value.time < 50


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_the_ensemble_mean_is_within_five_errors_of_the_limit(name: str, backend: str) -> None:
    """At d = 400 the O(1/d) bias is a small part of the error of 24 runs; 5 errors, fixed seed.

    About 40 numbers a model: a false alarm in 40000 reseedings, were the numbers independent and Gaussian.
    """
    case = CASES[name]
    labels = {"probabilities": [0.3, 0.7], "labels": [-1, 1]} if case.label is not None else {}
    instance = Instance.power_law(50, exponent=0.3, mean_norm=0.6, **labels).at_dimension(400)
    values = {**case.parameters, **({"epsilon": 0.3} if case.model.adversary else {})}
    times = [0.5, 1.0, 2.0, 3.0]
    ensemble = simulate(case.model, instance, Constant(0.6), values, times=times, runs=24, backend=backend)
    limit = solve(case.model, instance, Constant(0.6), values, times=times, backend=backend)
    assert {"adversarial_risk", "clean_risk", "norm2"} <= set(ensemble.names)
    for statistic in ensemble.names:
        deviation = (ensemble.mean(statistic) - limit[statistic]) / ensemble.standard_error(statistic)
        assert np.max(np.abs(deviation)) < 5, statistic


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_precision_agrees_with_the_limit_whatever_the_threads(backend: str) -> None:
    times, instance = [0.5, 2.0], INSTANCE.at_dimension(400)
    ensemble, again = (
        simulate(
            MODEL, instance, Constant(0.5), VALUES, times=times, backend=backend, precision="float32", threads=threads
        )
        for threads in (1, 3)
    )
    limit = solve(MODEL, instance, Constant(0.5), VALUES, times=times, backend=backend)
    assert ensemble.precision == "float32"
    for name in ensemble.names:
        np.testing.assert_array_equal(ensemble[name], again[name])
        if name != "learning_rate":
            deviation = (ensemble.mean(name) - limit[name]) / ensemble.standard_error(name)
            assert np.max(np.abs(deviation)) < 5, name


def test_single_precision_follows_a_line_search_of_the_iterate() -> None:
    instance = INSTANCE.at_dimension(400)
    rule = LineSearch(source="iterate")
    values = {"epsilon": 0.0, "sigma": 0.5}
    ensemble = simulate(MODEL, instance, rule, values, times=[1.0], precision="float32")
    double = simulate(MODEL, instance, rule, values, times=[1.0])
    for name in ("norm2", "adversarial_risk", "learning_rate"):
        error = np.hypot(ensemble.standard_error(name), double.standard_error(name))
        assert np.max(np.abs(ensemble.mean(name) - double.mean(name)) / error) < 5, name


def test_times_are_rounded_to_whole_steps_and_told() -> None:
    ensemble = simulate(MODEL, INSTANCE, Constant(0.5), VALUES, times=[0.0, 0.51, 0.99], runs=2)
    assert np.array_equal(ensemble.times * 40, [0, 20, 40])
    assert np.allclose(ensemble["norm2"][:, 0], 0)


def test_the_users_expectation_is_averaged_too() -> None:
    ensemble = simulate(
        MODEL, INSTANCE, Constant(0.5), VALUES, times=[1.0], runs=64, statistics={"fourth": Expectation("(r - y)**4")}
    )
    limit = solve(MODEL, INSTANCE, Constant(0.5), VALUES, times=[1.0], statistics={"fourth": Expectation("(r - y)**4")})
    error = abs(ensemble.mean("fourth") - limit["fourth"]) / ensemble.standard_error("fourth")
    assert error < 6  # d = 40 has a bias of its own


def test_a_schedule_is_followed() -> None:
    schedule = Schedule("eta/(1 + t)")
    values = {**VALUES, "eta": 0.8}
    instance = INSTANCE.at_dimension(400)
    ensemble = simulate(MODEL, instance, schedule, values, times=[1.0, 3.0], runs=24)
    limit = solve(MODEL, instance, schedule, values, times=[1.0, 3.0])
    for name in ensemble.names:
        assert np.max(np.abs(ensemble.mean(name) - limit[name]) / ensemble.standard_error(name)) < 5, name


@pytest.mark.parametrize(
    ("arguments", "kind", "fragment"),
    [
        ({"runs": 0}, InputError, "runs"),
        ({"threads": -1}, InputError, "threads"),
        ({"seed": -1}, InputError, "seed"),
        ({"precision": "float16"}, InputError, "float16.*float32"),
        ({"instance": Instance.isotropic(40).at_dimension(float("inf"))}, InstanceError, "at_dimension"),
    ],
)
def test_input_that_cannot_be_is_told(arguments: dict[str, object], kind: type[Exception], fragment: str) -> None:
    given = {"instance": INSTANCE, **arguments}
    with pytest.raises(kind, match=fragment):
        simulate(
            MODEL,
            given.pop("instance"),
            Constant(0.5),
            VALUES,
            times=[1.0],
            **given,  # type: ignore[arg-type]
        )


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    simulate(
        MODEL,
        INSTANCE,
        Constant(0.5),
        VALUES,
        times=[1.0],
        runs=8,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (8 * 40, 8 * 40)
