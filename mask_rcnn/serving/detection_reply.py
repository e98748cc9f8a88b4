"""Parses the query of `POST /detect`, and writes its reply: JSON or an image with the detections drawn."""

import io
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mask_rcnn.evaluation.coco_results import to_coco
from mask_rcnn.formats.outlines import mask_outlines
from mask_rcnn.serving.repository import Version
from mask_rcnn.serving.request_error import RequestError
from mask_rcnn.structures import Category, Detections
from mask_rcnn.visualization.drawing import draw

MASKS = ("rle", "polygons", "none")
PICTURES = ("png", "jpeg")
PARAMETERS = ("model", "version", "score", "masks", "picture")
DEFAULT_SCORE = 0.5


@dataclass(frozen=True, kw_only=True)
class DetectionQuery:
    """The query of a detection request.

    Args:
        model: Name of the model. Defaults to None, for a server with one model.
        version: Number of its version. Defaults to None, the newest.
        score: Detections with lower scores are left out, 0..1. Defaults to 0.5.
        masks: Form of the masks in JSON, one of MASKS. Defaults to "rle".
        picture: Format of the drawn image, one of PICTURES. Defaults to None, which is JSON.
    """

    model: str | None = None
    version: int | None = None
    score: float = DEFAULT_SCORE
    masks: str = "rle"
    picture: str | None = None


def parse_query(pairs: Iterable[tuple[str, str]]) -> DetectionQuery:
    """Returns the `DetectionQuery` of the parameters of a URL.

    Args:
        pairs: List of (name, value), both str.

    Raises:
        RequestError: A parameter is unknown, repeated, or has an invalid value.
    """
    values = {}
    for name, value in pairs:
        if name not in PARAMETERS or name in values:
            raise RequestError(
                400, f"Expected the parameters {', '.join(PARAMETERS)}, each once. Received: {name!r}."
            )
        values[name] = value
    if "version" in values:
        values["version"] = parse_version(values["version"])
    if "score" in values:
        values["score"] = _score(values["score"])
    for name, choices in (("masks", MASKS), ("picture", PICTURES)):
        if values.get(name, choices[0]) not in choices:
            raise RequestError(400, f"Expected {name}={'|'.join(choices)}. Received: {values[name]!r}.")
    return DetectionQuery(**values)


def parse_version(text: str) -> int:
    """Returns the version number of a text, an int; raises a `RequestError` if it is not one."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise RequestError(400, f"Expected the number of a version. Received: {text!r}.")
    return int(text)


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        raise RequestError(400, f"Expected a score from 0 to 1. Received: {text!r}.")
    return score


def detection_reply(
    detections: Detections,
    image: np.ndarray | None,
    *,
    version: Version,
    query: DetectionQuery,
    categories: Sequence[Category],
    start: float,
) -> tuple[str, bytes]:
    """Returns the media type and the bytes of a reply.

    Args:
        detections: `Detections` of the image.
        image: `[H, W, 3]` uint8 if the query asks for a drawn image, else None.
        version: `Version` that made the detections.
        query: `DetectionQuery`.
        categories: Tuple of `Category` of the model.
        start: `time.monotonic()` when the request was accepted.
    """
    detections = detections.select(np.argsort(-detections.scores, kind="stable"))
    if query.picture and image is not None:
        return f"image/{query.picture}", _picture(draw(image, detections, categories), query.picture)
    height, width = detections.image_size
    reply = {
        "model": version.name,
        "version": str(version.number),
        "image": {"width": width, "height": height},
        "seconds": round(time.monotonic() - start, 4),
        "detections": _entries(detections, categories, query.masks),
    }
    return "application/json", json.dumps(reply, allow_nan=False).encode("utf-8")


def _picture(pixels: np.ndarray, format: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **({"quality": 90} if format == "jpeg" else {}))
    return file.getvalue()


def _entries(detections: Detections, categories: Sequence[Category], masks: str) -> list[dict[str, Any]]:
    """Returns the detections in COCO's results format, with the class name in `category`."""
    names = {category.id: category.name for category in categories}
    crops, origins = detections.masks, detections.mask_origins
    entries = []
    for index, coco in enumerate(to_coco(detections, None, categories)):
        entry = {
            "category_id": coco["category_id"],
            "category": names[coco["category_id"]],
            "score": coco["score"],
            "bbox": coco["bbox"],
        }
        if masks == "polygons" and crops is not None and origins is not None:
            entry["segmentation"] = _polygons(crops[index], origins[index])
        elif masks == "rle" and "segmentation" in coco:
            entry["segmentation"] = coco["segmentation"]
        if "keypoints" in coco:
            entry["keypoints"] = coco["keypoints"]
        entries.append(entry)
    return entries


def _polygons(crop: np.ndarray, origin: np.ndarray) -> list[list[float]]:
    """Returns the outer contours of a mask as COCO polygons, flat lists of x, y. Holes are filled."""
    y, x = origin.tolist()
    return [(ring + (x, y)).ravel().tolist() for ring, is_hole in mask_outlines(crop) if not is_hole]
