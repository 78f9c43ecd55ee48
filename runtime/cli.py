"""The command ``sgdlimit``: each verb on a spec file or a model of the catalogue.

Exit codes: 0 done, 1 verification failed, 2 bad input, 3 diverged, 4 inconclusive, 5 compiler or internal. What goes
wrong is one line on standard error; with ``--json`` also an object ``{"error": …}`` on standard output.

Imports stand in the functions that need them, so that ``--help`` and a solve from the cache start at once.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sgdlimit.derive.errors import Diverged, InputError, NoLearningRate, NoMinimiser, SgdlimitError, SpecError

if TYPE_CHECKING:
    from sgdlimit.runtime.ensemble import Ensemble
    from sgdlimit.runtime.minimiser import Optimum
    from sgdlimit.runtime.spec import Equations, Spec
    from sgdlimit.runtime.sweep_result import Sweep
    from sgdlimit.runtime.trajectory import Trajectory
    from sgdlimit.runtime.verdict import Judgement
    from sgdlimit.runtime.verification import Verification

DONE, FAILED, BAD_INPUT, DIVERGED, INCONCLUSIVE, INTERNAL = range(6)
INTERRUPTED = 130

app = typer.Typer(
    name="sgdlimit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    help="Derive, solve and verify the exact high-dimensional learning dynamics of (adversarial) streaming SGD.",
    epilog="SPEC is a TOML file or a name of `sgdlimit catalogue`. "
    "Exit codes: 0 done, 1 verification failed, 2 bad input, 3 diverged, 4 inconclusive, 5 compiler or internal.",
)


class Precision(StrEnum):
    """``--precision``."""

    float64 = "float64"
    float32 = "float32"


class Backend(StrEnum):
    """``--backend``."""

    auto = "auto"
    c = "c"
    numpy = "numpy"


class IntegrationMethod(StrEnum):
    """``--method``."""

    auto = "auto"
    explicit = "explicit"
    exponential = "exponential"


class Format(StrEnum):
    """``--format``."""

    markdown = "markdown"
    latex = "latex"
    html = "html"
    json = "json"


class Target(StrEnum):
    """``--target``."""

    both = "both"
    c = "c"
    numpy = "numpy"


_Spec = Annotated[str, typer.Argument(metavar="SPEC", help="A spec file (TOML), or a name of `sgdlimit catalogue`.")]
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Use this value in place of the file's: a parameter (epsilon=0.2), or any key (instance.dimension=200).",
    ),
]
_Gamma = Annotated[float | None, typer.Option(help="Constant learning rate, in place of the file's schedule.")]
_Horizon = Annotated[float | None, typer.Option(help="Last time t = k/d, in place of the file's.")]
_Backend = Annotated[Backend, typer.Option(help="auto: C where a compiler runs, else NumPy.")]
_Precision = Annotated[Precision, typer.Option(help="Of samples and iterates; float32 is twice as fast.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
_Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write the curves: .csv, .npz or .nc, with their picture beside them; or the picture: .svg, .pdf or .png.",
    ),
]
_Figure = Annotated[Path | None, typer.Option(metavar="FILE", help="Where the picture goes: .svg, .pdf or .png.")]
_Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the random numbers.")]


_traceback: ContextVar[bool] = ContextVar("traceback", default=False)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        try:
            _print(f"sgdlimit {metadata.version('sgdlimit')}")
        except _Unprinted as error:
            _fail(error, as_json=False)
        raise typer.Exit(DONE)


@app.callback()
def _main(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error was raised.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    _traceback.set(traceback)


# ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────


def exit_code(error: BaseException) -> int:
    """The exit code that an error stands for.

    Examples
    --------
    >>> exit_code(SpecError("my.toml", "is not TOML")), exit_code(Diverged(1.5, "the limit")), exit_code(KeyError("x"))
    (2, 3, 5)
    """
    if isinstance(error, InputError | NoLearningRate):
        return BAD_INPUT
    return DIVERGED if isinstance(error, Diverged) else INTERNAL


class _Unprinted(SgdlimitError):
    """Standard output that cannot be written: a full disk, say."""

    def __init__(self, error: OSError) -> None:
        from sgdlimit.runtime.room import unwritten

        why, remedy = unwritten(error, Path("/dev/stdout"), "send it elsewhere")
        super().__init__(f"standard output: {why}; {remedy}")


def _command(function: Callable[..., int | None]) -> Callable[..., None]:
    """A command whose errors end as one line and an exit code, and whose warnings are notes."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        told: set[str] = set()  # Python forgets what it has said once when its filters change

        def tell(message: Warning | str, *_: Any, **__: Any) -> None:
            if str(message) not in told:
                told.add(str(message))
                _note(str(message))

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("once", UserWarning)
                warnings.showwarning = tell
                code = function(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            _say(str(interrupt) or "interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # the reader, `head` say, has what it wanted; Python must not try to flush the rest
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(DONE) from None
        except typer.Exit:
            raise
        except Exception as error:
            _fail(error, as_json=bool(kwargs.get("as_json")))
        raise typer.Exit(code or DONE)

    return run


def _fail(error: Exception, *, as_json: bool) -> NoReturn:
    if _traceback.get():
        import traceback

        traceback.print_exception(error)
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename or 'a file'}: {error.strerror or error}"
    elif not isinstance(error, SgdlimitError):
        text = f"internal, {type(error).__name__}: {error} (a fault of sgdlimit; `sgdlimit --traceback …` shows where)"
    _say(f"error: {text}")
    if as_json:
        details = {"error": text, "kind": type(error).__name__, "code": exit_code(error)}
        if isinstance(error, Diverged | NoLearningRate):
            details["time"] = error.time
        if isinstance(error, NoMinimiser):
            details["direction"] = error.direction.tolist()
        with suppress(_Unprinted):  # that was said, or the exit code has to do
            _print_json(details)
    raise typer.Exit(exit_code(error)) from None


@contextmanager
def _about(spec: Equations) -> Iterator[None]:
    """Puts the file, and its key, in front of an error that a verb finds in what the spec asks for."""
    try:
        yield
    except InputError as error:
        for named, table in (("parameter ", "parameters."), ("statistic ", "statistics.")):
            if error.where.startswith(named):
                error.where = table + error.where.removeprefix(named)
        error.where = f"{spec.source}: {error.where}"
        raise


# ── Commands ────────────────────────────────────────────────────────────────────────────────────────────────


@app.command(epilog="Example: sgdlimit derive adversarial-least-squares --format html --out equations.html")
@_command
def derive(
    spec: _Spec,
    format: Annotated[Format, typer.Option(help="How to write the equations.")] = Format.markdown,  # noqa: A002
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to a file: .md, .tex, .html or .json, as the format is.")
    ] = None,
) -> None:
    """Print the equations of a model: adversarial loss, coefficients, mode equations, and a check of known limits.

    A file that holds a section [model] and nothing else will do.
    """
    from sgdlimit.derive.limit import derive as derive_limit
    from sgdlimit.runtime.output import DOCUMENTS, check_output, written
    from sgdlimit.runtime.spec import load_equations

    equations = load_equations(spec)
    if out is not None:
        check_output(out, (DOCUMENTS[format.value],))
    with _about(equations):
        limit = derive_limit(equations.model, equations.statistics)
    text = {
        Format.markdown: limit.markdown,
        Format.latex: limit.latex,
        Format.html: limit.html,
        Format.json: limit.json,
    }[format]()
    if out is None:
        _print(text.rstrip("\n"))
        return
    with written(out) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    _print(str(out))


