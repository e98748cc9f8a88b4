"""`mask-rcnn detect --rank-uncertain`: writes a file that ranks the images by how useful labels would be."""

import csv
import io

from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.paths import as_path
from mask_rcnn.system.terminal import print_line


def add_ranking(parser):
    """Adds `--rank-uncertain`."""
    parser.add_argument(
        "--rank-uncertain",
        metavar="FILE",
        type=as_path,
        help="write a .csv or .json with the images that need most corrections first, and why; better with "
        "--tta (default: none)",
    )


def lowest_score(args):
    """Returns the lowest score of the detections that the command needs."""
    from mask_rcnn.postprocessing.uncertainty import MIN_SCORE

    return min(args.score_threshold, MIN_SCORE) if args.rank_uncertain else args.score_threshold


def uncertainty_row(frame, detections, score_threshold):
    """Returns the ranking's row of an image, a dict without its rank.

    Args:
        frame: `Frame` of the image.
        detections: `Detections` with scores of at least `lowest_score`.
        score_threshold: Value of `--score-threshold`.
    """
    from mask_rcnn.postprocessing.uncertainty import image_uncertainty

    found = image_uncertainty(detections, score_threshold)
    return {
        "file_name": frame.name,
        **({} if frame.number is None else {"frame": frame.number}),
        "uncertainty": round(found.total, 4),
        "per_object": round(found.per_object, 4),
        "reason": found.reason,
        "wrong": round(found.wrong, 4),
        "disagreement": round(found.disagreement, 4),
        "missed": round(found.missed, 4),
        "objects": found.num_objects,
        "candidates": found.num_candidates,
    }


def write_ranking(path, rows):
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
        print_line(f"{empty} images are last in the ranking because nothing was found: look at some of them")
    print_line(f"Ranking: {path}")
