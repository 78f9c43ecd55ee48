"""What the pages of the documentation show runs as it is printed, and the reference has every public name."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted([*DOCS.glob("tutorial/*.md"), *DOCS.glob("recipes/*.md"), DOCS / "limits.md", DOCS / "sweeps.md"])
BLOCK = re.compile(r"^( *)```(python|sh|toml|text)(?: (\S+))?\n(.*?)^\1```$", flags=re.MULTILINE | re.DOTALL)
NOT_DOCUMENTED = {"__version__"}
PACKAGES = ("sgdlimit", "sgdlimit.derive", "sgdlimit.codegen", "sgdlimit.runtime")


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, name of the file and text of each block."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(kind, name, textwrap.dedent(text)) for _, kind, name, text in found]


def in_a_shell(text: str, folder: Path) -> str:
    """Output of commands; `sgdlimit` is that of this Python."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'sgdlimit() {{ "{sys.executable}" -m sgdlimit "$@"; }}\n{text}'],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
@pytest.mark.filterwarnings("ignore::sgdlimit.runtime.kernel.NoCompilerWarning")
@pytest.mark.filterwarnings("ignore:.*which sgdlimit.load_sweep reads:UserWarning")
def test_what_a_page_shows_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks run in order, with common names; a block of text after one is what it prints."""
    from sgdlimit.derive import closed_forms

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(closed_forms, "_RULES", dict(closed_forms._RULES))  # a recipe adds one
    names: dict[str, object] = {"__name__": "documentation"}
    printed = None
    for number, (kind, name, text) in enumerate(blocks(page), start=1):
        if kind == "text":
            assert printed is not None, f"block {number} is the output of nothing"
            assert printed.rstrip() == text.rstrip(), f"what block {number} says"
            printed = None
        elif kind == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(text, f"{page.name}, block {number}", "exec"), names)
            printed = output.getvalue()
        elif kind == "sh":
            printed = in_a_shell(text, tmp_path)
        else:
            (tmp_path / name).write_text(text, encoding="utf-8")
            printed = None


def test_the_reference_has_every_public_name() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "api").glob("*.rst")))
    documented = {
        name.rpartition(".")[2] for name in re.findall(r"^\.\. (?:auto\w+|data):: (\S+)$", text, flags=re.MULTILINE)
    }
    public = {name for package in PACKAGES for name in import_module(package).__all__}
    assert public - documented == NOT_DOCUMENTED


def test_the_first_page_has_the_commands_of_the_readme() -> None:
    (command, *_) = [text for kind, _, text in blocks(DOCS.parent / "README.md") if kind == "sh"]
    assert ("sh", "", command) in blocks(DOCS / "index.md")


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = {(DOCS / entry).resolve() for entry in re.findall(r"^([\w./-]+)$", index, flags=re.MULTILINE)}
    pages = [*DOCS.glob("**/*.md"), *DOCS.glob("**/*.rst"), *(DOCS.parent / "notebooks").glob("*.ipynb")]
    assert {page.resolve().with_suffix("") for page in pages} - listed == {DOCS.resolve() / "index"}
