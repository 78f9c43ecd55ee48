"""An independent reference for the coefficients of any model: nested Gaussian integrals of their definitions.

Written from ``theory.md`` sections 1 and 2 alone, in NumPy and SciPy; it imports nothing of ``sgdlimit``. A model is its
loss with first and second derivatives by hand, its kinks, its target and the interior maxima of its loss;
`coefficients` returns R, A, B, D, F, I and the clean risk at a `State`, each with ``E|integrand|``, the scale of its errors.

- ``r = m + beta (r* - m*) + sqrt(Q_perp) z`` and ``r - r* = dm + beta1 (r* - m*) + sqrt(Q_perp) z``: no variance and no
  difference of scores is formed by subtraction.
- ``B = E f_adv''`` off the kinks plus the point masses where ``d f_adv / dr`` jumps; ``D = E d^2 f_adv / dr dr*`` likewise.
- Four kinds of integral: `OneForm` (class labels; losses of ``r - y`` with additive noise), one dimension; `RandomLabels`
  (outer ``r``, inner ``r*`` given ``r``); `TeacherLoss` (``y = phi(r*)``: outer ``r*``, inner ``r``); `NoisyLink`
  (``(g(r) - y)^2 / 2`` with ``y = g(r*) + sigma xi``: outer ``r*``, then ``r``, then ``xi`` by truncated moments).
- Every outer integral is adaptive composite Gauss-Legendre, split at kinks and where the inner integrand's features cross
  the inner mean, with panels as narrow as the layers of width ``sqrt(Q_perp)`` there. Two rules of different orders and
  panels must agree to `TOLERANCE` of ``E|integrand|``; otherwise finer ones are tried, then `NotReached` is raised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

COEFFICIENTS = ("R", "A", "B", "D", "F", "I", "clean_risk")
TOLERANCE = 1e-12
FLOOR = 1e-250  # values below are taken for 0
FULL_REACH = 38.5  # standard deviations: beyond, the Gaussian density underflows
REACH = 16.0  # leaves 1e-57
_EPS = float(np.finfo(float).eps)
_ABS = {"R": "abs_R", "A": "abs_A", "B": "abs_B", "D": "abs_D", "F": "F", "I": "I", "clean_risk": "abs_clean_risk"}
_ROWS = (*COEFFICIENTS, "abs_R", "abs_A", "abs_B", "abs_D", "abs_clean_risk")
_INDEX = {name: i for i, name in enumerate(_ROWS)}
_CHECKED = np.arange(len(COEFFICIENTS))
_SCALE = np.array([_INDEX[_ABS[name]] for name in COEFFICIENTS])


class NotReached(ArithmeticError):
    """Two rules did not agree."""


@dataclass(frozen=True)
class State:
    """Where coefficients are taken: the law of the scores, the norm, the radius and the label of the class.

    ``dm = m - m*`` and ``beta1 = beta - 1`` are given beside ``m`` and ``beta`` because they may be known better.
    Without a teacher ``Q_star = beta = m_star = 0``, ``beta1 = -1``, ``dm = m``.
    """

    m: float
    dm: float
    m_star: float
    beta: float
    beta1: float
    Q_perp: float
    Q_star: float
    n: float
    epsilon: float = 0.0
    y: float | None = None

    @property
    def Q(self) -> float:
        """Variance of ``r``."""
        return self.Q_perp + self.beta**2 * self.Q_star

    @property
    def kappa(self) -> float:
        """Radius of the adversary in the score."""
        return self.epsilon * self.n


# --------------------------------------------------------------------------------------- composite quadrature


@lru_cache(maxsize=16)
def _legendre(order: int) -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(order)


def _density(z: Array) -> Array:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


Rows = Callable[[Array], Array]  # nodes [N] -> values [len(_ROWS), N], Gaussian density included


def _panel_sums(rows: Rows, left: Array, right: Array, order: int) -> Array:
    nodes, weights = _legendre(order)
    half = 0.5 * (right - left)
    u = (0.5 * (left + right))[:, None] + half[:, None] * nodes
    values = rows(u.ravel()).reshape(len(_ROWS), *u.shape)
    return np.einsum("kpn,n,p->kp", values, weights, half)


def _adaptive(
    rows: Rows, check: Rows, edges: Sequence[float], reach: float, orders: tuple[int, int], tolerance: float
) -> Array:
    """Integrals of the rows over ``[-reach, reach]``: panels are halved until halves and whole agree.

    Returns two rules' sums, ``[2, len(_ROWS)]``: of ``rows`` on the halves at the first order, and of ``check`` on the
    accepted wholes at the second.
    """
    base = np.append(np.arange(-reach, reach, 2.0), reach)
    marks = np.asarray([e for e in edges if abs(e) < reach], dtype=float)
    points = np.unique(np.concatenate([base, marks]))
    left, right = points[:-1], points[1:]
    whole = _panel_sums(rows, left, right, orders[0])
    done = np.zeros(len(_ROWS))
    accepted: list[tuple[Array, Array]] = []
    for _ in range(70):
        middle = 0.5 * (left + right)
        first = _panel_sums(rows, left, middle, orders[0])
        second = _panel_sums(rows, middle, right, orders[0])
        halves = first + second
        total = done + halves.sum(axis=1)
        allowed = tolerance * (0.02 * halves[_SCALE] + 0.002 * total[_SCALE][:, None]) + FLOOR
        narrow = right - left < 64 * _EPS * np.maximum(np.maximum(np.abs(left), np.abs(right)), 1e-3)
        fine = (np.abs(whole - halves)[_CHECKED] <= allowed).all(axis=0) | narrow
        done = done + halves[:, fine].sum(axis=1)
        accepted.append((left[fine], right[fine]))
        if fine.all():
            break
        split = ~fine
        whole = np.concatenate([first[:, split], second[:, split]], axis=1)
        left, right = np.concatenate([left[split], middle[split]]), np.concatenate([middle[split], right[split]])
        if left.size > 5000:
            raise NotReached("too many panels")
    else:
        raise NotReached("too many halvings")
    left, right = (np.concatenate(side) for side in zip(*accepted, strict=True))
    return np.stack([done, _panel_sums(check, left, right, orders[1]).sum(axis=1)])


def _found(sums: Array) -> dict[str, float]:
    found = {name: float(sums[_INDEX[name]]) for name in COEFFICIENTS}
    return found | {f"abs_{name}": float(sums[_INDEX[_ABS[name]]]) for name in COEFFICIENTS}


def _agreed(rules: Array, certain: Array) -> dict[str, float]:
    """The first rule if the second agrees; ``certain`` is added to both."""
    first, second = rules + certain
    for name in COEFFICIENTS:
        scale = first[_INDEX[_ABS[name]]]
        difference = abs(first[_INDEX[name]] - second[_INDEX[name]])
        if not difference <= TOLERANCE * scale + FLOOR:
            raise NotReached(f"{name}: the rules differ by {difference / scale if scale else math.inf:.1e} of {scale}")
    return _found(first)


# Orders of the outer rules, of the inner rules, and the outer tolerance as a share of `TOLERANCE`.
_ATTEMPTS = (((16, 24), (20, 28), 1.0), ((20, 30), (30, 40), 0.3), ((32, 40), (48, 64), 0.1))


def _integrate(
    rows: Callable[[int], Rows], edges: Sequence[float], reach: float, certain: Array | None = None
) -> dict[str, float]:
    """``rows(order)`` are the outer integrands by an inner rule of that order; ``certain`` is known without."""
    last = NotReached("no attempt")
    for outer, inner, share in _ATTEMPTS:
        try:
            rules = _adaptive(rows(inner[0]), rows(inner[1]), edges, reach, outer, TOLERANCE * share)
            return _agreed(rules, np.zeros(len(_ROWS)) if certain is None else certain)
        except NotReached as error:
            last = error
    raise last


@dataclass(frozen=True)
class _Inner:
    """Nodes of inner integrals, one after the other: node ``i`` belongs to outer node ``owner[i]``."""

    owner: NDArray[np.intp]
    z: Array
    weight: Array  # Gaussian density included
    count: int

    def sums(self, values: Array) -> Array:
        """``[K, nodes] -> [K, outer nodes]``."""
        weighted = values * self.weight
        return np.stack([np.bincount(self.owner, row, self.count) for row in weighted])


def _inner(marks: Sequence[Array], count: int, reach: float, order: int) -> _Inner:
    """Gauss-Legendre split, for each of ``count`` outer nodes, at its ``marks`` (NaN: none)."""
    base = np.append(np.arange(-reach, reach, 2.0), reach)
    columns = [np.broadcast_to(base, (count, base.size))]
    for mark in marks:
        columns.append(np.clip(np.nan_to_num(np.broadcast_to(mark, (count,)), nan=reach), -reach, reach)[:, None])
    points = np.sort(np.concatenate(columns, axis=1), axis=1)
    half = 0.5 * np.diff(points, axis=1)
    middle = 0.5 * (points[:, 1:] + points[:, :-1])
    owner, panel = np.nonzero(half > 0)
    nodes, weights = _legendre(order)
    half, middle = half[owner, panel][:, None], middle[owner, panel][:, None]
    z = (middle + half * nodes).ravel()
    weight = (half * weights).ravel() * _density(z)
    return _Inner(np.repeat(owner, order), z, weight, count)


def _in_chunks(rows: Rows, size: int = 256) -> Rows:
    """Inner integrals are taken for a few outer nodes at a time, for memory's sake."""

    def chunked(u: Array) -> Array:
        return np.concatenate([rows(u[i : i + size]) for i in range(0, u.size, size)], axis=1)

    return chunked


