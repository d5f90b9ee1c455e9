"""Arrays in files: NumPy's .npy and .npz, HDF5, Zarr. Each is opened, checked, and read and written box by box.

A box is a tuple of slices, one an axis. Nothing that a file says is ever unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import _dtypes

Box = tuple[slice, ...]
SUFFIXES = {".npy": "npy", ".npz": "npz", ".h5": "HDF5", ".hdf5": "HDF5", ".hdf": "HDF5", ".zarr": "Zarr"}


class FileError(ValueError):
    """A file, or what was asked of it, that cannot be used: its name and what is wrong, in one line."""

    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.args[0]}" if self.path else str(self.args[0])


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Put the name of a file before what is wrong with it; what a codec finds wrong has many types."""
    try:
        yield
    except FileError as error:
        error.path = error.path or path
        raise
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            error.filename = str(path)
            raise
        wrong = FileError(f"it is damaged: {type(error).__name__}: {' '.join(str(error).split())}")
        wrong.path = path
        raise wrong from error


class Layout:
    """How an array lies in a file, or is to.

    Attributes
    ----------
    name : str
        Of the array within the file, where that has names.
    shape : tuple of int
    dtype : dtype
    chunks : tuple of int or None
        How it is stored, if not in one run.
    fortran : bool
        Whether its first axis is the one that runs fastest.
    in_order : bool
        Whether it is read from the beginning to the end, as a compressed stream is.
    """

    name = ""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None = None
    fortran = False
    in_order = False

    def __init__(self, path: Path) -> None:
        self.path = path


class ArrayFile(Layout, ABC):
    """An array in a file that is open."""

    @abstractmethod
    def read(self, box: Box, into: Any) -> None:
        """Read a box into an array of its shape."""

    @abstractmethod
    def write(self, box: Box, array: Any) -> None:
        """Write a box."""

    def close(self) -> None:
        """Let go of the file, with all that was written in it."""


class _Run(ArrayFile):
    """An array whose elements lie in one run, behind a header."""

    def _lay(self, header: tuple[tuple[int, ...], bool, np.dtype[Any]]) -> None:
        self.shape, self.fortran, self.dtype = header

    def _pieces(self, box: Box, array: Any) -> Iterator[tuple[int, Any]]:
        """Give the pieces of a box that are runs in the file: the element where each begins, and its part of array."""
        shape = self.shape
        if self.fortran:
            shape, box, array = shape[::-1], box[::-1], array.T
        steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        inner = len(shape)  # the axes from here on are whole, so they and the one before are one run
        while inner and box[inner - 1] == slice(0, shape[inner - 1]):
            inner -= 1
        outer = max(inner - 1, 0)
        first = sum(side.start * step for side, step in zip(box[outer:], steps[outer:], strict=True))
        for place in np.ndindex(*array.shape[:outer]):
            start = sum((side.start + k) * step for side, k, step in zip(box, place, steps, strict=False))
            yield start + first, array[*place, ...]


class Npy(_Run):
    """A .npy file."""

    def __init__(self, path: Path, writable: bool = False, make: Wanted | None = None) -> None:
        super().__init__(path)
        self._file: BinaryIO = open(path, "xb" if make else "r+b" if writable else "rb", buffering=0)  # noqa: SIM115
        try:
            if make:
                self._lay((make.shape, make.fortran, make.dtype))
                _write_header(self._file, self)
                self._begin = self._file.tell()
                _reserve(self._file, self._begin + math.prod(self.shape) * self.dtype.itemsize)
            else:
                self._lay(_header(self._file))
                self._begin = self._file.tell()
                _require_size(os.fstat(self._file.fileno()).st_size - self._begin, self)
        except BaseException:
            self._file.close()
            raise

    def read(self, box: Box, into: Any) -> None:
        """Read a box."""
        for start, piece in self._pieces(box, into):
            straight = piece.flags.c_contiguous
            buffer = piece if straight else np.empty(piece.shape, piece.dtype)
            view = buffer.reshape(-1).view(np.uint8).data
            place = self._begin + start * self.dtype.itemsize
            while view:
                got = os.preadv(self._file.fileno(), [view], place)
                if not got:
                    raise FileError("it has become shorter while it was read")
                view, place = view[got:], place + got
            if not straight:
                piece[...] = buffer

    def write(self, box: Box, array: Any) -> None:
        """Write a box."""
        for start, piece in self._pieces(box, array):
            view = np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data
            place = self._begin + start * self.dtype.itemsize
            while view:
                put = os.pwrite(self._file.fileno(), view, place)
                view, place = view[put:], place + put

    def close(self) -> None:
        """Close, when all that was written is on the disk."""
        if not self._file.closed:
            if self._file.writable():
                os.fsync(self._file.fileno())
            self._file.close()


