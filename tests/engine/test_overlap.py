"""Views of one array: which the compiled call takes, those that are one or have no byte in common; and pairs."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import FLOATS, assert_same, numbers
from rectifier import reglu, relu, settings, swiglu
from rectifier.testing import dtype_of

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


@pytest.mark.parametrize("dtype_name", FLOATS)
def test_pairs_of_any_number_have_the_bits_of_whole_arrays_and_nothing_beside_them_is_written(dtype_name):
    dtype, lanes = dtype_of(dtype_name), 64 // dtype_of(dtype_name).itemsize
    for n in (*range(1, 2 * lanes + 2), 1000, 20_000):
        packed = numbers(3 * (2 * n + 5), dtype, n).reshape(3, -1)
        dy = numbers(3 * n, dtype, 1).reshape(3, n)
        for first, second in ((0, 1), (1, 0), (2, 1), (3, 4)):  # which is at even places; and what is no pair's first
            x, gate = (packed[:, k : k + 2 * n : 2] for k in (first, second))
            before, room = packed.tobytes(), np.full((3, 2 * n + 5), 7).astype(dtype)
            assert_same(reglu(x, gate), reglu(x.copy(), gate.copy()))
            outs = tuple(room[:, k : k + 2 * n : 2] for k in (first, second))
            reglu.backward(dy, x, gate, out=outs)
            for out, right in zip(outs, reglu.backward(dy, x.copy(), gate.copy()), strict=True):
                assert_same(out, right)
                out[...] = 7
            assert (room == 7).all()
            assert packed.tobytes() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_pairs_may_lie_along_any_axis_in_any_direction_and_beside_other_dtypes(threads):
    a, before = numbers(40 * 66 * 6, np.dtype("f4")).reshape(40, 66, 6), settings.threads
    settings.threads = threads
    try:
        for whole in (a, np.asfortranarray(a), a.transpose(1, 2, 0), a[::-1], a[:, ::-1], a[:, :, ::-1], a[:, 3:, :4]):
            for axis in range(3):
                moved = np.moveaxis(whole, axis, -1)
                x, gate = moved[..., 1::2], moved[..., : moved.shape[-1] // 2 * 2 : 2]
                x, gate = x[..., : gate.shape[-1]], gate[..., : x.shape[-1]]
                assert_same(reglu(x, gate), reglu(x.copy(), gate.copy()))
                assert_same(reglu(x, gate.astype("f8")), reglu(x.astype("f8"), gate.astype("f8")))
                swapped = np.moveaxis(whole.astype(">f4"), axis, -1)
                others = swapped[..., 1::2][..., : gate.shape[-1]], swapped[..., ::2][..., : x.shape[-1]]
                assert_same(relu.backward(*others), relu.backward(x.copy(), gate.copy()))
                expected, there = reglu.backward(x.copy(), x.copy(), gate.copy()), np.empty_like(moved)
                outs = there[..., 1::2][..., : gate.shape[-1]], there[..., ::2][..., : x.shape[-1]]
                reglu.backward(x, x, gate, out=outs)
                for out, right in zip(outs, expected, strict=True):
                    assert_same(out, right)
    finally:
        settings.threads = before
