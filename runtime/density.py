"""A user's spectral density: text or function on an interval, resolved in panels, then quantiles and a Gauss rule.

Towards each end of the support panels halve, so that an integrable power there costs nothing; what lies beyond the
last panel is integrated as that power. Elsewhere panels are halved until polynomials resolve the density. The Gauss
rule is that of the measure discretised on the panels (Stieltjes' procedure; Gautschi, Orthogonal Polynomials, 2004,
§2.2), the quantiles come from the antiderivative of the panels' polynomials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from sgdlimit.derive.errors import InstanceError
from sgdlimit.derive.expression import names, parse
from sgdlimit.runtime.checks import is_number
from sgdlimit.runtime.evaluate import evaluate
from sgdlimit.runtime.spectra import FloatArray
from sgdlimit.runtime.spectral_laws import midpoint_levels, monotone_inverse

VARIABLE = "lam"
"""The eigenvalue in a density that is text (``lambda`` is a word of Python)."""

_ORDER = 16
_X, _W = legendre.leggauss(_ORDER)
# Values at the nodes -> coefficients of Legendre polynomials, and -> the integral over the left half.
_VANDERMONDE = legendre.legvander(_X, _ORDER - 1)
_COEFFICIENTS = (_VANDERMONDE * _W[:, None]).T * (np.arange(_ORDER)[:, None] + 0.5)
_LEFT_HALF = np.array([legendre.legval(0.0, legendre.legint(c, lbnd=-1)) for c in np.eye(_ORDER)]) @ _COEFFICIENTS

_INNER = 14  # panels between the two that halve towards the ends
_HALVINGS = 30  # towards an end that is not 0: there eigenvalues have digits left
_DEEPEST = 1000  # towards 0
_PANELS = 4000
_PER_PANEL = 1e-13  # error of a panel, relative to the whole
_MASS = 1e-10  # error of the whole
_REMEDY = (
    "it may be singular at the ends of its support alone, up to about lam**-0.99 at 0 and (end - lam)**-0.5 elsewhere, "
    "and is smooth in pieces"
)


@dataclass(frozen=True)
class Tail:
    """What lies between an end of the support and the nearest panel: mass ∝ (distance to the end)^power."""

    mass: float
    power: float
    width: float
    doubt: float


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    """A density that is polynomial, to rounding, on each panel: see :func:`resolve_density`.

    Parameters
    ----------
    function : callable
        The density, not normalised, at an array of eigenvalues.
    edges : array [panels + 1]
        Ends of the panels.
    masses : array [panels]
        Of the density as given.
    tails : pair of Tail
        Below the first edge and above the last.
    """

    function: Callable[[FloatArray], FloatArray]
    edges: FloatArray
    masses: FloatArray
    tails: tuple[Tail, Tail]

    @property
    def support(self) -> tuple[float, float]:
        """The interval."""
        low, high = self.tails
        return float(self.edges[0]) - low.width, float(self.edges[-1]) + high.width

    @property
    def total(self) -> float:
        """Integral of the density as given."""
        return math.fsum([*self.masses, *(tail.mass for tail in self.tails)])

    def quantiles(self, modes: int) -> FloatArray:
        """Midpoint quantiles, the largest first.

        Examples
        --------
        >>> resolve_density("lam", (0.0, 2.0)).quantiles(2).round(6)  # 2 √level
        array([1.732051, 1.      ])
        """
        low, high = self.tails
        levels = midpoint_levels(modes) * self.total
        above = np.cumsum([low.mass, *self.masses])
        panel = np.searchsorted(above, levels, side="right") - 1
        quantiles = np.empty(modes)
        below, inside, beyond = panel < 0, (panel >= 0) & (panel < len(self.masses)), panel >= len(self.masses)
        start, end = self.support
        if below.any():
            quantiles[below] = start + low.width * (levels[below] / low.mass) ** (1 / low.power)
        if beyond.any():
            rest = np.maximum(self.total - levels[beyond], 0.0) / high.mass if high.mass else 0.0 * levels[beyond]
            quantiles[beyond] = end - high.width * rest ** (1 / high.power)
        quantiles[inside] = self._inside(panel[inside], levels[inside] - above[panel[inside]])
        return np.maximum.accumulate(quantiles)[::-1].copy()

    def _inside(self, panel: NDArray[np.int64], masses: FloatArray) -> FloatArray:
        """Where in their panels the mass from the panel's start is ``masses``."""
        chosen, which = np.unique(panel, return_inverse=True)
        left, right = self.edges[chosen], self.edges[chosen + 1]
        values = self.function(_points(left, right))
        # Per unit of a panel's mass: a function of order 1 on (-1, 1).
        scale = (values @ _W)[:, None]
        density = (values / scale) @ _COEFFICIENTS.T
        cumulative = np.array([legendre.legint(c, lbnd=-1) for c in density])
        density, cumulative = density.T[:, which], cumulative.T[:, which]
        place = monotone_inverse(
            lambda x: np.asarray(legendre.legval(x, cumulative, tensor=False), dtype=np.float64),
            lambda x: np.asarray(legendre.legval(x, density, tensor=False), dtype=np.float64),
            masses / self.masses[panel],
            np.full(len(panel), -1.0),
            np.full(len(panel), 1.0),
        )
        left, right = left[which], right[which]
        return np.asarray(left + (right - left) / 2 * (1 + place), dtype=np.float64)

    def quadrature(self, nodes: int) -> tuple[FloatArray, FloatArray]:
        """Gauss rule: eigenvalues (largest first), weights with sum 1.

        Examples
        --------
        >>> eigenvalues, weights = resolve_density("1/sqrt(lam*(2 - lam))", (0.0, 2.0)).quadrature(3)
        >>> eigenvalues.round(6), weights.round(6)  # Chebyshev's
        (array([1.866025, 1.      , 0.133975]), array([0.333333, 0.333333, 0.333333]))
        """
        from scipy.linalg import eigh_tridiagonal

        start, end = self.support
        points, masses = self._discretised(nodes)
        # On (-1, 1), where the many points within rounding of an end are one.
        places, which = np.unique((points - start) / (end - start) * 2 - 1, return_inverse=True)
        diagonal, off_diagonal = _recurrence(places, np.bincount(which, masses) / masses.sum(), nodes)
        values, vectors = eigh_tridiagonal(diagonal, off_diagonal)
        eigenvalues = np.clip(start + (end - start) * (1 + values) / 2, start, end)
        weights = vectors[0] ** 2
        return np.asarray(eigenvalues[::-1].copy()), np.asarray(weights[::-1] / weights.sum())

    def _discretised(self, nodes: int) -> tuple[FloatArray, FloatArray]:
        """Points and masses that integrate polynomials of degree below ``2 nodes`` times the density."""
        start, end = self.support
        # The angle in which such a polynomial oscillates evenly: less than 16 of its phase on a panel.
        angles = 2 * np.arcsin(np.sqrt(np.clip((self.edges - start) / (end - start), 0, 1)))
        pieces = np.ceil(np.diff(angles) * (1.5 * nodes / 8)).astype(np.int64)
        edges = [np.linspace(a, b, n + 1)[:-1] for a, b, n in zip(self.edges, self.edges[1:], pieces, strict=False)]
        fine = np.append(np.concatenate(edges), self.edges[-1])
        points = _points(fine[:-1], fine[1:])
        masses = self.function(points) * _W * np.diff(fine)[:, None] / 2
        places = [points.ravel()]
        for tail, end_point, inwards in zip(self.tails, self.support, (1, -1), strict=True):
            places.append(np.array([end_point + inwards * tail.width * tail.power / (1 + tail.power)]))
        everywhere = np.concatenate(places)
        all_masses = np.concatenate([masses.ravel(), [tail.mass for tail in self.tails]])
        return everywhere[all_masses > 0], all_masses[all_masses > 0]


