"""Gaussian expectations of piecewise smooth functions of one linear form (``docs/theory.md`` §2).

A score (or residual) ``w`` is Gaussian given the class, ``w = mean + s z``; a label that is random given the score
contributes one weighted branch for each of its values. What has a closed form that is accurate in the tails gets
it; the
rest becomes an integrand of a :class:`Quadrature`, with the breakpoints and layers that a rule must resolve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product

import sympy as sp

from sgdlimit.derive.convert import Switch, Switched, reduce_squares
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.functions import (
    Branch,
    Hazard,
    HazardExcess,
    LogCosh,
    LogNormalCdf,
    NormalCdf,
    Notated,
    Sigmoid,
    Softplus,
    TailMoment,
    Tanh,
    normal_density,
)
from sgdlimit.derive.symbols import z


class Side(Notated):
    """+1 where its argument is positive, −1 elsewhere: the value of a switch."""

    nargs = 1
    notation = r"\operatorname{sign}#^\left(#1\right)"
    is_real = True

    @classmethod
    def eval(cls, argument: sp.Expr) -> sp.Expr | None:
        if argument.is_positive:
            return sp.S.One
        if argument.is_nonpositive:
            return sp.S.NegativeOne
        return None

    @property
    def positive_where(self) -> sp.Expr:
        """What it is the side of."""
        return self.args[0]


@dataclass(frozen=True)
class Definition:
    """``symbol := expression``."""

    symbol: sp.Symbol
    expression: sp.Expr


@dataclass(frozen=True)
class Layer:
    """A place where an integrand varies faster than the Gaussian does.

    Parameters
    ----------
    location, width : sympy.Expr
        In units of the integration variable ``z``.
    kind : str
        ``pole``: singularities at ``location ± i width``, panels are graded towards them. ``erf``: entire, a step of
        that width, flat beyond nine widths.
    """

    location: sp.Expr
    width: sp.Expr
    kind: str


@dataclass(frozen=True)
class Integrand:
    """``symbol = ∫ φ(z) expression dz``, and the layers that a rule for it must resolve."""

    symbol: sp.Symbol
    expression: sp.Expr
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Quadrature:
    """Integrals ``∫ φ(z) g(z) dz`` that share their nodes.

    Parameters
    ----------
    definitions : tuple of Definition
        What every node evaluates first, in this order: the score, its switches, the weights of its labels.
    breakpoints : tuple of sympy.Expr
        Kinks and jumps of the integrands, as values of ``z``.
    integrands : tuple of Integrand
        Name, integrand and layers of each integral.
    """

    definitions: tuple[Definition, ...]
    breakpoints: tuple[sp.Expr, ...]
    integrands: tuple[Integrand, ...]
    variable: sp.Symbol = z


@dataclass(frozen=True)
class LabelBranch:
    """One value of the label: its probability given ``z`` (1 if certain) and the loss's label (None: the loss
    keeps its ``y``)."""

    weight: sp.Symbol | sp.Integer
    label: sp.Expr | None


@dataclass(frozen=True)
class ScoreLaw:
    """``w = mean + s z`` given the class, with the label given ``z``.

    Parameters
    ----------
    variable : sympy.Symbol
        ``w``: the score ``r``, or the residual ``u = r − y``.
    mean, deviation : sympy.Expr
        Of ``w``.
    branches : tuple of LabelBranch
        Values of the label.
    weights : tuple of Definition
        Their probabilities given ``z``.
    layers : tuple of Layer
        Of those probabilities.
    """

    variable: sp.Symbol
    mean: sp.Expr
    deviation: sp.Symbol
    branches: tuple[LabelBranch, ...] = (LabelBranch(sp.S.One, None),)
    weights: tuple[Definition, ...] = ()
    layers: tuple[Layer, ...] = ()

    def density_at(self, point: sp.Expr) -> sp.Expr:
        """Density of ``w`` at a point."""
        return normal_density((point - self.mean) / self.deviation) / self.deviation

    def z_of(self, point: sp.Expr) -> sp.Expr:
        """The ``z`` at which ``w`` is at a point."""
        return (point - self.mean) / self.deviation


@dataclass
class Kinks:
    """Distances of kinks from the mean, each defined once for all coefficients."""

    _seen: dict[tuple[sp.Expr, ...], tuple[Definition, Definition]] = field(default_factory=dict)

    def seen_from(self, law: ScoreLaw, point: sp.Expr) -> tuple[sp.Symbol, sp.Symbol]:
        """``|point − mean|/s`` and the side on which the kink lies (+1: right of the mean)."""
        key = (law.mean, law.deviation, point)
        if key not in self._seen:
            number = len(self._seen) + 1
            gap, away = sp.Symbol(f"gap{number}", nonnegative=True), sp.Symbol(f"away{number}", real=True)
            self._seen[key] = (
                Definition(gap, sp.Abs(point - law.mean) / law.deviation),
                Definition(away, Side(point - law.mean)),
            )
        first, second = self._seen[key]
        return first.symbol, second.symbol

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """All of them."""
        return tuple(d for pair in self._seen.values() for d in pair)


@dataclass
class Expectations:
    """Collects the integrals of one limit, so that those with common nodes become one loop.

    ``expect`` and ``expect_second_derivative`` return an expression in which an integral is a symbol;
    ``quadratures`` tells what those symbols are. ``rules`` records which rule gave what.
    """

    rules: dict[str, str] = field(default_factory=dict)
    kinks: Kinks = field(default_factory=Kinks)
    _groups: dict[tuple[ScoreLaw, tuple[Definition, ...]], list[Definition]] = field(default_factory=dict)
    _switches: dict[tuple[Definition, ...], tuple[Switch, ...]] = field(default_factory=dict)

    def expect(self, name: str, functions: tuple[Switched, ...], law: ScoreLaw) -> sp.Expr:
        """``E g(w)``; one function for each branch of the label."""
        if len(functions) == 1:
            closed = closed_form(functions[0], law, self.kinks)
            if closed is not None:
                rule, value = closed
                self.rules[name] = rule
                return value
        return self._integral(name, functions, law)

    def expect_second_derivative(self, name: str, slopes: tuple[Switched, ...], law: ScoreLaw) -> sp.Expr:
        """``E g'(w)`` for a slope ``g`` that may jump: a jump is a point mass of its derivative."""
        smooth = self.expect(name, tuple(g.derive(law.variable) for g in slopes), law)
        masses = sp.S.Zero
        for branch, slope in zip(law.branches, slopes, strict=True):
            for jump, point in jumps(slope, law.variable):
                weight = branch.weight
                for definition in law.weights:
                    weight = weight.subs(definition.symbol, definition.expression.subs(z, law.z_of(point)))
                masses += jump * weight * law.density_at(point)
        if masses != 0:
            self.rules[name] += "; a point mass at each jump of ∂_r f_adv"
        return smooth + masses

    def quadratures(self) -> tuple[Quadrature, ...]:
        """The integrals met so far, grouped by common nodes."""
        result = []
        for (law, definitions), integrands in self._groups.items():
            switches = self._switches[definitions]
            points: list[sp.Expr] = []
            for switch in switches:
                for _, root, _ in roots(switch, switches, law.variable):
                    point = law.z_of(root)
                    if point not in points:
                        points.append(point)
            resolved = tuple(
                Integrand(e.symbol, e.expression, find_layers(e.expression, switches, law)) for e in integrands
            )
            result.append(Quadrature(definitions, tuple(points), resolved))
        return tuple(result)

    def _integral(self, name: str, functions: tuple[Switched, ...], law: ScoreLaw) -> sp.Expr:
        switches: list[Switch] = []
        integrand = sp.S.Zero
        for k, (branch, function) in enumerate(zip(law.branches, functions, strict=True)):
            # switches of different labels are different: give each branch its own names
            rename = {
                w.symbol: sp.Symbol(f"{w.symbol.name}{'pm'[k] if len(law.branches) > 1 else ''}", real=True)
                for w in function.switches
            }
            renamed = function.xreplace(rename)
            switches += renamed.switches
            integrand += branch.weight * renamed.expression
        if integrand == 0:
            self.rules[name] = "identically zero"
            return sp.S.Zero
        used = _used(integrand, switches)
        definitions = (
            Definition(law.variable, law.mean + law.deviation * z),
            *(Definition(w.symbol, Side(w.argument)) for w in switches if w in used),
            *law.weights,
        )
        symbol = sp.Symbol(f"J_{name}", real=True)
        self._groups.setdefault((law, definitions), []).append(Definition(symbol, integrand))
        self._switches[definitions] = tuple(w for w in switches if w in used)
        self.rules[name] = "one-dimensional quadrature (composite Gauss–Legendre on graded panels)"
        return symbol


