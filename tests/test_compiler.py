"""Compile and cache: what is reused, what is built again, and what is said when there is no compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from models import CASES
from room import files_of_at_most, full

from sgdlimit.derive import Constant
from sgdlimit.derive.errors import BackendError, InputError, KernelError
from sgdlimit.runtime import compiler as module
from sgdlimit.runtime.compiler import Compiler, FullCacheWarning, find_compiler, load_library
from sgdlimit.runtime.instance import Instance
from sgdlimit.runtime.kernel import NoCompilerWarning, load_kernel
from sgdlimit.runtime.solver import solve

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
MODEL = CASES["adversarial least squares"].model


@needs_compiler
def test_a_damaged_entry_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGDLIMIT_CACHE", str(tmp_path))
    load_kernel(MODEL, backend="c")
    (built,) = (tmp_path / "kernels").glob("*.so")
    whole = built.read_bytes()
    built.unlink()  # the loaded file stays mapped; a new one stands in its place, cut short
    built.write_bytes(whole[:1000])
    assert load_kernel(MODEL, backend="c").parameters == ("epsilon", "tau", "sigma")
    assert len(built.read_bytes()) > 1000
    for source in (tmp_path / "sources").glob("*"):
        source.write_text("nonsense")
    assert load_kernel(MODEL, backend="c").parameters == ("epsilon", "tau", "sigma")


@needs_compiler
def test_the_cache_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGDLIMIT_CACHE", "0")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert load_kernel(MODEL, backend="c").backend == "c"
    assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_auto_runs_numpy_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent")
    with pytest.warns(NoCompilerWarning, match="install gcc or clang") as caught:
        kernel = load_kernel(MODEL)
    assert kernel.backend == "numpy"
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_kernel(MODEL, backend="numpy").backend == "numpy"


def test_without_a_compiler_asking_for_c_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent")
    with pytest.raises(BackendError, match="install gcc or clang"):
        load_kernel(MODEL, backend="c")


def test_an_unknown_backend_is_an_error() -> None:
    with pytest.raises(InputError, match="auto, c, numpy"):
        load_kernel(MODEL, backend="fortran")


@needs_compiler
def test_a_failed_compile_shows_the_command_and_the_compilers_words() -> None:
    compiler = find_compiler()
    assert compiler is not None
    with pytest.raises(BackendError) as caught:
        load_library("int f(void) { return undeclared; }", compiler)
    assert "undeclared" in str(caught.value)
    assert compiler.command[0] in str(caught.value)


@needs_compiler
def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("SGDLIMIT_CACHE", str(file))
    with pytest.raises(BackendError, match="SGDLIMIT_CACHE"):
        load_kernel(MODEL, backend="c")


@needs_compiler
def test_a_cache_without_room_is_said_and_the_kernel_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGDLIMIT_CACHE", str(tmp_path))
    compiler = find_compiler()
    assert compiler is not None
    monkeypatch.setattr(module, "write_whole", full)
    told = rf"the cache folder {tmp_path} cannot be written \(No space left on device\): .*; make room, or set SGDLIMIT_CACHE"
    with pytest.warns(FullCacheWarning, match=told):
        assert load_library("int f(void); int f(void) { return 7; }", compiler).f() == 7
    assert [path.suffix for path in (tmp_path / "kernels").iterdir()] == [".lock"]


@needs_compiler
def test_a_library_that_has_no_room_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGDLIMIT_CACHE", str(tmp_path))
    compiler, source, real = find_compiler(), "int g(void); int g(void) { return 7; }", module.write_whole
    assert compiler is not None

    def limited(path: Path, content: bytes) -> None:
        with files_of_at_most(1000):
            real(path, content)

    monkeypatch.setattr(module, "write_whole", limited)
    with pytest.warns(FullCacheWarning, match=r"File too large"):
        assert load_library(source, compiler).g() == 7
    assert {path.suffix for path in (tmp_path / "kernels").iterdir()} == {".lock", ".sha256"}
    monkeypatch.setattr(module, "write_whole", real)
    assert load_library(source, compiler).g() == 7
    assert {path.suffix for path in (tmp_path / "kernels").iterdir()} == {".lock", ".sha256", ".so"}


@needs_compiler
def test_a_compiler_without_room_is_told_so_and_no_flag_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGDLIMIT_CACHE", str(tmp_path))
    known = find_compiler()
    assert known is not None
    (flags,) = (tmp_path / "flags").iterdir()
    flags.unlink()
    with files_of_at_most(2000):
        assert find_compiler() is not None
        assert list((tmp_path / "flags").iterdir()) == []
        with pytest.raises(KernelError, match=r"the C compiler failed") as caught:
            load_library("int h(void); int h(void) { return 7; }", known)
    assert str(caught.value).endswith("raise the limit on the size of files (ulimit -f)")
    assert find_compiler() == known
    with (
        files_of_at_most(20),
        pytest.raises(KernelError, match=r"^temporary files cannot be written in .*raise the limit"),
    ):
        load_library("int h(void); int h(void) { return 7; }", known)


def test_a_kernel_of_numpy_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_kernel(MODEL, backend="numpy")
    monkeypatch.delitem(sys.modules, loaded.module.__name__)
    with files_of_at_most(0):
        assert load_kernel(MODEL, backend="numpy").parameters == loaded.parameters


@needs_compiler
def test_flags_that_a_compiler_refuses_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that knows only the base flags still serves."""
    compiler = find_compiler()
    assert compiler is not None
    picky = tmp_path / "picky"
    picky.write_text(
        '#!/bin/sh\nfor a in "$@"; do case "$a" in -march=*|-fopenmp-simd) exit 1;; esac; done\n'
        f'exec {compiler.command[0]} "$@"\n'
    )
    picky.chmod(0o755)
    monkeypatch.setenv("CC", str(picky))
    monkeypatch.setenv("SGDLIMIT_CACHE", str(tmp_path / "cache"))
    found = find_compiler()
    assert found is not None
    assert "-march=native" not in found.flags
    curve = solve(MODEL, Instance.isotropic(5), Constant(0.5), {"epsilon": 0.3, "sigma": 0.5}, 2.0, backend="c")
    assert np.isfinite(curve["adversarial_risk"]).all()


