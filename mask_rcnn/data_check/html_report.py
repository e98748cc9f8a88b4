"""Writes a report as a single HTML page without other files or network access."""

from collections.abc import Mapping
from pathlib import Path

from mask_rcnn.config import Config
from mask_rcnn.data_check.check import CheckedSet
from mask_rcnn.data_check.pictures import example_picture
from mask_rcnn.data_check.report import Report, Track
from mask_rcnn.data_check.text_report import (
    ANCHOR_COLUMNS,
    ANCHOR_LEGEND,
    TABLES,
    anchor_rows,
    anchor_sentence,
    conclusion,
    sorted_counts,
    summary,
)
from mask_rcnn.visualization.html_page import html_figure, html_page, html_table, html_text

MAX_PICTURES = 6  # maximum pictures of a finding
MAX_ROWS = 100  # maximum rows of a table


def write_page(
    path: Path, report: Report, sets: Mapping[str, CheckedSet], *, config: Config, track: Track | None = None
) -> None:
    """Writes a report as an HTML page with pictures of examples.

    Args:
        path: `Path` of the HTML file.
        report: `Report`.
        sets: `{name: CheckedSet}`, as from `check_coco`.
        config: `Config`.
        track: As in `check_coco`. Defaults to None.
    """
    findings = list(report.findings)
    shown = track(findings, len(findings), "drawing examples") if track else findings
    categories = next((checked.dataset.categories for checked in sets.values()), ())
    parts = [_finding(finding, categories, config=config, has_sets=len(report.sets) > 1) for finding in shown]
    counts = [_counts(name, set_counts) for name, set_counts in report.sets.items()]
    anchors = [_anchors(report)] if report.anchors else []
    missing = [f"<p>Not checked: {html_text(sentence)}</p>" for sentence in report.not_checked]
    body = "\n".join(
        [
            "<h1>Data check</h1>",
            f"<p><strong>{html_text(conclusion(report))}</strong> Config: {html_text(report.config)}.</p>",
            *missing,
            "<h2>Findings</h2>",
            *(parts or ["<p>Nothing was found.</p>"]),
            "<h2>Contents</h2>",
            *counts,
            *anchors,
        ]
    )
    path.write_text(html_page("Data check", body), encoding="utf-8")


def _finding(finding, categories, *, config, has_sets):
    """Returns the HTML of a finding. Errors and warnings are expanded, notes are collapsed."""
    figures, listed = [], []
    for example in finding.examples:
        picture = None
        if len(figures) < MAX_PICTURES:
            picture = example_picture(example, categories, config)
        if picture is None:
            listed.append(f"<li>{html_text(example.sentence())}</li>")
        else:
            figures.append(html_figure(picture, example.sentence()))
    if listed and finding.count > len(finding.examples):
        listed.append("<li>...</li>")
    where = f" {html_text(finding.where)}" if has_sets else ""
    listing = f"<ul>{''.join(listed)}</ul>" if listed else ""
    is_open = " open" if finding.severity != "note" else ""
    return (
        f'<details class="{finding.severity}"{is_open}><summary>'
        f'<span class="severity">{finding.severity}{where}</span> {html_text(finding.title)} '
        f'<span class="count">{finding.count:,}</span></summary>\n'
        f'<p class="advice">{html_text(finding.advice)}</p>\n'
        f'<div class="pictures">{"".join(figures)}</div>\n'
        f"{listing}</details>"
    )


def _counts(name, counts):
    tables = [html_table(("", ""), summary(counts).items())]
    for key, title in TABLES.items():
        rows = sorted_counts(key, counts[key])
        headers = (title, "")
        if key == "objects_per_class":
            headers = (title, "objects", "images")
            rows = [(each, count, counts["images_per_class"][each]) for each, count in rows]
        shown = [(row[0], *(f"{number:,}" for number in row[1:])) for row in rows[:MAX_ROWS]]
        more = [(f"... and {len(rows) - MAX_ROWS} more", "")] if len(rows) > MAX_ROWS else []
        tables.append(html_table(headers, [*shown, *more]))
    return (
        f"<section><h3>{html_text(name)}: {html_text(counts['name'])}</h3>"
        f'<div class="tables">{"".join(tables)}</div></section>'
    )


def _anchors(report):
    table = html_table(ANCHOR_COLUMNS, anchor_rows(report.anchors))
    sentence, legend = html_text(anchor_sentence(report.config, report.anchors)), html_text(ANCHOR_LEGEND)
    return f"<section><h3>Anchors</h3><p>{sentence}</p>{table}<p>{legend}</p></section>"
