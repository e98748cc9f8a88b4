"""Configuration of the data and of the training."""

import itertools
import os
import shlex
from dataclasses import dataclass

from mask_rcnn.config.checks import check
from mask_rcnn.config.ranges import check_ranges


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Paths of images and COCO annotations. Without annotations (None), synthetic shapes are used."""

    train_annotations: str | None = None  # COCO json or TFRecord files of the training set
    train_images: str | None = None  # folder of its images; None for TFRecord files, which contain them
    val_annotations: str | None = None  # COCO json or TFRecord files of the validation set
    val_images: str | None = None  # folder of its images
    shapes_train: int = 300  # number of synthetic training images, used without annotations
    shapes_val: int = 40  # number of synthetic validation images
    shapes_size: tuple[int, int] = (128, 128)  # (height, width) of synthetic images, pixels
    overfit: int = 0  # train and validate on this number of training images, without augmentation; 0: off
    repeat_threshold: float = 0.0  # repeat images of classes in a smaller fraction of images; LVIS: 0.001
    mixture: tuple[
        str, ...
    ] = ()  # further training sets: "JSON IMAGES FRACTION", as in "more.json photos 0.3"
    workers: int = 0  # processes that load and transform training images; 0: threads of the main process
    max_bad_images: float = 0.01  # maximum fraction of unreadable images, which are skipped and reported
    max_pixels: int = 200_000_000  # maximum height * width of a decoded image (0.6 GB)

    def __post_init__(self):
        check_ranges(self, "data.")
        if self.mixture:
            self._check_mixture()

    def _check_mixture(self):
        if self.train_annotations is None:
            raise ValueError(
                "`data.mixture` adds data sets to that of `data.train_annotations`. "
                f"Received: train_annotations=None, mixture={self.mixture!r}. Set both."
            )
        entries = [parse_mixture(text) for text in self.mixture]
        fractions = [fraction for *_, fraction in entries]
        check(
            min(fractions) > 0 and sum(fractions) < 1,
            "The fractions of `data.mixture` must be above 0, and their sum below 1. The images of "
            "`data.train_annotations` are the remaining fraction.",
            mixture=self.mixture,
        )
        paths = (self.train_annotations, *(annotations for annotations, *_ in entries))
        files = [os.path.normpath(path) for path in paths]
        check(
            len(set(files)) == len(files),
            "Each json of a mixture must occur once. Its fraction sets how often its images are used.",
            train_annotations=self.train_annotations,
            mixture=self.mixture,
        )


def parse_mixture(text: str) -> tuple[str, str, float]:
    """Returns (annotations, image folder, fraction of the images) of an entry of `data.mixture`.

    >>> parse_mixture("'more cells.json' photos 0.3")
    ('more cells.json', 'photos', 0.3)
    """
    try:
        annotations, images, fraction = shlex.split(text)
        return annotations, images, float(fraction)
    except ValueError as error:
        raise ValueError(
            'An entry of `data.mixture` must be a json, its image folder and a fraction, as in "more.json '
            f'photos 0.3". Put paths with spaces in quotes. Received: {text!r} ({error}). Correct it.'
        ) from error


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training recipe. The defaults are those of the paper (section 3.1).

    They are SGD with a warm-up and steps of the learning rate. `learning_rate`, `steps` and `milestones` are
    for `reference_batch_size`. They are scaled linearly with the batch size.
    """

    batch_size: int = 16  # images per step (one weight update), over all replicas
    accumulate: int = 1  # split each batch into this number of micro batches to save memory; same update
    rematerialize: bool = False  # compute the backbone again in the backward pass: less memory, more time
    reference_batch_size: int = 16  # batch size that the learning rate and the steps below are for
    steps: int = 160_000  # number of weight updates at the reference batch size
    budget: float | None = None  # seconds for the whole run; sets the steps and scales the schedule below
    learning_rate: float = 0.02  # maximum learning rate at the reference batch size
    optimizer: str = "sgd"  # with coupled weight decay; "adamw" needs fewer steps and a lower learning rate
    schedule: str = "steps"  # of the learning rate; "cosine": half a cosine from the maximum to 0
    milestones: tuple[int, ...] = (120_000,)  # for "steps": divide the learning rate by 10 at these steps
    warmup_steps: int = 500  # linear warm-up; not scaled (Goyal et al. 2017, section 2.2)
    warmup_factor: float = 0.001  # the warm-up starts at this fraction of the learning rate
    momentum: float = 0.9  # beta 1 for "adamw"
    weight_decay: float = 1e-4  # "sgd" adds it to the gradient, "adamw" applies it to the weights
    norm_weight_decay: float = 0.0  # weight decay of gamma and beta of trainable normalizations
    clip_norm: float | None = None  # maximum global norm of the gradient
    ema_decay: float | None = None  # decay of the moving average of the weights, which is evaluated and saved
    loss_normalization: str = "batch"  # every RoI has the same weight; "image": every image has
    checkpoint_every: int = 500  # steps between checkpoints
    evaluate_every: int = 5000  # steps, a multiple of checkpoint_every; 0: evaluate only at the end
    # Metric that selects the best weights, such as "bbox/AP50" or "val_loss". None: AP of keypoints, masks or
    # boxes, the first of them that the model predicts.
    best_metric: str | None = None
    validation_loss: bool = False  # also compute "val_loss", "val_box_loss", ... in each evaluation
    patience: int = 0  # stop after this number of evaluations without improvement; 0: never
    keep_checkpoints: int = 2  # number of latest checkpoints to keep
    init_weights: str | None = None  # initial weights of a whole detector: a file, or a name of `models list`
    precision: str = "float32"  # Keras dtype policy
    strategy: str = "auto"  # devices and processes, see `training.distribution.make_strategy`
    seed: int = 0  # random seed of data and training

    def __post_init__(self):
        check_ranges(self, "train.")
        check(
            all(before < after for before, after in itertools.pairwise(self.milestones)),
            "`train.milestones` must increase.",
            milestones=self.milestones,
        )
        check(
            self.batch_size % self.accumulate == 0,
            "`train.batch_size` must be a multiple of `train.accumulate`.",
            batch_size=self.batch_size,
            accumulate=self.accumulate,
        )
        check(
            self.evaluate_every % self.checkpoint_every == 0,
            "`evaluate_every` must be a multiple of `checkpoint_every`.",
            evaluate_every=self.evaluate_every,
            checkpoint_every=self.checkpoint_every,
        )

    @property
    def scale(self) -> float:
        """Ratio of batch size and reference batch size."""
        return self.batch_size / self.reference_batch_size

    @property
    def scaled_steps(self) -> int:
        """Number of steps that processes as many images as the reference recipe."""
        return max(1, round(self.steps / self.scale))

    @property
    def scaled_milestones(self) -> tuple[int, ...]:
        """`milestones` for `batch_size`, steps."""
        return tuple(round(step / self.scale) for step in self.milestones)

    @property
    def scaled_learning_rate(self) -> float:
        """`learning_rate` for `batch_size`."""
        return self.learning_rate * self.scale
