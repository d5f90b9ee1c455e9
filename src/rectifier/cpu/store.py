"""The store: machine code kept on disk, so that only the first process on a machine compiles.

An object is found by a key: the hash of all that decided its bytes. So nothing in the store is ever wrong or
out of date, it is only not found; and what is not found, or is not what its own hash says, is compiled anew.

Code in a file is code that runs, and a hash is no signature. So the directory must belong to this user and nobody else
may write there, the same holds for each file, and what cannot be trusted or used is done without: then each process
compiles.

What is in the store is loaded by llvmlite alone; only compiling imports Numba.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from functools import cache
from importlib.machinery import PathFinder
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from .._block import Block, RowBlock
from ..words import with_all_called
from .target import Target, emit, host

FORMAT = 1
MAGIC = b"rectifier code\n\0"
HASH = 32
SUFFIX, NOTE = ".code", ".note"
PREFIX = "rectifier."  # of the names in an object: what is called `free` must not be taken for another's
LIMIT = 64 << 20  # bytes in the directory; some thousand objects
DAY = 86400.0

# What the code may call: LLVM itself puts these in. Any other name would be bound to whatever the process has, or to 0.
MAY_CALL = frozenset({"memcpy", "memmove", "memset"})

# What changes the code that Numba makes, and is not in its arguments.
NUMBA_SETTINGS = ("BOUNDSCHECK", "DEBUGINFO", "ENABLE_AVX", "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE")

Functions = Mapping[str, tuple[Any, Callable[..., Any]]]


class Optimised(NamedTuple):
    """Functions on their way to machine code; `str(module)` is their LLVM code.

    Attributes
    ----------
    module : llvmlite.binding.ModuleRef
        Optimised, with all that the functions call.
    names : tuple of str
        Of the functions; in the module, `PREFIX` stands before them.
    """

    module: Any
    names: tuple[str, ...]


def optimise(functions: Functions, target: Target | None = None) -> Optimised:
    """Compile functions as ``numba.cfunc`` does, but together, and no further than to optimised LLVM code.

    Optimised together, what they share is there once, and LLVM sees all callers of each: that none fails, for one,
    so that the code which would raise an exception is left out.

    Parameters
    ----------
    functions : mapping
        From names to a signature of Numba's and a Python function of that signature, which may call
        `numba.njit` functions and intrinsics.
    target : Target, optional
        By default this machine. For another, LLVM makes what it would make there.

    Returns
    -------
    Optimised

    Raises
    ------
    RuntimeError
        If the address of something in this process became part of the code.
    """
    # The one place that knows Numba's compiler from within, as it is from 0.62 to 0.68: `CFunc._compile_uncached`, of a
    # library `finalize` and the underscored attributes here.
    import numba  # noqa: F401  (its parts are imported through it)
    from numba.core.ccallback import CFunc
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    with global_compiler_lock:
        parts = []
        for signature, function in functions.values():
            callback: Any = CFunc(function, (signature.args, signature.return_type), {}, {"error_model": "numpy"})
            parts.append(callback._compile_uncached())
        codegen, other = cpu_target.target_context.codegen(), None if target == host() else target
        if other is not None:
            codegen = copy(codegen)
            codegen._tm = other.machine()
        whole = codegen.create_library("rectifier")
        for name, part in zip(functions, parts, strict=True):
            module = part.library._final_module.clone()
            module.get_function(part.fndesc.llvm_cfunc_wrapper_name).name = PREFIX + name
            whole._final_module.link_in(module)
            for library in part.library._linking_libraries:
                whole.add_linking_library(library)
        optimise_module = whole._optimize_final_module

        def keep_apart_and_optimise() -> None:
            variables = [variable.name for variable in whole._final_module.global_variables]
            if any(variable.startswith("numba.dynamic.globals") for variable in variables):
                raise RuntimeError(f"the code of {', '.join(functions)} holds an address of this process")
            for thing in _inner(whole._final_module):
                thing.linkage = "internal"
            if other is not None:
                whole._final_module.triple = other.triple
                whole._final_module.data_layout = str(codegen._tm.target_data)
            optimise_module()

        whole._optimize_final_module = keep_apart_and_optimise
        whole._finalize_final_module = _nothing  # it would make code for this process
        whole.finalize()
        return Optimised(whole._final_module, tuple(functions))


def _nothing() -> None:
    pass


def _inner(module: Any) -> list[Any]:
    """List what is defined in a module and is not to be called from outside."""
    things = [*module.functions, *module.global_variables]
    return [thing for thing in things if not thing.is_declaration and not thing.name.startswith((PREFIX, "llvm."))]


def _emit(module: Any, target: Target) -> bytes:
    # Numba's names count what the process compiled before; without them, equal code is equal bytes.
    for k, thing in enumerate(_inner(module)):
        thing.name = f".{k}"
    module.verify()
    return emit(module, target)


def machine_code(name: str, content: bytes, build: Callable[[], Functions | Optimised]) -> dict[str, int]:
    """Give the addresses of compiled functions, from the store, or compiled by `build` and put there.

    The code stays in this process until its very end.

    Parameters
    ----------
    name : str
        What the functions are.
    content : bytes
        All that decides what they do, such as `code_of` the formula, and the dtype. This package's version, those of
        Python, Numba, llvmlite and LLVM, and the processor need not be in it.
    build : callable
        Gives the functions as `optimise` takes them, or what that made of them. Called only where the store has no
        good object.

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
    key = _key(name, content)
    code = _read(key)
    if code is not None:
        return _load(code, symbols(code)[0])
    built = build()
    module, names = built if isinstance(built, Optimised) else optimise(built)
    code = _emit(module, host())
    if is_elf(code):  # elsewhere nothing is kept, and the same code was checked where it is
        undefined = symbols(code)[1] - MAY_CALL
        if undefined:
            raise RuntimeError(f"the code of {name} calls what is not in it: {', '.join(sorted(undefined))}")
        _write(key, code)
    return _load(code, {PREFIX + short for short in names})


