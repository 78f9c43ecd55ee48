"""Draws the figures of docs/sweeps.md from the stores of the two sweeps beside it:

cd docs/sweeps
sgdlimit sweep phase-diagram.toml
sgdlimit sweep line-search-against-polyak.toml
python figures.py
"""

from __future__ import annotations

from pathlib import Path

import sgdlimit as sl
from sgdlimit.runtime.figures import Picture, picture, style
from sgdlimit.runtime.sweep_picture import draw_contours, panels

HERE = Path(__file__).parent


def phase_diagram(stores: Path = Path()) -> Picture:
    """Final adversarial risk over radius and learning rate, and where it diverges; with what theory says of that."""
    figure: Picture = sl.load_sweep(stores / "phase-diagram.sweep").plot("adversarial_risk")
    axes = figure.axes[0]
    mean = (1 - 0.25) / (2 - 0.25)  # of the eigenvalues, density ∝ λ^-1/4 on (0, 1]
    axes.plot(0, 2 / mean, "o", color="white", markeredgecolor="black", markersize=7, clip_on=False, zorder=5)
    axes.annotate("2/mean λ", (0, 2 / mean), (8, 5), textcoords="offset points", fontsize=8)
    axes.set_title(
        "Adversarial risk at t = 200: the adversary raises it,\nand leaves the boundary of stability where it is",
        loc="left",
        fontsize=9,
    )
    return figure


def line_search_against_polyak(stores: Path = Path()) -> Picture:
    """The ratio of the risks above the optimum's that the two leave."""
    sweep = sl.load_sweep(stores / "line-search-against-polyak.sweep")
    searched, idealised = panels(sweep, ("adversarial_risk",))
    (excess,) = panels(sweep, ("excess_risk",), at={"schedule": "polyak"})
    best = idealised.values - excess.values
    ratio = (searched.values - best) / excess.values
    figure = picture(4.4, 3.7)
    with style():
        axes = figure.add_subplot()
        assert excess.up is not None
        draw_contours(axes, excess.across, excess.up, ratio, [0.8, 1, 1.1, 1.2, 1.3, 1.5, 2, 3, 4, 6])
        axes.contour(excess.across.values, excess.up.values, ratio, [1.0], colors="black", linewidths=2.0)
        axes.set(xlabel="exponent β of the spectrum, density $\\propto \\lambda^{-\\beta}$", ylabel=excess.up.label)
        most, less = float(ratio.max()), 100 * float((ratio < 1).mean())
        claim = f"Line search leaves up to {most:.1f} times the excess risk of\n"
        axes.set_title(f"{claim}Polyak's learning rate, and less on {less:.0f} % of the map (thick)", loc="left")
    return figure


if __name__ == "__main__":
    for draw in (phase_diagram, line_search_against_polyak):
        made = draw()
        made.dots = 130
        made.savefig(HERE / f"{draw.__name__.replace('_', '-')}.png")
