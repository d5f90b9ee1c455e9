"""The command ``rectifier``: one module per command."""

from .application import main

__all__ = ["main"]