def _used(expression: sp.Expr, switches: list[Switch]) -> list[Switch]:
    """The switches that an expression needs, those behind their arguments included."""
    needed = set(expression.free_symbols)
    for switch in reversed(switches):
        if switch.symbol in needed:
            needed |= switch.argument.free_symbols
    return [w for w in switches if w.symbol in needed]


def patterns(switches: tuple[Switch, ...], expression: sp.Expr) -> Iterator[dict[sp.Symbol, int]]:
    """Every assignment of ±1 to the switches that an expression contains."""
    present = [w.symbol for w in switches if expression.has(w.symbol)]
    for signs in product((1, -1), repeat=len(present)):
        yield dict(zip(present, signs, strict=True))


def roots(
    switch: Switch, switches: tuple[Switch, ...], variable: sp.Symbol
) -> Iterator[tuple[dict[sp.Symbol, int], sp.Expr, sp.Expr]]:
    """Where a switch changes its value: ``(pattern of the switches in its argument, root, slope of the argument)``.

    Raises
    ------
    DerivationError
        Where the argument is not linear in the variable.
    """
    if not switch.argument.has(variable):
        return
    for pattern in patterns(switches, switch.argument):
        argument = sp.expand(switch.argument.subs(pattern))
        if not argument.has(variable):
            continue
        if not (argument.is_polynomial(variable) and sp.degree(argument, variable) == 1):
            raise DerivationError(
                "loss",
                f"its kink where {argument} = 0 is not linear in {variable}",
                "kinks at linear conditions can be located",
            )
        slope = argument.coeff(variable, 1)
        yield pattern, sp.expand(-argument.coeff(variable, 0) / slope), slope


