"""The exact high-dimensional learning dynamics of (ℓ2-adversarial) streaming SGD: derive, generate, solve, verify.

>>> import sgdlimit as sl
>>> model = sl.Model(sl.Loss("(r - y)**2/2"), sl.Teacher("r_star + sigma*xi"), sl.L2Adversary())
>>> instance = sl.Instance.power_law(60, exponent=0.25)
>>> trajectory = sl.solve(model, instance, sl.Constant(0.5), {"epsilon": 0.3, "sigma": 0.5}, horizon=10.0)
>>> trajectory["adversarial_risk"].shape
(201,)

Every public name is here, and imported from where it lives when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgdlimit.codegen import emit
    from sgdlimit.derive.errors import (
        BackendError,
        DerivationError,
        Diverged,
        ExpressionError,
        InputError,
        InstanceError,
        ModelError,
        NoLearningRate,
        NoMinimiser,
        ParameterError,
        SgdlimitError,
        SpecError,
    )
    from sgdlimit.derive.limit import Limit, derive
    from sgdlimit.derive.model import (
        AdaGradNorm,
        Constant,
        Expectation,
        Formula,
        Greedy,
        L2Adversary,
        Labels,
        LineSearch,
        Loss,
        Model,
        Polyak,
        RandomLabels,
        Schedule,
        Teacher,
    )
    from sgdlimit.runtime.batch import Curves, grid, solve_many
    from sgdlimit.runtime.dense import DenseInstance
    from sgdlimit.runtime.diffusion import diffuse
    from sgdlimit.runtime.ensemble import Ensemble
    from sgdlimit.runtime.instance import Instance
    from sgdlimit.runtime.kernel import NoCompilerWarning, load_kernel
    from sgdlimit.runtime.lumped import simulate_lumped
    from sgdlimit.runtime.minimiser import Optimum, optimum
    from sgdlimit.runtime.rest import RestPoint, rest_point
    from sgdlimit.runtime.simulator import simulate
    from sgdlimit.runtime.solver import solve
    from sgdlimit.runtime.spec import Spec, catalogue, load_spec
    from sgdlimit.runtime.sweep_result import Sweep, load_sweep
    from sgdlimit.runtime.sweeping import sweep
    from sgdlimit.runtime.trajectory import State, Trajectory
    from sgdlimit.runtime.verification import Verification, verify

    __version__: str

__all__ = [
    "AdaGradNorm",
    "BackendError",
    "Constant",
    "Curves",
    "DenseInstance",
    "DerivationError",
    "Diverged",
    "Ensemble",
    "Expectation",
    "ExpressionError",
    "Formula",
    "Greedy",
    "InputError",
    "Instance",
    "InstanceError",
    "L2Adversary",
    "Labels",
    "Limit",
    "LineSearch",
    "Loss",
    "Model",
    "ModelError",
    "NoCompilerWarning",
    "NoLearningRate",
    "NoMinimiser",
    "Optimum",
    "ParameterError",
    "Polyak",
    "RandomLabels",
    "RestPoint",
    "Schedule",
    "SgdlimitError",
    "Spec",
    "SpecError",
    "State",
    "Sweep",
    "Teacher",
    "Trajectory",
    "Verification",
    "__version__",
    "catalogue",
    "derive",
    "diffuse",
    "emit",
    "grid",
    "load_kernel",
    "load_spec",
    "load_sweep",
    "optimum",
    "rest_point",
    "simulate",
    "simulate_lumped",
    "solve",
    "solve_many",
    "sweep",
    "verify",
]

_MODULES = {
    "sgdlimit.codegen": "emit",
    "sgdlimit.derive.errors": "BackendError DerivationError Diverged ExpressionError InputError InstanceError "
    "ModelError NoLearningRate NoMinimiser ParameterError SgdlimitError SpecError",
    "sgdlimit.derive.limit": "Limit",
    "sgdlimit.derive.model": "AdaGradNorm Constant Expectation Formula Greedy L2Adversary Labels "
    "LineSearch Loss Model Polyak RandomLabels Schedule Teacher",
    "sgdlimit.runtime.batch": "Curves grid solve_many",
    "sgdlimit.runtime.dense": "DenseInstance",
    "sgdlimit.runtime.diffusion": "diffuse",
    "sgdlimit.runtime.ensemble": "Ensemble",
    "sgdlimit.runtime.instance": "Instance",
    "sgdlimit.runtime.kernel": "NoCompilerWarning load_kernel",
    "sgdlimit.runtime.lumped": "simulate_lumped",
    "sgdlimit.runtime.minimiser": "Optimum optimum",
    "sgdlimit.runtime.rest": "RestPoint rest_point",
    "sgdlimit.runtime.simulator": "simulate",
    "sgdlimit.runtime.solver": "solve",
    "sgdlimit.runtime.spec": "Spec catalogue load_spec",
    "sgdlimit.runtime.sweep_result": "Sweep load_sweep",
    "sgdlimit.runtime.sweeping": "sweep",
    "sgdlimit.runtime.trajectory": "State Trajectory",
    "sgdlimit.runtime.verification": "Verification verify",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("sgdlimit")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # found at once the next time
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CallablePackage(ModuleType):
    """``sgdlimit.derive`` names a package and the function that the package is for: the package can be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See :func:`sgdlimit.derive.limit.derive`."""
        return import_module("sgdlimit.derive.limit").derive(*args, **kwargs)


import_module("sgdlimit.derive")
sys.modules["sgdlimit.derive"].__class__ = _CallablePackage
