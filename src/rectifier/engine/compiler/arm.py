"""Names of 64-bit Arm's cores, of which Linux says two numbers: who made it, and which it is.

The numbers stand in the register MIDR_EL1; each maker's technical reference manuals have its own.
"""

from __future__ import annotations

_CORES = {
    0x41: {
        0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57", 0xD08: "Cortex-A72",
        0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76", 0xD0C: "Neoverse N1", 0xD0D: "Cortex-A77",
        0xD40: "Neoverse V1", 0xD41: "Cortex-A78", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710",
        0xD48: "Cortex-X2", 0xD49: "Neoverse N2", 0xD4A: "Neoverse E1", 0xD4B: "Cortex-A78C", 0xD4D: "Cortex-A715",
        0xD4E: "Cortex-X3", 0xD4F: "Neoverse V2", 0xD80: "Cortex-A520", 0xD81: "Cortex-A720", 0xD82: "Cortex-X4",
        0xD84: "Neoverse V3", 0xD85: "Cortex-X925", 0xD87: "Cortex-A725", 0xD8E: "Neoverse N3",
    },
    0x43: {0x0A1: "Cavium ThunderX", 0x0AF: "Cavium ThunderX2"},
    0x46: {0x001: "Fujitsu A64FX"},
    0x48: {0xD01: "HiSilicon Kunpeng 920"},
    0x4E: {0x003: "NVIDIA Denver 2", 0x004: "NVIDIA Carmel"},
    0x51: {0x001: "Qualcomm Oryon", 0xC00: "Qualcomm Falkor"},
    0x61: {0x022: "Apple M1", 0x023: "Apple M1", 0x032: "Apple M2", 0x033: "Apple M2"},
    0xC0: {0xAC3: "AmpereOne", 0xAC4: "AmpereOne A"},
}  # fmt: skip


def cores(cpuinfo: str) -> list[str]:
    """Return the names of the kinds of cores that ``/proc/cpuinfo`` lists, those that have a name here, each once."""
    names, maker = dict[str, None](), 0
    for line in cpuinfo.splitlines():
        field, _, value = (part.strip() for part in line.partition(":"))
        if field == "CPU implementer":
            maker = int(value, 16)
        elif field == "CPU part":
            name = _CORES.get(maker, {}).get(int(value, 16))
            if name:
                names[name] = None
    return list(names)
