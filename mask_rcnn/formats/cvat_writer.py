"""Writer for the XML file of CVAT for images 1.1. `cvat.py` documents the format."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from mask_rcnn.evaluation.coco_results import mask_crop
from mask_rcnn.formats.dataset_files import annotations_by_image, names_by_id, relative_name, write_text
from mask_rcnn.formats.registry import WRITERS, Target

HEADER = '<?xml version="1.0" encoding="utf-8"?>\n'


@WRITERS.register("cvat")
def write_cvat(target: Target) -> None:
    """Writes the file annotations.xml of CVAT for images 1.1, one for each part of a split."""
    for part, content in target.parts.items():
        root = ElementTree.Element("annotations")
        ElementTree.SubElement(root, "version").text = "1.1"
        task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
        labels, names = ElementTree.SubElement(task, "labels"), names_by_id(content)
        for name in names.values():
            ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
        images = annotations_by_image(content)
        numbered = enumerate(target.track(images, len(images), f"writing {part}".strip()))
        for number, (image, annotations) in numbered:
            size = {"width": str(image["width"]), "height": str(image["height"])}
            element = ElementTree.SubElement(
                root, "image", {"id": str(number), "name": image["file_name"], **size}
            )
            for group, annotation in enumerate(annotations, start=1):
                _add_shapes(
                    element,
                    annotation,
                    label=names[annotation["category_id"]],
                    group=group,
                    image=image,
                )
        ElementTree.indent(root)
        path = target.path / relative_name("annotations.xml", part)
        write_text(path, f"{HEADER}{ElementTree.tostring(root, encoding='unicode')}\n")


def _add_shapes(element, annotation, *, label, group, image):
    """Adds the shapes of an annotation: polygons of one group, a mask, or a box."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list):
        common = {"group_id": str(group)} if len(segmentation) > 1 else {}
        pairs = [zip(polygon[::2], polygon[1::2], strict=True) for polygon in segmentation]
        fields = [{**common, "points": ";".join(f"{x},{y}" for x, y in points)} for points in pairs]
        tag = "polygon"
    elif segmentation:
        tag, fields = "mask", [_mask(segmentation, image)]
    else:
        x, y, width, height = annotation["bbox"]
        corners = {"xtl": x, "ytl": y, "xbr": x + width, "ybr": y + height}
        tag, fields = "box", [{key: str(value) for key, value in corners.items()}]
    for each in fields:
        attributes = {"label": label, "source": "file", "occluded": "0", "z_order": "0", **each}
        shape = ElementTree.SubElement(element, tag, attributes)
        if annotation["iscrowd"]:
            ElementTree.SubElement(shape, "attribute", name="is_crowd").text = "true"
        if "score" in annotation:
            ElementTree.SubElement(shape, "attribute", name="score").text = f"{annotation['score']:.4g}"


def _mask(segmentation, image):
    """Returns the attributes of a mask: runs along the rows of its box, zeros first."""
    crop, (y, x) = mask_crop(segmentation, (image["height"], image["width"]))
    pixels = np.concatenate([[False], crop.ravel()])
    edges = np.flatnonzero(pixels[1:] != pixels[:-1])
    runs = np.diff(edges, prepend=0, append=crop.size)
    height, width = crop.shape
    box = {"left": int(x), "top": int(y), "width": width, "height": height}
    return {"rle": ", ".join(map(str, runs.tolist())), **{key: str(value) for key, value in box.items()}}
