"""A sweep in words and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.model import Model
from sgdlimit.runtime.kernel import Statistics
from sgdlimit.runtime.machine import python_versions
from sgdlimit.runtime.report import Figure, Recipe, Report, Rows, report_page
from sgdlimit.runtime.spec import Equations, equations_from
from sgdlimit.runtime.spec_text import toml_text
from sgdlimit.runtime.sweep_batch import ordered
from sgdlimit.runtime.sweep_picture import panel_figures
from sgdlimit.runtime.sweep_plan import STATUSES, Dimension, Plan, Span
from sgdlimit.runtime.sweep_result import WORDS, Sweep, coordinates, meaning, provenances
from sgdlimit.runtime.verification_report import asked, target_text

_SHOWN = 60  # points that a page lists
_TROUBLES = 20
_MODELS = 4  # whose equations it shows

_CAUSES = {
    "diverged": "diverged: a number was no longer finite, or a statistic went above 10⁶ times what it was at the start "
    "(or 10⁶, where it was less than 1)",
    "no learning rate": "came to a time at which the rule of the step size gives none",
    "stopped": "could not be computed to their end",
    "no optimum": "have no optimum, which the step size or a statistic needs",
    "invalid": "cannot be",
    "not yet": "are not computed yet",
}


def page(sweep: Sweep) -> str:
    """The report as one HTML file that needs no other.

    Raises
    ------
    InputError
        When no point is finished.
    """
    plan = sweep.plan
    pictures = tuple(Figure(said, picture) for said, picture in panel_figures(sweep))
    return report_page(
        Report(
            claim=_claim(sweep),
            asked=_asked(plan),
            outcome=tuple(_outcome(sweep)),
            figures=pictures,
            tables=tuple(_tables(sweep)),
            equations=tuple(_models(plan)),
            recipe=_recipe(sweep),
        )
    )


def _claim(sweep: Sweep) -> str:
    counts, points = sweep.counts(), sweep.plan.points
    done = counts.get("done", 0)
    *before, last = (dimension.name for dimension in sweep.plan.dimensions)
    axes = f"{', '.join(before)} and {last}" if before else last
    rest = ", ".join(f"{count:,} {status}" for status, count in counts.items() if status != "done")
    return f"Sweep over {axes}: {done:,} of {points:,} points solved" + (f", {rest}" if rest else "")


# ── What was asked ──────────────────────────────────────────────────────────────────────────────────────────


def _asked(plan: Plan) -> dict[str, str]:
    first, *others = _each_kind(plan)
    document = plan.document
    facts = asked(first.model, document.get("parameters", {}), first.statistics)
    for name, told in (
        ("Loss", [f"f(r; y) = {e.model.loss.text}" for e in (first, *others)]),
        ("Target", [target_text(e.model) for e in (first, *others)]),
    ):
        facts[name] = "; ".join(dict.fromkeys(told))
    varied = {axis.key for dimension in plan.dimensions for axis in dimension.axes}
    for name in ("instance", "schedule", "run", "simulate", "verify"):
        section = {k: v for k, v in document.get(name, {}).items() if f"{name}.{k}" not in varied}
        if section and name not in varied:
            facts[_SECTIONS.get(name, name)] = ", ".join(f"{key} = {value}" for key, value in section.items())
    for dimension in plan.dimensions:
        facts[f"Axis {dimension.name}"] = _axis(dimension)
    also = [word for word, wanted in (("an ensemble of SGD", plan.simulate), ("a verification", plan.verify)) if wanted]
    facts["At each point"] = ", ".join(["the limit", *also])
    return facts


_SECTIONS = {
    "instance": "Instance",
    "schedule": "Step size",
    "run": "Time",
    "simulate": "Simulation",
    "verify": "Verification",
}


def _axis(dimension: Dimension) -> str:
    told = []
    for axis in dimension.axes:
        values = axis.values
        if isinstance(values, Span):
            steps = "equal ratios" if values.spacing == "log" else "equal steps"
            told.append(f"{axis.key}: {len(values):,} values from {values.start:g} to {values.to:g}, {steps}")
            continue
        shown = [str(value) for value in axis.coordinate()]
        some = shown if len(shown) <= 12 else [*shown[:5], "…", shown[-1]]
        told.append(f"{axis.key}: {', '.join(some)}")
    return "; together with ".join(told)


def _each_kind(plan: Plan) -> Iterator[Equations]:
    """The equations of every kind of kernel."""
    for overrides in plan.kinds():
        deciding = {k: v for k, v in overrides.items() if k.split(".")[0] in ("model", "statistics")}
        sections = {name: plan.document[name] for name in ("model", "statistics") if name in plan.document}
        yield equations_from(sections, plan.name, ordered(deciding))


def _models(plan: Plan) -> list[tuple[Model, Statistics]]:
    found = {each.model.canonical(): (each.model, each.statistics) for each in _each_kind(plan)}
    return list(found.values())[:_MODELS]


# ── The outcome ─────────────────────────────────────────────────────────────────────────────────────────────


def summary(sweep: Sweep) -> str:
    """What became of the points, in plain text."""
    return "\n".join([f"{_claim(sweep)}.", *_outcome(sweep)])


def _outcome(sweep: Sweep) -> Iterator[str]:
    plan, counts = sweep.plan, sweep.counts()
    sizes = " × ".join(f"{len(d):,} of {d.name}" for d in plan.dimensions)
    done = counts.get("done", 0)
    until = plan.times[-1] if plan.times else plan.document.get("run", {}).get("horizon")
    to = "the horizon" if until is None else f"t = {until:g}"
    yield (
        f"Of {plan.points:,} points ({sizes}) {done:,} ({100 * done / plan.points:.3g} %) were solved up to {to}, each "
        f"the limit d → ∞ to relative {plan.document.get('run', {}).get('rtol', 1e-8):g}."
    )
    for status, cause in _CAUSES.items():
        if counts.get(status):
            yield f"{counts[status]:,} {cause}.{_when(sweep, status)}"
    reasons = sweep.reasons(4)
    if reasons:
        more = " The first of them:" if len(reasons) == 4 else ""
        yield f"Reasons that were given.{more}\n" + "\n".join(f"  {reason}" for reason in reasons)
    if plan.simulate and f"simulated_{plan.statistics[0]}" in sweep.names:
        yield _of_simulation(sweep)
    if plan.verify and "verdict" in sweep.names:
        yield _of_verification(sweep)
    yield (
        "Not established: anything between the points or beyond them. The boundary of what diverges is known to the "
        "distance of neighbouring points; a point near it may diverge later than the last time. "
        + ("" if plan.simulate or plan.verify else "No point was compared with SGD itself, as sgdlimit verify does.")
    ).strip()


def _when(sweep: Sweep, status: str) -> str:
    if status not in ("diverged", "no learning rate"):
        return ""
    ended = sweep["ended"][sweep["status"] == STATUSES.index(status)]
    return f" The first at t = {np.nanmin(ended):.3g}, the last at t = {np.nanmax(ended):.3g}."


def _of_simulation(sweep: Sweep) -> str:
    """How far ensembles are from the limit, in their own standard errors."""
    worst, name_of, within, count = 0.0, "", 0, 0
    for name in sweep.plan.statistics:
        limit, mean, error = (sweep[n] for n in (name, f"simulated_{name}", f"simulated_{name}_error"))
        known = np.isfinite(limit) & np.isfinite(mean) & (error > 0)
        if known.any():
            off = np.abs(mean[known] - limit[known]) / error[known]
            count, within = count + off.size, within + int((off <= 2).sum())
            if off.max() > worst:
                worst, name_of = float(off.max()), meaning(name).long_name
    counts = ", ".join(f"{n:,} {status}" for status, n in sweep.counts("simulated_status").items())
    runs = sweep.plan.document.get("simulate", {}).get("runs", 32)
    text = f"SGD itself, {runs} runs a point: {counts}."
    if not count:
        return text
    return (
        f"{text} Of {count:,} means {100 * within / count:.3g} % are within two standard errors of the limit; the "
        f"farthest, of {name_of}, is {worst:.2g} away. At finite d a mean differs from the limit by order 1/d besides: "
        "these numbers are no verdict."
    )


def _of_verification(sweep: Sweep) -> str:
    counts = sweep.counts("verdict")
    told = ", ".join(f"{count:,} {word}" for word, count in counts.items() if word != "none")
    level = sweep.plan.document.get("verify", {}).get("level", 0.99)
    judged = sum(count for word, count in counts.items() if word != "none")
    return (
        f"Verifications: {told or 'none came to a verdict'}. Each holds at its own level {level:g}: if the equations "
        f"are right at all {judged:,} points, {(1 - level) * judged:.2g} are expected to say failed at most. "
        "Inconclusive says that intervals are wider than was asked for."
    )


# ── Tables ──────────────────────────────────────────────────────────────────────────────────────────────────


def _tables(sweep: Sweep) -> Iterator[Rows]:
    plan = sweep.plan
    names = [name for name in plan.statistics if name in sweep.names]
    rows = []
    for name in names:
        values = sweep[name] if plan.times is None else sweep[name][..., -1]
        rows.append((meaning(name).long_name, *_range(sweep, values)))
    head = ("statistic, at the last time", "smallest", "at", "median", "largest", "at")
    yield Rows("The range of each statistic over the points", head, tuple(rows))
    told = [name for name in (*names, *_beside(sweep, names)) if name in sweep.names]
    if plan.points <= _SHOWN:
        every = range(plan.points)
        yield Rows("All points", _head(plan, told), tuple(_point(sweep, told, every)), len(_axis_names(plan)))
        return
    trouble = np.flatnonzero(~np.isin(sweep["status"].ravel(), [STATUSES.index("done"), STATUSES.index("diverged")]))
    failed = np.flatnonzero(sweep["verdict"].ravel() == 2) if "verdict" in sweep.names else np.empty(0, dtype=int)
    some = np.unique(np.concatenate([trouble, failed]))
    if some.size:
        count = f"The first {_TROUBLES} of {some.size:,} points" if some.size > _TROUBLES else f"{some.size} points"
        title = f"{count} without a result, or whose verification failed"
        listed = [*_beside(sweep, []), "reason"]
        yield Rows(title, _head(plan, listed), tuple(_point(sweep, listed, some[:_TROUBLES])), len(_axis_names(plan)))


def _beside(sweep: Sweep, names: list[str]) -> list[str]:
    simulated = [f"simulated_{name}{end}" for name in names for end in ("", "_error")]
    return [name for name in (*simulated, "verdict", "status", "ended") if name in sweep.names]


def _axis_names(plan: Plan) -> list[str]:
    return [axis.name for dimension in plan.dimensions for axis in dimension.axes]


def _head(plan: Plan, names: list[str]) -> tuple[str, ...]:
    return (*_axis_names(plan), *(name.replace("_", " ") for name in names))


def _point(sweep: Sweep, names: list[str], points: Any) -> Iterator[tuple[str, ...]]:
    shape = tuple(len(dimension) for dimension in sweep.plan.dimensions)
    columns = {name: _last(sweep, name) for name in names}
    for point in points:
        at = np.unravel_index(int(point), shape)
        cells = [_shown(columns[name][at], name) for name in names]
        yield (*_values_at(sweep.plan, at), *cells)


def _last(sweep: Sweep, name: str) -> NDArray[Any]:
    """An array over the dimensions, at the last time."""
    values = sweep[name]
    if name in WORDS:
        values = np.array(WORDS[name])[values]
    return values[..., -1] if values.ndim > len(sweep.plan.dimensions) else values


def _values_at(plan: Plan, at: tuple[Any, ...]) -> list[str]:
    columns = coordinates(plan)
    return [
        _shown(columns[axis.name].values[k])
        for dimension, k in zip(plan.dimensions, at, strict=True)
        for axis in dimension.axes
    ]


def _range(sweep: Sweep, values: NDArray[Any]) -> tuple[str, ...]:
    known = np.isfinite(values)
    if not known.any():
        return ("–",) * 5

    def where(place: int) -> str:
        at = np.unravel_index(place, values.shape)
        named = zip(_axis_names(sweep.plan), _values_at(sweep.plan, at), strict=True)
        return ", ".join(f"{name} = {value}" for name, value in named)

    low, high = int(np.nanargmin(values)), int(np.nanargmax(values))
    flat = values.ravel()
    return (_shown(flat[low]), where(low), _shown(np.median(values[known])), _shown(flat[high]), where(high))


def _shown(value: Any, name: str = "") -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.5g}" if np.isfinite(value) else "–"
    return str(value)


# ── To make it again ────────────────────────────────────────────────────────────────────────────────────────


def _recipe(sweep: Sweep) -> Recipe:
    plan = sweep.plan
    made = provenances(sweep.store)
    cpus = dict.fromkeys(str(each["cpu"]) for each in made)
    binaries = dict.fromkeys(str(binary) for each in made for binary in each["binaries"])
    versions: Mapping[str, str] = plan.versions or {}
    facts = {
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Here": python_versions(),
        "Seed": _seed(plan),
        "Machines": "; ".join(cpus),
        "Binaries": ", ".join(binaries) if plan.backend == "c" else "none: NumPy",
        "Data": "; ".join(f"{name}: SHA-256 {digest}" for name, digest in plan.data.items()),
    }
    return Recipe(
        command=f"sgdlimit sweep swept.toml --backend {plan.backend} --report report.html",
        name="swept.toml",
        spec=toml_text(plan.file()),
        facts={name: told for name, told in facts.items() if told},
    )


def _seed(plan: Plan) -> str:
    if not (plan.simulate or plan.verify):
        return "none: nothing random"
    axis = any(axis.key == "simulate.seed" for dimension in plan.dimensions for axis in dimension.axes)
    return "an axis" if axis else str(plan.document.get("simulate", {}).get("seed", 0))


__all__ = ["page", "summary"]
