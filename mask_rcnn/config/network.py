"""What a model is made of, from the pixels to the heads."""

from dataclasses import dataclass

from mask_rcnn.config.checks import check
from mask_rcnn.config.ranges import check_ranges

# Transforms of `input.transforms` that are defined for the colors and the gray levels of 8-bit RGB only.
RGB_TRANSFORMS = ("color_jitter", "hue", "grayscale", "jpeg")
UINT8_TRANSFORMS = ("noise",)  # these change gray levels of 0..255, in any number of channels
_SIDED = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_KEYPOINTS = ("nose", *(f"{side}_{part}" for part in _SIDED for side in ("left", "right")))
COCO_FLIP_PAIRS = tuple(f"left_{part}:right_{part}" for part in _SIDED)


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """From the user's image to the network's input (section 3.1: short side 800 pixels)."""

    short_side: int = 800  # at inference
    train_short_sides: tuple[int, ...] = (800,)  # one is drawn for each training image
    long_side: int = 1333  # no image becomes longer than this
    upscale_only: bool = False  # the short side may stay longer (matterport), up to `long_side`
    size_rounding: str = "round"  # or "floor" (torchvision), "half_even" (matterport): the resized sides
    resize: str = "bilinear"  # detectron2: "antialiased_uint8", Pillow's; matterport: "uint8"
    pad_multiple: int = 32  # the padded sides are multiples of this
    padded_size: tuple[int, int] | None = None  # one fixed size for all images; None fits each batch
    centered: bool = False  # matterport puts the image in the middle of the padding, others top left
    padding: str = "mean"  # colour: "mean" is 0 after normalising, "black" 0 before
    mean: tuple[float, ...] | None = (123.675, 116.28, 103.53)  # ImageNet, RGB 0..255; None: backbone's own
    std: tuple[float, ...] | None = (58.395, 57.12, 57.375)  # of each channel; 255 is white at any bit depth
    horizontal_flip: float = 0.5  # probability in training
    transforms: tuple[str, ...] = ()  # of training images, such as "scale_jitter low=0.5 high=2.0"
    max_instances: int = 100  # objects of a training image that are learned: the largest; others are ignored
    mask_crop_size: int = 112  # ground-truth masks travel as crops of this side
    bit_depth: int | None = None  # bits that the samples of 16-bit files use, such as 12; None: all 16
    channels: int = 3  # of every image: 1 is gray, 3 RGB, 4 RGB and near infrared, 8 multispectral, ...
    dtype: str = "uint8"  # of the pixels on their way to the model; "uint16" keeps all bits of 16-bit files

    def __post_init__(self):
        check_ranges(self, "input.")
        self._check_channels()
        check(
            self.padded_size is None or min(self.padded_size) >= self.long_side,
            "Every image must fit into `padded_size`: make `long_side` smaller.",
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
        """Raises a ValueError unless the normalization and the transforms fit the channels and the dtype."""
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            check(
                numbers is None or len(numbers) == self.channels,
                f"`input.{name}` must be a tuple of {self.channels} items, one for each of `input.channels`, "
                "or null: the backbone's own numbers of red, green and blue in turn.",
                **{name: numbers, "channels": self.channels},
            )
        refused = () if self.is_rgb8 else RGB_TRANSFORMS
        refused += UINT8_TRANSFORMS if self.dtype != "uint8" else ()
        found = [text for text in self.transforms if text.split()[:1] and text.split()[0] in refused]
        check(
            not found,
            f"The transforms {', '.join(refused)} are not defined for such images. Remove them from "
            "`input.transforms`; geometric ones, blur, copy_paste and mosaic take any image.",
            transforms=tuple(found),
            channels=self.channels,
            dtype=self.dtype,
        )

    @property
    def is_rgb8(self):
        """Whether the images are RGB of 8 bits, which every part of the package takes."""
        return self.channels == 3 and self.dtype == "uint8"

    @property
    def pixel_format(self):
        """The arguments `channels` and `dtype` of the functions that read image files, a dict."""
        return {"channels": self.channels, "dtype": self.dtype}

    @property
    def counts_per_level(self):
        """How many numbers of a sample are one gray level of 0..255: 16 for 12 bits, 1 for uint8."""
        return 2 ** ((self.bit_depth or 16) - 8) if self.dtype == "uint16" else 1


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The network that turns an image into maps such as C2..C5.

    Only our own networks read `norm_epsilon` and the fields from `stride_in_1x1` to `dilated_c5`.
    """

    name: str = "resnet50"  # of `mask-rcnn config list`, such as keras.applications/MobileNetV3Small
    norm: str = "frozen_batch_norm"
    norm_epsilon: float = 1e-5  # 0 for torchvision's COCO_V1 weights
    stride_in_1x1: bool = False  # MSRA's ResNets stride in the 1x1, torchvision's in the 3x3
    stem_pool_padding: str = "symmetric"  # "same" pads at the bottom and right only (matterport)
    last_stage: int = 5  # 4: the fifth stage is applied to each RoI instead, in front of the heads
    dilated_c5: bool = False  # C5 keeps the stride of C4 and dilates its 3x3 convolutions (DC5)
    frozen_stages: int = 2  # the stem is stage 1, C2 ends stage 2
    weights: str | None = "imagenet"  # or a file, or a name of `models list`; None is random

    def __post_init__(self):
        check_ranges(self, "backbone.")
        check(
            "resne" in self.name or (self.last_stage == 5 and not self.dilated_c5),
            "Only a ResNet has a fifth stage for RoIs or a dilated one.",
            name=self.name,
            last_stage=self.last_stage,
            dilated_c5=self.dilated_c5,
        )
        check(
            not (self.dilated_c5 and self.last_stage == 4),
            "The fifth stage is dilated only where it belongs to the backbone.",
            last_stage=self.last_stage,
            dilated_c5=self.dilated_c5,
        )


@dataclass(frozen=True, kw_only=True)
class FpnConfig:
    """Feature pyramid, one level for each of `anchors.strides` (FPN, section 3)."""

    channels: int = 256
    norm: str = "none"
    norm_epsilon: float = 1e-5

    def __post_init__(self):
        check_ranges(self, "fpn.")


@dataclass(frozen=True, kw_only=True)
class AnchorConfig:
    """Anchor boxes: one size per pyramid level (FPN, section 4.1), or all sizes on a single map."""

    sizes: tuple[int, ...] = (32, 64, 128, 256, 512)  # sqrt(area), pixels
    strides: tuple[int, ...] = (4, 8, 16, 32, 64)  # P2 .. P6
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width
    rounded: bool = False  # torchvision rounds the corners of its base anchors to whole pixels
    stride_from_padded_size: bool = False  # torchvision: padded side // map side (P6: often 61, not 64)

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

    With `shared_features=False` the RPN has a backbone and an FPN of its own, as in the paper's ablations
    (section 3.1.1). Differs from the paper: there the RPN is trained first, and then the heads on its final
    proposals. Here one run trains both, each by its own losses only.
    """

    shared_features: bool = True  # one backbone and one FPN for RPN and heads; False: a copy for each
    channels: int = 256
    convs: int = 1
    train_pre_nms: int = 2000  # candidates of each level
    train_post_nms: int = 1000  # proposals of an image
    pre_nms: int = 1000
    post_nms: int = 1000
    nms_iou: float = 0.7
    joint_levels: bool = False  # candidates and NMS over all levels together (matterport)
    min_size: float = 0.0  # shorter proposals are dropped; torchvision: 1e-3; matterport, none at all: -1
    clamp_deltas: bool = True  # no box grows by more than 1000 / 16; matterport has no limit
    positive_iou: float = 0.7
    negative_iou: float = 0.3
    samples: int = 256  # anchors an image
    positive_fraction: float = 0.5
    box_loss: str = "smooth_l1"  # or "giou" (Rezatofighi et al. 2019)
    box_loss_beta: float = 0.0  # smooth-L1 becomes L1 at 0; Faster R-CNN and torchvision: 1/9

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
    """RoIAlign (section 3) and the level of each RoI (FPN, equation 1)."""

    method: str = "roi_align"  # a RoI pooler of `mask-rcnn config list`
    aligned: bool = True  # half-pixel shift: detectron2 yes, torchvision no
    sampling_ratio: int = 2  # samples a bin and axis; 0 is adaptive: ceil(size / bins)
    pooling: str = "average"  # of the samples of a bin, or "max" (section 3 and table 2c)
    sample_points: tuple[float, ...] = ()  # y1, x1, y2, x2, ... of the samples in a bin, 0..1; (): a grid
    level_epsilon: float = 1e-8  # inside the logarithm of the level (detectron2)
    level_offset: float = 0.0  # added to the level before flooring; torchvision: 1e-6
    level_rounding: str = "floor"  # "nearest" is matterport's, half to even

    def __post_init__(self):
        check_ranges(self, "roi_align.")
        check(
            len(self.sample_points) % 2 == 0,
            "`roi_align.sample_points` needs a y and an x for each sample.",
            sample_points=self.sample_points,
        )
        check(
            self.pooling == "average" or self.sample_points or self.sampling_ratio,
            "A maximum needs a fixed number of samples. Set `roi_align.sampling_ratio` to 1 or 2.",
            pooling=self.pooling,
            sampling_ratio=self.sampling_ratio,
        )


@dataclass(frozen=True, kw_only=True)
class BoxHeadConfig:
    """Second stage: class and box of each RoI (FPN, section 4.2)."""

    pool_size: int = 7  # side of what RoIAlign gives
    convs: int = 0  # 3x3 convolutions in front of the dense layers
    conv_channels: int = 256
    norm: str = "none"  # of these convolutions
    norm_epsilon: float = 1e-5
    dense_units: tuple[int, ...] = (1024, 1024)
    average_pool: bool = False  # over the RoI instead of flattening (ResNet-C4)
    class_agnostic: bool = False  # one box for all classes
    delta_weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)  # of (dy, dx, dh, dw)
    samples: int = 512  # RoIs an image in training
    positive_fraction: float = 0.25
    positive_iou: float = 0.5
    box_loss: str = "smooth_l1"
    box_loss_beta: float = 0.0
    clamp_deltas: bool = True
    best_class_only: bool = False  # a RoI gives at most one detection (matterport)
    score_threshold: float = 0.05
    nms_iou: float = 0.5
    max_detections: int = 100
    min_size: float = 0.0  # shorter detections are dropped; torchvision: 1e-2; matterport: -1

    def __post_init__(self):
        check_ranges(self, "box_head.")


