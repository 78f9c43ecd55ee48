"""The reference for every model's coefficients: known formulas, Price's identities, brute force, and its data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from coefficient_data import COUNTS, read, state_of
from quadrature_reference import COEFFICIENTS, OneForm, RandomLabels, State, TeacherLoss, coefficients
from reference_models import MODELS, Parameters, states
from scipy.special import erf, expit, ndtr

import reference

USUAL = State(
    m=0.7, dm=0.4, m_star=0.3, beta=0.6, beta1=-0.4, Q_perp=0.5, Q_star=1.5, n=1.1, epsilon=0.4, y=1.0
)  # fmt: skip
PARAMETERS = {"sigma": 0.5, "delta": 0.7, "q": 0.7, "width": 0.4}
LAWS = [  # (beta, Q_perp, Q_star): generic, parallel, opposite, nearly parallel, small, large
    (0.6, 0.5, 1.5),
    (1.3, 0.0, 0.8),
    (-0.4, 0.0, 2.0),
    (0.9, 1e-14, 1.0),
    (1e-6, 1e-12, 1.0),
    (20.0, 3000.0, 4.0),
]


def centred(beta: float, Q_perp: float, Q_star: float, m: float = 0.0, m_star: float = 0.0) -> State:
    return State(m, m - m_star, m_star, beta, beta - 1, Q_perp, Q_star, 1.0)


def close(found: dict[str, float], wanted: dict[str, float], tolerance: float = 2e-12) -> None:
    for name, value in wanted.items():
        assert abs(found[name] - value) <= tolerance * found[f"abs_{name}"] + 1e-300, (name, found[name], value)


# ------------------------------------------------------------------------------------------------- known formulas


@pytest.mark.parametrize("law", [LAWS[1], LAWS[3], LAWS[5]])
def test_two_error_functions_have_the_arcsine_risk(law: tuple[float, float, float]) -> None:
    """Saad and Solla (1995)."""
    state = centred(*law)
    Q, c, Q_star = state.Q, state.beta * state.Q_star, state.Q_star
    cross = math.asin(c / math.sqrt((1 + Q) * (1 + Q_star)))
    risk = (math.asin(Q / (1 + Q)) + math.asin(Q_star / (1 + Q_star)) - 2 * cross) / math.pi
    found = coefficients(MODELS["erf-regression"].definition, state)
    close(found, {"R": risk, "clean_risk": risk, "F": 0.0})
    close(found, {"D": -2 / math.pi / math.sqrt((1 + Q) * (1 + Q_star) - c * c)}, 1e-11)


@pytest.mark.parametrize("law", LAWS)
def test_two_rectified_units_have_the_arccosine_risk(law: tuple[float, float, float]) -> None:
    state = centred(*law)
    Q, Q_star = state.Q, state.Q_star
    sine_part = math.sqrt(state.Q_perp * Q_star)  # sqrt(Q Q*) sin(angle)
    angle = math.atan2(sine_part, state.beta * Q_star)
    overlap = (sine_part + (math.pi - angle) * state.beta * Q_star) / (2 * math.pi)
    wanted = {
        "R": 0.25 * (Q + Q_star) - overlap,
        "B": 0.5 - sine_part / (2 * math.pi * Q),
        "D": -(math.pi - angle) / (2 * math.pi),
    }
    found = coefficients(MODELS["relu-regression"].definition, state)
    if law[0] < 0:  # no sample has both units on
        assert found["D"] == 0
        del wanted["D"]
    close(found, wanted)


@pytest.mark.parametrize("law", LAWS)
def test_phase_retrieval_is_a_polynomial(law: tuple[float, float, float]) -> None:
    state = centred(*law, m=0.8, m_star=-0.5)
    m, m_star, Q, c, Q_star = state.m, state.m_star, state.Q, state.beta * state.Q_star, state.Q_star
    fourth = m**4 + 6 * m**2 * Q + 3 * Q**2
    fourth_star = m_star**4 + 6 * m_star**2 * Q_star + 3 * Q_star**2
    mixed = (m**2 + Q) * (m_star**2 + Q_star) + 2 * c**2 + 4 * m * m_star * c
    wanted = {
        "R": 0.25 * (fourth - 2 * mixed + fourth_star),
        "A": m**3 + 3 * m * Q - m * (m_star**2 + Q_star) - 2 * m_star * c,
        "B": 3 * (m**2 + Q) - m_star**2 - Q_star,
        "D": -2 * (m * m_star + c),
    }
    close(coefficients(MODELS["phase-retrieval"].definition, state), wanted)


@pytest.mark.parametrize("law", LAWS[:5])
def test_poisson_without_an_adversary_is_a_sum_of_exponentials(law: tuple[float, float, float]) -> None:
    state = centred(*law, m=0.8, m_star=-0.5)
    m, m_star, Q, c, Q_star = state.m, state.m_star, state.Q, state.beta * state.Q_star, state.Q_star
    mean, target = math.exp(m + Q / 2), math.exp(m_star + Q_star / 2)
    wanted = {
        "R": mean - (m + c) * target,
        "A": mean - target,
        "B": mean,
        "D": -target,
        "I": math.exp(2 * (m + Q))
        - 2 * math.exp(m + m_star + Q / 2 + c + Q_star / 2)
        + math.exp(2 * (m_star + Q_star)),
    }
    close(coefficients(MODELS["poisson"].definition, state), wanted)


@pytest.mark.parametrize("law", LAWS[:5])
def test_the_sign_of_the_teacher_has_its_dirac(law: tuple[float, float, float]) -> None:
    """The hinge loss with all scores within its margin: ``f = 1 - y r``."""
    beta, Q_perp, Q_star = law
    state = centred(beta, 1e-4 * Q_perp, Q_star)
    definition = RandomLabels(MODELS["hinge-logistic-labels"].definition.loss, None)  # type: ignore[union-attr]
    small = replace(state, beta=1e-3 * state.beta, beta1=1e-3 * state.beta - 1)
    # A = -E sign(r*), R = 1 - E[r sign(r*)], D = -2 p(r* = 0)
    overlap = small.beta * math.sqrt(2 * Q_star / math.pi)
    close(coefficients(definition, small), {"R": 1 - overlap, "A": 0.0, "D": -2 / math.sqrt(2 * math.pi * Q_star)})


def test_a_probit_label_of_a_gaussian_score_is_a_probit_label() -> None:
    """``y = sign(r* + noise)``: the sign of a teacher of variance ``Q* + 1`` with the same covariance."""
    state = replace(USUAL, epsilon=0.0)
    hinge = MODELS["hinge-logistic-labels"].definition.loss  # type: ignore[union-attr]
    probit = MODELS["probit"].definition
    found = coefficients(RandomLabels(hinge, probit.h, probit.slope), state)  # type: ignore[union-attr]
    Q_star = state.Q_star + 1
    beta = state.beta * state.Q_star / Q_star
    noisy = replace(state, beta=beta, beta1=beta - 1, Q_star=Q_star, Q_perp=state.Q - beta**2 * Q_star)
    close(found, {name: coefficients(RandomLabels(hinge, None), noisy)[name] for name in COEFFICIENTS})


# ------------------------------------------------------------------------- Price's identities, the other reference


def moved(state: State, dm: float = 0.0, dQ: float = 0.0, dc: float = 0.0, dn: float = 0.0) -> State:
    beta = state.beta + dc / state.Q_star
    return replace(
        state,
        m=state.m + dm,
        dm=state.dm + dm,
        beta=beta,
        beta1=beta - 1,
        Q_perp=state.Q + dQ - beta**2 * state.Q_star,
        n=state.n + dn,
    )


ONE_DIMENSIONAL = [name for name, model in MODELS.items() if not model.two_dimensional]
NESTED = [name for name, model in MODELS.items() if model.two_dimensional and name != "adversarial-erf-regression"]


@pytest.mark.parametrize("name", [*ONE_DIMENSIONAL, *NESTED])
def test_coefficients_are_derivatives_of_the_risk(name: str) -> None:
    """``A = dR/dm``, ``B = 2 dR/dQ``, ``D = dR/dc``, ``F = dR/dn``; where they cost much, along one direction together."""
    model = MODELS[name]
    state = USUAL if model.adversary else replace(USUAL, epsilon=0.0)
    found = coefficients(model.definition, state, PARAMETERS)
    slopes = {"dm": found["A"], "dQ": 0.5 * found["B"], "dc": found["D"], "dn": found["F"]}
    if model.labels:
        del slopes["dc"]
    together = {"dm": 0.6, "dQ": 0.5, "dc": 0.4, "dn": 0.7}
    directions = [together] if model.two_dimensional else [{direction: 1.0} for direction in slopes]
    scale = found["abs_R"] + found["abs_A"] + found["abs_B"] + found["abs_D"]
    for direction in directions:

        def risk(h: float, direction: dict[str, float] = direction) -> float:
            at = moved(state, **{what: h * by for what, by in direction.items()})
            return coefficients(model.definition, at, PARAMETERS)["R"]

        h = 1e-3
        one = (risk(h) - risk(-h)) / (2 * h)
        wanted = sum(slopes[what] * by for what, by in direction.items())
        if model.two_dimensional:
            assert one == pytest.approx(wanted, abs=1e-6 * scale)
        else:
            two = (risk(2 * h) - risk(-2 * h)) / (4 * h)
            assert (4 * one - two) / 3 == pytest.approx(wanted, abs=2e-11 * scale), direction


KNOWN: dict[str, Callable[[Parameters, float], reference.ReferenceModel]] = {
    "adversarial-least-squares": lambda p, epsilon: reference.least_squares(p["sigma"], epsilon),
    "adversarial-huber": lambda p, epsilon: reference.huber(p["delta"], p["sigma"], epsilon),
    "adversarial-logistic-mixture": lambda p, epsilon: reference.logistic(epsilon),
    "adversarial-logistic-teacher": lambda p, epsilon: reference.logistic_sign_teacher(epsilon),
    "hinge": lambda p, epsilon: reference.hinge(epsilon),
}


@pytest.mark.parametrize("name", KNOWN)
def test_both_references_agree_where_both_know_the_model(name: str) -> None:
    for state, parameters in states(name, 24):
        law = reference.ScoreLaw(
            state.m, state.m_star, state.Q_star, state.beta, state.beta1, state.Q_perp, (state.dm,)
        )
        other = reference.coefficients_of(KNOWN[name](parameters, state.epsilon), law, state.n, state.y)
        found = coefficients(MODELS[name].definition, state, parameters)
        close(found, {c: other[c] for c in COEFFICIENTS}, 1e-11)


# --------------------------------------------------------------------------------------------------- brute force

Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]
TARGETS: dict[str, tuple[Loss, Callable[[np.ndarray], np.ndarray]]] = {
    "erf-regression": (lambda r, y: (erf(r / math.sqrt(2)) - y) ** 2 / 2, lambda x: erf(x / math.sqrt(2))),
    "relu-regression": (lambda r, y: (np.maximum(0, r) - y) ** 2 / 2, lambda x: np.maximum(0, x)),
    "phase-retrieval": (lambda r, y: (r**2 - y**2) ** 2 / 4, lambda x: x),
    "adversarial-phase-retrieval": (lambda r, y: (r**2 - y**2) ** 2 / 4, lambda x: x),
    "poisson": (lambda r, y: np.exp(r) - y * r, np.exp),
}
LABELLED: dict[str, tuple[Loss, Callable[[np.ndarray], np.ndarray]]] = {
    "probit": (lambda r, y: -np.log(ndtr(y * r)), ndtr),
    "hinge-logistic-labels": (lambda r, y: np.maximum(0, 1 - y * r), expit),
    "logistic-labels": (lambda r, y: np.log(1 + np.exp(-y * r)), expit),
}
NOISY: dict[str, tuple[Loss, Callable[[np.ndarray], np.ndarray]]] = {
    "adversarial-erf-regression": TARGETS["erf-regression"],
    "tanh-regression": (lambda r, y: (np.tanh(r) - y) ** 2 / 2, np.tanh),
}


def brute_risk(loss: Loss, state: State, y: Callable[[np.ndarray], np.ndarray], step: float = 0.08) -> float:
    """``E f_adv`` by the trapezoid rule over ``(r*, r)``; the sup over a grid of ``s`` and the origin of ``r + s``."""
    z = np.arange(-8, 8, step)
    weight = np.exp(-0.5 * z * z) * step / math.sqrt(2 * math.pi)
    r_star = (state.m_star + math.sqrt(state.Q_star) * z)[:, None]
    r = state.m + state.beta * (r_star - state.m_star) + math.sqrt(state.Q_perp) * z
    target = y(r_star)
    worst = loss(r, target)
    for s in np.linspace(-state.kappa, state.kappa, 9) if state.kappa else ():
        worst = np.maximum(worst, loss(r + s, target))
    worst = np.where(np.abs(r) <= state.kappa, np.maximum(worst, loss(np.zeros_like(r), target)), worst)
    return float(weight @ worst @ weight)


@pytest.mark.parametrize("name", TARGETS)
def test_teacher_risks_agree_with_brute_force(name: str) -> None:
    loss, target = TARGETS[name]
    for kappa in (0.44, 1.5) if MODELS[name].adversary else (0.0,):
        state = replace(USUAL, epsilon=kappa / USUAL.n)
        found = coefficients(MODELS[name].definition, state)
        assert found["R"] == pytest.approx(brute_risk(loss, state, target), abs=5e-4 * found["abs_R"])


@pytest.mark.parametrize("name", LABELLED)
def test_random_label_risks_agree_with_brute_force(name: str) -> None:
    loss, h = LABELLED[name]
    found = coefficients(MODELS[name].definition, USUAL)

    def weighted(r: np.ndarray, r_star: np.ndarray) -> np.ndarray:
        up = np.maximum(loss(r - USUAL.kappa, 1.0), loss(r + USUAL.kappa, 1.0))
        down = np.maximum(loss(r - USUAL.kappa, -1.0), loss(r + USUAL.kappa, -1.0))
        return h(r_star) * up + (1 - h(r_star)) * down

    wanted = brute_risk(weighted, replace(USUAL, epsilon=0.0), lambda x: x)
    assert found["R"] == pytest.approx(wanted, abs=5e-4 * found["abs_R"])


@pytest.mark.parametrize("name", NOISY)
def test_noisy_risks_agree_with_brute_force(name: str) -> None:
    loss, target = NOISY[name]
    sigma = 0.5
    found = coefficients(MODELS[name].definition, USUAL, {"sigma": sigma})
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    wanted = sum(
        w * brute_risk(loss, USUAL, lambda x, t=t: target(x) + sigma * t, 0.12)
        for t, w in zip(nodes, weights, strict=True)
    ) / math.sqrt(2 * math.pi)
    assert found["R"] == pytest.approx(wanted, abs=2e-3)


@pytest.mark.parametrize("name", ["erf-regression", "phase-retrieval", "poisson"])
def test_smooth_coefficients_agree_with_gauss_hermite(name: str) -> None:
    """All seven, without an adversary, from the definition's own functions at 160 x 160 nodes."""
    definition = MODELS[name].definition
    assert isinstance(definition, TeacherLoss)
    state = replace(USUAL, epsilon=0.0)
    z, weight = np.polynomial.hermite_e.hermegauss(160)
    weight = weight / math.sqrt(2 * math.pi)
    L = (state.m_star + math.sqrt(state.Q_star) * z)[:, None] + 0 * z
    r = state.m + state.beta * (L - state.m_star) + math.sqrt(state.Q_perp) * z
    gap = r - L
    slope = definition.slope(r, L, gap)
    values = {
        "R": definition.loss(r, L, gap),
        "A": slope,
        "B": definition.curvature(r, L, gap),
        "D": definition.mixed(r, L, gap),
        "I": slope**2,
    }
    found = coefficients(definition, state)
    close(found, {c: float(weight @ value @ weight) for c, value in values.items()}, 1e-10)


# ---------------------------------------------------------------------------------------------------------- data


def test_the_data_hold_every_model_at_its_states() -> None:
    data = read()
    assert list(data) == list(MODELS)
    for name, table in data.items():
        count = COUNTS[MODELS[name].two_dimensional]
        assert len(table["rows"]) >= 0.95 * count, name
        drawn = [(s, p) for s, p in states(name, count)]
        assert all(state_of(table, row) in drawn for row in table["rows"]), name


@pytest.mark.parametrize("name", MODELS)
def test_the_data_are_what_the_routine_gives(name: str) -> None:
    table = read()[name]
    definition = MODELS[name].definition
    parallel = 7  # a corner: Q_perp = 0, where nested integrals cost little
    rows = table["rows"][::70] if isinstance(definition, OneForm) else [table["rows"][parallel]]
    for row in rows:
        found = coefficients(definition, *state_of(table, row))
        close(found, dict(zip(table["coefficients"], row[1], strict=True)), 1e-12)
