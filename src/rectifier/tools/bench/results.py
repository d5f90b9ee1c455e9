"""Measurements and runs of the benchmark, and their JSON."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ..documents import read, write
from .baselines import BASELINES
from .batches import DISTRIBUTIONS
from .estimates import PROCESS_DEVIATION, WIDE, half_width, shrink, t_bound
from .points import FORMS, Point, itemsize

SCHEMA = "rectifier-bench/2"
Rounds = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Measurement:
    """One point against one baseline.

    Attributes
    ----------
    baseline : str
        Its name.
    point : Point
        What was measured.
    baseline_call, baseline_dtype : str
        The quickest of the baseline's ways, and the dtype of its result.
    ours_nanoseconds, baseline_nanoseconds, copy_nanoseconds : tuple of tuple of float
        For each process, time of a call in each round; of a copy of x only where the caches cannot hold it.
    """

    baseline: str
    point: Point
    baseline_call: str
    baseline_dtype: str
    ours_nanoseconds: Rounds
    baseline_nanoseconds: Rounds
    copy_nanoseconds: Rounds

    @cached_property
    def ratios(self) -> list[list[float]]:
        """For each process, the baseline's time divided by ours, round by round."""
        return [_divide(*times) for times in zip(self.baseline_nanoseconds, self.ours_nanoseconds, strict=True)]

    @cached_property
    def estimate(self) -> tuple[float, float, float]:
        """Logarithm of `times_faster`, its standard error, and the degrees of freedom of that."""
        logs = [math.log(statistics.median(ratios)) for ratios in self.ratios]
        within = statistics.median(half_width(ratios) for ratios in self.ratios) / 1.96
        found = statistics.variance(logs) if len(logs) > 1 else 0.0
        variance, degrees = shrink(found, len(logs), PROCESS_DEVIATION**2 + within**2)
        return statistics.mean(logs), math.sqrt(variance / len(logs)), degrees

    @property
    def times_faster(self) -> float:
        """Geometric mean over the processes of their median ratios; below 1 ours is slower."""
        return math.exp(self.estimate[0])

    @cached_property
    def half_width(self) -> float:
        """Half of the interval that holds the logarithm of the ratio with 95 % confidence."""
        _, error, degrees = self.estimate
        return error * t_bound(degrees)

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of the ratio with 95 % confidence."""
        return math.exp(self.estimate[0] - self.half_width), math.exp(self.estimate[0] + self.half_width)

    @property
    def conclusive(self) -> bool:
        """Whether the interval is narrow: ±10 %, or half of the way from 1 to the ratio."""
        return self.half_width <= max(WIDE, abs(self.estimate[0]) / 2)

    @property
    def verdict(self) -> str:
        """Which is faster, if that is known: ours, baseline or undecided."""
        low, high = self.interval
        return "undecided" if not self.conclusive or low <= 1 <= high else "ours" if low > 1 else "baseline"

    @cached_property
    def fraction_of_copy(self) -> float | None:
        """Time of copying as many bytes as ours moves, divided by ours; None where that is no limit."""
        if self.point.form == "in_place" or not self.copy_nanoseconds:
            return None
        moved = {"backward": 3.0, "step": 5.0, "backward_from_mask": 2 + 1 / (8 * itemsize(self.point.dtype))}
        arrays = moved.get(self.point.operation, 2.0)
        processes = zip(self.copy_nanoseconds, self.ours_nanoseconds, strict=True)
        return arrays / 2 * statistics.median(ratio for times in processes for ratio in _divide(*times))


def _divide(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


@dataclass(frozen=True)
class Run:
    """The results of a run, and its conditions.

    Attributes
    ----------
    started : str
        Date and time, UTC.
    seconds : float
        How long it took.
    quick : bool
        Whether it was the short one.
    threads : int
        How many ours and each baseline were given.
    commit : str or None
        Of the repository of this library, where it runs from one.
    copy : str
        What copied: a function that stores past the caches, or `numpy.copyto`.
    machine : dict
        `rectifier.tools.machine.describe`, and the governor of the processor's frequency.
    baselines : dict
        Versions of the packages that were measured, by the baseline's name.
    skipped : tuple of str
        A line for each baseline or point that was not measured, with the reason.
    first_use : dict
        For each name, what a program that computes one result takes; None for what this system does not say.
    measurements : tuple of Measurement
        The rest.
    """

    started: str
    seconds: float
    quick: bool
    threads: int
    commit: str | None
    copy: str
    machine: dict[str, Any]
    baselines: dict[str, str]
    skipped: tuple[str, ...]
    first_use: dict[str, dict[str, float | None]]
    measurements: tuple[Measurement, ...]

    @cached_property
    def by_point(self) -> dict[Point, list[Measurement]]:
        """Measurements of each point, the fastest baseline first; the points in the order of the tables."""
        found: dict[Point, list[Measurement]] = {}
        for measurement in sorted(self.measurements, key=lambda m: m.times_faster):
            found.setdefault(measurement.point, []).append(measurement)
        operations, forms = list(FORMS), list(FORMS["value"])

        def order(point: Point) -> tuple[Any, ...]:
            place = operations.index(point.operation), forms.index(point.form)
            return point.device, point.function, *place, point.state, point.elements, point.columns

        return {point: found[point] for point in sorted(found, key=order)}

    def verdict(self, point: Point) -> str:
        """Return ours if it is faster than every baseline, baseline if one is faster, else undecided."""
        verdicts = {measurement.verdict for measurement in self.by_point[point]}
        return "baseline" if "baseline" in verdicts else "undecided" if "undecided" in verdicts else "ours"


def merge(measurements: Sequence[Measurement]) -> Measurement:
    """Make one measurement of those that several processes made of the same."""
    first = measurements[0]
    ways = " or ".join(dict.fromkeys(m.baseline_call for m in measurements))
    ours_times, baseline_times, copy_times = (
        tuple(rounds for m in measurements for rounds in getattr(m, f"{name}_nanoseconds"))
        for name in ("ours", "baseline", "copy")
    )
    return Measurement(first.baseline, first.point, ways, first.baseline_dtype, ours_times, baseline_times, copy_times)


def save(result: Run, path: Path) -> None:
    """Write a run as JSON, a measurement a line."""
    head = plain(result)
    lines = ",\n".join(map(json.dumps, head.pop("measurements")))
    text = json.dumps({"schema": SCHEMA, **head}, indent=1)
    write(path, f'{text[:-2]},\n "measurements": [\n{lines}\n]}}\n'.encode())


def plain(record: Run | Measurement) -> dict[str, Any]:
    """Return what JSON can hold; a baseline is a "rival" there."""
    found = {field.name.replace("baseline", "rival"): getattr(record, field.name) for field in fields(record)}
    if isinstance(record, Run):
        found["measurements"] = [plain(measurement) for measurement in record.measurements]
    return found


def load(path: Path) -> Run:
    """Read what `save` wrote, as `read` does."""
    return read(path, SCHEMA, "rectifier bench", run_of)


def run_of(found: dict[str, Any]) -> Run:
    """Return the run that `plain` wrote out, as `measurement_of` does."""
    measurements = tuple(map(measurement_of, found.pop("measurements")))
    found["baselines"] = found.pop("rivals")
    if unknown := {m.baseline for m in measurements} - {baseline.name for baseline in BASELINES}:
        raise ValueError(f"no baseline {', '.join(sorted(unknown))}")
    return Run(**{**found, "skipped": tuple(found["skipped"])}, measurements=measurements)


def measurement_of(found: dict[str, Any]) -> Measurement:
    """Return the measurement that `plain` wrote out.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = {name.replace("rival", "baseline"): value for name, value in found.items()}
    times = {name: tuple(map(tuple, value)) for name, value in found.items() if name.endswith("_nanoseconds")}
    measurement = Measurement(**{**found, "point": Point(*found["point"]), **times})
    shapes = {tuple(map(len, value)) for name, value in times.items() if value or not name.startswith("copy")}
    if len(shapes) != 1 or not all(values and min(values) > 0 for value in times.values() for values in value):
        raise ValueError("rounds are missing")
    point = measurement.point
    if point.operation not in FORMS or point.form not in FORMS["value"] or point.distribution not in DISTRIBUTIONS:
        raise ValueError("no such point")
    return measurement
