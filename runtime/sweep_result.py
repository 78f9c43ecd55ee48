"""A sweep's results: arrays over its axes, from the batches with NumPy alone; as tables and files, as pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.derive.errors import InputError
from sgdlimit.runtime.quantities import TIME, Quantity, quantity
from sgdlimit.runtime.sweep_plan import STATUSES, VERDICTS, Axis, Plan
from sgdlimit.runtime.sweep_store import Store, stored_plan
from sgdlimit.runtime.tables import Column, Table, Tabular

WORDS = {"status": STATUSES, "simulated_status": STATUSES, "verdict": VERDICTS}
"""What the numbers of these arrays stand for."""

_MEANINGS = {
    "status": Quantity("what became of the point", units=""),
    "simulated_status": Quantity("what became of the simulation", units=""),
    "verdict": Quantity("verdict of the verification", units=""),
    "ended": Quantity("last time, or that of the trouble", "t = k/d"),
    "steps": Quantity("accepted steps of the integrator"),
    "reason": Quantity("why a point could not be", units=""),
}


@dataclass(frozen=True, eq=False)
class Sweep(Tabular):
    """Results of a sweep, finished or not: ``sweep["adversarial_risk"]`` is an array over its dimensions.

    Each array is read when it is asked for. ``to_xarray()``, ``to_dataframe()`` and ``save("points.csv")`` (or
    ``.npz``, ``.nc``, ``.svg``, ``.pdf``, ``.png``) are as of every result.

    Parameters
    ----------
    store : Store
        Where they are.
    """

    store: Store

    @property
    def plan(self) -> Plan:
        """What was asked for."""
        return self.store.plan

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions, in the file's order; ``time`` is the last, where more than the last time is kept."""
        return (*(d.name for d in self.plan.dimensions), *(("time",) if self.plan.times else ()))

    @property
    def coordinates(self) -> dict[str, NDArray[Any]]:
        """Values along the dimensions, by axis; what is not a number as text."""
        found = {axis.name: np.array(axis.coordinate()) for d in self.plan.dimensions for axis in d.axes}
        return {**found, **({"time": np.array(self.plan.times)} if self.plan.times else {})}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays."""
        first = np.flatnonzero(self.store.finished())
        if not len(first):
            return ()
        return tuple(name for name in self.store.read(int(first[0])) if name != "provenance")

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.part(name, {})

    def part(self, name: str, places: Mapping[str, ArrayLike]) -> NDArray[Any]:
        """An array at some places along its dimensions, all along those that are not named.

        Parameters
        ----------
        name : str
        places : mapping of str to array of int
            By dimension. Only what is asked for is kept in memory.

        Raises
        ------
        InputError
            For an array that there is not.
        """
        if name not in self.names:
            raise InputError("sweep", f"there is no {name!r} in it", f"there are {', '.join(self.names) or 'none yet'}")
        along = [np.asarray(places.get(d.name, np.arange(len(d))), dtype=np.int64) for d in self.plan.dimensions]
        by_name = dict(zip((d.name for d in self.plan.dimensions), np.ix_(*along), strict=True))
        digits = tuple(by_name[d.name] for d in self.plan.working_order)
        points = np.ravel_multi_index(digits, self.plan.shape)
        flat = read_points(self.store, name, points.ravel())
        return flat.reshape(*points.shape, *flat.shape[1:])

    @property
    def status(self) -> NDArray[np.str_]:
        """What became of each point: ``"done"``, ``"diverged"``, …; ``"not yet"`` where a sweep is not finished."""
        if not self.names:
            return np.full([len(d) for d in self.plan.dimensions], STATUSES[0])
        told: NDArray[np.str_] = np.array(STATUSES)[self["status"]]
        return told

    def counts(self, name: str = "status") -> dict[str, int]:
        """How many points became what; or of another array that has words, ``"simulated_status"``, ``"verdict"``."""
        words = WORDS[name]
        counts = np.zeros(len(words), dtype=np.int64)
        for batch in range(self.plan.batches):
            found = self.store.read(batch, name)
            if found:
                counts += np.bincount(found[name], minlength=len(words))
        counts[0] += self.plan.points - counts.sum()
        return {word: int(count) for word, count in zip(words, counts, strict=True) if count}

    def extent(self, name: str) -> tuple[float, float]:
        """The smallest and the largest finite number of an array, NaN where there is none; read batch by batch."""
        low, high = np.inf, -np.inf
        for batch in range(self.plan.batches):
            found = self.store.read(batch, name)
            known = found[name][np.isfinite(found[name])] if found else np.empty(0)
            if known.size:
                low, high = min(low, float(known.min())), max(high, float(known.max()))
        return (low, high) if low <= high else (np.nan, np.nan)

    def reasons(self, most: int = 5) -> tuple[str, ...]:
        """The first few different reasons of points that could not be."""
        found: dict[str, None] = {}
        for batch in range(self.plan.batches):
            for reason in self.store.read(batch, "reason").get("reason", ()):
                if reason:
                    found[str(reason)] = None
            if len(found) >= most:
                break
        return tuple(found)[:most]

    def table(self) -> Table:
        """Everything over the dimensions; statuses and verdicts in words.

        Raises
        ------
        InputError
            When no batch is finished.
        """
        if not self.names:
            raise InputError("sweep", "no batch is finished", f"go on with it; its store is {self.store.folder}")
        dims = tuple(d.name for d in self.plan.dimensions)
        columns = {}
        for name in self.names:
            values = self[name]
            if name in WORDS:
                values = np.array(WORDS[name])[values]
            columns[name] = Column((*dims, *(("time",) if values.ndim > len(dims) else ())), values, meaning(name))
        return Table(coordinates(self.plan), columns, attributes(self.plan))

    def plot(self, *names: str, x: str | None = None, y: str | None = None, at: Mapping[str, Any] | None = None) -> Any:
        """The statistics over the axes as a Matplotlib ``Figure``, a panel for each.

        Over two axes of five values or more a map with contours, with the part that diverges hatched and its boundary;
        over one axis a line, or one for each value of a second axis, with what was simulated as points with the
        standard errors of their means. Further axes make a panel each for up to three of their values; of several
        times the last is shown, and over seeds the mean.

        Parameters
        ----------
        *names : str
            Statistics; all that are defined unless given.
        x : str, optional
            The axis to the right; the first with enough values unless given.
        y : str, optional
            The axis upwards of a map.
        at : mapping of str, optional
            One value of other axes, in place of panels for several: ``{"exponent": 0.25, "schedule": "polyak"}``.

        Returns
        -------
        matplotlib.figure.Figure
            ``figure.savefig("map.pdf")`` writes it; ``figure.axes`` are the panels, to go on with.

        Raises
        ------
        InputError
            For a statistic, an axis or a value that there is not, or when no point is finished.

        Examples
        --------
        >>> import tempfile, tomllib, warnings
        >>> import sgdlimit as sl
        >>> from sgdlimit.runtime.spec import catalogue_text
        >>> values = tomllib.loads(catalogue_text("least-squares"))
        >>> values["axes"] = {"sigma": [0.1, 0.5], "schedule": {"gamma": [0.2, 0.4, 0.8]}}
        >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        ...     found = sl.sweep(values, f"{folder}/noise", backend="numpy")
        ...     [axes.get_xlabel() for axes in found.plot("norm2", x="gamma").axes]
        ['learning rate $\\\\gamma$']
        """
        from sgdlimit.runtime.sweep_picture import sweep_figure

        return sweep_figure(self, names, x=x, y=y, at=at)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one HTML file that needs no other.

        Raises
        ------
        InputError
            Where the file cannot be written, or when no point is finished.
        """
        from sgdlimit.runtime.output import save_page
        from sgdlimit.runtime.sweep_report import page

        save_page(page(self), Path(path))

    def _repr_html_(self) -> str:
        from sgdlimit.runtime.display import sweep_html

        return sweep_html(self)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{d.name}: {len(d)}" for d in self.plan.dimensions)
        told = ", ".join(f"{count} {status}" for status, count in self.counts().items())
        first = [name for name in self.plan.statistics if name in self.names][:1]
        ranges = [f"{name} {low:.4g} … {high:.4g}" for name in first for low, high in [self.extent(name)]]
        return f"Sweep({'; '.join([sizes, told, *ranges, str(self.store.folder)])})"


