"""A finished sweep as one Zarr data set, written slab by slab: memory is flat in the number of points."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sgdlimit.runtime.sweep_result import WORDS, Sweep, attributes, coordinates, meaning, provenances, read_points
from sgdlimit.runtime.sweep_store import ZARR, synchronise, unfinished
from sgdlimit.runtime.tables import Column

_SLAB = 25_000
"""Numbers of an array that are in memory at a time when the whole is written."""


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
        raise unfinished(target, error, f"all {plan.points:,} points are in the batches") from None
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
    kinds = {name: values.dtype for name, values in first.items() if values.ndim}
    kinds["reason"] = _widest(sweep)
    for name, kind in kinds.items():
        tail = first[name].shape[1:]
        shape, chunk = (*plan.shape, *tail), (*chunks, *tail)
        along = (*dims, *(("time",) if tail else ()))
        template[name] = (along, zeros(shape, dtype=kind, chunks=chunk), _attributes_of(name))
        encoding[name] = {"chunks": chunk, "_FillValue": None}
    whole = xarray.Dataset(template, _variables(coordinates(plan)), attributes(plan))
    whole.attrs["provenance"] = json.dumps(provenances(store))
    whole.to_zarr(path, mode="w", compute=False, encoding=encoding, zarr_format=2, consolidated=True)
    for points, region in _slabs(plan.shape, chunks):
        sizes = tuple(part.stop - part.start for part in region.values())
        slab = {}
        for name, kind in kinds.items():
            values = read_points(store, name, np.asarray(points)).astype(kind)
            slab[name] = ((*dims, *(("time",) if values.ndim > 1 else ())), values.reshape(*sizes, *values.shape[1:]))
        part = {dim: region[k] for k, dim in enumerate(dims)}
        if plan.times:
            part["time"] = slice(0, len(plan.times))
        xarray.Dataset(slab).to_zarr(path, region=part, zarr_format=2)


def _widest(sweep: Sweep) -> np.dtype[Any]:
    """Text of one width for all batches' reasons, as Zarr has it."""
    width = 1
    for batch in range(sweep.plan.batches):
        width = max(width, sweep.store.read(batch, "reason")["reason"].dtype.itemsize // 4)
    return np.dtype(f"<U{width}")


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


def _variables(columns: Mapping[str, Column]) -> dict[str, Any]:
    return {name: (c.dims, c.values, c.meaning.attributes) for name, c in columns.items()}


def _attributes_of(name: str) -> dict[str, Any]:
    """Units and meaning of an array; of one that stands for words, which."""
    if name not in WORDS:
        return meaning(name).attributes
    words = [word.replace(" ", "_") for word in WORDS[name]]
    return {**meaning(name).attributes, "flag_values": list(range(len(words))), "flag_meanings": " ".join(words)}


def _imported(name: str) -> Any:
    with contextlib.suppress(ImportError):
        return import_module(name)
    return None
