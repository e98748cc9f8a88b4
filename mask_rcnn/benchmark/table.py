"""Formats a benchmark report as text."""

from collections.abc import Iterator, Mapping
from typing import Any

from mask_rcnn.system.memory import GIGABYTE

MODELS = ("mask_rcnn", "torchvision")
CLOCKS = ("wall", "cpu")


def format_report(report: Mapping[str, Any]) -> str:
    """Returns the tables of a report of `run.benchmark` as text."""
    settings = report["settings"]
    height, width = settings["size"]
    lines = [
        f"Mask R-CNN, {height} x {width}, batch {settings['batch_size']}, {settings['precision']}, "
        f"{settings['threads']} threads; median of {settings['repeats']} runs after {settings['warmup']}",
        ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        processor_line(report["processor"]),
    ]
    if "inference" in report:
        lines += ["", *_inference_lines(report["inference"])]
    if "training" in report:
        lines += ["", *_training_lines(report["training"])]
    return "\n".join(lines)


def processor_line(processor: Mapping[str, str]) -> str:
    """Returns the dict of `describe_processor` as one line."""
    return (
        f"CPU {processor['cpu']} ({processor['instruction_sets']}), oneDNN {processor['onednn']}, "
        f"kernels {processor['kernels']}"
    )


def _inference_lines(inference: Mapping[str, Any]) -> Iterator[str]:
    counts = ", ".join(map(str, inference["detections"]))
    yield _row("Inference, seconds per image", "wall", "CPU")
    for name, seconds in inference["stages"].items():
        yield _seconds_row(f"  {name}", seconds)
    yield _seconds_row(
        "  sum of the stages",
        {clock: sum(stage[clock] for stage in inference["stages"].values()) for clock in CLOCKS},
    )
    yield from _whole_lines(inference)
    threshold = inference["score_threshold"]
    yield f"The score threshold is {threshold:.3g}, so low that many boxes get a mask. Detections: {counts}."
    if "same_detections" in inference:
        fraction = inference["same_detections"]
        yield f"{fraction:.0%} of torchvision's detections are among them (same class, IoU of at least 0.9)."


def _training_lines(training: Mapping[str, Any]) -> Iterator[str]:
    yield _row("Training step, seconds per image", "wall", "CPU")
    yield from _whole_lines(training)
    losses = training["losses"]
    yield ""
    yield _row("Losses of the first step", *losses)
    for name in losses["mask_rcnn"]:
        yield _row(f"  {name}", *(f"{losses[model][name]:.4f}" for model in losses))
    if "torchvision" in losses:
        yield "Weights and objects are the same. Each model samples its own anchors and RoIs."


def _whole_lines(mode: Mapping[str, Any]) -> Iterator[str]:
    models = [model for model in MODELS if model in mode]
    for model in models:
        yield _seconds_row(f"  {model if len(models) > 1 else 'whole'}", mode[model])
    if "ratio" in mode:
        yield _row("  mask_rcnn / torchvision", *(f"{mode['ratio'][clock]:.3f}" for clock in CLOCKS))
    memory = ", ".join(f"{model} {_gigabytes(mode[model]['peak_memory'])}" for model in models)
    yield f"Peak memory so far: {memory}."


def _row(name: str, *values: object) -> str:
    return f"{name:<32}" + "".join(f"{value:>12}" for value in values)


def _seconds_row(name: str, seconds: Mapping[str, float]) -> str:
    return _row(name, *(f"{seconds[clock]:.3f}" for clock in CLOCKS))


def _gigabytes(memory: int | None) -> str:
    return "unknown" if memory is None else f"{memory / GIGABYTE:.2f} GB"
