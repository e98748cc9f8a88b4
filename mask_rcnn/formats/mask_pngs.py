"""Reader and writer for folders of mask PNGs: one map of instance ids per image, or one file per object.

Two layouts are supported:

- `NAME.png`: each pixel value except 0 is an object of the image NAME.
- `NAME/*.png` or `NAME/masks/*.png`: each file is the mask of an object, the pixels that are not 0.

In the second layout, the file name can give the class: `NUMBER_CLASS.png`, or `NUMBER_CLASS.crowd.png` for a
crowd region. The writer uses these names. Other objects get the class "object", which `--merge` can rename.
"""

import functools
import re
from urllib.parse import quote, unquote

import numpy as np

from mask_rcnn.evaluation.coco_results import mask_crop
from mask_rcnn.formats.coco_builder import build_coco_content
from mask_rcnn.formats.dataset_files import (
    annotations_by_image,
    find_files,
    names_by_id,
    read_class_names,
    relative_name,
    write_class_names,
)
from mask_rcnn.formats.id_maps import instance_masks, read_ids, write_png
from mask_rcnn.formats.registry import READERS, WRITERS, FoundImage, FoundObject, Source, Target
from mask_rcnn.structures import encode_crop

NO_CLASS = "object"
NO_CLASS_FOUND = f"file names without a class: objects are of the class {NO_CLASS!r}"
NUMBER_AND_CLASS = re.compile(r"\d+_(?P<name>.+?)(?P<crowd>\.crowd)?\.png")


@READERS.register("masks")
def read_masks(source: Source) -> dict:
    """Reads folders of mask PNGs: one map of instance ids per image, or one file per object."""
    if not source.path.is_dir():
        raise NotADirectoryError(
            f"Expected a folder of mask PNGs. Received: {str(source.path)!r}. Check the path."
        )
    folders = [path for path in sorted(source.path.rglob("*")) if path.is_dir()]
    if not folders:
        return build_coco_content(
            source, find_files(source.path, "*.png"), functools.partial(_read_map, source)
        )
    inner = [folder for folder in folders if folder.name == "masks"]
    # An image without objects has an empty folder.
    leaves = [each for each in folders if not any(path.is_dir() for path in each.iterdir())]
    names = read_class_names(source.path)
    return build_coco_content(
        source, inner or leaves, functools.partial(_read_folder, source), class_names=names
    )


def _read_map(source, path):
    image_path = source.images.find_stem(path.stem, str(path), excluded=[path])
    size = source.images.size(image_path)
    source.findings.repair(NO_CLASS_FOUND, path.name)
    masks = instance_masks(read_ids(path, size, str(image_path)))
    return FoundImage(image_path, size, [_object(NO_CLASS, mask, size) for mask in masks.values()])


def _read_folder(source, folder):
    paths = find_files(folder, "*.png")
    folder = folder.parent if folder.name == "masks" else folder
    name = folder.relative_to(source.path).as_posix()
    image_path = source.images.find_stem(name, str(folder), excluded=paths)
    size = source.images.size(image_path)
    objects = []
    for path in paths:
        match = NUMBER_AND_CLASS.fullmatch(path.name)
        if match is None:
            source.findings.repair(NO_CLASS_FOUND, path.name)
        masks = instance_masks(read_ids(path, size, str(image_path)) != 0)
        if not masks:
            source.findings.repair("mask files without a pixel were left out", path.name)
        name, crowd = (unquote(match["name"]), bool(match["crowd"])) if match else (NO_CLASS, False)
        objects += [_object(name, mask, size, crowd=crowd) for mask in masks.values()]
    return FoundImage(image_path, size, objects)


def _object(name, mask, size, *, crowd=False):
    crop, origin = mask
    return FoundObject(class_name=name, segmentation=encode_crop(crop, origin, size), crowd=crowd)


@WRITERS.register("masks")
def write_masks(target: Target) -> None:
    """Writes one folder per image with one PNG file per object. Pixels of the object are 255."""
    for part, content in target.parts.items():
        names, images = names_by_id(content), annotations_by_image(content)
        for image, annotations in target.track(images, len(images), f"writing {part}".strip()):
            folder = target.path / relative_name(image["file_name"], part, "")
            if folder.exists():
                raise ValueError(
                    "Mask folders need images whose names differ without their suffix. "
                    f"Received: {image['file_name']!r}, whose folder is already used. Rename the image."
                )
            folder.mkdir(parents=True)
            for number, annotation in enumerate(annotations, start=1):
                if not annotation.get("segmentation"):
                    target.findings.repair(
                        "objects without a mask were left out", f"annotation {annotation['id']}"
                    )
                    continue
                name = quote(names[annotation["category_id"]], safe=" ").replace(".", "%2E")
                crowd = ".crowd" if annotation["iscrowd"] else ""
                _write(folder / f"{number:04d}_{name}{crowd}.png", annotation["segmentation"], image)
        write_class_names(target.path / part, content)


def _write(path, segmentation, image):
    size = (image["height"], image["width"])
    crop, (y, x) = mask_crop(segmentation, size)
    mask = np.zeros(size, "uint8")
    mask[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = 255
    write_png(path, mask)
