"""What the C library does with the memory that a computation frees."""

import ctypes
import platform

# Parameters of mallopt(3).
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8


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
