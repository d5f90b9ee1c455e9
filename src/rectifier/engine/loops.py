"""The loops of ufuncs: a loop descriptor for each operation and dtype, and how its kernel is found."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..formulas import with_all_called
from ..functions.dtypes import FORMATS
from ..functions.specification import SUMS, Operation, Specification
from .compilation import Compilation
from .compiler.target import Target
from .interpreter import LOOP
from .runtime import layout
from .store import Code, load


class Loop(Compilation):
    """One operation of a block in one dtype, as a ufunc has it."""

    def __init__(self, spec: Specification, operation: Operation, dtype: np.dtype[Any]) -> None:
        super().__init__(f"{spec.name}.{operation.name}", dtype)
        self.spec, self.operation = spec, operation
        inputs, uniform, outputs = spec.operands(operation)
        names = (*inputs, *uniform, *outputs)
        if len(names) > layout.MAX_OPERANDS:
            raise TypeError(f"{spec.name}: {operation.name} has {len(names)} operands, more than {layout.MAX_OPERANDS}")
        first, last = len(inputs), len(inputs) + len(uniform)
        mask = names.index("mask") if "mask" in names else -1
        own = {"mask": 1} | dict.fromkeys(SUMS, 8)
        sizes = [own.get(name, dtype.itemsize) for name in names]
        tile = layout.TILE // max(sizes) // 64 * 64  # whole words of a mask
        moved = dtype.itemsize * sum(name not in own for k, name in enumerate(names) if not first <= k < last)
        self.plan = layout.LoopDescriptor.new(
            count=len(names), first=first, last=last, mask=mask, length=tile, float_kind=FORMATS[dtype.name].code,
            element_bytes=moved, size=sizes,
        )  # fmt: skip

    def types(self, number: int) -> list[int]:
        """Return NumPy's number of each operand's dtype, where `number` is that of this loop's."""
        return [number] * self.plan.count

    def build(self) -> Any:
        """Compile or load, and return the loop."""
        from . import process

        self.plan.engine = process.words()
        self.plan.kernel = load(self.code())["kernel"]
        self.plan.cost = process.measure(self.plan)
        return ctypes.cast(process.code()["loop"], LOOP)

    def code(self) -> Code:
        """Return what machine code the kernel is."""
        from .fingerprint import KERNELS, code_of

        spec, operation, dtype = self.spec, self.operation, self.dtype.name
        formulas = [operation.formula, *(getattr(spec, part) for part in operation.parts)]
        own = repr((*spec.operands(operation), dtype, spec.working(dtype).__name__)).encode()
        content = b"\0".join([*[code_of(formula) for part in formulas for formula in with_all_called(part)], own])

        name = f"{spec.full_name}.{operation.name}.{dtype}"
        return Code(name, KERNELS, content, self.compile, own if spec.is_ours else None)

    def compile(self, target: Target | None = None) -> Any:
        """Compile the kernel."""
        from .compiler import kernels

        return kernels.compile_kernel(self.spec, self.operation, self.dtype.name, target)
