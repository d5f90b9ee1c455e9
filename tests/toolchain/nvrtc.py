"""The compiler of a GPU, as CuPy calls it, where there is no GPU."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import cupy
import numpy as np
from cuda_host import made_once, mutated
from cupy._core import core
from cupy._core._kernel import ElementwiseKernel, _ArgInfo, _get_elementwise_kernel_code, _TypeMap
from cupy.cuda import compiler

from rectifier.backends.cupy import launch

ARCHITECTURES = ("75", "80", "90", "100", "120")


def compiled(text: str, architecture: str, kind: str = "ptx", *more: str) -> tuple[bytes, str]:
    """Compile as CuPy does, with the option that it always adds last, and return the code and the log."""
    target = f"-arch={'compute' if kind == 'ptx' else 'sm'}_{architecture}"
    options = (*core.assemble_cupy_compiler_options(launch.OPTIONS), target, *more, "-ftz=true")
    text = mutated(text)

    def compile_(path: Path) -> None:
        log = io.StringIO()
        code, _ = compiler._NVRTCProgram(text, method=kind).compile(options, log)
        path.write_bytes(b"\0".join([log.getvalue().encode(), code]))

    key = f"{compiler._get_nvrtc_version()}{options}{text}"
    log, _, code = made_once(kind, key, compile_).read_bytes().partition(b"\0")
    return code, log.decode()


def ptx(text: str, architecture: str) -> dict[str, str]:
    """Compile to PTX, and give that of each kernel; a warning is an error."""
    code, log = compiled(text, architecture)
    assert not log, log
    names = re.split(r"^\s*\.visible \.entry (\w+)\(", code.decode(), flags=re.MULTILINE)
    return dict(zip(names[1::2], names[2::2], strict=True))


def resources(text: str, architecture: str) -> dict[str, tuple[int, int, int]]:
    """Compile to machine code, and give registers, bytes of stack and bytes spilled of each kernel."""
    _, log = compiled(text, architecture, "cubin", "--ptxas-options=-v")
    found = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores.*?Used (\d+) registers",
        log,
        re.DOTALL,
    )
    return {name: (int(registers), int(stack), int(spilled)) for name, stack, spilled, registers in found}


def elementwise_code(kernel: ElementwiseKernel, dtypes: list[Any]) -> str:
    """Write what CuPy compiles of an ElementwiseKernel, for arrays of three dimensions."""
    array, indexer = 1, 2  # as _kernel.pyx numbers them
    arguments = [_ArgInfo(array, cupy.ndarray, np.dtype(dtype).type, 3, False, True) for dtype in dtypes]
    arguments.append(_ArgInfo(indexer, cupy._core._carray.Indexer, None, 3, True, True))
    headers = "".join(f"#include <cupy/{name}>\n" for name in ("complex.cuh", "carray.cuh", "atomics.cuh"))
    return headers + _get_elementwise_kernel_code(
        tuple(arguments), _TypeMap(()), kernel.params, kernel.operation, kernel.name, kernel.preamble
    )
