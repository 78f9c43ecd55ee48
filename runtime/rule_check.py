"""A kernel's quadratures against a finer rule, at states over the whole box that coefficients are meant for.

What a quadrature must resolve is derived with its integrand, so a slip there is a coefficient that is wrong in silence.
:func:`self_check` evaluates the coefficients by the kernel and by :mod:`sgdlimit.codegen.refined` and tells the largest
difference of each, in units of ``E|integrand|``. It judges the rule; the equations are what ``verify`` is for.
"""

from __future__ import annotations

import ctypes
import math
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.expression import parse
from sgdlimit.derive.model import Labels
from sgdlimit.runtime.compiler import Compiler, find_compiler, load_uncached
from sgdlimit.runtime.evaluate import evaluate

if TYPE_CHECKING:
    from sgdlimit.derive.limit import Limit
    from sgdlimit.runtime.kernel import Kernel

Array = NDArray[np.float64]
Coefficients = Callable[[Array, float, Array], Array]

ALLOWED = 1e-8
"""A difference beyond this share of ``E|integrand|`` is a miss.

Coefficients are meant to hold 1e-10; the worst of the catalogue, Poisson's D, agrees to 2.3e-9. What is not resolved at
all differs by 1e-6 and more.
"""

# Below this a coefficient is made of what lies more than eight standard deviations out.
_FLOOR = 1e-15
# Of the largest coefficient: what is zero but for the rounding of its terms is no miss.
_ROUNDING = 1e-16


class SelfCheckWarning(UserWarning):
    """A kernel's quadratures differ from a finer rule."""


@dataclass(frozen=True)
class Difference:
    """The largest of one coefficient over the states.

    Parameters
    ----------
    coefficient : str
    relative : float
        ``|kernel − finer rule| / E|integrand|``; infinite where one of them alone is finite.
    state : mapping of str to float
        Where: the score's law, the label and the parameters.
    """

    coefficient: str
    relative: float
    state: Mapping[str, float]

    def __str__(self) -> str:
        where = ", ".join(f"{name} = {value:g}" for name, value in self.state.items())
        return f"{self.coefficient} by {self.relative:.1e} of E|integrand| at {where}"


@dataclass(frozen=True)
class SelfCheck:
    """What :func:`self_check` found.

    Parameters
    ----------
    states : int
        How many were compared; 0 for closed forms, which have no rule.
    differences : tuple of Difference
        The largest of each coefficient.
    allowed : float
        Beyond it a difference is a miss.
    """

    states: int
    differences: tuple[Difference, ...]
    allowed: float = ALLOWED

    @property
    def misses(self) -> tuple[Difference, ...]:
        """Coefficients whose rule is not good enough somewhere, the worst first."""
        found = (d for d in self.differences if not d.relative <= self.allowed)
        return tuple(sorted(found, key=lambda d: -d.relative))

    @property
    def passed(self) -> bool:
        """Whether no coefficient misses."""
        return not self.misses

    def json(self) -> dict[str, Any]:
        """For a program: an infinite difference is None."""
        return {
            "passed": self.passed,
            "states": self.states,
            "allowed": self.allowed,
            "differences": [
                {
                    "coefficient": d.coefficient,
                    "relative": d.relative if math.isfinite(d.relative) else None,
                    "state": dict(d.state),
                }
                for d in self.differences
            ],
        }

    def __str__(self) -> str:
        if not self.states:
            return "self-check: closed forms only, no quadrature to check"
        if self.passed:
            largest = max(d.relative for d in self.differences)
            return (
                f"self-check: quadratures agree with a finer rule at {self.states} states, "
                f"to {largest:.1e} of E|integrand|"
            )
        return (
            f"self-check MISSED: quadratures differ from a finer rule by more than {self.allowed:g} of E|integrand|: "
            + "; ".join(map(str, self.misses))
        )


def self_check(limit: Limit, kernel: Kernel) -> SelfCheck:
    """Compare a kernel's coefficients with those of a finer rule.

    Parameters
    ----------
    limit : Limit
        What the kernel was made from.
    kernel : Kernel
        Compiled or imported. A NumPy kernel of nested quadratures takes up to a second a state: it is compared at the
        first few alone.

    Returns
    -------
    SelfCheck

    Examples
    --------
    >>> from sgdlimit.derive import Labels, Loss, Model, derive
    >>> from sgdlimit.runtime import load_kernel
    >>> limit = derive(Model(Loss("log(1 + exp(-y*r))"), Labels()))
    >>> self_check(limit, load_kernel(limit.model, backend="numpy")).passed
    True
    """
    if not limit.quadratures:
        return SelfCheck(0, ())
    compiler = find_compiler()
    finer = _refined(limit, compiler, len(kernel.coefficients))
    if finer is None:
        return SelfCheck(0, ())
    few = kernel.backend == "numpy" and any(q.inner for q in limit.quadratures)
    compared = 0
    worst: dict[str, Difference] = {}
    for score, y, parameters, state in states(kernel, labels=isinstance(limit.model.target, Labels)):
        if few and compared == _FEW:
            break
        compared += 1
        with np.errstate(all="ignore"):
            found = kernel.evaluate_coefficients(score, y, parameters)
            values, sizes = np.split(finer(score, y, parameters), 2)
        rounding = _ROUNDING * float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))
        for name, value, exact, size in zip(kernel.coefficients, found, values, sizes, strict=True):
            relative = _relative(float(value), float(exact), float(size), rounding)
            if name not in worst or relative > worst[name].relative:
                worst[name] = Difference(name, relative, types.MappingProxyType(state))
    return SelfCheck(compared, tuple(worst.values()))


