"""From a limit to a kernel: which scalar is needed where, and which sums share a pass.

Everything a function needs is found by walking from its results back through the limit's definitions. Sums over modes
whose summands are known together share one pass; what depends on the instance alone moves to the constants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count

import sympy as sp

from sgdlimit.codegen.language import (
    Accumulate,
    Call,
    FindRoots,
    ForClasses,
    Function,
    Integrate,
    Kernel,
    Let,
    Map,
    PanelJumps,
    Part,
    Reduce,
    Statement,
    Tails,
)
from sgdlimit.codegen.sharing import fold, share
from sgdlimit.derive import symbols
from sgdlimit.derive.convert import to_sympy
from sgdlimit.derive.descent import Descent
from sgdlimit.derive.functions import ScaledTailMoment, TailMoment
from sgdlimit.derive.limit import Limit, own_name
from sgdlimit.derive.model import Schedule
from sgdlimit.derive.quadrature import (
    Crossing,
    Definition,
    Integrand,
    Layer,
    PanelJump,
    PointMass,
    Quadrature,
    after,
    before,
)
from sgdlimit.derive.summary import INVERSE_NORM
from sgdlimit.derive.symbols import COEFFICIENTS, i, lam, mu, n, omega, p, v, x, x_star, y

MODE_ARRAYS = (x, v, x_star, omega, lam, mu)
"""What monomials of the rates are made of."""
PROBABILITY = sp.Symbol("probability", nonnegative=True)
_STATE = {x, symbols.e, v}


def lower(limit: Limit, schedule: Schedule | None = None) -> Kernel:
    """Lower a limit, and the learning-rate schedule that goes with it, to the loop language."""
    limit = _around_teacher(_with_own_names(limit))
    known = {d.symbol: d for d in limit.summary}
    constants = _constants(limit.summary)
    class_level = {d.symbol for d in limit.summary if _has_class(d, known)}
    per_class = {**limit.coefficients, "BD": limit.sum_BD, **limit.expectations}

    rate_sums = {
        name: _split(_with_inverse_norm(expression).subs(_zero_coefficients(per_class)))
        for name, expression in (
            ("offset", limit.equations.offset),
            ("slope", limit.equations.slope),
            ("noise", limit.equations.noise),
        )
    }
    rate_names = sorted(
        {str(s) for parts in rate_sums.values() for e in parts.every() for s in _class_coefficients(e, per_class)},
        key=list(per_class).index,
    )
    statistic_names = sorted(
        {str(s) for e in limit.statistics.values() for s in _class_coefficients(e, per_class)},
        key=list(per_class).index,
    )

    for_rates = {s for name in rate_names for s in _dependencies(per_class[name])}

    def coefficients(names: Iterable[str]) -> Function:
        return _coefficient_function(limit, {name: per_class[name] for name in names}, for_rates)

    functions = {
        "rates": coefficients(rate_names),
        "statistics": coefficients(statistic_names),
        "all": coefficients(COEFFICIENTS),
        "every": coefficients(name for name in per_class if name in {*rate_names, *statistic_names, *COEFFICIENTS}),
    }
    functions |= {
        f"slopes_{name}": _coefficient_function(slopes, _slope_results(name, slopes), set())
        for name, slopes in limit.slopes.items()
    }
    leaves = {s for f in functions.values() for s in _free(f.statements, f.results)}
    score = tuple(d.symbol for d in limit.summary if d.symbol in leaves and (d.symbol in class_level or d.symbol == n))
    from_parameters = set(limit.parameters)
    unknown = {str(s) for s in leaves if s not in score and s != y and str(s) not in from_parameters}
    assert not unknown, f"coefficients need {sorted(unknown)}, which nothing defines"

    class_constants = tuple(d for d in limit.summary if d.symbol in constants and d.symbol in class_level)
    global_constants = tuple(d for d in limit.summary if d.symbol in constants and d.symbol not in class_level)
    of_class = [s for s in score if s in class_level and s not in constants]
    needed_constants = _closure(of_class, known) | set(score)
    return Kernel(
        about=_about(limit),
        parameters=limit.parameters,
        statistics=tuple(limit.statistics),
        coefficients=COEFFICIENTS,
        schedule_parameters=schedule.parameters if schedule else (),
        global_constants=_plain(global_constants),
        class_constants=_plain(d for d in class_constants if d.symbol in needed_constants),
        score=score,
        summarise=Function(
            tuple(_sequence([known[s] for s in _ordered(of_class, known) if s not in constants and s in class_level])),
            tuple(Let(s, s) for s in score),
        ),
        rate_coefficients=functions["rates"],
        statistic_coefficients=functions["statistics"],
        all_coefficients=functions["all"],
        every_coefficient=functions["every"],
        rates=_rates(rate_sums, rate_names, known),
        statistics_function=_statistics(limit, statistic_names, known, constants),
        gradient=_scalars(
            [Let(d.symbol, d.expression) for d in limit.gradient.definitions],
            {"d_r": limit.gradient.d_r, "d_n": limit.gradient.d_n},
        ),
        label=_scalars([], {"y": limit.label}),
        ridge=_scalars([], {"tau": symbols.tau}),
        learning_rate=_scalars([], {"gamma": to_sympy(schedule.text, "schedule")} if schedule else {}),
        descents=tuple(
            (name, _descent(descent, statistic_names, known, constants)) for name, descent in limit.descents.items()
        ),
        slope_coefficients=tuple((f"slopes_{name}", functions[f"slopes_{name}"]) for name in limit.slopes),
        judged=tuple(limit.statistics).index("learning_rate"),
        positive=tuple(str(a.lhs) for a in limit.assumptions),
        resolution=_resolution(limit),
    )


def _resolution(limit: Limit) -> float:
    """Rounding of ``B + D``, which vanishes at a noiseless teacher: nothing, of closed forms, of quadratures."""
    if not limit.model.has_teacher or limit.sum_BD == 0:
        return 0.0
    integrals = {e.symbol for q in limit.quadratures for e in q.integrands}
    return 2e-14 if integrals & limit.sum_BD.free_symbols else 2.0**-52


def _with_own_names(limit: Limit) -> Limit:
    """The user's expectations by the names in the statistics: in a kernel, ``double`` would be something else."""
    return replace(limit, expectations={own_name(name): e for name, e in limit.expectations.items()})


