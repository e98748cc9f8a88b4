"""Options and helper functions that several commands share."""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mask_rcnn import config_io, model_zoo
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.config import PRECISIONS, Config
from mask_rcnn.system import paths

CONFIG_SUFFIXES = (".yaml", ".yml")
Subparsers = argparse._SubParsersAction  # the result of `ArgumentParser.add_subparsers`


class HelpFormatter(argparse.HelpFormatter):
    """Shows the default of each option, unless its help text already has one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        has_default = "(default" in text or action.required or action.default is argparse.SUPPRESS
        return text if has_default or not action.option_strings else f"{text} (default: %(default)s)"


def add_command(
    commands: Subparsers, name: str, run: Callable[[argparse.Namespace], int | None], *, summary: str
) -> argparse.ArgumentParser:
    """Adds the parser of a command.

    Args:
        commands: Result of `add_subparsers`.
        name: Name of the command.
        run: Function of the parsed arguments that returns the exit code. None is 0.
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


def local_path(text: str) -> Path:
    """Returns the `Path` of an option that must be a local path."""
    try:
        return paths.local_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def import_user_code(names: Iterable[str]) -> None:
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
            imported = importlib.import_module(module)
        except Exception as error:
            raise ValueError(
                "`--import` must name Python code that can be imported. "
                f"Received: {name!r}, {type(error).__name__}: {error}. Correct the name or the code."
            ) from error
        if is_file and not Path(name).samefile(imported.__file__ or ""):
            raise ValueError(
                "A file of `--import` needs a name that no other module has. "
                f"Received: {name!r}; {module!r} is {imported.__file__}. Rename the file."
            )


WEIGHTS_METAVAR = "FILE_OR_NAME"
WEIGHTS_HELP = "a model of `mask-rcnn train`, or a name of `mask-rcnn models list`"


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Adds `--precision`, the dtype policy of inference."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="dtype policy of the model; mixed_bfloat16 is faster on hardware that supports it",
    )


def add_set(parser: argparse.ArgumentParser) -> None:
    """Adds `--set FIELD=VALUE`, which `load_config` applies."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the config, as in --set train.steps=1000; repeat for more (default: none)",
    )


def load_config(name: str, assignments: Sequence[str]) -> Config:
    """Returns a `Config` with changes.

    Args:
        name: Name of a recipe, or path of a YAML file.
        assignments: List of str such as `train.steps=1000`.
    """
    is_file = name.endswith(CONFIG_SUFFIXES)
    return assign(
        config_io.from_yaml(paths.as_path(name)) if is_file else model_zoo.config(name), assignments
    )


def assign(config: Config, assignments: Sequence[str]) -> Config:
    """Returns a copy of a `Config` with changes, a list of str such as `train.steps=1000`."""
    return config_io.override_all(config, dict(map(_split, assignments)))


def _split(assignment: str) -> tuple[str, str]:
    path, equals, value = assignment.partition("=")
    if not (path and equals):
        raise ValueError(f"--set needs FIELD=VALUE, as in train.steps=1000. Received: {assignment!r}.")
    return path.strip(), value.strip()
