"""Kernels: from a model to something that solves and simulates.

The way from a model's text to a kernel's source is a cache keyed by that text and the generator's format, so that a
known model starts without SymPy: first the catalogue's committed sources, then the user's cache folder, and only then
the derivation. The C source is compiled (:mod:`sgdlimit.runtime.compiler`) and called through ctypes; the NumPy source
is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, fields, replace
from importlib import metadata, resources
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sgdlimit.codegen import FORMAT, PARTS
from sgdlimit.codegen.library.integrate import Outcome, Solution
from sgdlimit.codegen.library.problem import Problem, Status, Trouble, summary_size
from sgdlimit.derive.errors import InputError, KernelError
from sgdlimit.derive.model import Expectation, Formula, Greedy, Model, Schedule, StepSize
from sgdlimit.runtime.compiler import (
    Compiler,
    Library,
    cache_folder,
    find_compiler,
    keep,
    load_library,
    load_uncached,
    no_compiler,
)

if TYPE_CHECKING:
    from sgdlimit.derive.limit import Limit

Array = NDArray[np.float64]
Statistics = Mapping[str, Expectation | Formula]

ABI = 3
C_FILES = {part: f"{part}.c" for part in PARTS}
NUMPY_FILE = "kernel.py"
BACKENDS = ("auto", "c", "numpy")
PRECISIONS = ("float64", "float32")


class NoCompilerWarning(UserWarning):
    """There is no C compiler: the NumPy backend is used. Silence it with ``backend="numpy"``."""


@dataclass(frozen=True)
class Source:
    """The text of a kernel.

    Parameters
    ----------
    target : str
        ``"c"`` or ``"numpy"``.
    files : tuple of (str, str)
        Of C each part and its file (:data:`sgdlimit.codegen.PARTS`), which stand alone; of NumPy the one module.
    misses : str
        What its self-check said when it was derived, if that missed.
    """

    target: str
    files: tuple[tuple[str, str], ...]
    misses: str = ""

    def text(self, part: str) -> str:
        """The file of a part."""
        return dict(self.files)[part if self.target == "c" else "numpy"]

    def only(self, *parts: str) -> Source:
        """For somebody who needs no more than these parts."""
        kept = tuple((part, text) for part, text in self.files if self.target != "c" or part in parts)
        return replace(self, files=kept)


class Each(NamedTuple):
    """What :meth:`Kernel.solve_each` computed.

    Parameters
    ----------
    statistics : array [M, T, S]
        NaN where trouble kept it from computing.
    status : int array [M]
        :class:`~sgdlimit.codegen.library.problem.Status`.
    time : array [M]
        Reached, or of the trouble.
    accepted : int array [M]
        Steps.
    """

    statistics: Array
    status: NDArray[np.int64]
    time: Array
    accepted: NDArray[np.int64]


class Kernel(Protocol):
    """What a compiled or imported kernel offers.

    Attributes
    ----------
    backend : str
        ``"c"`` or ``"numpy"``.
    parameters, schedule_parameters, statistics, coefficients, score : tuple of str
        Names, in the order of the arrays.
    positive : tuple of str
        Expressions in the parameters that must be positive for the derivation to hold.
    descents : tuple of str
        What learning rates can follow that depend on the state: ``line_search``, ``polyak``, ``greedy``.
    binary : str
        SHA-256 of the library's file; of the source where it is NumPy.
    """

    @property
    def backend(self) -> str: ...
    @property
    def parameters(self) -> tuple[str, ...]: ...
    @property
    def schedule_parameters(self) -> tuple[str, ...]: ...
    @property
    def statistics(self) -> tuple[str, ...]: ...
    @property
    def coefficients(self) -> tuple[str, ...]: ...
    @property
    def score(self) -> tuple[str, ...]: ...
    @property
    def positive(self) -> tuple[str, ...]: ...
    @property
    def descents(self) -> tuple[str, ...]: ...
    @property
    def binary(self) -> str: ...

    def solve(self, problem: Problem, modes: bool = False) -> Solution:
        """Solve the mode equations; trouble is told by the outcome's status.

        With a ``cancel`` flag in the problem it runs in the calling thread, and who gave the flag stops it.
        """
        ...

    def solve_each(self, problem: Problem, parameters: Array, step_arguments: Array) -> Each:
        """Solve a problem of one iterate with each of M parameters ``[M, P, K]`` and arguments ``[M, A]`` in turn.

        The problem has a ``cancel`` flag. Trouble in one does not keep the others.
        """
        ...

    def simulate(self, problem: Problem, precision: str = "float64") -> Array:
        """Summaries ``[runs, M, T, summary_size(K)]`` of streaming SGD; raises Trouble."""
        ...

    def simulate_lumped(self, problem: Problem) -> Array:
        """The same at a cost that does not grow with the dimension; see ``codegen/library/lumped.py``."""
        ...

    def diffuse(self, problem: Problem, longest: float) -> Array:
        """The same of homogenised SGD, in steps of at most ``longest/(γ max_j H_j)``."""
        ...

    def rhs(self, problem: Problem, iterate: int, t: float, x: Array, v: Array) -> tuple[Array, Array]:
        """``dx/dt`` and ``dv/dt``."""
        ...

    def evaluate_coefficients(self, score: Array, y: float, parameters: Array) -> Array:
        """``R, A, B, D, F, I`` of one class; ``score`` in the order of :attr:`score`."""
        ...


def load_kernel(
    model: Model,
    *,
    statistics: Statistics | None = None,
    schedule: StepSize | None = None,
    backend: str = "auto",
    limit: Limit | None = None,
) -> Kernel:
    """The kernel of a model, derived and compiled unless it is in the cache.

    A kernel that is derived has its quadratures checked (:mod:`sgdlimit.runtime.rule_check`); where they miss, a
    :class:`~sgdlimit.runtime.rule_check.SelfCheckWarning` names coefficient, state and size.

    Parameters
    ----------
    model : Model
    statistics : mapping of str to Expectation or Formula, optional
        The user's own statistics.
    schedule : StepSize, optional
        The learning rate. A schedule and a greedy statistic are part of the kernel; every kernel has the others.
    backend : {"auto", "c", "numpy"}
        ``auto`` is C where a compiler runs, else NumPy, and then it says so.
    limit : Limit, optional
        Emit this limit instead of deriving one (a scaled coefficient, another update rule). Not cached by model.

    Returns
    -------
    Kernel

    Raises
    ------
    InputError
        For an unknown backend.
    BackendError
        For ``backend="c"`` without a compiler, or a compile that fails.
    DerivationError
        For a model that the engine cannot derive.

    Examples
    --------
    >>> from sgdlimit.derive import Loss, Model, Teacher
    >>> kernel = load_kernel(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi")), backend="numpy")
    >>> kernel.parameters
    ('tau', 'sigma')
    """
    if backend not in BACKENDS:
        raise InputError("backend", f"there is none called {backend!r}", f"they are {', '.join(BACKENDS)}")
    compiler = None if backend == "numpy" else find_compiler()
    if backend == "c" and compiler is None:
        raise KernelError(no_compiler())
    if backend == "auto" and compiler is None:
        warnings.warn(f"{no_compiler()}. Running NumPy.", NoCompilerWarning, stacklevel=2)
    target = "numpy" if compiler is None else "c"
    source = _source(model, statistics, schedule, target, limit)
    if source.misses:
        from sgdlimit.runtime.rule_check import SelfCheckWarning

        warnings.warn(source.misses, SelfCheckWarning, stacklevel=2)
    return _loaded(source, compiler)


def _loaded(source: Source, compiler: Compiler | None) -> Kernel:
    return _import_numpy(source.text("numpy")) if compiler is None else compiled(source, compiler)


def compiled(source: Source, compiler: Compiler, first: str = "limit") -> CKernel:
    """A kernel of C: one part is compiled at once, each other when it is needed, unless the cache has it.

    Examples
    --------
    >>> from sgdlimit.derive import Loss, Model, Teacher
    >>> compiler = find_compiler()
    >>> source = kernel_source(Model(Loss("(r - y)**2/2"), Teacher("r_star")))
    >>> compiler is None or compiled(source, compiler).statistics[0] == "adversarial_risk"
    True
    """
    return CKernel(lambda part, *switches: load_library(source.text(part), compiler, *switches), first)


# --- source ---------------------------------------------------------------------------------------------------------


def kernel_text(model: Model, statistics: Statistics | None = None, schedule: StepSize | None = None) -> str:
    """The canonical text that a kernel's source is a function of (with the generator's format)."""
    lines = [model.canonical()]
    lines += [f"statistic {name} = {statistic!r}" for name, statistic in sorted((statistics or {}).items())]
    if isinstance(schedule, Schedule):
        lines.append(f"schedule = {schedule!r}")
    if isinstance(schedule, Greedy):
        lines.append(f"greedy = {schedule.statistic!r}")
    return "\n".join(lines)


def emitted(limit: Limit, target: str = "c", schedule: StepSize | None = None) -> Source:
    """The source of a limit, all parts of it."""
    from sgdlimit.codegen import emit, emit_parts

    expression = schedule if isinstance(schedule, Schedule) else None
    if target == "c":
        return Source(target, tuple(emit_parts(limit, expression).items()))
    return Source(target, (("numpy", emit(limit, target, expression)),))


def _source(
    model: Model, statistics: Statistics | None, schedule: StepSize | None, target: str, limit: Limit | None
) -> Source:
    if limit is not None:
        if statistics:
            raise InputError("statistics", "a limit already has its own", "give them to derive()")
        return emitted(limit, target, schedule)
    text = kernel_text(model, statistics, schedule)
    return _committed(text, target) or _cached(model, statistics, schedule, text, target)


def _committed(text: str, target: str) -> Source | None:
    """The catalogue's own source, when this is a model of the catalogue."""
    names = C_FILES if target == "c" else {"numpy": NUMPY_FILE}
    for folder in sorted(resources.files("sgdlimit.generated").iterdir(), key=lambda f: f.name):
        manifest = folder.joinpath("manifest.json")
        if manifest.is_file():
            known = json.loads(manifest.read_text(encoding="utf-8"))
            if known["format"] == FORMAT and known["model"] == text:
                read = ((part, folder.joinpath(name).read_text(encoding="utf-8")) for part, name in names.items())
                return Source(target, tuple(read))
    return None


