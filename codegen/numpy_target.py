"""A NumPy module from a kernel: the same stages as :mod:`sgdlimit.codegen.c`, for a person to read and import.

An emitted module needs NumPy alone (and ``scipy.special`` where a coefficient is an error function). Sums over modes and
over quadrature nodes are array operations; classes, and the nodes of an outer quadrature, are a loop.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from importlib import resources

import sympy as sp

from sgdlimit.codegen import FORMAT
from sgdlimit.codegen.c import mentions, parameter_name, scalar_name
from sgdlimit.codegen.expressions import NumpyExpressions, UnknownNodeError
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
    Reduce,
    Statement,
    Tails,
)
from sgdlimit.derive.symbols import e_optimum

_HELPERS = {
    "softplus": (
        "def softplus(x):",
        '    """log(1 + exp(x))."""',
        "    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))",
    ),
    "sigmoid": (
        "def sigmoid(x):",
        '    """1/(1 + exp(-x))."""',
        "    e = np.exp(-np.abs(x))",
        "    return np.where(x > 0, 1.0, e) / (1.0 + e)",
    ),
    "log_cosh": (
        "def log_cosh(x):",
        '    """log(cosh(x)); near 0 the textbook form is the accurate one."""',
        "    far = np.abs(x) + np.log1p(np.exp(-2 * np.abs(x))) - np.log(2.0)",
        "    return np.where(np.abs(x) < 1, np.log1p(2 * np.square(np.sinh(np.clip(x, -1, 1) / 2))), far)",
    ),
    "hazard": (
        "def hazard(x):",
        '    """phi(x)/Phi(x)."""',
        "    return np.sqrt(2 / np.pi) / erfcx(-x / np.sqrt(2.0))",
    ),
    "hazard_excess": (
        "def hazard_excess(x):",
        '    """x + phi(x)/Phi(x); far to the left by Laplace\'s continued fraction."""',
        "    near = x + np.sqrt(2 / np.pi) / erfcx(-x / np.sqrt(2.0))",
        "    tail = h = np.maximum(-x, 3.0)",
        "    for k in range(60, 1, -1):",
        "        tail = h + k / tail",
        "    return np.where(x > -3, near, 1 / tail)",
    ),
}

# A variance or a norm of zero makes quotients infinite on the way to a finite limit; that is no cause for a warning.
_AT_LIMITS = '@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")'

_ARRAYS = {
    "x_star": "x_star = problem.teacher",
    "omega": "omega = problem.weights",
    "x_optimum": "x_optimum = problem.reference",
    "lam": "lam = problem.eigenvalues[i]",
    "mu": "mu = problem.means[i]",
}


def _element(e: sp.Expr) -> str:
    if not isinstance(e, sp.Indexed):
        return scalar_name(e)
    return "(e + (x_star - x_optimum))" if e == e_optimum else str(e.base)


