"""Allowed values of all config fields, as a table that `check_ranges` reads.

A limit is the point at which a value is no longer meaningful or would exhaust any machine.
"""

import functools
import types
import typing
from typing import Any

from mask_rcnn.config.checks import Choice, Items, Range, Text

Allowed = Range | Choice | Text | Items  # the allowed values of a field

NORMS = ("frozen_batch_norm", "batch_norm", "sync_batch_norm", "group_norm", "none")
BOX_LOSSES = ("smooth_l1", "giou")
LOSS_NORMALIZATIONS = ("batch", "image")
OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("steps", "cosine")
STRATEGIES = ("auto", "none", "mirrored", "multiworker", "tpu")
PIXEL_DTYPES = ("uint8", "uint16")
PRECISIONS = ("float32", "float64", "mixed_bfloat16", "mixed_float16")

SIDE = Range(1, 32_768)  # pixels of an image
LONG_SIDES = Range(16, 32_768)
CELLS = Range(1, 256)  # side of a pooled RoI, bins
MAX_CHANNELS = 256  # channels of an image
CHANNELS = Range(1, 16_384)
CONVS = Range(0, 64)
COUNT = Range(1, 1_000_000)  # boxes per image
STEPS = Range(1, 10**9)
FRACTION = Range(0, 1)
POSITIVE = Range(0, 10**6, is_open=True)
NOT_NEGATIVE = Range(0, 10**6)
MIN_SIZE = Range(-1, 32_768)  # minimum side of a box, pixels; -1 keeps every box
COLOR = Range(-1000, 1000)
EMA_DECAY = Range(0, 0.999999)
FLAG = Choice((True, False))
NORM: dict[str, Allowed] = {"norm": Choice(NORMS), "norm_epsilon": FRACTION}
TEXT = Text()

