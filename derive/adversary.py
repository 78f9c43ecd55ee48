"""The adversarial loss ``f_adv(r, n; y) = sup_{|s| ≤ ε n} f(r + s; y)`` (``docs/theory.md`` §1).

For a loss that is quasi-convex in ``r`` the supremum is at an endpoint, ``s° = ±ε n``; else the local maxima between
them compete. Which it is, and where, is decided here, symbolically, and stated; a loss for which it cannot be decided
is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import sympy as sp

from sgdlimit.derive.convert import Switch, Switched, reduce_squares, switched
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.functions import Branch, NormalCdf, Side, Sigmoid, Softplus, Tanh, textbook
from sgdlimit.derive.kinks import every_root, jumps, patterns, unplaced
from sgdlimit.derive.signs import is_nonnegative
from sgdlimit.derive.symbols import epsilon, n, r, y
from sgdlimit.derive.wording import written

KAPPA = epsilon * n


@dataclass(frozen=True)
class AdversarialLoss:
    """The supremum of a loss over the ℓ2 ball, as a piecewise smooth function of ``(r, n; y)``.

    Parameters
    ----------
    function : Switched
        ``f_adv``; its switches say on which side of each kink ``r`` is.
    case : str
        Which argument located the supremum: ``standard`` (no adversary), ``even`` or ``two-sided`` (a function of
        ``r − y``), ``margin`` (of ``y r``), ``link`` (of ``g(r) − y``), ``convex``, ``endpoints`` (no local maximum) or
        ``interior maxima``.
    statement : str
        That argument in words.
    perturbation : sympy.Expr
        ``s°``, the maximising perturbation of the score.
    form : str
        ``residual`` where the loss depends on ``u = r − y`` only, ``margin`` where on ``y r`` only, else ``general``.
    assumptions : tuple of sympy.Rel
        What the argument needs of the parameters; checked when they get numbers.
    """

    function: Switched
    case: str
    statement: str
    perturbation: sp.Expr
    form: str
    assumptions: tuple[sp.Rel, ...] = ()

    @property
    def derivative_r(self) -> Switched:
        """``∂_r f_adv`` (envelope theorem: the perturbation is held fixed)."""
        return self.function.derive(r)

    @property
    def derivative_n(self) -> Switched:
        """``∂_n f_adv``, ``ε sign(s°) f'(r + s°)``."""
        return self.function.derive(n)


def form_of(loss: sp.Expr) -> str:
    """On which combination of ``r`` and ``y`` the loss depends.

    Examples
    --------
    >>> form_of((r - y)**2), form_of(sp.exp(-r*y)), form_of(sp.exp(-r) + y)
    ('residual', 'margin', 'general')
    """
    probe = sp.Symbol("u", real=True)
    if not loss.has(y):
        return "general"
    if not loss.subs(r, probe + y).has(y):
        return "residual"
    if not loss.subs(r, probe / y).has(y):
        return "margin"
    return "general"


def check_continuity(loss: sp.Expr) -> tuple[sp.Symbol, ...]:
    """Refuse a loss that jumps in ``r``.

    Returns
    -------
    tuple of sympy.Symbol
        Parameters that must be positive: thresholds and scales are, and with another sign the pieces would not meet.

    Raises
    ------
    DerivationError
        Says where: the gradient is undefined there, and no slope away from the jump tells of it.

    Examples
    --------
    >>> check_continuity(sp.Abs(r - y))
    ()
    >>> k = sp.Symbol("k", real=True)
    >>> check_continuity(sp.Piecewise((r - k, r > k), (0, r > 0), (r, True)))
    (k,)
    >>> check_continuity(sp.Heaviside(r - y))
    Traceback (most recent call last):
    sgdlimit.derive.errors.DerivationError: loss: Heaviside(r - y) jumps by 1 at r = y; a loss must be continuous in r
    """
    jump = _a_jump(loss)
    if jump is None:
        return ()
    own = sorted((e for e in loss.free_symbols - {r, y} if not e.is_positive), key=str)
    for chosen in (*([q] for q in own), *([own] if len(own) > 1 else ())):
        if _a_jump(loss.xreplace({q: sp.Symbol(q.name, positive=True) for q in chosen})) is None:
            return tuple(chosen)
    remedy = "a loss must be continuous in r"
    if own:
        remedy += ", for all positive parameters; write thresholds in their order, as a and a + width"
    raise DerivationError("loss", f"{written(loss)} {jump}", remedy)


