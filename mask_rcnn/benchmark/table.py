"""Formats a benchmark report as text."""

SIDES = ("ours", "torchvision")
CLOCKS = ("wall", "cpu")


def format_report(report):
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


def processor_line(processor):
    """Returns the dict of `describe_processor` as one line."""
    return (
        f"CPU {processor['cpu']} ({processor['instruction_sets']}), oneDNN {processor['onednn']}, "
        f"kernels {processor['kernels']}"
    )


def _inference_lines(inference):
    found = ", ".join(map(str, inference["detections"]))
    yield _row("Inference, seconds per image", "wall", "CPU")
    for name, seconds in inference["stages"].items():
        yield _seconds_row(f"  {name}", seconds)
    yield _seconds_row(
        "  sum of the stages",
        {clock: sum(stage[clock] for stage in inference["stages"].values()) for clock in CLOCKS},
    )
    yield from _whole_lines(inference)
    threshold = inference["score_threshold"]
    yield f"The score threshold is {threshold:.3g}, so low that many boxes get a mask. Detections: {found}."
    if "same_detections" in inference:
        part = inference["same_detections"]
        yield f"{part:.0%} of torchvision's detections are among them (same class, IoU of at least 0.9)."


def _training_lines(training):
    yield _row("Training step, seconds per image", "wall", "CPU")
    yield from _whole_lines(training)
    losses = training["losses"]
    yield ""
    yield _row("Losses of the first step", *losses)
    for name in losses["ours"]:
        yield _row(f"  {name}", *(f"{losses[side][name]:.4f}" for side in losses))
    if "torchvision" in losses:
        yield "Weights and objects are the same. Each model samples its own anchors and RoIs."


def _whole_lines(mode):
    sides = [side for side in SIDES if side in mode]
    for side in sides:
        yield _seconds_row(f"  {side if len(sides) > 1 else 'whole'}", mode[side])
    if "ratio" in mode:
        yield _row("  ours / torchvision", *(f"{mode['ratio'][clock]:.3f}" for clock in CLOCKS))
    memory = ", ".join(f"{side} {_gigabytes(mode[side]['peak_memory'])}" for side in sides)
    yield f"Peak memory so far: {memory}."


def _row(name, *values):
    return f"{name:<32}" + "".join(f"{value:>12}" for value in values)


def _seconds_row(name, seconds):
    return _row(name, *(f"{seconds[clock]:.3f}" for clock in CLOCKS))


def _gigabytes(memory):
    return "unknown" if memory is None else f"{memory / 1e9:.2f} GB"
