"""How far SGD is from its limit, by dimension, over six decades: ``python -m benchmarks.dimensions --out FILE.png``.

Adversarial least squares in two blocks of equal eigenvalues, exactly in law at every dimension (``docs/theory.md``
§8): the distance of a single run from the limit, and that of the mean over runs. Both fall as its §3 says: a run's mean
square distance like 1/d, and the mean's distance like 1/d too, until it is lost in the spread of the runs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import MODEL
from sgdlimit.codegen.library.problem import LANES, SUMMARY
from sgdlimit.derive import Constant
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import load_kernel
from sgdlimit.runtime.problem import build_problem
from sgdlimit.runtime.simulator import run_all
from sgdlimit.runtime.solver import solve

Array = NDArray[np.float64]

DIMENSIONS = (*(leading * 10**power for power in range(2, 8) for leading in (1, 3)), 10**8)
TIME, GAMMA = 1.0, 0.7
PARAMETERS = {"epsilon": 0.3, "sigma": 0.5}
MOST_RUNS, FEWEST_RUNS = 200_000, 32
STEPS = 4e8  # of all runs at a dimension, where the numbers of runs allow it

# name, mark, grey: of different lightness and with different marks
STATISTICS = {
    "norm2": ("‖X‖²", "o", "0.0"),
    "overlap": ("⟨X, X*⟩", "s", "0.45"),
    "distance2": ("‖X − X*‖²", "^", "0.7"),
}


@dataclass(frozen=True)
class Distances:
    """Of one statistic at one time from its limit.

    Parameters
    ----------
    dimensions, runs : array of int [D]
    mean : array [D]
        Of the runs, minus the limit.
    square : array [D]
        Mean square of a run, minus the limit.
    error : array [D]
        Standard error of ``mean``.
    """

    dimensions: Array
    runs: Array
    mean: Array
    square: Array
    error: Array


def instance() -> Instance:
    """Two blocks, a start beside the teacher in each."""
    return Instance(
        probabilities=[1],
        eigenvalues=[[0.5, 0.5, 1.5, 1.5]],
        means=0,
        teacher=[0.7, 0, 0.7, 0],
        start=[0.2, 0.4, -0.2, 0.3],
        weights=[0.5, 0, 0.5, 0],
        dimension=float("inf"),
    )


def measure(
    dimensions: Sequence[int] = DIMENSIONS, steps: float = STEPS, seed: int = 0, backend: str = "auto"
) -> dict[str, Distances]:
    """Simulate at each dimension; ``steps`` over all runs of one."""
    kernel = load_kernel(MODEL, backend=backend)
    limit = solve(MODEL, instance(), Constant(GAMMA), PARAMETERS, times=[TIME], kernel=kernel, rtol=1e-12)
    runs = [int(min(MOST_RUNS, max(FEWEST_RUNS, steps / (d * TIME)))) for d in dimensions]
    found: dict[str, list[Array]] = {name: [] for name in STATISTICS}
    for d, count in zip(dimensions, runs, strict=True):
        problem = build_problem(kernel, MODEL, instance().lumped(d), Constant(GAMMA), PARAMETERS, np.array([TIME]))
        problem = replace(problem, seed=seed + d)
        summaries = run_all(kernel.simulate_lumped, problem, 0, count, os.cpu_count() or 1, together=LANES)
        for name, values in found.items():
            values.append(summaries[:, 0, 0, SUMMARY.index(name)] - limit[name][0])
    return {
        name: Distances(
            np.array(dimensions),
            np.array(runs),
            np.array([x.mean() for x in values]),
            np.array([np.mean(x**2) for x in values]),
            np.array([x.std(ddof=1) / np.sqrt(len(x)) for x in values]),
        )
        for name, values in found.items()
    }


def figure(distances: dict[str, Distances]) -> Any:
    """The mean's distance on the left, a run's mean square distance on the right, each with a line of slope −1."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(11.0, 4.6), layout="constrained")
    left, right = fig.subplots(1, 2)
    any_of = next(iter(distances.values()))
    d = any_of.dimensions.astype(float)
    noise = 3 * np.max([found.error for found in distances.values()], axis=0)
    left.fill_between(d, 1e-12, noise, color="0.9", lw=0, label="below 3 standard errors")
    for name, found in distances.items():
        label, mark, grey = STATISTICS[name]
        seen = np.abs(found.mean) > 3 * found.error
        style = {"ms": 5, "color": grey, "mec": "0", "mew": 0.6, "ls": "none"}
        left.errorbar(d[seen], np.abs(found.mean)[seen], found.error[seen], fmt=mark, capsize=2, label=label, **style)
        left.plot(d[~seen], np.abs(found.mean)[~seen], mark, alpha=0.35, **style)
        right.plot(d, found.square, mark, label=label, **style)
    size = {"mean": left, "square": right}
    for kind, axes in size.items():
        first = max(abs(getattr(found, kind)[0]) for found in distances.values())
        axes.plot(d, 2 * first * d[0] / d, "--", color="0", lw=1, label="slope −1")
        axes.set(xscale="log", yscale="log", xlabel="dimension d")
        axes.tick_params(labelsize=9)
        axes.legend(fontsize=9, frameon=False)
    left.set_ylim(0.5 * min(np.abs(found.mean).min() for found in distances.values()), None)
    left.set_ylabel("|mean over runs − limit|")
    right.set_ylabel("mean of (one run − limit)²")
    left.set_title("The mean's distance falls like 1/d, until the spread of the runs hides it", fontsize=10, loc="left")
    right.set_title("A single run's squared distance falls like 1/d", fontsize=10, loc="left")
    fig.suptitle(
        f"SGD against its limit, adversarial least squares at t = {TIME:g}: "
        f"{any_of.runs[0]:,} runs at d = {d[0]:,.0f}, {any_of.runs[-1]} at d = {d[-1]:,.0f}",
        fontsize=11,
        x=0.01,
        ha="left",
    )
    return fig


def main() -> None:
    """Simulate and draw."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dimensions", description="SGD against its limit by dimension."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="where to put the picture")
    chosen = parser.parse_args()
    distances = measure()
    for name, found in distances.items():
        print(
            name,
            *(
                f"d = {d:.0e}: {m:+.1e} ± {e:.1e}"
                for d, m, e in zip(found.dimensions, found.mean, found.error, strict=True)
            ),
            sep="\n  ",
        )
    figure(distances).savefig(chosen.out, dpi=110, facecolor="white")


if __name__ == "__main__":
    main()
