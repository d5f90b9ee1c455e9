"""Zarr as others write it: ``rectifier apply`` keeps what it says, to HDF5 and back, or says what it leaves out.

References
----------
"Zarr core specification", version 3: fill value, dimension names, codecs.
"Zarr storage specification", version 2: missing chunks, byte order.
"Zarr encoding specification" (xarray, user guide, internals): `_ARRAY_DIMENSIONS`, `_FillValue`.
"zarr-extensions", data-types/bfloat16.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import h5py
import numcodecs
import numpy as np
import pytest
import zarr

import rectifier
from conftest import assert_same
from outcomes import done, refused

xr = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
ml_dtypes = pytest.importorskip("ml_dtypes")

X = np.random.default_rng(0).standard_normal((8, 6)).astype("f4")
RELU = np.maximum(X, 0)


def stored(path):
    """Count the chunks that are there."""
    return sum(p.is_file() and p.name not in ("zarr.json", ".zarray", ".zattrs") for p in Path(path).rglob("*"))


def save(dataset, path, zarr_format):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that metadata in one place are not in the specification
        dataset.to_zarr(path, zarr_format=zarr_format)


def load(path, **settings):
    """Open as a user of xarray does: without a warning, since metadata are in one place where they were."""
    return xr.load_dataset(path, engine="h5netcdf" if Path(path).suffix == ".h5" else "zarr", **settings)


def weather():
    return xr.Dataset(
        {
            "t": (("time", "lat"), X[:2, :3], {"units": "K", "n": 3, "valid_max": 9.0}),
            "s": (("time", "station"), np.array([[1, -2], [-3, 4]], "i2")),
        },
        {"time": np.array(["2020-01-01", "2020-01-02"], "M8[ns]"), "station": [4, 7], "lat": [1.0, 2.0, np.nan]},
        {"title": "weather"},
    )


@pytest.mark.parametrize("source", ["2.zarr", "3.zarr", ".h5"])
@pytest.mark.parametrize("target", [".zarr", ".h5"])
@pytest.mark.parametrize("variable", ["t", "s"])
def test_what_xarray_wrote_is_opened_by_it_again(applied, source, target, variable):
    if source == ".h5":
        weather().to_netcdf("x.h5", engine="h5netcdf")
    else:
        save(weather(), f"x{source}", int(source[0]))
    words = ["valid_max"] * (variable == "t")
    done(applied("relu", f"x{source}", f"y{target}", "--dataset", variable), *words)
    before, after = load(f"x{source}"), load(f"y{target}")
    assert list(after.data_vars) == [variable]
    assert after.attrs == {"title": "weather"}
    expected = before[variable].copy(data=np.maximum(before[variable].values, 0))
    expected.attrs.pop("valid_max", None)
    xr.testing.assert_identical(after[variable], expected)
    assert after[variable].dtype == before[variable].dtype


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_missing_values_are_those_of_xarray(applied, zarr_format):
    x = X.copy()
    x[2] = np.nan
    save(xr.Dataset({"x": (("a", "b"), x)}, attrs={}), "nan.zarr", zarr_format)
    for name, fill in (("large", 1e20), ("negative", -9999)):
        encoding = {"x": {"_FillValue": np.float32(fill)}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            xr.Dataset({"x": (("a", "b"), x)}).to_zarr(f"{name}.zarr", zarr_format=zarr_format, encoding=encoding)
    for name in ("nan", "large"):
        for target in ("y.zarr", "y.h5"):
            done(applied("relu", f"{name}.zarr", target, "--dataset", "x", "--force"))
            assert_same(load(target)["x"].values, rectifier.relu(x))
    refused(applied("relu", "negative.zarr", "y.zarr", "--dataset", "x", "--force"), "-9999", "missing values", "--raw")
    done(applied("relu", "negative.zarr", "y.zarr", "--dataset", "x", "--force", "--raw"), "_FillValue")
    assert_same(load("y.zarr")["x"].values, rectifier.relu(np.nan_to_num(x, nan=-9999)))
    if zarr_format == 2:  # there the fill value of an array is what xarray takes for missing
        refused(applied("relu", "negative.zarr", "--in-place", "--dataset", "x", "--raw"), "fill_value")


@pytest.mark.parametrize("source", ["x.zarr", "x.h5"])
def test_packed_numbers_are_not_taken_for_values(applied, source):
    attributes = {"scale_factor": 0.5, "add_offset": 1.0}
    if source == "x.h5":
        with h5py.File(source, "w") as file:
            file["x"] = X
            file["x"].attrs.update(attributes)
    else:
        zarr.create_array(source, data=X, attributes=attributes)
    refused(applied("relu", source, "y.zarr"), "scale_factor, add_offset")
    np.save("x.npy", X)
    refused(applied("relu", "x.npy", "y.zarr", "--backward", source), source, "scale_factor, add_offset")
    done(applied("relu", source, "y.zarr", "--raw"), "scale_factor, add_offset")
    assert_same(zarr.open_array("y.zarr")[...], RELU)
    assert not zarr.open_array("y.zarr").attrs


def test_the_way_that_version_3_stores_is_kept(applied):
    zarr.create_array(
        "x.zarr", data=X, chunks=(2, 3), shards=(4, 6), dimension_names=("a", None), fill_value=np.nan,
        attributes={"n": 1}, compressors=[zarr.codecs.GzipCodec(level=7), zarr.codecs.Crc32cCodec()],
        serializer=zarr.codecs.BytesCodec(endian="big"), filters=[zarr.codecs.TransposeCodec(order=(1, 0))],
        chunk_key_encoding={"name": "v2", "separator": "."},
    )  # fmt: skip
    done(applied("relu", "x.zarr", "y.zarr"))
    before, after = (json.loads(Path(name, "zarr.json").read_text()) for name in ("x.zarr", "y.zarr"))
    assert before == after
    assert_same(zarr.open_array("y.zarr")[...], RELU)
    done(applied("relu", "x.zarr", "--in-place"))
    assert_same(zarr.open_array("x.zarr")[...], RELU)


def test_the_way_that_version_2_stores_is_kept_and_its_byte_order_in_place(applied):
    zarr.create_array(
        "x.zarr", data=X.astype(">f4"), zarr_format=2, chunks=(4, 4), order="F", fill_value=None,
        filters=[numcodecs.Shuffle(4)], compressors=numcodecs.Zstd(7),
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )  # fmt: skip
    done(applied("relu", "x.zarr", "y.zarr"))
    before, after = (json.loads(Path(name, ".zarray").read_text()) for name in ("x.zarr", "y.zarr"))
    assert {**before, "dtype": "<f4"} == after
    assert_same(zarr.open_array("y.zarr")[...], RELU)
    done(applied("relu", "x.zarr", "--in-place"))
    x = zarr.open_array("x.zarr")
    assert x.dtype == ">f4"
    assert_same(x[...].astype("f4"), RELU)


@pytest.mark.parametrize("fill", [0.0, -7.0, np.nan])
@pytest.mark.parametrize("function", ["relu", "sigmoid"])
def test_absent_chunks_stay_absent_in_each_format(applied, function, fill):
    x = zarr.create_array("x.zarr", shape=(100, 100), chunks=(10, 10), dtype="f4", fill_value=fill)
    x[33:55, 30:40], x[99, 99] = -1, 2
    f = getattr(rectifier, function)
    expected, empty = f(x[...]), f(np.float32(fill))
    done(applied(function, "x.zarr", "y.zarr"))
    y = zarr.open_array("y.zarr")
    assert_same(y[...], expected)
    assert_same(np.float32(y.fill_value), np.float32(empty))
    assert 1 <= stored("y.zarr") <= 4
    done(applied(function, "x.zarr", "y.h5"))
    with h5py.File("y.h5") as file:
        assert file["x"].id.get_num_chunks() == 4
        assert_same(file["x"][()], expected)
        assert_same(file["x"].fillvalue, empty)
    done(applied(function, "y.h5", "z.zarr"))
    assert_same(zarr.open_array("z.zarr")[...], f(expected))
    assert stored("z.zarr") <= 4
    done(applied(function, "x.zarr", "--in-place"))
    assert_same(zarr.open_array("x.zarr")[...], expected)


def test_attributes_go_to_hdf5_and_back_or_are_named(applied):
    kept = {
        "text": "é", "i": 3, "big": 2**63, "f": 0.5, "flag": True, "list": [1, 2], "mixed": [1, 2.5],
        "table": [[1, 2], [3, 4]], "texts": ["a", "bc"], "flags": [True, False], "large": [0.0] * 20_000,
    }  # fmt: skip
    left = {"null": None, "object": {"a": 1}, "odd": [1, "a"], "ragged": [[1], [2, 3]], "huge": 2**70}
    zarr.create_array("x.zarr", data=X, attributes={**kept, **left})
    done(applied("relu", "x.zarr", "y.h5"), ", ".join(left))
    done(applied("relu", "y.h5", "z.zarr"))
    assert dict(zarr.open_array("z.zarr").attrs) == kept
    with h5py.File("y.h5", "a") as file:
        file["x"].attrs["complex"], file["x"].attrs["nan"], file["x"].attrs["object"] = 1j, np.nan, file["x"].ref
        file.attrs["title"] = "of the file"
    done(applied("relu", "y.h5", "w.zarr"), "complex, nan, object, which", "groups")
    assert dict(zarr.open_array("w.zarr").attrs) == kept


def test_names_of_axes_without_coordinates_become_dimensions_of_netcdf(applied):
    zarr.create_array("x.zarr", data=X, dimension_names=("row", "column"))
    done(applied("relu", "x.zarr", "y.h5"))
    y = load("y.h5")
    assert (list(y), y["x"].dims) == (["x"], ("row", "column"))
    assert_same(y["x"].values, RELU)
    with h5py.File("y.h5", "w") as file:
        file["x"] = X
        file["x"].dims[1].label = "column"
    done(applied("relu", "y.h5", "z.zarr"))
    assert zarr.open_array("z.zarr").metadata.dimension_names == (None, "column")


# --- codecs that round

LOSSY = {
    "fixedscaleoffset": numcodecs.FixedScaleOffset(offset=0, scale=10, dtype="f4", astype="i2"),
    "quantize": numcodecs.Quantize(digits=1, dtype="f4"), "bitround": numcodecs.BitRound(4),
    "astype": numcodecs.AsType("f2", "f4"), "delta": numcodecs.Delta("f4"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSY)
def test_a_codec_that_rounds_is_left_out_with_a_word_and_refused_in_place(applied, name):
    zarr.create_array("x.zarr", data=X, zarr_format=2, filters=[LOSSY[name]])
    x = zarr.open_array("x.zarr")[...]
    refused(applied("relu", "x.zarr", "--in-place"), name, "may round")
    assert_same(zarr.open_array("x.zarr")[...], x)
    done(applied("relu", "x.zarr", "y.zarr"), f"{name}, which may round")
    assert_same(zarr.open_array("y.zarr")[...], rectifier.relu(x))
    assert zarr.open_array("y.zarr").filters == ()


def test_a_delta_of_integers_is_kept_where_its_dtype_is(applied):
    zarr.create_array("x.zarr", data=np.arange(-4, 4), zarr_format=2, filters=[numcodecs.Delta("i8")])
    done(applied("relu", "x.zarr", "--in-place"))
    done(applied("relu", "x.zarr", "y.zarr"))
    assert zarr.open_array("y.zarr").filters == (numcodecs.Delta("i8"),)
    assert_same(zarr.open_array("y.zarr")[...], np.maximum(np.arange(-4, 4), 0))
    done(applied("tanh", "y.zarr", "z.zarr"), "delta, which is of the dtype")
    assert_same(zarr.open_array("z.zarr")[...], rectifier.tanh(np.maximum(np.arange(-4, 4), 0)))


@pytest.mark.parametrize("shards", [None, (4, 6)])
def test_numbers_of_one_byte_become_wider(applied, shards):
    """Version 3, codec `bytes`: without `endian` where elements have one byte, and with it where they have more."""
    x = (X * 9).astype("i1")
    zarr.create_array("x.zarr", data=x, chunks=(2, 3), shards=shards)
    for function in ("relu", "hard_sigmoid"):
        done(applied(function, "x.zarr", f"{function}.zarr"))
        y = zarr.open_array(f"{function}.zarr")
        assert_same(y[...], getattr(rectifier, function)(x))
        assert (y.chunks, y.shards) == ((2, 3), shards)


# --- types


@pytest.mark.parametrize("function", ["relu", "tanh"])
def test_bfloat16_stays_bfloat16(applied, function):
    """Its metadata as other writers of version 3 have them; the chunk in little-endian bytes."""
    x = np.array([-1.5, 2.515625, -0.0, 3e38, -0.0, -0.0, -0.0, -0.0], ml_dtypes.bfloat16)
    zarr.create_array("x.zarr", data=x.view("u2"), chunks=(4,), compressors=None)
    metadata = json.loads(Path("x.zarr/zarr.json").read_text())
    metadata.update(data_type="bfloat16", fill_value=0.0)
    Path("x.zarr/zarr.json").write_text(json.dumps(metadata))
    for target in ("y.zarr", "y.h5"):
        done(applied(function, "x.zarr", target))
    done(applied(function, "x.zarr", "--in-place"))
    done(applied("relu", "y.h5", "z.zarr"))
    expected = getattr(rectifier, function)(x)
    for path, y in (("y.zarr", expected), ("x.zarr", expected), ("z.zarr", rectifier.relu(expected))):
        assert json.loads(Path(path, "zarr.json").read_text())["data_type"] == "bfloat16"
        read = zarr.open_array(path)[...]
        assert_same(read.astype("f4"), y.astype("f4"))
        assert (np.signbit(read) == np.signbit(y)).all()  # a chunk of -0.0 is not one of the fill value


@pytest.mark.parametrize("name", ["float8_e4m3fn", "int4", "float4_e2m1fn"])
def test_types_of_version_3_that_no_function_takes_are_named(applied, name):
    zarr.create_array("x.zarr", data=np.zeros(3, "u1"))
    metadata = json.loads(Path("x.zarr/zarr.json").read_text())
    Path("x.zarr/zarr.json").write_text(json.dumps({**metadata, "data_type": name}))
    refused(applied("relu", "x.zarr", "y.zarr"), f"its dtype is {name}")


@pytest.mark.parametrize("name", ["|V2", "<c8", "|S4", "<M8[s]", "bfloat16", [["a", "<f4"]]])
def test_types_of_version_2_that_no_function_takes_are_named(applied, name):
    zarr.create_array("x.zarr", data=np.zeros(3, "u1"), zarr_format=2)
    metadata = json.loads(Path("x.zarr/.zarray").read_text())
    Path("x.zarr/.zarray").write_text(json.dumps({**metadata, "dtype": name, "fill_value": None}))
    refused(applied("relu", "x.zarr", "y.zarr"), "its dtype is ")


def test_a_name_does_not_lead_out_of_the_directory(applied):
    zarr.create_array("other.zarr", data=X)
    zarr.create_group("x.zarr").create_array("a", data=X)
    refused(applied("relu", "x.zarr", "y.zarr", "--dataset", "../other.zarr"), "no array ../other.zarr: there are a")
    done(applied("relu", "x.zarr", "y.zarr", "--dataset", "/a"))
    assert_same(zarr.open_array("y.zarr", path="a")[...], RELU)
