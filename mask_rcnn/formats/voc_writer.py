"""Writer for Pascal VOC. `voc.py` documents the format."""

import collections
import math
import xml.etree.ElementTree as ElementTree
from pathlib import PurePosixPath

import numpy as np

from mask_rcnn.evaluation.coco_results import mask_crop
from mask_rcnn.formats.dataset_files import (
    annotations_by_image,
    copy_image,
    names_by_id,
    relative_name,
    write_class_names,
    write_text,
)
from mask_rcnn.formats.id_maps import VOID, write_png
from mask_rcnn.formats.registry import WRITERS, Target

MAX_OBJECTS = VOID - 1  # per image


@WRITERS.register("voc")
def write_voc(target: Target) -> None:
    """Writes a Pascal VOC folder with copies of the images."""
    stems = collections.Counter()
    for part, content in target.parts.items():
        names, images = names_by_id(content), annotations_by_image(content)
        for image, annotations in target.track(images, len(images), f"writing {part}".strip()):
            stem = relative_name(image["file_name"]).stem
            stems[stem] += 1
            _check(image, annotations, stems[stem])
            _write_image(target, image, annotations, names=names, stem=stem)
        listed = "".join(f"{relative_name(image['file_name']).stem}\n" for image, _ in images)
        write_text(target.path / "ImageSets" / "Segmentation" / f"{part or 'trainval'}.txt", listed)
    write_class_names(target.path, content)  # line i, from 0, is class i of SegmentationClass


def _check(image, annotations, count):
    if count > 1:
        raise ValueError(
            "Pascal VOC needs images whose names differ without folder and suffix. "
            f"Received: {image['file_name']!r}, whose name is already used. Rename the image."
        )
    if len(annotations) > MAX_OBJECTS:
        raise ValueError(
            f"Pascal VOC stores at most {MAX_OBJECTS} objects per image: its masks have one byte per pixel. "
            f"Received: {image['file_name']!r} with {len(annotations)}. Choose another format."
        )


def _write_image(target, image, annotations, *, names, stem):
    size = (image["height"], image["width"])
    objects, classes = np.zeros(size, "uint8"), np.zeros(size, "uint8")
    numbers = {id: number for number, id in enumerate(names, start=1)}
    covered = 0
    # Large objects are drawn first, so small objects in front of them keep their pixels.
    for number, annotation in sorted(enumerate(annotations, start=1), key=_drawing_order):
        crop, (y, x) = mask_crop(annotation.get("segmentation"), size)
        box = np.s_[y : y + crop.shape[0], x : x + crop.shape[1]]
        covered += np.count_nonzero(objects[box][crop])
        objects[box][crop] = number
        classes[box][crop] = min(numbers[annotation["category_id"]], VOID - 1)
    if covered:
        target.findings.repair(
            "objects overlap: a pixel belongs to the smallest of them in Pascal VOC",
            f"{covered} pixels of {stem}",
        )
    for folder, pixels in (("SegmentationObject", objects), ("SegmentationClass", classes)):
        (target.path / folder).mkdir(exist_ok=True)
        write_png(target.path / folder / f"{stem}.png", pixels, _palette())
    file_name = relative_name(image["file_name"]).name
    copy_image(target, image, PurePosixPath("JPEGImages", file_name))
    write_text(target.path / "Annotations" / f"{stem}.xml", _xml(file_name, image, annotations, names=names))


def _drawing_order(numbered):
    number, annotation = numbered
    return -annotation["iscrowd"], -annotation["area"], number


def _xml(file_name, image, annotations, *, names):
    root = ElementTree.Element("annotation")
    _add(root, folder="JPEGImages", filename=file_name)
    _add(ElementTree.SubElement(root, "size"), width=image["width"], height=image["height"], depth=3)
    _add(root, segmented=int(any(annotation.get("segmentation") for annotation in annotations)))
    for annotation in annotations:
        element = ElementTree.SubElement(root, "object")
        name = names[annotation["category_id"]]
        _add(element, name=name, pose="Unspecified", truncated=0, difficult=annotation["iscrowd"])
        x, y, width, height = annotation["bbox"]
        # Pixels are counted from 1, and the box includes the last pixel.
        corners = {
            "xmin": math.floor(x + 1e-6) + 1,
            "ymin": math.floor(y + 1e-6) + 1,
            "xmax": math.ceil(x + width - 1e-6),
            "ymax": math.ceil(y + height - 1e-6),
        }
        _add(ElementTree.SubElement(element, "bndbox"), **corners)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(element, **fields):
    for tag, value in fields.items():
        ElementTree.SubElement(element, tag).text = str(value)


def _palette():
    """Returns VOC's colors, `[256, 3]` uint8. Bits 3i to 3i + 2 of a number are bit 7 - i of R, G and B."""
    numbers = np.arange(256)
    colors = np.zeros((256, 3), "uint8")
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype("uint8")
    return colors
