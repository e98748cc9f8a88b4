"""Finds the image and video files of a command's inputs, each once, and records which files are skipped."""

import collections
import contextlib
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from mask_rcnn.data.image_headers import SUFFIXES
from mask_rcnn.system.paths import is_remote

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")  # formats that OpenCV reads
MAX_EXAMPLES = 3


@dataclass
class Skipped:
    """Counts skipped files by kind.

    Args:
        files: `{kind: list of file names}`, with kinds such as "hidden files". Defaults to empty.
    """

    files: dict = field(default_factory=lambda: collections.defaultdict(list))

    def add(self, kind, name):
        self.files[kind].append(str(name))

    def lines(self):
        """Returns a line for each kind, with its count and some examples."""
        return [
            f"Skipped {len(names)} {kind}: {', '.join(names[:MAX_EXAMPLES])}"
            + (", ..." if len(names) > MAX_EXAMPLES else "")
            for kind, names in self.files.items()
        ]


def is_image(file):
    return file.suffix.lower() in SUFFIXES


def is_video(file):
    return file.suffix.lower() in VIDEO_SUFFIXES


@contextlib.contextmanager
def local_inputs(inputs):
    """A context manager that yields the paths of inputs on this machine.

    Remote files are copied to a temporary folder, because OpenCV cannot read them.
    """
    with tempfile.TemporaryDirectory(prefix="mask_rcnn_inputs_") as folder:
        yield [_local_copy(path, Path(folder)) if is_remote(path) else path for path in inputs]


def _local_copy(path, folder):
    """Copies a remote file, or all files of a remote folder, to a local folder. Returns the local path."""
    copy = folder.joinpath(*path.parts)
    for each in path.files() if path.is_dir() else [path]:
        target = folder.joinpath(*each.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(each.read_bytes())
    return copy


def find_files(inputs, out, skipped):
    """Returns the images and videos in `inputs`.

    Args:
        inputs: Paths of files and folders. Folders are searched recursively, without hidden files and
            symbolic links to folders.
        out: Output folder. It is not searched if it is inside a folder of `inputs`.
        skipped: `Skipped`. All files in folders that are not returned are added.

    Returns:
        `{path: name}`, in the order of `inputs` and then of the paths. The name is the path relative to the
        input folder, with slashes. With several inputs, it is relative to their common parent folder.

    Raises:
        FileNotFoundError: None of the inputs exist.
        ValueError: There are no images or videos.
    """
    if not any(os.path.lexists(path) for path in inputs):
        shown = ", ".join(repr(str(path)) for path in inputs)
        raise FileNotFoundError(f"Expected files or folders. Received: {shown}. Check the path.")
    files, known = {}, set()
    root = os.path.commonpath([os.path.abspath(path if path.is_dir() else path.parent) for path in inputs])
    for path in inputs:
        found = sorted(_walk(path, out, skipped)) if path.is_dir() else [path]
        if not found:
            skipped.add("folders without images and videos", path)
        for file in found:
            identity = os.path.realpath(file)
            if identity in known:
                skipped.add("files that are given twice", file)
                continue
            known.add(identity)
            files[file] = Path(os.path.relpath(os.path.abspath(file), root)).as_posix()
    if not files:
        shown = ", ".join(repr(str(path)) for path in inputs)
        reasons = "; ".join(skipped.lines())
        raise ValueError(
            f"A folder must hold images or videos. Received: {shown}, which has none. {reasons}."
        )
    return files


def _walk(folder, out, skipped):
    """Yields the images and videos in a folder and its subfolders."""
    out = os.path.realpath(out)

    def skip_unreadable(error):
        skipped.add(f"unreadable folders ({error.strerror})", error.filename)

    for where, folders, names in os.walk(folder, onerror=skip_unreadable):
        kinds = {name: _folder_kind(os.path.join(where, name), out) for name in sorted(folders)}
        for name, kind in kinds.items():
            if kind:
                skipped.add(kind, os.path.join(where, name))
        folders[:] = [name for name, kind in kinds.items() if not kind]
        for file in (Path(where, name) for name in sorted(names)):
            if file.name.startswith("."):
                skipped.add("hidden files", file)
            elif not is_image(file) and not is_video(file):
                skipped.add(f"files {file.suffix.lower() or 'without suffix'}", file)
            else:
                yield file


def _folder_kind(path, out):
    """Returns why a folder is not searched, or None if it is."""
    if os.path.realpath(path) == out:
        return "output folders (--out)"
    if os.path.basename(path).startswith("."):
        return "hidden folders"
    if os.path.islink(path):
        return "symbolic links to folders"
    return None