@app.command(epilog="Example: sgdlimit generate adversarial-huber --out huber && cc -O3 -c huber/limit.c")
@_command
def generate(
    spec: _Spec,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write into.")],
    target: Annotated[Target, typer.Option(help="Language of the kernel.")] = Target.both,
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="PART,...",
            help="What is written in C, a file each: equations, limit, sgd unless given; lumps, diffusion.",
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Write solver and simulator as source code: equations.c, limit.c, sgd.c, kernel.py, with equations.md.

    equations: coefficients and right-hand side. limit: the mode equations and their solver. sgd: streaming SGD. lumps:
    the same in lumps of equal eigenvalues. diffusion: homogenised SGD. kernel.py has them all. Each file stands alone;
    manifest.json tells of them. All files are written or none. Quadratures are compared with a finer rule at twenty
    states; one that misses is told by a warning, and its files are written all the same.
    """
    from sgdlimit.codegen import TARGETS
    from sgdlimit.runtime.generate import TAKEN_AWAY, check_folder, write_files
    from sgdlimit.runtime.generate import generate as make
    from sgdlimit.runtime.spec import load_equations

    targets = TARGETS if target is Target.both else (target.value,)
    if parts is not None and "c" not in targets:
        raise InputError("--parts", "a NumPy file holds all parts", "leave it out, or ask for C too")
    chosen = TAKEN_AWAY if parts is None else tuple(part.strip() for part in parts.split(","))
    equations = load_equations(spec)
    check_folder(out, targets, chosen)
    with _about(equations):
        files, checked = make(equations, targets, chosen)
    paths = write_files(out, files)
    if not checked.passed:
        _say(f"warning: {checked}")
    if as_json:
        found = {"name": equations.name, "files": [str(path) for path in paths], "self_check": checked.json()}
        _print_json(found)
    else:
        _print("\n".join(str(path) for path in paths))
        if checked.passed:
            _print(str(checked))


@app.command(epilog="Example: sgdlimit solve adversarial-least-squares --set epsilon=0.2 --out curve.csv")
@_command
def solve(
    spec: _Spec,
    out: _Out = None,
    figure: _Figure = None,
    set_: _Set = None,
    gamma: _Gamma = None,
    horizon: _Horizon = None,
    rtol: Annotated[float | None, typer.Option(help="Relative tolerance, 1e-8 unless the file says otherwise.")] = None,
    method: Annotated[
        IntegrationMethod,
        typer.Option(help="auto: exponential steps where the fastest mode would limit explicit ones."),
    ] = IntegrationMethod.auto,
    backend: _Backend = Backend.auto,
    as_json: _Json = False,
) -> None:
    """Solve the equations: the learning curve in the limit of high dimension.

    Prints some of its points; --out writes them all, and their picture.
    """
    from sgdlimit.runtime.output import about, plain, save_result
    from sgdlimit.runtime.solver import solve as run

    loaded = _load(spec, set_, gamma=gamma, horizon=horizon, rtol=rtol)
    files = _files(out, figure, loaded)
    with _about(loaded):
        trajectory = run(**loaded.arguments, rtol=loaded.rtol, method=method.value, backend=backend.value)
    for path in files:
        save_result(trajectory, path)
        if not as_json:
            _print(f"{path}: {len(trajectory.names)} statistics at {len(trajectory.times)} times")
    if as_json:
        curves = {"times": trajectory.times, "statistics": trajectory.values}
        _print_json({"name": loaded.name, **about(trajectory), **plain(curves)})
    elif not files:
        _print(_heading(loaded, trajectory.backend))
        _print(_curve_table({"t": trajectory.times, **trajectory.values}))


@app.command(epilog="Example: sgdlimit simulate adversarial-least-squares --runs 64 --dimension 480 --out runs.npz")
@_command
def simulate(
    spec: _Spec,
    runs: Annotated[int | None, typer.Option(min=1, help="Independent runs.")] = None,
    seed: _Seed = None,
    dimension: Annotated[
        int | None, typer.Option(min=1, help="Simulate the same limit at this dimension, by exact split.")
    ] = None,
    homogenised: Annotated[
        bool,
        typer.Option("--homogenised", help="Homogenised SGD, a diffusion, instead: means as SGD's, fluctuations not."),
    ] = False,
    lumped: Annotated[
        bool,
        typer.Option("--lumped", help="The same law in a few numbers a block of equal eigenvalues, at any dimension."),
    ] = False,
    out: _Out = None,
    figure: _Figure = None,
    set_: _Set = None,
    gamma: _Gamma = None,
    horizon: _Horizon = None,
    backend: _Backend = Backend.auto,
    precision: _Precision = Precision.float64,
    as_json: _Json = False,
) -> None:
    """Run streaming SGD itself, fresh samples, many runs.

    Prints means over the runs with standard errors; --out writes every run, and a picture of them with the limit.
    """
    from sgdlimit.runtime.diffusion import diffuse
    from sgdlimit.runtime.instance import Instance
    from sgdlimit.runtime.lumped import simulate_lumped
    from sgdlimit.runtime.output import FIGURES, about, plain, save_figure, save_result
    from sgdlimit.runtime.simulator import simulate as sgd

    if homogenised and lumped:
        raise InputError("--lumped", "homogenised SGD goes through every coordinate", "leave out one of the two")
    if (homogenised or lumped) and precision != Precision.float64:
        which = "homogenised SGD" if homogenised else "SGD in lumps"
        raise InputError("precision", f"{which} does not run in {precision.value}", "it is float64")
    full = functools.partial(sgd, precision=precision.value)
    run: Callable[..., Ensemble] = diffuse if homogenised else simulate_lumped if lumped else full
    of = "homogenised SGD" if homogenised else "SGD in lumps" if lumped else "SGD"
    loaded = _load(spec, set_, gamma=gamma, horizon=horizon)
    files = _files(out, figure, loaded)
    with _about(loaded), _progress(f"{of}, {loaded.name}") as progress:
        arguments = loaded.arguments
        if dimension is not None:
            at = loaded.instance
            arguments["instance"] = (
                at.lumped(dimension) if lumped and isinstance(at, Instance) else at.at_dimension(dimension)
            )
        ensemble = run(
            **arguments,
            runs=loaded.runs if runs is None else runs,
            seed=loaded.seed if seed is None else seed,
            backend=backend.value,
            progress=progress,
        )
    drawn = None
    for path in files:  # the runs first
        if path.suffix not in FIGURES:
            save_result(ensemble, path)
        else:
            drawn = drawn or ensemble.plot(limit=_limit_of(ensemble, loaded, backend.value))
            save_figure(drawn, path)
        if not as_json:
            _print(f"{path}: {ensemble.runs} runs, {len(ensemble.names)} statistics at {len(ensemble.times)} times")
    means = {name: ensemble.mean(name) for name in ensemble.names}
    errors = {name: ensemble.standard_error(name) for name in ensemble.names}
    if as_json:
        curves = {"runs": ensemble.runs, "times": ensemble.times, "mean": means, "standard_error": errors}
        _print_json({"name": loaded.name, **about(ensemble), **plain(curves)})
    elif not files:
        _print(f"{_heading(loaded, ensemble.backend, ensemble.dimension)}, {ensemble.runs} runs of {of}")
        _print(_curve_table({"t": ensemble.times, **means}, errors))


@app.command(epilog="Example: sgdlimit verify adversarial-least-squares --report report.html")
@_command
def verify(
    spec: _Spec,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write the report as one HTML file.")] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write the picture: .png, .pdf or .svg.")
    ] = None,
    seed: _Seed = None,
    budget: Annotated[float | None, typer.Option(help="Coordinate-steps to spend on simulation.")] = None,
    homogenised: Annotated[
        bool,
        typer.Option(
            "--homogenised", help="Whether homogenised SGD, a diffusion, has this limit: its means, not SGD's."
        ),
    ] = False,
    set_: _Set = None,
    gamma: _Gamma = None,
    horizon: _Horizon = None,
    backend: _Backend = Backend.auto,
    as_json: _Json = False,
) -> int:
    """Verify the equations by simulating streaming SGD at three dimensions.

    Exit code 0: passed; 1: failed, the equations are not those of SGD; 4: inconclusive, more simulation would decide.
    """
    from sgdlimit.runtime.output import FIGURES, PAGES, check_output, save_figure
    from sgdlimit.runtime.verification import verify as run

    loaded = _load(spec, set_, gamma=gamma, horizon=horizon)
    for path, endings in ((report, PAGES), (figure, FIGURES)):
        if path is not None:
            check_output(path, endings)
    keywords = {**loaded.arguments, "times": None, "seed": loaded.seed, **loaded.verification}
    keywords |= {name: value for name, value in (("seed", seed), ("budget", budget)) if value is not None}
    keywords |= {"dynamics": "homogenised"} if homogenised else {}
    with _about(loaded), _progress(f"{'homogenised ' * homogenised}SGD, {loaded.name}") as progress:
        found = run(**keywords, backend=backend.value, progress=progress)
    if not as_json:  # before the files: where they cannot be written, the verdict is not lost
        _print(f"{_heading(loaded, found.evidence.backend)}\n\n{found.table()}\n\n{found.summary()}")
    if report is not None:
        found.save_html(report, loaded)
    if figure is not None:
        save_figure(found.plot(), figure)
    if as_json:
        _print_json(_findings(loaded, found))
    else:
        for path in (report, figure):
            if path is not None:
                _print(f"written: {path}")
    return {"passed": DONE, "failed": FAILED}.get(found.verdict, INCONCLUSIVE)


@app.command(epilog="Example: sgdlimit optimum adversarial-least-squares --set epsilon=0.2 --json")
@_command
def optimum(spec: _Spec, set_: _Set = None, backend: _Backend = Backend.auto, as_json: _Json = False) -> None:
    """Minimise the adversarial risk: the optimum, its risk and effective ridge, and the radius from which on it is 0.

    For a loss that is not convex, the stationary points that several starts lead to, the lowest first.
    """
    from sgdlimit.runtime.minimiser import optimum as run

    loaded = _load(spec, set_)
    parameters = {name: value for name, value in loaded.parameters.items() if name in loaded.model.parameters}
    with _about(loaded):
        found = run(loaded.model, loaded.instance, parameters, backend=backend.value)
    points = [_point(p) for p in (found, *found.others)]
    if as_json:
        facts = {"name": loaded.name, "model": loaded.model.canonical(), "parameters": parameters}
        _print_json(_plain({**facts, **points[0], "others": points[1:]}))
        return
    for number, point in enumerate(points):
        _print("\n" * bool(number), nl=False)
        told = {key.replace("_", " "): value for key, value in point.items() if key != "x" and value is not None}
        width = max(map(len, told))
        _print("\n".join(f"{key:<{width}}  {_cell(value)}" for key, value in told.items()))


@app.command(epilog="Example: sgdlimit sweep phase-diagram.toml --out phase-diagram.sweep")
@_command
def sweep(
    spec: Annotated[str, typer.Argument(metavar="SWEEP.toml", help="A spec file with axes.")],
    out: Annotated[
        Path | None, typer.Option(metavar="STORE", help="The folder of results: the file's name .sweep unless given.")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Say how far it is, running or not, and stop.")] = False,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on the Dask cluster of tcp://host:8786.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of this machine; all cores unless given.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="More than ten million points are meant.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write the report as one HTML file.")] = None,
    figure: _Figure = None,
    table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the points as one table too: .csv, .npz or .nc.")
    ] = None,
    set_: _Set = None,
    backend: _Backend = Backend.auto,
    as_json: _Json = False,
) -> None:
    """Solve the limit over a grid of parameters, step sizes and instances.

    Each finished batch is on disk at once; stopped at any moment, the same command goes on. A point that diverges is a
    result. The picture is drawn into the store, figure.svg.
    """
    import time

    from sgdlimit.runtime.output import CURVES, FIGURES, PAGES, check_output, save_result
    from sgdlimit.runtime.sweep_store import status as look
    from sgdlimit.runtime.sweeping import summary
    from sgdlimit.runtime.sweeping import sweep as run

    store = Path(f"{Path(spec).stem}.sweep") if out is None else out
    if status:
        found = look(store)
        facts = {"points": found.points, "finished": found.finished, "running": found.running, "whole": found.whole}
        _print_json({"store": str(store), **facts}) if as_json else _print(f"{store}: {found}")
        return
    for path, endings in ((report, PAGES), (figure, FIGURES), (table, CURVES)):
        if path is not None:
            check_output(path, endings)
    begin = time.monotonic()
    with _progress(f"sweep {Path(spec).stem}", "points") as progress:
        result = run(
            spec,
            store,
            scheduler=scheduler,
            threads=threads,
            backend=backend.value,
            overrides=dict(parse_setting(text) for text in set_ or ()),
            yes=yes,
            progress=progress,
        )
    seconds = time.monotonic() - begin
    if not as_json:
        _print(summary(result, seconds))
    for path in (figure, table):
        if path is not None:
            save_result(result, path)
    if report is not None:
        result.save_html(report)
    # what was asked for comes first: a store without room for its picture does not stand in the way
    written = [path for path in (_drawn(result), figure, table, report) if path is not None]
    if as_json:
        facts = {"points": result.plan.points, "counts": result.counts(), "files": [str(path) for path in written]}
        _print_json({"store": str(store), **facts})
    else:
        for path in written:
            _print(f"written: {path}")


@app.command(epilog="Example: sgdlimit catalogue adversarial-huber > mine.toml")
@_command
def catalogue(
    name: Annotated[
        str | None, typer.Argument(help="Print the spec file of this model, to start your own from.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """List the models that come with sgdlimit."""
    from sgdlimit.runtime.spec import catalogue as entries
    from sgdlimit.runtime.spec import catalogue_text

    if name is not None:
        text = catalogue_text(name)
        _print_json({"name": name, "spec": text}) if as_json else _print(text.rstrip("\n"))
        return
    listed = entries()
    if as_json:
        _print_json([{"name": key, "description": description} for key, description in listed.items()])
        return
    width = max(map(len, listed))
    _print("\n".join(f"{key:<{width}}  {description}" for key, description in listed.items()))


# ── Input ───────────────────────────────────────────────────────────────────────────────────────────────────


def _load(
    source: str,
    settings: Sequence[str] | None,
    *,
    gamma: float | None = None,
    horizon: float | None = None,
    rtol: float | None = None,
) -> Spec:
    from sgdlimit.runtime.spec import load_spec

    overrides = dict(parse_setting(text) for text in settings or ())
    options = {"schedule.gamma": gamma, "run.horizon": horizon, "run.rtol": rtol}
    overrides |= {key: value for key, value in options.items() if value is not None}
    return load_spec(source, overrides)


def parse_setting(text: str) -> tuple[str, Any]:
    """Dotted key and value of ``--set KEY=VALUE``; a key without a dot is a parameter, a value is written as in TOML.

    Examples
    --------
    >>> parse_setting("epsilon=0.2"), parse_setting("instance.labels=[-1, 1]")
    (('parameters.epsilon', 0.2), ('instance.labels', [-1, 1]))
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals and value):
        raise SpecError(f"--set {text!r}", "it is not KEY=VALUE", "write epsilon=0.2 or instance.dimension=200")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        parsed = {}
    if list(parsed) != ["value"]:
        raise SpecError(
            f"--set {text!r}", f"{value!r} is not a TOML value", "write a number, a list, or text in quotes"
        )
    return (key if "." in key else f"parameters.{key}"), parsed["value"]


