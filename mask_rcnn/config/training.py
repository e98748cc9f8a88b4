"""What a model is trained on, and how."""

import itertools
import os
import shlex
from dataclasses import dataclass

from mask_rcnn.config.checks import check
from mask_rcnn.config.ranges import check_ranges


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the images and their COCO json are; None is the synthetic shapes."""

    train_annotations: str | None = None
    train_images: str | None = None
    val_annotations: str | None = None
    val_images: str | None = None
    shapes_train: int = 300  # synthetic images, when there are no annotations
    shapes_val: int = 40
    shapes_size: tuple[int, int] = (128, 128)
    overfit: int = 0  # train and validate on so many training images, without random changes; 0: on all
    repeat_threshold: float = 0.0  # images of classes in a smaller share of them are repeated; LVIS: 0.001
    mixture: tuple[str, ...] = ()  # further training sets with their shares, such as "more.json photos 0.3"
    workers: int = 0  # processes that read and transform training images; 0: threads of the training process
    max_bad_images: float = 0.01  # fraction of unreadable images that is skipped with a report
    max_pixels: int = 200_000_000  # height times width of the largest image that is decoded, 0.6 GB

    def __post_init__(self):
        check_ranges(self, "data.")
        if self.mixture:
            self._check_mixture()

    def _check_mixture(self):
        check(
            self.train_annotations is not None,
            "The first set of `data.mixture` is that of `data.train_annotations`. Set both.",
            train_annotations=None,
            mixture=self.mixture,
        )
        others = [parse_mixture(text) for text in self.mixture]
        shares = [share for *_, share in others]
        check(
            min(shares) > 0 and sum(shares) < 1,
            "The shares of `data.mixture` must be above 0, and their sum below 1: the rest is the share of "
            "`data.train_annotations`.",
            mixture=self.mixture,
        )
        files = [os.path.normpath(path) for path in (self.train_annotations, *(each[0] for each in others))]
        check(
            len(set(files)) == len(files),
            "Every json of a mixture is given once; its share says how often its images come. Remove it.",
            train_annotations=self.train_annotations,
            mixture=self.mixture,
        )


def parse_mixture(text):
    """Returns (annotations, images, share) of an entry of `data.mixture`.

    >>> parse_mixture("'more cells.json' photos 0.3")
    ('more cells.json', 'photos', 0.3)
    """
    try:
        annotations, images, share = shlex.split(text)
        return annotations, images, float(share)
    except ValueError as error:
        raise ValueError(
            'An entry of `data.mixture` is a json, the folder of its images and a share, as in "more.json '
            f'photos 0.3", with quotes around a path with spaces. Received: {text!r} ({error}). Correct it.'
        ) from error


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The recipe of the paper (section 3.1): SGD, warm-up, steps; scaled linearly with the batch."""

    batch_size: int = 16  # images of a step (one update), over all replicas
    accumulate: int = 1  # micro batches that a batch is split into to save memory; the update is the same
    rematerialize: bool = False  # compute the backbone again in the backward pass: less memory, more time
    reference_batch_size: int = 16  # what the learning rate and the steps below are for
    steps: int = 160_000
    budget: float | None = None  # seconds of the whole run, which set the steps and scale the schedule below
    learning_rate: float = 0.02
    optimizer: str = "sgd"  # with coupled weight decay; "adamw": learns in fewer steps, at a lower rate
    schedule: str = "steps"  # of the learning rate; "cosine": half a cosine from its maximum to 0, smoothly
    milestones: tuple[int, ...] = (120_000,)  # of "steps": steps at which it is divided by ten
    warmup_steps: int = 500  # linear, not scaled (Goyal et al. 2017, section 2.2)
    warmup_factor: float = 0.001
    momentum: float = 0.9  # of "adamw": beta 1
    weight_decay: float = 1e-4  # "sgd" adds it to the gradient, "adamw" takes it from the weights
    norm_weight_decay: float = 0.0  # of gamma and beta, where they train
    clip_norm: float | None = None  # of the global gradient
    ema_decay: float | None = None  # of the moving average of the weights that is evaluated and saved
    loss_normalization: str = "batch"  # each RoI counts the same; "image": each image does
    checkpoint_every: int = 500  # steps
    evaluate_every: int = 5000  # steps; a multiple of checkpoint_every; 0 is only at the end
    best_metric: str | None = (
        None  # "bbox/AP50" or "val_loss", of the best weights; None: AP of masks, else of boxes
    )
    validation_loss: bool = False  # each evaluation also gives the losses: "val_loss", "val_box_loss", ...
    patience: int = 0  # evaluations without a better score, after which the run ends; 0: it never does
    keep_checkpoints: int = 2
    init_weights: str | None = None  # of a whole detector to begin with: a file, or a name of `models list`
    precision: str = "float32"
    strategy: str = "auto"  # devices and processes, see `training.distribution.make_strategy`
    seed: int = 0

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
    def scale(self):
        """How many reference batches one batch is."""
        return self.batch_size / self.reference_batch_size

    @property
    def scaled_steps(self):
        """Steps for the same number of images as the reference recipe."""
        return max(1, round(self.steps / self.scale))

    @property
    def scaled_milestones(self):
        return tuple(round(step / self.scale) for step in self.milestones)

    @property
    def scaled_learning_rate(self):
        return self.learning_rate * self.scale
