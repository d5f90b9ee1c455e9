"""Arrays with labels and nulls: of pandas, Polars, PyArrow and xarray."""

from .calls import RANK, capabilities, compute, may_share_memory, snapshot

__all__ = ["RANK", "capabilities", "compute", "may_share_memory", "snapshot"]
