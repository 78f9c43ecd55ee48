"""C11 from a kernel: one short method a node.

An emitted file stands alone: the loss-free library (problem, random numbers, quadrature, integrator, simulation), what is
particular to the model, and the functions that a caller sees. Of all this a file holds what its parts need and no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from importlib import resources

import sympy as sp

from sgdlimit.codegen import FORMAT
from sgdlimit.codegen.excerpt import called, excerpts, function_names
from sgdlimit.codegen.expressions import CExpressions, UnknownNodeError
from sgdlimit.codegen.language import (
    DESCENTS,
    Accumulate,
    Call,
    FindRoots,
    ForClasses,
    Function,
    Integrate,
    Kernel,
    Let,
    Map,
    Part,
    Reduce,
    Statement,
    Tails,
)
from sgdlimit.derive import symbols
from sgdlimit.derive.symbols import Parameter, e_optimum, epsilon, tau


def parameter_name(name: str) -> str:
    """A parameter as an identifier. The prefix is used by nothing else, so that any name is free to be a parameter's."""
    return f"p_{name}"


def scalar_name(symbol: sp.Symbol) -> str:
    """Text of a scalar."""
    named = isinstance(symbol, Parameter) or symbol in (epsilon, tau)
    return parameter_name(symbol.name) if named else str(symbol.name)


def mode_element(e: sp.Expr) -> str:
    """Text of an array's element in a loop over modes."""
    if not isinstance(e, sp.Indexed):
        return scalar_name(e)
    return "(e[j] + (x_star[j] - x_optimum[j]))" if e == e_optimum else f"{e.base}[j]"


# What the model's functions may call, in this order.
_LIBRARIES = (
    "elementary.h",
    "quadrature.h",
    "branch.h",
    "outwards.h",
    "tilt.h",
    "roots.h",
    "panel_roots.h",
    "tails.h",
    "unscaled_tails.h",
    "bivariate.h",
)

# By part: what its file is, and the functions that a caller calls, in the order of the library.
_EXPORTS = {
    "equations": ("the coefficients and the right-hand side", ("coefficients", "rhs", "constants_count")),
    "limit": ("the mode equations and their solver", ("solve",)),
    "sgd": ("streaming SGD in every coordinate", ("simulate",)),
    "lumps": ("streaming SGD in lumps of equal eigenvalues", ("simulate_lumped",)),
    "diffusion": ("homogenised SGD", ("diffuse",)),
}

_HEADING = re.compile(r"^/\* ---- (.*?)(?: -+)?(?: \*/)?$", re.MULTILINE)

# Told by every file.
_NAMES = ("parameter", "schedule", "descent", "statistic", "coefficient", "score", "positive")

# as SGDLIMIT_MOST_ROOTS of roots.h
_MOST_ROOTS = 8

_ARRAYS = {
    "x_star": "const double *x_star = p->teacher;",
    "omega": "const double *omega = p->weights;",
    "x_optimum": "const double *x_optimum = p->reference;",
    "lam": "const double *lam = p->eigenvalues + i * p->modes;",
    "mu": "const double *mu = p->means + i * p->modes;",
}