class NumpyEmitter:
    """Writes the functions of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.used: set[str] = set()
        self.needs_quadrature = False
        self.needs_panel_roots = False
        self.needs_branches = False
        self.needs_tails = False

    # -- expressions and statements

    def text(self, expression: sp.Expr) -> str:
        printer = NumpyExpressions(_element)
        result = printer(expression)
        self.used |= printer.used
        return result

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
        return [f"{scalar_name(node.symbol)} = {self.text(node.expression)}"]

    def reduce(self, node: Reduce) -> list[str]:
        return [f"{scalar_name(s.symbol)} = np.sum({self.text(s.expression)})" for s in node.sums]

    def integrate(self, node: Integrate) -> list[str]:
        self.needs_quadrature = True
        shape = [
            ", ".join(self.text(e) for e in (*node.breakpoints, *node.branches)),
            *(
                ", ".join(f"({self.text(location)}, {self.text(width)})" for location, width in layers)
                for layers in (node.poles, node.steps)
            ),
            ", ".join(self.text(e) for e in node.tilts),
        ]
        names = [scalar_name(e.symbol) for e in node.integrals]
        values = [self.text(e.expression) for e in node.integrals]
        z = str(node.variable)
        nested = any(isinstance(e, Integrate) for e in node.statements)
        masses = node.jumps is not None or any(roots.masses for roots in node.roots)
        lines = [f"{' = '.join(names)} = 0.0"] if nested or masses else []
        lines += self.statements(node.shared)
        if node.roots:
            lines += [
                f"shape_{z} = {', '.join(f'[{part}]' for part in shape)}",
                f"edges_{z} = panels(*shape_{z})",
            ]
            for index, roots in enumerate(node.roots):
                lines += [f"edges_{z} = panels(*shape_{z})"] if node.stepwise and index else []
                lines += self._find_roots(z, roots, index, node.stepwise)
            if node.jumps:
                lines += [f"edges_{z} = panels(*shape_{z})", *self._jumps(z, node.jumps)]
            lines.append(f"{z}, weights_{z} = nodes(panels(*shape_{z}))")
        else:
            if node.jumps:
                lines += [
                    f"edges_{z} = panels({', '.join(f'[{part}]' for part in shape)})",
                    *self._jumps(z, node.jumps),
                ]
            while len(shape) > 1 and not shape[-1]:
                del shape[-1]
            panels = f"panels({', '.join(f'[{part}]' for part in shape)})"
            if node.branches:
                self.needs_branches = True
                lines += [
                    f"branches_{z} = [{', '.join(self.text(e) for e in node.branches)}]",
                    f"{z}, weights_{z} = branch_nodes(branch_panels({panels}, branches_{z}), branches_{z})",
                ]
            else:
                lines.append(f"{z}, weights_{z} = nodes({panels})")
        lines += self.statements(node.fixed)
        body = self.statements(node.statements)
        if not nested:
            sign = "+=" if masses else "="
            sums = [f"{name} {sign} np.sum(weights_{z} * ({value}))" for name, value in zip(names, values, strict=True)]
            return [*lines, *body, *sums]
        return [
            *lines,
            f"for {z}, weight_{z} in zip({z}, weights_{z}, strict=True):",
            *_indent(body),
            *_indent(f"{name} += weight_{z} * ({value})" for name, value in zip(names, values, strict=True)),
        ]

    def _find_roots(self, z: str, node: FindRoots, index: int, by_panel: bool) -> list[str]:
        self.needs_panel_roots |= by_panel
        lets = [line for let in node.lets for line in self.let(let)]
        function = f"crossing_{z}_{index}"
        width = f"abs(({self.text(node.width)}) / ({self.text(node.slope)}))"
        at_root: list[str] = []
        if node.kind == "kink":
            at_root += [f"shape_{z}[0].append({z})"]
        elif node.kind == "pole":
            at_root += [*lets, f"shape_{z}[1].append(({z}, {width}))"]
        else:
            at_root += [*lets, f"shape_{z}[2].append(({z}, {width}))"]
        if node.masses:
            at_root += [
                f"density = np.exp(-0.5 * {z} * {z}) / np.sqrt(2 * np.pi)",
                *self.statements(node.mass_statements),
                *(f"{scalar_name(e.symbol)} += density * ({self.text(e.expression)})" for e in node.masses),
            ]
        return [
            f"def {function}({z}):",
            *_indent([*lets, f"return {self.text(node.argument)}"]),
            f"for {z} in {'panel_' if by_panel else ''}roots({function}, edges_{z}):",
            *_indent(at_root),
        ]

    def _jumps(self, z: str, node: PanelJumps) -> list[str]:
        """Point masses at the ends of panels, told by the switches in the middle of the panels on both sides."""
        names = [tuple(map(scalar_name, symbols)) for symbols in node.switches]
        left, right = (", ".join(name[k] for name in names) for k in (1, 2))
        changed = " or ".join(f"{before} != {after}" for _, before, after in names)
        return [
            f"def sides_{z}({z}):",
            *_indent([line for let in node.lets for line in self.let(let)]),
            f"    return ({', '.join(name[0] for name in names)},)",
            f"for left_{z}, {z}, right_{z} in zip(edges_{z}[:-2], edges_{z}[1:-1], edges_{z}[2:], strict=True):",
            f"    ({left},) = sides_{z}((left_{z} + {z}) / 2)",
            f"    ({right},) = sides_{z}(({z} + right_{z}) / 2)",
            f"    if {changed}:",
            f"        density = np.exp(-0.5 * {z} * {z}) / np.sqrt(2 * np.pi)",
            *_indent(self.statements(node.statements), 2),
            *(f"        {scalar_name(e.symbol)} += density * ({self.text(e.expression)})" for e in node.masses),
        ]

    def tails(self, node: Tails) -> list[str]:
        self.needs_tails = True
        order = max(k for k, _ in node.moments)
        array = f"tails_{node.moments[0][1].name}"
        function = "scaled_tail_moments" if node.scaled else "tail_moments"
        return [
            f"{array} = {function}({self.text(node.argument)}, {order})",
            *(f"{symbol} = {array}[{k}]" for k, symbol in node.moments),
        ]

    def call(self, node: Call) -> list[str]:
        if not node.targets:
            return []
        targets = ", ".join(scalar_name(s) for s in node.targets)
        return [f"{targets}{',' if len(node.targets) == 1 else ''} = {node.function}(score, problem.labels[i], par)"]

    def accumulate(self, node: Accumulate) -> list[str]:
        return [f"{array} += {self.text(value)}" for array, value in node.sums]

    def for_classes(self, node: ForClasses) -> list[str]:
        body = self.statements(node.body)
        sums = [f"{scalar_name(t.symbol)} += {self.text(t.expression)}" for t in node.totals]
        return [
            *(f"{scalar_name(t.symbol)} = 0.0" for t in node.totals),
            "for i in range(problem.classes):",
            *_indent(self._class_prologue(body + sums)),
            *_indent(body),
            *_indent(sums),
        ]

    def _class_prologue(self, body: list[str]) -> list[str]:
        text = "\n".join(body)
        lines = [_ARRAYS[name] for name in ("lam", "mu") if mentions(text, name)]
        if "(score," in text:
            lines += [
                "par = problem.parameters[iterate, :, i]",
                "score = class_score(problem, k, i, x, e, v, n)",
            ]
        if mentions(text, "probability"):
            lines.append("probability = problem.probabilities[i]")
        return lines

    def map(self, node: Map) -> list[str]:
        return [f"{array}[:] = {self.text(value)}" for array, value in node.assignments]

    # -- functions

    def coefficient_function(self, name: str, function: Function, comment: str) -> list[str]:
        body = self.statements(function.statements)
        results = ", ".join(self.text(e.expression) for e in function.results)
        text = "\n".join([*body, results])
        fields = [f"{s} = score[{index}]" for index, s in enumerate(self.kernel.score) if mentions(text, str(s))]
        return [
            _AT_LIMITS,
            f"def {name}(score, y, par):",
            f'    """{comment}"""',
            *_indent([*fields, *self.parameters(text), *body]),
            f"    return {results}{',' if len(function.results) == 1 else ''}",
        ]

    def parameters(self, text: str) -> list[str]:
        return [
            f"{identifier} = par[{index}]"
            for index, name in enumerate(self.kernel.parameters)
            if mentions(text, identifier := parameter_name(name))
        ]

    def _iterate_parameters(self, text: str) -> list[str]:
        return [
            f"{identifier} = problem.parameters[iterate, {index}, 0]"
            for index, name in enumerate(self.kernel.parameters)
            if mentions(text, identifier := parameter_name(name))
        ]

    def _constant_reads(self, text: str, with_class: bool) -> list[str]:
        kernel = self.kernel
        outer = [str(e.symbol) for e in kernel.global_constants.results]
        inner = [str(e.symbol) for e in kernel.class_constants.results]
        reads = [f"{name} = k[{index}]" for index, name in enumerate(outer) if mentions(text, name)]
        if with_class:
            reads += [
                f"{name} = k[{len(outer)} + {len(inner)} * i + {index}]"
                for index, name in enumerate(inner)
                if mentions(text, name)
            ]
        return reads

    def constants(self) -> list[str]:
        kernel = self.kernel
        outer, inner = kernel.global_constants, kernel.class_constants
        outer_body, inner_body = self.statements(outer.statements), self.statements(inner.statements)
        text = "\n".join([*outer_body, *inner_body])
        lines = [
            "def constants(problem):",
            '    """What depends on the instance alone: m*, Q* of each class, ..."""',
        ]
        if mentions(text, "x_star"):
            lines.append("    " + _ARRAYS["x_star"])
        lines += _indent(outer_body)
        lines.append(f"    k = [{', '.join(str(e.symbol) for e in outer.results)}]")
        if inner.results:
            lines += [
                "    for i in range(problem.classes):",
                *_indent(self._class_prologue(inner_body), 2),
                *_indent(inner_body, 2),
                f"        k += [{', '.join(str(e.symbol) for e in inner.results)}]",
            ]
        return [*lines, "    return np.array(k)"]

    def class_score(self) -> list[str]:
        function = self.kernel.summarise
        body = self.statements(function.statements)
        results = ", ".join(self.text(e.expression) for e in function.results)
        text = "\n".join([*body, results])
        head = [_ARRAYS[name] for name in ("lam", "mu", "x_star") if mentions(text, name)]
        return [
            _AT_LIMITS,
            "def class_score(problem, k, i, x, e, v, n):",
            '    """What the coefficients of class i are functions of, from the state."""',
            *_indent([*head, *self._constant_reads(text, with_class=True), *body]),
            f"    return {results}{',' if len(function.results) == 1 else ''}",
        ]

    def rates(self) -> list[str]:
        body = self.statements(self.kernel.rates.statements)
        text = "\n".join(body)
        head = [_ARRAYS[name] for name in ("x_star", "omega") if mentions(text, name)]
        return [
            _AT_LIMITS,
            "def rates(problem, k, iterate, x, e, v):",
            '    """dx_j/dt = gamma (offset_j + slope_j (x_j - x_star_j)), dv_j/dt = 2 gamma slope_j v_j + gamma^2 noise_j."""',
            *_indent([*head, *self._iterate_parameters(text)]),
            "    offset, slope, noise = np.zeros((3, problem.modes))",
            *_indent(body),
            "    return offset, slope, noise",
        ]

    def statistics(self) -> list[str]:
        function = self.kernel.statistics_function
        body = self.statements(function.statements)
        results = [f"    {self.text(e.expression)},  # {e.symbol}" for e in function.results]
        text = "\n".join([*body, *results])
        head = [_ARRAYS[name] for name in ("x_star", "omega", "x_optimum") if mentions(text, name)]
        head += [*self._constant_reads(text, with_class=False), *self._iterate_parameters(text)]
        return [
            _AT_LIMITS,
            "def statistics(problem, k, iterate, gamma, x, e, v):",
            '    """The statistics, in the order of STATISTICS."""',
            *_indent([*head, *body]),
            "    return np.array([",
            *_indent(results),
            "    ])",
        ]

    def rate_at_time(self) -> list[str]:
        kernel = self.kernel
        lines = ["def rate_at_time(problem, iterate, t):", '    """A learning rate that depends on the time alone."""']
        if kernel.learning_rate.results:
            body = self.statements(kernel.learning_rate.statements)
            value = self.text(kernel.learning_rate.results[0].expression)
            text = "\n".join([*body, value])
            reads = [
                f"{parameter_name(name)} = problem.step_arguments[iterate, {index}]"
                for index, name in enumerate(kernel.schedule_parameters)
                if mentions(text, parameter_name(name))
            ]
            lines += [
                "    if problem.step_kind == StepKind.SCHEDULE:",
                *_indent([*reads, *body, f"return {value}"], 2),
            ]
        return [*lines, "    return problem.step_arguments[iterate, 0]"]

    def descent(self, name: str, function: Function) -> list[str]:
        body = self.statements(function.statements)
        text = "\n".join(body)
        head = [_ARRAYS[array] for array in ("x_star", "omega", "x_optimum") if mentions(text, array)]
        head += [
            f"{array} = at.{array}" for array in ("x", "e", "v", "offset", "slope", "noise") if mentions(text, array)
        ]
        if mentions(text, "of_x"):
            head.append("of_x, of_v = np.empty((2, problem.modes))")
        return [
            _AT_LIMITS,
            f"def {name}_descent(problem, k, iterate, at):",
            '    """How fast the statistic falls: dphi/dt = -gamma first + gamma^2 second."""',
            *_indent([*head, *self._constant_reads(text, with_class=False), *self._iterate_parameters(text), *body]),
            "    return first, second",
        ]

    def learning_rate(self) -> list[str]:
        lines = [
            "def learning_rate(problem, k, iterate, t, at):",
            '    """gamma at a time and a point of the state; the step of SGD is gamma/d."""',
            "    arguments = problem.step_arguments[iterate]",
        ]
        for name, _ in self.kernel.descents:
            lines += [
                f"    if problem.step_kind == StepKind.{name.upper()}:",
                f"        return steepest(*{name}_descent(problem, k, iterate, at))",
            ]
        return [
            *lines,
            "    if problem.step_kind == StepKind.ADAGRAD_NORM:",
            "        return arguments[0] / np.sqrt(arguments[1] ** 2 + at.accumulated)",
            "    if problem.step_kind == StepKind.TABLE:",
            "        return from_table(arguments, t)",
            "    return rate_at_time(problem, iterate, t)",
        ]

    def sample_function(self, signature: str, comment: str, function: Function) -> list[str]:
        body = self.statements(function.statements)
        results = ", ".join(self.text(e.expression) for e in function.results)
        return [
            f"def {signature}:",
            f'    """{comment}"""',
            *_indent([*self.parameters("\n".join([*body, results])), *body]),
            f"    return {results}",
        ]

    # -- the file

    def file(self) -> str:
        kernel = self.kernel
        functions = [
            self.constants(),
            self.class_score(),
            self.coefficient_function(
                "rate_coefficients", kernel.rate_coefficients, "What the mode equations need of one class."
            ),
            self.coefficient_function(
                "statistic_coefficients",
                kernel.statistic_coefficients,
                "What the statistics need of one class.",
            ),
            self.coefficient_function("all_coefficients", kernel.all_coefficients, "R, A, B, D, F, I of one class."),
            self.rates(),
            self.statistics(),
            self.rate_at_time(),
            *(
                self.coefficient_function(name, function, "How an expectation changes with the score's law.")
                for name, function in kernel.slope_coefficients
            ),
            *(self.descent(name, function) for name, function in kernel.descents),
            self.learning_rate(),
            self.sample_function("gradient(r, n, y, par)", "d f_adv/dr and d f_adv/dn at samples.", kernel.gradient),
            self.sample_function("target(y, r_star, xi, uniform, par)", "Labels of samples.", kernel.label),
            self.sample_function("ridge(par)", "tau.", kernel.ridge),
        ]
        imports, texts = self._with_libraries(
            "problem.py", "steps.py", "exponential.py", "integrate.py", "simulate.py", "lumped.py", "diffuse.py"
        )
        problem_text, *rest = texts
        *rest, steps_text, exponential_text, integrate_text, simulate_text, lumped_text, diffuse_text = rest
        sections = [
            _docstring(kernel),
            "\n".join(["from __future__ import annotations", "", *imports]),
            "\n".join(
                [
                    f"PARAMETERS = {kernel.parameters!r}",
                    f"SCHEDULE_PARAMETERS = {kernel.schedule_parameters!r}",
                    f"STATISTICS = {kernel.statistics!r}",
                    f"DESCENTS = {tuple(name for name, _ in kernel.descents)!r}",
                    f"COEFFICIENTS = {kernel.coefficients!r}",
                    f"SCORE = {tuple(map(str, kernel.score))!r}",
                    f"POSITIVE = {kernel.positive!r}",
                ]
            ),
            "# ---- The problem " + "-" * 96,
            problem_text,
            "# ---- Learning rates " + "-" * 93,
            steps_text,
            *rest,
            "# ---- This model " + "-" * 97,
            *self._helpers(),
            *("\n".join(function) for function in functions),
            "# ---- The solver and the simulation " + "-" * 78,
            exponential_text,
            integrate_text,
            simulate_text,
            lumped_text,
            diffuse_text,
            _ENTRY.format(judged=kernel.judged, resolution=kernel.resolution),
        ]
        return "\n\n\n".join(section.strip("\n") for section in sections) + "\n"

    def coefficients_file(self) -> str:
        """The coefficients alone: neither solver nor simulation."""
        function = self.coefficient_function("all_coefficients", self.kernel.all_coefficients, "Of one class.")
        imports, texts = self._with_libraries()
        sections = [
            _docstring(self.kernel),
            "\n".join(["from __future__ import annotations", "", *imports]),
            *texts,
            *self._helpers(),
            "\n".join(function),
        ]
        return "\n\n\n".join(section.strip("\n") for section in sections) + "\n"

    def _helpers(self) -> list[str]:
        return ["\n".join(_HELPERS[name]) for name in _HELPERS if name in self.used]

    def _with_libraries(self, first: str | None = None, *last: str) -> tuple[list[str], list[str]]:
        """Imports, and texts with titles: the libraries that the model's functions, written before, call, and others."""
        needs_bivariate = "bivariate_tail" in self.used
        needs_tails = self.needs_tails or needs_bivariate
        names = [
            *([first] if first else []),
            *(["quadrature.py"] if self.needs_quadrature else []),
            *(["panel_roots.py"] if self.needs_panel_roots else []),
            *(["branch.py"] if self.needs_branches else []),
            *(["tails.py"] if needs_tails else []),
            *(["bivariate.py"] if needs_bivariate else []),
            *last,
        ]
        titles = {
            "quadrature.py": "# ---- Quadrature " + "-" * 97,
            "tails.py": "# ---- Tail moments " + "-" * 95,
        }
        imports, texts = _merge([_library(name) for name in names])
        special = sorted(self.used & {"erf", "erfc", "ndtr", "log_ndtr"})
        if self.used & {"hazard", "hazard_excess"}:
            special = sorted({*special, "erfcx"})
        if special:
            imports.append(f"from scipy.special import {', '.join(special)}")
        titled = [[titles[name]] if name in titles else [] for name in names]
        return imports, [part for title, text in zip(titled, texts, strict=True) for part in (*title, text)]


