"""Numba as far as optimised LLVM code: the one module that knows its compiler from within."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, NamedTuple

from .target import Target, emit, host

PREFIX = "rectifier."  # of the names in an object: what is called `free` must not be taken for another's

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


def object_of(module: Any, target: Target) -> bytes:
    """Return the object file of an optimised module; equal code is equal bytes."""
    # Numba's names count what the process compiled before; without them, equal code is equal bytes.
    for k, thing in enumerate(_inner(module)):
        thing.name = f".{k}"
    module.verify()
    return emit(module, target)
