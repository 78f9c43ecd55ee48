"""The C library's elementary functions against mpmath, at ordinary arguments, far out and at the ends of the range."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib import resources

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from sgdlimit.codegen.excerpt import excerpt, function_names
from sgdlimit.runtime.compiler import find_compiler, load_uncached

Array = NDArray[np.float64]

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")

LIBRARY = resources.files("sgdlimit.codegen.library").joinpath("elementary.h").read_text(encoding="utf-8")
HEAD = "#include <math.h>\n#include <stdint.h>\n#include <string.h>\n"
RNG = np.random.default_rng(2607)
NEAR, FAR = RNG.normal(size=400), RNG.uniform(-40, 40, 400)
SMALL = 10 ** RNG.uniform(-14, 0, 200)
BOTH = np.concatenate([NEAR, FAR, SMALL, -SMALL, [0.0]])
ABOVE = np.concatenate([np.abs(NEAR), np.abs(FAR), SMALL, [0.0], 10 ** RNG.uniform(0, 12, 200)])
WITHIN = np.concatenate([BOTH[np.abs(BOTH) < 37], RNG.uniform(-37, 37, 200)])


def phi(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.npdf(x)


def tail(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.erfc(x / mpmath.sqrt(2)) / 2


def ratio(h: mpmath.mpf) -> mpmath.mpf:
    if h > 10:  # Laplace's continued fraction 1/(h + 2/(h + 3/(h + ...
        rest = h
        for k in range(300, 1, -1):
            rest = h + k / rest
        return 1 / rest
    with mpmath.workdps(90):
        return phi(h) / tail(h) - h


CASES: dict[str, tuple[Callable[[mpmath.mpf], mpmath.mpf], Array, float]] = {
    "sgdlimit_exp": (mpmath.exp, np.concatenate([BOTH, RNG.uniform(-707, 709.7, 400)]), 4e-16),
    "sgdlimit_expm1_negative": (mpmath.expm1, -ABOVE, 4e-16),
    "sgdlimit_sinh": (mpmath.sinh, np.concatenate([BOTH, RNG.uniform(-709, 709, 200)]), 1e-15),
    "sgdlimit_cosh": (mpmath.cosh, np.concatenate([BOTH, RNG.uniform(-709, 709, 200)]), 1e-15),
    "sgdlimit_log": (mpmath.log, np.concatenate([10 ** RNG.uniform(-307, 308, 400), 1 + 1e-3 * NEAR]), 6e-16),
    "sgdlimit_log1p": (mpmath.log1p, np.concatenate([ABOVE, -SMALL * 0.999, 10 ** RNG.uniform(0, 300, 200)]), 6e-16),
    "sgdlimit_log1p_unit": (mpmath.log1p, np.concatenate([SMALL, RNG.uniform(0, 1, 400), [0, 1]]), 6e-16),
    "sgdlimit_tanh": (mpmath.tanh, BOTH, 6e-16),
    "sgdlimit_erf": (mpmath.erf, np.concatenate([BOTH, RNG.uniform(-6.5, 6.5, 2000)]), 6e-16),
    # further out it is known as well as 1 - erfc asks
    "sgdlimit_erfc_exponent": (lambda x: -mpmath.log(mpmath.erfc(x)), RNG.uniform(0.5, 1.5, 400), 1e-15),
    "sgdlimit_erfc": (mpmath.erfc, np.concatenate([WITHIN / np.sqrt(2), -ABOVE]), 1e-15),
    "sgdlimit_normal_density": (phi, WITHIN, 6e-16),
    "sgdlimit_exp_minus_square": (lambda x: mpmath.exp(-x * x), WITHIN / np.sqrt(2), 4e-16),
    "sgdlimit_normal_tail": (tail, np.abs(WITHIN), 1e-15),
    "sgdlimit_tail_ratio": (ratio, ABOVE, 1e-15),
    "normal_cdf": (lambda x: tail(-x), WITHIN, 1e-15),
    "hazard": (lambda x: phi(x) / tail(-x), np.concatenate([WITHIN, -np.abs(FAR) * 10]), 1e-15),
    "hazard_excess": (lambda x: ratio(-x) if x < 0 else x + phi(x) / tail(-x), np.concatenate([BOTH, -ABOVE]), 1e-15),
    "log_normal_cdf": (
        lambda x: mpmath.log1p(-tail(x)) if x > 0 else mpmath.log(tail(-x)),
        np.concatenate([WITHIN, -np.abs(FAR) * 5]),
        1e-15,
    ),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), np.concatenate([BOTH, -FAR * 17]), 1e-15),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), np.concatenate([BOTH, FAR * 17]), 1e-15),
    "log_cosh": (lambda x: mpmath.log(mpmath.cosh(x)), np.concatenate([BOTH, FAR * 100]), 1e-15),
    "square": (lambda x: x * x, BOTH, 2e-16),
    "tail_moment0": (tail, np.abs(WITHIN), 1e-15),
    "tail_moment1": (lambda x: ratio(x) * tail(x), np.abs(WITHIN), 2e-15),
    "tail_moment2": (lambda x: (1 - x * ratio(x)) * tail(x), np.abs(WITHIN), 1e-12),
    "scaled_tail_moment0": (lambda x: 1 / (x + ratio(x)), ABOVE, 1e-15),
    "scaled_tail_moment1": (lambda x: ratio(x) / (x + ratio(x)), ABOVE, 2e-15),
}
"""By name: the function, where, and the relative error allowed."""
OF_TWO = {
    "sgdlimit_from_bits",
    "sgdlimit_bits",
    "sgdlimit_exp_sum",
    "sgdlimit_log_sum",
    "sgdlimit_expm1_reduced",
    "larger",
    "smaller",
}


def all_of_them() -> str:
    loops = [
        f"void all_{name}(int64_t n, const double *x, double *y);\n"
        f"void all_{name}(int64_t n, const double *x, double *y) {{\n"
        f"#pragma omp simd\n  for (int64_t i = 0; i < n; i++) y[i] = {name}(x[i]);\n}}"
        for name in CASES
    ]
    pairs = [
        f"double {name}_of(double a, double b);\ndouble {name}_of(double a, double b) {{ return {name}(a, b); }}"
        for name in ("larger", "smaller")
    ]
    return "\n".join([HEAD, LIBRARY, *loops, *pairs])


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    compiler = find_compiler()
    assert compiler is not None
    return load_uncached(all_of_them(), compiler)


def values(library: ctypes.CDLL, name: str, x: Array) -> Array:
    x, y = np.ascontiguousarray(x), np.empty(len(x))
    getattr(library, f"all_{name}")(
        ctypes.c_int64(len(x)), ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data)
    )
    return y


@pytest.mark.parametrize(("name", "numpy"), [("larger", np.maximum), ("smaller", np.minimum)])
def test_of_two_numbers_one_is_chosen_as_numpy_does_and_nan_stays(
    library: ctypes.CDLL, name: str, numpy: Callable[[float, float], float]
) -> None:
    function = getattr(library, f"{name}_of")
    function.argtypes, function.restype = [ctypes.c_double] * 2, ctypes.c_double
    some = [-np.inf, -1.0, 0.0, 1e-300, 2.0, np.inf, np.nan]
    for a in some:
        for b in some:
            assert np.array_equal(function(a, b), numpy(a, b), equal_nan=True), (a, b)


def test_every_function_is_tested() -> None:
    assert set(CASES) | OF_TWO == set(function_names(LIBRARY))


@pytest.mark.parametrize("name", CASES)
def test_relative_error(library: ctypes.CDLL, name: str) -> None:
    exact, x, allowed = CASES[name]
    found = values(library, name, x)
    with mpmath.workdps(60):
        for at, value in zip(x, found, strict=True):
            wanted = exact(mpmath.mpf(float(at)))
            assert abs(mpmath.mpf(float(value)) - wanted) <= allowed * abs(wanted), f"{name}({at!r}) = {value!r}"


@pytest.mark.parametrize("name", [name for name in CASES if name != "square"])
def test_nan_comes_out_where_it_went_in(library: ctypes.CDLL, name: str) -> None:
    assert np.isnan(values(library, name, np.full(9, np.nan))).all()


def test_ends_of_the_range(library: ctypes.CDLL) -> None:
    ends = np.array([-np.inf, -1e300, 1e300, np.inf])
    assert values(library, "sgdlimit_exp", ends).tolist() == [0, 0, np.inf, np.inf]
    assert values(library, "sgdlimit_tanh", ends).tolist() == [-1, -1, 1, 1]
    assert values(library, "sgdlimit_erf", ends).tolist() == [-1, -1, 1, 1]
    assert values(library, "sgdlimit_erfc", ends).tolist() == [2, 2, 0, 0]
    assert values(library, "normal_cdf", ends).tolist() == [0, 0, 1, 1]
    assert values(library, "sigmoid", ends).tolist() == [0, 0, 1, 1]
    assert values(library, "hazard", ends).tolist() == [np.inf, 1e300, 0, 0]
    assert values(library, "softplus", ends).tolist() == [0, 0, 1e300, np.inf]
    assert values(library, "sgdlimit_sinh", ends).tolist() == [-np.inf, -np.inf, np.inf, np.inf]
    assert values(library, "sgdlimit_log", np.array([0.0, -0.0, np.inf])).tolist() == [-np.inf, -np.inf, np.inf]
    assert np.isnan(values(library, "sgdlimit_log", np.array([-1.0, -np.inf]))).all()
    assert values(library, "sgdlimit_log1p", np.array([-1.0, np.inf])).tolist() == [-np.inf, np.inf]


def test_an_excerpt_holds_what_is_called_and_no_more() -> None:
    found = function_names(excerpt(LIBRARY, {"sigmoid", "nobody's"}))
    assert found == [
        "sgdlimit_bits",
        "sgdlimit_from_bits",
        "sgdlimit_expm1_reduced",
        "sgdlimit_exp_sum",
        "sgdlimit_exp",
        "sigmoid",
    ]
    assert excerpt(LIBRARY, set()) == ""
