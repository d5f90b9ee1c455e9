"""The docstrings of losses and their methods."""

from __future__ import annotations

from .docstrings import join, section, split
from .specification import Loss

_X = """x : array_like
    Rows of numbers, one for each class, along `axis`: integers, float16, bfloat16, float32 or float64. Not modified."""
_TARGET = """target : array_like
    For each row its class, an integer from 0 on, of the shape of `x` without `axis`; or for each class its probability,
    a float, of the shape of `x`. Nobody asks what the probabilities of a row add up to."""
_AXIS = """axis : int, default -1
    Of the classes."""
_OUT = """out : array, optional
    Where to write the gradient: of its shape and dtype. May be `x`."""
_OUT_OF_BOTH = (
    _OUT.replace("array, optional", "array, or tuple of arrays, optional")
    + """
    Of a tuple, the first is for the losses; None stands for one that is to be made."""
)
_DLOSS = """dloss : array_like
    The gradient with respect to the losses; broadcasts with them."""
_LOSS = """loss : array
    Of the shape of `x` without `axis`, and of its dtype; integers become floats as in ``numpy.exp``."""
_DX = """dx : array
    ``softmax(x) * sum(target) - target``, of the shape of `x`."""
_RAISES = """TypeError
    If a dtype is none of these, or `out` is no array of the result's dtype.
ValueError
    If shapes do not fit, a class is none of those of `x`, a probability is negative, infinite or NaN, or `out` has
    another shape or is read-only. Nothing is written then."""
_NOTES = """Accuracy: at most {single:g} units in the last place in float32, {double:g} in float64, of the losses and of
the gradient of classes, in rows of any length; of the gradient of probabilities in units of the larger of the two
numbers whose difference it is. float16 and bfloat16 are rounded once.

A row with a NaN, with inf, or of nothing but -inf is NaN. A probability of 0 counts nothing, also where `x` is -inf.

Where JAX or PyTorch compile or differentiate, the error of the gradient is in units of `dloss`; and a class that is
none of those of `x`, where nobody can see it, gives NaN. Targets of Dask are looked at in the tasks."""
_BOTH = """Compute the losses and the gradient of their sum, in one pass over `x`.

A row is loaded from memory once, and its gradient written once. Beside the gradient there is no array of the size of
`x`."""
_BACKWARD = "Compute the gradient of the losses, each multiplied by a number of its own."


def of(spec: Loss, method: str) -> str:
    """Document a loss, or one of its methods."""
    parts = split(spec.value.__doc__)
    summary, given, results = {
        "": (parts.summary, [_X, _TARGET, _AXIS], [_LOSS]),
        "value_and_gradient": (_BOTH, [_X, _TARGET, _AXIS, _OUT_OF_BOTH], [_LOSS, _DX]),
        "backward": (_BACKWARD, [_DLOSS, _X, _TARGET, _AXIS, _OUT], [_DX.replace("``s", "``dloss`` times ``s")]),
    }[method]
    notes = _NOTES.format(single=spec.ulp[0], double=spec.ulp[1])
    return join(
        summary,
        "" if method else parts.prose,
        section("Parameters", *given),
        section("Returns", *results),
        section("Raises", _RAISES),
        section("Notes", f"See `{spec.name}` for the rest." if method else notes),
        section("References", "" if method else parts.references),
        section("Examples", f">>> from {spec.module} import {spec.name}", _EXAMPLES[method].format(name=spec.name)),
    )


_EXAMPLES = {
    "": ">>> {name}([[0.0, 0.0], [1e4, 0.0]], [1, 0]).round(6)\narray([0.693147, 0.      ])",
    "value_and_gradient": ">>> loss, dx = {name}.value_and_gradient([[0.0, 0.0]], [1])\n>>> dx\narray([[ 0.5, -0.5]])",
    "backward": ">>> {name}.backward(2.0, [[0.0, 0.0]], [1])\narray([[ 1., -1.]])",
}
