"""A verification in words and as one HTML file."""

from __future__ import annotations

import base64
import html
import math
from importlib import metadata
from typing import TYPE_CHECKING

from sgdlimit.runtime.picture import LABELS, claim, png
from sgdlimit.runtime.verification import PREFIXES, TABLE_HEAD, table_row

if TYPE_CHECKING:
    from sgdlimit.runtime.verdict import Judgement
    from sgdlimit.runtime.verification import Verification


# ── Words ───────────────────────────────────────────────────────────────────────────────────────────────────


def summary(verification: Verification) -> str:
    """What was and what was not established, in plain text."""
    return "\n".join([f"{claim(verification)}.", *_paragraphs(verification)])


def _paragraphs(verification: Verification) -> list[str]:
    established = {"passed": _passed, "failed": _failed, "inconclusive": _inconclusive}[verification.verdict]
    return [*established(verification), *_method(verification), *_limits(verification)]


def _passed(v: Verification) -> list[str]:
    widest = max(v.judgements, key=lambda j: j.half_width / j.resolution if j.resolution else 0.0)
    share = 100 * v.resolution * widest.half_width / widest.resolution if widest.resolution else 0.0
    return [
        f"Established: all {len(v.judgements)} differences between equations and {v.evidence.simulated} lie in "
        f"intervals that contain 0 and reach no further than {share:.2g} % of the statistic's range along the "
        f"trajectory, where {100 * v.resolution:.2g} % was asked for; the widest is that of {_called(widest)}."
    ]


def _failed(v: Verification) -> list[str]:
    beyond = sorted((j for j in v.worst_of_all if j.excludes_zero), key=lambda j: -j.severity)
    count = sum(j.excludes_zero for j in v.judgements)
    lines = [f"Established: {count} of {len(v.judgements)} intervals exclude 0. The clearest of each kind:"]
    for j in beyond[:6]:
        c = j.comparison
        lines.append(
            f"  {_called(j)}: equations {c.expected:.6g}, {v.evidence.simulated} {c.measured:.6g} ± {j.half_width:.2g} "
            f"({c.standardised:+.1f} standard errors)."
        )
    if any(j.comparison.part == "one step" for j in beyond):
        where = "Single steps differ too, and no limit is taken there: look in the coefficients and the statistics."
    else:
        where = (
            "Single steps agree: look in the integration, in the simulator, or for dimensions too small for the fit."
        )
    return [*lines, where]


def _inconclusive(v: Verification) -> list[str]:
    wide = sorted((j for j in v.judgements if not j.resolved), key=lambda j: -j.factor)
    names = ", ".join(dict.fromkeys(_called(j, place=False) for j in wide))
    lines = [
        f"No interval excludes 0, but {len(wide)} of {len(v.judgements)} are wider than asked for: {names}. The worst, "
        f"{_called(wide[0])}, reaches ± {wide[0].half_width:.2g} where ± {wide[0].resolution:.2g} was asked for."
    ]
    evidence, budget = v.evidence, v.budget_to_decide
    if math.isfinite(budget):
        factor = budget / evidence.coordinate_steps
        needed = zip(evidence.runs, evidence.dimensions, strict=True)
        runs = ", ".join(f"{math.ceil(factor * r)} runs at d = {d}" for r, d in needed)
        lines.append(f"To decide: about {runs}, that is budget={budget:.2g} coordinate-steps.")
    else:
        larger = tuple(2 * d for d in evidence.dimensions)
        lines.append(
            "No number of runs decides at these dimensions: what a 1/d² term may amount to is beyond the resolution. "
            f"Try dimensions={larger}, or a coarser resolution."
        )
    return lines


