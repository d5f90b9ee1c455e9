"""The options of softmax: what does not count is not seen, the rest is right, and so are its gradients."""

from __future__ import annotations

import functools
import inspect
import math

import mpmath
import numpy as np
import pytest

from conftest import BACKENDS, FLOATS, assert_same
from rectifier import settings, softmin, testing
from rectifier.engine import choice

CASES = [
    pytest.param(getattr(package, name), id=f"{name}-{backend}")
    for name in ("softmax", "log_softmax")
    for backend, package in BACKENDS.items()
]
assert len(CASES) == 4
each = pytest.mark.parametrize("function", CASES)


def nothing(function):
    return 0.0 if function.__name__ == "softmax" else -math.inf


def truth(function, row, counts, scale=1.0, sink=None):
    """Compute a row by its definition, of the numbers that count; and the sink's share of the sum."""
    numbers = tuple(map(float, row)), tuple(map(bool, counts))
    return _truth(function.__name__, *numbers, scale, None if sink is None else float(sink))


_exp = functools.cache(mpmath.exp)


@functools.cache  # both engines ask for it
def _truth(name, row, counts, scale, sink):
    with mpmath.workdps(40):
        z = [mpmath.mpf(x) * mpmath.mpf(scale) for x in row]
        e = [_exp(number) if yes else mpmath.mpf(0) for number, yes in zip(z, counts, strict=True)]
        of_sink = mpmath.mpf(0) if sink is None else mpmath.exp(mpmath.mpf(sink))
        whole = mpmath.fsum(e) + of_sink
        if not whole:
            return [0.0 if name == "softmax" else -math.inf] * len(row), 1
        if name == "softmax":
            y = [number / whole for number in e]
        else:
            logarithm = mpmath.log(whole)
            y = [number - logarithm if yes else -math.inf for number, yes in zip(z, counts, strict=True)]
        return y, of_sink / whole


def assert_right(function, actual, exact, dtype):
    bound = {"float32": function.spec.ulp[0], "float64": function.spec.ulp[1]}.get(dtype.name, 0.5001)
    for one, true in zip(actual.tolist(), exact, strict=True):
        if true in (0, -math.inf):
            assert one == true
            continue
        error = testing.ulp_distance(one, true, dtype)
        assert error <= bound or abs(true) < 2.0**-1000, (one, float(true), error)


def causal_counts(rows, columns):
    return np.tri(rows, columns, columns - rows, dtype=bool)


LENGTHS = {"short": 33, "in a few vectors": 70, "longer than what waits on the stack": 2100}


@each
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_rows_with_options_are_right(function, length, dtype_name):
    dtype, n = testing.dtype_of(dtype_name), LENGTHS[length]
    rng = np.random.default_rng(n)
    x = (rng.standard_normal((3, n)) * 4).astype(dtype)
    x = x if n < 100 else np.round(x * 8) / dtype.type(8)  # few numbers, each often
    where = rng.random((3, n)) < 0.5
    where[0, np.argmax(x[0])] = False  # the largest does not count
    sink = np.array([30.0, -3.0, 0.5]).astype(dtype)
    scale = 0.3 if dtype_name == "float64" else float(np.float32(0.3))
    for options in (
        {"scale": scale}, {"where": where}, {"sink": sink}, {"causal": True},
        {"where": where, "scale": scale, "sink": sink, "causal": True},
    ):  # fmt: skip
        y = function(x, **options)
        assert y.dtype == dtype
        counts = options.get("where", np.ones_like(where))
        counts = counts & causal_counts(3, n) if "causal" in options else counts
        for k in range(3):
            exact, _ = truth(
                function, x[k], counts[k], options.get("scale", 1.0), sink[k] if "sink" in options else None
            )
            assert_right(function, y[k], exact, dtype)


@each
def test_a_product_with_the_scale_is_not_rounded(function):
    """A product of float64 has twice the bits; where the largest is 1e12, rounding it would show in all."""
    rng = np.random.default_rng(1)
    for n in (20, 100):
        x = rng.standard_normal(n) + 3e12
        exact, _ = truth(function, x, [True] * n, 0.7)
        assert_right(function, function(x, scale=0.7), exact, x.dtype)
    x = (rng.standard_normal(100) * 2000 + 3e9).astype("f4")
    exact, _ = truth(function, x, [True] * 100, float(np.float32(1e-3)))
    assert_right(function, function(x, scale=1e-3), exact, x.dtype)


