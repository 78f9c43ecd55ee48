"""The coefficients of a limit by a finer rule, with the sizes of what is integrated: what a kernel is judged by.

The text has the kernel's integrands and none of its solver. Its rule has a wider window, panels of half the length that
end elsewhere, and twice the samples for roots: where the kernel's rule misses a kink, resolves a pole badly or cuts a
tail, the two differ. A size is ``∫ φ |integrand|``: it has no cancellation, so differences are fair in units of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import sympy as sp

from sgdlimit.codegen.language import FindRoots, Function, Integrate, Let, Statement
from sgdlimit.codegen.lower import lower
from sgdlimit.derive.errors import InputError

if TYPE_CHECKING:
    from sgdlimit.derive.limit import Limit

# In place of those in quadrature.h, roots.h and quadrature.py: windows and panels that no edge of the kernel's divides
# evenly, since an edge in common would hide a kink there.
RULE = {
    "WINDOW": "15.0",
    "CLEARANCE": "3.5",
    "STEP_REACH": "9.5",
    "STEP_PANEL": "1.4",
    "STEP_GROWTH": "0.4",
    "ROOT_SAMPLES": "9",
}
_LONGEST_PANEL = "WINDOW / 7"
# Room for as many panels as these can make: panels beside a pole grow 1.8-fold where the kernel's grow threefold.
_MAX_EDGES = "((kinks) + 126 * (poles) + 16 * (steps) + 64)"


def emit_refined(limit: Limit, target: str = "c") -> str | None:
    """Source whose coefficients are ``R, A, B, D, F, I`` by the finer rule, then their sizes; None without quadratures.

    Parameters
    ----------
    limit : Limit
    target : {"c", "numpy"}
        In C one function, ``sgdlimit_coefficients``; in NumPy ``all_coefficients``, both as a kernel has them.

    Examples
    --------
    >>> from sgdlimit.derive import Labels, Loss, Model, derive
    >>> "sgdlimit_coefficients" in emit_refined(derive(Model(Loss("log(1 + exp(-y*r))"), Labels())))
    True
    >>> emit_refined(derive(Model(Loss("(r - y)**2/2"), Labels()))) is None
    True
    """
    kernel = lower(limit)
    if not any(isinstance(s, Integrate) for s in kernel.all_coefficients.statements):
        return None
    function = with_sizes(kernel.all_coefficients)
    kernel = replace(kernel, coefficients=tuple(str(e.symbol) for e in function.results), all_coefficients=function)
    if target == "c":
        from sgdlimit.codegen.c import emit_coefficients

        macros = {f"SGDLIMIT_{name}": value for name, value in RULE.items()}
        macros["SGDLIMIT_LONGEST_PANEL"] = f"(SGDLIMIT_{_LONGEST_PANEL})"
        macros["SGDLIMIT_MAX_EDGES(kinks, poles, steps)"] = _MAX_EDGES
        macros["SGDLIMIT_NEGLIGIBLE"] = "0.0"  # every panel is taken
        text = emit_coefficients(kernel)
        samples = macros.pop("SGDLIMIT_ROOT_SAMPLES")
        if "SGDLIMIT_ROOT_SAMPLES" in text:  # an enumerator, and not in every kernel
            text = _set(text, r"SGDLIMIT_ROOT_SAMPLES = \d+", f"SGDLIMIT_ROOT_SAMPLES = {samples}")
        for name, value in macros.items():
            text = _set(text, rf"(?m)^#define {re.escape(name)} .*$", f"#define {name} {value}")
        return text
    if target == "numpy":
        from sgdlimit.codegen.numpy_target import emit_coefficients

        text = emit_coefficients(kernel)
        for name, value in {**RULE, "LONGEST_PANEL": _LONGEST_PANEL}.items():
            text = _set(text, rf"(?m)^{name} = .*$", f"{name} = {value}")
        return text
    raise InputError("target", f"there is no emitter for {target!r}", "the targets are c, numpy")


def _set(text: str, pattern: str, value: str) -> str:
    changed, count = re.subn(pattern, value, text)
    assert count == 1, f"{pattern} is in the library {count} times"
    return changed


# --- sizes ----------------------------------------------------------------------------------------------------------


def with_sizes(function: Function) -> Function:
    """The results, then the size of each: integrals of absolute values, and closed forms as they are."""
    statements, sizes = _sized(function.statements)
    results = [Let(e.symbol, _expanded(e.expression, function.statements, set(sizes))) for e in function.results]
    return Function(
        statements,
        (*function.results, *(Let(_size(e.symbol), magnitude(e.expression, sizes)) for e in results)),
    )


def magnitude(expression: sp.Expr, sizes: Mapping[sp.Symbol, sp.Expr]) -> sp.Expr:
    """``Σ |factor| size + |rest|`` where an expression is linear in what has a size, else its absolute value."""
    parts = sorted(set(sizes) & expression.free_symbols, key=sp.default_sort_key)
    if not parts:
        return _with_rounding(expression)
    factors = [sp.diff(expression, s) for s in parts]
    if any(factor.free_symbols & set(parts) for factor in factors):
        return sp.Abs(expression)
    rest = expression.xreplace(dict.fromkeys(parts, sp.S.Zero))
    return sum((sp.Abs(f) * sizes[s] for f, s in zip(factors, parts, strict=True)), sp.Abs(rest))


_ROUNDING = sp.Float(1e-8)  # over the share that is allowed: what terms of that size leave when they cancel


def _with_rounding(expression: sp.Expr) -> sp.Expr:
    """Absolute value of a sum, and of its terms what they cannot be trusted with where they cancel."""
    terms = sp.Add.make_args(sp.expand_mul(expression))
    rounding = _ROUNDING * sp.Add(*map(sp.Abs, terms)) if len(terms) > 1 else sp.S.Zero
    return sp.Abs(expression) + rounding


def _size(symbol: sp.Symbol) -> sp.Symbol:
    return sp.Symbol(f"size_{symbol}", nonnegative=True)


def _sized(statements: Iterable[Statement]) -> tuple[tuple[Statement, ...], dict[sp.Symbol, sp.Expr]]:
    """Statements whose integrals come with their sizes, and those by what they are of."""
    found: list[Statement] = []
    sizes: dict[sp.Symbol, sp.Expr] = {}
    for statement in statements:
        if isinstance(statement, Integrate):
            statement = _sized_integral(statement)
            symbols = [e.symbol for e in statement.integrals]
            half = len(symbols) // 2
            sizes |= dict(zip(symbols[:half], symbols[half:], strict=True))
        found.append(statement)
    return tuple(found), sizes


def _sized_integral(loop: Integrate) -> Integrate:
    statements, sizes = _sized(loop.statements)
    return replace(
        loop,
        statements=statements,
        integrals=(*loop.integrals, *_sized_lets(loop.integrals, loop.statements, sizes)),
        roots=tuple(_sized_masses(roots) for roots in loop.roots),
    )


def _sized_masses(roots: FindRoots) -> FindRoots:
    statements, sizes = _sized(roots.mass_statements)
    sized = _sized_lets(roots.masses, roots.mass_statements, sizes)
    return replace(roots, mass_statements=statements, masses=(*roots.masses, *sized))


def _sized_lets(lets: Iterable[Let], statements: Iterable[Statement], sizes: Mapping[sp.Symbol, sp.Expr]) -> list[Let]:
    known = tuple(statements)
    return [Let(_size(e.symbol), magnitude(_expanded(e.expression, known, set(sizes)), sizes)) for e in lets]


def _expanded(expression: sp.Expr, statements: Iterable[Statement], inner: set[sp.Symbol]) -> sp.Expr:
    """Common subexpressions that hide inner integrals, put back."""
    hiding: dict[sp.Symbol, sp.Expr] = {}
    for statement in statements:
        if isinstance(statement, Let):
            value = statement.expression.xreplace(hiding)
            if value.free_symbols & inner:
                hiding[statement.symbol] = value
    return expression.xreplace(hiding)