def _files(out: Path | None, figure: Path | None, spec: Spec) -> list[Path]:
    """The files that were asked for, refused before the work if they cannot be written."""
    from sgdlimit.runtime.output import CURVES, FIGURES, check_output
    from sgdlimit.runtime.tables import check_names

    if out is not None:
        check_output(out, (*CURVES, *FIGURES))
        check_names(spec.statistics, ("run", "time"))
    if figure is not None:
        check_output(figure, FIGURES)
    elif out is not None and out.suffix in CURVES:
        beside = out.with_suffix(".svg")
        if beside.exists():
            _note(f"{beside} is there already and stays; --figure {beside} draws it anew")
        else:
            figure = beside
    return list(dict.fromkeys(path for path in (out, figure) if path is not None))


def _limit_of(ensemble: Ensemble, spec: Spec, backend: str) -> Trajectory | None:
    """The limit, for a picture of its simulation; where there is none, that is said and the runs are drawn alone."""
    from sgdlimit.runtime.solver import solve

    asked = {**spec.arguments, "instance": ensemble.instance, "times": None, "horizon": float(ensemble.times[-1])}
    try:
        return solve(**asked, rtol=spec.rtol, backend=backend)
    except SgdlimitError as error:
        _note(f"the picture is without the limit: {error}")
        return None


