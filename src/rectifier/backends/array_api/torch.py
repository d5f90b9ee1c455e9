"""PyTorch: tensors, and the rules by which autograd differentiates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from ...functions import dtypes
from .library import Library, RowRule, Rule

_SAME = ("abs", "broadcast_to", "copysign", "cos", "exp", "expm1", "log1p", "reshape", "sin", "sqrt", "where")
_XP = SimpleNamespace(  # the standard's names of PyTorch's functions
    __name__="torch",
    **{name: getattr(torch, name) for name in _SAME},
    asarray=lambda x, copy: x.detach().clone(),
    concat=lambda arrays, axis: torch.concat(arrays, dim=axis),
    stack=lambda arrays, axis: torch.stack(arrays, dim=axis),
    permute_dims=torch.permute,
    max=lambda x, axis, keepdims: torch.amax(x, dim=axis, keepdim=keepdims),
    sum=lambda x, axis, keepdims: torch.sum(x, dim=axis, keepdim=keepdims),
)


class _Torch(Library):
    def __init__(self) -> None:
        super().__init__(_XP, torch.Tensor)
        self._opaque: dict[Any, Callable[..., Any]] = {}

    def is_plain(self, array: Any) -> bool:
        if type(array) not in (torch.Tensor, torch.nn.Parameter):
            return False
        if array.device.type != "cpu" or array.layout is not torch.strided:
            return False
        if array.requires_grad and torch.is_grad_enabled():
            return False
        return super().is_plain(array) and not _has_tangent(array)  # nor a tensor that torch.func traces

    def to_numpy(self, array: Any) -> Any:
        array = array.detach()
        if array.dtype == torch.bfloat16:
            return array.view(torch.int16).numpy().view(dtypes.named("bfloat16"))
        return array.numpy()

    def from_numpy(self, array: Any) -> Any:
        if array.dtype.kind == "V":  # bfloat16
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)

    def require_dense(self, function: str, name: str, array: Any) -> None:
        if isinstance(array, torch.Tensor) and (array.layout is not torch.strided or array.is_nested):
            what, use = f"{array.layout} tensor", f"{name}.to_dense()"
            if array.is_nested:
                what, use = "nested tensor", f"each tensor of {name}.unbind()"
            raise TypeError(f"{function}: {name} is a {what}; it takes dense ones: use {use}")

    def advice(self, dtype: str, name: str) -> str:
        if dtype.startswith("complex"):
            return f"apply it to {name}.real and {name}.imag, or to abs({name})"
        if dtype.startswith(("qint", "quint")):
            return f"use {name}.dequantize()"
        return f"use {name}.to(torch.{'uint8' if dtype == 'bool' else 'float32'})"

    def entry(self, call: Callable[..., Any]) -> Callable[..., Any]:
        # Dynamo does not follow a formula that is bound to other primitives.
        if call not in self._opaque:
            self._opaque[call] = torch.compiler.disable(call)
        return self._opaque[call]

    def result(self, name: str) -> str:
        return name

    def astype(self, array: Any, name: str) -> Any:
        return array.to(getattr(torch, name))

    def number(self, value: float, name: str, like: Any) -> Any:
        return torch.tensor(value, dtype=getattr(torch, name), device=like.device)

    def descending(self, array: Any, axis: int) -> Any:
        return torch.sort(array, dim=axis, descending=True).values

    def cumulative(self, array: Any, axis: int) -> Any:
        return torch.cumsum(array, dim=axis)

    def differentiable(self, value: Callable[..., Any], rule: Rule, *arrays: Any) -> Any:
        return _Value.apply(value, rule, *arrays) if _differentiates(arrays) else value(*arrays)

    def differentiable_rows(self, value: Callable[..., Any], rule: RowRule, x: Any, *others: Any) -> Any:
        return _Rows.apply(value, rule, x, *others) if _differentiates((x, *others)) else value(x, *others)

    def count(self, number: int, like: Any) -> Any:
        return torch.arange(number, device=like.device)


def _differentiates(arrays: tuple[Any, ...]) -> bool:
    """Check whether PyTorch may ask for a derivative, in either mode."""
    return torch.is_grad_enabled() or any(map(_has_tangent, arrays))


def _has_tangent(array: Any) -> bool:
    try:
        return forward_ad.unpack_dual(array).tangent is not None
    except RuntimeError:  # one that torch.func traces does not say
        return True


class _Value(torch.autograd.Function):  # type: ignore[misc]
    """A value whose derivatives are ours, of any order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Any, rule: Any, *arrays: Any) -> Any:
        return value(*arrays)

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        _, context.rule, *arrays = inputs
        context.save_for_backward(*arrays)
        context.save_for_forward(*arrays)
        context.rule.refuse(context.needs_input_grad[2:])

    @staticmethod
    def backward(context: Any, dy: Any) -> Any:
        rule, arrays = context.rule, context.saved_tensors
        if torch.is_grad_enabled():
            return None, None, *_gradients(rule, dy, arrays, context.needs_input_grad[2:])
        return None, None, *rule.backward(dy, *arrays), *[None] * len(rule.parameters)

    @staticmethod
    def jvp(context: Any, _: Any, __: Any, *tangents: Any) -> Any:
        return sum(_parts(context.rule, None, context.saved_tensors, tangents))


