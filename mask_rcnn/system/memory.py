"""Control of the C library's memory allocator, and the amount of available memory."""

import ctypes
import platform
import re
from pathlib import Path

GIGABYTE = 10**9  # bytes; the unit "GB" of all messages

# Parameters of mallopt(3).
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8

# Files with the memory limit and the memory use of a control group, for cgroup versions 2 and 1.
CGROUP_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


def keep_freed_memory() -> None:
    """Makes the process keep freed memory and reuse it for its next tensors.

    The commands of `mask-rcnn` call this. The library does not, because it changes the whole process. Your
    own program may call it once, after the import of TensorFlow and before its first model.

    glibc returns a freed tensor of more than 32 MB to the system. The system then fills the memory of the
    next tensor with zeros, page by page. This takes a fifth of the time of ResNet-50-FPN on a CPU. With a
    single arena, all threads share the kept memory, and the peak does not grow. With other C libraries this
    function does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(ARENA_MAX, 1)
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, -1)  # never


def release_freed_memory() -> None:
    """Returns freed memory to the system now, for example after parsing a large file.

    glibc otherwise keeps freed memory below memory that is still in use. With other C libraries this function
    does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def available_memory(root: Path = Path("/")) -> int | None:
    """Returns the memory that the process may still use, bytes. None if the system does not report it.

    This is Linux's MemAvailable, or less if the control group of the process (such as a container) has a
    limit. File caches count as available.

    Args:
        root: Folder that contains `proc` and `sys`. Defaults to the root of the file system.
    """
    sizes = [_kilobytes(root / "proc/meminfo", "MemAvailable")]
    for folder in _control_groups(root):
        for limit, used in CGROUP_FILES:
            max_bytes, used_bytes = _number(folder / limit), _number(folder / used)
            if max_bytes is not None and used_bytes is not None:
                sizes.append(max(0, max_bytes - used_bytes + _inactive_cache(folder)))
    return min((value for value in sizes if value is not None), default=None)


def _control_groups(root):
    """Yields the folders of the control groups that limit the memory of the process, versions 2 and 1."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top = root / "sys/fs/cgroup" / controllers
            group = top / path.lstrip("/")
            # In a container, its own group may be mounted as the top folder.
            yield from {top, group, *(each for each in group.parents if top in each.parents)}


def _inactive_cache(group):
    """Returns the size of the inactive file cache of a control group, bytes. The system can drop it."""
    sizes = re.findall(r"^(?:total_)?inactive_file (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
    return int(sizes[-1]) if sizes else 0  # version 1: the last is the total with its subgroups


def _kilobytes(path, name):
    match = re.search(rf"^{name}:\s*(\d+) kB$", _text(path), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _number(path):
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None  # "max" means no limit


def _text(path):
    try:
        return path.read_text()
    except OSError:
        return ""
