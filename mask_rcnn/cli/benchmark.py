"""`mask-rcnn benchmark`: measures time and memory of a model, optionally compared with torchvision's."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from mask_rcnn.cli.benchmark_checks import check_options
from mask_rcnn.cli.benchmark_server import add_load, measure_server
from mask_rcnn.cli.options import (
    WEIGHTS_HELP,
    WEIGHTS_METAVAR,
    Subparsers,
    add_command,
    add_precision,
    add_set,
    load_config,
    local_path,
)
from mask_rcnn.cli.predictor import MODEL_HELP
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.system.paths import as_path
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    from mask_rcnn.benchmark.synthetic_batch import Settings

DEFAULT_CONFIG = "mask_rcnn_resnet50_fpn"
MAX_IMAGES = 4  # number of --images that are timed
MODES = {
    "inference": ("inference",),
    "training": ("training",),
    "both": ("inference", "training"),
    "predict": (),
    "data": (),
    "serve": (),
}


def add_parser(commands: Subparsers) -> None:
    """Adds the command `benchmark` with its options."""
    parser = add_command(
        commands, "benchmark", run, summary="measure the time and memory of inference and training"
    )
    parser.add_argument(
        "--config",
        metavar="NAME_OR_YAML",
        help="a recipe of `mask-rcnn config list`, or a YAML file; the weights are random (default: the "
        f"config of --weights; without --weights, {DEFAULT_CONFIG}; with --against, torchvision's model)",
    )
    parser.add_argument(
        "--weights",
        metavar=WEIGHTS_METAVAR,
        type=as_path,
        help=f"{WEIGHTS_HELP}; with --against, weights of torchvision's maskrcnn_resnet50_fpn: its name, "
        "or a state dict, .pth or .npz (default: random weights)",
    )
    add_set(parser)
    parser.add_argument(
        "--size",
        metavar=("H", "W"),
        nargs=2,
        type=int,
        default=(800, 1216),
        help="size of the images, pixels",
    )
    parser.add_argument("--batch", metavar="N", type=int, default=1, help="number of images per batch")
    add_precision(parser)
    _add_measurement(parser)


def _add_measurement(parser: argparse.ArgumentParser) -> None:
    """Adds the options for what is measured, and how."""
    parser.add_argument(
        "--mode",
        choices=tuple(MODES),
        default="both",
        help="what to measure. inference, training, both: the model alone. predict: an evaluation of "
        "--images, compared with the model alone. data: training batches of --images, compared with "
        "decoding and resizing alone. serve: requests to a server, compared with the model alone",
    )
    parser.add_argument(
        "--repeats",
        metavar="N",
        type=int,
        default=5,
        help="number of measurements; the median is reported",
    )
    parser.add_argument(
        "--warmup", metavar="N", type=int, default=2, help="number of runs before the first measurement"
    )
    parser.add_argument(
        "--threads", metavar="N", type=int, help="threads of each measured model (default: all cores)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="random seed of images and weights")
    _add_comparison(parser)


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    """Adds the options for other models, other modes, and the file of the numbers."""
    parser.add_argument(
        "--against",
        choices=("torchvision",),
        help="also measure torchvision's model, alternately, with the same weights and images (default: only "
        "the model of this package)",
    )
    parser.add_argument(
        "--against-python",
        metavar="PATH",
        type=local_path,
        help="Python executable of an environment with torch and torchvision (default: none; --against needs "
        "it)",
    )
    _add_side_by_side(parser)
    add_load(parser)
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=as_path,
        help="also write all numbers to this JSON file (default: none)",
    )


def _add_side_by_side(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="PATH",
        type=local_path,
        action="append",
        default=[],
        help=f"{MODEL_HELP}; repeat for more: all models and --weights are measured alternately "
        "(default: none)",
    )
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        type=local_path,
        help="COCO instances. With --model: to compute the AP of each model (default: no AP). With --mode "
        "predict and data: the annotations of the images",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=local_path,
        help=f"with --annotations: folder of the images; with --model, the first {MAX_IMAGES} are timed "
        "(default: synthetic images of --size)",
    )


def run(args: argparse.Namespace) -> None:
    """Measures what `--mode` and `--model` select, and prints a table."""
    from mask_rcnn.benchmark.synthetic_batch import Settings
    from mask_rcnn.benchmark.table import format_report

    check_options(args)
    settings = Settings(
        size=tuple(args.size),
        batch_size=args.batch,
        precision=args.precision,
        modes=MODES[args.mode],
        repeats=args.repeats,
        warmup=args.warmup,
        threads=(os.cpu_count() or 1) if args.threads is None else args.threads,
        seed=args.seed,
    )
    import_tensorflow()
    if args.mode == "predict":
        report = _measure_prediction(args, settings)
    elif args.mode == "data":
        report = _measure_data(args, settings)
    elif args.mode == "serve":
        report = measure_server(args, settings)
    elif args.model:
        report = _measure_models(args, settings)
    else:
        report = _measure(args, settings)
        print_line(format_report(report))
    if args.json:
        from mask_rcnn.evaluation.coco_results import write_json

        write_json(args.json, report)
        print_line(f"\nAll numbers: {args.json}")


def _measure_prediction(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Measures an evaluation, prints the table, and returns the report."""
    from mask_rcnn.benchmark.prediction import (
        format_prediction_speed,
        prediction_speed,
        predictor_of_random_weights,
    )
    from mask_rcnn.data.readers.coco import read_coco
    from mask_rcnn.evaluation.coco_evaluation import content_of_dataset
    from mask_rcnn.prediction.predict import Predictor

    dataset = read_coco(args.annotations, args.images)
    if args.weights:
        predictor = Predictor.load(args.weights, args.precision)
    else:
        config = load_config(args.config or DEFAULT_CONFIG, args.set)
        predictor = predictor_of_random_weights(config, dataset, args.precision)
    content = content_of_dataset(dataset, args.annotations)
    report = prediction_speed(
        predictor, dataset, content, batch_size=settings.batch_size, repeats=settings.repeats
    )
    print_line(format_prediction_speed(report))
    return report


