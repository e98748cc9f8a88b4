"""Checks the file that a command is to write, before its work starts."""

import os

from mask_rcnn.system.paths import is_remote


def check_output_file(option, path, inputs):
    """Creates the folder of an output file, and checks that the file can be written there.

    Args:
        option: Name of the option, such as "--json", for the error messages.
        path: Path of the file, or None if the option is not given. Remote paths are not checked.
        inputs: Paths of the files that the command reads.

    Raises:
        ValueError: The path is an input or a folder, or its folder cannot be written to.
    """
    if not path or is_remote(path):
        return
    if os.path.realpath(path) in map(os.path.realpath, inputs):
        raise ValueError(f"{option} must not be an input. Received: {path}. Choose another file.")
    if path.is_dir():
        raise ValueError(f"{option} must be a file. Received: {path}, a folder. Add a file name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{option} must be in a folder that can be written to. Received: {path}.")
