"""Reports a comparison with the paper as text, JSON and a plot."""

import math

import numpy as np

from mask_rcnn.ablation.compare import NUMBERS
from mask_rcnn.evaluation.bootstrap import LEVEL
from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.plot import DPI, new_figure, style

IOU_TYPES = {"bbox": "boxes", "segm": "masks", "keypoints": "keypoints"}
RULE = "─"
DIFFERENCE_WIDTH = len("+99.9 [-99.9, +100.0]  ")
UNKNOWN = (None,) * len(NUMBERS)


def write_report(comparison, folder):
    """Prints the table and writes `report.txt`, `report.json` and `report.png` into a folder.

    Args:
        comparison: `Comparison`.
        folder: `Path` of the folder.
    """
    text = as_text(comparison)
    print_line(f"\n{text}")
    with atomic_write(folder / "report.txt") as partial:
        partial.write_text(f"{text}\n", encoding="utf-8")
    write_json(folder / "report.json", as_json(comparison))
    plot(comparison, folder / "report.png")
    print_line(f"\nTable, numbers and picture: {folder}/report.txt, .json, .png")


def as_text(comparison):
    """Returns the table as text: published results, results of these runs, and differences."""
    table = comparison.table
    lines = [f"Table {table.key}: {table.title}. Percent; paper: COCO {table.split}"]
    for kind in table.iou_types:
        if any(kind in each.here for each in comparison.rows.values()):
            lines += ["", *_score_lines(comparison, kind), "", *_difference_lines(comparison, kind)]
    return "\n".join([*lines, "", *(f"  {note}." for note in _notes(comparison))])


def _score_lines(comparison, kind):
    width = max(len(row.name) for row in comparison.table.rows) + 2
    several = any(len(each.seeds.get(kind, ())) > 1 for each in comparison.rows.values())
    head = f"{IOU_TYPES[kind]:{width}}{'paper':<21}here"
    names = f"{'':{width}}" + 2 * ("".join(f"{name:<6}" for name in NUMBERS) + "   ")
    names += "AP of each seed" if several else ""
    lines = [head, names.rstrip(), RULE * max(len(head), len(names))]
    for row in comparison.table.rows:
        result = comparison.rows.get(row.name)
        is_measured = result is not None and kind in result.here
        if kind not in row.paper and not is_measured:
            continue
        line = f"{row.name:{width}}{_cells(row.paper.get(kind, UNKNOWN))}   "
        if is_measured:
            line += f"{_cells(result.here[kind])}   "
            line += " ".join(_number(each[0]) for each in result.seeds[kind]) if several else ""
        lines.append(line.rstrip())
    return lines


def _difference_lines(comparison, kind):
    first = comparison.first(kind)
    paper = comparison.rows[first].row.paper.get(kind, UNKNOWN)
    others = {name: each for name, each in comparison.rows.items() if kind in each.differences}
    if not others:
        return []
    width = max(len(row.name) for row in comparison.table.rows) + 2
    width = max(width, len(f"minus {first}") + 2)
    columns = "".join(f"{f'here, {name}':{DIFFERENCE_WIDTH}}" for name in NUMBERS)
    head = f"{f'minus {first}':{width}}{'paper, AP':11}{columns}".rstrip()
    lines = [head, RULE * len(head)]
    for name, each in others.items():
        published = _minus(each.row.paper.get(kind, UNKNOWN)[0], paper[0])
        line = f"{name:{width}}{_signed(published):11}"
        for value, limits in zip(each.differences[kind], each.difference_intervals[kind], strict=True):
            line += f"{_with_interval(value, limits):{DIFFERENCE_WIDTH}}"
        lines.append(line.rstrip())
    return lines


def _notes(comparison):
    """Yields sentences about rows without runs, differences from the paper, and the intervals."""
    for row in comparison.table.rows:
        if row.missing:
            yield f"Not run: {row.name}: {row.missing}"
        elif row.note:
            yield f"{row.name}: {row.note}"
    yield from comparison.notes
    steps = {name: each.steps for name, each in comparison.rows.items()}
    if len({step for each in steps.values() for step in each}) > 1:
        listing = ", ".join(f"{name} {'/'.join(map(str, each))}" for name, each in steps.items())
        yield f"Steps of the runs: {listing}"
    yield (
        f"[low, high]: {100 * LEVEL:.0f} % intervals from {comparison.num_resamples} paired resamples of the "
        f"{comparison.num_images} images. They do not include the variation between seeds"
    )
    yield _rpn_note(comparison.rows)


