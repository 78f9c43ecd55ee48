"""Where an integrand is not smooth on the scale of its Gaussian variables, and what that asks of a rule.

A feature is a condition ``argument = 0`` with a width. It is read off the loss once, in all its variables; each
variable that is integrated out puts its mean into the argument and its spread into the width; what is left tells the
next quadrature, further out, where its own integrand has a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import sympy as sp

from sgdlimit.derive.convert import Switch, Switched
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.functions import (
    Branch,
    Hazard,
    HazardExcess,
    Log1p,
    LogCosh,
    LogNormalCdf,
    NormalCdf,
    Side,
    Sigmoid,
    Softplus,
    Tanh,
)
from sgdlimit.derive.kinks import every_root, patterns, used_switches
from sgdlimit.derive.quadrature import Crossing, Layer, ScoreLaw
from sgdlimit.derive.wording import written


@dataclass(frozen=True)
class Feature:
    """An integrand changes fast where ``|argument|`` is not large against ``width``.

    Parameters
    ----------
    argument : sympy.Expr
        In the variables of the integrand.
    width : sympy.Expr
        In units of the argument; zero for a kink.
    kind : str
        ``kink``; ``branch``: a kink with square roots of the argument on either side; ``pole``: singular at
        ``argument = ± i width``; ``erf``: entire, flat beyond nine widths.
    """

    argument: sp.Expr
    width: sp.Expr = sp.S.Zero
    kind: str = "kink"

    def integrate_out(self, law: ScoreLaw) -> Feature:
        """What of it is left when its variable has been averaged: smoothed by that variable's spread."""
        slope = slope_in(self.argument, law.variable)
        if slope == 0 and self.width.has(law.variable):
            # a width that varies: of the narrowest that has weight, and a mean over such is no longer entire
            far = (self.width.subs(law.variable, law.mean + k * law.deviation) for k in (-3, 3))
            return Feature(self.argument, sp.Min(*far), "pole")
        if slope == 0:
            return self
        there = {law.variable: law.mean}
        spread = sp.Abs(slope.subs(there)) * law.deviation
        if self.kind == "kink":
            return Feature(self.argument.subs(there), spread, "erf")
        width = self.width.subs(there)
        if self.kind == "erf":
            return Feature(self.argument.subs(there), sp.sqrt(width**2 + spread**2), "erf")
        return Feature(self.argument.subs(there), width + spread, "pole")

    def meeting(self, variable: sp.Symbol) -> sp.Expr | None:
        """Of a kink at a quadratic condition: what is zero where its two places meet, and vanish."""
        if self.kind != "kink" or not self.argument.is_polynomial(variable) or sp.degree(self.argument, variable) != 2:
            return None
        return sp.discriminant(self.argument, variable)


def encounters(found: Iterable[Feature], variable: sp.Symbol) -> Iterator[sp.Expr]:
    """What is zero where two kinks meet: there an integral over the variable changes its own piece."""
    kinks = dict.fromkeys(f.argument for f in found if f.kind == "kink" and f.argument.has(variable))
    for first, second in combinations(kinks, 2):
        if all(e.is_polynomial(variable) and sp.degree(e, variable) == 2 for e in (first, second)):
            yield sp.resultant(first, second, variable)
            continue
        for one in every_root(first, variable) or ():
            for other in every_root(second, variable) or ():
                yield one - other


def places_known(switch: Switch, switches: Sequence[Switch], variable: sp.Symbol) -> bool:
    """Whether formulas for its places are few and exact: products of linear forms, under one other switch at most."""
    every = list(patterns(switches, switch.argument))
    factors = (e for values in every for e in sp.Mul.make_args(switch.argument.subs(values)) if e.has(variable))
    return len(every) <= 2 and all(e.is_polynomial(variable) and sp.degree(e, variable) == 1 for e in factors)


def corner_features(function: Switched, variables: Sequence[sp.Symbol]) -> tuple[Feature, ...]:
    """Features of a function whose kinks may meet: where formulas know the kinks, else where a switch changes.

    A switch whose argument has a branch for every pattern of others would have a kink for each, most of which are none.
    """
    switches = used_switches(function.expression, function.switches)
    found: dict[Feature, None] = {}
    for switch in switches:
        if places_known(switch, switches, variables[0]):
            for values in patterns(switches, switch.argument):
                for factor in sp.Mul.make_args(switch.argument.subs(values)):
                    found |= {Feature(factor): None} if factor.has(*variables) else {}
        elif switch.argument.has(*variables):
            found[Feature(resolved(switch.argument, switches))] = None
    return tuple(found | dict.fromkeys(analytic_features(function, variables)))