RANGES: dict[str, dict[str, Allowed]] = {
    "Config": {"num_classes": Range(0, 100_000), "inclusive_boxes": FLAG},
    "InputConfig": {
        "short_side": SIDE,
        "train_short_sides": Items(SIDE, min_length=1),
        "long_side": SIDE,
        "upscale_only": FLAG,
        "size_rounding": Choice(("round", "floor", "half_even")),
        "resize": Choice(("bilinear", "antialiased_uint8", "uint8")),
        "pad_multiple": Range(1, 1024),
        "padded_size": Items(SIDE, min_length=2, max_length=2),
        "centered": FLAG,
        "padding": Choice(("mean", "black")),
        "mean": Items(COLOR, min_length=1, max_length=MAX_CHANNELS),
        "std": Items(Range(0, 10**6, is_open=True), min_length=1, max_length=MAX_CHANNELS),
        "horizontal_flip": FRACTION,
        "transforms": Items(TEXT),
        "max_instances": Range(1, 10_000),
        "mask_crop_size": Range(1, 1024),
        "bit_depth": Range(8, 16),
        "channels": Range(1, MAX_CHANNELS),
        "dtype": Choice(PIXEL_DTYPES),
    },
    "BackboneConfig": {
        "name": TEXT,
        **NORM,
        "stride_in_1x1": FLAG,
        "stem_pool_padding": Choice(("symmetric", "same")),
        "last_stage": Range(4, 5),
        "dilated_c5": FLAG,
        "frozen_stages": Range(0, 5),
        "weights": TEXT,
    },
    "FpnConfig": {"channels": CHANNELS, **NORM},
    "AnchorConfig": {
        "sizes": Items(SIDE, min_length=1),
        "strides": Items(Range(1, 1024), min_length=1),
        "ratios": Items(Range(0, 1000, is_open=True), min_length=1),
        "rounded": FLAG,
        "stride_from_padded_size": FLAG,
    },
    "RpnConfig": {
        "shared_features": FLAG,
        "channels": CHANNELS,
        "convs": CONVS,
        "train_pre_nms": COUNT,
        "train_post_nms": COUNT,
        "pre_nms": COUNT,
        "post_nms": COUNT,
        "nms_iou": FRACTION,
        "joint_levels": FLAG,
        "min_size": MIN_SIZE,
        "clamp_deltas": FLAG,
        "positive_iou": FRACTION,
        "negative_iou": FRACTION,
        "samples": COUNT,
        "positive_fraction": FRACTION,
        "box_loss": Choice(BOX_LOSSES),
        "box_loss_beta": NOT_NEGATIVE,
    },
    "RoiAlignConfig": {
        "method": TEXT,
        "aligned": FLAG,
        "sampling_ratio": Range(0, 64),
        "pooling": Choice(("average", "max")),
        "sample_points": Items(FRACTION, max_length=256),
        "level_epsilon": FRACTION,
        "level_offset": Range(-10, 10),
        "level_rounding": Choice(("floor", "nearest")),
    },
    "BoxHeadConfig": {
        "pool_size": CELLS,
        "convs": CONVS,
        "conv_channels": CHANNELS,
        **NORM,
        "dense_units": Items(Range(1, 65_536)),
        "average_pool": FLAG,
        "class_agnostic": FLAG,
        "delta_weights": Items(POSITIVE, min_length=4, max_length=4),
        "samples": COUNT,
        "positive_fraction": FRACTION,
        "positive_iou": FRACTION,
        "box_loss": Choice(BOX_LOSSES),
        "box_loss_beta": NOT_NEGATIVE,
        "clamp_deltas": FLAG,
        "best_class_only": FLAG,
        "score_threshold": FRACTION,
        "nms_iou": FRACTION,
        "max_detections": COUNT,
        "min_size": MIN_SIZE,
    },
    "CascadeConfig": {
        "positive_ious": Items(FRACTION, min_length=2, max_length=16),
        "delta_scales": Items(POSITIVE, min_length=2, max_length=16),
    },
    "MaskHeadConfig": {
        "pool_size": CELLS,
        "convs": CONVS,
        "channels": CHANNELS,
        **NORM,
        "dense_units": Items(Range(1, 65_536)),
        "class_agnostic": FLAG,
        "loss": Choice(("sigmoid", "softmax")),
        "paste": Choice(("pixel_centers", "padded_resize", "rounded_box")),
    },
    "KeypointHeadConfig": {
        "names": Items(TEXT, min_length=1, max_length=1000),
        "flip_pairs": Items(TEXT, max_length=1000),
        "pool_size": CELLS,
        "convs": CONVS,
        "channels": CHANNELS,
        "half_pixel": FLAG,
        "loss_weight": NOT_NEGATIVE,
    },
    "DataConfig": {
        "train_annotations": TEXT,
        "train_images": TEXT,
        "val_annotations": TEXT,
        "val_images": TEXT,
        "shapes_train": COUNT,
        "shapes_val": COUNT,
        "shapes_size": Items(LONG_SIDES, min_length=2, max_length=2),
        "overfit": Range(0, 10**9),
        "repeat_threshold": FRACTION,
        "mixture": Items(TEXT),
        "workers": Range(0, 256),
        "max_bad_images": FRACTION,
        "max_pixels": Range(1, 2**32 - 1),
    },
    "TrainConfig": {
        "batch_size": Range(1, 65_536),
        "accumulate": Range(1, 65_536),
        "rematerialize": FLAG,
        "reference_batch_size": Range(1, 65_536),
        "steps": STEPS,
        "budget": Range(0, 10**9, is_open=True),
        "learning_rate": Range(0, 1000),
        "optimizer": Choice(OPTIMIZERS),
        "schedule": Choice(SCHEDULES),
        "milestones": Items(STEPS),
        "warmup_steps": Range(0, 10**9),
        "warmup_factor": FRACTION,
        "momentum": FRACTION,
        "weight_decay": FRACTION,
        "norm_weight_decay": FRACTION,
        "clip_norm": POSITIVE,
        "ema_decay": EMA_DECAY,
        "loss_normalization": Choice(LOSS_NORMALIZATIONS),
        "checkpoint_every": STEPS,
        "evaluate_every": Range(0, 10**9),
        "best_metric": TEXT,
        "validation_loss": FLAG,
        "patience": Range(0, 10**9),
        "keep_checkpoints": Range(1, 10**6),
        "init_weights": TEXT,
        "precision": Choice(PRECISIONS),
        "strategy": Choice(STRATEGIES),
        "seed": Range(0, 2**31 - 1),
    },
}


