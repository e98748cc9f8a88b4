"""A file is written aside, checked, and takes the place of the old one only when it is good."""

import contextlib
import json
import os
import shutil
from pathlib import Path

from mask_rcnn.export.formats import format_of
from mask_rcnn.export.verify import format_verification


def export_checked(path, write, check):
    """Writes a model, checks it, and puts it in its place.

    The report is kept beside it, `NAME.report.json`; of a model that fails, as `NAME.failed.json`, and what
    was there before stays.

    Args:
        path: file or folder that it becomes.
        write: function of a path that writes the model there.
        check: function of a path to the report of `verify`.

    Returns:
        The report.

    Raises:
        ValueError: the check found problems, or `path` is something else than an exported model.
    """
    path = Path(path)
    _check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}.{path.name}")  # with its suffix, which tells the format
    try:
        write(aside)
        report = check(aside)
        kept = path.with_name(f"{path.name}.{'report' if report['passed'] else 'failed'}.json")
        kept.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if not report["passed"]:
            raise ValueError(
                "An exported model must say what the Keras model says. Received:\n"
                f"{format_verification(report)}\n{path} was not written; all numbers: {kept}"
            )
        _replace(aside, path)
    finally:
        _remove(aside)
    return report


def _check_replaceable(path):
    if not path.exists():
        return
    try:
        format_of(path)
    except ValueError as error:
        raise ValueError(
            "An export replaces an older one, and nothing else. "
            f"Received: --out {path}, which is there and is none. Give another name."
        ) from error


def _replace(new, old):
    """Puts `new` where `old` is. A folder with files cannot be renamed over: it is moved away first."""
    if not old.is_dir():
        os.replace(new, old)
        return
    away = old.with_name(f".{os.getpid()}.old.{old.name}")
    os.replace(old, away)
    try:
        os.replace(new, old)
    except OSError:
        os.replace(away, old)
        raise
    _remove(away)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
