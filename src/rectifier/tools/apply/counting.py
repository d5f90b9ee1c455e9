"""Count what a job does: active units, bytes, seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .boxes import RESERVE
from .job import Job, Outcome
from .layout import ArrayFile, Box, FileError, Layout
from .watch import resident

COLUMN = 200  # bytes for the number of a column, measured


class Counter:
    """Counts the active units of boxes as they come by."""

    def __init__(self, function: Any, job: Job, x: ArrayFile) -> None:
        spec = getattr(function, "spec", None)
        if "mask" not in getattr(spec, "backward_from", ()):
            raise FileError(f"{job.function} has no mask, which says what is active: --stats and --columns need one")
        if job.columns and not x.shape:
            raise FileError(f"{x.path}: it has no axis, so no --columns")
        self._function, self._settings = function, job.parameters or {}
        self.shape, self.total = x.shape, 0
        self.columns = None
        if job.columns:
            # Sums, their fractions, a list of these and its text; without elements there are none.
            columns = x.shape[-1] if math.prod(x.shape) else 0
            needed = columns * COLUMN + resident() + RESERVE
            if needed > job.memory:
                raise FileError(f"--memory is too small for {columns:,} columns: at least {-(-needed // (1 << 20))}MiB")
            self.columns = np.zeros(columns, np.int64)

    def add(self, box: Box, x: Any) -> None:
        """Count a box."""
        _, mask = self._function.with_mask(x, **self._settings)
        if self.columns is None:
            self.total += mask.count()
        else:
            counts = mask.count(axis=tuple(range(x.ndim - 1)))
            self.columns[box[-1]] += counts
            self.total += int(counts.sum())

    def fields(self) -> dict[str, Any]:
        """Return what an outcome says of them."""
        size = math.prod(self.shape)
        found: dict[str, Any] = {"active": self.total, "active_fraction": self.total / size if size else None}
        if self.columns is not None and size:
            rows = size // self.shape[-1]
            found["active_fraction_by_column"] = (self.columns / rows).tolist()
        return found


def outcome_of(job: Job, sources: Sequence[Layout], target: Layout, seconds: float, counter: Counter | None) -> Outcome:
    """Return what a job has done."""
    size = math.prod(target.shape)
    return Outcome(
        output=str(job.target or job.source),
        shape=target.shape,
        dtype=str(target.dtype),
        seconds=seconds,
        bytes_read=sum(size * array.dtype.itemsize for array in sources),
        bytes_written=size * target.dtype.itemsize,
        notes=tuple(dict.fromkeys(note for array in (*sources, target) for note in array.notes)),
        **(counter.fields() if counter else {}),
    )
