"""Find the numbers of a dataset: behind links, in other datasets, in other files."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from .layout import FileError, choose


def find(file: Any, name: str | None) -> tuple[str, Any]:
    """Find a dataset by its name, through links of all kinds, or the only one."""
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
    """Return a description of the broken link on the way to a name, if there is one."""
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


def is_virtual(properties: Any) -> bool:
    """Whether a dataset shows others."""
    return bool(properties.get_layout() == h5py.h5d.VIRTUAL)


def require_sources(dataset: Any, above: tuple[str, ...] = ()) -> None:
    """Check that what a virtual dataset shows is there, since HDF5 gives the fill value where it is not."""
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
                if is_virtual(source.id.get_create_plist()) and key not in above:
                    require_sources(source, (*above, key))
        except OSError as error:
            raise FileError(f"{wanted}, which cannot be read: {error}") from None


def _source(file: str, shows: Path) -> Path:
    """Find a source of a virtual dataset as HDF5 does: by its prefix, beside the file that shows it, from here."""
    if file == ".":
        return shows
    prefix = os.environ.get("HDF5_VDS_PREFIX", "").replace("${ORIGIN}", str(shows.parent))
    beside = Path(prefix or shows.parent, file)
    return Path(file) if not beside.exists() and Path(file).exists() else beside


def require_external(dataset: Any) -> None:
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
