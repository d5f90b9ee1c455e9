"""The public calls of a function of a sum, ``relu.of_sum`` and its methods.

Little is made of them with a function: their kernels, and what calls those, when they are first asked for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..backends import registry
from ..backends.cupy import source_of
from ..backends.sums import at_once, is_compiled
from ..engine.compilation import one_at_a_time
from ..engine.sums import SumMethod
from ..engine.ufuncs import Method
from . import arguments, docstrings, gradients, methods, signatures
from .call import Call
from .mask import Mask
from .specification import BACKWARD, WITH_MASK, Elementwise, OfSum


class _Methods(dict[str, Any]):
    """The compiled calls of the operations, by their names, each made when it is first asked for."""

    def __init__(self, spec: OfSum) -> None:
        self.spec, self.scopes = spec, dict[str, dict[str, Any]]()

    def __missing__(self, name: str) -> Any:
        with one_at_a_time():
            if name not in self:
                spec, summed = self.spec, self.spec.backward_and_sum
                kind = SumMethod if name == summed.name else Method
                operation = summed if name == summed.name else spec.operations[name]
                self[name] = kind(spec, operation, f"{spec.name}.{name}", spec.dtypes, self._publish(name))
        return self[name]

    def values(self) -> Any:
        """Make all that compiled code takes, and return them: for `warmup`."""
        for operation in (*self.spec.operations.values(), self.spec.backward_and_sum):
            if is_compiled(self.spec, operation):
                self[operation.name]
        return super().values()

    def _publish(self, name: str) -> Callable[[Any], None]:
        scope = self.scopes.get(name, {})

        def publish(compiled: Any) -> None:
            scope["_compiled_"] = compiled

        return publish


def make(function: Any, of: Elementwise) -> Any:
    """Make the function of a sum, with its methods."""
    spec = OfSum(of)
    made = _Methods(spec)

    def add(name: str, template: str, call: Callable[..., Any]) -> Any:
        scope = made.scopes[name or "value"] = {}
        added = signatures.make(
            template, f"{spec.name}.{name}".rstrip("."), spec.module, scope, parameters=spec.parameters,
            gate=spec.gate, maker=spec.masks_of, doc=docstrings.of_sum(spec, name),
        )  # fmt: skip
        scope["_call_"] = partial(call, added if not name else of_sum)
        return added

    of_sum = add("", signatures.GATED, _value)
    of_sum.spec, of_sum.of, of_sum.methods = spec, function, made
    of_sum.cuda_source = source_of(spec)
    of_sum.backward = add("backward", signatures.BACKWARD_OF_SUM, _backward)
    of_sum.with_mask = add("with_mask", signatures.WITH_MASK_OF_SUM, _with_mask)
    return of_sum


def _value(function: Any, operands: dict[str, Any], out: Any, parameters: dict[str, Any]) -> Any:
    return registry.compute(Call(function, function.spec.operations["value"], operands, parameters, out))


def _with_mask(function: Any, operands: dict[str, Any], out: Any, parameters: dict[str, Any]) -> tuple[Any, Mask]:
    methods.require_source(function.spec, WITH_MASK, "mask")
    made: tuple[Any, Mask] = registry.compute(
        Call(function, function.spec.operations["with_mask"], operands, parameters, out)
    )
    return made


def _backward(
    function: Any, dy: Any, x: Any, b: Any, out: Any, mask: Any, shape: Any, parameters: dict[str, Any]
) -> Any:
    spec = function.spec
    if mask is None and shape is None and out is None:
        both = at_once(function, dy, x, b, parameters)
        if both is not None:
            return both
    given = {"x": x, spec.gate: b, "mask": mask, "shape": shape}
    names = [name for name, value in given.items() if value is not None]
    if names == ["mask", "shape"]:
        return _backward_from_mask(function, dy, mask, shape, out, parameters)
    if names != ["x", spec.gate]:
        raise TypeError(
            f"{spec.named(BACKWARD)} takes dy, x and {spec.gate}, or dy, mask= and shape=, which is that of "
            f"{spec.gate}; beside dy it got {' and '.join(names) or 'none'}"
        )
    operands = {"dy": dy, "x": x, spec.gate: b}
    return registry.compute(Call(function, spec.operations["backward"], operands, parameters, out))


def _backward_from_mask(
    function: Any, dy: Any, mask: Any, shape: Any, out: Any, parameters: dict[str, Any]
) -> tuple[Any, Any]:
    """Compute dx from a mask, and sum it to a shape."""
    spec = function.spec
    name, outputs = spec.named(BACKWARD), spec.operations["backward"].outputs
    methods.require_agreement(spec, mask, parameters)
    try:
        shape = tuple(operator.index(side) for side in shape)
    except TypeError:
        raise TypeError(f"{name}: shape is {shape!r}; it takes a tuple of integers, {spec.gate}.shape") from None
    if not arguments.broadcasts_to(shape, mask.shape):
        raise ValueError(f"{name}: shape {shape} does not broadcast to that of the mask, {mask.shape}")

    def require(out: Any, like: Any) -> None:
        kind = type(like) if registry.is_other(like) else np.ndarray
        arguments.require_out(name, outputs, out, [mask.shape, shape], like.dtype, kind, registry.may_share_memory)

    own = out[0] if isinstance(out, tuple) and len(out) == 2 else None
    if hasattr(own, "dtype"):
        require(out, own)
    dx = function.of.backward(dy, mask=mask, out=own, **parameters)
    if out is not None:  # of dx it is known by now
        require(out, dx)
    serving: Any = registry.serving(dx)
    db = gradients.sum_to(dx, shape, serving.add)
    if out is not None and out[1] is not None:
        out[1][...] = db
        db = out[1]
    return dx, db.copy() if db is dx else db
