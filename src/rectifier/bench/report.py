"""What a run says: tables, pictures, a page, a section of the README, and the comparison of two runs."""

from __future__ import annotations

import hashlib
import html
import io
import math
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .rivals import RIVALS
from .runner import FORMS, SQUARES, WIDE, Measurement, Point, Run, describe_point, half_width, save, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {rival.name: rival.title for rival in RIVALS}
DIRECTION_TITLES = {name: name.replace("_from_", ", ") for name in FORMS}
FORM_TITLES = {"default": "", "out": "out=", "in_place": "in place", "slice": "slice"}
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
HEADER = ("call", "shape", "ours µs", "fastest rival", "ratio", "95 %", "copy")
FIRST_HEADER = ("", "import s", "first result s", "from disk s", "peak MB", "installed MB")

# Two processes that run the same code differ by so much, because memory and code lie elsewhere (Mytkowicz et
# al., "Producing wrong data without doing anything obviously wrong!", ASPLOS 2009): at least this standard
# deviation is granted to the logarithm of a ratio, and no change below the second is reported.
PROCESS_DEVIATION, LEAST_CHANGE = 0.03, 0.05
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Change:
    """How the time of ours changed at a point, relative to its rivals.

    Attributes
    ----------
    point : Point
        Where.
    factor : float
        New time divided by the old; above 1 ours has become slower.
    pairs : int
        From how many rivals, each a process of its own in both runs.
    p : float
        Probability of as much if nothing had changed by more than `LEAST_CHANGE`.
    significant : bool
        After Holm's correction for the number of points.
    """

    point: Point
    factor: float
    pairs: int
    p: float
    significant: bool


def compare(old: Run, new: Run) -> list[Change]:
    """Test at each point whether ours has changed, the rivals being the yardstick.

    Each rival that both runs measured gives one logarithm of new over old ratio. Their median is the change,
    and their spread is the noise between processes, which that within a process understates.

    Parameters
    ----------
    old, new : Run
        Of the same plan.

    Returns
    -------
    list of Change
        For each point that both measured, the surest first.

    References
    ----------
    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    T. Kalibera and R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013.
    """
    before = {(m.rival, m.point): m for m in old.measurements}
    pairs: dict[Point, list[tuple[Measurement, Measurement]]] = {}
    for m in new.measurements:
        if (m.rival, m.point) in before:
            pairs.setdefault(m.point, []).append((before[m.rival, m.point], m))
    tests = sorted((_test(both), point) for point, both in pairs.items())
    changes, rejecting = [], True
    for rank, ((p, shift), point) in enumerate(tests):
        rejecting = rejecting and p * (len(tests) - rank) <= SIGNIFICANCE
        changes.append(Change(point, math.exp(shift), len(pairs[point]), p, rejecting))
    return changes


def _test(pairs: Sequence[tuple[Measurement, Measurement]]) -> tuple[float, float]:
    """Give the probability of a change, and its logarithm."""
    shifts = [math.log(a.times_faster / b.times_faster) for a, b in pairs]
    shift = statistics.median(shifts)
    within = statistics.median(math.hypot(half_width(a.ratios), half_width(b.ratios)) / 1.96 for a, b in pairs)
    between = 1.4826 * statistics.median(abs(s - shift) for s in shifts)  # a normal deviation's robust estimate
    deviation = math.hypot(max(between, math.sqrt(2) * PROCESS_DEVIATION), within)
    # A median of many is sqrt(pi / 2) less sure than their mean.
    error = deviation * (math.sqrt(math.pi / 2) if len(shifts) > 2 else 1) / math.sqrt(len(shifts))
    return math.erfc(max(0.0, abs(shift) - math.log1p(LEAST_CHANGE)) / error / math.sqrt(2)), shift


def differences(old: Run, new: Run) -> list[str]:
    """Say what else two runs differ in, which may be why their figures do."""
    lines = [
        f"{name}: {before} then, {new.machine.get(name)} now"
        for name, before in old.machine.items()
        if name not in ("versions", "engine_reason") and before != new.machine.get(name)
    ]
    for a, b in ((old.machine["versions"], new.machine["versions"]), (old.rivals, new.rivals)):
        lines += [f"{name}: {a.get(name)} then, {b.get(name)} now" for name in {**a, **b} if a.get(name) != b.get(name)]
    alone = {(m.rival, m.point) for m in old.measurements} ^ {(m.rival, m.point) for m in new.measurements}
    return lines + ([f"{len(alone)} measurements have no counterpart in the other file"] if alone else [])


