"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from sgdlimit.runtime.compiler import find_compiler


def describe() -> dict[str, str]:
    """Machine, compiler, versions and date."""
    compiler = find_compiler()
    versions = [f"{name} {metadata.version(name)}" for name in ("sgdlimit", "numpy", "scipy", "sympy")]
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "unset")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": f"{_model()}, {os.cpu_count()} cores, load {_load()}",
        "compiler": "none" if compiler is None else f"{compiler.version}; {' '.join(compiler.flags)}",
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
        "threads": f"OPENBLAS_NUM_THREADS={threads}",
    }


def _model() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _load() -> str:
    """Other work on the machine while this starts."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
