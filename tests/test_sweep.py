"""``sweep``: every point is that of ``solve``; nothing finished is lost, repeated or doubled; what is wrong is one sentence."""

from __future__ import annotations

import contextlib
import datetime
import doctest
import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
import pytest
from room import files_of_at_most, full

from sgdlimit.derive.errors import BackendError, Diverged, InputError, KernelError, SpecError
from sgdlimit.runtime import (
    cli,
    locks,
    sweep_batch,
    sweep_plan,
    sweep_result,
    sweep_run,
    sweep_store,
    sweep_zarr,
    sweeping,
)
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.figures import picture
from sgdlimit.runtime.locks import held_by, only_one
from sgdlimit.runtime.simulator import simulate
from sgdlimit.runtime.solver import solve
from sgdlimit.runtime.spec import spec_from
from sgdlimit.runtime.spec_text import toml_text
from sgdlimit.runtime.sweep_plan import Plan, plan_from_text, plan_of
from sgdlimit.runtime.sweep_result import load_sweep
from sgdlimit.runtime.sweep_store import SweepInterrupted, SweepStopped, status
from sgdlimit.runtime.sweeping import sweep

pytestmark = pytest.mark.filterwarnings("ignore:.*which sgdlimit.load_sweep reads:UserWarning")

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")

BASE: dict[str, Any] = {
    "model": {"loss": "(r - y)**2/2", "target": {"teacher": "r_star + sigma*xi"}, "adversary": "l2"},
    "parameters": {"sigma": 0.5},
    "instance": {"builder": "power_law", "dimension": 20, "exponent": 0.25, "start_norm": 0.5},
    "run": {"horizon": 5.0, "rtol": 1e-6},
}

FILE = """
[model]
loss = "(r - y)**2/2"
target = {teacher = "r_star + sigma*xi"}
adversary = "l2"

[parameters]
sigma = 0.5

[instance]
builder = "power_law"
dimension = 60
exponent = 0.25

[run]
horizon = 40.0
rtol = 1e-9

[sweep]
batch = 10

[axes]
epsilon = {from = 0.1, to = 2.0, count = 20}
schedule.gamma = {from = 0.05, to = 4.0, count = 20, spacing = "log"}
"""


SLOW = FILE.replace("horizon = 40.0", "horizon = 400.0").replace("rtol = 1e-9", "rtol = 1e-11")
"""Some seconds of work, so that what happens in the middle of it does."""