@needs_compiler
def test_a_warm_solve_imports_neither_sympy_nor_scipy_nor_matplotlib(own_cache: Path) -> None:
    script = (
        "import sys\n"
        "from sgdlimit.derive import Constant, L2Adversary, Loss, Model, Teacher\n"
        "from sgdlimit.runtime.instance import Instance\n"
        "from sgdlimit.runtime.solver import solve\n"
        "model = Model(Loss('(r - y)**2/2'), Teacher('r_star + sigma*xi'), L2Adversary())\n"
        "solve(model, Instance.isotropic(5), Constant(0.5), {'epsilon': 0.3, 'sigma': 0.5}, 2.0, backend='c')\n"
        "print(sorted({'sympy', 'scipy', 'matplotlib', 'pydantic'} & set(sys.modules)))\n"
    )
    for expected in (None, "[]\n"):  # the first may have to derive
        answer = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ)
        )
        assert expected is None or answer.stdout == expected


def test_a_compiler_prints_what_it_is() -> None:
    assert "gcc" in repr(Compiler(("gcc",), "gcc 12", ()))


@needs_compiler
@pytest.mark.parametrize("content", [b"", b"-march=native", b"\xff\xfe", b"--nonsense ."])
def test_a_damaged_memory_of_flags_is_made_again(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGDLIMIT_CACHE", str(tmp_path))
    compiler = find_compiler()
    assert compiler is not None
    (memory,) = (tmp_path / "flags").iterdir()
    memory.write_bytes(content)
    again = find_compiler()
    assert again == compiler
