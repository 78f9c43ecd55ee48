"""A limit against one that is known: without its adversary, at ``ε → 0``, a model is that of standard training.

The standard model is derived on its own, from the loss and not from the adversarial loss, and its coefficients are
compared with those of the attacked model at ``ε = 0``. The comparison is a check and not a proof by computer algebra:
each quantity says how it was compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import sympy as sp

from sgdlimit.derive import symbols
from sgdlimit.derive.convert import Switched
from sgdlimit.derive.functions import Side, textbook
from sgdlimit.derive.limit import Limit, derive
from sgdlimit.derive.quadrature import Definition, Quadrature
from sgdlimit.derive.symbols import COEFFICIENTS, epsilon
from sgdlimit.derive.values import values_of

How: TypeAlias = Literal["expressions", "points", "integrals", "numbers", "undecided", "unequal"]

DIGITS = 30
AGREEMENT = 1e-20
"""Largest relative difference of two numbers of 30 digits that are taken as equal."""
INTEGRAL_AGREEMENT = 1e-12
"""The same for two integrals, which are computed numerically."""
NUMBERS_AGREEMENT = 1e-8
"""The same for integrals over several variables, at the states below."""

STATES = (
    {"n": 1.1, "m": 0.3, "m_star": -0.2, "beta": 0.6, "Q_perp": 0.5, "Q_star": 0.9, "y": 1.0},
    {"n": 0.8, "m": -0.5, "m_star": 0.4, "beta": -0.3, "Q_perp": 0.9, "Q_star": 0.6, "y": -1.0},
)
"""Where integrals over several variables are computed. Parameters are 0.3, 0.37, … in the order of their names."""


@dataclass(frozen=True)
class Comparison:
    """One quantity of the attacked model at ``ε = 0`` and its counterpart in the standard model.

    Parameters
    ----------
    name, counterpart : str
        Names in the attacked and in the standard limit.
    how : {"expressions", "points", "integrals", "numbers", "undecided", "unequal"}
        ``expressions``: their difference expands to 0. ``points``: they agree to 20 of 30 digits at fixed points of all
        variables. ``integrals``: they are integrals of different functions that agree numerically, to 12 digits, at
        fixed points. ``numbers``: they hold integrals over several variables, and agree to 8 digits at two states.
        ``undecided``: they do not, but the rule for such integrals is not accurate enough to tell.
        ``unequal``: none of these.
    integrands : bool
        Whether what was compared stands under the integral ``∫ φ(z) … dz``: equal integrands have equal integrals.
    difference : float
        Largest relative difference seen; 0 for ``expressions``.
    """

    name: str
    counterpart: str
    how: How
    integrands: bool = False
    difference: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether they were found equal."""
        return self.how not in ("undecided", "unequal")


@dataclass(frozen=True)
class KnownLimits:
    """The comparisons of an attacked limit with standard training.

    Parameters
    ----------
    comparisons : tuple of Comparison
        Empty for a model without an adversary: there is nothing to compare.
    points : int
        Number of points of a numerical comparison.
    """

    comparisons: tuple[Comparison, ...]
    points: int

    @property
    def hold(self) -> bool:
        """Whether every quantity was found equal to its counterpart."""
        return all(comparison.equal for comparison in self.comparisons)

    def named(self, *how: How) -> tuple[str, ...]:
        """Names of the quantities that were compared in one of these ways."""
        return tuple(c.name for c in self.comparisons if c.how in how)


