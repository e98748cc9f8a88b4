"""Reads data sets in TFRecord files: one pass over the records makes a COCO json and locates the images.

All later steps are the same as for a COCO json with image files: checks, repairs, training. The images stay
in the files and are read at random offsets (`RecordImage`).
"""

import hashlib
import io
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from absl import logging

from mask_rcnn.data import reader_cache
from mask_rcnn.data.findings import Findings, listed
from mask_rcnn.data.image_io.checked_files import CheckedFile
from mask_rcnn.data.image_io.image_headers import MAX_PIXELS
from mask_rcnn.data.image_io.images import read_complete_header
from mask_rcnn.data.tfrecords.detection_example import read_image_fields, read_objects
from mask_rcnn.data.tfrecords.record_image import ENCODED, RecordImage
from mask_rcnn.data.tfrecords.shard_content import ShardContent
from mask_rcnn.data.tfrecords.tfrecord import decode_example, read_records
from mask_rcnn.system.parallel import default_threads, submit_ahead
from mask_rcnn.system.paths import RemotePath, as_path, find_paths

IS_SHARD = re.compile(r"\.(tf)?records?\b")  # name.tfrecord, name.record-00000-of-00010
NUMBERED = re.compile(r"(.*)-(\d{5})-of-(\d{5})(.*)")


@dataclass(frozen=True, kw_only=True)
class Shards:
    """The content of TFRecord files.

    Args:
        name: Path or pattern of the files.
        content: COCO json as bytes.
        findings: `Findings`. Guesses are among the repairs.
        images: Tuple of a `RecordImage` for each of the json's `images`, in order.
        files: Tuple of a `CheckedFile` for each image, or the error why it cannot be used.
    """

    name: str
    content: bytes
    findings: Findings
    images: tuple[RecordImage, ...]
    files: tuple[CheckedFile | ValueError, ...]


def is_shards(path: str | Path | RemotePath) -> bool:
    """Returns whether a path or pattern is that of TFRecord files, such as "train-*.tfrecord"."""
    name = as_path(path).name
    return bool(IS_SHARD.search(name)) and not name.endswith(".json")


def read_shards(pattern: str | Path | RemotePath, max_pixels: int = MAX_PIXELS) -> Shards:
    """Returns the `Shards` of TFRecord files in the schema of the Object Detection API.

    Args:
        pattern: Path of a file, or a pattern such as "gs://bucket/train-*.tfrecord".
        max_pixels: As in `read_coco`. Defaults to `MAX_PIXELS`.

    Raises:
        FileNotFoundError: No file matches.
        ValueError: Records are damaged. The message names the file and the record, counted from 0.
    """
    paths = find_shards(pattern)
    states = [(str(path), state.st_size, state.st_mtime_ns) for path in paths for state in [path.stat()]]
    key = hashlib.sha256(msgspec.json.encode([states, max_pixels])).hexdigest()
    is_large = sum(size for _, size, _ in states) >= reader_cache.MIN_BYTES
    key = f"{key}-{reader_cache.READER_VERSION}"
    arrays = reader_cache.load("shards", key) if is_large else None
    if arrays is None:
        if is_large:
            logging.info("Reading the records of %d files: %s", len(paths), pattern)
        arrays = _read(pattern, paths, max_pixels)
        if is_large:
            reader_cache.save("shards", key, arrays)
    return _unpacked(arrays, str(pattern), paths)


def find_shards(pattern: str | Path | RemotePath) -> list[Path | RemotePath]:
    """Returns the sorted paths of the TFRecord files that match a pattern.

    Raises:
        FileNotFoundError: No file matches.
    """
    paths = find_paths(pattern)
    if not paths:
        raise FileNotFoundError(
            f"Expected TFRecord files. Received: {str(pattern)!r}, which no file matches. Check the path, "
            "and put a pattern in quotes."
        )
    return paths


