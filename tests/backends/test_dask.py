"""Arrays of Dask: lazy, chunk by chunk, with the bits of a call on the whole."""

from __future__ import annotations

import pickle
import subprocess
import sys

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
from dask.base import tokenize
from dask.callbacks import Callback
from dask.sizeof import sizeof

import rectifier
from conftest import STAND_INS, assert_same, numbers
from rectifier import Mask, elementwise, glu, leaky_relu, log_softmax, relu, settings, softmax, swiglu
from rectifier.catalogue import CATALOGUE, REDUCTIONS, ROWWISE
from rectifier.engine import process
from rectifier.formulas import T, where

SHAPE = (6, 10)
CHUNKS = {
    "one block": SHAPE,
    "uneven": ((1, 5), (3, 3, 4)),
    "empty ones": ((0, 6, 0), (10, 0)),
}
X = numbers(60, np.dtype("f4")).reshape(SHAPE)
DY = numbers(90, np.dtype("f4"))[30:].reshape(SHAPE)
ROWS = [*ROWWISE]
assert len(CATALOGUE) >= 20
assert ROWS


def both(y, mask):
    return y, mask.to_array()


def calls():
    """List (id, call of arrays x and dy, on anything), of functions of each kind; the contract has them all."""
    for name in (*STAND_INS, "gelu", "hard_sigmoid"):
        f = getattr(rectifier, name)
        yield f"{name}", lambda x, dy, f=f: f(x)
        yield f"{name}-derivative", lambda x, dy, f=f: f.derivative(x)
        yield f"{name}-backward", lambda x, dy, f=f: f.backward(dy, x)
        yield f"{name}-value_and_derivative", lambda x, dy, f=f: f.value_and_derivative(x)
        yield f"{name}-vjp", lambda x, dy, f=f: f.vjp(x)[1](dy)
        if "mask" in f.spec.backward_from:
            yield f"{name}-with_mask", lambda x, dy, f=f: both(*f.with_mask(x))
            yield f"{name}-from mask", lambda x, dy, f=f: f.backward(dy, mask=f.with_mask(x)[1])
        if "y" in f.spec.backward_from:
            yield f"{name}-from y", lambda x, dy, f=f: f.backward(dy, y=f(x))
    for name in ("prelu", "swiglu"):
        f = getattr(rectifier, name)
        yield f"{name}", lambda x, dy, f=f: f(x, dy)
        yield f"{name}-backward", lambda x, dy, f=f: f.backward(dy, x, x)
        yield f"{name}-vjp", lambda x, dy, f=f: f.vjp(x, x)[1](dy)
    for name in ROWS:
        f = getattr(rectifier, name)
        for axis in (0, -1):
            yield f"{name}-{axis}", lambda x, dy, f=f, axis=axis: f(x, axis=axis)
            yield f"{name}-backward-{axis}", lambda x, dy, f=f, axis=axis: f.backward(dy, x, axis=axis)
            yield f"{name}-vjp-{axis}", lambda x, dy, f=f, axis=axis: f.vjp(x, axis=axis)[1](dy)
    for name in REDUCTIONS:
        f = getattr(rectifier, name)
        for key, given in {
            "columns": {"axis": 0},
            "rows": {"where": X > 0},
            "all": {"axis": None, "where": X[0] > 0},
        }.items():
            yield f"{name}-{key}", lambda x, dy, f=f, given=given: f(x, **given)
            yield f"{name}-{key}-vjp", lambda x, dy, f=f, given=given: f.vjp(x, **given)[1](f(dy, **given))
            kept = given | {"keepdims": True}
            yield f"{name}-{key}-kept", lambda x, dy, f=f, kept=kept: f.backward(f(dy, **kept), x, **kept)


CALLS = dict(calls())


def compute(result):
    return dask.compute(result, scheduler="synchronous")[0]


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_gives_the_bits_of_numpy_and_says_their_dtype_and_shape(call, chunks):
    x, dy = (da.from_array(array, chunks=chunks) for array in (X, DY))
    lazy, expected = CALLS[call](x, dy), CALLS[call](X, DY)
    if not isinstance(lazy, tuple):
        lazy, expected = (lazy,), (expected,)
    assert all(type(array) is da.Array for array in lazy)
    for array, result in zip(compute(lazy), expected, strict=True):
        assert_same(array, result)
    for array, result in zip(lazy, expected, strict=True):
        assert (array.dtype, array.shape) == (result.dtype, result.shape)


