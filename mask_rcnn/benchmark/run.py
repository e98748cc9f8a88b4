"""Runs a benchmark: measures a model with given settings and returns a report of plain numbers."""

import dataclasses
import functools
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.benchmark import package_model, torchvision_program
from mask_rcnn.benchmark.processor import describe_processor
from mask_rcnn.benchmark.synthetic_batch import Settings, SyntheticBatch, make_synthetic_batch
from mask_rcnn.benchmark.timing import Seconds, interleaved, median, peak_memory
from mask_rcnn.benchmark.torchvision_process import TorchvisionProcess
from mask_rcnn.config import Config
from mask_rcnn.data.image_io.rgb8 import from_rgb8
from mask_rcnn.model import Parts, build_parts, dtype_policy
from mask_rcnn.model_zoo import torchvision
from mask_rcnn.model_zoo.convert import convert
from mask_rcnn.model_zoo.readers import read_state_dict
from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.structures import Detections
from mask_rcnn.weights import load_weights

SAME_BOX = 0.9  # minimum IoU of two boxes that count as the same detection


def benchmark(config: Config, settings: Settings, weights: str | Path | None = None) -> dict[str, Any]:
    """Measures one model.

    Args:
        config: `Config` of the model.
        settings: `Settings`.
        weights: Path of its weights file. Defaults to None: random weights.

    Returns:
        Dict for JSON:
        settings: The settings as a dict.
        processor: Dict of `describe_processor`.
        versions: Dict of versions by package.
        inference, training: One dict for each mode of the settings, with
            mask_rcnn: Dict with `wall` and `cpu`, median seconds per image; `runs`, all measurements;
                `peak_memory`, bytes or None.
            torchvision: The same for torchvision's model. Only in a comparison.
            ratio: `wall` and `cpu` of `mask_rcnn` divided by those of `torchvision`. Only in a comparison.
            stages: `{name: {"wall", "cpu"}}`. Only for inference.
            score_threshold: Score threshold of the detections. Only for inference.
            detections: Number of detections of each image. Only for inference.
            same_detections: Fraction of torchvision's detections that the model of this package also finds:
                same class, IoU of 0.9. Only for inference in a comparison.
            losses: `{"mask_rcnn" or "torchvision": {name: loss}}` of the first step. Only for training.
    """
    config = package_model.benchmark_config(config, settings)
    with dtype_policy(settings.precision):
        parts = _random_parts(config, settings.seed)
        if weights:
            load_weights(weights, parts)
        batch = make_synthetic_batch(settings, config.num_classes)
        batch = dataclasses.replace(batch, images=from_rgb8(batch.images, config.input))
        return _measure(parts, config, settings, batch=batch)


def benchmark_against_torchvision(
    python: str | Path, settings: Settings, weights: str | Path | None = None
) -> dict[str, Any]:
    """Measures torchvision's `maskrcnn_resnet50_fpn` and the same model of this package, on equal weights.

    Args:
        python: Path of the Python interpreter of an environment with torch and torchvision.
        settings: `Settings`. The precision only applies to this package, as torchvision uses float32.
        weights: Path of a state dict of the model, .npz or .pth. Defaults to None: random weights.

    Returns:
        The report of `benchmark`.
    """
    config = package_model.benchmark_config(torchvision.maskrcnn_resnet50_fpn(), settings)
    batch = make_synthetic_batch(settings, config.num_classes)
    process = TorchvisionProcess(
        python,
        batch,
        settings,
        recipe=config.train,
        weights=weights,
        max_detections=config.box_head.max_detections,
    )
    with process, dtype_policy(settings.precision):
        parts = build_parts(config)
        convert(
            parts,
            read_state_dict(process.weights),
            torchvision.TABLE,
            ignored=torchvision.IGNORED,
            source=process.weights,
        )
        return _measure(parts, config, settings, batch=batch, process=process)


def _random_parts(config: Config, seed: int) -> Parts:
    keras.utils.set_random_seed(seed)
    parts = build_parts(config)
    for variable in parts.backbone.weights:
        if variable.path.endswith(("conv3/norm/gamma", "project/norm/gamma")):
            variable.assign(torchvision_program.RESIDUAL_SCALE * variable)
    return parts


