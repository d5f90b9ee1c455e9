"""The command ``rectifier``."""

import errno
import functools
import importlib.util
import inspect
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from .extras import PACKAGES, lacking

if TYPE_CHECKING:
    import typer

    from .apply import Outcome
    from .bench.report import Change
    from .bench.runner import Run
    from .demo import Demo
    from .machine import Machine
    from .tune import Tuning
    from .verify import Stage

COMMANDS = ("apply", "bench", "demo", "verify")  # that have an extra of their name


def main() -> None:
    """Run the command line, if what it needs is installed; a command looks itself for what else it needs."""
    extra = next((name for name in sys.argv[1:2] if name in COMMANDS), "cli")
    _require("rectifier", lacking("the command line", extra, PACKAGES["cli"]))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a parent wants it ignored
        signal.signal(signal.SIGINT, _stop)
    _app()()


def _require(command: str, lacks: str) -> None:
    """End with 2 if a command lacks packages."""
    if lacks:
        _say(f"{command}: {lacks}")
        raise SystemExit(2)


def _stop(*_: object) -> None:
    """Leave at once, not by an exception: where Ctrl-C strikes in a callback of the compiler, Python drops that."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # a progress bar hides the cursor
    os._exit(130)


def _app() -> "typer.Typer":
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    as_json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout, and nothing else.")]

    @app.callback(invoke_without_command=True)
    def rectifier(
        context: typer.Context,
        version: Annotated[bool, typer.Option("--version", help="Write the version, and stop.")] = False,
    ) -> None:
        """ReLU and its family for arrays: see it at work, and on what it runs."""
        if version:
            from .. import __version__

            print(f"rectifier {__version__}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            print(context.get_help())

    @app.command()
    def demo(
        output: Annotated[Path, typer.Option(help="Directory for the pictures.")] = Path("rectifier-demo"),
        json: as_json = False,
        quick: Annotated[bool, typer.Option(hidden=True, help="Do next to nothing, to see that it runs.")] = False,
    ) -> None:
        """Train a network on handwritten digits, then time ReLU against the recipe in NumPy and Numba."""
        _demo(output, json, quick)

    @app.command()
    def bench(
        functions: Annotated[list[str] | None, typer.Argument(help="Names of the catalogue; relu if none.")] = None,
        dtype: Annotated[str, typer.Option(help="float16, bfloat16, float32 or float64.")] = "float32",
        rival: Annotated[list[str] | None, typer.Option(help="Against this rival only; may be repeated.")] = None,
        quick: Annotated[bool, typer.Option("--quick", help="Be done in two minutes: three sizes.")] = False,
        threads: Annotated[int | None, typer.Option(min=1, help="Of ours and of each rival; all if none.")] = None,
        output: Annotated[Path, typer.Option(help="Directory for results.")] = Path("rectifier-bench"),
        kept: Annotated[Path | None, typer.Option("--from", help="Report a kept run.json; measure nothing.")] = None,
        readme: Annotated[Path | None, typer.Option(help="Write the table between the markers of this page.")] = None,
        compare: Annotated[
            tuple[Path, Path] | None,
            typer.Option(
                help="Say what changed beyond noise between two run.json; 1 if ours is slower on this machine."
            ),
        ] = None,
        json: as_json = False,
    ) -> None:
        """Measure value, derivative and backward against everybody else who is installed."""
        _bench(functions or ["relu"], dtype, rival or [], quick, threads, output, kept, readme, compare, json)

    @app.command()
    def verify(
        functions: Annotated[list[str] | None, typer.Argument(help="Names of the catalogue; all if none.")] = None,
        exhaustive: Annotated[bool, typer.Option("--exhaustive", help="All 2^32 float32: minutes each.")] = False,
        dtype: Annotated[list[str] | None, typer.Option(help="In this one only; may be repeated.")] = None,
        processes: Annotated[int | None, typer.Option(min=1, help="To share the work; all if none.")] = None,
        output: Annotated[Path, typer.Option(help="Directory for verify.json.")] = Path("rectifier-verify"),
        resume: Annotated[bool, typer.Option("--resume", help="Keep what verify.json says of the same code.")] = False,
        kept: Annotated[Path | None, typer.Option("--from", help="Report a kept verify.json; check nothing.")] = None,
        readme: Annotated[Path | None, typer.Option(help="Write tables between the markers of this page.")] = None,
        json: as_json = False,
    ) -> None:
        """Check value, derivative and backward against the truth; 1 if a bound is broken."""
        _verify(functions or [], exhaustive, dtype or [], processes, output, resume, kept, readme, json)

    @app.command()
    @_with_parameters
    def apply(
        function: Annotated[str, typer.Argument(help="Name of the catalogue, such as relu.")],
        source: Annotated[Path, typer.Argument(metavar="INPUT", help="The array x: .npy, .npz, .h5, .hdf5 or .zarr.")],
        target: Annotated[Path | None, typer.Argument(metavar="OUTPUT", help="Its suffix says the format.")] = None,
        derivative: Annotated[bool, typer.Option("--derivative", help="The derivative instead of the value.")] = False,
        backward: Annotated[Path | None, typer.Option(metavar="UPSTREAM", help="The array dy, for dx.")] = None,
        gate: Annotated[Path | None, typer.Option(help="The second array of glu and its like.")] = None,
        axis: Annotated[int, typer.Option(help="Of softmax and its like.")] = -1,
        dataset: Annotated[str | None, typer.Option(help="Which array of a file that has several.")] = None,
        chunks: Annotated[
            str | None, typer.Option(help="Of the output, such as 1000,64; else as in the input.")
        ] = None,
        memory: Annotated[str, typer.Option(help="What may be resident, such as 256MiB.")] = "256MiB",
        in_place: Annotated[
            bool, typer.Option("--in-place", help="Change INPUT; a crash leaves it half done.")
        ] = False,
        force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
        stats: Annotated[bool, typer.Option("--stats", help="Count the active units in the same pass.")] = False,
        columns: Annotated[bool, typer.Option("--columns", help="The same for each column, the last axis.")] = False,
        scheduler: Annotated[str | None, typer.Option(help="Address of a Dask cluster; takes Zarr.")] = None,
        dtype: Annotated[
            str | None, typer.Option(help="Of .npy and .npz elements stored as void: np.save writes bfloat16 so.")
        ] = None,
        raw: Annotated[
            bool, typer.Option("--raw", help="Take packed numbers, and those that mean missing, as they are.")
        ] = False,
        json: as_json = False,
        **parameters: float | None,
    ) -> None:
        """Apply a function to an array in a file; 2 if that cannot be: no output is left; 1 if stdout fails."""
        given = {name: value for name, value in parameters.items() if value is not None}
        _apply(
            function, source, target, in_place, chunks, memory, json,
            derivative=derivative, upstream=backward, gate=gate, axis=axis, dataset=dataset, force=force,
            stats=stats or columns, columns=columns, scheduler=scheduler, dtype=dtype, raw=raw,
            parameters=given,
        )  # fmt: skip

    @app.command()
    def info(json: as_json = False) -> None:
        """Say what decides the speed here: versions, processor, caches, threads, engine."""
        _info(json)

    @app.command()
    def tune(json: as_json = False) -> None:
        """Measure this machine for a minute, and keep in the store what large calls begin with; info shows it."""
        _tune(json)

    return app


def _with_parameters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each parameter of the catalogue's functions."""
    import typer

    from ..catalogue import CATALOGUE

    takers: dict[str, list[str]] = {}
    for name, function in CATALOGUE.items():
        for parameter in function.__kwdefaults__ or {}:
            takers.setdefault(parameter, []).append(name)
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    for parameter, names in takers.items():
        option = typer.Option(help=f"Of {', '.join(names)}.", show_default=False)
        annotation = Annotated[float | None, option]
        own.append(inspect.Parameter(parameter, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))

    @functools.wraps(command)
    def with_parameters(**given: Any) -> None:
        command(**given)

    with_parameters.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    with_parameters.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
    return with_parameters


