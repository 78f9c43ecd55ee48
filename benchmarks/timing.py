"""CPU time of alternatives, taken in turns."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def cpu_seconds(alternatives: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least CPU time of each over some rounds; in a round each gets one turn.

    Turns, so that a slow moment of the machine meets all of them; the least, since other work only adds.
    """
    least = dict.fromkeys(alternatives, float("inf"))
    for _ in range(rounds):
        for name, action in alternatives.items():
            start = time.process_time()
            action()
            least[name] = min(least[name], time.process_time() - start)
    return least


def run_python(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, in the repository's folder."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, env=dict(environment)
    )


def last_line(text: str) -> str:
    """Of what a program said; for a program that failed it names the reason."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
