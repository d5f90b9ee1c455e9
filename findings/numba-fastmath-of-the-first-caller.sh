#!/usr/bin/env bash
# Numba 0.68.1: a function compiled with `@njit` alone takes over the fastmath of whoever calls it first, for good.
#
# `isnan` below says nothing of fastmath. Called for the first time from a function with `fastmath=True`, it is compiled
# with that flag, kept for those argument types, and from then on it is wrong for all callers, also when it is called
# directly: NaN is taken for a number. Called directly first, it is compiled without, and is right for all callers, the one
# with fastmath among them. So the order of the first calls in a process decides the results of every later one.
# `@njit(fastmath=False)`, said in so many words, is not overridden.
#
# Seen:
#   first called with fastmath: directly False, from the caller False
#   first called directly: directly True, from the caller True
#   fastmath=False, first called with fastmath: directly True, from the caller True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'numba==0.68.1' 'llvmlite==0.50.0' 'numpy==2.4.6' 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from numba import njit

print("numba", version("numba"))
found = []
for title, options, direct_first in (
    ("first called with fastmath", {}, False),
    ("first called directly", {}, True),
    ("fastmath=False, first called with fastmath", {"fastmath": False}, False),
):
    isnan = njit(**options)(lambda x: x != x)
    caller = njit(fastmath=True)(lambda x: isnan(x))
    if direct_first:
        isnan(0.0)
    from_caller, direct = caller(float("nan")), isnan(float("nan"))
    found.append((direct, from_caller))
    print(f"{title}: directly {direct}, from the caller {from_caller}")
assert found == [(False, False), (True, True), (True, True)], "the behaviour has changed"
PYTHON
