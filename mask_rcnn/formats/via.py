"""Reader for VIA, the VGG Image Annotator 2: a project file or a JSON export of all images.

Facts of the format (https://www.robots.ox.ac.uk/~vgg/software/via):

- A project has the images in the object `_via_img_metadata`. An export is that object alone. The keys of the
  images have no meaning.
- An image has `filename`, `size` (bytes of the file) and `regions`, a list, or an object in VIA 1.
- A region has `shape_attributes`: `name` (polygon, rect, circle, ellipse, polyline, point) and coordinates in
  pixels.
- The user defines the `region_attributes`. Their values are text, or {name: true} for check boxes.
- `theta` of an ellipse is its rotation in radians, clockwise in the image.
"""

import collections
import functools
import math

from mask_rcnn.data.findings import shown
from mask_rcnn.formats import field_checks, shapes
from mask_rcnn.formats.coco_builder import build_coco_content
from mask_rcnn.formats.registry import READERS, FoundImage, Source

EXPECTED = "a VIA project or json export"
# Usual names of the attribute with the class. Used if there are several and no `--class-attribute`.
USUAL_ATTRIBUTES = ("class", "label", "category", "name", "type", "object")
NO_CLASS = "object"  # class of all regions in a file without attributes


@READERS.register("via")
def read_via(source: Source) -> dict:
    """Reads a project or JSON export of the VGG Image Annotator (VIA) 2."""
    content = source.read_json(source.path, EXPECTED)
    images = field_checks.checked_value(content, dict, str(source.path))
    if "_via_img_metadata" in images:
        images = field_checks.value_of(images, "_via_img_metadata", dict, where=str(source.path))
    attribute = source.class_attribute or _class_attribute(images.values(), source)
    return build_coco_content(
        source, list(images.values()), functools.partial(_read_image, source, attribute)
    )


def _class_attribute(images, source):
    """Returns the name of the attribute with the class, or None if no region has attributes."""
    counts = collections.Counter()
    for image in images:
        regions = image.get("regions") if isinstance(image, dict) else None
        for region in _listed(regions):
            attributes = region.get("region_attributes") if isinstance(region, dict) else None
            counts.update(list(attributes) if isinstance(attributes, dict) else ())
    usual = [name for name in counts if name.strip().lower() in USUAL_ATTRIBUTES]
    candidates = list(counts) if len(counts) == 1 else usual
    if len(candidates) == 1:
        source.findings.repair("the attribute of the regions that holds the class was guessed", candidates[0])
        return candidates[0]
    if counts:
        raise ValueError(
            f"Expected one attribute that holds the class. Received: {source.path} with the attributes "
            f"{', '.join(map(shown, list(counts)[:10]))}. Choose one with `--class-attribute`."
        )
    source.findings.repair(f"no region has a class: all are of the class {NO_CLASS!r}", source.path.name)
    return None


def _listed(regions):
    """Returns the regions of an image as a list. In VIA 1 they are an object."""
    listed = list(regions.values()) if isinstance(regions, dict) else regions
    return listed if isinstance(listed, list) else []


def _read_image(source, attribute, image):
    field_checks.checked_value(image, dict, f"an image of {source.path}")
    name = field_checks.value_of(image, "filename", str, where=f"an image of {source.path}")
    where = f"image {shown(name)} of {source.path}"
    path = source.images.find(name, where)
    size = source.images.size(path)
    if not isinstance(image.get("regions"), dict):  # in VIA 1, `regions` is an object
        field_checks.value_of(image, "regions", list, where=where)
    objects = []
    for number, region in enumerate(_listed(image["regions"])):
        region_name = f"regions[{number}] of {where}"
        shape = field_checks.value_of(region, "shape_attributes", dict, where=region_name)
        masks, boxes = _parts(shape, region_name)
        if masks or boxes:
            attributes = field_checks.value_of(
                region, "region_attributes", dict, where=region_name, default={}
            )
            label = _class_name(attributes, attribute, region_name)
            objects.append(
                shapes.object_of_shapes(label, masks, boxes, size=size, source=source, where=region_name)
            )
        else:
            source.findings.repair(
                "shapes other than polygon, circle, ellipse and rect were left out", region_name
            )
    return FoundImage(path, size, objects)


def _parts(shape, where):
    """Returns (masks, boxes) of a shape, see `object_of_shapes`. Both are empty for unsupported shapes."""
    kind = field_checks.value_of(shape, "name", str, where=where)
    number = functools.partial(field_checks.number_of, shape, where=where)
    if kind == "polygon":
        axes = [field_checks.value_of(shape, f"all_points_{axis}", list, where=where) for axis in "xy"]
        if len(axes[0]) != len(axes[1]):
            raise ValueError(
                f"Expected as many numbers in `all_points_x` as in `all_points_y` of {where}. "
                f"Received: {len(axes[0])} and {len(axes[1])}. Correct the file."
            )
        return [field_checks.polygon([list(pair) for pair in zip(*axes, strict=True)], where)], []
    if kind == "circle":
        return [shapes.ellipse((number("cx"), number("cy")), (number("r"), number("r")))], []
    if kind == "ellipse":
        degrees = math.degrees(number("theta", default=0.0))
        return [
            shapes.ellipse((number("cx"), number("cy")), (number("rx"), number("ry")), degrees=degrees)
        ], []
    if kind == "rect":
        return [], [shapes.rectangle((number("x"), number("y")), (number("width"), number("height")))]
    return [], []


def _class_name(attributes, attribute, where):
    if attribute is None:
        return NO_CLASS
    value = attributes.get(attribute)
    if isinstance(value, dict):  # check boxes: the only checked one is the class
        checked = [name for name, is_checked in value.items() if is_checked]
        value = checked[0] if len(checked) == 1 else value
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"Expected a class in the attribute {attribute!r} of {where}. Received: {shown(value)}. "
            "Correct it in VIA, or name another attribute with `--class-attribute`."
        )
    return field_checks.class_name(value, where)
