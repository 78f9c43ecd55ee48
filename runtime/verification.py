"""``verify``: do the equations describe streaming SGD? Evidence first, then a judge who compares it with a solver.

The verdict must not lean on what it judges. It has two parts. *Single steps* from fixed iterates, at finite dimension,
class by class, against the emitted right-hand side and statistics: exact statements, no limit is taken. *Trajectories*:
ensembles at three dimensions, extrapolated in ``1/d``, against the emitted solver, and where blocks of equal
eigenvalues are few, one at a dimension so large that nothing needs extrapolating. All intervals hold simultaneously at
one level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.derive.errors import InputError, InstanceError
from sgdlimit.derive.model import Model, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.evidence import Evidence, gather
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, Statistics, load_kernel
from sgdlimit.runtime.one_step import compare_steps
from sgdlimit.runtime.solver import solve
from sgdlimit.runtime.step_sizes import Parameters
from sgdlimit.runtime.trajectory import Trajectory
from sgdlimit.runtime.verdict import (
    Comparison,
    Extrapolation,
    Judgement,
    decide,
    extrapolate,
    finite_size_allowance,
    firm_allowance,
    judge_all,
)

if TYPE_CHECKING:
    from sgdlimit.runtime.spec import Spec

Array = NDArray[np.float64]

LEVEL = 0.99
"""Family-wise. With some 150 comparisons the critical value is 3.99 standard errors."""
RESOLUTION = 0.01
RTOL = 1e-9
"""Of the solver that is judged."""

_ROUNDING = 1e-7  # relative: solver, gradients by differences
_CURVE_POINTS = 161
_SMALL_RANGE = 0.1


@dataclass(frozen=True, eq=False)
class Verification:
    """What a verification found.

    Parameters
    ----------
    evidence : Evidence
    trajectory : Trajectory
        The limit that was judged, at many times.
    fit : Extrapolation
        Of the ensembles, arrays ``[S, T]`` over ``names`` and the times of the evidence.
    names : tuple of str
        Statistics compared.
    judgements : tuple of Judgement
        Every comparison with its interval.
    level, resolution : float
        As asked for.
    """

    evidence: Evidence
    trajectory: Trajectory
    fit: Extrapolation = field(repr=False)
    names: tuple[str, ...]
    judgements: tuple[Judgement, ...] = field(repr=False)
    level: float
    resolution: float

    @cached_property
    def verdict(self) -> str:
        """``passed``, ``failed`` or ``inconclusive``."""
        return decide(self.judgements)

    @property
    def passed(self) -> bool:
        """Whether every interval contains 0 and is as narrow as was asked for."""
        return self.verdict == "passed"

    def worst(self, name: str, part: str = "trajectory") -> Judgement:
        """The judgement of a statistic that speaks most against it.

        One that excludes 0, else one that is too wide, else the one nearest to failing.


        Raises
        ------
        InputError
            For a name that was not compared.
        """
        found = [j for j in self.judgements if j.comparison.part == part and j.comparison.name == name]
        if not found:
            raise InputError("statistic", f"{name!r} was not compared", f"these were: {', '.join(self.names)}")
        return max(found, key=_badness)

    @property
    def worst_of_all(self) -> tuple[Judgement, ...]:
        """For every statistic and every kind of moment of a step, the judgement that speaks most against it."""
        kinds: dict[tuple[str, str], Judgement] = {}
        for j in self.judgements:
            key = (j.comparison.part, j.comparison.name)
            kinds[key] = max(kinds.get(key, j), j, key=_badness)
        return tuple(kinds.values())

    @property
    def budget_to_decide(self) -> float:
        """Coordinate-steps that would bring every interval of the trajectories to the resolution; inf if none would."""
        factors = [j.factor for j in self.judgements if j.comparison.part != "one step"]
        return max(factors, default=1.0) * self.evidence.coordinate_steps

    def table(self) -> str:
        """A line for every statistic and kind of step: its worst comparison, in plain text."""
        rows = [table_row(j) for j in self.worst_of_all]
        widths = [max(len(row[k]) for row in (TABLE_HEAD, *rows)) for k in range(len(TABLE_HEAD))]

        def line(row: Sequence[str]) -> str:
            cells = [c.ljust(w) if k < 2 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
            return "  ".join(cells).rstrip()

        return "\n".join([line(TABLE_HEAD), line(["-" * w for w in widths]), *(line(row) for row in rows)])

    def summary(self) -> str:
        """What was and what was not established, in words."""
        from sgdlimit.runtime.verification_report import summary

        return summary(self)

    def figure(self) -> Any:
        """Matplotlib figure: each statistic's curve with the ensemble, and the fit in 1/d at its worst time."""
        from sgdlimit.runtime.picture import figure

        return figure(self)

    def plot(self) -> Any:
        """The same as :meth:`figure`, as every result has it: a Matplotlib ``Figure``.

        Returns
        -------
        matplotlib.figure.Figure
            Residuals by statistic and by what the coefficients make, curves with bands, fits in 1/d.
        """
        return self.figure()

    def save_html(self, path: str | Path, spec: Spec | None = None) -> None:
        """Write the report as one HTML file that needs no other.

        Parameters
        ----------
        path : path
        spec : Spec, optional
            What the instance was read from, to be written as there in the part that makes the report again; by its
            arrays unless given.

        Raises
        ------
        InputError
            Where the file cannot be written.
        """
        from sgdlimit.runtime.output import save_page
        from sgdlimit.runtime.verification_report import page

        save_page(page(self, spec), Path(path))

    def _repr_html_(self) -> str:
        from sgdlimit.runtime.verification_report import body

        return body(self)

    def __repr__(self) -> str:
        worst = max(self.judgements, key=lambda j: j.severity)
        c = worst.comparison
        return (
            f"Verification({self.verdict}: {len(self.judgements)} comparisons, simultaneously at {self.level:.4g}; "
            f"the worst {c.name} at {c.place}, {worst.severity:.2f} of its half-width; {self.evidence!r})"
        )


