"""Of C text in blocks, what some functions need: themselves, and all that they call or name.

A block is what stands between blank lines outside of braces and of preprocessor conditions: a function with its
comment, a type, a few constants. It is dropped when nothing that is kept needs a name that it defines. One that defines
nothing, a heading, stays with its section.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_COMMENTS = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_ATTRIBUTES = re.compile(r"__attribute__\s*\(\(.*?\)\)[ \t]*(?=[\w;\n])", re.DOTALL)
_CALLS = re.compile(r"\b(\w+)\(")
# a function that is handed over, not called
_HANDED = re.compile(r"[(,]\s*(\w+)(?=\s*[,)])")
_NAMES = re.compile(r"(?<![\w.])(?<!->)[A-Za-z_]\w*")
_FUNCTIONS = re.compile(r"^(?!typedef|enum|struct|#)[A-Za-z_][\w \t*]*?\b(\w+)\(", re.MULTILINE)
_MACROS = re.compile(r"^#define (\w+)", re.MULTILINE)
_ARRAYS = re.compile(r"^static const [\w ]*?\b(\w+)(?:\[[^\n]*?\])* =", re.MULTILINE)
_TYPES = re.compile(r"^(?:typedef [^{};]*?|typedef struct[^\n]*\} |\} )\b(\w+) ?;", re.MULTILINE)
_ENUMS = re.compile(r"^enum \{(.*?)\}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A piece of C text that is kept or dropped as a whole.

    Parameters
    ----------
    text : str
    functions, others : frozenset of str
        What it defines or declares.
    called, named : frozenset of str
        What it needs: functions by a call, or handed over; types, macros and constants by their names.
    """

    text: str
    functions: frozenset[str] = field(default_factory=frozenset)
    others: frozenset[str] = field(default_factory=frozenset)
    called: frozenset[str] = field(default_factory=frozenset)
    named: frozenset[str] = field(default_factory=frozenset)


def called(text: str) -> set[str]:
    """Names that stand before an opening bracket."""
    return set(_CALLS.findall(text))


def function_names(text: str) -> list[str]:
    """Names of the functions that a text defines, in its order.

    Examples
    --------
    >>> function_names("static int one(void) { return 1; }\\n\\nstatic int two(void) { return one() + one(); }")
    ['one', 'two']
    """
    return list(dict.fromkeys(_FUNCTIONS.findall(_plain(text))))


def excerpt(text: str, wanted: Iterable[str]) -> str:
    """What some functions need of a text, and they themselves.

    Examples
    --------
    >>> excerpt("static int one(void) { return 1; }\\n\\nstatic int two(void) { return 2; }", ["two"])
    'static int two(void) { return 2; }\\n'
    """
    return excerpts([text], wanted)[0]


def excerpts(sections: Sequence[str], wanted: Iterable[str]) -> list[str]:
    """The same of a text in sections.

    Parameters
    ----------
    sections : sequence of str
        The text in parts.
    wanted : iterable of str
        Functions, types, macros. A name that nothing here defines is another's.

    Returns
    -------
    list of str
        Of each section the blocks that are needed, in their order; empty where none is.

    Examples
    --------
    >>> numbers = "/* Numbers */\\n\\nstatic int one(void) { return 1; }\\n\\nstatic int two(void) { return 2; }"
    >>> excerpts([numbers, "enum { THREE = 3 };"], ["two"])
    ['/* Numbers */\\n\\nstatic int two(void) { return 2; }\\n', '']
    """
    blocks = [[_block(text) for text in _texts(section)] for section in sections]
    everything = [block for of_section in blocks for block in of_section]
    providers: dict[str, list[Block]] = {}
    for block in everything:
        for name in block.functions | block.others:
            providers.setdefault(name, []).append(block)
    kept: set[int] = set()
    waiting = [block for name in wanted for block in providers.get(name, ())]
    while waiting:
        block = waiting.pop()
        if id(block) in kept:
            continue
        kept.add(id(block))
        waiting += [b for name in block.called for b in providers.get(name, ()) if name in b.functions]
        waiting += [b for name in block.named for b in providers.get(name, ()) if name in b.others]
    return [_joined(of_section, kept) for of_section in blocks]


def _joined(blocks: Sequence[Block], kept: set[int]) -> str:
    if not any(id(block) in kept for block in blocks):
        return ""
    texts = [block.text for block in blocks if id(block) in kept or not (block.functions or block.others)]
    return "\n\n".join(texts) + "\n"


def _plain(text: str) -> str:
    """Without comments, strings and attributes."""
    return _ATTRIBUTES.sub("", _COMMENTS.sub(" ", text))


def _block(text: str) -> Block:
    plain = _plain(text)
    others = {*_MACROS.findall(plain), *_ARRAYS.findall(plain), *_TYPES.findall(plain)}
    for body in _ENUMS.findall(plain):
        others |= {entry.split("=")[0].strip() for entry in body.split(",")} - {""}
    own = frozenset(_FUNCTIONS.findall(plain))
    return Block(
        text,
        own,
        frozenset(others),
        frozenset({*_CALLS.findall(plain), *_HANDED.findall(plain)}) - own,
        frozenset(_NAMES.findall(_COMMENTS.sub(" ", text))) - others,
    )


def _texts(section: str) -> list[str]:
    """Blocks of a section: cut at blank lines where no brace and no condition is open."""
    found: list[str] = []
    lines: list[str] = []
    depth = 0
    for line, plain in zip(section.split("\n"), _COMMENTS.sub(_blank, section).split("\n"), strict=True):
        depth += plain.count("{") - plain.count("}")
        depth += plain.startswith("#if") - plain.startswith("#endif")
        if not line.strip() and depth == 0:
            if lines:
                found.append("\n".join(lines))
            lines = []
        else:
            lines.append(line)
    return [*found, "\n".join(lines)] if lines else found


def _blank(comment: re.Match[str]) -> str:
    """As many lines of nothing."""
    return "\n" * comment[0].count("\n")
