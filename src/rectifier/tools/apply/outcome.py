"""The outcome of a job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .counting import Counter
from .job import Job
from .layout import Layout


@dataclass(frozen=True)
class Outcome:
    """The result of a job: its output, time and counts.

    Attributes
    ----------
    output : str
        The file.
    shape : tuple of int
    dtype : str
        Of the result.
    seconds : float
        Of the pass over the data.
    bytes_read, bytes_written : int
    active : int or None
        How many elements were on, if they were counted.
    active_fraction : float or None
        Of all; None where there are none.
    active_fraction_by_column : list of float or None
        For each index of the last axis.
    notes : tuple of str
        What of the input was left out.
    """

    output: str
    shape: tuple[int, ...]
    dtype: str
    seconds: float
    bytes_read: int
    bytes_written: int
    active: int | None = None
    active_fraction: float | None = None
    active_fraction_by_column: list[float] | None = None
    notes: tuple[str, ...] = ()


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
