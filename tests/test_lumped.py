"""``simulate_lumped``: the law of streaming SGD, at a cost that does not grow with the dimension.

Random tests have fixed seeds, and each states how often it would fail under others.
"""

from __future__ import annotations

import ctypes
import doctest
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from test_simulate_library import FAST, FOLDER, LOSS, compile_c, source

from sgdlimit.codegen.library import lumped as lumped_library
from sgdlimit.codegen.library.problem import LANES, Problem, Status, Trouble
from sgdlimit.derive import (
    AdaGradNorm,
    Constant,
    Greedy,
    L2Adversary,
    Labels,
    LineSearch,
    Loss,
    Model,
    Polyak,
    RandomLabels,
    Schedule,
    Teacher,
)
from sgdlimit.derive.errors import Diverged, InputError, InstanceError, NoLearningRate
from sgdlimit.derive.model import StepSize
from sgdlimit.runtime import lumped as lumped_runtime
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, load_kernel
from sgdlimit.runtime.lumped import simulate_lumped
from sgdlimit.runtime.minimiser import optimum
from sgdlimit.runtime.problem import build_problem
from sgdlimit.runtime.simulator import run_all, simulate
from sgdlimit.runtime.solver import solve

Array = NDArray[np.float64]

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
BACKENDS = [pytest.param("c", marks=needs_compiler), "numpy"]
INFINITE = float("inf")

LEAST_SQUARES = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary())
LOGISTIC = Model(Loss("log(1 + exp(-y*r))"), Labels(), L2Adversary())
RANDOM_LABELS = Model(Loss("log(1 + exp(-y*r))"), RandomLabels("1/(1 + exp(-r_star))"), L2Adversary())


@dataclass(frozen=True)
class Case:
    """A model, an instance given by its Gram matrices, values, and the dimension at which both simulations run."""

    model: Model
    instance: Instance
    parameters: dict[str, float]
    d: int = 200


CASES = {
    "one block, two means, the start beside them": Case(
        LOGISTIC,
        Instance(
            probabilities=[0.3, 0.7],
            eigenvalues=1.0,
            means=[[-1.0, 0.2, 0], [0.7, 0.5, 0]],
            labels=[-1, 1],
            start=[0.3, 0, 0.4],
            weights=[1, 0, 0],
            dimension=INFINITE,
        ),
        {"epsilon": 0.3, "tau": 0.2},
    ),
    "three blocks, classes of unlike covariance": Case(
        LEAST_SQUARES,
        Instance(
            probabilities=[0.4, 0.6],
            eigenvalues=[[0.3, 0.3, 1.0, 2.0], [1.5, 1.5, 1.0, 0.2]],
            means=[[0.3, 0, 0.4, 0], [0, 0, -0.6, 0]],
            teacher=[0.5, 0.4, 0.7, 0],
            start=[0, 0.5, 0, 0.6],
            weights=[0.25, 0.25, 0.25, 0.25],
            dimension=INFINITE,
        ),
        {"epsilon": 0.3, "sigma": 0.5},
    ),
    "blocks as small as their fixed vectors": Case(
        LEAST_SQUARES,
        Instance(
            probabilities=[0.5, 0.5],
            eigenvalues=[[3.0, 2.0, 2.0, 1.0, 4.0], [2.0, 2.0, 1.0, 1.0, 4.0]],
            means=[[0.5, 0, 0.3, 0, 0], [-0.5, 0.2, 0, 0, 0]],
            teacher=[0.4, 0.3, 0.3, 0.6, 0],
            start=[0.1, -0.3, 0, 0, 0.4],
            weights=[1 / 200, 1 / 200, 1 / 200, 195 / 200, 2 / 200],
            dimension=200,
        ),
        {"epsilon": 0.2, "sigma": 0.3},
    ),
    "random labels": Case(
        RANDOM_LABELS,
        Instance(
            probabilities=[1],
            eigenvalues=[[0.5, 1.5]],
            means=[[0.4, 0]],
            teacher=[1.0, 1.0],
            start=[0, 0],
            weights=[0.5, 0.5],
            dimension=INFINITE,
        ),
        {"epsilon": 0.2},
    ),
    # a dozen coordinates: what is left beside the fixed vectors has 0, 1, 2 and 4 degrees of freedom
    "few degrees of freedom": Case(
        LEAST_SQUARES,
        Instance(
            probabilities=[1],
            eigenvalues=[[0.4, 0.8, 1.2, 1.6]],
            means=0,
            teacher=[0.5, 0.3, 0.6, 0],
            start=[0.2, 0, 0.4, 0.7],
            weights=[2 / 12, 3 / 12, 4 / 12, 3 / 12],
            dimension=INFINITE,
        ),
        {"epsilon": 0.3, "sigma": 0.5},
        d=12,
    ),
}  # fmt: skip


