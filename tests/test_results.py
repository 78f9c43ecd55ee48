"""Results as the ecosystem wants them: tables, files, pickles, specs as text, displays and pictures."""

from __future__ import annotations

import copy
import doctest
import gc
import importlib
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from room import files_of_at_most

import sgdlimit as sl
from sgdlimit.derive.errors import InputError, SpecError
from sgdlimit.runtime import cli
from sgdlimit.runtime.batch import Curves
from sgdlimit.runtime.display import sparkline
from sgdlimit.runtime.ensemble import Ensemble
from sgdlimit.runtime.figures import COLOURS, picture
from sgdlimit.runtime.rule_check import self_check
from sgdlimit.runtime.schema import BUILDERS
from sgdlimit.runtime.spec import catalogue, load_equations
from sgdlimit.runtime.tables import Table, Tabular, column, statistics_table
from sgdlimit.runtime.trajectory import Trajectory

MODULES = "display ensemble figures plotting quantities spec spec_text tables trajectory"


@pytest.fixture(scope="module")
def trajectory() -> Trajectory:
    spec = sl.load_spec("adversarial-logistic-mixture")
    return sl.solve(**spec.arguments, backend="numpy", modes=True)


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    spec = sl.load_spec("least-squares", {"run.horizon": 1.0})
    return sl.simulate(**spec.arguments, runs=6, seed=2**40 + 1, backend="numpy")


@pytest.fixture(scope="module")
def limit(ensemble: Ensemble) -> Trajectory:
    return sl.solve(**sl.load_spec("least-squares", {"run.horizon": 2.0}).arguments, backend="numpy")


@pytest.mark.parametrize("module", MODULES.split())
def test_docstrings_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"sgdlimit.runtime.{module}"), optionflags=doctest.ELLIPSIS)
    assert found.failed == 0
    assert found.attempted > 0 or module in ("display", "plotting")


