"""The expression language: what it reads, what it prints, what it refuses and how fast."""

from __future__ import annotations

import ast
import doctest
import time
from fractions import Fraction

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdlimit.derive import expression
from sgdlimit.derive.errors import ExpressionError
from sgdlimit.derive.expression import (
    FUNCTIONS,
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

a, b, c, r, y = (Name(letter) for letter in "abcry")


def number(value: int | str) -> Number:
    return Number(Fraction(value))


# ── What it reads ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a + b - c", Binary("-", Binary("+", a, b), c)),
        ("a - (b - c)", Binary("-", a, Binary("-", b, c))),
        ("a/b/c", Binary("/", Binary("/", a, b), c)),
        ("a + b*c", Binary("+", a, Binary("*", b, c))),
        ("a**b**c", Binary("**", a, Binary("**", b, c))),
        ("-a**2", Unary("-", Binary("**", a, number(2)))),
        ("(-a)**2", Binary("**", Unary("-", a), number(2))),
        ("a**-b", Binary("**", a, Unary("-", b))),
        ("2**-a*b", Binary("*", Binary("**", number(2), Unary("-", a)), b)),
        ("-a*b", Binary("*", Unary("-", a), b)),
        ("a*-b", Binary("*", a, Unary("-", b))),
        ("a - -b", Binary("-", a, Unary("-", b))),
        ("+a", a),
        ("((a))", a),
        ("a\n  + b", Binary("+", a, b)),
        ("Max(a, b, c)", Call("Max", (a, b, c))),
        ("log(exp(a))", Call("log", (Call("exp", (a,)),))),
        ("Piecewise((a, True))", Conditional(((a, Otherwise()),))),
        (
            "Piecewise((a, r < 1), (b, r >= y), (c, True))",
            Conditional(((a, Comparison("<", r, number(1))), (b, Comparison(">=", r, y)), (c, Otherwise()))),
        ),
        (
            "Piecewise((a, (r < 1) | (r > 2) & (y <= b)), (c, True))",
            Conditional(
                (
                    (
                        a,
                        Binary(
                            "|",
                            Comparison("<", r, number(1)),
                            Binary("&", Comparison(">", r, number(2)), Comparison("<=", y, b)),
                        ),
                    ),
                    (c, Otherwise()),
                )
            ),
        ),
    ],
)
def test_a_text_is_read_as_python_reads_it(text: str, tree: Expression) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", Fraction(12)),
        ("0.1", Fraction(1, 10)),
        (".5", Fraction(1, 2)),
        ("2.", Fraction(2)),
        ("1e-3", Fraction(1, 1000)),
        ("1.5E+2", Fraction(150)),
        ("1e00000000000000000001", Fraction(10)),
        ("0e999999999", Fraction(0)),
        ("3.14159265358979323846264338327950288", Fraction(314159265358979323846264338327950288, 10**35)),
        ("1e-300", Fraction(1, 10**300)),
    ],
)
def test_numbers_are_exact(text: str, value: Fraction) -> None:
    assert parse(text) == Number(value)


@pytest.mark.parametrize(
    ("text", "other"),
    [("abs(r)", "Abs(r)"), ("max(r, y)", "Max(r, y)"), ("min(r, y)", "Min(r, y)"), ("ln(r)", "log(r)")],
)
def test_aliases_are_folded(text: str, other: str) -> None:
    assert parse(text) == parse(other)


def _sympy_texts() -> list[str]:
    r, y, delta = sympy.symbols("r y delta")
    half = sympy.Rational(1, 2)
    return [
        str(e)
        for e in (
            sympy.log(1 + sympy.exp(-r * y)),
            sympy.Piecewise((r**2 / 2, sympy.Abs(r) < 1), (sympy.Abs(r) - half, True)),
            sympy.Piecewise((r, (r > 0) & (r < delta)), (y, (r < -1) | ((r > 5) & (y > 0))), (0, True)),
            sympy.Max(0, 1 - r * y),
            sympy.Heaviside(r),
            sympy.sign(r) * sympy.erf(r / sympy.sqrt(2)) / sympy.sqrt(sympy.pi),
            r ** sympy.Rational(-3, 2) * 0.25,
            (r - y) ** -2 / 3,
        )
    ]


