"""Finds the image and video files of a command's inputs, each once, and records which files are skipped."""

import collections
import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mask_rcnn.data.image_io.image_headers import SUFFIXES
from mask_rcnn.system.paths import RemotePath

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")  # formats that OpenCV reads
MAX_EXAMPLES = 3


@dataclass
class Skipped:
    """Skipped files, grouped by the reason.

    Args:
        files: `{reason: list of file names}`, with reasons such as "hidden files". Defaults to empty.
    """

    files: dict[str, list[str]] = field(default_factory=lambda: collections.defaultdict(list))

    def add(self, reason: str, name: object) -> None:
        """Adds a file. `name` is its name or path."""
        self.files[reason].append(str(name))

    def lines(self) -> list[str]:
        """Returns a line for each reason, with the number of files and some examples."""
        return [
            f"Skipped {len(names)} {reason}: {', '.join(names[:MAX_EXAMPLES])}"
            + (", ..." if len(names) > MAX_EXAMPLES else "")
            for reason, names in self.files.items()
        ]


def is_image(file: Path | RemotePath) -> bool:
    """Returns whether the suffix of a file is that of an image format that can be read."""
    return file.suffix.lower() in SUFFIXES


def is_video(file: Path | RemotePath) -> bool:
    """Returns whether the suffix of a file is that of a video format that can be read."""
    return file.suffix.lower() in VIDEO_SUFFIXES


@contextlib.contextmanager
def local_inputs(inputs: Iterable[Path | RemotePath]) -> Iterator[list[Path]]:
    """A context manager that yields the paths of inputs on this machine.

    Remote files are copied to a temporary folder, because OpenCV cannot read them.
    """
    with tempfile.TemporaryDirectory(prefix="mask_rcnn_inputs_") as folder:
        yield [_local_copy(path, Path(folder)) if isinstance(path, RemotePath) else path for path in inputs]


def _local_copy(path: RemotePath, folder: Path) -> Path:
    """Copies a remote file, or all files of a remote folder, to a local folder. Returns the local path."""
    copy = folder.joinpath(*path.parts)
    for file in path.files() if path.is_dir() else [path]:
        target = folder.joinpath(*file.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return copy


def find_files(inputs: Sequence[Path], out: Path, skipped: Skipped) -> dict[Path, str]:
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
    files: dict[Path, str] = {}
    known: set[str] = set()
    root = os.path.commonpath([os.path.abspath(path if path.is_dir() else path.parent) for path in inputs])
    for path in inputs:
        candidates = sorted(_walk(path, out, skipped)) if path.is_dir() else [path]
        if not candidates:
            skipped.add("folders without images and videos", path)
        for file in candidates:
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
            f"A folder must contain images or videos. Received: {shown}, which has none. {reasons}."
        )
    return files


def _walk(folder: Path, out: Path, skipped: Skipped) -> Iterator[Path]:
    """Yields the images and videos in a folder and its subfolders."""
    output_folder = os.path.realpath(out)

    def skip_unreadable(error: OSError) -> None:
        skipped.add(f"unreadable folders ({error.strerror})", error.filename)

    for parent, folders, names in os.walk(folder, onerror=skip_unreadable):
        reasons = {name: _skip_reason(os.path.join(parent, name), output_folder) for name in sorted(folders)}
        for name, reason in reasons.items():
            if reason:
                skipped.add(reason, os.path.join(parent, name))
        folders[:] = [name for name, reason in reasons.items() if not reason]
        for file in (Path(parent, name) for name in sorted(names)):
            if file.name.startswith("."):
                skipped.add("hidden files", file)
            elif not is_image(file) and not is_video(file):
                skipped.add(f"files {file.suffix.lower() or 'without suffix'}", file)
            else:
                yield file


def _skip_reason(path: str, output_folder: str) -> str | None:
    """Returns why a folder is not searched, or None if it is."""
    if os.path.realpath(path) == output_folder:
        return "output folders (--out)"
    if os.path.basename(path).startswith("."):
        return "hidden folders"
    if os.path.islink(path):
        return "symbolic links to folders"
    return None
