"""Files that cannot be written: why, in the system's words, and what would do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)


def out_of_room(error: OSError) -> bool:
    """Whether a file could not be written for want of room: a full device, a quota, a limit on the size of files.

    Examples
    --------
    >>> out_of_room(OSError(errno.ENOSPC, "")), out_of_room(PermissionError(errno.EACCES, ""))
    (True, False)
    """
    return error.errno in (*_FULL, errno.EFBIG)


def remedy(error: OSError, folder: Path, instead: str = "") -> str:
    """What lets a file be written in a folder after all, where that is room; or what is given ``instead``.

    A device that holds as many files as it can says that no space is left, however much is free: that is told apart.

    Examples
    --------
    >>> remedy(OSError(errno.EDQUOT, ""), Path(), "give another path")
    'make room, or give another path'
    >>> remedy(PermissionError(errno.EACCES, ""), Path(), "give another path")
    'give another path'
    """
    if error.errno == errno.EFBIG and _limited():
        return "raise the limit on the size of files (ulimit -f)"  # which is the same everywhere
    room = ""
    if error.errno in _FULL:
        room = "make room: it can hold no more files, delete some (df -i counts)" if _counted(folder) else "make room"
    return ", or ".join(filter(None, (room, instead)))


def unwritten(error: OSError, folder: Path, instead: str) -> tuple[str, str]:
    """Why a file could not be written in a folder, and what would do.

    Examples
    --------
    >>> unwritten(PermissionError(errno.EACCES, "Permission denied"), Path(), "give another path")
    ('cannot be written: Permission denied', 'give another path')
    """
    return f"cannot be written: {error.strerror or error}", remedy(error, folder, instead)


def _limited() -> bool:
    """Whether files of this process may only be so large."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return False
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def _counted(folder: Path) -> bool:
    """Whether a device has no inode left for another file; what does not count them tells 0 of 0."""
    try:
        device = os.statvfs(folder)
    except (OSError, AttributeError):  # Windows does not tell
        return False
    return device.f_files > 0 and device.f_favail == 0