def jumps(function: Switched, variable: sp.Symbol) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    """Jumps of a piecewise smooth function: ``(value right of it − value left of it, place)``.

    A place found under a pattern of other switches counts only where that pattern holds: the jump carries the
    indicator.
    """
    used = _used(function.expression, list(function.switches))
    for index, switch in enumerate(function.switches):
        if switch not in used:
            continue
        for pattern, point, slope in roots(switch, function.switches, variable):
            indicator = sp.S.One
            values = dict(pattern)
            for other in function.switches[:index]:
                at_point = Side(sp.expand(other.argument.subs(variable, point).subs(values)))
                if other.symbol in pattern:
                    # strictly: where two kinks meet, neither pattern of the first holds at the second
                    argument = sp.expand(pattern[other.symbol] * other.argument.subs(variable, point).subs(values))
                    indicator *= Branch(Side(argument), sp.S.One, sp.S.Zero)
                else:
                    values[other.symbol] = at_point
            sides = []
            for sign in (1, -1):
                assigned = {**values, switch.symbol: sp.Integer(sign)}
                for later in function.switches[index + 1 :]:
                    assigned[later.symbol] = Side(sp.expand(later.argument.subs(variable, point).subs(assigned)))
                sides.append(function.expression.subs(variable, point).subs(assigned))
            jump = _difference(*sides)
            if jump != 0 and indicator != 0:
                yield sp.sign(slope) * indicator * jump, point


def _difference(right: sp.Expr, left: sp.Expr) -> sp.Expr:
    """Right minus left, branch by branch where both hang on the same switch."""
    if isinstance(right, Branch) and isinstance(left, Branch) and right.args[0] == left.args[0]:
        return Branch(right.args[0], _difference(right.args[1], left.args[1]), _difference(right.args[2], left.args[2]))
    return sp.expand(right - left)


# --- closed forms ---------------------------------------------------------------------------------------------------


