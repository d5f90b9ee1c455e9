"""The names in an object file."""

from __future__ import annotations

import struct


def is_elf(code: bytes) -> bool:
    """Return whether an object is in the format that `symbols` reads: ELF, of 64 bits."""
    return code.startswith(b"\x7fELF\x02")


def symbols(code: bytes) -> tuple[set[str], set[str]]:
    """Return the functions that an ELF object defines, and the names that it needs.

    Raises
    ------
    ValueError
        If it is no such object.
    """
    order = {b"\1": "<", b"\2": ">"}.get(code[5:6])
    if not is_elf(code) or order is None:
        raise ValueError("not an ELF object of 64 bits")
    defined, undefined = set(), set()
    try:
        (table,) = struct.unpack_from(f"{order}Q", code, 40)
        size, count = struct.unpack_from(f"{order}HH", code, 58)
        sections = [struct.unpack_from(f"{order}IIQQQQIIQQ", code, table + k * size) for k in range(count)]
        for _, kind, _, _, start, length, strings, _, _, _ in sections:
            if kind != 2:  # SHT_SYMTAB
                continue
            names = sections[strings][4]
            for at in range(start + 24, start + length, 24):  # the first is none
                name, info, _, section = struct.unpack_from(f"{order}IBBH", code, at)
                text = code[names + name : code.index(b"\0", names + name)].decode()
                if section == 0:
                    undefined.add(text)
                elif info == 0x12:  # a function, global
                    defined.add(text)
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError("a damaged ELF object") from error
    return defined, undefined
