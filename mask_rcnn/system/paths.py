"""Paths of any file system: `Path` for local paths, `RemotePath` for others such as gs://bucket/train.json.

Remote files are read and written by `tf.io.gfile`. TensorFlow is imported only for them.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar, overload

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
COLLAPSED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")  # `pathlib` changes gs://bucket to gs:/bucket
LOCAL = "file://"
BUFFER = 1 << 20  # bytes per read from a remote file

OpenableT = TypeVar("OpenableT")  # an object with a method `open`


@overload
def as_path(path: AnyPath) -> Path | RemotePath: ...
@overload
def as_path(path: OpenableT) -> OpenableT: ...
def as_path(path: Any) -> Any:
    """Converts a path to a `Path` if it is local, or to a `RemotePath`.

    Args:
        path: String or `Path`. A URL such as gs://bucket/name or file:///folder/name must be a string. Any
            other object with a method `open`, such as an image of a TFRecord file, is returned unchanged.

    Returns:
        `Path`, `RemotePath`, or `path` itself.

    Raises:
        ValueError: If `path` is a `Path` that was created from a URL. `pathlib` joins the slashes of "://".
    """
    if isinstance(path, str) and path.startswith(LOCAL):
        return Path(path.removeprefix(LOCAL))
    if isinstance(path, str) and is_remote(path):
        return RemotePath(path)
    if hasattr(path, "open") and not isinstance(path, Path):
        return path
    if COLLAPSED.match(os.fspath(path)):
        raise ValueError(
            "Expected a path, or a URL as a string. "
            f"Received: {str(path)!r}, in which `pathlib` has joined the slashes. Give the URL as a string."
        )
    return Path(path)


def is_remote(path: AnyPath) -> bool:
    """Returns whether a path is remote.

    Args:
        path: String, or a result of `as_path`.
    """
    return bool(SCHEME.match(str(path))) and not str(path).startswith(LOCAL)


def local_path(path: AnyPath) -> Path:
    """Converts a path to a local `Path`.

    Args:
        path: See `as_path`.

    Raises:
        ValueError: If the path is remote. The message names two workarounds.
    """
    path = as_path(path)
    if isinstance(path, RemotePath):
        raise ValueError(
            f"Expected a path on this machine. Received: {str(path)!r}. Use a local folder and copy it, "
            "or mount the bucket as a folder."
        )
    return path


def find_paths(pattern: AnyPath) -> list[Path | RemotePath]:
    """Returns the paths that match a pattern, sorted.

    Args:
        pattern: Local or remote path with the wildcards `*`, `?` and `[...]`. The exact path of a file
            matches only that file, even if it contains such characters.

    Returns:
        List of `Path` or of `RemotePath`.
    """
    path = as_path(pattern)
    if path.is_file():  # its name may contain brackets
        return [path]
    if isinstance(path, RemotePath):
        with _errors_of(path):
            return [RemotePath(name) for name in sorted(_gfile().glob(path.url))]
    return [Path(name) for name in sorted(glob.glob(str(path)))]


class FileState(NamedTuple):
    """Size in bytes and modification time in ns of a file. The fields have the names of `os.stat`."""

    st_size: int
    st_mtime_ns: int


class RemotePath:
    """A path with a scheme, such as gs://bucket/folder/name, with those methods of `Path` that are needed.

    It is not an `os.PathLike`, so functions that only support local files reject it.

    Args:
        url: String. Slashes at the end are removed.
    """

    def __init__(self, url: str):
        self.url = str(url).rstrip("/")

    def __str__(self):
        return self.url

    def __repr__(self):
        return f"RemotePath({self.url!r})"

    def __eq__(self, other):
        return isinstance(other, RemotePath) and self.url == other.url

    def __hash__(self):
        return hash(self.url)

    def __truediv__(self, name: str | PurePosixPath) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """File name, the last part of the path."""
        return self._path.name

    @property
    def stem(self) -> str:
        """File name without its suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """Suffix of the file name with its period, or an empty string."""
        return self._path.suffix

    @property
    def parent(self) -> RemotePath:
        """`RemotePath` of the folder that contains this path."""
        return RemotePath(self.url.rpartition("/")[0])

    @property
    def parts(self) -> tuple[str, ...]:
        """Tuple of the folder names and the file name without "..", for use below a local folder."""
        return tuple(part for part in self._path.parts if part not in ("/", ".."))

    @property
    def _path(self):
        return PurePosixPath(self.url.partition("://")[2])

    def exists(self) -> bool:
        """Returns whether there is a file or folder at this path."""
        with _errors_of(self):
            return _gfile().exists(self.url)

    def is_dir(self) -> bool:
        """Returns whether the path is an existing folder."""
        with _errors_of(self):
            return _gfile().isdir(self.url)

    def is_file(self) -> bool:
        """Returns whether the path is an existing file."""
        return self.exists() and not self.is_dir()

    def stat(self) -> FileState:
        """Returns the `FileState` of the file."""
        with _errors_of(self):
            status = _gfile().stat(self.url)
            return FileState(status.length, status.mtime_nsec)

    def read_bytes(self) -> bytes:
        """Returns the content of the file as bytes."""
        with self.open() as file:
            return file.read()

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """Opens the file. Returns a binary stream to read, which supports `seek`."""
        if mode != "rb":
            raise ValueError(f"Remote files can only be read as bytes. Received: mode={mode!r}. Use 'rb'.")
        return io.BufferedReader(_RemoteFile(self), BUFFER)

    def relative_to(self, folder: RemotePath) -> PurePosixPath:
        """Returns the path relative to `folder`, another `RemotePath`, as a `PurePosixPath`."""
        return self._path.relative_to(folder._path)

    def files(self) -> Iterator[RemotePath]:
        """Yields the `RemotePath` of each file in this folder and its subfolders."""
        with _errors_of(self):
            for folder, _, names in _gfile().walk(self.url):
                yield from (RemotePath(folder) / name for name in names)

    def write(self, path: Path) -> None:
        """Copies a local file to this path. Readers find either the old content or the new content."""
        partial = f"{self.url}.partial"
        with _errors_of(self):
            gfile = _gfile()
            gfile.makedirs(str(self.parent))
            gfile.copy(str(path), partial, overwrite=True)
            gfile.rename(partial, self.url, overwrite=True)


