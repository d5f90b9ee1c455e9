"""The bits of a result do not depend on how the arrays lie in memory, nor on where in them an element is."""

from __future__ import annotations

import itertools
import tempfile

import numpy as np
import pytest

from conftest import BACKENDS, INTEGERS, assert_same, numbers, settings_of
from rectifier import leaky_relu, relu

SHAPE = (5, 3, 70)


def misaligned(x):
    room = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    room[...] = x
    assert not room.flags.aligned or x.itemsize == 1
    return room


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def spread(x, step):
    room = np.zeros((*x.shape[:-1], x.shape[-1] * abs(step)), x.dtype)[..., ::step]
    room[...] = x
    return room


def zero_stride(x):
    return np.broadcast_to(x[:1], x.shape)


def byte_swapped(x):
    return x.astype(x.dtype.newbyteorder()) if x.dtype.kind != "V" else x


LAYOUTS = {
    "C": lambda x: x.copy(),
    "Fortran": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "strided": lambda x: spread(x, 2),
    "negative": lambda x: spread(x, -1),
    "negative-strided": lambda x: spread(x, -3),
    "misaligned": misaligned,
    "read-only": read_only,
    "byte-swapped": byte_swapped,
    "middle": lambda x: np.pad(x, 1)[1:-1, 1:-1, 1:-1],
}
SIZES = sorted({*range(70), *(m + k for m in (127, 255, 256, 511, 512, 1024, 2048, 8192) for k in (-1, 0, 1)), 70_001})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_x(activation, dtype, layout):
    x = numbers(np.prod(SHAPE), dtype).reshape(SHAPE)
    there = LAYOUTS[layout](x)
    for settings in settings_of(activation)[:2]:
        assert_same(activation(there, **settings), activation(x, **settings))
        assert_same(activation.derivative(there, **settings), activation.derivative(x, **settings))
        for actual, expected in zip(
            activation.value_and_derivative(there, **settings),
            activation.value_and_derivative(x, **settings),
            strict=True,
        ):
            assert_same(actual, expected)
        y, mask = activation.with_mask(there, **settings)
        assert_same(y, activation(x, **settings))
        assert mask == activation.with_mask(x, **settings)[1]
        assert y.dtype.isnative


@pytest.mark.parametrize("layouts", list(itertools.permutations(LAYOUTS, 2)))
def test_layouts_of_dy_and_x(layouts):
    x, dy = (
        numbers(np.prod(SHAPE), np.dtype("f4"), 1).reshape(SHAPE),
        numbers(np.prod(SHAPE), np.dtype("f4")).reshape(SHAPE),
    )
    for backend, name in itertools.product(BACKENDS, ("relu", "leaky_relu")):
        activation = getattr(BACKENDS[backend], name)
        expected = activation.backward(dy, x)
        assert_same(activation.backward(LAYOUTS[layouts[0]](dy), LAYOUTS[layouts[1]](x)), expected)
        _, mask = activation.with_mask(LAYOUTS[layouts[1]](x))
        assert_same(activation.backward(LAYOUTS[layouts[0]](dy), mask=mask), np.where(np.isnan(x), dy, expected))


def packed_field(x):
    """Lie in a record of 3 bytes more, so that elements are neither adjacent nor aligned."""
    room = np.zeros(x.shape, np.dtype([("tag", "S3"), ("x", x.dtype)]))
    room["x"] = x
    return room["x"]


def as_memmap(x):
    with tempfile.TemporaryFile() as file:
        room = np.memmap(file, x.dtype, "w+", shape=x.shape)
    room[...] = x
    return room


OUTS = {name: layout for name, layout in LAYOUTS.items() if name != "read-only"}
OUTS |= {
    "field": packed_field,
    "memmap": as_memmap,
    "swapped-strided": lambda x: byte_swapped(spread(x, -2)),
    "swapped-field": lambda x: packed_field(byte_swapped(x)),
    "swapped-misaligned": lambda x: misaligned(byte_swapped(x)),
    "swapped-memmap": lambda x: as_memmap(byte_swapped(x)),
}


def assert_is(result, out, expected):
    """Assert that a result is `out`, and holds what is expected, in its own byte order."""
    assert result is out
    assert_same(np.asarray(out).astype(expected.dtype), expected)


