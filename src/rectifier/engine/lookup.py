"""Look-ups of bytes in tables, compiled or by NumPy. Whatever has eight bits is seen as unsigned bytes here."""

from __future__ import annotations

from typing import Any

import numpy as np

from .calls import Call, not_compiled
from .compilation import Compilation, one_at_a_time
from .compiler.target import Target
from .runtime import layout
from .store import Code, load

CHUNK = 1 << 14  # bytes at once for NumPy, which makes indices of 64 bits of them
BYTE = np.dtype(np.uint8)


class LookUp(Compilation):
    """A look-up of one byte, or of two, in tables of 256 bytes or of 65,536.

    To the driver the table is a parameter: an array of one element, with the others behind it.

    Attributes
    ----------
    function : callable
        The compiled call, of the inputs, that one element and the output, or None for one to be made: arrays all of one
        dtype, uint8 or one that it was told of by `know`. Before it is made, a function that takes nothing.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__("look-ups", BYTE)
        self.inputs = inputs
        self.function: Any = not_compiled
        self.known: set[np.dtype[Any]] = set()
        self.plan = layout.LoopDescriptor.new(
            count=inputs + 2, first=inputs, last=inputs + 1, mask=-1, length=layout.TILE, element_bytes=inputs + 1,
            size=[1] * (inputs + 2),
        )  # fmt: skip

    def build(self) -> Any:
        """Compile or load, and return the address of the plan."""
        from . import process

        self.plan.engine = process.words()
        self.plan.kernel = load(self.code())["kernel"]
        self.plan.cost = process.measure(self.plan)
        return self.plan

    def code(self) -> Code:
        """Return what machine code the kernel is."""
        from .fingerprint import KERNELS

        content = repr(self.inputs).encode()

        def build(target: Target | None = None) -> Any:
            from .compiler import lookup

            return lookup.compile_kernel(self.inputs, target)

        return Code("look-up", KERNELS, content, build, content)

    def _install(self, _: Compilation) -> None:
        plan = self.plan
        self.call = Call("look_up", plan.count, plan.first, plan.last, plan.mask)
        self.call.add(BYTE, plan)
        self.function = self.call.function

    def know(self, dtype: np.dtype[Any]) -> None:
        """Have the compiled call, if there is one, take arrays of another dtype of eight bits."""
        if dtype not in self.known and self.compiled:
            with one_at_a_time():
                if dtype not in self.known and dtype != BYTE and len(self.known) < layout.MAX_DTYPES - 1:
                    self.call.add(dtype, self.plan)
                self.known.add(dtype)

    def __call__(self, table: np.ndarray[Any, Any], *inputs: np.ndarray[Any, Any], out: Any = None) -> Any:
        """Return what stands in a table, of 256 bytes an input, for each element of arrays that broadcast.

        Parameters
        ----------
        table : ndarray of uint8, contiguous
        *inputs : ndarrays of uint8
            The first is the lower byte of an index.
        out : ndarray of uint8, optional
            Of the shape of the result. It may overlap the inputs.
        """
        y = self.function(*inputs, table[:1], out)
        if y is NotImplemented and self.prepare(self._install):
            y = self.function(*inputs, table[:1], out)
        return _by_numpy(table, inputs, out) if y is NotImplemented else y


def _by_numpy(table: np.ndarray[Any, Any], inputs: tuple[np.ndarray[Any, Any], ...], out: Any) -> Any:
    shape = np.broadcast_shapes(*(x.shape for x in inputs))
    spread = [np.broadcast_to(x, shape) for x in inputs]
    y = np.empty_like(spread[0]) if out is None or any(np.may_share_memory(x, out) for x in inputs) else out
    flat = [np.ravel(x) for x in spread]  # a copy where it has no one step, of bytes alone
    found = np.empty(y.size, BYTE)
    for start in range(0, y.size, CHUNK):
        chunk = slice(start, start + CHUNK)
        index = np.zeros(len(found[chunk]), np.intp)
        for k, x in enumerate(flat):
            index |= x[chunk].astype(np.intp) << 8 * k
        found[chunk] = table[index]
    y[...] = found.reshape(shape)
    if out is None or y is out:
        return y
    out[...] = y
    return out


LOOK_UP, LOOK_UP_PAIR = LookUp(1), LookUp(2)
