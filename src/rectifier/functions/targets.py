"""The arguments of losses, checked: an array of rows, and what each row should be."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import arguments, dtypes, subclasses
from .call import Call


class Checked(NamedTuple):
    """The checked arguments of a loss.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the results.
    operands : dict
    axis : int
        Of the classes, counted from the first.
    shape : tuple of int
        Of the losses: of x without that axis.
    has_classes : bool
        Whether the target has a class for each row, and no probabilities.
    """

    dtype: np.dtype[Any]
    operands: dict[str, Any]
    axis: int
    shape: tuple[int, ...]
    has_classes: bool


def check(
    call: Call,
    as_operand: Callable[[str, str, Any], Any],
    dtype_of: Callable[[str, str, Any], Any] = lambda function, name, operand: operand,
) -> Checked:
    """Check dtypes and shapes; `call.prepare` documents the other parameters.

    Raises
    ------
    TypeError, ValueError
        If an argument is none that the call takes.
    """
    name = call.name
    operands = {key: as_operand(name, key, value) for key, value in call.operands.items()}
    for key, value in call.operands.items():
        if subclasses.is_masked(value):
            raise TypeError(f"{name}: {key} is a masked array; pass rows without hidden elements, as by .compress")
    likes = {key: dtype_of(name, key, operand) for key, operand in operands.items()}
    shape, own = (arguments.shape_of(operands[key]) for key in ("x", "target"))
    axis = _axis(name, call.axis, shape)
    rows = shape[:axis] + shape[axis + 1 :]
    if not shape[axis]:
        raise ValueError(f"{name}: x has shape {shape}, without a class along axis {axis}")
    kind = getattr(likes["target"], "dtype", None) or np.asarray(likes["target"]).dtype
    has_classes = kind.kind in "iu"
    if own != (rows if has_classes else shape):
        what = "classes, integers" if has_classes else "probabilities"
        raise ValueError(
            f"{name}: target has shape {own} and dtype {kind}, and x shape {shape}: {what} have shape "
            f"{rows if has_classes else shape}" + _advice(has_classes, own, rows, shape)
        )
    dtype = dtypes.floating(*(like for key, like in likes.items() if key != "target"))
    if "dloss" in operands and not arguments.broadcasts_to(arguments.shape_of(operands["dloss"]), rows):
        given = arguments.shape_of(operands["dloss"])
        raise ValueError(f"{name}: dloss has shape {given}, which does not broadcast to {rows}, that of the losses")
    return Checked(dtype, operands, axis, rows, has_classes)


def _advice(has_classes: bool, own: Any, rows: Any, shape: Any) -> str:
    """Return what to do with a target that has the shape of the other kind."""
    if has_classes and own == shape:
        return "; pass probabilities as floats"
    if not has_classes and own == rows:
        return "; pass classes as integers"
    return ""


def _axis(function: str, axis: Any, shape: tuple[int, ...]) -> int:
    try:
        number = operator.index(axis)
    except TypeError:
        raise TypeError(f"{function}: axis is {axis!r}; it takes an integer") from None
    if not -len(shape) <= number < len(shape):
        raise ValueError(f"{function}: axis {number} is out of bounds for an array of {len(shape)} dimensions")
    return number % len(shape)


def require_numbers(function: str, target: Any, classes: int | None, dtype: np.dtype[Any]) -> None:
    """Refuse an array of NumPy with what is none of so many classes, or no probability in the dtype of the result."""
    if not target.size:
        return
    least, most = target.min(), target.max()
    if classes is not None:
        if least < 0 or most >= classes:
            wrong = least if least < 0 else most
            raise ValueError(f"{function}: target has class {wrong}; x has {classes} classes, 0 to {classes - 1}")
    elif not (least >= 0 and most < np.inf):  # so is NaN
        wrong = least if not least >= 0 else most
        raise ValueError(f"{function}: target has {wrong}; probabilities are finite and not negative")
    elif np.isinf(dtypes.cast(np.asarray(most), dtype)):
        raise ValueError(f"{function}: target has {most}, which {dtype} does not hold; probabilities are finite")
