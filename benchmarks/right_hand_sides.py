"""One right-hand side in C of every catalogue model, over states of the box; a closed form beside one by hand."""

from __future__ import annotations

import ctypes
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Cell, Goal, Table
from sgdlimit.codegen.library.problem import Problem
from sgdlimit.derive import Constant, Labels
from sgdlimit.runtime.compiler import find_compiler, load_library, no_compiler
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import CKernel, compiled, kernel_source
from sgdlimit.runtime.problem import build_problem
from sgdlimit.runtime.rule_check import PLACES
from sgdlimit.runtime.spec import catalogue, load_equations

Array = NDArray[np.float64]

PEER = "adversarial-least-squares"
# Microseconds at any state, two classes.
GOALS = {"1-D quadrature": 20.0, "iterated": 150.0, "2-D quadrature": 2000.0}
VALUES = {"q": 0.3, "width": 0.4, "sigma": 0.5}


def kind(name: str) -> str:
    """Closed form, one-dimensional quadrature, one over closed forms, or one over quadratures: from the manifest."""
    folder = resources.files("sgdlimit.generated").joinpath(name.replace("-", "_"))
    manifest = json.loads(folder.joinpath("manifest.json").read_text(encoding="utf-8"))
    operations = manifest["operations"]["coefficients of a class, for the rates"]
    if operations["inner node"]:
        return "2-D quadrature"
    if not operations["node"]:
        return "closed form"
    return "iterated" if any(rule.startswith("iterated") for rule in manifest["rules"].values()) else "1-D quadrature"


@dataclass(frozen=True)
class State:
    """A problem, and where its right-hand side is taken."""

    problem: Problem
    x: Array
    v: Array


def states(name: str, kernel: CKernel, modes: int) -> list[State]:
    """Two classes, the first with the score's law at a place of the box, the second near it.

    Eigenvalues are constant in a class, so that every law is met: ``x = β x* + w``, half of ``Q_perp`` in ``w``, half
    in the variances, and means in the plane of ``x*`` and ``w``.
    """
    model = load_equations(name).model
    teacher = np.full(modes, 1 / math.sqrt(modes))
    across = teacher * np.resize([1.0, -1.0], modes)
    found = []
    for m, m_star, Q, Q_star, share, reach, sign in PLACES:
        beta, half = sign * math.sqrt((1 - share) * Q / Q_star), math.sqrt(share * Q / 2)
        mean = m_star / math.sqrt(Q_star) * teacher
        if half > 0:
            mean = mean + (m - beta * m_star) / half * across
        direction = math.sqrt(Q_star) * teacher
        instance = Instance(
            probabilities=[0.5, 0.5],
            eigenvalues=[np.ones(modes), np.full(modes, 0.8)],
            means=[mean, 0.9 * mean],
            labels=[-1.0, 1.0] if isinstance(model.target, Labels) else None,
            teacher=direction,
            start=beta * direction + half * across,
        )
        values = {p: VALUES.get(p, 1.0) for p in kernel.parameters if p != "tau"}
        if "epsilon" in values:
            values["epsilon"] = reach / math.sqrt(Q)
        p = build_problem(kernel, model, instance, Constant(0.1), values, np.array([0.0, 1.0]))
        found.append(State(p, p.start_mean[0], np.full(modes, half**2 / modes)))
    return found


def repeater() -> ctypes.CDLL:
    """The library of the hand-written right-hand side."""
    header = resources.files("sgdlimit.codegen.library").joinpath("problem.h").read_text(encoding="utf-8")
    compiler = find_compiler()
    assert compiler is not None
    own = Path(__file__).with_name("least_squares.c").read_text(encoding="utf-8")
    return load_library(f"{header}\n{own}", compiler)


def caller(
    library: ctypes.CDLL, kernel: CKernel, function: object, state: State
) -> Callable[[int], tuple[Array, Array]]:
    """Calls a right-hand side so many times; returns its value."""
    p, N = state.problem, state.problem.modes
    struct, held = kernel.struct(p)
    dx, dv = np.empty(N), np.empty(N)
    arrays = [
        np.ascontiguousarray(state.x),
        np.ascontiguousarray(state.v),
        dx,
        dv,
        np.empty(6 * N + 100 * (1 + p.classes)),
    ]
    held += arrays  # a pointer keeps nothing alive

    def call(times: int) -> tuple[Array, Array]:
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in held[-len(arrays) :]]
        library.repeat(function, ctypes.c_int64(times), ctypes.byref(struct), *pointers)
        return dx, dv

    return call


def microseconds(call: Callable[[int], object], rounds: int) -> float:
    """The least CPU time of a call, each measured over a fifth of a millisecond at least."""
    times, taken = 1, 0.0
    while True:
        begin = time.process_time()
        call(times)
        taken = time.process_time() - begin
        if taken > 2e-4:
            break
        times *= 2
    least = taken / times
    for _ in range(rounds - 1):
        begin = time.process_time()
        call(times)
        least = min(least, (time.process_time() - begin) / times)
    return 1e6 * least


def measure(names: Sequence[str] | None = None, modes: int = 1000, rounds: int = 4, places: int | None = None) -> Table:
    """Median and worst over states of the box."""
    title = (
        f"right-hand side in C: N = {modes}, two classes; CPU time of a call, least of {rounds}, over states of the box"
    )
    compiler = find_compiler()
    if compiler is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    library = repeater()
    rows: list[dict[str, Cell]] = []
    for name in names or catalogue():
        kernel = compiled(kernel_source(load_equations(name).model), compiler, "equations")
        found = states(name, kernel, modes)[:places]
        times = [microseconds(caller(library, kernel, kernel.rhs_function, state), rounds) for state in found]
        rows.append({"model": name, "kind": kind(name), "median, us": float(np.median(times)), "worst, us": max(times)})
        if name == PEER:
            own = [microseconds(caller(library, kernel, library.by_hand, state), rounds) for state in found]
            rows.append(
                {
                    "model": f"{name}, by hand",
                    "kind": "peer",
                    "median, us": float(np.median(own)),
                    "worst, us": max(own),
                }
            )
            rows[-2]["ratio"] = max(t / o for t, o in zip(times, own, strict=True))
    for row in rows:
        if row["kind"] in GOALS:
            row |= {"goal, us": GOALS[str(row["kind"])], "ratio": float(row["worst, us"]) / GOALS[str(row["kind"])]}
    notes = (
        "ratio: worst to goal; of the closed form, worst ratio to the one written by hand.",
        "constants of the instance are part of a call here; in a solve they are computed once.",
    )
    return Table(title, tuple(sorted(rows, key=lambda row: str(row["kind"]))), tuple(_goals(rows)), notes)


def _goals(rows: Sequence[dict[str, Cell]]) -> list[Goal]:
    goals = []
    for kind_, limit in GOALS.items():
        worst = {str(r["model"]): float(r["worst, us"]) for r in rows if r["kind"] == kind_}
        if worst:
            name = max(worst, key=lambda n: worst[n])
            met = all(value <= limit for value in worst.values())
            goals.append(Goal(f"{kind_} under {limit:g} us", f"{worst[name]:.0f} us at worst, {name}", met))
    ratio = next((float(r["ratio"]) for r in rows if r["model"] == PEER), None)
    if ratio is not None:
        goals.append(Goal("closed form at most 3 times by hand", f"{ratio:.2f} times", ratio <= 3))
    return goals
