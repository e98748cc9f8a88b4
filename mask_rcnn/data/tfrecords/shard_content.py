"""Builds a COCO json from TFRecord records that are read one after the other."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.data.tfrecords.label_map import FILE_NAME, read_label_map
from mask_rcnn.data.tfrecords.record_image import RecordImage
from mask_rcnn.system.paths import RemotePath, as_path

WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")


class ShardContent:
    """Collects images, objects and classes of records.

    Args:
        path: Path of the first TFRecord file. A `label_map.pbtxt` in the same folder names the classes.

    Attributes:
        names: `file_name` of each image.
        findings: `Findings`. Guesses are added as repairs.
    """

    def __init__(self, path: Path | RemotePath):
        self.names, self.findings = [], Findings()
        self._images, self._annotations = [], []  # their jsons
        self._image_ids, self._taken_names = set(), set()
        label_map = as_path(str(path).removesuffix(path.name) + FILE_NAME)
        entries = read_label_map(label_map) if label_map.is_file() else []
        self._categories = {entry["id"]: entry for entry in entries}
        self._ids = {entry["name"]: entry["id"] for entry in entries}

    def add(
        self, image: RecordImage, fields: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]
    ) -> None:
        """Adds an image with its objects.

        Args:
            image: `RecordImage`.
            fields: Dict from `read_image_fields`.
            objects: List from `read_objects`.

        Raises:
            ValueError: Its classes contradict those of other images.
        """
        category_ids = [self._category_id(each) for each in objects]
        entry = {
            "id": self._image_id(image, fields["source_id"]),
            "file_name": self._name(image, fields),
            "height": fields["height"],
            "width": fields["width"],
        }
        self._images.append(msgspec.json.encode(entry))
        self.names.append(entry["file_name"])
        for category_id, each in zip(category_ids, objects, strict=True):
            known = {key: each[key] for key in each.keys() - {"label", "text", "keypoint_names"}}
            ids = {"id": len(self._annotations) + 1, "image_id": entry["id"], "category_id": category_id}
            self._annotations.append(msgspec.json.encode(ids | known))

    def as_json(self) -> bytes:
        """Returns the COCO json as bytes."""
        categories = msgspec.json.encode([self._categories[id] for id in sorted(self._categories)])
        images, annotations = (b",".join(each) for each in (self._images, self._annotations))
        return b'{"images":[%s],"categories":%s,"annotations":[%s]}' % (images, categories, annotations)

    def _image_id(self, image, source_id):
        """Returns the image id as an int if the text is a whole number, otherwise as text."""
        id = int(source_id) if WHOLE_NUMBER.fullmatch(source_id or "") else source_id
        if id in (None, "") or id in self._image_ids:
            self.findings.repair(
                "`image/source_id` was missing or repeated: the place of the record is the id", str(image)
            )
            id = f"{image.file.name}:{image.number}"
        self._image_ids.add(id)
        return id

    def _name(self, image, fields):
        name = fields["file_name"]
        if name and name not in self._taken_names:
            self._taken_names.add(name)
            return name
        self.findings.repair(
            "`image/filename` was missing or repeated: the place of the record is added", shown(name)
        )
        path = PurePosixPath(name or f"image.{fields['format'] or 'jpg'}")
        return str(path.with_name(f"{path.stem}_{image.file.stem}_{image.number:06d}{path.suffix}"))

    def _category_id(self, entry):
        """Returns the category id of an object from `read_objects`, and adds its class if it is new."""
        label, text = entry.get("label"), entry.get("text")
        id = self._ids.get(text) if label is None else label
        if id is None:
            id = max(self._categories, default=0) + 1
            self.findings.repair("`class/label` was missing: classes are numbered as they occur", shown(text))
        if id not in self._categories and text is None:
            self.findings.repair("`class/text` was missing: the label is the name", str(id))
        category = self._categories.setdefault(id, {"id": id, "name": str(id) if text is None else text})
        self._ids.setdefault(category["name"], id)
        if text not in (None, category["name"]):
            raise ValueError(f"label {id} is {shown(text)} here and {shown(category['name'])} elsewhere")
        points = entry["keypoint_names"]
        if points and category.setdefault("keypoints", points) != points:
            raise ValueError(f"class {shown(category['name'])} has other keypoints here than elsewhere")
        return id
