"""Weights files: HDF5 with one array per variable, and the config and the categories of the model.

A file contains everything needed to run the model. Loading executes no code from the file. A checksum detects
damage.
"""

import collections
import functools
import gc
import json
import re

import numpy as np

from mask_rcnn import config_io
from mask_rcnn.structures import Category
from mask_rcnn.system.hdf5 import read_hdf5, read_texts
from mask_rcnn.system.verified_hdf5 import verify, write_verified

FORMAT = "mask_rcnn weights 2"
CATEGORY_FIELDS = {"id", "name", "keypoints", "skeleton"}
AUTOMATIC_NAME = re.compile(r"/variable_\d+$")
MAX_NAME = 1000  # characters
MAX_ID = 2**53  # the largest integer that every JSON reader represents exactly


def variables(parts):
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
def model_shapes(config):
    """Returns `{"part/variable path": shape}` for the model of a config, without keeping it in memory."""
    from mask_rcnn.model import build_parts  # imports TensorFlow, which reading a header does not need

    shapes = {name: tuple(variable.shape) for name, variable in variables(build_parts(config)).items()}
    gc.collect()  # a model has reference cycles
    return shapes


def save_weights(path, parts, config, categories):
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
    write_arrays(path, variables(parts), config, categories)


def write_arrays(path, arrays, config, categories):
    """Writes a weights file from arrays. It is an atomic write: if it fails, an existing file is unchanged.

    Args:
        path: File to write.
        arrays: `{"part/variable path": array or variable}`.
        config, categories: See `save_weights`.

    Raises:
        ValueError: If the categories do not fit the config, or a value is not finite.
    """
    check_categories(categories, config)
    header = {
        "config": config_io.to_yaml(config),
        "categories": json.dumps([vars(category) for category in categories]),
    }
    write_verified(path, FORMAT, texts=header, arrays=arrays, read=_checked)


def _checked(name, array):
    array = np.asarray(array)
    check_values({name: array}, "the model to be saved")
    return array


def read_header(path):
    """Returns the `Config` and the categories (tuple of `Category`) of a weights file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a weights file of `save_weights`, or damaged.
    """
    verify(path, FORMAT, "weights file")
    config_text, categories_text = read_texts(path, ("config", "categories"))
    try:
        config = config_io.from_text(config_text)
        categories = _parse_categories(categories_text)
        check_categories(categories, config)
    except ValueError as error:
        raise ValueError(f"The header of {path} is invalid. {error}") from error
    return config, categories


def _parse_categories(text):
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"Its categories are not valid JSON ({str(error)[:100]}). Save the weights again."
        ) from None
    is_list = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    if not is_list or any(set(entry) != CATEGORY_FIELDS for entry in entries):
        raise ValueError(
            f"Its categories must be a list of mappings with {', '.join(sorted(CATEGORY_FIELDS))}. "
            "Save the weights again."
        )
    for entry in entries:
        if not (_is_list_of(entry["keypoints"], str) and _is_list_of(entry["skeleton"], list)):
            raise ValueError("Its keypoints must be lists of names, and its skeletons lists of number pairs.")
    return tuple(Category(**entry) for entry in entries)


def check_categories(categories, config):
    """Raises a ValueError unless there is exactly one valid category per class of `config`.

    Args:
        categories: Tuple of `Category`.
        config: The `Config`.
    """
    if len(categories) != config.num_classes:
        raise ValueError(
            "A model needs one category for each of its classes. "
            f"Received: {len(categories)} categories, num_classes={config.num_classes}."
        )
    for category in categories:
        _check_category(category)
    for field in ("id", "name"):
        counts = collections.Counter(getattr(category, field) for category in categories)
        repeated = [value for value, count in counts.items() if count > 1][:5]
        if repeated:
            raise ValueError(f"Each category needs a unique {field}. Received more than once: {repeated}.")


