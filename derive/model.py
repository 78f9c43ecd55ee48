"""The nouns of a problem, as canonical text: loss, target, adversary, statistics and step sizes.

Each is checked where it is written and knows its parameters. What a model is, is its text and not a symbolic
object: equal models have one text in every process, and a compiled kernel is found again without SymPy.

Reserved symbols: the scores ``r = ⟨x, X⟩`` and ``r_star = ⟨x, X*⟩``, the target ``y``, the norm ``n = ‖X‖₂``,
the label noise ``xi ~ N(0, 1)``, the time ``t = k/d``, the dimension ``d``, the learning rate ``gamma``, the
adversary's radius ``epsilon``, the ridge ``tau``, and ``pi``. Any other name is a parameter (``E`` and ``I``
too), a number or one number per class.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from sgdlimit.derive.errors import ModelError, ParameterError
from sgdlimit.derive.expression import canonical, names, parse

RESERVED = ("r", "y", "n", "r_star", "xi", "t", "d", "gamma", "epsilon", "tau", "pi")
"""Names with a meaning of their own; any other name is a parameter."""

_TRAINING = ("epsilon", "tau")  # reserved, and parameters of training that a user gives a value


class Symbolic(Protocol):
    """A SymPy expression, as far as this module looks at it."""

    @property
    def free_symbols(self) -> Any: ...


@dataclass(frozen=True, init=False, repr=False)
class _Text:
    """An expression kept as canonical text; a subclass says which reserved symbols it may use."""

    text: str

    _what: ClassVar[str]
    _symbols: ClassVar[tuple[str, ...]]
    _takes: ClassVar[str]

    def __init__(self, text: str | Symbolic) -> None:
        written = text if isinstance(text, str) else _written(text, self._what)
        expression = parse(written, where=self._what)
        object.__setattr__(self, "text", canonical(expression))
        free = names(expression)
        if not isinstance(text, str):
            _check_symbols(free, text, self._what)
        strangers = [name for name in free if name in RESERVED and name not in self._symbols]
        if strangers:
            why = f"{self.text!r} contains the reserved {' and '.join(strangers)}"
            raise ModelError(self._what, why, f"write an expression in {self._takes}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    @property
    def names(self) -> tuple[str, ...]:
        """Free names, sorted."""
        return names(parse(self.text, where=self._what))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names whose values the user gives, sorted."""
        return tuple(name for name in self.names if name not in RESERVED or name in _TRAINING)


def _written(expression: Symbolic, where: str) -> str:
    """Text of a SymPy expression that means the same number, to the last bit, in the expression language."""
    if not hasattr(expression, "free_symbols"):
        why = f"{expression!r} of type {type(expression).__name__} is not an expression"
        raise ModelError(where, why, "give text or a SymPy expression")
    from sympy.printing.str import StrPrinter

    # SymPy's own str() prints Euler's number as E, a parameter here, and doubles to 15 digits.
    class Printer(StrPrinter):
        def _print_Exp1(self, _: Any) -> str:
            return "exp(1)"

        def _print_Float(self, value: Any) -> str:
            return repr(float(value)) if value._prec == 53 else str(super()._print_Float(value))

    return str(Printer().doprint(expression))


def _check_symbols(free: tuple[str, ...], expression: Symbolic, where: str) -> None:
    """Refuse what SymPy prints as a name though it is none (``I``), and symbols read as something else."""
    symbols = {str(symbol) for symbol in expression.free_symbols}
    odd = sorted(symbols.symmetric_difference(free))
    if odd:
        why = f"{', '.join(map(repr, odd))} in the SymPy expression {expression} has no counterpart here"
        raise ModelError(where, why, "use real expressions in symbols with plain names, none of them pi")


