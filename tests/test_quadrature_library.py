"""Gaussian integrals on graded panels: ``codegen/library/quadrature.h`` and ``quadrature.py``."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from sgdlimit.codegen import library
from sgdlimit.codegen.excerpt import called, excerpt
from sgdlimit.codegen.library.quadrature import (
    CLEARANCE,
    LONGEST_PANEL,
    NARROWEST_LAYER,
    POINTS,
    SAME_BREAKPOINT,
    STEP_GROWTH,
    STEP_PANEL,
    STEP_REACH,
    WINDOW,
    nodes,
    panels,
)

Array = NDArray[np.float64]
Layers = Sequence[tuple[float, float]]
DOUBLES = ctypes.POINTER(ctypes.c_double)
FOLDER = Path(library.__file__).parent
ELEMENTARY, PANELS, OUTWARDS = (
    (FOLDER / name).read_text(encoding="utf-8") for name in ("elementary.h", "quadrature.h", "outwards.h")
)
HEADER = "\n".join([excerpt(ELEMENTARY, {*called(PANELS), "APART"}), PANELS, OUTWARDS])

HARNESS = """
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
%s
int test_panels(const double *b, int nb, const double *l, const double *w, int nl, const double *s, const double *v, int ns,
                double *edges);
int test_panels(const double *b, int nb, const double *l, const double *w, int nl, const double *s, const double *v, int ns,
                double *edges) {
  const sgdlimit_shape shape = {-SGDLIMIT_WINDOW, SGDLIMIT_WINDOW, nb, nl, ns, b, l, w, s, v};
  return sgdlimit_panels(&shape, edges);
}
void test_nodes(double a, double b, double *z, double *weight);
void test_nodes(double a, double b, double *z, double *weight) { sgdlimit_nodes(a, b, z, weight); }
/* The order in which panels are taken where each is the last of its direction from `stop` on, and a sum over them. */
int test_order(const double *l, const double *w, int nl, double stop, int *order, double *integral, double *size);
int test_order(const double *l, const double *w, int nl, double stop, int *order, double *integral, double *size) {
  const sgdlimit_shape shape = {-SGDLIMIT_WINDOW, SGDLIMIT_WINDOW, 0, nl, 0, NULL, l, w, NULL, NULL};
  double edges[SGDLIMIT_MAX_EDGES(0, 9, 0)], below, above;
  const int panels = sgdlimit_panels(&shape, edges), middle = sgdlimit_middle(&shape, edges, panels, &below, &above);
  int count = 0;
  for (int q = middle, enough; q >= 0; q = sgdlimit_next(q, middle, panels, enough)) {
    double z[SGDLIMIT_POINTS], weight[SGDLIMIT_POINTS];
    sgdlimit_nodes(edges[q], edges[q + 1], z, weight);
    for (int k = 0; k < SGDLIMIT_POINTS; k++) weight[k] *= z[k];
    sgdlimit_add(weight, integral, size);
    order[count++] = q;
    enough = sgdlimit_is_beyond(q, middle, edges, below, above) && (q < middle ? -edges[q] : edges[q + 1]) >= stop;
  }
  return count;
}
double test_outermost(const double *terms, int right);
double test_outermost(const double *terms, int right) { return sgdlimit_outermost(terms, right); }
int test_capacity(int kinks, int poles, int steps);
int test_capacity(int kinks, int poles, int steps) { return SGDLIMIT_MAX_EDGES(kinks, poles, steps); }
"""


@dataclass(frozen=True)
class Compiled:
    """The C header behind the Python names."""

    library: ctypes.CDLL

    def capacity(self, kinks: int, poles: int, steps: int) -> int:
        return int(self.library.test_capacity(kinks, poles, steps))

    def panels(self, kinks: list[float], poles: Layers = (), steps: Layers = ()) -> Array:
        edges = np.full(self.capacity(len(kinks), len(poles), len(steps)), math.nan)
        lists = [kinks, *([layer[k] for layer in layers] for layers in (poles, steps) for k in (0, 1))]
        b, l, w, s, v = ((ctypes.c_double * len(a))(*a) for a in lists)
        count = self.library.test_panels(
            b, len(kinks), l, w, len(poles), s, v, len(steps), edges.ctypes.data_as(DOUBLES)
        )
        return edges[: count + 1]

    def nodes(self, edges: Array) -> tuple[Array, Array]:
        z = np.empty((len(edges) - 1, POINTS))
        weights = np.empty_like(z)
        for i in range(len(edges) - 1):
            a, b = ctypes.c_double(edges[i]), ctypes.c_double(edges[i + 1])
            self.library.test_nodes(a, b, z[i].ctypes.data_as(DOUBLES), weights[i].ctypes.data_as(DOUBLES))
        return z.ravel(), weights.ravel()

    def order(self, poles: Layers, stop: float) -> tuple[list[int], float, float]:
        l, w = ((ctypes.c_double * len(poles))(*(layer[k] for layer in poles)) for k in (0, 1))
        taken = (ctypes.c_int * self.capacity(0, len(poles), 0))()
        mean, size = ctypes.c_double(0), ctypes.c_double(0)
        count = self.library.test_order(
            l, w, len(poles), ctypes.c_double(stop), taken, ctypes.byref(mean), ctypes.byref(size)
        )
        return list(taken[:count]), mean.value, size.value


@pytest.fixture(scope="module", params=["gcc", "clang"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "q.c").write_text(HARNESS % HEADER, encoding="utf-8")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([request.param, *flags, "q.c", "-o", "q.so", "-lm"], cwd=folder, check=True)
    return Compiled(ctypes.CDLL(str(folder / "q.so")))


def integral(g: Callable[[Array], Array], edges: Array) -> float:
    z, weights = nodes(edges)
    return float(weights @ g(z))


# --------------------------------------------------------------------------------- the rule


def test_constants_are_those_of_sixteen_point_gauss_legendre() -> None:
    z, weights = nodes(np.array([-1.0, 1.0]))
    with mpmath.workdps(30):
        for node, weight in zip(z, weights, strict=True):
            root = mpmath.findroot(lambda t: mpmath.legendre(16, t), float(node))
            slope = 16 * (root * mpmath.legendre(16, root) - mpmath.legendre(15, root)) / (root**2 - 1)
            exact = 2 / ((1 - root**2) * slope**2) * mpmath.npdf(root)
            assert abs(float(root) - node) <= 2e-16
            assert abs(float(exact) / weight - 1) <= 1e-15


@pytest.mark.parametrize("tilt", [-4.0, -2.5, -1.0, 0.0, 0.7, 3.0, 4.0])
@pytest.mark.parametrize("breakpoint_", [math.nan, -5.0, 0.3, 2.0])
def test_tilted_gaussian_is_integrated_to_rounding(tilt: float, breakpoint_: float) -> None:
    value = integral(lambda z: np.exp(tilt * z - tilt * tilt / 2), panels([breakpoint_]))
    assert abs(value - 1) <= 2e-15


@pytest.mark.parametrize("power", [2, 4, 6, 8])
def test_moments_are_integrated_to_rounding(power: int) -> None:
    assert integral(lambda z: z**power, panels([])) == pytest.approx(math.prod(range(1, power, 2)), rel=2e-14)


# --------------------------------------------------------------------------------- logistic layers

LOGISTIC: dict[str, tuple[Callable[[Array], Array], float]] = {
    "softplus": (lambda r: np.logaddexp(0, r), math.pi),
    "sigmoid": (expit, math.pi),
    "sigmoid'": (lambda r: expit(r) * expit(-r), math.pi),
    "sigmoid''": (lambda r: -expit(r) * expit(-r) * np.tanh(r / 2), math.pi),
    "sigmoid^2": (lambda r: expit(r) ** 2, math.pi),
    "tanh": (np.tanh, math.pi / 2),
    "(tanh - 1)^2": (lambda r: 4 * expit(-2 * r) ** 2, math.pi / 2),
    "(tanh - 1) tanh'": (lambda r: -8 * expit(-2 * r) ** 2 * expit(2 * r), math.pi / 2),
    "((tanh - 1) tanh')^2": (lambda r: 64 * expit(-2 * r) ** 4 * expit(2 * r) ** 2, math.pi / 2),
}
MEANS = [-10.0, -4.2, -1.0, 0.0, 0.37, 3.0, 10.0]
DEVIATIONS = [1e-6, 1e-3, 0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 7.0, 20.0, 100.0]


def fine(g: Callable[[Array], Array], location: float, width: float) -> tuple[float, float]:
    """The integral and that of ``|g|``, on far more panels of a rule of higher order."""
    away = width * np.geomspace(0.1, max(1e3, 26 / width), 80)
    edges = np.concatenate([np.linspace(-WINDOW, WINDOW, 53), location - away, location + away])
    edges = np.unique(edges[abs(edges) <= WINDOW])
    x, w = np.polynomial.legendre.leggauss(30)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    z = middle + half * x
    terms = half * w * np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * g(z)
    return float(terms.sum()), float(abs(terms).sum())


@pytest.mark.parametrize("name", LOGISTIC)
def test_logistic_integrands_are_right_at_every_mean_and_deviation(name: str) -> None:
    f, pole = LOGISTIC[name]
    worst = 0.0
    for m in MEANS:
        for s in DEVIATIONS:
            exact, scale = fine(lambda z, m=m, s=s: f(m + s * z), -m / s, pole / s)
            value = integral(lambda z, m=m, s=s: f(m + s * z), panels([], [(-m / s, pole / s)]))
            worst = max(worst, abs(value - exact) / scale)
    assert worst <= (2e-11 if name.endswith("^2") and "tanh'" in name else 1e-12)  # asked of coefficients: 1e-10


@pytest.mark.parametrize(("m", "s"), [(0.0, 1.5), (-3.0, 2.0), (1.0, 0.7), (10.0, 5.0), (-0.4, 100.0)])
def test_logistic_integrands_agree_with_mpmath(m: float, s: float) -> None:
    edges = panels([], [(-m / s, math.pi / s)])
    with mpmath.workdps(25):
        # Grown threefold a cut from the layer, so that mpmath converges on each piece.
        cuts = [mpmath.mpf(-m) / s + sign * mpmath.pi / s * 3**k for sign in (-1, 1) for k in range(8)]
        points = sorted([mpmath.mpf(-16), mpmath.mpf(16), *(c for c in cuts if abs(c) < 16)])
        for f, g in (
            (lambda r: mpmath.log1p(mpmath.exp(r)), lambda r: np.logaddexp(0, r)),
            (lambda r: 1 / (2 + 2 * mpmath.cosh(r)), lambda r: expit(r) * expit(-r)),
        ):
            exact = mpmath.quad(lambda z, f=f: f(m + s * z) * mpmath.npdf(z), points)
            assert integral(lambda z, g=g: g(m + s * z), edges) == pytest.approx(float(exact), rel=1e-13)


def test_few_nodes_suffice() -> None:
    def count(m: float, s: float, pole: float) -> int:
        return POINTS * (len(panels([], [(-m / s, pole / s)])) - 1)

    grid = np.linspace(-10, 10, 81)
    assert max(count(m, s, math.pi) for m in grid for s in (1e-6, 0.1, 0.5, 1.0)) <= 112
    assert max(count(m, 100.0, math.pi) for m in grid) <= 208
    assert max(count(m, 100.0, math.pi / 2) for m in grid) <= 240


def test_two_layers_and_a_kink_are_right_together() -> None:
    """The adversarial logistic loss of both signs: layers at ``±κ`` and a kink between them."""

    def g(z: Array) -> Array:
        return np.logaddexp(0, np.abs(1 + 30 * z) + 2) + expit(1 + 30 * z - 2)

    edges = panels([-1 / 30], [(location / 30, math.pi / 30) for location in (-3, 1, 1)])
    finer = np.unique(np.concatenate([edges[:-1] + np.diff(edges) * q for q in np.linspace(0, 1, 6)]))
    assert integral(g, edges) == pytest.approx(integral(g, finer), rel=1e-14)


# --------------------------------------------------------------------------------- kinks


@pytest.mark.parametrize("b", [0.0, -0.3, 1.0, 2.5, -4.0, 8.0, -12.0, 14.0, -1e9])
def test_kinks_are_split_at(b: float) -> None:
    density = math.exp(-b * b / 2) / math.sqrt(2 * math.pi)
    exact = 2 * density + b * (2 * float(ndtr(b)) - 1)
    assert integral(lambda z: np.abs(z - b), panels([b])) == pytest.approx(exact, rel=1e-14)
    assert integral(lambda z: (z < b) * 1.0, panels([b])) == pytest.approx(float(ndtr(b)), rel=1e-14, abs=1e-30)
    # A tail alone: relative to itself, down to what the window holds.
    if -9 <= b <= 0:
        assert integral(lambda z: (z < b) * 1.0, panels([b])) == pytest.approx(float(ndtr(b)), rel=1e-11)


def test_breakpoints_may_be_anything() -> None:
    plain = panels([-1.0, 2.0])
    assert set(plain) >= {-WINDOW, -1.0, 2.0, WINDOW}
    mixed = [2.0, math.inf, -1.0, math.nan, -math.inf, 2.0, 13.0, -13.0, 40.0, 2.0 + 4e-15, -1e300]
    assert np.array_equal(panels(mixed), plain)
    assert np.array_equal(panels(iter([2.0, -1.0])), plain)


@pytest.mark.parametrize(
    ("location", "width"),
    [
        (math.nan, math.inf),
        (math.inf, math.inf),
        (-math.inf, math.inf),
        (math.nan, math.nan),
        (1.0, math.inf),
    ],
)
def test_layer_of_a_vanishing_variance_is_none(compiled: Compiled, location: float, width: float) -> None:
    for layers in ({"poles": [(location, width)]}, {"steps": [(location, width)]}):
        assert np.array_equal(panels([0.5], **layers), panels([0.5]))
        assert np.array_equal(compiled.panels([0.5], **layers), panels([0.5]))


def test_layer_too_narrow_to_see_is_a_breakpoint() -> None:
    assert np.array_equal(panels([], [(0.7, 0.9e-12)]), panels([0.7]))
    step = integral(lambda z: expit((z - 0.7) / 1e-13), panels([], [(0.7, math.pi * 1e-13)]))
    assert step == pytest.approx(1 - float(ndtr(0.7)), rel=1e-12)


# --------------------------------------------------------------------------------- erf layers


@pytest.mark.parametrize("width", [1e-9, 1e-4, 0.03, 0.1, 0.3, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("location", [-6.0, -1.3, 0.0, 0.4, 3.0, 11.0])
def test_steep_normal_cdf_is_integrated(location: float, width: float) -> None:
    edges = panels([], steps=[(location, width)])
    exact = float(ndtr(-location / math.hypot(1, width)))  # E Φ((z − l)/w) in closed form
    assert integral(lambda z: ndtr((z - location) / width), edges) == pytest.approx(exact, rel=1e-11)
    tilted = float(ndtr((2 - location) / math.hypot(1, width)))
    value = integral(lambda z: np.exp(2 * z - 2) * ndtr((z - location) / width), edges)
    assert value == pytest.approx(tilted, rel=1e-11)


@pytest.mark.parametrize("width", [1e-6, 0.02, 0.3, 0.9, 2.0])
@pytest.mark.parametrize("location", [-3.0, 0.0, 0.4, 2.0])
def test_a_bump_is_integrated(location: float, width: float) -> None:
    """``E exp(−(z − l)²/2w²)`` in closed form, and an odd one."""
    edges = panels([], steps=[(location, width)])
    total = math.hypot(1, width)
    exact = width / total * math.exp(-((location / total) ** 2) / 2)
    assert integral(lambda z: np.exp(-(((z - location) / width) ** 2) / 2), edges) == pytest.approx(exact, rel=1e-12)
    first = integral(lambda z: (z - location) * np.exp(-(((z - location) / width) ** 2) / 2), edges)
    assert first == pytest.approx(
        -exact * location * (width / total) ** 2, rel=1e-11, abs=3e-14 * width
    )  # nodes are rounded


def test_overlapping_steps_share_their_panels() -> None:
    steps = [(0.1 * k, 0.2) for k in range(5)]
    assert len(panels([], steps=steps)) <= len(panels([], steps=steps[:1])) + 6


# --------------------------------------------------------------------------------- any problem

anything = st.one_of(
    st.floats(-15, 15), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, 13.0]), st.floats()
)
layers = st.lists(st.tuples(anything, st.one_of(st.floats(-16, 3).map(lambda e: 10.0**e), anything)), max_size=4)


@settings(max_examples=300, deadline=None)
@given(kinks=st.lists(anything, max_size=6), poles=layers, steps=layers)
def test_c_and_numpy_take_the_same_nodes_within_the_capacity(
    compiled: Compiled, kinks: list[float], poles: Layers, steps: Layers
) -> None:
    edges = panels(kinks, poles, steps)
    in_c = compiled.panels(kinks, poles, steps)
    assert len(edges) <= compiled.capacity(len(kinks), len(poles), len(steps))
    np.testing.assert_allclose(in_c, edges, rtol=1e-14, atol=1e-15)
    z, weights = nodes(edges)
    z_in_c, weights_in_c = compiled.nodes(edges)
    np.testing.assert_allclose(z_in_c, z, rtol=0, atol=4e-15)
    np.testing.assert_allclose(weights_in_c, weights, rtol=1e-13)


@settings(max_examples=300, deadline=None)
@given(kinks=st.lists(anything, max_size=6), poles=layers, steps=layers)
def test_panels_hold_what_they_promise(kinks: list[float], poles: Layers, steps: Layers) -> None:
    edges = panels(kinks, poles, steps)
    lengths = np.diff(edges)
    assert edges[0] == -WINDOW
    assert edges[-1] == WINDOW
    assert np.all(lengths > 0)
    assert np.all(lengths <= LONGEST_PANEL * (1 + 1e-8))
    for kink in kinks + [location for location, width in (*poles, *steps) if width < NARROWEST_LAYER]:
        if abs(kink) <= WINDOW:
            assert np.min(abs(edges - kink)) <= SAME_BREAKPOINT
    for location, width in poles:
        if math.isfinite(location) and NARROWEST_LAYER <= width < 1e100 and abs(location) < 1e100:
            summed = np.hypot(edges[:-1] - location, width) + np.hypot(edges[1:] - location, width)
            assert np.all(CLEARANCE * lengths <= summed * (1 + 1e-6) + 1e-14)
    for location, width in steps:
        if NARROWEST_LAYER <= width < LONGEST_PANEL:
            reach = STEP_REACH * width - 1e-13
            inside = (edges[1:] > location - reach) & (edges[:-1] < location + reach)
            away = np.clip(np.maximum(edges[:-1] - location, location - edges[1:]), 0, 1e100)
            allowed = np.maximum(STEP_PANEL * width, STEP_GROWTH * away)
            assert np.all(lengths[inside] <= allowed[inside] * (1 + 1e-8) + 1e-13)


def test_panels_are_taken_from_the_middle_outwards(compiled: Compiled) -> None:
    edges = panels([], [(0.0, 0.5)])
    z, weights = nodes(edges)
    order, mean, size = compiled.order([(0.0, 0.5)], 99.0)
    middle = order[0]
    assert edges[middle] <= 0 < edges[middle + 1]
    assert order == [*range(middle, len(edges) - 1), *reversed(range(middle))]
    assert mean == pytest.approx(float(weights @ z), abs=1e-15)
    assert size == pytest.approx(float(weights @ abs(z)), rel=1e-14)


def test_a_direction_ends_on_a_long_panel_that_has_all_features_behind_it(compiled: Compiled) -> None:
    """Beside a feature, and on a sliver between two, an integrand may vanish that does not further out."""
    layers = [(-6.0, 0.5), (2.0, 1e-9), (2.1, 1e-9), (3.0, 50.0), (40.0, 0.1), (math.nan, 0.1)]
    edges = panels([], layers)
    order, *_ = compiled.order(layers, 1.0)
    right = [q for q in order if q >= order[0]]
    left = [q for q in order if q < order[0]]
    assert 2.1 < edges[right[-1]] < edges[right[-1] + 1] < 7  # wide layers, and those outside the window, are none
    assert edges[right[-1] + 1] - edges[right[-1]] >= LONGEST_PANEL / 10
    assert edges[left[-1] + 1] <= -6 + 1e-9  # the layer may hold all of the integral


def test_a_zero_of_the_outermost_term_is_not_taken_for_the_end(compiled: Compiled) -> None:
    outermost = compiled.library.test_outermost
    outermost.restype = ctypes.c_double
    terms = np.linspace(-15, 0, POINTS)
    at = terms.ctypes.data_as(DOUBLES)
    assert (outermost(at, 1), outermost(at, 0)) == (4, 15)


def test_capacity_is_nearly_reached_by_the_narrowest_layers(compiled: Compiled) -> None:
    """The bound is not so loose that it would hide an error in its count."""
    edges = compiled.panels([], [(0.0, NARROWEST_LAYER)])
    assert 50 <= len(edges) <= compiled.capacity(0, 1, 0)
    edges = compiled.panels([], [], [(0.0, 0.2)])
    assert 10 <= len(edges) <= compiled.capacity(0, 0, 1)
