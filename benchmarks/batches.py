"""``sweep`` on threads and on a Dask cluster of one machine: the time of both, and what a batch costs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.sweeping import RTOL, values
from benchmarks.table import Cell, Goal, Table
from sgdlimit.runtime.compiler import find_compiler, no_compiler
from sgdlimit.runtime.sweep_plan import SECONDS_A_BATCH
from sgdlimit.runtime.sweeping import sweep

WORKERS = 2


def measure(
    points: int = 40_000, batches: int = 150, modes: int = 100, horizon: float = 20.0, rounds: int = 2
) -> Table:
    """In turns; the least of some rounds."""
    title = f"sweep on {WORKERS} threads and on {WORKERS} Dask workers: N = {modes}, t = {horizon:g}, rtol {RTOL:g}"
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    where: dict[str, dict[str, Any]] = {"threads": {"threads": WORKERS}}
    with contextlib.ExitStack() as held:
        if importlib.util.find_spec("distributed") is not None:
            where["Dask"] = {"scheduler": held.enter_context(cluster(WORKERS))}
        for on in where.values():  # everything compiled, loaded and imported
            once(400, modes, horizon, 10, on)
        batches_of = dict.fromkeys(where, 0)
        whole = dict.fromkeys(where, float("inf"))
        apart, together = dict(whole), dict(whole)
        for _ in range(rounds):
            for name, on in where.items():
                seconds, batches_of[name] = once(points, modes, horizon, 0, on)
                whole[name] = min(whole[name], seconds)
                # few points, so that batches are nearly all that differs
                apart[name] = min(apart[name], once(batches, modes, horizon, 1, on)[0])
                together[name] = min(together[name], once(batches, modes, horizon, batches // WORKERS, on)[0])
    rows: list[dict[str, Cell]] = []
    for name in where:
        own = 1e3 * (apart[name] - together[name]) / (batches - WORKERS)
        rows.append(
            {
                "on": name,
                "points": points,
                "seconds": whole[name],
                "ms a batch besides": own,
                "batches": batches_of[name],
                "of the seconds": 1e-3 * own * batches_of[name] / whole[name],
            }
        )
    notes = [
        f"ms a batch: wall time, {WORKERS} at a time; a batch is made to be {SECONDS_A_BATCH:g} s of work of a core."
    ]
    if "Dask" not in where:
        return Table(title, tuple(rows), notes=(*notes, "skipped: Dask distributed is not installed"))
    ratio = whole["Dask"] / whole["threads"]
    goal = Goal("two Dask workers within 1.3 of the local time", f"{ratio:.2f}", ratio <= 1.3)
    return Table(title, tuple(rows), (goal,), tuple(notes))


def once(points: int, modes: int, horizon: float, batch: int, on: dict[str, Any]) -> tuple[float, int]:
    """Seconds of one sweep, from the call to the last file, and its batches."""
    asked = values(points, modes, horizon)
    if batch:
        asked["sweep"] = {"batch": batch}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        begin = time.perf_counter()
        found = sweep(asked, Path(folder) / "store", backend="c", **on)
        return time.perf_counter() - begin, found.plan.batches


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[str]:
    """A Dask scheduler and workers of one thread each on this machine; its address."""
    from importlib import import_module

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    commands = [("scheduler", "--host", "127.0.0.1", "--port", port)]
    commands += [("worker", address, "--nthreads", "1", "--host", "127.0.0.1", "--no-nanny")] * workers
    with tempfile.TemporaryDirectory() as folder:
        children = [
            subprocess.Popen(
                [sys.executable, "-m", "dask", *command, "--no-dashboard"],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ},
            )
            for command in commands
        ]
        try:
            client = import_module("distributed").Client(address, timeout=60, set_as_default=False)
            client.wait_for_workers(workers, timeout=60)
            client.close()
            yield address
        finally:
            for child in reversed(children):
                child.kill()
                child.wait()
