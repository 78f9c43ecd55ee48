"""The command line: which benchmarks, at which size, printed how."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed and memory, beside peers.")
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)}; all unless given")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and models: half a minute")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.only if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; they are {', '.join(BENCHMARKS)}")

    machine = describe()
    if not chosen.json:
        print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    tables = []
    for name in chosen.only or BENCHMARKS:
        table = BENCHMARKS[name][chosen.quick]()
        tables.append(table)
        if not chosen.json:
            print(f"\n{table.text()}", flush=True)
    if chosen.json:
        print(json.dumps({"machine": machine, "tables": [table.json() for table in tables]}, indent=2))
    return 0
