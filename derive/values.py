"""A limit's quantities as numbers at a state, nested integrals included: for checks, not for solving.

The rule is that of ``docs/numerics.md`` in its plainest form: Gauss–Legendre on panels that end at the breakpoints and
are graded at the layers, in doubles. Places that only a rule itself can find are not looked for, so a jump there costs
digits; the difference to a rule with half as many nodes tells how many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy import special

from sgdlimit.derive.quadrature import Definition, Integrand, Quadrature

if TYPE_CHECKING:
    from sgdlimit.derive.limit import Limit

Array: TypeAlias = NDArray[np.float64]
Values: TypeAlias = dict[sp.Symbol, Array]

_REACH = 9.5
_GRADES = (0.0, 1.0, -1.0, 4.0, -4.0)
_BRANCH_GRADES = (0.0, *(sign * 10.0**-k for sign in (1, -1) for k in range(1, 13)))


def _hazard(x: Array) -> Array:
    return np.asarray(np.exp(-(x**2) / 2 - special.log_ndtr(x)) / np.sqrt(2 * np.pi))


def _tail(order: int, h: Array) -> Array:
    """``M_k(h)``; far out, where the recursion would be 0 · ∞, it is 0."""
    h = np.minimum(h, 38.0)
    values = [special.ndtr(-h)]
    values.append(np.exp(-(h**2) / 2) / np.sqrt(2 * np.pi) - h * values[0])
    for k in range(1, int(order)):
        values.append(k * values[k - 1] - h * values[k])
    return values[int(order)]


@np.vectorize
def _bivariate(j: int, k: int, h1: float, h2: float, rho: float, rho_perp: float) -> float:
    """``E (x − h1)_+^j (y − h2)_+^k``: over ``y`` given ``x`` in closed form, over ``x`` on panels beyond its kink."""
    h1, rho_perp = max(h1, -_REACH), max(rho_perp, 1e-8)
    cuts = np.linspace(h1, max(h1, 0.0) + _REACH, 60)
    if rho != 0:
        cuts = np.sort(np.append(cuts, np.clip((h2 + rho_perp * np.linspace(-9, 9, 19)) / rho, h1, cuts[-1])))
    node, share = np.polynomial.legendre.leggauss(12)
    half, middle = np.diff(cuts)[:, None] / 2, (cuts[1:] + cuts[:-1])[:, None] / 2
    x = middle + half * node
    inner = rho_perp**k * _tail(k, (h2 - rho * x) / rho_perp)
    return float(np.sum(half * share * (x - h1) ** j * inner * np.exp(-(x**2) / 2)) / np.sqrt(2 * np.pi))


_FUNCTIONS: dict[str, Any] = {
    "Softplus": lambda x: np.logaddexp(0, x),
    "Sigmoid": special.expit,
    "NormalCdf": special.ndtr,
    "LogNormalCdf": special.log_ndtr,
    "Tanh": np.tanh,
    "LogCosh": lambda x: np.logaddexp(x, -x) - np.log(2),
    "Log1p": np.log1p,
    "Hazard": _hazard,
    "HazardExcess": lambda x: x + _hazard(x),
    "TailMoment": _tail,
    "ScaledTailMoment": lambda k, h: _tail(k, h) * np.sqrt(2 * np.pi) * np.exp(np.minimum(h, 37.0) ** 2 / 2),
    "BivariateTail": _bivariate,
    "Side": lambda x: np.where(x > 0, 1.0, -1.0),
    "Branch": lambda switch, plus, minus: np.where(switch > 0, plus, minus),
    "largest": lambda *parts: np.maximum.reduce(np.broadcast_arrays(*parts)),
    "least": lambda *parts: np.minimum.reduce(np.broadcast_arrays(*parts)),
}


@lru_cache(maxsize=1024)
def _compiled(e: sp.Expr) -> tuple[tuple[sp.Symbol, ...], Callable[..., Any]]:
    """An expression as a NumPy function of its symbols."""
    unknown = [f for f in e.atoms(sp.Function) if hasattr(f, "rewrite_textbook") and type(f).__name__ not in _FUNCTIONS]
    if unknown:
        raise NotImplementedError(str(unknown[0]))
    e = e.replace(sp.Max, lambda *a: sp.Function("largest")(*a)).replace(sp.Min, lambda *a: sp.Function("least")(*a))
    free = tuple(sorted(e.free_symbols, key=sp.default_sort_key))
    # a parameter may be called like a symbol of the engine
    names = {symbol: sp.Symbol(f"v{k}", real=True) for k, symbol in enumerate(free)}
    return free, sp.lambdify(names.values(), e.xreplace(names), modules=[_FUNCTIONS, "scipy", "numpy"], cse=True)


def value_at(e: sp.Expr, known: Mapping[sp.Symbol, Array]) -> Array:
    """An expression in NumPy."""
    free, function = _compiled(e)
    with np.errstate(all="ignore"):  # a branch that is not chosen may be anything
        return np.atleast_2d(np.asarray(function(*(known[symbol] for symbol in free)), dtype=float))


def values_of(
    limit: Limit, expressions: Mapping[str, sp.Expr], state: Mapping[sp.Symbol, float], nodes: int = 8
) -> dict[str, float]:
    """Coefficients, or other quantities of one class, at values of what the definitions start from.

    Parameters
    ----------
    limit : Limit
    expressions : mapping of str to sympy.Expr
        In the limit's definitions and integrals.
    state : mapping of sympy.Symbol to float
        Summary statistics, the label of a class and parameters.
    nodes : int
        On every panel.

    Raises
    ------
    NotImplementedError
        For integrals over more than two variables, and functions that NumPy and SciPy do not have.

    Examples
    --------
    >>> from sgdlimit.derive import Loss, Model, Teacher, derive
    >>> from sgdlimit.derive.symbols import Q_perp, Q_star, beta, beta1, dm, m, m_star
    >>> limit = derive(Model(Loss("log(cosh(r - y))"), Teacher("sigmoid(r_star)")))
    >>> state = {m: 0.5, m_star: 0.0, dm: 0.5, beta: 0.0, beta1: -1.0, Q_perp: 0.3, Q_star: 1.0}
    >>> found = values_of(limit, {"A": limit.coefficients["A"]}, state)
    >>> abs(found["A"]) < 1e-12  # the slope is odd, and so is what r - y is beyond its mean 0
    True
    """
    known: Values = {symbol: np.full((1, 1), value) for symbol, value in state.items()}
    _define(limit.definitions, known)
    needed = set().union(*(e.free_symbols for e in expressions.values()))
    for quadrature in limit.quadratures:
        if any(integrand.symbol in needed for integrand in quadrature.integrands):
            known |= _integrals(quadrature, known, nodes, needed)
    return {name: float(value_at(e, known).item()) for name, e in expressions.items()}


def _define(definitions: tuple[Definition, ...], known: Values) -> None:
    for definition in definitions:
        # what is not asked for may hang on symbols without a value
        if definition.expression.free_symbols <= set(known):
            known[definition.symbol] = value_at(definition.expression, known)


def _integrals(quadrature: Quadrature, known: Values, nodes: int, needed: set[sp.Symbol] | None = None) -> Values:
    """The integrals of one rule, at each row of what is known."""
    wanted = [e for e in quadrature.integrands if needed is None or e.symbol in needed]
    rows = max(value.shape[0] for value in known.values())
    z, weight = _nodes(quadrature, wanted, known, rows, nodes)
    if quadrature.inner:
        if rows > 1 or any(inner.inner for inner in quadrature.inner):
            raise NotImplementedError("integrals over three variables")
        z, weight = z.T, weight.T  # the nodes are the rows of what is further in
    within = {**known, quadrature.variable: z}
    _define(quadrature.definitions, within)
    for inner in quadrature.inner:
        within |= _integrals(inner, within, nodes)
    axis = 0 if quadrature.inner else 1
    found = {}
    for integrand in wanted:
        total = np.sum(np.broadcast_to(value_at(integrand.expression, within), z.shape) * weight, axis, keepdims=True)
        for mass in integrand.masses:
            total = total + _masses(mass.crossing.argument, mass.weight, z, within, axis)
        found[integrand.symbol] = total
    return found


def _masses(argument: sp.Expr, weight: sp.Expr, z: Array, within: Values, axis: int) -> Array:
    """Point masses where the argument changes its sign, as seen from the nodes beside it."""
    side = np.broadcast_to(value_at(argument, within), z.shape) > 0
    size = np.broadcast_to(value_at(weight, within), z.shape) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    side, size = (np.moveaxis(e, axis, 0) for e in (side, size))
    total = np.where(side[1:] != side[:-1], (size[1:] + size[:-1]) / 2, 0).sum(axis=0, keepdims=True)
    return np.moveaxis(total, 0, axis)


def _nodes(
    quadrature: Quadrature, wanted: list[Integrand], known: Values, rows: int, count: int
) -> tuple[Array, Array]:
    """Nodes for each row, and weights with the normal density in them."""
    edges = [np.broadcast_to(np.linspace(-_REACH, _REACH, 20), (rows, 20))]
    places = [value_at(e, known) for e in quadrature.breakpoints]
    places += [value_at(e, known) + grade for e in quadrature.branches for grade in _BRANCH_GRADES]
    for layer in dict.fromkeys(layer for integrand in wanted for layer in integrand.layers):
        location, width = value_at(layer.location, known), value_at(layer.width, known)
        places += [location + grade * width for grade in _GRADES]
    edges += [np.broadcast_to(np.nan_to_num(e), (rows, 1)) for e in places]
    cuts = np.sort(np.clip(np.concatenate(edges, axis=1), -_REACH, _REACH), axis=1)
    node, share = np.polynomial.legendre.leggauss(count)
    half, middle = np.diff(cuts)[..., None] / 2, (cuts[:, 1:] + cuts[:, :-1])[..., None] / 2
    z = (middle + half * node).reshape(rows, -1)
    return z, (half * share).reshape(rows, -1) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
