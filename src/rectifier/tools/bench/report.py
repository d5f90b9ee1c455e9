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
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import runner
from .rivals import RIVALS
from .runner import FORM_TITLES, FORMS, SQUARES, WIDE, Measurement, Point, Run, describe_point, name_call, save, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {rival.name: rival.title for rival in RIVALS}
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
HEADER = ("call", "shape", "ours µs", "fastest", "ratio", "95 %", "copy")
FIRST_HEADER = ("", "import s", "first result s", "from disk s", "peak MB", "installed MB")
SUMMARY_HEADER = ("rival", "version", "ours faster", "rival faster", "undecided")
COLORS = {"ours": "green", "rival": "red", "undecided": ""}

# No change below this is reported, and none that fewer rivals than this saw: one of them alone may be what changed.
# The third is granted to the logarithm of each rival's new over old ratio as its standard deviation at least.
LEAST_CHANGE, FEWEST_PAIRS, PAIR_DEVIATION = 0.03, 3, 0.07
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
        From how many rivals, each measured by processes of its own in both runs.
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

    Each rival that both runs measured in the same version gives one logarithm of new over old ratio. Their centre
    is the change, and their spread is the noise.

    Parameters
    ----------
    old, new : Run
        Of the same plan.

    Returns
    -------
    list of Change
        For each point at which both measured `FEWEST_PAIRS` rivals, the surest first.

    References
    ----------
    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    T. Kalibera and R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013.
    """
    same = {name for name, version in old.rivals.items() if new.rivals.get(name) == version}
    before = {(m.rival, m.point): m for m in old.measurements if m.rival in same}
    pairs: dict[Point, list[tuple[Measurement, Measurement]]] = {}
    for m in new.measurements:
        if (m.rival, m.point) in before:
            pairs.setdefault(m.point, []).append((before[m.rival, m.point], m))
    tests = sorted((_test(both), point) for point, both in pairs.items() if len(both) >= FEWEST_PAIRS)
    changes, rejecting = [], True
    for rank, ((p, shift), point) in enumerate(tests):
        rejecting = rejecting and p * (len(tests) - rank) <= SIGNIFICANCE
        changes.append(Change(point, math.exp(shift), len(pairs[point]), p, rejecting))
    return changes


def _test(pairs: Sequence[tuple[Measurement, Measurement]]) -> tuple[float, float]:
    """Give the probability of a change, and its logarithm."""
    shifts = [a.estimate[0] - b.estimate[0] for a, b in pairs]
    # Hodges and Lehmann's estimate, which one rival in four may not mislead.
    shift = statistics.median((a + b) / 2 for a, b in combinations_with_replacement(shifts, 2))
    expected = statistics.median(a.estimate[1] ** 2 + b.estimate[1] ** 2 for a, b in pairs)
    found = 1.4826 * statistics.median(abs(s - shift) for s in shifts)  # a normal deviation's robust estimate
    variance, degrees = runner.shrink(max(found, PAIR_DEVIATION) ** 2, len(shifts), max(expected, PAIR_DEVIATION**2))
    error = math.sqrt(math.pi / 3 * variance / len(shifts))
    return runner.t_tail(max(0.0, abs(shift) - math.log1p(LEAST_CHANGE)) / error, degrees), shift


def comparable(old: Run, new: Run) -> bool:
    """Say whether two runs were made under the same conditions, so that a change is the code's."""
    names = ("processor", "simd", "engine", "cache_bytes")
    return old.threads == new.threads and all(old.machine[name] == new.machine[name] for name in names)


def differences(old: Run, new: Run) -> list[str]:
    """Say what else two runs differ in, which may be why their figures do."""
    lines = [
        f"{name}: {before} then, {new.machine.get(name)} now"
        for name, before in old.machine.items()
        if name not in ("versions", "engine_reason") and before != new.machine.get(name)
    ]
    own = ({"threads": run.threads, "commit": run.commit, **run.machine["versions"]} for run in (old, new))
    for a, b in (own, (old.rivals, new.rivals)):
        lines += [f"{name}: {a.get(name)} then, {b.get(name)} now" for name in {**a, **b} if a.get(name) != b.get(name)]
    alone = {(m.rival, m.point) for m in old.measurements} ^ {(m.rival, m.point) for m in new.measurements}
    return lines + ([f"{len(alone)} measurements have no counterpart in the other file"] if alone else [])


