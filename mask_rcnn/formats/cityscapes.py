"""Reader for Cityscapes: polygons or instance ids of each image, in one folder per city.

Facts of the format (https://github.com/mcordts/cityscapesScripts):

- `gtFine/PART/CITY/NAME_gtFine_polygons.json` has `imgHeight`, `imgWidth` and `objects`, a list of dicts with
  `label` and `polygon`. A polygon is [[x, y], ...] in pixel indices and includes its border pixels. Later
  polygons cover earlier ones.
- In `NAME_gtFine_instanceIds.png`, a pixel of an object is 1000 * class id + number of the object. Any other
  pixel is the class id.
- A label that ends with "group" is a region of many objects that were not separated: a crowd.
- The image is `leftImg8bit/PART/CITY/NAME_leftImg8bit.png`.
"""

import functools
import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mask_rcnn.formats import field_checks
from mask_rcnn.formats.coco_builder import build_coco_content
from mask_rcnn.formats.dataset_files import find_files
from mask_rcnn.formats.id_maps import instance_masks, read_ids
from mask_rcnn.formats.registry import READERS, FoundImage, FoundObject, Source
from mask_rcnn.structures import encode_crop

# Ids of the classes that have instances. The benchmark does not evaluate caravans and trailers.
CLASSES = {
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "caravan": 29,
    "trailer": 30,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
NAMES = {id: name for name, id in CLASSES.items()}
NUMBERS = 1000  # instance ids per class
NOT_DRAWN = ("license plate",)  # its pixels count as part of the vehicle
FILE_NAME = re.compile(r"(.+)_gt(Fine|Coarse)_(polygons\.json|instanceIds\.png)")
MAX_COORDINATE = 2**15  # pixels


@READERS.register("cityscapes")
def read_cityscapes(source: Source) -> dict:
    """Reads Cityscapes: *_polygons.json files, or *_instanceIds.png files if there are no JSON files."""
    folder = source.path / source.subset if source.subset else source.path
    polygons, ids = (find_files(folder, f"*_gt*_{suffix}") for suffix in ("polygons.json", "instanceIds.png"))
    paths = [path for path in polygons or ids if FILE_NAME.fullmatch(path.name)]
    if not paths:
        raise ValueError(
            f"Expected files *_gtFine_polygons.json or *_gtFine_instanceIds.png in {folder}. Received: none. "
            "Give the folder gtFine. For a part of it, add `--subset train` or `--subset val`."
        )
    return build_coco_content(
        source, paths, functools.partial(_read_image, source), class_names=list(CLASSES)
    )


def _read_image(source: Source, path: Path) -> FoundImage:
    name = FILE_NAME.sub(r"\1", path.name)
    try:
        image_path = source.images.find(f"{name}_leftImg8bit.png", str(path))
    except ValueError:  # some mirrors have JPEG images
        image_path = source.images.find_stem(f"{name}_leftImg8bit", str(path))
    if path.suffix == ".json":
        ids, size = _draw(path, image_path, source)
    else:
        size = source.images.size(image_path)
        ids = read_ids(path, size, str(image_path))
    objects = []
    for id, (crop, origin) in instance_masks(ids).items():
        label, crowd = (id // NUMBERS, False) if id >= NUMBERS else (id, True)
        if label in NAMES:
            objects.append(
                FoundObject(
                    class_name=NAMES[label], segmentation=encode_crop(crop, origin, size), crowd=crowd
                )
            )
    return FoundImage(image_path, size, objects)


def _draw(path, image_path, source):
    """Returns the instance ids of a *_polygons.json file, `[H, W]` int64, and the (height, width)."""
    content = source.read_json(path, "a polygons.json of Cityscapes")
    entries = field_checks.value_of(content, "objects", list, where=str(path))
    declared = [
        field_checks.whole_number_of(content, f"img{side}", str(path)) for side in ("Height", "Width")
    ]
    size = source.images.checked_size(image_path, declared, str(path))
    picture = Image.new("I", size[::-1])
    pen = ImageDraw.Draw(picture)
    numbers = dict.fromkeys(CLASSES, 0)
    for number, entry in enumerate(entries):
        where = f"objects[{number}] of {path}"
        label = field_checks.class_name(field_checks.checked_value(entry, dict, where).get("label"), where)
        if field_checks.is_set(entry.get("deleted")) or label in NOT_DRAWN:
            continue
        points = field_checks.polygon(entry.get("polygon"), where)
        if np.abs(points).max() > MAX_COORDINATE:
            raise ValueError(
                f"Expected coordinates near the image in {where}. Received: {np.abs(points).max():g}. "
                "Correct the file."
            )
        group = label.removesuffix("group")
        id = CLASSES.get(label) or CLASSES.get(group, 0)
        if label in numbers:
            id = id * NUMBERS + numbers[label]
            numbers[label] += 1
            if numbers[label] > NUMBERS:
                raise ValueError(
                    f"Expected at most {NUMBERS} objects {label!r} in {path}. Received: more. "
                    "Correct the file."
                )
        pen.polygon([tuple(point) for point in points.tolist()], fill=id)
    return np.asarray(picture, "int64"), size
