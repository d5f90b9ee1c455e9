"""Count what the kernels for a GPU are made of, from the machine code that NVRTC makes here: no GPU is needed.

    pip install nvidia-cuda-nvdisasm
    python benchmarks/gpu_instructions.py > benchmarks/gpu_instructions.txt

Counted are the instructions that a thread runs, divided by its numbers: those of the loop over vectors, or, for a row
of 512 numbers, those of the loop over rows, with all that a row is added up by. A thread's arrays begin where vectors
lie, and no division is of subnormal numbers. What a predicate skips counts. Those of float64 are of the whole kernel.
Beside ours is the formula that one writes in float32, with CUDA's own functions, in the same loop.
"""

from __future__ import annotations

import functools
import io
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

from cupy._core import core
from cupy.cuda import compiler

from rectifier.backends.cupy import launch, source
from rectifier.catalogue import ALL
from rectifier.functions.dtypes import FORMATS
from rectifier.functions.specification import Rowwise
from rectifier.tools.bench.recipe import KERNELS

FUNCTIONS = (
    "relu", "leaky_relu", "hard_swish", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "softplus", "mish", "elu",
    "swiglu", "softmax", "log_softmax",
)  # fmt: skip
DTYPES = ("float16", "bfloat16", "float32")
ARCHITECTURES, OF_ALL = ("80", "90", "120"), "90"
ROW = 512


class Kernel(NamedTuple):
    """A kernel in a text, and how many numbers a thread computes on the way that is counted."""

    text: str
    name: str
    numbers: int


class Instruction(NamedTuple):
    """An instruction, its name with what it says of itself, and where it may go on."""

    predicate: str
    name: str
    operands: str
    target: str | None


def ours(name: str, operation: str, dtype: str) -> Kernel:
    """Write the kernel of a function."""
    spec, at_once = ALL[name].spec, 128 // FORMATS[dtype].bits
    if isinstance(spec, Rowwise):
        chosen = source.row_kernel(spec, dtype, ROW)
        part = source.rows(spec, operation == "backward", dtype, chosen)
        return Kernel(source.program(part), f"{part.name}_{chosen.name}", chosen.vectors * at_once)
    spread = tuple(given not in spec.parameters for given in spec.uniform)
    parts = source.contiguous(spec, spec.operations[operation], dtype, spread)
    return Kernel(source.program(*parts), parts[-1].name, at_once)


def plain(name: str, operation: str, dtype: str) -> Kernel | None:
    """Write the formula that one writes, in the same loop, where the benchmark has one."""
    written = KERNELS.get((name, operation))
    if written is None or dtype != "float32":
        return None
    kernel = ours(name, operation, dtype)
    function = f"{name}_{operation}_{dtype}_element"
    arguments = ["x", "y"] if operation == "value" else ["dy", "x", "dx"]
    given = [f"const float {a}" for a in arguments[:-1]] + ["const float"] * len(ALL[name].spec.uniform)
    head = f"static __device__ __forceinline__ void {function}({', '.join([*given, f'float &{arguments[-1]}'])})"
    body = f"{head} {{ {arguments[-1]} = {written.replace('(T)', '(float)')}; }}"
    before, _, after = kernel.text.partition(f"static __device__ __forceinline__ void {function}(")
    after = after.partition("\n}\n")[2]
    # Outside the namespace, whose words hide CUDA's own functions.
    return kernel._replace(
        text=f"{body}\n{before}{after}".replace(f" {function}(", f" ::{function}(").replace("void ::", "void ")
    )


def compiled(text: str, architecture: str) -> tuple[bytes, str]:
    """Compile as CuPy does, and return the machine code and what the assembler says of it."""
    options = core.assemble_cupy_compiler_options(launch.OPTIONS)
    options = (*options, f"-arch=sm_{architecture}", "--ptxas-options=-v", "-ftz=true")
    log = io.StringIO()
    code, _ = compiler._NVRTCProgram(text, method="cubin").compile(options, log)
    return code + b"\0", log.getvalue()  # CuPy leaves out the last byte


@functools.cache
def disassembler() -> str:
    """Find nvdisasm, on the path or where pip installs it."""
    installed = Path(sysconfig.get_paths()["purelib"]).glob("nvidia/*/bin/nvdisasm")
    found = os.environ.get("NVDISASM") or shutil.which("nvdisasm") or next(map(str, installed), None)
    if found is None:
        raise SystemExit("no nvdisasm: pip install nvidia-cuda-nvdisasm")
    return found


