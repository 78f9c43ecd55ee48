"""A sweep's results: arrays over its axes, from the batches with NumPy alone, and as Zarr through xarray."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.errors import InputError
from sgdlimit.runtime.picture import LABELS
from sgdlimit.runtime.sweep_plan import STATUSES, VERDICTS, Plan
from sgdlimit.runtime.sweep_store import ZARR, Store, SweepStopped, stored_plan, synchronise

_SLAB = 250_000
"""Numbers of an array that are in memory at a time when the whole is written."""

_CODED = {"status": STATUSES, "simulated_status": STATUSES, "verdict": VERDICTS}
_MEANINGS = {
    "status": "what became of the point",
    "simulated_status": "what became of the simulation",
    "verdict": "of the verification",
    "ended": "last time, or that of the trouble",
    "steps": "accepted steps of the integrator",
}


@dataclass(frozen=True, eq=False)
class Sweep:
    """Results of a sweep, finished or not: ``sweep["adversarial_risk"]`` is an array over its dimensions.

    Each array is read when it is asked for.

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
        if name not in self.names:
            raise InputError("sweep", f"there is no {name!r} in it", f"there are {', '.join(self.names)}")
        flat = read_range(self.store, name, range(self.plan.points))
        shaped = flat.reshape(*self.plan.shape, *flat.shape[1:])
        order = [self.plan.working_order.index(dimension) for dimension in self.plan.dimensions]
        return np.transpose(shaped, (*order, *range(len(order), shaped.ndim)))

    @property
    def status(self) -> NDArray[np.str_]:
        """What became of each point: ``"done"``, ``"diverged"``, …; ``"not yet"`` where a sweep is not finished."""
        if not self.names:
            return np.full([len(d) for d in self.plan.dimensions], STATUSES[0])
        told: NDArray[np.str_] = np.array(STATUSES)[self["status"]]
        return told

    def counts(self) -> dict[str, int]:
        """How many points became what."""
        counts = np.zeros(len(STATUSES), dtype=np.int64)
        for batch in range(self.plan.batches):
            found = self.store.read(batch, "status")
            if found:
                counts += np.bincount(found["status"], minlength=len(STATUSES))
        counts[0] = self.plan.points - counts.sum()
        return {name: int(count) for name, count in zip(STATUSES, counts, strict=True) if count}

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

    def to_xarray(self) -> Any:
        """An xarray data set: dimensions, coordinates, units, the spec and the versions as attributes.

        Raises
        ------
        InputError
            Without xarray.
        """
        xarray = _imported("xarray")
        if xarray is None:
            raise InputError("to_xarray", "it needs xarray, which is not installed", "pip install 'sgdlimit[sweep]'")
        dims = tuple(d.name for d in self.plan.dimensions)
        variables = {}
        for name in self.names:
            values = self[name]
            variables[name] = ((*dims, *(("time",) if values.ndim > len(dims) else ())), values, attributes_of(name))
        return xarray.Dataset(variables, _coordinates(self.plan), attributes(self.plan))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{d.name}: {len(d)}" for d in self.plan.dimensions)
        told = ", ".join(f"{count} {status}" for status, count in self.counts().items())
        return f"Sweep({sizes}; {told}; {self.store.folder})"


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