def resolved(expression: sp.Expr, switches: Sequence[Switch]) -> sp.Expr:
    """An expression with the sides of its switches written out."""
    for switch in reversed(switches):
        if expression.has(switch.symbol):
            expression = expression.subs(switch.symbol, Side(switch.argument))
    return expression


def meetings(function: Switched, variable: sp.Symbol) -> Iterator[sp.Expr]:
    """What changes its sign where two kinks meet: each switch's argument at the places of the others."""
    switches = used_switches(function.expression, function.switches)
    found: dict[sp.Expr, None] = {}
    for index, switch in enumerate(switches):
        if not switch.argument.has(variable):
            continue
        known = places_known(switch, switches, variable)
        points: dict[sp.Expr, None] = {}
        for values in patterns(switches, switch.argument):
            for factor in sp.Mul.make_args(switch.argument.subs(values)):
                points |= dict.fromkeys(every_root(factor, variable) or ())
        # the places of a switch that others throw are met by those that come after it
        for other in switches if known else switches[index + 1 :]:
            if other != switch and other.argument.has(variable):
                argument = resolved(other.argument, switches)
                found |= {argument.subs(variable, point): None for point in points}
    yield from found


# Where a function of x has its nearest singularities, ``place ± i width``; None: entire, with a step of width 1 at 0.
# log Φ is singular where Φ is zero: first at 1.9160 ± 2.8164 i.
_SINGULARITIES: dict[type, tuple[sp.Expr, sp.Expr] | None] = {
    Softplus: (sp.S.Zero, sp.pi),
    Sigmoid: (sp.S.Zero, sp.pi),
    Tanh: (sp.S.Zero, sp.pi / 2),
    LogCosh: (sp.S.Zero, sp.pi / 2),
    sp.atan: (sp.S.Zero, sp.S.One),
    LogNormalCdf: (sp.Rational(19160, 10000), sp.Rational(28164, 10000)),
    Hazard: (sp.Rational(19160, 10000), sp.Rational(28164, 10000)),
    HazardExcess: (sp.Rational(19160, 10000), sp.Rational(28164, 10000)),
    NormalCdf: None,
    sp.erf: None,
    sp.erfc: None,
}


def kinks_of(switches: Sequence[Switch], variables: Sequence[sp.Symbol]) -> Iterator[tuple[Switch, Feature]]:
    """Every switch that hangs on one of the variables, under every pattern of the switches behind it."""
    for switch in switches:
        for pattern in patterns(switches, switch.argument):
            argument = sp.expand(switch.argument.subs(pattern))
            for factor in factors(argument, variables) if argument.has(*variables) else ():
                yield switch, Feature(factor)


def factors(argument: sp.Expr, variables: Sequence[sp.Symbol]) -> Iterator[sp.Expr]:
    """Each factor of a polynomial is a condition of its own, and a simpler one."""
    inside = [w for w in variables if argument.has(w)]
    if not argument.is_polynomial(*inside) or all(sp.degree(argument, w) <= 1 for w in inside):
        yield argument
        return
    if argument.has(sp.Float) or not argument.is_polynomial(*argument.free_symbols):
        yield argument  # numbers that are not exact do not factor
        return
    for factor, _ in sp.factor_list(argument, *inside)[1]:
        if factor.has(*inside):
            yield sp.expand(factor)


def features(function: Switched, variables: Sequence[sp.Symbol]) -> tuple[Feature, ...]:
    """Kinks, poles and steps of a piecewise analytic function.

    Raises
    ------
    DerivationError
        For a function whose strip of analyticity is not known.
    """
    switches = used_switches(function.expression, function.switches)
    found = dict.fromkeys(feature for _, feature in kinks_of(switches, variables))
    return tuple(found | dict.fromkeys(analytic_features(function, variables)))


def analytic_features(function: Switched, variables: Sequence[sp.Symbol]) -> Iterator[Feature]:
    """Poles and steps alone."""
    atoms = function.expression.atoms(sp.Function) | _powers(function.expression)
    for atom in sorted(atoms, key=sp.default_sort_key):
        if isinstance(atom, (Branch, Side)) or not atom.has(*variables):
            continue
        for pattern in patterns(function.switches, atom):
            # of an odd function SymPy takes the sign out: what is left is asked
            for concrete in _functions_of(atom.subs(pattern)):
                if concrete.has(*variables):
                    yield from _features_of(concrete, variables)


