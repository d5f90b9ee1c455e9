"""CUDA C++ of the kernels: a block, a operation and a dtype in, the whole text out.

Each kernel has two parts: a function of one element (or of one row), in which the formula is, and the loop over arrays
around it. CuPy's `ElementwiseKernel` takes the function alone, where arrays are strided or broadcast.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...formulas import arrays, bind, cuda, pairs
from ...formulas.rows import exponential, exponential_in_row, exponential_of_pairs, part_of, reciprocal_of_sum
from ...functions.dtypes import FORMATS
from ...functions.specification import Operation, Rowwise, Specification, read

BLOCK = 256  # threads
SHARED = 1024  # bytes of shared memory that the kernels of rows have beside a row: sums of up to 32 warps


class Operand(NamedTuple):
    """An argument of a kernel; a parameter's is marked, as its name may be any."""

    name: str
    stored: str  # type in C++
    spread: bool  # whether it is an array of as many elements as the result, and not one number


class Part(NamedTuple):
    """A text, and the name of what it defines."""

    name: str
    text: str


def write(spec: Specification, dtype: Any, operation: str) -> str:
    """Write all of what runs for contiguous arrays, or rows; `rectifier.backends.cupy.source_of` documents it."""
    name: str = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in spec.dtypes:
        raise TypeError(f"{spec.name}.cuda_source: {dtype} is none of its dtypes: {', '.join(spec.dtypes)}")
    found = spec.operations
    if operation not in found:
        raise ValueError(f"{spec.name}.cuda_source: direction {operation!r} is none of {', '.join(found)}")
    if isinstance(spec, Rowwise):
        return program(rows(spec, operation == "backward", name))
    return program(
        *contiguous(spec, found[operation], name, tuple(name not in spec.parameters for name in spec.uniform))
    )


@cache
def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text()


# What goes through rows, by the files beside `rows.cuh` that have it.
_OF_ROWS = {
    "selections.cuh": ("first_of_row", "excess_of_row", "gradient_by_sums_of_row"),
    "reductions.cuh": ("number_of_row", "gradient_over_row"),
}


def program(*parts: Part) -> str:
    """Join functions and kernels, each once, with what they are made of."""
    files = ["primitives.cuh", "arrays.cuh"]
    if any("_row<" in part.text for part in parts):
        found = (name for name, ways in _OF_ROWS.items() if any(f"{w}<" in part.text for part in parts for w in ways))
        files += ["rows.cuh", *found]
    # In the namespace, its words hide CUDA's own functions of the same names.
    return "\n".join(
        [
            *map(_file, files),
            "namespace rectifier {\n",
            *dict.fromkeys(part.text for part in parts),
            "} // namespace rectifier\n",
        ]
    )


def operands(
    spec: Specification, operation: Operation, dtype: str, spread: tuple[bool, ...]
) -> tuple[list[Operand], list[Operand]]:
    """List the inputs of a operation and its outputs; `spread` says which of the parameters are arrays."""
    inputs, uniform, outputs = (list(names) for names in spec.operands(operation))
    numbers = [Operand(f"p_{name}", FORMATS[dtype].cpp, k) for name, k in zip(uniform, spread, strict=True)]
    arrays, results = (
        [Operand(name, "bool" if name == "mask" else FORMATS[dtype].cpp, True) for name in names]
        for names in (inputs, outputs)
    )
    return [*arrays, *numbers], results


def _word(spec: Specification) -> str:
    """Return the name of a function as a word of C++."""
    return spec.name.replace(".", "_")


def element(spec: Specification, operation: Operation, dtype: str) -> Part:
    """Write the function of one element: numbers as they lie in memory in, results out by reference."""
    working = np.dtype(spec.compiled(dtype)).name
    trace = cuda.Trace(working, narrow=spec.narrow(dtype), dtype=dtype)
    inputs, outputs = operands(spec, operation, dtype, (False,) * len(spec.uniform))
    formula = read(spec, operation, trace.primitives())
    nodes = [trace.input(o.name, "bool" if o.stored == "bool" else "") for o in inputs]
    results = formula(*nodes)
    results = results if isinstance(results, tuple) else (results,)
    lines = trace.lines((f"{o.name}_ = {_converted(o, dtype)};", r) for o, r in zip(outputs, results, strict=True))
    used = set(re.findall(r"\w+", " ".join(lines)))
    lines = [_load(o.name, dtype, working) for o in inputs if o.stored != "bool" and o.name in used] + lines
    arguments = [
        *(f"const {o.stored} {o.name}{'' if o.stored == 'bool' else '_'}" for o in inputs),
        *(f"{o.stored} &{o.name}_" for o in outputs),
    ]
    name = f"{_word(spec)}_{operation.name}_{dtype}_element"
    function = _function(name, "void", arguments, lines)
    if not trace.tables:
        return function
    # What one index looks up lies together, and is loaded by 16 bytes.
    rows = [
        ", ".join(trace.write_literal(number, "float32") for number in row) for row in zip(*trace.tables, strict=True)
    ]
    held = f"struct alignas(16) {name}_row {{ float at[{-(-len(trace.tables) // 4) * 4}]; }};\n"
    held += f"static __device__ const {name}_row {name}_table[] = {{{{{{{'}}, {{'.join(rows)}}}}}}};\n"
    return Part(name, held + function.text.replace("TABLES", f"{name}_table"))


