"""The command line: which benchmarks, at which size, printed how, written where."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    batches,
    building,
    lumped,
    many,
    memory,
    normals,
    right_hand_sides,
    simulating,
    solving,
    starting,
    stiff,
    sweeping,
    universality,
)
from benchmarks.machine import describe
from benchmarks.table import Table

QUICK_MODELS = (right_hand_sides.PEER, "adversarial-logistic-mixture", "poisson", "tanh-regression")

BENCHMARKS: dict[str, tuple[Callable[[], Table], Callable[[], Table]]] = {
    "solve": (solving.measure, lambda: solving.measure(rounds=2)),
    "small": (solving.measure_small, lambda: solving.measure_small(rounds=10)),
    "stiff": (stiff.measure, lambda: stiff.measure(modes=100, peers=("RK45", "BDF"), rounds=1)),
    "long": (stiff.measure_long, lambda: stiff.measure_long(sizes=(1_000, 10_000), rounds=2)),
    "many": (many.measure, lambda: many.measure(curves=200, rounds=2)),
    "sweep": (sweeping.measure, lambda: sweeping.measure(sizes=(500, 2_000), rounds=1)),
    "batches": (batches.measure, lambda: batches.measure(points=2_000, batches=40, rounds=1)),
    "rhs": (right_hand_sides.measure, lambda: right_hand_sides.measure(QUICK_MODELS, rounds=2)),
    "simulate": (simulating.measure, lambda: simulating.measure(rounds=2, work=1e6)),
    "lumped": (lumped.measure, lambda: lumped.measure(rounds=2, work=5e5)),
    "iterates": (simulating.together, lambda: simulating.together(rounds=2, work=1e6)),
    "threads": (simulating.threads, lambda: simulating.threads(rounds=2, work=1e8)),
    "normals": (lambda: normals.measure(1e8), lambda: normals.measure(1e7)),
    "build": (building.measure, lambda: building.measure(names=(building.NEW_LOSS,))),
    "start": (starting.measure, lambda: starting.measure(rounds=2)),
    "memory": (memory.measure, lambda: memory.measure(horizons=(0.1, 1.0))),
    "universality": (universality.measure, lambda: universality.measure(universality.QUICK, test_samples=20_000)),
}
"""By name: at full size, and with ``--quick``."""

APART = ("universality",)
"""A study of minutes, which is run when it is named."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed and memory, beside peers.")
    parser.add_argument(
        "only", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)}; unless given all but {APART[0]}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and models: half a minute")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="a page of the documentation, too")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.only if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; they are {', '.join(BENCHMARKS)}")

    machine = describe()
    if not chosen.json:
        print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    tables: dict[str, tuple[Table, float]] = {}
    for name in chosen.only or [name for name in BENCHMARKS if name not in APART]:
        begin = time.perf_counter()
        table = BENCHMARKS[name][chosen.quick]()
        tables[name] = table, time.perf_counter() - begin
        if not chosen.json:
            print(f"\n{_told(name, *tables[name])}", flush=True)
    total = sum(seconds for _, seconds in tables.values())
    if chosen.json:
        each = [{"name": name, "seconds": seconds, **table.json()} for name, (table, seconds) in tables.items()]
        print(json.dumps({"machine": machine, "seconds": total, "tables": each}, indent=2))
    else:
        print(f"\nall tables: {total:.0f} s")
    if chosen.write is not None:
        command = " ".join(["python -m benchmarks", *chosen.only, *(["--quick"] if chosen.quick else [])])
        chosen.write.write_text(page(command, machine, tables), encoding="utf-8")
    return 0


def _told(name: str, table: Table, seconds: float) -> str:
    return f"{table.text()}\n  ({name}: {seconds:.1f} s)"


def page(command: str, machine: Mapping[str, str], tables: Mapping[str, tuple[Table, float]]) -> str:
    """What was measured, as a page of the documentation, with the goals that were missed first."""
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    missed = [
        f"- `{name}`: {goal.asked}; measured {goal.measured}"
        for name, (table, _) in tables.items()
        for goal in table.goals
        if not goal.met
    ]
    texts = "\n\n".join(f"```text\n{_told(name, *found)}\n```" for name, found in tables.items())
    total = sum(seconds for _, seconds in tables.values())
    return (
        f"# Benchmarks\n\nWritten by `{command} --write docs/benchmarks.md` in {total:.0f} s.\n\n{facts}\n\n"
        f"## Where we lose\n\n{chr(10).join(missed) or 'No goal is missed.'}\n\n## Tables\n\n{texts}\n"
    )
