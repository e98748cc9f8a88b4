"""Runs the model of a web page of `mask-rcnn export --format web` in Python, as `lite_runner.py` does."""

import importlib.util
import json
import urllib.parse
from pathlib import Path
from typing import Any

CONFIG = "static/config.json"  # path in the folder of the page


def model_file(folder: Path | str) -> Path:
    """Returns the path of the first TFLite file that the configuration of a page names."""
    folder = Path(folder)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return folder / urllib.parse.unquote(config["models"][0]["file"])


def _lite_runner() -> Any:
    """Returns `lite_runner.py`, in the folder of this file, as a module, without importing mask_rcnn."""
    file = Path(__file__).with_name("lite_runner.py")
    spec = importlib.util.spec_from_file_location("lite_runner", file)
    if spec is None or spec.loader is None:
        raise ImportError(
            f"Expected lite_runner.py in the folder of web_runner.py. Received: {file}. Copy it there."
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Runner(_lite_runner().Runner):
    """`lite_runner.Runner` for the first model of a web page.

    Args:
        path: Folder of the page.
        threads: Int or None, as in `lite_runner.Runner`.
    """

    def __init__(self, path: Path | str, threads: int | None = None):
        super().__init__(str(model_file(path)), threads)