def known_limits(limit: Limit) -> KnownLimits:
    """Compare a limit at ``ε = 0`` with the standard model's, derived from the same loss and target.

    Compared are the adversarial loss, the coefficients, the clean risk and the error rates, as functions of the summary
    statistics; a coefficient with integrals as the integrand whose mean over ``z ~ N(0, 1)`` it is. Parameters that the
    adversarial loss assumes positive are taken positive.

    Examples
    --------
    >>> from sgdlimit.derive import L2Adversary, Loss, Model, Teacher
    >>> found = known_limits(derive(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary())))
    >>> found.hold, found.named("expressions")
    (True, ('f_adv', 'R', 'A', 'B', 'D', 'F', 'I', 'clean_risk'))
    """
    if limit.model.adversary is None:
        return KnownLimits((), len(_POINTS))
    standard = derive(replace(limit.model, adversary=None))
    at_zero = _at_zero(limit)
    losses = [_Mean(e, _unswitched(e.adversarial_loss.function), at_zero) for e in (limit, standard)]
    comparisons = [_compare("f_adv", "f", *losses)]
    pairs = [(name, name) for name in (*COEFFICIENTS, "clean_risk", "clean_error")] + [("robust_error", "clean_error")]
    attacked_values, standard_values = ({**e.coefficients, **e.expectations} for e in (limit, standard))
    for name, counterpart in pairs:
        if name in attacked_values and counterpart in standard_values:
            first = _mean(attacked_values[name], limit, at_zero)
            second = _mean(standard_values[counterpart], standard, at_zero)
            comparisons.append(_compare(name, counterpart, first, second))
    return KnownLimits(_with_numbers(comparisons, limit, standard), len(_POINTS))


Values: TypeAlias = Mapping[sp.Symbol, sp.Expr]


def _at_zero(limit: Limit) -> dict[sp.Symbol, sp.Expr]:
    """``ε = 0``, and positive symbols for the parameters that are assumed positive."""
    values: dict[sp.Symbol, sp.Expr] = {epsilon: sp.S.Zero}
    for assumption in limit.adversarial_loss.assumptions:
        symbol = assumption.lhs
        if isinstance(assumption, sp.StrictGreaterThan) and symbol.is_Symbol and assumption.rhs == 0:
            values[symbols.parameter(symbol.name)] = sp.Symbol(symbol.name, positive=True)
    return values


def _unswitched(function: Switched) -> sp.Expr:
    """A piecewise function with its switches written out."""
    values: dict[sp.Symbol, sp.Expr] = {}
    for switch in function.switches:
        values[switch.symbol] = Side(switch.argument.xreplace(values))
    return function.expression.xreplace(values)


# ── A quantity as the mean of an integrand ──────────────────────────────────────────────────────────────────


class _Mean:
    """``∫ φ(z) integrand dz`` at ``ε = 0``; the integrand itself if it does not depend on ``z``."""

    def __init__(
        self,
        limit: Limit,
        integrand: sp.Expr,
        at_zero: Values,
        variables: Iterable[sp.Symbol] = (),
        kinks: Iterable[sp.Expr] = (),
        linear: bool = True,
    ) -> None:
        self.integrand = integrand.xreplace(at_zero)
        self.variables = tuple(v for v in variables if self.integrand.has(v))
        self.kinks = tuple(kinks)
        self.linear = linear
        self.parameters = limit.model.parameters


def _mean(expression: sp.Expr, limit: Limit, at_zero: Values) -> _Mean:
    """A coefficient with its integrals opened and its definitions written out."""
    values: dict[sp.Symbol, sp.Expr] = dict(at_zero)
    _define(limit.definitions, values)
    variables: dict[sp.Symbol, None] = {}
    crooked: set[sp.Symbol] = set()
    for quadrature in limit.quadratures:
        crooked |= _open(quadrature, values, variables, ())
    linear = _is_affine(expression, limit.quadratures) and not expression.has(*crooked)
    opened = (quadrature for quadrature in limit.quadratures if not quadrature.curves)
    kinks = [point.xreplace(values) for quadrature in opened for point in quadrature.breakpoints]
    return _Mean(limit, expression.xreplace(values), at_zero, variables, kinks, linear)


def _is_affine(expression: sp.Expr, quadratures: Iterable[Quadrature]) -> bool:
    """Whether an expression is affine in the integrals of some quadratures."""
    integrals = [integrand.symbol for quadrature in quadratures for integrand in quadrature.integrands]
    return not any(expression.diff(e).has(*integrals) for e in integrals if expression.has(e))


def _define(definitions: Iterable[Definition], values: dict[sp.Symbol, sp.Expr]) -> None:
    for definition in definitions:
        values[definition.symbol] = definition.expression.xreplace(values)


