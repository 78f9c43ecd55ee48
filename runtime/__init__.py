"""Instances, solver, simulator and verification: everything that computes with numbers.

The public names are imported from where they live when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgdlimit.derive.model import AdaGradNorm, Constant, Greedy, LineSearch, Polyak, Schedule
    from sgdlimit.runtime.batch import Curves, grid, solve_many
    from sgdlimit.runtime.dense import DenseInstance
    from sgdlimit.runtime.diffusion import diffuse
    from sgdlimit.runtime.ensemble import Ensemble
    from sgdlimit.runtime.instance import Instance
    from sgdlimit.runtime.kernel import NoCompilerWarning, load_kernel
    from sgdlimit.runtime.lumped import simulate_lumped
    from sgdlimit.runtime.minimiser import Optimum, optimum
    from sgdlimit.runtime.rest import RestPoint, rest_point
    from sgdlimit.runtime.rule_check import SelfCheck, SelfCheckWarning, self_check
    from sgdlimit.runtime.simulator import simulate
    from sgdlimit.runtime.solver import solve
    from sgdlimit.runtime.spec import Spec, load_spec
    from sgdlimit.runtime.sweep_result import Sweep, load_sweep
    from sgdlimit.runtime.sweeping import sweep
    from sgdlimit.runtime.trajectory import State, Trajectory
    from sgdlimit.runtime.verification import Verification, verify

_MODULES = {
    "sgdlimit.derive.model": "AdaGradNorm Constant Greedy LineSearch Polyak Schedule",
    "sgdlimit.runtime.batch": "Curves grid solve_many",
    "sgdlimit.runtime.dense": "DenseInstance",
    "sgdlimit.runtime.diffusion": "diffuse",
    "sgdlimit.runtime.ensemble": "Ensemble",
    "sgdlimit.runtime.instance": "Instance",
    "sgdlimit.runtime.kernel": "NoCompilerWarning load_kernel",
    "sgdlimit.runtime.lumped": "simulate_lumped",
    "sgdlimit.runtime.minimiser": "Optimum optimum",
    "sgdlimit.runtime.rest": "RestPoint rest_point",
    "sgdlimit.runtime.rule_check": "SelfCheck SelfCheckWarning self_check",
    "sgdlimit.runtime.simulator": "simulate",
    "sgdlimit.runtime.solver": "solve",
    "sgdlimit.runtime.spec": "Spec load_spec",
    "sgdlimit.runtime.sweep_result": "Sweep load_sweep",
    "sgdlimit.runtime.sweeping": "sweep",
    "sgdlimit.runtime.trajectory": "State Trajectory",
    "sgdlimit.runtime.verification": "Verification verify",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "AdaGradNorm",
    "Constant",
    "Curves",
    "DenseInstance",
    "Ensemble",
    "Greedy",
    "Instance",
    "LineSearch",
    "NoCompilerWarning",
    "Optimum",
    "Polyak",
    "RestPoint",
    "Schedule",
    "SelfCheck",
    "SelfCheckWarning",
    "Spec",
    "State",
    "Sweep",
    "Trajectory",
    "Verification",
    "diffuse",
    "grid",
    "load_kernel",
    "load_spec",
    "load_sweep",
    "optimum",
    "rest_point",
    "self_check",
    "simulate",
    "simulate_lumped",
    "solve",
    "solve_many",
    "sweep",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
