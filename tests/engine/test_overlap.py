"""Which views of one array the compiled call takes: those that are one, or have no byte in common."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import assert_same, numbers
from rectifier import relu, swiglu

RNG = np.random.default_rng(16)


def views(array: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Cut random views of a shape out of an array, with steps and in both directions."""
    made = []
    for _ in range(2):
        parts = []
        for extent, length in zip(shape, array.shape, strict=True):
            step = int(RNG.integers(1, 1 + (length - 1) // max(extent - 1, 1)))
            step = min(step, 3)
            start = int(RNG.integers(0, length - (extent - 1) * step))
            cut = slice(start, start + (extent - 1) * step + 1, step)
            parts.append((cut, slice(None, None, int(RNG.choice([1, 1, -1])))))
        made.append(array[tuple(cut for cut, _ in parts)][tuple(turn for _, turn in parts)])
    return made


def test_views_that_share_a_byte_are_not_written_while_they_are_read():
    relu(np.ones(3, np.float32))
    compiled = relu.methods["value"].compiled
    taken = refused = beside = 0
    for _ in range(3000):
        room = np.arange(-200, 200, dtype=np.float32).reshape(4, 10, 10)
        x, out = views(room, tuple(int(n) for n in RNG.integers(1, (4, 6, 6))))
        expected = np.maximum(x, 0)
        apart = not np.shares_memory(x, out)
        one = x.ctypes.data == out.ctypes.data and all(
            a == b or n == 1 for a, b, n in zip(x.strides, out.strides, x.shape, strict=True)
        )
        if compiled(x, out) is NotImplemented:
            refused += 1
            assert not one
            relu(x, out=out)
        else:
            taken += 1
            beside += apart and np.may_share_memory(x, out)
            assert apart or one
        assert_same(out, expected)
    assert min(taken, refused, beside) > 100


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.s_[:, :7], np.s_[:, 7:]),
        (np.s_[:, ::2], np.s_[:, 1::2]),
        (np.s_[:, 1::2], np.s_[:, ::2]),
        (np.s_[::-1, :7], np.s_[::-1, 7:]),
        (np.s_[:, 6::-1], np.s_[:, :6:-1]),
        (np.s_[:6], np.s_[6:]),
        (np.s_[::2], np.s_[1::2]),
    ],
)
def test_parts_of_one_array_are_written_by_one_compiled_call(first, second):
    packed = numbers(12 * 14 * 3, np.dtype("f4")).reshape(12, 14, 3)
    dy, expected = np.ascontiguousarray(packed[first]), swiglu.backward(packed[first], packed[first], packed[second])
    gradient = np.empty_like(packed)
    outs = gradient[first], gradient[second]
    assert swiglu.methods["backward"].compiled(dy, packed[first], packed[second], *outs) is not NotImplemented
    assert swiglu.methods["backward"].compiled(dy, packed[first], packed[second], packed[first], packed[second])
    for out, there, right in zip(outs, (packed[first], packed[second]), expected, strict=True):
        assert_same(out, right)
        assert_same(there, right)
