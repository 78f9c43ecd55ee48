"""``sgdlimit generate``: the kernel of a spec as files to read and take away.

``generated_files`` makes the texts, ``generate`` checks their quadratures too, ``write_generated`` puts them on disk;
the catalogue's folders are written by it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgdlimit.codegen import FORMAT, PARTS, TARGETS, checked_parts, emit, emit_parts
from sgdlimit.derive.errors import InputError
from sgdlimit.derive.model import Greedy, Schedule
from sgdlimit.runtime.kernel import C_FILES, NUMPY_FILE, kernel_from_text, kernel_text
from sgdlimit.runtime.room import unwritten

if TYPE_CHECKING:
    from sgdlimit.codegen.language import Function, Statement
    from sgdlimit.derive.limit import Limit
    from sgdlimit.runtime.rule_check import SelfCheck
    from sgdlimit.runtime.spec import Equations

TAKEN_AWAY = ("equations", "limit", "sgd")
"""Parts of the C that are written unless others are asked for."""
EQUATIONS = "equations.md"
MANIFEST = "manifest.json"


def generated_files(
    spec: Equations, targets: Sequence[str] = TARGETS, parts: Sequence[str] = TAKEN_AWAY
) -> dict[str, str]:
    """Names and texts: the kernels (of C a file a part), ``equations.md`` and ``manifest.json``.

    A pure function of the spec's model, statistics, schedule, name and description, the generator's format and SymPy's
    version: nothing that is measured.

    Parameters
    ----------
    spec : Equations
        A :class:`~sgdlimit.runtime.spec.Spec` is one.
    targets : sequence of {"c", "numpy"}
    parts : sequence of str
        Of C (:data:`sgdlimit.codegen.PARTS`).

    Examples
    --------
    >>> from sgdlimit.runtime.spec import load_equations
    >>> files = generated_files(load_equations("least-squares"), ["numpy"])
    >>> list(files), json.loads(files["manifest.json"])["parameters"]
    (['kernel.py', 'equations.md', 'manifest.json'], ['tau', 'sigma'])
    """
    from sgdlimit.derive.limit import derive

    return _files(spec, derive(spec.model, spec.statistics, greedy=_greedy(spec)), targets, checked_parts(parts))


def generate(
    spec: Equations, targets: Sequence[str] = TARGETS, parts: Sequence[str] = TAKEN_AWAY
) -> tuple[dict[str, str], SelfCheck]:
    """What :func:`generated_files` makes, and how the quadratures in it agree with a finer rule.

    C is what is checked where a compiler runs, whether it is asked for or not: the rule is the same in both languages.

    Examples
    --------
    >>> from sgdlimit.runtime.spec import load_equations
    >>> print(generate(load_equations("least-squares"))[1])
    self-check: closed forms only, no quadrature to check
    """
    from sgdlimit.derive.limit import derive
    from sgdlimit.runtime.compiler import find_compiler
    from sgdlimit.runtime.rule_check import SelfCheck, self_check

    limit = derive(spec.model, spec.statistics, greedy=_greedy(spec))
    files = _files(spec, limit, targets, checked_parts(parts))
    if not limit.quadratures:
        return files, SelfCheck(0, ())
    compiler = find_compiler()
    if compiler is None:
        text = files.get(NUMPY_FILE) or emit(limit, "numpy", _expression(spec))
    else:
        text = files.get(C_FILES["equations"]) or emit(limit, "c", _expression(spec), ["equations"])
    return files, self_check(limit, kernel_from_text(text, "numpy" if compiler is None else "c", compiler))


def _files(spec: Equations, limit: Limit, targets: Sequence[str], parts: Sequence[str]) -> dict[str, str]:
    expression = _expression(spec)
    files: dict[str, str] = {}
    if "c" in targets:
        files |= {C_FILES[part]: text for part, text in emit_parts(limit, expression, parts).items()}
    if "numpy" in targets:
        files[NUMPY_FILE] = emit(limit, "numpy", expression)
    files[EQUATIONS] = limit.markdown()
    chosen = f" --parts {','.join(parts)}" if "c" in targets and tuple(parts) != TAKEN_AWAY else ""
    files[MANIFEST] = (
        json.dumps(_manifest(spec, limit, [*files, MANIFEST], chosen), indent=2, ensure_ascii=False) + "\n"
    )
    return files


def write_generated(
    spec: Equations,
    directory: str | os.PathLike[str],
    targets: Sequence[str] = TARGETS,
    parts: Sequence[str] = TAKEN_AWAY,
) -> list[Path]:
    """Write the generated files of a spec into a folder, all of them or none.

    The folder is made if it is not there. Files that an earlier call wrote are replaced; a folder that holds files of
    these names and no manifest of sgdlimit's is refused.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        When the folder cannot be written, or holds files that sgdlimit did not write.
    """
    check_folder(Path(directory), targets, parts)
    return write_files(Path(directory), generated_files(spec, targets, parts))


# ── The manifest ────────────────────────────────────────────────────────────────────────────────────────────


def _expression(spec: Equations) -> Schedule | None:
    """The schedule, if the kernel depends on it."""
    return spec.schedule if isinstance(spec.schedule, Schedule) else None


def _greedy(spec: Equations) -> str | None:
    """The statistic of a greedy learning rate, if the kernel depends on one."""
    return spec.schedule.statistic if isinstance(spec.schedule, Greedy) else None


def _manifest(spec: Equations, limit: Limit, files: Sequence[str], chosen: str) -> dict[str, Any]:
    from sgdlimit.codegen.lower import lower

    schedule = _expression(spec)
    kernel = lower(limit, schedule)
    return {
        "name": spec.name,
        "description": spec.description,
        "command": f"sgdlimit generate {Path(spec.source).name} --out {spec.name.replace('-', '_')}{chosen}",
        "format": FORMAT,
        "files": list(files),
        # what the kernel is a function of, and is found again by
        "model": kernel_text(spec.model, spec.statistics, spec.schedule),
        "loss": spec.model.loss.text,
        "target": repr(spec.model.target),
        "adversary": repr(spec.model.adversary),
        "schedule": None if schedule is None else schedule.text,
        "parameters": list(kernel.parameters),
        "greedy": _greedy(spec),
        "schedule_parameters": list(kernel.schedule_parameters),
        "statistics": list(kernel.statistics),
        "rules": {name: "0" if limit.coefficients.get(name) == 0 else rule for name, rule in limit.rules.items()},
        "operations": {
            "score of a class": operations(kernel.summarise),
            "coefficients of a class, for the rates": operations(kernel.rate_coefficients),
            "coefficients of a class, for the statistics": operations(kernel.statistic_coefficients),
            "rates": operations(kernel.rates),
            "statistics": operations(kernel.statistics_function),
            "gradient of a sample": operations(kernel.gradient),
        },
    }


def operations(function: Function) -> dict[str, int]:
    """Arithmetic operations and function calls as they stand in the text, by what they are repeated over.

    ``scalar``: once; ``class``: for each class; ``mode``: for each mode (in a loop over classes, of each class);
    ``node``: for each node of the quadratures; ``inner node``: for each node of those within them. Calls of other
    functions of the kernel are not followed.
    """
    import sympy as sp

    from sgdlimit.codegen.language import Accumulate, ForClasses, Integrate, Let, Map, Reduce

    counts = {"scalar": 0, "class": 0, "mode": 0, "node": 0, "inner node": 0}

    def add(place: str, expressions: Iterable[sp.Expr], more: int = 0) -> None:
        counts[place] += sum(int(sp.count_ops(e)) + more for e in expressions)

    def walk(statements: Iterable[Statement], place: str) -> None:
        for statement in statements:
            match statement:
                case Let():
                    add(place, [statement.expression])
                case Reduce():
                    add("mode", [let.expression for let in statement.sums], more=1)
                case Accumulate():
                    add("mode", [e for _, e in statement.sums], more=1)
                case Map():
                    add("mode", [e for _, e in statement.assignments])
                case Integrate():
                    ends = [e for pair in (*statement.poles, *statement.steps) for e in pair]
                    ends += [let.expression for let in (*statement.shared, *statement.fixed)]
                    add(place, [*statement.breakpoints, *ends])
                    walk(statement.statements, "inner node" if place == "node" else "node")
                    add(
                        "inner node" if place == "node" else "node",
                        [let.expression for let in statement.integrals],
                        more=2,
                    )
                case ForClasses():
                    walk(statement.body, "class")
                    add("class", [let.expression for let in statement.totals], more=1)

    walk(function.statements, "scalar")
    add("scalar", [let.expression for let in function.results])
    return counts


# ── Writing ─────────────────────────────────────────────────────────────────────────────────────────────────


def check_folder(folder: Path, targets: Sequence[str] = TARGETS, parts: Sequence[str] = PARTS) -> None:
    """Refuse a folder that the generated files cannot or should not go to.

    Raises
    ------
    InputError
        For a file in its place, and for files that sgdlimit did not write.
    """
    kernels = [*(C_FILES[part] for part in checked_parts(parts) if "c" in targets), NUMPY_FILE]
    names = [*(name for name in kernels if name != NUMPY_FILE or "numpy" in targets), EQUATIONS, MANIFEST]
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "it is a file, not a folder", "give a folder")
    foreign = [name for name in names if (folder / name).exists()]
    if foreign and not _is_ours(folder / MANIFEST):
        raise InputError(
            str(folder),
            f"it holds {foreign[0]}, which sgdlimit did not write",
            "give another folder, or move that file",
        )


def _is_ours(manifest: Path) -> bool:
    try:
        known = json.loads(manifest.read_text(encoding="utf-8"))
        return isinstance(known, dict) and str(known["command"]).startswith("sgdlimit generate ")
    except (OSError, ValueError, KeyError):
        return False


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write texts into a folder, all of them or none.

    Each is written beside its place and then renamed: the manifest, which says that the folder is whole, comes last.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """
    made = not folder.exists()
    paths = [folder / name for name in files]
    temporary = [folder / f".{os.getpid()}.{name}" for name in files]
    added = [path for path in paths if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(temporary, files.values(), strict=True):
            path.write_text(text, encoding="utf-8", newline="\n")
        for source, path in zip(temporary, paths, strict=True):
            os.replace(source, path)
    except OSError as error:
        told = unwritten(error, folder, "give another folder")
        for path in (*temporary, *added):
            with contextlib.suppress(OSError):
                path.unlink()
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise InputError(str(folder), *told) from None
    return paths
