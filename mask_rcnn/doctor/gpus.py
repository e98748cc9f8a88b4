"""Checks which GPUs TensorFlow uses, and why it does not use others."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mask_rcnn.doctor.report import Report

NVIDIA = "0x10de"  # PCI vendor id
DISPLAY_CLASS = "0x03"  # PCI class of VGA and 3D controllers
# Messages on stderr if TensorFlow cannot use a library or the driver of NVIDIA.
GPU_MESSAGE = re.compile(r"cuInit|CUDA_ERROR|dlopen some GPU|could not find cuda|libcud|driver version", re.I)
MAX_MESSAGE = 200  # characters of TensorFlow's message that are shown


def check_gpus(
    report: Report,
    tensorflow: Mapping[str, Any] | None,
    messages: Sequence[str],
    *,
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Adds the GPUs of the machine to the report, and why TensorFlow does not use them.

    Args:
        report: `Report`.
        tensorflow: Result of `probes.probe_tensorflow`, or None if it failed.
        messages: Lines that TensorFlow wrote to stderr.
        root: `Path` of the folder with `proc` and `sys`. Defaults to the root folder.
        environment: Dict of environment variables. Defaults to those of this process.
    """
    cards, driver = _cards(root), _driver(root)
    used = tensorflow["gpus"] if tensorflow else []
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    report.facts("gpus", used=used, nvidia_cards=cards, driver=driver, CUDA_VISIBLE_DEVICES=visible)
    if used or not tensorflow:
        return
    if not cards and not driver:
        report.slow(
            "There is no GPU. On a CPU, fine-tuning on a few photos takes minutes to hours, and training "
            "on all of COCO takes too long."
        )
    elif visible is not None and not visible.strip("- 1"):
        report.slow(f"CUDA_VISIBLE_DEVICES={visible!r} hides all GPUs.", "Unset it to use them.")
    elif not driver:
        report.slow(
            f"The machine has {cards} NVIDIA GPU(s), and no driver is loaded.",
            "Install the driver of NVIDIA. `nvidia-smi` must list the GPUs.",
        )
    else:
        report.slow(*_why_unused(tensorflow, messages))


def _why_unused(tensorflow: Mapping[str, Any], messages: Sequence[str]) -> tuple[str, str]:
    """Returns the message and the advice for a GPU with a driver that TensorFlow does not use."""
    if not tensorflow["built_with_cuda"]:
        return (
            "This TensorFlow was built without GPU support.",
            "Run `pip uninstall tensorflow-cpu`, and then `pip install 'mask-rcnn[gpu]'`.",
        )
    message = next((line for line in messages if GPU_MESSAGE.search(line)), "")
    reason = f" It says: {message.strip()[:MAX_MESSAGE]}" if message else ""
    return (
        f"There is a driver for NVIDIA GPUs, and TensorFlow uses none of them.{reason}",
        "Run `pip install 'mask-rcnn[gpu]'`, which installs the CUDA libraries, and check that `nvidia-smi` "
        "lists the GPUs.",
    )


def _cards(root: Path) -> int:
    """Returns the number of NVIDIA display controllers on the PCI bus."""
    return sum(
        _text(device / "vendor") == NVIDIA and _text(device / "class").startswith(DISPLAY_CLASS)
        for device in (root / "sys/bus/pci/devices").glob("*")
    )


def _driver(root: Path) -> str | None:
    """Returns the version of the loaded NVIDIA driver, or None."""
    version = re.search(r"Kernel Module\D*([\d.]+)", _text(root / "proc/driver/nvidia/version"))
    return version[1] if version else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
