"""``solve_many``: every curve is that of ``solve``, to the last bit; what goes wrong in one is told and stays there."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from models import CASES

from sgdlimit.derive import AdaGradNorm, Constant, Greedy, LineSearch, Polyak, Schedule
from sgdlimit.derive.errors import Diverged, InputError, NoLearningRate, NoMinimiser, ParameterError
from sgdlimit.derive.model import StepSize
from sgdlimit.runtime import batch
from sgdlimit.runtime.batch import grid, solve_many
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.solver import solve

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
BACKENDS = [pytest.param("c", marks=needs_compiler), "numpy"]

MODEL = CASES["adversarial least squares"].model
INSTANCE = Instance.power_law(12, exponent=0.25)
POINTS = grid(epsilon=[0.0, 0.5, 2.0], gamma=[0.2, 0.9])


def test_docstrings_run() -> None:
    assert doctest.testmod(batch).failed == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_curve_is_that_of_solve_to_the_last_bit(backend: str) -> None:
    fixed = {"sigma": 0.4, "tau": 0.01}
    curves = solve_many(MODEL, INSTANCE, Constant(1.0), fixed, 5.0, over=POINTS, rtol=1e-6, backend=backend)
    assert len(curves) == 6
    assert curves.done.all()
    for m in range(6):
        schedule, values = Constant(POINTS["gamma"][m]), {**fixed, "epsilon": POINTS["epsilon"][m]}
        alone = solve(MODEL, INSTANCE, schedule, values, 5.0, rtol=1e-6, backend=backend)
        assert alone.names == curves.names
        for name in alone.names:
            np.testing.assert_array_equal(curves[name][m], alone[name])
        assert curves.schedules[m] == schedule
        assert curves.steps[m] == alone.steps
        assert curves.ended[m] == alone.final.time


@needs_compiler
@pytest.mark.parametrize("threads", [1, 3, 8])
def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    over = grid(sigma=np.linspace(0, 1, 40), gamma=[0.5, 8.0])  # every other one diverges
    one, many = (
        solve_many(MODEL, INSTANCE, Constant(1.0), {"epsilon": 0.3}, 20.0, over=over, rtol=1e-5, threads=count)
        for count in (2, threads)
    )
    assert one.status == many.status == ("done", "diverged") * 40
    np.testing.assert_array_equal(one.ended, many.ended)
    for name in one.names:
        np.testing.assert_array_equal(one[name], many[name])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_curve_that_diverges_is_a_result_and_the_others_go_on(backend: str) -> None:
    given: dict[str, Any] = {"horizon": 60.0, "rtol": 1e-6, "backend": backend}
    values = {"epsilon": 0.0, "sigma": 0.4}
    instance = Instance.isotropic(10)
    curves = solve_many(MODEL, instance, Constant(1.0), values, over={"gamma": [0.5, 3.0, 1.0]}, **given)
    assert curves.status == ("done", "diverged", "done")
    assert curves.done.tolist() == [True, False, True]
    with pytest.raises(Diverged) as raised:
        solve(MODEL, instance, Constant(3.0), values, **given)
    assert curves.ended[1] == raised.value.time
    partial = raised.value.partial
    reached = len(partial.times)
    assert 1 < reached < len(curves.times)
    np.testing.assert_array_equal(curves["norm2"][1, :reached], partial["norm2"])
    assert np.isnan(curves["norm2"][1, reached:]).all()
    assert np.isfinite(curves["norm2"][[0, 2]]).all()


@pytest.mark.parametrize(
    ("schedule", "over"),
    [
        (Schedule("g/(1 + t)"), {"g": [0.5, 1.0]}),
        (AdaGradNorm(1.0, 1.0), {"eta": [0.3, 1.0], "b": [0.5, 1.0]}),
        (LineSearch(), {"epsilon": [0.0, 0.4]}),
        (Polyak(), {"epsilon": [0.0, 0.4]}),
        (Greedy("norm2"), {"epsilon": [0.1, 0.4]}),
        ([Constant(0.2), Constant(0.5)], {"epsilon": [0.1, 0.4]}),
    ],
    ids=["schedule", "adagrad", "line search", "polyak", "greedy", "sequence"],
)
def test_step_sizes_vary_too(schedule: Any, over: dict[str, list[float]]) -> None:
    values = {"sigma": 0.4} | ({} if "epsilon" in over else {"epsilon": 0.2})
    instance = Instance.power_law(8, exponent=0.25, start_norm=1.0)
    curves = solve_many(MODEL, instance, schedule, values, 3.0, over=over, rtol=1e-5)
    for m in range(2):
        own: StepSize = schedule[m] if isinstance(schedule, list) else schedule
        if isinstance(own, AdaGradNorm):
            own = AdaGradNorm(over["eta"][m], over["b"][m])
        point = {} if isinstance(own, AdaGradNorm) else {name: column[m] for name, column in over.items()}
        alone = solve(MODEL, instance, own, values | point, 3.0, rtol=1e-5)
        assert alone.names == curves.names
        for name in alone.names:
            np.testing.assert_array_equal(curves[name][m], alone[name])


def test_a_learning_rate_that_does_not_exist_is_a_result() -> None:
    """The overlap does not feel the noise of SGD: where a ridge makes it fall, no γ is the best."""
    model = CASES["least squares"].model
    instance = Instance(
        probabilities=[1.0],
        eigenvalues=np.ones((1, 4)),
        means=np.zeros((1, 4)),
        teacher=np.ones(4),
        start=np.full(4, 0.5),
    )
    curves = solve_many(model, instance, Greedy("overlap"), {"sigma": 0.4}, 1.0, over={"tau": [0.0, 5.0]}, rtol=1e-4)
    assert curves.status == ("done", "no learning rate")
    with pytest.raises(NoLearningRate) as raised:
        solve(model, instance, Greedy("overlap"), {"sigma": 0.4, "tau": 5.0}, 1.0, rtol=1e-4)
    assert curves.ended[1] == raised.value.time == 0


def test_a_curve_without_an_optimum_is_a_result() -> None:
    """Separable data: without a ridge the logistic risk has no finite minimiser."""
    model = CASES["adversarial logistic, labels"].model
    instance = Instance(
        probabilities=[0.5, 0.5],
        eigenvalues=np.tile([1.0, 0.0], (2, 1)),
        means=[[0.2, 1.0], [-0.2, -1.0]],
        labels=[1.0, -1.0],
        start=[0.1, 0.1],
    )
    with pytest.raises(NoMinimiser):
        solve(model, instance, Polyak(), {"epsilon": 0.0}, 1.0, rtol=1e-4)
    curves = solve_many(model, instance, Polyak(), {"epsilon": 0.0}, 1.0, over={"tau": [0.0, 0.1]}, rtol=1e-4)
    assert curves.status == ("no optimum", "done")
    assert np.isnan(curves["adversarial_risk"][0]).all()
    assert np.isfinite(curves["excess_risk"][1]).all()


def test_parameters_may_differ_between_classes() -> None:
    instance = Instance(
        probabilities=[0.5, 0.5],
        eigenvalues=np.ones((2, 4)),
        means=np.zeros((2, 4)),
        teacher=np.full(4, 0.5),
        start=np.zeros(4),
    )
    table = np.array([[0.1, 0.9], [0.5, 0.5]])
    curves = solve_many(MODEL, instance, Constant(0.5), {"epsilon": 0.2}, 2.0, over={"sigma": table}, rtol=1e-5)
    for m in range(2):
        alone = solve(MODEL, instance, Constant(0.5), {"epsilon": 0.2, "sigma": table[m].tolist()}, 2.0, rtol=1e-5)
        np.testing.assert_array_equal(curves["adversarial_risk"][m], alone["adversarial_risk"])


@pytest.mark.parametrize(
    ("schedule", "over", "error", "why"),
    [
        (Constant(1.0), {"epsilon": [0.1, 0.2], "gamma": [0.5]}, InputError, "2 of epsilon, 1 of gamma"),
        (Constant(1.0), {"epsilon": [0.1, -0.2]}, ParameterError, "-0.2 is negative"),
        (Constant(1.0), {"gamma": [0.1, -0.2]}, ParameterError, "gamma"),
        (AdaGradNorm(1.0, 1.0), {"epsilon": [0.1], "gamma": [0.5]}, ParameterError, "parameter gamma"),
        (Constant(1.0), {"epsilon": [0.1], "sigmb": [0.5]}, ParameterError, "did you mean sigma"),
        (Constant(1.0), {"epsilon": [0.1], "sigma": [0.5]}, InputError, "among the parameters too"),
        (Constant(1.0), {"epsilon": ["a"]}, InputError, "are not numbers"),
        (Constant(1.0), {"epsilon": []}, InputError, "shape"),
        ([Constant(1.0), LineSearch()], {"epsilon": [0.1, 0.2]}, InputError, "different kinds"),
        ([Constant(1.0)], {"epsilon": [0.1, 0.2]}, InputError, "there are 1 for 2 curves"),
    ],
)
def test_input_that_cannot_be_is_told_before_anything_is_solved(
    schedule: Any, over: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        solve_many(MODEL, INSTANCE, schedule, {"sigma": 0.4}, 1.0, over=over)


def test_a_dense_instance_is_refused() -> None:
    dense = DenseInstance(
        probabilities=[1.0], covariances=[np.eye(3)], means=np.zeros((1, 3)), teacher=np.ones(3), start=np.zeros(3)
    )
    with pytest.raises(InputError, match="has no solve_many"):
        solve_many(MODEL, dense, Constant(1.0), {"sigma": 0.4}, 1.0, over={"epsilon": [0.1]})  # type: ignore[arg-type]


def test_progress_is_told_and_what_it_raises_stops_the_rest() -> None:
    told: list[tuple[int, int]] = []
    over = {"epsilon": np.linspace(0, 1, 30)}
    given: dict[str, Any] = {"over": over, "rtol": 1e-4, "threads": 2}
    solve_many(MODEL, INSTANCE, Constant(0.5), {"sigma": 0.4}, 1.0, **given, progress=lambda *now: told.append(now))
    assert told[-1] == (30, 30)

    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve_many(MODEL, INSTANCE, Constant(0.5), {"sigma": 0.4}, 1.0, **given, progress=interrupt)
