"""`mask-rcnn export`: converts a weights file for another runtime, and checks the result there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mask_rcnn.cli.inputs import Skipped, find_files, is_image
from mask_rcnn.cli.options import WEIGHTS_HELP, WEIGHTS_METAVAR, Subparsers, add_command, local_path
from mask_rcnn.cli.quiet import import_tensorflow, only_warnings
from mask_rcnn.export.formats import FORMATS, PRECISIONS, QUANTIZE_METHODS, check_options
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    import numpy as np

CHECK_IMAGES = 50  # for each image, two or three models run
CALIBRATION_IMAGES = 100  # more images hardly change the quantization ranges


def add_parser(commands: Subparsers) -> None:
    """Adds the command `export` with its options."""
    parser = add_command(
        commands, "export", run, summary="export a model for another runtime, and check the exported model"
    )
    parser.add_argument("weights", metavar=WEIGHTS_METAVAR, help=WEIGHTS_HELP)
    parser.add_argument("--format", choices=FORMATS, required=True, help="format of the exported model")
    parser.add_argument(
        "--out",
        metavar="PATH",
        type=local_path,
        required=True,
        help="file to write, or folder for a SavedModel or a web page; an earlier export is replaced after "
        "the new one has passed its check",
    )
    parser.add_argument(
        "--images",
        metavar="PATH",
        nargs="+",
        type=local_path,
        help="images or folders with objects that the model detects, to compare the exported model with the "
        "Keras model (default: synthetic shapes)",
    )
    parser.add_argument(
        "--check-images",
        metavar="N",
        type=int,
        default=CHECK_IMAGES,
        help="maximum number of images for the comparison, evenly spread over --images",
    )
    _add_format_options(parser)


def _add_format_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that only some formats support."""
    parser.add_argument(
        "--size",
        metavar=("H", "W"),
        nargs=2,
        type=int,
        help="tflite, onnx, web: input size of the model, into which images are fitted (default: the size "
        "for landscape images)",
    )
    parser.add_argument(
        "--quantize",
        choices=QUANTIZE_METHODS,
        help="tflite, web: float16: float16 weights; dynamic: int8 weights; int8: int8 weights and "
        f"activations, which needs about 50 typical --images for calibration, at most {CALIBRATION_IMAGES} "
        "are used (default: none)",
    )
    parser.add_argument(
        "--proposals",
        metavar="N",
        type=int,
        help="tflite, onnx, web: number of RoIs of the second stage (default: the config's rpn.post_nms)",
    )
    parser.add_argument(
        "--detections",
        metavar="N",
        type=int,
        help="tflite, onnx, web: maximum number of detections; fewer are faster (default: the config's "
        "box_head.max_detections)",
    )
    _add_runtime_options(parser)


def _add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that only SavedModels or web pages support."""
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="saved_model: dtype policy of the model (default: float32)"
    )
    parser.add_argument(
        "--max-pixels",
        metavar="PIXELS",
        type=int,
        help="saved_model: reject image files with more pixels (default: 50 million)",
    )
    parser.add_argument(
        "--litert",
        metavar="DIR",
        type=local_path,
        help="web: folder whose node_modules contains @litertjs/core (default: the working directory, or "
        "else a download from the npm registry)",
    )


def run(args: argparse.Namespace) -> None:
    """Exports a model, compares it with the Keras model, and prints the comparison."""
    files = _find_images(args)
    compared, calibration = split_images(files, args.check_images)
    options = {
        "precision": args.precision,
        "max_pixels": args.max_pixels,
        "size": args.size and tuple(args.size),
        "quantize": args.quantize,
        "calibration": calibration if args.quantize == "int8" else None,
        "proposals": args.proposals,
        "detections": args.detections,
        "litert": args.litert,
    }
    check_options(args.format, args.out, options)
    import_tensorflow()

    from mask_rcnn.export.checks.verify import format_verification
    from mask_rcnn.export.export_model import Options, export_model

    images = _read_images(args.weights, compared, args.check_images)
    with only_warnings():
        report = export_model(
            args.weights, args.out, format=args.format, images=images, options=Options(**options)
        )
    print_line(format_verification(report))
    print_line(f"Model: {args.out}\nReport: {args.out}.report.json")


def _find_images(args: argparse.Namespace) -> list[Path]:
    """Returns the image files of --images, sorted by path, and prints which files were skipped."""
    if args.check_images < 1:
        raise ValueError(f"--check-images must be 1 or more. Received: {args.check_images}. Leave it out.")
    if not args.images:
        return []
    skipped = Skipped()
    files = find_files(args.images, args.out, skipped)
    images = sorted(file for file in files if is_image(file))
    for file in set(files) - set(images):
        skipped.add("files that are not images", file)
    for line in skipped.lines():
        print_line(line)
    if not images:
        paths = ", ".join(map(str, args.images))
        raise ValueError(
            f"--images must contain images. Received: {paths}, which contain none. Check the paths."
        )
    return images


def split_images(files: Sequence[Path], count: int) -> tuple[list[Path], tuple[Path, ...]]:
    """Returns the images for the comparison and those for calibration, both spread evenly over all images.

    They are different images if at least CHECK_IMAGES are left for calibration. Otherwise calibration uses
    all.

    Args:
        files: Sorted list of paths.
        count: Largest number of images for the comparison.

    Returns:
        List of paths, and tuple of at most CALIBRATION_IMAGES paths.
    """
    compared = _spread(files, count)
    remaining = [file for file in files if file not in set(compared)]
    return compared, tuple(
        _spread(remaining if len(remaining) >= CHECK_IMAGES else files, CALIBRATION_IMAGES)
    )


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    """Returns at most `count` files, evenly spaced."""
    count = min(count, len(files))
    return [files[index * len(files) // count] for index in range(count)]


def _read_images(weights: str, files: Sequence[Path], count: int) -> dict[str, np.ndarray]:
    """Returns the images of the comparison, `{name: [H, W, C]}`; synthetic ones if there are no files."""
    from mask_rcnn.export.checks.samples import comparison_images
    from mask_rcnn.model_zoo.pretrained import weights_file
    from mask_rcnn.weights import read_header

    config, _ = read_header(weights_file(weights))
    return comparison_images(files, config.input, count)
