"""Do a job: check it, plan it in boxes that fit into memory, and compute these."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ...functions import dtypes
from ...functions.specification import Elementwise, Gated, Rowwise
from ..extras import lacking
from ..progress import Start
from . import attributes, files
from .boxes import Boxes, plan
from .counting import Counter, outcome_of
from .job import Job, Outcome
from .layout import ArrayFile, Box, FileError, SeveralError, Wanted, named
from .watch import Watch, resident

REPORT_EVERY = 1 << 25


def run(job: Job, start: Start, watch: Watch | None = None) -> Outcome:
    """Do a job.

    Parameters
    ----------
    job : Job
    start : Start
        Starts the job; its steps are bytes.
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
        counter = Counter(function, job, x) if job.stats or job.columns else None
        if in_place:
            _require_in_place(x, dtype)
        else:
            _require_free(job)
        alone = None if others or isinstance(function.spec, Rowwise) else call
        left, notes = attributes.settle(x, others, alone, job.raw)
        fill = _fill(x, dtype, alone)
        wanted = Wanted(x, dtype, _chunks(job, x), fill, left)
        wanted.notes += notes
        if job.scheduler is not None:
            from .cluster import run_on_cluster

            return run_on_cluster(job, function, call, [x, *others], wanted, counter, watch)
        rest = [*others, *[x] * (counter is not None)]  # one by `with_mask`, to count
        whole = _whole_axis(function, job, x)
        plan(job, x, wanted, rest, whole)  # before room is taken on the disk; chunks that a library chooses come later
        target = x if job.target is None else stack.enter_context(files.made(job.target, wanted, job.force, watch))
        target.notes += notes
        sparse = alone is not None and x.holes and target.holes and (target is not x or _is_same(fill, x.fill))
        boxes = plan(job, x, target, rest, whole)
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
    try:
        return dtypes.named(name)
    except ImportError:
        raise FileError("--dtype bfloat16 needs ml_dtypes: pip install ml_dtypes") from None


def _call(function: Any, job: Job) -> Callable[..., Any]:
    """Return the call of a job, of x and what else there is, into `out`."""
    from ...catalogue import REDUCTIONS

    name = job.function
    rows, gated = isinstance(function.spec, Rowwise), isinstance(function.spec, Gated)
    if name in REDUCTIONS:
        raise FileError(f"{name} gives one number for a row, and OUTPUT has the shape of INPUT")
    if (job.gate is not None) != gated:
        raise FileError(f"{name} needs a second array, by --gate" if gated else f"{name} takes no --gate")
    if job.derivative and job.upstream:
        raise FileError("--derivative and --backward are two things; ask for one")
    if job.derivative and (rows or gated):
        raise FileError(f"{name} has no derivative of one number; --backward gives the gradient of row-wise functions")
    if job.upstream and gated:
        raise FileError(f"{name} has two gradients, and --backward writes one file")
    settings = dict(job.parameters or {})
    known = function.spec.parameters if isinstance(function.spec, Elementwise) else {}
    for given in settings:
        if given not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise FileError(f"{name} has no parameter {given}: {takes}")
    if lacks := [f"--{parameter}" for parameter in function.spec.required if parameter not in settings]:
        raise FileError(f"{name} needs {' and '.join(lacks)}")
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
    """Check whether two numbers of one dtype have the same bits, or are both NaN."""
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
    """Check whether one of two paths is a directory in which the other lies."""
    one, other = target.parent.resolve() / target.name, source.resolve()
    return one in other.parents or other in one.parents


def _whole_axis(function: Any, job: Job, x: ArrayFile) -> int | None:
    return job.axis % len(x.shape) if isinstance(function.spec, Rowwise) and x.shape else None


def _chunks(job: Job, x: ArrayFile) -> tuple[int, ...] | None:
    if job.chunks is None:
        return None
    if len(job.chunks) != len(x.shape) or min(job.chunks, default=1) < 1:
        raise FileError(f"--chunks takes a length for each axis of {x.shape}, at least 1")
    return tuple(min(side, max(length, 1)) for side, length in zip(job.chunks, x.shape, strict=True))


def _stream(
    job: Job,
    call: Callable[..., Any],
    sources: Sequence[ArrayFile],
    target: ArrayFile,
    boxes: Boxes,
    counter: Counter | None,
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
    return outcome_of(job, sources, target, perf_counter() - began, counter)


def _pieces(x: ArrayFile, boxes: Boxes) -> Iterator[tuple[Box, bool]]:
    for box in boxes:
        with named(x.path):
            yield from x.pieces(box)


def _shaped(buffer: Any, shape: tuple[int, ...], fortran: bool) -> Any:
    return buffer[: math.prod(shape)].reshape(shape, order="F" if fortran else "C")
