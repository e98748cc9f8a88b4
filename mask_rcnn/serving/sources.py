"""Models of a server on disk: single files, and folders with numbered versions."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mask_rcnn.system.paths import local_path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
VERSION = re.compile(r"[0-9]{1,18}")
MODEL_SUFFIXES = (".weights.h5", ".h5", ".tflite", ".onnx")
SAVED_MODEL = "saved_model.pb"


@dataclass(frozen=True)
class Source:
    """A model that the user specified.

    Args:
        name: Name of the model in URLs.
        path: `Path` of a weights file, a SavedModel folder, a .tflite or an .onnx file, or the name of
            published weights. Or a folder with numbered versions, as in TensorFlow Serving: `1/`, `2/`, each
            a SavedModel or a folder with one such file.
    """

    name: str
    path: Path

    @property
    def has_versions(self) -> bool:
        """Whether the path is a folder of versions: any folder that is not itself a SavedModel."""
        return self.path.is_dir() and not (self.path / SAVED_MODEL).is_file()

    def versions(self) -> dict[int, Path]:
        """Returns the current versions, `{number: path}`, newest first."""
        if not self.has_versions:
            return {_single_version(self.path): self.path}
        versions = {}
        for entry in self.path.iterdir():
            if VERSION.fullmatch(entry.name) and entry.is_dir() and (path := _model_in(entry)):
                versions[int(entry.name)] = path
        return dict(sorted(versions.items(), reverse=True))


def _single_version(path: Path) -> int:
    """Returns the version number of a single model: the name of its folder if it is a number, else 1."""
    return int(path.name) if path.is_dir() and VERSION.fullmatch(path.name) else 1


def _model_in(folder: Path) -> Path | None:
    """Returns the path of the model in the folder of a version, or None if there is none yet."""
    if (folder / SAVED_MODEL).is_file():
        return folder
    files = [file for file in folder.iterdir() if file.name.endswith(MODEL_SUFFIXES) and file.is_file()]
    return files[0] if len(files) == 1 else None


def parse_source(text: str) -> Source:
    """Returns the `Source` of a command line argument, PATH or NAME=PATH.

    The default name is the file name without its suffix, or the name of the folder. For a single numbered
    version, such as models/fruits/3, it is the name of the parent folder.

    Raises:
        ValueError: The name cannot be part of a URL.
    """
    name, equals, path = text.partition("=")
    if not equals or os.sep in name:
        name, path = "", text
    path = local_path(path)
    name = name or _default_name(path)
    if not NAME.fullmatch(name):
        raise ValueError(
            "The name of a model must have only letters, digits, '_', '-' and '.'. "
            f"Received: {name!r}, from {text!r}. Set another name with NAME=PATH."
        )
    return Source(name, path)


def _default_name(path: Path) -> str:
    for suffix in MODEL_SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    path = path.absolute()
    return path.parent.name if VERSION.fullmatch(path.name) else path.name


def check_sources(sources: Sequence[Source]) -> None:
    """Raises a ValueError if a name is repeated, or a folder has no version."""
    names = [source.name for source in sources]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"The names of the models must differ. Received: {', '.join(repeated)} twice. "
            "Set the names with NAME=PATH NAME=PATH."
        )
    for source in sources:
        if source.has_versions and not source.versions():
            raise ValueError(
                "Expected a SavedModel folder, or a folder with numbered versions: 1/, 2/, each a SavedModel "
                f"or a folder with one .weights.h5, .tflite or .onnx file. Received: {str(source.path)!r}, "
                f"with none of them. Export to {str(source.path / '1')!r}, or give the path of a file."
            )


def fingerprint(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Returns the names, sizes and modification times of the files of a model, to detect changes."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = []
    for file in files:
        try:
            state = file.stat()
        except FileNotFoundError:  # deleted since it was listed
            continue
        states.append((str(file), state.st_size, state.st_mtime_ns))
    return tuple(states)
