"""Tables and labelled arrays: pandas, Polars, PyArrow and xarray come out as themselves.

The numbers that are expected are Python's own, of `math` and of lists.
"""

from __future__ import annotations

import math
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from rectifier import elu, glu, hard_tanh, leaky_relu, log_softmax, prelu, relu, sigmoid, softmax

NAN = math.nan
V = [-1.0, 2.0, None, 0.5]


def expected_softmax(row, logarithm=False):
    """Give the softmax of the numbers of a list, None where it has none."""
    total = math.fsum(math.exp(v) for v in row if v is not None)
    one = (lambda v: v - math.log(total)) if logarithm else (lambda v: math.exp(v) / total)
    return [None if v is None else one(v) for v in row]


def expected_softmax_gradient(dy, row):
    y = expected_softmax(row)
    total = math.fsum(a * b for a, b in zip(dy, y, strict=True) if b is not None and a is not None)
    return [None if b is None or a is None else b * (a - total) for a, b in zip(dy, y, strict=True)]


def elu_of(v, alpha):
    return v if v > 0 else alpha * math.expm1(v)


def assert_numbers(actual, expected, tolerance=1e-6):
    """Compare lists in which None is a null and NaN is NaN."""
    actual = [None if v is None or v is pd.NA else float(v) for v in actual]
    assert [v is None for v in actual] == [v is None for v in expected]
    for a, e in zip(actual, expected, strict=True):
        if e is not None:
            assert a == pytest.approx(e, rel=tolerance, abs=1e-12, nan_ok=True)


def listed(array):
    """Give the numbers of an array of one dimension as a list."""
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(array, method):
            return getattr(array, method)()
    raise AssertionError(type(array))


def pandas_series(dtype):
    return lambda values: pd.Series(values, dtype=dtype, name="s", index=list("abcd")[: len(values)])


def polars_series(values):
    polars = pytest.importorskip("polars")
    return polars.Series("s", values, dtype=polars.Float32)


def arrow_array(values):
    arrow = pytest.importorskip("pyarrow")
    return arrow.array(values, arrow.float32())


def arrow_chunks(values):
    arrow = pytest.importorskip("pyarrow")
    return arrow.chunked_array([values[:1], values[1:]], arrow.float64())


def arrow_series(dtype):
    def make(values):
        pytest.importorskip("pyarrow")
        return pandas_series(dtype)(values)

    return make


# Arrays of one dimension that can lack a number: https://pandas.pydata.org/docs/user_guide/missing_data.html,
# https://docs.pola.rs/user-guide/expressions/missing-data, https://arrow.apache.org/docs/format/Columnar.html
NULLABLE = {
    "Float32": pandas_series("Float32"),
    "Float64": pandas_series("Float64"),
    "float[pyarrow]": arrow_series("float[pyarrow]"),
    "double[pyarrow]": arrow_series("double[pyarrow]"),
    "extension array": lambda values: pd.array(values, dtype="Float64"),
    "polars": polars_series,
    "pyarrow": arrow_array,
    "chunked": arrow_chunks,
}


def kind_of(array):
    return type(array), getattr(array, "dtype", None) or array.type