def of(**sections: Any) -> dict[str, Any]:
    """The base with further sections."""
    return {**BASE, **sections}


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store but the lock and what the command line draws."""
    files = (f for f in sorted(store.rglob("*")) if f.is_file() and f.name not in ("lock", "figure.svg"))
    return {str(f.relative_to(store)): f.read_bytes() for f in files}


@pytest.mark.parametrize("module", [locks, sweep_plan, sweep_result, sweep_store, sweep_zarr, sweeping])
def test_docstrings_run(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


# ── What is computed ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("backend", [pytest.param("c", marks=needs_compiler), "numpy"])
def test_every_point_is_that_of_solve_to_the_last_bit(tmp_path: Path, backend: str) -> None:
    kinds = [{"rule": "line_search"}, {"rule": "polyak"}, {"gamma": 0.5}]
    axes = {"epsilon": [0.1, 0.4], "schedule": kinds, "instance": {"exponent": [0.1, 0.6]}}
    found = sweep(of(axes=axes, run={"times": [1.0, 5.0], "rtol": 1e-6}), tmp_path / "s", backend=backend)
    assert found.dims == ("epsilon", "schedule", "exponent", "time")
    assert found["adversarial_risk"].shape == found["norm2"].shape == (2, 3, 2, 2)
    assert found.coordinates["schedule"].tolist() == ["line_search", "polyak", "gamma=0.5"]
    assert (found.status == "done").all()
    for i, epsilon in enumerate(axes["epsilon"]):
        for j, schedule in enumerate(kinds):
            for k, exponent in enumerate(axes["instance"]["exponent"]):
                spec = spec_from(
                    of(schedule=schedule), "s", Path(), {"parameters.epsilon": epsilon, "instance.exponent": exponent}
                )
                alone = solve(**{**spec.arguments, "times": [1.0, 5.0], "horizon": None}, rtol=1e-6, backend=backend)
                for name in alone.names:
                    np.testing.assert_array_equal(found[name][i, j, k], alone[name])


def test_axes_that_move_together_make_one_dimension_and_per_class_values_and_kinds_of_builders_are_values(
    tmp_path: Path,
) -> None:
    mixture = {
        "model": {"loss": "log(1 + exp(-y*r))", "target": "labels", "adversary": "l2"},
        "parameters": {"epsilon": 0.2},
        "instance": {"builder": "isotropic", "dimension": 10, "labels": [-1, 1], "mean_norm": 1.0},
        "schedule": {"gamma": 0.5},
        "run": {"horizon": 2.0, "rtol": 1e-6},
    }
    shares = [[0.5, 0.5], [0.2, 0.8], [0.1, 0.9]]
    zipped = {
        "path": {
            "instance": {"probabilities": shares, "mean_norm": [1.0, 2.0, 3.0]},
            "schedule": {"gamma": [0.1, 0.2, 0.3]},
        }
    }
    found = sweep({**mixture, "zip": zipped, "axes": {"epsilon": [0.0, 0.2]}}, tmp_path / "s", backend="numpy")
    assert found.dims == ("epsilon", "path")
    assert found.coordinates["probabilities"].tolist() == ["[0.5, 0.5]", "[0.2, 0.8]", "[0.1, 0.9]"]
    values = np.moveaxis(found["robust_error"], found.dims.index("path"), 0)
    for k in range(3):
        changed = {
            "instance.probabilities": shares[k],
            "instance.mean_norm": k + 1.0,
            "schedule.gamma": [0.1, 0.2, 0.3][k],
        }
        alone = solve(
            **spec_from(mixture, "s", Path(), {**changed, "parameters.epsilon": 0.2}).arguments,
            rtol=1e-6,
            backend="numpy",
        )
        # a solve with one output time takes other steps than one with 201
        np.testing.assert_allclose(values[k, 1], alone["robust_error"][-1], rtol=1e-5)


def test_a_point_that_diverges_or_cannot_be_is_a_result_with_its_time_and_reason(tmp_path: Path) -> None:
    axes = {"epsilon": [0.1, -1.0], "schedule": {"gamma": [0.5, 50.0]}, "instance": {"exponent": [0.1, 1.5]}}
    found = sweep(of(axes=axes), tmp_path / "s", backend="numpy")
    assert found.status.tolist() == [[["done", "invalid"], ["diverged", "invalid"]], [["invalid"] * 2] * 2]
    spec = spec_from(of(), "s", Path(), {"parameters.epsilon": 0.1, "instance.exponent": 0.1, "schedule.gamma": 50.0})
    with pytest.raises(Diverged) as alone:
        solve(**{**spec.arguments, "times": [5.0]}, rtol=1e-6, backend="numpy")
    assert found["ended"][0, 1, 0] == alone.value.time
    assert np.isnan(found["adversarial_risk"][0, 1, 0])
    assert found["reason"][1, 0, 0] == "parameter epsilon: -1 is negative; give 0 or a positive number"
    assert found["reason"][0, 0, 1].startswith("sweep: instance.exponent: 1.5 is not below 1")
    assert found.counts() == {"done": 1, "diverged": 1, "invalid": 6}


def test_an_ensemble_beside_the_limit_is_that_of_simulate(tmp_path: Path) -> None:
    asked = of(
        axes={"epsilon": [0.1, 0.4], "simulate": {"seed": [3, 4]}}, schedule={"gamma": 0.5}, simulate={"runs": 3}
    )
    found = sweep({**asked, "sweep": {"simulate": True, "statistics": ["norm2"]}}, tmp_path / "s", backend="numpy")
    spec = spec_from(of(schedule={"gamma": 0.5}), "s", Path(), {"parameters.epsilon": 0.4})
    alone = simulate(**{**spec.arguments, "times": [5.0]}, runs=3, seed=4, backend="numpy")
    assert found.dims == ("epsilon", "seed")
    assert found["simulated_norm2"][1, 1] == alone.mean("norm2")[-1]
    assert found["simulated_norm2_error"][1, 1] == alone.standard_error("norm2")[-1]
    assert found["norm2"][1, 0] == found["norm2"][1, 1]  # a limit has no seed
    assert "adversarial_risk" not in found.names


@needs_compiler
def test_threads_and_the_size_of_batches_change_no_bit(tmp_path: Path) -> None:
    axes = {"epsilon": {"from": 0.1, "to": 2.0, "count": 7}, "schedule": {"gamma": [0.1, 0.5, 9.0]}}
    one = sweep(of(axes=axes, sweep={"batch": 21}), tmp_path / "one", threads=1)
    other = sweep(of(axes=axes, sweep={"batch": 2}), tmp_path / "other", threads=3)
    for name in one.names:
        np.testing.assert_array_equal(one[name], other[name])


# ── The plan ────────────────────────────────────────────────────────────────────────────────────────────────


def test_points_are_numbered_so_that_neighbours_share_the_instance_and_the_kernel() -> None:
    axes = {
        "epsilon": [1, 2],
        "instance": {"exponent": [0.1, 0.2, 0.3]},
        "schedule": {"gamma": {"from": 0.1, "to": 1.0, "count": 5}},
    }
    plan = plan_of(of(axes=axes), "s")
    points = [tuple(plan.at(k).values()) for k in range(plan.points)]
    assert len(set(points)) == plan.points == 30
    assert plan.together == 10
    for k in range(3):
        assert {point[0] for point in points[10 * k : 10 * k + 10]} == {axes["instance"]["exponent"][k]}


def test_the_text_of_a_plan_says_all_of_it_and_does_not_grow_with_the_points() -> None:
    axes = {"epsilon": {"from": 0.1, "to": 1.0, "count": 10**6}, "schedule": {"gamma": [0.1, float("1e-300")]}}
    plan = plan_of(of(axes=axes), "s")
    assert plan_from_text(plan.text()) == Plan(**{**vars_of(plan), "versions": {}})
    assert len(plan.text()) < 3000
    assert plan.at(2 * 10**6 - 1) == {"parameters.epsilon": 1.0, "schedule.gamma": 1e-300}


def vars_of(plan: Plan) -> dict[str, Any]:
    import dataclasses

    return {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}


def test_equal_ratios_end_where_they_should_and_are_equal() -> None:
    span = sweep_plan.Span(0.05, 8.0, 61, "log")
    values = np.array([span[k] for k in range(61)])
    assert (values[0], values[-1]) == (0.05, 8.0)
    np.testing.assert_allclose(np.diff(np.log(values)), np.log(160) / 60, rtol=1e-10)


# ── Bad files ───────────────────────────────────────────────────────────────────────────────────────────────

BAD = [
    ({"axes": {"epsilonn": [1.0]}}, r"parameters.epsilonn: the model has no such parameter; did you mean epsilon"),
    ({"axes": {"epsilon": []}}, r"axes.epsilon: the axis is empty"),
    ({"axes": {}}, r"axes: there are none"),
    ({"axes": {"epsilon": 0.5}}, r"axes.epsilon: 0.5 is one value, not an axis"),
    ({"axes": {"epsilon": [0.1, "b"]}}, r"axes.epsilon: it mixes numbers and texts"),
    ({"axes": {"epsilon": [0.1, 0.1]}}, r"axes.epsilon: 0.1 is there twice"),
    ({"axes": {"epsilon": {"from": 0.1, "to": 2.0}}}, r"axes.epsilon.count: is missing; give how many values"),
    ({"axes": {"epsilon": {"from": 0.0, "to": 2.0, "count": 3, "spacing": "log"}}}, r"equal ratios need ends above 0"),
    ({"axes": {"instanc": {"exponent": [0.1]}}}, r"no section 'instanc'; did you mean instance"),
    ({"axes": {"instance": {"exponant": [0.1]}}}, r"instance: there is no key 'exponant'; did you mean exponent"),
    ({"axes": {"epsilon": [0.1], "simulate": {"seed": [1, 2]}}}, r"a limit has no seed"),
    ({"axes": {"schedule": [{"gamma": 1.0}]}, "zip": {"a": {"schedule": {"gamma": [1.0]}}}}, r"the axis schedule gives it too"),
    ({"zip": {"a": {"epsilon": [0.1, 0.2], "tau": [0.1]}}}, r"zip.a: there are 2 of parameters.epsilon, 1 of parameters.tau"),
    ({"axes": {"epsilon": [0.1]}, "sweep": {"statistics": ["risk"]}}, r"sweep.statistics: there is no statistic 'risk'"),
    ({"axes": {"epsilon": [0.1]}, "sweep": {"bach": 3}}, r"sweep: there is no key 'bach'; did you mean batch"),
    ({"axes": {"epsilon": [-0.1]}}, r"parameter epsilon: -0.1 is negative"),
    ({"axes": {"run": {"times": [[1.0]]}}}, r"it says what is recorded"),
    ({"axes": {"simulate": {"seed": [1, 1.5]}}, "sweep": {"simulate": True}}, r"simulate.seed: value 1, 1.5, is no seed"),
    ({"axes": {"simulate": {"seed": [-1]}}, "sweep": {"simulate": True}}, r"value 0, -1, is no seed; .* from 0 up to 2\^63 - 1"),
    ({"axes": {"simulate": {"seed": [2**64 - 1]}}, "sweep": {"verify": True}}, r"is no seed"),
    ({"axes": {"simulate": {"seed": {"from": 0, "to": 5, "count": 3}}}, "sweep": {"simulate": True}}, r"are not all whole"),
    ({"axes": {"epsilon": [datetime.date(2026, 12, 1)]}}, r"axes.epsilon: it is the date 2026-12-01; write text, numbers"),
    ({"axes": {"epsilon": [0.1]}, "parameters": {"sigma": datetime.time(1)}}, r"parameters.sigma: it is the time"),
    ({"zip": {"status": {"epsilon": [0.1], "tau": [0.2]}}}, r"zip.status: a result has that name"),
    ({"zip": {"norm2": {"epsilon": [0.1], "tau": [0.2]}}}, r"zip.norm2: a result has that name"),
    ({"axes": {"run": {"horizon": [1.0, 7.0]}}, "run": {"times": [1.0, 5.0]}}, r"\[run\] has times, which end every curve"),
]  # fmt: skip


@pytest.mark.parametrize(("sections", "told"), BAD)
def test_a_bad_file_gets_one_sentence_and_no_store(tmp_path: Path, sections: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        sweep({**of(schedule={"gamma": 0.5}), **sections}, tmp_path / "s", backend="numpy")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "s").exists()


def test_axes_of_python_are_lists_ranges_and_arrays(tmp_path: Path) -> None:
    axes = {"epsilon": np.array([0.1, 0.25]), "schedule": {"gamma": (0.5, 1)}, "simulate": {"seed": range(2)}}
    plan = plan_of(of(axes=axes, sweep={"simulate": True}, simulate={"runs": np.int64(3)}), "s")
    given = {axis.key: axis.values for dimension in plan.dimensions for axis in dimension.axes}
    assert given == {"parameters.epsilon": (0.1, 0.25), "schedule.gamma": (0.5, 1), "simulate.seed": (0, 1)}
    assert plan_from_text(plan.text()).text() == plan.text()
    assert plan.document["simulate"] == {"runs": 3}


def test_a_million_million_points_are_counted_and_asked_about(tmp_path: Path) -> None:
    axes = {
        "epsilon": {"from": 0.1, "to": 1.0, "count": 10**6},
        "schedule": {"gamma": {"from": 0.1, "to": 1.0, "count": 10**6}},
    }
    with pytest.raises(SpecError, match=r"1,000,000,000,000 points .*say --yes"):
        sweep(of(axes=axes), tmp_path / "s", backend="numpy")
    plan = plan_of(of(axes=axes), "s")
    sweep_plan.check_size(plan, yes=True)
    assert plan.at(123_456_789_012)["schedule.gamma"] == axis_value(axes["schedule"]["gamma"], 789_012)


def axis_value(axis: Any, index: int) -> float:
    return float(f"{axis['from'] + (axis['to'] - axis['from']) * (index / (axis['count'] - 1)):.15g}")


# ── The store ───────────────────────────────────────────────────────────────────────────────────────────────

SMALL = of(axes={"epsilon": [0.1, 0.2, 0.3], "schedule": {"gamma": [0.1, 0.5]}}, sweep={"batch": 2})


def test_another_file_another_version_and_another_folder_are_told(tmp_path: Path) -> None:
    sweep(SMALL, tmp_path / "s", backend="numpy")
    changed = {**SMALL, "run": {"horizon": 6.0, "rtol": 1e-6}, "axes": {**SMALL["axes"], "epsilon": [0.1, 0.2]}}
    with pytest.raises(
        InputError, match=r"it holds another sweep: run.horizon is 5.0 there and 6.0 here; axes.parameters.epsilon"
    ):
        sweep(changed, tmp_path / "s", backend="numpy")
    file = tmp_path / "s" / "sweep.json"
    plan = json.loads(file.read_text())
    file.write_text(json.dumps({**plan, "versions": {**plan["versions"], "sgdlimit": "0.0.7"}}))
    with pytest.raises(InputError, match=r"it was made by sgdlimit 0.0.7, this is"):
        sweep(SMALL, tmp_path / "s", backend="numpy")
    file.write_text(json.dumps({**plan, "store": 99}))
    for look in (lambda: sweep(SMALL, tmp_path / "s", backend="numpy"), lambda: load_sweep(tmp_path / "s")):
        with pytest.raises(InputError, match=r"its format is 99 and this version reads 2"):
            look()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"it holds thesis.tex, which is not a sweep's"):
        sweep(SMALL, tmp_path / "mine", backend="numpy")


def test_who_waits_for_a_lock_goes_on_when_the_holder_is_gone(tmp_path: Path) -> None:
    code = f"from sgdlimit.runtime.locks import alone; from pathlib import Path; import time\nwith alone(Path({str(tmp_path / 'lock')!r})): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        done = threading.Event()

        def wait() -> None:
            with locks.alone(tmp_path / "lock"):
                done.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not done.wait(0.2)
        child.kill()
        assert done.wait(20)
        waiting.join()


def test_one_process_writes_a_store_and_a_dead_one_leaves_no_lock(tmp_path: Path) -> None:
    found = sweep(SMALL, tmp_path / "s", backend="numpy")
    found.store.path(0).unlink()
    with only_one(tmp_path / "s" / "lock", "process 42 on here") as own:
        assert own
        assert status(tmp_path / "s").running == "process 42 on here"
        code = f"from sgdlimit.runtime.locks import only_one; from pathlib import Path\nwith only_one(Path({str(tmp_path / 's' / 'lock')!r}), 'x') as own: print(own)"
        assert (
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
        )
        with pytest.raises(InputError, match=r"process 42 on here is writing it; wait for it, or give another store"):
            sweep(SMALL, tmp_path / "s", backend="numpy")
    assert held_by(tmp_path / "s" / "lock") == ""
    sweep(SMALL, tmp_path / "s", backend="numpy")


def test_a_full_disk_is_said_and_everything_finished_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = contents(sweep(SMALL, tmp_path / "whole", backend="numpy").store.folder)
    real, written = np.savez, []

    def full(file: IO[bytes], **arrays: Any) -> None:
        if written:
            file.write(b"some of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(file)
        real(file, **arrays)

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(SweepStopped, match=r"No space left on device; every finished batch is kept"):
        sweep(SMALL, tmp_path / "s", backend="numpy")
    monkeypatch.undo()
    assert sum(name.startswith("batches") for name in contents(tmp_path / "s")) == 1
    assert not list((tmp_path / "s").rglob("*.tmp"))
    sweep(SMALL, tmp_path / "s", backend="numpy")
    assert contents(tmp_path / "s") == whole


def test_a_sweep_goes_on_when_there_is_room_again_wherever_it_was_stopped(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    whole = contents(sweep(SMALL, tmp_path / "whole", backend="numpy").store.folder)
    sizes = {name: len(content) for name, content in whole.items()}
    batch = max(size for name, size in sizes.items() if name.startswith("batches"))
    assert sizes["sweep.json"] < batch
    store, told = tmp_path / "s", "cannot be written: File too large; {}; raise the limit .*, and give the same command"

    def stopped(size: int, place: str, kept: str, progress: Any = None) -> list[str]:
        with files_of_at_most(size), pytest.raises(SweepStopped, match=rf"{place}: {told.format(kept)}"):
            sweep(SMALL, store, backend="numpy", progress=progress)
        return list(contents(store))

    assert stopped(sizes["sweep.json"] - 1, "sweep.json", "every finished batch is kept") == []
    assert stopped(batch - 1, r"\d+.npz", "every finished batch is kept") == ["sweep.json"]
    (store / "lock").write_text("")
    assert stopped(0, "s", "every finished batch is kept") == ["sweep.json"]

    def then_none(done: int, points: int) -> None:
        """All batches have room, the data set has none."""
        if done == points:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    kept = [name for name in whole if not name.startswith("sweep.zarr")]
    assert stopped(batch, "sweep.zarr", "all 6 points are in the batches", then_none) == kept
    assert not list(store.rglob("*.tmp"))
    assert contents(sweep(SMALL, store, backend="numpy").store.folder) == whole


@pytest.mark.parametrize(("section", "what"), [("simulate", "simulate"), ("verify", "verify"), ("", "solve_many")])
def test_a_machine_that_cannot_build_a_kernel_ends_the_sweep_and_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, what: str
) -> None:
    values = {**SMALL, "sweep": {**SMALL["sweep"], **({section: True} if section else {})}}

    def no_room(*_: object, **__: object) -> None:
        raise KernelError("temporary files cannot be written in /tmp (No space left on device); make room")

    monkeypatch.setattr(sweep_batch, what, no_room)
    with pytest.raises(KernelError, match=rf"^{socket.gethostname()}: temporary files cannot be written"):
        sweep(values, tmp_path / "s", backend="numpy")
    assert [name for name in contents(tmp_path / "s") if name.startswith("batches")] == []


def test_a_picture_without_room_in_the_store_is_an_error_and_what_was_asked_for_is_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "map.toml").write_text(toml_text(SMALL))
    monkeypatch.setattr(sweep_result.Sweep, "plot", lambda _: picture(1.0, 1.0))
    monkeypatch.setattr(Path, "write_bytes", full)
    shown = run("sweep", "map.toml", "--backend", "numpy", "--table", "map.csv")
    assert shown.code == 2
    assert "map.sweep/figure.svg: cannot be written: No space left on device; make room" in shown.err
    assert "map.sweep: 6 points: " in shown.out
    assert (tmp_path / "map.csv").exists()


@needs_compiler
def test_a_curve_that_stops_says_why_and_so_does_the_summary(tmp_path: Path) -> None:
    # a ridge of 1e300 is not finite in the equations: no step is short enough
    asked = of(
        axes={"tau": [0.0, 1e300], "epsilon": [0.1]}, schedule={"gamma": 0.5}, run={"horizon": 1.0, "rtol": 1e-6}
    )
    found = sweep(asked, tmp_path / "s")
    assert found.status.tolist() == [["done"], ["stopped"]]
    assert found["reason"][0, 0] == ""
    assert found["reason"][1, 0].startswith("the integrator stopped at t = ")
    assert f"  {found['reason'][1, 0]}" in sweeping.summary(found).splitlines()


def test_too_little_memory_for_a_point_is_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sweep_batch.spec_from

    def short(values: Any, source: str, folder: Path, overrides: dict[str, Any]) -> Any:
        if overrides["instance.exponent"] == 0.2:
            raise MemoryError
        return real(values, source, folder, overrides)

    monkeypatch.setattr(sweep_batch, "spec_from", short)
    axes = {"epsilon": [0.1, 0.3], "instance": {"exponent": [0.1, 0.2]}}
    found = sweep(of(axes=axes, schedule={"gamma": 0.5}, sweep={"batch": 2}), tmp_path / "s", backend="numpy")
    assert found.status.tolist() == [["done", "stopped"]] * 2
    assert found["reason"][0, 1] == "there is not enough memory for it"


def test_the_summary_says_what_was_simulated_and_verified(tmp_path: Path) -> None:
    asked = of(
        axes={"epsilon": [0.1, 0.2]},
        schedule={"gamma": 0.5},
        simulate={"runs": 2},
        verify={"dimensions": [20, 40], "budget": 1e5},
        sweep={"simulate": True, "verify": True},
        run={"horizon": 0.5},
    )
    told = sweeping.summary(sweep(asked, tmp_path / "s", backend="numpy")).splitlines()
    assert told[0].endswith(": 2 points: 2 done")
    assert told[1] == "  simulated: 2 done"
    assert re.fullmatch(r"  verified: \d \w+(, \d \w+)?", told[2])


def test_the_batch_is_what_half_a_second_solves_and_the_store_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {name: section for name, section in SMALL.items() if name != "sweep"}
    monkeypatch.setattr(sweeping, "seconds_a_point", lambda *_: 0.1)
    assert sweep(asked, tmp_path / "s", backend="numpy").plan.batch == 2
    monkeypatch.setattr(sweeping, "seconds_a_point", lambda *_: 10.0)
    assert sweep(asked, tmp_path / "other", backend="numpy").plan.batch == 1
    (tmp_path / "s" / "batches" / "000000001.npz").unlink()
    again = sweep(asked, tmp_path / "s", backend="numpy")  # whatever a point costs today
    assert again.plan.batch == 2
    assert again.counts() == {"done": 6}


def test_a_point_is_timed_by_solving_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[int] = []
    real = sweep_batch.solve_many

    def slow(*arguments: Any, **keywords: Any) -> Any:
        solved.append(len(arguments[2]))
        time.sleep(0.01 * solved[-1])
        return real(*arguments, **keywords)

    plan, sources = sweeping.settled(plan_of(SMALL, "s"), str(tmp_path), "numpy")
    monkeypatch.setattr(sweep_batch, "solve_many", slow)
    monkeypatch.setattr(sweep_batch, "_ENOUGH", 100.0)  # as many as there are, whatever they take
    assert 0.01 < sweep_batch.seconds_a_point(plan, sources, str(tmp_path)) < 10
    assert solved == [1, 6]
    monkeypatch.setattr(sweep_batch, "_ENOUGH", 0.005)
    assert sweep_batch.seconds_a_point(plan, sources, str(tmp_path)) > 0.01
    assert solved == [1, 6, 1]


def test_the_data_are_those_of_the_beginning_on_every_machine(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.where(np.arange(60) % 2, 1.0, -1.0)
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, X=rng.standard_normal((60, 4)) + 0.5 * y[:, None], y=y)
    asked = {
        "model": {"loss": "log(1 + exp(-y*r))", "target": "labels"},
        "instance": {"builder": "from_data", "classes": [-1, 1]},
        "schedule": {"gamma": 0.5},
        "run": {"horizon": 1.0, "rtol": 1e-6},
        "axes": {"instance": {"file": ["a.npz", "b.npz"]}},
    }
    (tmp_path / "mine.toml").write_text(toml_text(asked))
    plan, sources = sweeping.settled(*sweeping.read_plan(tmp_path / "mine.toml"), "numpy")
    assert set(plan.data) == {"a.npz", "b.npz"}
    folder = str(tmp_path)
    arrays = sweep_batch.run_batch(replace(plan, batch=2).text(), sources, folder, 0)
    assert arrays["reason"].tolist() == ["", ""]
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(BackendError, match=r"a.npz cannot be read: No such file .*; put the sweep's file there"):
        sweep_batch.run_batch(plan.text(), sources, str(tmp_path / "elsewhere"), 0)
    np.savez(tmp_path / "b.npz", X=rng.standard_normal((60, 4)), y=y)
    with pytest.raises(BackendError, match=r"b.npz holds other data than when the sweep began"):
        sweep_batch.run_batch(plan.text(), sources, folder, 0)


def test_a_store_that_is_whole_is_read_though_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr")
    whole = sweep(SMALL, tmp_path / "s", backend="numpy")

    def denied(*_: Any) -> Any:
        raise AssertionError("it is written to")

    monkeypatch.setattr(sweep_store, "write_durably", denied)
    monkeypatch.setattr(sweep_store, "only_one", denied)
    assert repr(sweep(SMALL, tmp_path / "s", backend="numpy")) == repr(whole)


def test_batches_without_a_plan_a_damaged_plan_and_an_unreadable_batch_are_told(tmp_path: Path) -> None:
    found = sweep(SMALL, tmp_path / "s", backend="numpy")
    file = tmp_path / "s" / "sweep.json"
    text = file.read_text()
    for broken in ({"store": 2}, {**json.loads(text), "dimensions": [1]}, {**json.loads(text), "batch": 0}):
        file.write_text(json.dumps(broken))
        for look in (lambda: sweep(SMALL, tmp_path / "s", backend="numpy"), lambda: load_sweep(tmp_path / "s")):
            with pytest.raises(InputError, match=r"sweep.json: it is not what a sweep wrote"):
                look()
    file.unlink()
    other = {**SMALL, "run": {"horizon": 6.0}}
    shutil.rmtree(tmp_path / "s" / "sweep.zarr", ignore_errors=True)
    with pytest.raises(InputError, match=r"it holds batches but no sweep.json that says of which sweep they are"):
        sweep(other, tmp_path / "s", backend="numpy")
    file.write_text(text)
    found.store.path(1).unlink()
    found.store.path(1).mkdir()
    with pytest.raises(SweepStopped, match=r"000000001.npz: cannot be read: Is a directory; see to it"):
        load_sweep(tmp_path / "s")["norm2"]


def test_the_rate_is_of_who_runs_it_now_and_the_end_is_the_data_set(tmp_path: Path) -> None:
    found = sweep(SMALL, tmp_path / "s", backend="numpy")
    yesterday = time.time() - 86_400
    for batch in range(3):
        os.utime(found.store.path(batch), (yesterday + batch, yesterday + batch))
    assert np.isnan(status(tmp_path / "s").rate)  # nobody runs it
    found.store.path(2).unlink()
    with only_one(tmp_path / "s" / "lock", "process 42 on here"):
        assert np.isnan(status(tmp_path / "s").rate)  # nothing is finished since
        begun = time.time() - 1000
        os.utime(tmp_path / "s" / "lock", (begun, begun))
        os.utime(found.store.path(1), (begun + 500, begun + 500))
        assert status(tmp_path / "s").rate == pytest.approx(0.002, rel=0.05)  # 2 points in 1000 s
    sweep(SMALL, tmp_path / "s", backend="numpy")
    assert str(status(tmp_path / "s")) == "6 of 6 points (100.0 %), finished"
    shutil.rmtree(tmp_path / "s" / "sweep.zarr", ignore_errors=True)
    with only_one(tmp_path / "s" / "lock", "process 42 on here"):
        assert str(status(tmp_path / "s")).endswith("being made one data set by process 42 on here")


def test_batches_that_end_their_workers_are_named_when_all_others_are_there() -> None:
    def submit(batch: int) -> Any:
        future: Any = futures.Future()
        if batch in (1, 3):
            future.set_exception(RuntimeError("killed"))
        else:
            future.set_result({"status": np.array([batch])})
        return future

    def given(passes_over: bool) -> list[int]:
        workers = sweep_run.Workers(submit, lambda: 2, lambda: None, "the cluster", lambda _: passes_over)
        for batch, _ in sweep_run.each_finished(workers, range(6)):
            finished.append(batch)
        return finished

    finished: list[int] = []
    with pytest.raises(SweepStopped, match=r"batches 1, 3 ended the cluster's workers several times, all others"):
        given(passes_over=True)
    assert sorted(finished) == [0, 2, 4, 5]
    with pytest.raises(RuntimeError, match="killed"):
        given(passes_over=False)


def test_a_damaged_batch_is_named(tmp_path: Path) -> None:
    found = sweep(SMALL, tmp_path / "s", backend="numpy")
    path = found.store.path(1)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(SweepStopped, match=r"000000001.npz: the file is damaged; delete it"):
        load_sweep(tmp_path / "s")["norm2"]


def test_an_interrupt_leaves_a_store_that_the_same_call_finishes(tmp_path: Path) -> None:
    whole = contents(sweep(SMALL, tmp_path / "whole", backend="numpy").store.folder)

    def interrupt(done: int, total: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(SweepInterrupted, match=r"interrupted: 2 of 6 points are in .*; the same command goes on"):
        sweep(SMALL, tmp_path / "s", backend="numpy", progress=interrupt)
    half = load_sweep(tmp_path / "s")
    assert half.counts() == {"not yet": 4, "done": 2}
    assert np.isnan(half["norm2"]).sum() == 4
    sweep(SMALL, tmp_path / "s", backend="numpy")
    assert contents(tmp_path / "s") == whole


# ── The command ─────────────────────────────────────────────────────────────────────────────────────────────

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> SimpleNamespace:
        with pytest.raises(SystemExit) as ended:
            cli.app(list(arguments), prog_name="sgdlimit")
        captured = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=captured.out, err=captured.err)

    return call


def test_help_has_an_example(run: Run) -> None:
    assert "Example: sgdlimit sweep" in run("sweep", "--help").out


def test_the_command_runs_tells_its_status_and_says_what_is_wrong(run: Run) -> None:
    Path("mine.toml").write_text(FILE.replace("count = 20", "count = 3").replace("40.0", "4.0"))
    assert (
        run("sweep", "mine.toml", "--status").err
        == "error: mine.sweep: there is no sweep in it, no sweep.json; give the folder of a sweep\n"
    )
    done = run("sweep", "mine.toml", "--backend", "numpy")
    assert done.code == 0
    assert done.out.startswith("mine.sweep: 9 points: 9 done; ")
    assert done.out.endswith("written: mine.sweep/figure.svg\n")
    assert Path("mine.sweep/figure.svg").read_bytes().startswith(b"<?xml")
    assert run("sweep", "mine.toml", "--status").out == "mine.sweep: 9 of 9 points (100.0 %), finished\n"
    told = json.loads(run("sweep", "mine.toml", "--status", "--json").out)
    assert (told["points"], told["finished"], told["running"]) == (9, 9, "")
    (Path("mine.sweep") / "batches" / "000000000.npz").unlink()
    assert "0 of 9 points (0.0 %), not running; the same command" in run("sweep", "mine.toml", "--status").out
    for arguments, message in [
        (("none.toml",), "none.toml: there is no such file"),
        (("mine.toml", "--backend", "numpy", "--set", "run.horizon=3.0"), "it holds another sweep: run.horizon is 4.0 there and 3.0 here"),
        (("mine.toml", "--set", "axes.epsilon=[]"), "axes.epsilon: the axis is empty"),
    ]:  # fmt: skip
        failed = run("sweep", *arguments)
        assert failed.code == 2
        assert message in failed.err
        assert failed.err.count("\n") == 1


def test_without_dask_the_extra_is_named_and_with_it_a_silent_scheduler(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.toml").write_text(FILE)
    monkeypatch.setitem(sys.modules, "distributed", None)
    failed = run("sweep", "mine.toml", "--backend", "numpy", "--scheduler", "tcp://127.0.0.1:1")
    assert (failed.code, failed.err) == (
        2,
        "error: --scheduler: it needs Dask distributed, which is not installed; pip install 'sgdlimit[sweep]'\n",
    )


def test_the_core_imports_no_extra_and_a_sweep_without_them_says_which_to_install(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(FILE.replace("count = 20", "count = 3").replace("40.0", "4.0"))
    extras = ("dask", "distributed", "zarr", "xarray", "pandas")
    code = f"""
