"""Checkpoints: all that a run needs to go on, in one HDF5 file that is whole or not there.

Should a disk lose the end of a file all the same, `restore_latest` says so and takes the one before.
"""

import json
from pathlib import Path

import h5py
import numpy as np
from absl import logging

from mask_rcnn.files import atomic_write


def _groups(model):
    return {"model": model.variables, "optimizer": model.optimizer.variables}


def checkpoints(folder):
    """Returns the paths of the checkpoints in `folder`, the oldest first."""
    return sorted(Path(folder).glob("step_*.h5"))


def save_checkpoint(folder, model, state, keep):
    """Writes the checkpoint of `state["step"]` and deletes all but the newest `keep`.

    Args:
        folder: made if it is not there.
        model: compiled, its optimizer built.
        state: dict for JSON with the number of finished steps, `step`.
        keep: how many files stay, at least 1.

    Returns:
        The path of the file.
    """
    folder = Path(folder)
    path = folder / f"step_{state['step']:08d}.h5"
    with atomic_write(path) as partial, h5py.File(partial, "w") as store:
        store.attrs["state"] = json.dumps(state)
        for name, variables in _groups(model).items():
            for index, variable in enumerate(variables):
                store[f"{name}/{index:05d}"] = _finite(variable, state["step"])
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
    """Loads the newest checkpoint that can be read into `model` and its optimizer.

    Returns:
        The `state` it was saved with, or None where there is no checkpoint.
    """
    for path in reversed(checkpoints(folder)):
        try:
            state, values = _read(path)
        except (OSError, KeyError, ValueError) as error:
            logging.warning("%s cannot be read (%s): taking the checkpoint before it.", path, error)
            continue
        _assign(model, values, path)
        return state
    return None


def _read(path):
    with h5py.File(path, "r") as store:
        state = json.loads(store.attrs["state"])
        values = {name: [group[key][()] for key in sorted(group)] for name, group in store.items()}
    return state, values


def _assign(model, values, path):
    for name, variables in _groups(model).items():
        expected = [tuple(variable.shape) for variable in variables]
        received = [value.shape for value in values[name]]
        if expected != received:
            raise ValueError(
                f"A checkpoint must be of the same {name}: {len(expected)} variables of certain shapes. "
                f"Received: {path} with {len(received)}; {_difference(expected, received)}. "
                "Resume with the config of the run, or start another run folder."
            )
    for name, variables in _groups(model).items():
        for variable, value in zip(variables, values[name], strict=True):
            variable.assign(value)


def _difference(expected, received):
    for index, (ours, theirs) in enumerate(zip(expected, received, strict=False)):
        if ours != theirs:
            return f"the shape of number {index} is {theirs} instead of {ours}"
    return "the shapes of the first ones agree"
