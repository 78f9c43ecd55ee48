"""One batch of a sweep: a pure function of the sweep's text, the kernels' sources and the batch's number.

It is what a thread of this machine or a worker of a cluster runs; the arrays that it returns are what the store keeps.
"""

from __future__ import annotations

import hashlib
import json
import math
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.codegen import FORMAT
from sgdlimit.derive.errors import (
    BackendError,
    Diverged,
    InputError,
    KernelError,
    NoLearningRate,
    NoMinimiser,
    SgdlimitError,
)
from sgdlimit.derive.model import AdaGradNorm, Constant, StepSize
from sgdlimit.runtime.batch import Curves, solve_many
from sgdlimit.runtime.compiler import cpu_name
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.kernel import Kernel, Source, kernel_text, load_source
from sgdlimit.runtime.simulator import simulate
from sgdlimit.runtime.solver import solve
from sgdlimit.runtime.spec import Spec, spec_from
from sgdlimit.runtime.sweep_plan import STATUSES, VERDICTS, Plan, plan_from_text
from sgdlimit.runtime.verification import verify

Arrays = dict[str, NDArray[Any]]
Watch = Callable[[int, int], None]

_CODES = {name: code for code, name in enumerate(STATUSES)}
_OWN_NUMBERS = {
    "schedule.gamma": (Constant, "gamma"),
    "schedule.eta": (AdaGradNorm, "eta"),
    "schedule.b": (AdaGradNorm, "b"),
}


def versions() -> dict[str, str]:
    """Of everything that a sweep's numbers depend on, but the machine."""
    return {
        "sgdlimit": metadata.version("sgdlimit"),
        "generator": str(FORMAT),
        "sympy": metadata.version("sympy"),
        "numpy": np.__version__,
    }


