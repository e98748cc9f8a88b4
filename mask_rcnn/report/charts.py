"""Charts as SVG text for an HTML page, in the colors of its theme."""

from collections.abc import Iterable, Mapping, Sequence

from mask_rcnn.visualization.html_page import html_attribute, html_text

LINE_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
SIDE = 300  # side of the plot area of a line chart, in SVG units
LEFT, BOTTOM, MARGIN = 46, 40, 10
BAR_HEIGHT = 26
MANY_CLASSES = 8  # with more classes, columns are narrow and their names are written vertically

STYLE = """\
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); }
.chart { margin: 0; } .chart svg { display: block; height: auto; max-width: 26rem; width: 100%; }
.chart.bars svg { max-width: 30rem; }
svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
svg .grid { stroke: #8884; stroke-width: 1; } svg .line { fill: none; stroke-width: 2; }
svg .ideal { stroke: #888; stroke-dasharray: 4 4; }
.key { display: flex; flex-wrap: wrap; font-size: 0.85rem; gap: 0.2rem 1rem; }
.key i { border: 1px solid #888; border-radius: 3px; display: inline-block; height: 0.8em;
  margin-right: 0.35em; width: 0.8em; }
p { overflow-wrap: anywhere; }
.wide { margin: 0.75rem 0; } .wide .scroll { max-height: 44rem; }
.wide table { font-size: 0.85rem; width: auto; } .wide td, .wide th { padding-right: 0.65rem; }
.wide tr:first-child th { background: Canvas; box-shadow: inset 0 -1px var(--line); overflow-wrap: normal;
  position: sticky; top: 0; vertical-align: bottom; white-space: normal; z-index: 1; }
.wide tr > :first-child { background: Canvas; left: 0; max-width: 16rem; min-width: 7.5rem;
  overflow-wrap: break-word; position: sticky; }
.wide tr:first-child th:first-child { z-index: 2; }
.wide .matrix td, .wide .matrix th { border: 1px solid var(--line); min-width: 2.6rem;
  padding: 0.15rem 0.4rem; text-align: right; }
.wide .matrix th { font-weight: 600; }
.wide .many td, .wide .many th { min-width: 2.1rem; padding: 0.15rem 0.3rem; }
.wide .many tr:first-child th:not(:first-child) { text-align: left; writing-mode: sideways-lr; }
.pictures { align-items: start; display: grid;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 28rem), 1fr)); }
.pictures img { width: 100%; }
"""


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    *,
    lines: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    ideal: bool = False,
    points: bool = False,
) -> str:
    """Returns a line chart with axes from 0 to 1, as HTML.

    Args:
        title: Text above the chart.
        x_label, y_label: Texts at the axes.
        lines: List of (name, x, y): a text and two sequences of numbers from 0 to 1.
        ideal: Whether to draw the diagonal. Defaults to False.
        points: Whether to mark the points. Defaults to False.
    """
    parts = [_axes(x_label, y_label)]
    if ideal:
        parts.append(f'<path class="ideal" d="M{LEFT} {MARGIN + SIDE}L{LEFT + SIDE} {MARGIN}"/>')
    for number, (name, xs, ys) in enumerate(lines):
        color = LINE_COLORS[number % len(LINE_COLORS)]
        places = [_place(x, y) for x, y in zip(xs, ys, strict=True)]
        if places:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            parts.append(f'<path class="line" stroke="{color}" d="M{path}">{_title(name)}</path>')
        if points:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in places]
    names = [(name, LINE_COLORS[number % len(LINE_COLORS)]) for number, (name, *_) in enumerate(lines)]
    size = LEFT + SIDE + MARGIN, SIDE + MARGIN + BOTTOM
    key = color_key(names) if len(names) > 1 else ""
    return _figure(title, size, parts, key=key)


