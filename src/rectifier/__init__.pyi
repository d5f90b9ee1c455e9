# Written by `python -m rectifier.tools.stubs`.
from collections.abc import Callable
from types import FunctionType
from typing import Any, Literal, Protocol, TypeAlias, overload

import numpy as np

from . import memory as memory
from .engine.settings import settings as settings
from .functions.define import elementwise as elementwise
from .functions.define import gated as gated
from .functions.define import rowwise as rowwise
from .functions.mask import Mask as Mask
from .functions.protocols import Activation as Activation
from .functions.protocols import Gated as Gated
from .functions.protocols import RowFunction, RowFunctionWithOptions, RowReduction
from .functions.specification import Elementwise as _Elementwise
from .functions.specification import Gated as _Gated
from .functions.warmup import warmup as warmup

__version__: str
_Order: TypeAlias = Literal["gate_first", "gate_last", "interleaved"]

class _Quantized(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None
    ) -> Any: ...

class _Applied(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None) -> Any: ...

class _Derivative(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None) -> Any: ...

class _Backward(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None
    ) -> Any: ...

class _OfSumBackward(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None
    ) -> tuple[Any, Any]: ...

class _OfSum(Protocol):
    backward: _OfSumBackward
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None) -> tuple[Any, Mask]: ...

class _Function(_Applied, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _Derivative
    backward: _Backward
    value_and_derivative: _Applied
    of_sum: _OfSum
    quantized: _Quantized
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedThreshold(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, threshold: Any = 0.5
    ) -> Any: ...

class _AppliedThreshold(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, threshold: Any = 0.5) -> Any: ...

class _DerivativeThreshold(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, threshold: Any = 0.5) -> Any: ...

class _BackwardThreshold(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, threshold: Any = 0.5
    ) -> Any: ...

class _OfSumBackwardThreshold(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, threshold: Any = 0.5
    ) -> tuple[Any, Any]: ...

class _OfSumThreshold(Protocol):
    backward: _OfSumBackwardThreshold
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, *, threshold: Any = 0.5) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None, *, threshold: Any = 0.5) -> tuple[Any, Mask]: ...

class _FunctionThreshold(_AppliedThreshold, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeThreshold
    backward: _BackwardThreshold
    value_and_derivative: _AppliedThreshold
    of_sum: _OfSumThreshold
    quantized: _QuantizedThreshold
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, threshold: Any = 0.5) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, threshold: Any = 0.5) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedSlopeOffset(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, slope: Any = ..., offset: Any = 0.5
    ) -> Any: ...

class _AppliedSlopeOffset(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, slope: Any = ..., offset: Any = 0.5) -> Any: ...

class _DerivativeSlopeOffset(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, slope: Any = ..., offset: Any = 0.5) -> Any: ...

class _BackwardSlopeOffset(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, slope: Any = ..., offset: Any = 0.5
    ) -> Any: ...

class _OfSumBackwardSlopeOffset(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, slope: Any = ..., offset: Any = 0.5
    ) -> tuple[Any, Any]: ...

class _OfSumSlopeOffset(Protocol):
    backward: _OfSumBackwardSlopeOffset
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, *, slope: Any = ..., offset: Any = 0.5) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None, *, slope: Any = ..., offset: Any = 0.5) -> tuple[Any, Mask]: ...

class _FunctionSlopeOffset(_AppliedSlopeOffset, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeSlopeOffset
    backward: _BackwardSlopeOffset
    value_and_derivative: _AppliedSlopeOffset
    of_sum: _OfSumSlopeOffset
    quantized: _QuantizedSlopeOffset
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, slope: Any = ..., offset: Any = 0.5) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, slope: Any = ..., offset: Any = 0.5) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedMinValueMaxValue(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, min_value: Any = -1.0, max_value: Any = 1.0
    ) -> Any: ...

class _AppliedMinValueMaxValue(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, min_value: Any = -1.0, max_value: Any = 1.0) -> Any: ...

class _DerivativeMinValueMaxValue(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, min_value: Any = -1.0, max_value: Any = 1.0) -> Any: ...

class _BackwardMinValueMaxValue(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, min_value: Any = -1.0, max_value: Any = 1.0
    ) -> Any: ...

class _OfSumBackwardMinValueMaxValue(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, min_value: Any = -1.0, max_value: Any = 1.0
    ) -> tuple[Any, Any]: ...

