"""`mask-rcnn evaluate`: COCO's average precision of a model, or of any results file."""

import functools
from pathlib import Path

from mask_rcnn.cli.options import add_command
from mask_rcnn.cli.predictor import add_predictor, load_predictor
from mask_rcnn.cli.progress import track
from mask_rcnn.cli.quiet import import_tensorflow


def add_parser(commands):
    parser = add_command(
        commands, "evaluate", run, "score a model, or detections in COCO form, against annotations"
    )
    add_predictor(parser, _add_detections)
    parser.add_argument(
        "--annotations", metavar="JSON", type=Path, required=True, help="COCO instances: the truth"
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=Path,
        help="folder of the images (default: none; needed with --weights and --model)",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write all numbers here too (default: only the table)"
    )
    parser.add_argument(
        "--backend",
        choices=("pycocotools", "hotcoco"),
        default="pycocotools",
        help="what computes; hotcoco is faster, equal to the bit, and the extra `fast-eval`",
    )


def _add_detections(group):
    group.add_argument(
        "--detections", metavar="JSON", type=Path, help="a COCO results file of any system (default: none)"
    )


def run(args):
    from mask_rcnn.coco_results import write_json

    metrics = _evaluate_file(args) if args.detections else _evaluate_model(args)
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
        raise ValueError("A model needs the folder of the images. Received: no --images. Add --images DIR.")
    import_tensorflow()

    from mask_rcnn.data.coco import read_coco
    from mask_rcnn.evaluation import evaluate_model

    dataset = read_coco(args.annotations, args.images)
    predictor = load_predictor(args)
    track_images = functools.partial(track, total=len(dataset), description="Detecting")
    metrics, _ = evaluate_model(predictor, dataset, args.annotations, args.backend, track_images)
    return metrics
