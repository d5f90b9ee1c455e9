"""The calls on CuPy arrays: on stand-ins for them everywhere, and the same bodies on a device where there is one."""

from __future__ import annotations

import copy
import pickle
import weakref

import numpy as np
import pytest

import rectifier
from conftest import BACKENDS, FLOATS, INTEGERS, assert_same, numbers, require_gpu_tier
from rectifier import Mask, crysx, glu, leaky_relu, relu, sigmoid, softmax, squared_relu, testing
from rectifier.catalogue import ALL, CATALOGUE, GATES, REDUCTIONS, ROWWISE
from rectifier.testing import dtype_of
from rectifier.tools.bench import points, runner, timing, worker
from rectifier.tools.bench.baselines import BASELINES

require_gpu_tier("CuPy")
import cupy_stand_in  # noqa: E402, it needs CuPy

REFERENCE = BACKENDS["numpy"]  # whose formulas the stand-ins compute


class On:
    """Where a test's arrays lie: what takes them there and back, and what was launched, where that is known."""

    def __init__(self, cupy, launches=None, waits=None) -> None:
        self.cupy, self.launches, self.waits = cupy, launches, waits

    def arrays(self, *arrays):
        """Take arrays to the device, each in the order in which it lies."""
        return [self.cupy.asarray(array) for array in arrays]

    def host(self, array):
        assert isinstance(array, self.cupy.ndarray)
        return self.cupy.asnumpy(array)

    def forget(self):
        for kept in (self.launches, self.waits):
            if kept is not None:
                kept.clear()

    def assert_launched(self, count):
        """Assert so many launches since `forget`, and that nobody waited for the device."""
        if self.launches is not None:
            assert len(self.launches) == count, [launch.kernel.name for launch in self.launches]
            assert self.waits == []


@pytest.fixture(params=["stand-in", pytest.param("gpu", marks=pytest.mark.gpu)])
def on(request, monkeypatch):
    if request.param == "stand-in":
        module = cupy_stand_in.install(monkeypatch, REFERENCE)
        return On(module, cupy_stand_in.launches, cupy_stand_in.waits)
    return On(require_gpu_tier("gpu"))


@pytest.fixture
def stand_in(monkeypatch):
    module = cupy_stand_in.install(monkeypatch, REFERENCE)
    return On(module, cupy_stand_in.launches, cupy_stand_in.waits)


def assert_agrees(on, actual, expected, bound=0.0):
    """Assert what the NumPy reading gives: bit for bit on stand-ins and where a block is exact, else within bounds."""
    actual = on.host(actual)
    if on.launches is not None or not bound or expected.dtype.kind in "iu":
        assert_same(actual, expected)
        return
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    # The NumPy reading has a bound of its own; and near a zero of a derivative the bound is one of the absolute error.
    distances = testing.ulps(actual, expected.astype(np.longdouble), actual.dtype)
    with np.errstate(all="ignore"):
        near = np.abs(actual.astype("f8") - expected.astype("f8")) <= 2.0**-50
    assert ((distances <= 2 * bound + 8) | near).all()


def bounds(block, dtype):
    return [testing.bound(block, dtype, derivative=d) or 0.0 for d in (False, True)]


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_direction_is_that_of_the_cpu(on, name, dtype):
    ours, reference = CATALOGUE[name], getattr(REFERENCE, name)
    value, slope = bounds(ours.spec, dtype)
    x, dy = (numbers(211, dtype, seed) for seed in (1, 2))
    for lay in (lambda a: a, lambda a: a[:210].reshape(14, 15).T, lambda a: a[::3], lambda a: a[5:6].reshape(())):
        x_there, dy_there = on.arrays(lay(x), lay(dy))
        with_x, with_dy = np.array(lay(x)), np.array(lay(dy))
        assert_agrees(on, ours(x_there), np.asarray(reference(with_x)), value)
        assert_agrees(on, ours.derivative(x_there), np.asarray(reference.derivative(with_x)), slope)
        assert_agrees(on, ours.backward(dy_there, x_there), np.asarray(reference.backward(with_dy, with_x)), slope)
        both = ours.value_and_derivative(x_there), reference.value_and_derivative(with_x)
        for actual, expected, bound in zip(*both, (value, slope), strict=True):
            assert_agrees(on, actual, np.asarray(expected), bound)
        if "y" in ours.spec.backward_from:
            y, dx = reference(with_x), ours.backward(dy_there, y=ours(x_there))
            assert_agrees(on, dx, np.asarray(reference.backward(with_dy, y=y)), slope)
        if "mask" in ours.spec.backward_from:
            (y, mask), (expected, expected_mask) = ours.with_mask(x_there), reference.with_mask(with_x)
            assert_agrees(on, y, np.asarray(expected), value)
            assert_same(on.host(mask.bits), expected_mask.bits)
            dx = reference.backward(with_dy, mask=expected_mask)
            assert_agrees(on, ours.backward(dy_there, mask=mask), np.asarray(dx), slope)


@pytest.mark.parametrize("name", GATES)
def test_functions_of_two_arrays_are_those_of_the_cpu(on, name, dtype):
    ours, reference = GATES[name], getattr(REFERENCE, name)
    value, slope = bounds(ours.spec, dtype)
    x, gate, dy = (numbers(210, dtype, seed).reshape(14, 15) for seed in (1, 2, 3))
    there = on.arrays(dy, x, gate)
    on.forget()
    assert_agrees(on, ours(*there[1:]), reference(x, gate), value)
    on.assert_launched(1)
    for actual, expected in zip(ours.backward(*there), reference.backward(dy, x, gate), strict=True):
        assert_agrees(on, actual, expected, slope)
    _, pullback = ours.vjp(*there[1:])
    for actual, expected in zip(pullback(there[0]), reference.backward(dy, x, gate), strict=True):
        assert_agrees(on, actual, expected, slope)


