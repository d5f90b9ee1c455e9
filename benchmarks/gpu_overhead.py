"""What a call on CuPy arrays costs in Python before its kernel is launched, in microseconds; no GPU is needed.

    python benchmarks/gpu_overhead.py

The arrays are CuPy's own, so their attributes cost what they cost on a device; they lie at addresses that nobody reads.
What would ask a driver is replaced by a Python function that does nothing: the number of the current device, the
launch, and the allocator, which hands out one address where CuPy's pool looks for a block. So a figure is all that runs
from the public function to `RawKernel.__call__`, and `cupy.empty` for the results. That is listed by itself, since
CuPy's own functions make their results, too. What `ElementwiseKernel.__call__` takes cannot be timed like this: it asks
the driver for the device from compiled code, before it looks at its arguments.

Each figure is the least of 200 rounds of 300 calls that follow a first one; in a round all cases have their turn.
"""

import contextlib
import timeit

import cupy
import numpy as np
from cupy.cuda import memory

from rectifier import gelu, leaky_relu, relu, softmax
from rectifier.backends.cupy import calls, launch

CALLS, ROUNDS = 300, 200
SHAPE = (100, 1000)


class Kernel:
    """A kernel whose launch does nothing."""

    def __init__(self, code, name, options):
        pass

    def __call__(self, grid, block, arguments):
        """Launch nothing."""


def pointer(address):
    """Point to memory that is never read."""
    return memory.MemoryPointer(memory.UnownedMemory(address, 1 << 30, None, 0), 0)


def install():
    """Replace what asks a driver."""
    fresh = pointer(1 << 40)
    cupy.cuda.set_allocator(lambda size: fresh)
    cupy.cuda.runtime.getDevice = lambda: 0
    cupy.RawKernel = Kernel
    launch._multiprocessors = lambda device: 132
    calls._device = lambda *arguments: contextlib.nullcontext()  # of first calls


def cases():
    """List calls by the names of their rows."""
    x, dy, out = (cupy.ndarray(SHAPE, np.float32, pointer(k << 32)) for k in (1, 2, 3))
    _, mask = relu.with_mask(x)
    _, leaky_mask = leaky_relu.with_mask(x, negative_slope=0.2)
    return {
        "cupy.empty": lambda: cupy.empty(SHAPE, np.float32),
        "relu(x)": lambda: relu(x),
        "relu(x, out)": lambda: relu(x, out),
        "relu(x, x)": lambda: relu(x, x),
        "gelu(x)": lambda: gelu(x),
        "leaky_relu(x, negative_slope=0.2)": lambda: leaky_relu(x, negative_slope=0.2),
        "relu.derivative(x)": lambda: relu.derivative(x),
        "relu.backward(dy, x)": lambda: relu.backward(dy, x),
        "relu.backward(dy, x, out)": lambda: relu.backward(dy, x, out),
        "leaky_relu.backward(dy, x, negative_slope=0.2)": lambda: leaky_relu.backward(dy, x, negative_slope=0.2),
        "relu.value_and_derivative(x)": lambda: relu.value_and_derivative(x),
        "relu.with_mask(x)": lambda: relu.with_mask(x),
        "relu.backward(dy, mask=mask)": lambda: relu.backward(dy, mask=mask),
        "leaky_relu.backward(dy, mask=mask, negative_slope=0.2)": lambda: leaky_relu.backward(
            dy, mask=leaky_mask, negative_slope=0.2
        ),
        "softmax(x)": lambda: softmax(x),
        "softmax(x, out)": lambda: softmax(x, out),
        "softmax.backward(dy, y=x)": lambda: softmax.backward(dy, y=x),
    }


def main() -> None:
    """Print the table."""
    install()
    found = cases()
    least = dict.fromkeys(found, float("inf"))
    for call in found.values():
        call()
    for _ in range(ROUNDS):
        for name, call in found.items():
            least[name] = min(least[name], 1e6 * timeit.timeit(call, number=CALLS) / CALLS)
    for name, microseconds in least.items():
        print(f"{name:56}{microseconds:6.1f}")


if __name__ == "__main__":
    main()
