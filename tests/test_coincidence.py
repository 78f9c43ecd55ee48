"""Near a teacher without noise, where risk and gradient noise vanish: relative accuracy, however near it is."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import sympy as sp
from numpy.typing import NDArray
from scipy.special import erf

from sgdlimit.derive import Labels, Loss, Model, Teacher, derive
from sgdlimit.derive.convert import Switched
from sgdlimit.derive.functions import Branch, Side
from sgdlimit.derive.joint import JointForms, JointLaw
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.kernel import Kernel, load_kernel
from sgdlimit.runtime.spec import load_equations

Array = NDArray[np.float64]
BACKENDS = [
    pytest.param("c", marks=pytest.mark.skipif(find_compiler() is None, reason="no C compiler")),
    "numpy",
]
SIZES = [0.0, *(10.0**-k for k in range(15, 0, -1)), 0.005, 0.02, 0.04]


def coefficients(
    kernel: Kernel, m_star: float, Q_star: float, dm: float, beta1: float, Q_perp: float
) -> dict[str, float]:
    """Of a kernel without parameters but the ridge."""
    beta, m = 1 + beta1, m_star + dm
    Q = beta**2 * Q_star + Q_perp
    known = {"m": m, "dm": dm, "m_star": m_star, "beta": beta, "beta1": beta1, "Q": Q, "Q_perp": Q_perp}
    known |= {"Q_star": Q_star, "n": Q**0.5, "tau": 0.0}
    score = np.array([known[name] for name in kernel.score])
    values = kernel.evaluate_coefficients(score, 0.0, np.array([known[p] for p in kernel.parameters]))
    return dict(zip(kernel.coefficients, map(float, values), strict=True))


def erf_difference(a: Array, u: Array) -> Array:
    """``erf((a + u)/√2) − erf(a/√2)`` to its own last digits: the density's integral from one to the other."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    near = np.sqrt(2 / np.pi) * u * (np.exp(-((a[..., None] + u[..., None] * (1 + nodes) / 2) ** 2) / 2) @ weights) / 2
    return np.where(abs(u) < 0.5, near, erf((a + u) / np.sqrt(2)) - erf(a / np.sqrt(2)))


def mean_in_the_plane(
    g: Callable[[Array, Array], Array], m_star: float, Q_star: float, dm: float, beta1: float, Q_perp: float
) -> tuple[float, float]:
    """``E g(ℓ, u)`` of a smooth function, and ``E |g|``: panels over ``ℓ``, Gauss–Hermite over what ``u`` has besides."""
    x, w = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(-12, 12, 49)
    t = (edges[:-1, None] + 0.25 * (1 + x)).ravel()
    weight = np.tile(0.25 * w, 48) * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    z, share = np.polynomial.hermite_e.hermegauss(60)
    share = share / share.sum()
    apart = np.sqrt(Q_star) * t
    u = dm + beta1 * apart[:, None] + np.sqrt(Q_perp) * z
    values = weight[:, None] * share * g(np.broadcast_to((m_star + apart)[:, None], u.shape), u)
    return float(values.sum()), float(abs(values).sum())


ERF: dict[str, Callable[[Array, Array], Array]] = {
    "R": lambda ell, u: erf_difference(ell, u) ** 2 / 2,
    "A": lambda ell, u: np.sqrt(2 / np.pi) * np.exp(-((ell + u) ** 2) / 2) * erf_difference(ell, u),
    "I": lambda ell, u: 2 / np.pi * np.exp(-((ell + u) ** 2)) * erf_difference(ell, u) ** 2,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("m_star", "Q_star"), [(0.0, 1.0), (0.4, 0.3), (-2.5, 4.0), (2.0, 0.1), (3.0, 0.05)])
def test_erf_regression_is_right_at_every_distance_from_its_teacher(backend: str, m_star: float, Q_star: float) -> None:
    kernel = load_kernel(load_equations("erf-regression").model, backend=backend)
    for size in SIZES:
        for dm, beta1, share in ((1.0, 0.0, 0.0), (0.3, -0.6, 0.5), (0.0, 0.7, 1.0), (-1.0, 0.4, 0.0)):
            given = (m_star, Q_star, size * dm, size * beta1, (size * share) ** 2)
            found = coefficients(kernel, *given)
            for name, g in ERF.items():
                exact, magnitude = mean_in_the_plane(g, *given)
                # between the reaches of the two forms, where what counts lies out in the law's tail
                far = {(2.0, 0.1): 5e-10, (3.0, 0.05): 1e-8}.get((m_star, Q_star), 1e-10)
                allowed = far if 0.005 <= size <= 0.04 else 1e-10
                assert abs(found[name] - exact) <= allowed * magnitude, (name, given)


