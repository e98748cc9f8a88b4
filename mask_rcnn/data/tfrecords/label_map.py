"""Reads and writes `label_map.pbtxt` of the Object Detection API: ids and names of all classes."""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from mask_rcnn.data.tfrecords.protobuf import message_class
from mask_rcnn.system.paths import RemotePath

FILE_NAME = "label_map.pbtxt"


def write_label_map(path: Path, categories: Iterable[Mapping[str, Any]]) -> None:
    """Writes the entries `categories` of a COCO json to a label map. Skeletons cannot be written to it.

    Args:
        path: Path of the file.
        categories: List of dicts with `id`, `name` and optional `keypoints`.
    """
    label_map = _label_map_class()()
    for each in categories:
        item = label_map.item.add(id=each["id"], name=each["name"])
        for number, name in enumerate(each.get("keypoints", ())):
            item.keypoints.add(id=number, label=name)
    path.write_text(text_format.MessageToString(label_map, as_utf8=True), encoding="utf-8")


def read_label_map(path: Path | RemotePath) -> list[dict[str, Any]]:
    """Returns the entries `categories` of a COCO json from a label map.

    Args:
        path: Path of the file.

    Raises:
        ValueError: The file is not a label map.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        label_map = _label_map_class()()
        text_format.Parse(text, label_map, allow_unknown_field=True)
    except (ValueError, text_format.ParseError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"Expected a label map of the Object Detection API. Received: {path} ({reason}). "
            "Correct it, or move it away."
        ) from error
    categories = []
    for item in label_map.item:
        category = {"id": item.id, "name": item.name or item.display_name}
        points = [point.label for point in sorted(item.keypoints, key=lambda point: point.id)]
        categories.append(category | ({"keypoints": points} if points else {}))
    return categories


@functools.cache
def _label_map_class() -> type[Any]:
    return message_class(
        "LabelMap",
        {
            "Keypoint": ("int64 id", "string label"),
            "Item": ("string name", "int64 id", "string display_name", "repeated Keypoint keypoints"),
            "LabelMap": ("repeated Item item",),
        },
    )