class CEmitter:
    """Writes the functions of one kernel.

    Parameters
    ----------
    kernel : Kernel
    written : dict of Expr to str, optional
        Texts of expressions, which the emitters of a kernel's files may share.
    """

    def __init__(self, kernel: Kernel, written: dict[sp.Expr, str] | None = None) -> None:
        self.kernel = kernel
        self.written = {} if written is None else written
        self.root_functions: dict[tuple[str, ...], str] = {}
        self.modes = "p->modes"  # how many a loop is over
        self.wanted: dict[str, tuple[str, ...]] = {}  # by integral: results of an inlined function that ask for it

    # -- expressions

    def text(self, expression: sp.Expr) -> str:
        if expression not in self.written:
            self.written[expression] = CExpressions(mode_element)(expression)
        return self.written[expression]

    # -- statements

    def statement(self, node: Statement) -> list[str]:
        methods: dict[type, Callable[..., list[str]]] = {
            Let: self.let,
            Reduce: self.reduce,
            Integrate: self.integrate,
            Tails: self.tails,
            Call: self.call,
            Accumulate: self.accumulate,
            ForClasses: self.for_classes,
            Map: self.map,
        }
        if type(node) not in methods:
            raise UnknownNodeError(type(node).__name__)
        return methods[type(node)](node)

    def statements(self, nodes: Iterable[Statement]) -> list[str]:
        return [line for node in nodes for line in self.statement(node)]

    def let(self, node: Let) -> list[str]:
        return [f"const double {scalar_name(node.symbol)} = {self.text(node.expression)};"]

    def reduce(self, node: Reduce) -> list[str]:
        names = [scalar_name(s.symbol) for s in node.sums]
        return [
            f"double {', '.join(f'{name} = 0' for name in names)};",
            f"#pragma omp simd reduction(+ : {', '.join(names)})",
            "for (int64_t j = 0; j < p->modes; j++) {",
            *(f"  {name} += {self.text(s.expression)};" for name, s in zip(names, node.sums, strict=True)),
            "}",
        ]

    def integrate(self, node: Integrate) -> list[str]:
        names = [scalar_name(e.symbol) for e in node.integrals]
        # the others are point masses alone
        summed = [e for e in node.integrals if e.expression != 0]
        return [
            f"double {', '.join(f'{name} = 0' for name in names)};",
            f"{self._if_wanted(names)}{{",
            *_indent(self.statements(node.shared)),
            *_indent(self._shape(node)),
            *_indent(self._jumps(node)),
            *(self._loop(node, summed) if summed else []),
            "}",
        ]

    def _loop(self, node: Integrate, summed: list[Let]) -> list[str]:
        """Over the panels from the middle outwards, and over the nodes of each."""
        names = [scalar_name(e.symbol) for e in summed]
        nested = any(isinstance(s, Integrate) and s.parts for s in node.statements)
        outside = {
            name: [scalar_name(part.outer) for part in node.parts if scalar_name(part.inner) == name] or [name]
            for name in names
        }
        body = [
            f"const double {node.variable} = nodes[k];",
            *(["const double weight = weights[k];"] if nested else []),
            *self.statements(node.statements),
            *(
                f"of_{name}[k] = weights[k] * ({self.text(e.expression)});"
                for name, e in zip(names, summed, strict=True)
            ),
        ]
        side_by_side = called("\n".join(body)) <= _side_by_side()
        return [
            *_indent(self.statements(node.fixed)),
            f"  double {', '.join(f'total_{name} = 0' for name in names)}, below, above;",
            "  const int middle = sgdlimit_middle(&shape, edges, panels, &below, &above);",
            "  for (int q = middle, enough; q >= 0; q = sgdlimit_next(q, middle, panels, enough)) {",
            "    double nodes[SGDLIMIT_POINTS], weights[SGDLIMIT_POINTS];",
            f"    double {', '.join(f'of_{name}[SGDLIMIT_POINTS]' for name in names)};",
            f"    {self._nodes(node)}",
            *(["    #pragma omp simd"] if side_by_side else []),
            "    for (int k = 0; k < SGDLIMIT_POINTS; k++) {",
            *_indent(body, 3),
            "    }",
            *(
                f"    {self._if_wanted(outside[name])}sgdlimit_add(of_{name}, &{name}, &total_{name});"
                for name in names
            ),
            "    const double longest = SGDLIMIT_LONGEST_PANEL / (edges[q + 1] - edges[q]);",
            "    enough = sgdlimit_is_beyond(q, middle, edges, below, above);",
            *(f"    enough = enough && {test};" for name in names for test in self._negligible(name, node.parts)),
            "  }",
        ]

    def _nodes(self, node: Integrate) -> str:
        if not node.branches:
            return "sgdlimit_nodes(edges[q], edges[q + 1], nodes, weights);"
        return f"sgdlimit_branch_nodes(edges[q], edges[q + 1], branch, {len(node.branches)}, nodes, weights);"

    def _asked_by(self, names: Sequence[str]) -> str:
        """When one of some integrals is asked for; empty: always. Known where the function is inlined, not at run time."""
        if any(name not in self.wanted for name in names):
            return ""
        return " || ".join(dict.fromkeys(result for name in names for result in self.wanted[name]))

    def _if_wanted(self, names: Sequence[str]) -> str:
        asked = self._asked_by(names)
        return f"if ({asked}) " if asked else ""

    def _negligible(self, name: str, parts: Sequence[Part]) -> list[str]:
        """Conditions under which an integral's last term is nothing: beside its own size, or beside those it is part of."""
        last = f"longest * sgdlimit_outermost(of_{name}, q >= middle) <= SGDLIMIT_NEGLIGIBLE *"
        own = [part for part in parts if scalar_name(part.inner) == name]
        if not own:
            return [self._unless_unwanted(name, f"{last} total_{name}")]
        found = []
        for part in own:
            outer, factor = scalar_name(part.outer), self.text(part.factor)
            share = "weight" if part.factor == 1 else f"weight * fabs({factor})"
            found.append(self._unless_unwanted(outer, f"{share} * {last} (total_{outer} + {share} * total_{name})"))
        return found

    def _unless_unwanted(self, name: str, condition: str) -> str:
        asked = self._asked_by([name])
        return f"(!({asked}) || {condition})" if asked else condition

    def _shape(self, node: Integrate) -> list[str]:
        """Panels cut where formulas say; where roots are to be found, cut again with the roots found on those."""
        more = {kind: _MOST_ROOTS * sum(r.kind == kind for r in node.roots) for kind in ("kink", "pole", "erf")}
        arrays = {
            "kink": ([self.text(e) for e in (*node.breakpoints, *node.branches)], more["kink"]),
            "pole": ([self.text(e) for e, _ in node.poles], more["pole"]),
            "pole_width": ([self.text(e) for _, e in node.poles], more["pole"]),
            "step": ([self.text(e) for e, _ in node.steps], more["erf"]),
            "step_width": ([self.text(e) for _, e in node.steps], more["erf"]),
        }
        sizes = {name: len(values) + room for name, (values, room) in arrays.items()}
        lines = [line for name, (values, room) in arrays.items() for line in _array(name, values, room)]
        counts = ", ".join(str(len(arrays[name][0])) for name in ("kink", "pole", "step"))
        given = ", ".join(name if sizes[name] else "NULL" for name in arrays)
        changes = node.tilts or node.roots
        lines += [
            f"{'' if changes else 'const '}sgdlimit_shape shape = {{-SGDLIMIT_WINDOW, SGDLIMIT_WINDOW, {counts}, {given}}};",
            *(f"sgdlimit_tilt({self.text(e)}, &shape.lower, &shape.upper);" for e in node.tilts),
            *self._panels(node, f"SGDLIMIT_MAX_EDGES({sizes['kink']}, {sizes['pole']}, {sizes['step']})"),
        ]
        if node.roots:
            again = "panels = sgdlimit_panels(&shape, edges);"
            if node.stepwise:
                for index, roots in enumerate(node.roots):
                    lines += [again] if index else []
                    lines += self._find_roots(node.variable, (roots,), by_panel=True)
            else:
                # of one function they are looked for once, whatever is there
                alike: dict[tuple[object, ...], list[FindRoots]] = {}
                for roots in node.roots:
                    alike.setdefault((roots.lets, roots.argument), []).append(roots)
                for same in alike.values():
                    lines += self._find_roots(node.variable, same, by_panel=False)
            lines.append(again)
        return lines

    def _panels(self, node: Integrate, room: str) -> list[str]:
        if not node.branches:
            return [
                f"double edges[{room}];",
                f"{'' if node.roots else 'const '}int panels = sgdlimit_panels(&shape, edges);",
            ]
        count = len(node.branches)
        return [
            f"const double branch[] = {{{', '.join(self.text(e) for e in node.branches)}}};",
            f"double coarse[{room}], edges[SGDLIMIT_MAX_BRANCH_EDGES({room}, {count})];",
            f"const int panels = sgdlimit_branch_panels(coarse, sgdlimit_panels(&shape, coarse), branch, {count}, edges);",
        ]

    def _jumps(self, node: Integrate) -> list[str]:
        """Point masses at the ends of panels, told by the switches in the middle of the panels on both sides."""
        if node.jumps is None:
            return []
        names = [tuple(map(scalar_name, symbols)) for symbols in node.jumps.switches]
        at_end = [
            f"const double density = sgdlimit_normal_density({node.variable});",
            *self.statements(node.jumps.statements),
            *(f"{scalar_name(e.symbol)} += density * ({self.text(e.expression)});" for e in node.jumps.masses),
        ]
        return [
            "{",
            f"  double {', '.join(f'{left} = 0, {right} = 0' for _, left, right in names)};",
            "  for (int q = 0; q < panels; q++) {",
            "    {",
            f"      const double {node.variable} = (edges[q] + edges[q + 1]) / 2;",
            *_indent([line for let in node.jumps.lets for line in self.let(let)], 3),
            *(f"      {right} = {name};" for name, _, right in names),
            "    }",
            f"    if (q > 0 && ({' || '.join(f'{left} != {right}' for _, left, right in names)})) {{",
            f"      const double {node.variable} = edges[q];",
            *_indent(at_end, 3),
            "    }",
            *(f"    {left} = {right};" for _, left, right in names),
            "  }",
            "}",
        ]

    def _find_roots(self, variable: sp.Symbol, alike: Sequence[FindRoots], by_panel: bool) -> list[str]:
        """Sign changes of one function, and what each of those that look for them makes of one."""
        function, arguments = self._root_function(variable, alike[0])
        blocks = [self._at_root(variable, node) for node in alike]
        at_root = blocks[0] if len(blocks) == 1 else [line for b in blocks for line in ("{", *_indent(b), "}")]
        if mentions("\n".join(at_root), str(variable)):
            at_root = [f"const double {variable} = roots[q];", *at_root]
        given = ", ".join(arguments) or "0"
        search = f"sgdlimit_{'panel_' if by_panel else ''}roots({function}, context, edges, panels, roots)"
        return [
            "{",
            f"  const double context[] = {{{given}}};",
            "  double roots[SGDLIMIT_MOST_ROOTS];",
            f"  const int found = {search};",
            "  for (int q = 0; q < found; q++) {",
            *_indent(at_root, 2),
            "  }",
            "}",
        ]

    def _at_root(self, variable: sp.Symbol, node: FindRoots) -> list[str]:
        shape = [line for let in node.lets for line in self.let(let)]
        width = f"fabs(({self.text(node.width)})/({self.text(node.slope)}))"
        if node.kind == "kink":
            at_root = ["kink[shape.kinks++] = roots[q];"]
        elif node.kind == "pole":
            at_root = [*shape, "pole[shape.poles] = roots[q];", f"pole_width[shape.poles++] = {width};"]
        else:
            at_root = [*shape, "step[shape.steps] = roots[q];", f"step_width[shape.steps++] = {width};"]
        if node.masses:
            at_root += [
                f"const double density = sgdlimit_normal_density({variable});",
                *self.statements(node.mass_statements),
                *(f"{scalar_name(e.symbol)} += density * ({self.text(e.expression)});" for e in node.masses),
            ]
        return at_root

    def _root_function(self, variable: sp.Symbol, node: FindRoots) -> tuple[str, list[str]]:
        """Name of the C function whose roots are wanted (written once), and what its context holds."""
        body = [line for let in node.lets for line in self.let(let)] + [f"values[k] = {self.text(node.argument)};"]
        at = [f"const double {variable} = places[k];"] if mentions("\n".join(body), str(variable)) else []
        own = {let.symbol for let in node.lets} | {variable}
        free = {s for e in (*(let.expression for let in node.lets), node.argument) for s in e.free_symbols} - own
        given = sorted(scalar_name(s) for s in free)
        lines = [
            *(f"const double {name} = context[{index}];" for index, name in enumerate(given)),
            *([] if given else ["(void)context;"]),
            *([] if at else ["(void)places;"]),
            *(["#pragma omp simd"] if called("\n".join(body)) <= _side_by_side() else []),
            "for (int k = 0; k < count; k++) {",
            *_indent([*at, *body]),
            "}",
        ]
        name = self.root_functions.setdefault(tuple(lines), f"crossing{len(self.root_functions) + 1}")
        return name, given

    def root_function_texts(self) -> list[str]:
        """The C functions whose roots are searched."""
        return [
            "\n".join(
                [
                    f"static void {name}(int count, const double *places, const double *context, double *values) {{",
                    *_indent(lines),
                    "}",
                    "",
                ]
            )
            for lines, name in self.root_functions.items()
        ]

    def tails(self, node: Tails) -> list[str]:
        order = max(k for k, _ in node.moments)
        name, argument = node.moments[0][1].name, self.text(node.argument)
        if order <= (1 if node.scaled else 2):
            # each by itself: an array would keep a loop from being vectorised
            place, function = f"place_{name}", "scaled_tail_moment" if node.scaled else "tail_moment"
            return [
                f"const double {place} = {argument};",
                *(f"const double {symbol} = {function}{k}({place});" for k, symbol in node.moments),
            ]
        function = "sgdlimit_scaled_tail_moments" if node.scaled else "sgdlimit_tail_moments"
        return [
            f"double tails_{name}[{max(order, 1) + 1}];",
            f"{function}({argument}, {order}, tails_{name});",
            *(f"const double {symbol} = tails_{name}[{k}];" for k, symbol in node.moments),
        ]

    def call(self, node: Call) -> list[str]:
        names = [scalar_name(s) for s in node.targets]
        if not names:
            return []
        return [
            f"double {', '.join(names)};",
            f"{node.function}(&w, p->labels[i], par, p->classes, {', '.join(f'&{name}' for name in names)});",
        ]

    def accumulate(self, node: Accumulate) -> list[str]:
        return [
            "#pragma omp simd",
            f"for (int64_t j = 0; j < {self.modes}; j++) {{",
            *(f"  {array}[j] += {self.text(value)};" for array, value in node.sums),
            "}",
        ]

    def for_classes(self, node: ForClasses) -> list[str]:
        body = self.statements(node.body)
        totals = [scalar_name(t.symbol) for t in node.totals]
        sums = [f"{name} += {self.text(t.expression)};" for name, t in zip(totals, node.totals, strict=True)]
        return [
            *([f"double {', '.join(f'{name} = 0' for name in totals)};"] if totals else []),
            "for (int64_t i = 0; i < p->classes; i++) {",
            *_indent(self._class_prologue(body + sums)),
            *_indent(body),
            *_indent(sums),
            "}",
        ]

    def _class_prologue(self, body: list[str]) -> list[str]:
        text = "\n".join(body)
        lines = []
        if mentions(text, "lam"):
            lines.append(_ARRAYS["lam"])
        if mentions(text, "mu"):
            lines.append(_ARRAYS["mu"])
        if "par," in text:
            lines.append(
                f"const double *par = p->parameters + iterate * {len(self.kernel.parameters)} * p->classes + i;"
            )
        if "&w" in text:
            lines += ["score w;", "class_score(p, k, i, x, e, v, n, &w);"]
        if mentions(text, "probability"):
            lines.append("const double probability = p->probabilities[i];")
        return lines

    def map(self, node: Map) -> list[str]:
        if not node.assignments:
            return []
        return [
            "#pragma omp simd",
            f"for (int64_t j = 0; j < {self.modes}; j++) {{",
            *(f"  {array}[j] = {self.text(value)};" for array, value in node.assignments),
            "}",
        ]

    # -- functions

    def coefficient_functions(self, parts: Sequence[str]) -> list[str]:
        """What the parts want to know of a class.

        Closed forms are short and written for each; integrals are written once, where more than one function has them
        in one that is inlined in all, where the compiler drops what is not asked for. Integrals inside integrals are
        long: they are compiled once, and what is not asked for is found out at every call.
        """
        kernel = self.kernel
        wanted = {"rate_coefficients": (kernel.rate_coefficients, "What the mode equations need of one class.")}
        if "limit" in parts:
            told = "What the statistics need of one class."
            wanted["statistic_coefficients"] = (kernel.statistic_coefficients, told)
        if "equations" in parts:
            wanted["all_coefficients"] = (kernel.all_coefficients, "R, A, B, D, F, I of one class.")
        every = kernel.every_coefficient
        if len(wanted) == 1 or not any(isinstance(s, Integrate) for s in every.statements):
            texts = [self.coefficient_function(name, *of_name) for name, of_name in wanted.items()]
        else:
            nested = any(isinstance(s, Integrate) and _has_inner(s) for s in every.statements)
            why = "All that one class is asked for below; what has no address is left out."
            texts = [self.coefficient_function("every_coefficient", every, why, "APART" if nested else "LANEWISE")]
            texts += [self._choice(name, *of_name) for name, of_name in wanted.items()]
        return [line for text in texts for line in ("", *text)][1:]

    def _choice(self, name: str, function: Function, comment: str) -> list[str]:
        """A coefficient function that calls the one with every coefficient."""
        every = [str(e.symbol) for e in self.kernel.every_coefficient.results]
        chosen = [str(e.symbol) for e in function.results]
        arguments = ", ".join(f"out_{e}" if e in chosen else "NULL" for e in every)
        return [
            *self._coefficient_signature(name, function, comment, "static"),
            f"  every_coefficient(w, y, par, stride, {arguments});",
            "}",
        ]

    def _coefficient_signature(self, name: str, function: Function, comment: str, kind: str) -> list[str]:
        head = f"{kind} void {name}("
        outputs = ", ".join(f"double *out_{e.symbol}" for e in function.results)
        return [
            f"/* {comment} */",
            f"{head}const score *w, double y, const double *par, int64_t stride,",
            f"{' ' * len(head)}{outputs}) {{",
        ]

    def coefficient_function(self, name: str, function: Function, comment: str, kind: str = "static") -> list[str]:
        optional = kind != "static"
        self.wanted = _wanted(function) if optional else {}
        body = self.statements(function.statements)
        results = [
            f"{f'if (out_{e.symbol}) ' if optional else ''}*out_{e.symbol} = {self.text(e.expression)};"
            for e in function.results
        ]
        text = "\n".join([*body, *results])
        fields = [f"const double {s} = w->{s};" for s in self.kernel.score if mentions(text, str(s))]
        head = [*fields, *self.parameters(text)]
        unused = [f"(void){a};" for a in ("w", "y", "par", "stride") if not mentions("\n".join([*head, text]), a)]
        return [
            *self._coefficient_signature(name, function, comment, kind),
            *_indent([*unused, *head, *body, *results]),
            "}",
        ]

    def parameters(self, text: str) -> list[str]:
        return [
            f"const double {identifier} = par[{index} * stride];"
            for index, name in enumerate(self.kernel.parameters)
            if mentions(text, identifier := parameter_name(name))
        ]

    def sample_function(
        self, signature: str, function: Function, assign: Callable[[Let], str], arguments: str
    ) -> list[str]:
        body = self.statements(function.statements)
        results = [assign(Let(e.symbol, e.expression)) for e in function.results]
        text = "\n".join([*body, *results])
        head = self.parameters(text)
        unused = [f"(void){a};" for a in arguments.split() if not mentions("\n".join([*head, text]), a)]
        return [f"{signature} {{", *_indent([*unused, *head, *body, *results]), "}"]

    def constants(self) -> list[str]:
        kernel = self.kernel
        outer, inner = kernel.global_constants, kernel.class_constants
        outer_body, inner_body = self.statements(outer.statements), self.statements(inner.statements)
        outer_names, inner_names = (
            [str(e.symbol) for e in outer.results],
            [str(e.symbol) for e in inner.results],
        )
        g, c = len(outer_names), len(inner_names)
        lines = [
            f"enum {{ GLOBAL_CONSTANTS = {g}, CLASS_CONSTANTS = {c} }};",
            "static int64_t constants_count(const sgdlimit_problem *p) {",
            "  return GLOBAL_CONSTANTS + CLASS_CONSTANTS * p->classes;",
            "}",
            "",
            "/* What depends on the instance alone. */",
            "static void constants(const sgdlimit_problem *p, double *k) {",
        ]
        body: list[str] = []
        text = "\n".join([*outer_body, *inner_body])
        if mentions(text, "x_star"):
            body.append(_ARRAYS["x_star"])
        body += outer_body
        body += [f"k[{index}] = {name};" for index, name in enumerate(outer_names)]
        if inner_names:
            body += [
                "for (int64_t i = 0; i < p->classes; i++) {",
                *_indent(self._class_prologue(inner_body)),
                *_indent(inner_body),
                *(
                    f"  k[GLOBAL_CONSTANTS + i * CLASS_CONSTANTS + {index}] = {name};"
                    for index, name in enumerate(inner_names)
                ),
                "}",
            ]
        if not body:
            body = ["(void)p;", "(void)k;"]
        return [*lines, *_indent(body), "}"]

    def _constant_reads(self, text: str, with_class: bool) -> list[str]:
        reads = [
            f"const double {e.symbol} = k[{index}];"
            for index, e in enumerate(self.kernel.global_constants.results)
            if mentions(text, str(e.symbol))
        ]
        if with_class:
            reads += [
                f"const double {e.symbol} = k[GLOBAL_CONSTANTS + i * CLASS_CONSTANTS + {index}];"
                for index, e in enumerate(self.kernel.class_constants.results)
                if mentions(text, str(e.symbol))
            ]
        return reads

    def class_score(self) -> list[str]:
        function = self.kernel.summarise
        body = self.statements(function.statements)
        results = [f"w->{e.symbol} = {self.text(e.expression)};" for e in function.results]
        text = "\n".join([*body, *results])
        arrays = [_ARRAYS[name] for name in ("lam", "mu", "x_star") if mentions(text, name)]
        head = [*arrays, *self._constant_reads(text, with_class=True)]
        everything = "\n".join([*head, text])
        unused = [f"(void){a};" for a in ("p", "k", "i", "x", "e", "v", "n") if not mentions(everything, a)]
        return [
            "/* What the coefficients of class i are functions of, from the state. */",
            "static void class_score(const sgdlimit_problem *p, const double *k, int64_t i, const double *x, const double *e,",
            "                        const double *v, double n, score *w) {",
            *_indent([*unused, *head, *body, *results]),
            "}",
        ]

    def rates(self) -> list[str]:
        """Scalars from sums over the state, and from them the rates of any range of modes."""
        statements = self.kernel.rates.statements
        at, loop = next((at, node) for at, node in enumerate(statements) if isinstance(node, ForClasses))
        *coefficients, accumulate = loop.body
        assert isinstance(accumulate, Accumulate)
        of_noise = {s for array, value in accumulate.sums if array == "noise" for s in value.free_symbols}
        lets = [node for node in coefficients if isinstance(node, Let)]
        shared = [node for node in statements[at + 1 :] if isinstance(node, Let)]
        drift = [let for let in lets if let.symbol not in of_noise]
        noise = [let for let in lets if let.symbol in of_noise]
        finish = statements[-1]
        assert isinstance(finish, Map)
        places = {let.symbol: f"scalars[{index}]" for index, let in enumerate(shared)}
        places |= {let.symbol: f"of_drift[i * {len(drift)} + {index}]" for index, let in enumerate(drift)}
        places |= {let.symbol: f"of_noise[i * {len(noise)} + {index}]" for index, let in enumerate(noise)}
        where = [
            *([f"double *of_drift = scalars + {len(shared)};"] if drift else []),
            *(["double *of_noise = scalars + drift_scalars_count(p);"] if noise else []),
        ]
        calls = tuple(node for node in coefficients if not isinstance(node, Let))
        body = self.statements([*statements[:at], ForClasses(calls, loop.totals)])
        closing = body.pop()
        body += [*(f"  {places[let.symbol]} = {self.text(let.expression)};" for let in lets), closing]
        body += [f"{places[let.symbol]} = {self.text(let.expression)};" for let in shared]
        text = "\n".join(body)
        head = [*self._iterate_parameters(text), *where]
        unused = [f"(void){a};" for a in ("k", "iterate", "x", "e", "v") if not mentions("\n".join([*head, text]), a)]
        self.modes = "to - from"
        inner = [f"const double {let.symbol} = {places[let.symbol]};" for let in lets] + self.statement(accumulate)
        outer = [f"const double {let.symbol} = {places[let.symbol]};" for let in shared] + self.map(_begin(finish))
        self.modes = "p->modes"
        ranges = "\n".join([*inner, *outer])
        arrays = [_from(_ARRAYS[name]) for name in ("x_star", "omega") if mentions(ranges, name)]
        of_class = [_from(_ARRAYS[name]) for name in ("lam", "mu") if mentions(ranges, name)]
        return [
            "/* What the rates are made of beside the modes: scalars, of which those of the noise come last. */",
            f"static int64_t drift_scalars_count(const sgdlimit_problem *p) {{ return {len(shared)} + {len(drift)} * p->classes; }}",
            "static int64_t rate_scalars_count(const sgdlimit_problem *p) {",
            f"  return drift_scalars_count(p) + {len(noise)} * p->classes;",
            "}",
            "",
            "static void rate_scalars(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,",
            "                         const double *v, double *scalars) {",
            *_indent([*unused, *head, *body]),
            "}",
            "",
            "/* dx_j/dt = gamma (offset_j + slope_j (x_j - x_star_j)),  dv_j/dt = 2 gamma slope_j v_j + gamma^2 noise_j, of the",
            " * modes from `from` to before `to`. */",
            "static void rates(const sgdlimit_problem *p, const double *scalars, int64_t from, int64_t to, double *offset,",
            "                  double *slope, double *noise) {",
            *_indent(
                [
                    *arrays,
                    *(f"const {line}" for line in where),
                    *outer,
                    "for (int64_t i = 0; i < p->classes; i++) {",
                    *_indent([*of_class, *inner]),
                    "}",
                ]
            ),
            "}",
        ]

    def _iterate_parameters(self, text: str) -> list[str]:
        """Parameters that stand outside the loop over classes (the ridge): those of the first class."""
        wanted = [(k, name) for k, name in enumerate(self.kernel.parameters) if mentions(text, parameter_name(name))]
        return [
            f"const double {parameter_name(name)} = p->parameters[(iterate * {len(self.kernel.parameters)} + {k}) * p->classes];"
            for k, name in wanted
        ]

    def statistics(self) -> list[str]:
        function = self.kernel.statistics_function
        body = self.statements(function.statements)
        results = [f"out[{index}] = {self.text(e.expression)};" for index, e in enumerate(function.results)]
        text = "\n".join([*body, *results])
        arrays = [_ARRAYS[name] for name in ("x_star", "omega", "x_optimum") if mentions(text, name)]
        head = [*arrays, *self._constant_reads(text, with_class=False), *self._iterate_parameters(text)]
        return [
            "/* The statistics, in the order of sgdlimit_statistic_names. */",
            "static void statistics(const sgdlimit_problem *p, const double *k, int64_t iterate, double gamma, const double *x,",
            "                       const double *e, const double *v, double *out) {",
            *_indent([*head, *body, *results]),
            "}",
        ]

    def rate_at_time(self) -> list[str]:
        kernel = self.kernel
        lines = [
            "/* A learning rate that depends on the time alone. */",
            "static double rate_at_time(const sgdlimit_problem *p, int64_t iterate, double t) {",
        ]
        if kernel.learning_rate.results:
            body = self.statements(kernel.learning_rate.statements)
            value = self.text(kernel.learning_rate.results[0].expression)
            text = "\n".join([*body, value])
            reads = [
                f"const double {parameter_name(name)} = p->step_arguments[iterate * p->step_arguments_count + {index}];"
                for index, name in enumerate(kernel.schedule_parameters)
                if mentions(text, parameter_name(name))
            ]
            lines += [
                "  if (p->step_kind == SGDLIMIT_SCHEDULE) {",
                *_indent([*([] if mentions(text, "t") else ["(void)t;"]), *reads, *body, f"return {value};"], 2),
                "  }",
            ]
        else:
            lines.append("  (void)t;")
        return [*lines, "  return p->step_arguments[iterate * p->step_arguments_count];", "}"]

    def descents(self) -> list[str]:
        """What greedy learning rates follow; one that this kernel has not says so by NaN."""
        own = dict(self.kernel.descents)
        lines: list[str] = []
        for name, function in self.kernel.slope_coefficients:
            lines += [
                *self.coefficient_function(name, function, "How an expectation changes with the score's law."),
                "",
            ]
        for name in DESCENTS:
            signature = f"static descent {name}_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at)"
            body = self._descent(own[name]) if name in own else ["(void)p;", "(void)k;", "(void)iterate;", "(void)at;"]
            result = "{first, second}" if name in own else "{NAN, NAN}"
            lines += [f"{signature} {{", *_indent([*body, f"return (descent){result};"]), "}", ""]
        return lines[:-1]

    def _descent(self, function: Function) -> list[str]:
        body = self.statements(function.statements)
        text = "\n".join(body)
        arrays = [_ARRAYS[name] for name in ("x_star", "omega", "x_optimum") if mentions(text, name)]
        state = [
            f"const double *{name} = at->{name};"
            for name in ("x", "e", "v", "offset", "slope", "noise")
            if mentions(text, name)
        ]
        if mentions(text, "of_x"):
            state.append("double *of_x = at->work, *of_v = at->work + p->modes;")
        head = [*arrays, *state, *self._constant_reads(text, with_class=False), *self._iterate_parameters(text)]
        everything = "\n".join([*head, text])
        unused = [f"(void){a};" for a in ("k", "iterate") if not mentions(everything, a)]
        return [*unused, *head, *body]

    # -- the file

    def model(self, parts: Sequence[str]) -> str:
        """The functions of the model that the mode equations are made of."""
        kernel = self.kernel
        lines = [
            "/* ---- This model " + "-" * 98,
            *(f" * {line}" for line in kernel.about),
            " */",
            "",
            f"enum {{ PARAMETERS = {len(kernel.parameters)}, STATISTICS = {len(kernel.statistics)}, JUDGED_STATISTICS = {kernel.judged} }};",
            "",
            "/* How well the rates know x - X*, in units of X*. */",
            f"static const double RESOLUTION = {kernel.resolution!r};",
            "",
            "/* The law of the score given the class, in the symbols of the theory (section 2). */",
            self._score(),
            "",
            *self.constants(),
            "",
            *self.class_score(),
            "",
            *self.coefficient_functions(parts),
            "",
            *self.rates(),
            "",
            *self.statistics(),
            "",
            *self.rate_at_time(),
            "",
            *self.descents(),
        ]
        return "\n".join(lines) + "\n"

    def sample(self) -> str:
        """Those that a sample of SGD needs."""
        kernel = self.kernel
        lines = [
            "/* ---- One sample of this model " + "-" * 84,
            " * d f_adv/dr and d f_adv/dn there, its label, and the ridge. */",
            *self.sample_function(
                "static inline void gradient(double r, double n, double y, const double *par, int64_t stride, double *dr, double *dn)",
                kernel.gradient,
                lambda e: f"*{'dr' if str(e.symbol) == 'd_r' else 'dn'} = {self.text(e.expression)};",
                "r n y par stride",
            ),
            "",
            *self.sample_function(
                "static inline double target(double y, double r_star, double xi, double uniform, const double *par, int64_t stride)",
                kernel.label,
                lambda e: f"return {self.text(e.expression)};",
                "y r_star xi uniform par stride",
            ),
            "",
            *self.sample_function(
                "static inline double ridge(const double *par, int64_t stride)",
                kernel.ridge,
                lambda e: f"return {self.text(e.expression)};",
                "par stride",
            ),
        ]
        return "\n".join(lines) + "\n"

    def file(self, parts: Sequence[str]) -> str:
        """A file of some parts: their functions, and all that these need."""
        model = self.model(parts)  # first, since it tells which roots are looked for
        numbers = [_library("random.h"), _library("simulate.h")]
        sections: dict[str, list[str]] = {
            "equations": [],
            "limit": [_library("exponential.h"), _library("integrate.h")],
            "sgd": numbers,
            "lumps": [*numbers, _library("lumped.h")],
            "diffusion": [*numbers, _library("diffuse.h")],
        }
        wanted = dict.fromkeys(section for part in parts for section in sections[part])
        sample = [self.sample()] if set(parts) - {"equations", "limit"} else []
        before = [_library("problem.h"), *self.used_by_the_model(), _library("steps.h"), model, *sample]
        everything = [*before, *wanted, _exports(self.kernel)]
        told = ["abi", *(f"{name}_names" for name in _NAMES)]
        called_from_outside = [*told, *(name for part in parts for name in _EXPORTS[part][1])]
        return _file(self.kernel, parts, everything, [f"sgdlimit_{name}" for name in called_from_outside])

    def coefficients_file(self) -> str:
        """The coefficients alone: neither solver nor simulation, and one function to call."""
        kernel = self.kernel
        model = [
            self._score(),
            "",
            *self.coefficient_function("all_coefficients", kernel.all_coefficients, "Of one class."),
        ]
        before = [_library("problem.h"), *self.used_by_the_model()]
        everything = [*before, "\n".join(model), _coefficients_export(kernel)]
        return "\n".join(excerpts(everything, ["sgdlimit_problem", "sgdlimit_coefficients"]))

    def _score(self) -> str:
        return f"typedef struct score {{ double {', '.join(str(s) for s in self.kernel.score)}; }} score;"

    def used_by_the_model(self) -> list[str]:
        """What the model's functions, which were written before, may call."""
        return [*map(_library, _LIBRARIES), *self.root_function_texts()]


