"""Of a library of small C functions, those that a file calls."""

from __future__ import annotations

import re
from collections.abc import Iterable

_DEFINES = re.compile(r"^LANEWISE \w+ (\w+)\(", re.MULTILINE)
_CALLS = re.compile(r"\b(\w+)\(")


def function_names(library: str) -> list[str]:
    """Names of the functions of a library, in its order."""
    return [name for name, _ in _functions(library)]


def excerpt(library: str, wanted: Iterable[str]) -> str:
    """The library's first block, the functions wanted and those that they call, in the library's order.

    Parameters
    ----------
    library : str
        Blocks between blank lines: one that every file needs, then functions, each with its own comment, which call
        only those before them.
    wanted : iterable of str
        Names; those that the library does not define are another's.
    """
    functions = _functions(library)
    needed = set(wanted)
    for name, text in reversed(functions):
        if name in needed:
            needed |= called(text)
    chosen = [text for name, text in functions if name in needed]
    return "\n\n".join([_blocks(library)[0], *chosen]) + "\n"


def called(text: str) -> set[str]:
    """Names that stand before an opening bracket."""
    return set(_CALLS.findall(text))


def _blocks(library: str) -> list[str]:
    return library.strip().split("\n\n")


def _functions(library: str) -> list[tuple[str, str]]:
    found = []
    for block in _blocks(library)[1:]:
        match = _DEFINES.search(block)
        assert match is not None, f"no function in {block!r}"
        found.append((match[1], block))
    return found