@pytest.mark.parametrize("layout", OUTS)
def test_layout_of_out(activation, dtype, layout):
    x = numbers(np.prod(SHAPE), dtype).reshape(SHAPE)
    dy = x[::-1].copy()

    def out():
        array = OUTS[layout](np.full_like(x, 77))
        outs.append(array)
        return array

    outs = []
    _, mask = activation.with_mask(x)
    assert_is(activation(x, out=out()), outs[-1], activation(x))
    assert_is(activation.derivative(x, out=out()), outs[-1], activation.derivative(x))
    assert_is(activation.backward(dy, x, out=out()), outs[-1], activation.backward(dy, x))
    assert_is(activation.backward(dy, y=x, out=out()), outs[-1], activation.backward(dy, x))
    assert_is(activation.backward(dy, mask=mask, out=out()), outs[-1], activation.backward(dy, mask=mask))
    y, again = activation.with_mask(x, out=out())
    assert_is(y, outs[-1], activation(x))
    assert again == mask
    y, d = activation.value_and_derivative(x, out=(out(), out()))
    assert_is(y, outs[-2], activation(x))
    assert_is(d, outs[-1], activation.derivative(x))
    y, d = activation.value_and_derivative(x, out=(None, out()))
    assert_same(y, activation(x))
    assert_is(d, outs[-1], activation.derivative(x))
    y, _ = activation.vjp(x, out=out())
    assert_is(y, outs[-1], activation(x))