def test_gradients_are_summed_to_the_shapes_of_their_arrays(on):
    x, gate, dy = np.arange(12.0, dtype="f4").reshape(3, 4), np.arange(4.0), np.ones((3, 4), "f4")
    there = on.arrays(dy, x, gate)
    expected = REFERENCE.glu.backward(dy, x, gate)
    for actual, wanted in zip(glu.backward(*there), expected, strict=True):
        assert actual.shape == wanted.shape
        assert actual.dtype == wanted.dtype
        np.testing.assert_allclose(on.host(actual), wanted, rtol=1e-14)
    out = on.cupy.empty((3, 4), np.float64), on.cupy.empty((4,), np.float64)
    assert all(a is b for a, b in zip(glu.backward(*there, out), out, strict=True))
    np.testing.assert_allclose(on.host(out[1]), expected[1], rtol=1e-14)
    with pytest.raises(ValueError, match=r"out has shape \(3, 4\); the result has \(4,\)"):
        glu.backward(*there, (out[0], out[0]))


@pytest.mark.parametrize("name", ROWWISE)
def test_rows_are_those_of_the_cpu(on, name, dtype):
    ours, reference = ROWWISE[name], getattr(REFERENCE, name)
    x, dy = ((np.random.default_rng(k).standard_normal((6, 5, 7)) * 3).astype(dtype) for k in (1, 2))
    bound = {"float32": ours.spec.ulp[0], "float64": ours.spec.ulp[1]}.get(dtype.name, 0.5001)
    for axis in (-1, 0, 1, None, (0, 2), (1, 0), ()):
        x_there, dy_there = on.arrays(x, dy)
        y, dx = reference(x, axis=axis), reference.backward(dy, x, axis=axis)
        assert_agrees(on, ours(x_there, axis=axis), y, bound)
        assert_agrees(on, ours.backward(dy_there, x_there, axis=axis), dx, 64 * bound)
        assert_agrees(on, ours.vjp(x_there, axis=axis)[1](dy_there), dx, 64 * bound)
        out = on.cupy.empty((6, 5, 7), dtype)
        assert ours(x_there, out, axis=axis) is out
        assert_agrees(on, out, y, bound)
        memory = on.cupy.empty((213,), dtype)
        inside, behind = memory[:210].reshape(6, 5, 7), memory[3:].reshape(6, 5, 7)
        inside[...] = x_there
        assert_agrees(on, ours(inside, behind, axis=axis), y, bound)
        assert ours(x_there, x_there, axis=axis) is x_there
        assert_agrees(on, x_there, y, bound)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_are_those_of_the_cpu(on, name, dtype):
    ours, reference = ALL[name], getattr(REFERENCE, name)
    x = (np.random.default_rng(1).standard_normal((6, 5, 7)) * 3).astype(dtype)
    where = np.random.default_rng(2).random((6, 5, 7)) < 0.5
    where[0], where[1, 1] = True, False
    bound = {"float32": ours.spec.ulp[0], "float64": ours.spec.ulp[1]}.get(dtype.name, 0.5001)
    for axis in (-1, 0, None, (0, 2), ()):
        for keepdims, counts in ((False, None), (True, where), (False, where[0])):
            given = {"axis": axis, "keepdims": keepdims}
            y = np.asarray(reference(x, where=counts, **given))
            dy = np.arange(1.0, y.size + 1).reshape(y.shape).astype(dtype)
            dx = reference.backward(dy, x, where=counts, **given)
            x_there, dy_there = on.arrays(x, dy)
            given["where"] = None if counts is None else on.cupy.asarray(counts)
            assert_agrees(on, ours(x_there, **given), y, bound)
            made, pullback = ours.vjp(x_there, **given)
            assert_agrees(on, made, y, bound)
            assert_agrees(on, pullback(dy_there), dx, 2 * bound)
            out = on.cupy.empty(y.shape, dtype)
            assert ours(x_there, out, **given) is out
            assert_agrees(on, out, y, bound)
            assert ours.backward(dy_there, x_there, x_there, **given) is x_there
            assert_agrees(on, x_there, dx, 2 * bound)
    (there,) = on.arrays(np.empty((3, 0), dtype))
    assert_same(on.host(ours(there)), np.full(3, -np.inf).astype(dtype))
    with pytest.raises(TypeError, match=r"where is a numpy\.ndarray, and the call has CuPy arrays"):
        ours(on.arrays(x)[0], where=where)


@pytest.mark.parametrize("name", ROWWISE)
def test_what_has_no_dimension_is_a_row_of_one(on, name):
    ours, one = ROWWISE[name], np.float32(name != "log_softmax")
    of_infinity = one if name == "hardmax" else np.float32(np.nan)
    for number, y in ((3.0, one), (np.nan, np.float32(np.nan)), (np.inf, of_infinity)):
        (there,) = on.arrays(np.array(number, "f4"))
        for axis in (-1, 0, None, ()):
            assert_same(on.host(ours(there, axis=axis)), np.array(y))
    (there,) = on.arrays(np.array(3.0, "f4"))
    assert_same(on.host(ours.backward(2.0, there)), np.zeros((), "f4"))


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_stay_in_functions_that_select_and_become_floats_in_others(on, name):
    x = numbers(100, np.dtype(name))
    (there,) = on.arrays(x)
    for function in (relu, CATALOGUE["relu6"], CATALOGUE["hard_tanh"]):
        assert_agrees(on, function(there), getattr(REFERENCE, function.__name__)(x))
        assert_agrees(on, function.backward(there, there), getattr(REFERENCE, function.__name__).backward(x, x))
    assert_agrees(on, squared_relu(there), REFERENCE.squared_relu(x), 1)
    assert_agrees(on, CATALOGUE["thresholded_relu"](there, threshold=0.5), REFERENCE.thresholded_relu(x, threshold=0.5))
    assert softmax(there).dtype == REFERENCE.softmax(x).dtype


@pytest.mark.parametrize("first", [*INTEGERS, *FLOATS])
def test_dtypes_promote_as_on_the_cpu(on, first):
    for second in (*INTEGERS, *FLOATS):
        a, b = np.ones(3, dtype_of(first)), np.ones(3, dtype_of(second))
        there = on.arrays(a, b)
        for name in ("relu", "sigmoid"):
            ours, reference = CATALOGUE[name], getattr(REFERENCE, name)
            assert ours.backward(*there).dtype == reference.backward(a, b).dtype
        for number in (2, 2.5, np.float32(2)):
            assert relu.backward(number, there[1]).dtype == REFERENCE.relu.backward(number, b).dtype


SLOPES = {
    "integer": 2,
    "float": 0.3,
    "NumPy scalar": np.float64(0.3),
    "no dimension": np.array(0.3),
    "zero": 0.0,
    "negative": -0.5,
}