def _apply(
    function: str,
    source: Path,
    target: Path | None,
    in_place: bool,
    chunks: str | None,
    memory: str,
    as_json: bool,
    **what: Any,
) -> None:
    from ..catalogue import ALL
    from ..engine.limits import bytes_of
    from . import apply

    try:
        _require_known("function", [function], ALL)
        if (target is None) != in_place:
            raise ValueError(
                "--in-place changes INPUT, and takes no OUTPUT" if in_place else "name an OUTPUT, or say --in-place"
            )
        job = apply.Job(
            function,
            source,
            target,
            memory=bytes_of("--memory", memory),
            chunks=None if chunks is None else tuple(map(_whole_number, chunks.split(","))),
            **what,
        )
        begun = False
        with _rates(transient=True) if sys.stderr and sys.stderr.isatty() else nullcontext(_silent) as start:

            def begin(stage: str, nbytes: int) -> Callable[[int], object]:
                nonlocal begun
                begun = True
                if in_place:
                    what = "changed in place; if this is interrupted, a part of it is done and nothing tells which"
                    _say(f"{source}: {what}")
                return start(stage, nbytes)

            def left(watch: apply.Watch) -> str:
                if in_place:
                    return f"{source} is changed in part" if begun else f"{source} is unchanged"
                return f"{target} is whole" if watch.whole else "no output was left"

            outcome = apply.watched(lambda watch: apply.run(job, begin, watch), job.memory, "rectifier apply", left)
    except apply.StoppedError as error:
        state = f"{source} is {'changed in part' if begun else 'unchanged'}" if in_place else "no output was left"
        _say(f"rectifier apply: stopped by {error}; {state}")
        raise SystemExit(128 + error.number) from None
    except MemoryError:
        _refuse(
            "apply",
            ValueError(f"{source}: the system has no more memory; less of --memory makes smaller pieces"),
            source,
        )
    except (OSError, ValueError) as error:
        _refuse("apply", error, target or source)
    for note in outcome.notes:
        _say(f"rectifier apply: {source}: {note}")
    _show(outcome, _render_apply, as_json, f"; {outcome.output} is whole")