def _functions_of(expression: sp.Expr) -> list[sp.Expr]:
    """The expression itself if it is a function or a power, else those in it."""
    if isinstance(expression, (sp.Function, sp.Pow)):
        return [expression]
    return sorted(expression.atoms(sp.Function) | _powers(expression), key=sp.default_sort_key)


def _features_of(atom: sp.Expr, variables: Sequence[sp.Symbol]) -> Iterator[Feature]:
    """Features of one function whose switches have values."""
    if isinstance(atom, (sp.sin, sp.cos)):
        raise _no_rule(atom, "a sine or cosine inside a kinked or another function has none")
    argument = sp.expand(atom.base if isinstance(atom, sp.Pow) else atom.args[0])
    inside = [w for w in variables if argument.has(w)]
    if not inside and isinstance(atom, sp.Pow):  # parameter**w
        return
    if isinstance(atom, sp.exp):
        yield from _exponential(argument, inside)
        return
    if isinstance(atom, (sp.sinh, sp.cosh)):
        return
    if isinstance(atom, (sp.Pow, sp.log, Log1p)):
        yield from _singular_base(atom, 1 + argument if isinstance(atom, Log1p) else argument, inside)
        return
    if type(atom) not in _SINGULARITIES:
        raise _no_rule(atom, "softplus, sigmoid, tanh, atan, log cosh, erf and Phi have one")
    found = _SINGULARITIES[type(atom)]
    place, width = (sp.S.Zero, sp.S.One) if found is None else found
    if not all(argument.is_polynomial(w) and sp.degree(argument, w) == 1 for w in inside):
        raise _no_rule(atom, "functions of linear forms have one")
    yield Feature(argument - place, width, "erf" if found is None else "pole")


def _exponential(exponent: sp.Expr, inside: Sequence[sp.Symbol]) -> Iterator[Feature]:
    """``exp`` is entire; a decaying quadratic makes it a bump of its own width."""
    for w in inside:
        if exponent.is_polynomial(w) and sp.degree(exponent, w) == 2:
            a, b = exponent.coeff(w, 2), exponent.coeff(w, 1)
            yield Feature(w + b / (2 * a), 1 / sp.sqrt(2 * sp.Abs(a)), "erf")
        elif not exponent.is_polynomial(w) or sp.degree(exponent, w) > 1:
            raise _no_rule(sp.exp(exponent), "exponentials of linear and quadratic forms have one")


def _singular_base(atom: sp.Expr, base: sp.Expr, inside: Sequence[sp.Symbol]) -> Iterator[Feature]:
    """Logarithms, roots and quotients: singular where the base vanishes, off the real line for a sound loss."""
    if base.is_polynomial(*inside):
        for factor, _ in sp.factor_list(base, *inside)[1]:
            for w in inside:
                degree = sp.degree(factor, w)
                if degree == 2:
                    a, b, c = (sp.expand(factor).coeff(w, k) for k in (2, 1, 0))
                    yield Feature(w + b / (2 * a), sp.sqrt(sp.Abs(c / a - (b / (2 * a)) ** 2)), "pole")
                elif degree != 0:
                    raise _no_rule(atom, "logarithms, roots and quotients of positive quadratics have one")
    elif isinstance(base, sp.cosh):
        yield Feature(base.args[0], sp.pi / 2, "pole")
    elif isinstance(base, (Softplus, Sigmoid, NormalCdf, sp.exp)):
        # a logarithm or power of a positive function has that function's singularities
        yield from _features_of(base, inside)
    else:
        raise _no_rule(atom, "logarithms, roots and quotients of positive quadratics and of sigmoids have one")


def _no_rule(atom: sp.Expr, remedy: str) -> DerivationError:
    return DerivationError("loss", f"no quadrature rule is known yet for {written(atom)}", remedy)


def _powers(expression: sp.Expr) -> set[sp.Expr]:
    """Powers that are not polynomial: roots and quotients."""
    return {e for e in expression.atoms(sp.Pow) if not (e.exp.is_integer and e.exp.is_nonnegative)}


