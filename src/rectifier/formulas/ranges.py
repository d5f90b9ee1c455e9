"""Between what two numbers the nodes of a trace lie, so far as that follows from what they are computed from.

A division takes a third of the instructions of a GPU where neither it nor its result can be subnormal or infinite.
"""

from __future__ import annotations

import math
from itertools import starmap
from typing import Any

from .tracing import Node

ANY = -math.inf, math.inf
Range = tuple[float, float]


def _product(x: float, y: float) -> float:
    return x * y if x and y else 0.0  # infinity is a bound here, beyond which there is nothing


def _times(x: Range, y: Range) -> Range:
    products = list(starmap(_product, ((a, b) for a in x for b in y)))
    return min(products), max(products)


def _plus(x: Range, y: Range) -> Range:
    least, most = x[0] + y[0], x[1] + y[1]
    return (-math.inf if math.isnan(least) else least), (math.inf if math.isnan(most) else most)


def of(node: Node, known: dict[int, Range]) -> Range:
    """Return two numbers between which a node lies unless it is NaN; `known` has those of some by id, and keeps all.

    An operation's own rounding is not in them: it moves no number past one that needs no rounding itself.
    """
    if id(node) not in known:
        known[id(node)] = _selected(node, known, ()) if node.name == "where" else _computed(node, known)
    return known[id(node)]


def is_beyond(comparison: str, x: Node, number: float, known: dict[int, Range]) -> bool:
    """Whether a comparison of a node with a number is known to be false, as it is of NaN."""
    least, most = of(x, known)
    match comparison:
        case "lt":
            return least >= number
        case "le":
            return least > number
        case "gt":
            return most <= number
        case "ge":
            return most < number
    return False


def _selected(node: Node, known: dict[int, Range], asked: tuple[tuple[Node, bool], ...]) -> Range:
    """Return the range of what is selected where so many conditions hold, or do not."""
    if node.name == "where":
        condition, x, y = node.operands
        ranges = [_selected(z, known, (*asked, (condition, holds))) for z, holds in ((x, True), (y, False))]
        return min(least for least, _ in ranges), max(most for _, most in ranges)
    least, most = of(node, known)
    for condition, holds in asked:
        if condition.name in ("lt", "le", "gt", "ge") and condition.operands[0] is node:
            number = condition.operands[1].number
            if number is not None and (condition.name in ("lt", "le")) == holds:
                most = min(most, float(number))
            elif number is not None:
                least = max(least, float(number))
    return least, most


def _computed(node: Node, known: dict[int, Range]) -> Range:
    number: Any = node.number
    if number is not None:
        return ANY if math.isnan(number) else (float(number), float(number))
    match node.name, [of(operand, known) for operand in node.operands if operand.kind != "bool"]:
        case "neg", [(least, most)]:
            return -most, -least
        case "abs", [(least, most)]:
            return max(0.0, least, -most), max(-least, most)
        case "add", [x, y]:
            return _plus(x, y)
        case "sub", [x, (least, most)]:
            return _plus(x, (-most, -least))
        case (("mul" | "fma"), [x, y, *added]):
            product = _times(x, y)
            if node.operands[0] is node.operands[1]:
                product = max(0.0, product[0]), product[1]
            return _plus(product, added[0]) if added else product
    return ANY
