"""The mode equations solved: ``codegen/library/integrate.h`` and ``integrate.py``, one loss put in by hand.

The loss is adversarial least squares, ``f = (r − y)²/2``, ``y = r* + label + σ ξ`` (``docs/theory.md`` §6),
a ridge, any number of classes with means, and the learning rate γ or γ/(1 + t).
"""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import RK45, solve_ivp
from scipy.special import erf

from sgdlimit.codegen import library
from sgdlimit.codegen.excerpt import called, excerpt
from sgdlimit.codegen.library import integrate
from sgdlimit.codegen.library.integrate import Outcome, Solution
from sgdlimit.codegen.library.problem import Method, Problem, Status, StepKind
from sgdlimit.codegen.library.steps import Point, depends_on_state, steepest

Array = NDArray[np.float64]
Solve = Callable[..., Solution]
FOLDER = Path(library.__file__).parent
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
FAST = ["-O3", "-march=native", "-fno-math-errno", "-ffp-contract=fast"]

# --------------------------------------------------------------------------------- the loss, in C

STATISTICS = ("risk", "norm2", "distance2", "cosine")
RISK, NORM2, DISTANCE2, COSINE = range(4)

LOSS = """
enum { SIGMA, EPSILON, TAU, PARAMETERS };

static int64_t constants_count(const sgdlimit_problem *p) { return p->classes; }

/* log2 of the class's probability: something to pass through. */
static void constants(const sgdlimit_problem *p, double *k) {
  for (int64_t i = 0; i < p->classes; i++) k[i] = log2(p->probabilities[i]);
}

typedef struct coefficients {
  double R, A, B, F, I;
} coefficients;

static double norm_of(const sgdlimit_problem *p, const double *x, const double *v) {
  double norm2 = 0;
  for (int64_t j = 0; j < p->modes; j++) norm2 += x[j] * x[j] + v[j];
  return sqrt(norm2);
}

static coefficients of_class(const sgdlimit_problem *p, int64_t iterate, int64_t i, double n, const double *e,
                             const double *v) {
  const int64_t N = p->modes, K = p->classes;
  const double *par = p->parameters + iterate * PARAMETERS * K + i;
  const double *lambda = p->eigenvalues + i * N, *mu = p->means + i * N;
  double s2 = par[SIGMA * K] * par[SIGMA * K], m = -p->labels[i];
  for (int64_t j = 0; j < N; j++) {
    s2 += lambda[j] * (e[j] * e[j] + v[j]);
    m += mu[j] * e[j];
  }
  const double s = sqrt(s2), kappa = par[EPSILON * K] * n, a = sqrt(2 / 3.14159265358979324);
  const double bell = s2 != 0 ? exp(-m * m / (2 * s2)) : 0;
  const double beyond = s2 != 0 ? erf(m / (s * sqrt(2))) : (m > 0) - (m < 0);
  const double first = a * s * bell + m * beyond;
  coefficients c;
  c.R = (s2 + m * m) / 2 + kappa * first + kappa * kappa / 2;
  c.A = m + kappa * beyond;
  c.B = 1 + (s2 != 0 ? a * kappa / s * bell : 0);
  c.F = par[EPSILON * K] * (first + kappa);
  c.I = 2 * c.R;
  return c;
}

enum { OF_MEANS, OF_EIGENVALUES, PULL, OF_NOISE, SCALARS };

static int64_t rate_scalars_count(const sgdlimit_problem *p) { return SCALARS * p->classes; }

static void rate_scalars(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,
                         const double *v, double *scalars) {
  const int64_t K = p->classes;
  const double n = norm_of(p, x, v);
  for (int64_t i = 0; i < K; i++) {
    const coefficients c = of_class(p, iterate, i, n, e, v);
    const double q = exp2(k[i]), tau = p->parameters[(iterate * PARAMETERS + TAU) * K + i];
    scalars[OF_MEANS * K + i] = q * c.A;
    scalars[OF_EIGENVALUES * K + i] = q * c.B;
    scalars[PULL * K + i] = q * ((n > 0 ? c.F / n : 0) + tau);
    scalars[OF_NOISE * K + i] = q * c.I;
  }
}

static void rates(const sgdlimit_problem *p, const double *scalars, int64_t from, int64_t to, double *offset,
                  double *slope, double *noise) {
  const int64_t K = p->classes;
  for (int64_t j = 0; j < to - from; j++) offset[j] = slope[j] = noise[j] = 0;
  for (int64_t i = 0; i < K; i++) {
    const double *lambda = p->eigenvalues + i * p->modes + from, *mu = p->means + i * p->modes + from;
    for (int64_t j = 0; j < to - from; j++) {
      offset[j] -= scalars[OF_MEANS * K + i] * mu[j] + scalars[PULL * K + i] * p->teacher[from + j];
      slope[j] -= scalars[OF_EIGENVALUES * K + i] * lambda[j] + scalars[PULL * K + i];
      noise[j] += p->weights[from + j] * scalars[OF_NOISE * K + i] * lambda[j];
    }
  }
}

static double rate_at_time(const sgdlimit_problem *p, int64_t iterate, double t) {
  const double gamma = p->step_arguments[iterate];
  return p->step_kind == SGDLIMIT_SCHEDULE ? gamma / (1 + t) : gamma;
}

static descent line_search_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at) {
  descent d = {0, 0};
  (void)k, (void)iterate;
  for (int64_t j = 0; j < p->modes; j++) {
    const double drift = at->offset[j] + at->slope[j] * at->e[j];
    d.first += drift * drift + at->slope[j] * at->slope[j] * at->v[j];
    d.second -= at->slope[j] * at->noise[j] / 2;
  }
  return d;
}

static descent polyak_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at) {
  descent d = {0, 0};
  (void)k, (void)iterate;
  for (int64_t j = 0; j < p->modes; j++) {
    const double drift = at->offset[j] + at->slope[j] * at->e[j], away = at->x[j] - p->reference[j];
    d.first -= 2 * (away * drift + at->slope[j] * at->v[j]);
    d.second += at->noise[j];
  }
  return d;
}

/* Falls ever faster: of no learning rate. */
static descent greedy_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at) {
  return (void)p, (void)k, (void)iterate, (void)at, (descent){1, 0};
}

static void statistics(const sgdlimit_problem *p, const double *k, int64_t iterate, double gamma, const double *x,
                       const double *e, const double *v, double *out) {
  (void)gamma;
  const double n = norm_of(p, x, v);
  double distance2 = 0, overlap = 0, teacher2 = 0;
  for (int64_t j = 0; j < p->modes; j++) {
    distance2 += e[j] * e[j] + v[j];
    overlap += x[j] * p->teacher[j];
    teacher2 += p->teacher[j] * p->teacher[j];
  }
  out[0] = 0;
  for (int64_t i = 0; i < p->classes; i++) out[0] += exp2(k[i]) * of_class(p, iterate, i, n, e, v).R;
  out[1] = n * n;
  out[2] = distance2;
  out[3] = overlap / (n * sqrt(teacher2));
}
"""

