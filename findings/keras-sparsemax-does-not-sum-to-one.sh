#!/usr/bin/env bash
# Keras 3.15.1: `keras.ops.sparsemax` does not project on the simplex: its results do not sum to 1, unless one number is left of a row, or
# in special cases.
#
# Sparsemax takes off every number the same threshold, which is made of the sum of the k largest (Martins and Astudillo 2016, algorithm 1).
# Keras adds up the partial sums of those instead: 0.3 + (0.3 + 0.2) + (0.3 + 0.2 + 0.1) for 0.3 + 0.2 + 0.1.
#
# Seen:
#   keras 3.15.1 of [0.1, 0.2, 0.3]: [0, 0.06667, 0.1667], which sum to 0.2333; the projection is [0.2333, 0.3333, 0.4333]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'keras==3.15.1' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6' 2>/dev/null
JAX_PLATFORMS=cpu KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

x = np.array([0.1, 0.2, 0.3])
found, exact = np.asarray(keras.ops.sparsemax(x[None]))[0], x + (1 - x.sum()) / 3
said = [", ".join(f"{number:.4g}" for number in row) for row in (found, exact)]
print(f"keras {keras.__version__} of [0.1, 0.2, 0.3]: [{said[0]}], which sum to {found.sum():.4g}; the projection is [{said[1]}]")
assert not np.allclose(found, exact) and np.isclose(exact.sum(), 1), "the behaviour has changed"
PYTHON
