"""Weights on disk: HDF5, every array under the name of its part and variable, the config beside them.

A file says all that is needed to run it: no architecture has to be remembered. Nothing in it is executed, and
damage is found by its checksum.
"""

import collections
import functools
import gc
import json
import re

import numpy as np

from mask_rcnn import config_io
from mask_rcnn.hdf5 import read_hdf5, read_texts
from mask_rcnn.structures import Category
from mask_rcnn.verified_hdf5 import verify, write_verified

FORMAT = "mask_rcnn weights 2"
CATEGORY_FIELDS = {"id", "name", "keypoints", "skeleton"}
AUTOMATIC_NAME = re.compile(r"/variable_\d+$")
MAX_NAME = 1000  # characters
MAX_ID = 2**53  # the largest integer that every JSON reader keeps


def variables(parts):
    """Returns `{"part/variable path": keras.Variable}` of all weights, in a fixed order.

    Keras numbers variables without a name through the whole process (ConvNeXt's layer scales); such a number
    is left out. Variables of equal paths are numbered in their order: "path", "path#2".
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
    """Returns `{"part/variable path": shape}` of the model of a config, without keeping its memory."""
    from mask_rcnn.model import build_parts  # imports TensorFlow, which a look at a header does not need

    shapes = {name: tuple(variable.shape) for name, variable in variables(build_parts(config)).items()}
    gc.collect()  # a model refers to itself
    return shapes


def save_weights(path, parts, config, categories):
    """Writes a model so that `load_weights` and `Predictor.load` need nothing else.

    Args:
        path: File to write, by convention `*.weights.h5`.
        parts: `Parts`.
        config: `Config` they were built from.
        categories: Tuple of `Category`, class id i is `categories[i - 1]`.

    Raises:
        ValueError: The parts or categories do not fit the config, or a weight is not finite. Nothing is
            written.
    """
    shapes = {name: tuple(variable.shape) for name, variable in variables(parts).items()}
    check_fit(model_shapes(config), shapes, source=f"the model to be saved as {path}")
    write_arrays(path, variables(parts), config, categories)


def write_arrays(path, arrays, config, categories):
    """Writes `{"part/variable path": array or variable}` as `save_weights` does.

    If it fails, the old file is as it was.
    """
    check_categories(categories, config)
    header = {
        "config": config_io.to_yaml(config),
        "categories": json.dumps([vars(category) for category in categories]),
    }
    write_verified(path, FORMAT, header, arrays, _checked)


def _checked(name, array):
    array = np.asarray(array)
    check_values({name: array}, "the model to be saved")
    return array


def read_header(path):
    """Returns the `Config` and the categories that a weights file carries.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a file of `save_weights`, or damaged.
    """
    verify(path, FORMAT, "weights file")
    config_text, categories_text = read_texts(path, ("config", "categories"))
    try:
        config = config_io.from_text(config_text)
        categories = _parse_categories(categories_text)
        check_categories(categories, config)
    except ValueError as error:
        raise ValueError(f"The header of {path} is wrong. {error}") from error
    return config, categories


def _parse_categories(text):
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"Its categories are no JSON ({str(error)[:100]}). Save the weights again."
        ) from None
    is_list = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    if not is_list or any(set(entry) != CATEGORY_FIELDS for entry in entries):
        raise ValueError(
            f"Its categories must be a list of mappings with {', '.join(sorted(CATEGORY_FIELDS))}. "
            "Save the weights again."
        )
    for entry in entries:
        if not (_is_list_of(entry["keypoints"], str) and _is_list_of(entry["skeleton"], list)):
            raise ValueError("Keypoints must be a list of names, and a skeleton a list of pairs of numbers.")
    return tuple(Category(**entry) for entry in entries)


def check_categories(categories, config):
    """Raises a ValueError unless there is one valid category for each class of `config`.

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
            raise ValueError(f"Every category needs another {field}. Received several times: {repeated}.")


def _check_category(category):
    if type(category.id) is not int or abs(category.id) > MAX_ID:
        raise ValueError(f"The id of a category is an int up to 2**53. Received: {_short(category.id)}.")
    if not _is_name(category.name):
        raise ValueError(
            f"The name of a category is 1 to {MAX_NAME} characters. Received: {_short(category.name)}."
        )
    if not all(map(_is_name, category.keypoints)):
        raise ValueError(f"The keypoints of a category need names. Received: category {category.name!r}.")
    numbers = range(1, len(category.keypoints) + 1)
    for pair in category.skeleton:
        if len(pair) != 2 or not all(type(each) is int and each in numbers for each in pair):
            raise ValueError(
                f"A skeleton is pairs of keypoint numbers, 1 to {len(category.keypoints)}. "
                f"Received: category {category.name!r} with another one."
            )


def _is_list_of(value, kind):
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


def _is_name(value):
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME


def _short(value):
    return repr(value[:80]) if isinstance(value, str) else f"a {type(value).__name__}"


def load_weights(path, parts):
    """Reads the weights of `save_weights` into `parts`.

    Raises:
        ValueError: The file is damaged, or names or shapes differ; both sides are listed. No weight is
            changed.
    """
    wanted = variables(parts)
    shapes = {name: variable.shape for name, variable in wanted.items()}
    arrays = read_arrays(path, lambda found: check_fit(shapes, found, path))
    assign_variables(wanted, arrays, source=path)


def read_arrays(path, check=None):
    """Returns `{"part/variable path": array}` of a weights file.

    Args:
        path: The file.
        check: Function that gets `{"part/variable path": shape}` before any array is read. Defaults to none.
    """
    verify(path, FORMAT, "weights file")
    return read_hdf5(path, check and (lambda found: check({name: each[0] for name, each in found.items()})))


def assign(parts, arrays, source):
    """Gives every variable of `parts` its array, as `assign_variables` does."""
    assign_variables(variables(parts), arrays, source)


def assign_variables(wanted, arrays, source):
    """Gives every variable its array; all or nothing.

    Args:
        wanted: `{"part/variable path": keras.Variable}`.
        arrays: `{"part/variable path": array}`.
        source: Where they come from, for the error.

    Raises:
        ValueError: Names, shapes or values are not as they must be; all of them are listed.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    check_fit({name: variable.shape for name, variable in wanted.items()}, shapes, source)
    check_values(arrays, source)
    for name, variable in wanted.items():
        variable.assign(arrays[name])


def check_fit(shapes, found, source):
    """Raises a ValueError that lists both sides, unless `found` has the names and `shapes` of a model.

    Args:
        shapes: `{"part/variable path": shape}` of the model.
        found: The same of the file.
        source: Where it comes from, for the error.
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
            + _listing("of another shape", misshaped)
            + "Build the model from the config that belongs to the file (num_classes, backbone, heads)."
        )


def check_values(arrays, source):
    """Raises a ValueError that lists the arrays which cannot be weights.

    Weights are real floating-point numbers that float32 can hold.

    Args:
        arrays: `{"part/variable path": array}`.
        source: Where they come from, for the error.
    """
    wrong = [f"{name}: {problem}" for name, array in arrays.items() if (problem := _problem(array))]
    if wrong:
        raise ValueError(
            f"The weights of {source} must be finite floating-point numbers.\n"
            + _listing("wrong", wrong)
            + "The file is damaged, or the training that wrote it diverged: use another file."
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
