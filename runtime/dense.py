"""A Gaussian mixture whose covariances do not commute: the matrices themselves (``docs/theory.md`` §3.9)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sgdlimit.derive.errors import InstanceError
from sgdlimit.runtime.checks import check_shares
from sgdlimit.runtime.spectra import FloatArray, nonnegative, real_array

_SKEW = 1e-12  # of a covariance's largest entry: what rounding may leave between it and its transpose


@dataclass(frozen=True, eq=False, repr=False, init=False)
class DenseInstance:
    """A mixture of ``K`` Gaussians in ``d`` dimensions with any covariances, in the basis that they are given in.

    Arrays are kept as read-only float64 copies. ``dataclasses.replace(instance, start=...)`` makes a variant.
    Where the covariances commute, an :class:`~sgdlimit.runtime.instance.Instance` has the same limit at a fraction of
    the cost; ``Instance.from_covariances`` makes whichever is right.

    Parameters
    ----------
    probabilities : array_like [K]
        Class probabilities, positive, sum 1.
    covariances : array_like [K, d, d]
        Symmetric and positive semidefinite; [d, d] is taken for every class.
    means : array_like [K, d]
        Class means; [d] is taken for every class, 0 is no mean.
    start : array_like [d]
        Where SGD starts; 0 is the origin.
    labels : array_like [K], optional
        Label of each class, for targets that are class labels.
    teacher : array_like [d], optional
        Teacher direction.

    Raises
    ------
    InstanceError
        If the arrays do not describe a mixture; the error names the field.

    Examples
    --------
    >>> DenseInstance(
    ...     probabilities=[0.5, 0.5], covariances=[[[2, 0], [0, 1]], [[1, 0.5], [0.5, 1]]], means=0, labels=[-1, 1]
    ... )
    DenseInstance(classes=2, dimension=2, mean eigenvalues=[1.5, 1], labels=[-1, 1], |start|=0)
    """

    probabilities: FloatArray
    covariances: FloatArray
    means: FloatArray
    start: FloatArray
    labels: FloatArray | None
    teacher: FloatArray | None

    def __init__(
        self,
        *,
        probabilities: ArrayLike,
        covariances: ArrayLike,
        means: ArrayLike = 0.0,
        start: ArrayLike = 0.0,
        labels: ArrayLike | None = None,
        teacher: ArrayLike | None = None,
    ) -> None:
        shares = real_array("probabilities", probabilities)
        if shares.ndim != 1 or not shares.size:
            raise InstanceError("probabilities", f"shape {shares.shape} is not one number a class")
        check_shares("probabilities", shares, positive=True)
        K = len(shares)
        matrices = _covariances(covariances, K)
        d = matrices.shape[-1]
        arrays = {
            "probabilities": shares,
            "covariances": matrices,
            "means": _shaped("means", means, (K, d)),
            "start": _shaped("start", start, (d,)),
            "labels": None if labels is None else _shaped("labels", labels, (K,)),
            "teacher": None if teacher is None else _shaped("teacher", teacher, (d,)),
        }
        for name, array in arrays.items():
            if array is not None:
                array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return len(self.probabilities)

    @property
    def dimension(self) -> int:
        """Dimension d."""
        return len(self.start)

    @property
    def modes(self) -> int:
        """Coordinates: as many as dimensions."""
        return len(self.start)

    @property
    def is_finite(self) -> bool:
        """Always: matrices have a finite dimension."""
        return True

    @cached_property
    def teacher_variances(self) -> FloatArray:
        """``Q* = X*'C_i X*`` of each class; zeros without a teacher."""
        if self.teacher is None:
            return np.zeros(self.classes)
        return np.asarray(self.covariances @ self.teacher @ self.teacher)

    def at_dimension(self, d: float) -> DenseInstance:
        """Itself: matrices have no equivalent at another dimension.

        Raises
        ------
        InstanceError
            For any dimension but its own.
        """
        if d == self.dimension:
            return self
        raise InstanceError(
            "dimension",
            f"{d} is not {self.dimension}, and covariances that do not commute have no equivalent at another dimension",
            "build the instance from covariances of that dimension",
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DenseInstance):
            return NotImplemented
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return all((a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in pairs)

    def __hash__(self) -> int:
        values = [getattr(self, f.name) for f in fields(self)]
        return hash(tuple(None if v is None else v.tobytes() for v in values))

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays come back from a pickle writable; the constructor makes them read-only again.
        return _rebuilt, ({f.name: getattr(self, f.name) for f in fields(self)},)

    def __repr__(self) -> str:
        mean_eigenvalues = np.trace(self.covariances, axis1=1, axis2=2) / self.dimension
        parts = [
            f"classes={self.classes}",
            f"dimension={self.dimension}",
            f"mean eigenvalues={_listed(mean_eigenvalues)}",
        ]
        if self.labels is not None:
            parts.append(f"labels={_listed(self.labels)}")
        if self.means.any():
            parts.append(f"|means|={_listed(np.linalg.norm(self.means, axis=1))}")
        if self.teacher is not None:
            parts.append(f"|teacher|={np.linalg.norm(self.teacher):.4g}")
        parts.append(f"|start|={np.linalg.norm(self.start):.4g}")
        return f"DenseInstance({', '.join(parts)})"

    def _repr_html_(self) -> str:
        from sgdlimit.runtime.display import dense_instance_html

        return dense_instance_html(self)


def _rebuilt(values: dict[str, Any]) -> DenseInstance:
    return DenseInstance(**values)


def _listed(values: FloatArray) -> str:
    return f"[{', '.join(f'{v:.4g}' for v in values[:6])}{', ...' if len(values) > 6 else ''}]"


def symmetric_matrices(covariances: ArrayLike) -> FloatArray:
    """One square matrix, or one a class, symmetric to rounding: exactly symmetric afterwards.

    Raises
    ------
    InstanceError
        Names the matrix and by how much it is not symmetric.

    Examples
    --------
    >>> symmetric_matrices([[2, 1], [1, 2]]).shape
    (2, 2)
    """
    matrices = real_array("covariances", covariances)
    if matrices.ndim not in (2, 3) or not matrices.size or matrices.shape[-1] != matrices.shape[-2]:
        raise InstanceError("covariances", f"shape {matrices.shape} is not one square matrix a class")
    for i, matrix in enumerate(matrices if matrices.ndim == 3 else matrices[np.newaxis]):
        skew = float(np.abs(matrix - matrix.T).max())
        if skew > _SKEW * float(np.abs(matrix).max()):
            raise InstanceError(
                f"covariances[{i}]", f"is not symmetric, by up to {skew:.3g}", "a covariance equals its transpose"
            )
        matrix[:] = (matrix + matrix.T) / 2
    return matrices


def _covariances(given: ArrayLike, classes: int) -> FloatArray:
    matrices = symmetric_matrices(given)
    if matrices.ndim == 2:
        check_semidefinite("covariances", matrices)
        return np.repeat(matrices[np.newaxis], classes, axis=0)
    if len(matrices) != classes:
        raise InstanceError("covariances", f"shape {matrices.shape} does not fit probabilities of shape {(classes,)}")
    for i, matrix in enumerate(matrices):
        check_semidefinite(f"covariances[{i}]", matrix)
    return matrices


def check_semidefinite(where: str, matrix: FloatArray) -> None:
    """No eigenvalue of a symmetric matrix is negative beyond rounding.

    Raises
    ------
    InstanceError
        Names the matrix and the eigenvalue.

    Examples
    --------
    >>> try:
    ...     check_semidefinite("covariance", np.array([[1.0, 2.0], [2.0, 1.0]]))
    ... except InstanceError as error:
    ...     print(error)
    covariance: the eigenvalue -1 is negative; a covariance is positive semidefinite
    """
    scale = float(np.linalg.norm(matrix))
    if scale == 0:
        return
    shifted = matrix + 1e-13 * scale * np.eye(len(matrix))
    try:
        np.linalg.cholesky(shifted)  # a twentieth of the time that eigenvalues take
    except np.linalg.LinAlgError:
        nonnegative(where, np.asarray(np.linalg.eigvalsh(matrix), dtype=np.float64), scale)


def _shaped(name: str, given: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """An array of this shape; one row is taken for every class, 0 for every entry."""
    array = real_array(name, given)
    if array.ndim == 0 and array == 0 and name != "labels":
        return np.zeros(shape)
    if array.shape != shape and not (array.ndim and array.shape == shape[1:]):
        what = "one number a class" if name == "labels" else f"{shape[-1]} dimensions"
        raise InstanceError(name, f"shape {array.shape} does not fit {what}", f"give shape {shape}")
    return np.broadcast_to(array, shape).copy()
