"""How results show themselves in a notebook: what they are, the range of each curve, and a small picture of it.

The pictures are inline SVG of a few hundred bytes, in the colour of the text around them: no Matplotlib, no network,
legible on dark pages.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.runtime.quantities import quantity

if TYPE_CHECKING:
    from sgdlimit.runtime.batch import Curves
    from sgdlimit.runtime.dense import DenseInstance
    from sgdlimit.runtime.ensemble import Ensemble
    from sgdlimit.runtime.instance import Instance
    from sgdlimit.runtime.sweep_result import Sweep
    from sgdlimit.runtime.trajectory import Trajectory

Array = NDArray[np.float64]

WIDTH, HEIGHT = 120, 24
_POINTS = 48  # of a small picture
_EDGE = 2


def sparkline(
    curve: Array, at: Array | None = None, band: tuple[Array, Array] | None = None, *, label: str = ""
) -> str:
    """A curve as an inline SVG; empty where nothing is finite.

    Parameters
    ----------
    curve : array [T]
    at : array [T], optional
        Where its points are; evenly unless given.
    band : tuple of array [T], optional
        What the curve is shaded between.
    label : str
        What a screen reader says.

    Examples
    --------
    >>> print(sparkline(np.array([0.0, 1.0]), label="a rise"))
    <svg role="img" aria-label="a rise" width="120" height="24" viewBox="0 0 120 24"><polyline points="2,22 118,2" \
