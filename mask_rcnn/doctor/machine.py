"""Checks the processor, memory, threads and folders of the machine, and reports what will be slow."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mask_rcnn.doctor.report import Report
from mask_rcnn.system.files import PREFIX, cache_home
from mask_rcnn.system.memory import GIGABYTE, available_memory
from mask_rcnn.system.processor import CPUINFO, instruction_sets, processor_name, usable_cores

# A training step of ResNet-50-FPN with one image of 800 x 1216 pixels takes 3.5 GB in float32.
TRAINING_MEMORY = 4 * GIGABYTE
CACHE_SPACE = 4 * GIGABYTE  # for the largest weights, their converted copy, and annotations
TEMPORARY_SPACE = GIGABYTE
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "OPENBLAS_NUM_THREADS",
)


def check_machine(
    report: Report, root: Path = Path("/"), environment: Mapping[str, str] = os.environ
) -> None:
    """Adds the processor, the memory, the threads and the folders to the report.

    Args:
        report: `Report`.
        root: `Path` of the folder with `proc` and `sys`. Defaults to the root folder.
        environment: Dict of environment variables. Defaults to those of this process.
    """
    _check_processor(report, root)
    _check_cores(report, root, environment)
    _check_memory(report, root)
    _check_folder(report, "cache", cache_home(), variable="$MASK_RCNN_HOME", needed=CACHE_SPACE)
    temporary = Path(tempfile.gettempdir())
    _check_folder(report, "temporary files", temporary, variable="$TMPDIR", needed=TEMPORARY_SPACE)


def _check_processor(report: Report, root: Path) -> None:
    cpuinfo = root / CPUINFO.relative_to("/")
    sets = instruction_sets(cpuinfo)
    report.facts("processor", name=processor_name(cpuinfo), instruction_sets=sets and list(sets))
    if sets is None:
        return  # not an x86 CPU, or not Linux
    if "AVX512" not in sets:
        report.slow(
            "The CPU has no AVX512. With it, training and inference took 1.5 to 1.9 times less time on the "
            "same number of cores."
        )
    if "VNNI" not in sets:
        report.slow(
            "The CPU has no VNNI, the instructions for 8-bit integers: int8 TFLite files are smaller, but "
            "hardly faster than float32."
        )
    if not {"BF16", "AMX"} & set(sets):
        report.slow(
            "The CPU has no instructions for bfloat16: mixed_bfloat16 is slower than float32.",
            "Use float32, the default.",
        )


def _check_cores(report: Report, root: Path, environment: Mapping[str, str]) -> None:
    cores, quota = usable_cores(), _core_quota(root)
    settings = {name: environment[name] for name in THREAD_VARIABLES if name in environment}
    report.facts("processor", cores=os.cpu_count(), usable_cores=cores, core_quota=quota)
    report.facts("threads", **settings)
    if quota is not None and quota < cores:
        report.slow(
            f"The control group of the process has the time of {quota:g} cores, and TensorFlow starts "
            f"threads for {cores}. The threads wait for each other.",
            f"Set OMP_NUM_THREADS and TF_NUM_INTRAOP_THREADS to {max(round(quota), 1)}, or raise the limit "
            "of the container.",
        )
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        if settings.get(name, "").isdecimal() and 0 < int(settings[name]) < cores:
            report.slow(
                f"{name}={settings[name]}: computations use fewer threads than the {cores} cores.",
                f"Unset {name}, unless other jobs need the cores.",
            )


def _core_quota(root: Path) -> float | None:
    """Returns the number of cores whose time the process's control group may use, or None without a limit."""
    try:
        quota, period = (root / "sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _check_memory(report: Report, root: Path) -> None:
    available = available_memory(root)
    report.facts("memory", available_bytes=available)
    if available is not None and available < TRAINING_MEMORY:
        report.slow(
            f"{available / GIGABYTE:.1f} GB of memory are available. A training step of ResNet-50-FPN with "
            "one image of 800 x 1216 pixels takes 3.5 GB.",
            "Close other programs, train EfficientNet-Lite0-FPN (`--config fine_tune`), or smaller images "
            "(`--set input.short_side=320`).",
        )


def _check_folder(report: Report, name: str, folder: Path, *, variable: str, needed: int) -> None:
    """Adds the path of a folder and its free space, and checks that a file can be written there.

    If the folder does not exist, its nearest existing parent is checked.

    Args:
        report: `Report`.
        name: What the folder is for.
        folder: `Path`.
        variable: Environment variable that sets the folder.
        needed: Free space that may be needed, in bytes.
    """
    existing = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=existing, prefix=PREFIX) as file:
            file.write(b"x")
        free = shutil.disk_usage(existing).free
    except OSError as error:
        report.facts("folders", **{name: str(folder)})
        report.error(
            f"The folder for {name} cannot be written to: {folder} ({error.strerror or error}).",
            f"Set {variable} to a folder that can, or change its permissions.",
        )
        return
    report.facts("folders", **{name: str(folder), f"{name.replace(' ', '_')}_free_bytes": free})
    if free < needed:
        report.note(
            f"{free / GIGABYTE:.1f} GB are free for {name} in {folder}. {needed / GIGABYTE:.0f} GB may be "
            "needed.",
            f"Free some space, or set {variable} to a folder on another disk.",
        )
