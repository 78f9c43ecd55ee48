"""The expression language: text to tree and back, with nothing evaluated on the way.

A loss, a teacher, a statistic or a schedule is written in Python's arithmetic syntax::

    log(1 + exp(-y*r))
    Piecewise((r**2/2, Abs(r) < delta), (delta*(Abs(r) - delta/2), True))

`parse` knows a closed list of operators and functions (`FUNCTIONS`) and turns everything else into an
`ExpressionError` that names the position. It never calls ``eval``, and its limits on length, nesting, numbers
and exponents hold for hostile text too. `canonical` is its inverse: one text for one tree.

A text means what it means in Python: ``**`` groups to the right and binds tighter than a sign on its left
(``-x**2`` is ``-(x**2)``), ``-a*b`` is ``(-a)*b``; ``&`` and ``|`` bind tighter than comparisons, which want
parentheses: ``(r > 0) & (r < 1)``. Comparisons stand only in the conditions of ``Piecewise``, whose last
condition is ``True``. Numbers are exact decimals. ``pi`` is the one constant; any other name is free.
"""

from __future__ import annotations

import difflib
import keyword
import math
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, TypeAlias, assert_never

from sgdlimit.derive.errors import ExpressionError

MAX_LENGTH = 4000
"""Characters of a text, and of its canonical form."""
MAX_NODES = 1000
"""Nodes of a tree."""
MAX_NESTING = 50
"""Parentheses, calls, signs and powers inside one another."""
MAX_DEPTH = 100
"""Levels of a tree (a sum of n terms has n): few enough for a recursive ``==``, ``hash`` and ``repr``."""
MAX_NAME = 40
"""Characters of a name."""
MAX_DIGITS = 50
"""Significant digits of a number."""
MAX_DECIMAL_EXPONENT = 300
"""Decimal exponent of a number's first digit, in absolute value: every number is a normal double."""
MAX_EXPONENT = 64
"""Constant exponents of a power, in absolute value."""


# ── Nodes ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Number:
    """A nonnegative decimal, exactly; a quotient such as ``1/3`` stays a `Binary`, a sign a `Unary`."""

    value: Fraction

    def __post_init__(self) -> None:
        if self.value < 0 or not _terminates(self.value):
            raise ValueError(f"a Number is a nonnegative terminating decimal, not {self.value}")


@dataclass(frozen=True)
class Name:
    """A free name, or the constant ``pi``."""

    identifier: str


@dataclass(frozen=True)
class Unary:
    """``-operand``."""

    operator: str
    operand: Expression


@dataclass(frozen=True)
class Binary:
    """``left operator right`` with an operator of ``+ - * / **``; ``&`` and ``|`` join two conditions."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Call:
    """A function of `FUNCTIONS` at its arguments."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Comparison:
    """A condition ``left operator right`` with an operator of ``< <= > >=``."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Otherwise:
    """``True``, the last condition of a `Conditional`."""


@dataclass(frozen=True)
class Conditional:
    """``Piecewise``: the value of the first branch whose condition holds; the last is `Otherwise`."""

    branches: tuple[tuple[Expression, Expression | Otherwise], ...]


Expression: TypeAlias = Number | Name | Unary | Binary | Call | Comparison | Conditional


# ── Vocabulary ──────────────────────────────────────────────────────────────────────────────────────────────

PI = "pi"

FUNCTIONS: Mapping[str, int | None] = MappingProxyType(
    {
        "exp": 1,
        "log": 1,
        "sqrt": 1,
        "Abs": 1,
        "sign": 1,
        "Max": None,
        "Min": None,
        "Heaviside": 1,
        "sin": 1,
        "cos": 1,
        "tan": 1,
        "atan": 1,
        "sinh": 1,
        "cosh": 1,
        "tanh": 1,
        "erf": 1,
        "erfc": 1,
        "Phi": 1,
        "sigmoid": 1,
        "softplus": 1,
        "relu": 1,
    }
)
"""Number of arguments of each function; None: two or more. ``Piecewise`` is no function but a `Conditional`.