# ── Loss, target, adversary ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, init=False, repr=False)
class Loss(_Text):
    """A loss ``f(r; y)`` of the score ``r = ⟨x, X⟩`` and the target ``y`` (``docs/theory.md`` §1).

    Parameters
    ----------
    text : str or SymPy expression
        An expression in ``r``, ``y`` and parameters. A link is part of it: ``(tanh(r) - y)**2/2``.

    Raises
    ------
    ExpressionError
        The text is not of the expression language.
    ModelError
        It does not contain ``r``, or contains another reserved symbol. (The adversary and the ridge are not
        written into a loss: they act through the parameters ``epsilon`` and ``tau`` of the model.)

    Examples
    --------
    >>> Loss("ln(1 + exp(-(y*r)))")
    Loss('log(1 + exp(-(y*r)))')
    >>> Loss("Piecewise((u**2/2, r < 1), (delta*r, True))").parameters
    ('delta', 'u')
    >>> Loss("(1 - y)**2")
    Traceback (most recent call last):
    sgdlimit.derive.errors.ModelError: loss: '(1 - y)**2' does not contain the score r; write a loss f(r; y)
    """

    _what = "loss"
    _symbols = ("r", "y")
    _takes = "r, y and parameters"

    def __init__(self, text: str | Symbolic) -> None:
        super().__init__(text)
        if "r" not in self.names:
            raise ModelError(self._what, f"{self.text!r} does not contain the score r", "write a loss f(r; y)")


@dataclass(frozen=True)
class Labels:
    """Targets that are constants of the classes: ``y`` is the label of the class (``docs/theory.md`` §1).

    Examples
    --------
    >>> Labels()
    Labels()
    """


@dataclass(frozen=True, init=False, repr=False)
class Teacher(_Text):
    """Targets ``y = φ(r*, ξ)`` of a teacher, ``r* = ⟨x, X*⟩`` and ``ξ ~ N(0, 1)`` (``docs/theory.md`` §1).

    Parameters
    ----------
    text : str or SymPy expression
        An expression in ``r_star``, ``xi`` and parameters. In ``r_star + sigma*xi``, ``sigma`` is the
        standard deviation of the label noise, not its variance.

    Raises
    ------
    ExpressionError
        The text is not of the expression language.
    ModelError
        It contains another reserved symbol.

    Examples
    --------
    >>> Teacher("r_star + sigma*xi").parameters
    ('sigma',)
    """

    _what = "teacher"
    _symbols = ("r_star", "xi")
    _takes = "r_star, xi and parameters"


@dataclass(frozen=True, init=False, repr=False)
class RandomLabels(_Text):
    """Targets ``y = ±1`` with ``P(y = +1 | r*) = h(r*)``, ``r* = ⟨x, X*⟩`` (``docs/theory.md`` §1).

    Parameters
    ----------
    text : str or SymPy expression
        The probability ``h``, an expression in ``r_star`` and parameters.

    Raises
    ------
    ExpressionError
        The text is not of the expression language.
    ModelError
        It contains another reserved symbol.

    Examples
    --------
    >>> RandomLabels("1/(1 + exp(-r_star))")
    RandomLabels('1/(1 + exp(-r_star))')
    """

    _what = "random labels"
    _symbols = ("r_star",)
    _takes = "r_star and parameters"


@dataclass(frozen=True)
class L2Adversary:
    """An adversary who moves the clean ``x`` by at most ``epsilon`` in ℓ2 (``docs/theory.md`` §1).

    Training then minimises ``f_adv(r, n; y) = sup_{|s| ≤ ε n} f(r + s; y)`` with ``n = ‖X‖₂``; the radius is
    the parameter ``epsilon`` of the model.

    Examples
    --------
    >>> L2Adversary()
    L2Adversary()
    """


Target: TypeAlias = Labels | Teacher | RandomLabels


