"""An array library: its functions, and how it is told to differentiate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...functions import dtypes
from ...functions.gradients import sum_to


class Library:
    """A library of arrays: one of which nothing is known but that it follows the standard, unless a class says more.

    Attributes
    ----------
    xp : namespace
        Its functions, by the names of the standard.
    kind : type
        Of its arrays.
    """

    takes_numpy = False  # whether its own functions take NumPy's arrays beside its own

    def __init__(self, xp: Any, kind: type) -> None:
        self.xp, self.kind = xp, kind

    def is_own(self, value: Any) -> bool:
        """Return whether a value is an array of it."""
        return isinstance(value, self.kind)

    def is_plain(self, array: Any) -> bool:
        """Return whether NumPy can see an array's numbers now: it lies on the CPU, and nobody traces it."""
        try:
            self.to_numpy(array)
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
            return False
        return True

    def to_numpy(self, array: Any) -> Any:
        """View a plain array as NumPy's."""
        return np.from_dlpack(array)

    def from_numpy(self, array: Any) -> Any:
        """Make an array of the library of NumPy's, which nobody else has."""
        return self.xp.from_dlpack(array)

    def require_dense(self, function: str, name: str, array: Any) -> None:
        """Refuse an array that has another layout than an array's."""

    def advice(self, dtype: str, name: str) -> str:
        """Return what to do with an array of the library, of a dtype that has no row in the table."""
        try:
            return dtypes.advice(np.dtype(dtype), name)
        except TypeError:
            return f"cast {name} to one of those"

    def entry(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a call as the library's compiler is to see it."""
        return call

    def float64(self) -> AbstractContextManager[Any]:
        """Return a context in which the library computes in float64."""
        return nullcontext()

    def result(self, name: str) -> str:
        """Return the dtype of a result for that of NumPy's: the standard has no float16."""
        return name if hasattr(self.xp, name) else "float32"

    def astype(self, array: Any, name: str) -> Any:
        """Cast to the dtype of a name."""
        return self.xp.astype(array, getattr(self.xp, name), copy=False)

    def number(self, value: float, name: str, like: Any) -> Any:
        """Make a number, of the dtype of a name, that broadcasts with another array and is where that is.

        Of what the standard has, `full_like` alone makes an array with the settings of another: its device, the
        directory and the memory of Cubed, or what else a library has. The array is cut down to one element first.
        """
        first = like[tuple(slice(min(side, 1)) for side in like.shape)]
        return self.xp.full_like(first, value, dtype=getattr(self.xp, name))

    def descending(self, array: Any, axis: int) -> Any:
        """Sort along an axis, the largest first."""
        return self.xp.sort(array, axis=axis, descending=True)

    def cumulative(self, array: Any, axis: int) -> Any:
        """Add up along an axis."""
        return self.xp.cumulative_sum(array, axis=axis)

    def summed(self, gradient: Any, shape: Any) -> Any:
        """Sum a gradient to the shape of its array, in float64."""
        return sum_to(gradient, shape, self._add)

    def _add(self, gradient: Any, axes: tuple[int, ...], shape: Any) -> Any:
        name = str(gradient.dtype).rpartition(".")[2]
        with self.float64():
            total = self.xp.sum(self.astype(gradient, "float64"), axis=axes, keepdims=True)
            return self.xp.reshape(self.astype(total, name), shape)

    def differentiable(self, value: Callable[..., Any], rule: Rule, *arrays: Any) -> Any:
        """Compute ``value(*arrays)`` such that the library differentiates it by our rule."""
        return value(*arrays)

    def differentiable_rows(self, value: Callable[..., Any], rule: RowRule, x: Any, *others: Any) -> Any:
        """Compute a row-wise ``value(x, *others)`` such that the library differentiates it by x, by our rule."""
        return value(x, *others)

    def times(self, t: Any, d: Any) -> Any:
        """Multiply arrays of one shape; 0 where d is 0, whatever t is."""
        return self.xp.where(d == 0, 0 * d, t * d)

    def causal(self, x: Any) -> Any:
        """Return which elements of the last two axes are not above the diagonal that ends with the last element."""
        rows, columns = x.shape[-2:]
        first, second = (self.count(side, x) for side in (rows, columns))
        return self.xp.reshape(second, (1, columns)) <= self.xp.reshape(first, (rows, 1)) + (columns - rows)

    def count(self, number: int, like: Any) -> Any:
        """Return the numbers from 0 on, where an array is."""
        return self.xp.arange(number, device=like.device)


@dataclass(frozen=True)  # and no tuple, which PyTorch would take apart
class Rule:
    """How a value is differentiated, any number of times.

    Attributes
    ----------
    function : str
    derivative : callable
        Of a tuple of places and the arrays of the call: the derivative by the array at the first place, of which that
        by the array at the second, and so on; in the working type.
    times : callable
        Of t, such a tuple and the arrays: t times that derivative, 0 where it is 0, whatever t is; rounded once.
    backward : callable
        Of dy and the arrays of the call: the gradients by those that have one, in one pass and of their shapes.
    parameters : tuple of str
        Names of the last arrays, by which there is no derivative.
    places : tuple of int
        Of which derivative it is the rule: none of the value itself.
    """

    function: str
    derivative: Callable[..., Any]
    times: Callable[..., Any]
    backward: Callable[..., tuple[Any, ...]]
    parameters: tuple[str, ...] = ()
    places: tuple[int, ...] = ()

    def by(self, place: int) -> Rule:
        """Return the rule of the derivative by the array at a place."""
        return replace(self, places=(*self.places, place))

    def refuse(self, wanted: Iterable[bool]) -> None:
        """Raise TypeError if a derivative is wanted by a parameter: a question for each array of the call."""
        asked = list(wanted)
        last = asked[len(asked) - len(self.parameters) :]
        names = [name for name, yes in zip(self.parameters, last, strict=True) if yes]
        if names:
            raise TypeError(f"{self.function} has no derivative by {', '.join(names)}; prelu has one by its slope")


@dataclass(frozen=True)
class RowRule:
    """How a row-wise value y is differentiated, in the operations of its library.

    Attributes
    ----------
    forward : callable
        Of a tangent, y, and the arrays of the call behind x: the Jacobian times the tangent.
    backward : callable
        Of dy, y, and those arrays: its transpose times dy.
    of_x : bool
        Whether both take x, and not y.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    of_x: bool = False

    def refuse(self, wanted: Iterable[bool]) -> None:
        """Raise TypeError if a derivative is wanted by one of the arrays behind x."""
        if any(wanted):
            raise TypeError("no rule differentiates by sink; backward(dy, x, sink=sink) gives dx and dsink")
