"""What training keeps of an array: one bit an element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

BLOCK = 1 << 16  # elements unpacked at a time


class Mask:
    """Which elements were on: one bit an element, 1/32 of a float32 array.

    Made by ``with_mask``, read by ``backward(dy, mask=mask)`` of the same function with the same
    parameters. A mask does not change.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array that it was made from.
    bits : array of uint8, read-only
        The bits in C index order, the first element in the lowest bit: ``np.unpackbits(bits,
        count=size, bitorder="little")`` reads it. Bits after the last element are 0.
    function : str
        Name of the function that made it.
    parameters : dict
        That function's parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from rectifier import relu
    >>> y, mask = relu.with_mask(np.array([[-1.0, 2.0, 0.0], [3.0, -4.0, 0.0]]))
    >>> mask
    <Mask of relu, shape (2, 3): 2 of 6 on, 1 byte>
    >>> mask.count(axis=0)
    array([1, 1, 0])
    >>> mask.to_array()
    array([[False,  True, False],
           [ True, False, False]])
    """

    __slots__ = ("bits", "function", "parameters", "shape")
    __hash__ = None  # type: ignore[assignment]

    bits: np.ndarray[Any, np.dtype[np.uint8]]
    shape: tuple[int, ...]
    function: str
    parameters: dict[str, Any]

    def __init__(self, bits: Any, shape: tuple[int, ...], function: str, parameters: dict[str, Any]) -> None:
        bits.flags.writeable = False
        self.bits, self.shape, self.function, self.parameters = bits, shape, function, parameters

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the bits take."""
        return self.bits.nbytes

    def to_array(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Unpack into an array of bool, one byte an element."""
        return self._unpack(0, self.size).reshape(self.shape)

    def count(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """Count the elements that are on.

        Parameters
        ----------
        axis : int or tuple of int, optional
            Count along these axes; by default all elements. Over a batch of shape (samples, units),
            ``mask.count(axis=0) == 0`` finds the dead units.

        Returns
        -------
        int or array of int
        """
        if axis is None:
            return int(np.bitwise_count(self.bits).sum(dtype=np.intp))
        axes = np.lib.array_utils.normalize_axis_tuple(axis, self.ndim)
        counts = np.zeros([1 if k in axes else length for k, length in enumerate(self.shape)], np.intp)
        row = self.size // self.shape[0] if self.size else 1
        for start, stop in self._rows(max(1, BLOCK // row)):
            flags = self._unpack(start * row, stop * row).reshape(stop - start, *self.shape[1:])
            part = flags.sum(axis=axes, dtype=np.intp, keepdims=True)
            if 0 in axes:
                counts += part
            else:
                counts[start:stop] = part
        return counts.squeeze(axes)

    def _rows(self, step: int) -> Iterator[tuple[int, int]]:
        length = self.shape[0] if self.size else 0
        return ((start, min(start + step, length)) for start in range(0, length, step))

    def _unpack(self, start: int, stop: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        first = start // 8
        flags = np.unpackbits(self.bits[first : (stop + 7) // 8], bitorder="little")
        return flags[start - 8 * first : stop - 8 * first].view(np.bool_)

    def agrees(self, function: str, parameters: dict[str, Any]) -> bool:
        """Say whether `function` with `parameters` made this mask, or would have made the same."""
        if self.function != function:
            return False
        return not parameters or all(
            np.array_equal(self.parameters[name], value, equal_nan=True) for name, value in parameters.items()
        )

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, Mask):
            return NotImplemented
        return (
            self.shape == other.shape
            and self.agrees(other.function, other.parameters)
            and bool(np.array_equal(self.bits, other.bits))
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Mask, (self.bits, self.shape, self.function, self.parameters)

    def __repr__(self) -> str:
        of = ", ".join([self.function, *(f"{name}={value!r}" for name, value in self.parameters.items())])
        size = f"{self.nbytes} byte{'' if self.nbytes == 1 else 's'}"
        return f"<Mask of {of}, shape {self.shape}: {self.count()} of {self.size} on, {size}>"