class _OfSumMinValueMaxValue(Protocol):
    backward: _OfSumBackwardMinValueMaxValue
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, *, min_value: Any = -1.0, max_value: Any = 1.0) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None, *, min_value: Any = -1.0, max_value: Any = 1.0) -> tuple[Any, Mask]: ...

class _FunctionMinValueMaxValue(_AppliedMinValueMaxValue, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeMinValueMaxValue
    backward: _BackwardMinValueMaxValue
    value_and_derivative: _AppliedMinValueMaxValue
    of_sum: _OfSumMinValueMaxValue
    quantized: _QuantizedMinValueMaxValue
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, min_value: Any = -1.0, max_value: Any = 1.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, min_value: Any = -1.0, max_value: Any = 1.0) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedNegativeSlope(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, negative_slope: Any = 0.01
    ) -> Any: ...

class _AppliedNegativeSlope(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, negative_slope: Any = 0.01) -> Any: ...

class _DerivativeNegativeSlope(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, negative_slope: Any = 0.01) -> Any: ...

class _BackwardNegativeSlope(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, negative_slope: Any = 0.01
    ) -> Any: ...

class _OfSumBackwardNegativeSlope(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, negative_slope: Any = 0.01
    ) -> tuple[Any, Any]: ...

class _OfSumNegativeSlope(Protocol):
    backward: _OfSumBackwardNegativeSlope
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, *, negative_slope: Any = 0.01) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None, *, negative_slope: Any = 0.01) -> tuple[Any, Mask]: ...

class _FunctionNegativeSlope(_AppliedNegativeSlope, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeNegativeSlope
    backward: _BackwardNegativeSlope
    value_and_derivative: _AppliedNegativeSlope
    of_sum: _OfSumNegativeSlope
    quantized: _QuantizedNegativeSlope
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, negative_slope: Any = 0.01) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, negative_slope: Any = 0.01) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedThresholdBias(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, threshold: Any = 0.5, bias: Any = 0.0
    ) -> Any: ...

class _AppliedThresholdBias(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, threshold: Any = 0.5, bias: Any = 0.0) -> Any: ...

class _DerivativeThresholdBias(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, threshold: Any = 0.5, bias: Any = 0.0) -> Any: ...

class _BackwardThresholdBias(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, threshold: Any = 0.5, bias: Any = 0.0
    ) -> Any: ...

class _OfSumBackwardThresholdBias(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, threshold: Any = 0.5, bias: Any = 0.0
    ) -> tuple[Any, Any]: ...

class _OfSumThresholdBias(Protocol):
    backward: _OfSumBackwardThresholdBias
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, *, threshold: Any = 0.5, bias: Any = 0.0) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None, *, threshold: Any = 0.5, bias: Any = 0.0) -> tuple[Any, Mask]: ...

class _FunctionThresholdBias(_AppliedThresholdBias, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeThresholdBias
    backward: _BackwardThresholdBias
    value_and_derivative: _AppliedThresholdBias
    of_sum: _OfSumThresholdBias
    quantized: _QuantizedThresholdBias
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, threshold: Any = 0.5, bias: Any = 0.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, threshold: Any = 0.5, bias: Any = 0.0) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedThresholdValue(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, threshold: Any, value: Any
    ) -> Any: ...

class _AppliedThresholdValue(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, threshold: Any, value: Any) -> Any: ...

class _DerivativeThresholdValue(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, threshold: Any, value: Any) -> Any: ...

class _BackwardThresholdValue(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, threshold: Any, value: Any
    ) -> Any: ...

class _OfSumBackwardThresholdValue(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, threshold: Any, value: Any
    ) -> tuple[Any, Any]: ...

class _OfSumThresholdValue(Protocol):
    backward: _OfSumBackwardThresholdValue
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, *, threshold: Any, value: Any) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None, *, threshold: Any, value: Any) -> tuple[Any, Mask]: ...

class _FunctionThresholdValue(_AppliedThresholdValue, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeThresholdValue
    backward: _BackwardThresholdValue
    value_and_derivative: _AppliedThresholdValue
    of_sum: _OfSumThresholdValue
    quantized: _QuantizedThresholdValue
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, threshold: Any, value: Any) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, threshold: Any, value: Any) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedThresholdX(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, threshold: Any = 1.0
    ) -> Any: ...

