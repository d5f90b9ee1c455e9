"""The history of the benchmark: a record a run, by kind of machine, and what changed beyond noise between two."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..documents import markdown_table, read, write
from .comparison import Change, compare
from .points import Point, describe_point
from .results import Run

SCHEMA = "rectifier-history/1"
HEADER = ("point", "time", "rivals", "p")


class Estimate(NamedTuple):
    """What is kept of a measurement: the baseline, the point, and `Measurement.estimate`."""

    baseline: str
    point: Point
    estimate: tuple[float, float, float]


@dataclass(frozen=True)
class Record:
    """What is kept of a run.

    Attributes
    ----------
    kind : str
        Of the machine: processor, instructions, threads and engine.
    version, commit, started : str
        Of this library, and when.
    baselines : dict
        Versions of the packages that were measured, by the baseline's name.
    measurements : tuple of Estimate
        The rest.
    """

    kind: str
    version: str
    commit: str
    started: str
    baselines: Mapping[str, str]
    measurements: tuple[Estimate, ...]

    @property
    def name(self) -> str:
        """Name of the version that was measured."""
        return f"{self.version} ({', '.join(filter(None, (self.commit[:9], self.started[:10])))})"


def of_run(run: Run) -> Record:
    """Make the record of a run."""
    machine = run.machine
    threads = f"{run.threads} thread{'' if run.threads == 1 else 's'}"
    return Record(
        f"{machine['processor']}, {machine['simd']}, {threads}, engine {machine['engine']}",
        machine["versions"]["rectifier"],
        run.commit or "",
        run.started,
        run.baselines,
        tuple(Estimate(m.baseline, m.point, m.estimate) for m in run.measurements),
    )


def load(path: Path) -> list[Record]:
    """Read what `save` wrote, as `documents.read` does."""
    return read(path, SCHEMA, "rectifier bench --history", lambda found: list(map(_record_of, found["records"])))


def _record_of(found: dict[str, Any]) -> Record:
    estimates = tuple(
        Estimate(baseline, Point(*point), (float(log), float(error), float(degrees)))
        for *point, of_baselines in found.pop("points")
        for baseline, (log, error, degrees) in of_baselines.items()
    )
    return Record(**found, measurements=estimates)


def save(records: Sequence[Record], path: Path) -> None:
    """Write records as JSON, a point a line; logarithms of ratios to four digits, which noise never reaches."""
    texts = []
    for record in records:
        points: dict[Point, dict[str, list[float]]] = {}
        for baseline, point, estimate in record.measurements:
            points.setdefault(point, {})[baseline] = [round(number, 4) for number in estimate]
        head = {**vars(record)}
        del head["measurements"]
        lines = ",\n".join(json.dumps([*point, found]) for point, found in points.items())
        texts.append(f'{json.dumps(head)[:-1]}, "points": [\n{lines}\n]}}')
    body = ",\n".join(texts)
    write(path, f'{{"schema": "{SCHEMA}", "records": [\n{body}\n]}}\n'.encode())


def add(records: Sequence[Record], new: Record) -> list[Record]:
    """Return the records and a new one, in the place of what was kept of the same run."""
    kept = [record for record in records if (record.kind, record.started) != (new.kind, new.started)]
    return sorted([*kept, new], key=lambda record: (record.kind, record.started))


def before(records: Sequence[Record], new: Record) -> Record | None:
    """Return the last record before one, of its kind of machine and with points in common."""
    points = {estimate.point for estimate in new.measurements}
    earlier = [
        record
        for record in records
        if record.kind == new.kind
        and record.started < new.started
        and points & {estimate.point for estimate in record.measurements}
    ]
    return max(earlier, key=lambda record: record.started, default=None)


def steps(records: Sequence[Record]) -> Iterator[tuple[Record, Record, list[Change]]]:
    """Yield each record with the one before it that it can be compared with, and all that was tested."""
    for record in records:
        earlier = before(records, record)
        if earlier is not None:
            yield earlier, record, compare(earlier, record)


def largest_first(changes: Iterable[Change]) -> list[Change]:
    """Return the changes beyond noise, the largest first."""
    return sorted((c for c in changes if c.significant), key=lambda c: -max(c.factor, 1 / c.factor))


def rows(changes: Iterable[Change]) -> list[tuple[str, ...]]:
    """Write out changes beyond noise as cells under `HEADER`, the largest first."""
    return [
        (
            describe_point(change.point),
            f"{max(change.factor, 1 / change.factor):.2f}x {'slower' if change.factor > 1 else 'faster'}",
            str(change.pairs),
            f"{change.p:.1g}",
        )
        for change in largest_first(changes)
    ]


def verdict(changes: Sequence[Change]) -> str:
    """Sum a comparison up in a sentence."""
    if not changes:
        return "Nothing to compare: no point has three rivals in one version."
    found = [change for change in changes if change.significant]
    slower = sum(change.factor > 1 for change in found)
    return (
        f"{len(changes)} points compared: {len(found) - slower} faster and {slower} slower beyond noise, "
        f"{len(changes) - len(found)} unchanged."
    )


def page(records: Sequence[Record]) -> str:
    """Write the page: kind by kind the versions, and what changed from each to the next, the newest first."""
    parts = [
        "# Speed from version to version",
        "Each run keeps, for every point, the ratio to each rival and how sure it is. Two runs on the same kind of "
        "machine are compared by these ratios, so that what the machine did to both falls out. A change counts if at "
        "least three rivals in unchanged versions saw it, and if chance alone shows one in less than one of twenty "
        "comparisons. `rectifier bench --history benchmarks/history.json` adds a run.",
    ]
    for kind in dict.fromkeys(record.kind for record in records):
        here = [record for record in records if record.kind == kind]
        measured = [(record.name, str(len({e.point for e in record.measurements}))) for record in here]
        parts += [f"## {kind}", markdown_table(("version", "points"), measured)]
        for earlier, later, changes in reversed([*steps(here)]):
            parts += [f"### {earlier.name} to {later.name}", verdict(changes)]
            if found := rows(changes):
                parts.append(markdown_table(HEADER, found))
    return "\n\n".join(parts) + "\n"
