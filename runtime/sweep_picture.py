"""Pictures of a sweep: a map with contours and the boundary of stability over two axes, lines over one.

A picture is made of panels: `panels` chooses what is shown over which axes, `draw` puts one on a pair of axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.errors import InputError
from sgdlimit.runtime.figures import COLOURS, DASHES, MARKS, Picture, picture, style
from sgdlimit.runtime.quantities import quantity
from sgdlimit.runtime.sweep_plan import STATUSES, VERDICTS
from sgdlimit.runtime.sweep_result import Sweep, coordinates, meaning

Array = NDArray[np.float64]
Key: TypeAlias = dict[str, Any]
"""What marks mean: of a legend, artists by their labels."""

_WIDE = 5  # values that an axis of a map has at least, unless it is asked for
_FAMILY = 8  # lines that a panel has at most
_A_FACET = 3  # values of a further axis that get a panel
_PANELS = 12
_ALONG = 400  # values of an axis that a picture shows at most
_LEVELS = 9
_DECADES = 1e3
_LETTERS = 13  # of a legend, an inch
_LONGEST = 48  # letters of what a legend says
_MAP, _LINES, _A_ROW = (4.1, 3.2), (3.6, 2.8), 3

_DONE, _DIVERGED, _NOT_YET = (STATUSES.index(status) for status in ("done", "diverged", "not yet"))
_UNSTABLE: Any = {"facecolor": "0.93", "edgecolor": "0.6", "hatch": "////", "linewidth": 0}
_EMPTY: Any = {"facecolor": "white", "edgecolor": "0.6", "hatch": "....", "linewidth": 0}
_BLANK: Any = {"facecolor": "white", "edgecolor": "0.6", "hatch": "", "linewidth": 0}


# ── What is shown ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Scale:
    """A dimension of a sweep as an axis of a picture.

    Parameters
    ----------
    name, label : str
        Of the dimension; what is written along it.
    values : array
        Where its values are, increasing; words are at whole numbers.
    places : array of int
        Their places along the dimension.
    words : tuple of str
        The values where they are no numbers.
    logarithmic : bool
    """

    name: str
    label: str
    values: Array
    places: NDArray[np.int64]
    words: tuple[str, ...] = ()
    logarithmic: bool = False

    def __len__(self) -> int:
        return len(self.values)

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        return not self.words

    def told(self, k: int) -> str:
        """Value number ``k`` in a few characters."""
        return self.words[k] if self.words else f"{self.values[k]:.4g}"

    def between(self, k: int) -> float:
        """Half the way from value ``k`` to the next."""
        a, b = float(self.values[k]), float(self.values[k + 1])
        return math.sqrt(a * b) if self.logarithmic else (a + b) / 2


@dataclass(frozen=True, eq=False)
class Panel:
    """A statistic over one axis or two.

    Parameters
    ----------
    name : str
        The statistic.
    heading : str
        What it is of: values of the axes that are not shown.
    across, up : Scale
        To the right; upwards, of a map. A panel of lines has in ``up`` what tells them apart, or None.
    values, fate : array [U, A]
        The statistic, and what became of the points, by number.
    simulated, error : array [U, A], optional
        Means of SGD and their standard errors.
    verdict : array [U, A], optional
        By number.
    lines : bool
        Whether it is one of lines.
    """

    name: str
    heading: str
    across: Scale
    up: Scale | None
    values: Array
    fate: NDArray[np.int8]
    simulated: Array | None
    error: Array | None
    verdict: NDArray[np.int8] | None
    lines: bool


def panels(
    sweep: Sweep,
    names: Sequence[str] = (),
    *,
    x: str | None = None,
    y: str | None = None,
    at: Mapping[str, Any] | None = None,
) -> tuple[Panel, ...]:
    """What a picture of a sweep shows: see :meth:`sgdlimit.runtime.sweep_result.Sweep.plot`.

    Raises
    ------
    InputError
        For a statistic, an axis or a value that there is not, or when no point is finished.
    """
    statistics = _statistics(sweep, names)
    scales = {scale.name: scale for scale in _scales(sweep)}
    fixed = dict(_fixed(scales, sweep, key, value) for key, value in (at or {}).items())
    free = {name: scale for name, scale in scales.items() if name not in fixed}
    across, up, lines = _axes_of(free, _named(scales, sweep, x, "x"), _named(scales, sweep, y, "y"))
    shown = {across.name, *([up.name] if up else [])}
    facets: dict[str, tuple[int, ...]] = {}
    others: dict[str, tuple[int, ...]] = {}
    for name, scale in scales.items():
        if name in shown:
            continue
        if name in fixed:
            facets[name] = (fixed[name],)
        elif name == "time":
            others[name] = (len(scale) - 1,)
        elif name == "seed":
            others[name] = tuple(range(len(scale)))
        elif len(scale) == 1:
            others[name] = (0,)
        else:
            facets[name] = _some(scale)
    while math.prod(map(len, facets.values())) > _PANELS:
        widest = max(facets, key=lambda name: len(facets[name]))
        facets[widest] = (facets[widest][len(facets[widest]) // 2],)
    count = math.prod(map(len, facets.values()))
    statistics = statistics if names else statistics[: max(1, _PANELS // count)]
    found = tuple(
        _panel(sweep, name, scales, across, up, dict(zip(facets, places, strict=True)), others, lines)
        for places in product(*facets.values())
        for name in statistics
    )
    return found if names else tuple(p for p in found if np.isfinite(p.values).any()) or found[:1]


def _statistics(sweep: Sweep, names: Sequence[str]) -> list[str]:
    """Those asked for; else those that have a value anywhere."""
    there = [name for name in sweep.plan.statistics if name in sweep.names]
    for name in names:
        if name not in there:
            raise InputError("plot()", f"there is no statistic {name!r} in the sweep", f"there are {', '.join(there)}")
    if not sweep.counts().get("done", 0) and not sweep.counts().get("diverged", 0):
        counts = ", ".join(f"{count} {status}" for status, count in sweep.counts().items())
        raise InputError("plot()", f"no point of the sweep has a result: {counts}", "see sweep.reasons()")
    return list(names) or [name for name in there if np.isfinite(sweep.extent(name)).all()] or there


def _scales(sweep: Sweep) -> Iterator[Scale]:
    columns = coordinates(sweep.plan)
    for dimension in sweep.plan.dimensions:
        # of axes that move together, the first whose values tell the points apart
        own = [columns[axis.name] for axis in dimension.axes]
        told = [c for c in own if c.values.dtype.kind in "if" and len(np.unique(c.values)) == len(c.values)]
        found = (told or [columns[dimension.name] if len(own) > 1 else own[0]])[0]
        label = found.meaning.label
        if found.values.dtype.kind not in "if" or not np.isfinite(found.values).all():
            places = np.arange(min(len(dimension), _ALONG))
            words = tuple(str(value) for value in found.values[places])
            yield Scale(dimension.name, label, places.astype(float), places, words)
        else:
            yield _numbers(dimension.name, label, found.values.astype(float))
    if sweep.plan.times:
        yield _numbers("time", "time $t = k/d$ (dimensionless)", np.array(sweep.plan.times))


def _numbers(name: str, label: str, values: Array) -> Scale:
    order = np.argsort(values, kind="stable")
    if len(order) > _ALONG:
        order = order[np.unique(np.linspace(0, len(order) - 1, _ALONG).round().astype(int))]
    found = values[order]
    logarithmic = False
    if len(found) > 2 and found[0] > 0 and found[-1] > 10 * found[0]:
        ratios, steps = np.diff(np.log(found)), np.diff(found)
        logarithmic = bool(np.std(ratios) / np.mean(ratios) < np.std(steps) / np.mean(steps))
    return Scale(name, label, found, order, (), logarithmic)


def _named(scales: Mapping[str, Scale], sweep: Sweep, name: str | None, role: str) -> Scale | None:
    """The dimension of an axis' name."""
    if name is None:
        return None
    of = {axis.name: d.name for d in sweep.plan.dimensions for axis in d.axes}
    found = scales.get(of.get(name, name))
    if found is None:
        raise InputError(f"plot({role}=…)", f"there is no axis {name!r}", f"there are {', '.join(scales)}")
    return found


