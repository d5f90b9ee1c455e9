"""Arguments of a row-wise function that reduces, beside x, out and axis."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..formulas import arrays as array_primitives
from ..formulas import bind
from .row_options import require_where


class Reduction(NamedTuple):
    """The keywords of a call, as a user gave them, or checked.

    Attributes
    ----------
    where : array of bool or None
        Which numbers count; broadcasts with x.
    keepdims : bool
        Whether the axes of a row stay in the result, with one element.
    """

    where: Any = None
    keepdims: Any = False

    @property
    def arrays(self) -> dict[str, Any]:
        """Those that are arrays, by their names."""
        return {} if self.where is None else {"where": self.where}

    def shape(self, whole: tuple[Any, ...], axes: tuple[int, ...]) -> tuple[Any, ...]:
        """Return the shape of the result, of x's and the axes of a row."""
        if self.keepdims:
            return tuple(1 if k in axes else side for k, side in enumerate(whole))
        return tuple(side for k, side in enumerate(whole) if k not in axes)


def require(function: str, reduction: Reduction, whole: tuple[Any, ...]) -> None:
    """Refuse keywords that a call on an array of a shape does not take.

    Raises
    ------
    TypeError, ValueError
        If `where` is no array of bool, or does not broadcast to the shape; if `keepdims` is no bool.
    """
    where, keepdims = reduction
    if not isinstance(keepdims, bool | np.bool_):
        raise TypeError(f"{function}: keepdims is {keepdims!r}; it takes True or False")
    require_where(function, where, whole)


def of_nothing(spec: Any) -> float:
    """Return what a row of no elements gives: what one gives of which none count."""
    words = array_primitives.primitives(np.float64)
    with np.errstate(all="ignore"):
        return float(bind(spec.value, words)(np.float64(-np.inf), bind(spec.of_sum, words)(np.float64(-1))))
