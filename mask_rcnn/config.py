"""What a model, its data and its training are made of: frozen dataclasses, from and to YAML.

Only builders (`model.py`, `data/pipeline.py`, `training/train.py`, ...) read a config; layers and ops
get plain numbers. Conventions in which published systems differ are fields here, never branches on a
system's name. Sizes are pixels of the resized image, (height, width).
"""

from dataclasses import dataclass, field


def _check(condition, message, **received):
    if not condition:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise ValueError(f"{message} Received: {values}.")


def _check_choice(name, value, choices):
    _check(value in choices, f"`{name}` must be one of {', '.join(map(repr, choices))}.", **{name: value})


NORMS = ("frozen_batch_norm", "batch_norm", "sync_batch_norm", "group_norm", "none")
BACKBONES = ("resnet50", "resnet101", "efficientnet_lite0")
PRECISIONS = ("float32", "float64", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """From the user's image to the network's input (section 3.1: short side 800 pixels)."""

    short_side: int = 800  # at inference
    train_short_sides: tuple[int, ...] = (800,)  # one is drawn for each training image
    long_side: int = 1333  # no image becomes longer than this
    size_rounding: str = "round"  # of the resized sides: detectron2 rounds, torchvision floors
    pad_multiple: int = 32  # the padded sides are multiples of this
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)  # of ImageNet, RGB, 0..255
    std: tuple[float, ...] = (58.395, 57.12, 57.375)
    horizontal_flip: float = 0.5  # probability in training
    max_instances: int = 100  # objects kept of a training image; the largest ones
    mask_crop_size: int = 112  # ground-truth masks travel as crops of this side

    def __post_init__(self):
        _check_choice("size_rounding", self.size_rounding, ("round", "floor"))
        sides = (self.short_side, *self.train_short_sides)
        _check(
            self.train_short_sides and min(sides) > 0 and max(sides) <= self.long_side,
            "Every short side must be positive and at most `long_side`.",
            short_side=self.short_side,
            train_short_sides=self.train_short_sides,
            long_side=self.long_side,
        )
        _check(
            0 <= self.horizontal_flip <= 1,
            "A probability is in [0, 1].",
            horizontal_flip=self.horizontal_flip,
        )


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The network that turns an image into C2..C5."""

    name: str = "resnet50"
    norm: str = "frozen_batch_norm"
    norm_epsilon: float = 1e-5  # 0 for torchvision's COCO_V1 weights
    stride_in_1x1: bool = False  # MSRA's ResNets stride in the 1x1, torchvision's in the 3x3
    frozen_stages: int = 2  # the stem is stage 1, C2 ends stage 2
    weights: str | None = None  # ImageNet weights: "imagenet" or a file; None is random

    def __post_init__(self):
        _check_choice("backbone.name", self.name, BACKBONES)
        _check_choice("backbone.norm", self.norm, NORMS)
        _check(0 <= self.frozen_stages <= 5, "`frozen_stages` is 0 to 5.", frozen_stages=self.frozen_stages)


@dataclass(frozen=True, kw_only=True)
class FpnConfig:
    """Feature pyramid P2..P6 (FPN, section 3); P6 is every second pixel of P5."""

    channels: int = 256
    norm: str = "none"

    def __post_init__(self):
        _check_choice("fpn.norm", self.norm, NORMS)


@dataclass(frozen=True, kw_only=True)
class AnchorConfig:
    """Anchor boxes: one size per pyramid level (FPN, section 4.1)."""

    sizes: tuple[int, ...] = (32, 64, 128, 256, 512)  # sqrt(area), pixels
    strides: tuple[int, ...] = (4, 8, 16, 32, 64)  # P2 .. P6
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width
    rounded: bool = False  # torchvision rounds the corners of its base anchors to whole pixels
    stride_from_padded_size: bool = False  # torchvision: padded side // map side (P6: often 61, not 64)

    def __post_init__(self):
        _check(
            len(self.sizes) == len(self.strides),
            "AnchorConfig needs one size for each stride.",
            sizes=self.sizes,
            strides=self.strides,
        )


@dataclass(frozen=True, kw_only=True)
class RpnConfig:
    """Region proposal network (Faster R-CNN, section 3.1)."""

    channels: int = 256
    convs: int = 1
    train_pre_nms: int = 2000  # candidates of each level
    train_post_nms: int = 1000  # proposals of an image
    pre_nms: int = 1000
    post_nms: int = 1000
    nms_iou: float = 0.7
    min_size: float = 0.0  # shorter proposals are dropped; torchvision: 1e-3
    positive_iou: float = 0.7
    negative_iou: float = 0.3
    samples: int = 256  # anchors an image
    positive_fraction: float = 0.5
    box_loss_beta: float = 0.0  # smooth-L1 becomes L1 at 0; Faster R-CNN and torchvision: 1/9


@dataclass(frozen=True, kw_only=True)
class RoiAlignConfig:
    """RoIAlign (section 3) and the level of each RoI (FPN, equation 1)."""

    aligned: bool = True  # half-pixel shift: detectron2 yes, torchvision no
    sampling_ratio: int = 2  # samples a bin and axis; 0 is adaptive: ceil(size / bins)
    level_epsilon: float = 1e-8  # inside the logarithm of the level (detectron2)
    level_offset: float = 0.0  # added to the level before flooring; torchvision: 1e-6


@dataclass(frozen=True, kw_only=True)
class BoxHeadConfig:
    """Second stage: class and box of each RoI (FPN, section 4.2)."""

    pool_size: int = 7
    dense_units: tuple[int, ...] = (1024, 1024)
    delta_weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)  # of (dy, dx, dh, dw)
    samples: int = 512  # RoIs an image in training
    positive_fraction: float = 0.25
    positive_iou: float = 0.5
    box_loss_beta: float = 0.0
    score_threshold: float = 0.05
    nms_iou: float = 0.5
    max_detections: int = 100
    min_size: float = 0.0  # shorter detections are dropped; torchvision: 1e-2


@dataclass(frozen=True, kw_only=True)
class MaskHeadConfig:
    """FCN mask branch (figure 4, right)."""

    pool_size: int = 14
    convs: int = 4
    channels: int = 256
    paste: str = "pixel_centres"  # detectron2's; "padded_resize" is torchvision's

    def __post_init__(self):
        _check_choice("mask_head.paste", self.paste, ("pixel_centres", "padded_resize"))


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
    max_bad_images: float = 0.01  # fraction of unreadable images that is skipped with a report


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The recipe of the paper (section 3.1): SGD, warm-up, steps; scaled linearly with the batch."""

    batch_size: int = 16  # images a step, over all replicas
    reference_batch_size: int = 16  # what the learning rate and the steps below are for
    steps: int = 160_000
    learning_rate: float = 0.02
    milestones: tuple[int, ...] = (120_000,)  # steps at which the learning rate is divided by ten
    warmup_steps: int = 500  # linear, not scaled (Goyal et al. 2017, section 2.2)
    warmup_factor: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 1e-4  # coupled: added to the gradient
    norm_weight_decay: float = 0.0  # of gamma and beta, where they train
    clip_norm: float | None = None  # of the global gradient
    checkpoint_every: int = 500  # steps
    evaluate_every: int = 5000  # steps; a multiple of checkpoint_every; 0 is only at the end
    keep_checkpoints: int = 2
    precision: str = "float32"
    strategy: str = "none"
    seed: int = 0

    def __post_init__(self):
        _check_choice("train.precision", self.precision, PRECISIONS)
        _check_choice("train.strategy", self.strategy, ("none", "mirrored"))
        _check(
            self.batch_size > 0 and self.steps > 0,
            "Must be positive.",
            batch_size=self.batch_size,
            steps=self.steps,
        )
        _check(
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


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole experiment. The defaults are Mask R-CNN with ResNet-50-FPN as the paper trains it."""

    num_classes: int = 80  # without the background; 0 is as many as the data set has
    input: InputConfig = field(default_factory=InputConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    fpn: FpnConfig = field(default_factory=FpnConfig)
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    rpn: RpnConfig = field(default_factory=RpnConfig)
    roi_align: RoiAlignConfig = field(default_factory=RoiAlignConfig)
    box_head: BoxHeadConfig = field(default_factory=BoxHeadConfig)
    mask_head: MaskHeadConfig | None = field(default_factory=MaskHeadConfig)  # None is Faster R-CNN
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        _check(self.num_classes >= 0, "`num_classes` counts the real classes.", num_classes=self.num_classes)
