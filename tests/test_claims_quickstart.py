"""What notebooks/01-quickstart.ipynb says of least squares against an adversary, with numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

import sgdlimit as sl

MODEL = sl.Model(sl.Loss("(r - y)**2/2"), sl.Teacher("r_star + sigma*xi"), sl.L2Adversary())
STEP, VALUES = sl.Constant(0.8), {"epsilon": 0.3, "sigma": 0.5}


def test_one_curve_goes_through_the_means_of_sgd_and_bands_halve_as_the_dimension_quadruples() -> None:
    """300 runs: a standard deviation is known to 4 %, the ratio of two to 6 %, its median over five times to less.
    The bounds are 4 of these, and 6 standard errors of the mean at every time: less than one false alarm in 10⁴ seeds."""
    times = np.linspace(0, 10.0, 6)
    curve = sl.solve(MODEL, sl.Instance.power_law(math.inf, exponent=0.5), STEP, VALUES, times=times)
    sgd = {
        d: sl.simulate(MODEL, sl.Instance.power_law(d, exponent=0.5), STEP, VALUES, times=times, runs=300)
        for d in (100, 400)
    }
    deviation = {d: e["distance2"].std(axis=0)[1:] for d, e in sgd.items()}
    assert np.median(deviation[100] / deviation[400]) == pytest.approx(2, rel=0.24)
    gap = np.abs(sgd[400].mean("distance2") - curve["distance2"])
    assert np.all(gap < 6 * sgd[400].standard_error("distance2") + 1 / 400)
    assert np.max(gap / curve["distance2"]) < 0.015


@pytest.mark.long
def test_the_verdict_is_passed() -> None:
    instance = sl.Instance.power_law(100, exponent=0.5)
    assert sl.verify(MODEL, instance, STEP, VALUES, 5.0, budget=2e9, resolution=0.03).passed