@pytest.mark.parametrize("ending", ["csv", "npz", "nc", "svg", "png", "pdf"])
def test_a_file_that_has_no_room_leaves_the_one_that_was_there(
    limit: Trajectory, tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if ending == "nc":
        pytest.importorskip("xarray")
    path = tmp_path / f"curve.{ending}"
    path.write_bytes(b"before")
    told = rf"curve\.{ending}: cannot be written: File too large; raise the limit on the size of files \(ulimit -f\)$"
    with files_of_at_most(3000), pytest.raises(InputError, match=told):
        limit.save(path)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"before"
    gc.collect()  # what a library did not close says so when it goes
    assert capfd.readouterr().err == ""
    limit.save(path)
    assert len(path.read_bytes()) > 3000


# ── Tables ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_solve_is_a_data_set_with_names_units_and_what_was_solved(trajectory: Trajectory) -> None:
    pytest.importorskip("xarray")
    data = trajectory.to_xarray()
    assert data["norm2"].dims == ("time",)
    assert data["mode_mean"].dims == ("time", "mode")
    assert data["eigenvalue"].dims == ("class", "mode")
    np.testing.assert_array_equal(data["norm2"].sel(time=10.0), trajectory["norm2"][-1])
    np.testing.assert_array_equal(data["mode_variance"], trajectory.modes[1])  # type: ignore[index]
    for variable in data.variables.values():
        assert variable.attrs["units"] == "1"
        assert variable.attrs["long_name"]
    assert data["time"].attrs["symbol"] == "t = k/d"
    told = data.attrs
    assert told["model"] == trajectory.model.canonical()
    assert told["schedule"] == "Constant(gamma=1.5)"
    assert told["instance"] == repr(trajectory.instance)
    assert json.loads(told["parameters"]) == {"epsilon": 0.4}
    assert json.loads(told["versions"])["sgdlimit"] == sl.__version__
    assert told["rtol"] == trajectory.rtol


def test_runs_are_a_dimension(ensemble: Ensemble) -> None:
    pytest.importorskip("xarray")
    data = ensemble.to_xarray()
    assert data["norm2"].dims == ("run", "time")
    assert data.attrs["seed"] == 2**40 + 1
    np.testing.assert_array_equal(data["norm2"].mean("run"), ensemble.mean("norm2"))


def test_a_data_frame_has_a_row_for_each_time_of_each_run(trajectory: Trajectory, ensemble: Ensemble) -> None:
    pytest.importorskip("pandas")
    frame = trajectory.to_dataframe()
    assert (frame.index.name, tuple(frame.columns)) == ("time", trajectory.names)
    np.testing.assert_array_equal(frame["clean_risk"], trajectory["clean_risk"])
    many = ensemble.to_dataframe()
    assert tuple(many.index.names) == ("run", "time")
    np.testing.assert_array_equal(many.loc[3, "norm2"], ensemble["norm2"][3])
    assert many.attrs["seed"] == ensemble.seed
    assert many.attrs["columns"]["time"]["units"] == "1"


@pytest.mark.parametrize("which", ["trajectory", "ensemble"])
def test_what_is_read_back_is_what_was_written(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    result: Trajectory | Ensemble = request.getfixturevalue(which)
    for ending in ("csv", "npz"):
        result.save(str(tmp_path / f"r.{ending}"))
    archive = np.load(tmp_path / "r.npz", allow_pickle=False)
    np.testing.assert_array_equal(archive["times"], result.times)
    lines = np.genfromtxt(tmp_path / "r.csv", delimiter=",", names=True)
    for name in result.names:
        np.testing.assert_array_equal(archive[name], result[name])
        np.testing.assert_array_equal(lines[name], result[name].ravel())
    about = json.loads(str(archive["about"]))
    assert about["model"] == result.model.canonical()
    assert about["arrays"]["times"] == {"axes": ["time"], **column("time", "time", []).meaning.attributes}
    assert set(about["arrays"]) == set(archive.files) - {"about"}
    if which == "trajectory":
        np.testing.assert_array_equal(archive["mode_mean"], result.modes[0])  # type: ignore[union-attr, index]


@pytest.mark.parametrize("which", ["trajectory", "ensemble"])
def test_netcdf_reads_back_identical(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    xarray = pytest.importorskip("xarray")
    result: Trajectory | Ensemble = request.getfixturevalue(which)
    result.save(tmp_path / "r.nc")
    written = result.to_xarray()
    if "seed" in written.attrs:  # beyond 32 bits: as text
        written.attrs["seed"] = str(written.attrs["seed"])
    with xarray.open_dataset(tmp_path / "r.nc") as data:
        xarray.testing.assert_identical(data.load(), written)


@dataclass(frozen=True, eq=False)
class Points(Tabular):
    """Curves at several values of a parameter, one of which diverged."""

    def table(self) -> Table:
        along = {
            "epsilon": column("epsilon", "point", [0.1, 0.2]),
            "sigma": column("sigma", ("point", "class"), [[1.0, 2.0], [3.0, 4.0]]),
            "status": column("status", "point", ["done", "no learning rate, alas"]),
        }
        values = {"norm2": [[0.0, 1.0, 2.0], [0.0, 3.0, np.nan]]}
        return statistics_table(values, {"point": [0, 1], "time": [0.0, 0.5, 1.0]}, {"dimension": "inf"}, along=along)


def test_any_result_that_is_a_table_has_the_same_files(tmp_path: Path) -> None:
    for ending in ("csv", "npz"):
        Points().save(tmp_path / f"p.{ending}")
    lines = (tmp_path / "p.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "point,t,epsilon,status,norm2"
    assert lines[2] == "0,0.5,0.10000000000000001,done,1"
    assert lines[6] == '1,1,0.20000000000000001,"no learning rate, alas",nan'
    archive = np.load(tmp_path / "p.npz", allow_pickle=False)
    assert archive["status"].tolist() == ["done", "no learning rate, alas"]
    assert archive["sigma"].shape == (2, 2)


def test_any_result_that_is_a_table_is_a_data_set(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    Points().save(tmp_path / "p.nc")
    with xarray.open_dataset(tmp_path / "p.nc") as data:
        assert data["norm2"].where(data["epsilon"] == 0.2, drop=True).shape == (1, 3)
        assert data["status"].values.tolist() == ["done", "no learning rate, alas"]
        assert data["epsilon"].attrs["long_name"] == "radius of the adversary"
    assert Points().to_dataframe().loc[(1, 0.5), "epsilon"] == 0.2


@pytest.mark.parametrize("name", ["run", "time", "times", "t", "about"])
def test_a_statistic_that_is_called_as_an_axis_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"statistic: '{name}' is what an axis is called in a table; choose another"):
        statistics_table({name: [[0.0]]}, {"run": [0], "time": [0.0]}, {})


@pytest.mark.parametrize(("missing", "method"), [("xarray", "to_xarray"), ("pandas", "to_dataframe")])
def test_a_missing_package_is_an_error_that_names_the_extra(
    trajectory: Trajectory, missing: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    says = rf"{method}\(\): it needs {missing}, which is not installed; pip install 'sgdlimit\[array\]'$"
    with pytest.raises(InputError, match=says):
        getattr(trajectory, method)()


def test_netcdf_without_xarray_writes_nothing(
    trajectory: Trajectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InputError, match=r"NetCDF files need xarray.*sgdlimit\[array\]'.* or write \.npz"):
        trajectory.save(tmp_path / "r.nc")
    assert os.listdir(tmp_path) == []


def test_another_ending_is_refused(trajectory: Trajectory, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not one of \.csv, \.npz, \.nc, \.png, \.pdf, \.svg"):
        trajectory.save(tmp_path / "r.xls")


# ── Pickles ─────────────────────────────────────────────────────────────────────────────────────────────────


def alike(a: Any, b: Any) -> bool:
    """Equal in every field, arrays to the last bit."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if is_dataclass(a) and not isinstance(a, type):
        names = [f.name for f in fields(a) if f.name != "_branch"]
        return type(a) is type(b) and all(alike(getattr(a, name), getattr(b, name)) for name in names)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(alike, a, b))
    return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def test_a_difference_is_seen() -> None:
    optimum = _optimum()
    assert not alike(optimum, replace(optimum, x=optimum.x + 1e-15))


def _optimum() -> sl.Optimum:
    spec = sl.load_spec("adversarial-least-squares")
    return sl.optimum(spec.model, spec.instance, spec.parameters, backend="numpy")


def _rest_point() -> sl.RestPoint:
    spec = sl.load_spec("least-squares")
    return sl.rest_point(spec.model, spec.instance, spec.schedule, spec.parameters, backend="numpy")


def _verification() -> sl.Verification:
    spec = sl.load_spec("least-squares", {"run.horizon": 0.5})
    return sl.verify(**{**spec.arguments, "times": [0.25, 0.5]}, budget=3e5, backend="numpy")


def _diverged() -> Any:
    spec = sl.load_spec("least-squares")
    with pytest.raises(sl.Diverged) as raised:
        sl.solve(**{**spec.arguments, "schedule": sl.Constant(5.0)}, backend="numpy")
    return raised.value.partial


def _limit() -> sl.Limit:
    return sl.derive(load_equations("least-squares").model)


NOUNS: list[Callable[[], Any]] = [
    _optimum,
    _rest_point,
    _verification,
    _diverged,
    _limit,
    lambda: sl.load_spec("adversarial-logistic-mixture"),
    lambda: load_equations("adversarial-huber"),
    lambda: sl.load_spec("adversarial-huber").model,
    lambda: sl.Instance.marchenko_pastur(math.inf, ratio=0.5, nodes=8),
    lambda: sl.DenseInstance(probabilities=[1], covariances=[[2, 1], [1, 3]]),
    lambda: sl.State(1.0, np.zeros(2), np.ones(2), 0.5),
    lambda: self_check(_limit(), sl.load_kernel(load_equations("least-squares").model, backend="numpy")),
    lambda: [sl.Constant(1), sl.Schedule("1/(1 + t)"), sl.LineSearch(), sl.Polyak("iterate"), sl.Greedy("norm2")],
    lambda: [sl.AdaGradNorm(1, 2), sl.Expectation("y*r"), sl.Formula("norm2 + 1"), sl.Labels(), sl.L2Adversary()],
    lambda: [sl.Loss("Abs(r - y)"), sl.Teacher("r_star"), sl.RandomLabels("sigmoid(r_star)")],
]


@pytest.mark.parametrize("noun", NOUNS)
def test_what_comes_back_from_a_pickle_or_a_copy_is_the_same(noun: Callable[[], Any]) -> None:
    given = noun()
    for again in (pickle.loads(pickle.dumps(given)), copy.deepcopy(given)):
        assert alike(given, again)
        assert repr(again) == repr(given)


def test_curves_and_runs_come_back_from_a_pickle(trajectory: Trajectory, ensemble: Ensemble) -> None:
    for result in (trajectory, ensemble):
        again = pickle.loads(pickle.dumps(result))
        assert alike(result, again)
        assert repr(again) == repr(result)
    again = pickle.loads(pickle.dumps(trajectory))
    resumed = sl.solve(
        again.model, again.instance, again.schedule, again.parameters, 11.0, start=again.final, backend="numpy"
    )
    assert resumed.times[0] == 10.0


def test_the_largest_stable_rate_survives_a_pickle() -> None:
    rest = _rest_point()
    assert pickle.loads(pickle.dumps(rest)).largest_stable_gamma == rest.largest_stable_gamma == pytest.approx(2.0)


# ── Specs as text ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", catalogue())
def test_every_spec_of_the_catalogue_is_written_and_read_to_an_equal_one(name: str, tmp_path: Path) -> None:
    if name == "digits":
        pytest.importorskip("sklearn")
    spec = sl.load_spec(name)
    path = tmp_path / "again.toml"
    path.write_text(spec.to_toml(), encoding="utf-8")
    again = sl.load_spec(path)
    assert again == spec == sl.Spec.from_json(spec.to_json())
    assert again.to_toml() == spec.to_toml()
    # as it was written: by its builder; and by its arrays too
    assert again.to_dict()["instance"].get("builder") == spec.to_dict()["instance"].get("builder")
    bare = replace(spec, built=None)
    assert sl.Spec.from_toml(bare.to_toml()) == sl.Spec.from_json(bare.to_json()) == spec


MODEL = sl.Model(sl.Loss("(r - y)**2/2"), sl.Teacher("r_star + sigma*xi"), sl.L2Adversary())
PARAMETERS = {"epsilon": 0.3, "sigma": 0.5}
INSTANCES: dict[str, sl.Instance | sl.DenseInstance] = {
    "isotropic": sl.Instance.isotropic(7, start_norm=0.3),
    "infinite": sl.Instance.power_law(math.inf, exponent=0.5, nodes=9, mean_norm=1.0),
    "lumps": sl.Instance.zero_one(40, fraction=0.25, start_norm=1.0).lumped(10**9),
    "merged": sl.Instance.zero_one(40, fraction=0.25, start_norm=1.0).at_dimension(math.inf),
    "weighted": sl.Instance(
        probabilities=[1 / 3, 2 / 3],
        eigenvalues=[[1, 2], [3, 0.1]],
        means=0,
        start=0,
        teacher=[0, 0],
        weights=[0.3, 0.7],
    ),
    "one mode": sl.Instance(probabilities=[1], eigenvalues=2.0, means=0, start=[0], teacher=[1]),
    "dense": sl.DenseInstance(probabilities=[1], covariances=[[2, 1], [1, 3]], teacher=[1, 0]),
    "commuting": sl.DenseInstance(probabilities=[1], covariances=[[2, 0], [0, 3]], teacher=[1, 0]),
}
SCHEDULES = [
    sl.Constant(0.1 + 0.2),
    sl.Schedule("gamma0/(1 + t)**0.5"),
    sl.LineSearch("iterate"),
    sl.Polyak(),
    sl.Greedy("distance2", "iterate"),
    sl.AdaGradNorm(1 / 3, 2.0),
]


@pytest.mark.parametrize("name", INSTANCES)
def test_an_instance_built_in_python_is_written_with_every_bit(name: str) -> None:
    spec = sl.Spec.of(MODEL, INSTANCES[name], sl.Constant(0.5), PARAMETERS, 3.0)
    assert spec.instance == INSTANCES[name]
    assert type(spec.instance) is type(INSTANCES[name])
    assert sl.Spec.from_toml(spec.to_toml()) == spec == sl.Spec.from_json(spec.to_json())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_step_size_is_written_and_read(schedule: Any) -> None:
    more = {"gamma0": 0.7} if isinstance(schedule, sl.Schedule) else {}
    spec = sl.Spec.of(MODEL, INSTANCES["isotropic"], schedule, {**PARAMETERS, **more}, 3.0)
    assert spec.schedule == schedule
    assert sl.Spec.from_toml(spec.to_toml()) == spec


def test_a_spec_holds_everything_that_was_said() -> None:
    spec = sl.Spec.of(
        sl.Model(sl.Loss("log(1 + exp(-a*y*r))"), sl.RandomLabels("sigmoid(r_star)")),
        INSTANCES["weighted"],
        sl.Constant(0.5),
        {"a": np.array([1.0, 2.5])},
        times=[0.0, 0.1, 3.0],
        statistics={"margin": sl.Expectation("y*r"), "gap": sl.Formula("clean_risk - margin")},
        rtol=1e-6,
        runs=5,
        seed=2**50,
        verification={"dimensions": [10, 20, 40], "budget": 1e7},
        description='a "quoted" line\\\twith ε, \x7f and\nanother',
    )
    assert spec.parameters["a"] == (1.0, 2.5)
    assert (spec.horizon, spec.times, spec.rtol, spec.runs, spec.seed) == (3.0, (0.0, 0.1, 3.0), 1e-6, 5, 2**50)
    again = sl.Spec.from_toml(spec.to_toml())
    assert again == spec == sl.Spec.from_json(spec.to_json()) == sl.Spec.from_dict(spec.to_dict())
    assert list(again.statistics) == ["margin", "gap"]
    assert replace(spec, seed=1) != spec


@settings(max_examples=25)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(1e-300, 1e300), st.floats(0, 1e200))
def test_any_text_and_any_number_is_written_and_read(text: str, gamma: float, sigma: float) -> None:
    spec = sl.Spec.of(
        MODEL, INSTANCES["isotropic"], sl.Constant(gamma), {"epsilon": 0, "sigma": sigma}, 1, description=text
    )
    assert (spec.description, spec.schedule, spec.parameters["sigma"]) == (text, sl.Constant(gamma), sigma)
    assert sl.Spec.from_toml(spec.to_toml()) == spec == sl.Spec.from_json(spec.to_json())


def test_a_changed_instance_is_written_by_its_arrays() -> None:
    spec = sl.load_spec("least-squares")
    other = replace(spec, instance=sl.Instance.isotropic(10, eigenvalue=2.0))
    assert "builder" not in other.to_dict()["instance"]
    assert sl.Spec.from_toml(other.to_toml()).instance == other.instance
    copied = pickle.loads(pickle.dumps(spec))
    assert copied.to_toml() == spec.to_toml()


def test_what_cannot_be_a_spec_says_where() -> None:
    with pytest.raises(SpecError, match=r"spec: parameters\.sigma: is missing"):
        sl.Spec.of(MODEL, INSTANCES["isotropic"], sl.Constant(0.5), {"epsilon": 0.3}, 3.0)
    with pytest.raises(SpecError, match=r"^mine: is not TOML"):
        sl.Spec.from_toml("a = ", source="mine")
    with pytest.raises(SpecError, match=r"^spec: is not JSON"):
        sl.Spec.from_json("{")
    with pytest.raises(SpecError, match=r"^spec: is list and no object"):
        sl.Spec.from_json("[]")


def test_every_builder_has_a_table() -> None:
    assert {"dense", "from_covariances", None} <= set(BUILDERS)


# ── Displays ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_notebook_shows_shape_range_and_a_small_picture_of_each_curve(
    trajectory: Trajectory, ensemble: Ensemble
) -> None:
    for result, fact in (
        (trajectory, "201 times · t = 0 … 10"),
        (ensemble, "6 runs of SGD at d = 60, seed 1099511627"),
    ):
        shown = result._repr_html_()
        page = ElementTree.fromstring(shown)
        assert fact in "".join(page.itertext())
        assert len(page.findall(".//svg")) == len(result.names)
        assert [row.findtext("td") for row in page.findall(".//tbody/tr")] == list(result.names)
        assert len(shown) < 10_000
        assert "nan" not in shown
    band = ElementTree.fromstring(ensemble._repr_html_()).findall(".//polygon")
    assert len(band) == len(ensemble.names)


def test_a_picture_in_the_display_is_the_curve() -> None:
    curve = np.array([np.nan, 3.0, 1.0, 2.0])
    (line,) = ElementTree.fromstring(sparkline(curve, np.array([0.0, 1.0, 2.0, 4.0]))).findall("polyline")
    points = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
    assert points == [(31.0, 2.0), (60.0, 22.0), (118.0, 12.0)]
    assert sparkline(np.full(3, np.nan)) == ""
    assert "60,12" in sparkline(np.array([2.0]), np.array([1.0])) or "2,12" in sparkline(np.array([2.0]))


@pytest.mark.parametrize("name", INSTANCES)
def test_instances_show_their_spectra(name: str) -> None:
    page = ElementTree.fromstring(INSTANCES[name]._repr_html_())
    assert len(page.findall(".//svg")) == INSTANCES[name].classes


def test_displays_do_not_import_matplotlib() -> None:
    code = """
import sys, sgdlimit as sl
spec = sl.load_spec("least-squares", {"run.horizon": 0.5})
sl.solve(**spec.arguments, backend="numpy")._repr_html_()
sl.simulate(**spec.arguments, runs=2, backend="numpy")._repr_html_(), spec.instance._repr_html_()
print(sorted({"matplotlib", "xarray", "pandas", "sympy"} & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_names_in_a_display_are_text() -> None:
    said = '"><script>'
    assert "<script>" not in sparkline(np.array([0.0, 1.0]), label=said)


# ── Pictures ────────────────────────────────────────────────────────────────────────────────────────────────

MAGIC = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.mark.parametrize("ending", MAGIC)
def test_a_picture_is_what_its_ending_says_and_the_same_every_time(
    ending: str, trajectory: Trajectory, tmp_path: Path
) -> None:
    one = replace(trajectory, values={"norm2": trajectory["norm2"]})
    for name in ("a", "b"):
        one.save(tmp_path / f"{name}{ending}")
    first, second = ((tmp_path / f"{name}{ending}").read_bytes() for name in ("a", "b"))
    assert first.startswith(MAGIC[ending])
    assert first == second


def _shown(axes: Any) -> list[tuple[str, list[float]]]:
    return [(str(line.get_label()), list(line.get_ydata())) for line in axes.get_lines()]


def test_each_statistic_is_drawn_once_with_its_name_and_axes_have_units(trajectory: Trajectory) -> None:
    figure = trajectory.plot()
    lines = [line for axes in figure.axes for line in _shown(axes)]
    drawn = dict(lines)
    assert len(lines) == len(drawn) == len(trajectory.names) - 1  # the constant learning rate is not
    np.testing.assert_array_equal(drawn["squared norm $n^2$"], trajectory["norm2"])
    for axes in figure.axes:
        assert axes.get_xlabel() == "time $t = k/d$ (dimensionless)"
        assert axes.get_ylabel()
        assert axes.get_legend() is not None
    figure.canvas.draw()
    assert [axes.get_ylabel() for axes in figure.axes][:2] == ["risk", "error rate"]


def test_names_choose_what_is_drawn(trajectory: Trajectory) -> None:
    figure = trajectory.plot("learning_rate", "norm2")
    assert [label for axes in figure.axes for label, _ in _shown(axes)] == [
        "squared norm $n^2$",
        r"learning rate $\gamma(t)$",
    ]
    with pytest.raises(InputError, match="none called 'risk'; they are adversarial_risk"):
        trajectory.plot("risk")


def test_runs_are_marks_in_a_band_and_the_limit_a_line(ensemble: Ensemble, limit: Trajectory) -> None:
    (axes,) = ensemble.plot("norm2", limit=limit).axes
    (_, marks), (_, line) = _shown(axes)
    assert set(marks) <= set(ensemble.mean("norm2"))
    np.testing.assert_array_equal(line, limit["norm2"][limit.times <= 1.0])  # no further than the runs
    (band,) = axes.collections
    low, high = np.quantile(ensemble["norm2"], [0.1, 0.9], axis=0)
    corners = band.get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == (low.min(), high.max())
    words = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert words == ["limit, d → ∞", "mean of 6 runs of SGD at d = 60", "the middle 80 % of the runs"]


def test_runs_alone_are_their_mean_and_one_run_has_no_band(ensemble: Ensemble) -> None:
    (axes,) = ensemble.plot("norm2").axes
    np.testing.assert_array_equal(_shown(axes)[0][1], ensemble.mean("norm2"))
    one = replace(ensemble, values={name: runs[:1] for name, runs in ensemble.values.items()})
    (axes,) = one.plot("norm2").axes
    assert len(axes.collections) == 0
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["1 run of SGD at d = 60"]
    assert one._repr_html_().count("<polygon") == 0


def test_decades_are_seen_on_logarithmic_axes(trajectory: Trajectory) -> None:
    times = np.geomspace(1e-2, 1e4, 50)
    falling = replace(trajectory, times=times, values={"norm2": 1 / (1 + times) ** 2}, modes=None)
    (axes,) = falling.plot().axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    (axes,) = trajectory.plot("norm2").axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    signed = replace(falling, values={"mine": np.cos(times) / (1 + times) ** 2})
    assert signed.plot().axes[0].get_yscale() == "linear"


def test_a_curve_that_is_nowhere_defined_is_left_out(trajectory: Trajectory) -> None:
    nowhere = np.full(len(trajectory.times), np.nan)
    some = replace(trajectory, values={"norm2": trajectory["norm2"], "effective_ridge": nowhere})
    assert len(some.plot().axes) == 1
    assert "nan" not in some._repr_html_()


def test_where_nothing_is_defined_there_is_no_picture(trajectory: Trajectory) -> None:
    nowhere = replace(trajectory, values={"effective_ridge": np.full(len(trajectory.times), np.nan)})
    with pytest.raises(InputError, match="no statistic is defined anywhere; they are effective_ridge"):
        nowhere.plot()
    assert nowhere._repr_html_().count("<svg") == 0


def test_a_verification_is_plotted_as_it_is_reported() -> None:
    found = _verification()
    figure = found.plot()
    above, steps, *_ = figure.axes
    assert len(figure.axes) == 2 + 2 * len(found.names)
    # a row for each statistic, a row for each moment of a step, and each comparison is a dot in its row
    assert [label.get_text() for label in above.get_yticklabels()] == list(found.names)[::-1]
    assert {label.get_text() for label in steps.get_yticklabels()} == {
        f"step: {j.comparison.name}" for j in found.judgements if j.comparison.part == "one step"
    }
    dots = [
        len(line.get_xdata()) for axes in (above, steps) for line in axes.lines if line.get_marker() in ("o", "<", ">")
    ]
    assert sum(dots) == len(found.judgements)
    assert figure._repr_png_().startswith(MAGIC[".png"])


def test_what_the_user_set_in_matplotlib_stays_and_does_not_leak_in(trajectory: Trajectory, tmp_path: Path) -> None:
    import matplotlib

    one = replace(trajectory, values={"norm2": trajectory["norm2"]})
    one.save(tmp_path / "a.svg")
    with matplotlib.rc_context({"lines.linewidth": 9.0, "axes.facecolor": "black"}):
        one.save(tmp_path / "b.svg")
        assert matplotlib.rcParams["lines.linewidth"] == 9.0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def _lightness(colour: str) -> float:
    """CIE L* of a colour."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    light = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    return 116 * light ** (1 / 3) - 16 if light > 0.008856 else 903.3 * light


def test_colours_are_told_apart_in_grey_and_on_white() -> None:
    lightness = sorted(_lightness(colour) for colour in COLOURS)
    assert min(np.diff(lightness)) > 12
    assert lightness[-1] < 75


def test_empty_figures_are_of_the_size_asked_for() -> None:
    assert tuple(picture(3.0, 2.0).get_size_inches()) == (3.0, 2.0)


# ── The command line ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command in an empty folder on NumPy: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.app([*arguments, "--backend", "numpy"], prog_name="sgdlimit")
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out, captured.err

    return call


def test_a_picture_is_an_output_like_others(run: Callable[..., Any]) -> None:
    assert run("solve", "least-squares", "--out", "curve.svg")[:2] == (0, "curve.svg: 8 statistics at 201 times\n")
    assert run("solve", "least-squares", "--out", "curve.csv", "--figure", "curve.png")[0] == 0
    assert sorted(os.listdir()) == ["curve.csv", "curve.png", "curve.svg"]
    assert Path("curve.png").read_bytes().startswith(MAGIC[".png"])


def test_a_picture_stands_beside_curves_and_replaces_nothing(run: Callable[..., Any]) -> None:
    code, out, err = run("solve", "least-squares", "--out", "curve.csv")
    assert (code, [line.split(":")[0] for line in out.splitlines()], err) == (0, ["curve.csv", "curve.svg"], "")
    assert Path("curve.svg").read_bytes().startswith(MAGIC[".svg"])
    Path("curve.svg").write_text("of somebody else")
    code, out, err = run("solve", "least-squares", "--out", "curve.csv")
    assert (code, len(out.splitlines())) == (0, 1)
    assert err == "note: curve.svg is there already and stays; --figure curve.svg draws it anew\n"
    assert Path("curve.svg").read_text() == "of somebody else"
    assert run("solve", "least-squares", "--out", "curve.csv", "--figure", "curve.svg")[0] == 0
    assert Path("curve.svg").read_bytes().startswith(MAGIC[".svg"])


def test_the_picture_of_a_simulation_has_the_limit(run: Callable[..., Any]) -> None:
    options = ["simulate", "least-squares", "--runs", "3", "--horizon", "0.5"]
    code, out, _ = run(*options, "--out", "runs.npz", "--figure", "runs.svg")
    assert (code, len(out.splitlines())) == (0, 2)
    # letters are drawn as shapes, with what they are as comments
    assert "<!-- limit, d → ∞ -->" in Path("runs.svg").read_text(encoding="utf-8")
    assert np.load("runs.npz")["norm2"].shape[0] == 3


def test_a_picture_without_a_limit_says_so_and_runs_are_kept(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgdlimit.runtime import solver

    def diverge(**_: object) -> None:
        raise sl.Diverged(0.25, "the limit left every bound")

    monkeypatch.setattr(solver, "solve", diverge)
    code, _, err = run("simulate", "least-squares", "--runs", "2", "--horizon", "0.5", "--figure", "runs.svg")
    assert (code, err) == (
        0,
        "note: the picture is without the limit: diverged at t = 0.25: the limit left every bound\n",
    )
    assert "limit, d" not in Path("runs.svg").read_text(encoding="utf-8")


def test_a_statistic_called_time_is_refused_before_the_work(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgdlimit.runtime import solver

    monkeypatch.setattr(solver, "solve", lambda **_: pytest.fail("it was computed"))
    code, out, err = run("solve", "least-squares", "--set", "statistics.time.formula='norm2'", "--out", "c.csv")
    assert (code, out) == (2, "")
    assert err == "error: statistic: 'time' is what an axis is called in a table; choose another name\n"


def test_a_picture_needs_neither_sympy_nor_scipy(run: Callable[..., Any]) -> None:
    assert run("solve", "least-squares")[0] == 0  # the kernel is in the cache
    code = """
import sys
from sgdlimit.runtime.cli import app
try:
    app(["solve", "least-squares", "--backend", "numpy", "--out", "curve.pdf"])
except SystemExit as ended:
    assert ended.code == 0
print(sorted({"sympy", "scipy", "mpmath", "xarray", "pandas", "matplotlib.pyplot"} & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"
    assert Path("curve.pdf").read_bytes().startswith(MAGIC[".pdf"])


# ── Many curves ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def curves() -> Curves:
    spec = sl.load_spec("least-squares", {"run.horizon": 3.0})
    over = sl.grid(sigma=[0.0, 0.5], gamma=[0.4, 9.0])
    asked = {**spec.arguments, "parameters": {}, "times": np.linspace(0.0, 3.0, 7)}
    return sl.solve_many(**asked, over=over, backend="numpy")


def test_many_curves_are_written_with_what_varied_and_how_they_ended(curves: Curves, tmp_path: Path) -> None:
    assert curves.status == ("done", "diverged") * 2
    curves.save(tmp_path / "many.npz")
    curves.save(tmp_path / "many.csv")
    archive = np.load(tmp_path / "many.npz", allow_pickle=False)
    for name in curves.names:
        np.testing.assert_array_equal(archive[name], curves[name])
    assert archive["status"].tolist() == list(curves.status)
    assert json.loads(str(archive["about"]))["schedule"] == [repr(schedule) for schedule in curves.schedules]
    lines = np.genfromtxt(tmp_path / "many.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    np.testing.assert_array_equal(lines["norm2"], curves["norm2"].ravel())
    np.testing.assert_array_equal(lines["gamma"], np.repeat(curves.over["gamma"], 7))
    assert alike(curves, pickle.loads(pickle.dumps(curves)))


def test_many_curves_are_a_data_set(curves: Curves, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    curves.save(tmp_path / "many.nc")
    with xarray.open_dataset(tmp_path / "many.nc") as data:
        done = data["norm2"].where(data["status"] == "done", drop=True)
        np.testing.assert_array_equal(done, curves["norm2"][curves.done])


def test_a_picture_of_many_curves_keeps_to_those_that_ended_and_counts_the_others(curves: Curves) -> None:
    axes, bar = curves.plot("norm2").axes
    assert axes.get_ylim()[1] < 2 * curves["norm2"][curves.done].max()
    assert len(axes.collections[0].get_segments()) == 4
    assert bar.get_ylabel() == "sigma"
    assert axes.figure.get_suptitle() == "4 curves: 2 done, 2 diverged"
    page = ElementTree.fromstring(curves._repr_html_())
    assert "4 curves over sigma from 0 to 0.5, gamma from 0.4 to 9 · 2 done, 2 diverged" in "".join(page.itertext())
    assert len(page.findall(".//svg")) == len(curves.names)
