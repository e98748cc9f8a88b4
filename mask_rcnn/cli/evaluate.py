"""`mask-rcnn evaluate`: computes COCO's AP of a model or of a results file, and writes a report."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mask_rcnn.cli.options import Subparsers, add_command
from mask_rcnn.cli.predictor import add_predictor, add_tiling, add_tta, augmented, load_predictor, tiled
from mask_rcnn.cli.progress import track
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.cli.report import add_report, check_report, image_files, write_evaluation_report
from mask_rcnn.system.paths import as_path
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    from mask_rcnn.config import Config
    from mask_rcnn.data.records import ImageLocation
    from mask_rcnn.evaluation.metrics import Metrics
    from mask_rcnn.report.analysis import RunDetections


def add_parser(commands: Subparsers) -> None:
    """Adds the command `evaluate` with its options."""
    parser = add_command(
        commands, "evaluate", run, summary="compute COCO's AP of a model, or of a COCO results file"
    )
    add_predictor(parser, _add_detections)
    add_tta(parser)
    add_tiling(parser)
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        type=as_path,
        required=True,
        help="ground truth: COCO instances, or TFRecord files (a path, or a pattern in quotes)",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=as_path,
        help="folder of the images (default: none; --weights and --model need it, except with TFRecord "
        "files; --report needs it for pictures)",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=as_path,
        help="also write all numbers to this JSON file (default: none)",
    )
    add_report(parser)
    _add_evaluation(parser)


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the evaluation."""
    parser.add_argument(
        "--backend",
        choices=("pycocotools", "hotcoco"),
        default="pycocotools",
        help="library that computes AP; hotcoco is faster, returns the same bits, and needs the extra "
        "`fast-eval`",
    )
    parser.add_argument(
        "--max-detections",
        metavar="N",
        type=int,
        help="maximum number of evaluated detections per image and class, for boxes and masks (default: the "
        "maximum of the model; 100 as in COCO for --detections). With LVIS annotations: per image, over all "
        "classes (default: 300)",
    )
    parser.add_argument(
        "--shared-classes",
        action="store_true",
        help="evaluate only the classes that both the model and the annotations have (default: their classes "
        "must be equal)",
    )


def _add_detections(group: argparse._MutuallyExclusiveGroup) -> None:
    group.add_argument(
        "--detections", metavar="JSON", type=as_path, help="a COCO results file of any system (default: none)"
    )


def run(args: argparse.Namespace) -> None:
    """Evaluates a model or a results file, prints the table, and writes the report of the options."""
    from mask_rcnn.evaluation.coco_results import write_json

    check_report(args)
    evaluate = _evaluate_file if args.detections else _evaluate_model
    metrics, detected, paths, config = evaluate(args)
    print_line(metrics.table())
    if metrics.warnings:
        print_line("\n  warnings\n" + "\n".join(f"    {warning}" for warning in metrics.warnings))
    if args.json:
        write_json(args.json, metrics.to_json())
        print_line(f"\nAll numbers: {args.json}")
    if args.report:
        write_evaluation_report(args, metrics, detected, paths=paths, config=config)


def _evaluate_file(
    args: argparse.Namespace,
) -> tuple[Metrics, RunDetections, Mapping[int | str, ImageLocation] | None, Config | None]:
    """Returns the `Metrics` of `--detections`, its `RunDetections`, its image files or None, and None."""
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
    ids, iou_types = tuple(image["id"] for image in content.images), iou_types_in(entries)
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
    return metrics, detected, image_files(content, args.images) if args.images else None, None


def _evaluate_model(
    args: argparse.Namespace,
) -> tuple[Metrics, RunDetections, Mapping[int | str, ImageLocation] | None, Config | None]:
    """Returns the `Metrics` of a model, its `RunDetections`, its image files, and its config."""
    from mask_rcnn.data.tfrecords.shards import is_shards

    if not args.images and not is_shards(args.annotations):
        raise ValueError("A model needs the folder of the images. Received: no --images. Add --images DIR.")
    import_tensorflow()

    from mask_rcnn.data.readers.coco import read_coco
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
    tracked = functools.partial(track, total=len(dataset), description="Detecting")
    detections = evaluation.detect(track=tracked, batch_size=args.batch_size, threads=args.threads)
    metrics, entries = evaluation.score(detections)
    detected = RunDetections(
        name=str(args.weights or args.model),
        content=evaluation.content,
        entries=tuple(entries),
        image_ids=tuple(id for id, *_ in detections),
        iou_types=evaluation.iou_types,
        max_detections=evaluation.max_detections,
    )
    paths = {record.id: record.path for record in dataset.images}
    return metrics, detected, paths, predictor.config
