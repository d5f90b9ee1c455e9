"""The command line of ``python -m rectifier.tools.gpu_day``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..progress import bars
from .options import AsJson
from .terminal import refuse, require_writable, say, show, table

if TYPE_CHECKING:
    from ..gpu_day.day import Day


def gpu_day(
    minutes: Annotated[float, typer.Option(min=0.1, help="For all of it; what they do not suffice for is said.")] = 10,
    output: Annotated[Path, typer.Option(help="The file for what is found.")] = Path("gpu-day.json"),
    kept: Annotated[Path | None, typer.Option("--from", help="Report a kept gpu-day.json; run nothing.")] = None,
    readme: Annotated[Path | None, typer.Option(help="Write tables between the markers of this page.")] = None,
    json: AsJson = False,
) -> None:
    """Run the tests, check values and measure on the GPU that is at hand; 1 if something is wrong, 2 without one."""
    from ..documents import put_section, read_page, write
    from ..gpu_day import day, device, report

    try:
        if readme:
            put_section(read_page(readme), "", report.BEGIN, report.END)
            require_writable(readme.parent)
        if kept:
            found = day.load(kept, lambda kept: (report.markdown(kept), _render(kept)))
        else:
            if output.is_dir():
                raise ValueError(f"{output} is a directory: name a file, such as {output / 'gpu-day.json'}")
            here = device.describe()
            require_writable(output.parent)
            say(str(here))
            with bars() as start:
                found = day.run(here, minutes, start, keep=partial(day.save, path=output))
        if readme:
            page = read_page(readme)
            write(readme, put_section(page, report.markdown(found), report.BEGIN, report.END).encode())
    except (OSError, ValueError, device.NoDeviceError) as error:
        refuse("gpu_day", error, output)
    show(found, _render, json, plain=day.plain)
    raise SystemExit(not found.holds)


def _render(day: "Day") -> list[Any]:
    from ..gpu_day import report

    parts: list[Any] = [*report.notes(day), ""]
    if day.bench and day.bench.measurements:
        header, rows = report.speed_header(day.bench), report.speed_rows(day.bench)
        parts.append(table("Rivals' times divided by ours", header, rows))
    if day.host and day.host.costs:
        parts.append(table("What a call takes the host", report.COST_HEADER, report.cost_rows(day.host)))
    return [
        *parts,
        *(f"Not done: {line}" for line in report.left_out(day)),
        f"{sum(day.seconds.values()):.0f} s in all.",
    ]
