"""Gaussian expectations of functions of two jointly Gaussian variables (``docs/theory.md`` §2), in closed form.

A score ``r`` and a latent form ``ℓ`` are Gaussian given the class. What is integrated is a sum of products of
polynomials, exponentials of polynomials of degree at most 2, sines and cosines, normal distribution functions (``erf``,
``Φ``) of linear forms, and switches at linear conditions:

- an exponential tilts the law: a linear exponent moves its mean, a decaying quadratic one also shrinks its covariance;
- a sine or cosine moves the mean into the complex plane;
- ``Φ(g)`` is the probability that ``g`` plus independent noise is positive: a switch on a form with noise;
- a switch is its value at the mean, corrected on the other side, which is the less probable one. Coefficients of every
  product of such tails are collected before anything is integrated, so that what cancels does so exactly;
- what is left are polynomials beyond no kink, one, or two: central moments, :class:`TailMoment`,
  :class:`BivariateTail`.

Polynomials that vanish at ``r = ℓ`` are taken in ``(u, ℓ)``, ``u = r − ℓ``, whose moments are had without subtraction.
Where a risk vanishes as ``r → ℓ`` by cancellation between tails (``erf``, ReLU), or exponentials, it has another
form near there, :mod:`sgdlimit.derive.coincidence`; away from coincidence the accuracy is relative, in the tails too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import product

import sympy as sp

from sgdlimit.derive.coincidence import Near, same_kink, taylor, vanishes, wedges
from sgdlimit.derive.convert import Switch, Switched
from sgdlimit.derive.functions import BivariateTail, Branch, NormalCdf, Side, TailMoment, normal_density
from sgdlimit.derive.own_plane import agrees_in_the_plane
from sgdlimit.derive.quadrature import TINY, Definition

Pattern = tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """``r·(score) + ell·(latent) + constant + √noise ξ`` with ``ξ ~ N(0, 1)`` of its own."""

    r: sp.Expr
    ell: sp.Expr
    constant: sp.Expr = sp.S.Zero
    noise: sp.Expr = sp.S.Zero

    @property
    def is_constant(self) -> bool:
        """Whether it depends on neither variable."""
        return bool(self.r == 0 and self.ell == 0)

    @property
    def key(self) -> tuple[object, ...]:
        """Sorting key."""
        return tuple(sp.default_sort_key(e) for e in (self.noise, self.r, self.ell, self.constant))


R, ELL, U = Form(sp.S.One, sp.S.Zero), Form(sp.S.Zero, sp.S.One), Form(sp.S.One, sp.S.NegativeOne)


def wedge(f: Form, g: Form) -> sp.Expr:
    """Determinant of the coefficients of two forms; 0 for parallel ones."""
    return sp.expand(f.r * g.ell - f.ell * g.r)


@dataclass(frozen=True)
class JointLaw:
    """``(r, ℓ)`` jointly Gaussian given the class: ``r = mean_r + β (ℓ − mean_ℓ) + √perp z``.

    Parameters
    ----------
    r, ell : sympy.Symbol
        The score and the latent form.
    mean_r, mean_ell : sympy.Expr
    beta : sympy.Expr
        Regression of ``r`` on ``ℓ``.
    perp : sympy.Expr
        Variance of ``r`` given ``ℓ``, at least 0.
    variance : sympy.Expr
        Of ``ℓ``.
    dmean, beta1 : sympy.Expr
        ``mean_r − mean_ℓ`` and ``β − 1``, summed directly.
    """

    r: sp.Symbol
    ell: sp.Symbol
    mean_r: sp.Expr
    mean_ell: sp.Expr
    beta: sp.Expr
    perp: sp.Expr
    variance: sp.Expr
    dmean: sp.Expr
    beta1: sp.Expr

    @property
    def determinant(self) -> sp.Expr:
        """Of the covariance."""
        return self.perp * self.variance

    def mean(self, f: Form) -> sp.Expr:
        """Mean of a form."""
        if f.r + f.ell == 0:
            return f.r * self.dmean + f.constant
        return f.r * self.mean_r + f.ell * self.mean_ell + f.constant

    def _along(self, f: Form) -> sp.Expr:
        """Regression of a form on ``ℓ``."""
        return f.r * self.beta1 if f.r + f.ell == 0 else f.r * self.beta + f.ell

    def covariance(self, f: Form, g: Form) -> sp.Expr:
        """Covariance of two forms without their noise."""
        return f.r * g.r * self.perp + self._along(f) * self._along(g) * self.variance

    def form(self, expression: sp.Expr, noise: sp.Expr = sp.S.Zero) -> Form | None:
        """The expression as a form, or None where it is not linear."""
        expression = sp.expand(expression)
        if not expression.is_polynomial(self.r, self.ell):
            return None
        polynomial = sp.Poly(expression, self.r, self.ell)
        if polynomial.total_degree() > 1:
            return None
        constant = polynomial.coeff_monomial(1)
        return Form(polynomial.coeff_monomial(self.r), polynomial.coeff_monomial(self.ell), constant, noise)


def _normalise(f: Form) -> tuple[Form, int]:
    """The form with its first coefficient 1, and the sign that was divided out."""
    lead = f.r if f.r != 0 else f.ell
    if lead.is_positive or lead.is_negative:
        r, ell, constant = (sp.expand(e / lead) for e in (f.r, f.ell, f.constant))
        return Form(r, ell, constant, f.noise / lead**2), 1 if lead.is_positive else -1
    return f, 1


# --- what is integrated, as a sum of products -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Factor:
    """``exp(exponent) · wave · Π Φ``; a polynomial stands before it."""

    exponent: sp.Expr = sp.S.Zero
    wave: tuple[str, sp.Expr] | None = None
    cdfs: tuple[Form, ...] = ()


_Terms = dict[_Factor, sp.Expr]


class _NoRule(Exception):
    """The expression is not of the kind that has a closed form here."""


def _add(parts: Sequence[_Terms]) -> _Terms:
    total: _Terms = {}
    for part in parts:
        for factor, coefficient in part.items():
            total[factor] = total.get(factor, sp.S.Zero) + coefficient
    return {factor: e for factor, e in total.items() if e != 0}


def _scale(terms: _Terms, by: sp.Expr) -> _Terms:
    return {factor: by * e for factor, e in terms.items()}


def _multiply(left: _Terms, right: _Terms) -> _Terms:
    parts: list[_Terms] = []
    for f, a in left.items():
        for g, b in right.items():
            joined = _Factor(
                sp.expand(f.exponent + g.exponent), None, tuple(sorted((*f.cdfs, *g.cdfs), key=lambda e: e.key))
            )
            if f.wave is None or g.wave is None:
                parts.append({replace(joined, wave=f.wave or g.wave): a * b})
                continue
            (kind, x), (other, y) = f.wave, g.wave
            if kind == other:
                sign = 1 if kind == "cos" else -1
                waves = [("cos", x - y, sp.S.One), ("cos", x + y, sp.Integer(sign))]
            else:
                first, second = (x, y) if kind == "sin" else (y, x)
                waves = [("sin", first + second, sp.S.One), ("sin", first - second, sp.S.One)]
            parts += [_scale(_wave(name, argument, joined), a * b * c / 2) for name, argument, c in waves]
    return _add(parts)


def _wave(name: str, argument: sp.Expr, factor: _Factor) -> _Terms:
    """A sine or cosine in one form: its argument with a leading plus."""
    argument, sign = sp.expand(argument), sp.S.One
    if argument == 0:
        return {factor: sp.S.One} if name == "cos" else {}
    if argument.could_extract_minus_sign():
        argument, sign = -argument, sp.S.One if name == "cos" else sp.S.NegativeOne
    return {replace(factor, wave=(name, argument)): sign}


def _terms(e: sp.Expr, law: JointLaw) -> _Terms:
    """The sum of products; polynomials stay as they were written.

    Raises
    ------
    _NoRule
        For any other function.
    """
    if e.is_polynomial(law.r, law.ell):
        return {_Factor(): e} if e != 0 else {}
    if isinstance(e, sp.Add):
        return _add([_terms(a, law) for a in e.args])
    if isinstance(e, sp.Mul):
        smooth = sp.Mul(*(a for a in e.args if a.is_polynomial(law.r, law.ell)))
        others = [a for a in e.args if not a.is_polynomial(law.r, law.ell)]
        return reduce(_multiply, (_terms(a, law) for a in others), {_Factor(): smooth})
    if isinstance(e, sp.exp):
        exponent = sp.expand(e.args[0])
        if exponent.is_polynomial(law.r, law.ell) and sp.Poly(exponent, law.r, law.ell).total_degree() <= 2:
            return {_Factor(exponent): sp.S.One}
    if isinstance(e, sp.Pow) and e.exp.is_Integer and 0 < e.exp <= 8:
        return reduce(_multiply, [_terms(e.base, law)] * int(e.exp))
    if isinstance(e, (sp.sinh, sp.cosh)):
        return _terms(sp.expand(e.rewrite(sp.exp)), law)
    if isinstance(e, (sp.sin, sp.cos)) and law.form(e.args[0]) is not None:
        return _wave("sin" if isinstance(e, sp.sin) else "cos", e.args[0], _Factor())
    if isinstance(e, (sp.erf, sp.erfc, NormalCdf)):
        form = law.form(e.args[0], sp.S.One if isinstance(e, NormalCdf) else sp.S.Half)
        if form is not None:
            form, sign = _normalise(form)
            probability = {_Factor(cdfs=(form,)): sp.Integer(sign)}
            if sign < 0:
                probability[_Factor()] = sp.S.One
            if isinstance(e, NormalCdf):
                return probability
            slope = 2 if isinstance(e, sp.erf) else -2
            return _add([_scale(probability, sp.Integer(slope)), {_Factor(): sp.Integer(-slope // 2 + (slope < 0))}])
    raise _NoRule(e)


@dataclass(frozen=True)
class _Rule:
    """One switch: which form it asks for under each pattern of the switches in its argument."""

    symbol: sp.Symbol
    depends: tuple[sp.Symbol, ...]
    choices: Mapping[Pattern, tuple[Form, int]]


@dataclass(frozen=True)
class _Grid:
    """The lines at which a piecewise function has its kinks, and how its switches follow from the sides of them."""

    rules: tuple[_Rule, ...]

    @classmethod
    def of(cls, switches: Sequence[Switch], law: JointLaw) -> _Grid:
        rules: list[_Rule] = []
        for switch in switches:
            depends = tuple(e.symbol for e in rules if switch.argument.has(e.symbol))
            choices = {}
            for pattern in product((1, -1), repeat=len(depends)):
                form = law.form(switch.argument.subs(dict(zip(depends, map(sp.Integer, pattern), strict=True))))
                if form is None:
                    raise _NoRule(switch.argument)
                choices[pattern] = (form, 1) if form.is_constant else _normalise(form)
            rules.append(_Rule(switch.symbol, depends, choices))
        return cls(tuple(rules))

    @property
    def forms(self) -> tuple[Form, ...]:
        """Every form that is asked for."""
        return tuple(dict.fromkeys(form for rule in self.rules for form, _ in rule.choices.values()))

    def values(self, signs: Mapping[Form, int]) -> dict[sp.Symbol, sp.Integer]:
        """Values of the switches."""
        found: dict[sp.Symbol, sp.Integer] = {}
        for rule in self.rules:
            form, orientation = rule.choices[tuple(int(found[e]) for e in rule.depends)]
            found[rule.symbol] = sp.Integer(orientation * signs[form])
        return found


def _used(function: Switched) -> list[Switch]:
    """The switches that the expression needs, those behind their arguments included."""
    needed = set(function.expression.free_symbols)
    for switch in reversed(function.switches):
        if switch.symbol in needed:
            needed |= switch.argument.free_symbols
    return [w for w in function.switches if w.symbol in needed]


def _order(form: Form, kink: Form) -> Form:
    """A constant whose sign is that of a form where a parallel one vanishes."""
    ratio = form.r / kink.r if kink.r != 0 else form.ell / kink.ell
    return Form(sp.S.Zero, sp.S.Zero, sp.expand(form.constant - ratio * kink.constant))


# --- the collector --------------------------------------------------------------------------------------------------


def _product_moment(function: Switched, law: JointLaw) -> sp.Expr | None:
    """``E`` of a product of linear forms by Wick's theorem; None for anything else.

    Each form's mean and covariances are had without subtraction, so that a product that is small because some of its
    factors are keeps its digits, which the moments of its expansion would not.
    """
    expression = function.expression
    if _used(function) or not expression.is_polynomial(law.r, law.ell) or not expression.has(law.r, law.ell):
        return None
    content, factors = sp.factor_list(expression, law.r, law.ell)
    forms, powers = [], []
    for factor, power in factors:
        polynomial = sp.Poly(factor, law.r, law.ell)
        if polynomial.total_degree() == 0:
            content *= factor**power
            continue
        if polynomial.total_degree() > 1:
            return None
        a, b, c = (polynomial.coeff_monomial(e) for e in (law.r, law.ell, 1))
        mean = a * law.dmean if a + b == 0 else a * law.mean_r + b * law.mean_ell
        slope = a * law.beta1 if a + b == 0 else a * law.beta + b
        forms.append((a, mean + c, slope))
        powers.append(power)
    if sum(powers) > _MOST_FORMS:
        return None
    known: dict[tuple[int, ...], sp.Expr] = {(0,) * len(forms): sp.S.One}

    def covariance(i: int, j: int) -> sp.Expr:
        (a, _, s), (b, _, t) = forms[i], forms[j]
        return a * b * law.perp + s * t * law.variance

    def moments(left: tuple[int, ...]) -> sp.Expr:
        if left not in known:
            i = next(k for k, power in enumerate(left) if power)
            rest = (*left[:i], left[i] - 1, *left[i + 1 :])
            value = forms[i][1] * moments(rest)
            for j, power in enumerate(rest):
                if power:
                    value += power * covariance(i, j) * moments((*rest[:j], power - 1, *rest[j + 1 :]))
            known[left] = value
        return known[left]

    return content * moments(tuple(powers))


_MOST_FORMS = 8


@dataclass
class JointForms:
    """Closed forms under joint laws; collects what they are written in: sides, gaps and spreads of kinks.

    Examples
    --------
    >>> r, ell = sp.symbols("r ell", real=True)
    >>> dm, m, b1 = sp.symbols("dm m_star beta1", real=True)
    >>> Q, q = sp.symbols("Q_star Q_perp", nonnegative=True)
    >>> law = JointLaw(r, ell, m + dm, m, 1 + b1, q, Q, dm, b1)
    >>> JointForms().expect(Switched((r - ell) ** 2), law)
    ('joint moments', Q_perp + Q_star*beta1**2 + dm**2)
    """

    _lets: dict[sp.Expr, Definition] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """All of them, in an order in which they can be computed."""
        return tuple(self._lets.values())

    def expect(self, function: Switched, law: JointLaw) -> tuple[str, sp.Expr] | None:
        """``E g(r, ℓ)`` with the rule that gave it; None where no rule applies."""

        def value() -> tuple[str, sp.Expr]:
            rule, total = self._confirmed(self._expect(function, law), function, law)
            near = self._near(function, law)
            if near is None:
                return rule, total
            return f"{rule}; near r = ℓ {near.rule}", Branch(Side(near.room), near.value, total)

        return self._or_none(value)

    def _near(self, function: Switched, law: JointLaw) -> Near | None:
        """Where a function vanishes as ``r → ℓ`` and its closed form does by cancellation, another one near there."""
        if _product_moment(function, law) is not None:
            return None
        used = _used(function)
        if not used:
            return taylor(function.expression, law, lambda exponent: self._tilt(exponent, law), self._let)
        grid = _Grid.of(used, law)
        kink = same_kink(grid.forms)
        if kink is None:
            return None
        of_r, of_ell = sorted(grid.forms, key=lambda f: f.ell)
        piece = {
            (i, j): function.expression.subs(grid.values({of_r: i, of_ell: j})) for i, j in product((1, -1), repeat=2)
        }
        if not all(e.is_polynomial(law.r, law.ell) for e in piece.values()):
            return None
        if not all(vanishes(piece[sign, sign], law) for sign in (1, -1)):
            return None
        beyond = wedges(piece, kink, law, self._let)
        side = sp.Symbol("same_side", real=True)
        alike = Switched(Branch(side, piece[1, 1], piece[-1, -1]), (Switch(side, law.r - kink),))
        return replace(beyond, value=beyond.value + self._expect(alike, law)[1])

    def expect_derivative(self, slope: Switched, variable: sp.Symbol, law: JointLaw) -> tuple[str, sp.Expr] | None:
        """``E ∂g`` with respect to ``r`` or ``ℓ``; where ``g`` jumps, its derivative has a point mass."""

        def value() -> tuple[str, sp.Expr]:
            grid = _Grid.of(_used(slope), law)
            rule, total = self._expect(Switched(slope.expression.diff(variable), slope.switches), law)
            masses = sp.S.Zero
            for kink in grid.forms:
                rate = kink.r if variable == law.r else kink.ell
                jump = self._jump(slope, grid, kink, law)
                if rate != 0 and jump is not None:
                    spread, gap, _ = self._seen(kink, law)
                    masses += rate * normal_density(gap) / spread * self._expect(*self._on_line(jump, kink, law))[1]
            found = (rule, total) if masses == 0 else (rule + "; point masses at kinks", total + masses)
            return self._confirmed(found, slope, law, variable)

        return self._or_none(value)

    def _confirmed(
        self, found: tuple[str, sp.Expr], function: Switched, law: JointLaw, by: sp.Symbol | None = None
    ) -> tuple[str, sp.Expr]:
        """A value that the quadrature of its own integrand does not confirm is none."""
        if not agrees_in_the_plane(function, law, self.definitions, found[1], by):
            raise _NoRule
        return found

    def _or_none(self, attempt: Callable[[], tuple[str, sp.Expr]]) -> tuple[str, sp.Expr] | None:
        """What no rule applies to leaves no definitions behind."""
        lets, counts = dict(self._lets), dict(self._counts)
        try:
            return attempt()
        except _NoRule:
            self._lets, self._counts = lets, counts
            return None

    # -- definitions

    def _let(self, prefix: str, expression: sp.Expr, **assumptions: bool) -> sp.Expr:
        """A name for an expression; atoms need none."""
        if expression.is_Atom or (-expression).is_Atom:
            return expression
        if expression not in self._lets:
            self._counts[prefix] = self._counts.get(prefix, 0) + 1
            symbol = sp.Symbol(f"{prefix}_{self._counts[prefix]}", **{"real": True, **assumptions})
            self._lets[expression] = Definition(symbol, expression)
        return self._lets[expression].symbol

    def _side(self, f: Form, law: JointLaw) -> sp.Expr:
        return self._let("side", Side(law.mean(f)))

    def _seen(self, f: Form, law: JointLaw) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
        """Standard deviation of a form, how many of them its mean is away from 0, and on which side."""
        variance = law.covariance(f, f)
        variance = sp.Max(variance, TINY) if f.noise == 0 else variance + f.noise
        spread = self._let("spread", sp.sqrt(variance), positive=True)
        return spread, self._let("gap", sp.Abs(law.mean(f)) / spread, nonnegative=True), self._side(f, law)

    # -- jumps

    def _jump(self, function: Switched, grid: _Grid, kink: Form, law: JointLaw) -> Switched | None:
        """``g`` where the kink's form is positive minus ``g`` where it is negative; None where that is 0."""
        others = [f for f in grid.forms if f != kink]
        if kink.is_constant:
            return None
        switches = tuple(
            Switch(sp.Symbol(f"across{k}", real=True), f.r * law.r + f.ell * law.ell + f.constant)
            for k, f in enumerate(others)
        )

        def build(signs: Pattern) -> sp.Expr:
            if len(signs) < len(others):
                return Branch(switches[len(signs)].symbol, build((*signs, 1)), build((*signs, -1)))
            known = dict(zip(others, signs, strict=True))
            plus, minus = (function.expression.subs(grid.values({**known, kink: side})) for side in (1, -1))
            difference = plus - minus
            return sp.S.Zero if sp.expand(difference) == 0 else difference

        jump = build(())
        return None if jump == 0 else Switched(jump, switches)

    def _on_line(self, function: Switched, kink: Form, law: JointLaw) -> tuple[Switched, JointLaw]:
        """A function where a form vanishes, as one of ``ℓ`` alone, and the law of what is left given that it does."""
        spread = self._seen(kink, law)[0]
        free, where = (ELL, law.ell) if kink.r != 0 else (R, law.r)
        regression = law.covariance(free, kink) / spread**2
        mean = self._let("given", law.mean(free) - regression * law.mean(kink))
        if kink.r != 0:
            restricted = function.substitute(law.r, -(kink.ell * law.ell + kink.constant) / kink.r)
            variance = kink.r**2 * law.determinant / spread**2
        else:
            restricted = function.substitute(law.ell, -kink.constant / kink.ell).substitute(where, law.ell)
            variance = law.perp
        variance = self._let("given_variance", variance, nonnegative=True)
        zero = sp.S.Zero
        return restricted, JointLaw(law.r, law.ell, mean, mean, sp.S.One, zero, variance, zero, zero)

    # -- expectations

    def _expect(self, function: Switched, law: JointLaw) -> tuple[str, sp.Expr]:
        product_of_forms = _product_moment(function, law)
        if product_of_forms is not None:
            return "joint moments", product_of_forms
        grid = _Grid.of(_used(function), law)
        cache: dict[tuple[sp.Integer, ...], _Terms] = {}

        def at(signs: Mapping[Form, int]) -> _Terms:
            values = grid.values(signs)
            key = tuple(values.values())
            if key not in cache:
                cache[key] = _terms(function.expression.subs(values), law)
            return cache[key]

        groups = dict.fromkeys(
            (factor.exponent, factor.wave)
            for pattern in product((1, -1), repeat=len(grid.forms))
            for factor in at(dict(zip(grid.forms, pattern, strict=True)))
        )
        total, words = sp.S.Zero, {"joint moments": None}
        for exponent, wave in groups:
            scale, tilted = self._tilt(exponent, law)

            def part(signs: Mapping[Form, int], exponent: sp.Expr = exponent, wave: object = wave) -> _Terms:
                return {
                    _Factor(cdfs=factor.cdfs): e
                    for factor, e in at(signs).items()
                    if (factor.exponent, factor.wave) == (exponent, wave)
                }

            if exponent.has(law.r, law.ell):
                words |= {"tilts of the law by exponentials": None}
            value = sp.S.Zero
            for tails, sides, table in self._collect(part, grid, tilted):
                if wave is not None and tails:
                    raise _NoRule("a wave beyond a kink")
                integrate = self._integral(tails, tilted) if wave is None else self._wave_integral(wave, tilted)
                value += _combine(sides, table, integrate, tilted)
                word = ("", "tail moments", "bivariate tail moments")[len(tails)]
                words |= {word: None} if word else {}
            if wave is not None:
                words |= {"characteristic function": None}
            total += scale * self._reduce_sides(value)
        return ", ".join(words), total

    def _reduce_sides(self, value: sp.Expr) -> sp.Expr:
        """``side² = 1``."""
        sides = {d.symbol for d in self.definitions if isinstance(d.expression, Side)}
        return value.replace(
            lambda e: isinstance(e, sp.Pow) and e.base in sides and e.exp.is_integer, lambda e: e.base ** (e.exp % 2)
        )

    def _collect(
        self, part: Callable[[Mapping[Form, int]], _Terms], grid: _Grid, law: JointLaw
    ) -> Iterator[tuple[tuple[Form, ...], list[tuple[Form, sp.Expr]], dict[Pattern, sp.Expr]]]:
        """Coefficients of every product of tails, for each pattern of the sides of the mean.

        A switch seen from the mean is its side there, minus twice that side beyond the kink. Several parallel kinks:
        the piece that holds the mean, and at each kink the jump away from the mean.
        """
        kinks = [f for f in grid.forms if not f.is_constant]
        classes: list[list[Form]] = []
        for f in kinks:
            for members in classes:
                if wedge(members[0], f) == 0:
                    members.append(f)
                    break
            else:
                classes.append([f])
        orders = {(f, g): _order(f, g) for members in classes for f in members for g in members if f != g}
        # one sign for a constant and its negative
        flips = {(f, g): bool(o.constant.could_extract_minus_sign()) for (f, g), o in orders.items()}
        orders = {
            key: Form(sp.S.Zero, sp.S.Zero, -o.constant) if flips[key] and not o.constant.is_number else o
            for key, o in orders.items()
        }
        flips = {key: flipped and not orders[key].constant.is_number for key, flipped in flips.items()}
        cdfs = dict.fromkeys(
            f
            for pattern in product((1, -1), repeat=len(grid.forms))
            for factor in part(dict(zip(grid.forms, pattern, strict=True)))
            for f in factor.cdfs
        )
        sides = {f: self._side(f, law) for f in dict.fromkeys([*grid.forms, *orders.values(), *cdfs])}
        variables = [(f, side) for f, side in sides.items() if not side.is_number]
        fixed = {f: int(side) for f, side in sides.items() if side.is_number}
        tables: dict[tuple[Form, ...], dict[Pattern, sp.Expr]] = {}
        patterns = list(product((1, -1), repeat=len(variables)))
        for pattern in patterns:
            here = {**fixed, **{f: sign for (f, _), sign in zip(variables, pattern, strict=True)}}
            for chosen in product(*([None, *members] for members in classes)):
                beyond = tuple(f for f in chosen if f is not None)
                for across in product((1, -1), repeat=len(beyond)):
                    signs = {f: here[f] for f in grid.forms}
                    for kink, away in zip(beyond, across, strict=True):
                        # away = 1: the side that the mean is not on
                        signs[kink] = -away * here[kink]
                        for f in kinks:
                            if (f, kink) in orders:
                                signs[f] = here[orders[f, kink]] * (-1 if flips[f, kink] else 1)
                    weight = sp.Integer(sp.prod(across))
                    for factor, coefficient in part(signs).items():
                        for tails, sign in _expand_cdfs(factor.cdfs, here):
                            key = tuple(sorted((*beyond, *tails), key=lambda e: e.key))
                            table = tables.setdefault(key, dict.fromkeys(patterns, sp.S.Zero))
                            table[pattern] += weight * sign * coefficient
        for tails in sorted(tables, key=lambda e: (len(e), [f.key for f in e])):
            table = tables[tails]
            if all(sp.expand(e) == 0 for e in table.values()):
                continue
            if len(tails) > 2:
                raise _NoRule("a product of three tails")
            yield tails, variables, table

    # -- tilts

    def _tilt(self, exponent: sp.Expr, law: JointLaw) -> tuple[sp.Expr, JointLaw]:
        """``E exp(exponent) g = scale · E' g``: the scale, and the law of ``E'``."""
        polynomial = sp.Poly(exponent, law.r, law.ell)
        form = Form(*(polynomial.coeff_monomial(e) for e in (law.r, law.ell, 1)))
        A11, A22 = -2 * polynomial.coeff_monomial(law.r**2), -2 * polynomial.coeff_monomial(law.ell**2)
        A12 = -polynomial.coeff_monomial(law.r * law.ell)
        S11, S12, S22 = law.covariance(R, R), law.covariance(R, ELL), law.variance
        if A11 == A12 == A22 == 0:
            if form.is_constant:
                return sp.exp(form.constant), law
            shifts = {f: law.covariance(f, form) for f in (R, ELL, U)}
            moved = replace(
                law,
                mean_r=self._let("tilted_mean", law.mean_r + shifts[R]),
                mean_ell=self._let("tilted_mean", law.mean_ell + shifts[ELL]),
                dmean=self._let("tilted_mean", law.dmean + shifts[U]),
            )
            return sp.exp(law.mean(form) + law.covariance(form, form) / 2), moved
        minor = sp.expand(A11 * A22 - A12**2)
        if not (A11.is_nonnegative and A22.is_nonnegative and minor.is_nonnegative):
            raise _NoRule("an exponent that may grow faster than a Gaussian decays")
        area = law.determinant
        size = self._let("tilt", 1 + A11 * S11 + 2 * A12 * S12 + A22 * S22 + minor * area, positive=True)
        nu_r, nu_ell = law.mean_r + law.covariance(R, form), law.mean_ell + law.covariance(ELL, form)
        mean_r = ((1 + S12 * A12 + S22 * A22) * nu_r - (S11 * A12 + S12 * A22) * nu_ell) / size
        mean_ell = ((1 + S11 * A11 + S12 * A12) * nu_ell - (S12 * A11 + S22 * A12) * nu_r) / size
        inner = 1 + A11 * law.perp
        tilted = replace(
            law,
            mean_r=self._let("tilted_mean", mean_r),
            mean_ell=self._let("tilted_mean", mean_ell),
            beta=self._let("tilted_beta", (law.beta - law.perp * A12) / inner),
            beta1=self._let("tilted_beta", (law.beta1 - law.perp * (A11 + A12)) / inner),
            perp=self._let("tilted_variance", law.perp / inner, nonnegative=True),
            variance=self._let("tilted_variance", law.variance * inner / size, nonnegative=True),
        )
        g_r, g_ell = form.r - A11 * law.mean_r - A12 * law.mean_ell, form.ell - A12 * law.mean_r - A22 * law.mean_ell
        shift = g_r * tilted.covariance(U, R) + g_ell * tilted.covariance(U, ELL)
        tilted = replace(tilted, dmean=self._let("tilted_mean", law.dmean + shift))
        # quadratic forms of the means under (A⁻¹ + S)⁻¹, of the rates under (S⁻¹ + A)⁻¹
        means = (A11 + S22 * minor) * law.mean_r**2 + (A22 + S11 * minor) * law.mean_ell**2
        means += 2 * (A12 - S12 * minor) * law.mean_r * law.mean_ell
        rates = (S11 + A22 * area) * form.r**2 + (S22 + A11 * area) * form.ell**2
        rates += 2 * (S12 - A12 * area) * form.r * form.ell
        linear = form.r * tilted.mean_r + form.ell * tilted.mean_ell if form.r != 0 or form.ell != 0 else sp.S.Zero
        # linear counts the rates twice
        return sp.exp(form.constant + linear - (means + rates) / (2 * size)) / sp.sqrt(size), tilted

    # -- moments

    def _integral(self, tails: tuple[Form, ...], law: JointLaw) -> Callable[[sp.Expr], sp.Expr]:
        if not tails:
            return self._moment(law)
        return self._one_tail(law, *tails) if len(tails) == 1 else self._two_tails(law, *tails)

    def _moment(self, law: JointLaw) -> Callable[[sp.Expr], sp.Expr]:
        """``E P(r, ℓ)``: derivatives at the mean times central moments."""

        def integrate(polynomial: sp.Expr) -> sp.Expr:
            first, polynomial = _around_coincidence(polynomial, law)
            moments = _central_moments(
                law.covariance(first, first), law.covariance(first, ELL), law.covariance(ELL, ELL)
            )
            place = {law.r: law.mean(first), law.ell: law.mean_ell}
            value = sp.S.Zero
            for i, j, derivative in _derivatives(polynomial, law.r, law.ell):
                value += derivative.xreplace(place) * moments(i, j) / (sp.factorial(i) * sp.factorial(j))
            return value

        return integrate

    def _wave_integral(self, wave: tuple[str, sp.Expr], law: JointLaw) -> Callable[[sp.Expr], sp.Expr]:
        """``E P cos(k·w)``: the mean moved by ``i Cov(·, k·w)``."""
        form = law.form(wave[1])
        assert form is not None
        unit = sp.Dummy("i")
        angle, decay = law.mean(form), sp.exp(-law.covariance(form, form) / 2)
        shifted = replace(
            law,
            mean_r=law.mean_r + unit * law.covariance(R, form),
            mean_ell=law.mean_ell + unit * law.covariance(ELL, form),
            dmean=law.dmean + unit * law.covariance(U, form),
        )
        plain = self._moment(shifted)

        def integrate(polynomial: sp.Expr) -> sp.Expr:
            value = sp.Poly(sp.expand(plain(polynomial)), unit)
            real, imaginary = sp.S.Zero, sp.S.Zero
            for (k,), coefficient in value.terms():
                sign = -1 if k % 4 >= 2 else 1
                if k % 2 == 0:
                    real += sign * coefficient
                else:
                    imaginary += sign * coefficient
            if wave[0] == "cos":
                return decay * (real * sp.cos(angle) - imaginary * sp.sin(angle))
            return decay * (real * sp.sin(angle) + imaginary * sp.cos(angle))

        return integrate

    def _one_tail(self, law: JointLaw, f: Form) -> Callable[[sp.Expr], sp.Expr]:
        """``E P(r, ℓ) 1(f on the side that its mean is not on)``."""
        spread, gap, side = self._seen(f, law)

        def regress(w: Form) -> tuple[sp.Expr, ...]:
            if f.noise == 0 and wedge(w, f) == 0:
                rate = 1 / f.r if w.r != 0 else 1 / f.ell
            else:
                rate = law.covariance(w, f) / spread**2
            return (self._let("regression", rate),)

        def residual(v: Form, w: Form) -> sp.Expr:
            rest = law.covariance(v, w) * f.noise + wedge(v, f) * wedge(w, f) * law.determinant
            return self._let("residual", rest / spread**2) if rest != 0 else sp.S.Zero

        def tail(powers: tuple[int, ...]) -> sp.Expr:
            (k,) = powers
            return (-side) ** (k % 2) * spread**k * TailMoment(k, gap)

        return self._beyond((f,), law, regress, residual, tail)

    def _two_tails(self, law: JointLaw, f: Form, g: Form) -> Callable[[sp.Expr], sp.Expr]:
        """The same with two forms; their noises are independent."""
        (s1, gap1, side1), (s2, gap2, side2) = self._seen(f, law), self._seen(g, law)
        area, across = law.determinant, wedge(f, g)
        sharp = f.noise == 0 and g.noise == 0
        # of the forms' covariance; every term is positive
        size = across**2 * area + f.noise * law.covariance(g, g) + g.noise * law.covariance(f, f) + f.noise * g.noise
        root = sp.Abs(across) * sp.sqrt(law.perp) * sp.sqrt(law.variance) if sharp else sp.sqrt(size)
        size = self._let("area", size if f.noise * g.noise != 0 else sp.Max(size, TINY), positive=True)
        rho = self._let("rho", side1 * side2 * law.covariance(f, g) / (s1 * s2))
        rho_perp = self._let("rho_perp", root / (s1 * s2), nonnegative=True)

        def regress(w: Form) -> tuple[sp.Expr, ...]:
            if sharp:
                return wedge(w, g) / across, -wedge(w, f) / across
            for sharp_form, index in ((f, 0), (g, 1)):
                if sharp_form.noise == 0 and wedge(w, sharp_form) == 0:
                    rate = 1 / sharp_form.r if w.r != 0 else 1 / sharp_form.ell
                    return (rate, sp.S.Zero) if index == 0 else (sp.S.Zero, rate)
            first = g.noise * law.covariance(w, f) + wedge(w, g) * across * area
            second = f.noise * law.covariance(w, g) - wedge(w, f) * across * area
            return self._let("regression", first / size), self._let("regression", second / size)

        def residual(v: Form, w: Form) -> sp.Expr:
            rest = law.covariance(v, w) * f.noise * g.noise
            rest += (wedge(v, f) * wedge(w, f) * g.noise + wedge(v, g) * wedge(w, g) * f.noise) * area
            return self._let("residual", rest / size) if rest != 0 else sp.S.Zero

        def tail(powers: tuple[int, ...]) -> sp.Expr:
            j, k = powers
            value = BivariateTail(j, k, gap1, gap2, rho, rho_perp)
            return (-side1) ** (j % 2) * (-side2) ** (k % 2) * s1**j * s2**k * value

        return self._beyond((f, g), law, regress, residual, tail)

    def _beyond(
        self,
        tails: tuple[Form, ...],
        law: JointLaw,
        regress: Callable[[Form], tuple[sp.Expr, ...]],
        residual: Callable[[Form, Form], sp.Expr],
        tail: Callable[[tuple[int, ...]], sp.Expr],
    ) -> Callable[[sp.Expr], sp.Expr]:
        """A polynomial beyond kinks: its expansion there, in the forms that vanish there.

        The variables are regressed on the forms; what is left of them is Gaussian and independent of the tails.
        """
        values = [sp.Dummy(f"beyond{k}", real=True) for k in range(len(tails))]

        def at_kinks(w: Form, rates: tuple[sp.Expr, ...]) -> sp.Expr:
            if residual(w, w) == 0:
                # an exact combination of the forms
                return -sum(rate * f.constant for rate, f in zip(rates, tails, strict=True))
            shift = sum(rate * law.mean(f) for rate, f in zip(rates, tails, strict=True))
            return self._let("given", law.mean(w) - shift)

        def integrate(polynomial: sp.Expr) -> sp.Expr:
            first, second, polynomial = _basis(polynomial, tails, law)
            polynomial = sp.expand(polynomial)
            moments = _central_moments(residual(first, first), residual(first, second), residual(second, second))
            blurred = sp.S.Zero
            for i, j, derivative in _derivatives(polynomial, law.r, law.ell):
                blurred += derivative * moments(i, j) / (sp.factorial(i) * sp.factorial(j))
            place = {}
            for symbol, w in ((law.r, first), (law.ell, second)):
                if blurred.has(symbol):
                    rates = regress(w)
                    place[symbol] = at_kinks(w, rates) + sum(a * b for a, b in zip(rates, values, strict=True))
            expanded = sp.Poly(sp.expand(sp.expand(blurred).xreplace(place)), *values)
            return sp.Add(*(coefficient * tail(powers) for powers, coefficient in expanded.terms() if coefficient != 0))

        return integrate


