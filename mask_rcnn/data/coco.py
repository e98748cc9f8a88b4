"""Reads any COCO instances json, and says early and clearly what is wrong with it.

Every command reads a json with these functions, so the same file gets the same answer everywhere:

- What every COCO tool accepts is repaired and reported: one line for each kind, with a count and examples.
- What has no clear meaning is an error that names all entries at once.
- An image that cannot be used, for its file or for one of its annotations, is left out with a report as long
  as such images are few. A bad one of ten thousand should not stop a run, and dropping only the annotation
  would teach the network that the object is background.
"""

import collections
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from absl import logging

from mask_rcnn.data.annotations import clipped
from mask_rcnn.data.coco_content import EXPECTED, NO_SIZE, read_entries, report, usable_images
from mask_rcnn.data.findings import shown
from mask_rcnn.data.image_files import find_image_files
from mask_rcnn.data.images import check_complete, read_header
from mask_rcnn.data.records import Annotation, Dataset, ImageRecord

READERS = 16  # threads that look at image files; they mostly wait for the disk


def read_coco(annotations_path, images_dir, max_bad_images=0.01):
    """Reads a COCO instances json and looks at every image file it names.

    Args:
        annotations_path: Path of the json file.
        images_dir: Folder that its `file_name`s are relative to.
        max_bad_images: Fraction of the images that may be left out, with one report, because the file is
            missing, cut off or of another size, or because an annotation makes no sense. More is an error.
            Defaults to 0.01.

    Returns:
        A `Dataset`; its class ids 1..K are the category ids in ascending order.
    """
    images_dir = Path(images_dir)
    entries = read_entries(annotations_path)
    if not images_dir.is_dir():
        raise FileNotFoundError(
            f"Expected the folder of the images. Received: images_dir={str(images_dir)!r}. Check the path."
        )
    paths = find_image_files(entries.images.values(), images_dir, entries.findings)
    entries.findings.check(EXPECTED, entries.name)
    with ThreadPoolExecutor(READERS) as pool:
        headers = {id: pool.submit(_read_complete_header, path) for id, path in paths.items()}
        images, annotations, _, bad = usable_images(
            entries, lambda image: _checked_size(image, headers[image["id"]].result(), entries.findings)
        )
    warnings = report(bad, entries, max_bad_images)
    if warnings:
        logging.warning("%s", "\n  ".join([f"{entries.name}:", *warnings]))
    categories = tuple(sorted(entries.categories.values(), key=lambda category: category.id))
    class_ids = {category.id: class_id for class_id, category in enumerate(categories, start=1)}
    by_image = collections.defaultdict(list)
    for annotation in annotations:
        by_image[annotation["image_id"]].append(annotation)
    records = tuple(
        _image_record(image, by_image[id], class_ids, paths[id], headers[id].result())
        for id, image in ((image["id"], image) for image in images)
    )
    return Dataset(Path(annotations_path).stem, categories, records, warnings, num_left_out=len(bad))


def _read_complete_header(path):
    header = read_header(path)
    check_complete(path, header)
    return header


def _checked_size(image, header, findings):
    """Returns the size of an image file, which must be the one that the json declares, if it does."""
    size, declared = (header.height, header.width), (image["height"], image["width"])
    if any(theirs not in (None, ours) for ours, theirs in zip(size, declared, strict=True)):
        swapped = declared == size[::-1]
        raise ValueError(
            "The json must declare the size of the file. "
            f"Received: height={image['height']}, width={image['width']} in the json, "
            f"height={header.height}, width={header.width} in the file (EXIF orientation applied). "
            + ("Are height and width in the wrong order?" if swapped else "Use the image that was annotated.")
        )
    if None in declared:
        findings.repair(NO_SIZE, f"image {shown(image['id'])}")
    return size


def _image_record(image, annotations, class_ids, path, header):
    return ImageRecord(
        id=image["id"],
        path=path,
        height=image["height"],
        width=image["width"],
        annotations=tuple(_record(one, image, class_ids) for one in annotations),
        bits=header.bits,
    )


def _record(annotation, image, class_ids):
    flat = annotation["keypoints"]
    return Annotation(
        id=annotation["id"],
        class_id=class_ids[annotation["category_id"]],
        box=clipped(annotation["bbox"], (image["height"], image["width"])),
        area=float(annotation["area"]),
        crowd=bool(annotation["iscrowd"]),
        segmentation=annotation["segmentation"],
        keypoints=flat and tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True)),
    )
