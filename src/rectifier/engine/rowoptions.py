"""Functions of whole rows with options, as Python calls them: `runtime.rows` drives their kernels, too."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..formulas import arrays as array_primitives
from ..formulas import bind
from ..formulas.rows import exponential_of_product, of_product, sum_by_halves
from ..functions import row_options
from ..functions.specification import Rowwise
from .calls import Call
from .compiler.target import Target
from .rows import RowLoop, RowMethod
from .runtime import layout
from .store import Code

_OF_AXES = [layout.RowOptions.fields[name].word for name in ("extents", "flag_strides", "sink_strides")]
_ROWS, _FLAGS, _DIMENSIONS = (layout.RowOptions.fields[name].word for name in ("rows", "flags", "dimensions"))


class Laid(NamedTuple):
    """Options as the kernels take them, of an array whose rows lie along its last axis.

    Attributes
    ----------
    scale : float
    rows : int
        Of a matrix, where the call is causal; else 0.
    flags : array of bool or None
        Of the shape of x, with any strides along all axes but the last, along which it is contiguous or has one number.
    sink : array of float64
        Of the shape of x without its last axis, with any strides; -inf where there is none.
    """

    scale: float
    rows: int
    flags: Any
    sink: Any


def words_of(laid: Laid, extra: Any) -> Any:
    """Write options as words; `extra`, if it is not None, is a float64 for each row, which the kernel writes."""
    words = np.zeros(layout.RowOptions.WORDS, np.int64)
    flags, sink = laid.flags, laid.sink
    steps = (0,) * (sink.ndim + 1) if flags is None else flags.strides
    axes = _joined(sink.shape, steps[:-1], sink.strides)
    places = (
        int(np.float64(laid.scale).view(np.int64)), laid.rows, 0 if flags is None else flags.ctypes.data, steps[-1],
        sink.ctypes.data, 0 if extra is None else extra.ctypes.data, len(axes),
    )  # fmt: skip
    words[: len(places)] = places
    for field, numbers in zip(_OF_AXES, zip(*axes, strict=True), strict=False):
        words[field : field + len(axes)] = numbers
    return words


_NO_SINK = np.array(-np.inf)


@lru_cache(maxsize=256)
def _plain_words(dtype: np.dtype[Any], scale: float) -> Any:
    """Return the words of a scale alone, or None where it is none that a call takes."""
    try:
        number = row_options.scale_of("", scale, dtype)
    except ValueError:
        return None
    return words_of(Laid(number, 0, None, _NO_SINK), None)


def _steps(where: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the strides of an array broadcast to a shape, or None where it has gaps or does not broadcast."""
    if where.shape == shape:
        return where.strides if where.strides[-1] == 1 else None
    lead = len(shape) - where.ndim
    sides = [*zip(where.shape, where.strides, shape[lead:], strict=True)] if lead >= 0 else [(0, 0, 1)]
    if any(own not in (1, side) for own, _, side in sides):
        return None
    steps = *(0,) * lead, *(0 if own == 1 else step for own, step, _ in sides)
    return steps if steps[-1] in (0, 1) else None


