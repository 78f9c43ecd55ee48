"""Results as tables: named columns over named axes, as xarray, pandas and files take them.

A result says what it holds in one method, ``table()``; everything here is made from what that returns.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.derive.errors import InputError
from sgdlimit.runtime.quantities import Quantity, quantity

FILE_NAMES = {"time": "t"}
"""What an axis is called in the head of a CSV file."""
ARRAY_NAMES = {"time": "times"}
"""And in an NPZ file."""
TAKEN = ("about", *FILE_NAMES.values(), *ARRAY_NAMES.values())
"""Names that files use for what is no statistic."""


@dataclass(frozen=True, eq=False)
class Column:
    """Numbers (or words) over some axes.

    Parameters
    ----------
    dims : tuple of str
        Names of the axes, the slowest first.
    values : array
    meaning : Quantity
    """

    dims: tuple[str, ...]
    values: NDArray[Any]
    meaning: Quantity


def column(name: str, dims: str | Sequence[str], values: ArrayLike) -> Column:
    """A column that means what its name says.

    Examples
    --------
    >>> column("norm2", "time", [0.0, 1.0]).meaning.long_name
    'squared norm'
    """
    return Column((dims,) if isinstance(dims, str) else tuple(dims), np.asarray(values), quantity(name))


@dataclass(frozen=True, eq=False)
class Table:
    """A result as columns over axes.

    Parameters
    ----------
    axes : mapping of str to Column
        What the axes are at: for an axis its own column of the same name, and any others that vary along axes (a
        parameter from point to point).
    columns : mapping of str to Column
        The statistics; the first says which axes a row of the table is of.
    about : mapping of str
        What the result is of, as JSON takes it.

    Raises
    ------
    InputError
        For a statistic that is called as an axis is.

    Examples
    --------
    >>> table = Table({"time": column("time", "time", [0.0, 1.0])}, {"norm2": column("norm2", "time", [0.0, 0.5])}, {})
    >>> {name: values.tolist() for name, values in table.rows().items()}
    {'time': [0.0, 1.0], 'norm2': [0.0, 0.5]}
    """

    axes: Mapping[str, Column]
    columns: Mapping[str, Column]
    about: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        check_names(self.columns, self.axes)

    @property
    def dims(self) -> tuple[str, ...]:
        """The axes that a row is of."""
        return next(iter(self.columns.values())).dims

    def rows(self) -> dict[str, NDArray[Any]]:
        """All columns over axes of a row, flat, the last axis fastest; those over other axes are left out."""
        sizes = dict(zip(self.dims, next(iter(self.columns.values())).values.shape, strict=True))

        def flat(found: Column) -> NDArray[Any]:
            shape = [size if name in found.dims else 1 for name, size in sizes.items()]
            return np.broadcast_to(found.values.reshape(shape), tuple(sizes.values())).ravel()

        axes = {name: flat(found) for name, found in self.axes.items() if set(found.dims) <= set(self.dims)}
        columns = {name: flat(c) for name, c in self.columns.items() if set(c.dims) <= set(self.dims)}
        return axes | columns


def statistics_table(
    values: Mapping[str, ArrayLike],
    axes: Mapping[str, ArrayLike],
    about: Mapping[str, Any],
    *,
    along: Mapping[str, Column] | None = None,
    more: Mapping[str, Column] | None = None,
) -> Table:
    """The table of statistics that are all over the same axes.

    Parameters
    ----------
    values : mapping of str to array
        The statistics.
    axes : mapping of str to array
        The axes of each, in order, and where they are at.
    about : mapping of str
    along : mapping of str to Column, optional
        What else varies along axes.
    more : mapping of str to Column, optional
        Further columns, over other axes.

    Examples
    --------
    >>> table = statistics_table({"norm2": [[0.0, 1.0]]}, {"run": [0], "time": [0.0, 2.0]}, {})
    >>> table.dims, table.rows()["time"].tolist()
    (('run', 'time'), [0.0, 2.0])
    """
    coordinates = {name: column(name, name, at) for name, at in axes.items()} | dict(along or {})
    columns = {name: column(name, tuple(axes), found) for name, found in values.items()} | dict(more or {})
    return Table(coordinates, columns, about)


def check_names(names: Sequence[str] | Mapping[str, Any], axes: Sequence[str] | Mapping[str, Any]) -> None:
    """Refuse a statistic that would share the name of an axis, here or in a file.

    Raises
    ------
    InputError
        Names it.

    Examples
    --------
    >>> check_names(["norm2", "time"], ["time"])
    Traceback (most recent call last):
    sgdlimit.derive.errors.InputError: statistic: 'time' is what an axis is called in a table; choose another name
    """
    for name in names:
        if name in axes or name in TAKEN:
            raise InputError("statistic", f"{name!r} is what an axis is called in a table", "choose another name")


class Tabular:
    """A result that is a table: what xarray, pandas and files get of it."""

    def table(self) -> Table:
        """The result as named columns over named axes."""
        raise NotImplementedError

    def plot(self) -> Any:
        """A Matplotlib ``Figure`` of the result."""
        raise NotImplementedError

    def to_xarray(self) -> Any:
        """An xarray ``Dataset``: dimensions and coordinates by name, long names, symbols and units as attributes.

        The attributes of the data set say what was computed: model, instance, parameters, schedule, seed, versions.

        Raises
        ------
        InputError
            Without xarray; says which extra to install.

        Examples
        --------
        >>> import sgdlimit as sl
        >>> spec = sl.load_spec("least-squares")
        >>> data = sl.solve(**spec.arguments, backend="numpy").to_xarray()  # doctest: +SKIP
        >>> data["norm2"].sel(time=3.0, method="nearest")  # doctest: +SKIP
        """
        return to_xarray(self.table())

    def to_dataframe(self) -> Any:
        """A pandas ``DataFrame``: a row for each time (of each run), a column for each statistic.

        ``frame.attrs`` has what the attributes of :meth:`to_xarray` have.

        Raises
        ------
        InputError
            Without pandas; says which extra to install.
        """
        return to_dataframe(self.table())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file in the format that its ending says.

        ``.csv``: a line for each time (of each run). ``.npz``: arrays by name, and ``about``, the rest as JSON.
        ``.nc``: NetCDF, what :meth:`to_xarray` returns (needs xarray). ``.svg``, ``.pdf``, ``.png``: the picture of
        ``plot()``.

        Raises
        ------
        InputError
            For another ending, or a place that cannot be written; then nothing is.

        Examples
        --------
        >>> import tempfile, pathlib, numpy
        >>> import sgdlimit as sl
        >>> trajectory = sl.solve(**sl.load_spec("least-squares").arguments, backend="numpy")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trajectory.save(pathlib.Path(folder) / "curve.npz")
        ...     bool((numpy.load(pathlib.Path(folder) / "curve.npz")["norm2"] == trajectory["norm2"]).all())
        True
        """
        from sgdlimit.runtime.output import save_result

        save_result(self, Path(path))


