"""Arrays in directories of Zarr."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import zarr

from . import attributes
from .layout import ArrayFile, Box, Coordinate, FileError, Wanted, choose, touched, unsupported

# Codecs of the specification and of numcodecs that give back each bit; delta does so of integers alone.
LOSSLESS = frozenset({
    "bytes", "transpose", "sharding_indexed", "gzip", "zstd", "blosc", "crc32c", "zlib", "bz2", "lzma", "lz4",
    "shuffle", "crc32", "adler32", "fletcher32", "jenkins_lookup3", "pcodec", "delta",
})  # fmt: skip
DIMENSIONS = "_ARRAY_DIMENSIONS"  # xarray's, in Zarr 2, which has no names of axes


class Zarr(ArrayFile):
    """An array in a directory of Zarr, version 2 or 3."""

    chunks_at_once = 10  # zarr's `async.concurrency`
    bytes_for_each_chunk = 4 << 10  # 1 to 3 KB for its tasks, measured

    def __init__(self, path: Path, name: str | None = None, writable: bool = False, make: Wanted | None = None) -> None:
        super().__init__(path)
        self._consolidate = False
        if make:
            self._array: Any = self._make(make)
        else:
            if not _is_array(path):
                self.name = _choose(path, name)
            self._array = _open(path / self.name, writable)
        self.shape, self.dtype = self._array.shape, np.dtype(self._array.dtype)
        self.chunks = self._array.shards or self._array.chunks
        self._metadata = self._array.metadata
        self._place = path / self.name
        self.fill = self._metadata.fill_value
        self.holes = self.fill is not None
        self.dimensions = _dimensions(self._array)
        self.attributes = _attributes(self._array)

    def require_in_place(self) -> None:
        """Check that its codecs round nothing."""
        for name in _codecs(_metadata(self._place)):
            if not _is_lossless(name, self.dtype):
                raise FileError(f"its codec {name} may round what is written; name an output")

    def forget(self, names: frozenset[str]) -> None:
        """Remove attributes."""
        if "_FillValue" in names and self._metadata.zarr_format == 2:
            raise FileError("its fill_value stands for missing values, and stays in place; name an output")
        for name in names & set(self._array.attrs):
            del self._array.attrs[name]

    def read(self, box: Box, into: Any) -> None:
        """Read a box."""
        into[...] = self._array[box]

    def write(self, box: Box, array: Any) -> None:
        """Write a box."""
        self._array[box] = array

    def _stored(self, box: Box) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        if not self.holes or not self.chunks:
            return None
        ranges = touched(box, self.chunks)
        there = np.empty([side.stop - side.start for side in ranges], bool)
        for place in np.ndindex(there.shape):
            chunk = tuple(side.start + k for side, k in zip(ranges, place, strict=True))
            there[place] = (self._place / self._metadata.encode_chunk_key(chunk)).exists()
        return there

    def close(self) -> None:
        """Gather the metadata of a group in one place, where those of the input were."""
        if self._consolidate:
            self._consolidate = False
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the specification of version 3 does not have it yet
                zarr.consolidate_metadata(str(self.path))

    def coordinate(self, axis: int) -> Coordinate | None:
        """Return the coordinates of an axis, if it has some."""
        place = self._coordinate_place(axis)
        if place is None:
            return None
        array = _open(self.path / place, False)
        dtype = np.dtype(array.dtype)
        if dtype.kind not in "biufSUOT":
            return None
        return Coordinate(array, dtype, _attributes(array))

    def _coordinate_place(self, axis: int) -> str | None:
        """Find the array that has the name of an axis, in the group of this one or one above."""
        name = self.dimensions[axis]
        if not name or not self.name or "/" in name:
            return None
        for group in PurePosixPath(self.name).parents:
            place = str(group / name)
            if place != self.name and _is_array(self.path / place):
                with contextlib.suppress(FileError):
                    array = _open(self.path / place, False)
                    if array.shape == (self.shape[axis],) and _dimensions(array) == (name,):
                        return place
        return None

    def _make(self, make: Wanted) -> Any:
        """Make an array: alone, or in a group where the input is in one of Zarr or has coordinates."""
        source = make.source
        attributes.note_others(source, self.notes)
        settings: dict[str, Any] = {"chunks": make.chunks or "auto", "shape": make.shape, "dtype": make.dtype}
        if make.chunks:
            settings["chunks"] = tuple(max(side, 1) for side in make.chunks)
        zarr_format = 3
        if isinstance(source, Zarr):
            zarr_format = source._metadata.zarr_format
            settings.update(self._as_before(source, make))
        settings["zarr_format"] = zarr_format
        if zarr_format == 2 and "_FillValue" in make.left:
            settings["fill_value"] = None  # else xarray takes it for missing values
        elif make.fill is not None:
            settings["fill_value"] = make.fill
        elif zarr_format == 2 and isinstance(source, Zarr):
            settings["fill_value"] = None
        if make.dtype.name == "bfloat16":
            _register_bfloat16()
            settings["config"] = {"write_empty_chunks": True}  # Zarr takes -0.0 for a fill value of 0.0 there
        settings["attributes"] = self._attributes_of(make, zarr_format)
        if any(source.dimensions):
            if zarr_format == 2:
                settings["attributes"][DIMENSIONS] = [
                    name or f"dim_{axis}" for axis, name in enumerate(source.dimensions)
                ]
            else:
                settings["dimension_names"] = source.dimensions
        try:
            if not _needs_group(source):
                if source.name and any(source.group_attributes(group) for group in _groups(source.name)):
                    self.notes.append("left out the attributes of the groups that it is in")
                return zarr.create_array(self.path, **settings)
            self.name = make.name
            self._make_groups(source, zarr_format)
            array = zarr.create_array(self.path, name=self.name, **settings)
            self._copy_coordinates(source, zarr_format)
        except (TypeError, ValueError) as error:
            raise FileError(f"Zarr cannot make it: {error}") from None
        return array

    def _as_before(self, source: Zarr, make: Wanted) -> dict[str, Any]:
        """Return what decides how the input is stored, but for codecs that would round the result."""
        old = source._array
        settings: dict[str, Any] = {"compressors": self._kept(old.compressors, make)}
        if make.chunks == source.chunks:
            settings.update(chunks=old.chunks, shards=old.shards)
        settings["filters"] = self._kept(old.filters, make)
        if source._metadata.zarr_format == 2:
            settings["order"] = old.order
            separator = source._metadata.dimension_separator
            settings["chunk_key_encoding"] = {"name": "v2", "separator": separator}
        else:
            (serializer,) = self._kept((old.serializer,), make) or ("auto",)
            if getattr(serializer, "endian", "") is None:  # of numbers of one byte, and the result may have more
                serializer = "auto"
            settings["serializer"] = serializer
            settings["chunk_key_encoding"] = source._metadata.chunk_key_encoding
        return settings

    def _kept(self, codecs: Any, make: Wanted) -> tuple[Any, ...]:
        kept = []
        for codec in codecs:
            name = _codec_name(codec)
            bound = make.dtype != make.source.dtype and name in ("delta", "pcodec")  # to the dtype of the input
            if _is_lossless(name, make.dtype) and not bound:
                kept.append(codec)
            else:
                why = "is of the dtype of the input" if bound else "may round what is written"
                self.notes.append(f"left out codec {name}, which {why}")
        return tuple(kept)

    def _attributes_of(self, make: Wanted, zarr_format: int) -> dict[str, Any]:
        source = make.source
        found = attributes.translate(source.attributes, make.left | {"_FillValue"}, attributes.to_json, self.notes)
        if "_FillValue" in source.attributes and "_FillValue" not in make.left and zarr_format == 3:
            found["_FillValue"] = attributes.encode_fill(source.attributes["_FillValue"], make.dtype)
        return found

    def _make_groups(self, source: ArrayFile, zarr_format: int) -> None:
        for group in _groups(self.name):
            found = attributes.translate(source.group_attributes(group), (), attributes.to_json, self.notes)
            zarr.create_group(self.path / group, zarr_format=zarr_format, attributes=found)
        gathered = isinstance(source, Zarr) and (
            "consolidated_metadata" in _metadata(source.path) or (source.path / ".zmetadata").exists()
        )
        self._consolidate = gathered or not isinstance(source, Zarr)  # as xarray, which reads netCDF and this, wants it

    def group_attributes(self, group: str) -> dict[str, Any]:
        """Return the attributes of a group that the array is in."""
        if not self.name:
            return {}
        return dict(zarr.open_group(self.path / group, mode="r").attrs)

    def _copy_coordinates(self, source: ArrayFile, zarr_format: int) -> None:
        *parents, _ = self.name.split("/")
        for axis, name in enumerate(source.dimensions):
            if isinstance(source, Zarr):
                place = source._coordinate_place(axis)
                if place is not None and not (self.path / place).exists():
                    shutil.copytree(source.path / place, self.path / place)
                continue
            found = source.coordinate(axis) if name else None
            place = "/".join([*parents, str(name)])
            if found is None or (self.path / place).exists():
                continue
            kept = attributes.translate(found.attributes, {"_FillValue"}, attributes.to_json, self.notes)
            if "_FillValue" in found.attributes:
                kept["_FillValue"] = attributes.encode_fill(found.attributes["_FillValue"], found.dtype)
            dtype = found.dtype.newbyteorder("=") if found.dtype.kind in "biuf" else str
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the specification of version 3 has no strings yet
                array = zarr.create_array(
                    self.path, name=place, shape=(source.shape[axis],), dtype=dtype, zarr_format=zarr_format,
                    attributes=kept, dimension_names=(name,),
                )  # fmt: skip
                for begin, part in found.parts():
                    array[begin : begin + len(part)] = part


def _groups(name: str) -> list[str]:
    """Return the groups that an array is in, from the root on."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts))]