fill="none" stroke="currentColor" stroke-width="1.3"/></svg>
    """
    along = np.linspace(0.0, 1.0, len(curve)) if at is None else np.asarray(at, dtype=float)
    kept = np.unique(np.linspace(0, len(curve) - 1, _POINTS if band is None else _POINTS // 2).round().astype(int))
    low, high = (curve, curve) if band is None else band
    found = np.concatenate([low[np.isfinite(low)], high[np.isfinite(high)]])
    if not found.size:
        return ""
    bottom, top = float(found.min()), float(found.max())
    first, length = float(along[0]), float(along[-1] - along[0]) or 1.0

    def points(values: Array) -> list[str]:
        inside = [k for k in kept if np.isfinite(values[k])]
        share = 0.5 if top == bottom else (values[inside] - bottom) / (top - bottom)
        x = _EDGE + (WIDTH - 2 * _EDGE) * (along[inside] - first) / length
        y = HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * share * np.ones(len(inside))
        return [f"{_short(a)},{_short(b)}" for a, b in zip(x, y, strict=True)]

    shade = ""
    if band is not None:
        outline = " ".join([*points(low), *reversed(points(high))])
        shade = f'<polygon points="{outline}" fill="currentColor" fill-opacity="0.25"/>'
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">{shade}'
        f'<polyline points="{" ".join(points(curve))}" fill="none" stroke="currentColor" stroke-width="1.3"/></svg>'
    )


def trajectory_html(trajectory: Trajectory) -> str:
    """A solve: its statistics over time."""
    times = trajectory.times
    rows = [
        (name, *_range(curve), sparkline(curve, times, label=_said(name, curve)))
        for name, curve in trajectory.values.items()
    ]
    facts = [
        _counted(len(times), "time"),
        f"t = {times[0]:g} … {times[-1]:g}",
        repr(trajectory.schedule),
        *_valued(trajectory.parameters),
        f"d = {trajectory.instance.dimension:g}",
        f"rtol {trajectory.rtol:g}, {trajectory.backend}",
    ]
    return _page("Trajectory", facts, ("statistic", "start", "end", "min", "max", "over time"), rows)


def ensemble_html(ensemble: Ensemble) -> str:
    """A simulation: mean of the runs over time, and the band of the middle 80 %."""
    times = ensemble.times
    rows = []
    for name, runs in ensemble.values.items():
        mean = ensemble.mean(name)
        band = tuple(np.quantile(runs, [0.1, 0.9], axis=0)) if len(runs) > 1 else None
        equal = len(runs) > 1 and np.ptp(runs[:, -1]) == 0
        spread = "0" if equal else _number(ensemble.standard_error(name)[-1], 2)
        picture = sparkline(mean, times, band, label=_said(name, mean))
        rows.append((name, *_range(mean), spread, picture))
    dynamics = {"homogenised": "homogenised SGD", "lumped": "SGD in lumps"}.get(ensemble.dynamics, "SGD")
    facts = [
        f"{_counted(ensemble.runs, 'run')} of {dynamics} at d = {ensemble.dimension}, seed {ensemble.seed}",
        _counted(len(times), "time"),
        f"t = {times[0]:g} … {times[-1]:g}",
        repr(ensemble.schedule),
        *_valued(ensemble.parameters),
        ensemble.backend,
    ]
    head = ("mean over the runs", "start", "end", "min", "max", "s.e. at the end", "over time, with the middle 80 %")
    return _page("Ensemble", facts, head, rows)


def curves_html(curves: Curves) -> str:
    """Many solves: of each statistic the last values and the median in a band, of the curves that came to the end."""
    rows = []
    for name, values in curves.values.items():
        finished = values[curves.done] if curves.done.any() else values
        last, defined = values[curves.done][:, -1], np.isfinite(finished).any(axis=0)
        known = finished[:, defined]
        ends = (_number(last.min()), _number(np.median(last)), _number(last.max())) if last.size else ("–",) * 3
        band = (np.nanmin(known, axis=0), np.nanmax(known, axis=0))
        picture = ""
        if known.size:
            picture = sparkline(
                np.nanmedian(known, axis=0), curves.times[defined], band, label=quantity(name).long_name
            )
        rows.append((name, *ends, picture))
    counts = {status: curves.status.count(status) for status in dict.fromkeys(curves.status)}
    ranges = [f"{name} from {at.min():.4g} to {at.max():.4g}" for name, at in curves.over.items()]
    facts = [
        f"{len(curves)} curves over {', '.join(ranges)}" if ranges else _counted(len(curves), "curve"),
        ", ".join(f"{count} {status}" for status, count in counts.items()),
        f"{_counted(len(curves.times), 'time')}, t = {curves.times[0]:g} … {curves.times[-1]:g}",
        *_valued(curves.parameters),
        f"d = {curves.instance.dimension:g}",
        f"rtol {curves.rtol:g}, {curves.backend}",
    ]
    head = ("at the end", "min", "median", "max", "over time: median, min and max")
    return _page("Curves", facts, head, rows)


def sweep_html(sweep: Sweep) -> str:
    """A sweep: of each statistic the range over finished points, and its median along the longest axis in a band."""
    from sgdlimit.runtime.sweep_result import meaning

    plan = sweep.plan
    axis = max(range(len(plan.dimensions)), key=lambda k: len(plan.dimensions[k]))
    along = plan.dimensions[axis].name
    rows: list[tuple[str, ...]] = []
    for name in (name for name in plan.statistics if name in sweep.names):
        values = np.moveaxis(sweep[name], axis, -1)
        known = values[np.isfinite(values)]
        if not known.size:
            rows.append((name, *("–",) * 3, ""))
            continue
        columns = values.reshape(-1, values.shape[-1])
        there = np.isfinite(columns).any(axis=0)
        band = np.nanmin(columns[:, there], axis=0), np.nanmax(columns[:, there], axis=0)
        picture = sparkline(
            np.nanmedian(columns[:, there], axis=0),
            np.flatnonzero(there).astype(float),
            band,
            label=meaning(name).long_name,
        )
        rows.append((name, *map(_number, (known.min(), np.median(known), known.max())), picture))
    facts = [
        " × ".join(f"{len(d)} {d.name}" for d in plan.dimensions) + f" = {_counted(plan.points, 'point')}",
        ", ".join(f"{count} {status}" for status, count in sweep.counts().items()),
        plan.backend,
        str(sweep.store.folder),
    ]
    return _page("Sweep", facts, ("statistic", "min", "median", "max", f"along {along}: median, min and max"), rows)


def instance_html(instance: Instance) -> str:
    """An instance: a line for each class, with its spectrum, the largest eigenvalue first."""
    spectra = [np.sort(row)[::-1] for row in instance.eigenvalues]
    facts = [_counted(instance.classes, "class", "classes"), f"{instance.modes} modes", f"d = {instance.dimension:g}"]
    return _mixture("Instance", instance, facts, spectra, "eigenvalues, sorted")


def dense_instance_html(instance: DenseInstance) -> str:
    """A dense instance: a line for each class, with the variances of the coordinates."""
    variances = [np.sort(np.diag(matrix))[::-1] for matrix in instance.covariances]
    facts = [_counted(instance.classes, "class", "classes"), f"d = {instance.dimension}", "covariances as matrices"]
    return _mixture("DenseInstance", instance, facts, variances, "variances of coordinates, sorted")


def _mixture(
    title: str, instance: Instance | DenseInstance, facts: list[str], spectra: Sequence[Array], what: str
) -> str:
    rows = []
    for i, spectrum in enumerate(spectra):
        label = "–" if instance.labels is None else f"{instance.labels[i]:g}"
        size = f"{np.linalg.norm(instance.means[i]):.4g}"
        limits = f"{spectrum[-1]:.4g} … {spectrum[0]:.4g}"
        picture = sparkline(spectrum, label=f"{what} of class {i}, {limits}")
        rows.append((str(i), f"{instance.probabilities[i]:.4g}", label, size, limits, picture))
    facts.append(f"|start| = {np.linalg.norm(instance.start):.4g}")
    if instance.teacher is not None:
        facts.append(f"|teacher| = {np.linalg.norm(instance.teacher):.4g}")
    return _page(title, facts, ("class", "probability", "label", "|mean|", what, ""), rows)


# ── Parts ───────────────────────────────────────────────────────────────────────────────────────────────────


def _short(place: float) -> str:
    return f"{place:.1f}".removesuffix(".0")


def _range(curve: Array) -> tuple[str, ...]:
    finite = curve[np.isfinite(curve)]
    ends = (_number(curve[0]), _number(curve[-1]))
    return (*ends, f"{finite.min():.4g}", f"{finite.max():.4g}") if finite.size else (*ends, "–", "–")


def _said(name: str, curve: Array) -> str:
    return f"{quantity(name).long_name}, {_number(curve[0])} to {_number(curve[-1])}"


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if np.isfinite(value) else "–"


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _valued(parameters: Mapping[str, Any]) -> list[str]:
    return [", ".join(f"{name} = {value}" for name, value in parameters.items())] if parameters else []


def _page(title: str, facts: Sequence[str], head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A heading, facts, and a table whose last column is a picture."""

    def cells(row: Sequence[str]) -> str:
        told = "".join(
            f'<td style="text-align:{"left" if k == 0 else "right"}">{html.escape(cell)}</td>'
            for k, cell in enumerate(row[:-1])
        )
        return f"<tr>{told}<td>{row[-1]}</td></tr>"

    titles = "".join(f'<th style="text-align:left">{html.escape(cell)}</th>' for cell in head)
    return (
        f"<div><strong>{title}</strong> {html.escape(' · '.join(facts))}"
        f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(cells(row) for row in rows)}</tbody></table></div>"
    )
