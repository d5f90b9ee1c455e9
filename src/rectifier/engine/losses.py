"""Softmax cross-entropy, as Python calls it; `runtime.rows` drives its kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..formulas import arrays as array_primitives
from ..formulas import bind
from ..formulas.rows import exponential, sum_by_halves
from . import choice
from .calls import Call, not_compiled
from .compilation import Compilation
from .compiler.target import Target
from .rows import LONGEST
from .runtime import layout
from .store import Code, load

NANOSECONDS = 0.6  # of an element, about


class LossLoop(Compilation):
    """The losses, or the gradient and the losses, in one dtype."""

    def __init__(self, gradient: bool, dtype: np.dtype[Any]) -> None:
        super().__init__(f"softmax_cross_entropy{'.value_and_gradient' * gradient}", dtype)
        self.gradient = gradient
        size = dtype.itemsize
        self.plan = layout.LoopDescriptor.new(
            count=2, first=1, last=2, mask=-1, length=layout.TILE, element_bytes=(1 + gradient) * size,
            size=(1, 8, size), longest_waiting=LONGEST * gradient,
        )  # fmt: skip

    def build(self) -> Any:
        """Compile or load, and return the address of the plan."""
        from . import process

        self.plan.engine = process.words()
        self.plan.cost = process.cost(NANOSECONDS)
        self.plan.kernel = load(self.code())["kernel"]
        return self.plan

    def code(self) -> Code:
        """Return what machine code the kernel is."""
        from .fingerprint import KERNELS

        gradient, dtype = self.gradient, self.dtype.name

        def build(target: Target | None = None) -> Any:
            from .compiler import crossentropy

            return crossentropy.compile_kernel(gradient, dtype, target)

        own = f"cross-entropy {gradient} {dtype}".encode()
        return Code(f"softmax_cross_entropy.{gradient}.{dtype}", KERNELS, own, build, own)


class LossMethod:
    """The losses, or the gradient and the losses, of rows along the last axis of a contiguous array."""

    def __init__(self, gradient: bool) -> None:
        self.gradient = gradient
        self.loops: dict[str, LossLoop] = {}
        self.compiled: Any = not_compiled

    def prepare(self, dtype: np.dtype[Any]) -> bool:
        """Compile the loop of `dtype`, unless that was done or cannot be; say whether it is compiled."""
        loop = self.loops.get(dtype.name) or self.loops.setdefault(dtype.name, LossLoop(self.gradient, dtype))
        return loop.prepare(self._install)

    def _install(self, loop: LossLoop) -> None:
        if self.compiled is not_compiled:
            outputs = 1 + self.gradient
            self._call = Call(loop.what, outputs + 1, outputs - 1, outputs - 1, -1, entry="call_rows")
        self._call.add(loop.dtype, loop.compiled)
        self.compiled = self._call.function

    def compute(self, x: Any, dx: Any, target: Any, upstream: Any, losses: Any) -> None:
        """Compute, by whichever engine there is.

        Parameters
        ----------
        x, dx : arrays
            Of one shape and dtype, contiguous and aligned; `dx` is None for the losses alone, else it may be x.
        target : array
            Of int64, for each row; or as x is.
        upstream, losses : arrays of float64, or None
            For each row: by which its gradient is multiplied, and where to write its loss.
        """
        self.prepare(x.dtype)
        is_classes = target.dtype == np.int64
        words = np.array([
            target.ctypes.data if is_classes else 0, 0 if is_classes else target.ctypes.data,
            0 if upstream is None else upstream.ctypes.data, 0 if losses is None else losses.ctypes.data,
        ], np.int64)  # fmt: skip
        arrays = (x,) if dx is None else (x, dx)
        if self.compiled(*arrays, words) is NotImplemented:
            interpret(x, dx, target, upstream, losses)


def interpret(x: Any, dx: Any, target: Any, upstream: Any, losses: Any) -> None:
    """Compute what the kernels would, with NumPy."""
    words = array_primitives.primitives(np.float64)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        peak = wide.max(axis=-1, keepdims=True)
        e = bind(exponential, words)(wide, peak)
        rest = sum_by_halves(np, np.where(e == 1, 0, e)) + ((e == 1).sum(axis=-1, keepdims=True) - 1.0)
        logarithm = words["log1p"](rest)
        if target.dtype == np.int64:
            at_class = np.arange(x.shape[-1]) == target[..., None]
            whole, below = 1.0, (peak - np.take_along_axis(wide, target[..., None], -1))
            less = np.where(at_class, (e - 1) - rest, e)
            gradient = less * (1 / (1 + rest))
        else:
            t = target.astype(np.float64)
            whole = sum_by_halves(np, t)
            below = sum_by_halves(np, np.where(t == 0, 0, t * (peak - wide)))
            gradient = e * (whole / (1 + rest)) - t
        if losses is not None:
            losses[...] = (below + whole * logarithm)[..., 0]
        if dx is not None:
            scaled = gradient if upstream is None else upstream[..., None] * gradient
            dx[...] = scaled.astype(dx.dtype)


VALUE, GRADIENT = LossMethod(False), LossMethod(True)


def compiles(dtype: np.dtype[Any]) -> bool:
    """Return whether the gradient is compiled in a dtype: then its memory may be the pool's."""
    return choice.compiles() and GRADIENT.prepare(dtype)
