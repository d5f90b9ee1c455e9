"""The function of a sum: in one pass the bits of two, the gradient of a bias in one order, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from conftest import BACKENDS, FLOATS, INTEGERS, assert_same, needs, numbers, run_python
from rectifier import Mask, elementwise, gelu, leaky_relu, relu, settings, sigmoid, squareplus, testing, warmup
from rectifier.engine import process
from rectifier.formulas import T, where
from rectifier.functions.dtypes import FORMATS

CHOSEN = (
    "relu",
    "leaky_relu",
    "gelu",
    "squareplus",
)  # selects, has a parameter, is computed in float32, has one named b
CASES = [
    pytest.param(getattr(package, name), id=f"{name}-{backend}")
    for name in CHOSEN
    for backend, package in BACKENDS.items()
]
each = pytest.mark.parametrize("function", CASES)


def arrays(shape, other, dtype, seed=0):
    """Make two arrays, with special numbers among them."""
    x, b = (numbers(int(np.prod(s)), dtype, seed + k).reshape(s) for k, s in enumerate((shape, other)))
    return x, b


def plain(*shapes):
    """Make float32 arrays without special numbers."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype="f4") for shape in shapes]


def added(x, b):
    with np.errstate(all="ignore"):
        return x + b


def test_of_every_function_it_is_what_two_passes_give(member):
    x, b = arrays((5, 203), (203,), np.dtype("f4"))
    assert_same(member.of_sum(x, b), member(added(x, b)))


@each
@pytest.mark.parametrize("other", [(203,), (5, 203), (5, 1), (1, 203), ()], ids=str)
@pytest.mark.parametrize("name", FLOATS)
def test_it_is_what_two_passes_give(function, name, other):
    x, b = arrays((5, 203), other, testing.dtype_of(name))
    total = added(x, b)
    assert_same(function.of_sum(x, b), function(total))
    assert_same(function.of_sum(b, x), function(total))
    out = np.empty_like(x)
    assert function.of_sum(x, b, out) is out
    assert_same(out, function(total))
    if "mask" in function.spec.backward_from:
        y, mask = function.of_sum.with_mask(x, b)
        expected, same = function.with_mask(total)
        assert_same(y, expected)
        assert mask == same


@each
def test_layout_does_not_matter(function):
    x, b = arrays((24, 18), (24, 18), np.dtype("f4"))
    expected = function(added(x, b))
    for a in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x[::-1].copy()[::-1], x.astype(">f4")):
        for c in (b, np.asfortranarray(b), b.astype(">f4")):
            assert_same(function.of_sum(a, c), expected)
    over = x.copy()
    function.of_sum(over, b, over)
    assert_same(over, expected)
    function.of_sum(x.copy(), over := b.copy(), over)
    assert_same(over, expected)


@pytest.mark.parametrize("package", BACKENDS.values(), ids=BACKENDS)
def test_dtypes_are_those_of_numpys_sum(package):
    for a in (*INTEGERS, "float16", "float32"):
        x = numbers(40, np.dtype(a))
        for c in ("int8", "uint8", "int64", "uint64", "float16", "float64"):
            b = numbers(40, np.dtype(c), 1)
            for function in (package.relu, package.hard_tanh, package.sigmoid):
                assert_same(function.of_sum(x, b), function(added(x, b)))
    integers = np.array([-100, 100], "i1")
    assert_same(package.relu.of_sum(integers, integers), np.array([56, 0], "i1"))  # as NumPy's wrap
    assert_same(package.leaky_relu.of_sum(integers, integers), package.leaky_relu(integers + integers))
    assert_same(package.relu.of_sum(integers, 3), np.array([0, 103], "i1"))
    assert_same(package.relu.of_sum(integers, 0.5), np.array([0, 100.5]))
    assert package.relu.of_sum([1.0, -2.0], 1).tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"relu\.of_sum: b is 300, which int8 does not hold"):
        package.relu.of_sum(integers, 300)


