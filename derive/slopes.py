"""Signs of slopes, shown symbolically: monotone, convex, and what that asks of the parameters."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import sympy as sp

from sgdlimit.derive.convert import Switched
from sgdlimit.derive.functions import Branch
from sgdlimit.derive.kinks import jumps, unplaced
from sgdlimit.derive.signs import is_nonnegative
from sgdlimit.derive.symbols import r, y


def shown_convex(function: Switched) -> tuple[sp.Rel, ...] | None:
    """Assumptions under which the function is convex in ``r``; None where it cannot be shown."""
    slope = function.derive(r)
    assumptions = sign_of_slope(slope, r, +1)
    if assumptions is None or any(True for _ in unplaced(slope, r)):
        return None
    positive = {a.lhs: sp.Symbol(str(a.lhs), positive=True) for a in assumptions}
    more: list[sp.Rel] = []
    for jump in jumps(slope, r, apart=True):
        size = jump.size.xreplace(positive)
        if not nonnegative(size):
            own = sorted(size.free_symbols - {y}, key=str)
            size = size.xreplace({q: sp.Symbol(str(q), positive=True) for q in own})
            if not own or not nonnegative(size):
                return None
            more += [q > 0 for q in own]
    return tuple(dict.fromkeys((*assumptions, *more)))


def nonnegative(expression: sp.Expr) -> bool:
    """Shown to be nonnegative, whichever way its branches go."""
    if isinstance(expression, Branch):
        return all(nonnegative(e) for e in expression.args[1:])
    if isinstance(expression, sp.Mul):
        branches = [e for e in expression.args if isinstance(e, Branch)]
        rest = sp.Mul(*(e for e in expression.args if not isinstance(e, Branch)))
        if branches:
            return bool(rest.is_nonnegative) and all(nonnegative(e) for e in branches)
    return bool(expression.is_nonnegative or sp.expand(expression).is_nonnegative)


def sign_of_slope(function: Switched, variable: sp.Symbol, sign: int) -> tuple[sp.Rel, ...] | None:
    """Assumptions under which ``sign · f' ≥ 0`` everywhere; None where it cannot be shown.

    First with the parameters as they are, then with each of them taken positive (thresholds and scales are); what is
    then still asked of the parameters alone is an assumption too.
    """
    found = _conditions_of_sign(function, variable, sign, frozenset())
    if found is not None:
        return ()
    own = sorted(function.expression.free_symbols - {variable, y}, key=str)
    own = [e for e in own if not any(e == w.symbol for w in function.switches)]
    for switch in function.switches:
        own += [
            e
            for e in sorted(switch.argument.free_symbols, key=str)
            if e not in own and e != variable and e != y and not str(e).startswith("sigma")
        ]
    if not own:
        return None
    positive = {q: sp.Symbol(q.name, positive=True) for q in own}
    changed = function.map(lambda e: e.xreplace(positive))
    conditions = _conditions_of_sign(changed, variable, sign, frozenset(positive.values()))
    if conditions is None:
        return None
    back = {e: q for q, e in positive.items()}
    more = (sp.StrictGreaterThan(e.xreplace(back), 0) for e in conditions)
    return (*(sp.StrictGreaterThan(q, 0) for q in own if not q.is_positive), *more)


def _conditions_of_sign(
    function: Switched, variable: sp.Symbol, sign: int, parameters: frozenset[sp.Symbol]
) -> tuple[sp.Expr, ...] | None:
    """What must be positive, of the parameters alone, for ``sign · f' ≥ 0`` everywhere; None where it cannot be
    shown."""
    found: dict[sp.Expr, None] = {}
    for slopes in _slopes(function, variable):
        ways = [_conditions(form, parameters) for slope in slopes for form in ((sign * slope).expand(), sign * slope)]
        possible: list[tuple[sp.Expr, ...]] = [way for way in ways if way is not None]
        if not possible:
            return None
        fewest: tuple[sp.Expr, ...] = min(possible, key=len)
        found |= dict.fromkeys(fewest)
    contrary = any(sp.expand(e + other) == 0 for e in found for other in found)
    return None if contrary else tuple(found)


def _conditions(e: sp.Expr, parameters: frozenset[sp.Symbol]) -> tuple[sp.Expr, ...] | None:
    """What must be positive, of the parameters alone, for ``e ≥ 0``; None where it cannot be shown.

    A sum is nonnegative if its terms are, a product if an even number of its factors is not.
    """
    if e.is_nonnegative or is_nonnegative(e):
        return ()
    if e.free_symbols and e.free_symbols <= parameters and not (e.is_nonpositive or is_nonnegative(-e)):
        # of a product, the factor whose sign is open
        factors = [f for f in sp.Mul.make_args(sp.factor(e)) if not f.is_positive]
        return (sp.expand(sp.Mul(*factors)),)
    found: list[sp.Expr] = []
    if isinstance(e, sp.Add):
        for term in e.args:
            needed = _conditions(term, parameters)
            if needed is None:
                return None
            found += needed
        return tuple(dict.fromkeys(found))
    if isinstance(e, sp.Mul):
        open_, negative = sp.S.One, False
        for factor in e.args:
            if factor.is_nonnegative or is_nonnegative(factor):
                continue
            if factor.is_nonpositive or is_nonnegative(-factor):
                negative = not negative
            elif factor.free_symbols <= parameters:
                open_ *= factor
            else:
                return None
        if open_ != 1:
            return (sp.expand(-open_ if negative else open_),)
        return None if negative else ()
    return None


def _slopes(function: Switched, variable: sp.Symbol) -> Iterator[list[sp.Expr]]:
    """For each pattern of the switches, forms of the slope that are valid where that pattern holds."""
    names = [w.symbol for w in function.switches]
    for pattern in product((1, -1), repeat=len(names)):
        fixed = dict(zip(names, pattern, strict=True))
        slope = function.expression.subs(fixed).diff(variable)
        forms = [slope]
        for switch, side in zip(function.switches, pattern, strict=True):
            argument = sp.expand(switch.argument.subs(fixed))
            if argument.is_polynomial(variable) and sp.degree(argument, variable) == 1:
                # argument·side > 0 there: put the distance to the kink in place of the variable
                distance = sp.Symbol("distance", nonnegative=True)
                root = sp.solve(argument - side * distance, variable)[0]
                forms.append(slope.subs(variable, root))
        yield forms
