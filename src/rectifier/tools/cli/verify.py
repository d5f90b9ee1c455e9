"""The command ``rectifier verify``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..extras import lacking
from ..progress import bars
from .options import AsJson
from .terminal import refuse, require, require_known, require_writable, show, table

if TYPE_CHECKING:
    from ..verify.results import Stage


def verify(
    functions: Annotated[list[str] | None, typer.Argument(help="Names of the catalogue; all if none.")] = None,
    exhaustive: Annotated[bool, typer.Option("--exhaustive", help="All 2^32 float32: minutes each.")] = False,
    dtype: Annotated[list[str] | None, typer.Option(help="In this one only; may be repeated.")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="To share the work; all if none.")] = None,
    output: Annotated[Path, typer.Option(help="Directory for verify.json.")] = Path("rectifier-verify"),
    resume: Annotated[bool, typer.Option("--resume", help="Keep what verify.json says of the same code.")] = False,
    kept: Annotated[Path | None, typer.Option("--from", help="Report a kept verify.json; check nothing.")] = None,
    readme: Annotated[Path | None, typer.Option(help="Write tables between the markers of this page.")] = None,
    json: AsJson = False,
) -> None:
    """Check value, derivative and backward against the truth; 1 if a bound is broken."""
    require("rectifier verify", lacking("it", "verify"))
    from ...catalogue import ALL
    from .. import verify
    from ..documents import put_section, read_page, write
    from ..verify import report

    try:
        require_known("function", functions or [], ALL)
        require_known("dtype", dtype or [], verify.DTYPES)
        if readme:
            put_section(read_page(readme), "", report.BEGIN, report.END)
        if kept:
            stages = report.load(kept)
        else:
            require_writable(output)
            path = output / "verify.json"
            with bars(rates=True) as start:
                stages = verify.verify(
                    [ALL[name] for name in functions or ALL],
                    dtype or verify.DTYPES,
                    exhaustive=exhaustive,
                    processes=processes,
                    kept=report.load(path) if resume and path.exists() else (),
                    start=start,
                    keep=partial(report.save, path=path),
                )
            report.save(stages, path)
        if readme:
            page = read_page(readme)
            page = put_section(page, report.markdown(stages), report.BEGIN, report.END)
            write(readme, page.encode())
    except (OSError, ValueError) as error:
        refuse("verify", error, output)
    show(stages, _render, json, plain=report.plain)
    raise SystemExit(not all(stage.holds for stage in stages))


def _render(stages: "list[Stage]") -> list[Any]:
    from ..verify import OURS, report

    colors = ["" if row.holds else "red" for stage in stages for row in stage.rows if row.source == OURS]
    references = report.reference_table(stages)
    return [
        table("Errors in units in the last place", report.HEADER, report.table(stages), colors),
        *(
            [table("Beside others: worst (correctly rounded)", report.REFERENCE_HEADER, references)]
            if references
            else []
        ),
        *report.notes(stages),
        *(f"Broken: {line}" for line in report.broken(stages)),
        f"{sum(stage.seconds for stage in stages):.0f} s in all.",
    ]
