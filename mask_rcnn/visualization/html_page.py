"""Builds self-contained HTML pages for reports: no scripts, no other files, no network."""

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from PIL import Image

from mask_rcnn.system.terminal import printable

CODE = re.compile(r"`([^`]{1,200})`")
JPEG_QUALITY = 80

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


def html_page(title: str, body: str, style: str = "") -> str:
    """Returns a complete HTML page as a string.

    Args:
        title: Title of the page, plain text.
        body: HTML of the body.
        style: CSS rules in addition to the common ones. Defaults to "".
    """
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{html_attribute(title)}</title><style>\n{STYLE}{style}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def html_text(value: object) -> str:
    """Converts plain text to HTML. Text in backticks becomes a `<code>` element."""
    return CODE.sub(r"<code>\1</code>", html_attribute(value))


def html_attribute(value: object) -> str:
    """Escapes plain text for a quoted HTML attribute."""
    return escape(printable(value))


def html_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns an HTML table. All columns but the first are right-aligned, for numbers.

    Args:
        headers: List of strings, the column headers. If all are empty, the table has no header row.
        rows: List of lists of strings.
    """

    def row(cells, tag):
        return "".join(
            f"<{tag}{' class=number' if index else ''}>{html_text(cell)}</{tag}>"
            for index, cell in enumerate(cells)
        )

    head = f"<tr>{row(headers, 'th')}</tr>" if any(headers) else ""
    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in rows)
    return f'<div class="scroll"><table>{head}{body}</table></div>'


def html_figure(picture: np.ndarray, caption: str) -> str:
    """Returns the HTML of a figure with an embedded JPEG.

    Args:
        picture: `[H, W, 3]` uint8, RGB.
        caption: Plain text.
    """
    return (
        f'<figure><img src="{data_uri(picture)}" width="{picture.shape[1]}" '
        f'height="{picture.shape[0]}" alt="{html_attribute(caption)}">'
        f"<figcaption>{html_text(caption)}</figcaption></figure>"
    )


def data_uri(pixels: np.ndarray) -> str:
    """Returns an image, `[H, W, 3]` uint8 RGB, as a JPEG data URI string."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
