"""From a limit to source code: lower to the loop language, then write it in C or NumPy. Text in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sgdlimit.derive.errors import InputError

if TYPE_CHECKING:
    import sympy as sp

    from sgdlimit.derive.limit import Limit
    from sgdlimit.derive.model import Schedule

TARGETS = ("c", "numpy")
PARTS = ("equations", "limit", "sgd", "lumps", "diffusion")
"""What a C file may hold: coefficients and right-hand side; the mode equations with their solver; streaming SGD in
every coordinate; the same in lumps of equal eigenvalues; homogenised SGD."""
FORMAT = 24
"""Generator format: any change of the emitted text for the same limit increases it."""

__all__ = ["FORMAT", "PARTS", "TARGETS", "emit", "emit_parts"]


def emit(limit: Limit, target: str = "c", schedule: Schedule | None = None, parts: Sequence[str] | None = None) -> str:
    """Source code of a limit: a file that stands alone.

    Parameters
    ----------
    limit : Limit
        What :func:`sgdlimit.derive.derive` returned.
    target : {"c", "numpy"}
        Language.
    schedule : Schedule, optional
        A learning rate as an expression in ``t``; a constant needs none.
    parts : sequence of {"equations", "limit", "sgd", "lumps", "diffusion"}, optional
        What a C file holds (:data:`PARTS`): the mode equations and their solver unless given. A NumPy file holds all.

    Returns
    -------
    str
        A pure function of the arguments, the generator's format and the version of SymPy.

    Raises
    ------
    InputError
        For an unknown target or part.

    Examples
    --------
    >>> from sgdlimit.derive import Loss, Model, Teacher, derive
    >>> limit = derive(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi")))
    >>> "int32_t sgdlimit_solve(" in emit(limit, target="c")
    True
    >>> "int32_t sgdlimit_simulate(" in emit(limit, target="c", parts=["sgd"])
    True
    """
    if target not in TARGETS:
        raise InputError("target", f"there is no emitter for {target!r}", f"the targets are {', '.join(TARGETS)}")
    from sgdlimit.codegen.lower import lower

    if target == "c":
        from sgdlimit.codegen.c import CEmitter

        return CEmitter(lower(limit, schedule)).file(checked_parts(parts or ["limit"]))
    if parts is not None:
        raise InputError("parts", "a NumPy file holds all parts", "give none")
    from sgdlimit.codegen.numpy_target import emit_numpy

    return emit_numpy(lower(limit, schedule))


def emit_parts(limit: Limit, schedule: Schedule | None = None, parts: Sequence[str] = PARTS) -> dict[str, str]:
    """C files of a limit, one a part, by part.

    Examples
    --------
    >>> from sgdlimit.derive import Loss, Model, Teacher, derive
    >>> files = emit_parts(derive(Model(Loss("(r - y)**2/2"), Teacher("r_star"))), parts=["limit", "sgd"])
    >>> [name for name, text in files.items() if "gradient(" in text]
    ['sgd']
    """
    from sgdlimit.codegen.c import CEmitter
    from sgdlimit.codegen.lower import lower

    kernel = lower(limit, schedule)
    written: dict[sp.Expr, str] = {}
    return {part: CEmitter(kernel, written).file([part]) for part in checked_parts(parts)}


def checked_parts(parts: Sequence[str]) -> list[str]:
    """The parts, in the order of :data:`PARTS`.

    Raises
    ------
    InputError
        For an unknown one, or none.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        found = f"there is no part {unknown[0]!r}" if unknown else "none is given"
        raise InputError("parts", found, f"they are {', '.join(PARTS)}")
    return [part for part in PARTS if part in parts]