class Npz(_Run):
    """An array of a .npz file: a .npy file in a zip archive, a stream that is read and written in order."""

    in_order = True

    def __init__(self, path: Path, name: str | None = None, make: Wanted | None = None) -> None:
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path, "x" if make else "r")
        except zipfile.BadZipFile as error:
            raise FileError(f"it is no .npz file: {error}") from None
        try:
            if make:
                self.name = make.name or "arr_0"
                self._lay((make.shape, make.fortran, make.dtype))
                member = zipfile.ZipInfo(f"{self.name}.npy")
                member.compress_type = make.compression
                self._stream: Any = self._zip.open(member, "w", force_zip64=True)
                _write_header(self._stream, self)
            else:
                self.name = _choose(name, [n.removesuffix(".npy") for n in self._zip.namelist() if n.endswith(".npy")])
                info = self._zip.getinfo(f"{self.name}.npy")
                self.compression = info.compress_type
                self._stream = self._zip.open(info)
                self._lay(_header(self._stream))
                _require_size(info.file_size - self._stream.tell(), self)
        except BaseException:
            self.close()
            raise

    def read(self, box: Box, into: Any) -> None:
        """Read the next box; with its last bytes the stream is checked."""
        for _, piece in self._pieces(box, into):
            view = piece.reshape(-1).view(np.uint8).data
            while view:
                got = self._stream.readinto(view)
                if not got:
                    raise FileError("it ends too soon")
                view = view[got:]
        if all(side.stop == length for side, length in zip(box, self.shape, strict=True)):
            self._stream.read(1)

    def write(self, box: Box, array: Any) -> None:
        """Write the next box."""
        for _, piece in self._pieces(box, array):
            self._stream.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)

    def close(self) -> None:
        """Write the table of contents."""
        with contextlib.suppress(AttributeError):
            self._stream.close()
        self._zip.close()


class HDF5(ArrayFile):
    """A dataset of an HDF5 file."""

    def __init__(self, path: Path, name: str | None = None, writable: bool = False, make: Wanted | None = None) -> None:
        import h5py

        super().__init__(path)
        self._dataset: Any
        try:
            self._file = h5py.File(path, "x" if make else "r+" if writable else "r")
        except OSError as error:
            if error.errno:
                raise
            raise FileError(f"it is no HDF5 file, or is damaged: {error}") from None
        try:
            if make:
                self.name = make.name or "x"
                old = make.source._dataset if isinstance(make.source, HDF5) else None
                settings = {}
                if old is not None and make.chunks:
                    names = ("compression", "compression_opts", "shuffle", "fletcher32")
                    settings = {setting: getattr(old, setting) for setting in names}
                self._dataset = self._file.create_dataset(
                    self.name, make.shape, make.dtype, chunks=make.chunks, **settings
                )
                if old is not None:
                    self._dataset.attrs.update(old.attrs)
            else:
                found: list[str] = []
                self._file.visititems(lambda n, item: found.append(n) if isinstance(item, h5py.Dataset) else None)
                self.name = _choose(name, found)
                self._dataset = self._file[self.name]
            self.shape, self.dtype, self.chunks = self._dataset.shape, self._dataset.dtype, self._dataset.chunks
            if self.shape is None:
                raise FileError(f"{self.name} is empty: it has a dtype and no shape")
        except BaseException:
            self._file.close()
            raise

    def read(self, box: Box, into: Any) -> None:
        """Read a box."""
        if into.size:
            into[...] = self._dataset[box]

    def write(self, box: Box, array: Any) -> None:
        """Write a box."""
        if array.size:
            self._dataset[box] = array

    def close(self) -> None:
        """Close, when all that was written is in the file."""
        self._file.close()


