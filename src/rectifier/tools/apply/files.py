"""Files with arrays: which format one has, how it is opened, and how an output gets its name.

A box is a tuple of slices, one an axis. Nothing that a file says is ever unpickled.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...functions import dtypes
from ..extras import lacking
from .layout import ArrayFile, FileError, Wanted, named, require_array, unsupported
from .npy import Npy, Npz
from .watch import Watch

READ_BY = {"HDF5": "h5py", "Zarr": "zarr"}  # NumPy's own formats by nothing else
SUFFIXES = {".npy": "npy", ".npz": "npz", ".h5": "HDF5", ".hdf5": "HDF5", ".hdf": "HDF5", ".zarr": "Zarr"}


def format_of(path: Path) -> str:
    """Return the format that a path asks for, if what reads and writes it is installed."""
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise FileError(f"no format is known by the suffix {path.suffix!r}: there are {', '.join(SUFFIXES)}")
    if found in READ_BY and (lacks := lacking(found, "apply", [READ_BY[found]])):
        raise FileError(lacks)
    return found


def opened(
    path: Path,
    name: str | None = None,
    *,
    writable: bool = False,
    view: np.dtype[Any] | None = None,
    memory: int = 1 << 28,
) -> ArrayFile:
    """Open an array, and see that its dtype is one of numbers.

    Parameters
    ----------
    path : Path
    name : str or None
        Which array of a file with several.
    writable : bool
        Whether it is to be changed.
    view : dtype or None
        What elements are of which a file of NumPy says only how many bytes they have.
    memory : int
        Bytes that opening may take.

    Raises
    ------
    FileError
        If it cannot be used.
    OSError
        If the system does not let it be opened.
    """
    with named(path):
        return _opened(path, name, writable, view, memory)


def _opened(path: Path, name: str | None, writable: bool, view: np.dtype[Any] | None, memory: int) -> ArrayFile:
    kind = format_of(path)
    mode = path.stat().st_mode
    if kind == "Zarr" and not stat.S_ISDIR(mode):
        raise FileError("it is no directory of Zarr")
    if kind != "Zarr" and not stat.S_ISREG(mode):  # to open a pipe would wait for its other end
        raise FileError("it is a directory" if stat.S_ISDIR(mode) else "it is no regular file")
    array: ArrayFile
    if kind == "npy":
        if name is not None:
            raise FileError(f"it has no array {name}: a .npy file has one, without a name")
        array = Npy(path, writable, view=view)
    elif kind == "npz":
        array = Npz(path, name, view=view, memory=memory)
    else:
        array = _library(kind)(path, name, writable)
    try:
        require_array(array.shape, array.dtype.itemsize)
    except FileError:
        array.close()
        raise
    try:
        dtypes.require_real(array.dtype, "its array", "apply")
    except TypeError:
        array.close()
        raise unsupported(array.dtype) from None
    return array


def _library(kind: str) -> Any:
    """Return what opens and makes arrays of a format; it imports the library of the format."""
    if kind == "HDF5":
        from .hdf5 import HDF5

        return HDF5
    from .zarr import Zarr

    return Zarr


@contextlib.contextmanager
def made(path: Path, wanted: Wanted, force: bool, watch: Watch) -> Iterator[ArrayFile]:
    """Make an output beside its target; it gets its name when it is whole and on the disk, and else is removed."""
    kind = format_of(path)
    make = {"npy": Npy, "npz": Npz}.get(kind) or _library(kind)
    part = part_of(path)
    watch.unfinished = part
    target: Any = None
    try:
        with named(path):
            target = make(part, make=wanted)
        yield target
        with named(path):
            target.close()
            watch.look()
            sync(part)
            publish(part, path, force, watch)
    except BaseException:
        with contextlib.suppress(Exception):
            target.close()
        if not watch.whole:
            remove(part)
        raise


def part_of(path: Path) -> Path:
    """Return the path of an output that is not yet whole; a process number alone is not unique among containers."""
    return path.with_name(f".{path.name}.part-{os.getpid()}-{secrets.token_hex(3)}")


def remove(part: Path) -> None:
    """Remove an output that is not whole, or is replaced."""
    if part.is_file() or part.is_symlink():
        part.unlink()
    elif part.exists():
        for _ in range(10):  # of a write that failed Zarr goes on with the other chunks, in threads of its own
            shutil.rmtree(part, ignore_errors=True)
            time.sleep(0.02)


def sync(path: Path) -> None:
    """Wait until a file, or a directory with all that is in it, is on the disk.

    A sync of each of 5000 chunks took 7 s, one of their file system 0.3 s.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)
        elif not _sync_file_system(descriptor):
            for directory, _, names in os.walk(path):
                for name in names:
                    sync(Path(directory, name))
                _sync_directory(Path(directory))
    finally:
        os.close(descriptor)


def _sync_file_system(descriptor: int) -> bool:
    """Sync the file system that a file is in; False where there is no such call (it is Linux's)."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return False
    if call(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_replaceable(path: Path) -> None:
    """Refuse to replace what is no output of this kind: a directory of something else, a pipe, a device."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode) or stat.S_ISREG(mode):
        return
    if format_of(path) != "Zarr" or not stat.S_ISDIR(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise FileError(f"it is {what}, which --force does not replace")
    known = any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))
    if not known and any(path.iterdir()):
        raise FileError("it is a directory of something other than Zarr, which --force does not replace")


def publish(part: Path, path: Path, force: bool, watch: Watch) -> None:
    """Rename a whole output to its path; an existing file is replaced only by force."""
    old: Path | None = None
    with watch.held:
        watch.look()
        if part.is_dir():
            if force and os.path.lexists(path):
                old = part.with_name(part.name.replace(".part-", ".old-"))
                path.rename(old)
            try:
                part.rename(path)
            except BaseException as error:
                if old is not None and not os.path.lexists(path):  # else another output has come meanwhile
                    old.rename(path)
                elif old is not None:
                    remove(old)
                if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.ENOTDIR):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
                raise
        elif force:
            part.replace(path)
        else:
            try:
                os.link(part, path)  # refuses a name that is taken, as a rename does not
                part.unlink()
            except FileExistsError:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            except OSError:  # a file system without links
                if os.path.lexists(path):
                    raise
                part.rename(path)
        watch.unfinished, watch.whole = old, True
    try:
        _sync_directory(path.parent)
    except OSError as error:  # it may be written to and not read, or its file system knows no sync of one
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP):
            raise
    if old is not None:
        remove(old)
