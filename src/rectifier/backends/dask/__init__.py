"""Dask's arrays, lazily: of ``dask.array``, with and without query planning, and of ``dask_array``."""

from .calls import RANK, capabilities, compute, may_share_memory, snapshot
from .masks import ChunkedMask

__all__ = ["RANK", "ChunkedMask", "capabilities", "compute", "may_share_memory", "snapshot"]
