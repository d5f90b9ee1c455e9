"""Functions of two arrays: values, both gradients, shapes that broadcast, and what is refused."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from conftest import BACKENDS, FLOATS, assert_same, numbers
from rectifier import gated, swiglu, testing
from rectifier.catalogue import GATES
from rectifier.formulas import T, where
from rectifier.tools.verify import multi_input

CASES = [
    pytest.param(getattr(package, name), id=f"{name}-{backend}")
    for name in GATES
    for backend, package in BACKENDS.items()
]
assert len(CASES) == 16
each = pytest.mark.parametrize("function", CASES)


def points(dtype, n=120):
    rng = np.random.default_rng(0)
    return (rng.standard_normal(n) * 3).astype(dtype), (rng.standard_normal(n) * 6).astype(dtype)


@each
@pytest.mark.parametrize("name", FLOATS)
def test_value_and_gradients_are_within_the_bounds(function, name):
    dtype = testing.dtype_of(name)
    block = function.spec
    if function.__module__ == "rectifier" and name == "float64" and function in (c.values[0] for c in CASES[1::2]):
        pytest.skip("the NumPy engine has a bound of its own in float64")
    x, gate = points(dtype)
    y = function(x, gate)
    dx, dgate = function.backward(np.ones_like(x), x, gate)
    value, slope = (testing.bound(block, dtype, derivative=d) or 0.5 for d in (False, True))
    exact = zip(*multi_input.by_mpmath(block, x, gate), strict=True)
    for a, b, truths, *results in zip(
        x.tolist(), gate.tolist(), exact, y.tolist(), dx.tolist(), dgate.tolist(), strict=True
    ):
        for actual, truth, bound in zip(results, truths, (value, slope, slope), strict=True):
            error = testing.ulp_distance(actual, truth, dtype)
            near_a_zero = abs(truth) < 2 and abs(actual - truth) <= abs(a) * np.finfo("f8").eps
            assert error <= bound or (name == "float64" and near_a_zero), (a, b, actual, float(truth), error)


@each
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32"])
def test_infinite_gates_are_those_of_float64(function, name):
    """In kernels that compute in float64 for a narrower dtype, whose least exponential is not 0."""
    dtype = testing.dtype_of(name)
    gate, x = (a.ravel() for a in np.meshgrid([-np.inf, -3e4, -800.0, 800.0, 3e4, np.inf], [-3e4, -1.0, 0.0, 0.5, 3e4]))
    arrays = x.astype(dtype), gate.astype(dtype)
    wide = tuple(array.astype(np.float64) for array in arrays)
    with np.errstate(all="ignore"):
        made = function(*arrays), *function.backward(np.ones_like(arrays[0]), *arrays)
        expected = function(*wide), *function.backward(np.ones_like(x), *wide)
        for actual, exact in zip(made, expected, strict=True):
            exact = exact.astype(np.float32).astype(dtype).astype(np.float64)
            np.testing.assert_allclose(actual.astype(np.float64), exact, rtol=2.0**-6, atol=1e-37)


@each
def test_nan_propagates(function):
    x = np.array([math.nan, 1.0, math.nan])
    gate = np.array([1.0, math.nan, math.nan])
    assert np.isnan(function(x, gate)[[0, 2]]).all()
    assert np.isnan(function(x, gate)[1]) or function.__name__ == "prelu"  # whose slope does not matter on the right
    dx, dgate = function.backward(np.ones(3), x, gate)
    assert np.isnan(dx[2])
    assert np.isnan(dgate[2])


@each
def test_backward_selects_where_a_derivative_is_zero(function):
    if function.__name__ not in ("reglu", "prelu"):
        pytest.skip("its derivatives are not 0 on a half-line")
    x, gate = np.array([2.0, -2.0]), np.array([-1.0, 0.0])
    for dy in (math.inf, math.nan):
        dx, dgate = function.backward(np.full(2, dy), x, gate)
        off = dgate[:1] if function.__name__ == "prelu" else np.concatenate([dx[:1], dgate[:1]])
        assert_same(off, np.zeros_like(off))


@each
@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_layout_does_not_matter(function, name):
    x, gate, dy = (numbers(24 * 18, np.dtype(name), seed).reshape(24, 18) for seed in range(3))
    expected, both = function(x, gate), function.backward(dy, x, gate)
    turned = [np.asfortranarray(a) for a in (dy, x, gate)]
    sliced = [np.repeat(a, 2, axis=1)[:, ::2] for a in (dy, x, gate)]
    for d, a, b in (turned, sliced, (dy, turned[1], sliced[2])):
        assert_same(function(a, b), expected)
        for actual, gradient in zip(function.backward(d, a, b), both, strict=True):
            assert_same(actual, gradient)
    for n in range(19):
        assert_same(function(x[:3, :n], gate[:3, :n]), expected[:3, :n])


@each
def test_dtypes_promote_and_shapes_broadcast(function):
    x, gate = np.ones((4, 3), "f4"), np.linspace(-1, 1, 3)
    y = function(x, gate)
    assert y.dtype == np.float64
    assert y.shape == (4, 3)
    assert function(x, gate.astype("f4")).dtype == np.float32
    assert function([1, 2], 3).dtype == np.float64
    dx, dgate = function.backward(np.ones((4, 3)), x, gate)
    assert dx.shape == (4, 3)
    assert dgate.shape == (3,)
    full = function.backward(np.ones((4, 3)), x, np.broadcast_to(gate, (4, 3)))
    np.testing.assert_allclose(dgate, full[1].sum(axis=0), rtol=1e-14)
    out = np.empty((4, 3)), np.empty(3)
    assert all(a is b for a, b in zip(function.backward(np.ones((4, 3)), x, gate, out), out, strict=True))
    assert_same(out[1], dgate)
    column = function.backward(np.ones((4, 3)), np.ones((4, 1)), gate)
    assert [a.shape for a in column] == [(4, 1), (3,)]


def test_the_gradient_of_a_slope_depends_neither_on_threads_nor_on_layout():
    from rectifier import prelu, settings

    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((3000, 64), dtype="f4") for _ in range(2))
    slope = rng.random(64, dtype="f4")
    before, results = settings.threads, []
    try:
        for threads in (1, 2):
            settings.threads = threads
            for a, b in ((dy, x), (np.asfortranarray(dy), np.asfortranarray(x)), (dy, np.asfortranarray(x))):
                results.append(prelu.backward(a, b, slope)[1])
    finally:
        settings.threads = before
    for result in results[1:]:
        assert_same(result, results[0])
    exact_sum = np.where(x > 0, 0, dy.astype("f8") * x.astype("f8")).sum(axis=0)
    np.testing.assert_allclose(results[0], exact_sum, rtol=1e-6, atol=1e-5)


@each
def test_vjp_is_value_and_backward(function):
    x, gate = points(np.dtype("f4"))
    y, pullback = function.vjp(x, gate)
    assert_same(y, function(x, gate))
    for actual, expected in zip(pullback(x), function.backward(x, x, gate), strict=True):
        assert_same(actual, expected)
    for out, name in ((x, "x"), (gate, function.spec.gate), ((x,), "x")):
        with pytest.raises(ValueError, match=f"out would overwrite {name}, which"):
            function.vjp(x, gate, out)


def test_out_of_summed_gradients_is_checked_as_one_that_is_not_summed():
    x, room = np.array([1, 2, 3, 4], "f4"), np.full(5, 7, "f4")
    wrong = {
        "a tuple of arrays": (room[:4], TypeError), "takes 2": ((room[:4],), ValueError),
        "share memory": ((room[:4], room[3:4]), ValueError), "the result has": ((None, room), ValueError),
    }  # fmt: skip
    for text, (out, kind) in wrong.items():
        with pytest.raises(kind, match=rf"^swiglu\.backward: .*{text}"):
            swiglu.backward(x, x, x[:1], out)
        assert (room == 7).all()
    dx, dgate = swiglu.backward(x, x, x[:1], (room[:4], room[4:]))
    for result, expected in zip((dx, dgate), swiglu.backward(x, x, x[:1]), strict=True):
        assert np.shares_memory(result, room)
        assert np.array_equal(result, expected)


def test_gradients_of_many_dimensions_are_summed():
    x = np.full((1,) * 39 + (3,), 2.0)  # NumPy's broadcasting ends at 32
    dx, dgate = swiglu.backward(x, x, x[..., :1])
    assert (dx.shape, dgate.shape) == (x.shape, (1,) * 40)
    one, *_ = swiglu.backward(np.full(1, 2.0), np.full(1, 2.0), np.full(1, 2.0))[1]
    assert dgate.item() == 3 * one


@each
def test_what_is_wrong_is_refused_before_anything_is_written(function):
    x = np.ones((2, 3))
    out = np.zeros((2, 2))
    with pytest.raises(ValueError, match="out has shape"):
        function(x, x, out)
    with pytest.raises(ValueError, match="broadcast"):
        function(x, np.ones(2))
    with pytest.raises(TypeError, match="bool"):
        function(x, np.ones((2, 3), bool))
    with pytest.raises(TypeError, match="tuple"):
        function.backward(x, x, np.ones(3), out)
    assert not out.any()


def test_functions_and_their_ufuncs_pickle():
    for name in GATES:
        function = GATES[name]
        assert pickle.loads(pickle.dumps(function)) is function
        assert pickle.loads(pickle.dumps(function.ufunc)) is function.ufunc


def test_a_block_of_one_s_own_gets_the_same():
    @gated(exact=lambda m, x, gate: m.where(gate > 0, x, 0), ulp=0)
    def mine(x, gate):
        """Return x where the gate is positive."""
        return where(gate <= T(0), T(0), x)

    @mine.gradient
    def mine_gradient(x, gate):
        return where(gate <= T(0), T(0), T(1)), T(0)

    assert_same(mine(np.array([1.0, 2.0]), np.array([-1.0, 1.0])), np.array([0.0, 2.0]))
    assert_same(mine.backward(np.ones(2), np.ones(2), np.array([-1.0, 1.0]))[0], np.array([0.0, 1.0]))
