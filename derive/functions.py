"""SymPy functions that floating-point code can evaluate without overflow or cancellation.

A loss is rewritten into these once, when it is read; derivatives then stay in the family
(``Softplus' = Sigmoid``), so nothing downstream meets ``exp(x)/(1 + exp(x))``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import sympy as sp


class Notated(sp.Function):
    """A function that states its notation once, as a TeX template; MathML is made from the TeX.

    ``#1``, ``#2``, … stand for the arguments and ``#^`` for the place of an exponent; where there is none, a power is
    that of the whole in brackets.
    """

    notation: ClassVar[str]

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = self.notation.replace("#^", "" if exp is None else f"^{{{exp}}}")
        for k, argument in enumerate(self.args, start=1):
            body = body.replace(f"#{k}", printer._print(argument))
        return body if exp is None or "#^" in self.notation else rf"\left({body}\right)^{{{exp}}}"


class Stable(Notated):
    """A function that SymPy does not know: its value at a number is that of its textbook form.

    One that the expression language knows, alone or composed of others, says how it is written there: errors and
    documents speak to the user.
    """

    written: ClassVar[str] = ""

    def _sympystr(self, printer: Any) -> str:
        arguments = [printer._print(argument) for argument in self.args]
        if not self.written:
            return f"{type(self).__name__}({', '.join(arguments)})"
        return self.written.replace("#1", arguments[0])

    def rewrite_textbook(self) -> sp.Expr:
        """The same in functions that SymPy and mpmath know."""
        raise NotImplementedError

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return self.rewrite_textbook()._eval_evalf(prec)


class Softplus(Stable):
    """``log(1 + exp(x))``."""

    nargs = 1
    notation = r"\log\left(1 + e^{#1}\right)"
    written = "softplus(#1)"
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return Sigmoid(self.args[0])

    def rewrite_textbook(self) -> sp.Expr:
        return sp.log(1 + sp.exp(self.args[0]))


class Sigmoid(Stable):
    """``1/(1 + exp(-x))``."""

    nargs = 1
    notation = r"\operatorname{sigmoid}#^\left(#1\right)"
    written = "sigmoid(#1)"
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        (x,) = self.args
        return Sigmoid(x) * Sigmoid(-x)

    def rewrite_textbook(self) -> sp.Expr:
        return 1 / (1 + sp.exp(-self.args[0]))


class NormalCdf(Stable):
    """``Φ(x)``, the standard normal distribution function."""

    nargs = 1
    notation = r"\Phi#^\left(#1\right)"
    written = "Phi(#1)"
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return normal_density(self.args[0])

    def rewrite_textbook(self) -> sp.Expr:
        return sp.erfc(-self.args[0] / sp.sqrt(2)) / 2


class Tanh(Stable):
    """``tanh(x)``, whose derivative ``1 − tanh²`` is written so that it keeps its digits where it is small."""

    nargs = 1
    notation = r"\tanh#^\left(#1\right)"
    written = "tanh(#1)"
    is_real = True

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        return -cls(-x) if x.could_extract_minus_sign() else None

    def _eval_is_nonnegative(self) -> bool | None:
        result: bool | None = self.args[0].is_nonnegative
        return result

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        (x,) = self.args
        return 4 * Sigmoid(2 * x) * Sigmoid(-2 * x)

    def rewrite_textbook(self) -> sp.Expr:
        return sp.tanh(self.args[0])


class LogCosh(Stable):
    """``log(cosh(x))``."""

    nargs = 1
    notation = r"\log\cosh\left(#1\right)"
    written = "log(cosh(#1))"
    is_real = True
    is_nonnegative = True

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        return cls(-x) if x.could_extract_minus_sign() else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return Tanh(self.args[0])

    def rewrite_textbook(self) -> sp.Expr:
        return sp.log(sp.cosh(self.args[0]))


class Log1p(Stable):
    """``log(1 + x)``, which keeps its digits where ``x`` is small."""

    nargs = 1
    notation = r"\log\left(1 + #1\right)"
    written = "log(1 + #1)"
    is_real = True

    def _eval_is_nonnegative(self) -> bool | None:
        result: bool | None = self.args[0].is_nonnegative
        return result

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return 1 / (1 + self.args[0])

    def rewrite_textbook(self) -> sp.Expr:
        return sp.log(1 + self.args[0])


class LogNormalCdf(Stable):
    """``log Φ(x)``."""

    nargs = 1
    notation = r"\log\Phi\left(#1\right)"
    written = "log(Phi(#1))"
    is_real = True
    is_nonpositive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return Hazard(self.args[0])

    def rewrite_textbook(self) -> sp.Expr:
        return sp.log(sp.erfc(-self.args[0] / sp.sqrt(2)) / 2)


class Hazard(Stable):
    """``φ(x)/Φ(x)``, the derivative of ``log Φ``."""

    nargs = 1
    notation = r"\frac{\varphi}{\Phi}\left(#1\right)"
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        (x,) = self.args
        return -Hazard(x) * HazardExcess(x)

    def rewrite_textbook(self) -> sp.Expr:
        (x,) = self.args
        return normal_density(x) / (sp.erfc(-x / sp.sqrt(2)) / 2)


class HazardExcess(Stable):
    """``x + φ(x)/Φ(x)``, positive and small like ``1/|x|`` far to the left, where the sum would cancel."""

    nargs = 1
    notation = r"\left(#1 + \frac{\varphi}{\Phi}\left(#1\right)\right)#^"
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        (x,) = self.args
        return 1 - Hazard(x) * HazardExcess(x)

    def rewrite_textbook(self) -> sp.Expr:
        (x,) = self.args
        return x + normal_density(x) / (sp.erfc(-x / sp.sqrt(2)) / 2)


class TailMoment(Stable):
    """``M_k(h) = ∫_h^∞ (z − h)^k φ(z) dz``: what lies beyond a kink, accurate however far out it is.

    Differences of distribution functions cancel in the tails; these do not. ``M_0 = Φ(−h)``, ``M_1 = φ(h) − h M_0``,
    ``M_{k+1} = k M_{k−1} − h M_k``.
    """

    nargs = 2
    notation = r"M_{#1}#^\left(#2\right)"
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


class ScaledTailMoment(Stable):
    """``M_k(h)/φ(h)``: a tail moment without the density, which meets an exponential that would overflow alone."""

    nargs = 2
    notation = r"\frac{M_{#1}}{\varphi}\left(#2\right)"
    is_real = True
    is_nonnegative = True

    def rewrite_textbook(self) -> sp.Expr:
        order, h = self.args
        return TailMoment(order, h).rewrite_textbook() / normal_density(h)


class Side(Notated):
    """+1 where its argument is positive, −1 elsewhere: the value of a switch."""

    nargs = 1
    notation = r"\operatorname{sign}#^\left(#1\right)"
    is_real = True

    @classmethod
    def eval(cls, argument: sp.Expr) -> sp.Expr | None:
        if argument.is_positive:
            return sp.S.One
        if argument.is_nonpositive:
            return sp.S.NegativeOne
        return None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Zero: what happens where it jumps is a matter of point masses."""
        return sp.S.Zero

    @property
    def positive_where(self) -> sp.Expr:
        """What it is the side of."""
        return self.args[0]


