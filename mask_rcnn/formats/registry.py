"""Registries of annotation formats, and the arguments and results of readers and writers.

A reader is a function of a `Source`. It returns the content of a COCO JSON, or the path of one.
`build_coco_content` builds the content from `FoundImage`s. A writer is a function of a `Target`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mask_rcnn.data.findings import Findings
from mask_rcnn.data.json_file import read_json
from mask_rcnn.formats.image_folder import ImageFolder
from mask_rcnn.registry import Registry

READERS = Registry("--from")
WRITERS = Registry("--to")
# Function of (items, their number, a description) that yields the items and shows progress.
Track = Callable[[Iterable, int, str], Iterable]


def no_progress(items: Iterable, total: int, description: str) -> Iterable:
    """Returns `items` unchanged. The default `track` function, which shows no progress.

    Args:
        items: Iterable.
        total: Number of items. Not used.
        description: Text for a progress bar. Not used.
    """
    return items


@dataclass(frozen=True, kw_only=True)
class Source:
    """The argument of a reader: paths, options and lists for messages.

    Args:
        path: Path of the file or folder of the annotations.
        images: `ImageFolder` of the images.
        findings: `Findings`. The reader adds what it skips or guesses. Defaults to a new one.
        notes: List of sentences about repairs. The reader and the check of its result add to it. Defaults to
            [].
        subset: Part of the data set to read, such as "train", for formats that have parts. Defaults to None,
            all parts.
        boxes_as_masks: Whether rectangles become masks. Otherwise they become boxes without a mask. Defaults
            to False.
        class_attribute: Name of the attribute that contains the class, for formats with attributes. Defaults
            to None.
        skip_errors: Whether to leave out images whose annotations cannot be read. Otherwise they are an
            error. Defaults to False.
        track: Function of (items, their number, a description) that yields the items and shows progress.
            Defaults to `no_progress`.
        annotations: Path of the COCO JSON with the images and classes of a results file. Defaults to None:
            the results contain the names.
        score_threshold: Predictions with lower scores are left out. Defaults to 0.5.
        scores: `{annotation id: score}` of predictions, which the reader fills. Defaults to {}.
    """

    path: Path
    images: ImageFolder
    findings: Findings = field(default_factory=Findings)
    notes: list[str] = field(default_factory=list)
    subset: str | None = None
    boxes_as_masks: bool = False
    class_attribute: str | None = None
    skip_errors: bool = False
    track: Track = no_progress
    annotations: Path | None = None
    score_threshold: float = 0.5
    scores: dict[int, float] = field(default_factory=dict)

    def read_json(self, path: Path, expected: str) -> Any:
        """Returns the content of a JSON file. Adds sentences about an unusual encoding to `notes`.

        Args:
            path: Path of the file.
            expected: Description of the expected file for the messages, such as "a labelme file".
        """
        content, notes = read_json(path, expected)
        self.notes.extend(notes)
        return content


@dataclass(frozen=True, kw_only=True)
class Target:
    """The argument of a writer: the data set, paths and options.

    Args:
        parts: `{name of the part: content of a COCO JSON}`. A split has the parts "train" and "val".
            Otherwise the only name is "". Annotations that are predictions have a `score`.
        images: `ImageFolder` that the `file_name`s are relative to.
        path: Path of an empty folder to write to. For "coco", path of the file to write.
        final_path: Path of the folder or file after it is complete.
        findings: `Findings`. The writer adds what the format cannot represent. Defaults to a new one.
        track: See `Source`. Defaults to `no_progress`.
        num_shards: Number of files per part, for "tfrecord". Defaults to None, chosen by the size of the
            images.
        model_version: Name of the model whose predictions are written, for "label_studio". Defaults to
            "mask-rcnn".
    """

    parts: dict[str, dict]
    images: ImageFolder
    path: Path
    final_path: Path
    findings: Findings = field(default_factory=Findings)
    track: Track = no_progress
    num_shards: int | None = None
    model_version: str = "mask-rcnn"


@dataclass(slots=True, kw_only=True)
class FoundObject:
    """An object that a reader found.

    Args:
        class_name: Name of its class.
        segmentation: Polygons `[[x, y, x, y, ...], ...]` or an RLE of the image. Defaults to None, no mask.
        box: (x1, y1, x2, y2), pixels, far edge not included. Only used without a segmentation. Defaults to
            None.
        crowd: Whether it is a region of many objects. Defaults to False.
    """

    class_name: str
    segmentation: list | dict | None = None
    box: tuple[float, float, float, float] | None = None
    crowd: bool = False


@dataclass(slots=True)
class FoundImage:
    """An image that a reader found, with its objects.

    Args:
        path: Path of the image file.
        size: (height, width) of the upright image.
        objects: List of `FoundObject`.
    """

    path: Path
    size: tuple[int, int]
    objects: list[FoundObject]