def three_digits(value: float | None) -> str:
    """Write a number out with three significant digits."""
    if value is None:
        return "none"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def microseconds(measurements: Sequence[Measurement]) -> float:
    """Give the median time of ours over the processes of a point."""
    return statistics.median(statistics.median(m.ours_nanoseconds) for m in measurements) / 1e3


def rows(result: Run) -> list[tuple[str, ...]]:
    """Write out each point against its fastest rival, as the cells of a table under `HEADER`."""
    table: list[tuple[str, ...]] = []
    points = result.points()
    several = len({point.function for point in points}) > 1
    for point in points:
        fastest, *_ = found = result.at(point)
        copied = statistics.median(m.fraction_of_copy for m in found)
        table.append(
            (
                _name(point, several),
                f"{point.rows}x{point.columns}",
                three_digits(microseconds(found)),
                TITLES[fastest.rival],
                _ratio(fastest),
                f"±{half_width(fastest.ratios):.0%}",
                f"{copied:.0%}",
            )
        )
    return table


def _name(point: Point, with_function: bool) -> str:
    idle = ["idle"] if point.state == "idle" else []
    words = [point.function] * with_function + [DIRECTION_TITLES[point.direction], FORM_TITLES[point.form], *idle]
    return " ".join(word for word in words if word)


def _ratio(measurement: Measurement) -> str:
    """Write a ratio out; a question mark where the machine was too noisy."""
    return f"{three_digits(measurement.times_faster)}x{'' if measurement.conclusive else '?'}"


def summary(result: Run) -> list[tuple[str, ...]]:
    """Count for each rival where ours is faster, slower, or neither for certain."""
    table: list[tuple[str, ...]] = []
    for name, version in result.rivals.items():
        counts = Counter(m.verdict for m in result.measurements if m.rival == name)
        table.append((TITLES[name], version, *(str(counts[verdict]) for verdict in ("ours", "rival", "undecided"))))
    return table


BEHIND = {"ours": "green", "rival": "red", "undecided": ""}
SUMMARY_HEADER = ("rival", "version", "ours faster", "rival faster", "undecided")


def first_rows(result: Run) -> list[tuple[str, ...]]:
    """Write out what a first result costs, under `FIRST_HEADER`."""
    return [
        (
            TITLES.get(name, name),
            *(f"{f[f'{key}_seconds']:.2f}" for key in ("import", "first_result", "first_result_from_disk")),
            *(three_digits(f[f"{key}_bytes"] / 1e6) for key in ("peak_memory", "installed")),
        )
        for name, f in result.first_use.items()
    ]


def notes(result: Run) -> list[str]:
    """Say how it was measured, what was not, and where ours loses."""
    machine = result.machine
    threads = machine["threads"]["used"]
    points = result.points()
    fastest = [result.at(point)[0] for point in points]
    verdicts = Counter(m.verdict for m in fastest)
    noisy = sum(not m.conclusive for m in result.measurements)
    caches = ", ".join(f"{name} {size // 1024:,} KiB" for name, size in machine["cache_bytes"].items())
    lines = [
        f"{machine['processor']}, {machine['simd']}, {caches}; {machine['system']}; huge pages "
        f"{machine['transparent_huge_pages']}; governor {machine['governor'] or 'unknown'}.",
        ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
        + f"; engine {machine['engine']}.",
        f"Against the fastest rival at each of {len(points)} points, ours is faster at {verdicts['ours']}, slower at "
        f"{verdicts['rival']}, undecided at {verdicts['undecided']}.",
        "ratio: the rival's time divided by ours, median over rounds, and half of its 95 % interval; below 1x the "
        "rival is faster. Each rival runs beside ours in a process of its own, is called in its fastest documented "
        f"way, and has {threads} thread{'' if threads == 1 else 's'}, as ours has. Results are checked for equality "
        "first.",
        "default: a result in memory of its own, as each library gets it: TensorFlow and ONNX Runtime reuse memory "
        "of any size, the C library, for NumPy and ours, that of small arrays. out= and in place: into warm memory.",
        "copy: numpy.copyto of as many bytes between warm arrays, in the same process, divided by ours. It stores "
        "through the cache; a copy with non-temporal stores, the true limit of large arrays, is not measured yet.",
        "Not measured: GPUs. Rivals are the default builds of PyPI, on one thread; with several, large arrays go "
        "to those that have them.",
    ]
    if noisy:
        lines.append(
            f"Too noisy to conclude (half of the interval above {WIDE:.0%}): {noisy} of {len(result.measurements)} "
            "measurements; such ratios bear a question mark."
        )
    return lines


