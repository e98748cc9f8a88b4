"""Published files on this machine: fetched once, and checked each time before they are used.

Nothing that lies in the cache is ever deleted or written over: a file with the wrong hash is an error that
names it, for it may be one that the user put there.
"""

import hashlib
import importlib.util
import os
import shutil
from pathlib import Path

from absl import logging

from mask_rcnn.files import atomic_write, cache_home, locked, remove_leftovers
from mask_rcnn.model_zoo.download import download

NO = ("", "0", "no", "false", "off")


def is_offline():
    """Whether $MASK_RCNN_OFFLINE forbids to fetch anything."""
    return os.environ.get("MASK_RCNN_OFFLINE", "").lower() not in NO


def path_of(entry):
    """Returns where the file of an entry is, or would be."""
    if entry.packaged:
        package, _, file = entry.packaged.partition("/")
        return Path(importlib.util.find_spec(package).origin).parent / file
    return cache_home() / "files" / entry.name / entry.file_name


def fetch(entry):
    """Returns the path of an entry's file with the published hash; downloads it if it is not there.

    Raises:
        OSError: it is not there and cannot be downloaded; the message says what to put where by hand.
        ValueError: what is there, or what came, has another hash.
    """
    path = path_of(entry)
    if not path.is_file():
        if is_offline():
            raise OSError(f"$MASK_RCNN_OFFLINE forbids to fetch {entry.name}.{_by_hand(entry, path)}")
        with locked(path.parent):
            if not path.is_file():  # another process may have fetched it meanwhile
                _download(entry, path)
                return path
    verify(entry, path)
    return path


def verify(entry, path):
    """Returns the whole hash of the file at `path`, by the algorithm that the source publishes, or SHA-256.

    Raises:
        ValueError: the published digits are others.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, entry.algorithm or "sha256").hexdigest()
    _check_hash(entry, digest, path, "Move it away, and fetch it again.")
    return digest


def _check_hash(entry, digest, path, advice):
    if not digest.startswith(entry.digits):
        raise ValueError(
            f"The file of {entry.name} must have the hash {entry.hash_text}. "
            f"Received: {path}, {entry.algorithm} {digest}: damaged, or another file. {advice}"
        )


def _download(entry, path):
    logging.info("Fetching %s from %s", entry.name, entry.url)
    remove_leftovers(path.parent)
    with atomic_write(path) as partial:
        try:
            digest = download(entry.url, partial, entry.algorithm or "sha256", entry.name)
        except OSError as error:
            raise OSError(f"{entry.name} could not be fetched ({error}).{_by_hand(entry, path)}") from error
        _check_hash(entry, digest, entry.url, "Try again later; nothing was kept.")
    if not entry.algorithm:
        logging.warning(
            "%s publishes no hash, so nothing says that %s is what it should be.", entry.name, path
        )


def _by_hand(entry, path):
    return (
        f"\nFetch it on another machine and put it here:\n  url:  {entry.url}\n  hash: {entry.hash_text}\n"
        f"  file: {path}"
    )


def local_copy(path):
    """Returns the path of a copy of a remote file; it is fetched again if its size or time has changed.

    Args:
        path: `RemotePath`.
    """
    state = path.stat()
    digest = hashlib.sha256(f"{path} {state}".encode()).hexdigest()
    copy = cache_home() / "remote" / digest / path.name
    if not copy.is_file():
        logging.info("Fetching %s", path)
        with (
            locked(copy.parent),
            atomic_write(copy) as partial,
            path.open() as source,
            open(partial, "wb") as file,
        ):
            shutil.copyfileobj(source, file)
    return copy
