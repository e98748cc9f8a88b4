"""Data classes for a table of the paper and its rows."""

import dataclasses
import re
from typing import Any

PAPER_RECIPE = "mask_rcnn_resnet50_fpn"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table.

    Args:
        name: Name as in the paper, without numbers.
        paper: `{IoU type: (AP, AP50, AP75)}` in percent. None if not published.
        changes: `{dotted name of a field: value}` of the config. A value can be a function of the base
            `Config`. Defaults to none.
        trained_as: Name of an earlier row whose weights are evaluated with test-time augmentation instead of
            a training. Defaults to "".
        scales: Scales of the test-time augmentation, see `AugmentedPredictor`. Defaults to none.
        missing: Reason why the row cannot be trained. Defaults to "": it can be trained.
        note: How the row differs from the row of the paper. Defaults to "".
    """

    name: str
    paper: dict[str, tuple[float | None, ...]]
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    trained_as: str = ""
    scales: tuple[float, ...] = ()
    missing: str = ""
    note: str = ""

    @property
    def folder(self) -> str:
        """Name of the folder of its runs, such as "r50_c4"."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the paper.

    Args:
        key: Number of the table, such as "2c".
        title: What the table compares.
        rows: Tuple of `Row` in the order of the paper.
        iou_types: IoU types that it measures, a tuple of "bbox", "segm" and "keypoints". Defaults to
            ("segm",).
        recipe: Name of the recipe for its trainings. Defaults to `PAPER_RECIPE`, with ResNet-50-FPN.
        setting: `{dotted name of a field: value}` of the config of all its trainings. It is only used if the
            user gives no base config. Defaults to none.
        split: COCO split of the published results. Defaults to "minival".
    """

    key: str
    title: str
    rows: tuple[Row, ...]
    iou_types: tuple[str, ...] = ("segm",)
    recipe: str = PAPER_RECIPE
    setting: dict[str, Any] = dataclasses.field(default_factory=dict)
    split: str = "minival"
