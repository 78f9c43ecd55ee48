"""The adversarial risk as a function of the iterate: value, gradient and curvature, from a kernel's coefficients.

``ℛ(X) = Σ_i p_i R_i + (τ/2) n²`` depends on ``X`` through a few sums over modes, ``m_i, β_i, Q⊥_i`` and ``n``
(docs/theory.md §2). Its Hessian is therefore diagonal plus a matrix of rank ``3K + 1`` at most, and a Newton step costs
as much as a few gradients. An iterate is carried twice, as ``x`` and as ``e = x − X*``: no accuracy is lost near either
of the places, 0 and a noiseless teacher, where ℛ may have a kink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sgdlimit.codegen.library.problem import Problem
from sgdlimit.runtime.kernel import Kernel

Array = NDArray[np.float64]

_ROWS = 512  # of a block of a tall matrix
_STEP = 1e-4  # of finite differences of the coefficients, relative to the scale on which they change


@dataclass(frozen=True, eq=False)
class Point:
    """An iterate, and the same seen from the teacher.

    Parameters
    ----------
    x : array [N]
    e : array [N]
        ``x − X*``, or ``x`` where the target has no teacher.
    """

    x: Array
    e: Array

    def moved(self, step: Array, length: float = 1.0) -> Point:
        """``x + length · step``."""
        return Point(self.x + length * step, self.e + length * step)


@dataclass(frozen=True)
class Score:
    """The law of one class's score: what its coefficients are functions of."""

    n: float
    m: float
    dm: float
    m_star: float
    beta: float
    beta1: float
    Q_perp: float
    Q_star: float

    @property
    def Q(self) -> float:
        """The score's variance."""
        return self.beta**2 * self.Q_star + self.Q_perp

    @property
    def spread(self) -> float:
        """The variance of ``r`` or of ``r − r*``, whichever is less: a noiseless loss changes on its scale."""
        return min(self.beta**2, self.beta1**2) * self.Q_star + self.Q_perp


@dataclass(frozen=True)
class Coefficients:
    """``R, A, B, D, F, I`` of one class, and ``B + D``."""

    R: float
    A: float
    B: float
    D: float
    F: float
    I: float

    @property
    def BD(self) -> float:
        """``B + D``: exactly 0 where ``D = −B``."""
        return self.B + self.D


@dataclass(frozen=True, eq=False)
class Evaluation:
    """ℛ at a point.

    Parameters
    ----------
    point : Point
    scores, coefficients : tuple
        Class by class.
    risk, objective : float
        ``Σ p_i R_i``, and with the ridge.
    gradient : array [N]
        ``h + H x``.
    size : float
        What the gradient is small against: the sum of the norms of its terms, as they are written around 0 or around
        the teacher; at least what they are on the way from 0 to the teacher, with a blur of order 1.
    """

    point: Point
    scores: tuple[Score, ...]
    coefficients: tuple[Coefficients, ...]
    risk: float
    objective: float
    gradient: Array
    size: float

    @property
    def residual(self) -> float:
        """Norm of the gradient relative to that of its terms."""
        size = norm(self.gradient)
        return size / self.size if size > 0 else 0.0