import sys
from sgdlimit.runtime import cli, solver, spec, sweep_picture, sweep_report, sweeping
print(sorted(set({extras}) & set(sys.modules)))
sys.modules.update(dict.fromkeys({extras}))
cli.app(["sweep", "mine.toml", "--backend", "numpy", "--out", "s"], prog_name="sgdlimit")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[]\ns: 9 points: 9 done; ")
    assert "pip install 'sgdlimit[sweep]' (there is no xarray, zarr, dask)" in done.stderr


def test_a_point_that_fails_is_stopped_with_its_reason_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sweep_batch.solve_many

    def failing(*arguments: Any, **keywords: Any) -> Any:
        if 0.2 in keywords["over"]["epsilon"]:
            raise BackendError("the optimum does not converge")
        return real(*arguments, **keywords)

    monkeypatch.setattr(sweep_batch, "solve_many", failing)
    found = sweep({**SMALL, "sweep": {"batch": 6}}, tmp_path / "s", backend="numpy")
    assert found.status.tolist() == [["done"] * 2, ["stopped"] * 2, ["done"] * 2]
    assert found["reason"][1, 0] == "the optimum does not converge"
    assert np.isfinite(found["norm2"]).tolist() == [[True] * 2, [False] * 2, [True] * 2]


def test_ctrl_c_ends_with_130_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SLOW)
    child = started(tmp_path)
    wait_for_batches(tmp_path / "s", 2, child)
    seen = status(tmp_path / "s")
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=20)
    assert child.returncode == 130, told
    assert told.startswith("interrupted: ")
    assert told.endswith("of 400 points are in s; the same command goes on\n")
    assert seen.running.startswith(f"process {child.pid} on ")
    assert seen.points == 400
    assert 20 <= seen.finished < 400
    assert seen.rate > 0
    assert " a second, " in str(seen)
    assert status(tmp_path / "s").running == ""