def slope_in(expression: sp.Expr, w: sp.Symbol) -> sp.Expr:
    """The derivative, all variables real: SymPy takes the size of what it cannot show to be real for a complex one's.

    Examples
    --------
    >>> w, a = sp.symbols("w a", real=True)
    >>> slope_in(sp.Abs(w*sp.sqrt(a)), w)
    sqrt(a)*sign(sqrt(a)*w)
    """
    for size in sorted(expression.atoms(sp.Abs), key=sp.count_ops, reverse=True):
        if size.has(w) and size in expression.atoms(sp.Abs):
            place = sp.Dummy(real=True)
            outside, (argument,) = expression.xreplace({size: place}), size.args
            by_size = outside.diff(place).xreplace({place: size})
            return slope_in(outside, w).xreplace({place: size}) + by_size * sp.sign(argument) * slope_in(argument, w)
    return expression.diff(w)


@dataclass(frozen=True)
class Places:
    """What features ask of a rule in one variable: breakpoints, layers, and crossings it must find itself."""

    breakpoints: tuple[sp.Expr, ...]
    layers: tuple[Layer, ...]
    crossings: tuple[Crossing, ...]
    branches: tuple[sp.Expr, ...] = ()


def place(found: Iterable[Feature], law: ScoreLaw) -> Places:
    """Put features into the variable of integration."""
    w = law.variable
    breakpoints: dict[sp.Expr, None] = {}
    layers: dict[Layer, None] = {}
    crossings: dict[Crossing, None] = {}
    branches: dict[sp.Expr, None] = {}
    for feature in found:
        points = every_root(feature.argument, w)
        if points is None:
            slope = slope_in(feature.argument, w) * law.deviation
            crossings[Crossing(feature.argument, slope, feature.width, feature.kind)] = None
            continue
        for point in points:
            if feature.kind == "kink":
                breakpoints[law.z_of(point)] = None
            elif feature.kind == "branch":
                branches[law.z_of(point)] = None
            else:
                slope = slope_in(feature.argument, w).subs(w, point)
                width = feature.width.subs(w, point) / (sp.Abs(slope) * law.deviation)
                layers[Layer(law.z_of(point), width, feature.kind)] = None
    return Places(tuple(breakpoints), tuple(layers), tuple(crossings), tuple(branches))


def exponents(expression: sp.Expr, variables: Sequence[sp.Symbol]) -> tuple[sp.Expr, ...]:
    """Exponents of the exponentials of linear forms in an expression, products and powers of them multiplied out.

    Each moves the mass of the Gaussian; a square moves it twice as far.

    Examples
    --------
    >>> from sgdlimit.derive.symbols import r, y
    >>> exponents((sp.exp(r) - y)**2, (r,))
    (r, 2*r)
    """
    found = {sp.expand(e) for e in _rates(expression, tuple(variables))}
    return tuple(sorted(found - {sp.S.Zero}, key=sp.default_sort_key))


def _rates(e: sp.Expr, variables: tuple[sp.Symbol, ...]) -> set[sp.Expr]:
    """Exponents that the terms of an expression can have; zero for a term without exponential."""
    if not e.has(*variables) or not e.has(sp.exp, sp.sinh, sp.cosh):
        return {sp.S.Zero}
    if isinstance(e, (sp.exp, sp.sinh, sp.cosh)):
        exponent = sp.expand(e.args[0])
        linear = all(exponent.is_polynomial(w) and sp.degree(exponent, w) <= 1 for w in variables if exponent.has(w))
        if not linear:
            return {sp.S.Zero}
        return {exponent} if isinstance(e, sp.exp) else {exponent, -exponent}
    if isinstance(e, sp.Mul):
        return _sums(_rates(factor, variables) for factor in e.args)
    if isinstance(e, sp.Pow) and e.exp.is_Integer and e.exp > 0:
        return _sums([_rates(e.base, variables)] * int(e.exp))
    # sums, and functions: a switch between pieces passes their growth on, any other of the language less than that
    return set().union(*(_rates(part, variables) for part in e.args))


def _sums(parts: Iterable[set[sp.Expr]]) -> set[sp.Expr]:
    total: set[sp.Expr] = {sp.S.Zero}
    for part in parts:
        total = {sp.expand(a + b) for a in total for b in part}
    return total


def tilt(exponent: sp.Expr, law: ScoreLaw) -> sp.Expr:
    """Its rate in the standard variable of a law: by so much it moves the mass."""
    return exponent.diff(law.variable) * law.deviation
