"""``sweep``: limits over a grid of parameters, step sizes and instances; durable, and resumed by the same command."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sgdlimit.derive.errors import InputError
from sgdlimit.derive.model import Greedy, Polyak, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.kernel import Kernel, kernel_source, kernel_text, load_kernel
from sgdlimit.runtime.kernel import Source as KernelSource
from sgdlimit.runtime.problem import build_problem, check_counts
from sgdlimit.runtime.schema import Place, nearest
from sgdlimit.runtime.spec import Spec, override, parsed_toml
from sgdlimit.runtime.sweep_batch import data_hashes, kinds, seconds_a_point, seconds_beside, versions
from sgdlimit.runtime.sweep_plan import Plan, batch_size, check_names, check_size, plan_of
from sgdlimit.runtime.sweep_result import Sweep, load_sweep
from sgdlimit.runtime.sweep_run import cluster, each_finished, local
from sgdlimit.runtime.sweep_store import Store, SweepInterrupted, check_folder, is_whole, opened, stored_batch
from sgdlimit.runtime.sweep_zarr import consolidate, missing_for_zarr
from sgdlimit.runtime.trajectory import available

Source = str | os.PathLike[str] | Mapping[str, Any]


class UnconsolidatedWarning(UserWarning):
    """The batches are there, the whole as Zarr is not: packages are missing."""


def sweep(
    source: Source,
    store: str | os.PathLike[str] | None = None,
    *,
    scheduler: str | None = None,
    threads: int | None = None,
    backend: str = "auto",
    overrides: Mapping[str, Any] | None = None,
    yes: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Solve the limit at every point of a sweep file, in batches, each on disk as soon as it is finished.

    The file is a spec file (:mod:`sgdlimit.runtime.spec`) with axes (``docs/sweeps.md``). Killed at any instant, the
    same call goes on where it stopped. A point that diverges or cannot be is a result with its reason.

    Parameters
    ----------
    source : path or mapping
        The sweep file, or its values.
    store : path, optional
        The folder of results; the file's name with ``.sweep`` in the current folder unless given.
    scheduler : str, optional
        Address of a Dask scheduler, ``"tcp://host:8786"``: its workers run the batches. This machine's threads do
        unless given.
    threads : int, optional
        Of this machine; all cores unless given.
    backend : {"auto", "c", "numpy"}
    overrides : mapping of str, optional
        Values to use in place of the file's, by dotted key.
    yes : bool
        More than ten million points are meant.
    progress : callable, optional
        Called with the numbers of points finished and of all.

    Returns
    -------
    Sweep
        Arrays over the axes, read when asked for.

    Raises
    ------
    SpecError, InputError
        For a file that says something that cannot be (its first point is tried), a store of something else, a
        scheduler that does not answer.
    SweepStopped
        When the disk is full or the scheduler is gone: what is finished is kept.

    Examples
    --------
    >>> import tempfile, tomllib
    >>> from sgdlimit.runtime.spec import catalogue_text
    >>> values = tomllib.loads(catalogue_text("least-squares"))
    >>> values["axes"] = {"sigma": [0.1, 0.5], "schedule": {"gamma": [0.2, 0.8, 9.0]}}
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
    ...     found = sweep(values, f"{folder}/noise", backend="numpy")
    ...     found.dims, found["adversarial_risk"].shape, found.status[0].tolist()
    (('sigma', 'gamma'), (2, 3), ['done', 'done', 'diverged'])
    """
    if scheduler is not None and not scheduler.strip():
        raise InputError("--scheduler", "the address is empty", "write tcp://host:8786, or leave it out")
    plan, folder = read_plan(source, overrides)
    check_size(plan, yes)
    check_counts(0, threads=threads)
    place = Path(f"{Path(plan.name).stem}.sweep") if store is None else Path(store)
    plan, sources = settled(plan, folder, backend, store=place)
    check_folder(place, plan)
    if is_whole(place, plan):  # nothing is to be written, and perhaps nothing can be
        return Sweep(Store(place, plan))
    text = plan.text()
    with opened(place, plan) as held:
        finished = held.finished()
        done = held.points_in(finished)
        if progress:
            progress(done, plan.points)
        try:
            if not finished.all():
                where = (
                    cluster(text, sources, folder, scheduler) if scheduler else local(text, sources, folder, threads)
                )
                with where as workers:
                    missing = (int(batch) for batch in range(plan.batches) if not finished[batch])
                    for batch, arrays in each_finished(workers, missing):
                        held.write(batch, arrays)
                        done += len(plan.points_of(batch))
                        if progress:
                            progress(done, plan.points)
            result = Sweep(held)
            lacking = missing_for_zarr()
            if lacking:
                warnings.warn(
                    f"{place}: all {plan.points:,} points are in its batches, which sgdlimit.load_sweep reads; "
                    f"for one Zarr data set pip install 'sgdlimit[sweep]' (there is no {lacking}) and give the same "
                    "command again",
                    UnconsolidatedWarning,
                    stacklevel=2,
                )
            else:
                consolidate(result)
        except KeyboardInterrupt:
            raise SweepInterrupted(
                f"interrupted: {done:,} of {plan.points:,} points are in {place}; the same command goes on"
            ) from None
    return result


