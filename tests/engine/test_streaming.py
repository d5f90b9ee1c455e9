"""Results that go past the caches are those that go through them, and nothing beside them is written."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from conftest import FLOATS, assert_same, numbers
from rectifier import leaky_relu, prelu, relu, settings, swiglu
from rectifier.catalogue import CATALOGUE
from rectifier.engine import process
from rectifier.engine.runtime import layout
from rectifier.testing import dtype_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="helper threads are for Linux")

# Compiling all kernels takes minutes; of these, two have masks, two parameters, two are smooth.
AT_ONCE = ("relu", "leaky_relu", "hard_swish", "silu", "tanh")
FUNCTIONS = [pytest.param(name, marks=() if name in AT_ONCE else pytest.mark.slow) for name in CATALOGUE]
EVERYWHERE, NOWHERE = 1, 1 << 62  # bytes from which results go past the caches
SHORT = range(201)
LONG = (1023, 1024, 1025, 1984, 2047, 2049, 4097, 8192, 9999, 70_001)  # some of several pieces, chunks and ranges
OFFSETS = range(16)  # elements; 16 float32 are a line
GUARD, GUARDED = 0xA5, 80  # what lies before and after an output, and how many elements


@pytest.fixture
def words():
    """Let every call look whether its results go past the caches, and share it where there are two threads."""
    everything = process.words()
    settings.threads = max(2, settings.threads)
    for _ in range(40):  # what is measured when helpers start is not measured again
        relu(np.ones(1_000_000, np.float32))
    before = everything.read("start_from", "wake_from", "parallel_from", "stream_from", "learn_from", "threads")
    everything.learn_from = NOWHERE
    everything.start_from = everything.wake_from = everything.parallel_from = 0
    yield everything
    everything.write(**before)


def room(n: int, dtype: np.dtype) -> np.ndarray:
    """Make an array that begins with a line of the caches."""
    space = np.full(n * dtype.itemsize + layout.LINE, GUARD, np.uint8)
    start = -space.ctypes.data % layout.LINE
    return space[start : start + n * dtype.itemsize].view(dtype)


def everywhere(data: np.ndarray) -> list[np.ndarray]:
    """Lay the same numbers down at every offset from a line."""
    rooms = [room(offset + len(data), data.dtype)[offset:] for offset in OFFSETS]
    for copy in rooms:
        copy[:] = data
    return rooms


class Way(NamedTuple):
    """One public call, on operands that lie anywhere."""

    name: str
    outputs: int
    call: Callable[..., Any]  # of dy, x and out


def ways(activation: Any, **parameters: Any) -> Iterator[Way]:
    """Give each call whose results may go past the caches."""
    yield Way("value", 1, lambda dy, x, out=None: activation(x, out=out, **parameters))
    yield Way("derivative", 1, lambda dy, x, out=None: activation.derivative(x, out=out, **parameters))
    yield Way("backward", 1, lambda dy, x, out=None: activation.backward(dy, x, out=out, **parameters))
    yield Way("both", 2, lambda dy, x, out=None: activation.value_and_derivative(x, out=out, **parameters))
    if "mask" in activation.spec.backward_from:

        def from_mask(dy: Any, x: Any, out: Any = None) -> Any:
            mask = activation.with_mask(x, **parameters)[1]
            return activation.backward(dy, mask=mask, out=out, **parameters)

        yield Way("from mask", 1, from_mask)


def results(way: Way, dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
    made = way.call(dy, x)
    return made if isinstance(made, tuple) else (made,)


class Outputs:
    """Room for results, with guards before and after."""

    def __init__(self, number: int, length: int, dtype: np.dtype) -> None:
        self.rooms = [room(2 * GUARDED + length, dtype) for _ in range(number)]
        self.bytes = [array.view(np.uint8) for array in self.rooms]
        self.size = dtype.itemsize

    def check(self, way: Way, dy: Any, x: Any, expected: tuple[np.ndarray, ...], *offsets: int) -> None:
        """Compute into outputs at offsets from a line, and see that their rooms hold the results and else nothing."""
        n, start = len(x), GUARDED * self.size // layout.LINE * layout.LINE // self.size
        places = [slice(start + offset, start + offset + n) for offset in offsets]
        for content, place in zip(self.bytes, places, strict=True):
            content[: (place.stop + GUARDED) * self.size] = GUARD
        outs = [array[place] for array, place in zip(self.rooms, places, strict=True)]
        way.call(dy, x, out=tuple(outs) if len(outs) > 1 else outs[0])
        for content, place, out, right in zip(self.bytes, places, outs, expected, strict=True):
            first, last = place.start * self.size, place.stop * self.size
            if out.tobytes() != right[:n].tobytes():
                assert_same(out, right[:n])  # all NaN are one
            around = content[:first].tobytes() + content[last : last + GUARDED * self.size].tobytes()
            assert around == bytes([GUARD]) * len(around), f"{way.name} of {n} writes beside its output at {offsets}"


def test_the_lengths_and_offsets_reach_every_piece():
    """Before the first line, whole lines, the rest: each with and without the others; and bits in several tiles."""
    for size in (2, 4, 8):
        line = layout.LINE // size
        shapes = set()
        for n in (*SHORT, *LONG):
            for offset in OFFSETS:
                edge = min(-offset % line, n)
                shapes.add((edge > 0, (n - edge) // line > 0, (n - edge) % line > 0))
        assert len(shapes) == 8
    assert max(LONG) > 8 * layout.TILE


@pytest.mark.parametrize("dtype_name", FLOATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_at_every_length_and_offset_the_bits_are_those_through_the_caches(words, name, dtype_name):
    activation, dtype, longest = CATALOGUE[name], dtype_of(dtype_name), max(SHORT)
    dys, xs = everywhere(numbers(longest, dtype, seed=1)), everywhere(numbers(longest, dtype, seed=2))
    words.threads = 1
    for way in ways(activation):
        words.stream_from = NOWHERE
        expected, outputs = results(way, dys[0], xs[0]), Outputs(way.outputs, longest + 16, dtype)
        words.stream_from = EVERYWHERE
        for offset in OFFSETS:
            for n in SHORT:
                dy, x = dys[(offset + n // 16) % 16][:n], xs[(offset + n) % 16][:n]
                outputs.check(way, dy, x, expected, *[offset] * way.outputs)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype_name", FLOATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_in_several_pieces_and_chunks_the_bits_are_those_through_the_caches(words, name, dtype_name, threads):
    activation, dtype, longest = CATALOGUE[name], dtype_of(dtype_name), max(LONG)
    dys, xs = everywhere(numbers(longest, dtype, seed=3)), everywhere(numbers(longest, dtype, seed=4))
    words.threads = threads
    for way in ways(activation):
        words.stream_from = NOWHERE
        expected, outputs = results(way, dys[0], xs[0]), Outputs(way.outputs, longest + 16, dtype)
        words.stream_from = EVERYWHERE
        for k, n in enumerate(LONG):
            for offset in range(k % 3, 16, 3 if n < 50_000 else 7):
                dy, x = dys[(3 * offset + k) % 16][:n], xs[(offset + k) % 16][:n]
                outputs.check(way, dy, x, expected, *[offset] * way.outputs)


@pytest.mark.parametrize("dtype_name", FLOATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_two_outputs_may_lie_differently_in_their_lines(words, name, dtype_name):
    activation, dtype = CATALOGUE[name], dtype_of(dtype_name)
    x = numbers(9999, dtype)
    (both,) = (way for way in ways(activation) if way.outputs == 2)
    words.stream_from = NOWHERE
    expected, outputs = results(both, x, x), Outputs(2, 9999 + 48, dtype)
    words.stream_from = EVERYWHERE
    for threads in (1, 2):
        words.threads = threads
        for n in (5, 31, 64, 200, 9999):
            for first in OFFSETS:
                for second in (first, (first + 1) % 16, (first + 7) % 16, first + 32):  # a line further is alike
                    outputs.check(both, x[:n], x[:n], expected, first, second)


def parameter_settings(activation: Any, n: int, dtype: np.dtype) -> Iterator[dict[str, Any]]:
    """Give parameters as numbers of Python and NumPy, as arrays of one element, and one for each element."""
    parameters = activation.spec.parameters
    for make in (
        lambda default: default / 2,
        lambda default: np.float32(default / 4),
        lambda default: np.full(1, default * 3).astype(dtype),
        lambda default: np.linspace(default / 2, 2 * default, n).astype(dtype),
    ):
        yield {name: make(default) for name, default in parameters.items()}


@pytest.mark.parametrize("dtype_name", FLOATS)
@pytest.mark.parametrize("name", [case for case in FUNCTIONS if CATALOGUE[case.values[0]].spec.parameters])
def test_parameters_may_be_numbers_or_arrays(words, name, dtype_name):
    activation, dtype = CATALOGUE[name], dtype_of(dtype_name)
    for n in (3, 77, 2049, 9999):
        dy, x = numbers(n, dtype, seed=5), numbers(n, dtype, seed=6)
        for parameters in parameter_settings(activation, n, dtype):
            for way in ways(activation, **parameters):
                words.stream_from, words.threads = NOWHERE, 1
                expected, outputs = results(way, dy, x), Outputs(way.outputs, n + 16, dtype)
                words.stream_from = EVERYWHERE
                for threads in (1, 2):
                    words.threads = threads
                    for offset in (0, 1, 6, 15):
                        outputs.check(way, dy, x, expected, *[offset] * way.outputs)


@pytest.mark.parametrize("dtype_name", FLOATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_and_columns_of_parameters_and_other_layouts(words, name, dtype_name):
    activation, dtype = CATALOGUE[name], dtype_of(dtype_name)
    table = numbers(70 * 48, dtype).reshape(70, 48)
    parameters = activation.spec.parameters
    tables = [table, table.T, table[::-1], table[:, ::2], table[3:, 5:], np.asfortranarray(table)]
    for x in tables:
        across, down = (
            {
                name: np.linspace(default / 2, 2 * default, x.shape[axis]).astype(dtype).reshape(shape)
                for name, default in parameters.items()
            }
            for axis, shape in ((1, (1, -1)), (0, (-1, 1)))
        )
        for given in (across, down, {}) if parameters else ({},):
            for way in ways(activation, **given):
                words.stream_from, words.threads = NOWHERE, 1
                expected = results(way, x, x)
                words.stream_from = EVERYWHERE
                for threads in (1, 2):
                    words.threads = threads
                    for actual, right in zip(results(way, x, x), expected, strict=True):
                        assert_same(actual, right)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype_name", FLOATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_in_place(words, name, dtype_name, threads):
    activation, dtype = CATALOGUE[name], dtype_of(dtype_name)
    for n in (1, 40, 200, 2049, 9999):
        dy, x = numbers(n, dtype, seed=7), numbers(n, dtype, seed=8)
        words.threads = threads
        for way in ways(activation):
            words.stream_from = NOWHERE
            expected = results(way, dy, x)
            words.stream_from = EVERYWHERE
            for offset in (0, 1, 9):
                for place in ("x", "dy"):
                    operands = {"dy": room(n + 16, dtype)[offset:][:n], "x": room(n + 16, dtype)[offset:][:n]}
                    other = room(n + 16, dtype)[offset:][:n]
                    operands["dy"][:], operands["x"][:] = dy, x
                    here = operands[place]
                    outs = [(here,)] if way.outputs == 1 else [(here, other), (other, here)]
                    for out in outs:
                        operands["dy"][:], operands["x"][:] = dy, x
                        way.call(**operands, out=out if len(out) > 1 else out[0])
                        for actual, right in zip(out, expected, strict=True):
                            assert_same(actual, right)


@pytest.mark.parametrize("dtype_name", FLOATS)
def test_through_the_ufunc(words, dtype_name):
    dtype = dtype_of(dtype_name)
    x, slope = numbers(9999, dtype), np.full(1, 0.25).astype(dtype)
    way = Way("ufunc", 1, lambda dy, x, out: leaky_relu.ufunc(x, slope, out=out))
    words.stream_from, words.threads = NOWHERE, 1
    expected, outputs = (leaky_relu(x, negative_slope=slope),), Outputs(1, 9999 + 16, dtype)
    words.stream_from = EVERYWHERE
    for threads in (1, 2):
        words.threads = threads
        for n in (2, 33, 200, 9999):
            for offset in OFFSETS:
                outputs.check(way, x[:n], x[:n], expected, offset)


class Piece(NamedTuple):
    """What a kernel was called with."""

    target: int
    n: int
    how: int


@pytest.fixture
def pieces(words, request):
    """Listen to the calls of kernels: those of the loops given to what this returns."""
    kept: list[Any] = []

    def listen(activation: Any, operation: str, dtype_name: str) -> list[Piece]:
        loop = activation.methods[operation].loops[dtype_name]
        kind = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int64), ctypes.c_int64, ctypes.c_int64)
        kernel, heard = loop.plan.kernel, []
        last = loop.plan.last

        def note(operands: Any, n: int, how: int) -> None:
            heard.append(Piece(operands[last], n, how))
            kind(kernel)(operands, n, how)

        callback = kind(note)
        kept.append(callback)
        request.addfinalizer(lambda: loop.plan.write(kernel=kernel))
        loop.plan.kernel = ctypes.cast(callback, ctypes.c_void_p).value
        return heard

    words.threads = 1
    return listen


@pytest.mark.parametrize("dtype_name", FLOATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_whole_lines_go_past_the_caches_and_nothing_else_does(words, pieces, name, dtype_name):
    activation, dtype = CATALOGUE[name], dtype_of(dtype_name)
    line = layout.LINE // dtype.itemsize
    operations = {
        "value": "value", "derivative": "derivative", "backward": "backward", "both": "value_and_derivative",
        "from mask": "backward_from_mask",
    }  # fmt: skip
    for way in ways(activation):
        x = numbers(9999, dtype)
        results(way, x, x)  # compiles it
        heard = pieces(activation, operations[way.name], dtype_name)
        for limit, n in ((NOWHERE, 9999), *((EVERYWHERE, n) for n in (1, line - 1, line, 3 * line, 200, 9999))):
            for offset in (0, 1, line - 1):
                outs = tuple(room(n + line, dtype)[offset : offset + n] for _ in range(way.outputs))
                heard.clear()
                words.stream_from = limit
                way.call(x[:n], x[:n], out=outs if way.outputs > 1 else outs[0])
                at = outs[0].ctypes.data
                for piece in heard:
                    assert piece.target == at, f"{way.name} of {n} at {offset}: {heard}"
                    at += piece.n * dtype.itemsize
                    if piece.how & layout.PAST:
                        assert piece.target % layout.LINE == 0
                        assert piece.n % line == 0
                assert at == outs[0].ctypes.data + n * dtype.itemsize
                whole = max(0, n - (-offset % line)) // line * line
                past = sum(piece.n for piece in heard if piece.how & layout.PAST)
                assert past == (whole if limit == EVERYWHERE else 0), f"{way.name} of {n} at {offset}: {heard}"


def test_what_is_replaced_or_lies_in_short_rows_goes_through_the_caches(words, pieces):
    n, dtype = 9999, np.dtype("f4")
    x, y, wide = numbers(n, dtype), room(n + 16, dtype), numbers(2 * n, dtype)
    leaky_relu(x), leaky_relu.value_and_derivative(x)
    heard = pieces(leaky_relu, "value", "float32")
    both = pieces(leaky_relu, "value_and_derivative", "float32")
    words.stream_from = EVERYWHERE
    slopes = np.linspace(0, 1, n, dtype=dtype)
    for call in (
        lambda: leaky_relu(x, out=x),
        lambda: leaky_relu(wide[::2], out=y[:n]),
        lambda: leaky_relu(x.reshape(99, -1), negative_slope=slopes[:101], out=y[:n].reshape(99, -1)),
        lambda: leaky_relu.with_mask(x),
        lambda: leaky_relu.value_and_derivative(x, out=(y[:n], room(n + 16, dtype)[1 : n + 1])),
    ):
        call()
    assert heard
    assert both
    assert not any(piece.how & layout.PAST for piece in heard + both)
    for slope in (0.5, slopes):
        heard.clear()
        leaky_relu(x, negative_slope=slope, out=y[:n])
        assert any(piece.how & layout.PAST for piece in heard)
    leaky_relu.value_and_derivative(x, out=(y[:n], room(n + 16, dtype)[:n]))
    assert any(piece.how & layout.PAST for piece in both)


LENGTHS_OF_ROWS = (515, 1024, 1031)  # elements: no line, in some dtypes lines and no strip, lines and strips


def tables(
    rows: int, length: int, dtype: np.dtype, outputs: int
) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
    """Give tables with guards, and rows in them for outputs: a whole one; columns side by side; at odd places."""
    for start, pitch in ((0, length), (0, length + 61), (7, length + 13)):
        space = room(outputs * (rows + 2) * (outputs * pitch + 80), dtype)
        table = space[: rows * outputs * pitch + start].view(dtype)[start:].reshape(rows, outputs * pitch)
        space.view(np.uint8)[:] = GUARD
        yield space, tuple(table[:, k * pitch : k * pitch + length] for k in range(outputs))


def calls_of_rows(length: int, rows: int, dtype: np.dtype) -> list[tuple[int, Callable[..., Any]]]:
    """List calls of rows of a larger array that take a tuple of outputs, and how many of those."""
    packed = numbers(rows * (2 * length + 3), dtype, seed=9).reshape(rows, -1)
    x, gate, dy = packed[:, 1 : length + 1], packed[:, length + 2 : 2 * length + 2], packed[::-1, 3 : length + 3]
    slopes = numbers(length, dtype, seed=10)
    return [
        (1, lambda out: relu(x, out=out[0])),
        (1, lambda out: prelu(x, slopes, out=out[0])),
        (1, lambda out: leaky_relu(x, negative_slope=slopes, out=out[0])),
        (1, lambda out: swiglu(x, gate, out=out[0])),
        (2, lambda out: swiglu.backward(dy, x, gate, out=out)),
    ]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_rows_of_larger_arrays_have_the_bits_of_whole_arrays_and_nothing_beside_them_is_written(
    words, dtype_name, threads
):
    dtype, rows, written = dtype_of(dtype_name), 9, 0
    words.threads = threads
    for length in LENGTHS_OF_ROWS:
        for outputs, call in calls_of_rows(length, rows, dtype):
            words.stream_from = NOWHERE
            expected = tuple(np.empty((rows, length), dtype) for _ in range(outputs))
            call(expected)
            words.stream_from = EVERYWHERE
            for space, outs in tables(rows, length, dtype, outputs):
                call(outs)
                for out, right in zip(outs, expected, strict=True):
                    assert_same(out, right)
                    out.view(np.uint16)[...] = GUARD * 0x101
                    written += 1
                assert (space.view(np.uint8) == GUARD).all()
    assert written == len(LENGTHS_OF_ROWS) * 3 * 6


@pytest.mark.parametrize("length", LENGTHS_OF_ROWS)
def test_whole_lines_of_each_row_go_past_the_caches(words, pieces, length):
    dtype, rows, line = np.dtype("f4"), 9, layout.LINE // 4
    packed, slopes = numbers(rows * 2 * length, dtype).reshape(rows, -1), numbers(length, dtype)
    x, gate = packed[:, :length], packed[:, length:]
    prelu(x, slopes), swiglu.backward(x, x, gate)
    value, backward = pieces(prelu, "value", "float32"), pieces(swiglu, "backward", "float32")
    words.stream_from = EVERYWHERE
    for heard, outputs, call in (
        (value, 1, lambda out: prelu(x, slopes, out=out[0])),
        (backward, 2, lambda out: swiglu.backward(x, x, gate, out=out)),
    ):
        for _, outs in tables(rows, length, dtype, outputs):
            heard.clear()
            call(outs)
            apart = outs[-1].ctypes.data - outs[0].ctypes.data
            at = [out.ctypes.data for out in outs[0]] if apart % layout.LINE == 0 else []
            whole = sum((length - -start % layout.LINE // 4) // line * line for start in at)
            past = [piece for piece in heard if piece.how & layout.PAST]
            assert sum(piece.n for piece in past) == whole
            assert all(piece.target % layout.LINE == 0 and piece.n % line == 0 for piece in past)
            assert sum(piece.n for piece in heard) == rows * length


def test_what_replaces_rows_of_a_larger_array_goes_through_the_caches(words, pieces):
    packed = numbers(9 * 2048, np.dtype("f4")).reshape(9, 2048)
    x, gate, dy = packed[:, :1024], packed[:, 1024:], numbers(9 * 1024, np.dtype("f4")).reshape(9, 1024)
    swiglu.backward(dy, x, gate)
    heard = pieces(swiglu, "backward", "float32")
    words.stream_from = EVERYWHERE
    swiglu.backward(dy, x, gate, out=(x, gate))
    assert heard
    assert not any(piece.how & layout.PAST for piece in heard)


def test_integers_that_replace_their_input_go_through_the_caches(words, pieces):
    x = np.zeros(4096 + 16, np.int32)
    x = x[-x.ctypes.data % layout.LINE // 4 :][:4096]
    out = np.zeros(4096 + 16, np.int32)
    out = out[-out.ctypes.data % layout.LINE // 4 :][:4096]
    relu(x)
    heard = pieces(relu, "value", "int32")
    words.stream_from = EVERYWHERE
    relu(x, out=x)
    assert heard
    assert not any(piece.how & layout.PAST for piece in heard)
    relu(x, out=out)
    assert any(piece.how & layout.PAST for piece in heard)


def test_what_one_thread_does_goes_past_the_caches_as_well(words, pieces):
    x, out = numbers(4096, np.dtype("f4")), room(4096, np.dtype("f4"))
    relu(x)
    heard = pieces(relu, "value", "float32")
    words.stream_from, words.parallel_from = EVERYWHERE, 1 << 40
    relu(x, out=out)
    assert all(piece.how & layout.PAST for piece in heard)
    assert heard


def test_a_result_below_the_limit_goes_through_the_caches_and_one_at_it_past_them(words, pieces):
    x, out = numbers(4096, np.dtype("f4")), room(4096, np.dtype("f4"))
    relu(x)
    heard = pieces(relu, "value", "float32")
    for limit, past in ((out.nbytes, True), (out.nbytes + 1, False)):
        heard.clear()
        words.stream_from = limit
        relu(x, out=out)
        assert any(piece.how & layout.PAST for piece in heard) == past