def _measure_data(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Measures training batches, prints the table, and returns the report."""
    from mask_rcnn.benchmark.data import benchmark_data, format_data_report
    from mask_rcnn.data.readers.coco import read_coco

    config = load_config(args.config or DEFAULT_CONFIG, args.set)
    dataset = read_coco(args.annotations, args.images)
    report = benchmark_data(dataset, config, batch_size=settings.batch_size, repeats=settings.repeats)
    print_line(format_data_report(report))
    return report


def _measure_models(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Measures `--weights` and each `--model`, and returns the report.

    The table is printed twice with `--annotations`: before and after the AP is computed.
    """
    from mask_rcnn.benchmark.side_by_side import average_precision, format_side_by_side, side_by_side
    from mask_rcnn.benchmark.synthetic_batch import make_synthetic_batch
    from mask_rcnn.data.image_io.images import read_image
    from mask_rcnn.data.readers.coco import read_coco
    from mask_rcnn.model_zoo.pretrained import weights_file

    paths = [weights_file(args.weights)] if args.weights else []
    paths += args.model
    dataset = read_coco(args.annotations, args.images) if args.annotations else None
    if dataset:
        images = {image.path.name: read_image(image.path) for image in dataset.images[:MAX_IMAGES]}
    else:
        images = {"synthetic": make_synthetic_batch(settings, num_classes=1).images[0]}
    report = side_by_side(paths, images, settings)
    print_line(format_side_by_side(report))
    if dataset:
        for path in paths:
            report["models"][str(path)]["AP"] = average_precision(path, dataset, args.annotations)
        print_line(f"\n{format_side_by_side(report)}")
    return report


def _measure(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Measures a model, compared with torchvision's if `--against` is given, and returns the report."""
    import tensorflow as tf

    from mask_rcnn.benchmark.run import benchmark, benchmark_against_torchvision
    from mask_rcnn.model_zoo.pretrained import checkpoint_file, weights_file
    from mask_rcnn.weights import read_header

    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    if args.against:
        if tf.config.list_physical_devices("GPU"):
            raise ValueError(
                "--against measures torchvision on the CPU, so TensorFlow must run on the CPU too. "
                "Received: a GPU. Hide it with the environment variable CUDA_VISIBLE_DEVICES=-1."
            )
        state_dict = args.weights and checkpoint_file(args.weights)
        return benchmark_against_torchvision(args.against_python, settings, state_dict)
    if args.weights:
        weights = weights_file(args.weights)
        return benchmark(read_header(weights)[0], settings, weights)
    return benchmark(load_config(args.config or DEFAULT_CONFIG, args.set), settings)
