"""Targets of machine code, and its emission by LLVM: here, or in a process of its own.

Where LLVM cannot emit something it ends the process, and nothing can catch that: "Inline asm not supported by this
streamer" was the end of every process on 64-bit Arm. So in this process it emits only what the tests emit, and
elsewhere in another, which costs 0.1 s an object. That other process runs this file, so it imports nothing of the
package.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any, NamedTuple

# Where the tests run or, for 64-bit Arm, what they emit for; and the newest LLVM they have run with: llvmlite 0.50's.
TESTED, NEWEST_LLVM = (("linux", "x86_64"), ("linux", "aarch64")), 22
PATIENCE = 120  # seconds for an object, which takes 0.1 to 0.3: a process that hangs must not take the caller with it


class EmissionError(RuntimeError):
    """The end, or the want, of the process in which LLVM was to emit machine code."""


def obstacle() -> str:
    """Return why there is no compiled engine for this system; an empty text where there is one."""
    if os.name != "posix":
        return "the compiled engine is for Linux and macOS"
    if sys.byteorder != "little" or sys.maxsize < 1 << 32 or os.uname().machine not in ("x86_64", "aarch64", "arm64"):
        return "the compiled engine is for x86-64 and 64-bit Arm"
    return ""


class Target(NamedTuple):
    """A target of machine code.

    Attributes
    ----------
    triple : str
        Architecture, vendor and system, as LLVM writes them.
    processor : str
    features : str
        Those that LLVM is told of, such as ``"+avx2,-avx512f"``.
    """

    triple: str
    processor: str
    features: str

    @property
    def architecture(self) -> str:
        """The name of the instruction set; macOS calls AArch64 arm64."""
        name = self.triple.partition("-")[0]
        return "aarch64" if name == "arm64" else name

    @property
    def fuses(self) -> bool:
        """Check for instructions that multiply and add, rounding once."""
        return self._has(x86_64="fma", aarch64=True)

    @property
    def converts_halves(self) -> bool:
        """Check for instructions that convert vectors between float16 and float32."""
        return self._has(x86_64="f16c", aarch64=True)

    @property
    def register(self) -> int:
        """How many bytes a register for vectors has."""
        if self._has(x86_64="avx512f", aarch64=False):
            return 64
        return 32 if self._has(x86_64="avx2", aarch64=False) else 16

    @property
    def permutes_bytes(self) -> bool:
        """Check for instructions that look bytes up in two registers of 64."""
        return self._has(x86_64="avx512vbmi", aarch64=False)

    @property
    def least_bits(self) -> int:
        """How many conditions at least become bits of a mask together: a byte, or what NEON adds up (`vectors`)."""
        return 16 if self.architecture == "aarch64" else 8

    def _has(self, *, x86_64: str | bool, aarch64: str | bool) -> bool:
        """Answer for the architecture: by LLVM's name of a feature, or for all processors alike."""
        answer = {"x86_64": x86_64, "aarch64": aarch64}.get(self.architecture, False)
        return f"+{answer}" in self.features.split(",") if isinstance(answer, str) else answer

    def machine(self) -> Any:
        """Make LLVM's model of the processor, for code that stays where it is loaded.

        Returns
        -------
        llvmlite.binding.TargetMachine
        """
        import llvmlite.binding as llvm

        if self.triple == llvm.get_process_triple():
            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
        else:
            llvm.initialize_all_targets()
            llvm.initialize_all_asmprinters()
        target = llvm.Target.from_triple(self.triple)
        reloc = "static" if target.name.startswith("x86") else "default"
        return target.create_target_machine(self.processor, self.features, 3, reloc, "jitdefault", jit=True)


def host() -> Target:
    """Return the target that this process can run."""
    import llvmlite.binding as llvm

    return Target(llvm.get_process_triple(), *_processor())


def of_level(triple: str, level: str) -> Target:
    """Return the target of any processor of a level.

    Raises
    ------
    ValueError
        If the architecture has no such level.
    """
    from .levels import LEVELS

    target = Target(triple, level, "")
    levels = LEVELS.get(target.architecture, {})
    if level not in levels:
        raise ValueError(f"{target.architecture} has no {level!r}, but {', '.join(levels) or 'no levels at all'}")
    names = list(levels)[: list(levels).index(level) + 1]
    return target._replace(features=",".join(f"+{feature}" for name in names for feature in levels[name].split(",")))


@cache
def _processor() -> tuple[str, str]:
    import llvmlite.binding as llvm

    from .. import options

    level, _ = options.CPU.in_force()
    name, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features()
    if level == options.NATIVE:
        return name, features.flatten()
    target = of_level(llvm.get_process_triple(), level)
    lacking = [feature[1:] for feature in target.features.split(",") if not features.get(feature[1:], True)]
    if lacking:
        raise ValueError(f"{options.CPU.variable} is {level!r}, and this processor, {name}, lacks {', '.join(lacking)}")
    return target.processor, target.features


def emit(module: Any, target: Target) -> bytes:
    """Make an object of an optimised module.

    Parameters
    ----------
    module : llvmlite.binding.ModuleRef
    target : Target

    Raises
    ------
    EmissionError
        If LLVM ended the process that it did this in.
    """
    import llvmlite.binding as llvm

    tested = (sys.platform, target.architecture) in TESTED and llvm.llvm_version_info[0] <= NEWEST_LLVM
    # The executable may be an application that Python is embedded in, and does what it likes with arguments.
    python = os.path.basename(sys.executable or "").startswith("python") and not getattr(sys, "frozen", False)
    return _emit_here(module, target) if tested or not python else emit_apart(module, target)


def _emit_here(module: Any, target: Target) -> bytes:
    code: bytes = target.machine().emit_object(module)
    return code


def emit_apart(module: Any, target: Target) -> bytes:
    """Make an object in another process, as `emit` does where nothing was tested."""
    import json
    import subprocess

    import llvmlite.binding as llvm

    request = json.dumps([sys.path, target]).encode() + b"\n" + module.as_bitcode()
    command = [sys.executable, "-I", "-S", __file__]
    version = ".".join(map(str, llvm.llvm_version_info))
    try:
        # A session of its own: an interrupt from the terminal is not the end of that process.
        made = subprocess.run(
            command, input=request, capture_output=True, start_new_session=True, check=False, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:  # no such file, no more processes, or one that hangs
        raise EmissionError(f"no process for LLVM {version} to make code in: {error}") from error
    if made.returncode or not made.stdout:
        said = made.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise EmissionError(f"LLVM {version} made no code for {target.triple}: {said[-1]}")
    code: bytes = made.stdout
    return code


def _answer() -> None:
    """Emit what `emit_apart` asks for."""
    import json

    head, _, bitcode = sys.stdin.buffer.read().partition(b"\n")
    sys.path[:], fields = json.loads(head)
    import llvmlite.binding as llvm

    sys.stdout.buffer.write(_emit_here(llvm.parse_bitcode(bitcode), Target(*fields)))


if __name__ == "__main__":
    _answer()
