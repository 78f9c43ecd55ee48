"""Statistics of an iterate from fresh scores, without the equations that a verification judges.

Given the class, the scores ``(r, r*)`` of a fresh sample are Gaussian with moments that the iterate's
summary holds exactly (``docs/theory.md`` §2). So they are drawn, and the user's loss and the error indicators
themselves are averaged, the supremum over ``|s| ≤ ε n`` by search: no derived formula, no SymPy, no emitted
code.

The draws are a lattice with a shift of its own for every run and time: each average is unbiased, and usually
two to ten times as precise as one over independent draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.codegen.library.problem import CLASS_SUMMARY, SUMMARY, summary_size
from sgdlimit.derive.errors import Diverged, InputError, InstanceError, ModelError
from sgdlimit.derive.expression import Call, Expression, parse
from sgdlimit.derive.model import Expectation, Formula, Labels, Model, RandomLabels, Teacher
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.evaluate import evaluate
from sgdlimit.runtime.instance import Instance

Array = NDArray[np.float64]
Statistics = Mapping[str, Expectation | Formula]
Environment = dict[str, ArrayLike]

LIMIT_ONLY = ("effective_ridge",)
"""Statistics of the limit that are not statistics of an iterate."""

# Multipliers a of the lattices {k (1, a, a²)/n mod 1} with the least figure of merit P2, by number of points.
_LATTICES: Mapping[int, Mapping[int, int]] = {
    1: dict.fromkeys((16, 32, 64, 128, 256, 512, 1024, 2048, 4096), 1),
    2: {16: 7, 32: 7, 64: 27, 128: 47, 256: 75, 512: 149, 1024: 275, 2048: 791, 4096: 1557},
    3: {16: 3, 32: 3, 64: 5, 128: 25, 256: 37, 512: 119, 1024: 323, 2048: 495, 4096: 751},
}
DRAWS = tuple(_LATTICES[1])
"""Numbers of draws to choose from."""

_RISKS = ("adversarial_risk", "clean_risk")
_ERRORS = ("clean_error", "robust_error")
_OF_TEACHER = ("overlap", "cosine", "distance2")
_STANDARD = (*_RISKS, *_ERRORS, "norm2", *_OF_TEACHER, "optimum_distance2", "learning_rate")
_LAW = [k for k, name in enumerate(SUMMARY) if name not in ("reference_distance2", "learning_rate")]  # always numbers

_INTERVALS = 8  # of the search grid on [-ε n, ε n]: its endpoints, 0 and six more points
_SAMPLES_TOGETHER = 1 << 15  # few enough for the cache
_PROBE = 1e-3  # of the reach, for a maximum close to an endpoint
_GOLDEN = (np.sqrt(5) - 1) / 2
_REFINEMENTS = 26  # golden sections: the bracket shrinks by 4e-6, a smooth maximum is right to its square


# ── The statistics ──────────────────────────────────────────────────────────────────────────────────────────


def score_statistics(
    model: Model,
    instance: Instance | DenseInstance,
    summaries: Array,
    parameters: Mapping[str, ArrayLike],
    names: Iterable[str] | None = None,
    *,
    statistics: Statistics | None = None,
    draws: int = 256,
    seed: int = 0,
    first_run: int = 0,
    times: ArrayLike | None = None,
    threads: int = 1,
) -> dict[str, Array]:
    """Statistics of iterates by averages over fresh scores.

    Parameters
    ----------
    model : Model
    instance : Instance or DenseInstance
        Its means, covariances, labels and teacher are those that the summaries were taken with.
    summaries : array [runs, ..., summary_size(K)]
        ``SUMMARY`` of :mod:`sgdlimit.codegen.library.problem`, then ``CLASS_SUMMARY`` of each class.
    parameters : mapping of str to float or array [K]
        Values of the parameters, one or one a class; ``tau`` is 0 unless given.
    names : iterable of str, optional
        What to compute; by default all of :func:`iterate_statistics`.
    statistics : mapping of str to Expectation or Formula, optional
        The user's own. A formula is taken of each iterate's statistics, whose own draws are behind them.
    draws : int
        Fresh scores for each iterate and class: rounded up to a power of two from 16 to 4096.
    seed, first_run : int
        The draws of a run are a function of (seed, index of the run) alone; the first axis counts runs.
    times : array [T], optional
        Times along the last axis but one, for messages.
    threads : int
        The result does not depend on it.

    Returns
    -------
    dict of str to array [runs, ...]

    Raises
    ------
    ModelError
        For an unknown name, or an expression that is not a number at scores that occur.
    Diverged
        For a statistic that overflows, or summaries that are not finite.
    InstanceError
        For labels or a teacher that the target needs and the instance lacks.

    Examples
    --------
    >>> from sgdlimit.derive import L2Adversary, Loss, Teacher
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary())
    >>> instance = Instance(probabilities=[1], eigenvalues=1.0, means=0, teacher=[1, 0], start=0)
    >>> at_zero = np.array([[0.0, 0.0, 1.0, 0.0, 0.1, 0.0, 0.0, 0.0]])  # X = 0: the risk is (1 + sigma**2)/2
    >>> found = score_statistics(model, instance, at_zero, {"epsilon": 0.3, "sigma": 0.0}, draws=4096)
    >>> found["adversarial_risk"].round(2), found["distance2"]
    (array([0.5]), array([1.]))
    """
    summaries = np.asarray(summaries, dtype=np.float64)
    if summaries.shape[-1] != summary_size(instance.classes):
        raise InstanceError(
            "summaries",
            f"shape {summaries.shape} does not fit {instance.classes} classes",
            f"the last axis holds {summary_size(instance.classes)} numbers",
        )
    own = dict(statistics or {})
    chosen = iterate_statistics(model, own) if names is None else tuple(names)
    shape = summaries.shape[:-1]
    refuse_nonfinite("the iterate", summaries[..., _LAW].sum(axis=-1), times)
    problem = ScoreProblem.of(model, instance, parameters, draws, seed)
    wanted = with_ingredients(chosen, own)
    averaged = averaged_over_scores(model, wanted, own)
    # One run after another on the first axis, each with its own draws whatever is beside it.
    cells = summaries.reshape(-1, summaries.shape[-1])
    first_cell = first_run * (len(cells) // max(1, shape[0] if shape else 1))
    averages = score_averages(problem, cells, averaged, first_cell=first_cell, threads=threads)
    values = {name: found.reshape(shape) for name, found in zip(averaged, averages, strict=True)}
    for name in averaged:
        refuse_nonfinite(name, values[name], times)
    for name in wanted:
        if name not in averaged:
            values[name] = _direct(name, summaries, instance, own, values, parameters)
            refuse_nonfinite(name, values[name], times)
    return {name: np.asarray(values[name]) for name in chosen}


def iterate_statistics(model: Model, statistics: Statistics | None = None) -> tuple[str, ...]:
    """Names of what an iterate can be asked for, the user's own last.

    Examples
    --------
    >>> from sgdlimit.derive import Loss
    >>> iterate_statistics(Model(Loss("log(1 + exp(-y*r))"), Labels()), {"margin": Expectation("y*r")})
    ('adversarial_risk', 'clean_risk', 'clean_error', 'norm2', 'margin')
    """
    names = ["adversarial_risk", "clean_risk"]
    if has_error_rates(model):
        names += ["clean_error", "robust_error"] if model.adversary else ["clean_error"]
    names += ["norm2", *(["overlap", "cosine", "distance2"] if model.has_teacher else [])]
    beyond = set(LIMIT_ONLY)
    for name, statistic in (statistics or {}).items():
        if isinstance(statistic, Formula) and beyond.intersection(statistic.names):
            beyond.add(name)
        else:
            names.append(name)
    return tuple(names)


def has_error_rates(model: Model) -> bool:
    """Whether the targets are classes: labels of the data, random labels, or the signs of a teacher.

    Examples
    --------
    >>> from sgdlimit.derive import Loss
    >>> has_error_rates(Model(Loss("log(1 + exp(-y*r))"), Teacher("sign(r_star)")))
    True
    """
    if not isinstance(model.target, Teacher):
        return True
    written = parse(model.target.text)
    return isinstance(written, Call) and written.function == "sign"


def with_ingredients(names: Sequence[str], statistics: Statistics) -> tuple[str, ...]:
    """The names and what formulas among them are made of, ingredients first."""
    order: dict[str, None] = {}
    for name in names:
        statistic = statistics.get(name)
        if isinstance(statistic, Formula):
            needed = [e for e in statistic.names if e in statistics or e in _STANDARD]
            order |= dict.fromkeys(with_ingredients(needed, statistics))
        order[name] = None
    return tuple(order)


def _direct(
    name: str,
    summaries: Array,
    instance: Instance | DenseInstance,
    statistics: Statistics,
    values: Mapping[str, ArrayLike],
    parameters: Mapping[str, ArrayLike],
) -> Array:
    """A statistic that needs no draws, or a formula."""
    statistic = statistics.get(name)
    if isinstance(statistic, Formula):
        found = evaluate(parse(statistic.text, where=f"statistic {name}"), {"tau": 0.0, **parameters, **values})
        return np.asarray(np.broadcast_to(found, summaries.shape[:-1]))
    if name == "norm2":
        return np.asarray(summaries[..., 0])
    if name in ("learning_rate", "optimum_distance2"):
        return np.asarray(summaries[..., SUMMARY.index(name.replace("optimum", "reference"))])
    if name not in _OF_TEACHER:
        raise ModelError("statistic", f"an iterate has none called {name}", "see iterate_statistics")
    if instance.teacher is None:
        raise InstanceError("teacher", f"{name} is about a teacher and the instance has none", "give teacher=[…]")
    if name == "overlap":
        return np.asarray(summaries[..., 1])
    if name == "distance2":
        return np.asarray(summaries[..., 2])
    norms = np.sqrt(summaries[..., 0] * np.sum(instance.teacher**2))
    return np.divide(summaries[..., 1], norms, out=np.zeros_like(norms), where=norms > 0)


def averaged_over_scores(model: Model, names: Iterable[str], statistics: Statistics) -> dict[str, str]:
    """Those of the names that are averages over scores, each with the text that is averaged.

    Examples
    --------
    >>> from sgdlimit.derive import Loss
    >>> averaged_over_scores(Model(Loss("log(1 + exp(-y*r))"), Labels()), ["clean_risk", "norm2"], {})
    {'clean_risk': 'log(1 + exp(-y*r))'}
    """
    texts = {}
    for name in names:
        statistic = statistics.get(name)
        if isinstance(statistic, Expectation):
            texts[name] = statistic.text
        elif name in _RISKS:
            texts[name] = model.loss.text
        elif name in _ERRORS and (model.adversary is not None or name == "clean_error"):
            if not has_error_rates(model):
                why = f"the targets {model.target!r} are not classes"
                raise ModelError(f"statistic {name}", why, "leave it out")
            texts[name] = name
    return texts


# ── Averages over scores ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ScoreProblem:
    """What the draws and the averages are made with."""

    model: Model
    instance: Instance | DenseInstance
    loss: Expression
    target: Expression | None
    parameters: Mapping[str, Array]
    epsilon: float
    draws: int
    seed: int

    @classmethod
    def of(
        cls,
        model: Model,
        instance: Instance | DenseInstance,
        parameters: Mapping[str, ArrayLike],
        draws: int,
        seed: int,
    ) -> ScoreProblem:
        """With parameters for every class, and a number of draws that there is a lattice for."""
        if draws < 1:
            raise InputError("draws", f"{draws!r} is not a positive number", f"give one up to {DRAWS[-1]}")
        if isinstance(model.target, Labels) and instance.labels is None:
            raise InstanceError("labels", "the target Labels() needs one label per class", "give labels=[…]")
        if model.has_teacher and instance.teacher is None:
            raise InstanceError("teacher", f"the target {model.target!r} needs a teacher", "give teacher=[…]")
        values = {
            name: np.broadcast_to(np.asarray(value, dtype=np.float64), (instance.classes,))
            for name, value in {"tau": 0.0, **parameters}.items()
        }
        return cls(
            model=model,
            instance=instance,
            loss=parse(model.loss.text, where="loss"),
            target=None if isinstance(model.target, Labels) else parse(model.target.text, where="target"),
            parameters=values,
            epsilon=float(values["epsilon"][0]) if model.adversary else 0.0,
            draws=next((n for n in DRAWS if n >= draws), DRAWS[-1]),
            seed=seed,
        )

    @property
    def coordinates(self) -> int:
        """Independent normals behind one draw: of ``r``, then ``r*``, then ``ξ``, as needed."""
        if self.target is None:
            return 1
        return 3 if isinstance(self.model.target, Teacher) and "xi" in self.model.target.names else 2

    def of_class(self, i: int) -> Environment:
        """Parameters of a class."""
        return {name: values[i] for name, values in self.parameters.items()}

    def labels(self, i: int, r_star: Array, xi: Array) -> Iterator[tuple[Array, Array | None]]:
        """Targets and their probabilities (None: certain) given the scores; random labels are both taken."""
        if self.target is None:
            assert self.instance.labels is not None
            yield np.asarray(self.instance.labels[i]), None
        elif isinstance(self.model.target, RandomLabels):
            positive = evaluate(self.target, {**self.of_class(i), "r_star": r_star})
            yield np.asarray(1.0), positive
            yield np.asarray(-1.0), 1 - positive
        else:
            yield evaluate(self.target, {**self.of_class(i), "r_star": r_star, "xi": xi}), None


def score_averages(
    problem: ScoreProblem,
    cells: Array,
    averaged: Mapping[str, str],
    *,
    beside: Array | None = None,
    first_cell: int = 0,
    threads: int = 1,
) -> Array:
    """Averages ``[names, cells]`` over the classes and over the scores of summaries ``[cells, summary_size(K)]``.

    With summaries ``beside``, as many, the averages minus theirs with the same draws: of nearby iterates the difference
    is known far better than either.

    Raises
    ------
    ModelError
        For an expression that is not a number at scores that occur. An overflow is left infinite.
    """
    if not averaged:
        return np.zeros((0, len(cells)))
    together = max(1, _SAMPLES_TOGETHER // problem.draws)
    starts = range(0, len(cells), together)

    def chunk(start: int) -> Array:
        part = slice(start, start + together)
        found = np.zeros((len(averaged), len(cells[part])))
        for i, p in enumerate(problem.instance.probabilities):
            z = normals(problem, i, first_cell + start, found.shape[1])
            found += p * _class_averages(problem, i, cells[part], z, averaged)
            if beside is not None:
                found -= p * _class_averages(problem, i, beside[part], z, averaged)
        return found

    if threads == 1 or len(starts) == 1:
        parts = [chunk(start) for start in starts]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(chunk, starts))
    averages = np.concatenate(parts, axis=1) if parts else np.zeros((len(averaged), 0))
    for name, row in zip(averaged, averages, strict=True):
        for cell in np.flatnonzero(np.isnan(row))[:1]:
            _refuse_undefined(problem, cells[cell : cell + 1], first_cell + int(cell), name, averaged[name])
    return averages


def _class_averages(problem: ScoreProblem, i: int, cells: Array, z: Array, averaged: Mapping[str, str]) -> Array:
    """The average of each statistic over the scores of one class, for every cell."""
    r, r_star, xi, n = scores(problem, i, cells, z)
    totals = np.zeros((len(averaged), len(cells)))
    with np.errstate(all="ignore"):
        for y, probability in problem.labels(i, r_star, xi):
            for total, (name, text) in zip(totals, averaged.items(), strict=True):
                values = sample_values(problem, i, name, text, r, n, y)
                if probability is not None:
                    values = np.where(probability == 0, 0.0, probability * values)
                total += np.mean(np.broadcast_to(values, r.shape), axis=1)
    return totals


def sample_values(problem: ScoreProblem, i: int, name: str, text: str, r: Array, n: Array, y: Array) -> Array:
    """A statistic at single samples, before the average."""
    environment = problem.of_class(i)

    def loss(score: Array) -> Array:
        return evaluate(problem.loss, {**environment, "r": score, "y": y})

    if name == "adversarial_risk":
        return loss(r) if problem.epsilon == 0 else worst_case(loss, r, problem.epsilon * n)[0]
    if name == "clean_risk":
        return loss(r)
    if name in _ERRORS:
        threshold = problem.epsilon * n if name == "robust_error" else 0.0
        return np.heaviside(threshold - np.sign(y) * r, 0.5)  # a tie counts half
    return evaluate(parse(text, where=f"statistic {name}"), {**environment, "r": r, "y": y, "n": n})


def normals(problem: ScoreProblem, i: int, first_cell: int, cells: int) -> Array:
    """Standard normals ``[coordinates, cells, draws]`` for a class: lattices with shifts of their own."""
    from scipy.special import ndtri

    dimensions = problem.coordinates
    shifts = _shifts(problem.seed, first_cell, cells, i, problem.instance.classes, dimensions)
    uniform = lattice(problem.draws, dimensions) + shifts
    uniform -= np.floor(uniform)
    return np.asarray(ndtri(np.clip(uniform, 2.0**-54, 1 - 2.0**-53, out=uniform), out=uniform))


def scores(problem: ScoreProblem, i: int, cells: Array, z: Array) -> tuple[Array, Array, Array, Array]:
    """``r, r*, ξ`` of a class ``[cells, draws]`` from normals, and the norms ``n`` [cells, 1]."""
    instance = problem.instance
    norm = np.sqrt(np.maximum(cells[:, :1], 0))
    first = len(SUMMARY) + len(CLASS_SUMMARY) * i
    m, c, Q = (cells[:, first + k, np.newaxis] for k in range(3))
    if problem.target is None:
        return m + np.sqrt(np.maximum(Q, 0)) * z[0], np.zeros(1), np.zeros(1), norm
    assert instance.teacher is not None
    m_star = float(instance.means[i] @ instance.teacher)
    Q_star = float(instance.teacher_variances[i])
    slope = c / np.sqrt(Q_star) if Q_star > 0 else np.zeros_like(c)
    r = m + slope * z[1] + np.sqrt(np.maximum(Q - slope**2, 0)) * z[0]
    r_star = m_star + np.sqrt(Q_star) * z[1]
    return r, r_star, z[2] if len(z) == 3 else np.zeros(1), norm


def lattice(draws: int, dimensions: int) -> Array:
    """A rank-1 lattice ``[dimensions, 1, draws]`` in the unit cube.

    Examples
    --------
    >>> lattice(16, 2)[1, 0, :4].tolist()
    [0.0, 0.4375, 0.875, 0.3125]
    """
    multiplier = _LATTICES[dimensions][draws]
    generator = np.array([pow(multiplier, k, draws) for k in range(dimensions)]).reshape(-1, 1, 1)
    return np.asarray((generator * np.arange(draws) % draws) / draws)


def _shifts(seed: int, first_cell: int, cells: int, i: int, classes: int, dimensions: int) -> Array:
    """A uniform shift ``[dimensions, cells, 1]`` of every cell: a hash of (seed, cell, class, coordinate)."""
    cell = np.arange(first_cell, first_cell + cells, dtype=np.uint64)
    word = (cell * np.uint64(classes) + np.uint64(i)) * np.uint64(dimensions)
    word = word + np.arange(dimensions, dtype=np.uint64).reshape(-1, 1)
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        # Apart from the streams of SGD itself, which hash the same seed.
        key = _mix(np.array([seed], dtype=np.uint64) + np.uint64(0x5C02E5) * golden)
        hashed = _mix(key + (word + np.uint64(1)) * golden)
    return np.asarray((hashed >> np.uint64(11)) * 2.0**-53)[..., np.newaxis]


def _mix(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


# ── The adversary ───────────────────────────────────────────────────────────────────────────────────────────


def worst_case(loss: Callable[[Array], Array], r: Array, reach: Array) -> tuple[Array, Array]:
    """``sup f(r + s)`` over ``|s| ≤ reach`` and the ``s`` that attains it, by search.

    The endpoints, 0 and a grid between them are compared. Where the grid shows a maximum inside, or the neighbourhood
    of an endpoint does, it is found by golden sections: a stationary point or a kink of a loss that is not
    quasi-convex. A tie goes to an endpoint. A maximum narrower than a quarter of the reach may be missed.

    Parameters
    ----------
    loss : callable
        ``f`` of an array of scores that broadcasts with ``r``.
    r, reach : array
        They broadcast; ``reach`` is at least 0.

    Returns
    -------
    value, shift : array

    Examples
    --------
    >>> value, shift = worst_case(lambda r: np.minimum(r**2, (r - 2)**2), np.array([0.0, 0.8]), np.array(0.5))
    >>> value.round(6), shift.round(6)
    (array([0.25, 1.  ]), array([0.5, 0.2]))
    """
    r, reach = np.broadcast_arrays(np.asarray(r, dtype=np.float64), np.asarray(reach, dtype=np.float64))

    def at(s: Array) -> Array:
        return np.broadcast_to(loss(r + s), r.shape)

    grid = [reach * (2 * k / _INTERVALS - 1) for k in range(_INTERVALS + 1)]
    values = [at(s) for s in grid]
    # NaN and infinity go through to the value, where the caller meets them.
    value = np.maximum(values[-1], values[0])
    shift = np.where(values[-1] >= values[0], reach, -reach)
    rounding = 1e-14 * np.abs(value)

    inside, place = np.full(r.shape, -np.inf), np.zeros(r.shape)
    for before, here, after, s in zip(values, values[1:], values[2:], grid[1:], strict=False):
        peak = (here > before + rounding) & (here >= after - rounding)
        if peak.any():  # never, for a quasi-convex loss
            peak &= here > inside
            inside, place = np.where(peak, here, inside), np.where(peak, s, place)
    step = 2 * reach / _INTERVALS
    brackets = [(np.isfinite(inside), place - step, place + step)]
    # An endpoint above the first point of the grid, and beaten by its neighbourhood, hides a maximum between the two.
    for end, first in ((0, 1), (-1, -2)):
        hides = (values[end] >= values[first]) & (at(grid[end] * (1 - _PROBE)) > values[end] + rounding)
        brackets.append((hides, np.minimum(grid[end], grid[first]), np.maximum(grid[end], grid[first])))
    for flagged, low, high in brackets:
        if flagged.any():
            best, found = _golden(at, np.where(flagged, low, 0.0), np.where(flagged, high, 0.0))
            better = flagged & (best > value + rounding)
            value, shift = np.where(better, best, value), np.where(better, found, shift)
    return value, shift


def _golden(f: Callable[[Array], Array], low: Array, high: Array) -> tuple[Array, Array]:
    """Maxima in brackets by golden sections."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    f_left, f_right = f(left), f(right)
    for _ in range(_REFINEMENTS):
        go_left = f_left > f_right
        low, high = np.where(go_left, low, left), np.where(go_left, right, high)
        new = np.where(go_left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        f_new = f(new)
        left, right, f_left, f_right = (
            np.where(go_left, new, right),
            np.where(go_left, left, new),
            np.where(go_left, f_new, f_right),
            np.where(go_left, f_left, f_new),
        )
    return np.maximum(f_left, f_right), np.where(f_left > f_right, left, right)


def brute_gradient(loss: Callable[[Array], Array], r: Array, n: Array, epsilon: float) -> tuple[Array, Array]:
    """``∂_r f_adv`` and ``∂_n f_adv`` at samples by the envelope theorem, from the searched supremum.

    ``f'(r + s°)`` is a central difference; at a maximum inside the ball both derivatives are 0
    (``docs/theory.md`` §1).

    Examples
    --------
    >>> d_r, d_n = brute_gradient(lambda r: r**2 / 2, np.array([1.0]), np.array([2.0]), 0.1)
    >>> d_r.round(8), d_n.round(8)
    (array([1.2]), array([0.12]))
    """
    r, n = np.broadcast_arrays(r, n)
    shift = worst_case(loss, r, epsilon * n)[1] if epsilon > 0 else np.zeros(r.shape)
    at = r + shift
    step = 1e-6 * (1 + np.abs(at))
    slope = np.asarray((loss(at + step) - loss(at - step)) / ((at + step) - (at - step)))
    slope = np.broadcast_to(slope, r.shape)
    endpoint = np.abs(shift) == epsilon * n
    d_r = np.where(endpoint, slope, 0.0)
    return d_r, epsilon * np.sign(shift) * d_r


# ── What is not a number ────────────────────────────────────────────────────────────────────────────────────


def refuse_nonfinite(name: str, values: Array, times: ArrayLike | None) -> None:
    """Raise Diverged with the earliest time at which values ``[runs, ..., T]`` are not finite."""
    bad = ~np.isfinite(values)
    if not bad.any():
        return
    where = np.argwhere(bad)
    first = where[np.argmin(where[:, -1])] if where.size else where
    time = float(np.asarray(times)[first[-1]]) if times is not None else float("nan")
    raise Diverged(time, f"{name} is {values[tuple(first)]} in run {first[0] if first.size else 0}")


def _refuse_undefined(problem: ScoreProblem, cell: Array, number: int, name: str, text: str) -> None:
    """Name a sample at which an expression is not a number; if there is none, it has overflowed."""
    for i in range(problem.instance.classes):
        r, r_star, xi, n = scores(problem, i, cell, normals(problem, i, number, 1))
        for y, _ in problem.labels(i, r_star, xi):
            with np.errstate(all="ignore"):
                values = sample_values(problem, i, name, text, r, n, y)
            value, r_, y_, n_ = (a.ravel() for a in np.broadcast_arrays(values, r, y, n))
            for k in np.flatnonzero(np.isnan(value))[:1]:
                raise ModelError(
                    f"statistic {name}",
                    f"{text} is not a number at r = {r_[k]:.6g}, y = {y_[k]:.6g}, n = {n_[k]:.6g}, met here",
                    "write an expression that is defined there",
                )
