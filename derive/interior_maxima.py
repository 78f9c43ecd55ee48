"""Losses that are not quasi-convex: local maxima between the ends compete with them."""

from __future__ import annotations

import sympy as sp

from sgdlimit.derive.adversarial_loss import KAPPA, AdversarialLoss
from sgdlimit.derive.convert import Switch, Switched, switched
from sgdlimit.derive.endpoints import (
    MOST_CORNERS,
    against,
    endpoints,
    endpoints_with_corners,
    has_corners,
    without_positive_factors,
)
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.functions import Branch, textbook
from sgdlimit.derive.kinks import every_root, jumps, patterns, unplaced
from sgdlimit.derive.slopes import nonnegative
from sgdlimit.derive.symbols import r, y


def with_interior_maxima(loss: sp.Expr, form: str) -> AdversarialLoss:
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
    corners = has_corners(switched(loss, r)) or any(place.has(sp.Max) for place in places)
    if corners and len(places) > MOST_CORNERS:
        raise DerivationError(
            "adversary",
            f"the loss {loss} has corners and may have local maxima at {len(places)} places: too many to compare",
            f"use a loss with {MOST_CORNERS} at most",
        )
    worst, side = endpoints_with_corners(loss) if corners else endpoints(loss)
    value, switches = worst.expression, list(worst.switches)
    for k, place in enumerate(places):
        if corners:
            inside = Switch(sp.Symbol(f"inside{k}", real=True), (KAPPA + r - place) * (KAPPA - r + place))
            top = switched(loss.subs(r, place), y, prefix=f"peak{k}_")
            peak = top.expression
            better = Switch(sp.Symbol(f"better{k}", real=True), against(peak, value), (r - place,))
            switches += top.switches
        else:
            inside = Switch(sp.Symbol(f"inside{k}", real=True), sp.expand(KAPPA**2 - (r - place) ** 2))
            peak = loss.subs(r, place)
            better = Switch(sp.Symbol(f"better{k}", real=True), without_positive_factors(peak - value))
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
            if not _is_minimum(curvature, zero):
                found[real] = None
    for jump in jumps(slope, r, apart=True):
        if not nonnegative(jump.size):
            found[jump.point] = None
    for switch, _ in unplaced(slope, r):
        for pattern in patterns(function.switches, switch.argument):
            zeros = every_root(switch.argument.subs(pattern), r)
            if zeros is None:
                return None
            found |= {zero.replace(_is_root, _real_root): None for zero in zeros}
    return tuple(found)


def _is_minimum(curvature: sp.Expr, zero: sp.Expr) -> bool:
    """Whether the slope rises at a zero, or does not fall, for every label for which the zero is real."""
    value = sp.expand(curvature.subs(r, zero))
    if nonnegative(value):
        return True
    insides = {e.args[0] for e in zero.atoms(sp.Pow) if _is_root(e)}
    if len(insides) != 1:
        return False
    (inside,) = insides
    if not inside.is_polynomial(y) or sp.degree(inside, y) != 1 or not inside.coeff(y, 1).is_number:
        return False
    size = sp.Symbol("size", nonnegative=True)
    label = (size**2 - inside.coeff(y, 0)) / inside.coeff(y, 1)
    return nonnegative(sp.expand(value.subs(y, label)))


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
    rounding = 1e-13 * max(map(abs, heights))

    def is_ripple(k: int) -> bool:
        """Whether a slope that does not change its sign was lifted above its neighbours by rounding."""
        flat = max(heights[k - 1 : k + 2]) - min(heights[k - 1 : k + 2]) <= rounding
        return bool(flat and slope(grid[k - 1]) * slope(grid[k + 1]) >= 0)

    peaks = [k for k in range(1, _SAMPLES - 1) if heights[k - 1] < heights[k] >= heights[k + 1] and not is_ripple(k)]
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