def _a_jump(loss: sp.Expr) -> str | None:
    """The first jump in ``r``, in words."""
    function = switched(loss, r)
    for jump in jumps(function, r):
        if not _vanishes(jump.size):
            size = "" if jump.size.has(Branch, Side) else f"by {written(jump.size, function.switches)} "
            return f"jumps {size}at r = {written(jump.point, function.switches)}"
    for switch, size in unplaced(function, r):
        # continuous where the kink's own argument divides what jumps
        if sp.fraction(sp.cancel(size / switch.argument))[1].has(r):
            by = "" if size.has(Branch, Side) else f"by {written(size, function.switches)} "
            return f"jumps {by}where {written(switch.argument, function.switches)} = 0"
    return None


def _vanishes(jump: sp.Expr) -> bool:
    """Zero whichever way its branches go."""
    if isinstance(jump, Branch):
        return all(_vanishes(e) for e in jump.args[1:])
    if isinstance(jump, sp.Mul):
        return any(_vanishes(e) for e in jump.args)
    return bool(sp.expand(jump) == 0)


def standard(loss: sp.Expr) -> AdversarialLoss:
    """No adversary: ``f_adv = f``."""
    return AdversarialLoss(
        function=switched(loss, r),
        case="standard",
        statement="Standard training: there is no adversary.",
        perturbation=sp.S.Zero,
        form=form_of(loss),
    )


def adversarial(loss: sp.Expr) -> AdversarialLoss:
    """Locate the supremum over ``|s| ≤ ε n``.

    Raises
    ------
    DerivationError
        For a loss that cannot be shown to be quasi-convex and whose interior maxima cannot be listed.
    """
    form = form_of(loss)
    found: AdversarialLoss | None = None
    if form == "residual":
        u = sp.Symbol("u", real=True)
        phi = loss.subs(y, 0).subs(r, u)
        even = sp.expand(phi.subs(u, -u) - phi) == 0
        found = _even(loss) if even else _two_sided(loss, switched(phi, u), u)
    elif form == "margin":
        found = _margin(loss)
    return found or _linked(loss, form) or _quasi_convex(loss, form) or _with_interior_maxima(loss, form)


def _even(loss: sp.Expr) -> AdversarialLoss | None:
    """Even in the residual and growing with its size; None where that cannot be shown."""
    u = sp.Symbol("u", real=True)
    phi = loss.subs(y, 0).subs(r, u)
    magnitude = sp.Symbol("u", nonnegative=True)
    assumptions = _sign_of_slope(switched(phi.subs(u, magnitude), magnitude), magnitude, +1)
    if assumptions is None:
        return None
    side = Switch(sp.Symbol("sigma0", real=True), r - y)
    worst = side.symbol * (r - y) + KAPPA  # |u| + ε n, at least 0
    inner = switched(phi.subs(u, magnitude), magnitude).substitute(magnitude, worst)
    switches = (side, *inner.switches)
    return AdversarialLoss(
        function=Switched(reduce_squares(inner.expression, switches), switches),
        case="even",
        statement="f is even in u = r − y and does not decrease in |u|: the supremum is f at |u| + ε n, "
        "attained at s° = ε n sign(u).",
        perturbation=KAPPA * sp.sign(r - y),
        form="residual",
        assumptions=assumptions,
    )


