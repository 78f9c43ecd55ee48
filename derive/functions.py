"""SymPy functions that floating-point code can evaluate without overflow or cancellation.

A loss is rewritten into these once, when it is read; derivatives then stay in the family
(``Softplus' = Sigmoid``), so nothing downstream meets ``exp(x)/(1 + exp(x))``.
"""

from __future__ import annotations

from typing import Any

import sympy as sp


class Softplus(sp.Function):
    """``log(1 + exp(x))``."""

    nargs = 1
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return Sigmoid(self.args[0])

    def rewrite_textbook(self) -> sp.Expr:
        return sp.log(1 + sp.exp(self.args[0]))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\log\left(1 + e^{{{printer._print(self.args[0])}}}\right)"
        return body if exp is None else rf"{{{body}}}^{{{exp}}}"


class Sigmoid(sp.Function):
    """``1/(1 + exp(-x))``."""

    nargs = 1
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        (x,) = self.args
        return Sigmoid(x) * Sigmoid(-x)

    def rewrite_textbook(self) -> sp.Expr:
        return 1 / (1 + sp.exp(-self.args[0]))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\operatorname{{sigmoid}}{power}\left({printer._print(self.args[0])}\right)"


class NormalCdf(sp.Function):
    """``Φ(x)``, the standard normal distribution function."""

    nargs = 1
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return normal_density(self.args[0])

    def rewrite_textbook(self) -> sp.Expr:
        return sp.erfc(-self.args[0] / sp.sqrt(2)) / 2

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\Phi{power}\left({printer._print(self.args[0])}\right)"


class Tanh(sp.Function):
    """``tanh(x)``, whose derivative ``1 − tanh²`` is written so that it keeps its digits where it is small."""

    nargs = 1
    is_real = True

    def _eval_is_nonnegative(self) -> bool | None:
        result: bool | None = self.args[0].is_nonnegative
        return result

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        (x,) = self.args
        return 4 * Sigmoid(2 * x) * Sigmoid(-2 * x)

    def rewrite_textbook(self) -> sp.Expr:
        return sp.tanh(self.args[0])

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\tanh{power}\left({printer._print(self.args[0])}\right)"


class LogCosh(sp.Function):
    """``log(cosh(x))``."""

    nargs = 1
    is_real = True
    is_nonnegative = True

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        return cls(-x) if x.could_extract_minus_sign() else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return Tanh(self.args[0])

    def rewrite_textbook(self) -> sp.Expr:
        return sp.log(sp.cosh(self.args[0]))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\log\cosh\left({printer._print(self.args[0])}\right)"
        return body if exp is None else rf"{{{body}}}^{{{exp}}}"


class LogNormalCdf(sp.Function):
    """``log Φ(x)``."""

    nargs = 1
    is_real = True
    is_nonpositive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return Hazard(self.args[0])

    def rewrite_textbook(self) -> sp.Expr:
        return sp.log(sp.erfc(-self.args[0] / sp.sqrt(2)) / 2)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\log\Phi\left({printer._print(self.args[0])}\right)"
        return body if exp is None else rf"{{{body}}}^{{{exp}}}"


class Hazard(sp.Function):
    """``φ(x)/Φ(x)``, the derivative of ``log Φ``."""

    nargs = 1
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        (x,) = self.args
        return -Hazard(x) * HazardExcess(x)

    def rewrite_textbook(self) -> sp.Expr:
        (x,) = self.args
        return normal_density(x) / (sp.erfc(-x / sp.sqrt(2)) / 2)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\frac{{\varphi}}{{\Phi}}\left({printer._print(self.args[0])}\right)"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


class HazardExcess(sp.Function):
    """``x + φ(x)/Φ(x)``, positive and small like ``1/|x|`` far to the left, where the sum would cancel."""

    nargs = 1
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        (x,) = self.args
        return 1 - Hazard(x) * HazardExcess(x)

    def rewrite_textbook(self) -> sp.Expr:
        (x,) = self.args
        return x + normal_density(x) / (sp.erfc(-x / sp.sqrt(2)) / 2)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        x = printer._print(self.args[0])
        body = rf"\left({x} + \frac{{\varphi}}{{\Phi}}\left({x}\right)\right)"
        return body if exp is None else rf"{body}^{{{exp}}}"


