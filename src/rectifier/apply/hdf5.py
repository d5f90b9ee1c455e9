"""Datasets of HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .layout import ArrayFile, Box, FileError, Wanted, choose


class HDF5(ArrayFile):
    """A dataset of an HDF5 file."""

    bytes_for_each_chunk = 8 << 10  # 6 to 7 KB for its place and its selections, measured

    def __init__(self, path: Path, name: str | None = None, writable: bool = False, make: Wanted | None = None) -> None:
        import h5py

        super().__init__(path)
        self._dataset: Any
        try:
            self._file = h5py.File(path, "x" if make else "r+" if writable else "r")
        except OSError as error:
            if error.errno:
                raise
            raise FileError(f"it is no HDF5 file, or is damaged: {error}") from None
        try:
            if make:
                self.name = make.name or "x"
                old = make.source._dataset if isinstance(make.source, HDF5) else None
                settings = {}
                if old is not None and make.chunks:
                    names = ("compression", "compression_opts", "shuffle", "fletcher32")
                    settings = {setting: getattr(old, setting) for setting in names}
                self._dataset = self._file.create_dataset(
                    self.name, make.shape, make.dtype, chunks=make.chunks, **settings
                )
                if old is not None:
                    self._dataset.attrs.update(old.attrs)
            else:
                found: list[str] = []
                self._file.visititems(lambda n, item: found.append(n) if isinstance(item, h5py.Dataset) else None)
                self.name = choose(name, found)
                self._dataset = self._file[self.name]
            self.shape, self.dtype, self.chunks = self._dataset.shape, self._dataset.dtype, self._dataset.chunks
            if self.shape is None:
                raise FileError(f"{self.name} is empty: it has a dtype and no shape")
        except BaseException:
            self._file.close()
            raise

    def read(self, box: Box, into: Any) -> None:
        """Read a box."""
        if into.size:
            into[...] = self._dataset[box]

    def write(self, box: Box, array: Any) -> None:
        """Write a box."""
        if array.size:
            self._dataset[box] = array

    def close(self) -> None:
        """Close, when all that was written is in the file."""
        self._file.close()
