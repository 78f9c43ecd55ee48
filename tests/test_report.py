"""The page of a sweep: what was asked, what came out, and what makes it again; hostile text stays text."""

from __future__ import annotations

import html
import re
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from sgdlimit.runtime import machine, report
from sgdlimit.runtime.report import Recipe, Report, Rows, report_page
from sgdlimit.runtime.spec_text import toml_text
from sgdlimit.runtime.sweep_plan import plan_of
from sgdlimit.runtime.sweep_report import page, summary
from sgdlimit.runtime.sweep_result import Sweep
from sgdlimit.runtime.sweeping import sweep

pytestmark = pytest.mark.filterwarnings("ignore:.*which sgdlimit.load_sweep reads:UserWarning")

BASE: dict[str, Any] = {
    "model": {"loss": "(r - y)**2/2", "target": {"teacher": "r_star + sigma*xi"}, "adversary": "l2"},
    "parameters": {"sigma": 0.5},
    "instance": {"builder": "isotropic", "dimension": 12, "start_norm": 0.5},
    "run": {"horizon": 60.0, "rtol": 1e-4},
}


@pytest.fixture(scope="module")
def diagram(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    axes = {
        "epsilon": {"from": 0.8, "to": -0.2, "count": 6},
        "schedule": {"gamma": {"from": 0.1, "to": 6.0, "count": 13, "spacing": "log"}},
    }
    asked = {**BASE, "axes": axes, "sweep": {"statistics": ["adversarial_risk", "norm2"], "batch": 20}}
    return sweep(asked, tmp_path_factory.mktemp("diagram") / "s")


def told(text: str) -> list[str]:
    """What the page shows as it is to be typed."""
    return [html.unescape(found) for found in re.findall(r"<pre>(.*?)</pre>", text, flags=re.DOTALL)]


def test_the_page_says_what_was_asked_what_became_of_the_points_and_why(diagram: Sweep) -> None:
    text = page(diagram)
    ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    counts = diagram.counts()
    assert counts["invalid"] == 13
    claim = (
        f"Sweep over epsilon and gamma: {counts['done']} of 78 points solved, {counts['diverged']} diverged, 13 invalid"
    )
    assert f"<h1>{claim}</h1>" in text
    for words in (
        "parameters.epsilon: 6 values from 0.8 to -0.2, equal steps",
        "schedule.gamma: 13 values from 0.1 to 6, equal ratios",
        "up to t = 60",
        "diverged: a number was no longer finite",
        "parameter epsilon: -0.2 is negative",
        "No point was compared with SGD itself",
    ):
        assert words in html.unescape(text), words
    assert text.count("data:image/svg+xml;base64,") == 2
    assert text.count("<math") > 50
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert "13 points without a result" in text
    smallest = f"{np.nanmin(diagram['norm2']):.5g}"
    assert f"<td>{smallest}</td>" in text
    assert page(diagram) == text
    assert summary(diagram).startswith(claim)


def test_what_the_page_says_makes_the_same_points_again(diagram: Sweep, tmp_path: Path) -> None:
    command, spec = told(page(diagram))
    assert command.startswith("sgdlimit sweep swept.toml --backend ")
    (tmp_path / "swept.toml").write_text(spec, encoding="utf-8")
    again = sweep(tmp_path / "swept.toml", tmp_path / "s")
    for name in diagram.names:
        np.testing.assert_array_equal(again[name], diagram[name])


def test_a_file_of_every_kind_of_axis_is_that_of_an_equal_plan() -> None:
    values = {
        **BASE,
        "axes": {
            "schedule": [{"rule": "line_search"}, {"gamma": 0.5}],
            "epsilon": [0.1, 0.2],
            "instance": {"start_norm": [0.1, 0.2]},
            "tau": {"from": 0.1, "to": 1.0, "count": 3, "spacing": "log"},
        },
        "zip": {"path": {"sigma": [0.1, 0.2], "run": {"horizon": [1.0, 2.0]}}},
        "sweep": {"simulate": True, "batch": 7, "statistics": ["norm2"]},
    }
    plan = plan_of(values, "mine.toml")
    assert plan_of(tomllib.loads(toml_text(plan.file())), "mine.toml") == plan


def test_simulations_and_verifications_are_told_with_what_they_are_worth(tmp_path: Path) -> None:
    asked = {
        **BASE,
        "instance": {"builder": "isotropic", "dimension": 40, "start_norm": 0.5},
        "run": {"horizon": 1.0, "rtol": 1e-6},
        "schedule": {"gamma": 0.5},
        "simulate": {"runs": 4},
        "verify": {"dimensions": [40, 80, 160], "budget": 1e6, "resolution": 0.9},
        "sweep": {"simulate": True, "verify": True, "statistics": ["norm2"]},
        "axes": {"epsilon": [0.1, 0.4]},
    }
    found = sweep(asked, tmp_path / "s")
    text = summary(found)
    verdicts = found.counts("verdict")
    assert "SGD itself, 4 runs a point: 2 done. Of 2 means" in text
    assert (
        f"Verifications: {', '.join(f'{n} {word}' for word, n in verdicts.items())}. Each holds at its own level"
        in text
    )
    assert "No point was compared" not in text
    assert "simulated norm2 error" in page(found)


def test_hostile_text_stays_text() -> None:
    bad = '<script>alert(1)</script>"&'
    made = Report(
        claim=bad,
        asked={bad: bad},
        outcome=(bad,),
        figures=(),
        tables=(Rows(bad, (bad,), ((bad,),)), Rows(bad, (bad,), ((bad,),), folded=True)),
        equations=(),
        recipe=Recipe(bad, bad, bad, {bad: bad}),
    )
    text = report_page(made)
    assert "<script" not in text
    ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def test_a_spec_that_is_too_long_to_be_shown_can_be_taken_from_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Report("a", {}, (), (), (), (), Recipe("command", "x.toml", "line = 1\n" * 10, {}))
    assert len(told(report_page(made))) == 2
    monkeypatch.setattr(report, "_LONGEST_SPEC", 20)
    assert told(report_page(made)) == ["command"]
    assert 'download="x.toml"' in report_page(made)


def test_the_machine_has_a_name() -> None:
    assert "cores" in machine.machine()
    assert "numpy" in machine.python_versions()
