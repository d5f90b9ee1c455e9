#!/usr/bin/env bash
# JAX 0.10.2 on the CPU: under `jit` half of a number and half of another have an infinite sum, where both halves are finite.
#
# Whoever halves two numbers before they are added does so that the sum of the largest is finite. XLA's algebraic simplifier takes
# the common factor out, `0.5 * x + 0.5 * y` becomes `0.5 * (x + y)`, and x + y is infinite. Without `jit` each operation is compiled
# by itself, and the mean is right. It is so in float32 and in float64, and for another factor as well.
#
# Seen (x = y = 3e38 in float32, 1.5e308 in float64):
#   float32: 0.5 x + 0.5 y is 3e+38, jitted inf; 0.25 x + 0.25 y is 1.5e+38, jitted inf
#   float64: 0.5 x + 0.5 y is 1.5e+308, jitted inf; 0.25 x + 0.25 y is 7.5e+307, jitted inf
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6' 2>/dev/null
JAX_PLATFORMS=cpu JAX_ENABLE_X64=1 "$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

print("jax", version("jax"), "jaxlib", version("jaxlib"), "numpy", np.__version__)
for dtype, large in (("float32", 3e38), ("float64", 1.5e308)):
    x = jnp.full(4, large, dtype)
    said = []
    for factor in (0.5, 0.25):
        mean = lambda x, y, factor=factor: factor * x + factor * y
        eager, jitted = float(mean(x, x)[0]), float(jax.jit(mean)(x, x)[0])
        said.append(f"{factor} x + {factor} y is {eager:.3g}, jitted {jitted:g}")
        assert np.isclose(eager, 2 * factor * large) and jitted == np.inf, "the behaviour has changed"
    print(f"{dtype}: {'; '.join(said)}")
PYTHON