def _stack(**values: Array) -> Array:
    """Rows in order, of values by name; absolute values and rows left out are filled in."""
    shape = np.broadcast_shapes(*(np.shape(v) for v in values.values()))
    rows = np.zeros((len(_ROWS), *shape))
    for name in COEFFICIENTS:
        if name in values:
            rows[_INDEX[name]] = values[name]
            if _ABS[name] != name:
                rows[_INDEX[_ABS[name]]] = values.get(_ABS[name], np.abs(values[name]))
    return rows


# ------------------------------------------------------------------------------------------- losses of one form


@dataclass(frozen=True)
class ScalarLoss:
    """A loss of one variable ``x`` (``r`` with ``y`` fixed, or ``r - y``), quasi-convex in it.

    ``slope``, ``curvature``: derivatives off the kinks. ``kinks``: ``(place, slope on the left, slope on the right)``
    wherever ``f'`` or ``f''`` jumps. ``marks``: where a smooth ``f`` bends on a scale of 1. ``direction``: the sign of
    ``s`` that loses most if that is the same everywhere (a monotone ``f``), else 0: then where it changes is found.
    """

    loss: Function
    slope: Function
    curvature: Function
    kinks: tuple[tuple[float, float, float], ...] = ()
    marks: tuple[float, ...] = ()
    direction: int = 0


