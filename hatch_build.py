"""Put machine code compiled ahead into a wheel if ``RECTIFIER_AHEAD=1`` asks for it; the plain wheel is pure Python."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLATFORMS = {"x86_64": "manylinux_2_17_x86_64", "aarch64": "manylinux_2_17_aarch64"}


class AheadBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compile the catalogue for levels of this machine's processors."""

    def dependencies(self) -> list[str]:
        """List what building takes: what the package takes, and the dtype bfloat16."""
        return ["llvmlite>=0.45", "ml_dtypes>=0.5", "numpy>=2.0"] if self._asked() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the objects to the files of the wheel, and say what machines it is for."""
        if version == "editable" or not self._asked():
            return
        platform = PLATFORMS.get(os.uname().machine) if sys.platform == "linux" else None
        if platform is None:
            raise RuntimeError(f"RECTIFIER_AHEAD=1 builds on Linux of {' or '.join(PLATFORMS)}")
        folder = Path(tempfile.mkdtemp())
        # What building takes may itself come by PYTHONPATH: pip's isolated builds do that.
        places = [str(Path(self.root, "src")), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "RECTIFIER_STORE": "off"}
        subprocess.run([sys.executable, "-m", "rectifier.tools.ahead", str(folder)], env=environment, check=True)
        for file in folder.iterdir():
            build_data["force_include"][str(file)] = f"rectifier/engine/ahead_objects/{file.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"

    def _asked(self) -> bool:
        asked = os.environ.get("RECTIFIER_AHEAD", "")
        if asked not in ("", "0", "1"):
            raise ValueError(f"RECTIFIER_AHEAD is {asked!r}; it takes 1, or 0")
        return asked == "1" and self.target_name == "wheel"
