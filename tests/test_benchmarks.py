"""Benchmarks at a tiny size: they run, and what they return are numbers. No time is judged."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    batches,
    building,
    dimensions,
    lumped,
    many,
    memory,
    normals,
    right_hand_sides,
    run,
    simulating,
    solving,
    starting,
    stiff,
    sweeping,
)
from benchmarks.peers import installed  # noqa: E402
from benchmarks.problem import MODEL, problem  # noqa: E402
from benchmarks.table import Goal, Table  # noqa: E402
from sgdlimit.runtime.compiler import find_compiler  # noqa: E402
from sgdlimit.runtime.kernel import CKernel, load_kernel  # noqa: E402

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")


def assert_finite(table: Table, column: str, rows: int) -> None:
    """As many rows as there should be, each with a positive number there; no number is infinite or NaN."""
    assert len(table.rows) == rows, table.text()
    for row in table.rows:
        value = row.get(column)
        assert isinstance(value, (int, float)), table.text()
        assert value > 0, table.text()
        assert all(math.isfinite(cell) for cell in row.values() if not isinstance(cell, str)), table.text()


@needs_compiler
def test_solving_is_compared_at_equal_accuracy() -> None:
    table = solving.measure(modes=20, horizon=2.0, outputs=5, rounds=1)
    assert_finite(table, "ms", rows=2 * (2 + len(solving.METHODS)))
    assert_finite(solving.measure_small(horizon=1.0, outputs=3, rounds=2), "ms", rows=3)
    assert all(float(row["error"]) <= 2e-8 for row in table.rows), table.text()


@needs_compiler
def test_stiff_solves_are_compared() -> None:
    table = stiff.measure(modes=8, horizon=10.0, peers=("RK45",), sundials=False, rounds=1)
    assert_finite(table, "ms", rows=4)
    assert all(float(row["error"]) <= 1e-5 for row in table.rows), table.text()
    assert_finite(stiff.measure_long(modes=8, horizons=(1.0, 10.0), sizes=(16,), rounds=1), "ms", rows=3)


@needs_compiler
def test_many_curves_are_compared() -> None:
    assert len(many.measure(curves=4, modes=8, horizon=1.0, outputs=3, rounds=1).rows) >= 5


@needs_compiler
def test_right_hand_sides_are_timed_at_states_of_the_box() -> None:
    names = (right_hand_sides.PEER, "adversarial-logistic-mixture")
    assert_finite(right_hand_sides.measure(names, modes=20, rounds=1, places=2), "worst, us", rows=3)


@needs_compiler
def test_the_right_hand_side_by_hand_is_the_emitted_one() -> None:
    kernel = load_kernel(MODEL, backend="c")
    assert isinstance(kernel, CKernel)
    library = right_hand_sides.repeater()
    for state in right_hand_sides.states(right_hand_sides.PEER, kernel, 20)[:10]:
        emitted, own = (
            [a.copy() for a in right_hand_sides.caller(library, kernel, function, state)(1)]
            for function in (kernel.rhs_function, library.by_hand)
        )
        for a, b in zip(emitted, own, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.max(np.abs(a)))


@needs_compiler
def test_states_have_the_laws_that_they_are_named_for() -> None:
    from sgdlimit.runtime.rule_check import PLACES

    kernel = load_kernel(MODEL, backend="c")
    assert isinstance(kernel, CKernel)
    for place, state in zip(PLACES, right_hand_sides.states(right_hand_sides.PEER, kernel, 20), strict=True):
        m, m_star, Q, Q_star, share, reach, _ = place
        p = state.problem
        second = state.x**2 + state.v
        assert np.sum(second) == pytest.approx(Q)
        assert np.sum(p.teacher**2) == pytest.approx(Q_star)
        assert p.parameters[0, 0, 0] * np.sqrt(np.sum(second)) == pytest.approx(reach)
        if share > 1e-6:
            assert p.means[0] @ p.teacher == pytest.approx(m_star, abs=1e-6)
            assert p.means[0] @ state.x == pytest.approx(m, abs=1e-6)


@needs_compiler
def test_simulating_is_compared() -> None:
    peers, absent = installed()
    table = simulating.measure(dimensions=(20, 40), work=1e3, rounds=1)
    assert_finite(table, "d = 40", rows=6 + len(peers))
    assert all(any(name in note for note in table.notes) for name in absent), table.text()
    judged = simulating.measure(dimensions=(1000,), work=1e3, rounds=1)
    assert len(judged.goals) == 2 + len(peers), judged.text()
    assert_finite(simulating.together(20, work=1e3, rounds=1), "float32", rows=5)
    assert_finite(simulating.threads(20, work=1e3, rounds=1), "s", rows=2)


@needs_compiler
def test_lumps_are_timed_by_their_number() -> None:
    assert_finite(lumped.measure(counts=(1, 4), work=1e3, rounds=1), "per block", rows=2)


def test_the_picture_of_dimensions_is_drawn_from_what_is_measured() -> None:
    found = dimensions.measure((100, 400), steps=2e4, backend="auto")
    for distances in found.values():
        assert np.all(distances.square > 0)
        assert np.all(np.abs(distances.mean) < np.sqrt(distances.square))
    assert len(dimensions.figure(found).axes) == 2


@needs_compiler
def test_normals_are_judged_in_both_precisions() -> None:
    table = normals.measure(draws=4e6)
    assert_finite(table, "chi2 p", rows=2)
    assert all(goal.met for goal in table.goals), table.text()


@pytest.mark.parametrize("peer", installed()[0])
def test_a_peer_is_the_same_algorithm(peer: str) -> None:
    """In law: the means over runs of ``‖X‖²`` and ``‖X − X*‖²`` agree within five standard errors."""
    kernel = load_kernel(MODEL, backend="numpy")
    runs = 200
    p = replace(problem(kernel, 40, [2.0]), runs=runs)
    ends = np.array([np.asarray(installed()[0][peer](p, seed)) for seed in range(runs)])
    plain = np.stack([np.sum(ends**2, axis=1), np.sum((ends - p.teacher) ** 2, axis=1)], axis=1)
    norm2_and_distance2 = kernel.simulate(p)[:, 0, 0, [0, 2]]
    error = np.sqrt((plain.var(axis=0) + norm2_and_distance2.var(axis=0)) / runs)
    assert np.all(np.abs(plain.mean(axis=0) - norm2_and_distance2.mean(axis=0)) < 5 * error)


@needs_compiler
def test_building_is_timed_stage_by_stage() -> None:
    table = building.measure(names=(building.NEW_LOSS,))
    assert_finite(table, "in all", rows=1)
    assert set(building.STAGES) <= table.rows[0].keys()


def test_starting_is_timed_and_tells_what_is_imported() -> None:
    programs = list(starting.PROGRAMS.items())[1:]  # but the command, which has tests of its own
    table = starting.measure(rounds=1, programs=dict(programs), cold=0)
    assert_finite(table, "least", rows=len(programs))
    assert all("numpy" in str(row["imports"]).split() for row in table.rows), table.text()


@pytest.mark.skipif(not memory.STATUS.is_file(), reason="no /proc")
def test_memory_is_measured_for_each_horizon() -> None:
    backend = "numpy" if find_compiler() is None else "c"
    assert_finite(memory.measure(d=2000, horizons=(0.05, 0.1), backends=(backend,)), "peak", rows=2)


@needs_compiler
def test_a_sweep_is_timed_with_its_kernel_and_its_batches() -> None:
    facts = sweeping.once(points=16, modes=4, horizon=0.3)
    assert facts["points"] == 16
    assert 0 < facts["kernel"] < facts["cpu"]
    seconds, count = batches.once(16, 4, 0.3, 4, {"threads": 1})
    assert (seconds > 0, count) == (True, 4)


def test_tables_are_printed_for_people_and_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = Table(
        "title",
        ({"what": "C", "ms": 0.00412345}, {"what": "SciPy", "ratio": 8.0}),
        (Goal("5", "8", True), Goal("6", "3", False)),
    )
    monkeypatch.setattr(run, "BENCHMARKS", {"one": (lambda: table, lambda: table)})
    run.main(["--write", str(tmp_path / "page.md")])
    printed = capsys.readouterr().out
    assert re.search(r"\(one: 0\.\d s\)\n\nall tables: 0 s\n", printed)
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "Written by `python -m benchmarks --write docs/benchmarks.md` in 0 s." in page
    assert "## Where we lose\n\n- `one`: 6; measured 3\n" in page
    assert "goal met: 5; measured 8" in page
    assert "compiler: " in printed
    assert "0.00412" in printed
    assert "goal met: 5; measured 8" in printed
    run.main(["--json", "--quick", "one"])
    document = json.loads(capsys.readouterr().out)
    assert document["tables"][0]["rows"][1] == {"what": "SciPy", "ratio": 8.0}
    with pytest.raises(SystemExit):
        run.main(["two"])


def test_the_tests_that_the_documents_name_exist() -> None:
    """``docs/numerics.md`` names for each number the test that shows it."""
    named = set()
    for document in sorted((ROOT / "docs").glob("*.md")):
        named |= set(re.findall(r"`(tests/\w+\.py)::(\w+)`", document.read_text(encoding="utf-8")))
    assert named
    for file, name in sorted(named):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"
