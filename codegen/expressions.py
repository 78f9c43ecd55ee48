"""Expressions as source text: one short method a node; a node without a method is an error.

Numbers are printed so that a double reads them back exactly; constant subexpressions are folded; small integer powers
are products. The order of terms is SymPy's canonical one, which does not depend on the hash seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import sympy as sp
from sympy.core.relational import Relational

from sgdlimit.derive.functions import (
    BivariateTail,
    Branch,
    Hazard,
    HazardExcess,
    Log1p,
    LogCosh,
    LogNormalCdf,
    NormalCdf,
    Side,
    Sigmoid,
    Softplus,
    Tanh,
)

_SUM, _PRODUCT, _UNARY, _ATOM = 1, 2, 3, 4


class UnknownNodeError(TypeError):
    """An expression holds a node that no emitter knows: a fault of the generator, not of the user."""


class ExpressionPrinter:
    """Prints a SymPy expression in a C-like language; subclasses say how functions and choices are spelled.

    Parameters
    ----------
    name : callable
        Text of a symbol or indexed symbol.
    """

    functions: ClassVar[dict[type, str]]

    def __init__(self, name: Callable[[sp.Expr], str]) -> None:
        self._name = name
        self.used: set[str] = set()

    def __call__(self, expression: sp.Expr) -> str:
        return self._print(expression)[0]

    def _at_least(self, expression: sp.Expr, binding: int) -> str:
        text, own = self._print(expression)
        return text if own >= binding else f"({text})"

    def _print(self, e: sp.Expr) -> tuple[str, int]:
        if isinstance(e, (sp.Symbol, sp.Indexed)):
            return self._name(e), _ATOM
        if e is sp.nan:
            return self._not_a_number(), _ATOM
        if isinstance(e, sp.Expr) and e.is_number and not e.has(Branch, Side, sp.Piecewise):
            return self._number(e)
        if isinstance(e, sp.Add):
            return self._sum(e), _SUM
        if isinstance(e, sp.Mul):
            return self._product(e)
        if isinstance(e, sp.Pow):
            return self._power(e)
        if isinstance(e, sp.Piecewise):
            return self._piecewise(e), _ATOM
        if isinstance(e, Branch):
            switch, plus, minus = e.args
            return self._choose(f"{self._at_least(switch, _PRODUCT)} > 0", self(plus), self(minus)), _ATOM
        if isinstance(e, Side):
            return self._choose(
                f"{self._at_least(e.args[0], _PRODUCT)} > 0", self._literal(1.0), self._literal(-1.0)
            ), _ATOM
        if isinstance(e, sp.sign):
            return self._sign(self(e.args[0])), _ATOM
        if isinstance(e, (sp.Max, sp.Min)):
            return self._extremum(e), _ATOM
        if isinstance(e, sp.Heaviside):
            x = self._at_least(e.args[0], _PRODUCT)
            half = self._choose(f"{x} < 0", self._literal(0.0), self._literal(0.5))
            return self._choose(f"{x} > 0", self._literal(1.0), half), _ATOM
        if isinstance(e, BivariateTail):
            self.used.add(self._bivariate_tail)
            orders, rest = e.args[:2], e.args[2:]
            return f"{self._bivariate_tail}({', '.join([*map(str, orders), *map(self, rest)])})", _ATOM
        if type(e) in self.functions:
            name = self.functions[type(e)]
            self.used.add(name)
            return f"{name}({', '.join(self(a) for a in e.args)})", _ATOM
        raise UnknownNodeError(f"{type(e).__name__} in {e}")

    def _number(self, e: sp.Expr) -> tuple[str, int]:
        value = float(e.evalf(30))
        return self._literal(value), _ATOM if value >= 0 else _UNARY

    def _literal(self, value: float) -> str:
        return repr(float(value))

    def _sum(self, e: sp.Add) -> str:
        text = ""
        for term in e.as_ordered_terms():
            piece = self._at_least(term, _SUM + 1)
            if not text:
                text = piece
            else:
                text += f" - {piece[1:]}" if piece.startswith("-") else f" + {piece}"
        return text

    def _product(self, e: sp.Mul) -> tuple[str, int]:
        constant, above, below = sp.S.One, [], []
        for factor in e.as_ordered_factors():
            if factor.is_number:
                constant *= factor
            elif isinstance(factor, sp.Pow) and factor.exp.is_number and factor.exp.is_negative:
                below.append(factor.base ** (-factor.exp))
            else:
                above.append(factor)
        value = float(constant.evalf(30))
        # a half is better written as a division only where it stands alone; -x needs no factor at all
        sign, size = ("-" if value < 0 else ""), abs(value)
        parts = [self._at_least(f, _PRODUCT + 1) for f in above]
        if size != 1.0 or not parts:
            parts.insert(0, self._literal(size))
        text = sign + "*".join(parts)
        if below:
            divisor = "*".join(self._at_least(f, _PRODUCT + 1) for f in below)
            text += f"/({divisor})" if len(below) > 1 else f"/{self._at_least(below[0], _ATOM)}"
        return text, _PRODUCT

    def _power(self, e: sp.Pow) -> tuple[str, int]:
        base, exponent = e.base, e.exp
        if exponent == sp.Rational(1, 2):
            self.used.add(self._sqrt)
            return f"{self._sqrt}({self(base)})", _ATOM
        if exponent == sp.Rational(1, 4):
            self.used.add(self._sqrt)
            return f"{self._sqrt}({self._sqrt}({self(base)}))", _ATOM
        if exponent.is_number and exponent.is_negative:
            return f"{self._literal(1.0)}/{self._at_least(base ** (-exponent), _ATOM)}", _PRODUCT
        if exponent.is_Integer and exponent <= 4 and base.is_Atom:
            return "*".join([self._at_least(base, _ATOM)] * int(exponent)), _PRODUCT
        return self._general_power(base, exponent)

    def _piecewise(self, e: sp.Piecewise) -> str:
        *branches, (last, condition) = e.args
        if condition != True:  # noqa: E712 -- SymPy's BooleanTrue
            raise UnknownNodeError(f"a Piecewise without a last resort: {e}")
        text = self(last)
        for value, test in reversed(branches):
            text = self._choose(self._condition(test), self(value), text)
        return text

    def _condition(self, e: sp.Basic) -> str:
        if isinstance(e, Relational) and e.rel_op in ("<", "<=", ">", ">=", "==", "!="):
            return f"{self._at_least(e.lhs, _PRODUCT)} {e.rel_op} {self._at_least(e.rhs, _PRODUCT)}"
        if isinstance(e, (sp.And, sp.Or)):
            joined = self._and if isinstance(e, sp.And) else self._or
            return joined.join(f"({self._condition(a)})" for a in sorted(e.args, key=sp.default_sort_key))
        raise UnknownNodeError(f"{type(e).__name__} as a condition")

    _and, _or = " && ", " || "

    _sqrt = "sqrt"
    _bivariate_tail = "bivariate_tail"

    def _not_a_number(self) -> str:
        raise NotImplementedError

    def _choose(self, condition: str, yes: str, no: str) -> str:
        raise NotImplementedError

    def _sign(self, x: str) -> str:
        raise NotImplementedError

    def _extremum(self, e: sp.Max | sp.Min) -> str:
        raise NotImplementedError

    def _general_power(self, base: sp.Expr, exponent: sp.Expr) -> tuple[str, int]:
        raise NotImplementedError


class CExpressions(ExpressionPrinter):
    """C11 with ``math.h`` and the functions of ``library/elementary.h``, pasted in where they are used."""

    _bivariate_tail = "sgdlimit_bivariate_tail"

    functions: ClassVar[dict[type, str]] = {
        sp.exp: "sgdlimit_exp",
        sp.log: "sgdlimit_log",
        Log1p: "sgdlimit_log1p",
        sp.sin: "sin",
        sp.cos: "cos",
        sp.tan: "tan",
        sp.atan: "atan",
        sp.asin: "asin",
        sp.sinh: "sgdlimit_sinh",
        sp.cosh: "sgdlimit_cosh",
        sp.tanh: "sgdlimit_tanh",
        sp.atanh: "atanh",
        sp.asinh: "asinh",
        sp.erf: "sgdlimit_erf",
        sp.erfc: "sgdlimit_erfc",
        sp.Abs: "fabs",
        Softplus: "softplus",
        Sigmoid: "sigmoid",
        NormalCdf: "normal_cdf",
        LogNormalCdf: "log_normal_cdf",
        Hazard: "hazard",
        HazardExcess: "hazard_excess",
        LogCosh: "log_cosh",
        Tanh: "sgdlimit_tanh",
    }

    def _not_a_number(self) -> str:
        return "NAN"

    def _choose(self, condition: str, yes: str, no: str) -> str:
        return f"({condition} ? {yes} : {no})"

    def _sign(self, x: str) -> str:
        return f"(double)(({x} > 0) - ({x} < 0))"

    def _extremum(self, e: sp.Max | sp.Min) -> str:
        name = "larger" if isinstance(e, sp.Max) else "smaller"
        first, *rest = (self(a) for a in sorted(e.args, key=sp.default_sort_key))
        for other in rest:
            first = f"{name}({first}, {other})"
        return first

    def _general_power(self, base: sp.Expr, exponent: sp.Expr) -> tuple[str, int]:
        if exponent == 2:
            self.used.add("square")
            return f"square({self(base)})", _ATOM
        return f"pow({self(base)}, {self(exponent)})", _ATOM


class NumpyExpressions(ExpressionPrinter):
    """NumPy, elementwise; ``erf`` and its kin from ``scipy.special`` where they are used."""

    functions: ClassVar[dict[type, str]] = {
        sp.exp: "np.exp",
        sp.log: "np.log",
        Log1p: "np.log1p",
        sp.sin: "np.sin",
        sp.cos: "np.cos",
        sp.tan: "np.tan",
        sp.atan: "np.arctan",
        sp.asin: "np.arcsin",
        sp.sinh: "np.sinh",
        sp.cosh: "np.cosh",
        sp.tanh: "np.tanh",
        sp.atanh: "np.arctanh",
        sp.asinh: "np.arcsinh",
        sp.erf: "erf",
        sp.erfc: "erfc",
        sp.Abs: "np.abs",
        Softplus: "softplus",
        Sigmoid: "sigmoid",
        NormalCdf: "ndtr",
        LogNormalCdf: "log_ndtr",
        Hazard: "hazard",
        HazardExcess: "hazard_excess",
        LogCosh: "log_cosh",
        Tanh: "np.tanh",
    }
    _sqrt = "np.sqrt"
    _and, _or = " & ", " | "

    def _not_a_number(self) -> str:
        return "np.nan"

    def _choose(self, condition: str, yes: str, no: str) -> str:
        return f"np.where({condition}, {yes}, {no})"

    def _sign(self, x: str) -> str:
        return f"np.sign({x})"

    def _extremum(self, e: sp.Max | sp.Min) -> str:
        name = "np.maximum" if isinstance(e, sp.Max) else "np.minimum"
        first, *rest = (self(a) for a in sorted(e.args, key=sp.default_sort_key))
        for other in rest:
            first = f"{name}({first}, {other})"
        return first

    def _general_power(self, base: sp.Expr, exponent: sp.Expr) -> tuple[str, int]:
        if exponent == 2:
            return f"np.square({self(base)})", _ATOM
        return f"{self._at_least(base, _ATOM)}**{self._at_least(exponent, _ATOM)}", _UNARY