def _drawn(result: Sweep) -> Path | None:
    """The picture of a sweep in its store; that there is nothing to draw, or a store to be read only, is said.

    Raises
    ------
    InputError
        When it cannot be written for want of room.
    """
    from sgdlimit.runtime.output import FIGURES, check_output, save_figure
    from sgdlimit.runtime.sweep_store import FIGURE

    path = result.store.folder / FIGURE
    try:
        check_output(path, FIGURES)
        drawn = result.plot()
    except InputError as error:
        _note(f"there is no picture: {error}")
        return None
    save_figure(drawn, path)
    return path


# ── Output ──────────────────────────────────────────────────────────────────────────────────────────────────

_ROWS = 11


@contextmanager
def _progress(label: str, unit: str = "") -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error if that is a terminal; with the rate, of what ``unit`` names."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    columns += [TextColumn("{task.fields[rate]}")] * bool(unit)
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, rate="")

        def show(done: int, total: int) -> None:
            if bar.tasks[0].total is None:  # what was there before is not this run's speed
                bar.reset(task, total=total, completed=done)
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:,.0f} {unit}/s" if speed else "")

        yield show


def _print(text: str, nl: bool = True) -> None:
    """What was asked for, on standard output.

    Raises
    ------
    _Unprinted
        When it cannot be written.
    """
    try:
        typer.echo(text, nl=nl)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _Unprinted(error) from None