def _relative(value: float, exact: float, size: float, rounding: float) -> float:
    if not math.isfinite(exact) or not math.isfinite(size):
        return 0.0  # e^{5000} is beyond a double: no rule is at fault
    if not math.isfinite(value):
        return math.inf
    return max(abs(value - exact) - rounding, 0.0) / max(size, _FLOOR)


def _refined(limit: Limit, compiler: Compiler | None, count: int) -> Coefficients | None:
    from sgdlimit.codegen.refined import emit_refined

    source = emit_refined(limit, "numpy" if compiler is None else "c")
    if source is None:
        return None
    if compiler is None:
        return _imported(source)
    return _compiled(source, compiler, count)


def _imported(source: str) -> Coefficients:
    module = types.ModuleType("sgdlimit_refined")
    exec(compile(source, "sgdlimit_refined.py", "exec"), vars(module))
    return lambda score, y, parameters: np.array(module.all_coefficients(score, y, parameters), dtype=float)


def _compiled(source: str, compiler: Compiler, count: int) -> Coefficients:
    library = load_uncached(source, compiler)

    def coefficients(score: Array, y: float, parameters: Array) -> Array:
        score, parameters, out = np.ascontiguousarray(score), np.ascontiguousarray(parameters), np.empty(2 * count)
        at = [ctypes.c_void_p(a.ctypes.data) for a in (score, parameters, out)]
        library.sgdlimit_coefficients(at[0], ctypes.c_double(y), at[1], at[2])
        return out

    return coefficients


# --- states ---------------------------------------------------------------------------------------------------------

_FEW = 4

# m, m*, Q, Q*, Q_perp/Q, the adversary's reach epsilon n, and the sign of beta: ordinary places first, then the box's
# corners and edges.
PLACES = (
    (0.0, 0.0, 1.0, 1.0, 0.5, 0.5, 1),
    (0.7, -0.4, 0.3, 2.0, 0.9, 0.2, 1),
    (-2.1, 1.3, 20.0, 0.5, 0.03, 1.7, 1),
    (3.7, 0.6, 0.01, 8.0, 1.0, 0.9, 1),
    (-0.2, 0.3, 0.9, 1.1, 1e-3, 0.02, 1),
    (1.4, 1.1, 5.0, 3.0, 0.2, 4.0, -1),
    (-5.0, -3.0, 300.0, 30.0, 0.6, 0.3, 1),
    (0.1, 0.2, 1e-4, 0.04, 0.7, 0.01, 1),
    (0.5, 0.0, 2.0, 1.0, 0.0, 0.1, 1),
    (-0.9, 2.0, 0.5, 0.2, 1e-8, 0.0, 1),
    (0.0, 0.0, 1e-12, 1.0, 1.0, 0.0, 1),
    (0.03, 0.0, 1e-6, 1e2, 1e-4, 1e-3, 1),
    (1.0, -1.0, 1e4, 1.0, 1.0, 0.0, 1),
    (10.0, 10.0, 1e4, 1e2, 0.1, 10.0, 1),
    (-10.0, 10.0, 1e2, 1e-2, 1e-16, 10.0, -1),
    (10.0, -10.0, 1e4, 1e-2, 1e-4, 1.0, 1),
    (-10.0, -10.0, 1.0, 1e2, 0.0, 10.0, 1),
    (10.0, 0.0, 1e-2, 1e-2, 1.0, 10.0, -1),
    (-6.0, 0.0, 40.0, 1e2, 1e-12, 0.5, -1),
    (2.0, 10.0, 1e3, 10.0, 0.99, 3.0, -1),
)
_EPSILONS = (0.3, 1.0, 0.05, 2.0)
_VALUES = (0.5, 0.2, 1.0, 0.8)


def states(kernel: Kernel, *, labels: bool) -> Iterator[tuple[Array, float, Array, dict[str, float]]]:
    """Score, label, parameters, and all of them by name: the same at every call.

    A parameter takes values of order 1 that keep positive what must be.
    """
    positive = [parse(text) for text in kernel.positive]
    for k, (m, m_star, Q, Q_star, share, reach, sign) in enumerate(PLACES):
        epsilon = _EPSILONS[k % len(_EPSILONS)]
        values = {p: _VALUES[(k + index) % len(_VALUES)] for index, p in enumerate(kernel.parameters)}
        if any(not float(evaluate(e, values)) > 0 for e in positive):
            values = dict.fromkeys(values, 0.5)
        given = {**values, "tau": 0.0, "epsilon": epsilon}
        beta = sign * math.sqrt((1 - share) * Q / Q_star)
        law = {
            "n": reach / epsilon if "epsilon" in kernel.parameters else math.sqrt(Q),
            "m": m,
            "m_star": m_star,
            "dm": m - m_star,
            "Q": Q,
            "Q_star": Q_star,
            "Q_perp": share * Q,
            "beta": beta,
            "beta1": beta - 1,
        }
        y = (1.0 if k % 2 else -1.0) if labels else 0.0
        state = {name: law[name] for name in kernel.score}
        state |= {"y": y} if labels else {}
        state |= {name: given[name] for name in kernel.parameters if name != "tau"}
        score = np.array([law[name] for name in kernel.score])
        yield score, y, np.array([given[name] for name in kernel.parameters]), state
