"""HTML sections of a report about one run. Each function returns HTML text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mask_rcnn.report.analysis import TITLES, overlap_name
from mask_rcnn.report.charts import color_key, heat_table, line_chart
from mask_rcnn.report.errors import ERROR_TYPES
from mask_rcnn.report.pictures import COLORS
from mask_rcnn.visualization.html_page import html_figure, html_table, html_text

MAX_CLASSES = 20  # maximum classes of the confusion matrix
MAX_CONFUSIONS = 15  # maximum rows of the list of confused classes
MAX_IMAGES = 20  # maximum images of a table
MAX_LINES = 6  # maximum lines of a chart
MAX_ROWS = 100  # maximum rows of a table


def class_section(numbers: dict, iou_type: str) -> str:
    """Returns the table of all classes with AP, threshold, precision, recall, F1 and numbers of errors.

    Args:
        numbers: Dict from `report_numbers`.
        iou_type: IoU type of the columns after AP.
    """
    kinds = list(numbers["evaluations"])
    headers = ["class", "objects", *(f"AP {TITLES[kind]}" for kind in kinds), "AP50"]
    headers += ["threshold", "precision", "recall", "F1", *ERROR_TYPES]
    rows = []
    for k, row in enumerate(numbers["evaluations"][iou_type]["classes"]):
        aps = [number_text(numbers["evaluations"][kind]["classes"][k]["ap"]) for kind in kinds]
        cells = [row["name"], f"{row['objects']:,}", *aps, number_text(row["ap50"])]
        cells += [number_text(row[key]) for key in ("score_threshold", "precision", "recall", "f1")]
        rows.append((row["objects"], [*cells, *(f"{row['errors'][kind]:,}" for kind in ERROR_TYPES)]))
    rows.sort(key=lambda row: -row[0])
    note = (
        f"Columns from AP50 on are for {TITLES[iou_type]}. Threshold: the score with the largest F1 at "
        f"{overlap_name([iou_type])} 0.5. Precision, recall and F1 are at this threshold. Errors are "
        f"counted at any score.{_more(rows)}"
    )
    return f"{wide_table(headers, [cells for _, cells in rows[:MAX_ROWS]])}<p>{html_text(note)}</p>"


def _more(rows):
    return f" {len(rows) - MAX_ROWS:,} more rows are in the json file." if len(rows) > MAX_ROWS else ""


def curve_section(results: dict, iou_type: str) -> str:
    """Returns the charts of precision against recall.

    Args:
        results: Dict of one IoU type from `report_numbers`, under `evaluations`.
        iou_type: The IoU type.
    """
    curves = results["precision_recall"]
    known = {name: values for name, values in curves["precision"].items() if values is not None}
    if not known:
        return "<p>There is no object.</p>"
    lines, overlap = [], overlap_name([iou_type])
    for threshold in (0.5, 0.75, 0.9):
        t = curves["iou_thresholds"].index(threshold)
        mean = [
            sum(column) / len(known) for column in zip(*(each[t] for each in known.values()), strict=True)
        ]
        lines.append((f"{overlap} {threshold:g}: AP {sum(mean) / len(mean):.3f}", curves["recall"], mean))
    charts = [line_chart(f"Mean of the classes, {TITLES[iou_type]}", "recall", "precision", lines=lines)]
    if len(known) > 1:
        counts = {row["name"]: row["objects"] for row in results["classes"]}
        chosen = sorted(known, key=lambda name: -counts[name])[:MAX_LINES]
        lines = [
            (
                f"{name}: AP {sum(known[name][0]) / len(curves['recall']):.3f}",
                curves["recall"],
                known[name][0],
            )
            for name in chosen
        ]
        charts.append(
            line_chart(f"Classes with the most objects, {overlap} 0.5", "recall", "precision", lines=lines)
        )
    return f'<div class="charts">{"".join(charts)}</div>'


def confusion_section(confusion: dict) -> str:
    """Returns the confusion matrix and the list of the most frequent confusions.

    Args:
        confusion: Dict `confusion` of `report_numbers`: `labels` and `matrix`.
    """
    labels, matrix = confusion["labels"], confusion["matrix"]
    last = len(labels) - 1
    pairs = [
        (matrix[i][j], labels[i], labels[j])
        for i in range(last)
        for j in range(last)
        if i != j and matrix[i][j]
    ]
    pairs.sort(key=lambda pair: -pair[0])
    note = (
        "Rows: class of the object. Columns: detected class. Only detections with at least the best score "
        "threshold of their class are counted. Last column: objects that were not detected. Last row: "
        "detections without an object, or of an object that was already found."
    )
    shown = [*sorted(range(last), key=lambda k: -sum(matrix[k]))[:MAX_CLASSES], last]
    if len(shown) <= last:
        note += f" Shown: the {MAX_CLASSES} classes with the most objects. All classes are in the json file."
    else:
        shown = range(last + 1)
    part = [[matrix[i][j] for j in shown] for i in shown]
    table = heat_table([labels[i] for i in shown], part, "object \\ detected")
    rows = [(f"{name} as {other}", f"{count:,}") for count, name, other in pairs[:MAX_CONFUSIONS]]
    return (
        f"<p>{html_text(note)}</p>{table}{wide_table(('most frequent confusions', ''), rows) if rows else ''}"
    )


def score_section(results: dict, iou_type: str) -> str:
    """Returns the charts over score thresholds and of the calibration of scores.

    Args:
        results, iou_type: As in `curve_section`.
    """
    scores, calibration, overlap = results["scores"], results["calibration"], overlap_name([iou_type])
    filled = [each for each in calibration["bins"] if each["count"]]
    reliability = [
        ("detections", [each["mean_score"] for each in filled], [each["precision"] for each in filled])
    ]
    names = {"precision": "precision", "recall": "recall", "f1": "F1"}
    quality = [(name, scores["scores"], scores[key]) for key, name in names.items()]
    charts = [
        line_chart(f"By score threshold, {overlap} 0.5", "score threshold", "", lines=quality),
        line_chart(
            f"Calibration, {overlap} 0.5",
            "mean score",
            "fraction of correct detections",
            lines=reliability,
            ideal=True,
            points=True,
        ),
    ]
    note = (
        f"Calibration: on the dashed line, a score is the probability that a detection is correct. The mean "
        f"distance from this line is {number_text(calibration['error'])} (expected calibration error)."
    )
    return f'<div class="charts">{"".join(charts)}</div><p>{html_text(note)}</p>'


def slice_section(rows: Sequence[dict], iou_type: str) -> str:
    """Returns the table of the results by object size, overlap and truncation.

    Args:
        rows: List of dicts from `slice_rows`.
        iou_type: The IoU type.
    """
    overlap = overlap_name([iou_type])
    headers = ("", "objects", "found", "found at threshold", f"mean {overlap}", "AP50")
    cells = [
        (
            f"{row['group']}: {row['slice']}",
            f"{row['objects']:,}",
            *(number_text(row[key]) for key in ("recall", "recall_at_threshold", "mean_iou", "ap50")),
        )
        for row in rows
    ]
    note = (
        f"Found: fraction of the objects with a correct detection at {overlap} 0.5, with any score, and with "
        "at least the best score threshold. Overlap: whether the box of the object overlaps the box of "
        "another one. Crowded: the IoU of the boxes is above 0.2. Truncation: whether the box touches the "
        "edge of the image."
    )
    return f"{wide_table(headers, cells)}<p>{html_text(note)}</p>"


def image_section(results: dict, pictures: Sequence[tuple[np.ndarray, str]]) -> str:
    """Returns the pictures and the table of the images with the most errors.

    Args:
        results: As in `curve_section`.
        pictures: List of (picture `[H, W, 3]` uint8, caption).
    """
    rows = [
        (
            image_name(row),
            *(f"{row[key]:,}" for key in ("objects", "found", "missed", "wrong")),
            number_text(row["f1"]),
        )
        for row in results["images"][:MAX_IMAGES]
    ]
    headers = ("image", "objects", "found", "missed", "wrong", "F1")
    return f"{figures(pictures)}{wide_table(headers, rows)}"


def figures(pictures: Sequence[tuple[np.ndarray, str]]) -> str:
    """Returns pictures with their captions and a legend of the colors. Returns "" without pictures.

    Args:
        pictures: List of (picture `[H, W, 3]` uint8, caption).
    """
    if not pictures:
        return ""
    key = color_key(css_colors().items())
    figures = "".join(html_figure(picture, caption) for picture, caption in pictures)
    return f'{key}<div class="pictures">{figures}</div>'


def css_colors() -> dict[str, str]:
    """Returns `{name: CSS color}` of the found, missed and wrong objects in pictures."""
    return {name: "rgb({},{},{})".format(*color) for name, color in COLORS.items()}


def image_name(row: Mapping[str, Any]) -> str:
    """Returns the file name of an image, or its id. `row` is a dict with `file_name` and `id`."""
    return row["file_name"] or f"image {row['id']}"


def wide_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns an HTML table that scrolls horizontally on narrow screens. Arguments as in `html_table`."""
    return f'<div class="wide">{html_table(headers, rows)}</div>'


def number_text(value: float | None) -> str:
    """Returns a number with three decimals as text, or a dash for None."""
    return "–" if value is None else f"{value:.3f}"