@each
def test_scale_is_a_product_where_that_is_exact(function):
    for n in (5, 64, 100, 3000):
        x = np.random.default_rng(n).standard_normal((4, n)).astype("f4")
        for scale in (0.5, 2, np.float32(4), np.int8(1)):
            assert_same(function(x, scale=scale), function(x * np.float32(scale)))
            assert_same(function(x, where=True, scale=scale, sink=-math.inf), function(x * np.float32(scale)))


@each
@pytest.mark.parametrize("n", [5, 70, 2500])
def test_a_difference_that_no_float64_holds_is_infinite(function, n):
    """Of -1.6e308 and 1.6e308; the exponential is 0, as it is without options."""
    most = float(np.finfo("f8").max)
    x = np.random.default_rng(n).standard_normal((3, n))
    x[1] = np.where(x[1] < 0, -0.9 * most, 0.9 * most)
    x[2, : n // 2] = -most
    expected = function(x)
    assert not np.isnan(expected).any()
    for options in ({"where": np.ones(n, bool)}, {"sink": -math.inf}, {"sink": -most}):
        np.testing.assert_allclose(function(x, **options), expected, rtol=1e-14)
    nothing_left = function(np.full((1, n), -0.9 * most), sink=0.9 * most)
    assert (nothing_left == nothing(function)).all()


@each
@pytest.mark.parametrize("n", [7, 64, 65, 2500])
@pytest.mark.parametrize("hidden", [math.nan, -math.nan, math.inf, -math.inf, 3e38])
def test_what_does_not_count_is_not_seen(function, n, hidden):
    rng = np.random.default_rng(n)
    x, dy = rng.standard_normal((2, 3, n)).astype("f4")
    where = rng.random((3, n)) < 0.6
    for options, counts in (({"where": where}, where), ({"causal": True}, causal_counts(3, n))):
        y = function(x, **options)
        assert (y[~counts] == nothing(function)).all()
        dx = function.backward(dy, y=y, **options)
        assert not dx[~counts].any()
        covered, covered_dy = np.where(counts, x, np.float32(hidden)), np.where(counts, dy, np.float32(hidden))
        assert_same(function(covered, **options), y)
        assert_same(function.backward(covered_dy, covered, **options), dx)
        assert_same(function.backward(covered_dy, y=y, **options), dx)


@each
@pytest.mark.parametrize("n", [6, 70])
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_a_row_with_nothing_left_is_nothing(function, n, dtype_name):
    x = np.full((4, n), math.nan, testing.dtype_of(dtype_name))
    x[3] = -math.inf
    where = np.zeros((4, n), bool)
    y = function(x, where=where)
    assert (y == nothing(function)).all()
    assert not np.signbit(y).any() or function.__name__ != "softmax"
    assert not function.backward(x, y=y, where=where).any()
    dx, dsink = function.backward(x, x, where=where, sink=[1, 2, 3, -math.inf])
    assert not dx.any()
    assert not dsink.any()
    where[:, 2] = True  # and one of NaN or of -inf, which count, is NaN, but where they do not count
    y = function(x, where=where)
    assert np.isnan(y[:, 2]).all()
    assert (np.delete(y, 2, axis=1) == nothing(function)).all()


@each
def test_more_rows_than_columns_have_some_with_nothing(function):
    for shape in ((5, 3), (100, 70)):
        y = function(np.zeros(shape), causal=True)
        assert (y[: shape[0] - shape[1]] == nothing(function)).all()
        assert_same(y[shape[0] - shape[1] :], function(np.zeros((shape[1],) * 2), causal=True))


@each
def test_where_of_any_shape_and_strides_is_that_of_x(function):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 5, 6, 70)).astype("f4")
    for shape in ((70,), (6, 1), (6, 70), (5, 1, 70), (4, 1, 1, 70), (4, 5, 1, 1), (1, 1, 1, 1), (), x.shape):
        where = rng.random(shape) < 0.5
        whole = np.ascontiguousarray(np.broadcast_to(where, x.shape))
        for axis in (-1, 2, (1, -1), None):
            expected = function(x, where=whole, axis=axis)
            assert_same(function(x, where=where, axis=axis), expected)
            assert_same(function(x, where=where.tolist(), axis=axis), expected)
        if where.ndim:
            apart = np.repeat(where, 2, axis=-1)[..., ::2]
            for other in (apart, where[..., ::-1].copy()[..., ::-1], np.asfortranarray(where)):
                assert_same(function(x, where=other), function(x, where=whole))
    short = x[..., :20].copy()
    turned = (rng.random((20, 6)) < 0.5).T
    assert_same(function(short, where=turned), function(short, where=turned.copy()))


