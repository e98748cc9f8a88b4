"""Runs the model of a page of `mask-rcnn export --format web` in Python, as `lite_runner.py` does."""

import importlib.util
import json
import urllib.parse
from pathlib import Path

CONFIG = "static/config.json"  # in the folder


def model_file(folder):
    """Returns the path of the first TFLite file of a page, as its configuration names it."""
    folder = Path(folder)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return folder / urllib.parse.unquote(config["models"][0]["file"])


def _lite_runner():
    """Returns `lite_runner.py` as a module; it lies beside this file, which may be run from anywhere."""
    spec = importlib.util.spec_from_file_location("lite_runner", Path(__file__).with_name("lite_runner.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Runner(_lite_runner().Runner):
    """As `lite_runner.Runner`, for the folder of a page.

    Args:
        path: the folder.
        threads: as there.
    """

    def __init__(self, path, threads=None):
        super().__init__(str(model_file(path)), threads)
