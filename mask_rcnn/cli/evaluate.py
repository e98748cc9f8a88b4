"""`mask-rcnn evaluate`: computes COCO's AP of a model or of a results file, and writes a report."""

import functools

from mask_rcnn.cli.options import add_command
from mask_rcnn.cli.predictor import add_predictor, add_tiling, add_tta, augmented, load_predictor, tiled
from mask_rcnn.cli.progress import track
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.cli.report import add_report, check_report, image_files, write
from mask_rcnn.system.paths import as_path
from mask_rcnn.system.terminal import print_line


def add_parser(commands):
    parser = add_command(
        commands, "evaluate", run, "score a model, or detections in COCO form, against annotations"
    )
    add_predictor(parser, _add_detections)
    add_tta(parser)
    add_tiling(parser)
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        type=as_path,
        required=True,
        help="COCO instances: the truth; or TFRecord files, perhaps as a pattern in quotes",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=as_path,
        help="folder of the images (default: none; --weights and --model need it, but for TFRecord files; "
        "the pictures of --report show them)",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=as_path, help="write all numbers here too (default: only the table)"
    )
    add_report(parser)
    parser.add_argument(
        "--backend",
        choices=("pycocotools", "hotcoco"),
        default="pycocotools",
        help="what computes; hotcoco is faster, equal to the bit, and the extra `fast-eval`",
    )
    parser.add_argument(
        "--max-detections",
        metavar="N",
        type=int,
        help="detections of a class that count in an image, for boxes and masks "
        "(default: as many as the model may give; COCO's 100 for --detections). If the annotations are those "
        "of LVIS, detections of all classes that count (default: 300)",
    )
    parser.add_argument(
        "--shared-classes",
        action="store_true",
        help="score only the classes that model and annotations share; by default they must be the same",
    )


def _add_detections(group):
    group.add_argument(
        "--detections", metavar="JSON", type=as_path, help="a COCO results file of any system (default: none)"
    )


def run(args):
    from mask_rcnn.evaluation.coco_results import write_json

    check_report(args)
    metrics, detected, *images = _evaluate_file(args) if args.detections else _evaluate_model(args)
    print_line(metrics.table())
    if metrics.warnings:
        print_line("\n  warnings\n" + "\n".join(f"    {warning}" for warning in metrics.warnings))
    if args.json:
        write_json(args.json, metrics.to_json())
        print_line(f"\nAll numbers: {args.json}")
    if args.report:
        write(args, metrics, detected, *images)


def _evaluate_file(args):
    """Returns the `Metrics` of `--detections`, its `RunDetections`, and its image files or None."""
    from mask_rcnn.evaluation.coco_evaluation import (
        check_options,
        default_max_detections,
        iou_types_in,
        read_detections,
        score_entries,
    )
    from mask_rcnn.report.analysis import RunDetections

    limit = args.max_detections
    check_options(None, args.backend, limit)
    entries, content, warnings = read_detections(args.detections, args.annotations, args.shared_classes)
    limit = default_max_detections(content) if limit is None else limit
    ids, iou_types = [image["id"] for image in content.images], iou_types_in(entries)
    metrics = score_entries(
        entries,
        content,
        ids,
        iou_types=iou_types,
        backend=args.backend,
        max_detections=limit,
        warnings=warnings,
    )
    detected = RunDetections(
        name=str(args.detections),
        content=content,
        entries=entries,
        image_ids=ids,
        iou_types=iou_types,
        max_detections=limit,
    )
    return metrics, detected, image_files(content, args.images) if args.images else None


def _evaluate_model(args):
    """Returns the `Metrics` of a model, its `RunDetections`, its image files, and its config."""
    from mask_rcnn.data.shards import is_shards

    if not args.images and not is_shards(args.annotations):
        raise ValueError("A model needs the folder of the images. Received: no --images. Add --images DIR.")
    import_tensorflow()

    from mask_rcnn.data.coco import read_coco
    from mask_rcnn.evaluation.coco_evaluation import check_measurable, content_of_dataset
    from mask_rcnn.evaluation.model_evaluation import ModelEvaluation
    from mask_rcnn.heads import iou_types_of
    from mask_rcnn.report.analysis import RunDetections

    predictor = tiled(augmented(load_predictor(args), args), args)
    dataset = read_coco(args.annotations, args.images, **predictor.config.input.pixel_format)
    content = content_of_dataset(dataset, args.annotations)
    check_measurable(content, iou_types_of(predictor.config))
    evaluation = ModelEvaluation(
        predictor,
        dataset,
        content,
        backend=args.backend,
        max_detections=args.max_detections,
        shared_classes=args.shared_classes,
    )
    shown = functools.partial(track, total=len(dataset), description="Detecting")
    found = evaluation.detect(track=shown, batch_size=args.batch_size, threads=args.threads)
    metrics, entries = evaluation.score(found)
    detected = RunDetections(
        name=str(args.weights or args.model),
        content=evaluation.content,
        entries=tuple(entries),
        image_ids=[id for id, *_ in found],
        iou_types=evaluation.iou_types,
        max_detections=evaluation.max_detections,
    )
    paths = {record.id: record.path for record in dataset.images}
    return metrics, detected, paths, predictor.config
