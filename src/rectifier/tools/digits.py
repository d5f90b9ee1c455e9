"""The handwritten digits of scikit-learn, read from its file: to import that takes longer than to train on them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Labels = NDArray[np.intp]


def load() -> tuple[Pixels, Labels]:
    """Return 1,797 images of 64 pixels from 0 to 1, and the digit that each shows."""
    spec = importlib.util.find_spec("sklearn")
    folders = (spec.submodule_search_locations if spec else None) or ()
    for folder in folders:
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            table = np.loadtxt(file, np.float32, delimiter=",")
            return table[:, :-1] / np.float32(16), table[:, -1].astype(np.intp)
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return (digits.data / 16).astype(np.float32), digits.target.astype(np.intp)


def split(labels: Labels, part: float, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of training and of test samples, the same part of each label for the test."""
    test = [
        places[: round(part * len(places))]
        for places in (rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels))
    ]
    chosen = np.concatenate(test)
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen
