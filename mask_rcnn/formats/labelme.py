"""Reader and writer for labelme: one JSON file per image, in the folder of the images or in another folder.

Facts of the format (labelme 5, https://github.com/wkentaro/labelme):

- `imagePath` is relative to the JSON file. `imageHeight` and `imageWidth` are the size of the upright image.
- A shape has `label`, `points` in pixels, `shape_type` and `group_id`. Shapes of the same label and group are
  parts of one object. There are no holes in polygons.
- A `mask` shape has two corners of a box, which includes the far pixel, and its pixels as a base64 PNG file.
- A rectangle has two opposite corners. X-AnyLabeling, a fork of labelme, writes all four corners.
- The format has no crowd regions. This package stores them as the shape flag `iscrowd`.
- labelme keeps other keys of a shape when it saves a file. X-AnyLabeling has the key `score`.
"""

import base64
import binascii
import functools
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence

from mask_rcnn.data.image_io.png_ids import decode_ids
from mask_rcnn.evaluation.coco_results import mask_crop
from mask_rcnn.formats import field_checks, shapes
from mask_rcnn.formats.coco_builder import build_coco_content
from mask_rcnn.formats.dataset_files import (
    annotations_by_image,
    find_files,
    names_by_id,
    read_class_names,
    relative_name,
    write_class_names,
    write_text,
)
from mask_rcnn.formats.id_maps import write_png
from mask_rcnn.formats.registry import READERS, WRITERS, FoundImage, FoundObject, Source, Target
from mask_rcnn.structures import encode_crop

VERSION = "5.5.0"  # version of the format that the writer uses
# The last two are rotated rectangles with four points, of newer versions and of the fork X-AnyLabeling.
BOXES = ("rectangle", "oriented_rectangle", "rotation")


@READERS.register("labelme")
def read_labelme(source: Source) -> dict:
    """Reads labelme's JSON files, one for each image."""
    paths = find_files(source.path, "*.json") if source.path.is_dir() else [source.path]
    names = read_class_names(source.path) if source.path.is_dir() else ()
    return build_coco_content(source, paths, functools.partial(_read_image, source), class_names=names)


def _read_image(source, path):
    content = source.read_json(path, "a labelme file")
    name = field_checks.value_of(content, "imagePath", str, where=str(path))
    image_path = source.images.find(name, str(path), neighbor=path)
    size = source.images.checked_size(image_path, declared_size(content, str(path)), str(path))
    objects = [
        read_object(label, group, size=size, source=source)
        for label, group in group_shapes(content, str(path))
    ]
    return FoundImage(image_path, size, [each for each in objects if each])


def declared_size(content: dict, where: str) -> list[int | None]:
    """Returns the size that the content of a labelme file declares.

    Args:
        content: Content of the file.
        where: Name of the file, for messages.

    Returns:
        List [height, width], pixels. A missing side is None.
    """
    return [
        field_checks.whole_number_of(content, f"image{side}", where, default=None)
        for side in ("Height", "Width")
    ]


def group_shapes(content: dict, where: str) -> list[tuple[str, list[tuple[dict, str]]]]:
    """Groups the shapes of a labelme file by object.

    Args:
        content: Content of the file.
        where: Name of the file, for messages.

    Returns:
        List with a tuple (label, list of (shape, name of the shape for messages)) for each object.
    """
    groups = {}
    for number, entry in enumerate(field_checks.value_of(content, "shapes", list, where=where)):
        shape_name = f"shapes[{number}] of {where}"
        label = field_checks.class_name(
            field_checks.checked_value(entry, dict, shape_name).get("label"), shape_name
        )
        group = field_checks.whole_number_of(entry, "group_id", shape_name, default=None)
        key = (label, number, None) if group is None else (label, None, group)
        groups.setdefault(key, []).append((entry, shape_name))
    return [(key[0], group) for key, group in groups.items()]


def read_object(
    label: str, group: Sequence[tuple[dict, str]], *, size: tuple[int, int], source: Source
) -> FoundObject | None:
    """Returns the `FoundObject` of the shapes of an object, or None if no shape is supported.

    Args:
        label: Name of the class.
        group: List of (shape, name of the shape for messages), from `group_shapes`.
        size: (height, width) of the image.
        source: `Source`.
    """
    masks, boxes, crowd, where = [], [], False, ""
    for entry, where in group:
        kind = entry.get("shape_type") or "polygon"
        flags = field_checks.value_of(entry, "flags", dict, where=where, default={})
        crowd = crowd or field_checks.is_set(flags.get("iscrowd"))
        if kind == "polygon":
            masks.append(field_checks.polygon(entry.get("points"), where))
        elif kind == "mask":
            masks.append(_mask(entry, size, where))
        elif kind == "circle":
            (x, y), (edge_x, edge_y) = _two_points(entry, where)
            radius = math.hypot(edge_x - x, edge_y - y)
            masks.append(shapes.ellipse((x, y), (radius, radius)))
        elif kind in BOXES:
            boxes.append(_corners(entry, where))
        else:
            source.findings.repair(
                "shapes other than polygon, mask, circle and rectangle were left out", where
            )
    if not masks and not boxes:
        return None
    return shapes.object_of_shapes(label, masks, boxes, size=size, source=source, where=where, crowd=crowd)