def _two_sided(loss: sp.Expr, phi: Switched, u: sp.Symbol) -> AdversarialLoss | None:
    """Linear on either side of one kink: a linear equation gives the point where both endpoints lose the same."""
    if len(phi.switches) != 1 or not phi.switches[0].argument.is_polynomial(u):
        return None
    (switch,) = phi.switches
    argument = sp.expand(switch.argument)
    rising = argument.coeff(u, 1)
    if sp.degree(argument, u) != 1 or rising not in (1, -1):
        return None
    right, left = (phi.expression.subs(switch.symbol, side * rising) for side in (1, -1))
    slopes = [right.diff(u), -left.diff(u)]
    if any(not e.is_polynomial(u) or e.has(u) for e in slopes):
        return None
    conditions = tuple(sp.expand(e) > 0 for e in slopes if not e.is_positive)
    if any(c in (False, sp.false) for c in conditions):
        return None
    (turn,) = sp.solve(right.subs(u, u + KAPPA) - left.subs(u, u - KAPPA), u)
    side = Switch(sp.Symbol("sigma0", real=True), r - y - sp.expand(turn))
    # f is the larger of its two lines, so f_adv is the larger of the lines moved apart: on either side of u° the
    # endpoint that loses more is beyond the kink, and no second switch can disagree with the first at ε = 0
    worst = [line.subs(u, r - y + sign * KAPPA) for line, sign in ((right, 1), (left, -1))]
    return AdversarialLoss(
        function=Switched(Branch(side.symbol, *worst), (side,)),
        case="two-sided",
        statement="f falls to its kink and rises beyond it, linearly: the supremum is at s° = ε n sign(u − u°), "
        "where u° is the residual at which both endpoints lose the same.",
        perturbation=KAPPA * sp.sign(r - y - sp.expand(turn)),
        form="residual",
        assumptions=conditions,
    )


def _margin(loss: sp.Expr) -> AdversarialLoss | None:
    """A monotone function of ``y r``; None where that cannot be shown."""
    margin = sp.Symbol("t", real=True)
    psi = loss.subs(r, margin / y)
    for slope, word in ((-1, "increase"), (+1, "decrease")):
        assumptions = _sign_of_slope(switched(psi, margin), margin, slope)
        if assumptions is not None:
            shift = slope * KAPPA * sp.sign(y)
            return AdversarialLoss(
                function=switched(loss, r).substitute(r, r + shift),
                case="margin",
                statement=f"f is a function of the margin y r that does not {word}: the supremum is at "
                f"s° = {'−' if slope < 0 else ''}ε n sign(y).",
                perturbation=shift,
                form="margin",
                assumptions=assumptions,
            )
    return None


_TIE = sp.Rational(1, 10**300)  # below anything that a double can notice in a sum
_TIE_SHARE = sp.Rational(1, 2**43)  # of a level: above the rounding of a sum with it, below any accuracy asked for

# Where a link bends a residual: u = g(r) − y.
_LINKS = (Tanh, Sigmoid, NormalCdf, Softplus, sp.erf, sp.atan, sp.exp, sp.Max, sp.Min)


_LINKED = (
    "f is even in g(r) − y, g monotone, and does not decrease with its size: quasi-convex in r. The supremum is at the "
    "endpoint r ± ε n at which g is farther from y."
)


