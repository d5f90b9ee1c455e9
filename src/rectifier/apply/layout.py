"""How an array lies in a file, what every format can do with one, and what is wrong with a file."""

from __future__ import annotations

import contextlib
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Box = tuple[slice, ...]


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


class Wanted(Layout):
    """What an output is to be."""

    def __init__(self, source: ArrayFile, dtype: np.dtype[Any], chunks: tuple[int, ...] | None) -> None:
        super().__init__(source.path)
        self.name, self.shape, self.dtype, self.fortran = source.name, source.shape, dtype, source.fortran
        self.chunks, self.source = chunks or source.chunks, source
        self.compression = getattr(source, "compression", zipfile.ZIP_STORED)


def choose(name: str | None, names: list[str]) -> str:
    """Give the array that is asked for, or the only one."""
    if name is not None and name.strip("/") in names:
        return name.strip("/")
    if name is None and len(names) == 1:
        return names[0]
    there = f"there are {', '.join(names)}" if names else "there is none"
    raise FileError(f"it has no array {name}: {there}" if name else f"name one of its arrays by --dataset: {there}")
