"""Traces: a formula is called once with nodes for numbers, and each operation on them writes code.

CUDA C++ and LLVM's code are two kinds of trace. They differ in what an operation writes, and in nothing else: types,
literals, what is computed once and the smooth primitives are those of this module.
"""

from __future__ import annotations

import operator
from typing import Any, NoReturn

import numpy as np

from ..functions.dtypes import FORMATS, rounded
from . import smooth

# Working type -> type of the trace; of small integers, one that holds their sums.
KINDS = {name: name for name in ("float32", "float64", "int64", "uint64")}
KINDS |= dict.fromkeys(("int8", "uint8", "int16", "uint16"), "int32") | dict.fromkeys(("int32", "uint32"), "int64")
ARITHMETIC = (("add", "add"), ("sub", "sub"), ("mul", "mul"), ("truediv", "div"))
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
_KNOWN = {name: getattr(operator, name) for name in (*COMPARISONS, "neg", "abs")}
_KNOWN |= {name: getattr(operator, python) for python, name in ARITHMETIC}


class Node:
    """A number or a condition of a trace: a literal, an input, or an operation on others.

    Attributes
    ----------
    kind : str
        Its type: float32, float64, an integer, or bool.
    value
        What the trace wrote for it.
    name : str
        Of the operation; empty for an input.
    number
        Of a literal.
    """

    __slots__ = ("kind", "name", "number", "operands", "stored", "trace", "value")
    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to this class

    def __init__(
        self, trace: Trace, kind: str, value: Any, operands: tuple[Node, ...] = (), stored: Any = None, *,
        name: str = "", number: Any = None,
    ) -> None:  # fmt: skip
        self.trace, self.kind, self.value, self.operands, self.stored = trace, kind, value, operands, stored
        self.name, self.number = name, number

    def __bool__(self) -> NoReturn:
        raise TypeError("a formula has no branch")

    def __neg__(self) -> Any:
        return self.trace.call("neg", self)

    def __lshift__(self, places: int) -> Node:
        return self.trace.operation(f"shl {places}", self.kind, self)

    def __rshift__(self, places: int) -> Node:
        return self.trace.operation(f"shr {places}", self.kind, self)

    def __and__(self, other: Any) -> Any:
        if isinstance(other, bool):
            return self if other else False
        return self.trace.operation("and", "bool", self, other)

    def __or__(self, other: Any) -> Any:
        if isinstance(other, bool):
            return True if other else self
        return self.trace.operation("or", "bool", self, other)

    __rand__, __ror__ = __and__, __or__


for _operator, _name in ARITHMETIC:
    setattr(Node, f"__{_operator}__", lambda left, right, name=_name: left.trace.call(name, left, right))
    setattr(Node, f"__r{_operator}__", lambda right, left, name=_name: right.trace.call(name, left, right))
for _name in COMPARISONS:
    setattr(Node, f"__{_name}__", lambda left, right, name=_name: left.trace.call(name, left, right, kind="bool"))
