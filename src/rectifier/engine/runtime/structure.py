"""Structures of 64-bit words that compiled code and Python share: how to declare one, and its fields in Python.

A structure is an address. Its class declares the fields in their order, each one word or an array of words::

    class Job(Structure):
        plan: Plan
        extents: Array = words(64)
        strides: Array = words(8, 64)

On an instance, ``job.strides[k, d]`` reads or writes memory at once, in Python; the same expression in a function that
`compiler.subset` translates, whose parameter has the annotation ``job: Job``, becomes an instruction.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

S = TypeVar("S", bound="Structure")


class Array:
    """Words that are one field of a structure, with one or two indices; none is checked."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.address, self.shape = address, shape

    def _word(self, key: int | tuple[int, ...]) -> Any:
        indices = key if isinstance(key, tuple) else (key,)
        place = 0
        for index, extent in zip(indices, self.shape, strict=True):
            place = place * extent + index
        return ctypes.c_int64.from_address(self.address + 8 * place)

    def __getitem__(self, key: int | tuple[int, ...]) -> int:
        number: int = self._word(key).value
        return number

    def __setitem__(self, key: int | tuple[int, ...], value: int) -> None:
        self._word(key).value = value


class Structures(Generic[S]):
    """Structures that are one field of another."""

    def __init__(self, address: int, kind: type[S]) -> None:
        self.address, self.kind = address, kind

    def __getitem__(self, k: int) -> S:
        return self.kind(self.address + 8 * self.kind.WORDS * k)


class Field:
    """A field of a structure: where it lies, and in what shape; () is one word, of which 32 bits may be all."""

    def __init__(self, shape: tuple[int, ...] = (), at: int | None = None, bits: int = 64, element: Any = None) -> None:
        self.shape, self.at, self.bits, self.element = shape, at, bits, element

    def place(self, name: str, kind: str, start: int) -> int:
        """Place the field at a word, or behind it where it says so; return the word behind the field."""
        self.name, self.kind = name, kind
        self.word = start if self.at is None else self.at
        if self.word < start:
            raise TypeError(f"{name} lies within the field before it")
        return self.word + math.prod(self.shape)

    def __get__(self, structure: Structure | None, owner: type[Structure]) -> Any:
        if structure is None:
            return self
        if self.element:
            return Structures(structure + 8 * self.word, self.element)
        if self.shape:
            return Array(structure + 8 * self.word, self.shape)
        return (owner.kind_of(self.name) or int)(self._in(structure).value)

    def __set__(self, structure: Structure, value: int) -> None:
        if self.shape:
            raise TypeError(f"{self.name} is an array")
        self._in(structure).value = value

    def _in(self, structure: Structure) -> Any:
        return (ctypes.c_int64 if self.bits == 64 else ctypes.c_uint32).from_address(structure + 8 * self.word)


def words(*shape: int, at: int | None = None, bits: int = 64) -> Any:
    """Declare a field of so many words, which begins at a word of its structure, or behind the field before."""
    return Field(shape, at, bits)


def structures(kind: type[Structure], number: int) -> Any:
    """Declare a field of so many structures."""
    return Field((number, kind.WORDS), element=kind)


class Structure(int):
    """The address of a structure, whose fields are attributes."""

    fields: ClassVar[dict[str, Field]]
    WORDS: ClassVar[int]

    def __init_subclass__(cls) -> None:
        cls.fields, cls.WORDS = {}, 0
        for name, kind in vars(cls).get("__annotations__", {}).items():
            field = vars(cls).get(name) or Field()
            cls.WORDS = field.place(name, kind, cls.WORDS)
            setattr(cls, name, field)
            cls.fields[name] = field

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise AttributeError(f"{type(self).__name__} has no field {name}")
        object.__setattr__(self, name, value)

    @classmethod
    def new(cls, **values: int | Sequence[int]) -> Self:
        """Make one of zeros and these values, in memory that lives as long as the instance."""
        memory = (ctypes.c_int64 * cls.WORDS)()
        made = cls(ctypes.addressof(memory))
        object.__setattr__(made, "memory", memory)
        made.write(**values)
        return made

    def write(self, **values: int | Sequence[int]) -> None:
        """Write fields; the first elements of one that is an array."""
        for name, value in values.items():
            if isinstance(value, Sequence):
                for k, element in enumerate(value):
                    getattr(self, name)[k] = element
            else:
                setattr(self, name, value)

    def read(self, *names: str) -> dict[str, int]:
        """Read fields, as `write` takes them."""
        return {name: getattr(self, name) for name in names}

    @classmethod
    def kind_of(cls, name: str) -> type[Structure] | None:
        """Return the structure whose address a field holds, or None if it holds a number."""
        kind = vars(sys.modules[cls.__module__]).get(cls.fields[name].kind)
        return kind if isinstance(kind, type) and issubclass(kind, Structure) else None


class Words(Structure):
    """The address of words without names, as many as there are."""

    def __getitem__(self, k: int) -> int:
        number: int = ctypes.c_int64.from_address(self + 8 * k).value
        return number

    def __setitem__(self, k: int, value: int) -> None:
        ctypes.c_int64.from_address(self + 8 * k).value = value
