"""The catalogue: committed kernels are what the generator emits, both backends agree, and the equations are verified."""

from __future__ import annotations

import difflib
import time
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

import reference
from sgdlimit.codegen import PARTS
from sgdlimit.derive import Constant, Labels, derive
from sgdlimit.runtime.compiler import find_compiler
from sgdlimit.runtime.evidence import gather
from sgdlimit.runtime.generate import generated_files
from sgdlimit.runtime.kernel import load_kernel
from sgdlimit.runtime.solver import solve
from sgdlimit.runtime.spec import Spec, catalogue, load_equations, load_spec
from sgdlimit.runtime.verification import judge

NAMES = tuple(catalogue())
# Integrals within integrals take NumPy minutes: their kernels are held to C's by tests/test_accuracy.py.
NESTED = (
    "adversarial-erf-regression",
    "adversarial-phase-retrieval",
    "hinge-logistic-labels",
    "logistic-labels",
    "poisson",
    "tanh-regression",
)
FLAT = tuple(name for name in NAMES if name not in NESTED)
# with a reference that integrates the mode equations too
INTEGRATED = (
    "adversarial-huber",
    "adversarial-least-squares",
    "adversarial-logistic-mixture",
    "adversarial-logistic-teacher",
    "digits",
    "least-squares",
)
# Every model in a long run, six and a few of each kind in the short one.
SHORT = (*INTEGRATED, "absolute", "hinge", "phase-retrieval")
BRIEF = [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in FLAT]
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
BACKENDS = [pytest.param("c", marks=needs_compiler), "numpy"]


def spec_of(name: str) -> Spec:
    if name == "digits":
        pytest.importorskip("sklearn")
    return load_spec(name)


def independent(spec: Spec) -> reference.ReferenceModel:
    """The reference for a catalogue model, written by hand."""
    values = {key: float(np.asarray(value)) for key, value in spec.parameters.items()}
    epsilon, tau = values.get("epsilon", 0.0), values.get("tau", 0.0)
    if "log(1 + exp" in spec.model.loss.text:
        make = reference.logistic if isinstance(spec.model.target, Labels) else reference.logistic_sign_teacher
        return make(epsilon, tau)
    if "delta" in values:
        return reference.huber(values["delta"], values["sigma"], epsilon, tau)
    return reference.least_squares(values["sigma"], epsilon, tau)


@pytest.mark.parametrize("name", NAMES)
def test_committed_kernels_are_what_the_generator_emits_now(name: str) -> None:
    folder = resources.files("sgdlimit.generated").joinpath(name.replace("-", "_"))
    for file, text in generated_files(load_equations(name), parts=PARTS).items():
        committed = folder.joinpath(file).read_text(encoding="utf-8") if folder.joinpath(file).is_file() else ""
        if committed != text:
            diff = difflib.unified_diff(committed.splitlines(), text.splitlines(), "committed", "emitted", lineterm="")
            shown = "\n".join(list(diff)[:60])
            command = f"sgdlimit generate {name} --out generated/{name.replace('-', '_')} --parts {','.join(PARTS)}"
            pytest.fail(f"{file} of {name} is not what is emitted now; to update it: {command}\n{shown}", pytrace=False)


def test_every_committed_folder_belongs_to_a_catalogue_model() -> None:
    folders = {f.name for f in resources.files("sgdlimit.generated").iterdir() if f.is_dir() and f.name[0] != "_"}
    assert folders == {name.replace("-", "_") for name in NAMES}


