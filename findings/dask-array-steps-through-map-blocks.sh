#!/usr/bin/env bash
# dask-array 0.7.1 with dask 2026.8.0: every second row of a `map_blocks` is computed from every second row of its input.
#
# `map_blocks` calls a function on whole blocks. If its result is indexed with a step, or by a list, dask_array takes
# those elements of the input instead and calls the function on less than a block. So a function that looks at more than
# one element, here one that subtracts the mean of a block's columns, gives other numbers, and nothing is said. Of the
# whole block the result is right, and dask.array gives what the whole gives. `blockwise` does the same, and is right
# where `adjust_chunks` names the chunks of all axes.
#
# Seen (of one block of six numbers, 0 to 5):
#   dask.array: y.compute()[::2] [-2.5, -0.5, 1.5], y[::2].compute() [-2.5, -0.5, 1.5], y[[0, 2]].compute() [-2.5, -0.5]
#   dask_array: y.compute()[::2] [-2.5, -0.5, 1.5], y[::2].compute() [-2.0, 0.0, 2.0], y[[0, 2]].compute() [-1.0, 1.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'dask-array==0.7.1' 'dask[array]==2026.8.0' 'numpy==2.4.6' 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
from importlib import import_module
from importlib.metadata import version

import numpy as np


def centred(block):
    return block - block.mean(axis=0, keepdims=True)


print("dask-array", version("dask-array"), "dask", version("dask"), "numpy", np.__version__)
found = {}
for name in ("dask.array", "dask_array"):
    da = import_module(name)
    y = da.from_array(np.arange(6.0), chunks=6).map_blocks(centred, dtype=float)
    found[name] = [a.tolist() for a in (y.compute()[::2], y[::2].compute(), y[[0, 2]].compute())]
    whole, steps, listed = found[name]
    print(f"{name}: y.compute()[::2] {whole}, y[::2].compute() {steps}, y[[0, 2]].compute() {listed}")
right = [-2.5, -0.5, 1.5]
expected = {"dask.array": [right, right, right[:2]], "dask_array": [right, [-2.0, 0.0, 2.0], [-1.0, 1.0]]}
assert found == expected, "the behaviour has changed"
PYTHON
