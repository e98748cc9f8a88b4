"""Estimates the memory of a training step before the first step.

Letters: B images of one micro batch, which one replica computes at once.
"""

import dataclasses
import math
import shutil
import subprocess
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.config import Config
from mask_rcnn.data.input_pipeline.pipeline import PREFETCHED_BATCHES
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.transforms import input_size, padded_size
from mask_rcnn.errors import short_message
from mask_rcnn.heads import heads_of
from mask_rcnn.layers.rematerialize import rematerialized
from mask_rcnn.model import Parts
from mask_rcnn.ops.implementation import has_gpu
from mask_rcnn.system.memory import GIGABYTE, available_memory
from mask_rcnn.training.mask_rcnn import MaskRCNN
from mask_rcnn.training.processes import run_context

# A step takes about FACTOR times the layer outputs that are kept for the backward pass, plus WORKSPACE for
# its graph and temporary buffers. Both are chosen by hand to match one measured peak: 3.4 GB for
# ResNet-50-FPN with one image of 800 x 1216 in float32 on two cores, of which 0.6 GB are libraries and
# 0.2 GB weights. Other float32 steps on a CPU took between 11 % more and 10 % less than estimated: 1.45 and
# 1.94 GB for one and two images of 320 x 480, and EfficientNet-Lite0 0.72 and 1.09 GB for two and four of
# 512 x 704. With rematerialization ResNet-50 took 26 % more. Other precisions and GPUs were not measured, so
# the estimate only leads to a warning.
FACTOR, WORKSPACE = 1.2, 0.4 * GIGABYTE


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Memory that a step needs in addition to the current memory of the process, in bytes.

    Attributes:
        gradients: Gradients of the trainable weights, and optimizer slots that do not exist yet.
        image: Activations of one image that are kept for the backward pass.
        num_images: B.
        batches: Batches that the data loader holds.
    """

    gradients: float
    image: float
    num_images: int
    batches: float

    @property
    def total(self) -> float:
        """Estimated bytes of the whole step."""
        return self.gradients + self.batches + FACTOR * self.num_images * self.image + WORKSPACE


def image_bytes(parts: Parts, config: Config, size: tuple[int, int]) -> int:
    """Returns the bytes of the activations of one image that are kept for the backward pass.

    They are the outputs of all layers from the first trainable layer on.

    Args:
        parts: `Parts`.
        config: `Config`.
        size: (height, width) of the padded images, in pixels.
    """
    total = 0
    for backbone, fpn in ((parts.backbone, parts.fpn), (parts.rpn_backbone, parts.rpn_fpn)):
        if backbone is None:  # the RPN shares the features of the heads
            continue
        backbone = rematerialized(backbone) if config.train.rematerialize else backbone
        kept, maps = _outputs(backbone, (1, *size, config.input.channels))
        total += kept
        if fpn:
            kept, maps = _outputs(fpn, *maps)
            total += kept
        else:
            maps = maps[-1:]
    total += sum(_outputs(parts.rpn_head, shape)[0] for shape in maps)
    channels, box = maps[0][-1], config.box_head
    for network in (parts.box_head, *parts.cascade):
        total += _roi_bytes(parts, network, (box.samples, box.pool_size, box.pool_size, channels))
    num_positives = int(box.samples * box.positive_fraction)
    for head in heads_of(config):
        side = head.settings.pool_size
        total += _roi_bytes(parts, parts.heads[head.part], (num_positives, side, side, channels))
    return total


def _roi_bytes(parts: Parts, network: keras.Model, shape: tuple[int, ...]) -> int:
    """Returns the bytes of the activations of a head for pooled RoIs.

    Args:
        parts: `Parts`.
        network: `keras.Model` of the head.
        shape: Shape of the pooled RoIs, `(R, P, P, C)`.
    """
    total = math.prod(shape) * tf.float32.size
    if parts.roi_stage:
        kept, (shape,) = _outputs(parts.roi_stage, shape)
        total += kept
    other_inputs = [(shape[0], *x.shape[1:]) for x in network.inputs[1:]]
    return total + _outputs(network, shape, *other_inputs)[0]


def _outputs(network: keras.Model, *shapes: tuple[int, ...]) -> tuple[int, list[tuple[int, ...]]]:
    """Returns the bytes of all layer outputs from the first trainable layer on, and the output shapes.

    Args:
        network: Functional `keras.Model`.
        shapes: Shapes of its inputs, tuples.
    """
    total, trains = 0, False

    def count(layer, *args, **kwargs):
        nonlocal total, trains
        outputs = layer(*args, **kwargs)
        trains = trains or bool(getattr(layer, "trainable_variables", ()))
        if isinstance(layer, keras.Model):
            total += _outputs(layer, *(x.shape for x in keras.tree.flatten(args)))[0]
        elif trains:
            tensors = keras.tree.flatten(outputs)
            total += sum(math.prod(x.shape) * tf.as_dtype(x.dtype).size for x in tensors)
        return outputs

    inputs = [
        keras.Input(batch_shape=shape, dtype=x.dtype) for shape, x in zip(shapes, network.inputs, strict=True)
    ]
    clone = keras.models.clone_model(
        network,
        input_tensors=keras.tree.pack_sequence_as(network.input, inputs),
        clone_function=lambda layer: layer,
        call_function=count,
    )
    return total, [tuple(x.shape) for x in clone.outputs]


def num_bytes(variables: Iterable[keras.Variable]) -> int:
    """Returns the total size of `keras.Variable`s in bytes."""
    return sum(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size for variable in variables)


def estimate_memory(model: MaskRCNN, size: tuple[int, int]) -> MemoryEstimate:
    """Returns the `MemoryEstimate` of a training step of a model.

    Args:
        model: Compiled `MaskRCNN`. If its optimizer is not built yet, the optimizer slots are counted too.
        size: (height, width) of the padded images, in pixels.
    """
    recipe, strategy = model.config.train, model.distribute_strategy
    context = run_context(strategy)
    replicas = 1 if has_gpu() else strategy.num_replicas_in_sync // context.num_processes
    trained = num_bytes(model.trainable_variables)
    slots = 0 if model.optimizer.built else 1 + (recipe.optimizer == "adamw") + (recipe.ema_decay is not None)
    images_per_process = recipe.batch_size * replicas / strategy.num_replicas_in_sync
    pixels = math.prod(size) * model.config.input.channels * tf.float32.size
    return MemoryEstimate(
        gradients=trained * (replicas + slots),
        image=image_bytes(model.parts, model.config, size),
        num_images=math.ceil(images_per_process / recipe.accumulate),
        batches=0 if has_gpu() else (PREFETCHED_BATCHES + 1) * images_per_process * pixels,
    )


def largest_size(dataset: Dataset | tf.data.Dataset, config: Config) -> tuple[int, int]:
    """Returns the largest (height, width) to which a batch is padded, without the effect of transforms.

    Args:
        dataset: `Dataset`. For batches, the largest image that the config allows is assumed.
        config: `Config`.
    """
    settings = config.input
    if settings.padded_size:
        height, width = settings.padded_size
        return height, width
    short_side = max(settings.train_short_sides)
    if isinstance(dataset, Dataset):
        image_sizes = np.unique(dataset.sizes, axis=0).tolist()
        sizes = [input_size(tuple(size), short_side, settings) for size in image_sizes]
    else:
        sizes = [(min(short_side, settings.long_side), settings.long_side)]
    if config.train.batch_size == 1:
        sizes = [max(sizes, key=math.prod)]
    height, width = padded_size(np.max(sizes, axis=0), settings.pad_multiple)
    return height, width


def free_memory() -> int | None:
    """Returns the bytes that a step may use on each device, or None if they are unknown."""
    if not has_gpu():
        return available_memory()
    total = _gpu_memory()
    used = tf.config.experimental.get_memory_info("GPU:0")["current"]
    return None if total is None else total - used


def _gpu_memory() -> int | None:
    """Returns the bytes of the smallest GPU according to `nvidia-smi`, or None without it."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    completed = subprocess.run(command, capture_output=True, text=True)
    sizes = [int(line) * 2**20 for line in completed.stdout.split() if line.isdecimal()]
    return min(sizes, default=None)


