"""The problem: what a caller hands to a kernel, and what stops a kernel before its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Status(IntEnum):
    """How a call ended; the numbers are those of the C interface.

    Examples
    --------
    >>> Status(1).name
    'DIVERGED'
    """

    OK = 0
    DIVERGED = 1
    CANCELLED = 2
    NO_PROGRESS = 3  # step size underflow or max_steps
    BAD_PROBLEM = 4
    OUT_OF_MEMORY = 5
    NO_STEP = 6  # a greedy learning rate does not exist


class StepKind(IntEnum):
    """How ``step_arguments`` are read; the numbers are those of the C interface."""

    CONSTANT = 0
    SCHEDULE = 1
    TABLE = 2  # the horizon, then γ at equal steps of √t up to it
    LINE_SEARCH = 3  # from here on γ depends on the state: of the limit in a solve, of the iterate in a simulation
    POLYAK = 4
    GREEDY = 5  # the statistic is the kernel's
    ADAGRAD_NORM = 6


class Method(IntEnum):
    """How a solve steps; the numbers are those of the C interface.

    Examples
    --------
    >>> Method["EXPONENTIAL"].value
    2
    """

    AUTO = 0  # explicit, and exponential where the fastest mode would limit the steps of that
    EXPLICIT = 1
    EXPONENTIAL = 2  # but for the first steps


LANES = 8
"""Runs of a simulation in lumps that advance together in C: one costs as much as so many."""
SUMMARY = ("norm2", "overlap", "distance2", "reference_distance2", "learning_rate")
CLASS_SUMMARY = ("m", "c", "Q")


def summary_size(classes: int) -> int:
    """How many numbers a simulation tells of an iterate: `SUMMARY`, then `CLASS_SUMMARY` of each class.

    Examples
    --------
    >>> summary_size(2)
    11
    """
    return len(SUMMARY) + len(CLASS_SUMMARY) * classes


@dataclass(eq=False)
class Trouble(Exception):
    """A kernel stopped before its end.

    Parameters
    ----------
    status : Status
        Why.
    iterate, run : int
        Where it was met first; ``run`` is 0 in a solve.
    time : float
        When it was met, ``t = k/d``.
    curve : array, optional
        What had been computed until then, shaped as the whole answer, NaN where nothing had.

    Examples
    --------
    >>> str(Trouble(Status.DIVERGED, iterate=0, run=3, time=1.5))
    'DIVERGED at t = 1.5 (iterate 0, run 3)'
    """

    status: Status
    iterate: int
    run: int
    time: float
    curve: Array | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.status.name} at t = {self.time:.6g} (iterate {self.iterate}, run {self.run})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What a verb reads: the fields of the C struct ``sgdlimit_problem`` under the same names.

    The counts M (``iterates``), K (``classes``), N (``modes``) and T (``times_count``) are read off the
    arrays' shapes. What a verb computes it returns: those fields of the struct are not here.

    Parameters
    ----------
    dimension : float
        The dimension d; ``inf`` is allowed in a solve.
    weights : array [N]
        Share of the dimension of each mode, ω.
    probabilities : array [K]
        Class probabilities.
    eigenvalues, means : array [K, N]
        Covariance eigenvalues and mean of each class in the common eigenbasis.
    labels : array [K]
        Labels of the classes; zeros when the target is not `Labels`.
    teacher : array [N]
        Teacher direction X*; zeros when absent.
    reference : array [N], optional
        The point X° of Polyak's learning rate and of ``optimum_distance2``, which is NaN without one.
    parameters : array [M, P, K]
        The loss's parameters, in the order of the kernel's parameter names.
    start_mean, start_variance : array [M, N]
        Mean and variance of each iterate's modes at ``start_time``; a simulation reads the mean alone.
    start_auxiliary : array [M], optional
        The integral of ``Σ_j G_j`` up to ``start_time``; zeros unless given.
    step_kind : int
        How ``step_arguments`` are read, a `StepKind`.
    step_arguments : array [M, count]
        Arguments of the learning rate.
    start_time : float
        Time at the start.
    times : array [T]
        Output times: increasing, none before ``start_time``.
    rtol : float
        Relative tolerance of a solve.
    max_steps : int
        Bound on the number of steps of a solve.
    method : int
        How a solve steps, a `Method`.
    first_run, runs : int
        A simulation makes the runs ``first_run .. first_run + runs - 1``.
    seed : int
        Seed of a simulation.
    cancel : int32 array [1], optional
        A nonzero value, written by another thread, asks the verb to stop.
    progress : int64 array [1], optional
        Written by the verb: output times done (solve), steps done over all runs (simulate).
    """

    dimension: float
    weights: Array
    probabilities: Array
    eigenvalues: Array
    means: Array
    labels: Array
    teacher: Array
    parameters: Array
    start_mean: Array
    start_variance: Array
    step_arguments: Array
    times: Array
    reference: Array | None = None
    start_auxiliary: Array | None = None
    step_kind: int = StepKind.CONSTANT
    start_time: float = 0.0
    rtol: float = 1e-8
    max_steps: int = 1_000_000
    method: int = Method.AUTO
    first_run: int = 0
    runs: int = 1
    seed: int = 0
    cancel: NDArray[np.int32] | None = None
    progress: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        # A wrong shape would be broadcast into a wrong answer by NumPy, and read past its end by C.
        M, K, N = self.iterates, self.classes, self.modes
        shapes = {
            "weights": (N,),
            "probabilities": (K,),
            "eigenvalues": (K, N),
            "means": (K, N),
            "labels": (K,),
            "teacher": (N,),
            "reference": (N,),
            "parameters": (M, self.parameters.shape[1], K),
            "start_mean": (M, N),
            "start_variance": (M, N),
            "start_auxiliary": (M,),
            "step_arguments": (M, self.step_arguments_count),
            "times": (self.times_count,),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name}: has shape {array.shape}; give {shape}")

    @property
    def iterates(self) -> int:
        """M, the number of iterates."""
        return len(self.parameters)

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return len(self.probabilities)

    @property
    def modes(self) -> int:
        """N, the number of modes."""
        return len(self.weights)

    @property
    def times_count(self) -> int:
        """T, the number of output times."""
        return len(self.times)

    @property
    def step_arguments_count(self) -> int:
        """Number of arguments of the learning rate."""
        return int(self.step_arguments.shape[1])
