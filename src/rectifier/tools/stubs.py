"""The types of the package for editors and type checkers: ``python -m rectifier.tools.stubs`` writes ``__init__.pyi``.

Functions with the same parameters share their types, so that an editor offers ``negative_slope`` where it is one.
"""

from __future__ import annotations

from pathlib import Path

from ..catalogue import ALL, LOSSES
from ..functions.required import Required
from ..functions.specification import Gated, Rowwise

FILE = Path(__file__).parent.parent / "__init__.pyi"

_HEAD = """\
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
"""

_ELEMENTWISE = """\
class _Quantized{key}(Protocol):
    def __call__(
        self, q: Any, *, scale: float, zero_point: int, out_scale: float, out_zero_point: int, out: Any = None{more}
    ) -> Any: ...

class _Applied{key}(Protocol):
    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None{keywords}) -> Any: ...

class _Derivative{key}(Protocol):
    ufunc: np.ufunc

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None{keywords}) -> Any: ...

class _Backward{key}(Protocol):
    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None{more}
    ) -> Any: ...

class _OfSumBackward{key}(Protocol):
    def __call__(
        self, dy: Any, x: Any = None, {added}: Any = None, out: Any = None, *, mask: Mask | None = None,
        shape: tuple[int, ...] | None = None{more}
    ) -> tuple[Any, Any]: ...

class _OfSum{key}(Protocol):
    backward: _OfSumBackward{key}
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, {added}: Any, out: Any = None{keywords}) -> Any: ...
    def with_mask(self, x: Any, {added}: Any, out: Any = None{keywords}) -> tuple[Any, Mask]: ...

class _Function{key}(_Applied{key}, Protocol):
    __name__: str
    spec: _Elementwise
    derivative: _Derivative{key}
    backward: _Backward{key}
    value_and_derivative: _Applied{key}
    of_sum: _OfSum{key}
    quantized: _Quantized{key}
    cuda_source: Callable[..., str]

    def with_mask(self, x: Any, out: Any = None{keywords}) -> tuple[Any, Mask]: ...
    def vjp(self, x: Any, out: Any = None{keywords}) -> tuple[Any, Callable[..., Any]]: ...
"""

_GATED = """\
class _GatedBackward{key}(Protocol):
    ufunc: np.ufunc

    def __call__(self, dy: Any, x: Any, {gate}: Any, out: Any = None{keywords}) -> tuple[Any, Any]: ...

class _Packed{key}(Protocol):
    def __call__(self, a: Any, *, order: _Order, axis: int = -1, out: Any = None{more}) -> Any: ...
    def backward(self, dy: Any, a: Any, *, order: _Order, axis: int = -1, out: Any = None{more}) -> Any: ...

class _GatedFunction{key}(Protocol):
    __name__: str
    spec: _Gated
    ufunc: np.ufunc
    backward: _GatedBackward{key}
    packed: _Packed{key}
    cuda_source: Callable[..., str]

    def __call__(self, x: Any, {gate}: Any, out: Any = None{keywords}) -> Any: ...
    def gradient(self, formula: Callable[..., Any]) -> Any: ...
    def vjp(self, x: Any, {gate}: Any, out: Any = None{keywords}) -> tuple[Any, Callable[..., Any]]: ...
"""


_LOSS = """\
class _Loss(Protocol):
    __name__: str

    def __call__(self, x: Any, target: Any, axis: int = -1) -> Any: ...
    def value_and_gradient(self, x: Any, target: Any, axis: int = -1, *, out: Any = None) -> tuple[Any, Any]: ...
    def backward(self, dloss: Any, x: Any, target: Any, axis: int = -1, *, out: Any = None) -> Any: ...
"""


def _default(value: float) -> str:
    """Write a default as a stub may have it, which is short."""
    if isinstance(value, Required):
        return ""
    return f" = {value!r}" if len(repr(value)) <= 10 else " = ..."


def text() -> str:
    """Return what the file says."""
    types: dict[str, str] = {}
    lines = {}
    for name, function in ALL.items():
        spec = function.spec
        if isinstance(spec, Rowwise):
            kind = "RowFunctionWithOptions" if spec.has_options else "RowFunction"
            lines[name] = "RowReduction" if spec.reduces else kind
            continue
        gate = spec.gate if isinstance(spec, Gated) else ""
        given = "".join(f", {key}: Any{_default(value)}" for key, value in spec.parameters.items())
        kind, template = ("_GatedFunction", _GATED) if gate else ("_Function", _ELEMENTWISE)
        words = "_".join([*[gate] * bool(gate), *spec.parameters])
        key = "".join(word.capitalize() for word in words.split("_"))
        added = "" if gate else function.of_sum.spec.gate
        keywords = f", *{given}" if given else ""
        made = template.format(key="{key}", keywords=keywords, more=given, gate=gate, added=added)
        while types.setdefault(kind + key, made) != made:  # the same names, other defaults
            key += "X"
        lines[name] = kind + key
    lines["swish"] = lines["silu"]
    lines |= dict.fromkeys(LOSSES, "_Loss")
    written = (made.replace("{key}", _key_of(name)) for name, made in types.items())
    return "\n".join([_HEAD, *written, _LOSS, *(f"{name}: {kind}" for name, kind in lines.items()), ""])


def _key_of(name: str) -> str:
    return name.partition("Function")[2]


if __name__ == "__main__":
    FILE.write_text(text())