# ── The plan ────────────────────────────────────────────────────────────────────────────────────────────────


def read_plan(source: Source, overrides: Mapping[str, Any] | None = None) -> tuple[Plan, str]:
    """The plan of a sweep file, and the folder in which it looks for data.

    Raises
    ------
    SpecError
        For a file that cannot be read or does not hold what it must.
    """
    if isinstance(source, Mapping):
        name, folder, values = "sweep", Path(), dict(source)
    else:
        path = Path(source)
        name, folder = str(path), path.parent
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise Place(name).error("there is no such file", "docs/sweeps.md shows one") from None
        except OSError as error:
            raise Place(name).error(f"cannot be read: {error.strerror}") from None
        values = parsed_toml(content, Place(name))
    for key, value in (overrides or {}).items():
        override(values, key, value, Place(name))
    return plan_of(values, name), str(folder.resolve())


def _parts(plan: Plan) -> tuple[str, ...]:
    """Of a kernel's files, those that the points of a plan call."""
    simulated = ("sgd",) if plan.simulate or plan.verify else ()
    return ("equations", "limit", *simulated, *(("lumps",) if plan.verify else ()))


def settled(plan: Plan, folder: str, backend: str, store: Path | None = None) -> tuple[Plan, dict[str, KernelSource]]:
    """The plan with all that it leaves open, and the sources of its kernels by their canonical texts.

    The first point of every kind is checked as `solve` would: a file that is wrong everywhere is refused before the
    work. The size of a batch, unless the file gives it, is that of the store where there is one; else it is chosen
    from the time that some points take.
    """
    sources: dict[str, KernelSource] = {}
    statistics: dict[str, None] = {}
    beside, target = 0.0, ""
    for spec in kinds(plan, folder):
        kernel = load_kernel(spec.model, statistics=spec.statistics, schedule=spec.schedule, backend=backend)
        target = kernel.backend
        sources[kernel_text(spec.model, spec.statistics, spec.schedule)] = kernel_source(
            spec.model, spec.statistics, spec.schedule, target
        ).only(*_parts(plan))
        _check(plan, spec, kernel)
        follows = _follows_an_optimum(spec.schedule)
        listed = [name for _, name in available(kernel.statistics, spec.instance, has_optimum=follows)]
        statistics.update(dict.fromkeys([*listed, *(["excess_risk"] if follows else [])]))
        beside = max(beside, seconds_beside(spec, plan))
    for name in plan.statistics:
        if name not in statistics:
            raise (
                Place(plan.name)
                .at("sweep", "statistics")
                .error(f"there is no statistic {name!r}", nearest(name, list(statistics), "they are"))
            )
    check_names(plan, list(statistics))
    plan = replace(
        plan,
        statistics=plan.statistics or tuple(statistics),
        backend=target,
        versions=versions(),
        data=data_hashes(plan, folder),
    )
    if not plan.batch:
        size = (stored_batch(store) if store else 0) or batch_size(
            plan.points, beside + seconds_a_point(plan, sources, folder), len(plan.times or (1,))
        )
        plan = replace(plan, batch=size)
    return plan, sources


def _check(plan: Plan, spec: Spec, kernel: Kernel) -> None:
    """A point's input, as the solver reads it."""
    at = Place(plan.name)
    if plan.simulate and spec.instance.dimension == float("inf"):
        raise at.at("sweep", "simulate").error("SGD has no infinite dimension", "give a finite [instance] dimension")
    with at.of_arguments():
        if isinstance(spec.instance, DenseInstance):
            return
        times = np.array(spec.times or (spec.horizon,))
        build_problem(
            kernel,
            spec.model,
            spec.instance,
            spec.schedule,
            spec.parameters,
            times,
            rtol=spec.rtol,
            reference=np.zeros(spec.instance.modes),
        )


def _follows_an_optimum(schedule: StepSize) -> bool:
    return isinstance(schedule, Polyak) or (isinstance(schedule, Greedy) and schedule.statistic == "optimum_distance2")


def summary(result: Sweep, seconds: float | None = None) -> str:
    """What became of the points, in a line or a few."""
    time = "" if seconds is None else f"; {seconds:.3g} s"
    lines = [f"{result.store.folder}: {result.plan.points:,} points: {_told(result.counts())}{time}"]
    for name, what in (("simulated_status", "simulated"), ("verdict", "verified")):
        if name in result.names:
            lines.append(f"  {what}: {_told(result.counts(name))}")
    return "\n".join([*lines, *(f"  {reason}" for reason in result.reasons())])


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {word}" for word, count in counts.items())


__all__ = ["Sweep", "load_sweep", "read_plan", "settled", "summary", "sweep"]
