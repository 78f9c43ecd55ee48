"""Spec files: a model, an instance and what is asked of them, written by hand in TOML.

``load_spec`` reads one, or one of the catalogue by its name; what it returns is what the verbs take::

    spec = load_spec("adversarial-least-squares")
    trajectory = solve(**spec.arguments, rtol=spec.rtol)

and ``spec.to_toml()`` is the text of a file again; :meth:`Spec.of` makes one of what was built in Python.

A whole file, with everything that has no default and most of what has one:

.. code-block:: toml

    description = "adversarial least squares, one mean, power-law covariance"

    [model]
    loss = "(r - y)**2/2"                        # in r, y and parameters
    target = {teacher = "r_star + sigma*xi"}     # or "labels", or {random_labels = "sigmoid(r_star)"}
    adversary = "l2"                             # left out: standard training

    [parameters]
    epsilon = 0.3
    sigma = 0.5                                  # or one value a class, [0.5, 0.7]

    [instance]                                   # builder and its keywords, or the arrays of an Instance
    builder = "power_law"
    dimension = 100
    exponent = 0.5
    mean_norm = 1.0

    [schedule]
    gamma = 0.5                                  # or expression = "gamma0/(1 + t)**0.5", or rule = "line_search"

    [run]
    horizon = 10.0

    [statistics]
    gap = {formula = "adversarial_risk - clean_risk"}   # or {expectation = "Abs(r - y)"}

    [simulate]
    runs = 32

    [verify]
    resolution = 0.01
"""

from __future__ import annotations

import copy
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sgdlimit.derive.errors import SpecError
from sgdlimit.derive.model import Expectation, Formula, Model, Schedule, StepSize
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.output import plain
from sgdlimit.runtime.problem import check_target, output_times
from sgdlimit.runtime.schema import (
    Document,
    ModelTable,
    Place,
    RunTable,
    ScheduleTable,
    SimulateTable,
    StatisticTable,
    Table,
    VerifyTable,
    instance_table,
    nearest,
    validated,
)
from sgdlimit.runtime.spec_text import (
    instance_section,
    model_section,
    schedule_section,
    statistics_section,
    toml_text,
)

