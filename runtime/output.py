"""Files that the user asked for: there whole or not at all, and refused before the work rather than after it."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdlimit.derive.errors import InputError
from sgdlimit.runtime.room import unwritten
from sgdlimit.runtime.tables import Tabular, package, write_csv, write_netcdf, write_npz

if TYPE_CHECKING:
    from sgdlimit.runtime.batch import Curves
    from sgdlimit.runtime.ensemble import Ensemble
    from sgdlimit.runtime.trajectory import Trajectory

CURVES = (".csv", ".npz", ".nc")
FIGURES = (".png", ".pdf", ".svg")
PAGES = (".html",)
DOCUMENTS = {"markdown": ".md", "latex": ".tex", "html": ".html", "json": ".json"}


def check_output(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a path that cannot be written, before anything is computed for it.

    Raises
    ------
    InputError
        For an unknown ending, a folder that is not there, a place without permission or of a device, or ``.nc``
        without xarray.

    Examples
    --------
    >>> check_output(Path("curve.xls"), CURVES)
    Traceback (most recent call last):
    sgdlimit.derive.errors.InputError: curve.xls: its ending is not one of .csv, .npz, .nc; the ending says the format
    """
    if path.suffix not in endings:
        raise InputError(str(path), f"its ending is not one of {', '.join(endings)}", "the ending says the format")
    if path.suffix == ".nc":
        package("xarray", str(path))
    folder = path.parent
    if not folder.is_dir():
        raise InputError(str(path), f"there is no folder {folder}", "make it first")
    if path.exists() and not path.is_file():  # a device, too, would be replaced by the file
        raise InputError(str(path), f"it is {'a folder' if path.is_dir() else 'no file'}", "give another path")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InputError(str(path), "there is no permission to write it", "give another path")


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of ``path`` when the block ends well, and vanishes when it does not.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    final = path.resolve()
    temporary = final.with_name(f".{os.getpid()}.{final.name}")
    try:
        yield temporary
        os.replace(temporary, final)
    except OSError as error:
        raise InputError(str(path), *unwritten(error, final.parent, "give another path")) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def save_result(result: Tabular, path: Path) -> None:
    """Write a result in the format that the ending says: see :meth:`sgdlimit.runtime.tables.Tabular.save`.

    Raises
    ------
    InputError
        For an unknown ending, or a file that cannot be written.
    """
    check_output(path, (*CURVES, *FIGURES))
    if path.suffix in FIGURES:
        save_figure(result.plot(), path)
        return
    table = result.table()
    with written(path) as temporary:
        if path.suffix == ".csv":
            write_csv(table, temporary)
        elif path.suffix == ".npz":
            write_npz(table, temporary)
        else:
            write_netcdf(table, temporary, str(path))


def save_figure(figure: Any, path: Path) -> None:
    """Write a Matplotlib figure in the format that the ending says.

    Raises
    ------
    InputError
        For an unknown ending, or a file that cannot be written.
    """
    check_output(path, FIGURES)
    # in memory first: Matplotlib's writer of PDF, stopped half-way in a file, fails in its own way and not the system's
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.removeprefix("."))
    with written(path) as temporary:
        temporary.write_bytes(drawn.getbuffer())


def save_page(text: str, path: Path) -> None:
    """Write a page of HTML.

    Raises
    ------
    InputError
        For another ending, or a file that cannot be written.
    """
    check_output(path, PAGES)
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def about(result: Trajectory | Ensemble | Curves) -> dict[str, Any]:
    """What a result is of, as JSON takes it."""
    facts: dict[str, Any] = {
        "model": result.model.canonical(),
        "parameters": {name: _plain(value) for name, value in result.parameters.items()},
        "dimension": plain(result.instance.dimension),
        "modes": result.instance.modes,
        "instance": repr(result.instance),
        "backend": result.backend,
        "versions": {"sgdlimit": metadata.version("sgdlimit"), "numpy": np.__version__},
    }
    if hasattr(result, "schedule"):
        facts["schedule"] = repr(result.schedule)
    for name in ("rtol", "seed", "dynamics", "precision"):
        if hasattr(result, name):
            facts[name] = getattr(result, name)
    return facts


def plain(value: Any) -> Any:
    """Arrays and numbers as JSON takes them: lists; what is not finite is None, an infinite dimension ``"inf"``."""
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value == math.inf else None
    return value


def _plain(value: Any) -> Any:
    return plain(np.asarray(value, dtype=float)) if np.ndim(value) else float(value)
