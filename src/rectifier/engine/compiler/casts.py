"""From elements as they lie in memory to elements for a kernel: other dtypes, and the other byte order."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir

from ...functions.dtypes import FORMATS
from .instructions import Instruction, at, external
from .optimise import Optimised
from .rounding import widen_bfloat
from .subset import optimised
from .target import Target

FLOATS = {"float16": ir.HalfType(), "float32": ir.FloatType(), "float64": ir.DoubleType()}
LANES = 16  # elements at once; a tile has room for a whole number of them


def _lanes(element: ir.Type) -> ir.VectorType:
    return ir.VectorType(element, LANES)


def _convert(source: str, swapped: bool, target: str) -> Instruction:
    """Make the instruction that converts so many elements; what `target` does not hold is rounded."""
    bits = FORMATS[source].bits

    def emit(builder: ir.IRBuilder, to: ir.Value, here: ir.Value) -> None:
        numbers: Any = builder.load(at(builder, here, _lanes(ir.IntType(bits))))
        numbers.align = 1
        if swapped and bits > 8:
            swap = external(builder, f"llvm.bswap.v{LANES}i{bits}", numbers.type, [numbers.type])
            numbers = builder.call(swap, [numbers])
        if source == "bfloat16":
            numbers = widen_bfloat(builder, numbers)
        elif source in FLOATS:
            numbers = builder.bitcast(numbers, _lanes(FLOATS[source]))
        if source != target:
            numbers = _widen(builder, numbers, source, target)
        builder.store(numbers, at(builder, to, numbers.type)).align = 1

    return Instruction(emit)


def _widen(builder: ir.IRBuilder, numbers: ir.Value, source: str, target: str) -> ir.Value:
    unsigned = source.startswith("u")
    if target not in FLOATS:
        wide = _lanes(ir.IntType(FORMATS[target].bits))
        return builder.zext(numbers, wide) if unsigned else builder.sext(numbers, wide)
    wide = _lanes(FLOATS[target])
    if "int" in source:
        return builder.uitofp(numbers, wide) if unsigned else builder.sitofp(numbers, wide)
    return numbers if numbers.type == wide else builder.fpext(numbers, wide)


def _cast(to: int, here: int, n: int) -> None:
    for i in range(0, n, LANES):
        convert(to + i * TO, here + i * HERE)  # type: ignore[name-defined]  # noqa: F821  (`build` binds them)


def build(source: str, swapped: bool, target: str, machine: Target | None = None) -> Optimised:
    """Compile a cast, ``void cast(void *to, void *here, intp n)``: both are tiles."""
    sizes = {"HERE": source, "TO": target}
    words: dict[str, Any] = {word: FORMATS[name].bits // 8 for word, name in sizes.items()}
    words.update(convert=_convert(source, swapped, target), LANES=LANES)
    return optimised([FunctionType(_cast.__code__, words, "cast")], machine)


def exists(source: str, target: str) -> bool:
    """Return whether there is a cast: to the same dtype or one that holds it."""
    if source == target:
        return target != "bfloat16"
    return target not in ("float16", "bfloat16") and np.can_cast("float32" if source == "bfloat16" else source, target)