@pytest.mark.parametrize("layout", OUTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_layout_of_out_of_gates_and_rows(backend, layout):
    package, dtype = BACKENDS[backend], np.dtype("f4")
    x = np.random.default_rng(0).standard_normal(SHAPE, "f4")
    gate, dy = x[::-1].copy(), x[:, ::-1].copy()

    def out(shape=SHAPE):
        return OUTS[layout](np.full(shape, 77, dtype))

    for call in (
        lambda o: package.softmax(x, o),
        lambda o: package.softmax(x, o, axis=1),
        lambda o: package.softmax.backward(dy, x, o),
        lambda o: package.softmax.backward(dy, x, o, axis=0),
        lambda o: package.reglu(x, gate, o),
        lambda o: package.prelu(x, gate[0], o),
    ):
        there = out()
        assert_is(call(there), there, call(None))
        there = out()
        assert_is(call((there,)), there, call(None))
    for own in (gate, gate[:1]):
        there = out(), out(own.shape)
        both = package.prelu.backward(dy, x, own, there)
        for result, array, expected in zip(both, there, package.prelu.backward(dy, x, own), strict=True):
            assert_is(result, array, expected)


@pytest.mark.parametrize("layout", OUTS)
def test_in_place_in_any_layout(activation, layout):
    x, dy = numbers(np.prod(SHAPE), np.dtype("f4")).reshape(SHAPE), numbers(np.prod(SHAPE), np.dtype("f4"), 1)
    dy = dy.reshape(SHAPE)
    _, mask = activation.with_mask(x)
    for call, array in (
        (activation, x),
        (activation.derivative, x),
        (lambda a, out: activation.with_mask(a, out)[0], x),
        (lambda a, out: activation.vjp(a, out)[0], x),
        (lambda a, out: activation.backward(a, x, out), dy),
        (lambda a, out: activation.backward(a, y=x, out=out), dy),
        (lambda a, out: activation.backward(a, mask=mask, out=out), dy),
        (lambda a, out: activation.backward(dy, a, out), x),
    ):
        there = OUTS[layout](array)
        assert_is(call(there, there), there, call(array.copy(), None))
    package = BACKENDS["llvm" if activation in (relu, leaky_relu) else "numpy"]
    finite = np.nan_to_num(x, posinf=9, neginf=-9)
    for call in (
        package.softmax,
        lambda a, out: package.prelu(a, x, out),
        lambda a, out: package.softmax(a, out, axis=0),
    ):
        there = OUTS[layout](finite)
        assert_is(call(there, there), there, call(finite.copy(), None))


def test_overlap_in_the_other_byte_order_gives_what_a_copy_would(activation):
    room = numbers(3000, np.dtype("f4")).astype(">f4")
    for source, target in ((np.s_[:-1], np.s_[1:]), (np.s_[1:], np.s_[:-1]), (np.s_[:], np.s_[::-1])):
        for call in (
            activation,
            lambda x, out: activation.with_mask(x, out)[0],
            lambda x, out: activation.backward(x, mask=activation.with_mask(x)[1], out=out),
        ):
            there = room.copy()
            expected = call(there[source].copy(), None)
            call(there[source], there[target])
            assert_same(there[target].astype("f4"), expected)


def test_results_in_the_other_byte_order_are_only_given_where_out_has_it(activation):
    x = numbers(100, np.dtype("f4")).astype(">f4")
    for result in (activation(x), *activation.value_and_derivative(x), activation.vjp(x)[1](x)):
        assert result.dtype.isnative


@pytest.mark.parametrize("order", ["C", "F"])
def test_fresh_results_have_the_layout_of_x(activation, order):
    x = np.asarray(numbers(12, np.dtype("f4")).reshape(3, 4), order=order)
    for result in (activation(x), activation.backward(x, x), activation.with_mask(x)[0]):
        assert result.flags.c_contiguous == x.flags.c_contiguous
        assert result.flags.f_contiguous == x.flags.f_contiguous


def test_element_does_not_depend_on_length_or_place(activation, dtype):
    whole = numbers(SIZES[-1], dtype)
    dy = whole[::-1].copy()
    y, d = activation.value_and_derivative(whole)
    dx, (_, mask) = activation.backward(dy, whole), activation.with_mask(whole)
    flags = mask.to_array()
    for n in SIZES:
        x = whole[:n]
        assert_same(activation(x), y[:n])
        assert_same(activation(whole[len(whole) - n :]), y[len(whole) - n :])
        assert_same(activation.derivative(x), d[:n])
        assert_same(activation.backward(dy[:n], x), dx[:n])
        again, short = activation.with_mask(x)
        assert_same(again, y[:n])
        assert_same(short.to_array(), flags[:n])
        assert_same(activation.backward(dy[:n], mask=short), np.where(np.isnan(x), dy[:n], dx[:n]))


def test_element_does_not_depend_on_array_parameters(dtype):
    for package in BACKENDS.values():
        for n in (1, 2, 63, 64, 65, 1000, 5000):
            x = numbers(n, dtype)
            slopes = numbers(n, dtype, 5)
            y, d = package.leaky_relu.value_and_derivative(x, negative_slope=slopes)
            dx = package.leaky_relu.backward(x[::-1], x, negative_slope=slopes)
            _, mask = package.leaky_relu.with_mask(x, negative_slope=slopes)
            from_mask = package.leaky_relu.backward(x[::-1], mask=mask, negative_slope=slopes)
            for i in {0, n // 2, n - 1}:
                one = {"negative_slope": float(slopes[i])}
                assert_same(y[i : i + 1], package.leaky_relu(x[i : i + 1], **one))
                assert_same(d[i : i + 1], package.leaky_relu.derivative(x[i : i + 1], **one))
                assert_same(dx[i : i + 1], package.leaky_relu.backward(x[::-1][i : i + 1], x[i : i + 1], **one))
                if not np.isnan(x[i]):
                    assert_same(from_mask[i], dx[i])


def test_slopes_broadcast_as_in_prelu(dtype):
    x = numbers(60, dtype).reshape(3, 4, 5)
    slopes = np.array([0.0, 0.1, -0.5, 2.0]).astype(dtype)[:, None]
    for package in BACKENDS.values():
        leaky_relu = package.leaky_relu
        y, mask = leaky_relu.with_mask(x, negative_slope=slopes)
        whole = leaky_relu(x, negative_slope=slopes)
        assert_same(y, whole)
        for k in range(4):
            one = {"negative_slope": float(slopes[k, 0])}
            assert_same(whole[:, k], leaky_relu(x[:, k], **one))
            assert_same(
                leaky_relu.backward(x, x, negative_slope=slopes)[:, k], leaky_relu.backward(x[:, k], x[:, k], **one)
            )
        expected = np.where(np.isnan(x), x, leaky_relu.backward(x, x, negative_slope=slopes))
        assert_same(leaky_relu.backward(x, mask=mask, negative_slope=slopes), expected)
        rows = leaky_relu(x[0, 0], negative_slope=slopes)
        assert rows.shape == (4, 5)
        assert leaky_relu.with_mask(x[0, 0], negative_slope=slopes)[1].shape == (4, 5)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (1, 1, 1)])
def test_empty_and_0_d(activation, dtype, shape):
    x = np.full(shape, -2.0).astype(dtype)
    assert_same(activation(x), np.full(shape, activation(np.full(1, -2.0).astype(dtype))[0]))
    assert activation.backward(x, x).shape == shape
    y, mask = activation.with_mask(x)
    assert y.shape == mask.shape == shape
    assert mask.count() == 0
    assert_same(activation.backward(x, mask=mask), activation.backward(x, x))
    assert [part.shape for part in activation.value_and_derivative(x)] == [shape, shape]


