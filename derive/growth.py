"""How fast an expression grows, and at which variances its Gaussian expectation ceases to exist.

``E exp(c r²)`` is finite for ``2 c Q < 1`` alone, whatever a quadrature of it says. Along a ray to infinity every
expression of the language is, to leading order, ``C t^k exp(a t^q)``; that order is found from the tree up. Where
leading orders cancel, the rest is bounded by them: a refusal may come too early, and too late only for a quotient by
such a rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import sympy as sp

from sgdlimit.derive.convert import convert
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.expression import parse
from sgdlimit.derive.functions import NormalCdf, Sigmoid, Softplus
from sgdlimit.derive.model import Labels, Model, RandomLabels, Teacher
from sgdlimit.derive.signs import is_nonnegative
from sgdlimit.derive.symbols import Parameter, r, r_star, xi, y

# ── Leading orders ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Order:
    """``factor t^power exp(rate t^degree)`` for ``t → ∞``.

    Parameters
    ----------
    factor : sympy.Expr or None
        None: of unknown sign and of at most this order.
    power : sympy.Expr
    rate, degree : sympy.Expr
        ``degree`` is infinite for an exponential of an exponential; ``rate`` 0 means no exponential.
    """

    factor: sp.Expr | None
    power: sp.Expr = sp.S.Zero
    rate: sp.Expr = sp.S.Zero
    degree: sp.Expr = sp.S.Zero

    @property
    def sign(self) -> int | None:
        """Of the factor, with parameters taken as positive; None if unknown."""
        if self.factor is None:
            return None
        factor = with_positive_parameters(self.factor)
        return 1 if factor.is_positive else -1 if factor.is_negative else 0 if factor.is_zero else None

    @property
    def grows(self) -> int | None:
        """1: to infinity in size; −1: to zero; 0: to a constant; None: unknown."""
        rate = with_positive_parameters(self.rate)
        if rate.is_zero:
            power = with_positive_parameters(self.power)
            return 1 if power.is_positive else -1 if power.is_negative else 0 if power.is_zero else None
        return 1 if rate.is_positive else -1 if rate.is_negative else None


_BOUNDED = Order(None)
_UNKNOWN = sp.Symbol("C", positive=True)
"""The rate of an exponential whose exponent has an order, but no known factor."""


def with_positive_parameters(e: sp.Expr) -> sp.Expr:
    """Parameters as positive symbols, scales and widths as they are."""
    own = sorted((s for s in e.free_symbols if isinstance(s, Parameter)), key=str)
    return e.xreplace({q: sp.Symbol(q.name, positive=True) for q in own})


def order_along(e: sp.Expr, ray: Mapping[sp.Symbol, sp.Expr], t: sp.Symbol) -> Order:
    """Leading order of an expression at ``ray`` (each variable as a multiple of ``t``, or fixed).

    Examples
    --------
    >>> t = sp.Symbol("t", positive=True)
    >>> order_along(sp.cosh(r**2 / 8) * r, {r: -t}, t)
    Order(factor=-1/2, power=1, rate=1/8, degree=2)
    """
    if e in ray:
        e = ray[e]
    if not any(e.has(symbol) for symbol in (*ray, t)):
        return Order(e) if not e.is_zero else Order(sp.S.Zero)
    if e.is_Symbol:
        return Order(sp.S.One, sp.S.One) if e == t else Order(e)
    along = e.xreplace(dict(ray))
    if along.is_polynomial(t):
        polynomial = sp.Poly(along, t)
        return Order(polynomial.LC(), sp.Integer(polynomial.degree())) if not polynomial.is_zero else Order(sp.S.Zero)
    parts = [order_along(a, ray, t) for a in e.args] if not isinstance(e, sp.Piecewise) else []
    if isinstance(e, sp.Add):
        return _sum(parts)
    if isinstance(e, sp.Mul):
        product = Order(sp.S.One)
        for part in parts:
            product = _product(product, part)
        return product
    if isinstance(e, sp.exp):
        return _exponential(parts[0])
    if isinstance(e, sp.Pow):
        base, exponent = parts
        if not e.exp.has(*ray):
            return _powered(base, e.exp)
        return _exponential(_product(exponent, _logarithm(base)))
    if isinstance(e, sp.Piecewise):
        return _chosen(e, ray, t)
    if isinstance(e, (sp.Max, sp.Min)):
        return _extreme(parts, 1 if isinstance(e, sp.Max) else -1)
    (inner, *_) = parts
    return _function(type(e), inner)


def _function(kind: type, inner: Order) -> Order:
    """``kind`` of something of an order."""
    sign, grows = inner.sign, inner.grows
    negated = replace(inner, factor=None if inner.factor is None else -inner.factor)
    size = Order(None if inner.factor is None else sp.Abs(inner.factor), inner.power, inner.rate, inner.degree)
    if kind is sp.Abs:
        return size
    if kind is sp.log:
        return _logarithm(inner)
    if kind in (sp.cosh, sp.sinh):
        factor = sp.Rational(1, 2) * (sign if kind is sp.sinh and sign else 1)
        if grows in (0, -1):
            return _BOUNDED
        return _product(Order(None if sign is None and kind is sp.sinh else factor), _exponential(size))
    if kind is Softplus:
        if grows in (0, -1):
            return _BOUNDED
        return inner if sign == 1 else _exponential(inner) if sign == -1 else replace(size, factor=None)
    # bounded functions: what matters is where they vanish, for a logarithm or a quotient
    if kind in (Sigmoid, NormalCdf, sp.erfc) and grows == 1:
        towards_zero = inner if kind is not sp.erfc else negated
        if towards_zero.sign == -1:
            scale = {Sigmoid: None, NormalCdf: sp.Rational(1, 2), sp.erfc: sp.S.One}[kind]
            if scale is None:
                return _exponential(towards_zero)
            square = _product(inner, inner)
            return _exponential(_product(Order(-scale), square))
        return Order(sp.S.One) if towards_zero.sign == 1 else _BOUNDED
    if kind in (sp.tanh, sp.erf, sp.sign) and grows == 1 and sign:
        return Order(sp.Integer(sign))
    return _BOUNDED


def _chosen(e: sp.Piecewise, ray: Mapping[sp.Symbol, sp.Expr], t: sp.Symbol) -> Order:
    """The order of the branch that holds in the end, or a bound of those that may."""
    possible = []
    for value, condition in e.args:
        holds = _in_the_end(condition, ray, t)
        if holds is not False:
            possible.append(order_along(value, ray, t))
        if holds:
            break
    return possible[0] if len(possible) == 1 else _largest(possible)


def _in_the_end(condition: sp.Basic, ray: Mapping[sp.Symbol, sp.Expr], t: sp.Symbol) -> bool | None:
    """Whether a condition holds for all large ``t``; None if that cannot be told."""
    if condition in (sp.true, sp.false):
        return bool(condition)
    if isinstance(condition, sp.And | sp.Or):
        found = [_in_the_end(part, ray, t) for part in condition.args]
        decisive = isinstance(condition, sp.Or)
        return decisive if decisive in found else None if None in found else not decisive
    sign = order_along(condition.lhs - condition.rhs, ray, t).sign
    if not sign:
        return None
    return (sign == -1) == isinstance(condition, sp.StrictLessThan | sp.LessThan)


def _product(a: Order, b: Order) -> Order:
    factor = None if a.factor is None or b.factor is None else a.factor * b.factor
    power = a.power + b.power
    if a.rate == 0 or b.rate == 0:
        chosen = a if b.rate == 0 else b
        return Order(factor, power, chosen.rate, chosen.degree)
    if a.degree == b.degree:
        return Order(factor, power, a.rate + b.rate, a.degree if a.rate + b.rate != 0 else sp.S.Zero)
    chosen = a if (a.degree - b.degree).is_positive else b
    return Order(factor, power, chosen.rate, chosen.degree)


def _powered(base: Order, exponent: sp.Expr) -> Order:
    factor = None
    if base.factor is not None and (exponent.is_integer or base.sign == 1) and base.factor != 0:
        factor = base.factor**exponent
    elif exponent.is_even and base.factor is None:
        factor = sp.S.One
    return Order(factor, base.power * exponent, base.rate * exponent, base.degree)


def _exponential(inner: Order) -> Order:
    if inner.rate != 0 and inner.grows != -1:
        return Order(sp.S.One, sp.S.Zero, _UNKNOWN if inner.factor is None else inner.factor, sp.oo)
    if inner.grows in (0, -1):
        return Order(None)
    return Order(sp.S.One, sp.S.Zero, _UNKNOWN if inner.factor is None else inner.factor, inner.power)


def _logarithm(inner: Order) -> Order:
    if inner.rate != 0:
        if inner.degree == sp.oo:
            return Order(inner.rate, sp.S.Zero, sp.S.One, sp.S.One)
        return Order(inner.rate, inner.degree)
    if inner.power == 0 and inner.factor is not None and inner.sign == 1:
        return Order(sp.log(inner.factor))
    return Order(None)  # a logarithm of t, smaller than any power


def _compare(a: Order, b: Order) -> int | None:
    """Which is larger in size: 1, −1; 0 if they are of one order; None if that cannot be told."""

    rate = with_positive_parameters(a.rate - b.rate) if a.degree == b.degree else None
    if rate is None:
        larger = a if a.degree == sp.oo or (a.degree - b.degree).is_positive else b
        if larger.rate == 0:  # degrees without a rate
            rate = sp.S.Zero
        else:
            grows = larger.grows
            return None if grows is None else grows * (1 if larger is a else -1)
    if rate.is_positive or rate.is_negative:
        return 1 if rate.is_positive else -1
    if not rate.is_zero:
        return None
    power = with_positive_parameters(a.power - b.power)
    return 1 if power.is_positive else -1 if power.is_negative else 0 if power.is_zero else None


def _sum(parts: list[Order]) -> Order:
    total, *rest = [part for part in parts if part.factor != 0] or [Order(sp.S.Zero)]
    for part in rest:
        compared = _compare(total, part)
        if compared == 0:
            factor = None if total.factor is None or part.factor is None else total.factor + part.factor
            total = replace(total, factor=factor if factor != 0 else None)
        elif compared is None:
            total = replace(_largest([total, part]), factor=None)
        elif compared == -1:
            total = part
    return total


def _largest(parts: list[Order]) -> Order:
    """An order that none of the parts exceeds, of unknown sign."""
    largest, *rest = parts
    for part in rest:
        compared = _compare(largest, part)
        if compared == -1 or (compared is None and part.grows in (1, None) and largest.grows != 1):
            largest = part
    return replace(largest, factor=None)


def _extreme(parts: list[Order], side: int) -> Order:
    """The order of the largest (``side`` = 1) or the smallest of some."""
    chosen, *rest = parts
    for part in rest:
        compared = _compare(chosen, part)
        signs = {None if part.sign is None else part.sign * side, None if chosen.sign is None else chosen.sign * side}
        mine, other = (None if o.sign is None else o.sign * side for o in (chosen, part))
        if None in signs or compared is None:
            chosen = _largest([chosen, part])
        elif mine != other:
            chosen = chosen if mine > other else part  # type: ignore[operator]
        elif compared == 0:
            chosen = replace(chosen, factor=None)
        elif (compared == -1) == (mine == 1):
            chosen = part
    return chosen


# ── What is refused ─────────────────────────────────────────────────────────────────────────────────────────

_T = sp.Symbol("t_ray", positive=True)


def _rays(target: Labels | Teacher | RandomLabels | None) -> list[tuple[str, dict[sp.Symbol, sp.Expr]]]:
    """Ways to infinity: along the score; with a teacher along its own score, the noise and between."""
    fixed = {r: sp.S.Zero, r_star: sp.S.Zero, xi: sp.S.Zero}
    labels: tuple[sp.Expr, ...] = (sp.S.One, -sp.S.One) if isinstance(target, RandomLabels | Labels) else (y,)
    rays = []
    for side in (1, -1):
        for label in labels:
            ray = {r: side * _T} if isinstance(target, Teacher) else {r: side * _T, y: label}
            rays.append(("r", ray))
    if isinstance(target, Teacher):
        for side in (1, -1):
            rays.append(("r_star", {**fixed, r_star: side * _T}))
            rays.append(("xi", {**fixed, xi: side * _T}))
            for other in (1, -1):
                rays.append(("both", {r: side * _T, r_star: other * _T, xi: sp.S.Zero}))
                rays.append(("both", {r: side * _T, r_star: sp.S.Zero, xi: other * _T}))
    return rays


def check_growth(
    text: str, where: str = "loss", target: Labels | Teacher | RandomLabels | None = None, *, has_slope: bool = True
) -> tuple[sp.Rel, ...]:
    """Refuse an expression whose Gaussian expectation is infinite at some variance.

    Parameters
    ----------
    text : str
        The expression, real everywhere.
    where : str
        What it is, for the error.
    target : Labels, Teacher or RandomLabels, optional
        What ``y`` is.
    has_slope : bool
        Whether its squared slope is averaged too, as that of a loss is.

    Returns
    -------
    tuple of sympy.Rel
        What must hold of the parameters.

    Raises
    ------
    DerivationError
        Says at which variance the expectations diverge.

    Examples
    --------
    >>> check_growth("exp(-c*r**2)")
    (c > 0,)
    >>> check_growth("exp(r**2/8)")
    Traceback (most recent call last):
    sgdlimit.derive.errors.DerivationError: loss: exp(r**2/8) grows like exp(r**2/8): its risk diverges for Q >= 4 \
