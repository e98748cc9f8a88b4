"""`mask-rcnn detect --rank-uncertain`: ranks the images by the uncertainty of their detections."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mask_rcnn.cli.frames import Frame
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.paths import RemotePath, as_path
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    from mask_rcnn.structures import Detections


def add_ranking(parser: argparse.ArgumentParser) -> None:
    """Adds `--rank-uncertain`."""
    parser.add_argument(
        "--rank-uncertain",
        metavar="FILE",
        type=as_path,
        help="write a .csv or .json that ranks the images by the uncertainty of their detections, to label "
        "the first ones; more accurate with --tta (default: none)",
    )


def lowest_score(args: argparse.Namespace) -> float:
    """Returns the lowest score of the detections that the command needs."""
    from mask_rcnn.postprocessing.uncertainty import MIN_SCORE

    return min(args.score_threshold, MIN_SCORE) if args.rank_uncertain else args.score_threshold


def uncertainty_row(frame: Frame, detections: Detections, score_threshold: float) -> dict[str, Any]:
    """Returns the ranking's row of an image, a dict without its rank.

    Args:
        frame: `Frame` of the image.
        detections: `Detections` with scores of at least `lowest_score`.
        score_threshold: Value of `--score-threshold`.
    """
    from mask_rcnn.postprocessing.uncertainty import image_uncertainty

    uncertainty = image_uncertainty(detections, score_threshold)
    return {
        "file_name": frame.name,
        **({} if frame.number is None else {"frame": frame.number}),
        "uncertainty": round(uncertainty.total, 4),
        "per_object": round(uncertainty.per_object, 4),
        "reason": uncertainty.reason,
        "wrong": round(uncertainty.wrong, 4),
        "disagreement": round(uncertainty.disagreement, 4),
        "missed": round(uncertainty.missed, 4),
        "objects": uncertainty.num_objects,
        "candidates": uncertainty.num_candidates,
    }


def write_ranking(path: Path | RemotePath, rows: Sequence[dict[str, Any]]) -> None:
    """Writes the rows, most uncertain first. Prints the path and the number of images without detections.

    Args:
        path: Path of the file. With the suffix .json it is a list of objects, else CSV.
        rows: List of `uncertainty_row` in the order of the inputs. Rows of equal uncertainty keep this order.
    """
    from mask_rcnn.evaluation.coco_results import write_json

    ordered = sorted(rows, key=lambda row: -row["uncertainty"])
    ranked = [{"rank": rank, **row} for rank, row in enumerate(ordered, start=1)]
    if path.suffix.lower() == ".json":
        write_json(path, ranked)
    else:
        text = io.StringIO()
        names = dict.fromkeys(name for row in ranked for name in row)
        table = csv.DictWriter(text, names or ["rank", "file_name", "uncertainty"], lineterminator="\n")
        table.writeheader()
        table.writerows(ranked)
        with atomic_write(path) as partial:
            partial.write_text(text.getvalue(), encoding="utf-8")
    if empty := sum(not row["objects"] + row["candidates"] for row in rows):
        print_line(
            f"{empty} images without detections are last in the ranking: check some of them for missed "
            "objects"
        )
    print_line(f"Ranking: {path}")
