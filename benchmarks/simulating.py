"""``simulate`` in C beside its floor (normals alone, the sweep without them) and beside NumPy, Numba and JAX."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.peers import installed
from benchmarks.problem import MODEL, problem
from benchmarks.table import Cell, Goal, Table
from benchmarks.timing import cpu_seconds
from sgdlimit.codegen.library.problem import Problem
from sgdlimit.codegen.library.simulate import COORDINATES_TOGETHER
from sgdlimit.runtime.compiler import Compiler, find_compiler, load_library, no_compiler
from sgdlimit.runtime.kernel import Kernel, Source, compiled, kernel_source, load_kernel

DIMENSIONS = (100, 1000, 10_000, 100_000)
OURS = "C, float64"
SINGLE = "C, float32"
NUMPY = "NumPy backend"
NORMALS = "floor: normals alone"
SWEEP = "floor: sweep without normals"

# Asked for, as the other's time over ours.
RATIOS: dict[str, dict[int, float]] = {
    "plain NumPy loop": {1000: 20.0, 10_000: 12.0, 100_000: 12.0},
    "numba, Generator": dict.fromkeys(DIMENSIONS[1:], 4.0),
    "JAX scan, float64": dict.fromkeys(DIMENSIONS[1:], 15.0),
}
FLOOR, SINGLE_GAIN = 1.3, 1.7

_NORMALS = """
double draw_alone(uint64_t seed, int64_t blocks);
double draw_alone(uint64_t seed, int64_t blocks) {
  generator g;
  seed_generator(&g, seed, 0, COORDINATES);
  reals sum[VECTORS] = {{0}};
  double total[LANES] = {0};
  reals radius2[DRAWS * VECTORS];
  words angles[DRAWS * VECTORS];
  for (int64_t block = 0; block < blocks; block += DRAWS) {
    draw_polar(&g, DRAWS, radius2, angles);
    for (int i = 0; i < DRAWS * VECTORS; i += VECTORS)
      for (int v = 0; v < VECTORS; v++) {
        reals z_j, z_k;
        turn(radius2[i + v], angles[i + v], &z_j, &z_k);
        sum[v] += z_j * z_k;
      }
  }
  add_lanes(total, sum);
  return sum_of_lanes(total);
}
"""
_DRAWN = "draw_polar(&g, (int)((end - begin) / BLOCK), radius2, angles);"
_TURNED = "turn(radius2[i], angles[i], &z_j, &z_k);"


def without_normals(source: str) -> str:
    """A file of SGD whose sweep takes for normals what it has in its registers."""
    assert source.count(_DRAWN) == source.count(_TURNED) == 1, "the sweep alone draws by the chunk"
    return source.replace(_DRAWN, "").replace(_TURNED, "z_j = load(root + j), z_k = load(root + k);")


def floors(source: Source, compiler: Compiler, p: Problem) -> dict[str, Callable[[], object]]:
    """What a step cannot do without, apart."""
    sgd = source.text("sgd")
    draw = load_library(sgd + _NORMALS, compiler).draw_alone
    draw.argtypes, draw.restype = [ctypes.c_uint64, ctypes.c_int64], ctypes.c_double
    steps = round(p.times[-1] * p.modes)
    still = compiled(replace(source, files=(*source.files, ("sgd", without_normals(sgd)))), compiler)
    return {NORMALS: partial(draw, 1, steps * p.modes // 16), SWEEP: partial(still.simulate, p)}


def measure(dimensions: Sequence[int] = DIMENSIONS, work: float = 4e6, rounds: int = 5) -> Table:
    """Nanoseconds per coordinate and step, one thread, by CPU time."""
    title = f"simulate: ns per coordinate and step, adversarial least squares; CPU time, in turns, least of {rounds}"
    compiler = find_compiler()
    if compiler is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    source = kernel_source(MODEL)
    in_c, in_numpy = compiled(source, compiler), load_kernel(MODEL, backend="numpy")
    peers, absent = installed()
    found: dict[int, dict[str, float]] = {}
    for d in dimensions:
        steps = max(100, round(work / d))
        p = replace(problem(in_c, d, [steps / d]), seed=1)
        many = replace(p, runs=max(1, COORDINATES_TOGETHER // d))
        few = replace(p, times=np.array([max(50, steps // many.runs) / d]), runs=many.runs)
        alternatives: dict[str, Callable[[], object]] = {
            OURS: partial(in_c.simulate, p),
            SINGLE: partial(in_c.simulate, p, "float32"),
            **floors(source, compiler, p),
            NUMPY: partial(in_numpy.simulate, few),
            **{name: partial(peer, p, 1) for name, peer in peers.items()},
        }
        for action in alternatives.values():  # compilers in time are not judged
            action()
        seconds = cpu_seconds(alternatives, rounds)
        count = dict.fromkeys(seconds, steps * d) | {NUMPY: round(few.times[0] * d) * d * few.runs}
        found[d] = {name: 1e9 * seconds[name] / count[name] for name in seconds}
    rows = [{"simulator": name, **{f"d = {d}": found[d][name] for d in found}} for name in found[dimensions[0]]]
    over = {f"d = {d}": of[OURS] / (of[NORMALS] + of[SWEEP]) for d, of in found.items()}
    rows.append({"simulator": "C, float64 / floor (sum of both)", **over})
    notes = tuple(f"skipped: {name} (not installed: pip install 'sgdlimit[bench]')" for name in absent)
    return Table(title, tuple(rows), tuple(_goals(found)), notes)


def _goals(found: Mapping[int, Mapping[str, float]]) -> list[Goal]:
    """Each at the dimension where it is hardest met."""
    large = {d: of for d, of in found.items() if d >= 1000}
    if not large:
        return []
    floor = max(of[OURS] / (of[NORMALS] + of[SWEEP]) for of in large.values())
    gain = min(of[OURS] / of[SINGLE] for of in large.values())
    goals = [
        Goal(f"d >= 1000: at most {FLOOR} times the floor (good: 1.05)", f"{floor:.2f} at worst", floor <= FLOOR),
        Goal(f"d >= 1000: float32 {SINGLE_GAIN} times faster", f"{gain:.2f} at worst", gain >= SINGLE_GAIN),
    ]
    for name, asked in RATIOS.items():
        for d, of in large.items():
            if name in of and d in asked:
                ratio = of[name] / of[OURS]
                goals.append(Goal(f"d = {d}: {asked[d]:g} times {name}", f"{ratio:.1f}", ratio >= asked[d]))
    return goals


def together(d: int = 1000, counts: Sequence[int] = (1, 2, 4, 8, 16), work: float = 4e6, rounds: int = 5) -> Table:
    """Several iterates on one stream of samples; CPU time, one thread."""
    title = f"iterates: ns per coordinate, step and iterate, {d} coordinates; CPU time, in turns, least of {rounds}"
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    kernel = load_kernel(MODEL, backend="c")
    rows: list[dict[str, Cell]] = []
    for count in counts:
        steps = max(100, round(work / (d * count)))
        p = copies(problem(kernel, d, [steps / d]), count)
        actions = {name: partial(kernel.simulate, p, name) for name in ("float64", "float32")}
        seconds = cpu_seconds(actions, rounds + 1)
        each = {name: 1e9 * seconds[name] / (steps * d * count) for name in seconds}
        rows.append({"iterates": str(count), **each})
    best = min(float(row["float64"]) for row in rows if int(row["iterates"]) in (4, 8))
    return Table(title, tuple(rows), (Goal("0.46 ns at 4 or 8 iterates, float64", f"{best:.2f}", best <= 0.46),))


def copies(p: Problem, count: int) -> Problem:
    """The same iterate several times."""
    names = ("parameters", "start_mean", "start_variance", "start_auxiliary", "step_arguments")
    return replace(p, **{name: np.repeat(getattr(p, name), count, axis=0) for name in names})


def threads(d: int = 1000, work: float = 4e8, rounds: int = 3, workers: int = 2) -> Table:
    """Runs on threads; wall time, so that it says something on idle cores alone."""
    title = f"threads: runs of d = {d} on 1 and {workers} threads; wall seconds, least of {rounds}"
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    kernel: Kernel = load_kernel(MODEL, backend="c")
    runs = 8 * workers
    p = replace(problem(kernel, d, [max(100, round(work / (d * runs))) / d]), seed=1)
    kernel.simulate(p)
    parts = [replace(p, first_run=run) for run in range(runs)]
    seconds = {}
    for count in (1, workers):
        with ThreadPoolExecutor(count) as pool:
            least = float("inf")
            for _ in range(rounds):
                start = time.perf_counter()
                list(pool.map(kernel.simulate, parts))
                least = min(least, time.perf_counter() - start)
        seconds[count] = least
    gain = seconds[1] / seconds[workers]
    busy = os.getloadavg()[0]
    return Table(
        title,
        tuple({"threads": str(count), "s": value} for count, value in seconds.items()),
        (Goal("1.8 times on two idle cores", f"{gain:.2f}", gain >= 1.8),),
        (f"load of the machine in the last minute: {busy:.1f} on {os.cpu_count()} cores, this program's included",),
    )
