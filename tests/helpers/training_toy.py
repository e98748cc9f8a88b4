"""A model of two layers with the batches and the losses of the real one, for tests of training only."""

import contextlib
import dataclasses
import os
import signal

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mask_rcnn.config import TrainConfig
from mask_rcnn.system import verified_hdf5
from mask_rcnn.training.callbacks import NanGuard
from mask_rcnn.training.evaluation_callback import evaluate_step
from mask_rcnn.training.loop import restore_or_initialize, run_steps
from mask_rcnn.training.optimizer import build_optimizer
from mask_rcnn.training.processes import RunContext
from mask_rcnn.training.trainer import Trainer

ONE_PROCESS = RunContext(strategy=None)
LOSSES = ("rpn_objectness_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss")
RECIPE = TrainConfig(
    batch_size=4,
    reference_batch_size=4,
    steps=10,
    learning_rate=0.005,
    milestones=(8,),
    warmup_steps=3,
    checkpoint_every=4,
    evaluate_every=4,
    weight_decay=1e-3,
)


def make_batches(first_step=0, steps=10, batch_size=4, spoil=None):
    """Returns the batches of all steps from `first_step` on. The batch of step `spoil`, from 1, has a NaN.

    Images have 0 to 5 objects.
    """

    def batch(step):
        rng = np.random.default_rng(step)
        class_ids = rng.integers(1, 4, [batch_size, 5])
        class_ids *= np.arange(5) < rng.integers(0, 6, [batch_size, 1])
        images = rng.uniform(0, 255, [batch_size, 16, 24, 3])
        if step + 1 == spoil:
            images[0, 0, 0, 0] = np.nan
        return {
            "images": images.astype("float32"),
            "image_sizes": np.full([batch_size, 2], [16, 24], "float32"),
            "gt_boxes": rng.uniform(0, 16, [batch_size, 5, 4]).astype("float32"),
            "gt_class_ids": class_ids.astype("int32"),
            "gt_masks": rng.integers(0, 2, [batch_size, 5, 8, 8]).astype("uint8"),
            "seeds": np.stack([np.full(batch_size, step), np.arange(batch_size)], axis=1).astype("int32"),
        }

    batches = [batch(step) for step in range(first_step, steps)]
    stacked = {name: np.stack([each[name] for each in batches]) for name in batches[0]}
    return tf.data.Dataset.from_tensor_slices(stacked)


def make_toy():
    """Returns a functional model of a batch's inputs that returns the five losses, `[B, 2]` each.

    The first two losses have three samples per image, the others one per object. An image may have no object.
    """
    inputs = {
        "images": keras.Input([None, None, 3], name="images"),
        "image_sizes": keras.Input([2], name="image_sizes"),
        "gt_boxes": keras.Input([5, 4], name="gt_boxes"),
        "gt_class_ids": keras.Input([5], name="gt_class_ids", dtype="int32"),
        "gt_masks": keras.Input([5, 8, 8], name="gt_masks", dtype="uint8"),
        "seeds": keras.Input([2], name="seeds", dtype="int32"),
    }
    features = keras.layers.Conv2D(8, 3, activation="relu", use_bias=False, name="conv")(
        inputs["images"] / 255.0
    )
    features = keras.layers.GroupNormalization(2, name="norm")(features)
    features = keras.layers.GlobalAveragePooling2D()(features)
    outputs = keras.layers.Dense(len(LOSSES), name="dense")(features)  # [B, 5]
    valid = ops.cast(inputs["gt_class_ids"] > 0, "float32")  # [B, 5]
    objects = ops.sum(valid, axis=-1)
    noise = ops.cast(inputs["seeds"][:, 1], "float32") / 10.0
    target = ops.sum(inputs["gt_boxes"][..., 0] * valid, axis=-1) / ops.maximum(objects, 1.0) / 16.0 + noise
    errors = ops.cast(outputs, "float32") - target[:, None]  # [B, 5]
    counts = [3.0 + 0.0 * objects] * 2 + [objects] * 3
    losses = {
        name: ops.stack([count * ops.square(errors[:, index]), count], axis=-1)
        for index, (name, count) in enumerate(zip(LOSSES, counts, strict=True))
    }
    return keras.Model(inputs, losses)


def make_trainer(seed=0, **changes):
    """Returns a compiled `Trainer` of the toy with `RECIPE` and some of its fields changed."""
    recipe = dataclasses.replace(RECIPE, **changes)
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(recipe.precision)
    try:
        trainer = Trainer(
            make_toy(), loss_normalization=recipe.loss_normalization, accumulate=recipe.accumulate
        )
    finally:
        keras.config.set_dtype_policy("float32")
    trainer.compile(optimizer=build_optimizer(recipe), jit_compile=False)
    trainer.save_weights = lambda path: None  # the tests of `MaskRCNN` cover it
    return trainer


class ToyEvaluator:
    """The attributes of a `Evaluator` that training needs.

    Args:
        evaluate: Function without arguments that returns a dict of numbers.
        best_by: Name of the number that is compared. Defaults to "AP".
        context: `RunContext`. Defaults to one process.
    """

    def __init__(self, evaluate, best_by="AP", context=ONE_PROCESS):
        self.evaluate, self.best_by, self.context = evaluate, best_by, context

    def losses(self, model):
        return {}

    def pictures(self):
        return ()


def run_toy(trainer, batches, folder, evaluator=None, recipe=RECIPE, **options):
    """Trains the toy from its last checkpoint and evaluates it; returns the state of the run."""
    state = restore_or_initialize(trainer, folder, "toy")
    run_steps(trainer, batches, recipe=recipe, run_dir=folder, state=state, evaluator=evaluator, **options)
    if evaluator:
        evaluate_step(trainer, evaluator, folder, step=state["step"], last_step=recipe.steps)
    return state


def kill_after(step):
    """Kills this process after a step, in the NaN guard, which runs between log and checkpoint."""

    def on_step(self, current, logs, seconds):
        if current == step:
            os.kill(os.getpid(), signal.SIGKILL)

    NanGuard.on_step = on_step


def kill_in_checkpoint(step):
    """Kills this process when the checkpoint of a step is complete, but not yet at its final path."""
    atomic_write = verified_hdf5.atomic_write

    @contextlib.contextmanager
    def write(path, num_bytes):
        with atomic_write(path, num_bytes) as new:
            yield new
            if path.name == f"step_{step:08d}.h5":
                os.kill(os.getpid(), signal.SIGKILL)

    verified_hdf5.atomic_write = write
