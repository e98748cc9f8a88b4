"""Detects the format of annotations by files and keys that only one format has."""

import itertools
from pathlib import Path

from mask_rcnn.data.json_file import read_json
from mask_rcnn.data.tfrecords.shards import is_shards
from mask_rcnn.formats.cityscapes import FILE_NAME
from mask_rcnn.formats.dataset_files import CLASS_NAMES
from mask_rcnn.formats.label_studio import TASKS
from mask_rcnn.formats.registry import READERS

MAX_FILES = 10_000  # maximum number of files of a folder whose names are examined


def detect_format(path: Path) -> str:
    """Returns the name of the format of a file or folder.

    Args:
        path: Path of the annotations.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If no format or several formats match.
    """
    if is_shards(path):
        return "tfrecord"
    if not path.exists():
        raise FileNotFoundError(
            f"Expected a file or folder of annotations. Received: {str(path)!r}. Check the path."
        )
    formats = _formats_of_folder(path) if path.is_dir() else _formats_of_file(path)
    if len(formats) != 1:
        reason = f"which could be {' or '.join(formats)}" if formats else "whose format is not known"
        raise ValueError(
            f"Expected annotations whose format is clear. Received: {str(path)!r}, {reason}. "
            f"Name the format with `--from`: {', '.join(READERS.names())}."
        )
    return formats[0]


def _formats_of_folder(folder):
    formats = []
    if (folder / "data.yaml").is_file():
        formats.append("yolo")
    if (folder / "Annotations").is_dir() and any((folder / "Annotations").glob("*.xml")):
        formats.append("voc")
    if (folder / "annotations.xml").is_file():
        formats.append("cvat")
    if (folder / TASKS).is_file():
        formats.append("label_studio")
    files = list(itertools.islice(folder.rglob("*"), MAX_FILES))
    if any(FILE_NAME.fullmatch(path.name) for path in files):
        formats.append("cityscapes")
    elif not formats:
        jsons = [path for path in files if path.suffix == ".json"]
        formats += [name for name in _formats_of_file(jsons[0]) if name == "labelme"] if jsons else []
        if not jsons and _suffixes(files) == {".png"}:
            formats.append("masks")
    return formats


def _suffixes(files):
    return {path.suffix for path in files if path.is_file() and path.name != CLASS_NAMES}


def _formats_of_file(path):
    if path.suffix.lower() in (".yaml", ".yml"):
        return ["yolo"]
    if path.suffix.lower() == ".xml":
        return ["cvat"]
    if path.suffix.lower() != ".json":
        return []
    content, _ = read_json(path, "a json of annotations")
    return _formats_of_json(content)


def _formats_of_json(content):
    if isinstance(content, list):
        first = content[0] if content and isinstance(content[0], dict) else {}
        is_results = "score" in first and "image_id" in first
        if "data" in first:
            return ["label_studio"]
        return ["coco_results"] if is_results else []
    if not isinstance(content, dict):
        return []
    if "shapes" in content and "imagePath" in content:
        return ["labelme"]
    if "_via_img_metadata" in content or any(
        isinstance(v, dict) and "regions" in v for v in content.values()
    ):
        return ["via"]
    if "images" in content and "annotations" in content:
        images = content["images"]
        first = images[0] if isinstance(images, list) and images else None
        is_lvis = isinstance(first, dict) and "not_exhaustive_category_ids" in first
        return ["lvis" if is_lvis else "coco"]
    return []
