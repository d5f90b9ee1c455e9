"""From LLVM's code to an object file."""

from __future__ import annotations

from typing import Any, NamedTuple

from .target import Target, emit

PREFIX = "rectifier."  # of the names in an object: what is called `free` must not be taken for another's


# What vector code and the runtime gain from, of LLVM's passes. Those of its level 2 take nine times as long (engine:
# 920 ms and 100, `softmax`: 138 and 23), for more code and the same speed.
PASSES = ("sroa", "instruction_combine", "simplify_cfg", "new_gvn", "instruction_combine", "simplify_cfg")


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


def optimise(module: Any, names: tuple[str, ...], target: Target) -> Optimised:
    """Have LLVM optimise a module of llvmlite's, in which `PREFIX` stands before the names of functions.

    What is vector code is so by the module itself: LLVM's own vectorisers do not run.
    """
    from llvmlite import binding as llvm

    parsed = llvm.parse_assembly(str(module))
    parsed.verify()  # LLVM's passes take what is malformed for what they like
    passes = llvm.create_new_module_pass_manager()
    for name in PASSES:
        getattr(passes, f"add_{name}_pass")()
    passes.run(parsed, llvm.create_pass_builder(target.machine(), llvm.create_pipeline_tuning_options()))
    return Optimised(parsed, names)


def object_of(module: Any, target: Target) -> bytes:
    """Return the object file of an optimised module; equal code is equal bytes."""
    module.verify()
    return emit(module, target)
