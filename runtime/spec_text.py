"""Specs as they are written: nested tables of plain values, and those as TOML text.

What is written here, :mod:`sgdlimit.runtime.spec` reads, to equal values: numbers keep every bit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdlimit.derive.model import (
    AdaGradNorm,
    Constant,
    Expectation,
    Formula,
    Greedy,
    Labels,
    LineSearch,
    Model,
    Schedule,
    StepSize,
    Teacher,
)
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.instance import Instance

Document = dict[str, Any]

# ── From objects to tables ──────────────────────────────────────────────────────────────────────────────────


def model_section(model: Model) -> Document:
    """``[model]``.

    Examples
    --------
    >>> from sgdlimit.derive.model import Loss
    >>> model_section(Model(Loss("(r - y)**2/2"), Teacher("r_star")))
    {'loss': '(r - y)**2/2', 'target': {'teacher': 'r_star'}, 'adversary': 'none'}
    """
    target: Any = "labels"
    if not isinstance(model.target, Labels):
        kind = "teacher" if isinstance(model.target, Teacher) else "random_labels"
        target = {kind: model.target.text}
    return {"loss": model.loss.text, "target": target, "adversary": "l2" if model.adversary else "none"}


def statistics_section(statistics: Mapping[str, Expectation | Formula]) -> Document:
    """``[statistics]``."""
    return {
        name: {"expectation" if isinstance(found, Expectation) else "formula": found.text}
        for name, found in statistics.items()
    }


def schedule_section(schedule: StepSize) -> Document:
    """``[schedule]``.

    Examples
    --------
    >>> schedule_section(AdaGradNorm(1, 2)), schedule_section(Constant(0.5))
    ({'rule': 'adagrad_norm', 'eta': 1.0, 'b': 2.0, 'source': 'limit'}, {'gamma': 0.5})
    """
    if isinstance(schedule, Constant):
        return {"gamma": schedule.gamma}
    if isinstance(schedule, Schedule):
        return {"expression": schedule.text}
    if isinstance(schedule, Greedy):
        return {"rule": "greedy", "statistic": schedule.statistic, "source": schedule.source}
    if isinstance(schedule, AdaGradNorm):
        return {"rule": "adagrad_norm", "eta": schedule.eta, "b": schedule.b, "source": schedule.source}
    return {"rule": "line_search" if isinstance(schedule, LineSearch) else "polyak", "source": schedule.source}


def instance_section(instance: Instance | DenseInstance) -> Document:
    """``[instance]``, by its arrays.

    Examples
    --------
    >>> instance_section(Instance.isotropic(2, teacher=None))
    {'probabilities': [1.0], 'eigenvalues': [[1.0, 1.0]]}
    """
    dense = isinstance(instance, DenseInstance)
    section: Document = {"builder": "dense"} if dense else {}
    section["probabilities"] = instance.probabilities.tolist()
    if isinstance(instance, DenseInstance):
        section["covariances"] = instance.covariances.tolist()
    else:
        section["eigenvalues"] = instance.eigenvalues.tolist()
        section |= _shares(instance)
    for name in ("labels", "means", "start", "teacher"):
        values: NDArray[np.float64] | None = getattr(instance, name)
        if values is not None and (values.any() or name in ("labels", "teacher")):
            section[name] = values.tolist()
    return section


def _shares(instance: Instance) -> Document:
    """What the modes stand for, where they are not simply the coordinates."""
    even = np.array_equal(instance.weights, np.full(instance.modes, 1 / instance.modes))
    weights = {} if even else {"weights": instance.weights.tolist()}
    if instance.dimension == instance.modes:
        return weights
    return {**weights, "dimension": instance.dimension, "spread": False}


# ── TOML ────────────────────────────────────────────────────────────────────────────────────────────────────

_WIDTH = 100


def toml_text(document: Mapping[str, Any]) -> str:
    """A document as TOML: values first, then its tables as sections, those within them inline.

    Examples
    --------
    >>> print(toml_text({"description": "mine", "model": {"loss": "Abs(r - y)", "target": {"teacher": "r_star"}}}))
    description = "mine"
    <BLANKLINE>
    [model]
    loss = "Abs(r - y)"
    target = {teacher = "r_star"}
    <BLANKLINE>
    """
    plain = {key: value for key, value in document.items() if not isinstance(value, Mapping)}
    parts = [_lines(plain)] if plain else []
    parts += [
        f"[{_key(key)}]\n{_lines(value)}" for key, value in document.items() if isinstance(value, Mapping) and value
    ]
    return "\n".join(parts)


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items())


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(value: str) -> str:
    """A basic string; JSON's escapes are TOML's, but for the one character that JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return _list([_value(item) for item in value])
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int) else repr(float(value))


def _list(items: list[str]) -> str:
    """On one line where it fits, else on several."""
    line = "[" + ", ".join(items) + "]"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    lines, current = [], ""
    for item in items:
        if current and len(current) + len(item) + 2 > _WIDTH:
            lines.append(current)
            current = ""
        current += (" " if current else "") + item + ","
    body = "\n".join(f"    {line}" for line in "\n".join([*lines, current]).split("\n"))
    return f"[\n{body}\n]"