@pytest.mark.parametrize("backend", BACKENDS)
def test_relu_regression_is_right_at_every_distance_from_its_teacher(backend: str) -> None:
    """Against the arc-cosine kernels in 60 digits."""
    kernel = load_kernel(load_equations("relu-regression").model, backend=backend)
    for size in SIZES:
        for Q_star in (1.0, 0.04, 30.0):
            for beta1, share in ((1.0, 0.0), (-0.6, 0.5), (0.0, 1.0), (0.01, 1.0)):
                b1, perp = size * beta1, (size * share) ** 2 * Q_star
                found = coefficients(kernel, 0.0, Q_star, 0.0, b1, perp)
                with mpmath.workdps(60):
                    q, b, v = mpmath.mpf(Q_star), 1 + mpmath.mpf(b1), mpmath.mpf(perp)
                    Q, c = b**2 * q + v, b * q
                    angle = mpmath.atan2(mpmath.sqrt(v * q), c)
                    wedge = mpmath.sin(angle) + (mpmath.pi - angle) * mpmath.cos(angle)
                    cross = mpmath.sqrt(Q * q) * wedge / (2 * mpmath.pi)  # E max(r, 0) max(ℓ, 0)
                    risk = (Q / 2 + q / 2) / 2 - cross
                    # E (r − ℓ)^2 and E r (r − 2 ℓ) on r > 0, ℓ < 0 make the noise: the risk's two halves differ by a wedge
                    lost = (angle - mpmath.sin(angle) * mpmath.cos(angle)) * q / (2 * mpmath.pi)  # E ℓ² on r < 0 < ℓ
                    noise = 2 * risk - lost
                assert abs(found["R"] - risk) <= 1e-10 * risk, (size, Q_star, beta1, share)
                assert abs(found["I"] - noise) <= 1e-10 * noise, (size, Q_star, beta1, share)


@pytest.mark.parametrize("size", [1e-3, 1e-8, 1e-14])
def test_a_difference_of_exponentials_keeps_its_digits(size: float) -> None:
    """``(e^{r/2} − e^{ℓ/2})²`` near coincidence, against its closed form in 60 digits."""
    r, ell = sp.symbols("r ell", real=True)
    names, variances = sp.symbols("dm m_star beta1", real=True), sp.symbols("Q_star Q_perp", nonnegative=True)
    law = JointLaw(r, ell, names[1] + names[0], names[1], 1 + names[2], variances[1], variances[0], names[0], names[2])
    forms, rate = JointForms(), sp.S.Half
    found = forms.expect(Switched((sp.exp(rate * r) - sp.exp(rate * ell)) ** 2), law)
    assert found is not None
    assert "near r = ℓ" in found[0]
    numbers = (0.6 * size, 0.3, -0.8 * size, 1.4, (0.5 * size) ** 2)
    d, m, slope, Q, q = (sp.Float(number, 60) for number in numbers)
    known: dict[sp.Symbol, sp.Expr] = dict(zip((*names, *variances), map(sp.Float, numbers), strict=True))
    for definition in forms.definitions:
        known[definition.symbol] = sp.Float(definition.expression.subs(known))

    def mean(s: sp.Expr, t: sp.Expr) -> sp.Expr:
        """``E e^{s r + t ℓ}``."""
        along = s * (1 + slope) + t
        return sp.exp(s * (m + d) + t * m + (s**2 * q + along**2 * Q) / 2)

    exact = mean(2 * rate, sp.S.Zero) - 2 * mean(rate, rate) + mean(sp.S.Zero, 2 * rate)
    near = next(e for e in found[1].atoms(Branch) if e.args[0].has(Side)).args[1]
    assert float(sp.Float(near.subs(known)) / exact - 1) == pytest.approx(0, abs=1e-11)


def test_a_function_that_does_not_vanish_there_has_one_form() -> None:
    """Label noise, class labels and polynomials have no cancellation to mend."""
    for model in (
        Model(Loss("(erf(r/sqrt(2)) - y)**2/2"), Labels()),
        Model(Loss("(r - y)**2/2"), Teacher("r_star")),
        Model(Loss("(r**2 - y**2)**2/4"), Teacher("r_star")),
    ):
        assert not any("near r = ℓ" in rule for rule in derive(model).rules.values())
