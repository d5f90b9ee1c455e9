"""A job of `rectifier apply`: checked, planned in boxes that fit into memory, and done."""

from __future__ import annotations

import itertools
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from .._rowwise import RowFunction
from . import files
from .layout import ArrayFile, Box, FileError, Layout, Wanted, named
from .zarr import Zarr

# Of a file of 1 GiB in the page cache, pieces of 256 to 512 KiB went fastest: they stay in the second-level cache.
PIECE = 1 << 19
CHUNKED_PIECE = 1 << 24  # a call of HDF5 or Zarr takes some 100 us
RESERVE = 8 << 20  # for what libraries allocate by the way
REPORT_EVERY = 1 << 25

Start = Callable[[str, int], Callable[[int], object]]


class StoppedError(Exception):
    """A signal came; nothing was left."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass(frozen=True)
class Job:
    """What to apply, to what.

    Attributes
    ----------
    function : str
        Name of the catalogue.
    source : Path
        The array x.
    target : Path or None
        Where the result goes; None to replace x by it, in place.
    derivative : bool
        Give f'(x) instead of f(x).
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


@dataclass(frozen=True)
class Outcome:
    """What was done.

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


def run(job: Job, start: Start) -> Outcome:
    """Do a job.

    Parameters
    ----------
    job : Job
    start : callable
        Called with the name of the job and its bytes; what it returns is called with bytes that are done.

    Raises
    ------
    FileError
        If a file or an option cannot be used; nothing was touched then.
    OSError
        If the system refuses something, such as more room; no output is left then.
    StoppedError
        If a signal came.
    """
    from ..catalogue import ALL

    function = ALL[job.function]
    call = _call(function, job)
    with ExitStack() as stack:
        x = _opened(job.source, job.dataset, stack, writable=job.target is None)
        others = [_opened(path, None, stack) for path in (job.upstream, job.gate) if path]
        for other in others:
            if other.shape != x.shape:
                raise FileError(f"{other.path}: its shape is {other.shape}, and that of {x.path} {x.shape}")
        dtype = _dtype(call, [x, *others])
        counter = _Counter(function, job, x) if job.stats or job.columns else None
        if job.target is None:
            _require_in_place(x, dtype)
        else:
            _require_free(job)
        wanted = Wanted(x, dtype, _chunks(job, x))
        if job.scheduler is not None:
            return _on_cluster(job, function, call, [x, *others], wanted, counter)
        signals = stack.enter_context(_noted_signals())
        target = x if job.target is None else stack.enter_context(files.made(job.target, wanted, job.force))
        made = [x] * (counter is not None)  # by `with_mask`, to count
        boxes = _plan(job, x, target, [*others, *made], _whole_axis(function, job, x))
        return _stream(job, call, [x, *others], target, boxes, counter, signals, start)


def _call(function: Any, job: Job) -> Callable[..., Any]:
    """Give the call of a job, of x and what else there is, into `out`."""
    name = job.function
    rows, gated = isinstance(function, RowFunction), hasattr(function, "gradient")
    if (job.gate is not None) != gated:
        raise FileError(f"{name} needs a second array, by --gate" if gated else f"{name} takes no --gate")
    if job.derivative and job.upstream:
        raise FileError("--derivative and --backward are two things; ask for one")
    if job.derivative and (rows or gated):
        raise FileError(f"{name} has no derivative of one number; --backward gives the gradient of row-wise functions")
    if job.upstream and gated:
        raise FileError(f"{name} has two gradients, and --backward writes one file")
    settings = dict(job.parameters or {})
    known = {} if rows or gated else function.__kwdefaults__ or {}
    for given in settings:
        if given not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise FileError(f"{name} has no parameter {given}: {takes}")
    if rows:
        settings["axis"] = job.axis
    elif job.axis != -1:
        raise FileError(f"{name} is of single numbers and takes no --axis")
    if job.derivative:
        return lambda x, out=None: function.derivative(x, out, **settings)
    if job.upstream:
        return lambda x, dy, out=None: function.backward(dy, x, out, **settings)
    return lambda *arrays, out=None: function(*arrays, out, **settings)


def _opened(path: Path, name: str | None, stack: ExitStack, writable: bool = False) -> ArrayFile:
    array = files.opened(path, name, writable=writable)
    stack.callback(array.close)
    return array


def _dtype(call: Callable[..., Any], arrays: Sequence[ArrayFile]) -> np.dtype[Any]:
    """Give the dtype of the result, by a call on next to nothing; with it, what is to be compiled is."""
    try:
        with np.errstate(all="ignore"):
            result = call(*(np.ones([1] * len(array.shape), array.dtype) for array in arrays))
    except (TypeError, ValueError) as error:
        raise FileError(str(error)) from None
    dtype: np.dtype[Any] = result.dtype
    return dtype


def _require_in_place(x: ArrayFile, dtype: np.dtype[Any]) -> None:
    if x.in_order:
        raise FileError(f"{x.path}: a .npz file is not changed in place; name an output")
    if x.dtype != dtype:
        raise FileError(f"{x.path}: its dtype is {x.dtype}, that of the result {dtype}: not in place; name an output")


def _require_free(job: Job) -> None:
    target = job.target
    assert target is not None
    with named(target):
        files.format_of(target)
    for path in (job.source, job.upstream, job.gate):
        with suppress(OSError):
            if path and target.samefile(path):
                raise FileError(f"{target}: it is the file that is read; --in-place replaces its numbers")
    if os.path.lexists(target) and not job.force:
        raise FileError(f"{target}: it is there already; --force replaces it")
    if not target.parent.is_dir():
        raise FileError(f"{target}: there is no directory {target.parent}")


def _whole_axis(function: Any, job: Job, x: ArrayFile) -> int | None:
    return job.axis % len(x.shape) if isinstance(function, RowFunction) else None


def _chunks(job: Job, x: ArrayFile) -> tuple[int, ...] | None:
    if job.chunks is None:
        return None
    if len(job.chunks) != len(x.shape) or min(job.chunks, default=1) < 1:
        raise FileError(f"--chunks takes a length for each axis of {x.shape}, at least 1")
    return tuple(min(side, max(length, 1)) for side, length in zip(job.chunks, x.shape, strict=True))


def _plan(job: Job, x: Layout, target: Layout, others: Sequence[Layout], whole: int | None) -> list[Box]:
    """Cut the array into boxes: of whole chunks, of whole rows, and so small that they fit into the memory."""
    shape = x.shape
    grid = list(target.chunks or x.chunks or [1] * len(shape))
    if whole is not None:
        grid[whole] = shape[whole]
    sides = [min(side, length) for side, length in zip(grid, shape, strict=True)]
    # Of each array a box, of the result one more where it cannot be written where x was, and one for HDF5 and Zarr.
    arrays = [x, target, *others]
    chunked = any(array.chunks for array in arrays)
    one = sum(array.dtype.itemsize for array in arrays) * (2 if chunked or whole is not None else 1)
    room = job.memory - _resident() - RESERVE
    most = min(room, max(PIECE, one * math.prod(sides)) if not chunked else max(CHUNKED_PIECE, one * math.prod(sides)))
    axes = range(len(shape)) if x.fortran else range(len(shape) - 1, -1, -1)
    in_order = any(array.in_order for array in arrays)
    for axis in axes:
        rest = one * math.prod(side for k, side in enumerate(sides) if k != axis)
        fits = max(int(most // max(rest, 1)) // max(grid[axis], 1) * grid[axis], sides[axis])
        sides[axis] = min(shape[axis], fits)
        if sides[axis] < shape[axis] and not in_order:
            break
    if in_order:  # a box must be a run of the file
        seen = False
        for axis in reversed(list(axes)):
            if seen:
                sides[axis] = shape[axis]
            seen = seen or sides[axis] > 1
    needed = one * math.prod(sides)
    if needed > room:
        least = -(-(needed + _resident() + RESERVE) // (1 << 20))
        raise FileError(f"--memory is too small for one piece of {tuple(sides)}: at least {least}MiB")
    ranges = [
        [slice(begin, min(begin + side, length)) for begin in range(0, length, max(side, 1))]
        for side, length in zip(sides, shape, strict=True)
    ]
    if x.fortran:
        return [box[::-1] for box in itertools.product(*ranges[::-1])]
    return list(itertools.product(*ranges))


def _resident() -> int:
    """Give the bytes that this process has in memory."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class _Counter:
    """Counts the active units of boxes as they come by."""

    def __init__(self, function: Any, job: Job, x: ArrayFile) -> None:
        block = getattr(function, "block", None)
        if "mask" not in getattr(block, "backward_from", ()):
            raise FileError(f"{job.function} has no mask, which says what is active: --stats and --columns need one")
        if job.columns and not x.shape:
            raise FileError(f"{x.path}: it has no axis, so no --columns")
        self._function, self._settings = function, job.parameters or {}
        self.shape, self.total = x.shape, 0
        self.columns = np.zeros(x.shape[-1], np.int64) if job.columns else None

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
        """Give what an outcome says of them."""
        size = math.prod(self.shape)
        found: dict[str, Any] = {"active": self.total, "active_fraction": self.total / size if size else None}
        if self.columns is not None and size:
            rows = size // self.shape[-1]
            found["active_fraction_by_column"] = (self.columns / rows).tolist()
        return found


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """Have the signals that end a process noted, for the loop to look at between boxes."""
    noted: list[int] = []
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with suppress(ValueError):  # not in the main thread
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, lambda n, _: noted.append(n))
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stream(
    job: Job,
    call: Callable[..., Any],
    sources: Sequence[ArrayFile],
    target: ArrayFile,
    boxes: list[Box],
    counter: _Counter | None,
    signals: list[int],
    start: Start,
) -> Outcome:
    """Read, compute and write box by box, in memory that is used again."""
    x, *_ = sources
    size = math.prod(x.shape)
    advance = start(f"{job.function} {job.source.name}", size * x.dtype.itemsize)
    largest = max((_length(box) for box in boxes), default=0)
    buffers = [np.empty(largest, array.dtype) for array in sources]
    same = target.dtype == x.dtype and x.dtype.isnative
    out = buffers[0] if same else np.empty(largest, target.dtype)
    began, unsaid = perf_counter(), 0
    for box in boxes:
        if signals:
            raise StoppedError(signals[0])
        shape = tuple(side.stop - side.start for side in box)
        arrays = [_shaped(buffer, shape, x.fortran) for buffer in buffers]
        for array, source in zip(arrays, sources, strict=True):
            with named(source.path):
                source.read(box, array)
        if counter is not None:
            counter.add(box, arrays[0])
        y = _shaped(out, shape, x.fortran)
        call(*arrays, out=y)
        with named(job.target or job.source):
            target.write(box, y)
        unsaid += arrays[0].nbytes
        if unsaid >= REPORT_EVERY:
            advance(unsaid)
            unsaid = 0
    if signals:
        raise StoppedError(signals[0])
    advance(unsaid)
    return _outcome(job, sources, target, perf_counter() - began, counter)