def _check_category(category):
    if type(category.id) is not int or abs(category.id) > MAX_ID:
        raise ValueError(f"A category id must be an integer up to 2**53. Received: {_short(category.id)}.")
    if not _is_name(category.name):
        raise ValueError(
            f"The name of a category must have 1 to {MAX_NAME} characters. Received: {_short(category.name)}."
        )
    if not all(map(_is_name, category.keypoints)):
        raise ValueError(f"Every keypoint must have a name. Received: category {category.name!r} without.")
    numbers = range(1, len(category.keypoints) + 1)
    for pair in category.skeleton:
        if len(pair) != 2 or not all(type(each) is int and each in numbers for each in pair):
            raise ValueError(
                f"A skeleton must contain pairs of keypoint numbers, 1 to {len(category.keypoints)}. "
                f"Received: category {category.name!r} with other items."
            )


def _is_list_of(value, kind):
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


def _is_name(value):
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME


def _short(value):
    return repr(value[:80]) if isinstance(value, str) else f"a {type(value).__name__}"


def load_weights(path, parts):
    """Loads a weights file into `parts`.

    Args:
        path: File of `save_weights`.
        parts: `Parts`. They are changed only if everything fits.

    Raises:
        ValueError: If the file is damaged, or names or shapes differ. The message lists both sides.
    """
    wanted = variables(parts)
    shapes = {name: variable.shape for name, variable in wanted.items()}
    arrays = read_arrays(path, lambda found: check_fit(shapes, found, path))
    assign_variables(wanted, arrays, source=path)


def read_arrays(path, check=None):
    """Returns `{"part/variable path": array}` of a weights file.

    Args:
        path: File of `save_weights`.
        check: Function that is called with `{"part/variable path": shape}` before any array is read. Defaults
            to None.
    """
    verify(path, FORMAT, "weights file")
    return read_hdf5(path, check and (lambda found: check({name: each[0] for name, each in found.items()})))


def assign(parts, arrays, source):
    """Assigns arrays to all variables of `parts`, see `assign_variables`."""
    assign_variables(variables(parts), arrays, source)


def assign_variables(wanted, arrays, source):
    """Assigns an array to every variable, or to none if anything does not fit.

    Args:
        wanted: `{"part/variable path": keras.Variable}`.
        arrays: `{"part/variable path": array}`.
        source: Where the arrays come from, for the message.

    Raises:
        ValueError: If names, shapes or values are invalid. The message lists all of them.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    check_fit({name: variable.shape for name, variable in wanted.items()}, shapes, source)
    check_values(arrays, source)
    for name, variable in wanted.items():
        variable.assign(arrays[name])


def check_fit(shapes, found, source):
    """Raises a ValueError that lists both sides, unless `found` has exactly the names and shapes of a model.

    Args:
        shapes: `{"part/variable path": shape}` of the model.
        found: `{"part/variable path": shape}` of the file.
        source: Where they come from, for the message.
    """
    missing = [name for name in shapes if name not in found]
    unexpected = [name for name in found if name not in shapes]
    misshaped = [
        f"{name}: {tuple(found[name])} in the file, {tuple(shape)} in the model"
        for name, shape in shapes.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    if missing or unexpected or misshaped:
        raise ValueError(
            f"The weights of {source} do not fit the model.\n"
            + _listing("missing in the file", missing)
            + _listing("unknown to the model", unexpected)
            + _listing("with another shape", misshaped)
            + "Build the model from the config that belongs to the file (num_classes, backbone, heads)."
        )


def check_values(arrays, source):
    """Raises a ValueError that lists all arrays that cannot be weights.

    Weights must be real floating-point numbers that are finite in float32.

    Args:
        arrays: `{"part/variable path": array}`.
        source: Where they come from, for the message.
    """
    wrong = [f"{name}: {problem}" for name, array in arrays.items() if (problem := _problem(array))]
    if wrong:
        raise ValueError(
            f"The weights of {source} must be finite floating-point numbers.\n"
            + _listing("wrong", wrong)
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
