"""Machine code that a wheel brings: that of this package's own functions, for levels of processors.

A file for each level lies beside this module, written when the wheel is built (`rectifier.tools.ahead`) and never
after. It holds the fingerprint of the sources that it was made of; where they are others, it is not used.

====================  ====================================================
MAGIC, 32 bytes       and the fingerprint
8 bytes               how many objects there are
48 bytes each         in order: hash of what it is, where it begins, its length
the objects
====================  ====================================================
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from .compiler.levels import LEVELS
from .compiler.target import Target, host, of_level
from .digest import sha256
from .fingerprint import CATALOGUE, KERNELS, RUNTIME, source

MAGIC = b"rectifier ahead1"
FOLDER = Path(__file__).parent / "ahead_objects"
ROW, HEAD = 48, len(MAGIC) + 32 + 8


def fingerprint() -> bytes:
    """Hash the text of all that decides the code of this package's own functions."""
    return sha256(b"\0".join(map(source, (KERNELS, RUNTIME, CATALOGUE))))


def name_of(code: str, own: bytes) -> bytes:
    """Hash what a piece of code is."""
    return sha256(code.encode() + b"\0" + own)


def write(path: Path, objects: Mapping[bytes, bytes]) -> None:
    """Write the objects of a level to a file, by the hashes of what they are."""
    rows, place = [], HEAD + ROW * len(objects)
    for name in sorted(objects):
        length = len(objects[name])
        rows.append(name + place.to_bytes(8, "little") + length.to_bytes(8, "little"))
        place += length
    head = MAGIC + fingerprint() + len(objects).to_bytes(8, "little")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join([head, *rows, *[objects[name] for name in sorted(objects)]]))


def read(code: str, own: bytes) -> bytes | None:
    """Return an object that this processor can run, if the wheel brought one."""
    found = _objects()
    if found is None:
        return None
    name, rows = name_of(code, own), range(int.from_bytes(found[HEAD - 8 : HEAD], "little"))

    def row(k: int) -> bytes:
        return bytes(found[HEAD + ROW * k : HEAD + ROW * (k + 1)])

    k = bisect_left(rows, name, key=lambda k: row(k)[:32])
    if k == len(rows) or row(k)[:32] != name:
        return None
    place, length = (int.from_bytes(row(k)[start : start + 8], "little") for start in (32, 40))
    return bytes(found[place : place + length])


def levels(target: Target) -> list[str]:
    """List the levels whose code a processor can run, the richest first."""
    own = set(target.features.split(","))
    return [
        level
        for level in reversed(LEVELS.get(target.architecture, {}))
        if set(of_level(target.triple, level).features.split(",")) <= own | {"+neon"}
    ]


@cache
def _objects() -> Any:
    """Map the file of the richest level that is there; None where none is, or of other sources."""
    if not FOLDER.is_dir():
        return None
    for level in levels(host()):
        with suppress(OSError, ValueError), open(FOLDER / level, "rb") as file:
            found = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if found[: HEAD - 8] == MAGIC + fingerprint():
                return found
    return None
