"""Other libraries' arrays go in and come out as themselves, through a true ufunc."""

from __future__ import annotations

import copy
import itertools
import pickle
import tempfile

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import rectifier
from conftest import BACKENDS, assert_same, numbers, package_of
from rectifier import leaky_relu, relu
from rectifier.catalogue import CATALOGUE, GATES, ROWWISE

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
        with pytest.raises(TypeError, match=r"with_mask: x is a [\w.]+, and masks are for arrays of NumPy"):
            activation.with_mask(array)
        _, mask = activation.with_mask(np.ones(array.shape, "f4"))
        with pytest.raises(TypeError, match=r"backward: dy is a [\w.]+, and masks are for arrays of NumPy"):
            activation.backward(array, mask=mask)


def test_refused_dtypes_of_other_libraries(activation):
    for array in (
        pd.Series([True]), pd.DataFrame({"a": [1.0], "b": [True]}), pd.Series(["a"]),
        pd.Series([True], dtype="boolean"), xr.DataArray([True]), xr.Dataset({"a": ("x", [1j])}),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"x(\['\w'\])? has dtype .*: (use|apply|parse|pass)"):
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
            with pytest.raises(TypeError, match=r"out is for arrays of NumPy and CuPy, and this call has a .*: assign"):
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


class Important(np.ndarray):
    """Keeps a unit, and stands above others."""

    __array_priority__ = 20

    def __array_finalize__(self, obj):
        self.unit = getattr(obj, "unit", "m")


class Old(np.ndarray):
    """Wraps as before NumPy 2."""

    def __array_wrap__(self, array, context=None):
        return np.asarray(array).view(Old)


class Modest(np.ndarray):
    __array_priority__ = -5


class Plain(np.ndarray):
    """Comes out of ufuncs as an ndarray."""

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return array[()] if return_scalar else np.asarray(array)


def as_memmap(x):
    with tempfile.TemporaryFile() as file:
        there = np.memmap(file, x.dtype, "w+", shape=x.shape)
    there[...] = x
    return there


SUBCLASSES = {
    "matrix": lambda x: x.view(np.matrix),
    "memmap": as_memmap,
    "recarray": lambda x: x.view(np.recarray),
    "Labelled": lambda x: x.view(Labelled),
    "Important": lambda x: x.view(Important),
    "Old": lambda x: x.view(Old),
    "Modest": lambda x: x.view(Modest),
    "Plain": lambda x: x.view(Plain),
    "masked": np.ma.asarray,
}


def operations(package, names):
    """List (id, number of operands, call) of all that a function does."""
    for name in names:
        f = getattr(package, name)
        if name in ROWWISE:
            yield f"{name}", 1, f
            yield f"{name}-axis", 1, lambda x, f=f: f(x, axis=0)
            yield f"{name}-vjp", 2, lambda dy, x, f=f: f.vjp(x)[1](dy)
            yield f"{name}-from y", 2, lambda dy, y, f=f: f.backward(dy, y=y)
        elif name in GATES:
            yield f"{name}", 2, f
            yield f"{name}-backward", 3, f.backward
            yield f"{name}-vjp", 3, lambda dy, x, gate, f=f: f.vjp(x, gate)[1](dy)
        else:
            yield f"{name}", 1, f
            yield f"{name}-derivative", 1, f.derivative
            yield f"{name}-both", 1, f.value_and_derivative
            yield f"{name}-backward", 2, f.backward
            yield f"{name}-vjp value", 1, lambda x, f=f: f.vjp(x)[0]
            for parameter in f.spec.parameters:
                yield f"{name}-{parameter}", 2, lambda x, p, f=f, k=parameter: f(x, **{k: p})
        if name in CATALOGUE and "mask" in f.spec.backward_from:
            mask = f.with_mask(np.ones(X.shape, "f4"))[1]
            yield f"{name}-with_mask", 1, lambda x, f=f: f.with_mask(x)[0]
            yield f"{name}-from mask", 1, lambda dy, f=f, mask=mask: f.backward(dy, mask=mask)
            for parameter in f.spec.parameters:
                yield f"{name}-with_mask-{parameter}", 2, lambda x, p, f=f, k=parameter: f.with_mask(x, **{k: p})[0]
        elif name in CATALOGUE:
            yield f"{name}-vjp", 2, lambda dy, x, f=f: f.vjp(x)[1](dy)
        if name in CATALOGUE and "y" in f.spec.backward_from:
            yield f"{name}-from y", 2, lambda dy, y, f=f: f.backward(dy, y=y)


