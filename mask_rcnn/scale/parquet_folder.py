"""A folder of Parquet files with detections, written by one or several runs of a command.

The folder has each image once, even if a run was interrupted.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from mask_rcnn.scale.rows import Detector, ImageFile, as_table, coco_entries, detect_rows
from mask_rcnn.system.files import atomic_write, locked, remove_leftovers
from mask_rcnn.system.paths import RemotePath

NAME = re.compile(r"part-\d{6}\.parquet")
SETTINGS = b"mask_rcnn"  # key of the metadata of each file
MAX_ROWS = 1000  # rows per file, after which it is written
MAX_SECONDS = 300  # time after which a file is written: the most work that an interrupted run loses
MAX_INPUTS = 3  # number of list elements that an error message shows


class ParquetFolder:
    """The rows in a folder of Parquet files, and those that are still to be written.

    The files are `part-000000.parquet` and so on. Each is written atomically. When the folder is opened, rows
    of images that failed are removed, so that these are detected again.

    Use it as a context manager. Inside, a local folder is locked. At the end, the remaining rows are written.

    Args:
        folder: Path of `paths.as_path`.
        settings: `{name: value}` that JSON can represent. All rows of a folder must have the same settings.
            They are stored in each file.
        max_rows: Number of rows after which a file is written. Defaults to 1000.
        max_seconds: Seconds after which a file is written. Defaults to 300.

    Attributes:
        done: Set of the names of the images that are in the folder or are still to be written.

    Raises:
        ValueError: On entering, if the files of the folder have other settings or are not Parquet files.
    """

    def __init__(
        self,
        folder: Path | RemotePath,
        settings: Mapping[str, Any],
        *,
        max_rows: int = MAX_ROWS,
        max_seconds: float = MAX_SECONDS,
    ):
        self.folder, self.max_rows, self.max_seconds = folder, max_rows, max_seconds
        self.settings = json.loads(json.dumps(settings))  # converts tuples to lists, as in the files
        self.done: set[str] = set()
        self._waiting: list[pa.Table] = []
        self._written_at = time.monotonic()

    def __enter__(self) -> Self:
        self._lock = contextlib.nullcontext() if isinstance(self.folder, RemotePath) else locked(self.folder)
        self._lock.__enter__()
        try:
            if not isinstance(self.folder, RemotePath):
                remove_leftovers(self.folder)
            self._read_done()
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception: Any) -> None:
        try:
            self._write()
        finally:
            self._lock.__exit__(*exception)

    def add(self, table: pa.Table) -> None:
        """Adds rows, and writes a file if there are enough rows or enough time has passed.

        Args:
            table: `pyarrow.Table` with the columns of `rows.SCHEMA`.
        """
        self._waiting.append(table)
        self.done.update(table["file"].to_pylist())
        num_rows = sum(waiting.num_rows for waiting in self._waiting)
        if num_rows >= self.max_rows or time.monotonic() - self._written_at >= self.max_seconds:
            self._write()

    def _read_done(self) -> None:
        files = part_files(self.folder)
        self._next = 1 + max((int(file.stem.removeprefix("part-")) for file in files), default=-1)
        for file in files:
            table = _read(file, ["file", "error"])
            self._check(table.schema.metadata, file)
            is_good = table["error"].is_null()
            if table["error"].null_count < table.num_rows:
                _write(_read(file).filter(is_good), file)
            self.done.update(table["file"].filter(is_good).to_pylist())

    def _check(self, metadata: Mapping[bytes, bytes] | None, file: Path | RemotePath) -> None:
        """Raises a ValueError if a file was written with other settings."""
        stored = json.loads((metadata or {}).get(SETTINGS, b"{}"))
        names = [name for name in self.settings if stored.get(name) != self.settings[name]]
        if names:
            shown = ", ".join(
                f"{name} {_shown(stored.get(name))}, now {_shown(self.settings[name])}" for name in names
            )
            raise ValueError(
                "A folder of Parquet files must have the same model, options and inputs in all runs. "
                f"Received: {file} with {shown}. Choose another folder."
            )

    def _write(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting).replace_schema_metadata(
                {SETTINGS: json.dumps(self.settings)}
            )
            _write(table, self.folder / f"part-{self._next:06}.parquet")
            self._next += 1
        self._waiting, self._written_at = [], time.monotonic()


def detect_in_parts(
    images: Sequence[ImageFile],
    parts: ParquetFolder,
    launch: Callable[[list[ImageFile]], Generator[pa.Table, None, None]],
) -> Generator[list[str], None, None]:
    """Detects objects in the images that are not in a folder yet.

    Args:
        images: The image files.
        parts: The folder, entered as a context manager.
        launch: Function of a list of `ImageFile` that yields a `pyarrow.Table` with the rows of some of them.

    Yields:
        A list with the names of the images in each table.

    Raises:
        RuntimeError: `launch` ended without rows for some images.
    """
    remaining = [image for image in images if image.name not in parts.done]
    if not remaining:
        return  # does not load the model
    with contextlib.closing(launch(remaining)) as tables:
        for table in tables:
            parts.add(table)
            yield table["file"].to_pylist()
    if missing := [image.name for image in remaining if image.name not in parts.done]:
        raise RuntimeError(
            f"Expected a row for each image. Received: none for {len(missing)}, such as {missing[0]!r}. "
            "Run the same command again for these images."
        )


def detect_in_process(images: Iterable[ImageFile], detector: Detector) -> Generator[pa.Table, None, None]:
    """Detects objects in this process. Pass it to `detect_in_parts` as `launch`, with `detector` bound.

    Args:
        images: The image files.
        detector: Settings of the detection.

    Yields:
        A `pyarrow.Table` with the row of each image.
    """
    for row in detect_rows(detector, detector.load(), images):
        yield as_table([row])


def part_files(folder: Path | RemotePath) -> list[Path | RemotePath]:
    """Returns the paths of the Parquet files of a folder, sorted by number."""
    if not folder.is_dir():
        return []
    files = folder.files() if isinstance(folder, RemotePath) else folder.iterdir()
    return sorted((file for file in files if NAME.fullmatch(file.name)), key=lambda file: file.name)


def read_rows(folder: Path | RemotePath, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yields the rows of a folder as dicts, one file at a time.

    Args:
        folder: Path of `paths.as_path`.
        columns: Names of the columns to read. Defaults to None, all columns.
    """
    for file in part_files(folder):
        yield from _read(file, columns).to_pylist()


