"""Reports a comparison with the paper as text, JSON and a plot."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mask_rcnn.ablation.compare import NUMBERS, Comparison, RowResult
from mask_rcnn.ablation.rows import Row
from mask_rcnn.evaluation.bootstrap import LEVEL
from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.plot import DPI, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IOU_TYPES = {"bbox": "boxes", "segm": "masks", "keypoints": "keypoints"}
RULE = "─"
DIFFERENCE_WIDTH = len("+99.9 [-99.9, +100.0]  ")
UNKNOWN = (None,) * len(NUMBERS)


def write_report(comparison: Comparison, folder: Path) -> None:
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


def as_text(comparison: Comparison) -> str:
    """Returns the table as text: published results, measured results, and differences between rows."""
    table = comparison.table
    lines = [f"Table {table.key}: {table.title}. Percent; paper: COCO {table.split}"]
    for iou_type in table.iou_types:
        if any(iou_type in each.measured for each in comparison.rows.values()):
            lines += ["", *_score_lines(comparison, iou_type), "", *_difference_lines(comparison, iou_type)]
    return "\n".join([*lines, "", *(f"  {note}." for note in _notes(comparison))])


def _score_lines(comparison: Comparison, iou_type: str) -> list[str]:
    width = max(len(row.name) for row in comparison.table.rows) + 2
    has_several_seeds = any(len(each.seeds.get(iou_type, ())) > 1 for each in comparison.rows.values())
    head = f"{IOU_TYPES[iou_type]:{width}}{'paper':<21}measured"
    names = f"{'':{width}}" + 2 * ("".join(f"{name:<6}" for name in NUMBERS) + "   ")
    names += "AP of each seed" if has_several_seeds else ""
    lines = [head, names.rstrip(), RULE * max(len(head), len(names))]
    for row in comparison.table.rows:
        result = comparison.rows.get(row.name)
        if result is not None and iou_type not in result.measured:
            result = None
        if iou_type not in row.paper and result is None:
            continue
        line = f"{row.name:{width}}{_cells(row.paper.get(iou_type, UNKNOWN))}   "
        if result is not None:
            line += f"{_cells(result.measured[iou_type])}   "
            line += " ".join(_number(each[0]) for each in result.seeds[iou_type]) if has_several_seeds else ""
        lines.append(line.rstrip())
    return lines


def _difference_lines(comparison: Comparison, iou_type: str) -> list[str]:
    first = comparison.first(iou_type)
    paper = comparison.rows[first].row.paper.get(iou_type, UNKNOWN)
    compared = {name: each for name, each in comparison.rows.items() if iou_type in each.differences}
    if not compared:
        return []
    width = max(len(row.name) for row in comparison.table.rows) + 2
    width = max(width, len(f"minus {first}") + 2)
    columns = "".join(f"{f'measured, {name}':{DIFFERENCE_WIDTH}}" for name in NUMBERS)
    head = f"{f'minus {first}':{width}}{'paper, AP':11}{columns}".rstrip()
    lines = [head, RULE * len(head)]
    for name, each in compared.items():
        published = _minus(each.row.paper.get(iou_type, UNKNOWN)[0], paper[0])
        line = f"{name:{width}}{_signed(published):11}"
        for value, limits in zip(
            each.differences[iou_type], each.difference_intervals[iou_type], strict=True
        ):
            line += f"{_with_interval(value, limits):{DIFFERENCE_WIDTH}}"
        lines.append(line.rstrip())
    return lines


def _notes(comparison: Comparison) -> Iterator[str]:
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


def _rpn_note(rows: Mapping[str, RowResult]) -> str:
    """Returns a sentence about the training of the RPN in the paper and in these runs."""
    separate = [name for name, each in rows.items() if not each.shared_features]
    note = (
        "The paper trains the RPN first, with features of its own, and then the heads; in table 8 it trains "
        "them together from the end-to-end row on. These runs train both together, and the RPN "
    )
    if not separate:
        return f"{note}shares the features of the heads (rpn.shared_features=true)"
    rows_with = (
        ""
        if len(separate) == len(rows)
        else (f" in {', '.join(separate)}, and shares those of the heads in the other rows")
    )
    return f"{note}has features of its own (rpn.shared_features=false){rows_with}"


def _cells(values: Sequence[float | None]) -> str:
    return "".join(f"{_number(each):<6}" for each in values)


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.1f}"


def _signed(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:+.1f}"


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _with_interval(value: float | None, limits: tuple[float, float] | None) -> str:
    return f"{_signed(value)} [{_signed(limits[0])}, {_signed(limits[1])}]" if limits else _signed(value)


def as_json(comparison: Comparison) -> dict[str, Any]:
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


def _row_json(row: Row, result: RowResult | None) -> dict[str, Any]:
    content = {"name": row.name, "missing": row.missing or None, "note": row.note or None}
    content["paper"] = {
        iou_type: dict(zip(NUMBERS, each, strict=True)) for iou_type, each in row.paper.items()
    }
    if result is None:
        return content
    for field in ("measured", "intervals", "differences", "difference_intervals"):
        values = getattr(result, field)
        content[field] = {
            iou_type: dict(zip(NUMBERS, map(_finite_or_none, each), strict=True))
            for iou_type, each in values.items()
        }
    seeds = {
        iou_type: [list(map(_finite_or_none, each)) for each in runs]
        for iou_type, runs in result.seeds.items()
    }
    return {**content, "seeds": seeds, "steps": result.steps}


def _finite_or_none(value: Any) -> Any:
    """Returns None for a float that is NaN, and any other value unchanged."""
    return None if isinstance(value, float) and math.isnan(value) else value


def plot(comparison: Comparison, path: Path) -> None:
    """Draws the AP of each row with its interval, and the AP in the paper.

    Args:
        comparison: `Comparison`.
        path: `Path` of the PNG file.
    """
    iou_types = [
        iou_type
        for iou_type in comparison.table.iou_types
        if any(iou_type in each.measured for each in comparison.rows.values())
    ]
    figure = new_figure("the table", (2.5 + 3.5 * len(iou_types), 1.5 + 0.4 * len(comparison.rows)))
    if figure is None or not iou_types:
        return
    names = list(comparison.rows)
    for axes, iou_type in zip(
        figure.subplots(1, len(iou_types), sharey=True, squeeze=False)[0], iou_types, strict=True
    ):
        for y, each in enumerate(comparison.rows.values()):
            _plot_row(axes, y, result=each, iou_type=iou_type)
        axes.set(xlabel=f"AP of {IOU_TYPES[iou_type]}, percent", yticks=range(len(names)), yticklabels=names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        style(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique, frameon=False, loc="outside upper right", ncols=2)
    figure.suptitle(f"Table {comparison.table.key}", x=0.02, ha="left")
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=DPI)


def _plot_row(axes: "Axes", y: int, *, result: RowResult, iou_type: str) -> None:
    published = result.row.paper.get(iou_type, UNKNOWN)[0]
    if published is not None:
        axes.plot(published, y, "o", mfc="none", color="tab:gray", label="paper")
    if iou_type not in result.measured:
        return
    value, limits = result.measured[iou_type][0], result.intervals[iou_type][0]
    if math.isnan(value) or limits is None:
        return
    errors = np.abs(np.subtract(limits, value))[:, None]
    axes.errorbar(
        value, y, xerr=errors, fmt="o", capsize=3, color="tab:blue", label="measured, 95 % interval"
    )
