"""mpmath numbers: they tell whether the algebra is right, apart from rounding."""

from __future__ import annotations

from typing import Any

import mpmath


def words() -> dict[str, Any]:
    """Give the words for mpmath numbers, at the caller's precision."""
    return {"T": mpmath.mpf, "where": lambda condition, x, y: x if condition else y}
