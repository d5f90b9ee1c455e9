"""The charts of the site, as SVG: a function and its derivative, and its speed beside others'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..bench.points import Point
from ..bench.report import TITLES, microseconds, microseconds_of_ours
from ..bench.results import Measurement, Run
from ..verify import places
from ..verify.inputs import rank
from .curves import RANGE, curve
from .svg import Axis, Line, chart


def function_chart(function: Any) -> str:
    """Draw a function and its derivative over ±5."""
    found = curve(function)
    finite = np.concatenate([values[np.isfinite(values)] for values in (found.y, found.d)])
    low, high = max(float(finite.min()), -RANGE), min(float(finite.max()), RANGE)
    margin = 0.06 * (high - low or 1.0)
    name = function.__name__
    lines = [Line(name, found.x, found.y, "line-0"), Line("derivative", found.x, found.d, "line-1")]
    return chart(
        f"{name} and its derivative over {found.argument}",
        Axis(f"{found.argument} ({found.condition})" if found.condition else found.argument, -RANGE, RANGE),
        Axis("", low - margin, high + margin),
        lines,
    )


def error_chart(name: str, errors: Mapping[str, Sequence[float]], bound: float) -> str:
    """Draw the largest error in each piece of the range of float32, beside the bound."""
    low, high = places.edges()
    pieces = len(errors["value"])
    middles = low + (np.arange(pieces) + 0.5) * (high - low) / pieces
    marked = np.array([-1e30, -1, -1e-20, 0, 1e-20, 1, 1e30], np.float32)
    texts = ("−1e30", "−1", "−1e-20", "0", "1e-20", "1", "1e30")  # noqa: RUF001
    ticks = tuple(zip(map(float, rank(marked)), texts, strict=True))
    lines = [Line(which, middles, errors[which], f"line-{k}") for k, which in enumerate(("value", "derivative"))]
    return chart(
        f"Errors of {name} in float32, in units in the last place, over all x",
        Axis("x, as far apart as there are float32 between", low, high, ticks=ticks),
        Axis("error, units in the last place", 0, 1.1 * max(bound, *errors["value"], *errors["derivative"])),
        lines,
        rule=bound,
    )


def speed_chart(run: Run, function: str, operation: str) -> str:
    """Draw the time an element of a default call over the size, ours and others'; nothing without measurements."""
    found = {
        point: at
        for point, at in run.by_point.items()
        if (point.function, point.operation, point.form, point.state) == (function, operation, "default", "hot")
        and point.rows == point.columns
    }
    if len(found) < 2:
        return ""
    ours = {point.elements: 1e3 * microseconds_of_ours(at) / point.elements for point, at in found.items()}
    lines = [_line("rectifier", ours, 0)]
    lines += [_line(TITLES[name], of, number) for number, (name, of) in enumerate(_of_rivals(found.items()), 1)]
    times = [float(time) for line in lines for time in np.asarray(line.y)]
    sizes = [point.elements for point in found]
    return chart(
        f"{function}, {operation}: nanoseconds an element over the number of elements",
        Axis("elements", min(sizes) / 1.5, max(sizes) * 1.5, log=True),
        Axis("ns an element", min(times) / 1.5, max(times) * 1.5, log=True),
        lines,
    )


def _line(label: str, times: dict[int, float], number: int) -> Line:
    return Line(label, list(times), list(times.values()), f"line-{number}", True)


def _of_rivals(found: Iterable[tuple[Point, list[Measurement]]], most: int = 5) -> list[tuple[str, dict[int, float]]]:
    """Return the times of the rivals that were measured at the most sizes, of these the fastest at the largest."""
    times: dict[str, dict[int, float]] = {}
    for point, at in found:
        for measurement in at:
            nanoseconds = 1e3 * microseconds(measurement.baseline_nanoseconds) / point.elements
            times.setdefault(measurement.baseline, {})[point.elements] = nanoseconds
    return sorted(times.items(), key=lambda of: (-len(of[1]), of[1][max(of[1])]))[:most]