class BivariateTail(Stable):
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
    notation = r"M_{#1,#2}#^\left(#3, #4, #5\right)"
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

    def _eval_is_real(self) -> bool | None:
        return True if all(value.is_real for value in self.args[1:]) else None

    def _eval_derivative(self, symbol: sp.Symbol) -> sp.Expr:
        switch, plus, minus = self.args
        return Branch(switch, plus.diff(symbol), minus.diff(symbol))

    @property
    def is_indicator(self) -> bool:
        """Whether the values are 1 and 0."""
        return set(self.args[1:]) == {sp.S.Zero, sp.S.One}

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        if self.is_indicator:
            switch, plus, _ = self.args
            body = rf"\mathbf{{1}}_{{\left\{{{_holds(switch, 1 if plus == 1 else -1, printer)}\right\}}}}"
            return body if exp is None else f"{{{body}}}^{{{exp}}}"
        rows = [
            (printer._print(value), r",\; ".join(_holds(switch, sign, printer) for switch, sign in pattern))
            for value, pattern in self._rows()
        ]
        if len(rows) == 2:
            rows[1] = (rows[1][0], r"\text{otherwise}")
        inner = r" \\ ".join(f"{value} & {condition}" for value, condition in rows)
        body = rf"\begin{{cases}} {inner} \end{{cases}}"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"

    def _rows(self, pattern: tuple[tuple[sp.Expr, int], ...] = ()) -> Iterator[tuple[sp.Expr, Any]]:
        """Values and the patterns of switches under which they hold, branches of branches included."""
        switch, plus, minus = self.args
        for value, sign in ((plus, 1), (minus, -1)):
            here = (*pattern, (switch, sign))
            if isinstance(value, Branch):
                yield from value._rows(here)
            else:
                yield value, here