def _open(
    quadrature: Quadrature,
    values: dict[sp.Symbol, sp.Expr],
    variables: dict[sp.Symbol, None],
    outer: tuple[sp.Symbol, ...],
) -> set[sp.Symbol]:
    """Put integrands for the integrals. Quadratures among the definitions are inner ones, over variables of their own.

    The mean of the integrands over all the variables is the integral if they are affine in their inner integrals; those
    that are not are returned.
    """
    if quadrature.curves:
        # written out, what a line through regions evaluates is no expression that algebra could compare
        return {integrand.symbol for integrand in quadrature.integrands}
    variable = quadrature.variable
    while variable in outer:
        variable = sp.Symbol(f"{variable.name}'", real=True)
    variables[variable] = None
    within = {**values, quadrature.variable: variable}
    unopened: dict[sp.Symbol, sp.Expr] = {}  # the definitions, with the inner integrals left as symbols
    crooked: set[sp.Symbol] = set()
    for item in quadrature.steps:
        if isinstance(item, Quadrature):
            crooked |= _open(item, within, variables, (*outer, variable))
        else:
            _define([item], within)
            _define([item], unopened)
    for integrand in quadrature.integrands:
        values[integrand.symbol] = integrand.expression.xreplace(within)
        expression = integrand.expression.xreplace(unopened)
        if (
            integrand.masses
            or integrand.jump
            or not _is_affine(expression, quadrature.inner)
            or expression.has(*crooked)
        ):
            crooked.add(integrand.symbol)
    return crooked


# ── Comparing ───────────────────────────────────────────────────────────────────────────────────────────────


def _compare(name: str, counterpart: str, first: _Mean, second: _Mean) -> Comparison:
    integrands = bool(first.variables or second.variables)
    if not (first.linear and second.linear):
        return Comparison(name, counterpart, "undecided", True, float("nan"))
    if first.integrand == second.integrand:
        return Comparison(name, counterpart, "expressions", integrands)
    if len({*first.variables, *second.variables}) > 1:
        # neither algebra nor arithmetic of a nested integral is done in the time that a document may take
        return Comparison(name, counterpart, "undecided", True, float("nan"))
    if sp.expand(first.integrand - second.integrand) == 0:
        return Comparison(name, counterpart, "expressions", integrands)
    difference = max(_difference(*pair) for pair in _at_points(first, second))
    if difference <= AGREEMENT:
        return Comparison(name, counterpart, "points", integrands, difference)
    if integrands:
        difference = 0.0
        for pair in _integrals(first, second):
            difference = max(difference, _difference(*pair))
            if difference > INTEGRAL_AGREEMENT:
                return Comparison(name, counterpart, "unequal", True, difference)
        return Comparison(name, counterpart, "integrals", True, difference)
    return Comparison(name, counterpart, "unequal", integrands, difference)


def _with_numbers(comparisons: Iterable[Comparison], attacked: Limit, standard: Limit) -> tuple[Comparison, ...]:
    """What neither algebra nor one integral decided, by numbers at the states."""
    found = {c.name: c for c in comparisons}
    waiting = {c.name: c.counterpart for c in found.values() if c.how == "undecided"}
    if not waiting:
        return tuple(found.values())
    try:
        coarse = _at_state(attacked, waiting, STATES[0], 5)
        fine = [_at_state(attacked, waiting, state, 8) for state in STATES]
        plain = [_at_state(standard, waiting.values(), state, 8) for state in STATES]
    except NotImplementedError:  # three variables; a function that NumPy does not have
        return tuple(found.values())
    for name, counterpart in waiting.items():
        pairs = zip(fine, plain, strict=True)
        # NaN is no agreement
        difference = float(np.max([_relative(here[name], there[counterpart]) for here, there in pairs]))
        error = _relative(fine[0][name], coarse[name])
        how: How = "undecided"
        if difference <= NUMBERS_AGREEMENT:
            how = "numbers"
        elif difference > max(1e-4, 100 * error):
            how = "unequal"
        found[name] = Comparison(name, counterpart, how, True, difference)
    return tuple(found.values())


def _relative(first: float, second: float) -> float:
    """Relative to the larger, and to 1e-6 where both are smaller; NaN stays."""
    return abs(first - second) / max(abs(first), abs(second), 1e-6)


