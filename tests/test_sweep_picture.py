"""Pictures of sweeps: what a figure shows is what the sweep found; what cannot be shown is one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgdlimit.derive.errors import InputError
from sgdlimit.runtime.figures import Picture, style
from sgdlimit.runtime.sweep_picture import Scale, _levels, _worst, panel_figures, panels
from sgdlimit.runtime.sweep_plan import VERDICTS
from sgdlimit.runtime.sweep_result import Sweep, load_sweep
from sgdlimit.runtime.sweeping import sweep

pytestmark = pytest.mark.filterwarnings("ignore:.*which sgdlimit.load_sweep reads:UserWarning")

BASE: dict[str, Any] = {
    "model": {"loss": "(r - y)**2/2", "target": {"teacher": "r_star + sigma*xi"}, "adversary": "l2"},
    "parameters": {"sigma": 0.5, "epsilon": 0.2},
    "instance": {"builder": "isotropic", "dimension": 12, "start_norm": 0.5},
    "schedule": {"gamma": 0.5},
    "run": {"horizon": 60.0, "rtol": 1e-4},
}
RATES = {"gamma": {"from": 0.1, "to": 6.0, "count": 13, "spacing": "log"}}


def swept(folder: Path, **sections: Any) -> Sweep:
    return sweep({**BASE, **sections}, folder / "s")


@pytest.fixture(scope="module")
def diagram(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A phase diagram: isotropic, so that it is stable below a learning rate of 2 whatever the radius."""
    axes = {"epsilon": {"from": 0.0, "to": 1.0, "count": 6}, "schedule": RATES}
    only = {"statistics": ["adversarial_risk", "norm2"]}
    return swept(tmp_path_factory.mktemp("diagram"), axes=axes, sweep=only)


def legend(figure: Picture) -> list[str]:
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


# ── What a figure shows ─────────────────────────────────────────────────────────────────────────────────────


def test_two_long_axes_make_a_map_of_each_statistic_whose_boundary_is_that_of_stability(diagram: Sweep) -> None:
    figure = diagram.plot()
    maps = [axes for axes in figure.axes if axes.get_xlabel()]
    assert [axes.get_title(loc="left").split(" $")[0] for axes in maps] == ["adversarial risk", "squared norm"]
    assert {(axes.get_xlabel(), axes.get_ylabel()) for axes in maps} == {
        (r"radius of the adversary $\varepsilon$", r"learning rate $\gamma$")
    }
    assert maps[0].get_yscale() == "log"
    assert legend(figure) == ["diverges", "boundary of stability"]
    boundary = next(c for c in maps[0].collections if c.get_linewidth()[0] == 2.0).get_paths()[0].vertices
    gamma = diagram.coordinates["gamma"]
    below, above = gamma[gamma < 2].max(), gamma[gamma > 2].min()
    assert (boundary[:, 1] > below).all()
    assert (boundary[:, 1] < above).all()


def test_a_panel_holds_the_numbers_of_the_sweep(diagram: Sweep) -> None:
    risk, norm = panels(diagram)
    assert (risk.name, norm.name, risk.across.name, risk.up and risk.up.name) == (
        "adversarial_risk",
        "norm2",
        "epsilon",
        "gamma",
    )
    np.testing.assert_array_equal(risk.values, diagram["adversarial_risk"].T)
    np.testing.assert_array_equal(norm.fate, diagram["status"].T)
    (turned,) = panels(diagram, ("norm2",), x="gamma", y="epsilon")
    np.testing.assert_array_equal(turned.values, diagram["norm2"])


def test_an_axis_of_few_values_makes_a_line_for_each(tmp_path: Path) -> None:
    found = swept(tmp_path, axes={"epsilon": [0.0, 0.6], "schedule": RATES}, sweep={"statistics": ["norm2"]})
    figure = found.plot()
    (axes,) = figure.axes
    assert legend(figure) == [r"$\varepsilon$ = 0", r"$\varepsilon$ = 0.6", "diverges"]
    done = found.status == "done"
    drawn = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == found.status.shape[1]]
    for k, values in enumerate(drawn):
        np.testing.assert_array_equal(values, np.where(done[k], found["norm2"][k], np.nan))
    assert len(drawn) == 2


