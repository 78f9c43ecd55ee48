"""``simulate`` for covariances that do not commute: streaming SGD in ``R^d``.

Samples of many steps, ``x = μ_i + L_i z`` with ``C_i = L_i L_i'``, are one product of matrices; the runs advance
together, a step at a time. Where samples come from is a value of its own (:class:`Stream`), so that the same SGD runs
on Gaussian and on other data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sgdlimit.codegen.library.problem import CLASS_SUMMARY, SUMMARY, summary_size
from sgdlimit.derive.errors import Diverged, InputError, NoLearningRate
from sgdlimit.derive.model import AdaGradNorm, Model, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.dense_dynamics import DenseDynamics
from sgdlimit.runtime.dense_steps import LearningRate, Place, check_followed, learning_rate
from sgdlimit.runtime.ensemble import Ensemble
from sgdlimit.runtime.kernel import Kernel, NumpyKernel, Statistics, load_kernel
from sgdlimit.runtime.minimiser import Optimum, excess_risk
from sgdlimit.runtime.problem import check_parameters, check_start, check_target, check_values
from sgdlimit.runtime.solver import followed, optimum_for
from sgdlimit.runtime.step_sizes import Pace, Parameters, Table, depends_on_state

Array = NDArray[np.float64]
Integers = NDArray[np.intp]
Progress = Callable[[int, int], None]

STEPS_AT_ONCE = 256
"""Steps whose samples a run makes at once: a part of the definition of its stream."""
_NUMBERS_AT_ONCE = 1 << 24  # of samples held, over the runs that advance together


class Stream(Protocol):
    """Where samples come from."""

    def draw(self, random: np.random.Generator, count: int) -> tuple[Integers, Array]:
        """Classes ``[count]`` and inputs ``[count, d]``, as a function of the generator alone."""
        ...


@dataclass(frozen=True)
class GaussianStream:
    """Samples of the mixture.

    Parameters
    ----------
    probabilities : array [K]
    means : array [K, d]
    factors : array [K, d, d]
        ``L_i`` with ``C_i = L_i L_i'``.

    Examples
    --------
    >>> instance = DenseInstance(probabilities=[1], covariances=[[[4, 0], [0, 0]]], means=[[0, 3]])
    >>> classes, x = GaussianStream.of(instance).draw(np.random.default_rng(0), 1000)
    >>> x.std(axis=0).round(1), x[:3, 1]
    (array([2., 0.]), array([3., 3., 3.]))
    """

    probabilities: Array
    means: Array
    factors: Array

    @classmethod
    def of(cls, instance: DenseInstance) -> GaussianStream:
        """With factors of the covariances: Cholesky's, or by eigenvectors where one is singular."""
        return cls(instance.probabilities, instance.means, np.array([_factor(C) for C in instance.covariances]))

    def draw(self, random: np.random.Generator, count: int) -> tuple[Integers, Array]:
        """See :class:`Stream`."""
        classes = np.searchsorted(np.cumsum(self.probabilities)[:-1], random.random(count), side="right")
        z = random.standard_normal((count, self.means.shape[1]))
        x = np.empty_like(z)
        for i, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            x[classes == i] = mean + z[classes == i] @ factor.T
        return classes, x


def _factor(covariance: Array) -> Array:
    try:
        return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