def ends(
    verb: Callable[[Problem], Array],
    kernel: Kernel,
    case: Case,
    instance: Instance,
    runs: int,
    *,
    rule: StepSize | None = None,
    seed: int = 0,
) -> Array:
    """Squared norm, overlap or a mean's score, a class's variance of scores, and γ: ``[runs, 4]`` at t = 1."""
    pace = Constant(0.7) if rule is None else rule
    best = optimum(case.model, instance, case.parameters, kernel=kernel).x if isinstance(rule, Polyak) else None
    problem = build_problem(kernel, case.model, instance, pace, case.parameters, np.array([1.0]), reference=best)
    found = run_all(verb, replace(problem, seed=seed), 0, runs, 2, together=LANES)[:, 0, 0]
    second = 1 if case.model.has_teacher else 5
    return found[:, [0, second, 7, 4]]


def assert_one_law(one: Array, other: Array, *, false_alarm: float) -> None:
    """Means, variances and distributions of each column agree; ``false_alarm`` for each of these comparisons."""
    deviations = stats.norm.isf(false_alarm / 2)
    for a, b in zip(one.T, other.T, strict=True):
        scale = np.sqrt(a.var() + b.var())
        if scale < 1e-12:  # a constant learning rate, say
            assert np.allclose(a.mean(), b.mean())
            continue
        errors = [np.array([x.std(), np.sqrt(((x - x.mean()) ** 2).var())]) / np.sqrt(len(x)) for x in (a, b)]
        difference = np.array([a.mean() - b.mean(), a.var() - b.var()])
        assert np.all(np.abs(difference) < deviations * np.hypot(*errors)), difference / np.hypot(*errors)
        assert stats.ks_2samp(a, b).pvalue > false_alarm


@pytest.mark.parametrize("module", [lumped_runtime, lumped_library])
def test_docstrings_run(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


# ── The law ─────────────────────────────────────────────────────────────────────────────────────────────────


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_the_law_is_that_of_sgd_in_every_coordinate(name: str) -> None:
    """10,000 runs of each. Nine comparisons a case, each with a false alarm in 10⁵ seeds."""
    case = CASES[name]
    kernel = load_kernel(case.model, backend="c")
    full = ends(kernel.simulate, kernel, case, case.instance.at_dimension(case.d), 10_000)
    few = case.instance.lumped(case.d)
    assert few.modes < case.d
    assert_one_law(full, ends(kernel.simulate_lumped, kernel, case, few, 10_000), false_alarm=1e-5)


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_the_law_is_that_of_sgd_in_every_coordinate_closely(name: str) -> None:
    """200,000 runs of each: a false alarm in 10⁵ seeds for each of nine comparisons."""
    case = CASES[name]
    kernel = load_kernel(case.model, backend="c")
    full = ends(kernel.simulate, kernel, case, case.instance.at_dimension(case.d), 200_000)
    found = ends(kernel.simulate_lumped, kernel, case, case.instance.lumped(case.d), 200_000)
    assert_one_law(full, found, false_alarm=1e-5)


@needs_compiler
@pytest.mark.parametrize(
    "rule",
    [
        AdaGradNorm(0.8, 1.2, "iterate"),
        Polyak("iterate"),
        LineSearch("iterate"),
        pytest.param(Greedy("clean_risk", "iterate"), marks=pytest.mark.long),
    ],
    ids=repr,
)
def test_step_sizes_that_follow_the_iterate_have_the_law_too(rule: StepSize) -> None:
    """At d = 12 and 3,000 runs; twelve comparisons, each with a false alarm in 10⁵ seeds."""
    case = CASES["few degrees of freedom"]
    kernel = load_kernel(case.model, backend="c", schedule=rule)
    instances = case.instance.at_dimension(case.d), case.instance.lumped(case.d)
    full = ends(kernel.simulate, kernel, case, instances[0], 3000, rule=rule)
    assert full[:, 3].std() > 0
    assert_one_law(full, ends(kernel.simulate_lumped, kernel, case, instances[1], 3000, rule=rule), false_alarm=1e-5)


@needs_compiler
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("few degrees of freedom", Constant(0.7)),
        ("few degrees of freedom", AdaGradNorm(0.8, 1.2, "iterate")),
        ("few degrees of freedom", LineSearch("iterate")),
        ("blocks as small as their fixed vectors", AdaGradNorm(0.8, 1.2, "iterate")),
    ],
)
def test_c_and_numpy_agree_in_law(name: str, rule: StepSize) -> None:
    """Twelve comparisons a case, each with a false alarm in 10⁵ seeds."""
    case = CASES[name]
    few, found = case.instance.lumped(case.d), []
    for backend, runs in (("c", 4000), ("numpy", 40 if isinstance(rule, LineSearch) else 1500)):
        kernel = load_kernel(case.model, backend=backend)
        found.append(ends(kernel.simulate_lumped, kernel, case, few, runs, rule=rule))
    assert_one_law(*found, false_alarm=1e-5)


