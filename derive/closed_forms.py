"""Closed forms of Gaussian expectations of one variable (``docs/theory.md`` §2): the rules, tried in order.

Each rule is a plain function of a piecewise smooth function and the law of its variable; it answers with an expression
that is accurate in the tails, or with None where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import product

import sympy as sp

from sgdlimit.derive.convert import Switch, Switched, reduce_squares
from sgdlimit.derive.functions import Branch, ScaledTailMoment, Side, TailMoment
from sgdlimit.derive.kinks import Root, expanded, indicator, patterns, roots, sides_at, single_root, used_switches
from sgdlimit.derive.own_integrand import agrees
from sgdlimit.derive.quadrature import Definition, ScoreLaw


@dataclass(eq=False)
class Kinks:
    """Distances of kinks from the mean, each defined once for all coefficients."""

    prefix: str = ""
    spreads: list[Definition] = field(default_factory=list)
    _seen: dict[tuple[sp.Expr, ...], tuple[Definition, Definition]] = field(default_factory=dict)

    def seen_from(self, law: ScoreLaw, point: sp.Expr, rate: sp.Expr = sp.S.Zero) -> tuple[sp.Symbol, sp.Symbol]:
        """``|point − mean|/s`` and the side on which the kink lies (+1: right of the mean).

        An exponential of some rate moves the mean by ``rate s²``. All rates measure from one distance: terms that
        cancel share its rounding.
        """
        key = (law.mean, law.deviation, point, rate)
        if key not in self._seen:
            if rate != 0:
                self.seen_from(law, point)
            number = len(self._seen) + 1
            gap = sp.Symbol(f"{self.prefix}gap{number}", nonnegative=True)
            away = sp.Symbol(f"{self.prefix}away{number}", real=True)
            if rate == 0:
                self._seen[key] = (
                    Definition(gap, sp.Abs(point - law.mean) / law.deviation),
                    Definition(away, Side(point - law.mean)),
                )
            else:
                distance, side = self.seen_from(law, point)
                signed = distance * side - rate * law.deviation
                self._seen[key] = (Definition(gap, sp.Abs(signed)), Definition(away, Side(signed)))
        first, second = self._seen[key]
        return first.symbol, second.symbol

    def spread(self, expression: sp.Expr) -> sp.Symbol:
        """A name for the deviation with which a kink is seen."""
        for known in self.spreads:
            if known.expression == expression:
                return known.symbol
        symbol = sp.Symbol(f"{self.prefix}spread{len(self.spreads) + 1}", positive=True)
        self.spreads.append(Definition(symbol, expression))
        return symbol

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """All of them."""
        return (*self.spreads, *(d for pair in self._seen.values() for d in pair))


def closed_form(function: Switched, law: ScoreLaw, kinks: Kinks) -> tuple[str, sp.Expr] | None:
    """Rule and value of ``E g(w)`` where one applies; the rules are tried in order.

    A value that the quadrature of the function does not confirm is none.
    """
    for name, rule in _RULES.items():
        value = rule(function, law, kinks)
        if value is not None and agrees(function, law, kinks.definitions, value):
            return name, value
    return None


def polynomial_moments(function: Switched, law: ScoreLaw, kinks: Kinks) -> sp.Expr | None:
    """Polynomials."""
    w, expression = law.variable, function.expression
    if used_switches(expression, function.switches) or not expression.is_polynomial(w):
        return None
    return sp.expand_mul(sum(c * moment(k, law.mean, law.deviation) for (k,), c in sp.Poly(expression, w).terms()))


def absolute_moments(function: Switched, law: ScoreLaw, kinks: Kinks) -> sp.Expr | None:
    """Polynomials in ``v`` and ``|v|``, ``v = w − b`` the distance to one kink, of one parity.

    Even powers stand alone and odd powers with the sign (or the reverse), so every term has the sign of the whole.
    Sums of both parities would cancel in a tail.
    """
    w, expression = law.variable, function.expression
    used = used_switches(expression, function.switches)
    if len(used) != 1 or not used[0].argument.has(w):
        return None
    found = roots(used[0], (), w)
    if found is None or len(found) != 1 or found[0].slope not in (1, -1):
        return None
    point, slope = found[0].point, found[0].slope
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
    switches = tuple(used_switches(function.expression, function.switches))
    pieces = Pieces.of(function.expression, switches, w)
    if pieces is None:
        return None
    s, total = law.deviation, sp.S.Zero
    for rate in pieces.rates:
        shifted = ScoreLaw(w, law.mean + rate * s**2, s)
        found = [
            Kink(switch, root.pattern, root.point, root.slope, *kinks.seen_from(law, root.point, rate))
            for switch in switches
            for root in roots(switch, switches, w) or ()
        ]
        exponent = rate * law.mean + rate**2 * s**2 / 2
        total += pieces.whole(rate, shifted.mean, s, found, sp.exp(exponent))
        for kink in found:
            if rate == 0:
                tail = partial(_tail, point=kink.point, s=s, gap=kink.gap, away=kink.away)
            else:
                tail = partial(_tilted_tail, point=kink.point, s=s, gap=kink.gap, away=kink.away, exponent=exponent)
            total += sp.sign(kink.slope) * pieces.beyond(rate, kink, tail)
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


def _tail(
    jump: sp.Poly,
    point: sp.Expr,
    s: sp.Expr,
    gap: sp.Symbol,
    away: sp.Symbol,
    moment_of: Callable[[int, sp.Expr], sp.Expr] = TailMoment,
) -> sp.Expr:
    """``away · E[jump(w) 1(w beyond the kink)]`` by the jump's Taylor coefficients at the kink."""
    result, derivative, k = sp.S.Zero, jump, 0
    while derivative != 0:
        coefficient = expanded(derivative.as_expr().subs(jump.gen, point)) / sp.factorial(k)
        result += coefficient * s**k * away ** ((k + 1) % 2) * moment_of(k, gap)
        derivative, k = derivative.diff(jump.gen), k + 1
    return result


