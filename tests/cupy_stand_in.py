"""Stand-ins for CuPy's arrays, devices and launches, with which the Python path runs where there is no GPU.

An array holds one of NumPy and does with it what CuPy does; what would copy it to the host unasked is refused, what
waits for the device is counted, and what CuPy lacks is missing here as well. The kernels are CuPy's own objects, with
the code that a GPU would get. A launch is written down; then the NumPy reading of its formula computes it on the very
arguments. Of a stream that captures a graph the graph does that, when it is launched; what capture forbids is refused.
"""

from __future__ import annotations

import inspect
import sys
from time import perf_counter
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import cupy
import numpy as np
import pytest

from rectifier.backends.cupy import calls, launch, recorded
from rectifier.catalogue import REDUCTIONS, ROWWISE
from rectifier.engine.interpreter import sweep
from rectifier.functions.specification import Rowwise
from rectifier.testing import dtype_of

MULTIPROCESSORS = 4
SHARED_MEMORY = 99 << 10  # of a block
waits: list[str] = []
allocations: list[str] = []


class Launch(NamedTuple):
    """What a kernel was launched with."""

    kernel: Any
    grid: tuple[int, ...] | None  # None of an ElementwiseKernel, which finds its own
    block: tuple[int, ...] | None
    arguments: tuple[Any, ...]
    device: int
    stream: Stream


launches: list[Launch] = []
loaded: set[tuple[int, int]] = set()  # kernels, by their ids, and devices


class Stream:
    """A stream, which is the current one within ``with``."""

    current: ClassVar[list[Stream]] = []

    def __init__(self, non_blocking=False) -> None:
        self.graph = None

    def __enter__(self):
        self.current.append(self)
        return self

    def __exit__(self, *error):
        self.current.pop()

    def begin_capture(self):
        self.graph = Graph([])

    def end_capture(self):
        graph, self.graph = self.graph, None
        return graph

    def synchronize(self):
        _wait("synchronize")


Stream.current.append(Stream())  # the legacy default stream


class Graph(NamedTuple):
    """What was launched on a stream while it captured."""

    work: list[Any]

    def launch(self):
        assert not _capturing()
        for compute in self.work:
            compute()


def _capturing():
    return any(stream.graph is not None for stream in Stream.current)


def _wait(what):
    """Count what waits for the device, or copies between it and the host, which no stream may capture."""
    assert not _capturing(), f"{what} while a stream captures"
    waits.append(what)


def _submit(kernel, grid, block, arguments, compute) -> None:
    """Write down a launch on the current stream, and compute it there."""
    stream, device = Stream.current[-1], Device.current[-1]
    launches.append(Launch(kernel, grid, block, arguments, device, stream))
    if stream.graph is None:
        loaded.add((id(kernel), device))
        compute()
    else:
        assert (id(kernel), device) in loaded, "a kernel would be compiled and loaded while a stream captures"
        stream.graph.work.append(compute)


class Device:
    """A device, which is the current one within ``with``."""

    current: ClassVar = [0]

    def __init__(self, number: int = 0) -> None:
        self.id = number
        self.attributes = {
            "MultiProcessorCount": MULTIPROCESSORS, "L2CacheSize": 48, "MaxSharedMemoryPerBlockOptin": SHARED_MEMORY,
        }  # fmt: skip

    def __enter__(self):
        self.current.append(self.id)

    def __exit__(self, *error):
        self.current.pop()

    def __eq__(self, other):
        return self.id == other.id

    __hash__ = None


