"""Statistics of an iterate from fresh scores: unbiased, the supremum by search, and never silently undefined."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from models import CASES

import reference
from sgdlimit.codegen.library.problem import SUMMARY
from sgdlimit.derive import Expectation, Formula, L2Adversary, Labels, Loss, Model, RandomLabels, Teacher
from sgdlimit.derive.errors import Diverged, InputError, InstanceError, ModelError
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.one_step import summary_of
from sgdlimit.runtime.scores import (
    ScoreProblem,
    averaged_over_scores,
    brute_gradient,
    iterate_statistics,
    score_averages,
    score_statistics,
    worst_case,
)

LEAST_SQUARES = CASES["adversarial least squares"].model
VALUES = {"epsilon": 0.4, "sigma": 0.5}


def instance_for(model: Model, d: int = 20) -> Instance:
    labels = {"probabilities": [0.3, 0.7], "labels": [-1, 1]} if isinstance(model.target, Labels) else {}
    return Instance.power_law(d, exponent=0.3, mean_norm=0.8, mean_overlap=0.4, **labels)


def summaries_of(instance: Instance, *, runs: int, seed: int = 0) -> np.ndarray:
    """Summaries ``[runs, 2, summary_size(K)]`` of iterates here and there."""
    rng = np.random.default_rng(seed)
    iterates = rng.standard_normal((runs, 2, instance.modes)) / math.sqrt(instance.modes)
    return np.array([[summary_of(instance, X) for X in run] for run in iterates])


# ── Averages ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CASES)
def test_averages_are_those_of_the_definition(name: str) -> None:
    """256 independent averages at one iterate against quadrature: no bias within 4.5 standard errors of their mean."""
    case, epsilon = CASES[name], 0.3
    instance = instance_for(case.model)
    summary = summaries_of(instance, runs=1, seed=3)[0, :1]
    values = {**case.parameters, **({"epsilon": epsilon} if case.model.adversary else {})}
    found = score_statistics(case.model, instance, np.repeat(summary, 256, axis=0), values, draws=64, seed=1)

    model = case.reference(epsilon)
    law = [
        reference.ScoreLaw.from_moments(
            m, Q, c, float(instance.means[i] @ instance.teacher), float(instance.eigenvalues[i] @ instance.teacher**2)
        )
        for i, (m, c, Q) in enumerate(summary[0, len(SUMMARY) :].reshape(-1, 3))
    ]
    labels = [None] if instance.labels is None else instance.labels
    exact = [
        reference.coefficients_of(model, one, math.sqrt(summary[0, 0]), y) for one, y in zip(law, labels, strict=True)
    ]
    for ours, theirs in {
        "adversarial_risk": "R",
        "clean_risk": "clean_risk",
        "clean_error": "clean_error",
        "robust_error": "robust_error",
    }.items():
        if ours in found:
            expected = sum(p * e[theirs] for p, e in zip(instance.probabilities, exact, strict=True))
            error = found[ours].std(ddof=1) / 16
            assert abs(found[ours].mean() - expected) < 4.5 * error + 1e-12, ours
            assert error < 0.02 * expected


def test_a_random_label_is_taken_both_ways() -> None:
    """``E[h f(r, 1) + (1 - h) f(r, -1)]`` at X = 0 is ``log 2`` exactly: no label is drawn."""
    model = Model(Loss("log(1 + exp(-y*r))"), RandomLabels("1/(1 + exp(-3*r_star))"))
    instance = instance_for(model)
    at_zero = summary_of(instance, np.zeros(20))[np.newaxis]
    found = score_statistics(model, instance, at_zero, {}, statistics={"mean label": Expectation("y")}, draws=16)
    assert found["clean_risk"] == pytest.approx(math.log(2), rel=1e-14)
    # ... and E y = E tanh(3 r*/2), by quadrature
    z, w = np.polynomial.hermite_e.hermegauss(80)
    spread = math.sqrt(float(instance.eigenvalues[0] @ instance.teacher**2))
    centre = float(instance.means[0] @ instance.teacher)
    expected = w @ np.tanh(1.5 * (centre + spread * z)) / w.sum()
    many = score_statistics(
        model, instance, np.repeat(at_zero, 64, axis=0), {}, ["e"], statistics={"e": Expectation("y")}, draws=1024
    )
    assert many["e"].mean() == pytest.approx(expected, abs=1e-3)


def test_a_certain_random_label_does_not_meet_the_loss_of_the_other() -> None:
    """``0 * inf`` is 0 where a label has probability 0."""
    model = Model(Loss("exp(-1000*y*(r + 1))"), RandomLabels("1"))
    instance = Instance(probabilities=[1], eigenvalues=0.0, means=0, teacher=[1, 0], start=0)
    found = score_statistics(model, instance, np.zeros((1, 8)), {}, draws=16)
    assert found["clean_risk"] == 0


def test_ties_count_half_so_that_the_origin_errs_half_of_the_time() -> None:
    model = CASES["adversarial logistic, labels"].model
    instance = instance_for(model)
    found = score_statistics(model, instance, summary_of(instance, np.zeros(20))[np.newaxis], {"epsilon": 0.3})
    assert found["clean_error"] == 0.5
    assert found["robust_error"] == 0.5


def test_a_lattice_is_far_better_than_independent_draws() -> None:
    instance = instance_for(LEAST_SQUARES)
    summary = np.repeat(summaries_of(instance, runs=1)[0, :1], 400, axis=0)
    found = score_statistics(LEAST_SQUARES, instance, summary, VALUES, ["adversarial_risk"], draws=256)
    second = {"second": Expectation("(Abs(r - y) + epsilon*n)**4/4")}
    moment = score_statistics(LEAST_SQUARES, instance, summary, VALUES, statistics=second, draws=4096)["second"].mean()
    independent = math.sqrt((moment - found["adversarial_risk"].mean() ** 2) / 256)
    assert found["adversarial_risk"].std() < 0.5 * independent


def test_the_difference_to_a_nearby_iterate_is_far_better_than_either() -> None:
    """Same draws on both sides: its error is a tenth, and its mean the difference of the means."""
    instance = instance_for(LEAST_SQUARES)
    here, there = (summaries_of(instance, runs=1)[0, 0] * s for s in (1.0, 1.02))
    problem = ScoreProblem.of(LEAST_SQUARES, instance, VALUES, 64, 5)
    averaged = averaged_over_scores(LEAST_SQUARES, ["adversarial_risk"], {})
    cells, beside = (np.tile(s, (2000, 1)) for s in (here, there))
    plain = score_averages(problem, cells, averaged)
    other = score_averages(problem, beside, averaged, first_cell=10**6)
    difference = score_averages(problem, cells, averaged, beside=beside)
    assert difference.std() < 0.1 * plain.std()
    error = math.hypot(plain.std(), other.std()) / math.sqrt(2000)
    assert abs(difference.mean() - (plain.mean() - other.mean())) < 4 * error


def test_the_draws_of_a_run_do_not_depend_on_what_is_beside_it() -> None:
    instance = instance_for(LEAST_SQUARES)
    summaries = summaries_of(instance, runs=3000)
    whole, threaded = (
        score_statistics(LEAST_SQUARES, instance, summaries, VALUES, draws=32, seed=2, threads=k) for k in (1, 3)
    )
    part = score_statistics(LEAST_SQUARES, instance, summaries[2500:], VALUES, draws=32, seed=2, first_run=2500)
    other = score_statistics(LEAST_SQUARES, instance, summaries, VALUES, draws=32, seed=3)
    for name in ("adversarial_risk", "clean_risk"):
        assert np.array_equal(whole[name], threaded[name])
        assert np.array_equal(whole[name][2500:], part[name])
        assert not np.array_equal(whole[name], other[name])


def test_direct_statistics_are_those_of_the_summary() -> None:
    instance = instance_for(LEAST_SQUARES)
    summaries = summaries_of(instance, runs=2)
    names = ["norm2", "overlap", "cosine", "distance2"]
    found = score_statistics(LEAST_SQUARES, instance, summaries, VALUES, names)
    assert list(found) == names
    for k, name in enumerate(("norm2", "overlap", "distance2")):
        assert np.array_equal(found[name], summaries[..., k])
    norms = np.sqrt(summaries[..., 0]) * np.linalg.norm(instance.teacher)
    assert np.allclose(found["cosine"], summaries[..., 1] / norms)
    at_zero = score_statistics(LEAST_SQUARES, instance, summary_of(instance, np.zeros(20))[np.newaxis], VALUES)
    assert at_zero["cosine"] == 0


def test_parameters_may_differ_between_classes() -> None:
    model = Model(Loss("weight*(r - y)**2/2"), Labels())
    instance = Instance(probabilities=[0.25, 0.75], eigenvalues=0.0, means=0, start=[0], labels=[-1, 2])
    found = score_statistics(model, instance, np.zeros((1, 11)), {"weight": [2.0, 10.0]})
    assert found["clean_risk"] == pytest.approx(0.25 * 2 * 0.5 + 0.75 * 10 * 2)


def test_formulas_are_made_of_the_statistics_of_an_iterate() -> None:
    instance = instance_for(LEAST_SQUARES)
    own = {
        "gap": Formula("adversarial_risk - clean_risk"),
        "pace": Formula("learning_rate*gap"),
        "ridge": Formula("2*effective_ridge"),
        "scaled": Formula("gap/epsilon"),
    }
    assert iterate_statistics(LEAST_SQUARES, own)[-3:] == ("gap", "pace", "scaled")
    summaries = summaries_of(instance, runs=2)
    summaries[..., SUMMARY.index("learning_rate")] = [0.5, 0.25]
    found = score_statistics(LEAST_SQUARES, instance, summaries, VALUES, statistics=own)
    assert np.allclose(found["pace"], (found["adversarial_risk"] - found["clean_risk"]) * [0.5, 0.25])
    alone = score_statistics(LEAST_SQUARES, instance, summaries, VALUES, ["scaled"], statistics=own)
    assert list(alone) == ["scaled"]
    assert np.allclose(alone["scaled"], found["gap"] / 0.4)


def test_error_rates_are_defined_for_classes_alone() -> None:
    loss = Loss("log(1 + exp(-y*r))")
    for target in (Labels(), RandomLabels("Phi(r_star)"), Teacher("sign(r_star + s*xi)")):
        assert {"clean_error", "robust_error"} <= set(iterate_statistics(Model(loss, target, L2Adversary())))
        assert "robust_error" not in iterate_statistics(Model(loss, target))
    assert "clean_error" not in iterate_statistics(LEAST_SQUARES)
    with pytest.raises(ModelError, match="clean_error"):
        score_statistics(LEAST_SQUARES, instance_for(LEAST_SQUARES), np.zeros((1, 8)), VALUES, ["clean_error"])


# ── The supremum by search ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["adversarial least squares", "adversarial Huber"])
def test_a_quasi_convex_loss_has_its_supremum_at_the_farther_endpoint(name: str) -> None:
    loss = CASES[name].reference(0.3).loss
    r = np.linspace(-4, 4, 401)
    value, shift = worst_case(lambda s: loss(s, 0.5), r, np.full_like(r, 0.7))
    assert np.allclose(value, np.maximum(loss(r + 0.7, 0.5), loss(r - 0.7, 0.5)), rtol=1e-15)
    away = np.abs(r - 0.5) > 1e-9
    assert np.array_equal(np.sign(shift[away]), np.sign(r[away] - 0.5))
    assert np.all(np.abs(shift) == 0.7)


@pytest.mark.parametrize(
    "loss",
    [
        lambda r: np.cos(2 * r) - 0.1 * r,
        lambda r: r**2 * np.exp(-(r**2)),
        lambda r: np.minimum(r**2, (r - 1) ** 2),
        lambda r: -np.abs(r),
    ],
)
def test_maxima_inside_the_ball_are_found_smooth_or_not(loss) -> None:  # type: ignore[no-untyped-def]
    """Against 4001 points of the interval."""
    r = np.linspace(-2, 2, 81)
    value, shift = worst_case(loss, r, np.array(0.8))
    s = np.linspace(-0.8, 0.8, 4001)
    exhaustive = loss(r[:, np.newaxis] + s).max(axis=1)
    assert np.all(value >= exhaustive - 2e-6)  # at a kink the place is found to 1e-6 of the reach
    assert np.allclose(value, exhaustive, atol=1e-3)
    assert np.allclose(value, loss(r + shift), atol=1e-12)
    assert np.all(np.abs(shift) <= 0.8 + 1e-15)
    assert np.any(np.abs(shift) < 0.79)


def test_no_reach_is_no_adversary() -> None:
    r = np.linspace(-1, 1, 5)
    value, shift = worst_case(lambda s: s**2, r, np.zeros(5))
    assert np.array_equal(value, r**2)
    assert not shift.any()


@pytest.mark.parametrize("loss", [lambda r: np.logaddexp(0, -r), lambda r: (r - 0.3) ** 2, lambda r: np.cos(2 * r)])
def test_gradients_are_the_slopes_of_the_searched_supremum(loss) -> None:  # type: ignore[no-untyped-def]
    """Envelope theorem, interior maxima included; points where the maximiser changes sides are left out."""
    epsilon, h = 0.4, 1e-4
    r, n = (a.ravel() for a in np.meshgrid(np.linspace(-2, 2, 23), np.linspace(0.3, 2, 7)))
    d_r, d_n = brute_gradient(loss, r, n, epsilon)

    def supremum(r: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return worst_case(loss, r, epsilon * n)

    (up, s_up), (down, s_down) = supremum(r + h, n), supremum(r - h, n)
    (more, _), (less, _) = supremum(r, n + h), supremum(r, n - h)
    # the search finds the place of a smooth interior maximum to 1e-6 or so, its value to the square of that
    same = np.abs(s_up - s_down) < 10 * h
    assert same.mean() > 0.8
    assert np.allclose(d_r[same], ((up - down) / (2 * h))[same], atol=2e-4)
    assert np.allclose(d_n[same], ((more - less) / (2 * h))[same], atol=2e-4)


# ── Nothing undefined in silence ────────────────────────────────────────────────────────────────────────────


def test_an_overflow_is_a_divergence_with_its_time() -> None:
    model = Model(Loss("exp(-y*r)"), Labels())
    instance = Instance(probabilities=[1], eigenvalues=0.0, means=[[1.0]], labels=[1], start=0)
    here, far = summary_of(instance, np.array([-1.0])), summary_of(instance, np.array([-800.0]))
    with pytest.raises(Diverged, match="risk is inf in run 1") as caught:
        score_statistics(model, instance, np.array([[here, here], [here, far]]), {}, times=[1.0, 2.5])
    assert caught.value.time == 2.5


def test_summaries_that_are_not_finite_are_a_divergence() -> None:
    instance = instance_for(LEAST_SQUARES)
    summaries = summaries_of(instance, runs=2)
    summaries[1, 0, 0] = np.nan
    with pytest.raises(Diverged) as caught:
        score_statistics(LEAST_SQUARES, instance, summaries, VALUES, times=[0.5, 1.0])
    assert caught.value.time == 0.5


def test_an_expression_that_is_not_a_number_is_named_with_a_sample() -> None:
    instance = instance_for(LEAST_SQUARES)
    with pytest.raises(ModelError, match=r"statistic odd: log\(r\) is not a number at r = -"):
        score_statistics(
            LEAST_SQUARES, instance, summaries_of(instance, runs=2), VALUES, statistics={"odd": Expectation("log(r)")}
        )


def test_bad_input_is_told() -> None:
    labels = CASES["adversarial logistic, labels"].model
    bare = Instance(probabilities=[1], eigenvalues=1.0, means=0, start=[0, 0])
    at_zero = np.zeros((1, 8))
    with pytest.raises(InstanceError, match="labels"):
        score_statistics(labels, bare, at_zero, {"epsilon": 0.1})
    with pytest.raises(InstanceError, match="teacher"):
        score_statistics(LEAST_SQUARES, bare, at_zero, VALUES)
    with pytest.raises(InstanceError, match="holds 8 numbers"):
        score_statistics(LEAST_SQUARES, bare, np.zeros((1, 7)), VALUES)
    with pytest.raises(InputError, match="draws"):
        score_statistics(LEAST_SQUARES, instance_for(LEAST_SQUARES), at_zero, VALUES, draws=0)
    with pytest.raises(ModelError, match="none called"):
        score_statistics(LEAST_SQUARES, instance_for(LEAST_SQUARES), at_zero, VALUES, ["robustness"])


def test_scores_know_nothing_of_the_derivation() -> None:
    program = (
        "import sys, numpy as np\n"
        "from sgdlimit.derive.model import Labels, Loss, Model\n"
        "from sgdlimit.runtime.instance import Instance\n"
        "from sgdlimit.runtime.scores import score_statistics\n"
        "one = Instance(probabilities=[1], eigenvalues=1.0, means=0, labels=[1], start=[0])\n"
        "score_statistics(Model(Loss('log(1 + exp(-y*r))'), Labels()), one, np.ones((1, 8)), {})\n"
        "assert not {'sympy', 'sgdlimit.codegen.lower', 'sgdlimit.derive.limit'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
