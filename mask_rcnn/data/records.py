"""The data set format of this package: every reader returns these records, and the pipeline reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mask_rcnn.structures import Category

if TYPE_CHECKING:
    from mask_rcnn.data.tfrecords.record_image import RecordImage
    from mask_rcnn.system.paths import RemotePath

# COCO's mask formats: {"size": [height, width], "counts": text or a list of int}, or polygons
# [[x, y, x, y, ...], ...].
RunLengths = dict[str, Any]
Segmentation = list[list[float]] | RunLengths
ImageLocation: TypeAlias = "Path | RemotePath | RecordImage"  # an image file, or its place in a TFRecord file


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object, or one crowd region, of an image.

    Args:
        id: Id of the annotation in its file.
        class_id: 1..K, also for a crowd region.
        box: (y1, x1, y2, x2), pixels, inside the image.
        area: Area of the mask, in square pixels.
        crowd: Whether it is a region of many objects, which is neither a positive nor a negative. Defaults to
            False.
        segmentation: COCO's format: polygons `[[x, y, x, y, ...], ...]`, a run-length dict, or None. Defaults
            to None.
        keypoints: COCO's (x, y, visibility) of each keypoint, with visibility 0 if unknown, or None. Defaults
            to None.
    """

    id: int
    class_id: int
    box: tuple[float, float, float, float]
    area: float
    crowd: bool = False
    segmentation: Segmentation | None = None
    keypoints: tuple[tuple[float, float, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image file and its annotations.

    Args:
        id: Id of the image in its file, a number or text.
        path: Path of the image file, or its place in a TFRecord file.
        height: Height in pixels, after the EXIF orientation is applied.
        width: Width in pixels, after the EXIF orientation is applied.
        annotations: Objects and crowd regions. Defaults to none.
        bits: Bits per sample in the file, 8 or 16. Defaults to 8.
        source: Index of its data set in a mixture. Defaults to 0.
    """

    id: int | str
    path: "ImageLocation"
    height: int
    width: int
    annotations: Sequence[Annotation] = ()
    bits: int = 8
    source: int = 0


@dataclass(frozen=True)
class Dataset:
    """Images with their annotations. Class id `i` is `categories[i - 1]`.

    Args:
        name: Name of the data set in reports.
        categories: Tuple of the K `Category`s.
        images: Tuple of the usable `ImageRecord`s.
        warnings: Sentences about what the reader left out or changed. Defaults to none.
        num_left_out: Number of unusable images that the reader left out. Defaults to 0.
        shares: Fraction of the training images from each `source` of a mixture, see `data.mixture`. Defaults
            to empty: no mixture.
    """

    name: str
    categories: tuple[Category, ...]
    images: tuple[ImageRecord, ...]
    warnings: tuple[str, ...] = ()
    num_left_out: int = 0
    shares: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """Number of classes K, without the background."""
        return len(self.categories)

    @property
    def sizes(self) -> np.ndarray:
        """`[N, 2]` int64, (height, width) of each image."""
        return np.array([(image.height, image.width) for image in self.images], "int64").reshape(-1, 2)


def as_json(dataset: Dataset) -> dict[str, Any]:
    """Returns a `Dataset` as the content of a COCO json, a dict."""
    categories = [
        {
            "id": category.id,
            "name": category.name,
            "keypoints": list(category.keypoints),
            "skeleton": [list(pair) for pair in category.skeleton],
        }
        for category in dataset.categories
    ]
    images = [
        {"id": image.id, "file_name": image.path.name, "height": image.height, "width": image.width}
        for image in dataset.images
    ]
    annotations = [
        _annotation_json(annotation, image.id, dataset.categories)
        for image in dataset.images
        for annotation in image.annotations
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