def describe_memory(
    model: MaskRCNN, dataset: Dataset | tf.data.Dataset, free: int | None
) -> tuple[str, bool]:
    """Returns a line about the memory that a step needs and the memory that is free.

    Args:
        model, dataset: As in `estimate_memory` and `largest_size`.
        free: Free memory in bytes, or None if unknown.

    Returns:
        text: The line. If the step does not fit, it names settings that would fit.
        fits: Whether the step fits. True if the need or the free memory is unknown.
    """
    try:
        size = largest_size(dataset, model.config)
        estimate = estimate_memory(model, size)
    except Exception as error:  # a custom layer may fail here; the estimate must not stop a run
        return f"unknown, {type(error).__name__}: {short_message(error)}", True
    images = f"{estimate.num_images} image{'s' * (estimate.num_images > 1)} of {size[0]} x {size[1]}"
    text = f"about {estimate.total / GIGABYTE:.1f} GB for a step with {images}"
    if free is None:
        return f"{text}, unknown how much is free", True
    text += f", {free / GIGABYTE:.1f} GB free"
    if estimate.total <= free:
        return text, True
    return f"{text}. It may not fit. {_advice(model, size, estimate=estimate, free=free)}", False


def _advice(model: MaskRCNN, size: tuple[int, int], *, estimate: MemoryEstimate, free: int) -> str:
    """Returns a sentence with the settings that would make a step fit."""
    recipe = model.config.train
    changes: dict[str, float] = {}
    fitting: list[str] = []
    num_images = estimate.num_images + math.floor((free - estimate.total) / (FACTOR * estimate.image))
    if num_images > 0:
        smallest = math.ceil(estimate.num_images * recipe.accumulate / num_images)
        accumulate = next(n for n in range(smallest, recipe.batch_size + 1) if recipe.batch_size % n == 0)
        fitting.append(f"train.accumulate={accumulate} (at most {num_images} at once)")
    if not recipe.rematerialize:
        config = dataclasses.replace(model.config, train=dataclasses.replace(recipe, rematerialize=True))
        changes["train.rematerialize=true"] = image_bytes(model.parts, config, size)
    if recipe.precision == "float32":
        changes["train.precision=mixed_bfloat16"] = estimate.image / 2
    for change, image in changes.items():
        smaller = dataclasses.replace(estimate, image=image)
        fitting += [f"{change} ({smaller.total / GIGABYTE:.1f} GB)"] if smaller.total <= free else []
    if not fitting:
        return "Only smaller images or a machine with more memory would fit."
    return f"This would fit: {', or '.join(fitting)}."