def resolve_density(density: str | Callable[[float], float], support: Sequence[float]) -> SpectralDensity:
    """Check a density and integrate it.

    Parameters
    ----------
    density : str or callable
        An expression in ``lam``, or a function of one number as :func:`scipy.integrate.quad` takes it. Not negative;
        its integral is finite and need not be 1. It may have kinks and jumps anywhere, integrable singularities at the
        ends of the support alone. A peak much narrower than a hundredth of the support may be missed.
    support : pair of float
        The interval, not below 0.

    Raises
    ------
    InstanceError, ExpressionError
        If it is not such a density; says where.

    Examples
    --------
    >>> round(resolve_density("lam**-0.5", (0.0, 4.0)).total, 12)
    4.0
    >>> resolve_density("1/lam", (0.0, 1.0))
    Traceback (most recent call last):
    sgdlimit.derive.errors.InstanceError: density: its integral diverges at lam = 0; give an integrable density
    """
    low, high = _interval(support)
    function = _checked(density)
    step = (high - low) / (_INNER + 2)
    halvings = step * 0.5 ** np.arange(_HALVINGS + 1)[::-1]
    edges = np.concatenate(
        [low + halvings, np.linspace(low + step, high - step, _INNER + 1)[1:-1], high - halvings[::-1]]
    )
    with np.errstate(over="ignore"):
        masses = _masses(function, edges)
        size = float(np.sum(masses)) * 2.0**_HALVINGS  # room for what follows
    if not math.isfinite(size):
        raise InstanceError("density", "its integral is too large for a double", "divide it by a number")
    edges, masses = _towards_zero(function, edges, masses)
    tails = (_tail(masses[:3], low, edges[0] - low), _tail(masses[:-4:-1], high, high - edges[-1]))
    edges, masses = _refined(function, edges, masses, math.fsum([*masses, *(tail.mass for tail in tails)]))
    result = SpectralDensity(function, edges, masses, tails)
    if not result.total > 0:
        raise InstanceError("density", f"it is 0 on all of ({low:g}, {high:g})", "give a support where it is positive")
    for tail, end in zip(tails, (low, high), strict=True):
        _check_tail(tail, end, result.total)
    return result


