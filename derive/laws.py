"""The law of the score and its label given the class (``docs/theory.md`` §1–2), for each kind of target.

A loss of the residual under a linear teacher, or under labels, is a function of one Gaussian variable. A label that is
the sign of a noisy linear form of ``r*`` is integrated out given the score: ``P(y | r)`` is a normal distribution
function.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy as sp

from sgdlimit.derive.convert import Switched, switched, to_sympy
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.expectation import Expectations
from sgdlimit.derive.functions import NormalCdf, normal_density
from sgdlimit.derive.model import Labels, Model, RandomLabels, Teacher
from sgdlimit.derive.nested import PLAIN, Latent, NestedForm
from sgdlimit.derive.quadrature import TINY, Definition, LabelBranch, Layer, ScoreLaw
from sgdlimit.derive.symbols import (
    Q,
    Q_perp,
    Q_star,
    beta,
    beta1,
    dm,
    ell,
    m,
    m_star,
    mean,
    r,
    r_star,
    s,
    xi,
    y,
    z,
)


def deviation_of(variance: sp.Expr) -> sp.Expr:
    """``sqrt(max(variance, tiny))``."""
    return sp.sqrt(sp.Max(variance, TINY))


def linear_form(expression: sp.Expr) -> Latent | None:
    """The expression as a linear form of ``r*`` and ``ξ``, or None."""
    if not expression.is_polynomial(r_star, xi):
        return None
    polynomial = sp.Poly(expression, r_star, xi)
    if polynomial.total_degree() > 1:
        return None
    return Latent(polynomial.coeff_monomial(r_star), polynomial.coeff_monomial(xi), polynomial.coeff_monomial(1))


@dataclass(frozen=True)
class Score:
    """The law of the variable that the loss depends on, and how its cross coefficient ``D`` is had.

    Parameters
    ----------
    law : ScoreLaw
        Of ``r`` or ``u = r − y``.
    definitions : tuple of Definition
        What the law is made of, in the symbols of the summary.
    residual : bool
        Whether the variable is the residual ``u``.
    cross_slope : sympy.Expr
        ``dy/dr*`` for a linear teacher (0 for labels).
    latent : Linear or None
        The form whose sign is the label.
    has_classes : bool
        Whether error rates are defined.
    """

    law: ScoreLaw
    definitions: tuple[Definition, ...]
    residual: bool
    cross_slope: sp.Expr = sp.S.Zero
    latent: Latent | None = None
    has_classes: bool = False
    conditional: ScoreLaw | None = None

    def branches_of(self, function: Switched) -> tuple[Switched, ...]:
        """The function of ``(r; y)`` as a function of the law's variable, one for each value of the label."""
        if self.residual:
            u = self.law.variable
            return (function.substitute(y, sp.S.Zero).substitute(r, u),)
        return tuple(
            function if branch.label is None else function.substitute(y, branch.label) for branch in self.law.branches
        )

    def expectation(self, name: str, function: Switched, gather: Expectations) -> sp.Expr:
        """``E g`` of a function of ``(r, n; y)``."""
        return gather.expect(name, self.branches_of(function), self.law)

    def curvature(self, name: str, slope: Switched, gather: Expectations) -> sp.Expr:
        """``E ∂_r g``, a jump of ``g`` as a point mass."""
        return gather.expect_derivative(name, self.branches_of(slope), self.law)

    def cross(self, slope: Switched, B: sp.Expr, gather: Expectations) -> tuple[sp.Expr, sp.Expr]:
        """``(D, B + D)``.

        Linear teacher: ``f'(r − y)`` changes with ``r*`` by ``−dy/dr*`` of what it changes with ``r``. Sign of a latent
        form: the label jumps where the form is zero, so ``D`` is the mean jump of the slope there.
        """
        if self.latent is None:
            D = sp.expand_mul(-self.cross_slope * B)
            gather.rules["D"] = (
                "zero: the label does not depend on r*" if D == 0 else "−(dy/dr*) B: the loss depends on r − y"
            )
            return D, (1 - self.cross_slope) * B
        assert self.conditional is not None
        plus, minus = (slope.substitute(y, sp.Integer(label)) for label in (1, -1))
        # a smooth difference is one integral; kinks of either label are kinks of its own part alone
        if plus.switches or minus.switches:
            parts = [
                gather.expect(f"D_{word}", (e,), self.conditional) for word, e in (("plus", plus), ("minus", minus))
            ]
            integral, rule = parts[0] - parts[1], gather.rules.pop("D_plus")
            del gather.rules["D_minus"]
        else:
            integral = gather.expect("D", (Switched(plus.expression - minus.expression),), self.conditional)
            rule = gather.rules["D"]
        gather.rules["D"] = "point mass of the label's jump where its latent form is zero; " + rule
        a, spread = self.latent.slope, sp.Symbol("s_latent", positive=True)
        D = a * normal_density((a * m_star + self.latent.constant) / spread) / spread * integral
        return D, B + D

    def error_rate(self, name: str, positive: sp.Expr, gather: Expectations) -> sp.Expr:
        """``P(positive < 0)``, ties counted half, for an expression in ``r`` and ``y``."""
        if self.latent is None:
            # positive = sign(y) r − κ, and sign(y) r ~ N(sign(y) m, s_score²), which is 0 at a label 0
            threshold = sp.sign(y) * r - positive
            gather.rules[name] = "normal distribution function"
            return NormalCdf((threshold - sp.sign(y) * m) / sp.Symbol("s_score", positive=True))
        sides = tuple(
            switched(sp.Heaviside(-positive.subs(y, label), sp.Rational(1, 2)), r, prefix="side") for label in (1, -1)
        )
        return gather.expect(name, sides, self.law)

    def user_expectation(self, name: str, statistic: sp.Expr, gather: Expectations) -> sp.Expr:
        """``E`` of a user's expression in ``r, y, n``."""
        return self.expectation(name, switched(statistic, r, prefix="side"), gather)


