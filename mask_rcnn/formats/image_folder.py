"""Finds the image files that annotations refer to, and reads their sizes."""

import functools
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from mask_rcnn.data.findings import shown
from mask_rcnn.data.image_io.image_headers import SUFFIXES
from mask_rcnn.data.image_io.images import read_header
from mask_rcnn.data.readers.image_files import find_by_name, index_files
from mask_rcnn.system.paths import AnyPath, local_path


class ImageFolder:
    """A folder in which image files are looked up, including its subfolders.

    Args:
        folder: Local path of the folder.

    Raises:
        FileNotFoundError: If there is no such folder.
    """

    def __init__(self, folder: AnyPath):
        self.folder, self._sizes = local_path(folder), {}
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"Expected the folder of the images. Received: {str(folder)!r}. Check the path (`--images`)."
            )

    def find(self, name: object, where: str, neighbor: Path | None = None) -> Path:
        """Returns the path of an image file.

        If the folder has no file of this name, the search ignores leading folders of the name and case.

        Args:
            name: Name of the image in the annotations.
            where: File that contains the name, for the message.
            neighbor: Path of a file. If given, the name is first looked up in the folder of that file.
                Defaults to None.

        Returns:
            `Path`.

        Raises:
            ValueError: If there is no such file or several files match.
        """
        if not isinstance(name, str) or not name.strip() or "\0" in name:
            raise ValueError(
                f"Expected the name of an image. Received: {shown(name)} in {where}. Correct the name."
            )
        for base in [neighbor.parent, self.folder] if neighbor else [self.folder]:
            exact = Path(os.path.normpath(base / name.replace("\\", "/")))
            if self._contains(exact) and exact.is_file():
                return exact
        base_name = name.replace("\\", "/").rpartition("/")[2]
        paths = find_by_name(name, self._index) or find_by_name(base_name, self._index)
        return self._single(paths, shown(name), where)  # pyright: ignore[reportReturnType], a local folder

    def find_stem(self, stem: str, where: str, excluded: Collection[Path] = ()) -> Path:
        """Returns the path of the image file whose name without suffix is `stem`.

        Args:
            stem: Name without suffix, with or without folders.
            where: File that belongs to the image, for the message.
            excluded: Paths of files to ignore, such as masks. Defaults to none.

        Returns:
            `Path`.

        Raises:
            ValueError: If there is no such file or several files match.
        """
        paths = []
        for suffix in SUFFIXES:
            matches = find_by_name(f"{stem}{suffix}", self._index)
            paths += [path for path in matches if path not in excluded]
        return self._single(paths, f"{shown(stem)} with an image suffix", where)

    def name_of(self, path: Path) -> str:
        """Returns the path of an image file relative to the folder, a string with "/"."""
        return Path(os.path.relpath(path, self.folder)).as_posix()

    def size(self, path: Path) -> tuple[int, int]:
        """Returns the (height, width) of an image file after its EXIF orientation is applied."""
        if path not in self._sizes:
            header = read_header(path)
            self._sizes[path] = (header.height, header.width)
        return self._sizes[path]

    def checked_size(self, path: Path, declared: Sequence[int | None], where: str) -> tuple[int, int]:
        """Returns the (height, width) of an image file, and checks the size that the annotations declare.

        Args:
            path: Path of the image file.
            declared: (height, width) in the annotations. A side that is not declared is None.
            where: File of the annotations, for the message.

        Raises:
            ValueError: If the sizes differ.
        """
        size = self.size(path)
        if any(side not in (None, actual) for actual, side in zip(size, declared, strict=True)):
            raise ValueError(
                "The annotations must have the size of the image (EXIF orientation applied). "
                f"Received: height={shown(declared[0])}, width={shown(declared[1])} in {where}, "
                f"height={size[0]}, width={size[1]} in {path}. Use the image that was annotated."
            )
        return size

    @functools.cached_property
    def _index(self):
        return index_files(self.folder)

    def _contains(self, path):
        return not os.path.relpath(path, self.folder).startswith("..")

    def _single(self, paths, name, where):
        if len(paths) == 1:
            return paths[0]
        count = "which was not found" if not paths else f"which matches {len(paths)} files"
        raise ValueError(
            f"Expected the image of {where} in {self.folder}. Received: {name}, {count}. "
            "Give the folder of the images with `--images`."
        )
