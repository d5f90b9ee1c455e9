"""Arrays of Dask that are expressions: those of ``dask_array``, and those of ``dask.array`` with query planning.

Whether ``dask.array`` plans is decided once in a process, so this file runs a second time in a process where it does.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import dask
import numpy as np
import pytest
from dask.callbacks import Callback

from conftest import assert_same, numbers, run_python
from rectifier import (
    Mask,
    gelu,
    glu,
    leaky_relu,
    log_softmax,
    logsumexp,
    prelu,
    relu,
    softmax,
    softmax_cross_entropy,
    swiglu,
)

PLANNED = bool(dask.config.get("array.query-planning", False))
SHAPE = (6, 10)
X = numbers(60, np.dtype("f4")).reshape(SHAPE)
DY = numbers(90, np.dtype("f4"))[30:].reshape(SHAPE)


@pytest.fixture
def da():
    return import_module("dask.array") if PLANNED else pytest.importorskip("dask_array")


@pytest.mark.skipif(PLANNED, reason="this is the process in which dask.array plans")
def test_query_planning():
    environment = {**os.environ, "DASK_ARRAY__QUERY_PLANNING": "True"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) >= len(CALLS) + 10


def masked(x):
    y, mask = relu.with_mask(x)
    return y, mask.to_array(), mask.count(axis=0)


CALLS = {
    "value": lambda x, dy: relu(x),
    "parameter": lambda x, dy: leaky_relu(x, negative_slope=np.linspace(0, 1, 10)),
    "parameter of a row": lambda x, dy: leaky_relu.value_and_derivative(x, negative_slope=np.linspace(0, 1, 10)[None]),
    "parameter of a column": lambda x, dy: leaky_relu.backward(dy, x, negative_slope=np.linspace(0, 1, 6)[:, None]),
    "mask and a parameter": lambda x, dy: leaky_relu.with_mask(x, negative_slope=np.linspace(0, 1, 10)[None])[0],
    "parameter of dask": lambda x, dy: leaky_relu(x, negative_slope=dy),
    "derivative": lambda x, dy: gelu.derivative(x),
    "backward": lambda x, dy: relu.backward(dy, x),
    "two results": lambda x, dy: gelu.value_and_derivative(x),
    "mask": lambda x, dy: masked(x),
    "backward from a mask": lambda x, dy: relu.backward(dy, mask=relu.with_mask(x)[1]),
    "vjp": lambda x, dy: relu.vjp(x)[1](dy),
    "gated": lambda x, dy: glu(x, dy),
    "gated backward": lambda x, dy: glu.backward(dy, x, x),
    "gated vjp": lambda x, dy: glu.vjp(x, dy)[1](dy),
    "rows": lambda x, dy: softmax(x),
    "columns": lambda x, dy: log_softmax(x, axis=0),
    "all": lambda x, dy: softmax(x, axis=None),
    "rows backward": lambda x, dy: softmax.backward(dy, y=x),
    "columns backward": lambda x, dy: log_softmax.backward(dy, x, axis=0),
}
PARTS = {
    "whole": lambda y: y,
    "rows": lambda y: y[..., 1:5],
    "steps": lambda y: y[::2],
}
BROADCASTS = {
    "row dy": (X, DY[:1]),
    "number dy": (X, DY[:1, :1]),
    "column x": (X[:, :1], DY),
    "row x, column dy": (X[:1], DY[:, :1]),
}


def results(found):
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_and_any_part_of_it_gives_the_bits_of_numpy(da, call):
    """An expression that is sliced is rewritten: of a row, or a tuple of results, a part must not be computed alone."""
    lazy = results(CALLS[call](da.from_array(X, chunks=((1, 5), (3, 3, 4))), da.from_array(DY, chunks=(4, 6))))
    for array, whole in zip(lazy, results(CALLS[call](X, DY)), strict=True):
        assert type(array) is da.Array
        for part in PARTS.values():
            one, expected = part(array), np.asarray(part(np.asarray(whole)))
            assert (one.dtype, one.shape) == (expected.dtype, expected.shape)
            assert_same(one.compute(scheduler="synchronous"), expected)


@pytest.fixture(params=["expressions", "graphs"])
def any_da(request):
    """Arrays of each kind that a process has."""
    if request.param == "expressions":
        return request.getfixturevalue("da")
    return pytest.skip("one process has one dask.array") if PLANNED else import_module("dask.array")


@pytest.mark.parametrize("arrays", BROADCASTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_part_of_what_was_broadcast_gives_the_bits_of_numpy(any_da, call, arrays):
    """A slice of a result takes blocks of each operand: of one with a side of 1 always the same, whatever the slice."""
    try:
        expected = results(CALLS[call](*BROADCASTS[arrays]))
    except ValueError as error:
        with pytest.raises(type(error), match="shape"):
            CALLS[call](*map(any_da.from_array, BROADCASTS[arrays]))
        return
    chunks = {1: 1, 6: (2, 3, 1), 10: (3, 3, 4)}
    lazy = results(CALLS[call](*(any_da.from_array(a, tuple(map(chunks.get, a.shape))) for a in BROADCASTS[arrays])))
    for array, whole in zip(lazy, map(np.asarray, expected), strict=True):
        rows = [np.s_[2:4], np.s_[-1]] if whole.shape[:1] == (6,) else []
        columns = [np.s_[..., 7:9], np.s_[..., 1::3]] if whole.shape[-1:] == (10,) else []
        for part in (*rows, *columns):
            found = array[part].compute(scheduler="synchronous")
            assert found.dtype == whole.dtype
            if whole.shape == SHAPE or "gated" not in call:
                assert_same(found, whole[part])
            else:  # a gradient that was summed by chunks
                np.testing.assert_allclose(found, whole[part], rtol=1e-5, atol=1e-6)


def test_the_rows_of_what_was_broadcast(any_da):
    x, gate, slope = any_da.from_array(X, chunks=(2, 5)), any_da.from_array(X[:1], chunks=(1, 4)), X[:, :1]
    for lazy, whole in (
        (swiglu(x, gate), swiglu(X, X[:1])),
        (leaky_relu(x, negative_slope=slope), leaky_relu(X, negative_slope=slope)),
        (relu(swiglu(relu(x), gate)), relu(swiglu(relu(X), X[:1]))),  # tasks that are fused
    ):
        assert_same(np.array([row.compute(scheduler="synchronous") for row in lazy]), whole)
        assert_same(lazy.T[4:].compute(scheduler="synchronous"), whole.T[4:])
        assert_same(lazy.rechunk((6, 5))[:, 5:].compute(scheduler="synchronous"), whole[:, 5:])
        total = lazy[3:].sum(axis=0)
        np.testing.assert_allclose(total.compute(scheduler="synchronous"), whole[3:].sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_computed_before_it_is_asked_for(da, call):
    started = []
    x = da.from_array(X, chunks=(2, 5)).map_blocks(lambda a: started.append(1) or a, dtype="f4", meta=np.empty((0, 0)))
    with Callback(start=started.append):
        lazy = CALLS[call](x, x)
    assert not started
    dask.compute(lazy, scheduler="synchronous")
    assert started


@pytest.mark.parametrize(
    "gate", [X[0], X[:, :1], X[0, 0], X[:1], 2.0], ids=["row", "column", "0-d", "kept row", "number"]
)
def test_the_gradient_of_what_was_broadcast_is_summed_to_its_shape(da, gate):
    given = gate if isinstance(gate, float) else da.from_array(np.asarray(gate), chunks=3)
    lazy = swiglu.backward(DY, da.from_array(X, chunks=(2, 5)), given)
    for array, expected in zip(lazy, swiglu.backward(DY, X, gate), strict=True):
        assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(array.compute(), expected, rtol=1e-5, atol=1e-6)


def test_neither_array_has_the_shape_of_the_result(da):
    lazy = prelu.backward(np.float32(1), da.from_array(X[:, :1], chunks=4), da.from_array(X[0], chunks=3))
    for array, expected in zip(lazy, prelu.backward(np.float32(1), X[:, :1], X[0]), strict=True):
        np.testing.assert_allclose(array.compute(), expected, rtol=1e-5, atol=1e-6)


def test_a_mask_becomes_an_ordinary_one_without_a_word(da):
    """``dask.compute`` warns of collections of which some are expressions and some are not."""
    y, mask = relu.with_mask(da.from_array(X, chunks=((1, 5), (3, 3, 4))))
    _, expected = relu.with_mask(X)
    assert repr(mask) == "<Mask of relu, shape (6, 10), in 6 chunks of Dask>"
    value, computed, count = dask.compute(y, mask, mask.count(), scheduler="synchronous")
    assert type(computed) is Mask
    assert computed == expected
    assert count == expected.count()
    assert_same(value, relu(X))
    assert mask.compute() == expected
    assert dask.optimize(mask)[0].compute() == expected
    assert pickle.loads(pickle.dumps(mask)).compute() == expected
    assert relu.with_mask(da.from_array(np.float32(3)))[1].compute() == relu.with_mask(np.float32(3))[1]
    assert dask.persist(relu.with_mask(da.from_array(X[0], chunks=4))[1])[0].compute() == relu.with_mask(X[0])[1]


@pytest.mark.parametrize("how", [dask.persist, dask.compute])
def test_a_value_and_its_mask_are_computed_together(da, how):
    count = []
    x = da.from_array(X, chunks=(2, 5)).map_blocks(
        lambda a: count.append(1) or a, dtype="f4", meta=np.empty((0, 0), "f4")
    )
    _, mask = how(*relu.with_mask(x), scheduler="synchronous")
    dx = relu.backward(DY, mask=mask)
    assert_same(dx.compute(scheduler="synchronous") if how is dask.persist else dx, relu.backward(DY, X))
    assert len(count) == 6


def test_a_mask_knows_its_parameters(da):
    x, slope = da.from_array(X, chunks=(2, 5)), da.from_array(np.full(10, 0.5, "f4"), chunks=5)
    _, mask = leaky_relu.with_mask(x, negative_slope=slope)
    dx = leaky_relu.backward(x, mask=mask, negative_slope=slope)
    assert_same(dx.compute(), leaky_relu.backward(X, X, negative_slope=0.5))
    with pytest.raises(ValueError, match="the mask was made by"):
        leaky_relu.backward(x, mask=mask, negative_slope=slope + 0)


def test_rows_lie_in_one_chunk(da):
    x = da.from_array(X, chunks=(2, 5))
    assert softmax(x).chunks == ((2, 2, 2), (10,))
    assert softmax(x, axis=0).chunks == ((6,), (5, 5))


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0, 0), (1, 4)])
def test_chunks_of_nothing_stand_anywhere(da, shape):
    x = np.ones(shape, "f4")
    a, b = (da.from_array(x, chunks=tuple((*(0,) * k, side) for side in shape)) for k in (1, 2))
    for found in (relu.backward(b, a), relu.backward(b, mask=relu.with_mask(a)[1])):
        assert_same(found.compute(), x)
    for array, expected in zip(glu.backward(a, b, a), glu.backward(x, x, x), strict=True):
        assert_same(array.compute(), expected)
    assert_same(softmax.backward(a, y=b).compute(), softmax.backward(x, y=x))


def test_what_a_masked_chunk_hides_stays_hidden_in_a_broadcast_operand(da):
    x, gate = np.arange(12.0).reshape(3, 4) - 5, np.ma.masked_array([0.1, 0.2, 0.3, 0.4], [False, True, False, False])
    lazy = prelu.backward(np.ones((3, 4)), da.from_array(x, chunks=2), gate)
    for array, expected in zip(lazy, prelu.backward(np.ones((3, 4)), x, gate), strict=True):
        computed = array.compute()
        assert np.ma.getmaskarray(computed).tolist() == np.ma.getmaskarray(expected).tolist()
        np.testing.assert_allclose(computed.filled(0), expected.filled(0))


def test_a_part_hides_what_a_broadcast_operand_hides(any_da):
    x, gate = np.arange(12.0).reshape(3, 4) - 5, np.ma.masked_array([[0.1, 0.2, 0.3, 0.4]], [[0, 1, 0, 0]])
    expected, found = prelu(x, gate)[1:], prelu(any_da.from_array(x, chunks=2), gate)[1:].compute()
    assert np.ma.getmaskarray(found).tolist() == np.ma.getmaskarray(expected).tolist()
    assert_same(found.filled(0), expected.filled(0))


def test_a_parameter_is_kept_as_it_is_at_the_call(da):
    slope = da.ones(10, chunks=5, dtype="f4")
    if not hasattr(slope, "__setitem__"):
        pytest.skip("arrays of dask.array that plan are not assigned to")
    _, pullback = leaky_relu.vjp(da.from_array(X, chunks=(2, 5)), negative_slope=slope)
    slope[:] = 0
    assert_same(pullback(DY).compute(), leaky_relu.backward(DY, X, negative_slope=1.0))


def test_unknown_sides(da):
    if PLANNED:
        pytest.skip("dask.array has no boolean indices where it plans")
    x, known = da.from_array(X[:, 0], chunks=2), X[:, 0][X[:, 0] > -1]
    unknown = x[x > -1]
    assert_same(relu.backward(unknown, unknown).compute(), relu.backward(known, known))
    assert_same(relu.backward(unknown, mask=relu.with_mask(unknown)[1]).compute(), relu.backward(known, known))
    assert glu(unknown, unknown).compute().shape == known.shape
    with pytest.raises(ValueError, match="call compute_chunk_sizes"):
        softmax(unknown)
    with pytest.raises(ValueError, match="a gradient cannot be summed over unknown sides"):
        glu.backward(unknown, unknown, 2.0)


def test_errors_come_at_the_call(da):
    x = da.from_array(X, chunks=3)
    with pytest.raises(TypeError, match="out is for arrays of NumPy"):
        relu(x, np.empty(SHAPE, "f4"))
    with pytest.raises(TypeError, match="it takes integers and float16 to float64"):
        softmax(da.from_array(np.ones(3, complex)))
    with pytest.raises(ValueError, match="shapes do not broadcast: dy"):
        relu.backward(da.ones(3, chunks=3), x)
    with pytest.raises(ValueError, match=r"dy has shape \(10,\), x \(6, 10\)"):
        softmax.backward(da.ones(10, chunks=10), x)
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        softmax(x, axis=2)
    with pytest.raises(ValueError, match=r"dy has shape \(3,\), the mask \(6, 10\)"):
        relu.backward(da.ones(3, chunks=3), mask=relu.with_mask(x)[1])


def test_arrays_of_two_kinds_are_refused(da):
    if PLANNED:
        pytest.skip("one process has one dask.array")
    other, x = import_module("dask.array").from_array(X, chunks=3), da.from_array(X, chunks=3)
    kinds = "{} is an array of dask_array and {} is an array of dask.array; a call takes arrays of one of the two"
    with pytest.raises(TypeError, match=kinds.format("dy", "x")):
        relu.backward(x, other)
    with pytest.raises(TypeError, match=kinds.format("x", "gate")):
        glu(x, other)
    with pytest.raises(TypeError, match=kinds.format("dy", "mask")):
        relu.backward(x, mask=relu.with_mask(other)[1])
    with pytest.raises(TypeError, match=kinds.format("dy", "y")):
        softmax.backward(x, y=other)


def test_dask_array_is_served_without_dask_dot_array(da):
    if PLANNED:
        pytest.skip("it is the one that plans")
    code = (
        "import sys, dask_array as da; from rectifier import relu, softmax;"
        "y, mask = relu.with_mask(da.ones((4, 4), chunks=2)); softmax(y).sum().compute(), mask.compute();"
        "print('dask.array' in sys.modules)"
    )
    run = run_python(code)
    assert run.stdout.strip() == "False", run.stderr


def test_the_page_on_what_is_larger_than_memory_is_true(da, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[2] / "docs" / "guide" / "larger-than-memory.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert "import dask.array as da\n" in blocks[0]
    code = "".join(blocks).replace("import dask.array as da", f"import {da.__name__} as da").replace("40_000", "40")
    namespace = {}
    exec(code.replace("10_000", "10"), namespace)
    assert namespace["dead"] == 0


def test_options_of_rows(da):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 4, 6, 5, 8)).astype("f4")
    where, sink = rng.random((6, 1, 8)) < 0.6, rng.standard_normal((6, 1)).astype("f4")
    lazy, lazy_dy = da.from_array(x, chunks=(2, 3, 2, 3)), da.from_array(dy, chunks=(1, 6, 5, 8))
    arrays = {"where": da.from_array(where, chunks=(2, 1, 4)), "sink": da.from_array(sink, chunks=(4, 1))}
    numbers = {"scale": 0.5, "causal": True}
    for options in ({"where": where}, {"sink": sink}, numbers, {"where": where, "sink": sink, **numbers}):
        expected = softmax(x, **options)
        for given in (options, options | {name: array for name, array in arrays.items() if name in options}):
            y = softmax(lazy, **given)
            assert (y.shape, y.dtype) == (x.shape, x.dtype)
            assert_same(y.compute(), expected)
        own = {name: value for name, value in options.items() if name != "sink"}
        assert_same(softmax.backward(lazy_dy, y=y, **own).compute(), softmax.backward(dy, y=expected, **own))
    assert_same(softmax(x, where=arrays["where"]).compute(), softmax(x, where=where))
    for name, number in {"sink": np.array(0.5), "where": np.array(True)}.items():  # of no dimension
        assert_same(softmax(lazy, **{name: da.from_array(number)}).compute(), softmax(x, **{name: number}))
    along = {"axis": (1, 3), "sink": np.arange(5.0), "where": where}
    assert_same(
        softmax(lazy, **along | {"sink": da.from_array(along["sink"], chunks=2)}).compute(), softmax(x, **along)
    )
    for wrong, error in (({"sink": np.ones(9)}, ValueError), ({"where": x}, TypeError), ({"scale": 0}, ValueError)):
        with pytest.raises(error, match=f"^softmax: {next(iter(wrong))}"):
            softmax(lazy, **wrong)
    for function, name in ((softmax, "where"), (softmax, "sink"), (logsumexp, "where")):
        with pytest.raises(TypeError, match=rf"^{function.__name__}: {name} is a masked array"):
            function(lazy, **{name: np.ma.masked_array([1.0, 2.0] if name == "sink" else [True, False], [True, False])})
    dx = logsumexp.backward(2.0, lazy, axis=None)
    assert dx.dtype == dx.compute().dtype == np.float32
    with pytest.raises(TypeError, match="the gradient of sink is not computed of Dask arrays"):
        softmax.backward(lazy_dy, lazy, sink=1.0)


@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_losses(da, kind):
    rng = np.random.default_rng(0)
    x, dloss = rng.standard_normal((6, 11, 8)).astype("f4"), rng.standard_normal((6, 8)).astype("f4")
    target = rng.integers(0, 11, (6, 8)) if kind == "classes" else rng.random((6, 11, 8)).astype("f4")
    lazy, lazy_dloss = da.from_array(x, chunks=(2, 5, 3)), da.from_array(dloss, chunks=(3, 8))
    losses, dx = softmax_cross_entropy.value_and_gradient(x, target, 1)
    for goal in (target, da.from_array(target, chunks=4)):
        y = softmax_cross_entropy(lazy, goal, 1)
        assert (y.shape, y.dtype) == ((6, 8), np.float32)
        assert_same(y.compute(), losses)
        for one, other in zip(softmax_cross_entropy.value_and_gradient(lazy, goal, 1), (losses, dx), strict=True):
            assert_same(one.compute(), other)
        back = softmax_cross_entropy.backward(lazy_dloss, lazy, goal, 1)
        assert_same(back.compute(), softmax_cross_entropy.backward(dloss, x, target, 1))
        row = softmax_cross_entropy.backward(da.from_array(dloss[:1], chunks=4), lazy, goal, 1)
        assert_same(row.compute(), softmax_cross_entropy.backward(dloss[:1], x, target, 1))
        assert_same(softmax_cross_entropy.backward(2.0, lazy, goal, 1).compute(), 2 * dx)
        assert_same(y[2:5, 1].compute(), losses[2:5, 1])
        assert_same(back[4].compute(), softmax_cross_entropy.backward(dloss, x, target, 1)[4])
    if kind == "classes":
        with pytest.raises(ValueError, match=r"target has class 1[0-9]; x has 11 classes"):  # where it is looked at
            softmax_cross_entropy(lazy, da.from_array(target + 9, chunks=4), 1).compute()
    with pytest.raises(ValueError, match=r"target has shape \(3,"):
        softmax_cross_entropy(lazy, target[:3], 1)
    with pytest.raises(TypeError, match=r"^softmax_cross_entropy: target is a masked array"):
        softmax_cross_entropy(lazy, np.ma.masked_array(target, target == 1), 1)
    with pytest.raises(TypeError, match="out is for arrays of NumPy"):
        softmax_cross_entropy.value_and_gradient(lazy, target, 1, out=x)