def _at_state(limit: Limit, names: Iterable[str], state: Mapping[str, float], nodes: int) -> dict[str, float]:
    """Quantities at a state with ``ε = 0``."""
    values = {getattr(symbols, name): value for name, value in state.items()}
    values[symbols.dm] = state["m"] - state["m_star"]
    values[symbols.beta1] = state["beta"] - 1
    values[symbols.Q] = state["Q_perp"] + state["beta"] ** 2 * state["Q_star"]
    for k, name in enumerate(sorted(limit.model.parameters, key=lambda e: (e == "epsilon", e))):
        for symbol in {symbols.parameter(name), symbols.Parameter(name, positive=True)}:
            values[symbol] = 0.3 + 0.07 * k
    values[epsilon] = 0.0
    known = {**limit.coefficients, **limit.expectations}
    return values_of(limit, {name: known[name] for name in names}, values, nodes)


def _difference(first: Any, second: Any) -> float:
    """Relative; infinite where a number is none."""
    largest = max(abs(first), abs(second))
    if largest == 0:
        return 0.0
    relative = float(abs(first - second) / largest)
    return relative if relative == relative else float("inf")


# Odd fractions, so that no point is at a kink by chance; both signs of what has one, labels ±1.
_POINTS = tuple(
    {"sign": sign, "label": label, "numerator": numerator}
    for sign, label, numerator in ((1, 1, 37), (-1, 1, 53), (1, -1, 89), (-1, -1, 131), (1, 1, 167), (-1, 1, 199))
)


def _values(
    symbols_: Iterable[sp.Symbol], point: Mapping[str, int], parameters: tuple[str, ...]
) -> dict[sp.Symbol, sp.Expr]:
    """Values of symbols at a point: parameters in (0, 1), the rest in (0, 3), negative ones where a symbol may be."""
    values: dict[sp.Symbol, sp.Expr] = {}
    for k, symbol in enumerate(sorted(symbols_, key=lambda e: (e.name, sp.default_sort_key(e)))):
        if symbol == symbols.y:
            values[symbol] = sp.Integer(point["label"])
            continue
        size = sp.Rational(1 + (point["numerator"] * (2 * k + 3)) % 211, 223)
        if symbol.name in parameters:
            values[symbol] = size
        else:
            values[symbol] = 3 * size if symbol.is_nonnegative else 3 * size * point["sign"] * (-1) ** k
    return values


def _at_points(first: _Mean, second: _Mean) -> Iterator[tuple[Any, Any]]:
    free = first.integrand.free_symbols | second.integrand.free_symbols
    for point in _POINTS:
        values = _values(free, point, first.parameters)
        yield _number(first.integrand, values), _number(second.integrand, values)


def _number(expression: sp.Expr, values: Values) -> Any:
    """A value to 30 digits; with numbers in them, switches become numbers and branches choose."""
    return sp.N(textbook(expression.xreplace(values)), DIGITS)


def _integrals(first: _Mean, second: _Mean) -> Iterator[tuple[Any, Any]]:
    """Both means at two of the points."""
    free = (first.integrand.free_symbols | second.integrand.free_symbols) - {*first.variables, *second.variables}
    for mean in (first, second):
        free = free.union(*(e.free_symbols for e in mean.kinks))
    for point in _POINTS[:2]:
        values = _values(free, point, first.parameters)
        yield _integral(first, values), _integral(second, values)


def _integral(mean: _Mean, values: Values) -> Any:
    """By Gauss–Legendre on panels that end at the kinks, with 20 digits."""
    import mpmath

    integrand = textbook(mean.integrand.xreplace(values))
    if not mean.variables:
        return sp.N(integrand, DIGITS)
    (variable,) = mean.variables
    density = sp.exp(-(variable**2) / 2) / sp.sqrt(2 * sp.pi)
    functions = {"Branch": lambda side, plus, minus: plus if side > 0 else minus, "Side": lambda e: 1 if e > 0 else -1}
    function = sp.lambdify(variable, density * integrand, modules=[functions, "mpmath"])
    with mpmath.workdps(20):
        kinks = {mpmath.mpf(sp.N(kink.xreplace(values), 20)) for kink in mean.kinks}
        grid = sorted({*mpmath.linspace(-10, 10, 41), *(kink for kink in kinks if abs(kink) < 10)})
        return mpmath.quad(function, grid, method="gauss-legendre", maxdegree=3)