@pytest.mark.parametrize("kind", NULLABLE)
def test_nulls_stay_and_count_nothing(kind):
    # pandas-dev/pandas#40630 and #56472: functions over such a Series fail, or see objects
    # pola-rs/polars#14811: a function over a row gets whatever lies under a null
    x = NULLABLE[kind](V)
    slopes = NULLABLE[kind]([0.5, 0.5, 0.5, None])
    dy = NULLABLE[kind]([3.0, None, 1.0, -2.0])
    calls = {
        "relu": (relu(x), [0.0, 2.0, None, 0.5]),
        "parameter": (leaky_relu(x, negative_slope=0.25), [-0.25, 2.0, None, 0.5]),
        "smooth with a parameter": (elu(x, alpha=2.0), [elu_of(-1.0, 2.0), 2.0, None, 0.5]),
        "array of parameters": (leaky_relu(x, negative_slope=np.array([0.5, 0, 0, 0])), [-0.5, 2.0, None, 0.5]),
        "nullable parameters": (leaky_relu(x, negative_slope=slopes), [-0.5, 2.0, None, None]),
        "derivative": (leaky_relu.derivative(x, negative_slope=0.25), [0.25, 1.0, None, 1.0]),
        "both": (leaky_relu.value_and_derivative(x, negative_slope=0.25)[1], [0.25, 1.0, None, 1.0]),
        "backward": (leaky_relu.backward(dy, x, negative_slope=0.5), [1.5, None, None, -2.0]),
        "backward from y": (relu.backward(dy, y=x), [0.0, None, None, -2.0]),
        "vjp": (relu.vjp(x)[1](dy), [0.0, None, None, -2.0]),
        "gated": (glu(x, x), [v and v / (1 + math.exp(-v)) for v in V]),
        "prelu": (prelu(x, slopes), [-0.5, 2.0, None, None]),
        "softmax": (softmax(x), expected_softmax(V)),
        "softmax, axis 0": (softmax(x, axis=0), expected_softmax(V)),
        "log_softmax": (log_softmax(x), expected_softmax(V, logarithm=True)),
        "softmax.backward": (softmax.backward(dy, x), expected_softmax_gradient([3.0, None, 1.0, -2.0], V)),
    }
    for name, (result, expected) in calls.items():
        assert kind_of(result) == kind_of(x), name
        assert_numbers(listed(result), expected)
    gradients = prelu.backward(dy, x, slopes)
    assert_numbers(listed(gradients[0]), [1.5, None, None, None])
    assert_numbers(listed(gradients[1]), [-3.0, None, None, None])


@pytest.mark.parametrize("kind", NULLABLE)
def test_the_gradient_of_one_slope_is_summed_over_what_is_there(kind):
    dx, dslope = prelu.backward(NULLABLE[kind]([4.0, 1.0, 1.0, None]), NULLABLE[kind]([-1.0, -3.0, None, -7.0]), 0.5)
    assert_numbers(listed(dx), [2.0, 0.5, None, None])
    assert float(dslope) == -4.0 - 3.0
    dx, dgate = glu.backward(NULLABLE[kind]([4.0, 1.0, None]), 2.0, NULLABLE[kind]([0.0, None, 1.0]))
    assert float(dx) == 2.0
    assert_numbers(listed(dgate), [2.0, None, None])


@pytest.mark.parametrize("kind", NULLABLE)
def test_a_row_of_nulls_alone_stays_so(kind):
    assert_numbers(listed(softmax(NULLABLE[kind]([None, None]))), [None, None])
    assert_numbers(listed(log_softmax.backward(NULLABLE[kind]([None, 1.0]), NULLABLE[kind]([1.0, None]))), [None, None])


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "chunked"])
def test_nan_is_no_null(kind):
    # apache/arrow#7540: NumPy has no nulls, so `to_numpy` makes NaN of them; here one stays the other's opposite
    assert_numbers(listed(relu(NULLABLE[kind]([NAN, None, -1.0]))), [NAN, None, 0.0])
    assert_numbers(listed(softmax(NULLABLE[kind]([NAN, None, 1.0]))), [NAN, None, NAN])


def test_nullable_integers():
    big = 2**53 + 1
    x = pd.Series([big, -1, None], dtype="Int64")
    assert relu(x).dtype == "Int64"
    assert relu(x).tolist() == [big, 0, pd.NA]
    assert relu.backward(x, x).tolist() == [big, 0, pd.NA]
    assert hard_tanh(x, min_value=0, max_value=big - 2).dtype == "Int64"
    assert hard_tanh(x, min_value=0, max_value=big - 2).tolist() == [big - 2, 0, pd.NA]
    assert leaky_relu(x, negative_slope=0.5).dtype == "Float64"
    y = softmax(pd.Series([0, 1, None], dtype="Int32"))
    assert y.dtype == "Float64"
    assert_numbers(y, expected_softmax([0.0, 1.0, None]))
    y = sigmoid(pd.Series([0, None], dtype="Int8"))  # float16 to NumPy, of which pandas has no nullable kind
    assert y.dtype == "Float32"
    assert_numbers(y, [0.5, None])


def test_integers_of_arrow_and_polars_stay_exact():
    arrow, polars = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    big = 2**53 + 1
    series = relu(pd.Series([big, -1, None], dtype="int64[pyarrow]"))
    assert series.dtype == "int64[pyarrow]"
    assert series.tolist() == [big, 0, pd.NA]
    assert relu(arrow.array([big, -1, None])).to_pylist() == [big, 0, None]
    assert relu(polars.Series([big, -1, None])).to_list() == [big, 0, None]