@pytest.mark.parametrize("text", _sympy_texts())
def test_what_sympy_prints_is_read(text: str) -> None:
    ours = sympy.sympify(canonical(parse(text)))  # SymPy's reader, on text of ours alone
    assert ours == sympy.sympify(text)


# ── What it prints ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("((a)+(b))", "a + b"),
        ("(a*b)*c", "a*b*c"),
        ("a*(b*c)", "a*(b*c)"),
        ("-(a*b)", "-(a*b)"),
        ("(a**b)**c", "(a**b)**c"),
        ("a**(-(b))", "a**-b"),
        ("(a/b)**(1/2)", "(a/b)**(1/2)"),
        ("log( 1+exp( -y * r))", "log(1 + exp(-y*r))"),
        ("Piecewise((a,((r<1))&((r>0))),(b,True))", "Piecewise((a, (r < 1) & (r > 0)), (b, True))"),
        ("0.50", "0.5"),
        ("1000", "1000"),
        ("12.340", "12.34"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-5"),
        ("123e20", "1.23e22"),
        ("1e15", "1000000000000000"),
        ("1e16", "1e16"),
        ("0.000", "0"),
    ],
)
def test_the_canonical_text_has_the_fewest_parentheses_and_plain_numbers(text: str, printed: str) -> None:
    assert canonical(parse(text)) == printed
    assert canonical(parse(printed)) == printed


_numbers = st.builds(
    lambda digits, exponent: Number(digits * Fraction(10) ** exponent),
    st.integers(0, 10**6),
    st.integers(-30, 30) | st.integers(-3, 0),
)
_leaves = st.sampled_from([Name(n) for n in ("r", "y", "delta", "E", "e1", "x_2", "pi")]) | _numbers
_functions = sorted(name for name, arity in FUNCTIONS.items() if arity == 1)
_variadic = sorted(name for name, arity in FUNCTIONS.items() if arity is None)


@st.composite
def _conditions(draw: st.DrawFn, depth: int) -> Expression:
    if depth and draw(st.booleans()):
        return Binary(draw(st.sampled_from("&|")), draw(_conditions(depth - 1)), draw(_conditions(depth - 1)))
    sides = draw(_values(depth)), draw(_values(depth))
    return Comparison(draw(st.sampled_from(["<", "<=", ">", ">="])), *sides)


@st.composite
def _values(draw: st.DrawFn, depth: int) -> Expression:
    if depth == 0:
        return draw(_leaves)
    values = _values(depth - 1)
    match draw(st.sampled_from(["leaf", "unary", "binary", "binary", "call", "variadic", "conditional"])):
        case "unary":
            return Unary("-", draw(values))
        case "binary":
            return Binary(draw(st.sampled_from(["+", "-", "*", "/", "**"])), draw(values), draw(values))
        case "call":
            return Call(draw(st.sampled_from(_functions)), (draw(values),))
        case "variadic":
            return Call(draw(st.sampled_from(_variadic)), tuple(draw(st.lists(values, min_size=2, max_size=3))))
        case "conditional":
            branches = draw(st.lists(st.tuples(values, _conditions(depth - 1)), max_size=2))
            return Conditional((*branches, (draw(values), Otherwise())))
        case _:
            return draw(_leaves)


def _has_real_constants(tree: Expression) -> bool:
    """Whether the parser accepts the constants of a tree; random trees are full of ``log(0)``."""
    try:
        parse(canonical(tree))
    except ExpressionError as error:
        return not error.why.startswith(("a constant that is not", "a division by zero", "an exponent beyond"))
    return True


_trees = _values(4).filter(_has_real_constants)


@settings(deadline=None)
@given(_trees)
def test_the_canonical_text_of_a_tree_is_read_as_the_tree(tree: Expression) -> None:
    assert parse(canonical(tree)) == tree


@settings(deadline=None)
@given(_trees)
def test_python_reads_the_canonical_text_as_the_tree(tree: Expression) -> None:
    assert _same(tree, ast.parse(canonical(tree), mode="eval").body)


