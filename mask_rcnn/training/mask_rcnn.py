"""`MaskRCNN`: a detector with its config and classes as a `keras.Model`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import keras
import numpy as np

from mask_rcnn import config_io
from mask_rcnn.config import Config
from mask_rcnn.data.records import Dataset
from mask_rcnn.model import Parts, build_parts, dtype_policy, training_model
from mask_rcnn.model_zoo.pretrained import weights_file
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.prediction.tiles import OVERLAP, Tiling
from mask_rcnn.structures import Category, Detections, as_categories
from mask_rcnn.system.paths import as_path
from mask_rcnn.training import model_methods
from mask_rcnn.training.batches import BATCH_SIZE, Batch, BatchSource, add_seeds, as_batches
from mask_rcnn.training.initial_weights import check_initial_weights, initialize
from mask_rcnn.training.optimizer import build_optimizer
from mask_rcnn.training.trainer import Trainer
from mask_rcnn.weights import load_weights, save_weights

Categories: TypeAlias = Sequence[Category | str]
TrainingData: TypeAlias = Dataset | BatchSource


@keras.saving.register_keras_serializable(package="mask_rcnn")
class MaskRCNN(Trainer):
    """Mask R-CNN (He et al., 2017) and related detectors: `fit` trains, `predict_images` detects objects.

    >>> model = mask_rcnn.MaskRCNN.from_preset("runs/mine/best.weights.h5")  # doctest: +SKIP
    >>> detections = model.predict_images(["photo.jpg"])  # doctest: +SKIP

    `keras.models.load_model` can load a saved model after `from mask_rcnn import MaskRCNN`.

    A call with a batch returns the detections, the dict of `model.inference_model`. With `training=True` it
    returns the losses, the dict of `model.training_model`. `fit` and `evaluate` need batches with ground
    truth, see `data.input_pipeline.pipeline.training_dataset`. The key `seeds` of a batch is optional.

    Args:
        config: `Config`. Its `num_classes` must not be 0.
        categories: Tuple of `Category` or of class names. Class id i is `categories[i - 1]`. Defaults to
            "class 1", "class 2", and so on.
        precision: Name of the Keras dtype policy. Defaults to the global policy.
        parts: `Parts` built from `config`. Defaults to new parts with random weights.

    Attributes:
        parts: The `Parts`. Each network is also an attribute: `model.backbone`, `model.box_head`.
        predictor: The `Predictor` that detects.
        training_model: Functional model from a batch to its losses.
        inference_model: Functional model from images to detections.
    """

    def __init__(
        self,
        config: Config,
        categories: Categories | None = None,
        *,
        precision: str | None = None,
        parts: Parts | None = None,
        **kwargs: Any,
    ) -> None:
        precision = precision or str(keras.config.dtype_policy().name)
        categories = as_categories(categories, config.num_classes)
        with dtype_policy(precision):
            parts = parts or build_parts(config)
            super().__init__(
                training_model(parts, config),
                networks=parts.named(),
                loss_normalization=config.train.loss_normalization,
                accumulate=config.train.accumulate,
                **kwargs,
            )
            self.predictor = Predictor(parts, config, categories)
        self.parts, self.config, self.precision = parts, config, precision

    @classmethod
    def from_preset(
        cls,
        name: str | Path,
        *,
        num_classes: int | None = None,
        categories: Categories | None = None,
        **kwargs: Any,
    ) -> Self:
        """Returns a model with the architecture and the initial weights of a preset, not compiled.

        Args:
            name: One of
                a name of `mask-rcnn models list`, such as "torchvision/maskrcnn_resnet50_fpn";
                the path of a weights file;
                a name of `mask-rcnn config list`, such as "fine_tune": a recipe with an ImageNet backbone.
            num_classes: Number of classes, without the background. If the classes differ from those of the
                preset, the layers with one output per class get random weights. Defaults to the preset's
                number.
            categories: Tuple of `Category` or of class names. Defaults to those of the preset, or to numbered
                names if `num_classes` is given.
            kwargs: Other arguments of `MaskRCNN`.

        Raises:
            ValueError: There is no such preset, or a recipe needs `num_classes` or `categories`.
        """
        preset = model_methods.read_preset(name, num_classes=num_classes, categories=categories)
        model = cls(preset.config, preset.categories, **kwargs)
        if preset.weights is not None:
            model.load_weights(preset.weights)
            return model
        check_initial_weights(preset.config)
        model.load_initial_weights()
        return model

    def load_initial_weights(self) -> None:
        """Loads the initial weights that `config` names into the networks."""
        with dtype_policy(self.precision), self.distribute_strategy.scope():
            initialize(self.parts, self.config, self.categories)

    @classmethod
    def from_config(cls, config: Config | dict[str, Any]) -> Self:
        """Returns a model with random weights for a `Config`, or for the dict of `get_config`."""
        return cls(**model_methods.constructor_arguments(config))

    def get_config(self) -> dict[str, Any]:
        """Returns a dict for JSON: the config as YAML, the categories, and the precision."""
        return {
            "config": config_io.to_yaml(self.config),
            "categories": [vars(category) for category in self.categories],
            "precision": self.precision,
            "name": self.name,
        }

    @property
    def categories(self) -> tuple[Category, ...]:
        """Tuple of `Category`; class id i is `categories[i - 1]`."""
        return self.predictor.categories

    @property
    def inference_model(self) -> keras.Model:
        """The functional model from images to detections."""
        return self.predictor.model

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str | None = None,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Sets the optimizer. The model has its own losses, so `loss` and `metrics` are an error.

        Args:
            optimizer: As in `keras.Model.compile`. Defaults to the optimizer and learning rate schedule of
                `config.train`, whose milestones assume `config.train.steps` steps.
            jit_compile: Must be False: XLA does not support some operations of RoIAlign. Defaults to False.
            kwargs: Other arguments of `keras.Model.compile`.
        """
        if kwargs.get("loss") is not None or kwargs.get("metrics"):
            raise ValueError(
                "The model has its own losses. Received: `loss` or `metrics` in compile(). Leave them out."
            )
        with self.distribute_strategy.scope():
            optimizer = build_optimizer(self.config.train) if optimizer is None else optimizer
            super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model with its saved settings. Keras needs this if `compile` is overridden."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        with self.distribute_strategy.scope():
            self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x: TrainingData | None = None,
        y: None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        validation_data: TrainingData | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains the model as `keras.Model.fit` does.

        Args:
            x: `Dataset` from `read_coco`, or batches with ground truth: a `tf.data.Dataset`, a dict of
                arrays, or other data that `keras.Model.fit` accepts. A model with numbered classes gets the
                class names of a `Dataset`.
            y: Must be None, because the ground truth is in the batches.
            batch_size: Images per step, if `x` is a `Dataset` or a dict of arrays. Defaults to
                `config.train.batch_size` for a `Dataset`, and to 1 for arrays.
            epochs: Number of passes through the data. Defaults to 1.
            validation_data: As `x`. A `Dataset` is used without random changes, one image at a time.
            kwargs: Other arguments of `keras.Model.fit`.

        Returns:
            Keras `History` with `loss`, each loss by name, and `learning_rate`. The losses of
            `validation_data` have the prefix `val_`.
        """
        if y is not None:
            raise ValueError(
                "The ground truth is in the batches. Received: y. Give batches as one dict: "
                "`images`, `image_sizes`, `gt_boxes`, `gt_class_ids`, `gt_masks`."
            )
        if not self.compiled:
            self.compile()
        if isinstance(x, Dataset):
            self._take_class_names(x)
        arguments = as_batches(x, self, batch_size=batch_size, epochs=epochs)
        kwargs.setdefault("shuffle", isinstance(x, dict))  # Keras can only shuffle arrays
        if validation_data is not None:
            kwargs["validation_data"] = as_batches(validation_data, self, batch_size=BATCH_SIZE)["x"]
        return super().fit(epochs=epochs, **{**arguments, **kwargs})

    def _take_class_names(self, dataset: Dataset) -> None:
        """Replaces numbered class names by the names of a data set with the same number of classes."""
        if self.categories == as_categories(None, dataset.num_classes):
            self.predictor.categories = dataset.categories

    def evaluate(
        self, x: TrainingData | None = None, y: None = None, batch_size: int | None = None, **kwargs: Any
    ) -> float | list[float] | dict[str, float]:
        """Returns the mean losses on data as for `fit`; `CocoAP` measures average precision."""
        if not self.compiled:
            self.compile()
        return super().evaluate(**{**as_batches(x, self, batch_size=batch_size or BATCH_SIZE), **kwargs})

    def call(self, batch: Batch, training: bool = False) -> Batch:
        if training:
            return self.training_model(batch, training=True)
        return self.inference_model({name: batch[name] for name in ("images", "image_sizes")}, training=False)

    def prepare_batch(self, batch: Batch, training: bool) -> Batch:
        return add_seeds(batch, self.optimizer.iterations if training else 0)

    def predict_images(
        self,
        images: Iterable[str | Path | np.ndarray],
        *,
        batch_size: int | None = None,
        tile: int | None = None,
        tile_overlap: float = OVERLAP,
    ) -> list[Detections]:
        """Detects the objects in images of any size.

        Args:
            images: Iterable of paths of image files, or `[H, W, 3]` uint8 RGB arrays. Models with another
                `input.channels` or `input.dtype` take arrays of that kind.
            batch_size: Images per model call. Defaults to a fast value for this machine.
            tile: Side of the tiles in pixels, for large images and small objects; see `TiledPredictor`.
                Defaults to None: no tiles.
            tile_overlap: Overlap of neighboring tiles as a fraction of `tile`. Defaults to 0.2.

        Returns:
            List of `Detections`, one per image, in pixels of that image.

        Raises:
            UnreadableImage: An image cannot be read. `predictor.predict_many` continues with the others.
        """
        tiling = None if tile is None else Tiling(size=tile, overlap=tile_overlap)
        return model_methods.detect_images(self.predictor, images, batch_size=batch_size, tiling=tiling)

    def save_weights(self, filepath: str | Path, overwrite: bool = True, **kwargs: Any) -> None:
        """Writes a weights file of `mask-rcnn`: config, categories and weights, without the optimizer.

        Args:
            filepath: Path, by convention `*.weights.h5`.
            overwrite: Whether to replace an existing file. If False, it is an error. Defaults to True.
        """
        if not overwrite and as_path(filepath).exists():
            raise FileExistsError(
                f"With overwrite=False, use a new file. Received: {str(filepath)!r}. Choose another name."
            )
        save_weights(filepath, self.parts, self.config, categories=self.categories)

    def load_weights(self, filepath: str | Path, **kwargs: Any) -> None:
        """Loads a weights file of the same architecture, or published weights by name."""
        load_weights(weights_file(filepath), self.parts)

    def export(
        self,
        filepath: str | Path,
        format: str | None = None,
        *,
        images: Sequence[str | Path] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Exports the model for another runtime; the export is kept only if its detections are the same.

        Args:
            filepath: Folder for a SavedModel or a page, or a file that ends in .tflite or .onnx.
            format: "saved_model", "tflite", "onnx" or "web". Defaults to the format of the suffix.
            images: List of paths of typical images for the comparison. Defaults to drawn shapes.
            options: Fields of `mask_rcnn.export.export_model.Options`, such as `size=(512, 704)` of a TFLite
                file.

        Returns:
            Dict with the report of the comparison.
        """
        return model_methods.export_weights(
            self.save_weights, self.config.input, filepath, format=format, images=images, options=options
        )
