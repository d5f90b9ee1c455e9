"""Packages that the commands need beyond the library's own, and the extra that brings each."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from ..functions import missing

# By the names they are imported by. Those of "cli" each extra of a command brings as well.
PACKAGES: dict[str, tuple[str, ...]] = {
    "cli": ("rich", "typer"),
    "apply": ("h5py", "zarr"),
    "bench": ("matplotlib", "scipy"),
    "demo": ("matplotlib", "sklearn"),
    "distributed": ("dask", "distributed"),
    "verify": ("ml_dtypes", "mpmath", "scipy"),
}
_NAMES = {"sklearn": "scikit-learn"}  # in the package index


def lacking(what: str, extra: str, packages: Iterable[str] = ()) -> str:
    """Return a line that says which packages something needs, or nothing if they are installed.

    Parameters
    ----------
    what : str
        What needs them.
    extra : str
        Which brings them.
    packages : iterable of str
        By the names they are imported by; those of the extra if none.
    """
    absent = [name for name in packages or PACKAGES[extra] if not _is_installed(name)]
    if not absent:
        return ""
    *others, last = (_NAMES.get(name, name) for name in absent)
    names = f"{', '.join(others)} and {last}, which are" if others else f"{last}, which is"
    return missing.sentence(what, names, extra)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # whoever finds modules refuses this one
        return False
