"""Spec files: what they say, what is wrong with them, and what the catalogue's hold."""

from __future__ import annotations

import doctest
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgdlimit.derive import (
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
    RandomLabels,
    Schedule,
)
from sgdlimit.derive import Teacher as TeacherTarget
from sgdlimit.derive.errors import ExpressionError, InputError, InstanceError, ModelError, ParameterError, SpecError
from sgdlimit.runtime import schema, spec
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import load_kernel
from sgdlimit.runtime.solver import solve
from sgdlimit.runtime.spec import catalogue, load_equations, load_spec

CATALOGUE = [
    "adversarial-huber",
    "adversarial-least-squares",
    "adversarial-logistic-mixture",
    "adversarial-logistic-teacher",
    "digits",
    "least-squares",
]

PLAIN = """
[model]
loss = "(r - y)**2/2"
target = {teacher = "r_star + sigma*xi"}

[parameters]
sigma = 0.5

[instance]
builder = "isotropic"
dimension = 40

[schedule]
gamma = 0.5

[run]
horizon = 2.0
"""

LABELS = """
[model]
loss = "log(1 + exp(-y*r))"
target = "labels"

[instance]
builder = "isotropic"
dimension = 40
labels = [-1, 1]

[schedule]
gamma = 0.5

[run]
horizon = 2.0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str) -> str:
    Path("my.toml").write_text(text, encoding="utf-8")
    return "my.toml"


@pytest.mark.parametrize("module", [spec, schema])
def test_docstrings_run(module: Any) -> None:
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


# ── What a file says ────────────────────────────────────────────────────────────────────────────────────────


def test_the_whole_file_of_the_documentation_is_read_as_it_says(folder: Path) -> None:
    text = str(spec.__doc__).split(".. code-block:: toml\n")[1]
    loaded = load_spec(written("\n".join(line.removeprefix("    ") for line in text.splitlines())))
    assert loaded.name == "my"
    assert loaded.description == "adversarial least squares, one mean, power-law covariance"
    assert loaded.model == Model(Loss("(r - y)**2/2"), TeacherTarget("r_star + sigma*xi"), L2Adversary())
    assert loaded.parameters == {"epsilon": 0.3, "sigma": 0.5}
    assert loaded.instance == Instance.power_law(100, exponent=0.5, mean_norm=1.0)
    assert loaded.schedule == Constant(0.5)
    assert (loaded.horizon, loaded.times, loaded.rtol, loaded.runs, loaded.seed) == (10.0, None, 1e-8, 32, 0)
    assert loaded.statistics == {"gap": Formula("adversarial_risk - clean_risk")}
    assert loaded.verification == {"resolution": 0.01}


def test_what_a_file_says_is_what_the_verbs_take(folder: Path) -> None:
    loaded = load_spec(written(PLAIN))
    trajectory = solve(**loaded.arguments, rtol=loaded.rtol, backend="numpy")
    assert trajectory.times[-1] == 2.0
    assert trajectory.parameters == {"sigma": 0.5}


@pytest.mark.parametrize(
    ("table", "instance"),
    [
        ('builder = "isotropic"\ndimension = 20\neigenvalue = 2.0', Instance.isotropic(20, eigenvalue=2.0)),
        ('builder = "power_law"\ndimension = 20\nexponent = 0.5', Instance.power_law(20, exponent=0.5)),
        (
            'builder = "power_law"\ndimension = inf\nexponent = 0.5\nnodes = 9',
            Instance.power_law(float("inf"), exponent=0.5, nodes=9),
        ),
        (
            'builder = "marchenko_pastur"\ndimension = inf\nratio = 2\nscale = 0.5\nnodes = 9',
            Instance.marchenko_pastur(math.inf, ratio=2, scale=0.5, nodes=9),
        ),
        (
            'builder = "from_density"\ndimension = inf\ndensity = "lam*(2 - lam)"\nsupport = [0, 2]\nnodes = 9',
            Instance.from_density(math.inf, density="lam*(2 - lam)", support=[0, 2], nodes=9),
        ),
        (
            'builder = "from_density"\ndimension = 20\ndensity = "1"\nsupport = [1, 2.5]',
            Instance.from_density(20, density="1", support=[1, 2.5]),
        ),
        ('builder = "decaying"\ndimension = 20\nexponent = 1', Instance.decaying(20, exponent=1)),
        ('builder = "zero_one"\ndimension = 20\nfraction = 0.25', Instance.zero_one(20, fraction=0.25)),
        (
            'builder = "isotropic"\ndimension = 20\nteacher_norm = 2\nstart_norm = 1\nstart_overlap = 0.5\nmean_norm = 1',
            Instance.isotropic(20, teacher_norm=2, start_norm=1, start_overlap=0.5, mean_norm=1),
        ),
        (
            'builder = "from_covariances"\ncovariances = [[[2, 0], [0, 1]]]\nmeans = [[1, 1]]\nteacher = [1, 0]',
            Instance.from_covariances([[[2, 0], [0, 1]]], [[1, 1]], teacher=[1, 0]),
        ),
        (
            "probabilities = [0.5, 0.5]\neigenvalues = [[2, 1], [1, 2]]\nmeans = [[1, 0], [-1, 0]]\nteacher = [1, 1]",
            Instance(
                probabilities=[0.5, 0.5],
                eigenvalues=[[2, 1], [1, 2]],
                means=[[1, 0], [-1, 0]],
                teacher=[1, 1],
                start=0,
            ),
        ),
        (
            "probabilities = [1.0]\neigenvalues = [2, 1]\nteacher = [3, 4]\ndimension = 6",
            Instance(probabilities=[1], eigenvalues=[2, 1], means=0, teacher=[3, 4], start=0).at_dimension(6),
        ),
    ],
)
def test_every_builder_can_be_written(folder: Path, table: str, instance: Instance) -> None:
    text = PLAIN.replace('builder = "isotropic"\ndimension = 40', table)
    assert load_spec(written(text)).instance == instance


def test_arrays_over_groups_of_coordinates_are_spread_over_the_dimension_asked_for(folder: Path) -> None:
    table = "probabilities = [1.0]\neigenvalues = [3, 1]\nweights = [0.25, 0.75]\nteacher = [1, 1]\ndimension = 40"
    instance = load_spec(written(PLAIN.replace('builder = "isotropic"\ndimension = 40', table))).instance
    assert (instance.modes, instance.dimension) == (40, 40)
    assert np.sum(instance.eigenvalues == 3) == 10


def test_labels_need_no_teacher_and_have_one_only_where_it_is_described(folder: Path) -> None:
    assert load_spec(written(LABELS)).instance.teacher is None
    described = load_spec(written(LABELS.replace("labels =", "teacher_norm = 2.0\nlabels ="))).instance
    assert described.teacher is not None
    assert np.linalg.norm(described.teacher) == pytest.approx(2)


def test_targets_schedules_and_statistics_are_those_of_the_text(folder: Path) -> None:
    text = PLAIN.replace('{teacher = "r_star + sigma*xi"}', '{random_labels = "sigmoid(k*r_star)"}')
    text = text.replace("sigma = 0.5", "k = [1.5]\nrate = 0.2").replace("gamma = 0.5", 'expression = "rate/(1 + t)"')
    text += "\n[statistics]\nmargin = {expectation = 'y*r'}\nexcess = {formula = 'adversarial_risk - clean_risk'}\n"
    loaded = load_spec(written(text))
    assert loaded.model.target == RandomLabels("sigmoid(k*r_star)")
    assert loaded.schedule == Schedule("rate/(1 + t)")
    assert loaded.parameters == {"k": (1.5,), "rate": 0.2}
    assert loaded.statistics == {
        "margin": Expectation("y*r"),
        "excess": Formula("adversarial_risk - clean_risk"),
    }


def test_times_say_the_horizon(folder: Path) -> None:
    loaded = load_spec(written(PLAIN.replace("horizon = 2.0", "times = [0.5, 1, 4]")))
    assert (loaded.times, loaded.horizon) == ((0.5, 1, 4), 4)


def test_a_model_alone_is_enough_for_its_equations(folder: Path) -> None:
    equations = load_equations(written('[model]\nloss = "log(1 + exp(-y*r))"\ntarget = "labels"'))
    assert equations.model == Model(Loss("log(1 + exp(-y*r))"), Labels())
    assert equations.schedule is None


def test_a_value_set_takes_the_place_of_the_file_s_and_of_its_rival(folder: Path) -> None:
    path = written(PLAIN)
    overrides = {"parameters.sigma": 0.25, "schedule.expression": "1/(1 + t)", "run.times": [1.0, 3.0]}
    loaded = load_spec(path, overrides)
    assert loaded.parameters == {"sigma": 0.25}
    assert loaded.schedule == Schedule("1/(1 + t)")
    assert (loaded.times, loaded.horizon) == ((1.0, 3.0), 3.0)
    assert load_spec(path, {"simulate.runs": 7}).runs == 7
    with pytest.raises(SpecError, match=r"my.toml: model.loss.text: loss is not a table"):
        load_spec(path, {"model.loss.text": "r"})


def test_another_rule_drops_the_keys_of_the_one_before(folder: Path) -> None:
    path = written(PLAIN.replace("gamma = 0.5", 'rule = "adagrad_norm"\neta = 1.0\nb = 0.5\nsource = "iterate"'))
    assert load_spec(path, {"schedule.rule": "line_search"}).schedule == LineSearch(source="iterate")
    to_greedy = {"schedule.statistic": "norm2", "schedule.rule": "greedy"}
    assert load_spec(path, to_greedy).schedule == Greedy("norm2", source="iterate")
    assert load_spec(path, {"schedule.rule": "adagrad_norm"}).schedule == AdaGradNorm(1.0, 0.5, source="iterate")


def test_the_catalogue_goes_before_a_file_of_the_same_name_and_a_path_says_the_file(folder: Path) -> None:
    Path("least-squares").write_text(LABELS)
    assert load_spec("least-squares").name == "least-squares"
    assert load_spec("least-squares").model.target != Labels()
    assert load_spec("./least-squares").model.target == Labels()
    assert load_spec(folder / "least-squares").model.target == Labels()


# ── Data ────────────────────────────────────────────────────────────────────────────────────────────────────


def data_spec(table: str) -> str:
    head, rest = LABELS.split("[instance]")
    return written(f'{head}[instance]\nbuilder = "from_data"\n{table}\n[schedule]{rest.split("[schedule]")[1]}')


def test_data_in_a_file_beside_the_spec_become_an_instance(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    y = np.repeat([2.0, 5.0, 7.0], 20)
    X = rng.normal(size=(60, 4)) + y[:, None]
    np.savez("mine.npz", X=X, y=y)
    data_spec('file = "mine.npz"\nclasses = [7, 2]\nscale = true')
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    instance = load_spec(folder / "my.toml").instance
    kept = y != 5
    assert instance == Instance.from_data(X[kept], np.where(y[kept] == 7, -1.0, 1.0), scale=True)
    assert instance.labels is not None
    assert instance.labels.tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", 'instance.dataset: the data are not said, or twice; write dataset = "digits" or file = "my.npz"'),
        ('dataset = "digit"', "instance.dataset: 'digit' is not known; did you mean digits?"),
        ('file = "no.npz"', "no.npz cannot be read: No such file or directory"),
        ('file = "my.toml"', "my.toml cannot be read: it does not hold arrays X and y; save it by numpy.savez"),
        ('file = "half.npz"', "half.npz cannot be read: it does not hold arrays X and y"),
        ('file = "all.npz"\nclasses = [1, 1]', "instance.classes: 1 is given twice"),
        ('file = "all.npz"\nclasses = [1, 3]', "no sample has the label 3; those of the data are 1, 2"),
        ('file = "all.npz"\ncomponents = 9', "instance.components: 9 is not between 1 and the 2 features of X"),
        ('file = "all.npz"\nscale = 2', "instance.scale: 2 was given; it should be a boolean"),
    ],
)
def test_data_that_cannot_be_had_are_an_error_of_their_key(folder: Path, table: str, message: str) -> None:
    np.savez("half.npz", X=np.eye(2))
    np.savez("all.npz", X=np.arange(8.0).reshape(4, 2), y=np.array([1, 1, 2, 2]))
    with pytest.raises(InputError) as caught:
        load_spec(data_spec(table))
    assert str(caught.value).startswith("my.toml: instance.")
    assert message in str(caught.value)


def test_a_data_set_without_scikit_learn_names_the_extra_and_its_equations_need_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InstanceError) as caught:
        load_spec("digits")
    assert str(caught.value) == (
        "digits: instance.dataset: 'digits' comes with scikit-learn, which is not installed; "
        "pip install 'sgdlimit[data]'"
    )
    assert load_equations("digits").model.adversary == L2Adversary()


# ── What bad input gets ─────────────────────────────────────────────────────────────────────────────────────

EDITS = [
    ("loss = .*", "loss = \"__import__('os').system('true')\"", ExpressionError, "model.loss", "at position 0"),
    ("loss = .*", 'loss = "(r - y)**2 +"', ExpressionError, "model.loss", "at position 12"),
    ("loss = .*", 'loss = "foo(r)"', ExpressionError, "model.loss", "unknown function 'foo' at position 0"),
    ("loss = .*", 'loss = "(y - 1)**2"', ModelError, "model.loss", "does not contain the score r"),
    ("loss = .*", "loss = 3", SpecError, "model.loss", "3 was given; it should be a string"),
    ("loss = .*", "", SpecError, "model.loss", "is missing; give the loss, an expression in r, y and parameters"),
    ("loss = .*", 'los = "r"', SpecError, "model", "there is no key 'los'; did you mean loss?"),
    ("target = .*", "", SpecError, "model.target", 'is missing; give the target y: "labels"'),
    ("target = .*", 'target = "lables"', SpecError, "model.target", "'lables' was given; write \"labels\""),
    ("target = .*", 'target = {techer = "r_star"}', SpecError, "model.target", "did you mean teacher?"),
    ("target = .*", "target = {}", SpecError, "model.target", "write"),
    (
        "target = .*",
        'target = {teacher = "r_star", random_labels = "1"}',
        SpecError,
        "model.target",
        'write "labels", {teacher',
    ),
    ("target = .*", 'target = {teacher = "r + xi"}', ModelError, "model.target.teacher", "contains the reserved r"),
    ("target = .*", 'target = "labels"', InstanceError, "instance.labels", "one label per class"),
    (
        "target = .*",
        'target = {teacher = "r_star"}\nadversary = "linf"',
        SpecError,
        "model.adversary",
        "'l2' or 'none'",
    ),
    ("sigma = 0.5", "", SpecError, "parameters.sigma", "is missing; the parameters are tau, sigma"),
    ("sigma = 0.5", "sigm = 0.5", SpecError, "parameters.sigm", "did you mean sigma?"),
    ("sigma = 0.5", 'sigma = "0.5"', SpecError, "parameters.sigma", "should be a number or a list of numbers"),
    ("sigma = 0.5", "sigma = true", SpecError, "parameters.sigma", "True was given"),
    ("sigma = 0.5", "sigma = nan", SpecError, "parameters.sigma", "nan was given"),
    ("sigma = 0.5", "sigma = 0.5\nepsilon = 0.1", SpecError, "parameters.epsilon", "there is no adversary"),
    ("builder = .*", 'builder = "isotropik"', SpecError, "instance.builder", "did you mean isotropic?"),
    ("builder = .*", "builder = 3", SpecError, "instance.builder", "3 is not a builder"),
    ("builder = .*", 'builder = "power_law"', SpecError, "instance.exponent", "is missing; give the exponent"),
    ("builder = .*", 'builder = "marchenko-pastur"', SpecError, "instance.builder", "did you mean marchenko_pastur?"),
    ("builder = .*", 'builder = "marchenko_pastur"\nratio = -1', InstanceError, "instance.ratio", "-1 is not positive"),
    (
        "builder = .*",
        'builder = "from_density"\nsupport = [0, 1]',
        SpecError,
        "instance.density",
        "is missing; give the",
    ),
    (
        "builder = .*",
        'builder = "from_density"\ndensity = "lam +"\nsupport = [0, 1]',
        ExpressionError,
        "instance.density",
        "the text ends where an operand should stand",
    ),
    (
        "builder = .*",
        'builder = "from_density"\ndensity = "1/lam"\nsupport = [0, 1]',
        InstanceError,
        "instance.density",
        "its integral diverges at lam = 0",
    ),
    ("dimension = 40", "dimenson = 40", SpecError, "instance", "there is no key 'dimenson'; did you mean dimension?"),
    ("dimension = 40", "dimension = 40.5", InstanceError, "instance.dimension", "neither a positive integer nor inf"),
    (
        "dimension = 40",
        "dimension = 40\nprobabilities = [0.5, 0.4]",
        InstanceError,
        "instance.probabilities",
        "they sum to 0.9, not to 1",
    ),
    (
        "dimension = 40",
        "dimension = 40\neigenvalue = -1.0",
        InstanceError,
        "instance.eigenvalues",
        "-1 (class 0, mode 0)",
    ),
    (
        "dimension = 40",
        "dimension = 40\nmeans = [[1.0, 2.0]]",
        InstanceError,
        "instance.means",
        "shape (1, 2) does not fit dimension 40",
    ),
    ("dimension = 40", "dimension = 40\nmeans = [[1], 2]", InstanceError, "instance.means", "array of real"),
    ("dimension = 40", "dimension = 40\nstart_overlap = 2", InstanceError, "instance.start_overlap", "not a cosine"),
    ("gamma = 0.5", "", SpecError, "schedule", "is missing; give a section [schedule]"),
    ("gamma = 0.5", "gamma = -1", ParameterError, "schedule.gamma", "-1.0 is not a finite positive number"),
    ("gamma = 0.5", "gamma = 1\nexpression = '1'", SpecError, "schedule", "needs one step size"),
    ("gamma = 0.5", "expression = '1/(1 +'", ExpressionError, "schedule.expression", "at position 6"),
    ("gamma = 0.5", "expression = 'g/t'", SpecError, "parameters.g", "is missing"),
    ("horizon = 2.0", "", SpecError, "run.horizon", "is missing"),
    ("horizon = 2.0", "horizon = 0", SpecError, "run.horizon", "0 was given; it should be greater than 0"),
    ("horizon = 2.0", "horizon = inf", SpecError, "run.horizon", "finite"),
    ("horizon = 2.0", "times = [2, 1]", InputError, "run.times", "they do not increase from 0 on"),
    ("horizon = 2.0", "horizon = 1\nrtol = 0.5", SpecError, "run.rtol", "less than or equal to 0.01"),
    (r"\[run\]", "[rum]", SpecError, "", "there is no key 'rum'; did you mean run?"),
    (r"\[run\]", "[simulate]\nruns = 0\n[run]", SpecError, "simulate.runs", "greater than or equal to 1"),
    (r"\[run\]", "[verify]\nlevels = 0.9\n[run]", SpecError, "verify", "did you mean level?"),
    (r"\[run\]", "[statistics]\nm = 'y*r'\n[run]", SpecError, "statistics.m", "write {expectation"),
    (r"\[run\]", "[statistics]\nm = {}\n[run]", SpecError, "statistics.m", "needs one expression"),
    (r"\[run\]", "[statistics]\n'a,b' = {formula = 'norm2'}\n[run]", SpecError, "statistics.a,b", "is not a name"),
    (
        r"\[run\]",
        "[statistics]\nm = {expectation = 'y*r_star'}\n[run]",
        ModelError,
        "statistics.m.expectation",
        "contains the reserved r_star",
    ),
    (r"\[model\]", "model = 3", SpecError, "model", "3 was given; it should be a dictionary"),
]


@pytest.mark.parametrize(("old", "new", "kind", "key", "message"), EDITS)
def test_an_error_names_the_file_the_key_and_the_mend(
    folder: Path, old: str, new: str, kind: type[InputError], key: str, message: str
) -> None:
    import re

    text, count = re.subn(old, lambda _: new, PLAIN)
    assert count == 1
    if old == r"\[model\]":
        text = new
    with pytest.raises(kind) as caught:
        load_spec(written(text))
    assert caught.value.where == ("my.toml: " + key if key else "my.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_that_do_not_fit_the_classes_name_both_shapes(folder: Path) -> None:
    with pytest.raises(InstanceError) as caught:
        load_spec(written(LABELS.replace("[-1, 1]", "[-1, 1]\nprobabilities = [0.2, 0.3, 0.5]")))
    assert str(caught.value) == "my.toml: instance.labels: shape (2,) does not fit probabilities of shape (3,)"


def test_a_syntax_error_is_told_with_its_position(folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(written(PLAIN.replace("gamma = 0.5", "gamma = 0.5 0.6")))
    line = PLAIN.splitlines().index("gamma = 0.5") + 1
    assert str(caught.value).startswith("my.toml: is not TOML:")
    assert f"(at line {line}, column 13)" in str(caught.value)


def test_a_file_that_cannot_be_read_says_why(folder: Path) -> None:
    Path("bytes.toml").write_bytes(b'[model]\nloss = "\xff"')
    for source, message in [
        ("none.toml", "none.toml: there is no such file"),
        ("folder/none", "folder/none: there is no such file"),
        ("bytes.toml", "bytes.toml: line 2 is not UTF-8 text"),
        (str(folder), "cannot be read: Is a directory"),
        ("adversarial_hubr", "no catalogue model of that name; did you mean adversarial-huber?"),
        ("zzz", "the catalogue has absolute, "),
    ]:
        with pytest.raises(SpecError) as caught:
            load_spec(source)
        assert message in str(caught.value)


# ── The catalogue ───────────────────────────────────────────────────────────────────────────────────────────


def loaded(name: str) -> spec.Spec:
    if name == "digits":
        pytest.importorskip("sklearn")
    return load_spec(name)


def test_the_catalogue_has_the_models_that_it_should() -> None:
    assert set(CATALOGUE) <= set(catalogue())
    assert len(catalogue()) >= 24
    assert all(0 < len(description) < 110 for description in catalogue().values())


def test_the_mixture_has_classes_of_different_means_covariances_and_probabilities() -> None:
    instance = loaded("adversarial-logistic-mixture").instance
    assert instance.labels is not None
    assert instance.labels.tolist() == [-1, 1]
    assert len(set(instance.probabilities)) == 2
    assert not np.allclose(*instance.eigenvalues)
    first, second = instance.means
    assert abs(first @ second) < 0.95 * np.linalg.norm(first) * np.linalg.norm(second)


def test_the_digits_are_two_classes_of_real_data_with_mean_eigenvalue_one() -> None:
    instance = loaded("digits").instance
    assert instance.eigenvalues.mean() == pytest.approx(1)
    assert instance.classes == 2
    assert (instance.means != 0).all(axis=1).all()


@pytest.mark.parametrize("name", CATALOGUE)
def test_instances_of_the_catalogue_split_exactly_to_twice_and_four_times_their_dimension(name: str) -> None:
    instance = loaded(name).instance
    assert 50 <= instance.dimension <= 100
    for factor in (2, 4):
        assert instance.at_dimension(factor * instance.dimension).modes == factor * instance.dimension


@pytest.mark.parametrize("name", CATALOGUE)
def test_runs_of_the_catalogue_go_past_half_of_the_way_to_rest(name: str) -> None:
    given = loaded(name)
    arguments = {**given.arguments, "horizon": 30 * given.horizon, "times": [0, given.horizon, 30 * given.horizon]}
    far = solve(**arguments, backend="numpy")
    for statistic in far.names:
        begin, end, rest = far[statistic]
        if np.isfinite(begin) and abs(rest - begin) > 1e-9 * abs(rest):
            assert (end - begin) / (rest - begin) > 0.5, statistic


@pytest.mark.parametrize("name", CATALOGUE)
def test_five_percent_of_any_coefficient_moves_a_statistic_by_more_than_one_and_a_half_percent(name: str) -> None:
    from sgdlimit.derive import derive

    given = loaded(name)
    limit = derive(given.model)
    arguments = {**given.arguments, "times": np.linspace(0, given.horizon, 41), "rtol": 1e-6}
    unchanged = solve(**arguments, backend="numpy")
    judged = [s for s in unchanged.names if s not in ("learning_rate", "effective_ridge")]
    for coefficient, expression in limit.coefficients.items():
        if expression == 0:
            continue
        kernel = load_kernel(given.model, limit=limit.scale(coefficient, 1.05), backend="numpy")
        changed = solve(**arguments, kernel=kernel)
        moved = max(np.abs(changed[s] - unchanged[s]).max() / np.ptp(unchanged[s]) for s in judged)
        assert moved > 0.015, coefficient
