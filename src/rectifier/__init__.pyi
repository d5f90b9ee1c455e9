# Written by `python -m rectifier.tools.stubs`.
from collections.abc import Callable
from types import FunctionType
from typing import Any, Protocol, overload

import numpy as np

from . import memory as memory
from .engine.settings import settings as settings
from .functions.define import elementwise as elementwise
from .functions.define import gated as gated
from .functions.define import rowwise as rowwise
from .functions.mask import Mask as Mask
from .functions.protocols import Activation as Activation
from .functions.protocols import Gated as Gated
from .functions.protocols import RowFunction
from .functions.specification import Elementwise as _Elementwise
from .functions.specification import Gated as _Gated
from .functions.warmup import warmup as warmup

__version__: str

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

class _Function(_Applied, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _Derivative
    backward: _Backward
    value_and_derivative: _Applied
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None) -> tuple[Any, Callable[..., Any]]: ...

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

class _FunctionThreshold(_AppliedThreshold, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeThreshold
    backward: _BackwardThreshold
    value_and_derivative: _AppliedThreshold
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, threshold: Any = 0.5) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, threshold: Any = 0.5) -> tuple[Any, Callable[..., Any]]: ...

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

class _FunctionSlopeOffset(_AppliedSlopeOffset, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeSlopeOffset
    backward: _BackwardSlopeOffset
    value_and_derivative: _AppliedSlopeOffset
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, slope: Any = ..., offset: Any = 0.5) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, slope: Any = ..., offset: Any = 0.5) -> tuple[Any, Callable[..., Any]]: ...

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

class _FunctionMinValueMaxValue(_AppliedMinValueMaxValue, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeMinValueMaxValue
    backward: _BackwardMinValueMaxValue
    value_and_derivative: _AppliedMinValueMaxValue
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, min_value: Any = -1.0, max_value: Any = 1.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, min_value: Any = -1.0, max_value: Any = 1.0) -> tuple[Any, Callable[..., Any]]: ...

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

class _FunctionNegativeSlope(_AppliedNegativeSlope, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeNegativeSlope
    backward: _BackwardNegativeSlope
    value_and_derivative: _AppliedNegativeSlope
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, negative_slope: Any = 0.01) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, negative_slope: Any = 0.01) -> tuple[Any, Callable[..., Any]]: ...

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

class _FunctionThresholdBias(_AppliedThresholdBias, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeThresholdBias
    backward: _BackwardThresholdBias
    value_and_derivative: _AppliedThresholdBias
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, threshold: Any = 0.5, bias: Any = 0.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, threshold: Any = 0.5, bias: Any = 0.0) -> tuple[Any, Callable[..., Any]]: ...

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

class _FunctionThresholdX(_AppliedThresholdX, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeThresholdX
    backward: _BackwardThresholdX
    value_and_derivative: _AppliedThresholdX
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, threshold: Any = 1.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, threshold: Any = 1.0) -> tuple[Any, Callable[..., Any]]: ...

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

class _FunctionBeta(_AppliedBeta, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeBeta
    backward: _BackwardBeta
    value_and_derivative: _AppliedBeta
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, beta: Any = 1.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, beta: Any = 1.0) -> tuple[Any, Callable[..., Any]]: ...

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

class _FunctionAlpha(_AppliedAlpha, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeAlpha
    backward: _BackwardAlpha
    value_and_derivative: _AppliedAlpha
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, alpha: Any = 1.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, alpha: Any = 1.0) -> tuple[Any, Callable[..., Any]]: ...

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

class _FunctionB(_AppliedB, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _DerivativeB
    backward: _BackwardB
    value_and_derivative: _AppliedB
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None, *, b: Any = 4.0) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None, *, b: Any = 4.0) -> tuple[Any, Callable[..., Any]]: ...

class _GatedBackwardGate(Protocol):
    ufunc: np.ufunc

    def __call__(self, dy: Any, x: Any, gate: Any, out: Any = None) -> tuple[Any, Any]: ...

class _GatedFunctionGate(Protocol):
    __name__: str
    spec: _Gated
    ufunc: np.ufunc
    backward: _GatedBackwardGate
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, gate: Any, out: Any = None) -> Any: ...
    def gradient(self, formula: Callable[..., Any]) -> Any: ...
    def vjp(self, x: Any, gate: Any, out: Any = None) -> tuple[Any, Callable[..., Any]]: ...

class _GatedBackwardSlope(Protocol):
    ufunc: np.ufunc

    def __call__(self, dy: Any, x: Any, slope: Any, out: Any = None) -> tuple[Any, Any]: ...

class _GatedFunctionSlope(Protocol):
    __name__: str
    spec: _Gated
    ufunc: np.ufunc
    backward: _GatedBackwardSlope
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, slope: Any, out: Any = None) -> Any: ...
    def gradient(self, formula: Callable[..., Any]) -> Any: ...
    def vjp(self, x: Any, slope: Any, out: Any = None) -> tuple[Any, Callable[..., Any]]: ...

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
thresholded_relu: _FunctionThresholdX
gelu: _Function
gelu_tanh: _Function
log_sigmoid: _Function
mish: _Function
quick_gelu: _Function
sigmoid: _Function
silu: _FunctionBeta
softsign: _Function
tanh: _Function
celu: _FunctionAlpha
dish: _Function
elu: _FunctionAlpha
exponential: _Function
selu: _Function
softplus: _FunctionBeta
squareplus: _FunctionB
geglu: _GatedFunctionGate
glu: _GatedFunctionGate
prelu: _GatedFunctionSlope
reglu: _GatedFunctionGate
swiglu: _GatedFunctionGate
log_softmax: RowFunction
softmax: RowFunction
softmin: RowFunction
swish: _FunctionBeta
