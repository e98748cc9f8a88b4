"""A report as a single HTML page without scripts, other files or network access."""

from collections.abc import Sequence

import numpy as np

from mask_rcnn.evaluation.average_precision import FEDERATED_NUMBERS
from mask_rcnn.evaluation.metrics import FEDERATED_RULES
from mask_rcnn.report.analysis import TITLES, main_iou_type, overlap_name
from mask_rcnn.report.charts import STYLE, bar_chart
from mask_rcnn.report.errors import ERROR_TYPES
from mask_rcnn.report.sections import (
    MAX_IMAGES,
    MAX_ROWS,
    class_section,
    confusion_section,
    css_colors,
    curve_section,
    figures,
    image_name,
    image_section,
    number_text,
    score_section,
    slice_section,
    wide_table,
)
from mask_rcnn.visualization.html_page import html_page, html_text

ERROR_HELP = {  # {} becomes IoU or OKS
    "classification": "the location is correct, the class is wrong",
    "localization": "the class is correct, the {} is from 0.1 to 0.5",
    "both": "another class, and the {} is from 0.1 to 0.5",
    "duplicate": "another detection with a higher score already found the object",
    "background": "there is no object: the {} with all objects is below 0.1",
    "missed": "objects without a correct detection, classification error or localization error",
}


SUMMARY = tuple(name for name, *_ in FEDERATED_NUMBERS)  # COCO has the same names, except class frequencies


def report_page(
    numbers: dict,
    iou_type: str,
    pictures: Sequence[tuple[np.ndarray, str]],
    *,
    comparison: dict | None = None,
    compared_pictures: Sequence[tuple[np.ndarray, str]] = (),
) -> str:
    """Returns the HTML page of a report as text.

    Args:
        numbers: Dict from `report_numbers`.
        iou_type: IoU type that the page is about. Numbers of other IoU types are only in tables.
        pictures: List of (picture `[H, W, 3]` uint8, caption) of the images with the most errors.
        comparison: Dict from `comparison_numbers`. Defaults to None.
        compared_pictures: As `pictures`, of the images that differ most between the runs. Defaults to none.
    """
    results = numbers["evaluations"][iou_type]
    parts = [
        "<h1>Evaluation report</h1>",
        f"<p>Detections: {html_text(numbers['detections'])}. "
        f"Ground truth: {html_text(numbers['annotations'])}, {numbers['num_images']:,} images.</p>",
        *([f"<p>{html_text(FEDERATED_RULES)}</p>"] if numbers["federated"] else ()),
        *_conclusions(results, iou_type),
        *_warnings(numbers),
        "<h2>Average precision</h2>",
        _summary(numbers),
        *(_comparison(comparison, numbers, compared_pictures) if comparison else ()),
        "<h2>Errors</h2>",
        _errors(numbers),
        "<h2>Classes</h2>",
        class_section(numbers, iou_type),
        "<h2>Precision and recall</h2>",
        curve_section(results, iou_type),
        "<h2>Confusion matrix</h2>",
        confusion_section(results["confusion"]),
        "<h2>Scores</h2>",
        score_section(results, iou_type),
        "<h2>Kinds of objects</h2>",
        slice_section(results["slices"], iou_type),
        "<h2>Images with the most errors</h2>",
        image_section(results, pictures),
    ]
    return html_page("Evaluation report", "\n".join(parts), STYLE)


def _conclusions(results, iou_type):
    """Returns a paragraph with the most important results."""
    costs = {kind: results["errors"]["errors"][kind] for kind in ERROR_TYPES}
    known = {kind: each["ap50_cost"] for kind, each in costs.items() if each["ap50_cost"] is not None}
    ap, ap50 = (number_text(results["summary"][name]) for name in ("AP", "AP50"))
    sentences = [f"AP of {TITLES[iou_type]}: {ap}, AP50: {ap50}."]
    if known and max(known.values()) > 0:
        worst = max(known, key=lambda kind: known[kind])
        sentences.append(
            f"Most AP50 is lost by errors of type {worst} "
            f"({ERROR_HELP[worst].format(overlap_name([iou_type]))}): "
            f"{known[worst]:.3f} by {costs[worst]['count']:,} of them."
        )
    best = results["scores"]["best"]
    if best:
        sentences.append(
            f"A score threshold of {best['scores']:.3f} gives the best F1, {best['f1']:.3f}, with precision "
            f"{best['precision']:.3f} and recall {best['recall']:.3f} at {overlap_name([iou_type])} 0.5."
        )
    return [f"<p><strong>{html_text(sentences[0])}</strong> {html_text(' '.join(sentences[1:]))}</p>"]


