"""NumPy's own files, .npy and .npz.

References
----------
"NEP 1: A simple file format for NumPy arrays"; ``numpy.lib.format``, for versions 2.0 and 3.0.
PKWARE, "APPNOTE.TXT: .ZIP File Format Specification".
"""

from __future__ import annotations

import ast
import bz2
import contextlib
import errno
import io
import lzma
import math
import os
import re
import struct
import warnings
import zipfile
import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .layout import ArrayFile, Box, FileError, Wanted, choose, places, require_array

# Version of the format -> how the length of its header is stored, and in which encoding the header is.
VERSIONS = {(1, 0): ("<H", "latin1"), (2, 0): ("<I", "latin1"), (3, 0): ("<I", "utf-8")}
LONGEST_HEADER = 10_000  # beyond it NumPy does not parse either: a deep literal may crash the parser
LONG = re.compile(r"\b(\d+)L\b")  # as Python 2 wrote its long integers
PACKED_PIECE = 1 << 16  # bytes of a compressed stream that are decoded in one call
ENTRY = (
    1 << 10
)  # what an entry of a zip archive's directory takes in memory, with room to spare; on disk it has 46 bytes or more
ENCRYPTED, PATCHED, STRONGLY_ENCRYPTED, UTF8_NAME = 0x1, 0x20, 0x40, 0x800
# What a compressor of `zipfile` holds, measured; a decompressor of LZMA holds its dictionary.
COMPRESSOR_BYTES = {
    zipfile.ZIP_STORED: 0,
    zipfile.ZIP_DEFLATED: 1 << 19,
    zipfile.ZIP_BZIP2: 8 << 20,
    zipfile.ZIP_LZMA: 100 << 20,
}


class _Run(ArrayFile):
    """An array whose elements lie in one run, behind a header.

    Attributes
    ----------
    void : bool
        Whether the file says of its elements only how many bytes they have, so that their dtype is what the user says.
    """

    void = False

    def _lay(self, header: tuple[tuple[int, ...], bool, np.dtype[Any]], view: np.dtype[Any] | None) -> None:
        self.shape, self.fortran, dtype = header
        self.void = dtype.kind == "V"
        self.dtype = _element(dtype, view) if self.void else dtype
        require_array(self.shape, self.dtype.itemsize)

    def _pieces(self, box: Box, array: Any) -> Iterator[tuple[int, Any]]:
        """Yield the pieces of a box that are runs in the file: the element where each begins, and its part of array."""
        shape = self.shape
        if self.fortran:
            shape, box, array = shape[::-1], box[::-1], array.T
        steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        inner = len(shape)  # the axes from here on are whole, so they and the one before are one run
        while inner and box[inner - 1] == slice(0, shape[inner - 1]):
            inner -= 1
        outer = max(inner - 1, 0)
        first = sum(side.start * step for side, step in zip(box[outer:], steps[outer:], strict=True))
        for place in places(array.shape[:outer]):
            start = sum((side.start + k) * step for side, k, step in zip(box, place, steps, strict=False))
            yield start + first, array[*place, ...]

    def read(self, box: Box, into: Any) -> None:
        """Read a box; of a stream, the next one."""
        for start, piece in self._pieces(box, into):
            straight = piece.flags.c_contiguous
            buffer = piece if straight else np.empty(piece.shape, piece.dtype)
            self._read_run(start * self.dtype.itemsize, buffer.reshape(-1).view(np.uint8).data)
            if not straight:
                piece[...] = buffer

    def write(self, box: Box, array: Any) -> None:
        """Write a box; of a stream, the next one."""
        for start, piece in self._pieces(box, array):
            self._write_run(start * self.dtype.itemsize, np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)

    @abstractmethod
    def _read_run(self, start: int, view: memoryview) -> None:
        """Read bytes that begin at `start`, counted from the first element."""

    @abstractmethod
    def _write_run(self, start: int, view: memoryview) -> None:
        """Write bytes that begin at `start`."""