_ENTRY = '''\
def solve_problem(problem, modes=False):
    """Solve the mode equations of a Problem; see `solve`."""
    return solve(problem, constants, rates, learning_rate, statistics, len(STATISTICS), {judged},
                 resolution={resolution}, modes=modes)


def simulate_problem(problem, precision="float64"):
    """Run streaming SGD on a Problem; see `simulate`."""
    return simulate(problem, Sgd(gradient, target, ridge, learning_rate, constants, rates), precision)


def simulate_lumped_problem(problem):
    """Run streaming SGD in lumps on a Problem; see `simulate_lumped`."""
    return simulate_lumped(problem, Sgd(gradient, target, ridge, learning_rate, constants, rates))


def diffuse_problem(problem, longest):
    """Run homogenised SGD on a Problem; see `diffuse`."""
    return diffuse(problem, Diffusion(constants, rates, learning_rate), longest)
'''


def _docstring(kernel: Kernel) -> str:
    lines = [
        '"""The high-dimensional limit of streaming SGD on one model, its statistics, and the SGD itself.',
        "",
        *(f"    {line}" for line in kernel.about),
        "",
        f"Written by sgdlimit, generator format {FORMAT}. To write it again: sgdlimit generate SPEC --out DIRECTORY",
        "The mathematics is arXiv 2607.00207, in the notation of docs/theory.md.",
        '"""',
    ]
    return "\n".join(lines)