@needs_compiler
@pytest.mark.parametrize("rule", [Constant(0.6), Polyak("limit"), Schedule("1/(1 + t)")], ids=repr)
def test_at_a_million_dimensions_the_means_are_those_of_the_limit(rule: StepSize) -> None:
    """Five standard errors of 24 runs, some 25 numbers a rule: a false alarm in a thousand seeds."""
    case = CASES["three blocks, classes of unlike covariance"]
    instance = case.instance.lumped(10**6)
    found = simulate_lumped(case.model, instance, rule, case.parameters, times=[0.2, 0.5], runs=24, draws=4096)
    limit = solve(case.model, instance, rule, case.parameters, times=[0.2, 0.5])
    assert found.dimension == 10**6
    for name in set(found.names) & set(limit.names) - {"excess_risk"}:
        error = np.maximum(found.standard_error(name), 1e-7 * np.abs(limit[name]))
        assert np.max(np.abs(found.mean(name) - limit[name]) / error) < 5, name
        if name == "norm2":  # fluctuations of order 1/√d
            assert np.all(found.standard_error(name) < 1e-3 * limit[name])


@needs_compiler
def test_a_reference_point_is_followed_in_lumps() -> None:
    """Its distance from iterates, for an optimum of another instance, not in the span of teacher and means.

    Both simulations at d = 60, and a false alarm in 10⁵ seeds for each comparison.
    """
    case = CASES["few degrees of freedom"]
    full = case.instance.at_dimension(60)
    elsewhere = optimum(case.model, full, case.parameters)
    elsewhere = replace(elsewhere, x=elsewhere.x + np.linspace(-0.1, 0.2, 60))
    found = [
        run(
            case.model,
            full,
            Constant(0.7),
            case.parameters,
            times=[1.0],
            runs=4000,
            draws=16,
            reference=elsewhere,
            seed=k,
        )
        for k, run in enumerate((simulate, simulate_lumped))
    ]
    columns = [np.stack([e["optimum_distance2"][:, 0], e["norm2"][:, 0]], axis=1) for e in found]
    assert_one_law(*columns, false_alarm=1e-5)


# ── Chi-square ──────────────────────────────────────────────────────────────────────────────────────────────

CHI2 = """
void test_chi2(uint64_t seed, double degrees, int64_t draws, double *out) {
  generator g;
  seed_generator(&g, seed, 0, COORDINATES);
  const chi2_law law = chi2_of(degrees);
  for (int64_t draw = 0; draw < draws; draw++) {
    reals unused, z[VECTORS], chi2[VECTORS];
    for (int v = 0; v < VECTORS; v++) draw_normals(&g, v, &unused, &z[v]);
    draw_chi2(&g, &law, z, chi2);
    memcpy(out + draw * LANES, chi2, sizeof chi2);
  }
}
"""
DEGREES = [1, 2, 3, 4, 5, 17, 1000, 10**6, 10**9]


