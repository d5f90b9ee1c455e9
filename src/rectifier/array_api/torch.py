"""PyTorch: tensors, and the rules by which autograd differentiates."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ..testing import dtype_of
from . import Library, Rule

_SAME = ("abs", "broadcast_to", "copysign", "exp", "expm1", "log1p", "reshape", "sqrt", "where")
_XP = SimpleNamespace(  # the standard's names of PyTorch's functions
    __name__="torch",
    **{name: getattr(torch, name) for name in _SAME},
    asarray=lambda x, copy: x.detach().clone(),
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
        return super().is_plain(array)  # not a tensor that torch.func traces

    def to_numpy(self, array: Any) -> Any:
        array = array.detach()
        if array.dtype == torch.bfloat16:
            return array.view(torch.int16).numpy().view(dtype_of("bfloat16"))
        return array.numpy()

    def from_numpy(self, array: Any) -> Any:
        if array.dtype.kind == "V":  # bfloat16
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)

    def entry(self, call: Callable[..., Any]) -> Callable[..., Any]:
        # Dynamo does not follow a formula that is bound to other words.
        if call not in self._opaque:
            self._opaque[call] = torch.compiler.disable(call)
        return self._opaque[call]

    def astype(self, array: Any, name: str) -> Any:
        return array.to(getattr(torch, name))

    def number(self, value: float, name: str, like: Any) -> Any:
        return torch.tensor(value, dtype=getattr(torch, name), device=like.device)

    def differentiable(self, value: Callable[..., Any], rule: Rule, *arrays: Any) -> Any:
        if not torch.is_grad_enabled():
            return value(*arrays)
        return _Function.apply(value, rule, *arrays)


class _Function(torch.autograd.Function):  # type: ignore[misc]
    """A value whose gradient is ours; the gradient of that is PyTorch's, of our formula."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Any, rule: Any, *arrays: Any) -> Any:
        return value(*arrays)

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        _, rule, *arrays = inputs
        context.rule = rule
        context.save_for_backward(*([output] if rule.slopes is None else arrays))
        if rule.parameters and any(context.needs_input_grad[-len(rule.parameters) :]):
            names = ", ".join(rule.parameters)
            raise TypeError(f"{rule.function} has no derivative by {names}; prelu has one by its slope")

    @staticmethod
    def backward(context: Any, dy: Any) -> Any:
        gradients = context.rule.backward(dy, *context.saved_tensors)
        return None, None, *gradients, *[None] * len(context.rule.parameters)


LIBRARY = _Torch()
