"""Reader and writer for COCO instances, and reader for LVIS: the same JSON with other fields of the images.

Facts of LVIS (https://www.lvisdataset.org/dataset):

- An image has no `file_name`. It has `coco_url`, whose last two parts are the folder and name of the file.
- Not all classes are labeled in an image. The labeled classes are `neg_category_ids`, which are absent, and
  the classes of its objects. Some objects of `not_exhaustive_category_ids` are not labeled.
"""

from pathlib import Path

from mask_rcnn.data.readers.coco_entries import check_lists
from mask_rcnn.data.readers.federation import NOT_EXHAUSTIVE, UNLABELED
from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.formats.registry import READERS, WRITERS, Source, Target


@READERS.register("coco")
def read_coco_instances(source: Source) -> Path:
    """Reads COCO instances. Keeps keypoints and ids."""
    return source.path


@READERS.register("lvis")
def read_lvis(source: Source) -> dict:
    """Reads LVIS. Finds the image files by `coco_url`."""
    content = source.read_json(source.path, "an LVIS json")
    check_lists(content, str(source.path))
    for image in content["images"]:
        if isinstance(image, dict) and image.get(NOT_EXHAUSTIVE):
            source.findings.repair(UNLABELED, f"image {image.get('id')}")
    return content


@WRITERS.register("coco")
def write_coco(target: Target) -> None:
    """Writes COCO instances as one JSON file."""
    (content,) = target.parts.values()
    write_json(target.path, content)
