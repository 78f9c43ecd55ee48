"""What an adversary makes of a loss: the noun, and the forms of a loss that decide how it is found."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from sgdlimit.derive.convert import Switched
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
