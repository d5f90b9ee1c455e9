"""From plain Python to LLVM, for the code around the kernels, which computes with addresses and counts alone.

Every value is a 64-bit integer that wraps around. All else than this is refused, with its file and line:

====================  ================================================================================================
function              parameters without defaults; ``return``; a docstring
assignment            ``name = x``, ``a, b = x, y``, ``name += x``; ``structure.field = x``, ``structure.array[k] = x``,
                      ``words[k] = x``, and the same with ``+=``
flow                  ``if``, ``elif``, ``else``; ``while`` and ``for name in range(...)`` without ``else``, the step a
                      constant other than 0; ``break``, ``continue``
constants             integers and bools, written or of the module; a `Number`
arithmetic            ``+ - * & | ^ << ~``, ``-x``; ``>>``, which keeps the sign; ``//`` and ``%``, of numbers that are
                      not negative (what is negative by its sign is refused)
conditions            ``== != < <= > >=``, signed; chains, whose operands from the third on are names and constants;
                      ``and``, ``or``, ``not``: 0 or 1, and evaluated as far as in Python; ``a if c else b``
fields                of structures: parameters with an annotation, and variables that are assigned one (`structures`)
calls                 by position: other functions of this kind, instructions, ``min`` and ``max`` of two, ``abs``,
                      ``stack`` of a structure or a constant number of words, ``address`` of a field, ``Structure(x)``
====================  ================================================================================================

Nothing has to find types, so the whole runtime takes 0.1 s here and 0.2 s in LLVM.
"""

from __future__ import annotations

import ast
import linecache
import operator
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, TypeGuard

from llvmlite import ir

from .instructions import Instruction, Module, Number, load, load32, store, store32
from .optimise import PREFIX, Optimised, optimise
from .structures import lower
from .target import Target, host

I1, I64 = ir.IntType(1), ir.IntType(64)

_ARITHMETIC = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "udiv", ast.Mod: "urem",
    ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "ashr",
}  # fmt: skip
_FOLDED = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "floordiv", ast.Mod: "mod",
    ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor", ast.LShift: "lshift", ast.RShift: "rshift",
}  # fmt: skip
_COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_MEMORY = {"load": load, "load32": load32, "store": store, "store32": store32}


def _is_word(number: Any) -> TypeGuard[int]:
    return isinstance(number, int) and -(1 << 63) <= number < 1 << 64


def _is_negative(value: ir.Value) -> bool:
    return isinstance(value, ir.Constant) and value.constant < 0


def optimised(
    functions: Sequence[Callable[..., Any]], target: Target | None = None, names: Sequence[str] = ()
) -> Optimised:
    """Translate functions and those that they call, and have LLVM optimise them for a target, by default this machine.

    `names` are those that the functions have in the object, by default their own.

    Raises
    ------
    TypeError
        If one uses what there is not, with its file and line.
    """
    target = target or host()
    text = Module(target)
    translated: dict[Callable[..., Any], ir.Function] = {}
    names = names or [function.__name__ for function in functions]
    for function, name in zip(functions, names, strict=True):
        declared = _declare(text, translated, function)
        declared.name, declared.linkage = PREFIX + name, ""
    return optimise(text, tuple(names), target)


def _declare(
    module: Module, translated: dict[Callable[..., Any], ir.Function], function: Callable[..., Any]
) -> ir.Function:
    if function not in translated:
        arguments = [I64] * function.__code__.co_argcount
        declared = ir.Function(module, ir.FunctionType(I64, arguments), module.get_unique_name(function.__name__))
        declared.linkage = "internal"
        declared.attributes.add("nounwind")
        translated[function] = declared
        _Translation(module, translated, function, declared).run()
    return translated[function]


