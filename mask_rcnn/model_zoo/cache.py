"""Cache of published files: downloaded once, and verified before each use.

Files in the cache are never deleted or overwritten. A file with a wrong hash is an error that names the file,
because the user may have put it there.
"""

import hashlib
import importlib.util
import os
import shutil
from pathlib import Path
from typing import Protocol

from absl import logging

from mask_rcnn.model_zoo.download import download
from mask_rcnn.system.files import atomic_write, cache_home, locked, remove_leftovers
from mask_rcnn.system.paths import RemotePath

FALSE_VALUES = ("", "0", "no", "false", "off")  # values of an environment variable


class PublishedFile(Protocol):
    """A published file, such as `entries.Entry`: its name, where it is, and its hash."""

    @property
    def name(self) -> str:
        """Name in messages and in the cache."""
        ...

    @property
    def file_name(self) -> str:
        """Name of the file in the URL."""
        ...

    @property
    def url(self) -> str:
        """URL of the file."""
        ...

    @property
    def packaged(self) -> str:
        """Path in the folder of installed packages if a pip package contains it, else ""."""
        ...

    @property
    def algorithm(self) -> str:
        """Algorithm of the published hash, or "" if none is published."""
        ...

    @property
    def digits(self) -> str:
        """The published hexadecimal digits of the hash."""
        ...

    @property
    def hash_text(self) -> str:
        """Description of the hash for messages."""
        ...


def is_offline() -> bool:
    """Returns whether $MASK_RCNN_OFFLINE forbids downloads."""
    return os.environ.get("MASK_RCNN_OFFLINE", "").lower() not in FALSE_VALUES


def path_of(entry: PublishedFile) -> Path:
    """Returns the path of the file of a `PublishedFile`, whether it exists or not.

    Raises:
        ImportError: If the file belongs to a pip package that is not installed.
    """
    if entry.packaged:
        package, _, file = entry.packaged.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ImportError(
                f"{entry.name} is in the package {package!r}, which must be installed. Received: no such "
                f"package. Run `pip install {package.replace('_', '-')}`."
            )
        return Path(spec.origin).parent / file
    return cache_home() / "files" / entry.name / entry.file_name


def fetch(entry: PublishedFile) -> Path:
    """Returns the path of the file of a `PublishedFile`. Downloads it if necessary, and verifies its hash.

    Raises:
        OSError: If it is not in the cache and cannot be downloaded. The message says which file to save
            where.
        ValueError: If the file has another hash than the published one.
    """
    path = path_of(entry)
    if not path.is_file():
        if is_offline():
            raise OSError(
                f"$MASK_RCNN_OFFLINE forbids downloading {entry.name}.{_manual_download(entry, path)}"
            )
        with locked(path.parent):
            if not path.is_file():  # another process may have downloaded it in the meantime
                _download(entry, path)
                return path
    verify(entry, path)
    return path


def verify(entry: PublishedFile, path: Path) -> str:
    """Returns the hash of the file at `path`, by the algorithm that its source publishes, or SHA-256.

    Raises:
        ValueError: If it differs from the published hash.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, entry.algorithm or "sha256").hexdigest()
    _check_hash(entry, digest, path, "Move it away, and download it again.")
    return digest


def _check_hash(entry: PublishedFile, digest: str, path: Path | str, advice: str) -> None:
    if not digest.startswith(entry.digits):
        raise ValueError(
            f"The file of {entry.name} must have the hash {entry.hash_text}. "
            f"Received: {path}, {entry.algorithm} {digest}: damaged, or another file. {advice}"
        )


def _download(entry: PublishedFile, path: Path) -> None:
    logging.info("Downloading %s from %s", entry.name, entry.url)
    remove_leftovers(path.parent)
    with atomic_write(path) as partial:
        try:
            digest = download(
                entry.url, partial, algorithm=entry.algorithm or "sha256", description=entry.name
            )
        except OSError as error:
            raise OSError(
                f"{entry.name} could not be downloaded ({error}).{_manual_download(entry, path)}"
            ) from error
        _check_hash(entry, digest, entry.url, "Nothing was saved. Try again later.")
    if not entry.algorithm:
        logging.warning("The source of %s publishes no hash, so %s cannot be verified.", entry.name, path)


def _manual_download(entry: PublishedFile, path: Path) -> str:
    """Returns the part of an error message that says how to download the file elsewhere."""
    return (
        f"\nDownload it elsewhere and save it as `file`:\n  url:  {entry.url}\n  hash: {entry.hash_text}\n"
        f"  file: {path}"
    )


def local_copy(path: RemotePath) -> Path:
    """Returns the path of a local copy of a remote file. Copies it again if its size or time has changed.

    Args:
        path: `RemotePath`.
    """
    state = path.stat()
    digest = hashlib.sha256(f"{path} {state}".encode()).hexdigest()
    copy = cache_home() / "remote" / digest / path.name
    if not copy.is_file():
        logging.info("Downloading %s", path)
        with (
            locked(copy.parent),
            atomic_write(copy) as partial,
            path.open() as source,
            open(partial, "wb") as file,
        ):
            shutil.copyfileobj(source, file)
    return copy
