"""Chunks: which kind of Dask array a value is, how arrays are cut alike, and how a layer is added."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from .. import registry
from .tasks import Pairs, Task

_modules: dict[type, Any] = {}


def module_of(value: Any) -> Any:
    """Return the module whose functions make Dask arrays such as this one; None for any other value."""
    kind = type(value)
    if kind not in _modules:
        library = registry.library_of(kind)
        _modules[kind] = import_module(library) if library in ("dask.array", "dask_array") else None
    return _modules[kind]


def is_lazy(value: Any) -> bool:
    """Return whether a value is a Dask array."""
    return module_of(value) is not None


def one_module(function: str, given: Mapping[str, Any]) -> Any:
    """Return the module of the Dask arrays of a call, which must be of one kind.

    Raises
    ------
    TypeError
        If some are of ``dask.array`` and some of ``dask_array``: neither computes with arrays of the other.
    """
    found: dict[Any, str] = {}
    for name, value in given.items():
        if is_lazy(value):
            found.setdefault(module_of(value), name)
    if len(found) > 1:
        kinds = " and ".join(f"{name} is an array of {module.__name__}" for module, name in found.items())
        raise TypeError(f"{function}: {kinds}; a call takes arrays of one of the two: make all of them with that")
    return next(iter(found))


def has_unknown(sides: Iterable[Any]) -> bool:
    """Return whether Dask does not know one of these sides."""
    return any(math.isnan(side) for side in sides)


def add_layer(
    da: Any,
    call: Task,
    function: str,
    operands: list[Any],
    dtype: np.dtype[Any],
    outputs: int,
    *,
    whole: tuple[str, ...] = (),
    cut: bool = True,
    reduced: tuple[int, ...] = (),
) -> tuple[Any, ...]:
    """Make the arrays that a call gives on the chunks: their dtype is known by rule, so nothing is called for it.

    The operands that `whole` names are not broadcast. Unless `cut`, the last keeps its chunks. Of the `reduced` axes,
    counted from the first, a call leaves one element.
    """
    operands, chunks, call.unknown = _aligned(function, call.names, operands, whole, cut)
    chunks = tuple((1,) if axis in reduced else sizes for axis, sizes in enumerate(chunks))
    like = next((array for array in operands if type(array._meta) is not np.ndarray), operands[0])
    result = _blocks(da, call, operands, chunks, function, like._meta.astype(dtype))
    if outputs == 1:
        return (result,)
    return tuple(map_blocks(da, operator.itemgetter(k), result, function, result._meta) for k in range(outputs))


def map_blocks(da: Any, call: Callable[[Any], Any], array: Any, name: str, meta: Any) -> Any:
    """Call something on each chunk of an array."""
    return _blocks(da, call, [array], array.chunks, name, meta)


def _blocks(da: Any, call: Any, arrays: list[Any], chunks: tuple[Any, ...], name: str, meta: Any) -> Any:
    """Call something on the chunks of arrays whose chunks are aligned at the last axes.

    That the chunks of the result are named for all axes keeps ``dask_array`` from taking the call for elementwise: it
    would compute a slice of the result from a slice of a row, or of a tuple of results. As it is, it takes from each
    array the blocks that have the numbers of those of the slice. An array with one block where the result has several
    has no such blocks: its axis gets an index of its own, and a task gets the block as it is, or in a list.
    """
    index = tuple(range(len(chunks)))[::-1]
    sizes = dict(zip(index, chunks, strict=True))
    pairs: list[Any] = []
    for array in arrays:
        axes = index[len(index) - array.ndim :]
        if da.__name__ == "dask_array":
            axes = tuple(k if number == len(sizes[k]) else ~k for k, number in zip(axes, array.numblocks, strict=True))
        pairs += [array, axes]
    how = {"token": name, "dtype": meta.dtype, "meta": meta, "align_arrays": False}
    return da.blockwise(call, index, *pairs, adjust_chunks=sizes, **how)


def _aligned(
    function: str, names: tuple[str, ...], operands: list[Any], whole: tuple[str, ...], cut: bool
) -> tuple[list[Any], tuple[tuple[Any, ...], ...], Pairs]:
    """Cut operands alike; give them, the chunks of the result, and which sizes only a task can compare.

    Where sizes are unknown nothing can be cut, and Dask would pair chunk by chunk whatever is in them: a chunk of 1
    with one of n, or the only chunk of one array with each of another's. So there the numbers of chunks must be the
    same, and each task compares their sizes.
    """
    ndim = max(array.ndim for array in operands)
    wanted: list[dict[int, Any]] = [{} for _ in operands]  # the chunks of each operand's axes
    chunks, unknown = [], []
    for axis in range(-ndim, 0):
        own = {k: array.chunks[axis] for k, array in enumerate(operands) if array.ndim >= -axis}
        paired = {k: sizes for k, sizes in own.items() if names[k] in whole or sum(sizes) != 1}
        known = {k: sizes for k, sizes in paired.items() if not has_unknown(sizes)}
        if len(known) == len(paired):
            common = _common([*known.values()]) if cut else own[len(operands) - 1]
        else:
            _require_one_number(function, axis + ndim, {names[k]: sizes for k, sizes in paired.items()})
            common = next(iter(known.values()), next(iter(paired.values())))
            if len(paired) > 1:
                unknown.append((axis, tuple(paired)))
        chunks.append(common)
        for k, sizes in own.items():
            target = common if k in known else (1,) if k not in paired else sizes
            if sizes != target:
                wanted[k][axis] = target
    cuts = zip(operands, wanted, strict=True)
    return [_cut(array, sizes) for array, sizes in cuts], tuple(chunks), tuple(unknown)


def in_one_chunk(function: str, name: str, array: Any, axes: tuple[int, ...]) -> Any:
    """Make one chunk of each of these axes, and of those along which there is nothing."""
    several = [k for k, number in enumerate(array.numblocks) if number > 1]
    for axis in axes:
        if axis in several and has_unknown(array.chunks[axis]):
            raise ValueError(
                f"{function}: {name} has {array.numblocks[axis]} chunks of unknown sizes along axis {axis}, and a row "
                "must lie in one chunk; call compute_chunk_sizes() on it first"
            )
    joined = [k for k in several if k in axes or array.shape[k] == 0]
    return _cut(array, {k - array.ndim: (array.shape[k],) for k in joined})


def _common(chunks: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the coarsest chunks of which each of these can be made; they have the same sum."""
    if chunks and not sum(chunks[0]):
        return (0,)
    if all(sizes == chunks[0] for sizes in chunks):
        return chunks[0] if chunks else (1,)
    ends = sorted(set().union(*(itertools.accumulate(sizes) for sizes in chunks)) | {0})
    return tuple(b - a for a, b in itertools.pairwise(ends))


def _require_one_number(function: str, axis: int, chunks: dict[str, tuple[Any, ...]]) -> None:
    if len({len(sizes) for sizes in chunks.values()}) > 1:
        found = ", ".join(f"{name} has {len(sizes)}" for name, sizes in chunks.items())
        raise ValueError(
            f"{function}: along axis {axis} the chunks of these arrays differ in number, {found}, and the sizes of "
            "some are unknown; call compute_chunk_sizes() on the arrays first"
        )


def _cut(array: Any, chunks: dict[int, tuple[int, ...]]) -> Any:
    """Cut axes, counted from the last, into chunks of these sizes."""
    sizes = {array.ndim + axis: sides for axis, sides in chunks.items()}
    if any(array.shape) or not sizes:
        return array.rechunk(sizes)
    nothing = np.empty_like(array._meta, shape=array.shape)  # `rechunk` leaves an array all of whose sides are 0
    return module_of(array).from_array(nothing, chunks=tuple(map(sizes.get, range(array.ndim), array.chunks)))
