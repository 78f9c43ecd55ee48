"""The command line: what each command prints and writes, its exit codes, and what it does not import."""

from __future__ import annotations

import doctest
import errno
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from room import files_of_at_most, full

import sgdlimit
from sgdlimit.codegen import FORMAT
from sgdlimit.derive.errors import InputError
from sgdlimit.runtime import cli, generate, output, room
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.diffusion import diffuse
from sgdlimit.runtime.kernel import kernel_text
from sgdlimit.runtime.simulator import simulate
from sgdlimit.runtime.solver import solve
from sgdlimit.runtime.spec import catalogue, catalogue_text, load_equations, load_spec

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")

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


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter with the same cache."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize("module", [cli, generate, output, room])
def test_docstrings_run(module: Any) -> None:
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


# ── The commands ────────────────────────────────────────────────────────────────────────────────────────────


def test_help_of_every_command_has_an_example(run: Run) -> None:
    assert "Exit codes: 0 done, 1 verification failed" in " ".join(run("--help").out.split())
    for command in ("derive", "generate", "solve", "simulate", "verify", "optimum", "catalogue"):
        shown = run(command, "--help")
        assert shown.code == 0
        assert f"Example: sgdlimit {command}" in shown.out


def test_derive_prints_the_equations_in_both_formats(run: Run) -> None:
    markdown = run("derive", "least-squares")
    assert markdown.code == 0
    assert markdown.out.startswith("# Limit of streaming SGD")
    latex = run("derive", "least-squares", "--format", "latex")
    assert latex.out != markdown.out
    assert r"\begin{" in latex.out


def test_derive_needs_no_more_than_a_model(run: Run) -> None:
    Path("my.toml").write_text('[model]\nloss = "(r - y)**2/2"\ntarget = "labels"')
    assert run("derive", "my.toml").code == 0


def test_solve_prints_the_first_the_last_and_some_of_the_points(run: Run) -> None:
    shown = run("solve", "least-squares", "--backend", "numpy")
    heading, names, *rows = shown.out.splitlines()
    assert heading == "least-squares: Constant(gamma=0.8), sigma = 0.7, d = 60, numpy"
    assert names.split()[:2] == ["t", "adversarial_risk"]
    assert [row.split()[0] for row in rows] == ["0", *(f"{0.6 * k:.5g}" for k in range(1, 11))]


def test_optimum_prints_the_point_and_as_json_its_modes(run: Run) -> None:
    shown = run("optimum", "adversarial-least-squares", "--backend", "numpy", "--set", "epsilon=0.2")
    assert shown.code == 0
    rows = dict(line.split("  ", 1) for line in shown.out.splitlines())
    assert rows["kind"].strip() == "minimiser"
    told = json.loads(
        run("optimum", "adversarial-least-squares", "--backend", "numpy", "--set", "epsilon=0.2", "--json").out
    )
    assert len(told["x"]) == 60
    assert float(rows["objective"]) == pytest.approx(told["objective"], rel=1e-9)
    assert told["parameters"] == {"epsilon": 0.2, "sigma": 0.5}
    collapsed = json.loads(
        run("optimum", "adversarial-least-squares", "--backend", "numpy", "--set", "epsilon=9.0", "--json").out
    )
    assert (collapsed["collapsed"], collapsed["effective_ridge"]) == (True, "inf")


def test_without_an_optimum_the_direction_is_told(run: Run) -> None:
    text = (
        catalogue_text("least-squares")
        .replace("(r - y)**2/2", "log(1 + exp(-y*r))")
        .replace("r_star + sigma*xi", "sign(r_star)")
    )
    Path("sign.toml").write_text(text.replace("sigma = 0.7", ""))
    shown = run("optimum", "sign.toml", "--backend", "numpy", "--json")
    assert shown.code == 2
    assert shown.err.startswith("error: sign.toml: optimum: the risk has no finite minimiser")
    assert len(json.loads(shown.out)["direction"]) == 60