def _load(name: str, dtype: str, working: str) -> str:
    if "int" in dtype:
        return f"const {cuda.working_type(working)} {name} = {name}_;"
    number = f"from_{dtype}({name}_)"
    widened = f"widen({number})" if working == "float64" != dtype else number
    return f"const {cuda.working_type(working)} {name} = {widened};"


def _converted(output: Operand, dtype: str) -> str:
    if output.stored == "bool":
        return "{}"
    return f"({output.stored}){{}}" if "int" in dtype else f"to_{dtype}({{}})"


def _function(name: str, result: str, arguments: Iterable[str], lines: Iterable[str]) -> Part:
    body = "\n".join(f"    {line}" for line in lines)
    head = f"static __device__ __forceinline__ {result} {name}({', '.join(arguments)})"
    return Part(name, f"{head} {{\n{body}\n}}\n")


def contiguous(
    spec: Specification, operation: Operation, dtype: str, spread: tuple[bool, ...], by_rows: bool = False
) -> tuple[Part, Part]:
    """Write the kernel for arrays without gaps, all of one shape, behind its function of one element.

    With `by_rows` it is that for rows without gaps: those of an array may be apart by any step, which is 0 where one
    row stands for all.
    """
    function = element(spec, operation, dtype)
    inputs, outputs = operands(spec, operation, dtype, spread)
    name = f"{_word(spec)}_{operation.name}_{dtype}{'_of_arrays' * any(spread)}{'_by_rows' * by_rows}"
    arguments = [
        *(f"const {'unsigned char' if o.stored == 'bool' else o.stored} {'*' * o.spread}{o.name}" for o in inputs),
        *(f"{'unsigned' if o.stored == 'bool' else o.stored} *{o.name}" for o in outputs),
        "const long long n",
    ]
    if by_rows:
        steps = (f"const long long {o.name}_step" for o in (*inputs, *outputs) if o.spread)
        arguments += ["const long long columns", *steps]
    write_loop = _with_mask if operation.makes_mask else _rows_of_vectors if by_rows else _vectors
    body = write_loop(function.name, FORMATS[dtype].cpp, inputs, outputs)
    head = f'extern "C" __global__ void {name}({", ".join(arguments)}) {{\n'
    return function, Part(name, f"{head}{body}}}\n")


def elementwise(spec: Specification, operation: Operation, dtype: str) -> tuple[str, str, str, str]:
    """Return preamble, statement, inputs and outputs of CuPy's kernel for arrays of any strides."""
    function = element(spec, operation, dtype)
    inputs, outputs = operands(spec, operation, dtype, (False,) * len(spec.uniform))
    kind = "uint16" if dtype in ("float16", "bfloat16") else dtype
    statement = f"{function.name}({', '.join(o.name for o in (*inputs, *outputs))});"
    preamble = f"{_file('primitives.cuh')}\nnamespace rectifier {{\n{function.text}}}"
    listed = (", ".join(f"{kind} {o.name}" for o in arguments) for arguments in (inputs, outputs))
    return preamble, f"rectifier::{statement}", next(listed), next(listed)