class Risk:
    """ℛ of a problem, on the modes that it depends on.

    Parameters
    ----------
    kernel : Kernel
    problem : Problem
        Of one iterate. Modes without variance and mean in every class do not enter the score: the optimum and the mean
        of a rest point are 0 there, and so is here the teacher.
    """

    def __init__(self, kernel: Kernel, problem: Problem) -> None:
        self.active = (problem.eigenvalues != 0).any(axis=0) | (problem.means != 0).any(axis=0)
        self.lam: Array = np.ascontiguousarray(problem.eigenvalues[:, self.active])
        self.omega: Array = problem.weights[self.active]
        self._set_up(
            kernel,
            problem.probabilities,
            np.ascontiguousarray(problem.means[:, self.active]),
            problem.labels,
            problem.teacher[self.active],
            problem.parameters[0],
        )

    def _set_up(self, kernel: Kernel, p: Array, mu: Array, labels: Array, teacher: Array, parameters: Array) -> None:
        """What does not depend on how the covariances are given; ``parameters`` [P, K]."""
        self.kernel, self.p, self.mu, self.labels = kernel, p, mu, labels
        self.parameters: Array = np.ascontiguousarray(parameters.T)  # [K, P]
        self.tau = float(parameters[kernel.parameters.index("tau"), 0])
        self.has_teacher = bool({"Q_star", "m_star", "beta", "beta1"} & set(kernel.score))
        self.teacher: Array = teacher if self.has_teacher else np.zeros_like(teacher)
        self.lam_teacher: Array = self.images(self.teacher)
        self.Q_star: Array = (self.lam_teacher * self.teacher).sum(axis=1)
        self.m_star: Array = (self.mu * self.teacher).sum(axis=1)
        self._typical = 0.0
        origin = self.evaluate(self.origin(), blur=self.scale)
        B = np.array([abs(c.B) for c in origin.coefficients])
        typical = origin.size + float(self.p * B @ _norms(self.lam_teacher))
        self._typical = typical if math.isfinite(typical) else 0.0

    # ── Covariances ─────────────────────────────────────────────────────────────────────────────────────────

    def image(self, i: int, w: Array) -> Array:
        """``C_i w``."""
        found: Array = self.lam[i] * w
        return found

    def images(self, w: Array) -> Array:
        """``C_i w`` of every class, [K, N]."""
        return np.array([self.image(i, w) for i in range(self.classes)])

    def mean_eigenvalue(self) -> float:
        """Of all classes."""
        return float(np.mean(self.p @ self.lam))

    def spread(self, i: int, variance: Array) -> float:
        """``tr(C_i V)``."""
        return dot(self.lam[i], variance)

    @property
    def classes(self) -> int:
        """K."""
        return len(self.p)

    @property
    def epsilon(self) -> float:
        """The adversary's radius."""
        names = self.kernel.parameters
        return float(self.parameters[0, names.index("epsilon")]) if "epsilon" in names else 0.0

    @property
    def scale(self) -> float:
        """A variance of order that of the scores at the teacher, or at a unit iterate."""
        return float(self.p @ self.Q_star) or self.mean_eigenvalue() or 1.0

    def with_epsilon(self, epsilon: float) -> Risk:
        """The same at another radius."""
        other = object.__new__(type(self))
        other.__dict__ = dict(self.__dict__)
        other.parameters = self.parameters.copy()
        other.parameters[:, self.kernel.parameters.index("epsilon")] = epsilon
        return other

    def whole(self, x: Array) -> Array:
        """A vector over all modes, 0 in those left out."""
        result = np.zeros(len(self.active))
        result[self.active] = x
        return result

    def at(self, x: Array) -> Point:
        """A point given by its modes."""
        return Point(x, x - self.teacher)

    def origin(self) -> Point:
        """``X = 0``."""
        return Point(np.zeros_like(self.teacher), -self.teacher)

    def at_teacher(self) -> Point:
        """``X = X*``, exactly."""
        return Point(self.teacher.copy(), np.zeros_like(self.teacher))

    # ── Scores and coefficients ─────────────────────────────────────────────────────────────────────────────

    def scores(self, point: Point, variance: Array | None = None, blur: float = 0.0) -> tuple[Score, ...]:
        """The law of the score, class by class.

        Parameters
        ----------
        point : Point
            The mean of the iterate.
        variance : array [N], optional
            Its variance ``v``.
        blur : float
            Variance of a Gaussian added to the score: smooths the kinks of ℛ and keeps it convex.
        """
        x, e = point.x, point.e
        n = math.sqrt(dot(x, x) + (0.0 if variance is None else float(variance.sum())))
        found = []
        for i in range(self.classes):
            beta, beta1 = 0.0, -1.0
            if self.Q_star[i] > 0:
                beta = dot(self.lam_teacher[i], x) / self.Q_star[i]
                beta1 = dot(self.lam_teacher[i], e) / self.Q_star[i]
            w = self._across(point, beta, beta1)
            dm = dot(self.mu[i], e)
            m = dot(self.mu[i], x)
            spread = 0.0 if variance is None else self.spread(i, variance)
            Q_perp = max(dot(w, self.image(i, w)), 0.0) + spread + blur
            found.append(Score(n, m, dm, float(self.m_star[i]), beta, beta1, Q_perp, float(self.Q_star[i])))
        return tuple(found)

    def _across(self, point: Point, beta: float, beta1: float) -> Array:
        """``x − β X*``, without cancellation at both ends."""
        return point.x - beta * self.teacher if abs(beta) < abs(beta1) else point.e - beta1 * self.teacher

    def coefficients(self, score: Score, i: int) -> Coefficients:
        """Those of class ``i``; not finite where they overflow."""
        values = np.array([getattr(score, name) for name in self.kernel.score])
        with np.errstate(all="ignore"):
            found = self.kernel.evaluate_coefficients(values, float(self.labels[i]), self.parameters[i])
        return Coefficients(**dict(zip(self.kernel.coefficients, map(float, found), strict=True)))

    # ── Value and gradient ──────────────────────────────────────────────────────────────────────────────────

    def value(self, point: Point, blur: float = 0.0) -> float:
        """ℛ, ridge included; infinite where it is not a number."""
        scores = self.scores(point, blur=blur)
        R = sum(p * self.coefficients(s, i).R for i, (p, s) in enumerate(zip(self.p, scores, strict=True)))
        value = float(R + 0.5 * self.tau * scores[0].n ** 2)
        return value if math.isfinite(value) else math.inf

    def evaluate(self, point: Point, blur: float = 0.0) -> Evaluation:
        """ℛ and its gradient."""
        scores = self.scores(point, blur=blur)
        coefficients = tuple(self.coefficients(s, i) for i, s in enumerate(scores))
        n = scores[0].n
        A, B, D, BD, F, R = (
            np.array([getattr(c, name) for c in coefficients]) for name in ("A", "B", "D", "BD", "F", "R")
        )
        ridge = self.tau + (float(self.p @ F) / n if n > 0 else 0.0)
        of_x, of_e = self.images(point.x), self.images(point.e)
        drift = mixed(self.p * B, of_e) + mixed(self.p * BD, self.lam_teacher) + mixed(self.p * A, self.mu)
        around_zero = np.abs(self.p * B) @ _norms(of_x) + np.abs(self.p * D) @ _norms(self.lam_teacher)
        around_teacher = np.abs(self.p * B) @ _norms(of_e) + np.abs(self.p * BD) @ _norms(self.lam_teacher)
        terms = np.abs(self.p * A) @ _norms(self.mu) + min(around_zero, around_teacher) + ridge * n
        size = max(float(terms), self._typical)
        risk = float(self.p @ R)
        return Evaluation(
            point, scores, coefficients, risk, risk + 0.5 * self.tau * n**2, drift + ridge * point.x, size
        )

    # ── Curvature ───────────────────────────────────────────────────────────────────────────────────────────

    def newton(self, at: Evaluation) -> tuple[Array, bool]:
        """A step of Newton's method with every curvature made positive, and whether all of them were.

        The Hessian is ``diag(H) + U S U'``: with ``H^{-1/2} U = q r``, ``q'q = 1``, its inverse needs the eigenvalues
        of ``1 + r S r'`` alone, of which negative ones are turned over.
        """
        with np.errstate(all="ignore"):
            H, U, S = self._hessian(at)
        floor = 1e-14 * float(np.max(np.abs(H), initial=0.0)) or 1.0
        positive = bool(np.all(H + floor > 0))
        root = 1 / np.sqrt(np.maximum(np.abs(H), floor))
        if not (np.isfinite(H).all() and np.isfinite(U).all() and np.isfinite(S).all()):
            return -at.gradient / (at.size or 1.0), False
        q, r = _orthonormal(root[:, np.newaxis] * U)
        small = np.eye(len(r)) + r @ S @ r.T
        values, vectors = np.linalg.eigh(0.5 * (small + small.T))
        least = 1e-12 * max(1.0, float(np.max(np.abs(values))))
        positive = positive and bool((values > -1e-6 * max(1.0, float(values.max()))).all())
        g = root * at.gradient
        inverse = 1 / np.maximum(np.abs(values), least)
        along = vectors @ ((inverse - 1) * (vectors.T @ np.einsum("jk,j->k", q, g)))
        return -root * (g + np.einsum("jk,k->j", q, along)), positive

    def _hessian(self, at: Evaluation) -> tuple[Array, Array, Array]:
        """``H`` of every mode, and ``U``, ``S`` of :meth:`_low_rank`."""
        weights, ridge = self._curvatures(at)
        return mixed(weights, self.lam) + ridge, *self._low_rank(at)

    def _curvatures(self, at: Evaluation) -> tuple[Array, float]:
        """``p_i B_i`` and ``F/n + τ``: ``H = Σ_i p_i B_i C_i + (F/n + τ) Id``."""
        n = at.scores[0].n
        F_n = float(self.p @ [c.F for c in at.coefficients]) / n if n > 0 else 0.0
        return self.p * np.array([c.B for c in at.coefficients]), F_n + self.tau

    def _low_rank(self, at: Evaluation) -> tuple[Array, Array]:
        """Gradients of the score's variables, and curvatures along them: the Hessian is ``H + U S U'``."""
        K, n, point = self.classes, at.scores[0].n, at.point
        weights, ridge = self._curvatures(at)
        columns = np.zeros((len(point.x), 3 * K + 1))
        S = np.zeros((3 * K + 1, 3 * K + 1))
        if n > 0:
            columns[:, -1] = point.x / n
        S[-1, -1] = self.tau - ridge
        for i, score in enumerate(at.scores):
            columns[:, 3 * i] = self.mu[i]
            if score.Q_star > 0:
                columns[:, 3 * i + 1] = self.lam_teacher[i] / score.Q_star
                S[3 * i + 1, 3 * i + 1] -= weights[i] * score.Q_star
            columns[:, 3 * i + 2] = 2 * self.image(i, self._across(point, score.beta, score.beta1))
            block = np.array([3 * i, 3 * i + 1, 3 * i + 2, 3 * K])
            S[np.ix_(block, block)] += self.p[i] * self._second_derivatives(score, i)
        return columns, S

    def _second_derivatives(self, score: Score, i: int) -> Array:
        """Those of ``R_i`` by ``m, β, Q⊥, n``: differences of its first derivatives, which are coefficients."""
        width = self._width(score, i)
        steps: list[tuple[int, float]] = [(0, _STEP * width)]
        if score.Q_star > 0:
            steps.append((1, _STEP * width / math.sqrt(score.Q_star)))
        steps.append((2, _STEP * width**2))
        if score.n > 0 and "n" in self.kernel.score:
            steps.append((3, _STEP * score.n))
        found = np.zeros((4, 4))
        for k, h in steps:
            if k == 2 and score.Q_perp < h:  # one-sided, of second order
                a, b, c = (self._first_derivatives(_shifted(score, k, f * h), i) for f in (0, 1, 2))
                found[k] = (4 * b - 3 * a - c) / (2 * h)
            else:
                a, b = (self._first_derivatives(_shifted(score, k, f * h), i) for f in (-1, 1))
                found[k] = (b - a) / (2 * h)
        return 0.5 * (found + found.T)

    def _first_derivatives(self, score: Score, i: int) -> Array:
        c = self.coefficients(score, i)
        return np.array([c.A, score.Q_star * (score.beta1 * c.B + c.BD), 0.5 * c.B, c.F])

    def _width(self, score: Score, i: int) -> float:
        """The standard deviation on which the coefficients change: the spread, unless noise blurs it."""
        least, most = math.sqrt(score.spread), math.sqrt(score.Q + score.Q_star) or math.sqrt(self.scale)
        width = max(least, 1e-150)
        here = self.coefficients(score, i)
        while 10 * width < most:
            other = self.coefficients(_shifted(score, 2, (10 * width) ** 2), i)
            if abs(other.B - here.B) + abs(other.D - here.D) > 1e-2 * (abs(here.B) + abs(here.D)):
                break
            width *= 10
        return width


