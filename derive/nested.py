"""Expectations over a score and a target that is a function of a second linear form (``docs/theory.md`` §2).

The target hangs on the latent form ``ell = a r* + c ξ + b`` (``r*`` itself for most teachers): ``y = φ(ell)``, possibly
with noise of its own added, or a random label ``P(y = +1) = h(ell)``. Given ``ell`` the score is Gaussian, so an
expectation is an integral over ``ell`` of an expectation over the score, which is a closed form where one exists and a
quadrature else. Added noise is integrated out first: it widens the residual of a loss of ``r − y``; elsewhere the loss
must be piecewise polynomial in ``y``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

import sympy as sp

from sgdlimit.derive.closed_forms import Kinks, closed_form, moment
from sgdlimit.derive.convert import Switch, Switched, split, switched
from sgdlimit.derive.errors import DerivationError
from sgdlimit.derive.expectation import MASSES, QUADRATURE, ZERO, Entry, Expectations, Group
from sgdlimit.derive.features import Feature, corner_features, encounters, exponents, factors, features, meetings
from sgdlimit.derive.functions import Branch, NormalCdf, Side, Sigmoid, normal_density
from sgdlimit.derive.joint import JointForms, JointLaw
from sgdlimit.derive.kinks import difference, every_root, jumps, roots, used_switches
from sgdlimit.derive.quadrature import TINY, Definition, LabelBranch, ScoreLaw
from sgdlimit.derive.regions import RULE, Axis, NotPlanar, Regions, reach
from sgdlimit.derive.symbols import (
    Q,
    Q_perp,
    Q_star,
    beta,
    beta1,
    dm,
    dy_given,
    ell,
    gap_across,
    gap_along,
    label_across,
    label_along,
    m,
    m_star,
    mean_ell,
    mean_given,
    r,
    s_ell,
    s_given,
    s_noise,
    score_across,
    score_along,
    slope_given,
    turn,
    y,
    y_given,
    z_across,
    z_star,
)
from sgdlimit.derive.wording import written

# Where two kinks of the score meet, the integral over it is an algebraic function of the latent form: panels shrink
# towards that place down to this share of its spread.
_ALGEBRAIC = sp.Float("1e-7")

_MOST_SWITCHES = 3  # of a joint closed form: its tails are pairs of kinks, for every pattern

_UNSEEN = 9  # deviations away from which a pole tells nothing of itself in a double

_FOOT = 4  # widths from the middle of a step to its foot
_NOISE_FOOT = 4  # deviations of the label

_FASTEST_KINK = 1000  # of a kink's place over the latent form: beyond it the blur would be seen

# An iterate parallel to the teacher has a score without spread given the latent form: its kinks would be point masses
# on the latent form, which no node meets. Blurred by this share of the latent form's spread they can be integrated over
# it. The blur's own effect is of second order, 4e-12; rounding of a kink's place, divided by it, is 5e-11.
BLUR = sp.Float("2e-6")


# Cosine and sine of 0.7: the angle of the lines on which regions are integrated. No curve with simple coefficients is
# parallel to them where moments are simple numbers.
_TURN = sp.Float("0.764842187284489"), sp.Float("0.644217687237691")


@dataclass(frozen=True)
class Latent:
    """``ell = slope·r* + noise·ξ + constant``."""

    slope: sp.Expr
    noise: sp.Expr
    constant: sp.Expr


PLAIN = Latent(sp.S.One, sp.S.Zero, sp.S.Zero)
"""The teacher's score itself."""


