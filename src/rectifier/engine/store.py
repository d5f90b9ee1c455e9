"""The store: machine code kept on disk, so that only the first process on a machine compiles.

Entries cannot be stale: the key hashes every input of the compilation, so a change is a cache miss. What is missing, or
is not what its own hash says, is compiled anew.

Code in a file is code that runs, and a hash is no signature. So the directory and each file must belong to this user,
and nobody else may write to them. A directory or a file that cannot be trusted is ignored: then each process compiles.

llvmlite loads what is in the store, and compiles what is not.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from . import ahead, options
from .compiler.optimise import PREFIX, Optimised, object_of
from .compiler.target import host
from .digest import sha256
from .elf import is_elf, symbols
from .fingerprint import Family, source

FORMAT = 1
MAGIC = b"rectifier code\n\0"
HASH = 32
SUFFIX, NOTE, LOCK = ".code", ".note", ".lock"
PATIENCE = 30.0  # seconds that a process waits for another to compile; it takes a tenth of one
LIMIT = 64 << 20  # bytes in the directory; some thousand objects
DAY = 86400.0

# What the code may call: LLVM itself puts these in. Any other name would be bound to whatever the process has, or to 0.
MAY_CALL = frozenset({"memcpy", "memmove", "memset"})


class Code(NamedTuple):
    """Machine code that a process may ask for.

    Attributes
    ----------
    name : str
        What the functions are.
    family : Family
        The modules that compile them.
    content : bytes
        All else that decides what they do, such as `code_of` the formula, and the dtype. The versions of Python,
        llvmlite and LLVM, and the processor need not be in it.
    build : callable
        Compiles the functions for a `Target`, by default this machine.
    own : bytes, optional
        What decides, beside the text of this package: it is then code that a wheel may bring (`ahead`).
    """

    name: str
    family: Family
    content: bytes
    build: Callable[..., Optimised]
    own: bytes | None = None


def load(code: Code) -> dict[str, int]:
    """Return the addresses of functions: from the wheel, from the store, or compiled and put there."""
    shipped = None if code.own is None else ahead.read(code.name, code.own)
    if shipped is not None:
        return _load(shipped, symbols(shipped)[0])
    return machine_code(code.name, code.family, code.content, code.build)


def machine_code(name: str, family: Family, content: bytes, build: Callable[[], Optimised]) -> dict[str, int]:
    """Return the addresses of compiled functions, from the store, or compiled by `build` and put there.

    The code stays in this process until its very end.

    Parameters
    ----------
    name, family, content, build
        As in `Code`. `build` is called only where the store has no good object.

    Returns
    -------
    dict
        From names to addresses.

    Raises
    ------
    RuntimeError
        If the code needs what is not in it.
    EmissionError
        If LLVM ended the process in which it was to make the code.
    OSError
        If this process may not have executable memory.
    """
    key = _key(name, family, content)
    code = _read(key)
    if code is not None:
        return _load(code, symbols(code)[0])
    with _alone(key):
        code = _read(key)  # another process may have written it meanwhile
        if code is not None:
            return _load(code, symbols(code)[0])
        return _compiled(name, key, build)


def _compiled(name: str, key: str, build: Callable[[], Optimised]) -> dict[str, int]:
    module, names = build()
    code = object_of(module, host())
    if is_elf(code):  # elsewhere nothing is kept, and the same code was checked where it is
        undefined = symbols(code)[1] - MAY_CALL
        if undefined:
            raise RuntimeError(f"the code of {name} calls what is not in it: {', '.join(sorted(undefined))}")
        _write(key, code)
    return _load(code, {PREFIX + short for short in names})


@contextmanager
def _alone(key: str) -> Iterator[None]:
    """Let one process at a time compile a thing.

    A process that ends lets go of its lock. Where there is no lock to be had, each process compiles.
    """
    path, _ = _chosen()
    if path is None:
        yield
        return
    held = None
    with suppress(OSError, ImportError):
        import fcntl

        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with _directory(path, create=True) as directory:
            held = os.open(key + LOCK, flags, 0o600, dir_fd=directory)
        until = _now() + PATIENCE
        while _now() < until:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _sleep(0.005)
    try:
        yield
    finally:
        if held is not None:
            with suppress(OSError), _directory(path) as directory:
                os.unlink(key + LOCK, dir_fd=directory)  # who waits has it open
            with suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_UN)  # a child that was forked meanwhile has it open, too
            os.close(held)


def _key(name: str, family: Family, content: bytes) -> str:
    import llvmlite
    import llvmlite.binding as llvm

    parts = [
        name,
        content,
        source(family),
        sys.implementation.cache_tag,  # the code object of a formula is another for each version of Python
        llvmlite.__version__,
        llvm.llvm_version_info,  # a distribution's llvmlite may be built with another LLVM than that of the index
        *host(),
        str(FORMAT),
    ]
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return sha256(b"".join(len(part).to_bytes(8, "big") + part for part in encoded)).hex()


def _load(code: bytes, names: set[str]) -> dict[str, int]:
    import llvmlite.binding as llvm

    llvm.check_jit_execution()
    module = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(module, host().machine())
    engine.remove_module(module)  # an engine begins with one, and to compile it takes twice as long as all else
    # Never freed, not even when the interpreter ends: a thread may be in the code then.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return {name.removeprefix(PREFIX): engine.get_function_address(name) for name in sorted(names)}


class _State:
    failure = ""  # of the last attempt to write


def _begin() -> None:
    """Begin in another directory."""
    _State.failure = ""


options.STORE.acts.append(_begin)


def location() -> tuple[str | None, str]:
    """Return in which directory machine code is kept, and why there; or None, and why nowhere."""
    path, reason = _chosen()
    if path is None:
        return None, reason
    try:
        with _directory(path):
            pass
    except FileNotFoundError:
        if _State.failure:
            return None, f"{reason}: {_State.failure}"
    except OSError as error:
        return None, f"{reason}: {_why(error)}"
    return path, f"{reason}, but it takes nothing: {_State.failure}" if _State.failure else reason


def _chosen() -> tuple[str | None, str]:
    if not hasattr(os, "geteuid") or sys.platform == "darwin":
        return None, "not on this system"
    return options.STORE.in_force()


def _why(error: OSError) -> str:
    return error.strerror or str(error)


@contextmanager
def _directory(path: str, create: bool = False) -> Iterator[int]:
    """Open the directory, if it can be trusted; all that is done in it is done through the descriptor."""
    if "\0" in path:
        raise OSError("no path has a zero byte")
    if create:
        os.makedirs(path, 0o700, exist_ok=True)
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_owner(directory)
        yield directory
    finally:
        os.close(directory)


def _check_owner(descriptor: int) -> os.stat_result:
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise PermissionError("it belongs to another user")
    if status.st_mode & 0o022:
        raise PermissionError("others may write there")
    return status


def _seal(key: str, code: bytes) -> bytes:
    """Hash an object under its key, so that under the name of another it is not valid."""
    return sha256(key.encode() + code)


def _read(key: str) -> bytes | None:
    """Return the object of a key if it is there, ours, and whole."""
    code = _read_sealed(key, SUFFIX)
    if code is None:
        return None
    try:
        defined, undefined = symbols(code)
    except ValueError:
        return None
    return code if undefined <= MAY_CALL and all(name.startswith(PREFIX) for name in defined) else None


def _key_of_note(name: str, about: bytes) -> str:
    return sha256(f"{name} {FORMAT}\0".encode() + about).hex()


def read_note(name: str, about: bytes) -> bytes | None:
    """Return what was noted under a name about a thing, if it is there, ours, and whole."""
    return _read_sealed(_key_of_note(name, about), NOTE)


def write_note(name: str, about: bytes, content: bytes) -> bool:
    """Write a note beside the machine code; return whether that was possible."""
    _write(_key_of_note(name, about), content, NOTE)
    return location()[0] is not None and not _State.failure


def _read_sealed(key: str, suffix: str) -> bytes | None:
    path, _ = _chosen()
    if path is None:
        return None
    try:
        # Not blocking, should it be a pipe.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with _directory(path) as directory, open(os.open(key + suffix, flags, dir_fd=directory), "rb") as file:
            status = _check_owner(file.fileno())
            if status.st_mode & 0o170000 != 0o100000 or status.st_size > LIMIT:  # a regular file
                return None
            data = file.read(LIMIT)
            now = _now()
            if now - status.st_mtime > DAY:  # the time of a file is that of its last use, to a day
                with suppress(OSError):
                    os.utime(file.fileno())
    except OSError:
        return None
    start = len(MAGIC) + HASH
    code = data[start:]
    return code if data[: len(MAGIC)] == MAGIC and data[len(MAGIC) : start] == _seal(key, code) else None


def _write(key: str, code: bytes, suffix: str = SUFFIX) -> None:
    """Write an object, or a note, if that is possible."""
    path, _ = _chosen()
    if path is None:
        return
    try:
        with _directory(path, create=True) as directory:
            # Another process sees the whole file or none. What a crash of the system leaves, the hash tells.
            temporary = f"{key}.{os.urandom(8).hex()}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
            try:
                try:
                    _write_all(descriptor, MAGIC + _seal(key, code) + code)
                finally:
                    os.close(descriptor)
                os.replace(temporary, key + suffix, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(temporary, dir_fd=directory)
                raise
            _State.failure = ""
            _trim(directory)
    except OSError as error:
        _State.failure = _why(error)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _now() -> float:
    import time

    return time.time()


def _sleep(seconds: float) -> None:
    import time

    time.sleep(seconds)


def _trim(directory: int) -> None:
    """Delete what processes left half written, and beyond the limit what was not used for longest."""
    kept = []
    for name in os.listdir(directory):
        key, dot, rest = name.partition(".")
        if len(key) != 2 * HASH or not dot:  # not ours
            continue
        with suppress(OSError):  # another process deletes, too
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if dot + rest in (SUFFIX, NOTE):
                kept.append((status.st_mtime, status.st_size, name))
            elif _now() - status.st_mtime > DAY:
                os.unlink(name, dir_fd=directory)
    total = sum(size for _, size, _ in kept)
    if total <= LIMIT:
        return
    for _, size, name in sorted(kept):
        if total <= LIMIT // 2:
            break
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)
            total -= size
