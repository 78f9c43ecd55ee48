"""Are the normals normal? Both precisions; ``python -m benchmarks.normals DRAWS FILE`` writes the answer to a file."""

from __future__ import annotations

import ctypes
import sys
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr

from benchmarks.machine import describe
from benchmarks.table import Cell, Goal, Table
from sgdlimit.codegen.excerpt import excerpt
from sgdlimit.runtime.compiler import Compiler, find_compiler, load_library, no_compiler
from sgdlimit.runtime.kernel import PRECISIONS, SWITCHES

Array = NDArray[np.float64]

FALSE_ALARM = 1e-4
"""Of each number in the table, for a perfect generator."""
RUNS, SEED = 8, 2026
LANES = {"float64": 8, "float32": 16}
EDGES = (np.arange(2049) - 1024) / 128


def measure(draws: float = 1e9) -> Table:
    """Moments, bins, the largest distance of distributions, tails, and correlations between lanes and blocks."""
    title = f"normals: {draws:.3g} draws in each precision, {RUNS} runs of seed {SEED}"
    compiler = find_compiler()
    if compiler is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    rows = [judged(precision, draws, compiler) for precision in PRECISIONS]
    least = min(float(value) for row in rows for name, value in row.items() if name.endswith(" p"))
    bound = FALSE_ALARM / sum(name.endswith(" p") for name in rows[0])
    return Table(
        title,
        tuple(rows),
        (Goal(f"every p above {bound:.2g}", f"least {least:.2g}", least > bound),),
        (
            "p: how often perfect normals would stray as far. moments: the worst of E z^1..6, counted as one of six.",
            "chi2: bins of width 1/128 that expect 20 and more, the rest joined. KS: at the bins' edges, which is",
            "conservative. 4, 5 sigma: both tails, observed/expected. lanes: the largest of the correlations between",
            f"the normals of a block and the next, over {correlated_blocks(draws):.2g} blocks. runs: do they agree?",
        ),
    )


def correlated_blocks(draws: float) -> int:
    """Products of all pairs cost more than draws: a share of the blocks has them."""
    return int(draws / 16 / 50)


def judged(precision: str, draws: float, compiler: Compiler) -> dict[str, Cell]:
    """One row: the numbers, and the p-value of each."""
    counts, powers, products, blocks = observed(precision, draws, compiler)
    histogram = counts.sum(axis=0)
    n = int(histogram.sum())
    cells = np.diff(np.concatenate([[0.0], ndtr(EDGES[1:-1]), [1.0]]))
    outer = int(np.argmax(n * cells > 20))
    joined = np.concatenate([[0], np.arange(outer, 2048 - outer)])
    seen, expected = np.add.reduceat(histogram, joined), np.add.reduceat(n * cells, joined)
    row: dict[str, Cell] = {"precision": precision, "draws": n, "bins": len(joined)}
    row["chi2 p"] = float(stats.chi2.sf(np.sum((seen - expected) ** 2 / expected), len(joined) - 1))
    distance = float(np.max(np.abs(np.cumsum(histogram)[:-1] / n - ndtr(EDGES[1:-1]))))
    row["KS p"] = float(stats.kstwobign.sf(distance * np.sqrt(n)))
    moment = [float(stats.norm.moment(k)) for k in range(1, 13)]
    deviations = [
        (powers[k - 1] / n - moment[k - 1]) / np.sqrt((moment[2 * k - 1] - moment[k - 1] ** 2) / n) for k in range(1, 7)
    ]
    row["moments p"] = min(1.0, 6 * float(2 * stats.norm.sf(np.max(np.abs(deviations)))))
    for deviations_out in (4, 5):
        beyond = n - int(histogram[1024 - 128 * deviations_out : 1024 + 128 * deviations_out].sum())
        chance = 2 * float(ndtr(-deviations_out))
        row[f"{deviations_out} sigma"] = beyond / (n * chance)
        row[f"{deviations_out} sigma p"] = float(stats.binomtest(beyond, n, chance).pvalue)
    pairs = np.abs(products[np.triu_indices_from(products, k=1)]) / blocks
    row["lanes p"] = min(1.0, len(pairs) * float(2 * stats.norm.sf(pairs.max() * np.sqrt(blocks))))
    by_run = np.add.reduceat(counts, joined, axis=1).astype(float)
    mean = by_run.mean(axis=0)
    row["runs p"] = float(stats.chi2.sf(np.sum((by_run - mean) ** 2 / mean), (RUNS - 1) * (len(joined) - 1)))
    return row


def observed(precision: str, draws: float, compiler: Compiler) -> tuple[NDArray[np.int64], Array, Array, int]:
    """Counts ``[run, bin]``, sums of powers, sums of products of columns, and how many blocks those are of."""
    header, elementary, random = (
        resources.files("sgdlimit.codegen.library").joinpath(f"{name}.h").read_text(encoding="utf-8")
        for name in ("problem", "elementary", "random")
    )
    own = (Path(__file__).parent / "normals.c").read_text(encoding="utf-8")
    text = "\n".join([header, excerpt(elementary, {"LANEWISE"}), random, own])
    observe = load_library(text, compiler, *SWITCHES[precision]).observe
    observe.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64, ctypes.c_int64] + [ctypes.c_void_p] * 3
    block = 2 * LANES[precision]
    blocks, correlated = int(np.ceil(draws / block / RUNS)), correlated_blocks(draws) // RUNS
    counts, powers, products = np.zeros((RUNS, 2048), np.int64), np.zeros(6), np.zeros((2 * block, 2 * block))
    for run in range(RUNS):
        of_run = counts[run].ctypes.data, powers.ctypes.data, products.ctypes.data
        observe(SEED, run, blocks, correlated, *of_run)
    return counts, powers, products, RUNS * correlated


def document(table: Table) -> str:
    """What the table says, as a page of the documentation."""
    facts = "\n".join(f"- {name}: {value}" for name, value in describe().items())
    return (
        "# Normals\n\nWritten by `python -m benchmarks.normals 1e9 docs/normals.md`: the random numbers of emitted C\n"
        f"(`codegen/library/random.h`) against the normal law.\n\n{facts}\n\n```text\n{table.text()}\n```\n"
    )


if __name__ == "__main__":
    outcome = measure(float(sys.argv[1]))
    Path(sys.argv[2]).write_text(document(outcome), encoding="utf-8")
    print(outcome.text())
    sys.exit(not all(goal.met for goal in outcome.goals))