def _key(name: str, content: bytes) -> str:
    import llvmlite
    import llvmlite.binding as llvm

    from .. import __version__

    parts = [
        name,
        content,
        __version__,
        sys.implementation.cache_tag,  # the code object of a formula is another for each version of Python
        llvmlite.__version__,
        llvm.llvm_version_info,  # a distribution's llvmlite may be built with another LLVM than that of the index
        _release_of_numba(),
        *host(),
        *[os.environ.get(f"NUMBA_{setting}", "") for setting in NUMBA_SETTINGS],
        str(FORMAT),
    ]
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return _hash(b"".join(len(part).to_bytes(8, "big") + part for part in encoded)).hex()


@cache
def _release_of_numba() -> bytes:
    """Return what Numba says of its version; nothing where there is no Numba.

    Read from its file in 0.3 ms: to import Numba takes a second, and the metadata of packages 80 ms. It is found where
    packages lie, so the key is the same where somebody forbids the import.
    """
    spec: Any = PathFinder.find_spec("numba")
    if spec is None or spec.origin is None:
        return b""
    with suppress(OSError):
        version: bytes = spec.loader.get_data(os.path.join(os.path.dirname(spec.origin), "_version.py"))
        return version
    return b""


def _hash(data: bytes) -> bytes:
    """Give the SHA-256, without OpenSSL, whose loading by `hashlib` takes 8 ms: more than all else here."""
    for module in ("_sha2", "_sha256", "hashlib"):  # as `random` does it: from Python 3.12 on, before, and in any case
        with suppress(ImportError):
            digest: bytes = importlib.import_module(module).sha256(data).digest()
            return digest
    raise ImportError("hashlib")


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


def is_elf(code: bytes) -> bool:
    """Say whether an object is in the format that `symbols` reads: ELF, of 64 bits."""
    return code.startswith(b"\x7fELF\x02")


def symbols(code: bytes) -> tuple[set[str], set[str]]:
    """Give the functions that an ELF object offers, and the names that it needs.

    Raises
    ------
    ValueError
        If it is no such object.
    """
    order = {b"\1": "<", b"\2": ">"}.get(code[5:6])
    if not is_elf(code) or order is None:
        raise ValueError("not an ELF object of 64 bits")
    defined, undefined = set(), set()
    try:
        (table,) = struct.unpack_from(f"{order}Q", code, 40)
        size, count = struct.unpack_from(f"{order}HH", code, 58)
        sections = [struct.unpack_from(f"{order}IIQQQQIIQQ", code, table + k * size) for k in range(count)]
        for _, kind, _, _, start, length, strings, _, _, _ in sections:
            if kind != 2:  # SHT_SYMTAB
                continue
            names = sections[strings][4]
            for at in range(start + 24, start + length, 24):  # the first is none
                name, info, _, section = struct.unpack_from(f"{order}IBBH", code, at)
                text = code[names + name : code.index(b"\0", names + name)].decode()
                if section == 0:
                    undefined.add(text)
                elif info == 0x12:  # a function, global
                    defined.add(text)
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError("a damaged ELF object") from error
    return defined, undefined


def code_of(function: Callable[..., Any]) -> bytes:
    """Give what a Python function computes, by its own code: not where it stands, nor what its globals are.

    Raises
    ------
    TypeError
        If it has constants or defaults that have no content of their own, or is a closure.
    """
    if not isinstance(function, FunctionType) or function.__closure__:
        raise TypeError(f"{function!r} is not a plain function")
    defaults = (function.__defaults__, tuple(sorted((function.__kwdefaults__ or {}).items())))
    return _content((function.__code__, defaults)).encode()