def _cached(model: Model, statistics: Statistics | None, schedule: StepSize | None, text: str, target: str) -> Source:
    """From the cache; else derived, checked and kept there with what the check said."""
    folder = cache_folder()
    versions = f"sgdlimit {metadata.version('sgdlimit')}, format {FORMAT}, sympy {metadata.version('sympy')}"
    key = hashlib.sha256(f"{versions}\0{target}\0{text}".encode()).hexdigest()[:40]
    path = None if folder is None else folder / "sources" / key
    if path is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            checksum, _, content = path.read_text(encoding="utf-8").partition("\n")
            if hashlib.sha256(content.encode()).hexdigest() == checksum:
                known = json.loads(content)
                return Source(target, tuple(known["files"].items()), known["misses"])
    from sgdlimit.derive.limit import derive
    from sgdlimit.runtime.rule_check import self_check

    greedy = schedule.statistic if isinstance(schedule, Greedy) else None
    limit = derive(model, statistics, greedy=greedy)
    source = emitted(limit, target, schedule)
    found = self_check(limit, _loaded(source, find_compiler() if target == "c" else None))
    source = replace(source, misses="" if found.passed else str(found))
    if path is not None:
        content = json.dumps({"misses": source.misses, "files": dict(source.files)})
        keep(path, f"{hashlib.sha256(content.encode()).hexdigest()}\n{content}".encode())
    return source