def _holds(switch: sp.Expr, sign: int, printer: Any) -> str:
    """That a switch has a value, as a condition on what it is the sign of where that is known."""
    factor, rest = switch.as_coeff_Mul()
    if factor == -1:
        switch, sign = rest, -sign
    argument = getattr(switch, "positive_where", None)
    if argument is not None:
        relation = ">" if sign > 0 else r"\le"
        return f"{printer._print(argument)} {relation} 0"
    return f"{printer._print(switch)} = {'+' if sign > 0 else '-'}1"


def normal_density(x: sp.Expr) -> sp.Expr:
    """Density of the standard normal distribution."""
    return sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)


def textbook(expression: sp.Expr) -> sp.Expr:
    """Undo the rewriting: only functions that SymPy and mpmath know, for people and for checks."""
    return expression.replace(lambda e: hasattr(e, "rewrite_textbook"), lambda e: e.rewrite_textbook())


def stabilise(expression: sp.Expr) -> sp.Expr:
    """Rewrite what overflows or cancels as it is written: ``log(1 + exp(u))``, ``1 - sigmoid(u)``, ``log(cosh(u))``.

    Examples
    --------
    >>> r = sp.Symbol("r", real=True)
    >>> stabilise(-((1 - Sigmoid(r)) ** 2) * sp.log(Sigmoid(r))), stabilise(2 * Sigmoid(r) - 1)
    (sigmoid(-r)**2*softplus(-r), tanh(r/2))
    """

    def exponent(e: sp.Expr) -> sp.Expr | None:
        """``u`` when ``e = 1 + exp(u)``."""
        if isinstance(e, sp.Add) and len(e.args) == 2 and e.args[0] == 1 and isinstance(e.args[1], sp.exp):
            return e.args[1].args[0]
        return None

    def rewrite(e: sp.Expr) -> sp.Expr:
        if isinstance(e, sp.Add):
            return _without_complements(e)
        if isinstance(e, sp.log):
            (inner,) = e.args
            if isinstance(inner, sp.cosh):
                return LogCosh(inner.args[0])
            if isinstance(inner, NormalCdf):
                return LogNormalCdf(inner.args[0])
            if isinstance(inner, Sigmoid):
                return -Softplus(-inner.args[0])
            u = exponent(inner)
            if u is not None:
                return Softplus(u)
            return Log1p(inner - 1) if isinstance(inner, sp.Add) and inner.args[0] == 1 else e
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

    return expression.replace(lambda e: isinstance(e, (sp.log, sp.Pow, sp.Mul, sp.Add, sp.tanh)), rewrite)


def _without_complements(total: sp.Add) -> sp.Expr:
    """``1 − σ(u)`` as ``σ(−u)``, ``2σ(u) − 1`` as ``tanh(u/2)``, and the same of ``Φ``, in a sum of any other terms."""
    constant, terms = total.as_coeff_Add()
    if constant == 0:
        return total
    for term in sp.Add.make_args(terms):
        factor, function = term.as_coeff_Mul()
        if not isinstance(function, (Sigmoid, NormalCdf)):
            continue
        (u,) = function.args
        if factor == -constant:
            return terms - term + constant * function.func(-u)
        if factor == -2 * constant:
            odd = Tanh(u / 2) if isinstance(function, Sigmoid) else sp.erf(u / sp.sqrt(2))
            return terms - term - constant * odd
    return total