@each
def test_a_sink_of_any_shape_has_its_rows(function):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 5, 6, 7)).astype("f4")
    for shape in ((), (6,), (5, 1), (4, 1, 1), (4, 5, 6)):
        sink = rng.standard_normal(shape).astype("f4") * 4
        whole = np.broadcast_to(sink, x.shape[:-1]).copy()
        assert_same(function(x, sink=sink), function(x, sink=whole))
        one = np.stack([function(row, sink=s) for row, s in zip(x.reshape(-1, 7), whole.ravel(), strict=True)])
        assert_same(function(x, sink=sink).reshape(-1, 7), one)
    moved = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    assert_same(function(x, axis=1, sink=1.5), np.moveaxis(function(moved, sink=1.5), -1, 1))
    assert_same(function(x, axis=(0, 2), sink=np.ones((5, 1))), function(x, axis=(0, 2), sink=np.ones((5, 7))))
    softmax = BACKENDS["llvm"].softmax
    with_logit = softmax(np.concatenate([x, np.full((4, 5, 6, 1), 0.75, "f4")], axis=-1))[..., :-1]
    np.testing.assert_allclose(softmax(x, sink=0.75), with_logit, rtol=2e-7)
    assert np.isnan(function(x, sink=math.nan)).all()


@each
@pytest.mark.parametrize("shape", [(2, 9, 9), (1, 5, 70), (1, 3, 2100)])
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_gradients_with_options_are_right(function, shape, dtype_name):
    """By the definition, from x, of which y is rounded first; as `ulp` has it, in units of the largest term."""
    dtype, rng = testing.dtype_of(dtype_name), np.random.default_rng(0)
    x, dy = (rng.standard_normal((2, *shape)) * 3).astype(dtype)
    where, scale = rng.random(shape) < 0.7, 0.25
    sink = rng.standard_normal((shape[-2],)).astype(dtype)
    counts = where & causal_counts(*shape[-2:])
    dx, dsink = function.backward(dy, x, where=where, scale=scale, causal=True, sink=sink)
    y = function(x, where=where, scale=scale, causal=True, sink=sink)
    assert_same(function.backward(dy, y=y, where=where, scale=scale, causal=True), dx)
    assert dx.dtype == dsink.dtype == dtype
    assert dsink.shape == sink.shape
    softmax, totals = function.__name__ == "softmax", [mpmath.mpf(0)] * shape[-2]
    sizes = [0.0] * shape[-2]
    epsilon = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}[dtype_name]
    for index in np.ndindex(shape[:-1]):
        exact, share = truth(function, x[index], counts[index], scale, sink[index[-1]])
        with mpmath.workdps(60):
            terms = [
                mpmath.mpf(float(d)) * (p if softmax else 1) if yes else mpmath.mpf(0)
                for d, p, yes in zip(dy[index], exact, counts[index], strict=True)
            ]
            s, size = mpmath.fsum(terms), float(mpmath.fsum(map(abs, terms)))
            for k in np.flatnonzero(counts[index])[:20]:
                d = mpmath.mpf(float(dy[index][k]))
                true = scale * (exact[k] * (d - s) if softmax else d - mpmath.exp(exact[k]) * s)
                unit = epsilon * (scale * max(size, abs(float(d))) + abs(float(true)))
                assert abs(float(dx[index][k]) - true) <= 6 * unit
            totals[index[-1]] -= share * s
            sizes[index[-1]] += float(share) * size
    for actual, true, size in zip(dsink.tolist(), totals, sizes, strict=True):
        assert abs(actual - true) <= 6 * epsilon * size + 2.0**-24 * (dtype_name == "float16")  # it has few below 1


@each
def test_pullbacks_keep_the_options(function):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 8)).astype("f4")
    where, sink = rng.random((3, 8)) < 0.5, np.ones(3, "f4")
    y, pullback = function.vjp(x, where=where, scale=0.5, causal=True)
    assert_same(y, function(x, where=where, scale=0.5, causal=True))
    assert_same(pullback(dy), function.backward(dy, x, where=where, scale=0.5, causal=True))
    y, pullback = function.vjp(x, sink=sink)
    expected = function.backward(dy, x, sink=sink)
    sink[:] = 7
    for actual, one in zip(pullback(dy), expected, strict=True):
        assert_same(actual, one)
    dx, dsink = np.empty_like(x), np.empty(3, "f4")
    made = function.backward(dy, x, (dx, None), sink=np.ones(3, "f4"))
    assert made[0] is dx
    assert_same(dx, expected[0])
    made = function.backward(dy, x, (None, dsink), sink=np.ones(3, "f4"))
    assert made[1] is dsink
    assert_same(dsink, expected[1])


