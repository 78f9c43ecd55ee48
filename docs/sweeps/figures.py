"""Draws the figures of docs/sweeps.md from the stores of the two sweeps beside it:

cd docs/sweeps
sgdlimit sweep phase-diagram.toml
sgdlimit sweep line-search-against-polyak.toml
python figures.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure

import sgdlimit as sl

HERE = Path(__file__).parent
_UNDER = [patheffects.withStroke(linewidth=2.5, foreground="white")]


def phase_diagram(stores: Path = Path()) -> Figure:
    """Final adversarial risk over radius and learning rate, and where it diverges."""
    sweep = sl.load_sweep(stores / "phase-diagram.sweep")
    epsilon, gamma = sweep.coordinates["epsilon"], sweep.coordinates["gamma"]
    stable = sweep.status == "done"
    risk = np.where(stable, sweep["adversarial_risk"], np.nan).T
    fig, ax = _axes("radius ε of the adversary", "learning rate γ")
    levels = [0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.7, 1.0, 2.0, 5.0]
    norm = mpl.colors.LogNorm(0.1, 8.0)
    ax.contourf(epsilon, gamma, risk, [0.1, *levels, 1e9], cmap="viridis_r", norm=norm)
    lines = ax.contour(epsilon, gamma, risk, levels, colors="black", linewidths=0.6)
    _label(ax, lines, "%.2g")
    # the first learning rate on the grid that diverges, halfway to the one before
    unstable = ~stable.T
    first = np.argmax(unstable, axis=0)
    boundary = np.where(unstable.any(axis=0), np.sqrt(gamma[first] * gamma[np.maximum(first - 1, 0)]), np.nan)
    ax.fill_between(epsilon, boundary, gamma[-1], facecolor="0.92", edgecolor="0.6", hatch="///", linewidth=0)
    ax.plot(epsilon, boundary, color="black", linewidth=2.5)
    at = 0.5 * epsilon[-1]
    ax.text(at, 5.6, "diverges", ha="center", va="center", path_effects=_UNDER, fontweight="bold")
    mean = (1 - 0.25) / (2 - 0.25)  # of the eigenvalues, density ∝ λ^-1/4 on (0, 1]
    ax.plot(0, 2 / mean, "o", color="white", markeredgecolor="black", markersize=8, clip_on=False, zorder=5)
    ax.annotate("2/mean λ", (0, 2 / mean), (8, 4), textcoords="offset points", path_effects=_UNDER)
    ax.set_yscale("log")
    ax.set_ylim(gamma[0], gamma[-1])
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2, 5]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_title(
        "Adversarial risk at t = 200: the adversary raises it,\nand leaves the boundary of stability where it is",
        loc="left",
    )
    return fig


def line_search_against_polyak(stores: Path = Path()) -> Figure:
    """The ratio of the risks above the optimum's that the two leave."""
    sweep = sl.load_sweep(stores / "line-search-against-polyak.sweep")
    exponent, epsilon = sweep.coordinates["exponent"], sweep.coordinates["epsilon"]
    kinds = sweep.coordinates["schedule"].tolist()
    risk, excess = sweep["adversarial_risk"], sweep["excess_risk"]
    polyak = excess[..., kinds.index("polyak")]
    best = risk[..., kinds.index("polyak")] - polyak
    ratio = ((risk[..., kinds.index("line_search")] - best) / polyak).T
    fig, ax = _axes("exponent β of the spectrum, density $\\propto \\lambda^{-\\beta}$", "radius ε of the adversary")
    levels = [0.5, 1, 1.1, 1.2, 1.3, 1.5, 2, 3, 4, 6]
    ax.contourf(exponent, epsilon, ratio, levels, cmap="Purples", norm=mpl.colors.LogNorm(0.8, 6))
    lines = ax.contour(exponent, epsilon, ratio, levels, colors="black", linewidths=[0.6, 2, *[0.6] * 8])
    _label(ax, lines, "%g")
    most, less = float(ratio.max()), 100 * float((ratio < 1).mean())
    claim = f"Line search leaves up to {most:.1f} times the excess risk of\n"
    ax.set_title(f"{claim}Polyak's learning rate, and less on {less:.0f} % of the map", loc="left")
    return fig


def _axes(x: str, y: str) -> tuple[Figure, mpl.axes.Axes]:
    fig = Figure(figsize=(5.6, 4.2), layout="constrained", dpi=110)
    ax = fig.add_subplot()
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    return fig, ax


def _label(ax: mpl.axes.Axes, lines: mpl.contour.QuadContourSet, text: str) -> None:
    for label in ax.clabel(lines, fmt=text, fontsize=8):
        label.set_path_effects(_UNDER)


if __name__ == "__main__":
    for draw in (phase_diagram, line_search_against_polyak):
        draw().savefig(HERE / f"{draw.__name__.replace('_', '-')}.png")
