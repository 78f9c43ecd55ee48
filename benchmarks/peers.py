"""Streaming SGD on adversarial least squares as one would write it with NumPy, Numba or JAX: one run's last iterate."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.codegen.library.problem import Problem

Array = NDArray[np.float64]
Peer = Callable[[Problem, int], object]


def installed() -> tuple[dict[str, Peer], list[str]]:
    """Peers by name, and the names of those that are not installed."""
    known: dict[str, tuple[str, Peer]] = {
        "plain NumPy loop": ("numpy", numpy_loop),
        "numba, Generator": ("numba", numba_loop),
        "JAX scan, float64": ("jax", jax_scan),
    }
    here = {name: peer for name, (package, peer) in known.items() if importlib.util.find_spec(package) is not None}
    return here, [name for name in known if name not in here]


def numpy_loop(p: Problem, seed: int) -> Array:
    """A vector a line."""
    epsilon, tau, sigma = (float(value) for value in p.parameters[0, :, 0])
    d, gamma = p.modes, float(p.step_arguments[0, 0])
    roots, cumulated = np.sqrt(p.eigenvalues), np.cumsum(p.probabilities)[:-1]
    rng = np.random.default_rng(seed)
    X = p.start_mean[0].copy()
    for _ in range(round(p.times[-1] * d)):
        i = int(np.searchsorted(cumulated, rng.random(), side="right"))
        x = rng.standard_normal(d)
        x *= roots[i]
        x += p.means[i]
        r, r_star, n = float(x @ X), float(x @ p.teacher), math.sqrt(X @ X)
        u = r - (r_star + sigma * rng.standard_normal())
        side = 1.0 if u > 0 else -1.0
        slope_r = u + side * epsilon * n
        slope_n = epsilon * side * slope_r
        shrinkage = (slope_n / n if n > 0 else 0.0) + tau
        X *= 1 - gamma / d * shrinkage
        X -= gamma / d * slope_r * x
    return X


@cache
def _numba_kernel() -> Any:
    import numba

    @numba.njit  # type: ignore[untyped-decorator]
    def run(rng, roots, means, cumulated, teacher, X, epsilon, tau, sigma, gamma, steps):  # type: ignore[no-untyped-def]
        d = len(X)
        x = np.empty(d)
        for _ in range(steps):
            i = np.searchsorted(cumulated, rng.random(), side="right")
            r, r_star, n2 = 0.0, 0.0, 0.0
            for j in range(d):
                x[j] = means[i, j] + roots[i, j] * rng.standard_normal()
                r += x[j] * X[j]
                r_star += x[j] * teacher[j]
                n2 += X[j] * X[j]
            n = math.sqrt(n2)
            u = r - (r_star + sigma * rng.standard_normal())
            side = 1.0 if u > 0 else -1.0
            slope_r = u + side * epsilon * n
            shrinkage = (epsilon * side * slope_r / n if n > 0 else 0.0) + tau
            kept, added = 1 - gamma / d * shrinkage, gamma / d * slope_r
            for j in range(d):
                X[j] = kept * X[j] - added * x[j]
        return X

    return run


def numba_loop(p: Problem, seed: int) -> Array:
    """A coordinate a line, compiled; normals are NumPy's."""
    epsilon, tau, sigma = (float(value) for value in p.parameters[0, :, 0])
    steps = round(p.times[-1] * p.modes)
    X: Array = _numba_kernel()(
        np.random.default_rng(seed), np.sqrt(p.eigenvalues), p.means, np.cumsum(p.probabilities)[:-1], p.teacher,
        p.start_mean[0].copy(), epsilon, tau, sigma, float(p.step_arguments[0, 0]), steps,
    )  # fmt: skip
    return X


@cache
def _jax_kernel() -> Any:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def run(key: Any, roots: Any, means: Any, cumulated: Any, teacher: Any, X: Any, scalars: Any, steps: int) -> Any:
        epsilon, tau, sigma, gamma = scalars
        d = X.shape[0]

        def step(X: Any, key: Any) -> Any:
            of_class, of_noise, of_sample = jax.random.split(key, 3)
            i = jnp.searchsorted(cumulated, jax.random.uniform(of_class), side="right")
            x = means[i] + roots[i] * jax.random.normal(of_sample, (d,))
            n = jnp.sqrt(X @ X)
            u = x @ X - (x @ teacher + sigma * jax.random.normal(of_noise))
            side = jnp.where(u > 0, 1.0, -1.0)
            slope_r = u + side * epsilon * n
            shrinkage = jnp.where(n > 0, epsilon * side * slope_r / jnp.where(n > 0, n, 1.0), 0.0) + tau
            return X - gamma / d * (shrinkage * X + slope_r * x), None

        return jax.lax.scan(step, X, jax.random.split(key, steps))[0]

    return jax.jit(run, static_argnames="steps")


def jax_scan(p: Problem, seed: int) -> object:
    """A vector a line, compiled; one step after the other."""
    import jax

    scalars = (*(float(value) for value in p.parameters[0, :, 0]), float(p.step_arguments[0, 0]))
    arrays = (np.sqrt(p.eigenvalues), p.means, np.cumsum(p.probabilities)[:-1], p.teacher, p.start_mean[0])
    kernel = _jax_kernel()  # says that floats have 64 bits, before the first array is made
    return kernel(jax.random.key(seed), *arrays, scalars, steps=round(p.times[-1] * p.modes)).block_until_ready()
