"""Numba scalars: branch-free, so that LLVM turns a loop over them into vector code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import intrinsic


@intrinsic
def where(typingctx, condition, x, y):
    """Select `x` or `y`: one instruction, where a conditional expression is a jump until LLVM removes it."""
    result = typingctx.unify_types(x, y)

    def codegen(context, builder, signature, values):
        chosen = context.cast(builder, values[1], x, result)
        other = context.cast(builder, values[2], y, result)
        return builder.select(values[0], chosen, other)

    return result(condition, x, y), codegen


def words(T: type[np.generic]) -> dict[str, Any]:
    """Give the words for scalars of the working type `T`."""
    return {"T": T, "where": where}