def _side_by_side() -> set[str]:
    """Functions that a loop can take of several arguments at once."""
    return {*function_names(_library("elementary.h")), "fabs", "sqrt"}


def _file(kernel: Kernel, parts: Sequence[str], sections: Sequence[str], wanted: Sequence[str]) -> str:
    texts = [text for text in excerpts(sections, wanted) if text]
    return "\n".join([_title(kernel, parts, texts), *texts])


def _title(kernel: Kernel, parts: Sequence[str], sections: Sequence[str]) -> str:
    what = [_EXPORTS[part][0] for part in parts]
    single = [
        " * With -DSGDLIMIT_FLOAT32 sgdlimit_simulate runs in single precision; lumps and diffusions have double alone.",
        " *",
    ]
    contents = [heading for text in sections for heading in _HEADING.findall(text)]
    return "\n".join(
        [
            "/* The high-dimensional limit of streaming SGD on one model: " + "; ".join(what) + ".",
            *(f" *   {line}" for line in kernel.about),
            " *",
            f" * Written by sgdlimit, generator format {FORMAT}. To write it again:",
            f" *   sgdlimit generate SPEC --out DIRECTORY --parts {','.join(parts)}",
            " * It stands alone: cc -O3 -c this_file.c; link with -lm. The interface is the struct sgdlimit_problem and the",
            " * functions sgdlimit_*. The mathematics is arXiv 2607.00207, in the notation of docs/theory.md.",
            " *",
            *(single if "sgd" in parts else []),
            " * Contents",
            *(f" *   {heading}" for heading in contents),
            " */",
            "",
            "/* Without -fopenmp-simd the loops below are plain loops, and a loop that a compiler cannot vectorise is one, too. */",
            '#pragma GCC diagnostic ignored "-Wunknown-pragmas"',
            "#ifdef __clang__",
            '#pragma clang diagnostic ignored "-Wpass-failed"',
            "#endif",
            "",
        ]
    )


