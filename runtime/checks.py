"""Checks of what an instance is made of: numbers, dimensions, arrays that fit each other. A failure names its field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from sgdlimit.derive.errors import InstanceError
from sgdlimit.runtime.spectra import FloatArray, real_array


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is one real number (not a truth value)."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def finite_number(where: str, value: object) -> float:
    """A value as a float.

    Raises
    ------
    InstanceError
        If it is no number, or not finite; ``where`` is the name that the error gives.

    Examples
    --------
    >>> finite_number("exponent", 1)
    1.0
    """
    if not is_number(value) or not math.isfinite(value):
        raise InstanceError(where, f"{value!r} is not a finite number")
    return float(value)


MAX_COORDINATES = 10_000_000
"""Of an instance with a mode each: its arrays still fit into memory."""
MAX_DIMENSION = 10**12
"""Of any finite one: weights, doubles, still tell numbers of coordinates."""


def dimension_of(value: object, most: int = MAX_COORDINATES) -> float:
    """A dimension as int, or as the float inf.

    Examples
    --------
    >>> dimension_of(400.0), dimension_of(float("inf"))
    (400, inf)
    """
    if is_number(value) and value > 0:
        if math.isinf(value):
            return math.inf
        if value > most:
            mend = "instance.lumped(d) has few modes at any; " if most < value <= MAX_DIMENSION else ""
            raise InstanceError(
                "dimension", f"{value:g} is more than {most}", f"{mend}a limit that large is that of dimension=inf"
            )
        if value == int(value):
            return int(value)
    raise InstanceError("dimension", f"{value!r} is neither a positive integer nor inf")


def mixture_arrays(given: Mapping[str, ArrayLike | None]) -> dict[str, FloatArray]:
    """The arrays of an instance at full shape, weights by default; each failure names its field."""
    arrays = {name: real_array(name, value) for name, value in given.items() if value is not None}
    if arrays["probabilities"].ndim != 1 or not arrays["probabilities"].size:
        raise InstanceError("probabilities", f"shape {arrays['probabilities'].shape} is not one number a class")
    classes = arrays["probabilities"].shape[0]
    by_mode = ("eigenvalues", "means", "start", "teacher", "weights")
    sized = next((name for name in by_mode if name in arrays and arrays[name].ndim), None)
    if sized is None:
        raise InstanceError("eigenvalues", "nothing says how many modes there are", "give one array over the modes")
    modes = arrays[sized].shape[-1]
    if modes == 0:
        raise InstanceError(sized, f"shape {arrays[sized].shape} has no modes")
    for name in ("means", "start"):
        if arrays[name].ndim == 0 and arrays[name] != 0:
            raise InstanceError(name, f"one number for every mode must be 0, not {arrays[name]:g}", "give an array")

    beside_classes = ("probabilities", arrays["probabilities"].shape)
    beside_modes = (sized, arrays[sized].shape)
    for name, array in arrays.items():
        shape = array.shape
        if name in ("probabilities", "labels"):
            _fit(name, shape, len(shape) == 1 and shape[0] == classes, beside_classes)
        elif name in ("eigenvalues", "means"):
            _fit(name, shape, len(shape) < 2 or (len(shape) == 2 and shape[0] == classes), beside_classes)
            _fit(name, shape, not shape or shape[-1] == modes, beside_modes)
            arrays[name] = np.broadcast_to(array, (classes, modes)).copy()
        else:
            scalar = name == "start" and not shape
            _fit(name, shape, scalar or (len(shape) == 1 and shape[0] == modes), beside_modes)
            arrays[name] = np.broadcast_to(array, (modes,)).copy()

    arrays.setdefault("weights", np.full(modes, 1 / modes))
    check_shares("probabilities", arrays["probabilities"], positive=True)
    check_shares("weights", arrays["weights"], positive=False)
    for i, j in np.argwhere(arrays["eigenvalues"] < 0):
        raise InstanceError(
            "eigenvalues",
            f"{arrays['eigenvalues'][i, j]:g} (class {i}, mode {j}) is negative",
            "covariance eigenvalues are at least 0",
        )
    return arrays


def _fit(name: str, shape: tuple[int, ...], fits: bool, beside: tuple[str, tuple[int, ...]]) -> None:
    if not fits:
        other = f"{beside[0]} of shape {beside[1]}" if beside[0] != name else "one number a mode"
        raise InstanceError(name, f"shape {shape} does not fit {other}")


def check_shares(name: str, shares: FloatArray, *, positive: bool) -> None:
    """Shares of a whole: at least 0, or above, and their sum is 1.

    Raises
    ------
    InstanceError
        Names the entry, or the sum.
    """
    for j in np.flatnonzero(shares <= 0 if positive else shares < 0):
        raise InstanceError(name, f"entry [{j}] is {shares[j]:g}", f"each is {'above' if positive else 'at least'} 0")
    total = math.fsum(shares)
    if abs(total - 1) > 1e-12 * len(shares):
        raise InstanceError(name, f"they sum to {total:.15g}, not to 1")