@dataclass(frozen=True)
class DenseSgd:
    """Streaming SGD with batch 1 on a stream: ``X ← X − (γ/d) ∇`` (§1.3).

    Parameters
    ----------
    gradients : module
        Of an emitted NumPy kernel: ``gradient``, ``target`` and ``ridge`` at samples, all that it knows of the loss.
    stream : Stream
    start, teacher : array [d]
    labels : array [K]
    parameters : array [P, K]
    learning_rates : callable
        γ of each run ``[runs]``, of the time, the iterates ``[runs, d]`` and the sums ``[runs]`` of ``‖∇‖²/d²`` so far.
    accumulates : bool
        Whether those sums are kept: for AdaGrad-norm.
    seed : int
    """

    gradients: ModuleType
    stream: Stream
    start: Array
    teacher: Array
    labels: Array
    parameters: Array
    learning_rates: Callable[[float, Array, Array], Array]
    accumulates: bool
    seed: int

    def run(
        self,
        steps: Sequence[int],
        runs: Sequence[int],
        observe: Callable[[Array, Array], Array],
        advanced: Callable[[int], None] | None = None,
    ) -> Array:
        """``[runs, T, ...]``: what ``observe`` makes of iterates ``[runs, d]`` and their γ after those steps.

        A run is a function of (seed, its index) alone.

        Raises
        ------
        Diverged
            When a squared norm is not finite or beyond 10⁶ times its start (at least 1).
        NoLearningRate
            When a run has none that is the best.
        """
        d = len(self.start)
        together = max(1, _NUMBERS_AT_ONCE // (STEPS_AT_ONCE * d))
        parts = []
        for first in range(0, len(runs), together):
            with np.errstate(all="ignore"):  # what is not finite in an iterate is reported as divergence
                parts.append(self._run_together(steps, runs[first : first + together], observe, advanced))
        return np.concatenate(parts)

    def _run_together(
        self,
        steps: Sequence[int],
        runs: Sequence[int],
        observe: Callable[[Array, Array], Array],
        advanced: Callable[[int], None] | None,
    ) -> Array:
        R, d = len(runs), len(self.start)
        randoms = [np.random.default_rng(np.random.SeedSequence([self.seed, run])) for run in runs]
        X = np.repeat(self.start[np.newaxis], R, axis=0)
        bound = 1e6 * max(float(self.start @ self.start), 1.0)
        x = np.empty((STEPS_AT_ONCE, R, d))
        classes = np.empty((STEPS_AT_ONCE, R), dtype=np.intp)
        xi, uniform, r_star = (np.empty((STEPS_AT_ONCE, R)) for _ in range(3))
        gradient2 = np.zeros(R)  # the sum of ‖∇‖²/d² over the steps so far
        observed = []
        done = 0
        for stop in steps:
            for step in range(done, stop):
                k = step % STEPS_AT_ONCE
                if k == 0:
                    for run, random in enumerate(randoms):
                        classes[:, run], x[:, run] = self.stream.draw(random, STEPS_AT_ONCE)
                        xi[:, run], uniform[:, run] = (
                            random.standard_normal(STEPS_AT_ONCE),
                            random.random(STEPS_AT_ONCE),
                        )
                    # sums by einsum, whose order does not depend on how many runs there are; that of BLAS may
                    r_star = np.einsum("krn,n->kr", x, self.teacher)
                of_class = self.parameters[:, classes[k]]
                y = self.gradients.target(self.labels[classes[k]], r_star[k], xi[k], uniform[k], of_class)
                r, norm2 = np.einsum("rn,rn->r", X, x[k]), np.einsum("rn,rn->r", X, X)
                self._refuse_divergence(norm2, bound, runs, step / d)
                n = np.sqrt(norm2)
                d_r, d_n = self.gradients.gradient(r, n, y, of_class)
                shrinkage = np.divide(d_n, n, out=np.zeros(R), where=n > 0) + self.gradients.ridge(of_class)
                if self.accumulates:  # ∇ = d_r x + shrinkage X
                    x2 = np.einsum("rn,rn->r", x[k], x[k])
                    gradient2 += (d_r**2 * x2 + 2 * d_r * shrinkage * r + shrinkage**2 * norm2) / d**2
                pace = self._paces(step / d, X, gradient2, runs) / d
                X *= (1 - pace * shrinkage)[:, np.newaxis]
                X -= (pace * d_r)[:, np.newaxis] * x[k]
            if advanced is not None:
                advanced((stop - done) * R)
            done = stop
            self._refuse_divergence(np.einsum("rn,rn->r", X, X), bound, runs, stop / d)
            observed.append(observe(X, self._paces(stop / d, X, gradient2, runs)))
        return np.stack(observed, axis=1)

    def _paces(self, time: float, X: Array, gradient2: Array, runs: Sequence[int]) -> Array:
        found = self.learning_rates(time, X, gradient2)
        missing = np.isnan(found)
        if missing.any():
            raise NoLearningRate(time, f"run {runs[int(np.argmax(missing))]}")
        return found

    def _refuse_divergence(self, norm2: Array, bound: float, runs: Sequence[int], time: float) -> None:
        bad = ~(norm2 <= bound)
        if bad.any():
            run = runs[int(np.argmax(bad))]
            raise Diverged(time, f"run {run} left every bound; try a smaller learning rate")


def simulate_dense(
    model: Model,
    instance: DenseInstance,
    schedule: StepSize,
    parameters: Parameters,
    times: Array,
    *,
    runs: int,
    first_run: int,
    seed: int,
    backend: str,
    threads: int,
    statistics: Statistics | None,
    kernel: Kernel | None,
    progress: Progress | None,
    draws: int,
    reference: Optimum | None,
) -> Ensemble:
    """What :func:`sgdlimit.runtime.simulator.simulate` does with a dense instance; arguments and errors are its."""
    from sgdlimit.runtime.scores import score_statistics

    check_followed(schedule)
    steps = np.unique(np.floor(times * instance.dimension + 0.5)).astype(int)
    horizon = float(steps[-1]) / instance.dimension
    descent_kernel = _numpy_kernel(model, schedule, backend, kernel)
    limit_kernel: Kernel = descent_kernel  # coefficients may be C's, gradients are NumPy's
    if kernel is None and depends_on_state(schedule):
        limit_kernel = load_kernel(model, schedule=schedule, backend=backend)
    best = optimum_for(model, instance, schedule, parameters, limit_kernel) if reference is None else reference
    optimum = None if best is None else best.x
    descent = dense_descent(
        model,
        instance,
        followed(model, instance, schedule, parameters, horizon, kernel=limit_kernel, reference=best),
        parameters,
        horizon,
        kernel=descent_kernel,
        coefficients=limit_kernel,
        reference=optimum,
        seed=seed,
    )
    total, done = int(steps[-1]) * runs, 0

    def advanced(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    indices = range(first_run, first_run + runs)
    summaries = descent.run(steps.tolist(), indices, lambda X, rates: summarise(instance, X, rates, optimum), advanced)
    values = score_statistics(
        model,
        instance,
        summaries,
        parameters,
        statistics=statistics,
        draws=draws,
        seed=seed,
        first_run=first_run,
        threads=threads,
    )
    values["learning_rate"] = summaries[..., SUMMARY.index("learning_rate")]
    if best is not None:
        values["optimum_distance2"] = summaries[..., SUMMARY.index("reference_distance2")]
        values["excess_risk"] = excess_risk(values, parameters, best)
    return Ensemble(steps / instance.dimension, values, seed, model, instance, schedule, parameters, "numpy")


def dense_descent(
    model: Model,
    instance: DenseInstance,
    pace: Pace,
    parameters: Parameters,
    horizon: float,
    *,
    kernel: NumpyKernel | None = None,
    coefficients: Kernel | None = None,
    reference: Array | None = None,
    stream: Stream | None = None,
    seed: int = 0,
) -> DenseSgd:
    """SGD on the instance's mixture, or on another stream with the same classes; everything checked.

    Parameters
    ----------
    model : Model
    instance : DenseInstance
    pace : StepSize or Table
        One that depends on the state follows each iterate's own.
    parameters : mapping of str to float or sequence of K floats
    horizon : float
    kernel : NumpyKernel, optional
        Whose gradients are followed.
    coefficients : Kernel, optional
        What a learning rate that depends on the state is computed with; ``kernel`` unless given.
    reference : array [d], optional
        ``X°``, for Polyak's learning rate.
    stream : Stream, optional
    seed : int

    Raises
    ------
    InputError
        Names what cannot be.
    """
    if kernel is None:
        kernel = _numpy_kernel(model, None if isinstance(pace, Table) else pace, "numpy", None)
    check_target(model, instance)
    values = check_parameters(kernel, model, instance.classes, parameters)
    check_values(model, instance, parameters)
    check_start(model, instance, parameters)
    dynamics = DenseDynamics.of(kernel if coefficients is None else coefficients, instance, values)
    rule = learning_rate(pace, parameters, dynamics.teacher, reference, horizon)
    return DenseSgd(
        gradients=kernel.module,
        stream=GaussianStream.of(instance) if stream is None else stream,
        start=instance.start,
        teacher=dynamics.teacher,
        labels=dynamics.labels,
        parameters=values,
        learning_rates=_of_iterates(rule, dynamics) if depends_on_state(pace) else _of_time(rule, dynamics),
        accumulates=isinstance(pace, AdaGradNorm),
        seed=seed,
    )


def _numpy_kernel(model: Model, schedule: StepSize | None, backend: str, kernel: Kernel | None) -> NumpyKernel:
    if backend == "c" or not (kernel is None or isinstance(kernel, NumpyKernel)):
        raise InputError(
            "backend", "dense instances are simulated by NumPy and BLAS, there is no C for them", "leave it out"
        )
    found = load_kernel(model, schedule=schedule, backend="numpy") if kernel is None else kernel
    assert isinstance(found, NumpyKernel)
    return found


def _of_time(rule: LearningRate, dynamics: DenseDynamics) -> Callable[[float, Array, Array], Array]:
    nowhere = Place(dynamics.teacher, 0.0, lambda: dynamics.slope(dynamics.teacher))  # not asked for
    return lambda time, iterates, gradient2: np.full(len(iterates), rule(time, nowhere))


def _of_iterates(rule: LearningRate, dynamics: DenseDynamics) -> Callable[[float, Array, Array], Array]:
    """Of each iterate's own state: its score law is exact."""

    def rates(time: float, iterates: Array, gradient2: Array) -> Array:
        displaced = iterates - dynamics.teacher
        places = [
            Place(e, float(sum_), partial(dynamics.slope, e)) for e, sum_ in zip(displaced, gradient2, strict=True)
        ]
        return np.array([rule(time, place) for place in places])

    return rates


def summarise(instance: DenseInstance, iterates: Array, learning_rates: Array, reference: Array | None = None) -> Array:
    """Summaries ``[runs, summary_size(K)]`` of iterates ``[runs, d]``, as of the diagonal simulation.

    Parameters
    ----------
    instance : DenseInstance
    iterates : array [runs, d]
    learning_rates : array [runs]
        γ of each.
    reference : array [d], optional
        ``X°``; without one the distance to it is NaN.

    Examples
    --------
    >>> instance = DenseInstance(probabilities=[1], covariances=[[2, 1], [1, 2]], teacher=[1, 0], means=[[0, 1]])
    >>> summarise(instance, np.array([[1.0, 2.0]]), np.array([0.5])).tolist()
    [[5.0, 1.0, 4.0, nan, 0.5, 2.0, 4.0, 14.0]]
    """
    teacher = np.zeros(instance.dimension) if instance.teacher is None else instance.teacher
    summary = np.full((len(iterates), summary_size(instance.classes)), np.nan)
    of_iterate = dict(zip(SUMMARY, summary.T, strict=False))  # views
    of_iterate["norm2"][:] = np.sum(iterates**2, axis=1)
    of_iterate["overlap"][:] = np.sum(iterates * teacher, axis=1)
    of_iterate["distance2"][:] = np.sum((iterates - teacher) ** 2, axis=1)
    if reference is not None:
        of_iterate["reference_distance2"][:] = np.sum((iterates - reference) ** 2, axis=1)
    of_iterate["learning_rate"][:] = learning_rates
    for i, (mean, covariance) in enumerate(zip(instance.means, instance.covariances, strict=True)):
        images = np.array([covariance @ X for X in iterates])
        first = len(SUMMARY) + len(CLASS_SUMMARY) * i
        of_class = dict(zip(CLASS_SUMMARY, summary.T[first:], strict=False))
        of_class["m"][:] = np.sum(iterates * mean, axis=1)
        of_class["c"][:] = np.sum(images * teacher, axis=1)
        of_class["Q"][:] = np.sum(images * iterates, axis=1)
    return summary
