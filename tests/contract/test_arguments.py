"""Wrong arguments: an error that names the argument, what came and what is wanted, before a byte is written."""

from __future__ import annotations

import itertools
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import BACKENDS, INTEGERS, numbers
from rectifier import leaky_relu, prelu, relu, softmax
from rectifier.functions.arguments import broadcast

X = np.array([[-1.0, 2.0, 3.0], [4.0, -5.0, 6.0]], "f4")


def calls_with_out(activation):
    _, mask = activation.with_mask(X)
    return {
        "value": lambda out: activation(X, out=out),
        "derivative": lambda out: activation.derivative(X, out=out),
        "backward": lambda out: activation.backward(X, X, out=out),
        "backward-y": lambda out: activation.backward(X, y=X, out=out),
        "backward-mask": lambda out: activation.backward(X, mask=mask, out=out),
        "with_mask": lambda out: activation.with_mask(X, out=out),
        "vjp": lambda out: activation.vjp(X, out=out),
    }


def read_only(a):
    a.flags.writeable = False
    return a


WRONG_OUT = {
    "shape": (np.full((3, 2), 7, "f4"), ValueError, r"out has shape \(3, 2\); the result has \(2, 3\)"),
    "larger": (np.full((1, 2, 3), 7, "f4"), ValueError, r"out has shape \(1, 2, 3\)"),
    "broadcast": (np.full((4, 2, 3), 7, "f4"), ValueError, r"out has shape \(4, 2, 3\)"),
    "smaller": (np.full(3, 7, "f4"), ValueError, r"out has shape \(3,\)"),
    "wider": (np.full((2, 3), 7, "f8"), TypeError, r"out has dtype float64; the result has float32"),
    "narrower": (np.full((2, 3), 7, "f2"), TypeError, r"out has dtype float16"),
    "integer": (np.full((2, 3), 7, "i4"), TypeError, r"out has dtype int32"),
    "swapped": (np.full((2, 3), 7, ">f8"), TypeError, r"out has dtype >f8; the result has float32"),
    "read-only": (read_only(np.full((2, 3), 7, "f4")), ValueError, r"out is read-only"),
    "list": (
        [[7.0] * 3] * 2,
        TypeError,
        r"out is a list; it takes a numpy.ndarray of shape \(2, 3\) and dtype float32",
    ),
    "number": (0.2, TypeError, r"out is a float; .*passed by keyword"),
    "two": ((np.full((2, 3), 7, "f4"),) * 2, ValueError, r"out has 2 arrays; it takes 1"),
}


@pytest.mark.parametrize("wrong", WRONG_OUT)
@pytest.mark.parametrize("call", ["value", "derivative", "backward", "backward-y", "backward-mask", "with_mask", "vjp"])
def test_wrong_out(activation, call, wrong):
    out, error, message = WRONG_OUT[wrong]
    with pytest.raises(error, match=f"{activation.spec.name}.*: {message}"):
        calls_with_out(activation)[call](out)
    for array in out if isinstance(out, tuple) else (out,):
        assert np.all(np.asarray(array) == (0.2 if wrong == "number" else 7))


def test_wrong_out_of_two_results(activation):
    good, bad = np.full((2, 3), 7, "f4"), np.full((2, 3), 7, "f8")
    call = activation.value_and_derivative
    with pytest.raises(TypeError, match=r"out is a ndarray; it takes a tuple of arrays for \(y, d\)"):
        call(X, out=good)
    with pytest.raises(ValueError, match=r"out has 1 arrays; it takes 2"):
        call(X, out=(good,))
    with pytest.raises(TypeError, match=r"out has dtype float64"):
        call(X, out=(good, bad))
    with pytest.raises(ValueError, match=r"share memory"):
        call(X, out=(good, good))
    room = np.full((3, 3), 7, "f4")
    with pytest.raises(ValueError, match=r"share memory"):
        call(X, out=(room[:2], room[1:]))
    assert (good == 7).all()
    assert (bad == 7).all()
    assert (room == 7).all()
    columns = np.empty((2, 3, 2), "f4")
    y, d = call(X, out=(columns[..., 0], columns[..., 1]))
    assert np.array_equal(y, activation(X))
    assert np.array_equal(d, activation.derivative(X))
    y, d = call(X, out=(None, good))
    assert d is good
    assert np.array_equal(y, activation(X))