def closed_form(function: Switched, law: ScoreLaw, kinks: Kinks) -> tuple[str, sp.Expr] | None:
    """Rule and value of ``E g(w)`` where one applies; the rules are tried in order."""
    for name, rule in _RULES.items():
        value = rule(function, law, kinks)
        if value is not None:
            return name, value
    return None


def polynomial_moments(function: Switched, law: ScoreLaw, kinks: Kinks) -> sp.Expr | None:
    """Polynomials."""
    w, expression = law.variable, function.expression
    if _used(expression, list(function.switches)) or not expression.is_polynomial(w):
        return None
    return sp.expand_mul(sum(c * moment(k, law.mean, law.deviation) for (k,), c in sp.Poly(expression, w).terms()))


def absolute_moments(function: Switched, law: ScoreLaw, kinks: Kinks) -> sp.Expr | None:
    """Polynomials in ``v`` and ``|v|``, ``v = w − b`` the distance to one kink, of one parity.

    Even powers stand alone and odd powers with the sign (or the reverse), so every term has the sign of the whole.
    Sums of both parities would cancel in a tail.
    """
    w, expression = law.variable, function.expression
    used = _used(expression, list(function.switches))
    if len(used) != 1 or not used[0].argument.has(w):
        return None
    (_, point, slope), *more = list(roots(used[0], (), w))
    if more or slope not in (1, -1):
        return None
    sigma = used[0].symbol
    distance = sp.Dummy("distance", real=True)
    right, left = (expression.subs(sigma, sign * slope).subs(w, distance + point) for sign in (1, -1))
    if not (right.is_polynomial(distance) and left.is_polynomial(distance)):
        return None
    even, odd = (sp.Poly(sp.expand((right + sign * left) / 2), distance) for sign in (1, -1))
    parities = {(k + is_odd) % 2 for is_odd, part in ((0, even), (1, odd)) for (k,), c in part.terms() if c != 0}
    if len(parities) > 1:
        return None
    centred = law.mean - point
    value = sum(c * moment(k, centred, law.deviation) for (k,), c in even.terms())
    value += sum(c * signed_moment(k, centred, law.deviation) for (k,), c in odd.terms())
    return reduce_squares(sp.expand(value), ())


def piecewise_moments(function: Switched, law: ScoreLaw, kinks: Kinks) -> sp.Expr | None:
    """Polynomials times exponentials of ``w``, piece by piece, with any number of kinks.

    The piece that holds the mean is integrated over the whole line; beyond each kink, seen from the mean, the
    difference to the next piece is added. That tail is a sum of :class:`TailMoment` with the difference's Taylor
    coefficients at the kink: nothing cancels that is not small itself, wherever the mean is. An exponential shifts the
    mean: ``E e^{aw} g(w) = e^{a mean + a² s²/2} E g(w + a s²)``.
    """
    w = law.variable
    switches = tuple(_used(function.expression, list(function.switches)))
    pieces = Pieces.of(function.expression, switches, w)
    if pieces is None:
        return None
    s, total = law.deviation, sp.S.Zero
    for rate in pieces.rates:
        shifted = ScoreLaw(w, law.mean + rate * s**2, s)
        found = [
            Kink(switch, pattern, point, slope, *kinks.seen_from(shifted, point))
            for switch in switches
            for pattern, point, slope in roots(switch, switches, w)
        ]
        value = pieces.whole(rate, shifted.mean, s, found)
        for kink in found:
            tail = partial(_tail, point=kink.point, s=s, gap=kink.gap, away=kink.away)
            value += sp.sign(kink.slope) * pieces.beyond(rate, kink, tail)
        total += sp.exp(rate * law.mean + rate**2 * s**2 / 2) * value if rate != 0 else value
    return total


@dataclass(frozen=True)
class Kink:
    """A root of a switch's argument under a pattern of the switches in it, as seen from the mean."""

    switch: Switch
    pattern: Mapping[sp.Symbol, int]
    point: sp.Expr
    slope: sp.Expr
    gap: sp.Symbol
    away: sp.Symbol


