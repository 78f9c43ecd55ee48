"""Instances: what they accept, what they keep under a change of dimension, what the builders put in them."""

from __future__ import annotations

import dataclasses
import doctest
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad

from sgdlimit.derive.errors import InstanceError
from sgdlimit.runtime import builders, checks, density, spectra, spectral_laws
from sgdlimit.runtime import instance as instance_module
from sgdlimit.runtime.dense import DenseInstance
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.spectra import DataMoments, data_moments

Array = NDArray[np.float64]
inf = math.inf


def two_classes(**changes: Any) -> Instance:
    """Two classes, three modes; `changes` replace or add fields."""
    fields: dict[str, Any] = {
        "probabilities": [0.25, 0.75],
        "eigenvalues": [[1, 2, 3], [4, 5, 6]],
        "means": [[1, 0, 0], [0, 1, 0]],
        "labels": [-1, 1],
        "teacher": [0.5, 0.5, 0],
        "start": [0, 0, 1],
    }
    return Instance(**(fields | changes))


def fixed_vectors(instance: Instance) -> Array:
    teacher = np.zeros((0, instance.modes)) if instance.teacher is None else instance.teacher[None]
    return np.vstack([instance.start, instance.means, teacher])


def gram_by_eigenvalue(instance: Instance) -> dict[tuple[float, ...], tuple[float, Array]]:
    """For each column of eigenvalues, share of the dimension and Gram matrix of start, means and teacher."""
    vectors = fixed_vectors(instance)
    groups: dict[tuple[float, ...], tuple[float, Array]] = {}
    for column in {tuple(c) for c in instance.eigenvalues.T.tolist()}:
        inside = [tuple(other) == column for other in instance.eigenvalues.T.tolist()]
        groups[column] = (math.fsum(instance.weights[inside]), vectors[:, inside] @ vectors[:, inside].T)
    return groups


def assert_same_limit(a: Instance, b: Instance) -> None:
    assert np.array_equal(a.probabilities, b.probabilities)
    assert (a.labels is None) == (b.labels is None)
    left, right = gram_by_eigenvalue(a), gram_by_eigenvalue(b)
    assert left.keys() == right.keys()
    for column, (share, gram) in left.items():
        norms = np.sqrt(np.diag(gram))
        assert right[column][0] == pytest.approx(share, abs=1e-13)
        assert (np.abs(right[column][1] - gram) <= 1e-13 * np.outer(norms, norms)).all()


# --- the constructor ----------------------------------------------------------------------------------------


def test_arrays_are_read_only_float64_copies() -> None:
    eigenvalues = np.asfortranarray(np.arange(6).reshape(2, 3))
    instance = two_classes(eigenvalues=eigenvalues)
    eigenvalues[0, 0] = 7
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if field.name != "dimension":
            assert value.dtype == np.float64
            assert value.flags.c_contiguous
            assert not value.flags.writeable
    assert instance.eigenvalues[0, 0] == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        instance.dimension = 5  # type: ignore[misc]


def test_defaults_are_equal_shares_of_a_dimension_of_one_per_mode() -> None:
    instance = two_classes()
    assert (instance.classes, instance.modes, instance.dimension, instance.is_finite) == (2, 3, 3, True)
    assert instance.weights.tolist() == [1 / 3] * 3
    assert not two_classes(dimension=inf).is_finite


def test_one_number_or_one_row_is_taken_for_every_class() -> None:
    instance = two_classes(eigenvalues=[1, 2, 3], means=0, start=0)
    assert instance.eigenvalues.tolist() == [[1, 2, 3]] * 2
    assert instance.means.tolist() == [[0, 0, 0]] * 2
    assert two_classes(eigenvalues=2).eigenvalues.tolist() == [[2, 2, 2]] * 2


def test_equality_and_hash_are_by_value() -> None:
    a, b = two_classes(), two_classes(start=[-0.0, 0, 1])
    assert a == b
    assert hash(a) == hash(b)
    for changes in ({"teacher": None}, {"labels": [1, -1]}, {"dimension": inf}, {"start": 0}):
        assert a != two_classes(**changes)
    assert a != "an instance"


def test_a_pickle_comes_back_equal_and_read_only() -> None:
    instance = two_classes(dimension=inf, labels=None)
    back = pickle.loads(pickle.dumps(instance))
    assert back == instance
    assert not back.means.flags.writeable


def test_replace_makes_a_checked_variant() -> None:
    assert dataclasses.replace(two_classes(), start=np.ones(3)).start.tolist() == [1, 1, 1]
    with pytest.raises(InstanceError, match=r"^start: "):
        dataclasses.replace(two_classes(), start=np.ones(2))


