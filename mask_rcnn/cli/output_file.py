"""Checks the output file of a command before the command starts."""

import os
from collections.abc import Iterable
from pathlib import Path

from mask_rcnn.system.paths import RemotePath


def check_output_file(option: str, path: Path | RemotePath | None, inputs: Iterable[str | Path]) -> None:
    """Creates the folder of an output file, and checks that the file can be written there.

    Args:
        option: Name of the option, such as "--json", for the error messages.
        path: Path of the file, or None if the option is not given. Remote paths are not checked.
        inputs: Paths of the files that the command reads.

    Raises:
        ValueError: The path is an input or a folder, or its folder cannot be written to.
    """
    if path is None or isinstance(path, RemotePath):
        return
    if os.path.realpath(path) in {os.path.realpath(file) for file in inputs}:
        raise ValueError(f"{option} must not be an input. Received: {path}. Choose another file.")
    if path.is_dir():
        raise ValueError(f"{option} must be a file. Received: {path}, a folder. Add a file name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise ValueError(
            f"{option} must be in a folder that can be written to. Received: {path}. Choose another folder."
        )