@pytest.mark.parametrize("kind", [*SLOPES, "array", "column", "wider array"])
def test_parameters(on, kind, dtype):
    x, dy = (numbers(210, dtype, k).reshape(14, 15) for k in (1, 2))
    slopes = {
        "array": np.linspace(-1, 1, 210).reshape(14, 15).astype(dtype),
        "column": np.linspace(0, 1, 14).reshape(14, 1).astype(dtype),
        "wider array": np.linspace(0, 1, 15),
    }
    slope = SLOPES.get(kind, slopes.get(kind))
    there, dy_there = on.arrays(x, dy)
    slope_there = on.arrays(slope)[0] if kind in slopes else slope
    ours, reference = leaky_relu, REFERENCE.leaky_relu
    on.forget()
    assert_agrees(on, ours(there, negative_slope=slope_there), reference(x, negative_slope=slope))
    on.assert_launched(1)
    dx = reference.backward(dy, x, negative_slope=slope)
    assert_agrees(on, ours.backward(dy_there, there, negative_slope=slope_there), dx)
    y, mask = ours.with_mask(there, negative_slope=slope_there)
    assert_agrees(on, y, reference(x, negative_slope=slope))
    expected = reference.backward(dy, mask=reference.with_mask(x, negative_slope=slope)[1], negative_slope=slope)
    assert_agrees(on, ours.backward(dy_there, mask=mask, negative_slope=slope_there), expected)
    _, pullback = ours.vjp(there, negative_slope=slope_there)
    if kind in slopes:
        slope_there[...] = 7
    on.forget()
    assert_agrees(on, pullback(dy_there), expected)
    on.assert_launched(1)


def test_the_result_lies_as_the_array_does(on):
    x, turned = on.arrays(numbers(12, np.dtype("f4")).reshape(3, 4), np.asfortranarray(np.ones((3, 4), "f4")))
    assert relu(x).flags.c_contiguous
    assert relu(turned).flags.f_contiguous
    assert relu.backward(x[:1], turned).flags.f_contiguous
    assert relu.with_mask(turned)[0].flags.f_contiguous
    assert relu(x[:, ::2]).flags.c_contiguous


def calls_into(x, dy, mask):
    return {
        "value": lambda out: relu(x, out=out),
        "derivative": lambda out: relu.derivative(x, out=out),
        "backward": lambda out: relu.backward(dy, x, out=out),
        "backward from y": lambda out: relu.backward(dy, y=x, out=out),
        "backward from a mask": lambda out: relu.backward(dy, mask=mask, out=out),
        "with_mask": lambda out: relu.with_mask(x, out=out)[0],
        "vjp": lambda out: relu.vjp(x, out=out)[0],
        "prelu": lambda out: leaky_relu(x, out=out, negative_slope=dy),
        "prelu with_mask": lambda out: leaky_relu.with_mask(x, out=out, negative_slope=dy)[0],
    }


CALLS = tuple(calls_into(None, None, None))


@pytest.mark.parametrize("call", CALLS)
def test_out(on, call):
    x, dy = (numbers(10_000, np.dtype("f4"), k).reshape(50, 200) for k in (1, 2))
    expected = calls_into(x, dy, relu.with_mask(x)[1])[call](None)
    there = on.arrays(x, dy)
    into = calls_into(*there, relu.with_mask(there[0])[1])[call]
    room = on.cupy.empty((50, 400), np.float32)
    for out in (on.cupy.empty((50, 200), np.float32), room[:, ::2], on.cupy.empty((200, 50), np.float32).T):
        on.forget()
        assert into(out) is out
        assert_agrees(on, out, np.asarray(expected))
        on.assert_launched(1)
    out = on.cupy.empty((50, 200), np.float32)
    assert into((out,)) is out


@pytest.mark.parametrize("order", ["gate_first", "gate_last", "interleaved"])
def test_packed_arrays_take_one_launch_and_no_copy(on, order):
    a, dy = numbers(4 * 48, np.dtype("f4")).reshape(4, 48), numbers(4 * 24, np.dtype("f4"), 1).reshape(4, 24)
    expected = REFERENCE.swiglu.packed(a, order=order), REFERENCE.swiglu.packed.backward(dy, a, order=order)
    there, gradient = on.arrays(a, dy)
    room = on.cupy.empty(a.shape, np.float32)
    calls = (
        lambda: rectifier.swiglu.packed(there, order=order),
        lambda: rectifier.swiglu.packed.backward(gradient, there, order=order),
        lambda: rectifier.swiglu.packed.backward(gradient, there, order=order, out=room),
        lambda: rectifier.swiglu.packed.backward(gradient, there, order=order, out=there),
    )
    for k, call in enumerate(calls):
        for _ in range(2 if k < 3 else 1):  # the second is a recorded launch
            on.forget()
            assert_agrees(on, call(), expected[min(k, 1)], 4.0)
            on.assert_launched(1)


@pytest.mark.parametrize("call", CALLS)
def test_in_place_and_where_memory_overlaps_the_result_is_that_of_a_copy(on, call):
    x, dy = (numbers(10_000, np.dtype("f4"), k) for k in (1, 2))
    expected = calls_into(x, dy, relu.with_mask(x)[1])[call](None)
    for shift in (-3, 0, 3, "turned"):
        for which in (0, 1):
            memory = on.cupy.empty((10_006,), np.float32)
            pair = on.arrays(x, dy)
            mask = relu.with_mask(pair[0])[1]
            inside = memory[3:10_003]
            inside[...] = pair[which]
            pair[which] = inside
            out = inside[::-1] if shift == "turned" else memory[3 + shift : 10_003 + shift]
            calls_into(*pair, mask)[call](out)
            assert_agrees(on, out, np.asarray(expected))


def _pair(first, second):
    return None if first is second is None else (first, second)