def _expand_cdfs(cdfs: tuple[Form, ...], sides: Mapping[Form, int]) -> Iterator[tuple[tuple[Form, ...], int]]:
    """``Π Φ(f)``, each ``1(side = 1) − side · tail``, as tails and their coefficients."""
    for taken in product((False, True), repeat=len(cdfs)):
        weights = [-sides[f] if t else int(sides[f] > 0) for f, t in zip(cdfs, taken, strict=True)]
        if all(weights):
            yield tuple(f for f, t in zip(cdfs, taken, strict=True) if t), int(sp.prod(weights))


def _combine(
    sides: Sequence[tuple[Form, sp.Expr]],
    table: Mapping[Pattern, sp.Expr],
    integrate: Callable[[sp.Expr], sp.Expr],
    law: JointLaw,
) -> sp.Expr:
    """A coefficient that depends on sides, integrated: as a product with signs where it is one, else case by case."""
    plain = {pattern: sp.expand(e) for pattern, e in table.items()}
    for k in range(len(sides)):
        if all(plain[p] == plain[(*p[:k], -p[k], *p[k + 1 :])] for p in plain):
            rest = [*sides[:k], *sides[k + 1 :]]
            return _combine(rest, {(*p[:k], *p[k + 1 :]): e for p, e in table.items() if p[k] > 0}, integrate, law)
    if all(e == 0 for e in plain.values()):
        return sp.S.Zero
    if not sides:
        return integrate(table[()])
    parts = {}
    for subset in product((0, 1), repeat=len(sides)):
        signed = (e * sp.prod([s for s, chosen in zip(p, subset, strict=True) if chosen]) for p, e in plain.items())
        part = sp.expand(sp.Add(*signed) / len(plain))
        if part != 0:
            parts[subset] = part
    common = next(iter(parts.values()))
    if len(parts) == 1:
        # as it was written where all signs are +1
        common = table[(1,) * len(sides)]
    weights = {subset: _dyadic_ratio(part, common, law) for subset, part in parts.items()}
    if all(weight is not None for weight in weights.values()):
        signs = sp.Add(
            *(
                weight * sp.Mul(*(side for (_, side), chosen in zip(sides, subset, strict=True) if chosen))
                for subset, weight in weights.items()
            )
        )
        value = integrate(common)
        # a number would be multiplied in, and the signs would cancel only after the tails have been added to them
        if len(weights) == 1 or not value.is_Rational:
            return signs * value
    first, *rest = sides
    plus, minus = (
        _combine(rest, {p[1:]: e for p, e in table.items() if p[0] == sign}, integrate, law) for sign in (1, -1)
    )
    return Branch(first[1], plus, minus)