@pytest.mark.parametrize("name", ["phase-diagram", "line-search-against-polyak"])
def test_the_committed_sweeps_make_what_the_docs_say(tmp_path: Path, name: str) -> None:
    file = Path(__file__).parent.parent / "docs" / "sweeps" / f"{name}.toml"
    if name == "phase-diagram":
        mean = (1 - 0.25) / (2 - 0.25)
        near = {"from": 0.95 * 2 / mean, "to": 1.05 * 2 / mean, "count": 2}
        changes = {"axes.epsilon.count": 3, "axes.schedule.gamma": near, "run.horizon": 400.0, "instance.dimension": 40}
        found = sweep(file, tmp_path / "s", overrides=changes)
        # the boundary of stability is 2/mean λ, whatever the radius
        assert found.status.tolist() == [["done", "diverged"]] * 3
        return
    changes = {"axes.instance.exponent": [0.0, 0.85], "axes.epsilon": [0.2], "instance.dimension": 60}
    found = sweep(file, tmp_path / "s", overrides=changes, backend="numpy")
    line_search, polyak = np.moveaxis(found["adversarial_risk"][:, 0], -1, 0)
    excess = found["excess_risk"][:, 0, 1]
    ratio = (line_search - polyak + excess) / excess
    assert (ratio > 1.2).all()
    assert ratio[1] > 2


