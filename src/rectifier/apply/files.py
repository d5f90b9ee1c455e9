"""Files with arrays: which format one has, how it is opened, and how an output gets its name.

A box is a tuple of slices, one an axis. Nothing that a file says is ever unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import _dtypes
from .hdf5 import HDF5
from .layout import ArrayFile, FileError, Wanted, named
from .npy import Npy, Npz
from .zarr import Zarr

SUFFIXES = {".npy": "npy", ".npz": "npz", ".h5": "HDF5", ".hdf5": "HDF5", ".hdf": "HDF5", ".zarr": "Zarr"}


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
