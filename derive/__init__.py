"""From a model to its high-dimensional equations.

``model`` (losses, targets, step sizes as canonical text) imports neither SymPy nor NumPy; everything symbolic is
imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from sgdlimit.derive.interchange import limit_from_json, model_from_json
    from sgdlimit.derive.limit import Limit, derive

__all__ = [
    "AdaGradNorm",
    "Constant",
    "Expectation",
    "Formula",
    "Greedy",
    "L2Adversary",
    "Labels",
    "Limit",
    "LineSearch",
    "Loss",
    "Model",
    "Polyak",
    "RandomLabels",
    "Schedule",
    "Teacher",
    "derive",
    "limit_from_json",
    "model_from_json",
]


def __getattr__(name: str) -> Any:
    if name in ("Limit", "derive"):
        from sgdlimit.derive import limit

        return getattr(limit, name)
    if name in ("limit_from_json", "model_from_json"):
        from sgdlimit.derive import interchange

        return getattr(interchange, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
