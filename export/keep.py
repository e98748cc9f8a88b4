"""An exported model is written, checked, and replaces the older one only when it is good."""

import json

from mask_rcnn.export.formats import check_replaceable
from mask_rcnn.export.verify import format_verification
from mask_rcnn.files import atomic_write, remove_leftovers
from mask_rcnn.paths import local_path


def export_checked(path, write, check):
    """Writes a model, checks it, and puts it in its place.

    The report is kept beside it, `NAME.report.json`. If the model fails, nothing is written but its report,
    `NAME.failed.json`, and an older export stays. What a killed export left in the folder is removed first.

    Args:
        path: file or folder that it becomes.
        write: function of a path that writes the model there.
        check: function of a path to the report of `verify`.

    Returns:
        The report.

    Raises:
        ValueError: the check found problems, or `path` is something else than an exported model.
    """
    path = local_path(path)
    remove_leftovers(path.parent)
    check_replaceable(path)
    with atomic_write(path) as new:
        write(new)
        report = check(new)
        failed = report["outcome"] == "failed"
        kept = path.with_name(f"{path.name}.{'failed' if failed else 'report'}.json")
        with atomic_write(kept) as file:
            file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if failed:
            raise ValueError(
                "An exported model must say what the Keras model says. Received:\n"
                f"{format_verification(report)}\n{path} was not written; all numbers: {kept}"
            )
    return report
