"""What the C library does with the memory that a computation frees, and how much there is."""

import ctypes
import platform
import re
from pathlib import Path

# Parameters of mallopt(3).
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8

# Files of a control group with its limit and its use, in versions 2 and 1.
CGROUP_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


def keep_freed_memory():
    """Lets the process keep the memory it frees, for its next tensors, until it ends.

    The commands of `mask-rcnn` call this. The library does not, since it changes the whole process. Your own
    program may call it once, after it imports TensorFlow and before its first model.

    glibc gives a freed tensor of more than 32 MB back to the system, which fills the next one with zeros
    first, page by page: a fifth of the time of ResNet-50-FPN on a CPU. With one arena all threads share
    what is kept, and the peak stays as it was. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(ARENA_MAX, 1)
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, -1)  # never


def release_freed_memory():
    """Gives memory that was freed back to the system now, for instance after a large file was parsed.

    glibc otherwise keeps what lies below memory that is still in use. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def available_memory(root=Path("/")):
    """Returns the bytes of memory that the process may still take; None where the system does not tell.

    It is what Linux calls available, or less where the control group of the process, such as a container, has
    a limit. Files that the system keeps in memory count as available.

    Args:
        root: Folder that holds `proc` and `sys`. Defaults to the root of the system.
    """
    found = [_kilobytes(root / "proc/meminfo", "MemAvailable")]
    for folder in _control_groups(root):
        for limit, used in CGROUP_FILES:
            values = [_number(folder / name) for name in (limit, used)]
            if None not in values:
                found.append(max(0, values[0] - values[1] + _droppable(folder)))
    return min((value for value in found if value is not None), default=None)


def _control_groups(root):
    """Yields the folders of the control groups that limit the memory of the process, in versions 2 and 1."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top = root / "sys/fs/cgroup" / controllers
            group = top / path.lstrip("/")
            # In a container its own group may be mounted as the top.
            yield from {top, group, *(each for each in group.parents if top in each.parents)}


def _droppable(group):
    """Returns the bytes of files that a control group keeps in memory and does not use."""
    found = re.findall(r"^(?:total_)?inactive_file (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
    return int(found[-1]) if found else 0  # version 1 has the one of the group alone before that of all below


def _kilobytes(path, name):
    match = re.search(rf"^{name}:\s*(\d+) kB$", _text(path), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _number(path):
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None  # "max" is no limit


def _text(path):
    try:
        return path.read_text()
    except OSError:
        return ""