def _vectors(function: str, stored: str, inputs: list[Operand], outputs: list[Operand]) -> str:
    arrays = [o.name for o in inputs if o.spread and o.stored != "bool"]
    results = [o.name for o in outputs]
    from_mask = any(o.stored == "bool" for o in inputs)

    def call(at: str, vector: bool) -> str:
        def read(o: Operand) -> str:
            if o.stored == "bool":
                return "bits >> k & 1" if vector else f"bits_from(mask, {at}, 1) & 1"
            return (f"{o.name}_v.at[k]" if vector else f"{o.name}[{at}]") if o.spread else o.name

        written = [f"{name}_v.at[k]" if vector else f"{name}[{at}]" for name in results]
        return f"{function}({', '.join([*map(read, inputs), *written])});"

    return "\n".join([
        "    const long long thread = thread_of_grid(), threads = threads_of_grid();",
        f"    const int length = 16 / sizeof({stored});",
        f"    const long long before = head(n, {results[0]}), vectors = (n - before) / length;",
        "#pragma unroll 1",
        "    for (long long v = thread; v < vectors; v += threads) {",
        "        const long long i = before + v * length;",
        *(f"        const Vector<{stored}> {name}_v = load({name} + i);" for name in arrays),
        *(["        const unsigned bits = bits_from(mask, i, length);"] if from_mask else []),
        f"        Vector<{stored}> {', '.join(f'{name}_v' for name in results)};",
        "#pragma unroll",
        "        for (int k = 0; k < length; k++)",
        f"            {call('', True)}",
        *(f"        store({name} + i, {name}_v);" for name in results),
        "    }",
        "#pragma unroll 1",
        "    for (long long left = thread; left < n - vectors * length; left += threads) {",
        "        const long long i = left < before ? left : left + vectors * length;",
        f"        {call('i', False)}",
        "    }",
        "",
    ])  # fmt: skip


def _rows_of_vectors(function: str, stored: str, inputs: list[Operand], outputs: list[Operand]) -> str:
    arrays, results = [o.name for o in inputs if o.spread], [o.name for o in outputs]
    operands = [f"{o.name}_v.at[k]" if o.spread else o.name for o in (*inputs, *outputs)]
    return "\n".join([
        f"    const int length = 16 / sizeof({stored});",
        "    const long long vectors = n / length, of_row = columns / length;",
        "    const bool few = vectors <= 0xffffffff; // a division of 32 bits takes a third of the time",
        "#pragma unroll 1",
        "    for (long long v = thread_of_grid(); v < vectors; v += threads_of_grid()) {",
        "        const long long row = few ? unsigned(v) / unsigned(of_row) : v / of_row;",
        "        const long long column = (v - row * of_row) * length;",
        *(f"        const Vector<{stored}> {x}_v = load({x} + row * {x}_step + column);" for x in arrays),
        f"        Vector<{stored}> {', '.join(f'{y}_v' for y in results)};",
        "#pragma unroll",
        "        for (int k = 0; k < length; k++)",
        f"            {function}({', '.join(operands)});",
        *(f"        store({y} + row * {y}_step + column, {y}_v);" for y in results),
        "    }",
        "",
    ])  # fmt: skip


def _with_mask(function: str, stored: str, inputs: list[Operand], outputs: list[Operand]) -> str:
    numbers = "".join(f", {o.name}[i < n ? i : 0]" if o.spread else f", {o.name}" for o in inputs[1:])
    return f"""\
    const int lane = threadIdx.x % 32, at_once = 4; // words of a warp, to have so many loads under way
    const long long warps = threads_of_grid() / 32, words = (n + 31) / 32;
#pragma unroll 1
    for (long long w = at_once * (thread_of_grid() / 32); w < words; w += at_once * warps) {{
        {stored} x_v[at_once];
#pragma unroll
        for (int k = 0; k < at_once; k++) {{
            const long long i = 32 * (w + k) + lane;
            x_v[k] = x[i < n ? i : 0];
        }}
#pragma unroll
        for (int k = 0; k < at_once; k++) {{
            const long long i = 32 * (w + k) + lane;
            {stored} y_v;
            bool on;
            {function}(x_v[k]{numbers}, y_v, on);
            if (i < n)
                y[i] = y_v;
            const unsigned word = __ballot_sync(0xffffffffu, on && i < n);
            if (lane == 0 && w + k < words)
                mask[w + k] = word;
        }}
    }}
"""


