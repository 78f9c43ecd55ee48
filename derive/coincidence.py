"""Expectations near coincidence, ``r → ℓ``, of functions that vanish there (``docs/theory.md`` §2).

A student near a teacher without noise: risk and gradient noise are of second order in ``u = r − ℓ``, while the terms of
their closed forms are of order one and cancel. What is small is formed first here, so that the result is accurate in
units of itself, however near the teacher is.

- A smooth function is its Taylor polynomial in ``u`` about ``r = ℓ``; the means of ``u^k h(ℓ)`` are closed forms of
  their own, without subtraction.
- A piecewise polynomial with one kink in ``r`` and the same one in ``ℓ`` is, but for two wedges between the kinks, one
  with a kink in ``r`` alone. In a wedge the density of ``ℓ`` varies little: its Taylor polynomial there makes a mean
  over the wedge one of powers of ``w``, how far ``r`` is from the kink where ``ℓ`` is at it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sympy as sp

from sgdlimit.derive.functions import Branch, Side, TailMoment, normal_density
from sgdlimit.derive.quadrature import TINY

if TYPE_CHECKING:
    from sgdlimit.derive.joint import Form, JointLaw

NEAR = sp.Rational(1, 50)
"""Up to here ``u`` is small, in units of what a smooth function varies on.

Beyond, the terms' rounding is below 1e-10 of the mean.
"""

ORDER = 7
"""Of the Taylor polynomial in ``u``: ``105 NEAR⁶/√8!``, 4e-11, of the mean is left out (105 is ``E z⁸``)."""

NARROW = sp.Rational(3, 100)
"""Up to here wedges are narrow, in units of what the density of ``ℓ`` varies on."""

DENSITY_ORDER = 6
"""Terms of that of the density: ``NARROW⁶/6!``, 1e-12, is left out; a wedge is by ``NARROW`` smaller than the rest."""

_TAIL = 6  # deviations of w that are in a wedge
_FAR = 5  # there derivatives are those of an exponential of a linear function: the k-th is over k! and not its root


@dataclass(frozen=True)
class Near:
    """A value and where it is right.

    Parameters
    ----------
    value : sympy.Expr
    room : sympy.Expr
        It is right where this is positive.
    rule : str
    """

    value: sp.Expr
    room: sp.Expr
    rule: str


def vanishes(e: sp.Expr, law: JointLaw) -> bool:
    """Whether a smooth function is zero at ``r = ℓ``."""
    return bool(sp.expand(e.subs(law.r, law.ell)) == 0)


Tilt = Callable[[sp.Expr], "tuple[sp.Expr, JointLaw]"]
Name = Callable[[str, sp.Expr], sp.Expr]


def taylor(e: sp.Expr, law: JointLaw, tilt: Tilt, name: Name) -> Near | None:
    """The mean of a smooth function that vanishes at ``r = ℓ``; None for one that does not, or a polynomial.

    Parameters
    ----------
    e : sympy.Expr
        In ``r`` and ``ℓ``; its derivatives at ``r = ℓ`` are polynomials times exponentials of quadratics.
    law : JointLaw
    tilt : callable
        ``E exp(exponent) g`` as a scale and the law of another mean of ``g``.
    name : callable
        Makes a symbol for an expression.
    """
    if e.is_polynomial(law.r, law.ell) or not vanishes(e, law):
        return None
    slope, found = e, dict[sp.Expr, dict[tuple[int, int], sp.Expr]]()
    for k in range(1, ORDER + 1):
        slope = slope.diff(law.r)
        for term in sp.Add.make_args(sp.expand(slope.subs(law.r, law.ell))):
            exponent, factor = _exponential(term)
            if not factor.is_polynomial(law.ell) or not exponent.is_polynomial(law.ell):
                return None
            for (j,), coefficient in sp.Poly(factor, law.ell).terms():
                if coefficient != 0:
                    polynomial = found.setdefault(exponent, {})
                    polynomial[k, j] = polynomial.get((k, j), sp.S.Zero) + coefficient / sp.factorial(k)
    value, sizes = sp.S.Zero, list[sp.Expr]()
    for exponent in sorted(found, key=sp.default_sort_key):
        scale, tilted = tilt(exponent)
        moments = _Moments(tilted, name)
        mean = sp.Add(*(c * moments(k, j) for (k, j), c in sorted(found[exponent].items()) if c != 0))
        value += name("near", scale) * mean
        # where the mass of this exponential is, in units of what it varies on
        rate = _rate(exponent, law)
        spread = sp.sqrt(tilted.perp + tilted.beta1**2 * tilted.variance)
        sizes.append(rate * (sp.Abs(tilted.dmean) + spread) * (1 + rate * sp.Abs(tilted.mean_ell) / _FAR))
    return Near(value, NEAR - sp.Max(*sizes), "Taylor polynomial in r − ℓ")


def _exponential(term: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """A product's exponent and what else it is made of."""
    exponent, others = sp.S.Zero, []
    for factor in sp.Mul.make_args(term):
        base, power = factor.as_base_exp()
        if isinstance(factor, sp.exp):
            exponent += factor.args[0]
        elif isinstance(base, sp.exp):
            exponent += power * base.args[0]
        else:
            others.append(factor)
    return sp.expand(exponent), sp.Mul(*others)


