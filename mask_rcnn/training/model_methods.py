"""Functions behind methods of `MaskRCNN`: presets, the config that Keras saves, detection and export."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mask_rcnn import config_io, model_zoo
from mask_rcnn.config import Config, InputConfig
from mask_rcnn.model_zoo.pretrained import weights_file
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.prediction.tiled_predictor import TiledPredictor
from mask_rcnn.prediction.tiles import Tiling
from mask_rcnn.structures import Category, Detections
from mask_rcnn.weights import read_header

FORMAT_OF_SUFFIX = {".tflite": "tflite", ".onnx": "onnx"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """Config, classes and weights of a preset.

    Args:
        config: `Config`. If `weights` is None, `train.init_weights` or `backbone.weights` names the weights.
        categories: `Category`s or class names. None for numbered names.
        weights: Path of a weights file with these classes, or None.
    """

    config: Config
    categories: Sequence[Category | str] | None
    weights: Path | None


def read_preset(
    name: str | Path, *, num_classes: int | None, categories: Sequence[Category | str] | None
) -> Preset:
    """Returns the `Preset` with a name; see `MaskRCNN.from_preset`."""
    num_classes = len(categories) if num_classes is None and categories is not None else num_classes
    if isinstance(name, str) and name in model_zoo.names():
        config = model_zoo.config(name)
        if num_classes is None and not config.num_classes:
            raise ValueError(
                "A recipe without a number of classes needs `num_classes` or `categories`. "
                f'Received: from_preset({name!r}). Add, for example, `categories=("cat", "dog")`.'
            )
        config = dataclasses.replace(config, num_classes=num_classes or config.num_classes)
        return Preset(config=config, categories=categories, weights=None)
    path = weights_file(name)
    config, preset_categories = read_header(path)
    if num_classes is None or (categories is None and num_classes == config.num_classes):
        return Preset(config=config, categories=preset_categories, weights=path)
    train = dataclasses.replace(model_zoo.config("fine_tune").train, init_weights=str(path))
    config = dataclasses.replace(config, num_classes=num_classes, train=train)
    return Preset(config=config, categories=categories, weights=None)


def constructor_arguments(config: Config | dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `MaskRCNN` for a `Config`, or for the dict of `MaskRCNN.get_config`."""
    if isinstance(config, Config):
        return {"config": config}
    categories = tuple(Category(**category) for category in config["categories"])
    return {**config, "config": config_io.from_text(config["config"]), "categories": categories}


def detect_images(
    predictor: Predictor,
    images: Iterable[str | Path | np.ndarray],
    *,
    batch_size: int | None,
    tiling: Tiling | None,
) -> list[Detections]:
    """Returns the `Detections` of each image; see `MaskRCNN.predict_images`."""
    detector = predictor if tiling is None else TiledPredictor(predictor, tiling)
    detections = []
    for _, result in detector.predict_many(images, batch_size=batch_size):
        if isinstance(result, Exception):
            raise result
        detections.append(result)
    return detections


def export_weights(
    save_weights: Callable[[Path], None],
    input_config: InputConfig,
    path: str | Path,
    *,
    format: str | None,
    images: Sequence[str | Path] | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Exports a model for another runtime; see `MaskRCNN.export`.

    Args:
        save_weights: Function that writes the weights file of the model to a path.
        input_config: `InputConfig` of the model.
        path, format, images, options: As in `MaskRCNN.export`.
    """
    from mask_rcnn.export.checks.samples import comparison_images
    from mask_rcnn.export.export_model import Options, export_model

    format = format or FORMAT_OF_SUFFIX.get(Path(path).suffix, "saved_model")
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "model.weights.h5"
        save_weights(weights)
        samples = comparison_images(images, input_config)
        return export_model(weights, path, format=format, images=samples, options=Options(**options))