def _badness(judgement: Judgement) -> tuple[bool, bool, float]:
    return judgement.excludes_zero, not judgement.resolved, judgement.severity


TABLE_HEAD = ("compared", "worst at", "equations", "observed", "± half-width", "resolution", "deviation/s.e.", "")


PREFIXES = {"trajectory": "", "in lumps": "in lumps: ", "one step": "step: "}
"""Of a comparison's name, by its part."""


def table_row(judgement: Judgement) -> tuple[str, ...]:
    """The cells of one judgement under :data:`TABLE_HEAD`."""
    c = judgement.comparison
    mark = "DIFFERS" if judgement.excludes_zero else "" if judgement.resolved else "too wide"
    return (
        PREFIXES[c.part] + c.name,
        c.place,
        f"{c.expected:.6g}",
        f"{c.measured:.6g}",
        f"{judgement.half_width:.2g}",
        f"{judgement.resolution:.2g}",
        f"{c.standardised:+.2f}",
        mark,
    )


# ── Judging ─────────────────────────────────────────────────────────────────────────────────────────────────


def judge(evidence: Evidence, kernel: Kernel, *, level: float = LEVEL, resolution: float = RESOLUTION) -> Verification:
    """Judge a solver by evidence that was gathered without it.

    Parameters
    ----------
    evidence : Evidence
    kernel : Kernel
        Whose ``solve``, right-hand side and statistics are judged; of the evidence's model, statistics and schedule.
    level : float
        Family-wise: the equations being right, at most a share ``1 - level`` of the verifications says "failed".
    resolution : float
        Half-width asked for, as a fraction of a statistic's range along the trajectory.

    Raises
    ------
    InputError
        For a level or a resolution that cannot be.
    Diverged
        When the limit leaves every bound: knows the time.
    """
    _check(level, resolution)
    horizon = float(evidence.times[-1])
    fine = np.union1d(np.linspace(0.0, horizon, _CURVE_POINTS), evidence.times)
    trajectory = solve(
        evidence.model,
        evidence.instance,
        evidence.schedule,
        evidence.parameters,
        times=fine,
        rtol=RTOL,
        kernel=kernel,
        statistics=evidence.statistics,
    )
    kept = [k for k, name in enumerate(evidence.names) if name in trajectory.names]
    names = tuple(evidence.names[k] for k in kept)
    fit = extrapolate(
        evidence.dimensions,
        evidence.means[:, kept],
        evidence.variances[:, kept],
        evidence.runs,
        shared_variance=evidence.shared_variance[kept],
        shared_degrees=evidence.shared_degrees,
    )
    comparisons = compare_trajectories(evidence, trajectory, names, fit)
    comparisons += compare_in_lumps(evidence, trajectory, names, fit)
    comparisons += compare_steps(
        evidence.steps, kernel, evidence.model, evidence.path, evidence.parameters, rounding=_ROUNDING
    )
    judgements = judge_all(comparisons, level=level, resolution=resolution)
    return Verification(evidence, trajectory, fit, names, judgements, level, resolution)


