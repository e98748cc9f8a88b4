"""Files that are whole or not there."""

import contextlib
import os
from pathlib import Path


@contextlib.contextmanager
def written_aside(path):
    """Writes a file that takes the place of the old one only when it is whole and on the disk.

    Should anything go wrong inside, the old file stays and nothing else does.

    Args:
        path: of the file; its folder is made if it is not there.

    Yields:
        The path to write to, beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        with open(aside, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
