"""Results of a verification: tallies of errors, by operation and library, of a function in a dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from ... import testing

DTYPES = testing.FLOATS
OPERATIONS = ("value", "derivative", "backward")
OURS = "rectifier"
SCHEMA = 1  # of verify.json; also to be raised when a kept result would be found differently
# Long doubles judge what the sieve finds worse than the worst so far by more than this, or above the bound.
MARGIN = 1e-5
SAMPLES = 400
# Long doubles have 64 bits, and the exact result of one operation on two float32 may need more.
EXACT_TO = 1e-9


@dataclass
class Tally:
    """Errors in one operation, of ours or of another library.

    Attributes
    ----------
    points : int
        Inputs that were checked.
    worst_ulp : float
        Largest error, in units in the last place of the exact result; infinite where NaN, an infinity or a number was
        to come out and did not.
    at, result, exact : str
        The input where it is, what came out, and what should have.
    correctly_rounded, within_1_ulp : int
        Results with an error of at most 0.5, and at most 1.
    out_of_order : int
        Pairs of neighbouring inputs between which the truth rises and the results fall, or the other way round.
    out_of_order_at : str
        The lower input of one such pair.
    """

    points: int = 0
    worst_ulp: float = -1.0
    at: str = ""
    result: str = ""
    exact: str = ""
    correctly_rounded: int = 0
    within_1_ulp: int = 0
    out_of_order: int = 0
    out_of_order_at: str = ""

    def count(self, x: Any, result: Any, truth: Any, errors: Any, points: int | None = None) -> None:
        """Count the errors of so many results, of `points`; the others are correctly rounded."""
        points = errors.size if points is None else points
        self.points += points
        self.correctly_rounded += points - int(np.count_nonzero(~(errors <= 0.5 + EXACT_TO)))
        self.within_1_ulp += points - int(np.count_nonzero(~(errors <= 1 + EXACT_TO)))
        k = int(errors.argmax()) if errors.size else -1
        if k >= 0 and errors[k] > self.worst_ulp:
            self.worst_ulp, self.at, self.result = float(errors[k]), str(x[k]), str(result[k])
            self.exact = mpmath.nstr(truth[k], 20) if truth.dtype == object else repr(float(truth[k]))

    def add(self, other: Tally) -> None:
        """Add the tally of another process."""
        worst = max(self, other, key=lambda tally: tally.worst_ulp)
        self.worst_ulp, self.at, self.result, self.exact = worst.worst_ulp, worst.at, worst.result, worst.exact
        self.out_of_order_at = self.out_of_order_at or other.out_of_order_at
        for name in ("points", "correctly_rounded", "within_1_ulp", "out_of_order"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True)
class Row:
    """The result in one operation, of ours or of another library.

    Attributes
    ----------
    operation, source : str
        One of `OPERATIONS`; "rectifier", "PyTorch", "JAX" or "SciPy".
    bound : float or None
        What the block promises; None for others.
    ordered : bool
        Whether neighbours were compared: where every input was taken.
    tally : Tally
        The errors.
    """

    operation: str
    source: str
    bound: float | None
    ordered: bool
    tally: Tally

    @property
    def holds(self) -> bool:
        """Whether no error is above the bound."""
        return self.bound is None or self.tally.worst_ulp <= self.bound + EXACT_TO


@dataclass(frozen=True)
class Stage:
    """A function in a dtype.

    Attributes
    ----------
    function, dtype : str
        Names of the two.
    exhaustive : bool
        Whether all values of the dtype were taken.
    digest : str
        Of what decides the results.
    seconds : float
        How long it took.
    truth_ulp : float
        Largest distance of the sieve from mpmath on samples, in units of `dtype`; 0 where mpmath is all there is.
    versions : dict
        Of the other libraries.
    rows : tuple of Row
        One per operation and library.
    """

    function: str
    dtype: str
    exhaustive: bool
    digest: str
    seconds: float
    truth_ulp: float
    versions: dict[str, str]
    rows: tuple[Row, ...]

    @property
    def holds(self) -> bool:
        """Whether all bounds hold, and the truth was good enough to say so."""
        return self.truth_ulp <= MARGIN and all(row.holds for row in self.rows)

    @property
    def key(self) -> tuple[Any, ...]:
        """Key of what decides the result; a kept stage with the same key is not computed again."""
        return self.function, self.dtype, self.exhaustive, self.digest, tuple(self.versions.items())

    def row(self, operation: str, source: str = OURS) -> Row | None:
        """Return a row, if there is one."""
        return next((row for row in self.rows if (row.operation, row.source) == (operation, source)), None)
