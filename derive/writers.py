"""The document of a limit in its formats: Markdown, LaTeX and HTML with MathML."""

from __future__ import annotations

import html as html_text
from collections.abc import Callable, Iterator

from sgdlimit.derive.document import Equation, Item, Items, Section, Table, Text, sections, title
from sgdlimit.derive.limit import Limit
from sgdlimit.derive.mathml import mathml


def _inline(text: str, word: Callable[[str], str], code: Callable[[str], str], math: Callable[[str], str]) -> str:
    """Running text in a format, from its words, its `code` and its $math$."""
    pieces = []
    for index, piece in enumerate(text.split("`")):
        if index % 2:
            pieces.append(code(piece))
        else:
            pieces += [(math if k % 2 else word)(part) for k, part in enumerate(piece.split("$"))]
    return "".join(pieces)


def _aligned(equation: Equation) -> list[str]:
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
                yield from (r"\begin{aligned}", " \\\\\n".join(_aligned(item)), r"\end{aligned}")
            yield "$$"
            if note:
                yield from ("", f"({_markdown_text(note)})")


def _markdown_text(text: str) -> str:
    def escaped(words: str) -> str:
        return "".join(f"\\{c}" if c in "*_|<" else c for c in words)

    return _inline(text, escaped, lambda code: f"`{code}`", lambda math: f"${math}$")


def _markdown_cell(text: str) -> str:
    """A bar would end the cell, in code and formulas too."""
    return _inline(
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
                yield from (r"\begin{align*}", " \\\\\n".join(_aligned(item)), r"\end{align*}")
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

    return _inline(text, escaped, typewriter, lambda math: f"${math}$")


# ── HTML ────────────────────────────────────────────────────────────────────────────────────────────────────

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 Georgia, "DejaVu Serif", serif; color: #1c1c1c; background: #fff; max-width: 58rem;
  margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; font-weight: normal; line-height: 1.3; border-bottom: 2px solid #1c1c1c;
  padding-bottom: .5rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
code { font: .88em/1.4 "DejaVu Sans Mono", Menlo, Consolas, monospace; background: #f1f1f1; padding: .05em .3em;
  overflow-wrap: anywhere; }
nav { font-size: .9rem; color: #555; }
nav a { color: inherit; margin-right: 1em; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .95rem; }
th, td { text-align: left; vertical-align: baseline; padding: .35rem 1.2rem .35rem 0;
  border-bottom: 1px solid #d0d0d0; }
th { font-weight: normal; color: #555; border-bottom: 1px solid #1c1c1c; }
.equation { overflow-x: auto; overflow-y: hidden; padding: .35rem 0 .35rem 2rem; }
.note { color: #555; padding-left: 2rem; }
math { font-size: 1.05em; }
.equation math { display: inline math; }
mtable.aligned > mtr > mtd { padding: .25em 0; text-align: left; }
mtable.aligned > mtr > mtd:first-child { text-align: right; }
mtable.cases > mtr > mtd { padding: .2em 1.2em .2em 0; text-align: left; }
@media print {
  body { max-width: none; margin: 0; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  .equation { overflow: visible; break-inside: avoid; padding-left: 1rem; }
  h2 { break-after: avoid; }
}
"""


def html(limit: Limit) -> str:
    """One page with MathML; needs no network and no scripts."""
    found = sections(limit)
    name = title(limit)
    links = "\n".join(f'<a href="#{_anchor(s)}">{html_text.escape(s.title)}</a>' for s in found)
    body = "\n".join(_html_section(section) for section in found)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{html_text.escape(name.replace("`", ""))}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_html_text(name)}</h1>
<nav>
{links}
</nav>
{body}
</body>
</html>
"""


def _anchor(section: Section) -> str:
    return section.title.lower().replace(" ", "-")


def _html_section(section: Section) -> str:
    lines = [f'<section id="{_anchor(section)}">', f"<h2>{html_text.escape(section.title)}</h2>"]
    for item in section.content:
        lines += _html_item(item)
    return "\n".join([*lines, "</section>"])


def _html_item(item: Item) -> Iterator[str]:
    match item:
        case Text(text):
            yield f"<p>{_html_text(text)}</p>"
        case Items(items):
            yield "<ul>"
            yield from (f"<li>{_html_text(text)}</li>" for text in items)
            yield "</ul>"
        case Table(head, rows):
            yield "<table>"
            yield "<thead><tr>" + "".join(f"<th>{_html_text(text)}</th>" for text in head) + "</tr></thead>"
            yield "<tbody>"
            yield from ("<tr>" + "".join(f"<td>{_html_text(text)}</td>" for text in row) + "</tr>" for row in rows)
            yield "</tbody></table>"
        case Equation(left, right, note):
            formula = f"{left} = {right[0]}"
            if len(right) > 1:
                formula = r"\begin{aligned} " + r" \\ ".join(_aligned(item)) + r" \end{aligned}"
            yield f'<div class="equation">{mathml(formula, display=True)}</div>'
            if note:
                yield f'<p class="note">{_html_text(note)}</p>'


def _html_text(text: str) -> str:
    return _inline(text, html_text.escape, lambda code: f"<code>{html_text.escape(code)}</code>", mathml)
