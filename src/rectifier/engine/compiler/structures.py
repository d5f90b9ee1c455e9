"""From fields of structures to words at addresses: one syntax tree to another, before `subset` translates it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NoReturn

from ..runtime.structure import Field, Structure, Words

Kind = type[Structure] | None
_ACCESSES = ("load", "load32", "store", "store32")  # what fields become


def lower(
    function: ast.FunctionDef, scope: Mapping[str, Any], refuse: Callable[[ast.AST], NoReturn]
) -> ast.FunctionDef:
    """Replace each field of a function by the instruction that loads or stores it.

    Parameters
    ----------
    function : ast.FunctionDef
        Its parameters are structures by their annotations; a variable is what it is first assigned.
    scope : mapping
        What names outside of the function stand for.
    refuse : callable
        Raises an error about an expression.
    """
    lowered: ast.FunctionDef = _Lowering(scope, refuse).visit(function)
    return lowered


class _Lowering(ast.NodeTransformer):
    def __init__(self, scope: Mapping[str, Any], refuse: Callable[[ast.AST], NoReturn]) -> None:
        self.scope, self.refuse = scope, refuse
        self.kinds: dict[str, Kind] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        for argument in node.args.args:
            self.kinds[argument.arg] = self._named(argument.annotation)
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def _named(self, annotation: ast.expr | None, scope: Mapping[str, Any] | None = None) -> Kind:
        kind = (scope or self.scope).get(annotation.id) if isinstance(annotation, ast.Name) else None
        return kind if isinstance(kind, type) and issubclass(kind, Structure) else None

    def kind_of(self, node: ast.expr) -> Kind:
        """Return the structure whose address an expression gives, or None if that is a number."""
        if isinstance(node, ast.Name):
            return self.kinds.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.kind_of(node.value)
            return owner.kind_of(node.attr) if owner and node.attr in owner.fields else None
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
            owner = self.kind_of(node.value.value)
            element: Kind = owner.fields[node.value.attr].element if owner and node.value.attr in owner.fields else None
            return element
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "stack" and node.args:
                return self._named(node.args[0]) or Words
            function = self.scope.get(node.func.id)
            if isinstance(function, FunctionType):
                returned = ast.parse(str(function.__annotations__.get("return")), mode="eval").body
                return self._named(returned, function.__globals__)
            return self._named(node.func)
        return None

    def _place(self, node: ast.expr) -> tuple[ast.expr, ast.expr]:
        """Return the address of a structure and the number of a word in it, of a field or an element of one."""
        if isinstance(node, ast.Attribute):
            base, field = self._field(node)
            if field.shape:
                self.refuse(node)
            return base, ast.Constant(field.word)
        if not isinstance(node, ast.Subscript):
            self.refuse(node)
        if self.kind_of(node.value) is Words:
            return self.visit(node.value), self.visit(node.slice)
        if not isinstance(node.value, ast.Attribute):
            self.refuse(node)
        base, field = self._field(node.value)
        indices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if len(indices) != len(field.shape):
            self.refuse(node)
        place: ast.expr = ast.Constant(field.word)
        for k, index in enumerate(indices):
            number = self.visit(index)
            for extent in field.shape[k + 1 :]:
                number = ast.BinOp(ast.Constant(extent), ast.Mult(), number)
            place = ast.BinOp(place, ast.Add(), number)
        return base, place

    def _field(self, node: ast.Attribute) -> tuple[ast.expr, Field]:
        kind = self.kind_of(node.value)
        if kind is None or node.attr not in kind.fields:
            self.refuse(node)
        return self.visit(node.value), kind.fields[node.attr]

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        base, word = self._place(node)
        return _call("load32", _sum(base, word)) if self._is_half(node) else _call("load", base, word)

    def _is_half(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and self._field(node)[1].bits == 32

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        element = self.kind_of(node)
        if element is not None and isinstance(node.value, ast.Attribute):
            base, field = self._field(node.value)
            number = ast.BinOp(ast.Constant(element.WORDS), ast.Mult(), self.visit(node.slice))
            return _sum(base, ast.BinOp(ast.Constant(field.word), ast.Add(), number))
        return _call("load", *self._place(node))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in _ACCESSES and not hasattr(self.scope.get(name), "emit"):  # something else of that name
            self.refuse(node)
        if isinstance(node.func, ast.Name) and len(node.args) == 1:
            (argument,) = node.args
            if node.func.id == "address":
                if isinstance(argument, ast.Attribute):  # an array is where its first element is
                    base, field = self._field(argument)
                    word: ast.expr = ast.Constant(field.word)
                else:
                    base, word = self._place(argument)
                return _sum(base, word)
            kind = self._named(argument)
            if node.func.id == "stack" and kind is not None:
                return _call("stack", ast.Constant(kind.WORDS))
            if self._named(node.func) is not None:
                converted: ast.expr = self.visit(argument)
                return converted
        node.args = [self.visit(argument) for argument in node.args]
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            if len(node.targets) != 1:
                self.refuse(node)
            return self._stored(node, node.targets[0], self.visit(node.value))
        for target in node.targets:
            pair = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            targets, values = (target.elts, node.value.elts) if pair else ([target], [node.value])  # type: ignore[attr-defined]
            if len(targets) != len(values):
                self.refuse(node)
            for name, value in zip(targets, values, strict=True):
                if not isinstance(name, ast.Name):
                    self.refuse(node)
                kind = self.kind_of(value)
                if self.kinds.setdefault(name.id, kind) is not kind:
                    self.refuse(node)
        node.value = self.visit(node.value)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        value = self.visit(node.value)
        if isinstance(node.target, ast.Name):
            if self.kinds.setdefault(node.target.id, None) is not None:
                self.refuse(node)
            node.value = value
            return node
        if any(isinstance(part, ast.Call) for part in ast.walk(node.target)):
            self.refuse(node)
        old = self.visit(ast.parse(ast.unparse(node.target), mode="eval").body)
        return self._stored(node, node.target, ast.BinOp(old, node.op, value))

    def _stored(self, node: ast.stmt, target: ast.expr, value: ast.expr) -> ast.stmt:
        base, word = self._place(target)
        half = self._is_half(target)
        stored = _call("store32", _sum(base, word), value) if half else _call("store", base, word, value)
        return ast.copy_location(ast.Expr(stored), node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> NoReturn:
        self.refuse(node)


def _sum(base: ast.expr, word: ast.expr) -> ast.expr:
    return ast.BinOp(base, ast.Add(), ast.BinOp(ast.Constant(8), ast.Mult(), word))


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])
