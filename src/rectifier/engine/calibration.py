"""Expectations of this machine before the engine has seen its own calls: how much of the caches is ours.

A third-level cache is shared, on a rented machine with strangers whom nobody counts. So of it only a fair share is
expected: its size by the processors that share it, or where that is not known a multiple of what is a thread's own, its
second-level cache. From there on results go past the caches at first; what is right between twice a thread's own and
twice all that the machine claims to have, the calls themselves teach (`streaming`).

`rectifier tune` measures this with care, and what it found is kept in the store for the processes that come after.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple

from . import limits, store

# Of a thread's second-level cache. On a Zen 3 that says 32 MiB for two processors, of 512 KiB each, in a quiet moment:
# results of 4 MiB took 0.95 to 1.15 of the time through the caches that they took past them, of 8 MiB 1.35 to 1.96, of
# 16 to 48 MiB 1.3 to 1.8.
SHARE = 8
LEAST = 2  # of that: what fits into it twice is not tried past the caches; 2 MiB took 0.6 to 1.0 there
BEYOND = 2  # of all that the machine claims: there is nothing to learn
UNKNOWN = 1 << 19, 1 << 25  # bytes of a second and a last level where the system names none
FETCH = 16  # lines; 8 to 64 are within 5 % on Zen 3, none takes 1.1 to 1.3 times as long
NAME = "calibration 1"  # the number is that of what is kept


class Streaming(NamedTuple):
    """From how many bytes on a result goes past the caches.

    Attributes
    ----------
    from_bytes : int
        At first; for good if `learns` is false.
    least, most : int
        Between these the calls themselves teach what is faster.
    learns : bool
    reason : str
    """

    from_bytes: int
    least: int
    most: int
    learns: bool
    reason: str


@cache
def streaming(threads: int, root: str = "/") -> Streaming:
    """Return what is expected of results that large calls of so many threads make.

    Parameters
    ----------
    threads : int
    root : str
        Where the ``proc`` and ``sys`` directories of Linux are.
    """
    sizes, shared, processors = limits.caches(root), limits.sharing(root), limits.online(root)
    last_name = max(sizes, key=sizes.__getitem__, default="")
    own, last = sizes.get("L2", UNKNOWN[0]) // shared.get("L2", 1), sizes.get(last_name, UNKNOWN[1])
    users = min(threads, processors)
    everything = last * -(-processors // shared.get(last_name, processors))
    tuned = tuning() if root == "/" else None
    if tuned is not None and str(threads) in tuned["stream_from"]:
        start, reason = tuned["stream_from"][str(threads)], f"rectifier tune, {tuned['when']}"
    elif last_name and not limits.is_virtual(root):
        sharers = shared.get(last_name, 1)
        start = last * users // sharers
        reason = f"the share of {users} processors in caches of {_mib(last)}, each of {sharers} processors"
    else:
        start = min(SHARE * own * users, everything)
        reason = f"{SHARE} times the second-level cache of each thread: who shares the {_mib(last)} is not known"
    least = min(LEAST * own * users, start)
    return Streaming(start, least, max(BEYOND * everything, start), True, reason)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.3g} MiB"


@cache
def identity() -> bytes:
    """Return what tells this machine from others, as far as its measurements depend on it."""
    return json.dumps([limits.model(), limits.online(), limits.caches(), limits.sharing()]).encode()


_found: dict[str, Any] = {}


@cache
def tuning() -> dict[str, Any] | None:
    """Return what `rectifier tune` found on this machine: in this process, or else what the store has of it."""
    if _found:
        return _found
    try:
        kept = json.loads(store.read_note(NAME, identity()) or b"null")
        counts = {str(int(count)): int(size) for count, size in kept["stream_from"].items()}
        numbers = {name: int(kept[name]) for name in ("threads", "fetch", "gain")}
        return {"when": str(kept["when"]), "stream_from": counts, **numbers}
    except (ValueError, TypeError, KeyError, AttributeError):  # there is none, or another version wrote it
        return None


def keep(found: dict[str, Any]) -> bool:
    """Use a finding in this process and keep it for later ones; return whether the store took it."""
    before = tuning() or {"stream_from": {}}
    _found.update(found, stream_from={**before["stream_from"], **found["stream_from"]})
    forget()
    return store.write_note(NAME, identity(), json.dumps(_found).encode())


def forget() -> None:
    """Forget what was read from the store, which may be another one now."""
    tuning.cache_clear()
    streaming.cache_clear()
