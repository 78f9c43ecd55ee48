"""The equations of covariances that do not commute: ``x ∈ R^d`` and ``V ∈ R^{d×d}`` (``docs/theory.md`` §3.9).

The loss enters through the kernel's coefficients alone, which are functions of a class's summary; the matrices are
NumPy's and BLAS's. A right-hand side is one product of matrices, ``H V``, and a pass or two over the covariances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgdlimit.codegen.library.problem import Problem, StepKind
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.kernel import Kernel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """What risks and coefficients are functions of (§2.4): scalars, and arrays ``[K]``; every one a direct sum.

    ``trace`` is that of V; ``along`` and ``across`` are the components of ``x`` along the teacher and across it.
    """

    norm2: float
    distance2: float
    trace: float
    teacher_norm: float
    along: float
    across: float
    m: Array
    m_star: Array
    dm: Array
    beta: Array
    beta1: Array
    Q: Array
    Q_star: Array
    Q_perp: Array


@dataclass(frozen=True)
class Flow:
    """What moves the iterate at a state: ``dx = −γ drift``, ``dV = −γ (HV + VH) + (γ²/d) noise``.

    Parameters
    ----------
    drift : array [d]
        ``h + H x``: the gradient of the risk, the ridge's included.
    hessian : array [d, d]
        ``H = Σ_i p_i B_i C_i + (F/n + τ) Id``.
    product : array [d, d]
        ``H V``.
    noise : array [d, d]
        ``Σ_i p_i I_i C_i``.
    """

    drift: Array
    hessian: Array
    product: Array
    noise: Array

    @property
    def risk_descent(self) -> float:
        """``S`` of ``dℛ/dt = −γ S + γ² W``: ``‖h + Hx‖² + tr(H² V)``."""
        return float(self.drift @ self.drift + np.vdot(self.hessian, self.product))

    @property
    def risk_noise(self) -> float:
        """``W`` of ``dℛ/dt = −γ S + γ² W``: ``tr(H Σ_i p_i I_i C_i)/(2d)``."""
        return float(np.vdot(self.hessian, self.noise)) / (2 * len(self.drift))

    @property
    def noise_rate(self) -> float:
        """``tr(Σ_i p_i I_i C_i)/d``: what γ² is multiplied by in ``d tr(V)/dt``."""
        return float(np.trace(self.noise)) / len(self.drift)

    def distance_descent(self, displacement: Array) -> float:
        """``⟨x − X°, h + Hx⟩ + tr(HV)``: half of ``φ₁`` for ``φ = ‖X − X°‖²``, given ``x − X°``."""
        return float(displacement @ self.drift + np.trace(self.product))


@dataclass(frozen=True)
class Slope:
    """The same of an iterate, whose score law is exact: there ``x = X`` and ``V = 0``.

    Parameters
    ----------
    drift : array [d]
        ``h + H X``.
    risk_noise, noise_rate : float
        As of :class:`Flow`, from traces of products of covariances.
    """

    drift: Array
    risk_noise: float
    noise_rate: float

    @property
    def risk_descent(self) -> float:
        """``S``: ``‖h + HX‖²``."""
        return float(self.drift @ self.drift)

    def distance_descent(self, displacement: Array) -> float:
        """``⟨X − X°, h + HX⟩``."""
        return float(displacement @ self.drift)


@dataclass(frozen=True)
class DenseDynamics:
    """A model on a dense instance, with numbers for its parameters.

    States are a vector ``e = x − X*`` and a symmetric matrix ``V``; ``X* = 0`` where there is no teacher.

    Parameters
    ----------
    kernel : Kernel
    instance : DenseInstance
    parameters : array [P, K]
        In the kernel's order.
    """

    kernel: Kernel
    instance: DenseInstance
    parameters: Array
    teacher: Array
    labels: Array
    teacher_images: Array  # [K, d]: C_i X*
    flat: Array  # [K, d²]: a view of the covariances
    traces_of_products: Array  # [1 + K, K]: tr C_k, then tr C_i C_k

    @classmethod
    def of(cls, kernel: Kernel, instance: DenseInstance, parameters: Array) -> DenseDynamics:
        """With what depends on the instance alone."""
        teacher = np.zeros(instance.dimension) if instance.teacher is None else instance.teacher
        labels = np.zeros(instance.classes) if instance.labels is None else instance.labels
        images = instance.covariances @ teacher
        flat = instance.covariances.reshape(instance.classes, -1)
        single = np.trace(instance.covariances, axis1=1, axis2=2)
        traces = np.vstack([single, flat @ flat.T])
        return cls(kernel, instance, np.ascontiguousarray(parameters), teacher, labels, images, flat, traces)

    @property
    def tau(self) -> float:
        """The ridge."""
        return float(self.parameters[self.kernel.parameters.index("tau"), 0])

    def traces(self, V: Array) -> Array:
        """``tr(C_i V)`` of each class; what rounding left of 0 is 0."""
        return np.maximum(self.flat @ V.ravel(), 0)

    def summary(self, e: Array, V: Array) -> Summary:
        """Of a state. Sums of terms of one sign wherever a difference would cancel (§2.4)."""
        return self._summary(e, float(np.trace(V)), self.traces(V))

    def _summary(self, e: Array, trace: float = 0.0, spread: Array | float = 0.0) -> Summary:
        """``spread`` is ``tr(C_i V)`` of each class."""
        instance, teacher = self.instance, self.teacher
        x = teacher + e
        Q_star = instance.teacher_variances
        safe = np.where(Q_star > 0, Q_star, 1.0)
        beta = np.where(Q_star > 0, self.teacher_images @ x / safe, 0.0)
        beta1 = np.where(Q_star > 0, self.teacher_images @ e / safe, -1.0)

        def quadratic(C: Array, w: Array) -> float:
            return max(float(w @ (C @ w)), 0.0)

        across = np.array([quadratic(C, e - b * teacher) for C, b in zip(instance.covariances, beta1, strict=True)])
        whole = np.array([quadratic(C, x) for C in instance.covariances])
        size = float(np.linalg.norm(teacher))
        direction = teacher / size if size > 0 else teacher
        # from x or from x − X*, whichever is shorter: exact at X = 0, and as exact as doubles are at X*
        near, offset = (e, size) if e @ e < x @ x else (x, 0.0)
        component = float(near @ direction)
        return Summary(
            norm2=float(x @ x) + trace,
            distance2=float(e @ e) + trace,
            trace=trace,
            teacher_norm=size,
            along=offset + component,
            across=float(np.linalg.norm(near - component * direction)),
            m=instance.means @ x,
            m_star=instance.means @ teacher,
            dm=instance.means @ e,
            beta=beta,
            beta1=beta1,
            Q=whole + spread,
            Q_star=Q_star,
            Q_perp=across + spread,
        )

    def coefficients(self, summary: Summary) -> dict[str, Array]:
        """``R, A, B, D, F, I`` of each class, by name."""
        n = math.sqrt(summary.norm2)
        found = []
        for i in range(self.instance.classes):
            score = [n if name == "n" else getattr(summary, name)[i] for name in self.kernel.score]
            found.append(self.kernel.evaluate_coefficients(np.array(score), self.labels[i], self.parameters[:, i]))
        return dict(zip(self.kernel.coefficients, np.array(found).T, strict=True))

    def flow(self, e: Array, V: Array) -> Flow:
        """What moves the iterate at a state."""
        p, d = self.instance.probabilities, len(e)
        of, shrinkage = self._at(self.summary(e, V))
        hessian, noise = (np.array([p * of["B"], p * of["I"]]) @ self.flat).reshape(2, d, d)
        hessian[np.diag_indices(d)] += shrinkage
        return Flow(self._offset(of, shrinkage) + hessian @ e, hessian, hessian @ V, noise)

    def slope(self, e: Array) -> Slope:
        """What step sizes ask about an iterate: no matrix is formed."""
        p, d = self.instance.probabilities, len(e)
        of, shrinkage = self._at(self._summary(e))
        drift = self._offset(of, shrinkage) + shrinkage * e
        for weight, C in zip(p * of["B"], self.instance.covariances, strict=True):
            drift += weight * (C @ e)
        traces = self.traces_of_products @ (p * of["I"])  # of Σ p I C, then of C_i Σ p I C
        of_hessian = shrinkage * traces[0] + (p * of["B"]) @ traces[1:]
        return Slope(drift, float(of_hessian) / (2 * d), float(traces[0]) / d)

    def _at(self, summary: Summary) -> tuple[dict[str, Array], float]:
        """Coefficients, and ``F/n + τ``."""
        of = self.coefficients(summary)
        shrinkage = self.tau
        if summary.norm2 > 0:  # F x/n := 0 at n = 0
            shrinkage += float(self.instance.probabilities @ of["F"]) / math.sqrt(summary.norm2)
        return of, shrinkage

    def _offset(self, of: dict[str, Array], shrinkage: float) -> Array:
        """``h + H X*``: around the teacher, where ``B + D`` is one coefficient (§3.3)."""
        p = self.instance.probabilities
        drift: Array = (p * of["A"]) @ self.instance.means + (p * (of["B"] + of["D"])) @ self.teacher_images
        return drift + shrinkage * self.teacher

    def statistics(self, time: float, summary: Summary, gamma: float, from_optimum: float | None = None) -> Array:
        """The kernel's statistics, in its order, at a state of this summary, its mean ``‖x − X°‖`` from the optimum."""
        problem = stand_in(
            summary, self.instance.probabilities, self.labels, self.parameters, time, gamma, from_optimum
        )
        return np.asarray(self.kernel.solve(problem).statistics[0, 0])


