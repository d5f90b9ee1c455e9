"""The decorator of the catalogue's losses, and what makes a public function of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backends import registry
from ..engine import losses as engine
from . import loss_docstrings
from .call import Call
from .define import specification_of
from .specification import LOSSES, LOSSES_AND_GRADIENT, LOSSES_BACKWARD, PACKAGE, Loss


def loss(
    *, exact: Callable[..., Any], ulp: tuple[float, float], softmax: Any, log_softmax: Any
) -> Callable[[Callable[..., Any]], Any]:
    """Make a loss of its documentation: the engine has its kernels.

    Parameters
    ----------
    exact : callable
        The textbook form, ``exact(m, x, target)``, of rows and of probabilities along the last axis, with ``m.exp`` and
        ``m.log``.
    ulp : two floats
        Largest error in units in the last place, in float32 and in float64, of the losses, and of the gradient of
        classes; of that of probabilities, in units of the larger of the two numbers whose difference it is.
    softmax, log_softmax : functions of rows
        Of which array libraries that compile or differentiate make the gradient and the loss.
    """

    def decorate(written: Any) -> Any:
        name = written.__name__
        spec = Loss(
            name=name, full_name=name, module=PACKAGE, parameters={}, value=written, exact=exact, ulp=ulp,
            softmax=specification_of(softmax), log_softmax=specification_of(log_softmax),
        )  # fmt: skip

        def value(x: Any, target: Any, axis: int = -1) -> Any:
            return registry.compute(Call(value, LOSSES, {"x": x, "target": target}, {}, None, axis))

        def value_and_gradient(x: Any, target: Any, axis: int = -1, *, out: Any = None) -> Any:
            return registry.compute(Call(value, LOSSES_AND_GRADIENT, {"x": x, "target": target}, {}, out, axis))

        def backward(dloss: Any, x: Any, target: Any, axis: int = -1, *, out: Any = None) -> Any:
            operands = {"dloss": dloss, "x": x, "target": target}
            return registry.compute(Call(value, LOSSES_BACKWARD, operands, {}, out, axis))

        function: Any = value
        function.methods = {"value": engine.VALUE, "value_and_gradient": engine.GRADIENT}
        function.spec, function.value_and_gradient, function.backward = spec, value_and_gradient, backward
        for method in (value, value_and_gradient, backward):
            short = "" if method is value else method.__name__
            method.__doc__ = loss_docstrings.of(spec, short)
            method.__name__, method.__annotations__ = short or name, {}  # documentation has types in words
            method.__qualname__, method.__module__ = f"{name}.{short}".rstrip("."), PACKAGE
        return function

    return decorate
