"""Tables and JSON of a verification."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..documents import markdown_table, read, write
from .references import LIBRARIES
from .results import DTYPES, MARGIN, OPERATIONS, OURS, SAMPLES, SCHEMA, Row, Stage, Tally


def save(stages: Iterable[Stage], path: Path) -> None:
    """Write stages as JSON, one a line; an infinite error is null there."""
    lines = ",\n".join(json.dumps(plain(stage)) for stage in stages)
    write(path, f'{{"schema": {SCHEMA}, "stages": [\n{lines}\n]}}\n'.encode())


def plain(stage: Stage) -> dict[str, Any]:
    """Return what JSON can hold of a stage."""
    found = asdict(stage) | {"holds": stage.holds}
    for row, original in zip(found["rows"], stage.rows, strict=True):
        tally = row.pop("tally")
        row |= tally | {"holds": original.holds}
        row["worst_ulp"] = tally["worst_ulp"] if math.isfinite(tally["worst_ulp"]) else None
    return found


def load(path: Path) -> list[Stage]:
    """Read what `save` wrote, as `read` does."""
    return read(path, SCHEMA, "rectifier verify", lambda found: [stage_of(stage) for stage in found["stages"]])


def stage_of(found: dict[str, Any]) -> Stage:
    """Return the stage that `plain` wrote out."""
    del found["holds"]
    rows = []
    for row in found.pop("rows"):
        tally = Tally(**{name: row[name] for name in Tally.__dataclass_fields__})
        tally.worst_ulp = math.inf if row["worst_ulp"] is None else row["worst_ulp"]
        rows.append(Row(row["operation"], row["source"], row["bound"], row["ordered"], tally))
    return Stage(**found, rows=tuple(rows))


BEGIN, END = "<!-- verify -->", "<!-- /verify -->"
HEADER = ("function", "dtype", "", "worst", "at x", "bound", "≤ 0.5", "≤ 1", "order")
REFERENCE_HEADER = ("function", "dtype", "", OURS, *LIBRARIES)


def table(stages: Iterable[Stage]) -> list[tuple[str, ...]]:
    """Write out the rows of ours, as cells under `HEADER`."""
    return [_cells(stage, row) for stage in stages for row in stage.rows if row.source == OURS]


def _cells(stage: Stage, row: Row) -> tuple[str, ...]:
    tally = row.tally
    return (
        stage.function,
        stage.dtype,
        row.operation,
        ulps(tally.worst_ulp),
        tally.at if tally.worst_ulp else "",
        f"{row.bound:g}",
        _share(tally.correctly_rounded, tally.points),
        _share(tally.within_1_ulp, tally.points),
        str(tally.out_of_order) if row.ordered else "",
    )


def reference_table(stages: Iterable[Stage]) -> list[tuple[str, ...]]:
    """Write out worst errors beside others', and the share correctly rounded, as cells under `REFERENCE_HEADER`."""
    table = []
    for stage in stages:
        for operation in OPERATIONS[:2] if stage.versions else ():
            rows = [stage.row(operation, source) for source in REFERENCE_HEADER[3:]]
            if any(rows[1:]):
                cells = (_error_and_share(row.tally) if row else "" for row in rows)
                table.append((stage.function, stage.dtype, operation, *cells))
    return table


def _error_and_share(tally: Tally) -> str:
    return f"{ulps(tally.worst_ulp)} ({_share(tally.correctly_rounded, tally.points, 3)})"


def ulps(error: float) -> str:
    """Write an error out; an infinite one is a NaN or an infinity out of place."""
    if math.isinf(error):
        return "inf"
    if error >= 1e5:
        mantissa, exponent = f"{error:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{error:,.0f}" if error >= 100 else f"{error:.4g}"


def _share(part: int, whole: int, digits: int = 4) -> str:
    """Write a share out, and 100 % only where all are meant."""
    return "100 %" if part == whole else f"{min(100 * part / whole, 100 - 10.0 ** (2 - digits)):.{digits}g} %"


def broken(stages: Iterable[Stage]) -> list[str]:
    """Return a line for each bound that does not hold."""
    lines = []
    for stage in stages:
        for row in stage.rows:
            if not row.holds:
                tally = row.tally
                lines.append(
                    f"{stage.function} {row.operation} {stage.dtype}: {ulps(tally.worst_ulp)} ulp at {tally.at}, where "
                    f"{tally.exact} gives {tally.result}; the bound is {row.bound:g}"
                )
        if stage.truth_ulp > MARGIN:
            lines.append(f"{stage.function} {stage.dtype}: the truth itself is off by {ulps(stage.truth_ulp)} ulp")
    return lines


def notes(stages: Sequence[Stage]) -> list[str]:
    """Return what was checked, and against what."""
    versions = dict(pair for stage in stages for pair in stage.versions.items())
    inputs: dict[str, None] = {}
    for stage in stages:
        count = stage.rows[0].tally.points
        inputs[f"all {stage.dtype}" if stage.exhaustive else f"some {float(f'{count:.1g}'):,.0f} {stage.dtype}"] = None
    return [
        f"Inputs: {', '.join(inputs)}; some: random bits, and all that is next to where a function bends or overflows.",
        "Errors are in units in the last place of the exact result; ≤ 0.5 is the share that is correctly rounded, "
        "order counts neighbours whose results are in the wrong one. Functions of two arrays are checked on pairs, "
        "backward with a gradient of 1; those of rows on rows of 1 to 5,000 numbers, where the unit of "
        "backward is that of the sum of a row's terms, which cancel. Truth: the textbook form of each block, by mpmath "
        "for float64; else by float64, and by long doubles where that finds the worst. Float64 was off by at most "
        f"{max((stage.truth_ulp for stage in stages), default=0.0):.1g} units of mpmath on {SAMPLES} samples each.",
        "Other libraries, on the chosen inputs in float32: "
        f"{', '.join(f'{name} {number}' for name, number in versions.items()) or 'none is installed'}; "
        "not at infinities, NaN and kinks, which are conventions. inf is a NaN or an infinity out of place."
        + (" JAX takes subnormal numbers for 0." if "JAX" in versions else ""),
    ]


def markdown(stages: Sequence[Stage]) -> str:
    """Write the section of a page: for each dtype what ours do, and beside others."""
    parts = ["\n\n".join(notes(stages))]
    for dtype in DTYPES:
        here = [stage for stage in stages if stage.dtype == dtype]
        parts += [f"## {dtype}", _of_one_dtype(HEADER, table(here))] if here else []
        parts += (
            ["Beside others:", _of_one_dtype(REFERENCE_HEADER, reference_table(here))]
            if any(stage.versions for stage in here)
            else []
        )
    return "\n\n".join(parts)


def _of_one_dtype(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table of one dtype, which needs no column of its own."""
    shorter = [(cells[0], *cells[2:]) for cells in (header, *rows)]
    return markdown_table(shorter[0], shorter[1:], left=2)