class TailMoment(sp.Function):
    """``M_k(h) = ∫_h^∞ (z − h)^k φ(z) dz``: what lies beyond a kink, accurate however far out it is.

    Differences of distribution functions cancel in the tails; these do not. ``M_0 = Φ(−h)``, ``M_1 = φ(h) − h M_0``,
    ``M_{k+1} = k M_{k−1} − h M_k``.
    """

    nargs = 2
    is_real = True
    is_nonnegative = True

    def fdiff(self, argindex: int = 2) -> sp.Expr:
        order, h = self.args
        return -normal_density(h) if order == 0 else -order * TailMoment(order - 1, h)

    def rewrite_textbook(self) -> sp.Expr:
        order, h = self.args
        values = [sp.erfc(h / sp.sqrt(2)) / 2]
        values.append(normal_density(h) - h * values[0])
        for k in range(1, int(order)):
            values.append(sp.expand(k * values[k - 1] - h * values[k]))
        return values[int(order)]

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        order, h = self.args
        body = rf"M_{{{order}}}\left({printer._print(h)}\right)"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


class BivariateTail(sp.Function):
    """``E[(x − h1)_+^j (y − h2)_+^k]`` for standard normal ``x, y`` with correlation ``ρ``: what lies beyond two kinks.

    Arguments ``j, k, h1, h2, ρ, √(1 − ρ²)``; the last is given on its own, so that nothing cancels near ``ρ = ±1``. A
    power 0 is the indicator. At ``h1 = h2 = 0`` it is elementary: the arcsine law and the arc-cosine kernels.

    Examples
    --------
    >>> rho = sp.Symbol("rho", real=True)
    >>> BivariateTail(0, 0, 0, 0, rho, sp.sqrt(1 - rho**2))
    asin(rho)/(2*pi) + 1/4
    """

    nargs = 6
    is_real = True
    is_nonnegative = True

    @classmethod
    def eval(cls, j: sp.Expr, k: sp.Expr, h1: sp.Expr, h2: sp.Expr, rho: sp.Expr, rho_perp: sp.Expr) -> sp.Expr | None:
        if h1 == 0 and h2 == 0:
            return _quadrant_moment(int(j), int(k), rho, rho_perp)
        if rho == 0:
            return TailMoment(j, h1) * TailMoment(k, h2)
        # symmetric in its variables: one form
        if j < k or (j == k and sp.default_sort_key(h1) > sp.default_sort_key(h2)):
            return cls(k, j, h2, h1, rho, rho_perp)
        return None

    def fdiff(self, argindex: int = 3) -> sp.Expr:
        j, k, h1, h2, rho, rho_perp = self.args
        if argindex == 4:
            j, k, h1, h2 = k, j, h2, h1
        elif argindex == 5 and j > 0 and k > 0:
            return j * k * BivariateTail(j - 1, k - 1, h1, h2, rho, rho_perp)
        elif argindex != 3:
            raise sp.ArgumentIndexError(self, argindex)
        if j > 0:
            return -j * BivariateTail(j - 1, k, h1, h2, rho, rho_perp)
        return -normal_density(h1) * rho_perp**k * TailMoment(k, (h2 - rho * h1) / rho_perp)

    def rewrite_textbook(self) -> sp.Expr:
        j, k, h1, h2, rho, rho_perp = self.args
        x = sp.Dummy("x", real=True)
        inner = TailMoment(k, (h2 - rho * x) / rho_perp).rewrite_textbook()
        return sp.Integral((x - h1) ** j * normal_density(x) * rho_perp**k * inner, (x, h1, sp.oo))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        j, k, h1, h2, rho, _ = self.args
        inside = ", ".join(printer._print(e) for e in (h1, h2, rho))
        body = rf"M_{{{j},{k}}}\left({inside}\right)"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


