"""`--ray`: runs a command in processes of a Ray cluster."""

import argparse
from collections.abc import Iterable

from absl import flags

from mask_rcnn.cli.options import import_user_code

RAY_RESOURCES = {"CPU": "num_cpus", "GPU": "num_gpus"}


def add_ray(parser: argparse.ArgumentParser, summary: str) -> None:
    """Adds `--ray`. Its value is None, or the keyword arguments for the resources of a Ray process.

    Args:
        parser: Parser of the command.
        summary: Help text of the option.
    """
    parser.add_argument("--ray", metavar="CPU=N,GPU=N", type=_resources, help=summary)


def import_in_worker(names: Iterable[str]) -> None:
    """Imports the code of `--import` in a Ray process, which has not parsed a command line."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    import_user_code(names)


def _resources(text: str) -> dict[str, int]:
    """Parses the value of `--ray`. argparse adds the name of the option to errors."""
    resources: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name not in RAY_RESOURCES or not number.isdecimal():
            raise argparse.ArgumentTypeError(
                f"expected CPU=N, GPU=N or both, as in CPU=8,GPU=1, not {text!r}"
            )
        resources[RAY_RESOURCES[name]] = int(number)
    if not any(resources.values()):
        raise argparse.ArgumentTypeError(
            f"a process needs at least one CPU or GPU, as in CPU=1 or GPU=1, not {text!r}"
        )
    return resources
