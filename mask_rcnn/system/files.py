"""Atomic writes of files and folders, cleanup after killed processes, folder locks, and the cache folder."""

import contextlib
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mask_rcnn.system.paths import AnyPath, RemotePath, as_path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Prefix of the hidden work folder beside the target. Eight random characters follow.
PREFIX = ".mask_rcnn_partial_"
# Seconds. On a file system without locks, only a work folder of this age counts as abandoned.
ABANDONED_AGE = 24 * 3600
NO_ROOM = ("ENOSPC", "EDQUOT", "EFBIG")  # names in `errno`; Windows does not define all of them


class DiskFull(OSError):
    """Raised when a disk has too little free space for a file. The message names the file."""


def cache_home() -> Path:
    """Returns the `Path` of the cache folder: $MASK_RCNN_HOME, or `mask_rcnn` in the platform's cache."""
    if os.environ.get("MASK_RCNN_HOME"):
        return Path(os.environ["MASK_RCNN_HOME"]).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "mask_rcnn"


@contextlib.contextmanager
def atomic_write(path: AnyPath, num_bytes: int | None = None) -> Iterator[Path]:
    """Context manager for the atomic write of a file or folder.

    The new file replaces the old one only when it is complete and flushed to disk. Readers find either the
    old file or the new one. An exception inside the context leaves the old file unchanged. A killed process
    leaves a hidden work folder, which `remove_leftovers` deletes.

    Args:
        path: Path of the file or folder to write. Missing parent folders are created. A symbolic link is
            followed. A new file gets the default permissions, a replaced file keeps its own. A remote path
            must be a file. It is uploaded when the context ends.
        num_bytes: Approximate size of the file in bytes, for the message about a full disk. Defaults to
            None, unknown.

    Yields:
        `Path` to write to, with the same name. For local paths, it is on the same disk.

    Raises:
        DiskFull: If there is too little space for the file.
        ValueError: If `path` is a device, a pipe or a socket.
    """
    path = as_path(path)
    if isinstance(path, RemotePath):
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            yield Path(folder, path.name)
            path.write(Path(folder, path.name))
        return
    path = Path(os.path.realpath(path))
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(
            f"Expected the path of a file. Received: {path}, a device, pipe or socket. Choose another path."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_errors(path, num_bytes), _work_folder(path.parent) as folder:
        new = folder / "new" / path.name
        new.parent.mkdir()
        yield new
        if path.is_file() and new.is_file():
            shutil.copymode(path, new)
        _sync(new)
        _replace(path, new, folder / "old" / path.name)
        _sync_folder(path.parent)


@contextlib.contextmanager
def disk_full_errors(path: Path, num_bytes: int | None = None) -> Iterator[None]:
    """Context manager that converts errors about a full disk to `DiskFull`, which names the file.

    Args:
        path: `Path` of the file that is written in the context.
        num_bytes: Approximate size of the file in bytes, for the message. Defaults to None, unknown.

    Raises:
        DiskFull: If the disk is full, or a quota or another limit of the system is reached.
    """
    try:
        yield
    except DiskFull:
        raise
    except (OSError, RuntimeError) as error:  # HDF5 raises both
        if not _is_disk_full(error):
            raise
        needed = "" if num_bytes is None else f" of about {num_bytes:,} bytes"
        raise DiskFull(
            f"Expected room for the file {path}{needed}. "
            f"Received: a disk with {shutil.disk_usage(path.parent).free:,} bytes free, or a quota that is "
            "reached. Free some space, then start again. A training run continues with `--resume`."
        ) from error


def _is_disk_full(error: BaseException | None) -> bool:
    """Returns whether an error or its context reports a full disk. HDF5 has the errno only in its message."""
    if error is None:
        return False
    numbers = [getattr(errno, name) for name in NO_ROOM if hasattr(errno, name)]
    is_full = getattr(error, "errno", None) in numbers
    is_full |= any(f"errno = {number}," in str(error) for number in numbers)
    return is_full or _is_disk_full(error.__context__)


def remove_leftovers(folder: str | Path) -> int:
    """Deletes the work folders that killed processes left in `folder` during an `atomic_write`.

    The work folder of a running process is locked and is not deleted. All other files are not touched. If
    the process was killed while it replaced a folder, the old folder is restored.

    Args:
        folder: Folder in which files were written. It need not exist. Subfolders are not searched.

    Returns:
        Number of deleted work folders.
    """
    removed = 0
    for leftover in Path(folder).glob(f"{PREFIX}*"):
        if leftover.is_symlink() or not leftover.is_dir():
            continue
        with contextlib.suppress(OSError):  # belongs to another user, or another process deleted it
            removed += _discard_if_abandoned(leftover)
    return removed


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Context manager that holds an exclusive lock on a folder. Waits while another thread or process has it.

    The system releases the lock when the process ends. On Windows and on file systems without locks, nothing
    is locked.

    Args:
        folder: Path of the folder. It is created if it does not exist.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    descriptor = _open_folder(folder)
    try:
        _lock(descriptor)
        yield
    finally:
        _close(descriptor)


@contextlib.contextmanager
def _work_folder(parent):
    """Context manager that creates a locked folder in `parent` and deletes it at the end."""
    folder, descriptor = _new_locked_folder(parent)
    try:
        yield folder
    finally:
        _discard(folder)
        _close(descriptor)


def _new_locked_folder(parent: Path) -> tuple[Path, int | None]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        descriptor = None
        with contextlib.suppress(FileNotFoundError):
            descriptor = _open_folder(folder)
            _lock(descriptor)
        if folder.exists():
            return folder, descriptor
        _close(descriptor)  # `remove_leftovers` deleted it before it was locked


def _discard_if_abandoned(folder):
    """Deletes a work folder unless a running process uses it. Returns whether it was deleted."""
    descriptor = _open_folder(folder)
    try:
        if not _is_abandoned(folder, descriptor):
            return False
        _discard(folder)
        return not folder.exists()
    finally:
        _close(descriptor)


def _discard(folder):
    """Deletes a work folder. Moves an old file or folder in it back if its replacement did not happen."""
    for old in folder.glob("old/*"):
        if not os.path.lexists(folder.parent / old.name):
            os.replace(old, folder.parent / old.name)
    shutil.rmtree(folder, ignore_errors=True)


def _replace(path, new, old):
    """Moves `new` to `path`. An existing folder is first moved to `old`: a rename cannot replace a folder."""
    if path.is_dir() and new.is_dir():
        old.parent.mkdir()
        os.replace(path, old)
    os.replace(new, path)


def _open_folder(folder: str | Path) -> int | None:
    """Returns a file descriptor of a folder. Returns None on Windows, which cannot open folders."""
    return None if fcntl is None else os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def _close(descriptor):
    if descriptor is not None:
        os.close(descriptor)


def _lock(descriptor: int | None) -> None:
    if descriptor is not None and fcntl is not None:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_abandoned(folder: Path, descriptor: int | None) -> bool:
    """Returns whether no running process uses a work folder. Locks the folder if the file system can."""
    try:
        if descriptor is not None and fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have no locks
        pass
    return time.time() - folder.stat().st_mtime > ABANDONED_AGE


def _sync(path):
    """Flushes a file, or a folder with all of its contents, to disk."""
    if path.is_dir():
        for each in path.iterdir():
            _sync(each)
        _sync_folder(path)
    else:
        with open(path, "r+b") as file:
            os.fsync(file.fileno())


def _sync_folder(folder):
    descriptor = _open_folder(folder)
    if descriptor is not None:
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
