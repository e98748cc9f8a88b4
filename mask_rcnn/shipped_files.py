"""Finds the files for users that are not Python code: web page, serving configurations and recipes."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def shipped_folder(name: str) -> Path:
    """Returns the `Path` of a folder of files for users.

    Args:
        name: Path of the folder in the clone, such as `"export/web"`. In an installed package it is below
            `mask_rcnn/shipped/`.

    Raises:
        FileNotFoundError: The folder was not installed.
    """
    installed = PACKAGE / "shipped" / name
    folder = installed if installed.is_dir() else PACKAGE.parent / name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Expected the folder {name} of mask-rcnn. Received: neither {installed} nor {folder} exists. "
            "Install mask-rcnn again."
        )
    return folder
