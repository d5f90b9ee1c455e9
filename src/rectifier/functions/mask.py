"""Bit masks that training keeps for the backward pass: one bit per element."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from .subclasses import is_masked

BLOCK = 1 << 16  # elements unpacked at a time


class Mask:
    """Which elements were on: one bit an element, 1/32 of a float32 array.

    Made by ``with_mask``, read by ``backward(dy, mask=mask)`` of the same function with the same
    parameters. A mask does not change.

    That of a CuPy array lies on its device: `backward` and `vjp` read it there and do not wait. What says something
    about it (`count` of everything, ``==``, ``repr``, pickling) does wait, and so does a `backward` call that names a
    parameter which is an array on the device. `Mask` of ``cupy.asarray(mask.bits)`` takes a mask to a device, `get`
    takes it from there.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array that it was made from.
    bits : array of uint8, read-only in NumPy
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

    __slots__ = ("_bits", "_function", "_parameters", "_shape")
    __hash__ = None  # type: ignore[assignment]

    _bits: Any
    _shape: tuple[int, ...]
    _function: str
    _parameters: dict[str, Any]

    def __init__(self, bits: Any, shape: Iterable[int], function: str, parameters: Mapping[str, Any]) -> None:
        shape = tuple(map(operator.index, shape))
        bits = _copied(bits)
        size = math.prod(shape)
        if bits.dtype != np.uint8 or bits.shape != ((size + 7) // 8,) or min(shape, default=0) < 0:
            raise ValueError(
                f"Mask: bits have dtype {bits.dtype} and shape {bits.shape}; "
                f"for shape {shape} they are {(size + 7) // 8} of uint8"
            )
        if size % 8 and bits[-1] >> size % 8:
            raise ValueError("Mask: bits after the last element are set")
        if any(np.broadcast_shapes(shape, np.shape(value)) != shape for value in parameters.values()):
            shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in parameters.items())
            raise ValueError(f"Mask: parameters of shape {shapes} do not broadcast to {shape}")
        self._set(bits, shape, function, dict(parameters))

    def _set(self, bits: Any, shape: tuple[int, ...], function: str, parameters: dict[str, Any]) -> None:
        if isinstance(bits, np.ndarray):
            bits.flags.writeable = False
        self._bits, self._shape, self._function, self._parameters = bits, shape, function, parameters

    @classmethod
    def made(cls, bits: Any, shape: tuple[int, ...], function: str, parameters: dict[str, Any]) -> Self:
        """Make a mask of what a loop has just written: unchecked, and without a copy."""
        mask = cls.__new__(cls)
        mask._set(bits, shape, function, parameters)
        return mask

    @property
    def bits(self) -> Any:
        """The bits, as a read-only view."""
        return self._bits.view()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that it was made from."""
        return self._shape

    @property
    def function(self) -> str:
        """Name of the function that made it."""
        return self._function

    @property
    def parameters(self) -> Mapping[str, Any]:
        """That function's parameters, read-only."""
        return MappingProxyType(self._parameters)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self._shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the bits take."""
        return (self.size + 7) // 8

    def get(self) -> Mask:
        """Return this mask in the memory of the host, as ``cupy.ndarray.get`` does; itself, where it lies there."""
        if not hasattr(self._bits, "get"):
            return self
        parameters = {name: p.get() if hasattr(p, "get") else p for name, p in self._parameters.items()}
        return Mask.made(self._bits.get(), self._shape, self._function, parameters)

    def to_array(self) -> Any:
        """Unpack into an array of bool, one byte an element."""
        return self._unpack(0, self.size).reshape(self._shape)

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
            return int(np.bitwise_count(self._bits).sum(dtype=np.intp))
        axes = np.lib.array_utils.normalize_axis_tuple(axis, self.ndim)
        kept = tuple(1 if k in axes else length for k, length in enumerate(self._shape))
        counts = np.zeros_like(self._bits, np.intp, shape=math.prod(kept)).reshape(kept)  # of the library of the bits
        row = self.size // self._shape[0] if self.size else 1
        # On a device few large blocks: a launch costs what millions of bits do.
        spec = BLOCK if isinstance(self._bits, np.ndarray) else BLOCK << 8
        for start, stop in self._rows(max(1, spec // row)):
            flags = self._unpack(start * row, stop * row).reshape(stop - start, *self._shape[1:])
            part = flags.sum(axis=axes, dtype=np.intp, keepdims=True)
            if 0 in axes:
                counts += part
            else:
                counts[start:stop] = part
        return counts.squeeze(axes)[()]

    def _rows(self, step: int) -> Iterator[tuple[int, int]]:
        length = self._shape[0] if self.size else 0
        return ((start, min(start + step, length)) for start in range(0, length, step))

    def _unpack(self, start: int, stop: int) -> Any:
        first = start // 8
        flags = np.unpackbits(self._bits[first : (stop + 7) // 8], bitorder="little")
        return flags[start - 8 * first : stop - 8 * first].view(np.bool_)

    def agrees(self, function: str, parameters: Mapping[str, Any]) -> bool:
        """Return whether `function` with `parameters` made this mask, or would have made the same."""
        if self._function != function:
            return False
        return all(equal(self._parameters[name], value) for name, value in parameters.items())

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, Mask):
            return NotImplemented
        return (
            self._shape == other.shape
            and self.agrees(other.function, other.parameters)
            and equal(self._bits, other.bits)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Mask, (self._bits, self._shape, self._function, self._parameters)

    def __repr__(self) -> str:
        of = ", ".join([self._function, *(f"{name}={value!r}" for name, value in self._parameters.items())])
        size = f"{self.nbytes} byte{'' if self.nbytes == 1 else 's'}"
        return f"<Mask of {of}, shape {self._shape}: {self._described()}, {size}>"

    def _described(self) -> str:
        return f"{self.count()} of {self.size} on"


class PartialMask(Mask):
    """The mask of a masked array: an element that is hidden there is neither on nor off, and hidden in `backward` too.

    Attributes
    ----------
    hidden : array of uint8, read-only
        A bit an element, as in `bits`, which is 1 where the element is hidden. In `bits` it is 0 there.

    Examples
    --------
    >>> import numpy as np
    >>> from rectifier import relu
    >>> y, mask = relu.with_mask(np.ma.masked_array([-1.0, 2.0, 3.0], [False, False, True]))
    >>> mask
    <Mask of relu, shape (3,): 1 of 2 on, 1 hidden, 2 bytes>
    >>> relu.backward(np.ones(3), mask=mask)
    masked_array(data=[0.0, 1.0, --],
                 mask=[False, False,  True],
           fill_value=1e+20)
    """

    __slots__ = ("_hidden",)
    _hidden: Any

    def __init__(
        self, bits: Any, shape: Iterable[int], function: str, parameters: Mapping[str, Any], hidden: Any
    ) -> None:
        super().__init__(bits, shape, function, parameters)
        self._hidden = Mask(hidden, self._shape, function, {})._bits
        if np.any(self._bits & self._hidden):
            raise ValueError("PartialMask: a hidden element is on")

    @classmethod
    def of(cls, mask: Mask, hidden: Any) -> PartialMask:
        """Hide elements of a mask: an array of bool says which."""
        packed = np.packbits(hidden, bitorder="little")
        partial = cls.made(mask._bits & ~packed, mask._shape, mask._function, mask._parameters)
        packed.flags.writeable = False
        partial._hidden = packed
        return partial

    @property
    def hidden(self) -> Any:
        """The bits that say what is hidden, as a read-only view."""
        return self._hidden.view()

    @property
    def nbytes(self) -> int:
        """Bytes that the bits take, those of what is hidden too."""
        return 2 * super().nbytes

    def to_array(self) -> Any:
        """Unpack into a masked array of bool."""
        hidden = np.unpackbits(self._hidden, count=self.size, bitorder="little").view(np.bool_)
        return np.ma.MaskedArray(super().to_array(), hidden.reshape(self._shape))

    def __eq__(self, other: object) -> Any:
        same = super().__eq__(other)
        if same is NotImplemented or not same:
            return same
        return equal(self._hidden, other._hidden) if isinstance(other, PartialMask) else not self._hidden.any()

    def __reduce__(self) -> tuple[Any, ...]:
        return PartialMask, (self._bits, self._shape, self._function, self._parameters, self._hidden)

    def _described(self) -> str:
        hidden = int(np.bitwise_count(self._hidden).sum(dtype=np.intp))
        return f"{self.count()} of {self.size - hidden} on, {hidden} hidden"


_ON_THE_HOST = np.ndarray, np.generic, int, float, list, tuple


def _copied(bits: Any) -> Any:
    """Copy bits where they lie: of CuPy's on their device, which need not be the current one."""
    if hasattr(bits, "get") and hasattr(bits, "device"):
        with bits.device:
            return bits.copy()
    return np.array(bits)


def equal(a: Any, b: Any) -> bool:
    """Compare two arrays or numbers, each where it lies; what lies elsewhere is not the same."""
    if a is b:
        return True
    if isinstance(a, _ON_THE_HOST) is not isinstance(b, _ON_THE_HOST):
        return False
    if is_masked(a) or is_masked(b):
        same = np.array_equal(np.ma.getmaskarray(a), np.ma.getmaskarray(b))
        return same and np.array_equal(np.ma.filled(a, 0), np.ma.filled(b, 0), equal_nan=True)
    # CuPy picks the numbers that are no NaN, which it does not from an array of no dimension.
    return bool(np.shape(a) == np.shape(b) and np.array_equal(np.ravel(a), np.ravel(b), equal_nan=True))