@needs_compiler
@pytest.mark.parametrize("name", BRIEF)
def test_c_and_numpy_agree_to_1e9(name: str) -> None:
    spec = spec_of(name)
    c, numpy = (solve(**spec.arguments, rtol=spec.rtol, backend=backend) for backend in ("c", "numpy"))
    for statistic in c.names:
        scale = np.maximum(np.abs(numpy[statistic]), 1e-3 * np.nanmax(np.abs(numpy[statistic])) + 1e-300)
        assert np.nanmax(np.abs(c[statistic] - numpy[statistic]) / scale) < 1e-9, statistic


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", INTEGRATED)
def test_curves_agree_with_an_independent_integration_to_1e7(name: str, backend: str) -> None:
    """Coefficients by quadrature of their definitions, the mode equations by SciPy."""
    spec = spec_of(name)
    assert isinstance(spec.schedule, Constant)
    gamma = spec.schedule.gamma
    times = np.array([0.2, 1.0, spec.horizon / 2, spec.horizon])
    arguments = {**spec.arguments, "times": times}
    got = solve(**arguments, rtol=1e-10, backend=backend)
    wanted = reference.solve_reference(independent(spec), spec.instance, lambda t: gamma, times)
    compared = [statistic for statistic in got.names if statistic in wanted]
    assert {"adversarial_risk", "clean_risk", "norm2"} <= set(compared)
    for statistic in compared:
        scale = np.maximum(np.abs(wanted[statistic]), 1e-3)
        assert np.max(np.abs(got[statistic] - wanted[statistic]) / scale) < 1e-7, statistic


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_start_at_zero_works(name: str, backend: str) -> None:
    spec = spec_of(name)
    if backend == "numpy" and name not in SHORT:
        pytest.skip("NumPy is held to C's kernels by its coefficients")
    if name in ("relu-regression", "ramp"):
        pytest.skip("its gradient is undefined at X = 0, and that is an error")
    instance = replace(spec.instance, start=np.zeros(spec.instance.modes))
    curve = solve(**{**spec.arguments, "instance": instance}, backend=backend)
    assert curve["norm2"][0] == 0
    for statistic in curve.names:
        if statistic != "effective_ridge":  # F/n over B at n = 0
            assert np.isfinite(curve[statistic]).all(), statistic


@needs_compiler
@pytest.mark.parametrize("name", [name for name in NAMES if name not in NESTED])
def test_the_run_goes_past_half_of_the_way_to_rest(name: str) -> None:
    spec = spec_of(name)
    arguments = {**spec.arguments, "horizon": 20 * spec.horizon, "times": None}
    curve = solve(**arguments)
    start, rest = curve["adversarial_risk"][0], curve["adversarial_risk"][-1]
    at_end = np.interp(spec.horizon, curve.times, curve["adversarial_risk"])
    assert abs(at_end - start) > 0.5 * abs(rest - start)


@pytest.mark.parametrize("name", BRIEF)
def test_five_per_cent_in_any_coefficient_moves_some_statistic_by_one_per_cent(name: str) -> None:
    spec = spec_of(name)
    limit = derive(spec.model)
    plain = solve(**spec.arguments, backend="numpy")
    for coefficient, expression in limit.coefficients.items():
        if expression == 0:
            continue
        kernel = load_kernel(spec.model, limit=limit.scale(coefficient, 1.05), backend="numpy")
        moved = solve(**spec.arguments, kernel=kernel)
        effect = {
            s: float(np.max(np.abs(moved[s] - plain[s])) / np.ptp(plain[s]))
            for s in plain.names
            if s not in ("learning_rate", "effective_ridge") and np.ptp(plain[s]) > 1e-12
        }
        assert max(effect.values()) > 0.01, (coefficient, effect)


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_verify_passes_the_model_and_fails_five_per_cent_in_any_coefficient(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One ensemble judges the solver and every perturbed one."""
    spec = spec_of(name)
    begin = time.perf_counter()
    asked = dict(spec.verification)
    judged = {key: asked.pop(key) for key in ("level", "resolution") if key in asked}
    evidence = gather(**{**spec.arguments, "times": None, "seed": 7, **asked})
    found = judge(evidence, load_kernel(spec.model), **judged)
    seconds = time.perf_counter() - begin
    verdicts = {"none": found.verdict}
    limit = derive(spec.model)
    for coefficient, expression in limit.coefficients.items():
        if expression != 0:
            wrong = load_kernel(spec.model, limit=limit.scale(coefficient, 1.05))
            verdicts[coefficient] = judge(evidence, wrong, **judged).verdict
    with capsys.disabled():
        print(f"\n{name}: {seconds:.0f} s, verdict by the coefficient that is 5 % off: {verdicts}")
    assert verdicts.pop("none") == "passed", found.table()
    assert set(verdicts.values()) == {"failed"}