_TINY = 2.0**-200
"""Of a stand-in's components that eigenvalues of 2^400 magnify: their squares vanish beside any norm."""


def stand_in(
    summary: Summary,
    probabilities: Array,
    labels: Array,
    parameters: Array,
    time: float,
    gamma: float,
    from_optimum: float | None = None,
) -> Problem:
    """A state of a few diagonal modes with the same summary, hence the same statistics.

    A kernel's statistics are functions of the summary alone, and it takes that from modes. Two modes hold the norms
    and the overlap and have no variance of the data, a third one is as far from the optimum as the mean is; then each
    class has three of its own, without a norm to speak of:
    for ``m, m*``, for ``Q*, β`` and for ``Q⊥``.

    Examples
    --------
    >>> from sgdlimit.runtime.dense import DenseInstance
    >>> from sgdlimit.runtime.kernel import load_kernel
    >>> from sgdlimit.derive.model import Loss, Model, Teacher
    >>> kernel = load_kernel(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi")), backend="numpy")
    >>> instance = DenseInstance(probabilities=[1], covariances=[[2, 1], [1, 2]], teacher=[1, 0])
    >>> dynamics = DenseDynamics.of(kernel, instance, np.array([[0.0], [0.5]]))
    >>> at_zero = dynamics.summary(-dynamics.teacher, np.zeros((2, 2)))
    >>> problem = stand_in(at_zero, instance.probabilities, np.zeros(1), dynamics.parameters, 0.0, 0.1)
    >>> values = kernel.solve(problem).statistics[0, 0]
    >>> float(values[kernel.statistics.index("adversarial_risk")].round(12))  # (X*'CX* + σ²)/2
    1.125
    """
    K = len(probabilities)
    modes = 3 + 3 * K
    teacher, mean, variance = np.zeros((3, modes))
    means, eigenvalues = np.zeros((2, K, modes))
    teacher[0], mean[0] = summary.teacher_norm, summary.along
    mean[1], variance[1] = summary.across, max(summary.trace, 0.0)
    for i in range(K):
        first, second, third = range(3 + 3 * i, 6 + 3 * i)
        root = math.sqrt(summary.Q_star[i])
        teacher[first], mean[first], means[i, first] = _TINY * summary.m_star[i], _TINY * summary.m[i], 1 / _TINY
        teacher[second], mean[second] = _TINY * root, _TINY * root * summary.beta[i]
        variance[third] = _TINY**2 * summary.Q_perp[i]
        eigenvalues[i, second] = eigenvalues[i, third] = 1 / _TINY**2
    reference = None if from_optimum is None else mean.copy()
    if reference is not None:
        reference[2] = from_optimum  # where the mean is 0
    return Problem(
        dimension=math.inf,
        weights=np.full(modes, 1 / modes),
        probabilities=probabilities,
        eigenvalues=eigenvalues,
        means=means,
        labels=labels,
        teacher=teacher,
        parameters=parameters[np.newaxis],
        start_mean=mean[np.newaxis],
        start_variance=variance[np.newaxis],
        reference=reference,
        step_kind=int(StepKind.CONSTANT),
        step_arguments=np.array([[gamma]]),
        start_time=time,
        times=np.array([time]),
    )