def _around_teacher(limit: Limit) -> Limit:
    """``x − X*`` as the ``e`` that the integrator carries, which ``x`` knows to its own last digit only."""
    exact = {x - x_star: symbols.e, x - symbols.beta * x_star: symbols.e - symbols.beta1 * x_star}
    return replace(
        limit,
        summary=tuple(Definition(d.symbol, d.expression.xreplace(exact)) for d in limit.summary),
        statistics={name: e.xreplace(exact) for name, e in limit.statistics.items()},
    )


# --- which symbol depends on what -----------------------------------------------------------------------------------


def _dependencies(expression: sp.Expr) -> set[sp.Symbol]:
    return {s for s in expression.free_symbols if isinstance(s, sp.Symbol)}


def _closure(roots: Iterable[sp.Symbol], known: dict[sp.Symbol, Definition]) -> set[sp.Symbol]:
    found: set[sp.Symbol] = set()
    pending = [s for s in roots if s in known]
    while pending:
        symbol = pending.pop()
        if symbol not in found:
            found.add(symbol)
            pending += [s for s in _dependencies(known[symbol].expression) if s in known]
    return found


def _ordered(roots: Iterable[sp.Symbol], known: dict[sp.Symbol, Definition]) -> list[sp.Symbol]:
    closure = _closure(roots, known)
    return [symbol for symbol in known if symbol in closure]


def _has_class(definition: Definition, known: dict[sp.Symbol, Definition]) -> bool:
    return any(known[s].expression.has(lam, mu) for s in _closure([definition.symbol], known))


def _constants(summary: Sequence[Definition]) -> set[sp.Symbol]:
    """Symbols that depend on the instance alone."""
    known = {d.symbol: d for d in summary}
    return {s for s in known if not any(known[e].expression.has(*_STATE) for e in _closure([s], known))}


