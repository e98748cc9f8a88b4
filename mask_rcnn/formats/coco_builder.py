"""Builds the content of a COCO JSON from the images and objects of a reader."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from mask_rcnn.data.findings import Findings, listed, shown
from mask_rcnn.data.segmentations import extent, pixel_area, read_segmentation
from mask_rcnn.formats.registry import FoundImage, FoundObject, Source

Item = TypeVar("Item")


def build_coco_content(
    source: Source,
    items: Sequence[Item],
    read: Callable[[Item], FoundImage],
    *,
    class_names: Iterable[str] = (),
) -> dict:
    """Reads the images of a data set one by one.

    Args:
        source: `Source`.
        items: List of arguments of `read`, such as the paths of files.
        read: Function of an item that returns a `FoundImage`. It raises a ValueError or OSError that names
            the file.
        class_names: Names of the classes in the order of their ids. Other names that objects have follow in
            alphabetical order. Defaults to none.

    Returns:
        The content of a COCO JSON, a dict.

    Raises:
        ValueError: If items cannot be read, or if there is no image or no class.
    """
    images, errors = [], []
    for item in source.track(items, len(items), "reading"):
        try:
            found = read(item)
            annotations = _annotations(found, source.findings)
        except (ValueError, OSError) as error:
            errors.append(" ".join(str(error).split()))
        else:
            images.append((found, annotations))
    _check_errors(errors, len(items), source)
    used_names = {name for _, annotations in images for name, _ in annotations}
    names = [*class_names, *sorted(used_names - set(class_names))]
    if not images or not names:
        raise ValueError(
            f"Expected at least one image and one class. Received: {source.path} with {len(images)} images "
            f"and {len(names)} classes. Is it the right file or folder?"
        )
    return _content(source, images, names)


def _check_errors(errors, total, source):
    """Raises a ValueError that lists the images that cannot be read, or adds them to the findings.

    Args:
        errors: List of messages, one per image that cannot be read.
        total: Number of images.
        source: `Source`.
    """
    if errors and not source.skip_errors:
        head = (
            f"{source.path}: {len(errors)} of {total} images cannot be read:\n  " if len(errors) > 1 else ""
        )
        advice = "`--skip-errors` leaves such images out."
        raise ValueError(head + "\n  ".join(listed(errors)) + f"\n{advice}")
    for error in errors:
        source.findings.repair("images that cannot be read were left out", error)


def _content(source, images, names):
    ids = {name: id for id, name in enumerate(names, start=1)}
    content = {
        "images": [],
        "categories": [{"id": id, "name": name} for name, id in ids.items()],
        "annotations": [],
    }
    for image_id, (found, annotations) in enumerate(images, start=1):
        (height, width), name = found.size, source.images.name_of(found.path)
        content["images"].append({"id": image_id, "file_name": name, "height": height, "width": width})
        for class_name, fields in annotations:
            id = len(content["annotations"]) + 1
            references = {"id": id, "image_id": image_id, "category_id": ids[class_name]}
            content["annotations"].append({**references, **fields})
    return content


def _annotations(found, findings):
    """Returns (class name, fields of the annotation) of each object of a `FoundImage`."""
    annotations = []
    for number, found_object in enumerate(found.objects, start=1):
        where = f"object {number} ({shown(found_object.class_name)}) of {found.path.name}"
        fields = annotation_fields(found_object, found.size, where, findings=findings)
        if fields is None:
            findings.repair("objects without a pixel in the image were left out", where)
        else:
            annotations.append((found_object.class_name, fields))
    return annotations


def annotation_fields(
    found: FoundObject, size: tuple[int, int], where: str, *, findings: Findings
) -> dict | None:
    """Returns `segmentation`, `bbox`, `area` and `iscrowd` of an object, or None if it covers no pixel.

    Args:
        found: `FoundObject`.
        size: (height, width) of the image.
        where: Name of the object, for messages.
        findings: `Findings`. What is clipped or left out is added.
    """
    value, bounds, area = found.segmentation, None, 0
    if isinstance(value, list):
        value = [_clipped(polygon, size, where=where, findings=findings) for polygon in value]
        value = [polygon for polygon in value if len(polygon) >= 6]
    segmentation = read_segmentation(value, size, where=where, findings=findings)
    if segmentation:
        bounds = extent(segmentation)
        area = pixel_area(segmentation, size)
    elif found.box is not None:
        x1, x2 = np.clip(found.box[::2], 0, size[1]).tolist()
        y1, y2 = np.clip(found.box[1::2], 0, size[0]).tolist()
        bounds, area = (x1, y1, x2, y2), (x2 - x1) * (y2 - y1)
    if bounds is None or not area:
        return None
    x1, y1, x2, y2 = bounds
    fields = {"segmentation": segmentation} if segmentation else {}
    return {**fields, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area, "iscrowd": int(found.crowd)}


def _clipped(polygon, size, *, where, findings):
    """Returns a polygon `[x, y, x, y, ...]` clipped to the image (Sutherland and Hodgman)."""
    points = np.reshape(polygon, (-1, 2))
    far_edges = (size[1], size[0])
    if (points >= 0).all() and (points <= far_edges).all():
        return polygon
    findings.repair("polygons reached out of the image: they were clipped", where)
    for axis, far_edge in enumerate(far_edges):
        for sign, bound in ((1, 0.0), (-1, -float(far_edge))):
            points = _clip_side(points, sign * points[:, axis] - bound)
    return points.ravel().tolist()


def _clip_side(points, distances):
    """Returns the part of a polygon `[N, 2]` on the inner side of a line.

    Args:
        points: `[N, 2]`, (x, y).
        distances: `[N]`, signed distance of each point from the line, positive on the inner side.
    """
    kept = []
    for number, (point, value) in enumerate(zip(points, distances, strict=True)):
        before, value_before = points[number - 1], distances[number - 1]
        if (value < 0) != (value_before < 0):
            kept.append(before + (point - before) * (value_before / (value_before - value)))
        if value >= 0:
            kept.append(point)
    return np.reshape(kept, (-1, 2))
