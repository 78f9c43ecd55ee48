"""``simulate`` in C against a plain NumPy loop of the same algorithm, and against the NumPy backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import MODEL, problem
from benchmarks.table import Cell, Goal, Table
from benchmarks.timing import cpu_seconds
from sgdlimit.codegen.library.problem import Problem
from sgdlimit.codegen.library.simulate import COORDINATES_TOGETHER
from sgdlimit.runtime.compiler import find_compiler, no_compiler
from sgdlimit.runtime.kernel import load_kernel

Array = NDArray[np.float64]

DIMENSIONS = (100, 1000, 10_000)
SHARES = {"C": 5.0, "plain NumPy loop": 1.0, "NumPy backend": 1.0}
"""Coordinate-steps of each, in units of ``work``."""


def plain_loop(p: Problem, seed: int) -> Array:
    """One run of adversarial least squares as one would write it with NumPy; the last iterate."""
    epsilon, tau, sigma = (float(value) for value in p.parameters[0, :, 0])
    d, gamma = p.modes, float(p.step_arguments[0, 0])
    roots, cumulated = np.sqrt(p.eigenvalues), np.cumsum(p.probabilities)[:-1]
    rng = np.random.default_rng(seed)
    X = p.start_mean[0].copy()
    for _ in range(round(p.times[-1] * d)):
        i = int(np.searchsorted(cumulated, rng.random(), side="right"))
        x = rng.standard_normal(d)
        x *= roots[i]
        x += p.means[i]
        r, r_star, n = float(x @ X), float(x @ p.teacher), math.sqrt(X @ X)
        u = r - (r_star + sigma * rng.standard_normal())
        side = 1.0 if u > 0 else -1.0
        slope_r = u + side * epsilon * n
        slope_n = epsilon * side * slope_r
        shrinkage = (slope_n / n if n > 0 else 0.0) + tau
        X *= 1 - gamma / d * shrinkage
        X -= gamma / d * slope_r * x
    return X


def measure(dimensions: Sequence[int] = DIMENSIONS, work: float = 4e6, rounds: int = 5) -> Table:
    """Nanoseconds per coordinate-step, one thread, by CPU time."""
    in_c = load_kernel(MODEL, backend="c") if find_compiler() is not None else None
    in_numpy = load_kernel(MODEL, backend="numpy")
    rows: list[dict[str, Cell]] = []
    ratios = {}
    for d in dimensions:
        runs = {"C": 1, "plain NumPy loop": 1, "NumPy backend": max(1, COORDINATES_TOGETHER // d)}
        # at least a few hundred steps, so that what is done once does not count
        steps = {name: max(300, round(share * work / (d * runs[name]))) for name, share in SHARES.items()}
        problems = {
            name: replace(problem(in_numpy, d, [count / d]), runs=runs[name], seed=1) for name, count in steps.items()
        }
        alternatives: dict[str, Callable[[], object]] = {}
        if in_c is not None:
            alternatives["C"] = partial(in_c.simulate, problems["C"])
        alternatives["plain NumPy loop"] = partial(plain_loop, problems["plain NumPy loop"], seed=1)
        alternatives["NumPy backend"] = partial(in_numpy.simulate, problems["NumPy backend"])
        seconds = cpu_seconds(alternatives, rounds)
        each = {name: 1e9 * seconds[name] / (d * steps[name] * runs[name]) for name in seconds}
        for name, nanoseconds in each.items():
            row: dict[str, Cell] = {
                "d": str(d),
                "simulator": name,
                "runs together": runs[name],
                "steps": steps[name],
                "ns per coordinate-step": nanoseconds,
            }
            if "C" in each:
                row["times C"] = nanoseconds / each["C"]
            rows.append(row)
        if "C" in each:
            ratios[d] = each["plain NumPy loop"] / each["C"]
    title = f"simulate: adversarial least squares, one thread; CPU time, in turns, least of {rounds}"
    if not ratios:
        return Table(title, tuple(rows), notes=(f"C skipped: {no_compiler()}",))
    largest = max(ratios)
    goal = Goal(
        f"at d = {largest}, C at least 4 times faster than the plain loop",
        f"{ratios[largest]:.1f}",
        ratios[largest] >= 4,
    )
    return Table(title, tuple(rows), (goal,))
