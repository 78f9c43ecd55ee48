"""The equations of a limit as a document: one list of sections, written as Markdown or as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.printing.latex import LatexPrinter

from sgdlimit.derive import symbols
from sgdlimit.derive.expectation import Definition, Quadrature, Side
from sgdlimit.derive.limit import INVERSE_NORM, NORM2, STATISTICS, TEACHER_NORM2, Limit, own_name
from sgdlimit.derive.model import Labels, RandomLabels, Teacher

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
    "rho_perp": r"\rho_\perp",
    "P_plus": r"P_{+}",
    "P_minus": r"P_{-}",
    "lam": r"\lambda",
    "BD": r"(B + D)",
    NORM2.name: r"\|X\|^2",
    INVERSE_NORM.name: r"n^{-1}",
    TEACHER_NORM2.name: r"\|X^\ast\|^2",
    "sigma0": r"\sigma_0",
}


class Printer(LatexPrinter):
    """LaTeX in the notation of ``docs/theory.md``."""

    def _print_Symbol(self, expr: sp.Symbol, style: str = "plain") -> str:
        name = expr.name
        if isinstance(expr, symbols.Parameter):
            return str(super()._print_Symbol(expr, style))
        if name in _NAMES:
            return _NAMES[name]
        if name.startswith("J_"):
            return rf"J_{{\mathrm{{{_plain(name[2:])}}}}}"
        if name.startswith(("sigma", "side")) and name.rstrip("pm")[-1:].isdigit():
            sign = {"p": "+", "m": "-"}.get(name[-1], "")
            stem = name.rstrip("pm")
            index = "".join(c for c in stem if c.isdigit())
            return rf"\{'sigma' if stem.startswith('sigma') else 'varsigma'}_{{{index}{sign}}}"
        return str(super()._print_Symbol(expr, style))

    def _print_Indexed(self, expr: sp.Indexed) -> str:
        name, indices = str(expr.base), "".join(str(k) for k in expr.indices)
        if len(name) > 2 and name not in _NAMES and name != "omega":
            return rf"{{\mathrm{{{_plain(name)}}}}}_{{{indices}}}"
        base = _NAMES.get(name, "\\" + name if name in ("mu", "omega") else name)
        # braces: a power of a starred symbol would be a second superscript
        return f"{{{base}_{{{indices}}}}}" if "^" in base else f"{base}_{{{indices}}}"


def _plain(text: str) -> str:
    return text.replace("_", r"\ ")


def tex(expression: sp.Basic) -> str:
    """An expression in LaTeX."""
    return str(Printer({"fold_short_frac": False}).doprint(expression))


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Equation:
    """A displayed equation."""

    left: str
    right: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A title and what stands under it."""

    title: str
    content: tuple[Text | Equation, ...]


def sections(limit: Limit) -> tuple[Section, ...]:
    """The document of a limit."""
    return (
        Section("Model", tuple(_model(limit))),
        Section("Adversarial loss", tuple(_adversarial_loss(limit))),
        Section("Law of the score", tuple(_law(limit))),
        Section("Coefficients of one class", tuple(_coefficients(limit))),
        Section("Mode equations", tuple(_mode_equations(limit))),
        Section("Statistics", tuple(_statistics(limit))),
    )


def markdown(limit: Limit) -> str:
    """Markdown with LaTeX equations."""
    lines = [f"# Limit of streaming SGD: `{limit.model.loss.text}`", ""]
    for section in sections(limit):
        lines += [f"## {section.title}", ""]
        for item in section.content:
            if isinstance(item, Text):
                lines += [item.text, ""]
            else:
                lines += ["$$", f"{item.left} = {item.right}", "$$", ""]
                if item.note:
                    lines += [f"({item.note})", ""]
    return "\n".join(lines).rstrip() + "\n"


