"""`.npy` and `.npz` files as others write them, and as nobody should.

References
----------
"NEP 1: A simple file format for NumPy arrays", and the documentation of ``numpy.lib.format``.
"APPNOTE.TXT: .ZIP File Format Specification", sections 4.3 to 4.5.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import rectifier
from rectifier.tools import apply
from rectifier.tools.apply import boxes

X = np.arange(-6, 6, dtype="f4").reshape(3, 4)


def npy(header: str, data: bytes = b"", version=(1, 0), length=None) -> bytes:
    text = header.encode("utf-8" if version == (3, 0) else "latin1")
    form = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, len(text) if length is None else length) + text + data


def header(descr="'<f4'", order="False", shape="(3, 4)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def zipped(path: Path, content: bytes, method=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("x.npy", content)
    return path


def relu(source: Path, target: Path | None = None, **what) -> np.ndarray:
    """Apply relu to a file, and load what was made of it."""
    apply.run(apply.Job("relu", source, target, memory=4 << 30, **what), lambda stage, nbytes: lambda done: None)
    y = np.load(target or source)
    return y["x"] if isinstance(y, np.lib.npyio.NpzFile) else y


def refused(path: Path, *words, **what) -> None:
    with pytest.raises(apply.FileError) as wrong:
        relu(path, path.with_name("y.npy"), **what)
    assert all(word in str(wrong.value) for word in words), str(wrong.value)
    assert "\n" not in str(wrong.value)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_each_version_is_read(tmp_path, version, suffix):
    """Versions 2.0 and 3.0 differ from 1.0 by the length and the encoding of the header alone."""
    path, content = tmp_path / f"x{suffix}", npy(header(), X.tobytes(), version)
    path.write_bytes(content) if suffix == ".npy" else zipped(path, content)
    assert np.array_equal(relu(path, tmp_path / "y.npy"), np.maximum(X, 0))


def test_headers_of_python_2_are_read(tmp_path):
    """Python 2 wrote long integers as 3L; numpy.lib.format filters that of versions before 3.0."""
    path = tmp_path / "x.npy"
    path.write_bytes(npy(header(shape="(3L, 4L)"), X.tobytes()))
    assert np.array_equal(relu(path, tmp_path / "y.npy"), np.maximum(X, 0))
    (tmp_path / "other").mkdir()
    third = tmp_path / "other" / "x.npy"
    third.write_bytes(npy(header(shape="(3L, 4L)"), X.tobytes(), (3, 0)))
    refused(third, "no literal")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_bfloat16_is_what_dtype_says_void_is(tmp_path, suffix):
    """np.save writes bfloat16 of ml_dtypes as void of two bytes, and np.load gives void."""
    x = X.astype(ml_dtypes.bfloat16)
    path, y = tmp_path / f"x{suffix}", tmp_path / f"y{suffix}"
    np.save(path, x) if suffix == ".npy" else np.savez(path, x=x)
    refused(path, "|V2", "--dtype bfloat16")
    refused(path, "2 bytes", "float32 have 4", dtype="float32")
    refused(path, "bfloat16", "'complex'", dtype="complex")
    got = relu(path, y, dtype="bfloat16")
    assert got.dtype.itemsize == 2
    assert np.array_equal(got.view(ml_dtypes.bfloat16), np.maximum(X, 0).astype(ml_dtypes.bfloat16))
    if suffix == ".npy":
        expected = io.BytesIO()
        np.save(expected, rectifier.relu(x))
        assert y.read_bytes() == expected.getvalue()
        dx = tmp_path / "dx.npy"
        what = apply.Job("relu", path, dx, upstream=y, dtype="bfloat16", memory=4 << 30)
        apply.run(what, lambda stage, nbytes: lambda done: None)
        assert np.array_equal(np.load(dx).view(ml_dtypes.bfloat16), np.maximum(X, 0).astype(ml_dtypes.bfloat16))
        assert np.array_equal(relu(path, dtype="bfloat16"), got)


def test_dtype_converts_nothing(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    refused(path, "float32", "converts none", dtype="bfloat16")
    assert np.array_equal(relu(path, tmp_path / "y.npy", dtype="float32"), np.maximum(X, 0))


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        (ml_dtypes.float8_e4m3fn, ("|V1", "float8")),
        (ml_dtypes.float8_e5m2, ("<f1", "float8_e5m2", "astype(np.float32)")),
        ([("a", "f4"), ("b\x1b\n", "f4")], ("structured", "fields a, b", "'a.npy'")),
        ("V3", ("|V3", "--dtype")),
        ("f4, f4", ("structured", "f0, f1")),
    ],
)
def test_elements_that_are_no_numbers_are_named(tmp_path, elements, words):
    np.save(tmp_path / "x.npy", np.zeros(3, elements))
    refused(tmp_path / "x.npy", *words)


WRONG = {
    "negative": (header(shape="(-3, -4)"), ("(-3, -4)",)),
    "bool": (header(shape="(True, 12)"), ("(True, 12)",)),
    "float": (header(shape="(12.0,)"), ("(12.0,)",)),
    "list": (header(shape="[3, 4]"), ("[3, 4]",)),
    "order": (header(order="0"), ("fortran_order 0",)),
    "axes": (header(shape=str((1,) * 64 + (12,))), ("65 axes", "64")),
    "large": (header(shape=f"({1 << 40}, {1 << 40})"), ("more than",)),
    "large and empty": (header(shape=f"({(1 << 63) - 1}, 0)"), ("more than",)),
    "more keys": ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'x': 1}\n", ("dictionary",)),
    "fewer keys": ("{'descr': '<f4', 'shape': (3, 4)}\n", ("dictionary",)),
    "no dictionary": ("12\n", ("dictionary",)),
    "no literal": ("{'descr': open('it-ran', 'w')}\n", ("no literal",)),
    "deep": (header(descr="(" * 3000 + ")" * 3000), ("no literal",)),
    "dtype": (header(descr="'<q9'"), ("'<q9'",)),
    "subarray": (header(descr="'(2,)<f4'", shape="(6,)"), ("elements are arrays",)),
    "objects": (header(descr="'|O'", shape="(6,)"), ("pickled",)),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_header_that_is_wrong_is_refused(tmp_path, case):
    text, words = WRONG[case]
    (tmp_path / "x.npy").write_bytes(npy(text, X.tobytes()))
    refused(tmp_path / "x.npy", *words)


def test_a_header_is_not_read_beyond_what_one_has(tmp_path):
    """The length of a header of version 2.0 has four bytes: here 1 GiB, which the (sparse) file does have."""
    with open(tmp_path / "x.npy", "wb") as file:
        file.write(npy("", version=(2, 0), length=1 << 30))
        file.truncate(1 << 30)
    refused(tmp_path / "x.npy", "1,073,741,824 bytes")


def test_an_empty_array_with_a_long_axis_is_done_at_once(tmp_path):
    (tmp_path / "x.npy").write_bytes(npy(header(shape=f"({1 << 60}, 0)")))
    assert relu(tmp_path / "x.npy", tmp_path / "y.npy").shape == (1 << 60, 0)
    assert (tmp_path / "y.npy").stat().st_size == 128


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i2"])
def test_big_endian_files_in_place_keep_their_byte_order(tmp_path, kind):
    np.save(tmp_path / "x.npy", X.astype(kind))
    assert relu(tmp_path / "x.npy").dtype == np.dtype(kind)
    assert np.array_equal(np.load(tmp_path / "x.npy"), np.maximum(X, 0))


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_each_method_of_zip_is_read(tmp_path, method, order):
    x = np.random.default_rng(0).standard_normal((60, 80), dtype="f4")
    content = io.BytesIO()
    np.save(content, np.asarray(x, order=order))
    path = zipped(tmp_path / "x.npz", content.getvalue(), method)
    assert np.array_equal(relu(path, tmp_path / "y.npz"), np.maximum(x, 0))
    with zipfile.ZipFile(tmp_path / "y.npz") as file:
        assert file.infolist()[0].compress_type == method
        assert file.testzip() is None


@pytest.mark.parametrize("suffixes", [(".npy", ".npz"), (".npz", ".npy"), (".npz", ".npz")])
def test_arrays_in_two_orders_are_read_each_in_its_own(tmp_path, monkeypatch, suffixes):
    monkeypatch.setattr(boxes, "PIECE", 32)  # less than the array
    monkeypatch.setattr(boxes, "CHUNKED_PIECE", 32)
    dy = X + 100
    for name, array, suffix in (("x", X, suffixes[0]), ("dy", np.asfortranarray(dy), suffixes[1])):
        path = tmp_path / f"{name}{suffix}"
        np.save(path, array) if suffix == ".npy" else np.savez(path, x=array)
    sources = tmp_path / f"x{suffixes[0]}", tmp_path / f"dy{suffixes[1]}"
    got = relu(sources[0], tmp_path / "y.npy", upstream=sources[1])
    assert np.array_equal(got, np.where(X > 0, dy, 0))


def patched(path: Path, method=None, flag=0) -> Path:
    """Change the method and the flags of the only member, where it is and in the directory."""
    raw = bytearray(zipped(path, npy(header(), X.tobytes())).read_bytes())
    directory = raw.index(b"PK\x01\x02")
    for flags, methods in ((6, 8), (directory + 8, directory + 10)):
        raw[flags] |= flag
        raw[methods] = method or 0
    path.write_bytes(raw)
    return path


def test_archives_that_cannot_be_read_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    refused(patched(path, flag=1), "encrypted")
    refused(patched(path, method=97), "method 97")
    path.unlink()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", npy(header(), X.tobytes()))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("x.npy", npy(header(), (-X).tobytes()))
    refused(path, "more than one array x")


def archive(path: Path, method: int, packed: bytes, size: int, crc: int) -> Path:
    """Write an archive whose directory says whatever one likes."""
    common = struct.pack("<HHHHIII", 0, method, 0, 33, crc, len(packed), size)
    local = b"PK\x03\x04" + struct.pack("<H", 63) + common + struct.pack("<HH", 5, 0) + b"x.npy"
    entry = (
        b"PK\x01\x02" + struct.pack("<HH", 63, 63) + common + struct.pack("<HHHHHII", 5, 0, 0, 0, 0, 0, 0) + b"x.npy"
    )
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local) + len(packed), 0)
    path.write_bytes(local + packed + entry + end)
    return path


def test_a_stream_longer_or_shorter_than_its_directory_says_is_refused(tmp_path):
    content = npy(header(), X.tobytes())
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = encoder.compress(content + b"more") + encoder.flush()
    refused(archive(tmp_path / "x.npz", 8, packed, len(content), zlib.crc32(content)), "longer")
    refused(archive(tmp_path / "x.npz", 8, packed[:20], len(content), zlib.crc32(content)), "too soon")
    refused(archive(tmp_path / "x.npz", 0, content, len(content) + 4, zlib.crc32(content)), "as ")
    refused(archive(tmp_path / "x.npz", 0, content, len(content), 7), "CRC")


def test_the_directory_of_an_archive_is_not_read_beyond_the_memory(tmp_path):
    with open(tmp_path / "x.npz", "wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(1 << 34)
        file.seek(1 << 34)
        file.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 100, 100, (1 << 32) - 2, 4, 0))
    refused(tmp_path / "x.npz", "directory of its archive is too large")