def read_range(store: Store, name: str, points: range) -> NDArray[Any]:
    """One array at neighbouring points; NaN, 0 or empty where a batch is not there."""
    plan, parts = store.plan, []
    for batch in range(points.start // plan.batch, (points.stop - 1) // plan.batch + 1):
        own = plan.points_of(batch)
        part = slice(max(points.start, own.start) - own.start, min(points.stop, own.stop) - own.start)
        found = store.read(batch, name)
        parts.append((found[name][part] if found else None, part.stop - part.start))
    like = next((part for part, _ in parts if part is not None), np.zeros(1))
    missing: Any = "" if like.dtype.kind == "U" else np.nan if like.dtype.kind == "f" else 0
    return np.concatenate(
        [np.full((count, *like.shape[1:]), missing, like.dtype) if part is None else part for part, count in parts]
    )


# ── Zarr ────────────────────────────────────────────────────────────────────────────────────────────────────


def missing_for_zarr() -> str:
    """Which packages the whole as Zarr would need and are not there."""
    return ", ".join(name for name in ("xarray", "zarr", "dask") if _imported(name) is None)


def consolidate(sweep: Sweep) -> Path:
    """Write a finished sweep as one Zarr data set, slab by slab; nothing is done where it is there already.

    The dimensions are in working order: the one that varies fastest in the batches is the last.

    Raises
    ------
    SweepStopped
        When it cannot be written.
    """
    store, plan = sweep.store, sweep.plan
    target = store.folder / ZARR
    if target.is_dir():
        return target
    temporary = store.folder / f".{ZARR}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _write_zarr(sweep, temporary)
        for folder, _, files in os.walk(temporary):
            for name in files:
                descriptor = os.open(Path(folder) / name, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
            synchronise(Path(folder))
        temporary.rename(target)
        synchronise(store.folder)
    except OSError as error:
        raise SweepStopped(
            f"{target}: cannot be written: {error.strerror or error}; all {plan.points:,} points are in the batches, "
            "make room and give the same command again"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _write_zarr(sweep: Sweep, path: Path) -> None:
    xarray, zeros = import_module("xarray"), import_module("dask.array").zeros
    store, plan = sweep.store, sweep.plan
    dims = tuple(dimension.name for dimension in plan.working_order)
    first = store.read(0)
    width = max([math.prod(values.shape[1:]) for name, values in first.items() if values.ndim], default=1)
    chunks = _chunks(plan.shape, max(1, _SLAB // width))
    template, encoding = {}, {}
    numeric = [name for name, values in first.items() if values.ndim and values.dtype.kind != "U"]
    for name in numeric:
        tail = first[name].shape[1:]
        shape, chunk = (*plan.shape, *tail), (*chunks, *tail)
        along = (*dims, *(("time",) if tail else ()))
        template[name] = (along, zeros(shape, dtype=first[name].dtype, chunks=chunk), attributes_of(name))
        encoding[name] = {"chunks": chunk, "_FillValue": None}
    whole = xarray.Dataset(template, _coordinates(plan), attributes(plan))
    whole.attrs["provenance"] = json.dumps(_provenances(store))
    whole.attrs["reasons"] = json.dumps(sweep.reasons(20))
    whole.to_zarr(path, mode="w", compute=False, encoding=encoding, zarr_format=2, consolidated=True)
    for points, region in _slabs(plan.shape, chunks):
        sizes = tuple(part.stop - part.start for part in region.values())
        slab = {}
        for name in numeric:
            values = read_range(store, name, points)
            slab[name] = ((*dims, *(("time",) if values.ndim > 1 else ())), values.reshape(*sizes, *values.shape[1:]))
        part = {dim: region[k] for k, dim in enumerate(dims)}
        if plan.times:
            part["time"] = slice(0, len(plan.times))
        xarray.Dataset(slab).to_zarr(path, region=part, zarr_format=2)


def _chunks(shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """The largest block of neighbours that a slab may hold: whole in the last dimensions, 1 in the first.

    Examples
    --------
    >>> _chunks((10, 1000, 500), 200_000), _chunks((3, 4), 1000)
    ((1, 400, 500), (3, 4))
    """
    chunks: list[int] = []
    for length in reversed(shape):
        chunks.append(max(1, min(length, most)))
        most //= length
    return tuple(reversed(chunks))


def _slabs(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[range, dict[int, slice]]]:
    """The blocks in turn: their points, and their places along the dimensions."""
    counts = [-(-length // chunk) for length, chunk in zip(shape, chunks, strict=True)]
    for block in np.ndindex(*counts):
        region = {
            k: slice(b * chunks[k], min(shape[k], (b + 1) * chunks[k])) for k, b in enumerate(int(b) for b in block)
        }
        start = int(np.ravel_multi_index([part.start for part in region.values()], shape))
        count = math.prod(part.stop - part.start for part in region.values())
        yield range(start, start + count), region


def _coordinates(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for dimension in plan.dimensions:
        for axis in dimension.axes:
            found[axis.name] = (dimension.name, np.array(axis.coordinate()), {"long_name": axis.key, "units": "1"})
    if plan.times:
        found["time"] = ("time", np.array(plan.times), {"long_name": "time t = k/d", "units": "samples/dimension"})
    return found


def attributes_of(name: str) -> dict[str, Any]:
    """Units and meaning of an array.

    Examples
    --------
    >>> attributes_of("adversarial_risk")
    {'long_name': 'adversarial risk', 'units': '1'}
    """
    if name in _CODED:
        words = [word.replace(" ", "_") for word in _CODED[name]]
        codes = list(range(len(words)))
        return {"long_name": _MEANINGS[name], "flag_values": codes, "flag_meanings": " ".join(words)}
    bare = name.removeprefix("simulated_").removesuffix("_error") if name.startswith("simulated_") else name
    label = LABELS.get(bare, _MEANINGS.get(bare, bare.replace("_", " ")))
    if bare != name:
        label += ", standard error of the mean of SGD" if name.endswith("_error") else ", mean of SGD"
    return {"long_name": label, "units": "samples/dimension" if name == "ended" else "1"}


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


def _provenances(store: Store) -> list[dict[str, Any]]:
    """Of the batches, each different one once."""
    found: dict[str, None] = {}
    for batch in range(store.plan.batches):
        found[str(store.read(batch, "provenance")["provenance"])] = None
    return [json.loads(text) for text in sorted(found)]


def _imported(name: str) -> Any:
    with contextlib.suppress(ImportError):
        return import_module(name)
    return None


__all__ = ["Sweep", "SweepStopped", "attributes", "attributes_of", "consolidate", "load_sweep", "missing_for_zarr"]
