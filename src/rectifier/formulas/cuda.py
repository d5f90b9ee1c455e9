"""CUDA C++: a trace of a formula, each operation once, as a constant with a type.

CUDA's own functions of float32 have documented errors of 1 unit in the last place or more (CUDA C++ Programming Guide,
"Mathematical Functions"), and the bound of the blocks is 1. The smooth primitives are made of arithmetic, fma and
integers, which IEEE 754 makes the same on every processor: results are the CPU's, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..functions.dtypes import FORMATS
from . import ranges, tracing
from .tracing import Node

CPP = {"float32": "float", "float64": "double", "int32": "int", "int64": "long long", "uint64": "unsigned long long"}
CPP["bool"] = "bool"
_OPERATORS = {"and": "{} && {}", "or": "{} || {}", "where": "{} ? {} : {}", "bits": "to_bits({})"}
_SUFFIXES = {"int64": "LL", "uint64": "ULL"}


def working_type(working: str) -> str:
    """Return the type in C++ that formulas of a working type are computed in."""
    return CPP[tracing.KINDS[working]]


class Trace(tracing.Trace):
    """A trace whose operations write expressions in C++, with braces for the names of operands.

    Attributes
    ----------
    tables : dict
        Those in which numbers are looked up, by their places in the rows of the array TABLES of the text.
    """

    def __init__(self, working: str, narrow: bool, dtype: str = "float64") -> None:
        super().__init__(working, narrow, dtype)
        self.tables: dict[tuple[float, ...], int] = {}

    def call(self, operation: str, *values: Any, kind: str = "") -> Any:
        """Return the node of an operation, or of another that is shorter where operands are known well enough.

        A comparison may be decided. A division is a product with a reciprocal where both are normal numbers.
        """
        nodes = self.alike(*values)
        against = nodes[1].number if kind == "bool" and "float" in nodes[0].kind else None
        if against is not None and ranges.is_beyond(operation, nodes[0], float(against), self.ranges):
            return False
        if operation == "mul" and any(node.number == 1 for node in nodes):
            return nodes[1] if nodes[0].number == 1 else nodes[0]
        if operation == "div" and nodes[0].kind == "float32" and any(node.number is None for node in nodes):
            x, y = nodes
            least, most = ranges.of(y, self.ranges)
            if least >= 0.5 and most <= 2.0**100:
                if x.number == 1:
                    return self.operation("reciprocal", x.kind, y)
                if max(map(abs, ranges.of(x, self.ranges))) <= least * float(np.finfo(np.float32).max):
                    return self.operation("quotient", x.kind, x, y)
        return super().call(operation, *values, kind=kind)

    def look_up(self, index: Node, table: tuple[float, ...]) -> Node:
        """Return the node of a number of a table."""
        place = self.tables.setdefault(table, len(self.tables))
        return self.operation(f"TABLES[{{}} & {len(table) - 1}].at[{place}]", "float32", index)

    def rounded(self, node: Node) -> Node:
        """Return the node of a number rounded to the dtype of x, and back in the working type."""
        if "int" in self.dtype:
            return self.operation(f"stored ({FORMATS[self.dtype].cpp}){{}}", self.kind, node)
        text = f"from_{self.dtype}(to_{self.dtype}({{}}))"
        return self.operation(f"stored {f'widen({text})' if self.kind == 'float64' else text}", self.kind, node)

    def input(self, name: str, kind: str = "") -> Node:
        """Return the node of an argument."""
        return Node(self, kind or self.kind, name)

    def write_literal(self, number: Any, kind: str) -> str:
        """Write a number out."""
        if not kind.startswith("float"):
            return f"{int(number)}{_SUFFIXES.get(kind, '')}"
        if np.isfinite(number):
            return f"{float(number)!r}f" if kind == "float32" else repr(float(number))
        bits = number.view("u4" if kind == "float32" else "u8")
        return f"__int_as_float({bits:#x})" if kind == "float32" else f"from_bits({bits:#x}LL)"

    def write(self, operation: str, kind: str, operands: tuple[Node, ...]) -> str:
        """Write an expression."""
        name, _, places = operation.partition(" ")
        if name in ("shl", "shr"):
            return f"{name}({{}}, {places})"
        if name == "stored":
            return operation.removeprefix("stored ")
        if name.startswith("TABLES"):
            return operation
        if operation == "from_bits" and kind == "float32":
            return "from_bits_of_float({})"
        return _OPERATORS.get(operation) or f"{operation}({', '.join(['{}'] * len(operands))})"

    def lines(self, results: Iterable[tuple[str, Node]]) -> list[str]:
        """Write statements which compute nodes, and no others, then those that `results` make of their names."""
        results = list(results)
        needed, waiting = set(), [node for _, node in results]
        while waiting:
            node = waiting.pop()
            if id(node) not in needed:
                needed.add(id(node))
                waiting.extend(node.operands)
        names: dict[int, str] = {}

        def name(node: Node) -> str:
            return names.get(id(node)) or str(node.value)

        lines = []
        for node in self.nodes.values():
            if id(node) in needed and node.operands:
                text: str = node.value.format(*map(name, node.operands))
                names[id(node)] = f"t{len(names)}"
                lines.append(f"const {CPP[node.kind]} {names[id(node)]} = {text};")
        return lines + [statement.format(name(node)) for statement, node in results]