def _library(name: str) -> str:
    return resources.files("sgdlimit.codegen.library").joinpath(name).read_text(encoding="utf-8")


def _merge(sources: list[str]) -> tuple[list[str], list[str]]:
    """Imports of several modules as one list, and their texts without imports and module docstrings."""
    imports: dict[str, None] = {}
    texts = []
    for source in sources:
        lines = source.splitlines()
        drop: set[int] = set()
        for index, node in enumerate(ast.parse(source).body):
            span = range(node.lineno - 1, (node.end_lineno or node.lineno))
            docstring = index == 0 and isinstance(node, ast.Expr)
            if docstring or isinstance(node, (ast.Import, ast.ImportFrom)):
                drop.update(span)
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                statement = ast.unparse(node)
                if "sgdlimit" not in statement and "__future__" not in statement:
                    imports[statement] = None
        texts.append("\n".join(line for k, line in enumerate(lines) if k not in drop))
    order = sorted(imports, key=lambda s: ("numpy" in s, s.startswith("from"), s))
    return order, texts


def _indent(lines: Iterable[str], by: int = 1) -> list[str]:
    return ["    " * by + line if line else line for line in lines]


def emit_coefficients(kernel: Kernel) -> str:
    """A NumPy module with the coefficients of a kernel alone."""
    return NumpyEmitter(kernel).coefficients_file()


def emit_numpy(kernel: Kernel) -> str:
    """The NumPy module of a kernel."""
    return NumpyEmitter(kernel).file()
