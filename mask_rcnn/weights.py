"""Weights on disk: HDF5, every array under the name of its part and variable, the config beside them.

A file says all that is needed to run it: no architecture has to be remembered. Nothing in it is executed.
"""

import json
from pathlib import Path

import h5py
import numpy as np

from mask_rcnn import config_io
from mask_rcnn.files import atomic_write
from mask_rcnn.structures import Category

FORMAT = "mask_rcnn weights 1"


def variables(parts):
    """Returns `{"part/variable path": keras.Variable}` of all weights, in a fixed order."""
    return {f"{name}/{v.path}": v for name, part in parts.named().items() for v in part.weights}


def save_weights(path, parts, config, categories):
    """Writes a model so that `load_weights` and `Predictor.load` need nothing else.

    Args:
        path: file to write, by convention `*.weights.h5`.
        parts: `Parts`.
        config: `Config` they were built from.
        categories: tuple of `Category`, class id i is `categories[i - 1]`.
    """
    write_arrays(path, variables(parts), config, categories)


def write_arrays(path, arrays, config, categories):
    """Writes `{"part/variable path": array or variable}` as `save_weights` does.

    Should it fail midway, the old file is as it was.
    """
    with atomic_write(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["config"] = config_io.to_yaml(config)
        file.attrs["categories"] = json.dumps([vars(category) for category in categories])
        for name, array in arrays.items():
            file[name] = np.asarray(array)


def read_header(path):
    """Returns the `Config` and the categories that a weights file carries.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a file of `save_weights`.
    """
    with _open(path) as file:
        config = config_io.from_yaml(file.attrs["config"])
        categories = tuple(Category(**entry) for entry in json.loads(file.attrs["categories"]))
    return config, categories


def load_weights(path, parts):
    """Reads the weights of `save_weights` into `parts`.

    Raises:
        ValueError: names or shapes differ; both sides are listed.
    """
    assign(parts, read_arrays(path), source=path)


def read_arrays(path):
    """Returns `{"part/variable path": array}` of a weights file."""
    arrays = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = np.asarray(item)

    with _open(path) as file:
        file.visititems(collect)
    return arrays


def assign(parts, arrays, source):
    """Gives every variable of `parts` its array, as `assign_variables` does."""
    assign_variables(variables(parts), arrays, source)


def assign_variables(wanted, arrays, source):
    """Gives every variable its array; all or nothing.

    Args:
        wanted: `{"part/variable path": keras.Variable}`.
        arrays: `{"part/variable path": array}`.
        source: where they come from, for the error.

    Raises:
        ValueError: names or shapes differ; both sides are listed.
    """
    check_fit({name: variable.shape for name, variable in wanted.items()}, arrays, source)
    for name, variable in wanted.items():
        variable.assign(arrays[name])


def check_fit(shapes, arrays, source):
    """Raises a ValueError that lists both sides, unless `arrays` has the names and `shapes` of a model."""
    missing = [name for name in shapes if name not in arrays]
    unexpected = [name for name in arrays if name not in shapes]
    misshaped = [
        f"{name}: {tuple(arrays[name].shape)} in the file, {tuple(shape)} in the model"
        for name, shape in shapes.items()
        if name in arrays and tuple(arrays[name].shape) != tuple(shape)
    ]
    if missing or unexpected or misshaped:
        raise ValueError(
            f"The weights of {source} do not fit the model.\n"
            + _listing("missing in the file", missing)
            + _listing("unknown to the model", unexpected)
            + _listing("of another shape", misshaped)
            + "Build the model from the config that belongs to the file (num_classes, backbone, heads)."
        )


def _listing(title, names, most=12):
    if not names:
        return ""
    more = f"\n    and {len(names) - most} more" if len(names) > most else ""
    return f"  {len(names)} {title}:\n    " + "\n    ".join(names[:most]) + more + "\n"


def _open(path):
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no weights file {path}.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"Expected an HDF5 file of weights. Received: {path} ({error}).") from error
    if file.attrs.get("format") != FORMAT:
        raise ValueError(
            f'Expected a file that says format="{FORMAT}". '
            f"Received: {path}, format={file.attrs.get('format')!r}. "
            "Weights of other systems are converted by `mask-rcnn models convert`."
        )
    return file
