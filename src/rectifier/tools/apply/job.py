"""A job of `rectifier apply`: checked, planned in boxes that fit into memory, and done."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ...functions import dtypes
from ...functions.specification import Gated, Rowwise
from ..extras import lacking
from . import attributes, files
from .layout import ArrayFile, Box, FileError, Layout, SeveralError, Wanted, named, places
from .watch import Watch, resident
from .zarr import Zarr

# Of a file of 1 GiB in the page cache, pieces of 256 to 512 KiB went fastest: they stay in the second-level cache.
PIECE = 1 << 19
CHUNKED_PIECE = 1 << 24  # a call of HDF5 or Zarr takes some 100 us
RESERVE = 8 << 20  # for what libraries allocate by the way
REPORT_EVERY = 1 << 25
COLUMN = 200  # bytes for the number of a column, measured

Start = Callable[[str, int], Callable[[int], object]]


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


def run(job: Job, start: Start, watch: Watch | None = None) -> Outcome:
    """Do a job.

    Parameters
    ----------
    job : Job
    start : callable
        Called with the name of the job and its bytes; what it returns is called with bytes that are done.
    watch : Watch or None
        Says between boxes whether to stop, and is told what there is to remove.

    Raises
    ------
    FileError
        If a file or an option cannot be used; nothing was touched then.
    OSError
        If the system refuses something, such as more room; no output is left then.
    StoppedError
        If a signal came.
    """
    from ...catalogue import ALL

    if job.scheduler is not None and (lacks := lacking("--scheduler", "distributed")):
        raise FileError(lacks)
    function, watch = ALL[job.function], watch or Watch()
    call = _call(function, job)
    view = None if job.dtype is None else _given_dtype(job.dtype)
    in_place = job.target is None
    with ExitStack() as stack:
        if in_place and files.SUFFIXES.get(job.source.suffix.lower()) == "HDF5":
            stack.enter_context(watch.held)  # it may be unreadable, left in a write, and from HDF5 1.10 on while open
        x = _opened(job, job.source, view, stack)
        others = [_opened(job, path, view, stack) for path in (job.upstream, job.gate) if path]
        for other in others:
            if other.shape != x.shape:
                raise FileError(f"{other.path}: its shape is {other.shape}, and that of {x.path} {x.shape}")
        if view is not None and x.dtype != view and not any(getattr(array, "void", False) for array in (x, *others)):
            raise FileError(f"{x.path}: its dtype is {x.dtype}; --dtype says what void elements are, and converts none")
        dtype = _dtype(call, [x, *others])
        counter = _Counter(function, job, x) if job.stats or job.columns else None
        if in_place:
            _require_in_place(x, dtype)
        else:
            _require_free(job)
        alone = None if others or isinstance(function.block, Rowwise) else call
        left, notes = attributes.settle(x, others, alone, job.raw)
        fill = _fill(x, dtype, alone)
        wanted = Wanted(x, dtype, _chunks(job, x), fill, left)
        wanted.notes += notes
        if job.scheduler is not None:
            return _on_cluster(job, function, call, [x, *others], wanted, counter, watch)
        rest = [*others, *[x] * (counter is not None)]  # one by `with_mask`, to count
        whole = _whole_axis(function, job, x)
        _plan(job, x, wanted, rest, whole)  # before room is taken on the disk; chunks that a library chooses come later
        target = x if job.target is None else stack.enter_context(files.made(job.target, wanted, job.force, watch))
        target.notes += notes
        sparse = alone is not None and x.holes and target.holes and (target is not x or _is_same(fill, x.fill))
        boxes = _plan(job, x, target, rest, whole)
        watch.planned = True
        if in_place:
            with named(x.path):
                x.forget(left)
        outcome = _stream(job, call, [x, *others], target, boxes, counter, watch, start, sparse)
        if in_place:
            with named(x.path):
                x.close()
    if in_place:
        with named(job.source):
            files.sync(job.source)
    return outcome


def _given_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of a name that a user wrote."""
    if name not in dtypes.WORKING:
        raise FileError(f"--dtype takes {', '.join(dtypes.WORKING)}, and not {name!r}")
    if name != "bfloat16":
        return np.dtype(name)
    if importlib.util.find_spec("ml_dtypes") is None:
        raise FileError("--dtype bfloat16 needs ml_dtypes: pip install ml_dtypes")
    import ml_dtypes

    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def _call(function: Any, job: Job) -> Callable[..., Any]:
    """Return the call of a job, of x and what else there is, into `out`."""
    name = job.function
    rows, gated = isinstance(function.block, Rowwise), isinstance(function.block, Gated)
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