def test_repr_is_short_and_tells_the_sizes() -> None:
    text = repr(Instance.isotropic(5000, labels=[-1, 1], mean_norm=2.0))
    assert len(text) < 150
    assert all(part in text for part in ("classes=2", "modes=5000", "labels=[-1, 1]", "|means|=[2, 2]"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": [0.25, 0.7]}, "probabilities: they sum to 0.95, not to 1"),
        ({"probabilities": [0, 1]}, "probabilities: entry [0] is 0; each is above 0"),
        ({"probabilities": 1.0}, "probabilities: shape () is not one number a class"),
        (
            {"probabilities": [0.3, 0.3, 0.4]},
            "eigenvalues: shape (2, 3) does not fit probabilities of shape (3,)",
        ),
        ({"labels": [1]}, "labels: shape (1,) does not fit probabilities of shape (2,)"),
        ({"means": [[1, 2, 3, 4]] * 2}, "means: shape (2, 4) does not fit eigenvalues of shape (2, 3)"),
        ({"means": [[1, 2, 3]] * 3}, "means: shape (3, 3) does not fit probabilities of shape (2,)"),
        ({"means": 1.0}, "means: one number for every mode must be 0, not 1"),
        ({"start": [1, 2]}, "start: shape (2,) does not fit eigenvalues of shape (2, 3)"),
        ({"start": [[1, 2, 3]]}, "start: shape (1, 3) does not fit eigenvalues of shape (2, 3)"),
        (
            {"eigenvalues": 1, "means": 0, "start": [[1, 2, 3]]},
            "start: shape (1, 3) does not fit one number a mode",
        ),
        ({"teacher": 1.0}, "teacher: shape () does not fit eigenvalues of shape (2, 3)"),
        ({"weights": [0.5, 0.5]}, "weights: shape (2,) does not fit eigenvalues of shape (2, 3)"),
        ({"weights": [0.5, 0.6, -0.1]}, "weights: entry [2] is -0.1; each is at least 0"),
        ({"weights": [0.5, 0.2, 0.2]}, "weights: they sum to 0.9, not to 1"),
        ({"eigenvalues": [[1, 1, 1], [1, -2, 1]]}, "eigenvalues: -2 (class 1, mode 1) is negative"),
        (
            {"eigenvalues": [[1, 1, 1], [1, 1, np.nan]]},
            "eigenvalues: entry [1, 2] is nan, not a finite number",
        ),
        ({"start": [0, inf, 0]}, "start: entry [1] is inf, not a finite number"),
        ({"start": "zero"}, "start: is not an array of real numbers"),
        ({"teacher": [[1, 2], [3]]}, "teacher: is not an array of real numbers"),
        ({"teacher": np.array([1j, 0, 0])}, "teacher: is not an array of real numbers"),
        (
            {"eigenvalues": 1, "means": 0, "start": 0, "teacher": None},
            "nothing says how many modes there are",
        ),
        ({"eigenvalues": np.empty((2, 0))}, "eigenvalues: shape (2, 0) has no modes"),
        ({"dimension": 2}, "dimension: 2 is less than the 3 modes"),
        ({"dimension": 3.5}, "dimension: 3.5 is neither a positive integer nor inf"),
        ({"dimension": np.nan}, "dimension: nan is neither"),
        ({"dimension": True}, "dimension: True is neither"),
        ({"dimension": "3"}, "dimension: '3' is neither"),
    ],
)
def test_what_is_not_a_mixture_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InstanceError) as caught:
        two_classes(**changes)
    assert message in str(caught.value)


# --- at_dimension -------------------------------------------------------------------------------------------


@st.composite
def block_instances(draw: st.DrawFn) -> tuple[Instance, int]:
    """An instance of a few atoms of one or more modes with rational weights, and an admissible dimension."""
    classes, atoms = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    sizes = draw(st.lists(st.integers(1, 5), min_size=atoms, max_size=atoms))
    modes = sum(sizes)
    share = draw(st.lists(st.integers(1, 6), min_size=atoms, max_size=atoms))
    weights = np.zeros(modes)
    weights[np.cumsum([0, *sizes[:-1]])] = np.array(share) / sum(share)
    # Squares of smaller components would underflow in the comparison.
    component = st.floats(-1e3, 1e3).map(lambda x: x if abs(x) > 1e-100 else 0.0) | st.integers(-2, 2).map(float)
    rows = st.lists(component, min_size=modes, max_size=modes)
    values = [draw(st.lists(st.integers(0, 9), min_size=atoms, max_size=atoms)) for _ in range(classes)]
    order = draw(st.permutations(range(modes)))
    instance = Instance(
        probabilities=np.full(classes, 1 / classes),
        eigenvalues=np.repeat(np.array(values) / 3, sizes, axis=1)[:, order],
        means=[draw(rows) for _ in range(classes)],
        teacher=draw(st.none() | rows),
        start=draw(rows),
        weights=weights[order],
        dimension=inf,
    )
    return instance, sum(share) * draw(st.integers(5, 8))


