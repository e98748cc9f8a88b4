"""Runs torchvision's model in a process of another environment, one measurement at a time."""

import contextlib
import json
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mask_rcnn.benchmark import torchvision_program
from mask_rcnn.benchmark.synthetic_batch import Settings, SyntheticBatch
from mask_rcnn.benchmark.timing import Seconds, peak_memory
from mask_rcnn.config import TrainConfig
from mask_rcnn.system.json_subprocess import JsonSubprocess

# From the names of torchvision's losses to the names in this package.
LOSSES = {
    "loss_objectness": "rpn_objectness_loss",
    "loss_rpn_box_reg": "rpn_box_loss",
    "loss_classifier": "class_loss",
    "loss_box_reg": "box_loss",
    "loss_mask": "mask_loss",
}


class TorchvisionProcess:
    """Context manager that runs torchvision's Mask R-CNN in its own process.

    Args:
        python: Path of the Python interpreter of an environment with torch and torchvision.
        batch: `SyntheticBatch`, the same for both models.
        settings: `Settings`.
        recipe: `TrainConfig` with learning rate, momentum and weight decay.
        weights: Path of a state dict of `maskrcnn_resnet50_fpn`, .npz or .pth. Defaults to None: random.
        max_detections: Maximum detections per image. Defaults to 100.

    Attributes:
        weights: Path of a file with the state dict that it uses.
        versions: Dict with `torch` and `torchvision`.
    """

    def __init__(
        self,
        python: str | Path,
        batch: SyntheticBatch,
        settings: Settings,
        *,
        recipe: TrainConfig,
        weights: str | Path | None = None,
        max_detections: int = 100,
    ) -> None:
        self.python = str(python)
        self._batch = batch
        self._job = {
            "weights": weights and str(weights),
            "threads": settings.threads,
            "seed": settings.seed,
            "max_detections": max_detections,
            "learning_rate": recipe.scaled_learning_rate,
            "momentum": recipe.momentum,
            "weight_decay": recipe.weight_decay,
        }

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mask_rcnn_benchmark_")))
            self.weights, batch_file = folder / "weights.npz", folder / "batch.npz"
            np.savez(batch_file, **vars(self._batch))
            # With -I (isolated), the interpreter does not import modules from the folder of the program.
            command = [self.python, "-I", torchvision_program.__file__]
            expected = f"{self.python!r} must be a Python that can run torchvision's Mask R-CNN."
            self._program = stack.enter_context(JsonSubprocess(command, expected, self._advice))
            files = {"batch": str(batch_file), "save_weights": str(self.weights)}
            self.versions = self._program.ask(json.dumps({**self._job, **files}))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def inference(self, score_threshold: float) -> tuple[Seconds, list[dict[str, Any]]]:
        """Runs inference on the images; returns `Seconds` and a list of dicts of `boxes` and `class_ids`."""
        return self._run(f"inference {score_threshold}", "detections")

    def training_step(self) -> tuple[Seconds, dict[str, float]]:
        """Runs a training step; returns `Seconds` and `{name: loss}` with the names of this package."""
        seconds, losses = self._run("training", "losses")
        return seconds, {LOSSES[name]: value for name, value in losses.items()}

    def peak_memory(self) -> int | None:
        """Returns the peak memory of its process so far in bytes, or None if it is unknown."""
        return peak_memory(self._program.process_id)

    def _run(self, name: str, result: str) -> tuple[Seconds, Any]:
        answer = self._program.ask(name)
        return Seconds(answer["wall"], answer["cpu"]), answer[result]

    def _advice(self, error: str) -> str:
        if "No module" in error:
            return f"Install it there: {self.python} -m pip install torch torchvision."
        return "This is torchvision's message."
