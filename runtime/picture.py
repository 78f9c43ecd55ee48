"""The picture of a verification: every comparison at a glance, each statistic's curve, and its fit in 1/d."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sgdlimit.runtime.figures import Picture
    from sgdlimit.runtime.verification import Verification

LABELS = {
    "adversarial_risk": "adversarial risk",
    "clean_risk": "clean risk",
    "robust_error": "robust error",
    "clean_error": "clean error",
    "norm2": "norm² ‖X‖²",
    "overlap": "overlap ⟨X, X*⟩",
    "cosine": "cosine of X and X*",
    "distance2": "distance² ‖X − X*‖²",
}

CLAIMS = {
    "passed": "Passed: {what}, extrapolated to d = ∞, is what the equations say",
    "failed": "Failed: {what} is not what the equations say",
    "inconclusive": "Inconclusive: no difference found, but not every interval is as narrow as asked for",
}


def claim(verification: Verification) -> str:
    """The verdict in a sentence."""
    evidence = verification.evidence
    what = "streaming SGD" if evidence.dynamics == "sgd" else evidence.simulated
    return CLAIMS[verification.verdict].format(what=what)


# One hue each for the equations and for SGD, of different lightness and with different marks: legible in grey.
_EQUATIONS, _SGD, _BAND, _SOUGHT = "#0b3c5d", "#d1641b", "#f3c9a8", "#e4e8ec"
_PAIRS_A_ROW = 2


def figure(verification: Verification) -> Any:
    """Matplotlib figure of a verification; ``savefig`` writes it.

    On top, every comparison as a fraction of its half-width, by statistic and by the moments of single steps, which
    the coefficients make: outside ±1 the equations are refuted. Below, for each statistic, the limit with the ensemble
    at the largest dimension, and the means at all dimensions against 1/d at the time that is nearest to failing.
    """
    from sgdlimit.runtime.figures import picture, style

    names = verification.names
    rows = -(-len(names) // _PAIRS_A_ROW)
    judged = {j.comparison.part for j in verification.judgements}
    groups = [group for group in _GROUPS if judged & set(group)]
    above = 1.1 + 0.21 * max(len(_kinds(verification, group)) for group in groups)
    fig = picture(13.0, 0.5 + above + 2.5 * rows, dots=100)
    with style():
        grid = fig.add_gridspec(rows + 1, 2 * _PAIRS_A_ROW, height_ratios=[above, *[2.5] * rows])
        fig.suptitle(claim(verification), fontsize=14, fontweight="bold", x=0.01, ha="left")
        width = 2 * _PAIRS_A_ROW // len(groups)
        for k, group in enumerate(groups):
            _by_kind(fig.add_subplot(grid[0, k * width : (k + 1) * width]), verification, group)
        _draw(fig, grid, verification, rows)
    return fig


_GROUPS = (("trajectory",), ("in lumps", "one step"))
_PARTS = {"trajectory": "trajectories", "in lumps": "in lumps", "one step": "single steps"}


def _kinds(verification: Verification, parts: Sequence[str]) -> list[tuple[str, str]]:
    """Part and name of what is compared, in turn."""
    found = (j.comparison for j in verification.judgements if j.comparison.part in parts)
    return list(dict.fromkeys((c.part, c.name) for c in found))


def _draw(fig: Any, grid: Any, verification: Verification, rows: int) -> None:
    for k, name in enumerate(verification.names):
        row, column = 1 + k // _PAIRS_A_ROW, 2 * (k % _PAIRS_A_ROW)
        last = row == rows or k + _PAIRS_A_ROW >= len(verification.names)
        _curve(fig.add_subplot(grid[row, column]), verification, name, last=last)
        _fit(fig.add_subplot(grid[row, column + 1]), verification, name, last=last)
    _key(fig, 9 if len(verification.evidence.simulated) <= 12 else 4)


def _key(fig: Any, columns: int) -> None:
    """What lines and marks are, under the panels."""
    entries = {
        label: handle for axes in fig.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if entries:
        fig.legend(
            entries.values(),
            entries.keys(),
            loc="outside lower center",
            ncols=min(columns, len(entries)),
            fontsize=8,
            frameon=False,
        )


def figures(verification: Verification) -> list[tuple[str, Picture]]:
    """The figure in parts for a page that may be narrow: every comparison, then each statistic; with what they show."""
    from sgdlimit.runtime.figures import picture, style

    overview = picture(3.7, 1.4 + 0.25 * len(verification.worst_of_all))
    with style():
        _by_kind(overview.add_subplot(), verification, [part for group in _GROUPS for part in group])
    made = [("every comparison: beyond ±1 the equations are refuted", overview)]
    for name in verification.names:
        fig = picture(3.7, 5.4)
        with style():
            above, below = fig.subplots(2, 1)
            _curve(above, verification, name, last=True)
            _fit(below, verification, name, last=True)
            _key(fig, 2)
        made.append((f"{LABELS.get(name, name)}: over time, and at its worst time over 1/d", fig))
    return made


def png(verification: Verification, dpi: int = 110) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure(verification).savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def _by_kind(axes: Any, verification: Verification, parts: Sequence[str]) -> None:
    """The residuals of every comparison, a row for each statistic and each moment of a step that coefficients make."""
    from sgdlimit.runtime.verification import PREFIXES

    kinds = _kinds(verification, parts)[::-1]
    most = 1.35
    for height, (part, name) in enumerate(kinds):
        found = [j for j in verification.judgements if (j.comparison.part, j.comparison.name) == (part, name)]
        signed = np.array([np.copysign(j.severity, j.comparison.deviation) for j in found])
        lift = height + 0.5 * ((np.arange(len(found)) * 0.618034) % 1 - 0.5)
        beyond = np.abs(signed) > most
        axes.plot(signed[~beyond], lift[~beyond], "o", ms=3, color=_SGD, mec="white", mew=0.3)
        for side, marker in ((-1, "<"), (1, ">")):
            out = beyond & (np.sign(signed) == side)
            axes.plot(side * np.full(out.sum(), most), lift[out], marker, ms=5, color=_SGD, mec="black", mew=0.5)
    axes.axvspan(-1, 1, color=_SOUGHT, zorder=0)
    axes.axvline(0, color=_EQUATIONS, lw=1.5, zorder=1)
    axes.set(xlim=(-1.4, 1.4), ylim=(-0.6, len(kinds) - 0.4), xticks=[-1, 0, 1])
    axes.set_yticks(range(len(kinds)), [PREFIXES[part] + name for part, name in kinds], fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(
        f"({verification.evidence.simulated} − equations) / half-width,\nall intervals together at level "
        f"{verification.level:.4g}",
        fontsize=8,
    )
    count = sum(j.comparison.part in parts for j in verification.judgements)
    told = " and ".join(_PARTS[part] for part in parts if any(part == kind for kind, _ in kinds))
    axes.set_title(f"{count} comparisons: {told}" if len(parts) < len(_PARTS) else f"{count} comparisons", loc="left")
    axes.spines["left"].set_visible(False)


def _curve(axes: Any, verification: Verification, name: str, *, last: bool) -> None:
    evidence, trajectory = verification.evidence, verification.trajectory
    s = evidence.names.index(name)
    mean, sd = evidence.means[-1, s], np.sqrt(evidence.variances[-1, s])
    d, what = evidence.dimensions[-1], evidence.simulated
    axes.fill_between(
        evidence.times, mean - 2 * sd, mean + 2 * sd, color=_BAND, lw=0, label=f"{what}, d = {d}: ± 2 s.d."
    )
    axes.plot(trajectory.times, trajectory[name], "-", color=_EQUATIONS, lw=1.6, label="equations")
    axes.plot(evidence.times, mean, "o", color=_SGD, ms=4, mec="white", mew=0.5, label=f"{what}, d = {d}: mean")
    axes.set_title(LABELS.get(name, name), fontsize=10, loc="left", fontweight="bold")
    axes.set_xlim(0, None)
    axes.tick_params(labelsize=8)
    if last:
        axes.set_xlabel("time t = k/d", fontsize=9)


def _fit(axes: Any, verification: Verification, name: str, *, last: bool) -> None:
    evidence, fit = verification.evidence, verification.fit
    what = evidence.simulated
    judgement = verification.worst(name)
    c = judgement.comparison
    s, k = evidence.names.index(name), verification.names.index(name)
    t = int(np.argmin(np.abs(evidence.times - c.time)))
    u = 1 / np.array(evidence.dimensions, dtype=float)

    def percent(value: Any) -> Any:
        return 100 * (value - c.expected) / c.scale

    unit = 100 / c.scale
    resolution, half = 100 * verification.resolution, unit * judgement.half_width
    errors = unit * np.sqrt(evidence.variances[:, s, t] / np.array(evidence.runs)) * judgement.critical
    line = np.array([0.0, u.max()])
    axes.axhspan(-resolution, resolution, color=_SOUGHT, zorder=0, label="resolution asked for")
    axes.axhline(0, color=_EQUATIONS, lw=1.6, label="equations")
    axes.plot(
        line,
        percent(fit.value[k, t] + fit.slope[k, t] * line),
        "--",
        color=_SGD,
        lw=1,
        label=f"line in 1/d through {what}",
    )
    axes.errorbar(
        u,
        percent(evidence.means[:, s, t]),
        errors,
        fmt="o",
        ms=4,
        color=_SGD,
        lw=1,
        capsize=2,
        label=f"{what}, mean with interval",
    )
    found = [percent(c.measured)]
    axes.errorbar(
        [0], found, [half], fmt="D", ms=5, color="black", lw=2, capsize=4, label=f"{what} at 1/d = 0, interval"
    )
    axes.set_xlim(-0.06 * u.max(), 1.1 * u.max())
    axes.set_xticks([0, *u], ["0", *(f"1/{d}" for d in evidence.dimensions)])
    between = "\n" if len(what) > 12 else " "  # a title is not cut where it is too long
    axes.set_title(f"at worst, t = {c.time:.4g}:{between}{what} − equations", fontsize=9, loc="left")
    axes.set_ylabel("% of range", fontsize=8)
    axes.tick_params(labelsize=8)
    if last:
        axes.set_xlabel("1/d", fontsize=9)
