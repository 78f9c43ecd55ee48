"""A Gaussian mixture in the common eigenbasis of its covariances: what a model is solved or simulated with.

An :class:`Instance` lists modes. A mode is a coordinate of the eigenbasis at finite dimension, or part of
an atom of the spectral measure (theory.md §3): what the limit needs of an atom is its share of the
dimension and the Gram matrix of the fixed vectors (start, teacher, means) within it, so that a few modes
stand for any number of coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from sgdlimit.derive.errors import InstanceError
from sgdlimit.runtime.builders import FixedVectors, build, build_from_law
from sgdlimit.runtime.checks import MAX_DIMENSION, dimension_of, finite_number, mixture_arrays
from sgdlimit.runtime.density import resolve_density
from sgdlimit.runtime.spectra import (
    FloatArray,
    class_covariances,
    common_eigenbasis,
    data_moments,
    decaying_eigenvalues,
    delocalised_rows,
    gram_factor,
    orthonormal_basis,
    rational_shares,
    real_array,
)
from sgdlimit.runtime.spectral_laws import (
    marchenko_pastur_quadrature,
    marchenko_pastur_quantiles,
    power_law_quadrature,
    power_law_quantiles,
)

if TYPE_CHECKING:
    from sgdlimit.runtime.dense import DenseInstance


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Instance:
    """A mixture of ``K`` Gaussians whose covariances commute, in their eigenbasis of ``N`` modes.

    Arrays are kept as read-only float64 copies. ``dataclasses.replace(instance, start=...)`` makes a variant.

    Parameters
    ----------
    probabilities : array_like [K]
        Class probabilities, positive, sum 1.
    eigenvalues : array_like [K, N]
        Covariance eigenvalues of each class; [N] or one number is taken for every class.
    means : array_like [K, N]
        Class means; [N] is taken for every class, 0 is no mean.
    start : array_like [N]
        Where SGD starts; 0 is the origin.
    labels : array_like [K], optional
        Label of each class, for targets that are class labels.
    teacher : array_like [N], optional
        Teacher direction.
    weights : array_like [N], optional
        Share of the dimension of each mode, sum 1. Default: ``1/N`` each.
    dimension : int or inf, optional
        Dimension of the data. Default: N. The weights times a finite dimension are the multiplicities of
        the modes.

    Raises
    ------
    InstanceError
        If the arrays do not describe a mixture; the error names the field.

    Examples
    --------
    >>> Instance(probabilities=[0.5, 0.5], eigenvalues=1.0, means=[[-1, 0], [1, 0]], labels=[-1, 1], start=0)
    Instance(classes=2, modes=2, dimension=2, eigenvalues=1, labels=[-1, 1], |means|=[1, 1], |start|=0)

    Two modes that stand for an isotropic covariance in infinite dimension, the mean along the first:

    >>> limit = Instance(
    ...     probabilities=[1],
    ...     eigenvalues=1.0,
    ...     means=[[2, 0]],
    ...     start=[0.6, 0.8],
    ...     weights=[1, 0],
    ...     dimension=float("inf"),
    ... )
    >>> limit.at_dimension(100).modes
    100
    """

    probabilities: FloatArray
    eigenvalues: FloatArray
    means: FloatArray
    labels: FloatArray | None
    teacher: FloatArray | None
    start: FloatArray
    weights: FloatArray
    dimension: float

    def __init__(
        self,
        *,
        probabilities: ArrayLike,
        eigenvalues: ArrayLike,
        means: ArrayLike,
        start: ArrayLike,
        labels: ArrayLike | None = None,
        teacher: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        dimension: float | None = None,
    ) -> None:
        given = {
            "probabilities": probabilities,
            "eigenvalues": eigenvalues,
            "means": means,
            "start": start,
            "labels": labels,
            "teacher": teacher,
            "weights": weights,
        }
        arrays = mixture_arrays(given)
        modes = arrays["start"].shape[0]
        for name in given:
            array = arrays.get(name)
            if array is not None:
                array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "dimension", modes if dimension is None else dimension_of(dimension, MAX_DIMENSION))
        if self.dimension < modes:
            raise InstanceError(
                "dimension",
                f"{self.dimension} is less than the {modes} modes",
                "a mode is at least one coordinate, or use dimension=inf",
            )

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return len(self.probabilities)

    @property
    def modes(self) -> int:
        """Number of modes N."""
        return len(self.start)

    @property
    def teacher_variances(self) -> FloatArray:
        """``Q*`` of each class: the variance of the teacher's score; zeros without a teacher."""
        teacher = np.zeros(self.modes) if self.teacher is None else self.teacher
        return np.asarray(self.eigenvalues @ teacher**2)

    @property
    def is_finite(self) -> bool:
        """Whether the dimension is finite (an instance at ``dimension=inf`` can be solved, not simulated)."""
        return math.isfinite(self.dimension)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Instance):
            return NotImplemented
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return all((a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in pairs)

    def __hash__(self) -> int:
        values = [getattr(self, f.name) for f in fields(self)]
        return hash(tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in values))

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays come back from a pickle writable; the constructor makes them read-only again.
        return _rebuilt, ({f.name: getattr(self, f.name) for f in fields(self)},)

    def __repr__(self) -> str:
        low, high = self.eigenvalues.min(), self.eigenvalues.max()
        parts = [
            f"classes={self.classes}",
            f"modes={self.modes}",
            f"dimension={self.dimension}",
            f"eigenvalues={low:.4g}" + (f"..{high:.4g}" if high > low else ""),
        ]
        if self.labels is not None:
            parts.append(f"labels={_listed(self.labels)}")
        if self.means.any():
            parts.append(f"|means|={_listed(np.linalg.norm(self.means, axis=1))}")
        if self.teacher is not None:
            parts.append(f"|teacher|={np.linalg.norm(self.teacher):.4g}")
        parts.append(f"|start|={np.linalg.norm(self.start):.4g}")
        return f"Instance({', '.join(parts)})"

    def _repr_html_(self) -> str:
        from sgdlimit.runtime.display import instance_html

        return instance_html(self)

    def at_dimension(self, d: float) -> Instance:
        """The instance of dimension ``d`` that has exactly the same limit.

        Each group of modes with equal eigenvalues in every class is spread over its share of the ``d``
        coordinates, deterministically and evenly, and the Gram matrix of start, teacher and means within it
        is kept (to rounding).

        Parameters
        ----------
        d : int or inf
            The dimension. At ``inf`` each group is merged into as few modes as its Gram matrix needs.

        Returns
        -------
        Instance
            At finite ``d``, of ``d`` modes with weights ``1/d``.

        Raises
        ------
        InstanceError
            If a group's share of ``d`` is not a whole number, or too small to hold its vectors; the error
            names the nearest dimensions that will do.

        Examples
        --------
        >>> small = Instance(probabilities=[1], eigenvalues=[2, 1], means=0, teacher=[3, 4], start=0)
        >>> large = small.at_dimension(6)
        >>> large.eigenvalues.tolist(), float((large.teacher[:3] ** 2).sum().round(12))
        ([[2.0, 2.0, 2.0, 1.0, 1.0, 1.0]], 9.0)
        >>> try:
        ...     small.at_dimension(7)
        ... except InstanceError as error:
        ...     print(error.remedy)
        the nearest admissible dimensions are 6 and 8
        """
        d = dimension_of(d)
        if not math.isfinite(d):
            return self._merged()
        shares = self._shares(d)
        if all(share * d == 1 for share in shares):
            return self if self.dimension == d else self._with(self._vectors(), self.eigenvalues, None, d)
        groups, factors = self._groups()
        sizes = self._sizes(int(d), shares, groups, [factor.shape[1] for factor in factors])
        spread = [
            factor @ delocalised_rows(factor.shape[1], size)
            for factor, size in zip(factors, sizes, strict=True)
            if size > 0
        ]
        columns = np.repeat([group[0] for group in groups], sizes)
        return self._with(np.hstack(spread), self.eigenvalues[:, columns], None, d)

    def lumped(self, d: float | None = None) -> Instance:
        """The instance of dimension ``d`` in as few modes as streaming SGD needs (``docs/theory.md`` §8).

        Of each group of modes with equal eigenvalues in every class, the span of teacher and means is kept as modes of
        one coordinate, and all the rest is one mode, of weight its number of coordinates over ``d``, in which of the
        fixed vectors the start alone has a component. The limit is the same exactly. What :func:`simulate_lumped
        <sgdlimit.runtime.lumped.simulate_lumped>` simulates; itself where it is so already.

        Parameters
        ----------
        d : int, optional
            The dimension; the instance's own unless given.

        Raises
        ------
        InstanceError
            For an infinite dimension, or an inadmissible one, as in :meth:`at_dimension`.

        Examples
        --------
        >>> small = Instance.zero_one(40, fraction=0.25, start_norm=1.0)
        >>> large = small.lumped(10**9)
        >>> large.modes, (large.weights * large.dimension).round().tolist()
        (4, [1.0, 249999999.0, 1.0, 749999999.0])
        >>> large.lumped() is large
        True
        """
        return self.lumped_beside(d)[0]

    def lumped_beside(self, d: float | None = None, point: FloatArray | None = None) -> tuple[Instance, FloatArray]:
        """The same with the span of a ``point`` [N] kept too, and the point in the modes that there are then."""
        d = dimension_of(self.dimension if d is None else d, MAX_DIMENSION)
        if not math.isfinite(d):
            raise InstanceError(
                "dimension", "it is infinite, and streaming SGD has a finite one", "use instance.lumped(d)"
            )
        point = np.zeros(self.modes) if point is None else point
        fixed = np.vstack([*self._vectors()[1:], point])
        if self.dimension == d and self._is_lumped(fixed):
            return self, point
        shares, groups = self._shares(d), self._alike()
        rows = np.vstack([self.start, fixed])
        sizes = self._sizes(int(d), shares, groups, [len(orthonormal_basis(rows[:, group])) for group in groups])
        blocks: list[FloatArray] = []
        counts: list[int] = []
        columns: list[int] = []
        for group, size in zip(groups, sizes, strict=True):
            own = rows[:, group]
            basis = orthonormal_basis(own[1:])
            block = own @ basis.T
            left = size - len(basis)
            if left > 0:
                rest = own[0] - block[0] @ basis
                lump = np.zeros((len(rows), 1))
                lump[0] = np.linalg.norm(rest - (rest @ basis.T) @ basis)
                block = np.hstack([block, lump])
            blocks.append(block)
            counts += [1] * len(basis) + [left] * (left > 0)
            columns += [group[0]] * block.shape[1]
        vectors = np.hstack(blocks)
        few = self._with(vectors[:-1], self.eigenvalues[:, columns], np.array(counts) / d, d)
        return few, np.ascontiguousarray(vectors[-1])

    def _is_lumped(self, fixed: FloatArray) -> bool:
        """Whether each mode is one coordinate, or several in which ``fixed`` is 0, and a group has few of them."""
        counts = self._counts()
        if counts is None or (counts < 1).any():
            return False
        enough = int(np.count_nonzero(fixed.any(axis=1))) + 1
        return not fixed[:, counts > 1].any() and all(len(group) <= enough for group in self._alike())

    def _counts(self) -> FloatArray | None:
        """Coordinates of each mode, where the weights say whole numbers of them."""
        if not self.is_finite:
            return None
        counts = self.weights * self.dimension
        whole = np.round(counts)
        fits = np.abs(counts - whole) <= 1e-9 + 1e-12 * counts
        return whole if fits.all() and whole.sum() == self.dimension else None

    def _shares(self, d: float) -> list[Fraction]:
        """The weights as fractions, for a finite dimension."""
        counts = self._counts()
        if counts is not None:
            distinct = {float(count): Fraction(int(count), int(self.dimension)) for count in np.unique(counts)}
            return [distinct[float(count)] for count in counts]
        shares = rational_shares(self.weights, 10**6 if not self.is_finite else max(10**6, self.modes))
        if shares is None:
            raise InstanceError(
                "dimension",
                f"no finite dimension (here {d}) has the same limit, the weights are not rational",
                "build the instance at that dimension, or solve it at dimension=inf",
            )
        return shares

    def _sizes(self, d: int, shares: list[Fraction], groups: list[list[int]], ranks: list[int]) -> list[int]:
        """Coordinates of each group at an admissible dimension."""
        totals = [sum((shares[j] for j in group), Fraction(0)) for group in groups]
        self._check_admissible(d, groups, totals, ranks)
        return [int(total * d) for total in totals]

    def _vectors(self) -> FloatArray:
        """The fixed vectors as rows: start, means, and the teacher if there is one."""
        return np.vstack([self.start, self.means, *([] if self.teacher is None else [self.teacher])])

    def _with(self, vectors: FloatArray, eigenvalues: FloatArray, weights: FloatArray | None, d: float) -> Instance:
        """The same classes with other modes; ``vectors`` as in :meth:`_vectors`."""
        k = self.classes
        return Instance(
            probabilities=self.probabilities,
            eigenvalues=eigenvalues,
            means=vectors[1 : k + 1],
            labels=self.labels,
            teacher=None if self.teacher is None else vectors[k + 1],
            start=vectors[0],
            weights=weights,
            dimension=d,
        )

    def _groups(self) -> tuple[list[list[int]], list[FloatArray]]:
        """Modes with exactly the same eigenvalues in every class, and the factors of their Gram matrices."""
        groups, vectors = self._alike(), self._vectors()
        return groups, [gram_factor(vectors[:, group]) for group in groups]

    def _alike(self) -> list[list[int]]:
        """Modes with exactly the same eigenvalues in every class."""
        groups: dict[bytes, list[int]] = {}
        for j, column in enumerate(np.ascontiguousarray(self.eigenvalues.T)):
            groups.setdefault(column.tobytes(), []).append(j)
        return list(groups.values())

    def _merged(self) -> Instance:
        """The limit itself: each group as few modes, the first of which bears its share of the dimension."""
        blocks: list[FloatArray] = []
        weights: list[float] = []
        columns: list[int] = []
        for group, factor in zip(*self._groups(), strict=True):
            share = math.fsum(self.weights[group])
            if factor.shape[1] == 0 and share == 0:
                continue
            block = factor if factor.shape[1] else np.zeros((factor.shape[0], 1))
            blocks.append(block)
            columns += [group[0]] * block.shape[1]
            weights += [share] + [0.0] * (block.shape[1] - 1)
        return self._with(np.hstack(blocks), self.eigenvalues[:, columns], np.array(weights), math.inf)

    def _check_admissible(self, d: int, groups: list[list[int]], totals: list[Fraction], ranks: list[int]) -> None:
        """Every group needs a whole number of coordinates, and as many as its Gram matrix has rank."""
        reason = ""
        for group, total, rank in zip(groups, totals, ranks, strict=True):
            modes = f"the modes of eigenvalue {_listed(self.eigenvalues[:, group[0]], brackets=self.classes > 1)}"
            if total == 0 and rank > 0:
                raise InstanceError(
                    "dimension",
                    f"{d} is inadmissible: {modes} have weight 0, so no coordinates, but "
                    "nonzero components of start, teacher or means",
                    "give them a weight",
                )
            if (total * d).denominator != 1:
                reason = reason or f"{modes} have a share {total} of it, not a whole number of coordinates"
            elif total * d < rank:
                reason = reason or (
                    f"{modes} would have {_counted(int(total * d), 'coordinate')}, "
                    f"but start, teacher and means need {rank}"
                )
        if not reason:
            return
        unit = math.lcm(*(total.denominator for total in totals))
        needed = max((rank / total for total, rank in zip(totals, ranks, strict=True) if rank > 0), default=Fraction(1))
        smallest = unit * math.ceil(needed / unit)
        below = d // unit * unit
        if below < smallest:
            remedy = f"the smallest admissible dimension is {smallest}"
        else:
            remedy = f"the nearest admissible dimensions are {below} and {below + unit}"
        raise InstanceError("dimension", f"{d} is inadmissible: {reason}", remedy)

    # --- builders -------------------------------------------------------------------------------------------

    @classmethod
    def isotropic(cls, d: float, *, eigenvalue: ArrayLike = 1.0, **vectors: Unpack[FixedVectors]) -> Instance:
        """Covariance ``eigenvalue * Id``.

        Parameters
        ----------
        d : int or inf
            Dimension.
        eigenvalue : float or array_like [K]
            The eigenvalue, of every class or of each.
        **vectors
            Classes, start, teacher and means: see :class:`~sgdlimit.runtime.builders.FixedVectors`.

        Examples
        --------
        >>> Instance.isotropic(400, teacher_norm=2.0, start_norm=1.0, start_overlap=0.5)
        Instance(classes=1, modes=400, dimension=400, eigenvalues=1, |teacher|=2, |start|=1)
        >>> Instance.isotropic(float("inf"), labels=[-1, 1], mean_norm=1.5, teacher=None)
        Instance(classes=2, modes=1, dimension=inf, eigenvalues=1, labels=[-1, 1], |means|=[1.5, 1.5], \
|start|=0)
        """
        values = real_array("eigenvalue", eigenvalue)
        if values.ndim > 1:
            raise InstanceError("eigenvalue", f"shape {values.shape} is neither one number nor one a class")
        return build(cls, values.reshape(-1, 1), np.ones(1), d, vectors)

    @classmethod
    def power_law(
        cls, d: float, *, exponent: float, nodes: int | None = None, **vectors: Unpack[FixedVectors]
    ) -> Instance:
        """Spectral density ∝ λ^{-exponent} on (0, 1].

        Parameters
        ----------
        d : int or inf
            Dimension. At finite ``d`` the eigenvalues are the ``d`` midpoint quantiles.
        exponent : float
            Less than 1.
        nodes : int, optional
            At ``d = inf``: number of Gauss–Jacobi nodes, 200 by default. ``n`` nodes integrate moments below
            ``2n`` exactly, and resolve eigenvalues of order ``1/n²``.
        **vectors
            Classes, start, teacher and means: see :class:`~sgdlimit.runtime.builders.FixedVectors`.

        Examples
        --------
        >>> Instance.power_law(100, exponent=0.5)
        Instance(classes=1, modes=100, dimension=100, eigenvalues=2.5e-05..0.99, |teacher|=1, |start|=0)
        >>> Instance.power_law(float("inf"), exponent=0.5, nodes=20).modes
        20
        """
        exponent = finite_number("exponent", exponent)
        if exponent >= 1:
            raise InstanceError("exponent", f"{exponent:g} is not below 1, so λ^-{exponent:g} has no finite integral")
        return build_from_law(
            cls,
            d,
            nodes,
            lambda modes: power_law_quantiles(modes, exponent),
            lambda count: power_law_quadrature(count, exponent),
            vectors,
        )

    @classmethod
    def marchenko_pastur(
        cls, d: float, *, ratio: float, scale: float = 1.0, nodes: int | None = None, **vectors: Unpack[FixedVectors]
    ) -> Instance:
        """The law of Marchenko and Pastur: eigenvalues of ``XᵀX/n`` for ``n`` samples of ``N(0, scale Id_d)``.

        Its support is ``scale (1 ± √ratio)²`` and its mean ``scale``; ``ratio > 1`` adds an atom at 0 of mass
        ``1 - 1/ratio``.

        Parameters
        ----------
        d : int or inf
            Dimension. At finite ``d`` the eigenvalues are the ``d`` midpoint quantiles, not random.
        ratio : float
            ``d/n``, positive.
        scale : float
            Mean eigenvalue, positive. Default: 1.
        nodes : int, optional
            At ``d = inf``: number of Gauss nodes, 200 by default, and the atom.
        **vectors
            Classes, start, teacher and means: see :class:`~sgdlimit.runtime.builders.FixedVectors`.

        Examples
        --------
        >>> Instance.marchenko_pastur(1000, ratio=0.25)
        Instance(classes=1, modes=1000, dimension=1000, eigenvalues=0.2535..2.235, |teacher|=1, |start|=0)
        >>> limit = Instance.marchenko_pastur(float("inf"), ratio=4.0)
        >>> limit.modes, float(limit.eigenvalues.min()), float(limit.weights[-1])
        (201, 0.0, 0.75)
        """
        ratio, scale = finite_number("ratio", ratio), finite_number("scale", scale)
        for name, value in (("ratio", ratio), ("scale", scale)):
            if value <= 0:
                raise InstanceError(name, f"{value:g} is not positive")

        def quadrature(count: int) -> tuple[FloatArray, FloatArray]:
            eigenvalues, weights = marchenko_pastur_quadrature(count, ratio)
            return scale * eigenvalues, weights

        return build_from_law(
            cls, d, nodes, lambda modes: scale * marchenko_pastur_quantiles(modes, ratio), quadrature, vectors
        )

    @classmethod
    def from_density(
        cls,
        d: float,
        *,
        density: str | Callable[[float], float],
        support: Sequence[float],
        nodes: int | None = None,
        **vectors: Unpack[FixedVectors],
    ) -> Instance:
        """A spectral density of one's own on an interval.

        Parameters
        ----------
        d : int or inf
            Dimension. At finite ``d`` the eigenvalues are the ``d`` midpoint quantiles.
        density : str or callable
            An expression in ``lam``, or a function of one number; not negative, its integral finite (it need not be 1).
            Kinks and jumps may be anywhere, singularities at the ends of the support alone.
        support : pair of float
            The interval, finite and not below 0.
        nodes : int, optional
            At ``d = inf``: number of Gauss nodes, 200 by default.
        **vectors
            Classes, start, teacher and means: see :class:`~sgdlimit.runtime.builders.FixedVectors`.

        Raises
        ------
        InstanceError, ExpressionError
            If it is not such a density.

        Examples
        --------
        >>> limit = Instance.from_density(float("inf"), density="lam*exp(-lam)", support=[0, 40], nodes=20)
        >>> round(float(limit.weights @ limit.eigenvalues[0] ** 3), 9)  # of the density λ e^-λ: 4!
        24.0
        >>> Instance.from_density(1000, density=lambda value: 1 - abs(value - 1), support=[0, 2])
        Instance(classes=1, modes=1000, dimension=1000, eigenvalues=0.03162..1.968, |teacher|=1, |start|=0)
        """
        law = resolve_density(density, support)
        return build_from_law(cls, d, nodes, law.quantiles, law.quadrature, vectors)

    @classmethod
    def decaying(cls, d: float, *, exponent: float, **vectors: Unpack[FixedVectors]) -> Instance:
        """Eigenvalues ``λ_j ∝ j^{-exponent}`` with mean 1.

        Parameters
        ----------
        d : int
            Dimension, finite: there is no limiting spectrum.
        exponent : float
            The decay.
        **vectors
            Classes, start, teacher and means: see :class:`~sgdlimit.runtime.builders.FixedVectors`.

        Examples
        --------
        >>> Instance.decaying(1000, exponent=1.2)
        Instance(classes=1, modes=1000, dimension=1000, eigenvalues=0.05793..230.6, |teacher|=1, |start|=0)
        """
        d = dimension_of(d)
        if not math.isfinite(d):
            raise InstanceError("dimension", "decaying eigenvalues have no limiting spectrum", "give a finite d")
        eigenvalues = decaying_eigenvalues(int(d), finite_number("exponent", exponent))
        return build(cls, eigenvalues[None], np.full(int(d), 1 / d), d, vectors)

    @classmethod
    def zero_one(cls, d: float, *, fraction: float, **vectors: Unpack[FixedVectors]) -> Instance:
        """A share ``fraction`` of the eigenvalues is 1, the others are 0.

        Start, teacher and means have the same share of their squared norms in the two subspaces.

        Parameters
        ----------
        d : int or inf
            Dimension.
        fraction : float
            Share of the ones, in (0, 1].
        **vectors
            Classes, start, teacher and means: see :class:`~sgdlimit.runtime.builders.FixedVectors`.

        Examples
        --------
        >>> float(Instance.zero_one(400, fraction=0.25).eigenvalues.sum())
        100.0
        >>> Instance.zero_one(float("inf"), fraction=0.25).weights
        array([0.25, 0.75])
        """
        fraction = finite_number("fraction", fraction)
        if not 0 < fraction <= 1:
            raise InstanceError("fraction", f"{fraction:g} is not in (0, 1]")
        weights = np.array([fraction, 1 - fraction])
        atoms = weights > 0
        return build(cls, np.array([[1.0, 0.0]])[:, atoms], weights[atoms], d, vectors)

    @classmethod
    def from_covariances(
        cls,
        covariances: ArrayLike,
        means: ArrayLike,
        *,
        probabilities: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        teacher: ArrayLike | None = None,
        start: ArrayLike = 0.0,
    ) -> Instance | DenseInstance:
        """Covariance matrices, brought to their common eigenbasis if they commute.

        Diagonal covariances keep their basis and order; otherwise the largest eigenvalues come first. Covariances
        that do not commute make a :class:`~sgdlimit.runtime.dense.DenseInstance`, in the basis that they are given in.

        Parameters
        ----------
        covariances : array_like [K, d, d]
            Covariance of each class; [d, d] is taken for every class.
        means : array_like [K, d]
            Class means, or 0.
        probabilities : array_like [K], optional
            Default: equal ones.
        labels : array_like [K], optional
            Class labels.
        teacher, start : array_like [d], optional
            In the same basis as the covariances. Default: no teacher, start at 0.

        Returns
        -------
        Instance or DenseInstance

        Raises
        ------
        InstanceError
            If the covariances are not symmetric or have a negative eigenvalue.

        Examples
        --------
        >>> c = [[2, 1], [1, 2]]
        >>> Instance.from_covariances([c, [[1, 0], [0, 1]]], means=[[1, 1], [-1, -1]]).eigenvalues.round(12)
        array([[3., 1.],
               [1., 1.]])
        >>> Instance.from_covariances([c, [[1, 0], [0, 2]]], means=[[1, 1], [-1, -1]])
        DenseInstance(classes=2, dimension=2, mean eigenvalues=[2, 1.5], |means|=[1.414, 1.414], |start|=0)
        """
        from sgdlimit.runtime.dense import DenseInstance, symmetric_matrices

        matrices = symmetric_matrices(covariances)
        centres = real_array("means", means)
        if matrices.ndim == 2:
            given: list[ArrayLike] = [a for a in (probabilities, labels) if a is not None]
            count = centres.shape[0] if centres.ndim == 2 else max([1, *(np.size(a) for a in given)])
            matrices = np.broadcast_to(matrices, (count, *matrices.shape))
        shares = np.full(len(matrices), 1 / len(matrices)) if probabilities is None else probabilities
        common = common_eigenbasis(matrices)
        if common is None:
            return DenseInstance(
                probabilities=shares, covariances=matrices, means=centres, labels=labels, teacher=teacher, start=start
            )
        eigenvalues, basis = common
        rotated = {"means": centres, "start": real_array("start", start)}
        if teacher is not None:
            rotated["teacher"] = real_array("teacher", teacher)
        for name, array in rotated.items():
            if array.ndim and array.shape[-1] != basis.shape[0]:
                raise InstanceError(name, f"shape {array.shape} does not fit covariances of shape {matrices.shape}")
            rotated[name] = array @ basis if array.ndim else array
        return cls(
            probabilities=shares,
            eigenvalues=eigenvalues,
            means=rotated["means"],
            labels=labels,
            teacher=rotated.get("teacher"),
            start=rotated["start"],
        )

    @classmethod
    def from_data(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        start: ArrayLike = 0.0,
        pooled: bool = True,
        components: int | None = None,
        center: bool = True,
        scale: bool = False,
    ) -> Instance | DenseInstance:
        """The Gaussian mixture with the class frequencies, class means and covariance of labelled data.

        The modes are the eigenvectors of the pooled within-class covariance, the largest eigenvalue first;
        :func:`sgdlimit.runtime.spectra.data_moments` gives them, to bring a result back to the features.

        Parameters
        ----------
        X : array_like [samples, features]
            The data.
        y : array_like [samples]
            Labels, real numbers (they become the labels of the classes, increasing); at least two classes.
        start : array_like [features], optional
            Where SGD starts, in the basis of the features. Default: 0.
        pooled : bool
            Give every class the pooled covariance (the default), or its own: those make a
            :class:`~sgdlimit.runtime.dense.DenseInstance`, in the basis of the pooled one's eigenvectors, unless they
            commute.
        components : int, optional
            Keep only this many leading eigenvectors. Default: all, directions without variance too.
        center : bool
            Subtract the overall mean (the default).
        scale : bool
            Divide the data by one number, so that the eigenvalues kept have mean 1. Default: the data's own
            units.

        Examples
        --------
        >>> Instance.from_data([[0, 0], [2, 0], [4, 1], [6, 1]], [-1, -1, 1, 1])
        Instance(classes=2, modes=2, dimension=2, eigenvalues=0..1, labels=[-1, 1], |means|=[2.062, 2.062], \
|start|=0)
        """
        moments = data_moments(X, y, components=components, center=center, scale=scale)
        origin = real_array("start", start)
        if origin.ndim and origin.shape != moments.offset.shape:
            raise InstanceError("start", f"shape {origin.shape} does not fit X with {len(moments.offset)} features")
        means = moments.means @ moments.basis
        origin = origin @ moments.basis if origin.ndim else origin
        if not pooled:
            return cls.from_covariances(
                class_covariances(X, y, moments),
                means,
                probabilities=moments.probabilities,
                labels=moments.labels,
                start=origin,
            )
        return cls(
            probabilities=moments.probabilities,
            eigenvalues=moments.eigenvalues,
            means=means,
            labels=moments.labels,
            start=origin,
        )


def _rebuilt(values: dict[str, Any]) -> Instance:
    return Instance(**values)


def _listed(values: FloatArray, brackets: bool = True) -> str:
    text = ", ".join(f"{v:.4g}" for v in values[:6]) + (", ..." if len(values) > 6 else "")
    return f"[{text}]" if brackets else text


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
