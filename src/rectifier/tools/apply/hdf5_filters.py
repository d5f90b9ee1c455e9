"""Filters of HDF5: which are there, and which give back each bit."""

from __future__ import annotations

import importlib.util
from typing import Any

import h5py
import numpy as np

from .layout import FileError

# Filters that give back each bit, of HDF5 and of its register of plugins; of others nothing is known here.
LOSSLESS = frozenset({
    1, 2, 3, 4, 5,  # deflate, shuffle, Fletcher's checksum, szip, n-bit
    305, 307, 32000, 32001, 32003, 32004, 32008, 32009, 32015, 32026,
    # LZO, bzip2, LZF, Blosc, Snappy, LZ4, bitshuffle, SPDP, Zstandard, Blosc2
})  # fmt: skip
SCALE_OFFSET, BITSHUFFLE, BLOSC2 = 6, 32008, 32026


def filters_of(properties: Any) -> list[tuple[int, int, tuple[int, ...], str]]:
    """Return what numbers pass on their way to the disk: code, flags, values and name of each filter."""
    found = []
    for index in range(properties.get_nfilters()):
        code, flags, values, title = properties.get_filter(index)
        found.append((code, flags, values, title.decode("utf-8", "replace")))
    return found


def filter_name(code: int, title: str) -> str:
    """Return the name of a filter for a message."""
    return f"filter {code} ({title.partition(';')[0]})" if title else f"filter {code}"


def is_lossless(code: int, values: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether a filter gives back each bit."""
    if code == SCALE_OFFSET:  # of integers in as many bits as they need
        return values[:2] == (2, 0) and dtype.kind in "iu"
    if code == BLOSC2 and len(values) > 5:
        codec = values[6] if len(values) > 6 else 0
        return values[5] < 4 and codec < 32  # 4 cuts precision; codecs from 32 on are plugins
    return code in LOSSLESS


def require_filter(code: int, title: str, operation: str) -> None:
    """Check that a filter is there, if need be after those of hdf5plugin were registered."""

    def usable() -> bool:
        flag = getattr(h5py.h5z, f"FILTER_CONFIG_{operation}_ENABLED")
        return bool(h5py.h5z.filter_avail(code) and h5py.h5z.get_filter_info(code) & flag)

    if usable():
        return
    installed = importlib.util.find_spec("hdf5plugin") is not None
    if installed:
        import hdf5plugin  # noqa: F401
    if not usable():
        does = "decompress" if operation == "DECODE" else "compress"
        advice = "and hdf5plugin does not either" if installed else "pip install hdf5plugin"
        raise FileError(f"{filter_name(code, title)} is needed to {does} it, and this HDF5 lacks it: {advice}")