class _Worst:
    """``f_adv`` of a `ScalarLoss` at a radius: the maximiser, the breaks and the jumps of ``f_adv'``."""

    def __init__(self, loss: ScalarLoss, kappa: float) -> None:
        self.of, self.kappa = loss, kappa
        shifts = (0.0,) if kappa == 0 else (float(loss.direction),) if loss.direction else (1.0, -1.0)
        places = [(k - s * kappa, (s, left, right)) for k, left, right in loss.kinks for s in shifts]
        self.switch = None if loss.direction else self._switch()
        entries: list[tuple[float, tuple[float, float, float] | None]] = [*places]
        if self.switch is not None:
            entries.append((self.switch, None))
        entries.sort(key=lambda entry: entry[0])
        groups: list[list[tuple[float, tuple[float, float, float] | None]]] = []
        for entry in entries:
            if groups and entry[0] - groups[-1][0][0] <= 8 * _EPS * (abs(entry[0]) + kappa):
                groups[-1].append(entry)
            else:
                groups.append([entry])
        at = [group[0][0] for group in groups]
        self.breaks: list[tuple[float, float]] = []
        for i, group in enumerate(groups):
            before = 0.5 * (at[i] + at[i - 1]) if i else at[i] - 1 - kappa
            after = 0.5 * (at[i] + at[i + 1]) if i + 1 < len(at) else at[i] + 1 + kappa
            self.breaks.append((at[i], self._side(at[i], group, after, 2) - self._side(at[i], group, before, 1)))
        self.marks = [mark - s * kappa for mark in loss.marks for s in {*shifts, 0.0}]
        self.clean_breaks = [place for place, _, _ in loss.kinks]

    def _side(
        self, at: float, group: list[tuple[float, tuple[float, float, float] | None]], beside: float, side: int
    ) -> float:
        """``f_adv'`` at a break from one side."""
        sign = float(self.sign(np.array([beside]))[0])
        for _, kink in group:
            if kink is not None and (kink[0] == sign or self.kappa == 0):
                return kink[side]
        return float(self.of.slope(np.array([at + sign * self.kappa]))[0])

    def sign(self, x: Array) -> Array:
        """The sign of the maximiser ``s``."""
        if self.of.direction:
            return np.full_like(x, self.of.direction)
        up, down = self.of.loss(x + self.kappa), self.of.loss(x - self.kappa)
        decided = np.abs(up - down) > 16 * _EPS * (np.abs(up) + np.abs(down))
        return np.where(np.where(decided, up - down, self.of.slope(x)) > 0, 1.0, -1.0)

    def _switch(self) -> float | None:
        """Where the maximiser changes, by bisection."""
        low, high = -1.0 - self.kappa, 1.0 + self.kappa
        for _ in range(60):
            if self.sign(np.array([low]))[0] < 0 < self.sign(np.array([high]))[0]:
                break
            low, high = 2 * low, 2 * high
        else:
            return None
        for _ in range(2000):
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            if self.sign(np.array([middle]))[0] > 0:
                high = middle
            else:
                low = middle
        return 0.5 * (low + high)

    def rows(self, x: Array, epsilon: float) -> Array:
        """The integrands without point masses."""
        sign = self.sign(x)
        worst = x + sign * self.kappa
        slope = self.of.slope(worst)
        outward = np.abs(slope) if self.kappa == 0 else sign * slope
        return _stack(
            R=self.of.loss(worst),
            A=slope,
            B=self.of.curvature(worst),
            F=epsilon * outward,
            I=slope**2,
            clean_risk=self.of.loss(x),
        )

    def edges(self, mean: float, sd: float) -> list[float]:
        """Breaks and graded marks in units of ``sd`` from ``mean``."""
        grades = np.concatenate([[0.0], 2.0 ** np.arange(-1, 12)])
        graded = [mark + s * g for mark in self.marks for g in grades for s in (1, -1)]
        places = [b for b, _ in self.breaks] + self.clean_breaks + graded
        return [(place - mean) / sd for place in places]


