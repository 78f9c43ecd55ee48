"""The equations of a limit as a document: a list of sections, which ``derive/writers.py`` puts into a format.

Running text is written once for all formats, with `` `code` `` and ``$TeX$`` in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import sympy as sp

from sgdlimit.derive import symbols
from sgdlimit.derive.convert import to_sympy
from sgdlimit.derive.dynamics import mode_equations
from sgdlimit.derive.functions import ScaledTailMoment, Side, TailMoment
from sgdlimit.derive.known_limits import AGREEMENT, NUMBERS_AGREEMENT, Comparison, KnownLimits, known_limits
from sgdlimit.derive.limit import Limit
from sgdlimit.derive.model import Formula, Labels, RandomLabels, Teacher
from sgdlimit.derive.notation import lines, plain, tex
from sgdlimit.derive.quadrature import TINY, Crossing, Definition, Layer, Quadrature


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of paragraphs."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table of running text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Equation:
    """A displayed equation in TeX, its right side broken into lines."""

    left: str
    right: tuple[str, ...]
    note: str = ""


Item: TypeAlias = Text | Items | Table | Equation


@dataclass(frozen=True)
class Section:
    """A title and what stands under it."""

    title: str
    content: tuple[Item, ...]


def title(limit: Limit) -> str:
    """What the document is of."""
    return f"Limit of streaming SGD: `{limit.model.loss.text}`"


def sections(limit: Limit) -> tuple[Section, ...]:
    """The document of a limit.

    Examples
    --------
    >>> from sgdlimit.derive import Labels, Loss, Model, derive
    >>> [section.title for section in sections(derive(Model(Loss("(r - y)**2/2"), Labels())))][:3]
    ['Model', 'Assumptions', 'Loss']
    """
    return (*equations(limit), *_named(("Known limits", _known_limits(limit))))


def equations(limit: Limit) -> tuple[Section, ...]:
    """The document without the check of known limits, which takes a second."""
    return _named(
        ("Model", _model(limit)),
        ("Assumptions", _assumptions(limit)),
        ("Adversarial loss" if limit.model.adversary else "Loss", _adversarial_loss(limit)),
        ("Law of the score", _law(limit)),
        ("Coefficients of one class", _coefficients(limit)),
        ("Quadratures", _quadratures(limit)),
        ("Mode equations", _mode_equations(limit)),
        ("Statistics", _statistics(limit)),
    )


def _named(*parts: tuple[str, Iterable[Item]]) -> tuple[Section, ...]:
    """Those that have something in them."""
    return tuple(Section(name, found) for name, content in parts if (found := tuple(content)))


def _equation(left: str, right: sp.Basic, note: str = "") -> Equation:
    return Equation(left, lines(right), note)


# ── Model, assumptions, loss ────────────────────────────────────────────────────────────────────────────────


def _model(limit: Limit) -> Iterator[Item]:
    model = limit.model
    yield Text(
        r"Streaming SGD with batch 1 and step $\gamma/d$ on samples $x$ of class $i$ with probability $p_i$, "
        r"$x \sim N(\mu_i, C_i)$ given the class; scores $r = \langle x, X\rangle$, "
        r"$r^\ast = \langle x, X^\ast\rangle$; norm $n = \|X\|$; time $t = k/d$. The loss is"
    )
    yield _equation("f(r; y)", to_sympy(model.loss.text, "loss"))
    match model.target:
        case Labels():
            yield Text("The target $y$ is a constant of the class.")
        case Teacher(text):
            teacher = to_sympy(text, "teacher")
            yield Text("The target is that of a teacher $X^\\ast$:")
            yield _equation("y", teacher, r"$\xi \sim N(0, 1)$ is label noise" if teacher.has(symbols.xi) else "")
        case RandomLabels(text):
            yield Text("The target is $+1$ or $-1$ at random, given the score of a teacher $X^\\ast$:")
            yield _equation(r"P(y = +1 \mid r^\ast)", to_sympy(text, "random labels"))
    if model.adversary:
        yield Text(r"Adversary: moves $x$ by at most $\varepsilon$ in ℓ2, after the target was drawn.")
    else:
        yield Text("No adversary: standard training.")
    named = ", ".join(f"`{name}` (${tex(symbols.parameter(name))}$)" for name in limit.parameters)
    yield Text(f"Parameters: {named}.")


def _assumptions(limit: Limit) -> Iterator[Item]:
    attacked = limit.adversarial_loss
    items = [
        "The data are a Gaussian mixture; given the class, means have norms and covariances have operator norms of "
        "order 1, and so have the iterate and the teacher.",
        r"$d \to \infty$ at fixed $\gamma$ and $t = k/d$: fluctuations of order $d^{-1/2}$ of the summary statistics "
        "vanish. Covariances commute, so that modes are coordinates of one basis.",
        "Each step takes one fresh sample.",
        "The loss is continuous in $r$ and smooth but for kinks, which carry point masses of the second derivative; "
        "all the expectations below exist.",
        "Parameters are real numbers, $\\varepsilon \\ge 0$ and $\\tau \\ge 0$.",
    ]
    if limit.model.adversary:
        items.append(
            f"The loss need not be quasi-convex in $r$ (case `{attacked.case}` below): the adversary's supremum is at "
            r"an endpoint, $|s^\circ| = \varepsilon n$, or at a local maximum between them."
            if attacked.case == "interior maxima"
            else f"The loss is quasi-convex in $r$, shown by the argument `{attacked.case}` below: the adversary's "
            r"supremum is at an endpoint, $|s^\circ| = \varepsilon n$."
        )
        items.append(
            "The derivatives of the adversarial loss hold the maximising perturbation fixed (envelope theorem)."
        )
    if limit.assumptions:
        needed = ", ".join(f"${tex(a)}$" for a in limit.assumptions)
        items.append(f"It is assumed that {needed}, which is checked when the parameters get numbers.")
    items.append(
        "Formulas are printed for where no variance and no norm is zero. Where one is: $F x_j/n := 0$ and "
        r"$F v_j/n := 0$ at $n = 0$, $\beta := 0$ and $\beta_1 := -1$ at $Q^\ast = 0$, and a variance "
        "is at least $10^{-300}$."
    )
    yield Items(tuple(items))


def _adversarial_loss(limit: Limit) -> Iterator[Item]:
    attacked = limit.adversarial_loss
    loss = "f"
    if limit.model.adversary is not None:
        loss = r"f_{\mathrm{adv}}"
        yield Text(
            rf"$f_{{\mathrm{{adv}}}}(r, n; y) = \sup_{{|s| \le \varepsilon n}} f(r + s; y)$. {attacked.statement}"
        )
        yield _equation(r"s^\circ", attacked.perturbation)
        yield _equation(r"f_{\mathrm{adv}}(r, n; y)", attacked.function.expression)
    elif attacked.function.switches:
        yield Text("With a switch for each kink:")
        yield _equation("f(r; y)", attacked.function.expression)
    for switch in attacked.function.switches:
        yield _equation(tex(switch.symbol), Side(switch.argument))
    yield _equation(rf"\partial_r {loss}", limit.gradient.d_r)
    if limit.model.adversary is not None:
        yield _equation(rf"\partial_n {loss}", limit.gradient.d_n)


# ── The law, coefficients, quadratures ──────────────────────────────────────────────────────────────────────


def _law(limit: Limit) -> Iterator[Item]:
    variable = "u = r - y" if _uses_residual(limit) else "r"
    yield Text(
        f"Given the class $i$, ${variable}$ is Gaussian with mean $\\bar w$ and standard deviation $s$; the index $i$ "
        "of what belongs to a class is left out. Sums over modes $j$:"
    )
    used = _needed(limit)
    for definition in limit.summary:
        if definition.symbol in used:
            yield _equation(tex(definition.symbol), _without_guards(definition.expression))
    yield Text("and of these:")
    if any(symbol.name.startswith("gap") for symbol in used):
        yield Text(
            "(for each kink, $h$ is its distance from the mean in units of $s$ and $\\alpha$ the side on which it "
            "lies, $+1$ for the right; a side of exactly zero counts as $-1$)"
        )
    for definition in limit.definitions:
        if definition.symbol in used:
            yield _equation(tex(definition.symbol), _without_guards(definition.expression))


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
        for d in _definitions(q):
            pending |= d.expression.free_symbols
    found: set[sp.Symbol] = set()
    while pending:
        symbol = pending.pop()
        if symbol in known and symbol not in found:
            found.add(symbol)
            pending |= {e for e in known[symbol].free_symbols if isinstance(e, sp.Symbol)}
    return found


def _definitions(quadrature: Quadrature) -> Iterator[Definition]:
    """What a quadrature evaluates at each node, its integrands and those of inner quadratures included."""
    for item in quadrature.steps:
        if isinstance(item, Quadrature):
            yield from _definitions(item)
        else:
            yield item
    for integrand in quadrature.integrands:
        yield Definition(integrand.symbol, integrand.expression)


def _without_guards(expression: sp.Expr) -> sp.Expr:
    """What a formula of the engine's says where nothing vanishes: without floors and branches for a zero variance or
    norm."""

    def unguarded(e: Any) -> Any:
        return sp.Add(*(a for a in e.args if a != TINY)) if isinstance(e, sp.Max) else e.args[0][0]

    return expression.replace(
        lambda e: isinstance(e, sp.Piecewise) or (isinstance(e, sp.Max) and TINY in e.args), unguarded
    )


_MEANINGS = {
    "R": "E LOSS",
    "A": r"E\,\partial_r LOSS",
    "B": r"E\,\partial_r^2 LOSS",
    "D": r"E\,\partial_r\partial_{r^\ast} LOSS",
    "F": r"E\,\partial_n LOSS",
    "I": r"E\left(\partial_r LOSS\right)^2",
    "clean_risk": "E f",
    "clean_error": r"P\left(\operatorname{sign}(y)\, r < 0\right)",
    "robust_error": r"P\left(\operatorname{sign}(y)\, r < \varepsilon n\right)",
}


def _meaning(name: str, limit: Limit) -> str:
    if name in _MEANINGS:
        loss = r"f_{\mathrm{adv}}" if limit.model.adversary else "f"
        return f"${_MEANINGS[name].replace('LOSS', loss)}$"
    return f"$E$ of `{limit.requested[name].text}`"


def _rule(text: str) -> str:
    """A rule, its formulas set."""
    for plain_text, formula in (
        ("∂_r f_adv", r"$\partial_r f_{\mathrm{adv}}$"),
        ("(dy/dr*) B", r"$(\mathrm{d}y/\mathrm{d}r^\ast) B$"),
        ("r*", r"$r^\ast$"),
        ("r − y", "$r - y$"),
    ):
        text = text.replace(plain_text, formula)
    return text


def _left(name: str) -> str:
    return name if len(name) == 1 else rf"\mathrm{{{plain(name)}}}"


def _coefficients(limit: Limit) -> Iterator[Item]:
    values = {**limit.coefficients, **limit.expectations}
    yield Table(
        ("Name", "Expectation given the class", "How it is had"),
        tuple((f"${_left(name)}$", _meaning(name, limit), _rule(limit.rules.get(name, ""))) for name in values),
    )
    yield Text(r"$\varphi$ and $\Phi$ are the standard normal density and distribution function.")
    if "clean_error" in values:
        yield Text("In error rates ties count half.")
    if any(e.has(TailMoment, ScaledTailMoment) for e in values.values()):
        yield Text(r"$M_k(h) = \int_h^\infty (z - h)^k \varphi(z)\,\mathrm{d}z$ is what lies beyond a kink.")
    for name, expression in values.items():
        yield _equation(_left(name), expression)


def _quadratures(limit: Limit) -> Iterator[Item]:
    if not limit.quadratures:
        return
    yield Text(
        "Integrals without a closed form that is accurate in the tails, "
        "computed by composite Gauss–Legendre rules on panels that end at the kinks and are graded towards the layers."
    )
    for quadrature in limit.quadratures:
        yield from integrals(quadrature)


def integrals(quadrature: Quadrature, depth: int = 0) -> Iterator[Item]:
    """What a quadrature evaluates at each node, its integrals, kinks and layers.

    The integrals of an inner quadrature are taken at each node of the outer.
    """
    variable = tex(quadrature.variable)
    if quadrature.curves:
        yield from _through_regions(quadrature)
        return
    yield Text(f"Inside of that, at each ${variable}$:" if depth else f"At each ${variable}$:")
    for item in quadrature.steps:
        if isinstance(item, Quadrature):
            yield from integrals(item, depth + 1)
        else:
            yield _equation(tex(item.symbol), item.expression)
    for integrand in quadrature.integrands:
        opening, closing = rf"\int \varphi({variable}) \bigl[", rf"\bigr]\, \mathrm{{d}}{variable}"
        first, *rest = lines(integrand.expression)
        if rest:
            rest[-1] += f" {closing}"
        else:
            first += f" {closing}"
        yield Equation(tex(integrand.symbol), (f"{opening} {first}", *rest))
    if quadrature.breakpoints:
        places = ", ".join(f"${tex(point)}$" for point in quadrature.breakpoints)
        yield Text(f"Kinks and jumps at ${variable}$ = {places}.")
    layers = tuple(dict.fromkeys(layer for integrand in quadrature.integrands for layer in integrand.layers))
    if layers:
        yield Text("Layers, where an integrand varies faster than $\\varphi$:")
        yield Items(tuple(map(_layer, layers)))
    crossings = dict.fromkeys(c for integrand in quadrature.integrands for c in integrand.crossings)
    if crossings:
        yield Text("Places that the rule finds itself, as sign changes of:")
        yield Items(tuple(map(_crossing, crossings)))
    for integrand in quadrature.integrands:
        for mass in integrand.masses:
            yield Text(
                f"${tex(integrand.symbol)}$ has a point mass $\\varphi({variable})$ times ${tex(mass.weight)}$ where "
                f"${tex(mass.crossing.argument)} = 0$."
            )
        if integrand.jump:
            yield Text(
                f"${tex(integrand.symbol)}$ has a point mass wherever the slope jumps: by what it changes from one "
                "piece to the next."
            )


def _through_regions(quadrature: Quadrature) -> Iterator[Item]:
    """Integrals over the lines in a plane that curves cut into regions."""
    across = tex(quadrature.variable)
    yield Text(
        "$f_{\\mathrm{adv}}$ and its slopes are polynomials of $(r, y)$ in regions of the plane, bounded by the curves"
    )
    for curve in quadrature.curves:
        yield _equation("0", curve)
    yield Text(
        f"On the line of each ${across}$ score and label are affine functions of a standard normal $u$. Formulas tell "
        "where it crosses the curves; between these places the polynomials are integrated by tail moments, and jumps "
        "of the slopes are point masses, weighted by how fast their places move. These means are integrated over "
        f"${across}$, standard normal, on panels that end where regions meet and where a line touches a curve:"
    )
    for integrand in quadrature.integrands:
        yield Text(f"${tex(integrand.symbol)}$")
    yield Text("What is evaluated on each line stands in the kernel's source and in the document in JSON.")


def _crossing(crossing: Crossing) -> str:
    argument = f"${tex(crossing.argument)}$"
    if crossing.kind == "kink":
        return f"{argument}, a kink"
    size = f"${tex(crossing.width)}$"
    if crossing.kind == "pole":
        return f"{argument}, where it is imaginary and of size {size} the integrand is singular"
    return f"{argument}, a step while it is within {size}"


def _layer(layer: Layer) -> str:
    where, size = f"${tex(layer.location)}$", f"${tex(layer.width)}$"
    if layer.kind == "pole":
        return f"at {where}, singularities at the distance {size} from the real line"
    return f"at {where}, a step of width {size}"


# ── Dynamics, statistics ────────────────────────────────────────────────────────────────────────────────────


def _mode_equations(limit: Limit) -> Iterator[Item]:
    equations = limit.equations
    usual = equations == mode_equations()
    yield Text(
        r"Mode $j$ has eigenvalues $\lambda_{ij}$, means $\mu_{ij}$, share of the dimension $\omega_j$, mean $x_j$ and "
        "variance $v_j$ of the iterate. From the first two moments of one step"
        + (", " if usual else " of another update rule than that of SGD, ")
        + "to leading order in $d$:"
    )
    yield _equation(r"\frac{\mathrm{d}x_j}{\mathrm{d}t}", equations.mean)
    yield _equation(r"\frac{\mathrm{d}v_j}{\mathrm{d}t}", equations.variance)


def _statistics(limit: Limit) -> Iterator[Item]:
    for name, expression in limit.statistics.items():
        own = isinstance(limit.requested.get(name), Formula)
        yield _equation(rf"\mathrm{{{plain(name)}}}", expression if own else _without_guards(expression))


# ── Known limits ────────────────────────────────────────────────────────────────────────────────────────────


def _known_limits(limit: Limit) -> Iterator[Item]:
    found = known_limits(limit)
    if not found.comparisons:
        yield Text("There is no adversary, and so no limit $\\varepsilon \\to 0$ to compare with.")
        return
    yield Text(
        r"Without its adversary the model is that of standard training. The standard model was derived from the same "
        r"loss and target on its own, and what stands above, at $\varepsilon = 0$, was compared with it as functions "
        "of the summary statistics."
    )
    yield Text(verdict(found))
    yield Table(
        ("Here", "Standard", "Compared", "Result"),
        tuple((_known_name(c.name), _known_name(c.counterpart), _compared(c), _result(c)) for c in found.comparisons),
    )
    yield Text(
        "Equal as expressions: the difference expands to 0, with products multiplied out and nothing else simplified. "
        f"Equal at points: equal to {-round(math.log10(AGREEMENT))} of 30 digits at {found.points} fixed points of all "
        "variables, which is a check and no proof. Integrands that are equal have equal integrals."
    )
    if found.named("numbers"):
        yield Text(
            "Equal at two states: integrals over several variables were computed at fixed values of the summary "
            f"statistics and the parameters, and agree to {-round(math.log10(NUMBERS_AGREEMENT))} digits."
        )


def verdict(found: KnownLimits) -> str:
    """The outcome in one sentence."""
    if found.hold:
        return "All of it agrees."
    if not found.named("unequal"):
        undecided = ", ".join(_known_name(name) for name in found.named("undecided"))
        return f"Nothing disagrees. Not decided: {undecided}."
    failed = ", ".join(_known_name(name) for name in found.named("unequal"))
    return f"DOES NOT AGREE: {failed}. The equations are not those of the model."


def _known_name(name: str) -> str:
    if name in ("f", "f_adv"):
        return "$f$" if name == "f" else r"$f_{\mathrm{adv}}$"
    return f"${_left(name)}$"


def _compared(comparison: Comparison) -> str:
    if comparison.how == "integrals":
        return "integrals"
    return "integrands" if comparison.integrands else "closed forms"


def _result(comparison: Comparison) -> str:
    return {
        "expressions": "equal as expressions",
        "points": "equal at points",
        "integrals": "equal numerically, to 12 digits",
        "numbers": f"equal at two states, relative difference below {_bound(comparison.difference)}",
        "undecided": "not decided: integrals over several variables, which the check cannot compute accurately enough",
        "unequal": f"NOT equal (relative difference {comparison.difference:.2g})",
    }[comparison.how]


def _bound(difference: float) -> str:
    """A power of ten above a difference, from 1e-10 on: what rounding makes of it is not the same on every machine."""
    return f"1e{max(-10, math.ceil(math.log10(difference or 1e-300)))}"


def texts(content: Iterable[Item]) -> Iterator[str]:
    """Every piece of TeX of a document: for checks."""
    for item in content:
        match item:
            case Equation(left, right, _):
                yield f"{left} = {' '.join(right)}"
            case Text(text):
                yield from text.split("$")[1::2]
            case Items(items):
                for text in items:
                    yield from text.split("$")[1::2]
            case Table(_, rows):
                for row in rows:
                    for text in row:
                        yield from text.split("$")[1::2]