def _silent(stage: str, nbytes: int) -> Callable[[int], object]:
    """Start no bar."""
    return lambda done: None


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--chunks takes whole numbers with commas between, and not {text!r}") from None


def _render_apply(outcome: "Outcome") -> list[Any]:
    rate = (outcome.bytes_read + outcome.bytes_written) / max(outcome.seconds, 1e-9) / 1e9
    lines = [
        f"{outcome.output}: {' x '.join(map(str, outcome.shape)) or 'one number'} of {outcome.dtype} "
        f"in {outcome.seconds:.3g} s, {rate:.3g} GB/s read and written"
    ]
    if outcome.active_fraction is not None:
        lines.append(f"Active: {outcome.active_fraction:.4%} ({outcome.active:,})")
    if outcome.active_fraction_by_column is not None:
        fractions = outcome.active_fraction_by_column
        dead = sum(fraction == 0 for fraction in fractions)
        lines.append(f"By column: {dead} of {len(fractions)} never active")
        lines += [f"{column}\t{fraction:.4%}" for column, fraction in enumerate(fractions)]
    return lines


def _demo(output: Path, as_json: bool, quick: bool) -> None:
    from . import demo

    _require("rectifier demo", lacking("it", "demo"))
    size: dict[str, Any] = {"epochs": 1, "shapes": ((4, 4),), "seconds_per_row": 0.0} if quick else {}
    try:
        _require_writable(output)
        with _progress() as start:
            result = demo.run(output, start=start, **size)
    except OSError as error:
        _refuse("demo", error, output)
    _show(result, _render_demo, as_json)


def _refuse(command: str, error: OSError | ValueError, path: Path) -> NoReturn:
    """Say in one line what is wrong, and end with 2; the system's errors name their file, or it is `path`."""
    what: object = error
    if isinstance(error, OSError):
        what = f"{error.filename or path}: {error.strerror or error}"
    _say(f"rectifier {command}: {what}")
    raise SystemExit(2) from None


def _say(line: str) -> None:
    """Write a line to stderr, if that takes it."""
    with suppress(OSError):
        print(line, file=sys.stderr)


def _require_writable(output: Path) -> None:
    """Make a directory, and see that it takes files."""
    if output.is_file():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(output))
    output.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=output).close()


