"""Where an expression is a real number: what is complex, infinite or undefined somewhere is refused, with the place.

A loss is asked for its gradient at every score that a Gaussian can have, so a logarithm of what may be negative, a
root of it or a quotient by what may vanish is no loss. The tree is checked as it was written: simplified,
``sqrt(r)**2`` would be an innocent ``r``.

Each such part makes a demand on its argument: positive, nonnegative or not zero. It is met where that can be shown
exactly (:mod:`sgdlimit.derive.signs`), for all parameters or for positive ones, which is then an assumption that is
checked when the parameters get numbers. Where neither this nor the contrary can be shown, a fixed grid of points is
looked at, and the first that fails is named.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import assert_never

import sympy as sp

from sgdlimit.derive import symbols
from sgdlimit.derive.convert import convert
from sgdlimit.derive.errors import DerivationError, ModelError
from sgdlimit.derive.expression import (
    PI,
    Binary,
    Call,
    Comparison,
    Conditional,
    Expression,
    Name,
    Number,
    Otherwise,
    Unary,
    canonical,
    names,
    parse,
    value_at,
)
from sgdlimit.derive.functions import NormalCdf, Sigmoid, Softplus
from sgdlimit.derive.model import RESERVED, Labels, Model, RandomLabels, Teacher
from sgdlimit.derive.signs import bounds, is_nonnegative, is_nonzero, is_positive
from sgdlimit.derive.symbols import r, r_star, xi, y

VARIABLES = (r, y, r_star, xi, symbols.n)
"""What varies from sample to sample, or with the iterate; the rest are parameters."""

_SCORES = (0.0, 0.1, -0.1, 0.5, -0.5, 1.0, -1.0, 1.7, -1.7, 3.0, -3.0, 10.0, -10.0, 40.0, -40.0)
_TARGETS = (1.0, -1.0, 0.0, 0.5, 2.0, -2.0, -9.0)
_NOISES = (0.0, 1.0, -1.0)
_PARAMETERS = (1.0, 0.5, 2.0, 3.5)


# ── Conditions known to hold ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Fact:
    """A condition of a ``Piecewise`` that holds (or fails) where a part of it is evaluated."""

    condition: Expression
    holds: bool

    def at(self, point: Mapping[str, float]) -> bool:
        return (value_at(self.condition, point) != 0) == self.holds

    def inequalities(self) -> Iterator[tuple[sp.Expr, bool]]:
        """``(expression, strict)``: it is ``> 0`` or ``>= 0``. What a disjunction says is left to the points."""
        match self.condition:
            case Binary("&", left, right) if self.holds:
                yield from _Fact(left, True).inequalities()
                yield from _Fact(right, True).inequalities()
            case Binary("|", left, right) if not self.holds:
                yield from _Fact(left, False).inequalities()
                yield from _Fact(right, False).inequalities()
            case Comparison(sign, left, right):
                difference = convert(right) - convert(left) if sign in ("<", "<=") else convert(left) - convert(right)
                strict = sign in ("<", ">")
                yield (difference, strict) if self.holds else (-difference, not strict)


def _under(e: sp.Expr, facts: tuple[_Fact, ...]) -> sp.Expr:
    """The expression, with the distance to the edge of each linear condition in place of a variable."""
    number = 0
    for fact in facts:
        for inequality, strict in fact.inequalities():
            for variable in (r, r_star, y, xi):
                if not (inequality.has(variable) and inequality.is_polynomial(variable)):
                    continue
                expanded = sp.expand(inequality)
                slope = expanded.coeff(variable, 1)
                if sp.degree(expanded, variable) == 1 and slope.is_number:
                    number += 1
                    assumptions = {"positive": True} if strict else {"nonnegative": True}
                    distance = sp.Symbol(f"distance{number}", **assumptions)
                    e = sp.expand(e.subs(variable, (distance - expanded.coeff(variable, 0)) / slope))
                    break
    return e


# ── Demands ─────────────────────────────────────────────────────────────────────────────────────────────────

_SHOWN = {"positive": is_positive, "nonnegative": is_nonnegative, "nonzero": is_nonzero}
_FAILS = {"positive": "<= 0", "nonnegative": "< 0", "nonzero": "= 0"}


@dataclass
class _Check:
    """One expression on its way through the check."""

    where: str
    text: str
    target: Labels | Teacher | RandomLabels | None
    assumptions: dict[sp.Rel, None] = field(default_factory=dict)

    def walk(self, node: Expression | Otherwise, facts: tuple[_Fact, ...] = ()) -> None:
        """Children first, so that what is demanded of an argument is asked of a real number."""
        match node:
            case Number() | Name() | Otherwise():
                pass
            case Unary(_, operand):
                self.walk(operand, facts)
            case Binary(sign, left, right) | Comparison(sign, left, right):
                self.walk(left, facts)
                self.walk(right, facts)
                if sign == "/":
                    self.demand("nonzero", right, node, facts)
                elif sign == "**":
                    self.power(left, right, node, facts)
            case Call(function, arguments):
                for argument in arguments:
                    self.walk(argument, facts)
                if function == "log":
                    self.demand("positive", arguments[0], node, facts)
                elif function == "sqrt":
                    self.demand("nonnegative", arguments[0], node, facts)
                elif function == "tan":
                    self.poles(arguments[0], node)
            case Conditional(branches):
                for value, condition in branches:
                    self.walk(condition, facts)
                    if isinstance(condition, Otherwise):
                        self.walk(value, facts)
                        break
                    self.walk(value, (*facts, _Fact(condition, True)))
                    facts = (*facts, _Fact(condition, False))
            case _:
                assert_never(node)

    def power(self, base: Expression, exponent: Expression, node: Expression, facts: tuple[_Fact, ...]) -> None:
        """A negative base wants a whole exponent, a vanishing one wants a positive exponent."""
        power = convert(exponent)
        if power.is_Integer:
            if power.is_negative:
                self.demand("nonzero", base, node, facts)
        elif power.is_number:
            self.demand("nonnegative" if power.is_positive else "positive", base, node, facts)
        elif _varies(power) or not self.is_shown("nonnegative", convert(base), facts, note=True):
            self.demand("positive", base, node, facts)
        elif not self.is_shown("positive", convert(base), facts, note=True):
            # at a zero of the base: a slope that is square integrable there
            self.assume(power - sp.Rational(1, 2))

    def poles(self, argument: Expression, node: Expression) -> None:
        e = convert(argument)
        if _varies(e) and not bounds(e).is_within(-1.57, 1.57):
            raise self.refusal(node, "is infinite", f"where {canonical(argument)} is an odd multiple of pi/2")

    def demand(self, kind: str, argument: Expression, node: Expression, facts: tuple[_Fact, ...]) -> None:
        """Refuse an argument that is not what it must be."""
        e = convert(argument)
        if self.is_shown(kind, e, facts, note=True):
            return None
        if not _varies(e):
            needed = sp.Abs(e) if kind == "nonzero" else e
            if e.is_number or is_nonnegative(-needed):
                raise self.refusal(node, _what(kind, node), "everywhere")
            return self.assume(needed)
        if isinstance(self.target, Labels) and not e.has(r):
            return None  # it hangs on the labels: asked when they are known
        if self._holds_at_targets(kind, e, facts):
            return None
        region = None if facts else region_of(e, kind)
        point = self.counterexample(kind, argument, facts)
        if region is None and point is None:
            return None
        place = f"for {region}" if region else f"where {canonical(argument)} {_FAILS[kind]}"
        if region is None and point:
            place += f", for example at {', '.join(f'{name} = {value:g}' for name, value in point.items())}"
        raise self.refusal(node, _what(kind, node), place)

    def is_shown(self, kind: str, e: sp.Expr, facts: tuple[_Fact, ...], *, note: bool = False) -> bool:
        """Whether the demand is met: for all parameters, or, which is noted, for positive ones."""
        shown = _SHOWN[kind]
        if shown(e) or (facts and shown(e := _under(e, facts))):
            return True
        own = [s for s in sorted(e.free_symbols, key=str) if isinstance(s, symbols.Parameter)]
        if not own or (not _varies(e) and not any(str(s).startswith("distance") for s in e.free_symbols)):
            return False
        for chosen in ([q] for q in own) if len(own) > 1 else ():
            if shown(_positive(e, chosen)):
                break
        else:
            if not shown(_positive(e, chosen := own)):
                return False
        if note:
            for q in chosen:
                self.assume(q)
        return True

    def assume(self, e: sp.Expr) -> None:
        """Note ``e > 0``, unless it always is."""
        if not e.is_positive:
            self.assumptions[sp.StrictGreaterThan(e, 0)] = None

    def _holds_at_targets(self, kind: str, e: sp.Expr, facts: tuple[_Fact, ...]) -> bool:
        """Whether it is met at the targets that there are."""
        if not e.has(y) or facts:
            return False
        if isinstance(self.target, RandomLabels):
            return all(self.is_shown(kind, e.subs(y, label), ()) for label in (1, -1))
        if isinstance(self.target, Teacher):
            return self.is_shown(kind, e.subs(y, convert(parse(self.target.text))), (), note=True)
        return False

    def counterexample(self, kind: str, argument: Expression, facts: tuple[_Fact, ...]) -> dict[str, float] | None:
        """A point of the grid where the demand is not met, in the names that the argument uses.

        Nothing but a change of sign between two points tells of a zero, and then not of its place: no names.
        """
        fails: Callable[[float], bool] = {
            "positive": lambda v: v <= 0,
            "nonnegative": lambda v: v < 0,
            "nonzero": lambda v: v == 0,
        }[kind]
        used = set(names(argument)).union(*(names(fact.condition) for fact in facts))
        signs: set[bool] = set()
        for point in _grid(used, self.target):
            try:
                value = value_at(argument, point) if all(fact.at(point) for fact in facts) else None
            except (ArithmeticError, ValueError):
                continue  # an overflow: its parts were checked before
            if value is None:
                continue
            if fails(value):
                return {name: point[name] for name in names(argument)}
            signs.add(value > 0)
            if kind == "nonzero" and len(signs) == 2 and not facts and _is_continuous(argument):
                return {}
        return None

    def refusal(self, node: Expression, what: str, place: str) -> DerivationError:
        part = "it" if canonical(node) == self.text else canonical(node)
        return DerivationError(
            self.where,
            f"{part} {what} {place}" + ("" if part == "it" else f", in {self.text}"),
            "write an expression that is real and finite everywhere, or guard it with Piecewise",
        )


def _what(kind: str, node: Expression) -> str:
    match node:
        case Binary("/"):
            return "divides by zero"
        case Call("log") if kind == "positive":
            return "is complex or undefined"
        case _:
            return {"nonnegative": "is complex", "positive": "is complex or infinite", "nonzero": "is infinite"}[kind]


def _is_continuous(node: Expression | Otherwise) -> bool:
    """Whether there is no jump in a tree: then it has a zero between values of both signs."""
    match node:
        case Call("sign" | "Heaviside") | Conditional():
            return False
        case Call(_, arguments):
            return all(map(_is_continuous, arguments))
        case Binary(_, left, right):
            return _is_continuous(left) and _is_continuous(right)
        case Unary(_, operand):
            return _is_continuous(operand)
        case _:
            return True


def _varies(e: sp.Expr) -> bool:
    return any(e.has(variable) for variable in VARIABLES)


def _positive(e: sp.Expr, chosen: list[sp.Symbol]) -> sp.Expr:
    return e.xreplace({q: sp.Symbol(q.name, positive=True) for q in chosen})


def _grid(used: set[str], target: Labels | Teacher | RandomLabels | None) -> Iterator[dict[str, float]]:
    """Points in the names that are used; the target takes values that it has."""
    teacher = parse(target.text) if isinstance(target, Teacher) and "y" in used else None
    named = (used | set(names(teacher))) - {"y"} if teacher is not None else used
    axes: dict[str, tuple[float, ...]] = {}
    for name in sorted(named):
        axes[name] = {"r": _SCORES, "r_star": _SCORES[:11], "xi": _NOISES, "n": (1.0, 0.3), PI: (0.0,)}.get(name, ())
    if "y" in named:
        axes["y"] = (1.0, -1.0) if isinstance(target, RandomLabels) else _TARGETS
    axes = {name: values for name, values in axes.items() if values}
    own = sorted(name for name in named if name not in RESERVED or name in ("epsilon", "tau"))
    for values in product(*axes.values()):
        for k in range(len(_PARAMETERS) if own else 1):
            point = dict(zip(axes, values, strict=True))
            point |= {name: _PARAMETERS[(k * (i + 1)) % len(_PARAMETERS)] for i, name in enumerate(own)}
            if teacher is not None:
                try:
                    point["y"] = value_at(teacher, point)
                except (ArithmeticError, ValueError):
                    continue
            yield point


# ── Places ──────────────────────────────────────────────────────────────────────────────────────────────────

# Increasing functions: the inverse, and the range.
_INVERSES: dict[type, tuple[object, sp.Expr, sp.Expr]] = {
    sp.exp: (sp.log, sp.S.Zero, sp.oo),
    sp.log: (sp.exp, -sp.oo, sp.oo),
    sp.sinh: (sp.asinh, -sp.oo, sp.oo),
    sp.tanh: (sp.atanh, -sp.S.One, sp.S.One),
    sp.atan: (sp.tan, -sp.pi / 2, sp.pi / 2),
    sp.erf: (sp.erfinv, -sp.S.One, sp.S.One),
    Sigmoid: (lambda p: sp.log(p / (1 - p)), sp.S.Zero, sp.S.One),
    NormalCdf: (lambda p: sp.sqrt(2) * sp.erfinv(2 * p - 1), sp.S.Zero, sp.S.One),
    Softplus: (lambda p: sp.log(sp.exp(p) - 1), sp.S.Zero, sp.oo),
}


def region_of(e: sp.Expr, kind: str) -> str | None:
    """Where a demand is certainly not met, in words; None where that is not simply said.

    Examples
    --------
    >>> region_of(r - y, "positive"), region_of(4 - r**2, "nonnegative"), region_of(sp.exp(r) - 2, "nonzero")
    ('r <= y', 'r < -2 or r > 2', 'r = log(2)')
    """
    variable = r if e.has(r) else r_star if e.has(r_star) else y if e.has(y) else None
    if variable is None:
        return None
    e = sp.expand(e)
    while not e.is_polynomial(variable):
        found = _peeled(e, variable)
        if found is None:
            return None
        e = sp.expand(found)
    strictness = "<=" if kind == "positive" else "<"
    name, degree = variable.name, sp.degree(e, variable)
    slope = e.coeff(variable, degree)
    if degree == 1 and not slope.has(*VARIABLES) and not slope.is_zero:
        root = sp.expand(-e.coeff(variable, 0) / slope)
        if kind == "nonzero":
            return f"{name} = {root}"
        if slope.is_number:
            return f"{name} {strictness if slope.is_positive else strictness.replace('<', '>')} {root}"
        return f"{sp.expand(slope * variable)} {strictness} {sp.expand(-e.coeff(variable, 0))}"
    if degree == 2 and e.free_symbols == {variable}:
        roots = sorted((q for q in sp.roots(e, variable) if q.is_real), key=float)
        if kind == "nonzero":
            return " and ".join(f"{name} = {q}" for q in roots) or None
        if len(roots) == 2 and slope.is_positive:
            return f"{roots[0]} {strictness} {name} {strictness} {roots[1]}"
        if len(roots) == 2:
            return f"{name} {strictness} {roots[0]} or {name} {strictness.replace('<', '>')} {roots[1]}"
        if len(roots) == 1 and kind == "positive" and slope.is_positive:
            return f"{name} = {roots[0]}"
        return None if slope.is_positive else f"every {name}"
    if e.is_Pow and e.base.is_polynomial(variable) and e.exp.is_even:
        return region_of(e.base, "nonzero") if kind != "nonnegative" else None
    return None


def _peeled(e: sp.Expr, variable: sp.Symbol) -> sp.Expr | None:
    """``v − g⁻¹(−b/a)`` for ``a g(v) + b`` with an increasing ``g``, times ``sign(a)``: it has the same sign."""
    constant, rest = e.as_independent(variable, as_Add=True)
    factor, function = rest.as_independent(variable, as_Add=False)
    if isinstance(function, (sp.Abs, sp.Max)) and constant == 0 and factor.is_positive:
        return None
    if type(function) not in _INVERSES or not factor.is_number or not factor.is_real:
        return None
    inverse, least, greatest = _INVERSES[type(function)]
    level = -constant / factor
    if not (level.is_number and bool(least < level) and bool(level < greatest)):
        return None
    assert callable(inverse)
    return sp.sign(factor) * (function.args[0] - inverse(level))


# ── What is checked ─────────────────────────────────────────────────────────────────────────────────────────


def check_defined(text: str, where: str, target: Labels | Teacher | RandomLabels | None = None) -> tuple[sp.Rel, ...]:
    """Refuse an expression that is complex, infinite or undefined somewhere.

    Parameters
    ----------
    text : str
        The expression.
    where : str
        What it is, for the error.
    target : Labels, Teacher or RandomLabels, optional
        What ``y`` can be.

    Returns
    -------
    tuple of sympy.Rel
        What must hold of the parameters.

    Raises
    ------
    DerivationError
        Says which part, and where.

    Examples
    --------
    >>> check_defined("log(1 + (r - y)**2/c)", "loss")
    (c > 0,)
    >>> check_defined("log(r - y)", "loss")
    Traceback (most recent call last):
    sgdlimit.derive.errors.DerivationError: loss: it is complex or undefined for r <= y; \