def _needs_group(source: ArrayFile) -> bool:
    if isinstance(source, Zarr):
        return bool(source.name)
    return any(source.has_scale(axis) for axis in range(len(source.shape)))


def _open(place: Path, writable: bool) -> Any:
    _require_no_pickle(place)
    metadata = _metadata(place)
    named = metadata.get("data_type", metadata.get("dtype"))
    bfloat16 = metadata.get("data_type") == "bfloat16"
    if bfloat16:
        _register_bfloat16()
    try:
        with zarr.config.set({"array.write_empty_chunks": True}) if bfloat16 else contextlib.nullcontext():
            return zarr.open_array(place, mode="r+" if writable else "r")  # whose own `config` is for new arrays
    except (KeyError, ValueError, TypeError) as error:
        if named == "bfloat16":
            raise FileError(
                "its dtype is bfloat16 in version 2 of Zarr, which Zarr itself reads in version 3 alone"
            ) from None
        if isinstance(named, str) and ("data type" in str(error).lower() or "not understood" in str(error)):
            raise unsupported(named) from None
        raise FileError(f"Zarr cannot open it: {error}") from None


def _register_bfloat16() -> None:
    """Register bfloat16 with Zarr, whose register of extensions has it ("zarr-extensions", data-types/bfloat16)."""
    try:
        import ml_dtypes
        from zarr.dtype import Float16, data_type_registry
    except ImportError:
        raise FileError(
            "its dtype is bfloat16, which needs Zarr 3.1 and ml_dtypes: pip install 'zarr>=3.1' ml_dtypes"
        ) from None

    if "bfloat16" in data_type_registry.contents:
        return
    dtype = np.dtype(ml_dtypes.bfloat16)

    class BFloat16(Float16):  # type: ignore[misc, unused-ignore]
        dtype_cls = type(dtype)
        _zarr_v3_name = "bfloat16"
        _zarr_v2_names = ()

        def to_native_dtype(self) -> Any:
            return dtype

        def to_json(self, zarr_format: Any) -> Any:
            return "bfloat16"

        @classmethod
        def from_native_dtype(cls, native: Any) -> Any:
            if native == dtype:
                return cls()
            return super().from_native_dtype(native)

        def _check_scalar(self, data: Any) -> Any:
            return isinstance(data, dtype.type) or super()._check_scalar(data)

    data_type_registry.register("bfloat16", BFloat16)


