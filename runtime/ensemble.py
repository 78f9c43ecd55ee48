"""What a simulation returns: statistics of many runs of streaming SGD, or of its homogenised form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.errors import InputError
from sgdlimit.derive.model import Model, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.step_sizes import Parameters
from sgdlimit.runtime.tables import Table, Tabular, statistics_table

if TYPE_CHECKING:
    from sgdlimit.runtime.trajectory import Trajectory

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ensemble(Tabular):
    """Statistics of independent runs: ``ensemble["adversarial_risk"]`` is an array ``[runs, T]``.

    Expectations over the scores (risks, error rates) are averages of the user's loss itself over fresh scores, with the
    supremum by brute force: nothing that was derived takes part.

    Parameters
    ----------
    times : array [T]
        ``t = k/d``, exactly as recorded.
    values : mapping of str to array [runs, T]
    seed : int
        Run ``k`` is a function of (seed, k), the precision and the backend alone.
    model, instance, schedule, parameters
        What was simulated.
    backend : str
        ``"c"`` or ``"numpy"``.
    dynamics : str
        ``"sgd"``; ``"lumped"``, the same in law, of :func:`sgdlimit.runtime.lumped.simulate_lumped`; or
        ``"homogenised"`` of :func:`sgdlimit.runtime.diffusion.diffuse`.
    precision : str
        ``"float64"`` or ``"float32"``: of samples and iterates.
    """

    times: Array
    values: Mapping[str, Array]
    seed: int
    model: Model
    instance: Instance | DenseInstance
    schedule: StepSize
    parameters: Parameters
    backend: str
    dynamics: str = "sgd"
    precision: str = "float64"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the statistics."""
        return tuple(self.values)

    @property
    def runs(self) -> int:
        """Number of runs."""
        return len(next(iter(self.values.values())))

    @property
    def dimension(self) -> int:
        """Dimension d."""
        return int(self.instance.dimension)

    def __getitem__(self, name: str) -> Array:
        if name not in self.values:
            raise InputError("statistic", f"there is none called {name!r}", f"they are {', '.join(self.values)}")
        return self.values[name]

    def mean(self, name: str) -> Array:
        """Mean over the runs, ``[T]``."""
        average: Array = self[name].mean(axis=0)
        return average

    def standard_error(self, name: str) -> Array:
        """Standard error of the mean, ``[T]``; NaN for a single run."""
        if self.runs < 2:
            return np.full(len(self.times), np.nan)
        error: Array = self[name].std(axis=0, ddof=1) / np.sqrt(self.runs)
        return error

    def table(self) -> Table:
        """Statistics over ``run`` and ``time``."""
        from sgdlimit.runtime.output import about

        return statistics_table(self.values, {"run": np.arange(self.runs), "time": self.times}, about(self))

    def plot(self, *names: str, limit: Trajectory | None = None) -> Any:
        """The runs as a Matplotlib ``Figure``: their mean, and a band that the middle 80 % of them stay in.

        Parameters
        ----------
        *names : str
            Statistics; all unless given, but for a learning rate or a ridge that is constant.
        limit : Trajectory, optional
            Drawn over the runs.

        Returns
        -------
        matplotlib.figure.Figure
            As of :meth:`Trajectory.plot <sgdlimit.runtime.trajectory.Trajectory.plot>`.

        Raises
        ------
        InputError
            For a statistic that there is not.

        Examples
        --------
        >>> import sgdlimit as sl
        >>> asked = {**sl.load_spec("least-squares").arguments, "horizon": 1.0}
        >>> ensemble = sl.simulate(**asked, runs=8, backend="numpy")
        >>> len(ensemble.plot("norm2", limit=sl.solve(**asked, backend="numpy")).axes)
        1
        """
        from sgdlimit.runtime.plotting import ensemble_figure

        return ensemble_figure(self, names, limit)

    def _repr_html_(self) -> str:
        from sgdlimit.runtime.display import ensemble_html

        return ensemble_html(self)

    def __repr__(self) -> str:
        of = {"homogenised": " of homogenised SGD", "lumped": " in lumps"}.get(self.dynamics, "")
        return (
            f"Ensemble({self.runs} runs{of} at d = {self.dimension}, "
            f"{len(self.names)} statistics at {len(self.times)} times, "
            f"t = {self.times[0]:g} … {self.times[-1]:g}; {self.backend})"
        )
