"""The numbers an evaluation gives, as a record, as json and as a table for people."""

import collections
from dataclasses import asdict, dataclass

import numpy as np

MAX_WIDTH = 80  # columns of the narrowest terminal in use
MAX_NAME_LENGTH = 16
FEDERATED_RULES = "LVIS's rules: in an image, only the classes that it was searched for count."


@dataclass(frozen=True)
class ClassScore:
    """The score of one class.

    Args:
        id, name: of the category.
        num_objects: how many there were to find; crowd regions do not count.
        ap: AP by IoU type; None if there was no object to find.
    """

    id: int
    name: str
    num_objects: int
    ap: dict[str, float | None]


@dataclass(frozen=True)
class Metrics:
    """What an evaluation found. `metrics["segm"]["AP"]` is the number in the papers, from 0 to 1.

    A number that cannot be measured, because there is no object to find, is None (`null` in json).
    pycocotools writes -1 instead, which is easily compared or averaged as if it were a score.

    Args:
        summary: For each IoU type its 12 numbers (keypoints, LVIS: 10) by name; None if not measurable.
        classes: a `ClassScore` for each category, in the order of the annotation file.
        num_images: how many images were evaluated.
        max_detections: How many detections of a class counted in an image, the best first; of all classes
            if `is_federated`.
        backend, backend_version: what computed it.
        warnings: What was repaired, left out, limited or not measurable, a sentence each.
        is_federated: Whether the rules are those of LVIS. Defaults to False.
    """

    summary: dict[str, dict[str, float | None]]
    classes: tuple[ClassScore, ...]
    num_images: int
    max_detections: int
    backend: str
    backend_version: str
    warnings: tuple[str, ...] = ()
    is_federated: bool = False

    def __getitem__(self, iou_type):
        return self.summary[iou_type]

    @property
    def num_objects(self):
        return sum(score.num_objects for score in self.classes)

    def to_json(self):
        """Returns all of it as plain dicts and lists, ready for `write_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content):
        """Returns the `Metrics` that `to_json` was called for."""
        classes = tuple(ClassScore(**each) for each in content["classes"])
        return cls(**{**content, "classes": classes, "warnings": tuple(content["warnings"])})

    def table(self):
        """Returns the summary and the AP of each class as text for an 80 column terminal."""
        title = (
            f"  {_plural(self.num_images, 'image')}, {_plural(self.num_objects, 'object')}, at most "
            f"{self.max_detections} detections per {'image' if self.is_federated else 'class'} "
            f"({self.backend} {self.backend_version})"
        )
        rules = [f"  {FEDERATED_RULES}"] if self.is_federated else []
        return "\n".join([title, *rules, "", *self._summary_lines(), "", *self._class_lines()])

    def _summary_lines(self):
        """One line for each IoU type, below a head that is repeated when the names of the numbers change."""
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
        """The classes that had objects, down the first column, then down the next."""
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
    """`AP_small` is headed `APs`, as in the papers; the full names are in the json."""
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


def _plural(number, one, many=None):
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def class_scores(content, image_ids, class_ap):
    """Returns a `ClassScore` for each category.

    Args:
        content: `CocoContent`.
        image_ids: Set of the ids of the images that count.
        class_ap: `{IoU type: list of AP}`, in the order of the ids of the categories.
    """
    order = sorted(category.id for category in content.categories)
    table = content.annotations.table
    is_chosen = np.array([image["id"] in image_ids for image in content.images], bool)
    counts = collections.Counter(table.class_ids[is_chosen[table.images] & ~table.crowd].tolist())
    return tuple(
        ClassScore(
            category.id,
            category.name,
            counts[category.id],
            {iou_type: values[order.index(category.id)] for iou_type, values in class_ap.items()},
        )
        for category in content.categories
    )