# ── Libraries ───────────────────────────────────────────────────────────────────────────────────────────────


def to_xarray(table: Table, where: str = "to_xarray()") -> Any:
    """An xarray ``Dataset`` of a table.

    Raises
    ------
    InputError
        Without xarray; says which extra to install.
    """
    xarray = package("xarray", where)

    def variables(columns: Mapping[str, Column]) -> dict[str, Any]:
        return {name: (c.dims, c.values, c.meaning.attributes) for name, c in columns.items()}

    return xarray.Dataset(variables(table.columns), variables(table.axes), _flat(table.about))


def to_dataframe(table: Table) -> Any:
    """A pandas ``DataFrame`` of a table.

    Raises
    ------
    InputError
        Without pandas; says which extra to install.
    """
    frame = package("pandas", "to_dataframe()").DataFrame(table.rows()).set_index(list(table.dims))
    named = {**table.axes, **table.columns}
    frame.attrs = {**table.about, "columns": {name: named[name].meaning.attributes for name in table.rows()}}
    return frame


def package(name: str, where: str) -> Any:
    """A package that the extra ``array`` brings.

    Raises
    ------
    InputError
        When it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        remedy = "pip install 'sgdlimit[array]'" + (", or write .npz" if where.endswith(".nc") else "")
        what = "NetCDF files need" if where.endswith(".nc") else "it needs"
        raise InputError(where, f"{what} {name}, which is not installed", remedy) from None


def _flat(about: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes: text and numbers as they are, the rest as JSON."""
    return {
        key: value
        if isinstance(value, str | int | float) and not isinstance(value, bool)
        else json.dumps(value, ensure_ascii=False)
        for key, value in about.items()
    }


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────


def write_csv(table: Table, path: Path) -> None:
    """A line for each row, numbers to the last bit."""
    rows = table.rows()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([FILE_NAMES.get(name, name) for name in rows])
        writer.writerows(zip(*(_cells(values) for values in rows.values()), strict=True))


def _cells(values: NDArray[Any]) -> list[Any]:
    listed: list[Any] = values.tolist()
    return [f"{value:.17g}" for value in listed] if values.dtype.kind == "f" else listed


def write_npz(table: Table, path: Path) -> None:
    """Arrays by name; ``about`` is JSON: what the result is of, and of each array its axes and meaning."""
    named = {**table.axes, **table.columns}
    told = {ARRAY_NAMES.get(name, name): {"axes": c.dims, **c.meaning.attributes} for name, c in named.items()}
    about = json.dumps({**table.about, "arrays": told}, ensure_ascii=False)
    arrays: dict[str, Any] = {ARRAY_NAMES.get(name, name): c.values for name, c in named.items()}
    np.savez(path, about=np.array(about), **arrays)


def write_netcdf(table: Table, path: Path, where: str) -> None:
    """NetCDF 3 with 64-bit offsets, by SciPy through xarray: the same file whatever else is installed."""
    data = to_xarray(table, where)
    # integers of this format have 32 bits
    data.attrs = {k: str(v) if isinstance(v, int) and abs(v) >= 2**31 else v for k, v in data.attrs.items()}
    data.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")
