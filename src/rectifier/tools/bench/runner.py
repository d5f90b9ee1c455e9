"""Run the benchmark: ours and a baseline side by side, in processes for each pair.

All pairs are measured in several passes, each pair in a new process in each: where a process finds its memory
decides more than any noise within it.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

from ..progress import Start, silent
from . import worker
from .baselines import BASELINES
from .case import Baseline
from .first_use import first_uses_of
from .points import Point, describe_point, itemsize
from .results import Measurement, Run, measurement_of, merge

PASSES = 3
QUICK_SECONDS = 95.0
SECONDS_PER_POINT = 0.07  # in each pass
DECISIVE, LARGE = 2.0, 3_000_000  # where ours is so much faster on so many elements, one pass is enough
ARRAYS = 20  # that lie in memory at once: ours, the baseline's own, what its operators keep, fresh results


def run(
    points: Sequence[Point],
    baselines: Sequence[Baseline] = BASELINES,
    quick: bool = False,
    threads: int | None = None,
    seconds_per_point: float = SECONDS_PER_POINT,
    passes: int = PASSES,
    first_uses: int = 3,
    seconds: float | None = None,
    copy_from_bytes: float | None = None,
    start: Start = silent,
    keep: Callable[[Run], object] = lambda unfinished: None,
) -> Run:
    """Measure ours against each baseline, in a process for each pair in each pass.

    Parameters
    ----------
    points : sequence of Point
        What to measure.
    baselines : sequence of Baseline
        Against whom.
    quick : bool
        Share out `QUICK_SECONDS` instead of giving each point its time.
    threads : int, optional
        Of ours and of each baseline; as many as this process may use if None.
    seconds_per_point : float
        How long to go on, in each pass, with a point whose ratio is not known well yet.
    passes : int
        How many processes measure each pair.
    first_uses : int
        How often to start each process for a first result, from memory and from disk; 0, or quick: never.
    seconds : float, optional
        To share out instead of `QUICK_SECONDS` in a quick run; a process that would last longer is stopped.
    copy_from_bytes : float, optional
        From which size on a copy is timed beside; what the caches cannot hold if None.
    start : Start
        Starts each stage.
    keep : callable
        Called after each process with what was found so far.

    Returns
    -------
    Run
    """
    begun, machine, commit = perf_counter(), describe_machine(), _commit()
    threads = threads or machine["threads"]["allowed"]
    if copy_from_bytes is None:
        copy_from_bytes = max(machine["cache_bytes"].values(), default=0)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    skipped = [f"{baseline.title}: {reason}" for baseline in baselines if (reason := baseline.missing())]
    present = [baseline for baseline in baselines if not baseline.missing()]
    if quick:
        skipped += [f"{baseline.title}: not in the quick run" for baseline in present if not baseline.quick]
        skipped.append("the quick run has no first use, no fresh results and none without the pool, and few sizes")
        present, first_uses = [baseline for baseline in present if baseline.quick], 0
    fitting = []
    for point in points:
        needed, usable = ARRAYS * point.elements * itemsize(point.dtype), (machine["memory_bytes"] or math.inf) / 2
        if needed <= usable:
            fitting.append(point)
        else:
            line = f"{point.rows} x {point.columns}: takes {needed / 1e9:.3g} GB, of {usable / 1e9:.3g} to be used"
            skipped += [line] * (line not in skipped)
    first_use = first_uses_of(present, first_uses, threads, skipped.append, start) if first_uses else {}

    versions: dict[str, str] = {}
    copies: set[str] = set()
    found: dict[tuple[str, Point], list[Measurement]] = {}
    reasons: dict[tuple[str, str], dict[Point, None]] = {}

    def result() -> Run:
        lines = [
            f"{title}: {reason}" + (f" ({len(at)} points, such as {describe_point(next(iter(at)))})" if at else "")
            for (title, reason), at in reasons.items()
        ]
        return Run(
            started,
            round(perf_counter() - begun, 1),
            quick,
            threads,
            commit,
            ", ".join(sorted(copies)),
            machine,
            {baseline.name: versions[baseline.name] for baseline in baselines if baseline.name in versions},
            (*skipped, *lines),
            first_use,
            tuple(map(merge, found.values())),
        )

    shuffle = random.Random(0)
    parts = [[p for p in fitting if (p.form != "unpooled") is pooled] for pooled in (True, False)]
    jobs = [
        (number, baseline, part)
        for number in range(passes)
        for baseline in shuffle.sample(present, len(present))
        for part in parts
        if part
    ]
    steps = sum(len(_points_of(baseline, fitting)) for baseline in present)
    stages = {n: start(f"pass {n + 1} of {passes}", steps) for n in range(passes) if jobs}
    overheads: list[float] = []
    for index, (number, baseline, part) in enumerate(jobs):
        part = [
            p
            for p in _points_of(baseline, part)
            if p.elements < LARGE or all(m.times_faster < DECISIVE for m in found.get((baseline.name, p), ()))
        ]
        if not part:
            continue
        left_of_all = (QUICK_SECONDS if seconds is None else seconds) - (perf_counter() - begun)
        if seconds is not None and left_of_all <= 0:
            skipped.append(f"{baseline.title}: no time left for pass {number + 1} of {passes}")
            continue
        left = left_of_all / (len(jobs) - index)
        budget, job_begun = max(0.5, left - statistics.mean(overheads or [1.0])), perf_counter()
        task = {
            "baseline": baseline.name,
            "points": part[:: -1 if number % 2 else 1],  # so that not always the same lack time
            "seconds_per_point": seconds_per_point,
            "seconds_per_block": 5e-4 if quick else 2e-3,
            "copy_from_bytes": copy_from_bytes,
            "seconds": budget if quick else None,
            "limit": None if seconds is None else left_of_all,
        }
        for message in worker.converse(task, worker.environment(threads, part[0].form != "unpooled")):
            if "version" in message:
                overheads.append(perf_counter() - job_begun)
                versions[baseline.name] = message["version"]
                copies.add(message["copy"])
                continue
            if "measurement" in message:
                measurement = measurement_of(message["measurement"])
                found.setdefault((baseline.name, measurement.point), []).append(measurement)
            if "skipped" in message:
                at = reasons.setdefault((baseline.title, message["skipped"]), {})
                at.update({Point(*point): None for point in message["points"]})
            for _ in range(message.get("done", 0)):
                stages[number]()
        keep(result())
    return result()


def _points_of(baseline: Baseline, points: Sequence[Point]) -> list[Point]:
    """Return the points at which a baseline is measured; on a GPU none about the memory of the host."""
    if not baseline.gpu:
        return list(points)
    return [point._replace(device="gpu") for point in points if point.form not in ("fresh", "unpooled")]


@cache
def describe_machine() -> dict[str, Any]:
    """Describe this machine, by a process of its own: this one must not hold the files of a compiler open."""
    program = (
        "import json, dataclasses, rectifier.tools.machine as m; print(json.dumps(dataclasses.asdict(m.describe())))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, encoding="utf-8", check=True)
    machine = {**json.loads(done.stdout), "governor": None}
    machine.get("settings", {}).pop("store", None)  # a directory of whoever ran it
    with suppress(OSError):
        governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
        machine["governor"] = governor.read_text(encoding="utf-8").strip()
    return machine


def _commit() -> str | None:
    """Return the commit of this file's repository, with a + if something differs; None outside a repository."""
    directory, name = os.path.split(__file__)
    done = None
    with suppress(OSError, subprocess.CalledProcessError):
        for arguments in (("ls-files", "--error-unmatch", name), ("describe", "--always", "--dirty=+")):
            command = ["git", "-C", directory, *arguments]
            done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.strip()
        return done
    return None