def _opened(job: Job, path: Path, view: np.dtype[Any] | None, stack: ExitStack) -> ArrayFile:
    is_x = path is job.source
    try:
        array = files.opened(
            path,
            job.dataset if is_x else None,
            writable=is_x and job.target is None,
            view=view,
            memory=max(job.memory - resident(), 0),
        )
    except SeveralError as error:
        if is_x:
            raise
        option = "--backward" if path is job.upstream else "--gate"
        raise FileError(f"{path}: {option} takes a file of one array, and {error.there}") from None
    stack.callback(array.close)
    return array


def _dtype(call: Callable[..., Any], arrays: Sequence[ArrayFile]) -> np.dtype[Any]:
    """Return the dtype of the result, by a call on next to nothing; with it, what is to be compiled is."""
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
    if x.dtype.newbyteorder("=") != dtype:
        raise FileError(f"{x.path}: its dtype is {x.dtype}, that of the result {dtype}: not in place; name an output")
    with named(x.path):
        x.require_in_place()


def _fill(x: ArrayFile, dtype: np.dtype[Any], alone: Callable[..., Any] | None) -> Any:
    """Return the value of elements that are not written: the result of such an element of x, if it has one."""
    if x.fill is None:
        return None
    if alone is None:
        return x.fill if x.dtype.newbyteorder("=") == dtype else None
    with np.errstate(all="ignore"):
        return alone(np.full(1, x.fill, x.dtype))[0]


def _is_same(a: Any, b: Any) -> bool:
    """Tell whether two numbers of one dtype have the same bits, or are both NaN."""
    return bool(a.tobytes() == b.tobytes() or (a != a and b != b))


def _require_free(job: Job) -> None:
    target = job.target
    assert target is not None
    with named(target):
        files.format_of(target)
    for path in filter(None, (job.source, job.upstream, job.gate)):
        with suppress(OSError):
            if target.samefile(path):
                raise FileError(f"{target}: it is the file that is read; --in-place replaces its numbers")
        if _is_within(target, path):
            raise FileError(f"{target}: it and {path} lie one in the other")
    if os.path.lexists(target):
        if not job.force:
            raise FileError(f"{target}: it is there already; --force replaces it")
        with named(target):
            files.require_replaceable(target)
    if not target.parent.is_dir():
        raise FileError(f"{target}: there is no directory {target.parent}")


def _is_within(target: Path, source: Path) -> bool:
    """Tell whether one of two paths is a directory in which the other lies."""
    one, other = target.parent.resolve() / target.name, source.resolve()
    return one in other.parents or other in one.parents


def _whole_axis(function: Any, job: Job, x: ArrayFile) -> int | None:
    return job.axis % len(x.shape) if isinstance(function.block, Rowwise) and x.shape else None


def _chunks(job: Job, x: ArrayFile) -> tuple[int, ...] | None:
    if job.chunks is None:
        return None
    if len(job.chunks) != len(x.shape) or min(job.chunks, default=1) < 1:
        raise FileError(f"--chunks takes a length for each axis of {x.shape}, at least 1")
    return tuple(min(side, max(length, 1)) for side, length in zip(job.chunks, x.shape, strict=True))


