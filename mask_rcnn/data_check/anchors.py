"""Compares the anchors of a config with the objects of a data set, and suggests better anchors."""

import numpy as np

from mask_rcnn.config import Config
from mask_rcnn.data.dataset_arrays import DatasetArrays
from mask_rcnn.data.input_pipeline.trainable import resized_boxes
from mask_rcnn.data.records import Dataset
from mask_rcnn.data_check.anchor_fit import GOOD_IOU, anchor_ious, fit_anchors, strides_of
from mask_rcnn.data_check.report import MAX_EXAMPLES, Example, Finding

MAX_OBJECTS = 100_000  # number of objects that are compared with anchors, spread over the data set
MAX_POOR = 0.01  # fraction of objects without a good anchor above which there is a finding
NUM_WORST = 4  # number of objects with a picture
CLEARLY_FEWER = 0.75  # a suggestion may leave at most this fraction of the objects without a good anchor
SIZE_BOUNDS = (0, 8, 16, 32, 64, 128, 256, 512, np.inf)  # pixels, square root of the area
RATIO_BOUNDS = (0, 0.25, 0.5, 1, 2, 4, np.inf)  # height / width


def anchor_coverage(dataset: Dataset, arrays: DatasetArrays, config: Config) -> dict | None:
    """Compares the objects of a data set with the anchors on the grid of each pyramid level.

    Objects are resized to the median of `input.train_short_sides`. Each object is compared with the anchors
    at the grid cell closest to its center. Random transforms are not applied.

    Args:
        dataset: `Dataset`.
        arrays: Its `DatasetArrays`.
        config: `Config`.

    Returns:
        None without objects, otherwise a dict for JSON:
        objects: Number of compared objects.
        short_side: Short side of the resized images, in pixels.
        mean_iou: Mean IoU of the best anchors.
        poor: Fraction of the objects whose best IoU is below 0.5.
        unmatched: Fraction of the objects whose best IoU is below `rpn.positive_iou`.
        positive_iou: `rpn.positive_iou`.
        levels: List of dicts of `size`, `stride`, `matched` (fraction of the objects with at least
            `rpn.positive_iou`) and `best` (fraction of the objects whose best anchor has this level).
        worst: List of dicts of `image` (index), `annotation` (id) and `iou`, for the objects with the lowest
            IoU.
        poor_shapes: List of dicts of `size`, `ratio` (texts) and `objects`, the most frequent first.
        suggestion: None, or a dict of `sizes`, `ratios`, `mean_iou`, `poor` and `set`, the command line
            options.
    """
    rows, boxes = _training_boxes(dataset, arrays, config)
    if not len(boxes):
        return None
    anchors, positive = config.anchors, config.rpn.positive_iou
    ious = _level_ious(boxes, anchors, sizes=anchors.sizes, ratios=anchors.ratios)  # [N, L]
    best = ious.max(axis=1)
    worst = np.argsort(best, kind="stable")[: min(int((best < GOOD_IOU).sum()), NUM_WORST)]
    levels = np.bincount(ious.argmax(axis=1), minlength=len(anchors.sizes)) / len(boxes)
    return {
        "objects": len(boxes),
        "short_side": _short_side(config),
        "mean_iou": round(float(best.mean()), 4),
        "poor": round(float((best < GOOD_IOU).mean()), 4),
        "unmatched": round(float((best < positive).mean()), 4),
        "positive_iou": positive,
        "levels": [
            {
                "size": size,
                "stride": stride,
                "matched": round(float((ious[:, level] >= positive).mean()), 4),
                "best": round(float(levels[level]), 4),
            }
            for level, (size, stride) in enumerate(zip(anchors.sizes, strides_of(anchors), strict=True))
        ],
        "worst": [
            {
                "image": int(arrays.images[rows[each]]),
                "annotation": int(arrays.ids[rows[each]]),
                "iou": round(float(best[each]), 4),
            }
            for each in worst
        ],
        "poor_shapes": _poor_shapes(boxes[best < GOOD_IOU]),
        "suggestion": _suggestion(boxes, anchors, best) if (best < GOOD_IOU).mean() > MAX_POOR else None,
    }


