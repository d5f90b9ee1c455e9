"""Copying of elements into tiles and out of them.

Elements that alternate with those of another operand, as those of a packed array may, are copied with them: whole lines
at a time, taken apart or put together by permutations.
"""

from __future__ import annotations

from ..compiler.instructions import (
    copy8,
    copy16,
    copy32,
    copy64,
    copy_memory,
    divide,
    join16,
    join32,
    join64,
    split16,
    split32,
    split64,
)
from .layout import LINE, PAIRED, TILE, Job


def _copy_run(target: int, target_step: int, source: int, source_step: int, n: int, size: int) -> None:
    if target_step == size and source_step == size:
        copy_memory(target, source, n * size)
    elif size == 4:
        for i in range(n):
            copy32(target + i * target_step, source + i * source_step)
    elif size == 8:
        for i in range(n):
            copy64(target + i * target_step, source + i * source_step)
    elif size == 2:
        for i in range(n):
            copy16(target + i * target_step, source + i * source_step)
    else:
        for i in range(n):
            copy8(target + i * target_step, source + i * source_step)


def _split_run(even: int, odd: int, source: int, n: int, size: int) -> None:
    """Copy n pairs of elements apart."""
    i, lanes = 0, divide(LINE, size)
    while i + lanes <= n:
        if size == 4:
            split32(even + i * 4, odd + i * 4, source + i * 8)
        elif size == 2:
            split16(even + i * 2, odd + i * 2, source + i * 4)
        else:
            split64(even + i * 8, odd + i * 8, source + i * 16)
        i += lanes
    _copy_run(even + i * size, size, source + 2 * i * size, 2 * size, n - i, size)
    _copy_run(odd + i * size, size, source + (2 * i + 1) * size, 2 * size, n - i, size)


def _join_run(target: int, even: int, odd: int, n: int, size: int) -> None:
    """Copy n pairs of elements together."""
    i, lanes = 0, divide(LINE, size)
    while i + lanes <= n:
        if size == 4:
            join32(target + i * 8, even + i * 4, odd + i * 4)
        elif size == 2:
            join16(target + i * 4, even + i * 2, odd + i * 2)
        else:
            join64(target + i * 16, even + i * 8, odd + i * 8)
        i += lanes
    _copy_run(target + 2 * i * size, 2 * size, even + i * size, size, n - i, size)
    _copy_run(target + (2 * i + 1) * size, 2 * size, odd + i * size, size, n - i, size)


def copy(job: Job, k: int, at: int, tile: int, n: int, outward: int) -> None:
    """Copy n elements that lie along the last axis, of operand k or of it and the next, into a tile or out of it."""
    size, step = job.widths[k], job.strides[k, job.dimensions - 1]
    if job.modes[k] == PAIRED:
        apart = job.pointers[k + 1] - job.pointers[k]
        even, odd = tile + (TILE if apart < 0 else 0), tile + (0 if apart < 0 else TILE)
        if outward:
            _join_run(at + min(apart, 0), even, odd, n, size)
        else:
            _split_run(even, odd, at + min(apart, 0), n, size)
    elif outward:
        _copy_run(at, step, tile, size, n, size)
    else:
        _copy_run(tile, size, at, step, n, size)
