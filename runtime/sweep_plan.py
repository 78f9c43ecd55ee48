"""What a sweep is made of: its axes, its points by index, its batches. Pure: no files, no kernels, no table of points.

A point is a whole number. Its digits in the mixed base of the dimensions' lengths say which values it has. The
dimensions that change the instance or the kind of step size come first, so that neighbours share both and go into one
call of ``solve_many``; a batch is a range of neighbours.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sgdlimit.derive.errors import SpecError
from sgdlimit.runtime.schema import Count, Document, Place, Table, Text, nearest, shown, validated

STORE_FORMAT = 2
"""Of the folder that a sweep writes."""

MOST_POINTS = 10_000_000
"""Without being asked again."""

STATUSES = ("not yet", "done", "diverged", "no learning rate", "stopped", "no optimum", "invalid")
"""What a point can be, by the number that stands for it in the files."""

VERDICTS = ("none", "passed", "failed", "inconclusive")
"""What a verification can say, by number."""

OWN_NAMES = ("time", "status", "ended", "steps", "reason", "verdict", "simulated_status", "provenance")
"""Of what every sweep records besides statistics."""

_SECTIONS = ("model", "statistics", "parameters", "instance", "schedule", "run", "simulate", "verify")
_WHOLE = ("schedule", "instance")  # sections that an axis can put in place whole
_FAST = ("schedule.gamma", "schedule.eta", "schedule.b", "simulate.seed")


# ── What a file says ────────────────────────────────────────────────────────────────────────────────────────


class SweepTable(Table):
    """``[sweep]``."""

    statistics: Annotated[list[Text], Field(min_length=1)] | None = None
    simulate: bool = False
    verify: bool = False
    batch: Count | None = None


class SpanTable(Table):
    """``{from = 0.1, to = 2.0, count = 100, spacing = "log"}``."""

    start: float = Field(alias="from", description="the first value")
    to: float = Field(description="the last value")
    count: Annotated[int, Field(ge=1, le=10**12)] = Field(description="how many values")
    spacing: Literal["linear", "log"] = "linear"


class SweepDocument(Document):
    """The whole file."""

    axes: dict[str, Any] = Field(default_factory=dict)
    zip: dict[str, Any] = Field(default_factory=dict)
    sweep: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Span:
    """Values at equal steps, or equal ratios, that need no list.

    Examples
    --------
    >>> list(Span(0.0, 1.0, 3)), Span(0.01, 1.0, 3, "log")[1]
    ([0.0, 0.5, 1.0], 0.1)
    """

    start: float
    to: float
    count: int
    spacing: str = "linear"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> float:
        if not 0 <= index < self.count:
            raise IndexError(index)
        if index in (0, self.count - 1):
            return self.to if index else self.start
        share = index / max(1, self.count - 1)
        if self.spacing == "log":
            return float(f"{self.start * (self.to / self.start) ** share:.15g}")
        return float(f"{self.start + (self.to - self.start) * share:.15g}")

    def json(self) -> dict[str, Any]:
        """As in a file."""
        return {"from": self.start, "to": self.to, "count": self.count, "spacing": self.spacing}


Values: TypeAlias = tuple[Any, ...] | Span


@dataclass(frozen=True)
class Axis:
    """One key of the spec and the values that it takes.

    Parameters
    ----------
    key : str
        Dotted: ``parameters.epsilon``, ``schedule.gamma``, ``instance.exponent``, ``schedule``.
    name : str
        What results call it.
    values : tuple or Span
    """

    key: str
    name: str
    values: Values

    def coordinate(self) -> list[float] | list[int] | list[str]:
        """The values as a result labels them: numbers, else text."""
        listed = [self.values[k] for k in range(len(self.values))]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in listed):
            return listed
        return [_label(value) for value in listed]


@dataclass(frozen=True)
class Dimension:
    """Axes that move together, one or several.

    Parameters
    ----------
    name : str
    axes : tuple of Axis
        Of one length.
    """

    name: str
    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return len(self.axes[0].values)

    @property
    def fast(self) -> bool:
        """Whether it changes numbers only: neither the instance nor the kernel."""
        return all(axis.key.startswith("parameters.") or axis.key in _FAST for axis in self.axes)


@dataclass(frozen=True)
class Plan:
    """A sweep: a pure function of its file.

    Parameters
    ----------
    name : str
        What errors call the file.
    document : mapping
        The sections of the spec that every point shares.
    dimensions : tuple of Dimension
        In the file's order.
    simulate, verify : bool
        What is done at each point besides the limit.
    statistics : tuple of str
        What is recorded; empty before a kernel was asked which there are.
    batch : int
        Points in a batch; 0 before it was chosen.
    backend : str
        ``"c"`` or ``"numpy"``.
    versions : mapping of str to str
        Of everything that the numbers depend on.
    data : mapping of str to str
        SHA-256 of every file that an instance is made from, by the name that the sweep file gives it.
    """

    name: str
    document: Mapping[str, Any]
    dimensions: tuple[Dimension, ...]
    simulate: bool = False
    verify: bool = False
    statistics: tuple[str, ...] = ()
    batch: int = 0
    backend: str = "c"
    versions: Mapping[str, str] | None = None
    data: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def working_order(self) -> tuple[Dimension, ...]:
        """The dimensions in the order in which points are numbered, the last fastest."""
        return tuple(sorted(self.dimensions, key=lambda dimension: dimension.fast))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths, in working order."""
        return tuple(len(dimension) for dimension in self.working_order)

    @property
    def points(self) -> int:
        """How many there are."""
        return math.prod(self.shape)

    @property
    def together(self) -> int:
        """How many neighbours share the instance and the kind of step size."""
        return math.prod(len(dimension) for dimension in self.working_order if dimension.fast)

    @property
    def batches(self) -> int:
        """How many there are."""
        return -(-self.points // self.batch)

    def points_of(self, batch: int) -> range:
        """The points of a batch."""
        return range(batch * self.batch, min(self.points, (batch + 1) * self.batch))

    @property
    def times(self) -> tuple[float, ...] | None:
        """Times that are recorded; None for the last alone."""
        given = self.document.get("run", {}).get("times")
        return None if given is None else tuple(float(t) for t in given)

    def values(self, points: Sequence[int] | NDArray[np.int64], fast: bool) -> dict[str, list[Any]]:
        """By key, the values at some points of the axes that are fast, or of those that are not."""
        digits = np.unravel_index(np.asarray(points), self.shape) if self.shape else ()
        return {
            axis.key: [axis.values[int(k)] for k in digits[place]]
            for place, dimension in enumerate(self.working_order)
            if dimension.fast == fast
            for axis in dimension.axes
        }

    def at(self, point: int) -> dict[str, Any]:
        """By key, every value of a point."""
        found = {**self.values([point], fast=False), **self.values([point], fast=True)}
        return {key: values[0] for key, values in found.items()}

    def kinds(self) -> Iterator[dict[str, Any]]:
        """The first point of every kind of kernel, by key: what an axis over models or step sizes makes."""
        first = self.at(0)
        deciding = [d for d in self.working_order if any(_makes_a_kernel(axis.key) for axis in d.axes)]
        for digits in np.ndindex(*(len(d) for d in deciding)):
            chosen = zip(deciding, digits, strict=True)
            yield first | {axis.key: axis.values[k] for dimension, k in chosen for axis in dimension.axes}

    def files(self) -> Iterator[str]:
        """Every file of data that the sweep file names, once."""
        sections = [self.document.get("instance", {})]
        for axis in (axis for dimension in self.dimensions for axis in dimension.axes):
            values = axis.values if isinstance(axis.values, tuple) else ()
            if axis.key == "instance":
                sections.extend(values)
            elif axis.key == "instance.file":
                sections.extend({"file": value} for value in values)
        named = (section.get("file") for section in sections if isinstance(section, Mapping))
        yield from dict.fromkeys(name for name in named if isinstance(name, str))

    # ── As text ──

    def json(self) -> dict[str, Any]:
        """What a store keeps, and a worker is told."""
        return {
            "store": STORE_FORMAT,
            "name": PurePath(self.name).name,
            "versions": dict(self.versions or {}),
            "backend": self.backend,
            "spec": self.document,
            "dimensions": [
                {
                    "name": dimension.name,
                    "axes": [
                        {
                            "key": axis.key,
                            "name": axis.name,
                            "values": axis.values.json() if isinstance(axis.values, Span) else list(axis.values),
                        }
                        for axis in dimension.axes
                    ],
                }
                for dimension in self.dimensions
            ],
            "simulate": self.simulate,
            "verify": self.verify,
            "statistics": list(self.statistics),
            "batch": self.batch,
            "data": dict(self.data),
        }

    def file(self) -> dict[str, Any]:
        """The values of a sweep file of the same points, with what was chosen: statistics and size of a batch."""
        alone = [d for d in self.dimensions if len(d.axes) == 1 and d.name == d.axes[0].name]
        moved = [d for d in self.dimensions if d not in alone]

        def axes(dimension: Dimension) -> dict[str, Any]:
            return {
                axis.key.removeprefix("parameters."): axis.values.json()
                if isinstance(axis.values, Span)
                else list(axis.values)
                for axis in dimension.axes
            }

        done = {name: True for name, asked in (("simulate", self.simulate), ("verify", self.verify)) if asked}
        kept = {"statistics": list(self.statistics)} if self.statistics else {}
        size = {"batch": self.batch} if self.batch else {}
        return {
            **self.document,
            "sweep": {**done, **kept, **size},
            "axes": {key: values for dimension in alone for key, values in axes(dimension).items()},
            "zip": {dimension.name: axes(dimension) for dimension in moved},
        }

    def text(self) -> str:
        """Canonical: equal plans have equal texts."""
        return json.dumps(self.json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def plan_from_text(text: str) -> Plan:
    """What :meth:`Plan.text` wrote."""
    return plan_from_json(json.loads(text))


def plan_from_json(given: Mapping[str, Any]) -> Plan:
    """What :meth:`Plan.json` made.

    Raises
    ------
    KeyError, TypeError, AttributeError, ValueError
        For anything else.
    """

    def values(found: Any) -> Values:
        if isinstance(found, Mapping):
            return Span(found["from"], found["to"], found["count"], found["spacing"])
        return tuple(found)

    return Plan(
        name=given["name"],
        document=given["spec"],
        dimensions=tuple(
            Dimension(d["name"], tuple(Axis(a["key"], a["name"], values(a["values"])) for a in d["axes"]))
            for d in given["dimensions"]
        ),
        simulate=given["simulate"],
        verify=given["verify"],
        statistics=tuple(given["statistics"]),
        batch=given["batch"],
        backend=given["backend"],
        versions=given["versions"],
        data=given["data"],
    )


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What differs between two plans as JSON, each in a few words, the store's value first.

    Examples
    --------
    >>> differences({"spec": {"run": {"horizon": 1.0}}}, {"spec": {"run": {"horizon": 2.0}}})
    ['run.horizon is 1.0 there and 2.0 here']
    """
    a, b = dict(_flat(_by_name(stored))), dict(_flat(_by_name(given)))
    nothing = object()

    def told(value: Any) -> str:
        return "absent" if value is nothing else shown(value)

    return [
        f"{key} is {told(a.get(key, nothing))} there and {told(b.get(key, nothing))} here"
        for key in dict.fromkeys((*a, *b))
        if a.get(key, nothing) != b.get(key, nothing)
    ]


def _by_name(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's JSON with the words of the file: axes by key, sections at the top."""
    rest = {key: value for key, value in plan.items() if key not in ("dimensions", "spec", "name")}
    axes = {
        f"{'axes' if len(d['axes']) == 1 else 'zip.' + d['name']}.{axis['key']}": axis["values"]
        for d in plan.get("dimensions", ())
        for axis in d["axes"]
    }
    order = {"the order of the axes": list(axes)} if axes else {}
    return {**plan.get("spec", {}), **axes, **order, **rest}


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else name)
    else:
        yield key, value


def _makes_a_kernel(key: str) -> bool:
    return key == "instance" or (key.split(".")[0] in ("model", "statistics", "schedule") and key not in _FAST)


def _label(value: Any) -> str:
    """A value that is not a number, for people: a rule's name, a text, or JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(
            str(v) if key in ("rule", "builder", "expression") else f"{key}={_label(v)}" for key, v in value.items()
        )
    return json.dumps(value)


# ── From a file's values ────────────────────────────────────────────────────────────────────────────────────


def plan_of(values: Mapping[str, Any], source: str) -> Plan:
    """The plan of a sweep file, parsed already; batch, statistics and versions are still open.

    Raises
    ------
    SpecError
        For an axis that is empty, twice there, or not of the spec.

    Examples
    --------
    >>> plan = plan_of({"model": {}, "axes": {"epsilon": [0.1, 0.2], "instance": {"exponent": [0.5]}}}, "my.toml")
    >>> [(axis.key, axis.name) for dimension in plan.working_order for axis in dimension.axes], plan.points
    ([('instance.exponent', 'exponent'), ('parameters.epsilon', 'epsilon')], 2)
    """
    place = Place(source)
    values = _as_json(values, place)
    document = validated(SweepDocument, values, place)
    table = validated(SweepTable, document.sweep, place.at("sweep"))
    groups = [("", [entry]) for entry in _axes(document.axes, place.at("axes"))]
    for name, members in document.zip.items():
        if not isinstance(members, dict):
            raise place.at("zip", name).error(f"{shown(members)} was given", "write [zip.NAME] with axes of one length")
        groups.append((name, list(_axes(members, place.at("zip", name)))))
    keys = [key for _, group in groups for key, _, _ in group]
    if not keys:
        raise place.at("axes").error("there are none", "write [axes] with epsilon = [0.1, 0.2] or schedule.gamma = …")
    _check_keys(keys, place)
    if "simulate.seed" in keys and not (table.simulate or table.verify):
        raise place.at("axes", "simulate.seed").error("a limit has no seed", "write [sweep] simulate = true")
    for key, found, at in (entry for _, group in groups for entry in group):
        if key == "simulate.seed":
            _check_seeds(found, at)
    if "run.horizon" in keys and "times" in values.get("run", {}):
        # each point would have times of its own, and the axis of times could not say which
        raise place.at("axes", "run.horizon").error("[run] has times, which end every curve", "leave one of them out")
    short = _names(keys)
    dimensions = []
    for name, group in groups:
        axes = tuple(Axis(key, short[key], found) for key, found, _ in group)
        lengths = {axis.key: len(axis.values) for axis in axes}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{length} of {key}" for key, length in lengths.items())
            raise place.at("zip", name).error(f"there are {told}", "axes that move together have one length")
        dimensions.append(Dimension(name or axes[0].name, axes))
    names = [dimension.name for dimension in dimensions]
    for name in names:
        if names.count(name) > 1:
            raise place.at("zip", name).error("an axis has that name too", "give it another")
    return Plan(
        source,
        {name: values[name] for name in _SECTIONS if name in values},
        tuple(dimensions),
        table.simulate,
        table.verify,
        tuple(table.statistics or ()),
        table.batch or 0,
    )


def _axes(given: Mapping[str, Any], place: Place, prefix: str = "") -> Iterator[tuple[str, Values, Place]]:
    """Key and values of each axis; a table within is a section, unless it is a span."""
    for name, found in given.items():
        key = f"{prefix}{name}"
        at = place.at(name)
        if isinstance(found, dict) and not {"from", "to", "count"} & set(found):
            yield from _axes(found, at, f"{key}.")
            continue
        if "." not in key and key not in _WHOLE:
            key = f"parameters.{key}"
        yield key, _values(found, at), at


def _values(found: Any, place: Place) -> Values:
    if isinstance(found, dict):
        table = validated(SpanTable, found, place)
        ends = (table.start, table.to)
        if not all(math.isfinite(end) for end in ends):
            raise place.error(f"it goes from {ends[0]} to {ends[1]}", "give finite ends")
        if table.spacing == "log" and min(ends) <= 0:
            raise place.error(f"it goes from {ends[0]:g} to {ends[1]:g}", "equal ratios need ends above 0")
        if table.count > 1 and ends[0] == ends[1]:
            raise place.error(f"it is {ends[0]:g} {table.count} times", "give different ends, or count = 1")
        return Span(float(ends[0]), float(ends[1]), table.count, table.spacing)
    if not isinstance(found, list):
        raise place.error(
            f"{shown(found)} is one value, not an axis", "write a list, or {from = 0.1, to = 2.0, count = 50}"
        )
    if not found:
        raise place.error("the axis is empty", "give it a value, or leave it out")
    kinds = {_kind(value) for value in found}
    if len(kinds) > 1:
        raise place.error(f"it mixes {' and '.join(sorted(kinds))}", "values of an axis are of one kind")
    for k, value in enumerate(found):
        if isinstance(value, float) and math.isnan(value):
            raise place.error(f"value {k} is not a number", "take it out")
        if value in found[:k] and len(found) <= 1000:
            raise place.error(f"{shown(value)} is there twice", "take one out")
    return tuple(found)


def _as_json(value: Any, place: Place) -> Any:
    """A copy of what JSON can say: arrays, ranges and tuples of Python become lists, NumPy's numbers plain ones."""
    if isinstance(value, Mapping):
        return {name: _as_json(item, place.at(str(name))) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _as_json(value.tolist(), place)
    if isinstance(value, list | tuple | range):
        return [_as_json(item, place) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    told = f"{type(value).__name__} {value}"
    raise place.error(f"it is the {told}", "write text, numbers, true or false, lists and tables of them")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth values"
    if isinstance(value, int | float):
        return "numbers"
    kinds = ((str, "texts"), (list, "lists"), (dict, "tables"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "other things")


def _check_keys(keys: Sequence[str], place: Place) -> None:
    for key in keys:
        section = key.split(".")[0]
        if section not in _SECTIONS:
            raise place.at("axes", key).error(
                f"there is no section {section!r}", nearest(section, _SECTIONS, "the sections are")
            )
        if keys.count(key) > 1:
            raise place.at("axes", key).error("it is there twice", "take one out")
        if key == "run.times":
            raise place.at("axes", key).error("it says what is recorded", "vary run.horizon, or give [run] times once")
        if section in keys and key != section:
            raise place.at("axes", key).error(f"the axis {section} gives it too", "put it into that axis's tables")


def _check_seeds(values: Values, place: Place) -> None:
    span = isinstance(values, Span)
    for k, seed in enumerate((values.start, values.to) if isinstance(values, Span) else values):
        number = isinstance(seed, int | float) and not isinstance(seed, bool)
        whole = number and (float(seed).is_integer() if span else isinstance(seed, int))
        if not whole or not 0 <= seed < 2**63:
            what = f"{'an end' if span else f'value {k}'}, {shown(seed)}, is no seed"
            raise place.error(what, "seeds are whole numbers from 0 up to 2^63 - 1")
    if isinstance(values, Span) and (values.spacing == "log" or (values.to - values.start) % max(1, values.count - 1)):
        told = f"{values.count} values from {values.start:g} to {values.to:g} are not all whole"
        raise place.error(told, "seeds are whole numbers; write count = to - from + 1")


def _names(keys: Sequence[str]) -> dict[str, str]:
    """Short names: the last part of a key where that is unique."""
    lasts = [key.split(".")[-1] for key in keys]
    return {
        key: last if lasts.count(last) == 1 and last not in OWN_NAMES else key.replace(".", "_")
        for key, last in zip(keys, lasts, strict=True)
    }


def check_names(plan: Plan, statistics: Sequence[str]) -> None:
    """Refuse an axis or a list of points that is called as something of the results is.

    Raises
    ------
    SpecError
        Names it.
    """
    results = {*statistics, *OWN_NAMES, *(f"simulated_{name}{end}" for name in statistics for end in ("", "_error"))}
    place = Place(plan.name)
    for dimension in plan.dimensions:
        if dimension.name in results and dimension.name != dimension.axes[0].name:
            raise place.at("zip", dimension.name).error("a result has that name", "give the list of points another")
        for axis in dimension.axes:
            if axis.name in results:
                raise place.at("axes", axis.key).error(
                    f"it would be called {axis.name}, as a result is",
                    "give the parameter or the statistic another name",
                )


def check_size(plan: Plan, yes: bool) -> None:
    """Refuse a number of points that looks like a mistake.

    Raises
    ------
    SpecError
        Says how many there are.
    """
    if plan.points > MOST_POINTS and not yes:
        product = " × ".join(f"{len(d):,} of {d.name}" for d in plan.dimensions)
        raise SpecError(plan.name, f"these are {plan.points:,} points ({product})", "if that is meant, say --yes")
    if plan.points >= 2**62:
        raise SpecError(plan.name, f"these are {plan.points:,} points", "no store can number them")


# ── The size of a batch ─────────────────────────────────────────────────────────────────────────────────────

SECONDS_A_BATCH = 0.5
"""Of work: a batch costs about 10 ms besides (a file synchronised, a task sent; ``python -m benchmarks batches``), some
per cent of it, and no more than this is lost, for each core, when the machine stops."""

MOST_IN_A_BATCH = 5000
MOST_NUMBERS = 100_000
"""Of one statistic in a batch, so that its arrays stay small however many times are recorded."""


def batch_size(points: int, seconds_a_point: float, times: int = 1) -> int:
    """How many points make a batch, by what a point costs; a round number, as what is measured is not exact.

    Examples
    --------
    >>> batch_size(100_000, 2e-4), batch_size(100_000, 0.1), batch_size(100, 1e-4), batch_size(4, 60.0)
    (2000, 5, 50, 1)
    >>> batch_size(100_000, 2e-4, times=200)
    500
    """
    fitting = min(MOST_IN_A_BATCH, MOST_NUMBERS // times, int(SECONDS_A_BATCH / seconds_a_point), -(-points // 2))
    decade = int(10 ** (len(str(max(1, fitting))) - 1))
    return next(step * decade for step in (5, 2, 1) if step * decade <= max(1, fitting))
