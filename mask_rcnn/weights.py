"""Weights files: HDF5 with one array per variable, and the config and the categories of the model.

A file contains everything needed to run the model. Loading executes no code from the file. A checksum detects
damage.
"""

from __future__ import annotations

import collections
import functools
import gc
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mask_rcnn import config_io
from mask_rcnn.category_checks import check_categories, parse_categories
from mask_rcnn.config import Config
from mask_rcnn.structures import Category
from mask_rcnn.system.hdf5 import read_hdf5, read_texts
from mask_rcnn.system.paths import local_path
from mask_rcnn.system.verified_hdf5 import verify, write_verified

if TYPE_CHECKING:  # TensorFlow is not needed to read a header
    import keras

    from mask_rcnn.model import Parts

FORMAT = "mask_rcnn weights 2"
AUTOMATIC_NAME = re.compile(r"/variable_\d+$")


def variables(parts: Parts) -> dict[str, keras.Variable]:
    """Returns `{"part/variable path": keras.Variable}` for all weights of `Parts`, in a fixed order.

    Keras numbers variables without a name through the whole process (layer scales of ConvNeXt). Such numbers
    are removed from the path. Variables with equal paths are numbered in their order: "path", "path#2".
    """
    named, counts = {}, collections.Counter()
    for name, part in parts.named().items():
        for variable in part.weights:
            path = f"{name}/{AUTOMATIC_NAME.sub('/variable', variable.path)}"
            counts[path] += 1
            named[path if counts[path] == 1 else f"{path}#{counts[path]}"] = variable
    return named


@functools.lru_cache(maxsize=8)
def model_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Returns `{"part/variable path": shape}` for the model of a config, without keeping it in memory."""
    from mask_rcnn.model import build_parts  # imports TensorFlow, which reading a header does not need

    shapes = {name: tuple(variable.shape) for name, variable in variables(build_parts(config)).items()}
    gc.collect()  # a model has reference cycles
    return shapes


def save_weights(path: str | Path, parts: Parts, config: Config, *, categories: Sequence[Category]) -> None:
    """Writes a weights file for `load_weights` and `Predictor.load`.

    It contains all weights, the config and the categories.

    Args:
        path: File to write, by convention `*.weights.h5`.
        parts: `Parts`.
        config: The `Config` that they were built from.
        categories: Tuple of `Category`. Class id i is `categories[i - 1]`.

    Raises:
        ValueError: If parts or categories do not fit the config, or a weight is not finite. Nothing is
            written then.
    """
    shapes = {name: tuple(variable.shape) for name, variable in variables(parts).items()}
    check_fit(model_shapes(config), shapes, source=f"the model to be saved as {path}")
    write_arrays(path, variables(parts), config, categories=categories)


def write_arrays(
    path: str | Path, arrays: Mapping[str, Any], config: Config, *, categories: Sequence[Category]
) -> None:
    """Writes a weights file from arrays. It is an atomic write: if it fails, an existing file is unchanged.

    Args:
        path: File to write.
        arrays: `{"part/variable path": array or variable}`.
        config, categories: See `save_weights`.

    Raises:
        ValueError: If the categories do not fit the config, or a value is not finite.
    """
    check_categories(categories, config.num_classes)
    header = {
        "config": config_io.to_yaml(config),
        "categories": json.dumps([vars(category) for category in categories]),
    }
    write_verified(path, FORMAT, texts=header, arrays=arrays, read=_checked)


def _checked(name, array):
    array = np.asarray(array)
    check_values({name: array}, "the model to be saved")
    return array


def read_header(path: str | Path) -> tuple[Config, tuple[Category, ...]]:
    """Returns the `Config` and the categories (tuple of `Category`) of a weights file.

    Args:
        path: File of `save_weights`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a weights file of `save_weights`, or damaged.
    """
    verify(path, FORMAT, "weights file")
    config_text, categories_text = read_texts(local_path(path), ("config", "categories"))
    try:
        config = config_io.from_text(config_text)
        categories = parse_categories(categories_text)
        check_categories(categories, config.num_classes)
    except ValueError as error:
        raise ValueError(f"The header of {path} is invalid. {error}") from error
    return config, categories


def load_weights(path: str | Path, parts: Parts) -> None:
    """Loads a weights file into `parts`.

    Args:
        path: File of `save_weights`.
        parts: `Parts`. They are changed only if everything fits.

    Raises:
        ValueError: If the file is damaged, or names or shapes differ. The message lists both sides.
    """
    targets = variables(parts)
    expected = {name: variable.shape for name, variable in targets.items()}
    arrays = read_arrays(path, lambda actual: check_fit(expected, actual, path))
    assign_variables(targets, arrays, source=path)


def read_arrays(
    path: str | Path, check: Callable[[dict[str, tuple[int, ...]]], None] | None = None
) -> dict[str, np.ndarray]:
    """Returns `{"part/variable path": array}` of a weights file.

    Args:
        path: File of `save_weights`.
        check: Function that is called with `{"part/variable path": shape}` before any array is read. Defaults
            to None.
    """
    verify(path, FORMAT, "weights file")
    if check is None:
        return read_hdf5(path, None)
    return read_hdf5(path, lambda header: check({name: shape for name, (shape, _) in header.items()}))


def assign(parts: Parts, arrays: Mapping[str, np.ndarray], source: str | Path) -> None:
    """Assigns arrays to all variables of `parts`; see `assign_variables` for the arguments and errors."""
    assign_variables(variables(parts), arrays, source)


def assign_variables(
    targets: Mapping[str, keras.Variable], arrays: Mapping[str, np.ndarray], source: str | Path
) -> None:
    """Assigns an array to every variable, or to none if anything does not fit.

    Args:
        targets: `{"part/variable path": keras.Variable}`.
        arrays: `{"part/variable path": array}`.
        source: Where the arrays come from, for the message.

    Raises:
        ValueError: If names, shapes or values are invalid. The message lists all of them.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    check_fit({name: variable.shape for name, variable in targets.items()}, shapes, source)
    check_values(arrays, source)
    for name, variable in targets.items():
        variable.assign(arrays[name])