def _class_coefficients(expression: sp.Expr, per_class: dict[str, sp.Expr]) -> set[sp.Symbol]:
    """Names of the class coefficients ``A[i], …`` in an expression."""
    return {
        sp.Symbol(str(e.base)) for e in expression.atoms(sp.Indexed) if e.indices == (i,) and str(e.base) in per_class
    }


def _zero_coefficients(per_class: dict[str, sp.Expr]) -> dict[sp.Expr, sp.Expr]:
    return {sp.IndexedBase(name)[i]: sp.S.Zero for name, e in per_class.items() if e == 0}


def _with_inverse_norm(expression: sp.Expr) -> sp.Expr:
    """``1/n`` as the guarded symbol: ``F x/n := 0`` at ``n = 0``."""
    return expression.subs(1 / n, INVERSE_NORM)


def _free(statements: Iterable[Statement], results: Iterable[Let] = ()) -> set[sp.Symbol]:
    """Symbols that statements and results use and do not define themselves."""
    defined: set[sp.Symbol] = set()
    used: set[sp.Symbol] = set()

    def use(*expressions: sp.Expr) -> None:
        for expression in expressions:
            used.update(_dependencies(expression) - defined)

    for statement in statements:
        if isinstance(statement, Let):
            use(statement.expression)
            defined.add(statement.symbol)
        elif isinstance(statement, Tails):
            use(statement.argument)
            defined.update(symbol for _, symbol in statement.moments)
        elif isinstance(statement, Integrate):
            used |= _free_of_integral(statement) - defined
            defined.update(let.symbol for let in statement.integrals)
    use(*(result.expression for result in results))
    return used


def _free_of_integral(loop: Integrate) -> set[sp.Symbol]:
    ends = (e for pair in (*loop.poles, *loop.steps) for e in pair)
    shape = [Let(sp.Symbol("of_shape"), e) for e in (*loop.breakpoints, *loop.branches, *loop.tilts, *ends)]
    found = _free(loop.shared, shape)
    for roots in loop.roots:
        at_root = [Let(sp.Symbol("at_root"), e) for e in (roots.argument, roots.slope, roots.width)]
        found |= _free(roots.lets, at_root) | _free(roots.mass_statements, roots.masses)
    found |= _free((*loop.fixed, *loop.statements), loop.integrals)
    if loop.jumps:
        sides = {symbol for names in loop.jumps.switches for symbol in names}
        switches = [Let(symbol, symbol) for symbol, _, _ in loop.jumps.switches]
        found |= _free(loop.jumps.lets, switches) | (_free(loop.jumps.statements, loop.jumps.masses) - sides)
    return found - {loop.variable}


# --- pieces ---------------------------------------------------------------------------------------------------------


def _sequence(definitions: Sequence[Definition]) -> list[Statement]:
    """Lets and passes over the modes, in dependency order; sums that are known together share a pass."""
    waiting = {d.symbol: d.expression for d in definitions}
    sums: list[Let] = []
    for symbol, expression in list(waiting.items()):
        for k, total in enumerate(sorted(expression.atoms(sp.Sum), key=sp.default_sort_key)):
            name = symbol if expression == total else sp.Symbol(f"sum_{symbol}" + (f"_{k}" if k else ""), real=True)
            sums.append(Let(name, total.args[0]))
            waiting[symbol] = waiting[symbol].xreplace({total: name})
        if waiting[symbol] == symbol:
            del waiting[symbol]
    statements: list[Statement] = []

    def ready(expression: sp.Expr) -> bool:
        return not (_dependencies(expression) & (set(waiting) | {s.symbol for s in sums}))

    while waiting or sums:
        group = [s for s in sums if ready(s.expression)]
        # a definition that is ready goes first, so that as many sums as possible share the next pass
        lets = [s for s in waiting if ready(waiting[s])]
        if lets:
            statements += [Let(s, waiting.pop(s)) for s in lets]
        elif group:
            statements.append(Reduce(tuple(group)))
            sums = [s for s in sums if s not in group]
        else:
            raise AssertionError(f"circular definitions: {sorted(map(str, waiting))}")
    return statements


def _plain(definitions: Iterable[Definition]) -> Function:
    chosen = list(definitions)
    return Function(tuple(_sequence(chosen)), tuple(Let(d.symbol, d.symbol) for d in chosen))


