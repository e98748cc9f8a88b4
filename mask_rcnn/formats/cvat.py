"""Reader for CVAT for images 1.1: one XML file with the shapes of all images.

Facts of the format (https://docs.cvat.ai/docs/other/xml_format):

- `<image name width height>` has `<polygon points="x,y;x,y">`, `<box xtl ytl xbr ybr>`,
  `<ellipse cx cy rx ry>` and `<mask rle left top width height>`, each with `label`. Coordinates are
  pixels of the upright image.
- `rotation` of a box or an ellipse is in degrees, clockwise, about its center.
- The run lengths of a mask follow the rows of its box. The first one counts zeros.
- Shapes of the same label and `group_id`, other than 0, are parts of one object.
- A shape with `outside="1"` is not in the image. `occluded` shapes are objects.
- CVAT's COCO import stores crowd regions as the attribute `is_crowd`.
- CVAT imports only attributes that are declared for the label in the task. It ignores others, such as
  `score`, which the writer adds.
"""

import functools
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from mask_rcnn.data.findings import shown
from mask_rcnn.data.json_values import numbers, whole_number
from mask_rcnn.formats import field_checks, shapes
from mask_rcnn.formats.coco_builder import build_coco_content
from mask_rcnn.formats.registry import READERS, FoundImage, Source
from mask_rcnn.formats.xml_file import read_xml
from mask_rcnn.structures import encode_crop

EXPECTED = "a file of CVAT for images 1.1"
SHAPES = ("polygon", "mask", "ellipse", "box")


@READERS.register("cvat")
def read_cvat(source: Source) -> dict:
    """Reads the XML file of CVAT for images 1.1."""
    path = source.path / "annotations.xml" if source.path.is_dir() else source.path
    root = read_xml(path, EXPECTED, "annotations")
    if root.find("track") is not None:
        raise ValueError(
            f"Expected {EXPECTED}. Received: {path} with tracks, as CVAT for video has them. "
            "Export the task as `CVAT for images 1.1`."
        )
    labels = [label for label in root.iterfind("./meta//label") if label.find("parent") is None]
    names = [field_checks.class_name(label.findtext("name"), f"a <label> of {path}") for label in labels]
    read = functools.partial(_read_image, source=source, path=path, names=names)
    return build_coco_content(source, root.findall("image"), read, class_names=list(dict.fromkeys(names)))


def _read_image(element: Element, *, source: Source, path: Path, names: list[str]) -> FoundImage:
    name = element.get("name")
    where = f"image {shown(name)} of {path}"
    image_path = source.images.find(name, str(path))
    declared = [
        field_checks.whole_number_of(element.attrib, side, where, default=None)
        for side in ("height", "width")
    ]
    size = source.images.checked_size(image_path, declared, where)
    groups = {}
    for number, shape in enumerate(element, start=1):
        shape_name = f"<{shape.tag[:20]}> {number} of {where}"
        if shape.tag not in SHAPES:
            source.findings.repair(
                "shapes other than polygon, mask, ellipse and box were left out", shape_name
            )
        elif field_checks.is_set(shape.get("outside")):
            source.findings.repair("shapes with outside=1 were left out", shape_name)
        else:
            label = field_checks.class_name(shape.get("label"), shape_name)
            if names and label not in names:
                raise ValueError(
                    f"Expected a label of {path}. Received: {shown(label)} in {shape_name}. Add it to <meta>."
                )
            group = field_checks.whole_number_of(shape.attrib, "group_id", shape_name, default=0)
            key = (label, None, group) if group else (label, number, None)
            groups.setdefault(key, []).append((shape, shape_name))
    objects = [_object(key[0], group, size=size, source=source) for key, group in groups.items()]
    return FoundImage(image_path, size, objects)


def _object(label, group, *, size, source):
    masks, boxes = [], []
    for shape, where in group:
        number = functools.partial(field_checks.number_of, shape.attrib, where=where)
        rotation = number("rotation", default=0.0)
        if shape.tag == "polygon":
            pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
            masks.append(field_checks.polygon(pairs, where))
        elif shape.tag == "mask":
            masks.append(_mask(shape, size, where))
        elif shape.tag == "ellipse":
            masks.append(_ellipse(number, rotation))
        else:
            x1, y1, x2, y2 = map(number, ("xtl", "ytl", "xbr", "ybr"))
            boxes.append(shapes.rectangle((x1, y1), (x2 - x1, y2 - y1), degrees=rotation))
    crowd = any(_is_crowd(shape) for shape, _ in group)
    return shapes.object_of_shapes(
        label, masks, boxes, size=size, source=source, where=group[0][1], crowd=crowd
    )


def _ellipse(number, rotation):
    center, radii = (number("cx"), number("cy")), (number("rx"), number("ry"))
    return shapes.ellipse(center, radii, degrees=rotation)


def _is_crowd(shape):
    return any(
        each.get("name") == "is_crowd" and field_checks.is_set(each.text)
        for each in shape.iterfind("attribute")
    )


def _mask(shape, size, where):
    fields = [
        field_checks.whole_number_of(shape.attrib, key, where) for key in ("left", "top", "width", "height")
    ]
    left, top, width, height = fields
    if min(fields) < 0 or left + width > size[1] or top + height > size[0]:
        raise ValueError(
            f"Expected a mask inside the image of height={size[0]}, width={size[1]}. "
            f"Received: {where} with left, top, width, height = {shown(fields)}. Correct the file."
        )
    values = numbers(shape.get("rle", "").split(","))
    runs = [whole_number(value) for value in values] if isinstance(values, list) else []
    lengths = [run for run in runs if isinstance(run, int) and run >= 0]
    if not runs or len(lengths) < len(runs) or sum(lengths) != width * height:
        raise ValueError(
            f"Expected `rle` of whole numbers that sum to width * height = {width * height}. "
            f"Received: {where} with {shown(shape.get('rle'))}. Export the file again."
        )
    crop = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)
    return encode_crop(crop, (top, left), size)