def _tail(jump: sp.Poly, point: sp.Expr, s: sp.Symbol, gap: sp.Symbol, away: sp.Symbol) -> sp.Expr:
    """``away · E[jump(w) 1(w beyond the kink)]`` by the jump's Taylor coefficients at the kink."""
    result, derivative, k = sp.S.Zero, jump, 0
    while derivative != 0:
        coefficient = sp.expand(derivative.as_expr().subs(jump.gen, point)) / sp.factorial(k)
        result += coefficient * s**k * away ** ((k + 1) % 2) * TailMoment(k, gap)
        derivative, k = derivative.diff(jump.gen), k + 1
    return result


@dataclass(frozen=True)
class Pieces:
    """A piecewise function as polynomials times exponentials, one for each pattern of its switches.

    Parameters
    ----------
    switches : tuple of Switch
    pieces : mapping of pattern to mapping of rate to sympy.Expr
        ``Σ_a polynomial_a(w) e^{a w}``, the polynomials as they were written: expanded ones cancel near their roots.
    """

    switches: tuple[Switch, ...]
    pieces: Mapping[tuple[int, ...], Mapping[sp.Expr, sp.Expr]]
    variable: sp.Symbol

    @classmethod
    def of(cls, expression: sp.Expr, switches: tuple[Switch, ...], w: sp.Symbol) -> Pieces | None:
        """Split an expression; None where a piece is something else, or a kink is not at a linear condition."""
        pieces = {}
        for pattern in product((1, -1), repeat=len(switches)):
            values = {s.symbol: sp.Integer(sign) for s, sign in zip(switches, pattern, strict=True)}
            split = _exponential_polynomial(expression.subs(values), w)
            if split is None:
                return None
            pieces[pattern] = split
            for switch in switches:
                argument = sp.expand(switch.argument.subs(values))
                if argument.has(w) and not (argument.is_polynomial(w) and sp.degree(argument, w) == 1):
                    return None
        return cls(switches, pieces, w)

    @property
    def rates(self) -> tuple[sp.Expr, ...]:
        """Rates of the exponentials of any piece."""
        return tuple(sorted({a for split in self.pieces.values() for a in split}, key=sp.default_sort_key))

    def whole(self, rate: sp.Expr, mean: sp.Expr, s: sp.Symbol, kinks: list[Kink]) -> sp.Expr:
        """The integral of the piece that holds the mean: its even derivatives there, times the even moments.

        On which side of a kink the mean is, is asked of the same number that the tails ask: were it computed twice,
        rounding could make the two disagree.
        """
        w = self.variable

        def integral(pattern: tuple[int, ...]) -> sp.Expr:
            derivative, result, k = self.pieces[pattern].get(rate, sp.S.Zero), sp.S.Zero, 0
            while derivative != 0 and sp.expand(derivative) != 0:
                result += derivative.subs(w, mean) * s**k * sp.factorial2(k - 1) / sp.factorial(k)
                derivative, k = derivative.diff(w, 2), k + 2
            return result

        def build(signs: tuple[int, ...]) -> sp.Expr:
            if len(signs) == len(self.switches):
                return integral(signs)
            switch = self.switches[len(signs)]
            earlier = {e.symbol: sign for e, sign in zip(self.switches, signs, strict=False)}
            for kink in kinks:
                if kink.switch == switch and all(earlier[symbol] == sign for symbol, sign in kink.pattern.items()):
                    side = -kink.away * sp.sign(kink.slope)
                    break
            else:
                side = Side(sp.expand(switch.argument.subs(earlier)))
            return Branch(side, build((*signs, 1)), build((*signs, -1)))

        return build(())

    def beyond(self, rate: sp.Expr, kink: Kink, tail: Callable[[sp.Poly], sp.Expr]) -> sp.Expr:
        """The tail of the jump at a kink, if the pattern under which the kink was found holds there."""
        switch, pattern, point = kink.switch, kink.pattern, kink.point
        index = self.switches.index(switch)
        sides = [self._sides(point, {**pattern, switch.symbol: sp.Integer(side)}) for side in (1, -1)]

        def build(right: tuple[int, ...], left: tuple[int, ...]) -> sp.Expr:
            k = len(right)
            if k == len(self.switches):
                pieces = (self.pieces[signs].get(rate, sp.S.Zero) for signs in (right, left))
                return tail(sp.Poly(next(pieces) - next(pieces), self.variable))
            symbol = self.switches[k].symbol
            if k == index:
                return build((*right, 1), (*left, -1))
            at_right, at_left = (values[symbol] for values in sides)
            if at_right == at_left:
                return Branch(at_right, build((*right, 1), (*left, 1)), build((*right, -1), (*left, -1)))
            # a switch that the crossing itself throws
            return Branch(
                at_right,
                Branch(at_left, build((*right, 1), (*left, 1)), build((*right, 1), (*left, -1))),
                Branch(at_left, build((*right, -1), (*left, 1)), build((*right, -1), (*left, -1))),
            )

        indicator = sp.S.One
        for other in self.switches:
            if other.symbol in pattern:
                argument = other.argument.subs(self.variable, point).subs(pattern)
                indicator *= Branch(Side(sp.expand(pattern[other.symbol] * argument)), sp.S.One, sp.S.Zero)
        return indicator * build((), ())

    def _sides(self, point: sp.Expr, known: Mapping[sp.Symbol, sp.Expr | int]) -> dict[sp.Symbol, sp.Expr]:
        """Values of the switches at a point."""
        values: dict[sp.Symbol, sp.Expr] = {symbol: sp.Integer(sign) for symbol, sign in known.items()}
        for switch in self.switches:
            if switch.symbol not in values:
                values[switch.symbol] = Side(sp.expand(switch.argument.subs(self.variable, point).subs(values)))
        return values