@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_computed_before_it_is_asked_for(call):
    started = []

    def chunk(array):
        started.append(array.shape)
        return array

    x = da.from_array(X, chunks=CHUNKS["uneven"]).map_blocks(chunk, meta=np.empty((0, 0), "f4"))
    with Callback(start=lambda graph: started.append(graph)):
        lazy = CALLS[call](x, x)
    assert not started
    compute(lazy)
    assert started


@pytest.mark.parametrize("dtype_name", ["float16", "bfloat16", "float64", "int8", "uint32"])
@pytest.mark.parametrize("name", ["relu", "gelu", "glu", "softmax"])
def test_dtypes_are_those_of_numpy(name, dtype_name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    f = getattr(rectifier, name)
    x = np.arange(60).reshape(SHAPE).astype(getattr(ml_dtypes, dtype_name, dtype_name))
    arguments = (x, x) if name == "glu" else (x,)
    lazy = f(*(da.from_array(array, chunks=3) for array in arguments))
    assert lazy.dtype == f(*arguments).dtype
    assert_same(compute(lazy), f(*arguments))


@pytest.mark.parametrize("slope", [3, 3.0, np.float64(0.5), np.array(0.5), np.full(10, 2), np.full((6, 1), 0.5)])
@pytest.mark.parametrize("dtype_name", ["int16", "float32"])
@pytest.mark.parametrize("lazily", [False, True])
def test_a_parameter_means_what_it_means_to_numpy(slope, dtype_name, lazily):
    x = np.clip(X * np.float32(0.5), -100, 100).astype(dtype_name)
    array = da.from_array(x, chunks=(2, 5))
    given = da.from_array(np.asarray(slope)) if lazily else slope
    for method in (leaky_relu, leaky_relu.derivative):
        lazy, expected = method(array, negative_slope=given), method(x, negative_slope=slope)
        assert lazy.dtype == expected.dtype
        assert_same(compute(lazy), expected)
    lazy, mask = leaky_relu.with_mask(array, negative_slope=given)
    assert_same(compute(lazy), leaky_relu(x, negative_slope=slope))
    assert_same(
        compute(leaky_relu.backward(array, mask=mask, negative_slope=given)),
        leaky_relu.backward(x, x, negative_slope=slope),
    )


def test_an_integer_parameter_of_dask_is_not_looked_up():
    x = da.from_array(np.arange(-3, 4), chunks=2)
    y = rectifier.thresholded_relu(x, threshold=da.from_array(np.array(1.0)))
    assert y.dtype == np.float64
    assert compute(y).dtype == np.float64


def test_operands_of_numpy_are_cut_by_the_chunks_of_dask():
    x = da.from_array(X, chunks=(2, 5))
    for dx in (relu.backward(DY, x), relu.backward(da.from_array(DY, chunks=(2, 5)), X)):
        assert dx.chunks == x.chunks
        assert_same(compute(dx), relu.backward(DY, X))
    assert_same(compute(relu.backward(1.0, x)), relu.backward(1.0, X))
    assert_same(compute(relu.backward(DY[0], x)), relu.backward(DY[0], X))
    slopes = np.arange(10.0)
    assert_same(compute(leaky_relu(x, negative_slope=slopes)), leaky_relu(X, negative_slope=slopes))


@pytest.mark.parametrize("gate", [X[0], X[:, :1], X[0, 0], X[:1]], ids=["row", "column", "number", "kept row"])
def test_the_gradient_of_what_was_broadcast_is_summed_to_its_shape(gate):
    x = da.from_array(X, chunks=(2, 5))
    lazy = swiglu.backward(DY, x, da.from_array(np.asarray(gate), chunks=3))
    for array, expected in zip(lazy, swiglu.backward(DY, X, gate), strict=True):
        assert array.shape == expected.shape
        assert array.dtype == expected.dtype
        np.testing.assert_allclose(compute(array), expected, rtol=1e-5, atol=1e-6)


def test_unknown_chunks():
    x = da.from_array(X[:, 0], chunks=2)
    known = X[:, 0][X[:, 0] > -1]
    unknown = x[x > -1]
    assert np.isnan(unknown.shape[0])
    assert_same(compute(relu(unknown)), relu(known))
    assert_same(compute(relu.backward(unknown, unknown)), relu.backward(known, known))
    _, mask = relu.with_mask(unknown)
    assert_same(compute(relu.backward(unknown, mask=mask)), relu.backward(known, known))
    assert compute(mask).count() == relu.with_mask(known)[1].count()


def test_unknown_chunks_beside_known_ones():
    keep = X[:, 0] > -1
    x, dy = (da.from_array(array, chunks=(2, 5))[da.from_array(keep, chunks=2)] for array in (X, DY))
    assert 0 < keep.sum() < len(X)
    for chunks in (5, 2, 10):  # of the known axis; a mask cannot be cut
        other = da.from_array(DY, chunks=(2, chunks))[da.from_array(keep, chunks=2)]
        result = relu.backward(other, mask=relu.with_mask(x)[1])
        assert_same(compute(result), relu.backward(DY[keep], mask=relu.with_mask(X[keep])[1]))
    assert_same(compute(glu(x, DY[0])), glu(X[keep], DY[0]))
    for gradient, expected in zip(glu.backward(dy, x, dy), glu.backward(DY[keep], X[keep], DY[keep]), strict=True):
        assert_same(compute(gradient), expected)
    with pytest.raises(ValueError, match=r"glu.backward: .* call compute_chunk_sizes\(\)"):
        glu.backward(dy, x, DY[0])


def test_a_graph_has_one_task_a_block_and_fuses_with_its_neighbours():
    for blocks in (4, 40):
        x = da.ones(blocks * 3, chunks=3, dtype="f4")
        y = relu(x)
        assert len(y.__dask_graph__()) - len(x.__dask_graph__()) == blocks
        chain = relu(leaky_relu(x + 1) * 2)
        assert len(dict(dask.optimize(chain)[0].__dask_graph__())) == blocks
        y, mask = relu.with_mask(x)
        assert len(mask.__dask_graph__()) - len(x.__dask_graph__()) == 2 * blocks
        assert len(dict(dask.optimize(relu.backward(x, mask=mask))[0].__dask_graph__())) == blocks


def test_two_results_come_from_one_call_a_block(monkeypatch):
    count = []
    before = relu.value_and_derivative
    monkeypatch.setattr(relu, "value_and_derivative", lambda x: count.append(type(x) is np.ndarray) or before(x))
    compute(relu.value_and_derivative(da.from_array(X, chunks=(2, 5))))
    assert sum(count) == 6


@elementwise(exact=lambda m, x, top: m.where(x > top, top, x), special=(), kinks=((1.0, 0.0),), ulp=0)
def capped(x, top=1.0):
    """Return x, and at most `top`."""
    return where(x >= top, top, x)


@capped.derivative
def capped_derivative(x, top):
    return where(x >= top, T(0), where(x == x, T(1), x))


def test_names_are_deterministic_and_tell_functions_methods_and_parameters_apart():
    x = da.from_array(X, chunks=3, name="x")
    names = [
        relu(x).name, relu.derivative(x).name, leaky_relu(x).name, leaky_relu(x, negative_slope=0.5).name,
        capped(x).name, softmax(x).name, softmax(x, axis=0).name, glu(x, x).name,
    ]  # fmt: skip
    assert len(set(names)) == len(names)
    assert relu(x).name == relu(x).name
    code = (
        "import dask.array as da, numpy as np, rectifier as r\n"
        "x = da.from_array(np.zeros((6, 10), 'f4'), chunks=3, name='x')\n"
        "print(r.relu(x).name, r.leaky_relu(x, negative_slope=.5).name, r.softmax(x, axis=0).name, r.glu(x, x).name)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == [relu(x).name, names[3], names[6], names[7]]


def test_a_function_of_the_same_name_and_other_content_is_another():
    def make(number):
        @elementwise(exact=lambda m, x: x, special=(), kinks=(), ulp=0)
        def same(x):
            """Add."""
            return x + T(1)

        if number == 2:
            same.formula.__code__ = (lambda x: x + T(2)).__code__

        @same.derivative
        def same_derivative(x):
            return where(x == x, T(1), x)

        return same

    x = da.from_array(X, chunks=3, name="x")
    one, two = make(1), make(2)
    assert one(x).name != two(x).name
    assert_same(compute(two(x)), X + 2)
    assert_same(compute(one(x)), X + 1)


@pytest.mark.parametrize("call", CALLS)
def test_a_graph_of_the_catalogue_pickles(call):
    x = da.from_array(X, chunks=(2, 5))
    lazy = CALLS[call](x, x)
    graph = lazy[0] if isinstance(lazy, tuple) else lazy
    assert_same(compute(pickle.loads(pickle.dumps(graph))), compute(graph))


def test_a_call_pickles_by_name():
    call = next(iter(relu(da.from_array(X)).__dask_graph__().layers.values()))
    assert call is not None
    text = pickle.dumps(rectifier.backends.dask.tasks.Task(relu, "", ("x",), {}))
    assert len(text) < 200
    assert pickle.loads(text).function is relu


def test_a_function_of_main_reaches_another_process():
    code = """
import cloudpickle, pickle, subprocess, sys
import dask.array as da, numpy as np
from rectifier import elementwise
from rectifier.formulas import T, where
@elementwise(exact=lambda m, x: x, special=(), kinks=(), ulp=0)
def at_most_one(x):
    "Return x, and at most 1."
    return where(x >= T(1), T(1), x)
@at_most_one.derivative
def at_most_one_derivative(x):
    return where(x >= T(1), T(0), where(x == x, T(1), x))
y = at_most_one(da.arange(4, chunks=2, dtype="f4"))
worker = "import sys, pickle; print(pickle.load(sys.stdin.buffer).compute(scheduler='threads').tolist())"
run = subprocess.run([sys.executable, "-c", worker], input=cloudpickle.dumps(y), stdout=subprocess.PIPE, check=True)
print(run.stdout.decode().strip())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "[0.0, 1.0, 1.0, 1.0]", run.stderr


def test_a_row_wise_function_of_main_reaches_another_process():
    code = """
import cloudpickle, subprocess, sys
import dask.array as da, numpy as np
from rectifier import rowwise
from rectifier.formulas import T
@rowwise(exact=lambda m, x: m.exp(x) / m.exp(x).sum(axis=-1, keepdims=True), ulp=(1, 4))
def shares(x, peak, e, rest):
    return e * (T(1) / (T(1) + rest))
@shares.weight
def shares_weight(dy, y):
    return dy * y
@shares.backward
def shares_backward(dy, y, s):
    return y * (dy - s)
there = "import pickle, sys; print(pickle.load(sys.stdin.buffer).compute(scheduler='sync').tolist())"
graph = cloudpickle.dumps(shares(da.zeros((2, 4), chunks=2)))
print(subprocess.run([sys.executable, "-c", there], input=graph, capture_output=True, check=True).stdout.decode())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == str([[0.25] * 4] * 2), run.stderr


def test_a_mask_is_lazy_and_becomes_an_ordinary_one():
    y, mask = relu.with_mask(da.from_array(X, chunks=CHUNKS["uneven"]))
    _, expected = relu.with_mask(X)
    assert repr(mask) == "<Mask of relu, shape (6, 10), in 6 chunks of Dask>"
    assert (mask.shape, mask.size, mask.ndim) == (expected.shape, expected.size, expected.ndim)
    assert mask.nbytes == sum((a * b + 7) // 8 for a in (1, 5) for b in (3, 3, 4))
    assert type(mask.compute()) is Mask
    assert mask.compute() == expected
    value, computed = dask.compute(y, mask)
    assert computed == expected
    assert_same(value, relu(X))
    for axis in (None, 0, 1, (0, 1)):
        assert_same(compute(mask.count(axis)), np.asarray(expected.count(axis), np.intp)[()])
    assert mask == relu.with_mask(da.from_array(X, chunks=CHUNKS["uneven"]))[1]
    assert mask != relu.with_mask(da.from_array(X, chunks=3))[1]
    with pytest.raises(TypeError, match=r"mask.compute\(\)"):
        mask.bits  # noqa: B018
    assert pickle.loads(pickle.dumps(mask)).compute() == expected
    assert tokenize(mask) == tokenize(mask)


def test_a_persisted_mask_is_not_computed_again():
    count = []
    x = da.from_array(X, chunks=(2, 5)).map_blocks(lambda a: count.append(1) or a, meta=np.empty((0, 0), "f4"))
    _, mask = dask.persist(*relu.with_mask(x), scheduler="synchronous")
    assert len(count) == 6
    assert_same(compute(relu.backward(DY, mask=mask)), relu.backward(DY, X))
    assert_same(compute(relu.backward(DY, mask=mask.persist())), relu.backward(DY, X))
    assert len(count) == 6


def test_a_mask_is_refused_to_other_functions_parameters_and_shapes():
    x = da.from_array(X, chunks=(2, 5))
    slope = da.from_array(np.full(10, 0.5, "f4"), chunks=5)
    _, mask = leaky_relu.with_mask(x, negative_slope=slope)
    assert_same(
        compute(leaky_relu.backward(x, mask=mask, negative_slope=slope)), leaky_relu.backward(X, X, negative_slope=0.5)
    )
    with pytest.raises(ValueError, match="the mask was made by"):
        leaky_relu.backward(x, mask=mask, negative_slope=slope + 0)
    with pytest.raises(ValueError, match="the mask was made by"):
        leaky_relu.backward(x, mask=mask)
    _, mask = relu.with_mask(x)
    with pytest.raises(ValueError, match="the mask was made by"):
        leaky_relu.backward(x, mask=mask)
    with pytest.raises(ValueError, match="dy has shape"):
        relu.backward(da.ones((2, 6, 10), dtype="f4"), mask=mask)
    with pytest.raises(TypeError, match="take the mask of the Dask array"):
        relu.backward(x, mask=relu.with_mask(X)[1])
    assert_same(compute(relu.backward(x.rechunk(3), mask=mask)), relu.backward(X, X))
    assert_same(compute(relu.backward(X[0], mask=mask)), relu.backward(X[0], X))


def test_an_upstream_of_any_shape_that_broadcasts_meets_the_mask_of_its_chunk():
    _, mask = relu.with_mask(da.from_array(X, chunks=(4, 5)))
    _, whole = relu.with_mask(X)
    for dy in (np.float32(2), DY[0], DY[:, :1], DY):
        expected = relu.backward(dy, mask=whole)
        assert_same(compute(relu.backward(dy, mask=mask)), expected)
        assert_same(compute(relu.backward(da.from_array(dy, chunks=3), mask=mask)), expected)
    with pytest.raises(ValueError, match=r"dy has shape \(10, 6\), the mask \(6, 10\)"):
        relu.backward(da.from_array(DY.T), mask=mask)


def test_a_mask_without_dimensions():
    y, mask = relu.with_mask(da.from_array(np.float32(3)))
    assert compute(mask) == relu.with_mask(np.float32(3))[1]
    assert compute(y) == 3


def test_the_scheduler_knows_what_a_mask_takes():
    _, mask = relu.with_mask(np.ones(1 << 20, "f4"))
    assert mask.nbytes <= sizeof(mask) < mask.nbytes + 1000


def test_a_parameter_is_kept_as_it_is_at_the_call():
    slope = da.ones(10, chunks=5, dtype="f4")
    _, pullback = leaky_relu.vjp(da.from_array(X, chunks=(2, 5)), negative_slope=slope)
    slope[:] = 0
    assert_same(compute(pullback(DY)), leaky_relu.backward(DY, X, negative_slope=1.0))


@pytest.mark.parametrize("axis", [None, (0, 1), (-1,), (), (2, 0)])
def test_several_axes_make_one_row(axis):
    x, dy = (array.reshape(2, 3, 10) for array in (X, DY))
    lazy, lazy_dy = da.from_array(x, chunks=(1, 2, 5)), da.from_array(dy, chunks=2)
    for f in (softmax, log_softmax):
        assert_same(compute(f(lazy, axis=axis)), f(x, axis=axis))
        assert_same(compute(f.backward(lazy_dy, lazy, axis=axis)), f.backward(dy, x, axis=axis))
        for number in (0, -1, None):
            assert_same(compute(f(da.from_array(X[0, 0]), axis=number)), f(X[0, 0], axis=number))


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0, 0), (1, 4)])
def test_chunks_of_nothing_stand_anywhere(shape):
    x = np.ones(shape, "f4")
    ways = [tuple((side, *(0,) * k) if k % 2 else (*(0,) * k, side) for side in shape) for k in range(3)]
    for chunks in ways:
        for others in ways:
            a, b = da.from_array(x, chunks=chunks), da.from_array(x, chunks=others)
            assert_same(compute(relu.backward(b, a)), x)
            assert_same(compute(relu.backward(b, mask=relu.with_mask(a)[1])), x)
            for f in (glu.backward, lambda dy, x, y: softmax.backward(dy, y=y), lambda dy, x, y: relu(x)):
                for array, expected in zip(compute(f(b, a, b)), f(x, x, x), strict=True):
                    assert_same(array, expected)


