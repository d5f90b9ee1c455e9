"""Tables and text of a day: on the terminal, and between the markers of a page."""

from __future__ import annotations

import math
from collections import Counter

from ..bench import report as timings
from ..bench.results import Run
from ..documents import markdown_table, three_digits
from ..verify import report as verification
from .day import Day
from .speed import Host
from .values import Values

BEGIN, END = "<!-- gpu-day -->", "<!-- /gpu-day -->"
NOTHING = "**The authors have had no GPU: none of this has run on one, and no GPU speed is claimed.**"
COST_HEADER = ("of 10 x 10 float32", "call", "ns")


def speed_header(run: Run) -> tuple[str, ...]:
    """Return the header over `speed_rows`."""
    return "call", "dtype", "shape", "ours µs", "copy", *(timings.TITLES[name] for name in run.baselines)


def speed_rows(run: Run) -> list[tuple[str, ...]]:
    """Write out each point: our time, its fraction of a copy's speed, and each rival's time divided by ours."""
    table = []
    for point, found in run.by_point.items():
        ratios = {measurement.baseline: timings.ratio_of(measurement) for measurement in found}
        fraction = timings.fraction_of_copy(found)
        table.append(
            (
                f"{point.function} {point.operation}",
                point.dtype,
                f"{point.rows} x {point.columns}",
                three_digits(timings.microseconds_of_ours(found)),
                "" if fraction is None else f"{fraction:.0%}",
                *(ratios.get(name, "") for name in run.baselines),
            )
        )
    return table


def page_table(run: Run) -> str:
    """Write a line for each call, the fastest rival at each shape, and what ours takes at the largest."""
    points = run.by_point
    shapes = sorted({(point.rows, point.columns) for point in points})
    header = ("call", "dtype", *(f"{rows} x {columns}" for rows, columns in shapes), "µs there", "copy")
    table = []
    for call in dict.fromkeys(point._replace(rows=0, columns=0) for point in points):
        line = [points.get(call._replace(rows=rows, columns=columns), ()) for rows, columns in shapes]
        largest, fraction = line[-1], timings.fraction_of_copy(line[-1])
        table.append(
            (
                f"{call.function} {call.operation}",
                call.dtype,
                *(timings.cell(found[0]) if found else "" for found in line),
                three_digits(timings.microseconds_of_ours(largest)) if largest else "",
                "" if fraction is None else f"{fraction:.0%}",
            )
        )
    return markdown_table(header, table, left=2)


def cost_rows(host: Host) -> list[tuple[str, ...]]:
    """Write out what calls cost the host, under `COST_HEADER`."""
    return [(cost.work, cost.call, three_digits(cost.nanoseconds)) for cost in host.costs]


def notes(day: Day) -> list[str]:
    """Return what was run on, and what came out, a line each."""
    lines = [f"{day.device}; rectifier {day.version}; {day.started}."]
    if day.suite:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in day.suite.counts.items())
        lines.append(f"Tests on the device: {counts or 'none'}, of {day.suite.selected}.")
        lines += [f"Failed: {name}" for name in day.suite.failed]
    if day.values:
        lines += _of_values(day.values)
    if day.host:
        rates = (f"{rate / 1e9:,.0f} GB/s by {name}" for name, rate in day.host.copy_bytes_per_second.items())
        lines.append(f"A copy of 256 MiB on the device reads and writes {' and '.join(rates)}.")
    lines += [f"{name} ended by an error: {error}" for name, error in day.errors.items()]
    return lines


def left_out(day: Day) -> list[str]:
    """Return what was not done, and why, a line each."""
    return [*day.left_out, *(day.bench.skipped if day.bench else ())]


def _of_values(found: Values) -> list[str]:
    points = Counter[str]()
    for row in found.bits:
        points[row.dtype] += row.points
    odd = [row for row in found.bits if row.different]
    results = ", ".join(f"{number:,} in {dtype}" for dtype, number in points.items()) or "none"
    functions = len({row.function for row in found.bits})
    lines = [
        f"Values and derivatives of {functions} functions of one array, bit for bit beside the CPU's: {results}; "
        f"{len(odd)} of {len(found.bits)} comparisons differ.",
        *(
            f"Differs: {row.function} {row.operation} {row.dtype}, {row.different:,} of {row.points:,}, by up to "
            f"{verification.ulps(math.inf if row.worst_ulp is None else row.worst_ulp)} ulp: at {row.at} the device "
            f"has {row.device}, the CPU {row.cpu}"
            for row in odd
        ),
    ]
    if found.stages:
        lines.append(
            f"Functions of two arrays and of rows, beside the truth: {sum(stage.holds for stage in found.stages)} of "
            f"{len(found.stages)} are within their bounds, each in one dtype."
        )
    lines += [f"Broken: {line}" for line in verification.broken(found.stages)]
    return lines + [f"Not computed: {line}" for line in found.failed]


def markdown(day: Day | None) -> str:
    """Write the section of a page; of no day, that there was none."""
    if day is None:
        return NOTHING
    parts = ["\n".join(f"- {line}" for line in notes(day))]
    if day.bench and day.bench.measurements:
        parts += [
            "The time of the fastest rival at each size divided by ours, by CUDA events, so below 1x (bold) it wins; ~ "
            "where the 95 % interval holds 1, ? where it is too wide to tell. Then ours at the largest size, and what "
            "fraction of a copy's speed on the device that is.",
            page_table(day.bench),
            f"Rivals: {', '.join(dict.fromkeys(day.bench.baselines.values()))}.",
        ]
    if day.host and day.host.costs:
        parts += [
            "What a call takes the host until it returns, while the device works on:",
            markdown_table(COST_HEADER, cost_rows(day.host), left=2),
        ]
    if lines := left_out(day):
        parts.append("\n".join(["Not done:", "", *(f"- {line}" for line in lines)]))
    return "\n\n".join(parts)