def three_digits(value: float | None) -> str:
    """Write a number out with three significant digits."""
    if value is None:
        return "none"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _microseconds(rounds: Sequence[Sequence[float]]) -> float:
    return statistics.median(map(statistics.median, rounds)) / 1e3


def _microseconds_of_ours(measurements: Sequence[Measurement]) -> float:
    return statistics.median(_microseconds(m.ours_nanoseconds) for m in measurements)


def _fraction_of_copy(measurements: Sequence[Measurement]) -> float | None:
    found = [m.fraction_of_copy for m in measurements if m.fraction_of_copy is not None]
    return statistics.median(found) if found else None


def rows(result: Run, verdicts: Sequence[str] = tuple(COLORS)) -> list[tuple[str, ...]]:
    """Write out each point with one of these verdicts against its fastest rival, as cells under `HEADER`."""
    table: list[tuple[str, ...]] = []
    several = len({point.function for point in result.by_point}) > 1
    for point, found in result.by_point.items():
        if result.verdict(point) in verdicts:
            fraction = _fraction_of_copy(found)
            table.append(
                (
                    name_call(point, several),
                    f"{point.rows}x{point.columns}",
                    three_digits(_microseconds_of_ours(found)),
                    TITLES[found[0].rival],
                    _ratio(found[0]),
                    f"±{found[0].half_width:.0%}",
                    "" if fraction is None else f"{fraction:.0%}",
                )
            )
    return table


def _ratio(measurement: Measurement) -> str:
    """Write a ratio out; a question mark where the machine was too noisy."""
    return f"{three_digits(measurement.times_faster)}x{'' if measurement.conclusive else '?'}"


def summary(result: Run) -> list[tuple[str, ...]]:
    """Count for each rival where ours is faster, slower, or neither for certain."""
    table: list[tuple[str, ...]] = []
    for name, version in result.rivals.items():
        counts = Counter(m.verdict for m in result.measurements if m.rival == name)
        table.append((TITLES[name], version, *(str(counts[verdict]) for verdict in COLORS)))
    return table


def first_rows(result: Run) -> list[tuple[str, ...]]:
    """Write out what a first result costs, under `FIRST_HEADER`."""
    return [
        (
            TITLES.get(name, name),
            *(_figure_of(f[f"{key}_seconds"]) for key in ("import", "first_result", "first_result_from_disk")),
            *(_figure_of(f[f"{key}_bytes"], 1e6) for key in ("peak_memory", "installed")),
        )
        for name, f in result.first_use.items()
    ]


def _figure_of(value: float | None, unit: float = 1.0) -> str:
    return three_digits(None if value is None else value / unit)


def _threads(result: Run) -> str:
    return "one thread" if result.threads == 1 else f"{result.threads} threads"


def _verdicts(result: Run) -> str:
    counts = Counter(map(result.verdict, result.by_point))
    return (
        f"Of {len(result.by_point)} points ours is faster than every rival at {counts['ours']}, slower than one at "
        f"{counts['rival']}, and {counts['undecided']} are undecided."
    )


def _memory(result: Run) -> str:
    """Say whose results lie in memory that was used before."""
    reusing = [TITLES[name] for name in ("tensorflow", "onnxruntime") if name in result.rivals]
    forms = {point.form for point in result.by_point}
    lines = ["A default call makes its result, which is dropped before the next."]
    if reusing:
        lines.append(f"{' and '.join(reusing)} keep{'s' * (len(reusing) == 1)} such memory of any size for reuse.")
    if "unpooled" in forms:
        lines.append(
            "So does our pool, which PyTorch, JAX and NumPy lack: no pool is the same call with it switched off."
        )
    if "fresh" in forms:
        lines.append("fresh: results are kept, so that none lies where one before it lay.")
    return " ".join(lines)


