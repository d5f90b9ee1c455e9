"""Boxes of an array that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from .job import Job
from .layout import Box, FileError, Layout, places
from .watch import resident

# Of a file of 1 GiB in the page cache, pieces of 256 to 512 KiB went fastest: they stay in the second-level cache.
PIECE = 1 << 19
CHUNKED_PIECE = 1 << 24  # a call of HDF5 or Zarr takes some 100 us
RESERVE = 8 << 20  # for what libraries allocate by the way


class Boxes:
    """The boxes of an array, in the order in which its elements run: counted through and never listed.

    Attributes
    ----------
    sides : tuple of int
        Of each box, but for the last of an axis.
    count : int
    """

    def __init__(self, shape: Sequence[int], sides: Sequence[int], fortran: bool) -> None:
        self.sides, self._shape, self._fortran = tuple(sides), tuple(shape), fortran
        self._counts = [-(-length // max(side, 1)) for side, length in zip(sides, shape, strict=True)]
        self.count = math.prod(self._counts)

    def __iter__(self) -> Iterator[Box]:
        order = slice(None, None, -1 if self._fortran else 1)
        for place in places(self._counts[order]):
            yield tuple(
                slice(k * side, min((k + 1) * side, length))
                for k, side, length in zip(place[order], self.sides, self._shape, strict=True)
            )


def plan(job: Job, x: Layout, target: Layout, others: Sequence[Layout], whole: int | None) -> Boxes:
    """Cut the array into boxes: of whole chunks, of whole rows, and so small that they fit into the memory."""
    shape = x.shape
    grid = list(target.chunks or x.chunks or [1] * len(shape))
    if whole is not None:
        grid[whole] = shape[whole]
    sides = [min(side, length) for side, length in zip(grid, shape, strict=True)]
    arrays = [x, target, *others]
    # Of each array a box, where it cannot be written where x was, and whatever one of them takes at a time.
    each = sum(array.dtype.itemsize for array in arrays) * (1 if whole is None else 2)

    def needed() -> int:
        return each * math.prod(sides) + max(array.allocated(sides, x.fortran) for array in arrays)

    taken = RESERVE + sum({id(array): array.codec_bytes for array in arrays}.values())
    room = job.memory - resident() - taken
    axes = range(len(shape)) if x.fortran else range(len(shape) - 1, -1, -1)
    # Where a box is no run of each file, what it costs is the number of its runs: the larger, the fewer.
    scattered = any(array.chunks or not array.runs_as(x.fortran) for array in arrays) or whole not in (None, *axes[:1])
    most = min(room, max(CHUNKED_PIECE if scattered else PIECE, needed()))
    in_order = any(array.in_order for array in arrays)
    if any(array.in_order and not array.runs_as(x.fortran) for array in arrays):
        sides = list(shape)  # read from its beginning to its end, it is in no other order than its own
        in_order = False
    for axis in axes:
        step, low = max(grid[axis], 1), sides[axis]
        lowest, highest = 0, -(-(shape[axis] - low) // step)  # by how many steps it may grow
        while lowest < highest:
            middle = (lowest + highest + 1) // 2
            sides[axis] = min(low + middle * step, shape[axis])
            lowest, highest = (middle, highest) if needed() <= most else (lowest, middle - 1)
        sides[axis] = min(low + lowest * step, shape[axis])
        if sides[axis] < shape[axis] and not in_order:
            break
    if in_order:  # a box must be a run of the file
        seen = False
        for axis in reversed(list(axes)):
            if seen:
                sides[axis] = shape[axis]
            seen = seen or sides[axis] > 1
    if needed() > room:
        least = -(-(needed() + resident() + taken) // (1 << 20))
        raise FileError(f"--memory is too small for one piece of {tuple(sides)}: at least {least}MiB")
    return Boxes(shape, sides, x.fortran)
