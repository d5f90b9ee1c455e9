"""Layouts of arrays in files, the interface of every format, and the errors of files."""

from __future__ import annotations

import contextlib
import itertools
import math
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Box = tuple[slice, ...]
MOST_AXES = 64  # of a NumPy array
MOST_NAMES = 50  # of arrays in a message
MOST_BYTES = (1 << 63) - 1  # of a NumPy array, axes of 0 left out of the product


class FileError(ValueError):
    """A file, or what was asked of it, that cannot be used: its name and what is wrong, in one line."""

    path: Path | None = None

    def __str__(self) -> str:
        said = f"{self.path}: {self.args[0]}" if self.path else str(self.args[0])
        return "".join(c if c.isprintable() else " " for c in said)  # names in files have line ends, and worse


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Prefix errors with the name of a file; codecs raise many types of exceptions."""
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
    """The layout of an array in a file.

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
    chunks_at_once : int
        How many chunks the library of the format decodes at a time.
    bytes_for_each_chunk : int
        What that library allocates for each chunk of a call, next to the data.
    codec_bytes : int
        What a codec holds from the beginning to the end.
    fill : scalar or None
        What an element is that was never written, where a format has that.
    notes : list of str
        What a user should be told of it.
    """

    name = ""
    chunks_at_once = 1
    bytes_for_each_chunk = 0
    codec_bytes = 0
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None = None
    fortran = False
    in_order = False
    fill: Any = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []

    def allocated(self, sides: Sequence[int], fortran: bool) -> int:
        """Compute the most that is allocated, next to our own buffer, while a box with these sides is read or written.

        `fortran` is the order of the buffer.
        """
        box = math.prod(sides) * self.dtype.itemsize
        if not self.chunks:
            return 0 if self.runs_as(fortran) else box
        touched = 1
        for side, chunk, length in zip(sides, self.chunks, self.shape, strict=True):
            whole, rest = divmod(side, max(chunk, 1))
            # A box that is no multiple of a chunk may begin within one, and end within another.
            most = whole + 1 + (rest > 1) if rest else max(whole, 1)
            touched *= min(most, -(-length // max(chunk, 1)))
        chunk = math.prod(self.chunks) * self.dtype.itemsize
        return box + 2 * min(touched, self.chunks_at_once) * chunk + touched * self.bytes_for_each_chunk

    def runs_as(self, fortran: bool) -> bool:
        """Check whether its elements run in this order; with at most one axis longer than 1, both orders are one."""
        return self.fortran == fortran or sum(length > 1 for length in self.shape) < 2


@dataclass(frozen=True)
class Coordinate:
    """The coordinates of an axis: an array of its own with the name of the axis."""

    array: Any
    dtype: np.dtype[Any]
    attributes: Mapping[str, Any]

    def parts(self) -> Iterator[tuple[int, Any]]:
        """Return its values, a part at a time, each with where it begins."""
        (length,) = self.array.shape
        for begin in range(0, length, 1 << 16):
            yield begin, self.array[begin : begin + (1 << 16)]


class ArrayFile(Layout, ABC):
    """An array in a file that is open.

    Attributes
    ----------
    attributes : dict
        What is said of the array, by name.
    dimensions : tuple of str or None
        Names of its axes.
    holes : bool
        Whether what is not written reads as `fill`.
    """

    attributes: Mapping[str, Any] = {}
    dimensions: tuple[str | None, ...] = ()
    holes = False

    def coordinate(self, axis: int) -> Coordinate | None:
        """Return the coordinates of an axis, if it has some."""
        return None

    def has_scale(self, axis: int) -> bool:
        """Check whether an axis is shared by several arrays, as a dimension of netCDF is."""
        return False

    def group_attributes(self, group: str) -> Mapping[str, Any]:
        """Return the attributes of a group that the array is in."""
        return {}

    def require_in_place(self) -> None:
        """Check that its numbers can be replaced, and that it then holds what was written.

        Raises
        ------
        FileError
            If not.
        """

    def forget(self, names: frozenset[str]) -> None:
        """Remove attributes."""

    def pieces(self, box: Box) -> Iterator[tuple[Box, bool]]:
        """Cut a box into pieces that are stored, and pieces that were never written."""
        there = self._stored(box)
        if there is None or there.all():
            yield box, True
        elif not there.any():
            yield box, False
        else:
            assert self.chunks is not None
            sides = [
                [
                    slice(max(begin, side.start), min(begin + length, side.stop))
                    for begin in range(side.start // length * length, side.stop, length)
                ]
                for side, length in zip(box, self.chunks, strict=True)
            ]
            yield from zip(itertools.product(*sides), there.ravel().tolist(), strict=True)

    def _stored(self, box: Box) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        """Return for each chunk that a box touches whether it is stored; None if all are."""
        return None

    @abstractmethod
    def read(self, box: Box, into: Any) -> None:
        """Read a box into an array of its shape."""

    @abstractmethod
    def write(self, box: Box, array: Any) -> None:
        """Write a box."""

    def close(self) -> None:
        """Close the file; all that was written is in it."""


class Wanted(Layout):
    """The layout of an output that is to be made.

    Attributes
    ----------
    source : ArrayFile
        What it is made of.
    left : frozenset of str
        Names of the source's attributes that are not true of it.
    """

    def __init__(
        self,
        source: ArrayFile,
        dtype: np.dtype[Any],
        chunks: tuple[int, ...] | None,
        fill: Any = None,
        left: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(source.path)
        self.fill, self.left = fill, left
        self.name, self.shape, self.dtype, self.fortran = source.name, source.shape, dtype, source.fortran
        self.chunks, self.source = chunks or source.chunks, source
        self.compression = getattr(source, "compression", zipfile.ZIP_STORED)

    def allocated(self, sides: Sequence[int], fortran: bool) -> int:
        """Compute nothing: a file that is to be made will say what its library takes."""
        return 0


def require_array(shape: tuple[Any, ...], itemsize: int) -> None:
    """Refuse a shape that no array of NumPy has."""
    if not all(type(length) is int and length >= 0 for length in shape):
        raise FileError(f"it is damaged: its shape is {shape}")
    if len(shape) > MOST_AXES:
        raise FileError(f"it has {len(shape)} axes; NumPy's arrays have {MOST_AXES} at most")
    if math.prod(length for length in shape if length) * itemsize > MOST_BYTES:
        raise FileError(f"its shape is {shape}, which is more than any memory or disk holds")


def places(counts: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Count through the places of a grid, the last axis fastest; nothing is listed, however large the grid."""
    if not all(counts):
        return
    place = [0] * len(counts)
    while True:
        yield tuple(place)
        for axis in range(len(counts) - 1, -1, -1):
            place[axis] += 1
            if place[axis] < counts[axis]:
                break
            place[axis] = 0
        else:
            return


def touched(box: Box, chunks: tuple[int, ...]) -> Box:
    """Return the range of chunks that a box touches, along each axis."""
    return tuple(slice(side.start // length, -(-side.stop // length)) for side, length in zip(box, chunks, strict=True))


def unsupported(dtype: Any) -> FileError:
    """Return the error of a dtype that no function takes."""
    return FileError(f"its dtype is {dtype}; apply takes integers, bfloat16 and float16 to float64")


class SeveralError(FileError):
    """A file has several arrays, and none was asked for; their names in words are in `there`."""

    there = ""


def choose(name: str | None, names: list[str]) -> str:
    """Return the array that is asked for, or the only one."""
    if name is not None and (name in names or name.strip("/") in names):
        return name if name in names else name.strip("/")
    if name is None and len(names) == 1:
        return names[0]
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    there = f"there are {', '.join(names[:MOST_NAMES])}{more}" if names else "there is none"
    if name is None and names:
        several = SeveralError(f"name one of its arrays by --dataset: {there}")
        several.there = there
        raise several
    raise FileError(f"it has no array {name}: {there}" if name else f"it has no array: {there}")
