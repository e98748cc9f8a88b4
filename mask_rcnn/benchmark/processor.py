"""What computed: the CPU, its instruction sets, and the kernels that were chosen."""

import platform
import re
from pathlib import Path

from tensorflow.python.util import _pywrap_util_port

from mask_rcnn.ops.kernels import current_kernels

# Names of Linux for the instruction sets that TensorFlow's kernels differ in.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx_vnni": "VNNI",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "BF16",
    "amx_tile": "AMX",
}


def describe_processor(cpuinfo=Path("/proc/cpuinfo")):
    """Returns what the numbers of a benchmark depend on, for its report.

    Args:
        cpuinfo: File in the format of Linux. May be missing.

    Returns:
        Dict of texts:

        - `cpu`: Model name, or "unknown".
        - `instruction_sets`: Those of INSTRUCTION_SETS that the CPU has, or "unknown". oneDNN, where it is
          on, chooses among them.
        - `onednn`: "on" or "off", as `TF_ENABLE_ONEDNN_OPTS` and the CPU decide.
        - `kernels`: "cpu" or "gpu", see `model.build_parts`.
    """
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    found = re.search(r"^flags\s*:\s*(.+)$", text, re.MULTILINE)
    has = set(found[1].split()) if found else set()
    sets = dict.fromkeys(name for flag, name in INSTRUCTION_SETS.items() if flag in has)
    return {
        "cpu": model[1].strip() if model else platform.processor() or "unknown",
        "instruction_sets": (" ".join(sets) or "none of these") if found else "unknown",
        "onednn": "on" if _pywrap_util_port.IsMklEnabled() else "off",
        "kernels": current_kernels(),
    }
