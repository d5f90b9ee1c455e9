"""CUDA C++: a trace of a formula, each operation once, as a constant with a type.

The smooth primitives are those of `numba`, traced too: they are made of float64 arithmetic, fma and integers, which
IEEE 754 makes the same on both. CUDA's own functions of float32 have documented errors of 1 unit in the last place or
more (CUDA C++ Programming Guide, "Mathematical Functions"), and the bound of the blocks is 0.6.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import FunctionType
from typing import Any, NoReturn

import numpy as np

from ..functions.dtypes import rounded

# Working type -> its type in C++; of small integers, one that holds their sums, as Numba's integers do.
NUMBERS = {"float32": "float", "float64": "double", "int64": "long long", "uint64": "unsigned long long"}
NUMBERS |= dict.fromkeys(("int8", "uint8", "int16", "uint16"), "int") | dict.fromkeys(("int32", "uint32"), "long long")


class Node:
    """A number or a condition of the trace: a literal, an input, or an operation on others."""

    __slots__ = ("kind", "operands", "text", "trace")
    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to this class

    def __init__(self, trace: Trace, kind: str, text: str, operands: tuple[Node, ...] = ()) -> None:
        self.trace, self.kind, self.text, self.operands = trace, kind, text, operands

    def __bool__(self) -> NoReturn:
        raise TypeError("a formula has no branch")

    def __neg__(self) -> Node:
        return self.trace.call("neg", self)

    def __lshift__(self, places: int) -> Node:
        return self.trace.operation(self.kind, f"shl({{}}, {places})", self)

    def __rshift__(self, places: int) -> Node:
        return self.trace.operation(self.kind, f"shr({{}}, {places})", self)

    def __and__(self, other: Node) -> Node:
        return self.trace.operation("bool", "{} && {}", self, other)

    def __or__(self, other: Node) -> Node:
        return self.trace.operation("bool", "{} || {}", self, other)


for _operator, _name in (("add", "add"), ("sub", "sub"), ("mul", "mul"), ("truediv", "div")):
    setattr(Node, f"__{_operator}__", lambda left, right, name=_name: left.trace.call(name, left, right))
    setattr(Node, f"__r{_operator}__", lambda right, left, name=_name: right.trace.call(name, left, right))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Node, f"__{_name}__", lambda left, right, name=_name: left.trace.call(name, left, right, kind="bool"))


class Trace:
    """The operations that were traced, so far.

    Parameters
    ----------
    working : str
        Name of the type that formulas are computed in.
    narrow : bool
        Whether results are of 24 bits or fewer.
    dtype : str
        Name of the dtype of x, to which parameters were rounded.
    """

    def __init__(self, working: str, narrow: bool, dtype: str = "float64") -> None:
        self.kind = NUMBERS[working]
        self.narrow = narrow
        self.dtype = dtype
        self._nodes: dict[tuple[Any, ...], Node] = {}

    def input(self, name: str, kind: str = "") -> Node:
        """Return the node of an argument."""
        return Node(self, kind or self.kind, name)

    def literal(self, number: Any, kind: str = "") -> Node:
        """Write a number out; it has the working type, or that of Python's numbers, as in Numba."""
        kind = kind or ("double" if isinstance(number, float) else "long long")
        if kind not in ("float", "double"):
            return Node(self, kind, f"{int(number)}{ {'long long': 'LL', 'unsigned long long': 'ULL'}.get(kind, '') }")
        number = float(np.float32(number)) if kind == "float" else float(number)
        if math.isfinite(number):
            return Node(self, kind, f"{number!r}f" if kind == "float" else repr(number))
        bits = {"float": np.float32(number).view("u4"), "double": np.float64(number).view("u8")}[kind]
        return Node(self, kind, f"__int_as_float({bits:#x})" if kind == "float" else f"from_bits({bits:#x}LL)")

    def operation(self, kind: str, text: str, *operands: Node) -> Node:
        """Return the node of an operation: an old one, if it has been computed before."""
        key = (text, *(id(operand) if operand.operands else (operand.kind, operand.text) for operand in operands))
        return self._nodes.setdefault(key, Node(self, kind, text, operands))

    def alike(self, *values: Any) -> list[Node]:
        """Convert operands to the type of the widest."""
        nodes = [value if isinstance(value, Node) else self.literal(value) for value in values]
        kinds = {node.kind for node in nodes}
        if kinds == {"float", "double"}:
            return [node if node.kind == "double" else self.operation("double", "widen({})", node) for node in nodes]
        if len(kinds) > 1:
            raise TypeError(f"a formula mixes {' and '.join(sorted(kinds))}")
        return nodes

    def call(self, name: str, *values: Any, kind: str = "") -> Node:
        """Return the node of a call of a function, which takes and gives numbers of one type."""
        nodes = self.alike(*values)
        return self.operation(kind or nodes[0].kind, f"{name}({', '.join(['{}'] * len(nodes))})", *nodes)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Select; what Python knows already needs no operation."""
        if isinstance(condition, bool):
            return x if condition else y
        nodes = self.alike(x, y)
        if nodes[0] is nodes[1] or (nodes[0].text == nodes[1].text and not nodes[0].operands + nodes[1].operands):
            return nodes[0]
        return self.operation(nodes[0].kind, "{} ? {} : {}", condition, *nodes)

    def primitives(self) -> dict[str, Any]:
        """Return the primitives that trace."""
        from . import numba

        exact: dict[str, Any] = {
            "T": lambda number: self.literal(number, self.kind),
            "stored": lambda number: self.literal(rounded(number, self.dtype), self.kind),
            "where": self.where,
            "abs": lambda x: abs(x) if isinstance(x, float) else self.call("abs", x),
            **{name: lambda *xs, name=name: self.call(name, *xs) for name in ("sqrt", "fma", "copysign")},
            "bits": lambda x: self.operation("long long", "to_bits({})", *self.alike(x)),
            "from_bits": lambda n: self.operation("double", "from_bits({})", *self.alike(n)),
        }
        exact["fabs"] = exact["abs"]
        smooth = numba.primitives(np.float64, self.narrow).items()
        return exact | {
            name: _traced(primitive.py_func, exact) for name, primitive in smooth if hasattr(primitive, "py_func")
        }

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
            return names.get(id(node), node.text)

        lines = []
        for node in self._nodes.values():
            if id(node) in needed:
                text = node.text.format(*map(name, node.operands))
                names[id(node)] = f"t{len(names)}"
                lines.append(f"const {node.kind} {names[id(node)]} = {text};")
        return lines + [statement.format(name(node)) for statement, node in results]


def _traced(function: Any, exact: dict[str, Any]) -> FunctionType:
    """Return a word of `cpu` as the function that it was before Numba compiled it, over the primitives that trace."""
    scope: dict[str, Any] = {}
    for name in function.__code__.co_names:
        meaning = function.__globals__.get(name)
        if name in exact:
            scope[name] = exact[name]
        elif hasattr(meaning, "py_func"):
            scope[name] = _traced(meaning.py_func, exact)
        else:  # a number, or NumPy
            scope[name] = int(meaning) if isinstance(meaning, np.integer) else meaning
    return FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
