"""The tasks of a Dask graph."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ...engine import process
from ...engine.fingerprint import content_of
from ...functions import define, subclasses
from ...functions.specification import Gated, Specification

Pairs = tuple[tuple[int, tuple[int, ...]], ...]  # an axis counted from the last, and which operands to compare there


class Task:
    """A task: call a function, or one of its methods, on the chunks of the named arrays.

    It is small, as each worker gets it. It pickles its function by name; one that another process does not find, since
    it was defined in ``__main__`` or within a function, by its block.
    """

    def __init__(
        self, function: Any, method: str, names: tuple[str, ...], settings: dict[str, Any], unknown: Pairs = ()
    ) -> None:
        self.function, self.method, self.names, self.settings, self.unknown = function, method, names, settings, unknown

    def __call__(self, *chunks: Any) -> Any:
        """Compute one block of the result; a chunk may come in lists of one element."""
        chunks = tuple(of_depth(chunk, 0) for chunk in chunks)
        for axis, places in self.unknown:
            sizes = {self.names[k]: chunks[k].shape[axis] for k in places}
            self._require_one_size(axis + max(map(np.ndim, chunks)), sizes)
        call = getattr(self.function, self.method) if self.method else self.function
        if self._is_summed_later:
            chunks = _spread(chunks)
        given = dict(zip(self.names, chunks, strict=True))
        if "sink" in given:  # it has the axes of a row, of one element, so that it is cut as x is
            given["sink"] = np.squeeze(given["sink"], self.settings["axis"])
        with process.one_thread():  # the scheduler has tasks for the other processors
            return call(**given, **self.settings)

    @property
    def _is_summed_later(self) -> bool:
        """Whether a gradient is summed by Dask, over all chunks; of smaller chunks than its own a call would sum it."""
        return self.method == "backward" and isinstance(self.function.spec, Gated)

    def _require_one_size(self, axis: int, sizes: dict[str, int]) -> None:
        """Refuse chunks of different sizes: NumPy would broadcast one of size 1, as it would not do with the whole."""
        if len({*sizes.values()}) > 1:
            function = f"{self.function.__name__}.{self.method}".rstrip(".")
            found = ", ".join(f"{name} has {size}" for name, size in sizes.items())
            raise ValueError(
                f"{function}: chunks that meet differ in size along axis {axis}, {found}; call compute_chunk_sizes() "
                "on the arrays before the call, which then cuts them alike"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        how = self.method, self.names, self.settings, self.unknown
        module, found = self.function.__module__, None
        if module != "__main__":
            found = sys.modules.get(module)
            for name in self.function.__qualname__.split("."):
                found = getattr(found, name, None)
        by_name = found is self.function
        return (Task, (self.function, *how)) if by_name else (of_spec, (self.function.spec, *how))

    def __dask_tokenize__(self) -> Any:
        spec = self.function.spec
        content = self.function.__module__, spec.name, content_of(spec)
        return *content, self.method, self.names, self.settings, self.unknown


def _spread(chunks: tuple[Any, ...]) -> tuple[Any, ...]:
    """Broadcast chunks to one shape; of a masked one ``np.broadcast_to`` would drop the mask."""
    shape = np.broadcast_shapes(*(chunk.shape for chunk in chunks))
    return tuple(
        chunk
        if chunk.shape == shape
        else np.ma.MaskedArray(np.broadcast_to(chunk.data, shape), np.broadcast_to(np.ma.getmaskarray(chunk), shape))
        if subclasses.is_masked(chunk)
        else np.broadcast_to(chunk, shape)
        for chunk in chunks
    )


def of_spec(spec: Specification, *how: Any) -> Task:
    """Make a task of the function of a specification, which is made once in a process."""
    return Task(define.of(spec), *how)


def of_depth(nested: Any, depth: int) -> Any:
    """Leave out outer lists of one element: a graph has one around what has no axis, an expression one around all."""
    found, inner = 0, nested
    while isinstance(inner, list):
        found, inner = found + 1, inner[0]
    for _ in range(found - depth):
        (nested,) = nested
    return nested