def content_of(block: Block | RowBlock) -> bytes:
    """Give what decides the results of a block, whatever process it is in."""
    if isinstance(block, RowBlock):
        return b"\0".join(map(_code, (block.value, block.weight, block.backward)))
    return b"\0".join(map(_code, (block.value, block.derivative, block.mask)))


@cache
def _code(formula: Any) -> bytes:
    return b"\0".join(map(code_of, with_all_called(formula)))


def _content(thing: Any) -> str:
    if isinstance(thing, CodeType):
        return "code" + _content(
            (
                thing.co_code, thing.co_consts, thing.co_names, thing.co_varnames, thing.co_cellvars, thing.co_freevars,
                thing.co_argcount, thing.co_posonlyargcount, thing.co_kwonlyargcount, thing.co_flags,
                getattr(thing, "co_exceptiontable", b""),
            )
        )  # fmt: skip
    if type(thing) is tuple:
        return f"({''.join(_content(part) + ',' for part in thing)})"
    if type(thing) is frozenset:  # in an order that hashes, which are random, do not decide
        return f"{{{''.join(part + ',' for part in sorted(map(_content, thing)))}}}"
    if type(thing) in (bool, int, float, complex, str, bytes, type(None), type(...)):
        return repr(thing)
    raise TypeError(f"{thing!r} has no content that could be written down")


class _Settings:
    """Where the store is."""

    directory: str | None = None
    by_code = False
    failure = ""  # of the last attempt to write


def set_directory(path: str | os.PathLike[str] | None) -> None:
    """Keep machine code in another directory from now on, or none at all.

    Parameters
    ----------
    path : path-like or None
        Created when the first object is written. It must belong to this user, and nobody else may write there; None
        keeps nothing.
    """
    _Settings.directory = os.path.abspath(os.path.expanduser(os.fsdecode(path))) if path else None
    _Settings.by_code, _Settings.failure = True, ""


def location() -> tuple[str | None, str]:
    """Say in which directory machine code is kept, and why there; or None, and why nowhere."""
    path, reason = _chosen()
    if path is None:
        return None, reason
    try:
        with _directory(path):
            pass
    except FileNotFoundError:
        if _Settings.failure:
            return None, f"{reason}: {_Settings.failure}"
    except OSError as error:
        return None, f"{reason}: {_why(error)}"
    return path, f"{reason}, but it takes nothing: {_Settings.failure}" if _Settings.failure else reason


def _chosen() -> tuple[str | None, str]:
    if not hasattr(os, "geteuid") or sys.platform == "darwin":
        return None, "not on this system"
    if _Settings.by_code:
        return _Settings.directory, "set in code"
    asked = os.environ.get("RECTIFIER_STORE")
    if asked is not None and asked.lower() in ("", "off"):
        return None, "switched off by RECTIFIER_STORE"
    try:
        if asked is not None:
            return os.path.abspath(os.path.expanduser(asked)), "RECTIFIER_STORE"
    except OSError as error:  # the working directory is gone
        return None, f"RECTIFIER_STORE: {_why(error)}"
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache):
        return os.path.join(cache, "rectifier"), "XDG_CACHE_HOME"
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        return None, "there is no home directory"
    return os.path.join(home, ".cache", "rectifier"), "default"


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
    return _hash(key.encode() + code)


def _read(key: str) -> bytes | None:
    """Give the object of a key if it is there, ours, and whole."""
    code = _read_sealed(key, SUFFIX)
    if code is None:
        return None
    try:
        defined, undefined = symbols(code)
    except ValueError:
        return None
    return code if undefined <= MAY_CALL and all(name.startswith(PREFIX) for name in defined) else None


def _key_of_note(name: str, about: bytes) -> str:
    return _hash(f"{name} {FORMAT}\0".encode() + about).hex()


def read_note(name: str, about: bytes) -> bytes | None:
    """Return what was noted under a name about a thing, if it is there, ours, and whole."""
    return _read_sealed(_key_of_note(name, about), NOTE)


def write_note(name: str, about: bytes, content: bytes) -> bool:
    """Keep a note beside the machine code; return whether that was possible."""
    _write(_key_of_note(name, about), content, NOTE)
    return location()[0] is not None and not _Settings.failure


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
    """Keep an object, or a note; where that is not possible, do without."""
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
            _Settings.failure = ""
            _trim(directory)
    except OSError as error:
        _Settings.failure = _why(error)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _now() -> float:
    import time

    return time.time()


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
