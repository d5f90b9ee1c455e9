"""Gradients that are summed while they are computed, as Python calls them; `runtime.sums` drives their kernels."""

from __future__ import annotations

import ctypes
from typing import Any

from .compiler.target import Target
from .loops import Loop
from .store import load
from .ufuncs import Method

NANOSECONDS = 0.3  # of an element, about


class SumLoop(Loop):
    """The loop of a kernel that adds to totals, which no ufunc has."""

    def build(self) -> Any:
        """Compile or load, and return the address of the plan."""
        from . import process

        self.plan.engine = process.words()
        self.plan.kernel = load(self.code())["kernel"]
        self.plan.cost = process.cost(NANOSECONDS)
        return ctypes.c_void_p(self.plan)

    def compile(self, target: Target | None = None) -> Any:
        """Compile the kernel."""
        from .compiler import sumkernels

        return sumkernels.compile_kernel(self.spec, self.operation, self.dtype.name, target)


class SumMethod(Method):
    """The operation of a sum that computes dx and adds it to totals."""

    entry = "call_sums"
    kind = SumLoop
