"""GPUs: those that TensorFlow uses, and why it does not use others."""

import os
import re
from pathlib import Path

NVIDIA = "0x10de"  # vendor number of PCI
DISPLAY_CLASS = "0x03"  # of PCI: VGA and 3D controllers
# What TensorFlow writes on stderr if a library or the driver of NVIDIA cannot be used.
GPU_MESSAGE = re.compile(r"cuInit|CUDA_ERROR|dlopen some GPU|could not find cuda|libcud|driver version", re.I)
MAX_MESSAGE = 200  # characters


def check_gpus(report, found, messages, root=Path("/"), environment=os.environ):
    """Adds the GPUs of the machine, and why TensorFlow does not use some.

    Args:
        report: `Report`.
        found: What `probes.probe_tensorflow` returned, or None if it failed.
        messages: Lines that TensorFlow wrote on stderr.
        root: Folder that holds `proc`, `sys` and `dev`. Defaults to the root of the system.
        environment: Dict of environment variables.
    """
    cards, driver = _cards(root), _driver(root)
    used = found["gpus"] if found else []
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    report.facts("gpus", used=used, nvidia_cards=cards, driver=driver, CUDA_VISIBLE_DEVICES=visible)
    if used or not found:
        return
    if not cards and not driver:
        report.slow(
            "There is no GPU. On a CPU, a fine-tune on few photographs takes minutes to hours, and training "
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
        report.slow(*_why_unused(found, messages))


def _why_unused(found, messages):
    """Returns message and advice for a GPU with a driver that TensorFlow does not use."""
    if not found["built_with_cuda"]:
        return (
            "This TensorFlow was built without GPU support.",
            "Run `pip uninstall tensorflow-cpu`, and then `pip install 'mask-rcnn[gpu]'`.",
        )
    message = next((line for line in messages if GPU_MESSAGE.search(line)), "")
    said = f" It says: {message.strip()[:MAX_MESSAGE]}" if message else ""
    return (
        f"There is a driver for NVIDIA GPUs, and TensorFlow uses none of them.{said}",
        "Run `pip install 'mask-rcnn[gpu]'`, which installs the CUDA libraries, and check that `nvidia-smi` "
        "lists the GPUs.",
    )


def _cards(root):
    """Returns how many NVIDIA display controllers the PCI bus has."""
    return sum(
        _text(device / "vendor") == NVIDIA and _text(device / "class").startswith(DISPLAY_CLASS)
        for device in (root / "sys/bus/pci/devices").glob("*")
    )


def _driver(root):
    """Returns the version of the loaded driver of NVIDIA, or None."""
    version = re.search(r"Kernel Module\D*([\d.]+)", _text(root / "proc/driver/nvidia/version"))
    return version[1] if version else None


def _text(path):
    try:
        return path.read_text().strip()
    except OSError:
        return ""
