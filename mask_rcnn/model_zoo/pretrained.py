"""Published weights as weights files of this package. They are converted once and cached."""

from pathlib import Path

import numpy as np
from absl import logging

from mask_rcnn import __version__
from mask_rcnn.config import Config
from mask_rcnn.model_zoo import cache
from mask_rcnn.model_zoo.entries.entry import Entry
from mask_rcnn.model_zoo.registry import ENTRIES, did_you_mean, find
from mask_rcnn.system.files import cache_home, remove_leftovers
from mask_rcnn.system.paths import RemotePath, as_path


def weights_file(name: str | Path | RemotePath) -> Path:
    """Returns the path of a weights file for a path or the name of published weights.

    Args:
        name: Path of a weights file, in any form that `paths.as_path` supports; or a name of
            `mask-rcnn models list`. Published weights are downloaded and converted if necessary.

    Raises:
        FileNotFoundError: If it is neither.
        OSError: If published weights cannot be downloaded.
        ValueError: If published weights are damaged or do not fit, or if the path is an exported model.
    """
    path = as_path(name)
    if isinstance(path, RemotePath):
        return cache.local_copy(path)
    if path.exists():
        _check_not_exported(path)
        return path
    if path.as_posix() in ENTRIES:
        return _converted(find(path.as_posix()))
    raise FileNotFoundError(
        f"Expected a weights file, or the name of published weights. Received: {str(name)!r}. "
        f"{did_you_mean(path.as_posix())}Check the path, or see `mask-rcnn models list`."
    )


def _check_not_exported(path: Path | RemotePath) -> None:
    """Raises a ValueError if a path is a model of `mask-rcnn export` instead of a weights file."""
    is_folder = (path / "saved_model.pb").is_file() or (path / "static" / "config.json").is_file()
    if is_folder or path.name.endswith((".tflite", ".onnx")):
        raise ValueError(
            f"Expected a weights file. Received: {path}, an exported model. "
            "Load it with `mask_rcnn.export.exported.load`, or give it as --model."
        )


def checkpoint_file(name: str | Path | RemotePath) -> Path:
    """Returns the path of a checkpoint in the format of its source.

    Args:
        name: Path of a checkpoint, or a name of `mask-rcnn models list`, which is downloaded if necessary.
    """
    path = as_path(name)
    if isinstance(path, RemotePath):
        return cache.local_copy(path)
    is_name = not path.exists() and path.as_posix() in ENTRIES
    return cache.fetch(find(path.as_posix())) if is_name else path


def config_of(name: str | Path | RemotePath) -> Config:
    """Returns the `Config` of the weights that `name` (see `weights_file`) refers to.

    Published weights are not downloaded for it.
    """
    from mask_rcnn.weights import read_header

    path = as_path(name)
    if isinstance(path, Path) and not path.exists() and path.as_posix() in ENTRIES:
        return detector(path.as_posix()).config
    return read_header(weights_file(name))[0]


def detector(name: str) -> Entry:
    """Returns the `Entry` of a published detector. Raises a ValueError for the name of a backbone."""
    entry = find(name)
    if entry.is_backbone:
        raise ValueError(
            f"Expected the weights of a whole detector. Received: {name!r}, a backbone. "
            f"Train a detector from it: `--set backbone.weights={name}`."
        )
    return entry


def convert_file(path: str | Path, entry: Entry, out: str | Path) -> None:
    """Converts a checkpoint of another system to a weights file with its config and categories.

    Args:
        path: The checkpoint, in any format of `read_state_dict`.
        entry: `Entry` of the published detector that the checkpoint belongs to.
        out: Path of the weights file to write.

    Raises:
        ValueError: If it is not a checkpoint, or names or shapes do not fit. The message lists both sides.
    """
    from mask_rcnn.model_zoo.convert import translate
    from mask_rcnn.model_zoo.readers import bytes_for, read_state_dict
    from mask_rcnn.weights import check_fit, check_values, model_shapes, write_arrays

    preset = entry.preset
    config = preset.config()
    shapes = model_shapes(config)
    state_dict = read_state_dict(path, bytes_for(shapes.values()))
    source = f"{path}, read as {entry.name},"
    with np.errstate(all="ignore"):  # `check_values` rejects invalid numbers below
        arrays = translate(preset.preprocess_state_dict(state_dict), preset.table, preset.ignored)
    check_fit(shapes, {name: array.shape for name, array in arrays.items()}, source)
    check_values(arrays, source)
    weights = {name: arrays[name].astype("float32", copy=False) for name in shapes}
    write_arrays(out, weights, config, categories=preset.categories)


def _converted(entry: Entry) -> Path:
    """Returns the path of published weights in our format. Converts them unless the cache has them."""
    from mask_rcnn.weights import FORMAT, read_header

    detector(entry.name)
    folder = cache_home() / "converted" / f"{__version__}-{FORMAT.rpartition(' ')[2]}"
    out = folder / f"{entry.name}.weights.h5"
    remove_leftovers(out.parent)
    try:
        is_current = out.is_file() and read_header(out)[0] == entry.config
    except ValueError as error:
        logging.warning("The converted weights are invalid and will be converted again. %s", error)
        is_current = False
    if not is_current:
        convert_file(cache.fetch(entry), entry, out)
    return out
