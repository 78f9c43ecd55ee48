"""A closed form over score and latent form against the quadrature of its own integrand, before it is accepted.

As :mod:`sgdlimit.derive.own_integrand`, in the plane: panels over the latent form, and for each of their nodes cells
over the score that end where a switch changes, found by bisection. An expected derivative is compared with the
expectation that Stein's identity makes of it, so what jumps is not differentiated and no point mass is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from sgdlimit.derive.convert import Switch, Switched
from sgdlimit.derive.kinks import used_switches
from sgdlimit.derive.own_integrand import around_changes, confirmed, edges_of, nodes_on
from sgdlimit.derive.quadrature import Definition
from sgdlimit.derive.values import Values, value_at

if TYPE_CHECKING:
    from sgdlimit.derive.joint import JointLaw

Array: TypeAlias = NDArray[np.float64]

AGREEMENT = 1e-5
"""Of the integral of the absolute value: where two switches change in one cell, one of them is not seen."""

_REACH = 8.5
_CELLS = 136
_POINTS = 4
_PANELS, _PANEL_POINTS = 16, 8


def agrees_in_the_plane(
    function: Switched,
    law: JointLaw,
    definitions: Sequence[Definition],
    value: sp.Expr,
    by: sp.Symbol | None = None,
) -> bool:
    """Whether ``E g(r, ℓ)``, or ``E ∂g`` with respect to ``by``, is ``value`` at fixed numbers.

    Parameters
    ----------
    function : Switched
        ``g``.
    law : JointLaw
    definitions : sequence of Definition
        Of the symbols in the value that are not in the function or the law, in an order in which they can be computed.
    value : sympy.Expr
    by : sympy.Symbol, optional
        ``r`` or ``ℓ``; the jumps of ``g`` are part of its derivative.

    Examples
    --------
    >>> from sgdlimit.derive.joint import JointLaw
    >>> r, ell, m, b = sp.symbols("r ell m b", real=True)
    >>> q, Q = sp.symbols("q Q", positive=True)
    >>> law = JointLaw(r, ell, m, m, b, q, Q, sp.S.Zero, b - 1)
    >>> [agrees_in_the_plane(Switched(r * ell), law, (), value) for value in (m**2 + b * Q, m**2 + Q)]
    [True, False]
    >>> agrees_in_the_plane(Switched(r * ell), law, (), m, by=ell)
    True
    """
    switches = tuple(used_switches(function.expression, function.switches))
    own = {law.r, law.ell, *(switch.symbol for switch in switches)}
    moments = (law.mean_r, law.mean_ell, law.beta, law.perp, law.variance)
    parts = (function.expression, *(switch.argument for switch in switches))
    given = set[sp.Symbol]().union(*(e.free_symbols for e in moments))
    differences = [
        Definition(symbol, expression)
        for symbol, expression in ((law.dmean, law.mean_r - law.mean_ell), (law.beta1, law.beta - 1))
        if symbol.is_Symbol and symbol not in given
    ]
    given = given.union(*(e.free_symbols for e in parts)) - own - {d.symbol for d in differences}

    def terms(known: Values) -> Array:
        return _Plane(function, switches, law, known).terms(by)

    return confirmed(value, given, (*differences, *definitions), terms, AGREEMENT)


@dataclass(frozen=True)
class _Plane:
    """A function along both standard variables, ``z`` of the latent form and ``w`` of the score given it."""

    function: Switched
    switches: tuple[Switch, ...]
    law: JointLaw
    known: Values

    def terms(self, by: sp.Symbol | None) -> Array:
        """What sums up to the expectation."""
        z, weight = nodes_on(edges_of(self._latent_sides, _PANELS), _PANEL_POINTS)
        rows, low, high = self._cells(z)
        node, share = np.polynomial.legendre.leggauss(_POINTS)
        half = (high - low)[:, np.newaxis] / 2
        w = (high + low)[:, np.newaxis] / 2 + half * node
        at = z[rows][:, np.newaxis]
        density = weight[rows][:, np.newaxis] * half * share * np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi)
        values = self._values(at, w)
        across: Array = w / np.sqrt(self._number(self.law.perp))
        along: Array = at / np.sqrt(self._number(self.law.variance)) - self._number(self.law.beta) * across
        stein: Array | float = 1.0 if by is None else across if by == self.law.r else along
        shares: Array = density * np.broadcast_to(value_at(self.function.expression, values), w.shape) * stein
        return shares

    def _number(self, e: sp.Expr) -> Array:
        return value_at(e, self.known)

    def _values(self, z: Array, w: Array, switches: Sequence[Switch] | None = None) -> Values:
        """Everything that is known where the standard variables have values: both variables, and every side."""
        law = self.law
        apart = np.sqrt(self._number(law.variance)) * z
        r = self._number(law.mean_r) + self._number(law.beta) * apart + np.sqrt(self._number(law.perp)) * w
        values = {**self.known, law.ell: self._number(law.mean_ell) + apart, law.r: r}
        for switch in self.switches if switches is None else switches:
            values[switch.symbol] = np.where(value_at(switch.argument, values) > 0, 1.0, -1.0)
        return values

    def _latent_sides(self, z: Array) -> list[Array]:
        """Of the switches that do not depend on the score."""
        along: list[Switch] = []
        depends = {self.law.r}
        for switch in self.switches:
            if switch.argument.free_symbols & depends:
                depends.add(switch.symbol)
            else:
                along.append(switch)
        values = self._values(z[np.newaxis], np.zeros((1, z.size)), along)
        return [np.broadcast_to(values[switch.symbol], (1, z.size))[0] for switch in along]

    def _sides(self, z: Array, w: Array) -> list[Array]:
        values = self._values(z, w)
        shape = np.broadcast_shapes(z.shape, w.shape)
        return [np.broadcast_to(values[switch.symbol], shape) for switch in self.switches]

    def _cells(self, z: Array) -> tuple[Array, Array, Array]:
        """Number of the node in ``z``, and both ends in ``w``; no cell has a change of one switch in it."""
        grid = np.linspace(-_REACH, _REACH, _CELLS + 1)
        before = self._sides(z[:, np.newaxis], grid[np.newaxis])
        changes = np.zeros((z.size, _CELLS), dtype=bool)
        for side in before:
            changes |= np.diff(side, axis=1) != 0
        rows, columns = np.nonzero(changes)
        nodes = z[rows][:, np.newaxis]

        def switches_at(w: Array) -> list[Array]:
            return [side[:, 0] for side in self._sides(nodes, w[:, np.newaxis])]

        start = [side[rows, columns] for side in before]
        _, high = around_changes(grid[columns], grid[columns + 1], start, switches_at)
        ends = np.tile(grid[1:], (z.size, 1))
        ends[rows, columns] = high
        every = np.repeat(np.arange(z.size), _CELLS)
        return (
            np.concatenate([every, rows]),
            np.concatenate([np.tile(grid[:-1], z.size), high]),
            np.concatenate([ends.ravel(), grid[columns + 1]]),
        )
