"""``solve_many``: the limit at many values of the parameters, one kernel, all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.codegen.library.problem import Problem, Status
from sgdlimit.derive.errors import InputError, NoMinimiser
from sgdlimit.derive.expression import parse
from sgdlimit.derive.model import AdaGradNorm, Constant, Greedy, LineSearch, Model, Schedule, StepSize, Teacher
from sgdlimit.runtime.evaluate import evaluate
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, Statistics, load_kernel
from sgdlimit.runtime.minimiser import Optimum, excess_risk
from sgdlimit.runtime.problem import build_problem, check_counts, output_times
from sgdlimit.runtime.solver import DEFAULT_TIMES, at_rest, optimum_for, stands_still, why_stopped
from sgdlimit.runtime.step_sizes import Parameters
from sgdlimit.runtime.tables import Table, Tabular, column, statistics_table
from sgdlimit.runtime.trajectory import available

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

DONE, DIVERGED, NO_LEARNING_RATE = "done", "diverged", "no learning rate"
STOPPED, NO_OPTIMUM = "stopped", "no optimum"
_REASONS = {Status.OK: DONE, Status.DIVERGED: DIVERGED, Status.NO_STEP: NO_LEARNING_RATE}
_LOOK_EVERY = 0.1  # seconds between reports of progress


@dataclass(frozen=True, eq=False)
class Curves(Tabular):
    """Statistics of the limit at many values of the parameters: ``curves["adversarial_risk"]`` is an array ``[M, T]``.

    ``to_xarray()``, ``to_dataframe()``, ``plot()`` and ``save("curves.nc")`` are what they say.

    Parameters
    ----------
    times : array [T]
        ``t = k/d``.
    values : mapping of str to array [M, T]
        The statistics, by name; NaN from a curve's trouble on.
    over : mapping of str to array [M] or [M, K]
        The table of what varied.
    status : tuple of str, M of them
        ``"done"``; ``"diverged"``; ``"no learning rate"`` where a greedy one ceased to exist; ``"stopped"`` where the
        integrator could not go on; ``"no optimum"`` where Polyak's learning rate has nothing to refer to.
    reasons : tuple of str, M of them
        Why a curve stopped or has no optimum; empty of the others.
    ended : array [M]
        The last time, or that of the trouble.
    steps : int array [M]
        Accepted steps of the integrator.
    model, instance, schedules, parameters
        What was solved; ``schedules`` one for each curve, ``parameters`` those that did not vary.
    rtol : float
        Relative tolerance.
    backend : str
        ``"c"`` or ``"numpy"``.
    """

    times: Array
    values: Mapping[str, Array]
    over: Mapping[str, Array]
    status: tuple[str, ...]
    reasons: tuple[str, ...]
    ended: Array
    steps: NDArray[np.int64]
    model: Model
    instance: Instance
    schedules: tuple[StepSize, ...]
    parameters: Parameters
    rtol: float
    backend: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the statistics."""
        return tuple(self.values)

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which curves came to the last time."""
        return np.array([status == DONE for status in self.status])

    def __len__(self) -> int:
        return len(self.status)

    def __getitem__(self, name: str) -> Array:
        if name not in self.values:
            raise InputError("statistic", f"there is none called {name!r}", f"they are {', '.join(self.values)}")
        return self.values[name]

    def table(self) -> Table:
        """Statistics over ``curve`` and ``time``; what varied, and how each curve ended, over ``curve``."""
        from sgdlimit.runtime.output import about

        along = {
            name: column(name, ("curve", "class")[: values.ndim], values)
            for name, values in {**self.over, "status": np.array(self.status), "ended": self.ended}.items()
        }
        facts = {**about(self), "schedule": repr(self.schedules[0])}
        if len(set(self.schedules)) > 1:
            facts["schedule"] = [repr(schedule) for schedule in self.schedules]
        return statistics_table(self.values, {"curve": np.arange(len(self)), "time": self.times}, facts, along=along)

    def plot(self, *names: str) -> Any:
        """All curves as a Matplotlib ``Figure``: a panel for each statistic, coloured by the first thing that varied.

        Parameters
        ----------
        *names : str
            Statistics; all unless given.

        Returns
        -------
        matplotlib.figure.Figure
            As of :meth:`Trajectory.plot <sgdlimit.runtime.trajectory.Trajectory.plot>`.

        Raises
        ------
        InputError
            For a statistic that there is not.
        """
        from sgdlimit.runtime.plotting import curves_figure

        return curves_figure(self, names)

    def _repr_html_(self) -> str:
        from sgdlimit.runtime.display import curves_html

        return curves_html(self)

    def __repr__(self) -> str:
        counts = {status: self.status.count(status) for status in dict.fromkeys(self.status)}
        return (
            f"Curves({len(self)} over {', '.join(self.over)}, {len(self.names)} statistics at {len(self.times)} times; "
            f"{', '.join(f'{count} {status}' for status, count in counts.items())}; {self.backend})"
        )


def grid(**axes: ArrayLike) -> dict[str, Array]:
    """Every combination of values, the last name fastest: what ``solve_many(…, over=…)`` takes.

    Parameters
    ----------
    **axes : array
        Values by name.

    Examples
    --------
    >>> {name: values.tolist() for name, values in grid(epsilon=[0.0, 0.3], gamma=[0.1, 0.5]).items()}
    {'epsilon': [0.0, 0.0, 0.3, 0.3], 'gamma': [0.1, 0.5, 0.1, 0.5]}
    """
    values = [np.atleast_1d(np.asarray(axis, dtype=float)) for axis in axes.values()]
    products = np.meshgrid(*values, indexing="ij")
    return {name: product.ravel() for name, product in zip(axes, products, strict=True)}


def solve_many(
    model: Model,
    instance: Instance,
    schedule: StepSize | Sequence[StepSize],
    parameters: Parameters | None = None,
    horizon: float | None = None,
    times: ArrayLike | None = None,
    *,
    over: Mapping[str, ArrayLike] | None = None,
    rtol: float = 1e-8,
    method: str = "auto",
    backend: str = "auto",
    statistics: Statistics | None = None,
    threads: int | None = None,
    kernel: Kernel | None = None,
    progress: Progress | None = None,
) -> Curves:
    """Solve the mode equations at many values of the parameters (``docs/theory.md`` §3).

    Every curve is that of :func:`sgdlimit.runtime.solver.solve`, to the last bit, whatever the number of threads. Where
    ``solve`` raises because of what the dynamics do, the curve says so and the others go on.

    Parameters
    ----------
    model : Model
    instance : Instance
    schedule : StepSize, or a sequence of M of one kind
        The learning rate.
    parameters : mapping of str to float or sequence of K floats
        What does not vary.
    horizon, times
        As of ``solve``.
    over : mapping of str to array [M] or [M, K]
        What varies, one value for each curve (one for each class in a second dimension): parameters of the model and
        of a schedule's text, ``gamma`` of `Constant`, ``eta`` and ``b`` of `AdaGradNorm`. :func:`grid` makes outer
        products.
    rtol, method, backend, statistics, kernel
        As of ``solve``.
    threads : int, optional
        All cores unless given; the NumPy backend runs on one.
    progress : callable, optional
        Called with the numbers of curves done and of all.

    Returns
    -------
    Curves
        ``[M, T]`` statistics; the modes are not kept.

    Raises
    ------
    ParameterError, InstanceError, InputError
        For input that cannot be, of any curve, before the first is solved.

    Examples
    --------
    >>> from sgdlimit.derive import Constant, Loss, Model, Teacher
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"))
    >>> curves = solve_many(
    ...     model,
    ...     Instance.isotropic(100),
    ...     Constant(0.5),
    ...     {"sigma": 0.5},
    ...     horizon=40,
    ...     over={"gamma": [0.2, 1.0, 2.5]},
    ...     backend="numpy",
    ... )
    >>> curves.status
    ('done', 'done', 'diverged')
    >>> [round(float(risk), 4) for risk in curves["adversarial_risk"][:2, -1]]  # σ²/2 + γσ²/(2(2 − γ))
    [0.1389, 0.25]
    """
    if not isinstance(instance, Instance):
        raise InputError("instance", f"{type(instance).__name__} has no solve_many", "call solve for each curve")
    check_counts(0, threads=threads)
    table = _table(over or {})
    schedules = _schedules(schedule, table)
    chosen = output_times(horizon, times, DEFAULT_TIMES)
    if kernel is None:
        kernel = load_kernel(model, statistics=statistics, schedule=schedules[0], backend=backend)
    known = (*kernel.parameters, *kernel.schedule_parameters)
    paced = [_with_own(schedules[m], table, m, known) for m in range(len(schedules))]
    M, T = len(paced), len(chosen)
    cancel, at_start = np.zeros(1, dtype=np.int32), np.zeros(instance.modes)
    workers = (threads or os.cpu_count() or 1) if kernel.backend == "c" else 1
    size = max(1, min(64, -(-M // (4 * workers))))
    reasons = [""] * M

    def prepare(m: int) -> _Job | None:
        """One curve's problem; None without the optimum it needs."""
        own = _at(parameters or {}, table, m, schedules[m])
        try:
            best = optimum_for(model, instance, paced[m], own, kernel)
        except NoMinimiser as error:
            reasons[m] = str(error)
            return None
        pace = at_rest(float(chosen[-1])) if stands_still(instance, paced[m], own) else paced[m]
        point = None if best is None else best.x
        problem = build_problem(
            kernel,
            model,
            instance,
            pace,
            own,
            chosen,
            rtol=rtol,
            method=method,
            start_variance=at_start,
            reference=point,
            cancel=cancel,
        )
        return _Job(m, problem, problem.parameters, problem.step_arguments, best, own)

    first = prepare(0)
    stacked = None if first is None else _stacked(kernel, model, instance, paced, parameters or {}, table, first)
    if first is not None and stacked is not None:
        prepared = [
            _Job(begin, first.problem, stacked[0][begin : begin + size], stacked[1][begin : begin + size], None, {})
            for begin in range(0, M, size)
        ]
    else:
        prepared = [job for job in (first, *(prepare(m) for m in range(1, M))) if job is not None]
    has_optimum = any(job.best is not None for job in prepared)
    listed = available(kernel.statistics, instance, has_optimum=has_optimum)
    values = {name: np.full((M, T), np.nan) for _, name in listed}
    if has_optimum:
        values["excess_risk"] = np.full((M, T), np.nan)
    status, ended, steps = [NO_OPTIMUM] * M, np.full(M, chosen[0]), np.zeros(M, dtype=np.int64)

    def run(job: _Job) -> None:
        found = kernel.solve_each(job.problem, job.parameters, job.arguments)
        part = slice(job.begin, job.begin + len(job))
        status[part] = [_REASONS.get(Status(code), STOPPED) for code in found.status.tolist()]
        ended[part], steps[part] = found.time, found.accepted
        for m in np.flatnonzero(found.status != Status.OK):
            found.statistics[m, int(np.sum(chosen < found.time[m])) :] = np.nan
            if status[job.begin + m] == STOPPED:
                ended_by, steps_to = Status(int(found.status[m])), int(found.accepted[m])
                reasons[job.begin + m] = why_stopped(ended_by, float(found.time[m]), job.problem, steps_to)
        for index, name in listed:
            values[name][part] = found.statistics[:, :, index]
        if job.best is not None:
            curve = {name: values[name][job.begin] for name in ("adversarial_risk", "norm2")}
            values["excess_risk"][job.begin] = excess_risk(curve, job.own, job.best)

    _run_all(run, prepared, size, workers, cancel, progress)
    return Curves(
        times=chosen,
        values=values,
        over=table,
        status=tuple(status),
        reasons=tuple(reasons),
        ended=ended,
        steps=steps,
        model=model,
        instance=instance,
        schedules=tuple(paced),
        parameters=dict(parameters or {}),
        rtol=rtol,
        backend=kernel.backend,
    )


