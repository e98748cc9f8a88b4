"""The other side: a program that runs beside us in another environment, asked one run at a time."""

import contextlib
import json
import tempfile
from pathlib import Path

import numpy as np

from mask_rcnn.benchmark import torchvision_peer
from mask_rcnn.benchmark.timing import Seconds, peak_memory
from mask_rcnn.program import Program

# torchvision's names of our losses.
LOSSES = {
    "loss_objectness": "rpn_objectness_loss",
    "loss_rpn_box_reg": "rpn_box_loss",
    "loss_classifier": "class_loss",
    "loss_box_reg": "box_loss",
    "loss_mask": "mask_loss",
}


class TorchvisionPeer:
    """torchvision's Mask R-CNN in a process of its own; a context manager.

    Args:
        python: path of the interpreter of an environment that has torch and torchvision.
        work: `Work` for both sides.
        settings: `Settings`.
        recipe: `TrainConfig` with the learning rate, momentum and weight decay.
        weights: state dict of `maskrcnn_resnet50_fpn`, .npz or .pth; None is random.
        max_detections: of an image.

    Attributes:
        weights: file with the state dict that it uses.
        versions: dict with `torch` and `torchvision`.
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
            # Isolated (-I), the interpreter does not look for modules beside the program, which are ours.
            words = [self.python, "-I", torchvision_peer.__file__]
            expected = f"{self.python!r} must be a Python that can run torchvision's Mask R-CNN."
            self._program = stack.enter_context(Program(words, expected, self._advice))
            files = {"work": str(work), "save_weights": str(self.weights)}
            self.versions = self._program.ask(json.dumps({**self._job, **files}))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def inference(self, score_threshold):
        """Runs inference on the images; returns `Seconds` and a list of dicts with `boxes`, `class_ids`."""
        return self._run(f"inference {score_threshold}", "detections")

    def training_step(self):
        """Makes one step; returns `Seconds` and `{name: loss}`, in our names."""
        seconds, losses = self._run("training", "losses")
        return seconds, {LOSSES[name]: value for name, value in losses.items()}

    def peak_memory(self):
        """Returns the most memory it has held so far, bytes; None where the system does not tell."""
        return peak_memory(self._program.process_id)

    def _run(self, name, result):
        answer = self._program.ask(name)
        return Seconds(answer["wall"], answer["cpu"]), answer[result]

    def _advice(self, error):
        if "No module" in error:
            return f"Install it there: {self.python} -m pip install torch torchvision."
        return "This is torchvision's message."
