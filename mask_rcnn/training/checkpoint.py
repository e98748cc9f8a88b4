"""Checkpoints: everything that a run needs to continue, in one HDF5 file with a checksum.

A damaged checkpoint is never loaded: `restore_latest` reports it and takes the one before it.
"""

import json
import re
from pathlib import Path

import numpy as np
from absl import logging

from mask_rcnn.files import remove_leftovers
from mask_rcnn.hdf5 import read_hdf5, read_texts
from mask_rcnn.verified_hdf5 import verify, write_verified

FORMAT = "mask_rcnn checkpoint 2"
NAME = re.compile(r"step_(\d{8,})\.h5")


class OtherModelError(ValueError):
    """An undamaged checkpoint does not fit the model."""


def _variables(model):
    """Returns `{"group/number": variable}`. Their own names differ from one process to the next."""
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {
        f"{group}/{index:05d}": variable
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }


def checkpoints(folder):
    """Returns the paths of the checkpoints in `folder`, the oldest first."""
    return sorted((path for path in Path(folder).glob("step_*.h5") if NAME.fullmatch(path.name)), key=_step)


def _step(path):
    return int(NAME.fullmatch(path.name)[1])


def save_checkpoint(folder, model, state, keep):
    """Writes the checkpoint of `state["step"]` and deletes all but the newest `keep`.

    Args:
        folder: Made if it does not exist.
        model: Compiled model, its optimizer built.
        state: Dict for JSON with the number of finished steps, `step`.
        keep: Number of files that stay, at least 1.

    Returns:
        The path of the file.
    """
    folder = Path(folder)
    path = folder / f"step_{state['step']:08d}.h5"
    arrays = ((name, _finite(variable, state["step"])) for name, variable in _variables(model).items())
    write_verified(path, FORMAT, {"state": json.dumps(state)}, arrays)
    for old in checkpoints(folder)[: -max(keep, 1)]:
        old.unlink()
    return path


def _finite(variable, step):
    value = np.asarray(variable)
    if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
        raise ValueError(
            "The weights must be finite to be saved. "
            f"Received: {variable.path} holds NaN or infinity after step={step}. "
            "Lower `train.learning_rate` or set `train.clip_norm`, and resume from the checkpoint before."
        )
    return value


def restore_latest(folder, model):
    """Loads the newest undamaged checkpoint into `model` and its optimizer.

    Args:
        folder: Folder of the checkpoints.
        model: Compiled model, its optimizer built.

    Returns:
        The `state` it was saved with, or None if the folder has no checkpoint.

    Raises:
        ValueError: Every checkpoint is damaged, or the newest undamaged one is of another model.
            Nothing was changed.
    """
    remove_leftovers(folder)
    paths = checkpoints(folder)
    variables = _variables(model)
    for path in reversed(paths):
        try:
            state = _read_state(path)
            values = read_hdf5(path, lambda found, path=path: _check_fit(variables, found, path))
            _check_finite(values, path)
        except OtherModelError:
            raise
        except (OSError, ValueError) as error:
            logging.warning("%s cannot be read; the checkpoint before it is tried. %s", path, error)
            continue
        for name, variable in variables.items():
            variable.assign(values[name])
        return state
    if paths:
        raise ValueError(
            f"Expected at least one undamaged checkpoint. Received: {', '.join(map(str, paths))}. The log "
            "says what is wrong with each. Restore one from a backup, or start a run in another folder."
        )
    return None


def _read_state(path):
    """Returns the state of a checkpoint whose checksum is right."""
    verify(path, FORMAT, "checkpoint")
    (text,) = read_texts(path, ["state"])
    try:
        state = json.loads(text)
    except RecursionError:
        state = None
    if not isinstance(state, dict) or state.get("step") != _step(path):
        raise ValueError(f"Expected the state of step {_step(path)}. Received: {path} with another one.")
    return state


def _check_finite(values, path):
    for name, value in values.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"Expected finite values. Received: {path}, NaN or infinity in {name}.")


def _check_fit(variables, found, path):
    expected = {name: _layout(tuple(v.shape), v.dtype) for name, v in variables.items()}
    received = {name: _layout(shape, dtype.name) for name, (shape, dtype) in found.items()}
    if expected != received:
        names = sorted(expected.keys() | received.keys())
        name = next(name for name in names if expected.get(name) != received.get(name))
        raise OtherModelError(
            f"A checkpoint must be of the same {name.partition('/')[0]}: {len(expected)} variables of "
            f"certain shapes and types. Received: {path} with {len(received)}; {name} is "
            f"{received.get(name, 'missing')} instead of {expected.get(name, 'missing')}. "
            "Resume with the config of the run, or start another run folder."
        )


def _layout(shape, dtype):
    return f"{dtype}{list(shape)}"
