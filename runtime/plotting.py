"""Curves as pictures: a panel for each kind of statistic, the limit as lines, SGD as marks in a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.errors import InputError
from sgdlimit.runtime.figures import COLOURS, DASHES, MARKS, Picture, picture, style
from sgdlimit.runtime.quantities import quantity

if TYPE_CHECKING:
    from sgdlimit.runtime.batch import Curves
    from sgdlimit.runtime.ensemble import Ensemble
    from sgdlimit.runtime.trajectory import Trajectory

Array = NDArray[np.float64]

KINDS = {
    "risk": ("adversarial_risk", "clean_risk"),
    "error rate": ("robust_error", "clean_error"),
    "norm, overlap, distance": ("norm2", "overlap", "distance2"),
    "distance from the optimum": ("optimum_distance2",),
}
"""What shares a panel; everything else has one of its own."""

BAND = (0.1, 0.9)
"""Quantiles of the runs that a band lies between."""
_MARKS = 16  # of a curve, so that marks can be told apart
_PANEL = (3.3, 2.6)  # inches
_A_ROW = 3
_DECADES = 1e3
_CURVES = 300  # that a panel shows at most, of many
_FEW = 30


def trajectory_figure(trajectory: Trajectory, names: Sequence[str] = ()) -> Picture:
    """The curves of a solve; see :meth:`sgdlimit.runtime.trajectory.Trajectory.plot`."""
    panels = _panels(trajectory, names)
    with style():
        figure, places = _grid(len(panels))
        for axes, (title, shown) in zip(places, panels.items(), strict=True):
            for k, name in enumerate(shown):
                _line(axes, trajectory.times, trajectory[name], k, quantity(name).label)
            _finish(axes, title, shown, trajectory.times, [trajectory[name] for name in shown])
    return figure


def ensemble_figure(ensemble: Ensemble, names: Sequence[str] = (), limit: Trajectory | None = None) -> Picture:
    """The runs of a simulation; see :meth:`sgdlimit.runtime.ensemble.Ensemble.plot`."""
    panels = _panels(ensemble, names)
    with style():
        figure, places = _grid(len(panels))
        for axes, (title, shown) in zip(places, panels.items(), strict=True):
            curves = []
            for k, name in enumerate(shown):
                _runs(axes, ensemble, name, k, as_line=limit is None or name not in limit.names)
                curves.append(ensemble.mean(name))
                if limit is not None and name in limit.names:
                    within = limit.times <= ensemble.times[-1] * (1 + 1e-12)
                    _line(axes, limit.times[within], limit[name][within], k, "")
                    curves.append(limit[name][within])
            _finish(axes, title, shown, ensemble.times, curves)
        _key(figure, ensemble, limit)
    return figure


def curves_figure(curves: Curves, names: Sequence[str] = ()) -> Picture:
    """Many solves; see :meth:`sgdlimit.runtime.batch.Curves.plot`."""
    panels = [name for members in _panels(curves, names).values() for name in members]
    drawn = np.unique(np.linspace(0, len(curves) - 1, _CURVES).round().astype(int))
    varied = next((name for name, at in curves.over.items() if at.ndim == 1 and np.ptp(at) > 0), None)
    with style():
        figure, places = _grid(len(panels))
        for axes, name in zip(places, panels, strict=True):
            lines = _many(axes, curves, name, drawn, varied)
            finished = curves[name][curves.done] if curves.done.any() else curves[name]
            _finish(axes, name, [name], curves.times, list(finished), many=True)
            _within(axes, finished)
        if varied is not None:
            figure.colorbar(lines, ax=places, label=quantity(varied).label, aspect=40)
        if len(drawn) < len(curves) or not curves.done.all():
            figure.suptitle(_counts(curves, len(drawn)), fontsize=9)
    return figure


# ── What goes where ─────────────────────────────────────────────────────────────────────────────────────────


def _panels(result: Trajectory | Ensemble | Curves, names: Sequence[str]) -> dict[str, list[str]]:
    """The statistics of each panel, by what the panel shows."""
    for name in names:
        result[name]  # refuses one that there is not
    wanted = list(dict.fromkeys(names)) or [name for name in result.names if _worth_showing(result, name)]
    kind_of = {name: kind for kind, members in KINDS.items() for name in members}
    panels: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name in wanted:
        panels.setdefault(kind_of.get(name, name), []).append(name)
    if not wanted:
        raise InputError("plot()", "no statistic is defined anywhere", f"they are {', '.join(result.names)}")
    return {kind: members for kind, members in panels.items() if members}


def _worth_showing(result: Trajectory | Ensemble | Curves, name: str) -> bool:
    """Not a learning rate or a ridge that is the same all the time, nor what is nowhere defined."""
    values = result[name]
    finite = values[np.isfinite(values)]
    return bool(finite.size) and not (name in ("learning_rate", "effective_ridge") and np.ptp(finite) == 0)


def _grid(count: int) -> tuple[Picture, list[Any]]:
    columns = min(count, _A_ROW if count != 4 else 2)
    rows = -(-count // columns)
    figure = picture(_PANEL[0] * columns, _PANEL[1] * rows)
    grid = figure.add_gridspec(rows, columns)
    return figure, [figure.add_subplot(grid[divmod(k, columns)]) for k in range(count)]


# ── What is drawn ───────────────────────────────────────────────────────────────────────────────────────────


def _line(axes: Any, times: Array, values: Array, k: int, label: str) -> None:
    style_of = {"color": COLOURS[k % len(COLOURS)], "ls": DASHES[k % len(DASHES)]}
    axes.plot(times, values, label=label or "_limit", zorder=3 + 0.1 * k, **style_of)


def _runs(axes: Any, ensemble: Ensemble, name: str, k: int, *, as_line: bool) -> None:
    colour, mark, label = COLOURS[k % len(COLOURS)], MARKS[k % len(MARKS)], quantity(name).label
    if ensemble.runs > 1:
        low, high = np.quantile(ensemble[name], BAND, axis=0)
        axes.fill_between(ensemble.times, low, high, color=colour, alpha=0.22, lw=0)
    mean = ensemble.mean(name)
    if as_line:
        _line(axes, ensemble.times, mean, k, label)
        return
    some = np.unique(np.linspace(0, len(mean) - 1, _MARKS).round().astype(int))
    marked = {"color": colour, "marker": mark, "ms": 4.5, "mec": "white", "mew": 0.6, "ls": "none"}
    axes.plot(ensemble.times[some], mean[some], label=label, zorder=4 + 0.1 * k, **marked)


def _many(axes: Any, curves: Curves, name: str, drawn: NDArray[np.intp], varied: str | None) -> Any:
    """Many lines, from dark to light as what varied increases."""
    from matplotlib.collections import LineCollection

    lines = LineCollection(
        [np.column_stack([curves.times, values]) for values in curves[name][drawn]],
        cmap="cividis" if varied else None,
        colors=None if varied else COLOURS[0],
        linewidths=1.2 if len(drawn) <= _FEW else 0.6,
    )
    if varied is not None:
        lines.set_array(curves.over[varied][drawn])
    axes.add_collection(lines)
    axes.autoscale_view()
    return lines


def _within(axes: Any, finished: Array) -> None:
    """Room for the curves that came to their end: those that diverged leave at the top."""
    known = finished[np.isfinite(finished)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    if axes.get_yscale() == "linear" and high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _counts(curves: Curves, drawn: int) -> str:
    ended = {status: curves.status.count(status) for status in dict.fromkeys(curves.status)}
    few = "" if drawn == len(curves) else f"{drawn} shown of "
    return f"{few}{len(curves)} curves: " + ", ".join(f"{count} {status}" for status, count in ended.items())


def _finish(
    axes: Any, title: str, shown: Sequence[str], times: Array, curves: Sequence[Array], *, many: bool = False
) -> None:
    """Labels with units, scales, and above the curves what each is: nothing is covered."""
    axes.set_xlabel("time $t = k/d$ (dimensionless)")
    symbol = quantity(shown[0]).symbol
    axes.set_ylabel(title if len(shown) > 1 else f"${symbol}$" if symbol else shown[0])
    _scales(axes, times, curves)
    axes.margins(x=0.01)
    if many:
        axes.set_title(quantity(shown[0]).label, loc="left", fontsize=8)
        return
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2, labelspacing=0.25)


def _scales(axes: Any, times: Array, curves: Sequence[Array]) -> None:
    """Logarithmic where times are spread over decades, and where a curve falls by decades and none is negative."""
    later = times[times > 0]
    if len(later) > 2 and np.median(later) < later[-1] / 20 and later[-1] / later[0] > _DECADES:
        axes.set_xscale("log")
    finite = [curve[np.isfinite(curve)] for curve in curves]
    positive = all((curve >= 0).all() for curve in finite)
    if positive and any(len(curve) and 0 < curve[-1] < curve.max() / _DECADES for curve in finite):
        axes.set_yscale("log")


def _key(figure: Any, ensemble: Ensemble, limit: Trajectory | None) -> None:
    """Under the panels: what lines, marks and bands are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    what = {"homogenised": "homogenised SGD", "lumped": "SGD in lumps"}.get(ensemble.dynamics, "SGD")
    runs = f"{ensemble.runs} run{'s' if ensemble.runs > 1 else ''} of {what} at d = {ensemble.dimension}"
    mean = f"mean of {runs}" if ensemble.runs > 1 else runs
    grey = "0.35"
    entries: Mapping[str, Any] = {mean: Line2D([], [], color=grey)}
    if limit is not None:
        marked = Line2D([], [], color=grey, marker="o", ms=4.5, mec="white", mew=0.6, ls="none")
        entries = {"limit, d → ∞": Line2D([], [], color=grey), mean: marked}
    if ensemble.runs > 1:
        entries = {**entries, "the middle 80 % of the runs": Patch(color=grey, alpha=0.25, lw=0)}
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=len(entries))