def _scalars(lets: Sequence[Let], results: dict[str, sp.Expr], prefix: str = "c") -> Function:
    """Named results from scalars, with common subexpressions taken out."""
    names = (sp.Symbol(f"{prefix}{k}", real=True) for k in count(1))
    taken = {str(s) for e in (*results.values(), *(let.expression for let in lets)) for s in _dependencies(e)}
    shared, reduced = sp.cse(
        [fold(e) for e in results.values()],
        symbols=(s for s in names if str(s) not in taken),
        order="canonical",
    )
    statements = [*lets, *(Let(s, e) for s, e in shared)]
    return Function(tuple(statements), tuple(Let(sp.Symbol(k), e) for k, e in zip(results, reduced, strict=True)))


def _coefficient_function(limit: Limit, results: dict[str, sp.Expr], for_rates: set[sp.Symbol]) -> Function:
    """Definitions, integrals and closed forms of some coefficients of one class."""
    wanted = {s for e in results.values() for s in _dependencies(e)}
    parts = [(q, part) for q in limit.quadratures for part in _loops(q, wanted, for_rates)]
    integrals = [loop for q, part in parts if (loop := _integrate(q, part)) is not None]
    tails, without_tails = _take_tails(results)
    closed = _scalars([], without_tails)
    rest = (*tails, *integrals, *closed.statements)
    lets = _needed(limit.definitions, _free(rest, closed.results))
    return Function((*lets, *rest), closed.results)


def _loops(quadrature: Quadrature, wanted: set[sp.Symbol], for_rates: set[sp.Symbol]) -> list[set[sp.Symbol]]:
    """The integrals that are wanted, by loop: what asks for more panels than those of the rates has one of its own."""
    chosen = {e.symbol: _asked(quadrature, e) for e in quadrature.integrands if e.symbol in wanted}
    known = set().union(*(asked for symbol, asked in chosen.items() if symbol in for_rates))
    apart = {symbol for symbol, asked in chosen.items() if not asked <= known}
    return [part for part in (set(chosen) - apart, apart) if part] if for_rates & set(chosen) else [set(chosen)]


def _asked(quadrature: Quadrature, integrand: Integrand) -> set[Layer | Crossing]:
    """Layers and crossings that a rule for an integrand must resolve, those of its inner integrals included."""
    inside = integrand.expression.free_symbols
    inner = (_asked(q, e) for q in quadrature.inner for e in q.integrands if e.symbol in inside)
    return set(integrand.layers) | set(integrand.crossings) | set().union(*inner)


def _needed(definitions: Sequence[Definition], wanted: set[sp.Symbol]) -> list[Let]:
    """The definitions that are wanted, and those behind them, in their order."""
    known = {d.symbol: d for d in definitions}
    return [Let(s, known[s].expression) for s in _ordered(wanted & set(known), known)]


def _take_tails(results: dict[str, sp.Expr], level: str = "") -> tuple[list[Tails], dict[str, sp.Expr]]:
    """Tail moments as symbols, those at one place together."""
    atoms = sorted(
        {e for r in results.values() for e in r.atoms(TailMoment, ScaledTailMoment)}, key=sp.default_sort_key
    )
    places = list(dict.fromkeys((e.func, e.args[1]) for e in atoms))
    names = {}
    for e in atoms:
        letter = "M" if isinstance(e, TailMoment) else "W"
        names[e] = sp.Symbol(f"{letter}{e.args[0]}_{places.index((e.func, e.args[1])) + 1}{level}", nonnegative=True)
    tails = [
        Tails(
            place,
            tuple((int(e.args[0]), names[e]) for e in atoms if (e.func, e.args[1]) == (kind, place)),
            scaled=kind is ScaledTailMoment,
        )
        for kind, place in places
    ]
    return tails, {name: r.xreplace(names) for name, r in results.items()}