@settings(deadline=None)
@given(block_instances())
def test_at_dimension_keeps_shares_and_gram_matrices(drawn: tuple[Instance, int]) -> None:
    instance, d = drawn
    spread = instance.at_dimension(d)
    assert (spread.modes, spread.dimension) == (d, d)
    assert spread.weights.tolist() == [1 / d] * d
    assert_same_limit(instance, spread)
    merged = instance.at_dimension(inf)
    assert merged.modes <= instance.modes
    assert_same_limit(instance, merged)
    assert_same_limit(instance, merged.at_dimension(2 * d))
    assert_same_limit(instance, spread.at_dimension(2 * d))


@settings(deadline=None)
@given(block_instances(), st.integers(1, 150))
def test_an_inadmissible_dimension_names_the_nearest_that_will_do(drawn: tuple[Instance, int], d: int) -> None:
    instance, _ = drawn

    def admissible(candidate: int) -> bool:
        try:
            return instance.at_dimension(candidate).modes == candidate
        except InstanceError:
            return False

    try:
        instance.at_dimension(d)
    except InstanceError as error:
        words = error.remedy.split()
        if "nearest" in words:
            below, above = int(words[-3]), int(words[-1])
            assert below < d < above
            assert admissible(below)
        else:
            below, above = 0, int(words[-1])
            assert d < above
        assert admissible(above)
        assert not any(admissible(candidate) for candidate in range(below + 1, above))


def test_single_modes_are_spread_evenly() -> None:
    instance = Instance(probabilities=[1], eigenvalues=[3, 1], means=0, teacher=[-6, 2], start=0)
    spread = instance.at_dimension(8)
    assert spread.eigenvalues.tolist() == [[3] * 4 + [1] * 4]
    assert spread.teacher is not None
    assert spread.teacher == pytest.approx([-3] * 4 + [1] * 4, rel=1e-15)


def test_spread_vectors_are_delocalised() -> None:
    limit = Instance(
        probabilities=[1],
        eigenvalues=1,
        means=[[0, 0, 1]],
        teacher=[1, 0, 0],
        start=[0, 1, 0],
        weights=[1, 0, 0],
        dimension=inf,
    )
    for d in (3, 10, 101, 4096):
        assert np.abs(fixed_vectors(limit.at_dimension(d))).max() <= math.sqrt(2 / d) * (1 + 1e-12)


def test_a_group_needs_only_as_many_coordinates_as_its_gram_matrix_has_rank() -> None:
    aligned = Instance(
        probabilities=[1],
        eigenvalues=1,
        means=[[2, 2, 2]],
        teacher=[1, 1, 1],
        start=[3, 3, 3],
        weights=[1, 0, 0],
        dimension=inf,
    )
    assert aligned.at_dimension(1).teacher == pytest.approx([math.sqrt(3)])
    assert aligned.at_dimension(inf).modes == 1


def test_the_same_dimension_gives_the_same_instance() -> None:
    instance = Instance.power_law(30, exponent=0.5, start_norm=1.0)
    assert instance.at_dimension(30) is instance
    assert instance.at_dimension(60).at_dimension(60).modes == 60


def test_merging_twice_changes_nothing() -> None:
    merged = Instance.isotropic(100, start_norm=1.0, start_overlap=0.3).at_dimension(inf)
    assert merged.modes == 2
    assert merged.at_dimension(inf) == merged


@pytest.mark.parametrize(
    ("d", "message"),
    [
        (
            10,
            "dimension: 10 is inadmissible: the modes of eigenvalue [1, 4] have a share 1/3 of it, not a "
            "whole number of coordinates; the nearest admissible dimensions are 9 and 12",
        ),
        (
            2,
            "2 is inadmissible: the modes of eigenvalue [1, 4] have a share 1/3 of it, not a whole number of "
            "coordinates; the smallest admissible dimension is 3",
        ),
        (0, "dimension: 0 is neither a positive integer nor inf"),
        (2.5, "dimension: 2.5 is neither a positive integer nor inf"),
    ],
)
def test_inadmissible_dimensions_are_explained(d: float, message: str) -> None:
    with pytest.raises(InstanceError) as caught:
        two_classes().at_dimension(d)
    assert message in str(caught.value)


