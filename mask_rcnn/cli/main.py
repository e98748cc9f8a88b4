"""Entry point of the command line: parses it, runs the command, and prints one message for an error."""

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import IO

import absl.logging
from absl import app, flags
from absl.flags import argparse_flags

from mask_rcnn import __version__
from mask_rcnn.cli import (
    ablate,
    benchmark,
    config,
    data,
    detect,
    doctor,
    evaluate,
    export,
    models,
    serve,
    train,
)
from mask_rcnn.cli.errors import BROKEN_PIPE, EXIT_CODES, INTERRUPTED, describe_error
from mask_rcnn.cli.options import import_user_code
from mask_rcnn.cli.signals import exits_on_signals
from mask_rcnn.system.terminal import print_line, printable

COMMANDS = (train, evaluate, detect, export, serve, models, data, config, benchmark, ablate, doctor)

DESCRIPTION = "Mask R-CNN: trains on any COCO json, evaluates, and detects objects in images and videos."
EPILOG = f"""\
a first run, which needs no data:
  mask-rcnn train --config shapes --run runs/shapes

your own data:
  mask-rcnn data convert labelme_folder instances.json
  mask-rcnn data check --annotations instances.json --images photos
  mask-rcnn train --train-annotations instances.json --train-images photos --run runs/mine
  mask-rcnn detect more_photos --weights runs/mine/final.weights.h5

{EXIT_CODES}
`-v 1` prints the traceback of an error. `mask-rcnn COMMAND --help` lists the options of a command.
"""


def main(argv: list[str] | None = None) -> None:
    """Runs `mask-rcnn`, and exits.

    Args:
        argv: List of command line arguments, starting with the program name. Defaults to None, `sys.argv`.
    """
    app.run(_run, argv=argv, flags_parser=_parse)


class _Parser(argparse_flags.ArgumentParser):
    """Escapes control characters in its messages, because an argument may be any file name."""

    def _print_message(self, message: str, file: IO[str] | None = None) -> None:
        super()._print_message(printable(message), file)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="mask-rcnn",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mask-rcnn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser.parse_args(argv[1:])


class _LogFormatter(logging.Formatter):
    """Formats a log record like other messages of the command. Escapes control characters as `_Parser`."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(f"mask-rcnn: {record.levelname.lower()}: {record.getMessage()}")


def _run(args: argparse.Namespace) -> int:
    """Runs the command, and returns its exit code."""
    absl.logging.get_absl_handler().setFormatter(_LogFormatter())
    try:
        with exits_on_signals():
            import_user_code(args.imports)
            status = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # such as `mask-rcnn config list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print_line("mask-rcnn: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if flags.FLAGS.verbosity > 0:
            print_line(traceback.format_exc(), file=sys.stderr)
        message, exit_code = describe_error(error)
        print_line(f"mask-rcnn: error: {message}", file=sys.stderr)
        return exit_code
    return status or 0