# A whole program, for the sanitizers: a solve with every output, one that diverges, one that is refused.
PROGRAM = """
int main(void) {
  enum { M = 2, K = 2, N = 37, T = 5 };
  double weights[N], eigenvalues[K][N], means[K][N], teacher[N];
  double start_mean[M][N] = {{0}}, start_variance[M][N] = {{0}}, gamma[M] = {0.5, 0.1};
  double probabilities[K] = {0.25, 0.75}, labels[K] = {0, 1}, times[T] = {0, 1e-9, 1, 1, 3};
  double parameters[M][PARAMETERS][K] = {{{0.5, 0.4}, {0.3, 0.1}, {0.1, 0}}, {{0, 0}, {0, 0}, {0, 0}}};
  for (int j = 0; j < N; j++) {
    weights[j] = 1. / N, teacher[j] = j % 3 ? 0.2 : -0.1;
    eigenvalues[0][j] = 2. * j / N, eigenvalues[1][j] = 1, means[0][j] = 0.01 * j, means[1][j] = -0.1;
  }
  int64_t progress = 0;
  int32_t cancel = 0;
  sgdlimit_problem p = {.size = sizeof p, .iterates = M, .classes = K, .modes = N, .times_count = T};
  p.weights = weights, p.probabilities = probabilities, p.eigenvalues = eigenvalues[0], p.means = means[0];
  p.labels = labels, p.teacher = teacher, p.parameters = parameters[0][0], p.start_mean = start_mean[0];
  p.start_variance = start_variance[0], p.step_arguments = gamma, p.step_arguments_count = 1, p.times = times;
  p.rtol = 1e-6, p.max_steps = 10000, p.cancel = &cancel, p.progress = &progress;
  /* On the heap and of exact size, so that a write beyond the end is seen. */
  p.statistics = malloc(M * T * STATISTICS * sizeof(double));
  p.mean = malloc(M * T * N * sizeof(double)), p.variance = malloc(M * T * N * sizeof(double));
  p.final_mean = malloc(M * N * sizeof(double)), p.final_variance = malloc(M * N * sizeof(double));
  sgdlimit_outcome outcome;
  int failures = sgdlimit_solve(&p, &outcome) != SGDLIMIT_OK;
  failures += progress != M * T || isnan(p.final_variance[M * N - 1]);
  gamma[1] = 50;
  failures += sgdlimit_solve(&p, &outcome) != SGDLIMIT_DIVERGED || outcome.iterate != 1;
  p.size--;
  failures += sgdlimit_solve(&p, &outcome) != SGDLIMIT_BAD_PROBLEM;
  free(p.statistics), free(p.mean), free(p.variance), free(p.final_mean), free(p.final_variance);
  return failures;
}
"""


# As an emitted file has it: without -fopenmp-simd the hints to vectorise are unknown pragmas.
TITLE = '#pragma GCC diagnostic ignored "-Wunknown-pragmas"'


def source(*parts: str) -> str:
    problem, elementary, steps, exponential, integrator = (
        (FOLDER / f"{name}.h").read_text(encoding="utf-8")
        for name in ("problem", "elementary", "steps", "exponential", "integrate")
    )
    sizes = "enum { STATISTICS = 4, JUDGED_STATISTICS = STATISTICS }; static const double RESOLUTION = 0;"
    rest = [steps, sizes, exponential, integrator, LOSS, *parts]
    return "\n".join([TITLE, problem, excerpt(elementary, {*called("\n".join(rest)), "LANEWISE"}), *rest])


# --------------------------------------------------------------------------------- the loss, in NumPy


