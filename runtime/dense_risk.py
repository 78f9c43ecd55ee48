"""The adversarial risk as a function of the iterate, for covariances that do not commute (docs/theory.md §5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.kernel import Kernel
from sgdlimit.runtime.risk import Evaluation, Risk

Array = NDArray[np.float64]

_FLAT = 1e-13  # of the largest eigenvalue: below it a direction has neither variance nor mean


class DenseRisk(Risk):
    """ℛ of a dense instance, on the directions that it depends on: those in which a class has variance or a mean.

    Parameters
    ----------
    kernel : Kernel
    instance : DenseInstance
    parameters : array [P, K]
        In the kernel's order.
    """

    def __init__(self, kernel: Kernel, instance: DenseInstance, parameters: Array) -> None:
        K, d = instance.classes, instance.dimension
        self.basis = _seen(instance)  # [d, N], or None for all directions
        teacher = np.zeros(d) if instance.teacher is None else instance.teacher
        labels = np.zeros(K) if instance.labels is None else instance.labels
        if self.basis is None:
            self.covariances, means = instance.covariances, instance.means
        else:
            self.covariances = self.basis.T @ instance.covariances @ self.basis
            means, teacher = instance.means @ self.basis, teacher @ self.basis
        self._set_up(kernel, instance.probabilities, means, labels, teacher, parameters)

    def image(self, i: int, w: Array) -> Array:
        """``C_i w``."""
        found: Array = self.covariances[i] @ w
        return found

    def mean_eigenvalue(self) -> float:
        """Of all classes."""
        return float(self.p @ np.trace(self.covariances, axis1=1, axis2=2)) / len(self.teacher)

    def spread(self, i: int, variance: Array) -> float:
        """``tr(C_i V)``."""
        return float(np.vdot(self.covariances[i], variance))

    def whole(self, x: Array) -> Array:
        """A vector in the coordinates of the instance, 0 in directions left out."""
        return x if self.basis is None else self.basis @ x

    def newton(self, at: Evaluation) -> tuple[Array, bool]:
        """A step of Newton's method with every curvature made positive, and whether all of them were."""
        weights, ridge = self._curvatures(at)
        U, S = self._low_rank(at)
        with np.errstate(all="ignore"):
            hessian = np.tensordot(weights, self.covariances, 1) + U @ S @ U.T
        hessian[np.diag_indices(len(hessian))] += ridge
        if not np.isfinite(hessian).all():
            return -at.gradient / (at.size or 1.0), False
        values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
        largest = float(np.max(np.abs(values), initial=0.0))
        inverse = 1 / np.maximum(np.abs(values), 1e-14 * largest or 1.0)
        return -vectors @ (inverse * (vectors.T @ at.gradient)), bool((values > -1e-6 * largest).all())


def _seen(instance: DenseInstance) -> Array | None:
    """A basis of the directions in which a class has variance or a mean; None where those are all, or none."""
    total = instance.covariances.sum(axis=0) + instance.means.T @ instance.means
    values, vectors = np.linalg.eigh(total)
    kept = values > _FLAT * values[-1]
    return None if kept.all() or not kept.any() else np.ascontiguousarray(vectors[:, kept])
