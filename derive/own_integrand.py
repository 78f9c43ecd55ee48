"""A closed form against the quadrature of its own integrand, before it is accepted.

A rule that is applied where it does not hold would be a coefficient that is wrong in silence. Its value is compared, at
fixed numbers for all symbols, with a plain integral of the function: panels that end where its switches change, found
by bisection, in doubles. Nothing of the rule is used, its kinks neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from sgdlimit.derive.convert import Switch, Switched
from sgdlimit.derive.kinks import used_switches
from sgdlimit.derive.quadrature import Definition, ScoreLaw
from sgdlimit.derive.symbols import y
from sgdlimit.derive.values import Values, value_at

Array: TypeAlias = NDArray[np.float64]

AGREEMENT = 1e-8
"""Of the integral of the absolute value: what two computations in doubles agree to."""

_REACH = 9.5
_SAMPLES = 400  # for the places where a switch changes
_BISECTIONS = 50
_POINTS = 12
_PANELS = 50
_STATES = (37, 131)  # numerators of fractions: no kink lies at such a place by chance
_TAIL = 1e-18  # beyond the reach


def agrees(function: Switched, law: ScoreLaw, definitions: Sequence[Definition], value: sp.Expr) -> bool:
    """Whether ``E g(w)`` is ``value`` at fixed numbers.

    Parameters
    ----------
    function : Switched
        ``g``.
    law : ScoreLaw
        Of its variable.
    definitions : sequence of Definition
        Of the symbols in the value that are not in the function or the law, in an order in which they can be computed.
    value : sympy.Expr

    Examples
    --------
    >>> w, m, s = sp.symbols("w m s", positive=True)
    >>> law = ScoreLaw(w, m, s)
    >>> [agrees(Switched(w**2), law, (), value) for value in (m**2 + s**2, m**2)]
    [True, False]
    """
    return _confirmed(((sp.S.One, function),), law, definitions, value, derivative=False)


def derivative_agrees(
    slopes: Sequence[tuple[sp.Expr, Switched]], law: ScoreLaw, definitions: Sequence[Definition], value: sp.Expr
) -> bool:
    """Whether ``E Σ p ∂g(w)`` is ``value`` at fixed numbers, the jumps of every ``g`` as point masses.

    By Stein's identity that is ``E Σ p g(w) z / s``: nothing is differentiated, and no mass is used.

    Examples
    --------
    >>> w, m, s = sp.symbols("w m s", positive=True)
    >>> law = ScoreLaw(w, m, s)
    >>> [derivative_agrees([(sp.S.One, Switched(w**3))], law, (), value) for value in (3*m**2 + 3*s**2, 3*m**2)]
    [True, False]
    """
    return _confirmed(slopes, law, definitions, value, derivative=True)


def _confirmed(
    functions: Sequence[tuple[sp.Expr, Switched]],
    law: ScoreLaw,
    definitions: Sequence[Definition],
    value: sp.Expr,
    derivative: bool,
) -> bool:
    used = [tuple(used_switches(g.expression, g.switches)) for _, g in functions]
    own = {law.variable, *(switch.symbol for switches in used for switch in switches)}
    parts = [weight for weight, _ in functions] + [g.expression for _, g in functions]
    parts += [switch.argument for switches in used for switch in switches]
    given = set[sp.Symbol]().union(*(e.free_symbols for e in parts)) - own
    given |= law.mean.free_symbols | law.deviation.free_symbols

    def terms(known: Values) -> Array:
        found = []
        for (weight, function), switches in zip(functions, used, strict=True):
            score = _Score(function, switches, law, known)
            z, weights = nodes_on(edges_of(score.switches_at))
            stein = z / value_at(law.deviation, known).item() if derivative else 1.0
            found.append(value_at(weight, known).item() * weights * score.at(z, function.expression) * stein)
        return np.concatenate(found)

    return confirmed(value, given, definitions, terms, AGREEMENT)


def confirmed(
    value: sp.Expr,
    given: Iterable[sp.Symbol],
    definitions: Sequence[Definition],
    terms: Callable[[Values], Array],
    agreement: float,
) -> bool:
    """Whether a value is the sum of some terms, at numbers for the given symbols and those that follow from them.

    Parameters
    ----------
    value : sympy.Expr
    given : iterable of sympy.Symbol
        What gets numbers.
    definitions : sequence of Definition
        Of further symbols, in an order in which they can be computed.
    terms : callable
        Of all numbers.
    agreement : float
        Largest difference, as a share of the sum of the terms' sizes.
    """
    for numerator in _STATES:
        known = _numbers(given, numerator)
        for definition in definitions:
            if definition.expression.free_symbols <= set(known):
                known[definition.symbol] = value_at(definition.expression, known)
        if not value.free_symbols <= set(known):
            return False
        found = terms(known)
        if not abs(found.sum() - value_at(value, known).item()) <= agreement * abs(found).sum() + _TAIL:
            return False
    return True


@dataclass(frozen=True)
class _Score:
    """A function along the standard variable, everything else a number."""

    function: Switched
    switches: tuple[Switch, ...]
    law: ScoreLaw
    known: Values

    def sides(self, z: Array) -> dict[sp.Symbol, Array]:
        """Of every switch, in the order of their definition: later ones hang on earlier ones."""
        mean, deviation = (value_at(e, self.known) for e in (self.law.mean, self.law.deviation))
        values = {**self.known, self.law.variable: mean + deviation * z[np.newaxis]}
        found: dict[sp.Symbol, Array] = {}
        for switch in self.switches:
            side = np.where(value_at(switch.argument, {**values, **found}) > 0, 1.0, -1.0)
            found[switch.symbol] = np.broadcast_to(side, (1, z.size))
        return found | {self.law.variable: values[self.law.variable]}

    def switches_at(self, z: Array) -> list[Array]:
        """The sides alone."""
        *found, _ = self.sides(z).values()  # the last is the variable itself
        return [side[0] for side in found]

    def at(self, z: Array, expression: sp.Expr) -> Array:
        values: Array = np.broadcast_to(value_at(expression, {**self.known, **self.sides(z)}), (1, z.size))[0]
        return values


def _numbers(symbols: Iterable[sp.Symbol], numerator: int) -> Values:
    """Numbers of order 1 for symbols; both signs for what may have one, a label ±1."""
    found: Values = {}
    for k, symbol in enumerate(sorted(symbols, key=lambda e: (e.name, sp.default_sort_key(e)))):
        size = 0.3 + (numerator * (2 * k + 3)) % 211 / 223
        sign = 1 if symbol.is_nonnegative or (numerator + k) % 2 else -1
        found[symbol] = np.full((1, 1), sign if symbol == y else sign * size)
    return found


def edges_of(switches_at: Callable[[Array], list[Array]], panels: int = _PANELS) -> Array:
    """Panels of the window that end where a switch changes, whose sides are asked for at many places."""
    grid = np.linspace(-_REACH, _REACH, _SAMPLES)
    before = switches_at(grid)
    changes = np.unique([k for side in before for k in np.flatnonzero(np.diff(side))]).astype(int)
    _, high = around_changes(grid[changes], grid[changes + 1], [side[changes] for side in before], switches_at)
    return np.unique(np.concatenate([np.linspace(-_REACH, _REACH, panels + 1), high]))


def around_changes(
    low: Array, high: Array, before: Sequence[Array], switches_at: Callable[[Array], Sequence[Array]]
) -> tuple[Array, Array]:
    """Both sides of the first change in each interval, by bisection; ``before`` has the switches at its lower end."""
    for _ in range(_BISECTIONS if low.size else 0):
        middle = (low + high) / 2
        same = np.all([a == b for a, b in zip(before, switches_at(middle), strict=True)], axis=0)
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return low, high


def nodes_on(edges: Array, points: int = _POINTS) -> tuple[Array, Array]:
    """Nodes, and weights with the normal density in them."""
    node, share = np.polynomial.legendre.leggauss(points)
    half, middle = np.diff(edges)[:, np.newaxis] / 2, (edges[1:] + edges[:-1])[:, np.newaxis] / 2
    z = (middle + half * node).ravel()
    return z, (half * share).ravel() * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
