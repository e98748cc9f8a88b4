"""COCO instances, and LVIS, which has the same json with other fields of the images.

Facts of LVIS (https://www.lvisdataset.org/dataset):

- An image has `coco_url`, whose last two parts are folder and name of the file, and no `file_name`.
- Not all classes are labeled in an image: it was searched for `neg_category_ids` and for the classes of its
  objects, and not for all objects of `not_exhaustive_category_ids`.
"""

from mask_rcnn.coco_results import write_json
from mask_rcnn.data.coco_entries import check_lists
from mask_rcnn.data.federation import NOT_EXHAUSTIVE, UNLABELED
from mask_rcnn.formats.registry import READERS, WRITERS


@READERS.register("coco")
def read_coco_instances(source):
    """Reads COCO instances; keypoints and ids are kept."""
    return source.path


@READERS.register("lvis")
def read_lvis(source):
    """Reads LVIS; its files are found by `coco_url`."""
    content = source.read_json(source.path, "an LVIS json")
    check_lists(content, str(source.path))
    for image in content["images"]:
        if isinstance(image, dict) and image.get(NOT_EXHAUSTIVE):
            source.findings.repair(UNLABELED, f"image {image.get('id')}")
    return content


@WRITERS.register("coco")
def write_coco(target):
    """Writes COCO instances, a json file."""
    (content,) = target.parts.values()
    write_json(target.path, content)
