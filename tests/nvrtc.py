"""The compiler of a GPU, as CuPy calls it, where there is no GPU."""

from __future__ import annotations

import io

from cupy._core import core
from cupy.cuda import compiler

from rectifier.gpu.kernels import OPTIONS

ARCHITECTURES = ("75", "80", "90", "100", "120")


def options(architecture: str, kind: str = "compute") -> tuple[str, ...]:
    """List the options of a kernel, those that CuPy adds, and last the one that it always adds."""
    return (*core.assemble_cupy_compiler_options(OPTIONS), f"-arch={kind}_{architecture}", "-ftz=true")


def ptx(text: str, architecture: str) -> str:
    """Compile to PTX; a warning is an error."""
    log = io.StringIO()
    code, _ = compiler._NVRTCProgram(text).compile(options(architecture), log)
    assert not log.getvalue(), log.getvalue()
    return code.decode()