def _method(v: Verification) -> list[str]:
    e, count = v.evidence, len(v.judgements)
    runs = ", ".join(f"{r} runs at d = {d}" for r, d in zip(e.runs, e.dimensions, strict=True))
    what, spent = "", f"{e.coordinate_steps:.2g} coordinate-steps, "
    if e.dynamics == "homogenised":
        what, spent = " of homogenised SGD, whose coefficients are those of the equations", ""
    lumps = []
    if e.lumped is not None:
        lumps = [
            f"Besides, {e.lumped.runs} runs in lumps at d = {e.lumped.dimension}, of the same law by blocks of equal "
            "eigenvalues, are compared with the limit itself."
        ]
    return [
        f"How: {len(v.names)} statistics ({', '.join(v.names)}) at {len(e.times)} times up to t = {e.times[-1]:.4g} in "
        f"{runs}{what} ({spent}{e.backend}, seed {e.seed}), extrapolated by a line in "
        "1/d. Risks and error rates are averages of the loss and of errors over fresh scores, the adversary's supremum "
        f"by search. Single steps from {len(e.steps)} fixed iterates at d = {e.dimensions[0]}, class by class, with "
        "gradients by search and differences.",
        *lumps,
        f"The intervals hold simultaneously at level {v.level:.4g} (Bonferroni over {count} comparisons, Student's t): "
        f"if the equations are right, at most {100 * (1 - v.level):.2g} % of verifications say failed. They allow for "
        "a 1/d² term as large, at the smallest dimension, as the largest 1/d term there, or as measured where that is "
        "larger.",
    ]


def _limits(v: Verification) -> list[str]:
    uncompared = [name for name in v.trajectory.names if name not in v.names]
    without = f" Not compared: {', '.join(uncompared)}, which no iterate has." if uncompared else ""
    return [
        "Not established: anything about other parameters, instances, learning rates or later times; differences "
        "smaller than the intervals; the size of the fluctuations of single runs; a dependence on 1/d that is not a "
        f"power series, as near an unstable equilibrium, which SGD leaves after a time of order log d.{without}"
    ]


def _called(judgement: Judgement, *, place: bool = True) -> str:
    c = judgement.comparison
    name = PREFIXES[c.part].replace("step", "single step") + LABELS.get(c.name, c.name)
    return f"{name} at {c.place}" if place else name


# ── HTML ────────────────────────────────────────────────────────────────────────────────────────────────────

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #111; }
.sgdlimit table { border-collapse: collapse; font-size: 13px; }
.sgdlimit th, .sgdlimit td { padding: 3px 10px; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
.sgdlimit th:nth-child(-n+2), .sgdlimit td:nth-child(-n+2) { text-align: left; }
.sgdlimit tr.differs td { font-weight: bold; background: #fbe3d3; }
.sgdlimit pre { background: #f5f6f7; padding: 10px; white-space: pre-wrap; }
.sgdlimit img { max-width: 100%; }
"""


def body(verification: Verification) -> str:
    """The report as a piece of HTML, for a notebook."""
    v, escape = verification, html.escape
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in _paragraphs(v))
    image = base64.b64encode(png(v)).decode()
    return (
        f'<div class="sgdlimit"><h2>{escape(claim(v))}</h2>{paragraphs}'
        f'<img alt="{escape(claim(v))}" src="data:image/png;base64,{image}">'
        f"<h3>The worst comparison of each kind</h3>{_table([table_row(j) for j in v.worst_of_all])}</div>"
    )


def page(verification: Verification) -> str:
    """The report as one HTML file that needs no other."""
    v, escape = verification, html.escape
    e = v.evidence
    parameters = "\n".join(f"{name} = {value}" for name, value in e.parameters.items())
    statistics = "\n".join(f"{name} = {statistic!r}" for name, statistic in e.statistics.items())
    parts = (e.model.canonical(), f"instance = {e.instance!r}", f"schedule = {e.schedule!r}", parameters, statistics)
    subject = "\n".join(part for part in parts if part)
    every = _table([table_row(j) for j in v.judgements])
    version = metadata.version("sgdlimit")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>sgdlimit: {escape(v.verdict)}</title><style>{_STYLE}</style></head><body>\n"
        f"{body(v)}\n"
        f'<div class="sgdlimit"><h3>What was verified</h3><pre>{escape(subject)}</pre>'
        f"<details><summary>All {len(v.judgements)} comparisons</summary>{every}</details>"
        f"<p>sgdlimit {escape(version)}, {escape(repr(e))}, rtol {v.trajectory.rtol:g}.</p></div>\n"
        "</body></html>\n"
    )


def _table(rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in TABLE_HEAD)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        lines.append(f'<tr class="differs">{cells}</tr>' if row[-1] == "DIFFERS" else f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
