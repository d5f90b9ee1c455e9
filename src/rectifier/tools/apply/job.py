"""A job of `rectifier apply`, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """A function, its inputs, its output, and the options.

    Attributes
    ----------
    function : str
        Name of the catalogue.
    source : Path
        The array x.
    target : Path or None
        Where the result goes; None to replace x by it, in place.
    derivative : bool
        Compute f'(x) instead of f(x).
    upstream, gate : Path or None
        The array dy, for dx; the second array of a gated function.
    parameters : dict
        Of the function.
    axis : int
        Of a row-wise function.
    dataset : str or None
        Which array of a file with several.
    chunks : tuple of int or None
        Of the result, if it has any and they are not those of x.
    memory : int
        Bytes that may be resident.
    force : bool
        Replace what has the target's name.
    stats, columns : bool
        Count the active units: of all, and for each index of the last axis.
    scheduler : str or None
        Address of a Dask cluster.
    dtype : str or None
        Of elements of which a file of NumPy says only how many bytes they have, as it does of bfloat16.
    raw : bool
        Take the stored numbers, also where attributes say that they are packed or stand for missing values.
    """

    function: str
    source: Path
    target: Path | None
    derivative: bool = False
    upstream: Path | None = None
    gate: Path | None = None
    parameters: Any = None
    axis: int = -1
    dataset: str | None = None
    chunks: tuple[int, ...] | None = None
    memory: int = 256 << 20
    force: bool = False
    stats: bool = False
    columns: bool = False
    scheduler: str | None = None
    dtype: str | None = None
    raw: bool = False


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
