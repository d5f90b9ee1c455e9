"""HDF5 files as others write them: ``rectifier apply`` keeps what they say, or says what it leaves out.

References
----------
"NetCDF-4 format specification", appendix of the NetCDF User's Guide (Unidata).
"HDF5 dimension scale specification and design notes" (The HDF Group).
"CF metadata conventions" 1.11, sections 2.5.1 (missing data) and 8.1 (packed data).
"HDF5 registered filter plugins" (The HDF Group).
"""

from __future__ import annotations

import importlib.util
import json
import os

import h5py
import numpy as np
import pytest

import rectifier
from conftest import assert_same
from outcomes import done, refused
from rectifier.tools.apply import boxes, files

xr = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
hdf5plugin = pytest.importorskip("hdf5plugin")
ml_dtypes = pytest.importorskip("ml_dtypes")

X = np.random.default_rng(0).standard_normal((12, 10)).astype("f4")
RELU = np.maximum(X, 0)
FOUR = h5py.h5s.create_simple((4,))


def pipeline(dataset):
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(index)[:3] for index in range(properties.get_nfilters())]


def make(name, dataset="x", data=X, **settings):
    with h5py.File(name, "w") as file:
        file.create_dataset(dataset, data=data, **settings)


def load(name, dataset="x"):
    with h5py.File(name) as file:
        return file[dataset][()]


# --- netCDF and dimension scales


def weather():
    return xr.Dataset(
        {
            "t": (("time", "lat"), X[:2, :3], {"units": "K", "valid_min": np.float32(-9), "n": np.int32(3)}),
            "s": (("time", "station"), np.array([[1, -2], [-3, 4]], "i2")),
        },
        {
            "time": np.array(["2020-01-01", "2020-01-02"], "M8[ns]"),
            "station": np.array(["a", "bb"], object),
            "lat": [1.0, 2.0, np.nan],
        },
        {"title": "weather"},
    )


@pytest.mark.parametrize("writer", ["h5netcdf", "netcdf4"])
@pytest.mark.parametrize("variable", ["t", "s"])
def test_what_xarray_wrote_is_opened_by_it_again(applied, writer, variable):
    if writer == "netcdf4":
        pytest.importorskip("netCDF4")
    weather().to_netcdf("x.h5", engine=writer)
    done(applied("relu", "x.h5", "y.h5", "--dataset", variable), *["valid_min"] * (variable == "t"))
    before = xr.load_dataset("x.h5", engine="h5netcdf")
    for reader in {writer, "h5netcdf"}:
        after = xr.load_dataset("y.h5", engine=reader)
        assert list(after.data_vars) == [variable]
        assert after.attrs == {"title": "weather"}
        expected = before[variable].copy(data=np.maximum(before[variable].values, 0))
        expected.attrs.pop("valid_min", None)
        xr.testing.assert_identical(after[variable], expected)
        assert after[variable].dtype == before[variable].dtype


def test_a_netcdf_variable_in_a_group_keeps_the_dimensions_of_the_root(applied):
    netCDF4 = pytest.importorskip("netCDF4")
    with netCDF4.Dataset("x.h5", "w") as file:
        file.createDimension("time", None)
        file.createDimension("pair", 2)  # without a variable
        file.createVariable("time", "f8", ("time",))[:] = [1, 2, 3]
        x = file.createGroup("run").createVariable("x", "f4", ("time", "pair"), zlib=True)
        x[:] = X[:3, :2]
        x.units = "K"
    done(applied("relu", "x.h5", "y.h5", "--dataset", "run/x"))
    with netCDF4.Dataset("y.h5") as file:
        y = file["run"]["x"]
        assert (y.dimensions, y.units, y.filters()["zlib"]) == (("time", "pair"), "K", True)
        assert file.dimensions["time"].isunlimited()
        assert_same(np.asarray(y[:]), RELU[:3, :2])
        assert_same(np.asarray(file["time"][:]), np.array([1.0, 2.0, 3.0]))