def write_results(folder: Path | RemotePath, path: Path | str) -> None:
    """Writes the detections of a folder of Parquet files as a COCO results file, reading one file at a time.

    Entries are those of `mask-rcnn detect --json`. `file_name` is the name of the image. `image_id` is its
    index among the images without an error, sorted by name, from 1.

    Args:
        folder: Path of `paths.as_path`.
        path: Path of the JSON file.
    """
    names = [row["file"] for row in read_rows(folder, ["file", "error"]) if row["error"] is None]
    ids = {name: id for id, name in enumerate(sorted(names, key=PurePosixPath), start=1)}
    with atomic_write(path) as partial, open(partial, "w", encoding="utf-8") as file:
        separator = "["
        for row in read_rows(folder):
            for entry in coco_entries(row, ids.get(row["file"])):
                file.write(separator + json.dumps(entry))
                separator = ", "
        file.write("]" if separator == ", " else "[]")


def _read(file: Path | RemotePath, columns: Sequence[str] | None = None) -> pa.Table:
    try:
        with file.open("rb") as content:
            return pq.read_table(content, columns=columns)
    except pa.ArrowException as error:
        raise ValueError(
            f"Expected a Parquet file of `mask-rcnn detect`. Received: {file} ({error}). "
            "Delete it. The next run detects its images again."
        ) from error


def _write(table: pa.Table, file: Path | RemotePath) -> None:
    with atomic_write(file) as partial:
        pq.write_table(table, partial)


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) > MAX_INPUTS:
        return json.dumps([*value[:MAX_INPUTS], "..."])
    return json.dumps(value)