class Zarr(ArrayFile):
    """An array in a directory of Zarr, version 2 or 3."""

    def __init__(self, path: Path, name: str | None = None, writable: bool = False, make: Wanted | None = None) -> None:
        import zarr

        super().__init__(path)
        if make:
            self._array: Any = _make_zarr(path, make)
        else:
            array: Any = path
            if not _is_array(path):
                found = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_dir() and _is_array(p))
                self.name = _choose(name, found)
                array = path / self.name
            _require_no_pickle(array)
            try:
                self._array = zarr.open_array(array, mode="r+" if writable else "r")
            except (KeyError, ValueError, TypeError) as error:
                raise FileError(f"Zarr cannot open it: {error}") from None
        self.shape, self.dtype = self._array.shape, np.dtype(self._array.dtype)
        self.chunks = self._array.shards or self._array.chunks

    def read(self, box: Box, into: Any) -> None:
        """Read a box."""
        into[...] = self._array[box]

    def write(self, box: Box, array: Any) -> None:
        """Write a box."""
        self._array[box] = array


def _is_array(path: Path) -> bool:
    return (path / ".zarray").is_file() or _metadata(path).get("node_type") == "array"


def _metadata(path: Path) -> Any:
    """Read what Zarr says of an array or a group."""
    for name in (".zarray", "zarr.json"):
        with contextlib.suppress(FileNotFoundError):
            try:
                return json.loads((path / name).read_text(encoding="utf-8"))
            except ValueError:
                raise FileError(f"its {name} is no JSON") from None
    return {}


def _require_no_pickle(path: Path) -> None:
    metadata = _metadata(path)
    codecs = [*(metadata.get("filters") or ()), metadata.get("compressor"), *metadata.get("codecs", ())]
    names = [str(codec.get("id") or codec.get("name")) for codec in codecs if isinstance(codec, dict)]
    if any("pickle" in name for name in names) or metadata.get("dtype") == "|O":
        raise FileError("it holds pickled Python objects, which may run any code: they are not read")