def _integrate(quadrature: Quadrature, wanted: set[sp.Symbol], level: str = "") -> Integrate | None:
    """The loop for the integrals that are wanted, with what they need at every node and no more."""
    chosen = [e for e in quadrature.integrands if e.symbol in wanted]
    if not chosen:
        return None
    layers = dict.fromkeys(layer for e in chosen for layer in e.layers)
    fixed, statements, integrals = _hoisted(
        *_at_nodes(quadrature, {e.symbol: e.expression for e in chosen}, level), quadrature.variable, f"f{level}"
    )
    crossings = dict.fromkeys(c for e in chosen for c in e.crossings) | dict.fromkeys(
        mass.crossing for e in chosen for mass in e.masses
    )
    kinks = {f"kink{k}": e for k, e in enumerate(quadrature.breakpoints)}
    places = {f"place{k}": e.location for k, e in enumerate(layers)}
    widths = {f"width{k}": e.width for k, e in enumerate(layers)}
    branches = {f"branch{k}": e for k, e in enumerate(quadrature.branches)}
    shape = _scalars([], {**kinks, **places, **widths, **branches}, prefix=f"h{level}")
    of_shape = {str(e.symbol): e.expression for e in shape.results}
    pairs = {e: (of_shape[place], of_shape[width]) for e, place, width in zip(layers, places, widths, strict=True)}
    return Integrate(
        variable=quadrature.variable,
        breakpoints=tuple(of_shape[name] for name in kinks),
        poles=tuple(pairs[e] for e in layers if e.kind == "pole"),
        steps=tuple(pairs[e] for e in layers if e.kind == "erf"),
        shared=tuple(e for e in shape.statements if isinstance(e, Let)),
        fixed=fixed,
        statements=statements,
        integrals=integrals,
        tilts=quadrature.tilts,
        roots=tuple(
            _find_roots(quadrature, crossing, [(e.symbol, m) for e in chosen for m in e.masses], level)
            for crossing in crossings
        ),
        stepwise=quadrature.stepwise,
        jumps=_panel_jumps(quadrature, {e.symbol: e.jump for e in chosen if e.jump}, level),
        branches=tuple(of_shape[name] for name in branches),
    )


def _hoisted(
    statements: Sequence[Statement], integrals: Sequence[Let], variable: sp.Symbol, prefix: str
) -> tuple[tuple[Let, ...], tuple[Statement, ...], tuple[Let, ...]]:
    """What is the same at every node, before the nodes: definitions, and calls inside larger expressions."""
    varying = {variable}
    fixed: dict[sp.Expr, sp.Symbol] = {}
    before_nodes: list[Let] = []

    def is_fixed(e: sp.Expr) -> bool:
        return bool(e.free_symbols) and not e.free_symbols & varying

    def taken(e: sp.Expr) -> sp.Expr:
        if e.is_Atom or not e.has(sp.Function):
            return e
        if is_fixed(e):
            if e not in fixed:
                fixed[e] = sp.Symbol(f"{prefix}{len(fixed) + 1}", real=True)
                before_nodes.append(Let(fixed[e], e))
            return fixed[e]
        if e.is_Add or e.is_Mul:
            own = [a for a in e.args if is_fixed(a)]
            rest = [taken(a) for a in e.args if not is_fixed(a)]
            return e.func(taken(e.func(*own)), *rest)
        return e.func(*map(taken, e.args))

    kept: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Let) and is_fixed(statement.expression):
            before_nodes.append(statement)
            continue
        varying |= _defined(statement)
        if isinstance(statement, Let):
            statement = replace(statement, expression=taken(statement.expression))
        elif isinstance(statement, Tails):
            statement = replace(statement, argument=taken(statement.argument))
        kept.append(statement)
    sums = tuple(replace(let, expression=taken(let.expression)) for let in integrals)
    return tuple(before_nodes), tuple(kept), sums


def _panel_jumps(quadrature: Quadrature, chosen: dict[sp.Symbol, PanelJump], level: str) -> PanelJumps | None:
    if not chosen:
        return None
    switches = tuple(dict.fromkeys(symbol for jump in chosen.values() for symbol in jump.switches))
    statements, masses = _at_nodes(quadrature, {symbol: jump.weight for symbol, jump in chosen.items()}, level)
    return PanelJumps(
        switches=tuple((symbol, before(symbol), after(symbol)) for symbol in switches),
        lets=tuple(_needed(quadrature.definitions, set(switches))),
        statements=statements,
        masses=masses,
    )


