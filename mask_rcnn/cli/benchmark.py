"""`mask-rcnn benchmark`: measures time and memory of a model, optionally compared with torchvision's."""

import os

from mask_rcnn.cli.benchmark_server import add_load, check_load, measure_server
from mask_rcnn.cli.options import (
    WEIGHTS_HELP,
    WEIGHTS_METAVAR,
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


def add_parser(commands):
    parser = add_command(commands, "benchmark", run, "measure seconds and memory of inference and training")
    parser.add_argument(
        "--config",
        metavar="NAME_OR_YAML",
        help=f"a recipe of `mask-rcnn config list`, or a YAML file, with random weights "
        f"(default: the weights' own; without any, {DEFAULT_CONFIG}, beside torchvision its model)",
    )
    parser.add_argument(
        "--weights",
        metavar=WEIGHTS_METAVAR,
        type=as_path,
        help=f"{WEIGHTS_HELP}; beside torchvision, its maskrcnn_resnet50_fpn: that name, or a state dict, "
        ".pth or .npz (default: random weights)",
    )
    add_set(parser)
    parser.add_argument(
        "--size", metavar=("H", "W"), nargs=2, type=int, default=(800, 1216), help="of the images, pixels"
    )
    parser.add_argument("--batch", metavar="N", type=int, default=1, help="images at once")
    add_precision(parser)
    parser.add_argument(
        "--mode",
        choices=tuple(MODES),
        default="both",
        help="what to measure; predict is an evaluation of --images beside the bare model, data are training "
        "batches of --images beside a bare decode and resize, serve are requests to a server of its own, "
        "beside the bare model",
    )
    parser.add_argument(
        "--repeats", metavar="N", type=int, default=5, help="runs, of which the median counts"
    )
    parser.add_argument("--warmup", metavar="N", type=int, default=2, help="runs before, which do not count")
    parser.add_argument("--threads", metavar="N", type=int, help="of each side (default: all cores)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of images and random weights")
    parser.add_argument(
        "--against",
        choices=("torchvision",),
        help="measure its model in turns with ours, same weights, same images (default: ours alone)",
    )
    parser.add_argument(
        "--against-python",
        metavar="PATH",
        type=local_path,
        help="Python of an environment that has torch and torchvision (default: none; needed with --against)",
    )
    _add_side_by_side(parser)
    add_load(parser)
    parser.add_argument(
        "--json", metavar="FILE", type=as_path, help="write all numbers here too (default: only the table)"
    )


def _add_side_by_side(parser):
    parser.add_argument(
        "--model",
        metavar="PATH",
        type=local_path,
        action="append",
        default=[],
        help=f"{MODEL_HELP}; repeat for more: they are measured in turns, with --weights beside them "
        "(default: none)",
    )
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        type=local_path,
        help="with --model: COCO instances, for the AP of each (default: no AP). With --mode predict: what "
        "is evaluated",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=local_path,
        help=f"with --annotations: folder of the images, the first {MAX_IMAGES} of which are timed "
        "(default: synthetic ones of --size)",
    )


def run(args):
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
        threads=os.cpu_count() if args.threads is None else args.threads,
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