def markdown(result: Run) -> str:
    """Write the section of the README: each call against the fastest rival, over the recipe's sizes."""
    points = result.points()
    shapes = [shape for shape in SQUARES if any((p.rows, p.columns) == shape for p in points)]
    lines = [
        "Against the fastest rival at each size: its time divided by ours, so below 1x (bold) it wins; ~ where the "
        f"95 % interval holds 1, ? where it is wider than ±{WIDE:.0%}. {points[0].dtype}, one thread.",
        "",
        "| | " + " | ".join(f"{r} x {c}" for r, c in shapes) + " |",
        "|---|" + "---:|" * len(shapes),
    ]
    for function, direction, form, state in dict.fromkeys(p[:4] for p in points):
        if state == "idle":
            continue
        cells = []
        for r, c in shapes:
            found = result.at(Point(function, direction, form, state, points[0].dtype, r, c))
            cells.append(_cell(found[0]) if found else "")
        name = _name(Point(function, direction, form, state, "", 0, 0), True)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    versions = ", ".join(dict.fromkeys(result.rivals.values()))
    counts = Counter(result.at(point)[0].verdict for point in points)
    lines += [
        "",
        f"Over all {len(points)} points of this run ours is faster than every rival at {counts['ours']}, slower than "
        f"the fastest at {counts['rival']}, undecided at {counts['undecided']}. Rivals: {versions}; default builds, "
        f"one thread each. {result.machine['processor']}, {result.machine['simd']}. TensorFlow and ONNX Runtime put "
        "results into memory that they reuse, ours lie on fresh pages: that decides default calls on large arrays. "
        "No GPU was measured.",
    ]
    return "\n".join(lines)


def _cell(fastest: Measurement) -> str:
    text = f"{'~' if fastest.verdict == 'undecided' else ''}{_ratio(fastest)} {TITLES[fastest.rival]}".replace(
        "*", r"\*"
    )
    return f"**{text}**" if fastest.verdict == "rival" else text


def put_section(page: str, section: str) -> str:
    """Replace what stands between the markers of a page.

    Raises
    ------
    ValueError
        If it has no markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{section}\n{END}{after}"


def readme_section(result: Run, picture: str) -> str:
    """Write the whole section, with its picture."""
    return f"{markdown(result)}\n\n![Time of each rival divided by ours]({picture})"


def write_all(result: Run, output: Path, readme: Path | None = None) -> list[Path]:
    """Write JSON, pictures, page, and the section of a README if there is one to write.

    Parameters
    ----------
    result : Run
        With at least one measurement.
    output : Path
        A directory that exists.
    readme : Path, optional
        A page with markers.

    Returns
    -------
    list of Path
        What was written.
    """
    kept = output / "run.json"
    save(result, kept)
    figures = draw(result)
    written = [kept]
    for name, figure in figures.items():
        written += save_figure(figure, output / name, digest(kept))
    drawn = [path.read_text() for path in written if path.suffix == ".svg"]
    written.append(output / "index.html")
    write(written[-1], page(result, drawn).encode())
    if readme:
        function = result.points()[0].function
        picture = Path(os.path.relpath(output / f"{function}-ratio.svg", readme.parent)).as_posix()
        write(readme, put_section(readme.read_text(), readme_section(result, picture)).encode())
        written.append(readme)
    return written


def digest(path: Path) -> str:
    """Name the content of a file; the pictures that were drawn of a run bear it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Opaque white, dark ink: a picture must read the same in a dark viewer. These are told apart by colour-blind
