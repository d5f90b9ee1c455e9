"""Tables and text of a run: on the terminal, in the README, and on a page of its own."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from ..documents import markdown_table, three_digits
from .baselines import BASELINES
from .batches import DISTRIBUTIONS
from .estimates import WIDE
from .points import SHOWN, name_call
from .results import Measurement, Run

TITLES = {baseline.name: baseline.title for baseline in BASELINES}
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
HEADER = ("call", "shape", "ours µs", "fastest", "ratio", "95 %", "copy")
FIRST_HEADER = ("", "import s", "first result s", "from disk s", "peak MB", "installed MB")
SUMMARY_HEADER = ("rival", "version", "ours faster", "rival faster", "undecided")
COLORS = {"ours": "green", "baseline": "red", "undecided": ""}


def microseconds(rounds: Sequence[Sequence[float]]) -> float:
    """Return the median over processes of their median time."""
    return statistics.median(map(statistics.median, rounds)) / 1e3


def microseconds_of_ours(measurements: Sequence[Measurement]) -> float:
    """Return the median time of ours beside all baselines."""
    return statistics.median(microseconds(m.ours_nanoseconds) for m in measurements)


def fraction_of_copy(measurements: Sequence[Measurement]) -> float | None:
    """Return the median of the fractions of a copy's speed, if there are any."""
    found = [m.fraction_of_copy for m in measurements if m.fraction_of_copy is not None]
    return statistics.median(found) if found else None


def rows(result: Run, verdicts: Sequence[str] = tuple(COLORS)) -> list[tuple[str, ...]]:
    """Write out each point with one of these verdicts against its fastest baseline, as cells under `HEADER`."""
    table: list[tuple[str, ...]] = []
    several = len({point.function for point in result.by_point}) > 1
    for point, found in result.by_point.items():
        if result.verdict(point) in verdicts:
            fraction = fraction_of_copy(found)
            table.append(
                (
                    name_call(point, several),
                    f"{point.rows}x{point.columns}",
                    three_digits(microseconds_of_ours(found)),
                    TITLES[found[0].baseline],
                    ratio_of(found[0]),
                    f"±{found[0].half_width:.0%}",
                    "" if fraction is None else f"{fraction:.0%}",
                )
            )
    return table


def ratio_of(measurement: Measurement) -> str:
    """Write a ratio out; a question mark where the machine was too noisy."""
    return f"{three_digits(measurement.times_faster)}x{'' if measurement.conclusive else '?'}"


def summary(result: Run) -> list[tuple[str, ...]]:
    """Count for each baseline where ours is faster, slower, or neither for certain."""
    table: list[tuple[str, ...]] = []
    for name, version in result.baselines.items():
        counts = Counter(m.verdict for m in result.measurements if m.baseline == name)
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


def _conditions(result: Run) -> str:
    """Return dtype, threads and distribution; of each those that were measured."""
    dtypes = " and ".join(dict.fromkeys(point.dtype for point in result.by_point))
    drawn = " and ".join(dict.fromkeys(DISTRIBUTIONS[point.distribution].title for point in result.by_point))
    return f"{dtypes}, {_threads(result)}, {drawn}"


def _verdicts(result: Run) -> str:
    counts = Counter(map(result.verdict, result.by_point))
    return (
        f"Of {len(result.by_point)} points ours is faster than every rival at {counts['ours']}, slower than one at "
        f"{counts['baseline']}, and {counts['undecided']} are undecided."
    )


def _memory(result: Run) -> str:
    """Return a note on whose results lie in memory that was used before."""
    reusing = [TITLES[name] for name in ("tensorflow", "onnxruntime") if name in result.baselines]
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
    """Return how a run was measured, what was not, and where ours loses."""
    machine = result.machine
    noisy = sum(not m.conclusive for m in result.measurements)
    processes = max(len(m.ratios) for m in result.measurements)
    caches = ", ".join(f"{name} {size // 1024:,} KiB" for name, size in machine["cache_bytes"].items())
    lines = [
        f"{machine['processor']}, {machine['simd']}, {caches}; {machine['system']}; huge pages "
        f"{machine['transparent_huge_pages']}; governor {machine['governor'] or 'unknown'}.",
        ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
        + f"; engine {machine['engine']}; commit {result.commit or 'unknown'}.",
        f"{_verdicts(result)} {_conditions(result)}.",
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
    """Write the section of the README: each call against the fastest baseline, over the squares."""
    points = list(result.by_point)
    shapes = [shape for shape in SHOWN if any((p.rows, p.columns) == shape for p in points)]
    lines = [
        "Against the fastest rival at each size: its time divided by ours, so below 1x (bold) it wins; ~ where the "
        f"95 % interval holds 1, ? where it is too wide to tell. {_conditions(result)}.",
        "",
    ]
    table = []
    for call in dict.fromkeys(p._replace(rows=0, columns=0) for p in points if p.state == "hot"):
        line = [call._replace(rows=rows, columns=columns) for rows, columns in shapes]
        cells = [cell(result.by_point[p][0]) if p in result.by_point else "" for p in line]
        if any(cells):
            table.append((name_call(call), *cells))
    versions = ", ".join(dict.fromkeys(result.baselines.values()))
    lines += [
        markdown_table(("", *(f"{r} x {c}" for r, c in shapes)), table),
        "",
        f"{_verdicts(result)} Rivals: {versions}; default builds, {_threads(result)} each. "
        f"{result.machine['processor']}, {result.machine['simd']}. {_memory(result)} {_gpus(result)}",
    ]
    return "\n".join(lines).rstrip()


def cell(fastest: Measurement) -> str:
    """Write out the fastest baseline at a point and its ratio, bold where it is faster than ours."""
    unsure = "~" if fastest.conclusive and fastest.verdict == "undecided" else ""
    text = f"{unsure}{ratio_of(fastest)} {TITLES[fastest.baseline]}".replace("*", r"\*")
    return f"**{text}**" if fastest.verdict == "baseline" else text
