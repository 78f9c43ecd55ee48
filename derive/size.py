"""How large an expression may be, so that a derivation ends within seconds.

The work grows with two things that a short text can have too many of: kinks, each of which doubles the pieces of a
loss, and terms, into which powers and products of sums are multiplied out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.expression import (
    Binary,
    Call,
    Comparison,
    Conditional,
    Expression,
    Name,
    Number,
    Otherwise,
    Unary,
    canonical,
    names,
    parse,
)

MAX_KINKS = 6
"""Kinks in the variables: ``Abs``, ``sign``, ``Max`` of two, a comparison."""
MAX_TERMS = 500
"""Terms of an expression multiplied out."""
MAX_DEGREE = (16, 8, 6, 3, 2, 2, 1)
"""Degree in one variable of an expression multiplied out, by the number of kinks: every piece is integrated from every
kink."""

MAX_NESTED = 8
"""Functions of the variables inside one another: the second derivative has a factor for each."""

_VARIABLES = ("r", "y", "r_star", "xi", "n")
_KINKED = ("Abs", "sign", "Heaviside", "relu")


def check_size(text: str, where: str) -> None:
    """Refuse an expression that would take too long.

    Raises
    ------
    DerivationError
        Says what there is too much of.

    Examples
    --------
    >>> check_size("(r - y)**2/2", "loss")
    >>> check_size("((r - y)**8)**8", "loss")
    Traceback (most recent call last):
    sgdlimit.derive.errors.DerivationError: loss: multiplied out it is of degree 64, and the largest is 16; \
write a loss of a lower degree
    """
    tree = parse(text, where=where)
    kinks = len(dict.fromkeys(_kinks(tree)))
    if kinks > MAX_KINKS:
        raise DerivationError(where, f"it has {kinks} kinks, and the most is {MAX_KINKS}", "write fewer Abs, Max, …")
    nested = _nested(tree)
    if nested > MAX_NESTED:
        raise DerivationError(
            where, f"{nested} functions stand inside one another, and the most is {MAX_NESTED}", "use fewer"
        )
    largest = MAX_DEGREE[kinks]
    for part in _polynomials(tree):
        degree = max(_expanded(part, name)[0] for name in _VARIABLES)
        terms = _expanded(part, "")[1]
        if degree > largest:
            raise DerivationError(
                where,
                f"multiplied out it is of degree {degree}, and the largest is {largest}"
                + (f" with {kinks} kinks" if kinks > 1 else " with a kink" if kinks else ""),
                f"write a {where} of a lower degree",
            )
        if terms > MAX_TERMS:
            raise DerivationError(
                where, f"multiplied out it has {terms} terms, and the most is {MAX_TERMS}", "use fewer names, or powers"
            )


def _children(node: Expression | Otherwise) -> tuple[Expression | Otherwise, ...]:
    match node:
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right) | Comparison(_, left, right):
            return (left, right)
        case Call(_, arguments):
            return arguments
        case Conditional(branches):
            return tuple(part for branch in branches for part in branch)
        case _:
            return ()


def _nested(node: Expression | Otherwise) -> int:
    """Functions of the variables inside one another."""
    if isinstance(node, Otherwise) or not set(_VARIABLES) & set(names(node)):
        return 0
    return int(isinstance(node, Call)) + max(map(_nested, _children(node)), default=0)


def _kinks(node: Expression | Otherwise) -> Iterator[str]:
    """A text for each kink; the same kink twice gives the same text."""
    if isinstance(node, Otherwise) or not set(_VARIABLES) & set(names(node)):
        return
    match node:
        case Call(("Max" | "Min"), arguments):
            yield from (canonical(argument) for argument in arguments[1:])
        case Call(function, _) if function in _KINKED:
            yield canonical(node)
        case Comparison():
            yield canonical(node)
    for child in _children(node):
        yield from _kinks(child)


def _polynomials(node: Expression) -> Iterator[Expression]:
    """The tree itself, and whatever stands inside a function."""
    yield node
    pending: list[Expression | Otherwise] = [node]
    while pending:
        part = pending.pop()
        pending += _children(part)
        if isinstance(part, Call):
            yield from part.arguments


def _expanded(node: Expression | Otherwise, variable: str) -> tuple[int, int]:
    """Degree in a variable and number of terms, if powers and products were multiplied out."""
    match node:
        case Name(identifier):
            return int(identifier == variable), 1
        case Unary(_, operand):
            return _expanded(operand, variable)
        case Binary("**", base, Number(power)) | Binary("**", base, Unary("-", Number(power))):
            degree, terms = _expanded(base, variable)
            k = math.ceil(power)
            return degree * k, math.comb(terms + k - 1, k)
        case Binary("**", base, _):
            return _expanded(base, variable)
        case Binary(sign, left, right):
            (degree, terms), (other_degree, other_terms) = _expanded(left, variable), _expanded(right, variable)
            if sign in "+-":
                return max(degree, other_degree), terms + other_terms
            return degree + other_degree, terms * other_terms
        case Call(("Max" | "Min" | "Abs" | "relu"), arguments):
            found = [_expanded(argument, variable) for argument in arguments]
            return max(degree for degree, _ in found), max(terms for _, terms in found)
        case Call(_, arguments) if variable in names(node):
            return max(_expanded(argument, variable)[0] for argument in arguments) and 1, 1
        case Conditional(branches):
            found = [_expanded(value, variable) for value, _ in branches]
            return max(degree for degree, _ in found), max(terms for _, terms in found)
        case _:
            return 0, 1