# readers too (Okabe and Ito 2008).
INK, FAINT, BLUE, ORANGE = "#1a1a1a", "#c8c8c8", "#0072b2", "#d55e00"
_COLORS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6d31")
STYLE: list[Any] = [
    "default",
    {
        "svg.hashsalt": "rectifier",  # else the identifiers in an SVG differ from run to run
        "font.size": 11,
        "text.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "savefig.facecolor": "white",
    },
]


def save_figure(figure: Figure, stem: Path, description: str | None = None) -> Iterator[Path]:
    """Write a figure as SVG and PNG, each whole or not at all."""
    from matplotlib import style

    about = {"Description": description} if description else {}
    for kind, metadata in (("svg", {"Date": None}), ("png", {})):
        path, data = stem.with_name(f"{stem.name}.{kind}"), io.BytesIO()
        with style.context(STYLE):
            figure.savefig(data, format=kind, dpi=150, metadata=metadata | about)
        write(path, data.getvalue())
        yield path


def draw(result: Run) -> dict[str, Figure]:
    """Draw for each function the time per element, the ratio and the part of the limit, over the size.

    Parameters
    ----------
    result : Run
        With at least one measurement.

    Returns
    -------
    dict of str to Figure
        By names for files.
    """
    figures = {}
    for function in dict.fromkeys(point.function for point in result.points()):
        for name, draw_panel, title in (
            ("time", _draw_time, "time per element, default call (lower is faster)"),
            ("ratio", _draw_ratio, "rival's time / ours, default call (below 1: the rival is faster)"),
            ("copy", _draw_copy, "speed as a fraction of a copy's"),
        ):
            figures[f"{function}-{name}"] = _figure(result, function, draw_panel, title)
    return figures


