"""Masked arrays of NumPy: what is hidden counts nothing and stays hidden, in every function and operation.

Cases are those of public reports, named beside each test, and the files that come in as masked arrays.
"""

from __future__ import annotations

import itertools
import math
import pickle
import warnings
from fractions import Fraction

import dask
import dask.array as da
import numpy as np
import pytest

import rectifier
from conftest import BACKENDS, STAND_INS, assert_same
from rectifier import Mask, crysx, glu, leaky_relu, log_softmax, prelu, relu, softmax, swiglu
from rectifier.catalogue import CATALOGUE, GATES, ROWWISE
from rectifier.functions.mask import PartialMask

GARBAGE = (np.nan, 1e30, -np.inf)  # what may lie beneath a mask
SHAPE = (4, 6)


def masked(seed, dtype="f8", shape=SHAPE, **keywords):
    """Make a masked array of numbers, a third of them hidden garbage."""
    rng = np.random.default_rng(seed)
    data, hidden = (rng.standard_normal(shape) * 3).astype(dtype), rng.random(shape) < 1 / 3
    data[hidden] = rng.choice(GARBAGE, hidden.sum()).astype(dtype)
    assert 0 < hidden.sum() < hidden.size
    return np.ma.MaskedArray(data, hidden, **keywords)


def elementwise_operations(package, names):
    """List (id, number of operands, call), such that an element of the result depends on that of each operand alone."""
    for name in names:
        f = getattr(package, name)
        if name in GATES:
            yield name, 2, f
            yield f"{name}-backward-dx", 3, lambda dy, x, gate, f=f: f.backward(dy, x, gate)[0]
            yield f"{name}-backward-dgate", 3, lambda dy, x, gate, f=f: f.backward(dy, x, gate)[1]
            yield f"{name}-vjp", 3, lambda dy, x, gate, f=f: f.vjp(x, gate)[1](dy)[1]
            continue
        yield name, 1, f
        yield f"{name}-derivative", 1, f.derivative
        yield f"{name}-value and", 1, lambda x, f=f: f.value_and_derivative(x)[0]
        yield f"{name}-and derivative", 1, lambda x, f=f: f.value_and_derivative(x)[1]
        yield f"{name}-backward", 2, f.backward
        yield f"{name}-vjp value", 1, lambda x, f=f: f.vjp(x)[0]
        yield f"{name}-vjp", 2, lambda dy, x, f=f: f.vjp(x)[1](dy)
        if "y" in f.spec.backward_from:
            yield f"{name}-from y", 2, lambda dy, y, f=f: f.backward(dy, y=y)
        if "mask" in f.spec.backward_from:
            yield f"{name}-with_mask", 1, lambda x, f=f: f.with_mask(x)[0]
            yield f"{name}-from mask", 2, lambda dy, x, f=f: f.backward(dy, mask=f.with_mask(x)[1])
            if package is rectifier:
                yield f"{name}-pickled", 2, lambda dy, x, f=f: f.backward(dy, mask=copied(f.with_mask(x)[1]))
        for parameter in f.spec.parameters:
            yield f"{name}-{parameter}", 2, lambda x, p, f=f, k=parameter: f(x, **{k: np.abs(p)})
            yield f"{name}-derivative-{parameter}", 2, lambda x, p, f=f, k=parameter: f.derivative(x, **{k: np.abs(p)})


def copied(mask):
    return pickle.loads(pickle.dumps(mask))


@pytest.mark.parametrize(
    ("backend", "names"), [("llvm", (*STAND_INS, "prelu")), ("numpy", (*CATALOGUE, *GATES))], ids=BACKENDS
)
def test_what_is_visible_is_computed_as_if_alone_and_the_rest_stays_hidden(backend, names):
    arrays, count = [masked(k, "f4") for k in range(3)], 0
    for name, number, call in elementwise_operations(BACKENDS[backend], names):
        for hides in itertools.product([False, True], repeat=number):
            if not any(hides):
                continue
            operands = [a if hide else np.nan_to_num(a.data, posinf=2) for a, hide in zip(arrays, hides, strict=False)]
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                result = call(*operands)
            union = np.logical_or.reduce([np.ma.getmaskarray(a) for a in operands])
            assert type(result) is np.ma.MaskedArray, (name, hides)
            assert np.array_equal(np.ma.getmaskarray(result), union), (name, hides)
            alone = call(*(np.asarray(a)[~union] for a in operands))
            assert_same(result.data[~union], alone)
            count += 1
    assert count > 60