def _measure(
    parts: Parts,
    config: Config,
    settings: Settings,
    *,
    batch: SyntheticBatch,
    process: TorchvisionProcess | None = None,
) -> dict[str, Any]:
    """Returns the report of `benchmark`, in comparison with a `TorchvisionProcess` if there is one."""
    report: dict[str, Any] = {
        "settings": dataclasses.asdict(settings),
        "processor": describe_processor(),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            **(process.versions if process else {}),
        },
    }
    if "inference" in settings.modes:
        report["inference"] = _measure_inference(parts, config, settings, batch=batch, process=process)
    if "training" in settings.modes:
        report["training"] = _measure_training(parts, config, settings, batch=batch, process=process)
    return report


def _measure_inference(
    parts: Parts,
    config: Config,
    settings: Settings,
    *,
    batch: SyntheticBatch,
    process: TorchvisionProcess | None,
) -> dict[str, Any]:
    threshold = package_model.many_detections_threshold(parts, config, batch.images)
    box_head = dataclasses.replace(config.box_head, score_threshold=threshold)
    predictor = package_model.make_predictor(parts, dataclasses.replace(config, box_head=box_head))
    runs: dict[str, Callable[[], tuple[Seconds, Any]]]
    runs = {"mask_rcnn": package_model.inference(predictor, batch.images)}
    if process:
        runs["torchvision"] = functools.partial(process.inference, threshold)
    report, first = _compare(runs, settings, process)
    report["score_threshold"] = threshold
    report["detections"] = [len(detections) for detections in first["mask_rcnn"]]
    if process:
        fractions = map(_fraction_found, first["mask_rcnn"], first["torchvision"])
        report["same_detections"] = float(np.mean([*fractions]))
    stages = package_model.inference_stages(predictor, parts, batch.images)
    seconds, _ = interleaved(stages, settings.warmup, settings.repeats)
    report["stages"] = {name: _median(measured, settings) for name, measured in seconds.items()}
    return report


def _measure_training(
    parts: Parts,
    config: Config,
    settings: Settings,
    *,
    batch: SyntheticBatch,
    process: TorchvisionProcess | None,
) -> dict[str, Any]:
    runs: dict[str, Callable[[], tuple[Seconds, Any]]]
    runs = {"mask_rcnn": package_model.training_step(parts, config, batch)}
    if process:
        runs["torchvision"] = process.training_step
    report, first = _compare(runs, settings, process)
    return {**report, "losses": first}


def _compare(
    runs: Mapping[str, Callable[[], tuple[Seconds, Any]]],
    settings: Settings,
    process: TorchvisionProcess | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the report of `runs`, measured in turns, and the first result of each."""
    seconds, first = interleaved(runs, settings.warmup, settings.repeats)
    report: dict[str, Any] = {
        model: {
            **_median(measured, settings),
            "runs": [dataclasses.asdict(run / settings.batch_size) for run in measured],
            "peak_memory": process.peak_memory() if process and model == "torchvision" else peak_memory(),
        }
        for model, measured in seconds.items()
    }
    if process:
        report["ratio"] = {
            clock: report["mask_rcnn"][clock] / report["torchvision"][clock] for clock in ("wall", "cpu")
        }
    return report, first


def _median(seconds: Sequence[Seconds], settings: Settings) -> dict[str, float]:
    return dataclasses.asdict(median(seconds) / settings.batch_size)


def _fraction_found(detections: Detections, expected: Mapping[str, Any]) -> float:
    """Returns the fraction of `expected`, a dict of `boxes` and `class_ids`, that is among `detections`."""
    if not expected["boxes"]:
        return 1.0
    iou = box_ops.iou(
        np.array(expected["boxes"], "float32"), detections.boxes
    ).numpy()  # [expected, detections]
    same_class = np.array(expected["class_ids"])[:, None] == detections.class_ids
    return float(np.mean(np.any((iou >= SAME_BOX) & same_class, axis=1)))
