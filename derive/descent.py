"""Greedy learning rates (``docs/theory.md`` §4): how fast a statistic falls, from the mode equations.

A statistic ``φ`` of the state has ``dφ/dt = −γ first + γ² second``: the chain rule through its slopes in every ``x_j``
and ``v_j``. What makes it fall fastest is ``γ = first/(2 second)``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sympy as sp

from sgdlimit.derive.dynamics import ModeEquations, class_average
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.quadrature import Definition
from sgdlimit.derive.summary import INVERSE_NORM, NORM2, over_classes, over_modes
from sgdlimit.derive.symbols import (
    A,
    B,
    D,
    F,
    e,
    e_optimum,
    gamma,
    j,
    lam,
    mu,
    n,
    noise,
    of_v,
    of_x,
    offset,
    slope,
    tau,
    v,
    x,
    x_star,
)


@dataclass(frozen=True)
class Descent:
    """``dφ/dt = −γ first + γ² second`` along the mode equations.

    Parameters
    ----------
    statistic : str
        What ``φ`` is.
    first, second : sympy.Expr
        Sums over modes in ``x``, ``e = x − X*``, ``v``, the rates ``offset``, ``slope`` and ``noise``, the weights, and
        in ``of_x`` and ``of_v`` where there are averages.
    weights : tuple of Definition
        ``∂φ/∂(sum)`` for the sums over modes and classes that ``φ`` is made of, where that is not a number.
    averages : mapping of str to sympy.Expr
        ``of_x`` and ``of_v`` are the slopes through these expectations ``Σ_i p_i E g``: by the name of ``g``, with the
        weight of each. Their coefficients are ``A_name``, ``B_name``, ``D_name``, ``F_name``.
    """

    statistic: str
    first: sp.Expr
    second: sp.Expr
    weights: tuple[Definition, ...] = ()
    averages: tuple[tuple[str, sp.Expr], ...] = ()


# dx_j/dt over γ, in one piece: near the optimum its terms cancel, and a product of them would keep no digit
_DRIFT = sp.Symbol("drift", real=True)


def _along_the_flow(statistic: str, rise_x: sp.Expr, rise_v: sp.Expr) -> Descent:
    """The descent of a statistic with slopes ``rise_x`` in ``x_j`` and ``rise_v`` in ``v_j``."""
    first = -(rise_x * _DRIFT + 2 * rise_v * slope * v)
    return Descent(statistic, over_modes(first.subs(_DRIFT, offset + slope * e)), over_modes(rise_v * noise))


def risk_descent(equations: ModeEquations) -> Descent:
    """Exact line search: ``φ = ℛ = Σ_i p_i R_i + (τ/2) n²``.

    By Price's theorem ``∂R/∂m = A``, ``∂R/∂Q = B/2``, ``∂R/∂c = D`` and ``∂R/∂n = F``, so that ``∂ℛ/∂x_j`` is the drift
    and ``∂ℛ/∂v_j`` half of its slope: nothing needs computing that the mode equations have not.

    Raises
    ------
    DerivationError
        For an update rule whose drift is not the gradient of ``ℛ``.

    Examples
    --------
    >>> from sgdlimit.derive.dynamics import mode_equations
    >>> risk_descent(mode_equations()).first
    Sum((e[j]*slope[j] + offset[j])**2 + slope[j]**2*v[j], (j, 1, N))
    """
    gradient_x = class_average(sp.expand(mu * A + lam * (B * x + D * x_star) + F * x / n + tau * x))
    twice_gradient_v = class_average(sp.expand(lam * B + F / n + tau))
    if sp.expand(gradient_x + equations.drift / gamma) != 0 or sp.expand(twice_gradient_v + equations.slope) != 0:
        why = f"the drift {equations.drift} is not that of gradient descent on the adversarial risk"
        raise DerivationError("step size", why, "use a constant learning rate or a schedule with this update rule")
    return _along_the_flow("adversarial_risk", -_DRIFT, -slope / 2)


def distance_descent() -> Descent:
    """Polyak, idealised: ``φ = ‖X − X°‖² = Σ_j ((x_j − X°_j)² + v_j)``.

    Examples
    --------
    >>> distance_descent().second
    Sum(noise[j], (j, 1, N))
    """
    return _along_the_flow("optimum_distance2", 2 * e_optimum, sp.S.One)


def statistic_descent(
    name: str, statistics: Mapping[str, sp.Expr], expectations: Collection[str], equations: ModeEquations
) -> Descent:
    """Of any statistic that is a function of the norm, of sums over modes, of the risk and of expectations.

    Parameters
    ----------
    name : str
        Of the statistic.
    statistics : mapping of str to sympy.Expr
        All of them.
    expectations : collection of str
        Names of expectations whose slopes in the score's law can be had.
    equations : ModeEquations

    Raises
    ------
    DerivationError
        For a statistic that does not exist, or whose slope is not known.
    """
    if name not in statistics:
        known = ", ".join(k for k in statistics if k not in ("learning_rate", "effective_ridge"))
        raise DerivationError("step size", f"there is no statistic {name}", f"they are {known}")
    expression = statistics[name].subs(INVERSE_NORM, 1 / n).subs(n, sp.sqrt(NORM2))
    if expression.has(gamma):
        raise DerivationError("step size", f"{name} is about the learning rate itself", "choose another statistic")
    risk_descent(equations)  # or the slope of the risk is not the drift
    sums = {total: sp.Dummy(f"sum{k}", real=True) for k, total in enumerate(_sums(expression))}
    weights: list[Definition] = []
    averages: list[tuple[str, sp.Expr]] = []
    rise_x, rise_v = sp.S.Zero, sp.S.Zero
    for total, place in sums.items():
        weight = expression.xreplace(sums).diff(place).xreplace({dummy: t for t, dummy in sums.items()})
        if not weight.is_number:
            weights.append(Definition(sp.Symbol(f"weight{len(weights) + 1}", real=True), weight))
            weight = weights[-1].symbol
        if total == NORM2:
            of_total = (2 * x, sp.S.One)
        elif isinstance(total, sp.Sum) and total.variables == [j]:
            summand = total.function.subs(x - x_star, e)
            of_total = (summand.diff(x) + summand.diff(e), summand.diff(v))
        elif total == over_classes("R"):
            of_total = (-_DRIFT - tau * x, -(slope + tau) / 2)
        else:
            average = next((g for g in expectations if total == over_classes(g)), None)
            if average is None:
                why = f"how {name} changes with the iterate is not known to the mode equations"
                raise DerivationError("step size", why, "choose a risk, a norm, an overlap or a distance")
            averages.append((average, weight))
            continue
        rise_x, rise_v = rise_x + weight * of_total[0], rise_v + weight * of_total[1]
    if averages:
        rise_x, rise_v = rise_x + of_x, rise_v + of_v
    found = _along_the_flow(name, rise_x, rise_v)
    return Descent(name, found.first, found.second, tuple(weights), tuple(averages))


def _sums(expression: sp.Expr) -> list[sp.Expr]:
    found = sorted(expression.atoms(sp.Sum), key=sp.default_sort_key)
    return [*found, NORM2] if expression.has(NORM2) else list(found)
