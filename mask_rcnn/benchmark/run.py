"""Runs a benchmark: measures a model with given settings and returns a report of plain numbers."""

import dataclasses
import functools
import platform

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.benchmark import package_model, torchvision_peer
from mask_rcnn.benchmark.processor import describe_processor
from mask_rcnn.benchmark.synthetic_batch import make_work
from mask_rcnn.benchmark.timing import interleaved, median, peak_memory
from mask_rcnn.benchmark.torchvision_process import TorchvisionPeer
from mask_rcnn.data.rgb8 import from_rgb8
from mask_rcnn.model import build_parts, dtype_policy
from mask_rcnn.model_zoo import torchvision
from mask_rcnn.model_zoo.convert import convert
from mask_rcnn.model_zoo.readers import read_state_dict
from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.weights import load_weights

SAME_BOX = 0.9  # minimum IoU of two boxes that count as the same detection


def benchmark(config, settings, weights=None):
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
            ours: Dict with `wall` and `cpu`, median seconds per image; `runs`, all measurements;
                `peak_memory`, bytes or None.
            torchvision: The same for torchvision's model. Only in a comparison.
            ratio: `wall` and `cpu` of this model divided by torchvision's. Only in a comparison.
            stages: `{name: {"wall", "cpu"}}`. Only for inference.
            score_threshold: Score threshold of the detections. Only for inference.
            detections: Number of detections of each image. Only for inference.
            same_detections: Fraction of torchvision's detections that this model also finds: same class, IoU
                of 0.9. Only for inference in a comparison.
            losses: `{"ours" or "torchvision": {name: loss}}` of the first step. Only for training.
    """
    config = package_model.benchmark_config(config, settings)
    with dtype_policy(settings.precision):
        parts = _random_parts(config, settings.seed)
        if weights:
            load_weights(weights, parts)
        work = make_work(settings, config.num_classes)
        work = dataclasses.replace(work, images=from_rgb8(work.images, config.input))
        return _measure(parts, config, settings, work)


def benchmark_against_torchvision(python, settings, weights=None):
    """Measures torchvision's `maskrcnn_resnet50_fpn` and the same model of this package, on equal weights.

    Args:
        python: Path of the Python interpreter of an environment with torch and torchvision.
        settings: `Settings`. The precision only applies to this package, as torchvision uses float32.
        weights: Path of a state dict of the model, .npz or .pth. Defaults to None: random weights.

    Returns:
        The report of `benchmark`.
    """
    config = package_model.benchmark_config(torchvision.maskrcnn_resnet50_fpn(), settings)
    work = make_work(settings, config.num_classes)
    peer = TorchvisionPeer(python, work, settings, config.train, weights, config.box_head.max_detections)
    with peer, dtype_policy(settings.precision):
        parts = build_parts(config)
        convert(
            parts,
            read_state_dict(peer.weights),
            torchvision.TABLE,
            ignored=torchvision.IGNORED,
            source=peer.weights,
        )
        return _measure(parts, config, settings, work, peer)


def _random_parts(config, seed):
    keras.utils.set_random_seed(seed)
    parts = build_parts(config)
    for variable in parts.backbone.weights:
        if variable.path.endswith(("conv3/norm/gamma", "project/norm/gamma")):
            variable.assign(torchvision_peer.RESIDUAL_SCALE * variable)
    return parts


def _measure(parts, config, settings, work, peer=None):
    report = {
        "settings": dataclasses.asdict(settings),
        "processor": describe_processor(),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            **(peer.versions if peer else {}),
        },
    }
    if "inference" in settings.modes:
        report["inference"] = _measure_inference(parts, config, settings, work, peer)
    if "training" in settings.modes:
        report["training"] = _measure_training(parts, config, settings, work, peer)
    return report


def _measure_inference(parts, config, settings, work, peer):
    threshold = package_model.busy_threshold(parts, config, work.images)
    box_head = dataclasses.replace(config.box_head, score_threshold=threshold)
    predictor = package_model.make_predictor(parts, dataclasses.replace(config, box_head=box_head))
    runs = {"ours": package_model.inference(predictor, work.images)}
    if peer:
        runs["torchvision"] = functools.partial(peer.inference, threshold)
    report, first = _compare(runs, settings, peer)
    report["score_threshold"] = threshold
    report["detections"] = [len(found) for found in first["ours"]]
    if peer:
        report["same_detections"] = float(np.mean([*map(_agreement, first["ours"], first["torchvision"])]))
    stages = package_model.inference_stages(predictor, parts, work.images)
    seconds, _ = interleaved(stages, settings.warmup, settings.repeats)
    report["stages"] = {name: _median(taken, settings) for name, taken in seconds.items()}
    return report


def _measure_training(parts, config, settings, work, peer):
    runs = {"ours": package_model.training_step(parts, config, work)}
    if peer:
        runs["torchvision"] = peer.training_step
    report, first = _compare(runs, settings, peer)
    return {**report, "losses": first}


def _compare(runs, settings, peer):
    """Returns the report of `runs`, measured in turns, and the first result of each."""
    seconds, first = interleaved(runs, settings.warmup, settings.repeats)
    report = {
        side: {
            **_median(taken, settings),
            "runs": [dataclasses.asdict(run / settings.batch_size) for run in taken],
            "peak_memory": peer.peak_memory() if side == "torchvision" else peak_memory(),
        }
        for side, taken in seconds.items()
    }
    if peer:
        report["ratio"] = {
            clock: report["ours"][clock] / report["torchvision"][clock] for clock in ("wall", "cpu")
        }
    return report, first


def _median(seconds, settings):
    return dataclasses.asdict(median(seconds) / settings.batch_size)


def _agreement(found, expected):
    """Returns the fraction of `expected`, a dict of `boxes` and `class_ids`, that is among `Detections`."""
    if not expected["boxes"]:
        return 1.0
    iou = box_ops.iou(np.array(expected["boxes"], "float32"), found.boxes).numpy()  # [expected, found]
    same_class = np.array(expected["class_ids"])[:, None] == found.class_ids
    return float(np.mean(np.any((iou >= SAME_BOX) & same_class, axis=1)))
