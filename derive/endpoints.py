"""The supremum over both ends of the interval: which of them loses more, told without cancellation."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import sympy as sp

from sgdlimit.derive.adversarial_loss import KAPPA
from sgdlimit.derive.convert import Switch, Switched, switched
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.functions import Branch, Log1p, LogNormalCdf, NormalCdf, Sigmoid, Softplus, Tanh
from sgdlimit.derive.kinks import expanded, jumps, unplaced, vanishes
from sgdlimit.derive.symbols import epsilon, n, r


def renamed(function: Switched, suffix: str) -> Switched:
    return function.xreplace({w.symbol: sp.Symbol(w.symbol.name + suffix, real=True) for w in function.switches})


# Where both endpoints lose the same, they are told apart by the slope between them; below this radius, which moves
# that place by 1e-10 at most, rounding would hide the difference.
LEAST_RADIUS = sp.Float("1e-5")


def endpoints(loss: sp.Expr) -> tuple[Switched, Switch]:
    """``f`` at the endpoint that loses more, and the switch that says which it is (+1: ``r + ε n``)."""
    compared = switched(loss, r)
    compared = replace(compared, expression=_inside_increasing(compared.expression))
    right, left = (
        renamed(compared.substitute(r, r + side * sp.Max(KAPPA, LEAST_RADIUS)), f"_{word}")
        for side, word in ((1, "right"), (-1, "left"))
    )
    radius = sp.Symbol("kappa", positive=True)
    balance = (right.expression - left.expression).subs(sp.Max(KAPPA, LEAST_RADIUS), radius)
    balance = without_positive_factors(balance).subs(radius, sp.Max(KAPPA, LEAST_RADIUS))
    side = Switch(sp.Symbol("sigma0", real=True), balance)
    inner = switched(loss, r).substitute(r, r + side.symbol * KAPPA)
    before = (*right.switches, *left.switches) if right.switches else ()
    return Switched(inner.expression, (*before, side, *inner.switches)), side


_INCREASING = (sp.exp, sp.log, sp.sinh, sp.atan, Log1p, LogNormalCdf, NormalCdf, Sigmoid, Softplus, Tanh)


def _inside_increasing(loss: sp.Expr) -> sp.Expr:
    """What orders two values as the loss does: an increasing function, a positive factor and a constant left out.

    Examples
    --------
    >>> _inside_increasing(2*sp.sqrt(1 + r**2) - 1), _inside_increasing(-sp.exp(r))
    (r**2, -exp(r))
    """
    part = loss.as_independent(r, as_Add=True)[1] if loss.is_Add else loss
    factor, part = part.as_independent(r, as_Add=False)
    if not factor.is_positive:
        return loss
    if part.is_Pow and part.exp == sp.S.Half:
        return _inside_increasing(part.base)
    return _inside_increasing(part.args[0]) if isinstance(part, _INCREASING) else part


def without_positive_factors(expression: sp.Expr) -> sp.Expr:
    """The same sign with less to compute."""
    if not expression.is_polynomial(*expression.free_symbols):
        return _with_sinh(sp.expand(expression)) if _grows_linearly(expression) else expanded(expression)
    content, factors = sp.factor_list(expression)
    # where an even power vanishes both lose the same
    return sp.sign(content) * sp.Mul(*(factor for factor, power in factors if power % 2 and not factor.is_positive))


def _grows_linearly(expression: sp.Expr) -> bool:
    """Whether every exponent is linear: the factors of exponentials of squares overflow, as the whole does not."""
    exponents = (sp.Poly(e.args[0], *e.free_symbols) for e in expression.atoms(sp.exp) if e.free_symbols)
    return all(exponent.total_degree() <= 1 for exponent in exponents)


def _with_sinh(expression: sp.Expr) -> sp.Expr:
    """``e^a g − e^{−a} g`` as ``2 sinh(a) g``: for a small ``a`` the difference has few digits."""
    result = expression
    for atom in sorted(expression.atoms(sp.exp), key=sp.default_sort_key):
        positive, negative = expression.coeff(atom), expression.coeff(sp.exp(-atom.args[0]))
        if positive != 0 and not positive.has(atom) and sp.expand(positive + negative) == 0:
            result = result - positive * (atom - sp.exp(-atom.args[0])) + 2 * positive * sp.sinh(atom.args[0])
            return sp.expand(result)
    return result


# Patterns of the corners at both endpoints are told apart one by one.
MOST_CORNERS = 4


def endpoints_with_corners(loss: sp.Expr) -> tuple[Switched, Switch]:
    """The same for a loss with corners: each endpoint has switches of its own, at places that formulas know.

    Where both endpoints are on one piece, the difference of what they lose is freed of its factor ``ε n``; where a
    corner lies between them nothing cancels. So the switch between them is right down to ``ε n = 0``.
    """
    right, left = (
        renamed(switched(loss, r).substitute(r, r + side * KAPPA), f"_{word}")
        for side, word in ((1, "right"), (-1, "left"))
    )
    if len(right.switches) > MOST_CORNERS:
        raise DerivationError(
            "adversary",
            f"the loss {loss} has {len(right.switches)} kinks: too many pairs of pieces for two endpoints",
            f"use a loss with {MOST_CORNERS} kinks at most",
        )
    pairs = list(zip(right.switches, left.switches, strict=True))
    pieces = (
        _on_one_piece(*(_on_piece(end, signs) for end in (right, left)))
        for signs in product((1, -1), repeat=len(pairs))
    )
    near = tuple(dict.fromkeys(e for e in pieces if e.is_polynomial(r) and sp.degree(e, r) in (1, 2)))
    side = Switch(sp.Symbol("sigma0", real=True), _balance(right.expression, left.expression, pairs), near)
    switches = (*(switch for pair in pairs for switch in pair), side)
    return Switched(Branch(side.symbol, right.expression, left.expression), switches, corners=True), side


def _on_piece(function: Switched, signs: tuple[int, ...]) -> sp.Expr:
    return function.expression.subs({w.symbol: sign for w, sign in zip(function.switches, signs, strict=True)})


def _balance(right: sp.Expr, left: sp.Expr, pairs: list[tuple[Switch, Switch]], one_piece: bool = True) -> sp.Expr:
    """Something with the sign of ``right − left`` on every piece, a branch for each."""
    if not pairs:
        return _on_one_piece(right, left) if one_piece else without_positive_factors(right - left)
    (first, second), *rest = pairs
    # the argument rises with r, or falls: then of both endpoints one alone can be beyond the kink
    slope = first.argument.diff(r)
    branches = []
    for at_right in (1, -1):
        ends = []
        for at_left in (1, -1):
            if slope.is_number and slope * (at_left - at_right) > 0:
                continue
            values = {first.symbol: sp.Integer(at_right), second.symbol: sp.Integer(at_left)}
            later = [(_fix(a, values), _fix(b, values)) for a, b in rest]
            same = one_piece and at_right == at_left
            ends.append(_balance(right.subs(values), left.subs(values), later, same))
        branches.append(Branch(second.symbol, ends[0], ends[-1]))
    return Branch(first.symbol, *branches)


def _fix(switch: Switch, values: dict[sp.Symbol, sp.Expr]) -> Switch:
    return Switch(switch.symbol, switch.argument.subs(values))


def _on_one_piece(right: sp.Expr, left: sp.Expr) -> sp.Expr:
    """The same where the endpoints are on one piece of the loss: ``ε n`` is a factor."""
    radius = sp.Symbol("kappa", positive=True)
    # ε n as one symbol, and positive: a factor that can be left out
    difference = (right - left).subs(epsilon, radius / n)
    if difference.is_polynomial(*difference.free_symbols - {n}) and not sp.expand(difference).has(n):
        return without_positive_factors(sp.expand(difference)).subs(radius, KAPPA)
    return without_positive_factors(difference).subs(radius, sp.Max(KAPPA, LEAST_RADIUS))


def against(peak: sp.Expr, value: sp.Expr) -> sp.Expr:
    """Something with the sign of ``peak − value``, branch by branch: where they are equal it is exactly zero."""
    if isinstance(value, Branch):
        switch, *sides = value.args
        return Branch(switch, *(against(peak, e) for e in sides))
    if isinstance(peak, Branch):
        switch, *sides = peak.args
        return Branch(switch, *(against(e, value) for e in sides))
    difference = peak - value
    return without_positive_factors(difference) if difference.is_polynomial(*difference.free_symbols) else difference


def has_corners(function: Switched) -> bool:
    """Whether the slope jumps somewhere."""
    slope = function.derive(r)
    return any(not vanishes(jump.size) for jump in jumps(slope, r, apart=True)) or any(True for _ in unplaced(slope, r))