def load_sweep(store: str | os.PathLike[str]) -> Sweep:
    """The results in a store, finished or not, read with NumPy.

    Parameters
    ----------
    store : path
        The folder that :func:`sgdlimit.runtime.sweeping.sweep` wrote.

    Raises
    ------
    InputError
        For a folder without a sweep, or of another version.
    """
    folder = Path(store)
    return Sweep(Store(folder, stored_plan(folder)))


def read_points(store: Store, name: str, points: NDArray[np.int64]) -> NDArray[Any]:
    """One array at some points; NaN, 0 or empty where a batch is not there."""
    order = np.argsort(points, kind="stable")
    batches, begins = np.unique(points[order] // store.plan.batch, return_index=True)
    parts: list[tuple[NDArray[np.int64], NDArray[Any] | None]] = []
    for batch, members in zip(batches.tolist(), np.split(order, begins[1:]), strict=True):
        found = store.read(batch, name)
        own = points[members] - store.plan.points_of(batch).start
        parts.append((members, found[name][own] if found else None))
    like = next((values for _, values in parts if values is not None), np.zeros(1))
    missing: Any = "" if like.dtype.kind == "U" else np.nan if like.dtype.kind == "f" else 0
    widest = max(
        (values.dtype for _, values in parts if values is not None), key=lambda d: d.itemsize, default=like.dtype
    )
    whole = np.full((len(points), *like.shape[1:]), missing, widest)
    for members, values in parts:
        if values is not None:
            whole[members] = values
    return whole


# ── Names and meanings ──────────────────────────────────────────────────────────────────────────────────────


def meaning(name: str) -> Quantity:
    """Of an array.

    Examples
    --------
    >>> meaning("simulated_norm2_error").long_name, meaning("steps").units
    ('squared norm, standard error of the mean of SGD', '1')
    """
    if name in _MEANINGS:
        return _MEANINGS[name]
    bare = name.removeprefix("simulated_")
    if bare == name:
        return quantity(name)
    known = quantity(bare.removesuffix("_error"))
    of = ", standard error of the mean of SGD" if bare.endswith("_error") else ", mean of SGD"
    return Quantity(known.long_name + of, units=known.units)


def meaning_of(axis: Axis) -> Quantity:
    """Of an axis; one without a name of its own is called by its key."""
    known = quantity(axis.name)
    return Quantity(axis.key.removeprefix("parameters.")) if known.long_name == axis.name else known


def coordinates(plan: Plan) -> dict[str, Column]:
    """Values along the dimensions, by axis; a dimension of several axes is also counted."""
    found: dict[str, Column] = {}
    for dimension in plan.dimensions:
        for axis in dimension.axes:
            found[axis.name] = Column((dimension.name,), np.array(axis.coordinate()), meaning_of(axis))
        if dimension.name not in found:
            found[dimension.name] = Column((dimension.name,), np.arange(len(dimension)), Quantity("place in the list"))
    if plan.times:
        found["time"] = Column(("time",), np.array(plan.times), TIME)
    return found


def attributes(plan: Plan) -> dict[str, str]:
    """Of the whole: what was asked for, with what."""
    simulation = plan.document.get("simulate", {})
    return {
        "title": f"sgdlimit sweep {Path(plan.name).name}",
        "spec": json.dumps(plan.document, ensure_ascii=False),
        "axes": json.dumps(plan.json()["dimensions"], ensure_ascii=False),
        "versions": json.dumps(dict(plan.versions or {})),
        "backend": plan.backend,
        "seed": str(simulation.get("seed", 0)),
    }


def provenances(store: Store) -> list[dict[str, Any]]:
    """Of the batches that there are, each different one once: CPU, backend, hashes of the kernels' binaries."""
    found: dict[str, None] = {}
    for batch in np.flatnonzero(store.finished()).tolist():
        found[str(store.read(batch, "provenance")["provenance"])] = None
    return [json.loads(text) for text in sorted(found)]


__all__ = ["Sweep", "load_sweep"]
