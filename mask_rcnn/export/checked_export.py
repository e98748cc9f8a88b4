"""Writes an exported model, checks it, and replaces the earlier export only if the check succeeds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mask_rcnn.export.checks.verify import format_verification
from mask_rcnn.export.formats import check_replaceable
from mask_rcnn.system.files import atomic_write, remove_leftovers
from mask_rcnn.system.paths import local_path


def export_checked(
    path: Path | str, write: Callable[[Path], object], check: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """Writes a model to a temporary path, checks it, and moves it to its path if the check succeeds.

    The report is written to `NAME.report.json` in the folder of the model. If the check fails, only the
    report is written, to `NAME.failed.json`, and an earlier export stays. Temporary files of interrupted
    exports are removed first.

    Args:
        path: File or folder to write.
        write: Function of a path that writes the model there.
        check: Function of a path that returns the report of `verify`.

    Returns:
        Dict, the report of `verify`.

    Raises:
        ValueError: The check found problems, or `path` exists and is not an exported model.
    """
    path = local_path(path)
    remove_leftovers(path.parent)
    check_replaceable(path)
    with atomic_write(path) as temporary_path:
        write(temporary_path)
        report = check(temporary_path)
        is_failed = report["outcome"] == "failed"
        report_path = path.with_name(f"{path.name}.{'failed' if is_failed else 'report'}.json")
        with atomic_write(report_path) as file:
            file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if is_failed:
            raise ValueError(
                "Expected an export with the outputs of the Keras model. Received:\n"
                f"{format_verification(report)}\n"
                f"{path} was not written. The complete report is {report_path}."
            )
    return report
