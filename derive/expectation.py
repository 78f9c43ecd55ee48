"""Gaussian expectations of piecewise smooth functions of one variable (``docs/theory.md`` §2).

A score (or residual) ``w`` is Gaussian given the class, ``w = mean + s z``; a label that is random given the score
contributes one weighted branch for each of its values. What has a closed form that is accurate in the tails gets it;
the rest becomes an integrand of a :class:`~sgdlimit.derive.quadrature.Quadrature`, with what a rule for it must
resolve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import sympy as sp

from sgdlimit.derive.closed_forms import Kinks, closed_form
from sgdlimit.derive.convert import Switch, Switched
from sgdlimit.derive.features import Feature, analytic_features, exponents, kinks_of, place, places_known, tilt
from sgdlimit.derive.functions import Branch, Side
from sgdlimit.derive.kinks import every_root, expanded, jumps, unplaced, used_switches
from sgdlimit.derive.own_integrand import derivative_agrees
from sgdlimit.derive.quadrature import (
    Crossing,
    Definition,
    Integrand,
    PanelJump,
    PointMass,
    Quadrature,
    ScoreLaw,
    after,
    before,
)
from sgdlimit.derive.regions import Regions

QUADRATURE = "quadrature (composite Gauss–Legendre on graded panels)"
ZERO = "identically zero"
MASSES = "; a point mass at each jump of ∂_r f_adv"


@dataclass(frozen=True)
class Mass:
    """``weight`` at each sign change of a switch's argument, for an integral whose kinks no formula places.

    The switch is one of the function of that branch of the label.
    """

    switch: Switch
    weight: sp.Expr
    branch: int = 0


NOTHING = Switched(sp.S.Zero)


@dataclass(frozen=True)
class Entry:
    """An integral that waits for its quadrature."""

    symbol: sp.Symbol
    expression: sp.Expr
    features: tuple[Feature, ...] = ()  # besides the kinks of the group's switches
    exponents: tuple[sp.Expr, ...] = ()
    masses: tuple[Mass, ...] = ()
    jump: PanelJump | None = None


@dataclass(frozen=True)
class Group:
    """Integrals with common nodes: one law, one list of definitions.

    Parameters
    ----------
    law : ScoreLaw
    definitions : tuple of Definition
    switches : tuple of Switch
        The kinks among those definitions.
    kinks : Kinks or Regions, optional
        What closed forms taken at every node are made of.
    inner : Expectations, optional
        Integrals taken at every node.
    corners : bool
        Whether kinks may meet.
    """

    law: ScoreLaw
    definitions: tuple[Definition, ...]
    switches: tuple[Switch, ...] = ()
    kinks: Kinks | Regions | None = None
    inner: Expectations | None = None
    corners: bool = False


@dataclass(eq=False)
class Expectations:
    """Collects the integrals of one limit, so that those with common nodes become one loop.

    ``expect`` and ``expect_derivative`` return an expression in which an integral is a symbol; ``quadratures`` tells
    what those symbols are. ``rules`` records which rule gave what.

    Parameters
    ----------
    prefix : str
        Of the integrals' names.
    kinks : Kinks
        Distances that the closed forms share.
    """

    prefix: str = "J_"
    kinks: Kinks = field(default_factory=Kinks)
    rules: dict[str, str] = field(default_factory=dict)
    _groups: dict[Group, list[Entry]] = field(default_factory=dict)

    def expect(self, name: str, functions: tuple[Switched, ...], law: ScoreLaw) -> sp.Expr:
        """``E g(w)``; one function for each branch of the label."""
        closed = self.closed(name, functions, law)
        return self.integral(name, functions, law) if closed is None else closed

    def expect_derivative(
        self,
        name: str,
        slopes: tuple[Switched, ...],
        law: ScoreLaw,
        by: sp.Symbol | None = None,
        blur: Callable[[sp.Expr], sp.Expr] | None = None,
    ) -> sp.Expr:
        """``E ∂g`` for a slope ``g`` that may jump: a jump is a point mass of its derivative.

        Parameters
        ----------
        by : sympy.Symbol, optional
            The variable of the derivative, if it is not that of the law: ``∂_by 1(h > 0) = δ(h) ∂_by h``, and ``δ(h)``
            is integrated over the law's variable.
        blur : callable, optional
            From the place of a kink to the deviation that its point mass is seen with, where an integral further out
            could not see that of the law.
        """
        by = by or law.variable
        if any(g.corners for g in slopes):
            return self._derivative_by_panels(name, slopes, law, by, blur)
        derivatives = tuple(g.derive(by) for g in slopes)
        placed = sp.S.Zero
        waiting: list[tuple[Mass, ScoreLaw]] = []
        for number, (branch, slope_function) in enumerate(zip(law.branches, slopes, strict=True)):
            for jump in jumps(slope_function, law.variable):
                weight = branch.weight
                for definition in law.weights:
                    at_point = definition.expression.subs(law.standard, law.z_of(jump.point))
                    weight = weight.subs(definition.symbol, at_point)
                size = jump.size
                if by != law.variable:
                    argument = jump.switch.argument.subs(jump.root.pattern)
                    ratio = (argument.diff(by) / argument.diff(law.variable)).subs(law.variable, jump.point)
                    size = expanded(size * ratio) if ratio.has(sp.exp) else size * sp.expand(ratio)
                seen = replace(law, deviation=blur(jump.point)) if blur else law
                placed += size * weight * seen.density_at(jump.point)
            for switch, size in unplaced(slope_function, law.variable):
                # δ(h) over z: 1/|dh/dz| and the density of z, which the rule knows
                slope = switch.argument.diff(law.variable)
                weight = branch.weight * size * switch.argument.diff(by)
                # where the kink is near the mean: that is where the blur matters
                near = law.mean - at_mean(slope_function, law, switch.argument / slope)
                seen = replace(law, deviation=blur(near)) if blur else law
                waiting.append((Mass(switch, weight / sp.Abs(slope * seen.deviation), number), seen))
        smooth = self.expect(name, derivatives, law)
        for index, (mass, seen) in enumerate(waiting):
            smooth += self.integral(f"{name}_mass{index + 1}", (NOTHING,) * len(slopes), seen, (mass,), slopes)
            del self.rules[f"{name}_mass{index + 1}"]
        if placed != 0 or waiting:
            self.rules[name] += MASSES
        closed = placed != 0 and not waiting and not law.weights and QUADRATURE not in self.rules[name]
        if closed and by == law.variable and blur is None:
            weighted = [(branch.weight, g) for branch, g in zip(law.branches, slopes, strict=True)]
            if not derivative_agrees(weighted, law, self.kinks.definitions, smooth + placed):
                corners = tuple(replace(g, corners=True) for g in slopes)
                return self._derivative_by_panels(name, corners, law, by, blur)
        return smooth + placed

    def _derivative_by_panels(
        self,
        name: str,
        slopes: tuple[Switched, ...],
        law: ScoreLaw,
        by: sp.Symbol,
        blur: Callable[[sp.Expr], sp.Expr] | None,
    ) -> sp.Expr:
        """``E ∂g`` where kinks may meet: the point masses are what ``g`` changes by from one panel to the next.

        A kink is that of the first switch that changes there, in the order of their definition: later ones may follow
        it. That switch's argument is continuous, so it says how fast the kink moves with ``by``.
        """
        total = self.expect(name, tuple(g.derive(by) for g in slopes), law)
        shared = blur is None and by == law.variable
        parts = 0
        for number, slope in enumerate(slopes):
            used = used_switches(slope.expression, slope.switches)
            sides = [{w.symbol: side(w.symbol) for w in used} for side in (before, after)]
            size = slope.expression.xreplace(sides[1]) - slope.expression.xreplace(sides[0])
            moving = [w for w in used if w.argument.has(law.variable)]
            if size == 0 or not moving:
                continue
            weight = law.branches[number].weight * size
            for index, switch in enumerate(moving[:1] if shared else moving):
                rate = switch.argument.diff(law.variable)
                ratio = (switch.argument.diff(by) / rate).xreplace(sides[1])
                if ratio == 0:
                    continue
                seen = law
                if blur:
                    # how a kink near the mean moves: that is where the blur matters
                    near = at_mean(slope, law, switch.argument / Branch(Side(sp.Abs(rate)), rate, sp.S.One))
                    seen = replace(law, deviation=blur(law.mean - near))
                changed = [sp.Abs(sides[0][w.symbol] - sides[1][w.symbol]) for w in moving]
                own = sp.Add(*changed) if shared else changed[index]
                mass = Branch(Side(own), weight * ratio / seen.deviation, sp.S.Zero)
                if not shared and index:
                    mass = Branch(Side(sp.Add(*changed[:index])), sp.S.Zero, mass)
                parts += 1
                part = f"{name}_jump{parts}"
                total += self.integral(part, (NOTHING,) * len(slopes), seen, (), slopes, {number: mass})
                del self.rules[part]
        if parts:
            self.rules[name] += MASSES
        return total

    def closed(self, name: str, functions: tuple[Switched, ...], law: ScoreLaw) -> sp.Expr | None:
        """``E g(w)`` in closed form, or None: each branch by itself, where its weight does not hang on ``w``."""
        if law.weights or any(f.corners and f.switches for f in functions):
            return None
        found = [closed_form(function, law, self.kinks) for function in functions]
        if any(f is None for f in found):
            return None
        self.rules[name] = "; ".join(dict.fromkeys(rule for rule, _ in found))  # type: ignore[misc]
        return sp.Add(*(branch.weight * f[1] for branch, f in zip(law.branches, found, strict=True)))  # type: ignore[index]

    def integral(
        self,
        name: str,
        functions: tuple[Switched, ...],
        law: ScoreLaw,
        masses: tuple[Mass, ...] = (),
        sources: tuple[Switched, ...] | None = None,
        jumps: Mapping[int, sp.Expr] | None = None,
    ) -> sp.Expr:
        """``E g(w)`` as an integral; point masses belong to the kinks of ``sources``, its own or more.

        ``jumps`` has, by the number of a branch, a weight in its switches before and after the end of a panel.
        """
        switches: list[Switch] = []
        integrand = sp.S.Zero
        found: dict[Feature, None] = {}
        rates: dict[sp.Expr, None] = {}
        renamed_masses = list(masses)
        compared: dict[sp.Symbol, None] = {}
        jump_weight = sp.S.Zero
        for k, (branch, function) in enumerate(zip(law.branches, functions, strict=True)):
            # switches of different labels are different: give each branch its own names
            source = sources[k] if sources else function
            rename = {
                w.symbol: sp.Symbol(f"{w.symbol.name}{'pm'[k] if len(law.branches) > 1 else ''}", real=True)
                for w in source.switches
            }
            function, source = function.xreplace(rename), source.xreplace(rename)
            switches += source.switches
            integrand += branch.weight * function.expression
            # sign changes are looked for on the panels: where there are masses, these must resolve what makes them
            found |= dict.fromkeys(analytic_features(source if masses or jumps else function, (law.variable,)))
            rates |= dict.fromkeys(exponents(function.expression, (law.variable,)))
            for position, mass in enumerate(masses):
                if mass.branch == k:
                    own = Switch(
                        rename.get(mass.switch.symbol, mass.switch.symbol), mass.switch.argument.xreplace(rename)
                    )
                    renamed_masses[position] = Mass(own, mass.weight.xreplace(rename), k)
            if jumps and k in jumps:
                ends = {side(old): side(new) for old, new in rename.items() for side in (before, after)}
                jump_weight += jumps[k].xreplace(ends | rename)
                compared |= {new: None for new in rename.values() if jump_weight.has(before(new), after(new))}
        if integrand == 0 and not masses and not compared:
            self.rules[name] = ZERO
            return sp.S.Zero
        wanted = sp.Add(integrand, *(m.weight + m.switch.symbol for m in renamed_masses), *(e**2 for e in compared))
        used = tuple(used_switches(wanted, switches))
        definitions = (
            law.definition,
            *(Definition(w.symbol, Side(w.argument)) for w in used),
            *law.weights,
        )
        self.rules[name] = QUADRATURE
        symbol = sp.Symbol(f"{self.prefix}{name}", real=True)
        jump = PanelJump(tuple(compared), jump_weight) if compared else None
        entry = Entry(symbol, integrand, tuple(found), tuple(rates), tuple(renamed_masses), jump)
        corners = any(f.corners for f in sources or functions)
        self.add(Group(law, definitions, used, corners=corners), entry)
        return symbol

    def add(self, group: Group, entry: Entry) -> None:
        """Put an integral with its group."""
        self._groups.setdefault(group, []).append(entry)

    def quadratures(self) -> tuple[Quadrature, ...]:
        """The integrals met so far, grouped by common nodes."""
        return tuple(_quadrature(group, entries) for group, entries in self._groups.items())


def at_mean(function: Switched, law: ScoreLaw, expression: sp.Expr) -> sp.Expr:
    """An expression in a function's variable and switches where the variable is at its mean."""
    values: dict[sp.Symbol, sp.Expr] = {}
    for switch in function.switches:
        values[switch.symbol] = Side(switch.argument.subs(law.variable, law.mean).subs(values))
    return expression.subs(law.variable, law.mean).subs(values)


