"""Finds the image files that a json names, also if the names come from another operating system."""

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.system.paths import RemotePath

# Files of a folder by the last part of their name: (all parts of the name, path) of each.
FileIndex = dict[str, list[tuple[tuple[str, ...], Path | RemotePath]]]


def find_image_files(
    images: Iterable[Mapping[str, Any]], folder: Path | RemotePath, findings: Findings
) -> dict[int | str, Path | RemotePath]:
    """Returns {image id: path}. For a file that is not found, it is the path in the json.

    If a name is not a file of the folder, variants are tried: with separators of other systems, with decoded
    URL escapes, without leading folders, and with other upper and lower case.

    Args:
        images: Dicts with `id` and `file_name`.
        folder: Path of the image folder.
        findings: `Findings`, to which repairs and refusals are added.
    """
    paths, index, names = {}, None, _names_of_files(folder)
    for image in images:
        name = image["file_name"]
        if not isinstance(name, str) or not name.strip() or "\0" in name:
            where = f"image {shown(image['id'])} with file_name={shown(name)}"
            findings.refuse("`file_name` of an image must be text", where)
            continue
        paths[image["id"]] = path = folder / name
        if name not in names and (os.path.isabs(name) or not _is_file(path)):
            index = index_files(folder) if index is None else index
            matches = find_by_name(name, index)
            if len(matches) == 1:
                paths[image["id"]] = matches[0]
                findings.repair(
                    "the image file was found under another name than `file_name`",
                    f"{shown(name)} as {shown(str(matches[0]))}",
                )
            elif matches:
                findings.refuse(
                    "`file_name` must name one file", f"{shown(name)}, which {len(matches)} files could be"
                )
            elif os.path.isabs(name):
                findings.repair("`file_name` is a path outside of the folder of the images", shown(name))
    _check_shared(paths, findings)
    return paths


def _is_file(path):
    return path.is_file() if isinstance(path, RemotePath) else os.path.isfile(path)


def name_parts(name: str) -> tuple[str, ...]:
    """Returns the folders and the name of a path of any system as a tuple in a normalized form.

    >>> name_parts("C:\\\\Data\\\\My%20Photos\\\\A.JPG")
    ('data', 'my photos', 'a.jpg')
    """
    text = unicodedata.normalize("NFC", unquote(name.replace("\\", "/"))).casefold()
    parts = [part for part in PurePosixPath(text).parts if part not in ("/", "//", "..", ".")]
    return tuple(parts[1:] if parts and parts[0].endswith(":") else parts)


def _names_of_files(folder):
    """Returns the set of the file names in a folder, without those in its subfolders."""
    if isinstance(folder, RemotePath):
        return {path.name for path in folder.files() if path.parent == folder}
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:  # the folder cannot be listed, so each file is checked by its name
        return set()


def index_files(folder: Path | RemotePath) -> FileIndex:
    """Returns {last part of the name: [(all parts, path)]} of the files in a folder and its subfolders."""
    index: FileIndex = {}
    if isinstance(folder, RemotePath):
        files = ((path, path.relative_to(folder)) for path in folder.files())
    else:
        files = ((path, path.relative_to(folder)) for path in folder.rglob("*"))
    for path, relative in files:
        parts = name_parts(relative.as_posix())
        if parts and _is_file(path):
            index.setdefault(parts[-1], []).append((parts, path))
    return index


def find_by_name(name: str, index: FileIndex) -> list[Path | RemotePath]:
    """Returns the paths whose end matches a name, those with the most common parts.

    Args:
        name: `file_name` of an image, of any operating system.
        index: Result of `index_files`.
    """
    parts = name_parts(name)
    files = index.get(parts[-1], []) if parts else []
    # Either the name is the end of the path below the folder, or that path is the end of the name.
    files = [file for file in files if common_suffix(parts, file[0]) == min(len(parts), len(file[0]))]
    longest = max((len(file[0]) for file in files if len(file[0]) <= len(parts)), default=None)
    return [path for file_parts, path in files if longest is None or len(file_parts) == longest]


def common_suffix(parts: Sequence[str], others: Sequence[str]) -> int:
    """Returns the number of equal parts at the end of two paths."""
    count = 0
    for part, other in zip(reversed(parts), reversed(others), strict=False):
        if part != other:
            break
        count += 1
    return count


def _check_shared(paths, findings):
    """Adds a repair for images that share a file."""
    owners = {}
    for id, path in paths.items():
        owners.setdefault(str(path), []).append(id)
    for ids in owners.values():
        if len(ids) > 1:
            where = f"{shown(paths[ids[0]].name)} of images {', '.join(map(shown, ids[:3]))}"
            findings.repair("several images have the same file: each counts", where)