def test_a_rank_too_large_for_its_share_is_explained() -> None:
    limit = Instance.zero_one(inf, fraction=0.25, start_norm=1.0, mean_norm=1.0)
    with pytest.raises(InstanceError) as caught:
        limit.at_dimension(8)
    assert str(caught.value) == (
        "dimension: 8 is inadmissible: the modes of eigenvalue 1 would have 2 coordinates, but start, "
        "teacher and means need 3; the smallest admissible dimension is 12"
    )
    assert limit.at_dimension(12).modes == 12


def test_a_mode_without_weight_has_no_dimension() -> None:
    instance = Instance(probabilities=[1], eigenvalues=[1, 2], means=0, start=[1, 1], weights=[1, 0], dimension=inf)
    with pytest.raises(InstanceError, match="eigenvalue 2 have weight 0, so no coordinates"):
        instance.at_dimension(10)
    empty = dataclasses.replace(instance, start=np.array([1.0, 0.0]))
    assert empty.at_dimension(10).eigenvalues.tolist() == [[1.0] * 10]
    assert empty.at_dimension(inf).modes == 1


def test_irrational_weights_have_no_finite_dimension() -> None:
    with pytest.raises(InstanceError, match="the weights are not rational"):
        Instance.power_law(inf, exponent=0.3, nodes=10).at_dimension(1000)


def test_weights_that_are_rational_up_to_rounding_are_recognised() -> None:
    weights = np.array([0.1, 0.2, 0.7]) / np.sum([0.1, 0.2, 0.7])
    instance = two_classes(weights=weights, dimension=inf)
    assert np.unique(instance.at_dimension(30).eigenvalues[0], return_counts=True)[1].tolist() == [3, 6, 21]


def test_shares_that_do_not_sum_to_one_are_not_rational_shares() -> None:
    assert spectra.rational_shares(np.array([0.5, 0.25]), 10**6) is None


def test_nearly_parallel_vectors_get_an_orthonormal_basis() -> None:
    vectors = np.hstack([np.ones((4, 1)), 1e-9 * np.eye(4)])
    basis = spectra.orthonormal_basis(vectors)
    assert basis @ basis.T == pytest.approx(np.eye(4), abs=1e-14)
    factor = spectra.gram_factor(vectors)
    assert factor @ factor.T == pytest.approx(vectors @ vectors.T, rel=1e-14)


@given(st.integers(1, 40), st.integers(0, 300))
def test_delocalised_rows_are_orthonormal(count: int, more: int) -> None:
    rows = spectra.delocalised_rows(count, count + more)
    assert np.abs(rows @ rows.T - np.eye(count)).max() < 1e-14 * (count + 1)


# --- builders -----------------------------------------------------------------------------------------------

BUILDERS: list[tuple[str, float, dict[str, Any]]] = [
    ("isotropic", 200, {}),
    ("isotropic", inf, {"eigenvalue": 0.5}),
    ("power_law", 201, {"exponent": 0.5}),
    ("power_law", inf, {"exponent": 0.5, "nodes": 30}),
    ("marchenko_pastur", 200, {"ratio": 0.5}),
    ("marchenko_pastur", inf, {"ratio": 2.0, "nodes": 30}),
    ("from_density", 200, {"density": "lam*(2 - lam)", "support": (0, 2)}),
    ("from_density", inf, {"density": "lam*(2 - lam)", "support": (0, 2), "nodes": 30}),
    ("decaying", 200, {"exponent": 1.2}),
    ("zero_one", 200, {"fraction": 0.3}),
    ("zero_one", inf, {"fraction": 1 / 3}),
]


@pytest.mark.parametrize(("name", "d", "arguments"), BUILDERS)
def test_norms_and_overlaps_hold_exactly(name: str, d: float, arguments: dict[str, Any]) -> None:
    built = getattr(Instance, name)(
        d,
        **arguments,
        labels=[-1, 1],
        teacher_norm=2.0,
        start_norm=0.5,
        start_overlap=-0.3,
        mean_norm=1.5,
        mean_overlap=0.6,
    )
    assert built.dimension == d
    start, low, high, teacher = fixed_vectors(built)
    direction = high / 1.5
    assert np.array_equal(low, -high)
    assert teacher @ teacher == pytest.approx(4.0, rel=1e-13)
    assert start @ start == pytest.approx(0.25, rel=1e-13)
    assert direction @ direction == pytest.approx(1.0, rel=1e-13)
    assert start @ teacher == pytest.approx(-0.3, rel=1e-13)
    assert direction @ teacher == pytest.approx(1.2, rel=1e-13)
    assert start @ direction == pytest.approx(-0.3 * 0.5 * 0.6, rel=1e-12)