def latex(limit: Limit) -> str:
    """A LaTeX document that compiles on its own (``amsmath``)."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage{amsmath,amssymb}",
        r"\usepackage[margin=2.5cm]{geometry}",
        r"\allowdisplaybreaks",
        r"\begin{document}",
    ]
    for section in sections(limit):
        lines.append(rf"\section*{{{section.title}}}")
        for item in section.content:
            if isinstance(item, Text):
                lines += [_tex_paragraph(item.text), ""]
            else:
                lines += [r"\begin{equation*}", f"{item.left} = {item.right}", r"\end{equation*}"]
                if item.note:
                    lines += [f"({_tex_paragraph(item.note)})", ""]
    lines.append(r"\end{document}")
    return "\n".join(lines) + "\n"


_TEX_TEXT = {
    "ε": r"$\varepsilon$",
    "τ": r"$\tau$",
    "σ": r"$\sigma$",
    "γ": r"$\gamma$",
    "φ": r"$\varphi$",
    "ξ": r"$\xi$",
    "Σ": r"$\Sigma$",
    "ℓ": r"$\ell$",
    "∂": r"$\partial$",
    "∞": r"$\infty$",
    "→": r"$\to$",
    "−": "$-$",
    "°": r"$^\circ$",
    "–": "--",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
}


def _tex_paragraph(text: str) -> str:
    """Running text with `code` and $math$, escaped outside both."""
    pieces = []
    for index, piece in enumerate(text.split("`")):
        if index % 2:
            code = piece.replace("\\", r"\textbackslash{}")
            for character in "_&%#{}":
                code = code.replace(character, "\\" + character)
            pieces.append(rf"\texttt{{{code}}}")
            continue
        for k, part in enumerate(piece.split("$")):
            if k % 2:
                pieces.append(f"${part}$")
            else:
                pieces.append("".join(_TEX_TEXT.get(c, c) for c in part))
    return "".join(pieces)


def _model(limit: Limit) -> Iterable[Text | Equation]:
    from sgdlimit.derive.convert import to_sympy

    model = limit.model
    yield Text(
        "Streaming SGD with batch 1 and step $\\gamma/d$ on $x \\mid i \\sim N(\\mu_i, C_i)$ with probability $p_i$; "
        "scores $r = \\langle x, X\\rangle$, $r^\\ast = \\langle x, X^\\ast\\rangle$; time $t = k/d$."
    )
    yield Equation("f(r; y)", tex(to_sympy(model.loss.text, "loss")))
    match model.target:
        case Labels():
            yield Text("The target $y$ is a constant of the class.")
        case Teacher(text):
            teacher = to_sympy(text, "teacher")
            yield Equation("y", tex(teacher), r"$\xi \sim N(0, 1)$ is label noise" if teacher.has(symbols.xi) else "")
        case RandomLabels(text):
            yield Equation(r"P(y = +1 \mid r^\ast)", tex(to_sympy(text, "random labels")))
    yield Text(
        "Adversary: the ℓ2 ball of radius $\\varepsilon$." if model.adversary else "No adversary: standard training."
    )


def _adversarial_loss(limit: Limit) -> Iterable[Text | Equation]:
    attacked = limit.adversarial_loss
    yield Text(attacked.statement)
    if limit.model.adversary is not None:
        yield Equation(r"s^\circ", tex(attacked.perturbation))
    if limit.assumptions:
        yield Text("Assumed: " + ", ".join(f"${tex(a)}$" for a in limit.assumptions) + ".")
    yield Equation(r"f_{\mathrm{adv}}(r, n; y)", tex(attacked.function.expression))
    for switch in attacked.function.switches:
        yield Equation(tex(switch.symbol), tex(Side(switch.argument)))
    yield Equation(r"\partial_r f_{\mathrm{adv}}", tex(limit.gradient.d_r))
    yield Equation(r"\partial_n f_{\mathrm{adv}}", tex(limit.gradient.d_n))


def _law(limit: Limit) -> Iterable[Text | Equation]:
    variable = "u = r - y" if _uses_residual(limit) else "r"
    yield Text(f"Given the class, ${variable}$ is Gaussian with mean $\\bar w$ and standard deviation $s$.")
    used = _needed(limit)
    for definition in (*limit.summary, *limit.definitions):
        if definition.symbol in used:
            yield Equation(tex(definition.symbol), tex(_without_guards(definition.expression)))


def _uses_residual(limit: Limit) -> bool:
    return limit.adversarial_loss.form == "residual" and not any(
        isinstance(d.expression, sp.Expr) and str(d.symbol) == "rho" for d in limit.definitions
    )


def _needed(limit: Limit) -> set[sp.Symbol]:
    known: dict[sp.Symbol, sp.Expr] = {d.symbol: d.expression for d in (*limit.summary, *limit.definitions)}
    pending: set[sp.Symbol] = set()
    for e in (*limit.coefficients.values(), *limit.expectations.values()):
        pending |= e.free_symbols
    for q in limit.quadratures:
        for d in (*q.definitions, *(Definition(g.symbol, g.expression) for g in q.integrands)):
            pending |= d.expression.free_symbols
    found: set[sp.Symbol] = set()
    while pending:
        symbol = pending.pop()
        if symbol in known and symbol not in found:
            found.add(symbol)
            pending |= {e for e in known[symbol].free_symbols if isinstance(e, sp.Symbol)}
    return found


def _without_guards(expression: sp.Expr) -> sp.Expr:
    """What a formula says where nothing vanishes: without the floors and branches for a zero variance or norm."""

    def unguarded(e: Any) -> Any:
        if isinstance(e, sp.Max):
            return sp.Add(*(a for a in e.args if not a.is_Float))
        return e.args[0][0]

    return expression.replace(lambda e: isinstance(e, (sp.Max, sp.Piecewise)), unguarded)


def _coefficients(limit: Limit) -> Iterable[Text | Equation]:
    yield Text(
        r"$R = E f_{\mathrm{adv}}$, $A = E\,\partial_r f_{\mathrm{adv}}$, $B = E\,\partial_r^2 f_{\mathrm{adv}}$, "
        r"$D = E\,\partial_r\partial_{r^\ast} f_{\mathrm{adv}}$, $F = E\,\partial_n f_{\mathrm{adv}}$, "
        r"$I = E(\partial_r f_{\mathrm{adv}})^2$."
    )
    named = {**limit.coefficients, **{own_name(name): e for name, e in limit.expectations.items()}}
    for name, expression in named.items():
        left = name if len(name) == 1 else rf"\mathrm{{{_plain(name)}}}"
        yield Equation(left, tex(expression), limit.rules.get(name.removeprefix(own_name("")), ""))
    for quadrature in limit.quadratures:
        yield from _integrals(quadrature)


def _integrals(quadrature: Quadrature) -> Iterable[Text | Equation]:
    yield Text(
        "With $\\varphi$ the standard normal density, and at each $z$ "
        + ", ".join(f"${tex(d.symbol)} = {tex(d.expression)}$" for d in quadrature.definitions)
        + ":"
    )
    for integrand in quadrature.integrands:
        yield Equation(
            tex(integrand.symbol),
            rf"\int \varphi(z) \left[{tex(integrand.expression)}\right] \mathrm{{d}}z",
        )


def _mode_equations(limit: Limit) -> Iterable[Text | Equation]:
    equations = limit.equations
    yield Text(
        "Mode $j$ has eigenvalues $\\lambda_{ij}$, share of the dimension $\\omega_j$, mean $x_j$ and variance $v_j$ "
        "of the iterate."
    )
    yield Equation(r"\frac{\mathrm{d}x_j}{\mathrm{d}t}", tex(equations.mean))
    yield Equation(r"\frac{\mathrm{d}v_j}{\mathrm{d}t}", tex(equations.variance))


def _statistics(limit: Limit) -> Iterable[Text | Equation]:
    for name, expression in limit.statistics.items():
        # a formula of the user's is shown as it is: its Max is no guard
        shown = _without_guards(expression) if name in STATISTICS else expression
        yield Equation(rf"\mathrm{{{_plain(name)}}}", tex(shown))