def _exponential_polynomial(expression: sp.Expr, w: sp.Symbol) -> dict[sp.Expr, sp.Expr] | None:
    """``Σ_a polynomial_a(w) e^{a w}``, or None. A polynomial stays as it was written."""
    if expression.is_polynomial(w):
        return {sp.S.Zero: expression} if sp.expand(expression) != 0 else {}
    collected: dict[sp.Expr, sp.Expr] = {}
    for term in sp.Add.make_args(sp.expand(expression)):
        rate, rest = sp.S.Zero, term
        for factor in sp.Mul.make_args(term):
            if isinstance(factor, sp.exp) and factor.has(w):
                exponent = sp.expand(factor.args[0])
                if not (exponent.is_polynomial(w) and sp.degree(exponent, w) == 1):
                    return None
                rate += exponent.coeff(w, 1)
                rest = rest / factor * sp.exp(exponent.coeff(w, 0))
        if not rest.is_polynomial(w):
            return None
        collected[rate] = collected.get(rate, sp.S.Zero) + rest
    return {rate: e for rate, e in collected.items() if e != 0}


_RULES: dict[str, Callable[[Switched, ScoreLaw, Kinks], sp.Expr | None]] = {
    "polynomial moments": polynomial_moments,
    "absolute moments (error function)": absolute_moments,
    "piecewise moments (tail moments beyond each kink)": piecewise_moments,
}


def moment(order: int, mean: sp.Expr, deviation: sp.Expr) -> sp.Expr:
    """``E v^k``, ``v ~ N(mean, deviation²)``: ``M_k = mean M_{k−1} + (k−1) deviation² M_{k−2}``.

    Examples
    --------
    >>> from sgdlimit.derive.symbols import mean, s
    >>> moment(2, mean, s)
    mean**2 + s**2
    """
    values = [sp.S.One, mean]
    for k in range(2, order + 1):
        values.append(sp.expand(mean * values[k - 1] + (k - 1) * deviation**2 * values[k - 2]))
    return values[order]


def signed_moment(order: int, mean: sp.Expr, deviation: sp.Expr) -> sp.Expr:
    """``E sign(v) v^k``: the same recursion from ``erf``; every term has the sign of the whole.

    Examples
    --------
    >>> from sgdlimit.derive.symbols import mean, s
    >>> signed_moment(1, mean, s)
    mean*erf(sqrt(2)*mean/(2*s)) + sqrt(2)*s*exp(-mean**2/(2*s**2))/sqrt(pi)
    """
    sign = sp.erf(mean / (deviation * sp.sqrt(2)))
    values = [sign, mean * sign + sp.sqrt(2 / sp.pi) * deviation * sp.exp(-(mean**2) / (2 * deviation**2))]
    for k in range(2, order + 1):
        values.append(sp.expand(mean * values[k - 1] + (k - 1) * deviation**2 * values[k - 2]))
    return values[order]