def _interval(support: Sequence[float]) -> tuple[float, float]:
    given: object = support
    ends = list(given) if isinstance(given, Sequence | np.ndarray) else []
    if len(ends) != 2 or not all(is_number(end) and not math.isnan(end) for end in ends):
        raise InstanceError("support", f"{support!r} is not a pair of numbers", "give the ends of an interval, (0, 1)")
    low, high = float(ends[0]), float(ends[1])
    shown = f"({low:g}, {high:g})"
    if math.isinf(low) or math.isinf(high):
        raise InstanceError(
            "support", f"{shown} is infinite", "end it where the rest of the density counts for nothing"
        )
    if low < 0:
        raise InstanceError("support", f"{shown} begins below 0", "covariance eigenvalues are at least 0")
    if not high - low > 1e-6 * high:
        raise InstanceError("support", f"{shown} is no interval, or too short for one", "give its lower end first")
    return low, high


def _checked(density: str | Callable[[float], float]) -> Callable[[FloatArray], FloatArray]:
    """The density at an array; a value that cannot be is an error that says where."""
    if isinstance(density, str):
        tree = parse(density, where="density")
        unknown = [name for name in names(tree) if name != VARIABLE]
        if unknown:
            raise InstanceError("density", f"{unknown[0]!r} is unknown", f"write an expression in {VARIABLE}")

        def values(points: FloatArray) -> FloatArray:
            return np.broadcast_to(evaluate(tree, {VARIABLE: points}), points.shape)
    elif callable(density):

        def values(points: FloatArray) -> FloatArray:
            found: list[object] = [density(float(point)) for point in points.ravel()]
            for value, point in zip(found, points.ravel(), strict=True):
                if not is_number(value) and not (isinstance(value, np.ndarray) and value.shape == ()):
                    raise InstanceError("density", f"its value at lam = {point:.6g} is not a number: {value!r:.60}")
            return np.array(found, dtype=np.float64).reshape(points.shape)
    else:
        raise InstanceError(
            "density", f"{density!r:.60} is neither text nor a function", f"write an expression in {VARIABLE}"
        )

    def checked(points: FloatArray) -> FloatArray:
        found = values(points)
        for bad, why in ((~np.isfinite(found), "not a finite number"), (found < 0, "negative")):
            if bad.any():
                where, value = points[bad][0], found[bad][0]
                raise InstanceError(
                    "density",
                    f"its value at lam = {where:.6g} is {value:.6g}, {why}",
                    "a density is defined and at least 0 on all of its support",
                )
        return found

    return checked