def test_files_and_json_hold_the_curve_to_the_last_bit(run: Run) -> None:
    given = load_spec("least-squares")
    trajectory = solve(**given.arguments, rtol=given.rtol, backend="numpy")
    for name in ("curve.csv", "curve.npz"):
        assert run("solve", "least-squares", "--backend", "numpy", "--out", name).out.startswith(f"{name}: ")
    table = np.genfromtxt("curve.csv", delimiter=",", names=True)
    archive = np.load("curve.npz")
    told = json.loads(run("solve", "least-squares", "--backend", "numpy", "--json").out)
    assert table.dtype.names == ("t", *trajectory.names)
    np.testing.assert_array_equal(archive["times"], trajectory.times)
    for name in trajectory.names:
        np.testing.assert_array_equal(table[name], trajectory[name])
        np.testing.assert_array_equal(archive[name], trajectory[name])
        np.testing.assert_array_equal(np.array(told["statistics"][name], dtype=float), trajectory[name])
    assert json.loads(str(archive["about"]))["parameters"] == told["parameters"] == {"sigma": 0.7}
    assert sorted(os.listdir()) == ["curve.csv", "curve.npz", "curve.svg"]


def test_options_take_the_place_of_what_the_file_says(run: Run) -> None:
    options = [
        "--set",
        "sigma=0.25",
        "--set",
        "instance.dimension=20",
        "--gamma",
        "0.5",
        "--horizon",
        "3",
        "--rtol",
        "1e-5",
    ]
    told = json.loads(run("solve", "least-squares", *options, "--backend", "numpy", "--json").out)
    assert (told["parameters"], told["dimension"], told["schedule"]) == ({"sigma": 0.25}, 20, "Constant(gamma=0.5)")
    assert (told["times"][-1], told["rtol"], told["backend"]) == (3, 1e-5, "numpy")


def test_simulate_writes_every_run_and_prints_means(run: Run) -> None:
    options = ["simulate", "least-squares", "--runs", "5", "--seed", "3", "--horizon", "1", "--backend", "numpy"]
    given = load_spec("least-squares", {"run.horizon": 1.0})
    ensemble = simulate(**given.arguments, runs=5, seed=3, backend="numpy")
    assert run(*options, "--out", "runs.npz").code == 0
    assert run(*options, "--out", "runs.csv").code == 0
    archive, table = np.load("runs.npz"), np.genfromtxt("runs.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(archive["norm2"], ensemble["norm2"])
    np.testing.assert_array_equal(table["norm2"], ensemble["norm2"].ravel())
    np.testing.assert_array_equal(table["run"], np.repeat(range(5), len(ensemble.times)))
    told = json.loads(run(*options, "--json").out)
    assert told["runs"] == 5
    np.testing.assert_array_equal(told["mean"]["norm2"], ensemble.mean("norm2"))
    printed = run(*options).out
    assert "d = 60, numpy, 5 runs" in printed
    assert " ± " in printed


def test_simulate_homogenised_runs_the_diffusion(run: Run) -> None:
    options = ["simulate", "least-squares", "--homogenised", "--runs", "3", "--horizon", "1", "--backend", "numpy"]
    told = json.loads(run(*options, "--json").out)
    given = load_spec("least-squares")
    wanted = diffuse(**{**given.arguments, "horizon": 1.0}, runs=3, seed=given.seed, backend="numpy")
    assert told["dynamics"] == "homogenised"
    assert told["mean"]["norm2"] == wanted.mean("norm2").tolist()
    assert "3 runs of homogenised SGD" in run(*options).out


def test_simulate_lumped_goes_to_any_dimension(run: Run) -> None:
    options = ["simulate", "least-squares", "--lumped", "--runs", "3", "--horizon", "0.1", "--backend", "numpy"]
    told = json.loads(run(*options, "--dimension", "6000", "--json").out)
    assert (told["dynamics"], told["dimension"], told["runs"]) == ("lumped", 6000, 3)
    assert "d = 6000, numpy, 3 runs of SGD in lumps" in run(*options, "--dimension", "6000").out
    assert run(*options, "--homogenised").code == 2
    refused = run("simulate", "adversarial-least-squares", "--lumped", "--dimension", "6001")
    assert (refused.code, "nearest admissible" in refused.err) == (2, True)


def test_verify_homogenised_says_what_it_simulated(run: Run) -> None:
    options = ["verify", "least-squares", "--homogenised", "--budget", "1e6", "--backend", "numpy", "--json"]
    told = json.loads(run(*options, "--report", "report.html").out)
    assert told["dynamics"] == "homogenised"
    assert "homogenised SGD" in Path("report.html").read_text(encoding="utf-8")


def test_simulate_goes_to_another_dimension_by_exact_split(run: Run) -> None:
    options = ["--runs", "2", "--horizon", "0.2", "--backend", "numpy", "--json"]
    told = json.loads(run("simulate", "adversarial-huber", "--dimension", "120", *options).out)
    assert (told["dimension"], told["modes"]) == (120, 120)
    refused = run("simulate", "adversarial-huber", "--dimension", "121", *options)
    assert refused.code == 2
    assert "adversarial-huber: dimension: 121 is inadmissible" in refused.err


def test_catalogue_lists_and_prints_spec_files_to_start_from(run: Run) -> None:
    listed = run("catalogue").out.splitlines()
    assert [line.split("  ")[0] for line in listed] == list(catalogue())
    assert [entry["name"] for entry in json.loads(run("catalogue", "--json").out)] == list(catalogue())
    text = run("catalogue", "adversarial-huber").out
    assert text.strip() == catalogue_text("adversarial-huber").strip()
    Path("mine.toml").write_text(text)
    assert load_spec("mine.toml").model == load_spec("adversarial-huber").model
    assert "did you mean digits?" in run("catalogue", "digit").err


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version").out == f"sgdlimit {sgdlimit.__version__}\n"
    module = subprocess.run([sys.executable, "-m", "sgdlimit", "--version"], capture_output=True, text=True, check=True)
    assert module.stdout == f"sgdlimit {sgdlimit.__version__}\n"


# ── verify ──────────────────────────────────────────────────────────────────────────────────────────────────

QUICK = ["verify", "least-squares", "--horizon", "1", "--backend", "numpy", "--set", "verify.dimensions=[60, 120, 240]"]


def test_verify_ends_with_the_code_of_its_verdict_and_writes_report_and_picture(run: Run) -> None:
    wide = [*QUICK, "--set", "verify.resolution=0.9", "--budget", "2e6", "--seed", "5"]
    passed = run(*wide, "--report", "report.html", "--figure", "picture.png", "--json")
    assert passed.code == 0
    told = json.loads(passed.out)
    assert (told["verdict"], told["dimensions"], told["seed"]) == ("passed", [60, 120, 240], 5)
    assert all(c["resolved"] and not c["differs"] for c in told["comparisons"])
    assert Path("report.html").read_text().lstrip().startswith("<!")
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir()) == ["picture.png", "report.html"]


