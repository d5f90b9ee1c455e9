"""Datasets of HDF5 files."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from . import attributes
from .hdf5_attributes import (
    ABSENT_VARIABLE,
    COMPACT_ATTRIBUTE,
    OF_AXES,
    copy,
    is_scale,
    label_of,
    own,
    read_attributes,
    scales_of,
)
from .hdf5_filters import BITSHUFFLE, filter_name, filters_of, is_lossless, require_filter
from .hdf5_links import find, is_virtual, require_external, require_sources
from .hdf5_types import datatype_of, dtype_of, is_bfloat16, is_reference, is_variable
from .layout import MOST_BYTES, ArrayFile, Box, Coordinate, FileError, Wanted, touched

LARGEST_CHUNK = (1 << 32) - 1


class HDF5(ArrayFile):
    """A dataset of an HDF5 file."""

    bytes_for_each_chunk = 8 << 10  # 6 to 7 KB for its place and its selections, measured

    def __init__(self, path: Path, name: str | None = None, writable: bool = False, make: Wanted | None = None) -> None:
        super().__init__(path)
        self._dataset: Any
        self._listed: np.ndarray[Any, np.dtype[np.int64]] | None = None
        self._unwritten = False
        self._counts: tuple[int, ...] = ()
        settings = {}
        if make:
            settings = _file_settings(make.source)
        try:
            self._file = h5py.File(path, "x" if make else "r+" if writable else "r", **settings)
        except OSError as error:
            if error.errno:
                raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
            raise FileError(f"it is no HDF5 file, or is damaged: {error}") from None
        try:
            if make:
                self.name = make.name or "x"
                self._make(make)
            else:
                self.name, self._dataset = find(self._file, name)
            self._look()
        except BaseException:
            self._file.close()
            raise

    def _look(self) -> None:
        """Read how the dataset lies in the file."""
        identifier = self._dataset.id
        space = identifier.get_space()
        if self._dataset.shape is None:
            raise FileError(f"{self.name} is empty: it has a dtype and no shape")
        self.shape, self.chunks = self._dataset.shape, self._dataset.chunks
        self.dtype, self._raw = dtype_of(identifier.get_type())
        properties = identifier.get_create_plist()
        self._filters = filters_of(properties)
        for code, _, _, title in self._filters:
            require_filter(code, title, "DECODE")
        if is_virtual(properties):
            require_sources(self._dataset)
        if properties.get_external_count():
            require_external(self._dataset)
        self.fill = self._read_fill(properties)
        if self.holes and self.chunks:
            self._counts = tuple(-(-length // side) for length, side in zip(self.shape, self.chunks, strict=True))
            stored = identifier.get_num_chunks()
            self._unwritten = stored < math.prod(self._counts) <= MOST_BYTES  # numbers of chunks are those of 64 bits
            self.codec_bytes = 8 * stored if self._unwritten else 0
        self.attributes = own(read_attributes(self._dataset, self.notes))
        self._scales = scales_of(self._dataset, self.notes)
        names = [[_last(scale.name) for scale in scales if scale.name] for scales in self._scales]
        labels = [label_of(self._dataset, axis) for axis in range(space.get_simple_extent_ndims())]
        self.dimensions = tuple(named[0] if named else label for named, label in zip(names, labels, strict=True))

    def _read_fill(self, properties: Any) -> Any:
        self.holes = self.chunks is not None and properties.get_fill_time() != h5py.h5d.FILL_TIME_NEVER
        if properties.fill_value_defined() == h5py.h5d.FILL_VALUE_UNDEFINED:
            self.holes = False
            return None
        number = np.zeros((), np.float32 if self._raw is not None else self.dtype)
        properties.get_fill_value(number)
        return number.astype(self.dtype)[()]

    def require_in_place(self) -> None:
        """Check that writing changes this file alone, and rounds nothing."""
        properties = self._dataset.id.get_create_plist()
        if is_virtual(properties):
            raise FileError(f"{self.name} is a view of other datasets, which would be changed; name an output")
        if properties.get_external_count():
            raise FileError(f"the numbers of {self.name} lie in other files, which would be changed; name an output")
        if self._dataset.file.filename != self._file.filename:
            raise FileError(f"{self.name} lies in another file, {self._dataset.file.filename}; name that one")
        datatype = self._dataset.id.get_type()
        if datatype.get_precision() != 8 * datatype.get_size() or datatype.get_size() != self.dtype.itemsize:
            raise FileError(
                f"its numbers have {datatype.get_precision()} bits, which may not hold the result; name an output"
            )
        for code, _, values, title in self._filters:
            if not is_lossless(code, values, self.dtype):
                raise FileError(f"{filter_name(code, title)} may round what is written; name an output")
            require_filter(code, title, "ENCODE")

    def forget(self, names: frozenset[str]) -> None:
        """Remove attributes."""
        for name in names:
            del self._dataset.attrs[name]

    def read(self, box: Box, into: Any) -> None:
        """Read a box."""
        if not into.size:
            return
        straight = into.flags.c_contiguous and into.dtype == self.dtype
        buffer = into if straight else np.empty(into.shape, self.dtype)
        memory, file = self._spaces(box)
        self._dataset.id.read(memory, file, self._numbers(buffer), mtype=self._raw)
        if not straight:
            into[...] = buffer

    def write(self, box: Box, array: Any) -> None:
        """Write a box."""
        if array.size:
            memory, file = self._spaces(box)
            array = np.ascontiguousarray(array) if array.ndim else array
            self._dataset.id.write(memory, file, self._numbers(array), mtype=self._raw)

    def _numbers(self, array: Any) -> Any:
        """Show numbers to HDF5: of a dtype that h5py does not know, the bits, of the type that the file has."""
        return array if self._raw is None else array.view(np.uint16)

    def _spaces(self, box: Box) -> tuple[Any, Any]:
        if not box:
            return h5py.h5s.ALL, h5py.h5s.ALL
        lengths = tuple(side.stop - side.start for side in box)
        file = self._dataset.id.get_space()
        file.select_hyperslab(tuple(side.start for side in box), lengths)
        return h5py.h5s.create_simple(lengths), file

    def _stored(self, box: Box) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        if not self._unwritten:
            return None
        assert self.chunks is not None
        if self._listed is None:
            self._listed = self._list()
        ranges = [np.arange(side.start, side.stop) for side in touched(box, self.chunks)]
        numbers = np.ravel_multi_index(np.ix_(*ranges), self._counts)
        if not self._listed.size:
            return np.zeros(numbers.shape, bool)
        found: np.ndarray[Any, np.dtype[np.bool_]] = (
            self._listed[np.minimum(np.searchsorted(self._listed, numbers), self._listed.size - 1)] == numbers
        )
        return found

    def _list(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the numbers of the chunks that are in the file, in ascending order; their room is in `codec_bytes`."""
        chunks, counts = self.chunks, self._counts
        assert chunks is not None
        listed, size = np.empty(self._dataset.id.get_num_chunks(), np.int64), 0
        steps = [math.prod(counts[axis + 1 :]) for axis in range(len(counts))]

        def note(stored: Any) -> None:
            nonlocal size
            listed[size] = sum(
                begin // side * step for begin, side, step in zip(stored.chunk_offset, chunks, steps, strict=True)
            )
            size += 1

        if listed.size:
            self._dataset.id.chunk_iter(note)
        listed = listed[:size]
        listed.sort()
        return listed

    def close(self) -> None:
        """Close, when all that was written is in the file."""
        self._file.close()

    def _make(self, make: Wanted) -> None:
        """Make a dataset: as the one it is made of, where that is HDF5, and else with what both formats have."""
        source = make.source
        old = source._dataset if isinstance(source, HDF5) else None
        properties = self._properties(make)
        space = h5py.h5s.create_simple(make.shape) if make.shape else h5py.h5s.create(h5py.h5s.SCALAR)
        if old is not None and make.chunks and old.maxshape and not is_virtual(old.id.get_create_plist()):
            limits = tuple(h5py.h5s.UNLIMITED if limit is None else limit for limit in old.maxshape)
            space = h5py.h5s.create_simple(make.shape, limits)
        parents = self.name.rpartition("/")[0]
        if parents:
            self._file.require_group(parents)
        identifier = h5py.h5d.create(self._file.id, self.name.encode(), datatype_of(make.dtype), space, properties)
        self._dataset = h5py.Dataset(identifier)
        attributes.note_others(source, self.notes)
        if isinstance(source, HDF5):
            self._copy_attributes(source, make)
        else:
            self._set_attributes(make)
            self._set_dimensions(source, make)

    def _properties(self, make: Wanted) -> Any:
        """Return what decides how a dataset is stored: chunks, filters, fill value."""
        source, size = make.source, make.dtype.itemsize
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_obj_track_times(False)
        chunks = make.chunks if math.prod(make.shape) else None
        if isinstance(source, HDF5):
            old = source._dataset.id.get_create_plist()
            if not (is_virtual(old) or old.get_external_count()):
                compact = old.get_layout() == h5py.h5d.COMPACT
                properties, chunks = old.copy(), make.chunks
                if compact and size * math.prod(make.shape) > COMPACT_ATTRIBUTE:
                    properties.set_layout(h5py.h5d.CONTIGUOUS)
                for code, flags, values, title in source._filters:
                    self._keep_filter(properties, code, flags, values, title, make)
        elif chunks:
            chunks = tuple(min(side, length) for side, length in zip(chunks, make.shape, strict=True))
        if chunks:
            if size * math.prod(chunks) > LARGEST_CHUNK:
                raise FileError(
                    f"a chunk of {chunks} is too large for HDF5, which takes 4 GiB; choose others by --chunks"
                )
            properties.set_chunk(chunks)
        zero = make.fill is not None and not any(np.asarray(make.fill).tobytes())
        if make.fill is not None and not (zero and properties.fill_value_defined() == h5py.h5d.FILL_VALUE_DEFAULT):
            number = np.asarray(make.fill)
            properties.set_fill_value(number.astype(np.float32) if is_bfloat16(number.dtype) else number)
        return properties

    def _keep_filter(
        self, properties: Any, code: int, flags: int, values: tuple[int, ...], title: str, make: Wanted
    ) -> None:
        """Remove a filter from copied properties if it would round the result."""
        if not is_lossless(code, values, make.dtype):
            properties.remove_filter(code)
            self.notes.append(f"left out {filter_name(code, title)}, which may round what is written")
            return
        try:
            require_filter(code, title, "ENCODE")
        except FileError as error:
            error.path = make.source.path
            raise
        if code == BITSHUFFLE and len(values) > 3:  # it puts version and size of an element before what it is given
            filters = filters_of(properties)
            for other, *_ in filters:
                properties.remove_filter(other)
            for other, flag, given, _ in filters:
                properties.set_filter(other, flag, given[3:] if other == BITSHUFFLE else given)

    def _copy_attributes(self, source: HDF5, make: Wanted) -> None:
        """Copy attributes, of the dataset and of the groups it is in, with the scales of its axes."""
        old, new = source._file, self._file
        copy(old, new, frozenset(), self.notes)
        *parents, _ = self.name.split("/")
        for depth in range(len(parents)):
            group = "/".join(parents[: depth + 1])
            copy(old[group], new[group], frozenset(), self.notes)
        again = attributes.MISSING if make.dtype != source.dtype else ()
        of_axes = OF_AXES - ({"CLASS", "NAME"} if is_scale(source._dataset) else set())
        copy(source._dataset, self._dataset, make.left | of_axes | set(again), self.notes)
        for name in again:
            if name in source.attributes and name not in make.left:
                self._dataset.attrs[name] = attributes.cast(name, source.attributes[name], make.dtype)
        for axis, scales in enumerate(source._scales):
            label = label_of(source._dataset, axis)
            if label:
                self._dataset.dims[axis].label = label
            for scale in scales:
                copied = self._copy_scale(scale)
                if copied is not None:
                    self._dataset.dims[axis].attach_scale(copied)

    def _copy_scale(self, scale: Any) -> Any:
        """Copy a dimension scale to where it was; its references are made anew when it is attached."""
        if not scale.name or scale.name.strip("/") == self.name:
            self.notes.append("left out a dimension scale, which has no name of its own")
            return None
        if scale.name not in self._file:
            if scale.parent.name != "/":
                self._file.require_group(scale.parent.name)
            if is_variable(scale.id.get_type()):  # of these HDF5 copies a fill value as its place in the other file
                copied = self._file.create_dataset(
                    scale.name, scale.shape, scale.dtype, chunks=scale.chunks, maxshape=scale.maxshape
                )
                for begin in range(0, len(scale), 1 << 16):
                    copied[begin : begin + (1 << 16)] = scale[begin : begin + (1 << 16)]
                copy(scale, copied, {"REFERENCE_LIST"}, self.notes)
            else:
                h5py.h5o.copy(scale.file.id, scale.name.encode(), self._file.id, scale.name.encode())
                copied = self._file[scale.name]
                for name in [name for name in copied.attrs if is_reference(copied.attrs.get_id(name).get_type())]:
                    del copied.attrs[name]
        return self._file[scale.name]

    def _set_attributes(self, make: Wanted) -> None:
        """Set attributes that come from another format, of the groups too."""
        source = make.source
        self._translate(source.attributes, make.left, self._dataset, make.dtype)
        parts = self.name.split("/")
        for group in ["/".join(parts[:depth]) for depth in range(len(parts))]:
            self._translate(source.group_attributes(group), frozenset(), self._file[group or "/"], make.dtype)

    def _translate(self, found: Mapping[str, Any], left: frozenset[str], item: Any, dtype: np.dtype[Any]) -> None:
        if "_FillValue" in found and "_FillValue" not in left:
            item.attrs["_FillValue"] = attributes.cast("_FillValue", found["_FillValue"], dtype)
        kept = attributes.translate(found, left | {"_FillValue"}, attributes.from_json, self.notes)
        for name, value in kept.items():
            item.attrs[name] = value

    def _set_dimensions(self, source: ArrayFile, make: Wanted) -> None:
        """Make dimension scales of the names of axes, with their coordinates where there are some."""
        names = [name for name in source.dimensions if name]
        *parents, last = self.name.split("/")
        for axis, name in enumerate(source.dimensions):
            if not name:
                continue
            if "/" in name or name == last:
                if name == last and len(make.shape) == 1:
                    self._dataset.make_scale(name)
                else:
                    self._dataset.dims[axis].label = name
                continue
            place = "/".join([*parents, name])
            if place not in self._file:
                self._make_scale(place, source, axis, names.index(name))
            scale = self._file[place]
            if scale.shape == (make.shape[axis],):
                self._dataset.dims[axis].attach_scale(scale)
            else:
                self._dataset.dims[axis].label = name

    def _make_scale(self, place: str, source: ArrayFile, axis: int, number: int) -> None:
        length = source.shape[axis]
        name = place.split("/")[-1]
        found = source.coordinate(axis)
        if found is None:
            scale = self._file.create_dataset(place, (length,), ">f4")
            scale.make_scale(f"{ABSENT_VARIABLE}{length:10d}")
        else:
            dtype = found.dtype if found.dtype.kind in "biuf" else h5py.string_dtype()
            scale = self._file.create_dataset(place, (length,), dtype)
            for begin, part in found.parts():
                scale[begin : begin + len(part)] = part
            self._translate(found.attributes, frozenset(), scale, found.dtype)
            scale.make_scale(name)
        scale.attrs["_Netcdf4Dimid"] = np.int32(number)

    def has_scale(self, axis: int) -> bool:
        """Check whether an axis is shared by several arrays, as a dimension of netCDF is."""
        return bool(self._scales[axis])

    def group_attributes(self, group: str) -> dict[str, Any]:
        """Return the attributes of a group that the array is in."""
        return own(read_attributes(self._file[group or "/"], self.notes))

    def coordinate(self, axis: int) -> Coordinate | None:
        """Return the coordinates of an axis, if it has some."""
        for scale in self._scales[axis]:
            title = scale.attrs.get("NAME", b"")
            title = title.decode("utf-8", "replace") if isinstance(title, bytes) else str(title)
            if scale.name and scale.shape == (self.shape[axis],) and not title.startswith(ABSENT_VARIABLE):
                string = scale.dtype.kind in "SO"
                if scale.dtype.kind not in "biufSO":
                    continue
                found = own(read_attributes(scale, self.notes))
                return Coordinate(
                    scale.asstr() if string else scale, np.dtype(object) if string else scale.dtype, found
                )
        return None


