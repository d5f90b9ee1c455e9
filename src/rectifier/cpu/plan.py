"""The words of a plan: what the driver knows of a loop (`driver` says what each means)."""

from __future__ import annotations

KERNEL, COUNT, FIRST, LAST, MASK, SIZE = range(6)
MAX_OPERANDS = 8