# --- C --------------------------------------------------------------------------------------------------------------

_POINTER = ctypes.c_void_p


class _Problem(ctypes.Structure):
    """``struct sgdlimit_problem``, field by field."""

    _fields_ = (
        ("size", ctypes.c_uint64),
        ("iterates", ctypes.c_int64),
        ("classes", ctypes.c_int64),
        ("modes", ctypes.c_int64),
        ("times_count", ctypes.c_int64),
        ("dimension", ctypes.c_double),
        *((name, _POINTER) for name in ("weights", "probabilities", "eigenvalues", "means", "labels", "teacher")),
        *((name, _POINTER) for name in ("reference", "parameters", "start_mean", "start_variance", "start_auxiliary")),
        ("step_kind", ctypes.c_int64),
        ("step_arguments", _POINTER),
        ("step_arguments_count", ctypes.c_int64),
        ("start_time", ctypes.c_double),
        ("times", _POINTER),
        ("rtol", ctypes.c_double),
        ("max_steps", ctypes.c_int64),
        ("method", ctypes.c_int64),
        ("first_run", ctypes.c_int64),
        ("runs", ctypes.c_int64),
        ("seed", ctypes.c_uint64),
        *((name, _POINTER) for name in ("cancel", "progress", "statistics", "mean", "variance")),
        *((name, _POINTER) for name in ("final_mean", "final_variance", "final_auxiliary")),
    )


