"""The expression language evaluated with NumPy, straight from the tree.

This is the user's loss as the user wrote it. The simulator's statistics and the schedule use it, so that nothing
that the
derivation or the code generation does can hide in what is compared with them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdlimit.derive.errors import ExpressionError
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
)

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": np.divide,
    "**": np.power,
    "&": np.logical_and,
    "|": np.logical_or,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def _special(name: str) -> Callable[..., Any]:
    """A function of ``scipy.special``, imported when it is called."""

    def call(x: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(x)

    return call


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "Abs": np.abs,
    "sign": np.sign,
    "Max": lambda *a: _fold(np.maximum, a),
    "Min": lambda *a: _fold(np.minimum, a),
    "Heaviside": lambda x: np.heaviside(x, 0.5),
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "erf": _special("erf"),
    "erfc": _special("erfc"),
    "Phi": _special("ndtr"),
    "sigmoid": _special("expit"),
    "softplus": lambda x: np.logaddexp(0.0, x),
    "relu": lambda x: np.maximum(x, 0.0),
}


def _fold(function: Callable[[Any, Any], Any], arguments: tuple[Any, ...]) -> Any:
    first, *rest = arguments
    for other in rest:
        first = function(first, other)
    return first


def evaluate(expression: Expression, environment: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    """Value of an expression, elementwise.

    Parameters
    ----------
    expression : Expression
        A tree from :func:`sgdlimit.derive.expression.parse`.
    environment : mapping of str to array_like
        Values of its names; they broadcast.

    Returns
    -------
    array of float64
        Not finite where the expression is not defined or overflows: the caller says what that means.

    Raises
    ------
    ExpressionError
        For a name without a value.

    Examples
    --------
    >>> from sgdlimit.derive.expression import parse
    >>> evaluate(parse("log(1 + exp(-y*r))"), {"r": [0.0, 1.0], "y": 1}).round(4).tolist()
    [0.6931, 0.3133]
    """
    with np.errstate(all="ignore"):
        return np.asarray(_value(expression, environment), dtype=np.float64)


def _value(node: Expression, environment: Mapping[str, ArrayLike]) -> Any:
    match node:
        case Number(value):
            return float(value)
        case Name("pi"):
            return np.pi
        case Name(identifier):
            if identifier not in environment:
                raise ExpressionError("expression", f"{identifier} has no value", f"known are {', '.join(environment)}")
            return np.asarray(environment[identifier], dtype=np.float64)
        case Unary(_, operand):
            return -_value(operand, environment)
        case Call("log", (Binary("+", Number(one), Call("exp", (exponent,))),)) if one == 1:
            # the same number as written, where exp alone would overflow
            return np.logaddexp(0.0, _value(exponent, environment))
        case Binary(sign, left, right) | Comparison(sign, left, right):
            return _OPERATORS[sign](_value(left, environment), _value(right, environment))
        case Call(function, arguments):
            return _FUNCTIONS[function](*(_value(a, environment) for a in arguments))
        case Conditional(branches):
            (last, _), *others = reversed(branches)
            result = _value(last, environment)
            for chosen, condition in others:
                assert not isinstance(condition, Otherwise)
                result = np.where(_value(condition, environment), _value(chosen, environment), result)
            return result
    raise AssertionError(f"no evaluation for {node!r}")
