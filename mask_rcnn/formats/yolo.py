"""Reader and writer for YOLO segmentation: `data.yaml`, image folders, and a text file per image.

Facts of the format (https://docs.ultralytics.com/datasets/segment/):

- `data.yaml` has the keys `train`, `val` and `test` with image folders or lists of image files, relative to
  `path`. Its key `names` is a list of class names, or a mapping from class numbers.
- The labels of `images/a.jpg` are in `labels/a.txt`: the last folder `images` of the path is replaced. An
  image without a label file has no objects.
- A line has a class number, counted from 0, and a polygon in fractions of width and height. A line of five
  numbers is a box: center, width and height.
- Each line is a complete object. Parts and holes are connected by lines without area.
"""

import functools
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from mask_rcnn.data.findings import shown
from mask_rcnn.data.image_io.image_headers import SUFFIXES
from mask_rcnn.data.json_values import numbers, whole_number
from mask_rcnn.formats import field_checks, shapes
from mask_rcnn.formats.coco_builder import build_coco_content
from mask_rcnn.formats.dataset_files import (
    annotations_by_image,
    copy_image,
    find_files,
    read_text,
    relative_name,
    write_text,
)
from mask_rcnn.formats.outlines import single_polygon
from mask_rcnn.formats.registry import READERS, WRITERS, FoundImage, Source, Target

PARTS = ("train", "val", "test")
MAX_YAML = 1_000_000  # characters; a data.yaml of 1000 classes has 20,000
DECIMALS = 4  # decimals of pixel coordinates, to remove the rounding errors of fractions
OUTSIDE = 0.01  # labels may exceed the image by this fraction of its size, as those of some tools do


@READERS.register("yolo")
def read_yolo(source: Source) -> dict:
    """Reads YOLO segmentation files, `data.yaml` and a text file for each image."""
    path = source.path / "data.yaml" if source.path.is_dir() else source.path
    content = _read_yaml(path)
    names = _class_names(content.get("names"), path)
    root = path.parent / field_checks.value_of(content, "path", str, where=str(path), default="")
    root = root if root.is_dir() else path.parent
    parts = [source.subset] if source.subset else [part for part in PARTS if content.get(part)]
    images = {}
    for part in parts:
        for entry in _entries(content, part, path):
            images |= dict.fromkeys(_image_files(entry, root=root, path=path))
    return build_coco_content(
        source, list(images), functools.partial(_read_image, source, names), class_names=names
    )


def _read_yaml(path):
    text = read_text(path, "the data.yaml of a YOLO data set")
    try:
        content = yaml.safe_load(text[: MAX_YAML + 1])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"Expected YAML. Received: {path} ({reason}). Correct the file.") from error
    if not isinstance(content, dict) or len(text) > MAX_YAML:
        raise ValueError(
            f"Expected a YAML file with `train`, `val` and `names`. Received: {path} without these keys. "
            "Correct it."
        )
    return content


def _class_names(value, path):
    """Returns the names of classes 0, 1, ... of `names`, a list or a mapping."""
    if isinstance(value, dict):
        keys = [whole_number(key) for key in value]
        value = [dict(zip(keys, value.values(), strict=True)).get(number) for number in range(len(keys))]
    if not isinstance(value, list) or not value:
        raise ValueError(
            f"Expected `names` in {path}, a list or a mapping from 0 on. Received: {shown(value)}. Add it."
        )
    value = [str(name) if isinstance(name, int | float) else name for name in value]
    names = [field_checks.class_name(name, f"names[{number}] of {path}") for number, name in enumerate(value)]
    if len(set(names)) < len(names):
        raise ValueError(f"Expected `names` of {path} to be unique. Received: {shown(names)}. Correct them.")
    return names


def _entries(content, part, path):
    entries = content.get(part)
    entries = entries if isinstance(entries, list) else [entries]
    if not all(isinstance(entry, str) and entry and "\0" not in entry for entry in entries):
        raise ValueError(
            f"Expected `{part}` of {path} to be a folder or a list of them. Received: {shown(entries[0])}. "
            "Correct the file or `--subset`."
        )
    return entries


def _image_files(entry, *, root, path):
    """Returns the image files of a folder, or of a text file that lists them."""
    # Roboflow's exports have "../train/images" although the folder `train` is in the folder of data.yaml.
    candidates = (root / entry, path.parent / entry, path.parent / entry.removeprefix("../"))
    images = next((each for each in candidates if each.exists()), None)
    if images is None:
        raise FileNotFoundError(
            f"Expected the images of {path}. Received: {entry!r}, which is not in {root}. Correct `path`."
        )
    if images.is_file():
        lines = read_text(images, "a list of image files").split("\n")
        return [images.parent / line.strip() for line in lines if line.strip()]
    return [each for each in find_files(images, "*") if each.suffix.lower() in SUFFIXES]


