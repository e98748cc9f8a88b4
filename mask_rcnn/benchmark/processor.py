"""What computed: the CPU, its instruction sets, and the kernels that were chosen."""

from pathlib import Path

from mask_rcnn.ops.kernels import current_kernels, uses_onednn
from mask_rcnn.processor import instruction_sets, processor_name


def describe_processor(cpuinfo=Path("/proc/cpuinfo")):
    """Returns what the numbers of a benchmark depend on, for its report.

    Args:
        cpuinfo: File in the format of Linux. May be missing.

    Returns:
        Dict of texts:

        - `cpu`: Model name, or "unknown".
        - `instruction_sets`: Those of `processor.INSTRUCTION_SETS` that the CPU has, or "unknown". oneDNN,
          where it is on, chooses among them.
        - `onednn`: "on" or "off", as `TF_ENABLE_ONEDNN_OPTS` and the CPU decide.
        - `kernels`: "cpu" or "gpu", see `model.build_parts`.
    """
    sets = instruction_sets(cpuinfo)
    return {
        "cpu": processor_name(cpuinfo),
        "instruction_sets": "unknown" if sets is None else " ".join(sets) or "none of these",
        "onednn": "on" if uses_onednn() else "off",
        "kernels": current_kernels(),
    }
