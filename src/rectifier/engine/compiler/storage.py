"""Numbers as they lie in memory, and as they are computed with: vectors of a dtype, in LLVM."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from ...formulas.llvm import ELEMENTS
from ...formulas.tracing import KINDS, Node
from ...functions.dtypes import FORMATS
from .rounding import round_to_bfloat, to_odd, widen_bfloat
from .vectors import bits_to_conditions, conditions_to_bits, constant, like

_I32 = ir.IntType(32)
_SINGLE = ir.FloatType()


class Storage:
    """How the elements of an operand lie in memory, and how they become numbers to compute with and back.

    Floats of 16 bits are seen as integers: LLVM has no arithmetic on vectors of them, and a selection needs none.

    Parameters
    ----------
    name : str
        Of a dtype, or "bit": one of a mask, eight of which are a byte.
    working : str
        Of the type that formulas are computed in.
    """

    def __init__(self, name: str, working: str) -> None:
        self.name = name
        self.kind = "bool" if name == "bit" else KINDS[working]
        self.size = 1 if name == "bit" else FORMATS[name].bits // 8
        self.type: ir.Type = ELEMENTS[name] if name in ("float32", "float64") else ir.IntType(8 * self.size)

    def stored_type(self, lanes: int) -> ir.Type:
        """Return the type of so many elements as they lie in memory; the bits of a mask are a whole number."""
        return ir.IntType(lanes) if self.name == "bit" else ir.VectorType(self.type, lanes)

    def widen(self, builder: ir.IRBuilder, stored: ir.Value) -> ir.Value:
        """Make numbers of what lies in memory."""
        if self.name == "bit":
            return bits_to_conditions(builder, stored)
        wide = like(stored.type, ELEMENTS[self.kind])
        if "int" in self.name:
            extend = builder.zext if self.name.startswith("u") else builder.sext
            return stored if stored.type == wide else extend(stored, wide)
        number = stored
        if self.name == "float16":
            number = builder.fpext(builder.bitcast(stored, like(stored.type, ir.HalfType())), like(wide, _SINGLE))
        elif self.name == "bfloat16":
            number = widen_bfloat(builder, stored)
        return number if number.type == wide else builder.fpext(number, wide)

    def narrow(self, builder: ir.IRBuilder, node: Node) -> ir.Value:
        """Round numbers to what lies in memory."""
        if node.stored is not None:
            return node.stored
        number = node.value
        memory = like(number.type, self.type)
        if self.name == "bit":
            return conditions_to_bits(builder, number)
        if "int" in self.name:
            return number if number.type == memory else builder.trunc(number, memory)
        if self.name != "float64" and node.kind == "float64":
            number = number if self.name == "float32" else to_odd(builder, number)
            number = builder.fptrunc(number, like(memory, _SINGLE))
        if self.name == "float64" and node.kind == "float32":
            return builder.fpext(number, memory)
        if self.name == "float16":
            return builder.bitcast(builder.fptrunc(number, like(memory, ir.HalfType())), memory)
        if self.name == "bfloat16":
            # A NaN needs no care: it is the default one or has the payload of an operand, so its lower half is 0.
            return round_to_bfloat(builder, builder.bitcast(number, like(memory, _I32)))
        return number

    def constant(self, number: Any, lanes: int) -> ir.Constant | None:
        """Return a number as it lies in memory; None where it would be rounded."""
        kind = ir.VectorType(self.type, lanes) if lanes else self.type
        if "int" in self.name:
            return constant(kind, int(number)) if int(number) == number else None
        number = float(number)
        with np.errstate(over="ignore"):
            held = np.dtype(self.name if self.name in ELEMENTS or self.name == "float16" else "float32").type(number)
        if float(held) != number:
            return None
        if self.name in ("float32", "float64"):
            return constant(kind, number)
        if self.name == "float16":
            return constant(kind, int(held.view(np.uint16)))
        upper, lower = divmod(int(held.view(np.uint32)), 1 << 16)
        return None if lower else constant(kind, upper)


class _Flag(Storage):
    """A byte of NumPy's bool: a condition, which is true of all bytes but 0."""

    def __init__(self) -> None:
        self.name, self.kind, self.size, self.type = "flag", "bool", 1, ir.IntType(8)

    def widen(self, builder: ir.IRBuilder, stored: ir.Value) -> ir.Value:
        """Make conditions of bytes."""
        return builder.icmp_unsigned("!=", stored, constant(stored.type, 0))


FLAG = _Flag()
