"""Gaussian expectations of piecewise smooth functions of one linear form (``docs/theory.md`` §2).

A score (or residual) ``w`` is Gaussian given the class, ``w = mean + s z``; a label that is random given the score
contributes one weighted branch for each of its values. What has a closed form that is accurate in the tails gets
it; the
rest becomes an integrand of a :class:`Quadrature`, with the breakpoints and layers that a rule must resolve.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import sympy as sp

from sgdlimit.derive.convert import Switch, Switched, reduce_squares
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.functions import Branch, NormalCdf, Sigmoid, Softplus, normal_density
from sgdlimit.derive.symbols import z


class Side(sp.Function):
    """+1 where its argument is positive, −1 elsewhere: the value of a switch."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, argument: sp.Expr) -> sp.Expr | None:
        if argument.is_positive:
            return sp.S.One
        if argument.is_nonpositive:
            return sp.S.NegativeOne
        return None

    def _latex(self, printer: object, exp: str | None = None) -> str:
        body = rf"\operatorname{{sign}}\left({printer._print(self.args[0])}\right)"  # type: ignore[attr-defined]
        return body if exp is None else f"{body}^{{{exp}}}"


@dataclass(frozen=True)
class Definition:
    """``symbol := expression``."""

    symbol: sp.Symbol
    expression: sp.Expr


@dataclass(frozen=True)
class Layer:
    """A place where an integrand varies faster than the Gaussian does.

    Parameters
    ----------
    location, width : sympy.Expr
        In units of the integration variable ``z``.
    kind : str
        ``pole``: singularities at ``location ± i width``, panels are graded towards them. ``erf``: entire, a step of
        that width, flat beyond nine widths.
    """

    location: sp.Expr
    width: sp.Expr
    kind: str


@dataclass(frozen=True)
class Integrand:
    """``symbol = ∫ φ(z) expression dz``, and the layers that a rule for it must resolve."""

    symbol: sp.Symbol
    expression: sp.Expr
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Quadrature:
    """Integrals ``∫ φ(z) g(z) dz`` that share their nodes.

    Parameters
    ----------
    definitions : tuple of Definition
        What every node evaluates first, in this order: the score, its switches, the weights of its labels.
    breakpoints : tuple of sympy.Expr
        Kinks and jumps of the integrands, as values of ``z``.
    integrands : tuple of Integrand
        Name, integrand and layers of each integral.
    """

    definitions: tuple[Definition, ...]
    breakpoints: tuple[sp.Expr, ...]
    integrands: tuple[Integrand, ...]
    variable: sp.Symbol = z


@dataclass(frozen=True)
class LabelBranch:
    """One value of the label: its probability given ``z`` (1 if certain) and the loss's label (None: the loss
    keeps its ``y``)."""

    weight: sp.Symbol | sp.Integer
    label: sp.Expr | None


@dataclass(frozen=True)
class ScoreLaw:
    """``w = mean + s z`` given the class, with the label given ``z``.

    Parameters
    ----------
    variable : sympy.Symbol
        ``w``: the score ``r``, or the residual ``u = r − y``.
    mean, deviation : sympy.Expr
        Of ``w``.
    branches : tuple of LabelBranch
        Values of the label.
    weights : tuple of Definition
        Their probabilities given ``z``.
    layers : tuple of Layer
        Of those probabilities.
    """

    variable: sp.Symbol
    mean: sp.Expr
    deviation: sp.Symbol
    branches: tuple[LabelBranch, ...] = (LabelBranch(sp.S.One, None),)
    weights: tuple[Definition, ...] = ()
    layers: tuple[Layer, ...] = ()

    def density_at(self, point: sp.Expr) -> sp.Expr:
        """Density of ``w`` at a point."""
        return normal_density((point - self.mean) / self.deviation) / self.deviation

    def z_of(self, point: sp.Expr) -> sp.Expr:
        """The ``z`` at which ``w`` is at a point."""
        return (point - self.mean) / self.deviation


