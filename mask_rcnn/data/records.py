"""A data set as plain records: what every reader produces and the pipeline consumes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mask_rcnn.structures import Category


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object, or one crowd region, of an image.

    Args:
        id: number of the annotation in its file.
        class_id: 1..K, of a crowd too.
        box: (y1, x1, y2, x2), pixels, inside the image.
        area: of the mask, pixels.
        crowd: True for a region of many objects that is neither a positive nor a negative.
        segmentation: COCO's form: polygons `[[x, y, x, y, ...], ...]`, a run-length dict, or None.
        keypoints: COCO's (x, y, visibility) of each keypoint, visibility 0 where it is unknown; or None.
    """

    id: int
    class_id: int
    box: tuple[float, float, float, float]
    area: float
    crowd: bool = False
    segmentation: list | dict | None = None
    keypoints: tuple[tuple[float, float, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image file and what is in it.

    Args:
        id: Id of the image in its file, a number or text.
        path: the image file.
        height: pixels, after the EXIF orientation is applied.
        width: pixels, after the EXIF orientation is applied.
        annotations: objects and crowd regions; may be empty.
        bits: of each sample in the file, 8 or 16.
        source: number of its set in a mixture, from 0.
    """

    id: int | str
    path: Path
    height: int
    width: int
    annotations: tuple[Annotation, ...] = ()
    bits: int = 8
    source: int = 0


@dataclass(frozen=True)
class Dataset:
    """Images with their annotations; class id `i` is `categories[i - 1]`.

    Args:
        name: what reports call it.
        categories: the K classes.
        images: the records that can be used.
        warnings: what the reader left out or changed, a sentence each.
        num_left_out: images that the reader left out because they cannot be used.
        shares: Part of the training images that each `source` has; empty unless it is a mixture, see
            `data.mixture`.
    """

    name: str
    categories: tuple[Category, ...]
    images: tuple[ImageRecord, ...]
    warnings: tuple[str, ...] = ()
    num_left_out: int = 0
    shares: tuple[float, ...] = ()

    def __len__(self):
        return len(self.images)

    @property
    def num_classes(self):
        return len(self.categories)

    @property
    def sizes(self):
        """`[N, 2]` int64: (height, width) of each image."""
        return np.array([(image.height, image.width) for image in self.images], "int64").reshape(-1, 2)


def as_json(dataset):
    """Returns the content of a COCO json with the images, categories and annotations of a `Dataset`."""
    categories = [
        {
            "id": each.id,
            "name": each.name,
            "keypoints": list(each.keypoints),
            "skeleton": [list(pair) for pair in each.skeleton],
        }
        for each in dataset.categories
    ]
    images = [
        {"id": image.id, "file_name": image.path.name, "height": image.height, "width": image.width}
        for image in dataset.images
    ]
    annotations = [
        _annotation_json(one, image.id, dataset.categories)
        for image in dataset.images
        for one in image.annotations
    ]
    return {"images": images, "categories": categories, "annotations": annotations}


def _annotation_json(annotation, image_id, categories):
    top, left, bottom, right = annotation.box
    entry = {
        "id": annotation.id,
        "image_id": image_id,
        "category_id": categories[annotation.class_id - 1].id,
        "bbox": [left, top, right - left, bottom - top],
        "area": annotation.area,
        "iscrowd": int(annotation.crowd),
    }
    if annotation.segmentation:
        entry["segmentation"] = annotation.segmentation
    if annotation.keypoints:
        entry["keypoints"] = [number for point in annotation.keypoints for number in point]
        entry["num_keypoints"] = sum(visibility > 0 for *_, visibility in annotation.keypoints)
    return entry