@each
def test_out_may_be_x_or_share_memory_with_the_options(function):
    rng = np.random.default_rng(0)
    for n in (20, 100):
        x, where = rng.standard_normal((n, n)).astype("f4"), rng.random((n, n)) < 0.5
        expected = function(x, where=where, causal=True, scale=0.5)
        own = x.copy()
        assert function(own, own, where=where, causal=True, scale=0.5) is own
        assert_same(own, expected)
        turned = x.T.copy().T
        assert function(turned, turned, where=where, causal=True, scale=0.5) is turned
        assert_same(turned, expected)
        out = np.empty((n, n), "f4")
        inside = out.view(bool)[:, :n]
        inside[...] = where
        assert_same(function(x, out, where=inside, causal=True, scale=0.5), expected)
        sink = np.zeros((n, n))
        assert_same(function(x.astype("f8"), sink, sink=sink[:, 3]), function(x.astype("f8"), sink=0.0))


@pytest.mark.parametrize("function", [BACKENDS["llvm"].softmax, BACKENDS["llvm"].log_softmax])
@pytest.mark.parametrize("shape", [(64, 64, 30), (8, 300, 300), (3, 5, 40_000)])
def test_neither_threads_nor_chunks_matter(function, shape):
    rng = np.random.default_rng(0)
    x, where = rng.standard_normal(shape).astype("f4"), rng.random(shape) < 0.5
    options = {"where": where, "scale": 0.5, "causal": True, "sink": rng.standard_normal(shape[-2])}
    before, results = settings.threads, []
    try:
        for threads in (1, 2):
            settings.threads = threads
            results.append((function(x, **options), *function.backward(x, x, **options)))
    finally:
        settings.threads = before
    for one, two in zip(*results, strict=True):
        assert_same(one, two)
    assert_same(function(x[1], **options | {"where": where[1]}), results[0][0][1])


@each
def test_masked_arrays_hide_what_does_not_count_either(function):
    rng = np.random.default_rng(0)
    x, hides, where = rng.standard_normal((3, 8)), rng.random((3, 8)) < 0.3, rng.random((3, 8)) < 0.6
    y = function(np.ma.MaskedArray(x, hides), where=where, scale=0.5)
    assert_same(y.mask, hides)
    shown = ~hides & where
    assert_same(y.data[shown], function(x, where=shown, scale=0.5)[shown])
    with pytest.raises(TypeError, match="where is a masked array"):
        function(x, where=np.ma.MaskedArray(where, hides))
    sink = np.ma.MaskedArray([1.0, 2.0, 3.0], [True, False, False])
    for call in (function, lambda x, sink: function.backward(x, x, sink=sink)):
        with pytest.raises(TypeError, match=rf"^{function.__name__}(.backward)?: sink is a masked array"):
            call(x, sink=sink)


@each
def test_rows_of_nothing_and_arrays_of_no_dimension(function):
    for shape in ((0, 3), (3, 0)):
        assert function(np.empty(shape), causal=True, scale=2).shape == shape
        dx, dsink = function.backward(np.empty(shape), np.empty(shape), sink=1.0)
        assert (dx.shape, dsink) == (shape, 0)
    assert function(3.0, where=False) == nothing(function)
    assert function(3.0, where=True, scale=2.0) == function(3.0)
    assert isinstance(function.backward(1.0, 3.0, sink=3.0)[1], np.float64)