@contextmanager
def _progress() -> Iterator[Callable[[str, int], Callable[[], object]]]:
    """Give a function that starts a bar on stderr: of a stage, with so many steps."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        yield lambda stage, steps: partial(progress.advance, progress.add_task(stage, total=steps))


def _bench(
    functions: list[str],
    dtype: str,
    names: list[str],
    quick: bool,
    threads: int | None,
    output: Path,
    kept: Path | None,
    readme: Path | None,
    compare: tuple[Path, Path] | None,
    as_json: bool,
) -> None:
    from ..catalogue import CATALOGUE
    from .bench import report, runner
    from .bench.rivals import RIVALS

    try:
        if compare:
            old, new = map(runner.load, compare)
            changes = report.compare(old, new)
            if not changes:
                raise ValueError(
                    f"the two files have no point in common with {report.FEWEST_PAIRS} rivals in one version"
                )
            render = partial(_render_changes, old, new, len(changes))
            _show([change for change in changes if change.significant], render, as_json)
            slower = any(change.significant and change.factor > 1 for change in changes)
            raise SystemExit(slower and report.comparable(old, new))
        _require("rectifier bench", lacking("to draw its pictures it", "bench"))
        _require_known("function", functions, CATALOGUE)
        _require_known("dtype", [dtype], runner.DTYPES)
        _require_known("rival", names, [rival.name for rival in RIVALS])
        if dtype == "bfloat16" and importlib.util.find_spec("ml_dtypes") is None:
            raise ValueError("bfloat16 needs ml_dtypes: pip install ml_dtypes")
        if readme:
            report.put_section(readme.read_text(encoding="utf-8"), "")
        _require_writable(output)
        if kept:
            result = runner.load(kept)
        else:
            rivals = [rival for rival in RIVALS if not names or rival.name in names]
            keep = partial(runner.save, path=output / "run.json")
            with _progress() as start:
                result = runner.run(
                    runner.plan(functions, dtype, quick), rivals, quick, threads, start=start, keep=keep
                )
        if not result.measurements:
            raise ValueError(" / ".join(("nothing was measured", *result.skipped)))
        written = report.write_all(result, output, readme)
    except (OSError, ValueError) as error:
        _refuse("bench", error, output)
    _show(result, partial(_render_bench, written), as_json)


def _require_known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that is not among the known ones."""
    known = list(known)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no {what} {', '.join(unknown)}: there are {', '.join(known)}")


def _verify(
    functions: list[str],
    exhaustive: bool,
    dtypes: list[str],
    processes: int | None,
    output: Path,
    resume: bool,
    kept: Path | None,
    readme: Path | None,
    as_json: bool,
) -> None:
    _require("rectifier verify", lacking("it", "verify"))
    from ..catalogue import ALL
    from . import verify
    from .bench.report import put_section
    from .bench.runner import write
    from .verify import report

    try:
        _require_known("function", functions, ALL)
        _require_known("dtype", dtypes, verify.DTYPES)
        if readme:
            put_section(readme.read_text(encoding="utf-8"), "", report.BEGIN, report.END)
        if kept:
            stages = report.load(kept)
        else:
            _require_writable(output)
            path = output / "verify.json"
            with _rates() as start:
                stages = verify.verify(
                    [ALL[name] for name in functions or ALL],
                    dtypes or verify.DTYPES,
                    exhaustive=exhaustive,
                    processes=processes,
                    kept=report.load(path) if resume and path.exists() else (),
                    start=start,
                    keep=partial(report.save, path=path),
                )
            report.save(stages, path)
        if readme:
            page = readme.read_text(encoding="utf-8")
            page = put_section(page, report.markdown(stages), report.BEGIN, report.END)
            write(readme, page.encode())
    except (OSError, ValueError) as error:
        _refuse("verify", error, output)
    if as_json:
        print(json.dumps([report.plain(stage) for stage in stages], indent=2))
    else:
        _show(stages, _render_verify, as_json=False)
    raise SystemExit(not all(stage.holds for stage in stages))


