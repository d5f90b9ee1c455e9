"""Count what the kernels for a GPU are made of, from the machine code that NVRTC makes here: no GPU is needed.

    python benchmarks/gpu_instructions.py > benchmarks/gpu_instructions.txt

For sm_90, of kernels over arrays without gaps and over rows of 512 numbers. An instruction takes 16 bytes there, so the
size of a kernel says how many it has. It computes the numbers of a vector and one that is left, or those of a thread's
part of a row: the instructions are divided by these, and loads, stores and loops count with them. Those of float64 are
of the whole kernel.
"""

from __future__ import annotations

import io
import re
import struct

from cupy._core import core
from cupy.cuda import compiler

from rectifier.backends.cupy import launch, source
from rectifier.catalogue import ALL
from rectifier.functions.dtypes import FORMATS
from rectifier.functions.specification import Rowwise

FUNCTIONS = (
    "relu", "leaky_relu", "hard_swish", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "softplus", "mish", "elu",
    "swiglu", "softmax", "log_softmax",
)  # fmt: skip
DTYPES = ("float16", "bfloat16", "float32")


def compiled(text: str) -> tuple[bytes, str]:
    """Compile as CuPy does, and return the machine code and what the assembler says of it."""
    options = (*core.assemble_cupy_compiler_options(launch.OPTIONS), "-arch=sm_90", "--ptxas-options=-v", "-ftz=true")
    log = io.StringIO()
    code, _ = compiler._NVRTCProgram(text, method="cubin").compile(options, log)
    return code + b"\0", log.getvalue()  # CuPy leaves out the last byte


def sizes(code: bytes) -> dict[str, int]:
    """Return how many bytes each kernel has: the sections of an ELF file."""
    start, size, count, names_at = struct.unpack_from("<Q10xHHH", code, 40)
    sections = [struct.unpack_from("<II8x8xQQ", code, start + k * size) for k in range(count)]
    names = sections[names_at][2]
    found = {code[names + name :].split(b"\0", 1)[0].decode(): length for name, _, _, length in sections}
    return {name.removeprefix(".text."): length for name, length in found.items() if name.startswith(".text.")}


def row(name: str, operation: str, dtype: str) -> str:
    """Measure one kernel."""
    spec, at_once = ALL[name].spec, 128 // FORMATS[dtype].bits
    if isinstance(spec, Rowwise):
        part = source.rows(spec, operation == "backward", dtype)
        chosen = source.row_kernel(512, FORMATS[dtype].bits // 8)
        text, kernel, numbers = source.program(part), f"{part.name}_{chosen.name}", chosen.vectors * at_once
    else:
        spread = tuple(given not in spec.parameters for given in spec.uniform)
        parts = source.contiguous(spec, spec.operations[operation], dtype, spread)
        text, kernel, numbers = source.program(*parts), parts[-1].name, at_once + 1
    code, log = compiled(text)
    said = log.partition(f"function '{kernel}'")[2]
    stack, spilled, registers = (
        int(re.search(rf"{before}(\d+){behind}", said)[1])
        for before, behind in (("", " bytes stack"), ("", " bytes spill stores"), ("Used ", " registers"))
    )
    options = (*launch.OPTIONS, "-arch=compute_90", "-ftz=true")
    ptx, _ = compiler._NVRTCProgram(text, method="ptx").compile(options, None)
    body = ptx.decode().split(f".entry {kernel}(", 1)[1].split(".entry", 1)[0]
    wide = len(re.findall(r"\b(?:add|sub|mul|fma|div|rcp|cvt)\.\S*f64", body))
    each = sizes(code)[kernel] / 16 / numbers
    return f"{f'{name}, {operation}':24} {dtype:9} {each:9.1f} {wide:9} {registers:9} {stack + spilled:9}"


def main() -> None:
    """Print the table."""
    print(f"{'':34} {'a number':>9} {'float64':>9} {'registers':>9} {'in memory':>9}")
    for name in FUNCTIONS:
        for operation in ("value", "backward"):
            for dtype in DTYPES:
                print(row(name, operation, dtype), flush=True)


if __name__ == "__main__":
    main()
