"""The folder of a sweep: its plan, a file for each finished batch, at the end the whole as Zarr. All I/O is here.

::

    STORE/sweep.json           the plan: spec, axes, versions (written first)
    STORE/batches/000000012.npz   a finished batch: there whole or not at all
    STORE/sweep.zarr           everything, named dimensions (when the last batch is finished)
    STORE/figure.svg           the picture, which the command line draws then
    STORE/lock                 who writes

A file is written under a temporary name, synchronised, renamed, and its folder synchronised: what is there survives
whatever ends the process or the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.errors import InputError, SgdlimitError
from sgdlimit.runtime.locks import held_by, only_one
from sgdlimit.runtime.room import out_of_room, remedy, unwritten
from sgdlimit.runtime.sweep_plan import STORE_FORMAT, Plan, differences, plan_from_json

PLAN, BATCHES, LOCK, ZARR, FIGURE = "sweep.json", "batches", "lock", "sweep.zarr", "figure.svg"
_BATCH = re.compile(r"(\d{9,})\.npz")
_TEMPORARY = ".tmp"


class SweepStopped(SgdlimitError):
    """A sweep that cannot go on now; everything finished is in its store, and the same command goes on."""


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C during a sweep: says how to go on."""


@dataclass(frozen=True)
class Store:
    """An opened store.

    Parameters
    ----------
    folder : Path
    plan : Plan
    """

    folder: Path
    plan: Plan

    def path(self, batch: int) -> Path:
        """Of a batch's file."""
        return self.folder / BATCHES / f"{batch:09d}.npz"

    def finished(self) -> NDArray[np.bool_]:
        """Which batches there are, a byte each."""
        there = np.zeros(self.plan.batches, dtype=bool)
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder / BATCHES) as entries:
            for entry in entries:
                named = _BATCH.fullmatch(entry.name)
                if named and int(named[1]) < len(there):
                    there[int(named[1])] = True
        return there

    def points_in(self, finished: NDArray[np.bool_]) -> int:
        """How many points those batches hold."""
        count = int(finished.sum()) * self.plan.batch
        last = self.plan.batches - 1
        return count - (self.plan.batch - len(self.plan.points_of(last)) if finished[last] else 0)

    def write(self, batch: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put a batch on disk, durably.

        Raises
        ------
        SweepStopped
            When it cannot be written.
        """
        named: dict[str, Any] = dict(arrays)
        write_durably(self.path(batch), lambda file: np.savez(file, **named))

    def read(self, batch: int, *names: str) -> dict[str, NDArray[Any]]:
        """A batch's arrays, all unless named; empty for a batch that is not there.

        Raises
        ------
        SweepStopped
            For a file that cannot be read, or is damaged.
        """
        path = self.path(batch)
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return {name: file[name] for name in names or file.files if name in file.files}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SweepStopped(
                f"{path}: cannot be read: {error.strerror or error}; see to it, and give the same command again"
            ) from None
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise SweepStopped(
                f"{path}: the file is damaged; delete it, and the same command computes that batch again"
            ) from None


def write_durably(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that it is there whole or not at all, whatever happens.

    Raises
    ------
    SweepStopped
        When it cannot be written: a full disk, say.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            synchronise(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise unfinished(path, error, "every finished batch is kept") from None


def unfinished(path: Path, error: OSError, kept: str) -> SweepStopped:
    """The error of a file of the store that could not be written; says what there is, and how to go on."""
    mend = remedy(error, path.parent) or "see to it"
    return SweepStopped(
        f"{path}: cannot be written: {error.strerror or error}; {kept}; {mend}, and give the same command again"
    )


def synchronise(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ── Opening ─────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def opened(folder: Path, plan: Plan) -> Iterator[Store]:
    """The store of a plan, made if it is not there; while it is open nobody else writes.

    Raises
    ------
    InputError
        When another process writes there, or what is there is not of this plan: says what differs.
    SweepStopped
        When there is no room for it.
    """
    check_folder(folder, plan)
    with contextlib.ExitStack() as held:
        try:
            (folder / BATCHES).mkdir(parents=True, exist_ok=True)
            own = held.enter_context(only_one(folder / LOCK, f"process {os.getpid()} on {socket.gethostname()}"))
        except OSError as error:
            if out_of_room(error):
                raise unfinished(folder, error, "every finished batch is kept") from None
            raise InputError(str(folder), *unwritten(error, folder.parent, "give another store")) from None
        if not own:
            holder = held_by(folder / LOCK) or "another process"
            raise InputError(str(folder), f"{holder} is writing it", "wait for it, or give another store")
        if check_folder(folder, plan) is None:
            write_durably(folder / PLAN, lambda file: file.write(plan.text().encode()))
        _sweep_up(folder)
        yield Store(folder, plan)


def is_whole(folder: Path, plan: Plan) -> bool:
    """Whether a folder, which was checked, holds all of a plan, and as one data set too: nothing is left to write."""
    return (folder / ZARR).is_dir() and (folder / PLAN).exists() and bool(Store(folder, plan).finished().all())


def check_folder(folder: Path, plan: Plan) -> Plan | None:
    """The plan that a folder holds, which is the one given; None for a folder without one.

    Raises
    ------
    InputError
        For another plan, another version, or a folder of something else.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "it is a file, not a folder", "give another store")
    if not (folder / PLAN).exists():
        known = {BATCHES, LOCK}
        orphans = sorted(found.name for found in (folder / BATCHES).glob("*.npz")) if folder.is_dir() else []
        if orphans:
            raise InputError(
                str(folder),
                f"it holds batches but no {PLAN} that says of which sweep they are",
                "put that file back, or give another store",
            )
        foreign = (
            [f.name for f in folder.iterdir() if f.name not in known and not f.name.endswith(_TEMPORARY)]
            if folder.is_dir()
            else []
        )
        if foreign:
            raise InputError(str(folder), f"it holds {min(foreign)}, which is not a sweep's", "give another store")
        return None
    stored = _stored(folder)
    given = plan.json()
    made_by = stored_plan(folder).versions or {}
    for name, version in given["versions"].items():
        there = made_by.get(name)
        if there != version:
            raise InputError(
                str(folder),
                f"it was made by {name} {there}, this is {version}",
                "use that version, or give another store",
            )
    found = differences(stored, given)
    if found:
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        raise InputError(
            str(folder),
            f"it holds another sweep: {'; '.join(found[:3])}{more}",
            "give another store, or put the file back",
        )
    return plan