def _rate(exponent: sp.Expr, law: JointLaw) -> sp.Expr:
    """How fast an exponential varies with ``ℓ``."""
    polynomial = sp.Poly(exponent, law.ell)
    square, linear = (sp.Abs(polynomial.coeff_monomial(law.ell**k)) for k in (2, 1))
    return sp.Max(1, sp.sqrt(2 * square) + linear)


@dataclass(frozen=True)
class _Moments:
    """``E u^k ℓ^j``, each from lower ones: sums of products of what is small to the same order, whatever is 0."""

    law: JointLaw
    name: Name

    def __call__(self, k: int, j: int) -> sp.Expr:
        law = self.law
        if k < 0 or j < 0:
            return sp.S.Zero
        if (k, j) == (0, 0):
            return sp.S.One
        along = law.beta1 * law.variance  # the covariance of u and ℓ
        if k > 0:
            rest = (k - 1) * self.name("moment", law.perp + law.beta1 * along) * self(k - 2, j)
            rest += j * self.name("moment", along) * self(k - 1, j - 1)
            return self.name("moment", law.dmean * self(k - 1, j) + rest)
        return self.name("moment", law.mean_ell * self(0, j - 1) + (j - 1) * law.variance * self(0, j - 2))


def wedges(
    piece: Mapping[tuple[int, int], sp.Expr],
    kink: sp.Expr,
    law: JointLaw,
    name: Name,
) -> Near:
    """The mean over both wedges, of what a function with kinks at ``r = κ`` and ``ℓ = κ`` is there beyond its piece on
    the same side of both.

    Parameters
    ----------
    piece : mapping of (int, int) to sympy.Expr
        Polynomials on the sides ±1 of ``r`` and of ``ℓ``.
    kink : sympy.Expr
        ``κ``.
    law : JointLaw
    name : callable
        Makes a symbol for an expression.
    """
    spread = name("spread", sp.sqrt(sp.Max(law.variance, TINY)))
    start = name("wedge", law.dmean + law.beta1 * (kink - law.mean_ell))
    deviation = name("spread", sp.sqrt(sp.Max(law.perp, TINY)))
    gap, side = name("gap", sp.Abs(start) / deviation), name("side", Side(start))
    pull = name("pull", (law.mean_ell - kink) / spread**2)
    density = normal_density((kink - law.mean_ell) / spread) / spread
    # of the density about the kink, in units of that there
    shares = [
        sum(
            pull ** (k - 2 * i) * (-1 / (2 * spread**2)) ** i / (sp.factorial(k - 2 * i) * sp.factorial(i))
            for i in range(k // 2 + 1)
        )
        for k in range(DENSITY_ORDER)
    ]

    def power(p: int, sign: int) -> sp.Expr:
        """``E |w|^p`` on one side of ``w``."""
        tail = deviation**p * TailMoment(p, gap)
        whole = sum(
            sp.binomial(p, 2 * i) * sp.factorial2(2 * i - 1) * sp.Abs(start) ** (p - 2 * i) * law.perp**i
            for i in range(p // 2 + 1)
        )
        inside = whole - (-1) ** p * tail
        return Branch(side, inside, tail) if sign > 0 else Branch(side, tail, inside)

    # below 1/2 this form is not taken; 1/β is finite all the same
    slope = name("slope", sp.Max(law.beta, sp.S.Half))
    total, powers = sp.S.Zero, dict[tuple[int, int], sp.Expr]()
    r, ell = sp.Dummy("r", real=True), sp.Dummy("ell", real=True)
    place = {law.r: kink + r, law.ell: kink + ell}
    for sign in (1, -1):
        difference = sp.expand((piece[sign, -sign] - piece[sign, sign]).subs(place, simultaneous=True))
        if difference == 0:
            continue
        for (j, i), coefficient in sp.Poly(difference, r, ell).terms():
            for k, share in enumerate(shares):
                # ∫ ℓ^{i+k} (w + β ℓ)^j over the ℓ between its kink and that of r
                p = i + j + k + 1
                sides = sign**j * (-sign) ** (i + k)
                beta = sp.factorial(i + k) * sp.factorial(j) / sp.factorial(p)
                if (p, sign) not in powers:
                    powers[p, sign] = power(p, sign)
                total += coefficient * share * sides * beta * powers[p, sign] / slope ** (i + k + 1)
    # the wedge reaches to ℓ = κ − w/β: β is above 1/2 too
    size = sp.Max(2 * (sp.Abs(start) + _TAIL * deviation) * (sp.Abs(pull) + 1 / spread), 2 * NARROW * sp.Abs(law.beta1))
    return Near(density * total, NARROW - size, "wedges between the kinks of r and ℓ")


def same_kink(forms: tuple[Form, ...]) -> sp.Expr | None:
    """``κ`` where the kinks are ``r = κ`` and ``ℓ = κ`` and no other."""
    if len(forms) != 2 or any(f.is_constant for f in forms):
        return None
    (first, second) = forms
    constants = {first.constant, second.constant}
    if {(first.r, first.ell), (second.r, second.ell)} != {(1, 0), (0, 1)} or len(constants) != 1:
        return None
    return -first.constant
