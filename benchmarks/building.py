"""From a loss to a loaded kernel, with nothing in the cache: derive, emit, compile, load, a fresh interpreter each."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.table import Cell, Goal, Table
from benchmarks.timing import last_line, run_python
from sgdlimit.runtime.compiler import find_compiler, no_compiler

NEW_LOSS = "a new loss"
EACH, ALL = 5.0, 90.0
STAGES = ("import", "derive", "emit", "flags", "compile", "load", "compile sgd")


def measure(names: Sequence[str] | None = None) -> Table:
    """Seconds of each stage, with an empty cache; a new loss and the catalogue unless told which."""
    title = "build: derive, emit, compile and load, empty cache, fresh interpreter; wall seconds"
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    if names is None:
        from sgdlimit.runtime.spec import catalogue

        names = (NEW_LOSS, *catalogue())
    rows: list[dict[str, Cell]] = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="sgdlimit-benchmark-") as cache:
            start = time.perf_counter()
            answer = run_python("-m", "benchmarks.building", name, environment={**os.environ, "SGDLIMIT_CACHE": cache})
            total = time.perf_counter() - start
        if answer.returncode == 0:
            rows.append({"model": name, **json.loads(answer.stdout), "in all": total})
        else:
            rows.append({"model": name, "in all": f"failed: {last_line(answer.stderr)}"})
    made = {str(row["model"]): _made(row) for row in rows}
    worst = max(made, key=lambda name: made[name])
    goals = [
        Goal(f"derive and emit under {EACH:g} s", f"{made[worst]:.1f} s at worst, {worst}", made[worst] < EACH),
        Goal(f"all of them under {ALL:g} s", f"{sum(made.values()):.0f} s", sum(made.values()) < ALL),
    ]
    return Table(
        title,
        tuple(rows),
        tuple(goals if len(rows) > 1 else goals[:1]),
        (
            "new loss: log(1 + exp(1 - 2*y*r)), y = sign(r* + sigma xi), ℓ2 adversary.",
            "emit: C of all parts. flags: which of them the compiler takes, once a machine. compile: limit, all that a",
            "solve waits for; compile sgd: before the first simulation, of the new loss alone. load: from the cache.",
            _shares(rows),
        ),
    )


def _made(row: dict[str, Cell]) -> float:
    """Seconds in which equations and C were made; endless where that failed."""
    parts = [row.get(stage) for stage in ("derive", "emit")]
    return sum(part if isinstance(part, float) else float("inf") for part in parts)


def _shares(rows: Sequence[dict[str, Cell]]) -> str:
    """Which pass takes more than half of a whole."""
    heavy: dict[str, list[str]] = {}
    for row in rows:
        for stage in STAGES:
            part, whole = row.get(stage), row["in all"]
            if isinstance(part, float) and isinstance(whole, float) and part > whole / 2:
                heavy.setdefault(stage, []).append(str(row["model"]))
    told = "; ".join(f"{stage}: {', '.join(models)}" for stage, models in heavy.items())
    return f"more than half of the whole: {told or 'no pass of any model'}"


def stages(name: str) -> dict[str, float]:
    """Seconds of each stage, in this process."""
    clock = [time.perf_counter()]
    from sgdlimit.derive import Constant, L2Adversary, Loss, Model, Schedule, Teacher
    from sgdlimit.derive.limit import derive
    from sgdlimit.runtime.compiler import load_library
    from sgdlimit.runtime.kernel import emitted

    schedule: Constant | Schedule | None = None
    if name == NEW_LOSS:
        model = Model(Loss("log(1 + exp(1 - 2*y*r))"), Teacher("sign(r_star + sigma*xi)"), L2Adversary())
    else:
        from sgdlimit.runtime.spec import load_equations

        equations = load_equations(name)
        model, schedule = equations.model, equations.schedule
    clock.append(time.perf_counter())
    limit = derive(model)
    clock.append(time.perf_counter())
    source = emitted(limit, "c", schedule)
    clock.append(time.perf_counter())
    compiler = find_compiler()
    clock.append(time.perf_counter())
    assert compiler is not None
    # built, then found in the cache
    for part in ("limit", "limit", "sgd") if name == NEW_LOSS else ("limit", "limit"):
        load_library(source.text(part), compiler)
        clock.append(time.perf_counter())
    return {stage: end - begin for stage, begin, end in zip(STAGES, clock[:-1], clock[1:], strict=False)}


if __name__ == "__main__":
    print(json.dumps(stages(sys.argv[1])))
