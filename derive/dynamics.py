"""Mode equations, derived from the update of streaming SGD (``docs/theory.md`` §1 and §3).

One coordinate of the update is a polynomial in the input coordinate ``a``, the iterate's coordinate ``X`` and the
two derivatives of the adversarial loss. Its first two moments are taken term by term; the limit keeps their leading
order in ``d``. Change :func:`update` and equations, LaTeX and kernels follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.symbols import (
    BD,
    A,
    B,
    D,
    F,
    I,
    K,
    X,
    a,
    d,
    d_n,
    d_r,
    gamma,
    i,
    lam,
    mu,
    n,
    omega,
    p,
    tau,
    v,
    x,
    x_star,
)


def update() -> sp.Expr:
    """One coordinate of ``X ← X − (γ/d) ∇_X [f_adv(⟨x,X⟩, ‖X‖; y) + (τ/2)‖X‖²]``.

    ``∇_X f_adv = ∂_r f_adv · x + ∂_n f_adv · X/n``: the ridge is the last term.
    """
    return X - gamma / d * (d_r * a + d_n * X / n + tau * X)


@dataclass(frozen=True)
class ModeEquations:
    """``dx_j/dt = γ (offset + slope (x_j − X*_j))`` and ``dv_j/dt = 2 γ slope v_j + γ² noise``.

    The drift is written around the teacher, where its offset carries ``B + D`` as one coefficient: for a loss of
    ``r − y`` with ``y = r* + …`` that sum is exactly zero, and a noiseless decay towards ``X*`` keeps its relative
    accuracy.

    Parameters
    ----------
    offset, slope, noise : sympy.Expr
        In the indexed symbols of ``sgdlimit.derive.symbols``; free of ``γ``.
    drift : sympy.Expr
        ``dx_j/dt`` as it came out of the update, for people.
    """

    offset: sp.Expr
    slope: sp.Expr
    noise: sp.Expr
    drift: sp.Expr

    @property
    def mean(self) -> sp.Expr:
        """Right-hand side of ``dx_j/dt``."""
        return self.drift

    @property
    def variance(self) -> sp.Expr:
        """Right-hand side of ``dv_j/dt``."""
        return 2 * gamma * self.slope * v + gamma**2 * self.noise


def mode_equations(rule: sp.Expr | None = None) -> ModeEquations:
    """Drift and noise of every mode under an update rule (default :func:`update`).

    Raises
    ------
    DerivationError
        Where the rule is not polynomial in the input and the derivatives, needs a moment of them that is not among the
        coefficients, or has a drift that is not affine in the iterate.

    Examples
    --------
    >>> mode_equations().noise
    omega[j]*Sum(I[i]*lam[i, j]*p[i], (i, 1, K))
    """
    increment = sp.expand((update() if rule is None else rule) - X)
    drift = sp.expand(d * _expectation(increment, first_order=True))
    slope = sp.expand(drift.diff(X))
    if slope.has(X):
        raise DerivationError("update", f"its drift {drift} is not affine in the iterate", "the limit needs it to be")
    # ω d coordinates in a mode, d steps in a unit of time; what vanishes with 1/d does not count
    noise = sp.limit(sp.expand(omega * d**2 * _expectation(sp.expand(increment**2), first_order=False)), d, sp.oo)
    for name, expression, power in (("drift", drift, 1), ("noise", noise, 2)):
        if sp.expand(expression / gamma**power).has(gamma) or expression.has(d):
            raise DerivationError("update", f"its {name} {expression} does not scale like γ^{power}", "the step is γ/d")
    slope_free = sp.expand(slope / gamma)
    around_teacher = sp.expand(sp.expand(drift / gamma).subs(X, x_star).subs(D, BD - B))
    return ModeEquations(
        offset=class_average(around_teacher),
        slope=class_average(slope_free),
        noise=omega * class_average(sp.expand(noise / gamma**2 / omega)),
        drift=gamma * class_average(sp.expand(drift / gamma).subs(X, x)),
    )


def _expectation(increment: sp.Expr, *, first_order: bool) -> sp.Expr:
    """Class-wise mean of a polynomial in ``a, ∂_r, ∂_n`` (Stein's identity, Gaussian moments).

    A coordinate of the iterate, of a mean and of the teacher is of order ``d^{-1/2}``. In the mean of the increment all
    of them are kept; in that of its square only the order that survives, where ``a`` is independent of the score.
    """
    try:
        polynomial = sp.Poly(increment, d_r, d_n, a)
    except sp.PolynomialError:
        raise DerivationError(
            "update", f"{increment} is not a polynomial in the input and the derivatives of the loss", ""
        ) from None
    moments = {(0, 0): sp.S.One, (1, 0): A, (0, 1): F, (2, 0): I}
    total = sp.S.Zero
    for (power_r, power_n, power_a), coefficient in polynomial.terms():
        if first_order and (power_r, power_n, power_a) == (1, 0, 1):
            total += coefficient * (mu * A + lam * (B * X + D * x_star))
            continue
        small = coefficient if first_order else coefficient.subs(X, X / sp.sqrt(d))
        if power_a % 2 == 1:
            if first_order:
                raise DerivationError("update", f"its mean needs E[∂_r^{power_r} ∂_n^{power_n} a^{power_a}]", "")
            small, moment = small / sp.sqrt(d), sp.Symbol("correlation")
        else:
            moment = sp.factorial2(power_a - 1) * lam ** (power_a // 2)
        known = moments.get((power_r, power_n), sp.Symbol(f"moment_{power_r}{power_n}"))
        total += small * moment * known
    if first_order and any(str(e).startswith("moment_") for e in total.free_symbols):
        raise DerivationError("update", "its mean needs a moment of the loss that is not a coefficient", "")
    return total


def class_average(expression: sp.Expr) -> sp.Expr:
    """``Σ_i p_i (·)`` over what depends on the class; the rest stands outside the sum."""
    if any(str(e).startswith(("moment_", "correlation")) for e in expression.free_symbols):
        raise DerivationError("update", f"the limit {expression} needs a moment that is not a coefficient", "")
    outside, inside = sp.S.Zero, sp.S.Zero
    for term in sp.Add.make_args(sp.expand(expression)):
        if term.has(i):
            if term.has(lam) or term.has(mu):
                inside += term
            else:  # does not depend on the mode: its average is a scalar (F)
                factor, rest = term.as_independent(*term.atoms(sp.Indexed) & {A, B, F, I, BD, D}, as_Add=False)
                outside += factor * sp.Sum(p * rest, (i, 1, K))
        else:
            outside += term
    if inside == 0:
        return outside
    sign = -1 if all(term.could_extract_minus_sign() for term in sp.Add.make_args(inside)) else 1
    return outside + sign * sp.Sum(p * sp.expand(sign * inside), (i, 1, K))