``Heaviside(0)`` is 1/2 and ``sign(0)`` is 0; ``Phi`` is the normal distribution function, ``sigmoid(x)`` is
``1/(1 + exp(-x))``, ``softplus(x)`` is ``log(1 + exp(x))``, ``relu(x)`` is ``Max(x, 0)``.
"""

ALIASES: Mapping[str, str] = MappingProxyType({"abs": "Abs", "max": "Max", "min": "Min", "ln": "log"})
"""Second spellings, folded into the first while parsing."""

_PIECEWISE = "Piecewise"

# Binding powers, weakest first, as in Python.
_COMPARISON, _OR, _AND, _SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(1, 9)
_INFIX: Mapping[str, int] = {
    **dict.fromkeys(("<", "<=", ">", ">="), _COMPARISON),
    "|": _OR,
    "&": _AND,
    **dict.fromkeys("+-", _SUM),
    **dict.fromkeys("*/", _PRODUCT),
    "**": _POWER,
}

# Values of constant subexpressions: exact while rational, a double otherwise, a truth value for conditions.
_Value: TypeAlias = Fraction | float | bool

_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "&": operator.and_,
    "|": operator.or_,
}
_AT_CONSTANTS: Mapping[str, Callable[..., Any]] = {
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "Abs": abs,
    "sign": lambda x: Fraction((x > 0) - (x < 0)),
    "Max": max,
    "Min": min,
    "Heaviside": lambda x: Fraction((x > 0) + (x >= 0), 2),
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "atan": math.atan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "erf": math.erf,
    "erfc": math.erfc,
    "Phi": lambda x: math.erfc(-x / math.sqrt(2)) / 2,
    "sigmoid": lambda x: (1 + math.tanh(x / 2)) / 2,
    "softplus": lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))),
    "relu": lambda x: max(x, Fraction(0)),
}

# What people write from other languages, or paste from a paper, and what to write here.
_REFUSED_SYMBOLS: Mapping[str, str] = {
    "^": "write ** for a power",
    "//": "write / for a quotient",
    "==": "compare with <, <=, > or >=",
    "!=": "compare with <, <=, > or >=",
    "=": "write the right-hand side alone",
    "[": "group with ( and )",
    "]": "group with ( and )",
    "{": "group with ( and )",
    "}": "group with ( and )",
    "~": "write the opposite comparison",
    "−": "write -",
    "·": "write *",
    "×": "write *",
    "²": "write **2",
    "³": "write **3",
    "√": "write sqrt(...)",
    "≤": "write <=",
    "≥": "write >=",
}
_REFUSED_WORDS: Mapping[str, str] = {
    "and": "join conditions as in (r > 0) & (r < 1)",
    "or": "join conditions as in (r < 0) | (r > 1)",
    "not": "write the opposite comparison",
    "if": "write Piecewise((value, condition), (other value, True))",
    "else": "write Piecewise((value, condition), (other value, True))",
    "lambda": "call it lam",
    "True": "True is the last condition of Piecewise, as in (value, True)",
    "nan": "every value must be a finite number",
    "inf": "every value must be a finite number",
    "oo": "every value must be a finite number",
    "zoo": "every value must be a finite number",
    "Eq": "compare with <, <=, > or >=",
    "Ne": "compare with <, <=, > or >=",
}


# ── Tokens ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Token:
    kind: str  # "number", "name", "symbol" or "end"
    text: str
    position: int


_TOKEN = re.compile(
    r"""(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<refused>//|==|!=)
      | (?P<symbol>\*\*|<=|>=|[-+*/<>&|(),])
    """,
    re.VERBOSE,
)
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?")


@dataclass(frozen=True)
class _Part:
    """A subtree with what its parents ask of it."""

    expression: Expression
    position: int
    depth: int = 1
    value: _Value | None = None  # None: it depends on names

    @property
    def is_condition(self) -> bool:
        match self.expression:
            case Comparison() | Binary("&" | "|"):
                return True
            case _:
                return False


# ── Parsing ─────────────────────────────────────────────────────────────────────────────────────────────────


def parse(text: str, *, where: str = "expression") -> Expression:
    """The tree of a text.

    Parameters
    ----------
    text : str
        An expression of the language of this module.
    where : str, optional
        What the text is, for error messages.

    Returns
    -------
    Expression
        A tree of frozen nodes, in which nothing is simplified.

    Raises
    ------
    ExpressionError
        The text is not of the language, exceeds a limit, or has a constant part that is no finite real number
        (``1/0``, ``log(-1)``). The error knows the position, 0-based.

    Examples
    --------
    >>> parse("2*r")
    Binary(operator='*', left=Number(value=Fraction(2, 1)), right=Name(identifier='r'))
    >>> parse("r^2", where="the loss")
    Traceback (most recent call last):
    sgdlimit.derive.errors.ExpressionError: the loss: unknown '^' at position 1 of 'r^2'; write ** for a power
    """
    return _Parser(text, where).whole()


class _Parser:
    """A precedence (Pratt) parser with one token of look-ahead; its methods are the grammar, top down."""

    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._nodes = 0
        self._nesting = 0
        if not isinstance(text, str):
            raise ExpressionError(where, f"it is of type {type(text).__name__}, not text", "write it as text")
        if len(text) > MAX_LENGTH:
            raise self._error(MAX_LENGTH, f"more than {MAX_LENGTH} characters of text")
        self._last = _Token("start", "", 0)
        self._token = self._scan(0)

    def whole(self) -> Expression:
        if self._token.kind == "end":
            raise self._error(0, "no expression")
        part = self._value_of(self._expression(_COMPARISON))
        if self._token.kind != "end":
            raise self._unexpected("the end of the expression")
        # Spaces and spelled-out numbers lengthen a text, and a canonical text must be accepted again.
        if len(canonical(part.expression)) > MAX_LENGTH:
            raise self._error(len(self._text), f"more than {MAX_LENGTH} characters of canonical text")
        return part.expression

    def _expression(self, weakest: int) -> _Part:
        """An operand and the operators after it that bind at least as tightly as `weakest`."""
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise self._error(self._token.position, f"nesting deeper than {MAX_NESTING}")
        left = self._operand()
        while self._token.kind == "symbol" and (binding := _INFIX.get(self._token.text, 0)) >= weakest:
            symbol = self._next()
            # A power groups to the right and may have a sign in its exponent; all others group to the left.
            right = self._expression(_SIGN if binding == _POWER else binding + 1)
            left = self._joined(symbol, binding, left, right)
        self._nesting -= 1
        return left

    def _operand(self) -> _Part:
        token = self._next()
        match token:
            case _Token("number"):
                number = self._number(token)
                return self._part(Number(number), token.position, value=number)
            case _Token("name"):
                return self._named(token)
            case _Token("symbol", "-"):
                operand = self._value_of(self._expression(_SIGN))
                negative = self._constant(token.position, operator.neg, operand)
                return self._part(Unary("-", operand.expression), token.position, operand, value=negative)
            case _Token("symbol", "+"):
                return self._value_of(self._expression(_SIGN))
            case _Token("symbol", "("):
                inner = self._expression(_COMPARISON)
                self._expect(")")
                return inner
            case _Token("end"):
                raise self._error(token.position, "the text ends where an operand should stand")
            case _:
                raise self._error(token.position, f"{token.text!r} stands where an operand should")

    def _joined(self, symbol: _Token, binding: int, left: _Part, right: _Part) -> _Part:
        """``left symbol right``, once its sides are what the operator takes."""
        where, sign = symbol.position, symbol.text
        node: Binary | Comparison
        if binding in (_OR, _AND):
            if not (left.is_condition and right.is_condition):
                remedy = f"put each condition in parentheses, as in (r > 0) {sign} (y < 1)"
                raise self._error(where, f"{sign!r} between what are not conditions", remedy)
            node = Binary(sign, left.expression, right.expression)
        elif binding == _COMPARISON:
            if left.is_condition or right.is_condition:
                remedy = "write (a < b) & (b < c) for a < b < c"
                raise self._error(where, "a chained comparison", remedy)
            node = Comparison(sign, left.expression, right.expression)
        else:
            self._value_of(left)
            self._value_of(right)
            if sign == "**" and right.value is not None and abs(float(right.value)) > MAX_EXPONENT:
                raise self._error(where, f"an exponent beyond ±{MAX_EXPONENT}")
            node = Binary(sign, left.expression, right.expression)
        value = self._constant(where, _ARITHMETIC[sign], left, right)
        return self._part(node, left.position, left, right, value=value)

    def _named(self, token: _Token) -> _Part:
        """A free name, ``pi``, or a call."""
        name = ALIASES.get(token.text, token.text)
        if name.startswith("_") or len(name) > MAX_NAME:
            remedy = f"begin with a letter and use at most {MAX_NAME} characters"
            raise self._error(token.position, f"{name[:MAX_NAME]!r} cannot be a name", remedy)
        if name in _REFUSED_WORDS or keyword.iskeyword(name):
            remedy = _REFUSED_WORDS.get(name, "choose another name")
            raise self._error(token.position, f"{name!r} cannot stand here", remedy)
        if self._token.text == "(":
            if name == _PIECEWISE:
                return self._piecewise(token)
            return self._call(name, token)
        if name in FUNCTIONS or name == _PIECEWISE:
            raise self._error(token.position, f"function {name!r} without arguments", f"write {name}(...)")
        return self._part(Name(name), token.position, value=math.pi if name == PI else None)

    def _call(self, name: str, token: _Token) -> _Part:
        if name not in FUNCTIONS:
            raise self._unknown_function(token)
        self._expect("(")
        arguments = [self._value_of(self._expression(_COMPARISON))]
        while self._token.text == ",":
            self._next()
            arguments.append(self._value_of(self._expression(_COMPARISON)))
        self._expect(")")
        arity = FUNCTIONS[name]
        if len(arguments) < 2 if arity is None else len(arguments) != arity:
            wanted = "two or more arguments" if arity is None else f"{arity} argument"
            raise self._error(token.position, f"{name} takes {wanted}, not {len(arguments)}")
        call = Call(name, tuple(argument.expression for argument in arguments))
        value = self._constant(token.position, _AT_CONSTANTS[name], *arguments)
        return self._part(call, token.position, *arguments, value=value)

    def _piecewise(self, token: _Token) -> _Part:
        """``Piecewise((value, condition), ..., (value, True))``, its name read."""
        self._expect("(")
        branches = [self._branch()]
        while self._token.text == ",":
            if branches[-1][1] is None:
                raise self._error(self._token.position, "a branch of Piecewise after (value, True)")
            self._next()
            branches.append(self._branch())
        self._expect(")")
        if branches[-1][1] is not None:
            remedy = "end with (value, True), which holds where no other condition does"
            raise self._error(self._last.position, "a Piecewise whose last condition is not True", remedy)
        node = Conditional(
            tuple((value.expression, test.expression if test else Otherwise()) for value, test in branches)
        )
        parts = [part for branch in branches for part in branch if part is not None]
        return self._part(node, token.position, *parts, value=_chosen(branches))

    def _branch(self) -> tuple[_Part, _Part | None]:
        """``(value, condition)``; None stands for the condition ``True``."""
        self._expect("(", "write each branch as (value, condition)")
        value = self._value_of(self._expression(_COMPARISON))
        self._expect(",")
        condition = None
        if self._token.text == "True":
            self._next()
        else:
            condition = self._expression(_COMPARISON)
            if not condition.is_condition:
                remedy = "write it as in (value, r < 1)"
                raise self._error(condition.position, "a condition of Piecewise that compares nothing", remedy)
        self._expect(")")
        return value, condition

    # Numbers, constants and limits

    def _number(self, token: _Token) -> Fraction:
        parts = _NUMBER.fullmatch(token.text)
        assert parts is not None
        digits, decimals = (parts[1] + parts[2]).lstrip("0"), len(parts[2])
        if not digits:
            return Fraction(0)
        if len(digits) > MAX_DIGITS:
            raise self._error(token.position, f"a number of more than {MAX_DIGITS} digits")
        exponent = int(parts[3] or "0") - decimals
        if abs(exponent + len(digits) - 1) > MAX_DECIMAL_EXPONENT:
            limits = f"1e-{MAX_DECIMAL_EXPONENT} to 1e{MAX_DECIMAL_EXPONENT}"
            raise self._error(token.position, f"a number outside {limits}")
        return int(digits) * Fraction(10) ** exponent

    def _constant(self, position: int, function: Callable[..., Any], *parts: _Part) -> _Value | None:
        """`function` at constant parts (None if one is not constant), refused unless a finite real number.

        Else ``9**9**9`` or ``Max(1, exp(exp(exp(9))))`` would keep a computer algebra system busy for ever.
        """
        values = [part.value for part in parts if part.value is not None]
        if len(values) < len(parts):
            return None
        try:
            value = function(*values)
            if isinstance(value, bool):
                return value
            if not isinstance(value, complex) and math.isfinite(double := float(value)):
                # A rational with long terms is kept as a double, so that the next operation stays cheap.
                return value if isinstance(value, Fraction) and _bits(value) < 4096 else double
        except ZeroDivisionError:
            raise self._error(position, "a division by zero") from None
        except (OverflowError, ValueError):
            pass
        raise self._error(position, "a constant that is not a finite real number")

    def _part(self, node: Expression, position: int, *children: _Part, value: _Value | None = None) -> _Part:
        self._nodes += 1
        depth = 1 + max((child.depth for child in children), default=0)
        if self._nodes > MAX_NODES:
            raise self._error(self._last.position, f"more than {MAX_NODES} numbers, names and operations")
        if depth > MAX_DEPTH:
            raise self._error(self._last.position, f"more than {MAX_DEPTH} operations in a row")
        return _Part(node, position, depth, value)

    def _value_of(self, part: _Part) -> _Part:
        if part.is_condition:
            remedy = "compare in a condition of Piecewise, as in Piecewise((1, r < 0), (0, True))"
            raise self._error(part.position, "a comparison in place of a number", remedy)
        return part

    # Tokens

    def _scan(self, position: int) -> _Token:
        """The token at or after a position."""
        space = _SPACE.match(self._text, position)
        assert space is not None
        position = space.end()
        if position == len(self._text):
            return _Token("end", "", position)
        found = _TOKEN.match(self._text, position)
        if found is None or found.lastgroup == "refused":
            symbol = found[0] if found else self._text[position]
            raise self._error(position, f"unknown {symbol!r}", _remedy_for(symbol))
        return _Token(str(found.lastgroup), found[0], position)

    def _next(self) -> _Token:
        self._last = self._token
        if self._token.kind != "end":
            self._token = self._scan(self._token.position + len(self._token.text))
        return self._last

    def _expect(self, symbol: str, remedy: str = "") -> None:
        if self._token.text != symbol:
            raise self._unexpected(repr(symbol), remedy)
        self._next()

    # Errors

    def _unexpected(self, wanted: str, remedy: str = "") -> ExpressionError:
        token, last = self._token, self._last
        after_operand = last.kind in ("number", "name") or last.text == ")"
        if after_operand and (token.kind in ("number", "name") or token.text == "("):
            left = "(...)" if last.text == ")" else last.text
            right = "(...)" if token.text == "(" else token.text
            remedy = _REFUSED_WORDS.get(token.text, f"for a product write {left}*{right}")
            return self._error(token.position, f"no operator between {last.text!r} and {token.text!r}", remedy)
        found = "the text ends" if token.kind == "end" else f"{token.text!r} stands"
        return self._error(token.position, f"{found} where {wanted} should", remedy)

    def _unknown_function(self, token: _Token) -> ExpressionError:
        known = sorted([*FUNCTIONS, *ALIASES, _PIECEWISE])
        spelling = {name.lower(): name for name in known}
        nearest = difflib.get_close_matches(token.text.lower(), spelling, n=1)
        advice = f"did you mean {spelling[nearest[0]]}?" if nearest else f"for a product write {token.text}*(...)."
        remedy = f"{advice} The functions are {', '.join(known)}"
        return self._error(token.position, f"unknown function {token.text!r}", remedy)

    def _error(self, position: int, why: str, remedy: str = "") -> ExpressionError:
        shown = self._text
        if len(shown) > 60:
            start, end = max(0, position - 25), position + 25
            shown = ("…" if start else "") + shown[start:end] + ("…" if end < len(self._text) else "")
        return ExpressionError(self._where, f"{why} at position {position} of {shown!r}", remedy, self._text, position)


def _chosen(branches: list[tuple[_Part, _Part | None]]) -> _Value | None:
    """Value of the first branch whose condition holds, as far as constants tell."""
    for value, condition in branches:
        if condition is None or condition.value is True:
            return value.value
        if condition.value is None:
            return None
    return None


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _remedy_for(symbol: str) -> str:
    """What to write for a symbol that people write elsewhere; a Greek letter by its name."""
    if symbol in _REFUSED_SYMBOLS:
        return _REFUSED_SYMBOLS[symbol]
    greek, _, letter = unicodedata.name(symbol, "").partition(" LETTER ")
    return f"write {letter.lower()}" if greek.startswith("GREEK") and letter.isalpha() else ""


# ── Printing ────────────────────────────────────────────────────────────────────────────────────────────────


def canonical(expression: Expression) -> str:
    """The one text of a tree, with the fewest parentheses: ``parse(canonical(e)) == e``.

    Examples
    --------
    >>> canonical(parse("ln( 1+exp( -(y)*r ) )"))
    'log(1 + exp(-y*r))'
    >>> canonical(parse("Piecewise((.50 * r ** 2, abs(r) <= 1), (1e-7, True))"))
    'Piecewise((0.5*r**2, Abs(r) <= 1), (1e-7, True))'
    """
    match expression:
        case Number(value):
            return _decimal(value)
        case Name(identifier):
            return identifier
        case Unary(sign, operand):
            return sign + _within(operand, _SIGN)
        case Binary("**", left, right):
            return f"{_within(left, _ATOM)}**{_within(right, _SIGN)}"
        case Binary(("*" | "/") as sign, left, right):
            return f"{_within(left, _PRODUCT)}{sign}{_within(right, _PRODUCT + 1)}"
        case Call(function, arguments):
            return f"{function}({', '.join(map(canonical, arguments))})"
        case Conditional(branches):
            pairs = (f"({canonical(v)}, {'True' if isinstance(c, Otherwise) else canonical(c)})" for v, c in branches)
            return f"{_PIECEWISE}({', '.join(pairs)})"
        case Binary(sign, left, right) | Comparison(sign, left, right):
            binding = _INFIX[sign]
            return f"{_within(left, binding)} {sign} {_within(right, binding + 1)}"
        case _:
            assert_never(expression)


def _within(expression: Expression, weakest: int) -> str:
    """The text of an operand, in parentheses if it binds less tightly than its place asks."""
    text = canonical(expression)
    return text if _binding(expression) >= weakest else f"({text})"


def _binding(expression: Expression) -> int:
    match expression:
        case Unary():
            return _SIGN
        case Binary(sign) | Comparison(sign):
            return _INFIX[sign]
        case _:
            return _ATOM


def _decimal(value: Fraction) -> str:
    """A terminating decimal: ``2``, ``0.25``, ``1e-7``; no exponent from 1e-4 to 1e16, as in Python."""
    if value == 0:
        return "0"
    places = max(_multiplicity(2, value.denominator), _multiplicity(5, value.denominator))
    coefficient = str(int(value * 10**places))
    digits = coefficient.rstrip("0")
    first = len(coefficient) - 1 - places  # decimal exponent of the first digit
    if not -4 <= first < 16:
        return digits[0] + (f".{digits[1:]}" if digits[1:] else "") + f"e{first}"
    if first < 0:
        return f"0.{'0' * (-first - 1)}{digits}"
    whole, decimals = digits[: first + 1].ljust(first + 1, "0"), digits[first + 1 :]
    return f"{whole}.{decimals}" if decimals else whole


def _multiplicity(prime: int, number: int) -> int:
    count = 0
    while number % prime == 0:
        number, count = number // prime, count + 1
    return count


def _terminates(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


# ── Values ──────────────────────────────────────────────────────────────────────────────────────────────────


def value_at(expression: Expression | Otherwise, values: Mapping[str, float]) -> float:
    """The value of a tree at numbers, as it is written: for the few points of a check.

    A condition gives 1.0 or 0.0. Of a `Conditional`, the chosen branch alone is looked at.

    Raises
    ------
    ArithmeticError, ValueError
        It has no real value there, or one beyond a double.

    Examples
    --------
    >>> value_at(parse("Piecewise((log(r), r > 0), (r - 1, True))"), {"r": -2.0})
    -3.0
    """
    match expression:
        case Number(value):
            return float(value)
        case Name(identifier):
            return math.pi if identifier == PI else values[identifier]
        case Otherwise():
            return 1.0
        case Unary(_, operand):
            return -value_at(operand, values)
        case Conditional(branches):
            chosen = next(value for value, condition in branches if value_at(condition, values))
            return value_at(chosen, values)
        case Binary(("&" | "|") as sign, left, right):
            joined = all if sign == "&" else any
            return float(joined(value_at(side, values) != 0 for side in (left, right)))
        case Binary(sign, left, right) | Comparison(sign, left, right):
            found = _ARITHMETIC[sign](value_at(left, values), value_at(right, values))
        case Call(function, arguments):
            found = _AT_CONSTANTS[function](*(value_at(argument, values) for argument in arguments))
        case _:
            assert_never(expression)
    if isinstance(found, complex) or not math.isfinite(found):
        raise ValueError(f"no real value: {found}")
    return float(found)


# ── Names ───────────────────────────────────────────────────────────────────────────────────────────────────


def names(expression: Expression) -> tuple[str, ...]:
    """The free names of a tree, sorted; ``pi`` is not one.

    Examples
    --------
    >>> names(parse("Piecewise((pi*r, y > delta), (r, True))"))
    ('delta', 'r', 'y')
    """
    return tuple(sorted(_free(expression) - {PI}))


def _free(expression: Expression | Otherwise) -> frozenset[str]:
    match expression:
        case Number() | Otherwise():
            return frozenset()
        case Name(identifier):
            return frozenset({identifier})
        case Unary(_, operand):
            return _free(operand)
        case Binary(_, left, right) | Comparison(_, left, right):
            return _free(left) | _free(right)
        case Call(_, arguments):
            return frozenset().union(*map(_free, arguments))
        case Conditional(branches):
            return frozenset().union(*(_free(part) for branch in branches for part in branch))
        case _:
            assert_never(expression)
