"""Makes the content of a COCO json of what a reader found."""

import numpy as np

from mask_rcnn.data.findings import listed, shown
from mask_rcnn.data.segmentations import extent, pixel_area, read_segmentation


def build_coco_content(source, items, read, class_names=()):
    """Reads the images of a data set one by one.

    Args:
        source: `Source`.
        items: List of what `read` takes, such as the paths of files.
        read: Function from an item to a `FoundImage`; it raises a ValueError or OSError that names the file.
        class_names: Names of the classes in the order of their ids. Names that only objects have follow in
            alphabetical order. Defaults to none.

    Returns:
        The content of a COCO json, a dict.

    Raises:
        ValueError: Items cannot be read, or there is no image or class.
    """
    images, problems = [], []
    for item in source.track(items, len(items), "reading"):
        try:
            found = read(item)
            annotations = _annotations(found, source.findings)
        except (ValueError, OSError) as error:
            problems.append(" ".join(str(error).split()))
        else:
            images.append((found, annotations))
    _check_problems(problems, len(items), source)
    found = {name for _, annotations in images for name, _ in annotations}
    names = [*class_names, *sorted(found - set(class_names))]
    if not images or not names:
        raise ValueError(
            f"Expected at least one image and one class. Received: {source.path} with {len(images)} images "
            f"and {len(names)} classes. Is it the right file or folder?"
        )
    return _content(source, images, names)


def _check_problems(problems, total, source):
    """Raises a ValueError that names the images that cannot be read, or reports that they are left out.

    Args:
        problems: A sentence about each of them.
        total: Number of images.
        source: `Source`.
    """
    if problems and not source.skip_errors:
        head = (
            f"{source.path}: {len(problems)} of {total} images cannot be read:\n  "
            if len(problems) > 1
            else ""
        )
        advice = "`--skip-errors` leaves such images out."
        raise ValueError(head + "\n  ".join(listed(problems)) + f"\n{advice}")
    for problem in problems:
        source.findings.repair("images that cannot be read were left out", problem)


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
    for number, each in enumerate(found.objects, start=1):
        where = f"object {number} ({shown(each.class_name)}) of {found.path.name}"
        fields = annotation_fields(each, found.size, where, findings)
        if fields is None:
            findings.repair("objects without a pixel in the image were left out", where)
        else:
            annotations.append((each.class_name, fields))
    return annotations


def annotation_fields(found, size, where, findings):
    """Returns `segmentation`, `bbox`, `area` and `iscrowd` of an object, or None if it covers no pixel.

    Args:
        found: `FoundObject`.
        size: (height, width) of the image.
        where: Name of the object, for messages.
        findings: `Findings`; what is clipped or left out is added.
    """
    value = found.segmentation
    if isinstance(value, list):
        value = [_clipped(polygon, size, where, findings) for polygon in value]
        value = [polygon for polygon in value if len(polygon) >= 6]
    segmentation = read_segmentation(value, size, where, findings)
    if segmentation:
        x1, y1, x2, y2 = extent(segmentation)
        area = pixel_area(segmentation, size)
    elif found.box is not None:
        x1, x2 = np.clip(found.box[::2], 0, size[1]).tolist()
        y1, y2 = np.clip(found.box[1::2], 0, size[0]).tolist()
        area = (x2 - x1) * (y2 - y1)
    if (not segmentation and found.box is None) or not area:
        return None
    fields = {"segmentation": segmentation} if segmentation else {}
    return {**fields, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area, "iscrowd": int(found.crowd)}


def _clipped(polygon, size, where, findings):
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


def _clip_side(points, inside):
    """Returns the part of a polygon `[N, 2]` where `inside` `[N]`, a linear function, is not negative."""
    kept = []
    for number, (point, value) in enumerate(zip(points, inside, strict=True)):
        before, value_before = points[number - 1], inside[number - 1]
        if (value < 0) != (value_before < 0):
            kept.append(before + (point - before) * (value_before / (value_before - value)))
        if value >= 0:
            kept.append(point)
    return np.reshape(kept, (-1, 2))
