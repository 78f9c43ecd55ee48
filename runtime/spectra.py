"""The arrays that the builders of :class:`~sgdlimit.runtime.instance.Instance` are made of: spectra and their
quadrature rules, delocalised vectors, Gram factors, common eigenbases, and the moments of data.

Plain arrays in, plain arrays out; nothing here is random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.derive.errors import InstanceError

FloatArray = NDArray[np.float64]

# A vector this close to the span of others (relative to its norm) is taken to lie in it; the Gram matrix
# keeps to rounding.
_DEPENDENT = 1e-14
# Off-diagonal entries left by a common eigenbasis, relative to the covariance's norm. Rounding leaves about
# d² 1e-16.
_COMMUTING = 1e-9


def real_array(where: str, value: ArrayLike) -> FloatArray:
    """A C-contiguous float64 copy of real, finite numbers.

    Parameters
    ----------
    where : str
        The name that an error gives.
    value : array_like
        Numbers, lists of them, arrays.

    Raises
    ------
    InstanceError
        If ``value`` is ragged, not real or not finite.

    Examples
    --------
    >>> real_array("means", [[0, 1]])
    array([[0., 1.]])
    """
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "biufO":
            raise TypeError
        array = np.array(given, dtype=np.float64, order="C")
        # -0.0 becomes 0.0: equal arrays have equal bytes, hence equal hashes.
        array += 0.0
    except (TypeError, ValueError, OverflowError):
        raise InstanceError(where, "is not an array of real numbers") from None
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        entry = "is" if not index else f"entry [{', '.join(map(str, index))}] is"
        raise InstanceError(where, f"{entry} {array[index]}, not a finite number")
    return array


# --- spectra ------------------------------------------------------------------------------------------------


def decaying_eigenvalues(modes: int, exponent: float) -> FloatArray:
    """``λ_j ∝ j^{-exponent}``, ``j = 1..modes``, with mean 1.

    Examples
    --------
    >>> decaying_eigenvalues(3, 1.0).tolist()
    [1.6363636363636365, 0.8181818181818182, 0.5454545454545455]
    """
    values = np.arange(1, modes + 1, dtype=np.float64) ** -exponent
    return np.asarray(values / values.mean(), dtype=np.float64)


# --- delocalised vectors ------------------------------------------------------------------------------------


def delocalised_rows(count: int, modes: int) -> FloatArray:
    """``count`` orthonormal rows over ``modes`` coordinates, spread evenly.

    They are rows of the DCT-II basis with evenly spaced frequencies. The first is constant. Products of two
    of them oscillate from one coordinate to the next, so that they are orthonormal (with weight) over any
    long stretch of coordinates too: over sorted eigenvalues, each has the whole spectrum for its spectral
    measure.

    Examples
    --------
    >>> delocalised_rows(2, 4)
    array([[ 0.5,  0.5,  0.5,  0.5],
           [ 0.5, -0.5, -0.5,  0.5]])
    """
    frequencies = np.array([i * modes // count for i in range(count)], dtype=np.int64).reshape(-1, 1)
    # The phase is reduced in integers: a large argument would cost the cosine its last digits.
    quarters = frequencies * np.arange(1, 2 * modes, 2, dtype=np.int64) % (4 * modes)
    rows = np.cos(quarters * (math.pi / (2 * modes))) * math.sqrt(2 / modes)
    rows[frequencies[:, 0] == 0] = 1 / math.sqrt(modes)
    return np.asarray(rows, dtype=np.float64)


def delocalised_complement(count: int, vectors: FloatArray) -> FloatArray:
    """``count`` orthonormal rows, orthogonal to those of ``vectors`` [V, N], as delocalised as that allows.

    Examples
    --------
    >>> delocalised_complement(1, np.array([[1.0, 1.0, 1.0, 1.0]])).round(3) + 0.0
    array([[ 0.5, -0.5, -0.5,  0.5]])
    """
    modes = vectors.shape[1]
    basis = list(orthonormal_basis(vectors))
    candidates = len(basis) + count
    if candidates > modes:
        raise InstanceError("dimension", f"{modes} is too small for {candidates} independent directions")
    rows: list[FloatArray] = []
    for candidate in delocalised_rows(candidates, modes):
        residual = _without(candidate, basis)
        norm = float(np.linalg.norm(residual))
        # The squared distances of n orthonormal rows to a subspace of fewer than n dimensions sum to 1 at
        # least, so this threshold always leaves `count` rows.
        if len(rows) < count and norm > 0.5 / math.sqrt(candidates):
            rows.append(residual / norm)
            basis.append(rows[-1])
    return np.array(rows).reshape(count, modes)


def orthonormal_basis(vectors: FloatArray) -> FloatArray:
    """Orthonormal rows that span the rows of ``vectors`` [V, N], taken in order (Gram–Schmidt, twice).

    Examples
    --------
    >>> orthonormal_basis(np.array([[0.0, 2.0], [0.0, -1.0], [3.0, 3.0]]))
    array([[0., 1.],
           [1., 0.]])
    """
    basis: list[FloatArray] = []
    for vector in vectors:
        largest = float(np.abs(vector).max(initial=0.0))
        if largest == 0:
            continue
        scaled = vector / largest  # squares of tiny components would underflow
        residual = _without(scaled, basis)
        norm = float(np.linalg.norm(residual))
        if norm > _DEPENDENT * float(np.linalg.norm(scaled)):
            basis.append(residual / norm)
    return np.array(basis, dtype=np.float64).reshape(len(basis), vectors.shape[1])


def _without(vector: FloatArray, basis: Sequence[FloatArray]) -> FloatArray:
    residual = vector.copy()
    for _ in range(2):  # the second pass removes what rounding left of the first
        for direction in basis:
            residual -= (direction @ residual) * direction
    return residual


def gram_factor(vectors: FloatArray) -> FloatArray:
    """``L`` [V, rank] whose Gram matrix ``L L'`` is that of ``vectors`` [V, N]; themselves if rank is N.

    Examples
    --------
    >>> gram_factor(np.array([[3.0, 4.0], [6.0, 8.0]]))
    array([[ 5.],
           [10.]])
    """
    basis = orthonormal_basis(vectors)
    return vectors if len(basis) == vectors.shape[1] else vectors @ basis.T


def rational_shares(weights: FloatArray, bound: int) -> list[Fraction] | None:
    """The weights as fractions with denominators up to ``bound`` and exact sum 1; None if they are not.

    A fraction must reproduce its weight to 1e-14, relatively: any number is within 1e-12 of one with a
    denominator below 10⁶, so that a looser test would find every weight rational.

    Examples
    --------
    >>> rational_shares(np.array([0.3, 0.7]), 10**6)
    [Fraction(3, 10), Fraction(7, 10)]
    >>> rational_shares(np.array([1 / np.pi, 1 - 1 / np.pi]), 10**6) is None
    True
    """
    distinct, inverse = np.unique(weights, return_inverse=True)
    fractions = [Fraction(float(w)).limit_denominator(bound) for w in distinct]
    if any(abs(float(f) - w) > 1e-14 * w for f, w in zip(fractions, distinct, strict=True)):
        return None
    shares = [fractions[i] for i in inverse]
    return shares if sum(shares) == 1 else None


# --- covariances --------------------------------------------------------------------------------------------


def descending_eigenbasis(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues (largest first) and eigenvectors (columns, largest entry positive) of a covariance [N, N].

    Negative eigenvalues are set to 0 if rounding explains them.

    Raises
    ------
    InstanceError
        If an eigenvalue is negative beyond rounding.

    Examples
    --------
    >>> eigenvalues, basis = descending_eigenbasis(np.array([[1.0, 0.0], [0.0, 4.0]]))
    >>> eigenvalues, basis
    (array([4., 1.]), array([[0., 1.],
           [1., 0.]]))
    """
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))]
    scale = float(np.abs(values).max(initial=0.0))
    return nonnegative("covariance", values.copy(), scale), np.asarray(vectors * np.sign(largest) + 0.0)