def test_sparse_series_stay_sparse():
    # https://pandas.pydata.org/docs/user_guide/sparse.html: what is not stored is the fill value, of which f is taken
    x = pd.Series(pd.arrays.SparseArray([-1.0, 0.0, 2.0, 0.0], fill_value=0.0), name="s")
    cases = [
        (relu(x), 0.0, [0, 0, 2, 0]),
        (leaky_relu(x, negative_slope=0.5), 0.0, [-0.5, 0, 2, 0]),
        (sigmoid(x), 0.5, [1 / (1 + math.e), 0.5, 1 / (1 + math.exp(-2)), 0.5]),
        (elu.derivative(x, alpha=2.0), 2.0, [2 * math.exp(-1), 2, 1, 2]),
        (relu.backward(x, x), 0.0, [0, 0, 2, 0]),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for y, fill, values in cases:
            assert y.dtype == pd.SparseDtype("float64", fill)
            assert y.array.sp_index.npoints == 2
            assert y.name == "s"
            assert_numbers(y.tolist(), values)
    other = pd.Series(pd.arrays.SparseArray([-1.0, 5.0, -1.0, -1.0], fill_value=-1.0))
    y = leaky_relu(other, negative_slope=0.5)
    assert y.dtype == pd.SparseDtype("float64", -0.5)
    assert y.tolist() == [-0.5, 5.0, -0.5, -0.5]
    assert relu.backward(other, x).tolist() == [0, 0, -1, 0]
    assert relu.backward(other, x).dtype.subtype == np.float64
    assert_numbers(softmax(x).tolist(), expected_softmax([-1.0, 0.0, 2.0, 0.0]))
    assert_numbers(leaky_relu(x, negative_slope=np.array([3.0, 1, 1, 1])).tolist(), [-3, 0, 2, 0])


def test_missing_labels_are_missing():
    # pandas-dev/pandas#54416: labels of two Series meet as those of pandas' own operators
    dy = pd.Series([1.0, 2.0, 4.0], index=["c", "b", "a"], name="g")
    x = pd.Series([3.0, -1.0, 5.0], index=["b", "c", "d"], name="x")
    dx = relu.backward(dy, x)
    assert dx.index.tolist() == np.add(dy, x).index.tolist() == ["a", "b", "c", "d"]
    assert dx.name is None
    assert_numbers(dx, [NAN, 2.0, 0.0, NAN])
    y = leaky_relu(pd.Series([-1.0, -2.0], index=["a", "b"]), negative_slope=pd.Series([0.5, 0.25], index=["b", "a"]))
    assert y.to_dict() == {"a": -0.25, "b": -1.0}
    frame = pd.DataFrame({"a": [-1.0, 2.0], "b": [-3.0, 4.0]})
    assert prelu(frame, frame[["b", "a"]]).to_dict("list") == {"a": [1.0, 2.0], "b": [9.0, 4.0]}


def test_what_cannot_meet_by_labels_is_refused():
    x = pd.Series([1.0, -2.0], index=["a", "b"])
    turned = x[::-1]
    with pytest.raises(
        ValueError, match=r"labels of dy and x differ, and negative_slope has none by which to meet them"
    ):
        leaky_relu.backward(x, turned, negative_slope=np.ones(2))
    for call in (softmax.backward, lambda dy, y: softmax.backward(dy, y=y), lambda dy, x: glu.backward(dy, x, x)):
        with pytest.raises(ValueError, match=r"the labels of dy and (x|y) differ; align them first"):
            call(turned, x)
    with pytest.raises(TypeError, match="a Series may be a row or a column"):
        leaky_relu(pd.DataFrame({"a": [1.0]}), negative_slope=x)
    with pytest.raises(ValueError, match=r"no labels: x \(2, 2\), negative_slope \(2,\)"):
        leaky_relu(np.ones((2, 2)), negative_slope=x)
    with pytest.raises(TypeError, match=r"x is a pandas\S*Series and gate a xarray\S*DataArray, which have no labels"):
        glu(x, xr.DataArray([1.0, 2.0]))


def test_frames_keep_the_dtype_and_kind_of_each_column():
    frame = pd.DataFrame(
        {
            "a": np.array([-1, 2], "f4"),
            "b": np.array([-1, 2], "f8"),
            "c": pd.array([-1, None], dtype="Float32"),
            "d": np.array([-1, 2], "i8"),
        },
        index=["u", "v"],
    )
    frame.attrs["source"] = "sensor"
    y = elu(frame, alpha=2.0)
    assert [str(dtype) for dtype in y.dtypes] == ["float32", "float64", "Float32", "float64"]
    assert y.attrs == {"source": "sensor"}
    assert y.index.tolist() == ["u", "v"]
    for name in "abd":
        assert_numbers(y[name], [elu_of(-1.0, 2.0), 2.0])
    assert_numbers(y["c"], [elu_of(-1.0, 2.0), None])
    y = leaky_relu(frame, negative_slope=[2, 4, 8, 16])  # one for each column
    assert [str(dtype) for dtype in y.dtypes] == ["float32", "float64", "Float32", "float64"]
    assert [y[name].iloc[0] for name in "abcd"] == [-2, -4, -8, -16]
    y = softmax(frame, axis=0)
    assert [str(dtype) for dtype in y.dtypes] == ["float32", "float64", "Float32", "float64"]
    assert_numbers(y["c"], [1.0, None])
    assert_numbers(y["d"], expected_softmax([-1.0, 2.0]))
    for axis in (-1, 1):
        y = softmax(frame, axis=axis)
        assert [str(dtype) for dtype in y.dtypes] == ["float64", "float64", "Float64", "float64"]
        assert_numbers(y.loc["v"], expected_softmax([2.0, 2.0, None, 2.0]))
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        softmax(frame, axis=2)


def test_one_block_and_columns_one_by_one_are_the_same():
    x = np.random.default_rng(0).standard_normal((5, 3))
    whole, mixed = pd.DataFrame(x, columns=["a", "b", "a"]), pd.DataFrame(x, columns=["a", "b", "a"])
    mixed = mixed.set_axis(range(3), axis=1).astype({1: "Float64"}).set_axis(["a", "b", "a"], axis=1)
    for call in (
        lambda x: elu(x, alpha=0.5), softmax, lambda x: softmax(x, axis=0), lambda x: softmax.backward(x, x),
        lambda x: relu.backward(x, x), lambda x: glu(x, x), lambda x: glu.backward(x, x, x)[0],
        lambda x: prelu.backward(x, x, np.full(3, 0.25))[0],
        lambda x: leaky_relu(x, negative_slope=np.full((5, 1), 2.0)),
    ):  # fmt: skip
        for frame in (whole, mixed):
            y = call(frame)
            assert y.columns.tolist() == ["a", "b", "a"]
            assert np.allclose(y.to_numpy(dtype="f8"), np.asarray(call(x)), rtol=1e-14)
    for frame in (whole, mixed):
        _, dslope = prelu.backward(frame, frame, np.full(3, 0.25))
        assert type(dslope) is np.ndarray
        assert np.allclose(dslope, [math.fsum(v * v for v in column if v < 0) for column in x.T])


def test_empty_tables():
    assert softmax(pd.DataFrame()).shape == relu(pd.DataFrame()).shape == (0, 0)
    assert softmax(pd.Series([], dtype="Float64")).dtype == "Float64"
    assert relu(pd.DataFrame({"a": np.ones(0)})).shape == (0, 1)


REFUSED = {
    "bool": ([True, False], r"use x\['k'\].astype\(np.uint8\)"),
    "boolean": (pd.array([True, None], dtype="boolean"), r"use x\['k'\].astype\('UInt8'\)"),
    "object": (["a", None], r"pass numbers"),
    "string": (pd.array(["a", "b"], dtype="string"), r"(parse it first|pass numbers)"),
    "datetime": (pd.to_datetime(["2020-01-01", "2021-01-01"]), r"take a difference"),
    "zoned": (pd.to_datetime(["2020-01-01", "2021-01-01"], utc=True), r"take a difference"),
    "category": (pd.Categorical(["a", "b"]), r"pass numbers"),
    "complex": ([1j, 2j], r"apply it to x\['k'\].real"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_column_is_named(case):
    values, advice = REFUSED[case]
    frame = pd.DataFrame({"a": [1.0, 2.0], "k": values})
    for call in (relu, elu, softmax, lambda x: glu(x, x)):
        with pytest.raises(TypeError, match=rf"x\['k'\] has dtype .*: {advice}"):
            call(frame)
    with pytest.raises(TypeError, match=r"x has dtype"):
        relu(frame["k"])


def test_what_is_no_array_of_its_library_is_refused():
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    frame = polars.DataFrame({"a": [1.0]})
    for value, message in (
        (pd.Series([1.0]).groupby([1]), "SeriesGroupBy; of pandas it takes frames"),
        (pd.NA, "NAType; of pandas it takes"),
        (frame.lazy(), r"LazyFrame.*use x.select\(relu\(pl.all\(\)\)\)"),
        (arrow.scalar(1.0), r"DoubleScalar.*use x.as_py\(\)"),
        (polars.Series([True]), r"x has dtype Boolean.*use x.cast\(pl.UInt8\)"),
        (polars.DataFrame({"a": [1.0], "b": ["1"]}), r"x\['b'\] has dtype String.*x\['b'\].cast\(pl.Float64\)"),
        (polars.Series([[1.0]]), r"x has dtype List\(Float64\)"),
        (arrow.array([True]), r"x has type bool.*use x.cast\(pyarrow.uint8\(\)\)"),
        (arrow.table({"a": [1.0], "b": ["1"]}), r"x\['b'\] has type string"),
        (pd.Series([1], dtype=pd.ArrowDtype(arrow.decimal128(5, 2))), r"use x.astype\('double\[pyarrow\]'\)"),
    ):
        with pytest.raises(TypeError, match=message):
            relu(value)


def test_masked_arrays_beside_tables_are_refused():
    x, masked = pd.Series([1.0, -1.0]), np.ma.masked_array([1.0, -1.0], [True, False])
    for call in (lambda: relu.backward(masked, x), lambda: softmax.backward(masked, x), lambda: prelu(x, masked)):
        with pytest.raises(TypeError, match=r"(dy|slope) is a masked array, .*filled"):
            call()


def test_masks_and_out_are_refused():
    x = pd.Series([1.0, -1.0])
    for value in (x, x.to_frame(), xr.DataArray(x.to_numpy()), pd.array([1.0, None])):
        with pytest.raises(TypeError, match=r"with_mask: x is a [\w.]+, and masks are for arrays of NumPy"):
            relu.with_mask(value)
        with pytest.raises(TypeError, match=r"softmax: out is for arrays of NumPy"):
            softmax(value, out=np.empty(2))
    with pytest.raises(
        TypeError, match=r"with_mask: negative_slope is a [\w.]*Series, and masks are for arrays of NumPy"
    ):
        leaky_relu.with_mask(np.ones(2), negative_slope=x)


def test_a_slope_adapts_to_x_and_a_gate_is_an_equal_in_every_container():
    arrays = {
        "numpy": np.asarray, "list": list, "series": pd.Series, "index": pd.Index,
        "nullable": lambda a: pd.Series(pd.array(a, dtype=a.dtype.name.capitalize())),
        "xarray": xr.DataArray, "frame": lambda a: pd.DataFrame({"a": a}),
    }  # fmt: skip
    dask_array = pytest.importorskip("dask.array")
    arrays["dask"] = lambda a: dask_array.from_array(a, chunks=1)
    arrays["lazy xarray"] = lambda a: xr.DataArray(arrays["dask"](a))
    families = (
        ("numpy", "list", "series", "nullable"), ("numpy", "index"), ("numpy", "xarray", "lazy xarray", "dask"),
        ("frame",), ("dask", "numpy"),
    )  # fmt: skip
    x32, slopes64 = np.array([-1.0, 2.0], "f4"), np.array([0.25, 0.5])
    for family in families:
        for one in family:
            for other in family:
                if one == "list":  # it is float64, whatever it was made of
                    continue
                x, slopes = arrays[one](x32), arrays[other](slopes64)
                results = [
                    leaky_relu(x, negative_slope=slopes), leaky_relu.derivative(x, negative_slope=slopes),
                    leaky_relu.backward(x, x, negative_slope=slopes), prelu(x, slopes),
                ]  # fmt: skip
                dtypes = [str(y.dtypes.iloc[0] if hasattr(y, "columns") else y.dtype).lower() for y in results]
                assert dtypes == ["float32", "float32", "float32", "float64"], (one, other)


def test_datasets_keep_the_dtype_of_each_variable():
    data = xr.Dataset({"a": ("x", np.array([-1, 2], "f4")), "b": ("x", np.array([-1, 2], "f8"))}, attrs={"t": "run"})
    y, d = leaky_relu.value_and_derivative(data, negative_slope=0.5)
    assert (y["a"].dtype, y["b"].dtype, d["a"].dtype) == (np.float32, np.float64, np.float32)
    assert y["b"].values.tolist() == [-0.5, 2.0]
    assert d["a"].values.tolist() == [0.5, 1.0]
    assert y.attrs == {"t": "run"}
    with pytest.raises(TypeError, match=r"x\['c'\] has dtype bool; it takes"):
        relu(data.assign(c=("x", [True, False])))
    with pytest.raises(TypeError, match=r"use x.map\(softmax\)"):
        softmax(data)
    assert_numbers(data.map(softmax)["a"].values, expected_softmax([-1.0, 2.0]))


def test_rows_of_data_arrays_keep_everything():
    x = xr.DataArray(
        np.array([[0.0, 1, 2], [3, 5, 1]]), dims=("t", "k"), coords={"t": [10, 20]}, attrs={"units": "1"}, name="x"
    )
    for axis, dim in ((0, "t"), (1, "k"), (-1, "k")):
        y = softmax(x, axis=axis)
        assert (y.dims, y.name, y.attrs) == (x.dims, "x", {"units": "1"})
        assert y["t"].values.tolist() == [10, 20]
        assert np.allclose(y.sum(dim), 1)
    assert_numbers(softmax(x)[1].values, expected_softmax([3.0, 5.0, 1.0]))
    assert type(softmax(x.variable)) is xr.Variable
    dy = x.transpose()  # by dimensions, not by their order
    dx = softmax.backward(dy, x)
    assert dx.dims == ("t", "k")
    assert_numbers(dx[0].values, expected_softmax_gradient([0.0, 1.0, 2.0], [0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match=r"softmax.backward: .*align them first"):
        softmax.backward(x.assign_coords(t=[10, 30]), x)
    with pytest.raises(ValueError, match=r"dy has dimensions \('t', 'm'\), y \('t', 'k'\)"):
        softmax.backward(x.rename(k="m"), x)


def test_gradients_of_data_arrays_are_summed_over_dimensions_that_an_array_lacks():
    dy = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("t", "k"))
    x = xr.DataArray(-np.ones((3, 2)), dims=("k", "t"), coords={"k": list("abc")})
    slope = xr.DataArray([0.5, 0.25, 2.0], dims="k", name="slope")
    dx, dslope = prelu.backward(dy, x, slope)
    assert dx.dims == ("k", "t")
    assert dx["k"].values.tolist() == list("abc")
    assert dx.values.tolist() == [[0.0, 1.5], [0.25, 1.0], [4.0, 10.0]]
    assert (dslope.dims, dslope.name) == (("k",), "slope")
    assert dslope.values.tolist() == [-3.0, -5.0, -7.0]
    dx, dslope = prelu.backward(dy, x, 0.5)
    assert float(dslope) == -15.0
    with pytest.raises(ValueError, match="align them first"):
        prelu.backward(dy.assign_coords(k=list("abd")), x, slope)


def test_data_arrays_join_as_in_their_own_arithmetic():
    dy = xr.DataArray([1.0, 2.0], dims="a", coords={"a": [0, 1]}, attrs={"u": "K"})
    x = xr.DataArray([3.0, 4.0], dims="a", coords={"a": [1, 2]})
    dx = relu.backward(dy, x)
    assert dx["a"].values.tolist() == np.add(dy, x)["a"].values.tolist() == [1]
    assert dx.values.tolist() == [2.0]
    assert dx.attrs == np.add(dy, x).attrs
    with xr.set_options(arithmetic_join="exact"), pytest.raises(ValueError, match="align"):
        relu.backward(dy, x)
    with xr.set_options(keep_attrs=False):
        assert relu(dy).attrs == {}


def test_what_xarray_holds_stays_what_it_is():
    dask_array = pytest.importorskip("dask.array")
    x = np.linspace(-2, 2, 12, dtype="f4").reshape(3, 4)
    lazy = xr.DataArray(dask_array.from_array(x, chunks=2), dims=("a", "b"))
    for call in (
        lambda x: elu(x, alpha=2.0), softmax, lambda x: softmax.backward(x, x), lambda x: relu.vjp(x)[1](x),
        lambda x: glu.backward(x, x, x)[1],
    ):  # fmt: skip
        result = call(lazy)
        assert isinstance(result.data, dask_array.Array)
        assert result.dtype == np.float32
        assert np.allclose(result.values, call(x), rtol=1e-6)
    result = relu.backward(dask_array.from_array(x, chunks=2), xr.DataArray(x))
    assert isinstance(result.data, dask_array.Array)
    nullable = pd.DataFrame({"a": pd.array([1.0, None, -1.0])}).to_xarray()
    assert relu(nullable)["a"].data.tolist() == [1.0, pd.NA, 0.0]
    assert softmax(nullable["a"]).data.isna().tolist() == [False, True, False]


def test_xarray_may_hold_arrays_of_jax():
    jnp = pytest.importorskip("jax.numpy")  # pydata/xarray#7848: np.exp would make NumPy's of them
    x = xr.Variable(("a",), jnp.asarray([-1.0, 2.0]))
    assert isinstance(relu(x).data, type(x.data))
    assert relu(x).data.tolist() == [0.0, 2.0]


def test_polars_series_and_frames():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [-1.0, 2.0], "b": [None, -3.0]}, schema={"a": polars.Float32, "b": polars.Float64})
    y = leaky_relu(frame, negative_slope=[0.5, 2.0])
    assert y.schema == frame.schema
    assert y.to_dict(as_series=False) == {"a": [-0.5, 2.0], "b": [None, -6.0]}
    assert relu(frame["b"]).name == "b"
    rows = softmax(frame)
    assert_numbers(rows.row(0), [1.0, None])
    assert_numbers(rows.row(1), expected_softmax([2.0, -3.0]))
    assert_numbers(softmax(frame, axis=0)["a"].to_list(), expected_softmax([-1.0, 2.0]))
    with pytest.raises(ValueError, match="columns of x and slope differ"):
        prelu(frame, frame.select("b", "a"))
    # pola-rs/polars#12212: a null of the second Series counts too
    dx = relu.backward(polars.Series([1.0, 2.0, 3.0]), polars.Series([1.0, None, -1.0]))
    assert dx.to_list() == [1.0, None, 0.0]


def test_polars_expressions():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [-1.0, 2.0, None, 3.0], "b": [1.0, -2.0, 3.0, 1.0], "g": [0, 0, 1, 1]})
    a, b = polars.col("a"), polars.col("b")
    for source in (frame, frame.lazy()):
        result = source.select(
            leaky_relu(a, negative_slope=0.5),
            slopes=leaky_relu(a, negative_slope=b),
            dx=relu.backward(b, a),
            glu=prelu(a, b),
            rows=softmax(a),
            groups=softmax(b).over("g"),
            d=leaky_relu.value_and_derivative(a, negative_slope=0.5)[1],
            db=prelu.backward(a, b, a)[1],
            number=prelu.backward(a, b, 0.5)[1],
            pulled=softmax.vjp(a)[1](b),
        )
        result = result.lazy().collect()
        assert result["a"].to_list() == [-0.5, 2.0, None, 3.0]
        assert result["slopes"].to_list() == [-1.0, 2.0, None, 3.0]
        assert result["glu"].to_list() == result["slopes"].to_list()
        assert result["dx"].to_list() == [0.0, -2.0, None, 1.0]
        assert_numbers(result["rows"].to_list(), expected_softmax([-1.0, 2.0, None, 3.0]))
        pairs = expected_softmax([1.0, -2.0]) + expected_softmax([3.0, 1.0])
        assert_numbers(result["groups"].to_list(), pairs)
        assert result["d"].to_list() == [0.5, 1.0, None, 1.0]
        assert result["db"].to_list() == [0.0, -4.0, None, 0.0]
        assert result["number"].to_list() == [-4.0] * 4
        assert_numbers(
            result["pulled"].to_list(), expected_softmax_gradient([1.0, -2.0, 3.0, 1.0], [-1.0, 2.0, None, 3.0])
        )
    schema = frame.lazy().select(relu(polars.col("g")), e=elu(polars.col("g"))).collect_schema()
    assert [*schema.values()] == [polars.Int64, polars.Float64]
    with pytest.raises(TypeError, match=r"negative_slope is a numpy.ndarray, and the call has expressions"):
        leaky_relu(a, negative_slope=np.ones(4))


