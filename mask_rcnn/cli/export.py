"""`mask-rcnn export`: converts a weights file for another runtime, and checks the result there."""

from mask_rcnn.cli.inputs import Skipped, find_files, is_image
from mask_rcnn.cli.options import WEIGHTS_HELP, WEIGHTS_METAVAR, add_command, local_path
from mask_rcnn.cli.quiet import import_tensorflow, only_warnings
from mask_rcnn.export.formats import FORMATS, PRECISIONS, QUANTIZE_METHODS, check_options
from mask_rcnn.system.terminal import print_line

CHECK_IMAGES = 50  # each takes the time of two or three models
CALIBRATION_IMAGES = 100  # more images hardly change the quantization ranges


def add_parser(commands):
    parser = add_command(commands, "export", run, "write a model for another runtime, and check it there")
    parser.add_argument("weights", metavar=WEIGHTS_METAVAR, help=WEIGHTS_HELP)
    parser.add_argument("--format", choices=FORMATS, required=True, help="what is to run it")
    parser.add_argument(
        "--out",
        metavar="PATH",
        type=local_path,
        required=True,
        help="file, or folder of a SavedModel or a page, to write; an older export is replaced if the new "
        "one is good",
    )
    parser.add_argument(
        "--images",
        metavar="PATH",
        nargs="+",
        type=local_path,
        help="images or folders with objects that the model knows; the export and the Keras model are "
        "compared there (default: synthetic shapes)",
    )
    parser.add_argument(
        "--check-images",
        metavar="N",
        type=int,
        default=CHECK_IMAGES,
        help="compare on at most so many images, evenly spread over --images",
    )
    parser.add_argument(
        "--size",
        metavar=("H", "W"),
        nargs=2,
        type=int,
        help="tflite, onnx, web: the frame that pictures are fitted into (default: a landscape picture's)",
    )
    parser.add_argument(
        "--quantize",
        choices=QUANTIZE_METHODS,
        help="tflite, web: float16 weights; int8 weights (dynamic); int8 weights and activations, "
        f"calibrated on up to {CALIBRATION_IMAGES} of --images, about 50 typical ones (default: none)",
    )
    parser.add_argument(
        "--proposals", type=int, help="tflite, onnx, web: RoIs that the second stage looks at"
    )
    parser.add_argument(
        "--detections", type=int, help="tflite, onnx, web: the most that come out; fewer are faster"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="saved_model: what it computes in (default: float32)"
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        help="saved_model: refuse image files of more pixels (default: 50 million)",
    )
    parser.add_argument(
        "--litert",
        metavar="DIR",
        type=local_path,
        help="web: folder with node_modules that has @litertjs/core (default: node_modules here, or the npm "
        "registry)",
    )


def run(args):
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


def _find_images(args):
    """Returns the image files of --images, sorted by path, and prints which files were skipped."""
    if args.check_images < 1:
        raise ValueError(f"--check-images must be 1 or more. Received: {args.check_images}. Leave it out.")
    if not args.images:
        return []
    skipped = Skipped()
    files = find_files(args.images, args.out, skipped)
    images = sorted(file for file in files if is_image(file))
    for file in set(files) - set(images):
        skipped.add("files that are no images", file)
    for line in skipped.lines():
        print_line(line)
    if not images:
        shown = ", ".join(str(path) for path in args.images)
        raise ValueError(f"--images must hold images. Received: {shown}, without any. Check the paths.")
    return images


def split_images(files, count):
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
    others = [file for file in files if file not in set(compared)]
    return compared, tuple(_spread(others if len(others) >= CHECK_IMAGES else files, CALIBRATION_IMAGES))


def _spread(files, count):
    """Returns at most `count` files, evenly spaced."""
    count = min(count, len(files))
    return [files[index * len(files) // count] for index in range(count)]


def _read_images(weights, files, count):
    from mask_rcnn.export.checks.samples import comparison_images
    from mask_rcnn.model_zoo.pretrained import weights_file
    from mask_rcnn.weights import read_header

    config, _ = read_header(weights_file(weights))
    return comparison_images(files, config.input, count)
