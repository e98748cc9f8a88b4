"""Measures an evaluation from image files to scores, next to the model alone, in images per second."""

import dataclasses
import functools
import statistics
from typing import Any

from mask_rcnn.benchmark import package_model
from mask_rcnn.benchmark.processor import describe_processor
from mask_rcnn.benchmark.table import processor_line
from mask_rcnn.benchmark.timing import Seconds, interleaved, median, peak_memory, timed
from mask_rcnn.config import Config
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.data.readers.coco_content import CocoContent
from mask_rcnn.data.records import Dataset
from mask_rcnn.evaluation.coco_evaluation import evaluate_results
from mask_rcnn.evaluation.model_evaluation import evaluate_model, record_batches
from mask_rcnn.model import build_parts, dtype_policy
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.system.paths import AnyPath

CHUNK_IMAGES = 32  # number of images that are preprocessed before each measurement of the model
WARMUP_IMAGES = 8


def predictor_of_random_weights(config: Config, dataset: Dataset, precision: str = "float32") -> Predictor:
    """Returns a `Predictor` with random weights that gives as many detections as a trained one may give.

    Args:
        config: `Config`. The number of classes is taken from the data set.
        dataset: `Dataset`. The score threshold is fitted to its first image.
        precision: Keras dtype policy. Defaults to "float32".
    """
    config = dataclasses.replace(config, num_classes=len(dataset.categories))
    with dtype_policy(precision):
        parts = build_parts(config)
        threshold = package_model.many_detections_threshold(
            parts, config, [read_image(dataset.images[0].path)]
        )
        box_head = dataclasses.replace(config.box_head, score_threshold=threshold)
        return Predictor(parts, dataclasses.replace(config, box_head=box_head), dataset.categories)


def prediction_speed(
    predictor: Predictor,
    dataset: Dataset,
    annotations: AnyPath | CocoContent,
    *,
    batch_size: int = 1,
    repeats: int = 3,
) -> dict[str, Any]:
    """Measures an evaluation, from image files to scores, in turns with the model alone.

    Args:
        predictor: `Predictor`.
        dataset: `Dataset` of real images.
        annotations: As in `evaluate_model`.
        batch_size: Number of images per batch. Defaults to 1.
        repeats: Number of runs, of which the median is reported. Defaults to 3.

    Returns:
        Dict for JSON:
        images: Number of images.
        batch_size: As given.
        processor: Dict of `describe_processor`.
        model: Dict with `wall` and `cpu`, seconds per image of the model alone on preprocessed batches.
        evaluate: Dict with `wall` and `cpu` of `evaluate_model`.
        scoring: Dict with `wall` and `cpu` of its last part, the computation of COCO's AP.
        ratio: Images per second of `evaluate` divided by those of `model`, median of the runs.
        peak_memory: Peak memory of this process in bytes, or None if unknown.
    """
    first_images = dataclasses.replace(dataset, images=dataset.images[:WARMUP_IMAGES])
    evaluate_model(predictor, first_images, annotations, batch_size=batch_size)  # traces the model
    evaluate = functools.partial(evaluate_model, predictor, dataset, annotations, batch_size=batch_size)
    runs = {
        "model": functools.partial(_run_model, predictor, dataset, batch_size),
        "evaluate": lambda: timed(evaluate),
    }
    seconds, first = interleaved(runs, warmup=0, repeats=repeats)
    _, entries = first["evaluate"]
    seconds["scoring"] = [timed(lambda: evaluate_results(entries, annotations))[0]]
    pairs = zip(seconds["model"], seconds["evaluate"], strict=True)
    return {
        "images": len(dataset),
        "batch_size": batch_size,
        "processor": describe_processor(),
        **{name: dataclasses.asdict(median(measured) / len(dataset)) for name, measured in seconds.items()},
        "ratio": statistics.median(model.wall / evaluation.wall for model, evaluation in pairs),
        "peak_memory": peak_memory(),
    }


def _run_model(predictor: Predictor, dataset: Dataset, batch_size: int) -> tuple[Seconds, None]:
    """Returns the `Seconds` of the model alone on all images of a data set, and None as the result."""
    total = Seconds(0.0, 0.0)
    for first in range(0, len(dataset), CHUNK_IMAGES):
        records = dataset.images[first : first + CHUNK_IMAGES]
        groups = record_batches(predictor, records, batch_size)
        batches = [[predictor.preprocess(read_image(record.path))[0] for record in group] for group in groups]
        seconds, _ = timed(lambda batches=batches: [predictor.detect_batch(batch) for batch in batches])
        total += seconds
    return total, None


def format_prediction_speed(report: dict[str, Any]) -> str:
    """Returns a report of `prediction_speed` as a text table."""
    lines = [
        f"Evaluation of {report['images']} images, batch {report['batch_size']}",
        processor_line(report["processor"]),
        "",
        f"{'':<24}{'images/s':>12}{'wall s':>12}{'CPU s':>12}",
    ]
    labels = {"model": "model, batches ready", "evaluate": "files to scores", "scoring": "  of it: scores"}
    for name, label in labels.items():
        wall, cpu = report[name]["wall"], report[name]["cpu"]
        lines.append(f"{label:<24}{1 / wall:>12.2f}{wall:>12.4f}{cpu:>12.4f}")
    lines.append(f"ratio of images per second {report['ratio']:.3f}")
    if report["peak_memory"]:
        lines.append(f"peak memory {report['peak_memory'] / 1e6:.0f} MB")
    return "\n".join(lines)