@dataclass
class Expectations:
    """Collects the integrals of one limit, so that those with common nodes become one loop.

    ``expect`` and ``expect_second_derivative`` return an expression in which an integral is a symbol;
    ``quadratures`` tells what those symbols are. ``rules`` records which rule gave what.
    """

    rules: dict[str, str] = field(default_factory=dict)
    _groups: dict[tuple[ScoreLaw, tuple[Definition, ...]], list[Definition]] = field(default_factory=dict)
    _switches: dict[tuple[Definition, ...], tuple[Switch, ...]] = field(default_factory=dict)

    def expect(self, name: str, functions: tuple[Switched, ...], law: ScoreLaw) -> sp.Expr:
        """``E g(w)``; one function for each branch of the label."""
        if len(functions) == 1:
            closed = closed_form(functions[0], law)
            if closed is not None:
                rule, value = closed
                self.rules[name] = rule
                return value
        return self._integral(name, functions, law)

    def expect_second_derivative(self, name: str, slopes: tuple[Switched, ...], law: ScoreLaw) -> sp.Expr:
        """``E g'(w)`` for a slope ``g`` that may jump: a jump is a point mass of its derivative."""
        smooth = self.expect(name, tuple(g.derive(law.variable) for g in slopes), law)
        masses = sp.S.Zero
        for branch, slope in zip(law.branches, slopes, strict=True):
            for jump, point in jumps(slope, law.variable):
                weight = branch.weight
                for definition in law.weights:
                    weight = weight.subs(definition.symbol, definition.expression.subs(z, law.z_of(point)))
                masses += jump * weight * law.density_at(point)
        if masses != 0:
            self.rules[name] += "; a point mass at each jump of ∂_r f_adv"
        return smooth + masses

    def quadratures(self) -> tuple[Quadrature, ...]:
        """The integrals met so far, grouped by common nodes."""
        result = []
        for (law, definitions), integrands in self._groups.items():
            switches = self._switches[definitions]
            points: list[sp.Expr] = []
            for switch in switches:
                for _, root, _ in roots(switch, switches, law.variable):
                    point = law.z_of(root)
                    if point not in points:
                        points.append(point)
            resolved = tuple(
                Integrand(e.symbol, e.expression, find_layers(e.expression, switches, law)) for e in integrands
            )
            result.append(Quadrature(definitions, tuple(points), resolved))
        return tuple(result)

    def _integral(self, name: str, functions: tuple[Switched, ...], law: ScoreLaw) -> sp.Expr:
        switches: list[Switch] = []
        integrand = sp.S.Zero
        for k, (branch, function) in enumerate(zip(law.branches, functions, strict=True)):
            # switches of different labels are different: give each branch its own names
            rename = {
                w.symbol: sp.Symbol(f"{w.symbol.name}{'pm'[k] if len(law.branches) > 1 else ''}", real=True)
                for w in function.switches
            }
            renamed = function.xreplace(rename)
            switches += renamed.switches
            integrand += branch.weight * renamed.expression
        if integrand == 0:
            self.rules[name] = "identically zero"
            return sp.S.Zero
        used = _used(integrand, switches)
        definitions = (
            Definition(law.variable, law.mean + law.deviation * z),
            *(Definition(w.symbol, Side(w.argument)) for w in switches if w in used),
            *law.weights,
        )
        symbol = sp.Symbol(f"J_{name}", real=True)
        self._groups.setdefault((law, definitions), []).append(Definition(symbol, integrand))
        self._switches[definitions] = tuple(w for w in switches if w in used)
        self.rules[name] = "one-dimensional quadrature (composite Gauss–Legendre on graded panels)"
        return symbol


def _used(expression: sp.Expr, switches: list[Switch]) -> list[Switch]:
    """The switches that an expression needs, those behind their arguments included."""
    needed = set(expression.free_symbols)
    for switch in reversed(switches):
        if switch.symbol in needed:
            needed |= switch.argument.free_symbols
    return [w for w in switches if w.symbol in needed]


def patterns(switches: tuple[Switch, ...], expression: sp.Expr) -> Iterator[dict[sp.Symbol, int]]:
    """Every assignment of ±1 to the switches that an expression contains."""
    present = [w.symbol for w in switches if expression.has(w.symbol)]
    for signs in product((1, -1), repeat=len(present)):
        yield dict(zip(present, signs, strict=True))


