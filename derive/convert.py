"""From the expression language to SymPy, and from kinks to switches.

The tree is walked node by node: no text is ever handed to SymPy, so nothing in it can be evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import sympy as sp

from sgdlimit.derive import symbols
from sgdlimit.derive.errors import DerivationError, ExpressionError
from sgdlimit.derive.expression import (
    MAX_EXPONENT,
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
    parse,
)
from sgdlimit.derive.functions import Branch, NormalCdf, Sigmoid, Softplus, stabilise

MAX_BITS = 20_000
"""Binary digits of a power of a number, which is kept exactly."""

_RESERVED: dict[str, sp.Expr] = {
    "r": symbols.r,
    "y": symbols.y,
    "n": symbols.n,
    "r_star": symbols.r_star,
    "xi": symbols.xi,
    "t": symbols.t,
    "pi": sp.pi,
}

_FUNCTIONS: dict[str, Callable[..., sp.Expr]] = {
    "exp": sp.exp,
    "log": sp.log,
    "sqrt": sp.sqrt,
    "Abs": sp.Abs,
    "sign": sp.sign,
    "Max": sp.Max,
    "Min": sp.Min,
    "Heaviside": sp.Heaviside,
    "sin": sp.sin,
    "cos": sp.cos,
    "tan": sp.tan,
    "atan": sp.atan,
    "sinh": sp.sinh,
    "cosh": sp.cosh,
    "tanh": sp.tanh,
    "erf": sp.erf,
    "erfc": sp.erfc,
    "Phi": NormalCdf,
    "sigmoid": Sigmoid,
    "softplus": Softplus,
    "relu": lambda x: sp.Max(0, x),
}


def to_sympy(text: str, where: str) -> sp.Expr:
    """SymPy form of a text in the expression language, in functions that evaluate stably.

    Examples
    --------
    >>> to_sympy("log(1 + exp(-y*r))", "loss")
    softplus(-r*y)
    """
    return stabilise(convert(parse(text, where=where), where))


def convert(tree: Expression, where: str = "expression") -> sp.Expr:
    """SymPy form of a tree, as SymPy makes it of its own accord.

    Raises
    ------
    ExpressionError
        SymPy finds it infinite or complex whatever its variables are, or cannot order the arguments of a ``Max``.

    Examples
    --------
    >>> convert(parse("1/(r - r)"))
    Traceback (most recent call last):
    sgdlimit.derive.errors.ExpressionError: expression: '1/(r - r)' is not a finite real number
    """
    try:
        found = _convert(tree)
    except ExpressionError as error:
        error.where = where
        raise
    except (ValueError, TypeError, ArithmeticError):
        # of Max(0, zoo), or of a Max of constants that are equal, which no number of digits shows
        raise ExpressionError(where, f"{canonical(tree)!r} cannot be simplified", "write its constants out") from None
    if found.has(sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I):
        raise ExpressionError(where, f"{canonical(tree)!r} is not a finite real number")
    return found


def _convert(node: Expression) -> sp.Expr:
    match node:
        case Number(value):
            return sp.Rational(value.numerator, value.denominator)
        case Name(identifier):
            return _RESERVED.get(identifier) or symbols.parameter(identifier)
        case Unary(_, operand):
            return -_convert(operand)
        case Binary(operator, left, right):
            a, b = _convert(left), _convert(right)
            match operator:
                case "+":
                    return a + b
                case "-":
                    return a - b
                case "*":
                    return a * b
                case "/":
                    return a / b
                case "**":
                    if b.is_Number and abs(b) > MAX_EXPONENT:
                        raise ExpressionError(
                            "expression", f"the exponent {b} is too large", f"the largest is {MAX_EXPONENT}"
                        )
                    if a.is_Rational and b.is_number and abs(b) * max(_bits(a.p), _bits(a.q)) > MAX_BITS:
                        raise ExpressionError(
                            "expression", f"{canonical(node)} has too many digits", "write it as a decimal number"
                        )
                    return a**b
                case "&":
                    return sp.And(a, b)
                case "|":
                    return sp.Or(a, b)
        case Call(function, arguments):
            return _FUNCTIONS[function](*(_convert(argument) for argument in arguments))
        case Comparison(operator, left, right):
            relation = {
                "<": sp.StrictLessThan,
                "<=": sp.LessThan,
                ">": sp.StrictGreaterThan,
                ">=": sp.GreaterThan,
            }
            # against 0, so that r < y is seen to depend on r - y alone
            return relation[operator](sp.expand(_convert(left) - _convert(right)), 0)
        case Conditional(branches):
            return sp.Piecewise(*((_convert(value), _condition(condition)) for value, condition in branches))
    raise AssertionError(f"no conversion for {node!r}")


def _bits(number: int) -> int:
    return int(abs(number)).bit_length()


def _condition(node: Expression | Otherwise) -> sp.Basic:
    return sp.true if isinstance(node, Otherwise) else _convert(node)


@dataclass(frozen=True)
class Switch:
    """``symbol = sign(argument)``: which side of a kink (or of the adversary's change of mind) a score is on.

    The argument may use the symbols of earlier switches.

    Parameters
    ----------
    symbol : sympy.Symbol
    argument : sympy.Expr
    near : tuple of sympy.Expr
        Where no formula solves the argument: what has zeros between which a search may miss a pair of its own.
    """

    symbol: sp.Symbol
    argument: sp.Expr
    near: tuple[sp.Expr, ...] = field(default=(), repr=False)

    def map(self, function: Callable[[sp.Expr], sp.Expr]) -> Switch:
        """Apply ``function`` to the expressions."""
        return Switch(self.symbol, function(self.argument), tuple(function(e) for e in self.near))


@dataclass(frozen=True)
class Switched:
    """A piecewise smooth function: smooth in its variable for every fixed value ±1 of its switches.

    Parameters
    ----------
    expression : sympy.Expr
    switches : tuple of Switch
    corners : bool
        Its kinks may meet (corners of a loss at either endpoint, and the switch between the endpoints): which switches
        change at a place is not to be asked of each kink by itself, but of the panels on its two sides.
    """

    expression: sp.Expr
    switches: tuple[Switch, ...] = ()
    corners: bool = field(default=False, repr=False)

    def map(self, function: Callable[[sp.Expr], sp.Expr]) -> Switched:
        """Apply ``function`` to the expression and to the arguments of the switches."""
        switches = tuple(w.map(function) for w in self.switches)
        return Switched(function(self.expression), switches, self.corners)

    def xreplace(self, values: Mapping[sp.Expr, sp.Expr]) -> Switched:
        """Replace symbols, those of the switches' names included."""
        return Switched(
            self.expression.xreplace(values),
            tuple(
                replace(w.map(lambda e: e.xreplace(values)), symbol=values.get(w.symbol, w.symbol))
                for w in self.switches
            ),
            self.corners,
        )

    def substitute(self, symbol: sp.Symbol, value: sp.Expr) -> Switched:
        """Put a value for a symbol."""
        return self.map(lambda e: e.subs(symbol, value))

    def derive(self, symbol: sp.Symbol) -> Switched:
        """Derivative away from the kinks."""
        return replace(self, expression=reduce_squares(self.expression.diff(symbol), self.switches))


def reduce_squares(expression: sp.Expr, switches: tuple[Switch, ...]) -> sp.Expr:
    """Use ``σ² = 1``."""
    for switch in switches:
        if expression.has(switch.symbol):
            expression = sp.expand(expression) if expression.is_polynomial(switch.symbol) else expression
            expression = expression.replace(
                lambda e, sigma=switch.symbol: isinstance(e, sp.Pow) and e.base == sigma and e.exp.is_integer,
                lambda e: e.base ** (int(e.exp) % 2),
            )
    return expression


def switched(expression: sp.Expr, variable: sp.Symbol, prefix: str = "sigma") -> Switched:
    """Replace every kink in ``variable`` by a :class:`Branch` on a switch.

    Examples
    --------
    >>> from sgdlimit.derive.symbols import r
    >>> switched(sp.Max(0, 1 - r), r)
    Switched(expression=Branch(sigma1, 1 - r, 0), switches=(Switch(symbol=sigma1, argument=1 - r),))
    """
    switches: list[Switch] = []

    def switch(argument: sp.Expr) -> sp.Symbol:
        for known in switches:
            if known.argument == argument:
                return known.symbol
        new = Switch(sp.Symbol(f"{prefix}{len(switches) + 1}", real=True), argument)
        switches.append(new)
        return new.symbol

    def choose(condition: sp.Basic, plus: sp.Expr, minus: sp.Expr) -> sp.Expr:
        if condition == True:  # noqa: E712 -- SymPy's BooleanTrue is not Python's
            return plus
        if condition == False:  # noqa: E712
            return minus
        if isinstance(condition, sp.And):
            first, rest = condition.args[0], sp.And(*condition.args[1:])
            return choose(first, choose(rest, plus, minus), minus)
        if isinstance(condition, sp.Or):
            first, rest = condition.args[0], sp.Or(*condition.args[1:])
            return choose(first, plus, choose(rest, plus, minus))
        if isinstance(condition, (sp.StrictLessThan, sp.LessThan)):
            return Branch(switch(walk(condition.rhs - condition.lhs)), plus, minus)
        if isinstance(condition, (sp.StrictGreaterThan, sp.GreaterThan)):
            return Branch(switch(walk(condition.lhs - condition.rhs)), plus, minus)
        raise DerivationError("Piecewise", f"the condition {condition} is not an inequality", "use < <= > >=")

    def walk(e: sp.Expr) -> sp.Expr:
        if not e.has(variable) or e.is_Atom:
            return e
        if isinstance(e, sp.Piecewise):
            result: sp.Expr = sp.nan
            for value, condition in reversed(e.args):
                result = choose(condition, walk(value), result)
            if result.has(sp.nan):
                raise DerivationError(
                    "Piecewise",
                    "some values of its variables meet none of its conditions",
                    "end it with (value, True)",
                )
            return result
        arguments = [walk(argument) for argument in e.args]
        if isinstance(e, sp.Abs):
            (u,) = arguments
            return Branch(switch(u), u, -u)
        if isinstance(e, sp.sign):
            return Branch(switch(arguments[0]), sp.S.One, sp.S.NegativeOne)
        if isinstance(e, sp.Heaviside):
            return Branch(switch(arguments[0]), sp.S.One, sp.S.Zero)
        if isinstance(e, (sp.Max, sp.Min)):
            result = arguments[0]
            for other in arguments[1:]:
                sigma = switch(sp.expand(other - result))
                result = Branch(sigma, other, result) if isinstance(e, sp.Max) else Branch(sigma, result, other)
            return result
        return e.func(*arguments)

    return Switched(walk(expression), tuple(switches))


def split(function: Switched, variable: sp.Symbol, prefix: str) -> Switched:
    """The kinks in another variable as switches too; they come before those that there are.

    Examples
    --------
    >>> from sgdlimit.derive.symbols import r, y
    >>> split(switched(sp.Max(0, 1 - y * r + sp.Abs(y)), r), y, "label").switches[0]
    Switch(symbol=label1, argument=y)
    """
    found = switched(sp.Tuple(function.expression, *(w.argument for w in function.switches)), variable, prefix)
    if not found.switches:
        return function
    expression, *arguments = found.expression.args
    rest = (Switch(w.symbol, e) for w, e in zip(function.switches, arguments, strict=True))
    return Switched(expression, (*found.switches, *rest))
