"""``solve`` in C against SciPy's integrators over the emitted NumPy right-hand side, at the same accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import MODEL, PARAMETERS, SCHEDULE, instance, problem
from benchmarks.table import Cell, Goal, Table
from benchmarks.timing import cpu_seconds
from sgdlimit.codegen.library.problem import Problem
from sgdlimit.runtime.compiler import find_compiler, no_compiler
from sgdlimit.runtime.kernel import Kernel, NumpyKernel, load_kernel
from sgdlimit.runtime.solver import solve

Array = NDArray[np.float64]

METHODS = ("RK45", "DOP853", "LSODA")
JUDGED = ("adversarial_risk", "norm2", "distance2")
TOLERANCES = tuple(10.0 ** (-k / 2) for k in range(12, 25))
# SciPy's absolute tolerance over its relative one: about the size of a mode's v_j at N = 1000, and well below it.
MODE_SIZES = (1e-3, 1e-6)


@dataclass(frozen=True)
class Peer:
    """One of SciPy's methods at one tolerance, on one problem."""

    kernel: NumpyKernel
    problem: Problem
    constants: Array
    method: str
    rtol: float
    atol: float

    def right_hand_side(self, t: float, state: Array) -> Array:
        """The emitted module's rates; what depends on the instance alone was computed once."""
        p, module = self.problem, self.kernel.module
        x, v = state[: p.modes], state[p.modes :]
        offset, slope, noise = module.rates(p, self.constants, 0, x, x - p.teacher, v)
        gamma = module.rate_at_time(p, 0, t)
        return np.concatenate([gamma * (offset + slope * (x - p.teacher)), 2 * gamma * slope * v + gamma**2 * noise])

    def solve(self) -> Any:
        """States at the output times; the statistics are left out of the peer's time."""
        from scipy.integrate import solve_ivp

        p = self.problem
        start = np.concatenate([p.start_mean[0], p.start_variance[0]])
        span = (p.start_time, p.times[-1])
        return solve_ivp(self.right_hand_side, span, start, self.method, p.times, rtol=self.rtol, atol=self.atol)

    def statistics(self, solution: Any) -> Array:
        """``[T − 1, judged]``, after the start."""
        p, module = self.problem, self.kernel.module
        curves = [
            module.statistics(
                p, self.constants, 0, np.nan, state[: p.modes], state[: p.modes] - p.teacher, state[p.modes :]
            )
            for t, state in zip(solution.t[1:], solution.y.T[1:], strict=True)
        ]
        return np.array(curves)[:, judged(self.kernel)]


def judged(kernel: Kernel) -> list[int]:
    """Columns of the statistics that errors are taken of."""
    return [kernel.statistics.index(name) for name in JUDGED]


def relative_error(found: Array, exact: Array) -> float:
    """The worst over statistics and times."""
    return float(np.max(np.abs(found / exact - 1)))


def loosest(
    peer_at: Callable[[float, float], Peer], mode_size: float, exact: Array, wanted: float
) -> tuple[Peer, dict[str, Cell]] | None:
    """The peer at the loosest tolerance of the ladder whose error is as wanted, and what it took."""
    for rtol in TOLERANCES:
        peer = peer_at(rtol, mode_size * rtol)
        solution = peer.solve()
        error = relative_error(peer.statistics(solution), exact)
        if error <= wanted:
            return peer, {"rtol": rtol, "atol": peer.atol, "error": error, "evaluations": int(solution.nfev)}
    return None


def measure(modes: int = 1000, horizon: float = 20.0, outputs: int = 201, rtol: float = 1e-8, rounds: int = 7) -> Table:
    """From the origin, where the adversary's pull ``F/n`` is singular, and from ``‖X₀‖ = 1``, where nothing is."""
    sizes = f"N = {modes}, t = {horizon:g}, {outputs} outputs, rtol {rtol:g}"
    title = f"solve: {sizes}; CPU time, in turns, least of {rounds}"
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    rows: list[dict[str, Cell]] = []
    ratios: list[float] = []
    for start_norm in (0.0, 1.0):
        found, ratio = _from_start(modes, start_norm, horizon, outputs, rtol, rounds)
        rows += found
        ratios.append(ratio)
    measured = " and ".join(f"{ratio:.1f}" for ratio in ratios)
    goal = Goal("at least 15 times faster than the best of SciPy's", measured, min(ratios) >= 15)
    notes = (
        f"error: relative, worst of {', '.join(JUDGED)} over all outputs after the start, against DOP853 at 1e-12.",
        f"peers: rtol from a ladder of half decades, atol {' or '.join(f'{size:g}' for size in MODE_SIZES)} of it: "
        f"what takes the fewest evaluations for an error of at most {rtol:g}, or that of C if larger.",
        "C and NumPy compute the statistics at every output within their time; SciPy's time is without them.",
    )
    return Table(title, tuple(rows), (goal,), notes)