def _at_nodes(
    quadrature: Quadrature, results: dict[sp.Symbol, sp.Expr], level: str
) -> tuple[tuple[Statement, ...], tuple[Let, ...]]:
    """What some expressions need at a node of a quadrature, and the expressions after that."""
    wanted = {s for e in results.values() for s in _dependencies(e)}
    inner = [loop for q in quadrature.inner if (loop := _integrate(q, wanted, level + "i")) is not None]
    tails, without_tails = _take_tails({str(s): e for s, e in results.items()}, level + "n")
    closed = tuple(Let(symbol, e) for symbol, e in zip(results, without_tails.values(), strict=True))
    lets = _needed(quadrature.definitions, _free((*tails, *inner), closed))
    parts, reduced = share(
        [*(let.expression for let in lets), *(t.argument for t in tails), *without_tails.values()],
        (sp.Symbol(f"g{level}{k}", real=True) for k in count(1)),
    )
    rest = iter(reduced)
    lets = [replace(let, expression=next(rest)) for let in lets]
    tails = [replace(t, argument=next(rest)) for t in tails]
    integrals = tuple(Let(symbol, e) for symbol, e in zip(results, rest, strict=True))
    inner = [replace(loop, parts=_parts(loop, parts, integrals)) for loop in inner]
    # inner integrals last: what they are multiplied by is known before them
    return tuple(_in_order([*lets, *tails, *(Let(symbol, e) for symbol, e in parts), *inner])), integrals


def _parts(loop: Integrate, shared: Sequence[tuple[sp.Symbol, sp.Expr]], integrals: Sequence[Let]) -> tuple[Part, ...]:
    """How inner integrals enter the outer ones; none where one of them does not enter linearly."""
    inner = [let.symbol for let in loop.integrals]
    found = []
    for outer in integrals:
        whole = outer.expression
        for symbol, e in reversed(shared):
            if whole.has(symbol) and e.has(*inner):
                whole = whole.subs(symbol, e)
        for symbol in inner:
            factor = whole.diff(symbol)
            if factor.has(*inner):
                return ()
            if factor != 0:
                found.append(Part(symbol, outer.symbol, factor))
    return tuple(found)


def _in_order(statements: Sequence[Statement]) -> list[Statement]:
    """As given, but each after those that define what it uses."""
    source = {symbol: k for k, statement in enumerate(statements) for symbol in _defined(statement)}
    needs = [{source[symbol] for symbol in _free([s]) if symbol in source} for s in statements]
    used_by: list[list[int]] = [[] for _ in statements]
    for k, wanted in enumerate(needs):
        for other in wanted:
            used_by[other].append(k)
    ready = [k for k, wanted in enumerate(needs) if not wanted]
    ordered = []
    while ready:
        k = heappop(ready)
        ordered.append(statements[k])
        for other in used_by[k]:
            needs[other].remove(k)
            if not needs[other]:
                heappush(ready, other)
    return ordered


def _defined(statement: Statement) -> set[sp.Symbol]:
    if isinstance(statement, Let):
        return {statement.symbol}
    if isinstance(statement, Tails):
        return {symbol for _, symbol in statement.moments}
    assert isinstance(statement, Integrate)
    return {let.symbol for let in statement.integrals}


def _find_roots(
    quadrature: Quadrature, crossing: Crossing, masses: list[tuple[sp.Symbol, PointMass]], level: str
) -> FindRoots:
    shape = {s for e in (crossing.argument, crossing.slope, crossing.width) for s in _dependencies(e)}
    own = {symbol: mass.weight for symbol, mass in masses if mass.crossing == crossing}
    statements, weights = _at_nodes(quadrature, own, level) if own else ((), ())
    return FindRoots(
        lets=tuple(_needed(quadrature.definitions, shape)),
        argument=fold(crossing.argument),
        slope=fold(crossing.slope),
        width=fold(crossing.width),
        kind=crossing.kind,
        mass_statements=statements,
        masses=weights,
    )


