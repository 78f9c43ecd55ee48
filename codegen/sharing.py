"""What expressions have in common, computed once: equal calls, and exponentials that are products of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import sympy as sp

from sgdlimit.derive.functions import LogCosh, Sigmoid, Softplus, Tanh


def fold(expression: sp.Expr) -> sp.Expr:
    """Irrational constant factors as one number, so that they are not shared piece by piece."""

    def irrational(e: sp.Expr) -> bool:
        return bool(e.is_number and e.is_real and not e.is_Rational and not e.is_Float)

    def one_number(e: sp.Expr) -> sp.Expr:
        constant, rest = e.as_independent(*e.free_symbols, as_Add=False)
        return constant.evalf(30) * rest if irrational(constant) else e

    return expression.replace(lambda e: isinstance(e, sp.Mul) and not e.is_number, one_number).replace(
        irrational, lambda e: e.evalf(30)
    )


_COSTLY = (Tanh, Sigmoid, Softplus, LogCosh, sp.erf, sp.erfc)


def share_calls(expressions: Iterable[sp.Expr]) -> list[sp.Expr]:
    """Arguments of the costly functions multiplied out, so that those that are equal look equal."""
    return [
        e.replace(lambda f: isinstance(f, _COSTLY), lambda f: f.func(sp.expand(f.args[0]))) if e.has(*_COSTLY) else e
        for e in expressions
    ]


def share_exponentials(
    expressions: Sequence[sp.Expr], names: Iterator[sp.Symbol]
) -> tuple[list[tuple[sp.Symbol, sp.Expr]], list[sp.Expr]]:
    """Exponentials of ``−c (polynomial)²`` as powers and products of as few of them as there are, which get names.

    Such a factor is at most 1, so that their products cannot overflow where the whole does not.

    Examples
    --------
    >>> r, a, e1, e2 = sp.symbols("r a e1 e2", real=True)
    >>> near, far = -((r - a) ** 2) / 2, -((r + a) ** 2) / 2
    >>> values = [sp.exp(near), sp.exp(far), sp.exp(sp.expand(2 * near)), sp.exp(-(r**2) - a**2)]
    >>> share_exponentials(values, iter([e1, e2]))
    ([(e1, exp(-(a + r)**2/2)), (e2, exp(-(-a + r)**2/2))], [e2, e1, e2**2, e1*e2])
    """
    calls = sorted({e for x in expressions for e in x.atoms(sp.exp)}, key=sp.default_sort_key)
    exponents = {call: sp.expand(call.args[0]) for call in calls}
    distinct = sorted(set(exponents.values()), key=lambda e: (_size(e), sp.default_sort_key(e)))
    bases: dict[sp.Expr, sp.Symbol] = {}
    computed: list[tuple[sp.Symbol, sp.Expr]] = []
    for exponent in distinct:
        if (square := _minus_square(exponent)) is not None and _product(exponent, bases) is None:
            bases[exponent] = next(names)
            computed.append((bases[exponent], sp.exp(square)))
    products = {exponent: product for exponent in distinct if (product := _product(exponent, bases)) is not None}
    replaced = {call: products[exponent] for call, exponent in exponents.items() if exponent in products}
    return computed, [e.xreplace(replaced) for e in expressions]


_MOST_FACTORS = 3


def _product(exponent: sp.Expr, bases: dict[sp.Expr, sp.Symbol], most: int = _MOST_FACTORS) -> sp.Expr | None:
    """``exp(exponent)`` as a product of at most so many exponentials that are known."""
    if exponent in bases:
        return bases[exponent]
    if most == 1:
        return None
    for base, symbol in bases.items():
        rest = _product(sp.expand(exponent - base), bases, most - 1)
        if rest is not None:
            return symbol * rest
    return None


def _minus_square(exponent: sp.Expr) -> sp.Expr | None:
    """The expanded expression as ``−c (polynomial)²``, if it is that with a rational ``c > 0``."""
    if not exponent.free_symbols or not exponent.is_polynomial(*exponent.free_symbols) or exponent.has(sp.Float):
        return None
    constant, factors = sp.factor_list(exponent)
    if not (constant.is_Rational and constant < 0) or any(power % 2 for _, power in factors):
        return None
    return constant * sp.Mul(*(factor ** (power // 2) for factor, power in factors)) ** 2


def _size(exponent: sp.Expr) -> sp.Expr:
    """Sum of the coefficients' sizes: a product's is the sum of its factors' at most."""
    terms = sp.Add.make_args(exponent)
    return sum((abs(term.as_coeff_Mul()[0]) for term in terms), sp.S.Zero)


def squares_in_denominators(expression: sp.Expr) -> sp.Expr:
    """``1/(a² + 2ab + b²)`` as ``1/(a + b)²``: the sum is 0, or of the wrong sign, where it is merely small.

    Examples
    --------
    >>> a, b = sp.symbols("a b", real=True)
    >>> squares_in_denominators(1 / (a**2 + 2 * a * b + b**2) + 1 / (a**2 + b**2))
    1/(a**2 + b**2) + (a + b)**(-2)
    """

    def is_divided_by(e: sp.Expr) -> bool:
        return isinstance(e, sp.Pow) and e.exp.is_Integer and e.exp < 0 and isinstance(e.base, sp.Add)

    def factored(e: sp.Expr) -> sp.Expr:
        base = e.base
        if base.has(sp.Float) or not base.is_polynomial(*base.free_symbols):
            return e
        constant, factors = sp.factor_list(base)
        if all(power == 1 for _, power in factors):
            return e
        return (constant * sp.Mul(*(factor**power for factor, power in factors))) ** e.exp

    return expression.replace(is_divided_by, factored)


def share(
    expressions: Sequence[sp.Expr], names: Iterator[sp.Symbol]
) -> tuple[list[tuple[sp.Symbol, sp.Expr]], list[sp.Expr]]:
    """Common subexpressions of some expressions, in no particular order, and the expressions in terms of them."""
    exponentials, reduced = share_exponentials([squares_in_denominators(e) for e in expressions], names)
    parts, reduced = sp.cse(
        share_calls(fold(e) for e in (*(e for _, e in exponentials), *reduced)), symbols=names, order="canonical"
    )
    own = [(symbol, e) for (symbol, _), e in zip(exponentials, reduced, strict=False)]
    return [*parts, *own], reduced[len(own) :]
