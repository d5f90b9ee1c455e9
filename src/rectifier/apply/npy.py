"""NumPy's own files, .npy and .npz."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .layout import ArrayFile, Box, FileError, Wanted, choose


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
                self.name = choose(name, [n.removesuffix(".npy") for n in self._zip.namelist() if n.endswith(".npy")])
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
