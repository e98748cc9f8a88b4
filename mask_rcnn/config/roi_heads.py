"""Configuration of the second stage: RoI pooling and the heads."""

from dataclasses import dataclass

from mask_rcnn.config.checks import check
from mask_rcnn.config.ranges import check_ranges

_SIDED = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_KEYPOINTS = ("nose", *(f"{side}_{part}" for part in _SIDED for side in ("left", "right")))
COCO_FLIP_PAIRS = tuple(f"left_{part}:right_{part}" for part in _SIDED)


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
    conv_channels: int = 256  # of these convolutions
    norm: str = "none"  # normalization of these convolutions
    norm_epsilon: float = 1e-5  # added to the variance
    dense_units: tuple[int, ...] = (1024, 1024)  # units of each hidden dense layer
    average_pool: bool = False  # average over the RoI instead of flattening it (ResNet-C4)
    class_agnostic: bool = False  # one box for all classes
    delta_weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)  # factors of (dy, dx, dh, dw)
    samples: int = 512  # sampled RoIs per image in training
    positive_fraction: float = 0.25  # maximum fraction of positives among the samples
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
            "CascadeConfig needs two or more heads, and an IoU and a scale for each of them.",
            positive_ious=self.positive_ious,
            delta_scales=self.delta_scales,
        )


@dataclass(frozen=True, kw_only=True)
class MaskHeadConfig:
    """Mask branch (figure 4). The side of its masks is twice `pool_size`."""

    pool_size: int = 14  # side of the pooled RoI, bins
    convs: int = 4  # number of 3x3 convolutions
    channels: int = 256  # of the convolutions
    norm: str = "none"  # normalization of the convolutions
    norm_epsilon: float = 1e-5  # added to the variance
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
    channels: int = 512  # of the convolutions
    half_pixel: bool = True  # COCO's integers are pixel centers (detectron2); False: corners (torchvision)
    loss_weight: float = 1.0  # factor of the loss

    def __post_init__(self):
        check_ranges(self, "keypoint_head.")
        paired = [name for pair in self.flip_pairs for name in pair.split(":")]
        check(
            set(paired) <= set(self.names) and len(paired) == 2 * len(self.flip_pairs),
            'A flip pair must be two of the keypoint names, as in "left_eye:right_eye".',
            flip_pairs=self.flip_pairs,
            names=self.names,
        )
