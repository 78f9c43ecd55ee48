"""Tail moments and roots in C against mpmath, wherever the method changes."""

from __future__ import annotations

import ctypes
from importlib import resources

import mpmath
import numpy as np
import pytest

from sgdlimit.runtime.compiler import find_compiler, load_uncached

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")

HELPERS = ("hazard", "hazard_excess", "log_normal_cdf")
EXPORTS = """
void unscaled(double h, int order, double *moments);
void unscaled(double h, int order, double *moments) { sgdlimit_tail_moments(h, order, moments); }
void scaled(double h, int order, double *moments);
void scaled(double h, int order, double *moments) { sgdlimit_scaled_tail_moments(h, order, moments); }
static void steep(int count, const double *x, const double *context, double *values) {
  calls++;
  for (int k = 0; k < count; k++) values[k] = tanh(context[0] * (x[k] - context[1]));
}
static void flat(int count, const double *x, const double *context, double *values) {
  calls++;
  for (int k = 0; k < count; k++) values[k] = pow(x[k] - context[1], 3) - context[0];
}
double root(int which, double a, double b, double scale, double shift);
double root(int which, double a, double b, double scale, double shift) {
  const double context[] = {scale, shift};
  void (*function)(int, const double *, const double *, double *) = which ? steep : flat;
  const double ends[] = {a, b};
  double at_ends[2];
  calls = 0;
  function(2, ends, context, at_ends);
  return sgdlimit_root(function, context, a, at_ends[0], b, at_ends[1]);
}
int called(void);
int called(void) { return calls; }
"""


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    compiler = find_compiler()
    assert compiler is not None
    folder = resources.files("sgdlimit.codegen.library")
    headers = [
        folder.joinpath(name).read_text(encoding="utf-8")
        for name in ("elementary.h", "tails.h", "unscaled_tails.h", "roots.h")
    ]
    own = [f"double c_{name}(double x);\ndouble c_{name}(double x) {{ return {name}(x); }}" for name in HELPERS]
    text = "\n".join(
        ["#include <math.h>\n#include <stdint.h>\n#include <string.h>\nstatic int calls;", *headers, *own, EXPORTS]
    )
    loaded = load_uncached(text, compiler)
    for name in HELPERS:
        function = getattr(loaded, f"c_{name}")
        function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    loaded.root.restype = ctypes.c_double
    loaded.root.argtypes = [ctypes.c_int, *([ctypes.c_double] * 4)]
    return loaded


def exact(h: float, order: int) -> list[mpmath.mpf]:
    with mpmath.workdps(80):
        place = mpmath.mpf(h)
        moments = [mpmath.erfc(place / mpmath.sqrt(2)) / 2]
        moments.append(mpmath.npdf(place) - place * moments[0])
        for k in range(1, order):
            moments.append(k * moments[k - 1] - place * moments[k])
        return moments


@pytest.mark.parametrize("order", [0, 1, 2, 3, 6])
@pytest.mark.parametrize("h", [0.0, 1e-8, 0.7, 2.9999, 3.0, 4.9999, 5.0, 9.0, 37.0])
def test_tail_moments_in_c_keep_eleven_digits(library: ctypes.CDLL, h: float, order: int) -> None:
    found = np.empty((2, 9))
    library.unscaled(ctypes.c_double(h), order, ctypes.c_void_p(found[0].ctypes.data))
    library.scaled(ctypes.c_double(h), order, ctypes.c_void_p(found[1].ctypes.data))
    wanted = exact(h, max(order, 1))
    density = mpmath.npdf(mpmath.mpf(h))
    for k in range(order + 1):
        assert abs(found[0, k] / wanted[k] - 1) < 1e-11, k
        assert abs(found[1, k] * density / wanted[k] - 1) < 1e-11, k


@pytest.mark.parametrize("h", [50.0, 1e8, 2e9, np.inf])
def test_tail_moments_in_c_vanish_where_the_density_does_and_scaled_ones_do_not(library: ctypes.CDLL, h: float) -> None:
    found = np.empty((2, 9))
    library.unscaled(ctypes.c_double(h), 3, ctypes.c_void_p(found[0].ctypes.data))
    library.scaled(ctypes.c_double(h), 3, ctypes.c_void_p(found[1].ctypes.data))
    assert np.all(found[0, :4] == 0)
    factor = np.array([1.0, 1.0, 2.0, 6.0])
    np.testing.assert_allclose(found[1, :4], factor / h ** np.arange(1.0, 5.0), rtol=5e-3)


def test_tail_moments_in_c_pass_a_number_that_is_none_on(library: ctypes.CDLL) -> None:
    found = np.zeros(9)
    library.unscaled(ctypes.c_double(np.nan), 2, ctypes.c_void_p(found.ctypes.data))
    assert np.all(np.isnan(found[:3]))


@pytest.mark.parametrize("x", [-1e12, -37.0, -10.0, -5.0001, -4.9999, -3.0, -1.0, 0.0, 2.0, 7.0])
def test_logarithm_and_hazard_of_the_normal_law_keep_twelve_digits(library: ctypes.CDLL, x: float) -> None:
    with mpmath.workdps(60):
        place = mpmath.mpf(x)
        if x < -1e9:
            hazard, excess, logarithm = -place, -1 / place, -(place**2) / 2
        else:
            cdf = mpmath.erfc(-place / mpmath.sqrt(2)) / 2
            hazard = mpmath.npdf(place) / cdf
            excess, logarithm = place + hazard, mpmath.log(cdf)
        for name, wanted in zip(HELPERS, (hazard, excess, logarithm), strict=True):
            assert abs(getattr(library, f"c_{name}")(x) / wanted - 1) < 1e-12, name


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.3), (1e6, -2.7), (1e-3, 1e-9), (40.0, 4.3)])
def test_roots_are_as_close_as_doubles_come_in_few_calls(library: ctypes.CDLL, scale: float, shift: float) -> None:
    found = library.root(1, -4.0, 4.5, scale, shift)
    assert abs(found - shift) <= 4.5e-16 * abs(shift)
    assert library.called() <= 60
    scale = min(scale, 200.0)
    found = library.root(0, -13.0, 13.0, scale, shift)
    assert found == pytest.approx(shift + scale ** (1 / 3), rel=1e-14)
    assert library.called() <= 60
