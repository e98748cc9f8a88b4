"""Options that select the model and how it predicts: `--weights`, `--model`, `--tta`, `--tile` and others."""

import argparse

from mask_rcnn.cli.options import WEIGHTS_HELP, WEIGHTS_METAVAR, add_precision, local_path
from mask_rcnn.cli.tiling import add_tiles, tiling_of
from mask_rcnn.config_io import override
from mask_rcnn.system.paths import as_path

MODEL_HELP = "a SavedModel folder, .tflite or .onnx file of `mask-rcnn export`"


def add_predictor(parser, *others):
    """Adds `--weights`, `--model`, `--precision` and more; `load_predictor` reads them.

    Args:
        parser: Parser of the command.
        others: Functions of the option group that add alternatives to `--weights` and `--model`.
    """
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--weights", metavar=WEIGHTS_METAVAR, type=as_path, help=f"{WEIGHTS_HELP} (default: none)"
    )
    what.add_argument("--model", metavar="PATH", type=local_path, help=f"{MODEL_HELP} (default: none)")
    for add in others:
        add(what)
    add_precision(parser)
    parser.add_argument(
        "--bit-depth",
        metavar="BITS",
        type=int,
        help="bits that the samples of 16-bit images use, 8 to 16 (default: as the model was trained)",
    )
    parser.add_argument(
        "--batch-size",
        metavar="N",
        type=int,
        help="images that the model sees at once, if their padded sizes are equal (default: 1 on a CPU, 4 on "
        "each GPU)",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=int,
        help="threads that read images and finish detections beside the model (default: one for each core, "
        "at most 8)",
    )


def load_predictor(args):
    """Returns the `Predictor` of `--weights`, or the `ExportedPredictor` of `--model`."""
    predictor = _load_weights(args) if args.weights else _load_exported(args)
    if args.bit_depth is not None:
        predictor.config = override(predictor.config, "input.bit_depth", args.bit_depth)
    return predictor


def _load_weights(args):
    from mask_rcnn.prediction.predict import Predictor

    return Predictor.load(args.weights, args.precision)


def _load_exported(args):
    if args.precision != "float32":
        raise ValueError(
            "An exported model computes in the precision that it was exported with. "
            f"Received: --precision {args.precision}. Leave it out, or export the weights again."
        )
    from mask_rcnn.export.exported import ExportedPredictor

    return ExportedPredictor(args.model)


def add_tta(parser):
    """Adds `--tta` and its options, test-time augmentation; `augmented` reads them."""
    parser.add_argument(
        "--tta",
        action="store_true",
        help="detect each image in several sizes and mirrored, and merge what is found: higher AP in several "
        "times the time",
    )
    parser.add_argument(
        "--tta-scales",
        metavar="0.75,1,1.25",
        type=_scales,
        help="sizes, as multiples of the model's; an exported model has one size (default: 1)",
    )
    parser.add_argument(
        "--tta-flip", action=argparse.BooleanOptionalAction, help="detect mirrored, too (default: yes)"
    )


def _scales(text):
    """Returns the tuple of floats of a text such as "0.75,1,1.25"."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected numbers with commas between, as in 0.75,1,1.25. Received: {text!r}"
        ) from error


def augmented(predictor, args):
    """Returns the predictor unchanged, or as an `AugmentedPredictor` with `--tta`."""
    if not args.tta:
        if args.tta_scales is not None or args.tta_flip is not None:
            raise ValueError("--tta-scales and --tta-flip need --tta. Received: no --tta. Add --tta.")
        return predictor
    from mask_rcnn.prediction.augmented_predictor import AugmentedPredictor

    return AugmentedPredictor(predictor, args.tta_scales or (1.0,), args.tta_flip is not False)


def add_tiling(parser):
    """Adds `--tile` and its options; `tiled` reads them."""
    add_tiles(parser, "detect in overlapping square tiles of this side, for large images and small objects")
    parser.add_argument(
        "--tile-whole-image",
        action=argparse.BooleanOptionalAction,
        help="detect in the whole image besides, for objects that no tile shows as a whole (default: yes)",
    )


def tiled(predictor, args):
    """Returns the predictor unchanged, or as a `TiledPredictor` with `--tile`."""
    tiling = tiling_of(args)
    if tiling is None:
        if args.tile_whole_image is not None:
            raise ValueError("--tile-whole-image needs --tile. Received: no --tile. Add --tile 1024.")
        return predictor
    from mask_rcnn.prediction.tiled_predictor import TiledPredictor

    return TiledPredictor(predictor, tiling, args.tile_whole_image is not False)
