"""How the symbols of ``docs/theory.md`` are written: one TeX notation, from which MathML is made too."""

from __future__ import annotations

import re

import sympy as sp
from sympy.printing.latex import LatexPrinter

from sgdlimit.derive import symbols
from sgdlimit.derive.functions import Branch
from sgdlimit.derive.mathml import width

_NAMES = {
    "epsilon": r"\varepsilon",
    "r_star": r"r^\ast",
    "m_star": r"m^\ast",
    "Q_star": r"Q^\ast",
    "Q_perp": r"Q_\perp",
    "x_star": r"X^\ast",
    "beta1": r"\beta_1",
    "dm": r"\delta m",
    "mean": r"\bar w",
    "s_score": "s_r",
    "s_latent": r"s_\ell",
    "s_given": r"s_0",
    "mean_given": r"\bar w_0",
    "latent_mean": r"\bar\ell",
    "latent_slope": r"b_\ell",
    "latent_spread": r"\varsigma_\ell",
    "rho": r"\rho",
    "rho_perp": r"\rho_\perp",
    "P_plus": r"P_{+}",
    "P_minus": r"P_{-}",
    "lam": r"\lambda",
    "BD": r"(B + D)",
    "norm2": r"\|X\|^2",
    "inverse_norm": r"n^{-1}",
    "teacher_norm2": r"\|X^\ast\|^2",
    "beta": r"\beta",
    "gamma": r"\gamma",
    "tau": r"\tau",
    "xi": r"\xi",
}

# families of symbols, numbered as they are met
_NUMBERED = {"sigma": r"\sigma", "side": r"\varsigma", "gap": "h", "away": r"\alpha"}
_SIGNS = {"p": "+", "m": "-", "": ""}

# what a user's name must not be mistaken for, beside the above
_TAKEN = (
    set(_NAMES.values())
    | set("adijmnprstuvwxyzABDFIJKMNQRX")
    | {rf"\{name}" for name in ("lambda", "mu", "omega", "varphi", "Phi", "partial", "pi")}
)


class Printer(LatexPrinter):
    """LaTeX in the notation of ``docs/theory.md``."""

    def _print_Symbol(self, expr: sp.Symbol, style: str = "plain") -> str:
        name = expr.name
        if isinstance(expr, symbols.Parameter):
            return _user_name(name, str(super()._print_Symbol(expr, style)))
        if name in _NAMES:
            return _NAMES[name]
        if name.startswith("J_"):
            return rf"J_{{\mathrm{{{plain(name[2:])}}}}}"
        numbered = re.fullmatch(r"([a-z]+)(\d+)([pm]?)", name)
        if numbered and numbered[1] in _NUMBERED:
            return rf"{_NUMBERED[numbered[1]]}_{{{numbered[2]}{_SIGNS[numbered[3]]}}}"
        return str(super()._print_Symbol(expr, style))

    def _print_Indexed(self, expr: sp.Indexed) -> str:
        name, indices = str(expr.base).removeprefix("own_"), "".join(str(k) for k in expr.indices)
        if len(name) > 2 and name not in _NAMES and name != "omega":
            return rf"{{\mathrm{{{plain(name)}}}}}_{{{indices}}}"
        base = _NAMES.get(name, "\\" + name if name in ("mu", "omega") else name)
        # braces: a power of a starred symbol would be a second superscript
        return f"{{{base}_{{{indices}}}}}" if "^" in base else f"{base}_{{{indices}}}"

    def _print_Heaviside(self, expr: sp.Expr, exp: str | None = None) -> str:
        body = rf"\mathbf{{1}}_{{\left\{{{self._print(expr.args[0])} > 0\right\}}}}"
        return body if exp is None else f"{{{body}}}^{{{exp}}}"

    def _print_Piecewise(self, expr: sp.Piecewise) -> str:
        rows = [
            f"{self._print(value)} & " + (r"\text{otherwise}" if condition == sp.true else self._print(condition))
            for value, condition in expr.args
        ]
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"

    def _needs_mul_brackets(self, expr: sp.Expr, first: bool = False, last: bool = False) -> bool:
        if isinstance(expr, Branch) and not expr.is_indicator:
            return True
        return bool(super()._needs_mul_brackets(expr, first=first, last=last))


def _user_name(name: str, usual: str) -> str:
    """The name of a parameter: as usual, but upright if it is a word, and as in the code if it looks like another's."""
    numbered = re.fullmatch(r"(\\?\w+?)_\{\d+\}", usual)
    if usual in _TAKEN or (numbered and numbered[1] in _NUMBERED.values()):
        return rf"\mathtt{{{name.replace('_', chr(92) + '_')}}}"
    return rf"\mathrm{{{usual}}}" if len(usual) > 1 and usual.isalpha() else usual


def plain(name: str) -> str:
    """A name of several words, for ``mathrm``.

    Examples
    --------
    >>> print(plain("clean_risk"))
    clean\\ risk
    """
    return name.replace("_", r"\ ")


def tex(expression: sp.Basic) -> str:
    """An expression in LaTeX.

    Examples
    --------
    >>> print(tex(symbols.epsilon * symbols.m_star**2))
    \\varepsilon \\left(m^\\ast\\right)^{2}
    """
    return str(_printer().doprint(expression))


def _printer() -> Printer:
    return Printer({"fold_short_frac": False})


LINE = 62.0
"""Digits that a line of a displayed equation holds."""


def lines(expression: sp.Expr, room: float = LINE) -> tuple[str, ...]:
    """An expression in LaTeX, a long sum broken before some of its signs.

    Products with a sum that are too long for a line are multiplied out, so that they can be broken too.

    Examples
    --------
    >>> a, b, c = sp.symbols("a b c")
    >>> lines(a + b - c, room=3)
    ('a', '+ b', '- c')
    """
    whole = tex(expression)
    if width(whole) <= room:
        return (whole,)
    found: list[str] = []
    end_of_cases = False
    for term in _terms(expression, room):
        if width(term) + (width(found[-1]) if found else 0) <= room and found and not end_of_cases:
            found[-1] += f" {term}"
        else:
            found.append(term)
        end_of_cases = r"\end{cases}" in term
    return tuple(found)


def _terms(expression: sp.Expr, room: float) -> list[str]:
    """Terms with their signs."""
    printer = _printer()
    terms: list[str] = []
    for term in printer._as_ordered_terms(expression) if isinstance(expression, sp.Add) else [expression]:
        opened = _multiplied_out(term) if width(tex(term)) > room else None
        if opened is not None:
            inner = _terms(opened, room)
            terms += [inner[0] if not terms or inner[0].startswith("-") else f"+ {inner[0]}", *inner[1:]]
            continue
        body = tex(term)
        if body.startswith("-"):
            terms.append(f"- {body[1:].lstrip()}")
        else:
            terms.append(f"+ {body}" if terms else body)
    return terms


def _multiplied_out(term: sp.Expr) -> sp.Expr | None:
    """A product with its longest sum opened; None if there is none."""
    sums = [factor for factor in sp.Mul.make_args(term) if isinstance(factor, sp.Add)]
    if not sums or term in sums:
        return None
    longest = max(sums, key=lambda e: len(e.args))
    rest = sp.Mul(*(factor for factor in sp.Mul.make_args(term) if factor != longest))
    return sp.Add(*(rest * e for e in longest.args))