write an expression that is real and finite everywhere, or guard it with Piecewise
    """
    tree = parse(text, where=where)
    check = _Check(where, canonical(tree), target)
    check.walk(tree)
    found = list(check.assumptions)
    return tuple(a for a in found if not (isinstance(a.lhs, sp.Abs) and (a.lhs.args[0] > 0) in found))


def check_probability(text: str, where: str = "random labels") -> None:
    """Refuse random labels whose probability leaves [0, 1], whatever the parameters.

    Raises
    ------
    ModelError
        Says at which ``r_star``.

    Examples
    --------
    >>> check_probability("Phi(r_star)")
    >>> check_probability("r_star")
    Traceback (most recent call last):
    sgdlimit.derive.errors.ModelError: random labels: the probability r_star is -0.1 at r_star = -0.1; \
a probability is between 0 and 1, as sigmoid(r_star) is
    """
    tree = parse(text, where=where)
    if bounds(convert(tree)).is_within(0, 1):
        return
    outside: dict[tuple[float, ...], tuple[float, float]] = {}
    own = [name for name in names(tree) if name != r_star.name]
    settings = {tuple(p[name] for name in own) for p in _grid(set(names(tree)), None)}
    for point in _grid(set(names(tree)), None):
        try:
            value = value_at(tree, point)
        except (ArithmeticError, ValueError):
            continue
        if not -1e-12 <= value <= 1 + 1e-12:
            outside.setdefault(tuple(point[name] for name in own), (point.get(r_star.name, 0.0), value))
    if len(outside) == len(settings):
        at, value = next(iter(outside.values()))
        raise ModelError(
            where,
            f"the probability {text} is {value:g} at r_star = {at:g}",
            "a probability is between 0 and 1, as sigmoid(r_star) is",
        )


def check_depends(text: str) -> None:
    """Refuse a loss that does not change with ``r``, though it is written in it.

    Raises
    ------
    ModelError
        Its gradient is zero.

    Examples
    --------
    >>> check_depends("r - r + y")
    Traceback (most recent call last):
    sgdlimit.derive.errors.ModelError: loss: r - r + y does not depend on r, though it is written in it; \
