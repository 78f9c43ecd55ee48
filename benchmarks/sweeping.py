"""``sweep``: time a point from the command to the last file, how much of it is the kernel's, and memory."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.memory import STATUS, forget_peak, kilobytes
from benchmarks.table import Cell, Goal, Table
from benchmarks.timing import last_line, run_python
from sgdlimit.runtime.compiler import find_compiler, no_compiler

RTOL = 1e-6


def values(points: int, modes: int, horizon: float) -> dict[str, Any]:
    """A sweep file over adversary and learning rate, all of it stable."""
    side = round(points**0.5)
    return {
        "model": {"loss": "(r - y)**2/2", "target": {"teacher": "r_star + sigma*xi"}, "adversary": "l2"},
        "parameters": {"sigma": 0.5},
        "instance": {"builder": "power_law", "dimension": modes, "exponent": 0.25},
        "run": {"horizon": horizon, "rtol": RTOL},
        "axes": {
            "epsilon": {"from": 0.1, "to": 1.0, "count": side},
            "schedule": {"gamma": {"from": 0.3, "to": 1.2, "count": side}},
        },
    }


def measure(
    sizes: tuple[int, ...] = (10_000, 100_000), modes: int = 100, horizon: float = 20.0, rounds: int = 2
) -> Table:
    """Each in a process of its own; the least of some rounds."""
    title = f"sweep: adversarial least squares, N = {modes}, t = {horizon:g}, rtol {RTOL:g}, on {os.cpu_count()} cores"
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    rows: list[dict[str, Cell]] = []
    for points in sizes:
        found = [_in_a_process(points, modes, horizon) for _ in range(rounds)]
        best = min(found, key=lambda facts: facts["seconds"])
        rows.append(
            {
                "points": best["points"],
                "ms a point": 1e3 * best["seconds"] / best["points"],
                "CPU ms a point": 1e3 * best["cpu"] / best["points"],
                "kernel, of CPU": max(facts["kernel"] / facts["cpu"] for facts in found),
                "peak MB": best["peak"],
            }
        )
    last = rows[-1]
    grown = float(last["peak MB"]) - float(rows[0]["peak MB"])
    cost, share = float(last["ms a point"]), float(last["kernel, of CPU"])
    goals = (
        Goal("at most 0.6 ms a point, end to end", f"{cost:.3f} ms", cost <= 0.6),
        Goal("at least 80 % in the kernel after start-up", f"{100 * share:.0f} %", share >= 0.8),
        Goal("memory flat in the number of points", f"{grown:+.1f} MB from {sizes[0]} to {sizes[-1]}", grown < 10),
    )
    notes = (
        "ms a point: wall time from the call to the last file, without imports; CPU of all threads, the kernel's own",
        "measured around every call of the compiled function.",
    )
    return Table(title, tuple(rows), goals, (" ".join(notes),))


def _in_a_process(points: int, modes: int, horizon: float) -> dict[str, Any]:
    answer = run_python("-m", "benchmarks.sweeping", str(points), str(modes), str(horizon), environment={**os.environ})
    if answer.returncode:
        raise RuntimeError(last_line(answer.stderr))
    found: dict[str, Any] = json.loads(last_line(answer.stdout))
    return found


def once(points: int, modes: int, horizon: float) -> dict[str, Any]:
    """One sweep, in this process: seconds, CPU seconds, those of the kernel, and the most memory."""
    import warnings

    from sgdlimit.runtime import sweep_batch
    from sgdlimit.runtime.sweep_zarr import missing_for_zarr
    from sgdlimit.runtime.sweeping import read_plan, settled, sweep

    if not missing_for_zarr():  # imported by now, but for this
        import_module("dask.array")
    asked = values(points, modes, horizon)
    plan, sources = settled(*read_plan(asked), "c")
    kernel: Any = sweep_batch._kernel(next(iter(sources.values())))
    spent: dict[int, float] = {}  # by thread
    called = kernel._part("limit").sgdlimit_solve

    def timed(*arguments: Any) -> Any:
        begin = time.thread_time()
        answer = called(*arguments)
        own = threading.get_ident()
        spent[own] = spent.get(own, 0.0) + time.thread_time() - begin
        return answer

    kernel._part("limit").sgdlimit_solve = timed
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        forget_peak()
        begin, cpu = time.perf_counter(), time.process_time()
        sweep(asked, Path(folder) / "store", backend="c")
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    kernel._part("limit").sgdlimit_solve = called
    peak = kilobytes("VmHWM") / 1024 if STATUS.is_file() else float("nan")
    return {"points": plan.points, "seconds": seconds, "cpu": cpu, "kernel": sum(spent.values()), "peak": peak}


if __name__ == "__main__":
    print(json.dumps(once(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