def test_a_tuple_of_one_is_an_out_as_in_numpy(activation):
    for call in calls_with_out(activation).values():
        out = np.empty((2, 3), "f4")
        result = call((out,))
        assert (result[0] if isinstance(result, tuple) else result) is out


def test_shapes_that_do_not_broadcast(activation):
    with pytest.raises(ValueError, match=r"backward: shapes do not broadcast: dy \(2, 3\), x \(4,\)"):
        activation.backward(X, np.ones(4, "f4"))
    with pytest.raises(ValueError, match=r"backward: shapes do not broadcast: dy \(2, 3\), y \(4,\)"):
        activation.backward(X, y=np.ones(4, "f4"))
    for name in activation.spec.parameters:
        slopes = {name: np.ones(4, "f4")}
        for call in (activation, activation.derivative, activation.with_mask, activation.value_and_derivative):
            with pytest.raises(ValueError, match=rf"shapes do not broadcast: x \(2, 3\), {name} \(4,\)"):
                call(X, **slopes)


def test_shapes_that_broadcast(activation):
    for dy, x in ((X, X[:1]), (X[:1], X), (X[:, :1], X[:1]), (np.float32(2), X), (2.0, X)):
        expected = activation.backward(*(np.ascontiguousarray(a) for a in np.broadcast_arrays(np.asarray(dy, "f4"), x)))
        assert np.array_equal(activation.backward(dy, x), expected)
    _, mask = activation.with_mask(X)
    assert np.array_equal(activation.backward(X[:1], mask=mask), activation.backward(X[:1], X))
    assert np.array_equal(activation.backward(2, mask=mask), activation.backward(np.full(X.shape, 2), X.astype(int)))


def test_mask_of_another_shape_function_or_setting():
    for package in BACKENDS.values():
        relu, leaky_relu = package.relu, package.leaky_relu
        mask, leaky = relu.with_mask(X)[1], leaky_relu.with_mask(X, negative_slope=0.2)[1]
        with pytest.raises(ValueError, match=r"dy has shape \(3, 2\), the mask \(2, 3\)"):
            relu.backward(X.T, mask=mask)
        with pytest.raises(ValueError, match=r"dy has shape \(4, 2, 3\), the mask \(2, 3\)"):
            relu.backward(np.ones((4, 2, 3)), mask=mask)
        with pytest.raises(
            ValueError, match=r"this call is leaky_relu\(negative_slope=0.01\), the mask was made by relu"
        ):
            leaky_relu.backward(X, mask=mask)
        with pytest.raises(
            ValueError, match=r"negative_slope=0.01\), the mask was made by leaky_relu\(negative_slope=0.2"
        ):
            leaky_relu.backward(X, mask=leaky)
        with pytest.raises(ValueError, match=r"the mask was made by leaky_relu"):
            relu.backward(X, mask=leaky)
        with pytest.raises(TypeError, match=r"mask is a ndarray; it takes what relu.with_mask returned"):
            relu.backward(X, mask=X > 0)


def test_backward_wants_one_source(activation):
    _, mask = activation.with_mask(X)
    for sources in (
        {},
        {"x": X, "y": X},
        {"x": X, "mask": mask},
        {"y": X, "mask": mask},
        {"x": X, "y": X, "mask": mask},
    ):
        with pytest.raises(TypeError, match="backward takes dy and one of x, y, mask"):
            activation.backward(X, **sources)