def stored_plan(folder: Path) -> Plan:
    """The plan of a store.

    Raises
    ------
    InputError
        When there is none, or it is of another version, or damaged.
    """
    stored = _stored(folder)
    try:
        plan = plan_from_json(stored)
        if plan.points < 1 or plan.batch < 1:
            raise ValueError
    except (KeyError, TypeError, AttributeError, ValueError):
        raise InputError(
            str(folder / PLAN),
            "it is not what a sweep wrote",
            "put a copy back, or give another store; the batches are whole",
        ) from None
    return plan


def stored_batch(folder: Path) -> int:
    """How many points a batch of the store has; 0 where there is no store."""
    return stored_plan(folder).batch if (folder / PLAN).exists() else 0


def _stored(folder: Path) -> dict[str, Any]:
    path = folder / PLAN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(str(folder), f"there is no sweep in it, no {PLAN}", "give the folder of a sweep") from None
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("store") != STORE_FORMAT:
        version = found.get("store") if isinstance(found, dict) else "unknown"
        raise InputError(
            str(folder),
            f"its format is {version} and this version reads {STORE_FORMAT}",
            "use the version of sgdlimit that wrote it, or give another store",
        )
    return found


def _sweep_up(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for place in (folder, folder / BATCHES):
        for left in place.glob(f".*{_TEMPORARY}"):
            if left.is_dir():
                import shutil

                shutil.rmtree(left, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    left.unlink()


# ── Looking ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Parameters
    ----------
    finished, points : int
        Points that are on disk, and all.
    running : str
        Who runs it now; empty if nobody does.
    rate : float
        Points a second lately, of who runs it now; NaN when that cannot be said.
    whole : bool
        Whether the whole is there as Zarr.
    """

    finished: int
    points: int
    running: str
    rate: float
    whole: bool

    @property
    def left(self) -> float:
        """Seconds that remain at that rate."""
        return (self.points - self.finished) / self.rate

    def __str__(self) -> str:
        share = 100 * self.finished / self.points
        told = f"{self.finished:,} of {self.points:,} points ({share:.1f} %)"
        if self.finished == self.points:
            if self.whole or not self.running:
                return f"{told}, finished"
            return f"{told}, being made one data set by {self.running}"
        if not self.running:
            return f"{told}, not running; the same command without --status goes on"
        if np.isfinite(self.rate):
            told += f", {self.rate:,.0f} a second, {_duration(self.left)} left"
        return f"{told}, run by {self.running}"


def status(folder: Path) -> Progress:
    """How far the sweep of a store is, running or not; nothing is touched.

    Raises
    ------
    InputError
        For a folder without a sweep.
    """
    plan = stored_plan(folder)
    store = Store(folder, plan)
    finished = store.finished()
    running = held_by(folder / LOCK)
    return Progress(
        finished=store.points_in(finished),
        points=plan.points,
        running=running,
        rate=_rate(store, np.flatnonzero(finished)[-50:]) if running else float("nan"),
        whole=(folder / ZARR).is_dir(),
    )


def _rate(store: Store, batches: NDArray[np.int64]) -> float:
    """From the times of the last files that who holds the lock, since it took it, has written."""
    begun = (store.folder / LOCK).stat().st_mtime
    written = []
    for batch in batches:
        with contextlib.suppress(OSError):
            written.append(store.path(int(batch)).stat().st_mtime)
    since = sorted(when for when in written if when >= begun)
    if not since:
        return float("nan")
    # all were written since the run began, if they are fewer than were looked at
    begin, count = (begun, len(since)) if len(since) < len(batches) or len(since) == 1 else (since[0], len(since) - 1)
    spent = time.time() - begin
    return count * store.plan.batch / spent if spent > 0 else float("nan")


def _duration(seconds: float) -> str:
    """Two units at most.

    Examples
    --------
    >>> _duration(42.2), _duration(4000), _duration(200_000)
    ('42 s', '1 h 6 min', '2 d 7 h')
    """
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
