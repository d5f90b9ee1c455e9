"""From elements as they lie in memory to elements for a kernel: other dtypes, and the other byte order."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir

from .instructions import Instruction, at
from .optimise import Optimised
from .subset import optimised
from .target import Target

LANES = 16  # elements at once; a tile has room for a whole number of them
_FLOATS = {"float16": ir.HalfType(), "float32": ir.FloatType(), "float64": ir.DoubleType()}


def _lanes(element: ir.Type) -> ir.VectorType:
    return ir.VectorType(element, LANES)


def _convert(source: str, swapped: bool, target: str) -> Instruction:
    """Make the instruction that converts so many elements; what `target` does not hold is rounded."""
    bits = 16 if source == "bfloat16" else 8 * np.dtype(source).itemsize

    def emit(builder: ir.IRBuilder, to: ir.Value, here: ir.Value) -> None:
        numbers: Any = builder.load(at(builder, here, _lanes(ir.IntType(bits))))
        numbers.align = 1
        if swapped and bits > 8:
            swap = ir.FunctionType(numbers.type, [numbers.type])
            name = f"llvm.bswap.v{LANES}i{bits}"
            numbers = builder.call(
                builder.module.globals.get(name) or ir.Function(builder.module, swap, name), [numbers]
            )
        if source == "bfloat16":  # the upper half of a float32
            wide = _lanes(ir.IntType(32))
            numbers = builder.shl(builder.zext(numbers, wide), ir.Constant(wide, [16] * LANES))
            numbers = builder.bitcast(numbers, _lanes(ir.FloatType()))
        elif source in _FLOATS:
            numbers = builder.bitcast(numbers, _lanes(_FLOATS[source]))
        if source != target:
            numbers = _widen(builder, numbers, source, target)
        builder.store(numbers, at(builder, to, numbers.type)).align = 1

    return Instruction(emit)


def _widen(builder: ir.IRBuilder, numbers: ir.Value, source: str, target: str) -> ir.Value:
    unsigned = source.startswith("u")
    if target not in _FLOATS:
        wide = _lanes(ir.IntType(8 * np.dtype(target).itemsize))
        return builder.zext(numbers, wide) if unsigned else builder.sext(numbers, wide)
    wide = _lanes(_FLOATS[target])
    if "int" in source:
        return builder.uitofp(numbers, wide) if unsigned else builder.sitofp(numbers, wide)
    return numbers if numbers.type == wide else builder.fpext(numbers, wide)


def _cast(to: int, here: int, n: int) -> None:
    for i in range(0, n, LANES):
        convert(to + i * TO, here + i * HERE)  # type: ignore[name-defined]  # noqa: F821  (`build` binds them)


def build(source: str, swapped: bool, target: str, machine: Target | None = None) -> Optimised:
    """Compile a cast, ``void cast(void *to, void *here, intp n)``: both are tiles."""
    sizes = {"HERE": source, "TO": target}
    words: dict[str, Any] = {word: 2 if name == "bfloat16" else np.dtype(name).itemsize for word, name in sizes.items()}
    words.update(convert=_convert(source, swapped, target), LANES=LANES)
    return optimised([FunctionType(_cast.__code__, words, "cast")], machine)


def exists(source: str, target: str) -> bool:
    """Say whether there is a cast: to the same dtype or one that holds it."""
    if source == target:
        return target != "bfloat16"
    return target not in ("float16", "bfloat16") and np.can_cast("float32" if source == "bfloat16" else source, target)