@pytest.mark.parametrize(("name", "d", "arguments"), BUILDERS)
def test_vectors_have_the_spectrum_for_spectral_measure(name: str, d: float, arguments: dict[str, Any]) -> None:
    """``Q = ‖X‖² tr(ωC)``; orthogonal vectors stay so under ``C``: to one coordinate's worth at finite d."""
    built = getattr(Instance, name)(d, **arguments, start_norm=1.0, mean_norm=1.0)
    vectors = fixed_vectors(built)
    eigenvalues = built.eigenvalues[0]
    mean = float(built.weights @ eigenvalues)
    discrepancy = np.abs((vectors * eigenvalues) @ vectors.T - mean * np.eye(3)).max()
    assert discrepancy <= (1e-12 if name in ("isotropic", "zero_one") or d == inf else 2 * eigenvalues.max() / d)


@pytest.mark.parametrize(("name", "d", "arguments"), BUILDERS)
def test_by_default_one_class_at_mean_zero_a_unit_teacher_and_a_start_at_zero(
    name: str, d: float, arguments: dict[str, Any]
) -> None:
    built = getattr(Instance, name)(d, **arguments)
    assert built.probabilities.tolist() == [1.0]
    assert built.labels is None
    assert not built.means.any()
    assert not built.start.any()
    assert np.linalg.norm(built.teacher) == pytest.approx(1.0)
    if d != inf:
        # Nothing to be orthogonal to: the teacher is constant over the coordinates.
        assert built.teacher == pytest.approx(np.full(int(d), 1 / math.sqrt(d)))


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.25, 0.5, 0.9])
def test_power_law_quadrature_integrates_moments_exactly(exponent: float) -> None:
    limit = Instance.power_law(inf, exponent=exponent, nodes=12)
    for k in range(24):
        moment = float(limit.weights @ limit.eigenvalues[0] ** k)
        assert moment == pytest.approx((1 - exponent) / (1 - exponent + k), rel=1e-12)


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 0.9])
def test_power_law_quadrature_integrates_a_decay_over_the_spectrum(exponent: float) -> None:
    limit = Instance.power_law(inf, exponent=exponent)
    decay = float(limit.weights @ np.exp(-50 * limit.eigenvalues[0]))
    expected = quad(lambda u: math.exp(-50 * u ** (1 / (1 - exponent))), 0, 1, epsabs=1e-13, limit=200)[0]
    assert decay == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5])
def test_power_law_quantiles_tend_to_the_density(exponent: float) -> None:
    eigenvalues = Instance.power_law(2000, exponent=exponent).eigenvalues[0]
    assert (np.diff(eigenvalues) < 0).all()
    for k in (1, 2, 3):
        assert (eigenvalues**k).mean() == pytest.approx((1 - exponent) / (1 - exponent + k), abs=1e-3)


def test_decaying_eigenvalues_have_mean_one_and_the_decay() -> None:
    eigenvalues = Instance.decaying(500, exponent=1.2).eigenvalues[0]
    assert eigenvalues.mean() == pytest.approx(1.0, rel=1e-14)
    assert eigenvalues[9] / eigenvalues[99] == pytest.approx(10**1.2)


def test_zero_one_has_the_fraction_of_ones() -> None:
    assert Instance.zero_one(300, fraction=1 / 3).eigenvalues.sum() == 100
    assert (Instance.zero_one(50, fraction=1).eigenvalues == 1).all()
    limit = Instance.zero_one(inf, fraction=0.2, start_norm=1.0)
    assert (limit.eigenvalues[0] @ limit.weights, limit.modes) == (0.2, 4)
    with pytest.raises(InstanceError, match="the nearest admissible dimensions are 10 and 20"):
        Instance.zero_one(11, fraction=0.3)
    with pytest.raises(InstanceError, match="the smallest admissible dimension is 4"):
        Instance.zero_one(2, fraction=0.25)


def test_the_infinite_builder_and_the_finite_one_have_the_same_limit() -> None:
    content = {"labels": [-1, 1], "mean_norm": 2.0, "mean_overlap": 0.5, "start_norm": 1.0}
    assert_same_limit(Instance.isotropic(60, **content), Instance.isotropic(inf, **content))  # type: ignore[arg-type]
    finite, limit = (Instance.zero_one(d, fraction=0.25, **content) for d in (60, inf))  # type: ignore[arg-type]
    assert_same_limit(finite, limit)
    assert limit.at_dimension(60) == finite