def _fixed(scales: Mapping[str, Scale], sweep: Sweep, name: str, value: Any) -> tuple[str, int]:
    """A dimension, and the place among its scale's values of one that is asked for."""
    scale = _named(scales, sweep, name, "at")
    assert scale is not None
    for k in range(len(scale)):
        same = (
            scale.words[k] == str(value)
            if scale.words
            else isinstance(value, int | float) and math.isclose(scale.values[k], value, rel_tol=1e-9, abs_tol=1e-300)
        )
        if same:
            return scale.name, k
    some = ", ".join(dict.fromkeys(scale.told(k) for k in np.linspace(0, len(scale) - 1, 6).round().astype(int)))
    raise InputError(f"plot(at={{{name!r}: …}})", f"{value!r} is not among its values", f"they are {some}, say")


def _axes_of(free: Mapping[str, Scale], x: Scale | None, y: Scale | None) -> tuple[Scale, Scale | None, bool]:
    """What is to the right, what is upwards or tells lines apart, and whether it is lines."""
    for scale, role in ((x, "x"), (y, "y")):
        if scale is not None and scale.name not in free:
            raise InputError(f"plot({role}=…)", f"{scale.name} is in at, with one value", "leave it out there")
    if x is not None and y is not None and x.name == y.name:
        raise InputError("plot()", f"x and y are both {x.name}", "give two different axes")
    if y is not None and (not y.numeric or len(y) < 2):
        raise InputError("plot(y=…)", f"{y.name} has no two numbers", "a map goes over numbers; give it as x")
    candidates = [scale for name, scale in free.items() if len(scale) > 1 and name not in ("seed", "time")]
    numeric = [scale for scale in candidates if scale.numeric and scale not in (x, y)]
    wide = [scale for scale in numeric if len(scale) >= _WIDE]
    if x is None:
        rest = [scale for scale in (*wide, *sorted(numeric, key=len, reverse=True)) if scale is not y]
        time = [free["time"]] if "time" in free and len(free["time"]) > 1 else []
        x = next(iter([*rest, *time, *candidates, *free.values()]))
    if y is not None and x.numeric and len(x) > 1:
        return x, y, False
    rest = [scale for scale in candidates if scale not in (x, y)]
    if y is None and x.numeric and len(x) >= _WIDE:
        second = next((scale for scale in rest if scale.numeric and len(scale) >= _WIDE), None)
        if second is not None:
            return x, second, False
    few = [scale for scale in rest if len(scale) <= _FAMILY]
    return x, y or next(iter(few), None), True


