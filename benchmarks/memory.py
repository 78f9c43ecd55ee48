"""Memory of ``simulate``: O(d), whatever the horizon."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.table import Cell, Goal, Table
from benchmarks.timing import last_line, run_python
from sgdlimit.runtime.compiler import find_compiler

STATUS = Path("/proc/self/status")


def measure(
    d: int = 10_000, horizons: Sequence[float] = (0.2, 1.0, 5.0), backends: Sequence[str] = ("c", "numpy")
) -> Table:
    """Peak of a simulation above what the process held before it, each horizon in a fresh process."""
    title = f"memory: simulate, d = {d}, one run, one thread, 11 outputs; peak above what was held before, kB"
    if not STATUS.is_file():
        return Table(title, (), notes=(f"skipped: no {STATUS} here",))
    rows: list[dict[str, Cell]] = []
    for backend in backends:
        if backend == "c" and find_compiler() is None:
            continue
        # the NumPy backend is slower by ten and keeps the same arrays
        for horizon in horizons if backend == "c" else [h / 10 for h in horizons]:
            answer = run_python("-m", "benchmarks.memory", backend, str(d), str(horizon), environment=os.environ)
            row: dict[str, Cell] = {"backend": backend, "horizon": horizon, "steps": round(horizon * d)}
            if answer.returncode == 0:
                peak = json.loads(answer.stdout)
                row |= {"peak": peak, "samples would be": round(horizon * d) * d * 8 // 1024}
            else:
                row["peak"] = f"failed: {last_line(answer.stderr)}"
            rows.append(row)
    goals = []
    for backend in dict.fromkeys(row["backend"] for row in rows):
        peaks = [float(row["peak"]) for row in rows if row["backend"] == backend and not isinstance(row["peak"], str)]
        growth = max(peaks) - peaks[0] if len(peaks) == len(horizons) else float("nan")
        asked = f"{backend}: at {horizons[-1] / horizons[0]:g} times the horizon less than 1 MB more"
        goals.append(Goal(asked, f"{growth:.0f} kB", growth < 1024))
    return Table(title, tuple(rows), tuple(goals))


def peak_of(backend: str, d: int, horizon: float) -> int:
    """Peak resident memory of a simulation above what this process held before, kB."""
    import numpy as np

    from benchmarks.problem import MODEL, PARAMETERS, SCHEDULE, instance
    from sgdlimit.runtime.kernel import load_kernel
    from sgdlimit.runtime.simulator import simulate

    kernel = load_kernel(MODEL, backend=backend)

    def run(dimension: int, until: float) -> None:
        times = np.linspace(0, until, 11)
        simulate(MODEL, instance(dimension), SCHEDULE, PARAMETERS, times=times, runs=1, threads=1, kernel=kernel)

    run(100, 1.0)  # what is imported and allocated once
    forget_peak()
    before = kilobytes("VmRSS")
    run(d, horizon)
    return kilobytes("VmHWM") - before


def forget_peak() -> None:
    """From here on the process's peak is that of what it does now, where the system can do that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def kilobytes(name: str) -> int:
    """A line of the process's status. ``ru_maxrss`` would not do: a child inherits its parent's peak."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(name)


if __name__ == "__main__":
    print(json.dumps(peak_of(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