def _source(function: Callable[..., Any]) -> str:
    """Return the text of a function at the top of a module: `inspect` cuts the module into tokens for it, 2 ms each."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)[code.co_firstlineno - 1 :]
    if not lines:
        raise OSError(f"{code.co_filename} is not there to be translated")
    ends = (k for k, line in enumerate(lines[1:], 1) if line.strip() and line[0] not in " )#\t")
    end = next((k for k in ends if not lines[k - 1].startswith("@")), len(lines))
    return textwrap.dedent("".join(lines[:end]))


def _assigned_once(function: ast.FunctionDef) -> set[str]:
    """List parameters that keep their values, and variables that are assigned once, before all that may read them."""
    stores = Counter(
        node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    first = {argument.arg for argument in function.args.args if argument.arg not in stores}
    for statement in function.body:
        for target in getattr(statement, "targets", ()):
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            first |= {name.id for name in names if isinstance(name, ast.Name) and stores[name.id] == 1}
    return first


class _Translation:
    """One function on its way."""

    def __init__(
        self,
        module: Module,
        translated: dict[Callable[..., Any], ir.Function],
        function: Callable[..., Any],
        target: ir.Function,
    ) -> None:
        self.module, self.translated, self.function, self.target = module, translated, function, target
        self.scope = {**function.__globals__, **_MEMORY}
        self.entry = target.append_basic_block("entry")
        self.builder = ir.IRBuilder(target.append_basic_block("body"))
        self.line = 1  # of the function, where translation is
        self.variables: dict[str, ir.Value] = {}
        self.once: set[str] = set()
        self.values: dict[str, ir.Value] = {}  # of the variables that are assigned once
        self.loops: list[tuple[ir.Block, ir.Block]] = []  # where continue and break go

    def run(self) -> None:
        tree: Any = ast.parse(_source(self.function)).body[0]
        given = tree.args
        if (
            given.defaults
            or given.vararg
            or given.kwarg
            or given.kwonlyargs
            or given.posonlyargs
            or tree.decorator_list
        ):
            self.refuse(tree)
        tree = lower(tree, self.function.__globals__, self.refuse)
        self.once = _assigned_once(tree)
        for name, value in zip(self.function.__code__.co_varnames, self.target.args, strict=False):
            self.assign(name, value)
        self.block(tree.body)
        if not self.builder.block.is_terminated:
            self.builder.ret(I64(0))
        ir.IRBuilder(self.entry).branch(self.target.blocks[1])

    def variable(self, name: str) -> ir.Value:
        if name not in self.variables:
            self.variables[name] = ir.IRBuilder(self.entry).alloca(I64, name=name)
        return self.variables[name]

    def assign(self, name: str, value: ir.Value) -> None:
        if name in self.once:
            self.values[name] = value
        else:
            self.builder.store(value, self.variable(name))

    def refuse(self, node: Any) -> Any:
        code = self.function.__code__
        line = code.co_firstlineno + getattr(node, "lineno", self.line) - 1
        what = ast.unparse(node).splitlines()[0]
        raise TypeError(f"{code.co_filename}, line {line}: no translation of {what!r}")

    def block(self, statements: list[Any]) -> None:
        for statement in statements:
            if self.builder.block.is_terminated:
                return
            self.line = statement.lineno
            getattr(self, f"on_{type(statement).__name__}", self.refuse)(statement)

    def on_Expr(self, node: ast.Expr) -> None:
        if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):  # a docstring
            self.value(node.value)

    def on_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                values = [self.value(element) for element in node.value.elts]
                if len(values) != len(target.elts):
                    self.refuse(node)
                for element, value in zip(target.elts, values, strict=True):
                    self.assign(self.name(element), value)
            else:
                self.assign(self.name(target), self.value(node.value))

    def on_AugAssign(self, node: ast.AugAssign) -> None:
        slot = self.variable(self.name(node.target))
        self.builder.store(self.operation(node, self.builder.load(slot), self.value(node.value)), slot)

    def on_Return(self, node: ast.Return) -> None:
        self.builder.ret(self.value(node.value) if node.value else I64(0))

    def on_Break(self, node: ast.Break) -> None:
        self.builder.branch(self.loops[-1][1])

    def on_Continue(self, node: ast.Continue) -> None:
        self.builder.branch(self.loops[-1][0])

    def on_If(self, node: ast.If) -> None:
        then, other, after = (self.target.append_basic_block(name) for name in ("then", "else", "after"))
        self.branch(node.test, then, other)
        for block, statements in ((then, node.body), (other, node.orelse)):
            self.builder.position_at_end(block)
            self.block(statements)
            if not self.builder.block.is_terminated:
                self.builder.branch(after)
        self.builder.position_at_end(after)

    def on_While(self, node: ast.While) -> None:
        if node.orelse:
            self.refuse(node)
        self.loop(lambda body, after: self.branch(node.test, body, after), node.body, lambda: None)

    def on_For(self, node: Any) -> None:
        if not (isinstance(node.iter, ast.Call) and self.name(node.iter.func) == "range") or node.orelse:
            self.refuse(node)
        bounds = self.arguments(node.iter, 1, 2, 3)
        start, stop, step = [I64(0), *bounds, I64(1)] if len(bounds) == 1 else [*bounds, I64(1)][:3]
        if not isinstance(step, ir.Constant) or step.constant == 0:
            self.refuse(node)
        falls = step.constant < 0
        # A counter of its own, since the body may change the variable.
        slot, counter = self.variable(self.name(node.target)), ir.IRBuilder(self.entry).alloca(I64)
        self.builder.store(start, counter)

        def test(body: ir.Block, after: ir.Block) -> None:
            now = self.builder.load(counter)
            self.builder.cbranch(self.builder.icmp_signed(">" if falls else "<", now, stop), body, after)

        def advance() -> None:
            self.builder.store(self.builder.add(self.builder.load(counter), step), counter)

        self.loop(test, node.body, advance, lambda: self.builder.store(self.builder.load(counter), slot))

    def loop(
        self, test: Callable[..., None], statements: list[Any], advance: Callable[[], None],
        begin: Callable[[], Any] = lambda: None,
    ) -> None:  # fmt: skip
        head, body, following, after = (
            self.target.append_basic_block(name) for name in ("head", "body", "following", "after")
        )
        self.builder.branch(head)
        self.builder.position_at_end(head)
        test(body, after)
        self.builder.position_at_end(body)
        begin()
        self.loops.append((following, after))
        self.block(statements)
        self.loops.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(following)
        self.builder.position_at_end(following)
        advance()
        self.builder.branch(head)
        self.builder.position_at_end(after)

    def branch(self, test: Any, then: ir.Block, other: ir.Block) -> None:
        """Go to `then` where the test holds, evaluating no more of it than Python would."""
        if isinstance(test, ast.BoolOp):
            for part in test.values[:-1]:
                following = self.target.append_basic_block("and")
                if isinstance(test.op, ast.And):
                    self.branch(part, following, other)
                else:
                    self.branch(part, then, following)
                self.builder.position_at_end(following)
            self.branch(test.values[-1], then, other)
        elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self.branch(test.operand, other, then)
        else:
            self.builder.cbranch(self.condition(test), then, other)

    def condition(self, node: Any) -> ir.Value:
        if isinstance(node, ast.Compare):
            simple = (ast.Name, ast.Constant, ast.expr_context)
            if any(type(op) not in _COMPARISONS for op in node.ops) or not all(
                isinstance(part, simple) for later in node.comparators[1:] for part in ast.walk(later)
            ):
                self.refuse(node)
            values = [self.value(operand) for operand in (node.left, *node.comparators)]
            parts = [
                self.builder.icmp_signed(_COMPARISONS[type(op)], left, right)
                for op, left, right in zip(node.ops, values, values[1:], strict=False)
            ]
            result = parts[0]
            for part in parts[1:]:
                result = self.builder.and_(result, part)
            return result
        return self.builder.icmp_signed("!=", self.value(node), I64(0))

    def name(self, node: Any) -> str:
        return node.id if isinstance(node, ast.Name) else self.refuse(node)

    def arguments(self, node: ast.Call, *numbers: int) -> list[ir.Value]:
        """Translate the arguments of a call, which are as many as one of these numbers."""
        if node.keywords or len(node.args) not in numbers:
            self.refuse(node)
        return [self.value(argument) for argument in node.args]

    def operation(self, node: Any, left: ir.Value, right: ir.Value) -> ir.Value:
        op = node.op
        if type(op) not in _ARITHMETIC:
            self.refuse(node)
        if isinstance(op, (ast.FloorDiv, ast.Mod)) and any(map(_is_negative, (left, right))):
            self.refuse(node)
        return getattr(self.builder, _ARITHMETIC[type(op)])(left, right)

    def value(self, node: Any) -> ir.Value:
        return getattr(self, f"of_{type(node).__name__}", self.refuse)(node)

    def of_Constant(self, node: ast.Constant) -> ir.Value:
        return I64(int(node.value)) if _is_word(node.value) else self.refuse(node)

    def of_Name(self, node: ast.Name) -> ir.Value:
        if node.id in self.function.__code__.co_varnames:
            return self.values[node.id] if node.id in self.values else self.builder.load(self.variable(node.id))
        number = self.scope.get(node.id)
        if isinstance(number, Number):
            number = getattr(number, self.module.target.architecture)
        return I64(int(number)) if _is_word(number) else self.refuse(node)

    def of_BinOp(self, node: ast.BinOp) -> ir.Value:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(left, ir.Constant) and isinstance(right, ir.Constant) and type(node.op) in _ARITHMETIC:
            return I64(getattr(operator, _FOLDED[type(node.op)])(left.constant, right.constant))
        return self.operation(node, left, right)

    def of_UnaryOp(self, node: ast.UnaryOp) -> ir.Value:
        if isinstance(node.op, ast.Not):
            return self.builder.zext(self.builder.not_(self.condition(node.operand)), I64)
        operand = self.value(node.operand)
        if isinstance(node.op, ast.USub):
            return I64(-operand.constant) if isinstance(operand, ir.Constant) else self.builder.neg(operand)
        return self.builder.not_(operand) if isinstance(node.op, ast.Invert) else self.refuse(node)

    def of_Compare(self, node: ast.Compare) -> ir.Value:
        return self.builder.zext(self.condition(node), I64)

    def _of_test(self, test: Any, then: Any, other: Any) -> ir.Value:
        slot = ir.IRBuilder(self.entry).alloca(I64)
        blocks = [self.target.append_basic_block(name) for name in ("then", "else")]
        after = self.target.append_basic_block("after")
        self.branch(test, *blocks)
        for block, node in zip(blocks, (then, other), strict=True):
            self.builder.position_at_end(block)
            self.builder.store(self.value(node), slot)
            self.builder.branch(after)
        self.builder.position_at_end(after)
        return self.builder.load(slot)

    def of_IfExp(self, node: ast.IfExp) -> ir.Value:
        return self._of_test(node.test, node.body, node.orelse)

    def of_BoolOp(self, node: ast.BoolOp) -> ir.Value:
        return self._of_test(node, ast.Constant(1), ast.Constant(0))

    def of_Call(self, node: ast.Call) -> ir.Value:
        name = self.name(node.func)
        if name == "stack":
            (words,) = self.arguments(node, 1)
            if not isinstance(words, ir.Constant):
                self.refuse(node)
            space = ir.IRBuilder(self.entry).alloca(ir.ArrayType(I64, words.constant))
            space.align = 64
            return self.builder.ptrtoint(space, I64)
        if name in ("min", "max"):
            values = self.arguments(node, 2)
            sign = "<" if name == "min" else ">"
            return self.builder.select(self.builder.icmp_signed(sign, values[0], values[1]), *values)
        if name == "abs":
            values = self.arguments(node, 1)
            negative = self.builder.icmp_signed("<", values[0], I64(0))
            return self.builder.select(negative, self.builder.neg(values[0]), values[0])
        function = self.scope.get(name)
        if isinstance(function, Instruction):
            result = function.emit(self.builder, *self.arguments(node, function.arguments))
            return result if isinstance(result, ir.Value) and result.type == I64 else I64(0)
        if isinstance(function, FunctionType):
            values = self.arguments(node, function.__code__.co_argcount)
            return self.builder.call(_declare(self.module, self.translated, function), values)
        return self.refuse(node)