@dataclass(frozen=True)
class _Parts:
    """``outer · Σ_i p_i (Σ_k weight_k · monomial_k) + rest``, monomials in the arrays over modes."""

    outer: sp.Expr
    terms: tuple[tuple[sp.Expr, sp.Expr], ...]
    rest: sp.Expr

    def every(self) -> list[sp.Expr]:
        return [self.rest, *(weight for weight, _ in self.terms)]


def _split(expression: sp.Expr) -> _Parts:
    outer, inner, rest = sp.S.One, sp.S.Zero, sp.S.Zero
    for term in sp.Add.make_args(expression):
        over_classes = [s for s in term.atoms(sp.Sum) if s.has(lam) or s.has(mu)]
        if over_classes:
            (total,) = over_classes
            outer, inner = term / total, sp.expand(total.args[0])
        else:
            rest += term
    collected: dict[sp.Expr, sp.Expr] = {}
    for product in sp.Add.make_args(inner):
        if product != 0:
            weight, monomial = product.as_independent(*MODE_ARRAYS, as_Add=False)
            collected[monomial] = collected.get(monomial, sp.S.Zero) + weight
    ordered = sorted(collected.items(), key=lambda item: sp.default_sort_key(item[0]))
    return _Parts(outer, tuple((weight, monomial) for monomial, weight in ordered), rest)


def _local(expression: sp.Expr) -> sp.Expr:
    """Class quantities ``A[i], p[i]`` as the scalars that a loop over classes has in hand."""
    return expression.xreplace(
        {
            e: PROBABILITY if e == p else sp.Symbol(str(e.base))
            for e in expression.atoms(sp.Indexed)
            if e.indices == (i,)
        }
    )


def _totals(expressions: Iterable[sp.Expr]) -> dict[sp.Sum, sp.Symbol]:
    """Class averages ``Σ_i p_i (·)_i``, each with the name of its scalar."""
    sums = sorted({s for e in expressions for s in e.atoms(sp.Sum) if s.variables == [i]}, key=sp.default_sort_key)
    names: dict[sp.Sum, sp.Symbol] = {}
    for total in sums:
        bases = sorted(str(e.base) for e in total.atoms(sp.Indexed) if e != p and e.indices == (i,))
        names[total] = sp.Symbol("mean_" + "_".join(bases), real=True)
    return names


def _rates(sums: dict[str, _Parts], names: Sequence[str], known: dict[sp.Symbol, Definition]) -> Function:
    totals = _totals(e for parts in sums.values() for e in parts.every())
    body: list[Statement] = [Call("rate_coefficients", tuple(sp.Symbol(name) for name in names))]
    accumulated = []
    weights = 0
    for array, parts in sums.items():
        value = sp.S.Zero
        for weight, monomial in parts.terms:
            weights += 1
            scalar = sp.Symbol(f"w{weights}", real=True)
            body.append(Let(scalar, _local(weight)))
            value += scalar * monomial * parts.outer
        if value != 0:
            accumulated.append((array, value))
    body.append(Accumulate(tuple(accumulated)))
    loop = ForClasses(tuple(body), tuple(Let(s, _local(t.args[0])) for t, s in totals.items()))
    finish: list[tuple[str, sp.Expr]] = []
    scalars: list[Let] = []
    for array, parts in sums.items():
        own = sp.IndexedBase(array)[symbols.j]
        value = own if parts.terms else sp.S.Zero
        for term in sp.Add.make_args(parts.rest.xreplace(totals)):
            scalar, monomial = term.as_independent(*MODE_ARRAYS, as_Add=False)
            if scalar == 0:
                continue
            name = next((let.symbol for let in scalars if let.expression == scalar), None)
            if name is None:
                name = sp.Symbol(f"s{len(scalars) + 1}", real=True)
                scalars.append(Let(name, scalar))
            value += name * monomial
        if value != own:
            finish.append((array, value))
    leading = _sequence([known[s] for s in _ordered([n, INVERSE_NORM], known)])
    return Function((*leading, loop, *scalars, Map(tuple(finish))))


