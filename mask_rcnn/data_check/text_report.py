"""Formats a report as text for a terminal."""

import textwrap
from collections.abc import Mapping

from mask_rcnn.data_check.report import Report

MAX_ROWS = 20  # maximum rows of a table
BAR = 40  # length of the longest bar, in characters
WIDTH = 110  # width of a line of text, in characters
TABLES = {
    "objects_per_class": "objects of each class",
    "objects_per_size": "objects of each size (COCO: 32² and 96² pixels)",
    "image_sizes": "image sizes (height x width)",
}


def format_report(report: Report, max_rows: int = MAX_ROWS) -> str:
    """Returns a `Report` as text. Long tables show their first `max_rows` rows."""
    lines = []
    for name, counts in report.sets.items():
        lines += [*_counts(name, counts, max_rows), ""]
    if report.anchors:
        lines += [*_anchors(report), ""]
    for finding in report.findings:
        lines += [*_finding(finding, len(report.sets) > 1), ""]
    lines += [f"Not checked: {sentence}\n" for sentence in report.not_checked]
    return "\n".join([*lines, conclusion(report)])


def conclusion(report: Report) -> str:
    """Returns one line with the number of findings of each severity, and whether training can start."""
    errors, warnings, notes = (report.count(severity) for severity in ("error", "warning", "note"))
    numbers = ", ".join(
        f"{count} {word if count == 1 else f'{word}s'}"
        for count, word in ((errors, "error"), (warnings, "warning"), (notes, "note"))
    )
    if errors:
        return f"{numbers}. Training would stop: correct the errors first."
    return f"{numbers}. {'Training works, but look at the warnings.' if warnings else 'Ready to train.'}"


def summary(counts: dict) -> dict[str, str]:
    """Returns `{label: text}` of the numbers of one set."""
    return {
        "images": f"{counts['images']:,}",
        "images that cannot be used": f"{counts['images_left_out']:,}",
        "images without objects": f"{counts['images_without_objects']:,}",
        "objects": f"{counts['objects']:,}",
        "crowd regions": f"{counts['crowds']:,}",
        "objects with keypoints": f"{counts['objects_with_keypoints']:,}",
        "objects per image": "median {median:g}, at most {max}".format(**counts["objects_per_image"]),
    }


def _counts(name, counts, max_rows):
    lines = [f"{name}: {counts['name']}"]
    lines += [f"  {label:<28}{text}" for label, text in summary(counts).items()]
    for key, title in TABLES.items():
        lines += ["", f"  {title}", *_histogram(sorted_counts(key, counts[key]), max_rows)]
    return lines


def sorted_counts(key: str, counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Returns the (name, count) pairs of a table, the largest count first, but object sizes by size."""
    return list(counts.items()) if key == "objects_per_size" else sorted(counts.items(), key=lambda p: -p[1])


def _histogram(rows, max_rows):
    if not rows:
        return ["    none"]
    longest = max(len(name) for name, _ in rows[:max_rows])
    scale = BAR / max(1, *(count for _, count in rows))
    lines = [
        f"    {name:<{longest}} {count:>7} {'█' * round(count * scale)}".rstrip()
        for name, count in rows[:max_rows]
    ]
    return lines + ([f"    ... and {len(rows) - max_rows} more"] if len(rows) > max_rows else [])


def anchor_rows(anchors: dict) -> list[tuple[str, str, str, str]]:
    """Returns the rows of the table of pyramid levels: anchor size, stride, matched, best."""
    return [
        (f"{level['size']}", f"{level['stride']}", f"{level['matched']:.1%}", f"{level['best']:.1%}")
        for level in anchors["levels"]
    ]


def anchor_sentence(config_name: str, anchors: dict) -> str:
    """Returns a sentence about the fit of all anchors together.

    Args:
        config_name: Name of the config.
        anchors: Result of `anchor_coverage`.
    """
    return (
        f"anchors of {config_name}, {anchors['objects']:,} objects, short side "
        f"{anchors['short_side']} px: mean IoU with the best anchor {anchors['mean_iou']:.2f}, "
        f"{1 - anchors['unmatched']:.1%} of the objects match at IoU {anchors['positive_iou']:g}"
    )


ANCHOR_COLUMNS = ("size", "stride", "matched", "best here")
ANCHOR_LEGEND = (
    "matched: fraction of the objects that an anchor of this size matches at the positive IoU of the RPN. "
    "best here: fraction of the objects whose best anchor has this size."
)


def _anchors(report):
    lines = _wrapped(anchor_sentence(report.config, report.anchors), "", "  ")
    for row in (ANCHOR_COLUMNS, *anchor_rows(report.anchors)):
        lines.append("    " + "".join(f"{cell:>11}" for cell in row))
    return lines + _wrapped(ANCHOR_LEGEND, "  ", "  ")


def _wrapped(text, first, following):
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _finding(finding, has_sets):
    where = f" [{finding.where}]" if has_sets else ""
    lines = _wrapped(f"{finding.severity.upper()}{where} {finding.title}: {finding.count:,}", "", "  ")
    for example in finding.examples:
        lines += _wrapped(example.sentence(), "    ", "      ")
    if finding.count > len(finding.examples) > 0:
        lines.append("    ...")
    return lines + _wrapped(finding.advice, "  -> ", "     ")