@dataclass(frozen=True)
class OneForm:
    """Class labels (``f`` at ``y``), or a loss of ``r - y`` with ``y = r* + sigma xi`` (``residual``: ``f`` at ``r - y``)."""

    loss: Callable[[dict[str, float], float], ScalarLoss]  # of the parameters and the label
    residual: bool = False


def _one_form(model: OneForm, parameters: dict[str, float], state: State) -> dict[str, float]:
    if model.residual:
        mean = state.dm
        variance = state.Q_perp + state.beta1**2 * state.Q_star + parameters.get("sigma", 0.0) ** 2
        label = 0.0
    else:
        if state.y is None:
            raise ValueError("class labels: the state needs y")
        mean, variance, label = state.m, state.Q, state.y
    worst = _Worst(model.loss(parameters, label), state.kappa)
    sd = math.sqrt(variance)
    if sd == 0:
        if mean in [b for b, _ in worst.breaks]:
            raise NotReached("all mass is at a kink")
        sums = worst.rows(np.array([mean]), state.epsilon)[:, 0]
    else:
        certain = np.zeros(len(_ROWS))
        for place, jump in worst.breaks:
            mass = jump * float(_density(np.array((place - mean) / sd))) / sd
            certain += _stack(B=np.array(mass))

        def rows(order: int) -> Rows:
            return lambda z: worst.rows(mean + sd * z, state.epsilon) * _density(z)

        sums = None
        found = _integrate(rows, worst.edges(mean, sd), FULL_REACH, certain)
    if sums is not None:
        found = _found(sums)
    if model.residual:
        found["D"], found["abs_D"] = -found["B"], found["abs_B"]
    return found


# ----------------------------------------------------------------------------------------------- random labels


@dataclass(frozen=True)
class RandomLabels:
    """``P(y = +1 | r*) = h(r*)``, ``1 - h(x) = h(-x)``; ``h`` None is the sign of ``r*``."""

    loss: Callable[[dict[str, float], float], ScalarLoss]
    h: Function | None
    slope: Function | None = None  # h'


def _random_labels(model: RandomLabels, parameters: dict[str, float], state: State) -> dict[str, float]:
    """Outer ``r = m + sqrt(Q) w``, inner ``r* | r = m* + sqrt(Q*) (rho w + sqrt(1 - rho^2) v)``: kinks in ``r`` stay put."""
    worst = {y: _Worst(model.loss(parameters, y), state.kappa) for y in (1.0, -1.0)}
    sd, sd_star = math.sqrt(state.Q), math.sqrt(state.Q_star)
    rho = state.beta * sd_star / sd if sd > 0 else 0.0
    perp = math.sqrt(state.Q_perp) / sd if sd > 0 else 1.0

    def shares(w: Array, order: int) -> tuple[Array, Array, Array]:
        """``P(y = 1 | w)``, ``P(y = -1 | w)`` and ``E[h' | w]``."""
        centre = state.m_star + sd_star * rho * w
        if model.h is None:
            if perp == 0:
                return (centre > 0).astype(float), (centre <= 0).astype(float), np.zeros_like(w)
            t = centre / (sd_star * perp)
            return ndtr(t), ndtr(-t), np.zeros_like(w)
        assert model.slope is not None
        spread = sd_star * perp
        if spread == 0:
            return model.h(centre), model.h(-centre), model.slope(centre)
        marks = [(mark - centre) / spread for mark in (0.0, *(s * 2.0**k for k in range(6) for s in (1, -1)))]
        inner = _inner(marks, w.size, 20.0, order)
        x = centre[inner.owner] + spread * inner.z
        plus, minus, slope = inner.sums(np.stack([model.h(x), model.h(-x), model.slope(x)]))
        return plus, minus, slope

    def rows(order: int) -> Rows:
        def at(w: Array) -> Array:
            plus, minus, slope = shares(w, order)
            r = state.m + sd * w
            up, down = worst[1.0].rows(r, state.epsilon), worst[-1.0].rows(r, state.epsilon)
            D = slope * (up[_INDEX["A"]] - down[_INDEX["A"]])
            return (plus * up + minus * down + _stack(D=D)) * _density(w)

        return _in_chunks(at, 2048)

    certain = np.zeros(len(_ROWS))
    if sd > 0:
        for y, place, jump in ((y, *found) for y, at in worst.items() for found in at.breaks if found[1] != 0):
            w = np.array([(place - state.m) / sd])
            share = shares(w, 64)[0 if y > 0 else 1]
            certain += _stack(B=jump * share * _density(w) / sd)[:, 0]
    if model.h is None:
        certain += _sign_D(worst, state)
    if sd == 0:
        return _found(rows(64)(np.zeros(1))[:, 0] / float(_density(np.zeros(1))[0]) + certain)
    edges = worst[1.0].edges(state.m, sd) + worst[-1.0].edges(state.m, sd)
    if rho != 0:
        # r* = 0 on a scale of max(1, spread); for the sign on that of the spread
        centre = -state.m_star / (sd_star * rho)
        unit = (sd_star * perp if model.h is None else max(1.0, sd_star * perp)) / (sd_star * abs(rho))
        edges += [centre + s * unit * g for g in (0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 39) for s in (1, -1)]
    return _integrate(rows, edges, FULL_REACH, certain)


