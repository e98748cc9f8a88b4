"""Returns facts about the CPU: its name, its instruction sets, and the number of usable cores."""

import os
import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

# Linux flags of the instruction sets that TensorFlow has different kernels for.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx_vnni": "VNNI",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "BF16",
    "amx_tile": "AMX",
}


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """Returns the model name of the CPU, or "unknown".

    Args:
        cpuinfo: `Path` of a file in the format of /proc/cpuinfo, which need not exist. Defaults to that file.
    """
    return _field(cpuinfo, "model name") or platform.processor() or "unknown"


def instruction_sets(cpuinfo: Path = CPUINFO) -> tuple[str, ...] | None:
    """Returns the instruction sets of the CPU, a tuple of values of INSTRUCTION_SETS, or None if unknown.

    Args:
        cpuinfo: `Path` of a file in the format of /proc/cpuinfo, which need not exist. Defaults to that file.
    """
    flags = _field(cpuinfo, "flags")
    if flags is None:
        return None
    has = set(flags.split())
    return tuple(dict.fromkeys(name for flag, name in INSTRUCTION_SETS.items() if flag in has))


def usable_cores() -> int:
    """Returns the number of cores that the process may run on. taskset and containers may limit it."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _field(cpuinfo, name):
    """Returns the value of the first line with the field `name`, or None."""
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    match = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else None