class Npy(_Run):
    """A .npy file; elements that it calls void are taken as `view`."""

    def __init__(
        self, path: Path, writable: bool = False, make: Wanted | None = None, view: np.dtype[Any] | None = None
    ) -> None:
        super().__init__(path)
        self._file: BinaryIO = open(path, "xb" if make else "r+b" if writable else "rb", buffering=0)  # noqa: SIM115
        try:
            if make:
                self._lay((make.shape, make.fortran, make.dtype), make.dtype)
                _write_header(self._file, self)
                self._begin = self._file.tell()
                _reserve(self._file, self._begin + math.prod(self.shape) * self.dtype.itemsize)
            else:
                self._lay(_header(self._file.read), view)
                self._begin = self._file.tell()
                _require_size(os.fstat(self._file.fileno()).st_size - self._begin, self)
        except BaseException:
            self._file.close()
            raise

    def _read_run(self, start: int, view: memoryview) -> None:
        place = self._begin + start
        while view:
            got = os.preadv(self._file.fileno(), [view], place)
            if not got:
                raise FileError("it has become shorter while it was read")
            view, place = view[got:], place + got

    def _write_run(self, start: int, view: memoryview) -> None:
        place = self._begin + start
        while view:
            put = os.pwrite(self._file.fileno(), view, place)
            view, place = view[put:], place + put

    def close(self) -> None:
        """Close."""
        self._file.close()