@dataclass(frozen=True)
class Model:
    """What is learnt and against whom: a loss, a target and an adversary (``docs/theory.md`` §1).

    Streaming SGD takes one fresh sample each step, ``X ← X − (γ/d) ∇_X [f_adv(⟨x, X⟩, ‖X‖; y) + (τ/2)‖X‖²]``,
    in the time ``t = k/d``. The data (means, covariances, start) are not part of a model.

    Parameters
    ----------
    loss : Loss
    target : Labels, Teacher or RandomLabels
    adversary : L2Adversary, optional
        None: standard training, ``f_adv = f``.

    Raises
    ------
    ModelError
        A part is not of its type.

    Examples
    --------
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary())
    >>> model.parameters
    ('epsilon', 'tau', 'sigma')
    >>> print(model.canonical())
    loss = Loss('(r - y)**2/2')
    target = Teacher('r_star + sigma*xi')
    adversary = L2Adversary()
    """

    loss: Loss
    target: Target
    adversary: L2Adversary | None = None

    def __post_init__(self) -> None:
        _check_type("loss", self.loss, Loss)
        _check_type("target", self.target, Labels, Teacher, RandomLabels)
        _check_type("adversary", self.adversary, L2Adversary, type(None))

    @property
    def parameters(self) -> tuple[str, ...]:
        """``epsilon`` if there is an adversary, ``tau``, then those of the loss and the target, sorted."""
        own = {*self.loss.parameters}
        if not isinstance(self.target, Labels):
            own.update(self.target.parameters)
        return (*(("epsilon",) if self.adversary else ()), "tau", *sorted(own))

    @property
    def has_teacher(self) -> bool:
        """Whether the target depends on a teacher direction ``X*``."""
        return not isinstance(self.target, Labels)

    def canonical(self) -> str:
        """The one text of a model, a line for each part: equal models have equal texts."""
        return f"loss = {self.loss!r}\ntarget = {self.target!r}\nadversary = {self.adversary!r}"


def _check_type(where: str, given: object, *allowed: type) -> None:
    if not isinstance(given, allowed):
        kinds = " or ".join("None" if kind is type(None) else kind.__name__ for kind in allowed)
        raise ModelError(where, f"{given!r} is not {kinds}", f"write {where}={allowed[0].__name__}(...)")


# ── Statistics ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, init=False, repr=False)
class Expectation(_Text):
    """A statistic ``E g(r, y, n)`` over a fresh clean sample, ``n = ‖X‖₂`` (``docs/theory.md`` §2).

    It need not be of ``r − y`` where the loss is: then it is averaged over score and target, by joint moments where
    they have a closed form and by iterated integrals else.

    Parameters
    ----------
    text : str or SymPy expression
        An expression in ``r``, ``y``, ``n`` and parameters, those of training (``epsilon``, ``tau``) too.

    Raises
    ------
    ExpressionError
        The text is not of the expression language.
    ModelError
        It contains another reserved symbol.

    Examples
    --------
    >>> Expectation("y*r - epsilon*n").parameters
    ('epsilon',)
    """

    _what = "expectation"
    _symbols = ("r", "y", "n", *_TRAINING)
    _takes = "r, y, n and parameters"


@dataclass(frozen=True, init=False, repr=False)
class Formula(_Text):
    """A statistic that is a function of other statistics and parameters (``docs/theory.md`` §3).

    Parameters
    ----------
    text : str or SymPy expression
        An expression in names of statistics (``norm2``, ``overlap``, ``learning_rate``, …) and parameters.

    Raises
    ------
    ExpressionError
        The text is not of the expression language.
    ModelError
        It contains a reserved symbol other than ``epsilon`` and ``tau``.

    Examples
    --------
    >>> Formula("adversarial_risk - clean_risk").names
    ('adversarial_risk', 'clean_risk')
    """

    _what = "formula"
    _symbols = _TRAINING
    _takes = "names of statistics and parameters"


# ── Step sizes ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Constant:
    """A constant learning rate ``γ``: every step is ``γ/d`` (``docs/theory.md`` §4).

    Parameters
    ----------
    gamma : float
        Finite and positive. In the time ``t = k/d`` its effect does not depend on ``d``.

    Raises
    ------
    ParameterError
        ``gamma`` is not a finite positive number.

    Examples
    --------
    >>> Constant(1)
    Constant(gamma=1.0)
    """

    gamma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "gamma", _positive("gamma", self.gamma, "Constant(0.5)"))


@dataclass(frozen=True, init=False, repr=False)
class Schedule(_Text):
    """A learning rate ``γ(t)``: step ``k`` is ``γ(k/d)/d`` (``docs/theory.md`` §4).

    Parameters
    ----------
    text : str or SymPy expression
        An expression in ``t`` and parameters, those of training (``epsilon``, ``tau``) too.

    Raises
    ------
    ExpressionError
        The text is not of the expression language.
    ModelError
        It contains another reserved symbol.

    Examples
    --------
    >>> Schedule("gamma0/(1 + t)**power").parameters
    ('gamma0', 'power')
    """

    _what = "schedule"
    _symbols = ("t", *_TRAINING)
    _takes = "t and parameters"