def score_law(model: Model, form: str, corners: bool = False, linear: bool = False) -> Score | NestedForm:
    """The law of the variable that a loss of this form depends on, and of its label.

    Corners that an adversary meets are resolved in the score, not in a label's noise: a label that is a linear form of
    teacher and noise is one Gaussian variable with it. So it is, too, where that is asked for (``linear``).

    Raises
    ------
    DerivationError
        For a target in which noise stands both inside and outside a function.
    """
    target = model.target
    score_deviation = Definition(sp.Symbol("s_score", positive=True), deviation_of(Q * sp.sign(y) ** 2))
    if isinstance(target, Labels):
        if form == "residual":
            u = sp.Symbol("u", real=True)
            definitions = (Definition(mean, m - y), Definition(s, deviation_of(Q)), score_deviation)
            return Score(ScoreLaw(u, mean, s), definitions, residual=True, has_classes=True)
        definitions = (Definition(mean, m), Definition(s, deviation_of(Q)), score_deviation)
        return Score(ScoreLaw(r, mean, s), definitions, residual=False, has_classes=True)
    latent = _latent(target)
    if latent is not None:
        return _sign_labels(latent)
    if isinstance(target, Teacher) and form == "residual":
        whole = linear_form(to_sympy(target.text, "teacher"))
        if whole is not None:
            return _residual(whole)
    if (corners or linear) and form != "residual" and isinstance(target, Teacher):
        with_noise = linear_form(to_sympy(target.text, "teacher"))
        if with_noise is not None and (corners or with_noise.noise != 0):
            return NestedForm(with_noise, Switched(ell), None, sp.S.Zero, residual=False)
    law = nested_form(target, residual=form == "residual")
    if corners and law.has_noise:
        raise DerivationError(
            "teacher",
            f"{target.text} adds noise to a nonlinear function, and the corners of the adversarial loss meet in the "
            "label: their mean over that noise has no formula",
            "use a linear teacher, noise inside the function or none, or a loss of r - y",
        )
    return law


def law_of_score(model: Model, score: Score | NestedForm) -> Score | NestedForm:
    """The law of the score and its label, for a statistic that is not a function of ``r − y`` as the loss is.

    It is a second law in one limit: what both define has one definition, and the rest has names of its own.
    """
    if isinstance(model.target, Labels):
        deviation = sp.Symbol("s_score", positive=True)
        return Score(ScoreLaw(r, m, deviation), (Definition(deviation, deviation_of(Q)),), residual=False)
    form = nested_form(model.target, residual=False)
    own = sp.Symbol("s_given_score", positive=True)
    return replace(form, deviation=own, joint=score.joint if isinstance(score, NestedForm) else form.joint)


def nested_form(target: Teacher | RandomLabels, residual: bool) -> NestedForm:
    """The law of the score and a target that is a function of a second linear form.

    Raises
    ------
    DerivationError
        For a target in which noise stands both inside and outside a function.

    Examples
    --------
    >>> form = nested_form(Teacher("tanh(2*r_star + xi) + 3"), residual=False)
    >>> form.latent.slope, form.latent.noise, form.target.expression
    (2, 1, tanh(ell) + 3)
    """
    expression = to_sympy(target.text, "target")
    if isinstance(target, RandomLabels):
        return NestedForm(PLAIN, None, switched(expression.subs(r_star, ell), ell, prefix="side"), sp.S.Zero, False)
    constant, rest = expression.as_independent(xi, as_Add=True)
    added = linear_form(rest)
    if added is not None:
        function = constant.subs(r_star, ell)
        return NestedForm(PLAIN, switched(function, ell, prefix="side"), None, added.noise, residual)
    forms = _forms_with_noise(expression)
    if len(forms) == 1:
        (form,) = forms
        linear = linear_form(form)
        assert linear is not None
        function = expression.subs(form, ell)
        if not function.has(r_star, xi):
            return NestedForm(linear, switched(function, ell, prefix="side"), None, sp.S.Zero, residual)
    raise DerivationError(
        "teacher",
        f"{target.text} is neither a function of one linear form of r_star and xi nor a function of r_star with "
        "noise added",
        "write phi(a*r_star + c*xi + b) or phi(r_star) + c*xi",
    )


