"""SGD on real images against the limit of the Gaussian mixture with their moments: how far apart they are."""

from __future__ import annotations

import doctest
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

pytest.importorskip("sklearn")

from benchmarks import universality  # noqa: E402
from benchmarks.universality import AugmentedDigits, Features, Setting, mixture, moved  # noqa: E402

Array = NDArray[np.float64]


def test_docstrings_run() -> None:
    assert doctest.testmod(universality).failed == 0


def test_images_are_moved_as_scipy_moves_them() -> None:
    from scipy.ndimage import affine_transform

    random = np.random.default_rng(0)
    images, angles, shifts = random.random((20, 8, 8)), random.uniform(-0.4, 0.4, 20), random.uniform(-2, 2, (2, 20))
    found = moved(images, angles, shifts)
    for image, angle, shift, pixels in zip(images, angles, shifts.T, found, strict=True):
        matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        offset = 3.5 - matrix @ (3.5 + shift)
        expected = affine_transform(image, matrix, offset, order=1, mode="grid-constant", cval=0.0)
        assert pixels.reshape(8, 8) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dimension", [None, 80])
def test_a_mixture_has_the_moments_of_other_samples_of_its_stream(dimension: int | None) -> None:
    """Within five standard errors (false alarms: 1e-4 over the entries compared); no sample comes twice."""
    instance, stream = mixture(Features.raw(AugmentedDigits.of((3, 8), 1.0), dimension), samples=20_000)
    assert instance.covariances.shape == (2, stream.dimension, stream.dimension)
    assert np.trace(instance.covariances.mean(axis=0)) / stream.dimension == pytest.approx(1.0)
    classes, x = stream.draw(np.random.default_rng(99), 20_000)
    assert len(np.unique(x, axis=0)) == len(x)
    for i in range(2):
        own = x[classes == i]
        directions = np.random.default_rng(5).standard_normal((stream.dimension, 10))
        score, size = own @ directions, math.sqrt(len(own) / 2)
        deviation = np.sqrt(np.einsum("dk,de,ek->k", directions, instance.covariances[i], directions))
        assert np.all(np.abs(score.mean(axis=0) - instance.means[i] @ directions) < 5 * deviation / size)
        # fourth moments of these scores are near a Gaussian's: the variance has a relative error of about sqrt(2/n)
        assert np.all(np.abs(score.std(axis=0) / deviation - 1) < 5 / size)


def test_sgd_on_real_images_follows_the_gaussian_limit_and_the_mismatch_shows() -> None:
    """At t = 4: risks within 3 % with much pixel noise; beyond four standard errors with little, under logistic loss."""
    settings = (Setting(None, 4.0, 24), Setting(None, 1.0, 48))
    table = universality.measure(settings, times=(4.0,), test_samples=60_000)
    assert len(table.rows) == 20
    for row in table.rows:
        limit, gaussian, real = (float(row[name]) for name in ("limit", "Gaussian", "real"))
        noisy, risk = str(row["data"]).endswith("noise 4"), str(row["statistic"]).endswith("risk")
        if risk:
            assert abs(gaussian / limit - 1) < 0.03, table.text()
            assert abs(real / limit - 1) < (0.03 if noisy else 0.1), table.text()
            assert float(row["learnt off by, %"]) < 5, table.text()
        if row["statistic"] == "adversarial_risk" and row["model"] == "logistic" and not noisy:
            assert real - limit > 4 * float(row["± "]), table.text()


@pytest.mark.long
def test_universality_holds_in_a_lift_to_a_thousand_features_as_well_as_the_documents_say() -> None:
    table = universality.measure()
    print(table.text())
    for row in table.rows:
        risk, lifted = str(row["statistic"]).endswith("risk"), str(row["data"]).startswith("lift")
        if risk and lifted:  # measured: 2.3, 8.8 and 3.7
            assert float(row["Gaussian off by, %"]) < 4, table.text()
            assert float(row["real off by, %"]) < 12, table.text()
            assert float(row["learnt off by, %"]) < 5, table.text()