class _Times(torch.autograd.Function):  # type: ignore[misc]
    """The product of t and the derivative of a rule."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rule: Any, t: Any, *arrays: Any) -> Any:
        return rule.times(t, rule.places, *arrays)

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        context.rule, *arrays = inputs
        context.save_for_backward(*arrays)
        context.save_for_forward(*arrays)

    @staticmethod
    def backward(context: Any, dy: Any) -> Any:
        rule, (t, *arrays) = context.rule, context.saved_tensors
        _, wanted, *others = context.needs_input_grad
        dt = LIBRARY.summed(_Times.apply(rule, dy, *arrays), t.shape) if wanted else None
        return None, dt, *_gradients(rule, dy * t, arrays, others)

    @staticmethod
    def jvp(context: Any, _: Any, tangent: Any, *tangents: Any) -> Any:
        rule, (t, *arrays) = context.rule, context.saved_tensors
        own = [] if tangent is None else [_Times.apply(rule, tangent, *arrays)]
        return sum(_parts(rule, t, arrays, tangents), *own)


def _parts(rule: Rule, t: Any, arrays: Any, tangents: Any) -> Iterator[Any]:
    """Return t times the derivative along each tangent."""
    rule.refuse(tangent is not None for tangent in tangents)
    for place, tangent in enumerate(tangents):
        if tangent is not None:
            yield _Times.apply(rule.by(place), tangent if t is None else t * tangent, *arrays)


def _gradients(rule: Rule, t: Any, arrays: Any, wanted: Any) -> Iterator[Any]:
    """Return t times the derivative by each array that wants one."""
    for place, (array, yes) in enumerate(zip(arrays, wanted, strict=True)):
        yield LIBRARY.summed(_Times.apply(rule.by(place), t, *arrays), array.shape) if yes else None


class _Rows(torch.autograd.Function):  # type: ignore[misc]
    """A row-wise value; its derivative is in PyTorch's operations, of which there are derivatives again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Any, rule: Any, x: Any, *others: Any) -> Any:
        return value(x, *others)

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        _, context.rule, x, *others = inputs
        kept = x if context.rule.of_x else output
        context.save_for_backward(kept, *others)
        context.save_for_forward(kept, *others)
        context.rule.refuse(context.needs_input_grad[3:])

    @staticmethod
    def backward(context: Any, dy: Any) -> Any:
        y, *others = context.saved_tensors
        return None, None, context.rule.backward(dy, y, *others), *[None] * len(others)

    @staticmethod
    def jvp(context: Any, _: Any, __: Any, tangent: Any, *tangents: Any) -> Any:
        context.rule.refuse(one is not None for one in tangents)
        return context.rule.forward(tangent, *context.saved_tensors)


LIBRARY = _Torch()