class Boxes:
    """The boxes of an array, in the order in which its elements run: counted through and never listed.

    Attributes
    ----------
    sides : tuple of int
        Of each box, but for the last of an axis.
    count : int
    """

    def __init__(self, shape: Sequence[int], sides: Sequence[int], fortran: bool) -> None:
        self.sides, self._shape, self._fortran = tuple(sides), tuple(shape), fortran
        self._counts = [-(-length // max(side, 1)) for side, length in zip(sides, shape, strict=True)]
        self.count = math.prod(self._counts)

    def __iter__(self) -> Iterator[Box]:
        order = slice(None, None, -1 if self._fortran else 1)
        for place in places(self._counts[order]):
            yield tuple(
                slice(k * side, min((k + 1) * side, length))
                for k, side, length in zip(place[order], self.sides, self._shape, strict=True)
            )


def _plan(job: Job, x: Layout, target: Layout, others: Sequence[Layout], whole: int | None) -> Boxes:
    """Cut the array into boxes: of whole chunks, of whole rows, and so small that they fit into the memory."""
    shape = x.shape
    grid = list(target.chunks or x.chunks or [1] * len(shape))
    if whole is not None:
        grid[whole] = shape[whole]
    sides = [min(side, length) for side, length in zip(grid, shape, strict=True)]
    arrays = [x, target, *others]
    # Of each array a box, where it cannot be written where x was, and whatever one of them takes at a time.
    each = sum(array.dtype.itemsize for array in arrays) * (1 if whole is None else 2)

    def needed() -> int:
        return each * math.prod(sides) + max(array.allocated(sides, x.fortran) for array in arrays)

    taken = RESERVE + sum({id(array): array.codec_bytes for array in arrays}.values())
    room = job.memory - resident() - taken
    axes = range(len(shape)) if x.fortran else range(len(shape) - 1, -1, -1)
    # Where a box is no run of each file, what it costs is the number of its runs: the larger, the fewer.
    scattered = any(array.chunks or not array.runs_as(x.fortran) for array in arrays) or whole not in (None, *axes[:1])
    most = min(room, max(CHUNKED_PIECE if scattered else PIECE, needed()))
    in_order = any(array.in_order for array in arrays)
    if any(array.in_order and not array.runs_as(x.fortran) for array in arrays):
        sides = list(shape)  # read from its beginning to its end, it is in no other order than its own
        in_order = False
    for axis in axes:
        step, low = max(grid[axis], 1), sides[axis]
        lowest, highest = 0, -(-(shape[axis] - low) // step)  # by how many steps it may grow
        while lowest < highest:
            middle = (lowest + highest + 1) // 2
            sides[axis] = min(low + middle * step, shape[axis])
            lowest, highest = (middle, highest) if needed() <= most else (lowest, middle - 1)
        sides[axis] = min(low + lowest * step, shape[axis])
        if sides[axis] < shape[axis] and not in_order:
            break
    if in_order:  # a box must be a run of the file
        seen = False
        for axis in reversed(list(axes)):
            if seen:
                sides[axis] = shape[axis]
            seen = seen or sides[axis] > 1
    if needed() > room:
        least = -(-(needed() + resident() + taken) // (1 << 20))
        raise FileError(f"--memory is too small for one piece of {tuple(sides)}: at least {least}MiB")
    return Boxes(shape, sides, x.fortran)


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


def _stream(
    job: Job,
    call: Callable[..., Any],
    sources: Sequence[ArrayFile],
    target: ArrayFile,
    boxes: Boxes,
    counter: _Counter | None,
    watch: Watch,
    start: Start,
    sparse: bool = False,
) -> Outcome:
    """Read, compute and write box by box, in memory that is used again."""
    x, *_ = sources
    size = math.prod(x.shape)
    advance = start(f"{job.function} {job.source.name}", size * x.dtype.itemsize)
    largest = math.prod(boxes.sides)
    buffers = [np.empty(largest, array.dtype) for array in sources]
    same = target.dtype == x.dtype and x.dtype.isnative
    out = buffers[0] if same else np.empty(largest, target.dtype.newbyteorder("="))
    began, unsaid = perf_counter(), 0
    for box, stored in _pieces(x, boxes) if sparse else ((box, True) for box in boxes):
        watch.look()
        shape = tuple(side.stop - side.start for side in box)
        arrays = [_shaped(buffer, shape, x.fortran) for buffer in buffers]
        unsaid += arrays[0].nbytes
        if not stored:  # and not in the result, whose fill value is the function's of that of x
            if counter is not None:
                arrays[0][...] = x.fill
                counter.add(box, arrays[0])
            continue
        for array, source in zip(arrays, sources, strict=True):
            with named(source.path):
                source.read(box, array)
        if counter is not None:
            counter.add(box, arrays[0])
        y = _shaped(out, shape, x.fortran)
        call(*arrays, out=y)
        if not target.dtype.isnative:
            y = y.byteswap(inplace=True).view(target.dtype)
        with named(job.target or job.source):
            target.write(box, y)
        if unsaid >= REPORT_EVERY:
            advance(unsaid)
            unsaid = 0
    watch.look()
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
        notes=tuple(dict.fromkeys(note for array in (*sources, target) for note in array.notes)),
        **(counter.fields() if counter else {}),
    )


def _pieces(x: ArrayFile, boxes: Boxes) -> Iterator[tuple[Box, bool]]:
    for box in boxes:
        with named(x.path):
            yield from x.pieces(box)


def _shaped(buffer: Any, shape: tuple[int, ...], fortran: bool) -> Any:
    return buffer[: math.prod(shape)].reshape(shape, order="F" if fortran else "C")


def _on_cluster(
    job: Job,
    function: Any,
    call: Callable[..., Any],
    sources: Sequence[ArrayFile],
    wanted: Wanted,
    counter: _Counter | None,
    watch: Watch,
) -> Outcome:
    """Have the workers of a Dask cluster read, compute and write chunks, which lie where all of them reach them."""
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
    return _outcome(job, sources, wanted, perf_counter() - began, counter)