REPEATED = {
    "value": lambda of, a, b, mask, out: of.relu(a, out),
    "derivative": lambda of, a, b, mask, out: of.relu.derivative(a, out),
    "backward": lambda of, a, b, mask, out: of.relu.backward(a, b, out),
    "backward from y": lambda of, a, b, mask, out: of.relu.backward(a, None, out, y=b),
    "backward from a mask": lambda of, a, b, mask, out: of.relu.backward(a, None, out, mask=mask),
    "with_mask": lambda of, a, b, mask, out: of.relu.with_mask(a, out)[1].to_array(),
    "value of with_mask": lambda of, a, b, mask, out: of.relu.with_mask(a, out)[0],
    "slope": lambda of, a, b, mask, out: of.leaky_relu(a, out, negative_slope=0.25),
    "another slope": lambda of, a, b, mask, out: of.leaky_relu(a, out, negative_slope=-3),
    "slopes": lambda of, a, b, mask, out: of.leaky_relu(a, out, negative_slope=b),
    "slopes of columns": lambda of, a, b, mask, out: of.leaky_relu(a, out, negative_slope=b[0]),
    "smooth": lambda of, a, b, mask, out: of.sigmoid(a, out),
    "two arrays": lambda of, a, b, mask, out: of.reglu(a, b, out),
    "to two arrays": lambda of, a, b, mask, out: of.reglu.backward(a, b, a, _pair(out, None))[0],
    "a sum": lambda of, a, b, mask, out: of.relu.of_sum(a, b, out),
    "a bias": lambda of, a, b, mask, out: of.leaky_relu.of_sum(a, b[0], out),
    "to a sum": lambda of, a, b, mask, out: of.relu.of_sum.backward(a, b, a, _pair(None, out))[1],
    "with_mask of a sum": lambda of, a, b, mask, out: of.relu.of_sum.with_mask(a, b, out)[0],
    "two results": lambda of, a, b, mask, out: of.relu.value_and_derivative(a, _pair(None, out))[1],
    "rows": lambda of, a, b, mask, out: of.softmax(a, out),
    "rows backward": lambda of, a, b, mask, out: of.softmax.backward(a, None, out, y=b),
}


@pytest.mark.parametrize("call", REPEATED)
@pytest.mark.parametrize("lay", [lambda a: a, np.asfortranarray, lambda a: a[:, ::2]], ids=["C", "F", "strided"])
def test_a_repeated_call_computes_what_its_own_arrays_hold(on, call, lay):
    for seed in range(3):
        a, b = (lay(numbers(1200, np.dtype("f4"), 2 * seed + k).reshape(30, 40)) for k in (0, 1))
        expected = np.asarray(REPEATED[call](REFERENCE, a, b, REFERENCE.relu.with_mask(a)[1], None))
        there = on.arrays(a, b)
        mask = relu.with_mask(there[0])[1]
        for out in (None, on.cupy.empty_like(there[0], np.float32)):
            actual = REPEATED[call](rectifier, *there, mask, out)
            if on.launches is not None or call not in ("smooth", "rows", "rows backward"):
                assert_same(on.host(actual), expected)


def test_the_gradient_of_a_bias_is_summed_where_the_arrays_lie(on):
    dy, x, b = (numbers(960, np.dtype("f4"), k).reshape(30, 32) for k in range(3))
    there = on.arrays(dy, x, b[0])
    expected = REFERENCE.relu.of_sum.backward(dy, x, b[0])
    for actual, own in zip(relu.of_sum.backward(*there), expected, strict=True):
        assert_same(on.host(actual), own)
    _, mask = relu.of_sum.with_mask(*there[1:])
    for actual, own in zip(relu.of_sum.backward(there[0], mask=mask, shape=(32,)), expected, strict=True):
        nan = np.isnan(x + b[0]).any(axis=0) if own.ndim == 1 else np.isnan(x + b[0])  # from a mask dy passes there
        assert_same(np.where(nan, 0, on.host(actual)), np.where(nan, 0, own))
    integers = np.array([100, -100], "i1")
    (there,) = on.arrays(integers)
    assert_same(on.host(relu.of_sum(there, there)), relu.of_sum(integers, integers))
    assert_agrees(on, sigmoid.of_sum(there, there), REFERENCE.sigmoid.of_sum(integers, integers), 1)


def test_a_call_is_decided_upon_once(stand_in, monkeypatch):
    decided = []
    computed = cupy_stand_in.calls._computed
    monkeypatch.setattr(cupy_stand_in.calls, "_computed", lambda call: decided.append(call.name) or computed(call))
    mask = relu.with_mask(stand_in.arrays(numbers(960, np.dtype("f4")).reshape(30, 32))[0])[1]
    for call in REPEATED.values():
        for given in (False, True):
            for _ in range(3):
                x, dy, out = stand_in.arrays(*(numbers(960, np.dtype("f4"), k).reshape(30, 32) for k in range(3)))
                decided.clear(), stand_in.forget()
                call(rectifier, x, dy, mask, out if given else None)
            assert decided == []
            stand_in.assert_launched(1)


def test_what_was_decided_keeps_no_array_and_is_bounded(stand_in, monkeypatch):
    monkeypatch.setattr(cupy_stand_in.recorded, "MOST", 4)
    for size in range(1, 12):
        x, slopes, out = stand_in.arrays(*[np.full(size, -1.0, "f4")] * 3)
        kept = [weakref.ref(a) for a in (x, slopes, out)]
        leaky_relu(x, out, negative_slope=slopes)
        assert stand_in.host(out).tolist() == [1] * size
        stand_in.forget()
        del x, slopes, out
        assert [ref() for ref in kept] == [None] * 3
        assert 1 <= len(cupy_stand_in.recorded.launches) <= 4


INTO_OUT = [call for call in REPEATED if call != "with_mask"]  # which makes the bits


@pytest.mark.parametrize("call", INTO_OUT)
def test_a_graph_computes_into_out_what_its_arrays_hold_when_it_is_launched(on, call):
    first, then = ([numbers(1200, np.dtype("f4"), k).reshape(30, 40) for k in seeds] for seeds in ((1, 2), (3, 4)))
    with on.cupy.cuda.Stream(non_blocking=True) as stream:
        there, others = on.arrays(*first), on.arrays(*then)
        mask, out = relu.with_mask(there[0])[1], on.cupy.empty((30, 40), np.float32)
        REPEATED[call](rectifier, *there, mask, out)  # compiles and loads the kernel
        on.forget()
        stream.begin_capture()
        REPEATED[call](rectifier, *there, mask, out)
        graph = stream.end_capture()
        on.assert_launched(1)
        for array, other in zip(there, others, strict=True):
            array[...] = other
        graph.launch()
        stream.synchronize()
        found = on.host(out)
    expected = np.asarray(REPEATED[call](REFERENCE, *then, REFERENCE.relu.with_mask(first[0])[1], None))
    if on.launches is not None or call not in ("smooth", "rows", "rows backward"):
        assert_same(found, expected)


