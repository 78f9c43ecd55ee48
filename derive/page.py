"""Pages of HTML that need no other file, no network and no script: the frame of all, and a limit's with MathML."""

from __future__ import annotations

import html as html_text
from collections.abc import Iterator, Sequence

from sgdlimit.derive.document import Equation, Item, Items, Section, Table, Text, sections, title
from sgdlimit.derive.limit import Limit
from sgdlimit.derive.mathml import mathml
from sgdlimit.derive.writers import aligned, inline

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 Georgia, "DejaVu Serif", serif; color: #1c1c1c; background: #fff; max-width: 58rem;
  margin: 2.5rem auto; padding: 0 1.5rem; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; font-weight: normal; line-height: 1.3; border-bottom: 2px solid #1c1c1c;
  padding-bottom: .5rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
code, pre { font: .88em/1.4 "DejaVu Sans Mono", Menlo, Consolas, monospace; background: #f1f1f1; }
code { padding: .05em .3em; overflow-wrap: anywhere; }
pre { padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
nav { font-size: .9rem; color: #555; }
nav a { color: inherit; margin-right: 1em; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .95rem; }
th, td { text-align: left; vertical-align: baseline; padding: .35rem 1.2rem .35rem 0;
  border-bottom: 1px solid #d0d0d0; }
th { font-weight: normal; color: #555; border-bottom: 1px solid #1c1c1c; }
.wide { overflow-x: auto; }
.equation { overflow-x: auto; overflow-y: hidden; padding: .35rem 0 .35rem 2rem; }
.note { color: #555; padding-left: 2rem; }
math { font-size: 1.05em; }
.equation math { display: inline math; }
mtable.aligned > mtr > mtd { padding: .25em 0; text-align: left; }
mtable.aligned > mtr > mtd:first-child { text-align: right; }
mtable.cases > mtr > mtd { padding: .2em 1.2em .2em 0; text-align: left; }
@media (max-width: 40rem) {
  body { margin: 1rem auto; padding: 0 1rem; }
  .equation, .note { padding-left: 0; }
}
@media print {
  body { max-width: none; margin: 0; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  .equation { overflow: visible; break-inside: avoid; padding-left: 1rem; }
  .wide { overflow: visible; }
  h2, h3, h4 { break-after: avoid; }
  tr { break-inside: avoid; }
}
"""


def frame(title: str, heading: str, parts: Sequence[tuple[str, str]], body: str, style: str = "") -> str:
    """A whole page.

    Parameters
    ----------
    title : str
        Plain text.
    heading : str
        HTML.
    parts : sequence of (str, str)
        What is in it: identifiers and names of its sections.
    body : str
        HTML.
    style : str
        Rules besides those that all pages share.
    """
    links = "\n".join(f'<a href="#{identifier}">{html_text.escape(name)}</a>' for identifier, name in parts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{html_text.escape(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
<h1>{heading}</h1>
<nav>
{links}
</nav>
{body}
</body>
</html>
"""


def html(limit: Limit) -> str:
    """The document of a limit as one page."""
    found, name = sections(limit), title(limit)
    parts = [(_anchor(section), section.title) for section in found]
    body = "\n".join(_section(section, "h2") for section in found)
    return frame(name.replace("`", ""), running_text(name), parts, body)


def fragment(found: Sequence[Section], heading: str = "h3") -> str:
    """Sections for a page of something else, with headings of that level; nothing links to them."""
    return "\n".join(_section(section, heading, linked=False) for section in found)


def _anchor(section: Section) -> str:
    return section.title.lower().replace(" ", "-")


def _section(section: Section, heading: str, *, linked: bool = True) -> str:
    opening = f'<section id="{_anchor(section)}">' if linked else "<section>"
    lines = [opening, f"<{heading}>{html_text.escape(section.title)}</{heading}>"]
    for item in section.content:
        lines += _item(item)
    return "\n".join([*lines, "</section>"])


def _item(item: Item) -> Iterator[str]:
    match item:
        case Text(text):
            yield f"<p>{running_text(text)}</p>"
        case Items(items):
            yield "<ul>"
            yield from (f"<li>{running_text(text)}</li>" for text in items)
            yield "</ul>"
        case Table(head, rows):
            yield '<div class="wide"><table>'
            yield "<thead><tr>" + "".join(f"<th>{running_text(text)}</th>" for text in head) + "</tr></thead>"
            yield "<tbody>"
            yield from ("<tr>" + "".join(f"<td>{running_text(text)}</td>" for text in row) + "</tr>" for row in rows)
            yield "</tbody></table></div>"
        case Equation(left, right, note):
            formula = f"{left} = {right[0]}"
            if len(right) > 1:
                formula = r"\begin{aligned} " + r" \\ ".join(aligned(item)) + r" \end{aligned}"
            yield f'<div class="equation">{mathml(formula, display=True)}</div>'
            if note:
                yield f'<p class="note">{running_text(note)}</p>'


def running_text(text: str) -> str:
    """Text with `code` and $formulas$ in it."""
    return inline(text, html_text.escape, lambda code: f"<code>{html_text.escape(code)}</code>", mathml)