def _coefficients_export(kernel: Kernel) -> str:
    fields = "\n".join(f"  w.{s} = score_values[{index}];" for index, s in enumerate(kernel.score))
    outputs = ", ".join(f"&out[{index}]" for index in range(len(kernel.coefficients)))
    return f"""\
/* Coefficients of one class at given scores (in the order of sgdlimit_score_names), label and parameters. */
void sgdlimit_coefficients(const double *score_values, double y, const double *par, double *out) {{
  score w;
{fields}
  all_coefficients(&w, y, par, 1, {outputs});
}}
"""


def _exports(kernel: Kernel) -> str:
    score_names = ",".join(str(s) for s in kernel.score)
    return f"""\
/* ---- The interface ----------------------------------------------------------------------------------------------- */

int32_t sgdlimit_abi(void) {{ return SGDLIMIT_ABI; }}
const char *sgdlimit_parameter_names(void) {{ return "{",".join(kernel.parameters)}"; }}
const char *sgdlimit_schedule_names(void) {{ return "{",".join(kernel.schedule_parameters)}"; }}
/* Of learning rates that depend on the state, those that this kernel has. */
const char *sgdlimit_descent_names(void) {{ return "{",".join(name for name, _ in kernel.descents)}"; }}
const char *sgdlimit_statistic_names(void) {{ return "{",".join(kernel.statistics)}"; }}
const char *sgdlimit_coefficient_names(void) {{ return "{",".join(kernel.coefficients)}"; }}
const char *sgdlimit_score_names(void) {{ return "{score_names}"; }}
/* What must be positive for the equations to hold. */
const char *sgdlimit_positive_names(void) {{ return "{",".join(kernel.positive)}"; }}

{_coefficients_export(kernel)}
/* dx and dv at (t, x, v), where the integral of sum_j G_j is start_auxiliary's; work has room for 6 p->modes +
 * sgdlimit_constants_count. No two of the five arrays overlap. */
int32_t sgdlimit_rhs(const sgdlimit_problem *p, int64_t iterate, double t, const double *x, const double *v, double *dx,
                     double *dv, double *work) {{
  if (p->size != sizeof *p || !has_step_arguments(p)) return SGDLIMIT_BAD_PROBLEM;
  const int64_t N = p->modes;
  double *offset = work, *slope = work + N, *noise = work + 2 * N, *e = work + 3 * N, *k = work + 6 * N;
  double *scalars = k + constants_count(p);
  constants(p, k);
  #pragma omp simd
  for (int64_t j = 0; j < N; j++) e[j] = x[j] - p->teacher[j];
  rate_scalars(p, k, iterate, x, e, v, scalars);
  rates(p, scalars, 0, N, offset, slope, noise);
  const double accumulated = p->start_auxiliary ? p->start_auxiliary[iterate] : 0;
  const point at = {{x, e, v, offset, slope, noise, accumulated, work + 4 * N}};
  const double gamma = learning_rate(p, k, iterate, t, &at);
  #pragma omp simd
  for (int64_t j = 0; j < N; j++) {{
    dx[j] = gamma * (offset[j] + slope[j] * e[j]);
    dv[j] = 2 * gamma * slope[j] * v[j] + gamma * gamma * noise[j];
  }}
  return SGDLIMIT_OK;
}}

int64_t sgdlimit_constants_count(const sgdlimit_problem *p) {{ return constants_count(p) + rate_scalars_count(p); }}
"""


