"""Emitted kernels: accurate coefficients and curves, in C and in NumPy, in files that stand alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from models import CASES, Case
from numpy.typing import NDArray
from scipy.special import ndtr

import reference
from sgdlimit.codegen import PARTS, emit, emit_parts
from sgdlimit.derive import Constant, L2Adversary, Labels, Loss, Model, Schedule, Teacher, derive
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, compiled, emitted, load_kernel
from sgdlimit.runtime.problem import build_problem
from sgdlimit.runtime.spec import catalogue

Array = NDArray[np.float64]
RADIUS = 0.3
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
BACKENDS = [pytest.param("c", marks=needs_compiler), "numpy"]


def states(count: int, seed: int) -> list[tuple[reference.ScoreLaw, float]]:
    """Score laws and norms over the box of the design: corners of every kind, the rest at random."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        m, m_star = rng.uniform(-10, 10, 2) if k % 5 else rng.choice([-10.0, 0.0, 10.0], 2)
        Q = 10 ** rng.uniform(-12, 4) if k % 7 else rng.choice([1e-12, 1.0, 1e4])
        Q_star = 10 ** rng.uniform(-2, 2)
        share = (0.0, 1.0, 1e-16, 10 ** rng.uniform(-16, 0))[k % 4]
        kappa = (0.0, 10.0, rng.uniform(0, 10))[k % 3]
        beta = rng.choice([-1, 1]) * np.sqrt(Q * (1 - share) / Q_star)
        law = reference.ScoreLaw(m, m_star, Q_star, beta, beta - 1, Q * share, (m, -m_star))
        found.append((law, kappa / RADIUS))
    return found


def score_of(kernel: Kernel, law: reference.ScoreLaw, n: float) -> Array:
    values = {
        "n": n,
        "m": law.m,
        "dm": law.m - law.m_star,
        "m_star": law.m_star,
        "beta": law.beta,
        "beta1": law.beta_minus_one,
        "Q": law.Q,
        "Q_perp": law.Q_perp,
        "Q_star": law.Q_star,
    }
    return np.array([values[name] for name in kernel.score])


# Where a quadrature's integrand lives more than 13 standard deviations out, its value is below this and is missed.
DEEP_TAIL = 1e-30


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_coefficients_hold_1e10_of_the_mean_absolute_integrand(name: str, backend: str) -> None:
    case = CASES[name]
    kernel = load_kernel(case.model, backend=backend)
    values = {"epsilon": RADIUS, "tau": 0.0, **case.parameters}
    parameters = np.array([values[p] for p in kernel.parameters])
    model = case.reference(RADIUS)
    for law, n in states(60, seed=5):
        wanted = reference.coefficients_of(model, law, n, case.label)
        got = kernel.evaluate_coefficients(score_of(kernel, law, n), case.label or 0.0, parameters)
        for coefficient, value in zip(kernel.coefficients, got, strict=True):
            exact = wanted[coefficient]
            size = wanted["abs_A"] if coefficient == "A" else abs(exact)
            assert abs(value - exact) <= 1e-10 * size + DEEP_TAIL, (coefficient, law, n, value, exact)


