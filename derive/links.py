"""Losses of a link, ``g(r) − y`` with a monotone ``g``: the end at which the link is farther from the label."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from sgdlimit.derive.adversarial_loss import KAPPA, AdversarialLoss
from sgdlimit.derive.convert import Switch, Switched, switched
from sgdlimit.derive.endpoints import renamed
from sgdlimit.derive.functions import Branch, NormalCdf, Sigmoid, Softplus, Tanh
from sgdlimit.derive.kinks import patterns
from sgdlimit.derive.slopes import sign_of_slope
from sgdlimit.derive.symbols import r, y

_TIE = sp.Rational(1, 10**300)  # below anything that a double can notice in a sum
_TIE_SHARE = sp.Rational(1, 2**43)  # of a level: above the rounding of a sum with it, below any accuracy asked for

# Where a link bends a residual: u = g(r) − y.
_LINKS = (Tanh, Sigmoid, NormalCdf, Softplus, sp.erf, sp.atan, sp.exp, sp.Max, sp.Min)

_LINKED = (
    "f is even in g(r) − y, g monotone, and does not decrease with its size: quasi-convex in r. The supremum is at the "
    "endpoint r ± ε n at which g is farther from y."
)


def linked(loss: sp.Expr, form: str) -> AdversarialLoss | None:
    """Even in ``g(r) − a y`` for a monotone link ``g``, and growing with its size."""
    t, w = sp.Symbol("t", real=True), sp.Symbol("u", nonnegative=True)
    for candidate, factor in _links(loss):
        outer = loss.subs(candidate, t)
        if outer.has(r):
            continue
        phi = outer.subs(y, 0)
        if sp.expand(outer.subs(t, t + factor * y) - phi) != 0 or sp.expand(phi.subs(t, -t) - phi) != 0:
            continue
        link = switched(candidate, r)
        slopes = [sign_of_slope(link, r, sign) for sign in (1, -1)]
        if slopes == [None, None]:
            continue
        growing = sign_of_slope(switched(phi.subs(t, w), w), w, +1)
        if growing is None:
            continue
        direction = 1 if slopes[0] is not None else -1
        if factor == 1 and candidate.has(sp.Min):  # flat on both sides
            worst, side = _ends_of_link(switched(outer, t, prefix="outer"), t, link, direction)
            return AdversarialLoss(
                function=worst,
                case="link",
                statement=_LINKED,
                perturbation=KAPPA * side.symbol,
                form=form,
                assumptions=tuple(dict.fromkeys((*(slopes[0] or slopes[1] or ()), *growing))),
            )
        ends = [link.substitute(r, r + side * KAPPA) for side in (1, -1)]
        own = [renamed(end, f"_{word}") for end, word in zip(ends, ("right", "left"), strict=True)]
        tied = _tie(link, own[0])
        if tied is None:
            continue
        tie, thresholds = tied
        balance = direction * (own[0].expression + own[1].expression - 2 * factor * y)
        side = Switch(sp.Symbol("sigma0", real=True), balance + tie)
        inner = switched(loss, r).substitute(r, r + side.symbol * KAPPA)
        return AdversarialLoss(
            function=Switched(inner.expression, (*own[0].switches, *own[1].switches, side, *inner.switches)),
            case="link",
            statement=_LINKED,
            perturbation=KAPPA * side.symbol,
            form=form,
            assumptions=tuple(dict.fromkeys((*(slopes[0] or slopes[1] or ()), *growing, *thresholds))),
        )
    return None


def _ends_of_link(outer: Switched, t: sp.Symbol, link: Switched, direction: int) -> tuple[Switched, Switch]:
    """A link with corners: each endpoint has switches of its own; the one at which the link is farther from ``y``."""
    links, ends, switches = [], [], []
    for shift, word in ((KAPPA, "right"), (-KAPPA, "left")):
        at_end = renamed(link.substitute(r, r + shift), f"_{word}")
        loss = renamed(outer, f"_{word}").substitute(t, at_end.expression)
        links.append(at_end.expression)
        ends.append(loss.expression)
        switches += [*at_end.switches, *loss.switches]
    # on the sloping piece of two flat ones
    near = tuple(e - y for e in sorted(link.expression.atoms(sp.Symbol, sp.Add), key=sp.default_sort_key) if e.has(r))
    side = Switch(sp.Symbol("sigma0", real=True), direction * (sp.Add(*links) - 2 * y), near)
    return Switched(Branch(side.symbol, *ends), (*switches, side), corners=True), side


def _tie(link: Switched, right: Switched) -> tuple[sp.Expr, tuple[sp.Rel, ...]] | None:
    """:func:`_tie_of` for the parameters as they are, or for positive ones, which is then assumed."""
    found = _tie_of(link, right)
    own = sorted(link.expression.free_symbols - {r} - {w.symbol for w in link.switches}, key=str)
    if found is not None or not own:
        return None if found is None else (found, ())
    positive = {q: sp.Symbol(q.name, positive=True) for q in own}
    found = _tie_of(link.xreplace(positive), right.xreplace(positive))
    back = {e: q for q, e in positive.items()}
    return None if found is None else (found.xreplace(back), tuple(sp.StrictGreaterThan(q, 0) for q in own))


def _tie_of(link: Switched, right: Switched) -> sp.Expr | None:
    """What decides where a flat piece of the link ties the endpoints over a half-line of scores; None where one does
    so over an interval.

    Either endpoint will do there, but it must be the one of the scores beside it: a switch that changed its mind where
    the half-line begins would meet the link's own kink.
    """
    if not link.switches:
        return sp.S.Zero
    ends = [_far_piece(link, side) for side in (1, -1)]
    if None in ends:
        return None
    flat = {link.expression.subs(pattern) for pattern in patterns(link.switches, link.expression)}
    if any(not piece.has(r) and piece not in ends for piece in flat):
        return None
    highest = ends[0]
    assert highest is not None
    levels = [sp.Abs(e) for e in ends if e is not None and not e.has(r) and e != 0]
    least = _TIE_SHARE * (1 + sp.Add(*levels)) if levels else _TIE

    def tie(e: sp.Expr, place: sp.Expr) -> sp.Expr:
        if isinstance(e, Branch):
            return Branch(place.args[0], *(tie(*pair) for pair in zip(e.args[1:], place.args[1:], strict=True)))
        return -least if e == highest and not e.has(r) else least

    return tie(link.expression, right.expression) if isinstance(link.expression, Branch) else least


def _far_piece(function: Switched, side: int) -> sp.Expr | None:
    """The piece that holds for all large ``side · r``; None where that cannot be told."""
    values: dict[sp.Symbol, int] = {}
    for switch in function.switches:
        argument = sp.expand(switch.argument.subs(values))
        if not argument.is_polynomial(r):
            return None
        lead = sp.Poly(argument, r).LC() * side ** sp.degree(argument, r) if argument.has(r) else argument
        if not (lead.is_positive or lead.is_negative):
            return None
        values[switch.symbol] = 1 if lead.is_positive else -1
    return function.expression.subs(values)


def _links(loss: sp.Expr) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    """Candidates ``(g, a)`` for a loss of ``g(r) − a y``: functions of ``r``, then what stands in a sum with ``y``."""
    found: dict[tuple[sp.Expr, sp.Expr], None] = {}
    for atom in sorted(loss.atoms(*_LINKS), key=sp.default_sort_key):
        if atom.has(r) and not atom.has(y):
            found[atom, sp.S.One] = None
    for total in sorted(loss.atoms(sp.Add), key=sp.default_sort_key):
        link, label = total.as_independent(y, as_Add=True)
        factor = -label.coeff(y)
        if link.has(r) and factor.is_number and label == -factor * y:
            found[link, factor] = None
    yield from found
