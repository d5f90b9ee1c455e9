"""How other libraries write the functions of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial
from importlib import util
from typing import Any

import numpy as np

CHUNK = 1 << 13  # so many elements of all arrays fit the second-level cache, and none is mapped anew each time
LIBRARIES = {"PyTorch": "torch", "JAX": "jax", "SciPy": "scipy"}
_TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("relu", {}),
    "leaky_relu": ("leaky_relu", {}),
    "relu6": ("relu6", {}),
    "thresholded_relu": ("threshold", {"threshold": 1.0, "value": 0.0}),
    "hard_tanh": ("hardtanh", {}),
    "hard_sigmoid": ("hardsigmoid", {}),
    "hard_swish": ("hardswish", {}),
    "hard_shrink": ("hardshrink", {}),
    "soft_shrink": ("softshrink", {}),
    "sigmoid": ("sigmoid", {}),
    "log_sigmoid": ("logsigmoid", {}),
    "tanh": ("tanh", {}),
    "softsign": ("softsign", {}),
    "silu": ("silu", {}),
    "gelu": ("gelu", {}),
    "gelu_tanh": ("gelu", {"approximate": "tanh"}),
    "mish": ("mish", {}),
    "elu": ("elu", {}),
    "selu": ("selu", {}),
    "celu": ("celu", {}),
    "softplus": ("softplus", {}),
}
_JAX: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        name: (name, {})
        for name in (
            *("relu", "leaky_relu", "relu6", "hard_tanh", "hard_sigmoid", "hard_swish", "sigmoid", "log_sigmoid"),
            *("tanh", "silu", "mish", "elu", "selu", "celu", "softplus", "squareplus"),
        )
    },
    "softsign": ("soft_sign", {}),
    "gelu": ("gelu", {"approximate": False}),
    "gelu_tanh": ("gelu", {"approximate": True}),
}
_SCIPY: dict[str, Callable[[Any, Any], Any]] = {
    "sigmoid": lambda special, x: special.expit(x),
    "log_sigmoid": lambda special, x: special.log_expit(x),
    "silu": lambda special, x: x * special.expit(x),
    "gelu": lambda special, x: x * special.ndtr(x),
    "softplus": lambda special, x: -special.log_expit(-x),
}


@cache
def peer(source: str, name: str, dtype: str) -> dict[str, Callable[[Any], Any]]:
    """Give the operations in which another library has a function; none if it is not installed."""
    if util.find_spec(LIBRARIES[source]) is None:
        return {}
    if source == "SciPy":
        known = name in _SCIPY and dtype in ("float32", "float64")
        return {"value": partial(_of_scipy, name)} if known else {}
    known, make = (name in _TORCH, _of_torch) if source == "PyTorch" else (name in _JAX, _of_jax)
    return {operation: partial(make, name, dtype, operation) for operation in ("value", "derivative")} if known else {}


def _of_torch(name: str, dtype: str, operation: str, x: Any) -> Any:
    torch = _torch()
    function, keywords = _TORCH[name]
    call = partial(getattr(torch.nn.functional, function), **keywords)
    t = torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16) if dtype == "bfloat16" else torch.from_numpy(x.copy())
    if operation == "derivative":
        t.requires_grad_()
        (result,) = torch.autograd.grad(call(t), t, torch.ones_like(t))
    else:
        result = call(t)
    return result.view(torch.uint16).numpy().view(x.dtype) if dtype == "bfloat16" else result.numpy()


def _of_jax(name: str, dtype: str, operation: str, x: Any) -> Any:
    return np.asarray(_jitted(name, dtype, operation)(np.resize(x, CHUNK + 1)))[: x.size]  # compiled for one size


@lru_cache(maxsize=2)  # what JAX compiles stays in memory as long as this
def _jitted(name: str, dtype: str, operation: str) -> Any:
    jax = _jax()
    function, keywords = _JAX[name]
    call = partial(getattr(jax.nn, function), **keywords)
    return jax.jit(jax.vmap(jax.grad(call)) if operation == "derivative" else call)


def _of_scipy(name: str, x: Any) -> Any:
    return _SCIPY[name](_special(), x)


def peers_of_rows(name: str, dtype: str) -> dict[str, Callable[[Any], Any]]:
    """Give what other libraries, where they are installed, have for a function of rows."""
    if name not in ("softmax", "log_softmax") or dtype == "bfloat16":
        return {}
    ways = {
        "PyTorch": lambda x: getattr(_torch(), name)(_torch().from_numpy(x.copy()), -1).numpy(),
        "JAX": lambda x: np.asarray(getattr(_jax().nn, name)(x)),
        "SciPy": lambda x: getattr(_special(), name)(x, axis=-1),
    }
    return {source: way for source, way in ways.items() if util.find_spec(LIBRARIES[source])}


def _torch() -> Any:
    import torch

    torch.set_num_threads(1)
    return torch


def _jax() -> Any:
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    return jax


def _special() -> Any:
    from scipy import special

    return special