and its gradient noise for Q >= 2, Q the variance of r; use a loss that grows more slowly, as exp(c*Abs(r)) does
    """
    e = convert(parse(text, where=where), where)
    teacher = convert(parse(target.text, where="teacher"), "teacher") if isinstance(target, Teacher) else None
    assumptions: dict[sp.Rel, None] = {}
    for along, ray in _rays(target):
        along_ray = e
        if teacher is not None and along != "r":
            along_ray = e.xreplace({y: teacher})
        order = order_along(along_ray, ray, _T)
        rate, degree = order.rate, order.degree
        if order.factor == 0 or is_nonnegative(-rate) or is_nonnegative(sp.factor(-rate)):
            continue
        if degree != sp.oo and not with_positive_parameters(degree - 2).is_nonnegative:
            if not degree.is_number:
                assumptions[sp.StrictGreaterThan(2 - degree, 0)] = None
        elif order.grows == 1 or rate.has(y):
            raise _refusal(text, where, along, order, has_slope=has_slope)
        else:
            assumptions[sp.StrictGreaterThan(-rate, 0)] = None
    return tuple(assumptions)


def _refusal(text: str, where: str, along: str, order: Order, *, has_slope: bool) -> DerivationError:
    rate, degree = order.rate, order.degree
    remedy = f"use a {where.split()[0]} that grows more slowly, as exp(c*Abs(r)) does"
    name = {"r": "r", "r_star": "r_star", "xi": "xi"}.get(along)
    if degree == sp.oo or degree != 2:
        shown = "an exponential of an exponential" if degree == sp.oo else f"exp({rate * sp.Symbol('t') ** degree})"
        direction = f" of {name}" if name else " of r and y together"
        variable = "" if degree == sp.oo else f", t the size{direction}"
        return DerivationError(
            where,
            f"{text} grows like {shown}{variable}: its expectation diverges at every variance"
            + (direction if degree == sp.oo else ""),
            remedy,
        )
    if name is None or rate.has(y):
        return DerivationError(
            where,
            f"{text} grows like exp(c*t**2) where r and y grow together: its expectation diverges at large variances",
            remedy,
        )
    grown = f"{text} grows like exp({rate * sp.Symbol(name) ** 2})"
    variance = {"r": "Q", "r_star": "Q*", "xi": "1"}[name]
    what = {"r": "Q the variance of r", "r_star": "Q* the variance of r_star", "xi": "the variance of xi"}[name]
    risk, noise = 1 / (2 * rate), 1 / (4 * rate)
    if name == "xi":
        return DerivationError(where, f"{grown}, and E exp(c xi**2) is infinite for c >= 1/2", remedy)
    named = "its risk diverges" if has_slope else "its expectation diverges"
    noisy = f" and its gradient noise for {variance} >= {noise}" if has_slope else ""
    return DerivationError(where, f"{grown}: {named} for {variance} >= {risk}{noisy}, {what}", remedy)


def check_growths(model: Model, statistics: Mapping[str, str] | None = None) -> tuple[sp.Rel, ...]:
    """The expectations of a model, and of the user's texts, exist at every variance.

    Returns
    -------
    tuple of sympy.Rel
        What must hold of the parameters.
    """
    found = dict.fromkeys(check_growth(model.loss.text, "loss", model.target))
    for name, text in (statistics or {}).items():
        found |= dict.fromkeys(check_growth(text, f"statistic {name}", model.target, has_slope=False))
    return tuple(found)