def _read_image(source, names, path):
    size = source.images.size(path)
    labels = _label_path(path)
    if not labels.is_file():
        source.findings.repair("images without a label file have no objects", path.name)
        return FoundImage(path, size, [])
    lines = labels.read_bytes().decode("utf-8-sig", "replace").splitlines()
    objects = [
        _object(line.split(), f"line {number} of {labels}", names=names, size=size, source=source)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    return FoundImage(path, size, objects)


def _label_path(path):
    before, separator, after = path.as_posix().rpartition("/images/")
    return Path(f"{before}/labels/{after}" if separator else path).with_suffix(".txt")


def _object(values, where, *, names, size, source):
    number, coordinates = whole_number(values[0]), numbers(values[1:])
    if not isinstance(number, int) or not 0 <= number < len(names):
        raise ValueError(
            f"Expected a class number from 0 to {len(names) - 1} in {where}. Received: {shown(values[0])}. "
            "Correct the line, or `names` of data.yaml."
        )
    if not isinstance(coordinates, list) or len(coordinates) % 2 or len(coordinates) < 4:
        raise ValueError(
            "Expected a class number and a box of four numbers, or a polygon of at least three points. "
            f"Received: {where} with {len(values)} words, {shown(values)}. Correct the line."
        )
    points = np.reshape(np.array(coordinates), (-1, 2))
    pixels = np.round(points * np.array(size[::-1]), DECIMALS)
    if len(points) == 2:
        center, sides = pixels
        boxes = [shapes.rectangle(center - sides / 2, sides)]
        return shapes.object_of_shapes(names[number], [], boxes, size=size, source=source, where=where)
    if len(points) < 3 or points.min() < -OUTSIDE or points.max() > 1 + OUTSIDE:
        raise ValueError(
            "Expected a polygon of at least three points in fractions of the image size, 0 to 1. "
            f"Received: {where} with numbers from {points.min():g} to {points.max():g}. Divide by the size."
        )
    return shapes.object_of_shapes(names[number], [pixels], [], size=size, source=source, where=where)


@WRITERS.register("yolo")
def write_yolo(target: Target) -> None:
    """Writes data.yaml, a copy of each image, and a text file for each image."""
    names = [category["name"] for category in next(iter(target.parts.values()))["categories"]]
    parts = {part or "train": content for part, content in target.parts.items()}
    for part, content in parts.items():
        numbers_of = {category["id"]: number for number, category in enumerate(content["categories"])}
        labels, images = set(), annotations_by_image(content)
        for image, annotations in target.track(images, len(images), f"writing {part}"):
            name = relative_name(image["file_name"])
            label = PurePosixPath("labels", part, name).with_suffix(".txt")
            if label in labels:
                raise ValueError(
                    "YOLO needs names that differ without their suffix. "
                    f"Received: {image['file_name']!r}, whose label file another image has. Rename the image."
                )
            labels.add(label)
            lines = [
                _line(each, image, numbers_of=numbers_of, findings=target.findings) for each in annotations
            ]
            write_text(target.path / label, "".join(lines))
            copy_image(target, image, PurePosixPath("images", part, name))
    folders = {part: f"images/{part}" for part in parts}
    if "val" not in folders:
        folders["val"] = folders["train"]
        target.findings.repair("YOLO needs a part `val`: data.yaml names the images of `train`", "val")
    description = {**folders, "nc": len(names), "names": dict(enumerate(names))}
    write_text(target.path / "data.yaml", yaml.safe_dump(description, sort_keys=False, allow_unicode=True))


def _line(annotation, image, *, numbers_of, findings):
    """Returns the line of an annotation, or "" if the format has none for it."""
    segmentation, where = annotation.get("segmentation"), f"annotation {annotation['id']}"
    if annotation["iscrowd"] or not segmentation:
        kind = "crowd regions" if annotation["iscrowd"] else "objects without a mask"
        findings.repair(f"YOLO segmentation has no {kind}: they were left out", where)
        return ""
    size = (image["height"], image["width"])
    polygon = single_polygon(segmentation, size)
    fractions = np.clip(polygon / np.array(size[::-1]), 0, 1).ravel()
    return (
        " ".join([str(numbers_of[annotation["category_id"]]), *(f"{each:.10g}" for each in fractions)]) + "\n"
    )
