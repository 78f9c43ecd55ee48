"""A result as one page that needs no other file: what was asked, outcome, figures, tables, equations, and the recipe.

Verifications and sweeps say what stands in it; here is how it stands.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sgdlimit.derive.limit import Limit, derive
from sgdlimit.derive.model import Model
from sgdlimit.runtime.figures import Picture
from sgdlimit.runtime.kernel import Statistics

_LONGEST_SPEC = 20_000  # characters that are shown; a longer one can be taken from the page


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure of the page.

    Parameters
    ----------
    said : str
        What it shows, for who cannot see it.
    picture : Picture
    """

    said: str
    picture: Picture


@dataclass(frozen=True)
class Rows:
    """A table of the page.

    Parameters
    ----------
    title : str
    head : tuple of str
    rows : tuple of tuple of str
    words : int
        How many columns, from the left, hold words; the others are numbers.
    marked : frozenset of int
        Rows that stand out.
    folded : bool
        Whether it is shown on demand alone.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    marked: frozenset[int] = frozenset()
    folded: bool = False


@dataclass(frozen=True)
class Recipe:
    """How to make the result again.

    Parameters
    ----------
    command : str
        With ``spec`` in a file of that name.
    name : str
        Of that file.
    spec : str
        Its text.
    facts : mapping of str to str
        Versions, seed, machine.
    """

    command: str
    name: str
    spec: str
    facts: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Report:
    """What stands on the page.

    Parameters
    ----------
    claim : str
        The outcome in a sentence.
    asked : mapping of str to str
        What was asked, by what it is called.
    outcome : tuple of str
        Paragraphs.
    figures : tuple of Figure
    tables : tuple of Rows
    equations : tuple of (Model, Statistics)
        Whose equations it is about.
    recipe : Recipe
    """

    claim: str
    asked: Mapping[str, str]
    outcome: tuple[str, ...]
    figures: tuple[Figure, ...]
    tables: tuple[Rows, ...]
    equations: tuple[tuple[Model, Statistics], ...]
    recipe: Recipe


def report_page(report: Report) -> str:
    """The whole page."""
    from sgdlimit.derive.page import frame

    recipe = report.recipe
    parts = {
        "What was asked": _pairs(report.asked),
        "Outcome": paragraphs(report.outcome),
        "Figures": f'<div class="figures">{"".join(map(_figure, report.figures))}</div>',
        "Tables": "".join(map(table, report.tables)),
        "Equations": "".join(_equations(model, statistics) for model, statistics in report.equations),
        "To make it again": (
            f"<p>With what follows in a file <code>{html.escape(recipe.name)}</code>:</p>"
            f"<pre>{html.escape(recipe.command)}</pre>{_spec(recipe)}{_pairs(recipe.facts)}"
        ),
    }
    anchors = [(title.lower().replace(" ", "-"), title) for title in parts]
    body = "\n".join(
        f'<section id="{anchor}">\n<h2>{title}</h2>\n{parts[title]}\n</section>' for anchor, title in anchors
    )
    return frame(f"sgdlimit: {report.claim}", html.escape(report.claim), anchors, body, _STYLE)


_STYLE = """
body { max-width: 70rem; }
table.numbers { font-size: .85rem; }
table.numbers th, table.numbers td { text-align: right; white-space: nowrap; padding: .2rem .6rem .2rem 0; }
table.numbers .words { text-align: left; }
table.numbers tr.differs td { font-weight: bold; background: #fbe3d3; }
table.pairs td { overflow-wrap: anywhere; }
table.pairs td:first-child { white-space: nowrap; color: #555; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
.figures img { width: 100%; height: auto; }
.figures figure { margin: 0; break-inside: avoid; }
figcaption { font-size: .85rem; color: #555; }
summary { cursor: pointer; }
.outcome { white-space: pre-wrap; }
@media print {
  .figures { grid-template-columns: 1fr 1fr 1fr; }
  table.numbers { font-size: 7.5pt; }
  table.numbers th, table.numbers td { padding-right: .3rem; }
  pre { font-size: 7.5pt; }
  a.file { display: none; }
}
"""


def paragraphs(texts: Sequence[str]) -> str:
    """Running text as HTML."""
    return "".join(f'<p class="outcome">{html.escape(text)}</p>' for text in texts)


def table(rows: Rows) -> str:
    """A table as HTML."""

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = [' class="words"' if k < rows.words else "" for k in range(len(row))]
        return "".join(f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    marks = [' class="differs"' if k in rows.marked else "" for k in range(len(rows.rows))]
    body = "".join(f"<tr{mark}>{cells('td', row)}</tr>" for mark, row in zip(marks, rows.rows, strict=True))
    found = (
        f'<div class="wide"><table class="numbers"><thead><tr>{cells("th", rows.head)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
    title = html.escape(rows.title)
    return f"<details><summary>{title}</summary>{found}</details>" if rows.folded else f"<h3>{title}</h3>{found}"


def _pairs(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(told)}</td></tr>" for name, told in facts.items())
    return f'<table class="pairs"><tbody>{rows}</tbody></table>'


def _figure(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.picture.savefig(buffer, format="svg")
    width, height = (round(96 * inches) for inches in figure.picture.get_size_inches())
    return (
        f'<figure><img alt="{html.escape(figure.said)}" width="{width}" height="{height}" '
        f'src="data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"/>'
        f"<figcaption>{html.escape(figure.said)}</figcaption></figure>"
    )


def _equations(model: Model, statistics: Statistics) -> str:
    from sgdlimit.derive.document import equations, title
    from sgdlimit.derive.page import fragment, running_text

    limit: Limit = derive(model, statistics)
    return f"<h3>{running_text(title(limit))}</h3>\n{fragment(equations(limit), 'h4')}"


def _spec(recipe: Recipe) -> str:
    shown = f"<pre>{html.escape(recipe.spec)}</pre>" if len(recipe.spec) <= _LONGEST_SPEC else ""
    data = base64.b64encode(recipe.spec.encode()).decode()
    return (
        f'{shown}<p><a class="file" download="{html.escape(recipe.name)}" href="data:text/plain;base64,{data}">'
        f"{html.escape(recipe.name)}</a></p>"
    )