def test_a_side_of_one_in_several_chunks_is_broadcast():
    row = da.from_array(X[:1], chunks=((0, 1, 0), 5))
    x = da.from_array(X, chunks=(2, 5))
    assert_same(compute(relu.backward(x, row)), relu.backward(X, X[:1]))
    assert_same(compute(relu.backward(row, x)), relu.backward(X[:1], X))
    for array, expected in zip(glu.backward(x, x, row), glu.backward(X, X, X[:1]), strict=True):
        np.testing.assert_allclose(compute(array), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("numbers", [(DY, 2.0, X), (DY, X, np.float32(2)), (1.0, 2.0, X), (DY, np.array(2.0, "f4"), X)])
def test_the_gradient_of_a_number_is_summed_to_one(numbers):
    lazy = glu.backward(*(da.from_array(a, chunks=4) if np.ndim(a) else a for a in numbers))
    for array, expected in zip(lazy, glu.backward(*numbers), strict=True):
        assert array.shape == expected.shape
        np.testing.assert_allclose(compute(array), expected, rtol=1e-5, atol=1e-6)


def test_rows_lie_in_one_chunk():
    x = da.from_array(X, chunks=(2, 5))
    assert softmax(x).chunks == ((2, 2, 2), (10,))
    assert softmax(x, axis=0).chunks == ((6,), (5, 5))
    assert softmax.backward(da.from_array(DY, chunks=3), y=softmax(x)).chunks == ((2, 2, 2), (10,))


def test_the_ufunc_itself_and_other_processes_take_dask_arrays():
    x = da.from_array(X, chunks=(2, 10))
    assert_same(compute(relu.ufunc(x)), relu(X))
    assert tokenize(relu.ufunc) == tokenize(relu.ufunc) != tokenize(leaky_relu.ufunc)
    with dask.config.set({"multiprocessing.context": "spawn"}):
        assert_same(relu(x).compute(scheduler="processes", num_workers=1), relu(X))


def test_errors_come_at_the_call():
    x = da.from_array(X, chunks=3)
    for call in (relu, relu.derivative, relu.with_mask, relu.value_and_derivative, softmax):
        with pytest.raises(TypeError, match="out is for arrays of NumPy"):
            call(x, np.empty(SHAPE, "f4"))
        with pytest.raises(TypeError, match="it takes integers and float16 to float64"):
            call(da.from_array(np.ones(3, complex)))
    with pytest.raises(ValueError, match="shapes do not broadcast: dy"):
        relu.backward(da.ones(3), x)
    with pytest.raises(ValueError, match="dy has shape"):
        softmax.backward(da.ones(10), x)
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        softmax(x, axis=2)
    with pytest.raises(ValueError, match="axis 1 is out of bounds"):
        softmax(da.ones(()), axis=1)
    with pytest.raises(TypeError, match="negative_slope"):
        leaky_relu(x, negative_slope=1j)
    with pytest.raises(TypeError, match="pass x"):
        leaky_relu.backward(x, y=x, negative_slope=da.ones(10))


def test_the_chunks_keep_their_library():
    class Device(np.ndarray):
        """Stands for an array on a device."""

    meta = np.empty((0, 0), "f4").view(Device)
    x = da.from_array(X, chunks=3).map_blocks(lambda a: a, meta=meta)
    for lazy in (relu(x), relu.value_and_derivative(x)[1], relu.backward(DY, x), softmax(x), glu(x, x)):
        assert type(lazy._meta) is Device


def test_a_task_uses_one_thread():
    used = []

    def look(array):
        with process.one_thread():
            used.append(process.words().threads)
        return array

    before = settings.threads
    settings.threads = 2
    try:
        compute(da.from_array(X, chunks=3).map_blocks(look, meta=np.empty((0, 0), "f4")))
        assert set(used) == {1}
        assert process.words().threads == 2
        with process.one_thread():
            settings.threads = 3
            assert process.words().threads == 1
        assert process.words().threads == 3
    finally:
        settings.threads = before


def test_a_task_enters_one_thread(monkeypatch):
    entered = []
    before = process.one_thread
    monkeypatch.setattr(process, "one_thread", lambda: entered.append(1) or before())
    compute(relu(da.from_array(X, chunks=(2, 5))))
    assert len(entered) == 6


def test_cloudpickle_of_main_is_not_needed_for_a_module():
    call = rectifier.backends.dask.tasks.Task(capped, "", ("x",), {"top": 0.5})
    assert cloudpickle.loads(cloudpickle.dumps(call)).function is capped