class _AppliedThresholdX(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, threshold: Any = 1.0) -> Any: ...

class _DerivativeThresholdX(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, threshold: Any = 1.0) -> Any: ...

class _BackwardThresholdX(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, threshold: Any = 1.0
    ) -> Any: ...

class _OfSumBackwardThresholdX(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, threshold: Any = 1.0
    ) -> tuple[Any, Any]: ...

class _OfSumThresholdX(Protocol):
    backward: _OfSumBackwardThresholdX
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, *, threshold: Any = 1.0) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None, *, threshold: Any = 1.0) -> tuple[Any, Mask]: ...

class _FunctionThresholdX(_AppliedThresholdX, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeThresholdX
    backward: _BackwardThresholdX
    value_and_derivative: _AppliedThresholdX
    of_sum: _OfSumThresholdX
    quantized: _QuantizedThresholdX
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, threshold: Any = 1.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, threshold: Any = 1.0) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedBeta(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, beta: Any = 1.0
    ) -> Any: ...

class _AppliedBeta(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, beta: Any = 1.0) -> Any: ...

class _DerivativeBeta(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, beta: Any = 1.0) -> Any: ...

class _BackwardBeta(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, beta: Any = 1.0
    ) -> Any: ...

class _OfSumBackwardBeta(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, beta: Any = 1.0
    ) -> tuple[Any, Any]: ...

class _OfSumBeta(Protocol):
    backward: _OfSumBackwardBeta
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, *, beta: Any = 1.0) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None, *, beta: Any = 1.0) -> tuple[Any, Mask]: ...

class _FunctionBeta(_AppliedBeta, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeBeta
    backward: _BackwardBeta
    value_and_derivative: _AppliedBeta
    of_sum: _OfSumBeta
    quantized: _QuantizedBeta
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, beta: Any = 1.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, beta: Any = 1.0) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedAlpha(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, alpha: Any = 1.0
    ) -> Any: ...

class _AppliedAlpha(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, alpha: Any = 1.0) -> Any: ...

class _DerivativeAlpha(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, alpha: Any = 1.0) -> Any: ...

class _BackwardAlpha(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, alpha: Any = 1.0
    ) -> Any: ...

class _OfSumBackwardAlpha(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, alpha: Any = 1.0
    ) -> tuple[Any, Any]: ...

class _OfSumAlpha(Protocol):
    backward: _OfSumBackwardAlpha
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, *, alpha: Any = 1.0) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None, *, alpha: Any = 1.0) -> tuple[Any, Mask]: ...

class _FunctionAlpha(_AppliedAlpha, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeAlpha
    backward: _BackwardAlpha
    value_and_derivative: _AppliedAlpha
    of_sum: _OfSumAlpha
    quantized: _QuantizedAlpha
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, alpha: Any = 1.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, alpha: Any = 1.0) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedB(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, b: Any = 4.0
    ) -> Any: ...

class _AppliedB(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, b: Any = 4.0) -> Any: ...

class _DerivativeB(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, b: Any = 4.0) -> Any: ...

class _BackwardB(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, b: Any = 4.0
    ) -> Any: ...

class _OfSumBackwardB(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, bias: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, b: Any = 4.0
    ) -> tuple[Any, Any]: ...

class _OfSumB(Protocol):
    backward: _OfSumBackwardB
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, bias: Any, out: Any = None, *, b: Any = 4.0) -> Any: ...
    def with_mask(self, x: Any, bias: Any, out: Any = None, *, b: Any = 4.0) -> tuple[Any, Mask]: ...

class _FunctionB(_AppliedB, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeB
    backward: _BackwardB
    value_and_derivative: _AppliedB
    of_sum: _OfSumB
    quantized: _QuantizedB
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, b: Any = 4.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, b: Any = 4.0) -> tuple[Any, Callable[..., Any]]: ...

class _QuantizedAlphaPAlphaNBetaEps(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None, alpha_p: Any = 0.8, alpha_n: Any = 0.8, beta: Any = 0.5, eps: Any = -1e-06
    ) -> Any: ...

class _AppliedAlphaPAlphaNBetaEps(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, *, alpha_p: Any = 0.8, alpha_n: Any = 0.8, beta: Any = 0.5, eps: Any = -1e-06) -> Any: ...

class _DerivativeAlphaPAlphaNBetaEps(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, *, alpha_p: Any = 0.8, alpha_n: Any = 0.8, beta: Any = 0.5, eps: Any = -1e-06) -> Any: ...

