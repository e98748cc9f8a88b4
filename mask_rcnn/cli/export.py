"""`mask-rcnn export`: a weights file becomes a model of another runtime, which is run before it is kept."""

from pathlib import Path

from mask_rcnn.cli.inputs import Skipped, find_files, is_image
from mask_rcnn.cli.options import WEIGHTS_HELP, WEIGHTS_METAVAR, add_command
from mask_rcnn.cli.quiet import import_tensorflow, only_warnings
from mask_rcnn.terminal import say

FORMATS = ("saved_model", "tflite", "onnx")
QUANTIZE = ("none", "float16", "dynamic", "int8")
PRECISIONS = ("float32", "bfloat16", "float16")
MAX_IMAGES = 4  # of --images; two models look at each
SHAPES = ((240, 320), (320, 240), (300, 300))  # sizes of the synthetic images without --images


def add_parser(commands):
    parser = add_command(commands, "export", run, "write a model for another runtime, and check it there")
    parser.add_argument("weights", metavar=WEIGHTS_METAVAR, help=WEIGHTS_HELP)
    parser.add_argument("--format", choices=FORMATS, required=True, help="what is to run it")
    parser.add_argument(
        "--out",
        metavar="PATH",
        type=Path,
        required=True,
        help="file or SavedModel folder to write; an older export is replaced if the new one is good",
    )
    parser.add_argument(
        "--images",
        metavar="PATH",
        nargs="+",
        type=Path,
        help=f"images or folders with objects that the model knows; it is compared with the Keras model on "
        f"the first {MAX_IMAGES} (default: synthetic shapes)",
    )
    parser.add_argument(
        "--size",
        metavar=("H", "W"),
        nargs=2,
        type=int,
        help="tflite, onnx: the frame that pictures are fitted into (default: a landscape picture's)",
    )
    parser.add_argument(
        "--quantize",
        choices=QUANTIZE,
        help="tflite: float16 weights; int8 weights (dynamic); int8 convolutions, whose ranges are seen on "
        "--images (default: none)",
    )
    parser.add_argument("--proposals", type=int, help="tflite, onnx: RoIs that the second stage looks at")
    parser.add_argument(
        "--detections", type=int, help="tflite, onnx: the most that come out; fewer are faster"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="saved_model: what it computes in (default: float32)"
    )


def run(args):
    skipped = Skipped()
    files = find_files(args.images, args.out, skipped) if args.images else {}
    for line in skipped.lines():
        say(line)
    import_tensorflow()

    from mask_rcnn.export.plan import Options, export_model
    from mask_rcnn.export.verify import format_verification

    images = _read_images(files) if files else _draw_shapes()
    options = Options(
        precision=args.precision,
        size=args.size and tuple(args.size),
        quantize=args.quantize,
        calibration=_image_files(files) if args.quantize == "int8" else None,
        proposals=args.proposals,
        detections=args.detections,
    )
    with only_warnings():
        report = export_model(args.weights, args.out, args.format, images, options)
    say(format_verification(report))
    say(f"Model: {args.out}\nReport: {args.out}.report.json")


def _read_images(files):
    from mask_rcnn.data.images import read_image

    return {file.name: read_image(file) for file in _image_files(files)[:MAX_IMAGES]}


def _image_files(files):
    return tuple(file for file in files if is_image(file))


def _draw_shapes():
    import numpy as np

    from mask_rcnn.data.shapes import draw_scene

    scenes = [draw_scene(np.random.default_rng(seed), size)[0] for seed, size in enumerate(SHAPES)]
    return {f"shapes {number}": scene for number, scene in enumerate(scenes, start=1)}
