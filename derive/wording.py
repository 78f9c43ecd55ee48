"""Expressions as their users write them: what an error says of the inside of a derivation."""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp

from sgdlimit.derive.convert import Switch
from sgdlimit.derive.functions import Branch, Side
from sgdlimit.derive.quadrature import TINY
from sgdlimit.derive.symbols import ell, r, y, y_given

_U = sp.Symbol("u", real=True)
_LATENT = sp.Symbol("L", real=True)


def written(expression: sp.Expr, switches: Iterable[Switch] = ()) -> str:
    """The expression in ``r``, ``y`` and parameters, without the engine's own symbols.

    Parameters
    ----------
    expression : sympy.Expr
    switches : iterable of Switch
        Those that it uses; each is the sign of its argument.

    Examples
    --------
    >>> sigma = sp.Symbol("sigma1", real=True)
    >>> written(Branch(sigma, 1 - y_given * r, 0), [Switch(sigma, 1 - y_given * r)])
    'Piecewise((-r*y + 1, r*y < 1), (0, True))'
    >>> written(sp.Abs(sp.tanh(ell)))
    'Abs(tanh(L)), L the linear form of r_star and xi in the target'
    """
    values: dict[sp.Symbol, sp.Expr] = {}
    for switch in switches:
        values[switch.symbol] = Side(switch.argument.xreplace(values))
    shown = expression.xreplace(values).subs({y_given: y, _U: r - y, ell: _LATENT})
    shown = shown.replace(
        lambda e: isinstance(e, sp.Max) and TINY in e.args, lambda e: sp.Max(*(a for a in e.args if a != TINY))
    )
    shown = shown.replace(
        lambda e: isinstance(e, Branch) and isinstance(e.args[0], Side),
        lambda e: sp.Piecewise((e.args[1], e.args[0].args[0] > 0), (e.args[2], True)),
    )
    text = str(shown.replace(Side, sp.sign))
    return text + (", L the linear form of r_star and xi in the target" if shown.has(_LATENT) else "")