@dataclass(frozen=True, eq=False)
class NestedForm:
    """The law of score and target, and the expectations under it.

    Parameters
    ----------
    latent : Latent
    target : Switched or None
        ``φ(ell)``; None for random labels.
    chance : Switched or None
        ``h(ell)`` of random labels.
    noise : sympy.Expr
        Standard deviation of the noise added to ``φ(ell)``.
    residual : bool
        Whether the loss depends on ``u = r − y`` alone.
    deviation : sympy.Symbol
        Of the variable given the latent form; a second form in one limit has another name for its own.
    joint : JointForms
        Closed forms over score and latent form at once.
    inner : Expectations
        Over the score given the latent form.
    """

    latent: Latent
    target: Switched | None
    chance: Switched | None
    noise: sp.Expr
    residual: bool
    deviation: sp.Symbol = s_given
    joint: JointForms = field(default_factory=JointForms)
    inner: Expectations = field(default_factory=lambda: Expectations("G_", Kinks("inner_")))
    noise_kinks: Kinks = field(default_factory=lambda: Kinks("noise_"))
    _curvatures: dict[str, sp.Expr] = field(default_factory=dict)

    # -- laws

    @property
    def has_classes(self) -> bool:
        """Whether error rates are defined: labels are ±1."""
        return self.chance is not None

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Of one class, before any integral."""
        a, c, b = self.latent.slope, self.latent.noise, self.latent.constant
        noisy = a**2 * Q_star + c**2
        spread = Q_perp + (beta * c) ** 2 * Q_star / s_ell**2
        spread += self.noise**2 if self.residual else 0
        return (
            Definition(mean_ell, a * m_star + b),
            Definition(s_ell, sp.sqrt(sp.Max(noisy, TINY))),
            Definition(slope_given, beta * a * Q_star / s_ell**2),
            Definition(self.deviation, sp.sqrt(sp.Max(spread, TINY))),
            Definition(s_noise, sp.sqrt(sp.Max(self.noise**2, BLUR**2))),
            Definition(sp.Symbol("s_score", positive=True), sp.sqrt(sp.Max(Q, TINY))),
            *(self._axes if self._has_plane else ()),
            *self.joint.definitions,
        )

    @property
    def marginal(self) -> ScoreLaw:
        """Of the score alone."""
        return ScoreLaw(r, m, sp.Symbol("s_score", positive=True))

    @property
    def outer(self) -> ScoreLaw:
        """Of the latent form."""
        return ScoreLaw(ell, mean_ell, s_ell, standard=z_star)

    @property
    def variable(self) -> sp.Symbol:
        """What the loss depends on: the score or the residual."""
        return sp.Symbol("u", real=True) if self.residual else r

    def given(self, branches: tuple[LabelBranch, ...] | None = None, mean: sp.Expr = mean_given) -> ScoreLaw:
        """Of the score (or residual) given the latent form."""
        return ScoreLaw(self.variable, mean, self.deviation, branches or self.branches)

    @property
    def branches(self) -> tuple[LabelBranch, ...]:
        """Values of the label given the latent form."""
        if self.chance is None:
            return (LabelBranch(sp.S.One, None),)
        plus, minus = sp.Symbol("P_plus", nonnegative=True), sp.Symbol("P_minus", nonnegative=True)
        return (LabelBranch(plus, sp.S.One), LabelBranch(minus, sp.S.NegativeOne))

    @property
    def noise_law(self) -> ScoreLaw:
        """Of the label given the latent form, where noise is added to it."""
        return ScoreLaw(y, y_given, s_noise, standard=sp.Symbol("z_noise", real=True))

    @property
    def has_noise(self) -> bool:
        """Whether the label has noise that the residual does not absorb."""
        return not self.residual and self.noise != 0

    # -- what the engine asks

    def expectation(self, name: str, function: Switched, gather: Expectations) -> sp.Expr:
        """``E g`` of a function of ``(r, n; y)``."""
        function = self._with_label_switches(function)
        if not _depends(function, y):
            return gather.expect(name, (function,), self.marginal)
        closed = self._closed(name, function, gather) or self._planar(name, function, gather)
        if closed is not None:
            return closed
        functions = self._functions(function)
        value = self._inner_value(name, functions)
        return self._integral(name, value, functions, gather)

    def curvature(self, name: str, slope: Switched, gather: Expectations) -> sp.Expr:
        """``E ∂_r g``, a jump of ``g`` as a point mass."""
        slope = self._with_label_switches(slope)
        if not _depends(slope, y):
            return gather.expect_derivative(name, (slope,), self.marginal)
        closed = self._closed(name, slope, gather, by=r) or self._planar(name, slope, gather, by=(sp.S.One, sp.S.Zero))
        if closed is not None:
            return closed
        functions = self._functions(slope)
        value = self._curvatures[name] = self._inner_derivative(name, functions, self.variable)
        return self._integral(name, value, functions, gather)

    def cross(self, slope: Switched, B: sp.Expr, gather: Expectations) -> tuple[sp.Expr, sp.Expr]:
        """``(D, B + D)``: what the slope changes by with ``r*``, through the target, its jumps included."""
        slope = self._with_label_switches(slope)
        if not _depends(slope, y):
            gather.rules["D"] = "zero: the slope does not depend on the label"
            return sp.S.Zero, B
        a = self.latent.slope
        closed = self._closed("D", slope, gather, by=ell)
        if closed is not None:
            return a * closed, B + a * closed
        rate = self._label_rate
        planar = self._planar("D", slope, gather, by=(sp.S.Zero, rate))
        if planar is not None:
            # as one integral: near the teacher the two cancel
            both = self._planar("BD", slope, gather, by=(sp.S.One, rate))
            assert both is not None
            del gather.rules["BD"]
            return planar, both
        functions = self._functions(slope)
        if self.chance is not None:
            rate = sp.Symbol("dP", real=True)
            law = self.given((LabelBranch(rate, sp.S.One), LabelBranch(-rate, sp.S.NegativeOne)))
            value = a * self._inner_value("D", functions, law)
        elif self.residual:
            if "B" not in self._curvatures:  # B is a constant
                self._curvatures["B"] = B
            value = -a * dy_given * self._curvatures["B"]
        elif self.target is not None and self.target.derive(ell).expression == 0:
            value = sp.S.Zero
        else:
            if not self.has_noise:
                _check_jumps_at_labels(slope)
            value = a * dy_given * self._inner_derivative("D", functions, y_given)
        D = self._integral("D", value, functions, gather)
        masses = a * self._label_jumps(slope, gather)
        if self.residual:
            # as one integral: near the teacher the two cancel
            both = self._integral("BD", (1 - a * dy_given) * self._curvatures["B"], functions, gather)
            del gather.rules["BD"]
            return D + masses, both + masses
        return D + masses, B + D + masses

    def error_rate(self, name: str, positive: sp.Expr, gather: Expectations) -> sp.Expr:
        """``P(positive < 0)``, ties counted half, for an expression in ``r`` and ``y``."""
        wrong = sp.Heaviside(-positive, sp.Rational(1, 2))
        functions = tuple(switched(wrong.subs(y, label), r, prefix="side") for label in (1, -1))
        return self._integral(name, self._inner_value(name, functions), functions, gather)

    def user_expectation(self, name: str, statistic: sp.Expr, gather: Expectations) -> sp.Expr:
        """``E`` of a user's expression in ``r, y, n``."""
        return self.expectation(name, switched(statistic, r, prefix="side"), gather)

    # -- score and label as a plane

    @cached_property
    def _regions(self) -> Regions:
        """Lines through the plane of score and label, where the label is a linear form."""
        assert self.target is not None
        slope, constant = (self.target.expression.coeff(ell, k) for k in (1, 0))
        score = Axis(m, score_along, score_across)
        label = Axis(slope * mean_ell + constant, slope * label_along, slope * label_across)
        if slope == 1:
            centre = dm if self.latent == PLAIN else m - mean_ell
            gap = Axis(centre - constant, gap_along, gap_across)
        else:
            gap = Axis(*(getattr(score, part) - getattr(label, part) for part in ("mean", "along", "across")))
        return Regions(score, label, gap, z_across, turn * self.deviation * s_ell * slope)

    @property
    def _has_plane(self) -> bool:
        return (
            self.target is not None
            and not self.target.switches
            and not self.residual
            and self.noise == 0
            and self.target.expression.is_polynomial(ell)
            and sp.degree(self.target.expression, ell) == 1
        )

    @property
    def _label_rate(self) -> sp.Expr:
        """``dy/dr*`` of a label that is a linear form."""
        return self.latent.slope * self.target.expression.diff(ell) if self.target is not None else sp.S.Zero

    @property
    def _axes(self) -> tuple[Definition, ...]:
        """The plane turned: ``along`` a line, and ``across`` to the next."""
        plain = self.latent == PLAIN
        slope, excess = (beta, beta1) if plain else (slope_given, slope_given - 1)
        cosine, sine = _TURN
        steep, spread = sp.Abs(slope) * s_ell, self.deviation
        return (
            reach(),
            Definition(turn, Side(slope)),
            Definition(score_along, turn * (cosine * steep + sine * spread)),
            Definition(score_across, turn * (cosine * spread - sine * steep)),
            Definition(label_along, cosine * s_ell),
            Definition(label_across, -sine * s_ell),
            Definition(gap_along, cosine * excess * s_ell + sine * turn * spread),
            Definition(gap_across, cosine * turn * spread - sine * excess * s_ell),
            *self._regions.of_class.definitions,
        )

    def _planar(
        self, name: str, function: Switched, gather: Expectations, by: tuple[sp.Expr, sp.Expr] | None = None
    ) -> sp.Expr | None:
        """``E g``, or of its derivative in a direction of ``(r, y)``, for a piecewise polynomial of score and label."""
        if not self._has_plane:
            return None
        regions, law = self._regions, ScoreLaw(z_across, sp.S.Zero, sp.S.One, standard=z_across)
        try:
            if not regions.curves(function):
                return None
            if by is None:
                value = regions.expect(function)
            else:
                slopes = [rate * function.expression.diff(w) for rate, w in zip(by, (r, y), strict=True)]
                value = regions.expect(replace(function, expression=sp.Add(*slopes))) + regions.masses(function, by)
            found = tuple(regions.features(function))
        except NotPlanar:
            return None
        gather.rules[name] = f"iterated: {RULE}; {QUADRATURE} over the lines{'' if by is None else MASSES}"
        symbol = sp.Symbol(f"{gather.prefix}{name}", real=True)
        gather.add(Group(law, (), kinks=regions), Entry(symbol, value, found))
        return symbol

    # -- stages

    def _with_label_switches(self, function: Switched) -> Switched:
        """Kinks in the label alone, such as the ``sign(y)`` of an attacked margin, where labels are not ±1."""
        return function if self.target is None or self.residual else split(function, y, "label")

    def _closed(
        self, name: str, function: Switched, gather: Expectations, by: sp.Symbol | None = None
    ) -> sp.Expr | None:
        """``E g`` or ``E ∂_by g`` over score and latent form at once, where that has a closed form."""
        if self.target is None or function.corners:
            return None
        if self.noise != 0:
            if not _is_smooth_polynomial(function, y):
                return None
            function = _average(function, y, self.noise)
        target = self.target
        if len(target.switches) + len(used_switches(function.expression, function.switches)) > _MOST_SWITCHES:
            return None
        whole = Switched(
            function.expression.subs(y, target.expression),
            (*target.switches, *(Switch(w.symbol, w.argument.subs(y, target.expression)) for w in function.switches)),
        )
        found = (
            self.joint.expect(whole, self._joint_law)
            if by is None
            else (self.joint.expect_derivative(whole, by, self._joint_law))
        )
        if found is None:
            return None
        gather.rules[name], value = found
        # a sum of tails that vanishes by cancellation may end a rounding below zero, where no square's mean can be
        return sp.Max(0, value) if name == "I" and "tail" in gather.rules[name] else value

    @property
    def _joint_law(self) -> JointLaw:
        if self.latent == PLAIN:
            return JointLaw(r, ell, m, m_star, beta, Q_perp, Q_star, dm, beta1)
        spread = Q_perp + (beta * self.latent.noise) ** 2 * Q_star / s_ell**2
        return JointLaw(r, ell, m, mean_ell, slope_given, spread, s_ell**2, m - mean_ell, slope_given - 1)

    def _functions(self, function: Switched) -> tuple[Switched, ...]:
        """One function of the law's variable for each value of the label; the noise that is polynomial averaged out."""
        if self.residual:
            return (function.substitute(y, sp.S.Zero).substitute(r, self.variable),)
        if self.chance is not None:
            return tuple(function.substitute(y, branch.label) for branch in self.branches)
        if self.noise == 0:
            return (function.substitute(y, y_given),)
        if _is_smooth_polynomial(function, y):
            return (_average(function, y, self.noise).substitute(y, y_given),)
        return (function,)

    def _inner_value(self, name: str, functions: tuple[Switched, ...], law: ScoreLaw | None = None) -> sp.Expr:
        """``E[g | ell]``."""
        if self._keeps_noise(functions):
            (function,) = functions
            return self._noise_integral(name, self._noise_average(function), functions)
        return self.inner.expect(name, functions, law or self.given())

    def _inner_derivative(self, name: str, functions: tuple[Switched, ...], by: sp.Symbol) -> sp.Expr:
        """``E[∂_by g | ell]``."""
        if self._keeps_noise(functions):
            (function,) = functions
            value = self._noise_derivative(function, y if by == y_given else by)
            masses = self._score_masses(function) if by == self.variable else sp.S.Zero
            return self._noise_integral(name, value, functions) + masses
        return self.inner.expect_derivative(name, functions, self.given(), by, self._blur)

    def _blur(self, point: sp.Expr) -> sp.Expr:
        """Deviation of the score with which the point mass of a kink is wide enough for the outer integral."""
        drift = point.diff(y_given) * dy_given + point.diff(ell) - slope_given
        if self.residual:
            drift += dy_given
        if point.has(y_given):
            # branches, as SymPy tries to prove which argument of a Max is the larger
            above, below = (Side(sign * drift - _FASTEST_KINK) for sign in (1, -1))
            drift = Branch(above, sp.Integer(_FASTEST_KINK), Branch(below, -sp.Integer(_FASTEST_KINK), drift))
        moved = self.inner.kinks.spread(sp.Abs(BLUR * s_ell * drift))
        # a smooth maximum: a score that has a spread is left as it is
        return self.inner.kinks.spread((self.deviation**4 + moved**4 + TINY) ** sp.Rational(1, 4))

    def _integral(self, name: str, value: sp.Expr, functions: tuple[Switched, ...], gather: Expectations) -> sp.Expr:
        """The integral over the latent form of what is left."""
        if value == 0:
            gather.rules[name] = ZERO
            return sp.S.Zero
        # D and B + D of a residual's loss are made of B
        inner_rule = self.inner.rules.get(name) or self.inner.rules.get("B", "a constant")
        gather.rules[name] = f"iterated: {inner_rule} given the latent form; {QUADRATURE} over the latent form"
        symbol = sp.Symbol(f"{gather.prefix}{name}", real=True)
        found = tuple(self._features(functions, blurred=name in ("B", "D", "BD")))
        entry = Entry(symbol, value, found, tuple(self._exponents(functions)))
        gather.add(self._group, entry)
        return symbol

    # -- noise added to the label

    def _keeps_noise(self, functions: tuple[Switched, ...]) -> bool:
        return self.has_noise and any(_depends(f, y) for f in functions)

    def _noise_average(self, function: Switched) -> sp.Expr:
        """``E[g | r, ell]`` over the label's noise."""
        found = closed_form(function, self.noise_law, self.noise_kinks)
        if found is None:
            raise DerivationError(
                "target",
                f"the noise added to the label enters {written(function.expression, function.switches)} in a way that "
                "has no closed form, "
                "and score, teacher and noise would make a three-dimensional integral",
                "use a loss of r - y, one that is piecewise polynomial in y, or noise inside the teacher's function",
            )
        return found[1]

    def _noise_derivative(self, slope: Switched, by: sp.Symbol) -> sp.Expr:
        """``E[∂_by g | r, ell]``, the jumps at kinks in ``y`` as point masses."""
        average = self._noise_average(slope.derive(by))
        masses = Expectations("", self.noise_kinks).expect_derivative("", (slope,), self.noise_law, by) - average
        return average + masses

    def _score_masses(self, slope: Switched) -> sp.Expr:
        """``E[∂_r g | ell]``: the point masses at kinks in the score alone, their jumps averaged over the noise."""
        law, total = self.given(), sp.S.Zero
        used = used_switches(slope.expression, slope.switches)
        for switch in used:
            if switch.argument.has(y):
                continue
            if not slope.expression.has(switch.symbol):
                continue  # it acts through switches whose arguments are continuous
            found = roots(switch, used, r)
            for root in found or ():
                indicator = sp.Mul(*(Branch(w, *((1, 0) if side == 1 else (0, 1))) for w, side in root.pattern.items()))
                others = tuple(
                    Switch(w.symbol, w.argument.subs(switch.symbol, 1).subs(r, root.point)) for w in used if w != switch
                )
                sides = (slope.expression.subs(switch.symbol, side).subs(r, root.point) for side in (1, -1))
                size = closed_form(Switched(indicator * difference(*sides), others), self.noise_law, self.inner.kinks)
                found = found if size else None
                total += sp.sign(root.slope) * size[1] * law.density_at(root.point) if size else sp.S.Zero
            if found is None:
                raise DerivationError(
                    "loss",
                    f"its slope jumps where {written(switch.argument, used)} = 0, and the mean jump there, over a "
                    "label with noise, has no closed form",
                    "use noise inside the teacher's function, or train without an adversary",
                )
        return total

    def _noise_integral(self, name: str, value: sp.Expr, functions: tuple[Switched, ...]) -> sp.Expr:
        """``E[· | ell]`` of an average over the noise: a quadrature over the score."""
        law = self.given()
        found = self._features_of_average(features(functions[0], (r, y)))
        rates = exponents(functions[0].expression, (r,))
        symbol = sp.Symbol(f"{self.inner.prefix}{name}", real=True)
        self.inner.rules[name] = "closed form in the label's noise, one-dimensional quadrature over the score"
        if value == 0:
            return sp.S.Zero
        group = Group(law, (law.definition,), kinks=self.noise_kinks)
        self.inner.add(group, Entry(symbol, value, found, rates))
        return symbol

    def _features_of_average(self, found: Sequence[Feature]) -> tuple[Feature, ...]:
        """Features in the score of an average over the noise; one is where a kink of the label is at infinity."""
        turns = (
            turn
            for slope in _turning_points(found, y, r)
            for turn in (Feature(slope), Feature(slope, _ALGEBRAIC * sp.Abs(slope.diff(r)), "pole"))
        )
        steps = [self._through_noise(f) for f in found]
        feet = (
            Feature(f.argument.subs(y_given, y_given + side * s_noise), f.width, f.kind)
            for f in steps
            if f.width.has(r)
            for side in (-_NOISE_FOOT, _NOISE_FOOT)
        )
        return (*steps, *feet, *turns)

    def _through_noise(self, feature: Feature) -> Feature:
        """A feature averaged over the label's noise.

        The average holds ``Φ`` of a link, which has an essential singularity where the link has a pole: panels keep
        away from it.
        """
        left = feature.integrate_out(self.noise_law)
        return replace(left, width=left.width / 2) if left.kind == "pole" else left

    # -- the outer integral

    @property
    def _definitions(self) -> tuple[Definition, ...]:
        """What every node of the latent form evaluates."""
        found = [self.outer.definition]
        source = self.target or self.chance
        assert source is not None
        found += [Definition(w.symbol, Side(w.argument)) for w in source.switches]
        centre = m + slope_given * s_ell * z_star
        if self.target is not None:
            found += [
                Definition(y_given, self.target.expression),
                Definition(dy_given, self.target.derive(ell).expression),
            ]
        else:
            h = source.expression
            plus, minus = (branch.weight for branch in self.branches)
            found += [
                Definition(plus, h),
                Definition(minus, complement(h)),
                Definition(sp.Symbol("dP", real=True), source.derive(ell).expression),
            ]
        found.append(Definition(mean_given, centre - y_given if self.residual else centre))
        return tuple(found)

    @property
    def _group(self) -> Group:
        source = self.target or self.chance
        assert source is not None
        return Group(self.outer, self._definitions, source.switches, self.inner.kinks, self.inner)

    def _centre(self) -> sp.Expr:
        """Mean of the law's variable as a function of the latent form."""
        centre = m + slope_given * (ell - mean_ell)
        return centre - y_given if self.residual else centre

    def _features(self, functions: tuple[Switched, ...], blurred: bool) -> Iterator[Feature]:
        """Features of the inner expectation in the latent form, and those of the target."""
        source = self.target or self.chance
        assert source is not None
        for expression in (source.expression, source.derive(ell).expression):
            yield from features(Switched(expression, source.switches), (ell,))
        law = self.given(mean=self._centre())
        variables = (self.variable, y, y_given)
        for function in functions:
            found = features(function, variables) if not function.corners else corner_features(function, variables)
            if function.corners:
                yield from self._meetings(function)
            elif not self._keeps_noise(functions):
                yield from self._encounters(found)
                yield from self._turns(found)
            yield from self._fadings(found)
            if self._keeps_noise(functions):
                found = self._features_of_average(found)
                yield from self._passings(found)
            for feature in found:
                meeting = feature.meeting(law.variable)
                feature = feature.integrate_out(law)
                for known in self._targets():
                    argument = feature.argument.subs(known)
                    if not argument.has(ell):
                        continue
                    if meeting is not None:
                        for factor in factors(meeting.subs(known), (ell,)):
                            yield Feature(factor, _ALGEBRAIC * s_ell * sp.Abs(factor.diff(ell)), "pole")
                    argument, width = _without_denominator(argument, feature.width.subs(known))
                    yield Feature(argument, width, feature.kind)
                    yield from _vertex(argument, width, feature.kind)
                    if feature.kind == "erf" and not argument.is_polynomial(ell):
                        # where a link saturates the step is not straight: its feet have widths of their own
                        yield from (Feature(argument + foot * width, width, "erf") for foot in (-_FOOT, _FOOT))
                    if blurred and feature.kind == "erf":
                        yield Feature(argument, sp.sqrt(width**2 + (BLUR * s_ell * argument.diff(ell)) ** 2), "erf")

    def _encounters(self, found: Sequence[Feature]) -> Iterator[Feature]:
        """Values of the latent form at which kinks of the score meet."""
        for meeting in encounters(found, self.variable):
            for known in self._targets():
                argument = meeting.subs(known)
                for factor in factors(sp.expand(argument), (ell,)) if argument.has(ell) else ():
                    yield Feature(factor)

    def _passings(self, found: Sequence[Feature]) -> Iterator[Feature]:
        """Values of the latent form at which a step over the noise passes a kink of the score."""
        kinks = [f.argument for f in found if f.kind == "kink" and not f.argument.has(y_given)]
        steps = [f for f in found if f.kind == "erf" and f.argument.has(self.variable) and f.argument.has(y_given)]
        for kink, step in product(kinks, steps):
            for place in every_root(kink, self.variable) or ():
                for known in self._targets():
                    there = {self.variable: place}
                    argument = step.argument.subs(there).subs(known)
                    if argument.has(ell):
                        yield Feature(argument, step.width.subs(there).subs(known), "erf")

    def _meetings(self, function: Switched) -> Iterator[Feature]:
        """Values of the latent form at which a switch changes where a kink of another one is."""
        for argument in meetings(function, self.variable):
            for known in self._targets():
                there = argument.subs(known)
                if there.has(ell):
                    yield Feature(there)

    def _turns(self, found: Sequence[Feature]) -> Iterator[Feature]:
        """Values of the latent form at which a kink of the score is at infinity: flat there, and not analytic."""
        for slope in _turning_points(found, self.variable, y_given):
            for known in self._targets():
                argument = sp.expand(slope.subs(known))
                if argument.has(ell):
                    yield Feature(argument)
                    yield Feature(argument, _ALGEBRAIC * s_ell * sp.Abs(argument.diff(ell)), "pole")

    def _fadings(self, found: Sequence[Feature]) -> Iterator[Feature]:
        """Values of the latent form at which a pole of the score leaves for infinity.

        Where it is more than ``_UNSEEN`` deviations of the score away it is not noticed; elsewhere the mean over the
        score is no smoother than on the scale of the distance to that value.
        """
        for feature in found:
            argument = feature.argument
            if feature.kind == "kink" or not argument.is_polynomial(self.variable):
                continue
            if sp.degree(argument, self.variable) != 1:
                continue
            slope, level = (sp.expand(argument.coeff(self.variable, k)) for k in (1, 0))
            size = sp.Abs(level) + feature.width
            if not slope.has(y_given):
                level, slope = sp.fraction(sp.together(level / slope))
                size = sp.Abs(level)
            for known in self._targets():
                if slope.subs(known).has(ell):
                    yield Feature(sp.expand(slope.subs(known)), size.subs(known) / (_UNSEEN * self.deviation), "pole")

    def _targets(self) -> Iterator[dict[sp.Symbol, sp.Expr]]:
        """The target as a function of the latent form, on each of its pieces."""
        source = self.target or self.chance
        assert source is not None
        for values in product((1, -1), repeat=len(source.switches)):
            pattern = dict(zip((w.symbol for w in source.switches), values, strict=True))
            yield {y_given: source.expression.subs(pattern)} if self.target else {}

    def _exponents(self, functions: tuple[Switched, ...]) -> Iterator[sp.Expr]:
        for function in functions:
            for exponent in exponents(function.expression, (self.variable,)):
                yield exponent.subs(self.variable, m + slope_given * (ell - mean_ell))
            if self.target is not None:
                known = function.expression.subs(y_given, self.target.expression).subs(y, self.target.expression)
                for exponent in exponents(known, (self.variable, ell)):
                    yield exponent.subs(self.variable, m + slope_given * (ell - mean_ell))

    def _label_jumps(self, slope: Switched, gather: Expectations) -> sp.Expr:
        """Point masses of ``D`` where the target or the chance jumps."""
        source = self.target or self.chance
        assert source is not None
        total = sp.S.Zero
        for index, jump in enumerate(jumps(source, ell)):
            if jump.size == 0:
                continue
            if self.target is None or self.has_noise or jump.root.pattern or len(source.switches) > 1:
                raise DerivationError(
                    "target",
                    f"it jumps at {written(jump.switch.argument, source.switches)} = 0, and the mean jump of the slope "
                    "there is not derived",
                    "use the sign of a linear form, or a continuous function",
                )
            law = ScoreLaw(r, m + slope_given * (jump.point - mean_ell), self.deviation)
            values = []
            for side in (1, -1):
                label = source.expression.subs(jump.switch.symbol, side).subs(ell, jump.point)
                values.append(gather.expect(f"D_{index}_{side}".replace("-1", "m"), (slope.substitute(y, label),), law))
                gather.rules.pop(f"D_{index}_{side}".replace("-1", "m"), None)
            density = normal_density((jump.point - mean_ell) / s_ell) / s_ell
            total += sp.sign(jump.root.slope) * density * (values[0] - values[1])
        if total != 0:
            gather.rules["D"] += "; a point mass where the label jumps"
        return total


