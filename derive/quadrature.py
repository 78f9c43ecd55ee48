"""What an expectation leaves to numbers: integrals, and all that a rule for them must resolve.

The values between :mod:`sgdlimit.derive` and :mod:`sgdlimit.codegen`. A rule is composite Gauss–Legendre on panels that
end at kinks and shrink towards singularities (``docs/numerics.md``); where those are is derived with the integrand.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from sgdlimit.derive.functions import normal_density
from sgdlimit.derive.symbols import z

# A variance of exactly zero is met (a start at X = 0 or at X*). The floor keeps every ratio defined and lets
# distribution functions and densities take their limits; it is far below anything a double can notice in a sum.
TINY = sp.Float("1e-300")


@dataclass(frozen=True)
class Definition:
    """``symbol := expression``."""

    symbol: sp.Symbol
    expression: sp.Expr


@dataclass(frozen=True)
class Layer:
    """A place where an integrand varies faster than the Gaussian does.

    Parameters
    ----------
    location, width : sympy.Expr
        In units of the integration variable.
    kind : str
        ``pole``: singularities at ``location ± i width``, panels are graded towards them. ``erf``: entire, a step of
        that width, flat beyond nine widths.
    """

    location: sp.Expr
    width: sp.Expr
    kind: str


@dataclass(frozen=True)
class Crossing:
    """Places that no formula gives: where ``argument`` changes its sign, found by the rule itself.

    Parameters
    ----------
    argument : sympy.Expr
        In the definitions of the quadrature.
    slope : sympy.Expr
        Its derivative in the integration variable.
    width : sympy.Expr
        Of the layer there, in units of the argument; zero for a kink.
    kind : str
        ``kink``, or that of a :class:`Layer`.
    """

    argument: sp.Expr
    slope: sp.Expr
    width: sp.Expr = sp.S.Zero
    kind: str = "kink"


@dataclass(frozen=True)
class PointMass:
    """``weight`` added at each place that a crossing finds."""

    crossing: Crossing
    weight: sp.Expr


def before(switch: sp.Symbol) -> sp.Symbol:
    """A switch as it is left of the end of a panel."""
    return sp.Symbol(f"{switch.name}_before", real=True)


def after(switch: sp.Symbol) -> sp.Symbol:
    """A switch as it is right of the end of a panel."""
    return sp.Symbol(f"{switch.name}_after", real=True)


@dataclass(frozen=True)
class PanelJump:
    """``weight`` added at every end of a panel at which a switch changes.

    Every kink ends a panel, and inside one no switch changes: taken from the middle of one panel to the middle of the
    next, jumps add up to what they must, also where kinks meet, or are told apart by nothing but rounding.

    Parameters
    ----------
    switches : tuple of sympy.Symbol
        What is compared.
    weight : sympy.Expr
        In the definitions of the quadrature at the end of the panel, and the switches :func:`before` and
        :func:`after` it.
    """

    switches: tuple[sp.Symbol, ...]
    weight: sp.Expr


@dataclass(frozen=True)
class Integrand:
    """``symbol = ∫ φ(z) expression dz + point masses``, and what a rule for it must resolve."""

    symbol: sp.Symbol
    expression: sp.Expr
    layers: tuple[Layer, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    masses: tuple[PointMass, ...] = ()
    jump: PanelJump | None = None


@dataclass(frozen=True)
class Quadrature:
    """Integrals ``∫ φ(z) g(z) dz`` that share their nodes.

    Parameters
    ----------
    definitions : tuple of Definition
        What every node evaluates first, in this order: the score, its switches, the weights of its labels.
    breakpoints : tuple of sympy.Expr
        Kinks and jumps of the integrands, as values of ``z``.
    integrands : tuple of Integrand
        Name, integrand, layers and crossings of each integral.
    inner : tuple of Quadrature
        Integrals that every node takes, after its definitions.
    tilts : tuple of sympy.Expr
        Rates of exponentials ``e^{a z}`` in the integrands: the window follows the mass that they move.
    branches : tuple of sympy.Expr
        Breakpoints at which the integrands are functions of the square root of the distance.
    curves : tuple of sympy.Expr
        What cuts the plane of score and label into regions, where the integrals are over the lines in it.
    stepwise : bool
        Crossings are looked for one after the other, each on panels that end at those found before it.
    """

    definitions: tuple[Definition, ...]
    breakpoints: tuple[sp.Expr, ...]
    integrands: tuple[Integrand, ...]
    variable: sp.Symbol = z
    inner: tuple[Quadrature, ...] = ()
    tilts: tuple[sp.Expr, ...] = ()
    stepwise: bool = False
    branches: tuple[sp.Expr, ...] = ()
    curves: tuple[sp.Expr, ...] = ()

    @property
    def steps(self) -> tuple[Definition | Quadrature, ...]:
        """Everything that a node evaluates, in order."""
        return (*self.definitions, *self.inner)


@dataclass(frozen=True)
class LabelBranch:
    """One value of the label: its probability (1 if certain) and the loss's label (None: the loss keeps its ``y``)."""

    weight: sp.Expr
    label: sp.Expr | None


@dataclass(frozen=True)
class ScoreLaw:
    """``w = mean + deviation z`` given what is integrated outside it.

    Parameters
    ----------
    variable : sympy.Symbol
        ``w``: the score ``r``, the residual ``u = r − y``, the latent form of the label or the label itself.
    mean, deviation : sympy.Expr
        Of ``w``.
    branches : tuple of LabelBranch
        Values of the label.
    weights : tuple of Definition
        Their probabilities given ``z``, where they depend on it.
    layers : tuple of Layer
        Of those probabilities.
    standard : sympy.Symbol
        ``z``.
    """

    variable: sp.Symbol
    mean: sp.Expr
    deviation: sp.Expr
    branches: tuple[LabelBranch, ...] = (LabelBranch(sp.S.One, None),)
    weights: tuple[Definition, ...] = ()
    layers: tuple[Layer, ...] = ()
    standard: sp.Symbol = z

    def density_at(self, point: sp.Expr) -> sp.Expr:
        """Density of ``w`` at a point."""
        return normal_density((point - self.mean) / self.deviation) / self.deviation

    def z_of(self, point: sp.Expr) -> sp.Expr:
        """The ``z`` at which ``w`` is at a point."""
        return (point - self.mean) / self.deviation

    @property
    def definition(self) -> Definition:
        """``w`` in terms of ``z``."""
        return Definition(self.variable, self.mean + self.deviation * self.standard)