class Npz(_Run):
    """An array of a .npz file: a .npy file in a zip archive, a stream that is read and written in order.

    Elements that it calls void are taken as `view`; of the archive's directory at most `memory` bytes are read.
    """

    in_order = True

    def __init__(
        self,
        path: Path,
        name: str | None = None,
        make: Wanted | None = None,
        view: np.dtype[Any] | None = None,
        memory: int = 1 << 28,
    ) -> None:
        super().__init__(path)
        self._zip: zipfile.ZipFile | None = None
        self._writing: Any = None
        self._file: Any = open(path, "xb") if make else _Bounded(path, memory * 46 // ENTRY)  # noqa: SIM115
        try:
            if make:
                self.name, self.compression = make.name or "arr_0", make.compression
                self._lay((make.shape, make.fortran, make.dtype), make.dtype)
                self.codec_bytes = COMPRESSOR_BYTES.get(self.compression, 0)
                self._zip = zipfile.ZipFile(self._file, "w")
                member = zipfile.ZipInfo(f"{self.name}.npy")
                member.compress_type = self.compression
                self._writing = self._zip.open(member, "w", force_zip64=True)
                _write_header(self._writing, self)
            else:
                try:
                    self._zip = zipfile.ZipFile(self._file)
                except zipfile.BadZipFile as error:
                    raise FileError(f"it is no .npz file: {error}") from None
                info = _member(self._zip.infolist(), name)
                self.name, self.compression = info.filename.removesuffix(".npy"), info.compress_type
                self._stream = _Member(self._file, info)
                self.codec_bytes = self._stream.memory
                self._lay(_header(self._stream.read), view)
                _require_size(self._stream.left, self)
                if not self._stream.left:
                    self._stream.require_end()
        except BaseException:
            with contextlib.suppress(Exception):
                self.close()
            raise

    def _read_run(self, start: int, view: memoryview) -> None:
        self._stream.readinto(view)

    def _write_run(self, start: int, view: memoryview) -> None:
        self._writing.write(view)

    def close(self) -> None:
        """Write the table of contents."""
        if not self._file.closed:
            try:
                if self._writing is not None:
                    self._writing.close()
                if self._zip is not None:
                    self._zip.close()
            finally:
                self._file.close()


class _Bounded(io.FileIO):
    """A file of which no more than `most` bytes are read in one call: `zipfile` reads what an archive says."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path)
        self._most = max(most, 1 << 17)  # the end of an archive is looked for in its last 64 KiB

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes; all that follow without a number."""
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > self._most:
            raise FileError("the directory of its archive is too large for --memory, or damaged")
        return super().read(size) or b""


class _Deflate:
    """Decode raw deflate, with the interface of the decoders of bz2 and lzma."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        self._full = False

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        """Whether the next bytes need more input."""
        return not self._full and not self._decoder.unconsumed_tail

    def decompress(self, data: bytes, most: int) -> bytes:
        """Decode at most so many bytes."""
        decoded = self._decoder.decompress(self._decoder.unconsumed_tail + data, most)
        self._full = len(decoded) == most
        return decoded


class _Member:
    """A member of a zip archive, decoded from its beginning to its end in bounded memory.

    `zipfile` decodes a whole piece of LZMA or bzip2 at once, of which 4 KiB may hold gigabytes.

    Attributes
    ----------
    left : int
        Decoded bytes that are not yet read.
    memory : int
        Bytes that the decoder holds.
    """

    def __init__(self, file: Any, info: zipfile.ZipInfo) -> None:
        self._file, self._packed, self._crc, self._wanted_crc = file, info.compress_size, 0, info.CRC
        self.left, self.memory = info.file_size, 0
        size = os.fstat(file.fileno()).st_size
        file.seek(info.header_offset)
        head = file.read(30)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise FileError(f"it is damaged: {info.filename} is not where its directory says")
        name, extra = struct.unpack_from("<HH", head, 26)
        if file.read(name).decode("utf-8" if info.flag_bits & UTF8_NAME else "cp437", "replace") != info.orig_filename:
            raise FileError(f"it is damaged: where {info.filename} should be is another array")
        file.seek(extra, os.SEEK_CUR)
        if file.tell() + self._packed > size:
            raise FileError(f"it is truncated: {info.filename} has {self._packed:,} bytes by its directory")
        self._decoder: Any = None
        if info.compress_type == zipfile.ZIP_DEFLATED:
            self._decoder = _Deflate()
        elif info.compress_type == zipfile.ZIP_BZIP2:
            self._decoder, self.memory = bz2.BZ2Decompressor(), 4 << 20
        elif info.compress_type == zipfile.ZIP_LZMA:
            self._decoder, self.memory = self._lzma()
        elif info.compress_type != zipfile.ZIP_STORED:
            raise FileError(
                f"{info.filename} is compressed by method {info.compress_type} of zip, which is not read here"
            )
        elif self._packed != self.left:
            raise FileError(f"it is damaged: {info.filename} is stored, {self._packed:,} bytes, as {self.left:,}")

    def _lzma(self) -> tuple[lzma.LZMADecompressor, int]:
        """Read the properties that zip stores before the stream."""
        head = self._raw(9)
        if len(head) < 9 or head[2:4] != b"\x05\x00" or head[4] >= 225:
            raise FileError("it is damaged: its LZMA stream has no properties")
        code, dictionary = head[4], int.from_bytes(head[5:], "little")
        dictionary = max(min(dictionary, self.left), 1 << 12)  # nothing farther back than the beginning is copied
        settings = {"lc": code % 9, "lp": code // 9 % 5, "pb": code // 45}
        filters = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, **settings}]
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), dictionary

    def _raw(self, size: int) -> bytes:
        """Read the next bytes as they are in the file."""
        data: bytes = self._file.read(min(size, self._packed))
        self._packed -= len(data)
        return data

    def _decoded(self, most: int) -> bytes:
        """Decode some bytes, at most so many; nothing at the end of the stream."""
        while not self._decoder.eof:
            data = self._raw(PACKED_PIECE) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not data:
                return b""
            decoded: bytes = self._decoder.decompress(data, most)
            if decoded:
                return decoded
        return b""

    def readinto(self, view: memoryview) -> None:
        """Read as many bytes as the view has; with the last ones the stream is checked."""
        if len(view) > self.left:
            raise FileError("it ends too soon")
        while view:
            if self._decoder is None:
                got = self._file.readinto(view)
            else:
                decoded = self._decoded(min(len(view), PACKED_PIECE))
                got = len(decoded)
                view[:got] = decoded
            if not got:
                raise FileError("it ends too soon")
            self._crc = zlib.crc32(view[:got], self._crc)
            self.left -= got
            view = view[got:]
        if not self.left:
            self.require_end()

    def read(self, size: int) -> bytes:
        """Read bytes, fewer only at the end."""
        data = bytearray(min(size, self.left))
        self.readinto(memoryview(data))
        return bytes(data)

    def require_end(self) -> None:
        """Check that the stream ends here, and is what it was."""
        if self._decoder is not None and self._decoded(1):
            raise FileError("it is damaged: its stream is longer than its directory says")
        if self._crc != self._wanted_crc:
            raise FileError("it is damaged: its CRC-32 is another")


def _member(infos: list[zipfile.ZipInfo], name: str | None) -> zipfile.ZipInfo:
    """Choose an array of an archive, and see that it can be read."""
    arrays = [info for info in infos if info.filename.endswith(".npy")]
    found = choose(name, list(dict.fromkeys(info.filename.removesuffix(".npy") for info in arrays)))
    if Counter(info.filename for info in arrays)[f"{found}.npy"] > 1:
        raise FileError(f"it has more than one array {found}: which of them is meant, nothing says")
    info = next(info for info in arrays if info.filename == f"{found}.npy")
    if info.flag_bits & (ENCRYPTED | STRONGLY_ENCRYPTED | PATCHED):
        raise FileError(f"{info.filename} is encrypted or a patch: np.savez writes neither, and they are not read")
    return info


def _header(read: Callable[[int], bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a .npy file: shape, whether in Fortran order, dtype."""
    wrong = "it is no .npy file, or is damaged"
    head = _exactly(read, 8, wrong)
    if head[:6] != np.lib.format.MAGIC_PREFIX:
        raise FileError(f"{wrong}: it begins with {head[:6]!r}")
    major, minor = head[6:]
    if (major, minor) not in VERSIONS:
        raise FileError(f"its format has version {major}.{minor}; there are 1.0, 2.0 and 3.0")
    form, encoding = VERSIONS[major, minor]
    (length,) = struct.unpack(form, _exactly(read, struct.calcsize(form), wrong))
    if length > LONGEST_HEADER:
        raise FileError(
            f"its header has {length:,} bytes, and one of numbers some 100: it is damaged, or of a structured array"
        )
    header = _parsed(_exactly(read, length, wrong), encoding, major)
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise FileError("its header is damaged: it is no dictionary of descr, fortran_order and shape")
    descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    if not isinstance(shape, tuple) or type(fortran) is not bool:
        raise FileError(f"its header is damaged: shape {shape!r}, fortran_order {fortran!r}")
    require_array(shape, 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dtype = np.lib.format.descr_to_dtype(descr)
    except Exception:
        if descr == "<f1":
            what = "as np.save writes float8_e5m2, which no function takes: save x.astype(np.float32)"
            raise FileError(f"its dtype is '<f1', {what}") from None
        raise FileError(f"its header is damaged: NumPy has no dtype {descr!r}") from None
    if dtype.hasobject:
        raise FileError("it holds pickled Python objects, which may run any code: they are not read")
    return shape, fortran, dtype


def _exactly(read: Callable[[int], bytes], size: int, wrong: str) -> bytes:
    data = read(size)
    if len(data) != size:
        raise FileError(f"{wrong}: it ends in its header")
    return data


def _parsed(header: bytes, encoding: str, version: int) -> Any:
    """Evaluate the literal that a header is."""
    try:
        text = header.decode(encoding)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return ast.literal_eval(text)
            except SyntaxError:
                if version > 2:
                    raise
                return ast.literal_eval(LONG.sub(r"\1", text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise FileError("its header is damaged: it is no literal of Python") from None


def _element(dtype: np.dtype[Any], view: np.dtype[Any] | None) -> np.dtype[Any]:
    """Return the dtype of elements of which the file says how many bytes they have, or refuse them."""
    if dtype.names is not None:
        fields = ", ".join(dtype.names) or "none"
        first = dtype.names[0] if dtype.names else "x"
        raise FileError(
            f"its array is structured, with fields {fields}: save one, as in np.save('{first}.npy', x['{first}'])"
        )
    if dtype.subdtype is not None:
        raise FileError(f"its elements are arrays, {dtype}: save what np.load gives, whose shape has their axes")
    if view is not None:
        if view.itemsize != dtype.itemsize:
            raise FileError(
                f"its elements are void, of {dtype.itemsize} bytes; those of --dtype {view} have {view.itemsize}"
            )
        return view
    void = f"its elements are void, |V{dtype.itemsize}"
    if dtype.itemsize == 2:
        raise FileError(f"{void}, as np.save writes bfloat16: if they are that, say --dtype bfloat16")
    if dtype.itemsize == 1:
        what = "as np.save writes float8 and narrower types, which no function takes"
        raise FileError(f"{void}, {what}: save what .view(that dtype).astype(np.float32) gives")
    raise FileError(f"{void}: --dtype says as which numbers to read them")


def _write_header(file: Any, array: ArrayFile) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": array.fortran, "shape": array.shape}
    np.lib.format.write_array_header_1_0(file, header)


def _require_size(size: int, array: ArrayFile) -> None:
    wanted = math.prod(array.shape) * array.dtype.itemsize
    if size != wanted:
        what = "truncated" if size < wanted else "followed by something else"
        raise FileError(f"it is {what}: its header says {wanted:,} bytes of data, and there are {size:,}")


def _reserve(file: BinaryIO, size: int) -> None:
    """Reserve room for the file, without filling the disk if it does not fit."""
    room = os.statvfs(file.fileno())
    if size > room.f_bfree * room.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with contextlib.suppress(AttributeError):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
