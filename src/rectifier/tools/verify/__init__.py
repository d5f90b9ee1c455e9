"""``rectifier verify``: every function against the truth, over all inputs or over millions chosen with malice."""

from .results import DTYPES, OPERATIONS, OURS, Row, Stage, Tally
from .verification import verify

__all__ = ["DTYPES", "OPERATIONS", "OURS", "Row", "Stage", "Tally", "verify"]
