"""`mask-rcnn benchmark --mode serve`: measures a server under load."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mask_rcnn.cli.options import assign
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    from mask_rcnn.benchmark.synthetic_batch import Settings
    from mask_rcnn.export.exported import ExportedPredictor
    from mask_rcnn.prediction.predict import Predictor

CLIENTS, REQUESTS = (1, 8, 64), 200


def add_load(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `--mode serve`."""
    parser.add_argument(
        "--clients",
        metavar="N",
        nargs="+",
        type=int,
        default=CLIENTS,
        help="with --mode serve: numbers of clients that send requests at the same time; each number is one "
        "measurement (default: 1 8 64)",
    )
    parser.add_argument(
        "--requests",
        metavar="N",
        type=int,
        default=REQUESTS,
        help="with --mode serve: number of requests per measurement",
    )


def check_load(args: argparse.Namespace) -> None:
    """Raises a ValueError unless there are one model and positive numbers of clients and requests."""
    num_models = len(args.model) + (args.weights is not None)
    options = {"--annotations": args.annotations, "--against": args.against, "--config": args.config}
    if num_models != 1 or any(options.values()) or (args.model and args.set):
        raise ValueError(
            "--mode serve needs one model: --weights, optionally with --set, or --model. "
            f"Received: --weights {args.weights}, --model {args.model}, --set {args.set}, {options}. "
            "Give one model, and leave out the other options."
        )
    if min(*args.clients, args.requests) < 1:
        raise ValueError(
            "--clients and --requests must be 1 or more. "
            f"Received: --clients {args.clients}, --requests {args.requests}. Raise them."
        )


def measure_server(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Measures a server, prints the table, and returns the report.

    The images are those in the folder --images, or one synthetic image of --size.
    """
    from mask_rcnn.benchmark.processor import describe_processor
    from mask_rcnn.benchmark.serving import format_serving_speed, serving_speed
    from mask_rcnn.benchmark.table import processor_line

    with tempfile.TemporaryDirectory(prefix="mask_rcnn_benchmark_") as folder:
        predictor, path = _model(args, Path(folder))
        files = _images(args, settings, Path(folder))
        options = () if args.model else ("--precision", args.precision)
        report = serving_speed(
            predictor, path, files, clients=args.clients, requests=args.requests, options=options
        )
    report |= {"processor": describe_processor(), "settings": dataclasses.asdict(settings)}
    print_line(processor_line(report["processor"]))
    print_line(format_serving_speed(report))
    return report


def _model(args: argparse.Namespace, folder: Path) -> tuple[Predictor | ExportedPredictor, Path]:
    """Returns the predictor and the path for the server. With `--set` it is a changed copy of the weights."""
    if args.model:
        from mask_rcnn.export.exported import ExportedPredictor

        return ExportedPredictor(args.model[0]), args.model[0]
    from mask_rcnn.model_zoo.pretrained import weights_file
    from mask_rcnn.prediction.predict import Predictor
    from mask_rcnn.weights import save_weights

    path = weights_file(args.weights)
    predictor = Predictor.load(path, args.precision)
    if args.set:
        config = assign(predictor.config, args.set)
        path = folder / "changed.weights.h5"
        save_weights(path, predictor.parts, config, categories=predictor.categories)
        predictor = Predictor.load(path, args.precision)
    return predictor, path


def _images(args: argparse.Namespace, settings: Settings, folder: Path) -> list[Path]:
    """Returns the paths of the image files that clients send."""
    from mask_rcnn.cli.inputs import Skipped, find_files, is_image

    if args.images:
        files = [file for file in find_files([args.images], folder, Skipped()) if is_image(file)]
        if not files:
            raise ValueError(
                f"--images must have images. Received: {args.images}, which has none. Check the path."
            )
        return files
    from PIL import Image

    from mask_rcnn.benchmark.synthetic_batch import make_synthetic_batch

    file = folder / "image.jpg"
    Image.fromarray(make_synthetic_batch(settings, num_classes=1).images[0]).save(file, quality=90)
    return [file]
