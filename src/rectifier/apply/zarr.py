"""Arrays in directories of Zarr."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from .layout import ArrayFile, Box, FileError, Wanted, choose


class Zarr(ArrayFile):
    """An array in a directory of Zarr, version 2 or 3."""

    chunks_at_once = 10  # zarr's `async.concurrency`
    bytes_for_each_chunk = 4 << 10  # 1 to 3 KB for its tasks, measured

    def __init__(self, path: Path, name: str | None = None, writable: bool = False, make: Wanted | None = None) -> None:
        import zarr

        super().__init__(path)
        if make:
            self._array: Any = _make_zarr(path, make)
        else:
            array: Any = path
            if not _is_array(path):
                found = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_dir() and _is_array(p))
                self.name = choose(name, found)
                array = path / self.name
            _require_no_pickle(array)
            try:
                self._array = zarr.open_array(array, mode="r+" if writable else "r")
            except (KeyError, ValueError, TypeError) as error:
                raise FileError(f"Zarr cannot open it: {error}") from None
        self.shape, self.dtype = self._array.shape, np.dtype(self._array.dtype)
        self.chunks = self._array.shards or self._array.chunks

    def read(self, box: Box, into: Any) -> None:
        """Read a box."""
        into[...] = self._array[box]

    def write(self, box: Box, array: Any) -> None:
        """Write a box."""
        self._array[box] = array


def _is_array(path: Path) -> bool:
    return (path / ".zarray").is_file() or _metadata(path).get("node_type") == "array"


def _metadata(path: Path) -> Any:
    """Read what Zarr says of an array or a group."""
    for name in (".zarray", "zarr.json"):
        with contextlib.suppress(FileNotFoundError):
            try:
                return json.loads((path / name).read_text(encoding="utf-8"))
            except ValueError:
                raise FileError(f"its {name} is no JSON") from None
    return {}


def _require_no_pickle(path: Path) -> None:
    metadata = _metadata(path)
    codecs = [*(metadata.get("filters") or ()), metadata.get("compressor"), *metadata.get("codecs", ())]
    names = [str(codec.get("id") or codec.get("name")) for codec in codecs if isinstance(codec, dict)]
    if any("pickle" in name for name in names) or metadata.get("dtype") == "|O":
        raise FileError("it holds pickled Python objects, which may run any code: they are not read")


def _make_zarr(path: Path, make: Wanted) -> Any:
    import zarr

    settings: dict[str, Any] = {"chunks": make.chunks or "auto"}
    if isinstance(make.source, Zarr):
        old = make.source._array
        settings.update(zarr_format=old.metadata.zarr_format, compressors=old.compressors)
        if make.chunks == make.source.chunks:
            settings.update(chunks=old.chunks, shards=old.shards)
        settings["attributes"] = dict(old.attrs)
    return zarr.create_array(path, shape=make.shape, dtype=make.dtype, **settings)