OTHERWISE = {
    "with_mask": lambda x, mask, out: relu.with_mask(x),
    "vjp": lambda x, mask, out: relu.vjp(x)[1](x),
    "prelu": lambda x, mask, out: leaky_relu.vjp(x, negative_slope=x[0])[1](x),
    "another dtype": lambda x, mask, out: relu.backward(x.astype(np.float64), x),
    "an overlap": lambda x, mask, out: relu(x[:-1], out=x[1:]),
    "a number": lambda x, mask, out: relu.backward(1.0, x),
    "another axis": lambda x, mask, out: softmax(x, out, axis=0),
    "another order": lambda x, mask, out: relu.backward(x.T, mask=relu.with_mask(x.T)[1]),
    "sums": lambda x, mask, out: glu.backward(x, x, x[0]),
}


@pytest.mark.parametrize("call", [*REPEATED, *OTHERWISE])
def test_all_launches_are_on_the_current_stream_also_while_it_captures(stand_in, call):
    def compute():
        if call in OTHERWISE:
            OTHERWISE[call](x, mask, out)
        else:
            REPEATED[call](rectifier, x, x, mask, out)

    (x,) = stand_in.arrays(numbers(1200, np.dtype("f4")).reshape(30, 40))
    mask, out = relu.with_mask(x)[1], stand_in.cupy.empty((30, 40), np.float32)
    compute()
    with stand_in.cupy.cuda.Stream() as stream:
        for capture in (False, True):
            stand_in.forget()
            if capture:
                stream.begin_capture()
            compute()
            assert {id(launch.stream) for launch in stand_in.launches} == {id(stream)}
            assert stand_in.waits == []
    stream.end_capture()
    stand_in.forget()
    relu(x)
    assert stand_in.launches[0].stream is not stream


@pytest.mark.parametrize("call", REPEATED)
def test_out_is_all_that_a_call_of_like_arrays_needs(stand_in, call):
    a, b = stand_in.arrays(*(numbers(1200, np.dtype("f4"), k).reshape(30, 40) for k in (1, 2)))
    mask, out = relu.with_mask(a)[1], stand_in.cupy.empty((30, 40), np.float32)
    for _ in range(2):
        cupy_stand_in.allocations.clear()
        REPEATED[call](rectifier, a, b, mask, out)
        of_two, of_masks = call in ("two results", "to two arrays", "to a sum"), "with_mask" in call
        assert cupy_stand_in.allocations == ["made"] * (of_two or of_masks)


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda x: sigmoid(x),
        lambda x: x.get(),
        lambda x: bool(x[0]),
        lambda x: cupy_stand_in.Stream.current[-1].synchronize(),
    ],
)
def test_the_stand_ins_refuse_what_capture_forbids(stand_in, forbidden):
    (x,) = stand_in.arrays(np.ones(3, "f4"))
    with stand_in.cupy.cuda.Stream() as stream:
        stream.begin_capture()
        with pytest.raises(AssertionError, match="while a stream captures"):
            forbidden(x)
        with pytest.raises(AssertionError, match="while a stream captures"):
            stand_in.arrays(np.ones(3, "f4"))


def test_two_results(on):
    x = numbers(1000, np.dtype("f4"))
    (there,) = on.arrays(x)
    expected = REFERENCE.relu.value_and_derivative(x)
    out = on.cupy.empty((1000,), np.float32), on.cupy.empty((1000,), np.float32)
    on.forget()
    assert all(a is b for a, b in zip(relu.value_and_derivative(there, out=out), out, strict=True))
    on.assert_launched(1)
    for actual, wanted in zip(out, expected, strict=True):
        assert_agrees(on, actual, wanted)
    y, d = relu.value_and_derivative(there, out=(None, out[0]))
    assert d is out[0]
    assert_agrees(on, y, expected[0])
    y, d = relu.value_and_derivative(there, out=(there, None))
    assert y is there
    assert_agrees(on, d, expected[1])
    assert_agrees(on, y, expected[0])
    with pytest.raises(ValueError, match="share memory"):
        relu.value_and_derivative(there, out=(out[0], out[0]))
    with pytest.raises(TypeError, match="it takes a tuple of arrays"):
        relu.value_and_derivative(there, out=out[0])


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2)])
def test_empty_arrays_launch_nothing(on, shape):
    (x,) = on.arrays(np.empty(shape, "f4"))
    slopes = on.arrays(np.ones(shape[-1:], "f4"))[0]
    on.forget()
    y, mask = relu.with_mask(x)
    _, pullback = leaky_relu.vjp(x, negative_slope=slopes)
    results = [y, relu(x), relu.backward(x, x), relu.backward(x, mask=mask), *relu.value_and_derivative(x), pullback(x)]
    for result in [*results, softmax(x), softmax.backward(x, x), glu(x, x), *glu.backward(x, x, x)]:
        assert isinstance(result, on.cupy.ndarray)
        assert (result.shape, result.dtype) == (shape, np.float32)
    assert mask.bits.shape == (0,)
    on.assert_launched(0)
    assert mask.count() == 0


def test_arrays_of_no_dimension_stay_arrays(on):
    (x,) = on.arrays(np.array(-3.0, "f4"))
    for result in (
        relu(x),
        relu.backward(2.0, x),
        relu.with_mask(x)[0],
        leaky_relu(1.0, negative_slope=x),
        glu(x, 1.0),
    ):
        assert isinstance(result, on.cupy.ndarray)
        assert result.shape == ()
    assert relu.with_mask(x)[1].to_array().shape == ()


@pytest.mark.parametrize("number", [0.1, 3, np.float64(0.1), np.array(0.1)], ids=["float", "int", "scalar", "array"])
def test_numbers_among_the_operands_adapt_as_on_the_cpu(on, number, dtype):
    x = np.array([-1.0, 0.5, 2.0]).astype(dtype)
    (there,) = on.arrays(x)
    assert_agrees(on, relu.backward(number, there), REFERENCE.relu.backward(number, x))
    assert_agrees(on, GATES["reglu"](number, there), REFERENCE.reglu(number, x))
    mask = relu.with_mask(there)[1]
    assert_agrees(
        on, relu.backward(number, mask=mask), REFERENCE.relu.backward(number, mask=REFERENCE.relu.with_mask(x)[1])
    )


