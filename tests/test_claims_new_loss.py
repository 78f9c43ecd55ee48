"""What notebooks/02-new-loss.ipynb says of the smooth quantile loss, with numbers."""

from __future__ import annotations

import math
import re

import pytest

import sgdlimit as sl

MODEL = sl.Model(sl.Loss("w*log(1 + exp((r - y)/w)) - q*(r - y)"), sl.Teacher("r_star + sigma*xi"), sl.L2Adversary())
BELOW = {"below": sl.Expectation("(1 + sign(r - y))/2")}
VALUES = {"epsilon": 0.2, "sigma": 0.5, "w": 0.2}


def share_below(q: float, epsilon: float = 0.2) -> float:
    instance = sl.Instance.power_law(math.inf, exponent=0.5, mean_norm=1.0)
    values = {**VALUES, "q": q, "epsilon": epsilon}
    return float(sl.solve(MODEL, instance, sl.Constant(1.0), values, 40.0, statistics=BELOW)["below"][-1])


def test_the_share_of_targets_below_the_score_is_q_and_a_stronger_adversary_draws_it_to_a_half() -> None:
    assert share_below(0.2) == pytest.approx(0.2, abs=0.005)
    assert share_below(0.5) == pytest.approx(0.5, abs=1e-9)
    assert share_below(0.8) == pytest.approx(0.8, abs=0.005)
    assert share_below(0.8) + share_below(0.2) == pytest.approx(1, abs=1e-7)  # the problem's mirror image
    assert share_below(0.8, epsilon=0.4) == pytest.approx(0.758, abs=0.001)


def test_no_coefficient_is_closed_and_the_adversary_does_not_just_push_away_from_the_target() -> None:
    limit = sl.derive(MODEL, statistics=BELOW)
    assert "closed forms: none" in repr(limit)
    source = sl.emit(limit, target="c", parts=["sgd"])
    begin = source.index("static inline void gradient(double r")
    gradient = source[begin : source.index("\n}", begin)]
    assert len(re.findall("softplus", gradient)) == 2  # the losses at the two endpoints are compared


@pytest.mark.long
def test_wrong_equations_fail() -> None:
    """B is 10 % too large: tens of standard errors off."""
    instance = sl.Instance.power_law(100, exponent=0.5, mean_norm=1.0)
    wrong = sl.load_kernel(MODEL, limit=sl.derive(MODEL, statistics=BELOW).scale("B", 1.1))
    report = sl.verify(
        MODEL,
        instance,
        sl.Constant(1.0),
        {**VALUES, "q": 0.8},
        10.0,
        budget=1e7,
        resolution=0.2,
        statistics=BELOW,
        kernel=wrong,
    )
    assert report.verdict == "failed"


@pytest.mark.long
def test_the_verdict_is_passed() -> None:
    instance = sl.Instance.power_law(100, exponent=0.5, mean_norm=1.0)
    values = {**VALUES, "q": 0.8}
    assert sl.verify(
        MODEL, instance, sl.Constant(1.0), values, 10.0, budget=1e9, resolution=0.05, statistics=BELOW
    ).passed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exp(r**2)", "its risk diverges for Q >= 1/2"),
        ("log(r)", "complex or undefined for r <= 0"),
        ("Heaviside(-y*r)", "jumps by -sign(y) at r = 0"),
        ("Abs(r - y)**0.5", "its gradient noise is infinite"),
        ("(r - y)**2/(2*q", "the text ends where ')' should"),
    ],
)
def test_a_loss_that_cannot_be_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(sl.SgdlimitError, match=re.escape(why)):
        sl.derive(sl.Model(sl.Loss(text), sl.Teacher("r_star + sigma*xi"), sl.L2Adversary()))