Node.__hash__ = object.__hash__  # type: ignore[method-assign]


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
        self.kind = KINDS[working]
        self.narrow, self.dtype = narrow, dtype
        self.nodes: dict[tuple[Any, ...], Node] = {}
        self.ranges: dict[int, tuple[float, float]] = {}  # of nodes, all of which are kept in `nodes`

    def write(self, operation: str, kind: str, operands: tuple[Node, ...]) -> Any:
        """Write an operation, whose result has a type."""
        raise NotImplementedError

    def write_literal(self, number: Any, kind: str) -> Any:
        """Write a number of a type."""
        raise NotImplementedError

    def literal(self, number: Any, kind: str = "") -> Node:
        """Return the node of a number; it has the working type, or that of Python's numbers: float64 and int64."""
        kind = kind or ("float64" if isinstance(number, float) else "int64")
        with np.errstate(over="ignore"):  # beyond a type is infinity there
            number = np.dtype(kind).type(number)
        key = kind, number.tobytes()
        if key not in self.nodes:
            self.nodes[key] = Node(self, kind, self.write_literal(number, kind), number=number)
        return self.nodes[key]

    def operation(self, operation: str, kind: str, *operands: Node) -> Node:
        """Return the node of an operation: an old one, if it has been computed before."""
        key = (operation, kind, *map(id, operands))
        if key not in self.nodes:
            self.nodes[key] = Node(self, kind, self.write(operation, kind, operands), operands, name=operation)
        return self.nodes[key]

    def alike(self, *values: Any) -> list[Node]:
        """Convert operands to the type of the widest; Python's numbers take that of the others."""
        given = {value.kind for value in values if isinstance(value, Node)}
        own = {float: "float32" if given == {"float32"} else "", int: "int32" if given == {"int32"} else ""}
        nodes = [value if isinstance(value, Node) else self.literal(value, own[type(value)]) for value in values]
        kinds = {node.kind for node in nodes}
        if kinds == {"float32", "float64"}:
            return [node if node.kind == "float64" else self.operation("widen", "float64", node) for node in nodes]
        if len(kinds) > 1:
            raise TypeError(f"a formula mixes {' and '.join(sorted(kinds))}")
        return nodes

    def call(self, operation: str, *values: Any, kind: str = "") -> Any:
        """Return the node of an operation on numbers of one type, which its result has as well.

        What is known of literals, such as a default parameter, is decided here: then formulas leave out what it spares.
        """
        nodes = self.alike(*values)
        if operation in _KNOWN and all(node.number is not None for node in nodes):
            if operation == "div" and not nodes[0].kind.startswith("float"):
                raise TypeError("integers have no div")
            with np.errstate(all="ignore"):
                known = _KNOWN[operation](*[node.number for node in nodes])
            if kind == "bool":
                return bool(known)
            if np.isfinite(known):  # the sign of a NaN is the processor's
                return self.literal(known, nodes[0].kind)
        return self.operation(operation, kind or nodes[0].kind, *nodes)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Select; what Python knows already needs no operation."""
        if isinstance(condition, bool):
            return x if condition else y
        x, y = self.alike(x, y)
        return x if x is y else self.operation("where", x.kind, condition, x, y)

    def number(self, number: Any, rest: Any = None) -> Any:
        """Return the node of a literal of a formula, or those of it and of what it lacks."""
        if "int" in self.kind:
            return self.literal(number, self.kind)
        nearest = self.literal(number, self.kind)
        if rest is None:
            return nearest
        return nearest, self.literal(float(number) - float(nearest.number) + rest, self.kind)

    def known(self, x: Any, least: float, most: float) -> Any:
        """Return a node of which is known that it lies between two numbers, or is NaN, whatever it is computed from."""
        if isinstance(x, Node):
            self.ranges[id(x)] = least, most
        return x

    def largest(self) -> Node:
        """Return the node of the largest finite number."""
        if "int" in self.kind:
            raise TypeError("integers have no largest")
        return self.literal(np.finfo(self.kind).max, self.kind)

    def stored(self, number: Any) -> Node:
        """Return the node of a literal, or of what was computed, rounded to the dtype of x."""
        if not isinstance(number, Node):
            return self.literal(rounded(number, self.dtype), self.kind)
        return number if self.kind == self.dtype else self.rounded(number)

    def rounded(self, node: Node) -> Node:
        """Return the node of a number rounded to the dtype of x, which is narrower than the working type."""
        raise NotImplementedError

    def look_up(self, index: Node, table: tuple[float, ...]) -> Node:
        """Return the number of a table of eight float32 that the last bits of an integer say."""
        raise NotImplementedError

    @property
    def form(self) -> str:
        """Which of the forms of smooth primitives it takes."""
        if self.kind == "float32":
            return "plain" if FORMATS[self.dtype].bits == 16 else "single"
        return "narrow" if self.narrow else "wide"

    def bits(self, x: Any) -> Node:
        """View a float as an integer."""
        (node,) = self.alike(x)
        return self.operation("bits", node.kind.replace("float", "int"), node)

    def from_bits(self, n: Any) -> Node:
        """View an integer as a float."""
        (node,) = self.alike(n)
        return self.operation("from_bits", node.kind.replace("int", "float"), node)

    def primitives(self) -> dict[str, Any]:
        """Return the primitives that trace."""
        exact: dict[str, Any] = {
            "T": self.number,
            "largest": self.largest,
            "stored": self.stored,
            "where": self.where,
            "abs": lambda x: abs(x) if isinstance(x, float) else self.call("abs", x),
            **{name: lambda *xs, name=name: self.call(name, *xs) for name in ("sqrt", "fma", "copysign")},
            "bits": self.bits,
            "from_bits": self.from_bits,
            "look_up": self.look_up,
            "known": self.known,
            "larger": lambda x, y: self.call("larger", x, y),
        }
        return exact | {
            name: lambda *xs, primitive=primitive: self.nodes_of(primitive(*xs))
            for name, primitive in smooth.primitives(exact, self.form).items()
        }

    def nodes_of(self, results: Any) -> Any:
        """Make nodes of the results of a smooth primitive, some of which are Python's numbers."""
        if isinstance(results, tuple):
            return tuple(map(self.nodes_of, results))
        return results if isinstance(results, Node) else self.literal(results, self.kind)