def roots(
    switch: Switch, switches: tuple[Switch, ...], variable: sp.Symbol
) -> Iterator[tuple[dict[sp.Symbol, int], sp.Expr, sp.Expr]]:
    """Where a switch changes its value: ``(pattern of the switches in its argument, root, slope of the argument)``.

    Raises
    ------
    DerivationError
        Where the argument is not linear in the variable.
    """
    if not switch.argument.has(variable):
        return
    for pattern in patterns(switches, switch.argument):
        argument = sp.expand(switch.argument.subs(pattern))
        if not argument.has(variable):
            continue
        if not (argument.is_polynomial(variable) and sp.degree(argument, variable) == 1):
            raise DerivationError(
                "loss",
                f"its kink where {argument} = 0 is not linear in {variable}",
                "kinks at linear conditions can be located",
            )
        slope = argument.coeff(variable, 1)
        yield pattern, sp.expand(-argument.coeff(variable, 0) / slope), slope


def jumps(function: Switched, variable: sp.Symbol) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    """Jumps of a piecewise smooth function: ``(value right of it − value left of it, place)``.

    A place found under a pattern of other switches counts only where that pattern holds: the jump carries the
    indicator.
    """
    for index, switch in enumerate(function.switches):
        if not function.expression.has(switch.symbol):
            continue
        for pattern, point, slope in roots(switch, function.switches, variable):
            indicator = sp.S.One
            values = dict(pattern)
            for other in function.switches[:index]:
                at_point = Side(sp.expand(other.argument.subs(variable, point).subs(values)))
                if other.symbol in pattern:
                    indicator *= (1 + pattern[other.symbol] * at_point) / 2
                else:
                    values[other.symbol] = at_point
            sides = []
            for sign in (1, -1):
                assigned = {**values, switch.symbol: sp.Integer(sign)}
                for later in function.switches[index + 1 :]:
                    assigned[later.symbol] = Side(sp.expand(later.argument.subs(variable, point).subs(assigned)))
                sides.append(function.expression.subs(variable, point).subs(assigned))
            jump = _difference(*sides)
            if jump != 0 and indicator != 0:
                yield sp.sign(slope) * indicator * jump, point


def _difference(right: sp.Expr, left: sp.Expr) -> sp.Expr:
    """Right minus left, branch by branch where both hang on the same switch."""
    if isinstance(right, Branch) and isinstance(left, Branch) and right.args[0] == left.args[0]:
        return Branch(right.args[0], _difference(right.args[1], left.args[1]), _difference(right.args[2], left.args[2]))
    return sp.expand(right - left)


# --- closed forms ---------------------------------------------------------------------------------------------------


def closed_form(function: Switched, law: ScoreLaw) -> tuple[str, sp.Expr] | None:
    """Rule and value of ``E g(w)`` where one applies.

    Polynomials, and polynomials in ``v`` and ``|v|``, ``v = w − b`` the distance to one kink, in which even powers
    stand
    alone and odd powers with the sign (or the reverse). Sums of both parities cancel in a tail and are left to others.
    """
    w = law.variable
    expression = function.expression
    used = _used(expression, list(function.switches))
    if not used:
        if not expression.is_polynomial(w):
            return None
        return ("constant" if not expression.has(w) else "polynomial moments"), _polynomial_moment(expression, w, law)
    if len(used) > 1 or not used[0].argument.has(w):
        return None
    (_, point, slope), *more = list(roots(used[0], (), w))
    if more or slope not in (1, -1):
        return None
    sigma = used[0].symbol
    distance = sp.Dummy("distance", real=True)
    right, left = (expression.subs(sigma, sign * slope).subs(w, distance + point) for sign in (1, -1))
    if not (right.is_polynomial(distance) and left.is_polynomial(distance)):
        return None
    even, odd = (sp.Poly(sp.expand((right + sign * left) / 2), distance) for sign in (1, -1))
    parities = {(k + is_odd) % 2 for is_odd, part in ((0, even), (1, odd)) for (k,), c in part.terms() if c != 0}
    if len(parities) > 1:
        return None
    centred = law.mean - point
    value = sum(c * moment(k, centred, law.deviation) for (k,), c in even.terms())
    value += sum(c * signed_moment(k, centred, law.deviation) for (k,), c in odd.terms())
    return "absolute moments (error function)", reduce_squares(sp.expand(value), ())


