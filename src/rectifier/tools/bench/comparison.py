"""Compare two runs of the benchmark, with the baselines as the yardstick."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Protocol

from .batches import DISTRIBUTIONS
from .estimates import shrink, t_tail
from .points import Point
from .results import Run

# No change below this is reported, and none that fewer baselines than this saw: one of them alone may be what changed.
# The third is granted to the logarithm of each baseline's new over old ratio as its standard deviation at least.
LEAST_CHANGE, FEWEST_PAIRS, PAIR_DEVIATION = 0.03, 3, 0.07
SIGNIFICANCE = 0.05


class Estimated(Protocol):
    """A measurement, or what is kept of one."""

    @property
    def baseline(self) -> str:
        """Its name."""

    @property
    def point(self) -> Point:
        """Return what was measured."""

    @property
    def estimate(self) -> tuple[float, float, float]:
        """Logarithm of the ratio, its standard error, and the degrees of freedom of that."""


class Measured(Protocol):
    """A run, or what is kept of one."""

    @property
    def baselines(self) -> Mapping[str, str]:
        """Versions by the baseline's name."""

    @property
    def measurements(self) -> Sequence[Estimated]:
        """One a point and baseline."""


@dataclass(frozen=True)
class Change:
    """The change of the time of ours at a point, relative to its baselines.

    Attributes
    ----------
    point : Point
        Where.
    factor : float
        New time divided by the old; above 1 ours has become slower.
    pairs : int
        From how many baselines, each measured by processes of its own in both runs.
    p : float
        Probability of as much if nothing had changed by more than `LEAST_CHANGE`.
    significant : bool
        After Holm's correction for the number of points.
    """

    point: Point
    factor: float
    pairs: int
    p: float
    significant: bool


def compare(old: Measured, new: Measured) -> list[Change]:
    """Test at each point whether ours has changed, the baselines being the yardstick.

    Each baseline that both runs measured in the same version gives one logarithm of new over old ratio. Their centre
    is the change, and their spread is the noise.

    Parameters
    ----------
    old, new : Run, or what is kept of one
        Of the same plan.

    Returns
    -------
    list of Change
        For each point at which both measured `FEWEST_PAIRS` baselines, the surest first.

    References
    ----------
    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    T. Kalibera and R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013.
    """
    same = {name for name, version in old.baselines.items() if new.baselines.get(name) == version}
    before = {(m.baseline, m.point): m for m in old.measurements if m.baseline in same}
    pairs: dict[Point, list[tuple[Estimated, Estimated]]] = {}
    for m in new.measurements:
        if (m.baseline, m.point) in before:
            pairs.setdefault(m.point, []).append((before[m.baseline, m.point], m))
    tests = sorted((_test(both), point) for point, both in pairs.items() if len(both) >= FEWEST_PAIRS)
    changes, rejecting = [], True
    for rank, ((p, shift), point) in enumerate(tests):
        rejecting = rejecting and p * (len(tests) - rank) <= SIGNIFICANCE
        changes.append(Change(point, math.exp(shift), len(pairs[point]), p, rejecting))
    return changes


def _test(pairs: Sequence[tuple[Estimated, Estimated]]) -> tuple[float, float]:
    """Return the p-value of a change, and its logarithm."""
    shifts = [a.estimate[0] - b.estimate[0] for a, b in pairs]
    # Hodges and Lehmann's estimate, which one baseline in four may not mislead.
    shift = statistics.median((a + b) / 2 for a, b in combinations_with_replacement(shifts, 2))
    expected = statistics.median(a.estimate[1] ** 2 + b.estimate[1] ** 2 for a, b in pairs)
    found = 1.4826 * statistics.median(abs(s - shift) for s in shifts)  # a normal deviation's robust estimate
    variance, degrees = shrink(max(found, PAIR_DEVIATION) ** 2, len(shifts), max(expected, PAIR_DEVIATION**2))
    error = math.sqrt(math.pi / 3 * variance / len(shifts))
    return t_tail(max(0.0, abs(shift) - math.log1p(LEAST_CHANGE)) / error, degrees), shift


def why_not(old: Run, new: Run) -> str:
    """Return why `compare` finds nothing to test in two runs."""
    drawn = [sorted({DISTRIBUTIONS[m.point.distribution].title for m in run.measurements}) for run in (old, new)]
    if not set(drawn[0]) & set(drawn[1]):
        return f"the two files are of different distributions: {', '.join(drawn[0])} and {', '.join(drawn[1])}"
    return f"the two files have no point in common with {FEWEST_PAIRS} rivals in one version"


def comparable(old: Run, new: Run) -> bool:
    """Check whether two runs were made under the same conditions, so that a change is the code's."""
    names = ("processor", "simd", "engine", "cache_bytes")
    return old.threads == new.threads and all(old.machine[name] == new.machine[name] for name in names)


def differences(old: Run, new: Run) -> list[str]:
    """Return a line for each condition in which two runs differ."""
    lines = [
        f"{name}: {before} then, {new.machine.get(name)} now"
        for name, before in old.machine.items()
        if name not in ("versions", "engine_reason") and before != new.machine.get(name)
    ]
    own = ({"threads": run.threads, "commit": run.commit, **run.machine["versions"]} for run in (old, new))
    for a, b in (own, (old.baselines, new.baselines)):
        lines += [f"{name}: {a.get(name)} then, {b.get(name)} now" for name in {**a, **b} if a.get(name) != b.get(name)]
    alone = {(m.baseline, m.point) for m in old.measurements} ^ {(m.baseline, m.point) for m in new.measurements}
    return lines + ([f"{len(alone)} measurements have no counterpart in the other file"] if alone else [])