def _dyadic_ratio(part: sp.Expr, common: sp.Expr, law: JointLaw) -> sp.Expr | None:
    """``part/common`` where that is a number which sums of signs multiply exactly."""
    ratio = sp.cancel(sp.Poly(part, law.r, law.ell).LC() / sp.Poly(common, law.r, law.ell).LC())
    if not ratio.is_Rational or ratio.q & (ratio.q - 1) or sp.expand(part - ratio * common) != 0:
        return None
    return ratio


def _around_coincidence(polynomial: sp.Expr, law: JointLaw) -> tuple[Form, sp.Expr]:
    """The polynomial in ``(u, ℓ)`` if it vanishes at ``r = ℓ``, else in ``(r, ℓ)``; ``law.r`` stands for the first."""
    if polynomial.has(law.r) and polynomial.has(law.ell) and sp.expand(polynomial.xreplace({law.r: law.ell})) == 0:
        return U, sp.factor(sp.expand(polynomial.xreplace({law.r: law.r + law.ell})))
    return R, polynomial


def _basis(polynomial: sp.Expr, tails: tuple[Form, ...], law: JointLaw) -> tuple[Form, Form, sp.Expr]:
    """Two forms in which a polynomial is expanded at kinks: those that vanish at the kinks, and ``u`` near
    coincidence."""
    sharp = [w for w in (R, ELL) if any(f.noise == 0 and wedge(w, f) == 0 for f in tails)]
    if len(sharp) == 2 or _around_coincidence(polynomial, law)[0] == R:
        return R, ELL, polynomial
    if sharp == [R]:
        return R, U, polynomial.subs(law.ell, law.r - law.ell)
    return U, ELL, polynomial.subs(law.r, law.r + law.ell)


