"""The mask of a Dask array: a Dask collection of its own."""

from __future__ import annotations

import itertools
import math
import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any

import dask
import numpy as np
from dask.base import tokenize
from dask.core import flatten
from dask.sizeof import sizeof

from ...functions.mask import Mask, PartialMask, equal
from .chunks import is_lazy, map_blocks, module_of
from .tasks import of_depth


class ChunkedMask(Mask):
    """The mask of a Dask array, packed chunk by chunk; it is as lazy as the array.

    `backward` takes it, `count` and `to_array` give Dask arrays, and ``dask.compute``, ``dask.persist`` and its own
    `compute` and `persist` take it as any other collection: computed, it is an ordinary `Mask`.

    Examples
    --------
    >>> import dask.array as da
    >>> from rectifier import relu
    >>> y, mask = relu.with_mask(da.arange(-4, 4, chunks=4, dtype="float32"))
    >>> mask
    <Mask of relu, shape (8,), in 2 chunks of Dask>
    >>> mask.compute()
    <Mask of relu, shape (8,): 3 of 8 on, 1 byte>
    """

    __slots__ = ()
    _bits: Any  # an array of Dask whose chunks are masks

    def _set(self, bits: Any, shape: tuple[int, ...], function: str, parameters: dict[str, Any]) -> None:
        self._bits, self._shape, self._function, self._parameters = bits, shape, function, parameters

    @property
    def bits(self) -> Any:
        """Refused: they are packed chunk by chunk."""
        raise TypeError("the bits of this mask are packed chunk by chunk; those of mask.compute() are in C order")

    @property
    def nbytes(self) -> int:
        """Bytes that the bits take, of all chunks."""
        sizes = (math.prod(sides) for sides in itertools.product(*self._bits.chunks))
        return sum((size + 7) // 8 for size in sizes)

    def to_array(self) -> Any:
        """Unpack into a Dask array of bool."""
        return self._each(operator.methodcaller("to_array"))

    def _each(self, unpack: Callable[[Mask], Any]) -> Any:
        return map_blocks(module_of(self._bits), unpack, self._bits, "mask", self._bits._meta.astype(np.bool_))

    def count(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """Count the elements that are on, along these axes or all, as a Dask array."""
        return self._each(Mask.to_array).sum(axis=axis, dtype=np.intp)  # of what is hidden the bits are 0

    def agrees(self, function: str, parameters: Mapping[str, Any]) -> bool:
        """Return whether `function` with `parameters` made this mask, by what is known before anything is computed."""
        return self._function == function and all(
            tokenize(self._parameters[name]) == tokenize(value)
            if is_lazy(value) or is_lazy(self._parameters[name])
            else equal(self._parameters[name], value)
            for name, value in parameters.items()
        )

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, ChunkedMask):
            return NotImplemented
        return self._bits.name == other._bits.name

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkedMask.made, (self._bits, self._shape, self._function, self._parameters)

    def __repr__(self) -> str:
        chunks = math.prod(self._bits.numblocks)
        return f"<Mask of {self._function}, shape {self._shape}, in {chunks} chunk{'s' * (chunks > 1)} of Dask>"

    def compute(self, **keywords: Any) -> Mask:
        """Compute it, and give an ordinary mask."""
        mask: Mask = dask.compute(self, **keywords)[0]
        return mask

    def persist(self, **keywords: Any) -> ChunkedMask:
        """Compute it where its chunks are, and keep them there."""
        mask: ChunkedMask = dask.persist(self, **keywords)[0]
        return mask

    # Dask's protocol of a collection, https://docs.dask.org/en/stable/custom-collections.html

    @property
    def __dask_optimize__(self) -> Any:
        return type(self._bits).__dask_optimize__

    @property
    def __dask_scheduler__(self) -> Any:
        return type(self._bits).__dask_scheduler__

    def __dask_graph__(self) -> Any:
        return self._bits.__dask_graph__()

    def __dask_keys__(self) -> Any:
        return self._bits.__dask_keys__()

    def __dask_layers__(self) -> Any:
        return self._bits.__dask_layers__()

    def __dask_tokenize__(self) -> Any:
        return self._bits.name

    # The same for what Dask rewrites before it makes a graph of it; where there is none, the methods above serve.

    def __dask_exprs__(self) -> Any:
        return [self._bits.expr] if hasattr(self._bits, "expr") else None

    def __dask_rebuild_from_exprs__(self, expressions: Any) -> ChunkedMask:
        (expression,) = expressions
        return ChunkedMask.made(type(self._bits)(expression), self._shape, self._function, self._parameters)

    def __dask_postcompute__(self) -> Any:
        return _joined, (self._bits.ndim, self._function, self._parameters)

    def __dask_postpersist__(self) -> Any:
        rebuild, arguments = self._bits.__dask_postpersist__()
        return _persisted, (rebuild, arguments, self._shape, self._function, self._parameters)


@sizeof.register(Mask)  # type: ignore[untyped-decorator]
def _bytes_of(mask: Mask) -> int:
    """Return what a mask takes, for the scheduler: by itself it would see an object of 64 bytes."""
    return sys.getsizeof(mask) + mask.nbytes


def _joined(masks: Any, ndim: int, function: str, parameters: dict[str, Any]) -> Mask:
    """Make one mask of those of the chunks, in lists that are nested at least as deep as there are axes."""
    masks = of_depth(masks, ndim)
    flags = np.block(_unpacked(masks, np.asarray))
    numbers = dask.compute(parameters)[0]
    mask = Mask(np.packbits(flags, bitorder="little"), flags.shape, function, numbers)
    if any(isinstance(chunk, PartialMask) for chunk in flatten([masks])):
        return PartialMask.of(mask, np.block(_unpacked(masks, np.ma.getmaskarray)))
    return mask


def _unpacked(masks: Any, part: Callable[[Any], Any]) -> Any:
    """Take a part, the flags or what is hidden of them, of the array of each mask in nested lists."""
    return part(masks.get().to_array()) if isinstance(masks, Mask) else [_unpacked(inner, part) for inner in masks]


def _persisted(graph: Any, rebuild: Any, arguments: Any, *what: Any, rename: Any = None) -> ChunkedMask:
    bits = rebuild(graph, *arguments, **({"rename": rename} if rename else {}))
    return ChunkedMask.made(bits, *what)
