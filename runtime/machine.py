"""What a machine's numbers are made by: for people, and for whoever makes them again."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from sgdlimit.runtime.compiler import find_compiler


def cpu_model() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """Processor, cores, system."""
    return f"{cpu_model()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def compiler() -> str:
    """Version and flags of the C compiler, or that there is none."""
    found = find_compiler()
    return "none" if found is None else f"{found.version}; {' '.join(found.flags)}"


def python_versions() -> str:
    """Of Python and of the packages that results depend on."""
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("sgdlimit", "numpy", "scipy", "sympy"))
    return f"Python {platform.python_version()}, {packages}"
