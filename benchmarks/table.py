"""What a benchmark hands over: rows of numbers, goals, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Cell = float | int | str


@dataclass(frozen=True)
class Goal:
    """What was asked for, and what was measured."""

    asked: str
    measured: str
    met: bool

    def __str__(self) -> str:
        return f"goal {'met' if self.met else 'MISSED'}: {self.asked}; measured {self.measured}"


@dataclass(frozen=True)
class Table:
    """One benchmark's outcome.

    Parameters
    ----------
    title : str
        What was measured, with its sizes.
    rows : tuple of mapping
        Columns by name; a row may leave some out.
    goals : tuple of Goal
    notes : tuple of str
        How to read the rows; peers that were skipped, by name.
    """

    title: str
    rows: tuple[Mapping[str, Cell], ...]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in the order in which rows bring them."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def text(self) -> str:
        """The table for people."""
        lines = [self.title]
        if self.rows:
            cells = [list(self.columns), *([shown(row.get(name, "")) for name in self.columns] for row in self.rows)]
            widths = [max(len(line[k]) for line in cells) for k in range(len(self.columns))]
            for line in cells:
                first, *rest = (
                    cell.rjust(width) if k else cell.ljust(width)
                    for k, (cell, width) in enumerate(zip(line, widths, strict=True))
                )
                lines.append("  ".join(["", first, *rest]).rstrip())
        return "\n".join([*lines, *(f"  {goal}" for goal in self.goals), *(f"  {note}" for note in self.notes)])

    def json(self) -> dict[str, Any]:
        """The table for a program."""
        return {
            "title": self.title,
            "rows": [dict(row) for row in self.rows],
            "goals": [vars(goal) for goal in self.goals],
            "notes": list(self.notes),
        }


def shown(value: Cell) -> str:
    """A cell's text: three digits.

    Examples
    --------
    >>> shown(0.00412345), shown(1e-9), shown(613), shown(12345.6)
    ('0.00412', '1e-09', '613', '12346')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (math.isfinite(value) and abs(value) >= 1000):
        return f"{value:.0f}"
    return f"{value:.3g}"