def _shifted(score: Score, variable: int, by: float) -> Score:
    """A score with one of ``m, β, Q⊥, n`` moved."""
    match variable:
        case 0:
            return replace(score, m=score.m + by, dm=score.dm + by)
        case 1:
            return replace(score, beta=score.beta + by, beta1=score.beta1 + by)
        case 2:
            return replace(score, Q_perp=score.Q_perp + by)
        case _:
            return replace(score, n=score.n + by)


def _orthonormal(columns: Array) -> tuple[Array, Array]:
    """A thin QR decomposition, block by block: a tall matrix at once spends its time on waiting for threads."""
    N, k = columns.shape
    blocks = -(-N // _ROWS)
    padded = np.zeros((blocks * _ROWS, k))
    padded[:N] = columns
    q, r = np.linalg.qr(padded.reshape(blocks, _ROWS, k))
    outer, total = np.linalg.qr(r.reshape(-1, k))
    return (q @ outer.reshape(blocks, r.shape[1], -1)).reshape(blocks * _ROWS, -1)[:N], total


def dot(a: Array, b: Array) -> float:
    """``⟨a, b⟩``, summed in pairs: accurate in 10⁵ modes, and without the threads of a linear algebra library."""
    return float((a * b).sum())


def norm(a: Array) -> float:
    """``‖a‖``."""
    return math.sqrt(dot(a, a))


def mixed(weights: Array, rows: Array) -> Array:
    """``Σ_i w_i rows_i``."""
    total: Array = np.einsum("k,kj->j", weights, rows)
    return total


def _norms(rows: Array) -> Array:
    return np.array([norm(row) for row in rows])