def _from_start(
    modes: int, start_norm: float, horizon: float, outputs: int, rtol: float, rounds: int
) -> tuple[list[dict[str, Cell]], float]:
    """Rows of the table, and how many times faster than the best peer C is."""
    in_c, in_numpy = load_kernel(MODEL, backend="c"), load_kernel(MODEL, backend="numpy")
    assert isinstance(in_numpy, NumpyKernel)
    p = problem(in_c, modes, np.linspace(0, horizon, outputs), start_norm=start_norm, rtol=rtol)
    p = replace(p, reference=np.full(p.modes, np.nan))  # the peers call the statistics themselves
    constants: Array = in_numpy.module.constants(p)
    reference = Peer(in_numpy, p, constants, "DOP853", 1e-12, 1e-18)
    exact = reference.statistics(reference.solve())

    alternatives: dict[str, Callable[[], object]] = {}
    facts: dict[str, dict[str, Cell]] = {}
    for name, kernel in (("C", in_c), ("NumPy", in_numpy)):
        solution = kernel.solve(p)
        error = relative_error(solution.statistics[0][1:, judged(kernel)], exact)
        alternatives[name] = partial(kernel.solve, p)
        facts[name] = {"rtol": rtol, "atol": 0, "error": error, "evaluations": solution.outcome.evaluations}
    wanted = max(rtol, float(facts["C"]["error"]))
    for method in METHODS:
        reached = [
            found
            for size in MODE_SIZES
            if (found := loosest(partial(Peer, in_numpy, p, constants, method), size, exact, wanted)) is not None
        ]
        if reached:
            peer, facts[method] = min(reached, key=lambda found: found[1]["evaluations"])
            alternatives[method] = peer.solve
        else:
            facts[method] = {"ms": "error not reached"}
    seconds = cpu_seconds(alternatives, rounds)
    rows: list[dict[str, Cell]] = []
    for name, fact in facts.items():
        row: dict[str, Cell] = {"from": "0" if start_norm == 0 else f"norm {start_norm:g}", "solver": name, **fact}
        if name in seconds:
            row |= {"ms": 1e3 * seconds[name], "times C": seconds[name] / seconds["C"]}
        rows.append(row)
    best = min((seconds[method] for method in METHODS if method in seconds), default=float("inf"))
    return rows, best / seconds["C"]


def measure_small(
    modes: int = 10, horizon: float = 20.0, outputs: int = 201, rtol: float = 1e-8, rounds: int = 50
) -> Table:
    """What of a small solve's time is C's, and what is spent on the way there and back."""
    title = f"small solve: N = {modes}, t = {horizon:g}, {outputs} outputs, rtol {rtol:g}; CPU time, least of {rounds}"
    if find_compiler() is None:
        return Table(title, (), notes=(f"skipped: {no_compiler()}",))
    kernel, times, many = load_kernel(MODEL, backend="c"), np.linspace(0, horizon, outputs), 20
    p = problem(kernel, modes, times, rtol=rtol)
    repeated = np.repeat(p.parameters, many, axis=0), np.repeat(p.step_arguments, many, axis=0)
    where = instance(modes)
    seconds = cpu_seconds(
        {
            "C": partial(kernel.solve_each, p, *repeated),
            "kernel": partial(kernel.solve, p),
            "solve": partial(solve, MODEL, where, SCHEDULE, PARAMETERS, times=times, rtol=rtol, kernel=kernel),
        },
        rounds,
    )
    seconds["C"] /= many
    what = {
        "C": f"C, one of {many} that share a problem",
        "kernel": "with the struct, the arrays of results, and a thread that hears interrupts",
        "solve": "solve(...), with its checks",
    }
    rows = tuple({"": what[name], "ms": 1e3 * time} for name, time in seconds.items())
    goal = Goal("under 0.1 ms in C", f"{1e3 * seconds['C']:.3f} ms", seconds["C"] < 1e-4)
    return Table(title, rows, (goal,))
