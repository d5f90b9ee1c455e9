"""Processes that measure: their environment, and the conversation with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

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
        limit = 300 + 20 * len(task["points"]) * max(task["seconds_per_point"], 0.1)
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
