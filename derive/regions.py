"""Gaussian expectations of piecewise polynomials of score and label, along a line of the plane of both.

Where a loss is piecewise polynomial and the label a linear form of the teacher's score, the plane of ``(r, y)`` is cut
by curves, lines and conics, into regions with one polynomial each (``docs/numerics.md``). Along a line in the plane a
curve has places that a formula gives, at most two; the mean over the line is a sum of tail moments, ``erfc`` and
powers, and only an integral over the parallel lines is left. What that one must resolve is known too: vertices, where
curves meet, and branch points, where two places of a conic meet and vanish.

The lines are neither parallel to the axis of the score nor to that of the label: at an angle between, a kink passes
smoothly from one line to the next where score and label are independent as well as where one follows from the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations, pairwise, product
from typing import Any, TypeVar

import sympy as sp

from sgdlimit.derive.convert import Switch, Switched
from sgdlimit.derive.features import Feature
from sgdlimit.derive.functions import Branch, Side, normal_density
from sgdlimit.derive.kinks import used_switches
from sgdlimit.derive.quadrature import TINY, Definition
from sgdlimit.derive.symbols import epsilon, n, r, y

REACH = sp.Symbol("reach", positive=True)
"""``ε n`` by its name. Zero is the limit of what is positive: its sign is +1."""

FAR = 40
"""Beyond so many deviations nothing is left of the density in a double; a place that does not exist is put here."""

RULE = "regions of the plane of score and label: tail moments along a line"

_MOST_CURVES = 12
_MOST_SWITCHES = 6

Coefficients = tuple[sp.Expr, ...]
Patterns = Sequence[Mapping[sp.Symbol, sp.Expr]]
T = TypeVar("T")


@dataclass(frozen=True)
class Curve:
    """A factor of a switch's argument: where it vanishes that switch may change.

    Parameters
    ----------
    polynomial : sympy.Expr
        In ``r`` and ``y``, of degree 1 or 2.
    degree : int
    """

    polynomial: sp.Expr
    degree: int


@dataclass(frozen=True)
class Place:
    """Where some curve crosses a line; places are in order along it.

    Parameters
    ----------
    at, gap, away, density : sympy.Expr
        The place in deviations, its distance and side, and the density there.
    """

    at: sp.Expr
    gap: sp.Expr
    away: sp.Expr
    density: sp.Expr


@dataclass(frozen=True)
class Crossing:
    """Where one curve crosses a line, and its slope along that."""

    curve: Curve
    at: sp.Expr
    slope: sp.Expr


@dataclass(frozen=True)
class Exchange:
    """A step of sorting: ``low`` and ``high`` change places if ``turned`` is +1."""

    low: int
    high: int
    turned: sp.Expr


@dataclass(eq=False)
class Names:
    """Definitions in order; equal expressions have one name."""

    prefix: str
    definitions: list[Definition] = field(default_factory=list)
    _known: dict[sp.Expr, sp.Symbol] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def name(self, hint: str, expression: sp.Expr, **assumptions: bool) -> sp.Expr:
        """A symbol for an expression, or a number or symbol itself."""
        if expression.is_Atom or expression.is_number:
            return expression
        if expression not in self._known:
            count = self._counts[hint] = self._counts.get(hint, 0) + 1
            symbol = sp.Symbol(f"{self.prefix}{hint}{count}", **(assumptions or {"real": True}))
            self._known[expression] = symbol
            self.definitions.append(Definition(symbol, expression))
        return self._known[expression]


@dataclass(frozen=True)
class Axis:
    """A form, ``r``, ``y`` or ``r − y``, as ``mean + along u + across w``."""

    mean: sp.Expr
    along: sp.Expr
    across: sp.Expr


class NotPlanar(Exception):
    """A function that is not piecewise polynomial with curves of degree two at most."""


@dataclass(eq=False)
class Regions:
    """Means along the lines ``(r, y) = centre + direction u``, ``u`` standard normal, of one limit.

    Parameters
    ----------
    score, label, gap : Axis
        ``r``, ``y`` and ``r − y``, which is given on its own: near a teacher the difference would cancel.
    across : sympy.Symbol
        ``w``, which says which line it is.
    area : sympy.Expr
        Determinant of the axes' slopes, which would cancel where score and label follow from each other.
    """

    score: Axis
    label: Axis
    gap: Axis
    across: sp.Symbol
    area: sp.Expr
    of_class: Names = field(default_factory=lambda: Names("plane_"))
    of_line: Names = field(default_factory=lambda: Names("line_"))
    _known: dict[tuple[Hashable, ...], Any] = field(default_factory=dict)

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """What is computed on each line."""
        return tuple(self.of_line.definitions)

    @property
    def every_curve(self) -> tuple[sp.Expr, ...]:
        """The polynomials whose zeros bound regions."""
        found = (curve for key, curves in self._known.items() if key[0] == "curves" for curve in curves)
        return tuple(dict.fromkeys(curve.polynomial for curve in found))

    def _once(self, key: tuple[Hashable, ...], make: Callable[[], T]) -> T:
        """A value that is asked for again and again."""
        if key not in self._known:
            self._known[key] = make()
        found: T = self._known[key]
        return found

    # -- polynomials along a line

    def centre(self, axis: Axis) -> sp.Expr:
        """Where the middle of a line is."""
        return self.of_line.name("centre", axis.mean + axis.across * self.across)

    def coefficients(self, polynomial: sp.Expr) -> Coefficients:
        """Of a polynomial in ``r, y`` as one in ``u``."""
        return self._once(("value", polynomial), lambda: self._coefficients(sp.factor(sp.expand(polynomial))))

    def _coefficients(self, polynomial: sp.Expr) -> Coefficients:
        if not polynomial.has(r, y):
            return (polynomial,)
        content, factors = sp.factor_list(polynomial, r, y)
        common = math.gcd(*(power for _, power in factors))
        if common > 1:
            base = self._coefficients(sp.Mul(*(e ** (power // common) for e, power in factors)))
            result = base
            for _ in range(common - 1):
                result = self._product(result, base)
        elif len(factors) > 1:
            result = (sp.S.One,)
            for e, power in factors:
                result = self._product(result, self._coefficients(e**power))
        else:
            result = self._irreducible(factors[0][0])
        return tuple(content * e for e in result)

    def _product(self, first: Coefficients, second: Coefficients) -> Coefficients:
        result = [sp.S.Zero] * (len(first) + len(second) - 1)
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                result[i + j] += a * b
        return tuple(self.of_line.name("c", e) for e in result)

    def _irreducible(self, polynomial: sp.Expr) -> Coefficients:
        split = around_diagonal(polynomial)
        if split is not None:
            rest, quotient = split
            found = self._product((self.centre(self.gap), self.gap.along), self._coefficients(quotient))
            return (self.of_line.name("c", found[0] + rest), *found[1:])
        place = {r: self.centre(self.score), y: self.centre(self.label)}
        result, derivative, k = [], polynomial, 0
        while derivative != 0:
            result.append(self.of_line.name("c", derivative.xreplace(place) / sp.factorial(k)))
            derivative = sp.expand(self.score.along * derivative.diff(r) + self.label.along * derivative.diff(y))
            k += 1
        return tuple(result)

    # -- curves and their places

    def plane_coefficients(self, curve: Curve) -> dict[tuple[int, int], sp.Expr]:
        """Of ``u^i w^j``, for the class."""
        return self._once(
            ("plane", curve),
            lambda: {
                power: self.of_class.name("p", e)
                for power, e in self._in_plane(curve.polynomial, self._forms()).items()
            },
        )

    def _forms(self) -> dict[str, dict[tuple[int, int], sp.Expr]]:
        axes = {"r": self.score, "y": self.label, "gap": self.gap}
        return {name: {(0, 0): a.mean, (1, 0): a.along, (0, 1): a.across} for name, a in axes.items()}

    def _in_plane(
        self, polynomial: sp.Expr, forms: Mapping[str, Mapping[tuple[int, int], sp.Expr]]
    ) -> dict[tuple[int, int], sp.Expr]:
        split = around_diagonal(polynomial)
        if split is not None:
            rest, quotient = split
            found = _plane_product(forms["gap"], self._in_plane(quotient, forms))
            found[0, 0] = found.get((0, 0), sp.S.Zero) + rest
            return found
        total: dict[tuple[int, int], sp.Expr] = {}
        for (i, j), c in sp.Poly(polynomial, r, y).terms():
            term: Mapping[tuple[int, int], sp.Expr] = {(0, 0): c}
            for name in ["r"] * i + ["y"] * j:
                term = _plane_product(term, forms[name])
            for power, e in term.items():
                total[power] = total.get(power, sp.S.Zero) + e
        return total

    def along(self, curve: Curve) -> Coefficients:
        """A curve's polynomial in ``u``, on a line."""
        return self._once(("along", curve), lambda: self._along(curve))

    def _along(self, curve: Curve) -> Coefficients:
        p, w = self.plane_coefficients(curve), self.across
        if curve.degree == 1:
            return self.of_line.name("h", p[0, 0] + p[0, 1] * w), p[1, 0]
        zero = sp.S.Zero
        constant = p.get((0, 0), zero) + w * (p.get((0, 1), zero) + w * p.get((0, 2), zero))
        linear = p.get((1, 0), zero) + w * p.get((1, 1), zero)
        return self.of_line.name("h", constant), self.of_line.name("h", linear), p.get((2, 0), zero)

    def crossings(self, curve: Curve) -> tuple[Crossing, ...]:
        """Where a curve crosses a line, in no order; what does not exist is far out."""
        return self._once(("crossings", curve), lambda: tuple(self._find(curve)))

    def _find(self, curve: Curve) -> Iterator[Crossing]:
        h, name = self.along(curve), self.of_line.name
        leading = self.of_class.name("slope", _apart_from_zero(h[-1]))
        if curve.degree == 1:
            yield Crossing(curve, name("cross", _within(-h[0] / leading)), leading)
            return
        square = name("square", h[1] ** 2 - 4 * h[0] * h[2])
        exists, root = Side(square), name("root", sp.sqrt(sp.Max(square, TINY)), positive=True)
        side = name("side", Side(h[1]))
        half = name("half", -(h[1] + side * root) / 2)
        for at, slope in ((half / leading, -side * root), (h[0] / _apart_from_zero(half), side * root)):
            yield Crossing(curve, name("cross", Branch(exists, _within(at), sp.Integer(FAR))), slope)

    def places(self, curves: tuple[Curve, ...]) -> tuple[Place, ...]:
        """Where curves cross a line, in order."""
        return self._once(("places", curves), lambda: self._sorted(curves)[0])

    def _sorted(self, curves: tuple[Curve, ...]) -> tuple[tuple[Place, ...], tuple[Exchange, ...]]:
        return self._once(("sorted", curves), lambda: self._sort(curves))

    def _sort(self, curves: tuple[Curve, ...]) -> tuple[tuple[Place, ...], tuple[Exchange, ...]]:
        name = self.of_line.name
        at = [crossing.at for curve in curves for crossing in self.crossings(curve)]
        exchanges = []
        for low, high in sorting_network(len(at)):
            turned = name("turned", Side(at[low] - at[high]))
            exchanges.append(Exchange(low, high, turned))
            first, second = Branch(turned, at[high], at[low]), Branch(turned, at[low], at[high])
            at[low], at[high] = name("low", first), name("high", second)
        places = []
        for e in at:
            gap = name("gap", sp.Abs(e), nonnegative=True)
            places.append(Place(e, gap, name("away", Side(e)), name("density", normal_density(gap))))
        return tuple(places), tuple(exchanges)

    def _rates(self, curves: tuple[Curve, ...], by: tuple[sp.Expr, sp.Expr]) -> tuple[sp.Expr, ...]:
        """How fast the places move against a change of ``(r, y)``, times the density there; in their order."""
        return self._once(("rates", curves, by), lambda: self._find_rates(curves, by))

    def _find_rates(self, curves: tuple[Curve, ...], by: tuple[sp.Expr, sp.Expr]) -> tuple[sp.Expr, ...]:
        name, rates = self.of_line.name, []
        for curve in curves:
            motion = sp.expand(by[0] * curve.polynomial.diff(r) + by[1] * curve.polynomial.diff(y))
            for crossing in self.crossings(curve):
                rates.append(name("rate", _horner(self.coefficients(motion), crossing.at) / crossing.slope))
        places, exchanges = self._sorted(curves)
        for e in exchanges:
            low, high = rates[e.low], rates[e.high]
            rates[e.low] = name("rate", Branch(e.turned, high, low))
            rates[e.high] = name("rate", Branch(e.turned, low, high))
        return tuple(name("rate", rate * place.density) for rate, place in zip(rates, places, strict=True))

    def _middle(self, curves: tuple[Curve, ...], interval: int) -> sp.Expr:
        """A point between two places, or beyond all."""
        ends = [sp.Integer(-FAR), *(place.at for place in self.places(curves)), sp.Integer(FAR)]
        return self.of_line.name("middle", (ends[interval] + ends[interval + 1]) / 2)

    # -- regions

    def curves(self, function: Switched) -> tuple[Curve, ...]:
        """All curves at which a function may change its polynomial."""
        switches = tuple(used_switches(function.expression, function.switches))

        def find() -> tuple[Curve, ...]:
            found: dict[Curve, None] = {}
            for switch in switches:
                for pattern in _patterns(switches, switch.argument):
                    found |= dict.fromkeys(factored(switch.argument.xreplace(pattern))[1])
            if len(found) > _MOST_CURVES:
                raise NotPlanar
            return tuple(found)

        return self._once(("curves", switches), find)

    def polynomials(self, function: Switched) -> dict[sp.Expr, tuple[dict[sp.Symbol, sp.Expr], ...]]:
        """Each of a function's polynomials, and the patterns of its switches where it holds."""
        return self._once(("polynomials", function), lambda: self._polynomials(function))

    def _polynomials(self, function: Switched) -> dict[sp.Expr, tuple[dict[sp.Symbol, sp.Expr], ...]]:
        switches = used_switches(function.expression, function.switches)
        if len(switches) > _MOST_SWITCHES:
            raise NotPlanar
        found: dict[sp.Expr, list[dict[sp.Symbol, sp.Expr]]] = {}
        for signs in product((sp.S.One, sp.S.NegativeOne), repeat=len(switches)):
            pattern = dict(zip((w.symbol for w in switches), signs, strict=True))
            piece = sp.expand(function.expression.xreplace(pattern).doit())
            if not piece.is_polynomial(r, y):
                raise NotPlanar
            found.setdefault(piece, []).append(pattern)
        return {piece: tuple(patterns) for piece, patterns in found.items()}

    def _sides(self, function: Switched, interval: int) -> dict[sp.Symbol, sp.Expr]:
        """Values of the switches between two places."""
        switches = tuple(used_switches(function.expression, function.switches))
        return self._once(("sides", switches, interval), lambda: self._find_sides(function, interval))

    def _find_sides(self, function: Switched, interval: int) -> dict[sp.Symbol, sp.Expr]:
        values: dict[sp.Symbol, sp.Expr] = {}
        name, middle = self.of_line.name, self._middle(self.curves(function), interval)

        def build(argument: sp.Expr, rest: Sequence[sp.Symbol]) -> sp.Expr:
            rest = [s for s in rest if argument.has(s)]
            if not rest:
                content, found = factored(argument)
                sides = (name("side", Side(_horner(self.along(curve), middle))) for curve in found)
                return sp.Mul(Side(content), *sides)
            first, *others = rest
            plus, minus = (build(argument.xreplace({first: sp.Integer(sign)}), others) for sign in (1, -1))
            return Branch(values[first], plus, minus)

        for switch in used_switches(function.expression, function.switches):
            values[switch.symbol] = name("switch", build(switch.argument, list(values)))
        return values

    def _inside(self, function: Switched, patterns: Patterns, interval: int) -> sp.Expr:
        """1 where an interval is in the region of some patterns, else 0."""
        sides = list(self._sides(function, interval).values())
        chosen = [tuple(p.values()) for p in patterns]

        def build(prefix: tuple[sp.Expr, ...]) -> sp.Expr:
            if len(prefix) == len(sides):
                return sp.S.One if prefix in chosen else sp.S.Zero
            return Branch(sides[len(prefix)], build((*prefix, sp.S.One)), build((*prefix, sp.S.NegativeOne)))

        return self.of_line.name("inside", build(()))

    def _changes(self, function: Switched, patterns: Patterns) -> tuple[sp.Expr, ...]:
        """By how much the indicator of a region changes at each place."""
        key = ("changes", self.curves(function), _key(patterns))
        return self._once(key, lambda: self._find_changes(function, patterns))

    def _find_changes(self, function: Switched, patterns: Patterns) -> tuple[sp.Expr, ...]:
        count = len(self.places(self.curves(function)))
        inside = [self._inside(function, patterns, interval) for interval in range(count + 1)]
        return tuple(self.of_line.name("change", right - left) for left, right in pairwise(inside))

    def _tail(self, place: Place, order: int) -> sp.Expr:
        """``∫ u^k φ(u) du`` beyond a place, seen from the middle."""
        h, name = place.gap, self.of_line.name
        values, edge = [name("beyond", sp.erfc(h / sp.sqrt(2)) / 2), place.density], place.density
        for k in range(2, order + 1):
            edge = name("edge", h * edge)
            values.append(name("beyond", edge + (k - 1) * values[k - 2]))
        return place.away ** (order % 2) * values[order]

    # -- expectations

    def expect(self, function: Switched) -> sp.Expr:
        """``E g`` along a line."""
        total = sp.S.Zero
        for polynomial, patterns in self.polynomials(function).items():
            for k, c in enumerate(self.coefficients(polynomial)):
                if c != 0:
                    total += c * self._moment(function, patterns, k)
        return total

    def _moment(self, function: Switched, patterns: Patterns, order: int) -> sp.Expr:
        """``∫ u^k φ(u) du`` over a region's part of a line."""
        key = ("moment", self.curves(function), _key(patterns), order)
        return self._once(key, lambda: self._find_moment(function, patterns, order))

    def _find_moment(self, function: Switched, patterns: Patterns, order: int) -> sp.Expr:
        places, changes = self.places(self.curves(function)), self._changes(function, patterns)
        total = sp.S.Zero
        if order % 2 == 0:
            # whether the middle of the line is in the region: as the changes left of it say
            left = (change * (1 - place.away) / 2 for place, change in zip(places, changes, strict=True))
            central = self.of_line.name("central", sp.Add(self._inside(function, patterns, 0), *left))
            total += sp.factorial2(order - 1) * central
        for place, change in zip(places, changes, strict=True):
            total += self.of_line.name("outward", place.away * change) * self._tail(place, order)
        return self.of_line.name("moment", total)

    def masses(self, slope: Switched, by: tuple[sp.Expr, sp.Expr]) -> sp.Expr:
        """The point masses of ``(by_r ∂_r + by_y ∂_y) g`` along a line: jumps, by how fast their places move."""
        curves = self.curves(slope)
        jumps = self._once(("jumps", slope), lambda: self._jumps(slope))
        return sp.Add(*(jump * rate for jump, rate in zip(jumps, self._rates(curves, by), strict=True)))

    def _jumps(self, slope: Switched) -> tuple[sp.Expr, ...]:
        found = []
        for index, place in enumerate(self.places(self.curves(slope))):
            jump = sp.S.Zero
            for polynomial, patterns in self.polynomials(slope).items():
                if polynomial != 0:
                    value = self.of_line.name("value", _horner(self.coefficients(polynomial), place.at))
                    jump += self._changes(slope, patterns)[index] * value
            found.append(self.of_line.name("jump", jump))
        return tuple(found)

    # -- what the integral over the lines must resolve

    def features(self, function: Switched) -> Iterator[Feature]:
        """Vertices, branch points and steps."""
        curves = self.curves(function)
        cells = tuple(_key(patterns) for patterns in self.polynomials(function).values())
        for vertex in self._once(("vertices", curves, cells), lambda: vertices(self, function)):
            score, label = vertex
            place = (
                self.label.along * (score - self.score.mean) - self.score.along * (label - self.label.mean)
            ) / self.area
            yield Feature(self.across - self.of_class.name("vertex", place))
        for curve in curves:
            p = self.plane_coefficients(curve)
            zero = sp.S.Zero
            slope = p.get((1, 0), zero) + p.get((1, 1), zero) * self.across
            constant, linear, square = (p.get((0, j), zero) for j in range(3))
            # where the middle of the line is on the curve
            for at in self._zeros(constant, linear, square):
                rate = linear + 2 * square * at
                yield Feature((self.across - at) * rate, sp.Abs(slope), "erf")
            if curve.degree == 2:
                yield from self._branch_points(curve)

    def _zeros(self, constant: sp.Expr, linear: sp.Expr, square: sp.Expr) -> Iterator[sp.Expr]:
        """Zeros of ``constant + linear w + square w²``, told without cancellation; not finite where none is."""
        name = self.of_class.name
        if square == 0:
            yield name("zero", -constant / linear)
            return
        half = name("half", -(linear + Side(linear) * sp.sqrt(linear**2 - 4 * constant * square)) / 2)
        yield name("zero", half / square)
        yield name("zero", constant / half)

    def _branch_points(self, curve: Curve) -> Iterator[Feature]:
        """Where the two places of a conic on a line are one: its discriminant in ``u``, as a quadratic in ``w``."""
        p, zero, name, w = self.plane_coefficients(curve), sp.S.Zero, self.of_class.name, self.across
        p00, p10, p01, p20, p11 = (p.get(k, zero) for k in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1)))
        d0 = name("d", p10**2 - 4 * p00 * p20)
        d1 = name("d", 2 * p10 * p11 - 4 * p01 * p20)
        # p11² − 4 p02 p20, which would cancel: zero of a parabola
        whole = sp.Poly(curve.polynomial, r, y)
        rr, ry, yy = (whole.coeff_monomial(e) for e in (r**2, r * y, y**2))
        d2 = name("d", (ry**2 - 4 * rr * yy) * self.area**2)
        for at in self._zeros(d0, d1, d2):
            yield Feature(w - at, kind="branch")
        if d2 != 0:
            yield Feature(w + d1 / (2 * d2), sp.sqrt(d0 / d2 - (d1 / (2 * d2)) ** 2), "pole")