def _read(pattern, paths, max_pixels):
    """Returns the arrays from which `_unpacked` makes `Shards`."""
    content, problems, places, headers = ShardContent(paths[0]), [], [], []
    _note_missing(paths, content.findings)
    numbers = {path: number for number, path in enumerate(paths)}

    def read(record):
        image, data = record
        return _read_record(image, data, max_pixels)

    with ThreadPoolExecutor(default_threads()) as pool:
        records = _records(paths, problems)
        for (image, _), future in submit_ahead(pool, read, records, ahead=2 * default_threads()):
            try:
                fields, objects, file = future.result()
                content.add(image, fields, objects)
            except ValueError as error:
                problems.append(f"{image.file}, record {image.number}: {error}")
                continue
            places.append((numbers[image.file], image.number, image.offset, image.length))
            headers.append(str(file) if isinstance(file, Exception) else file)
    _check(problems, len(places), pattern)
    texts = {"headers": headers, "repairs": content.findings.repairs, "names": content.names}
    return {
        "content": np.frombuffer(content.as_json(), "uint8"),
        "places": np.array(places, "int64"),
        "texts": np.frombuffer(msgspec.json.encode(texts), "uint8"),
    }


def _records(paths, problems):
    """Yields (`RecordImage`, data) of each record of files; an error of a file is added to `problems`."""
    for path in paths:
        try:
            with path.open("rb") as file:
                for number, (offset, data) in enumerate(read_records(file, path)):
                    image = RecordImage(
                        file=path, number=number, offset=offset, length=len(data), file_name=""
                    )
                    yield image, data
        except ValueError as error:
            problems.append(str(error))


class _InMemory:
    """The image file of a record whose data is in memory."""

    def __init__(self, image, encoded):
        self.image, self.encoded = image, encoded

    def __str__(self):
        return str(self.image)

    def open(self, mode="rb"):
        return io.BytesIO(self.encoded)


def _read_record(image, data, max_pixels):
    """Returns fields, objects, and the `CheckedFile` or the error of the image of a record."""
    features = decode_example(data)
    fields = read_image_fields(features)
    named = replace(image, file_name=fields["file_name"] or "no name")
    try:
        header = read_complete_header(_InMemory(named, features[ENCODED][0]), max_pixels)
    except ValueError as error:
        return fields, [], error
    fields["height"] = fields["height"] or header.height
    fields["width"] = fields["width"] or header.width
    objects = read_objects(features, (fields["height"], fields["width"]))
    return fields, objects, CheckedFile(header.height, header.width, header.bits)


def _note_missing(paths, findings):
    """Adds a repair for each missing file of a numbered set, such as name-00003-of-00010.tfrecord."""
    numbers_of_sets = {}
    for path in paths:
        if numbered := NUMBERED.fullmatch(path.name):
            name, number, count, suffix = numbered.groups()
            numbers_of_sets.setdefault((name, int(count), suffix), set()).add(int(number))
    for (name, count, suffix), numbers in numbers_of_sets.items():
        for number in sorted(set(range(count)) - numbers):
            findings.repair(
                "files of a numbered set of shards are missing", f"{name}-{number:05d}-of-{count:05d}{suffix}"
            )


def _check(problems, count, pattern):
    if problems:
        raise ValueError(
            "Expected TFRecord files of images and their objects, in the schema of the Object Detection API. "
            f"Received: {pattern}, in which {len(problems)} records or files cannot be read:\n  "
            + "\n  ".join(listed(problems))
            + "\nWrite or copy these files again. Records are counted from 0."
        )
    if not count:
        raise ValueError(f"Expected at least one record. Received: {pattern}, empty. Is it the right file?")


def _unpacked(arrays, name, paths):
    texts = msgspec.json.decode(arrays["texts"].tobytes())
    findings = Findings()
    findings.repairs |= texts["repairs"]
    images = tuple(
        RecordImage(file=paths[file], number=number, offset=offset, length=length, file_name=file_name)
        for (file, number, offset, length), file_name in zip(
            arrays["places"].tolist(), texts["names"], strict=True
        )
    )
    files = tuple(
        ValueError(header) if isinstance(header, str) else CheckedFile(*header) for header in texts["headers"]
    )
    content = arrays["content"].tobytes()
    return Shards(name=name, content=content, findings=findings, images=images, files=files)