def _forms_with_noise(expression: sp.Expr) -> list[sp.Expr]:
    """The largest linear forms of ``r*`` and ``ξ`` in an expression that contain ``ξ``."""
    found: dict[sp.Expr, None] = {}

    def walk(e: sp.Expr) -> None:
        if not e.has(xi):
            return
        if linear_form(e) is not None:
            found[e] = None
            return
        for argument in e.args:
            walk(argument)

    walk(expression)
    return list(found)


def _residual(teacher: Latent) -> Score:
    u = sp.Symbol("u", real=True)
    if teacher.slope == 1:
        centre, shrink = dm, beta1
    else:
        centre, shrink = m - teacher.slope * m_star, beta - teacher.slope
    definitions = (
        Definition(mean, centre - teacher.constant),
        Definition(s, deviation_of(Q_perp + shrink**2 * Q_star + teacher.noise**2)),
    )
    return Score(ScoreLaw(u, mean, s), definitions, residual=True, cross_slope=teacher.slope)


def _latent(target: Teacher | RandomLabels) -> Latent | None:
    """The linear form whose sign is the label: of a sign teacher, or of probit labels (whose noise is ``ξ``)."""
    expression = to_sympy(target.text, "target")
    if isinstance(target, Teacher):
        return linear_form(expression.args[0]) if isinstance(expression, sp.sign) else None
    return linear_form(expression.args[0] + xi) if isinstance(expression, NormalCdf) else None


def _sign_labels(latent: Latent) -> Score:
    """``y = sign(L)``, ``L = a r* + c ξ + b``: given ``r``, ``L`` is Gaussian with mean ``a(m* + √Q* ρ z) + b``."""
    a, c, b = latent.slope, latent.noise, latent.constant
    rho, rho_perp = sp.Symbol("rho", real=True), sp.Symbol("rho_perp", nonnegative=True)
    latent_mean, latent_slope = sp.Symbol("latent_mean", real=True), sp.Symbol("latent_slope", real=True)
    latent_spread, s_latent = sp.Symbol("latent_spread", positive=True), sp.Symbol("s_latent", positive=True)
    s_given, mean_given = sp.Symbol("s_given", positive=True), sp.Symbol("mean_given", real=True)
    root_Q_star = sp.sqrt(Q_star)
    regression = a * Q_star / s_latent**2  # of r* on L
    definitions = (
        Definition(mean, m),
        Definition(s, deviation_of(Q_perp + beta**2 * Q_star)),
        Definition(rho, beta * root_Q_star / s),
        # without a score (X = 0) the latent form keeps its whole variance
        Definition(rho_perp, sp.Piecewise((sp.sqrt(Q_perp) / s, Q_perp + beta**2 * Q_star > TINY), (1, True))),
        Definition(latent_mean, a * m_star + b),
        Definition(latent_slope, a * root_Q_star * rho),
        Definition(latent_spread, deviation_of(a**2 * Q_star * rho_perp**2 + c**2)),
        Definition(s_latent, deviation_of(a**2 * Q_star + c**2)),
        # r given L = 0, for the point mass in D
        Definition(mean_given, m - beta * regression * latent_mean),
        Definition(s_given, deviation_of(Q_perp + beta**2 * Q_star * c**2 / s_latent**2)),
    )
    argument = (latent_mean + latent_slope * z) / latent_spread
    plus, minus = sp.Symbol("P_plus", nonnegative=True), sp.Symbol("P_minus", nonnegative=True)
    step = Layer(-latent_mean / latent_slope, latent_spread / sp.Abs(latent_slope), "erf")
    law = ScoreLaw(
        r,
        mean,
        s,
        branches=(LabelBranch(plus, sp.S.One), LabelBranch(minus, sp.S.NegativeOne)),
        weights=(Definition(plus, NormalCdf(argument)), Definition(minus, NormalCdf(-argument))),
        layers=(step,),
    )
    return Score(
        law,
        definitions,
        residual=False,
        latent=latent,
        has_classes=True,
        conditional=ScoreLaw(r, mean_given, s_given),
    )