# --- layers ---------------------------------------------------------------------------------------------------------

# Where a function of x has its nearest singularities, ``place ± i width``; None: entire, with a step of width 1 at 0.
# log Φ is singular where Φ is zero: first at 1.9160 ± 2.8164 i.
_SINGULARITIES: dict[type, tuple[sp.Expr, sp.Expr] | None] = {
    Softplus: (sp.S.Zero, sp.pi),
    Sigmoid: (sp.S.Zero, sp.pi),
    Tanh: (sp.S.Zero, sp.pi / 2),
    LogCosh: (sp.S.Zero, sp.pi / 2),
    LogNormalCdf: (sp.Rational(19160, 10000), sp.Rational(28164, 10000)),
    Hazard: (sp.Rational(19160, 10000), sp.Rational(28164, 10000)),
    HazardExcess: (sp.Rational(19160, 10000), sp.Rational(28164, 10000)),
    NormalCdf: None,
    sp.erf: None,
    sp.erfc: None,
}


def find_layers(integrand: sp.Expr, switches: tuple[Switch, ...], law: ScoreLaw) -> tuple[Layer, ...]:
    """Layers of an integrand in ``z``, one for each pattern of the switches behind it.

    Raises
    ------
    DerivationError
        For a function whose strip of analyticity is not known.
    """
    w = law.variable
    layers: dict[Layer, None] = dict.fromkeys(law.layers)
    for atom in sorted(integrand.atoms(sp.Function) | _powers(integrand), key=sp.default_sort_key):
        if isinstance(atom, (Branch, Side)) or not atom.has(w):
            continue
        for pattern in patterns(switches, atom):
            concrete = atom.subs(pattern)
            if concrete.has(w):
                layers |= dict.fromkeys(_layers_of(concrete, law))
    return tuple(layers)


def _layers_of(atom: sp.Expr, law: ScoreLaw) -> Iterator[Layer]:
    """Layers of one function whose switches have values."""
    w = law.variable
    base = atom.base if isinstance(atom, sp.Pow) else atom.args[0]
    argument = sp.expand(base)
    if not argument.is_polynomial(w):
        raise _no_rule(atom, "compositions of a polynomial and one function have one")
    degree = sp.degree(argument, w)
    if isinstance(atom, (sp.Pow, sp.log)):
        # singular where the argument vanishes, off the real line for a loss that is defined everywhere
        if degree != 2:
            raise _no_rule(atom, "logarithms, roots and quotients of positive quadratics have one")
        a, b, c = (argument.coeff(w, k) for k in (2, 1, 0))
        half = -b / (2 * a)
        yield Layer(law.z_of(half), sp.sqrt(sp.Abs(c / a - half**2)) / law.deviation, "pole")
        return
    if type(atom) not in _SINGULARITIES or degree != 1:
        raise _no_rule(atom, "softplus, sigmoid, tanh, log cosh, erf and Phi of linear forms have one")
    rate = argument.coeff(w, 1)
    found = _SINGULARITIES[type(atom)]
    place, width = (sp.S.Zero, sp.S.One) if found is None else found
    yield Layer(
        location=law.z_of(sp.expand((place - argument.coeff(w, 0)) / rate)),
        width=width / (sp.Abs(rate) * law.deviation),
        kind="erf" if found is None else "pole",
    )


def _no_rule(atom: sp.Expr, remedy: str) -> DerivationError:
    return DerivationError("loss", f"no quadrature rule is known yet for {atom}", remedy)


def _powers(expression: sp.Expr) -> set[sp.Expr]:
    """Powers that are not polynomial: roots and quotients."""
    return {e for e in expression.atoms(sp.Pow) if not (e.exp.is_integer and e.exp.is_nonnegative)}
