"""Dask's arrays, lazily: of ``dask.array``, with and without query planning, and of ``dask_array``."""

from .calls import RANK, add, capabilities, compute, join, may_share_memory, snapshot
from .masks import ChunkedMask

__all__ = ["RANK", "ChunkedMask", "add", "capabilities", "compute", "join", "may_share_memory", "snapshot"]
