"""What a spec file may hold: one pydantic table for each section, and its errors in plain words.

A field's description says what belongs there; it is the remedy of the error when the field is missing.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from sgdlimit.derive.errors import InputError, InstanceError, SpecError
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
    StepSize,
    Teacher,
)
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.instance import Instance

# ── Places and errors ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Place:
    """A key of a spec file, for the errors that it causes.

    Examples
    --------
    >>> place = Place("my.toml").at("model", "loss")
    >>> with place.of_expression():
    ...     Loss("r - z(y)")
    Traceback (most recent call last):
    sgdlimit.derive.errors.ExpressionError: my.toml: model.loss: unknown function 'z' at position 4 of 'r - z(y)'; \
for a product write z*(...). The functions are ...
    """

    source: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.source}: {'.'.join(self.keys)}" if self.keys else self.source

    def at(self, *keys: str) -> Place:
        """The place of a key within this one."""
        return Place(self.source, (*self.keys, *keys))

    def error(self, why: str, remedy: str = "") -> SpecError:
        """A :class:`SpecError` at this place."""
        return SpecError(str(self), why, remedy)

    @contextmanager
    def of_expression(self) -> Iterator[None]:
        """An error raised within is at this place, whatever it calls the expression."""
        try:
            yield
        except InputError as error:
            error.where = str(self)
            raise

    @contextmanager
    def of_arguments(self) -> Iterator[None]:
        """An error raised within is at the key below this place that it names."""
        try:
            yield
        except InputError as error:
            error.where = str(self.at(error.where))
            raise


def nearest(given: str, known: Sequence[str], listing: str) -> str:
    """A suggestion: the known name nearest to the one given, else all of them.

    Examples
    --------
    >>> nearest("exponant", ["dimension", "exponent"], "the keys are")
    'did you mean exponent?'
    >>> nearest("x", ["dimension", "exponent"], "the keys are")
    'the keys are dimension, exponent'
    """
    folded = {name.lower().replace("_", "-"): name for name in known}
    close = difflib.get_close_matches(given.lower().replace("_", "-"), folded, n=1)
    return f"did you mean {folded[close[0]]}?" if close else f"{listing} {', '.join(known)}"


def shown(value: object) -> str:
    """A value for an error message, cut to a length that a line can bear."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# ── Values ──────────────────────────────────────────────────────────────────────────────────────────────────


def _numbers(depth: int) -> PlainValidator:
    """Numbers in at most ``depth`` nested lists; shapes are the constructors' to judge."""
    kinds = ("a number", "a list of numbers", "a list of lists of numbers", "a list of matrices")
    wanted = " or ".join(kinds[: depth + 1])

    def is_numbers(value: object, left: int) -> bool:
        if isinstance(value, list):
            return left > 0 and bool(value) and all(is_numbers(item, left - 1) for item in value)
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)

    def check(value: object) -> Any:
        if not is_numbers(value, depth):
            raise PydanticCustomError("numbers", "Input should be {wanted}", {"wanted": wanted})
        return value

    return PlainValidator(check)


