"""Fingerprints of machine code: the content of formulas, and the source of the modules that make code of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from ..formulas import with_all_called
from ..functions.required import Required
from ..functions.specification import Specification

_PACKAGE = Path(__file__).parent.parent


class Family(NamedTuple):
    """The modules whose text decides the machine code of one kind of object.

    Attributes
    ----------
    folders : tuple of str
        Every module in these, also one that is added later.
    files : tuple of str
        Single modules of folders that have nothing else to do with the code.
    """

    folders: tuple[str, ...]
    files: tuple[str, ...]

    def modules(self) -> list[Path]:
        """List the modules."""
        found = [_PACKAGE / name for name in self.files]
        for folder in self.folders:
            found += sorted((_PACKAGE / folder).rglob("*.py"))
        return found


# A change of the runtime leaves the kernels valid, and a change of a formula's interpretation the runtime.
KERNELS = Family(
    ("formulas", "engine/compiler"),
    (
        "engine/options.py", "engine/limits.py", "engine/runtime/layout.py",
        "engine/runtime/pool_layout.py", "engine/runtime/structure.py",
        "functions/specification.py", "functions/required.py", "functions/dtypes.py",
    ),
)  # fmt: skip
CATALOGUE = Family(("catalogue",), ())
RUNTIME = Family(("engine/compiler", "engine/runtime"), ("engine/capi.py", "engine/options.py", "engine/limits.py"))


@cache
def source(family: Family) -> bytes:
    """Return the text of a family's modules. Reading it takes a third of a millisecond, once per process."""
    texts = (str(path.relative_to(_PACKAGE)).encode() + b"\0" + path.read_bytes() for path in family.modules())
    return b"\0".join(texts)


def code_of(function: Callable[..., Any]) -> bytes:
    """Return what a Python function computes, by its own code, without its place and its globals.

    Raises
    ------
    TypeError
        If it has constants or defaults that have no content of their own, or is a closure.
    """
    if not isinstance(function, FunctionType) or function.__closure__:
        raise TypeError(f"{function!r} is not a plain function")
    defaults = (function.__defaults__, tuple(sorted((function.__kwdefaults__ or {}).items())))
    return _content((function.__code__, defaults)).encode()


def content_of(spec: Specification) -> bytes:
    """Return what decides the results of a function, the same in every process."""
    return b"\0".join([*map(_code, spec.stated()), repr(spec.flags).encode()])


@cache
def _code(formula: Any) -> bytes:
    return b"\0".join(map(code_of, with_all_called(formula)))


def _content(thing: Any) -> str:
    if isinstance(thing, CodeType):
        return "code" + _content(
            (
                thing.co_code, thing.co_consts, thing.co_names, thing.co_varnames, thing.co_cellvars, thing.co_freevars,
                thing.co_argcount, thing.co_posonlyargcount, thing.co_kwonlyargcount, thing.co_flags,
                getattr(thing, "co_exceptiontable", b""),
            )
        )  # fmt: skip
    if type(thing) is tuple:
        return f"({''.join(_content(part) + ',' for part in thing)})"
    if type(thing) is frozenset:  # in an order that hashes, which are random, do not decide
        return f"{{{''.join(part + ',' for part in sorted(map(_content, thing)))}}}"
    if type(thing) in (Required, bool, int, float, complex, str, bytes, type(None), type(...)):
        return repr(thing)
    raise TypeError(f"{thing!r} has no content that could be written down")
