"""The adversarial loss ``f_adv(r, n; y) = sup_{|s| ≤ ε n} f(r + s; y)`` (``docs/theory.md`` §1).

For a loss that is quasi-convex in ``r`` the supremum is at an endpoint, ``s° = ±ε n``. Which one is decided here,
symbolically, and stated; a loss for which it cannot be decided is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import sympy as sp

from sgdlimit.derive.convert import Switch, Switched, reduce_squares, switched
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.expectation import jumps
from sgdlimit.derive.functions import Branch
from sgdlimit.derive.symbols import epsilon, n, r, y

KAPPA = epsilon * n


@dataclass(frozen=True)
class AdversarialLoss:
    """The supremum of a loss over the ℓ2 ball, as a piecewise smooth function of ``(r, n; y)``.

    Parameters
    ----------
    function : Switched
        ``f_adv``; its switches say on which side of each kink ``r`` is.
    case : str
        Which argument located the supremum: ``standard``, ``even`` or ``margin``.
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


def check_continuity(loss: sp.Expr) -> None:
    """Refuse a loss that jumps in ``r``.

    Raises
    ------
    DerivationError
        Says where: the gradient is undefined there, and no slope away from the jump tells of it.

    Examples
    --------
    >>> check_continuity(sp.Abs(r - y))
    >>> check_continuity(sp.Heaviside(r - y))
    Traceback (most recent call last):
    sgdlimit.derive.errors.DerivationError: loss: Heaviside(r - y) jumps by 1 at r = y; a loss must be continuous in r
    """
    for jump, point in jumps(switched(loss, r), r):
        if not _vanishes(jump):
            raise DerivationError("loss", f"{loss} jumps by {jump} at r = {point}", "a loss must be continuous in r")


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
        Where neither of the two arguments below applies to the loss.
    """
    form = form_of(loss)
    if form == "residual":
        u = sp.Symbol("u", real=True)
        phi = loss.subs(r, u + y)
        return _even(loss) if sp.expand(phi.subs(u, -u) - phi) == 0 else _two_sided(loss, switched(phi, u), u)
    if form == "margin":
        return _margin(loss)
    raise DerivationError(
        "adversary",
        f"the loss {loss} depends on r and y neither through r - y nor through y*r alone, "
        "so the worst perturbation cannot be located yet",
        "use a loss of r - y or of y*r, or train without an adversary",
    )


def _even(loss: sp.Expr) -> AdversarialLoss:
    u = sp.Symbol("u", real=True)
    phi = loss.subs(r, u + y)
    magnitude = sp.Symbol("u", nonnegative=True)
    assumptions = _sign_of_slope(switched(phi.subs(u, magnitude), magnitude), magnitude, +1)
    if assumptions is None:
        raise DerivationError(
            "adversary",
            f"the loss {phi.subs(u, sp.Symbol('u'))} cannot be shown to grow with |u|, u = r - y: "
            "it may have a maximum inside the ball",
            "use a loss that is quasi-convex in r, or train without an adversary",
        )
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


def _two_sided(loss: sp.Expr, phi: Switched, u: sp.Symbol) -> AdversarialLoss:
    """Linear on either side of one kink: a linear equation gives the point where both endpoints lose the same."""
    refusal = DerivationError(
        "adversary",
        f"as a function of u = r - y the loss {loss} is neither even nor linear on both sides of one kink, "
        "so the point where the worst perturbation changes its sign cannot be located yet",
        "use an even loss of r - y, or train without an adversary",
    )
    if len(phi.switches) != 1 or not phi.switches[0].argument.is_polynomial(u):
        raise refusal
    (switch,) = phi.switches
    argument = sp.expand(switch.argument)
    rising = argument.coeff(u, 1)
    if sp.degree(argument, u) != 1 or rising not in (1, -1):
        raise refusal
    right, left = (phi.expression.subs(switch.symbol, side * rising) for side in (1, -1))
    slopes = [right.diff(u), -left.diff(u)]
    if any(not e.is_polynomial(u) or e.has(u) for e in slopes):
        raise refusal
    conditions = tuple(sp.expand(e) > 0 for e in slopes if not e.is_positive)
    if any(c in (False, sp.false) for c in conditions):
        raise DerivationError(
            "adversary",
            f"the loss {loss} does not grow on both sides of its kink, so it has no worst finite perturbation there",
            "use a loss that is quasi-convex in r",
        )
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


def _margin(loss: sp.Expr) -> AdversarialLoss:
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
    raise DerivationError(
        "adversary",
        f"as a function of the margin t = y*r the loss {psi} cannot be shown to be monotone, "
        "so the worst perturbation cannot be located yet",
        "use a monotone function of y*r, or train without an adversary",
    )


def _sign_of_slope(function: Switched, variable: sp.Symbol, sign: int) -> tuple[sp.Rel, ...] | None:
    """Assumptions under which ``sign · f' ≥ 0`` everywhere; None where it cannot be shown.

    First with the parameters as they are, then with each of them taken positive (thresholds and scales are).
    """
    if _slope_has_sign(function, variable, sign):
        return ()
    own = sorted(function.expression.free_symbols - {variable, y}, key=str)
    own = [e for e in own if not any(e == w.symbol for w in function.switches)]
    for switch in function.switches:
        own += [
            e
            for e in sorted(switch.argument.free_symbols, key=str)
            if e not in own and e != variable and not str(e).startswith("sigma")
        ]
    if not own:
        return None
    positive = {q: sp.Symbol(q.name, positive=True) for q in own}
    if _slope_has_sign(function.map(lambda e: e.xreplace(positive)), variable, sign):
        return tuple(q > 0 for q in own)
    return None


def _slope_has_sign(function: Switched, variable: sp.Symbol, sign: int) -> bool:
    return all(
        any((sign * slope).expand().is_nonnegative or (sign * slope).is_nonnegative for slope in slopes)
        for slopes in _slopes(function, variable)
    )


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