def check_fit(
    expected: Mapping[str, Sequence[int]], actual: Mapping[str, Sequence[int]], source: str | Path
) -> None:
    """Raises a ValueError that lists both sides, unless `actual` has exactly the names and shapes of a model.

    Args:
        expected: `{"part/variable path": shape}` of the model.
        actual: `{"part/variable path": shape}` of the file.
        source: Where they come from, for the message.
    """
    missing = [name for name in expected if name not in actual]
    unexpected = [name for name in actual if name not in expected]
    misshaped = [
        f"{name}: {tuple(actual[name])} in the file, {tuple(shape)} in the model"
        for name, shape in expected.items()
        if name in actual and tuple(actual[name]) != tuple(shape)
    ]
    if missing or unexpected or misshaped:
        raise ValueError(
            f"The weights of {source} do not fit the model.\n"
            + _listing("missing in the file", missing)
            + _listing("unknown to the model", unexpected)
            + _listing("with another shape", misshaped)
            + "Build the model from the config that belongs to the file (num_classes, backbone, heads)."
        )


def check_values(arrays: Mapping[str, np.ndarray], source: str | Path) -> None:
    """Raises a ValueError that lists all arrays that cannot be weights.

    Weights must be real floating-point numbers that are finite in float32.

    Args:
        arrays: `{"part/variable path": array}`.
        source: Where they come from, for the message.
    """
    invalid = [f"{name}: {problem}" for name, array in arrays.items() if (problem := _problem(array))]
    if invalid:
        raise ValueError(
            f"The weights of {source} must be finite floating-point numbers.\n"
            + _listing("invalid", invalid)
            + "The file is damaged, or the training that wrote it diverged. Use another file."
        )


def _problem(array):
    if array.dtype.kind != "f":
        return f"of dtype {array.dtype.name[:40]}"
    with np.errstate(over="ignore"):
        if not np.isfinite(array.astype("float32", copy=False)).all():
            return "NaN, infinite or larger than 3.4e38"
    return None


def _listing(title, names, most=12):
    if not names:
        return ""
    more = f"\n    and {len(names) - most} more" if len(names) > most else ""
    return f"  {len(names)} {title}:\n    " + "\n    ".join(names[:most]) + more + "\n"