WRONG = {
    "NumPy dy": (
        lambda x, h: relu.backward(h, x),
        TypeError,
        r"relu.backward: dy is a numpy.ndarray.*cupy.asarray\(dy\)",
    ),
    "NumPy x": (lambda x, h: relu.backward(x, h), TypeError, "relu.backward: x is a numpy.ndarray"),
    "NumPy y": (lambda x, h: relu.backward(x, y=h), TypeError, "relu.backward: y is a numpy.ndarray"),
    "NumPy slope": (lambda x, h: leaky_relu(x, negative_slope=h), TypeError, "negative_slope is a numpy.ndarray"),
    "NumPy slope of a mask": (lambda x, h: leaky_relu.vjp(x, negative_slope=h), TypeError, "negative_slope is a numpy"),
    "NumPy gate": (lambda x, h: glu(x, h), TypeError, "glu: gate is a numpy.ndarray"),
    "NumPy x of a gate": (lambda x, h: glu.backward(x, h, x), TypeError, "glu.backward: x is a numpy.ndarray"),
    "NumPy rows": (lambda x, h: softmax.backward(x, y=h), TypeError, "softmax.backward: y is a numpy.ndarray"),
    "list": (lambda x, h: relu.backward([1.0, 2.0, 3.0], x), TypeError, "relu.backward: dy is a list"),
    "NumPy out": (
        lambda x, h: relu(x, out=h),
        TypeError,
        r"out is a numpy.ndarray; it takes a cupy.ndarray of shape \(3,\)",
    ),
    "NumPy out of rows": (lambda x, h: softmax(x, h), TypeError, "out is a numpy.ndarray; it takes a cupy.ndarray"),
    "NumPy out of a gate": (lambda x, h: glu.backward(x, x, x, (h, x)), TypeError, "it takes a cupy.ndarray"),
    "NumPy out of a mask": (lambda x, h: relu.with_mask(x, h), TypeError, "it takes a cupy.ndarray"),
    "CuPy out of NumPy x": (
        lambda x, h: relu(h, out=x),
        TypeError,
        r"out is a cupy.ndarray; it takes a numpy.ndarray of",
    ),
    "CuPy out of NumPy rows": (
        lambda x, h: softmax(h, x),
        TypeError,
        r"out is a cupy.ndarray; it takes a numpy.ndarray",
    ),
    "CuPy out of vjp": (lambda x, h: sigmoid.vjp(h, x), TypeError, r"out is a cupy.ndarray"),
    "shape": (lambda x, h: relu(x[:2], out=x), ValueError, r"out has shape \(3,\); the result has \(2,\)"),
    "dtype": (lambda x, h: relu(x, out=x.astype("f8")), TypeError, "out has dtype float64; the result has float32"),
    "complex": (lambda x, h: relu(x.astype("c8")), TypeError, r"x has dtype complex64.*x.real"),
    "bool": (lambda x, h: relu(x.astype("?")), TypeError, r"x has dtype bool.*astype\(np.uint8\)"),
    "bool slope": (
        lambda x, h: leaky_relu(x, negative_slope=x.astype("?")),
        TypeError,
        "negative_slope has dtype bool",
    ),
    "complex rows": (lambda x, h: softmax(x.astype("c8")), TypeError, "softmax: x has dtype complex64"),
    "shapes": (lambda x, h: relu.backward(x, x[:2]), ValueError, r"do not broadcast: dy \(3,\), x \(2,\)"),
    "shape of a slope": (lambda x, h: leaky_relu(x, negative_slope=x[:2]), ValueError, r"negative_slope \(2,\)"),
    "shapes of rows": (lambda x, h: softmax.backward(x, y=x[:2]), ValueError, r"dy has shape \(3,\), y \(2,\)"),
    "axis": (lambda x, h: softmax(x, axis=1), ValueError, "axis 1 is out of bounds"),
    "two axes": (lambda x, h: softmax(x, axis=(0, -1)), ValueError, "names an axis twice"),
    "number of rows": (lambda x, h: softmax.backward(1.0, y=x), ValueError, r"dy has shape \(\), y \(3,\)"),
    "mask on the host": (
        lambda x, h: relu.backward(x, mask=relu.with_mask(h)[1]),
        TypeError,
        r"mask lies in the memory of the host.*Mask\(cupy",
    ),
    "mask on the device": (
        lambda x, h: relu.backward(h, mask=relu.with_mask(x)[1]),
        TypeError,
        "dy is a numpy.ndarray",
    ),
    "shape of a mask": (
        lambda x, h: relu.backward(x[:2], mask=relu.with_mask(x)[1]),
        ValueError,
        r"dy has shape \(2,\), the mask \(3,\)",
    ),
    "larger than a mask": (
        lambda x, h: relu.backward(x.reshape(3, 1), mask=relu.with_mask(x)[1]),
        ValueError,
        r"dy has shape \(3, 1\)",
    ),
    "setting of a mask": (
        lambda x, h: leaky_relu.backward(x, mask=leaky_relu.with_mask(x, negative_slope=x)[1]),
        ValueError,
        "the mask was made by",
    ),
    "y": (
        lambda x, h: leaky_relu.backward(x, y=x, negative_slope=x),
        TypeError,
        "which is not looked up in arrays on a device",
    ),
    "negative slope": (lambda x, h: leaky_relu.backward(x, y=x, negative_slope=-1), ValueError, "pass x= or mask="),
    "out of vjp": (lambda x, h: sigmoid.vjp(x, x), ValueError, "out would overwrite x"),
    "out twice": (lambda x, h: relu.value_and_derivative(x, (x, x)), ValueError, "the two arrays of out share memory"),
    "out of one": (lambda x, h: relu.value_and_derivative(x, (x,)), ValueError, "it takes 2"),
    "bool for a number": (
        lambda x, h: leaky_relu(x, negative_slope=True),
        TypeError,
        "negative_slope has dtype bool",
    ),
    "float for an axis": (lambda x, h: softmax(x, axis=-1.0), TypeError, "it takes an integer"),
}
# Calls that differ from those in what they are refused for.
WRONG_AFTER = [
    lambda x, out: relu(x, out),
    lambda x, out: softmax(x),
    lambda x, out: softmax(x, out),
    lambda x, out: softmax(x, axis=0),
    lambda x, out: softmax.backward(x, y=x),
    lambda x, out: relu.backward(x, x),
    lambda x, out: relu.backward(x, y=x),
    lambda x, out: relu.backward(x, mask=relu.with_mask(x, out)[1]),
    lambda x, out: relu.backward(x[:2], mask=relu.with_mask(x[:2])[1]),
    lambda x, out: leaky_relu(x, negative_slope=1),
    lambda x, out: leaky_relu(x, negative_slope=x),
    lambda x, out: leaky_relu.backward(x, y=x, negative_slope=1.0),
    lambda x, out: leaky_relu.backward(x, mask=leaky_relu.with_mask(x)[1]),
    lambda x, out: relu.value_and_derivative(x, (out, out.copy())),
    lambda x, out: glu(x, x),
    lambda x, out: glu.backward(x, x, x, (out, out.copy())),
    lambda x, out: sigmoid.vjp(x, out),
]


