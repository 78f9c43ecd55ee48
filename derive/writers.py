"""The document of a limit as text: Markdown and LaTeX. ``derive/page.py`` has it as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sgdlimit.derive.document import Equation, Item, Items, Table, Text, sections, title
from sgdlimit.derive.limit import Limit


def inline(text: str, word: Callable[[str], str], code: Callable[[str], str], math: Callable[[str], str]) -> str:
    """Running text in a format, from its words, its `code` and its $math$."""
    pieces = []
    for index, piece in enumerate(text.split("`")):
        if index % 2:
            pieces.append(code(piece))
        else:
            pieces += [(math if k % 2 else word)(part) for k, part in enumerate(piece.split("$"))]
    return "".join(pieces)


def aligned(equation: Equation) -> list[str]:
    """The lines of a long equation, aligned at its sign."""
    first, *rest = equation.right
    return [f"{equation.left} ={{}}& {first}", *(rf"& \quad {line}" for line in rest)]


# ── Markdown ────────────────────────────────────────────────────────────────────────────────────────────────


def markdown(limit: Limit) -> str:
    """Markdown with LaTeX equations."""
    lines = [f"# {title(limit)}", ""]
    for section in sections(limit):
        lines += [f"## {section.title}", ""]
        for item in section.content:
            lines += [*_markdown_item(item), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_item(item: Item) -> Iterator[str]:
    match item:
        case Text(text):
            yield _markdown_text(text)
        case Items(items):
            yield from (f"- {_markdown_text(text)}" for text in items)
        case Table(head, rows):
            for row in (head, ("---",) * len(head), *rows):
                yield f"| {' | '.join(map(_markdown_cell, row))} |"
        case Equation(left, right, note):
            yield "$$"
            if len(right) == 1:
                yield f"{left} = {right[0]}"
            else:
                yield from (r"\begin{aligned}", " \\\\\n".join(aligned(item)), r"\end{aligned}")
            yield "$$"
            if note:
                yield from ("", f"({_markdown_text(note)})")


def _markdown_text(text: str) -> str:
    def escaped(words: str) -> str:
        return "".join(f"\\{c}" if c in "*_|<" else c for c in words)

    return inline(text, escaped, lambda code: f"`{code}`", lambda math: f"${math}$")


def _markdown_cell(text: str) -> str:
    """A bar would end the cell, in code and formulas too."""
    return inline(
        text,
        lambda words: _markdown_text(words),
        lambda code: f"`{code}`".replace("|", r"\|"),
        lambda math: f"${math}$".replace("|", r"\vert "),
    )


# ── LaTeX ───────────────────────────────────────────────────────────────────────────────────────────────────


def latex(limit: Limit) -> str:
    """A LaTeX document that compiles on its own (``amsmath``)."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage{amsmath,amssymb,array}",
        r"\usepackage[margin=2.5cm]{geometry}",
        r"\setlength{\parindent}{0pt}",
        r"\setlength{\parskip}{1ex}",
        r"\allowdisplaybreaks",
        r"\begin{document}",
        rf"\section*{{{_tex_text(title(limit))}}}",
    ]
    for section in sections(limit):
        lines.append(rf"\subsection*{{{section.title}}}")
        for item in section.content:
            lines += _tex_item(item)
    lines.append(r"\end{document}")
    return "\n".join(lines) + "\n"


def _tex_item(item: Item) -> Iterator[str]:
    match item:
        case Text(text):
            yield from (_tex_text(text), "")
        case Items(items):
            yield r"\begin{itemize}"
            yield from (rf"\item {_tex_text(text)}" for text in items)
            yield r"\end{itemize}"
        case Table(head, rows):
            yield from (r"\begin{center}", r"\renewcommand{\arraystretch}{1.2}")
            # the last column takes what the others leave, up to half of the page
            yield rf"\begin{{tabular}}{{{'l' * (len(head) - 1)}>{{\raggedright\arraybackslash}}p{{0.5\textwidth}}}}"
            yield " & ".join(map(_tex_text, head)) + r" \\ \hline"
            yield from (" & ".join(map(_tex_text, row)) + r" \\" for row in rows)
            yield from (r"\end{tabular}", r"\end{center}")
        case Equation(left, right, note):
            if len(right) == 1:
                yield from (r"\begin{equation*}", f"{left} = {right[0]}", r"\end{equation*}")
            else:
                yield from (r"\begin{align*}", " \\\\\n".join(aligned(item)), r"\end{align*}")
            if note:
                yield from (f"({_tex_text(note)})", "")


_TEX_SYMBOLS = {
    "ε": "varepsilon",
    "τ": "tau",
    "σ": "sigma",
    "γ": "gamma",
    "φ": "varphi",
    "ξ": "xi",
    "Φ": "Phi",
    "κ": "kappa",
    "δ": "delta",
    "μ": "mu",
    "λ": "lambda",
    "ω": "omega",
    "Σ": "Sigma",
    "ℓ": "ell",
    "∂": "partial",
    "∞": "infty",
    "→": "to",
    "∫": "int",
    "±": "pm",
    "≤": "le",
    "≥": "ge",
    "·": "cdot",
    "√": "surd",
    "‖": "|",
    "⟨": "langle",
    "⟩": "rangle",
}
_TEX_CHARACTERS = {c: rf"$\{name}$" for c, name in _TEX_SYMBOLS.items()} | {
    "−": "$-$",
    "²": "$^2$",
    "°": r"$^\circ$",
    "*": r"$^\ast$",
    "–": "--",
    "|": "$|$",
    "<": "$<$",
    ">": "$>$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
}


def _tex_text(text: str) -> str:
    """Running text, escaped outside of formulas."""

    def escaped(words: str) -> str:
        return "".join(_TEX_CHARACTERS.get(c, c) for c in words)

    def typewriter(code: str) -> str:
        # a long expression may be broken at its signs
        signs = {"*": r"*\allowbreak{}", "+": r"+\allowbreak{}", ",": r",\allowbreak{}", "|": "|", "<": "<", ">": ">"}
        return rf"\texttt{{{''.join(signs.get(c, _TEX_CHARACTERS.get(c, c)) for c in code)}}}"

    return inline(text, escaped, typewriter, lambda math: f"${math}$")
