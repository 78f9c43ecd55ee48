"""The sign of an expression for all real values of its symbols: shown exactly, or not at all.

What is shown here holds: SymPy's assumptions, interval arithmetic in exact endpoints, definiteness of quadratic forms
and Sturm's root count of polynomials. ``None`` and ``False`` say only that it could not be shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import sympy as sp

from sgdlimit.derive.functions import LogCosh, NormalCdf, Sigmoid, Softplus, Tanh

Endpoint: TypeAlias = Fraction | float

_INFINITY = math.inf
_LARGEST_DEGREE = 16


@dataclass(frozen=True)
class Interval:
    """Real numbers from ``low`` to ``high``; an open end is not one of them.

    Examples
    --------
    >>> Interval(Fraction(-1), Fraction(1)).is_within(-1, 1)
    True
    """

    low: Endpoint = -_INFINITY
    high: Endpoint = _INFINITY
    open_low: bool = True
    open_high: bool = True

    def is_within(self, low: Endpoint, high: Endpoint) -> bool:
        """Whether no number of it is below ``low`` or above ``high``."""
        return self.low >= low and self.high <= high

    @property
    def is_positive(self) -> bool:
        return self.low > 0 or (self.low == 0 and self.open_low)

    @property
    def is_nonnegative(self) -> bool:
        return self.low >= 0

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low, self.open_high, self.open_low)

    def __add__(self, other: Interval) -> Interval:
        return Interval(
            self.low + other.low,
            self.high + other.high,
            self.open_low or other.open_low,
            self.open_high or other.open_high,
        )

    def __mul__(self, other: Interval) -> Interval:
        ends = [
            (_times(a, b), (open_a and b != 0) or (open_b and a != 0))
            for a, open_a in ((self.low, self.open_low), (self.high, self.open_high))
            for b, open_b in ((other.low, other.open_low), (other.high, other.open_high))
        ]
        # an end that is reached in one way only need not be open
        low, high = min(e for e, _ in ends), max(e for e, _ in ends)
        if low == 0 and self.is_positive and other.is_positive:
            return Interval(low, high, True, all(o for e, o in ends if e == high))
        return Interval(low, high, all(o for e, o in ends if e == low), all(o for e, o in ends if e == high))


def _times(a: Endpoint, b: Endpoint) -> Endpoint:
    return Fraction(0) if a == 0 or b == 0 else a * b


_ALL = Interval()

# Ranges of bounded functions, and increasing functions with their values at the ends of the line.
_RANGES: dict[type, Interval] = {
    sp.sin: Interval(Fraction(-1), Fraction(1), False, False),
    sp.cos: Interval(Fraction(-1), Fraction(1), False, False),
    sp.sign: Interval(Fraction(-1), Fraction(1), False, False),
    sp.Heaviside: Interval(Fraction(0), Fraction(1), False, False),
    sp.cosh: Interval(Fraction(1), _INFINITY, False, True),
    LogCosh: Interval(Fraction(0), _INFINITY, False, True),
    sp.erfc: Interval(Fraction(0), Fraction(2)),
}
_INCREASING: dict[type, tuple[Endpoint, Endpoint, Callable[[float], float]]] = {
    sp.exp: (Fraction(0), _INFINITY, math.exp),
    sp.log: (-_INFINITY, _INFINITY, math.log),
    sp.sinh: (-_INFINITY, _INFINITY, math.sinh),
    sp.tanh: (Fraction(-1), Fraction(1), math.tanh),
    Tanh: (Fraction(-1), Fraction(1), math.tanh),
    sp.atan: (-Fraction(1571, 1000), Fraction(1571, 1000), math.atan),
    sp.erf: (Fraction(-1), Fraction(1), math.erf),
    Sigmoid: (Fraction(0), Fraction(1), lambda x: (1 + math.tanh(x / 2)) / 2),
    NormalCdf: (Fraction(0), Fraction(1), lambda x: math.erfc(-x / math.sqrt(2)) / 2),
    Softplus: (Fraction(0), _INFINITY, lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x)))),
}
# Values at 0 that are exact.
_AT_ZERO = {
    sp.exp: Fraction(1),
    sp.sinh: Fraction(0),
    sp.tanh: Fraction(0),
    Tanh: Fraction(0),
    sp.atan: Fraction(0),
    sp.erf: Fraction(0),
    Sigmoid: Fraction(1, 2),
    NormalCdf: Fraction(1, 2),
}


def bounds(e: sp.Expr) -> Interval:
    """An interval that holds every value of an expression.

    Examples
    --------
    >>> r = sp.Symbol("r", real=True)
    >>> bounds(2 + sp.sin(r)), bounds(1 / (1 + sp.exp(r))).is_within(0, 1)
    (Interval(low=Fraction(1, 1), high=Fraction(3, 1), open_low=False, open_high=False), True)
    """
    if e.is_Rational:
        value = Fraction(int(e.p), int(e.q))
        return Interval(value, value, False, False)
    if e.is_number:
        return _around(float(e)) if e.is_real and e.is_finite else _ALL
    if e.is_Symbol:
        if e.is_positive:
            return Interval(Fraction(0))
        return Interval(Fraction(0), open_low=False) if e.is_nonnegative else _ALL
    if isinstance(e, sp.Add):
        total = Interval(Fraction(0), Fraction(0), False, False)
        for term in e.args:
            total = total + bounds(term)
        return total
    if isinstance(e, sp.Mul):
        product = Interval(Fraction(1), Fraction(1), False, False)
        for factor in e.args:
            product = product * bounds(factor)
        return product
    if isinstance(e, sp.Pow):
        return _power(bounds(e.base), e.exp)
    if isinstance(e, sp.Abs):
        return _power(bounds(e.args[0]), sp.Integer(2), root=True)
    if isinstance(e, (sp.Max, sp.Min)):
        parts = [bounds(a) for a in e.args]
        flipped = isinstance(e, sp.Min)
        parts = [-part for part in parts] if flipped else parts
        low, high = max(part.low for part in parts), max(part.high for part in parts)
        largest = Interval(
            low,
            high,
            all(part.open_low for part in parts if part.low == low),
            all(part.open_high for part in parts if part.high == high),
        )
        return -largest if flipped else largest
    if isinstance(e, sp.Piecewise):
        parts = [bounds(value) for value, _ in e.args]
        return Interval(min(p.low for p in parts), max(p.high for p in parts), False, False)
    if type(e) in _INCREASING:
        return _increasing(type(e), bounds(e.args[0]))
    return _RANGES.get(type(e), _ALL)


def _around(value: float) -> Interval:
    """A number that is not rational, with room for its rounding."""
    room = Fraction(max(abs(value), 1e-300)) * Fraction(1, 10**12)
    return Interval(Fraction(value) - room, Fraction(value) + room) if math.isfinite(value) else _ALL


def _increasing(kind: type, inner: Interval) -> Interval:
    least, greatest, function = _INCREASING[kind]

    def at(end: Endpoint, *, is_low: bool) -> Endpoint:
        if end == 0 and kind in _AT_ZERO:
            return _AT_ZERO[kind]
        if not math.isfinite(end):
            return least if is_low else greatest
        try:
            near = _around(function(float(end)))
        except (OverflowError, ValueError):
            return least if is_low else greatest
        return max(near.low, least) if is_low else min(near.high, greatest)

    return Interval(at(inner.low, is_low=True), at(inner.high, is_low=False), inner.open_low, inner.open_high)


def _power(base: Interval, exponent: sp.Expr, *, root: bool = False) -> Interval:
    """``base**exponent``; with ``root``, the absolute value by the same cases as a square."""
    if exponent.is_Integer and int(exponent) < 0:
        if base.is_positive:
            below = _power(base, -exponent)
            return Interval(_reciprocal(below.high), _reciprocal(below.low), below.open_high, below.open_low)
        return Interval(Fraction(0)) if int(exponent) % 2 == 0 else _ALL
    if exponent.is_Integer and abs(int(exponent)) <= 64:
        k = 1 if root else int(exponent)

        def at(end: Endpoint, *, outward: bool) -> Endpoint:
            """``|end|**k``; where that has too many digits, a coarse bound of it."""
            if isinstance(end, Fraction) and _size(end) < 10**6 and k * end.denominator.bit_length() < 10_000:
                return _size(end) ** k
            if _size(end) < 1:
                return Fraction(1 if outward else 0)
            return _INFINITY if outward else Fraction(1)

        if int(exponent) % 2 == 0:
            near, far = (base, -base) if base.low >= (-base).low else (-base, base)
            if near.low >= 0:
                low, high = at(near.low, outward=False), at(near.high, outward=True)
                return Interval(low, high, near.open_low, near.open_high)
            ends: list[Endpoint] = [_size(far.low), _size(far.high)]
            return Interval(Fraction(0), at(max(ends), outward=True), False, base.open_low or base.open_high)
        low = at(base.low, outward=base.low < 0) * (-1 if base.low < 0 else 1)
        high = at(base.high, outward=base.high > 0) * (-1 if base.high < 0 else 1)
        return Interval(low, high, base.open_low, base.open_high)
    if base.is_positive:
        return Interval(Fraction(0))
    return Interval(Fraction(0), open_low=False) if base.is_nonnegative else _ALL


def _size(end: Endpoint) -> Endpoint:
    return end if end >= 0 else -end


def _reciprocal(end: Endpoint) -> Endpoint:
    if end == 0:
        return _INFINITY
    return Fraction(0) if not math.isfinite(end) else 1 / Fraction(end)


def is_positive(e: sp.Expr) -> bool:
    """Whether ``e > 0`` everywhere can be shown.

    Examples
    --------
    >>> r, y = sp.symbols("r y", real=True)
    >>> is_positive(r**2 - r * y + y**2 + 1), is_positive(r**2 - 2 * r + 1), is_positive(1 + sp.tanh(r))
    (True, False, True)
    """
    return bool(bounds(e).is_positive or _of_polynomial(e, strict=True) or e.is_positive)


def is_nonnegative(e: sp.Expr) -> bool:
    """Whether ``e >= 0`` everywhere can be shown."""
    return bool(bounds(e).is_nonnegative or _of_polynomial(e, strict=False) or e.is_nonnegative)


def is_nonzero(e: sp.Expr) -> bool:
    """Whether ``e`` can be shown to be positive everywhere, or negative."""
    return is_positive(e) or is_positive(-e)


def _of_polynomial(e: sp.Expr, *, strict: bool) -> bool:
    """Quadratic forms by their matrix, polynomials of one symbol by their roots, exactly."""
    variables = sorted(e.free_symbols, key=sp.default_sort_key)
    if not variables or len(variables) > 6 or any(v.is_nonnegative for v in variables):
        return False
    if not e.is_polynomial(*variables):
        return False
    if sum(sp.degree(e, v) for v in variables) > _LARGEST_DEGREE:
        return False
    polynomial = sp.Poly(e, *variables)
    if not polynomial.domain.is_QQ and not polynomial.domain.is_ZZ:
        return False
    degree = polynomial.total_degree()
    if len(variables) == 1:
        if degree % 2 or polynomial.LC() < 0:
            return False
        if strict:
            return bool(polynomial.count_roots() == 0)
        # no root at which the sign changes: every real root is of even multiplicity
        return all(k % 2 == 0 or factor.count_roots() == 0 for factor, k in polynomial.sqf_list()[1])
    if degree != 2:
        return False
    ones = [sp.S.One, *variables]
    matrix = sp.Matrix(
        len(ones),
        len(ones),
        lambda i, j: polynomial.coeff_monomial(ones[i] * ones[j]) / (1 if i == j else 2),
    )
    # the form can vanish at infinity and still be positive: then only nonnegativity is shown
    return bool(matrix.is_positive_definite if strict else matrix.is_positive_semidefinite)