class _BackwardAlphaPAlphaNBetaEps(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, alpha_p: Any = 0.8, alpha_n: Any = 0.8, beta: Any = 0.5, eps: Any = -1e-06
    ) -> Any: ...

class _OfSumBackwardAlphaPAlphaNBetaEps(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, b: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None, alpha_p: Any = 0.8, alpha_n: Any = 0.8, beta: Any = 0.5, eps: Any = -1e-06
    ) -> tuple[Any, Any]: ...

class _OfSumAlphaPAlphaNBetaEps(Protocol):
    backward: _OfSumBackwardAlphaPAlphaNBetaEps
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, b: Any, out: Any = None, *, alpha_p: Any = 0.8, alpha_n: Any = 0.8, beta: Any = 0.5, eps: Any = -1e-06) -> Any: ...
    def with_mask(self, x: Any, b: Any, out: Any = None, *, alpha_p: Any = 0.8, alpha_n: Any = 0.8, beta: Any = 0.5, eps: Any = -1e-06) -> tuple[Any, Mask]: ...

class _FunctionAlphaPAlphaNBetaEps(_AppliedAlphaPAlphaNBetaEps, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeAlphaPAlphaNBetaEps
    backward: _BackwardAlphaPAlphaNBetaEps
    value_and_derivative: _AppliedAlphaPAlphaNBetaEps
    of_sum: _OfSumAlphaPAlphaNBetaEps
    quantized: _QuantizedAlphaPAlphaNBetaEps
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, alpha_p: Any = 0.8, alpha_n: Any = 0.8, beta: Any = 0.5, eps: Any = -1e-06) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, alpha_p: Any = 0.8, alpha_n: Any = 0.8, beta: Any = 0.5, eps: Any = -1e-06) -> tuple[Any, Callable[..., Any]]: ...

class _GatedBackwardGateLimitAlphaOffset(Protocol):
    ufunc: np.ufunc

    def __call__(self, dy: Any, x: Any, gate: Any, out: Any = None, *, limit: Any = 7.0, alpha: Any = 1.702, offset: Any = 1.0) -> tuple[Any, Any]: ...

class _PackedGateLimitAlphaOffset(Protocol):
    def __call__(self, a: Any, *, order: _Order, axis: int = -1, out: Any = None, limit: Any = 7.0, alpha: Any = 1.702, offset: Any = 1.0) -> Any: ...
    def backward(self, dy: Any, a: Any, *, order: _Order, axis: int = -1, out: Any = None, limit: Any = 7.0, alpha: Any = 1.702, offset: Any = 1.0) -> Any: ...

class _GatedFunctionGateLimitAlphaOffset(Protocol):
    __name__: str
    spec: _Gated
    ufunc: np.ufunc
    backward: _GatedBackwardGateLimitAlphaOffset
    packed: _PackedGateLimitAlphaOffset
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, gate: Any, out: Any = None, *, limit: Any = 7.0, alpha: Any = 1.702, offset: Any = 1.0) -> Any: ...
    def gradient(self, formula: Callable[..., Any]) -> Any: ...
    def vjp(self, x: Any, gate: Any, out: Any = None, *, limit: Any = 7.0, alpha: Any = 1.702, offset: Any = 1.0) -> tuple[Any, Callable[..., Any]]: ...

class _GatedBackwardGate(Protocol):
    ufunc: np.ufunc

    def __call__(self, dy: Any, x: Any, gate: Any, out: Any = None) -> tuple[Any, Any]: ...

class _PackedGate(Protocol):
    def __call__(self, a: Any, *, order: _Order, axis: int = -1, out: Any = None) -> Any: ...
    def backward(self, dy: Any, a: Any, *, order: _Order, axis: int = -1, out: Any = None) -> Any: ...

class _GatedFunctionGate(Protocol):
    __name__: str
    spec: _Gated
    ufunc: np.ufunc
    backward: _GatedBackwardGate
    packed: _PackedGate
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, gate: Any, out: Any = None) -> Any: ...
    def gradient(self, formula: Callable[..., Any]) -> Any: ...
    def vjp(self, x: Any, gate: Any, out: Any = None) -> tuple[Any, Callable[..., Any]]: ...

