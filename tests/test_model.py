"""The nouns of a model: canonical text, parameters, and what each refuses."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import math
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import sympy

from sgdlimit.derive import model as module
from sgdlimit.derive.errors import ExpressionError, ModelError, ParameterError
from sgdlimit.derive.expression import names, parse
from sgdlimit.derive.model import (
    RESERVED,
    Constant,
    Expectation,
    Formula,
    L2Adversary,
    Labels,
    Loss,
    Model,
    RandomLabels,
    Schedule,
    Target,
    Teacher,
)

TEXTS = (Loss, Teacher, RandomLabels, Expectation, Formula, Schedule)


# ── Texts ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_is_kept_canonical_so_equal_losses_are_equal() -> None:
    loss = Loss("ln( 1 + exp(-y * r) )")
    assert repr(loss) == "Loss('log(1 + exp(-y*r))')"
    assert loss.text == "log(1 + exp(-y*r))"
    assert loss == Loss(loss.text)
    assert hash(loss) == hash(Loss(loss.text))


def test_nouns_of_different_kinds_differ_even_with_one_text() -> None:
    teacher: object = Teacher("r_star")
    assert teacher != RandomLabels("r_star")


@pytest.mark.parametrize("noun", [Loss("r*y"), Model(Loss("r"), Teacher("xi"), L2Adversary()), Constant(2.0)])
def test_nouns_are_frozen_and_survive_copies_and_pickles(noun: Any) -> None:
    assert pickle.loads(pickle.dumps(noun)) == noun
    assert copy.deepcopy(noun) == noun
    field = dataclasses.fields(noun)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(noun, field, None)


_ALLOWED = {
    Loss: {"r", "y"},
    Teacher: {"r_star", "xi"},
    RandomLabels: {"r_star"},
    Expectation: {"r", "y", "n", "epsilon", "tau"},
    Formula: {"epsilon", "tau"},
    Schedule: {"t", "epsilon", "tau"},
}


@pytest.mark.parametrize("noun", TEXTS)
@pytest.mark.parametrize("symbol", [name for name in RESERVED if name != "pi"])
def test_a_reserved_symbol_is_taken_only_where_it_has_a_meaning(noun: Any, symbol: str) -> None:
    text = f"r + {symbol}*sigma" if noun is Loss else f"{symbol}*sigma"
    if symbol in _ALLOWED[noun]:
        assert symbol in noun(text).names
    else:
        with pytest.raises(ModelError, match=f"contains the reserved {symbol}; write an expression in "):
            noun(text)


def test_every_other_name_is_a_parameter_and_pi_is_not() -> None:
    loss = Loss("I*r**2/2 + E*y + pi*delta - beta")
    assert loss.parameters == ("E", "I", "beta", "delta")
    assert loss.names == ("E", "I", "beta", "delta", "r", "y")
    assert Expectation("y*r - epsilon*n + tau").parameters == ("epsilon", "tau")
    assert Schedule("1/(tau*(t + t0))").parameters == ("t0", "tau")
    assert Formula("norm2/scale").parameters == ("norm2", "scale")


def test_a_loss_depends_on_the_score() -> None:
    with pytest.raises(ModelError, match=r"loss: 'y\*\*2' does not contain the score r"):
        Loss("y**2")


@pytest.mark.parametrize("noun", TEXTS)
def test_an_error_in_the_text_says_which_noun_and_where(noun: Any) -> None:
    with pytest.raises(ExpressionError, match="write \\*\\* for a power") as caught:
        noun("2^x")
    assert caught.value.where == noun._what
    assert caught.value.position == 1


@pytest.mark.parametrize("given", [3, 0.5, None, ["r"], b"r"])
def test_what_is_neither_text_nor_symbolic_is_refused(given: Any) -> None:
    with pytest.raises(ModelError, match="give text or a SymPy expression"):
        Loss(given)


# ── SymPy expressions ───────────────────────────────────────────────────────────────────────────────────────

_r, _y, _delta = sympy.symbols("r y delta", real=True)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (sympy.log(1 + sympy.exp(-_r * _y)), "log(1 + exp(-r*y))"),
        (sympy.Max(0, 1 - _r * _y), "Max(0, -r*y + 1)"),
        (
            sympy.Piecewise((_r**2 / 2, sympy.Abs(_r) < 1), (sympy.Abs(_r) - sympy.Rational(1, 2), True)),
            "Piecewise((r**2/2, Abs(r) < 1), (Abs(r) - 1/2, True))",
        ),
        (sympy.E * _r, "exp(1)*r"),
        (_r / 3.0, "0.3333333333333333*r"),
        (sympy.pi * _r, "pi*r"),
        (_r * sympy.Symbol("E"), "E*r"),
    ],
)
def test_a_sympy_expression_is_kept_as_text(given: Any, text: str) -> None:
    assert Loss(given) == Loss(text)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 2 / 3 * 1e-17, math.nextafter(1.0, 2.0), 1.7e300])
def test_a_double_in_a_sympy_expression_keeps_every_bit(value: float) -> None:
    (coefficient, _) = Loss(sympy.Float(value) * _r).text.split("*r")
    assert float(coefficient) == value


@pytest.mark.parametrize(
    "given",
    [
        sympy.I * _r,
        sympy.EulerGamma * _r,
        sympy.oo * _r,
        sympy.Symbol("pi") * _r,
        sympy.Symbol("r + 1"),
        sympy.asin(_r),
        sympy.Matrix([_r]),
        _r < 1,
    ],
    ids=str,
)
def test_a_sympy_expression_that_the_language_cannot_say_is_refused(given: Any) -> None:
    with pytest.raises((ModelError, ExpressionError)):
        Loss(given)


# ── Models ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "parameters", "has_teacher"),
    [
        (Model(Loss("log(1 + exp(-y*r))"), Labels()), ("tau",), False),
        (Model(Loss("Abs(r - y)*b"), Labels(), L2Adversary()), ("epsilon", "tau", "b"), False),
        (Model(Loss("(r - y)**2*zeta"), Teacher("r_star + alpha*xi")), ("tau", "alpha", "zeta"), True),
        (Model(Loss("r*b"), RandomLabels("Phi(b*r_star)"), L2Adversary()), ("epsilon", "tau", "b"), True),
    ],
)
def test_parameters_are_the_radius_the_ridge_and_the_sorted_others(
    model: Model, parameters: tuple[str, ...], has_teacher: bool
) -> None:
    assert model.parameters == parameters
    assert model.has_teacher is has_teacher


def test_models_have_one_canonical_text_exactly_when_they_are_equal() -> None:
    losses = [Loss("(r - y)**2/2"), Loss("Abs(r - y)")]
    targets: list[Target] = [Labels(), Teacher("r_star"), RandomLabels("r_star")]
    models = [Model(f, target, adversary) for f in losses for target in targets for adversary in (None, L2Adversary())]
    assert len({model.canonical() for model in models}) == len(set(models)) == 12
    again = Model(Loss("( r-y )**2 / 2"), Labels())
    assert again == models[0]
    assert again.canonical() == models[0].canonical()
    assert models[0].canonical().splitlines() == [
        "loss = Loss('(r - y)**2/2')",
        "target = Labels()",
        "adversary = None",
    ]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("r", Labels()), r"loss: 'r' is not Loss; write loss=Loss\(...\)"),
        ((Loss("r"), Labels), "target: .* is not Labels or Teacher or RandomLabels"),
        ((Loss("r"), Labels(), "l2"), "adversary: 'l2' is not L2Adversary or None"),
    ],
)
def test_a_part_of_the_wrong_type_is_refused(parts: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Model(*parts)


# ── Step sizes ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("gamma", [0.5, 1, np.float64(0.5), np.float32(0.5), np.int64(2), 5e-324])
def test_a_constant_learning_rate_is_a_float(gamma: Any) -> None:
    assert type(Constant(gamma).gamma) is float
    assert Constant(gamma).gamma == gamma


@pytest.mark.parametrize("gamma", [0, -1.0, math.nan, math.inf, True, "1", None, 1j, 10**400])
def test_a_learning_rate_that_is_no_finite_positive_number_is_refused(gamma: Any) -> None:
    with pytest.raises(ParameterError, match=r"gamma: .* is not a finite positive number"):
        Constant(gamma)


def test_a_schedule_is_an_expression_in_time_and_parameters() -> None:
    schedule = Schedule("gamma0 / (1+t)**power")
    assert repr(schedule) == "Schedule('gamma0/(1 + t)**power')"
    assert schedule.parameters == ("gamma0", "power")
    assert names(parse(schedule.text)) == ("gamma0", "power", "t")


# ── The module ──────────────────────────────────────────────────────────────────────────────────────────────


def test_models_are_written_without_sympy_and_numpy() -> None:
    code = (
        "import sys; from sgdlimit.derive.model import *; Model(Loss('r*y'), Labels()).canonical();"
        "print(sorted({'sympy', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_examples_in_the_documentation_run() -> None:
    assert doctest.testmod(module).failed == 0
