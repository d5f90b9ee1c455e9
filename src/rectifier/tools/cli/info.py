"""The command ``rectifier info``."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .options import AsJson
from .terminal import binary, refuse, show

if TYPE_CHECKING:
    from ..machine import Machine


def info(json: AsJson = False) -> None:
    """Say what decides the speed here: versions, processor, caches, threads, engine."""
    from ..machine import describe

    try:
        machine = describe()
    except ValueError as error:  # an environment variable with a value that it does not take
        refuse("info", error)
    show(machine, _render, json)


def _render(machine: "Machine") -> list[Any]:
    from rich.table import Table

    threads, settings = machine.threads, machine.settings
    quota = "none" if threads["quota_processors"] is None else f"{threads['quota_processors']:g}"
    facts = {
        "versions": ", ".join(f"{name} {version or 'not installed'}" for name, version in machine.versions.items()),
        "system": machine.system,
        "processor": f"{machine.processor} ({machine.microarchitecture})",
        "SIMD": machine.simd,
        "caches": ", ".join(f"{name} {binary(size)}" for name, size in machine.cache_bytes.items()),
        "memory": machine.memory_bytes and binary(machine.memory_bytes),
        "transparent huge pages": machine.transparent_huge_pages,
        "processors": f"{threads['allowed']}, the smallest of: logical {threads['logical_processors']}, "
        f"affinity {threads['affinity_processors'] or 'unknown'}, quota {quota}",
        "threads": _setting(settings["threads"], "a large call uses up to {}") + _gain(machine),
        "spin": _setting(settings["spin_microseconds"], "a helper waits up to {:.3g} us before it sleeps"),
        "past the caches": _streaming(machine),
        "pool": _setting(settings["pool_bytes"], "up to {} held for outputs", binary),
        "store": _setting(settings["store"], "{}"),
        "engine": f"{machine.engine} ({machine.engine_reason})",
        "GPU": f"{', '.join(machine.gpu.devices) or 'none'} ({machine.gpu.reason})",
    }
    grid = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        grid.add_row(name, fact or "unknown")
    return [grid]


def _gain(machine: "Machine") -> str:
    gain = machine.calibration and machine.calibration.gain
    return f"; together they do {gain:.2f} times what one does" if gain else ""


def _streaming(machine: "Machine") -> str:
    calibration = machine.calibration
    if calibration is None:
        return "nothing: no compiled engine"
    text = f"results from {binary(calibration.stream_from_bytes)} ({calibration.reason}"
    if calibration.stream_from_bytes == 0:
        text = f"all large results ({calibration.reason}"
    elif calibration.stream_from_bytes >= sys.maxsize // 2:
        text = f"nothing ({calibration.reason}"
    least, most = calibration.learned_from_bytes, calibration.learned_to_bytes
    learned = f"; learned from the calls between {binary(least)} and {binary(most)}" if least < most else ""
    return f"{text}{learned}; inputs are fetched {calibration.fetch_lines} lines ahead)"


def _setting(setting: dict[str, Any], text: str, write: Callable[[Any], Any] = lambda value: value) -> str:
    return f"{text.format(write(setting['value']))} ({setting['reason']})"