SOURCES = ("limit", "iterate")
"""Where a simulation takes a learning rate from that follows the state."""


def _check_source(source: object) -> None:
    if source not in SOURCES:
        raise ParameterError("source", f"{source!r} is neither 'limit' nor 'iterate'", "the default is 'limit'")


@dataclass(frozen=True)
class LineSearch:
    """Exact line search: the ``γ`` that makes the adversarial risk ``ℛ`` fall fastest (``docs/theory.md`` §4).

    The ridge is part of ``ℛ``. With an adversary ``γ`` tends to 0 with ``‖X‖``: from ``X = 0`` it never starts.

    Parameters
    ----------
    source : {"limit", "iterate"}
        In a simulation: the limit's ``γ(t)``, or ``γ`` anew at every step from the iterate's own statistics.

    Raises
    ------
    ParameterError
        For another source.

    Examples
    --------
    >>> LineSearch()
    LineSearch(source='limit')
    """

    source: str = "limit"

    def __post_init__(self) -> None:
        _check_source(self.source)


@dataclass(frozen=True)
class Polyak:
    """Polyak's learning rate, idealised: ``γ`` that makes ``‖X − X°‖²`` fall fastest (``docs/theory.md`` §4).

    ``X°`` is the adversarial optimum; it must be finite.

    Parameters
    ----------
    source : {"limit", "iterate"}
        As of :class:`LineSearch`.

    Raises
    ------
    ParameterError
        For another source.

    Examples
    --------
    >>> Polyak(source="iterate")
    Polyak(source='iterate')
    """

    source: str = "limit"

    def __post_init__(self) -> None:
        _check_source(self.source)


@dataclass(frozen=True)
class Greedy:
    """The ``γ`` that makes a statistic fall fastest (``docs/theory.md`` §4).

    Parameters
    ----------
    statistic : str
        Its name; one that increases with the noise of SGD, or no learning rate is best.
    source : {"limit", "iterate"}
        As of :class:`LineSearch`.

    Raises
    ------
    ParameterError
        For a name that is none, or another source.

    Examples
    --------
    >>> Greedy("distance2")
    Greedy(statistic='distance2', source='limit')
    """

    statistic: str
    source: str = "limit"

    def __post_init__(self) -> None:
        if not (isinstance(self.statistic, str) and self.statistic.isidentifier()):
            why = f"{self.statistic!r} is not the name of a statistic"
            raise ParameterError("statistic", why, "write Greedy('clean_risk'), say")
        _check_source(self.source)


@dataclass(frozen=True)
class AdaGradNorm:
    """``γ(t) = η/√(b² + ∫₀ᵗ Σ_j G_j ds)`` (``docs/theory.md`` §4, arXiv 2405.19585).

    The limit of ``X ← X − η g_k/√(d² b² + Σ_{l≤k} ‖g_l‖²)``, ``g`` the whole stochastic gradient.

    Parameters
    ----------
    eta, b : float
        Finite and positive.
    source : {"limit", "iterate"}
        As of :class:`LineSearch`.

    Raises
    ------
    ParameterError
        For a number that is not finite and positive (with ``b = 0`` the first steps grow with ``d``), or another
        source.

    Examples
    --------
    >>> AdaGradNorm(1, 2)
    AdaGradNorm(eta=1.0, b=2.0, source='limit')
    """

    eta: float
    b: float
    source: str = "limit"

    def __post_init__(self) -> None:
        for name in ("eta", "b"):
            object.__setattr__(self, name, _positive(name, getattr(self, name), "AdaGradNorm(eta=1.0, b=1.0)"))
        _check_source(self.source)


StepSize: TypeAlias = Constant | Schedule | LineSearch | Polyak | Greedy | AdaGradNorm


def _positive(name: str, given: Any, example: str) -> float:
    """A finite positive number."""
    try:
        unreal = isinstance(given, bool) or not isinstance(given, numbers.Real)
        value = math.nan if unreal else float(given)
    except OverflowError:
        value = math.inf
    if not 0 < value < math.inf:
        raise ParameterError(name, f"{given!r} is not a finite positive number", f"write {example}")
    return value