def small_instance(case: Case) -> Instance:
    """Two classes with different means and different commuting covariances, X_0 = 0."""
    labels = [-1.0, 1.0] if isinstance(case.model.target, Labels) else None
    modes = 12
    j = np.arange(1, modes + 1)
    eigenvalues = np.stack([2.0 / j**0.7, 0.4 + 1.0 / j])
    direction = np.cos(j) / np.linalg.norm(np.cos(j))
    return Instance(
        probabilities=[0.35, 0.65],
        eigenvalues=eigenvalues,
        means=np.stack([-0.4 * direction, 0.7 * direction]),
        labels=labels,
        teacher=np.sin(2.0 * j) / np.linalg.norm(np.sin(2.0 * j)),
        start=np.zeros(modes),
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_curves_agree_with_an_independent_integration_to_1e7(name: str, backend: str) -> None:
    case = CASES[name]
    instance = small_instance(case)
    times = np.array([0.05, 0.3, 1.0, 3.0, 8.0])
    kernel = load_kernel(case.model, backend=backend)
    values = {**case.parameters, **({"epsilon": RADIUS} if case.model.adversary else {})}
    problem = build_problem(kernel, case.model, instance, Constant(0.4), values, times, rtol=1e-10)
    got = kernel.solve(problem).statistics[0]
    wanted = reference.solve_reference(case.reference(RADIUS), instance, lambda t: 0.4, times)
    compared = [s for s in kernel.statistics if s in wanted]
    assert {"adversarial_risk", "clean_risk", "norm2", "distance2"} <= set(compared)
    for statistic in compared:
        curve = got[:, kernel.statistics.index(statistic)]
        scale = np.maximum(np.abs(wanted[statistic]), 1e-3 if statistic == "overlap" else 0)
        assert np.max(np.abs(curve - wanted[statistic]) / scale) < 1e-7, statistic


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_c_and_numpy_agree_to_1e9(name: str) -> None:
    case = CASES[name]
    instance = small_instance(case)
    values = {**case.parameters, **({"epsilon": RADIUS} if case.model.adversary else {})}
    curves = []
    for backend in ("c", "numpy"):
        kernel = load_kernel(case.model, backend=backend)
        problem = build_problem(kernel, case.model, instance, Constant(0.4), values, np.linspace(0, 10, 41))
        curves.append(kernel.solve(problem).statistics[0])
    known = [k for k, name in enumerate(kernel.statistics) if name != "optimum_distance2"]  # there is no optimum
    c, numpy = (curve[:, known] for curve in curves)
    assert np.array_equal(np.isnan(c), np.isnan(numpy))
    scale = np.maximum(np.abs(numpy), 1e-3 * np.nanmax(np.abs(numpy), axis=0) + 1e-300)
    assert np.nanmax(np.abs(c - numpy) / scale) < 1e-9


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_right_hand_side_is_linear_in_the_coefficients_of_the_theory(backend: str) -> None:
    """dx and dv at a state with variance, against section 3 written out."""
    case = CASES["adversarial least squares"]
    instance, model = small_instance(case), case.reference(RADIUS)
    kernel = load_kernel(case.model, backend=backend)
    problem = build_problem(
        kernel,
        case.model,
        instance,
        Constant(0.4),
        {"epsilon": RADIUS, "sigma": 0.5, "tau": 0.2},
        np.array([1.0]),
    )
    rng = np.random.default_rng(1)
    x, v = rng.standard_normal(12), rng.random(12) / 12
    dx, dv = kernel.rhs(problem, 0, 0.0, x, v)
    terms = reference.mode_terms(model, reference.Modes.of(model, instance), x, v)
    assert np.allclose(dx, -0.4 * (terms.drift + 0.2 * x), rtol=1e-12, atol=1e-14)
    assert np.allclose(dv, -2 * 0.4 * (terms.H + 0.2) * v + 0.16 * terms.G, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_at_the_origin_the_score_says_nothing_of_a_sign_label(backend: str) -> None:
    """X = 0 (section 2): A = E f'(0; y), D = E[f'(0; y)(r* − m*)]/Q*, and a nearby iterate has nearly the same."""
    kernel = load_kernel(CASES["adversarial logistic, sign teacher"].model, backend=backend)
    m_star, Q_star = 0.3, 0.7
    root = np.sqrt(Q_star)
    for size in (0.0, 1e-160, 1e-12):
        law = reference.ScoreLaw(0.0, m_star, Q_star, 0.0, -1.0, size**2, (0.0, -m_star))
        got = kernel.evaluate_coefficients(score_of(kernel, law, size), 0.0, np.array([RADIUS, 0.0]))
        R, A, B, D, F, _ = got
        assert pytest.approx(np.log(2), rel=1e-9) == R
        assert pytest.approx(-0.5 * (2 * ndtr(m_star / root) - 1), rel=1e-9) == A
        assert pytest.approx(0.25, rel=1e-9) == B
        assert pytest.approx(-np.exp(-(m_star**2) / (2 * Q_star)) / np.sqrt(2 * np.pi * Q_star), rel=1e-9) == D
        assert pytest.approx(RADIUS / 2, rel=1e-9) == F


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_iterate_parallel_to_the_teacher_and_one_at_it_are_no_exception(backend: str) -> None:
    for name in ("adversarial least squares", "adversarial logistic, sign teacher", "adversarial Huber"):
        case = CASES[name]
        teacher = np.ones(4) / 2
        for factor in (0.0, 0.5, 1.0, -2.0):
            instance = Instance(
                probabilities=[1],
                eigenvalues=np.ones((1, 4)),
                means=0,
                teacher=teacher,
                start=factor * teacher,
            )
            kernel = load_kernel(case.model, backend=backend)
            problem = build_problem(
                kernel,
                case.model,
                instance,
                Constant(0.3),
                {"epsilon": RADIUS, **case.parameters},
                np.linspace(0, 3, 7),
            )
            solution = kernel.solve(problem)
            assert solution.outcome.status == 0
            curves = {s: solution.statistics[0, :, k] for k, s in enumerate(kernel.statistics)}
            del curves["effective_ridge"], curves["optimum_distance2"]  # F/n over B at n = 0; there is no optimum
            assert all(np.isfinite(c).all() for c in curves.values()), (name, factor)


@needs_compiler
def test_a_solve_compiles_nothing_that_draws_random_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGDLIMIT_CACHE", str(tmp_path))
    case = CASES["least squares"]
    instance, values = Instance.isotropic(20), dict.fromkeys(case.parameters, 0.3)
    compiler = find_compiler()
    assert compiler is not None
    kernel = compiled(emitted(derive(case.model)), compiler)
    problem = build_problem(kernel, case.model, instance, Constant(0.3), values, np.array([1.0]))
    assert kernel.solve(problem).outcome.status == 0
    (library,) = (tmp_path / "kernels").glob("*.so")
    assert b"sgdlimit_solve" in library.read_bytes()
    assert b"sgdlimit_simulate" not in library.read_bytes()
    assert kernel.simulate(problem).shape == (1, 1, 1, 8)
    assert len(list((tmp_path / "kernels").glob("*.so"))) == 2


# --- emitted text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", CASES)
def test_an_emitted_c_file_compiles_alone_without_a_warning(name: str, compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    limit, schedule = derive(CASES[name].model), Schedule("eta/(1 + t)**0.5")
    source = tmp_path / "kernel.c"
    strict = [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-c", str(source), "-o", str(tmp_path / "kernel.o")]
    files = [*emit_parts(limit, schedule).items(), ("all parts", emit(limit, "c", schedule, PARTS))]
    for part, text in files:
        source.write_text(text, encoding="utf-8")
        for switches in ([], ["-DSGDLIMIT_FLOAT32"]) if part == "sgd" else ([],):
            answer = subprocess.run([*strict, *switches], capture_output=True, text=True, check=False)
            assert answer.returncode == 0, f"{part}: {answer.stderr}"


def test_a_file_is_the_same_alone_and_among_others() -> None:
    limit = derive(CASES["adversarial logistic, labels"].model)
    assert emit(limit, "c", parts=["sgd"]) == emit_parts(limit)["sgd"]


def test_an_emitted_numpy_file_imports_without_sgdlimit(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text(emit(derive(CASES["adversarial least squares"].model), "numpy"), encoding="utf-8")
    script = (
        "import sys; sys.modules['sgdlimit'] = None; sys.modules['sympy'] = None\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import numpy as np, kernel\n"
        "one = np.ones((1, 3))\n"
        "p = kernel.Problem(dimension=3, weights=one[0] / 3, probabilities=np.ones(1), eigenvalues=one, means=0 * one,\n"
        "    labels=np.zeros(1), teacher=one[0], parameters=np.array([[[0.3], [0.0], [0.5]]]), start_mean=0 * one,\n"
        "    start_variance=0 * one, reference=one[0], step_arguments=np.array([[0.5]]), times=np.array([1.0, 2.0]))\n"
        "solution = kernel.solve_problem(p)\n"
        "assert solution.outcome.status == 0 and np.isfinite(np.delete(solution.statistics, kernel.STATISTICS.index('optimum_distance2'), -1)).all()\n"
        "assert kernel.simulate_problem(p).shape == (1, 1, 2, 8)\n"
        "assert kernel.simulate_lumped_problem(p).shape == (1, 1, 2, 8)\n"
        "assert kernel.diffuse_problem(p, 0.1).shape == (1, 1, 2, 8)\n"
    )
    answer = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_emitted_text_does_not_depend_on_the_hash_seed() -> None:
    script = (
        "import hashlib\n"
        "from sgdlimit.derive import *\n"
        "from sgdlimit.derive.limit import derive\n"
        "from sgdlimit.codegen import emit\n"
        "models = [Model(Loss('(r - y)**2/2'), Teacher('r_star + sigma*xi'), L2Adversary()),\n"
        "          Model(Loss('log(1 + exp(-y*r))'), Teacher('sign(r_star)'), L2Adversary())]\n"
        "text = ''.join(emit(derive(m), t, Schedule('a/(b + t)')) + derive(m).latex() for m in models for t in ('c', 'numpy'))\n"
        "print(hashlib.sha256(text.encode()).hexdigest())\n"
    )
    digests = set()
    for seed in ("0", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        answer = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
        )
        digests.add(answer.stdout)
    assert len(digests) == 1


HARNESS = r"""
#include <stdio.h>
#ifndef DIMENSION
#define DIMENSION 37
#endif
int main(void) {
  enum { K = 2, N = DIMENSION, T = 3, MANY = 4096 };
  const double unit = sqrt(37.0 / N);
  double weights[N], eigenvalues[K * N], means[K * N], teacher[N], start[2 * N], zero[2 * N] = {0}, reference[N];
  double probabilities[K] = {0.25, 0.75}, labels[K] = {-1, 1}, parameters[2 * 16 * K], steps[] = {0.4, 0.5, 0.6, 0.7};
  double times[T] = {0.5, 1, 2};
  static double statistics[MANY * 16], mean[2 * T * N], variance[2 * T * N], final_mean[2 * N], final_variance[2 * N];
  for (int j = 0; j < N; j++) {
    weights[j] = 1.0 / N;
    eigenvalues[j] = 1.0 / (1 + j), eigenvalues[N + j] = 0.5;
    means[j] = -0.1 * unit, means[N + j] = 0.1 * unit, teacher[j] = (j % 2 ? 0.2 : -0.1) * unit;
    start[j] = 0, start[N + j] = 0.05 * unit, reference[j] = 0.01 * unit;
  }
  for (int k = 0; k < 2 * 16 * K; k++) parameters[k] = 0.3;
  sgdlimit_problem p = {.size = sizeof p, .iterates = 2, .classes = K, .modes = N, .times_count = T, .dimension = N,
    .weights = weights, .probabilities = probabilities, .eigenvalues = eigenvalues, .means = means, .labels = labels,
    .teacher = teacher, .reference = reference, .parameters = parameters, .start_mean = start, .start_variance = zero,
    .step_arguments = steps, .step_arguments_count = 2, .times = times, .rtol = 1e-6, .max_steps = 100000, .runs = 5,
    .seed = 3, .statistics = statistics, .mean = mean, .variance = variance, .final_mean = final_mean,
    .final_variance = final_variance};
  sgdlimit_outcome outcome;
  if (sgdlimit_solve(&p, &outcome) != SGDLIMIT_OK) return 1;
  if (sgdlimit_simulate(&p, &outcome) != SGDLIMIT_OK) return 2;
#ifndef SGDLIMIT_FLOAT32
  for (p.step_kind = SGDLIMIT_CONSTANT; p.step_kind <= SGDLIMIT_ADAGRAD_NORM; p.step_kind++) {
    if (p.step_kind == SGDLIMIT_TABLE || p.step_kind == SGDLIMIT_GREEDY) continue;
    if (sgdlimit_diffuse(&p, 0.3, &outcome) != SGDLIMIT_OK) return 5;
    p.iterates = 1;
    if (sgdlimit_simulate_lumped(&p, &outcome) != SGDLIMIT_OK) return 7;
    p.iterates = 2;
  }
  p.step_kind = SGDLIMIT_CONSTANT;
  if (sgdlimit_diffuse(&p, 0, &outcome) != SGDLIMIT_BAD_PROBLEM) return 6;
#endif
  double work[6 * N + 64], dx[N], dv[N];
  if (sgdlimit_rhs(&p, 1, 0.5, final_mean, final_variance, dx, dv, work) != SGDLIMIT_OK) return 3;
  steps[0] = steps[2] = 1e3;
  if (sgdlimit_solve(&p, &outcome) == SGDLIMIT_OK && sgdlimit_simulate(&p, &outcome) == SGDLIMIT_OK) puts("bounded");
  p.size = 8;
  return sgdlimit_solve(&p, &outcome) == SGDLIMIT_BAD_PROBLEM ? 0 : 4;
}
"""


@needs_compiler
@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("adversarial Huber", "adversarial logistic, labels")
        else pytest.param(name, marks=pytest.mark.long)
        for name in CASES
    ],
)
def test_sanitizers_find_nothing_in_an_emitted_file(name: str, tmp_path: Path) -> None:
    """Addresses, and undefined behaviour (division by zero of doubles is defined by IEEE 754 and meant)."""
    run_sanitized(name, tmp_path, "-O1")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize(
    "name",
    [
        "cauchy",
        "adversarial-phase-retrieval",
        *(pytest.param(name, marks=pytest.mark.long) for name in catalogue() if name != "poisson"),
    ],
)
def test_gcc_vectorises_every_loop_that_is_marked_so(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poisson's search for crossings is left out, which calls a function with branches."""
    monkeypatch.setenv("CC", "gcc")
    compiler = find_compiler()
    assert compiler is not None
    folder = resources.files("sgdlimit.generated").joinpath(name.replace("-", "_"))
    text = folder.joinpath("limit.c").read_text(encoding="utf-8")
    (tmp_path / "limit.c").write_text(text, encoding="utf-8")
    told = subprocess.run(
        ["gcc", "-std=c11", "-O3", *compiler.flags, "-fopt-info-vec", "-c", "limit.c"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    done = {int(line.split(":")[1]) for line in told.splitlines() if "loop vectorized" in line}
    marked = [k for k, line in enumerate(text.splitlines(), 1) if "#pragma omp simd" in line]
    assert len(marked) > 5
    # gcc gives the place of the loop or of its first statement
    assert [k for k in marked if not {k + 1, k + 2} & done] == []


FAST = ["-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("flags", [["-O1"], FAST, [*FAST, "-DSGDLIMIT_FLOAT32"]], ids=["plain", "fast", "float32"])
@pytest.mark.parametrize("name", ["adversarial least squares", "adversarial logistic, labels"])
def test_sanitizers_find_nothing_in_a_long_run(name: str, flags: list[str], tmp_path: Path) -> None:
    """As before, for 40,000 steps of 4099 coordinates: several chunks, and the last block not full."""
    run_sanitized(name, tmp_path, *flags, "-DDIMENSION=4099")


def run_sanitized(name: str, tmp_path: Path, *optimised: str) -> None:
    source, program = tmp_path / "kernel.c", tmp_path / "program"
    source.write_text(emit(derive(CASES[name].model), "c", parts=PARTS) + HARNESS, encoding="utf-8")
    compiler = find_compiler()
    assert compiler is not None
    flags = ["-std=c11", *optimised, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    build = subprocess.run(
        [*compiler.command, *flags, str(source), "-o", str(program), "-lm"],
        capture_output=True,
        text=True,
        check=False,
    )
    if build.returncode != 0 and "sanitize" in build.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert build.returncode == 0, build.stderr
    answer = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


# --- schedules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_schedule_is_part_of_the_kernel(backend: str) -> None:
    case = CASES["adversarial least squares"]
    instance = small_instance(case)
    schedule = Schedule("eta/(1 + t)**power")
    kernel = load_kernel(case.model, schedule=schedule, backend=backend)
    values = {"epsilon": RADIUS, "sigma": 0.5, "eta": 0.7, "power": 0.5}
    times = np.array([0.5, 2.0, 6.0])
    solution = kernel.solve(build_problem(kernel, case.model, instance, schedule, values, times, rtol=1e-10))
    wanted = reference.solve_reference(case.reference(RADIUS), instance, lambda t: 0.7 / np.sqrt(1 + t), times)
    curves = {s: solution.statistics[0, :, k] for k, s in enumerate(kernel.statistics)}
    assert np.allclose(curves["adversarial_risk"], wanted["adversarial_risk"], rtol=1e-7)
    assert np.allclose(curves["learning_rate"], 0.7 / np.sqrt(1 + times), rtol=1e-14)


def test_a_kernel_module_can_be_imported_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        emit(derive(Model(Loss("Abs(r - y)"), Teacher("r_star"), L2Adversary())), "numpy"), encoding="utf-8"
    )
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mine"] = module
    spec.loader.exec_module(module)
    assert module.PARAMETERS == ("epsilon", "tau")