class _Outcome(ctypes.Structure):
    """``struct sgdlimit_outcome``."""

    _fields_ = (
        ("status", ctypes.c_int32),
        ("iterate", ctypes.c_int64),
        ("run", ctypes.c_int64),
        ("time", ctypes.c_double),
        ("accepted", ctypes.c_int64),
        ("rejected", ctypes.c_int64),
        ("evaluations", ctypes.c_int64),
    )


_ARRAY_FIELDS = [
    "weights",
    "probabilities",
    "eigenvalues",
    "means",
    "labels",
    "teacher",
    "reference",
    "parameters",
    "start_mean",
    "start_variance",
    "start_auxiliary",
    "step_arguments",
    "times",
    "cancel",
    "progress",
]


# The macros that are defined when sgd is compiled.
SWITCHES: Mapping[str, tuple[str, ...]] = {"float64": (), "float32": ("SGDLIMIT_FLOAT32",)}


class CKernel:
    """A kernel in shared libraries: one part at first, another when it is asked for.

    Parameters
    ----------
    load : callable
        ``load(part, *switches)`` compiles the part's file with these macros defined.
    first : str
        The part that tells the names, which all do.
    """

    backend = "c"

    def __init__(self, load: Callable[..., Library], first: str = "limit") -> None:
        self._load = load
        self._loaded: dict[tuple[str, ...], Library] = {}
        self._loading = threading.Lock()  # runs on several threads ask for the same part
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self._first = self._part(first)
        self.binary = self._first.sha256
        self.parameters = self._names("parameter")
        self.schedule_parameters = self._names("schedule")
        self.statistics = self._names("statistic")
        self.coefficients = self._names("coefficient")
        self.score = self._names("score")
        self.positive = self._names("positive")
        self.descents = self._names("descent")

    def _part(self, *part: str) -> Library:
        """A part's library; the switches that it is compiled with follow its name."""
        with self._loading:
            if part not in self._loaded:
                library = self._load(*part)
                if library.sgdlimit_abi() != ABI:
                    spoken = library.sgdlimit_abi()
                    raise KernelError(f"the kernel speaks version {spoken} of the interface, not {ABI}")
                self._loaded[part] = library
        return self._loaded[part]

    def __repr__(self) -> str:
        return f"CKernel(parameters={self.parameters}, statistics={self.statistics})"

    def _names(self, what: str) -> tuple[str, ...]:
        function = getattr(self._first, f"sgdlimit_{what}_names")
        function.restype = ctypes.c_char_p
        return tuple(name for name in function().decode().split(",") if name)

    @property
    def rhs_function(self) -> Any:
        """``sgdlimit_rhs`` itself, for a caller in C."""
        return self._part("equations").sgdlimit_rhs

    def struct(self, problem: Problem) -> tuple[_Problem, list[Array]]:
        """The C struct, and the arrays that must outlive it."""
        held: list[Array] = []
        struct = _Problem(size=ctypes.sizeof(_Problem))
        for field in fields(problem):
            value = getattr(problem, field.name)
            if field.name in _ARRAY_FIELDS:
                if value is not None:
                    held.append(np.ascontiguousarray(value))
                    setattr(struct, field.name, held[-1].ctypes.data)
            else:
                setattr(struct, field.name, value)
        struct.iterates, struct.classes, struct.modes = problem.iterates, problem.classes, problem.modes
        struct.times_count = problem.times_count
        struct.step_arguments_count = problem.step_arguments.shape[1]
        return struct, held

    def solve(self, problem: Problem, modes: bool = False) -> Solution:
        M, T, N = problem.iterates, problem.times_count, problem.modes
        struct, held = self.struct(problem)
        statistics = np.full((M, T, len(self.statistics)), np.nan)
        mean, variance = (np.full((M, T, N), np.nan) for _ in range(2)) if modes else (None, None)
        final_mean, final_variance = np.full((M, N), np.nan), np.full((M, N), np.nan)
        final_auxiliary = np.full(M, np.nan)
        struct.statistics = statistics.ctypes.data
        struct.final_mean, struct.final_variance = final_mean.ctypes.data, final_variance.ctypes.data
        struct.final_auxiliary = final_auxiliary.ctypes.data
        if mean is not None and variance is not None:
            struct.mean, struct.variance = mean.ctypes.data, variance.ctypes.data
        outcome = _Outcome()
        if problem.cancel is not None:  # the caller's, who watches for interrupts
            self._part("limit").sgdlimit_solve(ctypes.byref(struct), ctypes.byref(outcome))
        else:
            results = (statistics, mean, variance, final_mean, final_variance, final_auxiliary)
            self._solve_interruptibly(struct, outcome, (held, results))
        del held
        return Solution(statistics, mean, variance, final_mean, final_variance, final_auxiliary, _outcome(outcome))

    def solve_each(self, problem: Problem, parameters: Array, step_arguments: Array) -> Each:
        M, T, S = len(parameters), problem.times_count, len(self.statistics)
        parameters, step_arguments = (
            np.require(a, dtype=float, requirements="C") for a in (parameters, step_arguments)
        )
        struct, held = self.struct(problem)
        statistics = np.full((M, T, S), np.nan)
        status, accepted = (np.full(M, Status.CANCELLED), np.zeros(M, dtype=np.int64))
        time = np.full(M, problem.start_time)
        # one struct for all: between two calls only where they read and write moves on
        places = [
            (name, array.ctypes.data, array[0].nbytes)
            for name, array in (
                ("parameters", parameters),
                ("step_arguments", step_arguments),
                ("statistics", statistics),
            )
        ]
        outcome = _Outcome()
        solve, to_struct, to_outcome = self._part("limit").sgdlimit_solve, ctypes.byref(struct), ctypes.byref(outcome)
        for m in range(M):
            if problem.cancel is not None and problem.cancel[0]:
                break
            for name, begin, stride in places:
                setattr(struct, name, begin + m * stride)
            solve(to_struct, to_outcome)
            status[m], time[m], accepted[m] = outcome.status, outcome.time, outcome.accepted
        del held
        return Each(statistics, status, time, accepted)

    def _solve_interruptibly(self, struct: _Problem, outcome: _Outcome, owned: object) -> None:
        """In another thread: Python hears an interrupt only between its own instructions.

        The job holds what C writes to, so that nobody's impatience takes it away.
        """
        cancel = np.zeros(1, dtype=np.int32)
        struct.cancel = cancel.ctypes.data

        def run() -> object:
            self._part("limit").sgdlimit_solve(ctypes.byref(struct), ctypes.byref(outcome))
            return owned, cancel

        jobs: list[Future[object]] = []
        try:
            jobs.append(self._threads().submit(run))
            jobs[0].result()
        except BaseException:
            cancel[0] = 1
            wait_for(jobs)
            raise

    def _threads(self) -> ThreadPoolExecutor:
        """Kept, as a fresh thread takes as long as a small solve; not over a fork, which leaves the threads behind."""
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = os.getpid(), ThreadPoolExecutor()
        return self._pool[1]

    def simulate(self, problem: Problem, precision: str = "float64") -> Array:
        return self._summaries(self._part("sgd", *SWITCHES[precision]).sgdlimit_simulate, problem)

    def simulate_lumped(self, problem: Problem) -> Array:
        return self._summaries(self._part("lumps").sgdlimit_simulate_lumped, problem)

    def diffuse(self, problem: Problem, longest: float) -> Array:
        return self._summaries(self._part("diffusion").sgdlimit_diffuse, problem, ctypes.c_double(longest))

    def _summaries(self, function: Any, problem: Problem, *arguments: ctypes.c_double) -> Array:
        struct, held = self.struct(problem)
        shape = (problem.runs, problem.iterates, problem.times_count, summary_size(problem.classes))
        summaries = np.full(shape, np.nan)
        struct.statistics = summaries.ctypes.data
        outcome = _Outcome()
        function(ctypes.byref(struct), *arguments, ctypes.byref(outcome))
        del held
        ended = _outcome(outcome)
        if ended.status != Status.OK:
            raise Trouble(ended.status, ended.iterate, ended.run, ended.time, summaries)
        return summaries

    def rhs(self, problem: Problem, iterate: int, t: float, x: Array, v: Array) -> tuple[Array, Array]:
        struct, held = self.struct(problem)
        x, v = np.ascontiguousarray(x, dtype=float), np.ascontiguousarray(v, dtype=float)
        dx, dv = np.empty_like(x), np.empty_like(v)
        library = self._part("equations")
        library.sgdlimit_constants_count.restype = ctypes.c_int64
        work = np.empty(6 * problem.modes + library.sgdlimit_constants_count(ctypes.byref(struct)))
        library.sgdlimit_rhs(
            ctypes.byref(struct),
            ctypes.c_int64(iterate),
            ctypes.c_double(t),
            *(ctypes.c_void_p(a.ctypes.data) for a in (x, v, dx, dv, work)),
        )
        del held
        return dx, dv

    def evaluate_coefficients(self, score: Array, y: float, parameters: Array) -> Array:
        score, parameters = (
            np.ascontiguousarray(score, dtype=float),
            np.ascontiguousarray(parameters, dtype=float),
        )
        out = np.empty(len(self.coefficients))
        self._part("equations").sgdlimit_coefficients(
            ctypes.c_void_p(score.ctypes.data),
            ctypes.c_double(y),
            ctypes.c_void_p(parameters.ctypes.data),
            ctypes.c_void_p(out.ctypes.data),
        )
        return out


