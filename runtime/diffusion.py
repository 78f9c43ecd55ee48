"""``diffuse``: homogenised SGD, the diffusion with the drift and the noise of SGD's limit."""

from __future__ import annotations

import math
from functools import partial

from numpy.typing import ArrayLike

from sgdlimit.derive.errors import InputError
from sgdlimit.derive.model import Model, StepSize
from sgdlimit.runtime.ensemble import Ensemble
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import Kernel, Statistics, load_kernel
from sgdlimit.runtime.minimiser import Optimum
from sgdlimit.runtime.problem import output_times
from sgdlimit.runtime.simulator import DEFAULT_DRAWS, DEFAULT_TIMES, Progress, check_ensemble, ensemble_of
from sgdlimit.runtime.step_sizes import Parameters

DEFAULT_STEP = 0.05
"""Of the time of the iterate's fastest mode."""


def diffuse(
    model: Model,
    instance: Instance,
    schedule: StepSize,
    parameters: Parameters | None = None,
    horizon: float | None = None,
    times: ArrayLike | None = None,
    *,
    runs: int = 32,
    seed: int = 0,
    step: float | None = None,
    backend: str = "auto",
    threads: int | None = None,
    statistics: Statistics | None = None,
    kernel: Kernel | None = None,
    progress: Progress | None = None,
    first_run: int = 0,
    draws: int = DEFAULT_DRAWS,
    reference: Optimum | None = None,
) -> Ensemble:
    """Run homogenised SGD, ``dX = −γ ∇ℛ(X) dt + γ √(Σ_i p_i I_i(X) C_i/d) dW`` (``docs/theory.md`` §7).

    The coefficients are those at the random ``X`` itself, ridge included. Its means and SGD's have the same limit; its
    fluctuations are *not* SGD's, at no dimension: draw error bands from :func:`sgdlimit.runtime.simulator.simulate`.

    A step freezes the few scalars that the coefficients depend on, at their values half a step on, and draws each
    coordinate's Ornstein–Uhlenbeck process exactly: stable whatever the stiffest mode, of weak order 1 with a
    first-order term in ``1/d`` only (``docs/numerics.md``).

    Parameters
    ----------
    model : Model
    instance : Instance
        Of finite dimension, one mode a coordinate: ``instance.at_dimension(d)`` makes it so.
    schedule, parameters, horizon, backend, statistics, kernel, progress, first_run, draws, reference
        As in :func:`sgdlimit.runtime.simulator.simulate`. With ``source="iterate"`` a step size is that of the random
        ``X``; AdaGrad-norm then accumulates ``Σ_j G_j dt``.
    times : array_like, optional
        Output times, kept as they are; 51 of them evenly up to the horizon unless given. They divide the steps, so a
        run's path, not its law, depends on them.
    runs : int
        Independent runs, from the instance's start.
    seed : int
        A run is a function of (seed, its index, output times, step, backend) alone: the same bits for any number of
        threads. It is independent of SGD's run of the same seed.
    step : float, optional
        Longest step, as a fraction of the time ``1/(γ max_j H_j)`` of the iterate's fastest mode; 0.05 unless given.
    threads : int, optional
        As many as there are cores unless given.

    Returns
    -------
    Ensemble

    Raises
    ------
    InstanceError
        For an instance that is not one mode a coordinate.
    ParameterError, InputError
        For input that cannot be.
    Diverged
        When a run leaves every bound: knows the time.
    NoLearningRate
        When a run has no greedy learning rate: knows the time.
    NoMinimiser
        For Polyak's learning rate where there is no finite optimum.

    Examples
    --------
    >>> from sgdlimit.derive import Constant, Loss, Model, Teacher
    >>> from sgdlimit.runtime.instance import Instance
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"))
    >>> instance = Instance.isotropic(50)
    >>> ensemble = diffuse(model, instance, Constant(0.5), {"sigma": 0.5}, times=[2, 4], runs=8, backend="numpy")
    >>> ensemble["adversarial_risk"].shape
    (8, 2)
    """
    check_ensemble(instance, seed, runs=runs, threads=threads, draws=draws)
    longest = check_step(step)
    if kernel is None:
        kernel = load_kernel(model, statistics=statistics, schedule=schedule, backend=backend)
    return ensemble_of(
        partial(kernel.diffuse, longest=longest),
        "homogenised",
        kernel,
        model,
        instance,
        schedule,
        dict(parameters or {}),
        output_times(horizon, times, DEFAULT_TIMES),
        runs=runs,
        seed=seed,
        threads=threads,
        statistics=statistics,
        progress=progress,
        first_run=first_run,
        draws=draws,
        reference=reference,
    )


def check_step(step: float | None) -> float:
    """The longest step, by default or as given.

    Raises
    ------
    InputError
        For what is not a positive number.
    """
    if step is None:
        return DEFAULT_STEP
    if not (isinstance(step, (int, float)) and math.isfinite(step) and step > 0):
        why = f"{step!r} is not a positive number"
        raise InputError("step", why, f"give a fraction of the fastest mode's time; the default is {DEFAULT_STEP}")
    return float(step)