@each
def test_what_is_wrong_with_an_option_is_refused(function):
    x, out = np.ones((2, 3)), np.full((2, 3), 7.0)
    name = function.__name__
    for options, error, message in (
        ({"where": np.ones((3, 3), bool)}, ValueError, r"where has shape \(3, 3\), which does not broadcast to \(2,"),
        ({"where": np.ones((1, 2, 3), bool)}, ValueError, "where has shape"),
        ({"where": np.ones((2, 3))}, TypeError, "where has dtype float64; it takes an array of bool"),
        ({"where": [1, 0, 1]}, TypeError, "where has dtype int64"),
        ({"scale": 0}, ValueError, "scale is 0; it takes a positive finite number"),
        ({"scale": -0.5}, ValueError, "scale is -0.5"),
        ({"scale": math.inf}, ValueError, "scale is inf"),
        ({"scale": math.nan}, ValueError, "scale is nan"),
        ({"scale": 10**400}, ValueError, "scale is 1000*, in float64; it takes a positive finite number"),
        ({"scale": None}, TypeError, "scale is a NoneType; it takes one positive number"),
        ({"scale": np.ones(3)}, TypeError, r"scale is a numpy.ndarray; .* arrays are multiplied before the call"),
        ({"scale": True}, TypeError, "scale is a bool"),
        ({"causal": 1}, TypeError, "causal is 1; it takes True or False"),
        ({"causal": np.ones(3, bool)}, TypeError, "causal is array"),
        ({"causal": True, "axis": 0}, ValueError, r"causal is over the last two axes.* rows along \(0,\)"),
        ({"causal": True, "axis": None}, ValueError, "causal is over the last two axes"),
        ({"sink": np.ones(3)}, ValueError, r"sink has shape \(3,\), which does not broadcast to \(2,\)"),
        ({"sink": "a"}, TypeError, "sink has dtype"),
        ({"sink": 1j}, TypeError, "sink has dtype complex128"),
    ):  # fmt: skip
        for call, prefix in ((function, name), (function.vjp, name)):
            with pytest.raises(error, match=f"^{prefix}: {message}"):
                call(x, out, **options)
        with pytest.raises(error, match=f"^{name}(.backward)?: {message}"):
            function.backward(x, x, **options)
    with pytest.raises(ValueError, match="causal is over the last two axes"):
        function(np.ones(3), causal=True)
    for scale in (1e-50, 1e50):
        with pytest.raises(ValueError, match=r"scale is .*, in float32; it takes a positive finite"):
            function(x.astype("f4"), out.astype("f4"), scale=scale)
    with pytest.raises(TypeError, match=rf"^{name}.backward: y does not hold what sink has of a row's sum; pass x"):
        function.backward(x, y=x, sink=1.0)
    with pytest.raises(TypeError, match=rf"^{name}.backward: out is a ndarray; it takes a tuple"):
        function.backward(x, x, out, sink=1.0)
    with pytest.raises(ValueError, match="out has shape"):
        function.backward(x, x, (out, np.ones(3)), sink=1.0)
    with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'wher'"):
        function(x, out, wher=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'mask'"):
        function.backward(x, x, mask=True)
    assert (out == 7).all()


def test_the_options_are_keywords_of_the_calls_that_have_them():
    from rectifier import softmax

    more = "where=None, scale=1.0, causal=False, sink=None)"
    assert str(inspect.signature(softmax)) == f"(x, out=None, *, axis=-1, {more}"
    assert str(inspect.signature(softmax.backward)) == f"(dy, x=None, out=None, *, y=None, axis=-1, {more}"
    assert str(inspect.signature(softmax.vjp)) == f"(x, out=None, *, axis=-1, {more}"
    assert "where" not in inspect.signature(softmin).parameters
    with pytest.raises(TypeError, match=r"softmin\(\) got an unexpected keyword argument 'where'"):
        softmin(np.ones(3), where=True)


@pytest.mark.skipif(not choice.compiles(), reason="nothing is compiled")
def test_calls_that_need_no_preparation_are_made_directly_and_give_the_same():
    """The plainest calls have a way of their own; a sink of nothing sends the same call through all checks."""
    from rectifier import log_softmax, softmax

    rng = np.random.default_rng(0)
    for function in (softmax, log_softmax):
        method = function.methods["value_with_options"]
        for dtype, shape in (("f4", (3, 5, 70)), ("f8", (2, 3, 4, 9)), ("f4", (130,))):
            x = rng.standard_normal(shape).astype(dtype)
            sides = [shape, shape[-1:], (*shape[:-1], 1), (1,) * len(shape), shape[-2:], (*shape[-2:-1], 1)]
            for where in (None, *(rng.random(side) < 0.6 for side in sides)):
                for causal in (False, True)[: len(shape)]:
                    options = {"where": where, "scale": 0.75, "causal": causal}
                    expected = function(x, sink=-math.inf, **options)
                    assert method.call_directly((x,), None, where, 0.75, causal) is not NotImplemented
                    assert_same(function(x, **options), expected)
                    out = np.empty_like(x)
                    assert function(x, out, **options) is out
                    assert_same(out, expected)
        x = np.ones((3, 70), "f4")
        where = np.ones((3, 140), bool)[:, ::2]
        flags = [np.ones(side, bool) for side in ((2, 70), (1, 3, 70))]
        for array, options in (
            (x.T, (None, 0.5, False)), (x, (where, 0.5, False)), (x[0], (None, 1.0, True)), (x, (flags[0], 0.5, False)),
            (x, (flags[1], 0.5, False)), (x, (None, -1.0, False)), (x, (None, 1e-60, False)), (x, (x, 2.0, False)),
        ):  # fmt: skip
            assert method.call_directly((array,), None, *options) is NotImplemented