@pytest.mark.parametrize("backend", BACKENDS)
def test_attributes_are_those_of_a_ufunc(backend):
    package = BACKENDS[backend]

    class Own(np.ma.MaskedArray):
        pass

    dtypes = ("f2", "f4", "f8") if backend == "numpy" else ("f4",)  # a loop takes a second to compile
    for keywords in ({}, {"fill_value": 7}, {"hard_mask": True}):
        x, dy = masked(0, **keywords), masked(1)
        for kind, dtype in itertools.product((np.ma.MaskedArray, Own), dtypes):
            with np.errstate(over="ignore"):
                x, dy = x.view(kind).astype(dtype), dy.astype(dtype)
            one, two = np.exp(np.ma.filled(x, 0).view(kind)), np.add(x, np.asarray(dy))
            one.fill_value, two.fill_value = x._fill_value, x._fill_value
            for result, expected in (
                (package.relu(x), one),
                (package.relu.with_mask(x)[0], one),
                (package.relu.backward(x, mask=package.relu.with_mask(dy)[1]), one),
                (package.softmax(x), one),
                (package.prelu(x, 0.5), one),
                (package.softmax.backward(x, y=np.asarray(dy)), two),
                (package.prelu.backward(x, np.asarray(dy), np.asarray(dy[0]))[0], two),
            ):
                assert type(result) is type(expected)
                assert result.dtype == expected.dtype
                assert result.fill_value == expected.fill_value
                assert result.hardmask == x.hardmask


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_result_shares_its_mask(backend):
    """numpy/numpy#3145, of ``empty_like``: hiding an element of a result hid that of what it was made of."""
    package = BACKENDS[backend]
    x = masked(0)
    before = x.mask.copy()
    results = [
        package.relu(x),
        *package.relu.value_and_derivative(x),
        package.relu.backward(x, x),
        package.relu.with_mask(x)[0],
        package.relu.backward(x, mask=package.relu.with_mask(x)[1]),
        package.relu(x, out=np.ma.zeros(SHAPE)),
        package.prelu(x, 0.5),
        *package.prelu.backward(x, x, x),
        package.softmax(x),
    ]
    for result in results:
        assert not any(np.shares_memory(result.mask, other.mask) for other in results if other is not result)
        result[...] = np.ma.masked
        assert np.array_equal(x.mask, before)
        assert not np.array_equal(result.mask, before)


# Rows


def exponentials(row):
    """Compute softmax of a list of numbers and None, which is hidden; with sums that are exact but for one rounding."""
    visible = [x for x in row if x is not None]
    total = math.fsum(math.exp(x - max(visible)) for x in visible) if visible else 1
    return [None if x is None else math.exp(x - max(visible)) / total for x in row]


def rows_of(array):
    return [
        [None if hide else x for x, hide in zip(*row, strict=True)] for row in zip(array.data, array.mask, strict=True)
    ]


def assert_rows(result, rows, **tolerance):
    assert type(result) is np.ma.MaskedArray
    assert rows_of(result) and [[x is None for x in row] for row in rows] == result.mask.tolist()  # noqa: PT018
    for actual, expected in zip(rows_of(result), rows, strict=True):
        shown = [[x for x in row if x is not None] for row in (actual, expected)]
        np.testing.assert_allclose(*shown, **tolerance)


