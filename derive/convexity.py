"""Convexity of a loss in its score, shown from the expression: it makes a stationary point a minimiser (theory.md §5).

If ``f`` is convex in ``r``, so is ``f_adv(r, n)`` in ``(r, n)`` and, as it does not decrease in ``n``, the adversarial
risk in ``X``.
"""

from __future__ import annotations

import sympy as sp

from sgdlimit.derive.adversarial_loss import form_of
from sgdlimit.derive.convert import switched, to_sympy
from sgdlimit.derive.model import Loss
from sgdlimit.derive.slopes import shown_convex
from sgdlimit.derive.symbols import r, y


def convexity(loss: Loss) -> tuple[str, ...] | None:
    """Whether a loss is convex in ``r`` at every ``y``.

    Parameters
    ----------
    loss : Loss

    Returns
    -------
    tuple of str, or None
        Expressions in the parameters: where all of them are positive the loss is convex (an empty tuple: always).
        None where it cannot be shown, which does not say that it is false.

    Examples
    --------
    >>> convexity(Loss("log(1 + exp(-y*r))")), convexity(Loss("Max(0, 1 - y*r)")), convexity(Loss("sigmoid(-y*r)"))
    ((), (), None)
    >>> convexity(Loss("Piecewise(((r - y)**2/2, Abs(r - y) <= c), (c*Abs(r - y) - c**2/2, True))"))
    ('c',)
    """
    f = to_sympy(loss.text, "loss")
    if form_of(f) == "margin":
        # convex in the margin t = y r, hence in r; a kink in t has a place that does not depend on y
        f = f.subs(r, r / y)
    elif form_of(f) == "residual":
        f = f.subs(y, 0)
    function = switched(f, r)
    assumptions = shown_convex(function)
    if assumptions is None:
        # over one denominator: u ↦ (1 + u²)^{-3/2} is positive, its terms are not
        smooth = not function.switches and sp.factor(sp.together(f.diff(r, 2))).is_nonnegative
        return () if smooth else None
    return tuple(_positive(a) for a in assumptions)


def _positive(assumption: sp.Rel) -> str:
    return str(assumption.gts - assumption.lts)
