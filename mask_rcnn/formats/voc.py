"""Reader for Pascal VOC: an XML file with boxes for each image, and PNG files with object numbers.

Facts of the format (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/):

- `Annotations/NAME.xml` contains the class and box of each object. Pixels are counted from 1. The box
  includes `xmax` and `ymax`.
- `SegmentationObject/NAME.png` is a palette PNG. Pixels of value i belong to object i of the XML file,
  counted from 1. The value 0 is background. The value 255 is void: borders and unlabeled objects.
- `SegmentationClass/NAME.png` contains class numbers.
- `ImageSets/Segmentation/PART.txt`, or `Main/PART.txt` for boxes, lists the image names of a part.
- VOC's evaluation ignores `difficult` objects, as COCO's ignores crowds. The reader converts difficult
  objects to crowds, and the writer converts crowds to difficult objects.
"""

import functools
from pathlib import Path

import numpy as np

from mask_rcnn.data.findings import shown
from mask_rcnn.formats import field_checks
from mask_rcnn.formats.coco_builder import build_coco_content
from mask_rcnn.formats.dataset_files import read_class_names, read_text
from mask_rcnn.formats.id_maps import VOID, instance_masks, read_ids
from mask_rcnn.formats.registry import READERS, FoundImage, FoundObject, Source
from mask_rcnn.formats.xml_file import read_xml
from mask_rcnn.structures import encode_crop

# Minimum overlap of the box of a mask with the box of its object. If they have the same number, this is the
# fraction of the mask's box. Otherwise it is the IoU.
MIN_OVERLAP = 0.5


@READERS.register("voc")
def read_voc(source: Source) -> dict:
    """Reads Pascal VOC: Annotations/*.xml, with masks from SegmentationObject/*.png."""
    masks = {path.stem: path for path in sorted(source.path.glob("SegmentationObject/*.png"))}
    boxes = {path.stem: path for path in sorted(source.path.glob("Annotations/*.xml"))}
    names = _names(source) if source.subset else list(masks or boxes)
    if not names:
        raise ValueError(
            f"Expected the folders Annotations and SegmentationObject in {source.path}. Received: no files. "
            "Give the folder that contains them, such as VOCdevkit/VOC2012."
        )
    for name in sorted(boxes.keys() - set(names)) if not source.subset else ():
        source.findings.repair("images without a file in SegmentationObject were left out", name)
    read = functools.partial(_read_image, source=source, boxes=boxes, masks=masks)
    return build_coco_content(source, names, read, class_names=read_class_names(source.path))


def _names(source):
    paths = [
        source.path / "ImageSets" / folder / f"{source.subset}.txt" for folder in ("Segmentation", "Main")
    ]
    path = next((path for path in paths if path.is_file()), paths[0])
    text = read_text(path, "a list of image names")
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def _read_image(name, *, source, boxes, masks):
    if name not in boxes:
        raise ValueError(
            f"Expected Annotations/{name}.xml in {source.path}. Received: no such file. Add the file."
        )
    path = boxes[name]
    root = read_xml(path, "a Pascal VOC file", "annotation")
    file_name = root.findtext("filename") or f"{name}.jpg"
    image_path = source.images.find(file_name, str(path), neighbor=source.path / "JPEGImages" / name)
    declared = [_whole_number(root.find("size"), side, path) for side in ("height", "width")]
    size = source.images.checked_size(image_path, declared, str(path))
    entries = [
        _entry(each, f"object {number} of {path}") for number, each in enumerate(root.iterfind("object"), 1)
    ]
    segmentations = {}
    if name in masks:
        ids = _ids(masks[name], size, xml_path=path, source=source)
        segmentations = _matched(ids, entries, size=size, path=masks[name], source=source)
    objects = [
        FoundObject(class_name=label, segmentation=segmentations.get(number), box=box, crowd=crowd)
        for number, (label, box, crowd) in enumerate(entries, start=1)
    ]
    for number, (label, _, crowd) in enumerate(entries, start=1):
        if crowd:
            source.findings.repair(
                "difficult objects have become crowds: evaluation ignores both", f"{label} of {name}"
            )
        if masks and number not in segmentations:
            source.findings.repair(
                "objects of the XML without pixels have a box but no mask", f"{label} of {name}"
            )
    return FoundImage(image_path, size, objects)


def _whole_number(element, tag, path):
    if element is None:
        raise ValueError(f"Expected <size> in {path}. Received: none. Correct the file.")
    return field_checks.whole_number_of({tag: element.findtext(tag)}, tag, f"<size> of {path}")


def _entry(element, where):
    """Returns (class, box, whether it is difficult) of an object. The box is (x1, y1, x2, y2) from 0."""
    box = element.find("bndbox")
    if box is None:
        raise ValueError(f"Expected <bndbox> in {where}. Received: none. Correct the file.")
    fields = {tag: box.findtext(tag) for tag in ("xmin", "ymin", "xmax", "ymax")}
    x1, y1, x2, y2 = (field_checks.number_of(fields, tag, where) for tag in fields)
    name = field_checks.class_name(element.findtext("name"), where)
    return name, (x1 - 1, y1 - 1, x2, y2), field_checks.is_set(element.findtext("difficult"))


def _ids(path, size, *, xml_path, source):
    ids = read_ids(path, size, str(xml_path))
    if (ids == VOID).any():
        source.findings.repair("void pixels (255) belong to no object", path.name)
        ids[ids == VOID] = 0
    return ids


def _matched(
    ids: np.ndarray, entries: list, *, size: tuple[int, int], path: Path, source: Source
) -> dict[int, dict]:
    """Assigns masks to the objects of the XML file. Returns `{number of the object, from 1: RLE}`.

    Usually the pixel value is the number of the object. Some tools number the masks in another way. If the
    boxes of mask and object hardly overlap, the mask belongs to the object whose box has the largest IoU.
    """
    matched = {}
    for id, (crop, (y, x)) in instance_masks(ids).items():
        box = (x, y, x + crop.shape[1], y + crop.shape[0])
        number = id
        if id > len(entries) or _common(box, entries[id - 1][1]) < MIN_OVERLAP * crop.size:
            number = _best_match(box, entries, path)
            source.findings.repair(
                "masks were assigned to objects by their boxes, not by number", f"{id} of {path.name}"
            )
        if number in matched:
            raise ValueError(
                f"Expected one mask for each object. Received: {path} with two for object {number}. "
                "Correct the file."
            )
        matched[number] = encode_crop(crop, (y, x), size)
    return matched


def _best_match(box, entries, path):
    overlaps = []
    for _, other, _ in entries:
        areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (box, other)]
        common = _common(box, other)
        overlaps.append(common / max(sum(areas) - common, 1e-9))
    if max(overlaps, default=0.0) < MIN_OVERLAP:
        raise ValueError(
            f"Expected an object in the XML with the box of each mask. Received: {path} with a mask in "
            f"{shown(list(map(int, box)))}, x1, y1, x2, y2. Correct the files."
        )
    return int(np.argmax(overlaps)) + 1


def _common(box, other):
    """Returns the area of the intersection of two boxes, (x1, y1, x2, y2)."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0) * max(height, 0)