def _make_zarr(path: Path, make: Wanted) -> Any:
    import zarr

    settings: dict[str, Any] = {"chunks": make.chunks or "auto"}
    if isinstance(make.source, Zarr):
        old = make.source._array
        settings.update(zarr_format=old.metadata.zarr_format, compressors=old.compressors)
        if make.chunks == make.source.chunks:
            settings.update(chunks=old.chunks, shards=old.shards)
        settings["attributes"] = dict(old.attrs)
    return zarr.create_array(path, shape=make.shape, dtype=make.dtype, **settings)


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a .npy file."""
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise FileError("its header is one of structured arrays")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(file)
    except FileError:
        raise
    except (ValueError, EOFError) as error:
        raise FileError(f"it is no .npy file, or is damaged: {str(error).splitlines()[0]}") from None
    if header[2].hasobject:
        raise FileError("it holds pickled Python objects, which may run any code: they are not read")
    return header


def _write_header(file: Any, array: ArrayFile) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": array.fortran,
        "shape": array.shape,
    }
    np.lib.format.write_array_header_1_0(file, header)


def _require_size(size: int, array: ArrayFile) -> None:
    wanted = math.prod(array.shape) * array.dtype.itemsize
    if size != wanted:
        what = "truncated" if size < wanted else "followed by something else"
        raise FileError(f"it is {what}: its header says {wanted:,} bytes of data, and there are {size:,}")


def _reserve(file: BinaryIO, size: int) -> None:
    """Have the disk say now whether the file fits."""
    with contextlib.suppress(AttributeError):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


def _choose(name: str | None, names: list[str]) -> str:
    """Give the array that is asked for, or the only one."""
    if name is not None and name.strip("/") in names:
        return name.strip("/")
    if name is None and len(names) == 1:
        return names[0]
    there = f"there are {', '.join(names)}" if names else "there is none"
    raise FileError(f"it has no array {name}: {there}" if name else f"name one of its arrays by --dataset: {there}")


def format_of(path: Path) -> str:
    """Give the format that a path asks for."""
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise FileError(f"no format is known by the suffix {path.suffix!r}: there are {', '.join(SUFFIXES)}")
    return found


def opened(path: Path, name: str | None = None, *, writable: bool = False) -> ArrayFile:
    """Open an array, and see that its dtype is one of numbers.

    Raises
    ------
    FileError
        If it cannot be used.
    OSError
        If the system does not let it be opened.
    """
    with named(path):
        return _opened(path, name, writable)


def _opened(path: Path, name: str | None, writable: bool) -> ArrayFile:
    kind = format_of(path)
    if kind != "Zarr" and path.is_dir():
        raise FileError("it is a directory")
    if kind == "Zarr" and not path.is_dir():
        raise FileError("it is no directory of Zarr" if path.exists() else os.strerror(errno.ENOENT))
    array: ArrayFile
    if kind == "npy":
        array = Npy(path, writable)
    elif kind == "npz":
        array = Npz(path, name)
    else:
        array = (HDF5 if kind == "HDF5" else Zarr)(path, name, writable)
    try:
        _dtypes.require_real(array.dtype, "its array", "apply")
    except TypeError:
        array.close()
        raise FileError(f"its dtype is {array.dtype}; apply takes integers and float16 to float64") from None
    return array


class Wanted(Layout):
    """What an output is to be."""

    def __init__(self, source: ArrayFile, dtype: np.dtype[Any], chunks: tuple[int, ...] | None) -> None:
        super().__init__(source.path)
        self.name, self.shape, self.dtype, self.fortran = source.name, source.shape, dtype, source.fortran
        self.chunks, self.source = chunks or source.chunks, source
        self.compression = getattr(source, "compression", zipfile.ZIP_STORED)


@contextlib.contextmanager
def made(path: Path, wanted: Wanted, force: bool) -> Iterator[ArrayFile]:
    """Make an output beside its target; it gets its name when it is whole, and else is removed."""
    kind = {"npy": Npy, "npz": Npz, "HDF5": HDF5, "Zarr": Zarr}[format_of(path)]
    part = part_of(path)
    target: Any = None
    try:
        with named(path):
            target = kind(part, make=wanted)
        yield target
        with named(path):
            target.close()
            publish(part, path, force)
    except BaseException:
        with contextlib.suppress(Exception):
            target.close()
        remove(part)
        raise


def part_of(path: Path) -> Path:
    """Give the name of an output that is not yet whole."""
    return path.with_name(f".{path.name}.part-{os.getpid()}")


def remove(part: Path) -> None:
    """Remove an output that is not whole."""
    if part.is_file():
        part.unlink()
    elif part.exists():
        for _ in range(10):  # of a write that failed Zarr goes on with the other chunks, in threads of its own
            shutil.rmtree(part, ignore_errors=True)
            time.sleep(0.02)


def publish(part: Path, path: Path, force: bool) -> None:
    """Give a whole output its name; what has that name is replaced only by force."""
    if part.is_dir():
        old = path.with_name(f".{path.name}.old-{os.getpid()}")
        if force and path.exists():
            path.rename(old)
        part.rename(path)
        remove(old)
    elif force:
        part.replace(path)
    else:
        try:
            os.link(part, path)  # refuses a name that is taken, as a rename does not
            part.unlink()
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        except OSError:  # a file system without links
            part.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