def _outcome(outcome: _Outcome) -> Outcome:
    values = {name: getattr(outcome, name) for name, _ in _Outcome._fields_}
    return Outcome(**{**values, "status": Status(values["status"])})


# --- NumPy ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NumpyKernel:
    """A kernel in an imported module."""

    module: ModuleType
    parameters: tuple[str, ...]
    schedule_parameters: tuple[str, ...]
    statistics: tuple[str, ...]
    coefficients: tuple[str, ...]
    score: tuple[str, ...]
    positive: tuple[str, ...]
    descents: tuple[str, ...]
    binary: str
    backend: str = "numpy"

    def solve(self, problem: Problem, modes: bool = False) -> Solution:
        solution: Solution = self.module.solve_problem(problem, modes=modes)
        return solution

    def solve_each(self, problem: Problem, parameters: Array, step_arguments: Array) -> Each:
        found = []
        for own, arguments in zip(parameters, step_arguments, strict=True):
            found.append(self.solve(replace(problem, parameters=own[np.newaxis], step_arguments=arguments[np.newaxis])))
        outcomes = [solution.outcome for solution in found]
        return Each(
            np.concatenate([solution.statistics for solution in found]),
            np.array([int(outcome.status) for outcome in outcomes]),
            np.array([outcome.time for outcome in outcomes]),
            np.array([outcome.accepted for outcome in outcomes]),
        )

    def simulate(self, problem: Problem, precision: str = "float64") -> Array:
        return self._summaries(self.module.simulate_problem, problem, precision)

    def simulate_lumped(self, problem: Problem) -> Array:
        return self._summaries(self.module.simulate_lumped_problem, problem)

    def diffuse(self, problem: Problem, longest: float) -> Array:
        return self._summaries(self.module.diffuse_problem, problem, longest)

    def _summaries(self, function: Any, problem: Problem, *arguments: float | str) -> Array:
        try:
            summaries: Array = function(problem, *arguments)
        except self.module.Trouble as trouble:
            raise Trouble(Status(trouble.status), trouble.iterate, trouble.run, trouble.time, trouble.curve) from None
        return summaries

    def rhs(self, problem: Problem, iterate: int, t: float, x: Array, v: Array) -> tuple[Array, Array]:
        k, e = self.module.constants(problem), x - problem.teacher
        offset, slope, noise = self.module.rates(problem, k, iterate, x, e, v)
        accumulated = 0.0 if problem.start_auxiliary is None else problem.start_auxiliary[iterate]
        at = self.module.Point(x, e, v, offset, slope, noise, accumulated)
        gamma = self.module.learning_rate(problem, k, iterate, t, at)
        return gamma * (offset + slope * e), 2 * gamma * slope * v + gamma**2 * noise

    def evaluate_coefficients(self, score: Array, y: float, parameters: Array) -> Array:
        return np.array(self.module.all_coefficients(np.asarray(score), y, np.asarray(parameters)), dtype=float)