def _check(level: float, resolution: float) -> None:
    for name, value, usual in (("level", level, LEVEL), ("resolution", resolution, RESOLUTION)):
        if not 0 < value < 1:
            raise InputError(name, f"{value!r} is not between 0 and 1", f"the default is {usual}")


def compare_trajectories(
    evidence: Evidence, trajectory: Trajectory, names: Sequence[str], fit: Extrapolation
) -> list[Comparison]:
    """The extrapolated ensembles against the limit, at every time of the evidence."""
    at = np.searchsorted(trajectory.times, evidence.times)
    allowances, firm = finite_size_allowance(fit), firm_allowance(fit)
    compared = []
    for s, name in enumerate(names):
        scale = scale_of(name, trajectory)
        for t, time in enumerate(evidence.times):
            expected = float(trajectory[name][at[t]])
            compared.append(
                Comparison(
                    part="trajectory",
                    name=name,
                    place=f"t = {time:.4g}",
                    expected=expected,
                    measured=float(fit.value[s, t]),
                    error=float(fit.error[s, t]),
                    degrees=float(fit.degrees[s, t]),
                    allowance=float(allowances[s, t]) + _ROUNDING * (abs(expected) + scale),
                    scale=scale,
                    time=float(time),
                    firm=float(firm[s, t]),
                )
            )
    return compared


def compare_in_lumps(
    evidence: Evidence, trajectory: Trajectory, names: Sequence[str], fit: Extrapolation
) -> list[Comparison]:
    """The ensemble in lumps against the limit itself; what the 1/d term of the fit leaves there is allowed."""
    large = evidence.lumped
    if large is None:
        return []
    at = np.searchsorted(trajectory.times, evidence.times)
    left = (np.abs(fit.slope) + fit.slope_error).max(axis=-1) / large.dimension
    compared = []
    for s, name in enumerate(names):
        scale, k = scale_of(name, trajectory), evidence.names.index(name)
        for t, time in enumerate(evidence.times):
            expected = float(trajectory[name][at[t]])
            own, shared = float(large.variances[k, t]) / large.runs, float(large.shared_variance[k, t])
            parts = own**2 / (large.runs - 1) + shared**2 / evidence.shared_degrees
            allowance = float(left[s]) + _ROUNDING * (abs(expected) + scale)
            compared.append(
                Comparison(
                    part="in lumps",
                    name=name,
                    place=f"t = {time:.4g}",
                    expected=expected,
                    measured=float(large.means[k, t]),
                    error=math.sqrt(own + shared),
                    degrees=(own + shared) ** 2 / parts if parts > 0 else math.inf,
                    allowance=allowance,
                    scale=scale,
                    time=float(time),
                    firm=allowance,
                )
            )
    return compared


def scale_of(name: str, trajectory: Trajectory) -> float:
    """What the resolution of a statistic is a fraction of: its range, or a tenth of its size where it hardly moves.

    The size is its largest value, for a cosine 1, for an overlap what the norms would allow.
    """
    curve = trajectory[name]
    size = float(np.abs(curve).max())
    if name == "cosine":
        size = 1.0
    elif name == "overlap" and trajectory.instance.teacher is not None:
        size = math.sqrt(float(trajectory["norm2"].max()) * float(np.sum(trajectory.instance.teacher**2)))
    return max(float(np.ptp(curve)), _SMALL_RANGE * size)