def _warnings(numbers):
    warnings = (numbers["metrics"] or {}).get("warnings", ())
    if not warnings:
        return []
    items = "".join(f"<li>{html_text(warning)}</li>" for warning in warnings)
    return [f'<details class="warning" open><summary>Warnings</summary><ul>{items}</ul></details>']


def _summary(numbers):
    measured = {name for results in numbers["evaluations"].values() for name in results["summary"]}
    names = [name for name in SUMMARY if name in measured]
    rows = [
        (TITLES[kind], *(number_text(results["summary"].get(name)) for name in names))
        for kind, results in numbers["evaluations"].items()
    ]
    note = "Small, medium and large objects: up to 32² pixels, up to 96² pixels, and more."
    if numbers["federated"]:
        note += (
            " Rare, common and frequent classes: in 1 to 10 images of LVIS's training set, in up to 100, and "
            "in more."
        )
    if "boundary" in numbers["evaluations"]:
        note += (
            " For mask boundaries, the IoU is that of the pixels whose distance to the contour is at most "
            "2 % of the image diagonal, if it is smaller than the IoU of the masks."
        )
    if "keypoints" in numbers["evaluations"]:
        note += (
            " For keypoints, OKS (object keypoint similarity) is used instead of the IoU. Objects without a "
            "labeled keypoint are ignored."
        )
    return f"{wide_table(('', *(name.replace('_', ' ') for name in names)), rows)}<p>{html_text(note)}</p>"


def _errors(numbers):
    charts = []
    for kind, results in numbers["evaluations"].items():
        errors = results["errors"]["errors"]
        bars = [
            (
                name,
                errors[name]["ap50_cost"] or 0,
                f"{number_text(errors[name]['ap50_cost'])} ({errors[name]['count']:,})",
            )
            for name in ERROR_TYPES
        ]
        charts.append(bar_chart(TITLES[kind].capitalize(), bars, css_colors()))
    overlap = overlap_name(numbers["evaluations"])
    items = "".join(
        f"<li><strong>{name}</strong>: {html_text(text.format(overlap))}</li>"
        for name, text in ERROR_HELP.items()
    )
    return (
        "<p>How much AP50 would rise if all errors of one type were fixed, and only these (TIDE). "
        "The numbers do not add up to 1 - AP50. In parentheses: the number of errors.</p>"
        f'<div class="charts">{"".join(charts)}</div><ul>{items}</ul>'
    )


def _comparison(comparison, numbers, pictures):
    results = comparison["evaluations"][main_iou_type(comparison["evaluations"])]
    rows = [
        (f"{name} {TITLES[kind]}", *_differences(each["bootstrap"][name]))
        for kind, each in comparison["evaluations"].items()
        for name in ("AP", "AP50")
    ]
    if len(numbers["classes"]) > 1:
        rows += [
            (name, *_differences(each))
            for name, each in zip(numbers["classes"], results["bootstrap"]["classes"], strict=True)
            if each["first"] is not None
        ][:MAX_ROWS]
    headers = ("", "first", "second", "difference", "95 % interval", "second better")
    note = (
        f"First: {numbers['detections']}. Second: {comparison['detections']}. The interval and the fraction "
        f"of resamples in which the second is better are those of a paired bootstrap with "
        f"{results['bootstrap']['num_resamples']:,} resamples of the images. If the interval contains 0, "
        f"chance may explain the difference. At the best score thresholds, the second finds "
        f"{results['fixed']:,} objects that the first does not find, and misses "
        f"{results['broken']:,} that the first finds. It makes fewer errors in "
        f"{results['better']:,} images, as many in {results['equal']:,}, and more in {results['worse']:,}."
    )
    images = [
        (image_name(row), f"{row['first_errors']:,}", f"{row['second_errors']:,}")
        for row in results["images"][:MAX_IMAGES]
        if row["first_errors"] != row["second_errors"]
    ]
    parts = ["<h2>Comparison</h2>", f"<p>{html_text(note)}</p>", wide_table(headers, rows)]
    if pictures:
        parts.append("<p>The images with the largest changes. Left or top: the first run.</p>")
    parts.append(figures(pictures))
    parts.append(wide_table(("errors in each image", "first", "second"), images) if images else "")
    return parts


def _differences(each):
    if each["first"] is None:
        return ("–",) * 5
    return (
        f"{each['first']:.3f}",
        f"{each['second']:.3f}",
        f"{each['difference']:+.3f}",
        f"{each['low']:+.3f} to {each['high']:+.3f}",
        f"{each['share_better']:.0%}",
    )