def _statistics(
    limit: Limit, names: Sequence[str], known: dict[sp.Symbol, Definition], constants: set[sp.Symbol]
) -> Function:
    totals = _totals(limit.statistics.values())
    expressions = {name: e.xreplace(totals) for name, e in limit.statistics.items()}
    sums: dict[sp.Sum, sp.Symbol] = {}
    for name, e in expressions.items():
        for total in sorted(e.atoms(sp.Sum), key=sp.default_sort_key):
            if total not in sums:
                sums[total] = sp.Symbol(f"sum_{name}", real=True)
    expressions = {name: e.xreplace(sums) for name, e in expressions.items()}
    used = {s for e in expressions.values() for s in _dependencies(e)} | {n}
    leading = [known[s] for s in _ordered(used & set(known), known) if s not in constants]
    extra = [Definition(symbol, total) for total, symbol in sums.items()]
    loop = ForClasses(
        (Call("statistic_coefficients", tuple(sp.Symbol(name) for name in names)),),
        tuple(Let(s, _local(t.args[0])) for t, s in totals.items()),
    )
    results = tuple(Let(sp.Symbol(name), e) for name, e in expressions.items())
    return Function((*_sequence([*leading, *extra]), loop), results)


def _slope_results(name: str, slopes: Limit) -> dict[str, sp.Expr]:
    """Coefficients of an expectation, under names of its own."""
    own = {"A": slopes.coefficients["A"], "B": slopes.coefficients["B"], "BD": slopes.sum_BD}
    return {f"{letter}_{name}": e for letter, e in own.items()}


def _descent(
    descent: Descent, names: Sequence[str], known: dict[sp.Symbol, Definition], constants: set[sp.Symbol]
) -> Function:
    """``first`` and ``second`` of a statistic: its weights, the slopes through its expectations, two sums."""
    totals = _totals(d.expression for d in descent.weights)
    over_modes = sorted(
        {s for d in descent.weights for s in d.expression.atoms(sp.Sum)} - set(totals), key=sp.default_sort_key
    )
    sums = {total: sp.Symbol(f"sum{k}", real=True) for k, total in enumerate(over_modes, 1)}
    weights = [Let(d.symbol, d.expression.xreplace(totals).xreplace(sums)) for d in descent.weights]
    loops: list[Statement] = []
    if totals:
        call = Call("statistic_coefficients", tuple(sp.Symbol(name) for name in names))
        loops.append(ForClasses((call,), tuple(Let(s, _local(t.args[0])) for t, s in totals.items())))
    loops += weights
    if descent.averages:
        loops.append(Map((("of_x", sp.S.Zero), ("of_v", sp.S.Zero))))
    loops += [ForClasses(_slopes_of_class(name, weight), ()) for name, weight in descent.averages]
    result = [Let(sp.Symbol("first", real=True), descent.first), Let(sp.Symbol("second", real=True), descent.second)]
    needs = [d.expression for d in (*weights, *result)]
    used = {s for e in needs for s in _dependencies(e)} | ({n} if totals or descent.averages else set())
    leading = [known[s] for s in _ordered(used & set(known), known) if s not in constants]
    return Function(
        (
            *_sequence([*leading, *(Definition(symbol, total) for total, symbol in sums.items())]),
            *loops,
            *_sequence([Definition(let.symbol, let.expression) for let in result]),
        ),
        tuple(Let(let.symbol, let.symbol) for let in result),
    )


def _slopes_of_class(name: str, weight: sp.Expr) -> tuple[Statement, ...]:
    """What an expectation of one class adds to the slopes of a statistic, by Price's theorem."""
    A, B, BD = (sp.Symbol(f"{letter}_{name}", real=True) for letter in ("A", "B", "BD"))
    share = sp.Symbol(f"share_{name}", real=True)
    slopes = (
        ("of_x", share * (A * mu + lam * (B * symbols.e + BD * x_star))),
        ("of_v", share * B / 2 * lam),
    )
    return (Call(f"slopes_{name}", (A, B, BD)), Let(share, weight * PROBABILITY), Accumulate(slopes))


def _about(limit: Limit) -> tuple[str, ...]:
    model = limit.model
    return (
        f"loss       {model.loss.text}",
        f"target     {model.target!r}",
        f"adversary  {'l2 ball of radius epsilon' if model.adversary else 'none'}",
    )


__all__ = ["lower"]