def _turning_points(found: Sequence[Feature], variable: sp.Symbol, outer: sp.Symbol) -> Iterator[sp.Expr]:
    """What is zero where a kink of a variable is at infinity, and comes back from the other end."""
    for feature in found:
        if feature.kind == "kink" and feature.argument.is_polynomial(variable):
            slope = sp.expand(feature.argument.coeff(variable, 1))
            if sp.degree(feature.argument, variable) == 1 and slope.has(outer):
                yield slope


def _without_denominator(argument: sp.Expr, width: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """A quotient of polynomials in the latent form as its numerator: what is left has roots that formulas know."""
    top, bottom = sp.fraction(sp.together(argument))
    if bottom.has(ell) and top.is_polynomial(ell) and bottom.is_polynomial(ell):
        return sp.expand(top), width * sp.Abs(bottom)
    return sp.expand(argument), width


def _vertex(argument: sp.Expr, width: sp.Expr, kind: str) -> Iterator[Feature]:
    """Of a quadratic argument, where its two places meet or have left the real line, and where one is at infinity."""
    if kind == "kink" or not argument.is_polynomial(ell) or sp.degree(argument, ell) != 2:
        return
    a, b, c = (sp.expand(argument).coeff(ell, k) for k in (2, 1, 0))
    least = sp.Abs(c - b**2 / (4 * a)) + width.subs(ell, -b / (2 * a))
    yield Feature(ell + b / (2 * a), sp.sqrt(least / sp.Abs(a)), kind)
    if not a.is_number and b != 0:
        yield Feature(b * ell + c, width, kind)  # the place that is left where a vanishes


def complement(chance: sp.Expr) -> sp.Expr:
    """``1 − h`` without cancellation where ``h`` is close to 1."""
    if isinstance(chance, (Sigmoid, NormalCdf)):
        return chance.func(-chance.args[0])
    return 1 - chance


def _check_jumps_at_labels(slope: Switched) -> None:
    """Refuse a slope that jumps at a value of the label alone: a point mass of ``D`` on the latent form."""
    for switch in used_switches(slope.expression, slope.switches):
        if not switch.argument.has(y) or switch.argument.has(r):
            continue
        unknown = roots(switch, slope.switches, y) is None
        if unknown or any(jump.switch == switch for jump in jumps(slope, y, apart=True)):
            raise DerivationError(
                "loss",
                f"its slope jumps where {written(switch.argument, slope.switches)} = 0, whatever r is, and the mean "
                "jump there is not derived",
                "use a loss that is continuous in y, or add noise to the target",
            )


def _is_smooth_polynomial(function: Switched, symbol: sp.Symbol) -> bool:
    switches = used_switches(function.expression, function.switches)
    return not any(w.argument.has(symbol) for w in switches) and bool(function.expression.is_polynomial(symbol))


def _average(function: Switched, symbol: sp.Symbol, deviation: sp.Expr) -> Switched:
    """``E g(symbol + deviation ξ)`` of a polynomial in the symbol."""
    terms = sp.Poly(function.expression, symbol).terms()
    return Switched(sp.Add(*(c * moment(k, symbol, deviation) for (k,), c in terms)), function.switches)


def _depends(function: Switched, symbol: sp.Symbol) -> bool:
    return function.expression.has(symbol) or any(
        w.argument.has(symbol) for w in used_switches(function.expression, function.switches)
    )
