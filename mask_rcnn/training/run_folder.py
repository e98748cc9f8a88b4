"""The run folder: its files, the id of its run, and a lock so that only one process writes to it."""

import contextlib
import dataclasses
import json
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging

from mask_rcnn import config_io
from mask_rcnn.config import Config
from mask_rcnn.system.files import atomic_write, remove_leftovers
from mask_rcnn.training.checkpoint import checkpoints

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

MARKER = "run.json"  # written first, marks a run folder; holds the run id that every checkpoint contains
LOCK = "run.lock"
CONFIG = "config.yaml"
LOG = "log.csv"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
BEST_WEIGHTS = "best.weights.h5"
FINAL_WEIGHTS = "final.weights.h5"
# All files and folders that a run writes. In a folder without a marker, such a file is not from a run.
NAMES = (
    *(MARKER, CONFIG, LOG, METRICS, CHECKPOINTS, "loss.png", TENSORBOARD, "data", "pictures"),
    *(BEST_WEIGHTS, FINAL_WEIGHTS, "results.json", "detections.json"),
)


def check_run_folder(folder: Path, resume: bool) -> None:
    """Raises a ValueError unless a run may write to `folder`. The folder is not changed.

    A new run needs a folder without any of `NAMES`. A folder that another run left before its first step also
    counts as new, because no training is lost.

    Args:
        folder: `Path`. It need not exist.
        resume: Whether to continue a run that is already in the folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"A run needs a folder. Received: {str(folder)!r}, a file. Choose another path.")
    is_run = (folder / MARKER).is_file()
    foreign_files = [] if is_run else [name for name in NAMES if os.path.lexists(folder / name)]
    if foreign_files:
        raise ValueError(
            f"A run needs a new folder, or one of `mask-rcnn train`, which has a {MARKER}. "
            f"Received: {str(folder)!r}, which has none and holds {', '.join(foreign_files)}. "
            "Nothing was changed. Choose another folder, or move these files."
        )
    if is_run and not resume and has_steps(folder):
        raise ValueError(
            f"A new run needs a folder of its own. Received: {str(folder)!r}, which holds a run. "
            "Resume it (`resume=True`, `--resume`), or name another folder."
        )


def check_has_run(folder: Path) -> None:
    """Raises a ValueError unless `folder` holds a run that can be resumed."""
    if not (folder / MARKER).is_file():
        raise ValueError(
            f"Only a run that was started can be resumed. Received: {str(folder)!r}, which holds no run. "
            "Check the path, or start a run without `--resume`."
        )


@contextlib.contextmanager
def run_folder(folder: Path, resume: bool) -> Iterator[str | None]:
    """Context manager that creates and locks a run folder and removes partly written files.

    Args:
        folder: `Path` of the run folder. It need not exist.
        resume: Whether to continue the run in it. A folder without a run starts a new one.

    Yields:
        Id of the run, str. A resumed run keeps its id.

    Raises:
        ValueError: If `check_run_folder` refuses the folder, or another run holds its lock.
    """
    check_run_folder(folder, resume)
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        check_run_folder(folder, resume)  # another process may have created a run since the first check
        for each in (folder, folder / CHECKPOINTS):
            remove_leftovers(each)
        if run_id_of(folder) is None:
            _write(folder / MARKER, json.dumps({"run": uuid.uuid4().hex}))
        yield run_id_of(folder)


def run_id_of(folder: Path) -> str | None:
    """Returns the id of the run in `folder`, or None if there is no run."""
    marker = folder / MARKER
    if not marker.is_file():
        return None
    try:
        return json.loads(marker.read_text(encoding="utf-8"))["run"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f'{MARKER} must hold {{"run": "the id of the run"}}. Received: {marker} ({error}). '
            "Restore the file, or start a run in another folder."
        ) from error


def write_config(folder: Path, config: Config) -> None:
    """Writes the resolved config of a run and logs which fields changed since the run began."""
    path = folder / CONFIG
    if path.exists():
        changes = config_changes(config_io.from_yaml(path), config)
        if changes:
            logging.warning("The run is resumed with a changed config: %s.", "; ".join(changes))
    _write(path, config_io.to_yaml(config))


def config_changes(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Returns a list of texts such as `"train.steps: 100 -> 200"`, one for each field that differs.

    Args:
        old, new: `Config`s, or the same section of two `Config`s.
        prefix: Text before the names of the fields, such as "train.". Defaults to "".
    """
    changes = []
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(before) and dataclasses.is_dataclass(after):
            changes += config_changes(before, after, f"{name}.")
        elif before != after:
            changes.append(f"{name}: {_short(before)} -> {_short(after)}")
    return changes


def _short(value: Any) -> str:
    return "a section" if dataclasses.is_dataclass(value) else "null" if value is None else str(value)


def has_steps(folder: Path) -> bool:
    """Returns whether the run in `folder` has finished a training step or has a checkpoint."""
    return (folder / LOG).exists() or bool(checkpoints(folder / CHECKPOINTS))


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Context manager that holds an exclusive lock on a folder.

    The operating system releases the lock when the process ends, even after a crash.
    """
    if fcntl is None:
        logging.warning("This system cannot lock %s: do not start a second run in it.", folder)
        yield
        return
    with open(folder / LOCK, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                "One run at a time may use a folder. "
                f"Received: {str(folder)!r}, in use by {file.read().strip() or 'another process'}. "
                "Wait for it, stop it, or name another folder."
            ) from None
        except OSError as error:  # some network file systems have no locks
            logging.warning(
                "%s cannot be locked (%s): do not start a second run in it.", folder, error.strerror
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