def each(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept")
@pytest.mark.parametrize("subclass", SUBCLASSES)
@pytest.mark.parametrize(
    ("backend", "names"),
    [("llvm", ("relu", "leaky_relu", "prelu", "softmax")), ("numpy", (*CATALOGUE, *GATES, *ROWWISE))],
    ids=BACKENDS,
)
def test_each_operation_gives_the_type_that_a_ufunc_gives(backend, names, subclass):
    plain = [np.abs(np.nan_to_num(numbers(24, np.dtype("f4"), k), posinf=2)).reshape(4, 6) for k in range(3)]
    of_kind, count = [SUBCLASSES[subclass](x) for x in plain], 0
    for name, number, call in operations(BACKENDS[backend], names):
        for chosen in itertools.product([False, True], repeat=number):
            operands = [(own if mine else x) for x, own, mine in zip(plain, of_kind, chosen, strict=False)]
            kind = type(np.frompyfunc(lambda *_: 0, number, 1)(*operands))
            for result, expected in zip(each(call(*operands)), each(call(*plain[:number])), strict=True):
                assert type(result) is kind, (name, chosen)
                assert_same(np.asarray(result), expected)
                assert getattr(result, "unit", "m") == "m"
            count += 1
    assert count > 40


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept")
@pytest.mark.parametrize("pair", list(itertools.permutations([*SUBCLASSES, "ndarray"], 2)), ids="-".join)
def test_of_two_subclasses_the_one_of_the_higher_priority_decides(pair):
    first, second = (SUBCLASSES.get(kind, np.asarray)(np.ones((2, 3))) for kind in pair)
    kind = type(np.add(first, second))
    for package in BACKENDS.values():
        assert type(package.relu.backward(first, second)) is kind
        assert type(package.glu(first, second)) is kind
        assert type(package.softmax.backward(first, y=second)) is kind
        assert type(package.leaky_relu.with_mask(first, negative_slope=second)[0]) is kind
        operands = first, np.ones((2, 3)), second[:, :1]
        for gradient in package.prelu.backward(*operands):
            assert type(gradient) is type(np.frompyfunc(lambda *_: 0, 3, 1)(*operands))


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept")
@pytest.mark.parametrize("subclass", [kind for kind in SUBCLASSES if kind != "matrix"])
def test_without_a_dimension_each_operation_gives_what_a_ufunc_gives(activation, subclass):
    x = SUBCLASSES[subclass](np.ones((2, 2)))[0, 0:1].reshape(())
    dy = np.ones(())
    one, two = type(np.exp(x)), type(np.add(dy, x))
    _, mask = activation.with_mask(np.float64(1))
    assert type(activation(x)) is type(activation.with_mask(x)[0]) is type(activation.vjp(x)[0]) is one
    assert type(activation.backward(x, mask=mask)) is one
    assert type(activation.backward(dy, x)) is two
    package = package_of(activation)
    assert type(package.glu(dy, x)) is two
    assert {type(gradient) for gradient in package.glu.backward(dy, x, dy)} == {two}
    assert type(package.prelu.backward(np.ones(3), np.ones(3), 0.5)[1]) is np.float64


@pytest.mark.parametrize("subclass", SUBCLASSES)
def test_a_given_out_of_a_subclass_comes_back_itself(activation, subclass):
    if subclass in ("Old", "Plain"):
        pytest.skip("it does not give itself back to NumPy's own ufuncs")
    package, x, dy = package_of(activation), X, X[::-1].copy()
    _, mask = activation.with_mask(x)
    finite = np.nan_to_num(x, posinf=9, neginf=-9)
    for call in (
        lambda out: activation(x, out=out),
        lambda out: activation.backward(dy, x, out=out),
        lambda out: activation.backward(dy, mask=mask, out=out),
        lambda out: activation.with_mask(x, out=out)[0],
        lambda out: activation.vjp(x, out=out)[0],
        lambda out: activation.value_and_derivative(x, out=(out, None))[0],
        lambda out: package.softmax(finite, out),
        lambda out: package.softmax.backward(dy, finite, out, axis=0),
        lambda out: package.prelu(x, dy, out),
        lambda out: package.prelu.backward(dy, x, dy, (out, None))[0],
        lambda out: package.prelu.backward(dy, x, 0.5, (out, None))[0],
    ):
        out = SUBCLASSES[subclass](np.full(X.shape, 7, "f4"))
        assert call(out) is out
        assert_same(np.asarray(out), call(None))


def test_a_gradient_of_one_dimension_is_no_matrix():
    ones = np.ones((2, 3)).view(np.matrix)
    dx, slope = rectifier.prelu.backward(ones, -ones, np.ones(3))
    assert type(dx) is np.matrix
    assert type(slope) is np.ndarray
    assert slope.tolist() == [-2, -2, -2]


def test_arrays_that_refuse_ufuncs_are_refused_by_each_call():
    class Refusing(np.ndarray):
        __array_ufunc__ = None

    x = np.ones(3).view(Refusing)
    _, mask = relu.with_mask(np.ones(3))
    calls = {"x": [relu, relu.with_mask, relu.vjp, rectifier.softmax], "dy": [lambda a: relu.backward(a, mask=mask)]}
    calls["gate"] = [lambda a: rectifier.glu(np.ones(3), a), lambda a: rectifier.glu.backward(1.0, np.ones((2, 3)), a)]
    calls["negative_slope"] = [lambda a: leaky_relu(np.ones(3), negative_slope=a)]
    for name, call in ((name, call) for name, those in calls.items() for call in those):
        with pytest.raises(TypeError, match=rf": {name} is a .*Refusing, which refuses ufuncs: pass a view"):
            call(x)


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
        with pytest.raises(TypeError):
            ufunc(np.array([True]))
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_number_does_not_stand_above_a_subclass_of_low_priority(backend):
    package = BACKENDS[backend]
    x = np.array([-1.0, 2.0]).view(Modest)
    for number in (0.5, np.float64(0.5)):
        assert type(np.multiply(x, number)) is Modest
        for result in (
            package.prelu(x, number),
            package.prelu.backward(x, x, number)[0],
            package.leaky_relu(x, negative_slope=number),
            package.leaky_relu.with_mask(x, negative_slope=number)[0],
            package.relu.backward(number, x),
        ):
            assert type(result) is Modest


def test_what_a_librarys_own_ufuncs_refuse_has_the_name_of_the_call():
    sparse = pytest.importorskip("sparse")
    a, b = (sparse.COO.from_numpy(np.arange(n) - 1.0) for n in (3, 4))
    with pytest.raises(ValueError, match=r"^relu\.backward: sparse.*COO refuses it .*convert to NumPy first"):
        relu.backward(a, b)
