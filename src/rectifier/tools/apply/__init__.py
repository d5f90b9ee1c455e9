"""Apply a function to an array in a file, box by box, in bounded memory."""

from __future__ import annotations

from .execution import run
from .job import Job
from .layout import FileError
from .outcome import Outcome
from .watch import StoppedError, Watch, watched

__all__ = ["FileError", "Job", "Outcome", "StoppedError", "Watch", "run", "watched"]