def _quadrant_moment(j: int, k: int, rho: sp.Expr, rho_perp: sp.Expr) -> sp.Expr:
    """``E x_+^j y_+^k`` by Stein's identity; the jump of an indicator is a point mass."""
    if j < k:
        return _quadrant_moment(k, j, rho, rho_perp)
    if j == 0:
        return sp.Rational(1, 4) + sp.asin(rho) / (2 * sp.pi)
    half_line = [TailMoment(order, sp.S.Zero).rewrite_textbook() for order in range(j + k + 1)]
    if k == 0:
        mass = rho * rho_perp ** (j - 1) * half_line[j - 1] / sp.sqrt(2 * sp.pi)
        if j == 1:
            return half_line[0] * (1 + rho) / sp.sqrt(2 * sp.pi)
        return (j - 1) * _quadrant_moment(j - 2, 0, rho, rho_perp) + mass
    result = rho * k * _quadrant_moment(j - 1, k - 1, rho, rho_perp)
    if j == 1:
        return sp.expand(result + rho_perp**k * half_line[k] / sp.sqrt(2 * sp.pi))
    return sp.expand(result + (j - 1) * _quadrant_moment(j - 2, k, rho, rho_perp))


class Branch(sp.Function):
    """``plus`` where the switch is +1, ``minus`` where it is −1; differentiates branch by branch."""

    nargs = 3

    @classmethod
    def eval(cls, switch: sp.Expr, plus: sp.Expr, minus: sp.Expr) -> sp.Expr | None:
        if plus == minus or switch == 1:
            return plus
        if switch == -1:
            return minus
        return None

    def _eval_derivative(self, symbol: sp.Symbol) -> sp.Expr:
        switch, plus, minus = self.args
        return Branch(switch, plus.diff(symbol), minus.diff(symbol))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        switch, plus, minus = (printer._print(a) for a in self.args)
        body = rf"\begin{{cases}} {plus} & {switch} = +1 \\ {minus} & {switch} = -1 \end{{cases}}"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


def normal_density(x: sp.Expr) -> sp.Expr:
    """Density of the standard normal distribution."""
    return sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)


def textbook(expression: sp.Expr) -> sp.Expr:
    """Undo the rewriting: only functions that SymPy and mpmath know, for people and for checks."""
    return expression.replace(lambda e: hasattr(e, "rewrite_textbook"), lambda e: e.rewrite_textbook())


def stabilise(expression: sp.Expr) -> sp.Expr:
    """Rewrite what overflows or cancels as it is written: ``log(1 + exp(u))``, ``1/(1 + exp(u))``, ``log(cosh(u))``."""

    def exponent(e: sp.Expr) -> sp.Expr | None:
        """``u`` when ``e = 1 + exp(u)``."""
        if isinstance(e, sp.Add) and len(e.args) == 2 and e.args[0] == 1 and isinstance(e.args[1], sp.exp):
            return e.args[1].args[0]
        return None

    def rewrite(e: sp.Expr) -> sp.Expr:
        if isinstance(e, sp.log):
            (inner,) = e.args
            if isinstance(inner, sp.cosh):
                return LogCosh(inner.args[0])
            if isinstance(inner, NormalCdf):
                return LogNormalCdf(inner.args[0])
            u = exponent(inner)
            return e if u is None else Softplus(u)
        if isinstance(e, sp.tanh):
            return Tanh(e.args[0])
        if isinstance(e, sp.Pow) and e.exp.is_integer and e.exp.is_negative:
            u = exponent(e.base)
            return e if u is None else Sigmoid(-u) ** (-e.exp)
        if isinstance(e, sp.Mul):
            # exp(u) sigmoid(-u) = sigmoid(u): left as a product it would be inf * 0
            for factor in e.args:
                if isinstance(factor, sp.exp):
                    partner = Sigmoid(-factor.args[0])
                    if partner in e.args:
                        return e / factor / partner * Sigmoid(factor.args[0])
        return e

    return expression.replace(lambda e: isinstance(e, (sp.log, sp.Pow, sp.Mul, sp.tanh)), rewrite)
