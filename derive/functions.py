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
    return expression.replace(lambda e: isinstance(e, (Softplus, Sigmoid, NormalCdf)), lambda e: e.rewrite_textbook())


def stabilise(expression: sp.Expr) -> sp.Expr:
    """Rewrite ``log(1 + exp(u))`` and ``1/(1 + exp(u))`` into :class:`Softplus` and :class:`Sigmoid`."""

    def exponent(e: sp.Expr) -> sp.Expr | None:
        """``u`` when ``e = 1 + exp(u)``."""
        if isinstance(e, sp.Add) and len(e.args) == 2 and e.args[0] == 1 and isinstance(e.args[1], sp.exp):
            return e.args[1].args[0]
        return None

    def rewrite(e: sp.Expr) -> sp.Expr:
        if isinstance(e, sp.log):
            u = exponent(e.args[0])
            return e if u is None else Softplus(u)
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

    return expression.replace(lambda e: isinstance(e, (sp.log, sp.Pow, sp.Mul)), rewrite)