def test_references_are_left_out_with_a_word_and_scales_refer_to_the_copies(applied):
    with h5py.File("x.h5", "w") as file:
        x = file.create_dataset("deep/x", data=X)
        file["rows"] = np.arange(12.0)
        file["rows"].make_scale("the rows")
        x.dims[0].attach_scale(file["rows"])
        x.dims[1].label = "columns"
        x.attrs["object"], x.attrs["region"], x.attrs["kept"] = x.ref, x.regionref[:2], 7
        x.attrs["objects"] = np.array([x.ref], h5py.ref_dtype)
        file["deep"].attrs["NX_class"] = "NXdata"
    done(applied("relu", "x.h5", "y.h5", "--dataset", "deep/x"), "object, objects, region of deep/x")
    with h5py.File("y.h5") as file:
        y = file["deep/x"]
        assert sorted(y.attrs) == ["DIMENSION_LABELS", "DIMENSION_LIST", "kept"]
        assert y.dims[0][0] == file["rows"]
        assert (y.dims[0].keys(), y.dims[1].label) == (["the rows"], "columns")
        assert file[file["rows"].attrs["REFERENCE_LIST"][0][0]] == y
        assert_same(file["rows"][()], np.arange(12.0))
        assert file["deep"].attrs["NX_class"] == "NXdata"


# --- attributes, shapes, chunks that are not there


def test_attributes_of_all_types_and_sizes_are_kept(applied):
    kept = {
        "large": np.arange(20_000.0),  # 160 kB: more than the 64 KiB of an object header's message
        "text": "é", "fixed": np.bytes_("abc"), "texts": ["a", "bc"], "flag": True, "complex": 1j, "nan": np.nan,
        "none": np.empty(0), "record": np.zeros(2, [("a", "f4"), ("b", "S3")]), "table": np.arange(6).reshape(2, 3),
        "u8": np.uint64(2**63), "enum": np.int8(1),
    }  # fmt: skip
    with h5py.File("x.h5", "w", libver="latest") as file:
        x = file.create_dataset("x", data=X)
        for name, value in kept.items():
            x.attrs[name] = value
        x.attrs.create("enum", 1, dtype=h5py.enum_dtype({"off": 0, "on": 1}, "i1"))
        x.attrs["empty"] = h5py.Empty("f4")
        x.attrs.create("padded", np.bytes_("K"), dtype=h5py.string_dtype("ascii", 1))
    done(applied("relu", "x.h5", "y.h5"))
    with h5py.File("x.h5") as old, h5py.File("y.h5") as new:
        before, after = old["x"].attrs, new["x"].attrs
        assert set(before) == set(after)
        for name in before:
            assert before.get_id(name).get_type() == after.get_id(name).get_type(), name
            if name != "empty":
                np.testing.assert_array_equal(before[name], after[name])
        assert isinstance(after["empty"], h5py.Empty)


@pytest.mark.parametrize("shape", [(0, 5), (12, 0)])
def test_an_empty_dataset_that_can_grow_stays_one(applied, shape):
    make("x.h5", data=np.zeros(shape, "f4"), chunks=(10, 5), maxshape=(None, None), compression="gzip", fillvalue=-2.0)
    done(applied("elu", "x.h5", "y.h5"))
    with h5py.File("y.h5") as file:
        y = file["x"]
        assert (y.shape, y.maxshape, y.chunks, y.compression) == (shape, (None, None), (10, 5), "gzip")
        assert y.fillvalue == rectifier.elu(np.float32(-2))


