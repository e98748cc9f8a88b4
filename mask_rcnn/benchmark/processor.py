"""Describes the CPU, its instruction sets, and the selected kernels, on which benchmark results depend."""

from pathlib import Path

from mask_rcnn.ops.implementation import current_implementation, uses_onednn
from mask_rcnn.system.processor import instruction_sets, processor_name


def describe_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Returns the properties of the processor that benchmark results depend on.

    Args:
        cpuinfo: `Path` of a file in the format of Linux. It may be missing. Defaults to /proc/cpuinfo.

    Returns:
        Dict of texts:
        cpu: Model name, or "unknown".
        instruction_sets: Those of `processor.INSTRUCTION_SETS` that the CPU has, or "unknown". oneDNN,
            if it is on, selects one of them.
        onednn: "on" or "off", as `TF_ENABLE_ONEDNN_OPTS` and the CPU decide.
        kernels: "cpu" or "gpu", see `model.build_parts`.
    """
    sets = instruction_sets(cpuinfo)
    return {
        "cpu": processor_name(cpuinfo),
        "instruction_sets": "unknown" if sets is None else " ".join(sets) or "none of these",
        "onednn": "on" if uses_onednn() else "off",
        "kernels": current_implementation(),
    }