def _say(text: str) -> None:
    """What there is to say, on standard error; where that cannot be written, the exit code has to do."""
    with suppress(OSError):
        typer.echo(text, err=True)


def _note(text: str) -> None:
    _say(f"note: {text}")


def _print_json(value: Any) -> None:
    _print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def _heading(spec: Spec, backend: str, dimension: float | None = None) -> str:
    d = spec.instance.dimension if dimension is None else dimension
    values = ", ".join(f"{name} = {value}" for name, value in spec.parameters.items())
    return f"{spec.name}: {spec.schedule}, {values or 'no parameters'}, d = {d}, {backend}"


def _curve_table(columns: Mapping[str, Any], errors: Mapping[str, Any] | None = None) -> str:
    """Some rows of the curves, evenly spaced, the first and the last among them."""
    count = len(columns["t"])
    picked = sorted({round(k * (count - 1) / (_ROWS - 1)) for k in range(_ROWS)})

    def cell(name: str, row: int) -> str:
        text = f"{columns[name][row]:.5g}"
        return f"{text} ± {errors[name][row]:.1g}" if errors and name in errors else text

    cells = [[name, *(cell(name, row) for row in picked)] for name in columns]
    widths = [max(map(len, column)) for column in cells]
    lines = zip(*([c.rjust(w) for c in column] for column, w in zip(cells, widths, strict=True)), strict=True)
    return "\n".join("  ".join(line) for line in lines)