def coefficients(p: Problem, m: int, x: Array, e: Array, v: Array) -> tuple[Any, ...]:
    sigma, epsilon, _ = p.parameters[m]
    n = np.sqrt(x @ x + v.sum())
    s2 = sigma**2 + p.eigenvalues @ (e * e + v)
    mean = p.means @ e - p.labels
    s, kappa, a = np.sqrt(s2), epsilon * n, math.sqrt(2 / math.pi)
    safe = np.where(s2 != 0, s, 1)
    bell = np.where(s2 != 0, np.exp(-(mean**2) / (2 * safe**2)), 0)
    beyond = np.where(s2 != 0, erf(mean / (safe * math.sqrt(2))), np.sign(mean))
    first = a * s * bell + mean * beyond
    R = (s2 + mean**2) / 2 + kappa * first + kappa**2 / 2
    return n, R, mean + kappa * beyond, 1 + a * kappa / safe * bell, epsilon * (first + kappa), 2 * R


def constants(p: Problem) -> Array:
    return np.log2(p.probabilities)


def rates(p: Problem, k: Array, m: int, x: Array, e: Array, v: Array) -> tuple[Array, Array, Array]:
    n, _, A, B, F, I = coefficients(p, m, x, e, v)
    q = 2**k
    pull = q @ ((F / n if n > 0 else 0 * F) + p.parameters[m, 2])
    offset = -(q * A) @ p.means - pull * p.teacher
    return offset, -(q * B) @ p.eigenvalues - pull, p.weights * ((q * I) @ p.eigenvalues)


def learning_rate(p: Problem, k: Array, m: int, t: float, at: Point | None) -> float:
    gamma = float(p.step_arguments[m, 0])
    if not depends_on_state(p):
        return gamma / (1 + t) if p.step_kind == StepKind.SCHEDULE else gamma
    assert at is not None
    drift = at.offset + at.slope * at.e
    if p.step_kind == StepKind.LINE_SEARCH:
        return steepest(drift @ drift + at.slope**2 @ at.v, -at.slope @ at.noise / 2)
    if p.step_kind == StepKind.POLYAK:
        assert p.reference is not None
        return steepest(-2 * ((at.x - p.reference) @ drift + at.slope @ at.v), at.noise.sum())
    if p.step_kind == StepKind.ADAGRAD_NORM:
        eta, b = p.step_arguments[m]
        return float(eta / np.sqrt(b * b + at.accumulated))
    return steepest(1.0, 0.0)


def statistics(p: Problem, k: Array, m: int, gamma: float, x: Array, e: Array, v: Array) -> Array:
    n, R, *_ = coefficients(p, m, x, e, v)
    return np.array([2**k @ R, n * n, e @ e + v.sum(), x @ p.teacher / (n * np.linalg.norm(p.teacher))])


def solve_numpy(p: Problem, modes: bool = False) -> Solution:
    return integrate.solve(p, constants, rates, learning_rate, statistics, len(STATISTICS), modes=modes)


# --------------------------------------------------------------------------------- calling C

DOUBLES = ctypes.POINTER(ctypes.c_double)


def members(names: str, kind: Any) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class CProblem(ctypes.Structure):
    _fields_ = (
        *members("size", ctypes.c_uint64),
        *members("iterates classes modes times_count", ctypes.c_int64),
        *members("dimension", ctypes.c_double),
        *members("weights probabilities eigenvalues means labels teacher reference parameters", DOUBLES),
        *members("start_mean start_variance start_auxiliary", DOUBLES),
        *members("step_kind", ctypes.c_int64),
        *members("step_arguments", DOUBLES),
        *members("step_arguments_count", ctypes.c_int64),
        *members("start_time", ctypes.c_double),
        *members("times", DOUBLES),
        *members("rtol", ctypes.c_double),
        *members("max_steps method first_run runs", ctypes.c_int64),
        *members("seed", ctypes.c_uint64),
        *members("cancel", ctypes.POINTER(ctypes.c_int32)),
        *members("progress", ctypes.POINTER(ctypes.c_int64)),
        *members("statistics mean variance final_mean final_variance final_auxiliary", DOUBLES),
    )


class COutcome(ctypes.Structure):
    _fields_ = (
        *members("status", ctypes.c_int32),
        *members("iterate run", ctypes.c_int64),
        *members("time", ctypes.c_double),
        *members("accepted rejected evaluations", ctypes.c_int64),
    )


OUTPUTS = ("statistics", "mean", "variance", "final_mean", "final_variance", "final_auxiliary")
CANARY = 12345.0


@dataclass(frozen=True)
class Compiled:
    library: ctypes.CDLL

    def __call__(self, p: Problem, modes: bool = False) -> Solution:
        c = CProblem(size=ctypes.sizeof(CProblem))
        kept = []
        for name, kind in CProblem._fields_[1:]:
            if name in OUTPUTS:
                continue
            value = getattr(p, name)
            if kind is DOUBLES and value is not None:
                kept.append(np.ascontiguousarray(value, dtype=np.float64))
                value = kept[-1].ctypes.data_as(DOUBLES)
            elif name in ("cancel", "progress") and value is not None:
                value = value.ctypes.data_as(kind)
            if value is not None:
                setattr(c, name, value)
        M, T, N = p.iterates, p.times_count, p.modes
        shapes = [(M, T, len(STATISTICS)), (M, T, N), (M, T, N), (M, N), (M, N), (M,)]
        outputs = [np.full(math.prod(shape) + 1, CANARY) for shape in shapes]
        for name, array in zip(OUTPUTS, outputs, strict=True):
            if modes or name not in ("mean", "variance"):
                setattr(c, name, array.ctypes.data_as(DOUBLES))
        o = COutcome()
        status = self.library.sgdlimit_solve(ctypes.byref(c), ctypes.byref(o))
        assert status == o.status
        assert all(array[-1] == CANARY for array in outputs)
        S, mean, variance, x, v, accumulated = (a[:-1].reshape(shape) for a, shape in zip(outputs, shapes, strict=True))
        outcome = Outcome(Status(status), o.iterate, o.run, o.time, o.accepted, o.rejected, o.evaluations)
        return Solution(S, mean if modes else None, variance if modes else None, x, v, accumulated, outcome)