@pytest.mark.parametrize("after", ["nothing", "what is right"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused_before_anything_is_launched(on, wrong, after):
    call, error, message = WRONG[wrong]
    host = np.array([-1.0, 2.0, 3.0], "f4")
    (x,) = on.arrays(host)
    for right in WRONG_AFTER if after == "what is right" else ():
        right(x, on.cupy.empty((3,), np.float32))
    on.forget()
    with pytest.raises(error, match=message):
        call(x, host)
    assert_same(on.host(x), np.array([-1.0, 2.0, 3.0], "f4"))
    assert host.tolist() == [-1, 2, 3]
    if "mask" not in wrong:
        on.assert_launched(0)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, other: relu.backward(other, x),
        lambda x, other: relu(x, out=other),
        lambda x, other: leaky_relu(x, negative_slope=other),
        lambda x, other: glu(x, other),
        lambda x, other: glu.backward(x, x, x, (x, other)),
        lambda x, other: softmax.backward(x, y=other),
        lambda x, other: softmax(x, other),
        lambda x, other: relu.with_mask(x, other),
        lambda x, other: relu.backward(other, mask=relu.with_mask(x)[1]),
    ],
)
def test_arrays_of_two_devices_are_refused(stand_in, call):
    x, other = (cupy_stand_in.ndarray(np.ones(3, "f4"), cupy_stand_in.Device(k)) for k in (2, 3))
    with pytest.raises(ValueError, match=r"lies on device \d and \w+ on device \d"):
        call(x, other)


@pytest.mark.parametrize("current", [0, 3])
def test_a_call_runs_where_its_arrays_lie(stand_in, current):
    with cupy_stand_in.Device(current):
        for _ in range(2):
            assert_runs_on_the_third_device(stand_in)
    with cupy_stand_in.Device(3 - current):
        assert_runs_on_the_third_device(stand_in)
    assert cupy_stand_in.Device.current == [0]


def assert_runs_on_the_third_device(stand_in):
    x, wide = (cupy_stand_in.ndarray(np.ones((2, 3), kind), cupy_stand_in.Device(3)) for kind in ("f4", "f8"))
    (y, mask), (_, pullback) = relu.with_mask(x), CATALOGUE["elu"].vjp(x, alpha=wide)
    _, prelu = leaky_relu.vjp(x, negative_slope=wide)
    results = [
        relu(x), y, mask.bits, relu.backward(1.0, x), relu.backward(x, mask=mask), leaky_relu(x, negative_slope=wide),
        glu(x, x), softmax(x), relu(x.reshape(3, 2), out=stand_in_empty(3)), crysx.ReLU_cupy(x), pullback(x),
        prelu(x), *glu.backward(x, x, x[:1]), softmax.backward(wide, x), relu(x[::-1], out=x), relu(x.T, out=x.T[::-1]),
    ]  # fmt: skip
    assert [result.device.id for result in results] == [3] * len(results)
    assert {launch.device for launch in stand_in.launches} == {3}


def stand_in_empty(device):
    return cupy_stand_in.ndarray(np.empty((2, 3), "f4").T, cupy_stand_in.Device(device))


@pytest.mark.parametrize(("length", "value", "backward"), [(512, "32_4", "32_4"), (9000, "1024_kept", "1024_kept"),
    (20_000, "1024_kept", "512_long"), (40_000, "512_long", "512_long")])  # fmt: skip
def test_rows_wait_in_shared_memory_where_a_block_has_room(stand_in, length, value, backward):
    """What a launch asks for is what the kernel may have, the next time too, when the launch is recorded."""
    (x,) = stand_in.arrays(np.ones((2, length), "f4"))
    for _ in range(2):
        stand_in.forget()
        softmax(x), softmax.backward(x, y=x)
        names = [launch.kernel.name for launch in stand_in.launches]
        assert names == [f"softmax_value_float32_by_{value}", f"softmax_backward_float32_by_{backward}"]


