"""A verification in words and as a page."""

from __future__ import annotations

import base64
import html
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from sgdlimit.codegen import FORMAT
from sgdlimit.derive.model import Model, RandomLabels, Teacher
from sgdlimit.runtime.kernel import Statistics
from sgdlimit.runtime.machine import compiler, machine, python_versions
from sgdlimit.runtime.picture import LABELS, claim, figures, png
from sgdlimit.runtime.report import Figure, Recipe, Report, Rows, paragraphs, report_page, table
from sgdlimit.runtime.spec import Spec
from sgdlimit.runtime.step_sizes import Parameters
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


# ── The page ────────────────────────────────────────────────────────────────────────────────────────────────


def body(verification: Verification) -> str:
    """Verdict, words, picture and the worst comparisons as a piece of HTML, for a notebook."""
    said = html.escape(claim(verification))
    image = base64.b64encode(png(verification)).decode()
    picture = f'<img style="max-width:100%" alt="{said}" src="data:image/png;base64,{image}">'
    return f"<div><h2>{said}</h2>{paragraphs(_paragraphs(verification))}{picture}{table(_worst(verification))}</div>"


def page(verification: Verification, spec: Spec | None = None) -> str:
    """The report as one HTML file that needs no other.

    Parameters
    ----------
    verification : Verification
    spec : Spec, optional
        Where its instance was read from, so that it is written as it was there.
    """
    v = verification
    e = v.evidence
    every = [table_row(j) for j in v.judgements]
    return report_page(
        Report(
            claim=claim(v),
            asked=asked(e.model, e.parameters, e.statistics)
            | {
                "Instance": repr(e.instance),
                "Step size": repr(e.schedule),
                "Time": f"t = k/d up to {e.times[-1]:.6g}",
                "Simulated": f"{e.simulated} at d = {', '.join(map(str, e.dimensions))}"
                + (f", in lumps at d = {e.lumped.dimension}" if e.lumped else ""),
                "Resolution": f"half-widths of {100 * v.resolution:.3g} % of each statistic's range",
                "Level": f"{v.level:.4g}, simultaneously",
            },
            outcome=tuple(_paragraphs(v)),
            figures=tuple(Figure(said, picture) for said, picture in figures(v)),
            tables=(_worst(v), _rows(f"All {len(every)} comparisons", every, folded=True)),
            equations=((e.model, e.statistics),),
            recipe=_recipe(v, spec),
        )
    )


def asked(model: Model, parameters: Parameters, statistics: Statistics) -> dict[str, str]:
    """The model and its numbers, by what they are called."""
    facts = {
        "Loss": f"f(r; y) = {model.loss.text}",
        "Target": target_text(model),
        "Adversary": "ℓ2, |δ| ≤ ε" if model.adversary else "none",
        "Parameters": ", ".join(f"{name} = {value}" for name, value in parameters.items()),
        "Statistics of one's own": ", ".join(f"{name} = {found.text}" for name, found in statistics.items()),
    }
    return {name: told for name, told in facts.items() if told}


def target_text(model: Model) -> str:
    """The target in a few words."""
    match model.target:
        case Teacher(text):
            return f"y = {text}"
        case RandomLabels(text):
            return f"y = ±1, P(y = +1 | r*) = {text}"
    return "labels, a constant of the class"


def _worst(v: Verification) -> Rows:
    return _rows("The worst comparison of each kind", [table_row(j) for j in v.worst_of_all])


def _rows(title: str, rows: list[tuple[str, ...]], *, folded: bool = False) -> Rows:
    differing = frozenset(k for k, row in enumerate(rows) if row[-1] == "DIFFERS")
    return Rows(title, TABLE_HEAD, tuple(rows), 2, differing, folded)


def _recipe(v: Verification, given: Spec | None) -> Recipe:
    e = v.evidence
    asked_for = {
        "dimensions": list(e.dimensions),
        "budget": e.budget,
        "times": e.times.tolist(),
        "resolution": v.resolution,
        "level": v.level,
    }
    spec = Spec.of(
        e.model,
        e.instance,
        e.schedule,
        e.parameters,
        float(e.times[-1]),
        statistics=e.statistics,
        seed=e.seed,
        verification=asked_for,
    )
    if given is not None and given.instance is e.instance and given.built is not None:
        spec = replace(spec, instance=given.instance, built=given.built)
    homogenised = " --homogenised" if e.dynamics == "homogenised" else ""
    return Recipe(
        command=f"sgdlimit verify verified.toml --backend {e.backend}{homogenised} --report report.html",
        name="verified.toml",
        spec=spec.to_toml(),
        facts={
            "Versions": python_versions(),
            "Generator": f"format {FORMAT}",
            "Seed": str(e.seed),
            "Machine": machine(),
            "Compiler": compiler() if e.backend == "c" else "none: NumPy",
            "Solver": f"rtol {v.trajectory.rtol:g}, {v.trajectory.steps} steps",
        },
    )