AnyPath = str | Path | RemotePath  # a path as a user gives it


class _RemoteFile(io.RawIOBase):
    """A remote file as a raw stream, for `io.BufferedReader`."""

    def __init__(self, path):
        super().__init__()
        self.path, self.position = path, 0
        self.size = path.stat().st_size
        self.file = _gfile().GFile(path.url, "rb")

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=os.SEEK_SET):
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(base + offset, 0)
        return self.position

    def readinto(self, buffer):
        count = max(min(len(buffer), self.size - self.position), 0)
        if not count:
            return 0
        with _errors_of(self.path):
            self.file.seek(self.position)
            data = self.file.read(count)
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def close(self):
        self.file.close()
        super().close()


def _gfile():
    import tensorflow as tf

    return tf.io.gfile


@contextlib.contextmanager
def _errors_of(path):
    """Converts the exceptions of TensorFlow's file systems to Python's file exceptions."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(
            f"Expected a file or folder. Received: {str(path)!r}. Check the path."
        ) from error
    except tf.errors.UnimplementedError as error:
        schemes = ", ".join(f"{name}://" for name in tf.io.gfile.get_registered_schemes() if name)
        raise ValueError(
            f"Expected a local path, or a URL that begins with one of {schemes}. Received: {str(path)!r}. "
            "Install the plugin of this file system (`tensorflow[gcs-filesystem]` for gs://), copy the files "
            "to this machine, or mount them as a folder."
        ) from error
    except tf.errors.OpError as error:
        reason = " ".join(error.message.split())
        raise OSError(
            f"{str(path)!r} cannot be read or written ({reason}). Check the path and the permissions."
        ) from error
