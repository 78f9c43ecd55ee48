"""The high-dimensional limit of a model: ``derive(model) -> Limit``.

The stages, one function each: read the loss; locate the adversary; find the law of the score and its label; take the
expectations; take the moments of the update. Each leaves its result in the :class:`Limit`, where it can be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import sympy as sp

from sgdlimit.derive import symbols
from sgdlimit.derive.adversarial_loss import AdversarialLoss
from sgdlimit.derive.adversary import adversarial, check_continuity, standard
from sgdlimit.derive.convert import Switched, reduce_squares, to_sympy
from sgdlimit.derive.descent import Descent, distance_descent, risk_descent, statistic_descent
from sgdlimit.derive.domain import check_domains
from sgdlimit.derive.dynamics import ModeEquations, mode_equations
from sgdlimit.derive.errors import DerivationError, ModelError
from sgdlimit.derive.expectation import Expectations
from sgdlimit.derive.functions import Branch, Side
from sgdlimit.derive.growth import check_growths
from sgdlimit.derive.laws import Score, law_of_score, score_law
from sgdlimit.derive.model import RESERVED, Expectation, Formula, Labels, Loss, Model, RandomLabels, Target, Teacher
from sgdlimit.derive.nested import NestedForm
from sgdlimit.derive.quadrature import Definition, Quadrature
from sgdlimit.derive.size import check_size
from sgdlimit.derive.summary import INVERSE_NORM, NORM2, SUMMARY, TEACHER_NORM2, over_classes, over_modes
from sgdlimit.derive.symbols import (
    COEFFICIENTS,
    B,
    F,
    K,
    epsilon,
    i,
    n,
    p,
    r,
    tau,
    v,
    x,
    x_star,
    y,
)

STATISTICS = (
    "adversarial_risk",
    "clean_risk",
    "clean_error",
    "robust_error",
    "norm2",
    "overlap",
    "cosine",
    "distance2",
    "optimum_distance2",
    "learning_rate",
    "effective_ridge",
)
"""Names of the standard statistics."""


def own_name(name: str) -> str:
    """An expectation's name in equations and kernels: the user's get a prefix, for ``p`` is a probability there.

    Examples
    --------
    >>> own_name("clean_risk"), own_name("p")
    ('clean_risk', 'own_p')
    """
    return name if name in STATISTICS else f"own_{name}"


@dataclass(frozen=True)
class Gradient:
    """``∂_r f_adv`` and ``∂_n f_adv`` at one sample: all that the simulator knows of the loss."""

    definitions: tuple[Definition, ...]
    d_r: sp.Expr
    d_n: sp.Expr


@dataclass(frozen=True)
class Limit:
    """The equations of a model.

    Parameters
    ----------
    model : Model
        What was derived.
    adversarial_loss : AdversarialLoss
        The supremum, its derivatives and the argument that located it.
    summary, definitions : tuple of Definition
        What the coefficients are functions of: sums over modes, then the law of the score given the class.
    quadratures : tuple of Quadrature
        The integrals without a closed form; their names stand in the coefficients.
    coefficients : mapping of str to sympy.Expr
        ``R A B D F I`` of one class (``docs/theory.md`` §2).
    sum_BD : sympy.Expr
        ``B + D``, formed symbolically.
    expectations : mapping of str to sympy.Expr
        Further expectations of one class (clean risk, error rates, the user's own).
    statistics : mapping of str to sympy.Expr
        What a trajectory reports, in the order in which it does.
    equations : ModeEquations
        Drift and noise of every mode (§3).
    gradient : Gradient
        For the streaming SGD that verifies all this.
    label : sympy.Expr
        ``y`` of a sample in ``r_star``, ``xi``, a ``uniform`` variable and the class's own ``y``.
    rules : mapping of str to str
        Which rule gave which expectation.
    parameters : tuple of str
        What needs a value: those of the model, then those of the user's statistics alone.
    requested : mapping of str to Expectation or Formula
        The user's statistics as they were asked for.
    descents : mapping of str to Descent
        What greedy learning rates follow (§4): ``line_search``, ``polyak``, and ``greedy`` where one was asked for.
    slopes : mapping of str to Limit
        For the expectations in a greedy statistic: the equations of standard training on each, whose coefficients are
        its slopes.
    assumptions : tuple of sympy.Rel
        What must hold of the parameters: of the adversary's argument, and for every expression to be real and to
        have an expectation. Checked when they get numbers.
    """

    model: Model
    adversarial_loss: AdversarialLoss
    summary: tuple[Definition, ...]
    definitions: tuple[Definition, ...]
    quadratures: tuple[Quadrature, ...]
    coefficients: Mapping[str, sp.Expr]
    sum_BD: sp.Expr
    expectations: Mapping[str, sp.Expr]
    statistics: Mapping[str, sp.Expr]
    equations: ModeEquations
    gradient: Gradient
    label: sp.Expr
    rules: Mapping[str, str] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    requested: Mapping[str, Expectation | Formula] = field(default_factory=dict)
    assumptions: tuple[sp.Rel, ...] = ()
    descents: Mapping[str, Descent] = field(default_factory=dict)
    slopes: Mapping[str, Limit] = field(default_factory=dict)

    def scale(self, coefficient: str, factor: float) -> Limit:
        """The same limit with one coefficient multiplied by a number: for sensitivity, and to see a verification fail.

        Examples
        --------
        >>> from sgdlimit.derive import Loss, Model, Teacher, derive
        >>> limit = derive(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi")))
        >>> limit.coefficients["B"], limit.scale("B", 1.5).coefficients["B"]
        (1, 3/2)
        """
        if coefficient not in COEFFICIENTS:
            raise ModelError(
                "coefficient", f"there is none called {coefficient}", f"they are {', '.join(COEFFICIENTS)}"
            )
        exact = sp.nsimplify(factor)
        changed = {**self.coefficients, coefficient: exact * self.coefficients[coefficient]}
        shift = (exact - 1) * self.coefficients[coefficient] if coefficient in ("B", "D") else sp.S.Zero
        return replace(self, coefficients=changed, sum_BD=self.sum_BD + shift)

    def latex(self) -> str:
        """The document in LaTeX; compiles on its own."""
        from sgdlimit.derive.writers import latex

        return latex(self)

    def markdown(self) -> str:
        """The document in Markdown with LaTeX equations."""
        from sgdlimit.derive.writers import markdown

        return markdown(self)

    def html(self) -> str:
        """The document as one HTML page with MathML; needs no network and no scripts."""
        from sgdlimit.derive.page import html

        return html(self)

    def json(self) -> str:
        """Model and results for programs; ``sgdlimit.derive.interchange`` reads it."""
        from sgdlimit.derive.interchange import json_text

        return json_text(self)

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def __repr__(self) -> str:
        closed = [name for name, e in self.coefficients.items() if not _integrals(e)]
        names = " ".join(self.statistics)
        return f"Limit({self.model!r}, closed forms: {' '.join(closed) or 'none'}, statistics: {names})"


def _integrals(expression: sp.Expr) -> list[sp.Symbol]:
    return sorted((e for e in expression.free_symbols if str(e).startswith("J_")), key=str)


def derive(
    model: Model,
    statistics: Mapping[str, Expectation | Formula] | None = None,
    *,
    update: sp.Expr | None = None,
    greedy: str | None = None,
) -> Limit:
    """Derive the high-dimensional equations of a model.

    Parameters
    ----------
    model : Model
        Loss, target and adversary.
    statistics : mapping of str to Expectation or Formula, optional
        The user's own statistics, beside the standard ones.
    update : sympy.Expr, optional
        Another update rule in the symbols of ``sgdlimit.derive.dynamics.update``, for research on variants.
    greedy : str, optional
        A statistic that a learning rate shall make fall fastest (``docs/theory.md`` §4).

    Returns
    -------
    Limit

    Raises
    ------
    DerivationError
        For a model beyond the rules of the engine; says which part and what would do.

    Examples
    --------
    >>> from sgdlimit.derive import L2Adversary, Loss, Model, Teacher
    >>> limit = derive(Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary()))
    >>> limit.coefficients["F"]
    epsilon**2*n + epsilon*mean*erf(sqrt(2)*mean/(2*s)) + sqrt(2)*epsilon*s*exp(-mean**2/(2*s**2))/sqrt(pi)
    """
    try:
        return _derive(model, statistics, update, greedy)
    except (ValueError, NotImplementedError, RecursionError, sp.PolynomialError) as error:
        # of SymPy, in the middle of something that no rule here foresaw
        raise DerivationError(
            "model",
            f"the algebra of {model.loss.text} failed ({type(error).__name__})",
            "write the loss in another way",
        ) from error


def _derive(
    model: Model, statistics: Mapping[str, Expectation | Formula] | None, update: sp.Expr | None, greedy: str | None
) -> Limit:
    check_names(statistics or {})
    needed = check_expressions(model, statistics or {})
    loss = to_sympy(model.loss.text, "loss")
    positive = check_continuity(loss)
    loss = loss.xreplace({q: symbols.Parameter(q.name, positive=True) for q in positive})
    needed = (*(sp.StrictGreaterThan(q, 0) for q in positive), *needed)
    attacked = standard(loss) if model.adversary is None else adversarial(loss)
    several = attacked.case == "interior maxima"
    score = score_law(model, attacked.form, attacked.function.corners, linear=several)
    check_places(attacked.function, score, model.target)
    gather = Expectations()

    slope, slope_n = attacked.derivative_r, attacked.derivative_n
    coefficients = {
        "R": score.expectation("R", attacked.function, gather),
        "A": score.expectation("A", slope, gather),
        "B": score.curvature("B", slope, gather),
        "F": score.expectation("F", slope_n, gather),
        "I": score.expectation("I", squared(slope), gather),
    }
    coefficients["D"], sum_BD = score.cross(slope, coefficients["B"], gather)
    coefficients = {name: coefficients[name] for name in COEFFICIENTS}

    expectations = {"clean_risk": score.expectation("clean_risk", standard(loss).function, gather)}
    if score.has_classes:
        margin = sp.sign(y) * r
        errors = (
            {"clean_error": margin}
            if model.adversary is None
            else {"clean_error": margin, "robust_error": margin - epsilon * n}
        )
        for name, positive in errors.items():
            expectations[name] = score.error_rate(name, positive, gather)
    formulas = {}
    laws = [score]
    for name, statistic in (statistics or {}).items():
        if isinstance(statistic, Formula):
            formulas[name] = to_sympy(statistic.text, f"statistic {name}")
        else:
            expectation = to_sympy(statistic.text, f"statistic {name}")
            if score.residual and depends_on_score(expectation):
                laws = [score, laws[-1] if len(laws) == 2 else law_of_score(model, score)]
                expectations[name] = laws[-1].user_expectation(name, expectation, gather)
            else:
                expectations[name] = score.user_expectation(name, expectation, gather)

    equations, reported = mode_equations(update), _statistics(model, expectations, formulas)
    # another rule may descend on something else than the risk: then there is no line search
    descents = {"polyak": distance_descent()} | ({"line_search": risk_descent(equations)} if update is None else {})
    if greedy is not None:
        descents["greedy"] = statistic_descent(greedy, reported, [own_name(name) for name in expectations], equations)
    averages = descents["greedy"].averages if greedy is not None else ()

    return Limit(
        model=model,
        adversarial_loss=attacked,
        summary=SUMMARY,
        definitions=(*dict.fromkeys(d for law in laws for d in law.definitions), *gather.kinks.definitions),
        quadratures=gather.quadratures(),
        coefficients=coefficients,
        sum_BD=sum_BD,
        expectations=expectations,
        statistics=reported,
        equations=equations,
        gradient=_gradient(attacked),
        label=_label(model),
        rules=gather.rules,
        parameters=parameters_of(model, statistics),
        requested=dict(statistics or {}),
        assumptions=_not_implied((*attacked.assumptions, *needed)),
        descents=descents,
        slopes={own: _slopes(model, own, statistics or {}) for own, _ in averages},
    )


def _slopes(model: Model, own: str, statistics: Mapping[str, Expectation | Formula]) -> Limit:
    """The equations of standard training on an expectation: their coefficients are how it changes with the iterate."""
    requested = {own_name(name): statistic.text for name, statistic in statistics.items()}
    text = model.loss.text if own == "clean_risk" else requested.get(own)
    if text is None:
        why = f"{own} is the mean of an indicator, whose slopes are not derived"
        raise DerivationError("step size", why, "choose a risk, a norm, an overlap or a distance")
    try:
        return derive(Model(Loss(text), model.target))
    except ModelError:
        why = f"{text} is not a function of r and y alone"
        raise DerivationError("step size", why, "choose an expectation in r, y and parameters of the model") from None


MOST_KINKS_AND_LABELS = 7
"""Kinks of an adversarial loss with corners, each end's and those between them, under a label of another score."""


def check_places(function: Switched, score: Score | NestedForm, target: Target) -> None:
    """Refuse what cannot be integrated over a label that varies: too many kinks, and maxima that come and go.

    Raises
    ------
    DerivationError
        For a loss with corners that has more kinks under its adversary than can be told apart under every label; for
        places that are roots of what may be negative, in a label that is a function of a teacher: where it is zero
        they move infinitely fast, and no rule over the label knows of it.
    """
    varies = isinstance(score, NestedForm) or (score.has_classes and not isinstance(target, Labels))
    if not (function.corners and varies):
        return
    roots_move = isinstance(score, NestedForm) and score.target is not None and not score.residual
    for switch in function.switches if roots_move else ():
        if any(e.exp == sp.S.Half and e.has(y) for e in switch.argument.atoms(sp.Pow)):
            raise DerivationError(
                "adversary",
                "local maxima of the loss are at roots of an expression in y, which vanish where it is negative: not "
                "derived for a label that varies",
                "use labels, random labels or the sign of a teacher, or a loss of r - y",
            )
    if len(function.switches) > MOST_KINKS_AND_LABELS:
        raise DerivationError(
            "adversary",
            f"under it the loss has {len(function.switches)} kinks, and the most is {MOST_KINKS_AND_LABELS} where the "
            "label varies with a second score: each pair of them can meet",
            "use a loss with fewer corners, labels, or train without an adversary",
        )


def depends_on_score(statistic: sp.Expr) -> bool:
    """Whether a statistic is more than a function of ``r − y``.

    Examples
    --------
    >>> depends_on_score((r - y) ** 2), depends_on_score(y * r)
    (False, True)
    """
    return bool(statistic.subs(r, sp.Symbol("u", real=True) + y).has(y))


def _not_implied(assumptions: Iterable[sp.Rel]) -> tuple[sp.Rel, ...]:
    """Each once, and none that holds where parameters that are assumed positive are."""
    plain = {q: symbols.parameter(q.name) for a in assumptions for q in a.free_symbols}
    found = tuple(dict.fromkeys(a.xreplace(plain) for a in assumptions))
    signs = {a.lhs: symbols.Parameter(a.lhs.name, positive=True) for a in found if a.lhs.is_Symbol}
    return tuple(a for a in found if a.lhs.is_Symbol or a.xreplace(signs) != sp.true)


def check_expressions(model: Model, statistics: Mapping[str, Expectation | Formula]) -> tuple[sp.Rel, ...]:
    """Every expression is small enough, real everywhere, and has an expectation.

    Returns
    -------
    tuple of sympy.Rel
        What must hold of the parameters.

    Raises
    ------
    DerivationError, ModelError
        Says of which, and where.
    """
    averaged = {name: s.text for name, s in statistics.items() if isinstance(s, Expectation)}
    for name, s in statistics.items():
        check_size(s.text, f"statistic {name}")
    check_size(model.loss.text, "loss")
    if not isinstance(model.target, Labels):
        check_size(model.target.text, "teacher" if isinstance(model.target, Teacher) else "random labels")
    return (*check_domains(model, averaged), *check_growths(model, averaged))


def check_names(statistics: Mapping[str, Expectation | Formula]) -> None:
    """Names of the user's statistics are plain and new.

    Raises
    ------
    ModelError
        For a name that is taken, or no name.
    """
    taken = {*COEFFICIENTS, "BD", "D_plus", "D_minus", *STATISTICS}
    for name in statistics:
        if name in RESERVED:
            raise ModelError("statistics", f"{name!r} is a reserved symbol", "choose another name")
        if not name.isidentifier() or not name.isascii():
            raise ModelError("statistics", f"{name!r} is not a name", "use letters, digits and underscores")
        if name in taken:
            raise ModelError("statistics", f"{name!r} is one of sgdlimit's own", "choose another name")


def parameters_of(model: Model, statistics: Mapping[str, Expectation | Formula] | None = None) -> tuple[str, ...]:
    """Names that need a value: those of the model, then those of the user's statistics alone."""
    named = {"adversarial_risk", *(statistics or {})}
    own = {name for s in (statistics or {}).values() for name in s.parameters if isinstance(s, Expectation)}
    return (*model.parameters, *sorted(own - set(model.parameters) - named))


def squared(function: Switched) -> Switched:
    """Its square, branch by branch."""
    e = function.expression
    if isinstance(e, Branch):
        switch, plus, minus = e.args
        e = Branch(switch, plus**2, minus**2)
    else:
        e = e**2
    return replace(function, expression=reduce_squares(e, function.switches))


def _gradient(attacked: AdversarialLoss) -> Gradient:
    slope_r, slope_n = attacked.derivative_r.expression, attacked.derivative_n.expression
    used = slope_r.free_symbols | slope_n.free_symbols
    for switch in reversed(attacked.function.switches):
        if switch.symbol in used:
            used |= switch.argument.free_symbols
    definitions = tuple(Definition(w.symbol, Side(w.argument)) for w in attacked.function.switches if w.symbol in used)
    return Gradient(definitions, slope_r, slope_n)


def _label(model: Model) -> sp.Expr:
    target = model.target
    if isinstance(target, Labels):
        return y
    if isinstance(target, Teacher):
        return to_sympy(target.text, "teacher")
    assert isinstance(target, RandomLabels)
    uniform = sp.Symbol("uniform", real=True)
    return sp.Piecewise((1, uniform < to_sympy(target.text, "random labels")), (-1, True))


def _statistics(
    model: Model, expectations: Mapping[str, sp.Expr], formulas: Mapping[str, sp.Expr]
) -> dict[str, sp.Expr]:
    """Every statistic by name, over modes and classes; teacher statistics are dropped later where there is no
    teacher."""
    overlap, mean_B = over_modes(x * x_star), sp.Sum(p * B, (i, 1, K))
    ridge = sp.Sum(p * F, (i, 1, K)) * INVERSE_NORM + tau
    named = {"adversarial_risk": over_classes("R")}
    named |= {name: over_classes(own_name(name)) for name in expectations}
    named |= {
        "norm2": NORM2,
        "overlap": overlap,
        "cosine": sp.Piecewise((overlap / sp.sqrt(NORM2 * TEACHER_NORM2), NORM2 * TEACHER_NORM2 > 0), (0, True)),
        "distance2": over_modes((x - x_star) ** 2 + v),
        "optimum_distance2": over_modes(symbols.e_optimum**2 + v),
        "learning_rate": symbols.gamma,
        "effective_ridge": sp.Piecewise((ridge / mean_B, n * mean_B > 0), (sp.nan, True)),
    }
    for name, formula in formulas.items():
        twice = sorted(str(e) for e in formula.free_symbols if str(e) in named and str(e) in model.parameters)
        if twice:
            raise ModelError(
                f"statistic {name}", f"{twice[0]} is both a statistic and a parameter", "call the parameter otherwise"
            )
        unknown = sorted(str(e) for e in formula.free_symbols if str(e) not in named and str(e) not in model.parameters)
        if unknown:
            raise ModelError(
                f"statistic {name}",
                f"it uses {', '.join(unknown)}, which is neither a statistic nor a parameter",
                f"the statistics are {', '.join(named)}",
            )
        named[name] = formula.xreplace({symbols.parameter(k): e for k, e in named.items()})
    return named
