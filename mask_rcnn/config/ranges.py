"""Allowed values of all config fields, as a table that `check_ranges` reads.

A limit is the point at which a value is no longer meaningful or would exhaust any machine.
"""

import functools
import types
import typing

from mask_rcnn.config.checks import Choice, Items, Range, Text

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
FLAG = Choice((True, False))
NORM = {"norm": Choice(NORMS), "norm_epsilon": FRACTION}
TEXT = Text()

RANGES = {
    "Config": {"num_classes": Range(0, 100_000), "inclusive_boxes": FLAG},
    "InputConfig": {
        "short_side": SIDE,
        "train_short_sides": Items(SIDE, least=1),
        "long_side": SIDE,
        "upscale_only": FLAG,
        "size_rounding": Choice(("round", "floor", "half_even")),
        "resize": Choice(("bilinear", "antialiased_uint8", "uint8")),
        "pad_multiple": Range(1, 1024),
        "padded_size": Items(SIDE, least=2, most=2),
        "centered": FLAG,
        "padding": Choice(("mean", "black")),
        "mean": Items(COLOR, least=1, most=MAX_CHANNELS),
        "std": Items(Range(0, 10**6, is_open=True), least=1, most=MAX_CHANNELS),
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
        "sizes": Items(SIDE, least=1),
        "strides": Items(Range(1, 1024), least=1),
        "ratios": Items(Range(0, 1000, is_open=True), least=1),
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
        "sample_points": Items(FRACTION, most=256),
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
        "delta_weights": Items(POSITIVE, least=4, most=4),
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
        "positive_ious": Items(FRACTION, least=2, most=16),
        "delta_scales": Items(POSITIVE, least=2, most=16),
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
        "names": Items(TEXT, least=1, most=1000),
        "flip_pairs": Items(TEXT, most=1000),
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
        "shapes_size": Items(LONG_SIDES, least=2, most=2),
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
        "ema_decay": Range(0, 0.999999),
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


def check_ranges(section, prefix=""):
    """Raises a ValueError for the first field that has the wrong type or a value outside its range.

    Args:
        section: A dataclass of a config.
        prefix: Name of the section and a dot, such as "train.". Empty for the config itself.
    """
    ranges = RANGES[type(section).__name__]
    for name, (kind, is_optional) in field_types(type(section)).items():
        value = getattr(section, name)
        if value is None and is_optional:
            continue
        if name in ranges:
            _check(f"{prefix}{name}", value, kind, ranges[name])
        elif not isinstance(value, kind):
            raise ValueError(f"`{prefix}{name}` must be a {kind.__name__}. Received: {short(value)}.")


@functools.cache
def field_types(section_type):
    """Returns `{field: (type without None, whether None is allowed)}` for a dataclass."""
    return {name: unwrap(hint) for name, hint in typing.get_type_hints(section_type).items()}


def unwrap(hint):
    """Returns a type hint without None, and whether it contained None."""
    if not isinstance(hint, types.UnionType):
        return hint, False
    (kind,) = (each for each in typing.get_args(hint) if each is not types.NoneType)
    return kind, True


def short(value):
    """Returns a representation of a value for an error message, of about 100 characters at most."""
    text = (
        repr(value) if isinstance(value, str | int | float | bool | type(None)) else _short_collection(value)
    )
    return text if len(text) <= 100 else f"{text[:100]}..."


def _short_collection(value):
    if isinstance(value, list | tuple) and len(value) <= 16:
        return f"[{', '.join(map(short, value))}]" if _is_flat(value) else "a list of lists"
    return f"a {type(value).__name__}"


def _is_flat(value):
    return not any(isinstance(each, list | tuple | dict) for each in value)


def _check(path, value, kind, allowed):
    if isinstance(allowed, Items):
        _check_items(path, value, typing.get_args(kind)[0], allowed)
    elif not has_type(value, kind) or value not in allowed:
        what = {int: "an int ", float: "a number "}.get(kind, "")
        raise ValueError(f"`{path}` must be {what}{allowed}. Received: {path}={short(value)}.")


def _check_items(path, value, kind, allowed):
    if not isinstance(value, tuple) or not allowed.least <= len(value) <= allowed.most:
        count = allowed.least if allowed.least == allowed.most else f"{allowed.least} to {allowed.most}"
        raise ValueError(f"`{path}` must be a tuple of {count} items. Received: {path}={short(value)}.")
    for item in value:
        _check(path, item, kind, allowed.each)


def has_type(value, kind):
    """Returns whether a value has the type of a field: a plain type, or a tuple such as `tuple[int, ...]`."""
    if typing.get_origin(kind) is tuple:
        each = typing.get_args(kind)[0]
        return isinstance(value, tuple) and all(has_type(item, each) for item in value)
    return type(value) is kind or (kind is float and type(value) is int)
