"""Datasets of HDF5 files."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import attributes
from .layout import MOST_BYTES, ArrayFile, Box, Coordinate, FileError, Wanted, choose, touched, unsupported

# Filters that give back each bit, of HDF5 and of its register of plugins; of others nothing is known here.
LOSSLESS = frozenset({
    1, 2, 3, 4, 5,  # deflate, shuffle, Fletcher's checksum, szip, n-bit
    305, 307, 32000, 32001, 32003, 32004, 32008, 32009, 32015, 32026,
    # LZO, bzip2, LZF, Blosc, Snappy, LZ4, bitshuffle, SPDP, Zstandard, Blosc2
})  # fmt: skip
SCALE_OFFSET, BITSHUFFLE, BLOSC2 = 6, 32008, 32026
ABSENT_VARIABLE = "This is a netCDF dimension but not a netCDF variable."  # "NetCDF-4 format specification", NAME
# What the dimension scales API and netCDF write of axes: made anew in the output, since they refer to other objects.
OF_AXES = frozenset({"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS"})
OF_NETCDF = frozenset({"_Netcdf4Dimid", "_Netcdf4Coordinates", "_nc3_strict", "_NCProperties"})
COMPACT_ATTRIBUTE = 60_000  # above 64 KiB with its header an attribute is refused in files of HDF5 1.6
LARGEST_CHUNK = (1 << 32) - 1


class HDF5(ArrayFile):
    """A dataset of an HDF5 file."""

    bytes_for_each_chunk = 8 << 10  # 6 to 7 KB for its place and its selections, measured

    def __init__(self, path: Path, name: str | None = None, writable: bool = False, make: Wanted | None = None) -> None:
        import h5py

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
                self.name, self._dataset = _find(self._file, name)
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
        self.dtype, self._raw = _dtype(identifier.get_type())
        properties = identifier.get_create_plist()
        self._filters = _filters(properties)
        for code, _, _, title in self._filters:
            _require_filter(code, title, "DECODE")
        if _is_virtual(properties):
            _require_sources(self._dataset)
        if properties.get_external_count():
            _require_external(self._dataset)
        self.fill = self._read_fill(properties)
        if self.holes and self.chunks:
            self._counts = tuple(-(-length // side) for length, side in zip(self.shape, self.chunks, strict=True))
            stored = identifier.get_num_chunks()
            self._unwritten = stored < math.prod(self._counts) <= MOST_BYTES  # numbers of chunks are those of 64 bits
            self.codec_bytes = 8 * stored if self._unwritten else 0
        self.attributes = _own(_attributes(self._dataset, self.notes))
        self._scales = _scales(self._dataset, self.notes)
        names = [[_last(scale.name) for scale in scales if scale.name] for scales in self._scales]
        labels = [_label(self._dataset, axis) for axis in range(space.get_simple_extent_ndims())]
        self.dimensions = tuple(named[0] if named else label for named, label in zip(names, labels, strict=True))

    def _read_fill(self, properties: Any) -> Any:
        import h5py

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
        if _is_virtual(properties):
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
            if not _is_lossless(code, values, self.dtype):
                raise FileError(f"{_filter_name(code, title)} may round what is written; name an output")
            _require_filter(code, title, "ENCODE")

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
        import h5py

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
        import h5py

        source = make.source
        old = source._dataset if isinstance(source, HDF5) else None
        properties = self._properties(make)
        space = h5py.h5s.create_simple(make.shape) if make.shape else h5py.h5s.create(h5py.h5s.SCALAR)
        if old is not None and make.chunks and old.maxshape and not _is_virtual(old.id.get_create_plist()):
            limits = tuple(h5py.h5s.UNLIMITED if limit is None else limit for limit in old.maxshape)
            space = h5py.h5s.create_simple(make.shape, limits)
        parents = self.name.rpartition("/")[0]
        if parents:
            self._file.require_group(parents)
        identifier = h5py.h5d.create(self._file.id, self.name.encode(), _datatype(make.dtype), space, properties)
        self._dataset = h5py.Dataset(identifier)
        attributes.note_others(source, self.notes)
        if isinstance(source, HDF5):
            self._copy_attributes(source, make)
        else:
            self._set_attributes(make)
            self._set_dimensions(source, make)

    def _properties(self, make: Wanted) -> Any:
        """Return what decides how a dataset is stored: chunks, filters, fill value."""
        import h5py

        source, size = make.source, make.dtype.itemsize
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_obj_track_times(False)
        chunks = make.chunks if math.prod(make.shape) else None
        if isinstance(source, HDF5):
            old = source._dataset.id.get_create_plist()
            if not (_is_virtual(old) or old.get_external_count()):
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
            properties.set_fill_value(number.astype(np.float32) if _is_bfloat16(number.dtype) else number)
        return properties

    def _keep_filter(
        self, properties: Any, code: int, flags: int, values: tuple[int, ...], title: str, make: Wanted
    ) -> None:
        """Keep a filter that is in copied properties, or take it out if it would round the result."""
        if not _is_lossless(code, values, make.dtype):
            properties.remove_filter(code)
            self.notes.append(f"left out {_filter_name(code, title)}, which may round what is written")
            return
        try:
            _require_filter(code, title, "ENCODE")
        except FileError as error:
            error.path = make.source.path
            raise
        if code == BITSHUFFLE and len(values) > 3:  # it puts version and size of an element before what it is given
            filters = _filters(properties)
            for other, *_ in filters:
                properties.remove_filter(other)
            for other, flag, given, _ in filters:
                properties.set_filter(other, flag, given[3:] if other == BITSHUFFLE else given)

    def _copy_attributes(self, source: HDF5, make: Wanted) -> None:
        """Copy attributes, of the dataset and of the groups it is in, with the scales of its axes."""
        old, new = source._file, self._file
        _copy(old, new, frozenset(), self.notes)
        *parents, _ = self.name.split("/")
        for depth in range(len(parents)):
            group = "/".join(parents[: depth + 1])
            _copy(old[group], new[group], frozenset(), self.notes)
        again = attributes.MISSING if make.dtype != source.dtype else ()
        of_axes = OF_AXES - ({"CLASS", "NAME"} if _is_scale(source._dataset) else set())
        _copy(source._dataset, self._dataset, make.left | of_axes | set(again), self.notes)
        for name in again:
            if name in source.attributes and name not in make.left:
                self._dataset.attrs[name] = attributes.cast(name, source.attributes[name], make.dtype)
        for axis, scales in enumerate(source._scales):
            label = _label(source._dataset, axis)
            if label:
                self._dataset.dims[axis].label = label
            for scale in scales:
                copied = self._copy_scale(scale)
                if copied is not None:
                    self._dataset.dims[axis].attach_scale(copied)

    def _copy_scale(self, scale: Any) -> Any:
        """Copy a dimension scale to where it was; its references are made anew when it is attached."""
        import h5py

        if not scale.name or scale.name.strip("/") == self.name:
            self.notes.append("left out a dimension scale, which has no name of its own")
            return None
        if scale.name not in self._file:
            if scale.parent.name != "/":
                self._file.require_group(scale.parent.name)
            if _is_variable(scale.id.get_type()):  # of these HDF5 copies a fill value as its place in the other file
                copied = self._file.create_dataset(
                    scale.name, scale.shape, scale.dtype, chunks=scale.chunks, maxshape=scale.maxshape
                )
                for begin in range(0, len(scale), 1 << 16):
                    copied[begin : begin + (1 << 16)] = scale[begin : begin + (1 << 16)]
                _copy(scale, copied, {"REFERENCE_LIST"}, self.notes)
            else:
                h5py.h5o.copy(scale.file.id, scale.name.encode(), self._file.id, scale.name.encode())
                copied = self._file[scale.name]
                for name in [name for name in copied.attrs if _is_reference(copied.attrs.get_id(name).get_type())]:
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
            import h5py

            dtype = found.dtype if found.dtype.kind in "biuf" else h5py.string_dtype()
            scale = self._file.create_dataset(place, (length,), dtype)
            for begin, part in found.parts():
                scale[begin : begin + len(part)] = part
            self._translate(found.attributes, frozenset(), scale, found.dtype)
            scale.make_scale(name)
        scale.attrs["_Netcdf4Dimid"] = np.int32(number)

    def has_scale(self, axis: int) -> bool:
        """Tell whether an axis is one of several arrays, as a dimension of netCDF is."""
        return bool(self._scales[axis])

    def group_attributes(self, group: str) -> dict[str, Any]:
        """Return the attributes of a group that the array is in."""
        return _own(_attributes(self._file[group or "/"], self.notes))

    def coordinate(self, axis: int) -> Coordinate | None:
        """Return the coordinates of an axis, if it has some."""
        for scale in self._scales[axis]:
            title = scale.attrs.get("NAME", b"")
            title = title.decode("utf-8", "replace") if isinstance(title, bytes) else str(title)
            if scale.name and scale.shape == (self.shape[axis],) and not title.startswith(ABSENT_VARIABLE):
                string = scale.dtype.kind in "SO"
                if scale.dtype.kind not in "biufSO":
                    continue
                found = _own(_attributes(scale, self.notes))
                return Coordinate(
                    scale.asstr() if string else scale, np.dtype(object) if string else scale.dtype, found
                )
        return None


def _file_settings(source: ArrayFile) -> dict[str, Any]:
    """Return the settings of a file made from a source: attributes beyond 64 KiB need the format of HDF5 1.8."""
    settings: dict[str, Any] = {}
    sizes = []
    if isinstance(source, HDF5):
        import h5py

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


def _find(file: Any, name: str | None) -> tuple[str, Any]:
    """Find a dataset by its name, through links of all kinds, or the only one."""
    import h5py

    if name is not None and name.strip("/"):
        link, name = None, name.strip("/")
        try:
            found = file[name]
            if isinstance(found, h5py.Dataset):
                return name, found
        except (KeyError, OSError, RuntimeError):
            link = _dangling(file, name)
        if link:
            raise FileError(link)
    listed = list(_walk(file))
    datasets: dict[Any, str] = {}
    for place, what in listed:
        if not isinstance(what, str):
            datasets.setdefault(what, place)
    if name is None and len(datasets) == 1:
        (place,) = datasets.values()
        return place, file[place]
    broken = [f"{place} ({what})" for place, what in listed if isinstance(what, str)]
    if name is None and not datasets and broken:
        raise FileError(f"it has no array: there are {', '.join(broken)}")
    return choose(name, [place for place, what in listed if not isinstance(what, str)]), None


def _dangling(file: Any, name: str) -> str | None:
    """Tell what link on the way to a name leads nowhere."""
    import h5py

    parts = name.split("/")
    for depth in range(len(parts)):
        place = "/".join(parts[: depth + 1])
        try:
            link = file.get(place, getlink=True)
        except (KeyError, OSError, RuntimeError):
            return None
        try:
            file[place]
        except (KeyError, OSError, RuntimeError):
            if isinstance(link, h5py.SoftLink):
                return f"{place} is a link to {link.path}, which is not there"
            if isinstance(link, h5py.ExternalLink):
                return f"{place} is a link to {link.path} in {link.filename}, which is not there"
    return None


def _walk(file: Any) -> Iterator[tuple[str, Any]]:
    """Return each name of a dataset, with the object's own identity; of a link that leads nowhere, what it leads to."""
    import h5py

    def identity(item: Any) -> tuple[int, int]:
        found = h5py.h5o.get_info(item.id)
        return found.fileno, found.addr

    def walk(group: Any, prefix: str, above: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
        for key in group:
            place = f"{prefix}{key}"
            try:
                item = group[key]
            except (KeyError, OSError, RuntimeError):
                link = _dangling(file, place)
                if link:
                    yield place, link.partition(" is ")[2]
                continue
            if isinstance(item, h5py.Dataset):
                yield place, identity(item)
            elif isinstance(item, h5py.Group) and identity(item) not in above:
                yield from walk(item, f"{place}/", (*above, identity(item)))

    yield from walk(file, "", (identity(file["/"]),))


_FORMATS = {  # sign, exponent, its bits, mantissa, its bits; bias: of the types that are computed with
    (15, 10, 5, 0, 10, 15): "float16",
    (31, 23, 8, 0, 23, 127): "float32",
    (63, 52, 11, 0, 52, 1023): "float64",
    (15, 7, 8, 0, 7, 127): "bfloat16",
}
_SMALL = {(7, 3, 4, 0, 3): "float8_e4m3", (7, 2, 5, 0, 2): "float8_e5m2"}


def _dtype(datatype: Any) -> tuple[np.dtype[Any], Any]:
    """Return the dtype of a type of HDF5 by what its bits say, and the type to read bits as where h5py has no dtype.

    Raises
    ------
    FileError
        If no dtype of a function holds it; with its right name.
    """
    import h5py

    kind, size = datatype.get_class(), datatype.get_size()
    if kind == h5py.h5t.INTEGER:
        sign = "i" if datatype.get_sign() == h5py.h5t.SGN_2 else "u"
        order = ">" if datatype.get_order() == h5py.h5t.ORDER_BE and size in (2, 4, 8) else "<"
        held = next((width for width in (1, 2, 4, 8) if width >= size), None)
        if held is None:
            raise unsupported(f"an integer of {size} bytes")
        return np.dtype(f"{order}{sign}{held}"), None
    if kind == h5py.h5t.FLOAT:
        return _float(datatype)
    names = {
        h5py.h5t.ENUM: "an enumeration", h5py.h5t.BITFIELD: "a field of bits", h5py.h5t.OPAQUE: "opaque bytes",
        h5py.h5t.COMPOUND: "a record", h5py.h5t.STRING: "a string", h5py.h5t.REFERENCE: "a reference",
        h5py.h5t.ARRAY: "an array", h5py.h5t.VLEN: "a list of any length",
    }  # fmt: skip
    what = names.get(kind, "unknown")
    if kind == getattr(h5py.h5t, "COMPLEX", None):
        what = "complex"
    try:
        known = np.dtype(datatype.dtype)
        if kind == h5py.h5t.ENUM or known.kind not in "OV":
            what = f"{known}" if known.kind in "bcM" else f"{what} ({known})"
    except (TypeError, ValueError, AttributeError):
        pass
    raise unsupported(what)


def _float(datatype: Any) -> tuple[np.dtype[Any], Any]:
    import h5py

    size, fields, bias = datatype.get_size(), datatype.get_fields(), datatype.get_ebias()
    name = _FORMATS.get((*fields, bias))
    implied = datatype.get_norm() == h5py.h5t.NORM_IMPLIED
    whole = datatype.get_precision() == 8 * size and datatype.get_order() in (h5py.h5t.ORDER_LE, h5py.h5t.ORDER_BE)
    if not (name and implied and whole):
        name = _SMALL.get(fields) if size == 1 else None
        sign, exponent, mantissa = 1, fields[2], fields[4]
        raise unsupported(
            name
            or f"a float of {size} bytes with {sign} + {exponent} + {mantissa} bits for sign, exponent and mantissa"
        )
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise FileError("its dtype is bfloat16, which NumPy lacks: pip install ml_dtypes") from None
        return np.dtype(ml_dtypes.bfloat16), _datatype(np.dtype(ml_dtypes.bfloat16))
    dtype = np.dtype(name)
    return dtype.newbyteorder(">" if datatype.get_order() == h5py.h5t.ORDER_BE else "<"), None


def _is_bfloat16(dtype: np.dtype[Any]) -> bool:
    return dtype.name == "bfloat16"


def _datatype(dtype: np.dtype[Any]) -> Any:
    """Return the type of HDF5 of a dtype."""
    import h5py

    if not _is_bfloat16(dtype):
        return h5py.h5t.py_create(dtype, logical=True)
    datatype = h5py.h5t.IEEE_F32LE.copy()
    datatype.set_fields(15, 7, 8, 0, 7)  # before the size, which must not cut off fields
    datatype.set_size(2)
    datatype.set_ebias(127)
    return datatype


def _is_reference(datatype: Any) -> bool:
    """Tell whether values of a type refer to other objects, which an output does not have."""
    import h5py

    kind = datatype.get_class()
    if kind in (h5py.h5t.VLEN, h5py.h5t.ARRAY):
        return _is_reference(datatype.get_super())
    if kind == h5py.h5t.COMPOUND:
        return any(_is_reference(datatype.get_member_type(k)) for k in range(datatype.get_nmembers()))
    return bool(kind == h5py.h5t.REFERENCE)


def _is_variable(datatype: Any) -> bool:
    """Tell whether values of a type have a length of their own, and lie elsewhere in the file."""
    import h5py

    if datatype.get_class() == h5py.h5t.STRING:
        return bool(datatype.is_variable_str())
    if datatype.get_class() == h5py.h5t.COMPOUND:
        return any(_is_variable(datatype.get_member_type(k)) for k in range(datatype.get_nmembers()))
    if datatype.get_class() == h5py.h5t.ARRAY:
        return _is_variable(datatype.get_super())
    return bool(datatype.get_class() == h5py.h5t.VLEN)


def _attributes(item: Any, notes: list[str]) -> dict[str, Any]:
    """Read the attributes that a user gave."""
    found = {}
    for name in item.attrs:
        if name not in OF_AXES:
            try:
                found[name] = item.attrs[name]
            except (TypeError, ValueError, OSError, RuntimeError):
                notes.append(f"left out its attribute {name}, of a type that h5py does not read")
    return found


def _own(found: dict[str, Any]) -> dict[str, Any]:
    """Return attributes without those of netCDF itself, in which one number is an array of one."""
    if not OF_NETCDF & found.keys():
        return found
    return {
        name: value[0] if isinstance(value, np.ndarray) and value.shape == (1,) else value
        for name, value in found.items()
        if name not in OF_NETCDF
    }


def _copy(source: Any, target: Any, leave: frozenset[str] | set[str], notes: list[str]) -> None:
    """Copy attributes with their types, but for references, which would refer to other objects."""
    import h5py

    references, unread = [], []
    for name in source.attrs:
        if name in leave:
            continue
        old = source.attrs.get_id(name)
        datatype, space = old.get_type(), old.get_space()
        if _is_reference(datatype):
            references.append(name)
            continue
        try:
            bits = not _is_variable(datatype)  # through a type of NumPy a text would lose its last character
            value = None
            if space.get_simple_extent_type() != h5py.h5s.NULL and math.prod(old.shape):
                value = np.empty(old.shape, f"V{datatype.get_size()}" if bits else old.dtype)
                old.read(value, datatype if bits else None)
            new = h5py.h5a.create(target.id, name.encode(), datatype.copy(), space)
            if value is not None:
                new.write(value, datatype if bits else None)
        except (TypeError, ValueError, OSError, RuntimeError):
            unread.append(name)
            if name in target.attrs:
                del target.attrs[name]
    where = source.name.strip("/") or "the file"
    if references:
        notes.append(f"left out attributes {', '.join(references)} of {where}, which refer to other objects")
    if unread:
        notes.append(f"left out attributes {', '.join(unread)} of {where}, of types that h5py does not copy")


def _is_scale(dataset: Any) -> bool:
    import h5py

    return bool(h5py.h5ds.is_scale(dataset.id))


def _scales(dataset: Any, notes: list[str]) -> list[list[Any]]:
    """Return the dimension scales of each axis."""
    axes = range(len(dataset.shape))
    if "DIMENSION_LIST" not in dataset.attrs:
        return [[] for _ in axes]
    try:
        return [list(dataset.dims[axis].values()) for axis in axes]
    except (KeyError, OSError, RuntimeError, ValueError):
        notes.append("left out its dimension scales, which are not there")
        return [[] for _ in axes]


def _label(dataset: Any, axis: int) -> str | None:
    return (dataset.dims[axis].label or None) if "DIMENSION_LABELS" in dataset.attrs else None


def _filters(properties: Any) -> list[tuple[int, int, tuple[int, ...], str]]:
    """Return what numbers pass on their way to the disk: code, flags, values and name of each filter."""
    found = []
    for index in range(properties.get_nfilters()):
        code, flags, values, title = properties.get_filter(index)
        found.append((code, flags, values, title.decode("utf-8", "replace")))
    return found


def _filter_name(code: int, title: str) -> str:
    return f"filter {code} ({title.partition(';')[0]})" if title else f"filter {code}"


def _is_lossless(code: int, values: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    if code == SCALE_OFFSET:  # of integers in as many bits as they need
        return values[:2] == (2, 0) and dtype.kind in "iu"
    if code == BLOSC2 and len(values) > 5:
        codec = values[6] if len(values) > 6 else 0
        return values[5] < 4 and codec < 32  # 4 cuts precision; codecs from 32 on are plugins
    return code in LOSSLESS


def _require_filter(code: int, title: str, operation: str) -> None:
    """Check that a filter is there, if need be after those of hdf5plugin were registered."""
    import h5py

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
        raise FileError(f"{_filter_name(code, title)} is needed to {does} it, and this HDF5 lacks it: {advice}")


def _is_virtual(properties: Any) -> bool:
    import h5py

    return bool(properties.get_layout() == h5py.h5d.VIRTUAL)


def _require_sources(dataset: Any, above: tuple[str, ...] = ()) -> None:
    """Check that what a virtual dataset shows is there, since HDF5 gives the fill value where it is not."""
    import h5py

    properties = dataset.id.get_create_plist()
    shown = {
        (properties.get_virtual_filename(index), properties.get_virtual_dsetname(index))
        for index in range(properties.get_virtual_count())
    }
    for file, name in sorted(shown):
        if re.search(r"%(?!%)\d*b", file):  # as many files as there are: what HDF5 calls printf-style
            continue
        place = _source(file, Path(dataset.file.filename))
        wanted = f"{dataset.name} shows {name} of {place}"
        if not place.exists():
            raise FileError(f"{wanted}, which is not there: it would be read as the fill value")
        own = dataset.file if place.samefile(dataset.file.filename) else None
        try:
            with contextlib.nullcontext(own) if own else h5py.File(place, "r") as other:
                source = other.get(name)
                if not isinstance(source, h5py.Dataset):
                    raise FileError(f"{wanted}, which is not in it: it would be read as the fill value")
                key = f"{place.resolve()}:{name}"
                if _is_virtual(source.id.get_create_plist()) and key not in above:
                    _require_sources(source, (*above, key))
        except OSError as error:
            raise FileError(f"{wanted}, which cannot be read: {error}") from None


def _source(file: str, shows: Path) -> Path:
    """Find a source of a virtual dataset as HDF5 does: by its prefix, beside the file that shows it, from here."""
    if file == ".":
        return shows
    prefix = os.environ.get("HDF5_VDS_PREFIX", "").replace("${ORIGIN}", str(shows.parent))
    beside = Path(prefix or shows.parent, file)
    return Path(file) if not beside.exists() and Path(file).exists() else beside


def _require_external(dataset: Any) -> None:
    """Check that the files with the numbers of a dataset are there and whole, since HDF5 gives zeros where they end."""
    properties, left = dataset.id.get_create_plist(), dataset.id.get_type().get_size() * math.prod(dataset.shape)
    prefix = os.environ.get("HDF5_EXTFILE_PREFIX", "").replace("${ORIGIN}", str(Path(dataset.file.filename).parent))
    for index in range(properties.get_external_count()):
        name, offset, size = properties.get_external(index)
        place = Path(prefix, os.fsdecode(name))
        needed = offset + min(left, size)
        if not place.exists() or place.stat().st_size < needed:
            what = "too short" if place.exists() else "not there"
            raise FileError(f"its numbers lie in {place}, which is {what}")
        left -= min(left, size)
