"""SHA-256."""

from __future__ import annotations

import importlib
from contextlib import suppress


def sha256(data: bytes) -> bytes:
    """Return the SHA-256, without OpenSSL, whose loading by `hashlib` takes 8 ms, more than all else here."""
    for module in ("_sha2", "_sha256", "hashlib"):  # as `random` does it: from Python 3.12 on, before, and in any case
        with suppress(ImportError):
            digest: bytes = importlib.import_module(module).sha256(data).digest()
            return digest
    raise ImportError("hashlib")
