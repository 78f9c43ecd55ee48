"""Matplotlib figures that look alike, show themselves in a notebook, and are written the same on every machine.

No pyplot, hence no backend, no window and no global state: a figure is a value.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.figure import Figure

COLOURS = ("#0b3c5d", "#d1641b", "#7fb0d6", "#111111")
"""Of different lightness, told apart under every kind of colour blindness; the dashes differ too."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
MARKS = ("o", "s", "^", "D")

_STYLE: Any = {
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.formatter.limits": (-4, 6),  # a power of ten beside an axis is easily missed
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,  # letters as letters: what journals ask for
    "svg.hashsalt": "sgdlimit",
}
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Within, Matplotlib draws as all pictures here are drawn; what the user has set comes back after it."""
    with rc_context():
        rcdefaults()
        rcParams.update(_STYLE)
        yield


class Picture(Figure):
    """A figure that keeps the style when it is written, and shows itself in a notebook."""

    dots = 300  # an inch, where it is written as dots

    def savefig(self, fname: Any, **keywords: Any) -> None:
        """As of Matplotlib; without a date, so that the same picture is the same file."""
        ending = str(keywords.get("format") or getattr(fname, "suffix", None) or str(fname).rpartition(".")[2])
        keywords.setdefault("metadata", _UNDATED.get(ending.lstrip(".")))
        keywords.setdefault("dpi", self.dots)
        with style():
            super().savefig(fname, **keywords)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def picture(width: float, height: float, dots: int = 300) -> Picture:
    """An empty figure, its size in inches, and dots an inch where it is written as dots.

    Examples
    --------
    >>> figure = picture(3.0, 2.0)
    >>> axes = figure.add_subplot()
    >>> buffer = io.BytesIO()
    >>> figure.savefig(buffer, format="svg")
    >>> b"<svg" in buffer.getvalue()
    True
    """
    with style():
        empty = Picture(figsize=(width, height), layout="constrained")
    empty.dots = dots
    return empty