@pytest.mark.parametrize("function", ["relu", "sigmoid"])
@pytest.mark.parametrize("fill", [0.0, -7.0, np.nan])
def test_absent_chunks_stay_absent_and_read_as_the_result(applied, monkeypatch, function, fill):
    if fill != 0:
        monkeypatch.setattr(boxes, "CHUNKED_PIECE", 3200)  # two chunks, so that boxes are absent too
    with h5py.File("x.h5", "w") as file:
        x = file.create_dataset("x", (100, 100), "f4", chunks=(10, 10), fillvalue=fill, maxshape=(None, 100))
        x[33:55, 30:40], x[99, 99] = -1, 2
        stored = x.id.get_num_chunks()
        assert stored == 4
    _, out, _ = done(applied(function, "x.h5", "y.h5", *(["--stats", "--json"] if function == "relu" else [])))
    with h5py.File("y.h5") as file:
        y = file["x"]
        assert (y.id.get_num_chunks(), y.maxshape) == (stored, (None, 100))
        expected = getattr(rectifier, function)(load("x.h5"))
        assert_same(y[()], expected)
        assert_same(y.fillvalue, expected[0, 0])
    if function == "relu":
        assert json.loads(out)["active"] == rectifier.relu.with_mask(load("x.h5"))[1].count()
    done(applied(function, "x.h5", "--in-place"))  # the fill value of a dataset cannot change
    with h5py.File("x.h5") as file:
        same = np.isnan(fill) or (function == "relu" and fill == 0)
        assert file["x"].id.get_num_chunks() == (stored if same else 100)
        assert_same(file["x"][()], expected)


