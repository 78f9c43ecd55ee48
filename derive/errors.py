"""Typed errors: what was given, where, why it cannot be, and what would do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class SgdlimitError(Exception):
    """Base of every error that sgdlimit raises on purpose."""


@dataclass(eq=False)
class InputError(SgdlimitError):
    """The input cannot be used (exit code 2 on the command line).

    Parameters
    ----------
    where : str
        The place: a file, a key, a symbol, an argument.
    why : str
        Why it cannot be, with what was given.
    remedy : str, optional
        What would do.

    Examples
    --------
    >>> str(InputError("probabilities", "they sum to 0.9", "scale them to sum to 1"))
    'probabilities: they sum to 0.9; scale them to sum to 1'
    """

    where: str
    why: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.why}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass(eq=False)
class ExpressionError(InputError):
    """A text that is not an expression of the language; knows the text and the position (0-based) in it."""

    text: str = ""
    position: int = 0


class ModelError(InputError):
    """A model that has no meaning: a loss without ``r``, a teacher that uses ``r``, an unknown name."""


class DerivationError(InputError):
    """A model that is meaningful but whose equations the engine cannot derive."""


class ParameterError(InputError):
    """A missing, unknown or inadmissible parameter."""


class InstanceError(InputError):
    """Arrays that do not describe a Gaussian mixture."""


class SpecError(InputError):
    """A spec file that cannot be read or does not hold what it must."""


@dataclass(eq=False)
class NoMinimiser(InputError):
    """The adversarial risk has no finite minimiser (``docs/theory.md`` §5).

    Parameters
    ----------
    direction : array [N]
        A unit vector along which the risk falls for ever.
    """

    direction: Any = field(default=None, repr=False)


class BackendError(SgdlimitError):
    """No compiler, a compile that failed, or a kernel that cannot be loaded (exit code 5)."""


class KernelError(BackendError):
    """A kernel that this machine cannot build, keep or load: no fault of the input, which may do later or elsewhere."""


@dataclass(eq=False)
class Diverged(SgdlimitError):
    """The dynamics left every bound (exit code 3).

    Parameters
    ----------
    time : float
        Time ``t = k/d`` of the first trouble.
    what : str
        What left its bound.
    partial : object
        The trajectory or ensemble up to that time, or None.
    """

    time: float
    what: str
    partial: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"diverged at t = {self.time:.6g}: {self.what}"


@dataclass(eq=False)
class NoLearningRate(SgdlimitError):
    """No learning rate makes the statistic fall fastest: it falls ever faster with it (exit code 2).

    Parameters
    ----------
    time : float
        When, ``t = k/d``.
    what : str
        The step size.
    partial : object
        The trajectory up to that time, or None.
    """

    time: float
    what: str
    partial: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        return (
            f"{self.what}: at t = {self.time:.6g} no learning rate is the best, the statistic falls ever faster with "
            "it; use another step size, or end before"
        )
