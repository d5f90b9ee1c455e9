"""The parts, one after another within their time, and the file in which what they found is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ... import __version__
from ..bench import results
from ..bench.timing import one_line
from ..documents import read, write
from ..progress import Start, silent
from ..verify import report as verification
from . import speed, suite, values
from .budget import Budget
from .device import Device

SCHEMA = "rectifier-gpu-day/1"
PROGRAM = "python -m rectifier.tools.gpu_day"
# By the fields of a `Day`: what to run, and its share of what is left then. Tests and benchmark work in processes of
# their own; what leaves the device's context broken in this one comes late.
PARTS: dict[str, tuple[Callable[[Budget, Callable[[str], object], Start], Any], float]] = {
    "suite": (suite.run, 0.4),
    "host": (speed.host, 0.1),
    "values": (values.run, 0.4),
    "bench": (speed.bench, 0.9),  # the rest, but for the end of its last process
}


@dataclass(frozen=True)
class Day:
    """The findings on a device.

    Attributes
    ----------
    started : str
        Date and time, UTC.
    minutes : float
        That it was allowed.
    version : str
        Of this library.
    device : Device
        On which it ran.
    seconds : dict
        What each part took, by its name in `PARTS`.
    left_out : tuple of str
        What was not done, and why: a line each.
    errors : dict
        For a part that ended by an error, that.
    suite, host, values, bench : Suite, Host, Values and Run, or None
        What each part found; None where it did not run, or not to its end.
    """

    started: str
    minutes: float
    version: str
    device: Device
    seconds: dict[str, float]
    left_out: tuple[str, ...] = ()
    errors: dict[str, str] = field(default_factory=dict)
    suite: suite.Suite | None = None
    host: speed.Host | None = None
    values: values.Values | None = None
    bench: results.Run | None = None

    @property
    def holds(self) -> bool:
        """Whether no part ended by an error, no test failed, and all values are what they are to be."""
        compared = self.values or values.Values((), ())
        return not (
            self.errors
            or (self.suite and self.suite.failed)
            or compared.failed
            or any(row.different for row in compared.bits)
            or not all(stage.holds for stage in compared.stages)
        )


def run(
    device: Device,
    minutes: float,
    start: Start = silent,
    keep: Callable[[Day], object] = lambda day: None,
    clock: Callable[[], float] = time.monotonic,
) -> Day:
    """Run all parts, each within its share of the time; one that fails keeps no other from running.

    Parameters
    ----------
    device : Device
        Of `device.describe`.
    minutes : float
        For all of it.
    start : Start
        Starts each stage.
    keep : callable
        Called with what was found so far, after each part.
    clock : callable
        Returns the time in seconds.

    Returns
    -------
    Day
    """
    budget = Budget(60 * minutes, clock)
    day = Day(datetime.now(UTC).isoformat(timespec="seconds"), minutes, __version__, device, {})
    for name, (part, share) in PARTS.items():
        left_out: list[str] = []
        errors, found, begun = {**day.errors}, None, clock()
        if budget.left:
            try:
                found = part(budget.share(share), left_out.append, start)
            except Exception as error:  # of CUDA, of a driver, of a compiler
                errors[name] = one_line(error)
        else:
            left_out.append(f"{name}: no time left")
        more: dict[str, Any] = {
            "seconds": {**day.seconds, name: round(clock() - begun, 1)},
            "left_out": (*day.left_out, *left_out),
            "errors": errors,
            name: found,
        }
        day = replace(day, **more)
        keep(day)
    return day


def plain(day: Day) -> dict[str, Any]:
    """Return what JSON can hold."""
    found: dict[str, Any] = {one.name: getattr(day, one.name) for one in fields(day)}
    found["device"] = asdict(day.device)
    for name in ("suite", "host"):
        found[name] = found[name] and asdict(found[name])
    if day.values:
        stages = [verification.plain(stage) for stage in day.values.stages]
        found["values"] = {"bits": [*map(asdict, day.values.bits)], "stages": stages, "failed": day.values.failed}
    found["bench"] = day.bench and results.plain(day.bench)
    return found


def save(day: Day, path: Path) -> None:
    """Write it as JSON, whole or not at all."""
    write(path, f"{json.dumps({'schema': SCHEMA, **plain(day)}, indent=1)}\n".encode())


def load(path: Path, use: Callable[[Day], object] = lambda day: None) -> Day:
    """Read what `save` wrote, as `read` does; a file of which no use can be made is refused as well."""

    def make(found: dict[str, Any]) -> Day:
        kept = json.dumps(found)
        day = _day_of(found)
        if json.loads(json.dumps(plain(day))) != json.loads(kept):
            raise ValueError
        use(day)
        return day

    return read(path, SCHEMA, PROGRAM, make)


def _day_of(found: dict[str, Any]) -> Day:
    found["device"] = Device(**found["device"])
    found["left_out"] = tuple(found["left_out"])
    if ran := found["suite"]:
        found["suite"] = suite.Suite(**{**ran, "failed": tuple(ran["failed"])})
    if ran := found["host"]:
        costs = tuple(speed.Cost(**cost) for cost in ran["costs"])
        found["host"] = speed.Host(ran["copy_bytes_per_second"], costs)
    if ran := found["values"]:
        bits = tuple(values.Bits(**row) for row in ran["bits"])
        found["values"] = values.Values(bits, tuple(map(verification.stage_of, ran["stages"])), tuple(ran["failed"]))
    if ran := found["bench"]:
        found["bench"] = results.run_of(ran)
    return Day(**found)