def _sign_D(worst: dict[float, _Worst], state: State) -> Array:
    """``D = p(r* = 0) E[f_adv'(r; +1) - f_adv'(r; -1) | r* = 0]``."""
    sd_star, sd = math.sqrt(state.Q_star), math.sqrt(state.Q_perp)
    mean = state.m - state.beta * state.m_star
    density = float(_density(np.array(state.m_star / sd_star))) / sd_star

    def jump(r: Array) -> Array:
        A = _INDEX["A"]
        return worst[1.0].rows(r, 0.0)[A] - worst[-1.0].rows(r, 0.0)[A]

    if sd == 0:
        return _stack(D=density * jump(np.array([mean])))[:, 0]
    edges = worst[1.0].edges(mean, sd) + worst[-1.0].edges(mean, sd)
    found = _integrate(lambda order: lambda z: _stack(D=jump(mean + sd * z) * _density(z)), edges, FULL_REACH)
    return _stack(D=np.array(density * found["D"]), abs_D=np.array(density * found["abs_D"]))


# ---------------------------------------------------------------------------------------------- y = phi(r*)

Distance = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Feature:
    """A curve ``r = k(r*)`` where ``f_adv`` is not smooth.

    ``distance(r, gap, L)`` is ``r - k(L)`` at ``r* = L``, ``gap = r - L``; NaN where there is no such point.
    ``jump(L)``: by how much ``d f_adv / dr`` and ``d f_adv / dr*`` jump as ``r`` grows; None: not at all.
    """

    distance: Distance
    jump: Callable[[Array], tuple[Array, Array]] | None = None


Three = Callable[[Array, Array, Array], Array]  # of r, L = r*, gap = r - L


@dataclass(frozen=True)
class TeacherLoss:
    """``f(r; phi(r*))`` and its derivatives as functions of ``r``, ``L = r*`` and ``gap = r - L``.

    ``by_target = df/dL`` and ``mixed = d^2 f / dr dL``. ``excess``: ``f`` less a function of ``L``, to compare losses.
    ``interior``: ``f`` is even in ``r`` and its maximum at 0 competes. ``features(kappa)``: where ``f_adv`` is not smooth (at
    ``kappa = 0`` also where ``f'`` changes its sign). ``r_marks``, ``L_marks``: further places to split at.
    """

    loss: Three
    slope: Three
    curvature: Three
    by_target: Three
    mixed: Three
    excess: Three
    interior: bool = False
    features: Callable[[float], tuple[Feature, ...]] = lambda kappa: ()
    r_marks: Callable[[float], tuple[float, ...]] = lambda kappa: ()
    L_marks: Callable[[float], tuple[float, ...]] = lambda kappa: ()
    reach: float = REACH


def maximiser(model: TeacherLoss, r: Array, L: Array, gap: Array, kappa: float) -> Array:
    """``s`` of the largest loss among both ends and the interior maximum."""
    if kappa == 0:
        return np.zeros_like(r)
    up, down = model.excess(r + kappa, L, gap + kappa), model.excess(r - kappa, L, gap - kappa)
    decided = np.abs(up - down) > 16 * _EPS * (np.abs(up) + np.abs(down))
    s = np.where(np.where(decided, up - down, model.slope(r, L, gap)) > 0, kappa, -kappa)
    if model.interior:
        # f is even: with 0 in reach, the near end loses less than 0 or than the far end
        far = np.where(r > 0, up, down)
        top = model.excess(np.zeros_like(r), L, -L) > far
        reached = np.abs(r) <= kappa
        s = np.where(reached, np.where(top, -r, np.where(r > 0, kappa, -kappa)), s)
    return s


def _teacher(model: TeacherLoss, state: State) -> dict[str, float]:
    """Outer ``u``: ``r* = m* + sqrt(Q*) u``; inner ``z``."""
    kappa, sd, sd_star, reach = state.kappa, math.sqrt(state.Q_perp), math.sqrt(state.Q_star), model.reach
    features = model.features(kappa)

    def scores(u: Array) -> tuple[Array, Array, Array]:
        return (
            state.m + state.beta * sd_star * u,
            state.dm + state.beta1 * sd_star * u,
            state.m_star + sd_star * u,
        )

    crossings = [_Crossings(feature, scores, sd, reach) for feature in features]
    in_rows = [c for c in crossings if c.feature.jump is not None and not c.thin]

    def rows(order: int) -> Rows:
        def at(u: Array) -> Array:
            r0, gap0, L = scores(u)
            if sd == 0:
                sums = _teacher_rows(model, state, r0, L, gap0)
            else:
                marks = [-feature.distance(r0, gap0, L) / sd for feature in features]
                marks += [(mark - r0) / sd for mark in model.r_marks(kappa)]
                inner = _inner(marks, u.size, reach, order)
                step, owner = sd * inner.z, inner.owner
                sums = inner.sums(_teacher_rows(model, state, r0[owner] + step, L[owner], gap0[owner] + step))
            for crossing in in_rows:
                sums = sums + crossing.masses(u)
            return sums * _density(u)

        return _in_chunks(at)

    certain = np.zeros(len(_ROWS))
    target_marks = [(mark - state.m_star) / sd_star for mark in model.L_marks(kappa)]
    edges: list[float] = list(target_marks)
    if state.beta != 0:
        edges += [(mark - state.m) / (state.beta * sd_star) for mark in model.r_marks(kappa)]
    if state.beta1 != 0:
        edges.append(-state.dm / (state.beta1 * sd_star))
    for crossing in crossings:
        edges += crossing.edges()
        if crossing.feature.jump is not None and crossing.thin:
            certain += crossing.thin_masses(target_marks)
    return _integrate(rows, edges, reach, certain)


