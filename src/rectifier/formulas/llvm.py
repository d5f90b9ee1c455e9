"""LLVM's code: a trace of a formula whose operations write instructions on vectors, which LLVM cuts into registers.

The type of a node's value is a vector of so many lanes, or one number where the trace has none. Nothing contracts or
reorders: no fast-math flag, and a fused multiply-add only where a formula has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from . import tracing
from .tracing import Node

ELEMENTS = {
    "float32": ir.FloatType(), "float64": ir.DoubleType(), "int32": ir.IntType(32), "int64": ir.IntType(64),
    "uint64": ir.IntType(64), "bool": ir.IntType(1),
}  # fmt: skip
_FLOATS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "neg": "fneg", "widen": "fpext"}
_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_INTRINSICS = {"abs": "fabs", "sqrt": "sqrt", "fma": "fma", "copysign": "copysign"}


class Trace(tracing.Trace):
    """A trace whose operations write instructions.

    Parameters
    ----------
    builder : ir.IRBuilder
    lanes : int
        Of a vector; 0 for numbers.
    as_stored : callable
        Returns a number as the dtype of x has it in memory, or None where that would be another number.
    round_trip : callable
        Writes what rounds a node to the dtype of x; returns it as it lies in memory and in the working type.
    outside : ir.Block, optional
        Where what is the same for all elements is computed: before the loop.
    permute : callable, optional
        Writes what looks numbers up in a table of eight, for all lanes at once; else each lane loads its own.
    """

    def __init__(
        self, builder: ir.IRBuilder, lanes: int, working: str, narrow: bool, dtype: str = "float64",
        as_stored: Callable[[Any], Any] = lambda number: None,
        round_trip: Callable[[Node], tuple[Any, Any]] = lambda node: (None, node.value),
        outside: ir.Block | None = None,
        permute: Callable[[ir.IRBuilder, ir.Value, tuple[float, ...]], ir.Value] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(working, narrow, dtype)
        self.builder, self.lanes, self.as_stored, self.outside = builder, lanes, as_stored, outside
        self.round_trip, self.permute = round_trip, permute
        self.varying: set[Node] = set()

    def type(self, kind: str) -> ir.Type:
        """Return LLVM's type of a node."""
        return ir.VectorType(ELEMENTS[kind], self.lanes) if self.lanes else ELEMENTS[kind]

    def input(self, value: ir.Value, kind: str = "", stored: ir.Value = None, *, varies: bool = True) -> Node:
        """Return the node of an argument; `stored` is the same number as it lies in memory."""
        node = Node(self, kind or self.kind, value, stored=stored)
        if varies:
            self.varying.add(node)
        return node

    def operation(self, operation: str, kind: str, *operands: Node) -> Node:
        """Return the node of an operation, which is done outside of the loop if its operands are the same there."""
        if self.outside is None or not self.varying.isdisjoint(operands):
            node = super().operation(operation, kind, *operands)
            self.varying.add(node)
            return node
        with self.builder.goto_block(self.outside):
            return super().operation(operation, kind, *operands)

    def literal(self, number: Any, kind: str = "") -> Node:
        """Return the node of a number, as it lies in memory, too."""
        node = super().literal(number, kind)
        if kind and node.stored is None:
            node.stored = self.as_stored(number)
        return node

    def call(self, operation: str, *values: Any, kind: str = "") -> Any:
        """Return the node of an operation. A product with a selection of two literals selects one of two products.

        Backward from a mask is a product with 0 or 1: so it selects among numbers as they lie in memory.
        """
        chosen = _literals(values[-1])
        if operation == "mul" and chosen is not None and 1 in (chosen[1].number, chosen[2].number):
            condition, *literals = chosen
            node: Node = self.where(condition, *[self._times(values[0], literal) for literal in literals])
            return node
        return super().call(operation, *values, kind=kind)

    def rounded(self, node: Node) -> Node:
        """Return the node of a number rounded to the dtype of x, as it lies in memory, too."""
        key = "stored", id(node)
        if key not in self.nodes:
            stored, value = self.round_trip(node)
            self.nodes[key] = Node(self, self.kind, value, (node,), stored, name="stored")
            self.varying.add(self.nodes[key])
        return self.nodes[key]

    def look_up(self, index: Node, table: tuple[float, ...]) -> Node:
        """Write what looks numbers up in a table of eight: once for each table."""
        key = "look_up", table, id(index)
        if key not in self.nodes:
            write = self._load if self.permute is None or not self.lanes else self.permute
            node = Node(self, "float32", write(self.builder, index.value, table), (index,), name="look_up")
            self.nodes[key] = node
            self.varying.add(node)
        return self.nodes[key]

    def _load(self, builder: ir.IRBuilder, index: ir.Value, table: tuple[float, ...]) -> ir.Value:
        kind = ir.ArrayType(ir.FloatType(), len(table))
        held = ir.GlobalVariable(builder.module, kind, builder.module.get_unique_name("table"))
        held.linkage, held.global_constant, held.initializer = "private", True, ir.Constant(kind, list(table))

        def number(place: ir.Value) -> ir.Value:
            place = builder.and_(place, place.type(len(table) - 1))
            return builder.load(builder.gep(held, [place.type(0), place]))

        if not self.lanes:
            return number(index)
        result = ir.Constant(self.type("float32"), ir.Undefined)
        for k in range(self.lanes):
            lane = ir.IntType(32)(k)
            result = builder.insert_element(result, number(builder.extract_element(index, lane)), lane)
        return result

    def _times(self, x: Any, literal: Node) -> Any:
        return x if literal.number == 1 and isinstance(x, Node) else super().call("mul", x, literal)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Select among numbers as they lie in memory, too: what is only selected needs no rounding."""
        condition, x, y = _decided(condition, x, y)
        node = super().where(condition, x, y)
        if isinstance(condition, bool):
            return node
        if isinstance(node, Node) and node.stored is None and node.name == "where":
            numbers = [operand.stored for operand in node.operands[1:]]
            if all(number is not None for number in numbers):
                node.stored = self.builder.select(condition.value, *numbers)
        return node

    def write_literal(self, number: Any, kind: str) -> ir.Constant:
        """Make a constant."""
        value = float(number) if kind.startswith("float") else int(number)
        return ir.Constant(self.type(kind), [value] * self.lanes if self.lanes else value)

    def write(self, operation: str, kind: str, operands: tuple[Node, ...]) -> ir.Value:
        """Write an instruction."""
        builder, values = self.builder, [node.value for node in operands]
        of = operands[-1].kind
        name, _, places = operation.partition(" ")
        if places:
            shift = builder.shl if name == "shl" else builder.ashr
            return shift(values[0], self.write_literal(int(places), kind))
        if name in _COMPARISONS:
            if of.startswith("float"):
                compare = builder.fcmp_unordered if name == "ne" else builder.fcmp_ordered
            else:
                compare = builder.icmp_unsigned if of == "uint64" else builder.icmp_signed
            return compare(_COMPARISONS[name], *values)
        if name == "where":
            return builder.select(*values)
        if name in ("and", "or"):
            return getattr(builder, f"{name}_")(*values)
        if name in ("bits", "from_bits", "widen"):
            return (builder.fpext if name == "widen" else builder.bitcast)(values[0], self.type(kind))
        if name in _INTRINSICS and of.startswith("float"):
            return self._intrinsic(_INTRINSICS[name], values)
        if name in _FLOATS and of.startswith("float"):
            return getattr(builder, _FLOATS[name])(*values)
        if name in ("add", "sub", "mul", "neg"):
            return getattr(builder, name)(*values)
        raise TypeError(f"integers have no {name}")

    def _intrinsic(self, name: str, values: list[ir.Value]) -> ir.Value:
        kind = values[0].type
        short = {ir.FloatType(): "f32", ir.DoubleType(): "f64"}[kind.element if self.lanes else kind]
        full = f"llvm.{name}.v{self.lanes}{short}" if self.lanes else f"llvm.{name}.{short}"
        function = self.builder.module.globals.get(full)
        if function is None:
            function = ir.Function(self.builder.module, ir.FunctionType(kind, [kind] * len(values)), full)
        return self.builder.call(function, values)


def _literals(node: Any) -> tuple[Node, Node, Node] | None:
    """Return the condition and the literals of a selection of two."""
    if isinstance(node, Node) and node.name == "where" and all(x.number is not None for x in node.operands[1:]):
        condition, x, y = node.operands
        return condition, x, y
    return None


def _decided(condition: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Simplify a selection that asks what another has decided: where(where(c, 1, 0) == 0, x, where(c, y, z))."""
    if not isinstance(condition, Node) or condition.name != "eq" or not isinstance(y, Node) or y.name != "where":
        return condition, x, y
    (asked, zero), (inner, one, _) = condition.operands, y.operands
    chosen = _literals(asked)
    if chosen is None or zero.number is None or chosen[0] is not inner:
        return condition, x, y
    first, second = (literal.number == zero.number for literal in chosen[1:])
    return (inner, one, x) if second and not first else (condition, x, y)
