"""How far SGD on real data is from the limit of the Gaussian mixture with its class means and covariances.

Two digits of scikit-learn's ``digits`` make two classes, each with a covariance of its own: as an endless stream of
real images, each turned, shifted and given pixel noise afresh, and as the Gaussian mixture of the same moments, which
come from separate samples of the stream. SGD runs on both, and the limit is solved. The same is done in a lift to
random features. The mismatch is printed, not judged: nothing promises that real data are Gaussian enough.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Cell, Table
from sgdlimit.derive import Constant, L2Adversary, Labels, Loss, Model
from sgdlimit.derive.expression import parse
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.dense_simulation import dense_descent, summarise
from sgdlimit.runtime.evaluate import evaluate
from sgdlimit.runtime.scores import score_statistics
from sgdlimit.runtime.simulator import simulate
from sgdlimit.runtime.solver import solve

Array = NDArray[np.float64]
Integers = NDArray[np.intp]

MODELS = {
    "logistic": (Model(Loss("log(1 + exp(-y*r))"), Labels(), L2Adversary()), 1.0),
    "least squares": (Model(Loss("(r - y)**2/2"), Labels(), L2Adversary()), 0.2),
}
"""Each with its learning rate."""
EPSILON = 0.1
STATISTICS = ("adversarial_risk", "clean_risk", "robust_error", "clean_error", "norm2")

SIDE = 8  # pixels
SHIFT = 1.0  # pixels, either way
TURN = math.radians(15)  # either way
_TOGETHER = 4096  # samples, where many are made
GAIN = 2.0  # of the random features' arguments
_SEEDS = {"features": 0, "moments": 1, "test": 2, "SGD": 3}  # separate samples


# ── The stream ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class AugmentedDigits:
    """Images of two digits, each turned, shifted and with pixel noise of its own: no sample comes twice.

    Parameters
    ----------
    images : tuple of array [n, 8, 8]
        Of each class.
    noise : float
        Standard deviation of a pixel, whose values go from 0 to 16.
    """

    images: tuple[Array, ...]
    noise: float

    @classmethod
    def of(cls, digits: Sequence[int], noise: float) -> AugmentedDigits:
        """Of these two digits."""
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        return cls(tuple(np.asarray(X[y == digit], dtype=float).reshape(-1, SIDE, SIDE) for digit in digits), noise)

    def draw(self, random: np.random.Generator, count: int) -> tuple[Integers, Array]:
        """Classes, equally likely, and pixels ``[count, 64]``."""
        classes = random.integers(len(self.images), size=count)
        which, angle, shift = (
            random.random(count),
            random.uniform(-TURN, TURN, count),
            random.uniform(-SHIFT, SHIFT, (2, count)),
        )
        noise = random.standard_normal((count, SIDE * SIDE))
        pixels = np.empty((count, SIDE * SIDE))
        for i, images in enumerate(self.images):
            own = classes == i
            chosen = images[(which[own] * len(images)).astype(int)]
            pixels[own] = moved(chosen, angle[own], shift[:, own])
        return classes, pixels + self.noise * noise


def moved(images: Array, angle: Array, shift: Array) -> Array:
    """Images ``[n, s, s]``, turned about their centres, then shifted ``[2, n]``, bilinear, black outside.

    Examples
    --------
    >>> image = np.zeros((1, 8, 8)); image[0, 2, 3] = 1.0
    >>> np.flatnonzero(moved(image, np.zeros(1), np.array([[1.0], [0.0]]))[0]).tolist(), 3 * 8 + 3
    ([27], 27)
    """
    n, side = images.shape[:2]
    centre = (side - 1) / 2
    rows, columns = (a.ravel() - centre for a in np.mgrid[:side, :side])
    down, right = rows - shift[0][:, np.newaxis], columns - shift[1][:, np.newaxis]
    cosine, sine = np.cos(angle)[:, np.newaxis], np.sin(angle)[:, np.newaxis]
    at_row, at_column = cosine * down + sine * right + centre, cosine * right - sine * down + centre
    framed = np.zeros((n, side + 4, side + 4))
    framed[:, 2:-2, 2:-2] = images
    # far outside is as black as the frame
    at_row, at_column = (np.clip(a + 2, 0, side + 2.999) for a in (at_row, at_column))
    row, column = at_row.astype(int), at_column.astype(int)
    below, beside = at_row - row, at_column - column
    each = np.arange(n)[:, np.newaxis]
    return np.asarray(
        (1 - below) * ((1 - beside) * framed[each, row, column] + beside * framed[each, row, column + 1])
        + below * ((1 - beside) * framed[each, row + 1, column] + beside * framed[each, row + 1, column + 1])
    )


@dataclass(frozen=True)
class Features:
    """A stream's inputs as they are, or lifted by ``tanh(W x + b)``, centred and divided by one number.

    Parameters
    ----------
    digits : AugmentedDigits
    weights : array [64, d], or None for the pixels themselves
    biases : array [d]
    offset : array [d]
    scale : float
        Of the inputs.
    """

    digits: AugmentedDigits
    weights: Array | None
    biases: Array
    offset: Array
    scale: float

    @classmethod
    def raw(cls, digits: AugmentedDigits, dimension: int | None) -> Features:
        """Of this dimension, or the pixels; neither centred nor scaled."""
        pixels = SIDE * SIDE
        if dimension is None:
            return cls(digits, None, np.zeros(pixels), np.zeros(pixels), 1.0)
        random = np.random.default_rng(_SEEDS["features"])
        _, x = digits.draw(random, _TOGETHER)
        # each pixel counts alike, and arguments are well into the bend of tanh: the more nonlinear, the more dimensions
        weights = GAIN * random.standard_normal((pixels, dimension)) / math.sqrt(pixels) / x.std(axis=0)[:, np.newaxis]
        biases = random.uniform(-1, 1, dimension) - x.mean(axis=0) @ weights
        return cls(digits, weights, biases, np.zeros(dimension), 1.0)

    @property
    def dimension(self) -> int:
        """d."""
        return len(self.offset)

    def draw(self, random: np.random.Generator, count: int) -> tuple[Integers, Array]:
        """Classes, and inputs ``[count, d]``."""
        classes, x = self.digits.draw(random, count)
        if self.weights is not None:
            x = np.tanh(x @ self.weights + self.biases)
        return classes, (x - self.offset) / self.scale


def mixture(raw: Features, samples: int) -> tuple[DenseInstance, Features]:
    """The Gaussian mixture with the moments of that many samples, centred, of mean eigenvalue 1; and its stream."""
    random = np.random.default_rng(_SEEDS["moments"])
    d, K = raw.dimension, len(raw.digits.images)
    counts, sums, squares = np.zeros(K), np.zeros((K, d)), np.zeros((K, d, d))
    origin = raw.draw(random, _TOGETHER)[1].mean(axis=0)  # near the mean: sums of squares do not cancel
    for start in range(0, samples, _TOGETHER):
        classes, x = raw.draw(random, min(_TOGETHER, samples - start))
        for i in range(K):
            own = x[classes == i] - origin
            counts[i] += len(own)
            sums[i] += own.sum(axis=0)
            squares[i] += own.T @ own
    means = sums / counts[:, np.newaxis]
    covariances = squares / counts[:, np.newaxis, np.newaxis] - means[:, :, np.newaxis] * means[:, np.newaxis]
    centre = means.mean(axis=0)
    scale = math.sqrt(float(np.trace(covariances.mean(axis=0))) / d)
    instance = DenseInstance(
        probabilities=np.full(K, 1 / K),
        covariances=covariances / scale**2,
        means=(means - centre) / scale,
        labels=np.linspace(-1, 1, K),
    )
    return instance, Features(raw.digits, raw.weights, raw.biases, origin + centre, scale)


# ── What is compared ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Measured:
    """A statistic on data: its mean over the runs ``[T]``, and the standard error of that, of test samples too."""

    mean: Array
    error: Array


def on_fresh_data(model: Model, stream: Features, iterates: Array, samples: int) -> dict[str, Measured]:
    """Statistics of iterates ``[runs, T, d]`` on fresh samples of the stream itself: nothing is Gaussian here."""
    random = np.random.default_rng(_SEEDS["test"])
    loss = parse(model.loss.text)
    runs, times, d = iterates.shape
    norms = np.linalg.norm(iterates.reshape(-1, d), axis=1)
    reach = EPSILON * norms
    averages = ("adversarial_risk", "clean_risk", "robust_error", "clean_error")
    totals = {name: np.zeros(runs * times) for name in averages}
    squares = {name: np.zeros(times) for name in averages}  # of a sample's mean over the runs
    for start in range(0, samples, _TOGETHER):
        classes, x = stream.draw(random, min(_TOGETHER, samples - start))
        y = (2.0 * classes - 1)[:, np.newaxis]
        r = x @ iterates.reshape(-1, d).T
        sides = [evaluate(loss, {"r": r + s * reach, "y": y}) for s in (-1.0, 0.0, 1.0)]
        found = {
            "adversarial_risk": np.maximum(sides[0], sides[2]),  # convex in r: the worst is at an end
            "clean_risk": sides[1],
            "robust_error": np.heaviside(reach - y * r, 0.5),
            "clean_error": np.heaviside(-y * r, 0.5),
        }
        for name, values in found.items():
            totals[name] += values.sum(axis=0)
            squares[name] += np.sum(values.reshape(-1, runs, times).mean(axis=1) ** 2, axis=0)
    measured = {"norm2": _over_runs((norms**2).reshape(runs, times), np.zeros(times))}
    for name, total in totals.items():
        values = total.reshape(runs, times) / samples
        measured[name] = _over_runs(values, (squares[name] / samples - values.mean(axis=0) ** 2) / samples)
    return measured


def _over_runs(values: Array, further_variance: Array) -> Measured:
    spread = values.var(axis=0, ddof=1) / len(values)
    return Measured(values.mean(axis=0), np.sqrt(spread + further_variance))


def compare(
    name: str, instance: DenseInstance, stream: Features, times: Sequence[float], runs: int, test_samples: int
) -> list[dict[str, Cell]]:
    """A row for each model and statistic."""
    rows: list[dict[str, Cell]] = []
    d = instance.dimension
    for label, (model, gamma) in MODELS.items():
        step, parameters = Constant(gamma), {"epsilon": EPSILON}
        clock = time.process_time()
        limit = solve(model, instance, step, parameters, times=times, rtol=1e-6)
        seconds = time.process_time() - clock
        gaussian = simulate(model, instance, step, parameters, times=times, runs=runs, seed=_SEEDS["SGD"])
        descent = dense_descent(model, instance, step, parameters, times[-1], stream=stream, seed=_SEEDS["SGD"])
        steps = np.rint(gaussian.times * d).astype(int)
        iterates = descent.run(steps.tolist(), range(runs), lambda X, rates: X.copy())
        real = on_fresh_data(model, stream, iterates, test_samples)
        summaries = np.stack([summarise(instance, X, np.full(len(X), gamma)) for X in iterates])
        scored = score_statistics(model, instance, summaries, parameters, draws=4096)
        for statistic in STATISTICS:
            truth = limit[statistic]
            rows.append(
                {
                    "data": name,
                    "model": label,
                    "statistic": statistic,
                    "limit": float(truth[-1]),
                    "Gaussian": float(gaussian.mean(statistic)[-1]),
                    "±": float(gaussian.standard_error(statistic)[-1]),
                    "real": float(real[statistic].mean[-1]),
                    "± ": float(real[statistic].error[-1]),
                    "Gaussian off by, %": float(100 * np.max(np.abs(gaussian.mean(statistic) / truth - 1))),
                    "real off by, %": float(100 * np.max(np.abs(real[statistic].mean / truth - 1))),
                    "learnt off by, %": float(100 * np.max(np.abs(scored[statistic].mean(axis=0) / truth - 1))),
                    "solve, CPU s": seconds,
                }
            )
    return rows


@dataclass(frozen=True)
class Setting:
    """Which data, and how many runs of SGD on it."""

    dimension: int | None  # of a lift; None for the pixels
    noise: float
    runs: int


SETTINGS = (Setting(None, 1.0, 64), Setting(None, 4.0, 64), Setting(1000, 1.0, 16), Setting(1000, 4.0, 16))
QUICK = (Setting(None, 1.0, 16), Setting(None, 4.0, 16))


def measure(
    settings: Sequence[Setting] = SETTINGS,
    samples: int = 120_000,
    times: Sequence[float] = (0.5, 1.0, 2.0, 4.0),
    test_samples: int = 200_000,
    digits: Sequence[int] = (3, 8),
) -> Table:
    """The pixels, and a lift to more dimensions, each with little and with more pixel noise."""
    title = (
        f"universality: digits {digits[0]} and {digits[1]}, ε = {EPSILON:g}, t ≤ {times[-1]:g}; moments of {samples} "
        "samples; values at the last time"
    )
    try:
        sources = [AugmentedDigits.of(digits, setting.noise) for setting in settings]
    except ImportError:
        return Table(title, (), notes=("skipped: scikit-learn is not installed (the extra `data`)",))
    rows: list[dict[str, Cell]] = []
    notes = [
        "limit: of the Gaussian mixture. Gaussian, real: means over runs of SGD on each, ± standard errors; the latter",
        f"on {test_samples} fresh real samples. off by: at most over the times, of the mean over the runs. learnt:",
        "real SGD, its iterates scored on the Gaussian mixture.",
    ]
    for setting, source in zip(settings, sources, strict=True):
        instance, stream = mixture(Features.raw(source, setting.dimension), samples)
        lifted = "pixels" if setting.dimension is None else "lift"
        name = f"{lifted}, d = {instance.dimension}, noise {setting.noise:g}"
        eigenvalues = np.linalg.eigvalsh(instance.covariances.mean(axis=0))
        effective = eigenvalues.sum() ** 2 / np.sum(eigenvalues**2)
        distance = np.linalg.norm(np.diff(instance.means, axis=0)) / 2
        notes.append(
            f"{name}: mean covariance of mean eigenvalue 1, largest {eigenvalues[-1]:.3g}, (tr C)²/tr C² = "
            f"{effective:.3g}; means at ±{distance:.3g}; {setting.runs} runs"
        )
        rows += compare(name, instance, stream, times, setting.runs, test_samples)
    return Table(title, tuple(rows), notes=tuple(notes))