def test_one_key_says_of_all_panels_what_their_lines_are_however_long(tmp_path: Path) -> None:
    rates = [{"expression": text} for text in ("gamma0/(1 + t)**0.5", "gamma0/(1 + sqrt(t))", "gamma0" + " + 0*t" * 12)]
    found = swept(
        tmp_path,
        parameters={"sigma": 0.5, "gamma0": 0.2},
        axes={"epsilon": {"from": 0.0, "to": 1.0, "count": 5}, "schedule": rates},
        sweep={"statistics": ["norm2", "overlap"]},
    )
    figure = found.plot()
    told = legend(figure)
    assert told[:2] == ["gamma0/(1 + t)**0.5", "gamma0/(1 + sqrt(t))"]
    assert told[2].endswith("…")
    with style():
        figure.draw_without_rendering()
    boxes = [figure.legends[0].get_window_extent(), *(axes.get_tightbbox() for axes in figure.axes)]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert figure.bbox.x0 <= boxes[0].x0
    assert boxes[0].x1 <= figure.bbox.x1


def test_what_was_simulated_is_points_with_standard_errors_and_seeds_are_averaged(tmp_path: Path) -> None:
    axes = {"epsilon": {"from": 0.0, "to": 1.0, "count": 5}, "simulate": {"seed": [0, 1, 2]}}
    found = swept(
        tmp_path,
        axes=axes,
        run={"horizon": 1.0, "rtol": 1e-4},
        sweep={"simulate": True, "statistics": ["norm2"]},
        simulate={"runs": 3},
    )
    (panel,) = panels(found)
    assert panel.up is None
    assert panel.simulated is not None
    assert panel.error is not None
    np.testing.assert_allclose(panel.simulated[0], found["simulated_norm2"].mean(axis=1), rtol=1e-14)
    errors = found["simulated_norm2_error"]
    np.testing.assert_allclose(panel.error[0], np.sqrt((errors**2).sum(axis=1)) / 3, rtol=1e-14)
    figure = found.plot()
    assert legend(figure) == ["limit, d → ∞", "mean of SGD ± standard error"]
    (bars,) = figure.axes[0].containers
    heights = [segment[:, 1].tolist() for segment in bars[2][0].get_segments()]
    np.testing.assert_allclose(np.mean(heights, axis=1), panel.simulated[0], rtol=1e-12)


def test_further_axes_make_a_panel_for_three_of_their_values_or_the_one_that_is_named(tmp_path: Path) -> None:
    axes = {
        "epsilon": {"from": 0.0, "to": 1.0, "count": 5},
        "sigma": {"from": 0.1, "to": 1.0, "count": 5},
        "schedule": {"gamma": [0.1, 0.2, 0.3, 0.4, 0.5]},
        "instance": {"start_norm": [0.5, 1.0]},
    }
    only = {"statistics": ["norm2", "overlap"]}
    found = swept(tmp_path, run={"horizon": 2.0, "rtol": 1e-4}, axes=axes, sweep=only)
    assert len(panels(found)) == 12
    assert panels(found)[0].heading == r"$\gamma$ = 0.1, start_norm = 0.5"
    (one,) = panels(found, ("norm2",), at={"gamma": 0.3, "start_norm": 1.0})
    np.testing.assert_array_equal(one.values, found["norm2"][:, :, 2, 1].T)
    assert one.heading == r"$\gamma$ = 0.3, start_norm = 1"


def test_of_several_times_the_last_is_shown_unless_time_is_an_axis(tmp_path: Path) -> None:
    found = swept(
        tmp_path,
        axes={"epsilon": {"from": 0.0, "to": 1.0, "count": 5}, "schedule": {"gamma": [0.5, 9.0]}},
        run={"times": [0.5, 1.0, 60.0], "rtol": 1e-4},
        sweep={"statistics": ["norm2"]},
    )
    (last,) = panels(found)
    np.testing.assert_array_equal(last.values, found["norm2"][..., -1].T)
    (over,) = panels(found, x="time", at={"gamma": 0.5})
    np.testing.assert_array_equal(over.values, found["norm2"][:, 0])
    assert over.across.label == "time $t = k/d$ (dimensionless)"