@dataclass(frozen=True, kw_only=True)
class CascadeConfig:
    """Box heads in a row, each fed with the boxes of the one before (Cai and Vasconcelos 2018).

    The first is the box head itself; scores are the mean over all of them, boxes the last one's.
    """

    positive_ious: tuple[float, ...] = (0.5, 0.6, 0.7)  # one for each box head
    delta_scales: tuple[float, ...] = (1.0, 2.0, 3.0)  # times `box_head.delta_weights`

    def __post_init__(self):
        check_ranges(self, "cascade.")
        check(
            len(self.positive_ious) == len(self.delta_scales) >= 2,
            "CascadeConfig needs an IoU and a scale for each of two or more heads.",
            positive_ious=self.positive_ious,
            delta_scales=self.delta_scales,
        )


@dataclass(frozen=True, kw_only=True)
class MaskHeadConfig:
    """Mask branch (figure 4): its masks have twice the side of what it gets."""

    pool_size: int = 14
    convs: int = 4
    channels: int = 256
    norm: str = "none"
    norm_epsilon: float = 1e-5
    dense_units: tuple[int, ...] = ()  # fully connected layers instead of the deconvolution (table 2e)
    class_agnostic: bool = False  # one mask for all classes (section 4.2)
    loss: str = "sigmoid"  # "softmax": the classes compete for each pixel (table 2b)
    paste: str = "pixel_centres"  # detectron2's; "padded_resize" torchvision's, "rounded_box" matterport's

    def __post_init__(self):
        check_ranges(self, "mask_head.")
        check(
            self.loss == "sigmoid" or not self.class_agnostic,
            "Classes that compete need a mask each. Set `mask_head.class_agnostic` to false.",
            loss=self.loss,
            class_agnostic=self.class_agnostic,
        )


@dataclass(frozen=True, kw_only=True)
class KeypointHeadConfig:
    """Keypoint branch (section 5): a heatmap of four times the pooled side for each keypoint.

    The defaults are the 17 keypoints of COCO's persons.
    """

    names: tuple[str, ...] = COCO_KEYPOINTS
    flip_pairs: tuple[str, ...] = COCO_FLIP_PAIRS  # "left:right", what a mirror swaps
    pool_size: int = 14
    convs: int = 8
    channels: int = 512
    half_pixel: bool = True  # COCO's whole numbers are pixel centres (detectron2); torchvision: corners
    loss_weight: float = 1.0

    def __post_init__(self):
        check_ranges(self, "keypoint_head.")
        named = [name for pair in self.flip_pairs for name in pair.split(":")]
        check(
            set(named) <= set(self.names) and len(named) == 2 * len(self.flip_pairs),
            'A flip pair is two keypoint names, as in "left_eye:right_eye".',
            flip_pairs=self.flip_pairs,
            names=self.names,
        )
