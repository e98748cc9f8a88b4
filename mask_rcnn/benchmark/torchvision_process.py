"""Runs torchvision's model in a process of another environment, one measurement at a time."""

import contextlib
import json
import tempfile
from pathlib import Path

import numpy as np

from mask_rcnn.benchmark import torchvision_peer
from mask_rcnn.benchmark.timing import Seconds, peak_memory
from mask_rcnn.system.json_subprocess import JsonSubprocess

# From the names of torchvision's losses to the names in this package.
LOSSES = {
    "loss_objectness": "rpn_objectness_loss",
    "loss_rpn_box_reg": "rpn_box_loss",
    "loss_classifier": "class_loss",
    "loss_box_reg": "box_loss",
    "loss_mask": "mask_loss",
}


class TorchvisionPeer:
    """Context manager that runs torchvision's Mask R-CNN in its own process.

    Args:
        python: Path of the Python interpreter of an environment with torch and torchvision.
        work: `Work`, the same for both models.
        settings: `Settings`.
        recipe: `TrainConfig` with learning rate, momentum and weight decay.
        weights: Path of a state dict of `maskrcnn_resnet50_fpn`, .npz or .pth. Defaults to None: random.
        max_detections: Maximum detections per image. Defaults to 100.

    Attributes:
        weights: Path of a file with the state dict that it uses.
        versions: Dict with `torch` and `torchvision`.
    """

    def __init__(self, python, work, settings, recipe, weights=None, max_detections=100):
        self.python = str(python)
        self._work = work
        self._job = {
            "weights": weights and str(weights),
            "threads": settings.threads,
            "seed": settings.seed,
            "max_detections": max_detections,
            "learning_rate": recipe.scaled_learning_rate,
            "momentum": recipe.momentum,
            "weight_decay": recipe.weight_decay,
        }

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mask_rcnn_benchmark_")))
            self.weights, work = folder / "weights.npz", folder / "work.npz"
            np.savez(work, **vars(self._work))
            # With -I (isolated), the interpreter does not import modules from the folder of the program.
            words = [self.python, "-I", torchvision_peer.__file__]
            expected = f"{self.python!r} must be a Python that can run torchvision's Mask R-CNN."
            self._program = stack.enter_context(JsonSubprocess(words, expected, self._advice))
            files = {"work": str(work), "save_weights": str(self.weights)}
            self.versions = self._program.ask(json.dumps({**self._job, **files}))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def inference(self, score_threshold):
        """Runs inference on the images; returns `Seconds` and a list of dicts of `boxes` and `class_ids`."""
        return self._run(f"inference {score_threshold}", "detections")

    def training_step(self):
        """Runs a training step; returns `Seconds` and `{name: loss}` with the names of this package."""
        seconds, losses = self._run("training", "losses")
        return seconds, {LOSSES[name]: value for name, value in losses.items()}

    def peak_memory(self):
        """Returns the peak memory of its process so far in bytes, or None if it is unknown."""
        return peak_memory(self._program.process_id)

    def _run(self, name, result):
        answer = self._program.ask(name)
        return Seconds(answer["wall"], answer["cpu"]), answer[result]

    def _advice(self, error):
        if "No module" in error:
            return f"Install it there: {self.python} -m pip install torch torchvision."
        return "This is torchvision's message."