def nonnegative(where: str, eigenvalues: FloatArray, scale: float) -> FloatArray:
    """Set to 0 what rounding made negative, for a covariance of norm ``scale``.

    Examples
    --------
    >>> nonnegative("covariance", np.array([1.0, -1e-17]), 1.0)
    array([1., 0.])
    """
    rounding = 16 * len(eigenvalues) * np.finfo(np.float64).eps * scale
    if (eigenvalues < -rounding).any():
        raise InstanceError(
            where,
            f"the eigenvalue {eigenvalues.min():.6g} is negative",
            "a covariance is positive semidefinite",
        )
    return np.maximum(eigenvalues, 0.0)


def common_eigenbasis(covariances: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Eigenvalues [K, N] and common eigenvectors (columns) of symmetric covariances [K, N, N]; None if there are none.

    Diagonal covariances are taken as they are. Otherwise the basis is that of a generic combination of the
    covariances (He and Kressner, Randomized joint diagonalization of symmetric matrices; here with fixed
    coefficients), the best of four.

    Raises
    ------
    InstanceError
        If one has a negative eigenvalue.

    Examples
    --------
    >>> c = np.array([[2.0, 1.0], [1.0, 2.0]])
    >>> eigenvalues, basis = common_eigenbasis(np.array([c, c @ c]))
    >>> eigenvalues.round(12)
    array([[3., 1.],
           [9., 1.]])
    >>> common_eigenbasis(np.array([c, np.diag([1.0, 2.0])])) is None
    True
    """
    modes = covariances.shape[1]
    scales = np.linalg.norm(covariances, axis=(1, 2))
    units = covariances / np.where(scales > 0, scales, 1.0)[:, None, None]
    if _clash(units):
        return None
    off_diagonal = ~np.eye(modes, dtype=bool)
    basis, left = np.eye(modes), float(np.abs(units[:, off_diagonal]).max(initial=0.0))
    for trial in range(4 if left > 0 else 0):
        golden = np.modf((np.arange(len(units)) + 1) * (trial + 1) * (math.sqrt(5) - 1) / 2)[0]
        rotation = np.linalg.eigh(np.tensordot(0.5 + golden, units, axes=1))[1]
        remains = float(np.abs((rotation.T @ units @ rotation)[:, off_diagonal]).max(initial=0.0))
        if remains < left:
            basis, left = rotation, remains
    if left > _COMMUTING:
        return None
    values = np.diagonal(basis.T @ covariances @ basis, axis1=1, axis2=2)
    values = np.array([nonnegative(f"covariances[{i}]", v.copy(), scales[i]) for i, v in enumerate(values)])
    if np.array_equal(basis, np.eye(modes)):
        return values, basis
    order = np.argsort(-values.sum(axis=0), kind="stable")
    basis = basis[:, order]
    largest = basis[np.abs(basis).argmax(axis=0), np.arange(modes)]
    return values[:, order], basis * np.sign(largest)


def _clash(units: FloatArray) -> bool:
    """Whether commutators of matrices of norm 1 at most move a fixed vector: cheaper to see than an eigenbasis."""
    vector = np.cos(np.arange(units.shape[1]) + 1.0)
    once = units @ (vector / np.linalg.norm(vector))  # [K, N]
    twice = np.einsum("ijk,lk->ilj", units, once, optimize=True)  # C_i C_l v
    return bool(np.abs(twice - twice.swapaxes(0, 1)).max() > 1e3 * _COMMUTING)


# --- data ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DataMoments:
    """Class means and pooled within-class covariance of data ``(x - offset)/scale``, and its eigenbasis.

    ``means @ basis`` are the means in the eigenbasis, ``z @ basis.T`` brings a vector of modes back to the
    features.

    Parameters
    ----------
    labels : array [K]
        The values of ``y``, increasing.
    probabilities : array [K]
        Class frequencies.
    means : array [K, features]
        Class means.
    covariance : array [features, features]
        Pooled within-class covariance, ``Σ_i p_i C_i`` with ``C_i`` the mean of squares within class ``i``
        (divided by the number of samples: the mixture has exactly the first two moments of the data).
    eigenvalues : array [N]
        Largest first.
    basis : array [features, N]
        Eigenvectors, as columns.
    offset : array [features]
        What was subtracted.
    scale : float
        What was divided by.
    """

    labels: FloatArray
    probabilities: FloatArray
    means: FloatArray
    covariance: FloatArray
    eigenvalues: FloatArray
    basis: FloatArray
    offset: FloatArray
    scale: float


def data_moments(
    X: ArrayLike, y: ArrayLike, *, components: int | None = None, center: bool = True, scale: bool = False
) -> DataMoments:
    """Class means, pooled covariance and eigenbasis of labelled data.

    Parameters
    ----------
    X : array_like [samples, features]
        The data.
    y : array_like [samples]
        Labels, real numbers; at least two classes of two samples each.
    components : int, optional
        Keep only this many leading eigenvectors of the pooled covariance. Default: all.
    center : bool
        Subtract the overall mean (the default).
    scale : bool
        Divide the data by one number, so that the eigenvalues kept have mean 1. Default: keep the data's
        own units.

    Examples
    --------
    >>> moments = data_moments([[0, 0], [2, 0], [4, 1], [6, 1]], [-1, -1, 1, 1])
    >>> moments.eigenvalues, moments.means
    (array([1., 0.]), array([[-2. , -0.5],
           [ 2. ,  0.5]]))
    """
    data, labels, classes = _labelled(X, y)
    features = data.shape[1]
    if components is not None and not 1 <= components <= features:
        raise InstanceError("components", f"{components} is not between 1 and the {features} features of X")
    offset = data.mean(axis=0) if center else np.zeros(features)
    data -= offset
    means = np.array([data[classes == i].mean(axis=0) for i in range(len(labels))])
    within = data - means[classes]
    covariance = within.T @ within / len(data)
    eigenvalues, basis = (a[..., :components] for a in descending_eigenbasis(covariance))
    unit = 1.0
    if scale:
        unit = math.sqrt(eigenvalues.mean())
        if unit == 0:
            raise InstanceError("scale", "the data have no variance within classes", "use scale=False")
    return DataMoments(
        labels=labels,
        probabilities=np.bincount(classes) / len(data),
        means=means / unit,
        covariance=covariance / unit**2,
        eigenvalues=eigenvalues / unit**2,
        basis=np.ascontiguousarray(basis),
        offset=offset,
        scale=unit,
    )


def class_covariances(X: ArrayLike, y: ArrayLike, moments: DataMoments) -> FloatArray:
    """Covariance of each class [K, N, N] in the basis and units of ``moments``.

    Examples
    --------
    >>> X, y = [[0, 0], [2, 0], [4, 1], [10, 1]], [-1, -1, 1, 1]
    >>> class_covariances(X, y, data_moments(X, y))[:, 0, 0].tolist()
    [1.0, 9.0]
    """
    data, labels, classes = _labelled(X, y)
    modes = (data - moments.offset) / moments.scale @ moments.basis
    within = [modes[classes == i] - modes[classes == i].mean(axis=0) for i in range(len(labels))]
    return np.array([w.T @ w / len(w) for w in within])


def _labelled(X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """The data, the distinct labels and the class of each sample."""
    data, targets = real_array("X", X), real_array("y", y)
    if data.ndim != 2 or targets.shape != data.shape[:1]:
        raise InstanceError(
            "y",
            f"shape {targets.shape} does not fit X of shape {data.shape}",
            "give X as [samples, features] and one label a sample",
        )
    labels, classes, counts = np.unique(targets, return_inverse=True, return_counts=True)
    if len(labels) < 2:
        raise InstanceError("y", f"has {len(labels)} distinct label(s)", "give at least two classes")
    if counts.min() < 2:
        few = int(counts.argmin())
        raise InstanceError("y", f"the class {labels[few]:g} has 1 sample", "a class needs at least 2")
    return data, labels, classes
