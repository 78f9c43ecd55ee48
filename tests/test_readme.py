"""The README's Python runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.filterwarnings("ignore::sgdlimit.runtime.kernel.NoCompilerWarning")
def test_the_example_runs_as_printed(
    block: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "passed" in printed
    assert "# Limit of streaming SGD" in printed
    assert (tmp_path / "curve.pdf").read_bytes().startswith(b"%PDF")
    assert str(names["source"]).startswith("/* The high-dimensional limit")


def test_there_are_two_commands_and_one_example() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.count("```sh\n") == 2
    assert len(BLOCKS) == 1