def test_words_are_points_and_values_in_any_order_are_sorted(tmp_path: Path) -> None:
    kinds = [{"rule": "line_search"}, {"gamma": 0.5}]
    found = swept(tmp_path, axes={"schedule": kinds}, sweep={"statistics": ["norm2"]})
    (axes,) = found.plot().axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["line_search", "gamma=0.5"]
    assert axes.lines[0].get_linestyle() == "None"
    mixed = swept(tmp_path / "b", axes={"epsilon": [0.5, 0.1, 0.3]}, sweep={"statistics": ["norm2"]})
    (panel,) = panels(mixed)
    assert panel.across.values.tolist() == [0.1, 0.3, 0.5]
    assert panel.values[0].tolist() == mixed["norm2"][[1, 2, 0]].tolist()


def test_a_point_without_a_result_is_told_from_one_that_diverges(tmp_path: Path) -> None:
    axes = {"epsilon": {"from": 0.5, "to": -0.1, "count": 5}, "schedule": RATES}
    found = swept(tmp_path, axes=axes, sweep={"statistics": ["norm2"], "batch": 10})
    assert set(found.counts()) == {"done", "diverged", "invalid"}
    assert legend(found.plot()) == ["no result", "diverges", "boundary of stability"]
    (tmp_path / "s" / "batches" / "000000000.npz").unlink()
    half = load_sweep(tmp_path / "s")
    assert "not yet" in legend(half.plot())


def test_a_failed_verification_is_marked_and_of_several_seeds_the_worst_counts() -> None:
    code = {word: VERDICTS.index(word) for word in VERDICTS}
    several = np.array([[code["passed"], code["inconclusive"]], [code["inconclusive"], code["failed"]], [0, 0]])
    assert _worst(several.astype(np.int8)).tolist() == [code["inconclusive"], code["failed"], code["none"]]


# ── Contours ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [(np.linspace(1.0, 2.0, 50), False), (np.geomspace(1e-3, 10.0, 50), True), (np.linspace(-1.0, 4.0, 50), False)],
)
def test_levels_are_a_few_round_numbers_within_the_values(values: np.ndarray[Any, Any], logarithmic: bool) -> None:
    levels, by_ratios = _levels(values)
    assert by_ratios == logarithmic
    assert 4 <= len(levels) <= 14
    assert (np.diff(levels) > 0).all()
    assert all(float(f"{level:.3g}") == pytest.approx(level) for level in levels)


def test_a_few_huge_values_do_not_take_the_levels() -> None:
    levels, _ = _levels(np.concatenate([np.linspace(1.0, 2.0, 500), [1e5] * 10, [np.nan]]))
    assert levels.max() <= 2.0
    assert len(_levels(np.full(5, np.nan))[0]) == len(_levels(np.full(5, 3.0))[0]) == 0


def test_half_the_way_is_of_the_scale() -> None:
    values, places = np.array([1.0, 4.0]), np.arange(2)
    assert Scale("a", "a", values, places).between(0) == 2.5
    assert Scale("a", "a", values, places, (), True).between(0) == 2.0


# ── Files, errors ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_sweep_is_the_same_file_in_every_format_and_process(diagram: Sweep, tmp_path: Path) -> None:
    for ending, magic in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")):
        diagram.save(tmp_path / f"a{ending}")
        assert (tmp_path / f"a{ending}").read_bytes().startswith(magic)
    code = f"import sgdlimit as sl\nf = sl.load_sweep({str(diagram.store.folder)!r})\nfor e in ('svg', 'pdf', 'png'): f.save(f'b.{{e}}')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    for ending in ("svg", "pdf", "png"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes(), ending


