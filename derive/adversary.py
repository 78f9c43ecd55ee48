"""The adversarial loss ``f_adv(r, n; y) = sup_{|s| ≤ ε n} f(r + s; y)`` (``docs/theory.md`` §1).

For a loss that is quasi-convex in ``r`` the supremum is at an endpoint, ``s° = ±ε n``; else the local maxima between
them compete. Which it is, and where, is decided here, symbolically, and stated; a loss for which it cannot be decided
is an error, never a guess.
"""

from __future__ import annotations

import sympy as sp

from sgdlimit.derive.adversarial_loss import KAPPA, AdversarialLoss, form_of
from sgdlimit.derive.convert import Switch, Switched, reduce_squares, switched
from sgdlimit.derive.endpoints import endpoints, endpoints_with_corners, has_corners
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.functions import Branch, Side
from sgdlimit.derive.interior_maxima import with_interior_maxima
from sgdlimit.derive.kinks import jumps, unplaced, vanishes
from sgdlimit.derive.links import linked
from sgdlimit.derive.slopes import shown_convex, sign_of_slope
from sgdlimit.derive.symbols import r, y
from sgdlimit.derive.wording import written


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
    for jump in jumps(function, r, apart=True):
        if not vanishes(jump.size):
            size = "" if jump.size.has(Branch, Side) else f"by {written(jump.size, function.switches)} "
            return f"jumps {size}at r = {written(jump.point, function.switches)}"
    for switch, size in unplaced(function, r):
        # continuous where nothing is left of the jump at the kink, or the kink's own argument divides it
        if vanishes(size.subs(switch.argument, 0)):
            continue
        if sp.fraction(sp.cancel(size / switch.argument))[1].has(r):
            by = "" if size.has(Branch, Side) else f"by {written(size, function.switches)} "
            return f"jumps {by}where {written(switch.argument, function.switches)} = 0"
    return None


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
    return found or linked(loss, form) or _quasi_convex(loss, form) or with_interior_maxima(loss, form)


def _even(loss: sp.Expr) -> AdversarialLoss | None:
    """Even in the residual and growing with its size; None where that cannot be shown."""
    u = sp.Symbol("u", real=True)
    phi = loss.subs(y, 0).subs(r, u)
    magnitude = sp.Symbol("u", nonnegative=True)
    assumptions = sign_of_slope(switched(phi.subs(u, magnitude), magnitude), magnitude, +1)
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
        assumptions = sign_of_slope(switched(psi, margin), margin, slope)
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


def _quasi_convex(loss: sp.Expr, form: str) -> AdversarialLoss | None:
    """Convex or monotone in ``r``: the supremum is at an endpoint, and their difference says at which."""
    function = switched(loss, r)
    convex = shown_convex(function)
    if convex is None:
        return None
    worst, side = endpoints_with_corners(loss) if has_corners(function) else endpoints(loss)
    return AdversarialLoss(
        function=worst,
        case="convex",
        statement="f is convex in r: the supremum is at the endpoint r ± ε n that loses more.",
        perturbation=KAPPA * side.symbol,
        form=form,
        assumptions=convex,
    )
