"""Locks between processes, by files: held while the holder lives, gone with it however it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE = 0.5  # seconds in which who only looks has let go again


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time, the others wait; where files cannot be locked, all at once."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError, ImportError):
            import fcntl

            file = held.enter_context(path.open("a"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def only_one(path: Path, holder: str) -> Iterator[bool]:
    """Whether this process is the only one; then the file says ``holder``.

    Raises
    ------
    OSError
        Where files cannot be locked.
    """
    import fcntl

    with path.open("a+", encoding="utf-8") as file:
        until = time.monotonic() + _PATIENCE
        while not (own := _taken(file.fileno(), fcntl.LOCK_EX)) and time.monotonic() < until:
            time.sleep(0.05)
        if own:
            file.seek(0)
            file.truncate()
            file.write(holder)
            file.flush()
        yield own


def held_by(path: Path) -> str:
    """Who holds a lock of :func:`only_one`, in its own words; empty if nobody does."""
    import fcntl

    try:
        with path.open("r", encoding="utf-8") as file:
            return "" if _taken(file.fileno(), fcntl.LOCK_SH) else file.read() or "another process"
    except FileNotFoundError:
        return ""


def _taken(descriptor: int, kind: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