def test_each_panel_has_a_figure_of_its_own_for_a_page(diagram: Sweep) -> None:
    said = [words for words, figure in panel_figures(diagram) if isinstance(figure, Picture)]
    assert said == ["adversarial risk over epsilon and gamma", "squared norm over epsilon and gamma"]


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"names": ("risk",)}, r"there is no statistic 'risk' in the sweep; there are adversarial_risk, norm2"),
        ({"x": "sigma"}, r"plot\(x=…\): there is no axis 'sigma'; there are epsilon, gamma"),
        ({"at": {"sigma": 1}}, r"plot\(at=…\): there is no axis 'sigma'"),
        ({"at": {"epsilon": 0.15}}, r"plot\(at=\{'epsilon': …\}\): 0.15 is not among its values; they are 0, 0.2"),
        ({"x": "gamma", "y": "gamma"}, r"x and y are both gamma; give two different axes"),
        ({"x": "gamma", "at": {"gamma": 0.1}}, r"plot\(x=…\): gamma is in at, with one value; leave it out there"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(diagram: Sweep, keywords: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        diagram.plot(*keywords.pop("names", ()), **keywords)
    assert "\n" not in str(error.value)


def test_a_sweep_without_a_result_is_one_sentence(tmp_path: Path) -> None:
    found = swept(tmp_path, axes={"epsilon": [0.1, 0.2]}, sweep={"batch": 2})
    found.store.path(0).unlink()
    with pytest.raises(InputError, match=r"no point of the sweep has a result: 2 not yet"):
        found.plot()
    with pytest.raises(InputError, match=r"no batch is finished; go on with it"):
        found.table()
    assert "2 not yet" in found._repr_html_()


# ── Tables and displays ─────────────────────────────────────────────────────────────────────────────────────


def test_a_sweep_is_a_table_with_a_row_for_each_point(diagram: Sweep, tmp_path: Path) -> None:
    diagram.save(tmp_path / "points.csv")
    lines = (tmp_path / "points.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "epsilon,gamma,adversarial_risk,norm2,status,ended,steps,reason"
    assert len(lines) == 1 + 6 * 13
    last = dict(zip(lines[0].split(","), lines[-1].split(","), strict=True))
    assert (last["epsilon"], last["gamma"], last["status"]) == ("1", "6", "diverged")
    diagram.save(tmp_path / "points.npz")
    archive = np.load(tmp_path / "points.npz", allow_pickle=False)
    np.testing.assert_array_equal(archive["norm2"], diagram["norm2"])
    assert archive["status"].tolist() == diagram.status.tolist()


def test_a_sweep_is_a_data_frame_and_a_netcdf_file(diagram: Sweep, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("pandas")
    frame = diagram.to_dataframe()
    assert tuple(frame.index.names) == ("epsilon", "gamma")
    assert frame.loc[(0.2, 0.1), "norm2"] == diagram["norm2"][1, 0]
    assert frame.attrs["columns"]["epsilon"]["long_name"] == "radius of the adversary"
    diagram.save(tmp_path / "points.nc")
    with xarray.open_dataset(tmp_path / "points.nc") as data:
        assert data["norm2"].dims == ("epsilon", "gamma")
        assert data["gamma"].attrs == {"long_name": "learning rate", "units": "1", "symbol": r"\gamma"}
        np.testing.assert_array_equal(data["norm2"].values, diagram["norm2"])
        assert data["status"].values.tolist() == diagram.status.tolist()


def test_part_of_an_array_is_that_part(diagram: Sweep) -> None:
    whole = diagram["norm2"]
    np.testing.assert_array_equal(diagram.part("norm2", {"gamma": [3, 1]}), whole[:, [3, 1]])
    np.testing.assert_array_equal(diagram.part("norm2", {"epsilon": [5], "gamma": [0]}), whole[5:6, :1])


def test_a_notebook_shows_shape_ranges_and_a_small_picture(diagram: Sweep) -> None:
    shown = diagram._repr_html_()
    assert "6 epsilon × 13 gamma = 78 points" in shown
    assert shown.count("<svg") == 2
    assert "along gamma: median, min and max" in shown
    low, high = diagram.extent("adversarial_risk")
    assert (low, high) == (np.nanmin(diagram["adversarial_risk"]), np.nanmax(diagram["adversarial_risk"]))
    assert f"epsilon: 6, gamma: 13; 54 done, 24 diverged; adversarial_risk {low:.4g} … {high:.4g}; " in repr(diagram)
    assert "nan" not in shown
