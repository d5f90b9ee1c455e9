"""Apply a function to an array in a file, box by box, in bounded memory."""

from __future__ import annotations

from .execution import run
from .job import Job, Outcome
from .layout import FileError
from .watch import StoppedError, Watch, watched

__all__ = ["FileError", "Job", "Outcome", "StoppedError", "Watch", "run", "watched"]