Parameters = Mapping[str, float | tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Equations:
    """The part of a spec that decides its equations and its kernel: no numbers.

    Parameters
    ----------
    name : str
        The catalogue name, or the file's name without its ending.
    source : str
        The catalogue name or the path, as an error names it.
    description : str
        One line.
    model : Model
    statistics : mapping of str to Expectation or Formula
        The user's own.
    schedule : StepSize or None
        The learning rate if it is an expression in ``t``: then it is part of the kernel.
    """

    name: str = field(compare=False)
    source: str = field(compare=False)
    description: str
    model: Model
    statistics: Mapping[str, Expectation | Formula]
    schedule: StepSize | None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Mapping):
                object.__setattr__(self, each.name, MappingProxyType(dict(value)))

    def __reduce__(self) -> tuple[Any, ...]:
        # read-only views of mappings cannot be pickled
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return _restored, (type(self), {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """The tables of a spec file that reads to an equal value: text, numbers, lists and tables."""
        document: dict[str, Any] = {"description": self.description} if self.description else {}
        document["model"] = model_section(self.model)
        document["statistics"] = statistics_section(self.statistics)
        document["schedule"] = {} if self.schedule is None else schedule_section(self.schedule)
        return {key: value for key, value in document.items() if value != {}}

    def to_toml(self) -> str:
        """The text of a spec file that reads to an equal value."""
        return toml_text(self.to_dict())

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON, an infinite dimension as ``"inf"``."""
        return json.dumps(plain(self.to_dict()), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class Spec(Equations):
    """Everything that a spec file says: see :func:`load_spec`, and :meth:`Spec.of` for one made in Python.

    Specs are equal that ask for the same, wherever they were read.

    Parameters
    ----------
    name, source, description, model, statistics
        As in :class:`Equations`.
    schedule : StepSize
        The step size.
    instance : Instance or DenseInstance
    parameters : mapping of str to float or tuple of float
        Values of the parameters, one or one a class.
    horizon : float
        Last time.
    times : tuple of float or None
        Output times; None for the default of each verb.
    rtol : float
        Relative tolerance of a solve.
    runs, seed : int
        Of a simulation.
    verification : mapping of str
        Keywords of ``verify`` that the file gives; ``verify`` has times of its own, a dozen.
    built : tuple of Instance or DenseInstance and mapping, optional
        The instance as it was read and the section that says so: as long as the instance is that one, it is written
        that way, else by its arrays.

    Examples
    --------
    >>> spec = load_spec("least-squares")
    >>> spec.model.loss, spec.schedule, sorted(spec.parameters)
    (Loss('(r - y)**2/2'), Constant(gamma=0.8), ['sigma'])
    >>> Spec.from_toml(spec.to_toml()) == spec == Spec.from_json(spec.to_json())
    True
    """

    schedule: StepSize
    instance: Instance | DenseInstance
    parameters: Parameters
    horizon: float
    times: tuple[float, ...] | None
    rtol: float
    runs: int
    seed: int
    verification: Mapping[str, Any]
    built: tuple[Instance | DenseInstance, Mapping[str, Any]] | None = field(default=None, compare=False, repr=False)

    @staticmethod
    def of(
        model: Model,
        instance: Instance | DenseInstance,
        schedule: StepSize,
        parameters: Mapping[str, Any] | None = None,
        horizon: float | None = None,
        *,
        times: ArrayLike | None = None,
        statistics: Mapping[str, Expectation | Formula] | None = None,
        rtol: float | None = None,
        runs: int | None = None,
        seed: int | None = None,
        verification: Mapping[str, Any] | None = None,
        description: str = "",
    ) -> Spec:
        """The spec of what was built in Python; ``to_toml()`` is a file of it.

        Parameters
        ----------
        model, instance, schedule, parameters, horizon, times, statistics, rtol
            As of :func:`sgdlimit.runtime.solver.solve`.
        runs, seed
            As of :func:`sgdlimit.runtime.simulator.simulate`.
        verification : mapping of str, optional
            Keywords of ``verify``.
        description : str
            One line.

        Raises
        ------
        SpecError
            As of :func:`load_spec`.

        Examples
        --------
        >>> import sgdlimit as sl
        >>> model = sl.Model(sl.Loss("(r - y)**2/2"), sl.Teacher("r_star + sigma*xi"))
        >>> spec = Spec.of(model, sl.Instance.isotropic(2), sl.Constant(0.5), {"sigma": 0.5}, horizon=4.0)
        >>> print(spec.to_toml())
        [model]
        loss = "(r - y)**2/2"
        target = {teacher = "r_star + sigma*xi"}
        adversary = "none"
        <BLANKLINE>
        [parameters]
        sigma = 0.5
        <BLANKLINE>
        [instance]
        probabilities = [1.0]
        eigenvalues = [[1.0, 1.0]]
        teacher = [0.7071067811865475, 0.7071067811865475]
        <BLANKLINE>
        [schedule]
        gamma = 0.5
        <BLANKLINE>
        [run]
        horizon = 4.0
        <BLANKLINE>
        """
        run = {"horizon": horizon, "times": None if times is None else np.asarray(times, dtype=float).tolist()}
        document = {
            "description": description,
            "model": model_section(model),
            "statistics": statistics_section(statistics or {}),
            "parameters": {name: _number_or_list(value) for name, value in (parameters or {}).items()},
            "instance": instance_section(instance),
            "schedule": schedule_section(schedule),
            "run": _given({**run, "rtol": rtol}),
            "simulate": _given({"runs": runs, "seed": seed}),
            "verify": dict(verification or {}),
        }
        return Spec.from_dict(document)

    @staticmethod
    def from_dict(document: Mapping[str, Any], source: str = "spec") -> Spec:
        """What the tables of a spec file say; ``source`` names them in errors.

        Raises
        ------
        SpecError
            As of :func:`load_spec`.
        """
        return _spec(_checked(copy.deepcopy(dict(document)), {}, source, Path(), Place(source)))

    @staticmethod
    def from_toml(text: str, source: str = "spec") -> Spec:
        """What the text of a spec file says; ``source`` names it in errors.

        Raises
        ------
        SpecError
            As of :func:`load_spec`.
        """
        return Spec.from_dict(_parsed(text, Place(source)), source)

    @staticmethod
    def from_json(text: str, source: str = "spec") -> Spec:
        """What :meth:`to_json` wrote.

        Raises
        ------
        SpecError
            As of :func:`load_spec`.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Place(source).error(f"is not JSON: {_lower(str(error))}") from None
        if not isinstance(document, dict):
            raise Place(source).error(f"is {type(document).__name__} and no object", "write what to_json() does")
        return Spec.from_dict(document, source)

    def to_dict(self) -> dict[str, Any]:
        """The tables of a spec file that reads to an equal spec: text, numbers, lists and tables.

        An instance that was read from a file is written as it was there, any other one by its arrays.
        """
        run: dict[str, Any] = {"times": list(self.times)} if self.times is not None else {}
        if self.times is None or self.horizon != self.times[-1]:
            run = {"horizon": self.horizon, **run}
        document = super().to_dict() | {
            "parameters": {name: list(v) if isinstance(v, tuple) else v for name, v in self.parameters.items()},
            "instance": self._instance_section(),
            "run": run | _unless_usual(RunTable, rtol=self.rtol),
            "simulate": _unless_usual(SimulateTable, runs=self.runs, seed=self.seed),
            "verify": dict(self.verification),
        }
        return {key: document[key] for key in Document.model_fields if key in document and document[key] != {}}

    def _instance_section(self) -> dict[str, Any]:
        if self.built is not None and self.built[0] is self.instance:
            return copy.deepcopy(dict(self.built[1]))
        return instance_section(self.instance)

    @property
    def arguments(self) -> dict[str, Any]:
        """Keywords that ``solve`` and ``simulate`` share."""
        return {
            "model": self.model,
            "instance": self.instance,
            "schedule": self.schedule,
            "parameters": dict(self.parameters),
            "horizon": self.horizon,
            "times": self.times,
            "statistics": dict(self.statistics),
        }


def load_spec(source: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Spec:
    """Read a spec file, or one of the catalogue by its name.

    Parameters
    ----------
    source : str or path
        A name of :func:`catalogue`, or a path.
    overrides : mapping of str, optional
        Values to use in place of the file's, by dotted key.

    Returns
    -------
    Spec

    Raises
    ------
    SpecError
        The file cannot be read or does not hold what it must; says the file, the key and what would do.
    ExpressionError, ModelError, ParameterError, InstanceError
        From the model or the instance that it describes, with the file and the key in front.

    Examples
    --------
    >>> spec = load_spec("least-squares", {"parameters.sigma": 1.0, "instance.dimension": 120})
    >>> spec.parameters["sigma"], spec.instance.dimension
    (1.0, 120)
    >>> load_spec("last-squares")
    Traceback (most recent call last):
    sgdlimit.derive.errors.SpecError: last-squares: there is no such file, and no catalogue model of that name; \
did you mean least-squares?
    """
    return _spec(_read(source, overrides or {}))


def spec_from(values: Mapping[str, Any], source: str, folder: Path, overrides: Mapping[str, Any] | None = None) -> Spec:
    """The spec that the sections of a file describe, parsed already.

    Parameters
    ----------
    values : mapping
        The sections, as TOML gives them; not changed.
    source : str
        What errors call the file.
    folder : Path
        Where it looks for files of data.
    overrides : mapping of str, optional
        As of :func:`load_spec`.

    Raises
    ------
    SpecError, ExpressionError, ModelError, ParameterError, InstanceError
        As of :func:`load_spec`.

    Examples
    --------
    >>> values = tomllib.loads(catalogue_text("least-squares"))
    >>> spec_from(values, "mine.toml", Path(), {"schedule.gamma": 0.1}).schedule
    Constant(gamma=0.1)
    """
    own = copy.deepcopy(dict(values)) if overrides else dict(values)
    return _spec(_checked(own, overrides or {}, Path(source).stem, folder, Place(source)))


def load_equations(source: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Equations:
    """The model, statistics and schedule of a spec file, which may say nothing else.

    Examples
    --------
    >>> load_equations("digits").model.loss
    Loss('log(1 + exp(-y*r))')
    """
    return _equations(_read(source, overrides or {}))


def equations_from(values: Mapping[str, Any], source: str, overrides: Mapping[str, Any] | None = None) -> Equations:
    """The model, statistics and schedule that the sections of a file describe, parsed already.

    Examples
    --------
    >>> values = tomllib.loads(catalogue_text("least-squares"))
    >>> equations_from(values, "mine.toml", {"model.loss": "Abs(r - y)"}).model.loss
    Loss('Abs(r - y)')
    """
    own = copy.deepcopy(dict(values))
    return _equations(_checked(own, overrides or {}, Path(source).stem, Path(), Place(source)))


def catalogue() -> dict[str, str]:
    """Names of the models that come with sgdlimit, each with its description.

    Examples
    --------
    >>> list(catalogue())[:2]
    ['absolute', 'adversarial-erf-regression']
    """
    folder = resources.files("sgdlimit.runtime.catalogue")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {
        f.name.removesuffix(".toml"): str(tomllib.loads(f.read_text(encoding="utf-8"))["description"]) for f in files
    }


def catalogue_text(name: str) -> str:
    """The spec file of a catalogue model, to start one's own from.

    Examples
    --------
    >>> print(catalogue_text("least-squares").splitlines()[3])
    loss = "(r - y)**2/2"
    """
    known = list(catalogue())
    if name not in known:
        raise SpecError(name, "there is no catalogue model of that name", nearest(name, known, "the catalogue has"))
    return resources.files("sgdlimit.runtime.catalogue").joinpath(f"{name}.toml").read_text(encoding="utf-8")


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _File:
    """A document that is a spec file in outline, and where it came from."""

    name: str
    folder: Path
    place: Place
    document: Document


def _read(source: str | os.PathLike[str], overrides: Mapping[str, Any]) -> _File:
    """Find, parse and override; the catalogue goes before a file of the same name."""
    shown = os.fspath(source)
    place = Place(shown)
    entry = resources.files("sgdlimit.runtime.catalogue").joinpath(f"{shown}.toml")
    path = Path(source).expanduser()
    in_catalogue = isinstance(source, str) and path.name == source and entry.is_file()
    try:
        content = entry.read_bytes() if in_catalogue else path.read_bytes()
    except FileNotFoundError:
        if path.suffix or path.name != shown:
            raise place.error("there is no such file", "`sgdlimit catalogue` lists the models that need none") from None
        suggestion = nearest(shown, list(catalogue()), "the catalogue has")
        raise place.error("there is no such file, and no catalogue model of that name", suggestion) from None
    except OSError as error:
        raise place.error(f"cannot be read: {error.strerror}") from None
    return _checked(parsed_toml(content, place), overrides, shown if in_catalogue else path.stem, path.parent, place)


def parsed_toml(content: bytes, place: Place) -> dict[str, Any]:
    """The values of a TOML file.

    Raises
    ------
    SpecError
        Says the line.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise place.error(f"line {line} is not UTF-8 text", "save the file as UTF-8") from None
    return _parsed(text, place)


def _parsed(text: str, place: Place) -> dict[str, Any]:
    """The values of a spec file's text."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise place.error(
            f"is not TOML: {_lower(str(error))}", 'a line is key = value or [section]; text is in "quotes"'
        ) from None
    except RecursionError:
        raise place.error("is nested too deeply", "a spec file needs lists of lists of lists at most") from None


def _checked(values: dict[str, Any], overrides: Mapping[str, Any], name: str, folder: Path, place: Place) -> _File:
    """Override and check the outline."""
    for key, value in overrides.items():
        override(values, key, value, place)
    return _File(name, folder, place, validated(Document, values, place))


# Keys of which a file gives one: to override one is to drop the others.
_RULE = tuple(f"schedule.{key}" for key in ("rule", "statistic", "eta", "b", "source"))
_RIVALS = {
    "schedule.gamma": ("schedule.expression", *_RULE),
    "schedule.expression": ("schedule.gamma", *_RULE),
    "schedule.rule": ("schedule.gamma", "schedule.expression"),
    "run.horizon": ("run.times",),
    "run.times": ("run.horizon",),
}
_OF_RULE = {"greedy": ("schedule.statistic",), "adagrad_norm": ("schedule.eta", "schedule.b")}


def _rivals(key: str, value: Any) -> tuple[str, ...]:
    """Keys that make no sense beside this one; of another rule's, those that this rule has not."""
    others = (of_rule for rule, of_rule in _OF_RULE.items() if key == "schedule.rule" and rule != value)
    return (*_RIVALS.get(key, ()), *(rival for of_rule in others for rival in of_rule))


def override(values: dict[str, Any], key: str, value: Any, place: Place) -> None:
    """Put a value at a dotted key."""
    for dotted, put in (*((rival, False) for rival in _rivals(key, value)), (key, True)):
        *tables, last = dotted.split(".")
        table: Any = values
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise place.at(*key.split(".")).error(f"{name} is not a table, so nothing in it can be set")
        if put:
            table[last] = value
        else:
            table.pop(last, None)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


# ── From tables to objects ──────────────────────────────────────────────────────────────────────────────────


def _equations(file: _File) -> Equations:
    at, document = file.place.at, file.document
    statistics = {}
    for name, given in document.statistics.items():
        place = at("statistics", name)
        if not name.isidentifier():
            raise place.error(f"{name!r} is not a name", "use letters, digits and underscores")
        if not isinstance(given, dict):
            raise place.error(f"{given!r} was given", 'write {expectation = "y*r"} or {formula = "…"}')
        statistics[name] = validated(StatisticTable, given, place).build(place)
    schedule = None
    if document.schedule:
        schedule = validated(ScheduleTable, document.schedule, at("schedule")).build(at("schedule"))
    return Equations(
        name=file.name,
        source=file.place.source,
        description=document.description,
        model=validated(ModelTable, document.model, at("model")).build(at("model")),
        statistics=statistics,
        schedule=schedule,
    )


def _spec(file: _File) -> Spec:
    equations = _equations(file)
    at, document = file.place.at, file.document
    schedule = equations.schedule
    if schedule is None:
        raise at("schedule").error(
            "is missing", 'give a section [schedule] with gamma = 0.5, expression = "…" in t, or rule = "…"'
        )
    if not document.instance:
        raise at("instance").error(
            "is missing", "give a section [instance] with a builder or the arrays of an instance"
        )
    instance = _instance(file, equations.model)
    run = validated(RunTable, document.run, at("run"))
    horizon = run.times[-1] if run.horizon is None and run.times else run.horizon
    if horizon is None:
        raise at("run", "horizon").error("is missing", "give the last time, horizon = 10.0, or times = [...]")
    with at("run").of_arguments():
        output_times(horizon, run.times, count=2)
    simulation = validated(SimulateTable, document.simulate, at("simulate"))
    return Spec(
        name=equations.name,
        source=equations.source,
        description=equations.description,
        model=equations.model,
        statistics=equations.statistics,
        schedule=schedule,
        instance=instance,
        parameters=_parameters(file, equations, schedule),
        horizon=horizon,
        times=None if run.times is None else tuple(run.times),
        rtol=run.rtol,
        runs=simulation.runs,
        seed=simulation.seed,
        verification=validated(VerifyTable, document.verify, at("verify")).given(),
        # a file's place is said from the spec's own folder
        built=None if "file" in document.instance else (instance, document.instance),
    )


def _restored(kind: type[Equations], values: dict[str, Any]) -> Equations:
    """From a pickle."""
    return kind(**values)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _unless_usual(table: type[Table], **values: Any) -> dict[str, Any]:
    """Those that are not what the table takes by default."""
    return {name: value for name, value in values.items() if value != table.model_fields[name].default}


def _number_or_list(value: Any) -> Any:
    listed = np.asarray(value, dtype=float).tolist()
    return value if isinstance(value, int | float) else listed


def _instance(file: _File, model: Model) -> Instance | DenseInstance:
    place = file.place.at("instance")
    table = instance_table(file.document.instance, place)
    with place.of_arguments():
        instance = table.build(model, file.folder)
        check_target(model, instance)
    return instance


def _parameters(file: _File, equations: Equations, schedule: StepSize) -> Parameters:
    """The values of the parameters; that none is missing or unknown, the kernel need not be there to say."""
    place, given = file.place.at("parameters"), file.document.parameters
    known = dict.fromkeys(equations.model.parameters)
    for part in (*equations.statistics.values(), schedule):
        if isinstance(part, Expectation | Schedule):
            known.update(dict.fromkeys(part.parameters))
    for name in given:
        if name not in known:
            why = "there is no adversary, hence no radius" if name == "epsilon" else "the model has no such parameter"
            raise place.at(name).error(why, nearest(name, list(known), "its parameters are"))
    for name in known:
        if name not in given and name != "tau":
            listing = f"the parameters are {', '.join(known)}, and tau is 0 unless given"
            raise place.at(name).error("is missing", listing)
    return {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}


__all__ = ["Equations", "Spec", "SpecError", "catalogue", "catalogue_text", "load_equations", "load_spec", "spec_from"]
