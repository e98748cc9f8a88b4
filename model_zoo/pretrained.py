"""Published weights made ours: converted once, and from then on a weights file like any other."""

from pathlib import Path

import numpy as np
from absl import logging

from mask_rcnn import __version__
from mask_rcnn.files import cache_home, remove_leftovers
from mask_rcnn.model_zoo import cache
from mask_rcnn.model_zoo.registry import ENTRIES, did_you_mean, find
from mask_rcnn.paths import RemotePath, as_path


def weights_file(name):
    """Returns the path of a weights file, for whatever a user may name one by.

    Args:
        name: path of a weights file, anywhere that `paths.as_path` knows; or the name of published weights
            (`mask-rcnn models list`), which are fetched and converted if that has not been done yet.

    Raises:
        FileNotFoundError: it is neither.
        OSError, ValueError: published weights cannot be fetched, or are not what they should be.
    """
    path = as_path(name)
    if isinstance(path, RemotePath):
        return cache.local_copy(path)
    if path.exists():
        return path
    if path.as_posix() in ENTRIES:
        return _converted(find(path.as_posix()))
    raise FileNotFoundError(
        f"Expected a weights file, or the name of published weights. Received: {str(name)!r}. "
        f"{did_you_mean(path.as_posix())}Check the path, or see `mask-rcnn models list`."
    )


def checkpoint_file(name):
    """Returns the path of a checkpoint in its source's format: `name` itself, or what it names, fetched."""
    path = as_path(name)
    if isinstance(path, RemotePath):
        return cache.local_copy(path)
    is_name = not path.exists() and path.as_posix() in ENTRIES
    return cache.fetch(find(path.as_posix())) if is_name else path


def config_of(name):
    """Returns the `Config` of what `weights_file` takes; published weights are not fetched for it."""
    from mask_rcnn.weights import read_header

    path = as_path(name)
    if isinstance(path, Path) and not path.exists() and path.as_posix() in ENTRIES:
        return detector(path.as_posix()).config
    return read_header(weights_file(name))[0]


def detector(name):
    """Returns the `Entry` of a published detector; the name of a backbone is an error."""
    entry = find(name)
    if entry.is_backbone:
        raise ValueError(
            f"Expected the weights of a whole detector. Received: {name!r}, a backbone. "
            f"Train a detector from it: `--set backbone.weights={name}`."
        )
    return entry


def convert_file(path, entry, out):
    """Writes a checkpoint of another system as a weights file of ours, with its config and categories.

    Args:
        path: the checkpoint, in any format of `read_state_dict`.
        entry: `Entry` of the detector that it is a checkpoint of.
        out: path of the weights file.

    Raises:
        ValueError: it is no checkpoint, or names or shapes do not fit; both sides are listed.
    """
    from mask_rcnn.model_zoo.convert import translate
    from mask_rcnn.model_zoo.readers import bytes_for, read_state_dict
    from mask_rcnn.weights import check_fit, check_values, model_shapes, write_arrays

    preset = entry.preset
    config = preset.config()
    shapes = model_shapes(config)
    state_dict = read_state_dict(path, bytes_for(shapes.values()))
    source = f"{path}, taken as {entry.name},"
    with np.errstate(all="ignore"):  # of numbers that `check_values` refuses
        arrays = translate(preset.prepare(state_dict), preset.table, preset.ignored)
    check_fit(shapes, {name: array.shape for name, array in arrays.items()}, source)
    check_values(arrays, source)
    weights = {name: arrays[name].astype("float32", copy=False) for name in shapes}
    write_arrays(out, weights, config, preset.categories)


def _converted(entry):
    from mask_rcnn.weights import FORMAT, read_header

    detector(entry.name)
    folder = cache_home() / "converted" / f"{__version__}-{FORMAT.rpartition(' ')[2]}"
    out = folder / f"{entry.name}.weights.h5"
    remove_leftovers(out.parent)
    try:
        is_current = out.is_file() and read_header(out)[0] == entry.config
    except ValueError as error:
        logging.warning("The weights are converted again. %s", error)
        is_current = False
    if not is_current:
        convert_file(cache.fetch(entry), entry, out)
    return out