@pytest.mark.parametrize("slope", [-0.5, np.array([0.5, -0.5, 1.0], "f4"), np.nan])
def test_y_is_refused_where_it_does_not_determine_the_derivative(slope):
    for package in BACKENDS.values():
        with pytest.raises(
            ValueError, match=r"y determines the derivative only where negative_slope >= 0.*pass x= or mask="
        ):
            package.leaky_relu.backward(X, y=X, negative_slope=slope)


def test_unknown_parameters_and_missing_x(activation):
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'slope'"):
        activation(X, slope=1)
    with pytest.raises(TypeError, match=r"x has dtype object"):
        activation(None)
    with pytest.raises(ValueError, match=r"x is no array"):
        activation([[1.0], [1.0, 2.0]])


def test_advice_on_a_dtype_without_a_row(activation):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype, advice in (
        (ml_dtypes.int4, r"use x.astype\(np.int8\)"),
        (ml_dtypes.uint2, r"use x.astype\(np.uint8\)"),
        (ml_dtypes.float8_e8m0fnu, r"use x.astype\(np.float32\)"),
        ("g", r"use x.astype\(np.float64\)"),
        ("D", r"apply it to x.real and x.imag"),
        ([("a", "f4")], r"apply it to each field, as to x\['a'\]"),
        ("V4", r"view it as numbers first, as by x.view\(np.float32\)"),
    ):
        x = np.zeros(2, dtype)
        with pytest.raises(TypeError, match=rf"x has dtype .*; it takes integers and float16 to float64: {advice}"):
            activation(x)


def test_things_in_which_numpy_sees_no_numbers(activation):
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.csr_array(np.array([[-1.0, 0.0, 2.0]]))
    for thing in (x, sparse.csc_matrix(x), sparse.coo_array(x)):
        with pytest.raises(TypeError, match=r"x is a scipy\S+, .*: use x.toarray\(\), or .* stores, x.data"):
            activation(thing)
        with pytest.raises(TypeError, match=r"softmax: x is a scipy\S+, .*: use x.toarray\(\)"):
            softmax(thing)
    with pytest.raises(TypeError, match=r"use x.toarray\(\)$"):  # its data are lists
        activation(x.tolil())
    for thing in ({}, {1.0}, None, object()):
        with pytest.raises(TypeError, match=r"x has dtype object, as NumPy sees no numbers in a \w+; pass an array"):
            activation(thing)


def test_sparse_arrays_with_a_ufunc_of_their_own():
    sparse = pytest.importorskip("sparse")
    x, slopes = (sparse.COO.from_numpy(np.array([-1.0, 0.0, 2.0], dtype)) for dtype in ("f4", "f8"))
    y = leaky_relu(x, negative_slope=slopes)  # parameters adapt to x, gates are its equals
    assert (type(y), y.dtype) == (sparse.COO, np.float32)
    assert y.todense().tolist() == [1, 0, 2]
    assert prelu(x, slopes).dtype == np.float64
    assert prelu(x, np.ones(3)).dtype == np.float64
    with pytest.raises(TypeError, match=r"softmax takes NumPy arrays, and x is a sparse\S+; .* by x.todense\(\)"):
        softmax(x)


def test_advice_on_tensors():
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of these are experimental, others deprecated
        x = torch.tensor([1.0, 0.0])
        cases = [
            (torch.tensor([1j], dtype=torch.complex32), r"torch.complex32; .*: apply it to x.real and x.imag"),
            (torch.tensor([True]), r"torch.bool; .*: use x.to\(torch.uint8\)"),
            (x.to(torch.float8_e4m3fn), r"torch.float8_e4m3fn; .*: use x.to\(torch.float32\)"),
            (torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), r"torch.qint8; .*: use x.dequantize\(\)"),
            (x.to_sparse(), r"x is a torch.sparse_coo tensor; .*: use x.to_dense\(\)"),
            (torch.eye(2).to_sparse_csr(), r"x is a torch.sparse_csr tensor; .*: use x.to_dense\(\)"),
            (torch.nested.nested_tensor([x, x[:1]]), r"x is a nested tensor; .*: use each tensor of x.unbind\(\)"),
        ]
    for x, message in cases:
        for call in (relu, softmax):
            with pytest.raises(TypeError, match=message):
                call(x)