class Event:
    """A moment."""

    def record(self):
        self.moment = perf_counter()

    def synchronize(self):
        """Wait for nothing: a launch is over when it returns."""

    def milliseconds(self, end):
        return 1e3 * (end.moment - self.moment)


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    """An array on a device."""

    __module__ = "cupy"
    __hash__ = None

    def __init__(self, array, device=None) -> None:
        self.host = np.asarray(array)
        self.device = Device(Device.current[-1]) if device is None else device

    shape, dtype, ndim, size, nbytes, strides, itemsize = (
        property(lambda self, name=name: getattr(self.host, name))
        for name in ("shape", "dtype", "ndim", "size", "nbytes", "strides", "itemsize")
    )
    T = property(lambda self: self._like(self.host.T))
    base = property(lambda self: self._like(self.host.base))
    flags = property(
        lambda self: SimpleNamespace(**{n: getattr(self.host.flags, n) for n in ("c_contiguous", "f_contiguous")})
    )
    data = property(lambda self: SimpleNamespace(ptr=_address(self.host), device_id=self.device.id))

    def _like(self, array):
        return ndarray(array, self.device)

    def _computed(self, array):
        allocations.append("computed")
        assert Device.current[-1] == self.device.id, "CuPy computes on the current device"
        return self._like(array)

    def astype(self, dtype, copy=True):
        with np.errstate(all="ignore"):
            return self if not copy and self.dtype == dtype else self._computed(self.host.astype(dtype))

    def copy(self):
        return self._computed(self.host.copy())

    def view(self, dtype=None):
        return self._like(self.host.view() if dtype is None else self.host.view(dtype))

    def reshape(self, *shape):
        return self._like(self.host.reshape(*shape))

    def squeeze(self, axis):
        return self._like(self.host.squeeze(axis))

    def sum(self, **keywords):
        with np.errstate(all="ignore"):
            return self._computed(np.asarray(self.host.sum(**keywords)))

    def __getitem__(self, key):
        return self._like(np.asarray(self.host[key]) if key == () else self.host[key])

    def __setitem__(self, key, value):
        assert not isinstance(value, np.ndarray), "CuPy takes no NumPy array here"
        self.host[key] = value.host if isinstance(value, ndarray) else value

    def get(self):
        _wait("get")
        return self.host.copy()

    def __bool__(self):
        _wait("bool")
        return bool(self.host)

    def __int__(self):
        _wait("int")
        return int(self.host)

    def __repr__(self):
        _wait("repr")
        return repr(self.host)

    def __reduce__(self):
        return ndarray, (self.get(),)

    def __array__(self, *arguments, **keywords):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        assert method == "__call__"
        return self._delegate(ufunc, inputs, keywords)

    def __array_function__(self, function, types, arguments, keywords):
        return self._delegate(function, arguments, keywords)

    def _delegate(self, function, arguments, keywords):
        genuine = getattr(cupy, function.__name__, None)
        if genuine is None or any(isinstance(a, np.ndarray) for a in arguments):
            raise TypeError(f"CuPy has no {function.__name__} of these")
        if not isinstance(genuine, cupy.ufunc):
            inspect.signature(genuine).bind(*arguments, **keywords)
        arguments = [a.host if isinstance(a, ndarray) else a for a in arguments]
        out = keywords.pop("out", None)
        out = out[0] if isinstance(out, tuple) else out
        with np.errstate(all="ignore"):
            result = function(*arguments, **keywords, **({} if out is None else {"out": out.host}))
        if out is not None:
            return out
        return self._like(result) if isinstance(result, (np.ndarray, np.generic, bool)) else result

    def __cupy_override_elementwise_kernel__(self, kernel, *arguments, **keywords):
        if isinstance(kernel, cupy.ufunc):
            return self._delegate(getattr(np, kernel.name.removeprefix("cupy_")), arguments, keywords)
        assert isinstance(kernel, cupy.ElementwiseKernel)
        assert not keywords
        assert len(arguments) == kernel.nargs
        block, operation, dtype, *_ = _what(kernel)

        def compute():
            *inputs, shape = *arguments[: kernel.nin], arguments[-1].shape
            operands = [np.broadcast_to(_number(a, dtype), shape) for a in inputs]
            _compute(block, operation, dtype, operands, [_number(a, dtype) for a in arguments[kernel.nin :]])

        return _submit(kernel, None, None, arguments, compute)


class RawKernel:
    """A kernel of CuPy's, launched by hand."""

    def __init__(self, code, name, options) -> None:
        self.genuine = cupy.RawKernel(code, name, options)
        self.max_dynamic_shared_size_bytes = 0  # of the device on which it was set

    def __call__(self, grid, block, arguments, shared_mem=0):
        assert shared_mem <= self.max_dynamic_shared_size_bytes < SHARED_MEMORY, (
            "a launch asks for more than it may have"
        )
        if "_kept" in self.genuine.name:
            arrays = [a for a in arguments[:-3] if isinstance(a, ndarray)]
            assert shared_mem >= sum(a.nbytes for a in arrays) // int(arguments[-2]), "the rows have no room"
        assert all(isinstance(a, (ndarray, np.generic)) for a in arguments), "a Python number is 8 bytes to a kernel"
        _submit(self.genuine, grid, block, arguments, lambda: self._compute(arguments))

    def _compute(self, arguments):
        what, operation, dtype, *how = _what(self)
        if isinstance(what, Rowwise):
            *arrays, count, length = arguments
            shapes = [(int(count), int(length))] * len(arrays)
            if what.reduces:  # the value, or dy, has a number for each row
                shapes[0 if operation else -1] = (int(count),)
            assert all(a.host.flags.c_contiguous for a in arrays)
            *inputs, result = (a.host.reshape(shape) for a, shape in zip(arrays, shapes, strict=True))
            _require_apart(inputs, [result])
            result[...] = ROWS[what.name, operation](*inputs)
            return
        by_rows = how[-1]
        last = len(arguments) - (2 + sum(isinstance(a, ndarray) for a in arguments) if by_rows else 1)
        arrays, sizes = arguments[:last], arguments[last:]
        assert {type(size) for size in sizes} == {np.int64}
        lie = _rows(sizes) if by_rows else lambda a: _flat(a, *sizes)
        operands = [_number(a if isinstance(a, np.generic) else lie(a), dtype) for a in arrays]
        last = len(operands) - (2 if operation in ("value_and_derivative", "with_mask") or _two(what, operation) else 1)
        _compute(what, operation, dtype, operands[:last], operands[last:])