def test_contiguous_arrays_take_a_kernel_of_vectors_and_others_cupys(stand_in):
    (x,) = stand_in.arrays(np.ones((60, 100), "f4"))
    for array in (x, x.reshape(6000), x[5:], x.T):
        stand_in.forget()
        relu(array)
        (launch,) = stand_in.launches
        assert launch.kernel.name == "relu_value_float32"
        elements, threads = array.size, launch.block[0]
        assert launch.grid == (min(-(-elements // 4 // threads), 32 * cupy_stand_in.MULTIPROCESSORS),)
        assert [a.dtype for a in launch.arguments] == [np.float32, np.float32, np.int64]
        assert launch.arguments[-1] == elements
    for arrays in ((x[:1], x), (x[:, 1:61], x[:, :60])):
        stand_in.forget()
        relu.backward(*arrays)
        (launch,) = stand_in.launches
        assert launch.kernel.name == "relu_backward_float32_by_rows"
        assert launch.arguments[-4] == arrays[1].shape[1]
    for arrays in ((x[:, ::2], x[:, ::2]), (x[:1, :99], x[:, :99]), (x, x.T.reshape(60, 100)[:, ::-1])):
        stand_in.forget()
        relu.backward(*arrays)
        (launch,) = stand_in.launches
        assert launch.kernel.name == "rectifier_relu_backward_float32"
        assert launch.grid is None


def test_a_kernel_is_made_once(stand_in):
    (x,) = stand_in.arrays(np.ones(5, "f4"))
    for _ in range(2):
        relu(x), relu(x[::2]), leaky_relu(x, negative_slope=0.1), leaky_relu(x, negative_slope=0.2), softmax(x)
    kernels = [launch.kernel for launch in stand_in.launches]
    assert len(kernels) == 10
    assert len({id(kernel) for kernel in kernels}) == 4


def test_numbers_reach_a_kernel_in_the_dtype_of_the_arrays(stand_in, dtype):
    (x,) = stand_in.arrays(np.ones(5, dtype))
    leaky_relu(x, negative_slope=0.1)
    _, slope, _, _ = stand_in.launches[-1].arguments
    assert slope.nbytes == dtype.itemsize
    assert slope.tobytes() == np.array(0.1).astype(dtype).tobytes()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (9,), (31,), (33,), (3, 5), (70_001,), (257, 33)])
def test_a_mask_lies_on_the_device(on, shape):
    x = numbers(int(np.prod(shape)), np.dtype("f4")).reshape(shape)
    (there,) = on.arrays(x)
    on.forget()
    _, mask = relu.with_mask(there)
    on.assert_launched(int(x.size > 0))
    expected = relu.with_mask(x)[1]
    assert isinstance(mask.bits, on.cupy.ndarray)
    assert (mask.shape, mask.size, mask.nbytes) == (expected.shape, expected.size, expected.nbytes)
    assert_same(on.host(mask.bits), expected.bits)
    assert_same(on.host(mask.to_array()), expected.to_array())
    assert mask.count() == expected.count()
    assert type(mask.count()) is int
    assert repr(mask) == repr(expected)
    for axis in range(len(shape)):
        assert_same(on.host(mask.count(axis=axis)), np.asarray(expected.count(axis=axis)))
    assert mask.get() == expected
    assert expected.get() is expected
    assert type(mask.get().bits) is np.ndarray
    assert mask == relu.with_mask(there)[1]
    assert x.size == 0 or mask != relu.with_mask(-there)[1]
    assert mask != expected
    for again in (pickle.loads(pickle.dumps(mask)), copy.deepcopy(mask)):
        assert again == mask
        assert_same(on.host(relu.backward(there, mask=again)), on.host(relu.backward(there, mask=mask)))


def test_a_mask_moves_between_host_and_device(on):
    x = numbers(1001, np.dtype("f4"))
    there, slopes = on.arrays(x, np.full(1001, 0.3, "f4"))
    _, mask = leaky_relu.with_mask(there, negative_slope=slopes)
    home = mask.get()
    assert type(home.parameters["negative_slope"]) is np.ndarray
    host_slopes = np.full(1001, 0.3, "f4")
    expected = leaky_relu.backward(x, mask=home, negative_slope=host_slopes)
    bits = on.cupy.asarray(home.bits)
    back = Mask(bits, home.shape, home.function, mask.parameters)
    bits[...] = 0
    assert back == mask
    assert_same(on.host(leaky_relu.backward(there, mask=back, negative_slope=slopes)), expected)
    with pytest.raises(ValueError, match="bits after the last element are set"):
        Mask(on.cupy.asarray(np.array([255], "u1")), (3,), "relu", {})


def test_a_mask_records_the_slopes_that_its_value_overwrites(on):
    x, slopes = on.arrays(np.array([-1.0, 2.0]), np.array([0.5, 0.25]))
    y, mask = leaky_relu.with_mask(x, out=slopes, negative_slope=slopes)
    assert y is slopes
    assert on.host(mask.parameters["negative_slope"]).tolist() == [0.5, 0.25]
    assert on.host(y).tolist() == [-0.5, 2]


def test_a_mask_s_words_are_whole(stand_in):
    (x,) = stand_in.arrays(np.ones(33, "f4"))
    _, mask = relu.with_mask(x)
    assert mask.bits.host.base.nbytes == 8


def test_backward_from_a_mask_waits_only_to_compare_an_array(on):
    (x,) = on.arrays(numbers(100, np.dtype("f4")))
    _, mask = leaky_relu.with_mask(x, negative_slope=x)
    on.forget()
    leaky_relu.backward(x, mask=mask, **mask.parameters)
    on.assert_launched(1)


CRYSX = [name for name in crysx.__all__ if name.endswith("_cupy")]
assert len(CRYSX) == 14


@pytest.mark.parametrize("name", CRYSX)
def test_the_names_of_crysx_nn(on, name):
    x = np.linspace(-4, 4, 24, dtype="f4").reshape(4, 6)
    (there,) = on.arrays(x)
    actual, expected = getattr(crysx, name)(there), getattr(crysx, name.removesuffix("_cupy"))(x)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(on.host(actual), expected, rtol=3e-7, atol=1e-7)


BASELINES_THERE = {baseline.name: baseline for baseline in BASELINES if baseline.gpu}
assert len(BASELINES_THERE) == 4


@pytest.mark.parametrize("name", BASELINES_THERE)
def test_the_benchmark_measures_ours_and_a_rival_on_the_device(on, name):
    if on.launches is not None and name in ("torch-cuda", "cupy-kernel"):
        pytest.skip("it needs a GPU")
    baseline = BASELINES_THERE[name]
    if on.launches is None and baseline.missing():
        pytest.skip(baseline.missing())
    _, copy, beyond = worker._limit_copy(True, 0)
    measured = set()
    for operation, forms in points.FORMS.items():
        planned = [points.Point("relu", operation, form, "hot", "float32", 40, 30) for form in forms]
        for point in runner._points_of(baseline, planned):
            if not list(baseline.calls(timing.case_of(point))):
                continue
            reasons = []
            found = timing.measure(baseline, point, 0, 0, beyond, copy, reasons.append)
            assert reasons == []
            assert (found.fraction_of_copy is None) == (point.form == "in_place" or on.launches is None)
            measured.add((operation, point.form))
    assert ("value", "default") in measured
