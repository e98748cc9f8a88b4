"""Checkpoints: everything that a run needs to continue, in one HDF5 file with a checksum.

A damaged checkpoint is never loaded. `restore_latest` logs the damage and loads the previous checkpoint.
"""

import collections
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from mask_rcnn.system.files import remove_leftovers
from mask_rcnn.system.hdf5 import read_hdf5, read_texts
from mask_rcnn.system.verified_hdf5 import verify, write_verified

FORMAT = "mask_rcnn checkpoint 3"
MAX_EXAMPLES = 5  # names of each problem in an error message
AUTOMATIC_NAME = re.compile(r"(?<=[/_])variable_\d+(?=_|$)")
NAME = re.compile(r"step_(\d{8,})\.h5")


class OtherRunError(ValueError):
    """An undamaged checkpoint belongs to another run or another model."""


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns `{"model/path" or "optimizer/path": variable}` of a compiled model with a built optimizer.

    Keras numbers optimizers and unnamed variables across the whole process. These numbers are removed,
    because they differ between processes. Variables with the same path, such as those of the heads of a
    cascade, are numbered in their order: "path", "path#2".
    """
    pairs = [(f"model/{variable.path}", variable) for variable in model.variables]
    pairs += [(f"optimizer/{v.path.partition('/')[2] or v.path}", v) for v in model.optimizer.variables]
    named, counts = {}, collections.Counter()
    for path, variable in pairs:
        name = AUTOMATIC_NAME.sub("variable", path)
        counts[name] += 1
        named[f"{name}#{counts[name]}" if counts[name] > 1 else name] = variable
    return named


def checkpoints(folder: str | Path) -> list[Path]:
    """Returns the paths of the checkpoints in `folder`, the oldest first."""
    return sorted((path for path in Path(folder).glob("step_*.h5") if NAME.fullmatch(path.name)), key=_step)


def _step(path: Path) -> int:
    """Returns the step of a checkpoint whose file name matches `NAME`."""
    return int(path.stem.removeprefix("step_"))


def save_checkpoint(folder: str | Path, model: keras.Model, state: dict[str, Any], *, keep: int) -> Path:
    """Writes a checkpoint for `state["step"]` and deletes all but the newest `keep` checkpoints.

    Args:
        folder: Folder of the checkpoints. It is created if it does not exist.
        model: Compiled model with a built optimizer.
        state: Dict for JSON. Its `step` is the number of finished steps.
        keep: Number of checkpoints to keep, at least 1.

    Returns:
        The path of the new checkpoint.

    Raises:
        DiskFull: The disk has no space left. The earlier checkpoints stay.
        ValueError: A weight holds NaN or infinity.
    """
    folder = Path(folder)
    path = folder / f"step_{state['step']:08d}.h5"
    write_verified(
        path,
        FORMAT,
        texts={"state": json.dumps(state)},
        arrays=named_variables(model),
        read=lambda name, variable: _finite(variable, state["step"]),
    )
    for old in checkpoints(folder)[: -max(keep, 1)]:
        old.unlink()
    return path


def _finite(variable: keras.Variable, step: int) -> np.ndarray:
    value = np.asarray(variable)
    if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
        raise ValueError(
            "The weights must be finite to be saved. "
            f"Received: {variable.path} holds NaN or infinity after step={step}. "
            "Lower `train.learning_rate` or set `train.clip_norm`, and resume from the previous checkpoint."
        )
    return value


def restore_latest(
    folder: str | Path,
    model: keras.Model,
    check: Callable[[dict[str, Any]], None] = lambda state: None,
) -> dict[str, Any] | None:
    """Loads the newest undamaged checkpoint into `model` and its optimizer.

    Args:
        folder: Folder of the checkpoints.
        model: Compiled model with a built optimizer.
        check: Function that gets the state before any variable is changed. It raises an `OtherRunError` if
            the checkpoint belongs to another run. Defaults to no check.

    Returns:
        The `state` that was saved with the checkpoint, or None if the folder has no checkpoint.

    Raises:
        OtherRunError: The checkpoint belongs to another run or another model.
        ValueError: All checkpoints are damaged.
    """
    remove_leftovers(folder)
    paths = checkpoints(folder)
    variables = named_variables(model)
    for path in reversed(paths):
        try:
            state = _read_state(path)
            check(state)
            values = read_hdf5(path, lambda layouts, path=path: _check_fit(variables, layouts, path))
            _check_finite(values, path)
        except OtherRunError:
            raise
        except (OSError, ValueError) as error:
            logging.warning("%s cannot be read; the previous checkpoint is tried. %s", path, error)
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


def _read_state(path: Path) -> dict[str, Any]:
    """Returns the state of a checkpoint after verifying the checksum of the file."""
    verify(path, FORMAT, "checkpoint")
    (text,) = read_texts(path, ["state"])
    try:
        state = json.loads(text)
    except RecursionError:
        state = None
    if not isinstance(state, dict) or state.get("step") != _step(path):
        raise ValueError(f"Expected the state of step {_step(path)}. Received: {path} with another one.")
    return state


def _check_finite(values: Mapping[str, np.ndarray], path: Path) -> None:
    for name, value in values.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"Expected finite values. Received: {path}, NaN or infinity in {name}.")


def _check_fit(
    variables: Mapping[str, keras.Variable],
    layouts: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    path: Path,
) -> None:
    """Raises an `OtherRunError` unless a checkpoint has the arrays, `{name: (shape, dtype)}`, of a model."""
    expected = {name: _layout(tuple(v.shape), v.dtype) for name, v in variables.items()}
    received = {name: _layout(shape, dtype.name) for name, (shape, dtype) in layouts.items()}
    if expected == received:
        return
    missing = [name for name in expected if name not in received]
    unexpected = [name for name in received if name not in expected]
    changed = [
        f"{name} ({received[name]} in the checkpoint, {layout} in the model)"
        for name, layout in expected.items()
        if received.get(name, layout) != layout
    ]
    problems = {
        "missing in the checkpoint": missing,
        "unknown to the model": unexpected,
        "of another shape": changed,
    }
    listing = "; ".join(
        f"{len(names)} {problem}: {', '.join(names[:MAX_EXAMPLES])}"
        + (", ..." if len(names) > MAX_EXAMPLES else "")
        for problem, names in problems.items()
        if names
    )
    raise OtherRunError(
        "A checkpoint must have the variables of the model and of its optimizer. "
        f"Received: {path}, {listing}. "
        "Resume with the model and the config of the run, or start a run in another folder. Give your own "
        "layers a `name`: Keras numbers unnamed layers differently in each process."
    )


def _layout(shape: tuple[int, ...], dtype: str) -> str:
    return f"{dtype}{list(shape)}"