def test_classes_may_have_an_eigenvalue_each() -> None:
    built = Instance.isotropic(10, eigenvalue=[1, 4])
    assert built.probabilities.tolist() == [0.5, 0.5]
    assert built.eigenvalues[:, 0].tolist() == [1, 4]


def test_explicit_arrays_are_taken_as_they_are() -> None:
    teacher = np.arange(1, 21) ** -1.0
    built = Instance.decaying(20, exponent=1, teacher=teacher, start_norm=2.0, start_overlap=0.25)
    assert built.teacher is not None
    assert np.array_equal(built.teacher, teacher)
    assert np.linalg.norm(built.start) == pytest.approx(2.0, rel=1e-14)
    assert built.start @ teacher == pytest.approx(0.5 * np.linalg.norm(teacher), rel=1e-13)
    means = np.eye(20)[:3]
    built = Instance.zero_one(20, fraction=0.5, means=means, labels=[1, 2, 3], start=np.ones(20), teacher=None)
    assert np.array_equal(built.means, means)
    assert built.teacher is None
    assert built.eigenvalues.tolist() == [[1] * 10 + [0] * 10] * 3
    built = Instance.isotropic(20, means=means[:2], start=0)
    assert built.teacher is not None
    assert built.means @ built.teacher == pytest.approx([0, 0], abs=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"teacher": np.ones(10), "teacher_norm": 1.0}, "teacher_norm: teacher is given too"),
        ({"start": np.ones(10), "start_overlap": 0.5}, "start_overlap: start is given too"),
        ({"start": np.ones(9)}, "start: shape (9,) does not fit dimension 10"),
        (
            {"means": np.ones((2, 10)), "labels": [1, 2, 3]},
            "means: shape (2, 10) does not fit probabilities of",
        ),
        ({"start_norm": -1.0}, "start_norm: -1 is negative"),
        ({"start_norm": 1.0, "start_overlap": 1.5}, "start_overlap: 1.5 is not a cosine"),
        (
            {"start_norm": 1.0, "start_overlap": 0.5, "teacher": None},
            "start_overlap: there is no teacher, or it has",
        ),
        ({"start_overlap": 0.5}, "start_overlap: there is no start, or it has norm 0"),
        ({"teacher_norm": None}, "teacher_norm: None is not a finite number"),
        ({"mean_norm": 1.0, "labels": [1, 2, 3]}, "mean_norm: cannot place the means of 3 classes"),
        (
            {"eigenvalue": [1, 2], "labels": [1, 2, 3]},
            "eigenvalues: shape (2, 1) does not fit probabilities of",
        ),
        ({"eigenvalue": [[1, 2]]}, "eigenvalue: shape (1, 2) is neither one number nor one a class"),
        ({"eigenvalue": -1}, "eigenvalues: -1 (class 0, mode 0) is negative"),
    ],
)
def test_builders_refuse_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InstanceError) as caught:
        Instance.isotropic(10, **arguments)
    assert message in str(caught.value)


def test_builders_refuse_what_their_spectrum_does_not_have() -> None:
    cases: list[tuple[Callable[[], Instance], str]] = [
        (lambda: Instance.decaying(inf, exponent=1.0), "no limiting spectrum"),
        (lambda: Instance.power_law(10, exponent=1.0), "exponent: 1 is not below 1"),
        (lambda: Instance.power_law(10, exponent=0.5, nodes=5), "nodes: a finite dimension"),
        (lambda: Instance.power_law(inf, exponent=0.5, nodes=0), "nodes: 0 is not"),
        (lambda: Instance.power_law(inf, exponent=0.5, start=np.ones(64)), "start: an array has no place"),
        (lambda: Instance.zero_one(10, fraction=1.2), "fraction: 1.2 is not in"),
        (
            lambda: Instance.power_law(2, exponent=0.5, start_norm=1, mean_norm=1),
            "dimension: 2 is too small for 3",
        ),
        (lambda: Instance.isotropic(2, start_norm=1, mean_norm=1), "smallest admissible dimension is 3"),
    ]
    for build, message in cases:
        with pytest.raises(InstanceError, match=message):
            build()
    with pytest.raises(TypeError, match="unexpected keyword 'teacher_nrom'"):
        Instance.isotropic(10, teacher_nrom=1.0)  # type: ignore[call-arg]


