"""`training_cluster.py FOLDER COMMAND`: one process of the cluster in `TF_CONFIG`, or a run without one.

COMMAND is one of
    toy: ten steps of the toy for each of `CASES`. Writes `toy.RANK.json`: weights and logs of each case.
    run: a tiny run of `train` in `FOLDER/run`.
    run STEP SIGNAL: the last process sends itself the signal after the step.
    impatient: a run that ends when an evaluation brings no better score.
"""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import training_toy
from training_run import TINY

from mask_rcnn import config_io
from mask_rcnn.training import processes
from mask_rcnn.training.callbacks import NanGuard
from mask_rcnn.training.distribution import make_strategy
from mask_rcnn.training.processes import run_context
from mask_rcnn.training.train import train

CASES = {
    "clipped": {"clip_norm": 0.5},
    "accumulated": {"accumulate": 2},
    "float16": {"precision": "mixed_float16", "clip_norm": 0.5},
}


# An odd number of images to share in evaluations.
SHARED = config_io.override_all(TINY, {"data.shapes_val": 5, "train.validation_loss": True})


def train_toy(strategy, changes):
    with strategy.scope():
        trainer = training_toy.make_trainer(**changes)
    start = weights(trainer)
    history = trainer.fit(training_toy.make_batches(), shuffle=False, verbose=0).history
    seven_images = training_toy.make_batches().unbatch().take(7).batch(4)  # 2 + 2 and 2 + 1
    evaluation = trainer.evaluate(seven_images, verbose=0, return_dict=True)
    logs = [{name: values[-1] for name, values in history.items()}, evaluation]
    return {"start": start, "end": weights(trainer), "logs": logs}


def weights(trainer):
    return np.concatenate([np.asarray(each).ravel() for each in trainer.trainable_variables]).tolist()


def train_toys(folder):
    strategy = make_strategy("auto", training_toy.RECIPE.batch_size)
    context = run_context(strategy)
    results = {name: train_toy(strategy, changes) for name, changes in CASES.items()}
    processes.CHUNK_BYTES = 16  # values need several rounds, the last ones without data of process 0
    results["gathered"] = context.gather({"rank": context.rank, "numbers": list(range(99 * context.rank))})
    Path(folder, f"toy.{context.rank}.json").write_text(json.dumps(results))


def signal_after(step, number):
    """Makes the last process send itself a signal after a step."""
    cluster = json.loads(os.environ["TF_CONFIG"])

    def on_step(self, current, logs, seconds):
        if current == step and cluster["task"]["index"] == len(cluster["cluster"]["worker"]) - 1:
            os.kill(os.getpid(), number)

    NanGuard.on_step = on_step


if __name__ == "__main__":
    folder, command, *options = sys.argv[1:]
    if command == "toy":
        train_toys(folder)
    elif command == "impatient":
        recipe = dataclasses.replace(TINY.train, steps=30, milestones=(), evaluate_every=3, patience=1)
        train(dataclasses.replace(TINY, train=recipe), Path(folder) / "run")
    else:
        if options:
            signal_after(int(options[0]), getattr(signal, options[1]))
        train(SHARED, Path(folder) / "run")