def _teacher_rows(model: TeacherLoss, state: State, r: Array, L: Array, gap: Array) -> Array:
    kappa = state.kappa
    s = maximiser(model, r, L, gap, kappa)
    worst, away = r + s, gap + s
    if model.interior:
        worst, away = np.where(s == -r, 0.0, worst), np.where(s == -r, -L, away)
    slope = model.slope(worst, L, away)
    curvature, mixed = model.curvature(worst, L, away), model.mixed(worst, L, away)
    if model.interior and kappa > 0:
        inside = s == -r  # the maximum does not move with r
        curvature, mixed = np.where(inside, 0.0, curvature), np.where(inside, 0.0, mixed)
    outward = np.abs(slope) if kappa == 0 else np.sign(s) * slope
    risk = model.loss(worst, L, away)
    return _stack(
        R=risk,
        A=slope,
        B=curvature,
        D=mixed,
        F=state.epsilon * outward,
        I=slope**2,
        clean_risk=risk if kappa == 0 else model.loss(r, L, gap),
    )


class _Crossings:
    """Where the mean of ``r`` given ``r*`` crosses a feature: there the outer integrand has a layer.

    Point masses on the feature, ``E[jump(r*) p(r = k(r*) | r*)]``, are a part of the outer integrand unless every crossing
    is ``thin``: then rounding would blur them, and the variable is ``tau = (r - k)/sqrt(Q_perp)`` instead, of which ``r*``
    is a smooth function; ``Q_perp = 0`` is no exception.
    """

    GRADES = (0.0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24)

    def __init__(
        self, feature: Feature, scores: Callable[[Array], tuple[Array, Array, Array]], sd: float, reach: float
    ) -> None:
        self.feature, self.scores, self.sd, self.reach = feature, scores, sd, reach
        grid = np.linspace(-reach, reach, 8001)
        d = self.distance(grid)
        sign = np.sign(d)
        with np.errstate(invalid="ignore"):
            change = np.nonzero(sign[1:] * sign[:-1] < 0)[0]
        low, high = grid[change], grid[change + 1]
        at_low = sign[change]
        for _ in range(80):
            middle = 0.5 * (low + high)
            same = np.sign(self.distance(middle)) == at_low
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        exact = grid[sign == 0]
        self.roots = np.unique(np.concatenate([0.5 * (low + high), exact]))
        self.slopes = self._slope(self.roots)
        with np.errstate(divide="ignore"):
            self.widths = np.where(self.slopes != 0, sd / np.abs(self.slopes), np.inf)
        if sd == 0:
            self.thin = True
            return
        far = np.ones(grid.size, dtype=bool)
        for root, width in zip(self.roots, self.widths, strict=True):
            far &= np.abs(grid - root) > 20 * width + 1e-3
        with np.errstate(invalid="ignore"):
            near = far & (np.abs(d) < 14 * sd)
        self.thin = bool(not near.any() and (self.widths < 1e-4).all())

    def distance(self, u: Array) -> Array:
        return self.feature.distance(*self.scores(u))

    def _slope(self, u: Array) -> Array:
        """``d distance / du``, by differences (exact for straight features, else to the places of a Richardson step)."""
        h = 1e-3
        with np.errstate(invalid="ignore"):
            one = (self.distance(u + h) - self.distance(u - h)) / (2 * h)
            two = (self.distance(u + 2 * h) - self.distance(u - 2 * h)) / (4 * h)
        return np.where(np.isfinite(two), (4 * one - two) / 3, one)

    def edges(self) -> list[float]:
        found = []
        for root, width in zip(self.roots, self.widths, strict=True):
            found.append(root)
            if np.isfinite(width) and width > 0:
                found += [root + s * g * width for g in self.GRADES for s in (1, -1)]
        return [float(u) for u in found]

    def masses(self, u: Array) -> Array:
        """The rows' masses at outer nodes."""
        z = np.nan_to_num(self.distance(u) / self.sd, nan=np.inf)
        assert self.feature.jump is not None
        by_r, by_target = self.feature.jump(self.scores(u)[2])
        p = _density(z) / self.sd
        on = p > 0
        return _stack(B=np.where(on, by_r, 0.0) * p, D=np.where(on, by_target, 0.0) * p)

    def thin_masses(self, kinks: Sequence[float]) -> Array:
        """The same, integrated over ``tau`` around each crossing; the jump has kinks at some places ``u``."""
        assert self.feature.jump is not None
        total = np.zeros(len(_ROWS))
        tau, weight = np.zeros(1), np.ones(1)
        if self.sd > 0:
            nodes, weights = _legendre(24)
            at_kinks = self.distance(np.array(kinks)) / self.sd
            ends = np.unique(np.concatenate([np.arange(-13.0, 14.0), at_kinks[np.abs(at_kinks) < 13]]))
            half, middle = np.diff(ends)[:, None] / 2, (ends[1:] + ends[:-1])[:, None] / 2
            tau = (middle + half * nodes).ravel()
            weight = (half * weights).ravel() * _density(tau)
        for root in self.roots:
            u = np.full_like(tau, root)
            for _ in range(4):
                u = u - (self.distance(u) - self.sd * tau) / self._exact_slope(u)
            steep = np.abs(self._exact_slope(u))
            by_r, by_target = self.feature.jump(self.scores(u)[2])
            shared = weight * _density(u) / steep
            total += _stack(B=shared * by_r, D=shared * by_target).sum(axis=1)
        return total

    def _exact_slope(self, u: Array) -> Array:
        """``d distance / du`` from the jumps: along the feature ``dk/dL = -(jump in L)/(jump in r)``."""
        assert self.feature.jump is not None
        r0, gap0, L = self.scores(np.array([0.0, 1.0]))
        by_r, by_target = self.feature.jump(self.scores(u)[2])
        sd_star, along = L[1] - L[0], r0[1] - r0[0]
        moving = by_target != 0
        safe = np.where(moving, by_r, 1.0)
        # d(r - k)/du = beta sd* - k' sd* = (beta1 + (1 - k')) sd*
        straight = np.full_like(u, along)
        curved = (gap0[1] - gap0[0]) + sd_star * (by_r + by_target) / safe
        return np.where(moving, curved, straight)


