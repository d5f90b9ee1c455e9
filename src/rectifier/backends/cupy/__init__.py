"""The GPU: the same formulas in CUDA C++, on CuPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def source_of(spec: Any) -> Callable[..., str]:
    """Make the call of a function that shows what runs on a GPU."""

    def cuda_source(dtype: Any = "float32", direction: str = "value") -> str:
        """Write the CUDA C++ that a GPU runs on contiguous arrays; neither CuPy nor a GPU is needed.

        Parameters
        ----------
        dtype : dtype or str
            Of the arrays, such as "float32" or "bfloat16".
        direction : str
            "value", "derivative", "backward" or "value_and_derivative"; of functions that have a mask "with_mask" or
            "backward_from_mask" too; of functions of two arrays or of rows, "value" or "backward".

        Returns
        -------
        str
            All that the compiler is given.

        Raises
        ------
        TypeError
            If the function does not take the dtype.
        ValueError
            If it has no such direction.

        Examples
        --------
        >>> from rectifier import relu
        >>> text = relu.cuda_source("float32")
        >>> print(text[text.index("const bool") : text.index("y_ =")].strip())
        const bool t0 = le(x, 0.0f);
            const float t1 = t0 ? 0.0f : x;
        """
        from .source import write

        return write(spec, dtype, direction)

    cuda_source.__qualname__ = f"{spec.name}.cuda_source"
    return cuda_source
