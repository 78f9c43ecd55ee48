"""``optimum``: the iterate that minimises the adversarial risk (docs/theory.md §5)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.errors import BackendError, NoMinimiser
from sgdlimit.derive.expression import parse
from sgdlimit.derive.model import Constant, Model
from sgdlimit.runtime.convexity import convexity
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.dense_risk import DenseRisk
from sgdlimit.runtime.evaluate import evaluate
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, load_kernel
from sgdlimit.runtime.newton import CONVERGED, ENOUGH, Minimum, RunsAway, falls_for_ever, minimise
from sgdlimit.runtime.problem import build_problem, check_parameters, check_target, check_values
from sgdlimit.runtime.risk import Evaluation, Point, Risk, dot, norm
from sgdlimit.runtime.step_sizes import Parameters

Array = NDArray[np.float64]

_BLURS = tuple(10.0**-k for k in range(0, 17, 2))  # standard deviations by which a kink is sharpened
_ROUGH = 1e-6  # residual at which a blur is taken further away
_COLLAPSED = 1e-8  # relative norm below which a blurred minimiser counts as 0
_RANDOM_STARTS = 2
_SAME = 1e-6  # stationary points nearer than this, relative to their norms, are one


@dataclass(frozen=True, eq=False)
class Optimum:
    """A minimiser of the adversarial risk, or a stationary point of one that is not convex (``docs/theory.md`` §5).

    Parameters
    ----------
    x : array [N]
        ``X°``; 0 in modes, of a dense instance directions, that the risk does not depend on.
    adversarial_risk : float
        ``Σ p_i R_i`` there.
    objective : float
        ℛ, the ridge ``(τ/2)‖X°‖²`` included: what is minimal.
    effective_ridge : float
        ``(F/n + τ)/B``; 0 on a kink at the teacher, where ``B = ∞``; infinite where an adversary has collapsed it.
    collapsed : bool
        ``X° = 0``.
    critical_epsilon : float or None
        The radius from which on ``X° = 0``, whatever ``τ``; infinite where no radius does. None without an adversary,
        for a loss with a kink at ``r = 0``, and where the loss cannot be shown to be convex.
    residual : float
        ``‖∇ℛ‖`` relative to the norms of its terms: of the subgradient of least norm at a collapse, and of the one that
        sharpening the kink leads to at ``X° = X*``.
    kind : str
        ``"minimiser"``; for a loss that is not convex ``"local minimum"`` or ``"stationary point"``.
    others : tuple of Optimum
        For a loss that is not convex: what other starts led to, in the order of the objective.
    """

    x: Array = field(repr=False)
    adversarial_risk: float
    objective: float
    effective_ridge: float
    collapsed: bool
    critical_epsilon: float | None
    residual: float
    kind: str
    others: tuple[Optimum, ...] = ()

    @property
    def is_global(self) -> bool:
        """Whether no other iterate has a lower objective."""
        return self.kind == "minimiser"

    def __repr__(self) -> str:
        facts = [
            self.kind + (", collapsed" if self.collapsed else ""),
            f"adversarial risk {self.adversarial_risk:.6g}",
            f"‖X°‖ = {norm(self.x):.6g}",
            f"effective ridge {self.effective_ridge:.4g}",
        ]
        if self.critical_epsilon is not None:
            facts.append(f"collapses from epsilon = {self.critical_epsilon:.6g}")
        facts.append(f"residual {self.residual:.1g}")
        if self.others:
            facts.append(f"{len(self.others)} other{'s' if len(self.others) > 1 else ''}")
        return f"Optimum({'; '.join(facts)})"


def optimum(
    model: Model,
    instance: Instance | DenseInstance,
    parameters: Parameters | None = None,
    *,
    backend: str = "auto",
    kernel: Kernel | None = None,
) -> Optimum:
    """Minimise the adversarial risk (``docs/theory.md`` §5).

    Newton's method in all modes; the Hessian is diagonal but for a few directions (of a dense instance it is a matrix,
    whose eigenvalues a step takes). For a convex loss the answer is the
    minimiser, ``X° = 0`` and ``X° = X*`` recognised where the risk has a kink there; for another one it is the lowest
    of the stationary points that several starts lead to.

    Parameters
    ----------
    model : Model
    instance : Instance or DenseInstance
        Of any dimension; its start does not matter.
    parameters : mapping of str to float or sequence of K floats
        Values of the model's parameters; ``tau`` is 0 unless given.
    backend : {"auto", "c", "numpy"}
    kernel : Kernel, optional
        One already loaded.

    Returns
    -------
    Optimum

    Raises
    ------
    NoMinimiser
        The risk falls for ever along a direction, which the error knows: separable data without a ridge, say.
    ParameterError, InstanceError, InputError
        For input that cannot be.
    BackendError
        When rounding stops the iteration short of a minimiser, or the kernel cannot be built.

    Examples
    --------
    >>> from sgdlimit.derive import L2Adversary, Loss, Teacher
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary())
    >>> best = optimum(model, Instance.isotropic(100), {"epsilon": 0.3, "sigma": 0.5}, backend="numpy")
    >>> best.kind, round(best.adversarial_risk, 6), round(best.critical_epsilon, 6)
    ('minimiser', 0.274953, 1.120998)
    >>> bool(np.allclose(best.x, Instance.isotropic(100).teacher / (1 + best.effective_ridge)))  # ridge regression
    True
    """
    given = dict(parameters or {})
    if kernel is None:
        kernel = load_kernel(model, backend=backend)
    return find_optimum(risk_of(kernel, model, instance, given), is_convex(model, given))


def excess_risk(values: Mapping[str, Array], parameters: Parameters, best: Optimum) -> Array:
    """``ℛ − ℛ(X°)``, the ridge included, from curves of the adversarial risk and ``norm2``."""
    tau = float(np.asarray(parameters.get("tau", 0.0)).max())
    found: Array = values["adversarial_risk"] + tau / 2 * values["norm2"] - best.objective
    return found


def risk_of(kernel: Kernel, model: Model, instance: Instance | DenseInstance, parameters: Parameters) -> Risk:
    """ℛ of checked input."""
    if isinstance(instance, DenseInstance):
        check_target(model, instance)
        values = check_parameters(kernel, model, instance.classes, parameters)
        check_values(model, instance, parameters)
        return DenseRisk(kernel, instance, values)
    one = np.ones(1)
    return Risk(
        kernel, build_problem(kernel, model, instance, Constant(1.0), parameters, one, start_mean=instance.start)
    )


def is_convex(model: Model, parameters: Parameters) -> bool:
    """Whether the loss has been shown to be convex at these parameters."""
    positive = convexity(model.loss)
    if positive is None:
        return False
    values = {name: np.asarray(value, dtype=float) for name, value in parameters.items()}
    return all(bool((evaluate(parse(text), values) > 0).all()) for text in positive)


def find_optimum(risk: Risk, convex: bool) -> Optimum:
    """See :func:`optimum`."""
    return _minimiser(risk) if convex else _stationary_points(risk)


# ── Convex ──────────────────────────────────────────────────────────────────────────────────────────────────


def _minimiser(risk: Risk) -> Optimum:
    origin = _Origin(risk)
    critical = origin.critical_epsilon
    if origin.is_minimal:
        return _collapsed(risk, origin, critical)
    try:
        for direction in (risk.teacher, -origin.gradient):
            if falls_for_ever(risk, _unit(direction)):
                raise RunsAway(_unit(direction))
        if origin.has_kink or _has_kink_at_teacher(risk):
            found = _sharpened(risk, _first_step(risk, origin), origin)
        else:
            found = _descended(risk, origin)
            if found.at.residual > CONVERGED:
                found = _sharpened(risk, _first_step(risk, origin), origin)
        if falls_for_ever(risk, found.at.point.x):
            raise RunsAway(_unit(found.at.point.x))
    except RunsAway as error:
        raise _no_minimiser(risk, error.direction) from None
    if not found.at.residual <= CONVERGED:
        raise BackendError(
            f"the optimum was not reached: after {found.steps} steps the gradient is still {found.at.residual:.1g} of "
            f"its terms, at the risk {found.at.risk:.6g}"
        )
    if not np.any(found.at.point.x):
        return replace(_collapsed(risk, origin, critical), residual=found.at.residual)
    return _told(risk, found.at, "minimiser", critical)


def _descended(risk: Risk, origin: _Origin) -> Minimum:
    """By Newton's method, unless the teacher itself is the answer: it need not be a place that Newton's method finds
    fast, for there the risk may be flat to a higher order than the second."""
    if np.any(risk.teacher):
        at = risk.evaluate(risk.at_teacher())
        if at.residual <= ENOUGH:
            return Minimum(at, True, 0)
    return _newton(risk, _first_step(risk, origin))


def _newton(risk: Risk, start: Point, blur: float = 0.0, enough: float = ENOUGH) -> Minimum:
    found = minimise(risk, start, convex=True, blur=blur, enough=enough)
    assert found is not None
    return found


def _no_minimiser(risk: Risk, direction: Array) -> NoMinimiser:
    far = risk.at(1e8 * direction)
    whole = risk.whole(direction)
    cosine = dot(direction, _unit(risk.teacher))
    named = f" (its cosine with the teacher is {cosine:.4g})" if np.any(risk.teacher) else ""
    return NoMinimiser(
        "optimum",
        f"the risk has no finite minimiser: it falls for ever along a direction{named}, from "
        f"{risk.value(risk.origin()):.4g} at 0 to {risk.value(far):.4g} at norm 1e8",
        "give a ridge tau > 0" + (", or a larger epsilon" if "epsilon" in risk.kernel.parameters else ""),
        direction=whole,
    )


class _Origin:
    """ℛ near ``X = 0``: ``ℛ(0) + ⟨h(0), X⟩ + F(0)‖X‖`` to first order."""

    def __init__(self, risk: Risk) -> None:
        self.has_kink = _sharpens(risk, risk.origin())
        blur = (1e-9) ** 2 * risk.scale if self.has_kink else 0.0
        self.at = risk.evaluate(risk.origin(), blur)
        self.gradient: Array = self.at.gradient
        self.slope = norm(self.gradient)
        self.F = float(risk.p @ [c.F for c in self.at.coefficients])
        self.critical_epsilon: float | None = None
        if "epsilon" in risk.kernel.parameters and not self.has_kink:
            unit = risk.with_epsilon(1.0)
            per_radius = float(risk.p @ [c.F for c in unit.evaluate(unit.origin()).coefficients])
            self.critical_epsilon = self.slope / per_radius if per_radius > 0 else math.inf

    @property
    def is_minimal(self) -> bool:
        """No direction descends; for a convex risk ``X° = 0``."""
        return self.slope <= self.F * (1 + 1e-14) + 1e-16 * self.at.size


def _collapsed(risk: Risk, origin: _Origin, critical: float | None, kind: str = "minimiser") -> Optimum:
    B = float(risk.p @ [c.B for c in origin.at.coefficients])
    return Optimum(
        x=risk.whole(np.zeros_like(risk.teacher)),
        adversarial_risk=origin.at.risk,
        objective=origin.at.objective,
        effective_ridge=math.inf if origin.F > 0 else risk.tau / B if B > 0 else math.nan,
        collapsed=True,
        critical_epsilon=critical,
        residual=0.0 if origin.is_minimal else (origin.slope - origin.F) / origin.at.size,
        kind=kind,
    )


def _told(risk: Risk, at: Evaluation, kind: str, critical: float | None) -> Optimum:
    n = at.scores[0].n
    B, F = (float(risk.p @ [getattr(c, name) for c in at.coefficients]) for name in ("B", "F"))
    on_kink = not np.any(at.point.e) and bool(np.any(at.point.x))
    plain = risk.evaluate(at.point)
    ridge = (F / n + risk.tau) / B if B > 0 else math.nan
    return Optimum(
        x=risk.whole(at.point.x),
        adversarial_risk=plain.risk,
        objective=plain.objective,
        effective_ridge=0.0 if on_kink and _sharpens(risk, at.point) else ridge,
        collapsed=False,
        critical_epsilon=critical,
        residual=at.residual,
        kind=kind,
    )


def _first_step(risk: Risk, origin: _Origin) -> Point:
    """From 0 down the steepest slope, to where it is half of what it was."""
    down = -origin.gradient
    slope = -origin.slope * (origin.slope - origin.F)
    length = 1.0
    low, high = 0.0, math.inf
    for _ in range(200):
        trial = risk.evaluate(risk.at(length * down))
        there = dot(trial.gradient, down) if math.isfinite(trial.objective) else math.inf
        if 0.9 * slope <= there <= 0.1 * slope:
            break
        if there < 0.9 * slope:
            low = length
        else:
            high = length
        length = 10 * low if high == math.inf else 0.1 * high if low == 0 else 0.5 * (low + high)
        if not 1e-12 < length * origin.slope < 1e8:
            break
    return risk.at(length * down)


# ── Kinks ───────────────────────────────────────────────────────────────────────────────────────────────────


def _sharpens(risk: Risk, point: Point) -> bool:
    """Whether the curvature at a point grows without bound as a blur of the scores is taken away: ℛ has a kink."""

    def curvatures(width: float) -> Array:
        blur = width**2 * risk.scale
        scores = risk.scores(point, blur=blur)
        return np.array([risk.coefficients(s, i).B for i, s in enumerate(scores)])

    coarse, fine = curvatures(1e-4), curvatures(1e-10)
    return bool(np.any(fine > 100 * np.maximum(coarse, 1e-300)) and np.any(fine > 100))


def _has_kink_at_teacher(risk: Risk) -> bool:
    return bool(np.any(risk.teacher)) and _sharpens(risk, risk.at_teacher())


def _sharpened(risk: Risk, start: Point, origin: _Origin) -> Minimum:
    """Minimise with the scores blurred, and take the blur away by decades: ℛ may have its minimum on a kink.

    Where it has, the distance to the kink shrinks with the blur, and the blurred gradient tends to a subgradient there;
    where it has not, the iterate settles and the blur is dropped.
    """
    point, previous = start, None
    found: Minimum | None = None
    for width in _BLURS:
        found = _newton(risk, point, width**2 * risk.scale, ENOUGH if width == _BLURS[-1] else _ROUGH)
        here = found.at.point
        if previous is not None and norm(here.x - previous.x) <= 1e-3 * min(norm(here.e), norm(here.x)):
            plain = _newton(risk, here)
            if plain.at.residual <= CONVERGED:
                return plain
        previous = here
        # on a kink at the teacher the next distance is this one in proportion to the blur
        shrinks = norm(here.e) < 1e-2 * norm(here.x)
        point = Point(risk.teacher + 0.01 * here.e, 0.01 * here.e) if shrinks else here
        if not origin.has_kink and norm(here.x) < _COLLAPSED * norm(start.x):
            point = start  # the blur alone collapsed the risk: from there no way leads back
    assert found is not None
    at = found.at
    near = 1e5 * _BLURS[-1] * (norm(risk.teacher) or 1.0)
    if np.any(risk.teacher) and norm(at.point.e) <= near:
        return replace(found, at=replace(at, point=risk.at_teacher()))
    if origin.has_kink and norm(at.point.x) <= near:
        return replace(found, at=replace(at, point=risk.origin()))
    plain = _newton(risk, at.point)
    return plain if plain.at.residual <= CONVERGED else found


# ── Not convex ──────────────────────────────────────────────────────────────────────────────────────────────


def _stationary_points(risk: Risk) -> Optimum:
    origin = _Origin(risk)
    found: list[Optimum] = []
    if origin.is_minimal:
        flat = origin.F == 0  # smooth and stationary: a minimum or not
        kind = "stationary point" if flat and not _lowest_near(risk, origin) else "local minimum"
        found.append(_collapsed(risk, origin, None, kind))
    known: list[Point] = []
    away: RunsAway | None = None
    for start in _starts(risk, origin):
        try:
            reached = minimise(risk, start, convex=False, known=known)
        except RunsAway as error:
            away = away or error
            continue
        if reached is None or reached.at.residual > CONVERGED:
            continue
        here = reached.at.point
        if falls_for_ever(risk, here.x):
            away = away or RunsAway(_unit(here.x))
            continue
        if not any(norm(here.x - k.x) <= _SAME * (norm(here.x) + norm(k.x)) for k in known):
            known.append(here)
            found.append(_told(risk, reached.at, "local minimum" if reached.curved else "stationary point", None))
    if not found:
        if away is not None:
            raise _no_minimiser(risk, away.direction)
        raise BackendError("no start led to a stationary point of the risk")
    best, *others = sorted(found, key=lambda o: o.objective)
    return replace(best, others=tuple(others))


def _lowest_near(risk: Risk, origin: _Origin) -> bool:
    """Whether ℛ rises a little away from 0 in the directions that matter."""
    size = 1e-3 * (norm(risk.teacher) or 1.0)
    return all(
        risk.value(risk.at(sign * size * v)) >= origin.at.objective
        for v in _directions(risk, origin)
        for sign in (1, -1)
    )


def _directions(risk: Risk, origin: _Origin) -> Iterator[Array]:
    """The directions in which the problem differs from an isotropic one."""
    total = risk.p @ (risk.labels[:, np.newaxis] * risk.mu)
    every = [-origin.gradient, risk.teacher, *risk.mu, total]
    told: list[Array] = []
    for v in map(_unit, every):
        if np.any(v) and not any(abs(dot(v, w)) > 0.999 for w in told):
            told.append(v)
            yield v


def _starts(risk: Risk, origin: _Origin) -> Iterator[Point]:
    size = norm(risk.teacher) or 1.0
    if np.any(risk.teacher):
        yield risk.at_teacher()
    for v in _directions(risk, origin):
        for length in (1.0, -1.0):
            yield risk.at(length * size * v)
    random = np.random.default_rng(0)
    for _ in range(_RANDOM_STARTS):
        yield risk.at(size * _unit(random.standard_normal(len(risk.teacher))))


def _unit(v: Array) -> Array:
    length = norm(v)
    return v / length if length > 0 else v
