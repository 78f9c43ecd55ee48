"""Long horizons over eigenvalues that span decades: ``solve`` in C against SciPy and CVODE, and against itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import MODEL, PARAMETERS
from benchmarks.solving import Peer, judged, relative_error
from benchmarks.table import Cell, Goal, Table
from benchmarks.timing import cpu_seconds
from sgdlimit.codegen.library.problem import Method, Problem
from sgdlimit.derive import Constant
from sgdlimit.runtime.compiler import find_compiler, no_compiler
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, NumpyKernel, load_kernel
from sgdlimit.runtime.problem import build_problem

Array = NDArray[np.float64]

GAMMA = 0.02
"""With ``λ_j ∝ j^-1.2`` of mean 1 the fastest mode's time is about 0.2, the slowest's about 1000."""

PEERS = ("RK45", "LSODA", "Radau", "BDF")
RTOL = 1e-6


def stiff_problem(kernel: Kernel, modes: int, horizon: float, outputs: int = 50) -> Problem:
    """Adversarial least squares, ``λ_j ∝ j^-1.2``, from norm 1; outputs over all decades."""
    instance = Instance.decaying(modes, exponent=1.2, start_norm=1.0)
    times = np.concatenate([[0.0], np.geomspace(1e-2, horizon, outputs)])
    p = build_problem(kernel, MODEL, instance, Constant(GAMMA), PARAMETERS, times, rtol=RTOL)
    return replace(p, reference=np.full(p.modes, np.nan))  # the peers call the statistics themselves


def by_cvode(peer: Peer) -> Array:
    """States ``[T, 2N]`` by SUNDIALS, the backward differentiation formulas with a dense matrix."""
    from sksundae.cvode import CVODE

    p = peer.problem

    def fill(t: float, y: Array, dy: Array) -> None:
        dy[:] = peer.right_hand_side(t, y)

    solver = CVODE(fill, method="BDF", rtol=peer.rtol, atol=peer.atol, max_num_steps=1_000_000)
    states: Array = solver.solve(p.times, np.concatenate([p.start_mean[0], p.start_variance[0]])).y
    return states


def has_cvode() -> bool:
    """Whether scikit-sundae is installed."""
    try:
        import sksundae.cvode  # noqa: F401
    except ImportError:
        return False
    return True


def measure(
    modes: int = 200, horizon: float = 1e4, peers: Sequence[str] = PEERS, sundials: bool = True, rounds: int = 3
) -> Table:
    """Beside the peers, at one tolerance."""
    title = (
        f"stiff solve: N = {modes}, t = {horizon:g}, 51 outputs, rtol {RTOL:g}; CPU time, in turns, least of {rounds}"
    )
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    in_c, in_numpy = load_kernel(MODEL, backend="c"), load_kernel(MODEL, backend="numpy")
    assert isinstance(in_numpy, NumpyKernel)
    p = stiff_problem(in_c, modes, horizon)
    columns = judged(in_c)
    exact = in_c.solve(replace(p, method=Method.EXPLICIT, rtol=1e-11, max_steps=100_000_000)).statistics[0][1:, columns]

    alternatives: dict[str, Callable[[], object]] = {}
    facts: dict[str, dict[str, Cell]] = {}
    own = (("C", in_c, Method.AUTO), ("C, explicit", in_c, Method.EXPLICIT), ("NumPy", in_numpy, Method.AUTO))
    for name, kernel, method in own:
        chosen = replace(p, method=method)
        solution = kernel.solve(chosen)
        error = relative_error(solution.statistics[0][1:, columns], exact)
        alternatives[name] = partial(kernel.solve, chosen)
        facts[name] = {"error": error, "evaluations": solution.outcome.evaluations}
    constants: Array = in_numpy.module.constants(p)
    for method_name in peers:
        peer = Peer(in_numpy, p, constants, method_name, RTOL, 1e-6 * RTOL)
        found = peer.solve()
        facts[method_name] = {"error": relative_error(peer.statistics(found), exact), "evaluations": int(found.nfev)}
        alternatives[method_name] = peer.solve
    notes = [
        "error: relative, worst of adversarial_risk, norm2, distance2 over all outputs, against C, explicit, at 1e-11.",
        f"peers: the emitted NumPy right-hand side, atol {1e-6 * RTOL:g}; implicit ones difference their Jacobians.",
    ]
    if sundials and has_cvode():
        peer = Peer(in_numpy, p, constants, "CVODE", RTOL, 1e-6 * RTOL)
        states = by_cvode(peer)
        error = relative_error(_statistics(peer, states), exact)
        facts["CVODE"], alternatives["CVODE"] = {"error": error}, partial(by_cvode, peer)
    elif sundials:
        notes.append("CVODE: skipped, scikit-sundae is not installed.")
    seconds = cpu_seconds(alternatives, rounds)
    rows = tuple(
        {"solver": name, **facts[name], "ms": 1e3 * seconds[name], "times C": seconds[name] / seconds["C"]}
        for name in alternatives
    )
    goals = []
    if "RK45" in seconds:
        ratio = seconds["RK45"] / seconds["C"]
        goals.append(Goal("at least 100 times faster than RK45", f"{ratio:.0f}", ratio >= 100))
    return Table(title, rows, tuple(goals), tuple(notes))


def _statistics(peer: Peer, states: Array) -> Array:
    """Of the states after the start."""
    p, module = peer.problem, peer.kernel.module
    curves = [
        module.statistics(p, peer.constants, 0, np.nan, y[: p.modes], y[: p.modes] - p.teacher, y[p.modes :])
        for y in states[1:]
    ]
    return np.array(curves)[:, judged(peer.kernel)]


def measure_long(
    modes: int = 1000,
    horizons: Sequence[float] = (1e2, 1e4, 1e6, 1e8),
    sizes: Sequence[int] = (1_000, 10_000, 100_000, 1_000_000),
    rounds: int = 3,
) -> Table:
    """Against itself: the horizon, and the number of modes."""
    title = f"long solve in C: rtol {RTOL:g}, 51 outputs; CPU time, in turns, least of {rounds}"
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    kernel = load_kernel(MODEL, backend="c")
    rows: list[dict[str, Cell]] = []
    problems = {(modes, t): stiff_problem(kernel, modes, t) for t in horizons}
    for (size, t), time in _timed(kernel, problems, rounds).items():
        evaluations = kernel.solve(problems[size, t]).outcome.evaluations
        rows.append({"N": size, "t": t, "evaluations": evaluations, "ms": 1e3 * time, "ns/mode": 1e9 * time / size})
    span = float(rows[-1]["ms"]) / float(rows[horizons.index(1e4) if 1e4 in horizons else 0]["ms"])
    goals = [Goal("t = 1e8 within 3 times the time of t = 1e4", f"{span:.2f} times", span <= 3)]
    costs = []
    for size in sizes:
        until = 1e4 if size < 1_000_000 else 1e2
        p = stiff_problem(kernel, size, until, outputs=5)
        time, evaluations = _timed_with_evaluations(kernel, p, 1 if size > 10_000 else rounds)
        costs.append(1e9 * time / size / evaluations)
        row: dict[str, Cell] = {"N": size, "t": until, "evaluations": evaluations, "ms": 1e3 * time}
        rows.append(row | {"ns/mode": 1e9 * time / size, "a mode's evaluation, ns": costs[-1]})
    speed = read_speed()
    most, more = speed * costs[-1], speed * (costs[-1] - costs[0])
    notes = (
        "lower rows: 6 outputs; eigenvalues keep the mean 1, so the largest grows with N, and evaluations with it.",
        f"memory is read at {speed:.1f} GB/s here (a dot product of 64 MB arrays): the last row's evaluation takes",
        f"as long as to read {most:.0f} bytes a mode, {more:.0f} of them beyond what the first row's takes.",
    )
    return Table(title, tuple(rows), tuple(goals), notes)


def read_speed(doubles: int = 8_000_000, rounds: int = 5) -> float:
    """Of memory that no cache holds, GB/s on one core."""
    a, b = np.ones(doubles), np.ones(doubles)
    seconds = cpu_seconds({"dot": partial(np.dot, a, b)}, rounds)["dot"]
    return 2 * a.nbytes / seconds / 1e9


def _timed_with_evaluations(kernel: Kernel, p: Problem, rounds: int) -> tuple[float, int]:
    evaluations = []
    seconds = cpu_seconds({"": lambda: evaluations.append(kernel.solve(p).outcome.evaluations)}, rounds)
    return seconds[""], evaluations[-1]


def _timed(kernel: Kernel, problems: dict[tuple[int, float], Problem], rounds: int) -> dict[tuple[int, float], float]:
    named = {f"{size} {t}": partial(kernel.solve, p) for (size, t), p in problems.items()}
    seconds = cpu_seconds(named, rounds)
    return {key: seconds[f"{key[0]} {key[1]}"] for key in problems}