def _plane_product(
    first: Mapping[tuple[int, int], sp.Expr], second: Mapping[tuple[int, int], sp.Expr]
) -> dict[tuple[int, int], sp.Expr]:
    result: dict[tuple[int, int], sp.Expr] = {}
    for (i, j), a in first.items():
        for (k, m), b in second.items():
            result[i + k, j + m] = result.get((i + k, j + m), sp.S.Zero) + a * b
    return result


def _key(patterns: Patterns) -> Hashable:
    return tuple(tuple(p.items()) for p in patterns)


def sorting_network(count: int) -> Iterator[tuple[int, int]]:
    """Pairs to be put in order, one after the other, so that all are (Batcher's odd-even merge sort).

    Examples
    --------
    >>> values = [5, 3, 4, 1, 2]
    >>> for low, high in sorting_network(len(values)):
    ...     values[low], values[high] = sorted((values[low], values[high]))
    >>> values
    [1, 2, 3, 4, 5]
    """
    merged = 1
    while merged < count:
        step = merged
        while step >= 1:
            for start in range(step % merged, count - step, 2 * step):
                for low in range(start, min(start + step, count - step)):
                    if low // (2 * merged) == (low + step) // (2 * merged):
                        yield low, low + step
            step //= 2
        merged *= 2


def _horner(coefficients: Coefficients, at: sp.Expr) -> sp.Expr:
    value = sp.S.Zero
    for c in reversed(coefficients):
        value = value * at + c
    return value


