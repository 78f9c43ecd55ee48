"""What the numbers were measured on."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from sgdlimit.runtime.machine import compiler, cpu_model, python_versions


def describe() -> dict[str, str]:
    """Machine, compiler, versions and date."""
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "unset")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores, load {_load()}",
        "compiler": compiler(),
        "versions": python_versions(),
        "threads": f"OPENBLAS_NUM_THREADS={threads}",
    }


def _load() -> str:
    """Other work on the machine while this starts."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
