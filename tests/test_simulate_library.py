"""Streaming SGD: ``codegen/library/simulate.h`` and ``simulate.py``, with one loss put in by hand.

The loss is adversarial least squares, labels ``y = label + r* + σ ξ + 1{uniform < jump}``, a ridge, and the
learning rate γ or γ/(1 + t). Random tests have fixed seeds; each would fail once in a million seeds.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from sgdlimit.codegen import library
from sgdlimit.codegen.excerpt import called, excerpt
from sgdlimit.codegen.library import simulate as numpy_library
from sgdlimit.codegen.library.problem import SUMMARY, Problem, Status, StepKind, Trouble, summary_size
from sgdlimit.codegen.library.simulate import Sgd, simulate, summarise
from sgdlimit.codegen.library.steps import Point

Array = NDArray[np.float64]
FOLDER = Path(library.__file__).parent
FALSE_ALARM = 1e-6
REFERENCE = SUMMARY.index("reference_distance2")
DEVIATIONS = float(stats.norm.isf(FALSE_ALARM / 2))
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
FAST = ["-O3", "-march=native", "-fno-math-errno", "-ffp-contract=fast", "-fopenmp-simd"]
EXACT = ["-O2", "-ffp-contract=off"]
SINGLE = "-DSGDLIMIT_FLOAT32"

# What the learning rates that follow the state need of a kernel; the tests here have none.
RATES = """
static descent none(void) { return (descent){NAN, NAN}; }
static descent line_search_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at) {
  return (void)p, (void)k, (void)iterate, (void)at, none();
}
static descent polyak_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at) {
  return (void)p, (void)k, (void)iterate, (void)at, none();
}
static descent greedy_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at) {
  return (void)p, (void)k, (void)iterate, (void)at, none();
}
static int64_t constants_count(const sgdlimit_problem *p) { return (void)p, 0; }
static void constants(const sgdlimit_problem *p, double *k) { (void)p, (void)k; }
static int64_t rate_scalars_count(const sgdlimit_problem *p) { return (void)p, 0; }
static void rate_scalars(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,
                         const double *v, double *scalars) {
  (void)p, (void)k, (void)iterate, (void)x, (void)e, (void)v, (void)scalars;
}
static void rates(const sgdlimit_problem *p, const double *scalars, int64_t from, int64_t to, double *offset,
                  double *slope, double *noise) {
  (void)p, (void)scalars;
  for (int64_t j = 0; j < to - from; j++) offset[j] = slope[j] = noise[j] = 0;
}
"""

LOSS = """
enum { PARAMETERS = 4 };   /* epsilon, sigma, tau, jump */
static inline void gradient(double r, double n, double y, const double *par, int64_t stride, double *dr,
                            double *dn) {
  (void)stride;
  const double u = r - y, kappa = par[0] * n;
  *dr = u + copysign(kappa, u);
  *dn = par[0] * (fabs(u) + kappa);
}
static inline double target(double label, double r_star, double xi, double uniform, const double *par,
                            int64_t stride) {
  return label + r_star + par[stride] * xi + (uniform < par[3 * stride]);
}
static inline double ridge(const double *par, int64_t stride) { return par[2 * stride]; }
static double rate_at_time(const sgdlimit_problem *p, int64_t iterate, double t) {
  const double gamma = p->step_arguments[iterate];
  return p->step_kind == SGDLIMIT_SCHEDULE ? gamma / (1 + t) : gamma;
}
"""

LOSS_WITHOUT_PARAMETERS = """
enum { PARAMETERS = 0 };
static inline void gradient(double r, double n, double y, const double *par, int64_t stride, double *dr,
                            double *dn) {
  (void)n, (void)par, (void)stride;
  *dr = r - y;
  *dn = 0;
}
static inline double target(double label, double r_star, double xi, double uniform, const double *par,
                            int64_t stride) {
  (void)label, (void)xi, (void)uniform, (void)par, (void)stride;
  return r_star;
}
static inline double ridge(const double *par, int64_t stride) { return (void)par, (void)stride, 0; }
static double rate_at_time(const sgdlimit_problem *p, int64_t iterate, double t) {
  return (void)t, p->step_arguments[iterate];
}
"""

# What a run draws, step by step, so that a step can be done again by hand: every other one from the last chunk on.
REPLAY = """
void test_replay(uint64_t seed, uint64_t run, int64_t modes, int64_t steps, double *z, double *chances) {
  simulation s;
  seed_generator(&s.coordinates, seed, run, COORDINATES);
  seed_generator(&s.chances, seed, run, CHANCES);
  for (int64_t step = 0; step < steps; step++) {
    const int64_t blocks = (modes + BLOCK - 1) / BLOCK, chunks = (modes + CHUNK - 1) / CHUNK;
    for (int64_t i = 0, chunk = step % 2 ? chunks - 1 : 0, at = chunk * DRAWS; i < blocks; i++) {
      const int64_t block = at * BLOCK;
      real drawn[BLOCK];
      for (int v = 0; v < VECTORS; v++) {
        reals first, second;
        draw_normals(&s.coordinates, v, &first, &second);
        store(drawn + v * LANES_PER_VECTOR, first);
        store(drawn + LANES + v * LANES_PER_VECTOR, second);
      }
      for (int64_t j = block; j < modes && j < block + BLOCK; j++) z[step * modes + j] = drawn[j - block];
      if (++at == blocks || at % DRAWS == 0) {
        chunk += step % 2 ? -1 : 1;
        at = chunk * DRAWS;
      }
    }
    if (step % BLOCK == 0) refill_chances(&s);
    chances[3 * step] = s.class_uniform[step % BLOCK];
    chances[3 * step + 1] = s.xi[step % BLOCK];
    chances[3 * step + 2] = s.label_uniform[step % BLOCK];
  }
}
double test_square_norm(int64_t length, const real *x) { return square_norm(length, x); }
"""


def gradient(r: Array, n: Array, y: Array, parameters: Array) -> tuple[Array, Array]:
    u, kappa = r - y, parameters[0] * n
    return u + np.copysign(kappa, u), parameters[0] * (np.abs(u) + kappa)


def target(label: Array, r_star: Array, xi: Array, uniform: Array, parameters: Array) -> Array:
    y: Array = label + r_star + parameters[1] * xi + (uniform < parameters[3])
    return y


def ridge(parameters: Array) -> Array:
    tau: Array = parameters[2]
    return tau


def learning_rate(problem: Problem, k: Array, iterate: int, t: float, at: Point | None) -> float:
    gamma = float(problem.step_arguments[iterate, 0])
    return gamma / (1 + t) if problem.step_kind == StepKind.SCHEDULE else gamma


def no_rates(problem: Problem, k: Array, iterate: int, x: Array, e: Array, v: Array) -> tuple[Array, Array, Array]:
    return 0 * x, 0 * x, 0 * x


def simulate_numpy(problem: Problem, precision: str = "float64") -> Array:
    sgd = Sgd(gradient, target, ridge, learning_rate, lambda p: np.empty(0), no_rates)
    return simulate(problem, sgd, precision)


class CProblem(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint64),
        *((name, ctypes.c_int64) for name in ("iterates", "classes", "modes", "times_count")),
        ("dimension", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("weights", "probabilities", "eigenvalues", "means", "labels")),
        *((name, ctypes.c_void_p) for name in ("teacher", "reference", "parameters", "start_mean")),
        *((name, ctypes.c_void_p) for name in ("start_variance", "start_auxiliary")),
        ("step_kind", ctypes.c_int64),
        ("step_arguments", ctypes.c_void_p),
        ("step_arguments_count", ctypes.c_int64),
        ("start_time", ctypes.c_double),
        ("times", ctypes.c_void_p),
        ("rtol", ctypes.c_double),
        *((name, ctypes.c_int64) for name in ("max_steps", "method", "first_run", "runs")),
        ("seed", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in ("cancel", "progress", "statistics", "mean", "variance")),
        *((name, ctypes.c_void_p) for name in ("final_mean", "final_variance", "final_auxiliary")),
    ]


class COutcome(ctypes.Structure):
    _fields_ = [
        ("status", ctypes.c_int32),
        *((name, ctypes.c_int64) for name in ("iterate", "run")),
        ("time", ctypes.c_double),
        *((name, ctypes.c_int64) for name in ("accepted", "rejected", "evaluations")),
    ]


@dataclass(frozen=True)
class Kernel:
    """The C library with a loss, behind Python names."""

    library: ctypes.CDLL

    def attempt(self, problem: Problem, **other: Any) -> tuple[Array, COutcome]:
        values = {f.name: getattr(problem, f.name) for f in fields(Problem)}
        for name in ("iterates", "classes", "modes", "times_count", "step_arguments_count"):
            values[name] = getattr(problem, name)
        summaries = np.zeros((problem.runs, problem.iterates, problem.times_count, summary_size(problem.classes)))
        values |= {"size": ctypes.sizeof(CProblem), "statistics": summaries} | other
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                assert value.flags.c_contiguous
                values[name] = value.ctypes.data
        outcome = COutcome()
        status = self.library.sgdlimit_simulate(ctypes.byref(CProblem(**values)), ctypes.byref(outcome))
        assert status == outcome.status
        return summaries, outcome

    def simulate(self, problem: Problem) -> Array:
        summaries, outcome = self.attempt(problem)
        assert outcome.status == Status.OK
        return summaries

    def replay(self, seed: int, run: int, modes: int, steps: int) -> tuple[Array, Array]:
        z, chances = np.empty((steps, modes)), np.empty((steps, 3))
        call = self.library.test_replay
        call.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64, ctypes.c_int64] + [ctypes.c_void_p] * 2
        call(seed, run, modes, steps, z.ctypes.data, chances.ctypes.data)
        return z, chances


def source(loss: str = LOSS) -> str:
    problem, elementary, steps, random, simulation = (
        (FOLDER / f"{name}.h").read_text(encoding="utf-8")
        for name in ("problem", "elementary", "steps", "random", "simulate")
    )
    rest = "".join([steps, random, loss, RATES, simulation])
    return "".join([problem, excerpt(elementary, {*called(rest), "LANEWISE"}), rest])


def compile_c(compiler: str, text: str, output: Path, *flags: str) -> None:
    command = os.environ.get("CC", "cc") if compiler == "cc" else compiler
    if shutil.which(command) is None:
        pytest.skip(f"no compiler {command}")
    output.with_suffix(".c").write_text(text, encoding="utf-8")
    subprocess.run([command, *STRICT, *flags, output.with_suffix(".c"), "-o", output, "-lm"], check=True)


def load(compiler: str, folder: Path, *flags: str) -> Kernel:
    compile_c(compiler, source() + REPLAY, folder / "kernel.so", "-shared", "-fPIC", *flags)
    return Kernel(ctypes.CDLL(str(folder / "kernel.so")))


@pytest.fixture(scope="module", params=["cc", "clang"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return load(request.param, tmp_path_factory.mktemp("kernel"), *FAST)


@pytest.fixture(scope="module")
def single_kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return load("cc", tmp_path_factory.mktemp("single"), *FAST, SINGLE)


@pytest.fixture(scope="module", params=["cc", "clang"])
def exact_kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return load(request.param, tmp_path_factory.mktemp("exact"), *EXACT)


def mixture(d: int, *, K: int = 2, M: int = 1, seed: int = 0, **changes: Any) -> Problem:
    """A mixture in which no two classes, coordinates or iterates are alike."""
    rng = np.random.default_rng(seed)
    problem = Problem(
        dimension=float(d),
        weights=np.full(d, 1 / d),
        probabilities=rng.dirichlet(np.full(K, 3.0)),
        eigenvalues=rng.uniform(0.2, 1.8, (K, d)),
        means=rng.normal(size=(K, d)) / np.sqrt(d),
        labels=rng.normal(size=K) / 2,
        teacher=rng.normal(size=d) / np.sqrt(d),
        parameters=rng.uniform(0.05, 0.4, (M, 4, K)),
        start_mean=rng.normal(size=(M, d)) / np.sqrt(d),
        start_variance=np.zeros((M, d)),
        step_arguments=rng.uniform(0.2, 0.6, (M, 1)),
        times=np.array([0.0, 0.7, 1.5]),
        seed=seed,
    )
    return replace(problem, **changes)


# --------------------------------------------------------------------------------- the emitted file


@pytest.mark.parametrize("compiler", ["cc", "gcc", "clang"])
@pytest.mark.parametrize("loss", [LOSS, LOSS_WITHOUT_PARAMETERS], ids=["with_parameters", "without_parameters"])
def test_headers_compile_without_a_warning(compiler: str, loss: str, tmp_path: Path) -> None:
    for flags in ([], EXACT, FAST, [*FAST, SINGLE]):
        compile_c(compiler, source(loss), tmp_path / "kernel.so", "-shared", "-fPIC", *flags)


def test_a_loss_without_parameters_needs_no_array_of_them(tmp_path: Path) -> None:
    compile_c("cc", source(LOSS_WITHOUT_PARAMETERS), tmp_path / "kernel.so", "-shared", "-fPIC", *FAST)
    problem = mixture(20, K=3, parameters=np.empty((1, 0, 3)))
    summaries, outcome = Kernel(ctypes.CDLL(str(tmp_path / "kernel.so"))).attempt(problem, parameters=None)
    assert outcome.status == Status.OK
    assert np.isfinite(np.delete(summaries, REFERENCE, axis=-1)).all()


SANITIZED = """
int main(void) {
  for (int64_t N = 1; N < 40; N += 6)
    for (int64_t M = 1; M < 4; M++)
      for (int64_t K = 1; K < 4; K++)
        for (int with_reference = 0; with_reference < 2; with_reference++) {
          /* Every array exactly as long as it must be, so that a step too far is seen. */
          double *array[12];
          const int64_t lengths[12] = {N, K,         K * N, K * N, K, N,
                                       N, M * 4 * K, M * N, M,     3, 2 * M * 3 * (5 + 3 * K)};
          for (int a = 0; a < 12; a++) {
            array[a] = malloc((size_t)lengths[a] * sizeof(double));
            for (int64_t i = 0; i < lengths[a]; i++) array[a][i] = 1.0 / (double)(2 + i + a);
          }
          array[10][0] = 0, array[10][1] = 1, array[10][2] = 60.0 / (double)N;
          int32_t cancel = 0;
          int64_t progress = 0;
          const sgdlimit_problem p = {
              .size = sizeof p, .iterates = M, .classes = K, .modes = N, .times_count = 3,
              .dimension = (double)N, .weights = array[0], .probabilities = array[1], .eigenvalues = array[2],
              .means = array[3], .labels = array[4], .teacher = array[5],
              .reference = with_reference ? array[6] : NULL, .parameters = array[7], .start_mean = array[8],
              .step_arguments = array[9], .step_arguments_count = 1, .times = array[10], .first_run = 3,
              .runs = 2, .cancel = &cancel, .progress = &progress, .statistics = array[11]};
          sgdlimit_outcome outcome;
          const int32_t status = sgdlimit_simulate(&p, &outcome);
          for (int a = 0; a < 12; a++) free(array[a]);
          if (status != SGDLIMIT_OK && status != SGDLIMIT_BAD_PROBLEM) return 1;
          if (status == SGDLIMIT_BAD_PROBLEM && 60 >= N) return 2;
        }
  return 0;
}
"""


@pytest.mark.parametrize("compiler", ["cc", pytest.param("clang", marks=pytest.mark.long)])
@pytest.mark.parametrize("flags", [["-O1"], FAST, [*FAST, SINGLE]], ids=["plain", "fast", "single"])
def test_address_and_undefined_behaviour_sanitizers_find_nothing(
    compiler: str, flags: list[str], tmp_path: Path
) -> None:
    sanitize = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    try:
        compile_c(compiler, "int main(void) { return 0; }", tmp_path / "empty", *sanitize)
    except subprocess.CalledProcessError:
        pytest.skip(f"{compiler} has no sanitizers here")
    compile_c(compiler, source() + SANITIZED, tmp_path / "kernel", *flags, *sanitize)
    subprocess.run([tmp_path / "kernel"], check=True)


# --------------------------------------------------------------------------------- one step, and many


def run_by_hand(problem: Problem, m: int, z: Array, chances: Array) -> tuple[Array, float | None]:
    """Theory, section 1, a coordinate vector a line: iterates [step, d], and the time of divergence."""
    d, X = problem.dimension, problem.start_mean[m].copy()
    bound = 1e6 * max(X @ X, 1)
    path = [X]
    first = round(problem.start_time * d)
    for step, (class_uniform, xi, label_uniform) in enumerate(chances):
        if not bound >= X @ X:
            return np.array(path), (first + step) / d
        i = int(np.sum(class_uniform >= np.cumsum(problem.probabilities)[:-1]))
        epsilon, sigma, tau, jump = problem.parameters[m, :, i]
        x = problem.means[i] + np.sqrt(problem.eigenvalues[i]) * z[step]
        r, n = x @ X, np.sqrt(X @ X)
        u = r - (problem.labels[i] + x @ problem.teacher + sigma * xi + (label_uniform < jump))
        loss_gradient = (u + np.copysign(epsilon * n, u)) * x + tau * X
        if n > 0:
            loss_gradient += epsilon * (np.abs(u) + epsilon * n) * X / n
        X = X - learning_rate(problem, np.empty(0), m, (first + step) / d, None) / d * loss_gradient
        path.append(X)
    return np.array(path), None


def paces(problem: Problem, m: int, steps: int) -> Array:
    """The learning rate after each number of steps, ``[step, 1]``."""
    times = problem.start_time + np.arange(steps + 1) / problem.dimension
    return np.array([[learning_rate(problem, np.empty(0), m, t, None)] for t in times])


@pytest.mark.parametrize("d", [1, 5, 16, 19, 64, 131])
@pytest.mark.parametrize(("K", "M"), [(1, 1), (3, 1), (2, 3)])
def test_every_step_is_the_step_done_by_hand(kernel: Kernel, d: int, K: int, M: int) -> None:
    steps = 40
    problem = mixture(d, K=K, M=M, seed=d, step_kind=StepKind.SCHEDULE, start_time=2.0)
    problem = replace(problem, times=2.0 + np.arange(steps + 1) / d, first_run=6)
    summaries = kernel.simulate(problem)
    z, chances = kernel.replay(problem.seed, 6, d, steps)
    for m in range(M):
        path, _ = run_by_hand(problem, m, z, chances)
        expected = summarise(problem, path[:, np.newaxis], paces(problem, m, steps))[:, 0]
        np.testing.assert_allclose(summaries[0, m], expected, rtol=1e-10, atol=1e-12)


def test_start_at_the_origin_takes_no_direction_from_the_adversary(kernel: Kernel) -> None:
    problem = mixture(33, start_mean=np.zeros((1, 33)), times=np.arange(31) / 33)
    z, chances = kernel.replay(problem.seed, 0, 33, 30)
    path, _ = run_by_hand(problem, 0, z, chances)
    expected = summarise(problem, path[:, np.newaxis], paces(problem, 0, 30))[:, 0]
    np.testing.assert_allclose(kernel.simulate(problem)[0, 0], expected, rtol=1e-10, atol=1e-12)
    assert np.isfinite(np.delete(simulate_numpy(problem), REFERENCE, axis=-1)).all()


def test_summaries_of_the_start_are_those_of_the_definition(kernel: Kernel) -> None:
    problem = mixture(23, K=2, M=2, times=np.array([0.0]), reference=np.linspace(-1, 1, 23))
    X = problem.start_mean
    expected = [
        np.sum(X**2, axis=1),
        X @ problem.teacher,
        np.sum((X - problem.teacher) ** 2, axis=1),
        np.sum((X - np.linspace(-1, 1, 23)) ** 2, axis=1),
        problem.step_arguments[:, 0],
    ]
    for mean, eigenvalue in zip(problem.means, problem.eigenvalues, strict=True):
        expected += [X @ mean, (X * eigenvalue) @ problem.teacher, np.sum(eigenvalue * X**2, axis=1)]
    for summaries in (kernel.simulate(problem), simulate_numpy(problem)):
        np.testing.assert_allclose(summaries[0, :, 0], np.transpose(expected), rtol=1e-13)
    without = replace(problem, reference=None)
    for summaries in (kernel.simulate(without), simulate_numpy(without)):
        assert np.isnan(summaries[0, :, 0, REFERENCE]).all()


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_mean_distance_to_the_teacher_is_exact_for_noiseless_least_squares(kernel: Kernel, backend: str) -> None:
    # x ~ N(0, I): E |X - X*|^2 is multiplied by 1 - 2 g/d + g^2 (d + 2)/d^2 at each step.
    d, gamma, runs = 50, 0.6, 2000
    problem = mixture(
        d,
        K=1,
        eigenvalues=np.ones((1, d)),
        means=np.zeros((1, d)),
        labels=np.zeros(1),
        parameters=np.zeros((1, 4, 1)),
        step_arguments=np.full((1, 1), gamma),
        times=np.array([0.0, 1.0]),
        runs=runs,
    )
    summaries = kernel.simulate(problem) if backend == "c" else simulate_numpy(problem)
    start, end = summaries[0, 0, 0, 2], summaries[:, 0, 1, 2]
    expected = start * (1 - 2 * gamma / d + gamma**2 * (d + 2) / d**2) ** d
    assert abs(end.mean() - expected) < DEVIATIONS * end.std() / np.sqrt(runs)


def test_c_and_numpy_agree_in_law(kernel: Kernel) -> None:
    problem = mixture(10, K=2, M=2, runs=4000, times=np.array([0.3, 1.5]))
    ours, theirs = kernel.simulate(problem), simulate_numpy(problem)
    comparisons = ours[0].size
    for place in np.ndindex(ours.shape[1:]):
        if place[-1] != 3:
            a, b = ours[(slice(None), *place)], theirs[(slice(None), *place)]
            assert stats.ks_2samp(a, b).pvalue > FALSE_ALARM / comparisons
            difference = a.mean() - b.mean()
            assert abs(difference) < (DEVIATIONS + 1) * np.sqrt((a.var() + b.var()) / problem.runs)


# --------------------------------------------------------------------------------- streams


def simulators(kernel: Kernel) -> list[Callable[[Problem], Array]]:
    return [kernel.simulate, simulate_numpy]


def test_a_run_is_the_same_bits_in_whatever_call(kernel: Kernel) -> None:
    problem = mixture(37, K=3, M=2, runs=7)
    for run in simulators(kernel):
        whole = run(problem)
        parts = [run(replace(problem, first_run=first, runs=runs)) for first, runs in ((0, 1), (1, 4), (5, 2))]
        np.testing.assert_array_equal(whole, np.concatenate(parts))
        assert len(np.unique(whole[:, 0, -1, 0])) == 7
        assert (run(replace(problem, seed=1))[:, :, -1, 0] != whole[:, :, -1, 0]).all()


def test_numpy_runs_do_not_depend_on_how_many_advance_together(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = mixture(37, K=3, M=2, runs=7)
    whole = simulate_numpy(problem)
    monkeypatch.setattr(numpy_library, "COORDINATES_TOGETHER", 3 * 2 * 37)
    monkeypatch.setattr(numpy_library, "NORMALS_AT_ONCE", 5 * 37)
    np.testing.assert_array_equal(simulate_numpy(problem), whole)


def test_output_times_do_not_change_a_run(exact_kernel: Kernel) -> None:
    problem = mixture(37, times=np.array([2.0]))
    often = replace(problem, times=np.linspace(0, 2, 30))
    for run in simulators(exact_kernel):
        np.testing.assert_array_equal(run(often)[:, :, -1], run(problem)[:, :, -1])


def alone(problem: Problem, m: int) -> Problem:
    names = ("parameters", "start_mean", "start_variance", "step_arguments")
    return replace(problem, **{name: getattr(problem, name)[m : m + 1] for name in names})


def test_iterates_on_one_stream_are_separate_calls_to_the_bit_if_exact(
    exact_kernel: Kernel,
) -> None:
    problem = mixture(37, K=2, M=3, runs=3)
    for run in simulators(exact_kernel):
        together = run(problem)
        for m in range(3):
            np.testing.assert_array_equal(together[:, m : m + 1], run(alone(problem, m)))


def test_iterates_on_one_stream_are_separate_calls_to_rounding_with_contraction(kernel: Kernel) -> None:
    problem = mixture(37, K=2, M=3, runs=3)
    together = kernel.simulate(problem)
    for m in range(3):
        separate = kernel.simulate(alone(problem, m))
        np.testing.assert_allclose(together[:, m : m + 1], separate, rtol=1e-11, atol=1e-13)


# --------------------------------------------------------------------------------- single precision


@pytest.mark.parametrize(("d", "K", "M"), [(1, 1, 1), (19, 3, 1), (131, 2, 3), (1100, 2, 2)])
def test_every_step_in_single_precision_is_the_step_done_by_hand_to_a_few_roundings(
    single_kernel: Kernel, d: int, K: int, M: int
) -> None:
    steps = 40
    problem = mixture(d, K=K, M=M, seed=d, times=np.arange(steps + 1) / d, first_run=6)
    summaries = single_kernel.simulate(problem)
    z, chances = single_kernel.replay(problem.seed, 6, d, steps)
    for m in range(M):
        path, _ = run_by_hand(problem, m, z, chances)
        expected = summarise(problem, path[:, np.newaxis], paces(problem, m, steps))[:, 0]
        # 2^-24 of a rounding, in each coordinate of each of the steps, and 32 of them in a lane's sums
        np.testing.assert_allclose(summaries[0, m], expected, rtol=1e-5, atol=1e-5)


def test_sums_in_single_precision_are_right_to_the_terms_of_one_lane(single_kernel: Kernel) -> None:
    x = np.random.default_rng(0).normal(size=32 * 3001).astype(np.float32)
    call = single_kernel.library.test_square_norm
    call.argtypes, call.restype = [ctypes.c_int64, ctypes.c_void_p], ctypes.c_double
    exact = float(np.sum(x.astype(float) ** 2))
    assert abs(call(len(x), x.ctypes.data) - exact) <= 32 * 2.0**-24 * exact
    # random roundings, 32 in a row, then averaged over 3000 lanes' sums
    assert abs(call(len(x), x.ctypes.data) - exact) <= 1e-8 * exact


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_a_slow_decay_is_not_lost_in_single_precision(single_kernel: Kernel, backend: str) -> None:
    # Samples that are 0: X shrinks by 1 - γ τ/d a step, here 1 - 7e-6, which as a float would be wrong by 0.4 %.
    d, gamma, tau = 20_011, 0.7, 0.2
    none = np.zeros((1, d))
    problem = mixture(d, K=1, eigenvalues=none, means=none, labels=np.zeros(1), parameters=np.zeros((1, 4, 1)))
    problem.parameters[0, 2] = tau
    times = np.array([0.0, 2000 / d])
    problem = replace(problem, step_arguments=np.full((1, 1), gamma), times=times)
    found = single_kernel.simulate(problem) if backend == "c" else simulate_numpy(problem, "float32")
    expected = (1 - gamma * tau / d) ** (2 * 2000)
    assert abs(found[0, 0, 1, 0] / found[0, 0, 0, 0] - expected) < 1e-3 * (1 - expected)


def test_single_precision_agrees_in_law_with_double_and_with_numpy(kernel: Kernel, single_kernel: Kernel) -> None:
    problem = mixture(10, K=2, M=2, runs=4000, times=np.array([0.3, 1.5]))
    singles = single_kernel.simulate(problem)
    for others in (kernel.simulate(problem), simulate_numpy(problem, "float32")):
        for place in np.ndindex(singles.shape[1:]):
            if place[-1] != REFERENCE:
                a, b = singles[(slice(None), *place)], others[(slice(None), *place)]
                if SUMMARY[place[-1] : place[-1] + 1] == ("learning_rate",):
                    np.testing.assert_array_equal(a, b)
                    continue
                assert stats.ks_2samp(a, b).pvalue > FALSE_ALARM / (2 * singles[0].size)
                difference = a.mean() - b.mean()
                assert abs(difference) < (DEVIATIONS + 1) * np.sqrt((a.var() + b.var()) / problem.runs)


def test_a_run_in_single_precision_is_the_same_bits_in_whatever_call(single_kernel: Kernel) -> None:
    problem = mixture(37, K=3, M=2, runs=7)
    for run in (single_kernel.simulate, lambda p: simulate_numpy(p, "float32")):
        whole = run(problem)
        parts = [run(replace(problem, first_run=first, runs=runs)) for first, runs in ((0, 1), (1, 4), (5, 2))]
        np.testing.assert_array_equal(whole, np.concatenate(parts))
        assert len(np.unique(whole[:, 0, -1, 0])) == 7


def test_iterates_in_single_precision_are_separate_calls_to_the_bit_if_exact(tmp_path: Path) -> None:
    kernel = load("cc", tmp_path, *EXACT, SINGLE)
    problem = mixture(1200, K=2, M=3, runs=2, times=np.array([0.1]))
    together = kernel.simulate(problem)
    for m in range(3):
        np.testing.assert_array_equal(together[:, m : m + 1], kernel.simulate(alone(problem, m)))


# --------------------------------------------------------------------------------- trouble


def test_divergence_is_reported_with_run_iterate_and_time(kernel: Kernel) -> None:
    d = 20
    problem = mixture(d, K=1, M=3, runs=4, first_run=2, times=np.array([0.05, 200.0]))
    problem = replace(problem, step_arguments=np.array([[0.3], [4.0], [0.3]]))
    summaries, outcome = kernel.attempt(problem)
    z, chances = kernel.replay(problem.seed, 2, d, 4000)
    _, time = run_by_hand(problem, 1, z, chances)
    assert outcome.status == Status.DIVERGED
    assert (outcome.run, outcome.iterate, outcome.time) == (2, 1, time)
    assert np.isfinite(np.delete(summaries[0, :, 0], REFERENCE, axis=-1)).all()
    assert np.isnan(summaries[0, :, 1]).all()
    assert np.isnan(summaries[1:]).all()

    with pytest.raises(Trouble) as caught:
        simulate_numpy(problem)
    trouble = caught.value
    assert (trouble.status, trouble.iterate) == (Status.DIVERGED, 1)
    assert 2 <= trouble.run < 6
    assert 0 < trouble.time < 200
    assert trouble.curve is not None
    assert np.isfinite(np.delete(trouble.curve[:, :, 0], REFERENCE, axis=-1)).all()
    assert np.isnan(trouble.curve[:, :, 1]).all()


def test_a_last_step_that_is_not_finite_is_divergence(kernel: Kernel) -> None:
    problem = mixture(20, K=1, times=np.array([0.0, 0.05]), step_arguments=np.full((1, 1), 1e300))
    summaries, outcome = kernel.attempt(problem)
    assert (outcome.status, outcome.time) == (Status.DIVERGED, 0.05)
    assert np.isfinite(np.delete(summaries[0, 0, 0], REFERENCE)).all()
    with pytest.raises(Trouble, match=r"DIVERGED at t = 0\.05"):
        simulate_numpy(problem)


def test_steps_are_counted_and_a_cancelled_call_stops(kernel: Kernel) -> None:
    cancel, progress = np.zeros(1, np.int32), np.zeros(1, np.int64)
    problem = mixture(20, runs=3, cancel=cancel, progress=progress)
    for run in simulators(kernel):
        progress[0] = -1
        run(problem)
        assert progress[0] == 3 * 30
    cancel[0] = 1
    summaries, outcome = kernel.attempt(replace(problem, first_run=4))
    assert (outcome.status, outcome.run, outcome.time) == (Status.CANCELLED, 4, 0)
    assert np.isnan(summaries[:, :, 1:]).all()
    with pytest.raises(Trouble, match="CANCELLED"):
        simulate_numpy(problem)


def test_a_problem_that_cannot_be_simulated_is_refused(kernel: Kernel) -> None:
    problem = mixture(20)
    bad: list[dict[str, Any]] = [
        {"dimension": 40.0},
        {"dimension": np.inf},
        {"times": np.array([1.0, 0.5])},
        {"times": np.array([np.nan])},
        {"start_time": 1.0},
        {"start_time": -1.0},
        {"eigenvalues": -problem.eigenvalues},
        {"first_run": -1},
    ]
    for change in bad:
        assert kernel.attempt(replace(problem, **change))[1].status == Status.BAD_PROBLEM
        with pytest.raises(Trouble, match="BAD_PROBLEM"):
            simulate_numpy(replace(problem, **change))
    for name in ("size", "iterates", "classes", "modes", "times_count"):
        assert kernel.attempt(problem, **{name: 0})[1].status == Status.BAD_PROBLEM


def test_an_array_of_a_wrong_shape_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"teacher: has shape \(19,\); give \(20,\)"):
        mixture(20, teacher=np.zeros(19))