def _joined(shape: tuple[int, ...], *strides: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the sides and strides of axes, of which those are one that all arrays go through as through one."""
    axes: list[tuple[int, ...]] = []
    for side, *steps in zip(shape, *strides, strict=True):
        if side == 1:
            continue
        if axes and all(before == side * step for before, step in zip(axes[-1][1:], steps, strict=True)):
            side, axes = side * axes[-1][0], axes[:-1]
        axes.append((side, *steps))
    return axes


def interpret(spec: Rowwise, backward: bool, arrays: tuple[Any, ...], laid: Laid, extra: Any) -> None:
    """Compute what the kernel would, with NumPy."""
    *inputs, output = arrays
    words = array_primitives.primitives(np.float64)
    counts = np.ones(output.shape, np.bool_) if laid.flags is None else laid.flags
    if laid.rows:
        columns = output.shape[-1]
        counts = counts & np.tri(laid.rows, columns, columns - laid.rows, dtype=np.bool_)
    with np.errstate(all="ignore"):
        first, *rest = (array.astype(np.float64) for array in inputs)
        scale = np.float64(laid.scale)
        if backward:
            s = sum_by_halves(np, np.where(counts, bind(spec.weight, words)(first, *rest), 0))
            result, nothing = scale * bind(spec.backward, words)(first, *rest, s), 0.0
            share = s[..., 0]
        else:
            x, nothing = np.where(counts, first, -np.inf), bind(spec.value, words)(*map(np.float64, (-np.inf, 0, 0, 0)))
            number, sink = x.max(axis=-1, keepdims=True), laid.sink[..., None]
            peak = number * scale
            top = np.where((sink > peak) | np.isnan(sink), sink, peak)
            tail = np.where(top == peak, words["fma"](number, scale, -peak), 0)
            e = np.where(counts, bind(exponential_of_product, words)(x, scale, top, tail), 0)
            of_sink = np.where(sink == top, 1.0, np.exp(sink - top - tail))
            rest = sum_by_halves(np, np.where(e == 1, 0, e)) + ((e == 1).sum(axis=-1, keepdims=True) - 1.0) + of_sink
            d = bind(of_product, words)(x, scale, top, tail)
            result = bind(spec.value, words)(d, np.float64(0), e, bind(spec.of_sum, words)(rest))
            share = np.where(counts.any(axis=-1), (of_sink / (1 + rest))[..., 0], 1.0)
        output[...] = np.where(counts, result, nothing).astype(output.dtype)
    if extra is not None:
        extra[...] = share


class OptionLoop(RowLoop):
    """One operation of a row-wise function with options in one dtype."""

    def code(self) -> Code:
        """Return what machine code the kernel is."""
        spec, backward, dtype = self.spec, self.backward, self.dtype.name

        def build(target: Target | None = None) -> Any:
            from .compiler import rowoptions

            return rowoptions.compile_kernel(spec, backward, dtype, target)

        plain = super().code()
        own = b"options" + (plain.own or b"")
        return plain._replace(
            name=f"{plain.name}.options", content=plain.content + b"\0options", build=build,
            own=None if plain.own is None else own,
        )  # fmt: skip


class OptionMethod(RowMethod):
    """One operation of a row-wise function with options.

    `compiled` takes the words of the options behind the output, which is given. No public function asks it first.
    """

    def __init__(self, spec: Rowwise, backward: bool) -> None:
        super().__init__(spec, backward, lambda compiled: None)

    def call_directly(self, arrays: tuple[Any, ...], out: Any, where: Any, scale: Any, causal: Any) -> Any:
        """Answer the plainest of calls, along the last axis and without a sink, or return NotImplemented.

        A call of a few megabytes leaves Python's code outside of the caches, where it is ten times as slow: with all
        checks, `softmax` of 64 x 256 x 256 took a quarter longer than without options.
        """
        last = arrays[-1]
        if type(last) is not np.ndarray or type(scale) not in (int, float) or type(causal) is not bool:
            return NotImplemented
        words, shape = _plain_words(last.dtype, scale), last.shape
        if words is None or len(shape) < 1 + causal:
            return NotImplemented
        if causal or where is not None:
            words = words.copy()
        if causal:
            words[_ROWS] = shape[-2]
        if where is not None:
            if type(where) is not np.ndarray or where.dtype.char != "?" or where.ndim == 0:
                return NotImplemented
            if out is not None and np.may_share_memory(out, where):
                return NotImplemented
            steps = _steps(where, shape)
            if steps is None:
                return NotImplemented
            axes = _joined(shape[:-1], steps[:-1])
            words[_FLAGS : _FLAGS + 2] = where.__array_interface__["data"][0], steps[-1]
            words[_DIMENSIONS] = len(axes)
            for field, numbers in zip(_OF_AXES, zip(*axes, strict=True), strict=False):
                words[field : field + len(axes)] = numbers
        return self.compiled(*arrays, out, words)

    def loop(self, dtype: np.dtype[Any]) -> RowLoop:
        """Make the loop of a dtype."""
        return OptionLoop(self.spec, self.backward, dtype)

    def call(self, name: str) -> Call:
        """Make the compiled call, without a dtype."""
        inputs = 1 + self.backward
        return Call(name, inputs + 2, inputs, inputs, -1, entry="call_rows")

    def compute(self, *arguments: Any) -> None:
        """Compute arrays that `compiled` takes, the last of which is the output, by whichever engine there is.

        Behind them are the options, and an array or None, to which a float64 is written for each row.
        """
        *arrays, laid, extra = arguments
        self.prepare(arrays[0].dtype)
        if self.compiled(*arrays, words_of(laid, extra)) is NotImplemented:
            interpret(self.spec, self.backward, tuple(arrays), laid, extra)
