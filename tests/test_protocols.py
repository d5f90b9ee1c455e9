"""Other libraries' arrays go in and come out as themselves, through a true ufunc."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from conftest import BACKENDS, assert_same, numbers
from rectifier import leaky_relu, relu

X = numbers(24, np.dtype("f4")).reshape(4, 6)


def calls(activation):
    return {
        "value": (activation, activation(X)),
        "derivative": (activation.derivative, activation.derivative(X)),
        "backward": (lambda x: activation.backward(x, x), activation.backward(X, X)),
        "backward-y": (lambda x: activation.backward(x, y=x), activation.backward(X, X)),
        "vjp": (lambda x: activation.vjp(x)[1](x), activation.backward(X, X)),
        "both-0": (lambda x: activation.value_and_derivative(x)[0], activation(X)),
        "both-1": (lambda x: activation.value_and_derivative(x)[1], activation.derivative(X)),
    }


@pytest.mark.parametrize("call", calls(relu))
def test_pandas(activation, call):
    function, expected = calls(activation)[call]
    frame = pd.DataFrame(X, columns=list("abcdef"), index=list("wxyz"))
    result = function(frame)
    assert type(result) is pd.DataFrame
    assert result.columns.equals(frame.columns)
    assert result.index.equals(frame.index)
    assert_same(result.to_numpy(), expected)
    series = function(frame["b"])
    assert type(series) is pd.Series
    assert series.name == "b"
    assert_same(series.to_numpy(), expected[:, 1])


@pytest.mark.parametrize("call", calls(relu))
def test_xarray(activation, call):
    function, expected = calls(activation)[call]
    array = xr.DataArray(X, dims=("sample", "unit"), coords={"unit": list("abcdef")}, name="x")
    result = function(array)
    assert type(result) is xr.DataArray
    assert result.dims == array.dims
    assert list(result.coords["unit"].values) == list("abcdef")
    assert_same(result.to_numpy(), expected)
    dataset = function(xr.Dataset({"x": array}))
    assert_same(dataset["x"].to_numpy(), expected)


def test_masks_are_for_numpy_arrays(activation):
    for array in (pd.Series(X[0]), xr.DataArray(X)):
        with pytest.raises(TypeError, match=r"with_mask: x is a \w+; masks are for NumPy arrays"):
            activation.with_mask(array)
        _, mask = activation.with_mask(np.ones(array.shape, "f4"))
        with pytest.raises(TypeError, match=r"backward: dy is a \w+; masks are for NumPy arrays"):
            activation.backward(array, mask=mask)


def test_refused_dtypes_of_other_libraries(activation):
    for array in (
        pd.Series([True]), pd.DataFrame({"a": [1.0], "b": [True]}), pd.Series(["a"]),
        pd.Series([True], dtype="boolean"), xr.DataArray([True]), xr.Dataset({"a": ("x", [1j])}),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"x has dtype .*: (use|apply|parse|pass)"):
            activation(array)


def test_mixed_frames_keep_the_dtype_of_each_column():
    frame = pd.DataFrame({"a": np.array([0.5, -1], "f4"), "b": [2**53 + 1, -1], "c": np.array([1, -1], "i1")})
    for package in BACKENDS.values():
        for _ in range(2):
            y = package.relu(frame)
            assert y.dtypes.tolist() == frame.dtypes.tolist()
            assert y["b"].tolist() == [2**53 + 1, 0]


def test_slopes_do_not_promote_other_libraries_arrays():
    for slope in (0.1, np.float64(0.1), np.full(6, 0.1), [0.1] * 6):
        for array in (pd.Series(X[0]), xr.DataArray(X[0])):
            y = leaky_relu(array, negative_slope=slope)
            assert y.dtype == np.float32
            assert_same(np.asarray(y), leaky_relu(X[0], negative_slope=slope))


def test_out_is_for_numpy_arrays(activation):
    for array in (pd.Series(X[0]), xr.DataArray(X[0])):
        out = np.full(6, 7, "f4")
        for call in (
            lambda array, out: activation(array, out=out),
            lambda array, out: activation.backward(array, array, out=out),
            lambda array, out: activation.value_and_derivative(array, out=(out, out.copy())),
            lambda array, out: activation.vjp(array, out=out),
        ):
            with pytest.raises(TypeError, match=r"out is for NumPy arrays, and this call has a .*: assign the result"):
                call(array, out)
        assert (out == 7).all()
    with pytest.raises(TypeError, match=r"out is a pandas\.\S*Series; it takes a numpy.ndarray of shape"):
        activation(X[0], out=pd.Series(X[0]))


def test_arrays_that_refuse_ufuncs_get_a_word_of_advice(activation):
    class Stubborn:
        dtype = np.dtype("f4")

        def __array_ufunc__(self, *arguments, **keywords):
            return NotImplemented

    with pytest.raises(TypeError, match=r"Stubborn refuses it .*convert to NumPy first"):
        activation(Stubborn())


class Labelled(np.ndarray):
    pass


def test_subclasses_come_out_as_themselves(activation):
    x = X.view(Labelled)
    for result in (
        activation(x), activation.derivative(x), activation.backward(x, x), *activation.value_and_derivative(x),
        activation.with_mask(x)[0], activation.backward(x, mask=activation.with_mask(x)[1]),
    ):  # fmt: skip
        assert type(result) is Labelled
    assert_same(np.asarray(activation.with_mask(x)[0]), activation(X))
    zero_d = X[0, 0].reshape(()).view(Labelled)
    assert type(activation.with_mask(zero_d)[0]) is type(activation(zero_d))


def test_masked_arrays_keep_their_mask(activation):
    x = np.ma.masked_less(X, -1)
    y = activation(x)
    assert isinstance(y, np.ma.MaskedArray)
    assert np.array_equal(y.mask, x.mask)


def test_a_memmap_is_an_array(activation, tmp_path):
    x = np.memmap(tmp_path / "x", "f4", "w+", shape=X.shape)
    x[...] = X
    assert_same(activation(x), activation(X))
    assert type(activation.with_mask(x)[0]) is type(activation(x))
    activation(x, out=x)
    assert_same(np.fromfile(tmp_path / "x", "f4").reshape(X.shape), activation(X))


def test_ufunc_is_a_true_ufunc():
    x = np.array([-1.0, 2.0, -3.0])
    for package in BACKENDS.values():
        ufunc = package.relu.ufunc
        assert type(ufunc) is np.ufunc
        assert ufunc.nin == ufunc.nout == 1
        out = np.full(3, 7.0)
        assert ufunc(x, where=[True, False, True], out=out) is out
        assert out.tolist() == [0, 7, 0]
        y = x.copy()
        ufunc.at(y, [0, 1])
        assert y.tolist() == [0, 2, -3]
        assert ufunc(x, dtype="f4").dtype == np.float32
        assert ufunc(np.array([True])).dtype == np.int8  # as np.square
        with pytest.raises(TypeError):
            ufunc(x, casting="no", dtype="f4")
        assert package.relu.backward.ufunc.outer(x, x).shape == (3, 3)
        assert package.leaky_relu.ufunc(x, 0.5).tolist() == [-0.5, 2, -1.5]
        assert package.relu.value_and_derivative.ufunc.nout == 2


def test_reduce_and_accumulate_feed_each_result_to_the_next():
    x = np.random.default_rng(0).uniform(-1.5, -0.5, (300, 3)).astype("f4")
    x[:, 0] *= np.where(np.arange(300) < 200, -1, 1)  # with positive numbers the first is passed on
    for package in BACKENDS.values():
        for ufunc in (package.relu.backward.ufunc, package.leaky_relu.ufunc):
            expected = [x[0]]
            for row in x[1:]:
                expected.append(ufunc(expected[-1], row))
            for array, rows in (
                (x, expected),
                (np.asfortranarray(x), expected),
                (x[:, 0], [row[0] for row in expected]),
            ):
                assert_same(ufunc.accumulate(array), np.array(rows))
                assert_same(ufunc.reduce(array), np.array(rows[-1]))


def test_ufuncs_have_names_of_their_own():
    names = [relu.ufunc, relu.derivative.ufunc, relu.backward.ufunc, relu.value_and_derivative.ufunc]
    assert [ufunc.__name__ for ufunc in names] == [
        "relu.ufunc", "relu.derivative.ufunc", "relu.backward.ufunc", "relu.value_and_derivative.ufunc",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_everything_pickles_by_name(name):
    activation = {"relu": relu, "leaky_relu": leaky_relu}[name]
    for thing in (
        activation, activation.derivative, activation.backward, activation.with_mask, activation.vjp,
        activation.value_and_derivative, activation.ufunc, activation.derivative.ufunc, activation.backward.ufunc,
    ):  # fmt: skip
        assert pickle.loads(pickle.dumps(thing)) is thing
        assert copy.deepcopy(thing) is thing
    _, pullback = activation.vjp(X)
    assert_same(pickle.loads(pickle.dumps(pullback))(X), pullback(X))


def test_public_names_are_plain_functions():
    assert type(relu).__name__ == "function"
    assert relu.__module__ == "rectifier"
    assert relu.backward.__qualname__ == "relu.backward"