def needs(compiler: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")


def build(folder: Path, compiler: str, flags: Sequence[str]) -> Compiled:
    needs(compiler)
    (folder / "kernel.c").write_text(source(), encoding="utf-8")
    command = [compiler, *STRICT, *flags, "-shared", "-fPIC", "kernel.c", "-o", "kernel.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return Compiled(ctypes.CDLL(str(folder / "kernel.so")))


@pytest.fixture(scope="module")
def solve_c(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return build(tmp_path_factory.mktemp("plain"), "gcc", ["-O2"])


@pytest.fixture(params=["c", "numpy"])
def solve(request: pytest.FixtureRequest, solve_c: Compiled) -> Solve:
    return solve_c if request.param == "c" else solve_numpy


# --------------------------------------------------------------------------------- problems


def problem(
    eigenvalues: Any = None,
    *,
    modes: int = 12,
    sigma: float = 0.5,
    epsilon: float = 0.0,
    tau: float = 0.0,
    gamma: float | Sequence[float] = 0.5,
    **others: Any,
) -> Problem:
    """One class, centred, from X = 0, unless told otherwise."""
    lam = np.atleast_2d(np.linspace(0.3, 1.7, modes) if eigenvalues is None else eigenvalues)
    K, N = lam.shape
    rates_of_learning = np.atleast_1d(np.asarray(gamma, dtype=float))[:, None]
    M = len(rates_of_learning)
    teacher = np.cos(1 + 2.5 * np.arange(N))
    fields: dict[str, Any] = {
        "dimension": math.inf,
        "weights": np.full(N, 1 / N),
        "probabilities": np.full(K, 1 / K),
        "eigenvalues": lam,
        "means": np.zeros((K, N)),
        "labels": np.zeros(K),
        "teacher": teacher / np.linalg.norm(teacher),
        "parameters": np.tile(np.array([sigma, epsilon, tau])[None, :, None], (M, 1, K)),
        "start_mean": np.zeros((M, N)),
        "start_variance": np.zeros((M, N)),
        "step_arguments": rates_of_learning,
        "times": np.linspace(0, 20, 41),
    }
    return Problem(**(fields | others))


def two_labelled_classes(**others: Any) -> Problem:
    """No teacher: labels ±1, opposite means, covariances of their own."""
    N = 20
    mean = 0.8 * np.sin(1 + np.arange(N)) / math.sqrt(N / 2)
    given: dict[str, Any] = {
        "probabilities": np.array([0.3, 0.7]),
        "means": np.stack([mean, -mean]),
        "labels": np.array([1.0, -1.0]),
        "teacher": np.zeros(N),
        "sigma": 0.0,
        "epsilon": 0.4,
    }
    return problem(np.stack([np.linspace(0.2, 2, N), np.linspace(1.5, 0, N)]), **(given | others))


def right_hand_side(p: Problem) -> Callable[[float, Array], Array]:
    """``d(x, v)/dt``, for SciPy."""
    k = constants(p)

    def f(t: float, y: Array) -> Array:
        x, v = y[: p.modes], y[p.modes :]
        offset, slope, noise = rates(p, k, 0, x, x - p.teacher, v)
        gamma = learning_rate(p, k, 0, t, None)
        return np.concatenate([gamma * (offset + slope * (x - p.teacher)), 2 * gamma * slope * v + gamma**2 * noise])

    return f


def by_scipy(p: Problem) -> tuple[Array, Array]:
    """Means and variances ``[T, N]`` from X = 0 at the times after the first."""
    y = np.concatenate([p.start_mean[0], p.start_variance[0]])
    found = solve_ivp(
        right_hand_side(p),
        (p.start_time, p.times[-1]),
        y,
        "DOP853",
        p.times,
        rtol=1e-12,
        atol=1e-17,
        first_step=1e-14,
    )
    assert found.success
    return found.y[: p.modes].T, found.y[p.modes :].T


def relative(found: Array, exact: Array) -> float:
    return float(np.max(np.abs(found / exact - 1)))


# --------------------------------------------------------------------------------- compilers


@pytest.mark.parametrize("flags", [["-O0"], [*FAST, "-fopenmp-simd"]], ids=["plain", "fast"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compiles_without_a_warning_and_gives_the_same_curve(
    compiler: str, flags: list[str], tmp_path: Path, solve_c: Compiled
) -> None:
    p = problem(epsilon=0.3)
    found, expected = build(tmp_path, compiler, flags)(p), solve_c(p)
    np.testing.assert_allclose(found.statistics, expected.statistics, rtol=1e-10)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_sanitizers_find_nothing(compiler: str, tmp_path: Path) -> None:
    needs(compiler)
    (tmp_path / "program.c").write_text(source(PROGRAM), encoding="utf-8")
    checks = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run([compiler, *STRICT, *checks, "program.c", "-o", "program", "-lm"], cwd=tmp_path, check=True)
    subprocess.run(["./program"], cwd=tmp_path, check=True)


# --------------------------------------------------------------------------------- the method


def test_tables_are_dormand_and_prince() -> None:
    for stage in range(1, 6):
        np.testing.assert_allclose(integrate._WEIGHTS[stage], RK45.A[stage, :stage], rtol=1e-15)
    np.testing.assert_allclose(integrate._WEIGHTS[6], RK45.B, rtol=1e-15)
    np.testing.assert_allclose(integrate._POSITIONS[:6], RK45.C, rtol=1e-15)
    np.testing.assert_allclose(np.abs(integrate._ERROR), np.abs(RK45.E), rtol=1e-13)
    slopes = np.cos(np.arange(35.0)).reshape(7, 5)  # of one state: e and v of two modes, and the integral
    for theta in (0.1, 0.5, 0.9):
        expected = 0.7 * np.einsum("is,ip,p->s", slopes, RK45.P, theta ** np.arange(1, 5))
        found = np.maximum(integrate._dense_of_one(0.7, theta, np.zeros(5), slopes), [-np.inf, -np.inf, 0, 0, 0])
        np.testing.assert_allclose(found, np.maximum(expected, [-np.inf, -np.inf, 0, 0, 0]), rtol=1e-13, atol=1e-15)


def test_outputs_through_two_steps_are_exact_for_quintics() -> None:
    quintic = np.polynomial.Polynomial([0.3, -1.0, 2.0, 0.7, -0.4, 1.1])
    ends = np.array([1.5, 2.0, 2.8])
    states, slopes = (list(f(ends)[:, np.newaxis]) for f in (quintic, quintic.deriv()))
    for theta in (0.01, 0.3, 0.9):
        found = integrate._dense_of_two(0.5, 0.8, theta, states, slopes)
        np.testing.assert_allclose(found, quintic(2 + 0.8 * theta), rtol=1e-13)


@pytest.mark.parametrize(
    "p",
    [
        problem(epsilon=0.3, modes=37),
        problem(epsilon=2.0, tau=0.1, gamma=[0.5, 0.1]),
        problem(sigma=0.0),
        two_labelled_classes(),
        problem(epsilon=0.3, step_kind=StepKind.SCHEDULE, gamma=1.5, start_mean=np.full((1, 12), 0.3)),
    ],
    ids=["adversarial", "two iterates", "noiseless", "labels", "schedule"],
)
def test_c_and_numpy_agree(p: Problem, solve_c: Compiled) -> None:
    p = replace(p, method=Method.EXPLICIT)
    c, python = solve_c(p, modes=True), solve_numpy(p, modes=True)
    assert c.outcome.status == python.outcome.status == Status.OK
    assert c.outcome == python.outcome
    # The same steps; where stability limits them, their lengths follow an estimate that is rounding for the most part.
    np.testing.assert_allclose(c.statistics, python.statistics, rtol=0.01 * p.rtol)
    # Single modes are known to rtol of the sums over modes, and show it where stability limits steps.
    for found, expected in zip(c[1:-1], python[1:-1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=0.01 * p.rtol, atol=0.01 * p.rtol)


# --------------------------------------------------------------------------------- right answers


def test_isotropic_noise_follows_its_closed_form(solve: Solve) -> None:
    gamma, sigma, N = 0.8, 0.6, 9
    p = problem(np.ones(N), gamma=gamma, sigma=sigma, rtol=1e-9)
    found = solve(p, modes=True)
    assert found.mean is not None
    assert found.variance is not None
    t = p.times[:, None]
    rest = gamma * sigma**2 / (2 - gamma)
    distance2 = rest + (1 - rest) * np.exp(-(2 * gamma - gamma**2) * t)
    error2 = np.exp(-2 * gamma * t)
    np.testing.assert_allclose(found.statistics[0, :, [DISTANCE2]].T, distance2, rtol=1e-8)
    np.testing.assert_allclose(found.statistics[0, :, [RISK]].T, (distance2 + sigma**2) / 2, rtol=1e-8)
    np.testing.assert_allclose(found.mean[0], p.teacher * (1 - np.sqrt(error2)), atol=1e-8)
    np.testing.assert_allclose(found.variance[0], (distance2 - error2) / N * np.ones(N), atol=1e-9)


def noiseless_risk(p: Problem) -> Array:
    """``δ_j = e_j² + v_j`` obeys ``dδ_j/dt = −2γλ_j δ_j + γ² ω_j λ_j Σ λ_k δ_k``: by matrix exponential."""
    lam, gamma = p.eigenvalues[0], p.step_arguments[0, 0]
    with mpmath.workdps(50):
        matrix = mpmath.matrix(np.outer(gamma**2 * p.weights * lam, lam) - np.diag(2 * gamma * lam))
        delta = mpmath.matrix(p.teacher**2 + p.start_variance[0])
        step = mpmath.expm(matrix * mpmath.mpf(float(p.times[1] - p.times[0])))
        risks = []
        for _ in p.times:
            risks.append(float(mpmath.fdot(lam, delta) / 2))
            delta = step * delta
    return np.array(risks)


POWER_LAW = ((np.arange(10) + 0.5) / 10) ** 2


@pytest.mark.parametrize("rtol", [1e-5, 1e-8, 1e-10])
@pytest.mark.parametrize(
    ("eigenvalues", "horizon"),
    [([1.0], 45.0), (np.linspace(0.6, 1.4, 12), 60.0), (0.25 + POWER_LAW, 125.0)],
    ids=["one mode", "bulk", "power law"],
)
def test_noiseless_risk_is_right_to_rtol_over_fifteen_orders(
    eigenvalues: Any, horizon: float, rtol: float, solve_c: Compiled
) -> None:
    p = problem(eigenvalues, sigma=0.0, rtol=rtol, times=np.linspace(0, horizon, 31))
    exact = noiseless_risk(p)
    assert exact[-1] < 1e-14 * exact[0]
    found = solve_c(p)
    held = exact > 1e-15 * exact[0]
    assert relative(found.statistics[0, held, RISK], exact[held]) <= 10 * rtol


def test_noiseless_decay_in_numpy_too() -> None:
    p = problem(np.linspace(0.6, 1.4, 12), sigma=0.0, rtol=1e-6, times=np.linspace(0, 60, 31))
    exact = noiseless_risk(p)
    found = solve_numpy(p)
    held = exact > 1e-15
    assert relative(found.statistics[0, held, RISK], exact[held]) <= 1e-5


def test_steps_do_not_collapse_where_nothing_is_left_to_resolve(solve_c: Compiled) -> None:
    p = problem(np.linspace(0.6, 1.4, 12), sigma=0.0, times=np.array([0.0, 60.0, 200.0]))
    to_60, to_200 = solve_c(replace(p, times=p.times[:2])), solve_c(p)
    assert to_200.outcome.status == Status.OK
    assert to_200.statistics[0, -1, RISK] < 1e-40
    assert to_200.outcome.evaluations < 4 * to_60.outcome.evaluations


@pytest.mark.parametrize(
    "p",
    [
        problem(POWER_LAW * 3, epsilon=0.3),
        problem(modes=4, epsilon=3.0, times=np.linspace(0, 5, 11)),
        two_labelled_classes(),
        two_labelled_classes(sigma=0.2, tau=0.1, step_kind=StepKind.SCHEDULE, gamma=2.0),
    ],
    ids=["power law", "strong adversary", "labels", "labels, schedule"],
)
def test_adversarial_least_squares_from_zero_agrees_with_scipy(p: Problem, solve: Solve) -> None:
    found = solve(p, modes=True)
    mean, variance = by_scipy(p)
    assert found.mean is not None
    assert found.variance is not None
    distance2 = ((mean - p.teacher) ** 2 + variance).sum(1)
    assert relative(found.statistics[0, 1:, DISTANCE2], distance2[1:]) <= 1e-7
    assert relative(found.statistics[0, 1:, NORM2], (mean**2 + variance).sum(1)[1:]) <= 1e-7
    np.testing.assert_allclose(found.mean[0], mean, atol=1e-7 * np.sqrt(distance2.max()))
    np.testing.assert_allclose(found.variance[0], variance, atol=1e-7 * distance2.max())


@pytest.mark.parametrize("p", [problem(epsilon=0.3), two_labelled_classes()], ids=["teacher", "labels"])
def test_leaving_zero_is_right_from_the_first_moment(p: Problem, solve: Solve) -> None:
    """``n² = γ² I(0) (Σ ω λ) t`` at first, and ``v`` with it: relative accuracy however early."""
    times = np.array([0, 1e-16, 1e-13, 1e-10, 1e-7, 1e-4, 1e-2])
    found = solve(replace(p, times=times))
    x = v = np.zeros(p.modes)
    rate = p.step_arguments[0, 0] ** 2 * rates(p, constants(p), 0, x, x - p.teacher, v)[2].sum()
    norm2 = found.statistics[0, 1:, NORM2]
    assert found.statistics[0, 0, NORM2] == 0
    # n² = rate · t · (1 + O(√t))
    np.testing.assert_array_less(np.abs(norm2 / (rate * times[1:]) - 1), 5e-8 + 5 * np.sqrt(times[1:]))
    exact = solve(replace(p, times=times, rtol=1e-12))
    assert relative(norm2, exact.statistics[0, 1:, NORM2]) <= 1e-7


def test_error_is_proportional_to_the_tolerance(solve_c: Compiled) -> None:
    p = problem(3 * POWER_LAW, epsilon=0.3)
    exact = solve_c(replace(p, rtol=1e-13)).statistics[0, 1:, :3]
    for rtol in (1e-4, 1e-6, 1e-8, 1e-10):
        found = solve_c(replace(p, rtol=rtol)).statistics[0, 1:, :3]
        assert relative(found, exact) <= 2 * rtol


@pytest.mark.parametrize(
    "p",
    [
        problem(epsilon=0.3),
        problem([1, 40], sigma=0.0, weights=np.array([1.0, 0.0]), start_variance=np.full((1, 2), 1e-3)),
    ],
    ids=["bulk", "variance that vanishes in a step"],
)
def test_output_times_cost_no_right_hand_sides(p: Problem, solve: Solve) -> None:
    few, many = (solve(replace(p, times=np.linspace(0, 20, T)), modes=True) for T in (2, 401))
    assert few.outcome == many.outcome
    assert many.variance is not None
    assert np.all(many.variance >= 0)


def test_evaluations_are_few(solve: Solve) -> None:
    assert solve(problem(epsilon=0.3)).outcome.evaluations < 900


# --------------------------------------------------------------------------------- variances


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    modes=st.integers(1, 12),
    classes=st.integers(1, 3),
    gamma=st.floats(1e-3, 3),
    epsilon=st.floats(0, 3),
    sigma=st.floats(0, 1),
    decades=st.floats(0, 4),
    labels=st.booleans(),
    rtol=st.sampled_from([1e-3, 1e-6, 1e-9]),
)
def test_variances_are_never_negative(
    solve_c: Compiled,
    seed: int,
    modes: int,
    classes: int,
    gamma: float,
    epsilon: float,
    sigma: float,
    decades: float,
    labels: bool,
    rtol: float,
) -> None:
    random = np.random.default_rng(seed)
    lam = 10 ** (-decades * random.random((classes, modes)))
    lam[:, 1:][random.random((classes, modes - 1)) < 0.1] = 0
    # Some mode has noise: without any, a strong adversary holds X at 0, where the equations break off.
    weights = random.random(modes) * (random.random(modes) < 0.8) + 1e-3 * np.eye(modes)[0]
    p = problem(
        lam,
        sigma=sigma,
        epsilon=epsilon,
        gamma=gamma,
        weights=weights / weights.sum(),
        means=random.standard_normal(lam.shape) / modes,
        labels=random.choice([-1.0, 1.0], classes) if labels else np.zeros(classes),
        teacher=np.zeros(modes) if labels else random.standard_normal(modes),
        start_mean=random.standard_normal((1, modes)) * random.choice([0, 1e-8, 1]),
        start_variance=random.random((1, modes)) * random.choice([0, 1]) * (random.random(modes) < 0.7),
        times=np.concatenate([[0, 1e-12, 1e-6], np.linspace(0.01, 30, 40)]),
        rtol=rtol,
    )
    found = solve_c(p, modes=True)
    assert found.outcome.status in (Status.OK, Status.DIVERGED)
    assert found.variance is not None
    assert not np.any(found.variance < 0)
    assert not np.any(found.final_variance < 0)
    if found.outcome.status == Status.OK:
        assert np.all(np.isfinite(found.variance))


def test_step_that_makes_a_variance_negative_is_repeated(solve: Solve) -> None:
    """A fast mode of little weight overshoots zero in a step whose error is small beside the sums over modes."""
    p = problem([1.0, 40.0], sigma=0.0, weights=np.array([1.0, 0.0]), start_variance=np.array([[1.0, 1e-7]]))
    found = solve(replace(p, rtol=0.3, times=np.linspace(0, 3, 301)), modes=True)
    assert found.variance is not None
    assert found.outcome.status == Status.OK
    assert found.outcome.rejected > 0
    assert np.all(found.variance >= 0)


# --------------------------------------------------------------------------------- trouble


def test_divergence_tells_the_time_and_keeps_the_curve(solve: Solve) -> None:
    gamma = 3.0
    p = problem(np.ones(5), gamma=gamma, sigma=0.0, times=np.linspace(0, 10, 101))
    found = solve(p, modes=True)
    # ‖X − X*‖² = exp((γ² − 2γ) t), and the risk is half of it: the norm and the distance pass 10⁶ first.
    passes = math.log(1e6) / (gamma**2 - 2 * gamma)
    assert found.outcome.status == Status.DIVERGED
    assert abs(found.outcome.time - passes) <= 0.1
    risk = found.statistics[0, :, RISK]
    before = p.times < found.outcome.time - 1e-9
    assert relative(risk[before], np.exp((gamma**2 - 2 * gamma) * p.times[before]) / 2) <= 1e-7
    after = p.times > found.outcome.time + 1e-9
    assert found.mean is not None
    for remaining in (risk[after], found.mean[0, after], found.final_mean, found.final_variance):
        assert np.all(np.isnan(remaining))


def test_divergence_between_outputs_is_found_too(solve: Solve) -> None:
    p = problem(np.ones(5), gamma=3.0, sigma=0.0, times=np.array([0.0, 1e6]))
    outcome = solve(p).outcome
    assert outcome.status == Status.DIVERGED
    assert 4 < outcome.time < 6
    assert outcome.evaluations < 3000


def test_first_trouble_stops_the_iterates_after_it(solve: Solve) -> None:
    p = problem(np.ones(5), gamma=[0.5, 3.0, 0.5], times=np.linspace(0, 10, 11))
    found = solve(p)
    assert (found.outcome.status, found.outcome.iterate) == (Status.DIVERGED, 1)
    assert np.all(np.isfinite(found.statistics[0, 1:]))
    assert np.all(np.isnan(found.statistics[2]))
    np.testing.assert_array_equal(found.statistics[0], solve(problem(np.ones(5), times=p.times)).statistics[0])


def test_statistic_undefined_at_the_start_is_not_judged(solve: Solve) -> None:
    found = solve(problem())
    assert np.isnan(found.statistics[0, 0, COSINE])
    assert np.all(np.isfinite(found.statistics[0, 1:]))
    never = solve(two_labelled_classes())
    assert np.all(np.isnan(never.statistics[0, :, COSINE]))
    assert never.outcome.status == Status.OK


def test_start_that_is_not_finite_has_diverged(solve: Solve) -> None:
    outcome = solve(problem(start_mean=np.full((1, 12), np.nan), start_time=2.0, times=np.array([3.0]))).outcome
    assert (outcome.status, outcome.time) == (Status.DIVERGED, 2.0)


def test_steps_run_out(solve: Solve) -> None:
    found = solve(problem(max_steps=40))
    assert found.outcome.status == Status.NO_PROGRESS
    assert found.outcome.accepted + found.outcome.rejected == 40
    reached = problem().times <= found.outcome.time
    assert 0 < np.sum(reached) < len(reached)
    assert np.array_equal(np.isfinite(found.statistics[0, :, RISK]), reached)


def test_learning_rate_that_is_no_number_makes_no_progress(solve: Solve) -> None:
    outcome = solve(problem(gamma=math.nan)).outcome
    assert (outcome.status, outcome.accepted) == (Status.NO_PROGRESS, 0)


def test_cancel_and_progress(solve: Solve) -> None:
    progress = np.zeros(1, dtype=np.int64)
    p = problem(gamma=[0.5, 0.4], progress=progress, cancel=np.zeros(1, dtype=np.int32))
    assert solve(p).outcome.status == Status.OK
    assert progress[0] == p.iterates * p.times_count
    found = solve(replace(p, cancel=np.ones(1, dtype=np.int32)))
    assert (found.outcome.status, found.outcome.iterate, found.outcome.time) == (Status.CANCELLED, 0, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"times": np.array([1.0, 0.5])},
        {"times": np.array([0.0, math.nan])},
        {"times": np.array([0.0, math.inf])},
        {"times": np.zeros(0)},
        {"start_time": 1.0, "times": np.array([0.5, 2.0])},
        {"rtol": 0.0},
        {"rtol": math.nan},
        {"max_steps": 0},
        {"start_variance": np.full((1, 12), -1e-30)},
        {"eigenvalues": np.linspace(-0.1, 1, 12)},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_problem_that_cannot_be_is_refused(wrong: dict[str, Any], solve: Solve) -> None:
    assert solve(problem(**wrong)).outcome.status == Status.BAD_PROBLEM


# --------------------------------------------------------------------------------- the interface


def test_iterates_have_parameters_starts_and_learning_rates_of_their_own(solve: Solve) -> None:
    epsilons, gammas, N = [0.0, 0.5, 1.0], [0.5, 0.2, 1.0], 12
    parameters = np.array([[[0.5], [epsilon], [0.01 * m]] for m, epsilon in enumerate(epsilons)])
    start = np.outer([0.0, 1.0, -0.3], np.ones(N)) / N
    p = problem(gamma=gammas, parameters=parameters, start_mean=start, start_variance=start**2)
    together = solve(p)
    for m in range(3):
        alone = solve(
            problem(
                gamma=gammas[m],
                parameters=parameters[[m]],
                start_mean=start[[m]],
                start_variance=start[[m]] ** 2,
            )
        )
        np.testing.assert_array_equal(together.statistics[m], alone.statistics[0])
        np.testing.assert_array_equal(together.final_mean[m], alone.final_mean[0])


@pytest.mark.parametrize("make", [problem, two_labelled_classes], ids=["teacher", "labels"])
def test_restart_continues_the_curve(make: Callable[..., Problem], solve: Solve) -> None:
    p = make(epsilon=0.3, step_kind=StepKind.SCHEDULE, gamma=1.0)
    whole, first = solve(p), solve(replace(p, times=p.times[:15]))
    rest = replace(
        p,
        start_mean=first.final_mean,
        start_variance=first.final_variance,
        start_time=float(p.times[14]),
        times=p.times[14:],
    )
    second = solve(rest)
    joined = np.concatenate([first.statistics[0, 1:], second.statistics[0, 1:]])[:, :3]
    assert relative(joined, whole.statistics[0, 1:, :3]) <= 1e-7
    np.testing.assert_allclose(second.statistics[0, 0], first.statistics[0, -1], rtol=1e-13)
    assert relative(second.final_variance, whole.final_variance) <= 1e-6


def test_first_and_last_outputs_are_the_given_and_the_final_state(solve: Solve) -> None:
    start = np.linspace(0.1, 0.3, 12)[None, :]
    p = problem(start_mean=start, start_variance=start / 7, start_time=2.0, times=np.array([2.0, 2.0, 3.0]))
    found = solve(p, modes=True)
    assert found.mean is not None
    assert found.variance is not None
    np.testing.assert_allclose(found.mean[0, 0], start[0], rtol=1e-14)
    np.testing.assert_array_equal(found.variance[0, :2], np.tile(start / 7, (2, 1)))
    np.testing.assert_array_equal(found.mean[0, -1], found.final_mean[0])
    np.testing.assert_array_equal(found.variance[0, -1], found.final_variance[0])
    assert found.outcome.time == 3.0
    only = solve(replace(p, times=np.array([2.0])))
    assert only.outcome.status == Status.OK
    np.testing.assert_array_equal(only.final_variance, start / 7)


def test_statistics_are_those_of_the_state(solve: Solve) -> None:
    p = two_labelled_classes(teacher=np.full(20, 0.1))
    found = solve(p, modes=True)
    assert found.mean is not None
    assert found.variance is not None
    with np.errstate(invalid="ignore"):
        expected = [
            statistics(p, constants(p), 0, math.nan, x, x - p.teacher, v)
            for x, v in zip(found.mean[0], found.variance[0], strict=True)
        ]
    assert found.statistics.shape == (1, len(p.times), len(STATISTICS))
    np.testing.assert_allclose(found.statistics[0], expected, rtol=1e-12)


def test_a_solve_without_hope_ends_after_two_thousand_steps(solve: Solve) -> None:
    """Steps no longer than 1e-200 would never reach the end; it is said at once, and how far it came."""
    outcome = solve(problem(gamma=1e200, max_steps=10_000_000)).outcome
    assert outcome.status in (Status.NO_PROGRESS, Status.DIVERGED)
    stiff = solve(problem(times=np.array([1e12]), max_steps=10_000_000, method=Method.EXPLICIT)).outcome
    assert stiff.status == Status.NO_PROGRESS
    assert 0 < stiff.time < 1e12
    assert stiff.accepted + stiff.rejected < 2_500
