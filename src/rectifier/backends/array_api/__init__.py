"""JAX, PyTorch, and any library that follows the Python array API standard."""

from .calls import RANK, capabilities, compute, join, may_share_memory, snapshot

__all__ = ["RANK", "capabilities", "compute", "join", "may_share_memory", "snapshot"]
