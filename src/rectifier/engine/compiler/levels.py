"""Levels of processors, whose instructions each processor of the level has."""

from __future__ import annotations

# Levels of x86-64 (System V ABI, AMD64 supplement, 3.1.1), each with all of those before it; and the least of AArch64.
LEVELS = {
    "x86_64": {
        "x86-64": "cmov,cx8,fxsr,mmx,sse,sse2",
        "x86-64-v2": "cx16,popcnt,sahf,sse3,sse4.1,sse4.2,ssse3",
        "x86-64-v3": "avx,avx2,bmi,bmi2,f16c,fma,lzcnt,movbe,xsave",
        "x86-64-v4": "avx512bw,avx512cd,avx512dq,avx512f,avx512vl",
    },
    "aarch64": {"generic": "neon"},
}