# --------------------------------------------------------------------------------- (g(r) - y)^2/2, y = g(r*) + sigma xi


@dataclass(frozen=True)
class NoisyLink:
    """``(g(r) - y)^2 / 2`` with ``y = g(r*) + sigma xi`` and ``g`` increasing.

    ``difference(a, b, a - b) = g(a) - g(b)`` to full relative accuracy. Given ``(r, r*)``, ``u = mid - y`` is Gaussian,
    ``mid`` the mean of ``g(r + kappa)`` and ``g(r - kappa)``, ``w`` half their difference: the worse end is on the side
    of ``u``, ``f_adv = (|u| + w)^2 / 2``.
    """

    difference: Three
    slope: Function
    curvature: Function


def _truncated(mean: Array, sigma: float) -> tuple[Array, Array, Array]:
    """``E[u^k; u > 0]``, ``k = 0, 1, 2``, for ``u ~ N(mean, sigma^2)``, relatively accurate far out.

    With ``h = -mean/sigma``: sums of ``Phi`` and its density up to ``h = 3``; beyond, ``J_k = int t^k/k! exp(-t^2/2 - h t) dt``
    by ``J_{k-1} = (k + 1) J_{k+1} + h J_k`` from above.
    """
    h = -mean / sigma
    far = h > 3
    low = np.where(far, 3.0, h)
    p, d = ndtr(-low), _density(low)
    first = d - low * p
    moments = [p, first, p - low * first]
    t = h[far]
    ratios = []  # J_k / J_{k-1}
    ratio = np.zeros_like(t)
    for k in range(64, 0, -1):
        ratio = 1 / (t + (k + 1) * ratio)
        ratios.append(ratio)
    zeroth = _density(t) * math.sqrt(0.5 * math.pi) * erfcx(t * math.sqrt(0.5))
    moments[0][far] = zeroth
    moments[1][far] = zeroth * ratios[-1]
    moments[2][far] = 2 * zeroth * ratios[-1] * ratios[-2]
    return moments[0], sigma * moments[1], sigma**2 * moments[2]


