"""From the prompt to an answer: a catalogue model whose kernel is in the cache, and what is imported on the way."""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from importlib import resources

from benchmarks.table import Cell, Goal, Table
from benchmarks.timing import last_line, run_python

MODEL = "adversarial-least-squares"
HEAVY = ("sympy", "mpmath", "scipy", "matplotlib", "sklearn", "numpy", "pydantic", "typer", "rich")
LIMIT, COLD_LIMIT = 0.5, 5.0
COLD = 3  # kernels, the largest, that are compiled before an answer

_WATCH = f"""
import atexit, sys
atexit.register(lambda: print(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr))
"""
_SOLVE = """
import sys
sys.argv = ["sgdlimit", "solve", {name!r}]
from sgdlimit.runtime.cli import main
sys.exit(main())
"""
_COMMAND = _SOLVE.format(name=MODEL)
_CALL = f"""
from sgdlimit.runtime.solver import solve
from sgdlimit.runtime.spec import load_spec
solve(**load_spec({MODEL!r}).arguments)
"""
_NUMPY = "import numpy"
PROGRAMS = {
    f"sgdlimit solve {MODEL}": _COMMAND,
    "solve(**load_spec(...).arguments)": _CALL,
    _NUMPY: _NUMPY,
}


def measure(rounds: int = 3, programs: Mapping[str, str] = PROGRAMS, cold: int = COLD) -> Table:
    """Wall seconds of whole processes, after one that fills the cache; of some kernels that first one alone."""
    title = f"start: whole processes, kernel in the cache; wall seconds of {rounds} runs"
    skipped = [name for name, program in programs.items() if program == _COMMAND and not _has_command_line()]
    rows: list[dict[str, Cell]] = []
    with tempfile.TemporaryDirectory(prefix="sgdlimit-benchmark-") as cache:
        environment = {**os.environ, "SGDLIMIT_CACHE": cache}
        for name, program in programs.items():
            if name in skipped:
                continue
            seconds = []
            for _ in range(1 + rounds):
                start = time.perf_counter()
                answer = run_python("-c", _WATCH + program, environment=environment)
                seconds.append(time.perf_counter() - start)
                if answer.returncode != 0:
                    break
            said = answer.stderr.strip().splitlines()
            if answer.returncode != 0:
                reason = " ".join(said[:-1][-1:]) or last_line(answer.stdout)
                rows.append({"program": name, "least": f"failed with {answer.returncode}: {reason}"})
                continue
            rows.append(
                {
                    "program": name,
                    "first": seconds[0],
                    "least": min(seconds[1:]),
                    "median": statistics.median(seconds[1:]),
                    "imports": said[-1] if said else "",
                }
            )
    goals = [_goal(row) for row in rows if row["program"] != _NUMPY]
    if cold and _has_command_line():
        slowest = 0.0
        for name in _largest(cold):
            seconds = _cold(name)
            rows.append({"program": f"sgdlimit solve {name}", "first": seconds})
            slowest = max(slowest, seconds)
        measured = f"{slowest:.1f} s at worst of the {cold} largest kernels"
        goals.append(Goal(f"with an empty cache under {COLD_LIMIT:g} s", measured, slowest < COLD_LIMIT))
    return Table(title, tuple(rows), tuple(goals), tuple(f"skipped: {name} (no command line here)" for name in skipped))


def _largest(count: int) -> list[str]:
    """Catalogue models by the size of the C that a solve compiles."""
    from sgdlimit.runtime.spec import catalogue

    folder = resources.files("sgdlimit.generated")

    def size(name: str) -> int:
        return len(folder.joinpath(name.replace("-", "_"), "limit.c").read_bytes())

    return sorted(catalogue(), key=size, reverse=True)[:count]


def _cold(name: str) -> float:
    """Seconds of a solve with nothing in the cache; endless where it failed."""
    with tempfile.TemporaryDirectory(prefix="sgdlimit-benchmark-") as cache:
        start = time.perf_counter()
        answer = run_python("-c", _SOLVE.format(name=name), environment={**os.environ, "SGDLIMIT_CACHE": cache})
        return time.perf_counter() - start if answer.returncode == 0 else float("inf")


def _has_command_line() -> bool:
    return importlib.util.find_spec("sgdlimit.runtime.cli") is not None


def _goal(row: dict[str, Cell]) -> Goal:
    seconds, imports = row.get("median"), str(row.get("imports", "")).split()
    met = isinstance(seconds, float) and seconds < LIMIT and "sympy" not in imports
    measured = f"{seconds:.2f} s" if isinstance(seconds, float) else str(row["least"])
    return Goal(
        f"{row['program']} under {LIMIT:g} s without SymPy",
        f"{measured}, {'with' if 'sympy' in imports else 'without'} SymPy",
        met,
    )
