"""C source to a loaded library, through a cache of compiled files.

A file's name is the hash of everything that its content depends on: source, flags, compiler and CPU. It is written
beside its place and renamed into it, so that a reader never sees half a file; its checksum stands beside it, and
an entry that does not match is built again. A cache without room is said, and what was built is used all the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sgdlimit.derive.errors import KernelError
from sgdlimit.runtime.locks import alone
from sgdlimit.runtime.room import out_of_room, remedy

# -std=c11 turns contraction of a*b + c off and math errno on; neither changes a result that the tests hold. Nothing
# here assumes finite numbers or reorders a sum, but for those that are marked as reductions. -fno-tree-pre: elimination
# of partial redundancies leaves truth values that choose between truth values, which gcc cannot vectorise.
_WANTED = (
    "-march=native",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-tree-pre",
    "-ffp-contract=fast",
)
_BASE = ("-std=c11", "-O3", "-fPIC", "-shared")
_END = "."  # of the flags that are remembered: a file without it was not written to its end


class FullCacheWarning(UserWarning):
    """The cache has no room: what would be kept there is made anew by every process."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler that works here.

    Parameters
    ----------
    command : tuple of str
        The program and its own arguments, from ``$CC``.
    version : str
        First line of what it says of itself.
    flags : tuple of str
        Those of the wanted flags that it takes.
    """

    command: tuple[str, ...]
    version: str
    flags: tuple[str, ...]


class Library(ctypes.CDLL):
    """A loaded library that knows its file's SHA-256."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()


def cache_folder() -> Path | None:
    """Where compiled kernels are kept: ``SGDLIMIT_CACHE``, else the user's cache folder; None when it is ``0``."""
    chosen = os.environ.get("SGDLIMIT_CACHE", "")
    if chosen == "0":
        return None
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("sgdlimit", appauthor=False))


def find_compiler() -> Compiler | None:
    """The compiler that ``$CC`` names, else the first of cc, gcc, clang; None where there is none that runs."""
    named = os.environ.get("CC", "")
    for candidate in [named] if named else ["cc", "gcc", "clang"]:
        command = tuple(shlex.split(candidate))
        if not command or shutil.which(command[0]) is None:
            continue
        answer = _run([*command, "--version"])
        if answer.returncode == 0:
            version = answer.stdout.splitlines()[0] if answer.stdout else ""
            return Compiler(command, version, _probed_flags(command, version))
    return None


def no_compiler() -> str:
    """Why there is none, and what would do."""
    named = os.environ.get("CC", "")
    missing = f"CC is {named!r}, which cannot be run" if named else "neither cc, gcc nor clang was found"
    return f"there is no C compiler: {missing}; install gcc or clang, set CC, or use backend='numpy'"


def load_library(source: str, compiler: Compiler, *switches: str) -> Library:
    """Compile a source unless that was done before, and load it.

    Parameters
    ----------
    source : str
    compiler : Compiler
    *switches : str
        Names of preprocessor macros that are defined.

    Raises
    ------
    KernelError
        When the compile fails (with the command and the compiler's own words) or the result cannot be loaded.
    """
    folder = cache_folder()
    if folder is None:
        return load_uncached(source, compiler, *switches)
    key = _digest(source, *compiler.command, compiler.version, *_BASE, *compiler.flags, *_defined(switches), _cpu())
    path = folder / "kernels" / f"{key}.so"
    was_there = _is_whole(path)
    if was_there:
        with contextlib.suppress(KernelError):
            return _load(path)
    with contextlib.suppress(OSError):  # what is in the way is said where the kernel is kept
        path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path.with_suffix(".lock")):
        if not was_there and _is_whole(path):  # by another process meanwhile; else what was there does not load
            return _load(path)
        with _built(source, compiler, switches) as built:
            return _load(path if _keep_library(path, built.read_bytes()) else built)


def load_uncached(source: str, compiler: Compiler, *switches: str) -> Library:
    """Compile a source and load it, leaving nothing behind.

    Raises
    ------
    KernelError
        As :func:`load_library`.
    """
    with _built(source, compiler, switches) as built:
        return _load(built)


def _defined(switches: Sequence[str]) -> list[str]:
    return [f"-D{switch}" for switch in switches]