def _some(scale: Scale) -> tuple[int, ...]:
    """Which of its values get a panel."""
    if len(scale) <= _A_FACET:
        return tuple(range(len(scale)))
    return (0, len(scale) // 2, len(scale) - 1)


def _panel(
    sweep: Sweep,
    name: str,
    scales: Mapping[str, Scale],
    across: Scale,
    up: Scale | None,
    facet: Mapping[str, int],
    others: Mapping[str, tuple[int, ...]],
    lines: bool,
) -> Panel:
    chosen = {across.name: across.places, **({up.name: up.places} if up else {})}
    chosen |= {d: scales[d].places[[k]] for d, k in facet.items()}
    chosen |= {d: scales[d].places[list(k)] for d, k in others.items()}
    order = [*([up.name] if up else []), across.name, *(["seed"] if "seed" in others else [])]

    def read(array: str) -> NDArray[Any]:
        """Over ``up``, ``across``, and the seeds, one or several."""
        values = sweep.part(array, chosen)
        dims = [d.name for d in sweep.plan.dimensions]
        if sweep.plan.times and values.ndim > len(dims):
            values = values[..., chosen["time"]]
            dims.append("time")
        elif "time" in order:  # what a point has once
            values = np.repeat(values[..., None], len(chosen["time"]), axis=-1)
            dims.append("time")
        kept = [d for d in order if d in dims]
        values = np.moveaxis(values, [dims.index(d) for d in kept], range(len(kept)))
        sizes = (len(up) if up else 1, len(across), len(others.get("seed", (0,))))
        return values.reshape(sizes)

    simulated = error = verdict = None
    if f"simulated_{name}" in sweep.names:
        means, errors = read(f"simulated_{name}"), read(f"simulated_{name}_error")
        if np.isfinite(means).any():
            simulated, error = means.mean(axis=-1), np.sqrt((errors**2).sum(axis=-1)) / errors.shape[-1]
    if "verdict" in sweep.names:
        verdict = _worst(read("verdict"))
    heading = ", ".join(f"{_short(sweep, d)} = {scales[d].told(k)}" for d, k in facet.items())
    return Panel(
        name,
        heading,
        across,
        up,
        read(name)[..., 0],
        read("status")[..., 0].astype(np.int8),
        simulated,
        error,
        verdict,
        lines,
    )


def _worst(verdicts: NDArray[np.int8]) -> NDArray[np.int8]:
    """Of several seeds: failed, else inconclusive, else passed."""
    rank = np.array([0, 1, 3, 2], dtype=np.int8)  # of VERDICTS; its own inverse
    worst: NDArray[np.int8] = rank[rank[verdicts].max(axis=-1)]
    return worst


def _short(sweep: Sweep, dimension: str) -> str:
    symbol = quantity(dimension).symbol
    return f"${symbol}$" if symbol else dimension


# ── Figures ─────────────────────────────────────────────────────────────────────────────────────────────────


def sweep_figure(
    sweep: Sweep,
    names: Sequence[str] = (),
    *,
    x: str | None = None,
    y: str | None = None,
    at: Mapping[str, Any] | None = None,
) -> Picture:
    """All panels in one figure; see :meth:`sgdlimit.runtime.sweep_result.Sweep.plot`."""
    return _figure(panels(sweep, names, x=x, y=y, at=at))


def panel_figures(sweep: Sweep) -> tuple[tuple[str, Picture], ...]:
    """A figure for each panel, and what it shows in words."""
    return tuple((_said(panel), _figure((panel,))) for panel in panels(sweep))


def _said(panel: Panel) -> str:
    over = [panel.across, *([panel.up] if panel.up else [])]
    names = " and ".join(scale.name for scale in over)
    return f"{meaning(panel.name).long_name} over {names}" + (f", {panel.heading}" if panel.heading else "")


def _figure(shown: Sequence[Panel]) -> Picture:
    columns = min(len(shown), _A_ROW if len(shown) != 4 else 2)
    rows = -(-len(shown) // columns)
    width, height = _LINES if shown[0].lines else _MAP
    figure = picture(width * columns, (height + 0.25) * rows if len(shown) > 1 else height + 0.5)
    with style():
        grid = figure.add_gridspec(rows, columns)
        entries: Key = {}
        for k, panel in enumerate(shown):
            entries |= draw(panel, figure.add_subplot(grid[divmod(k, columns)]))
        if entries:
            fitting = int(_LETTERS * width * columns / (max(map(len, entries)) + 6))
            ncols = max(1, min(fitting, 4, len(entries)))
            figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=ncols)
    return figure


def draw(panel: Panel, axes: Any) -> Key:
    """One panel, with its labels and scales; returns what its marks mean."""
    key = (_draw_lines if panel.lines else _draw_map)(panel, axes)
    axes.set_xlabel(panel.across.label)
    what = meaning(panel.name).label
    axes.set_title(f"{what}, {panel.heading}" if panel.heading else what, loc="left", fontsize=9)
    return key


def _ticks(axis: Any, set_scale: Any, scale: Scale) -> None:
    """Words where they belong; on a logarithmic scale numbers rather than powers, as long as there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if scale.words:
        axis.set_ticks(scale.values, [word if len(word) <= 24 else f"{word[:23]}…" for word in scale.words])
        return
    if not scale.logarithmic:
        return
    set_scale("log")
    if scale.values[-1] / scale.values[0] <= _DECADES:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


# ── Maps ────────────────────────────────────────────────────────────────────────────────────────────────────


def _draw_map(panel: Panel, axes: Any) -> Key:
    assert panel.up is not None
    shown = np.where(panel.fate == _DONE, panel.values, np.nan)
    draw_contours(axes, panel.across, panel.up, shown)
    key = draw_fate(axes, panel.across, panel.up, panel.fate)
    if panel.verdict is not None:
        key |= _draw_verdicts(panel, axes)
    axes.set_ylabel(panel.up.label)
    axes.set_xlim(panel.across.values[[0, -1]])
    axes.set_ylim(panel.up.values[[0, -1]])
    return key


def draw_contours(axes: Any, across: Scale, up: Scale, values: Array, levels: Sequence[float] = ()) -> None:
    """Values over two axes by colour, darker where they are larger, with labelled contours and a bar.

    The colours go half a step beyond the last finite value: that far a point speaks for its surroundings.

    Parameters
    ----------
    axes
    across, up : Scale
    values : array [U, A]
    levels : sequence of float, optional
        Of the contours, by ratios if they are positive and far apart; round numbers unless given.
    """
    from matplotlib import colormaps, patheffects
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    # scales first: labels are set into the lines by their places on the page
    _ticks(axes.xaxis, axes.set_xscale, across)
    _ticks(axes.yaxis, axes.set_yscale, up)
    chosen, by_ratios = _levels(values)
    if len(levels):
        chosen, by_ratios = np.array(levels), levels[0] > 0 and levels[-1] > 5 * levels[0]
    if not len(chosen):
        told = "nowhere defined" if np.isnan(values).all() else f"{values[np.isfinite(values)][0]:.4g} everywhere"
        axes.text(0.5, 0.5, told, ha="center", va="center", transform=axes.transAxes)
        return
    # without the darkest third, so that black lines can be seen on it
    colours = ListedColormap(colormaps["cividis_r"](np.linspace(0.0, 0.72, 256)))
    norm = (LogNorm if by_ratios else Normalize)(chosen[0], chosen[-1])
    filled = axes.contourf(
        across.values, up.values, _spread(values), chosen, cmap=colours, norm=norm, extend="both", zorder=0
    )
    lines = axes.contour(across.values, up.values, values, chosen, colors="black", linewidths=0.6, zorder=1)
    for text in axes.clabel(lines, fmt=lambda level: f"{level:.3g}", fontsize=7):
        text.set_path_effects([patheffects.withStroke(linewidth=2.0, foreground="white")])
    bar = axes.figure.colorbar(filled, ax=axes, aspect=30, pad=0.02)
    bar.set_ticks(chosen, labels=[f"{level:.3g}" for level in chosen], minor=False)
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=7)


def _levels(values: Array) -> tuple[Array, bool]:
    """Some round numbers among the values, and whether they go by ratios; a tail of huge values is left out."""
    from matplotlib.ticker import MaxNLocator

    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.empty(0), False
    low, high = (float(q) for q in np.quantile(finite, [0.01, 0.96]))
    if low == high:
        return np.empty(0), False
    if low > 0 and high > 5 * low:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        choices = []
        for steps in ((1, 1.5, 2, 3, 4, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            candidates = [float(f"{step}e{decade}") for decade in decades for step in steps]
            choices.append([c for c in candidates if low <= c <= high])
        best = min(choices, key=lambda found: abs(len(found) - _LEVELS))
        if len(best) > 1:
            return np.array(best), True
    found = np.asarray(MaxNLocator(_LEVELS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high), dtype=float)
    inside = found[(found >= low - 1e-12) & (found <= high + 1e-12)]
    return (inside if len(inside) > 1 else found), False


def _spread(values: Array) -> Array:
    """Empty neighbours of what is finite get its mean."""
    padded = np.pad(values, 1, constant_values=np.nan)
    around = np.stack([padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]])
    there = np.isfinite(around)
    count = there.sum(axis=0)
    mean = np.where(there, around, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where(np.isfinite(values), values, np.where(count > 0, mean, np.nan))


def draw_fate(axes: Any, across: Scale, up: Scale, fate: NDArray[np.int8]) -> Key:
    """Where points diverge, hatched, with the boundary of that; and where there is no result for another reason.

    Returns what that means, for a legend.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    unstable, done = fate == _DIVERGED, fate == _DONE
    key: Key = {}
    for label, inside, look in (
        ("no result", ~unstable & ~done & (fate != _NOT_YET), _EMPTY),
        ("not yet", fate == _NOT_YET, _BLANK),
        ("diverges", unstable, _UNSTABLE),
    ):
        if inside.any():
            # opaque, over the colours; half a step beyond its points, as those are
            region = axes.contourf(
                across.values,
                up.values,
                inside.astype(float),
                [0.5, 1.5],
                colors=[look["facecolor"]],
                hatches=[look["hatch"]],
                zorder=2,
            )
            region.set(edgecolor=look["edgecolor"], linewidth=0)
            key[label] = Patch(**look)
    if unstable.any() and done.any():
        known = np.where(done | unstable, unstable.astype(float), np.nan)
        axes.contour(across.values, up.values, known, [0.5], colors="black", linewidths=2.0, zorder=3)
        key["boundary of stability"] = Line2D([], [], color="black", lw=2.0)
    return key


def _draw_verdicts(panel: Panel, axes: Any) -> Key:
    assert panel.verdict is not None
    assert panel.up is not None
    key: Key = {}
    for word, marker in (("failed", "x"), ("inconclusive", "o")):
        up, across = np.nonzero(panel.verdict == VERDICTS.index(word))
        if len(up):
            look = {"marker": marker, "color": "black", "mfc": "none", "ms": 5, "ls": "none"}
            (key[f"verification {word}"],) = axes.plot(
                panel.across.values[across], panel.up.values[up], zorder=4, **look
            )
    return key


# ── Lines ───────────────────────────────────────────────────────────────────────────────────────────────────


def _draw_lines(panel: Panel, axes: Any) -> Key:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    across, count = panel.across, len(panel.values)
    _ticks(axes.xaxis, axes.set_xscale, across)
    key: Key = {}
    unstable = panel.fate == _DIVERGED
    for k in range(count):
        values = np.where(panel.fate[k] == _DONE, panel.values[k], np.nan)
        line = _line(axes, panel, k, values)
        if panel.up is not None:
            key[_told(panel.up, k)] = line
        if not unstable.all(axis=0).any() or count > 1:
            for edge in np.flatnonzero(np.diff(unstable[k].astype(int))):
                axes.axvline(across.between(int(edge)), color=COLOURS[k % len(COLOURS)], lw=0.9, ls=":", zorder=1)
    everywhere = unstable.all(axis=0)
    for begin, end in _runs_of(everywhere):
        left = across.between(begin - 1) if begin else across.values[0]
        right = across.between(end) if end < len(across) - 1 else across.values[-1]
        axes.axvspan(left, right, zorder=0, **_UNSTABLE)
    if everywhere.any():
        key["diverges"] = Patch(**_UNSTABLE)
    elif unstable.any():
        key["beyond it diverges"] = Line2D([], [], color="0.3", lw=0.9, ls=":")
    if panel.simulated is not None:
        bars: Any = {"color": "0.3", "marker": "o", "ms": 4, "mec": "white", "mew": 0.6, "ls": "none"}
        key["limit, d → ∞"] = Line2D([], [], color="0.3")
        key["mean of SGD ± standard error"] = Line2D([], [], **bars)
    symbol = meaning(panel.name).symbol
    axes.set_ylabel(f"${symbol}$" if symbol else "")
    axes.margins(x=0.02)
    finite = panel.values[(panel.fate == _DONE) & np.isfinite(panel.values)]
    if finite.size and finite.min() > 0 and finite.max() > _DECADES * finite.min():
        axes.set_yscale("log")
    return key


def _told(scale: Scale, k: int) -> str:
    """Value number ``k`` as a legend says it, which is that of all panels."""
    if scale.words:
        word = scale.words[k]
        return word if len(word) <= _LONGEST else f"{word[: _LONGEST - 1]}…"
    symbol = quantity(scale.name).symbol
    return f"{f'${symbol}$' if symbol else scale.name} = {scale.told(k)}"


def _line(axes: Any, panel: Panel, k: int, values: Array) -> Any:
    """The limit along line ``k``, with what was simulated beside it; returns what stands for it in a legend."""
    turn = k // len(COLOURS)  # a fifth line has the first's colour and another's dashes
    colour, dash = COLOURS[k % len(COLOURS)], DASHES[(k + turn) % len(DASHES)]
    mark = MARKS[(k + turn) % len(MARKS)]
    points = {"marker": mark, "ms": 7 if panel.across.words else 3.5, "mec": "white", "mew": 0.5}
    few = len(values) <= 40 and panel.simulated is None
    dashes = {"ls": "none"} if panel.across.words else {"ls": dash}
    (line,) = axes.plot(panel.across.values, values, color=colour, **dashes, **(points if few else {}))
    if panel.simulated is not None:
        assert panel.error is not None
        axes.errorbar(
            panel.across.values, panel.simulated[k], panel.error[k], fmt=mark, ms=4, color=colour, mec="white",
            mew=0.6, elinewidth=1.0, capsize=2, zorder=3,
        )  # fmt: skip
    return line


def _runs_of(inside: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last place of each stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    for begin, end in edges.reshape(-1, 2):
        yield int(begin), int(end) - 1
