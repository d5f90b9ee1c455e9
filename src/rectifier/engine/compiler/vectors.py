"""Vectors in LLVM: their types, constants, and one number in each lane."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

_I32 = ir.IntType(32)


def constant(kind: ir.Type, number: Any) -> ir.Constant:
    """Make a constant: one number, or a vector with it in each lane."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [number] * kind.count)
    return ir.Constant(kind, number)


def like(kind: ir.Type, element: ir.Type) -> ir.Type:
    """Return the type of other elements in as many lanes as a type has."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def spread(builder: ir.IRBuilder, number: ir.Value, lanes: int) -> ir.Value:
    """Make a vector with a number in each lane."""
    nothing = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    first = constant(ir.VectorType(_I32, lanes), 0)
    return builder.shuffle_vector(builder.insert_element(nothing, number, _I32(0)), nothing, first)