def test_verify_without_enough_simulation_is_inconclusive(run: Run) -> None:
    inconclusive = run(*QUICK, "--set", "verify.resolution=0.001", "--budget", "1e6")
    assert inconclusive.code == 4
    assert "nconclusive" in inconclusive.out
    assert "too wide" in inconclusive.out


def test_a_failed_verification_has_a_code_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgdlimit.runtime import verification as module

    evidence = SimpleNamespace(backend="numpy")
    failed = SimpleNamespace(verdict="failed", table=lambda: "table", summary=lambda: "summary", evidence=evidence)
    monkeypatch.setattr(module, "verify", lambda **_: failed)
    shown = run("verify", "least-squares")
    assert shown.code == 1
    assert shown.out.endswith("\n\ntable\n\nsummary\n")


# ── generate ────────────────────────────────────────────────────────────────────────────────────────────────


def test_generate_writes_both_kernels_the_equations_and_a_manifest(run: Run) -> None:
    shown = run("generate", "adversarial-least-squares", "--out", "new/folder", "--json")
    assert shown.code == 0
    names = ["equations.c", "limit.c", "sgd.c", "kernel.py", "equations.md", "manifest.json"]
    assert json.loads(shown.out)["files"] == [str(Path("new/folder") / name) for name in names]
    assert sorted(os.listdir("new/folder")) == sorted(names)
    manifest = json.loads(Path("new/folder/manifest.json").read_text())
    equations = load_equations("adversarial-least-squares")
    assert manifest["model"] == kernel_text(equations.model, equations.statistics, None)
    assert manifest["format"] == FORMAT
    assert manifest["command"] == "sgdlimit generate adversarial-least-squares --out adversarial_least_squares"
    assert manifest["loss"] == "(r - y)**2/2"
    assert manifest["parameters"] == ["epsilon", "tau", "sigma"]
    assert manifest["files"] == names
    assert manifest["operations"]["rates"]["mode"] > 0


