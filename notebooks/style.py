"""The look that the notebooks' figures share: legible in grey, every line with a dash and a shade of its own."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown

DARK, WARM, MID, PALE = "#0b3c5d", "#d1641b", "#6b8fa8", "#f3c9a8"
"""Hues whose lightness differs: dark blue, orange, mid blue, pale orange."""


def use() -> None:
    """Set Matplotlib's defaults for this kernel."""
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "figure.figsize": (9.0, 3.6),
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.labelsize": 10,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.8,
        }
    )


def band(
    axes: Any, ensemble: Any, name: str, *, color: str = PALE, label: str | None = None, level: float = 0.8
) -> None:
    """Shade what the middle ``level`` of an ensemble's runs do."""
    low, high = np.quantile(ensemble[name], [(1 - level) / 2, (1 + level) / 2], axis=0)
    axes.fill_between(ensemble.times, low, high, color=color, lw=0, label=label)


def sections(limit: Any, *titles: str) -> Markdown:
    """Some sections of a limit's document; ``limit`` alone displays all of it."""
    parts = limit.markdown().split("\n## ")[1:]
    return Markdown(
        "\n".join(
            f"**{part.partition(chr(10))[0]}**\n{part.partition(chr(10))[2]}"
            for part in parts
            if part.startswith(titles)
        )
    )