def disassembled(code: bytes, name: str) -> tuple[list[Instruction], dict[str, int]]:
    """Return the instructions of a kernel, and where its labels are."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        text = subprocess.run([disassembler(), "-c", file.name], capture_output=True, text=True, check=True).stdout
    body = text.split(f"\n.text.{name}:", 1)[1].split("\n\t.section", 1)[0]
    instructions, labels = list[Instruction](), dict[str, int]()
    for line in body.splitlines():
        line = re.sub(r"/\*.*?\*/", "", line).strip()
        if label := re.fullmatch(r"(\.L_x_\d+):", line):
            labels[label[1]] = len(instructions)
        elif found := re.fullmatch(r"(@!?U?P\w+)?\s*([A-Z][\w.]*)\s*(.*?)\s*;", line):
            target = re.search(r"`\((\.L_x_\d+)\)", found[3])
            instructions.append(Instruction(found[1] or "", found[2], found[3], target[1] if target else None))
    return instructions, labels


def on_the_way(instructions: list[Instruction], labels: dict[str, int]) -> int:
    """Count the instructions from the first of the loop to its last.

    Of all ways through it that is the one with the most vectors, and then with the most instructions: none is skipped.
    """
    vectors = [k for k, i in enumerate(instructions) if re.match(r"STG\.E\.128", i.name)]
    end, begin = next(
        (k, labels[i.target]) for k, i in enumerate(instructions)
        if i.name == "BRA" and i.target and labels[i.target] <= vectors[0] and k >= vectors[-1]
    )  # fmt: skip
    # From each instruction to the last, from behind: how many vectors and instructions.
    ways: dict[int, tuple[int, int]] = {end: (0, 1)}
    for k in range(end - 1, begin - 1, -1):
        i = instructions[k]
        # A call divides subnormal numbers; what is collective is for warps that part.
        if "COLLECTIVE" in i.name or (not i.predicate and ("CALL" in i.name or i.name in ("EXIT", "RET"))):
            continue
        after = [labels[i.target]] if i.name == "BRA" and i.target else []
        if i.predicate or i.name != "BRA" or re.match(r"!?U?P\d", i.operands):
            after.append(k + 1)
        found = [ways[other] for other in after if other > k and other in ways]
        if found:
            most, count = max(found)
            ways[k] = most + (".128" in i.name), count + 1
    return ways[begin][1]


class Measured(NamedTuple):
    """What was found of a kernel: instructions a number, those of float64, registers, and bytes of stack and spills."""

    each: float
    wide: int
    registers: int
    memory: int


def measured(kernel: Kernel, architecture: str) -> Measured:
    """Compile a kernel for an architecture and count."""
    code, log = compiled(kernel.text, architecture)
    said = log.partition(f"function '{kernel.name}'")[2]
    stack, spilled, registers = (
        int(re.search(rf"{before}(\d+){behind}", said)[1])
        for before, behind in (("", " bytes stack"), ("", " bytes spill stores"), ("Used ", " registers"))
    )
    instructions, labels = disassembled(code, kernel.name)
    wide = sum(bool(re.match(r"D(ADD|MUL|FMA|SETP)|.*(F64|64H)", i.name)) for i in instructions)
    return Measured(on_the_way(instructions, labels) / kernel.numbers, wide, registers, stack + spilled)


def row(name: str, operation: str, dtype: str) -> str:
    """Measure one kernel: of float32 on all architectures."""
    kernel, other = ours(name, operation, dtype), plain(name, operation, dtype)
    found = {a: measured(kernel, a) for a in ARCHITECTURES if a == OF_ALL or dtype == "float32"}
    each = " ".join(f"{found[a].each:7.1f}" if a in found else " " * 7 for a in ARCHITECTURES)
    written = f"{measured(other, OF_ALL).each:7.1f}" if other else " " * 7
    wide, registers, memory = (max(values) for values in list(zip(*found.values(), strict=True))[1:])
    return f"{f'{name}, {operation}':22} {dtype:8} {each} {written} {wide:8} {registers:10} {memory:10}"


def main() -> None:
    """Print the table."""
    heads = " ".join(f"{f'sm_{architecture}':>7}" for architecture in ARCHITECTURES)
    print(f"{'':31} {heads} {'plain':>7} {'float64':>8} {'registers':>10} {'in memory':>10}")
    for name in FUNCTIONS:
        for operation in ("value", "backward"):
            for dtype in DTYPES:
                print(row(name, operation, dtype), flush=True)


if __name__ == "__main__":
    main()
