"""Execute the notebooks: ``python notebooks/execute.py [--quick] [--write] [NAME ...]``.

Every notebook runs in a fresh kernel of the Python that runs this file; the first error stops it. ``--quick`` sets
``SGDLIMIT_QUICK=1``, which the notebooks read to shorten their runs: a test that all cells run, whose results are
thrown away. ``--write`` puts the full results into the committed files, without what changes from run to run: times of
execution, and name and version of the Python.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path) -> Any:
    """The notebook at a path, executed; ``nbclient.exceptions.CellExecutionError`` where a cell fails."""
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    client.execute()
    return notebook


def stable(notebook: Any) -> Any:
    """The notebook with only what the next execution will have too."""
    from nbformat import from_dict

    notebook.metadata = from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = from_dict({})
    return notebook


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when every notebook ran, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="file names without .ipynb; all of them by default")
    parser.add_argument("--quick", action="store_true", help="short runs: only whether all cells run")
    parser.add_argument("--write", action="store_true", help="put the results into the files")
    given = parser.parse_args(arguments)
    if given.quick and given.write:
        parser.error("--write is for full results: leave --quick out")
    found = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
    unknown = [name for name in given.names if name not in found]
    if unknown:
        parser.error(f"there is no notebook {', '.join(unknown)}; they are {', '.join(found)}")
    try:
        import nbformat
        from nbclient.exceptions import CellExecutionError
    except ImportError as missing:
        print(f'{missing}: pip install ".[notebooks]"', file=sys.stderr)
        return 1

    # what the kernel inherits; frozen modules would have its debugger write a warning into the results
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    os.environ["SGDLIMIT_QUICK"] = "1" if given.quick else "0"
    os.environ.pop("MPLBACKEND", None)  # figures go into the notebook
    failed = False
    for name in given.names or found:
        begin = time.perf_counter()
        try:
            notebook = execute(found[name])
        except CellExecutionError as trouble:
            failed = True
            print(f"{name}: {trouble}", file=sys.stderr)
            continue
        if given.write:
            nbformat.write(stable(notebook), found[name])
        print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
