"""Errors in float32 by where x lies: ``python -m rectifier.tools.verify.places benchmarks/errors.json [function ...]``.

The range of float32 is cut into pieces of as many numbers each, and in each the largest error of a sample is found, of
every 2048th number or so. ``rectifier verify --exhaustive`` takes all numbers, and keeps no more than the worst.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...catalogue import CATALOGUE
from ..documents import read, write
from .inputs import rank, ranked
from .single_input import quick_errors
from .truth import near_a_zero, sieve, truth

SCHEMA = "rectifier-errors/1"
PIECES, SAMPLE = 256, 8192
FLOAT32 = np.dtype(np.float32)


def edges() -> tuple[int, int]:
    """Return the ranks of the least and of the largest finite number."""
    largest = np.finfo(np.float32).max
    low, high = rank(np.array([-largest, largest], np.float32)).tolist()
    return low, high


def errors(function: Any, pieces: int = PIECES, sample: int = SAMPLE) -> dict[str, list[float]]:
    """Find the largest error of value and derivative in each piece, in units in the last place.

    Parameters
    ----------
    function : function of the catalogue
        Of one array.
    pieces, sample : int
        How many, and how many numbers are taken of each.

    Returns
    -------
    dict
        By "value" and "derivative". Next to a zero of the derivative nothing is counted: errors are measured otherwise.
    """
    low, high = edges()
    found: dict[str, list[float]] = {"value": [], "derivative": []}
    for bounds in pairwise(np.linspace(low, high, pieces + 1).astype(np.int64)):
        x = ranked(FLOAT32, np.linspace(*bounds, sample).astype(np.int64))
        with np.errstate(all="ignore"):
            exact, near = truth(function.spec, x, sieve), near_a_zero(function.spec, x)
        given = function.spec.required
        for name, result in (("value", function(x, **given)), ("derivative", function.derivative(x, **given))):
            with np.errstate(all="ignore"):
                off = quick_errors(result.astype(np.float64), exact[name], FLOAT32)
            off[near | np.isin(x, [at for at, _ in function.spec.kinks])] = 0
            found[name].append(round(float(off.max()), 3))
    return found


def load(path: Path) -> dict[str, dict[str, list[float]]]:
    """Read what `save` wrote, as `documents.read` does."""
    return read(path, SCHEMA, "python -m rectifier.tools.verify.places", lambda found: dict(found["functions"]))


def save(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Write errors as JSON, a function a line."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found))
    write(path, f'{{"schema": "{SCHEMA}", "functions": {{\n{lines}\n}}}}\n'.encode())


if __name__ == "__main__":
    file = Path(sys.argv[1])
    kept = load(file) if file.exists() else {}
    for name in sys.argv[2:] or [name for name, function in CATALOGUE.items() if function.spec.ulp.float32 > 0.5]:
        kept[name] = errors(CATALOGUE[name])
        print(name, max(kept[name]["value"]), max(kept[name]["derivative"]), flush=True)
        save(kept, file)