def anchor_findings(coverage: dict | None, dataset: Dataset) -> list[Finding]:
    """Returns a list with the finding about objects without a good anchor, or an empty list.

    Args:
        coverage: Result of `anchor_coverage`.
        dataset: Its `Dataset`.
    """
    if coverage is None or coverage["poor"] <= MAX_POOR:
        return []
    suggestion = coverage["suggestion"]
    examples = [
        Example(
            text=f"objects: {shape['objects']}, size after resizing: {shape['size']} px, "
            f"height / width: {shape['ratio']}"
        )
        for shape in coverage["poor_shapes"][: MAX_EXAMPLES - NUM_WORST]
    ]
    for worst in coverage["worst"]:
        record, id = dataset.images[worst["image"]], worst["annotation"]
        text = f"IoU {worst['iou']:.2f} with its best anchor"
        examples.append(
            Example(text=text, image=record.path.name, annotation=id, field="bbox", drawn=((record, (id,)),))
        )
    advice = (
        f"Better anchors: `{suggestion['set']}` (mean IoU {suggestion['mean_iou']:.2f} instead of "
        f"{coverage['mean_iou']:.2f}, {suggestion['poor']:.1%} instead of {coverage['poor']:.1%} below "
        f"{GOOD_IOU}). With weights of a whole detector, the RPN has to adapt to them."
        if suggestion
        else "Other anchors of this number would not be clearly better. Larger images "
        "(`input.train_short_sides`) help objects that are too small."
    )
    return [
        Finding(
            kind="anchors",
            severity="warning",
            title=f"Objects have no anchor of IoU {GOOD_IOU} or more, {coverage['poor']:.1%} of all",
            count=round(coverage["poor"] * coverage["objects"]),
            advice=advice,
            examples=tuple(examples),
        )
    ]


def _short_side(config):
    sides = sorted(config.input.train_short_sides)
    return sides[len(sides) // 2]


def _training_boxes(dataset, arrays, config):
    """Returns rows `[N]` and resized boxes `[N, 4]` (y1, x1, y2, x2) of objects of at least 1 pixel."""
    rows = np.flatnonzero(~arrays.crowd)
    rows = rows[:: -(-len(rows) // MAX_OBJECTS) or 1]
    boxes = resized_boxes(dataset, arrays, config.input, short_side=_short_side(config))[rows]
    is_visible = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    return rows[is_visible], boxes[is_visible]


def _level_ious(boxes, anchors, *, sizes, ratios):
    """Returns the best IoU of each box with the anchors of each level, `[N, L]`."""
    return anchor_ious(boxes, sizes=sizes, ratios=ratios, strides=strides_of(anchors)).max(axis=-1)


def _poor_shapes(boxes):
    """Counts boxes by size and ratio. Returns the most frequent shapes first."""
    heights, widths = (boxes[:, 2:] - boxes[:, :2]).T
    sizes = np.digitize(np.sqrt(heights * widths), SIZE_BOUNDS) - 1
    ratios = np.digitize(heights / widths, RATIO_BOUNDS) - 1
    shapes, counts = np.unique(np.stack([sizes, ratios], axis=1), axis=0, return_counts=True)
    return [
        {
            "size": _range(SIZE_BOUNDS, shapes[shape][0]),
            "ratio": _range(RATIO_BOUNDS, shapes[shape][1]),
            "objects": int(counts[shape]),
        }
        for shape in np.argsort(-counts, kind="stable")
    ]


def _range(bounds, index):
    low, high = bounds[index], bounds[index + 1]
    return f"below {high:g}" if low == 0 else f"above {low:g}" if np.isinf(high) else f"{low:g} to {high:g}"


def _suggestion(boxes, anchors, best):
    """Returns sizes and ratios that fit the boxes clearly better, with their IoU, or None."""
    sizes, ratios = fit_anchors(boxes, anchors)
    new_best = _level_ious(boxes, anchors, sizes=sizes, ratios=ratios).max(axis=1)
    poor, new_poor = (best < GOOD_IOU).mean(), (new_best < GOOD_IOU).mean()
    if new_poor > CLEARLY_FEWER * poor or new_best.mean() < best.mean():
        return None
    changed = {"sizes": sizes, "ratios": ratios} if ratios != anchors.ratios else {"sizes": sizes}
    options = [
        f"--set anchors.{name}=[{','.join(f'{value:g}' for value in values)}]"
        for name, values in changed.items()
    ]
    return {
        "sizes": list(sizes),
        "ratios": list(ratios),
        "mean_iou": round(float(new_best.mean()), 4),
        "poor": round(float(new_poor), 4),
        "set": " ".join(options),
    }
