"""The loop language between equations and source code.

A kernel is a handful of functions; a function is a list of statements over scalars; the only loops are the ones that
the mathematics has: over modes (:class:`Reduce`, :class:`Accumulate`, :class:`Map`), over classes (:class:`ForClasses`)
and over the nodes of a quadrature (:class:`Integrate`). What does not depend on the mode is a :class:`Let`, so nothing
expensive can end up inside a loop over modes. Sizes are run-time arguments: nothing is unrolled over them.

Expressions are SymPy's, over :class:`sympy.Symbol` for scalars and the indexed symbols of ``sgdlimit.derive.symbols``
for arrays (``x[j]``, ``lam[i, j]``).
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

DESCENTS = ("line_search", "polyak", "greedy")
"""Names of what learning rates that depend on the state follow."""


@dataclass(frozen=True)
class Let:
    """``symbol = expression``, a scalar."""

    symbol: sp.Symbol
    expression: sp.Expr


@dataclass(frozen=True)
class Reduce:
    """Sums over modes in one pass: ``symbol = Σ_j summand``."""

    sums: tuple[Let, ...]


@dataclass(frozen=True)
class FindRoots:
    """Sign changes of ``argument``, a function of the integration variable that no formula solves.

    Parameters
    ----------
    lets : tuple of Let
        What the argument is made of at each value of the variable.
    argument, slope : sympy.Expr
        The function and its derivative in the variable.
    width : sympy.Expr
        Of the layer at a root, in units of the argument.
    kind : str
        What a root is to the panels: ``kink``, ``pole`` or ``erf``.
    mass_statements, masses : tuples
        What is evaluated at every root, and added to the integrals with the density there.
    """

    lets: tuple[Let, ...]
    argument: sp.Expr
    slope: sp.Expr
    width: sp.Expr
    kind: str
    mass_statements: tuple[Statement, ...] = ()
    masses: tuple[Let, ...] = ()


@dataclass(frozen=True)
class PanelJumps:
    """What is added to integrals at the ends of panels at which a switch changes.

    Parameters
    ----------
    switches : tuple of triples of sympy.Symbol
        Each switch, and its names left and right of the end of a panel.
    lets : tuple of Let
        What the switches are made of, in the middle of a panel.
    statements, masses : tuples
        What is evaluated at the end, and added with the density there.
    """

    switches: tuple[tuple[sp.Symbol, sp.Symbol, sp.Symbol], ...]
    lets: tuple[Let, ...]
    statements: tuple[Statement, ...]
    masses: tuple[Let, ...]


@dataclass(frozen=True)
class Part:
    """An ``inner`` integral's share in an ``outer`` one, at a node of that: ``factor`` times as much."""

    inner: sp.Symbol
    outer: sp.Symbol
    factor: sp.Expr


@dataclass(frozen=True)
class Integrate:
    """Integrals against the standard normal density that share their nodes.

    ``statements`` are run at every node in order, ``integrals`` are summed. ``breakpoints``, ``poles`` and ``steps``
    (pairs of location and width) and ``roots`` shape the panels, ``tilts`` the window; all may depend on the state.
    ``stepwise`` roots are looked for on panels that end at those found before; ``jumps`` are added between panels.
    ``shared`` is what the expressions of the shape have in common, ``fixed`` what is the same at every node. ``parts``
    says of an inner integral how it enters those outside: ``outer = factor · inner + …``. At ``branches`` panels end
    too, their nodes crowded there.
    """

    variable: sp.Symbol
    breakpoints: tuple[sp.Expr, ...]
    poles: tuple[tuple[sp.Expr, sp.Expr], ...]
    steps: tuple[tuple[sp.Expr, sp.Expr], ...]
    statements: tuple[Statement, ...]
    integrals: tuple[Let, ...]
    tilts: tuple[sp.Expr, ...] = ()
    roots: tuple[FindRoots, ...] = ()
    stepwise: bool = False
    jumps: PanelJumps | None = None
    shared: tuple[Let, ...] = ()
    branches: tuple[sp.Expr, ...] = ()
    fixed: tuple[Let, ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Tails:
    """Tail moments ``symbol = M_order(argument)`` at one place, which come out of one recursion.

    Scaled ones are divided by the density at the place.
    """

    argument: sp.Expr
    moments: tuple[tuple[int, sp.Symbol], ...]
    scaled: bool = False


@dataclass(frozen=True)
class Call:
    """``targets = function(the class's score, its parameters)``."""

    function: str
    targets: tuple[sp.Symbol, ...]


@dataclass(frozen=True)
class Accumulate:
    """``array[j] += expression`` over all modes, inside a loop over classes."""

    sums: tuple[tuple[str, sp.Expr], ...]


@dataclass(frozen=True)
class ForClasses:
    """A loop over classes; ``totals`` are scalars summed over it."""

    body: tuple[Statement, ...]
    totals: tuple[Let, ...]


@dataclass(frozen=True)
class Map:
    """``array[j] = expression`` over all modes."""

    assignments: tuple[tuple[str, sp.Expr], ...]


Statement = Let | Reduce | Integrate | Tails | Call | Accumulate | ForClasses | Map


@dataclass(frozen=True)
class Function:
    """Statements and named results, in the order in which they are stored."""

    statements: tuple[Statement, ...]
    results: tuple[Let, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """Everything that is particular to one model, ready to be written in any language.

    Parameters
    ----------
    about : tuple of str
        What it is, from which expressions, by which generator: the header of the file.
    parameters, statistics, coefficients : tuple of str
        Names, in the order of the arrays.
    schedule_parameters : tuple of str
        Names of the arguments of the learning-rate schedule.
    global_constants, class_constants : Function
        What depends on the instance alone.
    score : tuple of sympy.Symbol
        What the coefficients of one class are functions of.
    summarise : Function
        The score of one class from the state.
    rate_coefficients, statistic_coefficients, all_coefficients : Function
        Of one class, from its score.
    every_coefficient : Function
        What one of the three gives, all in one.
    rates, statistics_function : Function
        The mode equations; the reported statistics.
    gradient, label, ridge, learning_rate : Function
        Of one sample; of the step.
    descents : tuple of (str, Function)
        ``first`` and ``second`` of what greedy learning rates follow, by name; those that there are.
    slope_coefficients : tuple of (str, Function)
        Of one class, for the expectations in a greedy statistic.
    positive : tuple of str
        Expressions in the parameters that the derivation took to be positive.
    judged : int
        How many statistics, from the first, tell a divergence.
    resolution : float
        How well the rates know ``x − X*``, in units of ``X*``.
    """

    about: tuple[str, ...]
    parameters: tuple[str, ...]
    statistics: tuple[str, ...]
    coefficients: tuple[str, ...]
    schedule_parameters: tuple[str, ...]
    global_constants: Function
    class_constants: Function
    score: tuple[sp.Symbol, ...]
    summarise: Function
    rate_coefficients: Function
    statistic_coefficients: Function
    all_coefficients: Function
    every_coefficient: Function
    rates: Function
    statistics_function: Function
    gradient: Function
    label: Function
    ridge: Function
    learning_rate: Function
    descents: tuple[tuple[str, Function], ...] = ()
    slope_coefficients: tuple[tuple[str, Function], ...] = ()
    positive: tuple[str, ...] = ()
    judged: int = 0
    resolution: float = 0.0
