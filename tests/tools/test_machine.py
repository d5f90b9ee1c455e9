"""What the machine's description says, and that nothing missing breaks it."""

import json
import os
import platform
import sys
from dataclasses import asdict

import llvmlite.binding
import numpy as np
import pytest

import rectifier
from conftest import write
from rectifier.engine.choice import engine
from rectifier.tools import machine
from rectifier.tools.machine import describe


def test_the_description_becomes_json_and_back():
    description = asdict(describe())
    assert json.loads(json.dumps(description)).keys() == description.keys()


def test_versions_and_engine_are_those_in_use():
    here = describe()
    assert here.versions["rectifier"] == rectifier.__version__
    assert here.versions["numpy"] == np.__version__
    assert here.versions["python"] == platform.python_version()
    assert (here.engine, here.engine_reason) == engine()


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(machine, "_PACKAGES", ("numpy", "rectifier-has-no-such-peer"))
    assert describe().versions["rectifier-has-no-such-peer"] is None


def test_the_kernels_files_are_read(tmp_path):
    files = {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Fast One\nprocessor\t: 1\nmodel name\t: Fast One\n",
        "proc/meminfo": "MemTotal:       2048 kB\nMemFree:        1024 kB\n",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    }
    for k, cache in enumerate(("Data 1 32K", "Instruction 1 64K", "Unified 2 1024K", "Unified 3 32768K")):
        for name, text in zip(("type", "level", "size"), cache.split(), strict=True):
            files[f"sys/devices/system/cpu/cpu0/cache/index{k}/{name}"] = text
    root = write(tmp_path, files)
    here = describe(root)
    assert here.processor == "Fast One"
    assert here.memory_bytes == 2 * 2**20
    assert here.transparent_huge_pages == "madvise"
    assert here.cache_bytes == {"L1d": 32 * 2**10, "L2": 2**20, "L3": 32 * 2**20}


def arm_cpuinfo(*cores: tuple[str, str]) -> str:
    """Write what Linux on 64-bit Arm has in /proc/cpuinfo."""
    return "\n".join(
        f"processor\t: {k}\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm aes pmull\nCPU implementer\t: {maker}\n"
        f"CPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: {part}\nCPU revision\t: 1\n"
        for k, (maker, part) in enumerate(cores)
    )


@pytest.mark.parametrize(
    ("cores", "board", "name"),
    [
        ([("0x41", "0xd0c")] * 4, "", "Neoverse N1"),
        ([("0x41", "0xd05")] * 2 + [("0x41", "0xd0b")] * 2, "Some Phone\0", "Cortex-A55, Cortex-A76"),
        ([("0x46", "0x001")], "", "Fujitsu A64FX"),
        ([("0x77", "0xd0c")], "Raspberry Pi 9 Model B\0", "Raspberry Pi 9 Model B"),
        ([("0x77", "0xd0c")], "", "neoverse-n9"),
    ],
)
def test_a_processor_of_arm_is_named_by_its_cores_or_its_board_or_by_llvm(tmp_path, monkeypatch, cores, board, name):
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_name", lambda: "neoverse-n9")
    root = write(tmp_path, {"proc/cpuinfo": arm_cpuinfo(*cores), "proc/device-tree/model": board})
    assert describe(root).processor == name


def test_where_the_kernel_says_nothing_nothing_is_claimed(tmp_path):
    here = describe(tmp_path)
    assert (here.memory_bytes, here.transparent_huge_pages, here.cache_bytes) == (None, None, {})
    assert here.threads["quota_processors"] is None
    assert here.processor


@pytest.mark.parametrize(
    ("features", "level"),
    [
        ({"sse2": True, "avx2": True, "avx512f": True}, "AVX-512"),
        ({"sse2": True, "avx2": True, "avx512f": False}, "AVX2"),
        ({"neon": True}, "NEON"),
        ({}, "none known"),
    ],
)
def test_the_simd_level_is_the_widest(monkeypatch, features, level):
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_features", lambda: features)
    assert describe().simd == level


def test_without_llvmlite_the_simd_level_is_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    assert describe().simd == "unknown"


V1 = "5:cpu,cpuacct:/job/step\n0::/\n"
V2 = "0::/job/step\n"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/job/step/cpu.max": "200000 100000"}, 2),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/job/step/cpu.max": "max 100000"}, None),
        # the parent's quota holds for its children
        (
            {
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/job/cpu.max": "150000 100000",
                "sys/fs/cgroup/job/step/cpu.max": "max 100000",
            },
            1.5,
        ),
        # in a container, the path is the host's
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/unified/job/cpu.max": "300000 100000"}, 3),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/job/step/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/job/step/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/job/step/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/job/step/cpu.cfs_period_us": "100000",
            },
            None,
        ),
    ],
)
def test_the_quota_of_the_control_groups_is_found(tmp_path, files, quota):
    assert describe(write(tmp_path, files)).threads["quota_processors"] == quota


@pytest.mark.parametrize(
    ("processors", "affinity", "quota", "allowed", "reason"),
    [
        (8, 8, "max 100000", 8, "logical processors"),
        (8, 3, "max 100000", 3, "affinity"),
        (8, 4, "150000 100000", 2, "CPU quota"),
        (8, 4, "10000 100000", 1, "CPU quota"),
    ],
)
def test_the_smallest_limit_on_threads_wins(tmp_path, monkeypatch, processors, affinity, quota, allowed, reason):
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    root = write(tmp_path, {"proc/self/cgroup": V2, "sys/fs/cgroup/job/step/cpu.max": quota})
    threads = describe(root).threads
    assert (threads["allowed"], threads["reason"]) == (allowed, reason)
    assert threads["used"] >= 1


def install_cupy(tmp_path, monkeypatch, count):
    """Put a CuPy in the way of import whose runtime counts devices as `count` does."""
    package = write(
        tmp_path,
        {
            "cupy/__init__.py": f"""
__version__ = "13.0"
class cuda:
    class runtime:
        getDeviceProperties = staticmethod(lambda k: {{"name": b"Card %d" % k}})
        @staticmethod
        def getDeviceCount():
            {count}
"""
        },
    )
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(package)


def test_without_cupy_there_is_no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert describe().gpu == machine.Gpu((), "CuPy is not installed")


def test_the_gpus_that_cupy_finds_are_named(tmp_path, monkeypatch):
    install_cupy(tmp_path, monkeypatch, "return 2")
    assert describe().gpu == machine.Gpu(("Card 0", "Card 1"), "CuPy 13.0")


def test_cupy_without_a_driver_is_no_error(tmp_path, monkeypatch):
    install_cupy(tmp_path, monkeypatch, "raise RuntimeError('no driver\\n  here')")
    assert describe().gpu == machine.Gpu((), "CuPy finds none: no driver here")