def _same(tree: Expression | Otherwise, node: ast.expr) -> bool:
    """Whether Python's own syntax tree is this tree."""
    signs = {
        ast.Add: "+",
        ast.Sub: "-",
        ast.Mult: "*",
        ast.Div: "/",
        ast.Pow: "**",
        ast.BitAnd: "&",
        ast.BitOr: "|",
    }
    relations = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
    match tree, node:
        case Otherwise(), ast.Constant(True):
            return True
        case Number(value), ast.Constant(constant):
            return bool(float(value) == constant)
        case Name(identifier), ast.Name(other):
            return identifier == other
        case Unary("-", operand), ast.UnaryOp(ast.USub(), inner):
            return _same(operand, inner)
        case Binary(sign, left, right), ast.BinOp(first, symbol, second):
            return sign == signs[type(symbol)] and _same(left, first) and _same(right, second)
        case Comparison(sign, left, right), ast.Compare(first, [relation], [second]):
            return sign == relations[type(relation)] and _same(left, first) and _same(right, second)
        case Call(function, arguments), ast.Call(ast.Name(other), values):
            return function == other and all(map(_same, arguments, values)) and len(arguments) == len(values)
        case Conditional(branches), ast.Call(ast.Name("Piecewise"), pairs):
            return len(branches) == len(pairs) and all(
                isinstance(pair, ast.Tuple) and all(map(_same, branch, pair.elts))
                for branch, pair in zip(branches, pairs, strict=True)
            )
    return False


@settings(deadline=None)
@given(st.text(alphabet="ry12.e+-*/()<>&|, ^=PiecwsTru", max_size=40))
def test_any_text_is_read_or_refused_and_what_is_read_prints_to_itself(text: str) -> None:
    try:
        tree = parse(text)
    except ExpressionError:
        return
    assert parse(canonical(tree)) == tree


@pytest.mark.parametrize("value", [Fraction(-1), Fraction(1, 3)])
def test_a_number_node_is_a_nonnegative_decimal(value: Fraction) -> None:
    with pytest.raises(ValueError, match="nonnegative terminating decimal"):
        Number(value)


def test_names_are_sorted_and_without_pi() -> None:
    tree = parse("Piecewise((z*pi, (r < w) & (a > 1)), (exp(-y), True)) + Max(b, E)")
    assert names(tree) == ("E", "a", "b", "r", "w", "y", "z")


# ── What it refuses ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 0, "no expression"),
        ("r +", 3, "the text ends where an operand should stand"),
        ("r + * y", 4, "'*' stands where an operand should"),
        ("(r + y", 6, r"the text ends where '\)' should"),
        ("r)", 1, r"'\)' stands where the end of the expression should"),
        ("r^2", 1, r"unknown '\^' .*write \*\* for a power"),
        ("r//2", 1, "unknown '//'"),
        ("2r", 1, r"no operator between '2' and 'r' .*write 2\*r"),
        ("2 + 3(r + 1)", 5, r"no operator between '3' and '\(' .*write 3\*"),
        ("(r)(y)", 3, "no operator between"),
        ("r y", 2, r"write r\*y"),
        ("r(1 + y)", 0, r"unknown function 'r' .*write r\*\(\.\.\.\)"),
        ("1 + lgo(r)", 4, r"unknown function 'lgo' .*did you mean log\? The functions are Abs, .*, tanh"),
        ("1 + ABS(r)", 4, r"did you mean (Abs|abs)\?"),
        ("exp*r", 0, r"function 'exp' without arguments .*write exp\(...\)"),
        ("exp()", 4, r"'\)' stands where an operand should"),
        ("exp(r, y)", 0, "exp takes 1 argument, not 2"),
        ("Max(r)", 0, "Max takes two or more arguments, not 1"),
        ("γ*r", 0, "unknown 'γ' .*write gamma"),
        ("r − 1", 2, "unknown '−' .*write -"),
        ("r²", 1, r"write \*\*2"),
        ("_x", 0, "'_x' cannot be a name"),
        ("lambda*r", 0, "'lambda' cannot stand here .*call it lam"),
        ("r*oo", 2, "'oo' cannot stand here"),
        ("r and y", 2, r"join conditions as in \(r > 0\) & \(r < 1\)"),
        ("1 if r else 2", 2, "write Piecewise"),
        ("r < 1", 0, "a comparison in place of a number"),
        ("exp(r < 1)", 4, "a comparison in place of a number"),
        ("True", 0, "True is the last condition of Piecewise"),
        ("Piecewise((1, r < 0))", 20, r"last condition is not True .*end with \(value, True\)"),
        ("Piecewise((1, True), (2, r < 0))", 19, r"a branch of Piecewise after \(value, True\)"),
        ("Piecewise((1, r), (2, True))", 14, "a condition of Piecewise that compares nothing"),
        ("Piecewise(r, r < 0)", 10, r"write each branch as \(value, condition\)"),
        ("Piecewise((1, 0 < r < 1), (2, True))", 20, r"chained comparison .*write \(a < b\) & \(b < c\)"),
        ("Piecewise((1, r < 1 & y < 1), (2, True))", 20, r"'&' between .*\(r > 0\) & \(y < 1\)"),
        ("Piecewise((1, r == 1), (2, True))", 16, "unknown '==' .*compare with <, <=, > or >="),
        ("r*(1/0)", 4, "a division by zero"),
        ("1/(1 - 1)", 1, "a division by zero"),
        ("0**-1", 1, "a division by zero"),
        ("r + log(-1)", 4, "a constant that is not a finite real number"),
        ("(-8)**(1/3)", 4, "a constant that is not a finite real number"),
        ("exp(1000)", 0, "a constant that is not a finite real number"),
        ("r**65", 1, "an exponent beyond ±64"),
        ("r**-64.5", 1, "an exponent beyond ±64"),
        ("1e301", 0, "a number outside 1e-300 to 1e300"),
        ("r + 1e-301", 4, "a number outside 1e-300 to 1e300"),
    ],
)
def test_a_refusal_knows_the_place_the_reason_and_the_mend(text: str, position: int, message: str) -> None:
    with pytest.raises(ExpressionError, match=message) as caught:
        parse(text, where="loss")
    error = caught.value
    assert error.position == position
    assert error.text == text
    assert str(error).startswith("loss: ")
    assert f"at position {position} of {text!r}" in str(error)


