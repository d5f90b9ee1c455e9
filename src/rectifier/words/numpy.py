"""NumPy arrays: the readable reference, and the engine where nothing can be compiled."""

from __future__ import annotations

from typing import Any

import numpy as np


def words(T: type[np.generic]) -> dict[str, Any]:
    """Give the words for arrays of the working type `T`."""
    return {"T": T, "where": np.where}