def _table(over: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """What varies, as arrays of one length."""
    table: dict[str, Array] = {}
    for name, given in over.items():
        try:
            table[name] = np.asarray(given, dtype=float)
        except (TypeError, ValueError):
            raise InputError(f"over {name}", f"{given!r} are not numbers", "give one for each curve") from None
        if table[name].ndim not in (1, 2) or len(table[name]) == 0:
            raise InputError(f"over {name}", f"it has shape {table[name].shape}", "give one number for each curve")
    lengths = {name: len(values) for name, values in table.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise InputError("over", f"there are {told}", "give one value for each curve; grid(…) makes all combinations")
    return table


def _schedules(schedule: StepSize | Sequence[StepSize], table: Mapping[str, Array]) -> list[StepSize]:
    """One for each curve."""
    counts = [len(values) for values in table.values()][:1]
    if not isinstance(schedule, Sequence):
        return [schedule] * (counts[0] if counts else 1)
    schedules = list(schedule)
    if not schedules or (counts and counts[0] != len(schedules)):
        raise InputError(
            "schedule", f"there are {len(schedules)} for {counts[0] if counts else 0} curves", "give one each"
        )
    if len({_kernel_part(each) for each in schedules}) > 1:
        raise InputError("schedule", "they are of different kinds", "call solve_many for each kind")
    return schedules


def _kernel_part(schedule: StepSize) -> tuple[object, ...]:
    """What of a step size is part of the kernel."""
    return (
        type(schedule),
        schedule.text if isinstance(schedule, Schedule) else None,
        schedule.statistic if isinstance(schedule, Greedy) else None,
    )


def _numbers(schedule: StepSize) -> tuple[str, ...]:
    """Names of a step size's own numbers."""
    if isinstance(schedule, Constant):
        return ("gamma",)
    return ("eta", "b") if isinstance(schedule, AdaGradNorm) else ()


def _with_own(schedule: StepSize, table: Mapping[str, Array], m: int, known: Sequence[str]) -> StepSize:
    """The step size with its own numbers of curve ``m``."""
    own = [name for name in _numbers(schedule) if name in table]
    for name in own:
        if name in known:
            raise InputError(f"over {name}", "the model and the step size both have it", "give a sequence of schedules")
        if table[name].ndim > 1:
            raise InputError(f"over {name}", "a step size's number is the same for every class", "give one a curve")
    return replace(schedule, **{name: float(table[name][m]) for name in own}) if own else schedule  # type: ignore[arg-type]


def _at(
    parameters: Parameters, table: Mapping[str, Array], m: int, schedule: StepSize
) -> dict[str, float | Sequence[float]]:
    """The parameters of curve ``m``."""
    values, own = dict(parameters), _numbers(schedule)
    for name in (name for name in table if name not in own):
        if name in values:
            raise InputError(f"over {name}", "it is among the parameters too", "give it once")
        values[name] = float(table[name][m]) if table[name].ndim == 1 else table[name][m].tolist()
    return values


@dataclass(frozen=True, eq=False)
class _Job:
    """Neighbouring curves that differ in numbers alone.

    Parameters
    ----------
    begin : int
        The first.
    problem : Problem
        Of one iterate; what it says of parameters and learning rate is the first's.
    parameters, arguments : array [m, P, K] and [m, A]
        Of each: the model's parameters and the learning rate's.
    best : Optimum or None
        That the curve, then one alone, refers to.
    own : mapping
        Its parameters by name.
    """

    begin: int
    problem: Problem
    parameters: Array
    arguments: Array
    best: Optimum | None
    own: Parameters

    def __len__(self) -> int:
        return len(self.parameters)


def _stacked(
    kernel: Kernel,
    model: Model,
    instance: Instance,
    paced: Sequence[StepSize],
    fixed: Parameters,
    table: Mapping[str, Array],
    first: _Job,
) -> tuple[Array, Array] | None:
    """All curves' parameters and arguments, where the problem of the first, which was checked, is that of all.

    None where curves have to be looked at one by one: for what depends on them, and to say which of them cannot be.
    """
    kind = type(paced[0])
    depends = not isinstance(model.target, Teacher) or not (np.any(instance.start) or "sign" not in model.target.text)
    if depends or kind not in (Constant, AdaGradNorm, LineSearch, Greedy) or first.best is not None:
        return None
    if kind in (LineSearch, Greedy) and not np.any(instance.start):
        return None  # some may stand still
    M, own = len(paced), _numbers(paced[0])
    parameters = np.repeat(first.parameters, M, axis=0)
    for name, values in table.items():
        if name in own:
            continue
        alike = values.ndim == 1 or (values.shape[1] == instance.classes and name not in ("epsilon", "tau"))
        if name in fixed or name not in kernel.parameters or not alike or not np.isfinite(values).all():
            return None
        if name in ("epsilon", "tau") and (values < 0).any():
            return None
        parameters[:, kernel.parameters.index(name)] = values.reshape(M, -1)
    named = {name: parameters[:, index] for index, name in enumerate(kernel.parameters)}
    if not all(np.all(evaluate(parse(text), named) > 0) for text in kernel.positive):
        return None
    if own:
        return parameters, np.array([[getattr(schedule, name) for name in own] for schedule in paced])
    return parameters, np.repeat(first.arguments, M, axis=0)


def _run_all(
    run: Callable[[_Job], None],
    jobs: Sequence[_Job],
    size: int,
    threads: int,
    cancel: NDArray[np.int32],
    progress: Progress | None,
) -> None:
    """All jobs, in chunks of about so many curves on threads; an interrupt stops them."""
    together = max(1, size // max(1, max(map(len, jobs), default=1)))
    chunks = [jobs[begin : begin + together] for begin in range(0, len(jobs), together)]

    def run_chunk(chunk: Sequence[_Job]) -> int:
        for job in chunk:
            if not cancel[0]:
                run(job)
        return sum(map(len, chunk))

    with ThreadPoolExecutor(threads) as pool:
        pending = {pool.submit(run_chunk, chunk) for chunk in chunks}
        total, done = sum(map(len, jobs)), 0
        try:
            while pending:
                look = _LOOK_EVERY if progress else None
                finished, pending = wait_for(pending, timeout=look, return_when=FIRST_EXCEPTION)
                done += sum(job.result() for job in finished)
                if progress:
                    progress(done, total)
        finally:
            if pending:
                cancel[0] = 1
                for job in pending:
                    job.cancel()
