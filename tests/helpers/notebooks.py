"""Runs the notebooks of samples/. As a program, it rewrites them with their outputs: `make samples`."""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from locations import SAMPLES
from nbclient import NotebookClient

NAMES = (
    "detect",
    "train_on_your_data",
    "inspect_data",
    "augmentations",
    "inspect_model",
    "inspect_weights",
    "error_analysis",
    "export_and_compare",
    "serve_and_call",
    "paper_ideas",
    "your_own_backbone_and_head",
    "distributed_training",
)
TIMEOUT = 900  # seconds per cell; on a busy machine a minute of training takes several minutes

# No downloads of published weights, and no start-up messages of TensorFlow.
ENVIRONMENT = {"MASK_RCNN_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def copy_data(folder):
    """Copies the data of the notebooks to the folder in which they run."""
    shutil.copytree(SAMPLES / "fruits_nuts", folder / "fruits_nuts")


def execute(name, folder, changes=None):
    """Runs a notebook in a new kernel.

    Args:
        name: Name of the notebook, one of NAMES.
        folder: Working directory of the notebook.
        changes: `{old text: new text}` of its source, for shorter runs. Defaults to None.

    Returns:
        The notebook with its outputs, without those on stderr.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed. The message says which.
    """
    text = (SAMPLES / f"{name}.py").read_text(encoding="utf-8")
    for old, new in (changes or {}).items():
        if old not in text:
            raise ValueError(
                f"{name}.py must have what is to be changed. Received: {old!r}. Correct the test."
            )
        text = text.replace(old, new)
    notebook = jupytext.reads(text, fmt="py:percent")
    os.environ.update(ENVIRONMENT)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=TIMEOUT, record_timing=False, resources=resources).execute()
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same in every run
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    return notebook


def pictures(notebook):
    """Returns the number of pictures that a notebook shows."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("image/jpeg" in output.get("data", {}) for output in outputs)


def main():
    names = sys.argv[1:] or NAMES
    with tempfile.TemporaryDirectory(prefix="mask_rcnn_samples_") as folder:
        copy_data(Path(folder))
        for name in names:
            start = time.time()
            notebook = execute(name, folder)
            nbformat.write(notebook, SAMPLES / f"{name}.ipynb")
            print(f"{name}: {time.time() - start:.0f} seconds, {pictures(notebook)} pictures")


if __name__ == "__main__":
    main()