def run_batch(text: str, sources: Mapping[str, Source], folder: str, batch: int, watch: Watch | None = None) -> Arrays:
    """The arrays of a batch.

    Parameters
    ----------
    text : str
        The plan's.
    sources : mapping of str to Source
        The kernels' sources, by their canonical texts.
    folder : str
        Where the sweep file looks for files of data.
    batch : int
        Its number.
    watch : callable, optional
        Called now and then; what it raises ends the batch.

    Returns
    -------
    dict of str to array
        A row for each point: the statistics ``[M]`` or ``[M, T]``; ``status`` by number
        (:data:`~sgdlimit.runtime.sweep_plan.STATUSES`), ``ended``, ``steps``, ``reason``; what was simulated and
        verified; ``provenance``, JSON: the CPU, and kernels by the hashes of their binaries.

    Raises
    ------
    BackendError
        Where the kernel cannot be built, or the machine has another version or other data.
    """
    plan = plan_from_text(text)
    here = versions()
    if plan.versions and dict(plan.versions) != here:
        told = ", ".join(f"{k} {v} not {plan.versions.get(k)}" for k, v in here.items() if v != plan.versions.get(k))
        raise BackendError(f"{socket.gethostname()} has {told}; install the same versions everywhere")
    _check_data(plan, folder)
    points = plan.points_of(batch)
    rows = _Rows(plan, len(points))
    binaries = []
    for _, group in groupby(points, key=lambda point: point // plan.together):
        members = list(group)
        part = slice(members[0] - points.start, members[-1] + 1 - points.start)
        try:
            spec = _spec(plan, folder, plan.values(members[:1], fast=False))
        except InputError as error:
            rows.invalid(part, str(error))
            continue
        except MemoryError:
            rows.stopped(part, _NO_MEMORY)
            continue
        try:
            kernel = _kernel(sources[kernel_text(spec.model, spec.statistics, spec.schedule)])
            binaries.append(kernel.binary)
            _Group(plan, spec, kernel, plan.values(members, fast=True), watch).fill(rows, part)
        except KernelError as error:
            raise KernelError(f"{socket.gethostname()}: {error}") from None
    arrays = rows.arrays()
    provenance = {"cpu": cpu_name(), "backend": plan.backend, "binaries": list(dict.fromkeys(binaries))}
    return {**arrays, "provenance": np.array(json.dumps(provenance))}


_NO_MEMORY = "there is not enough memory for it"


def _said(error: SgdlimitError | MemoryError) -> str:
    return _NO_MEMORY if isinstance(error, MemoryError) else str(error)


def data_hashes(plan: Plan, folder: str) -> dict[str, str]:
    """SHA-256 of every file that an instance of the plan is made from, by its name there.

    Raises
    ------
    InputError
        For a file that cannot be read.
    """
    return {name: _digest(Path(folder) / name, name) for name in plan.files()}


def _digest(path: Path, name: str) -> str:
    try:
        about = path.stat()
        return _digest_of(path, about.st_mtime_ns, about.st_size)
    except OSError as error:
        raise InputError(name, f"cannot be read: {error.strerror}", "give a file of arrays X and y") from None


@lru_cache(maxsize=64)
def _digest_of(path: Path, changed: int, size: int) -> str:  # when it was changed is part of what is remembered
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_data(plan: Plan, folder: str) -> None:
    """That this machine has the data which the sweep began with: other numbers would be no result of it.

    Raises
    ------
    BackendError
        Names the file.
    """
    for name, begun in plan.data.items():
        path, host = Path(folder) / name, socket.gethostname()
        try:
            here = _digest(path, name)
        except InputError as error:
            raise BackendError(f"{host}: {path} {error.why}; put the sweep's file there, on every machine") from None
        if here != begun:
            raise BackendError(
                f"{host}: {path} holds other data than when the sweep began (SHA-256 {here[:12]}…, not {begun[:12]}…); "
                "put the same file there, on every machine"
            )


@lru_cache(maxsize=32)
def _kernel(source: Source) -> Kernel:
    """Loaded once a process; compiled once a machine."""
    return load_source(source)


def _spec(plan: Plan, folder: str, slow: Mapping[str, Sequence[Any]]) -> Spec:
    """The spec that a group shares; its fast values are still those of the file, or the first."""
    first = {key: values[0] for key, values in plan.values([0], fast=True).items()}
    overrides = {key: values[0] for key, values in slow.items()}
    return spec_from(plan.document, plan.name, Path(folder), ordered({**first, **overrides}))


def ordered(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Whole sections before the keys in them."""
    return dict(sorted(overrides.items(), key=lambda item: item[0].count(".")))


# ── A group: one instance, one kind of step size ────────────────────────────────────────────────────────────


class _Rows:
    """The arrays of a batch, filled group by group."""

    def __init__(self, plan: Plan, count: int) -> None:
        shape = (count,) if plan.times is None else (count, len(plan.times))
        self._plan, self._reasons = plan, [""] * count
        self.statistics = {name: np.full(shape, np.nan) for name in plan.statistics}
        self.status = np.full(count, _CODES["invalid"], dtype=np.int8)
        self.ended = np.full(count, np.nan)
        self.steps = np.zeros(count, dtype=np.int64)
        self.simulated: Arrays = {}
        if plan.simulate:
            for name in plan.statistics:
                self.simulated[f"simulated_{name}"] = np.full(shape, np.nan)
                self.simulated[f"simulated_{name}_error"] = np.full(shape, np.nan)
            self.simulated["simulated_status"] = np.full(count, _CODES["invalid"], dtype=np.int8)
        if plan.verify:
            self.simulated["verdict"] = np.zeros(count, dtype=np.int8)

    def invalid(self, part: slice, reason: str) -> None:
        """Points that cannot be, as which they begin."""
        for m in range(part.start, part.stop):
            self.add_reason(m, reason)

    def stopped(self, part: slice, reason: str) -> None:
        """Points that could not be computed to their end."""
        self.status[part] = _CODES["stopped"]
        self.invalid(part, reason)

    def fails(self, m: int, error: SgdlimitError | MemoryError) -> None:
        """A point without results: its input cannot be, or the computation could not go on."""
        self.status[m] = _CODES["invalid" if isinstance(error, InputError) else "stopped"]
        self.add_reason(m, _said(error))

    def add_reason(self, m: int, reason: str) -> None:
        self._reasons[m] = "; ".join(filter(None, (self._reasons[m], reason)))

    def arrays(self) -> Arrays:
        fixed: Arrays = {"status": self.status, "ended": self.ended, "steps": self.steps}
        return {**self.statistics, **self.simulated, **fixed, "reason": np.array(self._reasons)}


@dataclass(frozen=True)
class _Group:
    """Points that share the instance and the kernel."""

    plan: Plan
    spec: Spec
    kernel: Kernel
    fast: Mapping[str, Sequence[Any]]
    watch: Watch | None

    @property
    def times(self) -> tuple[float, ...]:
        """What is recorded: the last time alone, unless the file says otherwise."""
        return self.spec.times or (self.spec.horizon,)

    @cached_property
    def schedules(self) -> list[StepSize | InputError]:
        """The step sizes of the points; where one cannot be, why."""
        count = len(next(iter(self.fast.values()), [None]))
        own = [(kind, name, self.fast[key]) for key, (kind, name) in _OWN_NUMBERS.items() if key in self.fast]
        for kind, name, _ in own:
            if not isinstance(self.spec.schedule, kind):
                error = InputError(f"schedule.{name}", f"{self.spec.schedule!r} has no {name}", "take the axis out")
                return [error] * count
        return [self._paced({name: values[m] for _, name, values in own}) for m in range(count)]

    def _paced(self, own: Mapping[str, float]) -> StepSize | InputError:
        try:
            if isinstance(self.spec.schedule, Constant) and own:
                return Constant(own["gamma"])
            return replace(self.spec.schedule, **own) if own else self.spec.schedule  # type: ignore[arg-type]
        except InputError as error:
            return error

    def schedule(self, m: int) -> StepSize:
        """The step size of point ``m``, which has one."""
        found = self.schedules[m]
        assert not isinstance(found, InputError)
        return found

    def varying(self, m: int) -> dict[str, Any]:
        """The parameters of point ``m`` that vary."""
        return {key.partition(".")[2]: v[m] for key, v in self.fast.items() if key.startswith("parameters.")}

    def parameters(self, m: int) -> dict[str, Any]:
        """All parameters of point ``m``."""
        return {**self.spec.parameters, **self.varying(m)}

    def fill(self, rows: _Rows, part: slice) -> None:
        """Every point's row; ``part`` are the group's within the batch."""
        solvable = []
        for m, schedule in enumerate(self.schedules):
            if isinstance(schedule, InputError):
                rows.add_reason(part.start + m, str(schedule))
            else:
                solvable.append(m)
        if isinstance(self.spec.instance, DenseInstance):
            for m in solvable:
                self._solve_one(rows, part.start + m, m)
        else:
            self._solve(rows, part.start, solvable)
        for m in (m for m in solvable if rows.status[part.start + m] != _CODES["invalid"]):
            if self.plan.simulate:
                self._simulate(rows, part.start + m, m)
            if self.plan.verify:
                self._verify(rows, part.start + m, m)

    def _solve(self, rows: _Rows, start: int, members: Sequence[int]) -> None:
        """All in one call; where one's input cannot be, by halves, so that the others go on."""
        if not members:
            return
        names = {key.partition(".")[2]: v for key, v in self.fast.items() if key.startswith("parameters.")}
        fixed = {name: value for name, value in self.spec.parameters.items() if name not in names}
        try:
            curves = solve_many(
                self.spec.model,
                self.spec.instance,  # type: ignore[arg-type]  # a dense one is solved point by point
                [self.schedule(m) for m in members],
                fixed,
                times=self.times,
                over={name: [values[m] for m in members] for name, values in names.items()},
                rtol=self.spec.rtol,
                kernel=self.kernel,
                threads=1,
                progress=self.watch,
            )
        except KernelError:  # it is the machine's: no result of the point
            raise
        except (SgdlimitError, MemoryError) as error:
            if len(members) == 1:
                rows.fails(start + members[0], error)
                return
            half = len(members) // 2
            self._solve(rows, start, members[:half])
            self._solve(rows, start, members[half:])
            return
        at = start + np.array(members)
        _put(rows, at, curves)

    def _solve_one(self, rows: _Rows, row: int, m: int) -> None:
        """A dense instance's point."""
        if self.watch:
            self.watch(0, 1)
        spec, trajectory = self.spec, None
        try:
            trajectory = solve(
                spec.model,
                spec.instance,
                self.schedule(m),
                self.parameters(m),
                times=self.times,
                rtol=spec.rtol,
                kernel=self.kernel,
            )
            rows.status[row], rows.ended[row], rows.steps[row] = _CODES["done"], self.times[-1], trajectory.steps
        except (Diverged, NoLearningRate) as error:
            rows.status[row] = _CODES["diverged" if isinstance(error, Diverged) else "no learning rate"]
            rows.ended[row], trajectory = error.time, error.partial
        except NoMinimiser as error:
            rows.status[row] = _CODES["no optimum"]
            rows.add_reason(row, str(error))
        except KernelError:  # it is the machine's: no result of the point
            raise
        except (SgdlimitError, MemoryError) as error:
            rows.fails(row, error)
        if trajectory is not None:
            for name, values in rows.statistics.items():
                if name in trajectory.names:
                    _record(values, row, trajectory[name], len(self.times))

    def _simulate(self, rows: _Rows, row: int, m: int) -> None:
        """An ensemble of SGD beside the limit: its means and their standard errors."""
        spec, out = self.spec, rows.simulated
        try:
            ensemble = simulate(
                spec.model,
                spec.instance,
                self.schedule(m),
                self.parameters(m),
                times=self.times,
                runs=spec.runs,
                seed=self._seed(m),
                kernel=self.kernel,
                threads=1,
                progress=self.watch,
            )
        except (Diverged, NoLearningRate) as error:
            out["simulated_status"][row] = _CODES["diverged" if isinstance(error, Diverged) else "no learning rate"]
            rows.add_reason(row, f"simulation {error}")
            return
        except KernelError:  # it is the machine's: no result of the point
            raise
        except (SgdlimitError, MemoryError) as error:
            rows.add_reason(row, f"simulation: {_said(error)}")
            return
        out["simulated_status"][row] = _CODES["done"]
        for name in rows.statistics:
            if name in ensemble.names:
                _record(out[f"simulated_{name}"], row, ensemble.mean(name), len(self.times))
                _record(out[f"simulated_{name}_error"], row, ensemble.standard_error(name), len(self.times))

    def _verify(self, rows: _Rows, row: int, m: int) -> None:
        spec = self.spec
        try:
            found = verify(
                spec.model,
                spec.instance,
                self.schedule(m),
                self.parameters(m),
                spec.horizon,
                statistics=dict(spec.statistics),
                kernel=self.kernel,
                threads=1,
                progress=self.watch,
                **{"seed": self._seed(m), **spec.verification},
            )
        except KernelError:  # it is the machine's: no result of the point
            raise
        except (SgdlimitError, MemoryError) as error:
            rows.add_reason(row, f"verification: {_said(error)}")
            return
        rows.simulated["verdict"][row] = VERDICTS.index(found.verdict)

    def _seed(self, m: int) -> int:
        return int(self.fast["simulate.seed"][m]) if "simulate.seed" in self.fast else self.spec.seed


def _put(rows: _Rows, at: NDArray[np.int64], curves: Curves) -> None:
    """The curves of a call as rows, each array of the shape that the store has."""
    rows.status[at] = [_CODES[status] for status in curves.status]
    for m, reason in zip(at.tolist(), curves.reasons, strict=True):
        rows.add_reason(m, reason)
    rows.ended[at], rows.steps[at] = curves.ended, curves.steps
    for name, values in rows.statistics.items():
        if name in curves.names:
            found = curves[name][:, 0] if values.ndim == 1 else curves[name]
            assert found.shape == (len(at), *values.shape[1:])  # one value must not be spread over several times
            values[at] = found


def _record(values: NDArray[Any], row: int, curve: NDArray[Any], count: int) -> None:
    """A curve that may have ended before the last time."""
    whole = np.full(count, np.nan)
    whole[: len(curve)] = curve
    values[row] = whole if values.ndim == 2 else whole[-1]


# ── Before the first batch ──────────────────────────────────────────────────────────────────────────────────


def kinds(plan: Plan, folder: str) -> Iterator[Spec]:
    """The spec of the first point of every kind of kernel.

    Raises
    ------
    SpecError and the others of :func:`~sgdlimit.runtime.spec.load_spec`
        For a first point that cannot be.
    """
    for overrides in plan.kinds():
        yield spec_from(plan.document, plan.name, Path(folder), ordered(overrides))


_ENOUGH = 0.05  # seconds that a measurement lasts at least


def seconds_a_point(plan: Plan, sources: Mapping[str, Source], folder: str) -> float:
    """What a point's limit costs on one core, to choose batches by: some points here and there are solved for it."""
    alone = replace(plan, simulate=False, verify=False)
    for source in sources.values():
        _kernel(source)
    count, share = 1, 0.0
    while True:
        measured = replace(alone, batch=count)
        text, batch = measured.text(), int(share * measured.batches)
        begin = time.perf_counter()
        run_batch(text, sources, folder, batch)
        seconds = time.perf_counter() - begin
        solved = len(measured.points_of(batch))
        if seconds > _ENOUGH or solved < count or count >= plan.points:
            return seconds / solved
        count, share = min(8 * count, plan.points), (share + 0.618) % 1.0


def seconds_beside(spec: Spec, plan: Plan) -> float:
    """A guess at what is done at a point besides the limit: only its order of magnitude matters."""
    seconds = 0.0
    if plan.simulate and math.isfinite(spec.instance.dimension):
        dense = isinstance(spec.instance, DenseInstance)
        a_step = 1e-9 * spec.instance.dimension ** (2 if dense else 1)
        seconds += 2 * a_step * spec.instance.dimension * spec.horizon * spec.runs
    return seconds + (30.0 if plan.verify else 0.0)
