"""A report as one HTML page that needs no other file and no network."""

import re
from html import escape

from mask_rcnn.data_check.pictures import data_uri, example_picture
from mask_rcnn.data_check.text import (
    ANCHOR_COLUMNS,
    ANCHOR_LEGEND,
    TABLES,
    anchor_rows,
    anchor_sentence,
    conclusion,
    ordered,
    summary,
)
from mask_rcnn.terminal import printable

MAX_PICTURES = 6  # of a finding
MAX_ROWS = 100  # of a table
CODE = re.compile(r"`([^`]{1,200})`")

STYLE = """\
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --error: #c62828; --warning: #b26a00;
  --note: #3b6ea5; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0.5rem 0; } h2 { font-size: 1.2rem; margin-top: 2rem; }
section, details { border: 1px solid var(--line); border-radius: 8px; margin: 0.75rem 0;
  padding: 0.75rem 1rem; }
details.error { border-left: 6px solid var(--error); }
details.warning { border-left: 6px solid var(--warning); }
details.note { border-left: 6px solid var(--note); }
summary { cursor: pointer; overflow-wrap: anywhere; }
.severity { font-size: 0.8rem; font-weight: 600; text-transform: uppercase; }
.error .severity { color: var(--error); } .warning .severity { color: var(--warning); }
.note .severity { color: var(--note); }
.count { background: var(--soft); border-radius: 1rem; font-weight: 600; padding: 0.1rem 0.6rem; }
.advice { background: var(--soft); border-radius: 6px; overflow-wrap: anywhere; padding: 0.5rem 0.75rem; }
.tables { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
.scroll { max-height: 24rem; overflow: auto; }
table { border-collapse: collapse; font-size: 0.9rem; width: 100%; }
td, th { border-bottom: 1px solid var(--line); overflow-wrap: anywhere; padding: 0.2rem 0.5rem 0.2rem 0;
  text-align: left; }
td.number, th.number { text-align: right; white-space: nowrap; }
.pictures { display: flex; flex-wrap: wrap; gap: 0.75rem; }
figure { margin: 0; max-width: 100%; } figure img { display: block; height: auto; max-width: 100%; }
figcaption { font-size: 0.8rem; overflow-wrap: anywhere; width: 0; min-width: 100%; }
code { background: var(--soft); border-radius: 4px; font-size: 0.9em; padding: 0.05em 0.3em; }
ul { margin: 0.5rem 0; padding-left: 1.2rem; } li { overflow-wrap: anywhere; }
"""


def write_page(path, report, sets, config, track=None):
    """Writes a report as an HTML page with pictures of examples.

    Args:
        path: File to write to.
        report: `Report`.
        sets: `{name: CheckedSet}`, as in `check_coco`.
        config: `Config`.
        track: As in `check_coco`.
    """
    findings = list(report.findings)
    shown = track(findings, len(findings), "drawing examples") if track else findings
    categories = next((checked.dataset.categories for checked in sets.values()), ())
    parts = [_finding(finding, categories, config, len(report.sets) > 1) for finding in shown]
    counts = [_counts(name, one) for name, one in report.sets.items()]
    anchors = [_anchors(report)] if report.anchors else []
    missing = [f"<p>Not checked: {_text(sentence)}</p>" for sentence in report.not_checked]
    title = "Data check"
    body = "\n".join(
        [
            f"<h1>{title}</h1>",
            f"<p><strong>{_text(conclusion(report))}</strong> Config: {_text(report.config)}.</p>",
            *missing,
            "<h2>Findings</h2>",
            *(parts or ["<p>Nothing was found.</p>"]),
            "<h2>Contents</h2>",
            *counts,
            *anchors,
        ]
    )
    path.write_text(
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{title}</title><style>\n{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n",
        encoding="utf-8",
    )


def _text(value):
    """Returns text as HTML; what is in backticks becomes code."""
    return CODE.sub(r"<code>\1</code>", _attribute(value))


def _attribute(value):
    return escape(printable(value))


def _finding(finding, categories, config, has_sets):
    """Returns the HTML of a finding; errors and warnings are open."""
    figures, listed = [], []
    for example in finding.examples:
        picture = None
        if len(figures) < MAX_PICTURES:
            picture = example_picture(example, categories, config)
        text, plain = _text(example.sentence()), _attribute(example.sentence())
        if picture is None:
            listed.append(f"<li>{text}</li>")
        else:
            figures.append(
                f'<figure><img src="{data_uri(picture)}" width="{picture.shape[1]}" '
                f'height="{picture.shape[0]}" alt="{plain}"><figcaption>{text}</figcaption></figure>'
            )
    if listed and finding.count > len(finding.examples):
        listed.append("<li>...</li>")
    where = f" {_text(finding.where)}" if has_sets else ""
    listing = f"<ul>{''.join(listed)}</ul>" if listed else ""
    is_open = " open" if finding.severity != "note" else ""
    return (
        f'<details class="{finding.severity}"{is_open}><summary>'
        f'<span class="severity">{finding.severity}{where}</span> {_text(finding.title)} '
        f'<span class="count">{finding.count:,}</span></summary>\n'
        f'<p class="advice">{_text(finding.advice)}</p>\n'
        f'<div class="pictures">{"".join(figures)}</div>\n'
        f"{listing}</details>"
    )


def _counts(name, counts):
    tables = [_table(("", ""), summary(counts).items())]
    for key, title in TABLES.items():
        rows = ordered(key, counts[key])
        headers = (title, "")
        if key == "objects_per_class":
            headers = (title, "objects", "images")
            rows = [(each, count, counts["images_per_class"][each]) for each, count in rows]
        shown = [(row[0], *(f"{number:,}" for number in row[1:])) for row in rows[:MAX_ROWS]]
        more = [(f"... and {len(rows) - MAX_ROWS} more", "")] if len(rows) > MAX_ROWS else []
        tables.append(_table(headers, [*shown, *more]))
    return (
        f"<section><h3>{_text(name)}: {_text(counts['name'])}</h3>"
        f'<div class="tables">{"".join(tables)}</div></section>'
    )


def _anchors(report):
    table = _table(ANCHOR_COLUMNS, anchor_rows(report.anchors))
    sentence, legend = _text(anchor_sentence(report)), _text(ANCHOR_LEGEND)
    return f"<section><h3>Anchors</h3><p>{sentence}</p>{table}<p>{legend}</p></section>"


def _table(headers, rows):
    def row(cells, tag):
        return "".join(
            f"<{tag}{' class=number' if index else ''}>{_text(cell)}</{tag}>"
            for index, cell in enumerate(cells)
        )

    head = f"<tr>{row(headers, 'th')}</tr>" if any(headers) else ""
    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in rows)
    return f'<div class="scroll"><table>{head}{body}</table></div>'
