"""Random numbers of the emitted C: ``codegen/library/random.h``.

Seeds are fixed, so these tests never flicker; each would fail for one good generator in a million
(``FALSE_ALARM``). The tests marked ``long`` draw 10^9 normals and more.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr

from sgdlimit.codegen import library
from sgdlimit.codegen.excerpt import excerpt

Array = NDArray[np.float64]
FOLDER = Path(library.__file__).parent
FALSE_ALARM = 1e-6
DEVIATIONS = float(stats.norm.isf(FALSE_ALARM / 2))
COORDINATES, CHANCES, PURPOSES = 0, 1, 2
GENERATORS, LANES = 8, {"float64": 8, "float32": 16}

HARNESS = """
void test_words(uint64_t seed, uint64_t run, uint64_t purpose, int64_t draws, uint64_t *out) {
  generator g;
  seed_generator(&g, seed, run, purpose);
  for (int64_t draw = 0; draw < draws; draw++)
    for (int v = 0; v < VECTORS; v++) {
      const words drawn = draw_words(&g, v);
      memcpy(out + draw * GENERATORS + v * GENERATORS_PER_VECTOR, &drawn, sizeof drawn);
    }
}
void test_uniforms(uint64_t seed, uint64_t run, uint64_t purpose, int64_t draws, double *out) {
  generator g;
  seed_generator(&g, seed, run, purpose);
  for (int64_t draw = 0; draw < draws; draw++)
    for (int v = 0; v < VECTORS; v++) {
      const doubles drawn = draw_uniforms(&g, v);
      memcpy(out + draw * GENERATORS + v * GENERATORS_PER_VECTOR, &drawn, sizeof drawn);
    }
}
void test_normals(uint64_t seed, uint64_t run, uint64_t purpose, int64_t blocks, double *out) {
  generator g;
  seed_generator(&g, seed, run, purpose);
  for (int64_t block = 0; block < blocks; block++)
    for (int v = 0; v < VECTORS; v++) {
      reals z[2];
      draw_normals(&g, v, &z[0], &z[1]);
      for (int i = 0; i < 2; i++)
        for (int lane = 0; lane < LANES_PER_VECTOR; lane++)
          out[block * BLOCK + i * LANES + v * LANES_PER_VECTOR + lane] = z[i][lane];
    }
}
/* Bins of width 1/128 on [-8, 8), further out counted at the ends. */
void test_histogram(uint64_t seed, uint64_t run, int64_t blocks, int64_t *counts) {
  generator g;
  seed_generator(&g, seed, run, COORDINATES);
  for (int64_t block = 0; block < blocks; block++)
    for (int v = 0; v < VECTORS; v++) {
      reals z[2];
      draw_normals(&g, v, &z[0], &z[1]);
      for (int i = 0; i < 2; i++)
        for (int lane = 0; lane < LANES_PER_VECTOR; lane++)
          counts[(int)fmin(fmax(floor(z[i][lane] * 128.0) + 1024, 0), 2047)]++;
    }
}
void test_functions(int64_t count, const double *u, const double *w, double *log, double *sin, double *cos) {
  for (int64_t i = 0; i < count; i++) {
    const reals zero = {0};
    log[i] = minus_two_log(zero + (real)u[i])[0];
    sin[i] = sine_of_half_turns(zero + (real)w[i])[0];
    cos[i] = cosine_of_half_turns(zero + (real)w[i])[0];
  }
}
"""


@dataclass(frozen=True)
class Compiled:
    """``random.h`` behind Python names."""

    library: ctypes.CDLL
    precision: str

    @property
    def lanes(self) -> int:
        return LANES[self.precision]

    def _draw(self, name: str, seed: int, run: int, purpose: int, draws: int, out: NDArray[np.generic]) -> None:
        call = getattr(self.library, name)
        call.argtypes = [ctypes.c_uint64] * 3 + [ctypes.c_int64, ctypes.c_void_p]
        call(seed, run, purpose, draws, out.ctypes.data)

    def words(self, draws: int, seed: int = 0, run: int = 0, purpose: int = 0) -> NDArray[np.uint64]:
        out = np.empty((draws, GENERATORS), np.uint64)
        self._draw("test_words", seed, run, purpose, draws, out)
        return out

    def uniforms(self, draws: int, seed: int = 0, run: int = 0, purpose: int = 0) -> Array:
        out = np.empty((draws, GENERATORS))
        self._draw("test_uniforms", seed, run, purpose, draws, out)
        return out

    def normals(self, blocks: int, seed: int = 0, run: int = 0, purpose: int = 0) -> Array:
        out = np.empty((blocks, 2 * self.lanes))
        self._draw("test_normals", seed, run, purpose, blocks, out)
        return out

    def histogram(self, blocks: int, seed: int = 0, run: int = 0) -> NDArray[np.int64]:
        counts = np.zeros(2048, np.int64)
        call = self.library.test_histogram
        call.argtypes = [ctypes.c_uint64] * 2 + [ctypes.c_int64, ctypes.c_void_p]
        call(seed, run, blocks, counts.ctypes.data)
        return counts

    def functions(self, u: Array, w: Array) -> tuple[Array, Array, Array]:
        log, sine, cosine = np.empty_like(u), np.empty_like(u), np.empty_like(u)
        call = self.library.test_functions
        call.argtypes = [ctypes.c_int64] + [ctypes.c_void_p] * 5
        call(len(u), *(a.ctypes.data for a in (u, w, log, sine, cosine)))
        return log, sine, cosine


def build(compiler: str, folder: Path, *flags: str, precision: str = "float64") -> Compiled:
    command = os.environ.get("CC", "cc") if compiler == "cc" else compiler
    if shutil.which(command) is None:
        pytest.skip(f"no compiler {command}")
    problem, elementary, random = (
        (FOLDER / name).read_text(encoding="utf-8") for name in ("problem.h", "elementary.h", "random.h")
    )
    source = problem + excerpt(elementary, {"LANEWISE"}) + random
    (folder / "random.c").write_text(source + HARNESS, encoding="utf-8")
    always = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    always += ["-Wno-unused-function"]  # what simulation alone calls stands in the header too
    always += ["-DSGDLIMIT_FLOAT32"] if precision == "float32" else []
    subprocess.run([command, *always, *flags, "random.c", "-o", "random.so", "-lm"], cwd=folder, check=True)
    return Compiled(ctypes.CDLL(str(folder / "random.so")), precision)


FAST = ["-O3", "-march=native", "-fno-math-errno", "-ffp-contract=fast"]


@pytest.fixture(scope="module", params=["cc", "clang"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return build(request.param, tmp_path_factory.mktemp("random"), *FAST)


@pytest.fixture(scope="module", params=["cc", "clang"])
def single(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return build(request.param, tmp_path_factory.mktemp("single"), *FAST, precision="float32")


@pytest.fixture(scope="module", params=["cc, float64", "clang, float64", "cc, float32"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    compiler, precision = request.param.split(", ")
    return build(compiler, tmp_path_factory.mktemp("either"), *FAST, precision=precision)


# --------------------------------------------------------------------------------- the generator


def mix(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


def xoshiro(state: list[int], draws: int) -> list[int]:
    """The reference implementation of xoshiro256++ (prng.di.unimi.it), in exact integers."""

    def rotated(x: int, k: int) -> int:
        return (x << k | x >> (64 - k)) % 2**64

    s, drawn = list(state), []
    for _ in range(draws):
        drawn.append((rotated((s[0] + s[3]) % 2**64, 23) + s[0]) % 2**64)
        t = (s[1] << 17) % 2**64
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotated(s[3], 45)
    return drawn


@pytest.mark.parametrize(
    ("seed", "run", "purpose"),
    [(0, 0, COORDINATES), (7, 123456789, CHANCES), (2**64 - 1, 2**63 - 1, CHANCES)],
)
def test_each_generator_is_xoshiro256plusplus_seeded_by_splitmix64(
    either: Compiled, seed: int, run: int, purpose: int
) -> None:
    golden, precision = 0x9E3779B97F4A7C15, {"float64": 1, "float32": 2}[either.precision]
    key = mix((mix((seed + precision * golden) % 2**64) + run * PURPOSES + purpose) % 2**64)
    words = either.words(1000, seed, run, purpose)
    for k in range(GENERATORS):
        state = [mix((key + (1 + i * GENERATORS + k) * golden) % 2**64) for i in range(4)]
        assert words[:, k].tolist() == xoshiro(state, 1000)


def test_reference_generator_has_its_published_first_words() -> None:
    # State 1, 2, 3, 4: the value that rand_xoshiro and NumPy's sources test against.
    assert xoshiro([1, 2, 3, 4], 3) == [41943041, 58720359, 3588806011781223]


@pytest.mark.parametrize("precision", LANES)
def test_same_bits_at_every_vector_width_without_contraction(precision: str, tmp_path: Path) -> None:
    known = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    widths = {"plain": [], "avx2": ["-mavx2"], "avx512f": ["-mavx512f"]}
    drawn = []
    for name, flags in widths.items():
        if name == "plain" or f" {name} " in known:
            (tmp_path / name).mkdir()
            kernel = build("cc", tmp_path / name, "-O2", "-ffp-contract=off", *flags, precision=precision)
            drawn.append((kernel.normals(1000, seed=5), kernel.uniforms(1000, seed=5)))
    if len(drawn) == 1:
        pytest.skip("this machine has one vector width")
    for normals, uniforms in drawn[1:]:
        np.testing.assert_array_equal(normals, drawn[0][0])
        np.testing.assert_array_equal(uniforms, drawn[0][1])


# --------------------------------------------------------------------------------- the functions


def test_polynomials_are_right_to_4e_14(compiled: Compiled) -> None:
    ends = 2.0 ** -np.arange(53)
    near_root = np.sqrt(0.5) * (1 + np.arange(-4, 5) * 2.0**-52)
    u = np.concatenate([ends, 1 - ends[1:], near_root, np.random.default_rng(0).random(2000)])
    w = np.linspace(-0.5, 0.5, len(u))
    w[:60] = 2.0 ** -np.arange(1, 61)
    log, sine, cosine = compiled.functions(u, w)
    with mpmath.workdps(30):
        for i in range(len(u)):
            exact = -2 * mpmath.log(u[i])
            assert abs(log[i] - exact) <= 4e-14 * exact  # relative, so that the smallest radii are right too
            exact = mpmath.sinpi(w[i])
            assert abs(sine[i] - exact) <= 2e-15 * abs(exact)
            assert abs(cosine[i] - mpmath.cospi(w[i])) <= 4e-15


def test_normals_are_box_muller_of_the_words(compiled: Compiled) -> None:
    words = compiled.words(2000, seed=3).reshape(1000, 2, GENERATORS)
    z = compiled.normals(1000, seed=3).reshape(1000, 2, compiled.lanes)
    u, v = ((words >> np.uint64(12)).astype(float) * 2.0**-52).transpose(1, 0, 2)
    radius = np.sqrt(-2 * np.log1p(-u)) * np.where(words[:, 1] & np.uint64(1), -1, 1)
    np.testing.assert_allclose(z[:, 0], radius * np.cos(np.pi * (v - 0.5)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(z[:, 1], radius * np.sin(np.pi * (v - 0.5)), rtol=0, atol=1e-12)


def test_polynomials_in_single_precision_are_right_to_a_few_roundings(single: Compiled) -> None:
    ends = 2.0 ** -np.arange(34)
    u = np.concatenate([ends, 1 - 2.0 ** -np.arange(1, 25), np.random.default_rng(0).random(2000)]).astype(np.float32)
    w = np.linspace(-0.5, 0.5, len(u)).astype(np.float32)
    log, sine, cosine = single.functions(u.astype(float), w.astype(float))
    assert (log >= 0).all()
    for i in range(len(u)):
        exact = -2 * np.log(float(u[i]))
        assert abs(log[i] - exact) <= 4e-7 * exact
        assert abs(sine[i] - np.sin(np.pi * w[i].astype(float))) <= 3e-7 * abs(np.sin(np.pi * w[i].astype(float)))
        assert abs(cosine[i] - np.cos(np.pi * w[i].astype(float))) <= 3e-7


def test_normals_in_single_precision_are_box_muller_of_half_words(single: Compiled) -> None:
    words = single.words(2000, seed=3).view(np.uint32).reshape(1000, 2, single.lanes)
    z = single.normals(1000, seed=3).reshape(1000, 2, single.lanes)
    u, angle = (words[:, 0] + 0.5) * 2.0**-32, ((words[:, 1].view(np.int32) >> 1) + 0.5) * 2.0**-31
    radius = np.sqrt(-2 * np.log(u)) * np.where(words[:, 1] & np.uint32(1), -1, 1)
    # where the radius is small u is a float next to 1: the square of the radius is right to 2^-24
    tolerance = 1e-6 + 2.0**-23 / np.abs(radius)
    assert (np.abs(z[:, 0] - radius * np.cos(np.pi * angle)) <= tolerance).all()
    assert (np.abs(z[:, 1] - radius * np.sin(np.pi * angle)) <= tolerance).all()


# --------------------------------------------------------------------------------- the law


def chi_square_tail(observed: NDArray[np.int64], expected: Array) -> float:
    assert expected.min() > 5
    return float(stats.chi2.sf(np.sum((observed - expected) ** 2 / expected), len(observed) - 1))


def judge_histogram(counts: NDArray[np.int64]) -> None:
    """More than a thousand bins, those that expect fewer than 20 joined; and the tails beyond 4 and 5."""
    draws = int(counts.sum())
    expected = draws * np.diff(np.concatenate([[0.0], ndtr((np.arange(1, 2048) - 1024) / 128), [1.0]]))
    outer = int(np.argmax(expected > 20))
    edges = np.concatenate([[0], np.arange(outer, 2048 - outer)])
    assert len(edges) > 1000
    assert chi_square_tail(np.add.reduceat(counts, edges), np.add.reduceat(expected, edges)) > FALSE_ALARM
    for deviations in (4, 5):
        inside = slice(1024 - 128 * deviations, 1024 + 128 * deviations)
        beyond = draws - int(counts[inside].sum())
        assert stats.binomtest(beyond, draws, 2 * float(ndtr(-deviations))).pvalue > FALSE_ALARM


def test_normals_fill_bins_and_tails_as_they_must(either: Compiled) -> None:
    judge_histogram(either.histogram(2**22, seed=11))


@pytest.mark.long
def test_billions_of_normals_fill_bins_and_tails_as_they_must(either: Compiled) -> None:
    judge_histogram(np.sum([either.histogram(10**7, seed=12, run=run) for run in range(16)], axis=0))


def test_normals_have_the_moments_of_the_normal_law(either: Compiled) -> None:
    z = either.normals(2**18, seed=13).ravel()
    moment = {k: float(stats.norm.moment(k)) for k in range(1, 13)}
    power = np.ones_like(z)
    for k in range(1, 7):
        power *= z
        deviation = np.sqrt((moment[2 * k] - moment[k] ** 2) / len(z))
        assert abs(power.mean() - moment[k]) < DEVIATIONS * deviation


def test_normals_pass_kolmogorov_smirnov(either: Compiled) -> None:
    z = either.normals(2**15, seed=14)
    assert stats.kstest(z.ravel(), "norm").pvalue > FALSE_ALARM
    assert (
        stats.kstest((z[:, : either.lanes] ** 2 + z[:, either.lanes :] ** 2).ravel() / 2, "expon").pvalue > FALSE_ALARM
    )


def test_uniforms_are_uniform_and_below_one(either: Compiled) -> None:
    u = either.uniforms(2**17, seed=15, purpose=CHANCES)
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.bincount((u.ravel() * 1024).astype(int), minlength=1024)
    assert chi_square_tail(counts, np.full(1024, u.size / 1024)) > FALSE_ALARM
    assert stats.kstest(u.ravel(), "uniform").pvalue > FALSE_ALARM


def judge_correlations(columns: Array) -> None:
    """Of the columns and of their squares: each is within its deviation, for all pairs at once."""
    standard = np.concatenate([columns, (columns**2 - 1) / np.sqrt(2)], axis=1)
    correlations = standard.T @ standard / len(standard)
    pairs = correlations[np.triu_indices_from(correlations, k=1)]
    # A column and its own square are uncorrelated too; products of moments up to 4 have variance 1 or 5.
    bound = stats.norm.isf(FALSE_ALARM / 2 / len(pairs)) * np.sqrt(5 / len(standard))
    assert np.abs(pairs).max() < bound


def test_lanes_are_uncorrelated_within_a_block_and_with_the_next(either: Compiled) -> None:
    z = either.normals(2**16, seed=16)
    judge_correlations(np.concatenate([z[:-1], z[1:]], axis=1))


def test_runs_seeds_and_purposes_are_uncorrelated(either: Compiled) -> None:
    streams = [
        either.normals(2**12, seed, run, purpose).ravel()
        for seed in range(3)
        for run in range(5)
        for purpose in range(2)
    ]
    judge_correlations(np.stack(streams, axis=1))


def test_no_word_of_one_stream_is_met_in_another(either: Compiled) -> None:
    # Streams that overlapped, or lanes a few steps apart, share words; 2^20 random ones do not (3e-8).
    streams = [either.words(2**11, seed, run, purpose) for seed in range(4) for run in range(8) for purpose in range(2)]
    words = np.concatenate(streams).ravel()
    assert len(np.unique(words)) == len(words)