def _point(point: Optimum) -> dict[str, Any]:
    """An optimum for programs."""
    facts: dict[str, Any] = {name: getattr(point, name) for name in ("kind", "adversarial_risk", "objective")}
    facts["norm"] = float((point.x**2).sum() ** 0.5)
    names = ("effective_ridge", "collapsed", "critical_epsilon", "residual", "x")
    return facts | {name: getattr(point, name) for name in names}


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    from sgdlimit.runtime.output import plain

    return plain(value)


def _findings(spec: Spec, found: Verification) -> dict[str, Any]:
    """A verification for programs."""
    from sgdlimit.runtime.output import about, plain

    def told(judgement: Judgement) -> dict[str, Any]:
        c = judgement.comparison
        facts = {"part": c.part, "name": c.name, "place": c.place, "equations": c.expected, "observed": c.measured}
        facts |= {"half_width": judgement.half_width, "resolution": judgement.resolution}
        return facts | {"differs": judgement.excludes_zero, "resolved": judgement.resolved}

    return {
        "name": spec.name,
        "verdict": found.verdict,
        **about(found.trajectory),
        "seed": found.evidence.seed,
        "dynamics": found.evidence.dynamics,
        "level": found.level,
        "dimensions": list(found.evidence.dimensions),
        "runs": list(found.evidence.runs),
        "comparisons": plain([told(judgement) for judgement in found.judgements]),
    }


def main() -> None:
    """Run the command line."""
    try:
        app()
    except OSError as error:  # of a help, which no command prints
        _say(f"error: {_Unprinted(error)}")
        sys.exit(INTERNAL)


if __name__ == "__main__":
    main()
