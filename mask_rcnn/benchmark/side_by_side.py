"""Measures a model in several formats, each in its own process, in turns, on the same images."""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mask_rcnn.benchmark.processor import describe_processor
from mask_rcnn.benchmark.synthetic_batch import Settings
from mask_rcnn.benchmark.table import processor_line
from mask_rcnn.benchmark.timing import Seconds, interleaved, median, peak_memory
from mask_rcnn.data.records import Dataset
from mask_rcnn.evaluation.model_evaluation import evaluate_model
from mask_rcnn.export.checks.verify import IsolatedRunner, size_on_disk
from mask_rcnn.export.exported import ExportedPredictor
from mask_rcnn.export.formats import KERAS, format_of
from mask_rcnn.prediction.predict import Predictor


def side_by_side(
    paths: Sequence[Path], images: Mapping[str, np.ndarray], settings: Settings
) -> dict[str, Any]:
    """Measures models from an image to its boxes and masks. Masks are not pasted.

    Args:
        paths: Paths of weights files, SavedModel folders, .tflite and .onnx files.
        images: `{name: [H, W, 3] uint8}`.
        settings: `Settings`. Batch size, size and precision are ignored, because images and models define
            them.

    Returns:
        Dict for JSON:
        settings: The settings as a dict.
        processor: Dict of `describe_processor`.
        images: Number of images.
        models: `{path: dict}`, each with
            format: Name of the format.
            versions: Versions of its runtime.
            bytes: Size on disk.
            load: Seconds to load it.
            wall, cpu: Median seconds per image.
            peak_memory: Peak memory of its process in bytes, or None if unknown.
    """
    with contextlib.ExitStack() as stack:
        models = {
            str(path): stack.enter_context(IsolatedRunner(path, images, settings.threads)) for path in paths
        }
        runs = {path: functools.partial(_run_all, model, images) for path, model in models.items()}
        seconds, _ = interleaved(runs, settings.warmup, settings.repeats)
        rows = {
            path: {
                "format": format_of(path).name,
                "versions": model.versions,
                "bytes": size_on_disk(path),
                "load": model.load,
                **dataclasses.asdict(median(seconds[path]) / len(images)),
                "peak_memory": peak_memory(model.process_id),
            }
            for path, model in models.items()
        }
    return {
        "settings": dataclasses.asdict(settings),
        "processor": describe_processor(),
        "images": len(images),
        "models": rows,
    }


def average_precision(
    path: Path, dataset: Dataset, annotations: str | Path | None
) -> dict[str, float | None]:
    """Returns COCO's AP of a model, such as `{"bbox": AP, "segm": AP}`. An AP is None if not measurable.

    Args:
        path: Path of a model, as in `side_by_side`.
        dataset: `Dataset`.
        annotations: Path of the COCO json of the data set.
    """
    is_keras = format_of(path) is KERAS
    predictor = Predictor.load(path) if is_keras else ExportedPredictor(path)
    metrics, _ = evaluate_model(predictor, dataset, annotations)
    return {name: numbers["AP"] for name, numbers in metrics.summary.items()}


def format_side_by_side(report: dict[str, Any]) -> str:
    """Returns a report of `side_by_side` as a text table. A row may have `AP` from `average_precision`."""
    settings, rows = report["settings"], report["models"]
    iou_types = list(dict.fromkeys(name for row in rows.values() for name in row.get("AP", {})))
    lines = [
        f"{report['images']} images one by one, {settings['threads']} threads; median of "
        f"{settings['repeats']} runs after {settings['warmup']}, in turns, each model in its own process",
        processor_line(report["processor"]),
        "",
        _row("", ["disk MB", "load s", "wall s", "CPU s", "peak MB", *(f"{name} AP" for name in iou_types)]),
    ]
    for path, row in rows.items():
        memory = row["peak_memory"]
        numbers = [f"{row['bytes'] / 1e6:.1f}", *(f"{row[name]:.3f}" for name in ("load", "wall", "cpu"))]
        numbers.append("unknown" if memory is None else f"{memory / 1e6:.0f}")
        scores = [row["AP"][name] for name in iou_types if name in row.get("AP", {})]
        numbers += ["–" if score is None else f"{score:.4f}" for score in scores]
        lines.append(_row(f"{Path(path).name} ({row['format']})", numbers))
    return "\n".join(lines)


def _row(name: str, values: Sequence[str]) -> str:
    return f"{name:<44}" + "".join(f"{value:>10}" for value in values)


def _run_all(model: IsolatedRunner, images: Mapping[str, np.ndarray]) -> tuple[Seconds, None]:
    """Returns the `Seconds` of all images together, and None as the result."""
    runs = [model.run(name) for name in images]
    return Seconds(*(sum(run[clock] for run in runs) for clock in ("wall", "cpu"))), None