def test_in_place_is_the_same(activation, dtype):
    for n in (1, 15, 64, 1000, 70_001):
        x, dy = numbers(n, dtype), numbers(n, dtype, 1)
        _, mask = activation.with_mask(x)
        for call in (
            lambda a: activation(a, out=a),
            lambda a: activation.derivative(a, out=a),
            lambda a: activation.with_mask(a, out=a)[0],
            lambda a: activation.vjp(a, out=a)[0],
        ):
            there = x.copy()
            expected = call(x.copy())
            assert call(there) is there
            assert_same(there, expected)
        assert_same(activation(x.copy(), out=x.copy()), activation(x))
        expected = activation.backward(dy, x)
        there = dy.copy()
        assert activation.backward(there, x, out=there) is there
        assert_same(there, expected)
        there = dy.copy()
        assert activation.backward(there, mask=mask, out=there) is there
        assert_same(there, np.where(np.isnan(x), dy, expected))


def test_mask_made_in_place_is_that_of_x(activation):
    x = numbers(70_001, np.dtype("f4"))
    expected = activation.with_mask(x)[1]
    assert activation.with_mask(x, out=x)[1] == expected


@pytest.mark.parametrize("shift", [1, 7, 64])
def test_overlap_gives_what_a_copy_would(activation, shift):
    room = numbers(200_000, np.dtype("f4"))
    for source, target in ((slice(0, -shift), slice(shift, None)), (slice(shift, None), slice(0, -shift))):
        for call in (
            lambda x, out: activation(x, out=out),
            lambda x, out: activation.derivative(x, out=out),
            lambda x, out: activation.backward(x, x, out=out),
            lambda x, out: activation.with_mask(x, out=out)[0],
            lambda x, out: activation.backward(x, mask=activation.with_mask(x)[1], out=out),
        ):
            there = room.copy()
            expected = call(there[source].copy(), np.empty_like(there[target]))
            assert_same(call(there[source], there[target]), expected)
            assert_same(there[target], expected)
        there = room.copy()
        expected = activation(there[source])
        call = activation(there[source], out=there[source][::-1])
        assert_same(call, expected)


def test_overlap_of_strided_arrays_gives_what_a_copy_would(activation):
    room = numbers(300 * 701, np.dtype("f4")).reshape(300, 701)
    for source, target in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:, ::2], np.s_[:-1, ::2]),
    ):
        for call in (
            lambda x, out: activation(x, out=out),
            lambda x, out: activation.with_mask(x, out=out)[0],
            lambda x, out: activation.backward(x, mask=activation.with_mask(x)[1], out=out),
        ):
            there = room.copy()
            expected = call(there[source].copy(), None)
            assert_same(call(there[source], there[target]), expected)


def test_slopes_that_overlap_out_are_read_first():
    for package in BACKENDS.values():
        x, slopes = numbers(1000, np.dtype("f4")), np.linspace(0, 1, 1000, dtype="f4")
        expected = package.leaky_relu(x, negative_slope=slopes)
        y, mask = package.leaky_relu.with_mask(x, out=slopes, negative_slope=slopes)
        assert_same(y, expected)
        slopes = np.linspace(0, 1, 1000, dtype="f4")
        assert_same(package.leaky_relu(x, out=slopes, negative_slope=slopes), expected)
        slopes = np.linspace(0, 1, 1000, dtype="f4")
        expected = package.leaky_relu.backward(x, mask=mask, negative_slope=slopes)
        assert_same(package.leaky_relu.backward(x, mask=mask, negative_slope=slopes, out=slopes), expected)


@pytest.mark.parametrize("name", INTEGERS)
def test_layouts_of_integers(name):
    x = numbers(np.prod(SHAPE), np.dtype(name)).reshape(SHAPE)
    for package in BACKENDS.values():
        for layout, there in LAYOUTS.items():
            assert_same(package.relu(there(x)), np.maximum(x, 0))
            assert np.array_equal(package.relu.with_mask(there(x))[1].to_array(), x > 0), layout


def test_x_is_not_modified(activation, dtype):
    x = numbers(1000, dtype)
    before = x.tobytes()
    dy = x[::-1].copy()
    y, pullback = activation.vjp(x)
    pullback(dy)
    activation(x)
    activation.backward(dy, x)
    activation.backward(x, y=y)
    assert x.tobytes() == before