def test_arrow_tables():
    arrow = pytest.importorskip("pyarrow")
    schema = arrow.schema([("a", arrow.float32()), ("b", arrow.float64())], metadata={"k": "v"})
    table = arrow.table({"a": [-1.0, 2.0], "b": [None, -3.0]}, schema=schema)
    for given in (table, table.to_batches()[0]):
        y = leaky_relu(given, negative_slope=0.5)
        assert type(y) is type(given)
        assert y.schema.equals(schema, check_metadata=True)
        assert y.to_pydict() == {"a": [-0.5, 2.0], "b": [None, -1.5]}
        assert_numbers([column[1].as_py() for column in softmax(given).columns], expected_softmax([2.0, -3.0]))
    with pytest.raises(ValueError, match="columns of dy and x differ"):
        relu.backward(table, table.select(["b", "a"]))
    sliced = arrow.array([9.0, -1.0, None, 2.0])[1:]
    assert relu(sliced).to_pylist() == [0.0, None, 2.0]


def test_fields_of_arrow_keep_their_metadata():
    """Arrow keeps metadata of each field, https://arrow.apache.org/docs/format/CDataInterface.html."""
    arrow = pytest.importorskip("pyarrow")
    field = arrow.field("a", arrow.int32(), nullable=False, metadata={"unit": "m"})
    table = arrow.table([arrow.array([-1, 2], arrow.int32())], schema=arrow.schema([field], metadata={"k": "v"}))
    assert relu(table).schema.equals(table.schema, check_metadata=True)
    y = elu(table)
    assert y.schema.field("a").equals(field.with_type(arrow.float64()), check_metadata=True)
    assert y.schema.metadata == {b"k": b"v"}
    partial = arrow.table({"a": [None, 1.0]})
    dx = relu.backward(partial, table)
    assert dx.to_pydict() == {"a": [None, 1.0]}
    assert all(part.schema.field("a").nullable for part in (dx, relu.backward(table, partial)))