def check_ranges(section: Any, prefix: str = "") -> None:
    """Raises a ValueError for the first field that has the wrong type or a value outside its range.

    Args:
        section: A dataclass of a config.
        prefix: Name of the section and a dot, such as "train.". Defaults to "", for the config itself.
    """
    ranges = RANGES[type(section).__name__]
    for name, (value_type, is_optional) in field_types(type(section)).items():
        value = getattr(section, name)
        if value is None and is_optional:
            continue
        if name in ranges:
            _check(f"{prefix}{name}", value, value_type, ranges[name])
        elif not isinstance(value, value_type):
            raise ValueError(f"`{prefix}{name}` must be a {value_type.__name__}. Received: {short(value)}.")


@functools.cache
def field_types(section_type: type) -> dict[str, tuple[Any, bool]]:
    """Returns `{field: (type without None, whether None is allowed)}` for a dataclass."""
    return {name: unwrap(hint) for name, hint in typing.get_type_hints(section_type).items()}


def unwrap(hint: Any) -> tuple[Any, bool]:
    """Returns a type hint, such as `tuple[int, ...] | None`, without None, and whether it contained None."""
    if not isinstance(hint, types.UnionType):
        return hint, False
    (value_type,) = (member for member in typing.get_args(hint) if member is not types.NoneType)
    return value_type, True


def short(value: object) -> str:
    """Returns a representation of a value for an error message, of about 100 characters at most."""
    text = (
        repr(value) if isinstance(value, str | int | float | bool | type(None)) else _short_collection(value)
    )
    return text if len(text) <= 100 else f"{text[:100]}..."


def _short_collection(value: object) -> str:
    if isinstance(value, list | tuple) and len(value) <= 16:
        return f"[{', '.join(map(short, value))}]" if _is_flat(value) else "a list of lists"
    return f"a {type(value).__name__}"


def _is_flat(items: list | tuple) -> bool:
    return not any(isinstance(item, list | tuple | dict) for item in items)


def _check(path: str, value: Any, value_type: Any, allowed: Allowed) -> None:
    if isinstance(allowed, Items):
        _check_items(path, value, typing.get_args(value_type)[0], allowed)
    elif not has_type(value, value_type) or value not in allowed:
        number = {int: "an int ", float: "a number "}.get(value_type, "")
        raise ValueError(f"`{path}` must be {number}{allowed}. Received: {path}={short(value)}.")


def _check_items(path: str, value: object, item_type: Any, allowed: Items) -> None:
    low, high = allowed.min_length, allowed.max_length
    if not isinstance(value, tuple) or not low <= len(value) <= high:
        count = low if low == high else f"{low} to {high}"
        raise ValueError(f"`{path}` must be a tuple of {count} items. Received: {path}={short(value)}.")
    for item in value:
        _check(path, item, item_type, allowed.item)


def has_type(value: object, value_type: Any) -> bool:
    """Returns whether a value has the type of a field: a plain type, or a tuple such as `tuple[int, ...]`."""
    if typing.get_origin(value_type) is tuple:
        item_type = typing.get_args(value_type)[0]
        return isinstance(value, tuple) and all(has_type(item, item_type) for item in value)
    return type(value) is value_type or (value_type is float and type(value) is int)
