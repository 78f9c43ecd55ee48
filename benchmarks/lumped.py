"""``simulate_lumped`` in C: what a step costs by the number of blocks of equal eigenvalues, whatever the dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.problem import MODEL, PARAMETERS, SCHEDULE
from benchmarks.table import Cell, Goal, Table
from benchmarks.timing import cpu_seconds
from sgdlimit.codegen.library.problem import LANES
from sgdlimit.runtime.compiler import find_compiler, no_compiler
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import load_kernel
from sgdlimit.runtime.problem import build_problem

BLOCKS = (1, 4, 16, 64)
DIMENSION = 64 * 15_625  # a million, shared out evenly among any of these numbers of blocks
GOAL = 10.0
"""Nanoseconds per step, block and replica from four blocks on."""


def blocks(count: int, dimension: int) -> Instance:
    """Equal shares of the dimension, each with its part of the teacher, and the start beside it."""
    return Instance(
        probabilities=[1],
        eigenvalues=np.linspace(0.5, 1.5, count)[np.newaxis],
        means=0,
        teacher=np.full(count, count**-0.5),
        start=0,
    ).lumped(dimension)


def measure(counts: Sequence[int] = BLOCKS, work: float = 2e6, rounds: int = 5) -> Table:
    """Nanoseconds per step and replica, of eight that advance together, by CPU time; ``work`` mode-steps."""
    title = f"simulate_lumped: adversarial least squares, d = {DIMENSION}, one thread; CPU time, least of {rounds}"
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    kernel = load_kernel(MODEL, backend="c")
    rows: list[dict[str, Cell]] = []
    slowest = 0.0
    for count in counts:
        instance = blocks(count, DIMENSION)
        steps = max(300, round(work / (instance.modes + 2)))
        times = np.array([steps / DIMENSION])
        problem = replace(build_problem(kernel, MODEL, instance, SCHEDULE, PARAMETERS, times), runs=LANES)
        seconds = cpu_seconds({"C": partial(kernel.simulate_lumped, problem)}, rounds)["C"]
        each = 1e9 * seconds / (steps * LANES)
        rows.append(
            {
                "blocks": count,
                "modes": instance.modes,
                "ns per step": each,
                "per block": each / count,
                "8 runs to t = 1, s": 1e-9 * each * LANES * DIMENSION,
            }
        )
        if count >= 4:
            slowest = max(slowest, each / count)
    goals = () if not slowest else (Goal(f"at most {GOAL:g} ns per step and block", f"{slowest:.1f}", slowest <= GOAL),)
    note = "ns per step: of one replica, of eight in the lanes. A block has two modes here, the teacher's and the rest."
    return Table(title, tuple(rows), goals, (note,))
