"""The CPU: its name, its instruction sets, and how many of its cores the process may use."""

import os
import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

# Names of Linux for the instruction sets that TensorFlow's kernels differ in.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx_vnni": "VNNI",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "BF16",
    "amx_tile": "AMX",
}


def processor_name(cpuinfo=CPUINFO):
    """Returns the model name of the CPU, or "unknown".

    Args:
        cpuinfo: File in the format of Linux. May be missing.
    """
    return _field(cpuinfo, "model name") or platform.processor() or "unknown"


def instruction_sets(cpuinfo=CPUINFO):
    """Returns those of `INSTRUCTION_SETS` that the CPU has, or None where that is unknown.

    Args:
        cpuinfo: File in the format of Linux. May be missing.
    """
    flags = _field(cpuinfo, "flags")
    if flags is None:
        return None
    has = set(flags.split())
    return tuple(dict.fromkeys(name for flag, name in INSTRUCTION_SETS.items() if flag in has))


def usable_cores():
    """Returns how many cores the process may run on: taskset and containers may allow fewer than all."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _field(cpuinfo, name):
    """Returns the value of the first line of a field, or None."""
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None
