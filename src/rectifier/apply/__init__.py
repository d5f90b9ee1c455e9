"""Apply a function to an array in a file, box by box, in bounded memory."""

from __future__ import annotations

from .job import Job, Outcome, StoppedError, run
from .layout import FileError

__all__ = ["FileError", "Job", "Outcome", "StoppedError", "run"]
