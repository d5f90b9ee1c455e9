"""Arrays of big-endian formats: taken as they are, written in place, and answered in the byte order of the machine."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import BACKENDS, assert_same, numbers
from rectifier import leaky_relu, relu, silu, softmax

X = numbers(60, np.dtype("f4")).reshape(6, 10)


def test_a_fits_image_is_updated_in_place(tmp_path):
    """The FITS standard 4.0, section 5: numbers are big-endian; astropy maps the file."""
    fits = pytest.importorskip("astropy.io.fits")
    path = tmp_path / "x.fits"
    fits.PrimaryHDU(X).writeto(path)
    with fits.open(path, mode="update", memmap=True) as file:
        image = file[0].data
        assert image.dtype == np.dtype(">f4")
        assert leaky_relu(image, out=image) is image
        _, mask = relu.with_mask(image)
        relu.backward(image, mask=mask, out=image[:])
    expected = leaky_relu(X)
    expected = np.where(np.isnan(X), expected, np.where(X > 0, expected, 0)).astype("f4")
    with fits.open(path) as file:
        assert_same(np.asarray(file[0].data).astype("f4"), expected)


def test_a_classic_netcdf_variable_is_updated_in_place(tmp_path):
    """The NetCDF classic format is XDR's, big-endian; SciPy maps the file."""
    netcdf_file = pytest.importorskip("scipy.io").netcdf_file
    x = np.random.default_rng(0).standard_normal((4, 5))
    with netcdf_file(tmp_path / "x.nc", "w") as file:
        file.createDimension("row", 4)
        file.createDimension("column", 5)
        file.createVariable("x", "f8", ("row", "column"))[:] = x
    with netcdf_file(tmp_path / "x.nc", "a", mmap=False) as file:
        data = file.variables["x"].data
        assert data.dtype == np.dtype(">f8")
        y = softmax(data)
        assert y.dtype.isnative
        assert softmax(data, data) is data
        assert_same(data.astype("f8"), y)
        del data
    with netcdf_file(tmp_path / "x.nc", mmap=False) as file:
        assert_same(file.variables["x"][:].astype("f8"), softmax(x))


def test_a_packed_record_of_a_big_endian_file():
    """A field of packed records is strided, and not aligned."""
    record = np.dtype([("flag", "u1"), ("time", ">u4"), ("sample", ">f4")])
    raw = bytearray(record.itemsize * 50)
    there = np.frombuffer(raw, record)
    there["sample"], there["time"], there["flag"] = X.ravel()[:50], np.arange(50), 7
    for package in BACKENDS.values():
        again = bytearray(raw)
        sample = np.frombuffer(again, record)["sample"]
        assert not sample.flags.aligned
        assert package.relu(sample, out=sample) is sample
        assert_same(sample.astype("f4"), relu(X.ravel()[:50]))
        rest = np.frombuffer(again, record)
        assert (rest["time"] == np.arange(50)).all()
        assert (rest["flag"] == 7).all()


@pytest.mark.parametrize("code", [">i2", ">u2", ">i4", ">f2", ">f4", ">f8"])
def test_dtypes_of_reported_arrays(code):
    """Reported of napari/napari#9144 (``>i2``), numba/numba#2243 (``>u2``) and pydata/sparse#521 (``>f8``)."""
    x = np.array([[3, 0, 7], [1, 2, 5]], code)
    native = x.astype(x.dtype.newbyteorder("="))
    for package in BACKENDS.values():
        assert_same(package.relu(x), package.relu(native))
        assert package.relu(x, out=x) is x
        assert x.dtype == np.dtype(code)
        assert np.array_equal(x, native)
        y = np.empty(x.shape, package.silu(native).dtype.newbyteorder(">"))
        assert package.silu(x, out=y) is y
        assert_same(y.astype(y.dtype.newbyteorder("=")), package.silu(native))


def test_the_other_byte_order_of_another_dtype_is_refused():
    x = X.astype(">f4")
    for out in (np.full(X.shape, 7, ">f8"), np.full(X.shape, 7, ">i4"), np.full(X.shape, 7, ">f2")):
        for call in (relu, silu, softmax, lambda a, o: relu.with_mask(a, o), lambda a, o: relu.backward(a, a, o)):
            with pytest.raises(TypeError, match=r"out has dtype >..; the result has float32"):
                call(x, out)
        assert (out == 7).all()
    locked = np.full(X.shape, 7, ">f4")
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        relu(x, locked)
