"""What a solve returns: named curves of the deterministic limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.errors import InputError
from sgdlimit.derive.model import Model, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.step_sizes import Parameters
from sgdlimit.runtime.tables import Column, Table, Tabular, column, statistics_table

Array = NDArray[np.float64]

TEACHER_STATISTICS = ("overlap", "cosine", "distance2")
OPTIMUM_STATISTICS = ("optimum_distance2", "excess_risk")


@dataclass(frozen=True, eq=False)
class State:
    """Mean ``x_j`` and variance ``v_j`` of every mode at a time; what restarts a solve.

    Parameters
    ----------
    time : float
        ``t = k/d``.
    mean, variance : array [N]
        The variance of a dense instance is a covariance matrix [N, N].
    accumulated : float
        ``∫₀ᵗ Σ_j G_j ds``, for AdaGrad-norm.
    """

    time: float
    mean: Array
    variance: Array
    accumulated: float = 0.0


@dataclass(frozen=True, eq=False)
class Trajectory(Tabular):
    """Statistics of the limit along a run (``docs/theory.md`` §3).

    ``trajectory["adversarial_risk"]`` is an array ``[T]``; ``trajectory.final`` restarts a solve; ``to_xarray()``,
    ``to_dataframe()``, ``plot()`` and ``save("curve.nc")`` are what they say.

    Parameters
    ----------
    times : array [T]
        ``t = k/d``.
    values : mapping of str to array [T]
        The statistics, by name.
    final : State
        The state at the last time.
    model, instance, schedule, parameters
        What was solved.
    rtol : float
        Relative tolerance.
    backend : str
        ``"c"`` or ``"numpy"``.
    steps : int
        Accepted steps of the integrator.
    modes : tuple of array [T, N], optional
        ``x`` and ``v`` at all times, when asked for; of a dense instance the variances of the coordinates.
    """

    times: Array
    values: Mapping[str, Array]
    final: State
    model: Model
    instance: Instance | DenseInstance
    schedule: StepSize
    parameters: Parameters
    rtol: float
    backend: str
    steps: int
    modes: tuple[Array, Array] | None = field(default=None, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the statistics."""
        return tuple(self.values)

    def __getitem__(self, name: str) -> Array:
        if name not in self.values:
            raise InputError("statistic", f"there is none called {name!r}", f"they are {', '.join(self.values)}")
        return self.values[name]

    def table(self) -> Table:
        """Statistics over ``time``; the modes, where kept, over ``time`` and ``mode``."""
        from sgdlimit.runtime.output import about

        along: dict[str, Column] = {}
        more: dict[str, Column] = {}
        if self.modes is not None:
            mean, variance = self.modes
            along["mode"] = column("mode", "mode", np.arange(mean.shape[1]))
            if isinstance(self.instance, Instance):
                along["weight"] = column("weight", "mode", self.instance.weights)
                along["eigenvalue"] = column("eigenvalue", ("class", "mode"), self.instance.eigenvalues)
            more["mode_mean"] = column("mode_mean", ("time", "mode"), mean)
            more["mode_variance"] = column("mode_variance", ("time", "mode"), variance)
        return statistics_table(self.values, {"time": self.times}, about(self), along=along, more=more)

    def plot(self, *names: str) -> Any:
        """The curves as a Matplotlib ``Figure``, a panel for each kind of statistic.

        Parameters
        ----------
        *names : str
            Statistics; all unless given, but for a learning rate or a ridge that is constant.

        Returns
        -------
        matplotlib.figure.Figure
            ``figure.savefig("curve.pdf")`` writes it, in the format that the ending says; ``figure.axes`` are the
            panels, to go on with.

        Raises
        ------
        InputError
            For a statistic that there is not.

        Examples
        --------
        >>> import sgdlimit as sl
        >>> trajectory = sl.solve(**sl.load_spec("least-squares").arguments, backend="numpy")
        >>> [axes.get_ylabel() for axes in trajectory.plot("norm2", "clean_risk").axes]
        ['$\\\\langle E f\\\\rangle$', '$n^2$']
        """
        from sgdlimit.runtime.plotting import trajectory_figure

        return trajectory_figure(self, names)

    def _repr_html_(self) -> str:
        from sgdlimit.runtime.display import trajectory_html

        return trajectory_html(self)

    def __repr__(self) -> str:
        first = self.names[0]
        return (
            f"Trajectory({len(self.names)} statistics at {len(self.times)} times, "
            f"t = {self.times[0]:g} … {self.times[-1]:g}; "
            f"{first} {self[first][0]:.4g} → {self[first][-1]:.4g}; {self.backend})"
        )


def available(
    names: tuple[str, ...], instance: Instance | DenseInstance, has_optimum: bool = False
) -> list[tuple[int, str]]:
    """Index and name of the statistics that there are: those of the teacher, of the optimum, only with one."""
    absent: tuple[str, ...] = () if instance.teacher is not None else TEACHER_STATISTICS
    absent += () if has_optimum else OPTIMUM_STATISTICS
    return [(index, name) for index, name in enumerate(names) if name not in absent]
