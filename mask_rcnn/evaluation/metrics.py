"""The result of an evaluation, as a record, as json and as a text table."""

from __future__ import annotations

import collections
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mask_rcnn.data.readers.coco_content import CocoContent

MAX_WIDTH = 80  # characters, the width of a common narrow terminal
MAX_NAME_LENGTH = 16
FEDERATED_RULES = "LVIS's rules: in an image, only the classes that it was searched for count."


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """The AP of one class.

    Args:
        id, name: Id and name of the category.
        num_objects: Number of objects to detect, without crowd regions.
        ap: AP in 0..1 by IoU type. None if there were no objects.
    """

    id: int
    name: str
    num_objects: int
    ap: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The result of an evaluation. `metrics["segm"]["AP"]` is the mask AP of the papers, in 0..1.

    A number that cannot be measured, because there are no objects, is None (`null` in json). pycocotools
    writes -1 instead, which is easily compared or averaged like a score.

    Args:
        summary: `{IoU type: {name: number}}`, 12 numbers per IoU type (keypoints and LVIS: 10).
        classes: Tuple with a `ClassScore` for each category, in the order of the annotation file.
        num_images: Number of evaluated images.
        max_detections: Maximum number of detections per class and image, the best first. If `is_federated`,
            the maximum over all classes of an image.
        backend, backend_version: Library that computed the numbers.
        warnings: Tuple of sentences about what was repaired, left out, limited or not measurable. Defaults to
            ().
        is_federated: Whether LVIS's rules were used. Defaults to False.
    """

    summary: dict[str, dict[str, float | None]]
    classes: tuple[ClassScore, ...]
    num_images: int
    max_detections: int
    backend: str
    backend_version: str
    warnings: tuple[str, ...] = ()
    is_federated: bool = False

    def __getitem__(self, iou_type: str) -> dict[str, float | None]:
        return self.summary[iou_type]

    @property
    def num_objects(self) -> int:
        """Number of objects to detect, of all classes together."""
        return sum(score.num_objects for score in self.classes)

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as plain dicts and lists, for `write_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Metrics:
        """Returns `Metrics` from the result of `to_json`."""
        classes = tuple(ClassScore(**fields) for fields in content["classes"])
        return cls(**{**content, "classes": classes, "warnings": tuple(content["warnings"])})

    def table(self) -> str:
        """Returns the summary and the AP of each class as text, for a terminal with 80 columns."""
        title = (
            f"  {_plural(self.num_images, 'image')}, {_plural(self.num_objects, 'object')}, at most "
            f"{self.max_detections} detections per {'image' if self.is_federated else 'class'} "
            f"({self.backend} {self.backend_version})"
        )
        rules = [f"  {FEDERATED_RULES}"] if self.is_federated else []
        return "\n".join([title, *rules, "", *self._summary_lines(), "", *self._class_lines()])

    def _summary_lines(self):
        """Returns one line per IoU type. The header is repeated when the names of the numbers change."""
        lines, names = [], None
        for iou_type, numbers in self.summary.items():
            if tuple(numbers) != names:
                lines += [""] if lines else []
                names = tuple(numbers)
                lines += _headed(f"{'':6}" + "".join(f"{_short(name):>6}" for name in names))
            lines.append(
                f"  {_short(iou_type):6}" + "".join(f"{_number(value):>6}" for value in numbers.values())
            )
        return lines

    def _class_lines(self):
        """Returns the lines of the classes with objects, sorted down the first column, then down the next."""
        measured = [score for score in self.classes if score.num_objects]
        head = _headed(
            f"{'class':{MAX_NAME_LENGTH}} objects" + "".join(f"{_short(name):>6}" for name in self.summary)
        )
        num_columns = min(max(MAX_WIDTH // (len(head[0]) + 1), 1), max(len(measured), 1))
        num_lines = -(-len(measured) // num_columns)
        lines = [" ".join([line] * num_columns) for line in head]
        for row in range(num_lines):
            lines.append(" ".join(_class_cell(score) for score in measured[row::num_lines]))
        missing = len(self.classes) - len(measured)
        if missing:
            lines.append(f"  ({_plural(missing, 'class', 'classes')} had no objects)")
        return lines


def _headed(text):
    return [f"  {text}", "  " + "─" * len(text)]


def _class_cell(score):
    name = score.name if len(score.name) <= MAX_NAME_LENGTH else score.name[: MAX_NAME_LENGTH - 1] + "…"
    numbers = "".join(f"{_number(value):>6}" for value in score.ap.values())
    return f"  {name:{MAX_NAME_LENGTH}}{score.num_objects:>8}{numbers}"


def _short(name):
    """Returns a column title: `AP_small` becomes `APs`, as in the papers. The json has the full names."""
    return (
        name.replace("keypoints", "kpts")
        .replace("_small", "s")
        .replace("_medium", "m")
        .replace("_large", "l")
        .replace("_rare", "r")
        .replace("_common", "c")
        .replace("_frequent", "f")
        .replace("_", "")
    )


def _number(value):
    return "–" if value is None else f"{value:.3f}"


def _plural(number, singular, plural=None):
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def class_scores(
    content: CocoContent, image_ids: Collection[int | str], class_ap: Mapping[str, list[float | None]]
) -> tuple[ClassScore, ...]:
    """Returns a `ClassScore` for each category, in the order of the annotations.

    Args:
        content: `CocoContent`.
        image_ids: Set of the ids of the evaluated images.
        class_ap: `{IoU type: list of AP}`. The lists are in the order of the category ids.
    """
    sorted_ids = sorted(category.id for category in content.categories)
    table = content.annotations.table
    is_evaluated = np.array([image["id"] in image_ids for image in content.images], bool)
    counts = collections.Counter(table.class_ids[is_evaluated[table.images] & ~table.crowd].tolist())
    return tuple(
        ClassScore(
            id=category.id,
            name=category.name,
            num_objects=counts[category.id],
            ap={iou_type: values[sorted_ids.index(category.id)] for iou_type, values in class_ap.items()},
        )
        for category in content.categories
    )