def notes(result: Run) -> list[str]:
    """Say how it was measured, what was not, and where ours loses."""
    machine = result.machine
    noisy = sum(not m.conclusive for m in result.measurements)
    processes = max(len(m.ratios) for m in result.measurements)
    caches = ", ".join(f"{name} {size // 1024:,} KiB" for name, size in machine["cache_bytes"].items())
    lines = [
        f"{machine['processor']}, {machine['simd']}, {caches}; {machine['system']}; huge pages "
        f"{machine['transparent_huge_pages']}; governor {machine['governor'] or 'unknown'}.",
        ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
        + f"; engine {machine['engine']}; commit {result.commit or 'unknown'}.",
        _verdicts(result),
        "ratio: the rival's time divided by ours, the median over rounds and the mean over up to "
        f"{processes} process{'' if processes == 1 else 'es'}, and half of its 95 % interval; below 1x the rival is "
        "faster. Each rival runs beside ours in processes of its own and is called in its fastest documented way; "
        f"both may use {_threads(result)}. Results are checked for equality first.",
        f"{_memory(result)} out= and in place: into warm memory.",
        f"copy: {result.copy or 'nothing'} of as many bytes between warm arrays, in the same process, divided by ours; "
        "where the caches cannot hold them, and not in place, which moves less."
        + (" It stores through the caches, so it is not the limit." if result.copy == "numpy.copyto" else ""),
        f"Rivals are the default builds of PyPI. {_gpus(result)}",
    ]
    if noisy:
        lines.append(
            f"Too noisy to conclude (half of the interval above {WIDE:.0%} and above half of the way to 1): {noisy} of "
            f"{len(result.measurements)} measurements, all undecided; such ratios bear a question mark."
        )
    return lines


def _gpus(result: Run) -> str:
    if all(point.device == "cpu" for point in result.by_point):
        return "No GPU was measured."
    return (
        f"On the GPU ({', '.join(result.machine['gpu']['devices'])}) arrays stay there, and CUDA events tell the time."
    )


def markdown(result: Run) -> str:
    """Write the section of the README: each call against the fastest rival, over the squares."""
    points = list(result.by_point)
    shapes = [shape for shape in SQUARES if any((p.rows, p.columns) == shape for p in points)]
    lines = [
        "Against the fastest rival at each size: its time divided by ours, so below 1x (bold) it wins; ~ where the "
        f"95 % interval holds 1, ? where it is too wide to tell. {points[0].dtype}, {_threads(result)}.",
        "",
        "| | " + " | ".join(f"{r} x {c}" for r, c in shapes) + " |",
        "|---|" + "---:|" * len(shapes),
    ]
    for call in dict.fromkeys(p._replace(rows=0, columns=0) for p in points if p.state == "hot"):
        line = [call._replace(rows=rows, columns=columns) for rows, columns in shapes]
        cells = [_cell(result.by_point[p][0]) if p in result.by_point else "" for p in line]
        if any(cells):
            lines.append(f"| {name_call(call)} | {' | '.join(cells)} |")
    versions = ", ".join(dict.fromkeys(result.rivals.values()))
    lines += [
        "",
        f"{_verdicts(result)} Rivals: {versions}; default builds, {_threads(result)} each. "
        f"{result.machine['processor']}, {result.machine['simd']}. {_memory(result)} {_gpus(result)}",
    ]
    return "\n".join(lines).rstrip()


def _cell(fastest: Measurement) -> str:
    unsure = "~" if fastest.conclusive and fastest.verdict == "undecided" else ""
    text = f"{unsure}{_ratio(fastest)} {TITLES[fastest.rival]}".replace("*", r"\*")
    return f"**{text}**" if fastest.verdict == "rival" else text


def put_section(page: str, section: str, begin_with: str = BEGIN, end_with: str = END) -> str:
    """Replace what stands between the markers of a page.

    Raises
    ------
    ValueError
        If it has no markers.
    """
    before, begin, rest = page.partition(begin_with)
    _, end, after = rest.partition(end_with)
    if not begin or not end:
        raise ValueError(f"no {begin_with} and {end_with}")
    return f"{before}{begin}\n{section}\n{end}{after}"


def readme_section(result: Run, picture: Callable[[str], str]) -> str:
    """Write the whole section: for one function with its picture, which `picture` finds by its name."""
    functions = {point.function for point in result.by_point}
    if len(functions) > 1:
        return markdown(result)
    return f"{markdown(result)}\n\n![Time of each rival divided by ours]({picture(*functions)})"


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
    drawn = [path.read_text(encoding="utf-8") for path in written if path.suffix == ".svg"]
    written.append(output / "index.html")
    write(written[-1], page(result, drawn).encode())
    if readme:

        def picture(function: str) -> str:
            return Path(os.path.relpath(output / f"{function}-ratio.svg", readme.parent)).as_posix()

        text = put_section(readme.read_text(encoding="utf-8"), readme_section(result, picture))
        write(readme, text.encode())
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
    panels: tuple[tuple[str, Callable[..., None], str], ...] = (
        ("time", _draw_time, "time per element, default call (lower is faster)"),
        ("ratio", _draw_ratio, "rival's time / ours, default call (below 1: the rival is faster)"),
        ("copy", _draw_copy, "speed as a fraction of a copy's, beyond the caches"),
    )
    figures = {}
    for function, device in dict.fromkeys((point.function, point.device) for point in result.by_point):
        hot = {p: at for p, at in result.by_point.items() if p.state == "hot"}
        found = {p: at for p, at in hot.items() if (p.function, p.device) == (function, device)}
        place = "" if device == "cpu" else f"-{device}"
        limited = {p: at for p, at in found.items() if _fraction_of_copy(at) is not None}
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
        figure.suptitle(f"{title}, {next(iter(found)).dtype}", fontsize=12, fontweight="bold")
    return figure


