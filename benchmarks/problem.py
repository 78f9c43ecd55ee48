"""The problem that speed is measured on: adversarial least squares, power-law covariance, noisy teacher."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sgdlimit.codegen.library.problem import Problem
from sgdlimit.derive import Constant, L2Adversary, Loss, Model, Teacher
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel
from sgdlimit.runtime.problem import build_problem

MODEL = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary())
PARAMETERS = {"epsilon": 0.5, "sigma": 0.5}
SCHEDULE = Constant(0.8)


def instance(modes: int, start_norm: float = 0.0) -> Instance:
    """Eigenvalue density ``∝ λ^{-1/4}`` on (0, 1], started at the origin unless told otherwise."""
    return Instance.power_law(modes, exponent=0.25, start_norm=start_norm)


def problem(kernel: Kernel, modes: int, times: ArrayLike, *, start_norm: float = 0.0, rtol: float = 1e-8) -> Problem:
    """What a kernel reads."""
    where = instance(modes, start_norm)
    return build_problem(kernel, MODEL, where, SCHEDULE, PARAMETERS, np.asarray(times, dtype=float), rtol=rtol)