REPORTED = {
    "FluxML/NNlib.jl#460": np.ma.array(
        [[1, 2, 3]] * 5, "f4", mask=[[0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0]]
    ),
    "keras-team/keras#14316": np.ma.array([[1.0, 2, 3, 4]], mask=[[0, 0, 1, 1]]),
    "scipy/scipy#3034": np.ma.array([[0.0, 1, 2]], mask=[[1, 0, 0]]),
    "all the weight beneath": np.ma.array([[1.0, 2, 1e30]], mask=[[0, 0, 1]]),
    "NaN beneath": np.ma.array([[1.0, 2, np.nan]], mask=[[0, 0, 1]]),
    "nothing hidden": np.ma.array([[1.0, 2, 3]]),
    "integers": np.ma.array([[1, 2, 100]], mask=[[0, 0, 1]]),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("report", REPORTED)
def test_softmax_and_its_logarithm_are_those_of_what_is_visible(backend, report):
    x = REPORTED[report].copy()
    x.mask = np.ma.getmaskarray(x)
    package, expected = BACKENDS[backend], [exponentials(row) for row in rows_of(x)]
    logarithms = [[None if p is None else math.log(p) for p in row] for row in expected]
    tolerance = {"rtol": 1e-6 if x.dtype == "f4" else 1e-14, "atol": 1e-15}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_rows(package.softmax(x), expected, **tolerance)
        assert_rows(package.softmax(x.T, axis=0).T, expected, **tolerance)
        assert_rows(package.log_softmax(x), logarithms, **tolerance)
    if report == "keras-team/keras#14316":
        np.testing.assert_allclose(package.softmax(x).compressed(), [0.268941, 0.731058], atol=1e-6)
    if report == "scipy/scipy#3034":
        np.testing.assert_allclose(package.log_softmax(x).compressed(), np.array([1, 2]) - 2.3132616875182226)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_along_rows_sum_nothing_hidden(backend):
    package, x, dy = BACKENDS[backend], masked(0), masked(1)
    plain = np.random.default_rng(2).standard_normal(SHAPE)
    for given_dy, given_x in ((dy, x), (plain, x), (dy, plain)):
        hidden = np.ma.getmaskarray(given_dy) | np.ma.getmaskarray(given_x)
        ys = [exponentials(row) for row in rows_of(np.ma.array(np.asarray(given_x), mask=np.ma.getmaskarray(given_x)))]
        y = np.array([[0 if p is None else p for p in row] for row in ys])
        known = np.where(np.ma.getmaskarray(given_dy), 0, np.asarray(given_dy))
        for function, expected in (
            (package.softmax, y * (known - [[math.fsum(row)] for row in known * y])),
            (package.log_softmax, known - y * [[math.fsum(row)] for row in np.where(hidden, 0, known)]),
        ):
            value = function(given_x)
            for dx in (function.backward(given_dy, given_x), function.backward(given_dy, y=value)):
                assert np.array_equal(np.ma.getmaskarray(dx), hidden)
                np.testing.assert_allclose(dx.compressed(), expected[~hidden], rtol=1e-12, atol=1e-14)
            turned = function.backward(np.ma.asanyarray(given_dy).T, np.ma.asanyarray(given_x).T, axis=0).T
            np.testing.assert_allclose(turned.compressed(), expected[~hidden], rtol=1e-12, atol=1e-14)
            assert np.array_equal(np.ma.getmaskarray(function.vjp(given_x)[1](given_dy)), hidden)


def test_a_row_that_is_hidden_entirely_is_quiet():
    x = np.ma.array([[1.0, 2], [3, np.nan]], mask=[[1, 1], [0, 1]])
    for function, shown in ((softmax, 1.0), (log_softmax, 0.0)):
        for array in (x, np.ma.masked_all((2, 2))):
            y, dx = function(array), function.backward(array, array)
            assert np.array_equal(y.mask, array.mask)
            assert np.array_equal(dx.mask, array.mask)
            assert np.isfinite(y.data).all()
            assert np.isfinite(dx.data).all()
        assert function(x)[1, 0] == shown
    assert softmax(np.ma.zeros((0, 3))).shape == (0, 3)
    assert softmax(np.ma.zeros((3, 0))).shape == (3, 0)


# Sums


def test_the_gradient_of_a_gate_sums_nothing_hidden():
    for package in BACKENDS.values():
        dy = np.ma.array([[1.0, 2, 3], [4, 5, 6]], mask=[[0, 0, 1], [1, 0, 1]])
        x = np.ma.array([[-1.0, -2, -3], [-4, -5, -6]], mask=[[0, 1, 0], [0, 0, 0]])
        dy.data[dy.mask], x.data[x.mask] = np.nan, 1e300
        dx, slope = package.prelu.backward(dy, x, np.array([0.5, 0.25, 2]))
        assert dx.tolist() == [[0.5, None, None], [None, 1.25, None]]
        assert slope.tolist() == [-1.0, -25.0, None]
        assert package.prelu.backward(dy, x, 0.5)[1] == -26
        assert package.prelu.backward(dy, x, np.ma.array([0.5, 1, 2], mask=[0, 1, 0]))[1].tolist() == [-1.0, None, None]
        column = package.prelu.backward(dy, x[:, :1], np.array([0.5, 0.25, 2]))
        assert column[0].tolist() == [[0.5 + 2 * 0.25], [5 * 0.25]]
        assert column[1].tolist() == [-1.0, -2 - 20.0, None]
        for hidden in (np.ma.masked, np.ma.array(0.5, mask=True)):
            assert package.prelu.backward(dy, x, hidden)[1] is np.ma.masked
            assert package.prelu(x, hidden).mask.all()


def test_a_sum_is_that_of_the_fractions():
    rng = np.random.default_rng(0)
    dy, x = (rng.integers(-8, 8, (50, 4)).astype("f4") for _ in range(2))
    hidden = rng.random((50, 4)) < 0.5
    (_, slope), (_, gate) = (
        f.backward(np.ma.array(np.where(hidden, np.nan, dy), mask=hidden), x, np.ones(4, "f4"))
        for f in (prelu, rectifier.reglu)
    )
    for k in range(4):
        shown = [
            (Fraction(float(a)), Fraction(float(b)))
            for a, b, h in zip(dy[:, k], x[:, k], hidden[:, k], strict=True)
            if not h
        ]
        assert Fraction(float(slope[k])) == sum(a * b for a, b in shown if b < 0)
        assert Fraction(float(gate[k])) == sum(a * b for a, b in shown)


@pytest.mark.parametrize(
    ("shape", "gate"), [((0, 5), (5,)), ((0, 5), (1, 5)), ((5, 0), (5, 1)), ((0, 5), ()), ((0,), (1,))]
)
def test_a_sum_of_no_elements_is_a_visible_zero(shape, gate):
    """So is ``numpy.ma.sum`` of an array without a mask, and the sum of Dask; nothing is hidden where nothing is."""
    x, gate = np.ones(shape, "f4"), np.full(gate, 2, "f4")
    for package in BACKENDS.values():
        for arrays in itertools.product((x, np.ma.array(x)), (x, np.ma.array(x)), (gate, np.ma.array(gate))):
            dx, total = package.prelu.backward(*arrays)
            assert dx.shape == shape
            assert (np.shape(total), total.dtype) == (gate.shape, gate.dtype)
            assert not np.ma.getmaskarray(total).any()
            assert_same(np.ma.getdata(total), np.zeros_like(gate))
            lazy = rectifier.prelu.backward(*(da.from_array(array, chunks=-1) for array in arrays))[1].compute()
            assert np.ma.getmaskarray(lazy).tolist() == np.ma.getmaskarray(total).tolist()
        out = np.ma.array(x), np.ma.masked_all(gate.shape, "f4")
        assert not np.ma.getmaskarray(package.prelu.backward(np.ma.array(x), x, gate, out=out)[1]).any()
        assert_same(out[1].data, np.zeros_like(gate))


# Masks for backward


def test_a_mask_counts_what_is_visible():
    x = np.ma.array([[1.0, -1, 5], [2, -3, -7], [np.nan, 1, 1]], mask=[[0, 0, 1], [0, 1, 1], [0, 0, 1]])
    for package in BACKENDS.values():
        y, mask = package.relu.with_mask(x)
        assert y.tolist() != x.tolist()
        assert isinstance(mask, package.Mask)
        assert repr(mask) == "<Mask of relu, shape (3, 3): 4 of 5 on, 4 hidden, 4 bytes>"
        assert mask.count() == 4
        assert mask.count(axis=0).tolist() == [3, 1, 0]
        assert mask.count(axis=(0, 1)) == 4
        assert mask.nbytes == 4
        assert mask.to_array().tolist() == [[True, False, None], [True, None, None], [True, True, None]]
        assert np.unpackbits(mask.hidden, count=9, bitorder="little").tolist() == x.mask.ravel().tolist()
        with pytest.raises(ValueError, match="read-only"):
            mask.hidden[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            mask.bits[0] = 0


def test_masks_are_equal_if_they_hide_the_same():
    x, other = masked(0), masked(1)
    _, mask = relu.with_mask(x)
    assert mask == relu.with_mask(x.copy())[1] == copied(mask)
    assert mask != relu.with_mask(other)[1]
    assert mask != relu.with_mask(np.ma.array(x.data, mask=~x.mask))[1]
    flags = Mask(mask.bits, mask.shape, "relu", {})
    assert mask != flags
    assert flags != mask
    whole = np.arange(-2.0, 3)
    assert relu.with_mask(whole)[1] == relu.with_mask(np.ma.array(whole))[1]
    assert relu.with_mask(np.ma.array(whole))[1] == relu.with_mask(whole)[1]
    assert mask != "mask"
    with pytest.raises(ValueError, match="a hidden element is on"):
        PartialMask(np.array([1], "u1"), (2,), "relu", {}, np.array([3], "u1"))
    with pytest.raises(ValueError, match="for shape"):
        PartialMask(np.array([1], "u1"), (2,), "relu", {}, np.zeros(2, "u1"))


def test_slopes_that_hide_are_kept_compared_and_frozen():
    x, slopes = np.full(4, -1.0), np.ma.array([0.5, 0.25, np.nan, 2], mask=[0, 0, 1, 0])
    y, mask = leaky_relu.with_mask(x, negative_slope=slopes)
    assert y.tolist() == [-0.5, -0.25, None, -2]
    again = np.ma.array([0.5, 0.25, 7, 2], mask=[0, 0, 1, 0])
    assert leaky_relu.backward(x, mask=mask, negative_slope=again).tolist() == [-0.5, -0.25, None, -2]
    for others in (
        again.data,
        np.array([0.5, 0.25, 0, 2]),
        np.ma.array(again.data, mask=[0, 1, 1, 0]),
        np.ma.array([9, 0.25, 7, 2], mask=[0, 0, 1, 0]),
    ):
        with pytest.raises(ValueError, match="the mask was made by"):
            leaky_relu.backward(x, mask=mask, negative_slope=others)
    kept = mask.parameters["negative_slope"]
    for change in (lambda: kept.__setitem__(0, 1.0), lambda: kept.__setitem__(0, np.ma.masked)):
        with pytest.raises(ValueError, match="read-only"):
            change()
    _, pullback = leaky_relu.vjp(x, negative_slope=slopes)
    slopes[0] = np.ma.masked
    assert pullback(np.ones(4)).tolist() == [0.5, 0.25, None, 2]
    assert copied(mask) == mask


def test_y_is_taken_if_visible_slopes_let_it():
    dy, y = np.ones(3), np.array([-1.0, 1, -1])
    slopes = np.ma.array([0.5, 0.5, -2], mask=[0, 0, 1])
    assert leaky_relu.backward(dy, y=y, negative_slope=slopes).tolist() == [0.5, 1, None]
    assert leaky_relu.backward(dy, y=y, negative_slope=np.ma.masked).mask.all()
    slopes.mask = np.ma.nomask
    with pytest.raises(ValueError, match="y determines the derivative only where"):
        leaky_relu.backward(dy, y=y, negative_slope=slopes)


# Scalars, and what is given as out


def test_a_hidden_scalar_stays_hidden():
    """numpy/numpy#25635: in NumPy 2.0 ``sqrt`` gave a visible number."""
    for package in BACKENDS.values():
        relu, glu = package.relu, package.glu
        for x in (np.ma.masked, np.ma.masked_array(1.0, mask=True)):
            results = [relu(x), relu.derivative(x), *relu.value_and_derivative(x), relu.with_mask(x)[0], glu(x, 1.0)]
            results += [relu.backward(1.0, x), relu.backward(x, 1.0), relu.vjp(x)[1](1.0), glu(1.0, x)]
            results += [relu.backward(x, mask=relu.with_mask(1.0)[1]), *glu.backward(1.0, x, 1.0)]
            assert all(result is np.ma.masked for result in results)
        shown = package.relu.with_mask(np.ma.masked_array(2.0))[0]
        assert type(shown) is type(package.relu(np.ma.masked_array(2.0))) is type(np.exp(np.ma.masked_array(2.0)))
        assert shown == 2


ONES = np.ones(SHAPE)
OUT = {
    "value": lambda r, x, out: r.relu(x, out=out),
    "positional": lambda r, x, out: r.relu(x, out),
    "derivative": lambda r, x, out: r.relu.derivative(x, out=out),
    "backward": lambda r, x, out: r.relu.backward(ONES, x, out=out),
    "from mask": lambda r, x, out: r.relu.backward(ONES, mask=r.relu.with_mask(x)[1], out=out),
    "from dy": lambda r, x, out: r.relu.backward(x, mask=r.relu.with_mask(ONES)[1], out=out),
    "with_mask": lambda r, x, out: r.relu.with_mask(x, out=out)[0],
    "vjp": lambda r, x, out: r.relu.vjp(x, out=out)[0],
    "both": lambda r, x, out: r.relu.value_and_derivative(x, out=(out, None))[0],
    "gate": lambda r, x, out: r.prelu(ONES, x, out),
    "gate backward": lambda r, x, out: r.prelu.backward(x, ONES, ONES, (out, None))[0],
    "gate sums": lambda r, x, out: r.prelu.backward(x, ONES, 0.5, (out, None))[0],
    "softmax": lambda r, x, out: r.softmax(x, out),
    "softmax axis": lambda r, x, out: r.softmax(x, out, axis=0),
    "softmax backward": lambda r, x, out: r.softmax.backward(ONES, y=x, out=out),
    "slopes": lambda r, x, out: r.leaky_relu(ONES, negative_slope=x, out=out),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OUT)
def test_an_out_that_is_masked_comes_back_with_the_mask_of_the_result(backend, name):
    """numpy/numpy#7394 and numpy/numpy#10382: ``out`` was not returned, or its old mask was kept."""
    package, x = BACKENDS[backend], masked(0)
    expected = OUT[name](package, x, None)
    for old in (np.ma.nomask, np.ones(SHAPE, bool)):
        out = np.ma.array(np.full(SHAPE, 7.0), mask=old)
        assert OUT[name](package, x, out) is out
        assert np.array_equal(out.mask, x.mask)
        assert_same(out.data[~out.mask], expected.data[~expected.mask])
        if name not in ("both", "gate backward", "gate sums"):
            assert OUT[name](package, x, (out,)) is out
    same = x.copy()
    if name != "vjp":  # which refuses to overwrite x where it keeps that
        assert OUT[name](package, same, same) is same
        assert np.array_equal(same.mask, x.mask)
        assert_same(same.data[~same.mask], expected.data[~expected.mask])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OUT)
def test_an_out_that_would_show_what_is_hidden_is_refused(backend, name):
    """numpy/numpy#9394: in place, an ndarray took what a masked array hid."""
    out = np.full(SHAPE, 7.0)
    with pytest.raises(
        TypeError, match=r"hides elements, which an out of ndarray would not; pass a numpy.ma.MaskedArray"
    ):
        OUT[name](BACKENDS[backend], masked(0), out)
    assert (out == 7).all()


def test_an_out_that_hides_shows_what_is_visible_again():
    out = np.ma.array(np.full(3, 7.0), mask=[1, 1, 1], hard_mask=True)
    for call in (
        lambda: relu(np.arange(3.0), out),
        lambda: relu.with_mask(np.arange(3.0), out)[0],
        lambda: softmax(np.zeros(3), out) * 3,
    ):
        out.harden_mask()
        assert np.exp(np.zeros(3), out).tolist() == [1, 1, 1]
        out._mask[...] = True
        assert call().mask.tolist() == [False] * 3


# What is refused


def test_structured_and_object_masked_arrays_are_refused():
    records = np.ma.zeros(3, dtype=[("a", "f4"), ("b", "i4")])
    for call in (relu, relu.with_mask, softmax, lambda x: glu(x, x), lambda x: relu.backward(np.ones(3), x)):
        with pytest.raises(TypeError, match=r"x has dtype \[\('a'.*apply it to each field, as to x\['a'\]"):
            call(records)
        with pytest.raises(TypeError, match="x has dtype bool"):
            call(np.ma.array([True, False, True], mask=[0, 1, 0]))
    field = np.ma.array([(1.0, 2), (-3.0, 4)], dtype=[("a", "f4"), ("b", "i4")], mask=[(0, 1), (1, 0)])["a"]
    assert relu(field).tolist() == softmax(field).tolist() == [1, None]


@pytest.mark.parametrize("library", ["torch", "jax.numpy", "array_api_strict"])
def test_libraries_without_masks_refuse_them_by_name(library):
    x = masked(0, "f4")
    xp = pytest.importorskip(library)
    other = xp.ones(SHAPE, dtype=xp.float32)
    for hidden in (x, np.ma.masked):
        for call, name in (
            (lambda a, b: relu.backward(a, b), "dy"),
            (lambda a, b: relu.backward(b, a), "x"),
            (lambda a, b: glu(a, b), "x"),
            (lambda a, b: glu(b, a), "gate"),
            (lambda a, b: leaky_relu(b, negative_slope=a), "negative_slope"),
        ):
            with pytest.raises(TypeError, match=rf": {name} is a masked array, .*; pass {name}\.filled\(number\)"):
                call(hidden, other)
    with pytest.raises(TypeError, match="masks are for arrays of NumPy, CuPy and Dask"):
        relu.backward(other, mask=relu.with_mask(x)[1])


def test_integers_keep_their_dtype():
    x = np.ma.array([-3, 5, 7], "i2", mask=[0, 0, 1], fill_value=-1)
    for y in (relu(x), relu.with_mask(x)[0]):
        assert y.dtype == np.int16
        assert y.tolist() == [0, 5, None]
        assert y.fill_value == -1
    assert softmax(x).dtype == softmax(x.data).dtype
    assert relu.with_mask(x)[1].to_array().tolist() == [False, True, None]


def test_the_names_of_the_recipe_keep_masks():
    x = np.ma.array([[1.0, 2, 1e30], [0, -1, np.nan]], mask=[[0, 0, 1], [0, 0, 1]])
    names = [name for name in crysx.__all__ if not name.endswith("_cupy")]
    for name in names:
        y, alone = getattr(crysx, name)(x), getattr(crysx, name)(x.data[:, :2])
        square = np.ndim(y) == 3
        hidden = x.mask[:, :, None] | x.mask[:, None, :] if square else x.mask
        assert np.array_equal(np.ma.getmaskarray(y), hidden)
        np.testing.assert_allclose(y.data[:, :2, :2] if square else y.data[:, :2], alone, rtol=1e-14)


# Through Dask


HOW = {
    "value": relu,
    "derivative": rectifier.silu.derivative,
    "both": rectifier.silu.value_and_derivative,
    "with_mask": lambda x: relu.with_mask(x)[0],
    "mask": lambda x: relu.with_mask(x)[1].to_array(),
    "count": lambda x: relu.with_mask(x)[1].count(axis=0),
    "vjp": lambda x: relu.vjp(x)[1](np.ones(SHAPE)),
    "vjp of x": lambda x: rectifier.silu.vjp(x)[1](np.ones(SHAPE)),
    "backward": lambda x: relu.backward(x, np.ones(SHAPE)),
    "from y": lambda x: relu.backward(np.ones(SHAPE), y=x),
    "slopes": lambda x: leaky_relu(-np.ones(SHAPE), negative_slope=x),
    "hidden slope": lambda x: leaky_relu(x, negative_slope=np.ma.masked_array(0.5, mask=True)),
    "slopes kept": lambda x: leaky_relu.vjp(-np.ones(SHAPE), negative_slope=x)[1](np.ones(SHAPE)),
    "glu": lambda x: glu(x, x[0]),
    "glu of both": lambda x: glu(masked(5), x),
    "sums": lambda x: swiglu.backward(x, np.ones(SHAPE), np.arange(6.0))[1],
    "sum": lambda x: prelu.backward(x, -np.ones(SHAPE), np.array(0.5))[1],
}
for f, axis in itertools.product(ROWWISE.values(), (0, 1)):
    HOW[f"{f.__name__}-{axis}"] = lambda x, f=f, axis=axis: f(x, axis=axis)
    HOW[f"{f.__name__}-backward-{axis}"] = lambda x, f=f, axis=axis: f.backward(x, masked(3), axis=axis)


def lazily(x, how):
    if how == "from_array":
        return da.from_array(x, chunks=(2, 3))
    if how == "da.ma":
        return da.ma.masked_array(da.from_array(x.data, chunks=(3, 2)), mask=da.from_array(x.mask, chunks=(3, 2)))
    if how == "one chunk of many":  # whose meta says nothing of masks
        parts = [x[:2], np.ma.filled(x[2:], 1)]
        return da.concatenate([blind(part) for part in parts])
    return pickle.loads(pickle.dumps(da.from_array(x, chunks=(2, 3))))  # dask/dask#9238: meta is lost


def blind(part):
    """Make a Dask array of one chunk that says nothing of its type."""
    return da.from_array(np.zeros(part.shape), chunks=part.shape).map_blocks(lambda _: part, meta=np.empty((0, 0)))


def whole(x, how):
    """Give what Dask computes of the same: the chunk that is no masked array hides nothing."""
    if how != "one chunk of many":
        return x
    return np.ma.concatenate([x[:2], np.ma.filled(x[2:], 1)])


@pytest.mark.parametrize("how", ["from_array", "da.ma", "one chunk of many", "pickled"])
@pytest.mark.parametrize("call", HOW)
def test_through_dask_as_in_numpy(call, how):
    x = masked(0)
    expected, lazy = HOW[call](whole(x, how)), HOW[call](lazily(x, how))
    computed = dask.compute(lazy, scheduler="synchronous")[0]
    for one, other in zip(*((r if isinstance(r, tuple) else (r,)) for r in (computed, expected)), strict=True):
        assert isinstance(one, np.ma.MaskedArray) == isinstance(other, np.ma.MaskedArray) or np.ndim(other) == 0
        assert np.array_equal(np.ma.getmaskarray(one), np.ma.getmaskarray(other))
        shown = ~np.ma.getmaskarray(other)
        exact = {"rtol": 1e-12} if "sum" in call else {"rtol": 0}
        np.testing.assert_allclose(np.asarray(one)[shown], np.asarray(other)[shown], **exact)
    for array in lazy if isinstance(lazy, tuple) else (lazy,):
        assert array.dtype == np.asarray(computed[0] if isinstance(computed, tuple) else computed).dtype


def test_all_hidden_sums_through_dask():
    """dask/dask#5339: a chunk of which all is hidden."""
    x = np.ma.array(np.full(SHAPE, -1.0), mask=np.broadcast_to(np.arange(6) < 4, SHAPE))
    for chunks in ((2, 2), (4, 3), (1, 6)):
        lazy = prelu.backward(np.ones(SHAPE), da.from_array(x, chunks=chunks), np.full(6, 0.5))[1]
        assert lazy.compute().tolist() == [None] * 4 + [-4.0] * 2
        total = prelu.backward(np.ones(SHAPE), da.from_array(x, chunks=chunks), np.array(0.5))[1].compute()
        assert total == -8


def test_a_chunked_mask_becomes_one_that_hides_the_same():
    x = masked(0, shape=(5, 7))
    _, expected = relu.with_mask(x)
    for chunks in (2, (5, 7), ((1, 4), (3, 3, 1))):
        y, mask = relu.with_mask(da.from_array(x, chunks=chunks))
        assert type(mask.compute()) is PartialMask
        assert mask.compute() == expected
        assert dask.compute(y, mask.persist())[1] == expected
        assert mask.count().compute() == expected.count()
        dx = relu.backward(da.ones((5, 7), chunks=3), mask=mask)
        assert isinstance(dx._meta, np.ma.MaskedArray)
        assert np.array_equal(dx.compute().mask, x.mask)
    lazy = relu.with_mask(da.from_array(np.ma.masked_array(1.0, mask=True)))[1]
    assert lazy.compute() == relu.with_mask(np.ma.masked)[1]
    with pytest.raises(TypeError, match="take the mask of the Dask array"):
        relu.backward(da.ones((5, 7)), mask=expected)


def test_rows_of_a_slice_through_dask():
    """dask/dask#11296: a slice lost its mask."""
    x = np.ma.array(np.arange(8.0), mask=[0, 0, 1, 0, 0, 1, 0, 1])
    lazy = da.from_array(x, chunks=4)
    assert softmax(lazy[2:7]).compute().mask.tolist() == [True, False, False, True, False]
    np.testing.assert_allclose(softmax(lazy[2:7]).compute().compressed(), exponentials([3.0, 4, 6]), rtol=1e-15)


# Files that come in as masked arrays


def test_netcdf_with_fill_values(tmp_path):
    """The NetCDF User's Guide, ``_FillValue``: the library gives masked arrays, with 9.96921e36 beneath."""
    netCDF4 = pytest.importorskip("netCDF4")
    data = np.ma.array([[1.0, 2, 3], [-1, 0, 1]], "f4", mask=[[0, 0, 1], [1, 0, 0]])
    with netCDF4.Dataset(tmp_path / "x.nc", "w") as file:
        file.createDimension("row", 2)
        file.createDimension("column", 3)
        file.createVariable("x", "f4", ("row", "column"), fill_value=netCDF4.default_fillvals["f4"])[...] = data
    with netCDF4.Dataset(tmp_path / "x.nc") as file:
        x = file["x"][...]
    assert x.data.max() > 1e36
    assert np.array_equal(x.mask, data.mask)
    assert relu(x).tolist() == [[1, 2, None], [None, 0, 1]]
    assert_rows(softmax(x), [exponentials(row) for row in rows_of(data)], rtol=1e-6)
    assert relu.vjp(x)[1](np.ones((2, 3), "f4")).tolist() == [[1, 1, None], [None, 0, 1]]
    assert relu.with_mask(x)[1].count(axis=0).tolist() == [1, 1, 1]
