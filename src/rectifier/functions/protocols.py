"""The types of public functions, for type checkers and readers."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, Protocol, overload

import numpy as np

from .call import Axis
from .mask import Mask
from .specification import Elementwise, Rowwise
from .specification import Gated as GatedSpecification


class Applied(Protocol):
    """A call on one array."""

    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, **parameters: Any) -> Any:
        """Apply the function."""


class Derivative(Applied, Protocol):
    """The derivative; until a function has one, the decorator of its formula."""

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, **parameters: Any) -> Any: ...


class Backward(Protocol):
    """The backward call."""

    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, **parameters: Any
    ) -> Any:
        """Multiply `dy` by the derivative."""


class Packed(Protocol):
    """A call on one array that holds two."""

    def __call__(self, a: Any, *, order: str, axis: int = -1, out: Any = None, **parameters: Any) -> Any:
        """Apply the function."""

    @property
    def backward(self) -> Callable[..., Any]:
        """Multiply a gradient by both derivatives, which are packed likewise."""


class Gated(Protocol):
    """A function of two arrays, which `gated` makes."""

    __name__: str
    spec: GatedSpecification
    ufunc: np.ufunc
    cuda_source: Callable[..., str]
    gradient: Callable[[Callable[..., Any]], Any]

    def __call__(self, x: Any, gate: Any, out: Any = None, **parameters: Any) -> Any:
        """Apply the function."""

    @property
    def backward(self) -> Callable[..., tuple[Any, Any]]:
        """Multiply a gradient by both derivatives, in one pass."""

    @property
    def packed(self) -> Packed:
        """Apply the function to two arrays that are packed in one."""

    @property
    def vjp(self) -> Callable[..., tuple[Any, Callable[..., Any]]]:
        """Compute the value, and the function that takes dy to both gradients."""


class OfSum(Protocol):
    """The function of the sum of two arrays."""

    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, **parameters: Any) -> Any:
        """Apply the function to x + b."""

    @property
    def backward(self) -> Callable[..., tuple[Any, Any]]:
        """Multiply a gradient by the derivative, and sum it to the shape of b, in one pass."""

    @property
    def with_mask(self) -> Callable[..., tuple[Any, Mask]]:
        """Compute the value, and a mask for `backward`."""


class Activation(Protocol):
    """A function of one array, which `elementwise` makes."""

    __name__: str
    spec: Elementwise
    ufunc: np.ufunc
    derivative: Derivative
    backward: Backward
    value_and_derivative: Applied
    of_sum: OfSum
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, out: Any = None, **parameters: Any) -> Any:
        """Apply the function."""

    @property
    def quantized(self) -> Callable[..., Any]:
        """Compute the function of quantised integers; a function with a parameter of that name has no such call."""

    @property
    def with_mask(self) -> Callable[..., tuple[Any, Mask]]:
        """Compute the value, and a mask for `backward`."""

    @property
    def vjp(self) -> Callable[..., tuple[Any, Callable[..., Any]]]:
        """Compute the value, and the function that takes dy to dx."""


class OfRows(Protocol):
    """What every function of whole rows has."""

    __name__: str
    spec: Rowwise
    cuda_source: Callable[..., str]
    weight: Callable[[Callable[..., Any]], Any]


class RowFunction(OfRows, Protocol):
    """A function of whole rows, which `rowwise` makes."""

    def __call__(self, x: Any, out: Any = None, *, axis: Axis = -1) -> Any:
        """Apply the function along one or several axes."""

    @overload
    def backward(self, dy: FunctionType, /) -> FunctionType: ...
    @overload
    def backward(self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, axis: Axis = -1) -> Any: ...

    @property
    def vjp(self) -> Callable[..., tuple[Any, Callable[..., Any]]]:
        """Compute the value, and the function that takes dy to dx."""


class RowReduction(OfRows, Protocol):
    """A function of whole rows that gives one number each, which `rowwise` makes with `reduces`."""

    def __call__(self, x: Any, out: Any = None, *, axis: Axis = -1, where: Any = None, keepdims: bool = False) -> Any:
        """Apply the function along one or several axes."""

    @overload
    def backward(self, dy: FunctionType, /) -> FunctionType: ...
    @overload
    def backward(
        self, dy: Any, x: Any, out: Any = None, *, axis: Axis = -1, where: Any = None, keepdims: bool = False
    ) -> Any: ...

    @property
    def vjp(self) -> Callable[..., tuple[Any, Callable[..., Any]]]:
        """Compute the value, and the function that takes dy to dx."""


class RowFunctionWithOptions(OfRows, Protocol):
    """A function of whole rows, which `rowwise` makes with `has_options`."""

    def __call__(
        self,
        x: Any,
        out: Any = None,
        *,
        axis: Axis = -1,
        where: Any = None,
        scale: float = 1.0,
        causal: bool = False,
        sink: Any = None,
    ) -> Any:
        """Apply the function along one or several axes."""

    @overload
    def backward(self, dy: FunctionType, /) -> FunctionType: ...
    @overload
    def backward(
        self,
        dy: Any,
        x: Any = None,
        out: Any = None,
        *,
        y: Any = None,
        axis: Axis = -1,
        where: Any = None,
        scale: float = 1.0,
        causal: bool = False,
        sink: Any = None,
    ) -> Any: ...

    def vjp(
        self,
        x: Any,
        out: Any = None,
        *,
        axis: Axis = -1,
        where: Any = None,
        scale: float = 1.0,
        causal: bool = False,
        sink: Any = None,
    ) -> tuple[Any, Callable[..., Any]]:
        """Compute the value, and the function that takes dy to dx, or with a sink to dx and dsink."""