def test_floats_of_eight_bits_are_added_in_their_dtype():
    import ml_dtypes

    for dtype in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
        x, b = (a.astype(dtype) for a in plain((6, 5), (5,)))
        total = x + b
        assert total.dtype == dtype
        assert gelu.of_sum(x, b).tobytes() == gelu(total).tobytes()
        assert relu.of_sum.with_mask(x, b)[1] == relu.with_mask(total)[1]
        dx, db = gelu.of_sum.backward(x, x, b)
        assert dx.tobytes() == gelu.backward(x, total).tobytes()
        assert db.tobytes() == dx.astype("f8").sum(axis=0).astype(dtype).tobytes()
        assert relu.of_sum(x, 0.5).dtype == dtype
    with pytest.raises(TypeError, match="x is float8_e5m2 and b float8_e4m3fn, and no dtype holds both"):
        relu.of_sum(x, b.astype(ml_dtypes.float8_e4m3fn))


SHAPES = [
    ((1000, 70), (70,)), ((300, 1024), (1024,)), ((3000, 10), (1, 10)), ((50, 40, 33), (40, 33)), ((900, 600), (600,)),
    ((7, 20000), (20000,)), ((2001, 1), (1,)), ((40, 50), ()), ((3, 5, 7), (5, 1)), ((4, 6), (4, 6)), ((1, 9), (9,)),
    ((0, 9), (9,)), ((9, 5, 7), (5, 1)), ((40, 16, 30), (16, 1)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("package", BACKENDS.values(), ids=BACKENDS)
def test_backward_gives_dx_of_two_passes_and_its_sum(package, shapes):
    rng = np.random.default_rng(0)
    for name, function in zip(FLOATS, (package.relu, package.gelu, package.gelu, package.squareplus), strict=True):
        dtype = testing.dtype_of(name)
        dy, x, b = ((rng.standard_normal(shape) * 2).astype(dtype) for shape in (shapes[0], *shapes))
        dx, db = function.of_sum.backward(dy, x, b)
        expected = function.backward(dy, added(x, b))
        assert_same(dx, expected)
        assert (db.dtype, db.shape) == (dtype, b.shape)
        lead = len(shapes[0]) - len(b.shape)
        axes = tuple(k for k in range(len(shapes[0])) if k < lead or b.shape[k - lead] == 1 != shapes[0][k])
        wide = expected.astype(np.longdouble)
        total, terms = (a.sum(axis=axes, keepdims=True).reshape(b.shape) for a in (wide, abs(wide)))
        exact = total.astype(dtype) if name != "bfloat16" else total.astype("f8").astype(dtype)
        lost = abs(db.astype(np.longdouble) - exact.astype(np.longdouble))
        assert (lost <= abs(total) * 2.0 ** (1 - FORMATS[name].significand) + 3000 * 2.0**-53 * terms).all()


@pytest.mark.parametrize("shapes", [*SHAPES[:6], SHAPES[-1], ((2000, 1024), (1024,))], ids=str)
def test_the_gradient_of_a_bias_depends_neither_on_threads_nor_on_layout(shapes):
    words = process.words()
    names = "parallel_from", "start_from", "wake_from", "stream_from", "learn_from", "learn_to"
    before = settings.threads, words.read(*names)
    # In float64, where another order shows, and without NaN, which would hide it.
    dy, x, b = (a.astype("f8") / 3 for a in plain(shapes[0], *shapes))
    shared = np.zeros((2, *shapes[0][:-1], shapes[0][-1] + 3))[..., :-3]
    shared[0], shared[1] = dy, x
    room = np.empty(dy.size + 3)[3:].reshape(dy.shape)  # which begins in the middle of a line
    results = []
    try:
        for threads, stream in ((1, 1 << 62), (2, 1 << 62), (2, 1)):
            settings.threads = threads
            words.parallel_from = words.start_from = words.wake_from = 0
            words.stream_from = words.learn_from = stream
            words.learn_to = stream
            results.append(leaky_relu.of_sum.backward(dy, x, b))
            results.append(leaky_relu.of_sum.backward(dy, np.asfortranarray(x), b, (room, None)))
            results.append(leaky_relu.of_sum.backward(*shared, b[...]))
            over = dy.copy()
            results.append(leaky_relu.of_sum.backward(over, x, b, (over, np.empty_like(b))))
            assert results[-1][0] is over
    finally:
        settings.threads = before[0]
        words.write(**before[1])
    expected = leaky_relu.backward(dy, added(x, b)), results[0][1]
    for both in results:
        for actual, own in zip(both, expected, strict=True):
            assert_same(actual, own)


@pytest.mark.parametrize("name", ["int8", "float16", "float32", "float64"])
def test_one_number_a_row_is_spread_out_in_the_caches_and_past_them(name):
    dtype, words = np.dtype(name), process.words()
    before = words.read("stream_from", "learn_from", "learn_to")
    x, b = (numbers(3 * 4 * 2503, dtype, k).reshape(3, 4, 2503) for k in (0, 1))
    total = added(x, b[:, :, :1])
    expected = relu(total), relu.backward(x, total), relu(added(b[:, :, 1:2], x))
    try:
        for stream in (1 << 62, 1):
            words.stream_from = words.learn_from = words.learn_to = stream
            for k in (0, 3):  # where in a line the result begins
                room = np.full(x.size + 8, 77, dtype)
                out = room[k : k + x.size].reshape(x.shape)
                relu.of_sum(x, b[:, :, :1], out)
                assert_same(out, expected[0])
                assert (room[:k] == 77).all()
                assert (room[k + x.size :] == 77).all()
                relu.of_sum(b[:, :, 1:2], x, out)
                assert_same(out, expected[2])
            assert_same(relu.of_sum.backward(x, x, b[:, :, :1])[0], expected[1])
            assert_same(relu.backward(x, b[:, :, :1]), relu.backward(x, np.repeat(b[:, :, :1], 2503, axis=2)))
    finally:
        words.write(**before)


def test_rows_are_summed_in_their_order():
    """In float64 2**53 + 1 is 2**53, and 63 ones are not lost before it comes."""
    x = np.ones((64, 1024))
    dy = np.full((64, 1024), 1.0)
    dy[0] = 2.0**53
    _, db = relu.of_sum.backward(dy, x, np.zeros(1024))
    assert (db == 2.0**53).all()
    _, db = relu.of_sum.backward(dy[::-1], x, np.zeros(1024))
    assert (db == 2.0**53 + 63 + 1).all()  # 63 and 2**53, to even


@each
def test_backward_from_a_mask_is_that_from_x(function):
    if "mask" not in function.spec.backward_from:
        with pytest.raises(TypeError, match=rf"{function.__name__}\.of_sum\.with_mask: mask does not determine"):
            function.of_sum.with_mask(np.ones(3), np.ones(3))
        return
    x, b = (np.where(np.isnan(a), 1, a) for a in arrays((40, 33), (33,), np.dtype("f4")))
    x, dy = np.where(np.isinf(x), 2, x), np.linspace(-1, 1, x.size, dtype="f4").reshape(x.shape)
    _, mask = function.of_sum.with_mask(x, b)
    dx, db = function.of_sum.backward(dy, mask=mask, shape=b.shape)
    assert_same(dx, function.of_sum.backward(dy, x, b)[0])
    np.testing.assert_allclose(db, dx.sum(axis=0, dtype="f8"), rtol=1e-6)
    out = np.empty_like(dx), np.empty_like(db)
    assert all(
        a is o for a, o in zip(function.of_sum.backward(dy, None, None, out, mask=mask, shape=(33,)), out, strict=True)
    )
    for actual, expected in zip(out, (dx, db), strict=True):
        assert_same(actual, expected)
    same = function.of_sum.backward(dy, mask=mask, shape=dy.shape)
    assert same[0] is not same[1]


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("package", BACKENDS.values(), ids=BACKENDS)
def test_the_gradient_of_a_bias_of_integers_is_exact_and_wraps_around(package, name):
    dy = np.array([[np.iinfo(name).max // 2 + 1, 1]] + [[1, 3]] * 2, name)
    x, b = np.ones((3, 2), name), np.ones(2, name)
    _, mask = package.relu.of_sum.with_mask(x, b)
    for given in ({"x": x, "b": b}, {"mask": mask, "shape": (2,)}):
        _, db = package.relu.of_sum.backward(dy, **given)
        assert_same(db, np.add.reduce(dy, 0, dtype=name))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("package", BACKENDS.values(), ids=BACKENDS)
def test_gradients_are_written_in_the_byte_order_of_out(package, dtype):
    x, b = arrays((6, 5), (5,), np.dtype(dtype))
    dx, db = (np.empty(shape, np.dtype(dtype).newbyteorder()) for shape in ((6, 5), (5,)))
    _, mask = package.relu.of_sum.with_mask(x, b)
    for given in ({"x": x, "b": b}, {"mask": mask, "shape": (5,)}):
        for room in ((dx, db), (dx, None)):
            found = package.relu.of_sum.backward(x, **given, out=room)
            expected = package.relu.of_sum.backward(x, **given)
            for one, own in zip(found, expected, strict=True):
                assert_same(one.astype(dtype), own)


def test_a_gradient_wider_than_the_sum_finds_the_sum_rounded():
    x, b, dy = np.array([1.0, -1.0], "f2"), np.array([1e-4, 1 - 1e-4], "f2"), np.array([3.0, 5.0])
    for function in (relu, sigmoid):
        for actual in function.of_sum.backward(dy, x, b):
            assert_same(actual, function.backward(dy, x + b))
    integers = np.array([100, -100], "i1")
    dx, db = relu.of_sum.backward(dy, integers, integers[:1])
    assert_same(dx, relu.backward(dy, integers + integers[:1]))
    assert db.tolist() == [dx.sum()]


def test_what_is_hidden_stays_hidden():
    x = np.ma.masked_array([[1.0, -2.0], [3.0, 4.0]], [[False, True], [False, False]])
    b = np.array([1.0, -1.0])
    y = relu.of_sum(x, b)
    assert y.mask.tolist() == x.mask.tolist()
    assert y[1].tolist() == [4, 3]
    _, db = relu.of_sum.backward(np.ones((2, 2)), x, b)
    assert db.tolist() == [2, 1]


def test_wrong_calls_are_refused_before_anything_is_written():
    x, b, room = np.ones((4, 3)), np.ones(3), np.full((4, 3), 7.0)
    _, mask = relu.of_sum.with_mask(x, b)
    backward = relu.of_sum.backward
    for call, kind, text in (
        (lambda: relu.of_sum(x, np.ones(4), room), ValueError, r"of_sum: shapes do not broadcast: x \(4, 3\), b \("),
        (lambda: relu.of_sum(x > 0, b), TypeError, "of_sum: x has dtype bool"),
        (lambda: relu.of_sum(x, b, np.empty(3)), ValueError, r"of_sum: out has shape \(3,\)"),
        (lambda: relu.of_sum.with_mask(x, b, out=room[0]), ValueError, r"of_sum\.with_mask: out has shape \(3,\)"),
        (lambda: backward(x, x), TypeError, r"backward takes dy, x and b, or dy, mask= and shape=.*it got x$"),
        (lambda: backward(x, x, b, mask=mask), TypeError, "it got x and b and mask"),
        (lambda: backward(x, mask=mask), TypeError, "it got mask"),
        (lambda: backward(x, x, b, shape=(3,)), TypeError, "it got x and b and shape"),
        (lambda: backward(x, mask=mask, shape=(4,)), ValueError, r"shape \(4,\) does not broadcast to that of"),
        (lambda: backward(x, mask=mask, shape=3.0), TypeError, r"shape is 3.0; it takes a tuple of integers, b\.shape"),
        (lambda: backward(x, mask=x, shape=(3,)), TypeError, "mask is a ndarray; it takes what relu.of_sum.with_mask"),
        (lambda: sigmoid.of_sum.backward(x, mask=mask, shape=(3,)), TypeError, "does not determine the derivative"),
        (lambda: leaky_relu.of_sum.backward(x, mask=mask, shape=(3,)), ValueError, "this call is leaky_relu"),
        (lambda: backward(x, x, b, room), TypeError, r"it takes a tuple of arrays for \(dx, db\)"),
        (lambda: backward(x, x, b, (room, b[:2])), ValueError, r"out has shape \(2,\); the result has \(3,\)"),
        (lambda: backward(x, x, b, (room, room[0])), ValueError, "the two arrays of out share memory"),
        (lambda: backward(x, None, None, (room, b[:2]), mask=mask, shape=(3,)), ValueError, r"has \(3,\)"),
        (lambda: backward(x, None, None, room, mask=mask, shape=(3,)), TypeError, "it takes a tuple"),
        (lambda: backward(x, None, None, (room, room[0]), mask=mask, shape=(3,)), ValueError, "share memory"),
        (lambda: backward(x, x.astype("f4"), x.astype("f4"), (room, room)), ValueError, "share memory"),
        (lambda: backward(x, x.astype("f4"), x.astype("f4"), (room, np.ones((2, 4, 3)))), ValueError, r"has \(4, 3\)"),
        (lambda: backward(x, x.astype("f4"), x.astype("f4"), (room, np.ones((4, 3), "f4"))), TypeError, "has float64"),
    ):  # fmt: skip
        with pytest.raises(kind, match=text):
            call()
        assert (room == 7).all()


def test_a_parameter_called_b_keeps_its_name():
    x, bias = np.array([1.0, -2.0], "f4"), np.array([0.5, 0.25], "f4")
    assert_same(squareplus.of_sum(x, bias, b=2.0), squareplus(x + bias, b=2.0))
    assert_same(squareplus.of_sum(x=x, bias=bias), squareplus(x + bias))


def test_parameters_broadcast_as_without_a_sum():
    x, b = arrays((40, 33), (33,), np.dtype("f4"))
    slope = np.linspace(0, 1, 33, dtype="f4")
    total = added(x, b)
    assert_same(leaky_relu.of_sum(x, b, negative_slope=slope), leaky_relu(total, negative_slope=slope))
    dx, _ = leaky_relu.of_sum.backward(x, x, b, negative_slope=slope)
    assert_same(dx, leaky_relu.backward(x, total, negative_slope=slope))
    y, mask = leaky_relu.of_sum.with_mask(x, b, negative_slope=0.5)
    assert_same(y, leaky_relu(total, negative_slope=0.5))
    with pytest.raises(ValueError, match=r"this call is leaky_relu\(negative_slope=0.01\), the mask was made by"):
        leaky_relu.of_sum.backward(x, mask=mask, shape=b.shape)


def test_a_users_own_function_has_one_too():
    @elementwise(exact=lambda m, x, a, b, c, d: m.where(x > 0, a * x, b * x + 0 * c * d), special=(), ulp=0)
    def of_four(x, a=1.0, b=2.0, c=3.0, d=4.0):
        return where(x > T(0), a * x, b * x + T(0) * c * d)

    @of_four.derivative
    def of_four_derivative(x, a=1.0, b=2.0, c=3.0, d=4.0):
        return where(x > T(0), a, b)

    x, bias = np.linspace(-3, 3, 40).reshape(4, 10), np.linspace(-1, 1, 10)
    assert_same(of_four.of_sum(x, bias), of_four(x + bias))
    dx, db = of_four.of_sum.backward(x, x, bias)
    assert_same(dx, of_four.backward(x, x + bias))
    np.testing.assert_allclose(db, dx.sum(axis=0), rtol=1e-14)


def test_a_function_with_a_parameter_called_shape_has_none():
    @elementwise(exact=lambda m, x, shape: shape * x, special=(), ulp=1)
    def shaped(x, shape=1.0):
        return shape * x

    shaped.derivative(lambda x, shape: shape)
    assert shaped(np.ones(3), shape=2.0).tolist() == [2, 2, 2]
    assert not hasattr(shaped, "of_sum")


def test_calls_are_found_by_their_names():
    for call in (relu.of_sum, relu.of_sum.backward, relu.of_sum.with_mask):
        assert pickle.loads(pickle.dumps(call)) is call


def test_warmup_makes_what_calls_of_a_sum_need():
    assert warmup(relu.of_sum) == len(relu.of_sum.spec.operations) + 1 == 4
    assert warmup(gelu.of_sum, dtypes="float64") == 3


def test_making_a_function_compiles_nothing_for_its_sum():
    code = "import numpy as np; from rectifier import relu; relu(np.ones(3)); print(len(relu.of_sum.methods))"
    assert run_python(code).stdout == "0\n"


@needs("dask")
def test_dask_adds_chunk_by_chunk():
    import dask.array as da

    x, b = plain((40, 33), (33,))
    lazy, bias = da.from_array(x, chunks=(16, 10)), da.from_array(b, chunks=7)
    for other in (b, bias, lazy):
        y = gelu.of_sum(lazy, other)
        assert_same(y.compute(), gelu.of_sum(x, np.asarray(other)))
    dx, db = gelu.of_sum.backward(lazy, lazy, bias)
    expected = gelu.of_sum.backward(x, x, b)
    assert_same(dx.compute(), expected[0])
    np.testing.assert_allclose(db.compute(), expected[1], rtol=1e-5, atol=1e-6)
    y, mask = relu.of_sum.with_mask(lazy, b)
    assert isinstance(mask.compute(), Mask)
    assert mask.compute() == relu.with_mask(x + b)[1]
    dx, db = relu.of_sum.backward(lazy, mask=mask, shape=b.shape)
    assert_same(dx.compute(), relu.backward(x, x + b))
    assert db.compute().shape == b.shape
    for name in ("int8", "int64"):
        dy, ones = np.array([np.iinfo(name).max, 1, 1], name), da.from_array(np.ones(3, name), chunks=1)
        _, db = relu.of_sum.backward(da.from_array(dy, chunks=1), ones, np.ones(1, name))
        assert_same(db.compute(), np.add.reduce(dy, keepdims=True, dtype=name))
    integers = da.from_array(np.array([100, -100], "i1"), chunks=1)
    assert_same(sigmoid.of_sum(integers, integers).compute(), sigmoid(integers.compute() + integers.compute()))
    assert_same(pickle.loads(pickle.dumps(y)).compute(), relu(x + b))


@needs("torch")
def test_pytorch_differentiates_it():
    import torch

    x, b = plain((40, 33), (33,))
    alone = gelu.of_sum(torch.from_numpy(x), torch.from_numpy(b))
    assert_same(alone.numpy(), gelu.of_sum(x, b))
    given = torch.from_numpy(x).requires_grad_(), torch.from_numpy(b).requires_grad_()
    gelu.of_sum(*given).sum().backward()
    dx, db = gelu.of_sum.backward(np.ones_like(x), x, b)
    assert_same(given[0].grad.numpy(), dx)
    np.testing.assert_allclose(given[1].grad.numpy(), db, rtol=1e-4, atol=1e-4)
    both = gelu.of_sum.backward(torch.ones(40, 33), torch.from_numpy(x), torch.from_numpy(b))
    assert_same(both[1].numpy(), db)
    with pytest.raises(TypeError, match=r"relu\.of_sum\.with_mask: x is a torch\.Tensor, and masks are for"):
        relu.of_sum.with_mask(given[0].detach(), 1.0)


@needs("jax")
def test_jax_traces_and_differentiates_it():
    import jax

    x, b = plain((8, 33), (33,))
    expected = relu.of_sum(x, b)
    assert_same(relu.of_sum(jax.numpy.asarray(x), b), expected)
    assert_same(jax.jit(relu.of_sum)(x, b), expected)
    db = jax.grad(lambda b: relu.of_sum(x, b).sum())(jax.numpy.asarray(b))
    np.testing.assert_allclose(db, relu.of_sum.backward(np.ones_like(x), x, b)[1])
    traced = jax.jit(relu.of_sum.backward)(x, x, b)
    assert_same(traced[0], relu.backward(x, x + b))
    assert traced[1].shape == (33,)


@needs("pandas", "xarray")
def test_labels_are_kept():
    import pandas as pd
    import xarray as xr

    x, b = np.array([1.0, -2.0, 3.0]), np.array([1.0, 1.0, -4.0])
    index = ["a", "b", "c"]
    y = relu.of_sum(pd.Series(x, index), pd.Series(b, index))
    assert y.to_dict() == {"a": 2, "b": 0, "c": 0}
    dx, db = relu.of_sum.backward(pd.Series(x, index), pd.Series(x, index), pd.Series(b, index))
    assert dx.to_dict() == db.to_dict() == {"a": 1, "b": 0, "c": 0}
    table = xr.DataArray(np.ones((2, 3)), dims=("row", "column"))
    bias = xr.DataArray(b, dims="column")
    assert relu.of_sum(table, bias).values.tolist() == [[2, 2, 0]] * 2
    dx, db = relu.of_sum.backward(table, table, bias)
    assert db.values.tolist() == [2, 2, 0]
    assert db.dims == ("column",)
    integers = pd.Series([1, 2])
    with pytest.raises(TypeError, match=r"x \+ b would have another dtype than float64"):
        relu.of_sum.backward(pd.Series([1.0, 2.0]), integers, integers)
    with pytest.raises(TypeError, match=r"masks are for arrays of .*; use backward\(dy, x, b\)"):
        relu.of_sum.with_mask(table, bias)


@needs("astropy")
def test_units_are_added_by_their_library():
    from astropy import units

    y = relu.of_sum(np.array([1.0, -2.0]) * units.m, 50 * units.cm)
    assert y.unit == units.m
    assert y.value.tolist() == [1.5, 0]
    with pytest.raises(TypeError, match=r"of_sum\.backward takes no quantities; use relu\.backward\(dy, x \+ b\)"):
        relu.of_sum.backward(np.ones(2), np.ones(2) * units.m, 1 * units.m)
