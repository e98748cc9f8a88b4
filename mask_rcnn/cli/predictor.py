"""Options that select the model and how it predicts: `--weights`, `--model`, `--tta`, `--tile` and others."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from mask_rcnn.cli.options import WEIGHTS_HELP, WEIGHTS_METAVAR, add_precision, local_path
from mask_rcnn.cli.tiling import add_tiles, tiling_of
from mask_rcnn.config_io import override
from mask_rcnn.system.paths import as_path

if TYPE_CHECKING:
    from mask_rcnn.export.exported import ExportedPredictor
    from mask_rcnn.prediction.image_predictor import ImagePredictor
    from mask_rcnn.prediction.predict import Predictor
    from mask_rcnn.prediction.tiled_predictor import TiledPredictor

MODEL_HELP = "a SavedModel folder, .tflite or .onnx file of `mask-rcnn export`"


def add_predictor(
    parser: argparse.ArgumentParser, *alternatives: Callable[[argparse._MutuallyExclusiveGroup], None]
) -> None:
    """Adds `--weights`, `--model`, `--precision` and more; `load_predictor` reads them.

    Args:
        parser: Parser of the command.
        alternatives: Functions that add further options to the group of `--weights` and `--model`, of which
            the user gives one.
    """
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--weights", metavar=WEIGHTS_METAVAR, type=as_path, help=f"{WEIGHTS_HELP} (default: none)"
    )
    group.add_argument("--model", metavar="PATH", type=local_path, help=f"{MODEL_HELP} (default: none)")
    for add_alternative in alternatives:
        add_alternative(group)
    add_precision(parser)
    parser.add_argument(
        "--bit-depth",
        metavar="BITS",
        type=int,
        help="number of used bits of 16-bit images, 8 to 16 (default: as in training)",
    )
    parser.add_argument(
        "--batch-size",
        metavar="N",
        type=int,
        help="number of images per batch; only images of equal padded size are batched (default: 1 on a CPU, "
        "4 per GPU)",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=int,
        help="number of threads that read images and post-process detections while the model runs (default: "
        "one per core, at most 8)",
    )


def load_predictor(args: argparse.Namespace) -> Predictor | ExportedPredictor:
    """Returns the `Predictor` of `--weights`, or the `ExportedPredictor` of `--model`."""
    predictor = _load_weights(args) if args.weights else _load_exported(args)
    if args.bit_depth is not None:
        predictor.config = override(predictor.config, "input.bit_depth", args.bit_depth)
    return predictor


def _load_weights(args: argparse.Namespace) -> Predictor:
    from mask_rcnn.prediction.predict import Predictor

    return Predictor.load(args.weights, args.precision)


def _load_exported(args: argparse.Namespace) -> ExportedPredictor:
    if args.precision != "float32":
        raise ValueError(
            "An exported model computes in the precision that it was exported with. "
            f"Received: --precision {args.precision}. Leave it out, or export the weights again."
        )
    from mask_rcnn.export.exported import ExportedPredictor

    return ExportedPredictor(args.model)


def add_tta(parser: argparse.ArgumentParser) -> None:
    """Adds `--tta` and its options, test-time augmentation; `augmented` reads them."""
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation: detect each image in several sizes and mirrored, and merge the "
        "detections; higher AP, but several times slower",
    )
    parser.add_argument(
        "--tta-scales",
        metavar="0.75,1,1.25",
        type=_scales,
        help="sizes of the image as factors of the model's size; an exported model supports only 1 (default: "
        "1)",
    )
    parser.add_argument(
        "--tta-flip",
        action=argparse.BooleanOptionalAction,
        help="also detect in the mirrored image (default: yes)",
    )


def _scales(text: str) -> tuple[float, ...]:
    """Returns the tuple of floats of a text such as "0.75,1,1.25"."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected numbers separated by commas, as in 0.75,1,1.25. Received: {text!r}"
        ) from error


def augmented(predictor: Predictor | ExportedPredictor, args: argparse.Namespace) -> ImagePredictor:
    """Returns the predictor unchanged, or as an `AugmentedPredictor` with `--tta`."""
    if not args.tta:
        if args.tta_scales is not None or args.tta_flip is not None:
            raise ValueError("--tta-scales and --tta-flip need --tta. Received: no --tta. Add --tta.")
        return predictor
    from mask_rcnn.prediction.augmented_predictor import AugmentedPredictor

    return AugmentedPredictor(predictor, args.tta_scales or (1.0,), args.tta_flip is not False)


def add_tiling(parser: argparse.ArgumentParser) -> None:
    """Adds `--tile` and its options; `tiled` reads them."""
    add_tiles(
        parser,
        "detect in overlapping square tiles with sides of PIXELS, for large images and small objects",
    )
    parser.add_argument(
        "--tile-whole-image",
        action=argparse.BooleanOptionalAction,
        help="also detect in the whole image, for objects that are larger than a tile (default: yes)",
    )


def tiled(predictor: ImagePredictor, args: argparse.Namespace) -> ImagePredictor | TiledPredictor:
    """Returns the predictor unchanged, or as a `TiledPredictor` with `--tile`."""
    tiling = tiling_of(args)
    if tiling is None:
        if args.tile_whole_image is not None:
            raise ValueError("--tile-whole-image needs --tile. Received: no --tile. Add --tile 1024.")
        return predictor
    from mask_rcnn.prediction.tiled_predictor import TiledPredictor

    return TiledPredictor(predictor, tiling, args.tile_whole_image is not False)