def _two(block, operation):
    return len(block.operations[operation].outputs) == 2


def _what(kernel):
    """Give the block, the operation and the dtype that a kernel was made for."""
    (found,) = [(block, *key[1:]) for key, (made, block) in launch._kernels.items() if made is kernel]
    return found


def _rows(sizes):
    """See arrays by the numbers of their elements and columns, and by the steps of their rows, as a kernel does."""
    size, columns, *steps = map(int, sizes)
    waiting = iter(steps)

    def lie(array):
        strides = next(waiting) * array.itemsize, array.itemsize
        return array._like(np.lib.stride_tricks.as_strided(array.host, (size // columns, columns), strides))

    return lie


def _flat(array, size):
    """See the memory of an array as a kernel does."""
    if array.dtype == np.uint8 and array.size != size:
        assert array.size == (size + 7) // 8
        return array
    assert array.size == size
    order = "C" if array.host.flags.c_contiguous else "F"
    assert array.host.flags[f"{order}_CONTIGUOUS"]
    return array._like(array.host.reshape(-1, order=order))


def _number(argument, dtype):
    """See floats of 16 bits, which kernels take as integers, as what they are."""
    array = argument.host if isinstance(argument, ndarray) else np.asarray(argument)
    if dtype in ("float16", "bfloat16") and array.dtype == np.uint16:
        array = array.view(dtype_of(dtype))
    assert array.dtype in (dtype_of(dtype), np.uint8)
    return array


def _address(array):
    return array.__array_interface__["data"][0]


def _require_apart(inputs, outputs):
    for array in inputs:
        for out in outputs:
            same = _address(array) == _address(out) and array.strides == out.strides
            assert same or not np.shares_memory(array, out), "a kernel would read what it has written"


def _compute(block, operation, dtype, inputs, outputs):
    _require_apart(inputs, outputs)
    sweep(block, block.operations[operation], dtype_of(dtype), [*inputs, *outputs])


ROWS: dict[tuple[str, bool], Any] = {}


def install(monkeypatch: pytest.MonkeyPatch, rows: ModuleType) -> ModuleType:
    """Put the stand-ins in CuPy's place; `rows` is the package whose row-wise functions compute theirs."""
    module = ModuleType("cupy")
    module.__getattr__ = lambda name: getattr(cupy, name)
    module.ndarray, module.RawKernel = ndarray, RawKernel
    runtime = SimpleNamespace(getDevice=lambda: Device.current[-1], is_hip=False)
    module.cuda = SimpleNamespace(
        Device=Device, Event=Event, Stream=Stream, get_elapsed_time=Event.milliseconds, runtime=runtime
    )
    module.asarray = lambda array: _copied(ndarray, np.array(array))
    module.asnumpy = lambda array: _copied(np.copy, array.host)
    module.empty = lambda shape, dtype, order="C": _allocated(_filled(np.empty(shape, dtype, order)))
    module.empty_like = lambda array, dtype: _allocated(_filled(np.empty_like(array.host, dtype)))
    module.zeros = lambda shape, dtype: _allocated(np.zeros(shape, dtype))
    module.copyto = lambda to, array: np.copyto(to.host, array.host)
    module.full = lambda shape, value, dtype: _allocated(np.full(shape, value, dtype))
    module.ascontiguousarray = lambda a: a if a.flags.c_contiguous else a._computed(np.ascontiguousarray(a.host))
    module.broadcast_to = lambda array, shape: array._like(np.broadcast_to(array.host, shape))
    module.where = lambda counts, array, other: array._computed(np.where(counts.host, array.host, other.host))
    module.transpose = lambda array, axes: array._like(np.transpose(array.host, axes))
    module.reshape = lambda array, shape: array._like(np.reshape(array.host, shape))
    module.may_share_memory = lambda a, b: np.may_share_memory(a.host, b.host)
    monkeypatch.setitem(sys.modules, "cupy", module)
    for user in (calls, recorded):
        monkeypatch.setattr(user, "cupy", module)
    monkeypatch.setattr(launch, "_kernels", {})
    monkeypatch.setattr(recorded, "launches", {})
    launch._attribute.cache_clear()
    for name in ROWWISE:
        ROWS[name, False] = getattr(rows, name)
        ROWS[name, True] = lambda dy, y, name=name: getattr(rows, name).backward(dy, y=y)
    for name in REDUCTIONS:
        ROWS[name, False], ROWS[name, True] = getattr(rows, name), getattr(rows, name).backward
    for kept in (launches, waits, allocations, loaded):
        kept.clear()
    return module


def _copied(make, array):
    assert not _capturing(), "a copy between host and device while a stream captures"
    return make(array)


def _allocated(array):
    allocations.append("made")
    return ndarray(array)


def _filled(array):
    array.fill(113)  # what lay there before
    return array