def _outcome(job: Job, sources: Sequence[Layout], target: Layout, seconds: float, counter: _Counter | None) -> Outcome:
    size = math.prod(target.shape)
    return Outcome(
        output=str(job.target or job.source),
        shape=target.shape,
        dtype=str(target.dtype),
        seconds=seconds,
        bytes_read=sum(size * array.dtype.itemsize for array in sources),
        bytes_written=size * target.dtype.itemsize,
        **(counter.fields() if counter else {}),
    )


def _length(box: Box) -> int:
    return math.prod(side.stop - side.start for side in box)


def _shaped(buffer: Any, shape: tuple[int, ...], fortran: bool) -> Any:
    return buffer[: math.prod(shape)].reshape(shape, order="F" if fortran else "C")


def _on_cluster(
    job: Job,
    function: Any,
    call: Callable[..., Any],
    sources: Sequence[ArrayFile],
    wanted: Wanted,
    counter: _Counter | None,
) -> Outcome:
    """Have the workers of a Dask cluster read, compute and write chunks, which lie where all of them reach them."""
    import dask
    import dask.array as da
    from distributed import Client

    to_zarr = job.target is not None and files.format_of(job.target) == "Zarr"
    if job.target is None or not to_zarr or not all(isinstance(array, Zarr) for array in sources):
        raise FileError("--scheduler takes Zarr in and out, which workers read and write side by side")
    began = perf_counter()
    try:
        client = Client(job.scheduler, timeout="30s")
    except (OSError, ValueError) as error:
        raise FileError(f"no scheduler answers at {job.scheduler}: {error}") from None
    with client, files.made(job.target.absolute(), wanted, job.force) as target:
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
    return _outcome(job, sources, wanted, perf_counter() - began, counter)
