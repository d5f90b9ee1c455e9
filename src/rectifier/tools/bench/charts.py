"""Pictures of a run: time per element, ratio, and fraction of a copy's speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..pictures import BLUE, FAINT, ORANGE, STYLE
from .points import FORM_TITLES, FORMS, ROWS, SQUARES, Point, drawn_from
from .report import TITLES, fraction_of_copy, microseconds, microseconds_of_ours
from .results import Measurement, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of as many elements as a square has that functions of rows are measured at: a line shows the squares.
_BESIDE_SQUARES = set(ROWS) - set(SQUARES)
_COLORS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6d31")


def draw(result: Run) -> dict[str, Figure]:
    """Draw for each function the time per element, the ratio and the fraction of a copy's speed, over the size.

    Parameters
    ----------
    result : Run
        With at least one measurement.

    Returns
    -------
    dict of str to Figure
        By names for files.
    """
    panels: tuple[tuple[str, Callable[..., None], str], ...] = (
        ("time", _draw_time, "time per element, default call (lower is faster)"),
        ("ratio", _draw_ratio, "rival's time / ours, default call (below 1: the rival is faster)"),
        ("copy", _draw_copy, "speed as a fraction of a copy's, beyond the caches"),
    )
    figures = {}
    for function, device in dict.fromkeys((point.function, point.device) for point in result.by_point):
        hot = {p: at for p, at in result.by_point.items() if p.state == "hot"}
        found = {
            p: at
            for p, at in hot.items()
            if (p.function, p.device) == (function, device) and (p.rows, p.columns) not in _BESIDE_SQUARES
        }
        place = "" if device == "cpu" else f"-{device}"
        limited = {p: at for p, at in found.items() if fraction_of_copy(at) is not None}
        default = {p: at for p, at in found.items() if p.form == "default"}
        for name, draw_panel, title in panels:
            if shown := limited if name == "copy" else default:
                figures[f"{function}-{name}{place}"] = _figure(shown, draw_panel, f"{function}, {title}")
    return figures


Found = dict[Point, list[Measurement]]


def _figure(found: Found, draw_panel: Callable[[Any, Found], None], title: str) -> Figure:
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    operations = [d for d in FORMS if any(point.operation == d for point in found)]
    with style.context(STYLE):
        # Two abreast: at the width of a page the letters are as large as the text's.
        lines = math.ceil(len(operations) / 2)
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
        figure = Figure(figsize=(9, 1.9 + 2.9 * lines), layout=layout)
        panels = figure.subplots(lines, 2, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, operation in zip(panels, operations, strict=False):
            draw_panel(axes, {point: at for point, at in found.items() if point.operation == operation})
            axes.set(xscale="log", xlabel="elements")
            axes.set_title(operation.replace("_from_", " "), fontsize=11)
            axes.grid(color=FAINT, linewidth=0.5)
            axes.label_outer()
        for axes in panels[len(operations) :]:
            axes.remove()
        handles = {
            label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        labels = [label for label in (*TITLES.values(), *handles) if label in handles]
        handles = {label: handles[label] for label in labels}
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, frameon=False, fontsize=10)
        point = next(iter(found))
        figure.suptitle(f"{title}, {point.dtype}{drawn_from(point)}", fontsize=12, fontweight="bold")
    return figure


def _baselines_lines(found: Found) -> Iterator[tuple[list[Point], list[Measurement], dict[str, Any]]]:
    """Yield for each baseline its points, their measurements, and the style of its line."""
    for index, (name, title) in enumerate(TITLES.items()):
        line = [(point, m) for point, at in found.items() for m in at if m.baseline == name]
        if line:
            look = {
                "color": _COLORS[index % len(_COLORS)],
                "linestyle": ("-", "--", ":")[index // len(_COLORS)],
                "marker": "osv^D"[index % 5],
                "markersize": 4,
                "linewidth": 1.3,
                "label": title,
            }
            yield [point for point, _ in line], [m for _, m in line], look


def _draw_time(axes: Any, found: Found) -> None:
    for points, measurements, look in _baselines_lines(found):
        times = [
            1e3 * microseconds(m.baseline_nanoseconds) / p.elements for p, m in zip(points, measurements, strict=True)
        ]
        axes.plot([p.elements for p in points], times, **look)
    times = [1e3 * microseconds_of_ours(at) / p.elements for p, at in found.items()]
    look = {"color": "black", "linewidth": 2.6, "marker": "o", "markersize": 5, "label": "rectifier"}
    axes.plot([p.elements for p in found], times, **look)
    axes.set(yscale="log", ylabel="ns per element")


def _draw_ratio(axes: Any, found: Found) -> None:
    for points, measurements, look in _baselines_lines(found):
        elements = [p.elements for p in points]
        axes.plot(elements, [m.times_faster for m in measurements], **look)
        low, high = zip(*(m.interval for m in measurements), strict=True)
        axes.fill_between(elements, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.axhline(1, color="black", linewidth=2.6, label="rectifier = 1")
    axes.set(yscale="log", ylabel="times the time of ours")


def _draw_copy(axes: Any, found: Found) -> None:
    for index, form in enumerate(FORMS["value"]):
        line = [(p.elements, fraction_of_copy(at)) for p, at in found.items() if p.form == form]
        if line:
            label = FORM_TITLES.get(form, form) or "default"
            axes.plot(*zip(*line, strict=True), color=_COLORS[index], marker="osv^D<"[index], label=label)
    axes.axhline(1, color="black", linewidth=1.5, label="copy")
    axes.axhline(0, color="none")  # shown, without a limit that would cut another panel
    axes.set(ylabel="fraction")