write a loss f(r; y)
    """
    tree = parse(text, where="loss")
    loss = convert(tree, "loss")
    constant = not loss.has(r) or not sp.expand(loss).has(r)
    if not constant and not loss.has(sp.Piecewise, sp.Abs, sp.Max, sp.Min, sp.sign, sp.Heaviside):
        # analytic: constant if it is at many points, sin(r)**2 + cos(r)**2 for instance
        seen: dict[tuple[float, ...], list[float]] = {}
        for point in _grid(set(names(tree)), None):
            with contextlib.suppress(ArithmeticError, ValueError):
                others = tuple(value for name, value in point.items() if name != r.name)
                seen.setdefault(others, []).append(value_at(tree, point))
        room = 1e-14 * max((abs(value) for values in seen.values() for value in values), default=0.0)
        constant = bool(seen) and all(len(v) > 1 and max(v) - min(v) <= room for v in seen.values())
    if constant:
        raise ModelError("loss", f"{text} does not depend on r, though it is written in it", "write a loss f(r; y)")


def check_slope(text: str) -> None:
    """Refuse a root of what vanishes at a score, ``sqrt(Abs(r - y))``: its slope is not square integrable there.

    Raises
    ------
    DerivationError
        Says where.
    """
    tree = parse(text, where="loss")
    loss = convert(tree, "loss")
    powers = sorted(loss.atoms(sp.Pow), key=sp.default_sort_key)
    if not any(e.exp.is_Rational and not e.exp.is_integer and e.has(r) for e in powers):
        return
    values = {name: 0.37 + 0.61 * k for k, name in enumerate(names(tree)) if name != r.name}
    for root in dict.fromkeys(root for e in powers if not e.exp.is_integer for root in _roots_in(e.base)):
        with contextlib.suppress(ArithmeticError, ValueError, TypeError):
            place = float(root.subs({s: values[s.name] for s in root.free_symbols}))
            # by how much the loss changes near the root, on either side: like a power of the distance
            for side in (1, -1):
                near, nearer = (
                    abs(value_at(tree, {**values, "r": place + side * d}) - value_at(tree, {**values, "r": place}))
                    for d in (1e-5, 1e-9)
                )
                if nearer > 0 and math.log(near / nearer) / math.log(1e4) < 0.52:
                    raise DerivationError(
                        "loss",
                        f"the slope of {text} is not square integrable at r = {root}: its gradient noise is infinite",
                        "use a loss that is smoother there, with a power above 1/2",
                    )


def _roots_in(e: sp.Expr) -> Iterator[sp.Expr]:
    """Zeros of the linear parts of an expression."""
    for part in sorted(sp.preorder_traversal(e), key=sp.default_sort_key):
        if isinstance(part, sp.Expr) and part.has(r) and part.is_polynomial(r) and sp.degree(part, r) == 1:
            expanded = sp.expand(part)
            yield sp.expand(-expanded.coeff(r, 0) / expanded.coeff(r, 1))


def check_domains(model: Model, statistics: Mapping[str, str] | None = None) -> tuple[sp.Rel, ...]:
    """Every expression of a model, and the texts of the user's expectations, is real and finite everywhere.

    Returns
    -------
    tuple of sympy.Rel
        What must hold of the parameters.
    """
    found: dict[sp.Rel, None] = {}
    target = model.target
    if isinstance(target, Teacher):
        found |= dict.fromkeys(check_defined(target.text, "teacher"))
    if isinstance(target, RandomLabels):
        found |= dict.fromkeys(check_defined(target.text, "random labels"))
        check_probability(target.text)
    found |= dict.fromkeys(check_defined(model.loss.text, "loss", target))
    for name, text in (statistics or {}).items():
        found |= dict.fromkeys(check_defined(text, f"statistic {name}", target))
    check_depends(model.loss.text)
    check_slope(model.loss.text)
    return tuple(found)