def _file_settings(source: ArrayFile) -> dict[str, Any]:
    """Return the settings of a file made from a source: attributes beyond 64 KiB need the format of HDF5 1.8."""
    settings: dict[str, Any] = {}
    sizes = []
    if isinstance(source, HDF5):
        ordered = source._file.id.get_create_plist().get_link_creation_order()
        settings["track_order"] = bool(ordered & h5py.h5p.CRT_ORDER_TRACKED)
        holders = [source._dataset, source._file, *_groups(source._file, source.name)]
        sizes += [_bytes(holder.attrs.get_id(name)) for holder in holders for name in holder.attrs]
    else:
        parts = source.name.split("/")
        groups = [source.group_attributes("/".join(parts[:depth])) for depth in range(len(parts))]
        for value in [value for found in (source.attributes, *groups) for value in found.values()]:
            with contextlib.suppress(TypeError, ValueError):
                sizes.append(getattr(attributes.from_json(value), "nbytes", 0))
    if max(sizes, default=0) > COMPACT_ATTRIBUTE:
        settings["libver"] = ("v108", "latest")
    return settings


def _bytes(attribute: Any) -> int:
    return int(attribute.get_space().get_simple_extent_npoints()) * int(attribute.get_type().get_size())


def _groups(file: Any, name: str) -> list[Any]:
    """Return the groups that an object is in, below the root."""
    parents = name.split("/")[:-1]
    return [file["/".join(parents[: depth + 1])] for depth in range(len(parents))]


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]
