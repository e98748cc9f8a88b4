"""Configuration of the model, from the pixels to the heads."""

from dataclasses import dataclass

from mask_rcnn.config.checks import check
from mask_rcnn.config.ranges import check_ranges

# Transforms of `input.transforms` that support 8-bit RGB images only.
RGB_TRANSFORMS = ("color_jitter", "hue", "grayscale", "jpeg")
UINT8_TRANSFORMS = ("noise",)  # these support gray levels of 0..255 only, in any number of channels
_SIDED = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_KEYPOINTS = ("nose", *(f"{side}_{part}" for part in _SIDED for side in ("left", "right")))
COCO_FLIP_PAIRS = tuple(f"left_{part}:right_{part}" for part in _SIDED)


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """Conversion of images to the network's input (section 3.1: short side of 800 pixels)."""

    short_side: int = 800  # short side of images at inference, pixels
    train_short_sides: tuple[int, ...] = (800,)  # one is drawn at random for each training image
    long_side: int = 1333  # maximum long side, pixels
    upscale_only: bool = False  # do not shrink images to `short_side` (matterport), only to `long_side`
    size_rounding: str = "round"  # of the resized sides; "floor" (torchvision), "half_even" (matterport)
    resize: str = "bilinear"  # "antialiased_uint8" (detectron2: Pillow's), "uint8" (matterport)
    pad_multiple: int = 32  # padded sides are multiples of this number of pixels
    padded_size: tuple[int, int] | None = None  # fixed (height, width) of all padded images; None: per batch
    centered: bool = False  # True: image in the center of the padding (matterport); False: at the top left
    padding: str = "mean"  # color of the padding: "mean": 0 after normalization, "black": 0 before
    mean: tuple[float, ...] | None = (123.675, 116.28, 103.53)  # ImageNet, RGB 0..255; None: backbone's own
    std: tuple[float, ...] | None = (58.395, 57.12, 57.375)  # per channel; 255 is white at any bit depth
    horizontal_flip: float = 0.5  # probability of a flip in training
    transforms: tuple[str, ...] = ()  # augmentations in training, such as "scale_jitter low=0.5 high=2.0"
    max_instances: int = 100  # maximum objects per training image; the smallest ones beyond it are ignored
    mask_crop_size: int = 112  # side of the box crops that store ground-truth masks, pixels
    bit_depth: int | None = None  # used bits of 16-bit files, such as 12; None: all 16
    channels: int = 3  # of all images: 1 gray, 3 RGB, 4 RGB and near infrared, 8 multispectral, ...
    dtype: str = "uint8"  # of the pixels; "uint16" keeps all bits of 16-bit files

    def __post_init__(self):
        check_ranges(self, "input.")
        self._check_channels()
        check(
            self.padded_size is None or min(self.padded_size) >= self.long_side,
            "Every image must fit into `padded_size`. Reduce `long_side` to its smaller side.",
            padded_size=self.padded_size,
            long_side=self.long_side,
        )
        sides = (self.short_side, *self.train_short_sides)
        check(
            max(sides) <= self.long_side,
            "Every short side must be at most `long_side`.",
            short_side=self.short_side,
            train_short_sides=self.train_short_sides,
            long_side=self.long_side,
        )

    def _check_channels(self):
        """Raises a ValueError if normalization or transforms do not fit the channels and the dtype."""
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            check(
                numbers is None or len(numbers) == self.channels,
                f"`input.{name}` must be a tuple of {self.channels} items, one for each of `input.channels`, "
                "or null to use the backbone's values for red, green and blue in turn.",
                **{name: numbers, "channels": self.channels},
            )
        refused = () if self.is_rgb8 else RGB_TRANSFORMS
        refused += UINT8_TRANSFORMS if self.dtype != "uint8" else ()
        found = [text for text in self.transforms if text.split()[:1] and text.split()[0] in refused]
        check(
            not found,
            f"The transforms {', '.join(refused)} do not support such images. Remove them from "
            "`input.transforms`. Geometric transforms, blur, copy_paste and mosaic support all images.",
            transforms=tuple(found),
            channels=self.channels,
            dtype=self.dtype,
        )

    @property
    def is_rgb8(self):
        """Whether the images are 8-bit RGB, which every part of the package supports."""
        return self.channels == 3 and self.dtype == "uint8"

    @property
    def pixel_format(self):
        """Dict of the arguments `channels` and `dtype` of the functions that read image files."""
        return {"channels": self.channels, "dtype": self.dtype}

    @property
    def counts_per_level(self):
        """Size of a gray level of 0..255 in units of a pixel value: 16 for 12 bits, 1 for uint8."""
        return 2 ** ((self.bit_depth or 16) - 8) if self.dtype == "uint16" else 1


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The network that converts an image to maps such as C2..C5.

    Only built-in networks use `norm_epsilon` and the fields from `stride_in_1x1` to `dilated_c5`.
    """

    name: str = "resnet50"  # see `mask-rcnn config list`, such as keras.applications/MobileNetV3Small
    norm: str = "frozen_batch_norm"  # normalization of all convolutions
    norm_epsilon: float = 1e-5  # added to the variance; 0 for torchvision's COCO_V1 weights
    stride_in_1x1: bool = False  # stride in the 1x1 convolution (MSRA) or in the 3x3 (torchvision)
    stem_pool_padding: str = "symmetric"  # "same" pads at the bottom and right only (matterport)
    last_stage: int = 5  # 4: the fifth stage is applied to each RoI, before the heads (ResNet-C4)
    dilated_c5: bool = False  # C5 keeps the stride of C4 and dilates its 3x3 convolutions (DC5)
    frozen_stages: int = 2  # number of stages that are not trained: stage 1 is the stem, stage 2 ends with C2
    weights: str | None = "imagenet"  # or a file, or a name of `models list`; None: random

    def __post_init__(self):
        check_ranges(self, "backbone.")
        check(
            "resne" in self.name or (self.last_stage == 5 and not self.dilated_c5),
            "Only a ResNet supports `last_stage=4` and `dilated_c5`.",
            name=self.name,
            last_stage=self.last_stage,
            dilated_c5=self.dilated_c5,
        )
        check(
            not (self.dilated_c5 and self.last_stage == 4),
            "`dilated_c5` needs a fifth stage in the backbone. Set `last_stage` to 5.",
            last_stage=self.last_stage,
            dilated_c5=self.dilated_c5,
        )


@dataclass(frozen=True, kw_only=True)
class FpnConfig:
    """Feature pyramid network with one level for each of `anchors.strides` (FPN, section 3)."""

    channels: int = 256
    norm: str = "none"
    norm_epsilon: float = 1e-5

    def __post_init__(self):
        check_ranges(self, "fpn.")


@dataclass(frozen=True, kw_only=True)
class AnchorConfig:
    """Anchor boxes: one size per pyramid level (FPN, section 4.1), or all sizes on a single map."""

    sizes: tuple[int, ...] = (32, 64, 128, 256, 512)  # sqrt(area), pixels
    strides: tuple[int, ...] = (4, 8, 16, 32, 64)  # of P2..P6, pixels
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width
    rounded: bool = False  # round the corners of base anchors to whole pixels (torchvision)
    stride_from_padded_size: bool = False  # stride is padded side // map side (torchvision; P6: often 61)

    def __post_init__(self):
        check_ranges(self, "anchors.")
        check(
            len(self.strides) in (1, len(self.sizes)),
            "AnchorConfig needs one size for each stride, or a single stride.",
            sizes=self.sizes,
            strides=self.strides,
        )


@dataclass(frozen=True, kw_only=True)
class RpnConfig:
    """Region proposal network (Faster R-CNN, section 3.1).

    With `shared_features=False` the RPN has its own backbone and FPN, as in the paper's ablations (section
    3.1.1). Differs from the paper: there, the RPN is trained first, then the heads on its final proposals.
    Here both are trained in one run, each by its own losses only.
    """

    shared_features: bool = True  # RPN and heads share backbone and FPN; False: each has its own
    channels: int = 256  # of the 3x3 convolutions
    convs: int = 1  # number of 3x3 convolutions
    train_pre_nms: int = 2000  # candidates per level before NMS, in training
    train_post_nms: int = 1000  # proposals per image after NMS, in training
    pre_nms: int = 1000  # candidates per level before NMS, at inference
    post_nms: int = 1000  # proposals per image after NMS, at inference
    nms_iou: float = 0.7  # IoU above which the lower-scored proposal is dropped
    joint_levels: bool = False  # select candidates and apply NMS over all levels together (matterport)
    min_size: float = 0.0  # minimum side of proposals, pixels; torchvision: 1e-3; matterport: -1 (no minimum)
    clamp_deltas: bool = True  # a side grows at most 1000 / 16 times; matterport has no limit
    positive_iou: float = 0.7  # anchors are positive from this IoU on
    negative_iou: float = 0.3  # anchors are negative below this IoU
    samples: int = 256  # sampled anchors per image
    positive_fraction: float = 0.5  # maximum share of positives among the samples
    box_loss: str = "smooth_l1"  # or "giou" (Rezatofighi et al. 2019)
    box_loss_beta: float = 0.0  # transition point of smooth-L1; 0: L1; Faster R-CNN and torchvision: 1/9

    def __post_init__(self):
        check_ranges(self, "rpn.")
        check(
            self.negative_iou <= self.positive_iou,
            "`rpn.negative_iou` must be at most `rpn.positive_iou`.",
            negative_iou=self.negative_iou,
            positive_iou=self.positive_iou,
        )


@dataclass(frozen=True, kw_only=True)
class RoiAlignConfig:
    """RoI pooling (section 3) and the pyramid level of each RoI (FPN, equation 1)."""

    method: str = "roi_align"  # a RoI pooler of `mask-rcnn config list`
    aligned: bool = True  # shift by half a pixel; detectron2: True, torchvision: False
    sampling_ratio: int = 2  # samples per bin and axis; 0: adaptive, ceil(size / bins)
    pooling: str = "average"  # of the samples of a bin, or "max" (section 3 and table 2c)
    sample_points: tuple[float, ...] = ()  # y1, x1, y2, x2, ... of the samples in a bin, 0..1; (): a grid
    level_epsilon: float = 1e-8  # added inside the logarithm of the level (detectron2)
    level_offset: float = 0.0  # added to the level before rounding; torchvision: 1e-6
    level_rounding: str = "floor"  # "nearest": half to even (matterport)

    def __post_init__(self):
        check_ranges(self, "roi_align.")
        check(
            len(self.sample_points) % 2 == 0,
            "`roi_align.sample_points` needs a y and an x for each sample, so an even count.",
            sample_points=self.sample_points,
        )
        check(
            self.pooling == "average" or self.sample_points or self.sampling_ratio,
            "Max pooling needs a fixed number of samples. Set `roi_align.sampling_ratio` to 1 or 2.",
            pooling=self.pooling,
            sampling_ratio=self.sampling_ratio,
        )


@dataclass(frozen=True, kw_only=True)
class BoxHeadConfig:
    """Box head of the second stage: class and box of each RoI (FPN, section 4.2)."""

    pool_size: int = 7  # side of the pooled RoI, bins
    convs: int = 0  # number of 3x3 convolutions before the dense layers
    conv_channels: int = 256
    norm: str = "none"  # normalization of these convolutions
    norm_epsilon: float = 1e-5
    dense_units: tuple[int, ...] = (1024, 1024)  # units of each hidden dense layer
    average_pool: bool = False  # average over the RoI instead of flattening it (ResNet-C4)
    class_agnostic: bool = False  # one box for all classes
    delta_weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)  # factors of (dy, dx, dh, dw)
    samples: int = 512  # sampled RoIs per image in training
    positive_fraction: float = 0.25  # maximum share of positives among the samples
    positive_iou: float = 0.5  # RoIs are positive from this IoU on, and negative below
    box_loss: str = "smooth_l1"  # or "giou"
    box_loss_beta: float = 0.0  # transition point of smooth-L1; 0: L1
    clamp_deltas: bool = True  # a side grows at most 1000 / 16 times
    best_class_only: bool = False  # at most one detection per RoI (matterport)
    score_threshold: float = 0.05  # only detections with a higher score are returned
    nms_iou: float = 0.5  # IoU above which the lower-scored detection of a class is dropped
    max_detections: int = 100  # per image
    min_size: float = 0.0  # minimum side of detections, pixels; torchvision: 1e-2; matterport: -1

    def __post_init__(self):
        check_ranges(self, "box_head.")


@dataclass(frozen=True, kw_only=True)
class CascadeConfig:
    """Cascade of box heads. Each refines the boxes of the one before (Cai and Vasconcelos 2018).

    The first head is the box head itself. Scores are the mean over all heads, boxes those of the last head.
    """

    positive_ious: tuple[float, ...] = (0.5, 0.6, 0.7)  # IoU of positives, one per box head
    delta_scales: tuple[float, ...] = (1.0, 2.0, 3.0)  # factors of `box_head.delta_weights`, one per box head

    def __post_init__(self):
        check_ranges(self, "cascade.")
        check(
            len(self.positive_ious) == len(self.delta_scales) >= 2,
            "CascadeConfig needs an IoU and a scale for each of its heads, of which there are two or more.",
            positive_ious=self.positive_ious,
            delta_scales=self.delta_scales,
        )


@dataclass(frozen=True, kw_only=True)
class MaskHeadConfig:
    """Mask branch (figure 4). The side of its masks is twice `pool_size`."""

    pool_size: int = 14  # side of the pooled RoI, bins
    convs: int = 4  # number of 3x3 convolutions
    channels: int = 256
    norm: str = "none"  # normalization of the convolutions
    norm_epsilon: float = 1e-5
    dense_units: tuple[int, ...] = ()  # fully connected layers instead of the deconvolution (table 2e)
    class_agnostic: bool = False  # one mask for all classes (section 4.2)
    loss: str = "sigmoid"  # or "softmax" over the classes of each pixel (table 2b)
    paste: str = "pixel_centers"  # detectron2; "padded_resize": torchvision; "rounded_box": matterport

    def __post_init__(self):
        check_ranges(self, "mask_head.")
        check(
            self.loss == "sigmoid" or not self.class_agnostic,
            "The softmax loss needs one mask per class. Set `mask_head.class_agnostic` to false.",
            loss=self.loss,
            class_agnostic=self.class_agnostic,
        )


@dataclass(frozen=True, kw_only=True)
class KeypointHeadConfig:
    """Keypoint branch (section 5): a heatmap with four times the side of the pooled RoI for each keypoint.

    The defaults are COCO's 17 keypoints of a person.
    """

    names: tuple[str, ...] = COCO_KEYPOINTS  # names of the keypoints
    flip_pairs: tuple[str, ...] = COCO_FLIP_PAIRS  # "left:right", keypoints that a horizontal flip swaps
    pool_size: int = 14  # side of the pooled RoI, bins
    convs: int = 8  # number of 3x3 convolutions
    channels: int = 512
    half_pixel: bool = True  # COCO's integers are pixel centers (detectron2); False: corners (torchvision)
    loss_weight: float = 1.0  # factor of the loss

    def __post_init__(self):
        check_ranges(self, "keypoint_head.")
        named = [name for pair in self.flip_pairs for name in pair.split(":")]
        check(
            set(named) <= set(self.names) and len(named) == 2 * len(self.flip_pairs),
            'A flip pair must be two of the keypoint names, as in "left_eye:right_eye".',
            flip_pairs=self.flip_pairs,
            names=self.names,
        )
