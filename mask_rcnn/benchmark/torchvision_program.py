"""Program that measures torchvision's Mask R-CNN, run by the Python interpreter of another environment.

It does not import this package or TensorFlow. The first line of its input is a job. Each further line is the
name of a run and its argument. It answers each line with one line of JSON.

- The job is a dict. Answer: versions. Its keys:
    - `batch`: .npz file with `images` `[B, H, W, 3]` uint8 RGB, `boxes` `[B, G, 4]` yxyx,
      `class_ids` `[B, G]` and `masks` `[B, G, H, W]`.
    - `weights`: State dict as .npz or .pth, or null for random weights.
    - `save_weights`: .npz file to write the weights to.
    - `threads`, `seed`, `max_detections`, `learning_rate`, `momentum`, `weight_decay`: Numbers.
- `inference SCORE_THRESHOLD` or `training`. Answer: `wall` and `cpu`, seconds, and one of
    - `detections`: For each image `boxes` (yxyx), `class_ids`, `scores`.
    - `losses`: Losses by torchvision's names.
- After any error, the answer is a dict with `error`.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

NUM_OUTPUTS = 91  # COCO's category ids and the background

# Factor for the output of each residual block with random weights. Without it, the feature maps would grow
# from block to block until all scores but one are 0.
RESIDUAL_SCALE = 0.2


def build_model(job: dict[str, Any], size: tuple[int, int]) -> Any:
    """Returns `maskrcnn_resnet50_fpn`, built as for its COCO_V1 weights, for images of `size` (H, W)."""
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops import FrozenBatchNorm2d

    backbone = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3
    )
    model = MaskRCNN(
        backbone,
        NUM_OUTPUTS,
        min_size=min(size),
        max_size=max(size),
        box_detections_per_img=job["max_detections"],
    )
    for name, module in model.named_modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0
            if name.endswith("bn3"):
                module.weight.fill_(RESIDUAL_SCALE)
    return model


def load_weights(model: Any, path: str) -> None:
    """Loads a state dict, .npz or .pth, into a torch module."""
    import torch

    if path.endswith(".npz"):
        state = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state)


class Runs:
    """The model with its data. Each method is a run: it returns its measurements and its result."""

    def __init__(self, job: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(job["threads"])
        torch.manual_seed(job["seed"])
        batch = dict(np.load(job["batch"]))
        self.model = build_model(job, batch["images"].shape[1:3])
        if job["weights"]:
            load_weights(self.model, job["weights"])
        np.savez(job["save_weights"], **{k: v.numpy() for k, v in self.model.state_dict().items()})

        self.images = [torch.from_numpy(x).permute(2, 0, 1) / 255.0 for x in batch["images"]]
        self.targets = [
            {
                "boxes": torch.from_numpy(boxes[:, [1, 0, 3, 2]].astype("float32")),
                "labels": torch.from_numpy(class_ids.astype("int64")),
                "masks": torch.from_numpy(masks.astype("uint8")),
            }
            for boxes, class_ids, masks in zip(
                batch["boxes"], batch["class_ids"], batch["masks"], strict=True
            )
        ]
        self.optimizer = torch.optim.SGD(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=job["learning_rate"],
            momentum=job["momentum"],
            weight_decay=job["weight_decay"],
        )

    def inference(self, score_threshold: float) -> dict[str, Any]:
        """Returns `wall`, `cpu` and `detections` of all images; see the docstring of the module."""
        import torch

        self.model.roi_heads.score_thresh = score_threshold
        self.model.eval()
        with torch.inference_mode():
            outputs, seconds = timed(lambda: self.model(self.images))
        detections = [
            {
                "boxes": output["boxes"][:, [1, 0, 3, 2]].tolist(),
                "class_ids": output["labels"].tolist(),
                "scores": output["scores"].tolist(),
            }
            for output in outputs
        ]
        return {**seconds, "detections": detections}

    def training(self) -> dict[str, Any]:
        """Returns `wall`, `cpu` and `losses` of one training step; see the docstring of the module."""
        self.model.train()
        losses, seconds = timed(self._step)
        return {**seconds, "losses": {name: loss.item() for name, loss in losses.items()}}

    def _step(self) -> dict[str, Any]:
        self.optimizer.zero_grad()
        losses = self.model(self.images, self.targets)
        total: Any = sum(losses.values())
        total.backward()
        self.optimizer.step()
        return losses


def timed(run: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Runs a function without arguments; returns its result, and a dict of `wall` and `cpu` seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return result, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def prepare(job: dict[str, Any]) -> tuple[Runs, dict[str, str]]:
    """Returns the `Runs` of a job, and a dict of versions."""
    import torch
    import torchvision

    return Runs(job), {"torch": torch.__version__, "torchvision": torchvision.__version__}


def main() -> None:
    """Answers the lines of stdin until its end; see the docstring of the module."""
    answers, sys.stdout = sys.stdout, sys.stderr  # so that output of libraries does not mix with answers
    runs = None
    for line in sys.stdin:
        try:
            if runs is None:
                runs, answer = prepare(json.loads(line))
            else:
                name, *arguments = line.split()
                answer = getattr(runs, name)(*map(float, arguments))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