_HOSTILE = [
    "__import__('os').system('x')",
    "r.__class__.__bases__[0]",
    "(lambda: 0)()",
    "[r for r in y]",
    "r := 1",
    "r = 1",
    "r; y",
    "'r'",
    '"r"',
    "f'{r}'",
    "r[0]",
    "{r}",
    "`r`",
    "r # comment",
    "r\\\ny",
    "r\x00",
    "\ud800",
    "1_000",
    "0x10",
    "1j",
    "r @ y",
    "r if y else r",
    "eval(r)",
    "9**9**9",
    "9**9**9**9**9",
    "((9**64)**64)**64",
    "r**(10**10)",
    "r**(2*2*2*2*2*2*2)",
    "9**Piecewise((9**9, 1 < 2), (1, True))",
    "Max(1, exp(exp(exp(9))))",
    "1e999999999",
    "1e-999999999",
    "1e" + "9" * 3900,
    "9" * 3900,
    "0." + "1" * 3900,
    "1" * 10**6,
    "(" * 3900,
    "(" * 10**6,
    "(" * 1900 + "r" + ")" * 1900,
    "-" * 3900 + "r",
    "r**" * 1300 + "r",
    "exp(" * 900 + "r" + ")" * 900,
    "Piecewise((" * 300 + "r" + ", True))" * 300,
    "r+" * 1900 + "r",
    "+".join(["Max(" + ",".join(["r"] * 99) + ")"] * 12),
    "r" * 3900,
    " " * 10**6,
    "1e15*r+" * 60 + "Max(" + "1e15," * 590 + "r)",
]


@pytest.mark.parametrize("text", _HOSTILE, ids=lambda text: text[:20].encode("unicode_escape").decode())
def test_hostile_text_is_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert time.perf_counter() - start < 1
    assert len(str(caught.value)) < 600


def test_trees_at_the_limits_are_safe_to_compare_hash_and_print() -> None:
    for text in ("+".join(["r"] * 100), "exp(" * 49 + "r" + ")" * 49, "-" * 49 + "r"):
        tree = parse(text)
        assert parse(canonical(tree)) == tree
        assert hash(tree) == hash(parse(text))
        assert repr(tree)


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(ExpressionError, match="it is of type int, not text"):
        parse(3)  # type: ignore[arg-type]


def test_the_examples_in_the_documentation_run() -> None:
    assert doctest.testmod(expression).failed == 0
