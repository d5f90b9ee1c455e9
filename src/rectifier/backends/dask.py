"""The calls on Dask arrays: one layer a call, each of whose tasks is the same call on the arrays that the chunks are.

Nothing is computed here. The graph grows by one task a block, and where two results come back by two more, which only
pick one of them. The chunks may be NumPy's or CuPy's.

There are three kinds of Dask arrays: those of ``dask.array``, those of the same module where the setting
``array.query-planning`` is on, and those of the package ``dask_array``. The last two are expressions, which Dask
rewrites before it makes a graph of them. What is used here all three have; the second lacks much of the first.
"""

from __future__ import annotations

import itertools
import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import dask
import numpy as np
from dask.base import tokenize
from dask.core import flatten
from dask.sizeof import sizeof

from ..engine import process
from ..engine.fingerprint import content_of
from ..functions import arguments, define, dtypes, gradients, subclasses
from ..functions.call import Call, Prepared, prepare
from ..functions.mask import Mask, PartialMask, equal
from ..functions.specification import Gated, Specification
from . import registry

RANK = 0
capabilities = frozenset({"mask", "rows", "gradients"})

Pairs = tuple[tuple[int, tuple[int, ...]], ...]  # an axis counted from the last, and which operands to compare there


class Task:
    """What a task does: call a function, or one of its methods, on the chunks of the named arrays.

    It is small, as each worker gets it. It pickles its function by name; one that another process does not find, since
    it was defined in ``__main__`` or within a function, by its block.
    """

    def __init__(
        self, function: Any, method: str, names: tuple[str, ...], settings: dict[str, Any], unknown: Pairs = ()
    ) -> None:
        self.function, self.method, self.names, self.settings, self.unknown = function, method, names, settings, unknown

    def __call__(self, *chunks: Any) -> Any:
        """Compute one block of the result; a chunk may come in lists of one element."""
        chunks = tuple(_of_depth(chunk, 0) for chunk in chunks)
        for axis, places in self.unknown:
            sizes = {self.names[k]: chunks[k].shape[axis] for k in places}
            self._require_one_size(axis + max(map(np.ndim, chunks)), sizes)
        call = getattr(self.function, self.method) if self.method else self.function
        if self._is_summed_later:
            chunks = _spread(chunks)
        with process.one_thread():  # the scheduler has tasks for the other processors
            return call(**dict(zip(self.names, chunks, strict=True)), **self.settings)

    @property
    def _is_summed_later(self) -> bool:
        """Whether a gradient is summed by Dask, over all chunks; of smaller chunks than its own a call would sum it."""
        return self.method == "backward" and isinstance(self.function.block, Gated)

    def _require_one_size(self, axis: int, sizes: dict[str, int]) -> None:
        """Refuse chunks of different sizes: NumPy would broadcast one of size 1, as it would not do with the whole."""
        if len({*sizes.values()}) > 1:
            function = f"{self.function.__name__}.{self.method}".rstrip(".")
            found = ", ".join(f"{name} has {size}" for name, size in sizes.items())
            raise ValueError(
                f"{function}: chunks that meet differ in size along axis {axis}, {found}; call compute_chunk_sizes() "
                "on the arrays before the call, which then cuts them alike"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        how = self.method, self.names, self.settings, self.unknown
        module, name = self.function.__module__, self.function.__name__
        by_name = module != "__main__" and getattr(sys.modules.get(module), name, None) is self.function
        return (Task, (self.function, *how)) if by_name else (_of_block, (self.function.block, *how))

    def __dask_tokenize__(self) -> Any:
        block = self.function.block
        content = self.function.__module__, block.name, content_of(block)
        return *content, self.method, self.names, self.settings, self.unknown


def _spread(chunks: tuple[Any, ...]) -> tuple[Any, ...]:
    """Broadcast chunks to one shape; of a masked one ``np.broadcast_to`` would drop the mask."""
    shape = np.broadcast_shapes(*(chunk.shape for chunk in chunks))
    return tuple(
        chunk
        if chunk.shape == shape
        else np.ma.MaskedArray(np.broadcast_to(chunk.data, shape), np.broadcast_to(np.ma.getmaskarray(chunk), shape))
        if subclasses.is_masked(chunk)
        else np.broadcast_to(chunk, shape)
        for chunk in chunks
    )


_modules: dict[type, Any] = {}


def _module_of(value: Any) -> Any:
    """Return the module whose functions make Dask arrays such as this one; None for any other value."""
    kind = type(value)
    if kind not in _modules:
        library = registry.library_of(kind)
        _modules[kind] = import_module(library) if library in ("dask.array", "dask_array") else None
    return _modules[kind]


def _is_lazy(value: Any) -> bool:
    return _module_of(value) is not None


def _module(function: str, given: Mapping[str, Any]) -> Any:
    """Return the module of the Dask arrays of a call, which must be of one kind.

    Raises
    ------
    TypeError
        If some are of ``dask.array`` and some of ``dask_array``: neither computes with arrays of the other.
    """
    found: dict[Any, str] = {}
    for name, value in given.items():
        if _is_lazy(value):
            found.setdefault(_module_of(value), name)
    if len(found) > 1:
        kinds = " and ".join(f"{name} is an array of {module.__name__}" for module, name in found.items())
        raise TypeError(f"{function}: {kinds}; a call takes arrays of one of the two: make all of them with that")
    return next(iter(found))


def _of_block(spec: Specification, *how: Any) -> Task:
    """Make a task of the function of a specification, which is made once in a process."""
    return Task(define.of(spec), *how)


def compute(call: Call) -> Any:
    """Add a layer to the graph that makes the same call on the chunks."""
    if call.is_rowwise:
        return _rows(call)
    mask = call.operands.get("mask")
    if mask is not None and not isinstance(mask, ChunkedMask):
        raise TypeError(f"{call.name}: the mask is of a NumPy array, and dy of Dask; take the mask of the Dask array")
    da = _module(call.name, call.arrays)
    prepared = _prepare(call, da)
    dtype, arrays, others = prepared.dtype, *_apart(da, call, prepared)
    if call.gradients:
        numbers = {name: others.pop(name) for name in call.operands if name in others}
        arrays |= {name: _whole(da, dtypes.cast(np.asarray(number), dtype)) for name, number in numbers.items()}
        _require_known_sums(call.name, [*arrays.values()], prepared.shape)
    whole: tuple[str, ...] = ()
    if mask is not None:  # last, so that the others are cut as its bits are packed
        arrays, whole = arrays | {"mask": mask._bits}, ("mask",)
    task = Task(call.function, _method(call), tuple(arrays), others)
    operands, outputs = [*arrays.values()], call.operation.outputs
    results = _layer(da, task, call.name, operands, dtype, len(outputs), whole=whole, cut=mask is None)
    if call.gradients:
        shapes = (arguments.shape_of(call.operands[name]) for name in call.gradients)
        return tuple(gradients.sum_to(gradient, shape, _add) for gradient, shape in zip(results, shapes, strict=True))
    if call.operation.makes_mask:
        y, masks = results
        recorded = registry.snapshot(call.parameters)
        return y, ChunkedMask.made(masks, y.shape, call.spec.full_name, recorded)
    return results if len(results) > 1 else results[0]


def _method(call: Call) -> str:
    return "" if call.method is call.function else call.method.__name__


def _rows(call: Call) -> Any:
    """Compute along rows.

    A row must lie in one chunk, as its sum has one order whatever the chunks are: the arrays are rechunked so.
    """
    da = _module(call.name, call.operands)
    dtype, operands, _, _, axes = _prepare(call, da)
    arrays = {name: array if _is_lazy(array) else _whole(da, array) for name, array in operands.items()}
    *_, last = arrays
    arrays[last] = _in_one_chunk(call.name, last, arrays[last], axes)
    task = Task(call.function, _method(call), tuple(arrays), {"axis": axes})
    (result,) = _layer(da, task, call.name, [*arrays.values()], dtype, 1, whole=tuple(arrays), cut=False)
    return result


def snapshot(value: Any) -> Any:
    """Return a parameter as it is now: an array of Dask can be assigned to, except with query planning."""
    return value.copy() if hasattr(value, "copy") else value


def may_share_memory(a: Any, b: Any) -> bool:
    """Return False: no result is written to an array of Dask."""
    return False


class ChunkedMask(Mask):
    """The mask of a Dask array, packed chunk by chunk; it is as lazy as the array.

    `backward` takes it, `count` and `to_array` give Dask arrays, and ``dask.compute``, ``dask.persist`` and its own
    `compute` and `persist` take it as any other collection: computed, it is an ordinary `Mask`.

    Examples
    --------
    >>> import dask.array as da
    >>> from rectifier import relu
    >>> y, mask = relu.with_mask(da.arange(-4, 4, chunks=4, dtype="float32"))
    >>> mask
    <Mask of relu, shape (8,), in 2 chunks of Dask>
    >>> mask.compute()
    <Mask of relu, shape (8,): 3 of 8 on, 1 byte>
    """

    __slots__ = ()
    _bits: Any  # an array of Dask whose chunks are masks

    def _set(self, bits: Any, shape: tuple[int, ...], function: str, parameters: dict[str, Any]) -> None:
        self._bits, self._shape, self._function, self._parameters = bits, shape, function, parameters

    @property
    def bits(self) -> Any:
        """Refused: they are packed chunk by chunk."""
        raise TypeError("the bits of this mask are packed chunk by chunk; those of mask.compute() are in C order")

    @property
    def nbytes(self) -> int:
        """Bytes that the bits take, of all chunks."""
        sizes = (math.prod(sides) for sides in itertools.product(*self._bits.chunks))
        return sum((size + 7) // 8 for size in sizes)

    def to_array(self) -> Any:
        """Unpack into a Dask array of bool."""
        return self._each(operator.methodcaller("to_array"))

    def _each(self, unpack: Callable[[Mask], Any]) -> Any:
        return _each(_module_of(self._bits), unpack, self._bits, "mask", self._bits._meta.astype(np.bool_))

    def count(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """Count the elements that are on, along these axes or all, as a Dask array."""
        return self._each(Mask.to_array).sum(axis=axis, dtype=np.intp)  # of what is hidden the bits are 0

    def agrees(self, function: str, parameters: Mapping[str, Any]) -> bool:
        """Say whether `function` with `parameters` made this mask, by what is known before anything is computed."""
        return self._function == function and all(
            tokenize(self._parameters[name]) == tokenize(value)
            if _is_lazy(value) or _is_lazy(self._parameters[name])
            else equal(self._parameters[name], value)
            for name, value in parameters.items()
        )

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, ChunkedMask):
            return NotImplemented
        return self._bits.name == other._bits.name

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkedMask.made, (self._bits, self._shape, self._function, self._parameters)

    def __repr__(self) -> str:
        chunks = math.prod(self._bits.numblocks)
        return f"<Mask of {self._function}, shape {self._shape}, in {chunks} chunk{'s' * (chunks > 1)} of Dask>"

    def compute(self, **keywords: Any) -> Mask:
        """Compute it, and give an ordinary mask."""
        mask: Mask = dask.compute(self, **keywords)[0]
        return mask

    def persist(self, **keywords: Any) -> ChunkedMask:
        """Compute it where its chunks are, and keep them there."""
        mask: ChunkedMask = dask.persist(self, **keywords)[0]
        return mask

    # Dask's protocol of a collection, https://docs.dask.org/en/stable/custom-collections.html

    @property
    def __dask_optimize__(self) -> Any:
        return type(self._bits).__dask_optimize__

    @property
    def __dask_scheduler__(self) -> Any:
        return type(self._bits).__dask_scheduler__

    def __dask_graph__(self) -> Any:
        return self._bits.__dask_graph__()

    def __dask_keys__(self) -> Any:
        return self._bits.__dask_keys__()

    def __dask_layers__(self) -> Any:
        return self._bits.__dask_layers__()

    def __dask_tokenize__(self) -> Any:
        return self._bits.name

    # The same for what Dask rewrites before it makes a graph of it; where there is none, the methods above serve.

    def __dask_exprs__(self) -> Any:
        return [self._bits.expr] if hasattr(self._bits, "expr") else None

    def __dask_rebuild_from_exprs__(self, expressions: Any) -> ChunkedMask:
        (expression,) = expressions
        return ChunkedMask.made(type(self._bits)(expression), self._shape, self._function, self._parameters)

    def __dask_postcompute__(self) -> Any:
        return _joined, (self._bits.ndim, self._function, self._parameters)

    def __dask_postpersist__(self) -> Any:
        rebuild, arguments = self._bits.__dask_postpersist__()
        return _persisted, (rebuild, arguments, self._shape, self._function, self._parameters)


@sizeof.register(Mask)  # type: ignore[untyped-decorator]
def _bytes_of(mask: Mask) -> int:
    """Tell the scheduler what a mask takes: by itself it would see an object of 64 bytes."""
    return sys.getsizeof(mask) + mask.nbytes


def _joined(masks: Any, ndim: int, function: str, parameters: dict[str, Any]) -> Mask:
    """Make one mask of those of the chunks, in lists that are nested at least as deep as there are axes."""
    masks = _of_depth(masks, ndim)
    flags = np.block(_unpacked(masks, np.asarray))
    numbers = dask.compute(parameters)[0]
    mask = Mask(np.packbits(flags, bitorder="little"), flags.shape, function, numbers)
    if any(isinstance(chunk, PartialMask) for chunk in flatten([masks])):
        return PartialMask.of(mask, np.block(_unpacked(masks, np.ma.getmaskarray)))
    return mask


def _of_depth(nested: Any, depth: int) -> Any:
    """Leave out outer lists of one element: a graph has one around what has no axis, an expression one around all."""
    found, inner = 0, nested
    while isinstance(inner, list):
        found, inner = found + 1, inner[0]
    for _ in range(found - depth):
        (nested,) = nested
    return nested


def _unpacked(masks: Any, part: Callable[[Any], Any]) -> Any:
    """Take a part, the flags or what is hidden of them, of the array of each mask in nested lists."""
    return part(masks.get().to_array()) if isinstance(masks, Mask) else [_unpacked(inner, part) for inner in masks]


def _persisted(graph: Any, rebuild: Any, arguments: Any, *what: Any, rename: Any = None) -> ChunkedMask:
    bits = rebuild(graph, *arguments, **({"rename": rename} if rename else {}))
    return ChunkedMask.made(bits, *what)


def _whole(da: Any, array: Any) -> Any:
    """Make a Dask array that is cut as the others are."""
    return da.from_array(np.asanyarray(array), chunks=-1)


def _prepare(call: Call, da: Any) -> Prepared:
    """Check the arguments of a call: Dask arrays, arrays to be cut, and numbers that every task gets."""

    def operand(function: str, name: str, value: Any) -> Any:
        if isinstance(value, Mask):
            return value
        if not _is_lazy(value) and registry.is_other(value):
            raise TypeError(
                f"{function}: {name} is a {arguments.full_name(type(value))}, and the call has Dask arrays; "
                f"make one of it by {da.__name__}.from_array({name})"
            )
        operand = arguments.operand(function, name, value)
        return operand[()] if type(operand) is np.ndarray and operand.ndim == 0 else operand

    prepared = prepare(call, operand, broadcast=_shape)
    for name, value in prepared.parameters.items():
        if not _is_lazy(value):
            arguments.fitting(call.name, name, value, prepared.dtype)
    return prepared


def _apart(da: Any, call: Call, prepared: Prepared) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays of a call as Dask's, and the numbers that every task gets."""
    dtype, operands, parameters, *_ = prepared
    given = {name: value for name, value in (operands | parameters).items() if not isinstance(value, Mask)}
    arrays = {
        name: value if _is_lazy(value) else _whole(da, value)
        for name, value in given.items()
        if _is_lazy(value) or np.ndim(value) or subclasses.is_masked(value)
    }
    own = arguments.resolve(call.spec.selects, [given[name] for name in operands if name in given])
    if own.kind in "iu" and dtype != own:  # a task would look at the numbers of a parameter, which may fit
        arrays = {name: array.astype(dtype) if name in operands else array for name, array in arrays.items()}
    return arrays, {name: value for name, value in given.items() if name not in arrays}


def _shape(function: str, operands: Mapping[str, Any]) -> tuple[Any, ...]:
    """Broadcast shapes; NaN stands for an unknown side, which is taken to be that of the others."""
    shapes = {name: arguments.shape_of(array) for name, array in operands.items()}
    result = []
    for sides in itertools.zip_longest(*(shape[::-1] for shape in shapes.values()), fillvalue=1):
        known = {side for side in sides if side != 1 and not math.isnan(side)}
        if len(known) > 1:
            text = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(f"{function}: shapes do not broadcast: {text}")
        result.append(known.pop() if known else math.nan if _unknown(sides) else 1)
    return tuple(result[::-1])


def _require_known_sums(function: str, operands: list[Any], shape: tuple[Any, ...]) -> None:
    """Refuse to sum gradients over sides of which nobody knows whether they were broadcast."""
    alike = all(arguments.may_be_equal(array.shape, shape) for array in operands)
    if not alike and any(_unknown(array.shape) for array in operands):
        raise ValueError(
            f"{function}: a gradient cannot be summed over unknown sides; call compute_chunk_sizes() first"
        )


def _unknown(sides: Iterable[Any]) -> bool:
    return any(math.isnan(side) for side in sides)


def _layer(
    da: Any,
    call: Task,
    function: str,
    operands: list[Any],
    dtype: np.dtype[Any],
    outputs: int,
    *,
    whole: tuple[str, ...] = (),
    cut: bool = True,
) -> tuple[Any, ...]:
    """Make the arrays that a call gives on the chunks: their dtype is known by rule, so nothing is called for it.

    The operands that `whole` names are not broadcast. Unless `cut`, the last keeps its chunks.
    """
    operands, chunks, call.unknown = _aligned(function, call.names, operands, whole, cut)
    like = next((array for array in operands if type(array._meta) is not np.ndarray), operands[0])
    result = _blocks(da, call, operands, chunks, function, like._meta.astype(dtype))
    if outputs == 1:
        return (result,)
    return tuple(_each(da, operator.itemgetter(k), result, function, result._meta) for k in range(outputs))


def _each(da: Any, call: Callable[[Any], Any], array: Any, name: str, meta: Any) -> Any:
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
        known = {k: sizes for k, sizes in paired.items() if not _unknown(sizes)}
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


def _in_one_chunk(function: str, name: str, array: Any, axes: tuple[int, ...]) -> Any:
    """Make one chunk of each of these axes, and of those along which there is nothing."""
    several = [k for k, number in enumerate(array.numblocks) if number > 1]
    for axis in axes:
        if axis in several and _unknown(array.chunks[axis]):
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
    return _module_of(array).from_array(nothing, chunks=tuple(map(sizes.get, range(array.ndim), array.chunks)))


def _add(gradient: Any, axes: tuple[int, ...], shape: tuple[Any, ...]) -> Any:
    """Sum a gradient by chunks, in their order."""
    wide = np.float64 if gradient.dtype.itemsize < 8 else gradient.dtype
    total = gradient.sum(axis=axes, dtype=wide, keepdims=True)
    total = total.map_blocks(dtypes.cast, gradient.dtype, dtype=gradient.dtype)
    return total[(0,) * (gradient.ndim - len(shape))]