def _figure(result: Run, function: str, draw_panel: Callable[..., None], title: str) -> Figure:
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    points = [point for point in result.points() if point.function == function and point.state == "hot"]
    directions = [d for d in FORMS if any(point.direction == d for point in points)]
    with style.context(STYLE):
        # Two abreast: at the width of a page the letters are as large as the text's.
        lines = math.ceil(len(directions) / 2)
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
        figure = Figure(figsize=(9, 1.9 + 2.9 * lines), layout=layout)
        panels = figure.subplots(lines, 2, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, direction in zip(panels, directions, strict=False):
            draw_panel(axes, result, [point for point in points if point.direction == direction])
            axes.set(xscale="log", xlabel="elements")
            axes.set_title(DIRECTION_TITLES[direction], fontsize=11)
            axes.grid(color=FAINT, linewidth=0.5)
            axes.label_outer()
        for axes in panels[len(directions) :]:
            axes.remove()
        handles = {
            label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        labels = [label for label in (*TITLES.values(), *handles) if label in handles]
        handles = {label: handles[label] for label in labels}
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, frameon=False, fontsize=10)
        figure.suptitle(f"{function}, {points[0].dtype}: {title}", fontsize=12, fontweight="bold")
    return figure


def _look(rival: str) -> dict[str, Any]:
    index = list(TITLES).index(rival)
    return {
        "color": _COLORS[index % len(_COLORS)],
        "linestyle": "-" if index < len(_COLORS) else "--",
        "marker": "osv^D"[index % 5],
        "markersize": 4,
        "linewidth": 1.3,
        "label": TITLES[rival],
    }


def _draw_time(axes: Any, result: Run, points: Sequence[Point]) -> None:
    points = [point for point in points if point.form == "default"]
    found = {point: result.at(point) for point in points}
    for rival in result.rivals:
        line = [
            (point.elements, statistics.median(m.rival_nanoseconds) / point.elements)
            for point in points
            for m in found[point]
            if m.rival == rival
        ]
        if line:
            axes.plot(*zip(*line, strict=True), **_look(rival))
    line = [(point.elements, 1e3 * microseconds(found[point]) / point.elements) for point in points]
    axes.plot(*zip(*line, strict=True), color="black", linewidth=2.6, marker="o", markersize=5, label="rectifier")
    axes.set(yscale="log", ylabel="ns per element")


def _draw_ratio(axes: Any, result: Run, points: Sequence[Point]) -> None:
    points = [point for point in points if point.form == "default"]
    for rival in result.rivals:
        line = [
            (point.elements, m.times_faster, *m.interval)
            for point in points
            for m in result.at(point)
            if m.rival == rival
        ]
        if line:
            x, ratio, low, high = zip(*line, strict=True)
            axes.plot(x, ratio, **_look(rival))
            axes.fill_between(x, low, high, color=_look(rival)["color"], alpha=0.15, linewidth=0)
    axes.axhline(1, color="black", linewidth=2.6, label="rectifier = 1")
    axes.set(yscale="log", ylabel="times the time of ours")


def _draw_copy(axes: Any, result: Run, points: Sequence[Point]) -> None:
    for index, (form, title) in enumerate(FORM_TITLES.items()):
        line = [
            (point.elements, statistics.median(m.fraction_of_copy for m in result.at(point)))
            for point in points
            if point.form == form
        ]
        if line:
            axes.plot(*zip(*line, strict=True), color=_COLORS[index], marker="osv^"[index], label=title or "default")
    axes.axhline(1, color="black", linewidth=1.5, label="numpy.copyto")
    axes.set(ylabel="fraction", ylim=(0, None))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>rectifier bench</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a;
  background: #fff; }}
figure {{ margin: 1.5rem 0; background: #fff; overflow-x: auto; }}
figure svg {{ display: block; max-width: 100%; height: auto; margin: auto; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
tr.slower td {{ color: #b34700; font-weight: bold; }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #e6e6e6; background: #16181c; }}
  tr.slower td {{ color: #ff9d5c; }}
}}
</style>
</head>
<body>
<h1>rectifier against {rivals}</h1>
<p>{started}, {seconds:.0f} s in all.</p>
{body}
</body>
</html>
"""


def page(result: Run, pictures: Sequence[str]) -> str:
    """Write a self-contained page, with pictures in SVG."""
    slower = {row for row, point in zip(rows(result), result.points(), strict=True)
              if result.at(point)[0].verdict == "rival"}  # fmt: skip
    parts = ["<ul>", *(f"<li>{html.escape(note)}</li>" for note in notes(result)), "</ul>"]
    for svg in pictures:
        parts += ["<figure>", svg[svg.index("<svg") :], "</figure>"]
    parts += ["<h2>Rival by rival</h2>", _table(SUMMARY_HEADER, summary(result))]
    parts += ["<h2>Against the fastest rival at each point</h2>"]
    parts += ["<p>Coloured: the rival is faster.</p>", _table(HEADER, rows(result), slower)]
    if result.first_use:
        parts += ["<h2>First use</h2>", f"<p>{html.escape(FIRST_NOTE)}</p>"]
        parts += [_table(FIRST_HEADER, first_rows(result))]
    parts += ["<h2>Every measurement</h2>", "<details><summary>Show</summary>"]
    parts += [_table(("point", "rival", "its call", "result", "rounds", "ratio", "95 %"), list(_all_rows(result)))]
    parts += ["</details>"]
    remarks = [f"{rival.title}: {rival.note}" for rival in RIVALS if rival.note and rival.name in result.rivals]
    for title, lines in (("How to read a rival", remarks), ("Not measured", result.skipped)):
        if lines:
            parts += [f"<h2>{title}</h2>", "<ul>", *(f"<li>{html.escape(line)}</li>" for line in lines), "</ul>"]
    packages = ", ".join(dict.fromkeys(version.partition(" ")[0] for version in result.rivals.values()))
    return _PAGE.format(rivals=packages, started=result.started, seconds=result.seconds, body="\n".join(parts))


FIRST_NOTE = (
    "A program that computes one result, from the start of its process; from disk: with the package's own files out of "
    "the page cache. Installed: the package's own files, without what it depends on."
)


def _all_rows(result: Run) -> Iterator[tuple[str, ...]]:
    for point in result.points():
        for m in result.at(point):
            low, high = m.interval
            yield (
                describe_point(point), TITLES[m.rival], m.rival_call, m.rival_dtype, str(len(m.ratios)), _ratio(m),
                f"{three_digits(low)} to {three_digits(high)}",
            )  # fmt: skip


def _table(header: Sequence[str], body: Sequence[tuple[str, ...]], slower: set[tuple[str, ...]] | None = None) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)

    marked = ((' class="slower"' if slower and row in slower else "", row) for row in body)
    lines = "\n".join(f"<tr{mark}>{line(row, 'td')}</tr>" for mark, row in marked)
    return f'<div class="wide"><table>\n<tr>{line(header, "th")}</tr>\n{lines}\n</table></div>'
