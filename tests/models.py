"""Models that several tests use, each with its hand-written reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import reference
from sgdlimit.derive import L2Adversary, Labels, Loss, Model, Teacher

HUBER = "Piecewise(((r - y)**2/2, Abs(r - y) <= delta), (delta*(Abs(r - y) - delta/2), True))"


@dataclass(frozen=True)
class Case:
    """A model, values of its parameters, and the reference for them."""

    model: Model
    reference: Callable[[float], reference.ReferenceModel]  # of the radius epsilon
    parameters: dict[str, float] = field(default_factory=dict)
    label: float | None = None


CASES = {
    "least squares": Case(
        Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi")),
        lambda epsilon: reference.least_squares(0.5),
        {"sigma": 0.5},
    ),
    "adversarial least squares": Case(
        Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary()),
        lambda epsilon: reference.least_squares(0.5, epsilon),
        {"sigma": 0.5},
    ),
    "adversarial logistic, labels": Case(
        Model(Loss("log(1 + exp(-y*r))"), Labels(), L2Adversary()),
        lambda epsilon: reference.logistic(epsilon),
        label=-1.0,
    ),
    "adversarial logistic, sign teacher": Case(
        Model(Loss("log(1 + exp(-y*r))"), Teacher("sign(r_star)"), L2Adversary()),
        lambda epsilon: reference.logistic_sign_teacher(epsilon),
    ),
    "adversarial Huber": Case(
        Model(Loss(HUBER), Teacher("r_star + sigma*xi"), L2Adversary()),
        lambda epsilon: reference.huber(1.0, 0.5, epsilon),
        {"sigma": 0.5, "delta": 1.0},
    ),
    "adversarial hinge, labels": Case(
        Model(Loss("Max(0, 1 - y*r)"), Labels(), L2Adversary()),
        lambda epsilon: reference.hinge(epsilon),
        label=1.0,
    ),
}