def test_errors_name_the_call_and_what_it_takes():
    names = xr.DataArray([0.1, 0.2, 0.3], dims="b")
    with pytest.raises(ValueError, match=r"leaky_relu: x has 2 dimensions without names, and negative_slope only 1"):
        leaky_relu(np.ones((2, 3)), negative_slope=names)
    twice = pd.Series([1.0, -2.0, 3.0], index=list("aab"))
    with pytest.raises(ValueError, match="hard_tanh: the labels of x and min_value and max_value differ, and some occ"):
        hard_tanh(twice, min_value=-1 - twice[::-1], max_value=twice + 5)
    for axis in ("columns", [0], (0, 1.0)):
        for x in (np.ones((2, 3)), pd.DataFrame(np.ones((2, 3))), names):
            with pytest.raises(TypeError, match=r"softmax: axis is .*; it takes an integer, a tuple of integers, or N"):
                softmax(x, axis=axis)
    with pytest.raises(TypeError, match=r"x has dtype interval\[int64, right\]; .*: pass numbers"):
        relu(pd.Series(pd.interval_range(0, 2)))


def test_the_gradient_of_a_number_is_a_number():
    pl, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    x = [1.0, -2.0]
    for make in (np.array, pd.Series, pl.Series, arrow.array, lambda v: pd.DataFrame([v]), lambda v: pl.DataFrame([v])):
        dslope = prelu.backward(make(x), make(x), 2.0)[1]
        assert type(dslope) is np.float64
        assert dslope == 4.0


def test_nothing_is_imported_before_it_comes():
    code = (
        "import sys, rectifier; rectifier.softmax(rectifier.relu([1.0]))\n"
        "libraries = {'pandas', 'polars', 'pyarrow', 'xarray', 'astropy', 'pint', 'unyt'}\n"
        "print(libraries & {name.split('.')[0] for name in sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
