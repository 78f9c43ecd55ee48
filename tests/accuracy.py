"""Errors of the catalogue's coefficients against `data/coefficients.json`, and the table in the docs.

``python tests/accuracy.py`` measures every model in C at all its states, and writes ``docs/accuracy.json`` and
``docs/catalogue.md``. (Seconds of derivation are those of the machine that it runs on.)
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coefficient_data
import numpy as np

from sgdlimit.codegen import PARTS, emit_parts
from sgdlimit.derive import derive
from sgdlimit.runtime.kernel import Kernel, load_kernel
from sgdlimit.runtime.spec import catalogue, load_equations

DOCS = Path(__file__).parent.parent / "docs"
DATA = coefficient_data.read()

# Below this, what a coefficient is made of lies more than ten standard deviations out; quadratures stop at 13. ReLU's D
# is one tail less a bivariate one where X points away from X*: right to the rounding of a number below 1/2.
DEEP_TAIL = {"relu-regression": 2e-16}
ANY_TAIL = 1e-30

# Within NEAR of the teacher Poisson's quadratures over differences of exponentials hold less.
NEAR = 2e-3
AT_THE_TEACHER = {"poisson": 1e-8}
# All gradient in a strip of labels so narrow (1e-5 of their spread) that its moments are what is left of those of order
# 1, and of a risk of order 3000: absolute, where the score has almost no spread.
NARROW_STRIP = {"adversarial-phase-retrieval": 2e-15}


@dataclass(frozen=True)
class Error:
    """``|error|/E|integrand|`` of one coefficient at one state, and what is allowed there."""

    coefficient: str
    relative: float
    within: bool
    near: bool
    state: dict[str, Any]


def score_of(kernel: Kernel, state: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The kernel's score at a state of the data."""
    return np.array([state[name] for name in kernel.score])


def errors(name: str, kernel: Kernel, every: int = 1) -> list[Error]:
    """Errors at the states of the data (each ``every``-th of them)."""
    table = DATA["adversarial-logistic-mixture" if name == "digits" else name]
    found = []
    for row in table["rows"][::every]:
        state = dict(zip(table["fields"], row[0], strict=True))
        values = {"tau": 0.0, **state}
        given = np.array([values[p] for p in kernel.parameters])
        with np.errstate(all="ignore"):
            got = kernel.evaluate_coefficients(score_of(kernel, state), state["y"] or 0.0, given)
        near = max(abs(state["dm"]), abs(state["beta1"])) < NEAR
        stiff = state["Q"] < 1e-9 and state["Q_star"] > 1e9 * state["Q"]
        for coefficient, value in zip(kernel.coefficients, got, strict=True):
            k = table["coefficients"].index(coefficient)
            error, size = abs(float(value) - row[1][k]), row[2][k]
            relative = AT_THE_TEACHER.get(name, 1e-10) if near else 1e-10
            floor = max(ANY_TAIL, DEEP_TAIL.get(name, 0.0))
            if name in NARROW_STRIP and stiff:
                floor = max(floor, NARROW_STRIP[name])
            share = error / size if size > 1e-280 else (0.0 if error < floor else np.inf)
            found.append(Error(coefficient, share, error <= relative * size + floor, near, state))
    return found


def measure(name: str) -> dict[str, Any]:
    """One line of the table."""
    model = load_equations(name).model
    begin = time.process_time()
    limit = derive(model)
    derived = time.process_time() - begin
    files = emit_parts(limit)
    emitted = time.process_time() - begin - derived
    kinds = {
        c: "closed" if not any(str(s).startswith("J_") for s in e.free_symbols) else "quadrature"
        for c, e in limit.coefficients.items()
    }
    nested = any(q.inner for q in limit.quadratures)
    found = errors(name, load_kernel(model, backend="c"))
    worst = {
        where: max((e.relative for e in found if e.near == near and e.within and e.relative < 1), default=0.0)
        for where, near in (("away", False), ("near", True))
    }
    return {
        "loss": model.loss.text,
        "target": repr(model.target),
        "adversary": model.adversary is not None,
        "case": limit.adversarial_loss.case,
        "coefficients": kinds,
        "nested": nested,
        "derive_seconds": round(derived, 2),
        "emit_seconds": round(emitted, 2),
        "kilobytes": {part: round(len(text.encode()) / 1000) for part, text in files.items()},
        "states": len(found) // len(limit.coefficients),
        "beyond": sum(not e.within for e in found),
        "largest_error": float(f"{worst['away']:.1e}"),
        "largest_error_near_the_teacher": float(f"{worst['near']:.1e}"),
    }


def page(lines: dict[str, dict[str, Any]]) -> str:
    """The table as Markdown."""
    text = [
        "# The catalogue",
        "",
        "Written by `python tests/accuracy.py`. `|error|` is the largest one of a coefficient in C, in units of",
        "`E|integrand|`, over the states of `tests/data/coefficients.json` (design box, corners included); *near* is that",
        "within two thousandths of the teacher, where risks without noise vanish. `q`: coefficients that are",
        "quadratures (one-dimensional; `2`: nested); the rest are closed forms. Seconds are CPU time of derivation and",
        f"emission in C, a file a part: {', '.join(PARTS)}.",
        "",
        "| model | loss | target | adversary | q | derive + emit, s | C, kB | states | error | near |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, e in lines.items():
        integrals = " ".join(c for c, kind in e["coefficients"].items() if kind == "quadrature")
        kind = f"{integrals}{' (2)' if e['nested'] else ''}" if integrals else "none"
        loss, target = e["loss"].replace("|", "\\|"), e["target"]
        seconds = f"{e['derive_seconds']:.2f} + {e['emit_seconds']:.2f}"
        error, near = f"{e['largest_error']:.0e}", f"{e['largest_error_near_the_teacher']:.0e}"
        text.append(
            f"| {name} | `{loss}` | `{target}` | {e['case'] if e['adversary'] else 'none'} | {kind} | {seconds} | "
            f"{', '.join(str(size) for size in e['kilobytes'].values())} | {e['states']} | {error} | {near} |"
        )
    return "\n".join(text) + "\n"


def main() -> None:
    """Measure and write."""
    lines = {name: measure(name) for name in catalogue()}
    DOCS.joinpath("accuracy.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    DOCS.joinpath("catalogue.md").write_text(page(lines), encoding="utf-8")
    print(page(lines))


if __name__ == "__main__":
    main()