def _corners(entry, where):
    """Returns the corners of a rectangle, which has two opposite points or all four."""
    points = field_checks.points(entry.get("points"), where)
    if len(points) == 4:
        return points
    (x1, y1), (x2, y2) = _two_points(entry, where)
    return shapes.rectangle((min(x1, x2), min(y1, y2)), (abs(x2 - x1), abs(y2 - y1)))


def _two_points(entry, where):
    points = field_checks.points(entry.get("points"), where)
    if len(points) != 2:
        raise ValueError(
            f"Expected two points in {where}, a {entry['shape_type']}. Received: {len(points)}. Correct them."
        )
    return points.tolist()


def _mask(entry, size, where):
    """Returns the RLE of a mask shape. The first corner of its box is the position of the first pixel."""
    (x1, y1), (x2, y2) = ([math.floor(each) for each in pair] for pair in _two_points(entry, where))
    try:
        data = base64.b64decode(field_checks.value_of(entry, "mask", str, where=where), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(
            f"Expected base64 in `mask` of {where}. Received: {error}. Correct the file."
        ) from error
    # Other tools write boxes without the far pixel.
    pixels = decode_ids(
        data, (y2 - y1 + 1, x2 - x1 + 1), name=f"`mask` of {where}", where="its box", tolerance=1
    )
    inside = pixels[max(-y1, 0) : max(size[0] - y1, 0), max(-x1, 0) : max(size[1] - x1, 0)] > 0
    return encode_crop(inside, (max(y1, 0), max(x1, 0)), size)


@WRITERS.register("labelme")
def write_labelme(target: Target) -> None:
    """Writes a labelme JSON file for each image, and the class names."""
    for part, content in target.parts.items():
        names = names_by_id(content)
        images = annotations_by_image(content)
        for image, annotations in target.track(images, len(images), f"writing {part}".strip()):
            path = relative_name(image["file_name"], part, ".json")
            if (target.path / path).exists():
                raise ValueError(
                    "labelme needs images whose names differ without their suffix. "
                    f"Received: {image['file_name']!r}, whose json another image has. Rename the image."
                )
            file = target.images.find(image["file_name"], "the annotations")
            image_path = _relative_path(file, (target.final_path / path).parent)
            entry = labelme_content(image_path, (image["height"], image["width"]), annotations, names=names)
            write_text(target.path / path, json.dumps(entry, indent=2))
        write_class_names(target.path / part, content)


def labelme_content(
    image_path: str, size: tuple[int, int], annotations: Iterable[dict], *, names: Mapping[int, str]
) -> dict:
    """Returns the content of the labelme file of an image.

    Args:
        image_path: Path of the image, relative to the JSON file.
        size: (height, width) of the image.
        annotations: COCO annotations of the image. A `score` is written, too.
        names: `{category id: name}`.
    """
    return {
        "version": VERSION,
        "flags": {},
        "shapes": [
            shape
            for group, annotation in enumerate(annotations, start=1)
            for shape in _shapes(annotation, size, label=names[annotation["category_id"]], group=group)
        ],
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }


def _relative_path(path, folder):
    return os.path.relpath(path.resolve(), folder.resolve()).replace(os.sep, "/")


def _shapes(annotation, size, *, label, group):
    """Yields the shapes of an annotation: polygons of one group, a mask, or a rectangle."""
    segmentation = annotation.get("segmentation")
    common = {"label": label, "group_id": None, "description": "", "flags": {}, "mask": None}
    if "score" in annotation:
        common["score"] = annotation["score"]
    if annotation.get("iscrowd"):
        common["flags"] = {"iscrowd": True}
    if isinstance(segmentation, list):
        common["group_id"] = group if len(segmentation) > 1 else None
        for polygon in segmentation:
            points = [list(pair) for pair in zip(polygon[::2], polygon[1::2], strict=True)]
            yield {**common, "points": points, "shape_type": "polygon"}
    elif segmentation:
        crop, (y, x) = mask_crop(segmentation, size)
        file = io.BytesIO()
        write_png(file, crop.astype("uint8"))
        corners = [[int(x), int(y)], [int(x) + crop.shape[1] - 1, int(y) + crop.shape[0] - 1]]
        mask = base64.b64encode(file.getvalue()).decode("ascii")
        yield {**common, "points": corners, "shape_type": "mask", "mask": mask}
    else:
        x, y, width, height = annotation["bbox"]
        yield {**common, "points": [[x, y], [x + width, y + height]], "shape_type": "rectangle"}