def test_what_generate_writes_depends_on_the_spec_alone() -> None:
    code = (
        "from sgdlimit.runtime.generate import generated_files; from sgdlimit.runtime.spec import load_equations; import hashlib;"
        "print(hashlib.sha256(repr(generated_files(load_equations('adversarial-huber'))).encode()).hexdigest())"
    )
    first, second = (python(code, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first.stdout == second.stdout != ""


def test_generate_for_one_language_writes_that_kernel_only_and_replaces_its_own_files(run: Run) -> None:
    assert run("generate", "least-squares", "--out", "one", "--target", "numpy").code == 0
    assert sorted(os.listdir("one")) == ["equations.md", "kernel.py", "manifest.json"]
    before = Path("one/kernel.py").read_text()
    Path("one/kernel.py").write_text("changed")
    assert run("generate", "least-squares", "--out", "one", "--target", "numpy").code == 0
    assert Path("one/kernel.py").read_text() == before


def test_generate_writes_the_parts_that_are_asked_for(run: Run) -> None:
    assert run("generate", "least-squares", "--out", "some", "--target", "c", "--parts", "lumps,diffusion").code == 0
    assert sorted(os.listdir("some")) == ["diffusion.c", "equations.md", "lumps.c", "manifest.json"]
    assert json.loads(Path("some/manifest.json").read_text())["command"].endswith(" --parts lumps,diffusion")
    assert "sgdlimit generate SPEC --out DIRECTORY --parts lumps\n" in Path("some/lumps.c").read_text()
    unknown = run("generate", "least-squares", "--out", "none", "--parts", "limit,all")
    assert unknown.code == 2
    assert "there is no part 'all'; they are equations, limit, sgd, lumps, diffusion" in unknown.err
    assert run("generate", "least-squares", "--out", "none", "--target", "numpy", "--parts", "limit").code == 2
    assert not Path("none").exists()


def test_generate_leaves_files_alone_that_it_did_not_write(run: Run) -> None:
    Path("mine").mkdir()
    Path("mine/limit.c").write_text("mine")
    refused = run("generate", "least-squares", "--out", "mine")
    assert refused.code == 2
    assert "mine: it holds limit.c, which sgdlimit did not write" in refused.err
    assert os.listdir("mine") == ["limit.c"]
    Path("mine/other.txt").write_text("mine")
    Path("mine/limit.c").unlink()
    assert run("generate", "least-squares", "--out", "mine", "--target", "numpy").code == 0
    assert Path("mine/other.txt").read_text() == "mine"


def test_generate_that_cannot_write_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    refused = run("generate", "least-squares", "--out", "new", "--target", "numpy")
    assert refused.code == 2
    assert "new: cannot be written: Permission denied" in refused.err
    assert not Path("new").exists()


def test_generate_without_room_leaves_what_was_there(run: Run) -> None:
    with files_of_at_most(20_000):  # the kernel is larger, the equations are not
        shown = run("generate", "least-squares", "--out", "new", "--target", "numpy")
    assert shown.code == 2
    assert (
        shown.err == "error: new: cannot be written: File too large; raise the limit on the size of files (ulimit -f)\n"
    )
    assert not Path("new").exists()
    assert run("generate", "least-squares", "--out", "mine", "--target", "numpy").code == 0
    before = {path.name: path.read_bytes() for path in Path("mine").iterdir()}
    with files_of_at_most(20_000):
        assert run("generate", "least-squares", "--out", "mine", "--target", "numpy").code == 2
    assert {path.name: path.read_bytes() for path in Path("mine").iterdir()} == before


def test_generate_that_stops_among_its_files_takes_back_those_that_are_new(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, moved = os.replace, []

    def second(source: Path, path: Path) -> None:
        if moved:
            full()
        moved.append(path)
        real(source, path)

    monkeypatch.setattr(os, "replace", second)
    assert run("generate", "least-squares", "--out", "new", "--target", "numpy").code == 2
    assert moved
    assert not Path("new").exists()


# ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────

REFUSED = [
    (["solve", "no.toml"], 2, "no.toml: there is no such file"),
    (["solve", "last-squares"], 2, "did you mean least-squares?"),
    (["solve", "least-squares", "--set", "sigma=-inf"], 2, "least-squares: parameters.sigma: -inf is not finite"),
    (["solve", "least-squares", "--set", "tau=-1"], 2, "least-squares: parameters.tau: -1 is negative"),
    (["solve", "least-squares", "--set", "sigma=[1, 2]"], 2, "least-squares: parameters.sigma: it has shape (2,)"),
    (["solve", "least-squares", "--set", "rho=1"], 2, "least-squares: parameters.rho: the model has no such parameter"),
    (["solve", "least-squares", "--set", "sigma=abc"], 2, "--set 'sigma=abc': 'abc' is not a TOML value"),
    (["solve", "least-squares", "--set", "sigma"], 2, "--set 'sigma': it is not KEY=VALUE"),
    (["solve", "least-squares", "--set", "a=1\nb=2"], 2, "is not a TOML value"),
    (["solve", "least-squares", "--set", "model.loss='z(r)'"], 2, "least-squares: model.loss: unknown function 'z'"),
    (["solve", "least-squares", "--gamma", "-1"], 2, "least-squares: schedule.gamma: -1.0 is not a finite positive"),
    (["solve", "least-squares", "--horizon", "0"], 2, "least-squares: run.horizon: 0.0 was given"),
    (["solve", "least-squares", "--rtol", "1"], 2, "least-squares: run.rtol: 1.0 was given"),
    (
        ["solve", "least-squares", "--set", "statistics.m.formula='risk'"],
        2,
        "least-squares: statistics.m: it uses risk",
    ),
    (["solve", "least-squares", "--out", "none/curve.csv"], 2, "none/curve.csv: there is no folder none"),
    (["solve", "least-squares", "--out", "curve.xls"], 2, "curve.xls: its ending is not one of .csv, .npz, .nc"),
    (["simulate", "least-squares", "--out", "runs.txt"], 2, "runs.txt: its ending is not one of"),
    (["verify", "least-squares", "--report", "report.pdf"], 2, "report.pdf: its ending is not one of .html"),
    (["verify", "least-squares", "--figure", "figure.jpg"], 2, "figure.jpg: its ending is not one of .png, .pdf, .svg"),
    (["verify", "least-squares", "--budget", "-1"], 2, "budget"),
    (["generate", "least-squares", "--out", "a_file"], 2, "a_file: it is a file, not a folder"),
    (["generate", "least-squares", "--out", "a_file/folder"], 2, "a_file/folder: cannot be written"),
    (["solve", "least-squares", "--gamma", "5"], 3, "diverged at t = "),
    (["simulate", "least-squares", "--gamma", "9"], 3, "diverged at t = "),
    (["verify", "least-squares", "--gamma", "9"], 3, "diverged at t = "),
]


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED)
def test_bad_input_is_one_line_and_a_code_and_nothing_written(
    run: Run, arguments: list[str], code: int, message: str
) -> None:
    Path("a_file").write_text("")
    backend = [] if arguments[0] == "generate" else ["--backend", "numpy"]  # or a note may stand before the error
    shown = run(*arguments, *backend)
    assert shown.code == code
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert message in shown.err
    assert os.listdir() == ["a_file"]


def test_an_expression_is_never_evaluated_as_python(run: Run) -> None:
    Path("my.toml").write_text(
        catalogue_text("least-squares").replace('"(r - y)**2/2"', "\"__import__('os').system('touch owned')\"")
    )
    for command in ("derive", "solve", "simulate", "verify"):
        shown = run(command, "my.toml")
        assert shown.code == 2
        assert "my.toml: model.loss: '__import__' cannot be a name at position 0" in shown.err
    assert os.listdir() == ["my.toml"]


@pytest.mark.parametrize("command", ["solve", "simulate", "verify"])
def test_json_errors_are_an_object_too(run: Run, command: str) -> None:
    shown = run(command, "least-squares", "--gamma", "9", "--backend", "numpy", "--json")
    told = json.loads(shown.out)
    assert (told["kind"], told["code"]) == ("Diverged", shown.code) == ("Diverged", 3)
    assert f"error: {told['error']}\n" == shown.err
    assert 0 < told["time"] < 6


def test_a_fault_of_our_own_is_told_apart_and_traced_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgdlimit.runtime import solver as module

    def break_down(**_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(module, "solve", break_down)
    shown = run("solve", "least-squares")
    assert shown.code == 5
    assert shown.err.startswith("error: internal, ZeroDivisionError: a fault (")
    assert shown.err.count("\n") == 1
    traced = run("--traceback", "solve", "least-squares")
    assert traced.code == 5
    assert "in break_down" in traced.err


def test_netcdf_without_xarray_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    shown = run("solve", "least-squares", "--out", "curve.nc")
    assert shown.code == 2
    assert "curve.nc: NetCDF files need xarray, which is not installed; pip install 'sgdlimit[array]'" in shown.err


def test_netcdf_has_named_dimensions(run: Run) -> None:
    xarray = pytest.importorskip("xarray")
    assert run("solve", "least-squares", "--out", "curve.nc", "--backend", "numpy").code == 0
    options = ["--out", "runs.nc", "--runs", "3", "--horizon", "0.5", "--backend", "numpy"]
    assert run("simulate", "least-squares", *options).code == 0
    with xarray.open_dataset("curve.nc") as curve, xarray.open_dataset("runs.nc") as runs:
        assert curve["norm2"].dims == ("time",)
        assert runs["norm2"].dims == ("run", "time")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "curve.npz"
    path.write_bytes(b"before")

    def half(file: Path, **_: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", half)
    given = load_spec("least-squares")
    trajectory = solve(**given.arguments, backend="numpy")
    with pytest.raises(InputError, match=r"curve\.npz: cannot be written: No space left on device"):
        trajectory.save(path)
    assert os.listdir(tmp_path) == ["curve.npz"]
    assert path.read_bytes() == b"before"


def test_an_unwritable_folder_is_refused_before_the_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgdlimit.runtime import solver as module

    monkeypatch.setattr(module, "solve", lambda **_: pytest.fail("it was computed"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    shown = run("solve", "least-squares", "--out", "curve.csv")
    assert shown.code == 2
    assert "curve.csv: there is no permission to write it" in shown.err


def test_without_a_compiler_numpy_runs_and_says_so_once_and_c_is_an_error() -> None:
    code = "from sgdlimit.runtime.cli import app; app(['{}', 'least-squares', '--horizon', '1', {}])"
    auto = python(code.format("solve", ""), CC="/nonexistent")
    assert auto.returncode == 0
    assert auto.stderr.count("note: there is no C compiler") == 1
    assert auto.stderr.count("\n") == 1
    assert "numpy" in auto.stdout.splitlines()[0]
    insisted = python(code.format("solve", "'--backend', 'c'"), CC="/nonexistent")
    assert insisted.returncode == 5
    assert insisted.stderr.startswith("error: there is no C compiler")


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "sgdlimit", "derive", "adversarial-huber"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


# ── What is imported ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("backend", [pytest.param("c", marks=needs_compiler), "numpy"])
def test_a_solve_from_the_cache_imports_neither_sympy_nor_scipy_nor_matplotlib(backend: str) -> None:
    code = f"""
import sys
from sgdlimit.runtime.cli import app
try:
    app(["solve", "least-squares", "--backend", "{backend}"])
except SystemExit as ended:
    assert ended.code == 0
print(sorted({{"sympy", "scipy", "matplotlib", "mpmath", "sklearn"}} & set(sys.modules)))
"""
    assert python(code).returncode == 0
    warm = python(code)
    assert warm.returncode == 0, warm.stderr
    assert warm.stdout.splitlines()[-1] == "[]"


def test_help_and_the_package_start_without_numpy() -> None:
    code = """
import sys, sgdlimit
from sgdlimit.runtime.cli import app
try:
    app(["--help"])
except SystemExit:
    pass
print(sorted({"sympy", "scipy", "numpy", "pydantic"} & set(sys.modules)))
"""
    assert python(code).stdout.splitlines()[-1] == "[]"


# ── import sgdlimit ─────────────────────────────────────────────────────────────────────────────────────────


def test_every_public_name_is_there_and_listed() -> None:
    assert sorted(sgdlimit.__all__) == sgdlimit.__all__
    for name in sgdlimit.__all__:
        assert getattr(sgdlimit, name) is not None
        assert name in dir(sgdlimit)
    with pytest.raises(AttributeError, match="has no attribute 'solv'"):
        sgdlimit.solv  # noqa: B018


def test_the_public_names_are_those_of_the_packages_they_live_in() -> None:
    from sgdlimit.derive import Loss, Model, Teacher

    assert sgdlimit.Loss is Loss
    assert sgdlimit.solve is solve
    assert sgdlimit.load_spec is load_spec
    model = Model(Loss("(r - y)**2/2"), Teacher("r_star"))
    code = "import sgdlimit as sl; print(sl.derive(sl.Model(sl.Loss('(r - y)**2/2'), sl.Teacher('r_star'))).model)"
    assert sgdlimit.derive(model).model == model
    assert python(code).stdout == f"{model}\n"


# ── Hostile surroundings ────────────────────────────────────────────────────────────────────────────────────


def test_lists_without_end_are_bad_input(run: Run, tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000, encoding="utf-8")
    found = run("derive", "deep.toml")
    assert found.code == cli.BAD_INPUT
    assert "nested too deeply" in found.err
    assert run("solve", "least-squares", "--set", "sigma=" + "[" * 100_000).code == cli.BAD_INPUT


@needs_compiler
def test_an_interrupt_ends_a_solve_in_c() -> None:
    command = ["solve", "adversarial-logistic-teacher", "--set", "tau=1e6", "--method", "explicit"]
    assert python("import sgdlimit.runtime.cli as c; c.app(['solve', 'adversarial-logistic-teacher'])").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "sgdlimit", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(4)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, error.strip()) == (cli.INTERRUPTED, "interrupted")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_a_full_disk_is_no_fault_of_sgdlimit() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "sgdlimit", "derive", "least-squares"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == cli.INTERNAL
    told = "standard output: cannot be written: No space left on device; make room, or send it elsewhere"
    assert ended.stderr == f"error: {told}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [("--version", 5), ("--help", 5), ("catalogue --json", 5), ("solve nosuch.toml --json", 2)],
)
def test_standard_output_without_room_is_one_line_and_a_code(arguments: str, code: int) -> None:
    with open("/dev/full", "w", encoding="utf-8") as nowhere:
        command = [sys.executable, "-m", "sgdlimit", *arguments.split()]
        ended = subprocess.run(command, stdout=nowhere, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (code, 1)
    assert ended.stderr.startswith("error: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_standard_error_without_room_leaves_the_code() -> None:
    with open("/dev/full", "w", encoding="utf-8") as nowhere:
        command = [sys.executable, "-m", "sgdlimit", "solve", "nosuch.toml"]
        assert subprocess.run(command, stderr=nowhere, check=False).returncode == cli.BAD_INPUT


def test_a_note_is_told_once_whatever_becomes_of_the_filters(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgdlimit.runtime import solver as module

    real = module.solve

    def twice(**arguments: Any) -> Any:
        for _ in range(2):
            warnings.warn("it is so", UserWarning, stacklevel=1)
            with warnings.catch_warnings(action="ignore"):
                pass
        return real(**arguments)

    monkeypatch.setattr(module, "solve", twice)
    assert run("solve", "least-squares", "--backend", "numpy").err == "note: it is so\n"


def test_a_device_is_not_replaced_by_a_file(run: Run) -> None:
    Path("curve.csv").symlink_to("/dev/null")
    shown = run("solve", "least-squares", "--out", "curve.csv")
    assert (shown.code, shown.err) == (2, "error: curve.csv: it is no file; give another path\n")


def test_a_device_without_inodes_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    none_left = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=20, f_favail=0))
    assert "delete some (df -i counts)" in room.remedy(none_left, Path("there"))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=0, f_favail=0))  # it does not count them
    assert room.remedy(none_left, Path("there")) == "make room"


def test_the_verdict_is_told_though_its_report_has_no_room(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgdlimit.runtime import verification as module

    def no_room(path: Path, _: object) -> None:
        with output.written(path):
            full()

    evidence = SimpleNamespace(backend="numpy")
    found = {"table": lambda: "table", "summary": lambda: "summary", "evidence": evidence, "save_html": no_room}
    monkeypatch.setattr(module, "verify", lambda **_: SimpleNamespace(verdict="passed", **found))
    shown = run("verify", "least-squares", "--report", "report.html")
    assert shown.code == 2
    assert shown.out.endswith("table\n\nsummary\n")
    told = "report.html: cannot be written: No space left on device; make room, or give another path"
    assert shown.err == f"error: {told}\n"
    assert os.listdir() == []


def test_what_was_written_before_the_disk_was_full_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_bytes", full)  # of the picture
    for command in (["solve"], ["simulate", "--runs", "2", "--horizon", "1"]):
        shown = run(command[0], "least-squares", *command[1:], "--backend", "numpy", "--out", f"{command[0]}.csv")
        assert shown.code == 2
        assert shown.out.startswith(f"{command[0]}.csv: ")
        assert f"{command[0]}.svg: cannot be written: No space left on device" in shown.err
    assert sorted(os.listdir()) == ["simulate.csv", "solve.csv"]