def _polynomial_moment(expression: sp.Expr, w: sp.Symbol, law: ScoreLaw) -> sp.Expr:
    return sp.expand(sum(c * moment(k, law.mean, law.deviation) for (k,), c in sp.Poly(expression, w).terms()))


def moment(order: int, mean: sp.Expr, deviation: sp.Expr) -> sp.Expr:
    """``E v^k``, ``v ~ N(mean, deviation²)``: ``M_k = mean M_{k−1} + (k−1) deviation² M_{k−2}``.

    Examples
    --------
    >>> from sgdlimit.derive.symbols import mean, s
    >>> moment(2, mean, s)
    mean**2 + s**2
    """
    values = [sp.S.One, mean]
    for k in range(2, order + 1):
        values.append(sp.expand(mean * values[k - 1] + (k - 1) * deviation**2 * values[k - 2]))
    return values[order]


def signed_moment(order: int, mean: sp.Expr, deviation: sp.Expr) -> sp.Expr:
    """``E sign(v) v^k``: the same recursion from ``erf``; every term has the sign of the whole.

    Examples
    --------
    >>> from sgdlimit.derive.symbols import mean, s
    >>> signed_moment(1, mean, s)
    mean*erf(sqrt(2)*mean/(2*s)) + sqrt(2)*s*exp(-mean**2/(2*s**2))/sqrt(pi)
    """
    sign = sp.erf(mean / (deviation * sp.sqrt(2)))
    values = [sign, mean * sign + sp.sqrt(2 / sp.pi) * deviation * sp.exp(-(mean**2) / (2 * deviation**2))]
    for k in range(2, order + 1):
        values.append(sp.expand(mean * values[k - 1] + (k - 1) * deviation**2 * values[k - 2]))
    return values[order]


# --- layers ---------------------------------------------------------------------------------------------------------

# Half width of the strip in which a function of x is analytic; None: entire, with a step of width 1.
_STRIPS: dict[type, sp.Expr | None] = {
    Softplus: sp.pi,
    Sigmoid: sp.pi,
    sp.tanh: sp.pi / 2,
    NormalCdf: None,
    sp.erf: None,
    sp.erfc: None,
}


def find_layers(integrand: sp.Expr, switches: tuple[Switch, ...], law: ScoreLaw) -> tuple[Layer, ...]:
    """Layers of an integrand in ``z``, one for each pattern of the switches behind it.

    Raises
    ------
    DerivationError
        For a function whose strip of analyticity is not known.
    """
    w = law.variable
    layers: list[Layer] = list(law.layers)
    for atom in sorted(integrand.atoms(sp.Function) | _powers(integrand), key=sp.default_sort_key):
        if isinstance(atom, (Branch, Side)) or not atom.has(w):
            continue
        if type(atom) not in _STRIPS:
            raise DerivationError(
                "loss",
                f"no quadrature rule is known yet for {atom}",
                "losses of polynomials, softplus, sigmoid, tanh and erf have one",
            )
        for pattern in patterns(switches, atom):
            argument = sp.expand(atom.args[0].subs(pattern))
            if not argument.has(w):
                continue
            if not (argument.is_polynomial(w) and sp.degree(argument, w) == 1):
                raise DerivationError(
                    "loss",
                    f"no quadrature rule is known yet for {atom}",
                    f"its argument must be linear in {w}",
                )
            rate = argument.coeff(w, 1)
            strip = _STRIPS[type(atom)]
            layer = Layer(
                location=law.z_of(sp.expand(-argument.coeff(w, 0) / rate)),
                width=(1 if strip is None else strip) / (sp.Abs(rate) * law.deviation),
                kind="erf" if strip is None else "pole",
            )
            if layer not in layers:
                layers.append(layer)
    return tuple(layers)


def _powers(expression: sp.Expr) -> set[sp.Expr]:
    """Powers that are not polynomial: roots and quotients."""
    return {e for e in expression.atoms(sp.Pow) if not (e.exp.is_integer and e.exp.is_nonnegative)}