@pytest.mark.parametrize("shape", [(10**10,), (10**5, 10**6), (10**3, 10**3, 10**5)])
def test_what_is_stored_of_a_billion_chunks_is_listed(tmp_path, shape):
    """Nothing is as long as all of them: what is listed has 8 bytes for each that is stored."""
    chunks = (10,) if len(shape) == 1 else (1,) * (len(shape) - 2) + (10, 10)
    places = [tuple(length // k for length in shape) for k in (2, 3, 7)] + [tuple(length - 1 for length in shape)]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        x = file.create_dataset("x", shape, "f4", chunks=chunks)
        for place in places:
            x[place] = 2
    found = files.opened(tmp_path / "x.h5")
    assert found.codec_bytes == 8 * len(places)
    for place in places:
        box = tuple(slice(max(k // side * side - 3 * side, 0), min(k + 3 * side, length))
                    for k, side, length in zip(place, chunks, shape, strict=True))  # fmt: skip
        stored = [piece for piece, there in found.pieces(box) if there]
        own = tuple(slice(k // side * side, min(k // side * side + side, length))
                    for k, side, length in zip(place, chunks, shape, strict=True))  # fmt: skip
        assert stored == [own]
    empty = tuple(slice(0, 4 * side) for side in chunks)
    assert list(found.pieces(empty)) == [(empty, False)]
    found.close()


def test_variables_that_attributes_name_are_left_out_with_a_word(applied):
    """CF conventions, section 5.2: `coordinates` names variables that are of no axis alone."""
    both = {"lat": (("y", "x"), X), "x": np.arange(10.0)}
    xr.Dataset({"t": (("y", "x"), X), "s": ("x", X[0])}, both).to_netcdf("x.h5", engine="h5netcdf")
    xr.load_dataset("x.h5", engine="h5netcdf").to_zarr("x.zarr", zarr_format=2)
    for source, target in (("x.h5", "y.h5"), ("x.h5", "y.zarr"), ("x.zarr", "z.h5"), ("x.zarr", "z.zarr")):
        done(applied("relu", source, target, "--dataset", "t"), "its attributes coordinates name")
    done(applied("relu", "x.h5", "s.h5", "--dataset", "s"))  # which has none of them
    done(applied("relu", "x.h5", "y.npy", "--dataset", "t"))  # holds numbers alone
    for name in ("y.h5", "z.h5"):
        assert_same(xr.load_dataset(name, engine="h5netcdf").t.values, RELU)


def test_where_rows_belong_together_all_chunks_are_written(applied):
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("x", (20, 20), "f4", chunks=(10, 10), fillvalue=1.0)[3, 3] = 2
    done(applied("softmax", "x.h5", "y.h5"))
    with h5py.File("y.h5") as file:
        assert file["x"].id.get_num_chunks() == 4
        assert_same(file["x"][()], rectifier.softmax(load("x.h5")))


# --- views, other files, links


def test_a_view_of_what_is_not_there_is_refused(applied, tmp_path):
    view = h5py.VirtualLayout((12, 10), "f4")
    for k in range(2):
        make(f"part{k}.h5", data=X[6 * k : 6 * k + 6])
        view[6 * k : 6 * k + 6] = h5py.VirtualSource(f"part{k}.h5", "x", (6, 10))
    with h5py.File("x.h5", "w") as file:
        file.create_virtual_dataset("x", view, fillvalue=-3)
    done(applied("relu", "x.h5", "y.h5"))
    assert_same(load("y.h5"), RELU)
    refused(applied("relu", "x.h5", "--in-place"), "view of other datasets")
    with h5py.File("x.h5", "a") as file:
        own = h5py.VirtualLayout((12, 10), "f4")
        own[...] = h5py.VirtualSource(".", "x", (12, 10))  # of the same file, and itself a view
        file.create_virtual_dataset("again", own)
    done(applied("relu", "x.h5", "y.h5", "--dataset", "again", "--force"))
    assert_same(load("y.h5", "again"), RELU)
    with h5py.File("x.h5", "a") as file:
        del file["again"]
    assert_same(load("part0.h5"), X[:6])
    make("part1.h5", "other")
    refused(applied("relu", "x.h5", "z.h5"), "x of part1.h5", "fill value")
    os.remove("part1.h5")
    refused(applied("relu", "x.h5", "z.h5"), "part1.h5, which is not there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part0.h5", "x.h5", "y.h5"]


def test_numbers_in_other_files_are_read_whole_and_never_changed(applied):
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("x", X.shape, "f4", external=[("raw.bin", 0, X.nbytes)])[...] = X
    done(applied("relu", "x.h5", "y.h5"))
    assert_same(load("y.h5"), RELU)
    refused(applied("relu", "x.h5", "--in-place"), "in other files")
    os.truncate("raw.bin", 100)
    refused(applied("relu", "x.h5", "z.h5"), "raw.bin, which is too short")


def test_links_of_all_kinds_are_followed(applied):
    make("other.h5")
    with h5py.File("x.h5", "w") as file:
        file["group/x"] = X
        file["hard"] = file["group/x"]
        file["soft"], file["way"] = h5py.SoftLink("/group/x"), h5py.SoftLink("/group")
        file["outside"], file["nowhere"] = h5py.ExternalLink("other.h5", "/x"), h5py.ExternalLink("none.h5", "/x")
        file["broken"], file["round"] = h5py.SoftLink("/absent"), h5py.SoftLink("/")
    for name in ("hard", "soft", "/soft", "way/x", "outside", "round/round/hard"):
        done(applied("relu", "x.h5", "y.h5", "--force", "--dataset", name))
        assert_same(load("y.h5", name), RELU)
    refused(applied("relu", "x.h5", "z.h5"), "there are group/x, hard, outside, soft, way/x")
    refused(applied("relu", "x.h5", "z.h5", "--dataset", "broken"), "a link to /absent, which is not there")
    refused(applied("relu", "x.h5", "z.h5", "--dataset", "nowhere"), "/x in none.h5, which is not there")
    refused(applied("relu", "x.h5", "--in-place", "--dataset", "outside"), "other.h5; name that one")
    assert_same(load("other.h5"), X)
    done(applied("relu", "x.h5", "--in-place", "--dataset", "soft"))
    assert_same(load("x.h5", "group/x"), RELU)


def test_one_array_with_two_names_is_the_only_one(applied):
    with h5py.File("x.h5", "w") as file:
        file["b"] = X
        file["a"], file["c"] = file["b"], h5py.SoftLink("a")
    done(applied("relu", "x.h5", "y.h5"))
    assert_same(load("y.h5", "a"), RELU)


# --- types


def float_type(size, fields, bias):
    datatype = h5py.h5t.IEEE_F32LE.copy()
    datatype.set_fields(*fields)
    datatype.set_size(size)
    datatype.set_ebias(bias)
    return datatype


def integer_type(base, size=None, precision=None):
    datatype = base.copy()
    if size:
        datatype.set_size(size)
    if precision:
        datatype.set_precision(precision)
    return datatype


BFLOAT16 = float_type(2, (15, 7, 8, 0, 7), 127)


@pytest.mark.parametrize("order", [h5py.h5t.ORDER_LE, h5py.h5t.ORDER_BE])
@pytest.mark.parametrize("function", ["relu", "gelu"])
def test_bfloat16_stays_bfloat16_and_is_rounded_once(applied, order, function):
    x = np.array([-1.5, 2.515625, np.nan, 3e38], ml_dtypes.bfloat16)
    datatype = BFLOAT16.copy()
    datatype.set_order(order)
    with h5py.File("x.h5", "w") as file:
        h5py.h5d.create(file.id, b"x", datatype, FOUR).write(h5py.h5s.ALL, h5py.h5s.ALL, x.view("u2"), mtype=BFLOAT16)
    done(applied(function, "x.h5", "y.h5"))
    done(applied(function, "x.h5", "--in-place"))
    expected = getattr(rectifier, function)(x)
    for name, written in (("y.h5", BFLOAT16), ("x.h5", datatype)):
        with h5py.File(name) as file:
            y = file["x"].id
            assert y.get_type() == written
            bits = np.empty(4, "u2")
            y.read(h5py.h5s.ALL, h5py.h5s.ALL, bits, mtype=BFLOAT16)
            assert_same(bits.view(ml_dtypes.bfloat16), expected)


@pytest.mark.parametrize(
    ("datatype", "kind"),
    [
        (integer_type(h5py.h5t.STD_I32LE, size=3), "i4"),
        (integer_type(h5py.h5t.STD_I16BE, precision=12), "i2"),
        (integer_type(h5py.h5t.STD_U64LE, size=5), "u8"),
    ],
)
def test_integers_of_odd_sizes_are_read_right_and_not_changed_in_place(applied, datatype, kind):
    x = np.array([-2048, 2047, -5, 7] if kind[0] == "i" else [0, 2**40 - 1, 5, 7], kind)
    with h5py.File("x.h5", "w") as file:
        h5py.h5d.create(file.id, b"x", datatype, FOUR).write(h5py.h5s.ALL, h5py.h5s.ALL, x)
    done(applied("relu", "x.h5", "y.h5"))
    assert_same(load("y.h5"), rectifier.relu(x))
    refused(applied("relu", "x.h5", "--in-place"), f"{datatype.get_precision()} bits")


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i2"])
def test_the_other_byte_order_is_changed_in_place(applied, kind):
    x = np.arange(-5, 5).astype(kind)
    make("x.h5", data=x)
    done(applied("relu", "x.h5", "--in-place"))
    y = load("x.h5")
    assert y.dtype == kind
    assert_same(y.astype(y.dtype.newbyteorder("=")), rectifier.relu(x))


REFUSED = {
    "float8_e4m3": float_type(1, (7, 3, 4, 0, 3), 7),
    "float8_e5m2": float_type(1, (7, 2, 5, 0, 2), 15),
    "1 + 8 + 10 bits": float_type(3, (18, 10, 8, 0, 10), 127),
    "1 + 15 + 64 bits": h5py.h5t.py_create(np.dtype("g")) if np.finfo("g").nmant == 63 else None,
    "bool": h5py.h5t.py_create(np.dtype("?"), logical=True),
    "an enumeration": h5py.h5t.py_create(h5py.enum_dtype({"A": 1}), logical=True),
    "a field of bits": h5py.h5t.STD_B8LE,
    "complex64": h5py.h5t.py_create(np.dtype("c8")),
    "a record": h5py.h5t.py_create(np.dtype([("a", "f4")])),
    "opaque bytes": h5py.h5t.py_create(np.dtype("V3")),
    "an array": h5py.h5t.py_create(np.dtype(("f4", (3,)))),
    "a list": h5py.h5t.py_create(h5py.vlen_dtype("f4"), logical=True),
    "a string": h5py.h5t.py_create(h5py.string_dtype(), logical=True),
    "a reference": h5py.h5t.STD_REF_OBJ,
}


@pytest.mark.parametrize("name", [name for name, datatype in REFUSED.items() if datatype is not None])
def test_what_no_function_takes_is_refused_by_its_right_name(applied, name):
    with h5py.File("x.h5", "w") as file:
        h5py.h5d.create(file.id, b"x", REFUSED[name], FOUR)
    refused(applied("relu", "x.h5", "y.h5"), "its dtype is ", name)


# --- filters

PLUGINS = {
    "Zstd": hdf5plugin.Zstd(clevel=7), "Blosc": hdf5plugin.Blosc(cname="zstd", clevel=4),
    "Blosc2": hdf5plugin.Blosc2(cname="zstd", clevel=4, filters=hdf5plugin.Blosc2.BITSHUFFLE),
    "Bitshuffle": hdf5plugin.Bitshuffle(nelems=256, cname="zstd", clevel=5), "LZ4": hdf5plugin.LZ4(),
    "BZip2": hdf5plugin.BZip2(blocksize=3), "lzf": {"compression": "lzf"},
    "gzip": {"compression": "gzip", "shuffle": True, "fletcher32": True},
}  # fmt: skip


@pytest.mark.parametrize("name", PLUGINS)
def test_the_filters_of_chunks_are_kept_with_their_settings(applied, name):
    x = np.repeat(X, 20, axis=1)
    make("x.h5", data=x, chunks=(6, 100), **PLUGINS[name])
    done(applied("relu", "x.h5", "y.h5"))
    with h5py.File("x.h5") as old, h5py.File("y.h5") as new:
        assert pipeline(new["x"]) == pipeline(old["x"])
        assert new["x"].id.get_storage_size() < x.nbytes / 2
    assert_same(load("y.h5"), np.maximum(x, 0))
    make("i.h5", data=np.arange(-32, 32, dtype="i2").reshape(8, 8), chunks=(4, 4), **PLUGINS[name])
    done(applied("tanh", "i.h5", "z.h5"))
    assert_same(load("z.h5"), rectifier.tanh(load("i.h5")))
    with h5py.File("i.h5") as old, h5py.File("z.h5") as new:
        assert [code for code, *_ in pipeline(new["x"])] == [code for code, *_ in pipeline(old["x"])]
    done(applied("relu", "x.h5", "--in-place"))
    assert_same(load("x.h5"), np.maximum(x, 0))


LOSSY = {
    "scaleoffset": {"scaleoffset": 2}, "zfp": hdf5plugin.Zfp(accuracy=0.1), "sz3": hdf5plugin.SZ3(absolute=0.1),
    "blosc2": hdf5plugin.Blosc2(cname="zstd", filters=hdf5plugin.Blosc2.TRUNC_PREC),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSY)
def test_a_store_that_rounds_is_left_out_with_a_word_and_refused_in_place(applied, name):
    make("x.h5", chunks=(12, 10), **LOSSY[name])
    refused(applied("relu", "x.h5", "--in-place"), "may round")
    done(applied("relu", "x.h5", "y.h5"), "may round what is written")
    with h5py.File("y.h5") as file:
        assert not pipeline(file["x"])
        assert_same(file["x"][()], rectifier.relu(load("x.h5")))


def test_integers_in_as_many_bits_as_they_need_are_not_rounded(applied):
    make("x.h5", data=np.arange(-30, 30), chunks=(20,), scaleoffset=True)
    done(applied("relu", "x.h5", "y.h5"))
    done(applied("relu", "x.h5", "--in-place"))
    for name in ("x.h5", "y.h5"):
        assert_same(load(name), np.maximum(np.arange(-30, 30), 0))
        with h5py.File(name) as file:
            assert [code for code, *_ in pipeline(file["x"])] == [h5py.h5z.FILTER_SCALEOFFSET]


def test_a_filter_that_is_not_there_is_named(applied, monkeypatch):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4,))
    properties.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, (1,))  # of the register's range, and not in it
    with h5py.File("x.h5", "w") as file:
        datatype = h5py.h5t.IEEE_F32LE
        h5py.h5d.create(file.id, b"x", datatype, FOUR, properties)
    refused(applied("relu", "x.h5", "y.npy"), "x.h5: filter 32099", "hdf5plugin does not either")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "hdf5plugin" else find(name))
    refused(applied("relu", "x.h5", "y.npy"), "decompress", "pip install hdf5plugin")


# --- packed values and missing values


@pytest.mark.parametrize("in_place", [False, True])
def test_packed_numbers_are_not_taken_for_values(applied, in_place):
    xr.Dataset({"x": (("a", "b"), X)}).to_netcdf(
        "x.h5", engine="h5netcdf",
        encoding={"x": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 1.0, "_FillValue": -999}},
    )  # fmt: skip
    stored, target = load("x.h5"), "x.h5" if in_place else "y.h5"
    arguments = ["relu", "x.h5", *(["--in-place"] if in_place else ["y.h5"]), "--dataset", "x"]
    refused(applied(*arguments), "scale_factor, add_offset", "--raw")
    refused(applied("tanh", "x.h5", "y.h5", "--backward", "x.h5"), "--dataset")
    assert_same(load("x.h5"), stored)
    done(applied(*arguments, "--raw"), "scale_factor, add_offset, _FillValue")
    y = xr.load_dataset(target, engine="h5netcdf")["x"]
    assert_same(y.values, np.maximum(stored, 0))