class RowKernel(NamedTuple):
    """How a kernel goes through rows.

    Attributes
    ----------
    threads : int
        Of a row: a warp, or a block.
    vectors : int
        Of 16 bytes, that each of them takes at once.
    kept : str
        Where the row waits while it is added up, so that it is loaded once: IN_REGISTERS, BY_THE_BLOCK, in shared
        memory, or NOWHERE.
    """

    threads: int
    vectors: int
    kept: str = "IN_REGISTERS"

    @property
    def name(self) -> str:
        """Return what a kernel's name ends with."""
        ends = {"IN_REGISTERS": self.vectors, "BY_THE_BLOCK": "kept", "NOWHERE": "long"}
        return f"by_{self.threads}_{ends[self.kept]}"

    @property
    def block(self) -> int:
        """Return the threads of a block: the row's own, or those of some warps."""
        return max(self.threads, BLOCK if self.threads == 32 else 0)

    def shared_bytes(self, size: int) -> int:
        """Return how much shared memory a row of so many bytes takes: whole vectors."""
        return -(-size // 16) * 16 if self.kept == "BY_THE_BLOCK" else 0


def _is_in_pairs(spec: Rowwise, dtype: str) -> bool:
    return spec.single and dtype != "float64"


def row_kernels(spec: Rowwise, dtype: str) -> tuple[RowKernel, ...]:
    """List the kernels for rows of a dtype, those for short rows first.

    A thread has 16 numbers at most, and 8 where they are of float64, or more than one number each is computed of them:
    there are 65,536 registers for all. Kernels for long rows have half as many, as has a block of float64.
    """
    numbers = 16 if _is_in_pairs(spec, dtype) and spec.each != "excess" else 8
    return _row_kernels(FORMATS[dtype].bits // 8, numbers, _is_in_pairs(spec, dtype))


@cache
def _row_kernels(itemsize: int, numbers: int, in_pairs: bool) -> tuple[RowKernel, ...]:
    kernels, longest = list[RowKernel](), 0
    for threads in (32, 128, 512):
        for vectors in (1, 2, 4):
            most = numbers if in_pairs or threads < 512 else numbers // 2
            if 16 * vectors <= most * itemsize and threads * vectors > longest:
                kernels.append(RowKernel(threads, vectors))
                longest = threads * vectors
    few = max(1, numbers * itemsize // 32)
    return *kernels, RowKernel(1024 if in_pairs else 512, few, "BY_THE_BLOCK"), RowKernel(512, few, "NOWHERE")


def row_kernel(spec: Rowwise, dtype: str, length: int, arrays: int = 1, room: int = 0) -> RowKernel:
    """Choose the kernel for rows of a length, of so many arrays, where a block has room for so many bytes."""
    *short, kept, long = row_kernels(spec, dtype)
    size = length * FORMATS[dtype].bits // 8
    for kernel in short:
        if size <= 16 * kernel.threads * kernel.vectors:
            return kernel
    return kept if arrays * kept.shared_bytes(size) <= room else long


def rows(spec: Rowwise, backward: bool, dtype: str, only: RowKernel | None = None) -> Part:
    """Write the kernels of a row-wise function, each of `row_kernels` or one, behind the struct of its formulas."""
    stored = FORMATS[dtype].cpp
    full_name = f"{spec.name}_{'backward' if backward else 'value'}_{dtype}"
    in_pairs = _is_in_pairs(spec, dtype)
    of_shares = in_pairs and not backward and spec.is_share
    working = "float32" if in_pairs else "float64"
    number, pair = cuda.CPP[working], f"Pair<{cuda.CPP[working]}>"

    def traced(
        function: str, formula: Any, numbers: tuple[str, ...], sums: tuple[str, ...], rounded: bool = False
    ) -> str:
        """Write the function of a formula, of numbers and then of pairs; it returns a pair, or a number as stored."""
        # What is made of a sum has its tail, of 16 bits, too: log1p of a small sum would be all that is left.
        # And float16 has 13 bits less than float32, of which an exponential without its tail takes 1.
        without_tails = numbers and not (of_shares and dtype == "float16")
        trace = cuda.Trace(working, narrow=dtype != "float64", dtype=dtype if without_tails else working)
        lower = trace.primitives()
        nothing = lower["T"](0.0)

        def operand(high: str, tail: str = "") -> Any:
            node = trace.input(high)
            if high == "rest.high":
                trace.known(node, 0.0 if formula is spec.of_sum else 0.5, 2.0**64)
            return pairs.Pair(node, trace.input(tail) if tail else nothing, lower) if in_pairs else node

        operands = [*map(operand, numbers), *(operand(f"{x}.high", f"{x}.tail") for x in sums)]
        found = bind(formula, pairs.primitives(lower) if in_pairs else lower)(*operands)
        arguments = [*(f"const {number} {x}" for x in numbers), *(f"const {pair} {x}" for x in sums)]
        if rounded:
            result = found.rounded(finite=of_shares) if in_pairs else found
            result = result * lower["T"](2.0**-64) if of_shares else result
            return _function(function, stored, arguments, trace.lines([(f"return to_{dtype}({{}});", result)])).text
        high, tail = (found.high, found.tail) if in_pairs else (found, nothing)
        lines = trace.lines([("z.high = {};", high), ("z.tail = {};", tail)])
        return _function(function, pair, arguments, [f"{pair} z;", *lines, "return z;"]).text

    of_x = "neg(x)" if spec.negated and (spec.reduces or not backward) else "x"
    functions = [
        f"typedef {number} Number;\n",
        _function("number", number, [f"const {stored} x_"], [_load("x", dtype, working), f"return {of_x};"]).text,
    ]
    nothing = _function(
        "nothing", stored, [], [f"return to_{dtype}({'-' * (not spec.negated)}__int_as_float(0x7f800000));"]
    ).text
    reduced: tuple[str, ...] = ()  # what has one number for each row
    if spec.reduces:
        formula = exponential_of_pairs if in_pairs else exponential
        functions += [nothing, traced("exponential", formula, ("x", "peak"), ())]
        if backward:
            functions += [
                _function("given", number, [f"const {stored} x_"], [_load("x", dtype, working), "return x;"]).text,
                traced("weight", spec.weight, (), ("others",)),
                traced("result", spec.backward, ("dy",), ("e", "of_sum"), rounded=True),
            ]
            names, call, reduced = ["dy", "x", "dx"], "gradient_over_row", ("dy",)
        else:
            functions += [
                traced("of_sum", spec.of_sum, (), ("others",)),
                traced("result", spec.value, ("peak",), ("of_sum",), rounded=True),
            ]
            names, call, reduced = ["x", "y"], "number_of_row", ("y",)
    elif backward:
        weights = [spec.weight] if spec.sums == 1 else [part_of(spec.weight, k) for k in range(spec.sums)]
        words = [("weight", "sum"), ("other_weight", "other")][: spec.sums]
        zero = np.zeros(())
        add_nothing = all(bind(w, arrays.primitives(np.float64))(zero, zero) == 0 for w in weights)
        functions += [
            f"static const bool is_nothing_of_nothing = {str(add_nothing).lower()};\n",
            *(traced(word, w, ("dy", "y"), ()) for (word, _), w in zip(words, weights, strict=True)),
            traced("result", spec.backward, ("dy", "y"), tuple(name for _, name in words), rounded=True),
        ]
        names = ["dy", "y", "dx"]
        call = "gradient_of_row" if spec.sums == 1 else "gradient_by_sums_of_row"
    else:
        names, call = ["x", "y"], "shares_of_row" if of_shares else "value_of_row"
        functions.append(nothing)
        if spec.each == "exponential":
            exponentials = exponential, exponential_of_pairs, exponential_in_row
            functions += [
                traced("exponential", exponentials[in_pairs + of_shares], ("x", "peak"), ()),
                traced("of_sum", reciprocal_of_sum if of_shares else spec.of_sum, (), ("rest",)),
                traced("result", spec.value, ("x", "peak"), ("e", "of_sum"), rounded=True),
            ]
        else:
            functions.append(traced("result", spec.value, ("x", "peak"), ("e",), rounded=True))
            call = f"{spec.each}_of_row"
    arguments = ", ".join([
        *(f"{'const ' * (name != names[-1])}{stored} *{name}" for name in names),
        "const long long count", "const long long length",
    ])  # fmt: skip

    def bounds(kernel: RowKernel) -> str:
        # Where 64 registers are enough, 1,024 threads share a multiprocessor.
        shared = 1024 if in_pairs and spec.each == "exponential" else 0
        return f"__launch_bounds__({kernel.block}, {shared // kernel.block or 1})"

    each = ", ".join(f"{name} + row{'' if name in reduced else ' * length'}" for name in names)
    kernels = [
        f"""\
extern "C" __global__ {bounds(kernel)} void {full_name}_{kernel.name}({arguments}) {{
#pragma unroll 1
    for (long long row = thread_of_grid() / {kernel.threads}; row < count; row += threads_of_grid() / {kernel.threads})
        {call}<{full_name}_formulas, {kernel.threads}, {kernel.vectors}, {kernel.kept}>({each}, length);
}}
"""
        for kernel in ([only] if only else row_kernels(spec, dtype))
    ]
    formulas = f"struct {full_name}_formulas {{\n" + "\n".join(functions) + "};\n"
    return Part(full_name, "\n".join([formulas, *kernels]))