@pytest.fixture(scope="module")
def chi2(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float, int], Array]:
    path = tmp_path_factory.mktemp("chi2") / "chi2.so"
    lumped = (FOLDER / "lumped.h").read_text(encoding="utf-8")
    compile_c("cc", source() + lumped + CHI2, path, "-shared", "-fPIC", *FAST)
    call = ctypes.CDLL(str(path)).test_chi2
    call.argtypes = [ctypes.c_uint64, ctypes.c_double, ctypes.c_int64, ctypes.c_void_p]

    def draw(degrees: float, count: int, seed: int = 0) -> Array:
        out = np.empty((count // LANES, LANES))
        call(seed, degrees, len(out), out.ctypes.data)
        return out

    return draw


def assert_chi2(drawn: Array, degrees: float) -> None:
    """Kolmogorov and Smirnov's test, mean and variance, and independence of neighbours: each false once in 10⁶ seeds."""
    law, count = stats.chi2(degrees), drawn.size
    assert np.all(drawn >= 0)
    assert stats.kstest(drawn.ravel(), law.cdf).pvalue > 1e-6
    z = (drawn - degrees) / math.sqrt(2 * degrees)
    bound = stats.norm.isf(5e-7)
    assert abs(z.mean()) < bound / math.sqrt(count)
    kurtosis = 3 + 12 / degrees
    assert abs((z**2).mean() - 1) < bound * math.sqrt((kurtosis - 1) / count)
    for a, b in ((z[:, :-1], z[:, 1:]), (z[:-1], z[1:])):
        assert abs((a * b).mean()) < bound / math.sqrt(a.size)


@needs_compiler
@pytest.mark.parametrize("degrees", DEGREES)
def test_chi_squares_have_their_law(chi2: Callable[[float, int], Array], degrees: int) -> None:
    assert_chi2(chi2(degrees, 200_000), degrees)


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("degrees", DEGREES)
def test_chi_squares_have_their_law_closely(chi2: Callable[[float, int], Array], degrees: int) -> None:
    assert_chi2(chi2(degrees, 20_000_000), degrees)


# ── The instance ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CASES)
def test_a_lumped_instance_has_the_same_limit_in_few_modes(name: str) -> None:
    case = CASES[name]
    few, full = case.instance.lumped(case.d), case.instance.at_dimension(case.d)
    assert few.dimension == full.dimension
    counts = few.weights * case.d
    assert np.allclose(counts, np.round(counts))
    assert np.sum(counts) == pytest.approx(case.d)
    for vectors in (few.means, np.zeros((1, few.modes)) if few.teacher is None else few.teacher[np.newaxis]):
        assert not vectors[:, counts > 1.5].any()
    times = [0.5, 2.0]
    curves = [solve(case.model, at, Constant(0.7), case.parameters, times=times) for at in (few, full)]
    for statistic in curves[0].names:
        np.testing.assert_allclose(curves[0][statistic], curves[1][statistic], rtol=1e-6, atol=1e-12)


def test_a_lumped_instance_is_its_own_and_other_dimensions_follow() -> None:
    few = CASES["three blocks, classes of unlike covariance"].instance.lumped(10**9)
    assert few.lumped() is few
    assert few.modes < 10
    again = few.lumped(400).at_dimension(400)
    assert again.modes == 400
    assert np.allclose(again.start @ again.start, few.start @ few.start)
    assert again.teacher is not None
    assert few.teacher is not None
    assert np.allclose(again.means @ again.teacher, few.means @ few.teacher)


def test_unlike_eigenvalues_are_simulated_coordinate_by_coordinate() -> None:
    instance = Instance.power_law(30, exponent=0.25, start_norm=1.0)
    assert instance.lumped() is instance
    found = simulate_lumped(LEAST_SQUARES, instance, Constant(0.5), {"epsilon": 0.1, "sigma": 0.5}, times=[1.0], runs=3)
    assert found["norm2"].shape == (3, 1)


@pytest.mark.parametrize(
    ("instance", "d", "fragment"),
    [
        (Instance.isotropic(INFINITE), None, "lumped"),
        (Instance(probabilities=[1], eigenvalues=[2, 1], means=0, teacher=[3, 4], start=0), 7, "6 and 8"),
        (Instance.isotropic(INFINITE, labels=[-1, 1], mean_norm=1.0, start_norm=1.0), 2, "smallest admissible"),
        (Instance.marchenko_pastur(INFINITE, ratio=0.5, nodes=5), 1000, "not rational"),
    ],
)
def test_dimensions_that_cannot_be_are_told(instance: Instance, d: int | None, fragment: str) -> None:
    with pytest.raises(InstanceError, match=fragment):
        instance.lumped(d)


# ── Reproducibility, trouble, bad input ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["one block, two means, the start beside them", "few degrees of freedom"])
def test_a_run_is_a_function_of_seed_and_index_alone(name: str, backend: str) -> None:
    """Any lane, any number of threads, any chunking, any output times before: the same bits."""
    case = CASES[name]
    kernel = load_kernel(case.model, backend=backend)
    few = case.instance.lumped(case.d)
    problem = build_problem(kernel, case.model, few, AdaGradNorm(0.8, 1.2, "iterate"), case.parameters, np.array([1.0]))

    def run(first: int, runs: int, threads: int, **changes: object) -> Array:
        given = replace(problem, **changes)  # type: ignore[arg-type]
        return run_all(kernel.simulate_lumped, given, first, runs, threads, together=LANES)[:, 0, -1]

    known = [k for k in range(5 + 3 * few.classes) if k != 3]  # of no reference point there is no distance
    one = run(0, 21, 1)[:, known]
    assert np.isfinite(one).all()
    assert len(np.unique(one[:, 0])) == 21
    assert np.array_equal(one, run(0, 21, 3)[:, known])
    for first in (1, 5, 13):
        assert np.array_equal(one[first : first + 3], run(first, 3, 1)[:, known])
    assert np.array_equal(one, run(0, 21, 2, times=np.array([0.25, 0.5, 1.0]))[:, known])
    assert not np.any(one[:, 0] == run(0, 21, 1, seed=1)[:, 0])


@needs_compiler
def test_streams_are_not_those_of_the_full_simulation() -> None:
    """With distinct eigenvalues both simulate coordinates, of one seed: independent runs."""
    instance = Instance.power_law(30, exponent=0.25)
    arguments = (LEAST_SQUARES, instance, Constant(0.5), {"epsilon": 0.1, "sigma": 0.5})
    one, other = (
        run(*arguments, times=[1.0], runs=400, draws=16)["norm2"][:, 0] for run in (simulate, simulate_lumped)
    )
    assert abs(np.corrcoef(one, other)[0, 1]) < stats.norm.isf(5e-7) / np.sqrt(400)


@pytest.mark.parametrize("backend", BACKENDS)
def test_trouble_is_told_with_its_time(backend: str) -> None:
    case = CASES["few degrees of freedom"]
    few = case.instance.lumped(120)
    with pytest.raises(Diverged) as caught:
        simulate_lumped(case.model, few, Constant(20.0), case.parameters, horizon=50.0, runs=9, backend=backend)
    assert 0 < caught.value.time < 50
    assert few.teacher is not None
    beyond = replace(few, start=2.5 * few.teacher)
    with pytest.raises(NoLearningRate) as missing:
        simulate_lumped(case.model, beyond, Greedy("overlap", "iterate"), case.parameters, 5.0, runs=2, backend=backend)
    assert missing.value.time == 0
    kernel = load_kernel(case.model, backend=backend)
    problem = build_problem(kernel, case.model, few, Constant(0.5), case.parameters, np.array([1.0]))
    with pytest.raises(Trouble) as cancelled:
        kernel.simulate_lumped(replace(problem, cancel=np.ones(1, dtype=np.int32)))
    assert cancelled.value.status == Status.CANCELLED


@needs_compiler
def test_a_run_beyond_those_asked_for_is_not_reported() -> None:
    """Of eight lanes two are asked for; with so long a step every run diverges, each at its time."""
    case = CASES["few degrees of freedom"]
    kernel = load_kernel(case.model, backend="c")
    problem = build_problem(
        kernel, case.model, case.instance.lumped(12), Constant(9.0), case.parameters, np.array([99.0])
    )
    fate = []
    for first in range(8):
        with pytest.raises(Trouble) as alone:
            kernel.simulate_lumped(replace(problem, first_run=first))
        assert alone.value.run == first
        fate.append(alone.value.time)
    pairs = range(7)
    assert any(min(fate[k : k + 2]) > min(fate) for k in pairs)
    for k in pairs:
        with pytest.raises(Trouble) as caught:
            kernel.simulate_lumped(replace(problem, first_run=k, runs=2))
        assert caught.value.time == min(fate[k : k + 2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_problems_that_are_not_lumps_are_refused(backend: str) -> None:
    case = CASES["few degrees of freedom"]
    kernel = load_kernel(case.model, backend=backend)
    few = case.instance.lumped(12)
    problem = build_problem(kernel, case.model, few, Constant(0.5), case.parameters, np.array([1.0]))
    lump = int(np.argmax(few.weights))
    spoilt = {name: getattr(problem, name).copy() for name in ("teacher", "means", "weights")}
    for array in spoilt.values():
        array[..., lump] *= 1.01
        array[..., lump] += 0.01
    other = {
        name: np.repeat(getattr(problem, name), 2, axis=0) for name in ("parameters", "start_mean", "start_variance")
    }
    other |= {"step_arguments": np.repeat(problem.step_arguments, 2, axis=0), "start_auxiliary": np.zeros(2)}
    changes = [{name: array} for name, array in spoilt.items()]
    for change in (*changes, {"reference": spoilt["teacher"]}, {"dimension": INFINITE}, other):
        with pytest.raises(Trouble) as refused:
            kernel.simulate_lumped(replace(problem, **change))
        assert refused.value.status == Status.BAD_PROBLEM


@pytest.mark.parametrize(
    ("given", "kind", "fragment"),
    [
        ({"runs": 0}, InputError, "runs"),
        ({"threads": -1}, InputError, "threads"),
        ({"seed": -1}, InputError, "seed"),
        ({"instance": Instance.isotropic(INFINITE)}, InstanceError, "instance.lumped"),
        (
            {"instance": DenseInstance(probabilities=[1], covariances=[np.eye(2)], means=0, teacher=[1, 0], start=0)},
            InstanceError,
            "commute",
        ),
    ],
)
def test_input_that_cannot_be_is_told(given: dict[str, object], kind: type[Exception], fragment: str) -> None:
    arguments = {"instance": Instance.isotropic(40), **given}
    with pytest.raises(kind, match=fragment):
        simulate_lumped(
            LEAST_SQUARES,
            schedule=Constant(0.5),
            parameters={"epsilon": 0.1, "sigma": 0.5},
            times=[1.0],
            **arguments,  # type: ignore[arg-type]
        )


def test_progress_reaches_the_end_and_the_ensemble_says_what_it_is() -> None:
    seen: list[tuple[int, int]] = []
    instance = Instance.isotropic(40).lumped(1000)
    found = simulate_lumped(
        LEAST_SQUARES, instance, Constant(0.5), {"epsilon": 0.1, "sigma": 0.5}, times=[0.1, 1.0], runs=11,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen[-1] == (11 * 1000, 11 * 1000)
    assert "11 runs in lumps at d = 1000" in repr(found)
    assert found.dynamics == "lumped"


# ── The emitted C ───────────────────────────────────────────────────────────────────────────────────────────

SANITIZED = """
int main(void) {
  for (int64_t lumps = 0; lumps < 5; lumps += 1 + lumps / 2)
    for (int64_t coordinates = lumps == 0; coordinates < 5; coordinates++)
      for (int64_t K = 1; K < 4; K++)
        for (int with_reference = 0; with_reference < 2; with_reference++) {
          /* Every array exactly as long as it must be, so that a step too far is seen. */
          const int64_t N = lumps + coordinates, R = 11, degrees[4] = {1, 2, 3, 40};
          const int64_t lengths[12] = {N, K, K * N, K * N, K, N, N, 4 * K, N, 2, 3, R * 3 * (5 + 3 * K)};
          double *array[12], d = (double)coordinates;
          for (int a = 0; a < 12; a++) {
            array[a] = malloc((size_t)lengths[a] * sizeof(double));
            for (int64_t i = 0; i < lengths[a]; i++) array[a][i] = 1.0 / (double)(2 + i + a);
          }
          for (int64_t j = 0; j < lumps; j++) d += (double)(1 + degrees[j]);
          for (int64_t j = 0; j < N; j++) {   /* lumps and coordinates by turns, while there are some of both */
            const int lump = j / 2 < lumps && j / 2 < coordinates ? j % 2 : coordinates < lumps;
            const int64_t which = j / 2 < lumps && j / 2 < coordinates ? j / 2 : j - coordinates;
            array[0][j] = (lump ? (double)(1 + degrees[which]) : 1) / d;
            if (!lump) continue;
            array[5][j] = array[6][j] = 0;
            for (int64_t i = 0; i < K; i++) array[3][i * N + j] = 0;
          }
          array[10][0] = 0, array[10][1] = 1, array[10][2] = 3;
          int32_t cancel = 0;
          int64_t progress = 0;
          sgdlimit_problem p = {
              .size = sizeof p, .iterates = 1, .classes = K, .modes = N, .times_count = 3, .dimension = d,
              .weights = array[0], .probabilities = array[1], .eigenvalues = array[2], .means = array[3],
              .labels = array[4], .teacher = array[5], .reference = with_reference ? array[6] : NULL,
              .parameters = array[7], .start_mean = array[8], .step_arguments = array[9], .step_arguments_count = 2,
              .times = array[10], .first_run = 3, .runs = R, .cancel = &cancel, .progress = &progress,
              .statistics = array[11]};
          sgdlimit_outcome outcome;
          int status = 0;
          if (sgdlimit_simulate_lumped(&p, &outcome) != SGDLIMIT_OK) status = 1;
          p.step_kind = SGDLIMIT_ADAGRAD_NORM;
          if (sgdlimit_simulate_lumped(&p, &outcome) != SGDLIMIT_OK) status = 2;
          if (progress != R * (int64_t)floor(3 * d + 0.5)) status = 3;
          p.step_kind = SGDLIMIT_LINE_SEARCH;
          if (sgdlimit_simulate_lumped(&p, &outcome) != SGDLIMIT_NO_STEP) status = 4;
          p.iterates = 2;
          if (sgdlimit_simulate_lumped(&p, &outcome) != SGDLIMIT_BAD_PROBLEM) status = 5;
          for (int a = 0; a < 12; a++) free(array[a]);
          if (status) return status;
        }
  return 0;
}
"""


@pytest.mark.parametrize("compiler", ["cc", pytest.param("clang", marks=pytest.mark.long)])
def test_address_and_undefined_behaviour_sanitizers_find_nothing(compiler: str, tmp_path: Path) -> None:
    sanitize = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    try:
        compile_c(compiler, "int main(void) { return 0; }", tmp_path / "empty", *sanitize)
    except subprocess.CalledProcessError:
        pytest.skip(f"{compiler} has no sanitizers here")
    lumped = (FOLDER / "lumped.h").read_text(encoding="utf-8")
    compile_c(
        compiler, source(LOSS) + lumped + SANITIZED, tmp_path / "program", "-O1", "-Wno-unknown-pragmas", *sanitize
    )
    subprocess.run([tmp_path / "program"], check=True)


@needs_compiler
def test_lanes_are_the_same_at_every_width_of_vectors(tmp_path: Path) -> None:
    """The draws' words are; contraction is off, so that the bits are too."""
    main = """
    #include <stdio.h>
    int main(void) {
      double weights[3], one[] = {1, 1, 1, 1, 1, 1}, zero[6] = {0}, teacher[] = {1, 0, 0}, steps[] = {0.5};
      double times[] = {2}, out[11 * 11], parameters[] = {0.1, 0.1, 0.5, 0.5, 0.1, 0.1, 0, 0}, half[] = {0.5, 0.5};
      weights[0] = 1 / 9.0, weights[1] = 4 / 9.0, weights[2] = 4 / 9.0;
      const sgdlimit_problem p = {
          .size = sizeof p, .iterates = 1, .classes = 2, .modes = 3, .times_count = 1, .dimension = 9, .weights = weights,
          .probabilities = half, .eigenvalues = one, .means = zero, .labels = half, .teacher = teacher,
          .parameters = parameters, .start_mean = one, .step_arguments = steps, .step_arguments_count = 1,
          .times = times, .runs = 11, .statistics = out};
      sgdlimit_outcome outcome;
      if (sgdlimit_simulate_lumped(&p, &outcome) != SGDLIMIT_OK) return 1;
      for (int i = 0; i < 11; i++) printf("%a\\n", out[i * 11]);
      return 0;
    }
    """
    lumped = (FOLDER / "lumped.h").read_text(encoding="utf-8")
    answers = set()
    probe = "#define VECTOR_BYTES {}\n"
    for width in (16, 32, 64):
        text = source().replace("#if defined(__AVX512F__)", f"#if 1\n{probe.format(width)}#elif defined(__AVX512F__)")
        flags = ["-O2", "-ffp-contract=off", "-Wno-psabi", "-Wno-unknown-pragmas"]
        compile_c("cc", text + lumped + main, tmp_path / f"program{width}", *flags)
        answers.add(subprocess.run([tmp_path / f"program{width}"], check=True, capture_output=True, text=True).stdout)
    assert len(answers) == 1
    assert len(next(iter(answers)).split()) == 11
