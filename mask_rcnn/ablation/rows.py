"""What a table of the paper and its rows are."""

import dataclasses
import re

PAPER_RECIPE = "mask_rcnn_resnet50_fpn"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table.

    Args:
        name: As in the paper, without figures.
        paper: `{IoU type: (AP, AP50, AP75)}` in percent; None is not published.
        changes: `{dotted name of a field: value}` of the config. A value is a function of the base `Config`
            where it depends on it. Defaults to none.
        trained_as: Name of an earlier row whose weights are evaluated with views of the images, instead of a
            training. Defaults to "".
        scales: Of that augmentation, see `AugmentedPredictor`. Defaults to none.
        missing: Why no config expresses the row. Defaults to "", which is a row that can be trained.
        note: What differs from the row of the paper. Defaults to "".
    """

    name: str
    paper: dict[str, tuple[float | None, ...]]
    changes: dict = dataclasses.field(default_factory=dict)
    trained_as: str = ""
    scales: tuple[float, ...] = ()
    missing: str = ""
    note: str = ""

    @property
    def folder(self):
        """The name of the folder of its runs, such as "r50_c4"."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the paper.

    Args:
        key: Its number, such as "2c".
        title: What it compares.
        rows: In the order of the paper.
        iou_types: What it measures, a tuple of "bbox", "segm" and "keypoints".
        recipe: Name of the recipe of its training. Defaults to ResNet-50-FPN's.
        setting: `{field: value}`, what else its training has. Only a run without a base of the user's has it.
        split: Of COCO. Defaults to "minival".
    """

    key: str
    title: str
    rows: tuple[Row, ...]
    iou_types: tuple[str, ...] = ("segm",)
    recipe: str = PAPER_RECIPE
    setting: dict = dataclasses.field(default_factory=dict)
    split: str = "minival"