def _quadrature(group: Group, entries: list[Entry]) -> Quadrature:
    law = group.law
    crossings = {
        w: Crossing(w.argument, w.argument.diff(law.variable) * law.deviation)
        for w in group.switches
        if w.argument.has(law.variable)
    }
    breakpoints: dict[sp.Expr, None] = {}
    shared: list[Crossing] = []
    conditions = tuple(kinks_of(group.switches, (law.variable,)))
    for switch, crossing in crossings.items():
        if group.corners and not places_known(switch, group.switches, law.variable):
            shared.append(crossing)
            marks = (every_root(e, law.variable) or () for e in switch.near if e.has(law.variable))
            breakpoints |= dict.fromkeys(law.z_of(point) for points in marks for point in points)
            continue
        kinks = place((kink for w, kink in conditions if w == switch), law)
        if kinks.crossings:
            shared.append(crossing)
        else:
            breakpoints |= dict.fromkeys(kinks.breakpoints)
    integrands = []
    rates: dict[sp.Expr, None] = {}
    branches: dict[sp.Expr, None] = {}
    for entry in entries:
        places = place(entry.features, law)
        breakpoints |= dict.fromkeys(places.breakpoints)
        branches |= dict.fromkeys(places.branches)
        masses = tuple(PointMass(crossings[mass.switch], mass.weight) for mass in entry.masses)
        integrands.append(
            Integrand(
                entry.symbol,
                entry.expression,
                tuple(dict.fromkeys((*law.layers, *places.layers))),
                tuple(dict.fromkeys((*shared, *places.crossings))),
                masses,
                entry.jump,
            )
        )
        rates |= dict.fromkeys(tilt(e, law) for e in entry.exponents)
    return Quadrature(
        definitions=(*group.definitions, *(group.kinks.definitions if group.kinks else ())),
        breakpoints=tuple(breakpoints),
        integrands=tuple(integrands),
        variable=law.standard,
        inner=group.inner.quadratures() if group.inner else (),
        tilts=tuple(e for e in rates if e != 0),
        stepwise=group.corners,
        branches=tuple(branches),
        curves=group.kinks.every_curve if isinstance(group.kinks, Regions) else (),
    )
