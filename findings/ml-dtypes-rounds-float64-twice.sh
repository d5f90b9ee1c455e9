#!/usr/bin/env bash
# ml_dtypes 0.6.0: a cast from float64 to a float of eight bits (or fewer, or to bfloat16) rounds to float32 first, and so some numbers twice.
#
# 1.0625 is half-way between 1 and 1.125, which are neighbours in float8_e4m3fn, and 1.0625 (1 + 2^-40) is nearer to 1.125. Float32 makes
# 1.0625 of it, and then the even neighbour is taken, which is 1. Of the numbers next above and below the middle of two neighbours, each second
# one goes to the wrong one, in each of these dtypes.
#
# Seen:
#   ml_dtypes 0.6.0: 1.0625 * (1 + 2**-40) becomes 1 in float8_e4m3fn; 252 of 504 next to a middle are rounded wrongly
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ml_dtypes==0.6.0' 'numpy==2.4.6'
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import ml_dtypes
import numpy as np

kind = np.dtype(ml_dtypes.float8_e4m3fn)
numbers = np.unique(np.arange(256, dtype=np.uint8).view(kind).astype(np.float64))
numbers = numbers[np.isfinite(numbers)]
middles = (numbers[1:] + numbers[:-1]) / 2
away = np.abs(middles) * 2.0**-40
wrong = np.sum((middles - away).astype(kind).astype(float) != numbers[:-1])
wrong += np.sum((middles + away).astype(kind).astype(float) != numbers[1:])
found = float(np.float64(1.0625 * (1 + 2.0**-40)).astype(kind))
print(
    f"ml_dtypes {version('ml_dtypes')}: 1.0625 * (1 + 2**-40) becomes {found:g} in float8_e4m3fn; "
    f"{wrong} of {2 * len(middles)} next to a middle are rounded wrongly"
)
assert found == 1 and wrong > 0, "the behaviour has changed"
PYTHON
