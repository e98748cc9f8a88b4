"""The registries of annotation formats, and what a reader is given and returns.

A reader is a function of a `Source`. It returns the content of a COCO JSON, or the path of one.
`build_coco_content` builds the content from `FoundImage`s. A writer is a function of a `Target`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mask_rcnn.data.findings import Findings
from mask_rcnn.data.json_file import read_json
from mask_rcnn.formats.image_folder import ImageFolder
from mask_rcnn.registry import Registry

READERS = Registry("--from")
WRITERS = Registry("--to")


def no_progress(items, total, description):
    """Returns `items`: progress that nobody sees."""
    return items


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where annotations are read, and how.

    Args:
        path: File or folder of the annotations.
        images: `ImageFolder` of the images.
        findings: `Findings`; what is skipped or guessed is added.
        notes: List of what the check of the result repairs, a line each; it is added to.
        subset: Part of the data set to read, such as "train", for formats that have parts. None reads all.
        boxes_as_masks: Whether rectangles are masks of four corners. Otherwise they are boxes without a mask.
        class_attribute: Name of the attribute that holds the class, in formats with attributes.
        skip_errors: Whether an image whose annotations cannot be read is left out with a report.
        track: Function of (items, total, description) that yields the items and shows the progress.
        annotations: Path of the COCO json with the images and classes of a results file. None takes the names
            that the results have.
        score_threshold: Predictions with lower scores are left out.
        scores: {annotation id: score} of what are predictions; it is added to.
    """

    path: Path
    images: ImageFolder
    findings: Findings = field(default_factory=Findings)
    notes: list = field(default_factory=list)
    subset: str | None = None
    boxes_as_masks: bool = False
    class_attribute: str | None = None
    skip_errors: bool = False
    track: Callable = no_progress
    annotations: Path | None = None
    score_threshold: float = 0.5
    scores: dict = field(default_factory=dict)

    def read_json(self, path, expected):
        """Returns the content of a json file; what is guessed of its encoding is noted.

        Args:
            path: Path of the file.
            expected: What the file should be, such as "a labelme file", for the messages.
        """
        content, notes = read_json(path, expected)
        self.notes.extend(notes)
        return content


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is written, and where.

    Args:
        parts: {name: content of a COCO json}. A split has the parts "train" and "val", other data sets have
            one part of the name "". Annotations that are predictions have a `score`.
        images: `ImageFolder` that the `file_name`s are relative to.
        path: Folder to write to, which exists and is empty; for "coco", the file to write.
        final_path: Path that it will have when it is complete.
        findings: `Findings`; what the format cannot express is added.
        track: As in `Source`.
        num_shards: Number of files of each part, for "tfrecord". None decides by size.
        model_version: Name of the model whose predictions these are, for "label_studio".
    """

    parts: dict
    images: ImageFolder
    path: Path
    final_path: Path
    findings: Findings = field(default_factory=Findings)
    track: Callable = no_progress
    num_shards: int | None = None
    model_version: str = "mask-rcnn"


@dataclass(slots=True)
class FoundObject:
    """An object as a reader found it.

    Args:
        class_name: Name of its class.
        segmentation: Polygons `[[x, y, x, y, ...], ...]`, run lengths of the image, or None.
        box: (x1, y1, x2, y2) in pixels, far edge excluded. Only used without a segmentation.
        crowd: Whether it is a region of many objects.
    """

    class_name: str
    segmentation: list | dict | None = None
    box: tuple | None = None
    crowd: bool = False


@dataclass(slots=True)
class FoundImage:
    """An image as a reader found it.

    Args:
        path: Path of the image file.
        size: (height, width) of the upright image.
        objects: List of `FoundObject`.
    """

    path: Path
    size: tuple
    objects: list
