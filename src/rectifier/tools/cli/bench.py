"""The command ``rectifier bench``."""

import importlib.util
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..extras import lacking
from ..progress import bars
from .options import AsJson
from .terminal import refuse, require, require_known, require_writable, show, table

if TYPE_CHECKING:
    from ..bench.comparison import Change
    from ..bench.history import Record
    from ..bench.results import Run


def bench(
    functions: Annotated[list[str] | None, typer.Argument(help="Names of the catalogue; relu if none.")] = None,
    dtype: Annotated[str, typer.Option(help="float16, bfloat16, float32 or float64.")] = "float32",
    distribution: Annotated[
        str, typer.Option(help="Of x: normal, normal2 or normal4 (by standard deviation), uniform, negative or sorted.")
    ] = "normal",
    rival: Annotated[list[str] | None, typer.Option(help="Against this rival only; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Be done in two minutes: three sizes.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Of ours and of each rival; all if none.")] = None,
    output: Annotated[Path, typer.Option(help="Directory for results.")] = Path("rectifier-bench"),
    kept: Annotated[Path | None, typer.Option("--from", help="Report a kept run.json; measure nothing.")] = None,
    readme: Annotated[Path | None, typer.Option(help="Write the table between the markers of this page.")] = None,
    history: Annotated[
        Path | None, typer.Option(help="Add the run to this file, and say what changed since the one before it.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Say what changed beyond noise between two run.json; 1 if ours is slower on this machine."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Measure value, derivative, backward and a step of training against everybody else who is installed."""
    try:
        if compare:
            require("rectifier bench", lacking("to compare runs it", "bench", ["scipy"]))
            _compare(*compare, json)
        require("rectifier bench", lacking("to draw its pictures it", "bench"))
        from ..bench import batches, pages, points, report, results, runner
        from ..bench.baselines import BASELINES
        from ..bench.history import load as load_history
        from ..documents import put_section, read_page

        require_known("function", functions or [], points.FUNCTIONS)
        require_known("dtype", [dtype], points.DTYPES)
        require_known("distribution", [distribution], batches.DISTRIBUTIONS)
        require_known("rival", rival or [], [baseline.name for baseline in BASELINES])
        if dtype == "bfloat16" and importlib.util.find_spec("ml_dtypes") is None:
            raise ValueError("bfloat16 needs ml_dtypes: pip install ml_dtypes")
        if readme:
            put_section(read_page(readme), "", report.BEGIN, report.END)
        if history:
            require_writable(history.parent)
        past = load_history(history) if history and history.exists() else []
        require_writable(output)
        if kept:
            result = results.load(kept)
        else:
            baselines = [baseline for baseline in BASELINES if not rival or baseline.name in rival]
            keep = partial(results.save, path=output / "run.json")
            with bars() as start:
                planned = points.plan(functions or ["relu"], dtype, quick, distribution)
                result = runner.run(planned, baselines, quick, threads, start=start, keep=keep)
        if not result.measurements:
            raise ValueError(" / ".join(("nothing was measured", *result.skipped)))
        written = pages.write_all(result, output, readme)
        since = _remember(result, past, history) if history else []
    except (OSError, ValueError) as error:
        refuse("bench", error, output)
    show(result, partial(_render, written, since), json, plain=results.plain)


def _compare(old_path: Path, new_path: Path, as_json: bool) -> None:
    """Show what changed between two runs, and end with 1 if ours is slower on the same machine."""
    from ..bench import comparison, results

    old, new = results.load(old_path), results.load(new_path)
    changes = comparison.compare(old, new)
    if not changes:
        raise ValueError(comparison.why_not(old, new))
    significant = [change for change in changes if change.significant]
    show(significant, partial(_render_changes, old, new, len(changes)), as_json)
    raise SystemExit(any(change.factor > 1 for change in significant) and comparison.comparable(old, new))


def _remember(result: "Run", past: "list[Record]", path: Path) -> list[Any]:
    """Add a run to the history, and return what there is to show of it."""
    from ..bench import comparison, history

    new = history.of_run(result)
    records = history.add(past, new)
    history.save(records, path)
    earlier = history.before(records, new)
    if earlier is None:
        return [f"{path}: the first run of its kind of machine."]
    changes = comparison.compare(earlier, new)
    rows = history.rows(changes)
    tables = [table(f"Since {earlier.name}", history.HEADER, rows)] if rows else []
    return [*tables, f"{path}: since {earlier.name}: {history.verdict(changes)}"]


def _render(written: list[Path], since: list[Any], result: "Run") -> list[Any]:
    from ..bench import report

    colors = [report.COLORS[result.verdict(point)] for point in result.by_point]
    parts: list[Any] = [table("Ours against the fastest rival", report.HEADER, report.rows(result), colors)]
    if slower := report.rows(result, ("baseline",)):
        parts.append(table("Slower here", report.HEADER, slower))
    parts.append(table("Rival by rival", report.SUMMARY_HEADER, report.summary(result)))
    if result.first_use:
        parts.append(table("First use", report.FIRST_HEADER, report.first_rows(result)))
    return [
        *parts,
        *report.notes(result),
        *(f"Not measured: {line}" for line in result.skipped),
        *since,
        "",
        *map(str, written),
        f"{result.seconds:.0f} s in all.",
    ]


def _render_changes(old: "Run", new: "Run", compared: int, changes: list["Change"]) -> list[Any]:
    from ..bench import comparison, history

    changes = history.largest_first(changes)
    rows = history.rows(changes)
    colors = ["red" if change.factor > 1 else "green" for change in changes]
    verdict = f"{len(changes) or 'No'} change{'' if len(changes) == 1 else 's'} beyond noise at {compared} points."
    if not comparison.comparable(old, new):
        verdict += " Made on different machines or settings: none of them need be the code's."
    tables = [table("Ours, old to new", history.HEADER, rows, colors)] if changes else []
    return [*tables, verdict, *comparison.differences(old, new)]