@pytest.mark.parametrize(
    ("function", "fill", "kept"),
    [("relu", 1e20, True), ("relu", np.nan, True), ("relu", -9999, False), ("relu", 0, False), ("tanh", 1e20, False),
     ("tanh", 0, True), ("relu6", 6, False), ("gelu", 1e20, True)],
)  # fmt: skip
def test_missing_values_stay_missing_or_are_refused(applied, function, fill, kept):
    x = X.copy()
    x[2:4] = np.nan
    xr.Dataset({"x": (("a", "b"), x)}).to_netcdf(
        "x.h5", engine="h5netcdf", encoding={"x": {"_FillValue": np.float32(fill)}}
    )
    result = applied(function, "x.h5", "y.h5", "--dataset", "x")
    if not kept:
        refused(result, "_FillValue", str(np.float32(fill)), "--raw")
        return
    done(result)
    y = xr.load_dataset("y.h5", engine="h5netcdf")["x"]
    assert_same(y.values, getattr(rectifier, function)(x))
    assert_same(np.float32(y.encoding["_FillValue"]), np.float32(fill))


@pytest.mark.parametrize("more", [["--derivative"], ["--backward", "dy.npy"]])
def test_a_gradient_where_values_are_missing_is_refused(applied, more):
    np.save("dy.npy", X)
    make("x.h5")
    with h5py.File("x.h5", "a") as file:
        file["x"].attrs["missing_value"] = np.float32(1e20)
    refused(applied("relu", "x.h5", "y.h5", *more), "missing_value")