class _GatedBackwardSlope(Protocol):
    ufunc: np.ufunc

    def __call__(self, dy: Any, x: Any, slope: Any, out: Any = None) -> tuple[Any, Any]: ...

class _PackedSlope(Protocol):
    def __call__(self, a: Any, *, order: _Order, axis: int = -1, out: Any = None) -> Any: ...
    def backward(self, dy: Any, a: Any, *, order: _Order, axis: int = -1, out: Any = None) -> Any: ...

class _GatedFunctionSlope(Protocol):
    __name__: str
    spec: _Gated
    ufunc: np.ufunc
    backward: _GatedBackwardSlope
    packed: _PackedSlope
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, slope: Any, out: Any = None) -> Any: ...
    def gradient(self, formula: Callable[..., Any]) -> Any: ...
    def vjp(self, x: Any, slope: Any, out: Any = None) -> tuple[Any, Callable[..., Any]]: ...

class _GatedBackwardGateBetaLinearBeta(Protocol):
    ufunc: np.ufunc

    def __call__(self, dy: Any, x: Any, gate: Any, out: Any = None, *, beta: Any = 4.0, linear_beta: Any = 25.0) -> tuple[Any, Any]: ...

class _PackedGateBetaLinearBeta(Protocol):
    def __call__(self, a: Any, *, order: _Order, axis: int = -1, out: Any = None, beta: Any = 4.0, linear_beta: Any = 25.0) -> Any: ...
    def backward(self, dy: Any, a: Any, *, order: _Order, axis: int = -1, out: Any = None, beta: Any = 4.0, linear_beta: Any = 25.0) -> Any: ...

class _GatedFunctionGateBetaLinearBeta(Protocol):
    __name__: str
    spec: _Gated
    ufunc: np.ufunc
    backward: _GatedBackwardGateBetaLinearBeta
    packed: _PackedGateBetaLinearBeta
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, gate: Any, out: Any = None, *, beta: Any = 4.0, linear_beta: Any = 25.0) -> Any: ...
    def gradient(self, formula: Callable[..., Any]) -> Any: ...
    def vjp(self, x: Any, gate: Any, out: Any = None, *, beta: Any = 4.0, linear_beta: Any = 25.0) -> tuple[Any, Callable[..., Any]]: ...

class _Loss(Protocol):
    __name__: str

    def __call__(self, x: Any, target: Any, axis: int = -1) -> Any: ...
    def value_and_gradient(self, x: Any, target: Any, axis: int = -1, *, out: Any = None) -> tuple[Any, Any]: ...
    def backward(self, dloss: Any, x: Any, target: Any, axis: int = -1, *, out: Any = None) -> Any: ...

hard_mish: _Function
hard_shrink: _FunctionThreshold
hard_sigmoid: _FunctionSlopeOffset
hard_swish: _Function
hard_tanh: _FunctionMinValueMaxValue
leaky_relu: _FunctionNegativeSlope
relu: _Function
relu6: _Function
shrink: _FunctionThresholdBias
soft_shrink: _FunctionThreshold
sparse_plus: _Function
squared_relu: _Function
threshold: _FunctionThresholdValue
thresholded_relu: _FunctionThresholdX
gelu: _Function
gelu_tanh: _Function
laplace: _Function
log_sigmoid: _Function
mish: _Function
quick_gelu: _Function
sigmoid: _Function
silu: _FunctionBeta
softsign: _Function
tanh: _Function
tanh_shrink: _Function
celu: _FunctionAlpha
dish: _Function
elu: _FunctionAlpha
exponential: _Function
selu: _Function
softplus: _FunctionBeta
sqrt_softplus: _Function
squareplus: _FunctionB
xielu: _FunctionAlphaPAlphaNBetaEps
snake: _FunctionAlpha
clamped_swiglu: _GatedFunctionGateLimitAlphaOffset
geglu: _GatedFunctionGate
geglu_tanh: _GatedFunctionGate
glu: _GatedFunctionGate
prelu: _GatedFunctionSlope
reglu: _GatedFunctionGate
situ_glu: _GatedFunctionGateBetaLinearBeta
swiglu: _GatedFunctionGate
hardmax: RowFunction
log_softmax: RowFunctionWithOptions
softmax: RowFunctionWithOptions
softmin: RowFunction
sparsemax: RowFunction
logsumexp: RowReduction
swish: _FunctionBeta
softmax_cross_entropy: _Loss
