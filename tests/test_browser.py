"""Reports and documents in a real browser, at a desk, on a telephone and on paper; and a broken page is found broken.

Needs Debian's Chromium and playwright (``pip install '.[browser]'``); skipped where they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import WIDTHS, browser, problems

import sgdlimit as sl
from sgdlimit.runtime.cli import app

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:.*which sgdlimit.load_sweep reads:UserWarning"),
]

SWEEP = Path(__file__).parent.parent / "docs" / "sweeps" / "phase-diagram.toml"
LEAST = {"verify": (50, 7), "sweep": (50, 2), "derive": (50, 0)}
"""Formulas and figures that each page has at least."""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Made by the command line."""
    folder = tmp_path_factory.mktemp("pages")
    made = {name: folder / f"{name}.html" for name in LEAST}
    coarse = ["--set", "axes.epsilon.count=9", "--set", "axes.schedule.gamma.count=13", "--set", "run.horizon=40.0"]
    for arguments in (
        ["verify", "adversarial-least-squares", "--budget", "1e8", "--set", "verify.resolution=0.3", "--report"],
        ["sweep", str(SWEEP), *coarse, "--out", str(folder / "s"), "--report"],
        ["derive", "adversarial-logistic-teacher", "--format", "html", "--out"],
    ):
        with pytest.raises(SystemExit) as ended:
            app([*arguments, str(made[arguments[0]])], prog_name="sgdlimit")
        assert ended.value.code == 0
    return made


@pytest.mark.parametrize("name", list(LEAST))
@pytest.mark.parametrize(("width", "media"), [(w, "screen") for w in WIDTHS.values()] + [(794, "print")])
def test_a_page_is_whole_in_a_browser(context: Any, pages: dict[str, Path], name: str, width: int, media: str) -> None:
    formulas, figures = LEAST[name]
    assert problems(context, pages[name], width=width, media=media, formulas=formulas, figures=figures) == []


def test_a_sweep_of_another_model_and_kind_of_axis_is_whole_too(context: Any, tmp_path: Path) -> None:
    values = {
        "model": {"loss": "log(1 + exp(-y*r))", "target": "labels", "adversary": "l2"},
        "parameters": {"epsilon": 0.2},
        "instance": {"builder": "isotropic", "dimension": 20, "labels": [-1, 1], "mean_norm": 1.0, "start_norm": 0.5},
        "run": {"horizon": 5.0, "rtol": 1e-4},
        "axes": {"schedule": [{"gamma": 0.5}, {"rule": "line_search"}], "epsilon": [0.0, 0.1, 0.2, 0.3, 0.4]},
    }
    found = sl.sweep(values, tmp_path / "s")
    found.save_html(tmp_path / "page.html")
    for width in WIDTHS.values():
        assert problems(context, tmp_path / "page.html", width=width, formulas=50, figures=4) == []


BREAKS: dict[str, tuple[Callable[[str], str], str]] = {
    "a script that fails": (lambda t: t.replace("</body>", "<script>nothing.at.all()</script></body>"), "a script fails"),
    "something said on the console": (
        lambda t: t.replace("</body>", "<script>console.error('alas')</script></body>"),
        "the console says error: alas",
    ),
    "a picture from elsewhere": (
        lambda t: t.replace("<h1>", '<img src="http://127.0.0.1:9/x.png" alt=""/><h1>', 1),
        "it asks for http://127.0.0.1:9/x.png",
    ),
    "a style sheet from another file": (
        lambda t: t.replace("<style>", '<link rel="stylesheet" href="other.css"/><style>', 1),
        "it asks for file:",
    ),
    "a damaged figure": (lambda t: t.replace("data:image/svg+xml;base64,PD94", "data:image/svg+xml;base64,AAAA", 1), "cannot be read"),
    "hidden formulas": (lambda t: t.replace("<style>", "<style>math { display: none !important; }", 1), "formulas have no size"),
    "hidden figures": (lambda t: t.replace("<style>", "<style>img { display: none; }", 1), "figures have no size"),
    "no formulas": (lambda t: t.replace("<math", "<span").replace("</math", "</span"), "it has 0 formulas, not 50"),
    "a formula in error": (lambda t: t.replace("</math>", "<merror><mi>x</mi></merror></math>", 1), "formulas are in error"),
    "a table wider than the telephone": (lambda t: t.replace('class="wide"', 'class=""'), "pixels too wide"),
    "an empty page": (lambda t: "<!DOCTYPE html><html><body></body></html>", "hardly a page"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(BREAKS))
def test_a_broken_report_is_found_broken(context: Any, pages: dict[str, Path], tmp_path: Path, what: str) -> None:
    change, told = BREAKS[what]
    whole = pages["verify"].read_text(encoding="utf-8")
    broken = change(whole)
    assert broken != whole
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    found = problems(context, tmp_path / "broken.html", width=WIDTHS["telephone"], formulas=50, figures=7)
    assert any(told in problem for problem in found), found