def bar_chart(
    title: str, bars: Sequence[tuple[str, float, str]], colors: Mapping[str, str] | None = None
) -> str:
    """Returns a chart of horizontal bars, as HTML.

    Args:
        title: Text above the chart.
        bars: List of (name, value, text): the length of the bar, at least 0, and a text next to the bar.
        colors: {name: CSS color}. Defaults to one color.
    """
    left, width, right = 96, 150, 130
    longest = max([value for _, value, _ in bars] + [1e-9])
    parts = []
    for number, (name, value, text) in enumerate(bars):
        y, length = number * BAR_HEIGHT, max(value, 0) / longest * width
        color = (colors or {}).get(name, LINE_COLORS[0])
        parts.append(f'<text x="{left - 8}" y="{y + 17}" text-anchor="end">{html_attribute(name)}</text>')
        parts.append(
            f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{BAR_HEIGHT - 6}" rx="2" '
            f'fill="{color}" stroke="#888" stroke-width="0.5"/>'
        )
        parts.append(f'<text x="{left + length + 6:.1f}" y="{y + 17}">{html_attribute(text)}</text>')
    return _figure(title, (left + width + right, len(bars) * BAR_HEIGHT), parts, key="", kind="chart bars")


def color_key(names: Iterable[tuple[str, str]]) -> str:
    """Returns a legend of colors, as HTML.

    Args:
        names: List of (name, CSS color).
    """
    items = [f'<span><i style="background:{color}"></i>{html_text(name)}</span>' for name, color in names]
    return f'<div class="key">{"".join(items)}</div>'


def heat_table(labels: Sequence[str], matrix: Sequence[Sequence[int]], corner: str) -> str:
    """Returns a square table of counts, as HTML. A cell is darker if its fraction of the row is larger.

    Args:
        labels: Texts of the rows and columns.
        matrix: Rows of numbers.
        corner: Text above the row labels.
    """
    head = "".join(f"<th>{html_text(label)}</th>" for label in labels)
    rows = []
    for index, (label, row) in enumerate(zip(labels, matrix, strict=True)):
        total, cells = max(sum(row), 1), []
        for column, number in enumerate(row):
            color = "0,158,115" if column == index else "213,94,0"
            style = f' style="background:rgba({color},{0.6 * number / total:.2f})"' if number else ""
            cells.append(f"<td{style}>{number:,}</td>" if number else "<td></td>")
        rows.append(f"<tr><th>{html_text(label)}</th>{''.join(cells)}</tr>")
    kind = "matrix many" if len(labels) > MANY_CLASSES else "matrix"
    table = f'<table class="{kind}"><tr><th>{html_text(corner)}</th>{head}</tr>{"".join(rows)}</table>'
    return f'<div class="wide"><div class="scroll">{table}</div></div>'


def _place(x, y):
    return LEFT + SIDE * x, MARGIN + SIDE * (1 - y)


def _axes(x_label, y_label):
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x, y = _place(tick, tick)
        parts.append(f'<path class="grid" d="M{x} {MARGIN}V{MARGIN + SIDE}M{LEFT} {y}H{LEFT + SIDE}"/>')
        parts.append(f'<text x="{x}" y="{MARGIN + SIDE + 15}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    middle = MARGIN + SIDE / 2
    parts.append(
        f'<text x="{LEFT + SIDE / 2}" y="{MARGIN + SIDE + 33}" text-anchor="middle">'
        f"{html_attribute(x_label)}</text>"
    )
    parts.append(
        f'<text x="11" y="{middle}" text-anchor="middle" transform="rotate(-90 11 {middle})">'
        f"{html_attribute(y_label)}</text>"
    )
    return "".join(parts)


def _title(text):
    return f"<title>{html_attribute(text)}</title>"


def _figure(title, size, parts, *, key, kind="chart"):
    label = html_attribute(title)
    return (
        f'<figure class="{kind}"><h4>{label}</h4><svg viewBox="0 0 {size[0]} {size[1]}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>{key}</figure>'
    )