def _within(at: sp.Expr) -> sp.Expr:
    return sp.Max(-FAR, sp.Min(FAR, at))


def _apart_from_zero(e: sp.Expr) -> sp.Expr:
    return Branch(Side(sp.Abs(e) - TINY), e, TINY)


@cache
def around_diagonal(polynomial: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
    """``(rest, q)`` with ``polynomial = rest + (r − y) q`` and a rest without ``r`` and ``y``, or None.

    Examples
    --------
    >>> around_diagonal(r**2 - y**2 + 1)
    (1, r + y)
    """
    if not (polynomial.has(r) and polynomial.has(y)):
        return None
    rest = sp.expand(polynomial.subs(r, y))
    if rest.has(y):
        return None
    return rest, sp.expand(sp.cancel((polynomial - rest) / (r - y)))


def _patterns(switches: Iterable[Switch], argument: sp.Expr) -> Iterator[dict[sp.Symbol, sp.Expr]]:
    present = [w.symbol for w in switches if argument.has(w.symbol)]
    for signs in product((sp.S.One, sp.S.NegativeOne), repeat=len(present)):
        yield dict(zip(present, signs, strict=True))


@cache
def factored(argument: sp.Expr) -> tuple[sp.Expr, tuple[Curve, ...]]:
    """A factor that does not depend on score and label, and curves, whose product has the argument's sign.

    Raises
    ------
    NotPlanar
        For what is no polynomial, or has a factor of degree three.

    Examples
    --------
    >>> factored(r * (y**2 - r**2))[1]
    (Curve(polynomial=r, degree=1), Curve(polynomial=r - y, degree=1), Curve(polynomial=r + y, degree=1))
    """
    argument = with_reach(argument)
    if not argument.is_polynomial(r, y):
        raise NotPlanar
    if argument.has(sp.Float):
        argument = sp.nsimplify(argument, rational=True)
    content, factors = sp.factor_list(argument, r, y)
    found: list[Curve] = []
    for factor, power in factors:
        if power % 2 == 0:
            continue
        sign, parts = _lines(sp.expand(factor))
        content *= sign
        found += parts
    # a curve that is met twice changes nothing
    once = [curve for curve in dict.fromkeys(found) if found.count(curve) % 2]
    return content, tuple(sorted(once, key=lambda c: sp.default_sort_key(c.polynomial)))


def _lines(factor: sp.Expr) -> tuple[sp.Expr, list[Curve]]:
    """A factor as a curve, or as two lines where it is a product of irrational ones."""
    degree = sp.Poly(factor, r, y).total_degree()
    if degree > 2:
        raise NotPlanar
    if degree == 1:
        return _curve(factor, 1)
    for first, second in ((r, y), (y, r)):
        a, b, c = (factor.coeff(first, k) for k in (2, 1, 0))
        if a == 0 or a.has(second):
            continue
        content, parts = sp.factor_list(sp.expand(b**2 - 4 * a * c))
        if all(power % 2 == 0 for _, power in parts) and content > 0 and parts:
            root = sp.sqrt(content) * sp.Mul(*(e ** (power // 2) for e, power in parts))
            found = [_curve(sp.expand(2 * a * first + b + sign * root), 1) for sign in (1, -1)]
            return a * found[0][0] * found[1][0], [curve for _, (curve,) in found]
        break
    return _curve(factor, 2)


def _curve(polynomial: sp.Expr, degree: int) -> tuple[sp.Expr, list[Curve]]:
    """One of the two signs, and the curve."""
    leading = sp.Poly(polynomial, r, y).LC()
    sign = sp.S.NegativeOne if leading.is_negative or leading.could_extract_minus_sign() else sp.S.One
    return sign, [Curve(sp.expand(sign * polynomial), degree)]


def with_reach(argument: sp.Expr) -> sp.Expr:
    """``ε n`` by its name; floors of it, which what is placed by formulas does not need, are left out."""
    plain = argument.replace(
        lambda e: isinstance(e, sp.Max) and e.has(epsilon) and len(e.args) == 2,
        lambda e: next(a for a in e.args if a.has(epsilon)),
    )
    found = sp.expand(sp.expand(plain).subs(epsilon, REACH / n))
    if found.has(n) or found.has(epsilon):
        raise NotPlanar
    return found


# -- vertices

_DRAWS = 24
_NEAR = 1e-3
_OFFSET = 1e-8


def vertices(regions: Regions, function: Switched) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """Points at which curves meet and the function's regions do too.

    Most curves end where another switch overrules theirs, so most of their meetings are of no account. Which are is
    looked at with numbers: a meeting counts if a curve turns or ends there, or another joins it, for any of two dozen
    values of the reach and the parameters spread over four decades each.
    """
    curves = regions.curves(function)
    names = sorted(
        set().union(*(c.polynomial.free_symbols for c in curves)) - {r, y} if curves else set(), key=lambda s: s.name
    )
    candidates = [point for pair in combinations(curves, 2) for point in _meetings(*pair)]
    probe = _Probe(regions, function, curves, names)
    found: list[tuple[sp.Expr, sp.Expr]] = []
    seen: set[tuple[tuple[float, float] | None, ...]] = set()
    values = [sp.lambdify(names, point, "math") for point in candidates]
    for point, value in zip(candidates, values, strict=True):
        key: list[tuple[float, float] | None] = []
        joins = False
        for draw in _draws(len(names)):
            try:
                first, second = (float(e) for e in value(*draw))
            except (ValueError, TypeError, ZeroDivisionError):
                key.append(None)
                continue
            key.append((float(f"{first:.9e}"), float(f"{second:.9e}")))
            joins = joins or probe.is_vertex((first, second), draw)
        if joins and tuple(key) not in seen:
            seen.add(tuple(key))
            found.append(point)
    return tuple(found)


def _draws(count: int) -> Iterator[tuple[float, ...]]:
    """Values over four decades, evenly spread: multiples of irrational numbers modulo 1."""
    for k in range(1, _DRAWS + 1):
        yield tuple(10 ** (4 * (k * math.sqrt(sp.prime(j + 1)) % 1) - 2) for j in range(count))


def _meetings(first: Curve, second: Curve) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    """Points that two curves have in common."""
    if first.degree == 2 and second.degree == 1:
        first, second = second, first
    if first.degree == 1:
        line, other = first.polynomial, second.polynomial
        for solved, free in ((r, y), (y, r)):
            if line.coeff(solved, 1) == 0:
                continue
            on_line = -line.coeff(solved, 0) / line.coeff(solved, 1)
            for at in _zeros(sp.expand(other.subs(solved, on_line)), free):
                there = on_line.subs(free, at)
                yield (there, at) if solved == r else (at, there)
            return
        return
    for at in _zeros(sp.expand(sp.resultant(first.polynomial, second.polynomial, r)), y):
        for there in _zeros(sp.expand(first.polynomial.subs(y, at)), r):
            yield there, at


def _zeros(polynomial: sp.Expr, variable: sp.Symbol) -> Iterator[sp.Expr]:
    if not polynomial.has(variable):
        return
    exact = not polynomial.has(sp.Pow) or all(e.exp.is_Integer for e in polynomial.atoms(sp.Pow))
    factors = [f for f, _ in sp.factor_list(polynomial, variable)[1]] if exact else [polynomial]
    for factor in factors:
        factor = sp.expand(factor)
        a, b, c = (factor.coeff(variable, k) for k in (2, 1, 0))
        degree = sp.degree(factor, variable)
        if degree == 1:
            yield -c / b
        elif degree == 2:
            inside = sp.expand(b**2 - 4 * a * c)
            if sp.simplify(inside) == 0:
                yield -b / (2 * a)
            else:
                yield from ((-b + sign * sp.sqrt(inside)) / (2 * a) for sign in (1, -1))
        else:
            raise NotPlanar


class _Probe:
    """Regions of a function as numbers."""

    def __init__(
        self, regions: Regions, function: Switched, curves: Sequence[Curve], names: Sequence[sp.Symbol]
    ) -> None:
        self.curves = curves
        at = [r, y, *names]
        self.values = [sp.lambdify(at, c.polynomial, "math") for c in curves]
        self.slopes = [sp.lambdify(at, [c.polynomial.diff(r), c.polynomial.diff(y)], "math") for c in curves]
        self.switches = used_switches(function.expression, function.switches)
        index: dict[tuple[int, ...], int] = {}
        for k, patterns in enumerate(regions.polynomials(function).values()):
            index |= {tuple(int(sign) for sign in p.values()): k for p in patterns}
        self.index = index
        self.parts = []
        for k, switch in enumerate(self.switches):
            own = {}
            for signs in product((1, -1), repeat=k):
                earlier = {w.symbol: sp.Integer(sign) for w, sign in zip(self.switches, signs, strict=False)}
                content, found = factored(switch.argument.xreplace(earlier))
                own[signs] = sp.lambdify(names, content, "math"), [curves.index(c) for c in found]
            self.parts.append(own)

    def region(self, point: tuple[float, float], draw: tuple[float, ...]) -> int:
        sides = [1 if value(*point, *draw) > 0 else -1 for value in self.values]
        signs: tuple[int, ...] = ()
        for own in self.parts:
            content, found = own[signs]
            sign = 1 if content(*draw) > 0 else -1
            signs = (*signs, sign * math.prod(sides[k] for k in found))
        found_region: int = self.index[signs]
        return found_region

    def is_vertex(self, point: tuple[float, float], draw: tuple[float, ...]) -> bool:
        """Whether regions meet at a point otherwise than on both sides of one curve."""
        if not all(map(math.isfinite, point)):
            return False
        size = max(abs(point[0]), abs(point[1]), min(draw, default=1.0), 1e-3)
        halves: list[tuple[int, ...]] = []
        for value, slopes in zip(self.values, self.slopes, strict=True):
            gradient = slopes(*point, *draw)
            steep = math.hypot(*gradient)
            if steep == 0 or abs(value(*point, *draw)) > 1e-9 * size * steep:
                continue
            active = []
            for sign in (1, -1):
                at = [
                    point[0] - sign * _NEAR * size * gradient[1] / steep,
                    point[1] + sign * _NEAR * size * gradient[0] / steep,
                ]
                for _ in range(3):  # back to the curve
                    g = slopes(*at, *draw)
                    off = value(*at, *draw) / (g[0] ** 2 + g[1] ** 2)
                    at = [at[0] - off * g[0], at[1] - off * g[1]]
                g = slopes(*at, *draw)
                step = _OFFSET * size / math.hypot(*g)
                beside = [(at[0] + s * step * g[0], at[1] + s * step * g[1]) for s in (1, -1)]
                active.append(len({self.region(p, draw) for p in beside}) > 1)
            if any(active):
                halves.append(tuple(active))
        return bool(halves) and halves != [(True, True)]


def reach() -> Definition:
    """``ε n``."""
    return Definition(REACH, epsilon * n)