# ── Killed ──────────────────────────────────────────────────────────────────────────────────────────────────


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """``sgdlimit sweep`` in a process of its own."""
    command = [sys.executable, "-m", "sgdlimit", "sweep", "mine.toml", "--out", "s", "--threads", "2", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def count(store: Path) -> int:
    return len(list((store / "batches").glob("0*.npz")))


def wait_for_batches(store: Path, number: int, child: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while count(store) < number:
        assert time.monotonic() < until
        if child.poll() is not None:
            assert child.returncode == 0, child.communicate()
            return
        time.sleep(0.002)


def killed_and_resumed(folder: Path, kills: int, seed: int) -> int:
    """Kill a sweep some times at random moments, then let it finish; how many kills hit it at work."""
    chance, hits = random.Random(seed), 0
    (folder / "mine.toml").write_text(FILE)
    store = folder / "s"
    for k in range(kills):
        before = {f: (f.stat().st_ino, f.stat().st_mtime_ns) for f in (store / "batches").glob("0*.npz")}
        child = started(folder)
        wait_for_batches(store, count(store) + chance.randrange(0, 3), child)
        time.sleep(chance.random() * 0.02)
        child.kill()
        child.communicate(timeout=20)
        hits += 0 < count(store) < 40
        for f, was in before.items():
            assert (f.stat().st_ino, f.stat().st_mtime_ns) == was  # not computed again
        if count(store) == 40 and k + 1 < kills:
            for f in sorted((store / "batches").glob("0*.npz"))[::2]:
                f.unlink()
    child = started(folder)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 0, told
    return hits


@needs_compiler
def test_a_sweep_killed_five_times_equals_one_that_was_not(tmp_path: Path) -> None:
    sweep(FILE_VALUES, tmp_path / "whole")
    assert killed_and_resumed(tmp_path, kills=5, seed=1) >= 3
    same_batches(tmp_path / "s", tmp_path / "whole")


@pytest.mark.long
@needs_compiler
def test_a_sweep_killed_fifty_times_equals_one_that_was_not(tmp_path: Path) -> None:
    sweep(FILE_VALUES, tmp_path / "whole")
    assert killed_and_resumed(tmp_path, kills=50, seed=2) >= 25
    same_batches(tmp_path / "s", tmp_path / "whole")


def file_values() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(FILE)


FILE_VALUES = file_values()


def same_batches(store: Path, other: Path) -> None:
    """Bit for bit, each file; the plans but for the name of the file."""
    a, b = contents(store), contents(other)
    assert list(a) == list(b)
    for name in a:
        if name == "sweep.json" or name.endswith((".zattrs", ".zmetadata")):
            assert a[name].replace(b"mine.toml", b"sweep") == b[name]
        else:
            assert a[name] == b[name], name


# ── Zarr ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_whole_is_zarr_with_names_units_and_the_spec_whatever_the_slabs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("zarr", "dask.array"):
        pytest.importorskip(name)
    xarray = pytest.importorskip("xarray")
    monkeypatch.setattr(sweep_zarr, "_SLAB", 7)
    axes = {
        "epsilon": [0.1, 0.2, 0.3],
        "instance": {"exponent": [0.1, 0.2]},
        "schedule": {"gamma": [0.1, 0.5, 0.7, 9.0, 50.0]},
    }
    found = sweep(of(axes=axes, run={"times": [1.0, 5.0]}, sweep={"batch": 4}), tmp_path / "s", backend="numpy")
    whole = xarray.open_zarr(tmp_path / "s" / "sweep.zarr").load()
    for name in found.names:
        dims = (*found.dims[:3], *(("time",) if found[name].ndim == 4 else ()))
        np.testing.assert_array_equal(whole[name].transpose(*dims).values, found[name])
    symbol = {"symbol": r"\langle R\rangle"}
    assert whole.adversarial_risk.attrs == {"long_name": "adversarial risk", "units": "1", **symbol}
    assert all(whole[name].attrs["long_name"] and whole[name].attrs["units"] == "1" for name in whole.coords)
    assert whole.exponent.values.tolist() == [0.1, 0.2]
    assert json.loads(whole.attrs["spec"])["model"] == BASE["model"]
    assert set(json.loads(whole.attrs["versions"])) == {"sgdlimit", "generator", "sympy", "numpy"}
    assert json.loads(whole.attrs["provenance"])[0]["binaries"]
    meanings = whole.status.attrs["flag_meanings"].split()
    assert meanings[int(whole.status.sel(epsilon=0.1, exponent=0.1, gamma=50.0))] == "diverged"
    xarray.testing.assert_equal(found.to_xarray()["norm2"].transpose(*whole.norm2.dims), whole["norm2"])


# ── A cluster ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``dask scheduler`` and ``dask worker`` on loopback; all are gone at the end."""
    children: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        children.append(
            subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait(timeout=20)


@needs_compiler
def test_a_cluster_that_loses_a_worker_and_its_scheduler_makes_the_store_of_this_machine(
    tmp_path: Path, dask: Callable[..., subprocess.Popen[str]]
) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "mine.toml").write_text(SLOW)
    import tomllib

    sweep(tomllib.loads(SLOW), tmp_path / "whole")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"

    def worker() -> subprocess.Popen[str]:
        return dask("worker", address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1")

    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", port)
    doomed, _ = worker(), worker()
    child = started(tmp_path, "--scheduler", address)
    wait_for_batches(tmp_path / "s", 3, child)
    doomed.kill()
    wait_for_batches(tmp_path / "s", 10, child)
    scheduler.kill()
    _, told = child.communicate(timeout=60)
    assert child.returncode == 5, told
    assert f"the scheduler {address} is gone; every finished batch is kept" in told
    assert 10 <= count(tmp_path / "s") < 40

    dask("scheduler", "--host", "127.0.0.1", "--port", port)
    worker(), worker()
    child = started(tmp_path, "--scheduler", address)
    _, told = child.communicate(timeout=90)
    assert child.returncode == 0, told
    same_batches(tmp_path / "s", tmp_path / "whole")


@pytest.mark.parametrize("who", ["scheduler", "worker"])
def test_a_cluster_that_cannot_import_sgdlimit_is_one_sentence(
    tmp_path: Path, dask: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    distributed = pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    (tmp_path / "mine.toml").write_text(FILE)
    # a module of that name that cannot be imported stands before the real one
    (tmp_path / "empty" / "sgdlimit").mkdir(parents=True)
    (tmp_path / "empty" / "sgdlimit" / "__init__.py").write_text("raise ImportError('not here')")
    commands = {
        "scheduler": ("scheduler", "--host", "127.0.0.1", "--port", port),
        "worker": ("worker", address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1"),
    }
    for name, command in commands.items():
        with monkeypatch.context() as changed:
            if name == who:
                changed.setenv("PYTHONPATH", str(tmp_path / "empty"), prepend=os.pathsep)
            dask(*command)
    with distributed.Client(address, timeout=30, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)
    child = started(tmp_path, "--scheduler", address)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 5
    assert told.startswith(f"error: the {who} tcp://127.0.0.1:")
    assert told.endswith("cannot import sgdlimit; install it there, the same version\n")


def test_what_is_no_scheduler_is_one_sentence_in_little_time(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "mine.toml").write_text(FILE)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as web:
        held: list[socket.socket] = []

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(web.accept()[0])
                    held[-1].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)

        threading.Thread(target=answer, daemon=True).start()
        told = {
            f"tcp://127.0.0.1:{silent.getsockname()[1]}": "no scheduler answers within 1 s; start one",
            f"tcp://127.0.0.1:{web.getsockname()[1]}": "what answers there is no Dask scheduler",
            # why, where the last attempt came to an end
            "tcp://127.0.0.1:1": r"no scheduler answers within 1 s( \(Connection refused\))?; start one",
            **dict.fromkeys(
                ("nonsense://x", "garbage", "tcp://[::1", "tcp://127.0.0.1:99999", "a://b://c", "tcp://:8786"),
                "it is no address; write tcp://host:8786",
            ),
        }
        # in a process of its own: what is left of a failed attempt must not keep the command from ending
        code = f"""
import sys
from sgdlimit.runtime import sweep_run
from sgdlimit.runtime.sweeping import sweep
sweep_run.PATIENCE = 1.0
for address in {list(told)}:
    try:
        sweep("mine.toml", "s", backend="numpy", scheduler=address)
    except Exception as error:
        print(type(error).__name__, error)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )
        for each in held:
            each.close()
    assert done.stderr == ""
    for (address, why), line in zip(told.items(), done.stdout.splitlines(), strict=True):
        assert re.match(f"InputError --scheduler {re.escape(address)}: {why}", line), line
    with pytest.raises(InputError, match=r"--scheduler: the address is empty"):
        sweep(SMALL, tmp_path / "s", backend="numpy", scheduler=" ")
