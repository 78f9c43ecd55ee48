"""The public names are where the design says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import sgdlimit

ROOT = Path(__file__).parent.parent

DERIVE = "Loss Labels Teacher RandomLabels L2Adversary Model Expectation Formula derive"
RUNTIME = (
    "Instance Constant Schedule load_kernel solve solve_many simulate simulate_lumped verify load_spec optimum rest_point "
    "diffuse solve_many sweep load_sweep"
)


@pytest.mark.parametrize(("package", "names"), [("derive", DERIVE), ("codegen", "emit"), ("runtime", RUNTIME)])
def test_public_names_are_functions_and_classes_of_their_package_and_of_sgdlimit(package: str, names: str) -> None:
    import importlib

    module = importlib.import_module(f"sgdlimit.{package}")
    for name in names.split():
        assert callable(getattr(module, name)), name
        assert callable(getattr(sgdlimit, name)), name
        assert name in sgdlimit.__all__


def test_the_list_of_packages_is_that_of_the_folders() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    mapped = {settings["package-dir"][name] for name in settings["packages"]}
    tops = ("api", "derive", "codegen", "generated", "runtime")
    found = {str(f.parent.relative_to(ROOT)) for top in tops for f in (ROOT / top).rglob("__init__.py")}
    assert mapped == found
    for folder in found:
        assert (ROOT / folder / "py.typed").is_file()


def test_the_top_level_is_short() -> None:
    """What a stranger sees first."""
    import subprocess

    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not tracked:
        pytest.skip("not in a checkout")
    expected = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", ".ci", ".gitignore"}
    expected |= {"derive", "codegen", "generated", "runtime", "api", "tests", "notebooks", "benchmarks", "docs"}
    assert {line.partition("/")[0] for line in tracked.splitlines()} <= expected