# --- covariances and data -----------------------------------------------------------------------------------


def random_rotation(d: int, seed: int) -> Array:
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0])


@pytest.mark.parametrize("d", [1, 2, 7, 60])
def test_commuting_covariances_are_diagonalised_together(d: int) -> None:
    # Degenerate in each class, and degenerate in different places.
    values = np.array([np.arange(d) % 2, np.arange(d) // 2 % 2, np.ones(d)], dtype=float)
    rotation = random_rotation(d, seed=d)
    covariances = rotation * values[:, None, :] @ rotation.T
    means, start = np.random.default_rng(0).standard_normal((3, d)), np.arange(d)
    built = Instance.from_covariances(covariances, means, teacher=means[0], start=start)
    assert sorted(map(tuple, built.eigenvalues.T.round(10))) == sorted(map(tuple, values.T))
    vectors = np.vstack([start, means, means[0]])
    assert fixed_vectors(built) @ fixed_vectors(built).T == pytest.approx(vectors @ vectors.T, rel=1e-10)
    for i in range(3):
        quadratic = (fixed_vectors(built) * built.eigenvalues[i]) @ fixed_vectors(built).T
        assert quadratic == pytest.approx(vectors @ covariances[i] @ vectors.T, rel=1e-9, abs=1e-9)


def test_a_combination_that_hides_the_eigenbasis_is_not_trusted() -> None:
    """Two covariances of norm 1 whose first trial combination is a multiple of the identity."""
    golden = (math.sqrt(5) - 1) / 2
    weights = np.array([0.5 + golden, 0.5 + 2 * golden - 1])
    gap = 0.2 * weights[0] / weights[1]
    low = (math.sqrt(2 - gap**2) - gap) / 2
    values = np.array([[0.8, 0.6], [low, low + gap]])
    assert np.ptp(weights @ values) < 1e-15
    rotation = random_rotation(2, seed=3)
    eigenvalues, basis = spectra.common_eigenbasis(rotation * values[:, None, :] @ rotation.T)
    assert sorted(map(tuple, eigenvalues.T.round(12))) == sorted(map(tuple, values.T.round(12)))
    assert basis.T @ basis == pytest.approx(np.eye(2), abs=1e-14)


def test_diagonal_covariances_keep_their_basis() -> None:
    built = Instance.from_covariances([np.diag([1, 3, 2]), np.eye(3)], means=0, start=[1, 2, 3], labels=[0, 1])
    assert built.eigenvalues.tolist() == [[1, 3, 2], [1, 1, 1]]
    assert built.start.tolist() == [1, 2, 3]
    assert Instance.from_covariances(np.eye(2), means=0, labels=[-1, 1]).classes == 2


@pytest.mark.parametrize(
    ("covariances", "message"),
    [
        ([[[1, 2], [0, 1]]], "covariances[0]: is not symmetric, by up to 2"),
        ([[[1, 2], [2, 1]]], "covariances[0]: the eigenvalue -1 is negative"),
        ([np.ones((2, 3))], "covariances: shape (1, 2, 3) is not one square matrix a class"),
        (np.empty((1, 0, 0)), "covariances: shape (1, 0, 0) is not one square matrix a class"),
        ([np.eye(3)], "start: shape (2,) does not fit covariances of shape (1, 3, 3)"),
    ],
)
def test_covariances_that_will_not_do_are_refused(covariances: Any, message: str) -> None:
    with pytest.raises(InstanceError) as caught:
        Instance.from_covariances(covariances, means=0, start=[1, 1])
    assert message in str(caught.value)


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_digits(return_X_y=True)
    return np.asarray(X, dtype=float), np.where(y % 2 == 0, -1.0, 1.0)


def covariance_in_features(instance: Instance, moments: DataMoments) -> Array:
    return np.asarray((moments.basis * instance.eigenvalues[0]) @ moments.basis.T)


def test_digits_rotated_back_have_their_class_means_and_pooled_covariance(
    digits: tuple[Array, Array],
) -> None:
    X, y = digits
    built, moments = Instance.from_data(X, y), data_moments(X, y)
    even, odd = X[y < 0], X[y > 0]
    assert built.labels is not None
    assert built.labels.tolist() == [-1, 1]
    assert built.probabilities == pytest.approx([len(even) / len(X), len(odd) / len(X)])
    means = built.means @ moments.basis.T + moments.offset
    assert means == pytest.approx(np.array([even.mean(axis=0), odd.mean(axis=0)]), abs=1e-12)
    pooled = (np.cov(even.T, bias=True) * len(even) + np.cov(odd.T, bias=True) * len(odd)) / len(X)
    assert covariance_in_features(built, moments) == pytest.approx(pooled, abs=1e-11)
    # Constant pixels are directions without variance, and are kept.
    assert built.modes == built.dimension == 64
    assert built.eigenvalues.min() >= 0
    assert built.probabilities @ built.means == pytest.approx(np.zeros(64), abs=1e-12)


def test_the_mixture_has_the_first_two_moments_of_the_data(digits: tuple[Array, Array]) -> None:
    X, y = digits
    built, moments = Instance.from_data(X, y), data_moments(X, y)
    between = np.einsum("i,ij,ik->jk", built.probabilities, built.means, built.means)
    total = moments.basis @ (np.diag(built.eigenvalues[0]) + between) @ moments.basis.T
    assert total == pytest.approx(np.cov(X.T, bias=True), abs=1e-10)


def test_data_options_scale_centre_and_truncate(digits: tuple[Array, Array]) -> None:
    X, y = digits
    full = Instance.from_data(X, y)
    scaled = Instance.from_data(X, y, scale=True)
    unit = math.sqrt(full.eigenvalues[0].mean())
    assert scaled.eigenvalues[0].mean() == pytest.approx(1.0)
    assert scaled.means * unit == pytest.approx(full.means)
    leading = Instance.from_data(X, y, components=10, scale=True)
    assert leading.modes == 10
    assert leading.eigenvalues[0].mean() == pytest.approx(1.0)
    assert Instance.from_data(X, y, components=10).means == pytest.approx(full.means[:, :10], rel=1e-12)
    raw = Instance.from_data(X, y, center=False)
    assert np.linalg.norm(raw.probabilities @ raw.means) == pytest.approx(np.linalg.norm(X.mean(axis=0)))


def test_a_start_is_given_in_the_features(digits: tuple[Array, Array]) -> None:
    X, y = digits
    start = np.arange(64.0)
    built = Instance.from_data(X, y, start=start)
    assert data_moments(X, y).basis @ built.start == pytest.approx(start)


def test_classes_keep_their_own_covariances_when_these_commute(digits: tuple[Array, Array]) -> None:
    square = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    X = np.vstack([square * [1, 2], square * [3, 1] + 5])
    built = Instance.from_data(X, np.repeat([0, 1], 4), pooled=False)
    assert sorted(built.eigenvalues.T.tolist()) == [[1, 9], [4, 1]]
    assert isinstance(Instance.from_data(*digits, pooled=False), DenseInstance)


@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        ([[1, 2], [3, 4]], [0, 1, 1], {}, "y: shape (3,) does not fit X of shape (2, 2)"),
        ([1, 2, 3], [0, 1, 1], {}, "y: shape (3,) does not fit X of shape (3,)"),
        ([[1], [2], [np.nan], [4]], [0, 0, 1, 1], {}, "X: entry [2, 0] is nan, not a finite number"),
        ([[1], [2], [3], [4]], [0, 0, 1, inf], {}, "y: entry [3] is inf, not a finite number"),
        ([[1], [2], [3], [4]], ["a", "a", "b", "b"], {}, "y: is not an array of real numbers"),
        ([[1], [2], [3], [4]], [1, 1, 1, 1], {}, "y: has 1 distinct label(s); give at least two classes"),
        ([[1], [2], [3], [4]], [0, 0, 0, 7], {}, "y: the class 7 has 1 sample; a class needs at least 2"),
        (
            [[1], [2], [3], [4]],
            [0, 0, 1, 1],
            {"components": 2},
            "components: 2 is not between 1 and the 1 features",
        ),
        (
            [[1], [2], [3], [4]],
            [0, 0, 1, 1],
            {"start": [1, 2]},
            "start: shape (2,) does not fit X with 1 features",
        ),
        (
            [[1], [1], [2], [2]],
            [0, 0, 1, 1],
            {"scale": True},
            "scale: the data have no variance within classes",
        ),
    ],
)
def test_data_that_will_not_do_are_refused(X: Any, y: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InstanceError) as caught:
        Instance.from_data(X, y, **options)
    assert message in str(caught.value)


MODULES = [(instance_module, 10), (spectra, 10), (builders, 2), (checks, 2), (spectral_laws, 8), (density, 4)]


@pytest.mark.parametrize(("module", "at_least"), MODULES)
def test_docstring_examples_run(module: Any, at_least: int) -> None:
    results = doctest.testmod(module)
    assert results.attempted >= at_least
    assert results.failed == 0
