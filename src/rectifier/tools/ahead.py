"""Machine code of the whole catalogue, compiled ahead: what ``RECTIFIER_AHEAD=1 python -m build`` puts into a wheel."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import llvmlite.binding as llvm

from ..catalogue import ALL
from ..engine import ahead, memory, process
from ..engine.casting import code_of_cast
from ..engine.compiler.casts import exists
from ..engine.compiler.levels import LEVELS
from ..engine.compiler.optimise import object_of
from ..engine.compiler.target import Target, of_level
from ..engine.elf import symbols
from ..engine.lookup import LOOK_UP, LOOK_UP_PAIR
from ..engine.loops import Loop
from ..engine.losses import LossLoop
from ..engine.rowoptions import OptionLoop
from ..engine.rows import RowLoop
from ..engine.store import MAY_CALL, Code
from ..functions.dtypes import FLOATS, FORMATS, named
from ..functions.specification import Rowwise


def codes() -> Iterator[Code]:
    """List all code that calls of this package's functions may need."""
    yield memory.pool_code()
    yield from map(process.code_of_entry, ("call", "call_rows", "call_reduction", "call_sums"))
    yield from (look_up.code() for look_up in (LOOK_UP, LOOK_UP_PAIR))
    for source, target, swapped in product(FORMATS, FORMATS, (False, True)):
        if exists(source, target) and FORMATS[source].bits <= FORMATS[target].bits:
            yield code_of_cast(source, swapped, target)
    for gradient, dtype in product((False, True), map(named, FLOATS)):
        yield LossLoop(gradient, dtype).code()
    for function in ALL.values():
        spec = function.spec
        for operation, dtype in product(spec.operations.values(), map(named, spec.dtypes)):
            if not isinstance(spec, Rowwise):
                yield Loop(spec, operation, dtype).code()
                continue
            for loop in (RowLoop, OptionLoop) if spec.has_options else (RowLoop,):
                yield loop(spec, operation.name == "backward", dtype).code()


def compile_level(target: Target) -> dict[bytes, bytes]:
    """Compile all of it for any processor of a level; what it has no instructions for is left out."""
    objects = {}
    for code in codes():
        try:
            made = object_of(code.build(target).module, target)
        except NotImplementedError:
            continue
        if code.own is not None and symbols(made)[1] <= MAY_CALL:
            objects[ahead.name_of(code.name, code.own)] = made
    return objects


def main(folder: Path = ahead.FOLDER) -> dict[str, tuple[int, int]]:
    """Write a file for each level of this machine's architecture; return how many objects each has, and its bytes."""
    triple, written = llvm.get_process_triple(), {}
    architecture = Target(triple, "", "").architecture
    for level in LEVELS.get(architecture, {}):
        if level == "x86-64":  # without FMA most functions are left to NumPy
            continue
        objects = compile_level(of_level(triple, level))
        ahead.write(folder / level, objects)
        written[level] = len(objects), os.path.getsize(folder / level)
    return written


if __name__ == "__main__":
    for level, (count, size) in main(*map(Path, sys.argv[1:])).items():
        print(f"{level}: {count} objects, {size / 1e6:.1f} MB")
