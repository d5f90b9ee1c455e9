"""Apply a function to an array in a file, box by box, in bounded memory."""

from __future__ import annotations

from .job import Job, Outcome, run
from .layout import FileError
from .watch import StoppedError, Watch, watched

__all__ = ["FileError", "Job", "Outcome", "StoppedError", "Watch", "run", "watched"]