def _choose(path: Path, name: str | None) -> str:
    """Choose an array of a group by its name, or the only one."""
    if name is not None:
        parts = PurePosixPath(name.strip("/")).parts
        if ".." not in parts and parts and _is_array(path.joinpath(*parts)):
            return "/".join(parts)
    return choose(name, list(_arrays(path)))


def _arrays(path: Path) -> Iterator[str]:
    """Return the names of the arrays below a directory, without a look at their chunks."""
    for directory, below, _ in os.walk(path):
        below.sort()
        if _is_array(Path(directory)):
            below.clear()
            yield str(PurePosixPath(Path(directory).relative_to(path)))


def _is_array(path: Path) -> bool:
    return (path / ".zarray").is_file() or _metadata(path).get("node_type") == "array"


def _metadata(path: Path) -> Any:
    """Read what Zarr says of an array or a group."""
    for name in (".zarray", "zarr.json"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            try:
                return json.loads((path / name).read_text(encoding="utf-8"))
            except ValueError:
                raise FileError(f"its {name} is no JSON") from None
    return {}


def _dimensions(array: Any) -> tuple[str | None, ...]:
    names = array.metadata.dimension_names if array.metadata.zarr_format == 3 else array.attrs.get(DIMENSIONS)
    return tuple(names) if names and len(names) == len(array.shape) else (None,) * len(array.shape)


def _attributes(array: Any) -> dict[str, Any]:
    """Return the attributes of an array, `_FillValue` among them as xarray has it in either version."""
    found = dict(array.attrs)
    named = found.pop(DIMENSIONS, None)
    if array.metadata.zarr_format == 2:
        if named is not None and array.metadata.fill_value is not None:
            found["_FillValue"] = array.metadata.fill_value
    elif "_FillValue" in found:
        found["_FillValue"] = attributes.decode_fill(found["_FillValue"], np.dtype(array.dtype))
    return found


def _codecs(metadata: Any) -> list[str]:
    """Return the names of the codecs of an array, those within shards among them."""
    found = [*(metadata.get("filters") or ()), metadata.get("compressor"), *metadata.get("codecs", ())]
    names = []
    for codec in found:
        if isinstance(codec, dict):
            names.append(str(codec.get("id") or codec.get("name")).removeprefix("numcodecs."))
            inner = codec.get("configuration") or {}
            names += _codecs({"codecs": inner.get("codecs", ())}) if isinstance(inner, dict) else []
    return names


def _codec_name(codec: Any) -> str:
    name = getattr(codec, "codec_id", None) or codec.to_dict()["name"]
    return str(name).removeprefix("numcodecs.")


def _is_lossless(name: str, dtype: np.dtype[Any]) -> bool:
    return name in LOSSLESS and not (name == "delta" and dtype.kind not in "iu")


def _require_no_pickle(path: Path) -> None:
    metadata = _metadata(path)
    if any("pickle" in name for name in _codecs(metadata)) or metadata.get("dtype") == "|O":
        raise FileError("it holds pickled Python objects, which may run any code: they are not read")
