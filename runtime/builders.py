"""What the builders of :class:`~sgdlimit.runtime.instance.Instance` share: a spectrum and vectors spread over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from sgdlimit.derive.errors import InstanceError
from sgdlimit.runtime.checks import dimension_of, finite_number, is_number
from sgdlimit.runtime.spectra import FloatArray, delocalised_complement, real_array
from sgdlimit.runtime.spectral_laws import DEFAULT_NODES

if TYPE_CHECKING:
    from sgdlimit.runtime.instance import Instance

MAX_NODES = 2000
"""Of a quadrature: beyond, eigenvalues near 0 differ by rounding."""


class FixedVectors(TypedDict, total=False):
    """Keywords that every builder takes: the classes and their start, teacher and means.

    A vector given by its norm is spread evenly over the spectrum, deterministically, and is orthogonal to
    the others except for the overlaps asked for; a vector given as an array [N] is taken as it is, one
    component a coordinate, the largest eigenvalue first (finite dimension only).

    Parameters
    ----------
    probabilities : array_like [K]
        Class probabilities. Default: equal ones, for as many classes as there are labels, means or
        eigenvalues (one if none are given).
    labels : array_like [K]
        Label of each class. Default: none.
    teacher_norm : float
        Norm of the teacher, 1 by default.
    teacher : array_like [N] or None
        The teacher itself, or None for no teacher.
    start_norm, start_overlap : float
        Norm of the start, and its cosine with the teacher; 0 by default.
    start : array_like [N] or 0
        The start itself.
    mean_norm, mean_overlap : float
        Norm of the class means, and the cosine of their direction ``u`` with the teacher; 0 by default. One
        class has the mean ``mean_norm * u``, two have ``-mean_norm * u`` and ``+mean_norm * u``.
    means : array_like [K, N] or 0
        The means themselves.
    """

    probabilities: ArrayLike
    labels: ArrayLike
    teacher_norm: float
    teacher: ArrayLike | None
    start_norm: float
    start_overlap: float
    start: ArrayLike
    mean_norm: float
    mean_overlap: float
    means: ArrayLike


def build(
    cls: type[Instance], eigenvalues: FloatArray, weights: FloatArray, d: float, given: Mapping[str, Any]
) -> Instance:
    """An instance with a spectrum and fixed vectors as asked.

    Parameters
    ----------
    cls : type of Instance
    eigenvalues : array [K or 1, atoms]
        Of each class, or of all.
    weights : array [atoms]
        Share of the dimension of each atom, sum 1.
    d : int or inf
        Dimension.
    given : mapping
        Keywords of :class:`FixedVectors`.

    Examples
    --------
    >>> from sgdlimit.runtime.instance import Instance
    >>> build(Instance, np.array([[2.0, 1.0]]), np.array([0.5, 0.5]), 6, {"start_norm": 3.0})
    Instance(classes=1, modes=6, dimension=6, eigenvalues=1..2, |teacher|=1, |start|=3)
    """
    _check_keywords(given)
    d = dimension_of(d)
    probabilities = _probabilities(given, eigenvalues.shape[0])
    classes, atoms = len(probabilities), eigenvalues.shape[1]
    if eigenvalues.shape[0] == 1:
        eigenvalues = np.repeat(eigenvalues, classes, axis=0)
    arrays = {n: real_array(n, given[n]) for n in ("start", "means", "teacher") if given.get(n) is not None}
    for name in ("start", "means"):
        if name in arrays and not arrays[name].ndim and not arrays[name]:
            del arrays[name]  # 0 is the vector of norm 0
    coordinates = _coordinates(given, classes, arrays.get("teacher"))
    one_each = d == atoms and np.allclose(weights * atoms, 1)
    shares: FloatArray | None
    if arrays or one_each:
        if not math.isfinite(d):
            raise InstanceError(
                next(iter(arrays)),
                "an array has no place at infinite dimension, where norms and overlaps say all",
                "use Instance(...) with modes of your own, or a finite d",
            )
        if not one_each:
            eigenvalues = (
                cls(
                    probabilities=probabilities,
                    eigenvalues=eigenvalues,
                    means=0,
                    start=0,
                    weights=weights,
                    dimension=math.inf,
                )
                .at_dimension(d)
                .eigenvalues
            )
        vectors, shares, dimension = _over_coordinates(coordinates, arrays, int(d)), None, d
    else:
        # Each atom gets its share of every vector, the same Gram matrix scaled: exact at every dimension.
        used = coordinates[:, coordinates.any(axis=0)]
        block = used if used.size else np.zeros((len(coordinates), 1))
        vectors = np.einsum("j,vk->vjk", np.sqrt(weights), block).reshape(len(block), -1)
        shares = np.outer(weights, np.eye(block.shape[1])[0]).ravel()
        eigenvalues, dimension = np.repeat(eigenvalues, block.shape[1], axis=1), math.inf
    no_teacher = "teacher" in given and given["teacher"] is None
    instance = cls(
        probabilities=probabilities,
        eigenvalues=eigenvalues,
        means=arrays.get("means", vectors[2:]),
        labels=given.get("labels"),
        teacher=None if no_teacher else arrays.get("teacher", vectors[1]),
        start=arrays.get("start", vectors[0]),
        weights=shares,
        dimension=dimension,
    )
    return instance if dimension == d else instance.at_dimension(d)


def build_from_law(
    cls: type[Instance],
    d: float,
    nodes: int | None,
    quantiles: Callable[[int], FloatArray],
    quadrature: Callable[[int], tuple[FloatArray, FloatArray]],
    given: Mapping[str, Any],
) -> Instance:
    """An instance with a limiting spectral law: its quantiles at a finite ``d``, its quadrature at ``d = inf``.

    Parameters
    ----------
    cls : type of Instance
    d : int or inf
        Dimension.
    nodes : int or None
        Number of quadrature nodes; None at a finite ``d``, and for
        :data:`~sgdlimit.runtime.spectral_laws.DEFAULT_NODES`.
    quantiles, quadrature : callable
        Eigenvalues from their number; eigenvalues and weights from the number of nodes.
    given : mapping
        Keywords of :class:`FixedVectors`.
    """
    d = dimension_of(d)
    if math.isfinite(d):
        if nodes is not None:
            raise InstanceError(
                "nodes",
                f"a finite dimension (here {d}) has its {d} quantiles for modes",
                "leave nodes out, or use d = inf",
            )
        return build(cls, quantiles(int(d))[None], np.full(int(d), 1 / d), d, given)
    count = DEFAULT_NODES if nodes is None else nodes
    if not is_number(count) or count != int(count) or not 1 <= count <= MAX_NODES:
        raise InstanceError("nodes", f"{count!r} is not a number of quadrature nodes", f"give 1 to {MAX_NODES}")
    eigenvalues, weights = quadrature(int(count))
    return build(cls, eigenvalues[None], weights, d, given)


def _over_coordinates(coordinates: FloatArray, arrays: Mapping[str, FloatArray], modes: int) -> FloatArray:
    """Start, teacher and means over coordinates of an eigenvalue each, delocalised over all of them."""
    for name, array in arrays.items():
        if array.ndim not in (1, 2) or array.shape[-1] != modes:
            raise InstanceError(name, f"shape {array.shape} does not fit dimension {modes}")
    rows = np.zeros((3, modes))
    free = np.flatnonzero(coordinates.any(axis=0))
    if "teacher" in arrays and 0 in free:
        rows[0] = arrays["teacher"] / np.linalg.norm(arrays["teacher"])
        free = free[free != 0]
    rows[free] = delocalised_complement(len(free), np.vstack([np.empty((0, modes)), *arrays.values()]))
    return coordinates @ rows


def _check_keywords(given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in FixedVectors.__annotations__:
            raise TypeError(f"unexpected keyword {name!r}; the builders take {', '.join(FixedVectors.__annotations__)}")
    rivals = {
        "teacher": ("teacher_norm",),
        "start": ("start_norm", "start_overlap"),
        "means": ("mean_norm", "mean_overlap"),
    }
    for name, others in rivals.items():
        for other in others:
            if name in given and other in given:
                raise InstanceError(other, f"{name} is given too", f"give the {name} or {other}")


def _probabilities(given: Mapping[str, Any], classes: int) -> FloatArray:
    """Class probabilities as given, or equal ones for the classes that another keyword counts."""
    if given.get("probabilities") is not None:
        return np.atleast_1d(real_array("probabilities", given["probabilities"]))
    ranks = {"labels": 1, "means": 2}
    arrays = {name: real_array(name, given[name]) for name in ranks if given.get(name) is not None}
    count = max([classes, *(array.shape[0] for name, array in arrays.items() if array.ndim == ranks[name])])
    return np.full(count, 1 / count)


def _coordinates(given: Mapping[str, Any], classes: int, teacher: FloatArray | None) -> FloatArray:
    """Start, teacher and means (rows) in three orthonormal directions.

    The directions are the teacher's, and what the direction of the means and the start have besides. The row
    of a vector that is given as an array counts for nothing, but for the teacher's norm.
    """
    if "teacher" in given:
        teacher_norm = 0.0 if teacher is None else float(np.linalg.norm(teacher))
    else:
        teacher_norm = _magnitude(given, "teacher_norm", 1.0)

    def along_and_across(vector: str) -> tuple[float, float]:
        norm = _magnitude(given, f"{vector}_norm", 0.0)
        overlap = f"{vector}_overlap"
        cosine = finite_number(overlap, given.get(overlap, 0.0))
        if abs(cosine) > 1:
            raise InstanceError(overlap, f"{cosine:g} is not a cosine", "give a number from -1 to 1")
        if cosine and not (norm and teacher_norm):
            zero = "teacher" if norm else vector
            raise InstanceError(overlap, f"there is no {zero}, or it has norm 0", f"give the {zero} a norm")
        return norm * cosine, norm * math.sqrt((1 - cosine) * (1 + cosine))

    along, across = along_and_across("mean")
    if classes > 2 and (along or across):
        raise InstanceError("mean_norm", f"cannot place the means of {classes} classes", "give means [K, N]")
    signs = np.array([-1.0, 1.0]) if classes == 2 else np.ones(classes)
    means = np.outer(signs, [along, across, 0.0])
    along, across = along_and_across("start")
    return np.vstack([[along, 0.0, across], [teacher_norm, 0.0, 0.0], means])


def _magnitude(given: Mapping[str, Any], name: str, default: float) -> float:
    value = finite_number(name, given.get(name, default))
    if value < 0:
        raise InstanceError(name, f"{value:g} is negative")
    return value
