"""The device that all of it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module


class NoDeviceError(Exception):
    """There is no CuPy, or no device that it reaches; the message says what to do."""


@dataclass(frozen=True)
class Device:
    """A GPU, and what runs it.

    Attributes
    ----------
    name : str
        As its driver has it.
    compute_capability : str
        Such as "9.0".
    multiprocessors, memory_bytes, cache_bytes : int
        Its size; the cache is that of the second level, which all share.
    driver, runtime, nvrtc : str
        Versions of CUDA: the newest that the driver takes, that of the runtime, and that of the compiler.
    cupy : str
        Version.
    """

    name: str
    compute_capability: str
    multiprocessors: int
    memory_bytes: int
    cache_bytes: int
    driver: str
    runtime: str
    nvrtc: str
    cupy: str

    def __str__(self) -> str:
        return (
            f"{self.name}, compute capability {self.compute_capability}, {self.multiprocessors} multiprocessors, "
            f"{self.memory_bytes / 1e9:.3g} GB; driver for CUDA {self.driver}, runtime {self.runtime}, "
            f"NVRTC {self.nvrtc}, CuPy {self.cupy}"
        )


def describe() -> Device:
    """Describe the current device.

    Raises
    ------
    NoDeviceError
        If CuPy is not installed, or reaches none.
    """
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise NoDeviceError(
            f"CuPy cannot be imported ({_line(error)}): pip install cupy-cuda12x, or cupy-cuda13x, whichever CUDA the "
            "driver has by nvidia-smi"
        ) from None
    try:
        runtime, current = cupy.cuda.runtime, cupy.cuda.Device()
        found = runtime.getDeviceProperties(current.id)
        return Device(
            found["name"].decode(),
            f"{found['major']}.{found['minor']}",
            found["multiProcessorCount"],
            found["totalGlobalMem"],
            found["l2CacheSize"],
            _version(runtime.driverGetVersion()),
            _version(runtime.runtimeGetVersion()),
            ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
            cupy.__version__,
        )
    except Exception as error:  # each release of CUDA has words of its own for no driver and no device
        raise NoDeviceError(
            f"CuPy {cupy.__version__} reaches no GPU ({_line(error)}): check that nvidia-smi names one, that its "
            "driver is new enough for this CuPy's CUDA, that NVRTC of that CUDA is installed, and that a container was "
            "started with its GPUs"
        ) from None


def _version(number: int) -> str:
    """Write out a version of CUDA's, such as 12080."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
