"""Where a piecewise smooth function changes its piece, and what jumps there.

A kink is a condition on a switch's argument. Linear conditions, and exponentials of linear forms, have one root, which
closed forms can use; quadratics and other invertible forms have roots that a rule can break at; for anything else the
rule itself finds the sign change (:class:`~sgdlimit.derive.quadrature.Crossing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import sympy as sp

from sgdlimit.derive.convert import Switch, Switched
from sgdlimit.derive.functions import Branch, Side, Tanh
from sgdlimit.derive.quadrature import TINY


def used_switches(expression: sp.Expr, switches: Iterable[Switch]) -> list[Switch]:
    """The switches that an expression needs, those behind their arguments included."""
    every = list(switches)
    needed = set(expression.free_symbols)
    for switch in reversed(every):
        if switch.symbol in needed:
            needed |= switch.argument.free_symbols
    return [w for w in every if w.symbol in needed]


def patterns(switches: Iterable[Switch], expression: sp.Expr) -> Iterator[dict[sp.Symbol, int]]:
    """Every assignment of ±1 to the switches that an expression contains."""
    present = [w.symbol for w in switches if expression.has(w.symbol)]
    for signs in product((1, -1), repeat=len(present)):
        yield dict(zip(present, signs, strict=True))


@dataclass(frozen=True)
class Root:
    """The one place where a switch's argument is zero, under a pattern of the switches in it.

    Parameters
    ----------
    pattern : mapping of switch to ±1
    point : sympy.Expr
        The place.
    slope : sympy.Expr
        A number with the sign of the argument's slope there.
    derivative : sympy.Expr
        The slope itself, in the variable.
    """

    pattern: Mapping[sp.Symbol, int]
    point: sp.Expr
    slope: sp.Expr
    derivative: sp.Expr


def single_root(argument: sp.Expr, variable: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
    """Root, and the sign of the slope there, of a linear argument or of ``c₁ e^{a w} + c₀``; else None.

    An exponential that never meets its level crosses it at minus infinity (in the variable's own direction), far
    beyond everything: there its sign is that of ``c₁``.

    Examples
    --------
    >>> w, b = sp.symbols("w b", real=True)
    >>> single_root(2 * w - b, w)
    (b/2, 2)
    >>> single_root(w**2 - b, w)
    """
    argument = sp.expand(argument)
    if argument.is_polynomial(variable):
        if sp.degree(argument, variable) != 1:
            return None
        slope = argument.coeff(variable, 1)
        return sp.expand(-argument.coeff(variable, 0) / slope), slope
    constant, rest = argument.as_independent(variable, as_Add=True)
    rates = {e.args[0] for e in rest.atoms(sp.exp) if e.has(variable)}
    if len(rates) != 1 or rest.has(Branch):
        return None
    factor, function = sp.factor_terms(rest).as_independent(variable, as_Add=False)
    (exponent,) = rates
    exponent = sp.expand(exponent)
    if function != sp.exp(exponent) or not exponent.is_polynomial(variable) or sp.degree(exponent, variable) != 1:
        return None
    rate = exponent.coeff(variable, 1)
    level = sp.log(sp.Max(TINY, -constant / factor))
    return sp.expand((level - exponent.coeff(variable, 0)) / rate), factor * rate


def every_root(argument: sp.Expr, variable: sp.Symbol) -> tuple[sp.Expr, ...] | None:
    """All places where an argument may be zero, as formulas (NaN where there is none); None where no formula is known.

    Examples
    --------
    >>> w = sp.Symbol("w", real=True)
    >>> every_root(w**3 - 4 * w, w)
    (0, -2, 2)
    >>> every_root(sp.sin(w) + w, w)
    """
    argument = sp.expand(argument)
    if not argument.has(variable):
        return ()
    one = single_root(argument, variable)
    if one is not None:
        return (one[0],)
    if argument.is_polynomial(variable):
        found: list[sp.Expr] = []
        # numbers that are not exact do not factor
        parts = [(argument, 1)] if argument.has(sp.Float) else sp.factor_list(argument, variable)[1]
        for factor, _ in parts:
            degree = sp.degree(factor, variable)
            if degree > 2:
                return None
            if degree == 1:
                found.append(single_root(factor, variable)[0])  # type: ignore[index]
            elif degree == 2:
                a, b, c = (sp.expand(factor).coeff(variable, k) for k in (2, 1, 0))
                inside = sp.expand((b / (2 * a)) ** 2 - c / a)
                if not inside.is_negative:
                    half, spread = -b / (2 * a), sp.sqrt(inside)
                    found += [half - spread, half + spread]
        return tuple(found)
    constant, rest = argument.as_independent(variable, as_Add=True)
    factor, function = rest.as_independent(variable, as_Add=False)
    inverses = {Tanh: sp.atanh, sp.atan: sp.tan, sp.log: sp.exp, sp.sinh: sp.asinh}
    if type(function) in inverses:
        return every_root(function.args[0] - inverses[type(function)](-constant / factor), variable)
    return None


def roots(switch: Switch, switches: Iterable[Switch], variable: sp.Symbol) -> tuple[Root, ...] | None:
    """Where a switch changes its value, one place for each pattern of the switches in its argument.

    None where some pattern's argument has not exactly one root that is known as a formula.
    """
    found = []
    for pattern in patterns(switches, switch.argument):
        argument = sp.expand(switch.argument.subs(pattern))
        if not argument.has(variable):
            continue
        one = single_root(argument, variable)
        if one is None:
            return None
        found.append(Root(pattern, one[0], one[1], argument.diff(variable)))
    return tuple(found)


def side_at(argument: sp.Expr, variable: sp.Symbol, point: sp.Expr, limit: sp.Expr | int) -> sp.Expr:
    """The side of an argument at a point: where it vanishes there too, the side next to it.

    Parameters
    ----------
    limit : sympy.Expr or int
        +1: seen from the right of the point; −1: from the left.

    Examples
    --------
    >>> w, a = sp.symbols("w a", real=True)
    >>> side_at(w - a, w, a, 1), side_at(w - a, w, a, -1), side_at(a - w, w, a, 1)
    (1, -1, -1)
    """
    value = sp.expand(argument.subs(variable, point))
    rising = limit * argument.diff(variable).subs(variable, point)
    if rising == 0:
        return Side(value)
    return Branch(Side(rising), -Side(-value), Side(value))


def sides_at(
    switches: tuple[Switch, ...], index: int, root: Root, variable: sp.Symbol, side: int, apart: bool = False
) -> dict[sp.Symbol, sp.Expr]:
    """Values of all switches where the one at ``index`` is about to be on a side of its kink.

    Kinks that coincide are crossed in the order of the switches, those that the crossing itself throws with it: so the
    jumps at them add up to the whole. With ``apart``, kinks are taken not to coincide, and sides are simpler.
    """
    switch = switches[index]
    values: dict[sp.Symbol, sp.Expr] = {symbol: sp.Integer(sign) for symbol, sign in root.pattern.items()}
    values[switch.symbol] = sp.Integer(side)
    thrown = {switch.symbol}
    for position, other in enumerate(switches):
        if other.symbol in values:
            continue
        limit: sp.Expr | int = 1 if position < index else -1
        if other.argument.free_symbols & thrown:
            thrown.add(other.symbol)
            limit = side * sp.sign(root.slope)
        argument = other.argument.subs(values)
        there = sp.expand(argument.subs(variable, root.point))
        values[other.symbol] = Side(there) if apart else side_at(argument, variable, root.point, limit)
    return values


def indicator(switches: tuple[Switch, ...], index: int, root: Root, variable: sp.Symbol) -> sp.Expr:
    """1 where the pattern under which a root was found holds there, else 0."""
    result, values = sp.S.One, dict(root.pattern)
    for other in switches[:index]:
        there = other.argument.subs(values)
        argument = sp.expand(there.subs(variable, root.point))
        if other.symbol not in root.pattern:
            values[other.symbol] = side_at(there, variable, root.point, 1)
        elif argument == 0 and not there.has(variable):
            # not a second kink that is met there, but one of another variable, which is where its own side ends
            result *= int(root.pattern[other.symbol] == Side(argument))
        else:
            # strictly: where two kinks meet, the crossing of the first throws the second with it
            result *= Branch(Side(sp.expand(root.pattern[other.symbol] * argument)), sp.S.One, sp.S.Zero)
    return result


@dataclass(frozen=True)
class Jump:
    """``size`` = value right of ``point`` − value left of it; ``derivative`` of the switch's argument there."""

    size: sp.Expr
    point: sp.Expr
    switch: Switch
    root: Root


def jumps(function: Switched, variable: sp.Symbol, apart: bool = False) -> Iterator[Jump]:
    """Jumps of a piecewise smooth function at the kinks whose places are known.

    A place found under a pattern of other switches counts only where that pattern holds: the jump carries the
    indicator. With ``apart`` kinks are taken not to coincide: what is then zero is so at coincidences too, where the
    function is continuous.
    """
    used = used_switches(function.expression, function.switches)
    for index, switch in enumerate(function.switches):
        if switch not in used:
            continue
        for root in roots(switch, function.switches, variable) or ():
            holds = indicator(function.switches, index, root, variable)
            sides = []
            for side in (1, -1):
                values = sides_at(function.switches, index, root, variable, side, apart)
                sides.append(function.expression.subs(variable, root.point).subs(values))
            size = difference(*sides)
            if size != 0 and holds != 0:
                yield Jump(sp.sign(root.slope) * holds * size, root.point, switch, root)


def unplaced(function: Switched, variable: sp.Symbol) -> Iterator[tuple[Switch, sp.Expr]]:
    """Jumps at kinks whose places no formula gives: ``(switch, value where it is +1 − value where it is −1)``."""
    for switch in used_switches(function.expression, function.switches):
        if switch.argument.has(variable) and roots(switch, function.switches, variable) is None:
            size = difference(*(fixed(function, switch, side) for side in (1, -1)))
            if size != 0:
                yield switch, size


def fixed(function: Switched, switch: Switch, side: int) -> sp.Expr:
    """The function with one switch set, and those set that hang on it."""
    values: dict[sp.Symbol, sp.Expr] = {switch.symbol: sp.Integer(side)}
    for later in function.switches:
        if later.argument.free_symbols & set(values):
            values[later.symbol] = Side(later.argument.subs(values))
    return function.expression.subs(values)


def difference(right: sp.Expr, left: sp.Expr) -> sp.Expr:
    """Right minus left, branch by branch where both hang on the same switch."""
    if isinstance(right, Branch) and isinstance(left, Branch) and right.args[0] == left.args[0]:
        return Branch(right.args[0], difference(right.args[1], left.args[1]), difference(right.args[2], left.args[2]))
    return expanded(right - left)


def expanded(expression: sp.Expr) -> sp.Expr:
    """Expanded, each term with one exponential: of its factors one may overflow where the other vanishes."""
    result = sp.expand(expression, power_exp=False)
    return sp.powsimp(result, combine="exp") if result.has(sp.exp) else result


def vanishes(jump: sp.Expr) -> bool:
    """Zero whichever way its branches go."""
    if isinstance(jump, Branch):
        return all(vanishes(e) for e in jump.args[1:])
    if isinstance(jump, sp.Mul):
        return any(vanishes(e) for e in jump.args)
    return bool(sp.expand(jump) == 0)