def _rpn_note(rows):
    """Returns a sentence about the training of the RPN in the paper and in these runs."""
    own = [name for name, each in rows.items() if not each.shared_features]
    note = (
        "The paper trains the RPN first, with features of its own, and then the heads; in table 8 it trains "
        "them together from the end-to-end row on. Here both are trained in one run, and the RPN "
    )
    if not own:
        return f"{note}shares the features of the heads (rpn.shared_features=true)"
    where = (
        "" if len(own) == len(rows) else f" in {', '.join(own)}, and shares those of the heads in the others"
    )
    return f"{note}has features of its own (rpn.shared_features=false){where}"


def _cells(values):
    return "".join(f"{_number(each):<6}" for each in values)


def _number(value):
    return "–" if value is None or math.isnan(value) else f"{value:.1f}"


def _signed(value):
    return "–" if value is None or math.isnan(value) else f"{value:+.1f}"


def _minus(value, other):
    return None if value is None or other is None else value - other


def _with_interval(value, limits):
    return f"{_signed(value)} [{_signed(limits[0])}, {_signed(limits[1])}]" if limits else _signed(value)


def as_json(comparison):
    """Returns a comparison as plain dicts and lists. Values that are not measurable are None."""
    table = comparison.table
    return {
        "table": table.key,
        "title": table.title,
        "split": table.split,
        "num_images": comparison.num_images,
        "num_resamples": comparison.num_resamples,
        "level": LEVEL,
        "rows": [_row_json(row, comparison.rows.get(row.name)) for row in table.rows],
        "notes": list(_notes(comparison)),
    }


def _row_json(row, result):
    content = {"name": row.name, "missing": row.missing or None, "note": row.note or None}
    content["paper"] = {kind: dict(zip(NUMBERS, each, strict=True)) for kind, each in row.paper.items()}
    if result is None:
        return content
    for field in ("here", "intervals", "differences", "difference_intervals"):
        values = getattr(result, field)
        content[field] = {
            kind: dict(zip(NUMBERS, map(_measured, each), strict=True)) for kind, each in values.items()
        }
    seeds = {kind: [list(map(_measured, each)) for each in runs] for kind, runs in result.seeds.items()}
    return {**content, "seeds": seeds, "steps": result.steps}


def _measured(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def plot(comparison, path):
    """Draws the AP of each row with its interval, and the AP in the paper.

    Args:
        comparison: `Comparison`.
        path: `Path` of the PNG file.
    """
    kinds = [
        kind
        for kind in comparison.table.iou_types
        if any(kind in each.here for each in comparison.rows.values())
    ]
    figure = new_figure("the table", (2.5 + 3.5 * len(kinds), 1.5 + 0.4 * len(comparison.rows)))
    if figure is None or not kinds:
        return
    names = list(comparison.rows)
    for axes, kind in zip(figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0], kinds, strict=True):
        for y, each in enumerate(comparison.rows.values()):
            _plot_row(axes, y, each, kind)
        axes.set(xlabel=f"AP of {IOU_TYPES[kind]}, percent", yticks=range(len(names)), yticklabels=names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        style(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique, frameon=False, loc="outside upper right", ncols=2)
    figure.suptitle(f"Table {comparison.table.key}", x=0.02, ha="left")
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=DPI)


def _plot_row(axes, y, result, kind):
    published = result.row.paper.get(kind, UNKNOWN)[0]
    if published is not None:
        axes.plot(published, y, "o", mfc="none", color="tab:gray", label="paper")
    if kind not in result.here or math.isnan(result.here[kind][0]):
        return
    value, limits = result.here[kind][0], result.intervals[kind][0]
    errors = np.abs(np.subtract(limits, value))[:, None]
    axes.errorbar(value, y, xerr=errors, fmt="o", capsize=3, color="tab:blue", label="here, 95 % interval")
