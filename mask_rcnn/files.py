"""Atomic writes of files and folders, removal of what killed processes left behind, and the cache folder."""

import contextlib
import errno
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from mask_rcnn.paths import RemotePath, as_path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Hidden work folder beside the target; eight random characters follow.
PREFIX = ".mask_rcnn_partial_"
# Seconds. Where a file system has no locks, only a work folder of this age counts as abandoned.
ABANDONED_AGE = 24 * 3600
NO_ROOM = ("ENOSPC", "EDQUOT", "EFBIG")  # names in `errno`; Windows has not all


class DiskFull(OSError):
    """There is no room for a file. The message names the file."""


def cache_home():
    """Returns the cache folder: $MASK_RCNN_HOME, or `mask_rcnn` in the cache folder of the platform."""
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
def atomic_write(path, num_bytes=None):
    """Writes a file or folder that replaces the old one only when it is complete and on the disk.

    An error inside the context leaves the old file as it was. A reader finds the old file or the new one.
    A killed process leaves a hidden work folder, which `remove_leftovers` deletes.

    Args:
        path: File or folder to write. Missing parent folders are made. A symbolic link is followed. A new
            file has the permissions that `open` would give it, a replaced one keeps its own. A remote path,
            which only a file can have, is written when the context ends.
        num_bytes: Size of the file, for the error of a full disk. Defaults to None, unknown.

    Yields:
        `Path` to write to, of the same name and on the same disk.

    Raises:
        DiskFull: There is no room for the file; the message names it.
        ValueError: `path` is a device, a pipe or a socket.
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
    with room_for(path, num_bytes), _work_folder(path.parent) as folder:
        new = folder / "new" / path.name
        new.parent.mkdir()
        yield new
        if path.is_file() and new.is_file():
            shutil.copymode(path, new)
        _sync(new)
        _replace(path, new, folder / "old" / path.name)
        _sync_folder(path.parent)


@contextlib.contextmanager
def room_for(path, num_bytes=None):
    """A context that writes a file; the error of a full disk names the file and the space that it needs.

    Args:
        path: `Path` of the file.
        num_bytes: Size of the file. Defaults to None, unknown.

    Raises:
        DiskFull: The disk is full, or a quota or another limit of the system is reached.
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
            f"Received: a disk with {shutil.disk_usage(path.parent).free:,} bytes free, or a limit that is "
            "reached. Free some space, then start again. A run continues with `--resume`."
        ) from error


def _is_disk_full(error):
    """Returns whether an error, or one that it followed, is that of a full disk. HDF5 says so in its text."""
    if error is None:
        return False
    numbers = [getattr(errno, name) for name in NO_ROOM if hasattr(errno, name)]
    is_full = getattr(error, "errno", None) in numbers
    is_full |= any(f"errno = {number}," in str(error) for number in numbers)
    return is_full or _is_disk_full(error.__context__)


def remove_leftovers(folder):
    """Deletes what `atomic_write` left in `folder` when its process was killed.

    A work folder in which a living process writes is locked and stays, and so does every other file. A folder
    that was being replaced when the process died is put back.

    Args:
        folder: Folder that files are written to. It need not exist. Subfolders are not searched.

    Returns:
        The number of work folders that were deleted.
    """
    removed = 0
    for leftover in Path(folder).glob(f"{PREFIX}*"):
        if leftover.is_symlink() or not leftover.is_dir():
            continue
        with contextlib.suppress(OSError):  # of another user, or deleted by another process
            removed += _discard_if_abandoned(leftover)
    return removed


@contextlib.contextmanager
def locked(folder):
    """Holds an exclusive lock of a folder, and waits for it as long as another thread or process has it.

    The system releases it when the process ends. On a file system without locks nothing is locked.

    Args:
        folder: Made if it does not exist.
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
    """Makes a locked folder in `parent`, and deletes it at the end."""
    folder, descriptor = _new_locked_folder(parent)
    try:
        yield folder
    finally:
        _discard(folder)
        _close(descriptor)


def _new_locked_folder(parent):
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
    """Deletes a work folder unless a living process writes in it; returns whether it is gone."""
    descriptor = _open_folder(folder)
    try:
        if not _is_abandoned(folder, descriptor):
            return False
        _discard(folder)
        return not folder.exists()
    finally:
        _close(descriptor)


def _discard(folder):
    """Deletes a work folder; what was moved into it to be replaced, and was not, goes back."""
    for old in folder.glob("old/*"):
        if not os.path.lexists(folder.parent / old.name):
            os.replace(old, folder.parent / old.name)
    shutil.rmtree(folder, ignore_errors=True)


def _replace(path, new, old):
    """Moves `new` to `path`. A folder cannot be renamed over: it is moved to `old` first."""
    if path.is_dir() and new.is_dir():
        old.parent.mkdir()
        os.replace(path, old)
    os.replace(new, path)


def _open_folder(folder):
    """Returns a file descriptor of a folder, or None on Windows, which has none."""
    return None if fcntl is None else os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def _close(descriptor):
    if descriptor is not None:
        os.close(descriptor)


def _lock(descriptor):
    if descriptor is not None:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_abandoned(folder, descriptor):
    """Returns whether no living process writes in a work folder; it is locked then."""
    try:
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have no locks
        pass
    return time.time() - folder.stat().st_mtime > ABANDONED_AGE


def _sync(path):
    """Waits until a file, or a folder with all that is in it, is on the disk."""
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
