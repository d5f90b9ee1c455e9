"""logsumexp: one number a row, along any axes of anything, right, and with the gradient of what counts."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from conftest import BACKENDS, FLOATS, assert_same
from rectifier import settings, softmax, testing
from rectifier.catalogue import REDUCTIONS

CASES = [
    pytest.param(getattr(package, name), id=f"{name}-{backend}")
    for name in REDUCTIONS
    for backend, package in BACKENDS.items()
]
assert len(CASES) >= 2
each = pytest.mark.parametrize("function", CASES)
AXES = (-1, 0, 1, None, (0, 2), (2, -3, 1), ())


def exact_sum(row):
    """Compute log(sum(exp(x))) of what may be many equal numbers."""
    distinct, counts = np.unique(np.array(row, float), return_counts=True)
    return mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(x)) * int(n) for x, n in zip(distinct, counts, strict=True)))


def rows():
    rng = np.random.default_rng(0)
    yield [3.0]
    yield [0.0, -30.0]
    yield [1e4, 1e4 - 1, -1e4]
    yield [-0.6931471805599453, -0.6931471805599453]  # 0 but for rounding
    for length in (8, 33, 64, 65, 1000, 2049, 5000):
        yield rng.standard_normal(length) * 3
        yield np.full(length, 7.3)
        yield np.concatenate([[20.0], rng.standard_normal(length)])
        yield np.concatenate([[0.0], np.full(length, -36.0)])
        yield -math.log(length) + np.round(rng.standard_normal(length), 1)
    yield np.full(300_000, 0.1)


@each
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_values_are_right_in_rows_of_any_length(function, dtype_name):
    dtype, count = testing.dtype_of(dtype_name), 0
    bound = {"float32": function.spec.ulp[0], "float64": function.spec.ulp[1]}.get(dtype_name, 0.5001)
    for row in rows():
        x = np.array(row).astype(dtype)
        with mpmath.workdps(60):
            exact = exact_sum(x.tolist())
            actual = function(x)
            assert actual.dtype == dtype
            beside = 2.0**-51 * math.log(len(row))
            error = testing.ulp_distance(float(actual), exact, dtype)
            assert error <= bound or abs(float(actual) - exact) <= beside, (len(row), actual, float(exact))
        count += 1
    assert count > 30


@each
@pytest.mark.parametrize("length", [2, 3, 10, 100])
def test_the_bound_of_float32_holds_where_the_largest_and_the_logarithm_cancel(function, length):
    x = (np.random.default_rng(0).standard_normal((20_000 // length, length)) * 0.3 - math.log(length)).astype("f4")
    exact = np.log(np.exp(x.astype(np.longdouble)).sum(axis=-1))
    cancel = np.abs(exact) < np.abs(x.max(axis=-1)) / 8
    assert cancel.sum() > 15
    errors = np.abs(function(x) - exact)
    units = errors / np.spacing(np.abs(exact).astype("f4"))
    assert (units[errors > 2.0**-51 * math.log(length)] <= function.spec.ulp[0]).all()


@each
@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
@pytest.mark.parametrize("length", [1, 7, 64, 65, 1000, 2049, 5000])
def test_gradients_are_dy_times_softmax(function, dtype_name, length):
    rng = np.random.default_rng(length)
    x = (rng.standard_normal((3, length)) * 4).astype(dtype_name)
    dy = rng.standard_normal(3).astype(dtype_name)
    wide = x.astype(np.longdouble)
    e = np.exp(wide - wide.max(axis=-1, keepdims=True))
    exact = dy[:, None] * (e / e.sum(axis=-1, keepdims=True))
    errors = testing.ulps(function.backward(dy, x), exact, np.dtype(dtype_name))
    assert errors.max() <= (1 if dtype_name == "float32" else 4)


@each
def test_special_values(function):
    inf, nan = math.inf, math.nan
    cases = {
        (nan, 1, 2): nan, (-nan, 1, inf): nan, (inf, nan): nan, (inf, 1, 2): inf, (inf, inf, -inf): inf,
        (-inf, -inf): -inf, (-inf, 0.0): 0.0, (): -inf,
    }  # fmt: skip
    for row, expected in cases.items():
        for length in (0, 70):  # a short row and a longer one
            x = np.array([*row, *[-inf] * length])
            assert_same(function(x), np.float64(expected))
            assert_same(function(np.stack([x, x])), np.full(2, expected))
            dx = function.backward(np.ones(2), np.stack([x, x]))
            assert_same(dx, softmax(np.stack([x, x])) if math.isfinite(expected) else np.full((2, x.size), nan))
    assert not function.backward(inf, [-inf, 0.0])[0]  # selected: its part is 0


@each
@pytest.mark.parametrize("axis", AXES)
def test_any_axes_layout_and_where(function, axis):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4, 5)).astype("f4")[1]
    axes = tuple(range(3)) if axis is None else tuple(k % 3 for k in (axis if isinstance(axis, tuple) else (axis,)))
    where = rng.random(x.shape) < 0.6
    where[0, 0], where[1] = False, True
    for given in (None, where, where[0], where[:, :1], np.array(False), np.array(True)):
        counts = np.broadcast_to(True if given is None else given, x.shape)
        outer = [side for k, side in enumerate(x.shape) if k not in axes]
        expected, gradient = np.empty(outer, "f4"), np.zeros(x.shape, "f4")
        dy = rng.standard_normal(outer).astype("f4")
        for place in np.ndindex(*outer):
            rest = iter(place)
            index = tuple(slice(None) if k in axes else next(rest) for k in range(3))
            row, on = x[index], counts[index]
            expected[place] = function(row[on]) if on.any() else -np.inf
            dx = np.zeros(row.shape, "f4")
            if on.any():
                dx[on] = function.backward(dy[place], row[on])
            gradient[index] = dx
        for array in (x, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], x.astype(">f4")):
            y, pullback = function.vjp(array, axis=axis, where=given)
            np.testing.assert_allclose(y, expected, rtol=3e-7)  # not the same sum: what does not count takes a place
            np.testing.assert_allclose(pullback(dy), gradient, rtol=1e-6)
            kept = function(array, axis=axis, where=given, keepdims=True)
            assert_same(kept, np.asarray(y).reshape([1 if k in axes else n for k, n in enumerate(x.shape)]))
            assert_same(
                function.backward(dy.reshape(kept.shape), array, axis=axis, where=given, keepdims=True), pullback(dy)
            )
            out = np.full(outer, 7, "f4")
            assert function(array, out, axis=axis, where=given) is out
            assert_same(out, np.asarray(y))
            for dx in (np.full(x.shape, 7, "f4"), np.full(x.shape[::-1], 7, "f4").T, array.astype("f4")):
                own = dx if dx.dtype == array.dtype and np.array_equal(dx, x) else array
                assert function.backward(dy, own, dx, axis=axis, where=given) is dx
                assert_same(dx, pullback(dy))


@each
def test_what_does_not_count_is_not_seen(function):
    x = np.array([[math.nan, 1.0, 2.0], [math.inf, 0.0, -1.0], [math.nan] * 3])
    where = np.array([[False, True, True], [False, True, True], [False] * 3])
    y = function(x, where=where)
    assert_same(y, np.append(function(x[:2, 1:]), -math.inf))
    dx = function.backward(np.array([1.0, math.nan, math.inf]), x, where=where)
    assert_same(dx[0], np.append(0.0, softmax(x[0, 1:])))
    assert dx[1, 0] == 0
    assert np.isnan(dx[1, 1:]).all()
    assert not dx[2].any()


@each
@pytest.mark.parametrize("shape", [(64, 64, 10), (64, 3, 3000), (6, 2, 70_000), (3000, 33)])
def test_neither_threads_nor_other_rows_matter(function, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype("f4")
    dy = x[..., 0].copy()
    before, results = settings.threads, []
    try:
        for threads in (1, 2):
            settings.threads = threads
            results.append((function(x), function.backward(dy, x)))
    finally:
        settings.threads = before
    assert_same(results[1][0], results[0][0])
    assert_same(results[1][1], results[0][1])
    assert_same(function(x[-1]), results[0][0][-1])
    assert_same(function(x[5:7]), results[0][0][5:7])
    assert_same(function.backward(dy[-1], x[-1]), results[0][1][-1])


@each
def test_out_that_overlaps_gives_what_a_copy_would(function):
    x = np.random.default_rng(0).standard_normal((40, 50)).astype("f4")
    expected, dy = function(x), np.ones(40, "f4")
    gradient = function.backward(dy, x)
    memory = np.empty(2000 + 40, "f4")
    for offset in (0, 1, 100, 1960, 2000):
        inside, out = memory[:2000].reshape(40, 50), memory[offset : offset + 40]
        inside[...] = x
        assert_same(function(inside, out), expected)
    memory[:2000] = x.ravel()
    own = memory[:2000].reshape(40, 50)
    assert function.backward(dy, own, own) is own
    assert_same(own, gradient)
    for offset in (0, 40, 2000):
        memory[offset : offset + 40] = dy
        inside = np.empty(2000, "f4").reshape(40, 50)
        inside[...] = x
        out = memory[:2000].reshape(40, 50)
        assert_same(function.backward(memory[offset : offset + 40], inside, out), gradient)


@each
def test_integers_lists_numbers_and_empty_arrays(function):
    assert function([[1, 2], [3, 4]]).dtype == np.float64
    assert function(np.ones((2, 2), "i1")).dtype == np.float16
    assert isinstance(function([1.0, 2.0]), np.float64)
    assert_same(function(3.0), np.float64(3))
    assert_same(function.backward(2.0, 3.0), np.float64(2))
    rows, where = [[1.0, 2.0], [3.0, 4.0]], [[True, False], [True, True]]
    assert_same(function(rows, where=where), function(np.array(rows), where=np.array(where)))
    expected = function.backward(np.ones(2), np.array(rows), where=np.array(where))
    assert_same(function.backward([1.0, 1.0], rows, where=where), expected)
    assert_same(function.vjp(rows, where=where)[1]([1.0, 1.0]), expected)
    with pytest.raises(TypeError, match="where is a masked array"):
        function(rows, where=np.ma.masked_array(where, where))
    assert_same(function(np.empty((2, 0))), np.full(2, -np.inf))
    assert function(np.empty((0, 3))).shape == (0,)
    assert function.backward(np.empty(2), np.empty((2, 0))).shape == (2, 0)


@each
def test_masked_arrays_hide_what_does_not_count(function):
    x = np.ma.masked_array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[0, 0, 1], [1, 1, 1]])
    y = function(x)
    assert y.mask.tolist() == [False, True]
    assert_same(np.float64(y[0]), function(np.array([1.0, 2.0])))
    dx = function.backward(np.ma.masked_array([2.0, 1.0]), x)
    assert dx.mask.tolist() == x.mask.tolist()
    np.testing.assert_allclose(dx[0, :2], 2 * softmax(np.array([1.0, 2.0])))
    hidden = function.backward(np.ma.masked_array([2.0, 1.0], [True, False]), np.ones((2, 2)))
    assert hidden.mask.tolist() == [[True, True], [False, False]]


@each
def test_what_is_wrong_is_refused(function):
    x, out = np.ones((2, 3)), np.zeros(3)
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        function(x, axis=2)
    with pytest.raises(ValueError, match=r"out has shape \(3,\); the result has \(2,\)"):
        function(x, out)
    with pytest.raises(TypeError, match="where has dtype int64; it takes an array of bool"):
        function(x, where=np.ones((2, 3), int))
    with pytest.raises(ValueError, match=r"where has shape \(2,\), which does not broadcast to \(2, 3\), that of x"):
        function(x, out[:2], where=np.ones(2, bool))
    with pytest.raises(TypeError, match="keepdims is 1; it takes True or False"):
        function(x, out[:2], keepdims=1)
    with pytest.raises(ValueError, match=r"dy has shape \(2, 3\); of x \(2, 3\) along \(1,\) the value has \(2,\)"):
        function.backward(x, x)
    with pytest.raises(ValueError, match=r"dy has shape \(2,\); of x \(2, 3\) along \(1,\) the value has \(2, 1\)"):
        function.backward(np.ones(2), x, keepdims=True)
    with pytest.raises(TypeError, match="complex"):
        function(x + 1j)
    with pytest.raises(ValueError, match="out would overwrite x"):
        function.vjp(x, x[:, 0])
    assert not out.any()