def _linked(loss: sp.Expr, form: str) -> AdversarialLoss | None:
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
        slopes = [_sign_of_slope(link, r, sign) for sign in (1, -1)]
        if slopes == [None, None]:
            continue
        growing = _sign_of_slope(switched(phi.subs(t, w), w), w, +1)
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
        renamed = [_rename(end, f"_{word}") for end, word in zip(ends, ("right", "left"), strict=True)]
        tied = _tie(link, renamed[0])
        if tied is None:
            continue
        tie, thresholds = tied
        balance = direction * (renamed[0].expression + renamed[1].expression - 2 * factor * y)
        side = Switch(sp.Symbol("sigma0", real=True), balance + tie)
        inner = switched(loss, r).substitute(r, r + side.symbol * KAPPA)
        return AdversarialLoss(
            function=Switched(inner.expression, (*renamed[0].switches, *renamed[1].switches, side, *inner.switches)),
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
        at_end = _rename(link.substitute(r, r + shift), f"_{word}")
        loss = _rename(outer, f"_{word}").substitute(t, at_end.expression)
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


def _rename(function: Switched, suffix: str) -> Switched:
    return function.xreplace({w.symbol: sp.Symbol(w.symbol.name + suffix, real=True) for w in function.switches})


# Where both endpoints lose the same, they are told apart by the slope between them; below this radius, which moves
# that place by 1e-10 at most, rounding would hide the difference.
LEAST_RADIUS = sp.Float("1e-5")


def _endpoints(loss: sp.Expr) -> tuple[Switched, Switch]:
    """``f`` at the endpoint that loses more, and the switch that says which it is (+1: ``r + ε n``)."""
    right, left = (
        _rename(switched(loss, r).substitute(r, r + side * sp.Max(KAPPA, LEAST_RADIUS)), f"_{word}")
        for side, word in ((1, "right"), (-1, "left"))
    )
    radius = sp.Symbol("kappa", positive=True)
    balance = (right.expression - left.expression).subs(sp.Max(KAPPA, LEAST_RADIUS), radius)
    balance = _without_positive_factors(balance).subs(radius, sp.Max(KAPPA, LEAST_RADIUS))
    side = Switch(sp.Symbol("sigma0", real=True), balance)
    inner = switched(loss, r).substitute(r, r + side.symbol * KAPPA)
    before = (*right.switches, *left.switches) if right.switches else ()
    return Switched(inner.expression, (*before, side, *inner.switches)), side


def _without_positive_factors(expression: sp.Expr) -> sp.Expr:
    """The same sign with less to compute."""
    if not expression.is_polynomial(*expression.free_symbols):
        return _with_sinh(sp.expand(expression))
    content, factors = sp.factor_list(expression)
    # where an even power vanishes both lose the same
    return sp.sign(content) * sp.Mul(*(factor for factor, power in factors if power % 2 and not factor.is_positive))


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
_MOST_CORNERS = 4


def _endpoints_with_corners(loss: sp.Expr) -> tuple[Switched, Switch]:
    """The same for a loss with corners: each endpoint has switches of its own, at places that formulas know.

    Where both endpoints are on one piece, the difference of what they lose is freed of its factor ``ε n``; where a
    corner lies between them nothing cancels. So the switch between them is right down to ``ε n = 0``.
    """
    right, left = (
        _rename(switched(loss, r).substitute(r, r + side * KAPPA), f"_{word}")
        for side, word in ((1, "right"), (-1, "left"))
    )
    if len(right.switches) > _MOST_CORNERS:
        raise DerivationError(
            "adversary",
            f"the loss {loss} has {len(right.switches)} kinks: too many pairs of pieces for two endpoints",
            f"use a loss with {_MOST_CORNERS} kinks at most",
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
        return _on_one_piece(right, left) if one_piece else _without_positive_factors(right - left)
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
        return _without_positive_factors(sp.expand(difference)).subs(radius, KAPPA)
    return _without_positive_factors(difference).subs(radius, sp.Max(KAPPA, LEAST_RADIUS))


def _against(peak: sp.Expr, value: sp.Expr) -> sp.Expr:
    """Something with the sign of ``peak − value``, branch by branch: where they are equal it is exactly zero."""
    if isinstance(value, Branch):
        switch, *sides = value.args
        return Branch(switch, *(_against(peak, e) for e in sides))
    if isinstance(peak, Branch):
        switch, *sides = peak.args
        return Branch(switch, *(_against(e, value) for e in sides))
    difference = peak - value
    return _without_positive_factors(difference) if difference.is_polynomial(*difference.free_symbols) else difference


def _has_corners(function: Switched) -> bool:
    """Whether the slope jumps somewhere."""
    slope = function.derive(r)
    return any(not _vanishes(jump.size) for jump in jumps(slope, r)) or any(True for _ in unplaced(slope, r))


def _quasi_convex(loss: sp.Expr, form: str) -> AdversarialLoss | None:
    """Convex or monotone in ``r``: the supremum is at an endpoint, and their difference says at which."""
    function = switched(loss, r)
    convex = shown_convex(function)
    if convex is None:
        return None
    worst, side = _endpoints_with_corners(loss) if _has_corners(function) else _endpoints(loss)
    return AdversarialLoss(
        function=worst,
        case="convex",
        statement="f is convex in r: the supremum is at the endpoint r ± ε n that loses more.",
        perturbation=KAPPA * side.symbol,
        form=form,
        assumptions=convex,
    )


def shown_convex(function: Switched) -> tuple[sp.Rel, ...] | None:
    """Assumptions under which the function is convex in ``r``; None where it cannot be shown."""
    slope = function.derive(r)
    assumptions = _sign_of_slope(slope, r, +1)
    if assumptions is None or any(True for _ in unplaced(slope, r)):
        return None
    positive = {a.lhs: sp.Symbol(str(a.lhs), positive=True) for a in assumptions}
    more: list[sp.Rel] = []
    for jump in jumps(slope, r):
        size = jump.size.xreplace(positive)
        if not _nonnegative(size):
            own = sorted(size.free_symbols - {y}, key=str)
            size = size.xreplace({q: sp.Symbol(str(q), positive=True) for q in own})
            if not own or not _nonnegative(size):
                return None
            more += [q > 0 for q in own]
    return tuple(dict.fromkeys((*assumptions, *more)))


def _nonnegative(expression: sp.Expr) -> bool:
    """Shown to be nonnegative, whichever way its branches go."""
    if isinstance(expression, Branch):
        return all(_nonnegative(e) for e in expression.args[1:])
    if isinstance(expression, sp.Mul):
        branches = [e for e in expression.args if isinstance(e, Branch)]
        rest = sp.Mul(*(e for e in expression.args if not isinstance(e, Branch)))
        if branches:
            return bool(rest.is_nonnegative) and all(_nonnegative(e) for e in branches)
    return bool(expression.is_nonnegative or sp.expand(expression).is_nonnegative)


def _with_interior_maxima(loss: sp.Expr, form: str) -> AdversarialLoss:
    """Every place where ``f`` may have a local maximum competes with the endpoints where it lies in the interval."""
    places = _maxima(loss, form)
    if places is None:
        raise DerivationError(
            "adversary",
            f"the loss {loss} cannot be shown to be quasi-convex in r, and its interior maxima have neither a formula "
            "nor, as it has parameters or depends on more than r - y, numbers",
            "use a loss that is quasi-convex in r, one whose slope is a product of linear and quadratic factors, or "
            "one of r - y without parameters",
        )
    # a place that may vanish (the root of what may be negative) moves like a root there: its kinks meet others
    corners = _has_corners(switched(loss, r)) or any(place.has(sp.Max) for place in places)
    if corners and len(places) > _MOST_CORNERS:
        raise DerivationError(
            "adversary",
            f"the loss {loss} has corners and may have local maxima at {len(places)} places: too many to compare",
            f"use a loss with {_MOST_CORNERS} at most",
        )
    worst, side = _endpoints_with_corners(loss) if corners else _endpoints(loss)
    value, switches = worst.expression, list(worst.switches)
    for k, place in enumerate(places):
        if corners:
            inside = Switch(sp.Symbol(f"inside{k}", real=True), (KAPPA + r - place) * (KAPPA - r + place))
            top = switched(loss.subs(r, place), y, prefix=f"peak{k}_")
            peak = top.expression
            better = Switch(sp.Symbol(f"better{k}", real=True), _against(peak, value), (r - place,))
            switches += top.switches
        else:
            inside = Switch(sp.Symbol(f"inside{k}", real=True), sp.expand(KAPPA**2 - (r - place) ** 2))
            peak = loss.subs(r, place)
            better = Switch(sp.Symbol(f"better{k}", real=True), _without_positive_factors(peak - value))
        switches += [inside, better]
        value = Branch(inside.symbol, Branch(better.symbol, peak, value), value)
    listed = ", ".join(f"r = {place}" for place in places)
    return AdversarialLoss(
        function=Switched(value, tuple(switches), corners),
        case="interior maxima" if places else "endpoints",
        statement=f"f may have local maxima at {listed}: each competes with the endpoints r ± ε n where it lies "
        "between them, and there the loss does not change with r or n."
        if places
        else "f has no local maximum: the supremum is at the endpoint r ± ε n that loses more.",
        perturbation=KAPPA * side.symbol,
        form=form,
    )


def _maxima(loss: sp.Expr, form: str) -> tuple[sp.Expr, ...] | None:
    """Places that include every interior local maximum in ``r``; None where they cannot be listed."""
    function = switched(loss, r)
    slope = function.derive(r)
    found: dict[sp.Expr, None] = {}
    for pattern in patterns(function.switches, slope.expression):
        piece = sp.together(slope.expression.subs(pattern))
        zeros = every_root(sp.fraction(piece)[0], r) if piece.has(r) else ()
        if zeros is None:
            return _numeric_maxima(loss) if form == "residual" else None
        curvature = piece.diff(r)
        for zero in zeros:
            real = zero.replace(_is_root, _real_root)
            if not _nonnegative(sp.expand(curvature.subs(r, zero))):
                found[real] = None
    for jump in jumps(slope, r):
        if not _nonnegative(jump.size):
            found[jump.point] = None
    for switch, _ in unplaced(slope, r):
        for pattern in patterns(function.switches, switch.argument):
            zeros = every_root(switch.argument.subs(pattern), r)
            if zeros is None:
                return None
            found |= {zero.replace(_is_root, _real_root): None for zero in zeros}
    return tuple(found)


def _is_root(expression: sp.Expr) -> bool:
    return isinstance(expression, sp.Pow) and expression.exp == sp.Rational(1, 2)


def _real_root(root: sp.Expr) -> sp.Expr:
    """A root that may not exist, as a place that always does: one candidate more does no harm."""
    inside = root.args[0]
    return sp.sqrt(inside if inside.is_nonnegative else sp.Max(0, inside))


_REACH, _SAMPLES = 40, 4001  # where maxima are looked for, in r − y
_MOST_MAXIMA = 6


def _numeric_maxima(loss: sp.Expr) -> tuple[sp.Expr, ...] | None:
    """Local maxima of a function of ``u = r − y`` without parameters, found once; places in ``r``.

    Raises
    ------
    DerivationError
        Where there are too many: the function oscillates.
    """
    from scipy.optimize import brentq

    phi = textbook(loss.subs(y, 0))
    if phi.free_symbols != {r}:
        return None
    value = sp.lambdify(r, phi, "mpmath")
    slope = sp.lambdify(r, textbook(loss.subs(y, 0).diff(r)), "mpmath")
    grid = [-_REACH + 2 * _REACH * k / (_SAMPLES - 1) for k in range(_SAMPLES)]
    heights = [value(u) for u in grid]  # as mpmath has them: in doubles a far tail is 0, above a negative one
    peaks = [k for k in range(1, _SAMPLES - 1) if heights[k - 1] < heights[k] >= heights[k + 1]]
    if len(peaks) > _MOST_MAXIMA or any(abs(grid[k]) > 0.9 * _REACH for k in peaks):
        some = ", ".join(f"{grid[k]:.3g}" for k in peaks[:6])
        raise DerivationError(
            "adversary",
            f"the loss {loss} has local maxima at r - y = {some}, ...: more than can be listed",
            "use a loss with a few of them",
        )
    places = []
    for k in peaks:
        left, right = grid[k - 1], grid[k + 1]
        if slope(left) * slope(right) > 0:
            return None
        places.append(y + sp.Float(brentq(lambda u: float(slope(u)), left, right, xtol=1e-15, rtol=1e-15), 17))
    return tuple(places)


def _sign_of_slope(function: Switched, variable: sp.Symbol, sign: int) -> tuple[sp.Rel, ...] | None:
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