def _begin(finish: Map) -> Map:
    """The part of the rates that is not of a class, to which the classes' are added."""
    values = dict(finish.assignments)
    own = {name: sp.IndexedBase(name)[symbols.j] for name in ("offset", "slope", "noise")}
    return Map(tuple((name, values.get(name, e).xreplace({e: sp.S.Zero})) for name, e in own.items()))


def _from(array: str) -> str:
    """The declaration of an array, from the first mode of a range on."""
    return array.replace(";", " + from;")


def _has_inner(integral: Integrate) -> bool:
    return any(isinstance(s, Integrate) for s in integral.statements)


def _wanted(function: Function) -> dict[str, tuple[str, ...]]:
    """Of every integral the results that depend on it."""
    behind = {s.symbol: s.expression.free_symbols for s in function.statements if isinstance(s, Let)}
    found: dict[str, list[str]] = {}
    for result in function.results:
        pending, seen = list(result.expression.free_symbols), set[sp.Symbol]()
        while pending:
            symbol = pending.pop()
            if symbol not in seen:
                seen.add(symbol)
                pending += behind.get(symbol, ())
        for statement in function.statements:
            for let in statement.integrals if isinstance(statement, Integrate) else ():
                if let.symbol in seen:
                    found.setdefault(scalar_name(let.symbol), []).append(f"out_{result.symbol}")
    return {name: tuple(results) for name, results in found.items()}


def _array(name: str, values: list[str], room: int) -> list[str]:
    """An array that holds some values and has room for more."""
    if not values and not room:
        return []
    if not room:
        return [f"const double {name}[] = {{", *(f"    {value}," for value in values), "};"]
    return [f"double {name}[{len(values) + room}] = {{{', '.join(values) or '0'}}};"]


def mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.>]){re.escape(name)}(?!\w)", text) is not None


def _indent(lines: Iterable[str], by: int = 1) -> list[str]:
    # a pragma stands with the loop behind it
    return ["  " * by + line if line else line for line in lines]


def _library(name: str) -> str:
    return resources.files("sgdlimit.codegen.library").joinpath(name).read_text(encoding="utf-8")


def emit_coefficients(kernel: Kernel) -> str:
    """C text of the coefficients alone, with one function to call."""
    return CEmitter(kernel).coefficients_file()