def _noisy_link(model: NoisyLink, parameters: dict[str, float], state: State) -> dict[str, float]:
    sigma, kappa = parameters["sigma"], state.kappa
    sd, sd_star = math.sqrt(state.Q_perp), math.sqrt(state.Q_star)

    def at_scores(r: Array, L: Array, gap: Array) -> Array:
        two = np.full_like(r, 2 * kappa)
        e = 0.5 * (model.difference(r + kappa, L, gap + kappa) + model.difference(r - kappa, L, gap - kappa))
        w = 0.5 * model.difference(r + kappa, r - kappa, two)
        target = model.slope(L)
        up, down = _truncated(e, sigma), _truncated(-e, sigma)
        slopes = {1: model.slope(r + kappa), -1: model.slope(r - kappa)}
        at_zero = _density(e / sigma) / sigma
        R = A = A_abs = B = B_abs = D = F = I = np.zeros_like(r)
        for sign, (p, one, square) in ((1, up), (-1, down)):
            g1, g2 = slopes[sign], model.curvature(r + sign * kappa)
            V1, V2 = one + w * p, square + w * (2 * one + w * p)
            R = R + 0.5 * V2
            A = A + sign * V1 * g1
            A_abs = A_abs + V1 * g1
            I = I + V2 * g1**2
            B = B + p * g1**2 + sign * V1 * g2
            # |f''| = |g2| |v - v0| with v = |u| + w; where v0 > w, E|v - v0| = 2 E(v - v0)+ - E(v - v0)
            bends = np.abs(g2) > 0
            v0 = np.where(bends, -sign * g1**2 / np.where(bends, g2, 1.0), 0.0)
            inside = v0 > w
            beyond = _truncated(np.where(inside, sign * e - (v0 - w), 0.0), sigma)[1]
            split = np.abs(g2) * (2 * beyond - (V1 - v0 * p))
            B_abs = B_abs + np.where(inside, split, np.abs(p * g1**2 + sign * V1 * g2))
            D = D - p * target * g1
        F = state.epsilon * A_abs
        mass = at_zero * w * (slopes[1] + slopes[-1])
        clean = 0.5 * (model.difference(r, L, gap) ** 2 + sigma**2)
        B_mass, D_mass = 0.5 * mass * (slopes[1] + slopes[-1]), -mass * target
        return _stack(
            R=R,
            A=A,
            abs_A=A_abs,
            B=B + B_mass,
            abs_B=B_abs + B_mass,
            D=D + D_mass,
            abs_D=np.abs(D) - D_mass,
            F=F,
            I=I,
            clean_risk=clean,
        )

    grades = (0.0, 1.5, 4.0, 9.0)
    centres = (0.0, kappa, -kappa) if kappa > 0.5 else (0.0,)
    fixed = sorted({c + s * g for c in centres for g in grades for s in (1, -1)})

    def balance(L: Array) -> Array:
        """``r`` where ``mid(r) = g(r*)``, by bisection."""
        low, high = L - kappa - 1, L + kappa + 1
        for _ in range(60):
            r = 0.5 * (low + high)
            gap = r - L
            above = model.difference(r + kappa, L, gap + kappa) + model.difference(r - kappa, L, gap - kappa) > 0
            low, high = np.where(above, low, r), np.where(above, r, high)
        return 0.5 * (low + high)

    widths = [s * sigma * g for g in (0.7, 2.0, 5.0, 12.0, 30.0) for s in (1, -1)]

    def scores(u: Array) -> tuple[Array, Array, Array]:
        return (
            state.m + state.beta * sd_star * u,
            state.dm + state.beta1 * sd_star * u,
            state.m_star + sd_star * u,
        )

    def rows(order: int) -> Rows:
        def at(u: Array) -> Array:
            r0, gap0, L = scores(u)
            if sd == 0:
                return at_scores(r0, L, gap0) * _density(u)
            marks = [(mark - r0) / sd for mark in fixed]
            centre = (balance(L) - r0) / sd
            marks += [centre + width / sd for width in (0.0, *widths)]
            inner = _inner(marks, u.size, REACH, order)
            step, owner = sd * inner.z, inner.owner
            return inner.sums(at_scores(r0[owner] + step, L[owner], gap0[owner] + step)) * _density(u)

        return _in_chunks(at, 128)

    edges = [(s * g - state.m_star) / sd_star for g in grades for s in (1, -1)]
    if state.beta != 0:
        edges += [(mark - state.m) / (state.beta * sd_star) for mark in fixed]
    crossing = _Crossings(Feature(lambda r, gap, L: r - balance(L)), scores, sd, REACH)
    for root, slope in zip(crossing.roots, crossing.slopes, strict=True):
        if slope != 0:
            wide = (sd + sigma) / abs(slope)
            edges += [root + s * g * wide for g in _Crossings.GRADES for s in (1, -1)]
    return _integrate(rows, edges, REACH)


# ---------------------------------------------------------------------------------------------------- entrance

Definition = OneForm | RandomLabels | NoisyLink | TeacherLoss


def coefficients(definition: Definition, state: State, parameters: dict[str, float] | None = None) -> dict[str, float]:
    """The seven coefficients of `COEFFICIENTS` and, as ``abs_R`` and so on, ``E|integrand|`` of each.

    For ``B`` and ``D`` that is the second derivative in absolute value, jumps of the first as point masses. Right to
    `TOLERANCE` of them.
    """
    given = {} if parameters is None else parameters
    if isinstance(definition, OneForm):
        return _one_form(definition, given, state)
    if isinstance(definition, RandomLabels):
        return _random_labels(definition, given, state)
    if isinstance(definition, NoisyLink):
        return _noisy_link(definition, given, state)
    return _teacher(definition, state)