def _points(left: FloatArray, right: FloatArray) -> FloatArray:
    """Gauss–Legendre points of panels [panels, order]."""
    return np.asarray(left[:, None] + (right - left)[:, None] * ((1 + _X) / 2))


def _masses(function: Callable[[FloatArray], FloatArray], edges: FloatArray) -> FloatArray:
    return np.asarray(function(_points(edges[:-1], edges[1:])) @ _W * np.diff(edges) / 2)


def _towards_zero(
    function: Callable[[FloatArray], FloatArray], edges: FloatArray, masses: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Panels that go on halving towards a support's end at 0, until nothing is left below."""
    while len(edges) - 1 < _DEEPEST and edges[0] <= edges[1] / 2 * (1 + 1e-12):
        tail = _tail(masses[:3], 0.0, edges[0])
        if not math.isfinite(tail.mass) or tail.mass <= 1e-16 * masses.sum():
            break
        more = edges[0] * 0.5 ** np.arange(20, -1, -1)
        masses = np.concatenate([_masses(function, more), masses])
        edges = np.concatenate([more[:-1], edges])
    return edges, masses


def _tail(masses: FloatArray, end: float, width: float) -> Tail:
    """The tail beyond panels that halve, from the masses of the last three, the last first."""
    last, before, earlier = (float(mass) for mass in masses)
    if last == 0:
        return Tail(0.0, 1.0, width, 0.0)
    if before == 0 or last / before > 1 - 1e-5:
        raise InstanceError("density", f"its integral diverges at lam = {end:g}", "give an integrable density")
    ratio = last / before
    mass = last * ratio / (1 - ratio)
    doubt = abs(mass - last * before / (earlier - before)) if earlier > before else mass
    return Tail(mass, -math.log2(ratio), width, doubt)


def _refined(
    function: Callable[[FloatArray], FloatArray], edges: FloatArray, masses: FloatArray, total: float
) -> tuple[FloatArray, FloatArray]:
    """Panels halved until the polynomial on each has the masses of its halves."""
    left, right = edges[:-1], edges[1:]
    values = function(_points(left, right))
    done: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    doubt, count = 0.0, len(left)
    worst = math.nan
    while len(left):
        middle, width = (left + right) / 2, right - left
        low, high = function(_points(left, middle)), function(_points(middle, right))
        below, above = low @ _W * width / 4, high @ _W * width / 4
        expected = values @ _LEFT_HALF * width / 2
        error = np.maximum(np.abs(expected - below), np.abs(values @ _W * width / 2 - expected - above))
        smallest = (width < 2.0**-45 * right) | (count > _PANELS)
        accepted = (error <= _PER_PANEL * total) | smallest
        if smallest.any() and error[smallest].max() > 0:
            doubt += math.fsum(error[smallest])
            worst = float(left[smallest][error[smallest].argmax()])
        done.append((left[accepted], right[accepted], (below + above)[accepted]))
        left, middle, right, low, high = (a[~accepted] for a in (left, middle, right, low, high))
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
        values = np.concatenate([low, high])
        count += len(middle)
    if doubt > _MASS * total:
        raise InstanceError(
            "density",
            f"its integral near lam = {worst:.6g} cannot be found to ten digits",
            _REMEDY,
        )
    lefts, rights, parts = (np.concatenate(column) for column in zip(*done, strict=True))
    order = np.argsort(lefts)
    return np.append(lefts[order], rights[order][-1]), parts[order]


def _check_tail(tail: Tail, end: float, total: float) -> None:
    if tail.doubt > _MASS * total:
        raise InstanceError("density", f"its integral near lam = {end:g} cannot be found to ten digits", _REMEDY)


def _recurrence(places: FloatArray, masses: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Diagonal and off-diagonal of the Jacobi matrix of a discrete measure of mass 1 (Stieltjes' procedure)."""
    diagonal, off_diagonal = np.empty(count), np.empty(count - 1)
    previous, current, norm = np.zeros_like(places), np.ones_like(places), 0.0
    for k in range(count):
        diagonal[k] = np.sum(masses * places * current**2)
        following = (places - diagonal[k]) * current - norm * previous
        if k + 1 < count:
            norm = math.sqrt(np.sum(masses * following**2))
            off_diagonal[k] = norm
            previous, current = current, following / norm
    return diagonal, off_diagonal
