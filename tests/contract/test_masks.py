"""A mask is one bit an element, and says what it is."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import BACKENDS, assert_same, numbers
from rectifier import Mask, hard_tanh, leaky_relu, relu


@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (8,), (9,), (3, 5), (3, 0, 2), (1, 70_001), (70_001, 1), (257, 33, 9)]
)
def test_bits_are_in_c_order_and_the_rest_is_zero(activation, shape):
    x = numbers(int(np.prod(shape)), np.dtype("f4")).reshape(shape)
    for layout in (x, np.asarray(x, order="F")):
        _, mask = activation.with_mask(layout)
        flags = ~(x <= 0)
        assert mask.shape == shape
        assert mask.size == x.size
        assert mask.ndim == x.ndim
        assert mask.nbytes == (x.size + 7) // 8 == mask.bits.nbytes
        assert np.array_equal(np.unpackbits(mask.bits, count=x.size, bitorder="little"), flags.ravel())
        assert not np.unpackbits(mask.bits, bitorder="little")[x.size :].any()
        assert mask.to_array().dtype == bool
        assert np.array_equal(mask.to_array(), flags)


def test_count_of_everything_and_along_axes():
    shape = (70, 33, 29)
    x = numbers(int(np.prod(shape)), np.dtype("f4")).reshape(shape)
    _, mask = relu.with_mask(x)
    flags = ~(x <= 0)
    assert mask.count() == np.count_nonzero(flags)
    assert type(mask.count()) is int
    for axis in (0, 1, 2, -1, (0, 1), (0, 2), (1, 2), (2, 0), (0, 1, 2), ()):
        assert np.array_equal(mask.count(axis=axis), np.count_nonzero(flags, axis=axis)), axis
    with pytest.raises(np.exceptions.AxisError):
        mask.count(axis=3)


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([None, 0, 1, (0, 1)]), st.integers(0, 2**32))
def test_count_of_any_shape(rows, columns, axis, seed):
    x = np.random.default_rng(seed).standard_normal((rows, columns), np.float32)
    assert np.array_equal(relu.with_mask(x)[1].count(axis=axis), np.count_nonzero(x > 0, axis=axis))


def test_dead_units_are_found():
    x = np.random.default_rng(0).standard_normal((64, 10), np.float32)
    x[:, [2, 7]] = -abs(x[:, [2, 7]])
    assert np.flatnonzero(relu.with_mask(x)[1].count(axis=0) == 0).tolist() == [2, 7]


def test_counting_does_not_unpack_everything():
    import tracemalloc

    _, mask = relu.with_mask(np.ones((4096, 1024), np.float32))
    mask.count(axis=0)
    tracemalloc.start()
    mask.count(axis=0)
    mask.count()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mask.size / 4


def test_equal_masks_are_equal():
    x = numbers(100, np.dtype("f4"))
    mask = relu.with_mask(x)[1]
    assert mask == relu.with_mask(x.astype("f8"))[1]
    assert mask != relu.with_mask(-x)[1]
    assert mask != relu.with_mask(x.reshape(10, 10))[1]
    assert mask != leaky_relu.with_mask(x)[1]
    assert leaky_relu.with_mask(x)[1] != leaky_relu.with_mask(x, negative_slope=0.3)[1]
    slopes = np.full(100, 0.3)
    assert leaky_relu.with_mask(x, negative_slope=slopes)[1] == leaky_relu.with_mask(x, negative_slope=slopes.copy())[1]
    assert mask != "mask"
    with pytest.raises(TypeError, match="unhashable"):
        hash(mask)


@pytest.mark.parametrize("copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.copy, copy.deepcopy])
def test_a_copied_mask_works(copied):
    x = numbers(1001, np.dtype("f4"))
    _, mask = leaky_relu.with_mask(x)
    again = copied(mask)
    assert again == mask
    assert np.array_equal(again.to_array(), mask.to_array())
    assert_same(leaky_relu.backward(x, mask=again), leaky_relu.backward(x, mask=mask))
    with pytest.raises(ValueError, match="read-only"):
        again.bits[0] = 0


def test_pickled_mask_is_small():
    _, mask = relu.with_mask(np.ones(80_000, np.float32))
    assert len(pickle.dumps(mask)) < 10_300


def test_mask_does_not_change():
    slopes = np.array([0.1, 0.2])
    _, mask = leaky_relu.with_mask(np.array([-1.0, 1.0]), negative_slope=slopes)
    with pytest.raises(ValueError, match="read-only"):
        mask.bits[0] = 0
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        mask.bits.flags.writeable = True
    with pytest.raises(ValueError, match="read-only"):
        mask.parameters["negative_slope"][0] = 0
    with pytest.raises(TypeError, match="does not support item assignment"):
        mask.parameters["negative_slope"] = 0
    for name in ("shape", "bits", "function", "parameters", "size", "nbytes"):
        with pytest.raises(AttributeError):
            setattr(mask, name, None)
    slopes[0] = 5
    assert mask.parameters["negative_slope"][0] == 0.1
    with pytest.raises(ValueError, match="the mask was made by"):
        leaky_relu.backward(np.ones(2), mask=mask, negative_slope=slopes)


def test_repr_says_what_it_is():
    x = np.array([[1.0, -1.0, 0.0]] * 3)
    assert repr(relu.with_mask(x)[1]) == "<Mask of relu, shape (3, 3): 3 of 9 on, 2 bytes>"
    assert (
        repr(leaky_relu.with_mask(x[0])[1])
        == "<Mask of leaky_relu, negative_slope=0.01, shape (3,): 1 of 3 on, 1 byte>"
    )


def test_a_mask_holds_one_bit_an_element():
    x = np.ones((1000, 1000), np.float32)
    for package in BACKENDS.values():
        assert package.relu.with_mask(x)[1].nbytes == x.nbytes / 32


@pytest.mark.parametrize(
    "bits", [np.zeros(0, "u1"), np.zeros(2, "u1"), np.zeros(1, "f4"), np.zeros((1, 1), "u1"), [256]]
)
def test_a_mask_of_the_wrong_size_or_dtype_is_refused(bits):
    with pytest.raises(ValueError, match=r"Mask: bits have dtype .* for shape \(3,\) they are 1 of uint8"):
        Mask(bits, (3,), "relu", {})


def test_a_mask_with_stray_bits_is_refused():
    with pytest.raises(ValueError, match="bits after the last element are set"):
        Mask(np.array([8], "u1"), (3,), "relu", {})
    assert Mask(np.array([5], "u1"), (3,), "relu", {}).to_array().tolist() == [True, False, True]


def test_a_mask_of_nan_slopes_says_which_elements_were_on():
    x = np.array([-1.0, 1.0, np.nan, 0.0])
    for package in BACKENDS.values():
        for slope in (np.nan, 1.0, 0.9999999, [np.nan, np.nan, 1, 1]):
            _, mask = package.leaky_relu.with_mask(x, negative_slope=slope)
            assert mask.to_array().tolist() == [False, True, True, False]
            dx = package.leaky_relu.backward(np.ones(4), mask=mask, negative_slope=slope)
            assert_same(dx[[0, 1, 3]], package.leaky_relu.backward(np.ones(4), x, negative_slope=slope)[[0, 1, 3]])
            assert dx[2] == 1


def test_the_pullback_does_not_see_later_changes_of_the_slopes():
    x, slopes = np.array([-1.0, 1.0]), np.array([0.1, 0.2])
    _, pullback = leaky_relu.vjp(x, negative_slope=slopes)
    slopes -= 1
    assert pullback(np.ones(2)).tolist() == [0.1, 1]


def test_masks_of_many_dimensions():
    x = numbers(48, np.dtype("f4")).reshape((1,) * 31 + (2, 3, 8))[..., ::2]
    y, mask = relu.with_mask(x)
    assert_same(y, relu(x))
    assert np.array_equal(mask.to_array(), ~(x <= 0))
    assert_same(relu.backward(x, mask=mask), np.where(np.isnan(x), x, relu.backward(x, x)))


@pytest.mark.parametrize("call", ["with_mask", "vjp"])
@pytest.mark.parametrize(
    "parameters", [{}, {"negative_slope": 0.25}, {"negative_slope": np.float32(0.25)}, {"negative_slope": 1}]
)
def test_every_call_with_a_mask_is_as_the_first(call, parameters):
    x = np.array([[-1.0, 2.0, np.nan], [0.0, -0.0, 3.0]], "f4")
    seen = []
    for _ in range(3):  # once compiled, an ndarray goes another way than at first
        y, made = getattr(leaky_relu, call)(x, **parameters)
        mask = made.keywords["mask"] if call == "vjp" else made
        assert mask.shape == (2, 3)
        assert mask.bits.tolist() == [0b100110]
        assert not mask._bits.flags.writeable
        assert mask.function == "leaky_relu"
        assert dict(mask.parameters) == {"negative_slope": parameters.get("negative_slope", 0.01)}
        if call == "vjp":
            again = pickle.loads(pickle.dumps(made))
            assert_same(again(x), made(x))
            assert_same(made(x), leaky_relu.backward(x, mask=mask, **parameters))
            out = np.empty_like(x)
            assert made(x, out=out) is out
        seen.append((y, mask))
    for y, mask in seen[1:]:
        assert_same(y, seen[0][0])
        assert mask == seen[0][1]


def test_a_call_with_a_mask_takes_what_is_no_array_of_floats():
    for x in ([-1.0, 2.0], np.float32(2.0), np.array(2.0), np.zeros((0, 3)), np.array([-1, 2])):
        y, mask = leaky_relu.with_mask(x)
        assert mask.shape == np.shape(x)
        assert_same(np.asarray(y), np.asarray(leaky_relu(x)))
        assert_same(np.asarray(leaky_relu.vjp(x)[1](y)), np.asarray(leaky_relu.backward(y, mask=mask)))


def test_out_of_a_call_with_a_mask_may_be_x():
    expected, mask = leaky_relu.with_mask(np.array([-1.0, 2.0, -3.0]))
    for call in (leaky_relu.with_mask, leaky_relu.vjp):
        x = np.array([-1.0, 2.0, -3.0])
        y, made = call(x, out=x)
        assert y is x
        assert_same(x, expected)
        assert (made.keywords["mask"] if call is leaky_relu.vjp else made) == mask


@pytest.mark.parametrize("dtype_name", ["float16", "float32", "float64"])
def test_bits_after_the_last_are_0_also_where_that_of_0_is_1(dtype_name):
    """So masks that are equal have equal bytes; what a kernel pads its last elements with is 0."""
    zeros = np.zeros(200, dtype_name)
    assert hard_tanh.with_mask(zeros)[1].count() == zeros.size
    for n in range(1, zeros.size):
        bits = np.asarray(hard_tanh.with_mask(zeros[:n])[1].bits)
        assert np.unpackbits(bits, bitorder="little").sum() == n