def kernel_source(
    model: Model, statistics: Statistics | None = None, schedule: StepSize | None = None, target: str = "c"
) -> Source:
    """The source of a model's kernel: what :func:`load_source` takes, here or on another machine.

    Examples
    --------
    >>> from sgdlimit.derive import Loss, Model, Teacher
    >>> source = kernel_source(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi")), target="numpy")
    >>> "import numpy" in source.text("numpy")
    True
    """
    return _source(model, statistics, schedule, target, None)


def load_source(source: Source) -> Kernel:
    """A kernel from its source, compiled unless this machine's cache has it.

    Raises
    ------
    BackendError
        For C without a compiler, or a compile that fails.
    """
    if source.target == "numpy":
        return _loaded(source, None)
    compiler = find_compiler()
    if compiler is None:
        raise KernelError(no_compiler())
    return _loaded(source, compiler)


def kernel_from_text(text: str, target: str, compiler: Compiler | None = None) -> Kernel:
    """A kernel from one emitted file, outside the cache; C without optimisation over modes, for a few evaluations."""
    if target == "c" and compiler is not None:
        library = load_uncached(text, replace(compiler, flags=(*compiler.flags, "-O1")))
        return CKernel(lambda *part: library)
    return _import_numpy(text)


def _import_numpy(source: str) -> NumpyKernel:
    """Import emitted text as a module of its own."""
    name = f"sgdlimit_kernel_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    module: Any = sys.modules.get(name)
    if module is None:
        module = sys.modules[name] = ModuleType(name)  # dataclasses look their module up
        exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return NumpyKernel(
        module,
        module.PARAMETERS,
        module.SCHEDULE_PARAMETERS,
        module.STATISTICS,
        module.COEFFICIENTS,
        module.SCORE,
        module.POSITIVE,
        module.DESCENTS,
        hashlib.sha256(source.encode()).hexdigest(),
    )
