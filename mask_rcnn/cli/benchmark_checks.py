"""Checks of the combinations of options of `mask-rcnn benchmark`."""

import argparse

from mask_rcnn.cli.benchmark_server import check_load


def check_options(args: argparse.Namespace) -> None:
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
            "--annotations and --images must be given together, and need --model or --mode predict or data. "
            f"Received: --annotations {args.annotations}, --images {args.images}, --model {args.model}. "
            "Add the missing options."
        )
    if predict and (not args.annotations or args.model or args.against):
        raise ValueError(
            "--mode predict needs --annotations and --images, and supports neither --model nor --against. "
            f"Received: --annotations {args.annotations}, --model {args.model}, --against {args.against}. "
            "Give a model with --weights or --config."
        )
    if data and (not args.annotations or args.model or args.against or args.weights):
        raise ValueError(
            "--mode data needs --annotations and --images, and supports none of --model, --against and "
            f"--weights. Received: --annotations {args.annotations}, --model {args.model}, --against "
            f"{args.against}, --weights {args.weights}. Give a config with --config."
        )
    options = {"--against": args.against, "--config": args.config, "--set": args.set}
    if args.model and (any(options.values()) or args.batch != 1 or args.precision != "float32"):
        raise ValueError(
            "--model supports neither --against, --config, --set, --batch nor --precision: it is measured as "
            "it was exported, one image at a time. "
            f"Received: {options}, --batch {args.batch}, --precision {args.precision}. Leave them out."
        )
    if (args.config or args.set) and (args.against or args.weights):
        raise ValueError(
            "--config and --set cannot be used with --weights or --against, which have their own config. "
            f"Received: --config {args.config}, --set {args.set}. Leave them out."
        )
