"""COCO instances, and LVIS, which has the same json with other fields of the images.

Facts of LVIS (https://www.lvisdataset.org/dataset):

- An image has `coco_url`, whose last two parts are folder and name of the file, and no `file_name`.
- Not all classes are labeled in an image: it was searched for `neg_category_ids` and for the classes of its
  objects, and not for all objects of `not_exhaustive_category_ids`.
"""

from mask_rcnn.coco_results import write_json
from mask_rcnn.data.coco_content import read_annotations
from mask_rcnn.data.coco_entries import check_lists
from mask_rcnn.data.json_file import read_json
from mask_rcnn.formats.registry import READERS, WRITERS

NOT_EXHAUSTIVE = (
    "images of LVIS are not labeled for all classes: objects that are not labeled count as background here"
)


@READERS.register("coco")
def read_coco_instances(source):
    """Reads COCO instances; keypoints and ids are kept."""
    return _content(source, source.path)


@READERS.register("lvis")
def read_lvis(source):
    """Reads LVIS; its files are found by `coco_url`."""
    content, _ = read_json(source.path, "an LVIS json")
    check_lists(content, str(source.path))
    images = []
    for image in content["images"]:
        if isinstance(image, dict):
            url = image.get("coco_url")
            if "file_name" not in image and isinstance(url, str):
                image = {**image, "file_name": "/".join(url.split("/")[-2:])}
            if image.get("not_exhaustive_category_ids"):
                source.findings.repair(NOT_EXHAUSTIVE, f"image {image.get('id')}")
        images.append(image)
    try:
        return _content(source, {**content, "images": images})
    except ValueError as error:
        raise ValueError(f"{source.path}: {error}") from error


@WRITERS.register("coco")
def write_coco(target):
    """Writes COCO instances, a json file."""
    (content,) = target.parts.values()
    write_json(target.path, content)


def _content(source, json):
    """Returns the checked content of a json, a path or its content."""
    found = read_annotations(json, max_bad_images=1.0 if source.skip_errors else 0.0)
    source.notes.extend(found.warnings)
    return {
        "images": [dict(image) for image in found.images],
        "categories": [_category(category) for category in found.categories],
        "annotations": [_annotation(annotation) for annotation in found.annotations],
    }


def _category(category):
    entry = {"id": category.id, "name": category.name}
    if category.keypoints:
        entry |= {
            "keypoints": list(category.keypoints),
            "skeleton": [list(pair) for pair in category.skeleton],
        }
    return entry


def _annotation(annotation):
    """Returns an annotation without the fields that it does not have."""
    optional = {"segmentation", "keypoints"} | (set() if annotation["keypoints"] else {"num_keypoints"})
    return {key: value for key, value in annotation.items() if key not in optional or value}
