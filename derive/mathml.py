r"""MathML for the TeX that sgdlimit prints.

A formula has one notation, its TeX; this module reads the small part of TeX that the printer writes and knows every
command in it, so that what it cannot read is an error and not a wrong formula::

    row   = atom*                  atom  = nucleus [^ group] [_ group]
    group = { row } | one token    nucleus = letter | number | command | { row } | \left ... \right | \begin ... \end
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape, quoteattr


@dataclass(frozen=True)
class Node:
    """An element of presentation MathML."""

    tag: str
    children: tuple[Node, ...] = ()
    text: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


def mathml(tex: str, *, display: bool = False) -> str:
    r"""A formula in TeX as a ``math`` element.

    Raises
    ------
    ValueError
        For TeX outside the part that the printer writes: an unknown command, a brace too many, a double superscript.

    Examples
    --------
    >>> mathml(r"a < \frac{1}{2}")
    '<math><mrow><mi>a</mi><mo>&lt;</mo><mfrac><mn>1</mn><mn>2</mn></mfrac></mrow></math>'
    >>> mathml("x^2^3")
    Traceback (most recent call last):
    ValueError: a second superscript at position 3 of 'x^2^3'
    """
    attributes = (("display", "block"),) if display else ()
    return written(Node("math", (parse(tex),), attributes=attributes))


def written(node: Node) -> str:
    """A node as text."""
    opening = node.tag + "".join(f" {name}={quoteattr(value)}" for name, value in node.attributes)
    inner = escape(node.text) + "".join(written(child) for child in node.children)
    return f"<{opening}>{inner}</{node.tag}>" if inner or node.tag == "mrow" else f"<{opening}/>"


def parse(tex: str) -> Node:
    r"""The tree of a formula.

    Examples
    --------
    >>> parse(r"\varepsilon").text
    'ε'
    """
    reader = _Reader(tex)
    row = reader.row()
    if reader.token:
        raise reader.error(f"an unexpected {reader.token!r}")
    return row


def width(tex: str) -> float:
    r"""About how wide a formula is, in digits.

    Examples
    --------
    >>> width(r"\frac{1}{22}"), width("x^2")
    (2.0, 1.7)
    """
    return _width(parse(tex))


def _width(node: Node) -> float:
    widths = [_width(child) for child in node.children]
    match node.tag:
        case "mi" | "mn" | "mtext":
            return float(len(node.text))
        case "mo":
            return {"\u2062": 0.0, "\u2061": 0.0}.get(node.text, 1.0 if node.text in _FENCES else 2.5)
        case "mspace":
            return 0.5
        case "mfrac" | "munderover" | "munder" | "mover":
            return max(widths)
        case "msup" | "msub":
            return widths[0] + 0.7 * widths[1]
        case "msubsup":
            return widths[0] + 0.7 * max(widths[1:])
        case "mtable":
            columns = max(len(row.children) for row in node.children)
            rows = [[_width(cell) for cell in row.children] for row in node.children]
            return sum(max((row[k] for row in rows if k < len(row)), default=0.0) + 1 for k in range(columns))
        case "msqrt":
            return sum(widths) + 1
    return sum(widths)


# ── The commands ────────────────────────────────────────────────────────────────────────────────────────────


def _pairs(words: str) -> dict[str, str]:
    """Names and characters, taking turns."""
    found = words.split()
    return dict(zip(found[::2], found[1::2], strict=True))


_LETTERS = _pairs(
    r"alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ "
    r"lambda λ mu μ nu ν xi ξ pi π rho ρ varrho ϱ sigma σ varsigma ς tau τ upsilon υ phi ϕ varphi φ chi χ psi ψ "
    r"omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω ell ℓ partial ∂ "
    r"infty ∞"
)
_OPERATORS = _pairs(
    r"cdot ⋅ times × pm ± mp ∓ ast ∗ perp ⟂ circ ∘ mid ∣ to → sim ∼ le ≤ leq ≤ ge ≥ geq ≥ ne ≠ neq ≠ wedge ∧ "
    r"vee ∨ neg ¬ int ∫ sum ∑ prod ∏ cdots ⋯ ldots … approx ≈ colon : longrightarrow ⟶ equiv ≡ in ∈"
)
_DELIMITERS = {".": ""} | _pairs(
    r"( ( ) ) [ [ ] ] | | \{ { \} } \| ‖ \langle ⟨ \rangle ⟩ \lvert | \rvert | \lVert ‖ \rVert ‖ \lbrace { "
    r"\rbrace }"
)
_FENCES = {*_DELIMITERS.values(), ","}
_CLOSING = {")", "]", "}", "⟩", "|", "‖"}
_FUNCTIONS = {"log", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min", "sup", "inf", "Pr", "ln"}
_SPACES = {",": "0.17em", ":": "0.22em", ";": "0.28em", " ": "0.28em", "quad": "1em", "qquad": "2em"}
_ACCENTS = {"bar": "¯", "tilde": "~", "hat": "^", "dot": "˙"}
_SIZES = {f"{size}{side}" for size in ("big", "Big", "bigg", "Bigg") for side in "lr"}

_TOKEN = re.compile(r":=|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S|\s+", re.DOTALL)


@dataclass
class _Reader:
    """Reads a formula from left to right; each method leaves ``token`` at what comes next."""

    tex: str
    _tokens: Iterator[re.Match[str]] | None = None
    token: str = ""
    position: int = 0

    def __post_init__(self) -> None:
        self._tokens = _TOKEN.finditer(self.tex)
        self.advance()

    def advance(self) -> str:
        """The token that was next; white space means nothing."""
        taken = self.token
        assert self._tokens is not None
        for match in self._tokens:
            if not match.group().isspace():
                self.token, self.position = match.group(), match.start()
                return taken
        self.token, self.position = "", len(self.tex)
        return taken

    def take(self, expected: str) -> None:
        if self.token != expected:
            found = repr(self.token) if self.token else "the end"
            raise self.error(f"{found} where {expected!r} should be")
        self.advance()

    def error(self, what: str) -> ValueError:
        return ValueError(f"{what} at position {self.position} of {self.tex!r}")

    def row(self, *ends: str) -> Node:
        """Atoms up to one of the tokens, which stays."""
        nodes: list[Node] = []
        while self.token and self.token not in (*ends, "}", "&", r"\\", r"\right", r"\end"):
            for node in self.atom():
                nodes += _spaced(nodes, node)
        return nodes[0] if len(nodes) == 1 else Node("mrow", tuple(nodes))

    def atom(self) -> list[Node]:
        """A nucleus with its scripts; nothing for a command without a width."""
        nucleus = self.nucleus()
        if nucleus is None:
            return []
        below: Node | None = None
        above: Node | None = None
        while self.token in ("^", "_"):
            if (above if self.token == "^" else below) is not None:
                raise self.error(f"a second {'superscript' if self.token == '^' else 'subscript'}")
            if self.advance() == "^":
                above = self.group()
            else:
                below = self.group()
        limits = nucleus.text in ("∑", "∏", "sup", "max", "min", "inf")
        tags = ("munder", "mover", "munderover") if limits else ("msub", "msup", "msubsup")
        if below is not None and above is not None:
            return [Node(tags[2], (nucleus, below, above))]
        if below is not None:
            return [Node(tags[0], (nucleus, below))]
        return [nucleus if above is None else Node(tags[1], (nucleus, above))]

    def group(self) -> Node:
        """An argument."""
        if self.token == "{":
            self.advance()
            row = self.row()
            self.take("}")
            return row
        nucleus = self.nucleus()
        if nucleus is None:
            raise self.error("nothing where an argument should be")
        return nucleus

    def words(self) -> str:
        """An argument that is text: ``{clean\\ risk}``."""
        if self.token != "{":
            raise self.error("no text in braces")
        end = self.tex.find("}", self.position)
        if end < 0:
            raise self.error("a brace that is never closed")
        text = self.tex[self.position + 1 : end]
        while self.token and self.position < end:
            self.advance()
        self.take("}")
        return re.sub(r"\\(.)", r"\1", text).replace(" ", "\u00a0")

    def nucleus(self) -> Node | None:
        if not self.token:
            raise self.error("the end where a symbol should be")
        if self.token == "{":
            return self.group()
        token = self.advance()
        if token.startswith("\\"):
            return self.command(token[1:])
        if token[0].isdigit():
            return Node("mn", text=token)
        if token.isalpha() and token.isascii():
            return Node("mi", text=token)
        if token in _DELIMITERS:
            return Node("mo", text=token, attributes=(("stretchy", "false"),))
        if token == "/":
            return Node("mo", text=token, attributes=(("lspace", "0"), ("rspace", "0")))
        if token == ":=" or token in "+-=<>,;:!'*":
            return Node("mo", text={"-": "−", "'": "′", "*": "∗", ":=": "≔"}.get(token, token))
        raise self.error(f"no meaning for {token!r} before what is")

    def command(self, name: str) -> Node | None:
        """What a command and its arguments stand for."""
        if name in _LETTERS:
            return Node("mi", text=_LETTERS[name])
        if name in _OPERATORS:
            return Node("mo", text=_OPERATORS[name])
        if name in _FUNCTIONS:
            return Node("mi", text=name)
        if name in _SPACES:
            return Node("mspace", attributes=(("width", _SPACES[name]),))
        if name in _ACCENTS:
            accent = Node("mo", text=_ACCENTS[name], attributes=(("stretchy", "false"),))
            return Node("mover", (self.group(), accent), attributes=(("accent", "true"),))
        if name in ("!", "displaystyle", "textstyle", "limits"):
            return None
        if name in _SIZES:
            return Node("mo", text=self.delimiter(), attributes=(("fence", "true"), ("stretchy", "false")))
        if "\\" + name in _DELIMITERS:
            return Node("mo", text=_DELIMITERS["\\" + name], attributes=(("stretchy", "false"),))
        commands: dict[str, Callable[[], Node]] = {
            "frac": lambda: Node("mfrac", (self.group(), self.group())),
            "sqrt": self.root,
            "operatorname": lambda: Node("mi", text=self.words()),
            "mathrm": lambda: _upright(self.words()),
            "mathtt": lambda: Node("mi", text=self.words(), attributes=(("style", "font-family: monospace"),)),
            "mathbf": lambda: Node("mn", text=self.words(), attributes=(("style", "font-weight: bold"),)),
            "text": lambda: Node("mtext", text=self.words()),
            "left": self.fenced,
            "begin": self.environment,
        }
        if name not in commands:
            raise self.error(f"no meaning for \\{name} before what is")
        return commands[name]()

    def root(self) -> Node:
        if self.token != "[":
            return Node("msqrt", (self.group(),))
        self.advance()
        index = self.row("]")
        self.take("]")
        return Node("mroot", (self.group(), index))

    def delimiter(self) -> str:
        token = self.advance()
        if token not in _DELIMITERS:
            raise self.error(f"{token!r} as a delimiter before what is")
        return _DELIMITERS[token]

    def fenced(self) -> Node:
        opening = self.delimiter()
        inner = self.row()
        self.take(r"\right")
        closing = self.delimiter()
        tall = _is_tall(inner)
        return Node("mrow", (*_fence(opening, "prefix", tall), inner, *_fence(closing, "postfix", tall)))

    def environment(self) -> Node:
        name = self.words()
        if name not in ("cases", "aligned"):
            raise self.error(f"an unknown environment {name}")
        rows, cells = [], [self.row()]
        while self.token in ("&", r"\\"):
            if self.advance() == r"\\":
                rows.append(cells)
                cells = []
            cells.append(self.row())
        rows.append(cells)
        self.take(r"\end")
        if self.words() != name:
            raise self.error(f"another end than that of {name}")
        table = Node(
            "mtable",
            tuple(Node("mtr", tuple(Node("mtd", (cell,)) for cell in cells)) for cells in rows),
            attributes=(("class", name), ("displaystyle", "true"), ("columnalign", _ALIGNED[name])),
        )
        return Node("mrow", (*_fence("{", "prefix"), table)) if name == "cases" else table


_ALIGNED = {"cases": "left", "aligned": "right left"}


def _upright(text: str) -> Node:
    return Node("mi", text=text, attributes=(("mathvariant", "normal"),))


def _is_tall(node: Node) -> bool:
    """Whether brackets around it must grow."""
    return node.tag in ("mfrac", "mtable", "munderover", "munder") or any(map(_is_tall, node.children))


def _fence(text: str, form: str, tall: bool = True) -> tuple[Node, ...]:
    attributes = (("form", form), ("fence", "true"), ("stretchy", "true" if tall else "false"))
    return (Node("mo", text=text, attributes=attributes),) if text else ()


def _spaced(before: list[Node], node: Node) -> list[Node]:
    """A node with the space that TeX would put before it, and a sign with its form."""
    last = before[-1] if before else None
    if node.tag == "mo" and node.text in ("+", "−", "±", "∓"):
        if last is None or (last.tag == "mo" and last.text not in _CLOSING) or last.tag == "mspace":
            return [replace(node, attributes=(("form", "prefix"), *node.attributes))]
        return [node]
    if last is None or last.tag in ("mo", "mspace") or node.tag in ("mo", "mspace"):
        return [node]
    named_last, named = _is_word(last), _is_word(node)
    if named or (named_last and not _is_fenced(node)):
        return [Node("mspace", attributes=(("width", "0.17em"),)), node]
    return [node]


def _is_word(node: Node) -> bool:
    while node.tag in ("msub", "msup", "msubsup"):
        node = node.children[0]
    return node.tag == "mi" and len(node.text) > 1


def _is_fenced(node: Node) -> bool:
    return node.tag == "mrow" and bool(node.children) and node.children[0].tag == "mo"
