"""Streaming SGD in lumps, vectorised over runs.

The mathematics is that of `lumped.h`; the random numbers are NumPy's, so the two agree in law, not in bits.
"""

from __future__ import annotations

import numpy as np

from sgdlimit.codegen.library.problem import Array, Problem, Status, Trouble
from sgdlimit.codegen.library.simulate import Sgd, has_counts_and_times, simulate_all


def simulate_lumped(problem: Problem, sgd: Sgd) -> Array:
    """Simulate runs at a cost that does not grow with the dimension, exactly in law (``docs/theory.md`` §8).

    Parameters
    ----------
    problem : Problem
        Of one iterate; ``weights`` times ``dimension`` are the modes' numbers of coordinates. Where that is more than
        one, means, teacher and reference are 0, and ``start_mean`` is the norm of the start's part there.
    sgd : Sgd
        The model.

    Returns
    -------
    array [runs, 1, T, summary_size(K)]
        As `simulate` returns it.

    Raises
    ------
    Trouble
        As `simulate`.

    Examples
    --------
    Least squares without noise, half a billion coordinates, started at the teacher: it stays there.

    >>> import numpy as np
    >>> two, d = np.array([[1.0, 0.0]]), 5e8
    >>> problem = Problem(
    ...     dimension=d, weights=np.array([1 / d, 1 - 1 / d]), probabilities=np.ones(1), eigenvalues=np.ones((1, 2)),
    ...     means=0 * two, labels=np.ones(1), teacher=two[0], parameters=np.empty((1, 0, 1)), start_mean=two,
    ...     start_variance=0 * two, step_arguments=np.array([[0.5]]), times=np.array([10 / d]),
    ... )
    >>> sgd = Sgd(
    ...     gradient=lambda r, n, y, parameters: (r - y, 0 * n),
    ...     target=lambda label, r_star, xi, uniform, parameters: r_star,
    ...     ridge=lambda parameters: 0,
    ...     learning_rate=lambda problem, k, iterate, t, point: 0.5,
    ...     constants=lambda problem: np.empty(0),
    ...     rates=lambda problem, k, iterate, x, e, v: (0 * x, -1 + 0 * x, 0 * x),
    ... )
    >>> simulate_lumped(problem, sgd).tolist()
    [[[[1.0, 1.0, 0.0, nan, 0.5, 0.0, 1.0, 1.0]]]]
    """
    if not can_be_lumped(problem):
        raise Trouble(Status.BAD_PROBLEM, iterate=0, run=problem.first_run, time=problem.start_time)
    return simulate_all(problem, sgd, multiplicities(problem))


def multiplicities(problem: Problem) -> Array:
    """Coordinates of each mode; 0 where its weight times the dimension is no whole number."""
    given = problem.weights * problem.dimension
    whole = np.floor(given + 0.5)
    return np.where(np.abs(given - whole) <= 1e-9 + 1e-12 * given, whole, 0.0)


def can_be_lumped(problem: Problem) -> bool:
    """Whether there is one iterate, and every mode a coordinate or a lump that bears no fixed vector."""
    if not has_counts_and_times(problem) or problem.iterates != 1 or not problem.dimension < 2.0**53:
        return False
    counts = multiplicities(problem)
    lumps = counts > 1
    fixed = [problem.means[:, lumps], problem.teacher[lumps]]
    if problem.reference is not None:
        fixed.append(problem.reference[lumps])
    return bool((counts >= 1).all() and not any(vectors.any() for vectors in fixed))