def test_no_temporary_of_the_size_of_the_array(activation):
    import tracemalloc

    x = numbers(1 << 20, np.dtype("f4"))
    _, mask = activation.with_mask(x)
    out, other = np.empty_like(x), np.empty_like(x)
    fortran = np.asfortranarray(x.reshape(1024, 1024))
    calls = [
        lambda: activation(x, out=out),
        lambda: activation.derivative(x, out=out),
        lambda: activation.backward(x, x, out=out),
        lambda: activation.backward(x, y=x, out=out),
        lambda: activation.backward(x, mask=mask, out=out),
        lambda: activation.backward(out, mask=mask, out=out),
        lambda: activation.with_mask(x, out=out),
        lambda: activation.with_mask(out, out=out),
        lambda: activation.value_and_derivative(x, out=(out, other)),
        lambda: activation(x[::2], out=out[::2]),
        lambda: activation.with_mask(x[::2], out=out[::2]),
        lambda: activation.with_mask(fortran, out=out.reshape(1024, 1024)),
        lambda: activation(x.view(">f4"), out=out),
    ]
    for call in calls:
        call()
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < x.nbytes / 4


@pytest.mark.parametrize("name", INTEGERS)
def test_a_parameter_beyond_the_integers_of_x_makes_floats(name):
    """As a float, the largest int64 is 2**63, which int64 does not hold."""
    info = np.iinfo(name)
    x = np.array([0, 1, 2], name)
    floats = np.exp.resolve_dtypes((np.dtype(name), None))[0]
    for package, kind in itertools.product(BACKENDS.values(), (float, np.float64, int)):
        for edge in (info.min - 1, info.min, info.max, info.max + 1):
            if kind is int and not -(2**63) <= edge < 2**64:  # an object to NumPy
                continue
            number = kind(edge)
            call, parameters = (
                (package.hard_tanh, {"min_value": 0, "max_value": number})
                if edge > 0
                else (package.thresholded_relu, {"threshold": number})
            )
            for result in (call(x, **parameters), call.with_mask(x, **parameters)[0], call.vjp(x, **parameters)[0]):
                assert result.dtype == (name if info.min <= int(number) <= info.max else floats), number
                assert result.tolist() == [0, 1, 2]
        for number in (np.nan, np.inf, -np.inf, 2.5, np.float16(np.inf), np.float16(2.5)):
            assert package.thresholded_relu(x, threshold=number).dtype == floats
        for number in (2.0, np.float16(2), np.float32(2), np.array(2.0)):
            assert package.thresholded_relu(x, threshold=number).dtype == name


@pytest.mark.parametrize(
    ("shapes", "whole"),
    [
        ([(), (2, 1), (3,)], (2, 3)),
        ([(1, 0), (5, 1)], (5, 0)),
        ([(math.nan,), (1,)], (math.nan,)),
        ([(math.nan, 1), (1, math.nan)], (math.nan, math.nan)),
        ([(math.nan,), (4,)], (4,)),
        ([(1,) * 50, (2,)], (1,) * 49 + (2,)),
    ],
)
def test_shapes_broadcast(shapes, whole):
    operands = {str(k): SimpleNamespace(shape=shape) for k, shape in enumerate(shapes)}
    found = broadcast("f", operands)
    assert np.array_equal(found, whole, equal_nan=True)
    if not np.isnan(sum(shapes, ())).any() and len(whole) <= 32:
        assert found == np.broadcast_shapes(*shapes)
    with pytest.raises(ValueError, match=r"f: shapes do not broadcast: 0 .*, wrong \(7, 7\)"):
        broadcast("f", {**operands, "wrong": SimpleNamespace(shape=(7, 7)), "other": SimpleNamespace(shape=(2, 2))})
