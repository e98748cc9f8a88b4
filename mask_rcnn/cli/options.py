"""Options and helper functions that several commands share."""

import argparse
import importlib
import sys
from pathlib import Path

from mask_rcnn import config_io, model_zoo
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.config import PRECISIONS
from mask_rcnn.system import paths

CONFIG_SUFFIXES = (".yaml", ".yml")


class HelpFormatter(argparse.HelpFormatter):
    """Shows the default of each option, unless its help text already has one."""

    def _get_help_string(self, action):
        told = "(default" in action.help or action.required or action.default is argparse.SUPPRESS
        return action.help if told or not action.option_strings else f"{action.help} (default: %(default)s)"


def add_command(commands, name, run, summary):
    """Adds the parser of a command.

    Args:
        commands: Result of `add_subparsers`.
        name: Name of the command.
        run: Function of the parsed arguments.
        summary: Help text.

    Returns:
        The parser, to which the command's options are added.
    """
    parser = commands.add_parser(
        name, help=summary, description=summary, formatter_class=HelpFormatter, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        dest="imports",
        metavar="FILE_OR_MODULE",
        help="Python code that registers backbones, heads, RoI poolers, transforms or formats; "
        "repeat for more (default: none)",
    )
    return parser


def local_path(text):
    """Returns the `Path` of an option that must be a local path."""
    try:
        return paths.local_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def import_user_code(names):
    """Imports the files and modules of `--import`, so that configs can use the parts that they register.

    Args:
        names: List of paths of Python files, or of module names. Modules may be in the working directory.

    Raises:
        ValueError: The code cannot be imported, or a file has the name of another module.
    """
    if names:
        import_tensorflow()
    for name in names:
        is_file = name.endswith(".py")
        folder, module = (Path(name).parent, Path(name).stem) if is_file else (Path(), name)
        sys.path.insert(0, str(folder.absolute()))  # worker processes inherit it
        try:
            found = importlib.import_module(module)
        except Exception as error:
            raise ValueError(
                "`--import` must name Python code that can be imported. "
                f"Received: {name!r}, {type(error).__name__}: {error}. Correct the name or the code."
            ) from error
        if is_file and not Path(name).samefile(found.__file__ or ""):
            raise ValueError(
                "A file of `--import` needs a name that no other module has. "
                f"Received: {name!r}; {module!r} is {found.__file__}. Rename the file."
            )


WEIGHTS_METAVAR = "FILE_OR_NAME"
WEIGHTS_HELP = "a model of `mask-rcnn train`, or a name of `mask-rcnn models list`"


def add_precision(parser):
    """Adds `--precision`, the dtype policy of inference."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="what our model computes in; mixed_bfloat16 is faster on hardware that has it",
    )


def add_set(parser):
    """Adds `--set FIELD=VALUE`, which `load_config` applies."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the config, as in --set train.steps=1000; repeat for more (default: none)",
    )


def load_config(name, assignments):
    """Returns a `Config` with changes.

    Args:
        name: Name of a recipe, or path of a YAML file.
        assignments: List of str such as `train.steps=1000`.
    """
    is_file = name.endswith(CONFIG_SUFFIXES)
    return assign(
        config_io.from_yaml(paths.as_path(name)) if is_file else model_zoo.config(name), assignments
    )


def assign(config, assignments):
    """Returns a copy of a `Config` with changes, a list of str such as `train.steps=1000`."""
    return config_io.override_all(config, dict(map(_split, assignments)))


def _split(assignment):
    path, equals, value = assignment.partition("=")
    if not (path and equals):
        raise ValueError(f"--set needs FIELD=VALUE, as in train.steps=1000. Received: {assignment!r}.")
    return path.strip(), value.strip()
