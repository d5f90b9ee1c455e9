"""Do a job on a Dask cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from . import files
from .counting import Counter, outcome_of
from .job import Job, Outcome
from .layout import ArrayFile, FileError, Wanted
from .watch import Watch
from .zarr import Zarr


def run_on_cluster(
    job: Job,
    function: Any,
    call: Callable[..., Any],
    sources: Sequence[ArrayFile],
    wanted: Wanted,
    counter: Counter | None,
    watch: Watch,
) -> Outcome:
    """Run a job on a Dask cluster, whose workers read and write chunks at a place that all of them reach."""
    import dask

    if "dask.array" not in sys.modules:  # while that is imported Dask looks whether to plan, and then it has no Zarr
        dask.config.set({"array.query-planning": False})
    import dask.array as da
    from distributed import Client

    if hasattr(da.Array, "expr"):
        raise FileError("--scheduler needs Dask without the setting array.query-planning, which has no Zarr yet")
    to_zarr = job.target is not None and files.format_of(job.target) == "Zarr"
    if job.target is None or not to_zarr or not all(isinstance(array, Zarr) for array in sources):
        raise FileError("--scheduler takes Zarr in and out, which workers read and write side by side")
    began = perf_counter()
    try:
        client = Client(job.scheduler, timeout="30s")
    except (OSError, ValueError) as error:
        raise FileError(f"no scheduler answers at {job.scheduler}: {error}") from None
    with client, files.made(job.target.absolute(), wanted, job.force, watch) as target:
        arrays = [da.from_zarr(str(array.path.absolute()), component=array.name or None) for array in sources]
        y, counts = call(*arrays), 0
        assert isinstance(target, Zarr)
        write = da.store(y.rechunk(target.chunks), target._array, lock=False, compute=False)
        if counter is not None:
            _, mask = function.with_mask(arrays[0], **(job.parameters or {}))
            counts = mask.count(axis=None if counter.columns is None else tuple(range(y.ndim - 1)))
        _, counts = dask.compute(write, counts)
    if counter is not None:
        counter.total = int(np.sum(counts))
        counter.columns = counts if counter.columns is not None else None
    return outcome_of(job, sources, wanted, perf_counter() - began, counter)
