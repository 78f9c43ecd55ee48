"""``solve_many``: curves a second, and the time of one beside SciPy's."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.problem import MODEL, instance
from benchmarks.solving import METHODS, MODE_SIZES, Peer, judged, loosest
from benchmarks.table import Cell, Goal, Table
from benchmarks.timing import cpu_seconds
from sgdlimit.codegen.library.problem import Method
from sgdlimit.derive import Constant
from sgdlimit.runtime.batch import grid, solve_many
from sgdlimit.runtime.compiler import find_compiler, no_compiler
from sgdlimit.runtime.kernel import NumpyKernel, load_kernel
from sgdlimit.runtime.problem import build_problem

RTOL = 1e-6
SIGMA = 0.5


def measure(curves: int = 1000, modes: int = 100, horizon: float = 20.0, outputs: int = 201, rounds: int = 5) -> Table:
    """A grid of adversary and learning rate; SciPy at its middle."""
    sizes = f"N = {modes}, t = {horizon:g}, {outputs} outputs, rtol {RTOL:g}"
    title = f"solve_many: {sizes}; wall time for curves a second, CPU time in turns beside SciPy, least of {rounds}"
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    kernel, in_numpy = load_kernel(MODEL, backend="c"), load_kernel(MODEL, backend="numpy")
    assert isinstance(in_numpy, NumpyKernel)
    times, where, side = np.linspace(0, horizon, outputs), instance(modes), round(curves**0.5)
    over = grid(epsilon=np.linspace(0.1, 1.0, side), gamma=np.linspace(0.3, 1.2, side))
    solved = partial(solve_many, MODEL, where, Constant(1.0), {"sigma": SIGMA}, times=times, rtol=RTOL, kernel=kernel)
    cores = os.cpu_count() or 1
    rows: list[dict[str, Cell]] = []
    speed = {}
    for threads in sorted({1, cores}):
        least = float("inf")
        for _ in range(rounds):
            begin = time.perf_counter()
            solved(over=over, threads=threads)
            least = min(least, time.perf_counter() - begin)
        speed[threads] = side**2 / least
        rows.append({"solver": f"solve_many, {threads} threads", "curves/s": speed[threads]})

    middle = {"epsilon": 0.5, "sigma": SIGMA}
    p = build_problem(kernel, MODEL, where, Constant(0.8), middle, times, rtol=RTOL, reference=np.full(modes, np.nan))
    exact = kernel.solve(replace(p, method=Method.EXPLICIT, rtol=1e-12)).statistics[0][1:, judged(kernel)]
    constants = in_numpy.module.constants(p)
    alternatives = {"one": partial(solved, over={"epsilon": [0.5] * 100, "gamma": [0.8] * 100}, threads=1)}
    for method in METHODS:
        found = [
            best
            for size in MODE_SIZES
            if (best := loosest(partial(Peer, in_numpy, p, constants, method), size, exact, RTOL)) is not None
        ]
        if found:
            peer, fact = min(found, key=lambda best: int(best[1]["evaluations"]))
            alternatives[method] = peer.solve
            rows.append({"solver": method, **fact})
    seconds = cpu_seconds(alternatives, rounds)
    seconds["one"] /= 100
    rows.insert(0, {"solver": "a curve of solve_many", "ms": 1e3 * seconds["one"], "times ours": 1.0})
    for row in rows:
        if row["solver"] in seconds:
            own = seconds[str(row["solver"])]
            row |= {"ms": 1e3 * own, "times ours": own / seconds["one"]}
    ratio = min(seconds[method] for method in METHODS if method in seconds) / seconds["one"]
    goals = (
        Goal("at least 2,000 curves a second on two cores", f"{speed[cores]:.0f} on {cores}", speed[cores] >= 2000),
        Goal("a curve at least 15 times faster than the best of SciPy's", f"{ratio:.1f}", ratio >= 15),
    )
    return Table(title, tuple(rows), goals, ("peers as in the table of solve, errors of at most rtol.",))
