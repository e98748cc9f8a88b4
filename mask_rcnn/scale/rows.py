"""Detections as rows of a table, one row per image.

| column | type | meaning |
|---|---|---|
| `file` | string | name of the image |
| `width`, `height` | int32 | size of the upright image, pixels; null if the image failed |
| `category_ids` | list of int32 | category ids of the data set, best detection first |
| `categories` | list of string | category names |
| `scores` | list of float32 | 0..1 |
| `bboxes` | list of 4 float64 each | x, y, width, height, pixels |
| `segmentations` | list of struct | COCO's RLE, `size` and `counts`; null without a mask head |
| `keypoints` | list of lists of float64 | x, y, score as in COCO; null without a keypoint head |
| `used_bits` | int8 | bits that the samples of a 16-bit file use; null for other files |
| `error` | string | why the image failed; null if it did not |
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mask_rcnn.data.image_io.images import used_bits
from mask_rcnn.errors import UnreadableImage, short_message
from mask_rcnn.evaluation.coco_results import to_coco
from mask_rcnn.prediction.image_predictor import ImagePredictor
from mask_rcnn.prediction.tiled_predictor import TiledPredictor
from mask_rcnn.structures import Category, Detections
from mask_rcnn.system.paths import as_path

_RUN_LENGTHS = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
# Columns of lists, and the fields of COCO's results that they contain.
FIELDS = {
    "category_ids": "category_id",
    "scores": "score",
    "bboxes": "bbox",
    "segmentations": "segmentation",
    "keypoints": "keypoints",
}
SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("category_ids", pa.list_(pa.int32())),
        ("categories", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("bboxes", pa.list_(pa.list_(pa.float64()))),
        ("segmentations", pa.list_(_RUN_LENGTHS)),
        ("keypoints", pa.list_(pa.list_(pa.float64()))),
        ("used_bits", pa.int8()),
        ("error", pa.string()),
    ]
)


@dataclass(frozen=True)
class ImageFile:
    """An image file to detect objects in.

    Args:
        path: `os.fsencode` of its path or URL, bytes, because file names may not be valid text.
        name: Name in the column `file`.
    """

    path: bytes
    name: str


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Settings of the detection. It can be pickled and sent to other processes.

    Args:
        load: Function without arguments that returns the predictor. It must be picklable.
        batch_size, threads, score_threshold: As in `ImagePredictor.predict_many`.
        in_tiles: Whether only windows of large TIFF files are read. Then `used_bits` is null. Defaults to
            False.
    """

    load: Callable[[], ImagePredictor | TiledPredictor]
    batch_size: int | None = None
    threads: int | None = None
    score_threshold: float = 0.0
    in_tiles: bool = False


def detect_rows(
    detector: Detector, predictor: ImagePredictor | TiledPredictor, images: Iterable[ImageFile]
) -> Iterator[dict[str, Any]]:
    """Detects objects in images.

    Args:
        detector: Settings of the detection.
        predictor: Result of `detector.load`.
        images: The image files.

    Yields:
        A dict with a value for each column, in the order of `images`. For an image that fails, only `file`
        and `error` are set.
    """

    def finish(image, detections, pixels):
        channels = predictor.config.input.channels
        bits = None if detector.in_tiles else used_bits(as_path(os.fsdecode(image.path)), channels)
        return _row(image.name, detections, predictor.categories) | {"used_bits": bits}

    results = predictor.predict_many(
        images,
        batch_size=detector.batch_size,
        threads=detector.threads,
        image_of=lambda image: as_path(os.fsdecode(image.path)),
        finish=finish,
        score_threshold=detector.score_threshold,
    )
    for image, result in results:
        yield _failed(image.name, result) if isinstance(result, Exception) else result


def as_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Returns rows, a list of dicts, as a `pyarrow.Table` with SCHEMA."""
    return pa.Table.from_pylist(rows, SCHEMA)


def coco_entries(row: Mapping[str, Any], image_id: int | str | None) -> list[dict[str, Any]]:
    """Returns the COCO results entries of a row, as `mask-rcnn detect --json` writes them.

    Args:
        row: Dict with all columns of SCHEMA.
        image_id: Value of `image_id`.
    """
    columns = {field: row[column] for column, field in FIELDS.items() if row[column] is not None}
    return [
        dict(zip(columns, values, strict=True))
        | {"image_id": image_id, "category_name": name, "file_name": row["file"]}
        for name, *values in zip(row["categories"] or [], *columns.values(), strict=True)
    ]


def _row(name: str, detections: Detections, categories: Sequence[Category]) -> dict[str, Any]:
    """Returns the row of an image, without `used_bits`."""
    entries = to_coco(detections, None, categories)
    absent = {"segmentation"} if detections.masks is None else set()
    absent |= {"keypoints"} if detections.keypoints is None else set()
    height, width = detections.image_size
    return {
        "file": name,
        "width": width,
        "height": height,
        "categories": [categories[class_id - 1].name for class_id in detections.class_ids],
        **{
            column: None if field in absent else [entry[field] for entry in entries]
            for column, field in FIELDS.items()
        },
        "error": None,
    }


def _failed(name: str, error: Exception) -> dict[str, Any]:
    """Returns the row of an image that could not be read or detected in."""
    is_complete = isinstance(error, UnreadableImage)  # its message names the file and the reason
    reason = str(error) if is_complete else f"{type(error).__name__}: {short_message(error)}"
    return dict.fromkeys(SCHEMA.names) | {"file": name, "error": " ".join(reason.split())}