def _tilted_tail(
    jump: sp.Poly, point: sp.Expr, s: sp.Expr, gap: sp.Symbol, away: sp.Symbol, exponent: sp.Expr
) -> sp.Expr:
    """The same times ``e^exponent``, which alone may overflow: it meets the density of the tail in one exponential."""
    density = sp.exp(exponent - gap**2 / 2) / sp.sqrt(2 * sp.pi)
    return sp.expand_mul(_tail(jump, point, s, gap, away, ScaledTailMoment)) * density


@dataclass(frozen=True)
class Pieces:
    """A piecewise function as polynomials times exponentials, one for each pattern of its switches.

    Parameters
    ----------
    switches : tuple of Switch
    pieces : mapping of pattern to mapping of rate to sympy.Expr
        ``Σ_a polynomial_a(w) e^{a w}``, the polynomials as they were written: expanded ones cancel near their roots.
    own : frozenset of sympy.Symbol
        Switches on which the pieces themselves hang; the others only move places of kinks.
    """

    switches: tuple[Switch, ...]
    pieces: Mapping[tuple[int, ...], Mapping[sp.Expr, sp.Expr]]
    variable: sp.Symbol
    own: frozenset[sp.Symbol]

    @classmethod
    def of(cls, expression: sp.Expr, switches: tuple[Switch, ...], w: sp.Symbol) -> Pieces | None:
        """Split an expression; None where a piece is something else, or a kink is not at a linear condition."""
        own = frozenset(expression.free_symbols)
        # what is computed for a pattern of those switches serves all patterns of the others
        split: dict[tuple[int, ...], Mapping[sp.Expr, sp.Expr]] = {}
        pieces = {}
        for pattern in product((1, -1), repeat=len(switches)):
            values = {s.symbol: sp.Integer(sign) for s, sign in zip(switches, pattern, strict=True) if s.symbol in own}
            key = tuple(int(sign) for sign in values.values())
            if key not in split:
                found = _exponential_polynomial(expression.subs(values), w)
                if found is None:
                    return None
                split[key] = found
            pieces[pattern] = split[key]
        for switch in switches:
            for signs in patterns(switches, switch.argument):
                argument = sp.expand(switch.argument.subs(signs))
                if argument.has(w) and single_root(argument, w) is None:
                    return None
        return cls(switches, pieces, w, own)

    @property
    def rates(self) -> tuple[sp.Expr, ...]:
        """Rates of the exponentials of any piece."""
        return tuple(sorted({a for split in self.pieces.values() for a in split}, key=sp.default_sort_key))

    def whole(self, rate: sp.Expr, mean: sp.Expr, s: sp.Expr, kinks: list[Kink], factor: sp.Expr) -> sp.Expr:
        """The integral of the piece that holds the mean: its even derivatives there, times the even moments.

        On which side of a kink the mean is, is asked of the same number that the tails ask: were it computed twice,
        rounding could make the two disagree. The factor goes into the piece: where that is zero, it may be infinite.
        """
        w = self.variable

        @cache
        def integral(piece: sp.Expr) -> sp.Expr:
            derivative, result, k = piece, sp.S.Zero, 0
            while derivative != 0 and sp.expand(derivative) != 0:
                result += derivative.subs(w, mean) * s**k * sp.factorial2(k - 1) / sp.factorial(k)
                derivative, k = derivative.diff(w, 2), k + 2
            return factor * result

        def build(signs: tuple[int, ...]) -> sp.Expr:
            if len(signs) == len(self.switches):
                return integral(self.pieces[signs].get(rate, sp.S.Zero))
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
        index = self.switches.index(kink.switch)
        root = Root(kink.pattern, kink.point, kink.slope, kink.slope)
        sides = [sides_at(self.switches, index, root, self.variable, side) for side in (1, -1)]

        @cache
        def tail_of(right: sp.Expr, left: sp.Expr) -> sp.Expr:
            return tail(sp.Poly(right - left, self.variable))

        def build(right: tuple[int, ...], left: tuple[int, ...]) -> sp.Expr:
            k = len(right)
            if k == len(self.switches):
                return tail_of(*(self.pieces[signs].get(rate, sp.S.Zero) for signs in (right, left)))
            symbol = self.switches[k].symbol
            if k == index:
                return build((*right, 1), (*left, -1))
            if symbol not in self.own:
                return build((*right, 1), (*left, 1))
            at_right, at_left = (values[symbol] for values in sides)
            if at_right == at_left:
                return Branch(at_right, build((*right, 1), (*left, 1)), build((*right, -1), (*left, -1)))
            # a switch that the crossing itself throws
            return Branch(
                at_right,
                Branch(at_left, build((*right, 1), (*left, 1)), build((*right, 1), (*left, -1))),
                Branch(at_left, build((*right, -1), (*left, 1)), build((*right, -1), (*left, -1))),
            )

        return indicator(self.switches, index, root, self.variable) * build((), ())


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