@contextmanager
def _rates(transient: bool = False) -> Iterator[Callable[[str, int], Callable[[int], object]]]:
    """Give a function that starts a bar on stderr, of so many inputs, with their rate and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{float(f'{speed:.3g}'):,.0f}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        Rate(),
        TimeRemainingColumn(True, True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=transient) as progress:

        def start(stage: str, inputs: int) -> Callable[[int], object]:
            return partial(progress.advance, progress.add_task(stage, total=inputs))

        yield start


def _render_verify(stages: "list[Stage]") -> list[Any]:
    from .verify import OURS, report

    colors = ["" if row.holds else "red" for stage in stages for row in stage.rows if row.source == OURS]
    peers = report.peer_table(stages)
    return [
        _grid("Errors in units in the last place", report.HEADER, report.table(stages), colors),
        *([_grid("Beside others: worst (correctly rounded)", report.PEER_HEADER, peers)] if peers else []),
        *report.notes(stages),
        *(f"Broken: {line}" for line in report.broken(stages)),
        f"{sum(stage.seconds for stage in stages):.0f} s in all.",
    ]


def _info(as_json: bool) -> None:
    from .machine import describe

    try:
        machine = describe()
    except ValueError as error:  # an environment variable with a value that it does not take
        _say(f"rectifier info: {error}")
        raise SystemExit(2) from None
    _show(machine, _render_info, as_json)


def _tune(as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from .tune import tune

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring", total=1.0)
        try:
            found = tune(lambda done: bar.update(task, completed=done))
        except (RuntimeError, ValueError) as error:
            _say(f"rectifier tune: {str(error).removeprefix('tune: ')}")
            raise SystemExit(2) from None
    _show(found, _render_tune, as_json)


def _show(result: Any, render: Callable[[Any], list[Any]], as_json: bool, done: str = "") -> None:
    """Write a result to stdout; if that cannot be, say so, and what is done all the same, and end with 1."""
    from rich.console import Console

    try:
        if as_json:
            print(json.dumps([*map(asdict, result)] if isinstance(result, list) else asdict(result), indent=2))
        else:
            console = Console(highlight=False, markup=False, emoji=False)  # a path or a processor's name is no markup
            for part in render(result):
                console.print(part, soft_wrap=isinstance(part, str))
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # what is still in its buffer would fail again at the end of the process
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _say(f"rectifier: standard output: {error.strerror or error}{done}")
        raise SystemExit(1) from None


def _render_demo(result: "Demo") -> list[Any]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from .demo import HEADER, notes, ours_is_slower, rows

    training = result.training
    table = Table(
        title="ReLU: the recipe's time against ours", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column, name in enumerate(HEADER):
        table.add_column(name, justify="right" if column else "left", no_wrap=True)
    body = rows(result.timings)
    colors = {None: "", True: "red", False: "green"}
    for row, below in zip(body, [*body[1:], None], strict=True):
        cells = (Text(cell, colors[ours_is_slower(cell)]) for cell in row)
        table.add_row(*cells, end_section=below is None or below[0] != row[0])
    return [
        f"Trained {' - '.join(map(str, training.widths))} units on {training.training_samples:,} handwritten digits, "
        f"{training.epochs} epochs.",
        f"Test accuracy: {training.test_accuracy:.1%} of {training.test_samples} digits not trained on.",
        f"Kept for the backward pass of each step: masks of {training.mask_bytes_per_step:,} bytes; "
        f"keeping x would take {training.x_bytes_per_step:,}.",
        f"Dead units (off for every training sample): {training.dead_units} of {training.hidden_units}.",
        "",
        table,
        *notes(result.timings, result.machine),
        "",
        "Pictures:",
        *(f"  {path}" for path in result.pictures),
        f"{result.seconds:.0f} s in all.",
    ]


def _render_bench(written: list[Path], result: "Run") -> list[Any]:
    from .bench import report

    colors = [report.COLORS[result.verdict(point)] for point in result.by_point]
    parts: list[Any] = [_grid("Ours against the fastest rival", report.HEADER, report.rows(result), colors)]
    if slower := report.rows(result, ("rival",)):
        parts.append(_grid("Slower here", report.HEADER, slower))
    parts.append(_grid("Rival by rival", report.SUMMARY_HEADER, report.summary(result)))
    if result.first_use:
        parts.append(_grid("First use", report.FIRST_HEADER, report.first_rows(result)))
    return [
        *parts,
        *report.notes(result),
        *(f"Not measured: {line}" for line in result.skipped),
        "",
        *map(str, written),
        f"{result.seconds:.0f} s in all.",
    ]


def _render_changes(old: "Run", new: "Run", compared: int, changes: list["Change"]) -> list[Any]:
    from .bench import report, runner

    body = [
        (
            runner.describe_point(c.point),
            f"{c.factor:.2f}x {'slower' if c.factor > 1 else 'faster'}",
            str(c.pairs),
            f"{c.p:.1g}",
        )
        for c in changes
    ]
    colors = ["red" if c.factor > 1 else "green" for c in changes]
    verdict = f"{len(changes) or 'No'} change{'' if len(changes) == 1 else 's'} beyond noise at {compared} points."
    if not report.comparable(old, new):
        verdict += " Made on different machines or settings: none of them need be the code's."
    table = [_grid("Ours, old to new", ("point", "time", "rivals", "p"), body, colors)] if changes else []
    return [*table, verdict, *report.differences(old, new)]


def _grid(title: str, header: Any, body: Any, colors: Any = None) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column, name in enumerate(header):
        table.add_column(name, justify="right" if column else "left", no_wrap=True)
    for row, color in zip(body, colors or [""] * len(body), strict=True):
        table.add_row(*(Text(cell, color) for cell in row))
    return table


def _render_tune(found: "Tuning") -> list[Any]:
    from rich.table import Table

    table = Table("threads", "result", "operation", "through us", "past us", "ratio", box=None, pad_edge=False)
    for point in found.points:
        times = (f"{1e6 * point.through:,.0f}", f"{1e6 * point.past:,.0f}", f"{point.ratio:.2f}")
        table.add_row(str(point.threads), _binary(point.nbytes), point.operation, *times)
    largest = max(point.nbytes for point in found.points)
    starts = ", ".join(
        f"{_binary(size) if size <= largest else 'beyond ' + _binary(largest)} with {threads}"
        for threads, size in found.stream_from.items()
    )
    together = [f"All threads do {found.gain:.2f} times what one does."] if found.gain else []
    return [
        table,
        "",
        f"Past the caches from: {starts} threads; calls go on learning from there.",
        f"Inputs are fetched {found.fetch_lines} lines ahead.",
        *together,
        f"Not kept, and so lost: {found.not_kept}." if found.not_kept else "Kept in the store.",
        f"{found.seconds:.0f} s in all.",
    ]


def _render_info(machine: "Machine") -> list[Any]:
    from rich.table import Table

    threads, settings = machine.threads, machine.settings
    quota = "none" if threads.quota_processors is None else f"{threads.quota_processors:g}"
    facts = {
        "versions": ", ".join(f"{name} {version or 'not installed'}" for name, version in machine.versions.items()),
        "system": machine.system,
        "processor": f"{machine.processor} ({machine.microarchitecture})",
        "SIMD": machine.simd,
        "caches": ", ".join(f"{name} {_binary(size)}" for name, size in machine.cache_bytes.items()),
        "memory": machine.memory_bytes and _binary(machine.memory_bytes),
        "transparent huge pages": machine.transparent_huge_pages,
        "processors": f"{threads.allowed}, the smallest of: logical {threads.logical_processors}, "
        f"affinity {threads.affinity_processors or 'unknown'}, quota {quota}",
        "threads": _setting(settings["threads"], "a large call uses up to {}") + _gain(machine),
        "spin": _setting(settings["spin_microseconds"], "a helper waits up to {:.3g} us before it sleeps"),
        "past the caches": _streaming(machine),
        "pool": _setting(settings["pool_bytes"], "up to {} held for outputs", _binary),
        "store": _setting(settings["store"], "{}"),
        "engine": f"{machine.engine} ({machine.engine_reason})",
        "GPU": f"{', '.join(machine.gpu.devices) or 'none'} ({machine.gpu.reason})",
    }
    table = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        table.add_row(name, fact or "unknown")
    return [table]


def _gain(machine: "Machine") -> str:
    gain = machine.calibration and machine.calibration.gain
    return f"; together they do {gain:.2f} times what one does" if gain else ""


def _streaming(machine: "Machine") -> str | None:
    calibration = machine.calibration
    if calibration is None:
        return "nothing: no compiled engine"
    text = f"results from {_binary(calibration.stream_from_bytes)} ({calibration.reason}"
    if calibration.stream_from_bytes == 0:
        text = f"all large results ({calibration.reason}"
    elif calibration.stream_from_bytes >= sys.maxsize // 2:
        text = f"nothing ({calibration.reason}"
    least, most = calibration.learned_from_bytes, calibration.learned_to_bytes
    learned = f"; learned from the calls between {_binary(least)} and {_binary(most)}" if least < most else ""
    return f"{text}{learned}; inputs are fetched {calibration.fetch_lines} lines ahead)"


def _setting(setting: dict[str, Any], text: str, write: Callable[[Any], Any] = lambda value: value) -> str:
    return f"{text.format(write(setting['value']))} ({setting['reason']})"


def _binary(size: int) -> str:
    """Write a number of bytes in the largest unit that leaves at least 1."""
    if not size:
        return "nothing"
    units = {2**30: "GiB", 2**20: "MiB", 2**10: "KiB", 1: "bytes"}
    unit = next(unit for unit in units if size >= unit)
    return f"{size / unit:.3g} {units[unit]}"