PerClass = Annotated[Any, _numbers(1)]
Array = Annotated[Any, _numbers(2)]
Matrices = Annotated[Any, _numbers(3)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Dimension = Annotated[float, BeforeValidator(lambda given: math.inf if given == "inf" else given)]
"""JSON has no infinity: there it is text."""
Text = Annotated[str, Field(min_length=1)]


class Table(BaseModel):
    """A table of a spec file: no key but its fields, no value converted from another type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def given(self, *without: str) -> dict[str, Any]:
        """The values that the file gives, by key."""
        return {name: getattr(self, name) for name in self.model_fields_set if name not in without}


# ── Model, statistics, schedule ─────────────────────────────────────────────────────────────────────────────


class TargetTable(Table):
    """``{teacher = "..."}`` or ``{random_labels = "..."}``."""

    teacher: Text | None = None
    random_labels: Text | None = None


_TARGETS = '"labels", {teacher = "r_star + sigma*xi"} or {random_labels = "sigmoid(r_star)"}'


class ModelTable(Table):
    """``[model]``."""

    loss: Text = Field(description="the loss, an expression in r, y and parameters")
    target: Any = Field(description=f"the target y: {_TARGETS}")
    adversary: Literal["l2", "none"] = "none"

    def build(self, place: Place) -> Model:
        """The model; ``place`` is that of this table."""
        with place.at("loss").of_expression():
            loss = Loss(self.loss)
        adversary = L2Adversary() if self.adversary == "l2" else None
        return Model(loss, self._target(place.at("target")), adversary)

    def _target(self, place: Place) -> Labels | Teacher | RandomLabels:
        if self.target == "labels":
            return Labels()
        if isinstance(self.target, Mapping):
            table = validated(TargetTable, self.target, place)
            match table.given():
                case {"teacher": str(text), **others} if not others:
                    with place.at("teacher").of_expression():
                        return Teacher(text)
                case {"random_labels": str(text), **others} if not others:
                    with place.at("random_labels").of_expression():
                        return RandomLabels(text)
        raise place.error(f"{shown(self.target)} was given", f"write {_TARGETS}")


class StatisticTable(Table):
    """``[statistics]``: ``name = {expectation = "..."}`` or ``{formula = "..."}``."""

    expectation: Text | None = None
    formula: Text | None = None

    def build(self, place: Place) -> Expectation | Formula:
        """The statistic; ``place`` is that of this table."""
        match self.given():
            case {"expectation": str(text), **others} if not others:
                with place.at("expectation").of_expression():
                    return Expectation(text)
            case {"formula": str(text), **others} if not others:
                with place.at("formula").of_expression():
                    return Formula(text)
        raise place.error(
            "needs one expression", 'write {expectation = "y*r"} or {formula = "adversarial_risk - clean_risk"}'
        )


class ScheduleTable(Table):
    """``[schedule]``."""

    gamma: float | None = None
    expression: Text | None = None
    rule: Literal["line_search", "polyak", "greedy", "adagrad_norm"] | None = None
    statistic: Text | None = None
    eta: float | None = None
    b: float | None = None
    source: Literal["limit", "iterate"] | None = None

    def build(self, place: Place) -> StepSize:
        """The step size; ``place`` is that of this table."""
        given = self.given()
        source = {"source": given["source"]} if "rule" in given and "source" in given else {}
        with place.of_arguments():
            match {key: value for key, value in given.items() if key not in source}:
                case {"rule": "line_search", **others} if not others:
                    return LineSearch(**source)
                case {"rule": "polyak", **others} if not others:
                    return Polyak(**source)
                case {"rule": "greedy", "statistic": str(statistic), **others} if not others:
                    return Greedy(statistic, **source)
                case {"rule": "adagrad_norm", "eta": eta, "b": b, **others} if not others:
                    return AdaGradNorm(eta, b, **source)
        match given:
            case {"gamma": float(gamma) | int(gamma), **others} if not others:
                with place.of_arguments():
                    return Constant(gamma)
            case {"expression": str(text), **others} if not others:
                with place.at("expression").of_expression():
                    return Schedule(text)
        raise place.error(
            "needs one step size",
            'write gamma = 0.5, or expression = "gamma0/(1 + t)**0.5", or rule = "line_search", or rule = "polyak", or '
            'rule = "greedy" with statistic = "…", or rule = "adagrad_norm" with eta and b',
        )


# ── Instances: one table for each builder ───────────────────────────────────────────────────────────────────


class InstanceTable(Table):
    """``[instance]``: which table it is, ``builder`` says."""

    name: ClassVar[str | None] = None

    builder: str | None = None

    def build(self, model: Model, folder: Path) -> Instance | DenseInstance:
        """The instance; files are looked for in ``folder``."""
        raise NotImplementedError


class ArraysTable(InstanceTable):
    """Arrays over modes, ``builder`` left out; ``dimension`` spreads the modes over more coordinates.

    With ``spread = false`` they stay as they are, each for its share of the dimension.
    """

    probabilities: PerClass = Field(description="the probability of each class, [1.0] for one class")
    eigenvalues: Array = Field(description="the covariance eigenvalues, one list over the modes for each class")
    means: Array = 0
    start: PerClass = 0
    labels: PerClass = None
    teacher: PerClass = None
    weights: PerClass = None
    dimension: Dimension | None = None
    spread: bool = True

    def build(self, model: Model, folder: Path) -> Instance:
        arrays = {"means": 0, "start": 0, **self.given("builder", "dimension", "spread")}
        if not self.spread:
            return Instance(**arrays, dimension=self.dimension)
        limit = Instance(**arrays)
        if self.dimension is None or self.dimension == limit.dimension:
            return limit
        return limit.at_dimension(self.dimension)


class SpectrumTable(InstanceTable):
    """What every builder with a spectrum takes: see :class:`sgdlimit.runtime.builders.FixedVectors`."""

    dimension: Dimension = Field(description="the number of coordinates, or inf")
    probabilities: PerClass = None
    labels: PerClass = None
    teacher_norm: float = 1.0
    teacher: PerClass = None
    start_norm: float = 0.0
    start_overlap: float = 0.0
    start: PerClass = 0
    mean_norm: float = 0.0
    mean_overlap: float = 0.0
    means: Array = 0

    def build(self, model: Model, folder: Path) -> Instance:
        given = self.given("builder", "dimension")
        # Labels need no teacher: there is one only if the file describes it.
        if not model.has_teacher and not {"teacher", "teacher_norm"} & set(given):
            given["teacher"] = None
        instance: Instance = getattr(Instance, str(self.name))(self.dimension, **given)
        return instance


class IsotropicTable(SpectrumTable):
    """``builder = "isotropic"``."""

    name = "isotropic"
    eigenvalue: PerClass = 1.0


class PowerLawTable(SpectrumTable):
    """``builder = "power_law"``."""

    name = "power_law"
    exponent: float = Field(description="the exponent β < 1 of the spectral density ∝ λ^-β on (0, 1]")
    nodes: Count | None = None


class MarchenkoPasturTable(SpectrumTable):
    """``builder = "marchenko_pastur"``."""

    name = "marchenko_pastur"
    ratio: float = Field(description="the ratio d/n > 0 of dimension to samples")
    scale: float = 1.0
    nodes: Count | None = None


class DensityTable(SpectrumTable):
    """``builder = "from_density"``."""

    name = "from_density"
    density: Text = Field(description='the spectral density, an expression in lam such as "lam**0.5*(2 - lam)"')
    support: PerClass = Field(description="the interval of the eigenvalues, [0, 2]")
    nodes: Count | None = None


class DecayingTable(SpectrumTable):
    """``builder = "decaying"``."""

    name = "decaying"
    exponent: float = Field(description="the exponent a of the eigenvalues ∝ j^-a")


class ZeroOneTable(SpectrumTable):
    """``builder = "zero_one"``."""

    name = "zero_one"
    fraction: float = Field(description="the share of the eigenvalues that are 1")


class CovariancesTable(InstanceTable):
    """``builder = "from_covariances"``."""

    name = "from_covariances"
    covariances: Matrices = Field(description="the covariance matrix of each class")
    means: Array = 0
    probabilities: PerClass = None
    labels: PerClass = None
    teacher: PerClass = None
    start: PerClass = 0

    def build(self, model: Model, folder: Path) -> Instance | DenseInstance:
        return Instance.from_covariances(**{"means": 0, **self.given("builder")})


class DenseTable(InstanceTable):
    """``builder = "dense"``: covariances as matrices, whether they commute or not."""

    name = "dense"
    probabilities: PerClass = Field(description="the probability of each class, [1.0] for one class")
    covariances: Matrices = Field(description="the covariance matrix of each class")
    means: Array = 0
    labels: PerClass = None
    teacher: PerClass = None
    start: PerClass = 0

    def build(self, model: Model, folder: Path) -> Instance | DenseInstance:
        return DenseInstance(**self.given("builder"))


class DataTable(InstanceTable):
    """``builder = "from_data"``: a data set of scikit-learn, or a file ``.npz`` that holds ``X`` and ``y``."""

    name = "from_data"
    dataset: Text | None = None
    file: Text | None = None
    classes: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    start: PerClass = 0
    pooled: bool = True
    components: Count | None = None
    center: bool = True
    scale: bool = False

    def build(self, model: Model, folder: Path) -> Instance | DenseInstance:
        X, y = _data(self, folder)
        return Instance.from_data(X, y, **self.given("builder", "dataset", "file", "classes"))


BUILDERS: dict[str | None, type[InstanceTable]] = {
    table.name: table
    for table in (
        ArraysTable,
        IsotropicTable,
        PowerLawTable,
        MarchenkoPasturTable,
        DensityTable,
        DecayingTable,
        ZeroOneTable,
        CovariancesTable,
        DenseTable,
        DataTable,
    )
}
"""The table of each value of ``builder`` (None: left out)."""

DATASETS = ("breast_cancer", "digits", "iris", "wine")
"""Data sets that ship with scikit-learn."""


def instance_table(given: Mapping[str, Any], place: Place) -> InstanceTable:
    """``[instance]``, checked by the table of its builder."""
    builder = given.get("builder")
    if builder not in [name for name in BUILDERS if name is not None] and "builder" in given:
        known = [name for name in BUILDERS if name is not None]
        raise place.at("builder").error(
            f"{shown(builder)} is not a builder", nearest(str(builder), known, "the builders are")
        )
    return validated(BUILDERS[builder], given, place)


def _data(table: DataTable, folder: Path) -> tuple[Any, Any]:
    """Samples and labels; of two chosen classes, the first is −1 and the second +1."""
    import numpy as np

    if (table.dataset is None) == (table.file is None):
        raise InstanceError("dataset", "the data are not said, or twice", 'write dataset = "digits" or file = "my.npz"')
    X, y = _dataset(str(table.dataset)) if table.file is None else _arrays(folder / table.file)
    if table.classes is None:
        return X, y
    first, second = table.classes
    for label in table.classes:
        if not np.any(y == label):
            present = ", ".join(f"{v:g}" for v in np.unique(y)[:20])
            raise InstanceError("classes", f"no sample has the label {label:g}", f"those of the data are {present}")
    if first == second:
        raise InstanceError("classes", f"{first:g} is given twice", "give two different labels")
    chosen = (y == first) | (y == second)
    return X[chosen], np.where(y[chosen] == first, -1.0, 1.0)


def _dataset(name: str) -> tuple[Any, Any]:
    if name not in DATASETS:
        raise InstanceError("dataset", f"{name!r} is not known", nearest(name, DATASETS, "the data sets are"))
    try:
        from sklearn import datasets
    except ImportError:
        raise InstanceError(
            "dataset", f"{name!r} comes with scikit-learn, which is not installed", "pip install 'sgdlimit[data]'"
        ) from None
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X, y


def _arrays(path: Path) -> tuple[Any, Any]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            return file["X"], file["y"]
    except (OSError, ValueError, KeyError, EOFError, AttributeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it does not hold arrays X and y"
        raise InstanceError("file", f"{path} cannot be read: {why}", "save it by numpy.savez(path, X=X, y=y)") from None


# ── What is done with it ────────────────────────────────────────────────────────────────────────────────────


class RunTable(Table):
    """``[run]``."""

    horizon: Positive | None = None
    times: Annotated[list[float], Field(min_length=1)] | None = None
    rtol: Annotated[float, Field(ge=1e-13, le=1e-2)] = 1e-8


class SimulateTable(Table):
    """``[simulate]``."""

    runs: Count = 32
    seed: Annotated[int, Field(ge=0)] = 0


class VerifyTable(Table):
    """``[verify]``; what is left out takes the default of :func:`sgdlimit.runtime.verification.verify`."""

    dimensions: list[Count] | None = None
    budget: Positive | None = None
    times: Annotated[list[float], Field(min_length=1)] | None = None
    resolution: Annotated[float, Field(gt=0, lt=1)] | None = None
    level: Annotated[float, Field(gt=0, lt=1)] | None = None


class Document(Table):
    """The whole file; the sections are checked one by one."""

    description: str = ""
    model: dict[str, Any] = Field(description="a section [model] with loss, target and adversary")
    statistics: dict[str, Any] = {}
    parameters: dict[str, PerClass] = {}
    instance: dict[str, Any] = {}
    schedule: dict[str, Any] = {}
    run: dict[str, Any] = {}
    simulate: dict[str, Any] = {}
    verify: dict[str, Any] = {}


# ── Checking ─────────────────────────────────────────────────────────────────────────────────────────────────

T = TypeVar("T", bound=Table)


def validated(table: type[T], given: Mapping[str, Any], place: Place) -> T:
    """A table from a file's values; the first thing wrong is an error that says where and what would do."""
    try:
        return table.model_validate(given)
    except ValidationError as invalid:
        problems = invalid.errors(include_url=False)
    # An unknown key is often the missing one misspelt: it is said first.
    problem = min(problems, key=lambda p: p["type"] != "extra_forbidden")
    raise _in_words(problem, table, place)


def _in_words(problem: ErrorDetails, table: type[Table], place: Place) -> SpecError:
    keys = [str(key) for key in problem["loc"]]
    fields = table.model_fields
    if problem["type"] == "extra_forbidden":
        why = f"there is no key {keys[-1]!r}"
        return (place.at(*keys[:-1])).error(why, nearest(keys[-1], list(fields), "the keys here are"))
    if problem["type"] == "missing":
        description = fields[keys[0]].description
        return place.at(*keys).error("is missing", f"give {description}" if description else "")
    wanted = problem["msg"].replace("Input should be", "it should be").replace("valid ", "")
    return place.at(*keys).error(f"{shown(problem['input'])} was given", wanted)