def _rivals_lines(found: Found) -> Iterator[tuple[list[Point], list[Measurement], dict[str, Any]]]:
    """Give for each rival where it was measured, what was found there, and how its line looks."""
    for index, (name, title) in enumerate(TITLES.items()):
        line = [(point, m) for point, at in found.items() for m in at if m.rival == name]
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
    for points, measurements, look in _rivals_lines(found):
        times = [
            1e3 * _microseconds(m.rival_nanoseconds) / p.elements for p, m in zip(points, measurements, strict=True)
        ]
        axes.plot([p.elements for p in points], times, **look)
    times = [1e3 * _microseconds_of_ours(at) / p.elements for p, at in found.items()]
    look = {"color": "black", "linewidth": 2.6, "marker": "o", "markersize": 5, "label": "rectifier"}
    axes.plot([p.elements for p in found], times, **look)
    axes.set(yscale="log", ylabel="ns per element")


def _draw_ratio(axes: Any, found: Found) -> None:
    for points, measurements, look in _rivals_lines(found):
        elements = [p.elements for p in points]
        axes.plot(elements, [m.times_faster for m in measurements], **look)
        low, high = zip(*(m.interval for m in measurements), strict=True)
        axes.fill_between(elements, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.axhline(1, color="black", linewidth=2.6, label="rectifier = 1")
    axes.set(yscale="log", ylabel="times the time of ours")


def _draw_copy(axes: Any, found: Found) -> None:
    for index, form in enumerate(FORMS["value"]):
        line = [(p.elements, _fraction_of_copy(at)) for p, at in found.items() if p.form == form]
        if line:
            label = FORM_TITLES.get(form, form) or "default"
            axes.plot(*zip(*line, strict=True), color=_COLORS[index], marker="osv^D<"[index], label=label)
    axes.axhline(1, color="black", linewidth=1.5, label="copy")
    axes.axhline(0, color="none")  # shown, without a limit that would cut another panel
    axes.set(ylabel="fraction")


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
    slower = rows(result, ("rival",))
    parts = ["<ul>", *(f"<li>{html.escape(note)}</li>" for note in notes(result)), "</ul>"]
    for svg in pictures:
        parts += ["<figure>", svg[svg.index("<svg") :], "</figure>"]
    parts += ["<h2>Rival by rival</h2>", _table(SUMMARY_HEADER, summary(result))]
    if slower:
        parts += ["<h2>Slower here</h2>", _table(HEADER, slower)]
    parts += ["<h2>Against the fastest rival at each point</h2>"]
    parts += ["<p>Coloured: a rival is faster.</p>", _table(HEADER, rows(result), set(slower))]
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
    "A program that computes one result of a million elements, from the start of its process. From disk: with the "
    "files of the package and of all that it requires out of the page cache, except what of NumPy the measuring "
    "process itself has mapped. Installed: those files. Ours compiles with an empty store of machine code, and finds "
    "what it needs in a filled one."
)


def _all_rows(result: Run) -> Iterator[tuple[str, ...]]:
    for point, found in result.by_point.items():
        for m in found:
            low, high = m.interval
            yield (
                describe_point(point), TITLES[m.rival], m.rival_call, m.rival_dtype, str(sum(map(len, m.ratios))),
                _ratio(m), f"{three_digits(low)} to {three_digits(high)}",
            )  # fmt: skip


def _table(header: Sequence[str], body: Sequence[tuple[str, ...]], slower: set[tuple[str, ...]] | None = None) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)

    marked = ((' class="slower"' if slower and row in slower else "", row) for row in body)
    lines = "\n".join(f"<tr{mark}>{line(row, 'td')}</tr>" for mark, row in marked)
    return f'<div class="wide"><table>\n<tr>{line(header, "th")}</tr>\n{lines}\n</table></div>'