def _derivatives(polynomial: sp.Expr, x: sp.Symbol, y: sp.Symbol) -> Iterator[tuple[int, int, sp.Expr]]:
    """Orders and values of the derivatives of even order that are not 0."""
    monomials = sp.Poly(polynomial, x, y).monoms()
    row = polynomial
    for i in range(max(a for a, _ in monomials) + 1):
        value = row
        for j in range(max((b for a, b in monomials if a >= i), default=-1) + 1):
            if (i + j) % 2 == 0 and any(a >= i and b >= j for a, b in monomials):
                yield i, j, value
            value = value.diff(y)
        row = row.diff(x)


def _central_moments(xx: sp.Expr, xy: sp.Expr, yy: sp.Expr) -> Callable[[int, int], sp.Expr]:
    """``E X^i Y^j`` of centred Gaussian ``X, Y``."""
    known: dict[tuple[int, int], sp.Expr] = {}

    def moment(i: int, j: int) -> sp.Expr:
        if i < 0 or j < 0 or (i + j) % 2:
            return sp.S.Zero
        if (i, j) == (0, 0):
            return sp.S.One
        if (i, j) not in known:
            if i > 0:
                value = (i - 1) * xx * moment(i - 2, j) + j * xy * moment(i - 1, j - 1)
            else:
                value = (j - 1) * yy * moment(i, j - 2)
            known[i, j] = sp.expand(value)
        return known[i, j]

    return moment
