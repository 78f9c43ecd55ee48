"""From a limit to source code: lower to the loop language, then write it in C or NumPy. Text in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgdlimit.derive.errors import InputError

if TYPE_CHECKING:
    from sgdlimit.derive.limit import Limit
    from sgdlimit.derive.model import Schedule

TARGETS = ("c", "numpy")
FORMAT = 12
"""Generator format: any change of the emitted text for the same limit increases it."""

__all__ = ["FORMAT", "TARGETS", "emit"]


def emit(limit: Limit, target: str = "c", schedule: Schedule | None = None) -> str:
    """Source code of a limit: a file that stands alone.

    Parameters
    ----------
    limit : Limit
        What :func:`sgdlimit.derive.derive` returned.
    target : {"c", "numpy"}
        Language.
    schedule : Schedule, optional
        A learning rate as an expression in ``t``; a constant needs none.

    Returns
    -------
    str
        A pure function of the arguments, the generator's format and the version of SymPy.

    Raises
    ------
    InputError
        For an unknown target.

    Examples
    --------
    >>> from sgdlimit.derive import Loss, Model, Teacher, derive
    >>> limit = derive(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi")))
    >>> "int32_t sgdlimit_solve(" in emit(limit, target="c")
    True
    """
    if target not in TARGETS:
        raise InputError("target", f"there is no emitter for {target!r}", f"the targets are {', '.join(TARGETS)}")
    from sgdlimit.codegen.lower import lower

    kernel = lower(limit, schedule)
    if target == "c":
        from sgdlimit.codegen.c import emit_c

        return emit_c(kernel)
    from sgdlimit.codegen.numpy_target import emit_numpy

    return emit_numpy(kernel)
