"""Notebooks are committed as executed, hold nothing of the machine that did it, and run."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = [path.stem for path in sorted(FOLDER.glob("*.ipynb"))]
pytestmark = pytest.mark.skipif(not NAMES, reason="there are no notebooks here")


def cells(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return found


def code(name: str) -> list[dict[str, Any]]:
    return [cell for cell in cells(name) if cell["cell_type"] == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_committed_as_executed_from_top_to_bottom_without_errors(name: str) -> None:
    assert [cell["execution_count"] for cell in code(name)] == list(range(1, len(code(name)) + 1))
    outputs = [output for cell in code(name) for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs), "no figure"


@pytest.mark.parametrize("name", NAMES)
def test_it_was_executed_in_full_and_can_be_shortened(name: str) -> None:
    source = "".join("".join(cell["source"]) for cell in code(name))
    assert 'QUICK = os.environ.get("SGDLIMIT_QUICK") == "1"' in source


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_nothing_of_the_machine(name: str) -> None:
    """No paths, no times of execution, no version of the Python."""
    document = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert document["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in document["cells"]:
        assert cell["metadata"] == {}
        for output in cell.get("outputs", []):
            shown = output.get("text", []) + [
                line for kind, lines in output.get("data", {}).items() if kind.startswith("text") for line in lines
            ]
            assert not re.search(r"(?<![\w.<])/(home|tmp|root|opt|usr|var|work|Users)/|\b[A-Z]:\\", "".join(shown))


@pytest.mark.long  # .ci/run runs them too
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name: str) -> None:
    if importlib.util.find_spec("nbclient") is None or importlib.util.find_spec("ipykernel") is None:
        pytest.skip('nbclient is missing: pip install ".[notebooks]"')
    done = subprocess.run(
        [sys.executable, FOLDER / "execute.py", "--quick", name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
