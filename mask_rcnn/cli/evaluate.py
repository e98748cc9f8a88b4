"""`mask-rcnn evaluate`: COCO's average precision of a model, or of any results file."""

import functools
from pathlib import Path

from mask_rcnn.cli.options import WEIGHTS_HELP, WEIGHTS_METAVAR, add_command, add_precision
from mask_rcnn.cli.progress import track
from mask_rcnn.cli.quiet import import_tensorflow


def add_parser(commands):
    parser = add_command(
        commands, "evaluate", run, "score a model, or detections in COCO form, against annotations"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", metavar=WEIGHTS_METAVAR, type=Path, help=f"{WEIGHTS_HELP} (default: none)")
    what.add_argument(
        "--detections", metavar="JSON", type=Path, help="a COCO results file of any system (default: none)"
    )
    parser.add_argument(
        "--annotations", metavar="JSON", type=Path, required=True, help="COCO instances: the truth"
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=Path,
        help="folder of the images (default: none; needed with --weights)",
    )
    add_precision(parser)
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write all numbers here too (default: only the table)"
    )
    parser.add_argument(
        "--backend",
        choices=("pycocotools", "hotcoco"),
        default="pycocotools",
        help="what computes; hotcoco is faster, equal to the bit, and the extra `fast-eval`",
    )


def run(args):
    from mask_rcnn.coco_results import write_json

    metrics = _evaluate_model(args) if args.weights else _evaluate_file(args)
    print(metrics.table())
    if args.json:
        write_json(args.json, metrics.to_json())
        print(f"\nAll numbers: {args.json}")


def _evaluate_file(args):
    from mask_rcnn.coco_results import read_results
    from mask_rcnn.evaluation import evaluate_results

    results = read_results(args.detections, args.annotations)
    geometries = {"segm": "segmentation", "keypoints": "keypoints"}
    found = (name for name, field in geometries.items() if any(field in entry for entry in results))
    iou_types = ("bbox", *found)
    return evaluate_results(results, args.annotations, iou_types, args.backend)


def _evaluate_model(args):
    if not args.images:
        raise ValueError("--weights needs the folder of the images. Received: no --images. Add --images DIR.")
    import_tensorflow()

    from mask_rcnn.data.coco import read_coco
    from mask_rcnn.evaluation import evaluate_model
    from mask_rcnn.predict import Predictor

    dataset = read_coco(args.annotations, args.images)
    predictor = Predictor.load(args.weights, args.precision)
    track_images = functools.partial(track, total=len(dataset), description="Detecting")
    metrics, _ = evaluate_model(predictor, dataset, args.annotations, args.backend, track_images)
    return metrics