# ── The public function ─────────────────────────────────────────────────────────────────────────────────────


def verify(
    model: Model,
    instance: Instance | DenseInstance,
    schedule: StepSize,
    parameters: Parameters | None = None,
    horizon: float | None = None,
    *,
    times: ArrayLike | None = None,
    dimensions: Sequence[int] | None = None,
    budget: float | None = None,
    resolution: float = RESOLUTION,
    level: float = LEVEL,
    seed: int = 0,
    backend: str = "auto",
    threads: int | None = None,
    statistics: Statistics | None = None,
    progress: Callable[[int, int], None] | None = None,
    kernel: Kernel | None = None,
    dynamics: str = "sgd",
) -> Verification:
    """Verify the equations of a model by simulation of streaming SGD.

    Parameters
    ----------
    model, instance, schedule, parameters, horizon, backend, statistics, kernel
        As in :func:`sgdlimit.runtime.solver.solve`.
    times : array_like, optional
        Where to compare: rounded to multiples of the inverse of the smallest dimension; 12 evenly unless given.
    dimensions : sequence of int, optional
        Three or more, increasing, multiples of the first; the smallest admissible one from 100 on, its double and its
        quadruple unless given.
    budget : float, optional
        Coordinate-steps to spend: 1e10 with C, 5e9 with NumPy, unless given. A quarter of it may be spent besides on
        SGD in lumps at a far larger dimension (:func:`~sgdlimit.runtime.evidence.gather`).
    resolution : float
        Half-width asked of every interval, as a fraction of the statistic's range along the trajectory (or of a tenth
        of its size where it hardly moves).
    level : float
        Family-wise level of all intervals: the equations being right, at most a share ``1 - level`` of the
        verifications says "failed".
    seed : int
        With one backend, the same evidence for the same seed.
    threads : int, optional
        As many as there are cores unless given.
    progress : callable, optional
        Called with (coordinate-steps done, in all) now and then.
    dynamics : {"sgd", "homogenised"}
        Of the ensembles, as in :func:`sgdlimit.runtime.evidence.gather`; with ``"homogenised"`` the trajectories say
        whether means of :func:`sgdlimit.runtime.diffusion.diffuse` have the limit.

    Returns
    -------
    Verification
        ``passed``: every interval contains 0 and is as narrow as ``resolution``; ``failed``: one excludes 0;
        ``inconclusive``: otherwise, and ``summary()`` says what would decide.

    Raises
    ------
    ParameterError, InstanceError, InputError
        For input that cannot be.
    Diverged
        When SGD or the limit leaves every bound: knows the time.

    Examples
    --------
    >>> from sgdlimit.derive import Constant, L2Adversary, Loss, Teacher
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary())
    >>> report = verify(
    ...     model, Instance.isotropic(40), Constant(0.5), {"epsilon": 0.2, "sigma": 0.5}, horizon=2.0,
    ...     dimensions=(40, 80, 160), budget=2e7, resolution=0.2, backend="numpy",
    ... )
    >>> report.verdict
    'passed'
    """
    _check(level, resolution)
    if isinstance(instance, DenseInstance):
        raise InstanceError(
            "instance",
            "a verification goes through several dimensions, and covariances that do not commute have but one",
            "compare solve and simulate",
        )
    if kernel is None:
        kernel = load_kernel(model, statistics=statistics, schedule=schedule, backend=backend)
    evidence = gather(
        model,
        instance,
        schedule,
        parameters,
        horizon,
        times=times,
        dimensions=dimensions,
        budget=budget,
        seed=seed,
        threads=threads,
        statistics=statistics,
        progress=progress,
        kernel=kernel,
        dynamics=dynamics,
    )
    return judge(evidence, kernel, level=level, resolution=resolution)