def keep(path: Path, content: bytes) -> bool:
    """Put a file into the cache, whole or not at all; whether there was room for it: if not, that is said.

    Raises
    ------
    KernelError
        For a folder that cannot be written for another reason: it is the wrong one.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        if not out_of_room(error):
            raise KernelError(
                f"the cache folder {path.parent} cannot be written ({error.strerror}); set SGDLIMIT_CACHE to one that "
                "can, or to 0"
            ) from None
        warnings.warn(_full(error), FullCacheWarning, stacklevel=2)
        return False
    return True


def _full(error: OSError) -> str:
    """One text for all that a process cannot keep, which Python then says once."""
    folder = cache_folder() or Path()
    return (
        f"the cache folder {folder} cannot be written ({error.strerror}): what belongs there is made anew by every "
        f"command; {remedy(error, folder, 'set SGDLIMIT_CACHE to another folder')}"
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and the folder that it is in, so that it is there whole or not at all.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _keep_library(path: Path, content: bytes) -> bool:
    """A library and its checksum, which is first: one without the other is no use, and the checksum takes less room."""
    return keep(_checksum(path), hashlib.sha256(content).hexdigest().encode()) and keep(path, content)


@contextlib.contextmanager
def _workspace() -> Iterator[Path]:
    """A folder for what a compiler reads and writes, gone afterwards.

    Raises
    ------
    KernelError
        Where temporary files cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="sgdlimit-") as folder:
            yield Path(folder)
    except OSError as error:
        where = (
            "" if tempfile.tempdir is None else f" in {tempfile.tempdir}"
        )  # None: Python found no folder that will do
        mend = remedy(error, Path(tempfile.tempdir or "."), "set TMPDIR to a folder that has room")
        raise KernelError(f"temporary files cannot be written{where} ({error.strerror}); {mend}") from None


@contextlib.contextmanager
def _built(source: str, compiler: Compiler, switches: Sequence[str]) -> Iterator[Path]:
    """A source as a library, which is gone afterwards: loaded before, it stays."""
    with _workspace() as folder:
        text, built = folder / "kernel.c", folder / "kernel.so"
        text.write_text(source, encoding="utf-8")
        command = [*compiler.command, *_BASE, *compiler.flags, *_defined(switches), str(text), "-o", str(built), "-lm"]
        answer = _run(command, folder)
        if answer.returncode != 0:
            told = "\n".join(filter(None, (answer.stderr.strip(), _room_for_compiler(answer.stderr, folder.parent))))
            raise KernelError(f"the C compiler failed: {shlex.join(command)}\n{told}")
        yield built


def _room_for_compiler(words: str, folder: Path) -> str:
    """What would do, where a compiler's words are that it had no room; empty for others."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(number) in words:
            return remedy(OSError(number, ""), folder, f"set TMPDIR to a folder with more room than {folder}")
    return ""


def _load(path: Path) -> Library:
    try:
        return Library(path)
    except OSError as error:
        raise KernelError(f"the compiled kernel cannot be loaded: {error}") from None


def _checksum(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_whole(path: Path) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == _checksum(path).read_text()
    except (OSError, UnicodeDecodeError):
        return False


def _probed_flags(command: tuple[str, ...], version: str) -> tuple[str, ...]:
    """The wanted flags that the compiler takes without a word; remembered in the cache."""
    folder = cache_folder()
    memory = None if folder is None else folder / "flags" / _digest(*command, version, *_BASE, *_WANTED, _cpu())
    if memory is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            *flags, end = memory.read_text().split() or [""]
            if end == _END and set(flags) <= set(_WANTED):
                return tuple(flags)
    taken: list[str] = []
    with _workspace() as folder:
        probe = folder / "probe.c"
        probe.write_text("int probe(int x);\nint probe(int x) { return x; }\n")

        def compiles(*flags: str) -> bool:
            asked = [*command, *_BASE, "-Werror", *flags, str(probe), "-o", str(probe.with_suffix(".so"))]
            return _run(asked, folder).returncode == 0

        for flag in _WANTED:
            if compiles(*taken, flag):
                taken.append(flag)
        # a compiler that has no room for a file refuses every flag: that is nothing to remember
        sure = len(taken) == len(_WANTED) or compiles(*taken)
    if memory is not None and sure:
        keep(memory, " ".join([*taken, _END]).encode())
    return tuple(taken)


def _cpu() -> str:
    """What `-march=native` depends on."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features")))
    return f"{platform.machine()} {platform.processor()}"


def cpu_name() -> str:
    """This machine's CPU for people, with a hash of what ``-march=native`` depends on.

    Examples
    --------
    >>> len(cpu_name().rpartition(" ")[2])
    12
    """
    names = [line.partition(":")[2].strip() for line in _cpu().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} {_digest(_cpu())[:12]}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


def _run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a compiler, with its own temporary files in a folder if one is given: what it leaves there goes with it."""
    environment = None if folder is None else {**os.environ, "TMPDIR": str(folder)}
    try:
        # the signal of a file that grows too large, which Python ignores, ends no compiler then: it says what happened
        return subprocess.run(
            command, capture_output=True, text=True, check=False, restore_signals=False, env=environment
        )
    except OSError as error:
        raise KernelError(f"{shlex.join(command)} cannot be run: {error.strerror}") from None
