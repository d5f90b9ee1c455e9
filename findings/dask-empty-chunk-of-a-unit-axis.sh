#!/usr/bin/env bash
# Dask 2026.8.0 with NumPy 2.4.6: an axis of length 1 in the chunks (0, 1) doubles when a number is added.
#
# Such chunks are valid: a boolean condition leaves an empty chunk, and compute_chunk_sizes() then knows it. With a number
# Dask takes the axis for one that is broadcast, since its length is 1, and pairs its last chunk with both places. With
# another array of the same chunks, and in a ufunc of one array, the result is right.
#
# Seen:
#   x: announced (1, 3), computed (1, 3)
#   x + 0: announced (1, 3), computed (2, 3)
#   x + x: announced (1, 3), computed (1, 3)
#   np.exp(x): announced (1, 3), computed (1, 3)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'dask[array]==2026.8.0' 'numpy==2.4.6' 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import dask
import dask.array as da
import numpy as np

x = da.from_array(np.ones((1, 3)), chunks=((0, 1), (3,)))
results = {"x": x, "x + 0": x + 0, "x + x": x + x, "np.exp(x)": np.exp(x)}
print("dask", dask.__version__, "numpy", np.__version__)
computed = {name: array.compute(scheduler="sync").shape for name, array in results.items()}
for name, array in results.items():
    print(f"{name}: announced {array.shape}, computed {computed[name]}")
expected = {"x": (1, 3), "x + 0": (2, 3), "x + x": (1, 3), "np.exp(x)": (1, 3)}
assert computed == expected, "the behaviour has changed"
PYTHON