def check_options(args):
    """Raises a ValueError if the options are incompatible."""
    if args.mode == "serve":
        check_load(args)
        return
    if bool(args.against) != bool(args.against_python):
        raise ValueError(
            "--against and --against-python go together. "
            f"Received: --against {args.against}, --against-python {args.against_python}. Give both or none."
        )
    predict, data = args.mode == "predict", args.mode == "data"
    takes_images = bool(args.model or predict or data)
    if bool(args.annotations) != bool(args.images) or bool(args.annotations) > takes_images:
        raise ValueError(
            "--annotations and --images go together, and with --model or --mode predict or data. Received: "
            f"--annotations {args.annotations}, --images {args.images}, --model {args.model}. Add the others."
        )
    if predict and (not args.annotations or args.model or args.against):
        raise ValueError(
            "--mode predict needs --annotations and --images, and measures --weights or --config alone. "
            f"Received: --annotations {args.annotations}, --model {args.model}, --against {args.against}."
        )
    if data and (not args.annotations or args.model or args.against or args.weights):
        raise ValueError(
            "--mode data needs --annotations and --images, and measures the input of --config alone. "
            f"Received: --annotations {args.annotations}, --model {args.model}, --against {args.against}, "
            f"--weights {args.weights}. Leave out what is not measured."
        )
    others = {"--against": args.against, "--config": args.config, "--set": args.set}
    if args.model and (any(others.values()) or args.batch != 1 or args.precision != "float32"):
        raise ValueError(
            "--model is measured as it was exported, one image at a time, beside --weights in float32. "
            f"Received: {others}, --batch {args.batch}, --precision {args.precision}. Leave them out."
        )
    fixed = args.config or args.set
    if fixed and (args.against or args.weights):
        raise ValueError(
            "With --weights the config is the file's, and with --against that of torchvision's model. "
            f"Received: --config {args.config}, --set {args.set}. Leave them out."
        )


def _measure_prediction(args, settings):
    """Measures an evaluation, prints the table, and returns the report."""
    from mask_rcnn.benchmark.prediction import (
        format_prediction_speed,
        prediction_speed,
        predictor_of_random_weights,
    )
    from mask_rcnn.data.coco import read_coco
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


def _measure_data(args, settings):
    """Measures training batches, prints the table, and returns the report."""
    from mask_rcnn.benchmark.data import benchmark_data, format_data_report
    from mask_rcnn.data.coco import read_coco

    config = load_config(args.config or DEFAULT_CONFIG, args.set)
    dataset = read_coco(args.annotations, args.images)
    report = benchmark_data(dataset, config, batch_size=settings.batch_size, repeats=settings.repeats)
    print_line(format_data_report(report))
    return report


def _measure_models(args, settings):
    """Measures `--weights` and each `--model`, and returns the report.

    The table is printed twice with `--annotations`: before and after the AP is computed.
    """
    from mask_rcnn.benchmark.side_by_side import average_precision, format_side_by_side, side_by_side
    from mask_rcnn.benchmark.synthetic_batch import make_synthetic_batch
    from mask_rcnn.data.coco import read_coco
    from mask_rcnn.data.images import read_image
    from mask_rcnn.model_zoo.pretrained import weights_file

    paths = [weights_file(args.weights)] if args.weights else []
    paths += args.model
    if args.annotations:
        dataset = read_coco(args.annotations, args.images)
        images = {image.path.name: read_image(image.path) for image in dataset.images[:MAX_IMAGES]}
    else:
        images = {"synthetic": make_synthetic_batch(settings, num_classes=1).images[0]}
    report = side_by_side(paths, images, settings)
    print_line(format_side_by_side(report))
    if args.annotations:
        for path in paths:
            report["models"][str(path)]["AP"] = average_precision(path, dataset, args.annotations)
        print_line(f"\n{format_side_by_side(report)}")
    return report


def _measure(args, settings):
    import tensorflow as tf

    from mask_rcnn.benchmark.run import benchmark, benchmark_against_torchvision
    from mask_rcnn.model_zoo.pretrained import checkpoint_file, weights_file
    from mask_rcnn.weights import read_header

    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    if args.against:
        if tf.config.list_physical_devices("GPU"):
            raise ValueError(
                "torchvision is measured on the CPU, and so must we be. Received: a GPU. "
                "Hide it: set the environment variable CUDA_VISIBLE_DEVICES to nothing."
            )
        state_dict = args.weights and checkpoint_file(args.weights)
        return benchmark_against_torchvision(args.against_python, settings, state_dict)
    if args.weights:
        weights = weights_file(args.weights)
        return benchmark(read_header(weights)[0], settings, weights)
    return benchmark(load_config(args.config or DEFAULT_CONFIG, args.set), settings)
