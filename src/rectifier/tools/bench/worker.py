"""The process of a pair of ours and a baseline: what starts it, and what it does.

``python -m rectifier.tools.bench.worker`` is such a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module, metadata
from time import perf_counter
from typing import Any

import numpy as np

from .baselines import BASELINES
from .case import ours
from .points import Point
from .results import plain
from .timing import NotMeasuredError, case_of, measure, one_line

THREAD_VARIABLES = (
    "RECTIFIER_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
    "NUMEXPR_MAX_THREADS", "NPROC",  # the last is JAX's
)  # fmt: skip


def environment(threads: int, pooled: bool = True) -> dict[str, str]:
    """Return the environment of a process that measures, with so many threads for ours and for each baseline."""
    settings = dict.fromkeys(THREAD_VARIABLES, str(threads))
    settings.update({} if pooled else {"RECTIFIER_POOL_BYTES": "0"})
    return {**os.environ, **settings, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}


def converse(task: dict[str, Any], environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Start the process of a pair, and yield its messages until it ends."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "rectifier.tools.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
            env=environment,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        limit = task.get("limit") or 300 + 20 * len(task["points"]) * max(task["seconds_per_point"], 0.1)
        begun, watch = perf_counter(), threading.Timer(limit, process.kill)
        watch.start()
        try:
            process.stdin.write(json.dumps(task))
            process.stdin.close()
            yield from map(json.loads, process.stdout)
        except BrokenPipeError:
            pass  # it died at once, and what it left says why
        finally:
            watch.cancel()
            if process.poll() is None and sys.exc_info()[0] is not None:
                process.kill()
        if process.wait():
            errors.seek(0)
            lines = errors.read().strip().splitlines() or [""]
            reason = f"its process ended with status {process.returncode}: {lines[-1]}"
            if perf_counter() - begun > limit:
                reason = f"its process was stopped after {limit:.0f} s"
            yield {"skipped": reason, "points": []}


def measure_pair(task: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    """Measure the points of one baseline; `say` takes the messages."""
    (baseline,) = (baseline for baseline in BASELINES if baseline.name == task["baseline"])
    name, *_ = baseline.packages
    version = getattr(import_module(name), "__version__", None) or metadata.version(name)
    copy_name, copy, copy_from_bytes = _limit_copy(baseline.gpu, task["copy_from_bytes"])
    points = [Point(*point) for point in task["points"]]
    for point in {(p.function, p.operation): p for p in points}.values():  # compile, before the time counts
        case = case_of(point._replace(form="default", rows=1, columns=1))
        assert case is not None
        ours(case).result()
    say({"version": f"{name} {version}", "copy": copy_name})
    begun = perf_counter()
    for index, point in enumerate(points):
        seconds = task["seconds_per_point"]
        if task["seconds"] is not None:
            left = task["seconds"] - (perf_counter() - begun)
            if left < 0:
                say({"skipped": "no time left in a pass", "points": points[index:], "done": len(points) - index})
                return
            seconds = left / (len(points) - index)

        def report(reason: str, point: Point = point) -> None:
            say({"skipped": reason, "points": [point]})

        try:
            measurement = measure(baseline, point, seconds, task["seconds_per_block"], copy_from_bytes, copy, report)
            say({"measurement": plain(measurement)})
        except NotMeasuredError as why:
            if str(why):
                report(str(why))
        except Exception as error:  # ours, or the memory
            report(one_line(error))
        say({"done": 1})


def _limit_copy(gpu: bool, beyond_caches: float) -> tuple[str, Callable[[Any, Any], object], float]:
    """Return what bounds the speed of large arrays: its name, the copy, and the bytes from which it is a bound.

    That is a copy on the GPU, or by our threads past the caches, if there is one.
    """
    if gpu:
        cupy = import_module("cupy")
        return "cupy.copyto", cupy.copyto, cupy.cuda.Device().attributes["L2CacheSize"]
    try:
        copy: Callable[[Any, Any], object] = import_module("rectifier.tools.bench.stream_copy").stream_copy
    except (ImportError, AttributeError):
        return "numpy.copyto", np.copyto, beyond_caches
    return "rectifier.tools.bench.stream_copy", copy, beyond_caches


def _main() -> None:
    task = json.load(sys.stdin)
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a baseline may print
    measure_pair(task, lambda message: print(json.dumps(message), file=said, flush=True))


if __name__ == "__main__":
    _main()
