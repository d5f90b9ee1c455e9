"""The engine that computes, compiled by LLVM or NumPy, and the reason."""

from __future__ import annotations

from . import options
from .compiler.target import obstacle

options.CPU.in_force()  # what is no level is refused at the import


class _Engine:
    name, reason = options.ENGINE.in_force()
    if reason == options.ENGINE.variable:
        reason = f"{reason}={name}"
    if name == "llvm" and obstacle():
        name, reason = "numpy", obstacle()


def engine() -> tuple[str, str]:
    """Return which engine makes the loops, and why."""
    return _Engine.name, _Engine.reason


def compiles() -> bool:
    """Return whether the engine that compiles is in use."""
    return _Engine.name == "llvm"


def fall_back(reason: str) -> None:
    """Switch to NumPy for all that is not compiled yet."""
    _Engine.name, _Engine.reason = "numpy", reason
